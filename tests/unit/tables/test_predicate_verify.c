/* test_predicate_verify.c -- the verifier lets pass what the compiler makes, and nothing that
 * would lead the machine astray; hostile questions end soon. */
#include "tables/predicate_private.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

TestSuite(predicate_verify, .timeout = 240);

enum { STACK = FROM_STACK, FIELD = FROM_FIELD, LITERAL = FROM_LITERAL };

/* A program over two fields and a literal, 7. */
static eg_err verify(const struct code *code, uint32_t count) {
    struct slot seven = {.form = SLOT_UNSIGNED, .u = 7};
    struct code copy[32];
    struct predicate p = {.arity = 2,
                          .places = 3,
                          .code = copy,
                          .code_count = count,
                          .literal = &seven,
                          .literal_count = 1};

    cr_assert_leq(count, EG_COUNTOF(copy));
    if (count > 0)
        memcpy(copy, code, count * sizeof *code);
    return predicate_verify(&p, alloc_system());
}

#define VERIFY(...)                                                                                \
    verify((const struct code[]){__VA_ARGS__},                                                     \
           (uint32_t) EG_COUNTOF(((const struct code[]){__VA_ARGS__})))
#define PASSES(...)  cr_expect_eq(VERIFY(__VA_ARGS__), EG_OK)
#define REFUSES(...) cr_expect_eq(VERIFY(__VA_ARGS__), EG_INTERNAL)

#define CLAUSE(to)                                                                                 \
    { .op = CODE_CLAUSE, .x = (to) }
#define END                                                                                        \
    { .op = CODE_END }
#define BODY                                                                                       \
    { .op = CODE_BODY }
#define YIELD(from, at)                                                                            \
    { .op = CODE_YIELD, .x_from = (from), .x = (at) }
#define PUSH(from, at)                                                                             \
    { .op = CODE_PUSH, .x_from = (from), .x = (at) }
#define JUMP(to)                                                                                   \
    { .op = CODE_ANDALSO, .x = (to) }
#define ADD                                                                                        \
    { .op = EXPR_ADD, .x_from = STACK, .y_from = STACK }

Test(predicate_verify, a_list_is_whole_or_refused) {
    static const uint8_t good[] = {0xc4, 10, 0, 1, 0, 0, 0, 9, 0, 0, 0, 7};
    uint8_t list[sizeof good];

    cr_expect(list_check(good));
    for (size_t at = 0; at < sizeof good; at++) {
        memcpy(list, good, sizeof good);
        list[at] ^= 1;
        cr_expect(!list_check(list) || at == 2 || at == sizeof good - 1, "%zu", at);
    }
}

Test(predicate_verify, what_ends_well_passes) {
    PASSES(END);
    PASSES(CLAUSE(2), YIELD(FROM_RECORD, 0), END);
    PASSES(CLAUSE(6), BODY, PUSH(FIELD, 0), PUSH(LITERAL, 0), ADD, YIELD(STACK, 0), END);
    PASSES(CLAUSE(6), PUSH(FIELD, 0), JUMP(4), PUSH(FIELD, 1), {.op = CODE_TEST, .x_from = STACK},
           YIELD(FIELD, 0), END);
    PASSES(CLAUSE(3), {.op = CODE_UNPACK, .x_from = FIELD, .x = 1, .count = 1, .y = 2},
           YIELD(FROM_INNER, 2), END);
}

Test(predicate_verify, a_program_must_end) {
    REFUSES(CLAUSE(1), YIELD(FIELD, 0));
    REFUSES(CLAUSE(2), BODY, END);
    REFUSES(CLAUSE(2), YIELD(FIELD, 0), END, END);
    REFUSES(YIELD(FIELD, 0), END);
    REFUSES(CLAUSE(1), END);
    REFUSES({.op = CODE_OPS}, END);
    REFUSES({.op = EXPR_FIELD}, END);
    cr_expect_eq(verify(NULL, 0), EG_INTERNAL);
}

Test(predicate_verify, operands_must_exist_and_have_been_written) {
    REFUSES(CLAUSE(2), YIELD(FIELD, 2), END);
    REFUSES(CLAUSE(2), YIELD(LITERAL, 1), END);
    REFUSES(CLAUSE(2), YIELD(FROM_INNER, 2), END);
    REFUSES(CLAUSE(2), YIELD(FROM_INNER, 1), END);
    REFUSES(CLAUSE(2), YIELD(FROM_KINDS, 0), END);
    REFUSES(CLAUSE(3), {.op = CODE_UNPACK, .x_from = FIELD, .x = 1, .count = 2, .y = 2},
            YIELD(FROM_INNER, 2), END);
    REFUSES(CLAUSE(3), {.op = CODE_UNPACK, .x_from = FIELD, .x = 1, .count = 1, .y = 3},
            YIELD(FIELD, 0), END);
    REFUSES(CLAUSE(3), {.op = CODE_UNPACK, .x_from = LITERAL, .x = 0, .count = 1, .y = 2},
            YIELD(FIELD, 0), END);
    /* what one clause has unpacked another has not */
    REFUSES(CLAUSE(3), {.op = CODE_UNPACK, .x_from = FIELD, .x = 1, .count = 1, .y = 2},
            YIELD(FROM_INNER, 2), CLAUSE(5), YIELD(FROM_INNER, 2), END);
    REFUSES(CLAUSE(3), {.op = CODE_PATH, .x_from = FIELD, .count = 2, .y = 0}, YIELD(STACK, 0),
            END);
    REFUSES(CLAUSE(3),
            {.op = CODE_FIELD_INTEGER, .x_from = FIELD, .y_from = LITERAL, .count = EXPR_ADD},
            YIELD(FIELD, 0), END);
}

Test(predicate_verify, the_stack_holds_what_is_taken) {
    REFUSES(CLAUSE(3), BODY, YIELD(STACK, 0), END);
    REFUSES(CLAUSE(5), BODY, PUSH(FIELD, 0), ADD, YIELD(STACK, 0), END);
    REFUSES(CLAUSE(5), BODY, PUSH(FIELD, 0), PUSH(FIELD, 1), YIELD(STACK, 0), END);
    REFUSES(CLAUSE(5), BODY, PUSH(FIELD, 0), {.op = EXPR_ARRAY, .count = 2}, YIELD(STACK, 0), END);
    REFUSES(CLAUSE(5), BODY, PUSH(FIELD, 0), {.op = EXPR_MAP, .count = 1}, YIELD(STACK, 0), END);
    REFUSES(CLAUSE(4), BODY, {.op = EXPR_BINARY_PART, .count = 0}, YIELD(STACK, 0), END);
    REFUSES(CLAUSE(4), BODY, {.op = EXPR_SQL_IN, .count = 0}, YIELD(STACK, 0), END);
    REFUSES(CLAUSE(4), BODY, {.op = EXPR_SQL_IN_LIST, .x_from = FIELD, .y_from = LITERAL},
            YIELD(STACK, 0), END);
    REFUSES(CLAUSE(4), BODY, {.op = EXPR_SQL_IN_LIST, .x_from = FIELD, .y_from = FIELD},
            YIELD(STACK, 0), END);
    REFUSES(CLAUSE(4), PUSH(FIELD, 0), BODY, YIELD(STACK, 0), END);
}

Test(predicate_verify, jumps_go_forward_inside_their_clause_to_a_stack_of_their_own) {
    REFUSES(CLAUSE(6), PUSH(FIELD, 0), JUMP(1), PUSH(FIELD, 1), {.op = CODE_TEST, .x_from = STACK},
            YIELD(FIELD, 0), END);
    REFUSES(CLAUSE(6), PUSH(FIELD, 0), JUMP(6), PUSH(FIELD, 1), {.op = CODE_TEST, .x_from = STACK},
            YIELD(FIELD, 0), END);
    REFUSES(CLAUSE(6), PUSH(FIELD, 0), JUMP(5), PUSH(FIELD, 1), {.op = CODE_TEST, .x_from = STACK},
            YIELD(FIELD, 0), END);
    REFUSES(CLAUSE(3), JUMP(2), YIELD(FIELD, 0), END);
    REFUSES(CLAUSE(0), YIELD(FIELD, 0), END);
    REFUSES(CLAUSE(9), YIELD(FIELD, 0), END);
    /* no jump passes an UNPACK */
    REFUSES(CLAUSE(7), PUSH(FIELD, 0), JUMP(5), PUSH(FIELD, 1),
            {.op = CODE_UNPACK, .x_from = FIELD, .x = 1, .count = 1, .y = 2},
            {.op = CODE_TEST, .x_from = STACK}, YIELD(FROM_INNER, 2), END);
}

Test(predicate_verify, tests_stand_in_front_of_the_body) {
    REFUSES(CLAUSE(4), BODY, {.op = CODE_TEST, .x_from = FIELD}, YIELD(FIELD, 0), END);
    REFUSES(CLAUSE(4), BODY, {.op = EXPR_EQ, .x_from = FIELD, .y_from = FIELD, .tests = true},
            YIELD(FIELD, 0), END);
    REFUSES(CLAUSE(4), BODY, BODY, YIELD(FIELD, 0), END);
    REFUSES(CLAUSE(4), BODY, {.op = CODE_UNPACK, .x_from = FIELD, .x = 1, .count = 1, .y = 2},
            YIELD(FIELD, 0), END);
}

/* ---- hostile questions --------------------------------------------------------------- */

static eg_err open_bytes(const uint8_t *at, size_t size_bytes, struct fail_alloc *memory) {
    struct predicate *p = NULL;
    struct err_note note;
    eg_err err =
        predicate_open(&p, &memory->base, (struct value){at, (uint32_t) size_bytes}, 1, &note);

    if (err == EG_OK)
        predicate_close(p);
    cr_assert_eq(memory->live, 0);
    return err;
}

/* [[["_"], guards, [1]]] where the guards are `count` times `guard`. */
static eg_err open_guards(const char *guard, uint32_t count, struct fail_alloc *memory) {
    static uint8_t spec[32 << 20];
    uint8_t one[1024];
    struct value v = text_value(one, sizeof one, guard);
    struct value_writer w = value_writer_init(spec, sizeof spec);

    value_put_array(&w, 1);
    value_put_array(&w, 3);
    value_put_array(&w, 1);
    value_put_text(&w, "$1");
    value_put_array(&w, count);
    while (count-- > 0)
        value_put_raw(&w, v);
    value_put_array(&w, 1);
    value_put_u64(&w, 1);
    cr_assert(!w.overflow);
    return open_bytes(spec, w.need_bytes, memory);
}

Test(predicate_hostile, size_is_bounded) {
    struct fail_alloc memory = fail_alloc_after(INT_MAX);

    cr_expect_eq(open_guards("['==', '$1', 1]", 4000, &memory), EG_OK);
    cr_expect_eq(open_guards("['==', '$1', 1]", 50000, &memory), EG_TOO_LARGE);
    cr_expect_eq(open_guards("['==', '$1', 1]", 1500000, &memory), EG_TOO_LARGE);
    cr_expect_eq(open_guards("1", 16 << 20, &memory), EG_TOO_LARGE);
    cr_expect_eq(open_guards("1", 1000000, &memory), EG_TOO_LARGE);
    cr_expect_leq(memory.peak_bytes, (size_t) 16 << 20);
}

/* The widest literals at the deepest level, behind what makes each level be looked at. */
Test(predicate_hostile, nesting_does_not_multiply_the_work) {
    static uint8_t spec[PREDICATE_BYTES_MAX];
    struct fail_alloc memory = fail_alloc_after(INT_MAX);
    struct value_writer w = value_writer_init(spec, sizeof spec);
    clock_t begin = clock();

    value_put_array(&w, 1);
    value_put_array(&w, 3);
    value_put_array(&w, 1);
    for (int i = 0; i < 58; i++) {
        value_put_array(&w, 2);
    }
    value_put_array(&w, 900000);
    for (int i = 0; i < 900000; i++)
        value_put_nil(&w);
    for (int i = 0; i < 58; i++)
        value_put_text(&w, "$1");
    value_put_array(&w, 0);
    value_put_array(&w, 1);
    value_put_u64(&w, 1);
    cr_assert(!w.overflow);
    cr_expect_eq(open_bytes(spec, w.need_bytes, &memory), EG_OK);
    cr_expect_leq((clock() - begin) / (CLOCKS_PER_SEC / 1000), 5000);
}

/* 28 arrays around one another, and as many calls: each is looked at once. */
Test(predicate_hostile, terms_inside_terms_are_compiled_once) {
    static char text[4096];
    static uint8_t spec[4096];
    struct fail_alloc memory = fail_alloc_after(INT_MAX);
    char *at = text + sprintf(text, "[['$1', [], [");
    struct value v;

    for (int i = 0; i < 28; i++)
        at += sprintf(at, "[[");
    for (int i = 0; i < 3; i++)
        at += sprintf(at, "['-', ");
    at += sprintf(at, "1]]]");
    for (int i = 0; i < 28; i++)
        at += sprintf(at, "]]");
    sprintf(at, "]]]");
    v = text_value(spec, sizeof spec, text);
    cr_expect_eq(open_bytes(v.at, v.size_bytes, &memory), EG_OK);
}

Test(predicate_hostile, a_result_past_the_bound_is_too_large_and_leaves_nothing) {
    static uint8_t spec[1024];
    static uint8_t record[1 << 17];
    struct fail_alloc memory = fail_alloc_after(INT_MAX);
    struct value_writer w = value_writer_init(record, sizeof record);
    struct predicate_machine m;
    struct predicate *p = NULL;
    struct buffer out;
    bool matched;

    value_put_array(&w, 1);
    value_put_array(&w, 100000);
    for (int i = 0; i < 100000; i++)
        value_put_nil(&w);
    cr_assert_eq(predicate_open(&p, &memory.base,
                                text_value(spec, sizeof spec,
                                           "[[['$1'], [], [[['$1', ['tl', '$1'], '$_']]]]]"),
                                1, NULL),
                 EG_OK);
    predicate_machine_init(&m, &memory.base);
    buffer_init(&out, &memory.base, 250000);
    cr_assert(buffer_append(&out, "before", 6));
    cr_expect_eq(
        predicate_run(&m, p, (struct value){record, (uint32_t) w.need_bytes}, &out, &matched),
        EG_TOO_LARGE);
    cr_expect_eq(out.size_bytes, 6u);
    out.bound_bytes = 1 << 20;
    cr_expect_eq(
        predicate_run(&m, p, (struct value){record, (uint32_t) w.need_bytes}, &out, &matched),
        EG_OK);
    cr_expect(matched);
    buffer_fini(&out);
    predicate_machine_fini(&m);
    predicate_close(p);
    cr_expect_eq(memory.live, 0);
}

/* Guards that each look through the whole of a large field, which differs only at its end. */
Test(predicate_hostile, work_for_one_record_is_bounded) {
    static uint8_t record[1 << 20];
    static uint8_t spec[1 << 20];
    static char text[1 << 16];
    struct value_writer w = value_writer_init(record, sizeof record);
    char *at = text + sprintf(text, "[[['$1', '$2'], [");
    struct predicate_machine m;
    struct predicate *p = NULL;
    bool matched;

    value_put_array(&w, 2);
    for (int field = 0; field < 2; field++) {
        value_put_array(&w, 200000);
        for (int i = 0; i < 200000; i++)
            value_put_u64(&w, i == 199999 ? (uint64_t) field : 0);
    }
    for (int i = 0; i < 1000; i++)
        at += sprintf(at, "%s['/=', '$1', '$2']", i == 0 ? "" : ", ");
    sprintf(at, "], [1]]]");
    cr_assert_eq(predicate_open(&p, alloc_system(), text_value(spec, sizeof spec, text), 2, NULL),
                 EG_OK);
    predicate_machine_init(&m, alloc_system());
    cr_expect_eq(
        predicate_run(&m, p, (struct value){record, (uint32_t) w.need_bytes}, NULL, &matched),
        EG_TOO_LARGE);
    cr_expect_not(matched);
    predicate_machine_fini(&m);
    predicate_close(p);
}

/* A record of 64 levels inside an array would have 65. */
Test(predicate_hostile, a_result_that_nests_too_deep_is_too_large) {
    uint8_t record[VALUE_DEPTH_MAX + 1];
    uint8_t spec[256];
    struct predicate_machine m;
    struct predicate *p = NULL;
    struct buffer out;
    bool matched;

    memset(record, 0x91, sizeof record);
    record[VALUE_DEPTH_MAX] = 0x01;
    predicate_machine_init(&m, alloc_system());
    buffer_init(&out, alloc_system(), 1 << 20);
    cr_assert_eq(predicate_open(&p, alloc_system(),
                                text_value(spec, sizeof spec, "[['_', [], [[['$_']]]]]"), 1, NULL),
                 EG_OK);
    cr_expect_eq(predicate_run(&m, p, (struct value){record, sizeof record}, &out, &matched),
                 EG_TOO_LARGE);
    record[0] = 0x91;
    record[1] = 0x01;
    cr_expect_eq(predicate_run(&m, p, (struct value){record, 2}, &out, &matched), EG_OK);
    predicate_close(p);
    buffer_fini(&out);
    predicate_machine_fini(&m);
}

/* Goal: no failing allocation leaks, half-opens or gives half a result. */
Test(predicate_oom, every_allocation_may_fail) {
    uint8_t spec_bytes[1024];
    uint8_t record_bytes[256];
    struct value spec = text_value(
        spec_bytes, sizeof spec_bytes,
        "[[['$1', ['$2', 'x']], [['>', ['+', '$1', 1], 0]], [{'a': ['tl', ['const', [1, 2]]]}]]]");
    struct value record = text_value(record_bytes, sizeof record_bytes, "[5, ['y', 'x']]");
    eg_err err = EG_MEMORY;
    int succeed;

    for (succeed = 0; err != EG_OK && succeed < 100; succeed++) {
        struct fail_alloc memory = fail_alloc_after(succeed);
        struct predicate *p = NULL;
        struct predicate_machine m;
        struct buffer out;
        bool matched;
        err = predicate_open(&p, &memory.base, spec, 2, NULL);
        predicate_machine_init(&m, &memory.base);
        buffer_init(&out, &memory.base, 1 << 20);
        if (err == EG_OK) {
            err = predicate_run(&m, p, record, &out, &matched);
            cr_assert(err == EG_OK ? matched : out.size_bytes == 0);
            predicate_close(p);
        }
        cr_assert(err == EG_OK || err == EG_MEMORY, "%s", eg_err_name(err));
        buffer_fini(&out);
        predicate_machine_fini(&m);
        cr_assert_eq(memory.live, 0, "leak when allocation %d fails", succeed + 1);
    }
    cr_assert_gt(succeed, 5);
    cr_assert_lt(succeed, 100);
}
