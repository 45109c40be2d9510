/* predicate.h -- a question about one record, compiled: whether it is meant, and what
 * of it is wanted.
 *
 *     [[head, guards, body], ...] --.                         record
 *                                    >-- compile, verify --> program --> no | yes, result
 *     filter, columns  -------------'                        bounded machine
 *
 * A program is a row of instructions over slots.  It is made once, verified (every jump
 * forward, every slot written before it is read, the stack's depth known), and then run
 * beside the data for each record, without allocation as long as its results fit.  It
 * has no loops: its time is bounded by its length and the record's size.
 *
 * What the planner may rely on is asked for by field: predicate_range() says between
 * which values the field of every matching record lies.
 *
 * Ownership  A program owns copies of its literals and may outlive what it was made from.
 * Threads    A program does not change; each thread runs it in its own machine.
 * Source     ERTS's match programs (erl_db_util.c) for the meaning; SQLite's register
 *            machine for the form.
 */
#ifndef TABLES_PREDICATE_H
#define TABLES_PREDICATE_H

#include "engine/alloc.h"
#include "engine/buffer.h"
#include "engine/err.h"
#include "tables/expr.h"
#include "tables/range.h"
#include "tables/record_batch.h"

struct predicate;
struct index_spec;

enum {
    PREDICATE_CLAUSES_MAX = 256,
    PREDICATE_BYTES_MAX = 1 << 20, /* of a compiled one, literals included */
};

/* A match specification for records of `arity` fields: an array of
 * [head, guards, body].  EG_BAD_REQUEST: the note says which clause and why (unknown
 * operator, number of arguments, unbound variable, arity of the head, empty body).
 * EG_TOO_LARGE: past a bound.  EG_MEMORY. */
EG_MUST_USE eg_err predicate_open(struct predicate **out, struct alloc *a, struct value spec,
                                  uint32_t arity, struct err_note *note);

/* From trees, as text builds them.  `filter` (NULL: all) selects where it yields true;
 * the result is an array of the `columns`, or the whole record where there are none. */
EG_MUST_USE eg_err predicate_open_exprs(struct predicate **out, struct alloc *a,
                                        const struct expr *filter,
                                        const struct expr *const *columns, uint32_t column_count,
                                        uint32_t arity, struct err_note *note);
void predicate_close(struct predicate *p);

/* Does every result equal its whole record?  Then it is copied as it lies. */
bool predicate_yields_record(const struct predicate *p);
uint32_t predicate_arity(const struct predicate *p);
size_t predicate_bytes(const struct predicate *p);
/* How much it does for one record, in units of some dozen instructions: 1 is usual. */
uint32_t predicate_weight(const struct predicate *p);

/* ---- what is known of all that match ------------------------------------- */

/* Where the field at `position` of every matching record lies.  False: anywhere.
 * Borrows from the program. */
EG_MUST_USE bool predicate_range(const struct predicate *p, uint32_t position, struct range *out);
/* The same with its points, and of what lies where part `i` of an index leads. */
EG_MUST_USE bool predicate_domain(const struct predicate *p, uint32_t position, struct domain *out);
EG_MUST_USE bool predicate_domain_of_part(const struct predicate *p, const struct index_spec *x,
                                          uint32_t i, struct domain *out);

/* Does the question say nothing but where field 0 lies (predicate_range()), and yield the
 * record?  Then those are meant that lie there and whose field 0 is an array of *elements
 * elements (0: that lie there). */
EG_MUST_USE bool predicate_is_key_range(const struct predicate *p, uint32_t *elements);

/* ---- running ---------------------------------------------------------------- */

/* One thread's machine: scratch for values that are made on the way, and its registers. */
struct predicate_machine {
    struct buffer scratch;
    struct buffer slots;
    struct alloc *alloc;
};
void predicate_machine_init(struct predicate_machine *m, struct alloc *a);
void predicate_machine_fini(struct predicate_machine *m);

/* Run on the record whose array is `record`, which has the program's arity.  *matched
 * says whether it is meant; then its result has been appended to `out`, where out is not
 * NULL.  EG_TOO_LARGE: the result does not fit; EG_MEMORY.  On an error nothing was
 * appended. */
EG_MUST_USE eg_err predicate_run(struct predicate_machine *m, const struct predicate *p,
                                 struct value record, struct buffer *out, bool *matched);

/* Leave out of a batch what is not meant, as far as that is quickly seen: fields compared with
 * integers.  True: all that is left is meant, and its result is the record or a constant; else
 * ask predicate_run().  Where a record is of another arity nothing is left out.
 * *reach_bytes: how far into a record it looked; for the next batch. */
bool predicate_screen(const struct predicate *p, struct record_batch *b, uint32_t *reach_bytes);
/* Is `true` the result wherever predicate_screen() says true? */
bool predicate_screens_true(const struct predicate *p);

#endif /* TABLES_PREDICATE_H */
