/* test_key.c -- one canonical form, one hash, one sortable form for each key. */
#include "tables/key.h"
#include "tests/support/fail_alloc.h"

#include <criterion/criterion.h>
#include <string.h>

#define VALUE(...)                                                                                 \
    ((struct value){(const uint8_t[]){__VA_ARGS__}, (uint32_t) sizeof((uint8_t[]){__VA_ARGS__})})

static struct fail_alloc memory;

static void setup(void) {
    memory = fail_alloc_after(INT_MAX);
}

static void teardown(void) {
    cr_assert_eq(memory.live, 0);
}

TestSuite(key, .init = setup, .fini = teardown, .timeout = 240);

static void assert_same_key(struct value a, struct value b) {
    struct key j;
    struct key k;

    cr_assert_eq(key_prepare(&j, a, 1, &memory.base), EG_OK);
    cr_assert_eq(key_prepare(&k, b, 1, &memory.base), EG_OK);
    cr_assert_eq(j.hash, k.hash);
    cr_assert_eq(j.canon_bytes, k.canon_bytes);
    cr_assert_eq(memcmp(j.canon, k.canon, j.canon_bytes), 0);
    key_release(&j);
    key_release(&k);
}

Test(key, every_encoding_of_a_value_is_one_key) {
    assert_same_key(VALUE(7), VALUE(0xcf, 0, 0, 0, 0, 0, 0, 0, 7));
    assert_same_key(VALUE(7), VALUE(0xca, 0x40, 0xe0, 0, 0));
    assert_same_key(VALUE(0), VALUE(0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0)); /* -0.0 */
    assert_same_key(VALUE(0xff), VALUE(0xd1, 0xff, 0xff));
    assert_same_key(VALUE(0xcd, 1, 44), VALUE(0xd1, 1, 44)); /* 300, both three bytes */
    assert_same_key(VALUE(0xca, 0x3f, 0, 0, 0), VALUE(0xcb, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0));
    assert_same_key(VALUE(0xa1, 'k'), VALUE(0xda, 0, 1, 'k'));
    assert_same_key(VALUE(0xc4, 1, 'k'), VALUE(0xc6, 0, 0, 0, 1, 'k'));
    assert_same_key(VALUE(0xd4, 3, 'k'), VALUE(0xc7, 1, 3, 'k'));
    assert_same_key(VALUE(0x92, 1, 2), VALUE(0xdc, 0, 2, 0xcc, 1, 0xcc, 2));
    assert_same_key(VALUE(0x82, 1, 2, 3, 4), VALUE(0xde, 0, 2, 3, 4, 1, 2));
    assert_same_key(VALUE(0x81, 0x82, 1, 2, 3, 4, 5), VALUE(0x81, 0x82, 3, 4, 1, 2, 5));
}

Test(key, a_string_and_a_binary_of_the_same_bytes_are_two_keys) {
    struct key j;
    struct key k;

    cr_assert_eq(key_prepare(&j, VALUE(0xa1, 'k'), 1, &memory.base), EG_OK);
    cr_assert_eq(key_prepare(&k, VALUE(0xc4, 1, 'k'), 1, &memory.base), EG_OK);
    cr_assert_neq(j.hash, k.hash);
}

Test(key, usual_keys_are_used_where_they_lie) {
    const struct value usual[] = {
        VALUE(0xa3, 'a', 'b', 'c'), VALUE(42),         VALUE(0xe0),
        VALUE(0xce, 0, 1, 0, 0),    VALUE(0xc4, 1, 0), VALUE(0x92, 1, 0xa1, 'x'),
        VALUE(0x82, 1, 9, 2, 8),    VALUE(0xc0),       VALUE(0xcb, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0),
    };
    for (size_t i = 0; i < EG_COUNTOF(usual); i++) {
        struct key k;
        cr_assert(key_is_canonical(usual[i]), "case %zu", i);
        cr_assert_eq(key_prepare(&k, usual[i], 5, &memory.base), EG_OK);
        cr_assert_eq(k.canon, usual[i].at);
        cr_assert_eq(k.hash, key_hash(usual[i], 5));
    }
    cr_assert_eq(memory.requests, 0);
}

Test(key, the_seed_changes_the_hash) {
    cr_assert_neq(key_hash(VALUE(0xa1, 'k'), 1), key_hash(VALUE(0xa1, 'k'), 2));
}

Test(key, nan_is_no_key_wherever_it_hides) {
    struct key k;

    cr_assert_eq(key_prepare(&k, VALUE(0xca, 0x7f, 0xc0, 0, 0), 1, &memory.base), EG_BAD_RECORD);
    cr_assert_eq(key_prepare(&k, VALUE(0x91, 0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 1), 1, &memory.base),
                 EG_BAD_RECORD);
    cr_assert_eq(key_prepare(&k, VALUE(0x81, 1, 0xca, 0xff, 0xc0, 0, 0), 1, &memory.base),
                 EG_BAD_RECORD);
}

Test(key, the_size_limit_is_of_the_canonical_form) {
    static uint8_t bytes[9 * KEY_SIZE_MAX + 9];
    static const uint8_t content[KEY_SIZE_MAX];
    struct key k;
    struct value_writer w = value_writer_init(bytes, sizeof bytes);

    value_put_binary(&w, content, KEY_SIZE_MAX - 3);
    cr_assert_eq(key_prepare(&k, value_of(bytes), 1, &memory.base), EG_OK);
    w = value_writer_init(bytes, sizeof bytes);
    value_put_binary(&w, content, KEY_SIZE_MAX - 2);
    cr_assert_eq(key_prepare(&k, value_of(bytes), 1, &memory.base), EG_TOO_LARGE);

    /* As many float64 zeroes as fit once they are integers. */
    w = value_writer_init(bytes, sizeof bytes);
    value_put_array(&w, KEY_SIZE_MAX - 3);
    for (int i = 0; i < KEY_SIZE_MAX - 3; i++)
        value_put_double(&w, 0.0);
    cr_assert_eq(key_prepare(&k, value_of(bytes), 1, &memory.base), EG_OK);
    cr_assert_eq(k.canon_bytes, (uint32_t) KEY_SIZE_MAX);
    key_release(&k);
}

Test(key, a_key_that_grows_past_the_limit_is_too_large_and_no_lack_of_memory) {
    enum { COUNT = 100000 };
    static uint8_t bytes[5 + 5 * COUNT] = {0xdd, 0, COUNT >> 16, COUNT >> 8 & 0xff, COUNT & 0xff};
    struct key k;

    for (int i = 0; i < COUNT; i++)
        memcpy(bytes + 5 + 5 * i, (uint8_t[]){0xca, 0x3f, 0, 0, 0}, 5); /* 0.5 */
    cr_assert_eq(key_prepare(&k, value_of(bytes), 1, &memory.base), EG_TOO_LARGE);
}

/* Goal: no failed allocation leaks or half-prepares.  Method: fail the 1st, the
 * 2nd, ... for a key whose map must be sorted. */
Test(key, a_container_survives_each_failing_allocation) {
    struct value v = VALUE(0x92, 0x83, 5, 1, 3, 0x82, 9, 1, 8, 2, 1, 1, 0xcc, 7);
    eg_err err;
    int granted = 0;

    do {
        struct fail_alloc some = fail_alloc_after(granted);
        struct key k;
        err = key_prepare(&k, v, 1, &some.base);
        cr_assert(err == EG_OK || err == EG_MEMORY);
        if (err == EG_OK) {
            cr_assert_eq(k.hash, key_hash(v, 1));
            key_release(&k);
        }
        cr_assert_eq(some.live, 0, "leak when allocation %d fails", granted + 1);
    } while (err != EG_OK && ++granted < 100);
    cr_assert_eq(granted, 3); /* the bytes, the places, the scratch */
}

Test(key, a_long_key_in_another_encoding_needs_memory_and_survives_its_lack) {
    uint8_t bytes[200] = {0xc5, 0, 100}; /* a binary of 100 behind two length bytes */
    struct value v = {bytes, 103};
    struct fail_alloc none = fail_alloc_after(0);
    struct key k;

    cr_assert_eq(key_prepare(&k, v, 1, &none.base), EG_MEMORY);
    cr_assert_eq(none.live, 0);
    cr_assert_eq(key_prepare(&k, v, 1, &memory.base), EG_OK);
    cr_assert_eq(memory.live, 1);
    cr_assert_eq(k.canon_bytes, 102u);
    cr_assert_eq(k.hash, key_hash(v, 1));
    key_release(&k);
}

Test(key, the_sortable_form_is_cut_where_room_ends) {
    uint8_t whole[64];
    uint8_t part[64];
    struct value v = VALUE(0x93, 0xa3, 'a', 0, 'b', 0xcb, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0, 0x81, 1, 2);
    size_t size = key_sortable(v, whole, sizeof whole);

    cr_assert_leq(size, sizeof whole);
    for (size_t room = 0; room <= size; room++) {
        memset(part, 0xee, sizeof part);
        cr_assert_eq(key_sortable(v, part, room), size);
        cr_assert_eq(memcmp(part, whole, room), 0);
        cr_assert_eq(part[room], 0xee);
    }
}

/* What stands behind a sortable form cannot change its place. */
Test(key, sortable_forms_put_one_behind_the_other_sort_as_pairs) {
    const struct value ascending[] = {VALUE(0xa0),    VALUE(0xa1, 0), VALUE(0xa2, 0, 0),
                                      VALUE(0xa1, 1), VALUE(0x90),    VALUE(0x91, 0xc0)};
    for (size_t i = 1; i < EG_COUNTOF(ascending); i++) {
        uint8_t low[64];
        uint8_t high[64];
        memset(low, 0xff, sizeof low);
        memset(high, 0x00, sizeof high);
        key_sortable(ascending[i - 1], low, sizeof low);
        key_sortable(ascending[i], high, sizeof high);
        cr_assert_lt(memcmp(low, high, sizeof low), 0, "case %zu", i);
    }
}
