/* fence.h -- an order between a frequent side and a rare one, paid by the rare one.
 *
 * Two threads that each store one place and load the other need a full fence
 * between their two steps, or both may miss what the other stored.  A full fence
 * also stops the processor from running ahead: reads that would overlap their
 * cache misses wait for each other.  Linux can instead let the rare side make
 * every running thread of the process pass a fence (membarrier).
 *
 *     frequent   store a;  fence_light(kind);  load b
 *     rare       store b;  fence_heavy(kind);  load a
 *
 * Where the system has no such call both are plain full fences.
 */
#ifndef ENGINE_FENCE_H
#define ENGINE_FENCE_H

#include "engine/base.h"

#include <stdatomic.h>

enum fence_kind {
    FENCE_BOTH_PAY,
    FENCE_RARE_PAYS,
};

/* What this process can do; asks the system for it.  Both sides use one kind. */
enum fence_kind fence_kind_here(void);

static inline void fence_light(enum fence_kind kind) {
    if (kind == FENCE_RARE_PAYS)
        atomic_signal_fence(memory_order_seq_cst); /* the compiler keeps the order, too */
    else
        atomic_thread_fence(memory_order_seq_cst);
}

/* About a microsecond. */
void fence_heavy(enum fence_kind kind);

#endif /* ENGINE_FENCE_H */
