/* range.c -- values against the ends of a range. */
#include "tables/range.h"

#include <string.h>

/* Do both hold the same elements in the same bytes, as far as the prefix goes? */
static bool begins_alike(struct value v, struct value prefix) {
    return (v.at[0] & 0xf0) == 0x90 && (prefix.at[0] & 0xf0) == 0x90 && v.at[0] >= prefix.at[0] &&
           v.size_bytes >= prefix.size_bytes &&
           memcmp(v.at + 1, prefix.at + 1, prefix.size_bytes - 1) == 0;
}

int range_compare_prefix(struct value v, struct value prefix) {
    struct value_iter it, wanted;
    struct value element, other;

    if (begins_alike(v, prefix))
        return 0;
    if (value_kind_of(v) != VALUE_ARRAY || value_kind_of(prefix) != VALUE_ARRAY)
        return value_compare(v, prefix);
    it = value_iter_of(v);
    wanted = value_iter_of(prefix);
    while (value_iter_next(&wanted, &other)) {
        int c;

        if (!value_iter_next(&it, &element))
            return -1; /* the shorter first */
        c = value_compare(element, other);
        if (c != 0)
            return c;
    }
    return 0;
}

/* Where v stands to the end's value: <0 before it, 0 at it. */
static int compare_to_end(struct value v, const struct range_end *end) {
    return end->prefix ? range_compare_prefix(v, end->value) : value_compare(v, end->value);
}

bool range_below(const struct range *range, struct value v) {
    int c;

    if (!range->low.given)
        return false;
    c = compare_to_end(v, &range->low);
    return c < 0 || (c == 0 && range->low.open);
}

bool range_above(const struct range *range, struct value v) {
    int c;

    if (!range->high.given)
        return false;
    c = compare_to_end(v, &range->high);
    return c > 0 || (c == 0 && range->high.open);
}

bool range_holds(const struct range *range, struct value v) {
    return !range_below(range, v) && !range_above(range, v);
}

struct range range_of_value(struct value v) {
    return (struct range){
        .low = {.given = true, .value = v}, .high = {.given = true, .value = v}, .exact = true};
}
