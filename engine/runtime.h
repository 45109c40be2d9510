/* runtime.h -- all schedulers of one node: open, start, stop, close.
 *
 *     open --start--> running --stop--> stopped --close-->
 *
 * The runtime owns the pid table and what schedulers and foreign threads share.
 * How a scheduler gets its thread is the driver's business: loop_uv_driver()
 * gives it one with a libuv loop; the simulator calls them in an order of its own.
 *
 * Threads    open/start/stop/close: one thread, none of the schedulers'.  The
 *            rest: any.
 */
#ifndef ENGINE_RUNTIME_H
#define ENGINE_RUNTIME_H

#include "engine/actor.h"
#include "engine/env.h"
#include "engine/route.h"

struct epoch;
struct pubsub;
struct registry;
struct runtime;
struct scheduler;

/* Who gives schedulers their turns. */
struct driver_ops {
    /* Prepare for scheduler `s`; nothing runs yet.  *out is handed to the rest. */
    eg_err (*open)(struct runtime *rt, struct scheduler *s, void **out);
    eg_err (*start)(void *driver); /* begin to give turns                          */
    void (*stop)(void *driver);    /* ask to end, from any thread                  */
    void (*join)(void *driver);    /* wait until it gives no more turns            */
    void (*close)(void *driver);
    void (*wake)(void *driver); /* end scheduler_sleep(); any thread            */
};

/* Tracing: what a traced actor receives, sends, and how it ends. */
enum trace_kind { TRACE_SPAWN, TRACE_RECEIVE, TRACE_SEND, TRACE_EXIT };

struct trace_event {
    enum trace_kind kind;
    uint64_t now_ns;
    eg_pid pid;                    /* the traced actor                  */
    eg_pid peer;                   /* sender or receiver; parent        */
    const struct message *message; /* RECEIVE, SEND; until return       */
    const eg_exit *reason;         /* EXIT                              */
};

struct runtime_opts {
    struct alloc *alloc; /* must be safe from any thread         */
    struct env *env;
    const struct driver_ops *driver;
    uint32_t schedulers;       /* 1 .. SCHEDULERS_MAX                  */
    uint32_t actors_max;       /* 0: RUNTIME_ACTORS_MAX                */
    uint32_t node;             /* this node's number in pids           */
    struct epoch *epoch;       /* NULL: no slots are claimed           */
    const struct route *route; /* NULL: other nodes cannot be reached  */

    /* Optional, called on the actor's scheduler. */
    void (*on_pressure)(void *arg, eg_pid pid, enum pressure now);
    void (*on_trace)(void *arg, const struct trace_event *e);
    void *arg;
};

enum { RUNTIME_ACTORS_MAX = 4 * 1024 * 1024 };

/* EG_MEMORY, or the driver's error: nothing is left. */
EG_MUST_USE eg_err runtime_open(struct runtime **out, const struct runtime_opts *opts);

/* Let the schedulers run.  An error: none runs. */
EG_MUST_USE eg_err runtime_start(struct runtime *rt);

/* End every actor that is left (reason shutdown, terminate is called), each on
 * its own scheduler, and stop the threads.  Blocks.  Stop supervisors before. */
void runtime_stop(struct runtime *rt);

/* Free everything.  Every foreign closed; not running. */
void runtime_close(struct runtime *rt);

uint32_t runtime_schedulers(const struct runtime *rt);
struct scheduler *runtime_scheduler(struct runtime *rt, uint32_t index);
struct registry *runtime_names(const struct runtime *rt); /* unique: actors by name */
struct pubsub *runtime_topics(const struct runtime *rt);
struct env *runtime_env(const struct runtime *rt);
struct alloc *runtime_alloc(const struct runtime *rt);
uint32_t runtime_node(const struct runtime *rt);

/* The scheduler that the calling thread runs now; NULL: none, or another
 * runtime's. */
struct scheduler *runtime_current(const struct runtime *rt);

/* Pids of actors alive, in slot order from `*cursor` (start with 0); at most
 * `max`.  Returns how many; 0: no more.  Never blocks; who comes or goes
 * meanwhile may be missed or listed. */
uint32_t runtime_pids(struct runtime *rt, uint32_t *cursor, eg_pid *out, uint32_t max);
uint32_t runtime_actors(const struct runtime *rt); /* alive now */

/* Switch an actor's tracing.  Takes effect when its scheduler hears of it. */
EG_MUST_USE eg_err runtime_trace(struct runtime *rt, eg_pid pid, bool on);

#endif /* ENGINE_RUNTIME_H */
