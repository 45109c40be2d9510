/* rng.h -- random numbers for tests, replayable from one seed.
 *
 * splitmix64: tiny, any seed is a good seed.  A random test takes its seed from
 * rng_test_seed(), names it in every failure message, and so replays with
 *     EG_SEED=123 build/bin/test_x
 */
#ifndef TESTS_SUPPORT_RNG_H
#define TESTS_SUPPORT_RNG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct rng {
    uint64_t state;
};

static inline struct rng rng_of(uint64_t seed) {
    return (struct rng){seed};
}

static inline uint64_t rng_u64(struct rng *r) {
    uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* 0 .. bound-1; bound is at least 1. */
static inline uint64_t rng_below(struct rng *r, uint64_t bound) {
    return rng_u64(r) % bound;
}

/* True once in `n` times. */
static inline bool rng_one_in(struct rng *r, uint64_t n) {
    return rng_below(r, n) == 0;
}

/* True where EG_SEED asks for the replay of one run. */
static inline bool rng_is_replay(void) {
    return getenv("EG_SEED") != NULL;
}

/* EG_SEED where it is set, else `fallback`.  Says which on standard error. */
static inline uint64_t rng_test_seed(uint64_t fallback) {
    const char *fixed = getenv("EG_SEED");
    uint64_t seed = fixed != NULL ? strtoull(fixed, NULL, 0) : fallback;
    fprintf(stderr, "# EG_SEED=%llu\n", (unsigned long long) seed);
    return seed;
}

#endif /* TESTS_SUPPORT_RNG_H */
