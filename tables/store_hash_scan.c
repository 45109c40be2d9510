/* store_hash_scan.c -- walking a hash store while it splits and merges.
 *
 * The order of a hash store is its hashes read from their low end: by the bits
 * of the hash reversed.  A bucket is named by the low bits of the hash, so it
 * holds one interval of that order, and a split cuts its interval in two:
 *
 *     buckets 2   |          0           |          1           |
 *     buckets 3   |    0     |    2      |          1           |
 *     buckets 4   |    0     |    2      |    1      |    3     |
 *
 * So a position is just a number, whatever the table does meanwhile: nothing that
 * stays is missed and nothing comes twice, and a scan resumes at any key, be it
 * there or not.  (Redis's SCAN counts in the same order, but by buckets, and so
 * repeats some where a table shrinks.)  Equal hashes are ordered by key.
 *
 * A snapshot is the table's records at one moment.  While it is open the writer
 * marks what it puts as young, and what it would retire of the records that are
 * not young it keeps on a list instead.  Each record of the moment is therefore
 * in the table, unmarked, or on the list; a walk over the table and then the list
 * finds them all.  It costs the writer one store a replaced record and readers
 * nothing.  One snapshot at a time; its marks are wiped before the next begins.
 */
#include "tables/store_hash_private.h"

#include <string.h>

enum {
    BATCH_RECORDS = HASH_GATHER_RECORDS, /* as many as a cursor has room for  */
    WIPE_BUCKETS_A_TURN = 4096,          /* lines in a row: some 50 us                 */
    KEPT_RECORDS = 126,                  /* makes a chunk of kept records one KB       */
};

struct batch {
    uint64_t at;    /* the next position to look at */
    uint32_t count; /* records found                */
    uint16_t given; /* records handed out           */
    bool done;      /* nothing comes behind them    */
    const struct record *record[BATCH_RECORDS];
};

_Static_assert(sizeof(struct batch) <= sizeof((struct store_cursor){0}.opaque),
               "a cursor has room for a batch");

struct kept {
    struct kept *_Atomic next;
    _Atomic uint32_t count;
    const struct record *record[KEPT_RECORDS];
};

struct hash_snapshot {
    struct store_snapshot base;
    struct batch batch;
    struct kept *reading; /* the scanner's place in the list */
    uint32_t read;
    struct kept *first; /* the owner's from here on */
    struct kept *last;
    _Atomic bool lost; /* a record could not be kept */
};

/* ---- batches --------------------------------------------------------------- */

/* The smallest records of a bucket at or behind a position, in order. */
struct sorted {
    struct {
        uint64_t position;
        const struct record *record;
    } entry[BATCH_RECORDS + 1]; /* one more, to see where the next batch begins */
    uint32_t count;
};

static void sorted_add(struct sorted *all, uint64_t position, const struct record *rec) {
    uint32_t i = all->count;

    while (i > 0 && all->entry[i - 1].position > position)
        i--;
    while (i > 0 && all->entry[i - 1].position == position) { /* one key, unless hashes collide */
        int order = value_compare(record_key(all->entry[i - 1].record), record_key(rec));
        if (order == 0) { /* seen twice while it moved, or put again: the later holds */
            all->entry[i - 1].record = rec;
            return;
        }
        if (order < 0)
            break;
        i--;
    }
    if (i == EG_COUNTOF(all->entry))
        return;
    if (all->count == EG_COUNTOF(all->entry))
        all->count--;
    memmove(&all->entry[i + 1], &all->entry[i], (all->count - i) * sizeof all->entry[0]);
    all->entry[i].position = position;
    all->entry[i].record = rec;
    all->count++;
}

/* Does the record come before what was asked for? */
static bool is_before(const struct batch *b, uint64_t position, const struct record *rec,
                      const struct key *after) {
    if (position != b->at || after == NULL)
        return position < b->at;
    return value_compare(record_key(rec), after->value) <= 0;
}

/* Fill an exhausted batch from the bucket at its position; may find nothing.
 * `after`: leave out that key and what is before it.  `marked`: leave out slots
 * that have this bit. */
static void batch_fill(struct store_hash *s, struct batch *b, const struct key *after,
                       uint64_t marked) {
    struct sorted all;
    uint64_t header, end;
    hash_word *bucket;

    do {
        uint32_t index;
        header = word_get(&s->header);
        index = bucket_index(hash_reverse(b->at), header_buckets(header));
        end = hash_bucket_end(index, header_buckets(header));
        bucket = bucket_at(s, index);
        all.count = 0;
        if (bucket == NULL)
            continue;
        EACH_SLOT(g, i, bucket) {
            EG_PREFETCH(slot_record(word_get(&g.words[i])));
        }
        EACH_SLOT(h, j, bucket) {
            uint64_t slot = word_get(&h.words[j]);
            if (slot == 0 || (slot & marked) != 0)
                continue;
            uint64_t position = hash_reverse(hash_of_record(s, slot_record(slot)));
            if (!is_before(b, position, slot_record(slot), after) && position <= end)
                sorted_add(&all, position, slot_record(slot));
        }
    } while (word_get(&s->header) != header); /* the bucket may have been split meanwhile */

    b->given = 0;
    b->count = EG_MIN(all.count, (uint32_t) BATCH_RECORDS);
    b->done = all.count <= BATCH_RECORDS && end == UINT64_MAX;
    b->at = end + 1;
    if (all.count > BATCH_RECORDS) { /* go on inside this bucket */
        b->at = all.entry[BATCH_RECORDS].position;
        while (b->count > 0 && all.entry[b->count - 1].position == b->at)
            b->count--;          /* equal hashes stay together ...            */
        EG_ASSERT(b->count > 0); /* ... and nobody finds nine without the seed */
    }
    for (uint32_t i = 0; i < b->count; i++)
        b->record[i] = all.entry[i].record;
}

static const struct record *batch_next(struct store_hash *s, struct batch *b, uint64_t marked) {
    while (b->given == b->count) {
        if (b->done)
            return NULL;
        batch_fill(s, b, NULL, marked);
    }
    return b->record[b->given++];
}

/* ---- scans ----------------------------------------------------------------- */

void hash_seek(struct store *base, struct reader *r, struct store_cursor *c, const struct key *k,
               bool after, bool reverse_order) {
    struct batch *b = (struct batch *) (void *) c->opaque;

    (void) r;
    EG_ASSERT(!reverse_order); /* only where ordered */
    b->at = k != NULL ? hash_reverse(k->hash) : 0;
    b->count = b->given = 0;
    b->done = false;
    if (after && k != NULL)
        batch_fill(hash_of(base), b, k, 0); /* while the key is at hand */
}

const struct record *hash_next(struct store *base, struct reader *r, struct store_cursor *c) {
    (void) r;
    return batch_next(hash_of(base), (struct batch *) (void *) c->opaque, 0);
}

uint32_t hash_gather(struct store_hash *s, uint64_t *at, const struct record **out, bool *last) {
    struct batch b = {.at = *at};

    batch_fill(s, &b, NULL, 0);
    memcpy(out, b.record, b.count * sizeof b.record[0]);
    *at = b.at;
    *last = b.done;
    return b.count;
}

/* ---- snapshots ------------------------------------------------------------- */

static struct kept *kept_open(struct alloc *a) {
    struct kept *chunk = alloc_get(a, sizeof *chunk);

    if (chunk != NULL) {
        atomic_init(&chunk->next, NULL);
        atomic_init(&chunk->count, 0);
    }
    return chunk;
}

/* Owner: `rec` is about to leave its slot. */
void hash_snapshot_keep(struct hash_snapshot *p, const struct record *rec) {
    struct kept *chunk = p->last;
    struct store_hash *s = hash_of(p->base.store);
    uint32_t count = atomic_load_explicit(&chunk->count, memory_order_relaxed);

    if (count == KEPT_RECORDS) {
        struct kept *fresh = kept_open(hash_of(p->base.store)->alloc);
        if (fresh == NULL) { /* a snapshot never refuses a write: it is lost instead */
            atomic_store_explicit(&p->lost, true, memory_order_release);
            epoch_retire(hash_of(p->base.store)->bin, slab_free, hash_of(p->base.store)->slab,
                         (void *) rec, record_bytes(rec));
            return;
        }
        atomic_store_explicit(&chunk->next, fresh, memory_order_release);
        p->last = chunk = fresh;
        count = 0;
    }
    counter_add(&s->kept_bytes, record_bytes(rec));
    chunk->record[count] = rec;
    atomic_store_explicit(&chunk->count, count + 1, memory_order_release);
}

/* Owner: clear some buckets of the last snapshot's marks.  True: all are clear. */
static bool wipe_some(struct store_hash *s) {
    uint32_t buckets = header_buckets(s->header);
    uint64_t until = EG_MIN((uint64_t) s->wipe_at + WIPE_BUCKETS_A_TURN, (uint64_t) buckets);

    for (; s->wipe_at < until; s->wipe_at++) {
        EACH_SLOT(g, i, bucket_at(s, s->wipe_at)) {
            uint64_t slot = word_get(&g.words[i]);
            if (slot & SLOT_YOUNG)
                word_set(&g.words[i], slot & ~SLOT_YOUNG);
        }
    }
    s->wipe = s->wipe_at < buckets;
    return !s->wipe;
}

eg_err hash_snapshot_open(struct store *base, struct store_snapshot **out) {
    struct store_hash *s = hash_of(base);
    struct hash_snapshot *p;

    if (s->snapshot != NULL)
        return EG_BUSY;
    if (s->wipe && !wipe_some(s))
        return EG_AGAIN;
    p = alloc_zero(s->alloc, sizeof *p);
    if (p == NULL)
        return EG_MEMORY;
    p->first = p->last = p->reading = kept_open(s->alloc);
    if (p->first == NULL) {
        alloc_put(s->alloc, p, sizeof *p);
        return EG_MEMORY;
    }
    p->base.store = base;
    s->snapshot = p;
    s->marked = false;
    *out = &p->base;
    return EG_OK;
}

/* The next of the kept records; those added after the walk's end are none that
 * it missed, and do no harm. */
static const struct record *kept_next(struct hash_snapshot *p) {
    if (p->read == KEPT_RECORDS) {
        struct kept *next = atomic_load_explicit(&p->reading->next, memory_order_acquire);
        if (next == NULL)
            return NULL;
        p->reading = next;
        p->read = 0;
    }
    if (p->read == atomic_load_explicit(&p->reading->count, memory_order_acquire))
        return NULL;
    return p->reading->record[p->read++];
}

eg_err hash_snapshot_next(struct store_snapshot *base, struct reader *r,
                          const struct record **out) {
    struct hash_snapshot *p = EG_CONTAINER_OF(base, struct hash_snapshot, base);
    const struct record *rec = batch_next(hash_of(base->store), &p->batch, SLOT_YOUNG);

    (void) r;
    if (rec == NULL)
        rec = kept_next(p);
    if (atomic_load_explicit(&p->lost, memory_order_acquire))
        return EG_MEMORY;
    *out = rec;
    return EG_OK;
}

void hash_snapshot_close(struct store *base, struct store_snapshot *snapshot) {
    struct hash_snapshot *p = EG_CONTAINER_OF(snapshot, struct hash_snapshot, base);
    struct store_hash *s = hash_of(base);

    EG_ASSERT(s->snapshot == p);
    s->snapshot = NULL;
    atomic_store_explicit(&s->kept_bytes, 0, memory_order_relaxed);
    s->wipe = s->marked;
    s->wipe_at = 0;
    while (p->first != NULL) {
        struct kept *chunk = p->first;
        for (uint32_t i = 0; i < chunk->count; i++)
            epoch_retire(s->bin, slab_free, s->slab, (void *) chunk->record[i],
                         record_bytes(chunk->record[i]));
        p->first = chunk->next;
        alloc_put(s->alloc, chunk, sizeof *chunk);
    }
    alloc_put(s->alloc, p, sizeof *p);
}
