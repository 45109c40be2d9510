/* What a disc store has beyond the conformance suite: pages, rows that go along,
 * indexes, faults, and shards that share one table. */
#include "tables/disc_record.h"
#include "tables/reader.h"
#include "tables/store.h"
#include "tests/support/disc_twin.h"
#include "tests/support/disc_wait.h"

#include <criterion/criterion.h>
#include <string.h>

static struct disc_twin *twin;
static struct disc *disc;
static struct disc_table *table;
static struct epoch *domain;
static struct epoch_bin bin;
static struct slab *slab;
static struct reader reader;
static struct store *store;

static struct store *store_of(uint32_t shard, bool bag) {
    struct store *s = NULL;
    struct store_opts o = {
        .alloc = alloc_system(), .slab = slab, .bin = &bin, .seed = 1, .bag = bag};

    cr_assert_eq(store_disc_open(&s, &o, disc, table, shard), EG_OK);
    return s;
}

static void setup(void) {
    cr_assert_eq(disc_twin_open(&twin, &(struct disc_twin_opts){.alloc = alloc_system()}), EG_OK);
    disc = disc_twin_disc(twin);
    cr_assert_eq(disc_wait_create(disc, "t", &table), EG_OK);
    cr_assert_eq(epoch_open(&domain, alloc_system(), 4), EG_OK);
    epoch_bin_init(&bin, domain, alloc_system());
    cr_assert_eq(slab_open(&slab, alloc_system()), EG_OK);
    cr_assert_eq(reader_open(&reader, domain, alloc_system()), EG_OK);
    reader_enter(&reader);
    store = store_of(3, false);
}

static void teardown(void) {
    store->ops->check(store);
    store->ops->close(store);
    reader_exit(&reader);
    reader_close(&reader);
    epoch_bin_drain(&bin);
    slab_close(slab);
    epoch_close(domain);
    disc_close(disc);
}

TestSuite(store_disc, .init = setup, .fini = teardown);

/* [number, colour] */
static eg_err put(struct store *s, int64_t number, const char *colour, const struct record **old) {
    uint8_t array[64];
    struct value_writer w = value_writer_init(array, sizeof array);
    struct record *rec;
    struct value v;
    struct key k;
    eg_err err;

    value_put_array(&w, 2);
    value_put_i64(&w, number);
    value_put_text(&w, colour);
    v = (struct value){array, (uint32_t) w.need_bytes};
    rec = record_init(slab_get(slab, record_bytes_for(v.size_bytes, false)), v,
                      (struct record_version){1, (uint64_t) number}, 0);
    cr_assert_eq(key_prepare(&k, record_key(rec), 1, alloc_system()), EG_OK);
    *old = NULL;
    err = s->ops->put(s, &k, rec, old);
    if (err != EG_OK)
        slab_put(slab, rec, record_bytes(rec));
    key_release(&k);
    return err;
}

static void put_ok(struct store *s, int64_t number, const char *colour) {
    const struct record *old;
    cr_assert_eq(put(s, number, colour, &old), EG_OK);
}

static void key_of(struct key *k, int64_t number) {
    static uint8_t bytes[4][16]; /* a key borrows its value */
    static int turn;
    struct value_writer w;

    turn = (turn + 1) % 4;
    w = value_writer_init(bytes[turn], sizeof bytes[turn]);
    value_put_i64(&w, number);
    cr_assert_eq(
        key_prepare(k, (struct value){bytes[turn], (uint32_t) w.need_bytes}, 1, alloc_system()),
        EG_OK);
}

static const struct record *get(struct store *s, int64_t number) {
    struct key k;
    key_of(&k, number);
    return s->ops->get(s, &reader, &k);
}

static int64_t number_of(const struct record *rec) {
    int64_t n;
    cr_assert(value_get_i64(record_key(rec), &n));
    return n;
}

Test(store_disc, a_put_tells_what_it_replaced_and_the_old_is_readable_this_turn) {
    const struct record *old;

    cr_assert_eq(put(store, 7, "red", &old), EG_OK);
    cr_assert_null(old);
    cr_assert_eq(put(store, 7, "blue", &old), EG_OK);
    cr_assert(value_is_string(record_field(old, 1), "red"));
    cr_assert(value_is_string(record_field(get(store, 7), 1), "blue"));
    cr_assert_eq(store->ops->stats(store).count, 1);
}

Test(store_disc, a_scan_over_many_pages_sees_every_record_once_both_ways) {
    enum { RECORDS = 2000 };

    for (int64_t i = 0; i < RECORDS; i++)
        put_ok(store, i * 7 % RECORDS, "red");
    for (int reverse = 0; reverse <= 1; reverse++) {
        struct store_cursor c;
        const struct record *rec;
        int64_t count = 0;

        store->ops->seek(store, &reader, &c, NULL, false, reverse);
        while ((rec = store->ops->next(store, &reader, &c)) != NULL) {
            cr_assert_eq(number_of(rec), reverse ? RECORDS - 1 - count : count);
            count++;
        }
        cr_assert_eq(count, RECORDS);
        cr_assert_null(store->ops->next(store, &reader, &c));
    }
}

Test(store_disc, a_scan_starts_with_its_key_or_after_it_and_the_key_need_not_be_there) {
    static const struct {
        int64_t key;
        bool after, reverse;
        int64_t first; /* -1: none */
    } cases[] = {
        {10, false, false, 10}, {10, true, false, 20}, {10, false, true, 10}, {10, true, true, -1},
        {15, false, false, 20}, {15, true, false, 20}, {15, false, true, 10}, {15, true, true, 10},
        {30, true, false, -1},  {30, true, true, 20},  {99, false, true, 30}, {-5, false, true, -1},
    };

    put_ok(store, 10, "red");
    put_ok(store, 20, "red");
    put_ok(store, 30, "red");
    for (size_t i = 0; i < EG_COUNTOF(cases); i++) {
        struct store_cursor c;
        const struct record *rec;
        struct key k;

        key_of(&k, cases[i].key);
        store->ops->seek(store, &reader, &c, &k, cases[i].after, cases[i].reverse);
        rec = store->ops->next(store, &reader, &c);
        cr_assert_eq(rec == NULL ? -1 : number_of(rec), cases[i].first, "case %zu", i);
    }
}

Test(store_disc, a_bag_keeps_many_under_a_key_and_scans_past_them) {
    struct store *bag = store_of(5, true);
    struct store_cursor c;
    const struct record *rec;
    struct key k;
    int seen = 0;

    put_ok(bag, 1, "red");
    put_ok(bag, 1, "blue");
    put_ok(bag, 1, "red");
    put_ok(bag, 2, "red");
    cr_assert_eq(bag->ops->stats(bag).count, 3);
    key_of(&k, 1);
    bag->ops->seek(bag, &reader, &c, &k, false, false);
    while ((rec = bag->ops->next(bag, &reader, &c)) != NULL && number_of(rec) == 1)
        seen++;
    cr_assert_eq(seen, 2);
    bag->ops->seek(bag, &reader, &c, &k, true, false);
    cr_assert_eq(number_of(bag->ops->next(bag, &reader, &c)), 2);
    cr_assert_eq(bag->ops->remove(bag, &k, get(bag, 1)), EG_OK);
    cr_assert_not_null(get(bag, 1));
    cr_assert_eq(bag->ops->remove(bag, &k, get(bag, 1)), EG_OK);
    cr_assert_null(get(bag, 1));
    bag->ops->check(bag);
    bag->ops->close(bag);
}

Test(store_disc, shards_of_one_table_do_not_see_each_other_and_are_counted_again) {
    struct store *other = store_of(4, false);

    put_ok(store, 1, "red");
    put_ok(other, 2, "red");
    put_ok(other, 3, "red");
    cr_assert_null(get(store, 2));
    cr_assert_eq(store->ops->clear(store), EG_OK);
    other->ops->close(other);
    other = store_of(4, false);
    cr_assert_eq(other->ops->stats(other).count, 2);
    other->ops->close(other);
}

/* ---- rows that go along ------------------------------------------------- */

static const struct index_spec by_colour = {.id = 1, .part_count = 1, .part = {{.position = 1}}};

static void put_indexed(int64_t number, const char *colour) {
    const struct record *old = get(store, number), *replaced;
    _Alignas(8) uint8_t memory[128];
    uint8_t array[64];
    struct value_writer w = value_writer_init(array, sizeof array);
    struct record *fresh;

    value_put_array(&w, 2);
    value_put_i64(&w, number);
    value_put_text(&w, colour);
    fresh = record_init(memory, (struct value){array, (uint32_t) w.need_bytes},
                        (struct record_version){1, 1}, 0);
    if (old != NULL)
        cr_assert_eq(
            disc_record_del_index(store_disc_extra(store), table, 3, &by_colour, old, false),
            EG_OK);
    cr_assert_eq(disc_record_put_index(store_disc_extra(store), table, 3, &by_colour, fresh, false),
                 EG_OK);
    cr_assert_eq(put(store, number, colour, &replaced), EG_OK);
}

static uint32_t count_by(const char *colour) {
    uint8_t bytes[32];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);
    struct store_cursor c;
    struct value wanted;
    uint32_t count = 0;

    value_put_text(&w, colour);
    wanted = (struct value){bytes, (uint32_t) w.need_bytes};
    store_disc_index_seek(store, &reader, &c, &by_colour,
                          &(struct index_bounds){.equal = &wanted, .equal_count = 1}, NULL);
    while (store->ops->next(store, &reader, &c) != NULL)
        count++;
    return count;
}

Test(store_disc, index_rows_go_with_their_record_and_find_it) {
    for (int64_t i = 0; i < 1000; i++)
        put_indexed(i, i % 4 == 0 ? "red" : "redder");
    cr_assert_eq(count_by("red"), 250);
    cr_assert_eq(count_by("redder"), 750);
    cr_assert_eq(count_by("re"), 0);
    put_indexed(0, "blue");
    cr_assert_eq(count_by("red"), 249);
    cr_assert_eq(count_by("blue"), 1);
}

Test(store_disc, an_index_row_whose_record_changed_meanwhile_is_passed_over) {
    put_indexed(1, "red");
    put_ok(store, 1, "blue"); /* as a reader sees it between index row and record */
    cr_assert_eq(count_by("red"), 0);
}

/* ---- faults ------------------------------------------------------------- */

static struct disc_bytes row_of(uint8_t *buffer, size_t size_bytes, int64_t number) {
    struct key k;
    key_of(&k, number);
    return (struct disc_bytes){buffer, disc_row_key(buffer, size_bytes, 3, k.value)};
}

Test(store_disc, a_damaged_row_is_a_fault_and_never_an_absent_record) {
    uint8_t buffer[64];
    struct store_cursor c;
    const struct record *old;
    int seen = 0;

    for (int64_t i = 0; i < 10; i++)
        put_ok(store, i, "red");
    disc_twin_damage(twin, table, row_of(buffer, sizeof buffer, 5));
    cr_assert_null(get(store, 5));
    cr_assert_eq(reader_take_fault(&reader), EG_CORRUPT);
    cr_assert_not_null(get(store, 4));
    cr_assert_eq(reader_take_fault(&reader), EG_OK);
    store->ops->seek(store, &reader, &c, NULL, false, false);
    while (store->ops->next(store, &reader, &c) != NULL)
        seen++;
    cr_assert_eq(seen, 5);
    cr_assert_eq(reader_take_fault(&reader), EG_CORRUPT);
    cr_assert_eq(put(store, 5, "blue", &old), EG_CORRUPT);
}

Test(store_disc, a_disc_that_refuses_changes_nothing_and_forgets_what_went_along) {
    const struct record *old;

    put_indexed(1, "red");
    disc_twin_set_spent(twin, true);
    cr_assert_eq(disc_record_drop_index(store_disc_extra(store), table, 3, 1), EG_OK);
    cr_assert_eq(put(store, 1, "blue", &old), EG_DISC);
    cr_assert_eq(store->ops->clear(store), EG_DISC);
    cr_assert_eq(store_disc_extra(store)->used_bytes, 0);
    cr_assert(value_is_string(record_field(get(store, 1), 1), "red"));
    disc_twin_set_spent(twin, false);
    put_ok(store, 2, "blue");
    cr_assert_eq(count_by("red"), 1);
}

Test(store_disc, a_snapshot_is_one_moment) {
    struct store_snapshot *p;
    const struct record *rec;
    int64_t seen = 0;

    for (int64_t i = 0; i < 10; i++)
        put_ok(store, i, "red");
    cr_assert_eq(store->ops->snapshot_open(store, &p), EG_OK);
    put_ok(store, 3, "blue");
    put_ok(store, 77, "blue");
    while (store->ops->snapshot_next(p, &reader, &rec) == EG_OK && rec != NULL) {
        cr_assert_eq(number_of(rec), seen);
        cr_assert(value_is_string(record_field(rec, 1), "red"));
        seen++;
    }
    cr_assert_eq(seen, 10);
    store->ops->snapshot_close(store, p);
}
