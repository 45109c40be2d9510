/* Transactions whose memory runs out at every step: all of it is done, or nothing, and what has
 * been promised is done when there is memory again. */
#include "tables/catalog_private.h"
#include "tables/shard_tx_private.h"
#include "tables/table_private.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/table_world.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>

enum { SEED = 7, FAILURES_MAX = 400, KEYS = 3 };

static struct table_world w;
static struct fail_alloc memory;
static uint8_t arena[1 << 12];
static size_t arena_bytes;

EG_API const char *__lsan_default_options(void);
EG_API const char *__lsan_default_options(void) {
    return "detect_leaks=0"; /* see test_table_faults.c */
}

static struct value text(const char *s) {
    struct value v = text_value(arena + arena_bytes, sizeof arena - arena_bytes, s);

    arena_bytes += v.size_bytes;
    return v;
}

static struct table *begin(const char *options) {
    struct table *t;

    arena_bytes = 0;
    memory = fail_alloc_after(INT_MAX);
    table_world_open(&w, &memory.base, SEED);
    cr_assert_eq(table_world_ask(&w, CATALOG_CREATE, "t", text(options)), EG_OK, "%s", w.note.text);
    reader_enter(&w.reader);
    t = table_world_find(&w, "t");
    for (int i = 1; i <= KEYS; i++) {
        char record[16];
        struct shard_request q = {.op = SHARD_WRITE};

        snprintf(record, sizeof record, "[%d, 0]", i);
        q.value = text(record);
        cr_assert_eq(table_world_run(&w, t, &q), EG_OK);
    }
    stepper_run_ms(w.st, 1);
    return t;
}

static void finish(struct table *t) {
    uint64_t lost_bytes;

    table_world_check(&w, t);
    for (uint32_t i = 0; i < t->shard_count; i++)
        cr_assert_not(shard_is_held(&t->shard[i]));
    reader_exit(&w.reader);
    lost_bytes = w.catalog->bin.lost_bytes;
    for (uint32_t i = 0; i < t->shard_count; i++)
        lost_bytes += t->shard[i].bin.lost_bytes;
    (void) table_world_stop(&w);
    cr_assert_leq(atomic_load(&memory.live_bytes), lost_bytes);
    table_world_close(&w);
}

static int64_t number_at(struct table *t, const char *key) {
    const struct record *rec;
    int64_t n = -1;
    struct key k;

    cr_assert_eq(table_key(t, &k, text(key)), EG_OK);
    rec = table_get(t, &w.reader, &k);
    key_release(&k);
    cr_assert(rec == NULL || value_get_i64(record_field(rec, 1), &n));
    return n;
}

/* [1, 1], [2, 1] and no 3, or all as it was. */
static bool is_done(struct table *t) {
    bool done = number_at(t, "1") == 1;

    cr_assert_eq(number_at(t, "2"), done);
    cr_assert_eq(number_at(t, "3"), done ? -1 : 0);
    return done;
}

static void want_all(struct transact_want want[KEYS], struct table *t) {
    want[0].request = (struct shard_request){.op = SHARD_WRITE, .value = text("[1, 1]")};
    want[1].request = (struct shard_request){
        .op = SHARD_COUNTER, .attribute = 1, .key = text("2"), .value = text("1")};
    want[2].request = (struct shard_request){.op = SHARD_DELETE, .key = text("3")};
    for (int i = 0; i < KEYS; i++) {
        struct value key;

        cr_assert(shard_request_key(&want[i].request, &key));
        want[i].table = t;
        want[i].key = key;
        want[i].hash = transact_hash_of(t, key);
        want[i].shard = transact_shard_of(t, key);
    }
}

static void try_with_failures(const char *options) {
    bool granted = false;

    for (int n = 0; n < FAILURES_MAX && !granted; n++) {
        struct table *t = begin(options);
        struct transact_want want[KEYS];
        struct transact x = {.want = want, .want_count = KEYS};
        eg_err err;

        want_all(want, t);
        w.reader.alloc = &memory.base;
        memory.left = n;
        err = transact_try(&w.reader, &x, NULL, &w.note);
        granted = memory.left > 0;
        memory.left = INT_MAX;
        cr_assert(err == EG_OK || err == EG_MEMORY, "%d: %s", n, eg_err_name(err));
        cr_assert_eq(is_done(t), err == EG_OK);
        finish(t);
    }
    cr_assert(granted);
}

Test(transact_faults, in_place_all_is_done_or_nothing, .timeout = 240) {
    try_with_failures("{'shards': 2, 'index': ['value']}");
}

Test(transact_faults, on_disc_in_place_all_is_done_or_nothing, .timeout = 240) {
    try_with_failures("{'shards': 2, 'storage': 'disc'}");
}

/* ---- by message ---------------------------------------------------------------------------- */

static eg_err send(struct table *t, enum shard_op op, const struct transact *x) {
    struct transact_head h = {.id = {1, 1}, .age = {1, 1, 1}};
    struct shard_request q = {.op = op};
    struct buffer head, part;
    eg_err err;

    buffer_init(&head, alloc_system(), SIZE_MAX);
    buffer_init(&part, alloc_system(), SIZE_MAX);
    cr_assert_eq(transact_pack_head(&h, &head), EG_OK);
    cr_assert_eq(transact_pack_part(x, t, 0, &part), EG_OK);
    q.key = (struct value){head.at, (uint32_t) head.size_bytes};
    q.value = (struct value){part.at, (uint32_t) part.size_bytes};
    err = table_world_transact(&w, t, 0, &q);
    buffer_fini(&head);
    buffer_fini(&part);
    return err;
}

static void send_with_failures(const char *options, enum shard_op op) {
    bool granted = false;

    for (int n = 0; n < FAILURES_MAX && !granted; n++) {
        struct table *t = begin(options);
        struct transact_want want[KEYS];
        struct transact x = {.want = want, .want_count = KEYS};
        eg_err err = EG_OK;

        want_all(want, t);
        if (op == SHARD_TX_COMMIT)
            cr_assert_eq(send(t, SHARD_TX_PREPARE, &x), EG_OK, "%s", w.note.text);
        memory.left = n;
        err = send(t, op, &x);
        granted = memory.left > 0;
        memory.left = INT_MAX;
        cr_assert(err == EG_OK || err == EG_MEMORY || err == EG_BUSY || err == EG_TIMEOUT, "%d: %s",
                  n, eg_err_name(err));
        if (err != EG_TIMEOUT) /* it waits for the disc, and there is no memory to wait with */
            cr_assert_eq(is_done(t), op != SHARD_TX_PREPARE && err == EG_OK);
        if (op == SHARD_TX_PREPARE && err == EG_OK)
            cr_assert_eq(send(t, SHARD_TX_ABORT, &x), EG_OK);
        if (op == SHARD_TX_COMMIT) { /* it was promised */
            cr_assert_eq(send(t, SHARD_TX_COMMIT, &x), EG_OK);
            cr_assert(is_done(t));
        }
        finish(t);
    }
    cr_assert(granted);
}

Test(transact_faults, of_one_shard_all_is_done_or_nothing, .timeout = 240) {
    send_with_failures("{'shards': 1, 'index': ['value']}", SHARD_TX_ONE);
}

Test(transact_faults, what_could_not_be_prepared_holds_nothing, .timeout = 240) {
    send_with_failures("{'shards': 1, 'storage': 'disc'}", SHARD_TX_PREPARE);
}

Test(transact_faults, what_was_promised_is_done_when_there_is_memory, .timeout = 240) {
    send_with_failures("{'shards': 1, 'index': ['value']}", SHARD_TX_COMMIT);
}

Test(transact_faults, what_was_promised_on_disc_is_done_when_there_is_memory, .timeout = 240) {
    send_with_failures("{'shards': 1, 'storage': 'disc'}", SHARD_TX_COMMIT);
}
