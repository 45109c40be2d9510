/* calls.h -- the answers an actor is waiting for.
 *
 * A call never blocks: it sends a CALL, remembers what to do with the answer and
 * returns.  The REPLY finds its entry by the reference, which is the entry's
 * place and a count of how often that place was used: no search, and a late or
 * doubled REPLY is told from one that is awaited.
 *
 *     free --calls_start--> waiting --REPLY, or the deadline--> free
 *
 * The deadline is a timer that sends the actor an EG_TIMEOUT REPLY from itself,
 * so that every outcome arrives the same way and in a turn of the actor.
 *
 * Ownership  Of the actor; goes with it.  `*calls` is NULL until the first call.
 * Memory     Entries are recycled; the first call of an actor allocates, and each
 *            time twice as many are open at once as ever before.
 */
#ifndef ENGINE_CALLS_H
#define ENGINE_CALLS_H

#include "engine/actor.h"

enum {
    CALLS_OPEN_MAX = 64 * 1024, /* one actor waiting for more has lost its way */
};
#define CALL_TIMEOUT_NEVER UINT64_MAX

struct calls;

/* What came of a call.  `reply` is NULL where the outcome is the runtime's own
 * (EG_TIMEOUT, EG_NOPROC, ...); it may be kept with actor_keep(). */
struct call_then;
typedef void (*call_done_fn)(struct actor *self, void *state, const struct call_then *then,
                             eg_err outcome, struct message *reply);

struct call_then {
    call_done_fn done;
    void *context;
    void (*program)(void); /* a function for done() to call: kept beside its context */
};

/* Send the CALL `m` to `to`; then->done() is called once, in a later turn of self.
 *
 * EG_NOPROC, EG_BUSY (its mailbox is full, or CALLS_OPEN_MAX are open),
 * EG_NO_REPLICA, EG_MEMORY: nothing was sent and done() is never called.
 * `m` is taken in any case. */
EG_MUST_USE eg_err calls_start(struct calls **calls, struct actor *self, eg_pid to,
                               struct message *m, uint64_t timeout_ms,
                               const struct call_then *then);

/* then->done() is called once, in a turn of self that comes in so long (0: the next one), with
 * EG_OK and no reply: nobody was asked.  EG_BUSY, EG_MEMORY: it is never called. */
EG_MUST_USE eg_err calls_later(struct calls **calls, struct actor *self, uint64_t delay_ms,
                               const struct call_then *then);

/* Hand a REPLY to whom it is for; one that nobody awaits any more is counted. */
void calls_receive(struct calls *calls, struct actor *self, void *state, struct message *reply);

struct calls_stats {
    uint32_t open;
    uint64_t started, timed_out;
    uint64_t late; /* REPLYs that came after the deadline */
};
struct calls_stats calls_stats(const struct calls *calls); /* `calls` may be NULL */

#endif /* ENGINE_CALLS_H */
