/* epoch.h -- when may a retired thing be freed?
 *
 * Readers walk shared structures without locks.  An owner that unlinks a record
 * or a node may free it only when no reader can still hold it.  One domain a
 * node counts epochs; every reading thread has a slot that says since when it
 * has been reading (0: it is not).
 *
 *     scheduler    online ... quiescent() between dispatches ... offline, sleeps
 *     any thread   enter() ... exit(), nesting allowed
 *     owner        retire(bin, p), and between turns sweep(bin), which frees
 *                  what nobody can hold any more
 *
 * The scheme is quiescent-state based for schedulers (as ERTS's thread progress)
 * and epoch based for others, in one domain.  A bin belongs to one owner at a
 * time (a shard), so retiring takes no lock and nothing is freed across threads.
 * A stuck reader stops reclamation: retired bytes are counted a bin, and how far
 * the slowest reader is behind can be asked, so that shards refuse growth past a
 * bound.
 *
 * Order      What is unlinked (release store) before retire() is unreachable for
 *            every section that begins after the sweep that stamped it.
 * Threads    Slots: their thread.  Bins: their owner.  The rest: any.
 * Source     K. Fraser 2004 (epochs); Hart et al. 2007 (QSBR compared).
 */
#ifndef ENGINE_EPOCH_H
#define ENGINE_EPOCH_H

#include "engine/alloc.h"

#include <stdatomic.h>

struct epoch; /* the domain */

struct epoch_slot { /* one cache line a reading thread; see epoch.c for the protocol */
    _Alignas(EG_CACHE_LINE) _Atomic uint64_t reading_since; /* 0: not reading */
    _Atomic uint32_t claimed;
    uint32_t depth; /* nested enters; the thread's own */
    struct epoch *domain;
};

/* Room for `slots_max` threads that read at the same time.  EG_MEMORY: nothing
 * was taken and *out is unchanged. */
EG_MUST_USE eg_err epoch_open(struct epoch **out, struct alloc *a, uint32_t slots_max);
void epoch_close(struct epoch *e); /* every slot released, every bin drained */

/* NULL: slots_max threads are reading already.  Any thread, takes no lock. */
struct epoch_slot *epoch_slot_claim(struct epoch *e);
void epoch_slot_release(struct epoch_slot *s);

/* A reading section of any thread.  Nests. */
void epoch_enter(struct epoch_slot *s);
void epoch_exit(struct epoch_slot *s);

/* A scheduler's section: online until it sleeps, quiescent between dispatches,
 * when it holds nothing it read before.  One load and one compare when the
 * epoch has not moved. */
void epoch_online(struct epoch_slot *s);
void epoch_quiescent(struct epoch_slot *s);
void epoch_offline(struct epoch_slot *s);

/* How many epochs the slowest reader is behind (0: nobody is reading).  An epoch
 * passes with some thousand retired objects, so a number that only grows is a
 * reader that is stuck. */
uint64_t epoch_lag(struct epoch *e);

/* ---- retiring ----------------------------------------------------------- */

typedef void (*epoch_free_fn)(void *owner, void *ptr, size_t size_bytes);

struct epoch_bin {
    struct epoch *domain;
    struct alloc *alloc;
    struct epoch_batch *oldest, *newest; /* a queue of batches of retired things       */
    struct epoch_batch *unstamped;       /* first of those without a stamp             */
    void *next_note;                     /* where the next retired thing will be noted */
    uint64_t closed_on;                  /* epoch the closed batches wait since; 0: none */
    uint64_t open_bytes;                 /* in batches still open                      */
    uint32_t open_count;                 /* likewise                                   */
    uint32_t since_sweep;                /* things retired since the last sweep        */
    uint64_t retired_bytes;              /* waiting now                                */
    uint64_t retired_count;              /* likewise                                   */
    uint64_t lost_bytes;                 /* could not even be queued: see retire       */
};

void epoch_bin_init(struct epoch_bin *b, struct epoch *domain, struct alloc *a);

/* Hand `ptr` over: free_fn(owner, ptr, size_bytes) is called by a later sweep on
 * the owner's thread, never by this call.  Cannot fail and never waits: where
 * memory for the queue is refused the object is forgotten and counted in
 * lost_bytes.  What came from a slab is then freed when the slab closes. */
void epoch_retire(struct epoch_bin *b, epoch_free_fn free_fn, void *owner, void *ptr,
                  size_t size_bytes);

/* As epoch_retire, for what is too large to be forgotten.  False: memory for the queue
 * was refused, and `ptr` stays the caller's, who tries again. */
EG_MUST_USE bool epoch_try_retire(struct epoch_bin *b, epoch_free_fn free_fn, void *owner,
                                  void *ptr, size_t size_bytes);

/* Ask for the lines that the next retire will change: the bin's owner of before may have
 * been on another core. */
static inline void epoch_expect(const struct epoch_bin *b) {
    EG_PREFETCH_TO_WRITE(b->newest); /* may be NULL: a prefetch never faults */
    EG_PREFETCH_TO_WRITE(b->next_note);
}

/* Free some of what no reader can hold any more.  The owner calls it once a turn,
 * holding nothing it has retired.  Work is bounded: a constant, and two objects
 * for each one retired since the last sweep, so a backlog shrinks and no turn
 * pays for another's. */
void epoch_sweep(struct epoch_bin *b);

/* As epoch_sweep, but also for the last few, which otherwise wait for company:
 * for a tick or an idle moment. */
void epoch_flush(struct epoch_bin *b);

/* Wait for all readers and free everything.  The caller must not be reading. */
void epoch_bin_drain(struct epoch_bin *b);

/* Free everything at once: for the end of a structure that no reader can reach any
 * more, because it was itself retired or never published.  Does not wait, so a thread
 * that is reading something else may call it. */
void epoch_bin_discard(struct epoch_bin *b);

#endif /* ENGINE_EPOCH_H */
