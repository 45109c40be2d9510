/* schema_sync.h -- what tables there are, the same on all nodes.
 *
 * The list of tables is itself replicated: an entry for each name, with the changes that made
 * it what it is, each with a stamp (wall milliseconds << 16 | counter, greater than every
 * stamp seen before).  A dropped name keeps its entry, so that who was away learns of it.
 *
 *     client --> any node --> principal of the view: does it here, stamps it
 *                                --APPLY--> every member does it too
 *        <-- answer when all have said <--APPLIED--'
 *
 *     new view: everybody sends everybody the SUM of its list; where they differ its LIST, and does
 *               what it lacks, in the order of stamps
 *
 * Who is not in our view is not heard before it is: what it knows may be served elsewhere, and
 * would look here like a table that was made in our view, of which nobody has anything (of a
 * majority table: that any majority will do).
 *
 * Adding works in every view; taking away and redefining (drop, all of `alter` but
 * add_attribute, a unique index) needs every member that is not removed: EG_NO_REPLICA says who is
 * missing.
 *
 * A table's id is the hash of its name, type, shards, and of when that name was last dropped. So
 * equal creations on both sides of a cut are one table, whose records meet; one that was dropped
 * and made anew while a node was away is another, and takes the old one's place there. Where
 * a name means two tables that nobody has dropped, the one that was born first keeps it on all
 * nodes, and the other is called after who made it, with all that it has (schema_join.h); an
 * event (`schema_conflict`) says so.  What both sides have changed of one table is united
 * (schema_plan.h).
 *
 * What takes away has the stamp behind the last that everybody knows, so that whatever was added
 * meanwhile by those who had not heard of it yet comes after it.
 *
 * Threads    The mesh's scheduler, in a reader section.
 */
#ifndef REPLICATION_SCHEMA_SYNC_H
#define REPLICATION_SCHEMA_SYNC_H

#include "engine/runtime.h"
#include "replication/node_info.h"
#include "replication/view.h"
#include "tables/catalog.h"

enum {
    SCHEMA_SYNC_QUEUE_MAX = 1024, /* changes that wait for their turn at the principal: EG_BUSY   */
    SCHEMA_SYNC_CHANGES_MAX = 256, /* of one table: then no more are taken */
    SCHEMA_SYNC_TICK_MS = 500, /* what has not been answered by then is said again             */
};

struct schema_sync;

struct schema_sync_opts {
    struct alloc *alloc;
    struct env *env;
    struct runtime *runtime;
    struct catalog *catalog;
    struct disc *disc; /* NULL: entries live as long as the process */
    uint64_t self;
    const char
        *self_name;  /* tables that lose their name to another are called after who made them */
    uint64_t secret; /* of the cluster: seeds of tables' hashes come from it */
    /* Replies of the catalog come to the actor that this names; it passes them to
     * schema_sync_reply(). */
    eg_pid (*answers)(void *user);
    eg_err (*send)(void *user, uint64_t to, struct value payload); /* mesh_send() on MESH_SCHEMA */
    /* Does it know what a SUM is?  NULL: nobody does. */
    bool (*sums)(void *user, uint64_t to);
    /* Are all members that are not removed in the view?  Else the note names who is missing. */
    bool (*everybody)(void *user, struct err_note *note);
    /* Has any member of the view a disc? */
    bool (*any_disc)(void *user);
    void (*table_changed)(void *user, const char *name); /* came, went, changed: on this node */
    void (*whole)(void *user); /* schema_sync_is_whole() has become true */
    void (*event)(void *user, const char *kind, const char *table, const char *text);
    void *user;
};

EG_MUST_USE eg_err schema_sync_open(struct schema_sync **out, const struct schema_sync_opts *o,
                                    struct err_note *note);
void schema_sync_close(struct schema_sync *s);

/* A change asked of this node, as catalog_message_here() packs it into a CALL: answered later, or
 * at once with what is wrong.  Takes nothing over. */
void schema_sync_ask(struct schema_sync *s, const struct message *call);
void schema_sync_receive(struct schema_sync *s, uint64_t from, struct value payload);
void schema_sync_reply(struct schema_sync *s, const struct message *m);
void schema_sync_view(struct schema_sync *s, const struct view *v);
void schema_sync_tick(struct schema_sync *s);

/* Has this node every table that the view's members know of?  Before that no shard serves. */
bool schema_sync_is_whole(const struct schema_sync *s);

#endif /* REPLICATION_SCHEMA_SYNC_H */
