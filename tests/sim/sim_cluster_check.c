/* sim_cluster_check.c -- what all copies agree on at the end is what clients have been told. */
#include "tests/sim/sim_cluster_private.h"

#include "tests/support/linear.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    MASTERS_MS = 15 * 1000,  /* for a clock to be found wrong, and another view */
    VIEW_WORDS_MAX = 300000, /* heard by a node in all: usual are some thousand */
};

bool sim_cluster_keeps_acknowledged(void *user, uint32_t table) {
    const struct sim_cluster *c = user;

    return !c->shape.wild || c->table[table].sync;
}

/* The stamps of a majority table are no times: check_linear() looks at what is left of it. */
static bool is_by_clocks(void *user, uint32_t table) {
    const struct sim_cluster *c = user;

    return sim_cluster_keeps_acknowledged(user, table) && !c->table[table].majority;
}

/* The operations of one table as a checker of linearizability wants them. */
static uint32_t linear_ops(const struct sim_cluster *c, uint32_t table, struct linear_op *out) {
    static const enum linear_kind kinds[] = {
        [OP_WRITE] = LINEAR_WRITE, [OP_DELETE] = LINEAR_TAKE, [OP_READ] = LINEAR_READ};
    uint32_t count = 0;

    for (uint32_t i = 0; i < c->history.count; i++) {
        const struct op *o = &c->history.ops[i];

        if (o->table == table && o->end != OP_FAIL && !(o->dirty && o->kind == OP_READ))
            out[count++] = (struct linear_op){.key = o->key,
                                              .kind = kinds[o->kind],
                                              .value = o->number,
                                              .seen = o->seen,
                                              .known = o->end == OP_OK,
                                              .begin = o->begin_ns,
                                              .end = o->end_ns,
                                              .number = o->number};
    }
    return count;
}

/* Of the tables that say so, over the whole history, through all views. */
static bool check_linear(struct cluster_look *l) {
    struct sim_cluster *c = l->c;
    size_t room = (size_t) c->history.count + CLUSTER_KEYS_MAX;
    struct linear_op *ops = calloc(room, sizeof *ops);
    char text[LINEAR_TEXT_BYTES];
    bool good = ops != NULL;

    for (uint32_t t = 0; t < c->shape.tables && good; t++) {
        uint32_t count;

        if (!c->table[t].majority || c->table[t].spoiled || !sim_cluster_keeps_acknowledged(c, t))
            continue;
        count = linear_ops(c, t, ops);
        for (uint32_t key = 0; key < c->shape.keys; key++) /* and what is there at the end */
            ops[count++] = (struct linear_op){.key = key,
                                              .kind = LINEAR_READ,
                                              .seen = l->finals[t][key].number,
                                              .known = true,
                                              .begin = UINT64_MAX - 1,
                                              .end = UINT64_MAX};
        good = linear_check(ops, count, text) != LINEAR_BAD ||
               sim_cluster_wrong(c, "%s: %s", c->table[t].t.name, text);
    }
    free(ops);
    return good;
}

bool sim_cluster_check(struct cluster_look *l) {
    struct sim_cluster *c = l->c;

    for (uint32_t t = 0; t < c->shape.tables; t++)
        for (uint32_t key = 0; key < c->shape.keys && c->table[t].majority; key++)
            l->finals[t][key].hlc = 0;
    for (uint32_t t = 0; t < c->shape.tables; t++)
        if (!history_check_finals(&c->history, l->finals[t], c->shape.keys, is_by_clocks, c,
                                  c->text))
            return false;
    if (!history_check_reads(&c->history, c->text) || !check_linear(l) ||
        !history_check_sessions(&c->history, CLUSTER_CLIENTS_MAX, sim_cluster_keeps_acknowledged, c,
                                c->text) ||
        !sim_merge_check(&c->merge, &c->node[0], !c->shape.wild || c->merge.sync, c->text) ||
        !sim_promise_check(&c->promise, &c->admin, !c->shape.wild || c->promise.sync, c->o.tell,
                           c->text) ||
        !sim_tx_check(&c->tx, !c->shape.wild, c->text) ||
        !sim_lists_check(&c->lists, c->o.tell, c->text) || !sim_bank_check(&c->bank, c->text))
        return false;
    for (uint32_t i = 0; i < c->shape.nodes; i++)
        if (sim_node_mended(&c->node[i]) != 0)
            return sim_cluster_wrong(c, "copies differed, and %s wrote records anew",
                                     c->node[i].name);
    for (uint32_t i = 0; i < c->shape.nodes; i++)
        if (c->node[i].mail.view_words > VIEW_WORDS_MAX)
            return sim_cluster_wrong(c, "%s heard %" PRIu64 " words of views", c->node[i].name,
                                     c->node[i].mail.view_words);
    for (uint32_t i = 0; i < c->shape.nodes; i++)
        for (uint32_t t = 0; t < c->shape.tables; t++)
            if (!copies_check(&c->node[i], c->table[t].t.name))
                return sim_cluster_wrong(c, "a shard of %s on %s stays busy, or is gone",
                                         c->table[t].t.name, c->node[i].name);
    return sim_run_until(c->sim, sim_cluster_masters_are_in_time, c, MASTERS_MS) ||
           sim_cluster_wrong(c, "a node orders writes whose clock is not the others'");
}

/* As sim_client_call(), and again where only an old connection was found broken. */
static enum sim_outcome ask_admin(struct sim_cluster *c, const struct sim_node *n,
                                  const char *method, struct value params, struct sim_answer *a) {
    enum sim_outcome outcome = SIM_UNKNOWN;

    for (int i = 0; i < 3 && (outcome == SIM_UNKNOWN || outcome == SIM_UNSENT); i++)
        outcome = sim_client_call(&c->admin, n->client_address, method, params, ADMIN_WAIT_MS, a);
    return outcome;
}

bool sim_cluster_read_everywhere(struct cluster_look *l) {
    struct sim_cluster *c = l->c;

    for (uint32_t t = 0; t < c->shape.tables; t++)
        for (uint32_t key = 0; key < c->shape.keys; key++) {
            uint8_t at[64];
            struct value_writer v = value_writer_init(at, sizeof at);
            struct sim_node *n = &c->node[rng_below(&c->rng, c->shape.nodes)];
            struct sim_answer a;

            if (copies_shards(n, c->table[t].t.name) == 0)
                continue;
            value_put_array(&v, 2);
            value_put_text(&v, c->table[t].t.name);
            value_put_u64(&v, key);
            if (ask_admin(c, n, "read", (struct value){at, (uint32_t) v.need_bytes}, &a) !=
                SIM_DONE)
                return sim_cluster_wrong(c, "after healing %s does not read %s: %s", n->name,
                                         c->table[t].t.name, a.text);
            if (sim_cluster_seen_in(a.result) != l->finals[t][key].number)
                return sim_cluster_wrong(
                    c, "%s reads write %u of key %u in %s, and its copies have %u", n->name,
                    sim_cluster_seen_in(a.result), key, c->table[t].t.name,
                    l->finals[t][key].number);
        }
    return true;
}
