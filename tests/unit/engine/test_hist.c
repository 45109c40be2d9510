/* A histogram's quantiles are never below the truth and at most 1/32 above it. */
#include "engine/hist.h"
#include "tests/support/rng.h"

#include <criterion/criterion.h>
#include <inttypes.h>

static struct hist h;

static void setup(void) {
    hist_init(&h);
}

TestSuite(hist, .init = setup, .timeout = 240);

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
    return (x > y) - (x < y);
}

Test(hist, empty_answers_zero) {
    cr_assert_eq(hist_quantile(&h, 500000), 0);
    cr_assert_eq(hist_mean(&h), 0);
}

Test(hist, small_values_are_exact) {
    for (uint64_t v = 1; v <= 60; v++)
        hist_record(&h, v);
    cr_assert_eq(hist_quantile(&h, 500000), 30);
    cr_assert_eq(hist_quantile(&h, 1000000), 60);
    cr_assert_eq(hist_quantile(&h, 0), 1);
    cr_assert_float_eq(hist_mean(&h), 30.5, 1e-9);
}

Test(hist, a_value_past_the_last_bucket_keeps_the_exact_maximum) {
    hist_record(&h, UINT64_MAX);
    cr_assert_eq(h.max, UINT64_MAX);
    cr_assert_eq(hist_quantile(&h, 500000), UINT64_MAX);
}

Test(hist, every_quantile_is_within_a_step_above_the_sorted_values) {
    enum { COUNT = 20000 };
    static uint64_t value[COUNT];
    uint64_t seed = rng_test_seed(1);
    struct rng r = rng_of(seed);

    for (int i = 0; i < COUNT; i++) {
        value[i] = rng_u64(&r) >> (23 + rng_below(&r, 40)); /* every size up to 2^41 */
        hist_record(&h, value[i]);
    }
    qsort(value, COUNT, sizeof *value, by_value);
    for (uint32_t permille = 1; permille <= 1000; permille++) {
        uint64_t truth = value[permille * (COUNT / 1000) - 1];
        uint64_t got = hist_quantile(&h, permille * 1000);
        cr_assert(got >= truth && got <= truth + truth / 32, "seed %" PRIu64 ", %u permille", seed,
                  permille);
    }
}

Test(hist, merging_equals_recording_both) {
    static struct hist other, both;
    struct rng r = rng_of(7);

    hist_init(&other);
    hist_init(&both);
    for (int i = 0; i < 1000; i++) {
        uint64_t v = rng_u64(&r) >> rng_below(&r, 60);
        hist_record(i % 3 == 0 ? &h : &other, v);
        hist_record(&both, v);
    }
    hist_merge(&h, &other);
    cr_assert_arr_eq(&h, &both, sizeof h);
}
