/* shard_dirty.h -- changes that are made at one full copy, without the others.
 *
 *     owner's turn: begin, change, end --> group --patient--> told with those of later turns
 *
 * A dirty change is answered as soon as it is made here; nobody waits for the others to have it.
 * So it need not be told at once: while an earlier group is on its way it stays in the next one,
 * and what was written meanwhile goes as one message.  A change that somebody waits for takes
 * all along.  Where the others do not keep up, the group is full and a dirty change is
 * refused: what waits for others is bounded.
 *
 * A copy that is not the master tells its own changes to its master only, and only these: what
 * it has heard it does not tell on.
 *
 * Threads    The shard's owner.
 */
#ifndef TABLES_SHARD_DIRTY_H
#define TABLES_SHARD_DIRTY_H

#include "engine/err.h"

struct shard;

enum { SHARD_DIRTY_BYTES_MAX = 64 << 10 }; /* of a group to which more may be added */

struct patience {
    uint32_t count;   /* of the group's changes, nobody waits for these            */
    uint32_t before;  /* changes in the group when the present ones began       */
    bool was_telling; /* likewise                                                */
    bool ever;        /* one was made since the present view began               */
};

/* What is changed until the end is dirty.  EG_BUSY, with a note: the others do not keep up. */
EG_MUST_USE eg_err shard_dirty_begin(struct shard *s, struct err_note *note);
void shard_dirty_end(struct shard *s);

#endif /* TABLES_SHARD_DIRTY_H */
