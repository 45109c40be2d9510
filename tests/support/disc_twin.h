/* disc_twin.h -- the disc of the simulator and of tests: disc.h in memory.
 *
 *     synced tables --+ log of changes not yet synced = tables as they are read
 *                     |
 *     a crash keeps the synced tables and a random prefix of the log
 *
 * Deterministic: one seed, one thread, nothing happens but in run(), write() and
 * the calls below.  Submitted requests wait until disc_twin_run(); a simulator
 * gives a `wake` and lets virtual time pass before it runs them, a test calls
 * run() itself.
 *
 * Threads    One.
 */
#ifndef TESTS_SUPPORT_DISC_TWIN_H
#define TESTS_SUPPORT_DISC_TWIN_H

#include "tables/disc.h"

struct disc_twin;

struct disc_twin_opts {
    struct alloc *alloc;
    uint64_t seed;
    void (*wake)(void *ctx); /* the queue is no longer empty; may be NULL */
    void *ctx;
};

EG_MUST_USE eg_err disc_twin_open(struct disc_twin **out, const struct disc_twin_opts *o);
struct disc *disc_twin_disc(struct disc_twin *t);

/* Carry out what is queued: one group, one sync if anyone asked.  Calls done(). */
void disc_twin_run(struct disc_twin *t);
/* The same where `d` is a twin's; a RocksDB disc runs by itself. */
void disc_twin_run_if_twin(struct disc *d);

/* Power off and on: queued requests are gone without done(), faults too, tables
 * and iterators are invalid; disc_tables() lends the tables anew. */
void disc_twin_crash(struct disc_twin *t);
/* The same where the prefix is known: how many of the batches not yet synced. */
uint64_t disc_twin_unsynced(const struct disc_twin *t);
void disc_twin_crash_keeping(struct disc_twin *t, uint64_t count);
/* An orderly stop and start: nothing is lost. */
void disc_twin_restart(struct disc_twin *t);
/* Another disc that has all that is read of this one now, from the same allocator: so is a disc
 * that was copied, and is put back later. */
EG_MUST_USE eg_err disc_twin_copy(struct disc_twin **out, const struct disc_twin *t);

/* Faults.  The n-th group from now (1: the next) fails in write or in fsync, and
 * the disc refuses from there on; what failed in fsync may be there after a crash. */
void disc_twin_fail_write(struct disc_twin *t, uint32_t nth);
void disc_twin_fail_sync(struct disc_twin *t, uint32_t nth);
/* The n-th disc_write() from now on and all after it are refused with EG_BUSY, as where
 * RocksDB would stall; not those that are patient.  0: no more. */
void disc_twin_set_behind(struct disc_twin *t, uint32_t nth);
void disc_twin_set_full(struct disc_twin *t, bool full);
/* Not even the reserve is left. */
void disc_twin_set_spent(struct disc_twin *t, bool spent);
/* Reading this row gives EG_CORRUPT from now on. */
void disc_twin_damage(struct disc_twin *t, struct disc_table *table, struct disc_bytes key);

#endif /* TESTS_SUPPORT_DISC_TWIN_H */
