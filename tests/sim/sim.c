/* sim.c -- who goes next, and what time it is.
 *
 *     step: an event is due      -> it is fired
 *           some scheduler awake -> one of them gets a turn, the clock moves 50..100 ns
 *           all asleep           -> the clock jumps to the first event, timer or pause's end
 *           and nothing ahead    -> the world stands still */
#include "tests/sim/sim.h"

#include "engine/scheduler.h"

enum {
    SIM_SCHEDULERS_MAX = 64,
    SIM_RUNTIMES_MAX = 16,
    SIM_EVENTS_MAX = 1 << 16,
    START_NS = 1000000000,     /* not 0, which is too easy a time */
    PAUSE_ONE_IN = 500,        /* turns                           */
    PAUSE_MAX_NS = 5 * 1000000 /* as a busy machine does          */
};

static const int64_t FAR_AHEAD_NS = INT64_C(1000000000000000); /* eleven days */
static const int64_t START_WALL_MS = INT64_C(1700000000000);

struct waiter {
    struct list_node node; /* of the world: who vanishes does not close its own */
    bool waked;
};

struct seat { /* a scheduler in this world */
    struct sim *sim;
    struct sim_env *env;
    struct scheduler *scheduler;
    bool taken, running, asleep;
    uint64_t paused_until_ns;
    struct list_node polls;
};

struct sim {
    struct sim_env env;
    struct rng schedule, pauses, ties, split; /* streams; that of programs is in `env` */
    uint64_t now_ns, steps, hash;
    enum env_log_level log_level;
    void *user;
    struct list_node waiters;
    uint32_t seat_count; /* used ones are below */
    struct seat seats[SIM_SCHEDULERS_MAX];
    struct runtime *runtimes[SIM_RUNTIMES_MAX];
    uint32_t event_count;
    struct sim_event *events[SIM_EVENTS_MAX]; /* a heap: the earliest first */
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

struct sim_env *sim_env_of(struct env *e) {
    return EG_CONTAINER_OF(e, struct sim_env, env);
}
struct sim *sim_of_env(struct env *e) {
    return sim_env_of(e)->sim;
}

/* What has passed by this clock since it was set. */
static uint64_t passed_ns(const struct sim_env *e) {
    int64_t passed = (int64_t) (e->sim->now_ns - e->since_ns);

    return (uint64_t) (passed + passed * e->drift_ppm / 1000000);
}
static uint64_t local_ns(const struct sim_env *e) {
    return e->local_ns + passed_ns(e);
}
/* The moment of the world, give or take a nanosecond, when the clock shows this. */
static uint64_t world_ns(const struct sim_env *e, uint64_t at_ns) {
    int64_t ahead = (int64_t) (at_ns - e->local_ns);

    if (ahead > FAR_AHEAD_NS)
        return UINT64_MAX;
    return e->since_ns + (uint64_t) (ahead - ahead * e->drift_ppm / (1000000 + e->drift_ppm));
}

static uint64_t env_sim_now(struct env *e) {
    return local_ns(sim_env_of(e));
}
static int64_t env_sim_wall(struct env *e) {
    return sim_env_of(e)->wall_ms + (int64_t) (passed_ns(sim_env_of(e)) / 1000000);
}
static uint64_t env_sim_random(struct env *e) {
    return rng_u64(&sim_env_of(e)->random);
}
static void env_sim_log(struct env *e, enum env_log_level level, const char *line) {
    const struct sim_env *mine = sim_env_of(e);

    if (level <= mine->sim->log_level)
        fprintf(stderr, "# %.3f ms%s%s: %s\n", (double) mine->sim->now_ns / 1e6,
                mine->name != NULL ? " " : "", mine->name != NULL ? mine->name : "", line);
}

/* Count anew from here, so that what changes now changes nothing before. */
static void env_rebase(struct sim_env *e) {
    uint64_t passed = passed_ns(e);

    e->local_ns += passed;
    e->wall_ms += (int64_t) (passed / 1000000);
    e->since_ns = e->sim->now_ns;
}
void sim_env_drift(struct sim_env *e, int64_t ppm) {
    env_rebase(e);
    e->drift_ppm = ppm;
}
void sim_env_jump(struct sim_env *e, int64_t wall_ms) {
    env_rebase(e);
    e->wall_ms += wall_ms;
}
void sim_set_log_level(struct sim *s, enum env_log_level level) {
    s->log_level = level;
}

static eg_err waiter_sim_open(struct env *e, struct waiter **out) {
    struct waiter *w = alloc_zero(alloc_system(), sizeof *w);

    if (w == NULL)
        return EG_MEMORY;
    list_push_back(&sim_of_env(e)->waiters, &w->node);
    *out = w;
    return EG_OK;
}
static void waiter_sim_close(struct env *e, struct waiter *w) {
    (void) e;
    list_remove(&w->node);
    alloc_put(alloc_system(), w, sizeof *w);
}
/* The one thread that there is blocks: the world goes on meanwhile. */
static void waiter_sim_wait(struct env *e, struct waiter *w, uint64_t timeout_ns) {
    struct sim *s = sim_of_env(e);
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
    struct sim *s = sim_of_env(runtime_env(rt));
    for (uint32_t i = 0; i < SIM_SCHEDULERS_MAX; i++) {
        struct seat *seat = &s->seats[i];
        if (seat->taken)
            continue;
        *seat = (struct seat){
            .sim = s, .env = sim_env_of(runtime_env(rt)), .scheduler = scheduler, .taken = true};
        list_init(&seat->polls);
        s->seat_count = EG_MAX(s->seat_count, i + 1);
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
/* Give a place back, and polls that somebody has left there. */
static void seat_close(void *driver) {
    struct seat *seat = driver;

    for (struct list_node *n = seat->polls.next, *next; n != &seat->polls; n = next) {
        next = n->next;
        sim_poll_remove(EG_CONTAINER_OF(n, struct sim_poll, node));
    }
    seat->taken = seat->running = false;
}

void sim_pause(struct sim *s, struct runtime *rt, uint64_t until_ns) {
    for (uint32_t i = 0; i < s->seat_count; i++)
        if (s->seats[i].taken && scheduler_runtime(s->seats[i].scheduler) == rt)
            s->seats[i].paused_until_ns = until_ns;
}

void sim_vanish(struct sim *s, struct runtime *rt) {
    for (uint32_t i = 0; i < s->seat_count; i++)
        if (s->seats[i].taken && scheduler_runtime(s->seats[i].scheduler) == rt)
            seat_close(&s->seats[i]);
    for (uint32_t i = 0; i < SIM_RUNTIMES_MAX; i++)
        if (s->runtimes[i] == rt)
            s->runtimes[i] = NULL;
}

/* ---- polls --------------------------------------------------------------------------- */

void sim_poll_add(struct sim *s, struct scheduler *on, struct sim_poll *p,
                  void (*run)(struct sim_poll *p)) {
    *p = (struct sim_poll){.run = run};
    for (uint32_t i = 0; i < s->seat_count; i++)
        if (s->seats[i].taken && s->seats[i].scheduler == on)
            p->seat = &s->seats[i];
    EG_ASSERT(p->seat != NULL);
    list_push_back(&p->seat->polls, &p->node);
}
void sim_poll_remove(struct sim_poll *p) {
    list_remove(&p->node);
    p->seat = NULL;
}
void sim_poll_wake(struct sim_poll *p) {
    p->awaited = true;
    if (p->seat != NULL)
        seat_wake(p->seat);
}

static void look_at_io(struct seat *seat) {
    if (list_is_empty(&seat->polls))
        return;
    scheduler_attach(seat->scheduler);
    for (struct list_node *n = seat->polls.next, *next; n != &seat->polls; n = next) {
        struct sim_poll *p = EG_CONTAINER_OF(n, struct sim_poll, node);
        next = n->next;
        if (!p->awaited)
            continue;
        p->awaited = false;
        p->run(p);
    }
    scheduler_attach(NULL);
}

static bool awaits_io(const struct seat *seat) {
    for (struct list_node *n = seat->polls.next; n != &seat->polls; n = n->next)
        if (EG_CONTAINER_OF(n, struct sim_poll, node)->awaited)
            return true;
    return false;
}

/* ---- events -------------------------------------------------------------------------- */

static bool sooner(const struct sim_event *a, const struct sim_event *b) {
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}
static void put_event(struct sim *s, uint32_t place, struct sim_event *e) {
    s->events[place - 1] = e;
    e->place = place;
}
/* Move what is to come to `place` up or down until it is right. */
static void settle(struct sim *s, uint32_t place, struct sim_event *e) {
    while (place > 1 && sooner(e, s->events[place / 2 - 1])) {
        put_event(s, place, s->events[place / 2 - 1]);
        place /= 2;
    }
    for (;;) {
        uint32_t child = 2 * place;
        if (child < s->event_count && sooner(s->events[child], s->events[child - 1]))
            child++;
        if (child > s->event_count || !sooner(s->events[child - 1], e))
            break;
        put_event(s, place, s->events[child - 1]);
        place = child;
    }
    put_event(s, place, e);
}

void sim_cancel(struct sim *s, struct sim_event *e) {
    uint32_t place = e->place;
    struct sim_event *last;

    if (place == 0)
        return;
    e->place = 0;
    last = s->events[--s->event_count];
    if (last != e)
        settle(s, place, last);
}

void sim_at(struct sim *s, struct sim_event *e, uint64_t at_ns, void (*fire)(struct sim_event *e)) {
    sim_cancel(s, e);
    EG_ASSERT(s->event_count < SIM_EVENTS_MAX);
    e->at_ns = EG_MAX(at_ns, s->now_ns);
    e->order = rng_u64(&s->ties);
    e->fire = fire;
    settle(s, ++s->event_count, e);
}

/* True: one was due. */
static bool fire_event(struct sim *s) {
    struct sim_event *e = s->event_count > 0 ? s->events[0] : NULL;

    if (e == NULL || e->at_ns > s->now_ns)
        return false;
    sim_cancel(s, e);
    e->fire(e);
    return true;
}

/* ---- steps -------------------------------------------------------------------------- */

static bool may_run(const struct seat *seat, uint64_t now_ns) {
    return seat->running && !seat->asleep && seat->paused_until_ns <= now_ns;
}

static void take_turn(struct sim *s, struct seat *seat) {
    uint32_t dispatches = (uint32_t) rng_below(&s->schedule, 8) + 1;
    uint32_t msgs = (uint32_t) rng_below(&s->schedule, 8) + 1;
    enum turn_result result;
    struct scheduler_stats stats;

    look_at_io(seat);
    result = scheduler_turn(seat->scheduler, dispatches, msgs);
    stats = scheduler_stats(seat->scheduler);
    s->now_ns += 50 + rng_below(&s->schedule, 51);
    if (rng_one_in(&s->pauses, PAUSE_ONE_IN))
        seat->paused_until_ns = s->now_ns + rng_below(&s->pauses, PAUSE_MAX_NS);
    sim_note(s, (uint64_t) (seat - s->seats) << 8 | (uint64_t) result);
    sim_note(s, stats.sent_msgs);
    sim_note(s, stats.handled_msgs);
    sim_note(s, s->now_ns);
    if (result != TURN_BUSY && !awaits_io(seat))
        seat->asleep = scheduler_sleep(seat->scheduler);
}

/* When this seat may next have something to do, as far as its own timers say. */
static uint64_t next_ns_of(const struct seat *seat) {
    uint64_t next_ns;
    if (!seat->running)
        return UINT64_MAX;
    next_ns = seat->asleep ? scheduler_next_ns(seat->scheduler) : 0;
    if (next_ns != 0 && next_ns != UINT64_MAX)
        next_ns = world_ns(seat->env, next_ns);
    return EG_MAX(next_ns, seat->paused_until_ns);
}

/* Nobody is awake: go to the next moment when somebody will be. */
static bool jump(struct sim *s, uint64_t until_ns) {
    uint64_t next_ns = s->event_count > 0 ? s->events[0]->at_ns : UINT64_MAX;

    for (uint32_t i = 0; i < s->seat_count; i++)
        next_ns = EG_MIN(next_ns, next_ns_of(&s->seats[i]));
    if (next_ns >= until_ns) {
        s->now_ns = until_ns == UINT64_MAX ? s->now_ns : EG_MAX(s->now_ns, until_ns);
        return false;
    }
    s->now_ns = EG_MAX(s->now_ns, next_ns);
    for (uint32_t i = 0; i < s->seat_count; i++)
        if (next_ns_of(&s->seats[i]) <= s->now_ns)
            seat_wake(&s->seats[i]);
    return true;
}

bool sim_step(struct sim *s, uint64_t until_ns) {
    struct seat *ready[SIM_SCHEDULERS_MAX];
    uint32_t count = 0;

    if (fire_event(s))
        return true;
    for (uint32_t i = 0; i < s->seat_count; i++)
        if (may_run(&s->seats[i], s->now_ns))
            ready[count++] = &s->seats[i];
    if (count == 0)
        return jump(s, until_ns);
    s->steps++;
    take_turn(s, ready[rng_below(&s->schedule, count)]);
    return true;
}

void sim_run_to(struct sim *s, uint64_t at_ns) {
    while (s->now_ns < at_ns && sim_step(s, at_ns))
        ;
}
void sim_run_ms(struct sim *s, uint64_t ms) {
    sim_run_to(s, s->now_ns + ms * 1000000);
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
    return &s->env.env;
}
uint64_t sim_split(struct sim *s) {
    return rng_u64(&s->split);
}
void *sim_user(const struct sim *s) {
    return s->user;
}
void sim_set_user(struct sim *s, void *user) {
    s->user = user;
}

/* ---- open, close --------------------------------------------------------------------- */

void sim_env_init(struct sim_env *e, struct sim *s, const char *name, uint64_t seed) {
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
    *e = (struct sim_env){.env = {.ops = &ops},
                          .sim = s,
                          .name = name,
                          .since_ns = s->now_ns,
                          .local_ns = s->now_ns,
                          .wall_ms = START_WALL_MS + (int64_t) (s->now_ns / 1000000),
                          .random = rng_of(seed)};
}

struct sim *sim_open(uint64_t seed) {
    struct rng split = rng_of(seed);
    struct sim *s = alloc_zero(alloc_system(), sizeof *s);

    EG_ASSERT(s != NULL);
    s->now_ns = START_NS;
    s->log_level = ENV_LOG_WARN;
    list_init(&s->waiters);
    s->schedule = rng_of(rng_u64(&split));
    s->pauses = rng_of(rng_u64(&split));
    sim_env_init(&s->env, s, NULL, rng_u64(&split));
    s->ties = rng_of(rng_u64(&split));
    s->split = split;
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
        mine.env = &s->env.env;
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
    while (!list_is_empty(&s->waiters))
        waiter_sim_close(&s->env.env, EG_CONTAINER_OF(s->waiters.next, struct waiter, node));
    alloc_put(alloc_system(), s, sizeof *s);
}
