/* select_copy.h -- whole records of a range of keys that need no judging.
 *
 *     [[[["bern", "_"], "_", "_"], [], ["$_"]]]      all whose key is an array of two
 *                                                    that begins with "bern", as they are
 *
 * Where a question says nothing but where the key lies (predicate_is_key_range()), the scan has
 * answered it already: its records are copied as they come, many at a time.
 *
 * Threads    As the scan's.
 */
#ifndef QUERY_SELECT_COPY_H
#define QUERY_SELECT_COPY_H

#include "query/select.h"

struct select_copy {
    uint32_t arity;        /* of records                                       */
    uint32_t key_elements; /* keys are arrays of so many; 0: any kind of value */
    uint64_t count;        /* of records that have been appended               */
};

/* Append the rest of the scan to `result`.  EG_AGAIN: the pace said so, and the scan stands
 * behind what was looked at.  EG_TOO_LARGE: it does not fit.  EG_ABORTED: a record of
 * another arity. */
EG_MUST_USE eg_err select_copy_range(struct select_copy *c, struct scan *scan,
                                     const struct select_pace *pace, struct buffer *result);

#endif /* QUERY_SELECT_COPY_H */
