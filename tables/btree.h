/* btree.h -- a B+tree over record pointers: one writer, readers that never wait.
 *
 *                       [ root ]                 inner slots: children
 *                     /     |     \
 *              [ .. ]    [ .. ]    [ .. ]        leaf slots: the records
 *
 * Nodes never change but for their slots (btree_node.h).  An update stores one
 * slot; an insertion or removal writes a new leaf and swings one pointer to it;
 * a reader that holds the old leaf goes on in the past that it began in.  So a
 * look-up never retries, and what it answers was true at a moment inside it.
 *
 * Snapshots cost O(1): the root is kept and the tree's generation moves on.
 * Nodes not younger than the newest snapshot are frozen, so a change copies
 * them up to the first parent that is not; what dies while a snapshot is open
 * waits in the log of the newest one until all that could see it are closed.
 *
 * The order is generic (order.h): the same tree is the ordered store, the bag
 * and every secondary index.  Only a tree that owns its records retires them.
 *
 * Order      A scan is ascending (or descending), without duplicates, and misses
 *            no record that stays throughout; it is not one moment.  A scan of a
 *            snapshot is.
 * Threads    One owner at a time changes, opens and closes snapshots.  Any thread
 *            inside an epoch section looks up and scans; an open snapshot may be
 *            scanned by any thread, also outside a section.
 * Memory     About 15 bytes a record, pivots included; from the slab, and through
 *            the bin back to it.
 * Source     The copying of nodes below a published root is O. Rodeh's ("B-trees,
 *            Shadowing, and Clones", 2008); he copies the whole path for every
 *            change, we only what a snapshot can see.
 */
#ifndef TABLES_BTREE_H
#define TABLES_BTREE_H

#include "engine/epoch.h"
#include "engine/slab.h"
#include "tables/order.h"

struct btree;
struct btree_snapshot;

struct btree_opts {
    struct alloc *alloc;
    struct slab *slab;
    struct epoch_bin *bin;
    struct order order;
    bool owns_records; /* they are from the slab, and go when the tree drops them */
};

struct btree_stats {
    uint64_t count;       /* records                                             */
    uint64_t bytes;       /* nodes and pivots, those that snapshots keep included */
    uint64_t kept_bytes;  /* of dead records that snapshots still see             */
    uint64_t relocations; /* nodes split or joined so far                        */
};

EG_MUST_USE eg_err btree_open(struct btree **out, const struct btree_opts *o);

/* Nobody reads.  What the tree holds stays in the slab, which closes next. */
void btree_close(struct btree *t);
/* No new reader comes, some may still be inside: everything goes by the bin. */
void btree_retire(struct btree *t);
/* Either way no snapshot is open. */

const struct order *btree_order(const struct btree *t);
struct btree_stats btree_stats(const struct btree *t); /* any thread */
void btree_check(const struct btree *t);               /* asserts everything; O(n) */

/* ---- changes ------------------------------------------------------------ */

enum {
    BTREE_HEIGHT_MAX = 12,                      /* 12 entries in the emptiest node: 12^12  */
    BTREE_TOUCH_MAX = 4 * BTREE_HEIGHT_MAX + 4, /* a level: two nodes, a pivot; a record  */
};

/* A change that readers see already and that can still be taken back.  What it
 * replaced is kept until then, so taking back needs no memory and cannot fail. */
struct btree_change {
    const struct record *old; /* what was replaced or removed, or NULL */
    _Atomic(void *) *at;      /* the one word that published it        */
    void *before;
    int32_t count_change;
    uint32_t made_count, dead_count;
    uintptr_t made[BTREE_TOUCH_MAX], dead[BTREE_TOUCH_MAX];
};

/* Put `rec`, whose place is `p`, in place of what is there.
 * EG_MEMORY: nothing changed.  On EG_OK end with btree_finish or btree_undo. */
EG_MUST_USE eg_err btree_put(struct btree *t, const struct probe *p, const struct record *rec,
                             struct btree_change *c);

/* Remove what is at the complete place `p`.  EG_NOT_FOUND: nothing is. */
EG_MUST_USE eg_err btree_remove(struct btree *t, const struct probe *p, struct btree_change *c);

/* Several changes of one tree may be open: finish them in any order, undo them
 * last first. */
void btree_finish(struct btree *t, struct btree_change *c);
/* Readers may have met the record that was put: retire it, do not free it. */
void btree_undo(struct btree *t, struct btree_change *c);

/* Remove everything.  EG_MEMORY (only while a snapshot is open): nothing changed. */
EG_MUST_USE eg_err btree_clear(struct btree *t);

/* ---- reading ------------------------------------------------------------ */

/* The record at `p` (a first part only: the first such record), or NULL. */
const struct record *btree_get(const struct btree *t, const struct probe *p);

enum { BTREE_MANY_MAX = 16 }; /* a core keeps 10 to 16 misses in flight */

/* n gets, each in its own tree, their cache misses overlapped; n <= BTREE_MANY_MAX. */
void btree_get_many(const struct btree *const *trees, const struct probe *probes, size_t n,
                    const struct record **out);

/* A scan.  Valid inside one epoch section; to go on in a later one, keep a copy
 * of the last record and seek behind it. */
struct btree_iter {
    const struct btree *tree;
    const struct btree_snapshot *snapshot; /* NULL: the live tree    */
    const struct node *leaf;               /* NULL: the end          */
    const struct node *parent;             /* of the leaf; NULL: not known */
    uint32_t at;                           /* forward: next entry; reverse: one above it */
    uint32_t parent_at;                    /* the leaf's place there */
    bool reverse;
};

/* Stand at the first record at or beyond `p` (`after`: beyond all at `p`) in the
 * direction of the scan; `p` NULL: at the very first. */
void btree_seek(struct btree_iter *it, const struct btree *t, const struct btree_snapshot *s,
                const struct probe *p, bool after, bool reverse);
const struct record *btree_next(struct btree_iter *it); /* NULL: the end */

/* The next records of an ascending scan, none of them looked at or asked for: `most` of
 * them, or fewer at the end.  With `end`, those that a look at their nodes shows to be beyond
 * all that equals it are the end; the last few may still be beyond. */
uint32_t btree_next_many(struct btree_iter *it, const struct probe *end, const struct record **out,
                         uint32_t most);

/* ---- snapshots ---------------------------------------------------------- */

/* Keep the tree as it is now.  EG_MEMORY: no snapshot. */
EG_MUST_USE eg_err btree_snapshot_open(struct btree_snapshot **out, struct btree *t);
void btree_snapshot_close(struct btree_snapshot *s);

#endif /* TABLES_BTREE_H */
