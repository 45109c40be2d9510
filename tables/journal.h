/* journal.h -- what merges have set aside, so that a person can look at it and take it back.
 *
 *     table --> entry, entry ...     newest first when read; the oldest goes where a bound is met
 *
 * An entry is a map {key, winner, loser, time, nodes, view, versions}: `winner` and `loser` are
 * records or nil (a removal), `time` wall milliseconds, `nodes` who had which, `versions` what
 * tells them from others, with clocks (table_conflict.c); it may have less, for it is read back as
 * an older Engram has written it.  Entries are of this node: where the merge was made.  Who reads
 * them gets each one's `number` too, 1, 2, ... in the order in which they came, by which it can be
 * named whatever comes after it.
 *
 * Those of a table with rows on disc are there too, and go with the batch that has what the merge
 * has made: after a crash either both are there or none.  They are rows of the node's own:
 *
 *     'j' | table's id 8 | number 8 | --> entry      big-endian
 *
 * Others live as long as the node's process.  A table takes its entries with it; one that is
 * cleared or changes its shape keeps them.
 *
 * Threads    Any: a short lock, which nobody takes while nothing was in conflict.
 * Bound      JOURNAL_ENTRIES and JOURNAL_BYTES a table; what there was no memory for is counted.
 */
#ifndef TABLES_JOURNAL_H
#define TABLES_JOURNAL_H

#include "engine/buffer.h"
#include "engine/err.h"
#include "tables/value.h"

#include <stdatomic.h>

struct disc;
struct disc_batch;

enum { JOURNAL_ENTRIES = 10000, JOURNAL_BYTES = 16 << 20 };

struct journal;

struct journals {
    struct alloc *alloc;
    struct disc *disc; /* NULL: everything is in memory alone */
    atomic_flag busy;
    struct journal *first;   /* of tables that have any entry */
    _Atomic uint64_t lost;   /* for which there was no memory */
    _Atomic uint64_t failed; /* callbacks that had no answer (shard_conflict.c) */
    _Atomic uint64_t past;   /* counters that do not hold all that was added (likewise) */
};

static inline void journals_init(struct journals *j, struct alloc *a, struct disc *disc) {
    *j = (struct journals){.alloc = a, .disc = disc, .busy = ATOMIC_FLAG_INIT};
}
void journals_fini(struct journals *j);

/* Read back what is on disc, and drop there what is of no table that `is_known`.  EG_DISC,
 * EG_CORRUPT. */
EG_MUST_USE eg_err journals_recover(struct journals *j,
                                    bool (*is_known)(void *context, uint64_t table), void *context);

/* Keep a copy of the entry under the table's id, and in `batch` (NULL: not on disc). */
void journals_add(struct journals *j, uint64_t table, struct value entry, struct disc_batch *batch);
/* Append an array of the table's newest entries, at most `limit`.  EG_MEMORY: nothing. */
EG_MUST_USE eg_err journals_read(struct journals *j, uint64_t table, uint64_t limit,
                                 struct buffer *out);
/* The table is gone.  What the disc keeps nevertheless goes at the next start. */
void journals_drop(struct journals *j, uint64_t table);

#endif /* TABLES_JOURNAL_H */
