/* remote.h -- actors that speak to actors of other nodes.
 *
 *     actor --runtime_send--> route --MESH_ACTOR--> remote_receive() --> actor
 *
 * To an actor a pid of another node is like one of its own: it sends, calls, links, monitors, and
 * is answered.  pid.node is a number that only this node knows, for one start of another node; on
 * the wire a pid is the slot and generation of whoever sends or receives.  A restarted node gets a
 * new number, so an old pid never reaches a new actor: sending to it is EG_NO_REPLICA.
 *
 * What a lost node owes, this node says in its place, after all that had come from it: EXIT and
 * DOWN with EG_EXIT_NOCONNECTION, and EG_IN_DOUBT to whoever waits for the answer to a call.  To
 * know who is to be told, every link, monitor and call that goes over a link of nodes is written
 * down (remote_ties.h).
 *
 * Names      remote_named() makes a pid that means: whoever has this name there when the
 *            message arrives.  It can be sent to, called and monitored, not linked.
 * Topics     What is published here reaches the subscribers of all linked nodes.
 * Order      Messages from one actor to another keep theirs, as on one node.
 * Bounds     A link of which REMOTE_PENDING_BYTES wait takes no more INFO, CAST and CALL
 *            (EG_BUSY); one that cannot take a signal either is dropped, so that both sides
 *            know where they stand.  A message is at most what fits a frame (EG_TOO_LARGE).
 * Threads    Sending, names, nodes: any.  Events: the mesh's scheduler.
 */
#ifndef REPLICATION_REMOTE_H
#define REPLICATION_REMOTE_H

#include "engine/runtime.h"
#include "replication/node_info.h"

enum {
    REMOTE_NODES_MAX = 128,    /* starts of nodes that have a number              */
    REMOTE_TIES_MAX = 1 << 20, /* links, monitors and open calls with one node    */
    REMOTE_PENDING_BYTES = 16 << 20,
};

struct remote;

struct remote_opts {
    struct alloc *alloc; /* safe from any thread */
    struct env *env;
    struct runtime *runtime;
    uint32_t scheduler;           /* the mesh's */
    const struct node_info *self; /* another incarnation ends all links */
    eg_err (*send)(void *user, uint64_t to, struct value payload); /* mesh_send() on MESH_ACTOR */
    uint64_t (*pending_bytes)(void *user, uint64_t to);
    void (*drop)(void *user, uint64_t id); /* mesh_drop(); on the mesh's scheduler */
    void *user;
};

EG_MUST_USE eg_err remote_open(struct remote **out, const struct remote_opts *o);
/* No actor reaches another node from here on, and nobody is inside opts.send() any more.  Before
 * the mesh is closed; blocks, not on a scheduler. */
void remote_stop(struct remote *r);
void remote_close(struct remote *r); /* stopped; no event comes any more; blocks likewise */

void remote_up(struct remote *r, const struct node_info *who);
void remote_down(struct remote *r, uint64_t id);
/* From outside: what makes no sense is dropped and counted. */
void remote_receive(struct remote *r, uint64_t from, struct value payload);

/* The pid that stands for a name on a node, which need not be there now.  EG_BAD_REQUEST: one of
 * them is empty or too long.  EG_BUSY: REMOTE_NAMES_MAX (remote_names.h); EG_MEMORY. */
EG_MUST_USE eg_err remote_named(struct remote *r, const char *node, const char *name, eg_pid *out);

/* The nodes that are linked now, without this one: copy the first `room` names, say how many
 * there are. */
uint32_t remote_nodes(struct remote *r, char (*out)[NODE_INFO_NAME_BYTES], uint32_t room);
/* The node that a pid of this node's numbers is on; "": unknown, or gone for good. */
void remote_node_of(struct remote *r, eg_pid pid, char out[static NODE_INFO_NAME_BYTES]);

struct remote_stats {
    uint64_t sent, received; /* messages */
    uint64_t refused;        /* EG_BUSY of full links               */
    uint64_t dropped;        /* that made no sense                  */
    uint64_t unpublished;    /* publications a node could not be sent */
    uint64_t ties;           /* now                                 */
};
struct remote_stats remote_stats(const struct remote *r);

#endif /* REPLICATION_REMOTE_H */
