/* cut_shape.h -- which pairs of nodes a cut parts.
 *
 *     halves      a b | c d e            no majority of all where they are even
 *     one out     a | b c d e
 *     ring        each sees those next to it, a majority with itself, and no two see the same
 *     bridge      a b - c - d e          one sees all, the others their own side and it
 *
 * A set of pairs is a number: cut_pair() is the bit of one.
 *
 * Threads    Pure.
 */
#ifndef TESTS_SIM_CUT_SHAPE_H
#define TESTS_SIM_CUT_SHAPE_H

#include "engine/base.h"
#include "tests/support/rng.h"

enum { CUT_NODES_MAX = 8 }; /* 28 pairs */

enum cut_shape { CUT_HALVES, CUT_ONE_OUT, CUT_RING, CUT_BRIDGE, CUT_ANY };

uint32_t cut_pair(uint32_t a, uint32_t b); /* two nodes, in any order */
/* All that go to or from a node. */
uint32_t cut_node(uint32_t node, uint32_t nodes);
/* The nodes' places in it are drawn.  0: there is none of so few nodes. */
uint32_t cut_draw(enum cut_shape shape, uint32_t nodes, struct rng *r);

#endif /* TESTS_SIM_CUT_SHAPE_H */
