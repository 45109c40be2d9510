/* tx_decision.h -- what the disc remembers of decisions to commit.
 *
 *     all have voted --write, sync--> COMMIT to the parts ... all are done --erase-->
 *
 * One row of the node's own table for each: its bundle (tx_bundle.h).  A decision to abort is never
 * written: what has no row was not decided, or is over.  Where a node starts with a row it tells
 * the parts again, until all have done it.
 *
 * Ownership  A request is the disc's from when it is begun until it is not `under_way` any more.
 * Threads    Any; one at a time for one of them.
 */
#ifndef REPLICATION_TX_DECISION_H
#define REPLICATION_TX_DECISION_H

#include "engine/runtime.h"
#include "tables/disc.h"
#include "tables/transact.h"

struct value;

enum { TX_DECISION_KEY_BYTES = 17 };

enum tx_decision_state { TX_DECISION_IDLE, TX_DECISION_UNDER_WAY, TX_DECISION_DONE };

struct tx_decision {
    struct disc_request request;
    struct disc_batch batch;
    struct runtime *runtime;
    _Atomic uint64_t *pid; /* of who is woken: slot << 32 | generation */
    struct message *word;  /* that it is woken with                    */
    _Atomic uint8_t state; /* enum tx_decision_state                   */
    _Atomic int32_t err;   /* where it is done                         */
};

void tx_decision_init(struct tx_decision *d, struct alloc *a, struct runtime *rt,
                      _Atomic uint64_t *pid);
/* Not under way. */
void tx_decision_fini(struct tx_decision *d);

/* On its way to the disc: who is woken gets an INFO with this tag and number.  EG_MEMORY, EG_BUSY,
 * EG_DISC: it is not. */
EG_MUST_USE eg_err tx_decision_write(struct tx_decision *d, struct disc *disc,
                                     struct transact_id id, struct value bundle, uint32_t tag,
                                     uint64_t number);
/* Likewise, that it is over: in its own time. */
EG_MUST_USE eg_err tx_decision_erase(struct tx_decision *d, struct disc *disc,
                                     struct transact_id id, uint32_t tag, uint64_t number);

static inline enum tx_decision_state tx_decision_state(struct tx_decision *d) {
    return (enum tx_decision_state) atomic_load(&d->state);
}

/* Call `see` for each that is there, until it fails.  EG_DISC, EG_CORRUPT, what `see` says. */
EG_MUST_USE eg_err tx_decision_each(struct disc *disc,
                                    eg_err (*see)(void *context, struct disc_bytes row),
                                    void *context);

#endif /* REPLICATION_TX_DECISION_H */
