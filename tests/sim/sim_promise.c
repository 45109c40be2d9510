/* sim_promise.c -- what they ask, and what the answers say became of it. */
#include "tests/sim/sim_promise.h"

#include "engine/env.h"
#include "tests/sim/copies.h"
#include "tests/sim/sim_promise_field.h"
#include "tests/sim/sim_think.h"

#include <stdlib.h>
#include <string.h>

enum {
    WAIT_MS = 6000,
    TTL_MIN_MS = 500,
    TTL_MS = 6000,
    KEYS_GO_BY_MS = 4000, /* a cut may begin and end meanwhile */
    KEYS_AT_A_TIME = 2,
};

static void think(struct promiser *me);

bool promise_has(const struct sim_promise *x, enum promise_table t) {
    return x->policies ? t >= PROMISE_NOTES : t <= PROMISE_NOTES;
}

bool sim_promise_agrees(struct sim_node *const *nodes, uint32_t count, const struct sim_promise *x,
                        char text[HISTORY_TEXT_BYTES]) {
    for (enum promise_table t = PROMISE_NOTES; x->on && x->policies && t < PROMISE_TABLES; t++)
        if (!copies_same(nodes, count, promise_table_name(t), PROMISE_SHARDS, text))
            return false;
    return true;
}

/* ---- what they ask --------------------------------------------------------------------- */

static int64_t least_clock_ms(const struct sim_promise *x) {
    int64_t least_ms = INT64_MAX;

    for (uint32_t i = 0; i < x->nodes; i++)
        least_ms = EG_MIN(least_ms, env_wall_ms(&x->node[i].env.env));
    return least_ms;
}

/* Read with the context, and write with what was read before. */
static const char *ask_cart(struct promiser *me, struct deed *d, struct value_writer *w) {
    struct known *k = &me->known[d->key];

    value_put_array(w, 3);
    value_put_text(w, "carts");
    if (k->context_bytes == 0) {
        d->kind = DEED_READ;
        value_put_u64(w, d->key);
        value_put_map(w, 1);
        value_put_text(w, "siblings");
        value_put_bool(w, true);
        return "read";
    }
    d->kind = rng_one_in(&me->rng, 6) ? DEED_DELETE : DEED_WRITE;
    d->named = k->named;
    d->named_in = k->view;
    if (d->kind == DEED_WRITE)
        promise_put_record(w, d->table, d->key, me->number);
    else
        value_put_u64(w, d->key);
    value_put_map(w, 1);
    value_put_text(w, "replaces");
    value_put_binary(w, k->context, k->context_bytes);
    if (!rng_one_in(&me->rng, 4))
        k->context_bytes = 0;
    return d->kind == DEED_WRITE ? "write" : "delete";
}

static const char *ask_lease(struct promiser *me, struct deed *d, struct value_writer *w) {
    d->kind = rng_one_in(&me->rng, 3) ? DEED_WRITE : DEED_READ;
    value_put_array(w, d->kind == DEED_WRITE ? 3 : 2);
    value_put_text(w, "leases");
    if (d->kind == DEED_READ) {
        value_put_u64(w, d->key);
        return "read";
    }
    d->ttl_ms = TTL_MIN_MS + (uint32_t) rng_below(&me->rng, TTL_MS);
    promise_put_record(w, d->table, d->key, me->number);
    value_put_map(w, 1);
    value_put_text(w, "ttl");
    value_put_double(w, d->ttl_ms / 1e3);
    return "write";
}

static const char *ask_note(struct promiser *me, struct deed *d, struct value_writer *w) {
    value_put_array(w, 2);
    value_put_text(w, "notes");
    d->fields = promise_all_fields(PROMISE_NOTES);
    promise_put_record(w, PROMISE_NOTES, d->key, me->number);
    return "write";
}

/* One attribute of what is there. */
static const char *ask_field(struct promiser *me, struct deed *d, struct value_writer *w) {
    uint32_t field = (uint32_t) rng_below(&me->rng, PROMISE_FIELDS_MAX);

    d->fields = UINT32_C(1) << field;
    value_put_array(w, 3);
    value_put_text(w, promise_table_name(d->table));
    value_put_u64(w, d->key);
    value_put_map(w, 1);
    value_put_text(w, field == 0 ? "a" : "b");
    value_put_u64(w, promise_field(d->table, me->number, field));
    return "update";
}

static const char *ask_policy(struct promiser *me, struct deed *d, struct value_writer *w) {
    bool deletes = rng_one_in(&me->rng, 8);

    if (d->table == PROMISE_FIELDS && !deletes && !rng_one_in(&me->rng, 3))
        return ask_field(me, d, w);
    d->kind = deletes ? DEED_DELETE : DEED_WRITE;
    d->fields = promise_all_fields(d->table);
    value_put_array(w, 2);
    value_put_text(w, promise_table_name(d->table));
    if (deletes)
        value_put_u64(w, d->key);
    else
        promise_put_record(w, d->table, d->key, me->number);
    return deletes ? "delete" : "write";
}

static enum promise_table draw_table(struct promiser *me) {
    uint32_t tables = me->world->policies ? PROMISE_TABLES - PROMISE_NOTES : PROMISE_NOTES + 1;
    enum promise_table t = (enum promise_table) rng_below(&me->rng, tables);

    if (me->world->policies)
        return t + PROMISE_NOTES;
    return t == PROMISE_LEASES && me->world->jumps ? PROMISE_NOTES : t;
}

static uint32_t draw_key(struct promiser *me) {
    const struct sim_promise *x = me->world;
    uint64_t gone = (sim_now_ns(x->sim) - x->start_ns) / (KEYS_GO_BY_MS * UINT64_C(1000000));

    if (!x->policies)
        return (uint32_t) rng_below(&me->rng, PROMISE_KEYS);
    return (uint32_t) (gone * KEYS_AT_A_TIME + rng_below(&me->rng, KEYS_AT_A_TIME)) %
           PROMISE_KEYS_MAX;
}

/* A copy whose disc is full, say, follows nobody, and nobody waits for it. */
static bool is_everywhere(const struct sim_promise *x, enum promise_table t) {
    bool whole = true;

    for (uint32_t i = 0; i < x->nodes; i++)
        whole &= copies_whole(&x->node[i], promise_table_name(t));
    return whole;
}

static void ask(struct sim_event *e) {
    struct promiser *me = EG_CONTAINER_OF(e, struct promiser, think);
    struct sim_promise *x = me->world;
    uint8_t at[PROMISE_CONTEXT_BYTES + 200];
    struct value_writer w = value_writer_init(at, sizeof at);
    const char *method;
    struct deed *d;

    if (x->quiet || x->deeds + 1 >= PROMISE_DEEDS_MAX)
        return;
    if (rng_one_in(&me->rng, 10))
        me->node = (uint32_t) rng_below(&me->rng, x->nodes);
    me->number = ++x->deeds;
    d = &x->deed[me->number];
    *d = (struct deed){.table = draw_table(me),
                       .key = draw_key(me),
                       .node = me->node,
                       .begin_ns = sim_now_ns(x->sim),
                       .view = sim_node_view(&x->node[me->node]),
                       .least_ms = least_clock_ms(x)};
    for (uint32_t i = 0; i < x->nodes; i++) {
        d->views[i] = sim_node_view(&x->node[i]);
        d->starts[i] = x->node[i].starts;
    }
    d->everywhere = is_everywhere(x, d->table);
    method = x->policies                  ? ask_policy(me, d, &w)
             : d->table == PROMISE_CARTS  ? ask_cart(me, d, &w)
             : d->table == PROMISE_LEASES ? ask_lease(me, d, &w)
                                          : ask_note(me, d, &w);
    EG_ASSERT(!w.overflow);
    sim_client_ask(&me->client, x->node[me->node].client_address, method,
                   (struct value){at, (uint32_t) w.need_bytes}, WAIT_MS);
}

static void think(struct promiser *me) {
    struct sim_promise *x = me->world;

    sim_at(x->sim, &me->think, sim_think_ns(&me->rng, sim_now_ns(x->sim), x->think_ms), ask);
}

/* ---- what became of it -------------------------------------------------------------------- */

void promise_numbers_in(struct value records, struct numbers *out) {
    struct value_iter it = value_iter_of(records);
    struct value record;

    out->count = 0;
    while (value_iter_next(&it, &record)) {
        EG_ASSERT(out->count < PROMISE_SEEN_MAX);
        out->at[out->count++] =
            promise_number_of(promise_read_fields(PROMISE_CARTS, record).field[0]);
    }
}

static void keep_context(struct promiser *me, struct deed *d, struct value answer) {
    struct known *k = &me->known[d->key];
    struct value_iter it = value_iter_of(answer);
    struct value records, context;
    const uint8_t *at;

    EG_ASSERT(value_iter_next(&it, &records) && value_iter_next(&it, &context));
    promise_numbers_in(records, &d->named);
    EG_ASSERT(value_get_bytes(context, &at, &k->context_bytes));
    EG_ASSERT(k->context_bytes <= PROMISE_CONTEXT_BYTES);
    memcpy(k->context, at, k->context_bytes);
    k->named = d->named;
    k->view = d->view;
}

static void on_answer(struct sim_client *client, const struct sim_answer *a) {
    struct promiser *me = client->user;
    struct sim_promise *x = me->world;
    struct deed *d = &x->deed[me->number];

    d->end = history_end_of(a);
    d->end_ns = sim_now_ns(x->sim);
    for (uint32_t i = 0; i < x->nodes; i++)
        *x->most_ms = EG_MAX(*x->most_ms, env_wall_ms(&x->node[i].env.env));
    d->most_ms = *x->most_ms;
    d->least_then_ms = least_clock_ms(x);
    if (d->view != sim_node_view(&x->node[d->node]))
        d->view = 0;
    d->everywhere &= is_everywhere(x, d->table);
    if (d->end == OP_OK && d->kind == DEED_READ) {
        if (d->table == PROMISE_CARTS)
            keep_context(me, d, a->result);
        else
            promise_numbers_in(a->result, &d->named);
    }
    x->done += d->end == OP_OK;
    x->refused += d->end == OP_FAIL;
    sim_note(x->sim, (uint64_t) me->number << 8 | d->end);
    if (d->end != OP_OK && rng_one_in(&me->rng, 2))
        me->node = (uint32_t) rng_below(&me->rng, x->nodes);
    think(me);
}

/* ---- start, stop -------------------------------------------------------------------------- */

void sim_promise_init(struct sim_promise *x) {
    x->deed = calloc(PROMISE_DEEDS_MAX, sizeof *x->deed);
    EG_ASSERT(x->deed != NULL);
}

void sim_promise_fini(struct sim_promise *x) {
    free(x->deed);
    x->deed = NULL;
}

void sim_promise_start(struct sim_promise *x, struct sim *s, struct sim_net *net, uint64_t seed) {
    x->sim = s;
    x->start_ns = sim_now_ns(s);
    for (uint32_t i = 0; i < PROMISERS; i++) {
        struct promiser *me = &x->promiser[i];
        char host[16];

        snprintf(host, sizeof host, "client%u", i);
        *me = (struct promiser){.world = x, .rng = rng_of(seed * PROMISERS + i)};
        me->node = (uint32_t) rng_below(&me->rng, x->nodes);
        sim_client_init(&me->client, net, s, host, on_answer, me);
        think(me);
    }
}

bool sim_promise_is_done(const struct sim_promise *x) {
    for (uint32_t i = 0; x->on && i < PROMISERS; i++)
        if (x->promiser[i].client.busy)
            return false;
    return true;
}

void sim_promise_stop(struct sim_promise *x) {
    for (uint32_t i = 0; i < PROMISERS; i++) {
        sim_cancel(x->sim, &x->promiser[i].think);
        sim_client_close(&x->promiser[i].client);
    }
    sim_run_ms(x->sim, 1);
    for (uint32_t i = 0; i < PROMISERS; i++)
        sim_client_fini(&x->promiser[i].client);
}
