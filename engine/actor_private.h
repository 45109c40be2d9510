/* actor_private.h -- the insides of actors and schedulers, for engine/ only.
 *
 * An actor is two cache lines and its state behind them.  What every message
 * touches is in the first.
 */
#ifndef ENGINE_ACTOR_PRIVATE_H
#define ENGINE_ACTOR_PRIVATE_H

#include "engine/bond.h"
#include "engine/inbox.h"
#include "engine/mailbox.h"
#include "engine/pid_table.h"
#include "engine/reserve.h"
#include "engine/runtime.h"
#include "engine/scheduler.h"

/* Set and read by the home scheduler, and read by who borrowed the actor. */
enum actor_flag {
    ACTOR_LENDABLE = 1,
    ACTOR_TRAP_EXIT = 2,
    ACTOR_TRACED = 4,
    ACTOR_KILLED = 8,    /* ends before its next message            */
    ACTOR_STARTING = 16, /* init has not run: messages wait         */
    ACTOR_STOPPING = 32, /* actor_exit was called: `reason` says why */
};

struct actor {
    const struct actor_ops *ops;
    struct scheduler *home;
    struct mailbox mailbox; /* 24 bytes */
    struct actor *run_next;
    uint32_t slot;
    uint32_t generation;
    uint8_t status;        /* enum actor_status */
    _Atomic uint8_t flags; /* enum actor_flag   */
    uint8_t pressure;      /* enum pressure     */
    uint32_t state_bytes;

    struct list_node bonds;
    struct cleanup *cleanups;
    struct arena *arena;
    const char *label;
    const eg_exit *reason;         /* while STOPPING; a message block         */
    _Atomic uint64_t handled_msgs; /* written by who runs it, read by describe */
    uint32_t parent_slot;
    uint32_t parent_generation;
};

_Static_assert(sizeof(struct actor) == 2 * EG_CACHE_LINE, "an idle actor is to stay small");

static inline uint8_t actor_flags(const struct actor *a) {
    return atomic_load_explicit(&a->flags, memory_order_relaxed);
}
static inline void actor_set_flag(struct actor *a, uint8_t flag, bool on) {
    if (on)
        atomic_fetch_or_explicit(&a->flags, flag, memory_order_relaxed);
    else
        atomic_fetch_and_explicit(&a->flags, (uint8_t) ~flag, memory_order_relaxed);
}

/* ---- blocks -------------------------------------------------------------- */

enum {
    BLOCK_MIN_BYTES = 64,
    BLOCK_TIERS = 5,        /* 64, 128, 256, 512, 1024 bytes                     */
    BLOCK_LARGE = 255,      /* message.block of one straight from the allocator  */
    BLOCKS_KEPT = 4 * 1024, /* of tier 0; half as many of each next: 256 KiB a tier  */
};

struct block { /* a free one */
    struct block *next;
};

struct block_pool {
    struct block *free[BLOCK_TIERS];
    uint32_t free_count[BLOCK_TIERS];
};

/* A block of 64 << tier bytes, from the calling scheduler's pool if there is one. */
void *block_get(struct runtime *rt, uint32_t tier);
void block_put(struct runtime *rt, void *ptr, uint32_t tier);
void block_pool_drain(struct block_pool *p, struct alloc *a);

/* Make a message in a block that holds nothing any more. */
struct message *message_in_block(void *block, uint32_t tier, enum message_kind kind,
                                 uint32_t size_bytes);

/* An EXIT or DOWN with this reason.  `spare` is a block of tier 0 that becomes
 * the message where there is no text, or no memory for it. */
struct message *message_of_exit(struct runtime *rt, enum message_kind kind, const eg_exit *reason,
                                void *spare);
/* One that needs no memory: a KILL, or an EXIT whose text may be lost. */
struct message *message_of_signal(struct runtime *rt, const eg_exit *reason, bool kills);

/* ---- schedulers ----------------------------------------------------------- */

struct outbox { /* messages on their way to one scheduler, newest first */
    struct message *newest, *oldest;
    uint32_t count;
};

struct scheduler {
    bool visited;       /* others have sent something since it last meant to sleep */
    struct inbox inbox; /* a cache line that others write */

    struct runtime *rt;
    void *driver;
    struct epoch_slot *epoch;
    uint64_t now_ns;
    uint64_t expects_since_ns; /* see scheduler_expect() */
    struct actor *run_oldest, *run_newest;
    struct actor *running;
    struct message *handling; /* running's; NULL once kept */
    struct loan *loan;        /* to which running lends itself next, or NULL */
    uint64_t loan_number;
    uint32_t index;
    uint32_t run_count;
    uint32_t outbox_dirty_count;
    struct block_pool blocks;
    struct bond_table bonds;
    struct list_node hooks;
    struct list_node *next_hook; /* so that a hook may remove any other */
    void *user;
    uint64_t refs;
    struct timer_wheel wheel;
    struct {
        _Atomic uint64_t turns, dispatches, handled, sent, remote, wakes, sleeps, busy, dropped,
            spawned, exited;
    } stats;
    struct outbox *outboxes; /* one a scheduler */
    uint32_t *outbox_dirty;  /* indexes of those that are not empty */
};

struct runtime {
    struct pid_table pids;
    struct alloc *alloc;
    struct env *env;
    const struct driver_ops *driver;
    struct runtime_opts opts;
    const struct route *_Atomic route; /* NULL: this node only */
    uint32_t node;
    uint32_t scheduler_count;
    struct scheduler **schedulers;
    _Alignas(EG_CACHE_LINE) _Atomic uint32_t next_scheduler; /* for SPAWN_ANYWHERE */
    _Atomic uint64_t foreign_refs;
    _Atomic bool foreigns_locked; /* guards the pool below, for an open or close  */
    struct registry *names;       /* of this node's actors, and the topics they   */
    struct pubsub *topics;        /* listen to                                    */
    struct foreign *foreigns;     /* closed ones, kept: their pids may be sent to */
    bool running;
    struct reserve reserve; /* for signals, where there is no memory */
};

static inline void stat_add(_Atomic uint64_t *counter, uint64_t n) {
    /* One writer: a plain add that other threads may watch. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline uint64_t scheduler_now_ms(const struct scheduler *s) {
    return s->now_ns / 1000000;
}

/* runtime.c: the scheduler whose turn it is on this thread; returns the previous. */
struct scheduler *runtime_set_current(struct scheduler *s);

/* scheduler.c */
EG_MUST_USE eg_err scheduler_open(struct scheduler **out, struct runtime *rt, uint32_t index);
void scheduler_close(struct scheduler *s);
void scheduler_make_runnable(struct scheduler *s, struct actor *a);
void scheduler_push_out(struct scheduler *s, uint32_t to, struct message *m);
void scheduler_flush(struct scheduler *s);
void scheduler_push_inbox(struct scheduler *s, struct message *newest, struct message *oldest);
void scheduler_nudge(struct scheduler *s); /* wake it if it sleeps */

struct post { /* payload of a POST */
    void (*fn)(struct scheduler *s, void *arg);
    void *arg;
};

/* deliver.c */

/* Send from the thread of `current` (NULL: a foreign one).  An error: m is still
 * the caller's, and untouched but for from and to. */
EG_MUST_USE eg_err try_send(struct runtime *rt, struct scheduler *current, eg_pid from, eg_pid to,
                            struct message *m);
/* As try_send for what always passes: where nobody is there, m is disposed of. */
void send_or_drop(struct runtime *rt, eg_pid from, eg_pid to, struct message *m);
void message_dispose(struct runtime *rt, struct message *m); /* and what it carries */

/* A message has reached its receiver's scheduler. */
void deliver(struct scheduler *s, struct message *m);
/* Its receiver ended before it: answer what must be answered. */
void undeliverable(struct runtime *rt, struct message *m);
/* Turn a CALL into the REPLY that refuses it; needs no memory. */
void refuse_call(struct runtime *rt, struct message *m, eg_err why);
void mailbox_shrank(struct actor *a);

/* actor.c */
void actor_start(struct scheduler *s, struct actor *a, struct message *start);
/* Handle up to `msgs` messages.  False: it is lent and nothing was done. */
bool actor_dispatch(struct scheduler *s, struct actor *a, uint32_t msgs);
void actor_end(struct scheduler *s, struct actor *a, const eg_exit *reason);
void actor_trace_send(struct actor *a, eg_pid to, const struct message *m);

/* links.c */
struct bond *bond_new(struct runtime *rt, enum bond_kind kind, uint32_t owner_slot, eg_pid peer,
                      eg_ref ref);
void bond_attach(struct actor *a, struct bond *b); /* on a's scheduler          */
void bond_end(struct actor *a, struct bond *b);    /* detach and free            */
void links_on_signal(struct actor *a, struct message *m);
void links_on_death(struct actor *a, const eg_exit *reason);
struct bond *signal_bond(const struct message *m); /* that LINK or MONITOR brings */

/* foreign.c */
void foreign_push(struct foreign *f, struct message *m);
void foreigns_free(struct runtime *rt);

#endif /* ENGINE_ACTOR_PRIVATE_H */
