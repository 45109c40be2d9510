/* sim_cluster.c -- put together, set loose, healed, looked at. */
#include "tests/sim/sim_cluster.h"

#include "engine/env.h"
#include "replication/swim.h"
#include "tests/sim/nemesis.h"
#include "tests/support/linear.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    ADMIN_WAIT_MS = 20 * 1000,
    CLIENT_WAIT_MS = 8 * 1000,
    STAYER_WAIT_MS = 1500,
    STAYER_THINK_MS = 60,
    STAYER_KEYS = 2,
    MEET_MS = 30 * 1000, /* at the start, for all nodes to be in one view */
    CREATE_TRIES = 3,
    QUIET_MS = 20 * 1000,   /* for what clients have under way              */
    LATE_MS = 15 * 1000,    /* for requests that nobody waits for any more */
    MASTERS_MS = 15 * 1000, /* for a clock to be found wrong, and another view */
    NEAR_MS = 100,          /* of a clock to where it counts as skewed, how sure one must be */
    GRAVES_BYTES = 400,     /* of a node, where they are bounded so */
    FORGET_MS = 5000,       /* until a delete that all have is forgotten */
    LOST_MAX = 4,           /* records of a copy, behind the engine's back */
    AGREE_MS = 120 * 1000,  /* after healing, for all copies to be equal   */
    LOOK_MS = 250,
    SCHEMER_THINK_MS = 300,
    VIEW_WORDS_MAX = 300000, /* heard by a node in all: usual are some thousand */
    RECORD_BYTES_MAX = 20000,
    REPLICATES =
        1, /* until replicas are part of a cluster, several nodes agree on views and schema */
};

static const char *const node_names[CLUSTER_NODES_MAX] = {"a", "b", "c", "d", "e", "f", "g"};

static uint64_t now_ms(const struct sim_cluster *c) {
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

static bool wrong(struct sim_cluster *c, const char *format, ...) EG_PRINTF(2, 3);
static bool wrong(struct sim_cluster *c, const char *format, ...) {
    va_list args;

    va_start(args, format);
    vsnprintf(c->text, sizeof c->text, format, args);
    va_end(args);
    return false;
}

void sim_cluster_look_at_clocks(struct sim_cluster *c) {
    for (uint32_t i = 0; i < c->shape.nodes; i++)
        c->most_ms = EG_MAX(c->most_ms, env_wall_ms(&c->node[i].env.env));
}

static int64_t least_clock_ms(const struct sim_cluster *c) {
    int64_t least_ms = INT64_MAX;

    for (uint32_t i = 0; i < c->shape.nodes; i++)
        least_ms = EG_MIN(least_ms, env_wall_ms((struct env *) &c->node[i].env.env));
    return least_ms;
}

/* ---- clients ----------------------------------------------------------------------------- */

static void think(struct cluster_client *me);

/* The number of the write whose record this answer holds. */
static uint32_t seen_in(struct value records) {
    struct value_iter it = value_iter_of(records), fields;
    struct value record, field;
    uint64_t number;

    if (!value_iter_next(&it, &record))
        return OP_NONE;
    fields = value_iter_of(record);
    EG_ASSERT(value_iter_next(&fields, &field));
    EG_ASSERT(value_iter_next(&fields, &field));
    EG_ASSERT(value_get_u64(field, &number));
    return (uint32_t) number;
}

static const char *const ways[CLUSTER_ASKINGS] = {"read", "select", "query", "read_many"};

/* [records, cursor], {columns, rows, cursor}, [records of the first key] */
static struct value records_of(struct value result, enum asking how) {
    struct value_iter it = value_iter_of(result);
    struct value v = {0};

    if (how == ASK_KEY)
        return result;
    EG_ASSERT(value_iter_next(&it, &v));
    while (how == ASK_QUERY && !value_is_string(v, "rows"))
        EG_ASSERT(value_iter_next(&it, &v));
    if (how == ASK_QUERY)
        EG_ASSERT(value_iter_next(&it, &v));
    return v;
}

/* By its number, so that a seed's dice fall alike with and without.  Who stays is promised more
 * than who scans: what its node alone has, too. */
static enum asking asking_of(const struct sim_cluster *c, const struct cluster_client *me,
                             const struct op *op) {
    struct rng r = rng_of(op->number ^ CLUSTER_SEED_SCAN);

    return cluster_seed_has_scans(c->o.seed) && op->kind == OP_READ &&
                   c->table[op->table].majority && !op->dirty && !me->stays
               ? (enum asking) rng_below(&r, CLUSTER_ASKINGS)
               : ASK_KEY;
}

/* The rest of the parameters; what is asked of a key lets no way to it be known. */
static void put_asked(const struct sim_cluster *c, struct value_writer *v, const struct op *op,
                      enum asking how) {
    char text[80];

    if (how == ASK_KEY) {
        value_put_u64(v, op->key);
    } else if (how == ASK_MANY) {
        value_put_array(v, 1);
        value_put_u64(v, op->key);
    } else if (how == ASK_QUERY) {
        snprintf(text, sizeof text, "select * from %s where key + 0 = %u",
                 c->table[op->table].t.name, op->key);
        value_put_text(v, text);
    } else {
        static const char *const pattern[] = {"$1", "$2", "$3", "$4"};

        value_put_array(v, 1);
        value_put_array(v, 3);
        value_put_array(v, EG_COUNTOF(pattern));
        for (size_t i = 0; i < EG_COUNTOF(pattern); i++)
            value_put_text(v, pattern[i]);
        value_put_array(v, 1);
        value_put_array(v, 3);
        value_put_text(v, "==");
        value_put_array(v, 3);
        value_put_text(v, "+");
        value_put_text(v, "$1");
        value_put_u64(v, 0);
        value_put_u64(v, op->key);
        value_put_array(v, 1);
        value_put_text(v, "$_");
    }
}

/* Some node reads a key in place. */
static void peek(struct sim_cluster *c) {
    uint32_t node = (uint32_t) rng_below(&c->peek_rng, c->shape.nodes);
    uint32_t table = (uint32_t) rng_below(&c->peek_rng, c->shape.tables);
    uint32_t key = (uint32_t) rng_below(&c->peek_rng, c->shape.keys), number;

    if (c->node[node].catalog != NULL &&
        copies_peek(&c->node[node], c->table[table].t.name, key, &number))
        history_peek(&c->history, table, key, node, sim_node_view(&c->node[node]),
                     sim_now_ns(c->sim), number);
}

static bool has_whole(struct sim_cluster *c, const struct op *op) {
    return copies_whole(&c->node[op->node], c->table[op->table].t.name);
}

/* Has its node been in a view with others since its start?  Before that others wait for nothing
 * that it has. */
static bool is_in_company(struct cluster_client *me, const struct op *op) {
    if (sim_node_view_count(&me->cluster->node[me->node]) > 1)
        me->company = op->starts;
    return me->company == op->starts;
}

static void on_answer(struct sim_client *client, const struct sim_answer *a) {
    struct cluster_client *me = client->user;
    struct sim_cluster *c = me->cluster;
    struct op *op = history_op(&c->history, me->number);

    sim_cluster_look_at_clocks(c);
    peek(c);
    op->end = history_end_of(a);
    op->end_ns = sim_now_ns(c->sim);
    op->most_ms = c->most_ms;
    op->home_then = me->stays && has_whole(c, op);
    snprintf(op->text, sizeof op->text, "%.*s", (int) sizeof op->text - 1, a->text);
    if (op->view != sim_node_view(&c->node[op->node]) || (op->dirty && op->kind == OP_READ))
        op->view = 0;
    if (op->kind != OP_WRITE && op->end == OP_OK)
        op->seen = seen_in(records_of(a->result, me->asked));
    sim_note(c->sim, (uint64_t) op->number << 8 | op->end);
    sim_note(c->sim, op->seen);
    if (op->end != OP_OK && !me->stays && rng_one_in(&me->rng, 2))
        me->node = (uint32_t) rng_below(&me->rng, c->shape.nodes);
    think(me);
}

static void put_record(struct sim_cluster *c, struct value_writer *v, const struct op *op,
                       struct rng *r) {
    static const uint8_t bytes[RECORD_BYTES_MAX];
    size_t size = rng_one_in(r, 40) ? rng_below(r, RECORD_BYTES_MAX) : rng_below(r, 200);

    (void) c;
    value_put_array(v, 4);
    value_put_u64(v, op->key);
    value_put_u64(v, op->number);
    value_put_u64(v, op->number % 7);
    value_put_binary(v, bytes, size);
}

/* By its number, so that a seed's dice fall alike with and without. */
static bool is_dirty(const struct op *op) {
    struct rng r = rng_of(op->number);
    return rng_one_in(&r, 2);
}

/* What it does next; its number is the write's. */
static struct op *begin_op(struct cluster_client *me) {
    struct sim_cluster *c = me->cluster;
    uint64_t dice = rng_below(&me->rng, 10);
    uint32_t table = me->stays ? c->stays_at : (uint32_t) rng_below(&me->rng, c->shape.tables);
    uint32_t keys = me->stays ? STAYER_KEYS : c->shape.keys;
    enum op_kind kind = dice < 5 ? OP_WRITE : dice < 6 ? OP_DELETE : OP_READ;

    if (me->stays)
        kind = dice < 3 ? OP_WRITE : OP_READ;
    else if (rng_one_in(&me->rng, 20))
        me->node = (uint32_t) rng_below(&me->rng, c->shape.nodes);
    return history_begin(&c->history, kind, table, (uint32_t) rng_below(&me->rng, keys));
}

static void ask(struct sim_event *e) {
    static const char *const methods[] = {"write", "take"};
    struct cluster_client *me = EG_CONTAINER_OF(e, struct cluster_client, think);
    struct sim_cluster *c = me->cluster;
    uint8_t at[RECORD_BYTES_MAX + 200];
    struct value_writer v = value_writer_init(at, sizeof at);
    struct op *op;

    if (c->quiet)
        return;
    op = begin_op(me);
    me->number = op->number;
    op->client = me->stays ? CLUSTER_CLIENTS_MAX + me->node : (uint32_t) (me - c->client);
    op->node = me->node;
    op->begin_ns = sim_now_ns(c->sim);
    op->least_ms = least_clock_ms(c);
    op->view = sim_node_view(&c->node[op->node]);
    op->starts = c->node[op->node].starts;
    op->home = me->stays && is_in_company(me, op) && has_whole(c, op);
    op->dirty = c->shape.dirty && !me->stays && is_dirty(op);
    me->asked = asking_of(c, me, op);
    value_put_array(&v, me->asked == ASK_QUERY ? 1 : op->dirty ? 3 : 2);
    if (me->asked != ASK_QUERY)
        value_put_text(&v, c->table[op->table].t.name);
    if (op->kind == OP_WRITE)
        put_record(c, &v, op, &me->rng);
    else
        put_asked(c, &v, op, me->asked);
    if (op->dirty) {
        value_put_map(&v, 1);
        value_put_text(&v, "context");
        value_put_text(&v, "dirty");
    }
    EG_ASSERT(!v.overflow);
    sim_client_ask(&me->client, c->node[me->node].client_address,
                   op->kind == OP_READ ? ways[me->asked] : methods[op->kind],
                   (struct value){at, (uint32_t) v.need_bytes},
                   me->stays ? STAYER_WAIT_MS : CLIENT_WAIT_MS);
}

static void start_promisers(struct sim_cluster *c) {
    if (!c->promise.on)
        return;
    c->promise.think_ms = c->shape.think_ms;
    sim_promise_start(&c->promise, c->sim, c->net, c->o.seed);
}

/* Beside the others, so that theirs fall as before. */
static void start_mergers(struct sim_cluster *c) {
    if (!c->merge.on)
        return;
    c->merge.think_ms = c->shape.think_ms;
    sim_merge_start(&c->merge, c->sim, c->net, c->o.seed);
}

static void think(struct cluster_client *me) {
    struct sim_cluster *c = me->cluster;
    uint64_t think_ms = me->stays ? STAYER_THINK_MS : c->shape.think_ms;

    sim_at(c->sim, &me->think, sim_now_ns(c->sim) + rng_below(&me->rng, 2 * think_ms * 1000000 + 1),
           ask);
}

static void start_client(struct sim_cluster *c, struct cluster_client *me, const char *host) {
    sim_client_init(&me->client, c->net, c->sim, host, on_answer, me);
    think(me);
}

static bool has_majority_where_asked(const struct sim_cluster *c, uint32_t table) {
    return c->table[table].majority || !cluster_seed_has_majorities(c->o.seed);
}

static void start_clients(struct sim_cluster *c) {
    struct rng stayers =
        rng_of(c->o.seed ^ CLUSTER_SEED_STAY); /* apart: the others do not notice */
    char host[16];

    for (uint32_t i = 0; i < c->shape.clients; i++) {
        struct cluster_client *me = &c->client[i];

        snprintf(host, sizeof host, "client%u", i % 4);
        *me = (struct cluster_client){.cluster = c, .rng = rng_of(rng_u64(&c->rng))};
        me->node = (uint32_t) rng_below(&me->rng, c->shape.nodes);
        start_client(c, me, host);
    }
    c->stayers = cluster_seed_has_stayers(c->o.seed) ? c->shape.nodes : 0;
    while (c->stays_at + 1 < c->shape.tables &&
           (c->table[c->stays_at].t.copies != 0 || !has_majority_where_asked(c, c->stays_at)))
        c->stays_at++;
    for (uint32_t i = 0; i < c->stayers; i++) {
        struct cluster_client *me = &c->stayer[i];

        snprintf(host, sizeof host, "client%u", i % 4);
        *me = (struct cluster_client){
            .cluster = c, .rng = rng_of(rng_u64(&stayers)), .node = i, .stays = true};
        start_client(c, me, host);
    }
}

static bool clients_are_done(void *arg) {
    struct sim_cluster *c = arg;

    for (uint32_t i = 0; i < c->shape.clients; i++)
        if (c->client[i].client.busy)
            return false;
    for (uint32_t i = 0; i < c->stayers; i++)
        if (c->stayer[i].client.busy)
            return false;
    return sim_merge_is_done(&c->merge) && sim_promise_is_done(&c->promise) &&
           sim_tx_is_done(&c->tx) && sim_lists_is_done(&c->lists) && sim_bank_is_done(&c->bank);
}

static void close_client(struct cluster_client *me) {
    sim_cancel(me->cluster->sim, &me->think);
    sim_client_close(&me->client);
}

static void stop_clients(struct sim_cluster *c) {
    c->quiet = c->merge.quiet = c->promise.quiet = c->tx.quiet = c->lists.quiet = c->bank.quiet =
        true;
    EG_ASSERT(sim_run_until(c->sim, clients_are_done, c, QUIET_MS));
    if (c->merge.on) {
        sim_merge_stop(&c->merge);
        sim_cluster_tell(c, "mergers: %u done, %u refused, %u things, %u clears", c->merge.done,
                         c->merge.refused, c->merge.things, c->merge.clears);
    }
    if (c->tx.on) {
        sim_tx_stop(&c->tx);
        sim_cluster_tell(c, "transactions: %u tried, %u done, %u refused", c->tx.tries,
                         sim_tx_count(&c->tx, OP_OK), sim_tx_count(&c->tx, OP_FAIL));
    }
    if (c->lists.on) {
        sim_lists_stop(&c->lists);
        sim_cluster_tell(c, "lists: %u transactions, %u done, %u refused",
                         c->lists.history.tx_count, c->lists.done, c->lists.refused);
    }
    if (c->bank.on) {
        sim_bank_stop(&c->bank);
        sim_cluster_tell(c, "bank: %u done, %u refused, %u looks", c->bank.done, c->bank.refused,
                         c->bank.looks);
    }
    if (c->promise.on) {
        sim_promise_stop(&c->promise);
        sim_cluster_tell(c, "promisers: %u done, %u refused", c->promise.done, c->promise.refused);
    }
    for (uint32_t i = 0; i < c->shape.clients; i++)
        close_client(&c->client[i]);
    for (uint32_t i = 0; i < c->stayers; i++)
        close_client(&c->stayer[i]);
    sim_run_ms(c->sim, 1);
    for (uint32_t i = 0; i < c->shape.clients; i++)
        sim_client_fini(&c->client[i].client);
    for (uint32_t i = 0; i < c->stayers; i++)
        sim_client_fini(&c->stayer[i].client);
}

/* ---- what a seed asks for ---------------------------------------------------------------------
 */

static void draw_shape(struct sim_cluster *c) {
    static const uint32_t usual[] = {1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7};
    struct cluster_shape *s = &c->shape;
    struct rng *r = &c->rng;

    s->nodes = usual[rng_below(r, EG_COUNTOF(usual))];
    if (c->o.nodes != 0)
        s->nodes = c->o.nodes;
    s->clients = 1 + (uint32_t) rng_below(r, CLUSTER_CLIENTS_MAX);
    s->tables = 1 + (uint32_t) rng_below(r, CLUSTER_TABLES_MAX);
    s->keys = 3 + (uint32_t) rng_below(r, CLUSTER_KEYS_MAX - 2);
    s->discs = rng_one_in(r, 3) ? (uint32_t) rng_below(r, s->nodes + 1) : s->nodes;
    s->safety_ms = 5000 + rng_below(r, 40000);
    s->think_ms = 20 + rng_below(r, 500);
    s->wild = rng_one_in(r, 3);
    if (c->o.seed >= CLUSTER_SEED_TX) { /* nodes can often be spared, and much is under way then */
        s->clients = 1;
        s->think_ms = 20 + s->think_ms % 60;
        s->wild = false;
    }
    s->dirty = c->o.seed >= CLUSTER_SEED_DIRTY && c->o.seed % 2 == 1;
    if (!REPLICATES && s->nodes > 1)
        s->clients = 0;
    sim_cluster_tell(c, "%u nodes, %u of them with discs, %u clients, %u tables, %u keys, %s%s",
                     s->nodes, s->discs, s->clients, s->tables, s->keys,
                     s->wild ? "wild" : "careful", s->dirty ? ", dirty" : "");
}

static void draw_table(struct sim_cluster *c, uint32_t i) {
    static const char *const names[CLUSTER_TABLES_MAX] = {"alpha", "beta", "gamma", "delta"};
    struct cluster_table *t = &c->table[i];
    uint32_t kind = (uint32_t) rng_below(&c->rng, 4);

    *t = (struct cluster_table){.t = {.name = names[i], .keys = c->shape.keys}};
    t->t.copies = rng_one_in(&c->rng, 3) ? 1 + (uint32_t) rng_below(&c->rng, 3) : 0;
    t->t.on_disc = kind != 0 && c->shape.discs > 0;
    t->sync = t->t.on_disc && kind >= 2;
    t->ordered = rng_one_in(&c->rng, 4);
    t->shards = 1 + (uint32_t) rng_below(&c->rng, 6);
    t->majority = cluster_seed_has_majorities(c->o.seed) && !rng_one_in(&c->rng, 5);
    sim_cluster_tell(c, "%s: %s%s%s%s, copies %u, %u shards", t->t.name,
                     t->t.on_disc ? "disc" : "ram", t->sync ? ", sync" : "",
                     t->ordered ? ", ordered" : "", t->majority ? ", majority" : "", t->t.copies,
                     t->shards);
}

static void draw_network(struct sim_cluster *c) {
    struct sim_net_habits *h = sim_net_habits(c->net);
    struct rng *r = &c->rng;
    uint32_t slow_us = rng_one_in(r, 2) ? 1 + (uint32_t) rng_below(r, 20000) : 100;

    if (rng_one_in(r, 4))
        h->segment_bytes = 1000 + (uint32_t) rng_below(r, 5000);
    if (rng_one_in(r, 4))
        h->send_buffer_bytes = 100 + (uint32_t) rng_below(r, 20000);
    h->slow_one_in = rng_one_in(r, 2) ? 1000 : 0;
    h->reset_one_in = rng_one_in(r, 3) ? 1000 + (uint32_t) rng_below(r, 100000) : 0;
    h->give_up_ms = 1000 + rng_below(r, 200000);
    for (uint32_t a = 0; a < c->shape.nodes; a++)
        for (uint32_t b = 0; b < c->shape.nodes; b++)
            if (a != b)
                sim_net_link(c->net, c->node[a].host, c->node[b].host)->delay_mean_ns =
                    slow_us * UINT64_C(1000);
}

/* Deletes are forgotten before all copies have heard of them. */
static bool few_graves(uint64_t seed) {
    return seed >= CLUSTER_SEED_OLD_DISC && !cluster_seed_has_majorities(seed) &&
           !cluster_seed_has_promises(seed) && seed % 4 == 3;
}

static void make_nodes(struct sim_cluster *c) {
    for (uint32_t i = 0; i < c->shape.nodes; i++) {
        struct sim_node_opts o = {.name = node_names[i],
                                  .seed = rng_u64(&c->rng),
                                  .schedulers = 1 + (uint32_t) rng_below(&c->rng, 3),
                                  .has_disc = i < c->shape.discs,
                                  .disc_delay_ms = 1 + rng_below(&c->rng, 20),
                                  .graves_bytes_max = few_graves(c->o.seed) ? GRAVES_BYTES : 0};

        if (i > 0)
            o.join[0] = c->node[rng_below(&c->rng, i)].peer_address;
        sim_node_init(&c->node[i], c->sim, c->net, &o);
        if (rng_one_in(&c->rng, 3))
            sim_env_jump(&c->node[i].env, (int64_t) rng_below(&c->rng, 10000) - 5000);
    }
}

static bool all_met(void *arg);

static bool create_table(struct sim_cluster *c, const char *name, struct value params);
static bool create(struct sim_cluster *c, const struct cluster_table *t) {
    uint8_t at[512];
    struct value_writer v = value_writer_init(at, sizeof at);

    value_put_array(&v, 2);
    value_put_text(&v, t->t.name);
    value_put_map(&v, (c->shape.nodes > 1 ? 7 : 6) + t->majority);
    value_put_text(&v, "type");
    value_put_text(&v, t->ordered ? "ordered_set" : "set");
    value_put_text(&v, "storage");
    value_put_text(&v, t->t.on_disc ? "disc" : "ram");
    value_put_text(&v, "durability");
    value_put_text(&v, t->sync ? "sync" : "async");
    value_put_text(&v, "shards");
    value_put_u64(&v, t->shards);
    if (t->majority) {
        value_put_text(&v, "majority");
        value_put_bool(&v, true);
    }
    value_put_text(&v, "attributes");
    value_put_array(&v, 4);
    value_put_text(&v, "key");
    value_put_text(&v, "number");
    value_put_text(&v, "tag");
    value_put_text(&v, "bytes");
    value_put_text(&v, "index");
    value_put_array(&v, 1);
    value_put_text(&v, "tag");
    if (c->shape.nodes > 1) {
        value_put_text(&v, "copies");
        if (t->t.copies == 0)
            value_put_text(&v, "all");
        else
            value_put_u64(&v, t->t.copies);
    }
    EG_ASSERT(!v.overflow);
    return create_table(c, t->t.name, (struct value){at, (uint32_t) v.need_bytes});
}

static bool create_table(struct sim_cluster *c, const char *name, struct value params) {
    struct sim_answer a;

    for (int i = 0; i < CREATE_TRIES; i++) {
        if (sim_client_call(&c->admin, c->node[0].client_address, "create_table", params,
                            ADMIN_WAIT_MS, &a) == SIM_DONE ||
            (i > 0 && a.outcome == SIM_REFUSED && strncmp(a.text, "exists:", 7) == 0))
            return true;
        if (a.outcome == SIM_REFUSED && strncmp(a.text, "in_doubt:", 9) != 0 &&
            strncmp(a.text, "disc:", 5) != 0)
            break;
        (void) sim_run_until(c->sim, all_met, c, MEET_MS); /* a link that broke is no reason */
    }
    return wrong(c, "create_table %s: %s", name, a.text);
}

/* Drawn apart from all else. */
static bool create_merged(struct sim_cluster *c) {
    struct rng r = rng_of(c->o.seed ^ CLUSTER_SEED_MERGE);
    bool on_disc = c->shape.discs == c->shape.nodes && rng_one_in(&r, 2);
    struct sim_merge *x = &c->merge;

    x->on = c->o.seed >= CLUSTER_SEED_MERGE && !cluster_seed_has_promises(c->o.seed) &&
            c->o.seed < CLUSTER_SEED_TX && !c->o.unmerged && c->shape.nodes > 1 &&
            rng_one_in(&r, 2);
    x->sync = on_disc && rng_one_in(&r, 2);
    x->leaves = c->o.seed >= CLUSTER_SEED_LEAVE;
    x->node = c->node;
    x->nodes = c->shape.nodes;
    for (uint32_t i = 0; x->on && i < MERGE_TABLES; i++) {
        uint8_t at[512];
        struct value_writer w = value_writer_init(at, sizeof at);

        merge_put_create(&w, (enum merge_table) i, on_disc, x->sync);
        if (!create_table(c, merge_table_name((enum merge_table) i),
                          (struct value){at, (uint32_t) w.need_bytes}))
            return false;
    }
    if (x->on)
        sim_cluster_tell(c, "merged tables: %s%s", on_disc ? "disc" : "ram",
                         x->sync ? ", sync" : "");
    return true;
}

static bool create_transacted(struct sim_cluster *c) {
    struct rng r = rng_of(c->o.seed ^ CLUSTER_SEED_TX);
    bool on_disc = c->shape.discs == c->shape.nodes && rng_one_in(&r, 2);
    struct sim_tx *x = &c->tx;
    uint8_t at[512];
    struct value_writer w = value_writer_init(at, sizeof at);

    x->on = c->o.seed >= CLUSTER_SEED_TX && c->o.seed < CLUSTER_SEED_LISTS;
    x->sync = on_disc && rng_one_in(&r, 2);
    x->node = c->node;
    x->nodes = c->shape.nodes;
    x->think_ms = c->shape.think_ms;
    x->t = (struct copies_table){.name = sim_tx_table, .on_disc = on_disc, .keys = TX_KEYS};
    if (!x->on)
        return true;
    sim_tx_put_create(&w, on_disc, x->sync, 2 + (uint32_t) rng_below(&r, 5));
    sim_cluster_tell(c, "transactions: %s%s", on_disc ? "disc" : "ram", x->sync ? ", sync" : "");
    return create_table(c, sim_tx_table, (struct value){at, (uint32_t) w.need_bytes});
}

static bool create_lists(struct sim_cluster *c) {
    struct rng r = rng_of(c->o.seed ^ CLUSTER_SEED_LISTS);
    bool on_disc = c->shape.discs == c->shape.nodes && rng_one_in(&r, 2);
    bool sync = on_disc && rng_one_in(&r, 2);
    struct sim_lists *x = &c->lists;
    uint8_t at[512];
    struct value_writer w = value_writer_init(at, sizeof at);

    x->on = c->o.seed >= CLUSTER_SEED_LISTS && c->o.seed < CLUSTER_SEED_LISTS_END;
    x->node = c->node;
    x->nodes = c->shape.nodes;
    x->think_ms = c->shape.think_ms;
    x->t = (struct copies_table){.name = sim_lists_table, .on_disc = on_disc, .keys = LIST_KEYS};
    x->t.copies = rng_one_in(&r, 3) ? 2 + (uint32_t) rng_below(&r, 2) : 0;
    x->scans = c->o.seed >= CLUSTER_SEED_SCANS;
    if (!x->on)
        return true;
    x->ordered = x->scans && rng_one_in(&r, 2);
    sim_lists_put_create(x, &w, sync, 1 + (uint32_t) rng_below(&r, 6));
    sim_cluster_tell(c, "lists: %s%s, copies %u", on_disc ? "disc" : "ram", sync ? ", sync" : "",
                     x->t.copies);
    return create_table(c, sim_lists_table, (struct value){at, (uint32_t) w.need_bytes});
}

static bool fill_bank(struct sim_cluster *c) {
    uint8_t at[512];
    struct value_writer w = value_writer_init(at, sizeof at);
    struct value params;
    struct sim_answer a;

    sim_bank_put_first(&w);
    params = (struct value){at, (uint32_t) w.need_bytes};
    for (uint64_t end_ms = now_ms(c) + MEET_MS; now_ms(c) < end_ms; sim_run_ms(c->sim, LOOK_MS))
        if (sim_client_call(&c->admin, c->node[0].client_address, "write_many", params,
                            ADMIN_WAIT_MS, &a) == SIM_DONE)
            return true; /* what was done before is the same */
    return wrong(c, "the bank is not filled: %s", a.text);
}

static bool create_bank(struct sim_cluster *c) {
    struct rng r = rng_of(c->o.seed ^ CLUSTER_SEED_BANK);
    bool on_disc = c->shape.discs == c->shape.nodes && rng_one_in(&r, 2);
    bool sync = on_disc && rng_one_in(&r, 2);
    struct sim_bank *x = &c->bank;
    uint8_t at[512];
    struct value_writer w = value_writer_init(at, sizeof at);

    x->on = c->o.seed >= CLUSTER_SEED_BANK && c->o.seed < CLUSTER_SEED_BANK_END &&
            c->shape.nodes != 2; /* one that has lost something would be a majority */
    x->node = c->node;
    x->nodes = c->shape.nodes;
    x->think_ms = c->shape.think_ms;
    x->t = (struct copies_table){.name = sim_bank_table, .on_disc = on_disc, .keys = BANK_KEYS};
    if (!x->on)
        return true;
    sim_bank_put_create(x, &w, sync, 1 + (uint32_t) rng_below(&r, 6));
    sim_cluster_tell(c, "bank: %s%s", on_disc ? "disc" : "ram", sync ? ", sync" : "");
    return create_table(c, sim_bank_table, (struct value){at, (uint32_t) w.need_bytes}) &&
           fill_bank(c);
}

/* Drawn apart too. */
static bool create_promised(struct sim_cluster *c) {
    struct rng r = rng_of(c->o.seed ^ CLUSTER_SEED_PROMISE);
    bool on_disc = c->shape.discs == c->shape.nodes && rng_one_in(&r, 2);
    struct sim_promise *x = &c->promise;

    x->on = cluster_seed_has_promises(c->o.seed) && c->shape.nodes > 1;
    x->sync = on_disc && rng_one_in(&r, 2);
    x->jumps = cluster_seed_promises_jump(c->o.seed);
    x->policies = c->o.seed >= CLUSTER_SEED_POLICIES;
    x->node = c->node;
    x->nodes = c->shape.nodes;
    x->most_ms = &c->most_ms;
    for (uint32_t i = 0; x->on && i < PROMISE_TABLES; i++) {
        uint8_t at[512];
        struct value_writer w = value_writer_init(at, sizeof at);

        if (!promise_has(x, (enum promise_table) i))
            continue;
        promise_put_create(&w, (enum promise_table) i, on_disc, x->sync);
        if (!create_table(c, promise_table_name((enum promise_table) i),
                          (struct value){at, (uint32_t) w.need_bytes}))
            return false;
    }
    return true;
}

/* ---- looking at it ------------------------------------------------------------------------------
 */

static bool one_view(void *arg) {
    struct sim_cluster *c = arg;
    uint64_t view = 0;

    for (uint32_t i = 0; i < c->shape.nodes; i++) {
        if (!c->node[i].up)
            continue;
        if (view == 0)
            view = sim_node_view(&c->node[i]);
        if (view == 0 || sim_node_view(&c->node[i]) != view)
            return false;
    }
    return true;
}

static bool all_met(void *arg) {
    struct sim_cluster *c = arg;

    for (uint32_t i = 0; i < c->shape.nodes; i++)
        if (sim_node_view_count(&c->node[i]) != c->shape.nodes)
            return false;
    return one_view(arg);
}

/* Of those that are up. */
static bool merged_agree(struct sim_cluster *c) {
    struct sim_node *up[CLUSTER_NODES_MAX];
    char text[HISTORY_TEXT_BYTES];
    uint32_t count = 0;

    for (uint32_t i = 0; i < c->shape.nodes; i++)
        if (c->node[i].up)
            up[count++] = &c->node[i];
    return sim_merge_agrees(up, count, &c->merge, text);
}

bool sim_cluster_can_spare(struct sim_cluster *c, uint32_t node) {
    uint32_t others = 0;

    if (!one_view(c))
        return false;
    for (uint32_t i = 0; i < c->shape.nodes; i++)
        others += c->node[i].up && i != node;
    for (uint32_t t = 0; t < c->shape.tables; t++) {
        struct sim_node *up[CLUSTER_NODES_MAX];
        struct final finals[CLUSTER_KEYS_MAX];
        char text[HISTORY_TEXT_BYTES];
        uint32_t count = 0;

        for (uint32_t i = 0; i < c->shape.nodes; i++)
            if (c->node[i].up)
                up[count++] = &c->node[i];
        for (uint32_t i = 0; i < count; i++)
            if (copies_shards(up[i], c->table[t].t.name) == 0)
                return false;
        if (!REPLICATES)
            continue;
        if (copies_expected(up, count, &c->table[t].t) < 2)
            return false; /* one crash may take its last writes */
        if (!copies_agree(up, count, &c->table[t].t, t, finals, text))
            return false;
    }
    return others > 0 && merged_agree(c) &&
           (!REPLICATES || sim_cluster_can_do_without(c, node)); /* a disc may refuse */
}

bool sim_cluster_can_do_without(struct sim_cluster *c, uint32_t node) {
    struct sim_node *others[CLUSTER_NODES_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < c->shape.nodes; i++)
        if (c->node[i].up && i != node)
            others[count++] = &c->node[i];
    for (uint32_t t = 0; t < c->shape.tables; t++)
        if (!copies_anywhere(others, count, c->table[t].t.name) && c->table[t].majority)
            c->table[t].spoiled |= !c->table[t].sync; /* it is not served: somebody has to go */
        else if (!copies_anywhere(others, count, c->table[t].t.name) ||
                 (c->node[node].up && !c->table[t].sync &&
                  !copies_heard(&c->node[node], others, count, c->table[t].t.name)))
            return false;
    for (uint32_t t = 0; c->merge.on && c->node[node].up && t < MERGE_TABLES; t++)
        if (!copies_anywhere(others, count, merge_table_name((enum merge_table) t)) ||
            !copies_heard(&c->node[node], others, count, merge_table_name((enum merge_table) t)))
            return false;
    for (uint32_t t = 0; c->promise.on && c->node[node].up && t < PROMISE_TABLES; t++)
        if (promise_has(&c->promise, (enum promise_table) t) &&
            (!copies_anywhere(others, count, promise_table_name((enum promise_table) t)) ||
             !copies_heard(&c->node[node], others, count,
                           promise_table_name((enum promise_table) t))))
            return false;
    if (c->tx.on && !copies_anywhere(others, count, sim_tx_table))
        return false; /* what they have not heard of was not acknowledged */
    if (c->lists.on && !copies_anywhere(others, count, sim_lists_table))
        return false;
    if (c->bank.on &&
        (!copies_anywhere(others, count, sim_bank_table) ||
         (c->node[node].up && !copies_heard(&c->node[node], others, count, sim_bank_table))))
        return false;
    return one_view(c) && count > 0;
}

struct look {
    struct sim_cluster *c;
    bool all_went; /* all nodes were down at once: RAM tables may be gone */
    struct final finals[CLUSTER_TABLES_MAX][CLUSTER_KEYS_MAX];
};

static bool nobody_has(struct sim_node *const *nodes, uint32_t count, const char *table) {
    for (uint32_t i = 0; i < count; i++)
        if (copies_shards(nodes[i], table) != 0)
            return false;
    return true;
}

static bool all_agree(struct look *l) {
    struct sim_cluster *c = l->c;
    struct sim_node *nodes[CLUSTER_NODES_MAX];

    for (uint32_t i = 0; i < c->shape.nodes; i++)
        nodes[i] = &c->node[i];
    if (!all_met(c))
        return wrong(c, "the nodes are not in one view");
    for (uint32_t t = 0; t < c->shape.tables && !REPLICATES && c->shape.nodes > 1; t++)
        for (uint32_t i = 0; i < c->shape.nodes; i++)
            if (copies_shards(nodes[i], c->table[t].t.name) == 0 && !l->all_went && !c->shape.wild)
                return wrong(c, "%s does not know %s", nodes[i]->name, c->table[t].t.name);
    for (uint32_t t = 0; t < c->shape.tables && (REPLICATES || c->shape.nodes == 1); t++)
        if (!copies_agree(nodes, c->shape.nodes, &c->table[t].t, t, l->finals[t], c->text) &&
            !((l->all_went || c->shape.wild) && !c->table[t].t.on_disc &&
              nobody_has(nodes, c->shape.nodes, c->table[t].t.name)))
            return false;
    if (!sim_merge_agrees(nodes, c->shape.nodes, &c->merge, c->text) &&
        !((l->all_went || c->shape.wild) && nobody_has(nodes, c->shape.nodes, "tally")))
        return false;
    if (!sim_promise_agrees(nodes, c->shape.nodes, &c->promise, c->text) &&
        !((l->all_went || c->shape.wild) && nobody_has(nodes, c->shape.nodes, "notes")))
        return false;
    if (!sim_tx_agrees(nodes, c->shape.nodes, &c->tx, c->text) &&
        !((l->all_went || c->shape.wild) && nobody_has(nodes, c->shape.nodes, sim_tx_table)))
        return false;
    if (!sim_lists_agree(nodes, c->shape.nodes, &c->lists, c->text) &&
        !((l->all_went || c->shape.wild) && nobody_has(nodes, c->shape.nodes, sim_lists_table)))
        return false;
    if (!sim_bank_agrees(nodes, c->shape.nodes, &c->bank, c->text) &&
        !((l->all_went || c->shape.wild) && nobody_has(nodes, c->shape.nodes, sim_bank_table)))
        return false;
    return !c->o.schema || sim_schema_agrees(&c->schema, c->text, sizeof c->text);
}

/* In time; else `text` says what was still different. */
static bool come_to_agree(struct look *l) {
    uint64_t end_ms = now_ms(l->c) + AGREE_MS;

    while (now_ms(l->c) < end_ms) {
        if (all_agree(l))
            return true;
        sim_run_ms(l->c->sim, LOOK_MS);
    }
    return all_agree(l);
}

/* A table may lose what it acknowledged where more of its copies went than it can do without. */
static bool keeps_acknowledged(void *user, uint32_t table) {
    const struct sim_cluster *c = user;

    return !c->shape.wild || c->table[table].sync;
}

/* ---- clocks -------------------------------------------------------------------------------- */

/* Of how many nodes the clock is at least so far from that of this one. */
static uint32_t clocks_away(struct sim_cluster *c, uint32_t node, int64_t ms) {
    uint32_t away = 0;

    for (uint32_t i = 0; i < c->shape.nodes; i++)
        away += llabs(env_wall_ms(&c->node[i].env.env) - env_wall_ms(&c->node[node].env.env)) > ms;
    return away;
}

static bool is_skewed(struct sim_cluster *c, uint32_t node) {
    return 2 * clocks_away(c, node, SWIM_CLOCK_SKEW_MS + NEAR_MS) > c->shape.nodes;
}

/* Far from where it may or may not be so. */
static bool is_in_time(struct sim_cluster *c, uint32_t node) {
    return 2 * clocks_away(c, node, SWIM_CLOCK_SKEW_MS - NEAR_MS) <= c->shape.nodes;
}

/* Where a node whose clock is right has a copy, none whose clock is wrong is the master. */
static bool masters_are_in_time(void *user) {
    struct sim_cluster *c = user;
    bool any = false;

    for (uint32_t i = 0; i < c->shape.nodes; i++)
        any |= is_in_time(c, i);
    for (uint32_t i = 0; any && i < c->shape.nodes; i++)
        for (uint32_t t = 0; is_skewed(c, i) && t < c->shape.tables; t++)
            if (c->table[t].t.copies == 0 &&
                (!c->table[t].t.on_disc || c->shape.discs == c->shape.nodes) &&
                copies_masters(&c->node[i], c->table[t].t.name) != 0)
                return false;
    return true;
}

/* The stamps of a majority table are no times: check_linear() looks at what is left of it. */
static bool is_by_clocks(void *user, uint32_t table) {
    const struct sim_cluster *c = user;

    return keeps_acknowledged(user, table) && !c->table[table].majority;
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
static bool check_linear(struct look *l) {
    struct sim_cluster *c = l->c;
    size_t room = (size_t) c->history.count + CLUSTER_KEYS_MAX;
    struct linear_op *ops = calloc(room, sizeof *ops);
    char text[LINEAR_TEXT_BYTES];
    bool good = ops != NULL;

    for (uint32_t t = 0; t < c->shape.tables && good; t++) {
        uint32_t count;

        if (!c->table[t].majority || c->table[t].spoiled || !keeps_acknowledged(c, t))
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
               wrong(c, "%s: %s", c->table[t].t.name, text);
    }
    free(ops);
    return good;
}

static bool check(struct look *l) {
    struct sim_cluster *c = l->c;

    for (uint32_t t = 0; t < c->shape.tables; t++)
        for (uint32_t key = 0; key < c->shape.keys && c->table[t].majority; key++)
            l->finals[t][key].hlc = 0;
    for (uint32_t t = 0; t < c->shape.tables; t++)
        if (!history_check_finals(&c->history, l->finals[t], c->shape.keys, is_by_clocks, c,
                                  c->text))
            return false;
    if (!history_check_reads(&c->history, c->text) || !check_linear(l) ||
        !history_check_sessions(&c->history, CLUSTER_CLIENTS_MAX, keeps_acknowledged, c, c->text) ||
        !sim_merge_check(&c->merge, &c->node[0], !c->shape.wild || c->merge.sync, c->text) ||
        !sim_promise_check(&c->promise, &c->admin, !c->shape.wild || c->promise.sync, c->o.tell,
                           c->text) ||
        !sim_tx_check(&c->tx, !c->shape.wild, c->text) ||
        !sim_lists_check(&c->lists, c->o.tell, c->text) || !sim_bank_check(&c->bank, c->text))
        return false;
    for (uint32_t i = 0; i < c->shape.nodes; i++)
        if (sim_node_mended(&c->node[i]) != 0)
            return wrong(c, "copies differed, and %s wrote records anew", c->node[i].name);
    for (uint32_t i = 0; i < c->shape.nodes; i++)
        if (c->node[i].mail.view_words > VIEW_WORDS_MAX)
            return wrong(c, "%s heard %" PRIu64 " words of views", c->node[i].name,
                         c->node[i].mail.view_words);
    for (uint32_t i = 0; i < c->shape.nodes; i++)
        for (uint32_t t = 0; t < c->shape.tables; t++)
            if (!copies_check(&c->node[i], c->table[t].t.name))
                return wrong(c, "a shard of %s on %s stays busy, or is gone", c->table[t].t.name,
                             c->node[i].name);
    return sim_run_until(c->sim, masters_are_in_time, c, MASTERS_MS) ||
           wrong(c, "a node orders writes whose clock is not the others'");
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

/* As sim_client_call(), and again where only an old connection was found broken. */
static enum sim_outcome ask_admin(struct sim_cluster *c, const struct sim_node *n,
                                  const char *method, struct value params, struct sim_answer *a) {
    enum sim_outcome outcome = SIM_UNKNOWN;

    for (int i = 0; i < 3 && (outcome == SIM_UNKNOWN || outcome == SIM_UNSENT); i++)
        outcome = sim_client_call(&c->admin, n->client_address, method, params, ADMIN_WAIT_MS, a);
    return outcome;
}

/* Every node reads what all agreed on. */
static bool read_everywhere(struct look *l) {
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
                return wrong(c, "after healing %s does not read %s: %s", n->name,
                             c->table[t].t.name, a.text);
            if (seen_in(a.result) != l->finals[t][key].number)
                return wrong(c, "%s reads write %u of key %u in %s, and its copies have %u",
                             n->name, seen_in(a.result), key, c->table[t].t.name,
                             l->finals[t][key].number);
        }
    return true;
}

/* ---- phases
 * ---------------------------------------------------------------------------------------- */

static bool meet(struct sim_cluster *c) {
    for (uint32_t i = 0; i < c->shape.nodes; i++)
        sim_node_start(&c->node[i]);
    if (!sim_run_until(c->sim, all_met, c, MEET_MS))
        return wrong(c, "the nodes did not meet at the start");
    for (uint32_t i = 0; i < c->shape.tables; i++)
        if (!create(c, &c->table[i]))
            return false;
    return create_merged(c) && create_promised(c) && create_transacted(c) && create_lists(c) &&
           create_bank(c);
}

static uint64_t next_fault_ns(void *user) {
    return nemesis_next_ns(((struct sim_cluster *) user)->nemesis);
}

static void live(struct sim_cluster *c) {
    uint64_t end_ns = sim_now_ns(c->sim) + c->shape.safety_ms * 1000000;

    sim_cluster_look_at_clocks(c);
    start_clients(c);
    start_mergers(c);
    start_promisers(c);
    c->tx.next_fault_ns = c->lists.next_fault_ns = c->bank.next_fault_ns = next_fault_ns;
    c->tx.user = c->lists.user = c->bank.user = c;
    if (c->tx.on)
        sim_tx_start(&c->tx, c->sim, c->o.seed);
    if (c->lists.on)
        sim_lists_start(&c->lists, c->sim, c->net, c->o.seed);
    if (c->bank.on)
        sim_bank_start(&c->bank, c->sim, c->net, c->o.seed);
    if (c->o.schema)
        sim_schema_start(&c->schema, c->sim, c->net, c->o.seed, c->node, c->shape.nodes,
                         SCHEMER_THINK_MS);
    while (sim_now_ns(c->sim) < end_ns) {
        sim_run_to(c->sim, EG_MIN(end_ns, nemesis_next_ns(c->nemesis)));
        nemesis_act(c->nemesis);
    }
    nemesis_end(c->nemesis);
    stop_clients(c);
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
            clean = wrong(c, "%s left memory behind", c->node[i].name);
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
    return c->table[table].t.on_disc && (old == NULL || keeps_acknowledged(c, table));
}

/* All stopped in order: what is on disc is there again, also where one disc is an old one. */
static bool come_back(struct sim_cluster *c, const struct look *before) {
    static struct look after;
    struct sim_node *old = who_gets_old_disc(c);

    if (!stop_all(c))
        return false;
    if (old != NULL) {
        sim_cluster_tell(c, "%s gets its old disc", old->name);
        sim_node_put_back_disc(old);
    }
    for (uint32_t i = 0; i < c->shape.nodes; i++)
        sim_node_start(&c->node[i]);
    after = (struct look){.c = c, .all_went = true};
    if (!come_to_agree(&after))
        return false;
    for (uint32_t t = 0; t < c->shape.tables; t++)
        for (uint32_t key = 0; is_same_after(c, t, old) && key < c->shape.keys; key++)
            if (after.finals[t][key].number != before->finals[t][key].number)
                return wrong(c, "after a restart of all key %u of %s is %u and was %u", key,
                             c->table[t].t.name, after.finals[t][key].number,
                             before->finals[t][key].number);
    return true;
}

/* A copy loses a record: the others give it back. */
static bool mend(struct sim_cluster *c, const struct look *before) {
    static struct look after;
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
    after = (struct look){.c = c, .all_went = before->all_went};
    if (!come_to_agree(&after))
        return false;
    for (uint32_t key = 0; key < c->shape.keys; key++)
        if (after.finals[table][key].number != before->finals[table][key].number)
            return wrong(c, "%s lost key %u of %s, and so did the others", c->node[node].name, key,
                         c->table[table].t.name);
    return true;
}

static bool run(struct sim_cluster *c) {
    static struct look look;

    look = (struct look){.c = c};
    if (!meet(c))
        return false;
    live(c);
    if (!REPLICATES && c->shape.nodes > 1)
        return come_to_agree(&look) && stop_all(c);
    return come_to_agree(&look) && check(&look) && read_everywhere(&look) && mend(c, &look) &&
           come_back(c, &look) && stop_all(c);
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
    c->history.forgets = few_graves(c->o.seed);
    c->history.renews = c->o.seed >= CLUSTER_SEED_OLD_DISC;
    draw_shape(c);
    make_nodes(c);
    for (uint32_t i = 0; i < c->shape.tables; i++)
        draw_table(c, i);
    draw_network(c);
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
    r.virtual_ms = now_ms(&c);
    r.events = sim_steps(c.sim);
    r.counts = history_count(&c.history);
    r.nodes = c.shape.nodes;
    r.faults = nemesis_faults(c.nemesis);
    close_cluster(&c);
    return r;
}
