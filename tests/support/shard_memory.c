/* shard_memory.c -- an epoch domain, a slab and a bin for tests. */
#include "tests/support/shard_memory.h"

void shard_memory_open(struct shard_memory *m) {
    eg_err err;

    m->alloc = fail_alloc_after(INT_MAX);
    err = epoch_open(&m->domain, &m->alloc.base, 64);
    EG_ASSERT(err == EG_OK);
    err = slab_open(&m->slab, &m->alloc.base);
    EG_ASSERT(err == EG_OK);
    epoch_bin_init(&m->bin, m->domain, &m->alloc.base);
}

void shard_memory_drain(struct shard_memory *m) {
    epoch_bin_drain(&m->bin);
}

void shard_memory_close(struct shard_memory *m, uint64_t left) {
    epoch_bin_drain(&m->bin);
    if (m->bin.lost_bytes == 0) /* where the queue itself was refused memory, slab_close frees */
        EG_ASSERT(slab_stats(m->slab).objects == left);
    slab_close(m->slab);
    epoch_close(m->domain);
    EG_ASSERT(m->alloc.live == 0);
}

struct record *shard_memory_record(struct shard_memory *m, struct value v, uint64_t hlc) {
    void *memory = slab_get(m->slab, record_bytes_for(v.size_bytes, false));

    if (memory == NULL)
        return NULL;
    return record_init(memory, v, (struct record_version){.hlc = hlc}, 0);
}

void shard_memory_free_record(struct shard_memory *m, const struct record *r) {
    slab_put(m->slab, (void *) r, record_bytes(r));
}
