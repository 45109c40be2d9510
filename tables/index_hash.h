/* index_hash.h -- the records of an index by the hash of their value, beside its tree.
 *
 *     directory      segment                     line: eight words
 *     [ 00 ] ----.   | count, depth |            | tag, record | tag, record | 0 | ... | link |
 *     [ 01 ] ----+-> | line 0       |              many of this tag: the tree knows     |
 *     [ 10 ] --.     | line 1       |                                                   v
 *     [ 11 ] --+->   | ...          |                                            | line ...   |
 *
 * A look-up by value asks every shard of the table, and most shards have no record of that
 * value or one.  To learn that from a tree costs a miss or two at each of its levels; here it
 * is one cache line, and the lines of all shards are fetched together.
 *
 * The tree stays the truth.  A hash may at any time say "ask the tree" of a value, and does so
 * where a value has more than a few records, which lie side by side in the tree anyway; and
 * an index may have no hash at all: small ones have none, and where memory is refused it is
 * given up.
 *
 * It grows a segment at a time: one that is full is copied into two, which one store of a
 * directory's word publishes (or a few).  A record that stays is never moved inside a
 * segment, so a reader who loads each word once, in order, sees it exactly once.
 *
 * Threads    One owner at a time changes.  Any thread inside an epoch section reads.
 * Memory     From the slab, and through the bin back to it: 9 to 19 bytes a record while few
 *            have one value, next to nothing where many have.
 * Source     Fagin, Nievergelt, Pippenger, Strong 1979: extendible hashing.
 */
#ifndef TABLES_INDEX_HASH_H
#define TABLES_INDEX_HASH_H

#include "engine/epoch.h"
#include "engine/slab.h"
#include "tables/record.h"

struct index_hash;
struct hash_line;

/* An empty one.  NULL: no memory. */
struct index_hash *index_hash_open(struct slab *slab, struct epoch_bin *bin);
/* Readers may still be inside: everything goes by the bin. */
void index_hash_retire(struct index_hash *x);
uint64_t index_hash_bytes(const struct index_hash *x); /* any thread */

/* ---- changes: the owner ------------------------------------------------- */

/* Add `rec`, whose value has this hash; one that is there already changes nothing.
 * False: no memory, and the hash lacks it: retire it. */
EG_MUST_USE bool index_hash_put(struct index_hash *x, uint64_t hash, const struct record *rec);
/* `now` in the place of `old`, in one store.  False: `old` is not there. */
EG_MUST_USE bool index_hash_swap(struct index_hash *x, uint64_t hash, const struct record *old,
                                 const struct record *now);
/* It need not be there. */
void index_hash_remove(struct index_hash *x, uint64_t hash, const struct record *rec);

/* Assert what holds inside; calls `see` for each record. */
void index_hash_check(const struct index_hash *x,
                      void (*see)(void *context, const struct record *rec), void *context);

/* ---- reading ------------------------------------------------------------ */

enum { INDEX_HASH_FOUND_MAX = 8 };

/* Where the records of this hash are; it is asked for, and may not be at hand yet. */
const struct hash_line *index_hash_line(const struct index_hash *x, uint64_t hash);
/* Those that may have the value: all that have, and rarely others.  -1: ask the tree. */
int index_hash_read(const struct hash_line *line, uint64_t hash,
                    const struct record *found[INDEX_HASH_FOUND_MAX]);

#endif /* TABLES_INDEX_HASH_H */
