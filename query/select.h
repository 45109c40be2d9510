/* select.h -- a match specification being answered, piece by piece.
 *
 *     select_open --> step, step ... --> page --select_next_page--> step ... --> last page
 *                       |     ^
 *             select_ask '-----' select_answered      changes that need a busy shard
 *
 * It holds the compiled question, the path and the place of its scan, and nothing
 * of the table: whoever steps it finds the table anew each time.  It knows neither
 * connections nor threads; a task (rpc_select.c) or a program's thread (node/api_query.c)
 * moves it.
 *
 * What matches is judged and changed record by record.  A change is made only where the
 * record is still the one that was judged, else it is judged again, so a record is
 * changed by what it is and not by what it was.
 *
 * Ownership  Owns copies of all it was given.
 * Threads    One at a time.
 */
#ifndef QUERY_SELECT_H
#define QUERY_SELECT_H

#include "tables/scan.h"

struct message;
struct select;

enum select_kind {
    SELECT_RESULTS, /* [result, ...]                                                  */
    SELECT_MATCH,   /* the same for a pattern in place of a specification             */
    SELECT_INDEX,   /* the same for [an index, a value]                               */
    SELECT_COUNT,   /* how many records there are whose body yields true              */
    SELECT_DELETE,  /* remove those; how many                                         */
    SELECT_REMOVE,  /* remove what matches, whatever the result; how many             */
    SELECT_REPLACE, /* put the body's result in place of each that matches; how many  */
};

struct select_opts {
    enum select_kind kind;
    struct value question; /* specification or pattern               */
    /* In its place a compiled question, the select's own after EG_OK. */
    struct predicate *compiled;
    uint64_t limit; /* of a page; 0: all                      */
    bool reverse;   /* of an ordered_set; others have no order */
    bool dirty;     /* of what copies are here, whatever they lack; EG_NO_REPLICA: none */
};

/* In a section in which `t` was found.  EG_BAD_REQUEST and EG_TOO_LARGE with a note:
 * the question is wrong, or may not be asked of this table.  EG_MEMORY. */
EG_MUST_USE eg_err select_open(struct select **out, struct alloc *a, struct table *t,
                               struct reader *r, const struct select_opts *o,
                               struct err_note *note);
void select_close(struct select *s);
size_t select_bytes(const struct select *s); /* what it takes */

/* When a step has to end. */
struct select_pace {
    bool (*is_over)(void *context);
    void *context;
};

/* Work for a while in this section.  EG_AGAIN: there is more to do, maybe after asking, see
 * below.  EG_OK: one value has been appended to `result`, which is the same at each step.
 * EG_NO_TABLE, EG_ABORTED: the table is another now, or has changed under the question.
 * EG_TOO_LARGE: the answer does not fit.  Others as of writing.  What was changed before an
 * error stays changed. */
EG_MUST_USE eg_err select_step(struct select *s, struct table *t, struct reader *r,
                               const struct select_pace *pace, struct buffer *result,
                               struct err_note *note);

/* After EG_AGAIN: what must be asked of shards by message before the next step, one CALL at a
 * time; EG_NOT_FOUND: nothing more.  Each is answered here, also where it could not be sent
 * (EG_BUSY, EG_NOPROC: it is asked again). */
EG_MUST_USE eg_err select_ask(struct select *s, struct table *t, eg_pid *to, struct message **out,
                              struct err_note *note);
void select_answered(struct select *s, eg_err err, struct value result);

/* After EG_OK of SELECT_RESULTS: is there a page behind this one?  Then the next steps make
 * it, into another result. */
bool select_has_more(const struct select *s);
void select_next_page(struct select *s);

#endif /* QUERY_SELECT_H */
