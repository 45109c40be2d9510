/* recover.h -- disc to memory at start: one shard's records, streamed.
 *
 * Rows are read in key order with read-ahead, past the cache, checksums verified;
 * each is checked (disc_record.h) and handed to the sink, which makes the record
 * in the shard's own memory.  A step does a bounded number, so that an actor can
 * recover in turns and a start can report progress.
 *
 *     recover_open -> recover_step until *done -> recover_close
 *
 * Errors     A damaged row stops recovery with EG_CORRUPT and a note naming table
 *            and shard: to start without it silently would lose a record silently.
 * Threads    One recovery belongs to one thread at a time; shards are independent.
 */
#ifndef TABLES_RECOVER_H
#define TABLES_RECOVER_H

#include "tables/disc_record.h"

struct recover;

struct recover_opts {
    struct alloc *alloc;
    struct disc *disc;
    struct disc_table *table;
    const char *name; /* of the table, for notes; borrowed */
    uint32_t shard;
    uint32_t arity; /* attributes a record must have */

    /* Each record in row order; an error stops recovery and is its outcome. */
    eg_err (*record)(void *ctx, const struct disc_record *rec);
    /* The shard's clock, once, before the records; not called where none is stored. */
    eg_err (*clock)(void *ctx, struct disc_bytes clock);
    void *ctx;
};

EG_MUST_USE eg_err recover_open(struct recover **out, const struct recover_opts *o,
                                struct err_note *note);

/* Read up to `records_max` more.  On EG_OK *done tells whether that was all. */
EG_MUST_USE eg_err recover_step(struct recover *r, uint64_t records_max, bool *done,
                                struct err_note *note);

uint64_t recover_count(const struct recover *r); /* records so far */
void recover_close(struct recover *r);

#endif /* TABLES_RECOVER_H */
