/* text_tx_join.h -- two tables joined inside a transaction.
 *
 *     inner rows ---> hash table         (of a join by hash)
 *     outer rows ---> kept
 *     each of them -> probe              its pairs are given on
 *              '----> question: the inner rows of its value, by key or index
 *
 * All rows come from questions (tx.h), so the join sees what the transaction has changed itself,
 * and its commit stands for what was found: where the inner table is asked for single values, for
 * those alone.
 *
 * Bounds     TEXT_MEMORY_MAX with what else the run keeps: EG_TOO_LARGE.
 * Ownership  Borrows the run and the transaction.
 */
#ifndef QUERY_TEXT_TX_JOIN_H
#define QUERY_TEXT_TX_JOIN_H

#include "query/text_run.h"
#include "query/tx.h"

struct text_tx_join;

EG_MUST_USE eg_err text_tx_join_open(struct text_tx_join **out, struct text_run *run,
                                     struct tx *tx);
void text_tx_join_close(struct text_tx_join *j);

/* After text_plan_check(), in this section.  EG_AGAIN: ask (tx_ask), or another turn.  EG_OK: all
 * pairs were given, or `give` has said EG_NOT_FOUND: no more are wanted. */
EG_MUST_USE eg_err text_tx_join_step(struct text_tx_join *j, struct reader *r,
                                     const struct select_pace *pace, text_row_fn *give,
                                     void *context, struct err_note *note);

#endif /* QUERY_TEXT_TX_JOIN_H */
