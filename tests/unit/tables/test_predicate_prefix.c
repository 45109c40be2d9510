/* test_predicate_prefix.c -- the short way to a program and the long one end at the same: with a
 * variable in place of each "_" a question means the same, and goes the long way. */
#include "tables/predicate_private.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

TestSuite(predicate_prefix, .timeout = 240);

enum { SPEC_BYTES = 4096 };

static bool is_short(const char *text, uint32_t arity) {
    uint8_t bytes[SPEC_BYTES];
    struct key_prefix k;

    return prefix_read(&k, text_value(bytes, sizeof bytes, text), arity);
}

static struct predicate *open_text(const char *text, uint32_t arity) {
    uint8_t bytes[SPEC_BYTES];
    struct predicate *p = NULL;

    cr_assert_eq(
        predicate_open(&p, alloc_system(), text_value(bytes, sizeof bytes, text), arity, NULL),
        EG_OK, "%s", text);
    return p;
}

/* '_' becomes '$0', '$1' ... */
static void name_places(char *out, size_t room, const char *text) {
    size_t at = 0;

    for (int number = 0; *text != '\0';) {
        bool any = strncmp(text, "'_'", 3) == 0;
        int more = any ? snprintf(out + at, room - at, "'$%d'", number++)
                       : snprintf(out + at, room - at, "%c", *text);
        at += (size_t) more;
        cr_assert_lt(at, room);
        text += any ? 3 : 1;
    }
}

static void same_value(struct value a, struct value b, const char *text) {
    cr_expect_eq(a.size_bytes, b.size_bytes, "%s", text);
    cr_expect(a.size_bytes == 0 || memcmp(a.at, b.at, a.size_bytes) == 0, "%s", text);
}

static void same_end(const struct range_end *a, const struct range_end *b, const char *text) {
    cr_expect(a->given == b->given && a->open == b->open && a->prefix == b->prefix, "%s", text);
    same_value(a->value, b->value, text);
}

static void same_known(const struct known_field *a, const struct known_field *b, const char *text) {
    cr_assert_eq(a->position, b->position, "%s", text);
    cr_assert_eq(a->path_count, b->path_count, "%s", text);
    for (uint32_t i = 0; i < a->path_count; i++)
        same_value(a->path[i], b->path[i], text);
    cr_expect(!a->domain.few && !b->domain.few, "%s", text);
    cr_expect_eq(a->domain.range.exact, b->domain.range.exact, "%s", text);
    same_end(&a->domain.range.low, &b->domain.range.low, text);
    same_end(&a->domain.range.high, &b->domain.range.high, text);
}

static void same_literal(const struct slot *a, const struct slot *b, const char *text) {
    cr_assert_eq(a->form, b->form, "%s", text);
    if (a->form == SLOT_AT)
        same_value(value_of(a->at), value_of(b->at), text);
    else
        cr_expect_eq(a->u, b->u, "%s", text); /* or the bits of another form */
}

static void same_program(const struct predicate *a, const struct predicate *b, const char *text) {
    cr_assert_eq(a->size_bytes, b->size_bytes, "%s", text);
    cr_assert_eq(a->code_count, b->code_count, "%s", text);
    cr_assert_eq(memcmp(a->code, b->code, a->code_count * sizeof *a->code), 0, "%s", text);
    cr_assert_eq(a->literal_count, b->literal_count, "%s", text);
    for (uint32_t i = 0; i < a->literal_count; i++)
        same_literal(&a->literal[i], &b->literal[i], text);
    cr_assert_eq(a->known_count, b->known_count, "%s", text);
    for (uint32_t i = 0; i < a->known_count; i++)
        same_known(&a->known[i], &b->known[i], text);
    cr_expect(a->arity == b->arity && a->places == b->places && a->depth == b->depth, "%s", text);
    cr_expect_eq(a->machine_bytes, b->machine_bytes, "%s", text);
    cr_expect_eq(a->yields_record, b->yields_record, "%s", text);
    cr_expect_eq(a->may_be_deep, b->may_be_deep, "%s", text);
    cr_expect_eq(a->screens, b->screens, "%s", text);
    cr_expect_eq(a->key_range, b->key_range, "%s", text);
    cr_expect_eq(a->key_elements, b->key_elements, "%s", text);
}

static void ends_at_the_same(const char *text, uint32_t arity) {
    struct predicate *quick, *slow;
    char named[SPEC_BYTES];

    name_places(named, sizeof named, text);
    cr_assert(is_short(text, arity), "%s", text);
    cr_assert_not(is_short(named, arity), "%s", named);
    quick = open_text(text, arity);
    slow = open_text(named, arity);
    same_program(quick, slow, text);
    predicate_close(quick);
    predicate_close(slow);
}

Test(predicate_prefix, the_program_is_the_one_that_trees_become) {
    static const char *const literals[] = {
        "''",
        "'a'",
        "'bern'",
        "b''",
        "b'ab'",
        "0",
        "1",
        "-1",
        "1.5",
        "1.0",
        "-0.0",
        "4294967296",
        "-9223372036854775808",
        "18446744073709551615",
        "'a string of more than thirty-one bytes, whose length is said behind its first byte'",
    };
    char text[SPEC_BYTES];

    for (size_t i = 0; i < EG_COUNTOF(literals); i++) {
        const char *one = literals[i], *other = literals[(i + 4) % EG_COUNTOF(literals)];

        snprintf(text, sizeof text, "[[[[%s, '_']], [], ['$_']]]", one);
        ends_at_the_same(text, 1);
        snprintf(text, sizeof text, "[[[[%s, '_', '_'], '_', '_'], [], ['$_']]]", one);
        ends_at_the_same(text, 3);
        snprintf(text, sizeof text, "[[[[%s, %s, '_'], '_'], [], ['$_']]]", one, other);
        ends_at_the_same(text, 2);
        snprintf(text, sizeof text, "[[[[%s, %s, 7, %s, '_'], '_'], [], ['$_']]]", one, other, one);
        ends_at_the_same(text, 2);
    }
}

/* Its head has `arity` fields, its key `elements`, and the first element is so long. */
static void write_spec(char *text, uint32_t arity, uint32_t elements, uint32_t long_bytes) {
    text += sprintf(text, "[[[['%0*d'", (int) long_bytes, 7);
    for (uint32_t i = 1; i < elements; i++)
        text += sprintf(text, ", '_'");
    text += sprintf(text, "]");
    for (uint32_t i = 1; i < arity; i++)
        text += sprintf(text, ", '_'");
    sprintf(text, "], [], ['$_']]]");
}

Test(predicate_prefix, what_is_large_goes_the_long_way) {
    char text[SPEC_BYTES];

    write_spec(text, 15, 15, KEY_PREFIX_BYTES_MAX - 3);
    ends_at_the_same(text, 15);
    write_spec(text, 16, 2, 1);
    cr_expect_not(is_short(text, 16));
    write_spec(text, 2, 16, 1);
    cr_expect_not(is_short(text, 2));
    write_spec(text, 2, 2, KEY_PREFIX_BYTES_MAX - 1);
    cr_expect_not(is_short(text, 2));
    cr_expect_not(is_short("[[[[1, 2, 3, 4, 5, '_'], '_'], [], ['$_']]]", 2));
}

Test(predicate_prefix, what_says_more_or_less_goes_the_long_way) {
    static const char *const others[] = {
        "[]",
        "nil",
        "{}",
        "7",
        "'_'",
        "[[]]",
        "['_']",
        "[7]",
        "[[[['a', '_'], '_'], []]]",
        "[[[['a', '_'], '_'], [], []]]",
        "[[[['a', '_'], '_'], [], ['$_', '$_']]]",
        "[[[['a', '_'], '_'], [], ['$1']]]",
        "[[[['a', '_'], '_'], [], ['$$']]]",
        "[[[['a', '_'], '_'], [], '$_']]",
        "[[[['a', '_'], '_'], [], [true]]]",
        "[[[['a', '_'], '_'], [true], ['$_']]]",
        "[[[['a', '_'], '_'], nil, ['$_']]]",
        "[[[['a', '_'], '_'], [], ['$_'], 7]]",
        "[[[['a', '_'], '_'], [], ['$_']], [[['b', '_'], '_'], [], ['$_']]]",
        "[[[['a', '_']], [], ['$_']]]",
        "[[[['a', '_'], '_', '_'], [], ['$_']]]",
        "[[[['a', '_'], 'b'], [], ['$_']]]",
        "[[[['a', '_'], ['_']], [], ['$_']]]",
        "[[[['a', 'b'], '_'], [], ['$_']]]",
        "[[[['_', '_'], '_'], [], ['$_']]]",
        "[[[['_', 'a'], '_'], [], ['$_']]]",
        "[[[['a', '_', 'b'], '_'], [], ['$_']]]",
        "[[[['$1', '_'], '_'], [], ['$_']]]",
        "[[[['$_', '_'], '_'], [], ['$_']]]",
        "[[[['_a', '_'], '_'], [], ['$_']]]", /* it might */
        "[[[[['a'], '_'], '_'], [], ['$_']]]",
        "[[[[{}, '_'], '_'], [], ['$_']]]",
        "[[[[nil, '_'], '_'], [], ['$_']]]",
        "[[[[], '_'], [], ['$_']]]",
        "[[[{'a': '_'}, '_'], [], ['$_']]]",
        "[[['a', '_'], [], ['$_']]]",
    };

    cr_assert(is_short("[[[['a', '_'], '_'], [], ['$_']]]", 2));
    for (size_t i = 0; i < EG_COUNTOF(others); i++)
        cr_expect_not(is_short(others[i], 2), "%s", others[i]);
}

Test(predicate_prefix, without_memory_nothing_is_kept) {
    uint8_t bytes[SPEC_BYTES];
    struct value spec = text_value(bytes, sizeof bytes, "[[[['a', 1, '_'], '_'], [], ['$_']]]");
    struct predicate *p = NULL;
    eg_err err = EG_MEMORY;

    for (int gets = 0; err != EG_OK; gets++) {
        struct fail_alloc memory = fail_alloc_after(gets);

        cr_assert_lt(gets, 8);
        err = predicate_open(&p, &memory.base, spec, 2, NULL);
        cr_expect(err == EG_OK || err == EG_MEMORY);
        if (err == EG_OK)
            predicate_close(p);
        cr_expect_eq(memory.live, 0);
    }
}
