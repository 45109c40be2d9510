/* journal.h -- what merges have set aside, so that a person can look at it and take it back.
 *
 *     table --> entry, entry ...     newest first when read; the oldest goes where a bound is met
 *
 * An entry is a map {key, winner, loser, time, nodes}: `winner` and `loser` are records or nil (a
 * removal), `time` wall milliseconds, `nodes` who had which.  Entries are of this node: where the
 * merge was made.  They live as long as the node's process.
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

enum { JOURNAL_ENTRIES = 10000, JOURNAL_BYTES = 16 << 20 };

struct journal;

struct journals {
    struct alloc *alloc;
    atomic_flag busy;
    struct journal *first; /* of tables that have any entry */
    _Atomic uint64_t lost; /* for which there was no memory */
};

static inline void journals_init(struct journals *j, struct alloc *a) {
    *j = (struct journals){.alloc = a, .busy = ATOMIC_FLAG_INIT};
}
void journals_fini(struct journals *j);

/* Keep a copy of the entry under the table's name. */
void journals_add(struct journals *j, const char *table, struct value entry);
/* Append an array of the table's newest entries, at most `limit`.  EG_MEMORY: nothing. */
EG_MUST_USE eg_err journals_read(struct journals *j, const char *table, uint64_t limit,
                                 struct buffer *out);
/* The table is gone. */
void journals_drop(struct journals *j, const char *table);

#endif /* TABLES_JOURNAL_H */
