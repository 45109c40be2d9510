/* moment.h -- the records of several tables as they all were at one moment.
 *
 *     moment_new() --moment_send()--> catalog: waits for its turn, then
 *         borrows every shard of every table, opens a snapshot of each, gives them back
 *     <-- REPLY --    moment_next() ... moment_next()    moment_unref()
 *
 * While all shards are borrowed at once nothing changes, so what was written in an order,
 * or together, is seen in that order and together, across shards and tables.  Taking
 * the moment is a turn of the catalog: no schema changes meanwhile, and no write_many is
 * half done.
 *
 * A shard is borrowed by a message (actor_lend), which has its turn also where the shard is
 * never idle.  Those that come first wait for those that come last, and their writers with
 * them: as long as the slowest shard takes for what it was asked before, mostly less than a
 * millisecond, and at most MOMENT_HOLD_MS_MAX.  If they do not meet in the time they are
 * let go, writers get as much time again, and the next try waits twice as long.  Then the
 * snapshots keep what is replaced.
 *
 * Ownership  Counted: the maker has one, the catalog that takes it another.  The request on
 *            its way has none, only a number, so that it may be lost with its mailbox.  A
 *            moment holds its tables (table_ref), so that also a table that is dropped
 *            meanwhile is read whole.
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
    MOMENT_PATIENCE_MS = 10 * 1000, /* no try begins later; then EG_BUSY   */
    MOMENT_HOLD_MS_MIN = 10,        /* how long shards are held, in the first try */
    MOMENT_HOLD_MS_MAX = 640,       /* and in any                          */
};

/* Of the tables that `names` (an array of strings) lists, each once, or of all that there
 * are where it is of size 0.  In a reader section.  EG_NO_TABLE, EG_BAD_REQUEST, EG_NO_REPLICA
 * (some of a table is on other nodes only) with a note; EG_MEMORY. */
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

/* ---- the catalog's, which takes it (catalog_moment.c) -------------------------------- */

/* The moment whose number a request brings, with a reference; NULL: its maker gave it up. */
struct moment *moment_claim(struct catalog *c, struct value number);
/* Go on with the tables that have taken the names of these.  EG_BUSY: there is none. */
EG_MUST_USE eg_err moment_follow(struct moment *m, struct err_note *note);
uint32_t moment_parts(const struct moment *m);
struct shard *moment_shard(const struct moment *m, uint32_t part);
/* All shards are the caller's now: open the snapshot of one of them.  EG_AGAIN: it has traces
 * of an earlier one; EG_BUSY, EG_MEMORY, EG_DISC. */
EG_MUST_USE eg_err moment_open(struct moment *m, uint32_t part);
/* And close what was opened. */
void moment_close(struct moment *m);
/* All are open.  EG_MEMORY. */
EG_MUST_USE eg_err moment_seal(struct moment *m, uint64_t wall_ms);

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
