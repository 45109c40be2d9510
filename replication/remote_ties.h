/* remote_ties.h -- what ties actors here to actors of one other node.
 *
 * A link, a monitor from here or from there, and a call that waits for its answer.  Whatever ends
 * one of them passes by here, so when the node is lost exactly those are left whom nobody else
 * will tell.
 *
 * Threads    Any: a table is cut into parts, each behind a lock that is held for a look-up.
 */
#ifndef REPLICATION_REMOTE_TIES_H
#define REPLICATION_REMOTE_TIES_H

#include "engine/alloc.h"
#include "engram/types.h"

#include <stdatomic.h>

enum { TIES_PARTS = 16 };

enum tie_kind {
    TIE_LINK,    /* here and there                     */
    TIE_WATCH,   /* here watches there, by ref         */
    TIE_WATCHED, /* there watches here, by its ref     */
    TIE_CALL,    /* here waits for there's REPLY to ref */
};

struct tie {
    struct tie *next;
    enum tie_kind kind;
    eg_pid here, there;
    eg_ref ref; /* 0 for a link, which is found by both pids */
};

struct ties {
    struct alloc *alloc;
    uint32_t max;
    _Atomic uint32_t count;
    struct ties_part {
        atomic_flag lock;
        struct tie **bucket;
        uint32_t bucket_count; /* 0, or a power of two */
        uint32_t count;
    } part[TIES_PARTS];
};

void ties_init(struct ties *t, struct alloc *a, uint32_t max);
void ties_fini(struct ties *t); /* empty */

/* EG_EXISTS: it is there already.  EG_BUSY: at the bound.  EG_MEMORY. */
EG_MUST_USE eg_err ties_add(struct ties *t, const struct tie *tie);
/* False: there is none. */
bool ties_remove(struct ties *t, const struct tie *tie);
bool ties_has(struct ties *t, const struct tie *tie);
/* All of them, the caller's from now on: tie_free() each. */
struct tie *ties_take(struct ties *t);
void tie_free(struct ties *t, struct tie *tie);

#endif /* REPLICATION_REMOTE_TIES_H */
