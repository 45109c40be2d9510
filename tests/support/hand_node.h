/* hand_node.h -- a serving node of one thread, moved by hand.
 *
 * Runtime, catalog and server on a virtual clock and a network in memory.  Whoever
 * waits (opening, closing) moves the node itself until what it waits for is there.
 *
 *     struct hand_node n;
 *     hand_node_open(&n, &(struct hand_node_opts){0});
 *     struct memory_client *c = memory_dial(&n.net);
 *     memory_send(c, ...);
 *     hand_node_run(&n);                  // until nothing moves
 *     ... c->received ...
 *     hand_node_close(&n);
 */
#ifndef TESTS_SUPPORT_HAND_NODE_H
#define TESTS_SUPPORT_HAND_NODE_H

#include "engine/env.h"
#include "engine/epoch.h"
#include "engine/runtime.h"
#include "query/server.h"
#include "tables/catalog.h"
#include "tests/support/memory_net.h"

struct tx_managers;

struct hand_node_opts {
    uint32_t connections_max;
    uint64_t frame_max_bytes;
    uint64_t input_max_bytes;
    struct alloc *server_alloc; /* NULL: the system's */
    bool transactions;          /* it has managers of them */
    uint32_t schedulers;        /* 0: one.  Of several, only clients of the first may speak */
};

struct hand_node {
    struct env env;
    uint64_t now_ns;
    uint64_t look_ns; /* that pass with each look at the clock; 0 at first */
    uint64_t random;
    struct epoch *epoch;
    struct runtime *runtime;
    struct memory_budget budget;
    struct catalog *catalog;
    struct tx_managers *managers; /* NULL: none */
    struct server *server;
    struct memory_net net;
};

void hand_node_open(struct hand_node *n, const struct hand_node_opts *o);
void hand_node_close(struct hand_node *n); /* every client hung up */

/* One turn of one scheduler.  True: it is not idle. */
bool hand_node_turn(struct hand_node *n, uint32_t scheduler);
/* One turn of everything.  True: something moved. */
bool hand_node_move(struct hand_node *n);
/* Until nothing moves. */
void hand_node_run(struct hand_node *n);
/* Let time pass, in steps, moving in between. */
void hand_node_pass(struct hand_node *n, uint64_t ms);

#endif /* TESTS_SUPPORT_HAND_NODE_H */
