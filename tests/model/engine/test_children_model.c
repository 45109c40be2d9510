/* Goal: whatever dies, fails to start or is asked for, in whatever order, a
 * supervisor's children are handled as OTP handles them.
 * Method: drive the state machine with random histories.
 *   twin    Deaths and commands come when it is settled.  A naive supervisor,
 *           written as straight-line code, says which starts and stops must
 *           follow and what must be left.
 *   chaos   Deaths come at any time, also in the middle of a restart.  What must
 *           hold then are rules: order, one stop a life, the restart window.
 * A failure prints its seed; EG_SEED= replays it. */
#include "engine/children.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/rng.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <string.h>

enum { CHILD_MAX = 12, LOG_MAX = 4096, PERIOD_NS = 100 };

struct kid {
    struct child child; /* first: the machine's view is cast back */
    uint32_t number;
    uint32_t stops; /* asked for in this life */
};

struct world {
    struct rng rng;
    uint64_t seed, now_ns;
    struct fail_alloc memory;
    struct children cs;
    struct kid *starting; /* whose start was asked for last */
    uint32_t next_number, drops;
    int log[LOG_MAX]; /* +n: start of child n, -n: stop of it */
    uint32_t log_count;
    uint32_t fail_in; /* starts until one fails at once; 0: none does */
};

static void log_add(struct world *w, int what) {
    cr_assert_lt(w->log_count, LOG_MAX, "seed %" PRIu64, w->seed);
    w->log[w->log_count++] = what;
}

static eg_err on_start(void *owner, struct child *c) {
    struct world *w = owner;
    struct kid *k = (struct kid *) c;

    k->stops = 0;
    log_add(w, (int) k->number);
    if (w->fail_in > 0 && --w->fail_in == 0)
        return EG_MEMORY;
    w->starting = k;
    return EG_OK;
}

static void on_stop(void *owner, struct child *c) {
    struct world *w = owner;
    struct kid *k = (struct kid *) c;

    cr_assert_eq(k->stops++, 0, "seed %" PRIu64 ": stopped twice", w->seed);
    log_add(w, -(int) k->number);
}

static void on_drop(void *owner, struct child *c) {
    struct world *w = owner;
    if (w->starting == (struct kid *) c)
        w->starting = NULL;
    w->drops++;
    alloc_put(&w->memory.base, c, sizeof(struct kid));
}

static uint64_t on_now(void *owner) {
    return ((struct world *) owner)->now_ns;
}

static const struct children_ops world_ops = {on_start, on_stop, on_drop, on_now};

static struct kid *kid_new(struct world *w) {
    struct kid *k = alloc_zero(&w->memory.base, sizeof *k);
    k->number = ++w->next_number;
    snprintf(k->child.id, sizeof k->child.id, "c%u", k->number);
    k->child.restart = (enum child_restart) rng_below(&w->rng, 3);
    return k;
}

static void world_open(struct world *w, uint64_t seed, uint32_t intensity) {
    uint32_t count;

    *w = (struct world){.rng = rng_of(seed), .seed = seed};
    w->memory = fail_alloc_after(INT_MAX);
    w->now_ns = 1000;
    cr_assert_eq(children_open(&w->cs, &w->memory.base, &world_ops, w,
                               (enum children_strategy) rng_below(&w->rng, 4), intensity,
                               PERIOD_NS),
                 EG_OK);
    if (w->cs.strategy == SIMPLE_ONE_FOR_ONE)
        return;
    count = (uint32_t) rng_below(&w->rng, CHILD_MAX);
    for (uint32_t i = 0; i < count; i++)
        cr_assert_eq(children_declare(&w->cs, &kid_new(w)->child), EG_OK);
    children_start(&w->cs);
}

static void world_close(struct world *w) {
    children_close(&w->cs);
    cr_assert_eq(w->drops, w->next_number, "seed %" PRIu64 ": a child leaked", w->seed);
    cr_assert_eq(w->memory.live, 0, "seed %" PRIu64, w->seed);
}

static struct kid *kid_in_state(struct world *w, enum child_state a, enum child_state b) {
    struct kid *found = NULL;
    uint32_t seen = 0;
    for (struct child *c = w->cs.first; c != NULL; c = c->next)
        if ((c->state == a || c->state == b) && rng_one_in(&w->rng, ++seen))
            found = (struct kid *) c;
    return found;
}

/* One thing that was asked for happens.  False: nothing is under way. */
static bool world_progress(struct world *w, uint32_t fail_one_in) {
    struct kid *k = kid_in_state(w, CHILD_STARTING, CHILD_STOPPING);

    if (k == NULL)
        return false;
    w->now_ns += rng_below(&w->rng, 20);
    if (k->child.state == CHILD_STOPPING)
        children_exited(&w->cs, &k->child, EXIT_ORDERLY, EG_OK);
    else if (fail_one_in > 0 && rng_one_in(&w->rng, fail_one_in))
        children_exited(&w->cs, &k->child, EXIT_ABNORMAL, EG_INTERNAL);
    else
        children_started(&w->cs, &k->child);
    return true;
}

static void world_settle(struct world *w, uint32_t fail_one_in) {
    while (world_progress(w, fail_one_in))
        children_check(&w->cs);
    cr_assert(w->cs.phase == CHILDREN_SETTLED || w->cs.phase == CHILDREN_ENDED,
              "seed %" PRIu64 ": stuck in phase %d", w->seed, (int) w->cs.phase);
}

/* ---- the twin: OTP in straight lines, for deaths one at a time ---------------- */

struct twin_kid {
    int number;
    enum child_restart restart;
    bool up;
};

struct twin {
    struct twin_kid kid[256];
    int count;
    int log[LOG_MAX];
    uint32_t log_count;
    uint64_t restart_at[LOG_MAX];
    uint32_t restart_count;
    bool ended;
};

static void twin_delete(struct twin *t, int at) {
    memmove(&t->kid[at], &t->kid[at + 1], (size_t) (t->count - at - 1) * sizeof t->kid[0]);
    t->count--;
}

static void twin_stop_from(struct twin *t, int from, bool simple) {
    for (int i = t->count - 1; i >= from; i--) {
        if (t->kid[i].up)
            t->log[t->log_count++] = -t->kid[i].number;
        t->kid[i].up = false;
        if (t->kid[i].restart == TEMPORARY && !simple)
            twin_delete(t, i);
    }
}

static void twin_start_from(struct twin *t, int from, int to) {
    for (int i = from; i < to; i++) {
        t->log[t->log_count++] = t->kid[i].number;
        t->kid[i].up = true;
    }
}

static void twin_death(struct twin *t, int at, bool abnormal, enum children_strategy strategy,
                       uint32_t intensity, uint64_t now_ns) {
    struct twin_kid *k = &t->kid[at];
    uint32_t in_window = 0;

    k->up = false;
    if (k->restart == TEMPORARY || (k->restart == TRANSIENT && !abnormal)) {
        if (k->restart == TEMPORARY || strategy == SIMPLE_ONE_FOR_ONE)
            twin_delete(t, at);
        return;
    }
    for (uint32_t i = 0; i < t->restart_count; i++)
        in_window += t->restart_at[i] + PERIOD_NS >= now_ns;
    if (in_window + 1 > intensity) {
        t->ended = true;
        twin_stop_from(t, 0, strategy == SIMPLE_ONE_FOR_ONE);
        return;
    }
    t->restart_at[t->restart_count++] = now_ns;
    if (strategy == ONE_FOR_ONE || strategy == SIMPLE_ONE_FOR_ONE) {
        twin_start_from(t, at, at + 1);
        return;
    }
    if (strategy == ONE_FOR_ALL)
        at = 0;
    twin_stop_from(t, at, false);
    twin_start_from(t, at, t->count);
}

static void twin_compare(const struct world *w, const struct twin *t) {
    int i = 0;

    cr_assert_eq(w->cs.phase == CHILDREN_ENDED, t->ended, "seed %" PRIu64, w->seed);
    cr_assert_eq(w->log_count, t->log_count, "seed %" PRIu64 ": %u steps, not %u", w->seed,
                 w->log_count, t->log_count);
    for (uint32_t n = 0; n < t->log_count; n++)
        cr_assert_eq(w->log[n], t->log[n], "seed %" PRIu64 ": step %u is %d, not %d", w->seed, n,
                     w->log[n], t->log[n]);
    if (t->ended)
        return;
    for (const struct child *c = w->cs.first; c != NULL; c = c->next, i++) {
        cr_assert_lt(i, t->count, "seed %" PRIu64, w->seed);
        cr_assert_eq((int) ((const struct kid *) c)->number, t->kid[i].number, "seed %" PRIu64,
                     w->seed);
        cr_assert_eq(c->state == CHILD_UP, t->kid[i].up, "seed %" PRIu64, w->seed);
    }
    cr_assert_eq(i, t->count, "seed %" PRIu64, w->seed);
}

static int twin_find(const struct twin *t, uint32_t number) {
    int i = 0;
    while (t->kid[i].number != (int) number)
        i++;
    return i;
}

static void twin_add(struct world *w, struct twin *t) {
    struct kid *k = kid_new(w);
    t->kid[t->count] = (struct twin_kid){(int) k->number, k->child.restart, false};
    twin_start_from(t, t->count, t->count + 1);
    t->count++;
    cr_assert_eq(children_add(&w->cs, &k->child), EG_OK);
}

static void twin_command(struct world *w, struct twin *t) {
    struct kid *k = kid_in_state(w, CHILD_UP, CHILD_DOWN);
    int at = k == NULL ? 0 : twin_find(t, k->number);

    switch (rng_below(&w->rng, 4)) {
    case 0:
        if (t->count < CHILD_MAX)
            twin_add(w, t);
        break;
    case 1:
        if (k == NULL || !t->kid[at].up)
            break;
        t->log[t->log_count++] = -(int) k->number;
        t->kid[at].up = false;
        if (t->kid[at].restart == TEMPORARY || w->cs.strategy == SIMPLE_ONE_FOR_ONE)
            twin_delete(t, at);
        cr_assert_eq(children_terminate(&w->cs, &k->child), EG_OK);
        break;
    case 2:
        if (k == NULL)
            break;
        if (t->kid[at].up) {
            cr_assert_eq(children_restart(&w->cs, &k->child), EG_EXISTS);
            break;
        }
        twin_start_from(t, at, at + 1);
        cr_assert_eq(children_restart(&w->cs, &k->child), EG_OK);
        break;
    case 3:
        if (k == NULL)
            break;
        cr_assert_eq(children_remove(&w->cs, &k->child), t->kid[at].up ? EG_BUSY : EG_OK);
        if (!t->kid[at].up)
            twin_delete(t, at);
        break;
    }
}

static void twin_trial(uint64_t seed) {
    static struct world w;
    static struct twin t;
    uint32_t intensity = (uint32_t) (seed % 7);

    memset(&t, 0, sizeof t);
    world_open(&w, seed, intensity);
    for (struct child *c = w.cs.first; c != NULL; c = c->next)
        t.kid[t.count++] = (struct twin_kid){(int) ((struct kid *) c)->number, c->restart, false};
    twin_start_from(&t, 0, t.count);
    world_settle(&w, 0);
    twin_compare(&w, &t);

    for (int i = 0; i < 40 && !t.ended; i++) {
        struct kid *k = kid_in_state(&w, CHILD_UP, CHILD_UP);
        bool abnormal = rng_one_in(&w.rng, 2);

        w.now_ns += rng_below(&w.rng, 60);
        if (rng_one_in(&w.rng, 3)) {
            twin_command(&w, &t);
        } else if (k != NULL) {
            twin_death(&t, twin_find(&t, k->number), abnormal, w.cs.strategy, intensity, w.now_ns);
            children_exited(&w.cs, &k->child, abnormal ? EXIT_ABNORMAL : EXIT_ORDERLY, EG_OK);
        }
        world_settle(&w, 0);
        twin_compare(&w, &t);
    }
    world_close(&w);
}

Test(children_model, restarts_as_the_naive_twin, .timeout = 240) {
    if (rng_is_replay()) {
        twin_trial(rng_test_seed(0));
        return;
    }
    for (uint64_t seed = 1; seed <= 20000; seed++)
        twin_trial(seed);
}

/* ---- chaos ---------------------------------------------------------------------- */

static void check_every_kept_child_is_up(const struct world *w) {
    for (const struct child *c = w->cs.first; c != NULL; c = c->next) {
        if (c->restart == PERMANENT)
            cr_assert_eq(c->state, CHILD_UP, "seed %" PRIu64 ": %s is down", w->seed, c->id);
    }
}

static void check_nothing_runs(const struct world *w) {
    for (const struct child *c = w->cs.first; c != NULL; c = c->next)
        cr_assert_eq(c->state, CHILD_DOWN, "seed %" PRIu64 ": %s is left", w->seed, c->id);
}

/* Lives: a start is answered by at most one stop, and only what runs is stopped. */
static void chaos_trial(uint64_t seed) {
    static struct world w;
    uint32_t fail_one_in = seed % 3 == 0 ? 0 : 12;

    world_open(&w, seed, 40);
    for (int i = 0; i < 200 && w.cs.phase != CHILDREN_ENDED; i++) {
        struct kid *k = kid_in_state(&w, CHILD_UP, CHILD_UP);

        if (rng_one_in(&w.rng, 30))
            w.fail_in = fail_one_in > 0 ? 1 + (uint32_t) rng_below(&w.rng, 3) : 0;
        if (k != NULL && rng_one_in(&w.rng, 3))
            children_exited(&w.cs, &k->child, rng_one_in(&w.rng, 2) ? EXIT_ABNORMAL : EXIT_ORDERLY,
                            EG_OK);
        else if (w.cs.phase == CHILDREN_SETTLED && w.cs.count < CHILD_MAX)
            cr_assert_eq(children_add(&w.cs, &kid_new(&w)->child), EG_OK);
        else
            world_progress(&w, fail_one_in);
        cr_assert_leq(w.cs.ring_count, w.cs.intensity);
        w.now_ns += rng_below(&w.rng, 10);
    }
    if (rng_one_in(&w.rng, 2))
        children_end(&w.cs);
    world_settle(&w, fail_one_in);
    if (w.cs.phase == CHILDREN_ENDED)
        check_nothing_runs(&w);
    else
        check_every_kept_child_is_up(&w);
    world_close(&w);
}

Test(children_model, deaths_in_the_middle_of_restarts_lose_nobody, .timeout = 240) {
    if (rng_is_replay()) {
        chaos_trial(rng_test_seed(0));
        return;
    }
    for (uint64_t seed = 1; seed <= 20000; seed++)
        chaos_trial(seed);
}
