/* far_read.h -- reading what another node has: pages asked for and served.
 *
 *     query/ --CALL(node, table, page's request)--> far_read --[2, id, view, table, request]-->
 * node
 *            <--REPLY(page's answer) or EG_AGAIN --        <--[3, id, outcome, answer]-------
 * page_serve()
 *
 * The reading half beside router.h: that one carries changes and reads of one key to where they
 * are ordered, this one pieces of whole tables from where they are (tables/page.h).  A request
 * carries the view that it was sent in; a node in another view refuses it, and so does one that
 * may not read a shard it is about.  What is refused, or lost with its node, is answered with
 * EG_AGAIN with the next view or after FAR_READ_MOMENT_MS: whoever asked looks again where to ask.
 *
 * Threads    What queries call (far_read_far()): any.  One actor asks and serves.
 */
#ifndef REPLICATION_FAR_READ_H
#define REPLICATION_FAR_READ_H

#include "engine/runtime.h"
#include "replication/mesh.h"
#include "replication/view.h"
#include "tables/catalog.h"
#include "tables/far.h"

enum {
    FAR_READ_MOMENT_MS = 20,
    FAR_READ_ANSWER_MS = 10000,  /* then EG_TIMEOUT                              */
    FAR_READ_PENDING_MAX = 65536 /* requests under way to other nodes: then EG_BUSY */
};

struct child_spec;
struct far_read;

struct far_read_opts {
    struct alloc *alloc;
    struct env *env;
    struct runtime *runtime;
    struct catalog *catalog;
    uint32_t scheduler; /* the mesh's */
    /* Who has this shard whole in the present view; 0: nobody.  In a section, any thread. */
    uint64_t (*node)(void *user, const struct table *t, uint32_t shard);
    struct view_id (*view)(void *user);                            /* of now */
    uint64_t (*epoch)(void *user);                                 /* its; 0: none; any thread */
    eg_err (*send)(void *user, uint64_t to, struct value payload); /* mesh_send() on MESH_REQUEST */
    void *user;
};

EG_MUST_USE eg_err far_read_open(struct far_read **out, const struct far_read_opts *o);
/* Its actor, for a supervisor: it begins with that. */
void far_read_child(struct far_read *r, struct child_spec *out);
/* What catalog_set_far() takes. */
struct table_far *far_read_far(struct far_read *r);
/* The actor has ended and nobody asks any more. */
void far_read_close(struct far_read *r);

/* Is this payload of MESH_REQUEST one of ours, and not the router's? */
bool far_read_is_ours(struct value payload);
/* What the mesh and the views say: on their scheduler. */
void far_read_receive(struct far_read *r, uint64_t from, struct value payload);
void far_read_node_down(struct far_read *r, uint64_t id);
void far_read_view_changed(struct far_read *r);

#endif /* REPLICATION_FAR_READ_H */
