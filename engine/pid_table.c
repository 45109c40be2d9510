/* pid_table.c -- slots, generations, and a lock-free list of free slots.
 *
 * The free list is a stack threaded through the words of free entries.  Its head
 * counts uses, so a slot that was popped and pushed back meanwhile makes the
 * compare-and-swap fail (the ABA problem). */
#include "engine/pid_table.h"

static uint64_t word_of(uint32_t generation, uint32_t home, uint64_t rest) {
    return (uint64_t) generation << 32 | (uint64_t) home << PID_HOME_SHIFT | rest;
}

static size_t entries_bytes(uint32_t slots_max) {
    return ((size_t) slots_max + 63) / 64 * 64 * sizeof(struct pid_entry);
}

eg_err pid_table_open(struct pid_table *t, struct alloc *a, uint32_t slots_max) {
    EG_ASSERT(slots_max >= 1 && slots_max <= PID_SLOTS_MAX);
    t->entries = alloc_map(a, entries_bytes(slots_max));
    if (t->entries == NULL)
        return EG_MEMORY;
    t->alloc = a;
    t->slots_max = slots_max;
    atomic_init(&t->free_head, 0);
    atomic_init(&t->used, 0);
    return EG_OK;
}

void pid_table_close(struct pid_table *t) {
    alloc_unmap(t->alloc, t->entries, entries_bytes(t->slots_max));
}

/* A slot nobody ever had.  Generation 1: a zeroed word is nobody's. */
static eg_err take_fresh(struct pid_table *t, uint32_t *slot, uint32_t *generation) {
    uint32_t used = atomic_load_explicit(&t->used, memory_order_relaxed);
    do {
        if (used == t->slots_max)
            return EG_BUSY;
    } while (!atomic_compare_exchange_weak_explicit(&t->used, &used, used + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    *slot = used;
    *generation = 1;
    return EG_OK;
}

eg_err pid_table_take(struct pid_table *t, uint32_t *slot, uint32_t *generation) {
    uint64_t head = atomic_load_explicit(&t->free_head, memory_order_acquire);
    uint64_t word, next;

    do {
        if ((uint32_t) head == 0)
            return take_fresh(t, slot, generation);
        *slot = (uint32_t) head - 1;
        word = atomic_load_explicit(&pid_entry_at(t, *slot)->word, memory_order_relaxed);
        next = ((head >> 32) + 1) << 32 | (word & 0xffffff);
    } while (!atomic_compare_exchange_weak_explicit(&t->free_head, &head, next,
                                                    memory_order_acquire, memory_order_acquire));
    *generation = pid_word_generation(word);
    return EG_OK;
}

void pid_table_publish(struct pid_table *t, uint32_t slot, uint32_t generation, uint32_t home,
                       bool lendable, void *owner) {
    struct pid_entry *e = pid_entry_at(t, slot);
    EG_ASSERT(home < PID_HOME_NONE);
    atomic_store_explicit(&e->owner, owner, memory_order_relaxed);
    atomic_store_explicit(&e->word,
                          word_of(generation, home, lendable ? PID_LENDABLE | PID_LENT : 0),
                          memory_order_release);
}

void pid_table_release(struct pid_table *t, uint32_t slot, uint32_t generation) {
    struct pid_entry *e = pid_entry_at(t, slot);
    uint32_t next_generation = generation + 1;
    uint64_t head = atomic_load_explicit(&t->free_head, memory_order_relaxed);

    if (next_generation == 0) { /* retire it: no free entry, and no pid has generation 0 */
        atomic_store(&e->word, word_of(0, PID_HOME_NONE, 0));
        return;
    }
    do
        atomic_store_explicit(&e->word, word_of(next_generation, PID_HOME_NONE, (uint32_t) head),
                              memory_order_release);
    while (!atomic_compare_exchange_weak_explicit(&t->free_head, &head,
                                                  ((head >> 32) + 1) << 32 | (slot + 1),
                                                  memory_order_release, memory_order_relaxed));
}
