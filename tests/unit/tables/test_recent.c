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

/* Of sizes on both sides of each limit of the entries' form, after the next dot and after another.
 */
Test(recent, keys_and_dots_come_back_as_they_were) {
    static const uint32_t sizes[] = {1,  7,  8,   15,  16,  17,  31,   32,
                                     33, 64, 252, 253, 254, 255, 1023, RECENT_KEY_BYTES_MAX};
    enum { SIZES = sizeof sizes / sizeof *sizes, ALL = SIZES * 4 };
    uint8_t bytes[RECENT_KEY_BYTES_MAX + 1];
    struct shard_clock clock;
    struct recent_place p;
    struct recent r;
    struct value key;
    uint64_t dot[ALL], at = dot_make(2, 1), got;

    for (uint32_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t) (i * 7 + 1);
    shard_clock_init(&clock, alloc_system());
    recent_init(&r, alloc_system(), 1 << 20);
    recent_begin(&r, &clock);
    for (uint32_t n = 0; n < ALL; n++) {
        dot[n] = at = n % 4 == 3 ? dot_make(n % 3, 1000 - n) : at + 1;
        recent_note(&r, at, (struct value){bytes, sizes[n / 4]});
    }
    recent_first(&r, &p);
    for (uint32_t n = 0; n < ALL; n++) {
        cr_assert(recent_next(&r, &p, &got, &key));
        cr_assert_eq(got, dot[n]);
        cr_assert(value_equal(key, (struct value){bytes, sizes[n / 4]}));
    }
    cr_assert_not(recent_next(&r, &p, &got, &key));
    recent_note(&r, at + 1, (struct value){bytes, 5}); /* a reader goes on with what comes */
    cr_assert(recent_next(&r, &p, &got, &key) && got == at + 1 && key.size_bytes == 5);
    recent_note(&r, at + 2, (struct value){bytes, sizeof bytes});
    cr_assert_null(recent_behind(&r), "too long a key");
    recent_fini(&r);
}

/* Changes of one origin, one after the other: a byte each, and the key. */
Test(recent, a_change_takes_a_byte_more_than_its_key) {
    enum { KEYS = 100 };
    static const uint8_t bytes[17];
    struct shard_clock clock;
    struct recent r;

    shard_clock_init(&clock, alloc_system());
    recent_init(&r, alloc_system(), 1 + sizeof(uint64_t) + KEYS * (1 + sizeof bytes));
    recent_begin(&r, &clock);
    for (uint64_t n = 1; n <= KEYS; n++) {
        cr_assert_not(recent_is_full(&r));
        recent_note(&r, dot_make(1, n), (struct value){bytes, sizeof bytes});
    }
    cr_assert(recent_is_full(&r));
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
