/* sim_schema.h -- clients that make, change and drop tables while the nemesis does its work.
 *
 * Tables of their own (s0, s1, ...), which they also write, clear and index.  What they hear is of
 * no interest; afterwards all nodes must know the same tables, in one shape, and whole copies of
 * them must have the same records.
 *
 * Threads    One.
 */
#ifndef TESTS_SIM_SIM_SCHEMA_H
#define TESTS_SIM_SIM_SCHEMA_H

#include "tests/sim/sim_client.h"
#include "tests/sim/sim_node.h"
#include "tests/support/rng.h"

enum { SCHEMERS = 3 };

struct schemer {
    struct sim_schema *world;
    struct sim_client client;
    struct rng rng;
    struct sim_event think;
};

struct sim_schema {
    struct sim *sim;
    struct sim_node *node;
    uint32_t nodes;
    uint64_t think_ms;
    bool quiet;
    struct schemer schemer[SCHEMERS];
    uint32_t done, refused;
};

void sim_schema_start(struct sim_schema *x, struct sim *s, struct sim_net *net, uint64_t seed,
                      struct sim_node *node, uint32_t nodes, uint64_t think_ms);
void sim_schema_stop(struct sim_schema *x); /* the world goes on a while */

/* False: `text` says what differs. */
bool sim_schema_agrees(struct sim_schema *x, char *text, size_t text_bytes);

#endif /* TESTS_SIM_SIM_SCHEMA_H */
