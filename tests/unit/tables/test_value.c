/* test_value.c -- MessagePack in place: scan, look, compare, write. */
#include "tables/value.h"

#include "tables/value_private.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/rng.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BYTES(...) ((const uint8_t[]){__VA_ARGS__})
#define VALUE(...) ((struct value){BYTES(__VA_ARGS__), (uint32_t) sizeof((uint8_t[]){__VA_ARGS__})})

TestSuite(value, .timeout = 240);

static eg_err scan(const uint8_t *at, size_t size_bytes) {
    size_t used_bytes;
    return value_scan(at, size_bytes, &used_bytes);
}

/* ---- scan --------------------------------------------------------------- */

Test(value, scan_finds_the_end_of_each_kind) {
    static const struct {
        uint8_t bytes[24];
        size_t size;
    } whole[] = {
        {{0x7f}, 1},
        {{0xe0}, 1},
        {{0xc0}, 1},
        {{0xc3}, 1},
        {{0xa2, 'h', 'i'}, 3},
        {{0xd9, 1, 'h'}, 3},
        {{0xda, 0, 1, 'h'}, 4},
        {{0xdb, 0, 0, 0, 1, 'h'}, 6},
        {{0xc4, 2, 1, 2}, 4},
        {{0xc5, 0, 2, 1, 2}, 5},
        {{0xc6, 0, 0, 0, 0}, 5},
        {{0xc7, 0, 9}, 3},
        {{0xc8, 0, 1, 9, 1}, 5},
        {{0xc9, 0, 0, 0, 1, 9, 1}, 7},
        {{0xca, 1, 2, 3, 4}, 5},
        {{0xcb, 1, 2, 3, 4, 5, 6, 7, 8}, 9},
        {{0xcf, 1, 2, 3, 4, 5, 6, 7, 8}, 9},
        {{0xd1, 1, 2}, 3},
        {{0xd4, 1, 2}, 3},
        {{0xd8, 1}, 18},
        {{0x92, 0x01, 0x91, 0xc0}, 4},
        {{0xdc, 0, 1, 0x90}, 4},
        {{0xdd, 0, 0, 0, 0}, 5},
        {{0x82, 1, 2, 3, 0x80}, 5},
        {{0xde, 0, 1, 1, 2}, 5},
        {{0xdf, 0, 0, 0, 1, 1, 2}, 7},
    };
    for (size_t i = 0; i < EG_COUNTOF(whole); i++) {
        size_t used = 0;
        cr_assert_eq(value_scan(whole[i].bytes, sizeof whole[i].bytes, &used), EG_OK);
        cr_assert_eq(used, whole[i].size, "case %zu: %zu", i, used);
        cr_assert_eq(value_skip(whole[i].bytes), whole[i].bytes + used);
        for (size_t cut = 0; cut < whole[i].size; cut++)
            cr_assert_eq(scan(whole[i].bytes, cut), EG_AGAIN, "case %zu cut at %zu", i, cut);
    }
}

Test(value, scan_refuses_what_is_never_a_value) {
    cr_assert_eq(scan(BYTES(0xc1), 1), EG_BAD_REQUEST);
    cr_assert_eq(scan(BYTES(0x93, 1, 0xc1, 2), 4), EG_BAD_REQUEST);
}

Test(value, scan_waits_for_or_refuses_headers_that_lie) {
    cr_assert_eq(scan(BYTES(0xdd, 0xff, 0xff, 0xff, 0xff), 5), EG_TOO_LARGE);
    cr_assert_eq(scan(BYTES(0xdf, 0xff, 0xff, 0xff, 0xff), 5), EG_TOO_LARGE);
    cr_assert_eq(scan(BYTES(0xdb, 0xff, 0xff, 0xff, 0xff), 5), EG_TOO_LARGE);
    cr_assert_eq(scan(BYTES(0xdd, 0x40, 0, 0, 0), 5), EG_AGAIN);
    cr_assert_eq(scan(BYTES(0xdb, 0x40, 0, 0, 0), 5), EG_AGAIN);
}

Test(value, scan_allows_64_levels_and_no_more) {
    uint8_t nested[VALUE_DEPTH_MAX + 2];

    memset(nested, 0x91, sizeof nested);
    nested[VALUE_DEPTH_MAX] = 0xc0;
    cr_assert_eq(scan(nested, sizeof nested), EG_OK);
    nested[VALUE_DEPTH_MAX] = 0x90; /* empty, but one level more */
    cr_assert_eq(scan(nested, sizeof nested), EG_TOO_LARGE);
    nested[VALUE_DEPTH_MAX] = 0x91;
    cr_assert_eq(scan(nested, sizeof nested), EG_TOO_LARGE);
}

Test(value, a_scanner_refuses_at_the_header_that_passes_its_limit) {
    struct value_scanner s;

    value_scanner_init(&s, 100);
    cr_assert_eq(value_scanner_run(&s, BYTES(0x92, 0xd9, 98), 3), EG_TOO_LARGE);
    value_scanner_init(&s, 100);
    cr_assert_eq(value_scanner_run(&s, BYTES(0xdc, 0, 98), 3), EG_TOO_LARGE);
    value_scanner_init(&s, 100);
    cr_assert_eq(value_scanner_run(&s, BYTES(0xdc, 0, 97), 3), EG_AGAIN);
}

/* 16 MiB of small values, byte by byte: a scanner that began anew each time
 * would look at 2^47 headers. */
Test(value, a_scanner_fed_byte_by_byte_does_not_begin_anew) {
    enum { SIZE = 1 << 24 };
    uint8_t *bytes = malloc(SIZE);
    struct value_scanner s;

    memset(bytes, 0x01, SIZE);
    memcpy(bytes, BYTES(0xdd, 0, 0xff, 0xff, 0xfb), 5);
    value_scanner_init(&s, SIZE);
    for (size_t there = 0; there < SIZE; there++)
        cr_assert(value_scanner_run(&s, bytes, there) == EG_AGAIN);
    cr_assert_eq(value_scanner_run(&s, bytes, SIZE), EG_OK);
    cr_assert_eq(s.next_bytes, (size_t) SIZE);
    free(bytes);
}

/* ---- look --------------------------------------------------------------- */

Test(value, integers_are_read_where_they_fit) {
    int64_t i;
    uint64_t u;

    cr_assert(value_get_i64(VALUE(0xff), &i) && i == -1);
    cr_assert(value_get_i64(VALUE(0xd0, 0x80), &i) && i == -128);
    cr_assert(value_get_i64(VALUE(0xcc, 0x80), &i) && i == 128);
    cr_assert(value_get_i64(VALUE(0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0), &i) && i == INT64_MIN);
    cr_assert_not(value_get_i64(VALUE(0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0), &i));
    cr_assert(value_get_u64(VALUE(0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0), &u) && u == 1ull << 63);
    cr_assert(value_get_u64(VALUE(0xd1, 0, 9), &u) && u == 9);
    cr_assert_not(value_get_u64(VALUE(0xff), &u));
    cr_assert_not(value_get_i64(VALUE(0xca, 0x3f, 0x80, 0, 0), &i));
    cr_assert_not(value_get_i64(VALUE(0xa1, '1'), &i));
}

Test(value, any_number_is_read_as_a_double) {
    double d;

    cr_assert(value_get_double(VALUE(0xca, 0x3f, 0x80, 0, 0), &d) && d == 1.0);
    cr_assert(value_get_double(VALUE(0xff), &d) && d == -1.0);
    cr_assert(value_get_double(VALUE(0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0), &d) && d == 0x1p63);
    cr_assert_not(value_get_double(VALUE(0xc0), &d));
}

Test(value, bytes_and_types_are_read_in_place) {
    struct value ext = VALUE(0xd5, 0xfe, 7, 8);
    struct value text = VALUE(0xd9, 2, 'h', 'i');
    const uint8_t *at;
    uint32_t size_bytes;
    int8_t type;
    bool b;

    cr_assert(value_get_bytes(ext, &at, &size_bytes));
    cr_assert(at == ext.at + 2 && size_bytes == 2);
    cr_assert(value_get_ext_type(ext, &type) && type == -2);
    cr_assert(value_get_ext_type(VALUE(0xc7, 0, 5), &type) && type == 5);
    cr_assert_not(value_get_ext_type(text, &type));
    cr_assert(value_is_string(text, "hi"));
    cr_assert_not(value_is_string(text, "h"));
    cr_assert_not(value_is_string(VALUE(0xc4, 2, 'h', 'i'), "hi"));
    cr_assert(value_get_bool(VALUE(0xc3), &b) && b);
    cr_assert(value_get_bool(VALUE(0xc2), &b) && !b);
    cr_assert_not(value_get_bool(VALUE(0xc0), &b));
}

Test(value, iteration_visits_elements_and_both_sides_of_pairs) {
    struct value map = VALUE(0x82, 0xa1, 'a', 1, 2, 0x92, 3, 4);
    struct value_iter it = value_iter_of(map);
    struct value element;
    static const uint32_t sizes[] = {2, 1, 1, 3};

    cr_assert_eq(value_count(map), 2u);
    cr_assert_eq(value_count(VALUE(0xc0)), 0u);
    for (size_t i = 0; i < EG_COUNTOF(sizes); i++) {
        cr_assert(value_iter_next(&it, &element));
        cr_assert_eq(element.size_bytes, sizes[i]);
    }
    cr_assert_not(value_iter_next(&it, &element));
}

Test(value, an_array_inside_is_entered_without_being_skipped_first) {
    struct value v = VALUE(0x93, 0x92, 7, 0xa1, 'x', 0x90, 9);
    struct value_iter it = value_iter_of(v), in;
    struct value element;
    uint64_t n;

    cr_assert(value_iter_enter(&it, &in));
    cr_assert(value_iter_u64(&in, &n) && n == 7);
    cr_assert(value_iter_next(&in, &element) && element.size_bytes == 2);
    value_iter_leave(&it, &in);
    cr_assert(value_iter_enter(&it, &in));
    cr_assert_eq(in.left, 0);
    value_iter_leave(&it, &in);
    cr_assert_not(value_iter_enter(&it, &in), "a number");
    cr_assert(value_iter_u64(&it, &n) && n == 9);
    cr_assert_not(value_iter_enter(&it, &in), "the end");
}

Test(value, a_number_is_written_shortest_and_read_back_whatever_its_width) {
    static const uint64_t numbers[] = {
        0,         0x7f,    0x80,       0xff,        0x100,
        0xffff,    0x10000, 0xffffffff, 0x100000000, 0x0123456789abcdef,
        UINT64_MAX};
    static const size_t sizes[] = {1, 1, 2, 2, 3, 3, 5, 5, 9, 9, 9};
    uint8_t room[128];
    struct value_writer w = value_writer_init(room, sizeof room);
    struct value_iter it;
    uint64_t n;

    value_put_array(&w, EG_COUNTOF(numbers) + 1);
    for (size_t i = 0; i < EG_COUNTOF(numbers); i++) {
        size_t before_bytes = w.need_bytes;
        value_put_u64(&w, numbers[i]);
        cr_assert_eq(w.need_bytes - before_bytes, sizes[i]);
    }
    value_put_nil(&w);
    cr_assert(memcmp(w.at - 1 - 9 - 9, "\xcf\x01\x23\x45\x67\x89\xab\xcd\xef", 9) == 0);
    it = value_iter_of((struct value){room, (uint32_t) w.need_bytes});
    for (size_t i = 0; i < EG_COUNTOF(numbers); i++) {
        cr_assert(value_iter_u64(&it, &n));
        cr_assert_eq(n, numbers[i]);
    }
    cr_assert_not(value_iter_u64(&it, &n), "nil");
    it.left = 0;
    cr_assert_not(value_iter_u64(&it, &n), "the end");
}

/* A map of two such maps one level less deep as keys, the greater one first. */
static void put_nested_keys(struct value_writer *w, int depth, int n) {
    if (depth == 0) {
        value_put_i64(w, n);
        return;
    }
    value_put_map(w, 2);
    put_nested_keys(w, depth - 1, n + 1);
    value_put_nil(w);
    put_nested_keys(w, depth - 1, n);
    value_put_nil(w);
}

/* ---- order -------------------------------------------------------------- */

static struct value put_double(uint8_t buffer[9], double d) {
    struct value_writer w = value_writer_init(buffer, 9);
    value_put_double(&w, d);
    return (struct value){buffer, 9};
}

/* The table of the header's order, each greater than the one before. */
Test(value, every_kind_stands_in_its_place) {
    const struct value ascending[] = {
        VALUE(0xc0),
        VALUE(0xc2),
        VALUE(0xc3),
        VALUE(0xca, 0xff, 0x80, 0, 0), /* -infinity */
        VALUE(0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0),
        VALUE(0xff),
        VALUE(0x00),
        VALUE(0xca, 0x3f, 0, 0, 0), /* 0.5 */
        VALUE(0x01),
        VALUE(0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
        VALUE(0xca, 0x7f, 0x80, 0, 0), /* infinity */
        VALUE(0xca, 0x7f, 0xc0, 0, 0), /* NaN */
        VALUE(0xa0),
        VALUE(0xa1, 'a'),
        VALUE(0xd9, 2, 'a', 0),
        VALUE(0xa1, 'b'),
        VALUE(0xc4, 0),
        VALUE(0xc4, 1, 0xff),
        VALUE(0x90),
        VALUE(0x91, 1),
        VALUE(0x92, 1, 0xc0),
        VALUE(0x91, 2),
        VALUE(0x80),
        VALUE(0x81, 1, 9),
        VALUE(0x81, 2, 1),
        VALUE(0x82, 2, 1, 1, 2), /* in order: 1, 2 then 2, 1 */
        VALUE(0x82, 1, 3, 2, 1),
        VALUE(0x82, 1, 0, 3, 0),
        VALUE(0xd4, 0xff, 9),
        VALUE(0xd4, 1, 0),
        VALUE(0xc7, 3, 1, 0, 0, 0),
    };
    for (size_t i = 0; i < EG_COUNTOF(ascending); i++)
        for (size_t j = 0; j < EG_COUNTOF(ascending); j++) {
            int order = value_compare(ascending[i], ascending[j]);
            cr_assert_eq((order > 0) - (order < 0), (i > j) - (i < j), "%zu against %zu", i, j);
            cr_assert_eq(value_equal(ascending[i], ascending[j]), i == j);
        }
}

Test(value, integers_and_floats_compare_exactly_past_2_to_the_53) {
    struct value above = VALUE(0xcf, 0, 0x20, 0, 0, 0, 0, 0, 1); /* 2^53 + 1 */
    uint8_t a[9];
    uint8_t b[9];

    cr_assert_gt(value_compare(above, put_double(a, 0x1p53)), 0);
    cr_assert_lt(value_compare(above, put_double(a, 0x1p53 + 2)), 0);
    cr_assert_lt(
        value_compare(VALUE(0xcf, 255, 255, 255, 255, 255, 255, 255, 255), put_double(a, 0x1p64)),
        0);
    cr_assert_eq(value_compare(VALUE(0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0), put_double(a, -0x1p63)), 0);
    cr_assert_eq(value_compare(put_double(a, -0.0), put_double(b, 0.0)), 0);
    cr_assert_eq(value_compare(VALUE(0), put_double(b, -0.0)), 0);
    cr_assert(value_equal(VALUE(2), put_double(b, 2.0)));
    cr_assert_lt(value_compare(VALUE(0xff), put_double(b, -0.5)), 0);
    cr_assert_eq(value_compare(put_double(a, NAN), VALUE(0xca, 0xff, 0xc0, 0, 1)), 0);
}

Test(value, maps_compare_without_regard_to_the_order_of_pairs) {
    enum { PAIRS = 1000 };
    static uint8_t up[16 * PAIRS];
    static uint8_t down[16 * PAIRS];
    struct value_writer u = value_writer_init(up, sizeof up);
    struct value_writer d = value_writer_init(down, sizeof down);

    value_put_map(&u, PAIRS);
    value_put_map(&d, PAIRS);
    for (int i = 0; i < PAIRS; i++) {
        value_put_i64(&u, i);
        value_put_i64(&u, -i);
        value_put_i64(&d, PAIRS - 1 - i);
        value_put_i64(&d, 1 + i - PAIRS);
    }
    struct value a = {up, (uint32_t) u.need_bytes};
    struct value b = {down, (uint32_t) d.need_bytes};
    cr_assert(value_equal(a, b));
    down[d.need_bytes - 1] = 1; /* the value of key 0 */
    cr_assert_lt(value_compare(a, b), 0);
}

/* Goal: without memory, maps are walked in the same order.
 * Method: random pairs, many keys twice; walk by search, and the canonical form. */
Test(value, a_map_is_walked_in_order_also_without_memory) {
    enum { PAIRS = 200 };
    struct fail_alloc memory = fail_alloc_after(INT_MAX);
    static uint8_t map[3 + 2 * PAIRS];
    struct value_writer w = value_writer_init(map, sizeof map);
    struct rng r = rng_of(rng_test_seed(1));
    struct canon c;

    value_put_map(&w, PAIRS);
    for (int i = 0; i < 2 * PAIRS; i++)
        value_put_u64(&w, rng_below(&r, 100));
    cr_assert_eq(w.need_bytes, sizeof map);
    canon_init(&c, &memory.base, sizeof map);
    cr_assert_eq(canon_put(&c, map), map + sizeof map);
    struct map_walk searched = map_walk_of(map, false);
    struct map_walk sorted = map_walk_of(c.bytes.at, true);
    for (int i = 0; i < PAIRS; i++)
        cr_assert_eq(memcmp(map_walk_next(&searched), map_walk_next(&sorted), 2), 0);
    cr_assert_null(map_walk_next(&searched));
    cr_assert_null(map_walk_next(&sorted));
    canon_fini(&c);
    cr_assert_eq(memory.live, 0);
}

/* Goal: no value makes its comparison explode.  Method: maps of maps as keys, each
 * sorted the wrong way round; sorted anew in each comparison, these 4 KiB would take
 * half a second and twice as many 2.5. */
Test(value, maps_inside_keys_do_not_multiply_the_work) {
    static uint8_t a[1 << 16];
    static uint8_t b[1 << 16];
    struct value_writer w = value_writer_init(a, sizeof a);

    put_nested_keys(&w, 14, 0);
    memcpy(b, a, w.need_bytes);
    struct value v = {a, (uint32_t) w.need_bytes};
    struct value other = {b, v.size_bytes};
    cr_assert(!w.overflow);
    cr_assert_eq(value_compare(v, v), 0);
    b[v.size_bytes - 15]++; /* the last number: 14 values follow it, nil each */
    cr_assert_neq(value_compare(v, other), 0);
    cr_assert_eq(value_compare(v, other) > 0, value_compare(other, v) < 0);
}

/* ---- write -------------------------------------------------------------- */

Test(value, the_writer_uses_the_shortest_form) {
    static const struct {
        int64_t n;
        uint32_t size;
    } integers[] = {
        {0, 1},         {127, 1},        {128, 2},
        {255, 2},       {256, 3},        {65535, 3},
        {65536, 5},     {UINT32_MAX, 5}, {1ll << 32, 9},
        {-1, 1},        {-32, 1},        {-33, 2},
        {-128, 2},      {-129, 3},       {-32768, 3},
        {-32769, 5},    {INT32_MIN, 5},  {INT32_MIN - 1ll, 9},
        {INT64_MIN, 9},
    };
    for (size_t i = 0; i < EG_COUNTOF(integers); i++) {
        uint8_t buffer[16];
        struct value_writer w = value_writer_init(buffer, sizeof buffer);
        int64_t back;
        value_put_i64(&w, integers[i].n);
        cr_assert_eq(w.need_bytes, integers[i].size, "case %zu", i);
        cr_assert(value_get_i64((struct value){buffer, integers[i].size}, &back));
        cr_assert_eq(back, integers[i].n);
    }
}

Test(value, the_writer_stops_at_its_end_and_says_what_it_needs) {
    uint8_t buffer[8];
    struct value_writer w = value_writer_init(buffer, 5);

    memset(buffer, 0xee, sizeof buffer);
    value_put_array(&w, 2);
    value_put_text(&w, "abc");
    cr_assert_not(w.overflow);
    value_put_text(&w, "");
    value_put_nil(&w);
    cr_assert(w.overflow);
    cr_assert_eq(w.need_bytes, 7u);
    cr_assert_eq(memcmp(buffer, BYTES(0x92, 0xa3, 'a', 'b', 'c', 0xee), 6), 0);
}

Test(value, what_the_writer_wrote_is_read_back) {
    static uint8_t buffer[200000];
    static const size_t sizes[] = {0, 1, 2, 3, 4, 8, 15, 16, 17, 31, 32, 255, 256, 65535, 65536};
    static uint8_t data[65536];

    for (size_t i = 0; i < EG_COUNTOF(sizes); i++)
        for (int kind = VALUE_STRING; kind <= VALUE_EXT; kind++) {
            struct value_writer w = value_writer_init(buffer, sizeof buffer);
            const uint8_t *at;
            uint32_t size_bytes;
            size_t used;
            if (kind == VALUE_STRING)
                value_put_string(&w, (const char *) data, sizes[i]);
            else if (kind == VALUE_BINARY)
                value_put_binary(&w, data, sizes[i]);
            else if (kind == VALUE_EXT)
                value_put_ext(&w, -7, data, sizes[i]);
            else
                continue;
            struct value v = {buffer, (uint32_t) w.need_bytes};
            cr_assert_eq(value_scan(buffer, w.need_bytes, &used), EG_OK);
            cr_assert_eq(used, w.need_bytes);
            cr_assert_eq((int) value_kind_of(v), kind);
            cr_assert(value_get_bytes(v, &at, &size_bytes));
            cr_assert_eq(size_bytes, sizes[i]);
        }
}
