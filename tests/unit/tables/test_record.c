/* test_record.c -- records keep their bytes, their version and their expiry. */
#include "tables/record.h"

#include <criterion/criterion.h>
#include <string.h>

#define VALUE(...)                                                                                 \
    ((struct value){(const uint8_t[]){__VA_ARGS__}, (uint32_t) sizeof((uint8_t[]){__VA_ARGS__})})

TestSuite(record, .timeout = 240);

Test(record, keeps_the_array_as_it_was_encoded) {
    struct value array = VALUE(0xdc, 0, 3, 0xa1, 'k', 0xcc, 1, 0x91, 0xc0);
    _Alignas(8) uint8_t memory[64];
    struct record *r = record_init(memory, array, (struct record_version){11, 22}, 0);

    cr_assert_eq(record_bytes(r), record_bytes_for(array.size_bytes, false));
    cr_assert_eq(record_value(r).size_bytes, array.size_bytes);
    cr_assert_eq(memcmp(record_value(r).at, array.at, array.size_bytes), 0);
    cr_assert(value_is_string(record_key(r), "k"));
    cr_assert_eq(record_field(r, 1).size_bytes, 2u);
    cr_assert_eq(record_field(r, 2).size_bytes, 2u);
    cr_assert(r->hlc == 11 && r->dot == 22);
    cr_assert_eq(record_expiry_ms(r), 0u);
}

Test(record, an_expiry_stands_before_the_array) {
    struct value array = VALUE(0x92, 7, 8);
    _Alignas(8) uint8_t memory[64];
    struct record *r = record_init(memory, array, (struct record_version){1, 2}, 1234567890123);

    cr_assert_eq(record_bytes(r), record_bytes_for(array.size_bytes, true));
    cr_assert_eq(record_expiry_ms(r), 1234567890123u);
    cr_assert_eq(memcmp(record_array(r), array.at, array.size_bytes), 0);
}

Test(record, knows_whether_its_key_is_canonical) {
    _Alignas(8) uint8_t memory[64];
    struct record_version version = {1, 2};

    cr_assert(record_flags(record_init(memory, VALUE(0x91, 7), version, 0)) & RECORD_CANONICAL);
    cr_assert_not(record_flags(record_init(memory, VALUE(0x91, 0xcc, 7), version, 0)) &
                  RECORD_CANONICAL);
}

Test(record, elements_are_found_by_position) {
    struct value array = VALUE(0x93, 0x91, 1, 0x81, 2, 3, 0xa1, 'x');
    struct value element;

    cr_assert(array_element(array, 2, &element));
    cr_assert(value_is_string(element, "x"));
    cr_assert_not(array_element(array, 3, &element));
    cr_assert_not(array_element(VALUE(0x90), 0, &element));
    cr_assert_not(array_element(VALUE(0x81, 1, 2), 0, &element));
    cr_assert_not(array_element(VALUE(0xc0), 0, &element));
}
