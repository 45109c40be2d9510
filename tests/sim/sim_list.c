/* sim_list.c -- begin, read, append, commit, each an answer after the other. */
#include "tests/sim/sim_list.h"

#include "tests/sim/sim_think.h"
#include "tests/sim/sim_tx.h"
#include "tests/support/serial_text.h"

#include <stdlib.h>
#include <string.h>

enum {
    WAIT_MS = 6000,
    DEADLINE_MS = 3000,
    REQUEST_BYTES = LIST_MAX * 5 + 200,
    ONCE_ONE_IN = 4,
    SCAN_ONE_IN = 4,
    MOVE_ONE_IN = 10,
};

const char sim_lists_table[] = "lists";

void sim_lists_put_create(const struct sim_lists *x, struct value_writer *w, bool sync,
                          uint32_t shards) {
    const struct copies_table *t = &x->t;

    value_put_array(w, 2);
    value_put_text(w, sim_lists_table);
    value_put_map(w, 4 + x->ordered);
    if (x->ordered) {
        value_put_text(w, "type");
        value_put_text(w, "ordered_set");
    }
    value_put_text(w, "storage");
    value_put_text(w, t->on_disc ? "disc" : "ram");
    value_put_text(w, "durability");
    value_put_text(w, sync ? "sync" : "async");
    value_put_text(w, "shards");
    value_put_u64(w, shards);
    value_put_text(w, "copies");
    if (t->copies == 0)
        value_put_text(w, "all");
    else
        value_put_u64(w, t->copies);
}

/* ---- what they ask --------------------------------------------------------------------------- */

static void think(struct lister *me);

static void ask(struct lister *me, const char *method, const uint8_t *at,
                const struct value_writer *w) {
    EG_ASSERT(!w->overflow);
    sim_client_ask(&me->client, me->world->node[me->node].client_address, method,
                   (struct value){at, (uint32_t) w->need_bytes}, WAIT_MS);
}

static void put_tx(struct lister *me, struct value_writer *w) {
    value_put_map(w, 1);
    value_put_text(w, "tx");
    value_put_text(w, me->id);
}

static void ask_begin(struct lister *me) {
    uint8_t at[REQUEST_BYTES];
    struct value_writer w = value_writer_init(at, sizeof at);

    me->at = LIST_BEGIN;
    value_put_array(&w, 1);
    value_put_map(&w, me->again ? 2 : 1);
    value_put_text(&w, "timeout_ms");
    value_put_u64(&w, DEADLINE_MS);
    if (me->again) {
        value_put_text(&w, "retry");
        value_put_text(&w, me->id);
    }
    ask(me, "begin", at, &w);
}

static void put_bound(struct value_writer *w, const char *is, uint64_t key) {
    value_put_array(w, 3);
    value_put_text(w, is);
    value_put_text(w, "$1");
    value_put_u64(w, key);
}

/* [[[$1, $2], [[>=, $1, key], [<, $1, ...]], [$_]]] */
static void put_scan(struct value_writer *w, uint32_t key) {
    value_put_array(w, 1);
    value_put_array(w, 3);
    value_put_array(w, 2);
    value_put_text(w, "$1");
    value_put_text(w, "$2");
    value_put_array(w, 2);
    put_bound(w, ">=", key);
    put_bound(w, "<", (uint64_t) key + LIST_SCAN_KEYS);
    value_put_array(w, 1);
    value_put_text(w, "$_");
}

static void put_look(struct lister *me, struct value_writer *w, uint32_t op) {
    value_put_text(w, sim_lists_table);
    if (me->scans[op])
        put_scan(w, me->key[op]);
    else
        value_put_u64(w, me->key[op]);
}

static void ask_read(struct lister *me) {
    uint8_t at[REQUEST_BYTES];
    struct value_writer w = value_writer_init(at, sizeof at);

    me->at = LIST_READ;
    value_put_array(&w, 3);
    put_look(me, &w, me->op);
    put_tx(me, &w);
    ask(me, me->scans[me->op] ? "select" : "read", at, &w);
}

static void ask_write(struct lister *me, const uint32_t *list, uint32_t count) {
    uint8_t at[REQUEST_BYTES];
    struct value_writer w = value_writer_init(at, sizeof at);
    uint32_t element = ++me->world->elements;

    me->at = LIST_WRITE;
    serial_append(&me->world->history, me->tx, me->key[me->op], element);
    value_put_array(&w, 3);
    value_put_text(&w, sim_lists_table);
    value_put_array(&w, 2);
    value_put_u64(&w, me->key[me->op]);
    value_put_array(&w, count + 1);
    for (uint32_t i = 0; i < count; i++)
        value_put_u64(&w, list[i]);
    value_put_u64(&w, element);
    put_tx(me, &w);
    ask(me, "write", at, &w);
}

static void ask_end(struct lister *me, bool commit) {
    uint8_t at[REQUEST_BYTES];
    struct value_writer w = value_writer_init(at, sizeof at);

    me->at = commit ? LIST_COMMIT : LIST_ABORT;
    value_put_array(&w, 1);
    value_put_text(&w, me->id);
    ask(me, commit ? "commit" : "abort", at, &w);
}

static void ask_once(struct lister *me) {
    uint8_t at[REQUEST_BYTES];
    struct value_writer w = value_writer_init(at, sizeof at);

    me->at = LIST_ONCE;
    value_put_array(&w, 1);
    value_put_array(&w, me->ops);
    for (uint32_t i = 0; i < me->ops; i++) {
        value_put_array(&w, 3);
        value_put_text(&w, me->scans[i] ? "select" : "read");
        put_look(me, &w, i);
    }
    ask(me, "transaction", at, &w);
}

static void plan(struct lister *me) {
    struct sim_lists *x = me->world;
    uint32_t oldest = x->history.tx_count / LIST_TXS_A_KEY;

    if (!me->again)
        me->planned = rng_u64(&me->rng);
    me->plan = rng_of(me->planned);
    me->ops = 1 + (uint32_t) rng_below(&me->plan, LIST_OPS_MAX);
    for (uint32_t i = 0; i < me->ops; i++) {
        if (!me->again)
            me->key[i] = (oldest + (uint32_t) rng_below(&me->plan, LIST_KEYS_AT_ONCE)) % LIST_KEYS;
        me->appends[i] = rng_one_in(&me->plan, 2);
        me->scans[i] = x->scans && rng_one_in(&me->plan, SCAN_ONE_IN);
        me->appends[i] &= !me->scans[i];
    }
    me->op = 0;
}

static void begin(struct sim_event *e) {
    struct lister *me = EG_CONTAINER_OF(e, struct lister, think);
    struct sim_lists *x = me->world;
    const struct sim_node *n;

    if (x->quiet || x->history.tx_count >= (LIST_KEYS - LIST_KEYS_AT_ONCE) * LIST_TXS_A_KEY)
        return;
    if (!me->again && rng_one_in(&me->rng, MOVE_ONE_IN))
        me->node = (uint32_t) rng_below(&me->rng, x->nodes);
    plan(me);
    n = &x->node[me->node];
    me->view = n->up ? sim_node_view(n) : 0;
    me->start = n->starts;
    me->tx = serial_begin(&x->history, sim_now_ns(x->sim));
    if (!me->again && rng_one_in(&me->rng, ONCE_ONE_IN))
        ask_once(me);
    else
        ask_begin(me);
}

static void think(struct lister *me) {
    struct sim_lists *x = me->world;

    me->at = LIST_IDLE;
    sim_at(x->sim, &me->think,
           sim_think_before_fault_ns(&me->rng, sim_now_ns(x->sim), x->think_ms,
                                     x->next_fault_ns(x->user)),
           begin);
}

/* ---- what the answers say ---------------------------------------------------------------- */

static void end(struct lister *me, enum op_end how) {
    struct sim_lists *x = me->world;
    const struct sim_node *n = &x->node[me->node];
    bool same = n->up && n->starts == me->start && sim_node_view(n) == me->view;

    serial_end(&x->history, me->tx,
               how == OP_OK     ? SERIAL_DONE
               : how == OP_FAIL ? SERIAL_UNDONE
                                : SERIAL_MAYBE,
               same ? me->view : 0, sim_now_ns(x->sim));
    sim_note(x->sim, (uint64_t) me->tx << 8 | how);
    x->done += how == OP_OK;
    x->refused += how == OP_FAIL;
}

/* The list in [[key, list], ...] of that key, or of the only one there is; else none. */
static uint32_t get_list(struct value records, uint32_t key, uint32_t *list) {
    struct value_iter it = value_iter_of(records), fields;
    struct value v;
    uint32_t count = 0;
    uint64_t n;

    do {
        if (!value_iter_next(&it, &v))
            return 0;
        fields = value_iter_of(v);
        EG_ASSERT(value_iter_next(&fields, &v) && value_get_u64(v, &n));
    } while (n != key);
    EG_ASSERT(value_iter_next(&fields, &v));
    it = value_iter_of(v);
    while (value_iter_next(&it, &v)) {
        EG_ASSERT(count < LIST_MAX && value_get_u64(v, &n));
        list[count++] = (uint32_t) n;
    }
    return count;
}

/* What a read or a scan has found; the list of a read. */
static uint32_t note_look(struct lister *me, uint32_t op, struct value found, uint32_t *list) {
    uint32_t keys = me->scans[op] ? LIST_SCAN_KEYS : 1, count = 0;
    struct value_iter page = value_iter_of(found);

    if (me->scans[op]) /* [records, no cursor] */
        EG_ASSERT(value_iter_next(&page, &found));
    for (uint32_t key = me->key[op]; key < me->key[op] + keys; key++) {
        count = get_list(found, key, list);
        serial_read(&me->world->history, me->tx, key, list, count);
    }
    return count;
}

static void note_once(struct lister *me, struct value results) {
    struct value_iter it = value_iter_of(results);
    uint32_t list[LIST_MAX];
    struct value v;

    for (uint32_t i = 0; i < me->ops; i++) {
        EG_ASSERT(value_iter_next(&it, &v));
        (void) note_look(me, i, v, list);
    }
}

static void next_op(struct lister *me) {
    if (++me->op < me->ops)
        ask_read(me);
    else
        ask_end(me, true);
}

static void go_on(struct lister *me, struct value result) {
    uint32_t list[LIST_MAX], count, size_bytes;
    const uint8_t *at;

    switch (me->at) {
    case LIST_BEGIN:
        EG_ASSERT(value_get_bytes(result, &at, &size_bytes) && size_bytes < LIST_ID_BYTES);
        snprintf(me->id, sizeof me->id, "%.*s", (int) size_bytes, (const char *) at);
        ask_read(me);
        return;
    case LIST_READ:
        count = note_look(me, me->op, result, list);
        if (me->appends[me->op] && count < LIST_MAX - 1)
            ask_write(me, list, count);
        else
            next_op(me);
        return;
    default:
        next_op(me);
        return;
    }
}

/* Before its commit nothing of a transaction is anywhere, whatever was lost. */
static void on_answer(struct sim_client *client, const struct sim_answer *a) {
    struct lister *me = client->user;
    enum op_end how = history_end_of(a);
    bool last = me->at == LIST_COMMIT || me->at == LIST_ONCE;

    if (me->at == LIST_ONCE && how == OP_OK)
        note_once(me, a->result);
    if (me->at == LIST_ABORT) {
        think(me);
    } else if (last || how != OP_OK) {
        bool open = a->outcome == SIM_REFUSED && !last && me->at != LIST_BEGIN;

        end(me, last ? how : OP_FAIL);
        me->again = a->outcome == SIM_REFUSED && me->at != LIST_BEGIN && me->at != LIST_ONCE &&
                    strncmp(a->text, "conflict:", 9) == 0;
        if (a->outcome != SIM_DONE && !me->again && rng_one_in(&me->rng, 2))
            me->node = (uint32_t) rng_below(&me->rng, me->world->nodes);
        if (open && !me->again)
            ask_end(me, false);
        else
            think(me);
    } else {
        go_on(me, a->result);
    }
}

/* ---- start, stop -------------------------------------------------------------------------- */

void sim_lists_init(struct sim_lists *x) {
    serial_init(&x->history);
}

void sim_lists_fini(struct sim_lists *x) {
    serial_fini(&x->history);
}

void sim_lists_start(struct sim_lists *x, struct sim *s, struct sim_net *net, uint64_t seed) {
    struct rng r = rng_of(seed ^ UINT64_C(0x6c69737473));

    x->sim = s;
    for (uint32_t i = 0; i < LISTERS; i++) {
        struct lister *me = &x->lister[i];
        char host[16];

        snprintf(host, sizeof host, "lister%u", i);
        *me = (struct lister){.world = x, .rng = rng_of(rng_u64(&r))};
        me->node = (uint32_t) rng_below(&me->rng, x->nodes);
        sim_client_init(&me->client, net, s, host, on_answer, me);
        think(me);
    }
}

bool sim_lists_is_done(const struct sim_lists *x) {
    for (uint32_t i = 0; x->on && i < LISTERS; i++)
        if (x->lister[i].at != LIST_IDLE)
            return false;
    return true;
}

void sim_lists_stop(struct sim_lists *x) {
    for (uint32_t i = 0; i < LISTERS; i++) {
        sim_cancel(x->sim, &x->lister[i].think);
        sim_client_close(&x->lister[i].client);
    }
    sim_run_ms(x->sim, 1);
    for (uint32_t i = 0; i < LISTERS; i++)
        sim_client_fini(&x->lister[i].client);
}

/* ---- what became of it ----------------------------------------------------------------------- */

bool sim_lists_agree(struct sim_node *const *nodes, uint32_t count, const struct sim_lists *x,
                     char text[HISTORY_TEXT_BYTES]) {
    static struct final finals[LIST_KEYS];

    for (uint32_t i = 0; x->on && i < count; i++)
        if (sim_tx_anything_waits(nodes[i], sim_lists_table, text))
            return false;
    return !x->on || copies_agree(nodes, count, &x->t, 0, finals, text);
}

bool sim_lists_check(struct sim_lists *x, bool tells, char text[HISTORY_TEXT_BYTES]) {
    char why[SERIAL_TEXT_BYTES];

    if (!x->on || serial_check(&x->history, why))
        return true;
    snprintf(text, HISTORY_TEXT_BYTES, "lists: %.*s", HISTORY_TEXT_BYTES - 10, why);
    if (tells)
        serial_print_named(&x->history, why);
    return false;
}
