/* Goal: graves are found until they go, and a walk passes each once.  Method: random ones beside an
 * array. */
#include "tables/grave.h"

#include "tests/support/fail_alloc.h"
#include "tests/support/rng.h"

#include <criterion/criterion.h>

enum { KEYS = 500, STEPS = 5000, KEY_BYTES = 9 };

static struct value key_of(uint8_t bytes[KEY_BYTES], uint64_t n) {
    struct value_writer w = value_writer_init(bytes, KEY_BYTES);
    value_put_u64(&w, n);
    return (struct value){bytes, (uint32_t) w.need_bytes};
}

/* Many keys to a hash, and all in one shard. */
static uint64_t hash_of(uint64_t n) {
    return UINT64_C(0x1234) << 48 | (n / 3 * UINT64_C(0x9e3779b97f4a7c15)) >> 16;
}

static bool is_odd(void *context, const struct grave *g) {
    (void) context;
    return g->version.hlc % 2 == 1;
}

static uint64_t walked(const struct graves *g) {
    const struct grave *at;
    uint64_t place = 0, count = 0, last = 0;
    bool ended = false;

    while (graves_walk(g, &place, &ended, &at)) {
        cr_assert(ended || place > last);
        last = place;
        for (; at != NULL; at = at->next)
            count++;
    }
    return count;
}

Test(grave, model) {
    uint64_t seed = rng_test_seed(7), there[KEYS] = {0}, count = 0;
    struct rng rng = rng_of(seed);
    struct fail_alloc memory;
    struct graves g;
    uint8_t bytes[KEY_BYTES];

    memory = fail_alloc_after(INT_MAX);
    graves_init(&g, &memory.base);
    for (uint64_t step = 1; step <= STEPS; step++) {
        uint64_t n = rng_below(&rng, KEYS);
        struct value v = key_of(bytes, n);
        const struct grave *found = graves_find(&g, hash_of(n), v);

        cr_assert_eq(found == NULL, there[n] == 0, "EG_SEED=%llu", (unsigned long long) seed);
        if (found != NULL)
            cr_assert_eq(found->version.hlc, there[n]);
        if (rng_one_in(&rng, 3)) {
            graves_remove(&g, hash_of(n), v);
            there[n] = 0;
        } else {
            struct grave *made =
                graves_make(&g, hash_of(n), v, (struct record_version){step, step});
            cr_assert_not_null(made);
            if (rng_one_in(&rng, 5)) {
                graves_discard(&g, made);
            } else {
                graves_put(&g, made);
                there[n] = step;
            }
        }
        if (step % 1000 == 0) {
            graves_sift(&g, is_odd, NULL);
            for (size_t i = 0; i < KEYS; i++)
                there[i] = there[i] % 2 == 1 ? 0 : there[i];
        }
        count = 0;
        for (size_t i = 0; i < KEYS; i++)
            count += there[i] != 0;
        cr_assert_eq(g.count, count);
        if (step % 100 == 0)
            cr_assert_eq(walked(&g), count);
    }
    graves_fini(&g);
    cr_assert_eq(memory.live, 0);
}

/* What comes meanwhile splits buckets, and what was there is passed once nevertheless. */
Test(grave, walk_goes_on_while_they_come) {
    struct graves g;
    uint8_t bytes[KEY_BYTES];
    uint64_t place = 0, next = KEYS;
    bool ended = false, seen[KEYS] = {false};
    const struct grave *at;

    graves_init(&g, alloc_system());
    for (uint64_t n = 0; n < KEYS; n++)
        graves_put(&g,
                   graves_make(&g, hash_of(n), key_of(bytes, n), (struct record_version){1, 1}));
    while (graves_walk(&g, &place, &ended, &at)) {
        for (; at != NULL; at = at->next) {
            uint64_t n;

            cr_assert(value_get_u64(grave_value(at), &n));
            if (n < KEYS) {
                cr_assert(!seen[n]);
                seen[n] = true;
            }
        }
        for (int i = 0; i < 40 && next < 10 * KEYS; i++, next++)
            graves_put(&g, graves_make(&g, hash_of(next), key_of(bytes, next),
                                       (struct record_version){1, 1}));
    }
    for (uint64_t n = 0; n < KEYS; n++)
        cr_assert(seen[n]);
    graves_fini(&g);
}
