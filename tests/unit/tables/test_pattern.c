/* test_pattern.c -- simple patterns match by value, wildcards match anything. */
#include "tables/pattern.h"

#include <criterion/criterion.h>
#include <string.h>

#define VALUE(...)                                                                                 \
    ((struct value){(const uint8_t[]){__VA_ARGS__}, (uint32_t) sizeof((uint8_t[]){__VA_ARGS__})})

TestSuite(pattern, .timeout = 240);

Test(pattern, a_wildcard_matches_any_field) {
    struct value record = VALUE(0x93, 1, 0xa1, 'x', 0x81, 2, 3);

    cr_assert(pattern_matches(VALUE(0x93, 0xa1, '_', 0xa1, '_', 0xa1, '_'), record));
    cr_assert(pattern_matches(VALUE(0x93, 1, 0xd9, 1, '_', 0xa1, '_'), record));
    cr_assert(pattern_matches(VALUE(0x93, 0xa1, '_', 0xa1, 'x', 0xa1, '_'), record));
    cr_assert_not(pattern_matches(VALUE(0x93, 0xa1, '_', 0xa1, 'y', 0xa1, '_'), record));
    cr_assert_not(pattern_matches(VALUE(0x92, 0xa1, '_', 0xa1, '_'), record));
    cr_assert_not(pattern_matches(VALUE(0x93, 0xa1, '_', 0xc4, 1, '_', 0xc0), record));
}

Test(pattern, fields_match_by_value_and_not_by_encoding) {
    struct value record = VALUE(0x92, 1, 0xca, 0x40, 0xe0, 0, 0); /* 7.0 */

    cr_assert(pattern_matches(VALUE(0x92, 0xcc, 1, 7), record));
    cr_assert_not(pattern_matches(VALUE(0x92, 0xcc, 1, 8), record));
    cr_assert(pattern_matches(VALUE(0x92, 1, 0x82, 1, 2, 3, 4),
                              VALUE(0x92, 1, 0x82, 3, 4, 1, 2))); /* a map, turned round */
}

Test(pattern, wildcards_work_inside_arrays_and_not_inside_maps) {
    cr_assert(pattern_matches(VALUE(0x92, 1, 0x92, 0x91, 0xa1, '_', 5),
                              VALUE(0x92, 1, 0x92, 0x91, 0x80, 5)));
    cr_assert_not(
        pattern_matches(VALUE(0x92, 1, 0x92, 0x91, 0xa1, '_', 5), VALUE(0x92, 1, 0x92, 0x80, 5)));
    cr_assert_not(pattern_matches(VALUE(0x92, 1, 0x91, 0xa1, '_'), VALUE(0x92, 1, 0x90)));
    cr_assert_not(pattern_matches(VALUE(0x92, 1, 0x81, 1, 0xa1, '_'), VALUE(0x92, 1, 0x81, 1, 2)));
    cr_assert(
        pattern_matches(VALUE(0x92, 1, 0x81, 1, 0xa1, '_'), VALUE(0x92, 1, 0x81, 1, 0xa1, '_')));
}

Test(pattern, a_key_without_wildcards_is_told) {
    struct value key;

    cr_assert(pattern_get_key(VALUE(0x92, 0xcc, 7, 0xa1, '_'), &key));
    cr_assert_eq(key.size_bytes, 2u);
    cr_assert(pattern_get_key(VALUE(0x92, 0x92, 1, 2, 0xa1, '_'), &key));
    cr_assert_not(pattern_get_key(VALUE(0x92, 0xa1, '_', 1), &key));
    cr_assert_not(pattern_get_key(VALUE(0x92, 0x92, 1, 0x91, 0xa1, '_', 1), &key));
}

Test(pattern, only_arrays_of_the_tables_arity_pass) {
    struct err_note note;

    cr_assert_eq(pattern_check(VALUE(0x92, 1, 2), 2, &note), EG_OK);
    cr_assert_eq(pattern_check(VALUE(0x92, 1, 2), 3, &note), EG_BAD_REQUEST);
    cr_assert(strstr(note.text, "2 elements") != NULL);
    cr_assert_eq(pattern_check(VALUE(0xa1, '_'), 1, NULL), EG_BAD_REQUEST);
}
