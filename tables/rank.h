/* rank.h -- a shard's records in order of when they end, or of how old they are.
 *
 * A binary heap of record pointers.  Each record keeps its own place in the heap
 * (bytes that only the owner looks at), so that one which is replaced leaves at
 * once and nothing dangles.
 *
 *     RANK_DEADLINE   the earliest expiry first
 *     RANK_AGE        the oldest write first
 *
 * Only records with RECORD_EXPIRES have room for their places; one that is there
 * for its age alone has the expiry RANK_NEVER.
 *
 * Threads    The shard's owner.
 */
#ifndef TABLES_RANK_H
#define TABLES_RANK_H

#include "engine/alloc.h"
#include "tables/record.h"

#define RANK_NEVER UINT64_MAX

enum rank_by { RANK_DEADLINE, RANK_AGE };

struct rank {
    struct alloc *alloc;
    struct record **heap;
    uint32_t count;
    uint32_t room;
    enum rank_by by;
};

static inline void rank_init(struct rank *q, struct alloc *a, enum rank_by by) {
    *q = (struct rank){.alloc = a, .by = by};
}
void rank_fini(struct rank *q);

/* Make sure that one rank_push() can not fail.  EG_MEMORY. */
EG_MUST_USE eg_err rank_reserve(struct rank *q);
void rank_push(struct rank *q, struct record *rec); /* after rank_reserve() */
void rank_remove(struct rank *q, const struct record *rec);
static inline void rank_clear(struct rank *q) {
    q->count = 0;
}

/* The first, or NULL. */
static inline const struct record *rank_first(const struct rank *q) {
    return q->count == 0 ? NULL : q->heap[0];
}
static inline size_t rank_bytes(const struct rank *q) {
    return q->room * sizeof *q->heap;
}

void rank_check(const struct rank *q);

#endif /* TABLES_RANK_H */
