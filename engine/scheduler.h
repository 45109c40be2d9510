/* scheduler.h -- runs the actors of one thread, one turn at a time.
 *
 * The core knows no clock, no libuv and no thread: a driver calls
 * scheduler_turn() again and again, and lets the thread sleep when a turn says
 * that there is nothing to do.  loop_uv.c drives it with a libuv loop a thread,
 * tests/sim with a seed.
 *
 *     other threads --chain, one CAS--> inbox (LIFO) --reversed--> mailboxes
 *     own actors    ------------------------------------------->  mailboxes
 *     mailboxes --run queue--> dispatch (<= 64 messages) --> outboxes --flush--> inboxes
 *
 * A turn: take the inbox, fire timers, dispatch, run turn hooks, flush outboxes.
 * To other schedulers messages leave in batches, one compare-and-swap each.
 *
 * Sleep      scheduler_sleep() marks the inbox; who pushes onto a marked inbox
 *            calls the driver's wake.  Nobody makes a system call otherwise.
 * Threads    The scheduler's own, unless a function says otherwise.
 */
#ifndef ENGINE_SCHEDULER_H
#define ENGINE_SCHEDULER_H

#include "engine/actor.h"
#include "engine/list.h"

struct epoch_slot;
struct scheduler;

enum {
    SCHEDULERS_MAX = 254,     /* the pid table keeps the index in a byte          */
    DISPATCH_MSGS = 64,       /* of one actor before the next one's turn          */
    DISPATCH_NS = 200 * 1000, /* looked at every 16 messages                      */
    TURN_DISPATCHES = 128,    /* before hooks, flush and I/O get theirs           */
    OUTBOX_BATCH = 64,        /* messages to one scheduler before an early flush  */
    EXPECT_NS = 200 * 1000,   /* longer is not waited awake for an answer          */
};

enum turn_result {
    TURN_IDLE,    /* nothing to run until a message, a timer or I/O       */
    TURN_BUSY,    /* more to run: come back soon                          */
    TURN_STALLED, /* all that could run is lent: sleep, release() wakes   */
};

/* One turn of at most `dispatches` dispatches with `msgs` messages each. */
enum turn_result scheduler_turn(struct scheduler *s, uint32_t dispatches, uint32_t msgs);

/* Stay awake a moment more where others have just sent something: they often do
 * again, and a wake-up costs ten times that moment.  True: something came. */
bool scheduler_linger(struct scheduler *s);

/* Something is about to come from outside: worth waiting awake for up to EXPECT_NS from now. */
void scheduler_expect(struct scheduler *s);
/* Still, where that is worth so long? */
bool scheduler_expects(const struct scheduler *s, uint64_t wait_ns);

/* Before sleeping: false when something came meanwhile, and then do not sleep.
 * After true the driver must call scheduler_awake() before the next turn. */
bool scheduler_sleep(struct scheduler *s);
void scheduler_awake(struct scheduler *s);
/* When to wake at the latest, in the env's monotonic ns.  UINT64_MAX: never. */
uint64_t scheduler_next_ns(const struct scheduler *s);

/* The driver's last call: ends every actor that lives here. */
void scheduler_end(struct scheduler *s);
/* Make the calling thread this scheduler's, also between turns.  NULL: nobody's. */
void scheduler_attach(struct scheduler *s);

/* ---- for layers that live on a scheduler ---------------------------------- */

uint32_t scheduler_index(const struct scheduler *s);
struct runtime *scheduler_runtime(const struct scheduler *s);
uint64_t scheduler_now_ns(const struct scheduler *s);          /* as of this turn's start */
struct epoch_slot *scheduler_epoch(const struct scheduler *s); /* NULL: none given */

/* Whether the calling thread runs this scheduler now. */
bool scheduler_is_current(const struct scheduler *s);

/* Called once in every turn, after the dispatches and before the flush: servers
 * execute what their read callbacks collected and write what is to be written.
 * True asks for another turn before sleeping.  May add and remove hooks. */
struct turn_hook {
    struct list_node node;
    bool (*run)(struct turn_hook *h);
};
void scheduler_add_hook(struct scheduler *s, struct turn_hook *h);
void scheduler_remove_hook(struct scheduler *s, struct turn_hook *h);

/* Timers outside actors. */
void scheduler_timer_start(struct scheduler *s, struct timer *t, uint64_t delay_ms,
                           void (*fire)(struct timer *t));
void scheduler_timer_stop(struct scheduler *s, struct timer *t);

/* Run fn(s, arg) in one of the next turns of `s`.  Any thread.  EG_MEMORY.  A
 * post that the runtime's end overtakes is not run. */
EG_MUST_USE eg_err scheduler_post(struct scheduler *s, void (*fn)(struct scheduler *s, void *arg),
                                  void *arg);

/* One pointer of the upper layers (a server's per-scheduler part). */
void *scheduler_user(const struct scheduler *s);
void scheduler_set_user(struct scheduler *s, void *user);

/* ---- looking at actors ----------------------------------------------------- */

/* The actor with this pid if it lives on this scheduler, else NULL.  Valid until
 * the current callback returns. */
struct actor *scheduler_find(struct scheduler *s, eg_pid pid);

enum actor_status { ACTOR_WAITING, ACTOR_RUNNABLE, ACTOR_RUNNING, ACTOR_EXITING };

struct actor_info {
    eg_pid pid;
    eg_pid parent;     /* who spawned it; EG_PID_NONE: no actor    */
    const char *name;  /* ops->name                                */
    const char *label; /* or NULL                                  */
    enum actor_status status;
    uint32_t scheduler;
    uint32_t mailbox_msgs;
    uint32_t mailbox_bound;
    uint32_t links;
    uint32_t monitors; /* it watches   */
    uint32_t monitored_by;
    uint64_t handled_msgs; /* its reductions */
    uint64_t memory_bytes; /* struct, state, arena, queued messages */
    bool trap_exit, lendable, lent, traced;
};
void actor_describe(struct actor *a, struct actor_info *out); /* on its own scheduler */

struct scheduler_stats {
    uint64_t turns, dispatches, handled_msgs;
    uint64_t sent_msgs;     /* by this scheduler's actors and hooks          */
    uint64_t remote_msgs;   /* of these, to other schedulers                 */
    uint64_t wakes, sleeps; /* other schedulers waked; own sleeps            */
    uint64_t busy_msgs;     /* refused or dropped because a mailbox was full */
    uint64_t dropped_msgs;  /* receiver gone                                 */
    uint64_t spawned, exited;
};
/* Any thread: each number is right, together they are a guess. */
struct scheduler_stats scheduler_stats(const struct scheduler *s);

#endif /* ENGINE_SCHEDULER_H */
