/* cluster.h -- one node's part in its cluster, put together.
 *
 *     mesh (links) --> swim (who is there) --> views (who acts together) --> replicas (copies)
 *                                                    `--> schema_sync (what tables there are),
 * router
 *
 * The machines are plain structs; what moves them is the mesh's turn and one actor, "cluster", both
 * on scheduler CLUSTER_SCHEDULER.  The router is an actor beside it.  What shards and
 * sessions need of all this they get through tables/route.h.
 *
 * Start      A node is in a view of its own at once and serves; others are met in the
 *            background.
 * Threads    Any, except open and close (none of the schedulers').
 */
#ifndef REPLICATION_CLUSTER_H
#define REPLICATION_CLUSTER_H

#include "replication/mesh.h"
#include "tables/catalog.h"

struct cluster;
struct remote;
struct disc;
struct tx_managers;

enum {
    CLUSTER_SCHEDULER = 0,
    CLUSTER_LEAVE_MS = 30 * 1000, /* for others to have all that a node has that leaves */
};

struct cluster_opts {
    struct alloc *alloc;
    struct env *env;
    struct runtime *runtime; /* running */
    struct epoch *epoch;
    struct catalog *catalog;          /* open */
    struct disc *disc;                /* NULL: RAM only */
    struct tx_managers *transactions; /* NULL: there are none; it outlives the cluster's stop */
    eg_err (*net_open)(struct stream_net **out, struct alloc *a, struct scheduler *s);
    const char *name;
    const char *const *listen;
    uint32_t listen_count;
    const char *advertise; /* NULL: the first listener's address */
    const char *const *join;
    uint32_t join_count;
    const void *cookie; /* NULL: none */
    uint32_t cookie_bytes;
    uint32_t weight;         /* 0: NODE_WEIGHT_USUAL */
    uint64_t scrub_every_ms; /* copies are compared so often; 0: once a day (scrub.h) */
};

/* Begin to listen and to meet others.  From here on changes of the schema and writes to tables
 * with other copies go through the cluster. */
EG_MUST_USE eg_err cluster_open(struct cluster **out, const struct cluster_opts *o,
                                struct err_note *note);
/* Tell the others that it goes down (not away), end all links.  Blocks.  Nobody asks any more, and
 * shards go on alone. */
void cluster_stop(struct cluster *c);
/* Free it: the catalog is closed. */
void cluster_close(struct cluster *c);

struct remote *cluster_remote(struct cluster *c);
const char *cluster_address(const struct cluster *c, uint32_t number); /* as bound; NULL: no more */
struct mesh_stats cluster_links(const struct cluster *c);

/* How many records of damaged copies were written anew since the start (scrub.h); any thread. */
uint64_t cluster_mended(const struct cluster *c);

/* What may be asked of the cluster's actor by a MESSAGE_CALL. */
enum cluster_op {
    CLUSTER_STATUS, /* the map of cluster_status                                           */
    CLUSTER_JOIN,   /* an address: true; EG_BAD_REQUEST: it is our own                      */
    CLUSTER_LEAVE,  /* true, once others have all that it had; EG_NO_REPLICA: they had not in time
                       (0: CLUSTER_LEAVE_MS), and it stays; `force`: at once                */
    CLUSTER_REMOVE, /* a name: true; EG_NOT_FOUND; EG_BAD_REQUEST: it is up; or nobody else has all
                       of some table, without `force`                                       */
    CLUSTER_SCRUB,  /* true: all copies are compared from now on; cluster_status says how far */
    CLUSTER_SCHEMA, /* a catalog_request as catalog_message_here() packs it: its own answer */
};
struct cluster_question {
    enum cluster_op op;
    bool force;
    uint64_t timeout_ms;
    const char *text; /* the address or the name */
    size_t text_bytes;
};
/* The CALL as a message, for those who send it themselves. */
EG_MUST_USE eg_err cluster_message(struct cluster *c, const struct cluster_question *q, eg_pid *to,
                                   struct message **out);

#endif /* REPLICATION_CLUSTER_H */
