/* moment.h -- the records of several tables as they all were at one moment.
 *
 *     moment_new() --moment_send()--> catalog: waits for its turn, then
 *         claims every shard of every table, opens a snapshot of each, releases them
 *     <-- REPLY --    moment_next() ... moment_next()    moment_unref()
 *
 * While all shards are claimed at once nothing changes, so what was written in an order,
 * or together, is seen in that order and together, across shards and tables.  Taking
 * the moment is a turn of the catalog: no schema changes meanwhile, and no write_many is
 * half done.  Writers wait for the claims, some microseconds a shard; then they go on, and
 * the snapshots keep what they replace.
 *
 * Ownership  Counted: the maker has one, the request under way another.  It holds its
 *            tables (table_ref), so that also a table that is dropped meanwhile is read whole.
 * Memory     A snapshot keeps every record that is replaced or removed while it is open.
 *            Those of a shard go when it has been read.
 * Threads    One at a time reads and gives up, any; taking is the catalog's.
 */
#ifndef TABLES_MOMENT_H
#define TABLES_MOMENT_H

#include "tables/catalog.h"
#include "tables/record.h"

struct moment;

enum {
    MOMENT_PATIENCE_MS = 10 * 1000, /* for writers to let all shards go at once; then EG_BUSY */
};

/* Of the tables that `names` (an array of strings) lists, each once, or of all that there
 * are where it is of size 0.  In a reader section.  EG_NO_TABLE, EG_BAD_REQUEST with a
 * note; EG_MEMORY. */
EG_MUST_USE eg_err moment_new(struct moment **out, struct catalog *c, struct value names,
                              struct err_note *note);
void moment_unref(struct moment *m);

/* Ask the catalog to take it: the REPLY says EG_OK, or EG_BUSY (somebody else's snapshot of
 * one of the tables is open, or they do not come to rest, or one was dropped), EG_MEMORY,
 * EG_DISC.  An error here: not sent. */
EG_MUST_USE eg_err moment_send(struct moment *m, struct catalog *c, eg_pid from, uint64_t ref);
/* The same CALL as a message, for those who send it themselves. */
EG_MUST_USE eg_err moment_message(struct moment *m, struct catalog *c, eg_pid *to,
                                  struct message **out);

/* The catalog's: one try.  EG_AGAIN: some shard is busy. */
EG_MUST_USE eg_err moment_freeze(struct moment *m, struct err_note *note);

/* ---- once it is taken: moment_taken() ----------------------------------------------- */

bool moment_taken(const struct moment *m);
uint64_t moment_wall_ms(const struct moment *m); /* when */
uint32_t moment_tables(const struct moment *m);  /* how many, sorted by name */
const struct schema_name *moment_name(const struct moment *m, uint32_t table);
/* The table's options as create_table takes them. */
struct value moment_options(const struct moment *m, uint32_t table);

/* The next record, table by table; *out NULL at the end.  In a reader section, which the
 * record outlives no more than the next call or the section's end.  A record may come twice,
 * one that had expired does not come.  EG_MEMORY: the snapshot is lost; EG_CORRUPT, EG_DISC. */
EG_MUST_USE eg_err moment_next(struct moment *m, struct reader *r, uint32_t *table,
                               const struct record **out);

#endif /* TABLES_MOMENT_H */
