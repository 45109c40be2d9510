/* A held transaction whose memory runs out at any step: each call has done all or nothing, and what
 * is committed is what the calls have said. */
#include "query/tx.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/table_world.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { SEED = 7, FAILURES_MAX = 400, KEYS = 24 };

static struct table_world w;
static struct fail_alloc memory;
static struct table *table;
static struct tx *tx;
static struct tx_place at;
static uint8_t bytes[512];
static bool wanted[KEYS]; /* what the calls have said */

static struct value text(const char *s) {
    return text_value(bytes, sizeof bytes, s);
}

static bool never(void *context) {
    (void) context;
    return false;
}

static eg_err change(enum shard_op op, int key) {
    struct buffer result;
    struct shard_request q = {.op = op, .attribute = SHARD_NO_ATTRIBUTE};
    char record[32];
    eg_err err;

    buffer_init(&result, alloc_system(), 64);
    snprintf(record, sizeof record, op == SHARD_DELETE ? "%d" : "[%d, 'x']", key);
    *(op == SHARD_DELETE ? &q.key : &q.value) = text(record);
    err = tx_change(tx, &at, &q, &result, NULL);
    buffer_fini(&result);
    cr_assert(err == EG_OK || err == EG_MEMORY || err == EG_TOO_LARGE, "%s", eg_err_name(err));
    if (err == EG_OK)
        wanted[key] = op == SHARD_WRITE;
    return err;
}

/* How many the transaction sees; -1: there was no memory to say. */
static int count(enum select_kind kind, const char *question) {
    const struct select_pace pace = {.is_over = never};
    const struct select_opts o = {.kind = kind, .question = text(question)};
    struct tx_scan *scan;
    struct buffer result;
    int seen = -1;
    eg_err err = tx_scan_open(&scan, tx, &at, &o, NULL);

    if (err != EG_OK) {
        cr_assert(err == EG_MEMORY || err == EG_TOO_LARGE, "%s", eg_err_name(err));
        return seen;
    }
    buffer_init(&result, alloc_system(), 1 << 16);
    err = tx_scan_step(scan, &at, &pace, &result, NULL);
    if (err == EG_OK)
        seen = (int) value_count((struct value){result.at, (uint32_t) result.size_bytes});
    else
        cr_assert(err == EG_MEMORY || err == EG_TOO_LARGE, "%s", eg_err_name(err));
    buffer_fini(&result);
    tx_scan_close(scan);
    return seen;
}

static int wanted_count(void) {
    int n = 0;

    for (int i = 0; i < KEYS; i++)
        n += wanted[i];
    return n;
}

static void step_once(void) {
    struct buffer result;
    eg_err err;

    buffer_init(&result, alloc_system(), 64);
    err = tx_step(tx, &at, text("3"), false, &result, NULL);
    cr_assert(err == EG_OK || err == EG_MEMORY || err == EG_TOO_LARGE, "%s", eg_err_name(err));
    buffer_fini(&result);
}

static void script(void) {
    int before, seen;

    for (int i = 0; i < KEYS; i++)
        (void) (change(SHARD_WRITE, i) == EG_OK); /* what it said is in `wanted` */
    seen = count(SELECT_MATCH, "['_', 'x']");
    cr_assert(seen == -1 || seen == wanted_count(), "%d of %d", seen, wanted_count());
    before = wanted_count();
    if (tx_level_begin(tx) == EG_OK) {
        bool kept[KEYS];

        for (int i = 0; i < KEYS; i++)
            kept[i] = wanted[i];
        for (int i = 0; i < KEYS; i += 2)
            (void) (change(SHARD_DELETE, i) == EG_OK);
        tx_level_undo(tx);
        for (int i = 0; i < KEYS; i++)
            wanted[i] = kept[i];
    }
    cr_assert_eq(wanted_count(), before);
    step_once();
    (void) (change(SHARD_DELETE, 1) == EG_OK);
    seen = count(SELECT_RESULTS, "[[['$1','$2'],[['>=','$1',0]],['$1']]]");
    cr_assert(seen == -1 || seen == wanted_count(), "%d of %d", seen, wanted_count());
}

/* Is the table as the calls have said, or (not committed) as it was: empty? */
static void check_table(bool committed) {
    for (int i = 0; i < KEYS; i++) {
        const struct record *rec;
        char number[8];
        struct key k;

        snprintf(number, sizeof number, "%d", i);
        cr_assert_eq(table_key(table, &k, text(number)), EG_OK);
        rec = table_get(table, &w.reader, &k);
        cr_assert_eq(rec != NULL, committed && wanted[i], "key %d", i);
        key_release(&k);
    }
}

static eg_err run(int granted) {
    struct tx_opts o = {.alloc = &memory.base, .patience = 1};
    eg_err err;

    memory = fail_alloc_after(granted);
    o.env = &w.st->env;
    err = tx_open(&tx, &o);
    if (err != EG_OK)
        return err;
    for (int i = 0; i < KEYS; i++)
        wanted[i] = false;
    tx_begin(tx, &(struct tx_start){.timeout_ms = 1000});
    script();
    err = tx_commit(tx, &w.reader, NULL);
    cr_assert(err == EG_OK || err == EG_MEMORY, "%s", eg_err_name(err));
    check_table(err == EG_OK);
    tx_close(tx);
    return err;
}

static void fail_everywhere(const char *options) {
    int granted = 0;
    bool refused = true;

    for (; granted < FAILURES_MAX && refused; granted++) {
        table_world_open(&w, alloc_system(), SEED);
        cr_assert_eq(table_world_ask(&w, CATALOG_CREATE, "t", text(options)), EG_OK);
        reader_enter(&w.reader);
        table = table_world_find(&w, "t");
        at = (struct tx_place){.table = table, .reader = &w.reader};
        (void) (run(granted) == EG_OK);
        cr_assert_eq(memory.live, 0, "%d blocks are not given back", memory.live);
        refused = memory.left <= 0;
        reader_exit(&w.reader);
        cr_assert_eq(table_world_stop(&w), EG_OK);
        table_world_close(&w);
    }
    cr_assert_lt(granted, FAILURES_MAX); /* in the end there was memory for all of it */
    cr_assert_gt(granted, 10);
}

Test(tx_faults, of_a_set, .timeout = 240) {
    fail_everywhere("{'shards': 3}");
}

Test(tx_faults, of_an_ordered_set, .timeout = 240) {
    fail_everywhere("{'type': 'ordered_set'}");
}

Test(tx_faults, of_a_bag, .timeout = 240) {
    fail_everywhere("{'type': 'bag', 'shards': 3}");
}
