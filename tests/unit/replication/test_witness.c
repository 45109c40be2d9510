/* test_witness.c -- a change is on all copies when each of those that must have it has said so. */
#include "replication/witness.h"

#include <criterion/criterion.h>

enum { SELF = 1, SECOND = 2, THIRD = 3, STRANGER = 9 };

static const struct view_id now = {7, 77}, before = {6, 66};

static const struct witness_word word = {
    .node = SELF, .number = 42, .hlc = 1000, .count = 3, .copy = {SELF, SECOND, THIRD}};

TestSuite(witness, .timeout = 240);

Test(witness, it_is_complete_when_all_have_said_so_in_whatever_order) {
    for (int order = 0; order < 3; order++) {
        struct witness w;

        witness_begin(&w, now);
        for (int i = 0; i < 3; i++) {
            cr_assert_not(witness_is_complete(&w));
            if ((order + i) % 3 == 0)
                witness_tell(&w, &word, SELF);
            else
                witness_say(&w, (order + i) % 3 == 1 ? SECOND : THIRD, now);
        }
        cr_assert(witness_is_complete(&w));
    }
}

Test(witness, who_says_it_twice_or_in_another_view_or_need_not_is_not_counted) {
    struct witness w;

    witness_begin(&w, now);
    witness_tell(&w, &word, SELF);
    witness_say(&w, SECOND, now);
    witness_say(&w, SECOND, now);
    witness_say(&w, THIRD, before);
    witness_say(&w, STRANGER, now);
    cr_assert_not(witness_is_complete(&w));
    witness_say(&w, THIRD, now);
    cr_assert(witness_is_complete(&w));
}

Test(witness, nothing_of_an_earlier_time_stays) {
    struct witness w;

    witness_begin(&w, before);
    witness_tell(&w, &word, SELF);
    witness_say(&w, SECOND, before);
    witness_begin(&w, now);
    witness_say(&w, THIRD, now);
    cr_assert_not(witness_is_complete(&w));
}

static struct value written(const struct witness_word *of, uint8_t room[WITNESS_BYTES]) {
    struct value_writer w = value_writer_init(room, WITNESS_BYTES);

    witness_put(of, &w);
    cr_assert_not(w.overflow);
    return (struct value){room, (uint32_t) w.need_bytes};
}

Test(witness, a_word_is_read_as_it_was_written) {
    uint8_t room[WITNESS_BYTES];
    struct witness_word most = {.node = UINT64_MAX, .number = UINT64_MAX, .hlc = UINT64_MAX};
    struct witness_word out;

    most.count = WITNESS_COPIES_MAX;
    for (uint32_t i = 0; i < WITNESS_COPIES_MAX; i++)
        most.copy[i] = UINT64_MAX - i;
    cr_assert_eq(witness_get(written(&most, room), &out), EG_OK);
    cr_assert_eq(out.node, most.node);
    cr_assert_eq(out.number, most.number);
    cr_assert_eq(out.hlc, most.hlc);
    cr_assert_eq(out.count, most.count);
    cr_assert_eq(out.copy[WITNESS_COPIES_MAX - 1], most.copy[WITNESS_COPIES_MAX - 1]);
    cr_assert_eq(witness_get(written(&(struct witness_word){0}, room), &out), EG_OK);
    cr_assert_eq(out.node, 0);
}

Test(witness, what_is_no_word_is_refused) {
    static const struct {
        const char *bytes;
        uint32_t size_bytes;
    } bad[] = {{"\x01", 1},
               {"\x92\x01\x02", 3},
               {"\x93\x01\xc0\x03", 4},
               {"\x94\x01\x02\x03\xa1x", 6},
               {"\x98\x01\x02\x03\x04\x05\x06\x07\x08", 9}};
    struct witness_word out;

    for (size_t i = 0; i < EG_COUNTOF(bad); i++)
        cr_assert_eq(
            witness_get((struct value){(const uint8_t *) bad[i].bytes, bad[i].size_bytes}, &out),
            EG_BAD_REQUEST);
}
