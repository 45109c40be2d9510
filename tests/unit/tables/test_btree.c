/* A tree finds, keeps order, takes changes back, and keeps its snapshots frozen. */
#include "tables/btree.h"

#include "tables/key.h"
#include "tests/support/shard_memory.h"

#include <criterion/criterion.h>
#include <string.h>

static struct shard_memory memory;
static struct btree *tree;

static struct btree *open_tree(struct order order) {
    struct btree *t;

    cr_assert_eq(btree_open(&t, &(struct btree_opts){.alloc = &memory.alloc.base,
                                                     .slab = memory.slab,
                                                     .bin = &memory.bin,
                                                     .order = order,
                                                     .owns_records = true}),
                 EG_OK);
    return t;
}

static void setup(void) {
    shard_memory_open(&memory);
    tree = open_tree(order_of_keys(false));
}

static void teardown(void) {
    btree_check(tree);
    btree_retire(tree);
    shard_memory_close(&memory, 0);
}

TestSuite(btree, .init = setup, .fini = teardown, .timeout = 240);

/* ---- small words for the tests ---------------------------------------------- */

static struct value number(int64_t n) {
    static uint8_t bytes[16][16];
    static uint32_t turn;
    uint8_t *at = bytes[turn++ % 16];
    struct value_writer w = value_writer_init(at, sizeof bytes[0]);

    value_put_i64(&w, n);
    return (struct value){at, (uint32_t) w.need_bytes};
}

static struct record *record_of(struct value key, struct value field) {
    static uint8_t bytes[70000];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);

    value_put_array(&w, 2);
    value_put_raw(&w, key);
    value_put_raw(&w, field);
    return shard_memory_record(&memory, (struct value){bytes, (uint32_t) w.need_bytes}, 1);
}

static const struct record *put(struct btree *t, struct value key, struct value field) {
    struct record *rec = record_of(key, field);
    struct btree_change c;
    struct probe p;

    probe_of_record(&p, btree_order(t), rec);
    cr_assert_eq(btree_put(t, &p, rec, &c), EG_OK);
    btree_finish(t, &c);
    return rec;
}

static const struct record *get(struct btree *t, struct value first_part) {
    struct probe p;

    probe_of_value(&p, btree_order(t), first_part);
    return btree_get(t, &p);
}

static void take_away(struct btree *t, const struct record *rec) {
    struct btree_change c;
    struct probe p;

    probe_of_record(&p, btree_order(t), rec);
    cr_assert_eq(btree_remove(t, &p, &c), EG_OK);
    btree_finish(t, &c);
}

static int64_t key_of(const struct record *rec) {
    int64_t n = -1;
    return rec != NULL && value_get_i64(record_key(rec), &n) ? n : -1;
}

static int64_t neighbour(struct value v, bool after, bool reverse) {
    struct btree_iter it;
    struct probe p;

    probe_of_value(&p, btree_order(tree), v);
    btree_seek(&it, tree, NULL, &p, after, reverse);
    return key_of(btree_next(&it));
}

/* ---- claims ------------------------------------------------------------------ */

Test(btree, empty_finds_nothing_and_ends_every_scan) {
    struct btree_iter it;

    cr_assert_null(get(tree, number(1)));
    cr_assert_eq(neighbour(number(1), false, false), -1);
    btree_seek(&it, tree, NULL, NULL, false, true);
    cr_assert_null(btree_next(&it));
    cr_assert_eq(btree_stats(tree).bytes, 0);
}

Test(btree, finds_a_number_in_whatever_encoding_it_comes) {
    const struct record *seven = put(tree, number(7), number(1));
    const uint8_t wide[] = {0xcb, 0x40, 0x1c, 0, 0, 0, 0, 0, 0}; /* 7.0 */
    const struct record *again;

    cr_assert_eq(get(tree, (struct value){wide, sizeof wide}), seven);
    again = put(tree, (struct value){wide, sizeof wide}, number(2));
    cr_assert_eq(get(tree, number(7)), again);
    cr_assert_eq(btree_stats(tree).count, 1);
}

Test(btree, an_absent_key_has_neighbours) {
    for (int64_t n = 0; n < 10000; n += 10)
        put(tree, number(n), number(n));
    for (int64_t n = 0; n < 9990; n += 10) {
        cr_assert_eq(neighbour(number(n + 5), true, false), n + 10);
        cr_assert_eq(neighbour(number(n + 5), true, true), n);
        cr_assert_eq(neighbour(number(n), true, false), n + 10);
        cr_assert_eq(neighbour(number(n), false, false), n);
        cr_assert_eq(neighbour(number(n), false, true), n);
        cr_assert_eq(neighbour(number(n), true, true), n == 0 ? -1 : n - 10);
    }
    cr_assert_eq(neighbour(number(9990), true, false), -1);
}

Test(btree, ascending_keys_leave_full_nodes) {
    for (int64_t n = 0; n < 20000; n++)
        put(tree, number(n), number(n));
    cr_assert_lt(btree_stats(tree).bytes / 20000.0, 14.5);
}

Test(btree, keys_that_differ_behind_what_a_node_keeps_are_told_apart) {
    static uint8_t text[1000];
    struct value keys[300];
    static uint8_t bytes[300][1010];

    memset(text, 'x', sizeof text);
    for (int i = 0; i < 300; i++) { /* the first 990 bytes agree */
        struct value_writer w = value_writer_init(bytes[i], sizeof bytes[i]);
        text[990] = (uint8_t) (i * 7 % 300 / 256 + 'a');
        text[991] = (uint8_t) (i * 7 % 300);
        value_put_string(&w, (char *) text, sizeof text);
        keys[i] = (struct value){bytes[i], (uint32_t) w.need_bytes};
        put(tree, keys[i], number(i));
    }
    btree_check(tree);
    for (int i = 0; i < 300; i++)
        cr_assert(value_equal(record_field(get(tree, keys[i]), 1), number(i)));
}

Test(btree, the_longest_keys_are_kept_and_found) {
    static uint8_t bytes[20][65000];

    for (int i = 0; i < 20; i++) {
        struct value_writer w = value_writer_init(bytes[i], sizeof bytes[i]);
        static char text[60000];
        memset(text, 'k', sizeof text);
        text[59999] = (char) ('a' + i);
        value_put_string(&w, text, sizeof text);
        put(tree, (struct value){bytes[i], (uint32_t) w.need_bytes}, number(i));
    }
    for (int i = 0; i < 20; i++)
        cr_assert_not_null(get(tree, (struct value){bytes[i], 60003}));
}

Test(btree, an_index_finds_runs_of_equal_values_nil_and_nan_included) {
    const uint8_t nil = 0xc0, five = 5, nan[] = {0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0};
    const struct value values[] = {{&nil, 1}, {&five, 1}, {nan, sizeof nan}};
    struct btree *index = open_tree(order_of_attribute(1, false));

    for (int64_t n = 0; n < 600; n++)
        put(index, number(n), values[n % 3]);
    btree_check(index);
    for (int i = 0; i < 3; i++) {
        struct btree_iter it;
        struct probe p;
        probe_of_value(&p, btree_order(index), values[i]);
        btree_seek(&it, index, NULL, &p, false, false);
        for (int64_t n = i; n < 600; n += 3)
            cr_assert_eq(key_of(btree_next(&it)), n);
    }
    btree_retire(index);
}

Test(btree, a_change_taken_back_leaves_no_trace) {
    struct btree_change c[2];
    struct probe p[2];
    struct record *rec[2];
    uint64_t bytes;

    for (int64_t n = 0; n < 48; n++) /* one full leaf: the next key splits it */
        put(tree, number(n * 2), number(n));
    bytes = btree_stats(tree).bytes;
    for (int i = 0; i < 2; i++) {
        rec[i] = record_of(number(31 + 2 * i), number(0));
        probe_of_record(&p[i], btree_order(tree), rec[i]);
        cr_assert_eq(btree_put(tree, &p[i], rec[i], &c[i]), EG_OK);
    }
    cr_assert_eq(get(tree, number(33)), rec[1]);
    btree_undo(tree, &c[1]);
    btree_undo(tree, &c[0]);
    cr_assert_null(get(tree, number(31)));
    cr_assert_null(get(tree, number(33)));
    cr_assert_eq(btree_stats(tree).count, 48);
    cr_assert_eq(btree_stats(tree).bytes, bytes);
    for (int i = 0; i < 2; i++)
        shard_memory_free_record(&memory, rec[i]);
}

Test(btree, a_snapshot_does_not_move_and_costs_nothing_after_it_is_closed) {
    struct btree_snapshot *old, *young;
    struct btree_iter it;
    uint64_t objects;

    for (int64_t n = 0; n < 2000; n++)
        put(tree, number(n), number(1));
    shard_memory_drain(&memory);
    objects = slab_stats(memory.slab).objects;
    cr_assert_eq(btree_snapshot_open(&old, tree), EG_OK);
    for (int64_t n = 0; n < 2000; n += 2)
        take_away(tree, get(tree, number(n)));
    cr_assert_eq(btree_snapshot_open(&young, tree), EG_OK);
    cr_assert_eq(btree_clear(tree), EG_OK);

    btree_seek(&it, tree, old, NULL, false, false);
    for (int64_t n = 0; n < 2000; n++)
        cr_assert_eq(key_of(btree_next(&it)), n);
    cr_assert_null(btree_next(&it));
    btree_seek(&it, tree, young, NULL, false, true);
    for (int64_t n = 1999; n > 0; n -= 2)
        cr_assert_eq(key_of(btree_next(&it)), n);

    btree_snapshot_close(old); /* the older first: the other order is the usual one */
    btree_snapshot_close(young);
    shard_memory_drain(&memory);
    cr_assert_lt(slab_stats(memory.slab).objects, objects);
    cr_assert_eq(slab_stats(memory.slab).objects, 1, "only the tree itself is left");
}

Test(btree, removing_everything_leaves_an_empty_tree) {
    for (int64_t n = 0; n < 3000; n++)
        put(tree, number(n * 7919 % 3000), number(1));
    for (int64_t n = 0; n < 3000; n++) {
        take_away(tree, get(tree, number(n * 104729 % 3000)));
        if (n % 100 == 0)
            btree_check(tree);
    }
    cr_assert_eq(btree_stats(tree).count, 0);
    cr_assert_eq(btree_stats(tree).bytes, 0);
}
