/* bond.c -- the hash table of a scheduler's bonds: chains, doubled when full.
 *
 * Hashes mix numbers that runs of one seed give alike, and nothing ever walks the
 * table, so no seed of its own is needed. */
#include "engine/bond.h"

enum { BOND_BUCKETS_MIN = 64 };

eg_err bond_table_open(struct bond_table *t, struct alloc *a) {
    t->buckets = alloc_zero(a, BOND_BUCKETS_MIN * sizeof *t->buckets);
    if (t->buckets == NULL)
        return EG_MEMORY;
    t->alloc = a;
    t->bucket_count = BOND_BUCKETS_MIN;
    t->count = 0;
    return EG_OK;
}

void bond_table_close(struct bond_table *t) {
    EG_ASSERT(t->count == 0);
    alloc_put(t->alloc, t->buckets, t->bucket_count * sizeof *t->buckets);
}

static uint64_t key_of(enum bond_kind kind, eg_pid peer, eg_ref ref) {
    if (kind != BOND_LINK)
        return ref;
    return ((uint64_t) peer.generation << 32 | peer.slot) + ((uint64_t) peer.node << 17);
}

static struct bond **bucket_of(struct bond_table *t, uint32_t owner_slot, enum bond_kind kind,
                               uint64_t key) {
    uint64_t h = (key ^ (uint64_t) owner_slot << 40) + (uint64_t) kind;
    h *= UINT64_C(0x9e3779b97f4a7c15); /* Fibonacci hashing: the high bits are well mixed */
    return &t->buckets[(h >> 32) & (t->bucket_count - 1)];
}

static struct bond **home_of(struct bond_table *t, const struct bond *b) {
    return bucket_of(t, b->owner_slot, b->kind, key_of(b->kind, b->peer, b->ref));
}

static void grow(struct bond_table *t) {
    struct bond_table old = *t;
    struct bond **fresh = alloc_zero(t->alloc, 2 * sizeof *fresh * t->bucket_count);
    if (fresh == NULL)
        return;
    t->buckets = fresh;
    t->bucket_count *= 2;
    for (uint32_t i = 0; i < old.bucket_count; i++) {
        struct bond *b = old.buckets[i];
        while (b != NULL) {
            struct bond *next = b->hash_next;
            struct bond **at = home_of(t, b);
            b->hash_next = *at;
            *at = b;
            b = next;
        }
    }
    alloc_put(t->alloc, old.buckets, old.bucket_count * sizeof *old.buckets);
}

void bond_table_add(struct bond_table *t, struct bond *b) {
    struct bond **at;
    EG_ASSERT(!b->hashed);
    if (t->count >= t->bucket_count && t->bucket_count < UINT32_C(1) << 31)
        grow(t);
    at = home_of(t, b);
    b->hash_next = *at;
    *at = b;
    b->hashed = true;
    t->count++;
}

void bond_table_remove(struct bond_table *t, struct bond *b) {
    struct bond **at = home_of(t, b);
    while (*at != b) {
        EG_ASSERT(*at != NULL);
        at = &(*at)->hash_next;
    }
    *at = b->hash_next;
    b->hashed = false;
    t->count--;
}

struct bond *bond_table_find(struct bond_table *t, uint32_t owner_slot, enum bond_kind kind,
                             eg_pid peer, eg_ref ref) {
    struct bond *b = *bucket_of(t, owner_slot, kind, key_of(kind, peer, ref));
    for (; b != NULL; b = b->hash_next) {
        if (b->kind != kind || b->owner_slot != owner_slot)
            continue;
        if (kind == BOND_LINK ? eg_pid_equal(b->peer, peer) : b->ref == ref)
            return b;
    }
    return NULL;
}
