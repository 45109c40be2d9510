/* shard_copy.h -- a shard as one of several copies of it on other nodes.
 *
 *     owner's turn: store, remove, clear --note--> group of the turn --ops->changed()--> others
 *     others' groups --shard_copy_apply()--> store, remove; what is older loses; clock
 *
 * A change is known by its dot: who made it (an origin: one start of one node) and as its
 * how-many-th.  The shard's clock says which dots have been applied or are superseded by what
 * was; two copies with equal clocks have equal records.  A delete leaves a grave (key, stamp,
 * dot), so that what it removed does not come back from a copy that was away; a clear
 * leaves one stamp for all.
 *
 * Where the table has no other copies none of this costs more than a branch.
 *
 * Invariants (shard_copy_check)
 *   (1) the dot of every record and grave is covered by the clock.
 *   (2) a key has a record or a grave, not both.
 *
 * Threads    The shard's owner, except shard_role(), from any thread.
 */
#ifndef TABLES_SHARD_COPY_H
#define TABLES_SHARD_COPY_H

#include "tables/shard.h"

#endif /* TABLES_SHARD_COPY_H */
