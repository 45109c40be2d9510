/* router.h -- an operation finds the node that may do it, and its answer the way back.
 *
 *     session --table_message--> here: the shard's mailbox -------------------------> REPLY
 *                            `-> there: [view, table, request] --> its shard --> answer --'
 *                            `-> nobody now: waits for the next view, at most ROUTER_WAIT_MS
 *
 * Every request carries the view it was sent in; a node in another view refuses it, and so
 * does a shard that is no master (any more): what was refused did not happen and is sent
 * again by who took it from the client, until ROUTER_TRY_MS are over (EG_NO_REPLICA, as where
 * no full copy can be reached; EG_NO_MAJORITY, of a majority table, at once where this view
 * has none).  What was sent and got no answer because its node was lost may
 * have happened: EG_IN_DOUBT for changes, sent again for reads.
 *
 * What is of several shards (write_many) is sent again to one that is busy too, as long: others may
 * have done their part.
 *
 * What another node asked for may be done in a view that it is not in, where the shard's master
 * stays while the view changes.  It goes on in the old one, whose copies have not heard of it: a
 * change is in doubt for it, and what was read is refused.
 *
 * A node that has stood still refuses what was asked of it meanwhile: others may have gone on
 * without it, who asked has been told that it is in doubt, and perhaps has written something later,
 * which this would win over.
 *
 * A change is answered when all full copies have said to us that they have it (witness.h), or when
 * who was asked says so, whichever is first.
 *
 * Sessions do not call the router: it is the route of tables/ (tables/route.h), so what asks a
 * table for a message gets one for the router's actor where the shard is not this node's alone.  A
 * call that was sent to the shard itself, and comes to it when the view has just ended, comes here
 * from there.
 */
#ifndef REPLICATION_ROUTER_H
#define REPLICATION_ROUTER_H

#include "engine/runtime.h"
#include "replication/mesh.h"
#include "replication/view.h"
#include "tables/catalog.h"

enum {
    ROUTER_WAIT_MS = 5000,      /* a request without a master to go to                */
    ROUTER_TRY_MS = 15000,      /* one that is refused again and again                */
    ROUTER_MAJORITY_MS = 2500,  /* one to a majority table: EG_NO_MAJORITY            */
    ROUTER_STILL_MS = 500,      /* so long without router_alive(), and we have stood still      */
    ROUTER_LATE_MS = 500,       /* then for so long what arrives may have been said before that */
    ROUTER_PENDING_MAX = 65536, /* requests under way to other nodes: then EG_BUSY    */
};

struct child_spec;
struct router;
struct table_route;
struct witness_ops;

struct router_opts {
    struct alloc *alloc;
    struct runtime *runtime;
    struct catalog *catalog;
    uint64_t self;
    uint32_t scheduler; /* the mesh's */
    /* Who orders the writes of this shard in the present view; 0: nobody can.  In a section. */
    uint64_t (*master)(void *user, const struct table *t, uint32_t shard);
    struct view_id (*view)(void *user);            /* of now; any thread */
    bool (*is_with_us)(void *user, uint64_t node); /* in that view; on the scheduler above */
    eg_err (*send)(void *user, uint64_t to, struct value payload); /* mesh_send() on MESH_REQUEST */
    /* A change of the schema as a message for who makes it everywhere.  EG_AGAIN: this node
     * alone, by its catalog; NULL: always so. */
    eg_err (*schema)(void *user, const struct catalog_request *q, eg_pid *to, struct message **out);
    void *user;
};

EG_MUST_USE eg_err router_open(struct router **out, const struct router_opts *o);
/* Its actor, for a supervisor: it begins with that. */
void router_child(struct router *r, struct child_spec *out);
/* What catalog_set_route() takes. */
struct table_route *router_route(struct router *r);
/* What replica_opts.witness takes, with the router as its user; any thread. */
const struct witness_ops *router_witness(void);
/* The actor has ended and nobody asks any more. */
void router_close(struct router *r);

/* What the mesh and the views say: on their scheduler. */
void router_receive(struct router *r, uint64_t from, struct value payload);
/* Its link is lost, or it is left out of the view and its link only looks well. */
void router_node_down(struct router *r, uint64_t id);
void router_view_changed(struct router *r);
/* Time passes, at least every ROUTER_STILL_MS. */
void router_alive(struct router *r);

#endif /* REPLICATION_ROUTER_H */
