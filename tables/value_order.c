/* value_order.c -- the one total order over all values.
 *
 * Comparison walks both encodings side by side and moves two pointers; it
 * recurses once a nesting level, so never deeper than VALUE_DEPTH_MAX.
 *
 * Maps compare in the order of their keys.  Sorting them anew in each comparison
 * would multiply with every level of maps inside keys (4 KiB of those cost half a
 * second), so two maps are first brought into canonical form, innermost first, and
 * then compared as they lie.  That takes memory, from the system since a pure
 * function is given none; where it is refused the maps are walked by search.
 */
#include "tables/value_private.h"

#include <math.h>
#include <string.h>

/* ---- numbers ------------------------------------------------------------ */

/* Sign of n - d for an integer n; d is no NaN.  Exact: d is cut to an integer
 * only where 64 bits hold it, and what was cut off decides a tie. */
static int compare_integer_float(struct value_number n, double d) {
    if (n.form == NUMBER_UNSIGNED) {
        if (d < 0)
            return 1;
        if (d >= 0x1p64)
            return -1;
        uint64_t cut = (uint64_t) d;
        if (n.u != cut)
            return n.u < cut ? -1 : 1;
        return (double) cut < d ? -1 : 0;
    }
    if (d >= 0)
        return -1;
    if (d < -0x1p63)
        return 1;
    int64_t cut = (int64_t) d; /* towards zero: cut >= d */
    if (n.i != cut)
        return n.i < cut ? -1 : 1;
    return (double) cut > d ? 1 : 0;
}

static int compare_floats(double a, double b) {
    if (isnan(a) || isnan(b))
        return isnan(a) - isnan(b) == 0 ? 0 : isnan(a) ? 1 : -1;
    return a < b ? -1 : a > b;
}

static int compare_numbers(struct value_number a, struct value_number b) {
    if (a.form == NUMBER_FLOAT && b.form == NUMBER_FLOAT)
        return compare_floats(a.d, b.d);
    if (b.form == NUMBER_FLOAT)
        return isnan(b.d) ? -1 : compare_integer_float(a, b.d);
    if (a.form == NUMBER_FLOAT)
        return isnan(a.d) ? 1 : -compare_integer_float(b, a.d);
    if (a.form != b.form)
        return a.form == NUMBER_NEGATIVE ? -1 : 1;
    if (a.form == NUMBER_UNSIGNED)
        return a.u < b.u ? -1 : a.u > b.u;
    return a.i < b.i ? -1 : a.i > b.i;
}

/* ---- maps --------------------------------------------------------------- */

static const uint8_t *first_pair(const uint8_t *map) {
    return map + head_of(map).own_bytes;
}

struct map_walk map_walk_of(const uint8_t *map, bool canonical) {
    uint32_t pairs = head_of(map).children / 2;
    return (struct map_walk){.map = map, .pairs = pairs, .canonical = canonical || pairs <= 1};
}

/* Compare keys by value, equal ones by their place. */
static int compare_keys(const uint8_t *map, uint32_t a_offset, uint32_t b_offset) {
    const uint8_t *a = map + a_offset;
    const uint8_t *b = map + b_offset;
    int order = value_compare_at(&a, &b, false);

    return order != 0 ? order : a_offset < b_offset ? -1 : a_offset > b_offset;
}

/* The pair after the one at `previous` (0: the first of all). */
static uint32_t search_next(const struct map_walk *w) {
    const uint8_t *pair = first_pair(w->map);
    uint32_t best = 0;

    for (uint32_t i = 0; i < w->pairs; i++, pair = value_skip(value_skip(pair))) {
        uint32_t offset = (uint32_t) (pair - w->map);
        if (w->previous != 0 && compare_keys(w->map, offset, w->previous) <= 0)
            continue;
        if (best == 0 || compare_keys(w->map, offset, best) < 0)
            best = offset;
    }
    return best;
}

const uint8_t *map_walk_next(struct map_walk *w) {
    const uint8_t *pair = w->map + w->previous;

    if (w->at == w->pairs)
        return NULL;
    if (!w->canonical)
        pair = w->map + search_next(w);
    else
        pair = w->at == 0 ? first_pair(w->map) : value_skip(value_skip(pair));
    w->previous = (uint32_t) (pair - w->map);
    w->at++;
    return pair;
}

/* Both maps have the same number of pairs: first all keys, then all values. */
static int compare_pairs(const uint8_t *a, const uint8_t *b, bool canonical) {
    struct map_walk x = map_walk_of(a, canonical);
    struct map_walk y = map_walk_of(b, canonical);
    int order = 0;

    while (order == 0 && (a = map_walk_next(&x)) != NULL) {
        b = map_walk_next(&y);
        order = value_compare_at(&a, &b, canonical);
    }
    x = map_walk_of(x.map, canonical);
    y = map_walk_of(y.map, canonical);
    while (order == 0 && (a = map_walk_next(&x)) != NULL) {
        a = value_skip(a);
        b = value_skip(map_walk_next(&y));
        order = value_compare_at(&a, &b, canonical);
    }
    return order;
}

static int compare_any_maps(const uint8_t *a, const uint8_t *b) {
    struct canon x;
    struct canon y;
    int order;

    canon_init(&x, alloc_system(), UINT32_MAX);
    canon_init(&y, alloc_system(), UINT32_MAX);
    if (canon_put(&x, a) != NULL && canon_put(&y, b) != NULL)
        order = compare_pairs(x.bytes.at, y.bytes.at, true);
    else
        order = compare_pairs(a, b, false);
    canon_fini(&y);
    canon_fini(&x);
    return order;
}

static int compare_maps(const uint8_t **a, const uint8_t **b, bool canonical) {
    uint32_t a_children = head_of(*a).children;
    uint32_t b_children = head_of(*b).children;
    const uint8_t *a_end = value_skip(*a);
    const uint8_t *b_end = value_skip(*b);
    int order = 0;

    if (a_children != b_children)
        return a_children < b_children ? -1 : 1;
    if (a_end - *a != b_end - *b || memcmp(*a, *b, (size_t) (a_end - *a)) != 0)
        order = canonical ? compare_pairs(*a, *b, true) : compare_any_maps(*a, *b);
    *a = a_end;
    *b = b_end;
    return order;
}

/* ---- everything --------------------------------------------------------- */

static int compare_bytes(const uint8_t **a, const uint8_t **b) {
    uint32_t a_bytes;
    uint32_t b_bytes;
    const uint8_t *x = value_bytes_of(*a, &a_bytes);
    const uint8_t *y = value_bytes_of(*b, &b_bytes);
    int order = memcmp(x, y, EG_MIN(a_bytes, b_bytes));

    if (order != 0)
        return order;
    *a = x + a_bytes;
    *b = y + b_bytes;
    return a_bytes < b_bytes ? -1 : a_bytes > b_bytes;
}

static int compare_arrays(const uint8_t **a, const uint8_t **b, bool canonical) {
    struct value_head x = head_of(*a);
    struct value_head y = head_of(*b);

    *a += x.own_bytes;
    *b += y.own_bytes;
    for (uint32_t i = 0; i < x.children && i < y.children; i++) {
        int order = value_compare_at(a, b, canonical);
        if (order != 0)
            return order;
    }
    return x.children < y.children ? -1 : x.children > y.children;
}

int value_compare_at(const uint8_t **a, const uint8_t **b, bool canonical) {
    uint8_t kind = value_kinds[**a];
    int order;

    if (kind != value_kinds[**b])
        return kind < value_kinds[**b] ? -1 : 1;
    switch ((enum value_kind) kind) {
    case VALUE_STRING:
    case VALUE_BINARY:
        return compare_bytes(a, b);
    case VALUE_NUMBER:
        order = compare_numbers(value_number_of(*a), value_number_of(*b));
        break;
    case VALUE_ARRAY:
        return compare_arrays(a, b, canonical);
    case VALUE_MAP:
        return compare_maps(a, b, canonical);
    case VALUE_EXT:
        order = value_ext_type_of(*a) - value_ext_type_of(*b);
        return order != 0 ? order : compare_bytes(a, b);
    default: /* nil, false, true: the kind is all there is */
        order = 0;
    }
    *a += value_leads[**a];
    *b += value_leads[**b];
    return order;
}

int value_compare(struct value a, struct value b) {
    const uint8_t *x = a.at;
    const uint8_t *y = b.at;

    return value_compare_at(&x, &y, false);
}

bool value_same(struct value a, struct value b) {
    return a.size_bytes == b.size_bytes &&
           (a.size_bytes == 0 || memcmp(a.at, b.at, a.size_bytes) == 0);
}

bool value_equal(struct value a, struct value b) {
    if (value_same(a, b))
        return true;
    /* Other bytes can mean the same value only where it has several encodings:
     * one-byte values and short strings have one. */
    if (a.size_bytes == 1 && b.size_bytes == 1)
        return false;
    if ((a.at[0] & 0xe0) == 0xa0 && (b.at[0] & 0xe0) == 0xa0)
        return false;
    return value_compare(a, b) == 0;
}
