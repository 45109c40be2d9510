/* outcome.h -- what became of transactions, as far as this node knows.
 *
 *     shards (masters and copies) --committed--> outcomes <--committed, aborted-- managers
 *     questions of clients, parts in doubt ------>
 *
 * A bounded memory: each is kept for OUTCOME_KEPT_MS, fewer than OUTCOMES_MAX at once, the oldest
 * go first.  What a shard has committed is noted in the turn that did it, so who asks a node after
 * its turns has an answer that stays.  `committed` is never replaced by `aborted`: one view may
 * have given up what another one committed.
 *
 * Threads    Any; a stripe is locked for a few instructions.
 * Memory     Grows with what there is to remember.  Where there is none for one more, the oldest of
 *            its stripe makes room; where there is none for the first, nothing is remembered.
 */
#ifndef TABLES_OUTCOME_H
#define TABLES_OUTCOME_H

#include "tables/transact.h"

struct catalog;
struct env;
struct outcomes;

enum {
    OUTCOME_KEPT_MS = 10 * 60 * 1000,
    OUTCOMES_MAX = 1 << 20,
};

enum outcome {
    OUTCOME_UNKNOWN,
    OUTCOME_COMMITTED,
    OUTCOME_ABORTED,
    OUTCOME_OPEN,   /* a request that is under way here */
    OUTCOME_OF_TRY, /* of a request: what becomes of its last try, number `outcome - OUTCOME_OF_TRY`
                       (transact_id_of_try()) */
};

EG_MUST_USE eg_err outcomes_open(struct outcomes **out, struct alloc *a, struct env *env);
void outcomes_close(struct outcomes *o);
struct outcomes *catalog_outcomes(struct catalog *c);

/* `committed` replaces anything, and anything replaces `open`. */
void outcome_put(struct outcomes *o, struct transact_id id, enum outcome what);
/* Aborted, though this node took it for committed. */
void outcome_revoke(struct outcomes *o, struct transact_id id);
/* A request with this name begins, to be ended by outcome_put().  False: one is under way. */
EG_MUST_USE bool outcome_begin(struct outcomes *o, struct transact_id request);
enum outcome outcome_get(struct outcomes *o, struct transact_id id);

#endif /* TABLES_OUTCOME_H */
