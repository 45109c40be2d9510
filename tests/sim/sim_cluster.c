/* sim_cluster.c -- put together, set loose, healed, looked at. */
#include "tests/sim/sim_cluster_private.h"

#include "tests/sim/nemesis.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    LATE_MS = 15 * 1000, /* for requests that nobody waits for any more */
    FORGET_MS = 5000,    /* until a delete that all have is forgotten   */
    LOST_MAX = 4,        /* records of a copy, behind the engine's back */
    SCHEMER_THINK_MS = 300,
};

uint64_t sim_cluster_now_ms(const struct sim_cluster *c) {
    return sim_now_ns(c->sim) / 1000000;
}

void sim_cluster_tell(struct sim_cluster *c, const char *format, ...) {
    va_list args;

    if (!c->o.tell)
        return;
    printf("# %10.3f ms  ", (double) sim_now_ns(c->sim) / 1e6);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
}

bool sim_cluster_wrong(struct sim_cluster *c, const char *format, ...) {
    va_list args;

    va_start(args, format);
    vsnprintf(c->text, sizeof c->text, format, args);
    va_end(args);
    return false;
}

static bool meet(struct sim_cluster *c) {
    for (uint32_t i = 0; i < c->shape.nodes; i++)
        sim_node_start(&c->node[i]);
    if (!sim_run_until(c->sim, sim_cluster_all_met, c, MEET_MS))
        return sim_cluster_wrong(c, "the nodes did not meet at the start");
    return sim_cluster_create_tables(c);
}

static void live(struct sim_cluster *c) {
    uint64_t end_ns = sim_now_ns(c->sim) + c->shape.safety_ms * 1000000;

    sim_cluster_look_at_clocks(c);
    sim_cluster_start_clients(c);
    if (c->o.schema)
        sim_schema_start(&c->schema, c->sim, c->net, c->o.seed, c->node, c->shape.nodes,
                         SCHEMER_THINK_MS);
    while (sim_now_ns(c->sim) < end_ns) {
        sim_run_to(c->sim, EG_MIN(end_ns, nemesis_next_ns(c->nemesis)));
        nemesis_act(c->nemesis);
    }
    nemesis_end(c->nemesis);
    sim_cluster_stop_clients(c);
    if (c->o.schema) {
        sim_schema_stop(&c->schema);
        sim_cluster_tell(c, "schemers: %u done, %u refused", c->schema.done, c->schema.refused);
    }
    sim_run_ms(c->sim, LATE_MS);
}

static bool stop_all(struct sim_cluster *c) {
    bool clean = true;

    for (uint32_t i = 0; i < c->shape.nodes; i++)
        if (c->node[i].up && !sim_node_stop(&c->node[i]))
            clean = sim_cluster_wrong(c, "%s left memory behind", c->node[i].name);
    return clean;
}

/* A node that may get the disc back that it had once, when deletes have been forgotten; or
 * nobody. */
static struct sim_node *who_gets_old_disc(struct sim_cluster *c) {
    for (uint32_t i = 0; i < c->shape.nodes; i++)
        if (c->node[i].old != NULL && sim_cluster_can_spare(c, i)) {
            sim_run_ms(c->sim, FORGET_MS);
            return &c->node[i];
        }
    return NULL;
}

/* An old disc may have a write that was lost since, with a node's power: it is new to all. */
static bool is_same_after(struct sim_cluster *c, uint32_t table, const struct sim_node *old) {
    return c->table[table].t.on_disc && (old == NULL || sim_cluster_keeps_acknowledged(c, table));
}

/* All stopped in order: what is on disc is there again, also where one disc is an old one. */
static bool come_back(struct sim_cluster *c, const struct cluster_look *before) {
    static struct cluster_look after;
    struct sim_node *old = who_gets_old_disc(c);

    if (!stop_all(c))
        return false;
    if (old != NULL) {
        sim_cluster_tell(c, "%s gets its old disc", old->name);
        sim_node_put_back_disc(old);
    }
    for (uint32_t i = 0; i < c->shape.nodes; i++)
        sim_node_start(&c->node[i]);
    after = (struct cluster_look){.c = c, .all_went = true};
    if (!sim_cluster_come_to_agree(&after))
        return false;
    for (uint32_t t = 0; t < c->shape.tables; t++)
        for (uint32_t key = 0; is_same_after(c, t, old) && key < c->shape.keys; key++)
            if (after.finals[t][key].number != before->finals[t][key].number)
                return sim_cluster_wrong(c, "after a restart of all key %u of %s is %u and was %u",
                                         key, c->table[t].t.name, after.finals[t][key].number,
                                         before->finals[t][key].number);
    return true;
}

/* A copy loses a record: the others give it back. */
static bool mend(struct sim_cluster *c, const struct cluster_look *before) {
    static struct cluster_look after;
    uint32_t node = (uint32_t) rng_below(&c->rng, c->shape.nodes);
    uint32_t table = (uint32_t) rng_below(&c->rng, c->shape.tables), lost = 0;
    struct sim_node *nodes[CLUSTER_NODES_MAX];

    for (uint32_t i = 0; i < c->shape.nodes; i++)
        nodes[i] = &c->node[i];
    if (copies_expected(nodes, c->shape.nodes, &c->table[table].t) < 2)
        return true;
    for (uint32_t key = 0; key < c->shape.keys && lost < LOST_MAX; key++)
        lost += copies_damage(&c->node[node], c->table[table].t.name, key);
    sim_cluster_tell(c, "%s loses %u records of %s", c->node[node].name, lost,
                     c->table[table].t.name);
    after = (struct cluster_look){.c = c, .all_went = before->all_went};
    if (!sim_cluster_come_to_agree(&after))
        return false;
    for (uint32_t key = 0; key < c->shape.keys; key++)
        if (after.finals[table][key].number != before->finals[table][key].number)
            return sim_cluster_wrong(c, "%s lost key %u of %s, and so did the others",
                                     c->node[node].name, key, c->table[table].t.name);
    return true;
}

static bool run(struct sim_cluster *c) {
    static struct cluster_look look;

    look = (struct cluster_look){.c = c};
    if (!meet(c))
        return false;
    live(c);
    return sim_cluster_come_to_agree(&look) && sim_cluster_check(&look) &&
           sim_cluster_read_everywhere(&look) && mend(c, &look) && come_back(c, &look) &&
           stop_all(c);
}

/* What befell the key that the text speaks of. */
static void tell_history(const struct sim_cluster *c) {
    const char *at = strstr(c->text, "key ");
    unsigned key, table;

    if (c->o.tell && at != NULL && sscanf(at, "key %u in table %u", &key, &table) == 2)
        history_print(&c->history, table, key);
}

/* Of the table that it begins with. */
static void tell_copies(struct sim_cluster *c) {
    for (uint32_t i = 0; c->o.tell && i < c->shape.nodes; i++)
        copies_tell_node(&c->node[i]);
    for (uint32_t t = 0; c->o.tell && t < c->shape.tables; t++)
        for (uint32_t i = 0; i < c->shape.nodes; i++)
            if (strncmp(c->text, c->table[t].t.name, strlen(c->table[t].t.name)) == 0)
                copies_tell(&c->node[i], c->table[t].t.name);
}

static void no_answer(struct sim_client *client, const struct sim_answer *a) {
    (void) client;
    (void) a;
}

static void open_cluster(struct sim_cluster *c, const struct cluster_opts *o) {
    *c = (struct sim_cluster){
        .o = *o, .sim = sim_open(o->seed), .rng = rng_of(o->seed), .peek_rng = rng_of(~o->seed)};
    sim_set_log_level(c->sim, o->tell ? ENV_LOG_INFO : ENV_LOG_ERROR);
    c->net = sim_net_open(c->sim);
    history_init(&c->history);
    sim_lists_init(&c->lists);
    if (cluster_seed_has_promises(o->seed))
        sim_promise_init(&c->promise);
    sim_cluster_draw(c);
    c->nemesis = nemesis_open(c, rng_u64(&c->rng));
    sim_client_init(&c->admin, c->net, c->sim, "admin", no_answer, NULL);
}

/* Where the run was bad there is no order to close it in: its memory goes at once. */
static void close_cluster(struct sim_cluster *c) {
    sim_client_close(&c->admin);
    sim_run_ms(c->sim, 1);
    sim_client_fini(&c->admin);
    for (uint32_t i = 0; i < c->shape.nodes; i++) {
        if (c->node[i].up)
            sim_node_lose_power(&c->node[i]);
        sim_node_fini(&c->node[i]);
    }
    nemesis_close(c->nemesis);
    history_fini(&c->history);
    sim_promise_fini(&c->promise);
    sim_lists_fini(&c->lists);
    sim_net_close(c->net);
    sim_close(c->sim);
}

struct cluster_result sim_cluster_run(const struct cluster_opts *o) {
    static struct sim_cluster c;
    struct cluster_result r = {0};

    open_cluster(&c, o);
    r.good = run(&c);
    if (!r.good) {
        tell_history(&c);
        tell_copies(&c);
    }
    snprintf(r.text, sizeof r.text, "%s", r.good ? "" : c.text);
    r.hash = sim_hash(c.sim);
    r.virtual_ms = sim_cluster_now_ms(&c);
    r.events = sim_steps(c.sim);
    r.counts = history_count(&c.history);
    r.nodes = c.shape.nodes;
    r.faults = nemesis_faults(c.nemesis);
    close_cluster(&c);
    return r;
}
