/* sim_bank.c -- begin, read, write, commit, each an answer after the other. */
#include "tests/sim/sim_bank.h"

#include "tests/sim/sim_think.h"
#include "tests/sim/sim_tx.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    WAIT_MS = 6000,
    DEADLINE_MS = 3000,
    REQUEST_BYTES = 512,
    LOOK_ONE_IN = 3,
    MOVE_ONE_IN = 10,
    AMOUNT_MAX = 10,
};

const char sim_bank_table[] = "bank";

static struct final finals[BANK_KEYS]; /* of the last sim_bank_agrees() */

void sim_bank_put_create(const struct sim_bank *x, struct value_writer *w, bool sync,
                         uint32_t shards) {
    value_put_array(w, 2);
    value_put_text(w, sim_bank_table);
    value_put_map(w, 5);
    value_put_text(w, "storage");
    value_put_text(w, x->t.on_disc ? "disc" : "ram");
    value_put_text(w, "durability");
    value_put_text(w, sync ? "sync" : "async");
    value_put_text(w, "shards");
    value_put_u64(w, shards);
    value_put_text(w, "copies");
    value_put_text(w, "all");
    value_put_text(w, "majority");
    value_put_bool(w, true);
}

static void put_record(struct value_writer *w, uint64_t key, uint64_t n) {
    value_put_array(w, 2);
    value_put_u64(w, key);
    value_put_u64(w, n);
}

void sim_bank_put_first(struct value_writer *w) {
    value_put_array(w, 2);
    value_put_text(w, sim_bank_table);
    value_put_array(w, BANK_KEYS);
    for (uint64_t i = 0; i < BANK_ACCOUNTS; i++)
        put_record(w, i, BANK_MONEY);
    for (uint64_t i = 0; i < BANK_RING; i++)
        put_record(w, BANK_ACCOUNTS + i, BANK_ACCOUNTS + (i + 1) % BANK_RING);
}

/* ---- what is always so ----------------------------------------------------------------------- */

static bool wrong(char text[HISTORY_TEXT_BYTES], const char *format, ...) EG_PRINTF(2, 3);
static bool wrong(char text[HISTORY_TEXT_BYTES], const char *format, ...) {
    va_list args;

    va_start(args, format);
    vsnprintf(text, HISTORY_TEXT_BYTES, format, args);
    va_end(args);
    return false;
}

static bool check_accounts(const uint64_t n[BANK_ACCOUNTS], char text[HISTORY_TEXT_BYTES]) {
    uint64_t sum = 0;

    for (uint32_t i = 0; i < BANK_ACCOUNTS; i++)
        sum += n[i];
    return sum == (uint64_t) BANK_ACCOUNTS * BANK_MONEY ||
           wrong(text, "the accounts have %llu, and had %d", (unsigned long long) sum,
                 BANK_ACCOUNTS * BANK_MONEY);
}

static bool check_ring(const uint64_t next[BANK_RING], char text[HISTORY_TEXT_BYTES]) {
    uint64_t at = BANK_ACCOUNTS;

    for (uint32_t i = 1; i <= BANK_RING; i++) {
        if (at < BANK_ACCOUNTS || at >= BANK_KEYS)
            return wrong(text, "the ring leads out of itself, to %llu", (unsigned long long) at);
        at = next[at - BANK_ACCOUNTS];
        if (at == BANK_ACCOUNTS && i < BANK_RING)
            return wrong(text, "the ring comes back after %u", i);
    }
    return at == BANK_ACCOUNTS || wrong(text, "the ring does not come back");
}

/* ---- what they ask --------------------------------------------------------------------------- */

static void think(struct banker *me);

static void ask(struct banker *me, const char *method, const uint8_t *at,
                const struct value_writer *w) {
    EG_ASSERT(!w->overflow);
    sim_client_ask(&me->client, me->world->node[me->node].client_address, method,
                   (struct value){at, (uint32_t) w->need_bytes}, WAIT_MS);
}

static void put_tx(struct banker *me, struct value_writer *w) {
    value_put_map(w, 1);
    value_put_text(w, "tx");
    value_put_text(w, me->id);
}

static void ask_begin(struct banker *me) {
    uint8_t at[REQUEST_BYTES];
    struct value_writer w = value_writer_init(at, sizeof at);

    me->at = BANK_BEGIN;
    value_put_array(&w, 1);
    value_put_map(&w, 1);
    value_put_text(&w, "timeout_ms");
    value_put_u64(&w, DEADLINE_MS);
    ask(me, "begin", at, &w);
}

static void ask_read(struct banker *me) {
    uint8_t at[REQUEST_BYTES];
    struct value_writer w = value_writer_init(at, sizeof at);

    me->at = BANK_READ;
    value_put_array(&w, 3);
    value_put_text(&w, sim_bank_table);
    value_put_u64(&w, me->key[me->step]);
    put_tx(me, &w);
    ask(me, "read", at, &w);
}

/* a -> b -> c -> d becomes a -> c -> b -> d. */
static uint64_t ring_after(const struct banker *me) {
    const uint64_t next[BANK_STEPS_MAX] = {me->key[2], me->key[3], me->key[1]};

    return next[me->step];
}

static uint64_t account_after(const struct banker *me) {
    return me->step == 0 ? me->found[0] - me->amount : me->found[1] + me->amount;
}

static void ask_write(struct banker *me) {
    uint8_t at[REQUEST_BYTES];
    struct value_writer w = value_writer_init(at, sizeof at);

    me->at = BANK_WRITE;
    value_put_array(&w, 3);
    value_put_text(&w, sim_bank_table);
    put_record(&w, me->key[me->step], me->ring ? ring_after(me) : account_after(me));
    put_tx(me, &w);
    ask(me, "write", at, &w);
}

static void ask_end(struct banker *me, bool commit) {
    uint8_t at[REQUEST_BYTES];
    struct value_writer w = value_writer_init(at, sizeof at);

    me->at = commit ? BANK_COMMIT : BANK_ABORT;
    value_put_array(&w, 1);
    value_put_text(&w, me->id);
    ask(me, commit ? "commit" : "abort", at, &w);
}

static void ask_look(struct banker *me) {
    uint32_t first = me->ring ? BANK_ACCOUNTS : 0, count = me->ring ? BANK_RING : BANK_ACCOUNTS;
    uint8_t at[REQUEST_BYTES];
    struct value_writer w = value_writer_init(at, sizeof at);

    me->at = BANK_LOOK;
    value_put_array(&w, 1);
    value_put_array(&w, count);
    for (uint32_t i = 0; i < count; i++) {
        value_put_array(&w, 3);
        value_put_text(&w, "read");
        value_put_text(&w, sim_bank_table);
        value_put_u64(&w, first + i);
    }
    ask(me, "transaction", at, &w);
}

static void begin(struct sim_event *e) {
    struct banker *me = EG_CONTAINER_OF(e, struct banker, think);
    struct sim_bank *x = me->world;

    if (x->quiet)
        return;
    if (rng_one_in(&me->rng, MOVE_ONE_IN))
        me->node = (uint32_t) rng_below(&me->rng, x->nodes);
    me->ring = rng_one_in(&me->rng, 2);
    me->step = 0;
    me->steps = me->ring ? BANK_STEPS_MAX : 2;
    me->key[0] = me->ring ? BANK_ACCOUNTS + (uint32_t) rng_below(&me->rng, BANK_RING)
                          : (uint32_t) rng_below(&me->rng, BANK_ACCOUNTS);
    if (!me->ring) /* another one */
        me->key[1] =
            (me->key[0] + 1 + (uint32_t) rng_below(&me->rng, BANK_ACCOUNTS - 1)) % BANK_ACCOUNTS;
    me->amount = 1 + rng_below(&me->rng, AMOUNT_MAX);
    if (rng_one_in(&me->rng, LOOK_ONE_IN))
        ask_look(me);
    else
        ask_begin(me);
}

static void think(struct banker *me) {
    struct sim_bank *x = me->world;

    me->at = BANK_IDLE;
    sim_at(x->sim, &me->think,
           sim_think_before_fault_ns(&me->rng, sim_now_ns(x->sim), x->think_ms,
                                     x->next_fault_ns(x->user)),
           begin);
}

/* ---- what the answers say -------------------------------------------------------------------- */

/* What stands behind the key in [[key, n]]; it is there. */
static bool get_number(struct value records, uint64_t *n) {
    struct value_iter it = value_iter_of(records), fields;
    struct value v;

    if (!value_iter_next(&it, &v))
        return false;
    fields = value_iter_of(v);
    return value_iter_next(&fields, &v) && value_iter_next(&fields, &v) && value_get_u64(v, n);
}

static void note_look(struct banker *me, struct value results) {
    struct sim_bank *x = me->world;
    struct value_iter it = value_iter_of(results);
    uint64_t n[EG_MAX((int) BANK_ACCOUNTS, (int) BANK_RING)];
    char text[HISTORY_TEXT_BYTES];
    struct value v;
    bool good = true;

    for (uint32_t i = 0; value_iter_next(&it, &v) && good; i++)
        good = get_number(v, &n[i]) || wrong(text, "record %u is not there", i);
    if (good)
        good = me->ring ? check_ring(n, text) : check_accounts(n, text);
    x->looks++;
    if (!good && x->wrong[0] == '\0')
        wrong(x->wrong, "at %.3f ms %s shows: %.*s", (double) sim_now_ns(x->sim) / 1e6,
              x->node[me->node].name, HISTORY_TEXT_BYTES / 2, text);
}

/* False: it makes nothing of what it has read. */
static bool note_read(struct banker *me, struct value records) {
    uint64_t n;

    if (!get_number(records, &n))
        return false;
    me->found[me->step] = n;
    if (me->ring)
        me->key[me->step + 1] = (uint32_t) n;
    return me->ring ? n >= BANK_ACCOUNTS && n < BANK_KEYS : me->step != 0 || n >= me->amount;
}

static void go_on(struct banker *me, struct value result) {
    uint32_t size_bytes;
    const uint8_t *at;

    if (me->at == BANK_BEGIN) {
        EG_ASSERT(value_get_bytes(result, &at, &size_bytes) && size_bytes < BANK_ID_BYTES);
        snprintf(me->id, sizeof me->id, "%.*s", (int) size_bytes, (const char *) at);
        ask_read(me);
    } else if (me->at == BANK_READ && !note_read(me, result)) {
        ask_end(me, false);
    } else if (++me->step < me->steps) {
        if (me->at == BANK_READ)
            ask_read(me);
        else
            ask_write(me);
    } else if (me->at == BANK_READ) {
        me->step = 0;
        ask_write(me);
    } else {
        ask_end(me, true);
    }
}

static void on_answer(struct sim_client *client, const struct sim_answer *a) {
    struct banker *me = client->user;
    struct sim_bank *x = me->world;
    enum op_end how = history_end_of(a);

    if (me->at == BANK_LOOK && how == OP_OK)
        note_look(me, a->result);
    if (me->at == BANK_COMMIT) {
        x->done += how == OP_OK;
        x->refused += how == OP_FAIL;
    }
    sim_note(x->sim, (uint64_t) me->at << 8 | how);
    if (how == OP_OK && me->at != BANK_LOOK && me->at != BANK_COMMIT && me->at != BANK_ABORT) {
        go_on(me, a->result);
        return;
    }
    if (a->outcome != SIM_DONE && rng_one_in(&me->rng, 2))
        me->node = (uint32_t) rng_below(&me->rng, x->nodes);
    think(me); /* what was begun ends by its time, or has ended */
}

/* ---- start, stop ------------------------------------------------------------------------------
 */

void sim_bank_start(struct sim_bank *x, struct sim *s, struct sim_net *net, uint64_t seed) {
    struct rng r = rng_of(seed ^ UINT64_C(0x62616e6b));

    x->sim = s;
    for (uint32_t i = 0; i < BANKERS; i++) {
        struct banker *me = &x->banker[i];
        char host[16];

        snprintf(host, sizeof host, "banker%u", i);
        *me = (struct banker){.world = x, .rng = rng_of(rng_u64(&r))};
        me->node = (uint32_t) rng_below(&me->rng, x->nodes);
        sim_client_init(&me->client, net, s, host, on_answer, me);
        think(me);
    }
}

bool sim_bank_is_done(const struct sim_bank *x) {
    for (uint32_t i = 0; x->on && i < BANKERS; i++)
        if (x->banker[i].at != BANK_IDLE)
            return false;
    return true;
}

void sim_bank_stop(struct sim_bank *x) {
    for (uint32_t i = 0; i < BANKERS; i++) {
        sim_cancel(x->sim, &x->banker[i].think);
        sim_client_close(&x->banker[i].client);
    }
    sim_run_ms(x->sim, 1);
    for (uint32_t i = 0; i < BANKERS; i++)
        sim_client_fini(&x->banker[i].client);
}

/* ---- what became of it ------------------------------------------------------------------------
 */

bool sim_bank_agrees(struct sim_node *const *nodes, uint32_t count, const struct sim_bank *x,
                     char text[HISTORY_TEXT_BYTES]) {
    for (uint32_t i = 0; x->on && i < count; i++)
        if (sim_tx_anything_waits(nodes[i], sim_bank_table, text))
            return false;
    return !x->on || copies_agree(nodes, count, &x->t, 0, finals, text);
}

bool sim_bank_check(const struct sim_bank *x, char text[HISTORY_TEXT_BYTES]) {
    uint64_t n[BANK_KEYS];

    if (!x->on)
        return true;
    if (x->wrong[0] != '\0')
        return wrong(text, "bank: %.*s", HISTORY_TEXT_BYTES - 10, x->wrong);
    for (uint32_t key = 0; key < BANK_KEYS; key++)
        n[key] = finals[key].number;
    return check_accounts(n, text) && check_ring(n + BANK_ACCOUNTS, text);
}
