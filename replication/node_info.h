/* node_info.h -- who a node says it is.
 *
 * A name is unique in a cluster and stays with its node over restarts; an incarnation is one
 * start of it.  Inside a cluster a node is spoken of by its `id`, the hash of its name: the
 * same on every node without being agreed on.  On the wire an info is
 *
 *     [name, incarnation, address, has_disc, weight]
 *
 * incarnation  Greater than every earlier one of the name: wall milliseconds << 16 at the
 *              start, or the last one known to anybody + 1 where the clock went back.
 */
#ifndef REPLICATION_NODE_INFO_H
#define REPLICATION_NODE_INFO_H

#include "engine/err.h"
#include "engine/stream.h"
#include "tables/value.h"

enum {
    NODE_INFO_NAME_BYTES = 64, /* with its end */
    NODE_WEIGHT_USUAL = 100,   /* its share of what is placed, beside the others' */
    NODE_WEIGHT_MAX = 10000,
    NODES_MAX = 50, /* that are not removed: links are a full mesh */
};

struct node_info {
    uint64_t id;
    uint64_t incarnation;
    uint32_t weight;
    bool has_disc; /* it may hold copies of disc tables */
    char name[NODE_INFO_NAME_BYTES];
    char address[STREAM_ADDRESS_BYTES]; /* where others dial it */
};

/* The id that goes with a name; never 0. */
uint64_t node_id_of(const char *name);

void node_info_put(const struct node_info *info, struct value_writer *w);
/* From outside: EG_BAD_REQUEST, and *out is undefined. */
EG_MUST_USE eg_err node_info_get(struct node_info *out, struct value v);

#endif /* REPLICATION_NODE_INFO_H */
