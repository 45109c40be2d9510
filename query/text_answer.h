/* text_answer.h -- a text query being answered, piece by piece.
 *
 *     text_answer_open --> step, step ... --> a page --next_page--> step ... --> last page
 *                           |     ^
 *           text_answer_ask '-----' text_answer_answered      changes that need a busy shard
 *
 * A select is a run (text_run.h); update and delete are a select of another kind (select.h),
 * insert has its own steps (text_insert.h).  Whoever steps it is a task (rpc_query.c) or a
 * program's thread (node/api_query.c).
 *
 * Ownership  Owns copies of all it was given.
 * Threads    One at a time.
 */
#ifndef QUERY_TEXT_ANSWER_H
#define QUERY_TEXT_ANSWER_H

#include "query/text_insert.h"
#include "query/text_run.h"

struct text_answer {
    struct alloc *alloc;
    struct text_plan *plan; /* of insert, update, delete; a run has its own */
    struct text_run *run;   /* of select; else NULL */
    struct select *change;
    struct text_insert insert;
    uint64_t page_most;
};

/* In a section.  `page_most` 0: all rows at once.  Errors of text_plan_open(), of which nothing is
 * left. */
EG_MUST_USE eg_err text_answer_open(struct text_answer *a, const struct text_world *world,
                                    const char *text, size_t text_bytes, struct value arguments,
                                    uint64_t page_most, struct err_note *note);
void text_answer_close(struct text_answer *a);
/* Free a piece of it; true: that was all, and it is closed. */
bool text_answer_close_some(struct text_answer *a);

struct value text_answer_columns(const struct text_answer *a);
/* Does it change records? */
static inline bool text_answer_changes(const struct text_answer *a) {
    return a->run == NULL;
}
size_t text_answer_bytes(const struct text_answer *a);

/* Work for a while in this section, appending rows to `rows`, the same at each step.
 * EG_AGAIN: there is more to do, maybe after asking.  EG_OK: *count rows are the page. */
EG_MUST_USE eg_err text_answer_step(struct text_answer *a, struct catalog *catalog,
                                    struct reader *r, const struct select_pace *pace,
                                    struct buffer *rows, uint64_t *count, struct err_note *note);

/* After EG_AGAIN, as select_ask(), in this section: a CALL to a shard of *table. */
EG_MUST_USE eg_err text_answer_ask(struct text_answer *a, struct catalog *catalog,
                                   struct table **table, eg_pid *to, struct message **out,
                                   struct err_note *note);
void text_answer_answered(struct text_answer *a, eg_err err, struct value result);

/* After EG_OK: is there a page behind this one?  Then the next steps make it. */
bool text_answer_has_more(const struct text_answer *a);
void text_answer_next_page(struct text_answer *a);

#endif /* QUERY_TEXT_ANSWER_H */
