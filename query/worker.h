/* worker.h -- the server's part on one scheduler: what its connections share.
 *
 * Once a turn, after libuv has read and the actors have run:
 *
 *     ready sessions --collect--> batch of calls, buckets prefetched --execute-->
 *         answers in the sessions' output --flush--> one write a session
 *
 * A batch spans connections, so that the cache misses of one request overlap with
 * those of the others even where nobody pipelines.  Calls are executed in the order
 * they were collected.
 *
 * Threads    Its scheduler's, except the counters, which any thread may read.
 */
#ifndef QUERY_WORKER_H
#define QUERY_WORKER_H

#include "engine/list.h"
#include "engine/scheduler.h"
#include "engine/stream.h"
#include "query/rpc_method.h"
#include "query/server.h"

#include <stdatomic.h>

enum {
    WORKER_BATCH_CALLS = 32, /* prefetched together: as many misses as a core overlaps, twice */
    WORKER_SPARES = 64,      /* output buffers kept for the next turn           */
    WORKER_SPARE_BYTES = 64 * 1024, /* larger ones are given back                     */
    WORKER_OUTPUT_BYTES = 4 << 20,  /* of answers not written yet: write before the turn's end */
    WORKER_TICK_MS = 250,
    WORKER_METHODS_MAX = 64,
    WORKER_ERRORS_MAX = 32, /* eg_err numbers, positive */
    WORKER_LATENCY_SLOTS = 32,
};

struct session;

/* One writer, many readers: a plain load and store, without a locked add. */
struct counter {
    _Atomic uint64_t value;
};
static inline void counter_add(struct counter *c, uint64_t n) {
    atomic_store_explicit(&c->value, atomic_load_explicit(&c->value, memory_order_relaxed) + n,
                          memory_order_relaxed);
}
static inline uint64_t counter_read(const struct counter *c) {
    return atomic_load_explicit(&c->value, memory_order_relaxed);
}

struct worker_counters {
    struct counter calls[WORKER_METHODS_MAX]; /* by the method's number           */
    struct counter errors[WORKER_ERRORS_MAX]; /* by -eg_err                       */
    struct counter in_bytes, out_bytes;
    struct counter accepted;
    struct counter refused;    /* past the bound on connections              */
    struct counter bad_frames; /* connections closed for what they sent       */
    struct counter shed;       /* closed because unfinished frames filled the bound */
    struct counter unread;     /* closed because they did not read answers    */
    struct counter forwarded;  /* requests that had to go through a shard's queue */
    struct counter transactions_committed, transactions_lost, transactions_aborted;
    struct counter transactions_in_doubt;
    struct counter turns;                         /* that executed anything                      */
    struct counter turn_ns[WORKER_LATENCY_SLOTS]; /* how long those took: slot i below 2^(i+8) ns */
};

/* What is freed piece by piece, one a turn. */
struct leaving {
    struct list_node node;
    bool (*step)(struct leaving *l); /* true: all is freed, the leaving too */
};

struct worker {
    struct server *server;
    struct scheduler *scheduler;
    struct stream_net *net;
    struct reader reader;
    struct turn_hook hook;
    struct timer tick;
    struct list_node sessions;  /* all                                */
    struct list_node ready;     /* have something to collect          */
    struct list_node dirty;     /* have something to write            */
    struct list_node eventful;  /* subscriptions that have something to send */
    struct list_node tasks;     /* the ring of those with more to do  */
    struct list_node leavings;  /* what is left to be freed           */
    uint64_t tasks_deadline_ns; /* of this turn's steps; 0: none yet */
    uint32_t session_count;
    uint32_t unwelcome_count; /* of these, past the bound: to be told so */
    bool hooked;
    bool draining;
    struct worker_counters counters;

    uint32_t batch_count;
    struct rpc_call batch[WORKER_BATCH_CALLS];
    struct err_note note;

    size_t unwritten_bytes; /* of answers since the last write */
    uint32_t spare_count;
    struct buffer spare[WORKER_SPARES];
};

/* On its scheduler. */
EG_MUST_USE eg_err worker_open(struct worker *w, struct server *server, struct scheduler *s);
void worker_close(struct worker *w); /* no session left */

/* Close idle sessions, and the others when they have been answered. */
void worker_drain(struct worker *w);
/* Close all that are left. */
void worker_cut(struct worker *w);

/* Something waits that must not wait for ever: look every WORKER_TICK_MS. */
void worker_watch(struct worker *w);

/* Free it: the first piece now, the rest in the turns to come. */
void worker_leave(struct worker *w, struct leaving *l);

/* An empty output buffer, and back. */
struct buffer worker_buffer_get(struct worker *w);
void worker_buffer_put(struct worker *w, struct buffer *b);

/* Add a call to the batch whose method and parameters have been checked, or carry
 * it out at once where nothing can be prefetched for it.  An error: neither, and it
 * is to be answered so. */
EG_MUST_USE eg_err worker_add(struct worker *w, struct rpc_call *c);
/* The next free place of the batch, executing it when it is full. */
struct rpc_call *worker_next(struct worker *w);
/* Of an RPC_KEYED call whose table is found: its key as it came, and its attribute.
 * EG_BAD_REQUEST, EG_BAD_RECORD. */
EG_MUST_USE eg_err rpc_keyed_key(struct rpc_call *c, struct value *key);
/* Carry out all calls collected so far. */
void worker_execute(struct worker *w);

#endif /* QUERY_WORKER_H */
