/* Goal: the wheel fires what a plain list of due times would fire, when it would, in
 * its order.  Method: random starts, stops and advances over spans from a tick to
 * days, against that list.  A failure prints its seed. */
#include "engine/timer.h"
#include "tests/support/rng.h"

#include <criterion/criterion.h>
#include <string.h>

enum { TIMERS = 200, STEPS = 400, TRIALS = 200 };

struct twin {
    struct timer timer;
    uint64_t due_ms;  /* when it is to fire, in the list's opinion */
    uint64_t started; /* 1st, 2nd, ... start                       */
    bool hangs;
};

static struct twin twins[TIMERS];
static struct timer_wheel wheel;
static uint64_t starts, last_due_ms, last_started, target_ms, trial_seed;
static struct rng random_numbers;

static uint64_t draw_delay_ms(void) {
    return rng_u64(&random_numbers) >> (64 - 1 - rng_below(&random_numbers, 29));
}

static void on_fire(struct timer *t);

static void start(struct twin *w) {
    uint64_t due_ms = wheel.now_ms + draw_delay_ms();
    w->hangs = true;
    w->started = ++starts;
    w->due_ms = EG_MAX(due_ms, wheel.now_ms + 1); /* what is due now fires next tick */
    timer_start(&wheel, &w->timer, due_ms, on_fire);
}

static void stop(struct twin *w) {
    timer_stop(&wheel, &w->timer);
    w->hangs = false;
}

static void on_fire(struct timer *t) {
    struct twin *w = EG_CONTAINER_OF(t, struct twin, timer);
    cr_assert(w->hangs, "seed %llu: fired but not started", (unsigned long long) trial_seed);
    cr_assert_leq(w->due_ms, target_ms, "seed %llu: early", (unsigned long long) trial_seed);
    cr_assert_eq(w->due_ms, wheel.now_ms, "seed %llu: late", (unsigned long long) trial_seed);
    cr_assert_geq(w->due_ms, last_due_ms, "seed %llu: out of order",
                  (unsigned long long) trial_seed);
    last_due_ms = w->due_ms;
    w->hangs = false;
    if (rng_one_in(&random_numbers, 4))
        start(w);
    else if (rng_one_in(&random_numbers, 4)) /* another, which may be due too */
        stop(&twins[0]);
}

static uint64_t earliest_ms(void) {
    uint64_t earliest = UINT64_MAX;
    for (int i = 0; i < TIMERS; i++)
        if (twins[i].hangs)
            earliest = EG_MIN(earliest, twins[i].due_ms);
    return earliest;
}

static void trial(uint64_t seed) {
    trial_seed = seed;
    random_numbers = rng_of(seed);
    memset(twins, 0, sizeof twins);
    last_due_ms = 0;
    timer_wheel_init(&wheel, rng_u64(&random_numbers) >> rng_below(&random_numbers, 60) >> 2);
    for (int step = 0; step < STEPS; step++) {
        struct twin *w = &twins[rng_below(&random_numbers, TIMERS)];
        if (rng_one_in(&random_numbers, 8)) {
            target_ms = wheel.now_ms + draw_delay_ms();
            timer_wheel_advance(&wheel, target_ms);
            cr_assert_gt(earliest_ms(), target_ms, "seed %llu: missed", (unsigned long long) seed);
        } else if (w->hangs) {
            stop(w);
        } else {
            start(w);
        }
        timer_wheel_check(&wheel);
        cr_assert_leq(timer_wheel_next_ms(&wheel), earliest_ms(), "seed %llu: would oversleep",
                      (unsigned long long) seed);
        cr_assert_gt(timer_wheel_next_ms(&wheel), wheel.now_ms);
    }
}

Test(timer_model, fires_what_a_list_would_fire, .timeout = 240) {
    uint64_t seed = rng_test_seed(1);
    for (int i = 0; i < (rng_is_replay() ? 1 : TRIALS); i++)
        trial(seed + (uint64_t) i);
}

static void on_fire_in_order(struct timer *t) {
    struct twin *w = EG_CONTAINER_OF(t, struct twin, timer);
    cr_assert_gt(w->started, last_started);
    last_started = w->started;
}

Test(timer_model, timers_of_one_tick_fire_in_the_order_they_were_started) {
    static const uint64_t delays_ms[] = {1, 63, 64, 65, 4095, 4096, 262144, 16777215};
    for (size_t d = 0; d < EG_COUNTOF(delays_ms); d++) {
        timer_wheel_init(&wheel, 1234567);
        last_started = 0;
        for (int i = 0; i < TIMERS; i++) {
            twins[i] = (struct twin){.started = (uint64_t) i + 1};
            timer_start(&wheel, &twins[i].timer, 1234567 + delays_ms[d], on_fire_in_order);
        }
        cr_assert_eq(timer_wheel_advance(&wheel, 1234567 + delays_ms[d] - 1), 0);
        cr_assert_eq(timer_wheel_advance(&wheel, 1234567 + delays_ms[d]), TIMERS);
    }
}
