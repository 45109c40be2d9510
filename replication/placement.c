/* placement.c -- the order of nodes for a partition, by whole numbers only.
 *
 * The formula's logarithm decides where records lie, so it must be the same on every node,
 * whatever built it: -log2 is taken in whole numbers, one squaring a bit, and two nodes are
 * compared by cross multiplication.  The base of the logarithm does not change the order. */
#include "replication/placement.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    COST_BITS = 24, /* behind the point: the best of 50 nodes lies near 1/50 */
    HASHED_BYTES = 24,
};
_Static_assert(64ull << COST_BITS <= UINT64_MAX / NODE_WEIGHT_MAX, "products fit");

struct candidate {
    const struct placement_node *node;
    uint64_t cost; /* -log2(hash / 2^64): exponential, so the least of weighted ones is fair */
};

static void put_le64(uint8_t *at, uint64_t n) {
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t) (n >> (8 * i));
}

static uint64_t hash_of(uint64_t node, uint64_t group, uint32_t partition) {
    uint8_t at[HASHED_BYTES];

    put_le64(at, node);
    put_le64(at + 8, group);
    put_le64(at + 16, partition);
    return XXH3_64bits(at, sizeof at);
}

static uint64_t cost_of(uint64_t hash) {
    uint32_t whole;
    uint64_t fraction = 0;
    uint64_t x; /* 1 <= x / 2^31 < 2 */

    hash |= 1; /* 0 has no logarithm */
    whole = 63 - (uint32_t) __builtin_clzll(hash);
    x = hash << (63 - whole) >> 32;
    for (int i = 0; i < COST_BITS; i++) {
        x = x * x >> 31;
        fraction <<= 1;
        if (x >> 32 != 0) {
            fraction |= 1;
            x >>= 1;
        }
    }
    return (UINT64_C(64) << COST_BITS) - ((uint64_t) whole << COST_BITS | fraction);
}

static bool is_better(const struct candidate *a, const struct candidate *b) {
    uint64_t left = a->cost * b->node->weight;
    uint64_t right = b->cost * a->node->weight;
    return left != right ? left < right : a->node->id < b->node->id;
}

/* The eligible ones, best first. */
static uint32_t candidates_of(const struct placement_node *nodes, uint32_t count, uint64_t group,
                              uint32_t partition, struct candidate out[NODES_MAX]) {
    uint32_t used = 0;

    for (uint32_t i = 0; i < count; i++) {
        struct candidate c = {&nodes[i], cost_of(hash_of(nodes[i].id, group, partition))};
        uint32_t at = used;

        if (!nodes[i].eligible || nodes[i].weight == 0)
            continue;
        EG_ASSERT(nodes[i].weight <= NODE_WEIGHT_MAX);
        for (; at > 0 && is_better(&c, &out[at - 1]); at--)
            out[at] = out[at - 1];
        out[at] = c;
        used++;
    }
    return used;
}

uint32_t placement_copies(const struct placement_node *nodes, uint32_t count, uint64_t group,
                          uint32_t partition, uint32_t copies, uint64_t out[NODES_MAX],
                          uint32_t *placed_count) {
    struct candidate best[NODES_MAX];
    uint32_t used, placed, away = 0, all;

    EG_ASSERT(count <= NODES_MAX);
    EG_ASSERT(partition < PLACEMENT_PARTITIONS);
    used = candidates_of(nodes, count, group, partition, best);
    placed = copies == 0 || copies > used ? used : copies;
    for (uint32_t i = 0; i < placed; i++) {
        out[i] = best[i].node->id;
        away += !best[i].node->standing;
    }
    all = placed;
    for (uint32_t i = placed; i < used && away > 0; i++) {
        if (best[i].node->standing) {
            out[all++] = best[i].node->id;
            away--;
        }
    }
    *placed_count = placed;
    return all;
}
