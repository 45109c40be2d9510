/* loop_uv.c -- a thread and a libuv loop for each scheduler.
 *
 *     turn --busy--> look at I/O if 50 us are over, without waiting --> turn
 *          --idle, something is expected--> look at I/O --------------> turn
 *          --idle--> mark the inbox asleep, wait in libuv ------------> turn
 *
 * The wake is an eventfd of our own, written only when the inbox was marked asleep:
 * a busy scheduler is never interrupted.  Not uv_async: its receiver spins while its
 * sender is between two stores (libuv 1.44), and where both share a core the sender
 * cannot go on meanwhile. */
#include "engine/loop_uv.h"

#include "engine/actor_private.h"
#include "engine/epoch.h"

#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    POLL_EVERY_NS = 50 * 1000,
    LOOK_WORTH_MAX = 16,     /* looks that saw something come, less ...               */
    LOOK_VAIN_COSTS = 2,     /* ... so much for each that did not: at 0 it is left out */
    LOOK_TRY_EVERY = 32,     /* and tried again seldom                                 */
    LOOK_MIN_NS = 50 * 1000, /* an answer over loopback, with others on the way        */
    LOOK_FADES = 64,         /* so many answers later a late one is mostly forgotten   */
};

struct loop {
    uv_loop_t uv;
    uv_poll_t wake;
    int wake_fd;
    uv_timer_t alarm; /* the wheel's next expiry */
    uv_thread_t thread;
    struct scheduler *scheduler;
    uint64_t polled_ns;
    bool polled; /* just now: the next turn knows when that was */
    uint32_t look_worth, looks_left_out;
    bool looking;
    uint64_t expects_ns; /* since when, as of the last look  */
    uint64_t look_ns;    /* for how long it is worth looking */
    _Atomic bool stopping;
};

/* Ending the wait was all; empty the counter so that the next write does so too. */
static void on_wake(uv_poll_t *wake, int status, int events) {
    struct loop *l = EG_CONTAINER_OF(wake, struct loop, wake);
    uint64_t count;
    (void) events;
    EG_ASSERT(status == 0);
    EG_ASSERT(read(l->wake_fd, &count, sizeof count) == sizeof count);
}

/* libuv runs timers before it polls, too: where this thread was not run for longer than the
 * alarm was set for, it goes off there, and a poll that then knows of no timer would wait for
 * ever.  A stopped loop polls without waiting, and forgets by its end that it was stopped. */
static void on_alarm(uv_timer_t *alarm) {
    uv_stop(alarm->loop);
}

/* ---- open, close ------------------------------------------------------------------------ */

static void report_stray(uv_handle_t *h, void *arg) {
    struct loop *l = arg;
    if (uv_is_closing(h))
        return;
    env_log(l->scheduler->rt->env, ENV_LOG_ERROR, "loop", "a %s handle was left open",
            uv_handle_type_name(uv_handle_get_type(h)));
    uv_close(h, NULL);
}

/* Handles close in a turn of the loop: give it turns until none is left. */
static void loop_fini(struct loop *l) {
    uv_close((uv_handle_t *) &l->wake, NULL);
    uv_close((uv_handle_t *) &l->alarm, NULL);
    uv_walk(&l->uv, report_stray, l);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    EG_ASSERT(uv_loop_close(&l->uv) == 0);
    EG_ASSERT(close(l->wake_fd) == 0);
}

static eg_err loop_open(struct runtime *rt, struct scheduler *s, void **out) {
    struct loop *l = alloc_zero(rt->alloc, sizeof *l);

    if (l == NULL)
        return EG_MEMORY;
    l->scheduler = s;
    l->look_ns = LOOK_MIN_NS;
    if (uv_loop_init(&l->uv) != 0)
        goto put_loop;
    l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (l->wake_fd < 0)
        goto close_loop;
    if (uv_poll_init(&l->uv, &l->wake, l->wake_fd) != 0)
        goto close_fd;
    EG_ASSERT(uv_poll_start(&l->wake, UV_READABLE, on_wake) == 0);
    EG_ASSERT(uv_timer_init(&l->uv, &l->alarm) == 0); /* which cannot fail */
    *out = l;
    return EG_OK;

close_fd:
    EG_ASSERT(close(l->wake_fd) == 0);
close_loop:
    EG_ASSERT(uv_loop_close(&l->uv) == 0);
put_loop:
    alloc_put(rt->alloc, l, sizeof *l);
    return EG_MEMORY;
}

static void loop_close(void *driver) {
    struct loop *l = driver;
    loop_fini(l);
    alloc_put(l->scheduler->rt->alloc, l, sizeof *l);
}

/* ---- the thread --------------------------------------------------------------------------- */

/* What was waited for before a look, asleep or for this core, is not time since it. */
static void look_at_io(struct loop *l) {
    uint64_t now_ns = scheduler_now_ns(l->scheduler);

    if (l->polled)
        l->polled_ns = now_ns;
    l->polled = false;
    if (now_ns - l->polled_ns < POLL_EVERY_NS)
        return;
    l->polled_ns = now_ns;
    uv_run(&l->uv, UV_RUN_NOWAIT);
}

static void wait_for_io(struct loop *l) {
    uint64_t next_ns = scheduler_next_ns(l->scheduler);

    if (next_ns != UINT64_MAX) {
        uint64_t now_ns = env_now_ns(l->scheduler->rt->env);
        uint64_t wait_ns = next_ns > now_ns ? next_ns - now_ns : 0;
        uv_update_time(&l->uv);
        uv_timer_start(&l->alarm, on_alarm, (wait_ns + 999999) / 1000000, 0);
    }
    uv_run(&l->uv, UV_RUN_ONCE);
    uv_timer_stop(&l->alarm);
    l->polled = true;
}

/* Does what is expected mostly come while we look?  Not over a network that takes longer, and not
 * where a message now and then is answered and that is all. */
static bool is_worth_looking(struct loop *l) {
    return l->look_worth > 0 || ++l->looks_left_out % LOOK_TRY_EVERY == 0;
}

static void look_ends(struct loop *l, bool seen) {
    if (seen)
        l->look_worth = EG_MIN(l->look_worth + 1, (uint32_t) LOOK_WORTH_MAX);
    else
        l->look_worth -= EG_MIN(l->look_worth, (uint32_t) LOOK_VAIN_COSTS);
}

/* Look for twice as long as the latest of the last answers took: where more processes than there
 * are cores answer each other, who is to answer first waits for one.  What took longer than
 * EXPECT_NS was no answer. */
static void learn_look(struct loop *l, uint64_t took_ns) {
    uint64_t faded_ns = l->look_ns - (l->look_ns - LOOK_MIN_NS) / LOOK_FADES;

    if (took_ns <= EXPECT_NS)
        l->look_ns = EG_MIN(EG_MAX(2 * took_ns, faded_ns), (uint64_t) EXPECT_NS);
}

/* Something has come if what is expected is expected anew. */
static void judge_look(struct loop *l, bool expects) {
    uint64_t took_ns = l->scheduler->expects_since_ns - l->expects_ns;

    if (took_ns > 0)
        learn_look(l, took_ns);
    if (l->looking && (took_ns > 0 || !expects)) {
        look_ends(l, took_ns > 0);
        l->looking = false;
    }
    l->expects_ns = l->scheduler->expects_since_ns;
}

/* What is expected within microseconds is waited for awake: to be woken, on another core at that,
 * takes both sides longer than all else that a message costs.  Whoever else wants this core gets
 * it meanwhile, and first: all there was has been taken, so let others write the next.
 * True: one look was taken, and a turn finds out what came. */
static bool look_for_expected(struct loop *l) {
    struct scheduler *s = l->scheduler;
    bool expects = scheduler_expects(s, l->look_ns); /* a clock is read: once */

    judge_look(l, expects);
    if (!expects || (!l->looking && !is_worth_looking(l)))
        return false;
    l->looking = true;
    sched_yield(); /* which may take long: one look comes behind it, however late it is */
    uv_run(&l->uv, UV_RUN_NOWAIT);
    l->polled = true;
    return true;
}

/* Writing to a connection that the other side has closed is an error for whoever wrote, and no
 * signal that ends a program which never heard of our connections. */
static void block_broken_pipes(void) {
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    EG_ASSERT(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
}

static void loop_run(void *arg) {
    struct loop *l = arg;
    struct scheduler *s = l->scheduler;

    block_broken_pipes();
    scheduler_attach(s);
    scheduler_awake(s);
    while (!atomic_load(&l->stopping)) {
        if (scheduler_turn(s, TURN_DISPATCHES, DISPATCH_MSGS) == TURN_BUSY) {
            look_at_io(l);
        } else if (scheduler_linger(s) || look_for_expected(l)) {
            continue;
        } else if (scheduler_sleep(s)) {
            wait_for_io(l);
            scheduler_awake(s);
        }
    }
    scheduler_end(s);
    uv_run(&l->uv, UV_RUN_NOWAIT); /* what the ending actors closed */
    if (s->epoch != NULL)
        epoch_offline(s->epoch);
    scheduler_attach(NULL);
}

static eg_err loop_start(void *driver) {
    struct loop *l = driver;
    atomic_store(&l->stopping, false);
    return uv_thread_create(&l->thread, loop_run, l) == 0 ? EG_OK : EG_MEMORY;
}

static void loop_wake(void *driver) {
    const struct loop *l = driver;
    uint64_t one = 1;
    EG_ASSERT(write(l->wake_fd, &one, sizeof one) == sizeof one);
}

static void loop_stop(void *driver) {
    struct loop *l = driver;
    atomic_store(&l->stopping, true);
    loop_wake(l);
}

static void loop_join(void *driver) {
    struct loop *l = driver;
    EG_ASSERT(uv_thread_join(&l->thread) == 0);
}

const struct driver_ops *loop_uv_driver(void) {
    static const struct driver_ops ops = {
        .open = loop_open,
        .start = loop_start,
        .stop = loop_stop,
        .join = loop_join,
        .close = loop_close,
        .wake = loop_wake,
    };
    return &ops;
}

uv_loop_t *loop_uv_of(struct scheduler *s) {
    struct loop *l = s->driver;
    return &l->uv;
}
