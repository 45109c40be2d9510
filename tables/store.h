/* store.h -- what every store of one shard can do.
 *
 * A store maps keys to records.  Three implementations stand behind this one
 * interface and pass one conformance suite (tests/store_conformance.h):
 *
 *   store_hash     RAM, one record a key, any order
 *   store_ordered  RAM, sorted; one record a key (ordered_set) or many (bag)
 *   store_disc     RocksDB, sorted; one record a key or many
 *
 * Threads    One owner at a time mutates (put, remove, clear, snapshot_open and
 *            _close, check, close).  Any thread that is inside an epoch section
 *            (struct reader) reads; stats() needs no section.
 * Ownership  put() takes over the record, which is from the slab: the store
 *            retires it to the epoch bin when it is replaced or removed.  Stores
 *            never sweep: the owner calls epoch_sweep() once a turn, and until
 *            then may go on reading what its calls replaced.  Records handed out
 *            by reads live until the reader leaves its section.
 * Faults     Where a disc store could not read, it returns NULL as if there were
 *            nothing and notes it in the reader: reader_take_fault() before any
 *            answer that says so.
 * Order      A read that begins after put() returned, or after any event that
 *            follows it, sees that record or a later one.
 * Hash bits  48..63 choose the shard, 32..47 are the tag in a hash bucket, 0..31
 *            choose the bucket: each choice is independent of the others.
 */
#ifndef TABLES_STORE_H
#define TABLES_STORE_H

#include "engine/alloc.h"
#include "engine/epoch.h"
#include "engine/slab.h"
#include "tables/key.h"
#include "tables/record_batch.h"

struct store;

/* A thread's right to read: an epoch section, plus room for what a disc store
 * must materialise.  Made by reader_open(), one a thread. */
struct reader;

/* What a store is made from. */
struct store_opts {
    struct alloc *alloc;
    struct slab *slab;     /* records and nodes; the shard's own, single writer */
    struct epoch_bin *bin; /* where replaced records and nodes wait             */
    uint64_t seed;         /* of key hashes; the same for all shards of a table */
    bool bag;              /* many records a key (ordered and disc stores)      */
};

struct store_stats {
    uint64_t count;       /* records                              */
    uint64_t index_bytes; /* buckets, nodes: all but the records  */
    uint64_t relocations; /* splits and merges so far             */
    uint64_t kept_bytes;  /* of the dead that snapshots still see; not in the others */
};

/* A position in a scan, valid inside the reader section in which it was sought.
 * A later section goes on with seek(key of the last record, after = true). */
struct store_cursor {
    _Alignas(8) uint8_t opaque[96];
    struct value resume; /* for the store's own use */
};

/* The records of one moment, handed out while writes go on.  Stores embed it. */
struct store_snapshot {
    struct store *store;
    struct store_snapshot *next; /* while nobody wants it and its owner was not told yet */
};

struct store_ops {
    const char *name;

    /* The record under `k`, or NULL.  In a bag the first of them. */
    const struct record *(*get)(struct store *s, struct reader *r, const struct key *k);

    /* Bring the cache lines get(k) will want, so that the misses of many look-ups
     * overlap: first prefetch() for each, then prefetch_record() for each, which
     * looks at what the first one brought.  They never wait.  See store_get_many(). */
    void (*prefetch)(struct store *s, struct reader *r, const struct key *k);
    void (*prefetch_record)(struct store *s, struct reader *r, const struct key *k);

    /* n gets at once, keys[i] in stores[i], all of this kind; NULL: the two calls above
     * are all there is to it. */
    void (*get_many)(struct store *const *stores, struct reader *r, const struct key *const *keys,
                     size_t n, const struct record **out);

    /* Insert, or replace what has the same key (in a bag: what is the same
     * record).  *old_out is what was replaced, still readable by the owner until
     * its next sweep, or NULL.  EG_MEMORY, EG_DISC: nothing changed and the
     * record is the caller's. */
    eg_err (*put)(struct store *s, const struct key *k, struct record *rec,
                  const struct record **old_out);

    /* So many records will be here: be ready for them, by at most `steps` of growth.  Who puts
     * records as a scan of another store hands them out must ask for it, for they all belong
     * where a table that grows as they come has no room yet.  NULL: it is the same to it. */
    void (*expect)(struct store *s, uint64_t count, uint64_t steps);

    /* Remove `rec`, which the owner has just read under `k`. */
    eg_err (*remove)(struct store *s, const struct key *k, const struct record *rec);

    /* Remove all records.  Takes time in proportion to them. */
    eg_err (*clear)(struct store *s);

    /* Records from `k` on in the store's order: with it, or (`after`) without.
     * `k` need not be there; NULL starts at the first.  next() returns NULL at the
     * end.  A record that stays during the scan is seen, and none twice; a hash
     * store has an order of its own, by hash.  `reverse` only where ordered:
     * from `k` (NULL: the last) down.  What a disc store hands out stays while the
     * cursor takes one step more, and no longer. */
    void (*seek)(struct store *s, struct reader *r, struct store_cursor *c, const struct key *k,
                 bool after, bool reverse);
    const struct record *(*next)(struct store *s, struct reader *r, struct store_cursor *c);
    /* Of a store that may be a bag: the records behind the place of `rec`, which need not be
     * there any more; forward only.  NULL: one record a key, seek() is enough. */
    void (*seek_behind)(struct store *s, struct reader *r, struct store_cursor *c,
                        const struct record *rec);

    struct store_stats (*stats)(const struct store *s);

    /* Freeze the moment between two changes.  Takes bounded time.  EG_BUSY: as many
     * snapshots as the store can keep are open.  EG_AGAIN: traces of an earlier
     * one are being wiped; ask again next turn.  EG_MEMORY. */
    eg_err (*snapshot_open)(struct store *s, struct store_snapshot **out);

    /* The next record of that moment, *out NULL at the end.  By one thread, inside a
     * reader section that it may leave between calls; records live until
     * snapshot_close, a disc store's until the section ends.  A hash store may hand
     * a record out twice.  EG_MEMORY: the writes meanwhile needed more room than
     * there was; the snapshot is lost, and only what was handed out in this section
     * is still there. */
    eg_err (*snapshot_next)(struct store_snapshot *p, struct reader *r, const struct record **out);

    /* Nobody calls next any more.  Retires what the snapshot kept alive. */
    void (*snapshot_close)(struct store *s, struct store_snapshot *p);

    /* Assert every invariant; O(n). */
    void (*check)(struct store *s);

    /* No reader and no snapshot is left.  Gives back what is not from the slab: a
     * shard closes that next.  Where the slab lives on, clear() first. */
    void (*close)(struct store *s);
};

struct store {
    const struct store_ops *ops;
    bool ordered;
    bool bag;
};

/* n look-ups, keys[i] in stores[i], all of one kind, their cache misses overlapped. */
static inline void store_get_many(struct store *const *stores, struct reader *r,
                                  const struct key *const *keys, size_t n,
                                  const struct record **out) {
    enum { WINDOW = 16 }; /* a core keeps 10 to 16 misses in flight */

    if (n > 0 && stores[0]->ops->get_many != NULL) {
        stores[0]->ops->get_many(stores, r, keys, n, out);
        return;
    }
    for (size_t from = 0; from < n; from += WINDOW) {
        size_t to = EG_MIN(n, from + WINDOW);
        for (size_t i = from; i < to; i++)
            stores[i]->ops->prefetch(stores[i], r, keys[i]);
        for (size_t i = from; i < to; i++)
            stores[i]->ops->prefetch_record(stores[i], r, keys[i]);
        for (size_t i = from; i < to; i++)
            out[i] = stores[i]->ops->get(stores[i], r, keys[i]);
    }
}

EG_MUST_USE eg_err store_hash_open(struct store **out, const struct store_opts *o);
EG_MUST_USE eg_err store_ordered_open(struct store **out, const struct store_opts *o);

/* The next records of an ascending scan of an ordered store: see btree_next_many(). */
struct probe;
uint32_t store_ordered_next_many(struct store_cursor *c, const struct probe *end,
                                 const struct record **out, uint32_t most);

/* A faster way through a whole hash store: bucket by bucket, in any order inside one, several
 * buckets ahead of who looks, so that neither buckets nor records are waited for.  What
 * store_ops says of scans holds.  It can be left where store_sweep_place() says so, at a
 * position to begin again from.  Valid inside one section. */
enum { SWEEP_RECORDS = RECORD_BATCH_MAX, SWEEP_BUCKETS = 8, SWEEP_AHEAD = 3 };
struct store_sweep {
    struct store *store;
    uint64_t at; /* the position behind what is gathered  */
    bool done;   /* nothing comes behind it               */
    uint32_t now;
    struct sweep_part { /* [now] is handed out, the other comes next */
        uint64_t end;   /* the position behind it */
        bool last;
        uint32_t given, count;
        const struct record *record[SWEEP_RECORDS]; /* behind `count`: any, to be prefetched */
    } part[2];
    uint32_t turn;
    struct sweep_ahead {   /* a ring: the next part is gathered from [turn]     */
        uint64_t header;   /* of the store when these buckets were asked for */
        uint64_t at, next; /* where they begin, and those behind them do     */
        uint32_t count;    /* 0: there are none                              */
        struct sweep_bucket {
            uint64_t at, end;
            uint32_t index;
            void *bucket;
        } bucket[SWEEP_BUCKETS];
    } ahead[SWEEP_AHEAD];
};
void store_sweep_begin(struct store_sweep *sweep, struct store *s, uint64_t at); /* 0: all */
bool store_sweep_more(struct store_sweep *sweep); /* the next part; false: the end */
static inline const struct record *store_sweep_next(struct store_sweep *sweep) {
    struct sweep_part *p = &sweep->part[sweep->now];

    while (EG_UNLIKELY(p->given == p->count)) {
        if (!store_sweep_more(sweep))
            return NULL;
        p = &sweep->part[sweep->now];
    }
    if (!p->last)
        record_prefetch(sweep->part[1 - sweep->now].record[p->given]);
    return p->record[p->given++];
}
/* The rest of a part at once; count 0: the end.  Whoever takes them prefetches as many of
 * the next: record_batch_ahead(). */
struct record_batch store_sweep_batch(struct store_sweep *sweep);
/* Where to go on; false: not here, take some more records first (SWEEP_RECORDS at most). */
static inline bool store_sweep_place(const struct store_sweep *sweep, uint64_t *at, bool *ended) {
    const struct sweep_part *p = &sweep->part[sweep->now];

    *at = p->end;
    *ended = p->last;
    return p->given == p->count;
}

struct disc;
struct disc_batch;
struct disc_table;

/* The rows of one shard in `t`, laid out as disc_record.h says.  Counts them, so
 * it takes time in proportion.  Also EG_DISC, EG_CORRUPT. */
EG_MUST_USE eg_err store_disc_open(struct store **out, const struct store_opts *o, struct disc *d,
                                   struct disc_table *t, uint32_t shard);

/* What the owner appends here (clock, index rows) is written together with its
 * next put, remove or clear; after any of them, failed or not, it is empty. */
struct disc_batch *store_disc_extra(struct store *s);
/* Write it by itself, as when an index is built.  EG_DISC, EG_BUSY: nothing was. */
EG_MUST_USE eg_err store_disc_write_extra(struct store *s);

/* Start a scan over a stretch of an index, by the index rows there are; go on with next().
 * `behind` NULL: from its beginning; else behind that place (index.h).  The spec is
 * borrowed until the scan ends. */
struct index_bounds;
struct index_spec;
void store_disc_index_seek(struct store *s, struct reader *r, struct store_cursor *c,
                           const struct index_spec *spec, const struct index_bounds *b,
                           const struct value *behind);

#endif /* TABLES_STORE_H */
