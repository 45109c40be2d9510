/* tx_manager.h -- transactions that touch several shards: who brings them to one end.
 *
 *     commit --CALL(bundle)--> manager --PREPARE--> masters of all parts: keep it, hold its keys
 *                                 |    <--votes---
 *                                 |--decision--> disc, where any of the tables is on one
 *                                 |--COMMIT----> masters: all of it in one turn, then their copies
 *            <------REPLY---------'    <--done----
 *
 * A manager is an actor, one a scheduler, and a transaction's id says which is its.  What each
 * of them is at is a machine (tx_machine.h); what a manager keeps outlives it, and a successor
 * goes on with that.  Requests to shards go the usual way (tables/route.h): without a cluster to
 * the shards here, else to their masters, wherever these are.
 *
 * In doubt   A part whose coordinator is not heard of any more asks all nodes of its view, and does
 *            what any of them knows to be committed; where none does it is given up here
 *            (tx_ask.c).
 * Bounds     TX_RUNS_MAX transactions under way at each manager: then EG_BUSY.
 * Threads    Any; open, stop and close: none of the schedulers'.
 */
#ifndef REPLICATION_TX_MANAGER_H
#define REPLICATION_TX_MANAGER_H

#include "engine/runtime.h"
#include "replication/node_info.h"
#include "replication/view.h"
#include "tables/transact.h"

struct buffer;
struct catalog;
struct disc;
struct tx_managers;

enum {
    TX_RUNS_MAX = 65536, /* under way at one manager */
    TX_STATUS_MS = 1500, /* a question after an id, at most */
    TX_BUNDLE_BYTES_MAX = 64 << 20,
};

struct tx_managers_opts {
    struct alloc *alloc;
    struct env *env;
    struct runtime *runtime; /* running */
    struct catalog *catalog; /* open    */
    struct disc *disc;       /* NULL: nothing is on disc */
};

/* Decisions that the disc remembers are carried out from here on.  EG_MEMORY, EG_DISC, EG_CORRUPT.
 */
EG_MUST_USE eg_err tx_managers_open(struct tx_managers **out, const struct tx_managers_opts *o,
                                    struct err_note *note);
/* The actors end.  Blocks.  Nobody asks any more. */
void tx_managers_stop(struct tx_managers *t);
/* The catalog is closed: nobody is in doubt any more. */
void tx_managers_close(struct tx_managers *t);

/* ---- for who holds a transaction ------------------------------------------------------------- */

struct tx_commit {
    struct transact_id id;   /* none: nobody will ask for it, and it gets one */
    struct transact_age age; /* of its first try                             */
    uint64_t deadline_ms;    /* wall clock                                   */
    const struct transact *what;
};

/* A CALL that commits it.  Its REPLY's tag
 *     EG_OK         all of it is done, and all full copies have it
 *     EG_CONFLICT   something is not as it was seen, an older one holds it, or the view changed
 *     EG_ABORTED    it was too late, or all have given it up
 *     EG_IN_DOUBT   "in_doubt: ID": tx_status_message() says it later
 *     others        a part was refused, for what its shard says; nothing has happened
 * and its payload a text, or true.  In a section.  EG_MEMORY, EG_TOO_LARGE: nothing is sent. */
EG_MUST_USE eg_err tx_commit_message(struct tx_managers *t, const struct tx_commit *c, eg_pid *to,
                                     struct message **out);
/* A CALL: "committed", "aborted" or "unknown", as far as any node of the view knows. */
EG_MUST_USE eg_err tx_status_message(struct tx_managers *t, struct transact_id id, eg_pid *to,
                                     struct message **out);
/* A CALL to manager number `index` of tx_managers_count(): an array with a map for each that is
 * under way, {id, state, age_ms, deadline_ms, parts: [[table, shard, state], ...]}. */
uint32_t tx_managers_count(const struct tx_managers *t);
EG_MUST_USE eg_err tx_list_message(struct tx_managers *t, uint32_t index, eg_pid *to,
                                   struct message **out);

enum { TX_ID_TEXT_BYTES = 33 };
void tx_id_text(struct transact_id id, char text[TX_ID_TEXT_BYTES]);

/* ---- for the cluster ---------------------------------------------------------------------------
 */

struct tx_peers {
    uint64_t self;
    eg_err (*send)(void *user, uint64_t to, struct value payload); /* mesh_send() on MESH_REQUEST */
    void *user;
};

/* From here on there are others, and again none: nobody is called after that. */
void tx_managers_meet(struct tx_managers *t, const struct tx_peers *p);
void tx_managers_part(struct tx_managers *t);
/* Its shards' roles are known. */
void tx_managers_view(struct tx_managers *t, const struct view *v);
/* Is this payload of MESH_REQUEST one of ours? */
bool tx_managers_is_ours(struct value payload);
void tx_managers_receive(struct tx_managers *t, uint64_t from, struct value payload);

/* A part is prepared here, and nobody has told what became of it: find that out and tell the shard.
 * It may be said again.  Any thread, in a section. */
void tx_managers_doubt(struct tx_managers *t, struct table *table, uint32_t shard,
                       struct value head);

#endif /* REPLICATION_TX_MANAGER_H */
