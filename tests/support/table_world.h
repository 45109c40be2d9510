/* table_world.h -- a catalog of tables on one thread, in virtual time, with a disc
 * twin below it and a reader beside it.
 *
 *     struct table_world w;
 *     table_world_open(&w, alloc_system(), seed);
 *     table_world_ask(&w, CATALOG_CREATE, "t", options);
 *     reader_enter(&w.reader);
 *     table_world_run(&w, table_world_find(&w, "t"), &request);     // w.result
 *     reader_exit(&w.reader);
 *     table_world_close(&w);
 */
#ifndef TESTS_SUPPORT_TABLE_WORLD_H
#define TESTS_SUPPORT_TABLE_WORLD_H

#include "tables/catalog.h"
#include "tests/support/disc_pump.h"
#include "tests/support/stepper.h"

struct table_world {
    struct alloc *alloc;
    struct epoch *epoch;
    struct stepper *st;
    struct disc_pump pump;
    uint64_t graves_bytes_max; /* 0: as usual; before it starts */
    struct memory_budget budget;
    struct catalog *catalog;
    struct reader reader;
    struct buffer result; /* of the last run() or ask() */
    struct err_note note; /* likewise, where it failed  */
};

/* Everything but the catalog; then table_world_start().  Messages are of alloc_system(). */
void table_world_prepare(struct table_world *w, struct alloc *tables, uint64_t seed);
void table_world_prepare_with(struct table_world *w, struct alloc *tables, struct alloc *messages,
                              uint64_t seed);
eg_err table_world_start(struct table_world *w);
eg_err table_world_stop(struct table_world *w); /* the catalog, if there is one */
void table_world_close(struct table_world *w);
static inline void table_world_open(struct table_world *w, struct alloc *tables, uint64_t seed) {
    table_world_prepare(w, tables, seed);
    EG_ASSERT(table_world_start(w) == EG_OK);
}

/* Ask the catalog and wait. */
eg_err table_world_ask(struct table_world *w, enum catalog_op op, const char *name,
                       struct value value);
/* Run a request in place, or by message and wait; inside a section. */
eg_err table_world_run(struct table_world *w, struct table *t, const struct shard_request *q);
/* A SHARD_TX_* request, by message. */
eg_err table_world_transact(struct table_world *w, struct table *t, uint32_t shard,
                            const struct shard_request *q);
/* write_many, likewise. */
eg_err table_world_write_many(struct table_world *w, struct table *t, const char *name,
                              struct value records, uint64_t ttl_ms);
struct moment;
/* One moment of the tables that `names` lists; size 0: of all. */
eg_err table_world_moment(struct table_world *w, struct value names, struct moment **out);
struct table *table_world_find(struct table_world *w, const char *name);
/* Assert the invariants of each shard. */
void table_world_check(struct table_world *w, struct table *t);

#endif /* TESTS_SUPPORT_TABLE_WORLD_H */
