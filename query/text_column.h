/* text_column.h -- aggregates of many records at once.
 *
 *     batch --tables/record_column.h--> a column --> added to its tally in one loop
 *
 * For what is aggregated without group by and is a field as it lies.  It counts as
 * text_groups_add_fields() would, record by record.
 */
#ifndef QUERY_TEXT_COLUMN_H
#define QUERY_TEXT_COLUMN_H

#include "query/text_group.h"
#include "tables/record_batch.h"

/* Count a batch in, of a table of `arity`.  *reach_bytes: at least as far as it looked into a
 * record.  *taken false: nothing was counted, a record is not of that arity.
 * EG_TOO_LARGE, EG_MEMORY. */
EG_MUST_USE eg_err text_groups_add_batch(struct text_groups *g, const struct record_batch *b,
                                         uint32_t arity, uint32_t *reach_bytes, bool *taken);

#endif /* QUERY_TEXT_COLUMN_H */
