/* merge_reshape.h -- what becomes of the state beside a record whose table takes another shape.
 *
 *     siblings                        each version becomes a record of the new shape
 *     first, max, min, callback       stays
 *     lww_by_attribute, counter, set  go along with their attributes; where a specification has
 *                                     made the records, none: they count as written as a whole
 *
 * Nodes that make the same change of the same record and state come to the same.
 *
 * Threads    Pure functions, as `convert` is.
 */
#ifndef TABLES_MERGE_RESHAPE_H
#define TABLES_MERGE_RESHAPE_H

#include "tables/conversion.h"
#include "tables/merge.h"

struct merge_reshape {
    enum table_merge policy;
    const struct conversion *conversion;
    struct value old, fresh; /* the record of the one shape and of the other */
    struct value state;
    /* Another version of the old shape; valid until the next. */
    eg_err (*convert)(void *context, struct value old, struct value *fresh);
    void *context;
};

/* Append the state; nothing: none.  EG_MEMORY; what `convert` says. */
EG_MUST_USE eg_err merge_reshape_state(const struct merge_reshape *r, struct buffer *out);

#endif /* TABLES_MERGE_RESHAPE_H */
