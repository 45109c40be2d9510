/* cluster.h -- one node's part in its cluster, put together: the only header that query/ and
 * node/ need beside router.h.
 *
 *     mesh (links) --> swim (who is there) --> views (who acts together) --> replicas (copies)
 *                                                    schema (what tables there are), router
 *
 * All of it runs as one actor, "cluster", and its hook, on one scheduler; what shards and sessions
 * ask is read from what it publishes.
 *
 * Start      A node is in a view of its own at once and serves; others are met in the
 *            background.  Members and the epoch are remembered on disc.
 * Threads    Any, except open and close (none of the schedulers').
 */
#ifndef REPLICATION_CLUSTER_H
#define REPLICATION_CLUSTER_H

#include "replication/mesh.h"
#include "replication/router.h"

struct cluster;
struct disc;

struct cluster_opts {
    struct alloc *alloc;
    struct env *env;
    struct runtime *runtime;
    struct catalog *catalog;
    struct disc *disc; /* NULL: RAM only */
    eg_err (*net_open)(struct stream_net **out, struct alloc *a, struct scheduler *s);
    const char *name;
    const char *const *listen;
    uint32_t listen_count;
    const char *advertise; /* NULL: the first listener's address */
    const char *const *join;
    uint32_t join_count;
    const void *cookie;
    uint32_t cookie_bytes;
    uint32_t weight; /* 0: NODE_WEIGHT_USUAL */
};

EG_MUST_USE eg_err cluster_open(struct cluster **out, const struct cluster_opts *o,
                                struct err_note *note);
/* Tells the others that it goes down (not away), ends all links.  Blocks. */
void cluster_close(struct cluster *c);

struct router *cluster_router(struct cluster *c);
const char *cluster_address(const struct cluster *c, uint32_t number); /* as bound; NULL: no more */

/* Append {node, view, members: [{name, address, state, ...}], ...}.  Never waits. */
EG_MUST_USE eg_err cluster_status(struct cluster *c, struct buffer *out);

/* What is asked of the cluster's actor by a MESSAGE_CALL; the REPLY is `true`, or an error with its
 * text.  JOIN: value is the address; EG_BAD_REQUEST: it is our own.  REMOVE: the name;
 * EG_NOT_FOUND; EG_BAD_REQUEST: it is up, or holds the last copy of something.  CREATE ... : a
 * change of the schema, on all nodes that it needs (schema_sync.h), value as catalog_request packs
 * it. */
enum cluster_op { CLUSTER_JOIN, CLUSTER_LEAVE, CLUSTER_REMOVE, CLUSTER_SCHEMA };
EG_MUST_USE eg_err cluster_send(struct cluster *c, eg_pid from, uint64_t ref, enum cluster_op op,
                                struct value value);
/* A change of the schema, in the whole cluster: as catalog_send(). */
EG_MUST_USE eg_err cluster_send_schema(struct cluster *c, eg_pid from, uint64_t ref,
                                       const struct catalog_request *q);

#endif /* REPLICATION_CLUSTER_H */
