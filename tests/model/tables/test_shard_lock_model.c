/* Locks in random orders: what is held agrees, no circle ever closes, the oldest always gets on.
 *
 * The twin is a list of what was granted, and its judgement is a loop over all pairs. */
#include "tables/shard_lock.h"
#include "tables/shard_tx.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/rng.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <string.h>

enum { SHARDS = 3, TRANSACTIONS = 6, KEYS = 4, STEPS = 20000, WANTS = 3, GRANTS = 64 };

struct grant {
    uint32_t transaction;
    struct lock_want want;
};

struct transaction {
    struct transact_id id;
    struct transact_age age;
    struct shard_lock *waits; /* NULL: it goes on */
    struct lock_want want[WANTS];
    uint32_t count;
    uint32_t locks; /* since it began */
};

static struct fail_alloc memory;
static struct shard_lock *shard[SHARDS];
static struct grant granted[SHARDS][GRANTS];
static uint32_t grants[SHARDS];
static struct transaction all[TRANSACTIONS];
static uint64_t born, refused, waited;

static uint64_t hash_of(uint32_t key) {
    return (key + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static uint32_t index_of(const struct shard_lock *l) {
    uint32_t i = 0;

    while (shard[i] != l)
        i++;
    return i;
}

/* ---- the twin -------------------------------------------------------------------------------- */

static bool agree(const struct lock_want *a, const struct lock_want *b) {
    bool apart = !a->whole && !b->whole && a->hash != b->hash;

    return apart || (!a->exclusive && !b->exclusive);
}

static void twin_grant(const struct shard_lock *l, uint32_t transaction) {
    const struct transaction *x = &all[transaction];
    uint32_t s = index_of(l);

    for (uint32_t i = 0; i < x->count; i++) {
        for (uint32_t k = 0; k < grants[s]; k++)
            cr_assert(granted[s][k].transaction == transaction ||
                          agree(&granted[s][k].want, &x->want[i]),
                      "granted what another holds");
        cr_assert_lt(grants[s], GRANTS);
        granted[s][grants[s]++] = (struct grant){transaction, x->want[i]};
    }
}

static void twin_release(uint32_t s, uint32_t transaction) {
    uint32_t kept = 0;

    for (uint32_t k = 0; k < grants[s]; k++)
        if (granted[s][k].transaction != transaction)
            granted[s][kept++] = granted[s][k];
    grants[s] = kept;
}

static bool is_oldest(const struct transaction *x) {
    for (uint32_t i = 0; i < TRANSACTIONS; i++)
        if (transact_is_older(all[i].age, x->age))
            return false;
    return true;
}

/* ---- transactions ---------------------------------------------------------------------------- */

static void release_all(uint32_t transaction) {
    for (uint32_t s = 0; s < SHARDS; s++) {
        struct lock_owner *o = shard_lock_owner(shard[s], all[transaction].id);

        if (o != NULL)
            shard_lock_release(shard[s], o);
        twin_release(s, transaction);
    }
    all[transaction].locks = 0;
}

/* A loser keeps its age, a winner is followed by a younger one. */
static void begin(uint32_t transaction, bool won) {
    struct transaction *x = &all[transaction];

    release_all(transaction);
    x->waits = NULL;
    x->id = (struct transact_id){1, ++born};
    if (won)
        x->age = (struct transact_age){born, 1, 0};
}

static void refuse(uint32_t transaction) {
    cr_assert_not(is_oldest(&all[transaction]), "the oldest of all was refused");
    refused++;
    begin(transaction, false);
}

/* All who wait no longer. */
static void go_on(void) {
    for (uint32_t s = 0; s < SHARDS; s++) {
        struct transaction *x;
        eg_err err;

        while ((x = shard_lock_next(shard[s], 0, &err)) != NULL) {
            cr_assert_eq(x->waits, shard[s]);
            x->waits = NULL;
            if (err == EG_OK)
                twin_grant(shard[s], (uint32_t) (x - all));
            else
                refuse((uint32_t) (x - all));
            s = 0; /* what it let go may be what somebody before it waits for */
        }
    }
}

static void ask(struct rng *r, uint32_t transaction) {
    struct transaction *x = &all[transaction];
    struct shard_lock *l = shard[rng_below(r, SHARDS)];
    struct lock_request q = {.id = x->id, .age = x->age, .want = x->want};
    eg_err err;

    x->count = q.count = 1 + (uint32_t) rng_below(r, WANTS);
    for (uint32_t i = 0; i < x->count; i++)
        x->want[i] = (struct lock_want){.hash = hash_of((uint32_t) rng_below(r, KEYS)),
                                        .whole = rng_one_in(r, 16),
                                        .exclusive = rng_one_in(r, 2)};
    err = shard_lock_ask(l, &q, x);
    if (err == EG_OK) {
        twin_grant(l, transaction);
        x->locks++;
    } else if (err == EG_AGAIN) {
        x->waits = l;
        waited++;
    } else {
        cr_assert_eq(err, EG_CONFLICT);
        refuse(transaction);
    }
}

static void open_all(void) {
    memory = fail_alloc_after(INT_MAX);
    for (uint32_t s = 0; s < SHARDS; s++)
        cr_assert_not_null(shard[s] = shard_lock_open(&memory.base));
}

static void close_all(void) {
    for (uint32_t s = 0; s < SHARDS; s++)
        shard_lock_close(shard[s]);
    cr_assert_eq(memory.live, 0);
}

static uint32_t choose_one_that_goes_on(struct rng *r) {
    uint32_t first = (uint32_t) rng_below(r, TRANSACTIONS);

    for (uint32_t i = 0; i < TRANSACTIONS; i++)
        if (all[(first + i) % TRANSACTIONS].waits == NULL)
            return (first + i) % TRANSACTIONS;
    cr_assert_fail("all wait for each other");
    return 0;
}

Test(shard_lock_model, no_circle_closes_and_the_oldest_gets_on, .init = open_all,
     .fini = close_all) {
    struct rng r = rng_of(rng_test_seed(7));

    memset(grants, 0, sizeof grants);
    for (uint32_t i = 0; i < TRANSACTIONS; i++)
        begin(i, true);
    for (uint32_t step = 0; step < STEPS; step++) {
        uint32_t one = choose_one_that_goes_on(&r);

        if (all[one].locks >= 3)
            begin(one, true);
        else
            ask(&r, one);
        go_on();
        for (uint32_t s = 0; s < SHARDS; s++)
            shard_lock_check(shard[s]);
    }
    cr_assert_gt(refused, STEPS / 100);
    cr_assert_gt(waited, STEPS / 100);
    while (true) { /* all end, the oldest first */
        uint32_t one = choose_one_that_goes_on(&r);
        bool over = true;

        release_all(one);
        all[one].age = (struct transact_age){UINT64_MAX, 0, one};
        go_on();
        for (uint32_t i = 0; i < TRANSACTIONS; i++)
            over &= all[i].waits == NULL;
        if (over)
            break;
    }
    for (uint32_t i = 0; i < TRANSACTIONS; i++)
        release_all(i);
    for (uint32_t s = 0; s < SHARDS; s++) {
        cr_assert_eq(shard[s]->owner_count + shard[s]->waiter_count + shard[s]->lock_count, 0);
        cr_assert_eq(shard[s]->bits, 0);
    }
}

/* ---- plain operations ------------------------------------------------------------------------ */

Test(shard_lock_model, plain_ones_come_in_their_order, .init = open_all, .fini = close_all) {
    const struct lock_want shared = {.hash = 5}, exclusive = {.hash = 5, .exclusive = true},
                           other = {.hash = 6, .exclusive = true};
    struct lock_request holder = {.id = {1, 1}, .age = {1, 1, 1}, .want = &shared, .count = 1};
    struct lock_request plain = {.want = &exclusive, .count = 1};
    int first, second, third;
    eg_err err;

    cr_assert_eq(shard_lock_ask(shard[0], &holder, NULL), EG_OK);
    cr_assert_eq(shard_lock_ask(shard[0], &plain, &first), EG_AGAIN);
    plain.want = &shared; /* nobody who holds it is in its way, but it came later */
    cr_assert_eq(shard_lock_ask(shard[0], &plain, &second), EG_AGAIN);
    plain.want = &other;
    cr_assert_eq(shard_lock_ask(shard[0], &plain, &third), EG_OK);
    cr_assert_null(shard_lock_next(shard[0], 0, &err));
    shard_lock_release(shard[0], shard_lock_owner(shard[0], holder.id));
    cr_assert_eq(shard_lock_next(shard[0], 0, &err), &first);
    cr_assert_eq(err, EG_OK);
    cr_assert_eq(shard_lock_next(shard[0], 0, &err), &second);
    cr_assert_null(shard_lock_next(shard[0], 0, &err));
}

Test(shard_lock_model, who_waits_too_long_or_is_given_up_comes_back, .init = open_all,
     .fini = close_all) {
    const struct lock_want exclusive = {.hash = 5, .exclusive = true};
    struct lock_request young = {.id = {1, 9}, .age = {9, 1, 1}, .want = &exclusive, .count = 1};
    struct lock_request old = {
        .id = {1, 1}, .age = {1, 1, 1}, .deadline_ms = 100, .want = &exclusive, .count = 1};
    int waiter;
    eg_err err;

    cr_assert_eq(shard_lock_ask(shard[0], &young, NULL), EG_OK);
    cr_assert_eq(shard_lock_ask(shard[0], &old, &waiter), EG_AGAIN);
    cr_assert_null(shard_lock_next(shard[0], 99, &err));
    cr_assert_eq(shard_lock_next(shard[0], 100, &err), &waiter);
    cr_assert_eq(err, EG_TIMEOUT);
    cr_assert_eq(shard_lock_ask(shard[0], &old, &waiter), EG_AGAIN);
    shard_lock_give_up(shard[0], old.id);
    cr_assert_eq(shard_lock_next(shard[0], 0, &err), &waiter);
    cr_assert_eq(err, EG_TIMEOUT);
}

Test(shard_lock_model, who_holds_it_is_granted_it_again_whoever_waits, .init = open_all,
     .fini = close_all) {
    const struct lock_want exclusive = {.hash = 5, .exclusive = true}, shared = {.hash = 5},
                           other = {.hash = 6, .exclusive = true}, whole = {.whole = true};
    const struct lock_want both[2] = {exclusive, other};
    struct lock_request young = {.id = {1, 9}, .age = {9, 1, 1}, .want = &exclusive, .count = 1};
    struct lock_request old = {.id = {1, 1}, .age = {1, 1, 1}, .want = both, .count = 2};
    int waiter;
    eg_err err;

    cr_assert_eq(shard_lock_ask(shard[0], &young, NULL), EG_OK);
    cr_assert_eq(shard_lock_ask(shard[0], &old, &waiter), EG_AGAIN);
    cr_assert_eq(shard_lock_ask(shard[0], &young, NULL), EG_OK);
    young.want = &shared;
    cr_assert_eq(shard_lock_ask(shard[0], &young, NULL), EG_OK);
    young.want = &other; /* that is something new */
    cr_assert_eq(shard_lock_ask(shard[0], &young, NULL), EG_CONFLICT);
    young.want = &whole;
    cr_assert_eq(shard_lock_ask(shard[0], &young, NULL), EG_CONFLICT);
    shard_lock_release(shard[0], shard_lock_owner(shard[0], young.id));
    cr_assert_eq(shard_lock_next(shard[0], 0, &err), &waiter);
    cr_assert_eq(err, EG_OK);
}

/* After each failed allocation it holds what it held, and nothing leaks. */
Test(shard_lock_model, without_memory_it_holds_what_it_held) {
    struct lock_want want[8];
    struct lock_request q = {.id = {1, 1}, .age = {1, 1, 1}, .want = want, .count = 8};

    for (uint32_t i = 0; i < 8; i++)
        want[i] = (struct lock_want){.hash = hash_of(i), .exclusive = i % 2 == 0};
    for (int fails_at = 1;; fails_at++) {
        struct shard_lock *l;
        eg_err err;

        memory = fail_alloc_after(fails_at);
        l = shard_lock_open(&memory.base);
        if (l == NULL)
            continue;
        err = shard_lock_ask(l, &q, NULL);
        if (err == EG_MEMORY)
            cr_assert_eq(l->owner_count + l->lock_count, 0);
        shard_lock_check(l);
        shard_lock_close(l);
        cr_assert_eq(memory.live, 0);
        if (err == EG_OK)
            break;
    }
}
