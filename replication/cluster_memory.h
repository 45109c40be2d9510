/* cluster_memory.h -- what a node remembers of its cluster over a restart.
 *
 * One row of the disc's meta table, [version, incarnation, born, epoch, members, electorate,
 * remembers]: the
 * last start (the next one is later, also where the clock went back), the start with which this
 * data began (a node that was removed since must begin anew), the epoch of the last view (ids of
 * views never repeat), who else there is, to be dialled, whose majority counts (electorate.h), and
 * whether what it does not know was never there (REPLICA_REMEMBERS).
 * It is written without waiting for the disc: what a crash loses the others tell again.
 */
#ifndef REPLICATION_CLUSTER_MEMORY_H
#define REPLICATION_CLUSTER_MEMORY_H

#include "replication/electorate.h"
#include "replication/swim.h"
#include "tables/disc.h"

enum { CLUSTER_MEMORY_BYTES_MAX = 128 << 10 };

struct cluster_memory {
    uint64_t incarnation;
    uint64_t born;
    uint64_t epoch;
    struct electorate electorate;
    bool remembers;
};

/* All zeros where nothing is remembered.  `row` (empty, bounded by the caller) keeps what *members
 * points to, for swim_load(); its size is 0 where there is nothing.  EG_CORRUPT with a note;
 * EG_DISC, EG_MEMORY. */
EG_MUST_USE eg_err cluster_memory_load(struct disc *d, struct cluster_memory *out,
                                       struct buffer *row, struct value *members,
                                       struct err_note *note);
/* `s` NULL: without members.  EG_BUSY: the disc is behind, to be tried again; EG_DISC, EG_MEMORY.
 */
EG_MUST_USE eg_err cluster_memory_save(struct disc *d, struct alloc *a,
                                       const struct cluster_memory *m, const struct swim *s);

/* The incarnation of a start at this time. */
uint64_t cluster_memory_next_start(const struct cluster_memory *m, int64_t wall_ms);

#endif /* REPLICATION_CLUSTER_MEMORY_H */
