/* Merges of the program's own: how they are given, and how they are called. */
#include <engram.h>

#include "node/node.h"
#include "tables/merge_call.h"

#include <criterion/criterion.h>
#include <string.h>

enum { LONG_BYTES = 5000 };

static eg_err takes_loser(void *context, eg_span winner, eg_span loser, eg_writer *out) {
    (void) winner;
    ++*(int *) context;
    if (loser.size_bytes != 0)
        eg_put_value(out, loser);
    return EG_OK;
}

static eg_err writes_much(void *context, eg_span winner, eg_span loser, eg_writer *out) {
    static const uint8_t bytes[LONG_BYTES];

    (void) winner, (void) loser;
    ++*(int *) context;
    eg_put_bytes(out, bytes, sizeof bytes);
    return EG_OK;
}

static eg_err writes_nonsense(void *context, eg_span winner, eg_span loser, eg_writer *out) {
    (void) winner, (void) loser;
    ++*(int *) context;
    eg_put_value(out, (eg_span){"\xc1", 1});
    return EG_OK;
}

static eg_err refuses(void *context, eg_span winner, eg_span loser, eg_writer *out) {
    (void) winner, (void) loser;
    ++*(int *) context;
    eg_put_nil(out);
    return EG_MEMORY;
}

Test(api_merge, a_program_gives_its_functions_by_name, .timeout = 240) {
    int calls = 0;
    const eg_merge merges[] = {{"loser", takes_loser, &calls},
                               {"much", writes_much, &calls},
                               {"nonsense", writes_nonsense, &calls},
                               {"refuses", refuses, &calls}};
    static const uint8_t with_name[] = "\x82\xa5merge\xa8"
                                       "callback\xa8"
                                       "callback\xa5loser";
    const eg_span options = {with_name, sizeof with_name - 1};
    struct value winner = {(const uint8_t *) "\x92\xa1k\x01", 4}, none = {NULL, 0};
    struct buffer out;
    eg_node *node;

    cr_assert_eq(
        eg_open(&(eg_options){.name = "test", .schedulers = 1, .merges = merges, .merge_count = 4},
                &node, NULL),
        EG_OK);
    cr_expect_eq(eg_create_table(node, "t", &options, NULL), EG_OK);
    buffer_init(&out, alloc_system(), 1 << 20);
    cr_expect_eq(node->merge[0].call(node->merge[0].context, none, winner, &out), EG_OK);
    cr_expect(out.size_bytes == winner.size_bytes && memcmp(out.at, winner.at, 4) == 0);
    buffer_clear(&out);
    cr_expect_eq(node->merge[0].call(node->merge[0].context, winner, none, &out), EG_OK);
    cr_expect_eq(out.size_bytes, 0);
    cr_expect_eq(calls, 2);
    cr_expect_eq(node->merge[1].call(node->merge[1].context, winner, none, &out), EG_OK);
    cr_expect_eq(out.size_bytes, LONG_BYTES + 3);
    cr_expect_eq(calls, 4, "once more, where it has not fit");
    buffer_clear(&out);
    cr_expect_neq(node->merge[2].call(node->merge[2].context, winner, none, &out), EG_OK);
    cr_expect_eq(node->merge[3].call(node->merge[3].context, winner, none, &out), EG_BAD_REQUEST);
    cr_expect_eq(out.size_bytes, 0);
    buffer_fini(&out);
    eg_close(node);
}

Test(api_merge, what_is_no_merge_is_refused, .timeout = 240) {
    const eg_merge no_function = {"x", NULL, NULL}, no_name = {NULL, refuses, NULL};
    eg_node *node;

    cr_expect_eq(eg_open(&(eg_options){.merge_count = 1}, &node, NULL), EG_BAD_REQUEST);
    cr_expect_eq(eg_open(&(eg_options){.merges = &no_function, .merge_count = 1}, &node, NULL),
                 EG_BAD_REQUEST);
    cr_expect_eq(eg_open(&(eg_options){.merges = &no_name, .merge_count = 1}, &node, NULL),
                 EG_BAD_REQUEST);
}
