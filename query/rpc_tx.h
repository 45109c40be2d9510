/* rpc_tx.h -- the transactions that a connection holds open.
 *
 *     begin --> id --{tx: id}--> read, write, select ... --commit(id)--> committed
 *                                    '--> cursors         '--abort(id), conflict, deadline, the
 *                                                             connection's end: nothing is left
 *
 * Each is a struct tx (tx.h), moved by one request at a time: what comes behind a request of the
 * same one that is under way waits, so the requests of a transaction are carried out in the order
 * they came, pipelined or not.  Those of another one do not wait for it, but while it commits; and
 * what is of none waits for all, and all for it, as any question does (RPC_BEHIND).
 *
 * What has ended is remembered a while: how old it was, for another try of it, and whether the node
 * ended it, which is `aborted` and not `not_found` to who asks for it still.
 *
 * Bounds     RPC_TXS_MAX open ones of a connection; their bytes count among the answers in the
 *            making (server_opts.answers_max_bytes): who goes past that is aborted.
 * Threads    Its session's scheduler.
 */
#ifndef QUERY_RPC_TX_H
#define QUERY_RPC_TX_H

#include "query/rpc_method.h"
#include "query/tx.h"

struct rpc_txs;
struct session;
struct task;
struct worker;

enum {
    RPC_TXS_MAX = 256,      /* open at once; then EG_BUSY    */
    RPC_TXS_PAST_MAX = 256, /* of a connection, that ended   */
};

/* A method with the option tx. */
eg_err rpc_tx_call(struct rpc_call *c);

/* Is it of one transaction that is held open: its beginning, its end, or a method with the option
 * tx? */
bool rpc_tx_is_of_one(const struct rpc_call *c);
/* And is a request of that one under way? */
bool rpc_tx_is_busy(const struct rpc_call *c);

/* Those whose time is over end.  True: some are open. */
bool rpc_tx_expire(struct session *s, uint64_t now_ns);
/* The end of a connection, after its tasks and cursors. */
void rpc_tx_end_all(struct session *s);

/* ---- for rpc_tx_list.c ---------------------------------------------------------------- */

/* Append a struct tx_row (tx_card.h) for each.  EG_MEMORY. */
EG_MUST_USE eg_err rpc_tx_rows(const struct session *s, struct buffer *rows);

/* ---- shared with rpc_transaction.c ------------------------------------------------ */

EG_MUST_USE eg_err rpc_tx_open(struct worker *w, struct tx **out);
/* What `v` (rpc_is_id()) stands for: what begin has said, or a client's own word. */
struct transact_id rpc_tx_id_of(struct value v);
/* Within a task's step: ask what the transaction wants to know.  EG_OK: nothing.  EG_AGAIN: the
 * step returns that. */
eg_err rpc_tx_ask(struct task *t, struct tx *tx);
/* A request that a client has named begins; rpc_tx_ended() or rpc_tx_left() follows.  False:
 * another one with this name is under way here. */
EG_MUST_USE bool rpc_tx_began(struct worker *w, struct transact_id request);
/* After its commit or its abort: counted, and remembered for transaction_status where it has an id.
 */
void rpc_tx_ended(struct worker *w, struct transact_id id, eg_err err);
/* Try `number` of a request that a client has named is its last, and goes on without it: what
 * becomes of that has become of the request. */
void rpc_tx_left(struct worker *w, struct transact_id request, uint32_t number);
/* The note of EG_IN_DOUBT. */
void rpc_tx_note_doubt(struct err_note *note, const char *id, size_t id_bytes);

#endif /* QUERY_RPC_TX_H */
