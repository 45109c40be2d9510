/* subscription.h -- what a connection watches, and the events it is sent.
 *
 *     watcher --ready--> worker.eventful --a slice a turn--> session's output
 *                           ^                                   | full
 *                           '------------ read by the client <--' stalled
 *
 * A worker gives each subscription that has something a slice in turn, between its other
 * work.  A connection that has unread output enough gets no more of it: its events wait
 * in the watcher's queue, whose bound is the only one that a client can fill, and what
 * does not fit there is a gap or, where it was asked for, the end of the connection.
 *
 * Threads    Its worker's scheduler.
 */
#ifndef QUERY_SUBSCRIPTION_H
#define QUERY_SUBSCRIPTION_H

#include "query/rpc_method.h"

enum {
    SUBSCRIPTIONS_SESSION_MAX = 256,    /* of one connection; then EG_BUSY          */
    SUBSCRIPTIONS_NODE_MAX = 16 * 1024, /* of all; then EG_BUSY                     */
    SUBSCRIPTION_SLICE_EVENTS = 256,    /* of one subscription before the next */
    SUBSCRIPTION_LOOK_EVENTS = 32,      /* between two looks at the clock */
    SUBSCRIPTION_TURN_NS = 500 * 1000,  /* of one turn, for all together */
};

/* Send what can be sent.  True: there is more to do. */
EG_MUST_USE bool subscription_run_all(struct worker *w);
/* The client has read: go on. */
void subscription_resume(struct session *s);
/* The end of a connection. */
void subscription_end_all(struct session *s);

#endif /* QUERY_SUBSCRIPTION_H */
