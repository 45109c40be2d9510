/* pid_table.h -- from pids to actors, readable from any thread.
 *
 * Entries are never freed, only reused.  One word of an entry says all that a
 * sender must know, so sending costs one load:
 *
 *     63          32 31      24 23      22 21        20      1 0
 *     | generation  | home     | pressure | lendable | queued | lent |
 *
 *     home       index of the actor's scheduler; PID_HOME_FOREIGN: a foreign;
 *                PID_HOME_NONE: the entry is free, and bits 0..23 are the next
 *                free entry's slot + 1
 *     queued     messages queued or under way to a lendable actor
 *     lent       a lendable actor is running, at home or elsewhere
 *
 * Claiming a lendable actor is thus one compare-and-swap that checks at once
 * that it is the same actor, idle, and nobody else's.
 *
 * A generation is used once: a slot whose 2^32 generations are over is retired.
 *
 * Threads    Any.  The owner pointer of an actor is for its home, or for who
 *            holds the lent bit.
 */
#ifndef ENGINE_PID_TABLE_H
#define ENGINE_PID_TABLE_H

#include "engine/alloc.h"
#include "engram/types.h"

#include <stdatomic.h>

enum { PID_HOME_FOREIGN = 254, PID_HOME_NONE = 255 };
enum { PID_SLOTS_MAX = (1 << 24) - 2 };

#define PID_LENT           UINT64_C(1)
#define PID_QUEUED_ONE     UINT64_C(2)
#define PID_QUEUED_MAX     UINT64_C(0xfffff)
#define PID_LENDABLE       (UINT64_C(1) << 21)
#define PID_PRESSURE_SHIFT 22
#define PID_HOME_SHIFT     24

struct pid_entry {
    _Atomic uint64_t word;
    _Atomic(void *) owner; /* struct actor or struct foreign */
};

struct pid_table {
    struct pid_entry *entries; /* slots_max, touched only as far as used */
    struct alloc *alloc;
    uint32_t slots_max;
    _Alignas(EG_CACHE_LINE) _Atomic uint64_t free_head; /* uses << 32 | slot + 1 */
    _Atomic uint32_t used;                              /* slots ever handed out */
};

/* Where a slot's entry is.  Actors that were spawned one after the other, such as the
 * shards of a table, get entries on different cache lines, so that threads that claim
 * them do not disturb each other: in each 64 slots the low bits name the line. */
static inline struct pid_entry *pid_entry_at(const struct pid_table *t, uint32_t slot) {
    return &t->entries[(slot & ~UINT32_C(63)) | (slot & 15) << 2 | (slot >> 4 & 3)];
}

static inline uint32_t pid_word_generation(uint64_t word) {
    return (uint32_t) (word >> 32);
}
static inline uint32_t pid_word_home(uint64_t word) {
    return (uint32_t) (word >> PID_HOME_SHIFT) & 0xff;
}
static inline uint32_t pid_word_pressure(uint64_t word) {
    return (uint32_t) (word >> PID_PRESSURE_SHIFT) & 3;
}
static inline uint32_t pid_word_queued(uint64_t word) {
    return (uint32_t) (word >> 1) & (uint32_t) PID_QUEUED_MAX;
}

EG_MUST_USE eg_err pid_table_open(struct pid_table *t, struct alloc *a, uint32_t slots_max);
void pid_table_close(struct pid_table *t);

/* Take a slot; it is not visible before pid_table_publish().  EG_BUSY: none left. */
EG_MUST_USE eg_err pid_table_take(struct pid_table *t, uint32_t *slot, uint32_t *generation);
/* A lendable one begins lent: nobody claims it before its init ran. */
void pid_table_publish(struct pid_table *t, uint32_t slot, uint32_t generation, uint32_t home,
                       bool lendable, void *owner);

/* The pid is stale from now on; the slot may be taken again. */
void pid_table_release(struct pid_table *t, uint32_t slot, uint32_t generation);

/* The entry of a pid that is alive, and its word; NULL: nobody. */
static inline struct pid_entry *pid_table_find(struct pid_table *t, uint32_t slot,
                                               uint32_t generation, uint64_t *word) {
    struct pid_entry *e;
    if (slot >= t->slots_max || generation == 0)
        return NULL;
    e = pid_entry_at(t, slot);
    *word = atomic_load_explicit(&e->word, memory_order_acquire);
    if (pid_word_generation(*word) != generation || pid_word_home(*word) == PID_HOME_NONE)
        return NULL;
    return e;
}

#endif /* ENGINE_PID_TABLE_H */
