/* cut_shape.c -- nodes in a drawn order, and who of them sees whom. */
#include "tests/sim/cut_shape.h"

uint32_t cut_pair(uint32_t a, uint32_t b) {
    uint32_t low = EG_MIN(a, b), high = EG_MAX(a, b);

    EG_ASSERT(low < high && high < CUT_NODES_MAX);
    return UINT32_C(1) << (high * (high - 1) / 2 + low);
}

uint32_t cut_node(uint32_t node, uint32_t nodes) {
    uint32_t pairs = 0;

    for (uint32_t i = 0; i < nodes; i++)
        if (i != node)
            pairs |= cut_pair(i, node);
    return pairs;
}

/* Do those at these places see each other?  `middle`: of CUT_ANY, where the sides meet. */
static bool sees(enum cut_shape shape, uint32_t nodes, uint32_t middle, uint32_t a, uint32_t b) {
    uint32_t apart = EG_MAX(a, b) - EG_MIN(a, b), half = nodes / 2;

    switch (shape) {
    case CUT_HALVES:
        return (a < half) == (b < half);
    case CUT_ONE_OUT:
        return a != 0 && b != 0;
    case CUT_RING: /* so near that 2 of that and itself are more than half */
        return EG_MIN(apart, nodes - apart) <= (nodes / 2 + 1) / 2;
    case CUT_BRIDGE:
        return a == half || b == half || (a < half) == (b < half);
    case CUT_ANY:
        break;
    }
    return (a < middle) == (b < middle);
}

uint32_t cut_draw(enum cut_shape shape, uint32_t nodes, struct rng *r) {
    uint32_t place[CUT_NODES_MAX], pairs = 0;
    uint32_t middle = nodes < 2 ? 0 : 1 + (uint32_t) rng_below(r, nodes - 1);

    EG_ASSERT(nodes <= CUT_NODES_MAX);
    for (uint32_t i = 0; i < nodes; i++) {
        uint32_t at = (uint32_t) rng_below(r, i + 1);
        place[i] = place[at];
        place[at] = i;
    }
    for (uint32_t a = 0; a < nodes; a++)
        for (uint32_t b = a + 1; b < nodes; b++)
            if (!sees(shape, nodes, middle, place[a], place[b]))
                pairs |= cut_pair(a, b);
    return pairs;
}
