/* btree_run.h -- the records under one value, looked for in many trees at once.
 *
 * An index is a tree in each shard (index.h), so a look-up by value asks as many trees as the
 * table has shards, and most of them hold none or one of its records:
 *
 *     tree 0   [ . . . = . . ]     run: one record
 *     tree 1   [ . . | . . . ]     run: none, said by the heads of the leaf alone
 *     tree 2   [ . . . . = = ] ->  run: two, and maybe more in the next leaf
 *
 * All trees are gone down together, a level at a time, so that their cache misses overlap;
 * then all leaves are searched, then all records asked for that can be meant.  What a leaf's
 * heads tell apart from the value (btree_node.h) is never looked at: an empty run touches no
 * record, where a scan would fetch the next few.
 *
 * Order      Inside one tree as a scan's.
 * Threads    As reading the trees: inside an epoch section.
 */
#ifndef TABLES_BTREE_RUN_H
#define TABLES_BTREE_RUN_H

#include "tables/btree.h"

struct btree_run {
    const struct probe *probe;
    const struct node *leaf; /* NULL: nothing was found            */
    uint32_t at, until;      /* entries of the leaf that may be it */
    bool beyond;             /* and in the leaf behind it          */
    bool going_on;           /* there, by `rest`                   */
    struct btree_iter rest;
};

/* *runs[i] are the records of trees[i] that equal the parts of `p`: some of the order's first
 * parts, no prefix.  Borrows `p`.  The trees have one order; n <= BTREE_MANY_MAX. */
void btree_run_find_many(struct btree_run *const *runs, const struct btree *const *trees, size_t n,
                         const struct probe *p);
const struct record *btree_run_next(struct btree_run *run); /* NULL: no more */

#endif /* TABLES_BTREE_RUN_H */
