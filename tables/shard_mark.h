/* shard_mark.h -- what copies are told of transactions' parts, beside records.
 *
 *     master: PREPARE --shard_mark_prepared()--> [3, origin, sequence, head, part] --> copies:
 * marked COMMIT  --records, shard_mark_ended()--> [4, id, true]               --> let go
 *
 * They are changes in the stream (shard_copy.h).  What is prepared takes a number of its own there,
 * so that the vote can wait until the copies have it, and that who hears of it twice knows.  No
 * key has it.  Who follows anew hears of all that are prepared, and of the last that have ended,
 * before the END: what it had besides is no more.
 *
 * A part that has ended by a commit is remembered for a while, so that a later master, which had
 * only heard that it is prepared, does not do again what another copy has of it.
 *
 * Threads    The shard's owner.
 */
#ifndef TABLES_SHARD_MARK_H
#define TABLES_SHARD_MARK_H

#include "tables/shard.h"
#include "tables/transact.h"

enum { SHARD_MARKS_ENDED_MAX = 512 /* that followers are told of */ };

/* A part is kept here; or is not any more, and what it changed was noted before.  Copies hear of
 * it with the turn's group. */
void shard_mark_prepared(struct shard *s, struct value head, struct value part);
void shard_mark_ended(struct shard *s, struct transact_id id, bool committed);

/* ---- for who keeps copies -------------------------------------------------------------------- */

/* Is the next of these changes one of ours?  Then apply it.  EG_BAD_REQUEST, EG_MEMORY. */
bool shard_mark_is_next(struct value_iter changes);
EG_MUST_USE eg_err shard_mark_apply(struct shard *s, struct reader *r, struct value_iter *changes);
/* Append all as changes for who follows, and say how many.  EG_MEMORY. */
EG_MUST_USE eg_err shard_mark_put_all(struct shard *s, struct buffer *out, uint32_t *count);
/* It follows anew: what it hears from here on, until it is settled, is all there is. */
void shard_mark_begin(struct shard *s);
void shard_mark_settle(struct shard *s);
void shard_mark_close(struct shard *s);

#endif /* TABLES_SHARD_MARK_H */
