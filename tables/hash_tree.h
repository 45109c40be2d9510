/* hash_tree.h -- what a copy of a shard has, as sums over parts of it: two copies find where they
 * differ by comparing a few of them.
 *
 *     node      root ---- 8 nodes ---- 64 ---- ... ---- 8^depth leaves, by the keys' hashes
 *     its sum   over all records below it of print(key, version, content), modulo 2^128
 *
 * A sum and not an exclusive or: two equal prints must not cancel each other.  A print is keyed
 * with a salt that nobody who chooses keys can know: it is drawn for each comparison.
 *
 * A leaf is summed when it is asked for, by whoever goes through the shard: first all are stale;
 * hash_tree_begin() makes the stale ones zero, and hash_tree_add() adds to those alone.  A change
 * marks its leaf stale again (hash_tree_mark(): one bit), so only what has changed since is summed
 * another time.
 *
 * Threads    One owner's.
 * Memory     16 bytes and two bits a leaf.
 */
#ifndef TABLES_HASH_TREE_H
#define TABLES_HASH_TREE_H

#include "engine/alloc.h"
#include "tables/value.h"

enum {
    HASH_TREE_FAN_BITS = 3,
    HASH_TREE_FAN = 1 << HASH_TREE_FAN_BITS,
    HASH_TREE_DEPTH_MAX = 5, /* 32,768 leaves */
    HASH_TREE_LEAF_RECORDS = 8,
    HASH_TREE_SHARD_BITS = 16, /* the highest of a hash: the same in all keys of a shard */
};

struct hash_sum {
    uint64_t low, high;
};

struct hash_tree {
    struct alloc *alloc;
    struct hash_sum *leaf; /* NULL: it is not open */
    uint64_t *stale;       /* a bit for each leaf; behind them as many: it is being summed */
    uint64_t salt;
    uint32_t depth;
    uint32_t shift, mask; /* a leaf's number: so many bits of a hash from the right, and so many */
};

/* What is summed of one record or grave. */
struct hash_item {
    uint64_t hash; /* of the key */
    uint64_t origin, sequence, hlc, expiry_ms;
    struct value content, state; /* size 0: none */
};

/* As many leaves as are right for so many records. */
uint32_t hash_tree_depth(uint64_t records);
/* All leaves are stale.  EG_MEMORY. */
EG_MUST_USE eg_err hash_tree_open(struct hash_tree *t, struct alloc *a, uint32_t depth,
                                  uint64_t salt);
void hash_tree_close(struct hash_tree *t);
static inline uint32_t hash_tree_leaves(const struct hash_tree *t) {
    return UINT32_C(1) << (t->depth * HASH_TREE_FAN_BITS);
}

static inline uint32_t hash_tree_leaf(const struct hash_tree *t, uint64_t hash) {
    return (uint32_t) (hash >> t->shift) & t->mask;
}
struct hash_sum hash_tree_print(uint64_t salt, const struct hash_item *item);

/* Returns how many leaves are stale; they are zero now, and add() is to be called for all that is
 * in them. */
uint32_t hash_tree_begin(struct hash_tree *t);
void hash_tree_add(struct hash_tree *t, const struct hash_item *item);
void hash_tree_add_print(struct hash_tree *t, uint64_t hash, struct hash_sum print);
/* All that was stale has been added. */
void hash_tree_end(struct hash_tree *t);
/* Before a mark: while a shard is not written, its bits leave the cache. */
static inline void hash_tree_prefetch(const struct hash_tree *t, uint64_t hash) {
    EG_PREFETCH_TO_WRITE(&t->stale[hash_tree_leaf(t, hash) / 64]);
}
static inline void hash_tree_mark(struct hash_tree *t, uint64_t hash) {
    uint32_t leaf = hash_tree_leaf(t, hash);

    t->stale[leaf / 64] |= UINT64_C(1) << leaf % 64;
}

/* The sum of a node, cut to 64 bits: level 0 is the root, number 0; level `depth` are the leaves.
 */
uint64_t hash_tree_sum(const struct hash_tree *t, uint32_t level, uint32_t number);
/* Of all leaves but those that are marked in `without`, one byte each. */
uint64_t hash_tree_rest(const struct hash_tree *t, const uint8_t *without);

#endif /* TABLES_HASH_TREE_H */
