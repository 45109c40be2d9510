/* sim_merge.c -- what they ask, and what the answers say became of it. */
#include "tests/sim/sim_merge.h"

#include "tests/sim/copies.h"
#include "tests/sim/sim_think.h"

#include <string.h>

enum { WAIT_MS = 6000, CLEAR_ONE_IN = 200, LEAVE_ONE_IN = 4 };

static void think(struct merger *me);

const char *merge_table_name(enum merge_table t) {
    static const char *const names[MERGE_TABLES] = {"tally", "tags", "pairs"};
    return names[t];
}

void merge_put_create(struct value_writer *w, enum merge_table t, bool on_disc, bool sync) {
    static const char *const policies[MERGE_TABLES] = {"counter", "set", "lww"};

    value_put_array(w, 2);
    value_put_text(w, merge_table_name(t));
    value_put_map(w, 6);
    value_put_text(w, "type");
    value_put_text(w, t == MERGE_PAIRS ? "bag" : "set");
    value_put_text(w, "merge");
    value_put_text(w, policies[t]);
    value_put_text(w, "storage");
    value_put_text(w, on_disc ? "disc" : "ram");
    value_put_text(w, "durability");
    value_put_text(w, sync ? "sync" : "async");
    value_put_text(w, "shards");
    value_put_u64(w, 2);
    value_put_text(w, "copies");
    value_put_text(w, "all");
}

/* ---- what they ask --------------------------------------------------------------------- */

static uint32_t thing_new(struct merger *me, uint64_t key) {
    struct sim_merge *x = me->world;
    struct thing *t;

    if (x->things + 1 >= MERGE_THINGS_MAX)
        return 0;
    t = &x->thing[++x->things];
    *t = (struct thing){.table = me->table, .key = key, .view = me->view, .begin_ns = me->begin_ns};
    return x->things;
}

static const char *ask_tally(struct merger *me, struct value_writer *w) {
    me->key = rng_below(&me->rng, MERGE_COUNTERS);
    me->delta = 1 + rng_below(&me->rng, 9);
    value_put_array(w, 4);
    value_put_text(w, "tally");
    value_put_u64(w, me->key);
    value_put_text(w, "value");
    value_put_u64(w, me->delta);
    return "update_counter";
}

/* One more, or one less, of its set. */
static const char *ask_tags(struct merger *me, struct value_writer *w) {
    bool takes =
        me->set_count == MERGE_ELEMENTS_MAX || (me->set_count != 0 && rng_one_in(&me->rng, 3));
    uint32_t which = takes ? (uint32_t) rng_below(&me->rng, me->set_count) : 0;

    me->key = me->set_key;
    if (takes)
        me->taking = me->set[which];
    else
        me->putting = thing_new(me, me->key);
    value_put_array(w, 2);
    value_put_text(w, "tags");
    value_put_array(w, 2);
    value_put_u64(w, me->key);
    value_put_array(w, me->set_count - takes + (me->putting != 0));
    for (uint32_t i = 0; i < me->set_count; i++)
        if (!takes || i != which)
            value_put_u64(w, me->set[i]);
    if (me->putting != 0)
        value_put_u64(w, me->putting);
    return "write";
}

/* One of its own that is there for certain; 0: it found none. */
static uint32_t some_pair(struct merger *me) {
    const struct sim_merge *x = me->world;

    for (int i = 0; i < 10 && x->things != 0; i++) {
        uint32_t number = 1 + (uint32_t) rng_below(&me->rng, x->things);
        const struct thing *t = &x->thing[number];
        if (t->table == MERGE_PAIRS && t->put == OP_OK && t->taken == OP_OPEN &&
            number % MERGERS == (uint32_t) (me - x->merger))
            return number;
    }
    return 0;
}

static const char *ask_pairs(struct merger *me, struct value_writer *w) {
    struct sim_merge *x = me->world;
    uint32_t number;

    me->clears = rng_one_in(&me->rng, CLEAR_ONE_IN) && x->clears < EG_COUNTOF(x->clear);
    value_put_array(w, me->clears ? 1 : 2);
    value_put_text(w, "pairs");
    if (me->clears)
        return "clear_table";
    if (rng_one_in(&me->rng, 3))
        me->taking = some_pair(me);
    number = me->taking;
    if (number == 0)
        number = me->putting = thing_new(me, rng_below(&me->rng, 4));
    value_put_array(w, 2);
    value_put_u64(w, x->thing[number].key);
    value_put_u64(w, number);
    return me->taking != 0 ? "delete_object" : "write";
}

static void ask(struct sim_event *e) {
    struct merger *me = EG_CONTAINER_OF(e, struct merger, think);
    struct sim_merge *x = me->world;
    uint8_t at[512];
    struct value_writer w = value_writer_init(at, sizeof at);
    const char *method;

    if (x->quiet)
        return;
    if (rng_one_in(&me->rng, x->leaves ? 3 : 10))
        me->node = (uint32_t) rng_below(&me->rng, x->nodes);
    me->table = (enum merge_table) rng_below(&me->rng, MERGE_TABLES);
    me->putting = me->taking = 0;
    me->clears = false;
    me->view = sim_node_view(&x->node[me->node]);
    me->whole =
        x->node[me->node].up && copies_whole(&x->node[me->node], merge_table_name(me->table));
    me->begin_ns = sim_now_ns(x->sim);
    method = me->table == MERGE_TALLY  ? ask_tally(me, &w)
             : me->table == MERGE_TAGS ? ask_tags(me, &w)
                                       : ask_pairs(me, &w);
    EG_ASSERT(!w.overflow);
    sim_client_ask(&me->client, x->node[me->node].client_address, method,
                   (struct value){at, (uint32_t) w.need_bytes}, WAIT_MS);
}

static void think(struct merger *me) {
    struct sim_merge *x = me->world;

    sim_at(x->sim, &me->think, sim_think_ns(&me->rng, sim_now_ns(x->sim), x->think_ms), ask);
}

/* ---- what became of it -------------------------------------------------------------------- */

static void tally_ended(struct merger *me, enum op_end end) {
    struct sim_merge *x = me->world;

    x->acked[me->key] += end == OP_OK ? me->delta : 0;
    x->doubted[me->key] += end == OP_INFO ? me->delta : 0;
}

/* All whole copies of a view have what was acknowledged in it. */
static uint32_t nodes_in(const struct sim_merge *x, uint64_t view, enum merge_table t) {
    uint32_t nodes = 0;

    for (uint32_t i = 0; view != 0 && i < x->nodes; i++)
        if (sim_node_view(&x->node[i]) == view && copies_whole(&x->node[i], merge_table_name(t)))
            nodes |= UINT32_C(1) << i;
    return nodes;
}

static void put_ended(struct merger *me, enum op_end end) {
    struct thing *t = &me->world->thing[me->putting];

    if (me->putting == 0)
        return;
    t->put = end;
    t->end_ns = sim_now_ns(me->world->sim);
    t->view = me->view;
    t->knowing = end == OP_OK ? nodes_in(me->world, me->view, me->table) : 0;
    for (uint32_t i = 0; i < me->world->nodes; i++)
        t->starts[i] = me->world->node[i].starts;
}

static void take_ended(struct merger *me, enum op_end end) {
    struct thing *t = &me->world->thing[me->taking];

    if (me->taking == 0 || end == OP_FAIL)
        return;
    t->taken = end;
    t->known = me->view != 0 && me->whole && (t->knowing >> me->node & 1) != 0 &&
               t->starts[me->node] == me->world->node[me->node].starts;
}

/* Had all of these nodes it already, and so their master?  Then to write it again adds nothing. */
static bool is_had_by(const struct sim_merge *x, const struct thing *t, uint32_t nodes) {
    for (uint32_t i = 0; i < x->nodes; i++)
        if ((nodes >> i & 1) != 0 &&
            ((t->knowing >> i & 1) == 0 || t->starts[i] != x->node[i].starts))
            return false;
    return nodes != 0;
}

/* All that it wrote is there by this write too, where it was not before. */
static void tags_ended(struct merger *me, enum op_end end) {
    struct sim_merge *x = me->world;
    uint32_t left = 0, knowing = end == OP_OK ? nodes_in(x, me->view, me->table) : 0;

    if (end == OP_FAIL)
        return;
    for (uint32_t i = 0; i < me->set_count; i++) {
        if (me->set[i] == me->taking)
            continue;
        if (!is_had_by(x, &x->thing[me->set[i]], knowing))
            x->thing[me->set[i]].knowing &= knowing;
        me->set[left++] = me->set[i];
    }
    me->set_count = left;
    if (me->putting != 0)
        me->set[me->set_count++] = me->putting;
    if (end == OP_INFO || (x->leaves && me->taking != 0 && rng_one_in(&me->rng, LEAVE_ONE_IN))) {
        me->set_key = x->keys++;
        me->set_count = 0;
    }
}

static void clear_ended(struct merger *me, enum op_end end) {
    struct sim_merge *x = me->world;

    if (end != OP_FAIL && x->clears < EG_COUNTOF(x->clear))
        x->clear[x->clears++] =
            (struct merge_clear){end, me->view, me->begin_ns, sim_now_ns(x->sim)};
}

static void on_answer(struct sim_client *client, const struct sim_answer *a) {
    struct merger *me = client->user;
    struct sim_merge *x = me->world;
    enum op_end end = history_end_of(a);

    if (me->view != sim_node_view(&x->node[me->node]))
        me->view = 0;
    x->done += end == OP_OK;
    x->refused += end == OP_FAIL;
    sim_note(x->sim, (uint64_t) me->table << 8 | end);
    if (me->table == MERGE_TALLY)
        tally_ended(me, end);
    else if (me->clears)
        clear_ended(me, end);
    take_ended(me, end);
    put_ended(me, end);
    if (me->table == MERGE_TAGS)
        tags_ended(me, end);
    if (end != OP_OK && rng_one_in(&me->rng, 2))
        me->node = (uint32_t) rng_below(&me->rng, x->nodes);
    think(me);
}

/* ---- start, stop -------------------------------------------------------------------------- */

void sim_merge_start(struct sim_merge *x, struct sim *s, struct sim_net *net, uint64_t seed) {
    x->sim = s;
    for (uint32_t i = 0; i < MERGERS; i++) {
        struct merger *me = &x->merger[i];
        char host[16];

        snprintf(host, sizeof host, "merger%u", i);
        me->world = x;
        me->rng = rng_of(seed * MERGERS + i);
        me->set_key = x->keys++;
        me->node = (uint32_t) rng_below(&me->rng, x->nodes);
        sim_client_init(&me->client, net, s, host, on_answer, me);
        think(me);
    }
}

bool sim_merge_is_done(const struct sim_merge *x) {
    for (uint32_t i = 0; x->on && i < MERGERS; i++)
        if (x->merger[i].client.busy)
            return false;
    return true;
}

void sim_merge_stop(struct sim_merge *x) {
    x->quiet = true;
    for (uint32_t i = 0; i < MERGERS; i++) {
        sim_cancel(x->sim, &x->merger[i].think);
        sim_client_close(&x->merger[i].client);
    }
    sim_run_ms(x->sim, 1);
    for (uint32_t i = 0; i < MERGERS; i++)
        sim_client_fini(&x->merger[i].client);
}
