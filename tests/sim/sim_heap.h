/* sim_heap.h -- the memory of one simulated node, which a loss of power takes all at once.
 *
 * Knows every block and region that it has given, so that a node that vanished in the middle
 * of whatever it did leaves nothing behind; says what is live, so that one that stopped in
 * order can be asked; and refuses requests by chance, where a test wants that.
 *
 * Memory     Do not copy it once &heap.base has been handed out.
 * Threads    One.
 */
#ifndef TESTS_SIM_SIM_HEAP_H
#define TESTS_SIM_SIM_HEAP_H

#include "engine/alloc.h"
#include "engine/list.h"
#include "tests/support/rng.h"

struct sim_heap {
    struct alloc base;
    struct list_node blocks, regions;
    struct rng rng;
    uint32_t refuse_one_in; /* requests; 0: none */
    uint32_t live;          /* blocks and regions */
    size_t live_bytes;      /* of blocks         */
    uint64_t requests, refused;
};

void sim_heap_init(struct sim_heap *h, uint64_t seed);
/* Everything that is live is gone. */
void sim_heap_reclaim(struct sim_heap *h);

#endif /* TESTS_SIM_SIM_HEAP_H */
