/* actor.h -- small processes with a mailbox, in Erlang's terms.
 *
 * An actor is state plus callbacks that run to completion.  It is pinned to one
 * scheduler, takes one message at a time, and shares nothing but what it sends.
 * Links, monitors, exit reasons and trap_exit mean what they mean in OTP.
 *
 *     spawn --init--> waiting <--> running --actor_exit, signal--> gone
 *                        \--claim--> lent --release--/      (lendable ones)
 *
 * Order      Messages and signals of one sender reach one receiver in the order
 *            they were sent; an EXIT or DOWN comes after everything its actor sent.
 * Threads    What takes `self` is called from self's own callbacks only.  What
 *            takes a runtime may be called from any thread.
 * Failure    An actor that meets what it cannot handle calls actor_exit() with a
 *            reason and returns; its supervisor decides.  An assertion or a signal
 *            stops the node, for memory is shared.
 */
#ifndef ENGINE_ACTOR_H
#define ENGINE_ACTOR_H

#include "engine/alloc.h"
#include "engine/message.h"
#include "engine/timer.h"
#include "engram/types.h"

#include <stdatomic.h>

struct actor;
struct arena;
struct runtime;
struct scheduler;

struct actor_ops {
    const char *name;     /* what it is, for people: "shard", "supervisor" */
    uint32_t state_bytes; /* zeroed before init                            */

    /* Optional.  An error ends the actor: a spawn on this scheduler returns it,
     * links and monitors of others see a crash with it as the code. */
    eg_err (*init)(struct actor *self, void *state, const void *arg);

    /* One message.  Never blocks.  The runtime frees it unless it is kept. */
    void (*receive)(struct actor *self, void *state, struct message *msg);

    /* Optional.  The end, unless the actor is killed; the last chance to send. */
    void (*terminate)(struct actor *self, void *state, const eg_exit *reason);

    /* Optional.  One line about the state, for inspection; as snprintf. */
    void (*describe)(const struct actor *self, const void *state, char *text, size_t size_bytes);
};

/* ---- birth -------------------------------------------------------------- */

/* Where to live: on the caller's scheduler (from a foreign thread: anywhere), on
 * the schedulers in turn, or on the one with this index. */
enum { SPAWN_HERE = 0, SPAWN_ANYWHERE = -1 };
#define SPAWN_ON(index) ((int32_t) (index) + 1)

enum { MAILBOX_BOUND_DEFAULT = 16 * 1024, MAILBOX_BOUND_MAX = 512 * 1024 };

struct spawn_opts {
    const struct actor_ops *ops;

    /* Handed to init.  With arg_bytes > 0 a copy is, which lives until init returns;
     * with 0 the pointer itself, which must live until init ran. */
    const void *arg;
    size_t arg_bytes;

    uint32_t state_bytes;   /* 0: ops->state_bytes                          */
    int32_t scheduler;      /* SPAWN_HERE, SPAWN_ANYWHERE, SPAWN_ON(index)  */
    uint32_t mailbox_bound; /* messages; 0: MAILBOX_BOUND_DEFAULT           */
    const char *label;      /* static text for people; NULL: ops->name      */
    bool lendable;          /* may be claimed by other threads while idle   */
    bool trap_exit;
    bool link;    /* to `self`, which must be given                */
    bool monitor; /* by `self`, which must be given; see *monitor  */
};

/* Start an actor.  `self` is the spawning actor, or NULL (then rt says where).
 *
 * On the caller's own scheduler init has run when this returns, and its error is
 * returned.  On another, init runs there: *out is valid at once, messages sent
 * to it wait for init, and a failing init is an exit.
 * EG_MEMORY, EG_BUSY (actors_max are alive), or init's error: no actor, *out is
 * unchanged, nothing is linked. */
EG_MUST_USE eg_err actor_spawn(struct runtime *rt, struct actor *self,
                               const struct spawn_opts *opts, eg_pid *out, eg_ref *monitor);

/* ---- what an actor knows about itself ------------------------------------ */

eg_pid actor_pid(const struct actor *self);
void *actor_state(struct actor *self);
struct runtime *actor_runtime(const struct actor *self);
struct scheduler *actor_scheduler(const struct actor *self); /* its home */
struct alloc *actor_alloc(const struct actor *self);
uint64_t actor_now_ms(const struct actor *self); /* the turn's time; no clock is read */

/* Memory that goes when the actor goes.  NULL: out of memory. */
struct arena *actor_arena(struct actor *self);

/* Called when the actor ends, newest first, after terminate, also after a kill. */
struct cleanup {
    struct cleanup *next;
    void (*run)(struct cleanup *c);
};
void actor_on_exit(struct actor *self, struct cleanup *c);
void actor_cancel_on_exit(struct actor *self, struct cleanup *c);

/* As process_flag(trap_exit, on): exits of linked actors become messages. */
void actor_trap_exit(struct actor *self, bool on);

/* Shown by inspection instead of ops->name: static text, or memory that outlives
 * the actor (its arena does). */
void actor_set_label(struct actor *self, const char *label);

/* A fresh reference, for a call. */
eg_ref actor_make_ref(struct runtime *rt);

/* ---- sending ------------------------------------------------------------- */

/* Send from `self`.  Always takes the message.
 *
 * EG_NOPROC  nobody has that pid (any more).
 * EG_BUSY    the mailbox is full: INFO, CAST and CALL only.
 * EG_NO_REPLICA  the pid's node cannot be reached.
 * EG_OK is no promise that it will be handled: the receiver may end first.  A
 * CALL that is dropped on the way is answered by a REPLY with EG_BUSY or
 * EG_NOPROC; an INFO or CAST that meets a full mailbox there is counted and lost. */
eg_err actor_send(struct actor *self, eg_pid to, struct message *m);

/* As actor_send, from anywhere and in the name of `from` (may be EG_PID_NONE). */
eg_err runtime_send(struct runtime *rt, eg_pid from, eg_pid to, struct message *m);

/* Called in receive(): its message is the callee's from now on, to send on, keep
 * or free; the runtime will not touch it again. */
void actor_keep(struct actor *self, struct message *m);

/* Answer the CALL with `ref` that came from `to`.  m->tag is the outcome; m is a
 * REPLY.  Nothing happens where the caller is gone. */
void actor_reply(struct actor *self, eg_pid to, eg_ref ref, struct message *m);
/* As actor_reply, with bytes: allocates, and says EG_MEMORY to the caller when
 * even that fails. */
void actor_reply_bytes(struct actor *self, eg_pid to, eg_ref ref, eg_err outcome, const void *bytes,
                       size_t size_bytes);

/* How full a mailbox is.  FULL refuses; HIGH asks producers that can wait (a
 * socket's reader) to wait until it is CALM again.  HIGH from half the bound,
 * CALM again below a quarter. */
enum pressure { PRESSURE_CALM, PRESSURE_HIGH, PRESSURE_FULL };
enum pressure runtime_pressure(struct runtime *rt, eg_pid pid); /* CALM where gone */

/* ---- links, monitors, exits ---------------------------------------------- */

/* Both end when one ends, unless it ended normally or the other traps exits.
 * Linking what is not there gives an exit with EG_EXIT_NOPROC.  EG_MEMORY. */
EG_MUST_USE eg_err actor_link(struct actor *self, eg_pid other);
void actor_unlink(struct actor *self, eg_pid other); /* no exit of it comes after this */

/* Exactly one DOWN with *out comes when `other` ends or cannot be reached. */
EG_MUST_USE eg_err actor_monitor(struct actor *self, eg_pid other, eg_ref *out);
void actor_demonitor(struct actor *self, eg_ref monitor); /* no DOWN comes after this */

/* End after the current callback returns; the rest of the mailbox is dropped.
 * The first reason stays.  In init it makes the spawn fail. */
void actor_exit(struct actor *self, const eg_exit *reason);
void actor_exit_normal(struct actor *self);
void actor_crash(struct actor *self, int32_t code, const char *format, ...) EG_PRINTF(3, 4);

/* As exit(Pid, Reason): a signal.  EG_EXIT_KILL ends the receiver at once and
 * cannot be trapped; EG_EXIT_NORMAL is ignored unless trapped. */
void actor_exit_send(struct runtime *rt, eg_pid from, eg_pid to, const eg_exit *reason);

bool runtime_is_alive(struct runtime *rt, eg_pid pid); /* a guess by the time you look */

eg_exit exit_reason(eg_exit_kind kind); /* with no code and no text */
eg_exit exit_crash(int32_t code, const char *format, ...) EG_PRINTF(2, 3);
const char *exit_kind_name(eg_exit_kind kind); /* "normal", "shutdown", ... */

/* ---- time ---------------------------------------------------------------- */

/* Send `m` to `self` in `delay_ms`, as a TIMEOUT whose ref is *out.  The message
 * keeps its tag and payload.  Goes with the actor.  EG_MEMORY: m is freed. */
EG_MUST_USE eg_err actor_start_timer(struct actor *self, uint64_t delay_ms, struct message *m,
                                     eg_ref *out);
/* No TIMEOUT with `timer` comes after this.  False: it has come already. */
bool actor_cancel_timer(struct actor *self, eg_ref timer);

/* Without a message: an intrusive timer on self's scheduler.  The callback runs
 * between dispatches, so it may change self's state but is outside receive(); stop
 * it in terminate or on_exit.  Not for lendable actors, whose state may be lent. */
void actor_timer_start(struct actor *self, struct timer *t, uint64_t delay_ms,
                       void (*fire)(struct timer *t));
void actor_timer_stop(struct actor *self, struct timer *t);

/* ---- lending ------------------------------------------------------------- */

/* Claim an idle lendable actor for the calling thread, which then acts in its
 * place: it may use the state, send in self's name (actor_send, actor_reply) and
 * make it end (actor_exit, actor_crash), and nothing else of self.  Idle means that no message is
 * queued or under way, so what this thread sent it before has been handled.
 *
 * NULL: gone, busy, lent to another, or not lendable; send a message instead.
 * Never blocks: one compare-and-swap.  Release soon: messages wait meanwhile. */
struct actor *actor_claim(struct runtime *rt, eg_pid pid);
void actor_release(struct actor *self);

/* An actor that is never found idle can be asked to hand itself over when a message's turn
 * comes: what was sent before it is done, what comes after it waits.
 *
 *     you                                it
 *     loan_ask(l, n) --message with n--> actor_lend(self, l, n), and the callback returns
 *     loan_given(l, n)? act in its place, as after actor_claim()
 *     actor_release(loan_end(l))
 *
 * Whatever became of it (asked, given, the actor gone), after loan_end() it will not be
 * given any more.  `l` outlives the actor; a number is used once. */
struct loan {
    _Atomic uint64_t word; /* 0: not wanted; 2n: asked for; 2n + 1: given */
    struct actor *actor;   /* that was given */
};

static inline void loan_ask(struct loan *l, uint64_t number) {
    atomic_store(&l->word, 2 * number);
}
static inline bool loan_asked(const struct loan *l, uint64_t number) {
    return atomic_load(&l->word) == 2 * number;
}
static inline bool loan_given(const struct loan *l, uint64_t number) {
    return atomic_load(&l->word) == 2 * number + 1;
}
/* The actor, to be released, or NULL: it was not given. */
static inline struct actor *loan_end(struct loan *l) {
    return (atomic_exchange(&l->word, 0) & 1) != 0 ? l->actor : NULL;
}

/* In receive() of a lendable actor: it is lent when this callback has returned, unless the
 * loan has ended by then, or the actor. */
void actor_lend(struct actor *self, struct loan *l, uint64_t number);

#endif /* ENGINE_ACTOR_H */
