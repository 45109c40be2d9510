/* Goal: on a whole runtime, with messages between schedulers and inits that fail, a
 * supervisor starts exactly whom it should, and nobody twice.
 * Method: a random supervisor of random workers on a stepped runtime.
 *   calm   One worker ends at a time; a naive twin says who has had how many lives.
 *   chaos  Workers crash, end, are killed and fail to start at any time, on a clock
 *          that runs.  What must hold: one life at a time, one terminate a life, and
 *          once it is quiet everybody who is permanent is up under its name.
 * Each history is run twice: one seed must give one history.  EG_SEED= replays. */
#include "engine/supervisor.h"

#include "engine/registry.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/stepper.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { WORKERS_MAX = 8 };

static struct world {
    uint64_t seed;
    struct rng rng;
    struct fail_alloc memory;
    struct stepper *st;
    enum children_strategy strategy;
    struct child_spec spec[WORKERS_MAX];
    uint32_t count;
    eg_pid top;
    eg_pid alive[WORKERS_MAX]; /* EG_PID_NONE: no life now */
    uint32_t lives[WORKERS_MAX], ends[WORKERS_MAX];
    uint32_t fail_one_in; /* inits; 0: none */
    uint64_t hash;        /* of the history */
} w;

static void happened(uint64_t what) {
    w.hash = (w.hash ^ what ^ w.st->now_ns) * UINT64_C(0x100000001b3);
}

/* ---- workers --------------------------------------------------------------------- */

enum tag { CRASH, END, TAGS };

static eg_err on_init(struct actor *self, void *state, const void *arg) {
    uint32_t me = *(const uint32_t *) arg;

    *(uint32_t *) state = me;
    if (w.fail_one_in > 0 && rng_one_in(&w.rng, w.fail_one_in))
        return EG_DISC;
    cr_assert(eg_pid_is_none(w.alive[me]) || !runtime_is_alive(w.st->rt, w.alive[me]),
              "seed %" PRIu64 ": worker %u lives twice", w.seed, me);
    w.alive[me] = actor_pid(self);
    w.lives[me]++;
    happened(me);
    return EG_OK;
}

static void on_cast(struct actor *self, void *state, struct message *m) {
    (void) state;
    if (m->tag == CRASH)
        actor_crash(self, 1, "told to");
    else
        actor_exit_normal(self);
}

static void on_terminate(struct actor *self, void *state, const eg_exit *reason) {
    uint32_t me = *(uint32_t *) state;

    cr_assert(eg_pid_equal(w.alive[me], actor_pid(self)), "seed %" PRIu64 ": ends twice", w.seed);
    w.alive[me] = EG_PID_NONE;
    w.ends[me]++;
    happened(1000 + me + 16 * (uint64_t) reason->kind);
}

static const struct genserver_ops worker = {.name = "worker",
                                            .state_bytes = sizeof(uint32_t),
                                            .init = on_init,
                                            .cast = on_cast,
                                            .terminate = on_terminate};

static const char *const names[WORKERS_MAX] = {"a", "b", "c", "d", "e", "f", "g", "h"};
static const uint32_t numbers[WORKERS_MAX] = {0, 1, 2, 3, 4, 5, 6, 7};

static void world_open(uint64_t seed, bool all_permanent) {
    struct supervisor_opts o = {.period_ms = 1};

    memset(&w, 0, sizeof w);
    w.seed = seed;
    w.rng = rng_of(seed);
    w.memory = fail_alloc_after(INT_MAX);
    w.st = stepper_open(&w.memory.base, 1 + (uint32_t) rng_below(&w.rng, 3), seed, NULL);
    w.strategy = (enum children_strategy) rng_below(&w.rng, 3);
    w.count = 1 + (uint32_t) rng_below(&w.rng, WORKERS_MAX);
    for (uint32_t i = 0; i < w.count; i++) {
        w.spec[i] = (struct child_spec){.kind = CHILD_SERVER,
                                        .server = &worker,
                                        .name = names[i],
                                        .arg = &numbers[i],
                                        .arg_bytes = sizeof numbers[i],
                                        .scheduler = SPAWN_ANYWHERE};
        strcpy(w.spec[i].id, names[i]);
        if (!all_permanent)
            w.spec[i].restart = (enum child_restart) rng_below(&w.rng, 2);
    }
    o.strategy = w.strategy;
    o.intensity = CHILDREN_INTENSITY_MAX;
    o.children = w.spec;
    o.child_count = w.count;
    cr_assert_eq(supervisor_spawn(w.st->rt, NULL, &o, SPAWN_HERE, "top", &w.top), EG_OK);
    stepper_run(w.st);
}

/* Stop it; nobody may be left, and no name. */
static void world_close(void) {
    supervisor_stop(w.st->rt, w.top);
    stepper_run_ms(w.st, 100);
    cr_assert_eq(runtime_actors(w.st->rt), 0, "seed %" PRIu64 ": some are left", w.seed);
    cr_assert_eq(registry_count(runtime_names(w.st->rt)), 0, "seed %" PRIu64, w.seed);
    stepper_close(w.st);
    cr_assert_eq(w.memory.live, 0, "seed %" PRIu64 ": leak", w.seed);
}

/* ---- calm -------------------------------------------------------------------------- */

/* Who gets another life when `i` ends. */
static void twin_death(uint32_t i, bool crashed, uint32_t *lives) {
    uint32_t from = w.strategy == ONE_FOR_ALL ? 0 : i;
    uint32_t to = w.strategy == ONE_FOR_ONE ? i + 1 : w.count;

    if (w.spec[i].restart == TRANSIENT && !crashed)
        return;
    while (from < to)
        lives[from++]++;
}

static uint64_t calm_trial(uint64_t seed) {
    uint32_t lives[WORKERS_MAX];

    world_open(seed, false);
    for (uint32_t i = 0; i < w.count; i++)
        lives[i] = 1;
    for (int step = 0; step < 30; step++) {
        uint32_t i = (uint32_t) rng_below(&w.rng, w.count);
        bool crash = rng_one_in(&w.rng, 2);

        if (eg_pid_is_none(w.alive[i]))
            continue; /* a transient one that ended well */
        cr_assert_eq(stepper_cast(w.st, w.alive[i], crash ? CRASH : END, NULL, 0), EG_OK);
        stepper_run_ms(w.st, rng_below(&w.rng, 20));
        twin_death(i, crash, lives);
        for (uint32_t k = 0; k < w.count; k++)
            cr_assert_eq(w.lives[k], lives[k], "seed %" PRIu64 ": %s had %u lives, not %u", seed,
                         names[k], w.lives[k], lives[k]);
    }
    world_close();
    for (uint32_t k = 0; k < w.count; k++)
        cr_assert_eq(w.ends[k], w.lives[k], "seed %" PRIu64, seed);
    return w.hash;
}

Test(supervisor_model, gives_as_many_lives_as_the_naive_twin, .timeout = 240) {
    if (rng_is_replay()) {
        calm_trial(rng_test_seed(0));
        return;
    }
    for (uint64_t seed = 1; seed <= 300; seed++)
        cr_assert_eq(calm_trial(seed), calm_trial(seed), "seed %" PRIu64 ": two histories", seed);
}

/* ---- chaos --------------------------------------------------------------------------- */

static void strike(void) {
    uint32_t i = (uint32_t) rng_below(&w.rng, w.count);
    eg_pid pid = registry_find(runtime_names(w.st->rt), names[i]);
    eg_exit kill = exit_reason(EG_EXIT_KILL);

    if (eg_pid_is_none(pid))
        return;
    if (rng_one_in(&w.rng, 3)) {
        actor_exit_send(w.st->rt, EG_PID_NONE, pid, &kill);
    } else {
        struct message *m = message_new(w.st->rt, MESSAGE_CAST, 0);
        m->tag = (uint32_t) rng_below(&w.rng, TAGS);
        foreign_send(w.st->me, pid, m); /* it may have gone */
    }
}

static uint64_t chaos_trial(uint64_t seed) {
    world_open(seed, true);
    w.fail_one_in = seed % 2 == 0 ? 10 : 0;
    for (int step = 0; step < 60; step++) {
        for (uint64_t n = rng_below(&w.rng, 4); n > 0; n--)
            strike();
        if (rng_one_in(&w.rng, 2))
            stepper_run_ms(w.st, rng_below(&w.rng, 5));
    }
    w.fail_one_in = 0;
    stepper_run_ms(w.st, 100);
    cr_assert(runtime_is_alive(w.st->rt, w.top), "seed %" PRIu64 ": gave up", seed);
    for (uint32_t i = 0; i < w.count; i++) {
        eg_pid pid = registry_find(runtime_names(w.st->rt), names[i]);
        cr_assert(runtime_is_alive(w.st->rt, pid), "seed %" PRIu64 ": %s is down", seed, names[i]);
        cr_assert(eg_pid_equal(pid, w.alive[i]), "seed %" PRIu64, seed);
    }
    world_close();
    return w.hash;
}

Test(supervisor_model, chaos_ends_with_everybody_up_once, .timeout = 240) {
    if (rng_is_replay()) {
        chaos_trial(rng_test_seed(0));
        return;
    }
    for (uint64_t seed = 1; seed <= 300; seed++)
        cr_assert_eq(chaos_trial(seed), chaos_trial(seed), "seed %" PRIu64 ": two histories", seed);
}
