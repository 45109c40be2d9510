/* sim_tx_look.h -- who looks at both records of a transaction, one after the other.
 *
 * In place where that may be told, else by asking the shard, as every program does.  Who has found
 * the first finds the second: a transaction is done at one moment for all who look at one node,
 * whatever nodes its shards are at.  That is promised in the view in which it began.
 *
 * Threads    One.
 */
#ifndef TESTS_SIM_SIM_TX_LOOK_H
#define TESTS_SIM_SIM_TX_LOOK_H

#include "tests/sim/sim_node.h"

struct tx_look {
    struct sim_node *node;
    uint32_t start; /* of the node                            */
    uint64_t view;  /* in which the first was found           */
    uint64_t began; /* in which view the transaction began     */
    uint64_t key[2];
    uint32_t at; /* which of them is looked for            */
    bool over;
    bool half; /* the first was there, the second was not */
};

/* From here on until `over`, or its node has gone. */
void tx_look_begin(struct tx_look *l);

#endif /* TESTS_SIM_SIM_TX_LOOK_H */
