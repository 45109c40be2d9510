/* replica.h -- the copies of a shard: one stream of changes, from its master to the others.
 *
 *     client --> master's shard: validate, stamp, store  --CHANGES--> copies: apply
 *        <-- answer when every full copy of the view has said <--COVERED--'
 *
 * A table's shard has one role on a node at a time (tables/shard_copy.h), set from the view:
 *
 *     ALONE    no other copy is full, or one's word is enough (acks: 1): as without a cluster
 *     MASTER   orders the writes; answers wait for the full copies (unless acks is 1)
 *     FULL     has everything acknowledged: reads here; writes go to the master
 *     FILLING  follows, and lacks something still: everything goes elsewhere
 *     AWAY     no copy here
 *     STOPPED  between two views: nothing is granted
 *
 * There is one way in which a copy gets what it lacks, whatever the reason: it follows.
 *
 *     FOLLOW(my clock) --> MISSING ... MISSING (records and deletes not in that clock), END(clock)
 *                      --> CHANGES ... as they happen
 *
 * A copy that has followed its master to the END, and what was told meanwhile, is full and says
 * so; the master counts it from then on and says so too; only then does it serve reads.  The
 * master itself follows each other copy once, to have what only they had, and those of its own
 * lineage before it serves (replica_plan.h).  A new view
 * between equals is one exchange of clocks; a node that was away gets just what it missed, found
 * among the last changes where it was away for a short time (tables/recent.h), else by a walk, and
 * by a comparison where its clock is not all of what it has (feed_compare.h); an
 * empty one gets all, a piece at a time, while reads and writes go on.  The rate is bounded by what
 * the link has not acknowledged, so that it yields to the foreground.
 *
 * Answers that wait when a view ends are given in the next where the master stays (of a majority
 * table: and nobody can have gone on without it), by its copies; else they are in doubt.
 *
 * A clock is merged only when all it stands for has been applied (shard_clock.h).
 *
 * Threads    replica_receive(), replica_stop(), replica_install(): the mesh's scheduler.
 *            What shards say: their owners, on any.
 */
#ifndef REPLICATION_REPLICA_H
#define REPLICATION_REPLICA_H

#include "engine/runtime.h"
#include "replication/mesh.h"
#include "replication/replica_plan.h"
#include "replication/scrub.h"
#include "replication/witness.h"
#include "tables/catalog.h"

enum {
    REPLICA_BATCH_BYTES = 256 << 10, /* of one MISSING or CHANGES, unless one record is larger */
    REPLICA_AHEAD_BYTES = 4 << 20,   /* of MISSING on a link, not acknowledged                 */
    REPLICA_FILLS = 2,               /* shards that fill at once, from one node                */
};

struct replicas;

struct replica_opts {
    struct alloc *alloc;
    struct env *env;
    struct runtime *runtime;
    struct catalog *catalog;
    struct disc *disc;                                             /* NULL: none */
    uint32_t scheduler;                                            /* the mesh's */
    uint64_t self;                                                 /* node id    */
    eg_err (*send)(void *user, uint64_t to, struct value payload); /* mesh_send(), any thread */
    bool (*packs)(void *user, uint64_t to); /* does it know packets (packet.h)?  NULL: nobody */
    uint64_t (*pending_bytes)(void *user, uint64_t to);
    const struct witness_ops *witness; /* with `user`; NULL: copies answer no requests themselves */
    /* The reports of the next view will differ: some shard has become full. */
    void (*progress)(void *user);
    void (*stopped)(void *user, struct view_id proposed); /* after replica_stop() */
    /* For people and watchers: so many of this node's shards are "filling"; all are "full". */
    void (*event)(void *user, const char *state, uint64_t shards);
    uint64_t scrub_every_ms; /* copies are compared so often; 0: once a day (scrub.h) */
    /* The electorate is another from now on: to be remembered.  EG_BUSY, EG_MEMORY: not yet. */
    eg_err (*elect)(void *user, const struct electorate *e);
    const struct electorate *electorate; /* as it was remembered; NULL: none */
    /* It has been in a view of all members: from now on what it does not know was never there
     * (replica_plan.h).  To be remembered as well, with the memory of tables. */
    void (*remember)(void *user);
    bool remembers; /* as it was remembered */
    /* What became of a part of a transaction that is prepared here?  Any thread, in a section. */
    void (*doubt)(void *user, struct table *t, uint32_t shard, struct value head);
    /* The name of a node that is linked, or ""; any thread. */
    void (*name_of)(void *user, uint64_t node, char out[static NODE_INFO_NAME_BYTES]);
    void *user;
};

EG_MUST_USE eg_err replicas_open(struct replicas **out, const struct replica_opts *o);
/* From here on nothing is sent and nobody called; shards go on as they are. */
void replicas_end(struct replicas *r);
/* The catalog is closed. */
void replicas_close(struct replicas *r);

/* Between views.  Every shard's role becomes STOPPED in its own turn, what was queued before it
 * is done; then opts.stopped(). */
void replica_stop(struct replicas *r, struct view_id proposed);
/* Append what this node's copies are: tables whose shards are not all full, by table id; and that
 * it knows these members. */
EG_MUST_USE eg_err replica_report(struct replicas *r, const struct elector_list *known,
                                  struct buffer *out);
/* Now and then: tell by opts.event where it has become otherwise.  True: the next report will say
 * that more copies are full. */
EG_MUST_USE bool replica_watch(struct replicas *r);
/* Whose majority counts; epoch 0: nobody's yet.  Of how many shards here too few copies are in this
 * view. */
const struct electorate *replica_electorate(const struct replicas *r);
uint64_t replica_refused(const struct replicas *r);
/* It has left its cluster: nobody's majority is asked for any more. */
void replica_forget_electorate(struct replicas *r);
/* What the next report says of this node besides (enum replica_state): ask for a view then. */
void replica_say(struct replicas *r, uint32_t state);
/* EG_MEMORY, EG_DISC: all stay STOPPED; it may be called again.
 * Roles from here on.  `nodes` are all members that are not removed; `eligible`: they have a disc.
 */
EG_MUST_USE eg_err replica_install(struct replicas *r, const struct view *v,
                                   const struct placement_node *nodes, uint32_t count);
/* A table has come or gone or changed its copies: its roles in the present view. */
void replica_table_changed(struct replicas *r, struct table *t);
void replica_receive(struct replicas *r, uint64_t from, struct value payload);
void replica_node_down(struct replicas *r, uint64_t id);
/* Now and then: what could not be said for want of memory is said again. */
void replica_tick(struct replicas *r);

/* What a member says of itself, and of how many shards it has something, by the reports of this
 * view; 0 where it is not in it. */
uint32_t replica_state_of(const struct replicas *r, uint64_t id);
uint64_t replica_held_by(const struct replicas *r, uint64_t id);
/* Words of other copies that came too late, and were not heeded. */
uint64_t replica_late(const struct replicas *r);
/* It said that it is leaving, and in this view it has no copy any more. */
bool replica_has_left(const struct replicas *r);
/* A table of which nobody in this view has all but `who`, who may have it: also where it has gone
 * and the view has it still.  NULL: none. */
const struct table *replica_only_with(const struct replicas *r, const struct node_info *who);
/* Are these the nodes by which this view was placed? */
bool replica_is_placed_so(const struct replicas *r, const struct placement_node *nodes,
                          uint32_t count);

/* Compare all copies now, at all nodes of the view (scrub.h).  The mesh's scheduler. */
void replica_scrub(struct replicas *r);
/* What comparing has found so far here; any thread. */
struct scrub_counts replica_scrubbed(const struct replicas *r, bool *idle);

/* What tables are placed by: tables of one group lie together. */
uint64_t replica_group(const struct table *t);

/* Who orders the writes of this shard in the present view; 0: nobody can (no full copy is in it).
 * Any thread, inside a reader section. */
uint64_t replica_master(struct replicas *r, const struct table *t, uint32_t shard);
/* The view that this answer holds in. */
struct view_id replica_view(const struct replicas *r);

#endif /* REPLICATION_REPLICA_H */
