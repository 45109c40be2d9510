/* server_private.h -- what workers and sessions share across schedulers. */
#ifndef QUERY_SERVER_PRIVATE_H
#define QUERY_SERVER_PRIVATE_H

#include "query/rpc_method.h"
#include "query/worker.h"

#include <stdatomic.h>

struct waiter;

/* Answers that all clients together leave unread; or answers_max_bytes, if less. */
enum { SERVER_OUTPUT_MAX = 256 << 20 };

struct server {
    struct server_opts opts; /* bounds are never 0 here */
    struct rpc_methods methods;
    _Atomic uint32_t connections;  /* open, unwelcome ones not counted */
    _Atomic uint64_t held_bytes;   /* of unfinished and waiting frames */
    _Atomic uint64_t unread_bytes; /* of answers with streams that do not take them */
    _Atomic uint64_t tasks_bytes;  /* of results in the making, and what is kept for them */
    _Atomic uint32_t subscriptions;
    _Atomic uint32_t transactions; /* open */
    _Atomic uint64_t overload_told_ns;
    _Atomic uint32_t workers_open;
    uint64_t started_ns;
    uint32_t next_worker; /* where the next connection goes */

    struct waiter *waiter;        /* open and close sleep here */
    _Atomic uint32_t outstanding; /* steps of open or close not done yet, and their waker */
    eg_err err;                   /* of open; written by worker 0's scheduler */
    struct err_note note;

    struct stream_listener *listener[SERVER_LISTENERS_MAX];
    uint32_t listener_count;
    uint32_t worker_count;
    struct worker worker[]; /* one a scheduler */
};

/* One step of open or close is done. */
void server_step_done(struct server *s);
/* Tell those who watch the node that clients are turned away, once a second at most. */
void server_tell_overload(struct server *s, const char *what, const char *reason);
/* A worker that drains has no session left. */
void server_worker_empty(struct server *s, struct worker *w);

#endif /* QUERY_SERVER_PRIVATE_H */
