/* router.h -- an operation finds the node that may do it, and its answer the way back.
 *
 *     session --router_send--> here: the shard's mailbox -------------------------> REPLY
 *                          `-> there: [view, table, request] --> its shard --> answer --'
 *                          `-> nobody now: waits for the next view, at most ROUTER_WAIT_MS
 *
 * Every request carries the view it was sent in; a node in another view refuses it, and so
 * does a shard that is no master (any more): what was refused did not happen and is sent
 * again by who took it from the client, until its time is over (EG_BUSY, or EG_NO_REPLICA where
 * no full copy can be reached).  What was sent and got no answer because its node was lost may
 * have happened: EG_IN_DOUBT for changes, sent again for reads.
 *
 * Threads    Any, inside a reader section.
 */
#ifndef REPLICATION_ROUTER_H
#define REPLICATION_ROUTER_H

#include "replication/mesh.h"
#include "replication/replica.h"
#include "tables/table.h"

enum {
    ROUTER_WAIT_MS = 5000,      /* a request without a master to go to                */
    ROUTER_PENDING_MAX = 65536, /* requests under way to other nodes: then EG_BUSY    */
};

struct router;

struct router_opts {
    struct alloc *alloc;
    struct env *env;
    struct runtime *runtime;
    struct catalog *catalog;
    struct replicas *replicas;
    uint64_t self;
    eg_err (*send)(void *user, uint64_t to, struct value payload); /* mesh_send() */
    void *user;
    uint32_t scheduler; /* the mesh's */
};

EG_MUST_USE eg_err router_open(struct router **out, const struct router_opts *o);
void router_close(struct router *r);
void router_receive(struct router *r, uint64_t from, struct value payload);
void router_node_down(struct router *r, uint64_t id);
void router_view_changed(struct router *r);

/* May a read of this key be answered from this node's memory? */
bool router_reads_here(struct router *r, const struct table *t, const struct key *k);

/* As table_send(), wherever the shard is: the REPLY comes to `from` with `ref`. */
EG_MUST_USE eg_err router_send(struct router *r, struct table *t, eg_pid from, uint64_t ref,
                               const struct shard_request *q, struct err_note *note);

/* A whole method of the wire (select, size, first ...), for a table that this node has not all
 * of: done by a node that has, or by several, each for its shards (rpc side: query/rpc_away.h). */

#endif /* REPLICATION_ROUTER_H */
