/* text_plan_private.h -- a plan in the making, for text_plan.c and text_make_*.c.
 *
 *     text_plan.c           opens: parse, tables, arguments, then the statement's:
 *     text_make_select.c    columns, groups, order
 *     text_make_change.c    insert, update, delete
 *     text_make_path.c      where: filters of each table, paths to its records, joins
 */
#ifndef QUERY_TEXT_PLAN_PRIVATE_H
#define QUERY_TEXT_PLAN_PRIVATE_H

#include "query/text_bind.h"
#include "query/text_plan.h"

/* What a plan is made with. */
struct text_maker {
    struct text_plan *plan;
    struct text_query *query;
    struct text_binder binder;
    const struct text_world *world;
    struct err_note *note;
};

/* EG_BAD_REQUEST, pointing at the place in the text. */
eg_err text_make_fail(struct text_maker *m, uint32_t at, const char *why);
/* From the plan's arena; NULL: no memory. */
void *text_make_get(struct text_maker *m, size_t size_bytes);
EG_MUST_USE eg_err text_make_copy(struct text_maker *m, const struct buffer *b, struct value *out);
EG_MUST_USE eg_err text_make_program(struct text_maker *m, struct predicate **out,
                                     const struct expr *filter, struct expr *const *columns,
                                     uint32_t count, uint32_t arity);
/* Of the record that the sources' rows are, joined or not. */
uint32_t text_make_arity(const struct text_plan *p);
bool text_put_header(struct buffer *out, uint32_t count);

/* The filter of each table alone and, of a join, [2] what is left for both; NULL: all. */
EG_MUST_USE eg_err text_make_filters(struct text_maker *m,
                                     struct expr *filter[TEXT_TABLES_MAX + 1]);
/* A program for each table alone, and the way to its records; by key backwards, if they are
 * found by key. */
EG_MUST_USE eg_err text_make_paths(struct text_maker *m, struct expr *const *filter, bool reverse);
/* Which table is gone through, and how the other's records are found. */
EG_MUST_USE eg_err text_make_join(struct text_maker *m);

EG_MUST_USE eg_err text_make_select(struct text_maker *m);
EG_MUST_USE eg_err text_make_insert(struct text_maker *m);
EG_MUST_USE eg_err text_make_update(struct text_maker *m);
EG_MUST_USE eg_err text_make_delete(struct text_maker *m);

#endif /* QUERY_TEXT_PLAN_PRIVATE_H */
