/* Tables whose disc refuses, whose rows cannot be read, and whose memory runs out. */
#include "tables/catalog_private.h"
#include "tables/disc_record.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/table_world.h"

#include <criterion/criterion.h>
#include <string.h>

enum { SEED = 7, ROW_KEY_BYTES = 64, TRIES_MAX = 2000 };

static struct table_world w;
static struct fail_alloc memory;

static void setup(void) {
    memory = fail_alloc_after(INT_MAX);
    table_world_open(&w, &memory.base, SEED);
}

/* What epoch_retire() has no memory to queue is lost, by its contract: finish() holds it
 * to the byte against what was counted, where LeakSanitizer would only say that it is. */
EG_API const char *__lsan_default_options(void);
EG_API const char *__lsan_default_options(void) {
    return "detect_leaks=0";
}

/* Criterion does not count what fails in a teardown, so each test calls it.  What the
 * catalog could not even queue for freeing (epoch.h) it has counted. */
static void finish(void) {
    uint64_t lost_bytes = w.catalog->bin.lost_bytes;

    (void) table_world_stop(&w); /* where the disc refuses it says so, and has stopped */
    cr_assert_eq(atomic_load(&w.budget.used_bytes), 0);
    cr_assert_eq(atomic_load(&memory.live_bytes), lost_bytes);
    table_world_close(&w);
}

TestSuite(table_faults, .init = setup, .timeout = 240);

/* ---- values ------------------------------------------------------------------------ */

struct made {
    uint8_t at[8192];
    struct value_writer w;
};

static struct value_writer *begin(struct made *m) {
    m->w = value_writer_init(m->at, sizeof m->at);
    return &m->w;
}

static struct value end(const struct made *m) {
    cr_assert(!m->w.overflow);
    return (struct value){m->at, (uint32_t) m->w.need_bytes};
}

static struct value number(struct made *m, int64_t n) {
    value_put_i64(begin(m), n);
    return end(m);
}

static void put_pair(struct value_writer *v, int64_t key, int64_t n) {
    value_put_array(v, 2);
    value_put_i64(v, key);
    value_put_i64(v, n);
}

/* [key, a binary of so many bytes] */
static void put_large(struct value_writer *v, int64_t key, uint32_t size_bytes) {
    static const uint8_t zeroes[4096];

    value_put_array(v, 2);
    value_put_i64(v, key);
    value_put_binary(v, zeroes, size_bytes);
}

static struct value pair(struct made *m, int64_t key, int64_t n) {
    put_pair(begin(m), key, n);
    return end(m);
}

/* Options: storage, durability, and whether there is an index. */
static struct value options(struct made *m, const char *storage, const char *durability,
                            bool index) {
    value_put_map(begin(m), 4);
    value_put_text(&m->w, "storage");
    value_put_text(&m->w, storage);
    value_put_text(&m->w, "durability");
    value_put_text(&m->w, durability);
    value_put_text(&m->w, "shards");
    value_put_u64(&m->w, 2);
    value_put_text(&m->w, "index");
    value_put_array(&m->w, index);
    if (index)
        value_put_text(&m->w, "value");
    return end(m);
}

static void create(const char *name, const char *storage, const char *durability) {
    struct made m;
    cr_assert_eq(table_world_ask(&w, CATALOG_CREATE, name, options(&m, storage, durability, false)),
                 EG_OK);
}

/* ---- requests ------------------------------------------------------------------------ */

static eg_err run(const char *name, struct shard_request q) {
    eg_err err;

    reader_enter(&w.reader);
    err = table_world_run(&w, table_world_find(&w, name), &q);
    reader_exit(&w.reader);
    return err;
}

static eg_err write_pair(const char *name, int64_t key, int64_t n) {
    struct made m;
    return run(name, (struct shard_request){.op = SHARD_WRITE, .value = pair(&m, key, n)});
}

static eg_err write_many(const char *name, struct value records) {
    eg_err err;

    reader_enter(&w.reader);
    err = table_world_write_many(&w, table_world_find(&w, name), name, records, 0);
    reader_exit(&w.reader);
    return err;
}

/* The number under `key`; -1: none. */
static int64_t read_pair(const char *name, int64_t key) {
    const struct record *rec;
    struct table *t;
    struct made m;
    int64_t n = -1;
    struct key k;

    reader_enter(&w.reader);
    t = table_world_find(&w, name);
    cr_assert_eq(table_key(t, &k, number(&m, key)), EG_OK);
    rec = table_get(t, &w.reader, &k);
    if (rec != NULL)
        cr_assert(value_get_i64(record_field(rec, 1), &n));
    key_release(&k);
    reader_exit(&w.reader);
    return n;
}

static void check(const char *name) {
    reader_enter(&w.reader);
    table_world_check(&w, table_world_find(&w, name));
    reader_exit(&w.reader);
}

static void restart(void) {
    cr_assert_eq(table_world_stop(&w), EG_OK);
    disc_twin_restart(w.pump.twin);
    cr_assert_eq(table_world_start(&w), EG_OK);
}

/* ---- a disc that refuses ---------------------------------------------------------------- */

Test(table_faults, a_full_disc_refuses_writes_reads_go_on_and_nothing_acknowledged_is_lost) {
    create("t", "disc", "async");
    w.pump.still = true;
    cr_assert_eq(write_pair("t", 1, 10), EG_OK); /* acknowledged, and on its way */
    disc_twin_set_full(w.pump.twin, true);
    disc_pump_go_on(&w.pump);
    stepper_run_ms(w.st, 500);
    cr_assert_eq(write_pair("t", 2, 20), EG_DISC);
    cr_assert(strstr(w.note.text, "no space") != NULL, "%s", w.note.text);
    cr_assert_eq(read_pair("t", 1), 10);
    cr_assert_eq(read_pair("t", 2), -1);
    disc_twin_set_full(w.pump.twin, false);
    stepper_run_ms(w.st, 500);
    cr_assert_eq(write_pair("t", 2, 21), EG_OK);
    check("t");
    restart();
    cr_assert_eq(read_pair("t", 1), 10);
    cr_assert_eq(read_pair("t", 2), 21);
    finish();
}

/* Somebody who hears answers without waiting for them. */
static int replies, doubts;

static void hear(struct actor *self, void *state, struct message *m) {
    (void) self;
    (void) state;
    replies += m->kind == MESSAGE_REPLY && m->tag == EG_OK;
    doubts += m->kind == MESSAGE_REPLY && (eg_err) m->tag == EG_IN_DOUBT;
}

static eg_pid listener(void) {
    static const struct actor_ops ops = {.name = "listener", .receive = hear};
    eg_pid pid;

    cr_assert_eq(actor_spawn(w.st->rt, NULL, &(struct spawn_opts){.ops = &ops}, &pid, NULL), EG_OK);
    return pid;
}

/* What was made before the disc was full is written from the reserve, and so is told of
 * as any other write; what comes later is refused and not made. */
Test(table_faults, a_write_that_a_full_disc_refuses_is_nowhere) {
    struct shard_request q = {.op = SHARD_WRITE};
    eg_pid who = listener();
    struct made m;

    create("t", "disc", "sync");
    for (int64_t key = 1; key <= 4; key++) { /* of one shard, some on their way, some collected */
        w.pump.still = true;
        q.value = pair(&m, key, key * 10);
        reader_enter(&w.reader);
        cr_assert_eq(table_send(table_world_find(&w, "t"), who, 1, &q, NULL), EG_OK);
        reader_exit(&w.reader);
        stepper_run_ms(w.st, 20);
    }
    disc_twin_set_full(w.pump.twin, true);
    disc_pump_go_on(&w.pump);
    stepper_run_ms(w.st, 500);
    cr_assert_eq(replies, 4);
    cr_assert_eq(write_pair("t", 5, 50), EG_DISC);
    cr_assert_eq(read_pair("t", 5), -1);
    restart();
    for (int64_t key = 1; key <= 4; key++)
        cr_assert_eq(read_pair("t", key), key * 10);
    cr_assert_eq(read_pair("t", 5), -1);
    finish();
}

/* Where even the reserve is gone the write was made, and its caller is told that nobody
 * knows what becomes of it, also when its batch was only collecting. */
Test(table_faults, a_write_that_was_made_when_the_disc_refused_is_in_doubt) {
    struct shard_request q = {.op = SHARD_WRITE};
    eg_pid who = listener();
    struct made m;

    create("t", "disc", "sync");
    w.pump.still = true;
    for (int64_t key = 1; key <= 8; key++) {
        q.value = pair(&m, key, key);
        reader_enter(&w.reader);
        cr_assert_eq(table_send(table_world_find(&w, "t"), who, 1, &q, NULL), EG_OK);
        reader_exit(&w.reader);
        stepper_run_ms(w.st, 20);
    }
    disc_twin_set_spent(w.pump.twin, true);
    disc_pump_go_on(&w.pump);
    stepper_run_ms(w.st, 500);
    cr_assert_gt(doubts, 0);
    cr_assert_eq(write_pair("t", 9, 9), EG_DISC);
    cr_assert_eq(read_pair("t", 9), -1);
    disc_twin_set_spent(w.pump.twin, false);
    stepper_run_ms(w.st, 500);
    cr_assert_eq(replies + doubts, 8, "%d and %d", replies, doubts);
    cr_assert_eq(write_pair("t", 9, 9), EG_OK);
    restart();
    for (int64_t key = 1; key <= 9; key++)
        cr_assert_eq(read_pair("t", key), key);
    finish();
}

Test(table_faults, a_full_disc_takes_what_makes_room) {
    const char *storages[] = {"disc", "disc_only"};
    struct made m;

    for (size_t i = 0; i < EG_COUNTOF(storages); i++) {
        create("t", storages[i], "sync");
        for (int64_t key = 1; key <= 3; key++)
            cr_assert_eq(write_pair("t", key, key), EG_OK);
        stepper_run_ms(w.st, 50);
        disc_twin_set_full(w.pump.twin, true);
        cr_assert_eq(write_pair("t", 1, 2), EG_DISC);
        cr_assert_eq(run("t", (struct shard_request){.op = SHARD_DELETE, .key = number(&m, 1)}),
                     EG_OK);
        cr_assert_eq(read_pair("t", 1), -1);
        cr_assert_eq(read_pair("t", 2), 2);
        cr_assert_eq(table_world_ask(&w, CATALOG_CLEAR, "t", (struct value){0}), EG_OK);
        cr_assert_eq(read_pair("t", 2), -1);
        cr_assert_eq(table_world_ask(&w, CATALOG_DROP, "t", (struct value){0}), EG_OK);
        disc_twin_set_full(w.pump.twin, false);
    }
    finish();
}

/* A twin's log is durable when nothing in it is left unsynced. */
Test(table_faults, a_sync_table_answers_when_the_change_is_durable_and_not_before) {
    struct shard_request q = {.op = SHARD_WRITE};
    eg_pid who = listener();
    struct made m;

    create("t", "disc", "sync");
    q.value = pair(&m, 1, 10);
    w.pump.still = true;
    reader_enter(&w.reader);
    cr_assert_eq(table_send(table_world_find(&w, "t"), who, 1, &q, NULL), EG_OK);
    reader_exit(&w.reader);
    stepper_run_ms(w.st, 5000);
    cr_assert_eq(read_pair("t", 1), 10); /* it is there, and nobody was told */
    cr_assert_eq(replies, 0);
    disc_pump_go_on(&w.pump);
    stepper_run_ms(w.st, 50);
    cr_assert_eq(replies, 1);
    cr_assert_eq(disc_twin_unsynced(w.pump.twin), 0);
    check("t");
    finish();
}

Test(table_faults, a_failed_sync_is_never_acknowledged_and_says_why) {
    create("t", "disc", "sync");
    cr_assert_eq(write_pair("t", 1, 10), EG_OK);
    disc_twin_fail_sync(w.pump.twin, 1);
    cr_assert_eq(write_pair("t", 2, 20), EG_IN_DOUBT); /* it was made, and may be on disc */
    cr_assert(strstr(w.note.text, "failed") != NULL, "%s", w.note.text);
    cr_assert_eq(write_pair("t", 3, 30), EG_DISC);
    cr_assert_eq(read_pair("t", 1), 10);
    cr_assert_eq(read_pair("t", 3), -1);
    cr_assert_eq(table_world_stop(&w), EG_DISC);
    disc_twin_restart(w.pump.twin);
    cr_assert_eq(table_world_start(&w), EG_OK);
    cr_assert_eq(read_pair("t", 1), 10);
    finish();
}

Test(table_faults, a_disc_that_fails_in_the_middle_of_write_many_does_not_stop_the_node) {
    struct made m;

    create("t", "disc_only", "async");
    cr_assert_eq(write_pair("t", 1, 10), EG_OK);
    disc_twin_fail_write(w.pump.twin, 3);
    value_put_array(begin(&m), 4);
    for (int64_t i = 1; i <= 4; i++)
        put_pair(&m.w, i, 100 + i);
    cr_assert_eq(write_many("t", end(&m)), EG_DISC);
    cr_assert_eq(write_pair("t", 1, 11), EG_DISC);
    cr_assert_neq(read_pair("t", 1), -1);
    finish();
}

Test(table_faults, a_disc_that_falls_behind_in_the_middle_of_write_many_leaves_nothing_of_it) {
    struct made m;

    create("t", "disc_only", "async");
    cr_assert_eq(write_pair("t", 2, 20), EG_OK);
    disc_twin_set_behind(w.pump.twin, 3);
    value_put_array(begin(&m), 4);
    for (int64_t i = 1; i <= 4; i++)
        put_pair(&m.w, i, 100 + i);
    cr_assert_eq(write_many("t", end(&m)), EG_BUSY);
    cr_assert_eq(read_pair("t", 1), -1);
    cr_assert_eq(read_pair("t", 2), 20);
    disc_twin_set_behind(w.pump.twin, 0);
    cr_assert_eq(write_pair("t", 1, 11), EG_OK);
    finish();
}

Test(table_faults, write_many_waits_for_a_disc_that_is_behind) {
    struct catalog_request q = {.op = CATALOG_WRITE_MANY, .name = {(const uint8_t *) "t", 1}};
    struct message *call;
    eg_pid who = listener(), to;
    struct made m;

    create("t", "disc_only", "async");
    disc_twin_set_behind(w.pump.twin, 3);
    value_put_array(begin(&m), 4);
    for (int64_t i = 1; i <= 4; i++)
        put_pair(&m.w, i, 100 + i);
    q.value = end(&m);
    cr_assert_eq(catalog_message(w.catalog, &q, &to, &call), EG_OK);
    cr_assert_eq(runtime_send(w.st->rt, who, to, call), EG_OK);
    stepper_run_ms(w.st, 500);
    cr_assert_eq(replies, 0);
    cr_assert_eq(read_pair("t", 1), -1);
    disc_twin_set_behind(w.pump.twin, 0);
    stepper_run_ms(w.st, 1000);
    cr_assert_eq(replies, 1);
    cr_assert_eq(read_pair("t", 1), 101);
    finish();
}

Test(table_faults, an_index_that_the_disc_refuses_leaves_things_as_they_were) {
    struct made m;
    struct value name;

    value_put_text(begin(&m), "value");
    name = end(&m);
    create("t", "disc", "async");
    cr_assert_eq(write_pair("t", 1, 10), EG_OK);
    stepper_run_ms(w.st, 50);
    disc_twin_set_full(w.pump.twin, true);
    cr_assert_eq(table_world_ask(&w, CATALOG_ADD_INDEX, "t", name), EG_DISC);
    disc_twin_set_full(w.pump.twin, false);
    cr_assert_eq(table_world_ask(&w, CATALOG_ADD_INDEX, "t", name), EG_OK);
    disc_twin_set_full(w.pump.twin, true);
    cr_assert_eq(table_world_ask(&w, CATALOG_DROP_INDEX, "t", name), EG_DISC);
    disc_twin_set_full(w.pump.twin, false);
    cr_assert_eq(table_world_ask(&w, CATALOG_DROP_INDEX, "t", name), EG_OK);
    check("t");
    finish();
}

Test(table_faults, a_table_that_the_disc_will_not_forget_stays) {
    create("t", "disc", "async");
    cr_assert_eq(write_pair("t", 1, 10), EG_OK);
    stepper_run_ms(w.st, 50);
    disc_twin_set_spent(w.pump.twin, true);
    cr_assert_eq(table_world_ask(&w, CATALOG_DROP, "t", (struct value){0}), EG_DISC);
    cr_assert_eq(read_pair("t", 1), 10);
    disc_twin_set_spent(w.pump.twin, false);
    cr_assert_eq(table_world_ask(&w, CATALOG_DROP, "t", (struct value){0}), EG_OK);
    create("t", "disc", "async");
    finish();
}

Test(table_faults, a_stop_waits_for_what_the_disc_still_holds) {
    struct made m;
    struct catalog_request q = {.op = CATALOG_CREATE,
                                .name = {(const uint8_t *) "t", 1},
                                .value = options(&m, "disc", "async", false)};

    w.pump.delay_ms = 500;
    cr_assert_eq(catalog_send(w.catalog, EG_PID_NONE, 1, &q), EG_OK);
    stepper_run_ms(w.st, 10);
    restart();
    cr_assert_eq(write_pair("t", 1, 10), EG_OK);
    finish();
}

/* ---- rows that cannot be read ------------------------------------------------------------- */

Test(table_faults, what_cannot_be_read_is_not_taken_for_absent) {
    uint8_t at[ROW_KEY_BYTES];
    struct disc_bytes row = {at, 0};
    struct shard *s;
    struct table *t;
    struct made m, n;
    struct key k;

    create("t", "disc_only", "async");
    cr_assert_eq(write_pair("t", 1, 10), EG_OK);
    reader_enter(&w.reader);
    t = table_world_find(&w, "t");
    cr_assert_eq(table_key(t, &k, number(&m, 1)), EG_OK);
    s = shard_of(t, k.hash);
    row.size_bytes = disc_row_key(at, sizeof at, s->number, k.value);
    disc_twin_damage(w.pump.twin, t->disc_table, row);
    key_release(&k);
    reader_exit(&w.reader);
    cr_assert_eq(run("t", (struct shard_request){.op = SHARD_INSERT_NEW, .value = pair(&m, 1, 11)}),
                 EG_CORRUPT);
    cr_assert_eq(run("t", (struct shard_request){.op = SHARD_READ, .key = number(&m, 1)}),
                 EG_CORRUPT);
    cr_assert_eq(run("t", (struct shard_request){.op = SHARD_DELETE, .key = number(&m, 1)}),
                 EG_CORRUPT);
    cr_assert_eq(run("t", (struct shard_request){.op = SHARD_COUNTER,
                                                 .attribute = 1,
                                                 .key = number(&m, 1),
                                                 .value = number(&n, 1)}),
                 EG_CORRUPT);
    cr_assert_eq(write_pair("t", 2, 20), EG_OK); /* others are as they were */
    cr_assert_eq(read_pair("t", 2), 20);
    finish();
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void create_limited(const char *name, bool cache, uint64_t max_bytes) {
    struct made m;

    value_put_map(begin(&m), 3);
    value_put_text(&m.w, "cache");
    value_put_bool(&m.w, cache);
    value_put_text(&m.w, "max_bytes");
    value_put_u64(&m.w, max_bytes);
    value_put_text(&m.w, "shards");
    value_put_u64(&m.w, 1);
    cr_assert_eq(table_world_ask(&w, CATALOG_CREATE, name, end(&m)), EG_OK);
}

/* Taking the change back grows what the limit would refuse to grow. */
Test(table_faults, a_write_many_that_the_limit_refuses_is_taken_back) {
    struct made m;
    eg_err err = EG_OK;

    create_limited("t", false, 64 * 1024);
    for (int64_t i = 0; err == EG_OK; i++) {
        put_large(begin(&m), i, 4000);
        err = run("t", (struct shard_request){.op = SHARD_WRITE, .value = end(&m)});
        cr_assert_lt(i, 32);
    }
    cr_assert_eq(err, EG_MEMORY);
    value_put_array(begin(&m), 2);
    put_pair(&m.w, 0, 1); /* smaller than what is there */
    put_large(&m.w, 1000, 4000);
    cr_assert_eq(write_many("t", end(&m)), EG_MEMORY);
    check("t");
    reader_enter(&w.reader);
    buffer_clear(&w.result);
    {
        struct key k;
        struct table *t = table_world_find(&w, "t");
        cr_assert_eq(table_key(t, &k, number(&m, 0)), EG_OK);
        cr_assert_gt(record_array_bytes(table_get(t, &w.reader, &k)), 4000);
        key_release(&k);
    }
    reader_exit(&w.reader);
    finish();
}

/* It always goes through the catalog.  One batch may pass the limit by its own size. */
Test(table_faults, a_write_many_into_a_sync_table_is_in_all_shards_or_in_none) {
    enum { RECORDS = 500 };
    struct made m;
    eg_err err;

    value_put_map(begin(&m), 4);
    value_put_text(&m.w, "storage");
    value_put_text(&m.w, "disc");
    value_put_text(&m.w, "durability");
    value_put_text(&m.w, "sync");
    value_put_text(&m.w, "max_bytes");
    value_put_u64(&m.w, 8 * 1024);
    value_put_text(&m.w, "shards");
    value_put_u64(&m.w, 4);
    cr_assert_eq(table_world_ask(&w, CATALOG_CREATE, "t", end(&m)), EG_OK);
    value_put_array(begin(&m), RECORDS);
    for (int64_t i = 0; i < RECORDS; i++)
        put_pair(&m.w, i, i);
    err = write_many("t", end(&m));
    for (int64_t i = 0; i < RECORDS; i++)
        cr_assert_eq(read_pair("t", i), err == EG_OK ? i : -1, "record %d, %d", (int) i, (int) err);
    finish();
}

Test(table_faults, a_cache_that_overflows_within_one_write_many_keeps_the_newest) {
    struct made m;

    create_limited("t", true, 1024);
    for (int64_t round = 0; round < 10; round++) {
        value_put_array(begin(&m), 20);
        for (int64_t i = 0; i < 20; i++)
            put_large(&m.w, round * 20 + i, 100);
        cr_assert_eq(write_many("t", end(&m)), EG_OK);
        check("t");
    }
    reader_enter(&w.reader);
    cr_assert_leq(table_size(table_world_find(&w, "t"), &w.reader), 10);
    cr_assert_geq(table_size(table_world_find(&w, "t"), &w.reader), 1);
    reader_exit(&w.reader);
    finish();
}

Test(table_faults, more_than_the_disc_takes_at_once_is_refused_before_anything_is_touched) {
    enum { COUNT = 1000 * 1000 };
    size_t size_bytes = 16 + (size_t) COUNT * 8;
    uint8_t *at = alloc_get(alloc_system(), size_bytes);
    struct value_writer v = value_writer_init(at, size_bytes);

    create("t", "disc", "async");
    value_put_array(&v, COUNT);
    for (int64_t i = 0; i < COUNT; i++)
        put_pair(&v, i, 1);
    cr_assert(!v.overflow);
    cr_assert_eq(write_many("t", (struct value){at, (uint32_t) v.need_bytes}), EG_TOO_LARGE);
    alloc_put(alloc_system(), at, size_bytes);
    cr_assert_eq(write_pair("t", 1, 10), EG_OK);
    stepper_run_ms(w.st, 300);
    cr_assert_eq(write_pair("t", 1, 11), EG_OK);
    finish();
}

Test(table_faults, a_ttl_past_all_clocks_is_as_good_as_none) {
    struct made m;

    create("t", "ram", "async");
    cr_assert_eq(run("t", (struct shard_request){.op = SHARD_WRITE,
                                                 .ttl_ms = UINT64_MAX,
                                                 .value = pair(&m, 1, 10)}),
                 EG_OK);
    stepper_run_ms(w.st, 1000);
    cr_assert_eq(read_pair("t", 1), 10);
    check("t");
    finish();
}

Test(table_faults, recovered_records_are_accounted_for) {
    int64_t before;

    create("t", "disc", "async");
    for (int64_t i = 0; i < 5000; i++)
        cr_assert_eq(write_pair("t", i, i), EG_OK);
    stepper_run_ms(w.st, 500);
    before = atomic_load(&w.budget.used_bytes);
    restart();
    stepper_run_ms(w.st, 10);
    cr_assert_gt(before, 100 * 1024);
    cr_assert_gt(atomic_load(&w.budget.used_bytes), before / 2);
    finish();
}

/* ---- memory ------------------------------------------------------------------------------------
 */

Test(table_faults, a_catalog_that_finds_no_memory_leaves_nothing_and_loses_nothing) {
    static const char *const storages[] = {"disc", "disc_only"};
    struct made m;
    eg_err err = EG_MEMORY;
    int n;

    for (int i = 0; i < 2; i++) {
        cr_assert_eq(table_world_ask(&w, CATALOG_CREATE, storages[i],
                                     options(&m, storages[i], "async", true)),
                     EG_OK);
        for (int64_t k = 0; k < 20; k++)
            cr_assert_eq(write_pair(storages[i], k, k), EG_OK);
    }
    cr_assert_eq(table_world_stop(&w), EG_OK);
    cr_assert_eq(atomic_load(&memory.live), 0);
    for (n = 0; n < TRIES_MAX && err == EG_MEMORY; n++) {
        atomic_store(&memory.left, n);
        err = table_world_start(&w);
        if (err != EG_OK)
            cr_assert_eq(atomic_load(&memory.live), 0, "after %d", n);
    }
    cr_assert_eq(err, EG_OK);
    cr_assert_gt(n, 20);
    atomic_store(&memory.left, INT_MAX);
    for (int i = 0; i < 2; i++) {
        check(storages[i]);
        cr_assert_eq(read_pair(storages[i], 19), 19);
    }
    finish();
}

static void starve_create(const char *storage) {
    struct made m;
    eg_err err = EG_MEMORY;
    int n;

    for (n = 0; n < TRIES_MAX && err == EG_MEMORY; n++) {
        atomic_store(&memory.left, n);
        err = table_world_ask(&w, CATALOG_CREATE, "t", options(&m, storage, "async", true));
        atomic_store(&memory.left, INT_MAX);
        if (err == EG_MEMORY) { /* its name is free, here and on disc */
            create("t", storage, "async");
            cr_assert_eq(table_world_ask(&w, CATALOG_DROP, "t", (struct value){0}), EG_OK);
        }
    }
    cr_assert_eq(err, EG_OK);
    cr_assert_gt(n, 5);
    cr_assert_eq(write_pair("t", 1, 10), EG_OK);
    check("t");
    cr_assert_eq(table_world_ask(&w, CATALOG_DROP, "t", (struct value){0}), EG_OK);
}

Test(table_faults, a_table_that_finds_no_memory_leaves_its_name_free) {
    starve_create("ram");
    starve_create("disc");
    starve_create("disc_only");
    finish();
}

Test(table_faults, a_write_that_finds_no_memory_changes_nothing) {
    static const char *const storages[] = {"ram", "disc", "disc_only"};
    struct made m;

    for (int i = 0; i < 3; i++) {
        const char *name = storages[i];
        cr_assert_eq(table_world_ask(&w, CATALOG_CREATE, name, options(&m, name, "async", true)),
                     EG_OK);
        for (int64_t key = 0; key < 300; key++) {
            eg_err err;
            atomic_store(&memory.left, (int) (key % 7));
            err = write_pair(name, key % 100, key);
            atomic_store(&memory.left, INT_MAX);
            cr_assert(err == EG_OK || err == EG_MEMORY);
            cr_assert((read_pair(name, key % 100) == key) == (err == EG_OK));
            if (key % 50 == 0)
                check(name);
        }
        check(name);
    }
    finish();
}
