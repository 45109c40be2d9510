/* shard_tx.h -- what transactions do in one shard, in its owner's turn.
 *
 *     ONE:      validate, change all or nothing                  one turn
 *     PREPARE:  validate, keep the part, hold its keys  --> vote
 *     COMMIT:   change all, let go         ABORT: let go
 *
 * Held       While SHARD_HELD stands beside the shard's role, `shard.held` has a bit for the hash
 * of each key that a prepared part may change, or all bits while several records change in one
 * turn.  It is set before the first of them is changed and cleared after the last. Who looks in
 * place looks at it after he has looked at a record, and asks the shard where the record's bit is
 * there. Threads    The shard's owner; shard_tx_holds() any.
 */
#ifndef TABLES_SHARD_TX_H
#define TABLES_SHARD_TX_H

#include "tables/outcome.h"
#include "tables/shard.h"
#include "tables/transact.h"

static inline uint64_t shard_tx_bit(uint64_t hash) {
    return UINT64_C(1) << (hash >> 16 & 63);
}

/* In the place of a key's hash: under which values the shard's indexes have its records.  Who has
 * asked an index shares it, and what was found; who moves a record there has it alone. */
#define SHARD_TX_INDEXES UINT64_C(0x1dea0bf05ca1ab1e)

/* May a transaction be changing what lies under this hash?  After the look at it. */
static inline bool shard_tx_holds(const struct shard *s, uint64_t hash) {
    return (atomic_load_explicit(&s->held, memory_order_acquire) & shard_tx_bit(hash)) != 0;
}

/* Is it held for a moment only, by who changes it in one piece, or by nobody any more?  What a
 * prepared part holds it holds for longer than a message takes. */
static inline bool shard_tx_passes(const struct shard *s) {
    uint64_t held = atomic_load_explicit(&s->held, memory_order_acquire);

    return held == 0 || held == UINT64_MAX;
}

/* All of the shard is changed in one piece from here to the end. */
void shard_tx_begin(struct shard *s);
void shard_tx_end(struct shard *s);

/* Carry out one want, after shard_ready(); the result has room. */
EG_MUST_USE eg_err shard_tx_want(struct shard_turn *t, const struct shard_request *want);
/* The same, of a key that is prepared. */
EG_MUST_USE eg_err shard_tx_want_of(struct shard_turn *t, const struct shard_request *want,
                                    const struct key *k);

/* Carry out a SHARD_TX_* request; see shard_run(). */
EG_MUST_USE eg_err shard_tx_run(struct shard_turn *t);

/* ---- for who keeps copies (replication/) --------------------------------------------------- */

/* A copy hears from its master that a part is prepared there: who looks in place is sent to the
 * master from now on.  Flat, from another node: EG_BAD_REQUEST; EG_MEMORY. */
EG_MUST_USE eg_err shard_tx_mark(struct shard *s, struct reader *r, struct value head,
                                 struct value part);
/* It has ended, and what it changed has been applied; unknown: its master has it no more.  Nothing
 * where it was not marked. */
void shard_tx_unmark(struct shard *s, struct transact_id id, enum outcome what);

/* Call `see` for each part that is prepared or marked here, until it returns false. */
void shard_tx_each(struct shard *s,
                   bool (*see)(void *context, struct value head, struct value part), void *context);
/* All locks of transactions that are not prepared go: the view has changed. */
void shard_tx_drop_locks(struct shard *s);
/* So do all parts, in the turn that lets all records go: other copies have them. */
void shard_tx_drop_parts(struct shard *s);
bool shard_tx_is_prepared(const struct shard *s); /* is any part? */

/* The parts that the disc remembers, before the shard serves.  EG_MEMORY, EG_DISC, EG_CORRUPT. */
EG_MUST_USE eg_err shard_tx_recover(struct shard *s);
/* It has another role: as one of several copies it forgets what only its disc has told it. */
void shard_tx_role(struct shard *s, enum shard_role role);

/* ---- the actor's (shard.c) ------------------------------------------------------------------ */

struct actor;
struct message;

/* May the request be run now?  EG_AGAIN: `waiter`, its message, is kept, and shard_tx_go_on() runs
 * it or says why not.  Others: refused. */
EG_MUST_USE eg_err shard_tx_admit(struct shard_turn *t, void *waiter);
/* It was admitted, and then refused: what it was given to hold goes. */
void shard_tx_refused(const struct shard_turn *t);
/* Run who waits no longer; at the end of each turn. */
void shard_tx_go_on(struct actor *self, struct shard *s);
void shard_tx_tick(struct shard *s, uint64_t now_ms);
bool shard_tx_wants_tick(const struct shard *s);
/* A moment is not to show what is committed in one shard and still prepared here: it is lent when
 * nothing is, and the message kept until then. */
bool shard_tx_keeps_loan(struct actor *self, struct shard *s, struct message *m);
bool shard_tx_may_stop(struct actor *self, struct shard *s);
void shard_tx_close(struct shard *s);

#endif /* TABLES_SHARD_TX_H */
