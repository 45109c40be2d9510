/* schema_sync.h -- what tables there are, the same on all nodes.
 *
 * The list of tables is itself replicated: an entry for each name, which only changes by a
 * higher version (a hybrid clock's stamp), also to `dropped`. The principal of a view orders
 * the changes in it; views that meet exchange their lists and keep, for each name, the
 * outcome of the rule below, so a node that was down learns what it missed.
 *
 *     client --> any node --> principal: checks, stamps --APPLY--> every member: its catalog
 *        <--------------------- when all have said APPLIED ---'
 *
 * Adding (a table, an attribute, an index; larger limits) works in every view.  Taking away and
 * redefining (drop, rename, clear's cousin: another type or storage) needs every member that
 * is not removed: EG_NO_REPLICA says who is missing.
 *
 * Names made on both sides of a cut: a table's id is the hash of its name and of what cannot be
 * changed later (type, shards, group), so two equal creations are one table, and their
 * records meet.  Where they differ in attributes only, the lists are united, those of the
 * higher version first.  Where their types differ the higher version keeps the name, the
 * other stays as `name@node`, and an event says so.
 *
 * Threads    The mesh's scheduler.
 */
#ifndef REPLICATION_SCHEMA_SYNC_H
#define REPLICATION_SCHEMA_SYNC_H

#include "engine/runtime.h"
#include "replication/mesh.h"
#include "replication/view.h"
#include "tables/catalog.h"

struct schema_sync;

struct schema_sync_opts {
    struct alloc *alloc;
    struct env *env;
    struct runtime *runtime;
    struct catalog *catalog;
    const struct node_info *self;
    eg_pid answers; /* of the actor that passes replies of the catalog to schema_sync_reply() */
    eg_err (*send)(void *user, uint64_t to, struct value payload); /* mesh_send() on MESH_SCHEMA */
    /* Are all members that are not removed in the view?  Else the note names who is missing. */
    bool (*everybody)(void *user, struct err_note *note);
    void (*table_changed)(void *user, const char *name); /* came, went, changed */
    void (*event)(void *user, const char *kind, struct value details);
    void *user;
};

EG_MUST_USE eg_err schema_sync_open(struct schema_sync **out, const struct schema_sync_opts *o);
void schema_sync_close(struct schema_sync *s);

/* A change asked of this node; the REPLY goes to `from`.  Passed to the principal where that
 * is another. */
EG_MUST_USE eg_err schema_sync_ask(struct schema_sync *s, eg_pid from, uint64_t ref,
                                   const struct catalog_request *q);
void schema_sync_receive(struct schema_sync *s, uint64_t from, struct value payload);
void schema_sync_reply(struct schema_sync *s, const struct message *m);
void schema_sync_view(struct schema_sync *s, const struct view *v);
void schema_sync_node_down(struct schema_sync *s, uint64_t id);

/* Has this node every table that the view knows of?  Before that no shard leaves STOPPED. */
bool schema_sync_is_whole(const struct schema_sync *s);

#endif /* REPLICATION_SCHEMA_SYNC_H */
