/* hash_tree.c -- leaves in a row; what lies above them is added up when it is asked for. */
#include "tables/hash_tree.h"

#include <string.h>
#include <xxhash.h>

enum {
    LEAF_FRESH,
    LEAF_STALE,
    LEAF_SUMMING,
    SHARD_HASH_BITS = 16, /* the highest: the same in all keys of a shard */
};

uint32_t hash_tree_depth(uint64_t records) {
    uint32_t depth = 0;

    while (depth < HASH_TREE_DEPTH_MAX &&
           records >> (depth * HASH_TREE_FAN_BITS) > HASH_TREE_LEAF_RECORDS)
        depth++;
    return depth;
}

eg_err hash_tree_open(struct hash_tree *t, struct alloc *a, uint32_t depth, uint64_t salt) {
    uint32_t leaves;

    EG_ASSERT(depth <= HASH_TREE_DEPTH_MAX);
    *t = (struct hash_tree){.alloc = a, .salt = salt, .depth = depth};
    leaves = hash_tree_leaves(t);
    t->leaf = alloc_zero(a, leaves * sizeof *t->leaf);
    t->stale = t->leaf == NULL ? NULL : alloc_get(a, leaves);
    if (t->stale == NULL) {
        alloc_put(a, t->leaf, t->leaf == NULL ? 0 : leaves * sizeof *t->leaf);
        *t = (struct hash_tree){.alloc = a};
        return EG_MEMORY;
    }
    memset(t->stale, LEAF_STALE, leaves);
    return EG_OK;
}

void hash_tree_close(struct hash_tree *t) {
    if (t->leaf == NULL)
        return;
    alloc_put(t->alloc, t->leaf, hash_tree_leaves(t) * sizeof *t->leaf);
    alloc_put(t->alloc, t->stale, hash_tree_leaves(t));
    *t = (struct hash_tree){.alloc = t->alloc};
}

uint32_t hash_tree_leaf(const struct hash_tree *t, uint64_t hash) {
    return t->depth == 0
               ? 0
               : (uint32_t) (hash << SHARD_HASH_BITS >> (64 - t->depth * HASH_TREE_FAN_BITS));
}

struct hash_sum hash_tree_print(uint64_t salt, const struct hash_item *item) {
    const uint64_t all[] = {
        item->hash,
        item->origin,
        item->sequence,
        item->hlc,
        item->expiry_ms,
        XXH3_64bits_withSeed(item->content.at, item->content.size_bytes, salt),
        item->state.size_bytes == 0
            ? 0
            : XXH3_64bits_withSeed(item->state.at, item->state.size_bytes, ~salt),
    };
    XXH128_hash_t h = XXH3_128bits_withSeed(all, sizeof all, salt);

    return (struct hash_sum){h.low64, h.high64};
}

uint32_t hash_tree_begin(struct hash_tree *t) {
    uint32_t count = 0;

    for (uint32_t i = 0; i < hash_tree_leaves(t); i++) {
        if (t->stale[i] == LEAF_FRESH)
            continue;
        t->stale[i] = LEAF_SUMMING;
        t->leaf[i] = (struct hash_sum){0, 0};
        count++;
    }
    return count;
}

static void sum_add(struct hash_sum *to, struct hash_sum more) {
    to->low += more.low;
    to->high += more.high + (to->low < more.low);
}

void hash_tree_add(struct hash_tree *t, const struct hash_item *item) {
    uint32_t leaf = hash_tree_leaf(t, item->hash);

    if (t->stale[leaf] == LEAF_SUMMING)
        sum_add(&t->leaf[leaf], hash_tree_print(t->salt, item));
}

void hash_tree_end(struct hash_tree *t) {
    for (uint32_t i = 0; i < hash_tree_leaves(t); i++)
        if (t->stale[i] == LEAF_SUMMING)
            t->stale[i] = LEAF_FRESH;
}

void hash_tree_mark(struct hash_tree *t, uint64_t hash) {
    t->stale[hash_tree_leaf(t, hash)] = LEAF_STALE;
}

uint64_t hash_tree_sum(const struct hash_tree *t, uint32_t level, uint32_t number) {
    uint32_t wide = UINT32_C(1) << ((t->depth - level) * HASH_TREE_FAN_BITS);
    struct hash_sum sum = {0, 0};

    EG_ASSERT(level <= t->depth && (uint64_t) (number + 1) * wide <= hash_tree_leaves(t));
    for (uint32_t i = 0; i < wide; i++)
        sum_add(&sum, t->leaf[(size_t) number * wide + i]);
    return sum.low ^ sum.high;
}
