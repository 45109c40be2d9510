/* unique.c -- gates, entered in ascending order. */
#include "tables/unique.h"

bool unique_set_is_empty(const struct unique_set *set) {
    uint64_t any = 0;

    for (uint32_t i = 0; i < UNIQUE_GATES / 64; i++)
        any |= set->bits[i];
    return any == 0;
}

static bool enter_one(_Atomic uint32_t *gate, uint32_t patience) {
    for (;;) {
        uint32_t nobody = 0;

        if (atomic_load_explicit(gate, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(gate, &nobody, 1, memory_order_acquire,
                                                    memory_order_relaxed))
            return true;
        if (patience-- == 0)
            return false;
        EG_CPU_RELAX();
    }
}

bool unique_enter(struct unique_gates *g, const struct unique_set *set,
                  const struct unique_set *held, uint32_t patience) {
    struct unique_set entered = {{0}};

    for (uint32_t i = 0; i < UNIQUE_GATES / 64; i++) {
        uint64_t left = set->bits[i] & ~(held == NULL ? 0 : held->bits[i]);

        for (; left != 0; left &= left - 1) {
            uint32_t gate = 64 * i + (uint32_t) __builtin_ctzll(left);

            if (!enter_one(&g->holders[gate], patience)) {
                unique_leave(g, &entered);
                return false;
            }
            unique_set_add(&entered, gate);
        }
    }
    return true;
}

/* Add `n` to the holders of each gate of the set. */
static void add_holders(struct unique_gates *g, const struct unique_set *set, uint32_t n) {
    for (uint32_t i = 0; i < UNIQUE_GATES / 64; i++)
        for (uint64_t left = set->bits[i]; left != 0; left &= left - 1) {
            uint32_t gate = 64 * i + (uint32_t) __builtin_ctzll(left);
            uint32_t before = atomic_fetch_add_explicit(&g->holders[gate], n, memory_order_release);
            EG_ASSERT(before != 0);
        }
}

void unique_leave(struct unique_gates *g, const struct unique_set *set) {
    add_holders(g, set, UINT32_MAX); /* minus one */
}

void unique_share(struct unique_gates *g, const struct unique_set *set) {
    add_holders(g, set, 1);
}
