/* Recovery hands over one shard's clock and records, and stops at damage. */
#include "tables/recover.h"
#include "tests/support/disc_twin.h"
#include "tests/support/disc_wait.h"

#include <criterion/criterion.h>
#include <string.h>

enum { RECORDS = 100 };

static struct disc_twin *twin;
static struct disc *disc;
static struct disc_table *table;
static uint32_t clocks, records, refuse_at;
static uint64_t dot_sum;
static struct err_note note;

static void setup(void) {
    struct disc_batch b;

    cr_assert_eq(disc_twin_open(&twin, &(struct disc_twin_opts){.alloc = alloc_system()}), EG_OK);
    disc = disc_twin_disc(twin);
    cr_assert_eq(disc_wait_create(disc, "t", &table), EG_OK);
    disc_batch_init(&b, alloc_system());
    const struct index_spec indexed = index_spec_of(1);
    for (uint32_t shard = 0; shard < 3; shard++) {
        for (uint8_t i = 0; i < RECORDS; i++) {
            _Alignas(8) uint8_t memory[64];
            uint8_t array[] = {0x92, i, 0xc0};
            struct record *rec = record_init(memory, (struct value){array, sizeof array},
                                             (struct record_version){1, 1000 * shard + i}, 0);
            cr_assert_eq(disc_record_put(&b, table, shard, rec, false), EG_OK);
            cr_assert_eq(disc_record_put_index(&b, table, shard, &indexed, rec, false), EG_OK);
        }
    }
    cr_assert_eq(disc_record_put_clock(&b, table, 1, disc_text("clock")), EG_OK);
    cr_assert_eq(disc_wait_write(disc, &b, true), EG_OK);
    disc_batch_fini(&b);
    clocks = records = 0;
    refuse_at = UINT32_MAX;
    dot_sum = 0;
}

static void teardown(void) {
    disc_close(disc);
}

TestSuite(recover, .init = setup, .fini = teardown);

static eg_err take_record(void *ctx, const struct disc_record *rec) {
    (void) ctx; /* counted in statics */
    if (records == refuse_at)
        return EG_MEMORY;
    records++;
    dot_sum += rec->version.dot;
    return EG_OK;
}

static eg_err take_clock(void *ctx, struct disc_bytes clock) {
    (void) ctx;
    cr_assert_eq(clock.size_bytes, 5);
    cr_assert_eq(records, 0, "the clock comes first");
    clocks++;
    return EG_OK;
}

static eg_err run(uint32_t shard, uint64_t step) {
    struct recover_opts o = {.alloc = alloc_system(),
                             .disc = disc,
                             .table = table,
                             .name = "t",
                             .shard = shard,
                             .arity = 2,
                             .record = take_record,
                             .clock = take_clock};
    struct recover *r;
    bool done = false;
    eg_err err = recover_open(&r, &o, &note);

    cr_assert_eq(err, EG_OK);
    while (err == EG_OK && !done)
        err = recover_step(r, step, &done, &note);
    cr_assert_eq(recover_count(r), records);
    recover_close(r);
    return err;
}

Test(recover, one_shard_comes_back_whole_in_steps_of_any_size) {
    for (uint64_t step = 1; step <= 1000; step = step * 3 + 4) {
        clocks = records = 0;
        dot_sum = 0;
        cr_assert_eq(run(1, step), EG_OK);
        cr_assert_eq(records, RECORDS);
        cr_assert_eq(clocks, 1);
        cr_assert_eq(dot_sum, 1000 * RECORDS + RECORDS * (RECORDS - 1) / 2);
    }
}

Test(recover, a_shard_without_clock_or_rows_is_no_error) {
    cr_assert_eq(run(2, 7), EG_OK);
    cr_assert_eq(clocks, 0);
    records = 0;
    cr_assert_eq(run(9, 7), EG_OK);
    cr_assert_eq(records, 0);
}

static struct disc_bytes row_of(uint8_t *buffer, size_t size_bytes, uint8_t key) {
    return (struct disc_bytes){buffer,
                               disc_row_key(buffer, size_bytes, 1, (struct value){&key, 1})};
}

Test(recover, a_damaged_block_stops_it_and_names_table_and_shard) {
    uint8_t key[32];

    disc_twin_damage(twin, table, row_of(key, sizeof key, 50));
    cr_assert_eq(run(1, 7), EG_CORRUPT);
    cr_assert_eq(records, 50);
    cr_assert_not_null(strstr(note.text, "table t, shard 1"), "%s", note.text);
}

Test(recover, a_row_that_is_no_record_stops_it) {
    struct disc_batch b;
    uint8_t key[32];

    disc_batch_init(&b, alloc_system());
    cr_assert_eq(disc_batch_put(&b, table, row_of(key, sizeof key, 50), disc_text("x")), EG_OK);
    cr_assert_eq(disc_wait_write(disc, &b, false), EG_OK);
    disc_batch_fini(&b);
    cr_assert_eq(run(1, 7), EG_CORRUPT);
}

Test(recover, a_sink_that_refuses_stops_it) {
    refuse_at = 10;
    cr_assert_eq(run(1, 1000), EG_MEMORY);
    cr_assert_eq(records, 10);
}
