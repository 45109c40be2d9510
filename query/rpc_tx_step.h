/* rpc_tx_step.h -- one method carried out inside a transaction.
 *
 *     rpc_tx_step_open --> run, run ... --> one value, as the plain method answers
 *                           ^    | EG_AGAIN: ask (rpc_tx_ask), or another turn
 *                           '----'
 *
 * Ownership  Borrows the parameters until it is closed.
 */
#ifndef QUERY_RPC_TX_STEP_H
#define QUERY_RPC_TX_STEP_H

#include "query/rpc_method.h"
#include "query/tx.h"

struct task;
struct rpc_tx_text;

struct rpc_tx_step {
    struct rpc_call call;     /* its method, parameters and options */
    struct tx_scan *scan;     /* NULL: not open yet, or no question */
    struct rpc_tx_text *text; /* of a query; likewise */
    bool begun;               /* something of the result is there   */
    bool later;               /* it is a page of select_next        */
    bool paged; /* what stands last in it, a cursor or nil, is the caller's to append */
};

/* The method of this name with the elements left in `params`.  EG_NO_METHOD; EG_BAD_REQUEST: also
 * where it cannot be inside a transaction. */
EG_MUST_USE eg_err rpc_tx_step_open(struct rpc_tx_step *s, const struct rpc_methods *all,
                                    struct value name, struct value_iter params,
                                    struct err_note *note);
/* The same of a method that is known. */
EG_MUST_USE eg_err rpc_tx_step_init(struct rpc_tx_step *s, const struct rpc_method *m,
                                    struct value_iter params, struct err_note *note);
/* Is it one that says how things are to be? */
bool rpc_tx_step_checks(const struct rpc_tx_step *s);
/* Before the transaction is closed. */
void rpc_tx_step_close(struct rpc_tx_step *s);

/* After EG_OK: is there a page behind this one?  Then the next runs make it. */
bool rpc_tx_step_has_more(const struct rpc_tx_step *s);
void rpc_tx_step_next_page(struct rpc_tx_step *s);

/* What a query of it takes. */
size_t rpc_tx_step_bytes(const struct rpc_tx_step *s);

/* Within a step of the task, `result` the same at each call. */
EG_MUST_USE eg_err rpc_tx_step_run(struct rpc_tx_step *s, struct tx *tx, struct task *t,
                                   struct buffer *result, struct err_note *note);

#endif /* QUERY_RPC_TX_STEP_H */
