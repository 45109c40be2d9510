/* sim.c -- who goes next, and what time it is.
 *
 *     step: some scheduler awake -> one of them gets a turn, the clock moves 50..100 ns
 *           all asleep           -> the clock jumps to the first timer or pause's end
 *           and nothing ahead    -> the world stands still */
#include "tests/sim/sim.h"

#include "engine/scheduler.h"

enum {
    SIM_SCHEDULERS_MAX = 64,
    SIM_RUNTIMES_MAX = 16,
    START_NS = 1000000000,     /* not 0, which is too easy a time */
    PAUSE_ONE_IN = 500,        /* turns                           */
    PAUSE_MAX_NS = 5 * 1000000 /* as a busy machine does          */
};

struct waiter {
    bool waked;
};

struct seat { /* a scheduler in this world */
    struct sim *sim;
    struct scheduler *scheduler;
    bool taken, running, asleep;
    uint64_t paused_until_ns;
};

struct sim {
    struct env env;
    struct rng schedule, pauses, app; /* streams */
    uint64_t now_ns, steps, hash;
    struct seat seats[SIM_SCHEDULERS_MAX];
    struct runtime *runtimes[SIM_RUNTIMES_MAX];
};

/* ---- the hash ------------------------------------------------------------------ */

void sim_note(struct sim *s, uint64_t what) {
    uint64_t h = s->hash ^ what;
    h = (h ^ (h >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    h = (h ^ (h >> 27)) * UINT64_C(0x94d049bb133111eb);
    s->hash = (h ^ (h >> 31)) + s->steps;
}

uint64_t sim_hash(const struct sim *s) {
    return s->hash;
}

/* ---- env ------------------------------------------------------------------------- */

static struct sim *sim_of(struct env *e) {
    return EG_CONTAINER_OF(e, struct sim, env);
}
static uint64_t env_sim_now(struct env *e) {
    return sim_of(e)->now_ns;
}
static int64_t env_sim_wall(struct env *e) {
    return INT64_C(1700000000000) + (int64_t) (sim_of(e)->now_ns / 1000000);
}
static uint64_t env_sim_random(struct env *e) {
    return rng_u64(&sim_of(e)->app);
}
static void env_sim_log(struct env *e, enum env_log_level level, const char *line) {
    if (level <= ENV_LOG_WARN)
        fprintf(stderr, "# %.3f ms: %s\n", (double) sim_of(e)->now_ns / 1e6, line);
}

static eg_err waiter_sim_open(struct env *e, struct waiter **out) {
    struct waiter *w = alloc_zero(alloc_system(), sizeof *w);
    (void) e;
    if (w == NULL)
        return EG_MEMORY;
    *out = w;
    return EG_OK;
}
static void waiter_sim_close(struct env *e, struct waiter *w) {
    (void) e;
    alloc_put(alloc_system(), w, sizeof *w);
}
/* The one thread that there is blocks: the world goes on meanwhile. */
static void waiter_sim_wait(struct env *e, struct waiter *w, uint64_t timeout_ns) {
    struct sim *s = sim_of(e);
    uint64_t until_ns = timeout_ns > UINT64_MAX - s->now_ns ? UINT64_MAX : s->now_ns + timeout_ns;
    while (!w->waked && s->now_ns < until_ns && sim_step(s, until_ns))
        ;
    w->waked = false;
}
static void waiter_sim_wake(struct env *e, struct waiter *w) {
    (void) e;
    w->waked = true;
}

/* ---- driver ------------------------------------------------------------------------ */

static eg_err seat_open(struct runtime *rt, struct scheduler *scheduler, void **out) {
    struct sim *s = sim_of(runtime_env(rt));
    for (uint32_t i = 0; i < SIM_SCHEDULERS_MAX; i++) {
        struct seat *seat = &s->seats[i];
        if (seat->taken)
            continue;
        *seat = (struct seat){.sim = s, .scheduler = scheduler, .taken = true};
        *out = seat;
        return EG_OK;
    }
    return EG_BUSY;
}
static eg_err seat_start(void *driver) {
    struct seat *seat = driver;
    seat->running = true;
    scheduler_awake(seat->scheduler);
    return EG_OK;
}
static void seat_wake(void *driver) {
    struct seat *seat = driver;
    if (seat->running && seat->asleep) {
        seat->asleep = false;
        scheduler_awake(seat->scheduler);
    }
}
static void seat_stop(void *driver) {
    seat_wake(driver);
}
static void seat_join(void *driver) {
    struct seat *seat = driver;
    seat->running = false;
    scheduler_end(seat->scheduler);
}
static void seat_close(void *driver) {
    struct seat *seat = driver;
    seat->taken = false;
}

/* ---- steps -------------------------------------------------------------------------- */

static bool may_run(const struct seat *seat, uint64_t now_ns) {
    return seat->running && !seat->asleep && seat->paused_until_ns <= now_ns;
}

static void take_turn(struct sim *s, struct seat *seat) {
    uint32_t dispatches = (uint32_t) rng_below(&s->schedule, 8) + 1;
    uint32_t msgs = (uint32_t) rng_below(&s->schedule, 8) + 1;
    enum turn_result result = scheduler_turn(seat->scheduler, dispatches, msgs);
    struct scheduler_stats stats = scheduler_stats(seat->scheduler);

    s->now_ns += 50 + rng_below(&s->schedule, 51);
    if (rng_one_in(&s->pauses, PAUSE_ONE_IN))
        seat->paused_until_ns = s->now_ns + rng_below(&s->pauses, PAUSE_MAX_NS);
    sim_note(s, (uint64_t) (seat - s->seats) << 8 | (uint64_t) result);
    sim_note(s, stats.sent_msgs);
    sim_note(s, stats.handled_msgs);
    sim_note(s, s->now_ns);
    if (result != TURN_BUSY)
        seat->asleep = scheduler_sleep(seat->scheduler);
}

/* When this seat may next have something to do, as far as its own timers say. */
static uint64_t next_ns_of(const struct seat *seat) {
    uint64_t next_ns;
    if (!seat->running)
        return UINT64_MAX;
    next_ns = seat->asleep ? scheduler_next_ns(seat->scheduler) : 0;
    return EG_MAX(next_ns, seat->paused_until_ns);
}

/* Nobody is awake: go to the next moment when somebody will be. */
static bool jump(struct sim *s, uint64_t until_ns) {
    uint64_t next_ns = UINT64_MAX;

    for (uint32_t i = 0; i < SIM_SCHEDULERS_MAX; i++)
        next_ns = EG_MIN(next_ns, next_ns_of(&s->seats[i]));
    if (next_ns >= until_ns) {
        s->now_ns = until_ns == UINT64_MAX ? s->now_ns : EG_MAX(s->now_ns, until_ns);
        return false;
    }
    s->now_ns = EG_MAX(s->now_ns, next_ns);
    for (uint32_t i = 0; i < SIM_SCHEDULERS_MAX; i++)
        if (next_ns_of(&s->seats[i]) <= s->now_ns)
            seat_wake(&s->seats[i]);
    return true;
}

bool sim_step(struct sim *s, uint64_t until_ns) {
    struct seat *ready[SIM_SCHEDULERS_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < SIM_SCHEDULERS_MAX; i++)
        if (may_run(&s->seats[i], s->now_ns))
            ready[count++] = &s->seats[i];
    if (count == 0)
        return jump(s, until_ns);
    s->steps++;
    take_turn(s, ready[rng_below(&s->schedule, count)]);
    return true;
}

void sim_run_ms(struct sim *s, uint64_t ms) {
    uint64_t until_ns = s->now_ns + ms * 1000000;
    while (s->now_ns < until_ns && sim_step(s, until_ns))
        ;
}

bool sim_run_until(struct sim *s, bool (*done)(void *arg), void *arg, uint64_t timeout_ms) {
    uint64_t until_ns = s->now_ns + timeout_ms * 1000000;
    while (!done(arg))
        if (s->now_ns >= until_ns || !sim_step(s, until_ns))
            return done(arg);
    return true;
}

uint64_t sim_now_ns(const struct sim *s) {
    return s->now_ns;
}
uint64_t sim_steps(const struct sim *s) {
    return s->steps;
}
struct env *sim_env(struct sim *s) {
    return &s->env;
}

/* ---- open, close --------------------------------------------------------------------- */

struct sim *sim_open(uint64_t seed) {
    static const struct env_ops ops = {
        .now_ns = env_sim_now,
        .wall_ms = env_sim_wall,
        .random = env_sim_random,
        .log = env_sim_log,
        .waiter_open = waiter_sim_open,
        .waiter_close = waiter_sim_close,
        .waiter_wait = waiter_sim_wait,
        .waiter_wake = waiter_sim_wake,
    };
    struct rng split = rng_of(seed);
    struct sim *s = alloc_zero(alloc_system(), sizeof *s);

    EG_ASSERT(s != NULL);
    s->env.ops = &ops;
    s->now_ns = START_NS;
    s->schedule = rng_of(rng_u64(&split));
    s->pauses = rng_of(rng_u64(&split));
    s->app = rng_of(rng_u64(&split));
    return s;
}

struct runtime *sim_runtime(struct sim *s, const struct runtime_opts *opts) {
    static const struct driver_ops driver = {
        .open = seat_open,
        .start = seat_start,
        .stop = seat_stop,
        .join = seat_join,
        .close = seat_close,
        .wake = seat_wake,
    };
    struct runtime_opts mine = *opts;

    if (mine.alloc == NULL)
        mine.alloc = alloc_system();
    if (mine.env == NULL)
        mine.env = &s->env;
    if (mine.driver == NULL)
        mine.driver = &driver;
    for (uint32_t i = 0; i < SIM_RUNTIMES_MAX; i++) {
        if (s->runtimes[i] != NULL)
            continue;
        EG_ASSERT(runtime_open(&s->runtimes[i], &mine) == EG_OK);
        EG_ASSERT(runtime_start(s->runtimes[i]) == EG_OK);
        return s->runtimes[i];
    }
    EG_ASSERT(!"a free place for one more runtime");
    return NULL;
}

void sim_stop_runtime(struct sim *s, struct runtime *rt) {
    runtime_stop(rt);
    runtime_close(rt);
    for (uint32_t i = 0; i < SIM_RUNTIMES_MAX; i++)
        if (s->runtimes[i] == rt)
            s->runtimes[i] = NULL;
}

void sim_close(struct sim *s) {
    for (uint32_t i = 0; i < SIM_RUNTIMES_MAX; i++)
        if (s->runtimes[i] != NULL)
            sim_stop_runtime(s, s->runtimes[i]);
    alloc_put(alloc_system(), s, sizeof *s);
}
