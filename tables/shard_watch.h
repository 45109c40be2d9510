/* shard_watch.h -- what one turn of a shard has changed, for those who watch its table.
 *
 *     store, remove --note--> notes of the turn --publish--> chunks (watch.h)
 *     undo ------------------ take_back
 *
 * Where nobody watches, all of this is one load and a branch.
 *
 * Threads    The shard's owner, in a section.
 */
#ifndef TABLES_SHARD_WATCH_H
#define TABLES_SHARD_WATCH_H

#include "tables/table_private.h"

/* After the change has been stored: see who else pays for that order in watch.c. */
static inline bool shard_is_watched(const struct shard *s) {
    atomic_signal_fence(memory_order_seq_cst);
    return EG_UNLIKELY(atomic_load_explicit(&s->table->watchers, memory_order_relaxed) != NULL);
}

/* The turn has stored `array` in place of `replaced` (NULL: of nothing). */
void shard_watch_stored(struct shard_turn *t, struct value array, uint64_t expiry_ms,
                        const struct record *replaced);
/* It has removed `rec`. */
void shard_watch_removed(struct shard_turn *t, const struct record *rec);
/* It has removed everything; `empty`: there was nothing. */
void shard_watch_cleared(struct shard *s, bool empty);

/* What has been noted between two marks did not happen after all. */
static inline size_t shard_watch_mark(const struct shard *s) {
    return s->noted ? s->notes.size_bytes : 0;
}
void shard_watch_take_back(struct shard *s, size_t from, size_t to);

/* Tell what has been noted.  At the end of a turn, and before its writer is answered. */
void shard_watch_publish(struct shard *s);

#endif /* TABLES_SHARD_WATCH_H */
