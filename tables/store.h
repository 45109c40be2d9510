/* store.h -- what every store of one shard can do.
 *
 * A store maps keys to records.  Three implementations stand behind this one
 * interface and pass one conformance suite (tests/store_conformance.h):
 *
 *   store_hash     RAM, one record a key, any order
 *   store_ordered  RAM, sorted; one record a key (ordered_set) or many (bag)
 *   store_disc     RocksDB, sorted; one record a key or many
 *
 * Threads    One owner at a time mutates (put, remove, clear, close, sweep).
 *            Any thread that is inside an epoch section (struct reader) reads.
 * Ownership  put() takes over the record: the store frees it through its epoch
 *            bin when it is replaced, removed or the store is closed.  Records
 *            handed out by reads live until the reader leaves its section.
 * Order      A read that begins after put() returned, or after any event that
 *            follows it, sees that record or a later one.
 */
#ifndef TABLES_STORE_H
#define TABLES_STORE_H

#include "engine/alloc.h"
#include "engine/epoch.h"
#include "engine/slab.h"
#include "tables/key.h"
#include "tables/record.h"

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
};

/* A position in a scan.  Opaque; holds no reference to anything in the store,
 * so it may be kept between reader sections as long as its memory lives. */
struct store_cursor {
    uint8_t opaque[96];
    struct value resume; /* ordered stores: key to go on after; owned by the scanner */
};

struct store_ops {
    const char *name;

    /* The record under `k`, or NULL.  In a bag the first of them. */
    const struct record *(*get)(struct store *s, struct reader *r, const struct key *k);

    /* Bring the cache lines get(k) will want; never faults, never waits. */
    void (*prefetch)(struct store *s, const struct key *k);

    /* Insert, or replace what has the same key (in a bag: what is the same
     * record).  *old_out is what was replaced, still readable by the owner until
     * its next sweep, or NULL.  EG_MEMORY, EG_DISC: nothing changed and the
     * record is the caller's. */
    eg_err (*put)(struct store *s, const struct key *k, struct record *rec,
                  const struct record **old_out);

    /* Remove `rec`, which the owner has just read under `k`. */
    eg_err (*remove)(struct store *s, const struct key *k, const struct record *rec);

    /* Remove all records.  Takes time in proportion to them. */
    eg_err (*clear)(struct store *s);

    /* Records under or after `k` in the store's order, for scans and bags.
     * seek(NULL) starts at the first.  next() returns NULL at the end.  In a hash
     * store the order is its own, every record that stays during the scan is
     * seen, and one may be seen twice.  `reverse` only where ordered. */
    void (*seek)(struct store *s, struct reader *r, struct store_cursor *c, const struct key *k,
                 bool after, bool reverse);
    const struct record *(*next)(struct store *s, struct reader *r, struct store_cursor *c);

    struct store_stats (*stats)(const struct store *s);

    /* Assert every invariant; O(n). */
    void (*check)(struct store *s);
    void (*close)(struct store *s);
};

struct store {
    const struct store_ops *ops;
    bool ordered;
    bool bag;
};

EG_MUST_USE eg_err store_hash_open(struct store **out, const struct store_opts *o);
EG_MUST_USE eg_err store_ordered_open(struct store **out, const struct store_opts *o);

struct disc;
struct disc_batch;
struct disc_table;

/* The rows of one shard in `t`, laid out as disc_record.h says.  Counts them, so
 * it takes time in proportion.  Also EG_DISC, EG_CORRUPT. */
EG_MUST_USE eg_err store_disc_open(struct store **out, const struct store_opts *o, struct disc *d,
                                   struct disc_table *t, uint32_t shard);

/* What the owner appends here (clock, index rows) is written together with its
 * next put, remove or clear, or taken back where that fails. */
struct disc_batch *store_disc_extra(struct store *s);

#endif /* TABLES_STORE_H */
