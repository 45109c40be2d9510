/* test_predicate_whole.c -- a question of which it is said that it asks for nothing but where the
 * key lies is true of just the records whose key lies there. */
#include "tables/predicate.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(predicate_whole, .timeout = 240);

static const char *const keys[] = {
    "nil",        "true",
    "0",          "1",
    "1.0",        "1.5",
    "2",          "3",
    "-1",         "''",
    "'a'",        "'ab'",
    "'b'",        "b'a'",
    "[]",         "[1]",
    "[1.0]",      "['a']",
    "['a', 1]",   "['a', 1.0]",
    "['a', 2]",   "['a', 1, 1]",
    "['a', []]",  "['b', 1]",
    "['a', 'z']", "[['a'], 1]",
    "[['a', 1]]", "[['a', 1], 2]",
    "{'a': 1}",   "[{'a': 1}, 2]",
};

struct question {
    const char *spec;
    bool whole;
};

static const struct question questions[] = {
    {"[[['$1', '_'], [], ['$_']]]", true}, /* it lies anywhere */
    {"[['_', [], ['$_']]]", true},
    {"[[['a', '_'], [], ['$_']]]", true},
    {"[[['$1', '_'], [['>=', '$1', 1]], ['$_']]]", true},
    {"[[['$1', '_'], [['>=', '$1', 1], ['<', '$1', 3]], ['$_']]]", true},
    {"[[['$1', '_'], [['andalso', ['<', 1, '$1'], ['=<', '$1', 'ab']]], ['$_']]]", true},
    {"[[['$1', '_'], [['and', ['>', '$1', 3], ['<', '$1', 1]]], ['$_']]]", true},
    {"[[['$1', '_'], [['==', '$1', 1]], ['$_']]]", true},
    {"[[[['a', '_'], '_'], [], ['$_']]]", true},
    {"[[[['a', '$1'], '$2'], [], ['$_']]]", true},
    {"[[[['a', 1, '_'], '_'], [], ['$_']]]", true},
    {"[[[[['a', 1], '_'], '_'], [], ['$_']]]", true},
    {"[[[[1, '_', '_'], '_'], [], ['$_']]]", true},
    /* More is asked for, or something else. */
    {"[[['$1', '$2'], [['>=', '$2', 1]], ['$_']]]", false},
    {"[[['$1', 7], [], ['$_']]]", false},
    {"[[['$1', '$1'], [], ['$_']]]", false},
    {"[[['$1', '_'], [['>=', '$1', 1]], ['$1']]]", false},
    {"[[['$1', '_'], [['=:=', '$1', 1]], ['$_']]]", false},
    {"[[['$1', '_'], [['/=', '$1', 1]], ['$_']]]", false},
    {"[[['$1', '_'], [['or', ['<', '$1', 1], ['>', '$1', 2]]], ['$_']]]", false},
    {"[[['$1', '_'], [['is_integer', '$1']], ['$_']]]", false},
    {"[[['$1', '_'], [true], ['$_']]]", false},
    {"[[['$1', '_'], [['>', '$1', '$1']], ['$_']]]", false},
    {"[[['$1', '_'], [['>', '$1', 1.5]], ['$_']]]", false},
    {"[[['$1', '_'], [['>', '$1', 1]], ['$_']], [['_', '_'], [], ['$_']]]", false},
    {"[[[['a', '$1'], '$1'], [], ['$_']]]", false},
    {"[[[['a', '$1'], '_'], [['>', '$1', 1]], ['$_']]]", false},
    {"[[[['$1', '$1'], '_'], [], ['$_']]]", false},
    {"[[[['_', 1], '_'], [], ['$_']]]", false},
    {"[[[['a', '_', 1], '_'], [], ['$_']]]", false},
    {"[[[['a', ['_']], '_'], [], ['$_']]]", false},
    {"[[[['a', '_'], 7], [], ['$_']]]", false},
};

static bool lies_there(const struct predicate *p, uint32_t elements, struct value key) {
    struct range range;

    if (predicate_range(p, 0, &range) && !range_holds(&range, key))
        return false;
    return elements == 0 || (value_kind_of(key) == VALUE_ARRAY && value_count(key) == elements);
}

static void ask(const struct question *q, const char *key_text) {
    uint8_t spec_bytes[512], record_bytes[256];
    char text[256];
    struct predicate_machine machine;
    struct value record, key;
    struct predicate *p;
    uint32_t elements;
    bool meant = false;

    snprintf(text, sizeof text, "[%s, 7]", key_text);
    record = text_value(record_bytes, sizeof record_bytes, text);
    cr_assert_eq(predicate_open(&p, alloc_system(),
                                text_value(spec_bytes, sizeof spec_bytes, q->spec), 2, NULL),
                 EG_OK, "%s", q->spec);
    predicate_machine_init(&machine, alloc_system());
    cr_assert_eq(predicate_run(&machine, p, record, NULL, &meant), EG_OK);
    cr_assert_eq(predicate_is_key_range(p, &elements), q->whole, "%s", q->spec);
    key = (struct value){record.at + 1, record.size_bytes - 2};
    cr_assert(!q->whole || lies_there(p, elements, key) == meant, "%s of %s", q->spec, text);
    predicate_machine_fini(&machine);
    predicate_close(p);
}

Test(predicate_whole, the_range_says_what_the_program_says) {
    for (size_t i = 0; i < EG_COUNTOF(questions); i++)
        for (size_t k = 0; k < EG_COUNTOF(keys); k++)
            ask(&questions[i], keys[k]);
}
