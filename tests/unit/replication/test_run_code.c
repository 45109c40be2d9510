/* test_run_code.c -- a message comes out as it was put, runs in few bytes; and nothing that a
 * stranger makes of it does any harm. */
#include "replication/run_code.h"

#include "tests/support/rng.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 300, BROKEN = 3000 };

static struct rng rng;
static uint64_t seed;
static uint8_t said[RUN_BYTES_MAX + 8], coded[RUN_BYTES_MAX], heard[RUN_BYTES_MAX];

static void begin(void) {
    seed = rng_test_seed(21);
    rng = rng_of(seed);
}

TestSuite(run_code, .init = begin, .timeout = 240);

/* A message with a binary of that many bytes, which differ from those before as often as one of so
 * many; 0: never. */
static struct value message_of(uint32_t bytes, uint32_t one_in) {
    static uint8_t inner[RUN_BYTES_MAX];
    struct value_writer w = value_writer_init(said, sizeof said);

    inner[0] = (uint8_t) rng_below(&rng, 256);
    for (uint32_t i = 1; i < bytes; i++)
        inner[i] =
            one_in != 0 && rng_one_in(&rng, one_in) ? (uint8_t) rng_below(&rng, 256) : inner[i - 1];
    value_put_array(&w, 2);
    value_put_u64(&w, 4);
    value_put_binary(&w, inner, bytes);
    cr_assert_not(w.overflow);
    return (struct value){said, (uint32_t) w.need_bytes};
}

static void check_same(struct value message) {
    struct value fewer = run_put(message, coded), back;
    size_t used_bytes;

    cr_assert_leq(fewer.size_bytes, message.size_bytes);
    cr_assert_eq(value_scan(fewer.at, fewer.size_bytes, &used_bytes), EG_OK);
    cr_assert_eq(used_bytes, fewer.size_bytes);
    cr_assert_eq(run_get(fewer, heard, &back), EG_OK);
    cr_assert_eq(back.size_bytes, message.size_bytes);
    cr_assert_eq(memcmp(back.at, message.at, message.size_bytes), 0, "EG_SEED=%llu",
                 (unsigned long long) seed);
}

Test(run_code, what_256_shards_are_worth_takes_few_bytes) {
    struct value message = message_of(256, 0);

    cr_assert_leq(run_put(message, coded).size_bytes, 24u);
    check_same(message);
}

Test(run_code, whatever_is_put_comes_out_again_byte_for_byte) {
    for (int round = 0; round < ROUNDS; round++)
        check_same(
            message_of(1 + (uint32_t) rng_below(&rng, round % 10 == 0 ? RUN_BYTES_MAX - 8 : 600),
                       (uint32_t) rng_below(&rng, 40)));
}

Test(run_code, what_does_not_become_shorter_or_is_too_long_goes_as_it_is) {
    struct value little = message_of(RUN_BYTES_LEAST / 2, 0), most, any, much;

    cr_assert_eq(run_put(little, coded).at, little.at);
    any = message_of(2000, 1);
    cr_assert_eq(run_put(any, coded).at, any.at);
    most = message_of(RUN_BYTES_MAX - 5, 0);
    cr_assert_eq(most.size_bytes, RUN_BYTES_MAX);
    check_same(most);
    cr_assert_eq(run_put(most, coded).at, coded);
    much = message_of(RUN_BYTES_MAX - 4, 0);
    cr_assert_eq(run_put(much, coded).at, much.at);
}

/* Behind the bytes is nothing, so that reading past them is seen. */
static void get_broken(const uint8_t *at, uint32_t size_bytes) {
    uint8_t *copy = malloc(size_bytes);
    struct value back;
    size_t used_bytes;

    cr_assert_not_null(copy);
    memcpy(copy, at, size_bytes);
    if (run_get((struct value){copy, size_bytes}, heard, &back) == EG_OK) {
        cr_assert_leq(back.size_bytes, RUN_BYTES_MAX);
        cr_assert_eq(value_scan(back.at, back.size_bytes, &used_bytes), EG_OK);
        cr_assert_eq(used_bytes, back.size_bytes);
    }
    free(copy);
}

Test(run_code, what_is_broken_is_refused_or_is_a_message) {
    uint8_t wrong[RUN_BYTES_MAX];

    for (int round = 0; round < BROKEN; round++) {
        struct value fewer = run_put(message_of(100 + (uint32_t) rng_below(&rng, 300), 30), coded);
        uint32_t bytes = fewer.size_bytes - 3;
        struct value_writer w = value_writer_init(wrong, sizeof wrong);

        if (fewer.at != coded)
            continue;
        if (rng_one_in(&rng, 2)) /* cut short */
            bytes = (uint32_t) rng_below(&rng, bytes);
        else
            coded[3 + rng_below(&rng, bytes)] ^= (uint8_t) (1u << rng_below(&rng, 8));
        value_put_binary(&w, coded + 3, bytes);
        get_broken(wrong, (uint32_t) w.need_bytes);
    }
}

Test(run_code, a_size_beyond_the_room_is_refused) {
    static const uint8_t all[] = {0xc4, 4, 0xff, 0xff, 0xff, 0xff}, none[] = {0xc4, 0};
    struct value back;

    cr_assert_eq(run_get((struct value){all, sizeof all}, heard, &back), EG_BAD_REQUEST);
    cr_assert_eq(run_get((struct value){none, sizeof none}, heard, &back), EG_BAD_REQUEST);
}
