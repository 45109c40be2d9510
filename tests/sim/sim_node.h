/* sim_node.h -- a whole node of a simulated cluster: what node/node.c puts together, on the
 * simulator's seams, and what can happen to a machine.
 *
 *     DOWN --start--> UP --stop--> DOWN       in order: nothing may be left of it
 *                      |--kill--> DOWN       its process is gone, its kernel and its disc are not
 *                      '--power loss--> DOWN  and what was not synced may be lost
 *
 * Its clients' port is HOST:7340, that of other nodes HOST:7341; the host has its name.
 *
 * Threads    One: the test's own, which gives the world its steps while it waits.
 */
#ifndef TESTS_SIM_SIM_NODE_H
#define TESTS_SIM_SIM_NODE_H

#include "query/server.h"
#include "tables/catalog.h"
#include "tests/sim/sim_heap.h"
#include "tests/sim/sim_mail.h"
#include "tests/sim/sim_net.h"
#include "tests/support/disc_pump.h"

enum { SIM_NODE_NAME_BYTES = 16, SIM_ADDRESS_BYTES = 32, SIM_JOINS_MAX = 8 };

struct cluster;
struct tx_managers;

struct sim_node_opts {
    const char *name;
    uint64_t seed;
    uint32_t schedulers; /* 1 .. 3 */
    bool has_disc;
    uint64_t disc_delay_ms;          /* of a group of writes */
    uint64_t graves_bytes_max;       /* 0: as usual          */
    const char *join[SIM_JOINS_MAX]; /* addresses, until NULL; must outlive the node */
};

struct sim_node {
    struct sim *sim;
    struct sim_net *net;
    struct sim_node_opts o;
    char name[SIM_NODE_NAME_BYTES];
    char client_address[SIM_ADDRESS_BYTES], peer_address[SIM_ADDRESS_BYTES];
    uint32_t host, starts;
    bool up;
    uint64_t mended; /* by earlier starts (cluster_mended()) */
    struct sim_env env;
    struct sim_heap heap, disc_heap;
    struct disc_pump pump;
    struct disc_twin *old; /* a copy of its disc; NULL: none */
    struct sim_mail mail;  /* what its copies are told */
    struct epoch *epoch;
    struct runtime *runtime;
    struct memory_budget budget;
    struct catalog *catalog;
    struct tx_managers *transactions;
    struct cluster *cluster;
    struct server *server;
};

/* A machine with a disc that is empty; nothing runs. */
void sim_node_init(struct sim_node *n, struct sim *s, struct sim_net *net,
                   const struct sim_node_opts *o);
void sim_node_fini(struct sim_node *n); /* down */

/* Records that were found damaged, and written anew: none should be. */
uint64_t sim_node_mended(const struct sim_node *n);

/* Open all of it; the world goes on meanwhile. */
void sim_node_start(struct sim_node *n);
/* In order.  False: something of it was left behind, and has been reclaimed. */
EG_MUST_USE bool sim_node_stop(struct sim_node *n);
void sim_node_kill(struct sim_node *n);
void sim_node_lose_power(struct sim_node *n);
void sim_node_wipe(struct sim_node *n); /* its disc, of one that is down */
/* Its disc as it is now, and of one that is down: that is its disc again. */
void sim_node_copy_disc(struct sim_node *n);
void sim_node_put_back_disc(struct sim_node *n);

/* Nothing of it runs for so long. */
void sim_node_pause(struct sim_node *n, uint64_t ms);

/* The view that it serves in now, as a number that is equal on its members and on no others; 0:
 * none.  And how many members that has. */
uint64_t sim_node_view(const struct sim_node *n);
uint32_t sim_node_view_count(const struct sim_node *n);

#endif /* TESTS_SIM_SIM_NODE_H */
