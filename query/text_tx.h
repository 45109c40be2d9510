/* text_tx.h -- a statement of the text language inside a transaction.
 *
 *     text_tx_open --> step, step ... --> a page --next_page--> step ... --> last page
 *                       |     ^ EG_AGAIN: ask (tx_ask), or another turn
 *                       '-----'
 *
 * A select is a run (text_run.h) that is fed with the rows of a question (tx.h), or of a join's
 * (text_tx_join.h), so it sees what the transaction has changed and its commit stands for what it
 * has found.  Its pages are of what was wanted when it was opened.  Update and delete are
 * such questions themselves; an insert is a change for each record, all or none.  A statement that
 * is refused has done nothing, and the transaction goes on.
 *
 * Ownership  Owns copies of all it was given; the transaction outlives it.
 */
#ifndef QUERY_TEXT_TX_H
#define QUERY_TEXT_TX_H

#include "query/text_plan.h"
#include "query/tx.h"

struct text_tx;

/* In a section.  `page_most` 0: all rows at once.  Errors of text_plan_open() and tx_scan_open().
 */
EG_MUST_USE eg_err text_tx_open(struct text_tx **out, struct tx *tx, const struct text_world *world,
                                const char *text, size_t text_bytes, struct value arguments,
                                uint64_t page_most, struct err_note *note);
void text_tx_close(struct text_tx *t);
/* Free a piece of it, its question first; true: that was all, and it is closed. */
bool text_tx_close_some(struct text_tx *t);
struct value text_tx_columns(const struct text_tx *t);
size_t text_tx_bytes(const struct text_tx *t);

/* Append rows, `rows` the same at each step.  EG_OK: *count of them are the page. */
EG_MUST_USE eg_err text_tx_step(struct text_tx *t, struct catalog *catalog, struct reader *r,
                                const struct select_pace *pace, struct buffer *rows,
                                uint64_t *count, struct err_note *note);
/* After EG_OK: is there a page behind this one?  Then the next steps make it. */
bool text_tx_has_more(const struct text_tx *t);
void text_tx_next_page(struct text_tx *t);

#endif /* QUERY_TEXT_TX_H */
