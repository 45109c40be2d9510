/* text_join.h -- two tables gone through as one.
 *
 *     outer record --its value--> key or index of the inner table --> inner records
 *                           '---> or a hash table of them, made first
 *                                       |
 *     [first table's fields ..., second's fields ...]  one array, given on
 *
 * nil equals nothing and joins nothing.  The outer table is gone through once, in pieces; a
 * piece may end amid the inner records of one outer record, which is then kept.
 */
#ifndef QUERY_TEXT_JOIN_H
#define QUERY_TEXT_JOIN_H

#include "query/select.h"
#include "query/text_plan.h"
#include "query/text_rows.h"

struct text_join_entry;

struct text_joiner {
    struct text_plan *plan;
    struct text_memory *memory;
    struct predicate_machine *machine;
    struct buffer outer;  /* the record whose inner records are under way; empty: none */
    struct buffer place;  /* where the outer scan stands                 */
    struct buffer inner;  /* and the inner one                           */
    struct buffer joined; /* the row                                     */
    bool built;

    /* TEXT_JOIN_HASH */
    struct text_store store;
    struct text_join_entry *entry;
    uint32_t count, room;
    uint32_t *slot; /* number + 1 of an entry, which leads to the next of its hash */
    uint32_t slots;
    uint32_t chain; /* where amid the inner records of `outer`: entry number + 1 */
};

/* What is done with a row.  EG_OK: go on; EG_NOT_FOUND: no more are wanted. */
typedef eg_err text_row_fn(void *context, struct value row);

void text_joiner_init(struct text_joiner *j, struct text_plan *plan, struct text_memory *memory,
                      struct predicate_machine *machine);
void text_joiner_fini(struct text_joiner *j);

/* Go on until the step is over (EG_AGAIN), or all rows were given (EG_OK). */
EG_MUST_USE eg_err text_joiner_step(struct text_joiner *j, struct reader *r,
                                    const struct select_pace *pace, text_row_fn *give,
                                    void *context, struct err_note *note);

/* ---- for who brings the records, in place of the steps (text_tx_join.c) ------------------ */

/* May this outer record be joined with any?  EG_ABORTED: the table has other attributes by now. */
EG_MUST_USE eg_err text_joiner_wants(struct text_joiner *j, struct value outer, bool *wanted);
/* The way to the inner records of an outer one, whose value it borrows. */
struct scan_path text_joiner_lookup(const struct text_joiner *j, struct value outer);
/* Give the pair, where the inner record is one of the outer one's. */
EG_MUST_USE eg_err text_joiner_pair(struct text_joiner *j, struct value outer, struct value inner,
                                    text_row_fn *give, void *context);
/* TEXT_JOIN_HASH: take an inner record in; when all are, give the pairs of an outer one.  EG_AGAIN:
 * the same again. */
EG_MUST_USE eg_err text_joiner_build(struct text_joiner *j, struct value inner);
EG_MUST_USE eg_err text_joiner_probe(struct text_joiner *j, const struct select_pace *pace,
                                     struct value outer, text_row_fn *give, void *context);

#endif /* QUERY_TEXT_JOIN_H */
