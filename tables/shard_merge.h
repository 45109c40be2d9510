/* shard_merge.h -- what a table's merge policy keeps beside the records of a shard.
 *
 * Only where other nodes can have the shard: alone, every write is known to all, and a
 * record's own version says enough.
 *
 * Threads    The shard's owner.
 */
#ifndef TABLES_SHARD_MERGE_H
#define TABLES_SHARD_MERGE_H

#include "tables/merge.h"
#include "tables/shard.h"

struct origins;

enum { SHARD_MERGED_BYTES_MAX = RECORD_SIZE_MAX + (512 << 10) }; /* record and state: one message */

struct merge_rule shard_merge_rule(const struct schema *schema);
/* What is, or was removed, under a version: one of those that a policy compares. */
struct merge_version shard_merge_version_of(const struct origins *o, struct record_version v,
                                            struct value record, struct value state);
struct merge_version shard_merge_version(const struct origins *o, const struct record *rec);

/* The state of what the turn is about to write over `old` (NULL: nothing), in the turn's room
 * or, where it has none, in the copy's until the next call; size 0: none,
 * or more than could be told: then the record counts as written as a whole.  EG_MEMORY; EG_CORRUPT.
 */
EG_MUST_USE eg_err shard_merge_write(struct shard_turn *t, const struct record *old,
                                     struct value array, struct record_version version,
                                     struct value *state);

/* The owner is about to write over `old` (not NULL), or to remove it, and so has seen it.  While no
 * END has said that this copy has it (shard_copy.h, `loose`), the clock does so from now on: else
 * what another side has of it would come back as if nobody here had known.  The errors of
 * shard_clock_add() and origins_slot(). */
EG_MUST_USE eg_err shard_merge_saw(struct shard_turn *t, const struct record *old);

/* Does the state, from disc or from another node, belong beside such a record? */
bool shard_state_is_sound(const struct shard *s, struct value array, struct value state);

#endif /* TABLES_SHARD_MERGE_H */
