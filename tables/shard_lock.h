/* shard_lock.h -- who holds which keys of a shard, and who waits for them.
 *
 *     ask --no conflict----------------------> granted: it holds them until it lets go
 *         --all who are in its way are younger--> waits, first come first served
 *         --one of them is older-------------> refused: it tries again, with its age
 *
 * Wait-die (Rosenkrantz, Stearns, Lewis 1978): only an older transaction ever waits for a younger
 * one, so no circle can close, and the oldest of all is never refused.  One that waits is in the
 * way of the younger ones behind it, so it cannot be starved.  When an older one takes what
 * somebody waits for, who waits is refused.
 *
 * Plain operations hold nothing: they wait for those who do, and for plain ones before them on the
 * same key, so that what one sender asks stays in order; nobody waits for them.
 *
 * A lock is shared or exclusive, of a key (of all keys with its hash) or of the whole shard.
 *
 * Invariants (shard_lock_check)
 *   (1) two that hold one key, or one and the whole shard, are one transaction or both shared.
 *   (2) who waits is older than all who hold what it wants.
 *   (3) exclusive[b] is the number of exclusive locks of keys with bit b.
 *
 * Without a clock: who asks says what time it is.
 *
 * Threads    The shard's owner.
 */
#ifndef TABLES_SHARD_LOCK_H
#define TABLES_SHARD_LOCK_H

#include "engine/alloc.h"
#include "engine/err.h"
#include "engine/list.h"
#include "tables/transact.h"

enum {
    SHARD_LOCKS_MAX = 1 << 20,     /* of one shard                                     */
    SHARD_LOCK_WAITERS_MAX = 4096, /* then EG_BUSY                                     */
    SHARD_LOCK_TABLES = 512,       /* chains                                           */
};

struct lock_want {
    uint64_t hash; /* of the key; where `whole` nothing */
    bool whole;
    bool exclusive;
};

/* A transaction that holds something. */
struct lock_owner {
    struct transact_id id;
    struct transact_age age;
    uint64_t deadline_ms; /* it lets go then, unless it is `kept`; 0: never */
    bool kept;            /* it is prepared                                 */
    bool whole_shared, whole_exclusive;
    uint32_t shared, exclusive; /* keys */
    struct lock_held *held;     /* newest first */
    void *part;                 /* the holder's own: what is prepared */
    struct lock_owner *next;    /* in its chain */
    struct list_node node;      /* of all       */
};

struct shard_lock {
    struct alloc *alloc;
    struct list_node owners, waiters; /* oldest first */
    uint32_t owner_count, waiter_count, lock_count;
    uint32_t whole_count;   /* owners that hold the whole shard, shared or not */
    bool moved;             /* somebody who waits may go on, or not at all */
    uint32_t exclusive[64]; /* locks of keys by shard_tx_bit()             */
    uint64_t bits;          /* of those that are not 0; all: of the shard  */
    struct lock_owner *owner_chain[SHARD_LOCK_TABLES];
    struct lock_held *held_chain[SHARD_LOCK_TABLES];
};

struct lock_request {
    struct transact_id id; /* none: a plain operation */
    bool passing;          /* it looks, and holds nothing more afterwards */
    struct transact_age age;
    uint64_t deadline_ms; /* it waits no longer; also that of the owner it becomes */
    const struct lock_want *want;
    uint32_t count;
};

/* NULL: no memory. */
struct shard_lock *shard_lock_open(struct alloc *a);
void shard_lock_close(struct shard_lock *l); /* nobody waits */

/* EG_OK: granted, a transaction holds it now (a plain operation nothing).  EG_AGAIN: it waits, and
 * `waiter` comes back from shard_lock_next().  EG_CONFLICT: an older one is in its way.  EG_BUSY:
 * too many wait or hold.  EG_MEMORY.  After an error a transaction holds what it held before. */
EG_MUST_USE eg_err shard_lock_ask(struct shard_lock *l, const struct lock_request *q, void *waiter);
/* Granted whoever else holds it: where another node has seen that nobody does.  EG_MEMORY, EG_BUSY.
 */
EG_MUST_USE eg_err shard_lock_take(struct shard_lock *l, const struct lock_request *q);
/* As EG_OK of a plain operation, without waiting where it is not. */
bool shard_lock_is_free(const struct shard_lock *l, const struct lock_want *want);

/* Does it hold this key, exclusively where that is wanted? */
bool shard_lock_has(const struct shard_lock *l, const struct lock_owner *o,
                    const struct lock_want *want);

struct lock_owner *shard_lock_owner(const struct shard_lock *l, struct transact_id id);
/* Who waits for this transaction is refused at the next shard_lock_next(). */
void shard_lock_give_up(struct shard_lock *l, struct transact_id id);
/* All that it holds; the owner is gone. */
void shard_lock_release(struct shard_lock *l, struct lock_owner *o);

/* The next one who waits no longer; NULL: nobody.  *err: EG_OK, granted; EG_CONFLICT, refused;
 * EG_TIMEOUT, its deadline is over.  `now_ms` 0: no time has passed. */
void *shard_lock_next(struct shard_lock *l, uint64_t now_ms, eg_err *err);

void shard_lock_check(const struct shard_lock *l);

#endif /* TABLES_SHARD_LOCK_H */
