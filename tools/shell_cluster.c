/* shell_cluster.c -- who is in the cluster, who comes and goes, and what that would move.
 *
 * A plan is made here and not by a node: copies lie where everybody computes that they lie
 * (replication/placement.h), so the members of today and those that are thought of are all
 * it takes.  It counts records as if they were spread evenly over a table's partitions. */
#include "tools/shell.h"

#include "replication/placement.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char cluster_usage[] =
    "cluster [status]\n"
    "       engram cluster join HOST:PORT\n"
    "       engram cluster leave [--force]\n"
    "       engram cluster remove NAME [--force]\n"
    "       engram cluster plan [--add NAME[=WEIGHT]] [--remove NAME] [--weight NAME=WEIGHT]";

/* ---- status, join, leave, remove --------------------------------------------- */

static int cluster_status(struct shell *s, struct args *a) {
    int code = args_done(a, 0, 0, cluster_usage);

    if (code != EXIT_OK)
        return code;
    shell_params(s, 0);
    code = shell_ask(s, "cluster_status");
    if (code != EXIT_OK)
        return code;
    if (s->output == OUTPUT_JSON)
        return print_map(s, s->last.result);
    return print_maps(s, shell_get(s->last.result, "members"));
}

static int cluster_join(struct shell *s, struct args *a) {
    int code = args_done(a, 1, 1, "cluster join HOST:PORT");

    if (code != EXIT_OK)
        return code;
    pack_text(shell_params(s, 1), a->word[0]);
    code = shell_ask(s, "join");
    return code == EXIT_OK ? print_done(s, s->last.result) : code;
}

/* It is to have answered before we go. */
static int cluster_leave(struct shell *s, struct args *a) {
    bool force = args_flag(a, "--force");
    int code = args_done(a, 0, 0, "cluster leave [--force]");
    struct pack *p;

    if (code != EXIT_OK)
        return code;
    p = shell_params(s, 1);
    pack_map(p, 2);
    pack_text(p, "force");
    pack_bool(p, force);
    pack_text(p, "timeout_ms");
    pack_u64(p, (uint64_t) s->timeout_ms * 9 / 10 + 1);
    code = shell_ask(s, "leave");
    return code == EXIT_OK ? print_done(s, s->last.result) : code;
}

static int cluster_remove(struct shell *s, struct args *a) {
    bool force = args_flag(a, "--force");
    int code = args_done(a, 1, 1, "cluster remove NAME [--force]");
    struct pack *p;

    if (code != EXIT_OK)
        return code;
    p = shell_params(s, 2);
    pack_text(p, a->word[0]);
    pack_map(p, 1);
    pack_text(p, "force");
    pack_bool(p, force);
    code = shell_ask(s, "remove");
    return code == EXIT_OK ? print_done(s, s->last.result) : code;
}

/* ---- plan -------------------------------------------------------------------- */

struct plan_node {
    char name[NODE_INFO_NAME_BYTES];
    uint64_t id;
    bool disc;
    bool now, then; /* it is a member */
    uint32_t now_weight, then_weight;
    double now_records, then_records; /* copies of records on it */
    double comes, goes;               /* of these, what moves    */
};

struct plan {
    struct shell *shell;
    uint32_t count;
    struct plan_node node[NODES_MAX];
};

static bool text_of(struct value v, char *out, size_t room_bytes) {
    const uint8_t *at;
    uint32_t size_bytes;

    if (v.size_bytes == 0 || value_kind_of(v) != VALUE_STRING ||
        !value_get_bytes(v, &at, &size_bytes) || size_bytes >= room_bytes)
        return false;
    memcpy(out, at, size_bytes);
    out[size_bytes] = '\0';
    return true;
}

static struct plan_node *plan_find(struct plan *p, const char *name) {
    for (uint32_t i = 0; i < p->count; i++) {
        if (strcmp(p->node[i].name, name) == 0)
            return &p->node[i];
    }
    return NULL;
}

static struct plan_node *plan_add(struct plan *p, const char *name, uint32_t weight, bool disc) {
    struct plan_node *n;

    if (p->count == NODES_MAX || strlen(name) >= NODE_INFO_NAME_BYTES)
        return NULL;
    n = &p->node[p->count++];
    *n = (struct plan_node){.id = node_id_of(name),
                            .disc = disc,
                            .then = true,
                            .now_weight = weight,
                            .then_weight = weight};
    memcpy(n->name, name, strlen(name) + 1);
    return n;
}

/* Those that are not gone: a node that is down keeps its copies. */
static int plan_members(struct plan *p) {
    struct value_iter it;
    struct value member;
    int code;

    shell_params(p->shell, 0);
    code = shell_ask(p->shell, "cluster_status");
    if (code != EXIT_OK)
        return code;
    it = value_iter_of(shell_get(p->shell->last.result, "members"));
    while (value_iter_next(&it, &member)) {
        char name[NODE_INFO_NAME_BYTES], state[16];
        uint64_t weight = NODE_WEIGHT_USUAL;
        bool disc = true;
        struct plan_node *n;

        if (!text_of(shell_get(member, "name"), name, sizeof name) ||
            !text_of(shell_get(member, "state"), state, sizeof state) ||
            strcmp(state, "left") == 0 || strcmp(state, "removed") == 0)
            continue;
        if (shell_get(member, "weight").size_bytes > 0 &&
            (!value_get_u64(shell_get(member, "weight"), &weight) || weight > NODE_WEIGHT_MAX))
            continue;
        if (shell_get(member, "disc").size_bytes > 0 &&
            !value_get_bool(shell_get(member, "disc"), &disc))
            continue;
        n = plan_add(p, name, (uint32_t) weight, disc);
        if (n != NULL)
            n->now = true;
    }
    return EXIT_OK;
}

/* "NAME=WEIGHT", or "NAME" where `weight` has a default. */
static bool plan_word(const char *word, char *name, uint32_t *weight, bool needed) {
    const char *equals = strchr(word, '=');
    size_t length = equals != NULL ? (size_t) (equals - word) : strlen(word);
    char *end;
    unsigned long n;

    if (length == 0 || length >= NODE_INFO_NAME_BYTES || (needed && equals == NULL))
        return false;
    memcpy(name, word, length);
    name[length] = '\0';
    if (equals == NULL)
        return true;
    n = strtoul(equals + 1, &end, 10);
    if (equals[1] == '\0' || *end != '\0' || n > NODE_WEIGHT_MAX)
        return false;
    *weight = (uint32_t) n;
    return true;
}

static int plan_change(struct plan *p, const char *option, const char *word) {
    bool add = strcmp(option, "--add") == 0, weigh = strcmp(option, "--weight") == 0;
    char name[NODE_INFO_NAME_BYTES];
    uint32_t weight = NODE_WEIGHT_USUAL;
    struct plan_node *n;

    if (!plan_word(word, name, &weight, weigh))
        return shell_fail(EXIT_USAGE, "%s: '%s' is not NAME%s, with a weight of 0 to %d", option,
                          word, add || weigh ? "=WEIGHT" : "", NODE_WEIGHT_MAX);
    n = plan_find(p, name);
    if (add && n != NULL)
        return shell_fail(EXIT_USAGE, "%s is a member already", name);
    if (add)
        return plan_add(p, name, weight, true) != NULL
                   ? EXIT_OK
                   : shell_fail(EXIT_USAGE, "a cluster has at most %d members", NODES_MAX);
    if (n == NULL)
        return shell_fail(EXIT_USAGE, "%s is not a member", name);
    if (weigh)
        n->then_weight = weight;
    else
        n->then = false;
    return EXIT_OK;
}

/* Which nodes, as bits, hold a partition. */
static uint64_t plan_holders(const struct plan *p, bool then, bool disc, uint64_t group,
                             uint32_t partition, uint32_t copies) {
    struct placement_node node[NODES_MAX];
    uint64_t id[NODES_MAX], holders = 0;
    uint32_t placed;

    for (uint32_t i = 0; i < p->count; i++) {
        const struct plan_node *n = &p->node[i];
        node[i] =
            (struct placement_node){.id = n->id,
                                    .weight = then ? n->then_weight : n->now_weight,
                                    .eligible = (then ? n->then : n->now) && (!disc || n->disc),
                                    .standing = true};
    }
    placement_copies(node, p->count, group, partition, copies, id, &placed);
    for (uint32_t i = 0; i < p->count; i++) {
        for (uint32_t j = 0; j < placed; j++)
            holders |= (uint64_t) (id[j] == p->node[i].id) << i;
    }
    return holders;
}
_Static_assert(NODES_MAX <= 64, "holders are bits");

static int plan_table(struct plan *p, struct value table) {
    uint64_t copies = 0, group = 0, size = 0;
    char storage[16] = "ram";
    struct value info;
    bool disc;
    int code;

    pack_raw(shell_params(p->shell, 1), table);
    code = shell_try(p->shell, "table_info");
    if (code != EXIT_OK) /* it may have been dropped since we asked for the names */
        return p->shell->last.refused ? EXIT_OK : code;
    info = p->shell->last.result;
    if (!value_get_u64(shell_get(info, "size"), &size) ||
        !text_of(shell_get(info, "storage"), storage, sizeof storage))
        return shell_fail(EXIT_REFUSED, "the node's table_info lacks size or storage");
    if (shell_get(info, "copies").size_bytes > 0 &&
        !value_get_u64(shell_get(info, "copies"), &copies))
        copies = 0; /* "all" */
    if (shell_get(info, "group").size_bytes > 0 && !value_get_u64(shell_get(info, "group"), &group))
        group = 0;
    disc = strcmp(storage, "ram") != 0;
    for (uint32_t i = 0; i < PLACEMENT_PARTITIONS; i++) {
        uint64_t now = plan_holders(p, false, disc, group, i, (uint32_t) EG_MIN(copies, NODES_MAX));
        uint64_t then = plan_holders(p, true, disc, group, i, (uint32_t) EG_MIN(copies, NODES_MAX));
        double records = (double) size / PLACEMENT_PARTITIONS;

        for (uint32_t j = 0; j < p->count; j++) {
            p->node[j].now_records += now >> j & 1 ? records : 0;
            p->node[j].then_records += then >> j & 1 ? records : 0;
            p->node[j].comes += (then & ~now) >> j & 1 ? records : 0;
            p->node[j].goes += (now & ~then) >> j & 1 ? records : 0;
        }
    }
    return EXIT_OK;
}

static int plan_tables(struct plan *p) {
    struct value_iter it;
    struct value table;
    struct pack names;
    int code;

    shell_params(p->shell, 0);
    code = shell_ask(p->shell, "tables");
    if (code != EXIT_OK)
        return code;
    pack_init(&names, p->shell->alloc);
    pack_raw(&names, p->shell->last.result);
    code = names.failed ? shell_fail(EXIT_REFUSED, "out of memory") : EXIT_OK;
    it = code == EXIT_OK ? value_iter_of(pack_value(&names)) : (struct value_iter){NULL, 0};
    while (code == EXIT_OK && value_iter_next(&it, &table))
        code = plan_table(p, table);
    pack_fini(&names);
    return code;
}

static void pack_records(struct pack *rows, const char *name, double records) {
    pack_text(rows, name);
    pack_u64(rows, (uint64_t) (records + 0.5));
}

static int plan_print(struct plan *p) {
    struct pack rows;
    int code;

    pack_init(&rows, p->shell->alloc);
    pack_array(&rows, p->count);
    for (uint32_t i = 0; i < p->count; i++) {
        const struct plan_node *n = &p->node[i];
        pack_map(&rows, 7);
        pack_text(&rows, "node");
        pack_text(&rows, n->name);
        pack_text(&rows, "change");
        pack_text(&rows, !n->now                           ? "joins"
                         : !n->then                        ? "goes"
                         : n->now_weight != n->then_weight ? "weighs"
                                                           : "");
        pack_text(&rows, "weight");
        pack_u64(&rows, n->then ? n->then_weight : 0);
        pack_records(&rows, "records", n->now_records);
        pack_records(&rows, "then", n->then_records);
        pack_records(&rows, "gets", n->comes);
        pack_records(&rows, "gives", n->goes);
    }
    code = rows.failed ? shell_fail(EXIT_REFUSED, "out of memory")
                       : print_maps(p->shell, pack_value(&rows));
    pack_fini(&rows);
    return code;
}

static int plan_changes(struct plan *p, struct args *a) {
    static const char *const option[] = {"--add", "--remove", "--weight"};
    int code = EXIT_OK;

    for (size_t i = 0; i < EG_COUNTOF(option); i++) {
        const char *word;
        while (code == EXIT_OK && args_value(a, option[i], &word))
            code = plan_change(p, option[i], word);
    }
    return code == EXIT_OK ? args_done(a, 0, 0, cluster_usage) : code;
}

static int cluster_plan(struct shell *s, struct args *a) {
    struct plan *p = alloc_zero(s->alloc, sizeof *p);
    int code;

    if (p == NULL)
        return shell_fail(EXIT_REFUSED, "out of memory");
    p->shell = s;
    code = plan_members(p);
    if (code == EXIT_OK)
        code = plan_changes(p, a);
    if (code == EXIT_OK)
        code = plan_tables(p);
    if (code == EXIT_OK)
        code = plan_print(p);
    alloc_put(s->alloc, p, sizeof *p);
    return code;
}

/* ---- the command ------------------------------------------------------------- */

int command_cluster(struct shell *s, struct args *a) {
    static const struct {
        const char *name;
        int (*run)(struct shell *s, struct args *a);
    } action[] = {
        {"status", cluster_status}, {"join", cluster_join}, {"leave", cluster_leave},
        {"remove", cluster_remove}, {"plan", cluster_plan},
    };

    if (a->count == 0)
        return cluster_status(s, a);
    for (size_t i = 0; i < EG_COUNTOF(action); i++) {
        struct args rest = {a->count - 1, a->word + 1};
        if (strcmp(action[i].name, a->word[0]) == 0)
            return action[i].run(s, &rest);
    }
    return shell_fail(EXIT_USAGE, "usage: engram %s", cluster_usage);
}
