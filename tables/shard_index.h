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
/* Take that back, in the same turn and before another.  Cannot fail. */
void shard_index_undo(struct shard *s);
EG_MUST_USE eg_err shard_index_clear(struct shard *s);

/* Append the records whose attribute at `position` equals `v`; adds to *count.
 * EG_BAD_REQUEST: no index there that is whole.  EG_TOO_LARGE. */
EG_MUST_USE eg_err shard_index_read(struct shard *s, struct reader *r, uint32_t position,
                                    struct value v, uint64_t now_ms, struct buffer *result,
                                    uint32_t *count);

/* Add an index to a live shard: begin, then step until *done (a bounded number of
 * records each, between other turns); then readers may use it.
 * EG_BUSY: no slot is free. */
EG_MUST_USE eg_err shard_index_build_begin(struct shard *s, uint32_t position);
EG_MUST_USE eg_err shard_index_build_step(struct shard *s, struct reader *r, bool *done);
/* Give up, or drop what is there. */
void shard_index_drop(struct shard *s, uint32_t position);

uint64_t shard_index_bytes(const struct shard *s);

#endif /* TABLES_SHARD_INDEX_H */
