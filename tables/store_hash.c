/* store_hash.c -- records of one shard by key: linear hashing, readers wait-free.
 *
 * Buckets are one cache line.  A slot holds a record's address and 16 bits of its
 * hash in one atomic word, so insert, replace and delete are one store each and a
 * look-up touches the bucket and then, all but certainly, the right record.
 * Records are outside and immutable: nobody sees half of one.  The table grows
 * and shrinks by one bucket at a time, there is never a rehash to wait for.
 *
 * The one writer:
 *
 *     replace   store(slot, new);                    retire(old)
 *     insert    store(empty slot, new), or link a new node that holds it
 *     delete    count one removal more; store(slot, 0); retire(old); count it again
 *     relocate  (split, merge, compaction are all this; store_hash_move.c)
 *               (a) copy each moving slot to its new place
 *               (b) store(header, new bucket count and relocation number)
 *               (c) erase each old slot
 *               (d) unlink nodes that became empty; their own links stay
 *
 * A reader loads the header, walks the chain that it names, and
 *
 *     HIT   returns the record.  Nothing needs to be checked: the slot held it
 *           when it was loaded.  Between (a) and (c) nothing else is changed, so
 *           both copies are current; and a reader that has seen a later value of
 *           the key, itself or through a message, has (c) or the replacement in
 *           its past and cannot load the older word again.
 *     MISS  loads the header again, and starts over where it changed.  A slot seen
 *           erased by (c) makes the store (b) visible too (release, acquire), so a
 *           record that was there all the time is never missed.  The number of
 *           relocations tells apart a table that was split and merged back.
 *
 * Loads of slots and links are acquire, stores release; no fence is needed, which
 * also means that ThreadSanitizer sees the whole protocol.
 *
 * Invariants (checked by hash_check):
 *   (1) a record is in exactly one slot, in the chain of its hash, with its tag.
 *   (2) no two records have equal keys.
 *   (3) a chain has as few nodes as its records need.
 *   (4) 10 * count stays about between MERGE_BELOW and SPLIT_ABOVE times buckets.
 *
 * Source     W. Litwin 1980 (linear hashing); Chandramouli et al. 2018 (FASTER: tags in
 *            addresses); M. Desnoyers' urcu rculfhash (tables by order).
 */
#include "tables/store_hash_private.h"

#include "tables/reader.h"

#include <string.h>

/* ---- look-up --------------------------------------------------------------- */

static bool key_matches(const struct key *k, const struct record *rec) {
    const uint8_t *array = record_array(rec);
    uint32_t head = (array[0] & 0xf0) == 0x90 ? 1 : array[0] == 0xdc ? 3 : 5;

    if (EG_UNLIKELY((record_flags(rec) & RECORD_CANONICAL) == 0))
        return value_equal(record_key(rec), k->value);
    /* Encoded values delimit themselves: a key that begins equal is equal. */
    return record_array_bytes(rec) - head >= k->canon_bytes &&
           memcmp(array + head, k->canon, k->canon_bytes) == 0;
}

static inline uint32_t slot_with(hash_word *words, uint32_t i, uint64_t tag) {
    return (uint32_t) (word_get(&words[i]) >> 48 == tag) << i;
}

/* The slots of a row that carry the tag, a bit each.  No branch depends on them, so
 * that the processor goes on to the record, and to the next look-up, before the
 * bucket has arrived; written out, because the compiler would make a loop of it, twice as long
 * for a processor that holds only so many instructions at once. */
static inline uint32_t slots_with(const struct hash_group *g, uint64_t tag) {
    hash_word *w = g->words;
    uint32_t with = slot_with(w, 0, tag) | slot_with(w, 1, tag) | slot_with(w, 2, tag);

    _Static_assert(NODE_SLOTS == 3 && BUCKET_SLOTS == 7, "as many as are written out here");
    if (EG_UNLIKELY(g->slots == NODE_SLOTS))
        return with;
    return with | slot_with(w, 3, tag) | slot_with(w, 4, tag) | slot_with(w, 5, tag) |
           slot_with(w, 6, tag);
}

static const struct record *find_in(struct hash_group g, const struct key *k) {
    uint64_t tag = tag_of_hash(k->hash);

    for (uint32_t left = slots_with(&g, tag); left != 0; left &= left - 1) {
        uint64_t slot = word_get(&g.words[__builtin_ctz(left)]);
        const struct record *rec = slot_record(slot);

        if (slot >> 48 != tag || rec == NULL) /* changed since, or empty with tag 0 */
            continue;
        record_prefetch(rec);
        if (key_matches(k, rec))
            return rec;
    }
    return NULL;
}

static const struct record *hash_get(struct store *base, struct reader *r, const struct key *k) {
    struct store_hash *s = hash_of(base);
    uint64_t header = word_get(&s->header);

    (void) r; /* records are handed out in place */
    for (;;) {
        hash_word *bucket = bucket_at(s, bucket_index(k->hash, header_buckets(header)));
        uint64_t now;

        if (EG_LIKELY(bucket != NULL)) {
            struct hash_group g = group_first(bucket);
            do {
                const struct record *rec = find_in(g, k);
                if (rec != NULL)
                    return rec;
                g = group_next(g);
            } while (g.words != NULL);
        }
#ifdef EG_PLANT_NO_VALIDATION /* a defect for the stress test to find */
        return NULL;
#endif
        now = word_get(&s->header);
        if (EG_LIKELY(now == header))
            return NULL;
        header = now;
    }
}

static void hash_prefetch(struct store *base, struct reader *r, const struct key *k) {
    struct store_hash *s = hash_of(base);
    hash_word *bucket = bucket_at(s, bucket_index(k->hash, header_buckets(word_get(&s->header))));

    (void) r;
    EG_PREFETCH(bucket); /* may be NULL: a prefetch never faults */
}

static void hash_prefetch_record(struct store *base, struct reader *r, const struct key *k) {
    struct store_hash *s = hash_of(base);
    hash_word *bucket = bucket_at(s, bucket_index(k->hash, header_buckets(word_get(&s->header))));
    uint64_t tag = tag_of_hash(k->hash);

    (void) r;
    if (bucket == NULL)
        return;
    for (uint32_t i = 0; i < BUCKET_SLOTS; i++) {
        uint64_t slot = word_get(&bucket[i]);
        if (slot >> 48 == tag && slot != 0) {
            record_prefetch(slot_record(slot));
            return;
        }
    }
    EG_PREFETCH(link_of(word_get(&bucket[BUCKET_SLOTS])));
}

/* ---- change ---------------------------------------------------------------- */

static hash_word *owner_bucket(struct store_hash *s, uint64_t hash) {
    return bucket_at(s, bucket_index(hash, header_buckets(word_get(&s->header))));
}

/* A record has left its slot: free it when no reader and no snapshot has it. */
static void let_go(struct store_hash *s, uint64_t slot) {
    struct record *rec = slot_record(slot);
    epoch_retire(s->bin, slab_free, s->slab, rec, record_bytes(rec));
}

/* Put another word over a used slot, and see to the record that was there. */
static void slot_overwrite(struct store_hash *s, hash_word *at, uint64_t slot) {
    uint64_t old = word_get(at);
    bool keep = s->snapshot != NULL && (old & SLOT_YOUNG) == 0;

    if (keep) /* first: a snapshot that no longer finds it in the table looks there */
        hash_snapshot_keep(s->snapshot, slot_record(old));
    word_set(at, slot);
    if (!keep)
        let_go(s, old);
}

/* Where a record belongs: the slot of its key, or the first empty one, or the
 * link behind which a new node goes. */
struct place {
    hash_word *found;
    hash_word *empty;
    hash_word *last_link;
};

static struct place find_place(struct store_hash *s, const struct key *k) {
    hash_word *bucket = owner_bucket(s, k->hash);
    uint64_t tag = tag_of_hash(k->hash);
    struct place p = {NULL, NULL, NULL};

    for (struct hash_group g = group_first(bucket); g.words != NULL; g = group_next(g)) {
        for (uint32_t left = slots_with(&g, tag); left != 0; left &= left - 1) {
            hash_word *at = &g.words[__builtin_ctz(left)];
            const struct record *rec = slot_record(word_get(at));
            if (rec != NULL && key_matches(k, rec)) {
                p.found = at;
                return p;
            }
        }
        p.last_link = &g.words[g.slots];
    }
    EACH_SLOT(g, i, bucket) {
        if (word_get(&g.words[i]) == 0) {
            p.empty = &g.words[i];
            return p;
        }
    }
    return p;
}

static eg_err hash_put(struct store *base, const struct key *k, struct record *rec,
                       const struct record **old_out) {
    struct store_hash *s = hash_of(base);
    struct place p = find_place(s, k);
    uint64_t slot = slot_of(rec, k->hash);

    if (s->snapshot != NULL) {
        slot |= SLOT_YOUNG;
        s->marked = true;
    }
    *old_out = NULL;
    if (p.found != NULL) {
        *old_out = slot_record(word_get(p.found));
        slot_overwrite(s, p.found, slot);
        return EG_OK;
    }
    if (p.empty != NULL) {
        word_set(p.empty, slot);
    } else {
        hash_word *node;
        if (!hash_spares_reserve(s, 1))
            return EG_MEMORY;
        node = hash_spare_take(s);
        word_set(&node[0], slot);
        word_set(p.last_link, (uint64_t) (uintptr_t) node);
    }
    counter_add(&s->count, 1);
    if (s->count * 10 > (uint64_t) SPLIT_ABOVE_X10 * header_buckets(s->header))
        hash_split(s);
    return EG_OK;
}

static void hash_expect(struct store *base, uint64_t count, uint64_t steps) {
    struct store_hash *s = hash_of(base);
    uint64_t buckets = EG_MIN(count, (uint64_t) UINT32_MAX) * 10 / SPLIT_ABOVE_X10;

    for (uint32_t before = 0, now; steps > 0; steps--) {
        now = header_buckets(s->header);
        if (now >= buckets || now == before)
            return;
        before = now;
        hash_split(s);
    }
}

/* Tell those that gather a bucket at a glance (store_hash_sweep.c).  Whoever reads a word that
 * is stored behind this reads this, too (release, acquire). */
static void removal_passes(struct store_hash *s) {
    word_set(&s->removals, word_get(&s->removals) + 1);
}

static eg_err hash_remove(struct store *base, const struct key *k, const struct record *rec) {
    struct store_hash *s = hash_of(base);
    hash_word *bucket = owner_bucket(s, k->hash), *found = NULL;
    uint32_t buckets = header_buckets(s->header);

    EACH_SLOT(g, i, bucket) {
        uint64_t slot = word_get(&g.words[i]);
        if (slot != 0 && slot_record(slot) == rec)
            found = &g.words[i];
    }
    EG_ASSERT(found != NULL); /* the owner has just read it here */
    removal_passes(s);
    slot_overwrite(s, found, 0);
    counter_add(&s->count, (uint64_t) -1);
    hash_compact(s, bucket);
    removal_passes(s);
    if (buckets > 1 && s->count * 10 < (uint64_t) MERGE_BELOW_X10 * buckets)
        hash_merge(s);
    return EG_OK;
}

static eg_err hash_clear(struct store *base) {
    struct store_hash *s = hash_of(base);
    uint32_t buckets = header_buckets(s->header);

    removal_passes(s);
    for (uint32_t b = 0; b < buckets; b++) {
        hash_word *bucket = bucket_at(s, b);
        EACH_SLOT(g, i, bucket) {
            if (word_get(&g.words[i]) != 0)
                slot_overwrite(s, &g.words[i], 0);
        }
        hash_chain_retire(s, bucket);
    }
    atomic_store_explicit(&s->count, 0, memory_order_relaxed);
    hash_shrink_to_one(s);
    removal_passes(s);
    return EG_OK;
}

/* ---- the store ------------------------------------------------------------- */

static struct store_stats hash_stats(const struct store *base) {
    const struct store_hash *s = EG_CONTAINER_OF(base, const struct store_hash, base);
    uint64_t header = atomic_load_explicit(&s->header, memory_order_relaxed);
    uint64_t nodes = atomic_load_explicit(&s->nodes, memory_order_relaxed);

    return (struct store_stats){
        .count = atomic_load_explicit(&s->count, memory_order_relaxed),
        .index_bytes =
            sizeof *s + (uint64_t) header_buckets(header) * BUCKET_BYTES + nodes * NODE_BYTES,
        .relocations = header >> 32,
        .kept_bytes = atomic_load_explicit(&s->kept_bytes, memory_order_relaxed),
    };
}

/* Invariants (1), (2) and (3) of one chain; returns its records. */
static uint64_t check_chain(struct store_hash *s, uint32_t index, uint64_t *nodes) {
    hash_word *bucket = bucket_at(s, index);
    uint64_t live = 0, chain_nodes = 0;

    EACH_SLOT(g, i, bucket) {
        uint64_t slot = word_get(&g.words[i]);
        chain_nodes += i == 0 && g.words != bucket;
        if (slot == 0)
            continue;
        struct record *rec = slot_record(slot);
        uint64_t hash = hash_of_record(s, rec);
        EG_ASSERT(bucket_index(hash, header_buckets(s->header)) == index);
        EG_ASSERT(slot >> 48 == tag_of_hash(hash));
        EG_ASSERT((slot & SLOT_YOUNG) == 0 || s->snapshot != NULL || s->wipe);
        live++;
        EACH_SLOT(h, j, bucket) {
            uint64_t other = word_get(&h.words[j]);
            EG_ASSERT(other == 0 || &h.words[j] == &g.words[i] ||
                      !value_equal(record_key(rec), record_key(slot_record(other))));
        }
    }
    EG_ASSERT(chain_nodes ==
              (live <= BUCKET_SLOTS ? 0 : (live - BUCKET_SLOTS - 1) / NODE_SLOTS + 1));
    *nodes += chain_nodes;
    return live;
}

static void hash_check(struct store *base) {
    struct store_hash *s = hash_of(base);
    uint64_t live = 0, nodes = 0;

    for (uint32_t b = 0; b < header_buckets(s->header); b++)
        live += check_chain(s, b, &nodes);
    EG_ASSERT(live == s->count);
    EG_ASSERT(nodes + s->spare_count == s->nodes);
}

static void hash_close(struct store *base) {
    struct store_hash *s = hash_of(base);

    EG_ASSERT(s->snapshot == NULL);
    for (uint32_t k = 0; k < ORDERS; k++) {
        size_t bytes = (size_t) BUCKET_BYTES << (k == 0 ? 0 : k - 1);
        if (bytes > SLAB_OBJECT_MAX)
            alloc_unmap(s->alloc, s->order[k], bytes);
    }
    alloc_put(s->alloc, s, sizeof *s);
}

static const struct store_ops hash_ops = {
    .name = "hash",
    .get = hash_get,
    .prefetch = hash_prefetch,
    .prefetch_record = hash_prefetch_record,
    .put = hash_put,
    .expect = hash_expect,
    .remove = hash_remove,
    .clear = hash_clear,
    .seek = hash_seek,
    .next = hash_next,
    .stats = hash_stats,
    .snapshot_open = hash_snapshot_open,
    .snapshot_next = hash_snapshot_next,
    .snapshot_close = hash_snapshot_close,
    .check = hash_check,
    .close = hash_close,
};

eg_err store_hash_open(struct store **out, const struct store_opts *o) {
    struct store_hash *s = alloc_zero(o->alloc, sizeof *s);

    EG_ASSERT(!o->bag); /* equal keys would share one chain, however many */
    if (s == NULL)
        return EG_MEMORY;
    s->base.ops = &hash_ops;
    s->alloc = o->alloc;
    s->slab = o->slab;
    s->bin = o->bin;
    s->seed = o->seed;
    atomic_init(&s->header, 1);
    if (hash_order_reserve(s, 0) != EG_OK) {
        alloc_put(o->alloc, s, sizeof *s);
        return EG_MEMORY;
    }
    *out = &s->base;
    return EG_OK;
}
