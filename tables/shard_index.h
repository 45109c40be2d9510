/* shard_index.h -- the indexes of one shard, kept in the same turn as its records.
 *
 * A RAM table keeps trees of record pointers (index.h); a disc_only table keeps
 * rows beside its records (disc_record.h).  Either way one change of a record is
 * one call here, which changes all indexes or none.
 */
#ifndef TABLES_SHARD_INDEX_H
#define TABLES_SHARD_INDEX_H

#include "tables/index.h"
#include "tables/shard.h"

/* Open the indexes that the schema names, empty.  EG_MEMORY: none is open. */
EG_MUST_USE eg_err shard_index_open(struct shard *s, const struct schema *schema);
void shard_index_close(struct shard *s);

/* `old` (or NULL) goes, `fresh` (or NULL) comes.  EG_MEMORY: nothing changed. */
EG_MUST_USE eg_err shard_index_update(struct shard *s, const struct record *old,
                                      const struct record *fresh);
/* Would any index have it under another value than `old` (NULL: none)? */
bool shard_index_moves(const struct shard *s, const struct record *old, struct value array);
bool shard_has_index(const struct shard *s);
/* Take that back, in the same turn and before another.  Cannot fail. */
void shard_index_undo(struct shard *s);
EG_MUST_USE eg_err shard_index_clear(struct shard *s);

/* A scan over a stretch of one index of the shard, wherever its records lie.  Valid inside
 * one section. */
struct shard_index_scan {
    struct shard *shard;
    struct reader *reader;
    const struct index_spec *spec;
    bool on_disc;
    struct index_iter iter;
    struct store_cursor cursor;
};

/* Begin, or go on behind `place` (size 0: begin), which index_place() has written.  The
 * bounds' values are borrowed.  EG_BAD_REQUEST: no index of that id that is whole, or no
 * such place. */
EG_MUST_USE eg_err shard_index_seek(struct shard_index_scan *scan, struct shard *s,
                                    struct reader *r, uint32_t id, const struct index_bounds *b,
                                    struct value place);
/* Expired records too.  NULL: the end, or the reader's fault says why.  A record of a
 * disc_only table stays while the scan takes one step more. */
const struct record *shard_index_next(struct shard_index_scan *scan);
/* Append where the scan stands: behind `last`, which shard_index_next() gave. */
EG_MUST_USE eg_err shard_index_place(const struct shard_index_scan *scan, const struct record *last,
                                     struct buffer *place);

/* Look up the records whose leading parts equal `equal` in `count` <= BTREE_MANY_MAX shards of
 * one table, which keeps them in memory; the shards wait for memory together.  Returns in how
 * many the index is whole: runs 0 .. of those. */
uint32_t shard_index_find_many(struct index_runs *runs, struct shard *shards, uint32_t count,
                               uint32_t id, const struct value *equal, uint32_t equal_count);

/* The next seeks will be of these values, in one of the `count` <= BTREE_MANY_MAX shards after the
 * other: they wait for memory together. */
void shard_index_expect(struct shard *shards, uint32_t count, uint32_t id,
                        const struct value *equal, uint32_t equal_count);

/* Append the records of `count` shards of one table whose leading parts equal `equal` and that
 * have not expired; adds to *found.  EG_BAD_REQUEST,
 * EG_TOO_LARGE; a reader's fault. */
EG_MUST_USE eg_err shard_index_read_many(struct shard *shards, uint32_t count, struct reader *r,
                                         uint32_t id, const struct value *equal,
                                         uint32_t equal_count, uint64_t now_ms,
                                         struct buffer *result, uint32_t *found);

/* Add an index to a live shard: begin, then step until *done (a bounded number of
 * records each, between other turns); then readers may use it.
 * EG_BUSY: no slot is free. */
EG_MUST_USE eg_err shard_index_build_begin(struct shard *s, const struct index_spec *spec);
EG_MUST_USE eg_err shard_index_build_step(struct shard *s, struct reader *r, bool *done);
/* Give up, or drop what is there. */
void shard_index_drop(struct shard *s, uint32_t id);

uint64_t shard_index_bytes(const struct shard *s);

#endif /* TABLES_SHARD_INDEX_H */
