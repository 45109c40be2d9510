/* text_bind.h -- names looked up and arguments filled in: a parsed tree as an expression.
 *
 * There are two records that names may mean: a table's own (of two joined tables, both in
 * a row), and behind the groups the group's: what was grouped by, then the aggregates.
 */
#ifndef QUERY_TEXT_BIND_H
#define QUERY_TEXT_BIND_H

#include "query/text_plan.h"

struct text_binder {
    struct text_lexer lexer; /* for places in the text */
    struct arena *arena;
    struct err_note *note;
    const struct text_query *query;
    const struct schema *schema[TEXT_TABLES_MAX];
    struct value *arguments;

    /* Behind the groups. */
    uint32_t aggregate_count;
    struct text_node *aggregates[TEXT_AGGREGATES_MAX];
};

/* As an expression over the sources' record.  EG_BAD_REQUEST with a note, EG_MEMORY. */
EG_MUST_USE eg_err text_bind(struct text_binder *b, const struct text_node *n, struct expr **out);
/* The same over the record of source `only` alone, which everything in `n` is about. */
EG_MUST_USE eg_err text_bind_alone(struct text_binder *b, const struct text_node *n, uint32_t only,
                                   struct expr **out);
/* As an expression over a group's record; aggregates are collected in the binder. */
EG_MUST_USE eg_err text_bind_group(struct text_binder *b, struct text_node *n, struct expr **out);

/* Which tables it speaks of: bit 0 the first, bit 1 the second. */
EG_MUST_USE eg_err text_bind_sources(struct text_binder *b, const struct text_node *n,
                                     uint32_t *sources);
bool text_has_aggregate(const struct text_node *n);

/* Where the name `n` leads. */
struct text_place {
    uint32_t source, position; /* in that table */
    const struct value *path;  /* behind it     */
    uint32_t path_count;
};
EG_MUST_USE eg_err text_bind_name(struct text_binder *b, const struct text_node *n,
                                  struct text_place *out);

#endif /* QUERY_TEXT_BIND_H */
