/* shard_log.h -- what a shard owes to the disc.
 *
 * Changes collect in one batch while another is being written; when that one is
 * done, what collected meanwhile follows.  So a busy shard writes in groups, a
 * quiet one at once, and one submitter's batches never overtake each other.
 *
 *     turn: put, del ... flush --submit--> writer     filling | in flight
 *     turn: put ...                        |          the other fills
 *     done message <-----------------------'          waiters are answered
 *
 * Waiters    Answers that must not leave before their batch is on disc (sync
 *            tables) are held here.
 * Full disc  Refuses changes before they are made (EG_DISC, nothing changed),
 *            except those that make room; what has been made already is written
 *            from the disc's reserve.
 * Failure    Where the disc refuses a batch nevertheless (an fsync that failed, or
 *            even the reserve is used up), its changes are in memory and
 *            readable, and nobody knows whether they will outlive a restart: who
 *            waits for them is told EG_IN_DOUBT and why.  The batch is kept and
 *            tried again at each tick, and until it is through, changes are refused
 *            with EG_DISC: memory is at most what collected meanwhile ahead.
 * Threads    The shard's owner; the disc's writer only posts the done message.
 */
#ifndef TABLES_SHARD_LOG_H
#define TABLES_SHARD_LOG_H

#include "engine/actor.h"
#include "engine/buffer.h"
#include "tables/disc_record.h"

enum {
    SHARD_LOG_BYTES_MAX = 16 << 20, /* collected while the writer is behind: then EG_BUSY */
};

/* The tag of the message that tells a shard that its batch is done. */
enum { SHARD_LOG_DONE = 0x10000 };

struct shard;

struct shard_waiter {
    eg_pid to;
    eg_ref ref;
    struct message *reply;
};

struct shard_log {
    struct disc *disc; /* NULL: a ram table, and everything here does nothing */
    struct disc_table *table;
    struct runtime *runtime;
    struct alloc *alloc;
    const struct shard *owner; /* whose actor hears when a batch is done */
    uint32_t shard;
    bool bag;
    bool sync;
    bool at_once; /* what a turn collected is written within it: see shard_unique.h */
    bool in_flight;
    bool refused; /* the batch in flight was, and waits for its retry */
    unsigned filling;
    struct disc_batch batch[2];
    struct buffer waiters[2]; /* struct shard_waiter, by batch */
    bool synced[2];           /* batches somebody wants fsynced, though the table is not sync */
    struct disc_request request;
    struct message *done;      /* sent by the disc's writer                       */
    _Atomic uint64_t ended;    /* flights that the disc is done with, and how the */
    _Atomic int32_t ended_err; /* last one ended: for an actor that missed the message */
    uint64_t flights;          /* begun                                           */
};

void shard_log_init(struct shard_log *l, struct alloc *a, struct runtime *rt);
/* For disc tables; before it the log does nothing. */
void shard_log_attach(struct shard_log *l, struct disc *disc, struct disc_table *table,
                      uint32_t shard, bool bag, bool sync);
void shard_log_fini(struct shard_log *l); /* not in flight; what was not written is dropped */

/* May a change be made now?  One that `frees` also while the disc is full.
 * EG_DISC: the disc refuses, the note says why.  EG_BUSY: too much is waiting for it. */
EG_MUST_USE eg_err shard_log_ready(const struct shard_log *l, bool frees, struct err_note *note);

/* Collect one change.  EG_MEMORY: nothing was collected. */
EG_MUST_USE eg_err shard_log_put(struct shard_log *l, const struct record *rec);
EG_MUST_USE eg_err shard_log_del(struct shard_log *l, const struct record *rec);
EG_MUST_USE eg_err shard_log_clear(struct shard_log *l);
/* That a part of a transaction is no longer prepared, but committed; its row came past the log. */
EG_MUST_USE eg_err shard_log_del_part(struct shard_log *l, const uint64_t id[2]);
EG_MUST_USE eg_err shard_log_put_done(struct shard_log *l, const uint64_t id[2]);

/* Undo what was collected since, in this turn. */
static inline struct disc_mark shard_log_mark(const struct shard_log *l) {
    return disc_batch_mark(&l->batch[l->filling]);
}
static inline void shard_log_rewind(struct shard_log *l, struct disc_mark m) {
    disc_batch_rewind(&l->batch[l->filling], m);
}

/* End of a turn: submit what collected, with the shard's clock, unless a batch is
 * in flight already. */
void shard_log_flush(struct shard_log *l, struct disc_bytes clock);

/* Hold an answer until what has been collected so far is on disc.
 * EG_MEMORY: not held; the reply is still the caller's. */
EG_MUST_USE eg_err shard_log_wait(struct shard_log *l, eg_pid to, eg_ref ref,
                                  struct message *reply);

/* The same, and fsynced whatever the table's durability. */
EG_MUST_USE eg_err shard_log_wait_synced(struct shard_log *l, eg_pid to, eg_ref ref,
                                         struct message *reply);

/* The disc may be done: if so, answer the waiters through `self`.  Call when the
 * done message arrives, and when a new actor takes over. */
void shard_log_done(struct shard_log *l, struct actor *self);
/* Where `refused`, else nothing. */
void shard_log_retry(struct shard_log *l, struct actor *self);

/* Has the disc all that was collected? */
bool shard_log_is_written(const struct shard_log *l);

/* The turn's part of a change of several shards, which must not be torn apart: add it to
 * `b`; and once the disc has that, forget it.  EG_MEMORY. */
EG_MUST_USE eg_err shard_log_lend(const struct shard_log *l, struct disc_bytes clock,
                                  struct disc_batch *b);
void shard_log_lent(struct shard_log *l);

/* Nothing collected and nothing in flight. */
bool shard_log_idle(const struct shard_log *l);

#endif /* TABLES_SHARD_LOG_H */
