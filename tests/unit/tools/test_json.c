/* test_json.c -- JSON text becomes the same values, and values become JSON. */
#include "tests/support/fail_alloc.h"
#include "tests/support/gen_value.h"
#include "tools/json.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static struct fail_alloc memory;
static struct buffer values;
static struct buffer text;

static void setup(void) {
    memory = fail_alloc_after(INT_MAX);
    buffer_init(&values, &memory.base, 1 << 20);
    buffer_init(&text, &memory.base, 1 << 20);
}

static void teardown(void) {
    buffer_fini(&values);
    buffer_fini(&text);
    cr_assert_eq(memory.live, 0);
}

TestSuite(json, .init = setup, .fini = teardown, .timeout = 240);

static eg_err parse(const char *json) {
    size_t used;
    struct err_note note;

    buffer_clear(&values);
    return json_parse(json, strlen(json), &values, &used, &note);
}

static const char *print(struct value v) {
    buffer_clear(&text);
    cr_assert_eq(json_print(v, &text), EG_OK);
    cr_assert(buffer_append(&text, "", 1));
    return (const char *) text.at;
}

static const char *there_and_back(const char *json) {
    size_t used;

    cr_assert_eq(parse(json), EG_OK, "%s", json);
    cr_assert_eq(value_scan(values.at, values.size_bytes, &used), EG_OK);
    cr_assert_eq(used, values.size_bytes);
    return print((struct value){values.at, (uint32_t) values.size_bytes});
}

#define STAYS(json)         cr_assert_str_eq(there_and_back(json), json)
#define BECOMES(json, text) cr_assert_str_eq(there_and_back(json), text)

Test(json, integers_of_64_bits_stay_integers) {
    STAYS("0");
    STAYS("-1");
    STAYS("9007199254740993");
    STAYS("9223372036854775807");
    STAYS("-9223372036854775808");
    STAYS("18446744073709551615");
    BECOMES("18446744073709551616", "1.8446744073709552e+19");
    BECOMES("-9223372036854775809", "-9.223372036854776e+18");
}

Test(json, floats_stay_floats_and_keep_their_value) {
    STAYS("2.0");
    STAYS("0.1");
    STAYS("-0.0");
    STAYS("1.7976931348623157e+308");
    BECOMES("5e-324", "4.94065645841247e-324");
    STAYS("0.30000000000000004");
    BECOMES("1e2", "100.0");
    cr_assert_eq(parse("1e400"), EG_BAD_REQUEST);
}

Test(json, containers_of_any_size_keep_their_order) {
    static const int sizes[] = {0, 1, 15, 16, 1000, 70000};

    STAYS("[]");
    STAYS("{}");
    STAYS("[1, [2, {\"b\": [], \"a\": null}], true, false]");
    for (size_t i = 0; i < EG_COUNTOF(sizes); i++) {
        static char json[400000];
        size_t used = (size_t) sprintf(json, "[[");
        for (int n = 0; n < sizes[i]; n++)
            used += (size_t) sprintf(json + used, n == 0 ? "7" : ", 7");
        sprintf(json + used, "], {\"x\": 1}]");
        STAYS(json);
    }
}

Test(json, strings_are_escaped_where_they_must_be) {
    STAYS("\"\"");
    STAYS("\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u0000\"");
    STAYS("\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
    BECOMES("\"\\u00e4\\ud83d\\ude00\\/\"", "\"\xc3\xa4\xf0\x9f\x98\x80/\"");
    cr_assert_eq(parse("\"\\udc00\""), EG_BAD_REQUEST); /* half a pair */
    cr_assert_eq(parse("\"\xff\""), EG_BAD_REQUEST);
}

Test(json, what_json_lacks_is_printed_as_the_header_says) {
    static const struct {
        uint8_t bytes[16];
        const char *json;
    } cases[] = {
        {{0xc4, 2, 0x01, 0xff}, "\"01ff\""},
        {{0xd5, 3, 0x01, 0xff}, "{\"ext\": 3, \"data\": \"01ff\"}"},
        {{0xca, 0x7f, 0xc0, 0, 0}, "null"},
        {{0xca, 0xff, 0x80, 0, 0}, "null"},
        {{0x82, 7, 1, 0xa1, 'a', 2}, "{\"7\": 1, \"a\": 2}"},
        {{0x81, 0x92, 1, 0xa1, 'x', 0xc0}, "{\"[1, \\\"x\\\"]\": null}"},
        {{0x81, 0xc4, 1, 0xab, 1}, "{\"ab\": 1}"},
        {{0xa3, 'a', 0xff, 'b'},
         "\"a\xef\xbf\xbd"
         "b\""},
    };
    for (size_t i = 0; i < EG_COUNTOF(cases); i++)
        cr_assert_str_eq(print(value_of(cases[i].bytes)), cases[i].json);
}

Test(json, values_in_a_row_are_read_one_by_one) {
    static const char json[] = " 1 [2]\n\"x\" 44";
    static const size_t ends[] = {3, 7, 11, 13};
    size_t at = 0;
    size_t used;

    for (size_t i = 0; i < EG_COUNTOF(ends); i++) {
        cr_assert_eq(json_parse(json + at, sizeof json - 1 - at, &values, &used, NULL), EG_OK);
        at += used;
        cr_assert_eq(at, ends[i], "value %zu ends at %zu", i, at);
    }
    cr_assert_str_eq(print(value_of(values.at)), "1");
}

Test(json, bad_text_is_refused_with_its_place_and_leaves_nothing) {
    static const char *const bad[] = {"",    " ",   "{",       "[1,",  "[1 2]",   "{1: 2}",
                                      "nul", "1.",  "'a'",     "[1,]", "{\"a\"}", "\"a",
                                      "+1",  "NaN", "\"\\x\"", "}",    "-"};
    struct err_note note;
    size_t used;

    for (size_t i = 0; i < EG_COUNTOF(bad); i++) {
        note.text[0] = '\0';
        buffer_clear(&values);
        cr_assert_eq(json_parse(bad[i], strlen(bad[i]), &values, &used, &note), EG_BAD_REQUEST,
                     "%s", bad[i]);
        cr_assert_eq(strncmp(note.text, "at byte ", 8), 0, "%s: %s", bad[i], note.text);
        cr_assert_eq(values.size_bytes, 0u);
    }
}

Test(json, nesting_and_size_are_bounded) {
    char json[2 * VALUE_DEPTH_MAX + 3];
    struct buffer small;
    size_t used;

    memset(json, '[', VALUE_DEPTH_MAX);
    memset(json + VALUE_DEPTH_MAX, ']', VALUE_DEPTH_MAX);
    json[2 * VALUE_DEPTH_MAX] = '\0';
    cr_assert_eq(parse(json), EG_OK);
    memset(json, '[', VALUE_DEPTH_MAX + 1);
    cr_assert_eq(parse(json), EG_TOO_LARGE);

    buffer_init(&small, &memory.base, 300);
    cr_assert_eq(json_parse("[1, 2]", 6, &small, &used, NULL), EG_OK);
    cr_assert_eq(json_parse("[1, 2]", 6, &small, &used, NULL), EG_OK);
    static char long_text[1000];
    memset(long_text, 'x', sizeof long_text);
    long_text[0] = long_text[999] = '"';
    cr_assert_eq(json_parse(long_text, sizeof long_text, &small, &used, NULL), EG_TOO_LARGE);
    cr_assert_eq(small.size_bytes, 6u);
    buffer_fini(&small);
}

/* Goal: JSON keeps what JSON can say.  Method: print random values, read the text,
 * print that: the same text again. */
Test(json, printing_what_was_printed_and_read_changes_nothing) {
    static uint8_t bytes[GEN_VALUE_BYTES];
    uint64_t seed = rng_test_seed(11);

    for (uint64_t i = 0; i < (rng_is_replay() ? 1 : 20000); i++) {
        struct rng r = rng_of(seed + i);
        char *first = strdup(print(gen_value_in(&r, bytes, GEN_DEPTH)));
        cr_assert_str_eq(there_and_back(first), first, "seed %" PRIu64, seed + i);
        free(first);
    }
}
