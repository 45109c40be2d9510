/* test_rpc_proto.c -- frames are found, read and written; bad ones refused early. */
#include "query/rpc_proto.h"
#include "tests/support/gen_value.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <string.h>

#define BYTES(...) ((const uint8_t[]){__VA_ARGS__})
#define VALUE(...) ((struct value){BYTES(__VA_ARGS__), (uint32_t) sizeof((uint8_t[]){__VA_ARGS__})})

TestSuite(rpc_proto, .timeout = 240);

static eg_err split(struct value bytes) {
    struct rpc_splitter s;
    size_t frame_bytes;

    rpc_splitter_init(&s, RPC_FRAME_BYTES_MAX);
    return rpc_splitter_next(&s, bytes.at, bytes.size_bytes, &frame_bytes);
}

/* ---- splitting ---------------------------------------------------------- */

Test(rpc_proto, pipelined_frames_come_apart_however_they_arrive) {
    uint8_t stream[256];
    struct value_writer w = value_writer_init(stream, sizeof stream);
    size_t ends[3];

    rpc_put_request(&w, 1, "ping");
    value_put_array(&w, 0);
    ends[0] = w.need_bytes;
    rpc_put_notification(&w, "write");
    value_put_array(&w, 1);
    value_put_text(&w, "a text that is longer than thirty-one bytes");
    ends[1] = w.need_bytes;
    rpc_put_error(&w, 9, EG_NO_TABLE, NULL);
    ends[2] = w.need_bytes;

    for (size_t step = 1; step <= ends[2]; step++) {
        struct rpc_splitter s;
        size_t begin = 0;
        size_t there = 0;
        size_t frame_bytes;
        int found = 0;
        rpc_splitter_init(&s, 64);
        while (found < 3) {
            eg_err err = rpc_splitter_next(&s, stream + begin, there - begin, &frame_bytes);
            if (err == EG_AGAIN) {
                cr_assert_lt(there, ends[2]);
                there = EG_MIN(there + step, ends[2]);
                continue;
            }
            cr_assert_eq(err, EG_OK);
            begin += frame_bytes;
            cr_assert_eq(begin, ends[found++]);
        }
    }
}

Test(rpc_proto, what_cannot_become_an_envelope_is_refused_at_its_first_bytes) {
    cr_assert_eq(split(VALUE('G')), EG_BAD_REQUEST);
    cr_assert_eq(split(VALUE(0xdb, 0, 0xff)), EG_BAD_REQUEST); /* a long string has begun */
    cr_assert_eq(split(VALUE(0x90)), EG_BAD_REQUEST);
    cr_assert_eq(split(VALUE(0x92)), EG_BAD_REQUEST);
    cr_assert_eq(split(VALUE(0x95)), EG_BAD_REQUEST);
    cr_assert_eq(split(VALUE(0xdd, 0xff)), EG_BAD_REQUEST); /* 2^32 elements are claimed */
    cr_assert_eq(split(VALUE(0xdd, 0, 0, 1)), EG_BAD_REQUEST);
    cr_assert_eq(split(VALUE(0xdc, 0, 5)), EG_BAD_REQUEST);
    cr_assert_eq(split(VALUE(0x94, 0, 1, 0xc1)), EG_BAD_REQUEST);
    cr_assert_eq(split(VALUE(0x94)), EG_AGAIN);
    cr_assert_eq(split(VALUE(0xdd, 0, 0, 0)), EG_AGAIN);
    cr_assert_eq(split(VALUE(0xdc, 0, 4)), EG_AGAIN);
}

Test(rpc_proto, a_frame_past_a_bound_is_refused_at_the_header_that_says_so) {
    struct rpc_splitter s;
    size_t frame_bytes;
    uint8_t deep[100] = {0x94, 0, 5, 0xa1, 'm'};

    cr_assert_eq(split(VALUE(0x94, 0, 1, 0xa1, 'm', 0xdd, 0xff, 0xff, 0xff, 0xff)), EG_TOO_LARGE);
    cr_assert_eq(split(VALUE(0x94, 0, 1, 0xa1, 'm', 0xdd, 0x01, 0, 0, 0)), EG_TOO_LARGE);
    cr_assert_eq(split(VALUE(0x94, 0, 1, 0xa1, 'm', 0xc6, 0x01, 0, 0, 0)), EG_TOO_LARGE);
    cr_assert_eq(split(VALUE(0x94, 0, 1, 0xa1, 'm', 0xc6, 0, 0xff, 0, 0)), EG_AGAIN);
    memset(deep + 5, 0x91, sizeof deep - 5);
    cr_assert_eq(split((struct value){deep, sizeof deep}), EG_TOO_LARGE);

    rpc_splitter_init(&s, 5); /* exactly at its bound, and one past it */
    cr_assert_eq(rpc_splitter_next(&s, BYTES(0x93, 2, 0xa1, 'm', 0x90), 5, &frame_bytes), EG_OK);
    rpc_splitter_init(&s, 4);
    cr_assert_eq(rpc_splitter_next(&s, BYTES(0x93, 2, 0xa1, 'm', 0x90), 5, &frame_bytes),
                 EG_TOO_LARGE);
}

Test(rpc_proto, the_msgid_of_a_refused_request_is_told_where_it_came) {
    uint32_t msgid = 0;

    cr_assert(rpc_msgid_of_prefix(BYTES(0x94, 0, 0xcd, 1, 0), 5, &msgid) && msgid == 256);
    cr_assert(rpc_msgid_of_prefix(BYTES(0xdc, 0, 4, 0, 7), 5, &msgid) && msgid == 7);
    cr_assert_not(rpc_msgid_of_prefix(BYTES(0x94, 0, 0xcd, 1), 4, &msgid));
    cr_assert_not(rpc_msgid_of_prefix(BYTES(0x94), 1, &msgid));
    cr_assert_not(rpc_msgid_of_prefix(BYTES(0x93, 2, 7), 3, &msgid)); /* notification */
    cr_assert_not(rpc_msgid_of_prefix(BYTES(0x94, 1, 7), 3, &msgid)); /* response     */
    cr_assert_not(rpc_msgid_of_prefix(BYTES(0x94, 0, 0xff), 3, &msgid));
    cr_assert_not(rpc_msgid_of_prefix(BYTES(0x94, 0, 0xcf, 1, 0, 0, 0, 0, 0, 0, 0), 11, &msgid));
    cr_assert_not(rpc_msgid_of_prefix(BYTES('G', 'E', 'T'), 3, &msgid));
}

/* ---- parsing ------------------------------------------------------------ */

Test(rpc_proto, each_kind_of_frame_is_read_in_place) {
    struct value request = VALUE(0x94, 0, 7, 0xa4, 'p', 'i', 'n', 'g', 0x91, 1);
    struct value binary = VALUE(0xdc, 0, 3, 0xcc, 2, 0xc4, 1, 'm', 0x90);
    struct value response = VALUE(0x94, 1, 0xce, 0xff, 0xff, 0xff, 0xff, 0xc0, 0x92, 1, 2);
    struct rpc_frame f;

    cr_assert_eq(rpc_parse(request, &f), EG_OK);
    cr_assert(f.kind == RPC_REQUEST && f.msgid == 7);
    cr_assert(f.method_bytes == 4 && memcmp(f.method, "ping", 4) == 0);
    cr_assert(f.params.at == request.at + 8 && f.params.size_bytes == 2);

    cr_assert_eq(rpc_parse(binary, &f), EG_OK);
    cr_assert(f.kind == RPC_NOTIFICATION && f.method_bytes == 1 && f.method[0] == 'm');
    cr_assert_eq(f.params.size_bytes, 1u);

    cr_assert_eq(rpc_parse(response, &f), EG_OK);
    cr_assert(f.kind == RPC_RESPONSE && f.msgid == UINT32_MAX);
    cr_assert_eq(value_kind_of(f.error), VALUE_NIL);
    cr_assert_eq(f.result.size_bytes, 3u);
}

Test(rpc_proto, a_value_that_is_no_envelope_is_refused) {
    const struct value bad[] = {
        VALUE(0xc0),
        VALUE(0x84, 0, 0, 0, 0, 0, 0, 0, 0),        /* a map              */
        VALUE(0x93, 0, 7, 0xa1, 'm'),               /* request without params */
        VALUE(0x94, 2, 7, 0xa1, 'm', 0x90),         /* notification of four   */
        VALUE(0x94, 3, 7, 0xa1, 'm', 0x90),         /* kind 3                 */
        VALUE(0x94, 0xff, 7, 0xa1, 'm', 0x90),      /* kind -1                */
        VALUE(0x94, 0, 0xff, 0xa1, 'm', 0x90),      /* msgid -1               */
        VALUE(0x94, 0, 0xa1, '7', 0xa1, 'm', 0x90), /* msgid "7"              */
        VALUE(0x94, 0, 7, 0xc0, 0x90),              /* method nil             */
        VALUE(0x94, 0, 7, 0xd4, 1, 'm', 0x90),      /* method ext             */
        VALUE(0x94, 0, 7, 0xa1, 'm', 0xc0),         /* params nil             */
        VALUE(0x94, 0, 7, 0xa1, 'm', 0x80),         /* params a map           */
        VALUE(0x93, 2, 7, 0x90),                    /* method 7               */
    };
    struct rpc_frame f;

    for (size_t i = 0; i < EG_COUNTOF(bad); i++)
        cr_assert_eq(rpc_parse(bad[i], &f), EG_BAD_REQUEST, "case %zu", i);
}

/* ---- writing ------------------------------------------------------------ */

static struct value error_of(uint8_t *buffer, size_t size_bytes, eg_err err, const char *text) {
    struct value_writer w = value_writer_init(buffer, size_bytes);
    struct rpc_frame f;

    rpc_put_error(&w, 3, err, text);
    cr_assert_not(w.overflow);
    cr_assert_eq(rpc_parse((struct value){buffer, (uint32_t) w.need_bytes}, &f), EG_OK);
    cr_assert(f.kind == RPC_RESPONSE && f.msgid == 3);
    cr_assert_eq(value_kind_of(f.result), VALUE_NIL);
    return f.error;
}

Test(rpc_proto, an_error_is_one_string_of_a_code_and_a_message) {
    uint8_t buffer[1000];

    cr_assert(
        value_is_string(error_of(buffer, sizeof buffer, EG_NO_TABLE, "users"), "no_table: users"));
    cr_assert(value_is_string(error_of(buffer, sizeof buffer, EG_NO_TABLE, NULL),
                              "no_table: no such table"));
    cr_assert(value_is_string(error_of(buffer, sizeof buffer, EG_NO_TABLE, ""),
                              "no_table: no such table"));
}

Test(rpc_proto, an_error_stays_utf8_whatever_it_quotes) {
    uint8_t buffer[1000];
    char text[1000];
    uint32_t size_bytes;
    const uint8_t *at;

    cr_assert(value_is_string(error_of(buffer, sizeof buffer, EG_NO_TABLE, "\xff\xc3\xa4\xe2\x82"),
                              "no_table: ?\xc3\xa4??"));
    memset(text, 0, sizeof text);
    for (size_t i = 0; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa4", 2);
    cr_assert(
        value_get_bytes(error_of(buffer, sizeof buffer, EG_NO_TABLE, text), &at, &size_bytes));
    cr_assert_leq(size_bytes, (uint32_t) RPC_ERROR_TEXT_BYTES);
    cr_assert_eq(at[size_bytes - 1], 0xa4); /* cut between characters */
}

/* Goal: whatever the bytes, however cut, the splitter says the same.
 * Method: damaged frames, whole and byte by byte. */
Test(rpc_proto, splitting_does_not_depend_on_how_bytes_arrive) {
    static uint8_t buffer[GEN_VALUE_BYTES + 64];
    uint64_t seed = rng_test_seed(5);

    for (uint64_t i = 0; i < (rng_is_replay() ? 1 : 20000); i++) {
        struct rng r = rng_of(seed + i);
        struct value_writer w = value_writer_init(buffer, sizeof buffer);
        struct rpc_splitter whole;
        struct rpc_splitter pieces;
        size_t whole_bytes = 0;
        size_t piece_bytes = 0;
        eg_err err = EG_AGAIN;

        rpc_put_request(&w, 1, "write");
        value_put_array(&w, 1);
        gen_value(&r, &w, GEN_DEPTH);
        if (rng_one_in(&r, 2))
            buffer[rng_below(&r, w.need_bytes)] = (uint8_t) rng_u64(&r);
        rpc_splitter_init(&whole, 1000);
        rpc_splitter_init(&pieces, 1000);
        for (size_t there = 0; there <= w.need_bytes && err == EG_AGAIN; there++)
            err = rpc_splitter_next(&pieces, buffer, there, &piece_bytes);
        cr_assert_eq(rpc_splitter_next(&whole, buffer, w.need_bytes, &whole_bytes), err,
                     "seed %" PRIu64, seed + i);
        cr_assert_eq(whole_bytes, piece_bytes, "seed %" PRIu64, seed + i);
    }
}
