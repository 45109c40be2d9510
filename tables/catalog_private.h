/* catalog_private.h -- how the catalog lies in memory.  Others include catalog.h. */
#ifndef TABLES_CATALOG_PRIVATE_H
#define TABLES_CATALOG_PRIVATE_H

#include "engine/list.h"
#include "tables/names.h"
#include "tables/table_private.h"

struct child_spec;
struct foreign;

struct catalog {
    struct world world;
    struct names names;
    struct epoch_bin bin;      /* the actor's: name sets, schemas, tables */
    _Atomic bool open;         /* till then the bin is catalog_open()'s   */
    eg_pid root;               /* the supervisor of all this                 */
    _Atomic uint64_t pid;      /* the actor of now, slot << 32 | generation  */
    _Atomic uint64_t families; /* the supervisor of the tables' supervisors */
    struct list_node jobs;     /* under way                                  */
    struct list_node waiting;  /* changes of the schema that must take turns */
    uint32_t waiting_count;
    uint64_t last_job;
    uint64_t last_loan;      /* under which shards were asked for a moment */
    struct cleanup let_go;   /* when the actor ends: shards that it holds  */
    atomic_flag asking_lock; /* held for a few instructions: the next two */
    struct list_node asking; /* moments (moment.c) that were asked for    */
    uint64_t last_asked;
    struct list_node dying; /* dropped tables that somebody still holds */
    uint32_t revived,
        to_revive; /* tables whose supervisors were asked for, since the actor began */
    bool ticking;  /* a tick is on its way                     */
};

static inline struct alloc *catalog_alloc(const struct catalog *c) {
    return c->world.o.alloc;
}

/* ---- tables as the catalog makes them (catalog_table.c) ------------------------- */

/* A table with open shards and without actors.  Takes the schema over, also on
 * failure. */
EG_MUST_USE eg_err table_open(struct table **out, struct world *w, struct schema *schema,
                              struct disc_table *disc_table);
/* The supervisor of its shards, as a child of the tables' supervisor. */
void table_child(struct table *t, struct child_spec *out);
void table_free(struct table *t); /* the actors are gone, nobody reads */

/* Read every table of the disc back.  `f` is the calling thread's. */
EG_MUST_USE eg_err catalog_recover(struct catalog *c, struct foreign *f, struct err_note *note);

/* ---- the actor (catalog_actor.c) ------------------------------------------------- */

/* The actor, as a child of the root. */
void catalog_child(struct catalog *c, struct child_spec *out);

eg_pid catalog_pid(const struct catalog *c);
eg_pid catalog_families(const struct catalog *c);

#endif /* TABLES_CATALOG_PRIVATE_H */
