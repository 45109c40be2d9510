/* env_uv.c -- the world as the operating system has it, through libuv. */
#include "engine/env.h"

#include "engine/alloc.h"

#include <stdio.h>
#include <time.h>
#include <uv.h>

struct waiter {
    uv_mutex_t lock;
    uv_cond_t changed;
    bool waked; /* guarded by lock */
};

static uint64_t uv_now_ns(struct env *e) {
    (void) e; /* the operating system is the state of all these */
    return uv_hrtime();
}

static int64_t uv_wall_ms(struct env *e) {
    struct timespec now; /* the coarse clock: every write asks, and the exact one takes 20 ns */
    (void) e;
    EG_ASSERT(clock_gettime(CLOCK_REALTIME_COARSE, &now) == 0);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static uint64_t uv_random_bits(struct env *e) {
    uint64_t bits;
    (void) e;
    EG_ASSERT(uv_random(NULL, NULL, &bits, sizeof bits, 0, NULL) == 0);
    return bits;
}

static void uv_log(struct env *e, enum env_log_level level, const char *line) {
    static const char *const names[] = {"error", "warn", "info", "debug"};
    (void) e;
    fprintf(stderr, "engram %s %s\n", names[level], line);
}

static eg_err uv_waiter_open(struct env *e, struct waiter **out) {
    struct waiter *w = alloc_zero(alloc_system(), sizeof *w);

    (void) e;
    if (w == NULL)
        return EG_MEMORY;
    if (uv_mutex_init(&w->lock) != 0)
        goto put_waiter;
    if (uv_cond_init(&w->changed) != 0)
        goto destroy_lock;
    *out = w;
    return EG_OK;

destroy_lock:
    uv_mutex_destroy(&w->lock);
put_waiter:
    alloc_put(alloc_system(), w, sizeof *w);
    return EG_MEMORY;
}

static void uv_waiter_close(struct env *e, struct waiter *w) {
    (void) e;
    uv_cond_destroy(&w->changed);
    uv_mutex_destroy(&w->lock);
    alloc_put(alloc_system(), w, sizeof *w);
}

static void uv_waiter_wait(struct env *e, struct waiter *w, uint64_t timeout_ns) {
    /* uv_cond_timedwait adds it to now: keep clear of the overflow. */
    uint64_t bounded_ns = EG_MIN(timeout_ns, (uint64_t) INT64_MAX / 2);

    (void) e;
    uv_mutex_lock(&w->lock);
    if (!w->waked)
        (void) uv_cond_timedwait(&w->changed, &w->lock, bounded_ns); /* the caller looks again */
    w->waked = false;
    uv_mutex_unlock(&w->lock);
}

static void uv_waiter_wake(struct env *e, struct waiter *w) {
    (void) e;
    uv_mutex_lock(&w->lock);
    w->waked = true;
    uv_cond_signal(&w->changed);
    uv_mutex_unlock(&w->lock);
}

struct env *env_uv(void) {
    static const struct env_ops ops = {
        .now_ns = uv_now_ns,
        .wall_ms = uv_wall_ms,
        .random = uv_random_bits,
        .log = uv_log,
        .waiter_open = uv_waiter_open,
        .waiter_close = uv_waiter_close,
        .waiter_wait = uv_waiter_wait,
        .waiter_wake = uv_waiter_wake,
    };
    static const struct env env = {&ops};
    return (struct env *) &env; /* never written: its functions keep no state */
}
