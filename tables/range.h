/* range.h -- a stretch of the total order of values, its ends open or closed.
 *
 *     age > 30 and age <= 40        low 30 open, high 40 closed
 *     name = "anna"                 low and high "anna", exact
 *     key matches ["x", 7, "_"]     low and high ["x", 7], prefix: every array that begins so
 *     name in ("bert", "anna")      from "anna" to "bert", and the two as points (struct domain)
 *
 * Ownership  The values are borrowed.
 * Threads    Pure data, pure functions.
 */
#ifndef TABLES_RANGE_H
#define TABLES_RANGE_H

#include "tables/value.h"

struct range_end {
    bool given;
    bool open; /* the value itself is not meant: where `prefix`, nothing that begins with it is */
    /* The value is an array of which only the first elements are known: every array
     * that begins with them is meant. */
    bool prefix;
    struct value value;
};
struct range {
    struct range_end low, high;
    bool exact; /* low and high are the same value, and both are meant */
};

/* What is known of a value: it lies in a range, and maybe is one of a few points there. */
struct domain {
    struct range range;
    bool few;            /* it is one of the points; of none: there is no such value */
    struct value *point; /* ascending, each once; borrowed                          */
    uint32_t point_count;
};

/* Does `v` lie there?  In the total order of values. */
bool range_holds(const struct range *range, struct value v);

/* The same of one end: is `v` on the far side of it? */
bool range_below(const struct range *range, struct value v); /* of the low end  */
bool range_above(const struct range *range, struct value v); /* of the high end */

/* Where `v` stands to all arrays that begin with `prefix`: <0 before, 0 among, >0 behind. */
int range_compare_prefix(struct value v, struct value prefix);

/* The range that holds `v` alone. */
struct range range_of_value(struct value v);

#endif /* TABLES_RANGE_H */
