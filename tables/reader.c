/* reader.c -- an epoch section with scratch memory that ends with it. */
#include "tables/reader.h"

enum {
    CHUNK_BYTES = 4096, /* a handful of records; larger ones get a chunk of their own */
    SCRATCH_ALIGN = 16,
};

struct reader_chunk {
    struct reader_chunk *next; /* older */
    size_t size_bytes;         /* of data[] */
    size_t used_bytes;
    _Alignas(SCRATCH_ALIGN) uint8_t data[];
};

eg_err reader_open(struct reader *r, struct epoch *domain, struct alloc *a) {
    struct epoch_slot *slot = epoch_slot_claim(domain);

    if (slot == NULL)
        return EG_BUSY;
    *r = (struct reader){.slot = slot, .alloc = a};
    return EG_OK;
}

void reader_of_scheduler(struct reader *r, struct epoch_slot *slot, struct alloc *a) {
    *r = (struct reader){.slot = slot, .alloc = a, .scheduler = true};
}

void reader_close(struct reader *r) {
    reader_reset(r);
    if (!r->scheduler)
        epoch_slot_release(r->slot);
    r->slot = NULL;
}

void reader_enter(struct reader *r) {
    if (!r->scheduler)
        epoch_enter(r->slot);
    else if (atomic_load_explicit(&r->slot->reading_since, memory_order_relaxed) == 0)
        epoch_online(r->slot); /* a poll callback: the loop went offline before it slept */
}

void reader_exit(struct reader *r) {
    if (r->scheduler)
        return; /* its section is the dispatch */
    if (r->slot->depth == 1 && EG_UNLIKELY(r->chunks != NULL))
        reader_reset(r);
    epoch_exit(r->slot);
}

void *reader_scratch(struct reader *r, size_t size_bytes) {
    struct reader_chunk *chunk = r->chunks;
    size_t need = (size_bytes + SCRATCH_ALIGN - 1) / SCRATCH_ALIGN * SCRATCH_ALIGN;
    void *ptr;

    if (chunk == NULL || chunk->size_bytes - chunk->used_bytes < need) {
        size_t room = EG_MAX(need, (size_t) CHUNK_BYTES - sizeof *chunk);
        chunk = alloc_get(r->alloc, sizeof *chunk + room);
        if (chunk == NULL)
            return NULL;
        *chunk = (struct reader_chunk){.next = r->chunks, .size_bytes = room};
        r->chunks = chunk;
    }
    ptr = chunk->data + chunk->used_bytes;
    chunk->used_bytes += need;
    return ptr;
}

void reader_reset(struct reader *r) {
    while (r->chunks != NULL) {
        struct reader_chunk *chunk = r->chunks;
        r->chunks = chunk->next;
        alloc_put(r->alloc, chunk, sizeof *chunk + chunk->size_bytes);
    }
}
