/* api_tx_private.h -- what a thread of the program holds of transactions.
 *
 *     node_thread --> api_txs --> one struct tx, used again and again
 *                          '--> contexts, one inside the other: [dirty][transaction][nested] ...
 *
 * There is one struct tx, for a transaction inside another one is a level of it, and so is a
 * dirty context inside one; those around it are dirty and hold nothing. */
#ifndef NODE_API_TX_PRIVATE_H
#define NODE_API_TX_PRIVATE_H

#include "node/api_private.h"
#include "query/tx_card.h"

enum {
    API_CONTEXTS_MAX = 4 * TX_LEVELS_MAX, /* one inside the other, the dirty ones too */
    API_TX_LOCK_AFTER_LOSSES = 3,
};

struct eg_tx {
    struct api_txs *txs;
    eg_context context; /* what it comes to: inside a transaction that one's */
    bool open;
    bool aborted;  /* by eg_tx_abort() */
    bool inherits; /* a dirty context inside a transaction: no level of its own */
    bool on_disc;  /* of the outermost: EG_SYNC_TRANSACTION */
    struct err_note note;
};

/* What the function of an actor's transaction had to ask, and could not wait for (api_tx_then.c).
 */
struct tx_put_off {
    enum tx_anew anew; /* NOT: nothing */
    eg_pid to;
    struct message *call; /* NULL: it could not be asked */
};

struct api_txs {
    struct node_thread *thread;
    struct tx_put_off *put_off; /* NULL: of a thread of the program, which waits */
    struct tx *tx;
    struct tx_card card;   /* of it, for who lists transactions */
    struct waiter *waiter; /* NULL until it has to wait for its turn */
    uint32_t depth;
    struct eg_tx *context[API_CONTEXTS_MAX]; /* NULL: not used yet */
    struct buffer answer;                    /* of eg_tx_get()     */
};

/* EG_OK: the calling thread's, open, in time. EG_BAD_REQUEST, EG_ABORTED, EG_CONFLICT. */
EG_MUST_USE eg_err api_tx_check(eg_tx *tx);
static inline bool api_tx_is_dirty(const eg_tx *tx) {
    return tx->context >= EG_ASYNC_DIRTY;
}

/* *err: EG_MEMORY. */
struct api_txs *api_txs_open(struct node_thread *t, eg_err *err);
/* A context inside those that there are, open until it is popped.  EG_TOO_LARGE, EG_MEMORY. */
eg_tx *api_tx_push(struct api_txs *x, eg_err *err);
void api_tx_pop(eg_tx *tx);
/* What the function has said, and what has become of the transaction meanwhile. */
EG_MUST_USE eg_err api_tx_outcome(eg_tx *tx, eg_err said);
/* How long the answer to what it asked is waited for. */
uint64_t api_tx_patience_ms(const struct api_txs *x);

/* Once in a section; EG_AGAIN: it is called again when what it asked for is answered. */
typedef eg_err (*api_tx_step)(eg_tx *tx, const struct tx_place *at, void *what);
EG_MUST_USE eg_err api_tx_run(eg_tx *tx, eg_table *table, api_tx_step step, void *what);
/* The same of what finds its tables by itself: at->table is NULL. */
EG_MUST_USE eg_err api_tx_run_anywhere(eg_tx *tx, api_tx_step step, void *what);

/* A row for each errand of the calling scheduler's actors (api_tx_then.c). */
EG_MUST_USE eg_err api_errands_rows(eg_node *n, struct buffer *rows);

/* ---- pages of a statement (api_tx_query.c), for the cursors of api_tx_scan.c ------------ */

struct api_tx_query;
EG_MUST_USE eg_err api_tx_query_open(eg_tx *tx, const char *text, const eg_span *arguments,
                                     uint64_t limit, struct api_tx_query **out);
EG_MUST_USE eg_err api_tx_query_next(struct api_tx_query *q, eg_result *page);
eg_span api_tx_query_columns(const struct api_tx_query *q);
void api_tx_query_close(struct api_tx_query *q);

#endif /* NODE_API_TX_PRIVATE_H */
