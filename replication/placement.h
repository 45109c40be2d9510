/* placement.h -- which nodes hold which part of a table: weighted rendezvous hashing.
 *
 * A table group is cut into 256 partitions; shard i of a table with S shards is that of
 * partition i * 256 / S.  Every node computes the same order of nodes for a partition from
 * the list of members that are not removed (also those that are down: a node that restarts
 * finds its copies where they were), so there is nothing to agree on.  Tables of one group
 * have equal keys' shards on the same nodes.
 *
 *     score(node, partition) = -weight / ln(hash(node, partition) / 2^64)     greatest first
 *
 * Adding a node moves only what the node gets, removing one only what it had.
 *
 * Source     Thaler and Ravishankar 1998; weights after Schindelhauer and Schomaker 2005.
 */
#ifndef REPLICATION_PLACEMENT_H
#define REPLICATION_PLACEMENT_H

#include "replication/node_info.h"

enum { PLACEMENT_PARTITIONS = 256 };

struct placement_node {
    uint64_t id;
    uint32_t weight; /* 0: it holds nothing */
    bool eligible;   /* may hold this kind of table (disc tables: it has a disc)     */
    bool standing;   /* it is in the view, or has not been away for long: else the next
                        one stands in for it                                       */
};

/* The partition of a shard. */
static inline uint32_t placement_partition(uint32_t shard, uint32_t shards) {
    return shard * PLACEMENT_PARTITIONS / shards;
}

/* Put the ids of the copies of a partition into `out`, best first: at most `copies` (0: all) of
 * the eligible, and behind them a stand-in for each of these that is not standing: *placed_count
 * of them are placed, the others stand in.  Returns how many in all. */
uint32_t placement_copies(const struct placement_node *nodes, uint32_t count, uint64_t group,
                          uint32_t partition, uint32_t copies, uint64_t out[NODES_MAX],
                          uint32_t *placed_count);

#endif /* REPLICATION_PLACEMENT_H */
