/* index.h -- finding records by something that is not the key.
 *
 * An index is a tree (btree.h) over the store's own records, ordered by its parts
 * (index_spec.h: attributes, or places inside them), then the key: an entry is a pointer,
 * no value is copied.  Values are compared as keys are, so 7 finds 7.0, and nil is a
 * value like any other.  From a thousand records on a hash of the values stands beside
 * the tree (index_hash.h): look-ups by value ask it first.
 *
 * The owner keeps it in the same turn as the store, index first:
 *
 *     index_update(x, old, now)    for each index; readers find `now` from here on
 *     store put or remove          may be refused
 *     index_undo(x)                for each, only where anything was refused
 *
 * Taking back needs no memory and cannot fail, so a write reaches all indexes
 * and the store, or none.
 *
 * What a reader sees.  A record whose parts are asked for and stay so from before
 * the read until after it is found, in the version of some moment of the read,
 * exactly once, also while it is being replaced.  What is found has those values,
 * because records never change, and no second look at the store is needed.  The
 * index runs ahead of the store by at most the owner's running turn: a record
 * may be found an instant before a read by key finds it, and a record that the
 * store then refused for lack of memory may have been found in that instant.
 *
 * Ownership  Records belong to the store.  A record taken back was visible: retire
 *            it to the bin, do not free it.
 * Threads    One owner at a time changes.  Any thread inside an epoch section reads.
 * Memory     13 to 17 bytes a record, and what index_hash.h says where there is a hash.
 */
#ifndef TABLES_INDEX_H
#define TABLES_INDEX_H

#include "tables/btree_run.h"
#include "tables/index_hash.h"
#include "tables/index_spec.h"
#include "tables/range.h"
#include "tables/store.h"

struct buffer;
struct index;

/* An empty index.  Copies the spec.  EG_MEMORY: none. */
EG_MUST_USE eg_err index_open(struct index **out, const struct store_opts *o,
                              const struct index_spec *spec);

/* Nobody reads; what it holds stays in the slab, which closes next. */
void index_close(struct index *x);
/* Dropped, and some readers may still be inside: everything goes by the bin. */
void index_retire(struct index *x);

const struct index_spec *index_spec(const struct index *x); /* as long as the index */
struct btree_stats index_stats(const struct index *x);      /* any thread */

/* ---- changes: the owner ------------------------------------------------- */

/* Put `now` in place of `old`; either may be NULL.  `old` need not be there: an
 * index that is still being built has not met every record.  Adding a record
 * again changes nothing.  EG_MEMORY: nothing changed. */
EG_MUST_USE eg_err index_update(struct index *x, const struct record *old,
                                const struct record *now);

/* Take the last index_update back, in the same turn and before any other. */
void index_undo(struct index *x);

/* The store was cleared.  Never fails. */
void index_clear(struct index *x);

/* ---- reading ------------------------------------------------------------ */

/* The records of a stretch by their parts, then their key (`reverse`: backwards); valid
 * inside one section. */
struct index_iter {
    struct btree_iter at;
    struct index_bounds bounds;
    int found_count, found_at; /* of `found`, what the hash gave; -1: by the tree */
    const struct record *found[INDEX_HASH_FOUND_MAX];
};
void index_seek(const struct index *x, struct index_iter *it, const struct index_bounds *b);
const struct record *index_next(struct index_iter *it); /* NULL: no more */

/* The records of one value in many indexes of one spec and seed, asked at once: those whose
 * leading parts equal `equal`, in any order.  Borrows its values; n <= BTREE_MANY_MAX. */
struct index_run {
    int count, at; /* of `found`; -1: the tree's */
    const struct record *found[INDEX_HASH_FOUND_MAX];
    struct btree_run tree;
};
struct index_runs {
    const struct order *order;
    const struct value *equal;
    uint32_t equal_count;
    struct probe probe; /* for the trees */
    struct index_run run[BTREE_MANY_MAX];
};
void index_find_many(struct index_runs *runs, const struct index *const *x, size_t n,
                     const struct value *equal, uint32_t equal_count);
/* One after the other will be asked for these values: have memory fetch for all of them at once
 * what each looks at first. */
void index_expect_many(const struct index *const *x, size_t n, const struct value *equal,
                       uint32_t equal_count);
/* How many bytes the records' arrays take, of those that are known: about. */
size_t index_runs_bytes(const struct index_runs *runs, size_t n);
const struct record *index_runs_next(struct index_runs *runs, size_t i); /* NULL: no more */

/* Append where `rec` stands, a value to go on behind it in a later section: its parts
 * and its key in an array, in a bag the whole record too.  EG_TOO_LARGE. */
EG_MUST_USE eg_err index_place(const struct index_spec *spec, bool bag, const struct record *rec,
                               struct buffer *place);
/* The values of a place from outside, INDEX_PLACE_MAX at most.  False: it is none. */
enum { INDEX_PLACE_MAX = INDEX_PARTS_MAX + 2 };
EG_MUST_USE bool index_place_values(const struct index_spec *spec, bool bag, struct value place,
                                    struct value values[INDEX_PLACE_MAX]);
/* As index_seek(), behind that place. */
void index_seek_behind(const struct index *x, struct index_iter *it, const struct index_bounds *b,
                       const struct value values[INDEX_PLACE_MAX]);

/* Assert that the index holds exactly the records of `s`.  The owner, in a section. */
void index_check(struct index *x, struct store *s, struct reader *r);

#endif /* TABLES_INDEX_H */
