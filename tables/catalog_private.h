/* catalog_private.h -- how the catalog lies in memory.  Others include catalog.h. */
#ifndef TABLES_CATALOG_PRIVATE_H
#define TABLES_CATALOG_PRIVATE_H

#include "engine/list.h"
#include "tables/names.h"
#include "tables/table_private.h"

struct catalog {
    struct world world;
    struct names names;
    struct epoch_bin bin; /* the actor's: name sets, schemas, tables */
    eg_pid pid;
    struct list_node jobs;    /* under way                                  */
    struct list_node waiting; /* changes of the schema that must take turns */
    uint32_t waiting_count;
    uint64_t last_job;
    struct list_node dying; /* dropped tables that somebody still holds */
};

/* ---- tables as the catalog makes them (catalog_table.c) ------------------------- */

/* A table with open shards and without actors.  Takes the schema over, also on
 * failure. */
EG_MUST_USE eg_err table_open(struct table **out, struct world *w, struct schema *schema,
                              struct disc_table *disc_table);
EG_MUST_USE eg_err table_start(struct table *t); /* give its shards their actors */
void table_free(struct table *t);                /* the actors are gone, nobody reads */

/* Read every table of the disc back. */
EG_MUST_USE eg_err catalog_recover(struct catalog *c, struct err_note *note);

/* ---- the actor (catalog_job.c) -------------------------------------------------- */

EG_MUST_USE eg_err catalog_start(struct catalog *c);

#endif /* TABLES_CATALOG_PRIVATE_H */
