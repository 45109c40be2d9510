/* stepper.c -- schedulers, clock and waiters driven by one thread. */
#include "tests/support/stepper.h"

#include <string.h>

enum { CALL_TIMEOUT_MS = 60000 };

struct waiter {
    bool waked;
};

static struct stepper *of(struct env *e) {
    return EG_CONTAINER_OF(e, struct stepper, env);
}

static uint64_t now_ns(struct env *e) {
    return of(e)->now_ns;
}
static int64_t wall_ms(struct env *e) {
    return (int64_t) (of(e)->now_ns / 1000000) + of(e)->wall_ahead_ms;
}
static uint64_t draw(struct env *e) {
    return rng_u64(&of(e)->rng);
}
static void log_nothing(struct env *e, enum env_log_level level, const char *line) {
    (void) e;
    (void) level;
    (void) line;
}

static eg_err waiter_open(struct env *e, struct waiter **out) {
    struct waiter *w = alloc_zero(of(e)->alloc, sizeof *w);
    if (w == NULL)
        return EG_MEMORY;
    *out = w;
    return EG_OK;
}
static void waiter_close(struct env *e, struct waiter *w) {
    alloc_put(of(e)->alloc, w, sizeof *w);
}
static void waiter_wake(struct env *e, struct waiter *w) {
    (void) e;
    w->waked = true;
}

/* One turn of everybody, in a drawn order.  False: nobody had anything to do. */
bool stepper_turn(struct stepper *st) {
    uint32_t count = runtime_schedulers(st->rt);
    uint32_t first = (uint32_t) rng_below(&st->rng, count);
    bool busy = false;

    for (uint32_t i = 0; i < count; i++) {
        struct scheduler *s = runtime_scheduler(st->rt, (first + i) % count);
        scheduler_awake(s);
        busy |= scheduler_turn(s, 1 + (uint32_t) rng_below(&st->rng, 4), 4) == TURN_BUSY;
    }
    for (uint32_t i = 0; i < count; i++)
        busy |= !scheduler_sleep(runtime_scheduler(st->rt, i));
    return busy;
}

/* Jump to the next timer, but not past `until_ns`. */
static void jump(struct stepper *st, uint64_t until_ns) {
    uint64_t next_ns = until_ns;
    for (uint32_t i = 0; i < runtime_schedulers(st->rt); i++)
        next_ns = EG_MIN(next_ns, scheduler_next_ns(runtime_scheduler(st->rt, i)));
    st->now_ns = EG_MAX(st->now_ns, next_ns);
}

static void waiter_wait(struct env *e, struct waiter *w, uint64_t timeout_ns) {
    struct stepper *st = of(e);
    uint64_t until_ns = timeout_ns > UINT64_MAX - st->now_ns ? UINT64_MAX : st->now_ns + timeout_ns;

    while (!w->waked) {
        if (stepper_turn(st) || w->waked)
            continue;
        if (st->now_ns >= until_ns)
            break;
        jump(st, until_ns);
    }
    w->waked = false;
}

static eg_err driver_open(struct runtime *rt, struct scheduler *s, void **out) {
    (void) rt;
    *out = s;
    return EG_OK;
}
static eg_err driver_start(void *driver) {
    (void) driver;
    return EG_OK;
}
static void driver_nothing(void *driver) {
    (void) driver;
}

static const struct env_ops env_ops = {
    .now_ns = now_ns,
    .wall_ms = wall_ms,
    .random = draw,
    .log = log_nothing,
    .waiter_open = waiter_open,
    .waiter_close = waiter_close,
    .waiter_wait = waiter_wait,
    .waiter_wake = waiter_wake,
};
static const struct driver_ops driver_ops = {
    .open = driver_open,
    .start = driver_start,
    .stop = driver_nothing,
    .join = driver_nothing,
    .close = driver_nothing,
    .wake = driver_nothing,
};

struct stepper *stepper_open_in(struct alloc *a, uint32_t schedulers, uint64_t seed,
                                struct epoch *domain, eg_err *out) {
    struct stepper *st = alloc_zero(a, sizeof *st);
    eg_err err = st == NULL ? EG_MEMORY : EG_OK;

    if (st == NULL)
        goto fail;
    st->env.ops = &env_ops;
    st->rng = rng_of(seed);
    st->now_ns = UINT64_C(1000000000);
    st->alloc = a;
    err = runtime_open(&st->rt, &(struct runtime_opts){.alloc = a,
                                                       .env = &st->env,
                                                       .driver = &driver_ops,
                                                       .schedulers = schedulers,
                                                       .actors_max = 10000,
                                                       .epoch = domain});
    if (err != EG_OK)
        goto put_stepper;
    err = runtime_start(st->rt);
    if (err == EG_OK)
        err = foreign_open(&st->me, st->rt);
    if (err == EG_OK)
        return st;
    runtime_close(st->rt);
put_stepper:
    alloc_put(a, st, sizeof *st);
fail:
    if (out != NULL)
        *out = err;
    return NULL;
}

void stepper_close(struct stepper *st) {
    foreign_close(st->me);
    runtime_stop(st->rt);
    runtime_close(st->rt);
    alloc_put(st->alloc, st, sizeof *st);
}

void stepper_run(struct stepper *st) {
    while (stepper_turn(st))
        ;
}

void stepper_run_ms(struct stepper *st, uint64_t ms) {
    uint64_t until_ns = st->now_ns + ms * 1000000;

    stepper_run(st);
    while (st->now_ns < until_ns) {
        jump(st, until_ns);
        stepper_run(st);
    }
}

eg_err stepper_call(struct stepper *st, eg_pid to, uint32_t tag, const void *bytes,
                    size_t size_bytes, void *answer, size_t room_bytes) {
    struct message *m = message_copy(st->rt, MESSAGE_CALL, bytes, size_bytes), *reply;
    eg_err err;

    m->tag = tag;
    err = foreign_call(st->me, to, m, CALL_TIMEOUT_MS, &reply);
    if (err != EG_OK)
        return err;
    err = (eg_err) (int32_t) reply->tag;
    if (room_bytes > 0)
        memcpy(answer, reply->payload, EG_MIN(room_bytes, reply->size_bytes));
    message_free(st->rt, reply);
    return err;
}

eg_err stepper_cast(struct stepper *st, eg_pid to, uint32_t tag, const void *bytes,
                    size_t size_bytes) {
    struct message *m = message_copy(st->rt, MESSAGE_CAST, bytes, size_bytes);
    m->tag = tag;
    return foreign_send(st->me, to, m);
}
