/* text_far.h -- the records of a query's tables that this node has not all of.
 *
 * In the place of the scan of such a source stands a gather (query/gather.h).  What the source's
 * path knows of its key or index goes to the other nodes as a specification; the rest of `where`,
 * order and joins are done here with what comes.  Aggregates of one table are made beside the
 * records (text_partial.h), and only parts of them come: to `part`.
 *
 * Threads    One at a time.
 */
#ifndef QUERY_TEXT_FAR_H
#define QUERY_TEXT_FAR_H

#include "query/text_plan.h"

struct message;

/* For each source that needs it.  In the section that the plan was made in.  EG_MEMORY. */
EG_MUST_USE eg_err text_far_begin(struct text_plan *p,
                                  eg_err (*part)(void *user, struct value body), void *user);
void text_far_end(struct text_plan *p);

/* The source's next record as gather_next() gives it. */
EG_MUST_USE eg_err text_far_next(struct text_plan *p, struct text_source *s, struct reader *r,
                                 const struct record **out, struct err_note *note);
/* How many records it has. */
EG_MUST_USE eg_err text_far_size(struct text_plan *p, struct text_source *s, struct reader *r,
                                 uint64_t *out, struct err_note *note);
/* A source that was here altogether when the query came: is it still?  EG_AGAIN: maybe in a moment;
 * EG_NO_REPLICA.  Of a dirty query: that the scan keeps to what is here; EG_NO_REPLICA: nothing. */
EG_MUST_USE eg_err text_far_check(struct text_plan *p, struct text_source *s,
                                  struct err_note *note);

/* Before the first look at the sources, and when all of a page has been looked at: may it be told?
 * (settle.h)  EG_AGAIN: after asking. */
void text_far_look(struct text_plan *p);
EG_MUST_USE eg_err text_far_settle(struct text_plan *p, struct err_note *note);
void text_far_look_anew(struct text_plan *p); /* at another page */

/* After EG_AGAIN: one CALL at a time; EG_NOT_FOUND: no more. */
EG_MUST_USE eg_err text_far_ask(struct text_plan *p, struct table **table, eg_pid *to,
                                struct message **out);
void text_far_answered(struct text_plan *p, eg_err err, struct value result);

#endif /* QUERY_TEXT_FAR_H */
