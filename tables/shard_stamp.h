/* shard_stamp.h -- the clock of a shard that has copies elsewhere, and stamps that it does not
 * follow.
 *
 *     stamp of elsewhere, at most 500 ms ahead of our wall clock --> our clock is not behind it
 *     further ahead --> counted, and kept apart: `ahead`
 *
 * A node whose clock is wrong by an hour would else take the clocks of all along, and theirs
 * those of others.  What it wrote keeps its stamp, for copies agree by stamps.  Whoever then writes
 * the same key writes later than what he has seen of it: than the record, its grave, the last
 * clear, and what is forgotten; and a clear is later than everything.  Writes of other keys have
 * stamps of today.
 *
 * The stamps of majority tables are of views, no times, and are followed (SHARD_STAMP_VIEWS).
 *
 * Until our clock gets there, `shard.newest` says that something here may not be stable: readers
 * look at the record, and where its stamp is ahead they ask the master.
 *
 * Threads    The shard's owner.
 */
#ifndef TABLES_SHARD_STAMP_H
#define TABLES_SHARD_STAMP_H

#include "tables/shard_copy.h"

enum { SHARD_STAMP_AHEAD_MS = 500 };

/* A stamp of elsewhere. */
void shard_stamp_hear(struct shard_turn *t, uint64_t hlc);
/* Is there anything that our clock does not say? */
static inline bool shard_stamp_is_ahead(const struct shard *s) {
    return s->copy != NULL && s->copy->ahead >= s->hlc;
}
/* No earlier than `least`, and later than all that is known of the key (NULL: of all keys), where
 * that is ahead.  It is used. */
uint64_t shard_stamp_after(const struct shard_turn *t, const struct key *k, uint64_t least);

/* How many were too far ahead since the node started. */
uint64_t catalog_stamps_ahead(struct catalog *c);

#endif /* TABLES_SHARD_STAMP_H */
