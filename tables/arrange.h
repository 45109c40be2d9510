/* arrange.h -- a table takes the shape that several nodes have agreed on.
 *
 * After a cut both sides may have changed one table, or made two of one name.  What it is to be is
 * worked out above (replication/schema_plan.h); this is how it is asked of the catalog, as
 * CATALOG_ARRANGE:
 *
 *     [name, schema, fields, transform]
 *
 *     name       what the table is called from then on
 *     schema     all of it, encoded (schema.h): the same id, type and shards
 *     fields     nil: records stay as they are.  Else for each attribute
 *                    [position]             a field of the old record
 *                    [position, was, is]    the same, but `is` where it equals `was`
 *                    [nil, value]           of none
 *     transform  nil, or [specification, early, made]: it makes a record of `made` fields of the
 *                first `early` ones; positions are in that, from CONVERSION_LATER on in the old
 *
 * It cannot be refused for what records are (conversion.h: decided).
 *
 * Threads    Pure.
 */
#ifndef TABLES_ARRANGE_H
#define TABLES_ARRANGE_H

#include "tables/alter.h"

/* As alter_open(): EG_BAD_REQUEST, EG_MEMORY; then nothing is left. */
EG_MUST_USE eg_err arrange_open(struct alter *out, struct alloc *a, const struct schema *old,
                                struct value change, struct err_note *note);

#endif /* TABLES_ARRANGE_H */
