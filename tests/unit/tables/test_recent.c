/* Goal: what was not noted as recent is behind it; a bound, and no word where something is missing.
 * Method: changes of two origins, some covered late, beside an array of all of them. */
#include "tables/recent.h"

#include "tests/support/fail_alloc.h"
#include "tests/support/rng.h"

#include <criterion/criterion.h>

enum { CHANGES = 3000, PART_BYTES = 400, KEY_BYTES = 9 };

static struct value key_of(uint8_t bytes[KEY_BYTES], uint64_t n) {
    struct value_writer w = value_writer_init(bytes, KEY_BYTES);
    value_put_u64(&w, n);
    return (struct value){bytes, (uint32_t) w.need_bytes};
}

static uint32_t noted(const struct recent *r, uint64_t wanted) {
    struct recent_place p;
    struct value key;
    uint64_t dot;
    uint32_t times = 0;

    recent_first(r, &p);
    while (recent_next(r, &p, &dot, &key)) {
        times += dot == wanted;
        cr_assert(key.size_bytes == 0 || key.size_bytes <= KEY_BYTES);
    }
    return times;
}

Test(recent, all_that_was_applied_is_noted_or_behind) {
    uint64_t seed = rng_test_seed(3), dot[CHANGES], sequence[2] = {0, 0};
    struct rng rng = rng_of(seed);
    struct shard_clock clock;
    struct recent r;
    uint8_t bytes[KEY_BYTES];
    uint32_t late = 0; /* from here on nothing of the second origin is covered */

    shard_clock_init(&clock, alloc_system());
    recent_init(&r, alloc_system(), PART_BYTES);
    cr_assert_null(recent_behind(&r));
    recent_begin(&r, &clock);
    for (uint32_t n = 0; n < CHANGES; n++) {
        uint16_t slot = (uint16_t) rng_below(&rng, 2);

        if (recent_is_full(&r))
            recent_turn(&r, &clock);
        dot[n] = dot_make(slot, ++sequence[slot]);
        recent_note(&r, dot[n], rng_one_in(&rng, 9) ? (struct value){NULL, 0} : key_of(bytes, n));
        if (slot == 0)
            cr_assert_eq(shard_clock_add(&clock, 0, sequence[0], sequence[0]), EG_OK);
        if (rng_one_in(&rng, 100)) {
            cr_assert_eq(shard_clock_add(&clock, 1, 1, EG_MAX(sequence[1], (uint64_t) 1)), EG_OK);
            late = n;
        }
        cr_assert_leq(recent_bytes(&r), 2 * (PART_BYTES + 2 * RECENT_KEY_BYTES_MAX));
        if (n % 50 == 0)
            for (uint32_t i = 0; i <= n; i++)
                cr_assert_eq(shard_clock_covers(recent_behind(&r), dot[i]) + noted(&r, dot[i]), 1,
                             "EG_SEED=%llu", (unsigned long long) seed);
    }
    cr_assert_gt(late, 0);
    recent_fini(&r);
    shard_clock_fini(&clock);
}

Test(recent, a_place_is_good_until_something_is_dropped) {
    struct shard_clock clock;
    struct recent_place p;
    struct recent r;
    uint8_t bytes[KEY_BYTES];

    shard_clock_init(&clock, alloc_system());
    recent_init(&r, alloc_system(), PART_BYTES);
    recent_begin(&r, &clock);
    recent_first(&r, &p);
    recent_note(&r, dot_make(0, 1), key_of(bytes, 1));
    cr_assert(recent_stays(&r, &p));
    recent_turn(&r, &clock);
    cr_assert_not(recent_stays(&r, &p));
    recent_first(&r, &p);
    recent_break(&r);
    cr_assert_not(recent_stays(&r, &p));
    cr_assert_null(recent_behind(&r));
    recent_note(&r, dot_make(0, 2), key_of(bytes, 2)); /* to no avail */
    recent_begin(&r, &clock);
    cr_assert_eq(noted(&r, dot_make(0, 2)), 0);
    cr_assert_not(recent_stays(&r, &p));
    recent_fini(&r);
}

Test(recent, without_memory_nothing_is_claimed) {
    struct value key = {NULL, 0};

    for (int after = 0; after < 20; after++) {
        struct fail_alloc memory = fail_alloc_after(after);
        struct shard_clock clock;
        struct recent r;

        shard_clock_init(&clock, alloc_system());
        cr_assert_eq(shard_clock_add(&clock, 3, 1, 7), EG_OK);
        recent_init(&r, &memory.base, PART_BYTES);
        recent_begin(&r, &clock);
        for (uint64_t n = 1; n < 200; n++) {
            if (recent_is_full(&r))
                recent_turn(&r, &clock);
            recent_note(&r, dot_make(4, n), key);
            cr_assert(recent_behind(&r) == NULL ||
                      shard_clock_covers(recent_behind(&r), dot_make(4, n)) +
                              noted(&r, dot_make(4, n)) ==
                          1);
        }
        recent_fini(&r);
        shard_clock_fini(&clock);
    }
}
