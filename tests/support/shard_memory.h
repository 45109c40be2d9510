/* shard_memory.h -- what a shard's structures are made from, in one piece.
 *
 * Epoch domain, slab and bin over an allocator that keeps accounts, and records
 * made in that slab.  Closing says whether anything leaked.
 */
#ifndef TESTS_SUPPORT_SHARD_MEMORY_H
#define TESTS_SUPPORT_SHARD_MEMORY_H

#include "engine/epoch.h"
#include "engine/slab.h"
#include "tables/record.h"
#include "tests/support/fail_alloc.h"

struct shard_memory {
    struct fail_alloc alloc;
    struct epoch *domain;
    struct slab *slab;
    struct epoch_bin bin;
};

/* Do not move it afterwards. */
void shard_memory_open(struct shard_memory *m);

/* Wait out all readers, free what was retired. */
void shard_memory_drain(struct shard_memory *m);

/* Asserts that no object but `left` is live, then closes all. */
void shard_memory_close(struct shard_memory *m, uint64_t left);

/* A record in the slab holding the array `v`; NULL: refused. */
struct record *shard_memory_record(struct shard_memory *m, struct value v, uint64_t hlc);
void shard_memory_free_record(struct shard_memory *m, const struct record *r);

#endif /* TESTS_SUPPORT_SHARD_MEMORY_H */
