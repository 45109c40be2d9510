/* hash_tree.c -- leaves in a row; what lies above them is added up when it is asked for. */
#include "tables/hash_tree.h"

#include <string.h>
#include <xxhash.h>

/* Words of bits, of either kind. */
static uint32_t words_of(const struct hash_tree *t) {
    return EG_MAX(hash_tree_leaves(t) / 64, 1u);
}

static size_t bits_bytes(const struct hash_tree *t) {
    return (size_t) 2 * words_of(t) * sizeof *t->stale;
}

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
    t->shift = 64 - HASH_TREE_SHARD_BITS - depth * HASH_TREE_FAN_BITS;
    t->mask = leaves - 1;
    t->leaf = alloc_zero(a, leaves * sizeof *t->leaf);
    t->stale = t->leaf == NULL ? NULL : alloc_zero(a, bits_bytes(t));
    if (t->stale == NULL) {
        alloc_put(a, t->leaf, t->leaf == NULL ? 0 : leaves * sizeof *t->leaf);
        *t = (struct hash_tree){.alloc = a};
        return EG_MEMORY;
    }
    memset(t->stale, 0xff, bits_bytes(t) / 2);
    return EG_OK;
}

void hash_tree_close(struct hash_tree *t) {
    if (t->leaf == NULL)
        return;
    alloc_put(t->alloc, t->leaf, hash_tree_leaves(t) * sizeof *t->leaf);
    alloc_put(t->alloc, t->stale, bits_bytes(t));
    *t = (struct hash_tree){.alloc = t->alloc};
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

static bool is_set(const uint64_t *bits, uint32_t leaf) {
    return (bits[leaf / 64] >> leaf % 64 & 1) != 0;
}

uint32_t hash_tree_begin(struct hash_tree *t) {
    uint32_t words = words_of(t), count = 0;

    for (uint32_t i = 0; i < words; i++) /* what was not ended is summed anew */
        t->stale[i] |= t->stale[words + i];
    for (uint32_t i = 0; i < hash_tree_leaves(t); i++) {
        if (!is_set(t->stale, i))
            continue;
        t->leaf[i] = (struct hash_sum){0, 0};
        count++;
    }
    memcpy(t->stale + words, t->stale, words * sizeof *t->stale);
    memset(t->stale, 0, words * sizeof *t->stale);
    return count;
}

/* What has changed since it began is summed another time. */
static bool is_summed(const struct hash_tree *t, uint32_t leaf) {
    return is_set(t->stale + words_of(t), leaf) && !is_set(t->stale, leaf);
}

static void sum_add(struct hash_sum *to, struct hash_sum more) {
    to->low += more.low;
    to->high += more.high + (to->low < more.low);
}

void hash_tree_add_print(struct hash_tree *t, uint64_t hash, struct hash_sum print) {
    uint32_t leaf = hash_tree_leaf(t, hash);

    if (is_summed(t, leaf))
        sum_add(&t->leaf[leaf], print);
}

void hash_tree_add(struct hash_tree *t, const struct hash_item *item) {
    if (is_summed(t, hash_tree_leaf(t, item->hash)))
        hash_tree_add_print(t, item->hash, hash_tree_print(t->salt, item));
}

void hash_tree_end(struct hash_tree *t) {
    memset(t->stale + words_of(t), 0, words_of(t) * sizeof *t->stale);
}

uint64_t hash_tree_sum(const struct hash_tree *t, uint32_t level, uint32_t number) {
    uint32_t wide = UINT32_C(1) << ((t->depth - level) * HASH_TREE_FAN_BITS);
    struct hash_sum sum = {0, 0};

    EG_ASSERT(level <= t->depth && (uint64_t) (number + 1) * wide <= hash_tree_leaves(t));
    for (uint32_t i = 0; i < wide; i++)
        sum_add(&sum, t->leaf[(size_t) number * wide + i]);
    return sum.low ^ sum.high;
}

uint64_t hash_tree_rest(const struct hash_tree *t, const uint8_t *without) {
    struct hash_sum sum = {0, 0};

    for (uint32_t i = 0; i < hash_tree_leaves(t); i++)
        if (!without[i])
            sum_add(&sum, t->leaf[i]);
    return sum.low ^ sum.high;
}
