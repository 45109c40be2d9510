/* tx_card.h -- what others may see of a transaction while its thread moves it.
 *
 *     its thread --tx_show()--> card <--tx_card_look()-- who lists transactions, on any thread
 *
 * A transaction (tx.h) is of one thread at a time, and a program's own may be anywhere in its
 * function.  So it writes on a card what it holds, with each call, a few plain stores; who reads
 * the card reads number by number, each as it was at some moment.
 *
 * Ownership  Of who holds the transaction, and longer than anybody looks. */
#ifndef QUERY_TX_CARD_H
#define QUERY_TX_CARD_H

#include "engine/buffer.h"
#include "query/tx.h"

#include <stdatomic.h>

struct tx_card {
    _Atomic uint64_t began_ns; /* of env_now_ns(); 0: nothing is open */
    _Atomic uint64_t deadline_ns;
    _Atomic uint64_t id_high, id_low;
    _Atomic uint64_t seen, questions, wanted, locks, bytes;
    _Atomic bool committing;
};

void tx_show(struct tx *tx, struct tx_card *card);              /* begun, or about to ask */
void tx_show_counts(const struct tx *tx, struct tx_card *card); /* after each call        */
/* It is open from now on, whatever tries it needs; and not any more. */
void tx_card_begin(struct tx_card *card, uint64_t began_ns, uint64_t deadline_ns);
static inline void tx_card_end(struct tx_card *card) {
    atomic_store_explicit(&card->began_ns, 0, memory_order_relaxed);
}

/* One in a list for people. */
struct tx_row {
    struct transact_id id;
    uint32_t thread; /* of the program, that holds it; 0: who has this pid */
    bool actor;      /* it is one of the program's; else a connection's    */
    eg_pid pid;
    bool committing;
    uint64_t began_ns, deadline_ns;
    struct tx_stats stats;
};
/* False: nothing is open.  All but the holder. */
bool tx_card_look(const struct tx_card *card, struct tx_row *row);

/* Those of the program that the node is in, for who lists all of a node.  Append rows; EG_MEMORY.
 */
struct tx_program {
    void *context; /* the node */
    eg_err (*of_threads)(void *context, struct buffer *rows);
    eg_err (*of_actors)(void *context, struct buffer *rows); /* of the calling scheduler */
};

#endif /* QUERY_TX_CARD_H */
