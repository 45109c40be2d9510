/* store_hash_move.c -- how a hash store grows and shrinks by one bucket.
 *
 * All three moves follow the protocol at the top of store_hash.c: copy, publish,
 * erase, unlink.  What they may need is reserved first, so that they either
 * happen whole or, without memory, not at all: then chains are longer for a
 * while and everything else goes on.
 *
 * Buckets come in orders, each as large as all before it, mapped and not yet
 * written: growth touches one bucket at a time and never copies a directory.
 */
#include "tables/store_hash_private.h"

#include <string.h>

/* ---- orders ---------------------------------------------------------------- */

static size_t order_bytes(uint32_t k) {
    return (size_t) BUCKET_BYTES << (k == 0 ? 0 : k - 1);
}

static void unmap_order(void *alloc, void *ptr, size_t size_bytes) {
    alloc_unmap(alloc, ptr, size_bytes);
}

eg_err hash_order_reserve(struct store_hash *s, uint32_t k) {
    size_t bytes = order_bytes(k);
    void *order;

    if (s->order[k] != NULL)
        return EG_OK;
    order = bytes <= SLAB_OBJECT_MAX ? slab_get(s->slab, bytes) : alloc_map(s->alloc, bytes);
    if (order == NULL)
        return EG_MEMORY;
    if (bytes <= SLAB_OBJECT_MAX)
        memset(order, 0, bytes);
    atomic_store_explicit(&s->order[k], order, memory_order_release);
    return EG_OK;
}

/* No bucket of order k is in use.  A reader with an older header finds NULL,
 * which tells it to look at the header again. */
static void order_release(struct store_hash *s, uint32_t k) {
    hash_word *order = s->order[k];
    size_t bytes = order_bytes(k);

    if (order == NULL)
        return;
    atomic_store_explicit(&s->order[k], NULL, memory_order_release);
    if (bytes <= SLAB_OBJECT_MAX)
        epoch_retire(s->bin, slab_free, s->slab, order, bytes);
    else
        epoch_retire(s->bin, unmap_order, s->alloc, order, bytes);
}

/* ---- nodes ----------------------------------------------------------------- */

bool hash_spares_reserve(struct store_hash *s, uint32_t count) {
    while (s->spare_count < count) {
        hash_word *node = slab_get(s->slab, NODE_BYTES);
        if (node == NULL)
            return false;
        for (uint32_t i = 0; i < NODE_SLOTS; i++)
            atomic_init(&node[i], 0);
        atomic_init(&node[NODE_SLOTS], (uint64_t) (uintptr_t) s->spares);
        s->spares = node;
        s->spare_count++;
        counter_add(&s->nodes, 1);
    }
    return true;
}

hash_word *hash_spare_take(struct store_hash *s) {
    hash_word *node = s->spares;

    EG_ASSERT(node != NULL); /* reserved before the move began */
    s->spares = link_of(word_get(&node[NODE_SLOTS]));
    s->spare_count--;
    atomic_store_explicit(&node[NODE_SLOTS], 0, memory_order_relaxed);
    return node;
}

/* Retire the nodes that hang on a link.  Readers inside them find their way out:
 * the nodes' own links stay as they are. */
static void nodes_retire(struct store_hash *s, hash_word *link) {
    hash_word *node = link_of(word_get(link));

    word_set(link, 0);
    while (node != NULL) {
        hash_word *next = link_of(word_get(&node[NODE_SLOTS]));
        epoch_retire(s->bin, slab_free, s->slab, (void *) node, NODE_BYTES);
        counter_add(&s->nodes, (uint64_t) -1);
        node = next;
    }
}

void hash_chain_retire(struct store_hash *s, hash_word *bucket) {
    nodes_retire(s, &bucket[BUCKET_SLOTS]);
}

/* ---- chains ---------------------------------------------------------------- */

struct chain_size {
    uint32_t live, nodes;
};

static struct chain_size chain_size(hash_word *bucket) {
    struct chain_size size = {0, 0};

    EACH_SLOT(g, i, bucket) {
        size.live += word_get(&g.words[i]) != 0;
        size.nodes += i == 0 && g.words != bucket;
    }
    return size;
}

static uint32_t nodes_for(uint32_t live) {
    return live <= BUCKET_SLOTS ? 0 : (live - BUCKET_SLOTS + NODE_SLOTS - 1) / NODE_SLOTS;
}

/* Copy a slot into the first empty one of a chain, or a spare node behind it.
 * Young marks outlive their snapshot only until someone passes by. */
static void chain_add(struct store_hash *s, hash_word *bucket, uint64_t slot) {
    hash_word *last_link = NULL, *node;

    if (s->snapshot == NULL)
        slot &= ~SLOT_YOUNG;
    EACH_SLOT(g, i, bucket) {
        if (word_get(&g.words[i]) == 0) {
            word_set(&g.words[i], slot);
            return;
        }
        last_link = &g.words[g.slots];
    }
    node = hash_spare_take(s);
    word_set(&node[0], slot);
    word_set(last_link, (uint64_t) (uintptr_t) node);
}

static bool chain_holds(hash_word *bucket, const struct record *rec) {
    EACH_SLOT(g, i, bucket) {
        uint64_t slot = word_get(&g.words[i]);
        if (slot != 0 && slot_record(slot) == rec)
            return true;
    }
    return false;
}

/* Step (b): readers that began before and missed will look again. */
static void publish(struct store_hash *s, uint32_t buckets) {
    uint64_t relocations = (uint32_t) (word_get(&s->header) >> 32) + 1u;
    word_set(&s->header, relocations << 32 | buckets);
}

/* ---- compaction ------------------------------------------------------------ */

void hash_compact(struct store_hash *s, hash_word *bucket) {
    struct hash_group last = group_first(bucket); /* of the groups that stay */
    struct chain_size size;
    bool moved = false;
    hash_word *tail;

    if (word_get(&bucket[BUCKET_SLOTS]) == 0)
        return;
    size = chain_size(bucket);
    if (nodes_for(size.live) == size.nodes)
        return;
    for (uint32_t i = 0; i < nodes_for(size.live); i++)
        last = group_next(last);
    tail = link_of(word_get(&last.words[last.slots]));

    /* The tail's records fit into the holes before it; chain_add finds those first. */
    for (struct hash_group g = {tail, NODE_SLOTS}; g.words != NULL; g = group_next(g))
        for (uint32_t i = 0; i < g.slots; i++)
            if (word_get(&g.words[i]) != 0) {
                chain_add(s, bucket, word_get(&g.words[i]));
                moved = true;
            }
    if (moved)
        publish(s, header_buckets(s->header));
    for (struct hash_group g = {tail, NODE_SLOTS}; g.words != NULL; g = group_next(g))
        for (uint32_t i = 0; i < g.slots; i++)
            word_set(&g.words[i], 0);
    nodes_retire(s, &last.words[last.slots]);
}

/* ---- split and merge ------------------------------------------------------- */

static void prefetch_records(hash_word *bucket) {
    EACH_SLOT(g, i, bucket) {
        EG_PREFETCH(slot_record(word_get(&g.words[i])));
    }
}

/* Add one bucket; it takes half of an older one's records. */
void hash_split(struct store_hash *s) {
    uint32_t buckets = header_buckets(s->header);
    uint32_t from_index = buckets - (1u << log2_of(buckets));
    hash_word *from = bucket_at(s, from_index), *to;

    if (buckets > INT32_MAX)
        return; /* chains grow instead */
    if (!hash_spares_reserve(s, chain_size(from).nodes) ||
        hash_order_reserve(s, order_of_bucket(buckets)) != EG_OK)
        return; /* tried again by the next insert */
    to = bucket_at(s, buckets);
    prefetch_records(from);

    EACH_SLOT(g, i, from) {
        uint64_t slot = word_get(&g.words[i]);
        if (slot == 0 || bucket_index(hash_of_record(s, slot_record(slot)), buckets + 1) != buckets)
            continue;
#ifdef EG_PLANT_ERASE_FIRST /* a defect for the stress test to find */
        word_set(&g.words[i], 0);
#endif
        chain_add(s, to, slot);
    }
    publish(s, buckets + 1);
    EACH_SLOT(g, i, from) {
        uint64_t slot = word_get(&g.words[i]);
        if (slot != 0 && chain_holds(to, slot_record(slot)))
            word_set(&g.words[i], 0);
    }
    hash_compact(s, from);
}

/* Take the last bucket away; its records go back to where they came from. */
void hash_merge(struct store_hash *s) {
    uint32_t last = header_buckets(s->header) - 1;
    uint32_t unused_order = order_of_bucket(last - 1) + 1;
    hash_word *from = bucket_at(s, last), *to = bucket_at(s, last - (1u << log2_of(last)));

    if (!hash_spares_reserve(s, nodes_for(chain_size(from).live + chain_size(to).live) -
                                    chain_size(to).nodes))
        return;
    EACH_SLOT(g, i, from) {
        if (word_get(&g.words[i]) != 0)
            chain_add(s, to, word_get(&g.words[i]));
    }
    publish(s, last);
    EACH_SLOT(g, i, from) {
        word_set(&g.words[i], 0);
    }
    hash_chain_retire(s, from);

    /* An eighth below the boundary, so that a size that swings there maps nothing. */
    if (unused_order < ORDERS && last <= (1u << unused_order >> 1) / 8 * 7)
        order_release(s, unused_order);
}

/* All chains are empty and have no nodes. */
void hash_shrink_to_one(struct store_hash *s) {
    publish(s, 1);
    for (uint32_t k = 1; k < ORDERS; k++)
        order_release(s, k);
    s->wipe = false;
}
