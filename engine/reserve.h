/* reserve.h -- a few blocks for what must be sent when there is no memory.
 *
 *     message_new() --no memory--> reserve_take() --> a signal that may not be lost
 *     a scheduler's turn, where some are missing --> reserve_fill(), as soon as there is memory
 *
 * A signal has nobody to hear that it failed: without it an actor lives on that should have ended.
 * Ties need none of these, for their ends bring the memory of what they will say (bond.h).
 *
 * Memory     RESERVE_BLOCKS blocks of BLOCK_MIN_BYTES.  A taken one is its taker's, as any other.
 * Threads    Any, but for open and close.
 */
#ifndef ENGINE_RESERVE_H
#define ENGINE_RESERVE_H

#include "engine/alloc.h"

#include <stdatomic.h>

enum { RESERVE_BLOCKS = 64 };

struct reserve {
    struct alloc *alloc;
    size_t block_bytes;
    _Atomic uint32_t missing;
    void *_Atomic block[RESERVE_BLOCKS];
};

/* EG_MEMORY: nothing is left. */
EG_MUST_USE eg_err reserve_open(struct reserve *r, struct alloc *a, size_t block_bytes);
void reserve_close(struct reserve *r);

/* NULL: so many were taken, and no memory came meanwhile. */
void *reserve_take(struct reserve *r);
void reserve_fill(struct reserve *r);

static inline bool reserve_is_short(const struct reserve *r) {
    return atomic_load_explicit(&r->missing, memory_order_relaxed) != 0;
}

#endif /* ENGINE_RESERVE_H */
