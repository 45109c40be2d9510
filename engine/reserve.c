/* reserve.c -- a row of places; whoever empties or fills one does it with one exchange. */
#include "engine/reserve.h"

eg_err reserve_open(struct reserve *r, struct alloc *a, size_t block_bytes) {
    r->alloc = a;
    r->block_bytes = block_bytes;
    atomic_init(&r->missing, RESERVE_BLOCKS);
    for (uint32_t i = 0; i < RESERVE_BLOCKS; i++)
        atomic_init(&r->block[i], NULL);
    reserve_fill(r);
    if (!reserve_is_short(r))
        return EG_OK;
    reserve_close(r);
    return EG_MEMORY;
}

void reserve_close(struct reserve *r) {
    for (uint32_t i = 0; i < RESERVE_BLOCKS; i++)
        alloc_put(r->alloc, atomic_exchange(&r->block[i], NULL), r->block_bytes);
}

void *reserve_take(struct reserve *r) {
    for (uint32_t i = 0; i < RESERVE_BLOCKS; i++) {
        void *block = atomic_exchange(&r->block[i], NULL);

        if (block != NULL) {
            atomic_fetch_add(&r->missing, 1);
            return block;
        }
    }
    return NULL;
}

void reserve_fill(struct reserve *r) {
    for (uint32_t i = 0; i < RESERVE_BLOCKS; i++) {
        void *empty = NULL, *block;

        if (atomic_load(&r->block[i]) != NULL)
            continue;
        block = alloc_get(r->alloc, r->block_bytes);
        if (block == NULL)
            return;
        if (atomic_compare_exchange_strong(&r->block[i], &empty, block))
            atomic_fetch_sub(&r->missing, 1);
        else
            alloc_put(r->alloc, block, r->block_bytes); /* another thread was first */
    }
}
