/* memory.h -- how much the tables may take, and how much they do.
 *
 * One budget a node, one account a table.  Events that wait for their readers are booked
 * in it as well.  Shards book what they hold in steps,
 * so that the shared counters are touched rarely; a figure
 * may therefore lag by one step a shard.  Above the soft limit whatever would
 * grow a table is refused with EG_MEMORY; reads, deletes and replacements that do
 * not grow go on.
 *
 * Threads    Any; relaxed counters.
 */
#ifndef TABLES_MEMORY_H
#define TABLES_MEMORY_H

#include "engine/base.h"

#include <stdatomic.h>

enum { MEMORY_STEP_BYTES = 64 * 1024 };

struct memory_budget {
    _Atomic int64_t used_bytes;
    _Atomic int64_t limit_bytes; /* 0: none */
};

struct memory_account { /* one a shard */
    struct memory_budget *budget;
    int64_t booked_bytes; /* what the budget knows of     */
    int64_t step_bytes;   /* a smaller change is not told */
};

/* `step_bytes` is cut to 256 .. MEMORY_STEP_BYTES. */
static inline void memory_open(struct memory_account *a, struct memory_budget *b,
                               uint64_t step_bytes) {
    step_bytes = EG_MAX(EG_MIN(step_bytes, (uint64_t) MEMORY_STEP_BYTES), (uint64_t) 256);
    *a = (struct memory_account){.budget = b, .step_bytes = (int64_t) step_bytes};
}

static inline bool memory_over_limit(const struct memory_budget *b) {
    int64_t limit = atomic_load_explicit(&b->limit_bytes, memory_order_relaxed);
    return limit != 0 && atomic_load_explicit(&b->used_bytes, memory_order_relaxed) > limit;
}

/* For those that have no account: what they hold has changed by so much. */
static inline void memory_add(struct memory_budget *b, int64_t change_bytes) {
    atomic_fetch_add_explicit(&b->used_bytes, change_bytes, memory_order_relaxed);
}

/* Tell the account what its shard holds now. */
static inline void memory_book(struct memory_account *a, int64_t held_bytes) {
    int64_t change = held_bytes - a->booked_bytes;

    if (EG_LIKELY(change < a->step_bytes && change > -a->step_bytes))
        return;
    atomic_fetch_add_explicit(&a->budget->used_bytes, change, memory_order_relaxed);
    a->booked_bytes = held_bytes;
}

static inline void memory_close(struct memory_account *a) {
    atomic_fetch_sub_explicit(&a->budget->used_bytes, a->booked_bytes, memory_order_relaxed);
    a->booked_bytes = 0;
}

#endif /* TABLES_MEMORY_H */
