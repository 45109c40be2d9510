/* sim_cluster_client.c -- clients ask, think, and ask again; what each was told goes to the
 * history. */
#include "tests/sim/sim_cluster_private.h"

#include "tests/sim/nemesis.h"
#include "tests/sim/sim_think.h"

#include <string.h>

enum {
    CLIENT_WAIT_MS = 8 * 1000,
    STAYER_WAIT_MS = 1500,
    STAYER_THINK_MS = 60,
    STAYER_KEYS = 2,
    QUIET_MS = 20 * 1000, /* for what clients have under way */
    RECORD_BYTES_MAX = 20000,
};

static void think(struct cluster_client *me);

uint32_t sim_cluster_seen_in(struct value records) {
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
        op->seen = sim_cluster_seen_in(records_of(a->result, me->asked));
    sim_note(c->sim, (uint64_t) op->number << 8 | op->end);
    sim_note(c->sim, op->seen);
    if (op->end != OP_OK && !me->stays && rng_one_in(&me->rng, 2))
        me->node = (uint32_t) rng_below(&me->rng, c->shape.nodes);
    think(me);
}

static void put_record(struct value_writer *v, const struct op *op, struct rng *r) {
    static const uint8_t bytes[RECORD_BYTES_MAX];
    size_t size = rng_one_in(r, 40) ? rng_below(r, RECORD_BYTES_MAX) : rng_below(r, 200);

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
    op->least_ms = sim_cluster_least_clock_ms(c);
    op->view = sim_node_view(&c->node[op->node]);
    op->starts = c->node[op->node].starts;
    op->home = me->stays && is_in_company(me, op) && has_whole(c, op);
    op->dirty = c->shape.dirty && !me->stays && is_dirty(op);
    me->asked = asking_of(c, me, op);
    value_put_array(&v, me->asked == ASK_QUERY ? 1 : op->dirty ? 3 : 2);
    if (me->asked != ASK_QUERY)
        value_put_text(&v, c->table[op->table].t.name);
    if (op->kind == OP_WRITE)
        put_record(&v, op, &me->rng);
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

static void think(struct cluster_client *me) {
    struct sim_cluster *c = me->cluster;
    uint64_t think_ms = me->stays ? STAYER_THINK_MS : c->shape.think_ms;

    sim_at(c->sim, &me->think, sim_think_ns(&me->rng, sim_now_ns(c->sim), think_ms), ask);
}

static void start_client(struct sim_cluster *c, struct cluster_client *me, const char *host) {
    sim_client_init(&me->client, c->net, c->sim, host, on_answer, me);
    think(me);
}

static bool has_majority_where_asked(const struct sim_cluster *c, uint32_t table) {
    return c->table[table].majority || !cluster_seed_has_majorities(c->o.seed);
}

static void start_usual(struct sim_cluster *c) {
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

static uint64_t next_fault_ns(void *user) {
    return nemesis_next_ns(((struct sim_cluster *) user)->nemesis);
}

/* The others beside the usual ones, whose dice fall as without them. */
void sim_cluster_start_clients(struct sim_cluster *c) {
    c->merge.think_ms = c->promise.think_ms = c->shape.think_ms;
    c->tx.next_fault_ns = c->lists.next_fault_ns = c->bank.next_fault_ns = next_fault_ns;
    c->tx.user = c->lists.user = c->bank.user = c;
    start_usual(c);
    if (c->merge.on)
        sim_merge_start(&c->merge, c->sim, c->net, c->o.seed);
    if (c->promise.on)
        sim_promise_start(&c->promise, c->sim, c->net, c->o.seed);
    if (c->tx.on)
        sim_tx_start(&c->tx, c->sim, c->o.seed);
    if (c->lists.on)
        sim_lists_start(&c->lists, c->sim, c->net, c->o.seed);
    if (c->bank.on)
        sim_bank_start(&c->bank, c->sim, c->net, c->o.seed);
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

void sim_cluster_stop_clients(struct sim_cluster *c) {
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
