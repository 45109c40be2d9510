/* text_partial.h -- aggregates beside the records: what another node is asked for in their place.
 *
 *     asker: text, arguments --PAGE_PARTIAL--> plan, count a page's records in --groups--> asker
 *
 * A query that aggregates one table is sent as it was said, and each node that has some of the
 * table counts its records, a page at a time (tables/page.h).  What travels back is for each group
 *
 *     [value, ..., tally, ...]         tally: [count, numbers, real, low, high, sum, lost, best]
 *
 * as struct text_tally has it, so that nothing is lost by putting parts together: integers in 128
 * bits, floats with what rounding took, nil for no best.
 */
#ifndef QUERY_TEXT_PARTIAL_H
#define QUERY_TEXT_PARTIAL_H

#include "query/text_group.h"
#include "tables/page.h"

/* What catalog_set_partial() takes. */
const struct page_partial_ops *text_partial_ops(void);

/* The plan of what was asked so: [text, arguments or nil].  As text_plan_open(). */
EG_MUST_USE eg_err text_partial_plan(struct text_plan **out, const struct text_world *world,
                                     struct value question, struct err_note *note);

/* Count another node's part in.  EG_INTERNAL: it makes no sense; EG_TOO_LARGE, EG_MEMORY. */
EG_MUST_USE eg_err text_partial_add(struct text_groups *g, struct value part);

#endif /* QUERY_TEXT_PARTIAL_H */
