/* env_uv.c -- the world as the operating system has it, through libuv. */
#include "engine/env.h"

#include "engine/alloc.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

struct waiter {
    _Atomic uint32_t waked; /* the kernel looks at it, too (man 2 futex) */
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

/* ---- sleeping ------------------------------------------------------------------------------
 *
 * One word and at most one call each, not a mutex and a condition: who wakes would hold the mutex
 * that who is waked wants first. */

static eg_err uv_waiter_open(struct env *e, struct waiter **out) {
    (void) e;
    *out = alloc_zero(alloc_system(), sizeof **out);
    return *out == NULL ? EG_MEMORY : EG_OK;
}

static void uv_waiter_close(struct env *e, struct waiter *w) {
    (void) e;
    alloc_put(alloc_system(), w, sizeof *w);
}

static void uv_waiter_wait(struct env *e, struct waiter *w, uint64_t timeout_ns) {
    uint64_t bounded_ns = EG_MIN(timeout_ns, (uint64_t) INT64_MAX / 2); /* added to now */
    const struct timespec most = {.tv_sec = (time_t) (bounded_ns / 1000000000),
                                  .tv_nsec = (long) (bounded_ns % 1000000000)};

    (void) e;
    if (atomic_exchange(&w->waked, 0) != 0)
        return;
    /* Whatever it says, the caller looks again. */
    (void) syscall(SYS_futex, &w->waked, FUTEX_WAIT_PRIVATE, 0, &most, NULL, 0);
    (void) atomic_exchange(&w->waked, 0); /* and sees all that was before the wake */
}

/* The waiter may be closed as soon as it is waked: its address alone is said to the kernel, where a
 * stranger who sleeps on it by then is waked for no reason, as any may be. */
static void uv_waiter_wake(struct env *e, struct waiter *w) {
    (void) e;
    if (atomic_exchange(&w->waked, 1) == 0)
        (void) syscall(SYS_futex, &w->waked, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
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
