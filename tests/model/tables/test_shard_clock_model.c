/* Goal: a clock covers exactly what was added, whatever order it came in, and says the same
 * after wire and disc.  Method: random stretches to a clock and to an array of bools. */
#include "tables/shard_clock.h"

#include "tests/support/fail_alloc.h"
#include "tests/support/rng.h"
#include "tests/support/stepper.h"

#include <criterion/criterion.h>
#include <string.h>

enum { SLOTS = 5, SEQUENCES = 200, ROUNDS = 300, ADDED = 60, WIRE_BYTES = 16384 };

struct twin {
    bool has[SLOTS][SEQUENCES + 1];
};

static uint64_t seed;

#define AGREE(condition) cr_assert(condition, "EG_SEED=%llu", (unsigned long long) seed)

static bool twin_has(const struct twin *t, const struct twin *part) {
    for (int s = 0; s < SLOTS; s++)
        for (int i = 1; i <= SEQUENCES; i++)
            if (part->has[s][i] && !t->has[s][i])
                return false;
    return true;
}

static void compare(const struct shard_clock *c, const struct twin *t) {
    shard_clock_check(c);
    for (uint16_t s = 0; s < SLOTS; s++) {
        uint64_t base = 0;

        for (uint64_t i = 1; i <= SEQUENCES; i++) {
            AGREE(shard_clock_covers(c, dot_make(s, i)) == t->has[s][i]);
            base += t->has[s][i] && base == i - 1;
        }
        AGREE(shard_clock_base(c, s) == base);
    }
}

static void add_some(struct rng *rng, struct shard_clock *c, struct twin *t) {
    uint64_t count = rng_below(rng, ADDED);

    for (uint64_t n = 0; n < count; n++) {
        uint16_t slot = (uint16_t) rng_below(rng, SLOTS);
        uint64_t from = 1 + rng_below(rng, SEQUENCES);
        uint64_t more = rng_below(rng, 6), to = EG_MIN(from + more, (uint64_t) SEQUENCES);

        if (shard_clock_add(c, slot, from, to) != EG_OK)
            continue; /* memory: nothing was added */
        for (uint64_t i = from; i <= to; i++)
            t->has[slot][i] = true;
    }
}

static void through(struct shard_clock *c, struct origins *o, struct shard_clock *out) {
    uint8_t bytes[WIRE_BYTES];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);
    size_t used_bytes;

    shard_clock_put(c, o, &w);
    AGREE(!w.overflow);
    AGREE(value_scan(bytes, w.need_bytes, &used_bytes) == EG_OK && used_bytes == w.need_bytes);
    AGREE(shard_clock_get(out, o, (struct value){bytes, (uint32_t) w.need_bytes}) == EG_OK);
}

Test(shard_clock_model, covers_what_was_added) {
    struct origins *o;
    struct rng rng;
    struct stepper *st;

    seed = rng_test_seed(41);
    rng = rng_of(seed);
    st = stepper_open(alloc_system(), 1, seed, NULL);
    cr_assert(origins_open(&o, alloc_system(), NULL, &st->env, NULL) == EG_OK);
    for (uint64_t i = 1; i < SLOTS; i++) {
        uint16_t slot;
        cr_assert(origins_slot(o, i * 1000003, &slot) == EG_OK);
        cr_assert_eq(slot, i);
    }
    for (int round = 0; round < ROUNDS; round++) {
        struct fail_alloc memory;
        struct shard_clock a, b, copy;
        struct twin ta = {0}, tb = {0};

        memory = fail_alloc_after(INT_MAX);
        shard_clock_init(&a, &memory.base);
        shard_clock_init(&b, &memory.base);
        shard_clock_init(&copy, &memory.base);
        memory.left = rng_one_in(&rng, 3) ? (int) rng_below(&rng, 8) : INT_MAX;
        add_some(&rng, &a, &ta);
        memory.left = INT_MAX;
        add_some(&rng, &b, &tb);
        compare(&a, &ta);
        compare(&b, &tb);
        AGREE(shard_clock_has(&a, &b) == twin_has(&ta, &tb));
        through(&a, o, &copy);
        compare(&copy, &ta);
        AGREE(shard_clock_copy(&copy, &b) == EG_OK);
        through(&a, NULL, &copy);
        AGREE(shard_clock_merge(&b, &a) == EG_OK);
        AGREE(shard_clock_has(&b, &a) && shard_clock_has(&b, &copy) && shard_clock_has(&copy, &b));
        for (int s = 0; s < SLOTS; s++)
            for (int i = 0; i <= SEQUENCES; i++)
                tb.has[s][i] |= ta.has[s][i];
        compare(&b, &tb);
        shard_clock_fini(&a);
        shard_clock_fini(&b);
        shard_clock_fini(&copy);
        cr_assert_eq(memory.live, 0);
    }
    origins_close(o);
    stepper_close(st);
}

/* Bytes of a stranger: refused, or a clock that is in order. */
Test(shard_clock_model, takes_no_nonsense) {
    static const char *const bad[] = {"\x01",
                                      "\x91\x01",
                                      "\x91\x90",
                                      "\x91\x91\x01",
                                      "\x91\x92\x01\xc0",
                                      "\x91\x92\xff\x01",
                                      "\x91\x94\x01\x01\x05\x04",
                                      "\x91\x94\x01\x01\x00\x04",
                                      "\x91\x93\x01\x01\x03",
                                      "\x91\x92\x01\xcf\x00\x01\x00\x00\x00\x00\x00\x00"};

    for (size_t i = 0; i < EG_COUNTOF(bad); i++) {
        struct shard_clock c;

        shard_clock_init(&c, alloc_system());
        cr_assert(shard_clock_get(&c, NULL, value_of((const uint8_t *) bad[i])) == EG_BAD_REQUEST,
                  "case %zu", i);
        shard_clock_check(&c);
        shard_clock_fini(&c);
    }
}

/* Who cannot remember an origin reads what a clock says of the others, and that it was not all. */
Test(shard_clock_model, can_be_read_without_new_origins) {
    static const uint8_t said[] = "\x92\x92\x07\x03\x92\x09\x05"; /* [[7, 3], [9, 5]] */
    struct stepper *st = stepper_open(alloc_system(), 1, 1, NULL);
    struct origins *o;
    struct shard_clock c;
    uint16_t seven, nine;
    bool all;

    cr_assert(origins_open(&o, alloc_system(), NULL, &st->env, NULL) == EG_OK);
    cr_assert(origins_slot(o, 7, &seven) == EG_OK);
    shard_clock_init(&c, alloc_system());
    cr_assert(shard_clock_get_known(&c, o, value_of(said), &all) == EG_OK);
    cr_assert(!all && shard_clock_base(&c, seven) == 3 && c.count == 1);
    cr_assert(origins_known(o, 9, &nine) == EG_NOT_FOUND);
    cr_assert(origins_slot(o, 9, &nine) == EG_OK);
    cr_assert(shard_clock_get_known(&c, o, value_of(said), &all) == EG_OK);
    cr_assert(all && shard_clock_base(&c, nine) == 5);
    shard_clock_check(&c);
    shard_clock_fini(&c);
    origins_close(o);
    stepper_close(st);
}
