/* serial_graph.h -- who must have come before whom, and a circle of them.
 *
 * The shortest circle of the first kind that there is, in this order:
 *
 *     G0         only ww
 *     G1c        ww and wr
 *     G-single   one rw: a transaction read before and after another (read skew)
 *     long fork  several rw, no two of them in a row: two read two writes in different orders
 *     G2-item    several rw: two read what the other is to change (write skew)
 *
 * and the same with rt among them: "G-single in real time" is a read of what is long over.
 *
 * Threads    One.
 * Source     Tarjan 1972.
 */
#ifndef TESTS_SUPPORT_SERIAL_GRAPH_H
#define TESTS_SUPPORT_SERIAL_GRAPH_H

#include "engine/base.h"

enum serial_why { SERIAL_WW, SERIAL_WR, SERIAL_RW, SERIAL_RT };

struct serial_edge {
    uint32_t from, to, key;
    enum serial_why why;
};

struct serial_graph {
    uint32_t nodes; /* 0 .. nodes-1 */
    struct serial_edge *edge;
    uint32_t count, room;
};

/* Nothing where both are the same. */
void serial_graph_add(struct serial_graph *g, uint32_t from, uint32_t to, enum serial_why why,
                      uint32_t key);
/* False: there is no order, and `text` says why.  Its edges are put in another one. */
bool serial_graph_has_order(struct serial_graph *g, char *text, size_t text_bytes);
void serial_graph_fini(struct serial_graph *g);

#endif /* TESTS_SUPPORT_SERIAL_GRAPH_H */
