/* shard_unique.h -- a shard's part in keeping the values of unique indexes apart.
 *
 *     shard_store --> shard_unique_prepare --> gates (unique.h) --> is the value free?
 *     shard_turn_end --> log written --> shard_unique_leave
 *
 * A record in whose indexed parts a nil stands is not compared: as in SQL, any number of
 * records may lack the value.  An expired record has none.
 *
 * On disc     A kill leaves of each shard's changes a prefix, and of several shards
 *             prefixes that need not fit together: one might show a value freed too little
 *             and taken too much.  So a `disc` table with a unique index hands each turn's
 *             changes to the disc within the turn (shard_log.h, at_once), as a
 *             `disc_only` table does anyway, and its gates stay closed until then.
 * Threads    The shard's owner.
 */
#ifndef TABLES_SHARD_UNIQUE_H
#define TABLES_SHARD_UNIQUE_H

#include "tables/shard.h"

/* Has the shard an index whose uniqueness it must keep?  One that is being filled (reshape.h)
 * has the values of the shard it is filled from, which keeps theirs. */
static inline bool shard_has_unique(const struct shard *s) {
    return EG_UNLIKELY(s->unique_indexes != 0) && !s->shadow;
}

/* Add the gates of a record's values. */
void shard_unique_gates(const struct shard *s, struct value array, struct unique_set *set);

/* Before `array` (size 0: nothing) takes the place of `old` (NULL: of nothing): enter the
 * gates unless the turn has, and look whether another record has one of its values.
 * EG_EXISTS: it has, and the note says in which index.  EG_AGAIN (a turn that may be tried
 * again as a message), EG_BUSY: a gate stayed closed.  Then nothing has changed. */
EG_MUST_USE eg_err shard_unique_prepare(struct shard_turn *t, const struct record *old,
                                        struct value array);

/* Enter gates for a turn that changes several records.  Errors as above. */
EG_MUST_USE eg_err shard_unique_enter(struct shard_turn *t, const struct unique_set *set);

/* End of a turn: leave the gates, if what was changed is written. */
void shard_unique_leave(struct shard *s);
/* Those of a change of several shards: hold them too until this one has written. */
void shard_unique_hold(struct shard *s, const struct unique_set *set);

/* From now on keep index `id` unique; then look, in steps, whether it is.
 * EG_EXISTS: two records have one value. */
void shard_unique_enforce(struct shard *s, uint32_t id);
EG_MUST_USE eg_err shard_unique_verify_step(struct shard *s, struct reader *r, uint64_t now_ms,
                                            bool *done, struct err_note *note);
/* Which indexes are kept unique has changed. */
void shard_unique_count(struct shard *s);

#endif /* TABLES_SHARD_UNIQUE_H */
