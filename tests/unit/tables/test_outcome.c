/* test_outcome.c -- what became of transactions is remembered for a while, and bounded. */
#include "tables/outcome.h"
#include "engine/env.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/stepper.h"

#include <criterion/criterion.h>

TestSuite(outcome, .timeout = 240);

static struct transact_id id(uint64_t n) {
    return (struct transact_id){n, n * 7};
}

Test(outcome, committed_stays_whatever_is_said_later) {
    struct stepper *st = stepper_open(alloc_system(), 1, 1, NULL);
    struct outcomes *o;

    cr_assert_eq(outcomes_open(&o, alloc_system(), &st->env), EG_OK);
    cr_assert_eq(outcome_get(o, id(1)), OUTCOME_UNKNOWN);
    outcome_put(o, id(1), OUTCOME_COMMITTED);
    outcome_put(o, id(1), OUTCOME_ABORTED);
    cr_assert_eq(outcome_get(o, id(1)), OUTCOME_COMMITTED);
    outcome_put(o, id(2), OUTCOME_ABORTED);
    cr_assert_eq(outcome_get(o, id(2)), OUTCOME_ABORTED);
    outcome_put(o, id(2), OUTCOME_COMMITTED);
    cr_assert_eq(outcome_get(o, id(2)), OUTCOME_COMMITTED);
    outcome_revoke(o, id(2));
    cr_assert_eq(outcome_get(o, id(2)), OUTCOME_ABORTED);
    outcomes_close(o);
    stepper_close(st);
}

Test(outcome, a_request_is_under_way_once_until_its_end) {
    const enum outcome left = (enum outcome)(OUTCOME_OF_TRY + 64);
    struct stepper *st = stepper_open(alloc_system(), 1, 1, NULL);
    struct outcomes *o;

    cr_assert_eq(outcomes_open(&o, alloc_system(), &st->env), EG_OK);
    cr_assert(outcome_begin(o, id(1)));
    cr_assert(!outcome_begin(o, id(1)));
    outcome_put(o, id(1), OUTCOME_ABORTED);
    cr_assert(outcome_begin(o, id(1)), "what has come to nothing may be asked for anew");
    cr_assert_eq(outcome_get(o, id(1)), OUTCOME_OPEN);
    st->now_ns += (uint64_t) OUTCOME_KEPT_MS * 1000000; /* a long one */
    outcome_put(o, id(1), left);
    cr_assert_eq(outcome_get(o, id(1)), left);
    cr_assert(outcome_begin(o, id(1)));
    outcome_put(o, id(1), OUTCOME_ABORTED);
    cr_assert_eq(outcome_get(o, id(1)), left, "the one that was left may have happened");
    outcome_put(o, id(1), OUTCOME_COMMITTED);
    cr_assert(outcome_begin(o, id(1)));
    outcome_put(o, id(1), OUTCOME_ABORTED);
    cr_assert_eq(outcome_get(o, id(1)), OUTCOME_COMMITTED);
    outcomes_close(o);
    stepper_close(st);
}

Test(outcome, after_a_while_it_is_forgotten) {
    struct stepper *st = stepper_open(alloc_system(), 1, 1, NULL);
    struct outcomes *o;

    cr_assert_eq(outcomes_open(&o, alloc_system(), &st->env), EG_OK);
    outcome_put(o, id(1), OUTCOME_COMMITTED);
    st->now_ns += (uint64_t) OUTCOME_KEPT_MS * 1000000;
    cr_assert_eq(outcome_get(o, id(1)), OUTCOME_UNKNOWN);
    outcomes_close(o);
    stepper_close(st);
}

Test(outcome, the_oldest_make_room) {
    enum { MANY = OUTCOMES_MAX + OUTCOMES_MAX / 4, LATE = 1000 };
    struct stepper *st = stepper_open(alloc_system(), 1, 1, NULL);
    struct outcomes *o;

    cr_assert_eq(outcomes_open(&o, alloc_system(), &st->env), EG_OK);
    for (uint64_t i = 1; i <= MANY; i++)
        outcome_put(o, id(i), OUTCOME_COMMITTED);
    for (uint64_t i = MANY - LATE; i <= MANY; i++)
        cr_assert_eq(outcome_get(o, id(i)), OUTCOME_COMMITTED);
    for (uint64_t i = 1; i <= LATE; i++)
        cr_assert_eq(outcome_get(o, id(i)), OUTCOME_UNKNOWN);
    outcomes_close(o);
    stepper_close(st);
}

Test(outcome, without_memory_less_is_remembered) {
    struct stepper *st = stepper_open(alloc_system(), 1, 1, NULL);

    for (int granted = 1; granted < 8; granted++) {
        struct fail_alloc f = fail_alloc_after(granted);
        struct outcomes *o;

        cr_assert_eq(outcomes_open(&o, &f.base, &st->env), EG_OK);
        for (uint64_t i = 1; i <= 10000; i++)
            outcome_put(o, id(i), OUTCOME_COMMITTED);
        outcomes_close(o);
    }
    stepper_close(st);
}
