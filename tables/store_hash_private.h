/* store_hash_private.h -- the shape of a hash store, shared by its files.
 *
 *     store_hash.c       look-up and change of one key; the protocol and its proof
 *     store_hash_move.c  split, merge, compaction: what moves records between slots
 *     store_hash_scan.c  scans in the order of hashes, snapshots
 *     store_hash_sweep.c going through all of it, fast
 *
 * A chain is a bucket and the overflow nodes behind it.  Both are rows of atomic
 * words, slots first and the link to the next node last, so one loop walks both:
 *
 *     bucket 64 B  | slot | slot | slot | slot | slot | slot | slot | next |
 *     node   32 B  | slot | slot | slot | next |
 *     slot         | tag 16 | address of the record 45 | 0 | 0 | young |    0: empty
 */
#ifndef TABLES_STORE_HASH_PRIVATE_H
#define TABLES_STORE_HASH_PRIVATE_H

#include "tables/store.h"

enum {
    BUCKET_SLOTS = 7,
    NODE_SLOTS = 3,
    BUCKET_WORDS = BUCKET_SLOTS + 1,
    NODE_WORDS = NODE_SLOTS + 1,
    BUCKET_BYTES = BUCKET_WORDS * 8,
    NODE_BYTES = NODE_WORDS * 8,
    ORDERS = 32, /* 2^31 buckets at most: 10^10 records a shard */

    /* Records a bucket, times 10.  Split above 5.5: an index of 13.3 bytes a record
     * and 1.13 lines a hit (a fuller table saves little and misses more).  Merge
     * below 80 % of it, so that a steady table does neither. */
    SPLIT_ABOVE_X10 = 55,
    MERGE_BELOW_X10 = 44,
};

#define SLOT_YOUNG   UINT64_C(1) /* put while a snapshot was open: not of its moment */
#define SLOT_ADDRESS UINT64_C(0x0000fffffffffff8)

typedef _Atomic uint64_t hash_word;

struct hash_snapshot;

struct store_hash {
    struct store base;
    _Atomic uint64_t header;          /* relocations so far:32 | buckets:32         */
    hash_word *_Atomic order[ORDERS]; /* order[k]: buckets 2^(k-1) .. 2^k - 1       */

    _Atomic uint64_t count; /* from here on the owner's; counts are read by others */
    _Atomic uint64_t nodes;
    _Atomic uint64_t removals; /* begun and ended: odd while one is under way         */
    uint64_t seed;
    struct alloc *alloc;
    struct slab *slab;
    struct epoch_bin *bin;
    hash_word *spares; /* nodes taken ahead of a relocation, linked by their last word */
    uint32_t spare_count;
    uint32_t wipe_at;               /* next bucket to clear of young marks */
    bool wipe;                      /* there may be some                   */
    _Atomic uint64_t kept_bytes;    /* records that the open one keeps    */
    bool marked;                    /* since the open one, some were put   */
    struct hash_snapshot *snapshot; /* the open one                        */
};

static inline struct store_hash *hash_of(struct store *s) {
    return EG_CONTAINER_OF(s, struct store_hash, base);
}

/* ---- words ---------------------------------------------------------------- */

static inline uint64_t word_get(hash_word *w) {
    return atomic_load_explicit(w, memory_order_acquire);
}
static inline void word_set(hash_word *w, uint64_t value) {
    atomic_store_explicit(w, value, memory_order_release);
}
static inline uint64_t tag_of_hash(uint64_t hash) {
    return hash >> 32 & 0xffff;
}
static inline uint64_t slot_of(const struct record *rec, uint64_t hash) {
    uint64_t address = (uint64_t) (uintptr_t) rec;
    EG_ASSERT((address & ~SLOT_ADDRESS) == 0); /* 48-bit user space, 8-byte alignment */
    return tag_of_hash(hash) << 48 | address;
}
static inline struct record *slot_record(uint64_t slot) {
    return (struct record *) (uintptr_t) (slot & SLOT_ADDRESS);
}
static inline hash_word *link_of(uint64_t next) {
    return (hash_word *) (uintptr_t) next;
}

/* One step of a walk: `g` is a row of `slots` slots. */
struct hash_group {
    hash_word *words; /* NULL: the end of the chain */
    uint32_t slots;
};

static inline struct hash_group group_first(hash_word *bucket) {
    return (struct hash_group){bucket, BUCKET_SLOTS};
}
static inline struct hash_group group_next(struct hash_group g) {
    return (struct hash_group){link_of(word_get(&g.words[g.slots])), NODE_SLOTS};
}

/* for each group of the chain: for each slot in it */
#define EACH_SLOT(g, i, bucket)                                                                    \
    for (struct hash_group g = group_first(bucket); g.words != NULL; g = group_next(g))            \
        for (uint32_t i = 0; i < g.slots; i++)

/* ---- buckets --------------------------------------------------------------- */

static inline uint32_t header_buckets(uint64_t header) {
    return (uint32_t) header;
}
static inline uint32_t log2_of(uint32_t n) {
    return 31u - (uint32_t) __builtin_clz(n);
}
/* All ones, as wide as the index of the last of `buckets` (at least 1). */
static inline uint32_t bucket_mask(uint32_t buckets) {
    return UINT32_MAX >> __builtin_clz((buckets - 1) | 1);
}
/* Linear hashing: as many bits as name a bucket that is there already. */
static inline uint32_t bucket_index(uint64_t hash, uint32_t buckets) {
    uint32_t mask = bucket_mask(buckets);
    uint32_t index = (uint32_t) hash & mask;
    return index < buckets ? index : index & (mask >> 1);
}
static inline uint32_t order_of_bucket(uint32_t index) {
    return index == 0 ? 0 : log2_of(index) + 1;
}
/* NULL: the table has shrunk since its header was read. */
static inline hash_word *bucket_at(struct store_hash *s, uint32_t index) {
    uint32_t k = order_of_bucket(index);
    hash_word *first = atomic_load_explicit(&s->order[k], memory_order_acquire);
    return first == NULL ? NULL : first + (size_t) (index - (1u << k >> 1)) * BUCKET_WORDS;
}

/* ---- positions: hashes read from their low end (store_hash_scan.c) -------------- */

static inline uint64_t hash_reverse(uint64_t n) {
    n = (n >> 1 & UINT64_C(0x5555555555555555)) | (n & UINT64_C(0x5555555555555555)) << 1;
    n = (n >> 2 & UINT64_C(0x3333333333333333)) | (n & UINT64_C(0x3333333333333333)) << 2;
    n = (n >> 4 & UINT64_C(0x0f0f0f0f0f0f0f0f)) | (n & UINT64_C(0x0f0f0f0f0f0f0f0f)) << 4;
    return __builtin_bswap64(n);
}
/* By how many positions a bucket is wide, less one: a row of ones. */
static inline uint64_t hash_bucket_width(uint32_t index, uint32_t buckets) {
    uint32_t mask = bucket_mask(buckets);
    uint32_t half = mask >> 1;

    if (buckets == 1)
        return UINT64_MAX;
    if (index <= half && (index | (half + 1)) >= buckets)
        mask = half; /* not split in this round yet */
    return UINT64_MAX >> (log2_of(mask) + 1);
}
/* The last position that belongs to a bucket. */
static inline uint64_t hash_bucket_end(uint32_t index, uint32_t buckets) {
    return hash_reverse(index) | hash_bucket_width(index, buckets);
}

static inline uint64_t hash_of_record(const struct store_hash *s, const struct record *rec) {
    return key_hash(record_key(rec), s->seed);
}

/* The owner's own counters: others only read them. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t n) {
    uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, now + n, memory_order_relaxed);
}

/* ---- between the files ----------------------------------------------------- */

/* store_hash_move.c */
eg_err hash_order_reserve(struct store_hash *s, uint32_t order);
bool hash_spares_reserve(struct store_hash *s, uint32_t count);
hash_word *hash_spare_take(struct store_hash *s);
void hash_split(struct store_hash *s);
void hash_merge(struct store_hash *s);
void hash_compact(struct store_hash *s, hash_word *bucket);
void hash_chain_retire(struct store_hash *s, hash_word *bucket);
void hash_shrink_to_one(struct store_hash *s);

/* store_hash_scan.c */
void hash_seek(struct store *base, struct reader *r, struct store_cursor *c, const struct key *k,
               bool after, bool reverse);
const struct record *hash_next(struct store *base, struct reader *r, struct store_cursor *c);
/* Some records at or behind `at`, by hash and key, none twice, and the position behind
 * them; may find none.  *last: nothing comes behind them. */
enum { HASH_GATHER_RECORDS = 8 };
uint32_t hash_gather(struct store_hash *s, uint64_t *at, const struct record **out, bool *last);
void hash_snapshot_keep(struct hash_snapshot *p, const struct record *rec);
eg_err hash_snapshot_open(struct store *base, struct store_snapshot **out);
eg_err hash_snapshot_next(struct store_snapshot *base, struct reader *r, const struct record **out);
void hash_snapshot_close(struct store *base, struct store_snapshot *p);

#endif /* TABLES_STORE_HASH_PRIVATE_H */
