/* Goal: the checker of linearizability accepts what one register could have answered and nothing
 * else.
 * Method: histories by hand, good and bad; random ones of a real register, good as they are, and
 * with one answer changed judged like every order tried in turn. */
#include "tests/support/linear.h"
#include "tests/support/rng.h"

#include <criterion/criterion.h>
#include <string.h>

static enum linear_verdict judge(const struct linear_op *ops, uint32_t count) {
    struct linear_op copy[64];
    char text[LINEAR_TEXT_BYTES];

    cr_assert(count <= EG_COUNTOF(copy));
    memcpy(copy, ops, count * sizeof *ops);
    return linear_check(copy, count, text);
}

#define READ(s, b, e)                                                                              \
    { .kind = LINEAR_READ, .seen = s, .known = true, .begin = b, .end = e }
#define WRITE(v, b, e)                                                                             \
    { .kind = LINEAR_WRITE, .value = v, .known = true, .begin = b, .end = e }
#define LOST(v, b)                                                                                 \
    { .kind = LINEAR_WRITE, .value = v, .begin = b }
#define TAKE(s, b, e)                                                                              \
    { .kind = LINEAR_TAKE, .seen = s, .known = true, .begin = b, .end = e }
#define INSERT(v, t, b, e)                                                                         \
    { .kind = LINEAR_INSERT, .value = v, .took = t, .known = true, .begin = b, .end = e }
#define CHANGE(s, v, t, b, e)                                                                      \
    { .kind = LINEAR_CHANGE, .seen = s, .value = v, .took = t, .known = true, .begin = b, .end = e }

#define GOOD(...) JUDGED(LINEAR_GOOD, __VA_ARGS__)
#define BAD(...)  JUDGED(LINEAR_BAD, __VA_ARGS__)
#define JUDGED(verdict, ...)                                                                       \
    do {                                                                                           \
        const struct linear_op ops_[] = {__VA_ARGS__};                                             \
        cr_assert(judge(ops_, EG_COUNTOF(ops_)) == verdict);                                       \
    } while (0)

Test(linear, one_after_the_other) {
    GOOD(READ(0, 1, 2), WRITE(1, 3, 4), READ(1, 5, 6), TAKE(1, 7, 8), READ(0, 9, 10));
    BAD(WRITE(1, 1, 2), READ(0, 3, 4));
    BAD(WRITE(1, 1, 2), WRITE(2, 3, 4), READ(1, 5, 6));
    BAD(READ(5, 1, 2));
    BAD(WRITE(1, 1, 2), TAKE(1, 3, 4), TAKE(1, 5, 6));
}

Test(linear, at_the_same_time_either_may_be_first) {
    GOOD(WRITE(1, 1, 10), READ(0, 2, 3), READ(1, 4, 5));
    GOOD(WRITE(1, 1, 10), WRITE(2, 1, 10), READ(1, 11, 12));
    GOOD(WRITE(1, 1, 10), WRITE(2, 1, 10), READ(2, 11, 12));
    /* But not for one reader so, for the next otherwise. */
    BAD(WRITE(1, 1, 10), READ(1, 2, 3), READ(0, 4, 5));
    BAD(WRITE(1, 1, 10), WRITE(2, 1, 10), READ(1, 11, 12), READ(2, 13, 14));
    GOOD(WRITE(1, 1, 10), READ(1, 2, 6), READ(0, 3, 5)); /* they overlap */
}

Test(linear, what_nobody_answered_happens_late_or_never) {
    GOOD(LOST(1, 1), READ(0, 2, 3), READ(1, 4, 5), READ(1, 6, 7));
    GOOD(LOST(1, 1), READ(0, 2, 3), READ(0, 4, 5));
    GOOD(LOST(1, 1), WRITE(2, 2, 3), READ(2, 4, 5), READ(1, 6, 7));
    BAD(LOST(1, 1), READ(1, 2, 3), READ(0, 4, 5));
    BAD(LOST(1, 1), WRITE(2, 2, 3), READ(1, 4, 5), READ(2, 6, 7));
    BAD(READ(1, 1, 2), LOST(1, 3)); /* not before it was asked for */
}

Test(linear, inserts_and_changes_look_first) {
    GOOD(INSERT(1, true, 1, 2), INSERT(2, false, 3, 4), READ(1, 5, 6));
    BAD(INSERT(1, true, 1, 2), INSERT(2, true, 3, 4));
    BAD(INSERT(1, false, 1, 2));
    GOOD(WRITE(1, 1, 2), CHANGE(1, 2, true, 3, 4), CHANGE(1, 3, false, 5, 6), READ(2, 7, 8));
    BAD(WRITE(1, 1, 2), CHANGE(1, 2, true, 3, 4), CHANGE(1, 3, true, 5, 6));
    /* Of two at the same time one wins. */
    GOOD(CHANGE(0, 1, true, 1, 9), CHANGE(0, 2, false, 1, 9), READ(1, 10, 11));
    BAD(CHANGE(0, 1, true, 1, 9), CHANGE(0, 2, true, 1, 9));
}

Test(linear, two_sides_of_a_cut_are_found) {
    /* Each side reads its own. */
    BAD(WRITE(1, 1, 2), WRITE(2, 3, 4), READ(1, 5, 6), READ(2, 7, 8));
    /* An acknowledged write is gone. */
    BAD(WRITE(1, 1, 2), READ(1, 3, 4), WRITE(2, 5, 6), READ(1, 7, 8));
}

Test(linear, keys_have_nothing_to_do_with_each_other) {
    struct linear_op ops[] = {WRITE(1, 1, 2), READ(0, 3, 4)};

    ops[1].key = 7;
    cr_assert(judge(ops, 2) == LINEAR_GOOD);
}

/* ---- against every order ------------------------------------------------------------------ */

static bool obeys(struct linear_op *o, uint64_t *state) {
    uint64_t before = *state;

    switch (o->kind) {
    case LINEAR_WRITE:
        *state = o->value;
        return true;
    case LINEAR_TAKE:
        *state = 0;
        return before == o->seen;
    case LINEAR_INSERT:
        if (before == 0)
            *state = o->value;
        return o->took == (before == 0);
    case LINEAR_CHANGE:
        if (before == o->seen)
            *state = o->value;
        return o->took == (before == o->seen);
    default:
        return before == o->seen;
    }
}

/* Is there an order of those not in `done`?  By trying them all; what is lost may be left out. */
static bool any_order(struct linear_op *ops, uint32_t count, uint32_t done, uint64_t state) {
    bool over = true;

    for (uint32_t i = 0; i < count; i++)
        over &= (done >> i & 1) != 0 || !ops[i].known;
    if (over)
        return true;
    for (uint32_t i = 0; i < count; i++) {
        bool first = (done >> i & 1) == 0;
        uint64_t after = state;

        for (uint32_t k = 0; k < count && first; k++)
            first = k == i || (done >> k & 1) != 0 || !ops[k].known || ops[k].end >= ops[i].begin;
        if (first && (obeys(&ops[i], &after) || !ops[i].known) &&
            any_order(ops, count, done | 1u << i, after))
            return true;
    }
    return false;
}

/* What a register answers to operations that overlap at random. */
static uint32_t random_history(struct rng *r, struct linear_op *ops) {
    uint32_t count = 2 + (uint32_t) rng_below(r, 7);
    uint64_t state = 0;

    for (uint32_t i = 0; i < count; i++) {
        struct linear_op *o = &ops[i];
        uint64_t at = 10 * (i + 1);

        *o = (struct linear_op){.kind = (enum linear_kind) rng_below(r, LINEAR_KINDS),
                                .value = i + 1,
                                .known = rng_below(r, 4) != 0,
                                .begin = at - rng_below(r, 30) % at,
                                .end = at + rng_below(r, 30)};
        o->seen = o->kind == LINEAR_CHANGE ? rng_below(r, i + 1) : state;
        o->took = o->kind == LINEAR_INSERT ? state == 0 : state == o->seen;
        (void) obeys(o, &state);
    }
    return count;
}

Test(linear, random_histories_are_judged_as_by_trying_all_orders) {
    struct rng r = rng_of(rng_test_seed(1));
    uint32_t bad = 0;

    for (int round = 0; round < 3000; round++) {
        struct linear_op ops[8];
        uint32_t count = random_history(&r, ops), changed;
        bool any;

        cr_assert(judge(ops, count) == LINEAR_GOOD);
        changed = (uint32_t) rng_below(&r, count);
        ops[changed].seen = rng_below(&r, count + 1);
        ops[changed].took = rng_below(&r, 2) != 0;
        any = any_order(ops, count, 0, 0);
        cr_assert((judge(ops, count) == LINEAR_GOOD) == any);
        bad += !any;
    }
    cr_assert(bad > 100);
}

Test(linear, a_long_history_takes_no_time) {
    enum { COUNT = 3000 };
    static struct linear_op ops[COUNT];
    char text[LINEAR_TEXT_BYTES];

    for (uint32_t i = 0; i < COUNT; i++)
        ops[i] = (struct linear_op){.kind = i % 2 == 0 ? LINEAR_WRITE : LINEAR_READ,
                                    .value = i + 1,
                                    .seen = i,
                                    .known = i % 50 != 0,
                                    .begin = 10 * i,
                                    .end = 10 * i + 15};
    cr_assert(linear_check(ops, COUNT, text) == LINEAR_GOOD);
    ops[COUNT - 1].seen = 2; /* of long ago: ops[] is in order */
    cr_assert(linear_check(ops, COUNT, text) == LINEAR_BAD);
}
