/* Rows on disc: keys that sort and tell records apart, values that are checked. */
#include "tables/disc_record.h"
#include "tests/support/disc_twin.h"
#include "tests/support/disc_wait.h"

#include <criterion/criterion.h>
#include <string.h>

static struct disc_twin *twin;
static struct disc *disc;
static struct disc_table *table;
static struct disc_batch batch;

static void setup(void) {
    cr_assert_eq(disc_twin_open(&twin, &(struct disc_twin_opts){.alloc = alloc_system()}), EG_OK);
    disc = disc_twin_disc(twin);
    cr_assert_eq(disc_wait_create(disc, "t", &table), EG_OK);
    disc_batch_init(&batch, alloc_system());
}

static void teardown(void) {
    disc_batch_fini(&batch);
    disc_close(disc);
}

TestSuite(disc_record, .init = setup, .fini = teardown);

/* [key, field] as bytes, in a record of its own memory. */
static struct record *record_of(const void *array, uint32_t size_bytes, uint64_t expiry_ms) {
    static _Alignas(8) uint8_t memory[4][1 << 13];
    static int turn;

    turn = (turn + 1) % 4;
    return record_init(memory[turn], (struct value){array, size_bytes},
                       (struct record_version){77, 99}, expiry_ms);
}

static uint32_t rows_count(uint32_t shard, enum disc_row_kind kind) {
    uint8_t from[DISC_PREFIX_BYTES], to[DISC_PREFIX_BYTES];
    struct disc_range range = {{from, disc_row_prefix(from, shard, kind)},
                               {to, disc_row_prefix(to, shard, kind + 1)},
                               false};
    struct disc_iter *it;
    uint32_t count = 0;

    cr_assert_eq(disc_iter_open(disc, table, &range, &it), EG_OK);
    for (it->ops->seek(it, (struct disc_bytes){0}); it->valid; it->ops->next(it))
        count++;
    it->ops->close(it);
    return count;
}

static void apply(void) {
    cr_assert_eq(disc_wait_write(disc, &batch, false), EG_OK);
    disc_batch_reset(&batch);
}

static void put(const void *array, uint32_t size_bytes, bool bag) {
    cr_assert_eq(disc_record_put(&batch, table, 3, record_of(array, size_bytes, 0), bag), EG_OK);
    apply();
}

Test(disc_record, a_record_comes_back_with_version_and_expiry) {
    for (uint64_t expiry_ms = 0; expiry_ms <= 5000; expiry_ms += 5000) {
        struct record *rec = record_of("\x92\x01\xa1v", 4, expiry_ms);
        struct disc_record back;
        struct disc_slice s;
        uint8_t key[64];
        size_t key_bytes;

        cr_assert_eq(disc_record_put(&batch, table, 3, rec, false), EG_OK);
        apply();
        key_bytes = disc_row_key(key, sizeof key, 3, record_key(rec));
        cr_assert_eq(disc_get(disc, table, (struct disc_bytes){key, key_bytes}, &s), EG_OK);
        cr_assert_eq(disc_record_read(&back, s.bytes, 2), EG_OK);
        cr_assert_eq(back.version.hlc, 77);
        cr_assert_eq(back.version.dot, 99);
        cr_assert_eq(back.expiry_ms, expiry_ms);
        cr_assert_eq(back.array.size_bytes, 4);
        cr_assert_eq(memcmp(back.array.at, "\x92\x01\xa1v", 4), 0);
        disc_release(disc, &s);
    }
}

Test(disc_record, equal_keys_are_one_row_and_equal_records_one_row_of_a_bag) {
    put("\x92\x01\xa1v", 4, false);
    put("\x92\xcb\x3f\xf0\0\0\0\0\0\0\xa1w", 12, false); /* key 1.0 */
    cr_assert_eq(rows_count(3, DISC_ROW_RECORD), 1);
    cr_assert_eq(disc_record_clear(&batch, table, 3), EG_OK);
    apply();

    put("\x92\x01\x07", 3, true);
    put("\x92\x01\xcd\0\x07", 5, true); /* the same 7 in three bytes */
    put("\x92\x01\x08", 3, true);
    cr_assert_eq(rows_count(3, DISC_ROW_RECORD), 2);
    cr_assert_eq(disc_record_del(&batch, table, 3, record_of("\x92\x01\x07", 3, 0), true), EG_OK);
    apply();
    cr_assert_eq(rows_count(3, DISC_ROW_RECORD), 1);
}

Test(disc_record, large_fields_of_a_bag_make_short_keys_that_still_differ) {
    static uint8_t array[4096] = "\x92\x01\xda\x0f\xf0"; /* [1, string of 4080] */
    uint8_t key[8192];
    size_t key_bytes;

    memset(array + 5, 'x', 4080);
    key_bytes = disc_row_key_of(key, sizeof key, 3, record_of(array, 5 + 4080, 0), true);
    cr_assert_leq(key_bytes, DISC_PREFIX_BYTES + 11 + DISC_TAIL_BYTES);
    put(array, 5 + 4080, true);
    array[4084] = 'y';
    put(array, 5 + 4080, true);
    cr_assert_eq(rows_count(3, DISC_ROW_RECORD), 2);
    cr_assert_eq(disc_record_del(&batch, table, 3, record_of(array, 5 + 4080, 0), true), EG_OK);
    apply();
    cr_assert_eq(rows_count(3, DISC_ROW_RECORD), 1);
}

Test(disc_record, clear_and_drop_index_reach_their_rows_only) {
    struct record *rec = record_of("\x92\x01\xa1v", 4, 0);
    const struct index_spec x[] = {index_spec_of(0), index_spec_of(1)};

    for (uint32_t shard = 2; shard <= 4; shard++) {
        cr_assert_eq(disc_record_put(&batch, table, shard, rec, false), EG_OK);
        cr_assert_eq(disc_record_put_index(&batch, table, shard, &x[0], rec, false), EG_OK);
        cr_assert_eq(disc_record_put_index(&batch, table, shard, &x[1], rec, false), EG_OK);
        cr_assert_eq(disc_record_put_clock(&batch, table, shard, disc_text("c")), EG_OK);
    }
    apply();
    cr_assert_eq(disc_record_drop_index(&batch, table, 3, 0), EG_OK);
    apply();
    cr_assert_eq(rows_count(3, DISC_ROW_INDEX), 1);
    cr_assert_eq(disc_record_del_index(&batch, table, 3, &x[1], rec, false), EG_OK);
    apply();
    cr_assert_eq(rows_count(3, DISC_ROW_INDEX), 0);
    cr_assert_eq(rows_count(3, DISC_ROW_RECORD), 1);
    cr_assert_eq(disc_record_clear(&batch, table, 3), EG_OK);
    apply();
    cr_assert_eq(rows_count(3, DISC_ROW_RECORD), 0);
    cr_assert_eq(rows_count(3, DISC_ROW_CLOCK), 1);
    for (uint32_t shard = 2; shard <= 4; shard += 2) {
        cr_assert_eq(rows_count(shard, DISC_ROW_RECORD), 1);
        cr_assert_eq(rows_count(shard, DISC_ROW_INDEX), 2);
    }
}

/* Goal: no bytes from disc are taken for a record that they are not.
 * Method: a good value cut short at every length and flipped at every byte that
 * says what it is. */
Test(disc_record, what_is_no_record_is_refused) {
    uint8_t good[] = "\x01hhhhhhhhdddddddd\x92\x01\xa1v";
    struct disc_record back;
    size_t size_bytes = sizeof good - 1;

    cr_assert_eq(disc_record_read(&back, (struct disc_bytes){good, size_bytes}, 2), EG_OK);
    for (size_t n = 0; n < size_bytes; n++)
        cr_assert_eq(disc_record_read(&back, (struct disc_bytes){good, n}, 2), EG_CORRUPT);
    cr_assert_eq(disc_record_read(&back, (struct disc_bytes){good, size_bytes}, 3), EG_CORRUPT);
    for (int bit = 0; bit < 8; bit++) {
        good[0] ^= (uint8_t) (1 << bit); /* a format, or an expiry, that is not there */
        cr_assert_eq(disc_record_read(&back, (struct disc_bytes){good, size_bytes}, 2), EG_CORRUPT);
        good[0] ^= (uint8_t) (1 << bit);
    }
    good[17] = 0x91; /* an element too few, with bytes left over */
    cr_assert_eq(disc_record_read(&back, (struct disc_bytes){good, size_bytes}, 0), EG_CORRUPT);
    good[17] = 0x81; /* a map */
    cr_assert_eq(disc_record_read(&back, (struct disc_bytes){good, size_bytes}, 0), EG_CORRUPT);
}

Test(disc_record, the_rows_of_a_part_are_told_apart) {
    static const uint8_t part[] = {0x90, 0x90};
    const uint64_t id[2] = {0x1234, 0x5678};
    const struct disc_change *c = NULL;
    bool done[3], made[3];
    uint32_t count = 0;

    cr_assert_eq(disc_record_put_part(&batch, table, 7, id, (struct disc_bytes){part, 2}), EG_OK);
    cr_assert_eq(disc_record_put_done(&batch, table, 7, id), EG_OK);
    cr_assert_eq(disc_record_put_made(&batch, table, 7, id, 70000), EG_OK);
    for (int i = 0; i < 3; i++) {
        uint64_t whose[2] = {0, 0};

        c = disc_batch_next(&batch, c);
        done[i] = disc_record_is_done(disc_change_key(c), disc_change_value(c), whose);
        made[i] = disc_record_is_made(disc_change_key(c), disc_change_value(c), whose, &count);
        cr_expect(!(done[i] || made[i]) || (whose[0] == id[0] && whose[1] == id[1]));
    }
    cr_expect(!done[0] && done[1] && !done[2]);
    cr_expect(!made[0] && !made[1] && made[2]);
    cr_expect_eq(count, 70000);
}
