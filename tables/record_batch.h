/* record_batch.h -- records that are looked at side by side.
 *
 *     record | r0 | r1 | r2 | ...      these are in the cache, or on their way
 *     ahead  | s0 | s1 | s2 | ...      these come next
 *
 * Memory takes longer to answer than a record takes to be judged, and answers many at a
 * time.  So whoever looks at record i asks for number i of the next ones in the same breath:
 * the core waits for those while it judges these.  Asking for all first and
 * judging then would do one after the other.
 *
 * Ownership  Both rows are the scan's, until it is asked for more; the first may be changed.
 */
#ifndef TABLES_RECORD_BATCH_H
#define TABLES_RECORD_BATCH_H

#include "tables/record.h"

enum { RECORD_BATCH_MAX = 128 };

struct record_batch {
    const struct record **record;
    uint32_t count;
    const struct record *const *ahead; /* at least `count` addresses, none NULL; or NULL */
    uint32_t reach_bytes;              /* how far into each will be looked, about         */
};

enum { RECORD_REACH_BYTES = 104 }; /* all of a usual record */

EG_PREFETCHES static inline void record_batch_ahead(const struct record_batch *b, uint32_t i) {
    const char *next;

    if (b->ahead == NULL)
        return;
    next = (const char *) b->ahead[i]; /* whose first line was asked for where it was found */
    EG_PREFETCH(next + b->reach_bytes);
    if (b->reach_bytes > EG_CACHE_LINE)
        EG_PREFETCH(next + EG_CACHE_LINE);
}

#endif /* TABLES_RECORD_BATCH_H */
