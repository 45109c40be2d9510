/* feed_compare.h -- where a clock does not say what a copy has, two copies compare what they have.
 *
 *     who follows                                    who is followed
 *                    <-- TREE(0): salt, depth ---      (1) before it walks; sums its records
 *     sums its own   --- TREE(1): sums ---------->
 *                    <-- TREE(2) ... TREE(depth)--     what lies below the nodes that differ
 *                    <-- TREE(depth + 1), rest ---     the leaves that differ; and the sum of all
 *                                                      that is not in them
 *     (1) --- WANT: prints of all its records there -> walks, and passes over what these are
 *     (2) --- HAVE: its records there ----------->     feed_sift.c
 *
 * (1) fills a copy that has more than its clock says: it was being filled when it broke off, or
 * its disc has kept less of the clock than of the records.  FOLLOW says how many records it has; a
 * walk by the clock alone would tell all of them again.
 * (2) asks what was deleted and is forgotten: a copy from an old disc, or one that was away so long
 * that the log of deletes was cut.  What both have needs no asking.  `Absent there, and covered by
 * its clock: superseded or deleted` stays for who is asked to decide, record by record
 * (tables/shard_floor.h).
 *
 * Changes go on.  Who follows hears those that come after its FOLLOW by themselves; a record that
 * stays as it is while both sum is in both sums, at whatever moment each looked at it.  So sums
 * that are equal mean equal records, and a difference that is none costs a few bytes.  Where a
 * third copy tells what this comparison has not seen (feed_compare_spoil()), all is asked about.
 *
 * Everything is done in full, as if nothing had been compared, where the copy is empty or has less
 * than a quarter, so much differs that the list is full (350,000 records of a shard: below that a
 * print of six bytes for what need not be told is always worth it), memory fails, nobody answers,
 * or the rest is not the same: a node of the tree is said in three bytes, and what those do not
 * tell apart shows in the rest, which is eight.
 *
 *     a record is missed                     the salt is new each time, and nobody knows it
 *       neither its nodes nor the rest       depth x 2^-24 x 2^-64   (2^-85)
 *       its print is another's in the list   records in the list x 2^-48: 2^-45 in one leaf
 *
 * Errors     None are seen: see above.
 * Threads    The shard's owner.
 * Bound      A tree on each side (2 bytes a record) and COMPARE_LIST_BYTES, for each copy that
 * follows; before walks, of COMPARE_AT_ONCE.
 */
#ifndef REPLICATION_FEED_COMPARE_H
#define REPLICATION_FEED_COMPARE_H

#include "replication/feed_private.h"
#include "tables/hash_tree.h"

enum {
    COMPARE_LIST_BYTES = 2 << 20,
    COMPARE_SUM_BYTES = 3,
    COMPARE_PRINT_BYTES = 6,
    COMPARE_PART_LEAST = 4, /* who has less of what is here than this part is told all */
    COMPARE_TRIES = 10,
    COMPARE_AT_ONCE = 16, /* of one node, before walks */
};

enum compare_stage {
    COMPARE_SUMS,
    COMPARE_TALKS,
    COMPARE_LISTS,
    COMPARE_OVER,
};

/* One side of a comparison. */
struct compare {
    uint64_t node, session; /* who follows has that one */
    bool follows;           /* we do */
    bool sifts;             /* (2) */
    bool all;               /* it says nothing: all may differ */
    bool spoilt;            /* another copy has told something meanwhile */
    enum compare_stage stage;
    uint32_t tries;
    struct hash_tree tree;
    struct buffer place; /* of the scan */
    struct buffer said;  /* who follows: its last word; the other: one that came too early, */
    uint64_t level;      /* and of which level that is */
    uint8_t *wanted;     /* the leaves that differ, one byte each */
    uint32_t wanted_count;
    struct buffer prints; /* of who follows, in these leaves; sorted where they are looked up */
    struct buffer items;  /* (2): key, origin, sequence, and so on */
    uint32_t item_count;
};

#endif /* REPLICATION_FEED_COMPARE_H */
