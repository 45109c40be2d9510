/* value_order.c -- the one total order over all values.
 *
 * Comparison walks both encodings side by side and moves two pointers; it
 * recurses once a nesting level, so never deeper than VALUE_DEPTH_MAX.
 *
 * Maps are compared in the order of their (key, value) pairs.  A map that is
 * already in order is walked as it lies.  Otherwise the offsets of its pairs
 * are sorted: on the stack for the usual small map, else in memory of the
 * system's, which this pure function is not given and which it can do without:
 * where it is refused, each next pair is searched for in O(pairs).
 */
#include "tables/value_private.h"

#include "engine/alloc.h"

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

/* Compare two pairs of one map; a place in it decides between equal ones. */
static int compare_pairs(const uint8_t *map, uint32_t a_offset, uint32_t b_offset) {
    const uint8_t *a = map + a_offset;
    const uint8_t *b = map + b_offset;
    int order = value_compare_at(&a, &b);

    if (order == 0)
        order = value_compare_at(&a, &b);
    return order != 0 ? order : a_offset < b_offset ? -1 : a_offset > b_offset;
}

/* Heap sort: in place, O(n log n) whatever a client sends. */
static void sift_down(const uint8_t *map, uint32_t *heap, uint32_t top, uint32_t count) {
    uint32_t moved = heap[top];

    for (uint32_t child; (child = 2 * top + 1) < count; top = child) {
        if (child + 1 < count && compare_pairs(map, heap[child], heap[child + 1]) < 0)
            child++;
        if (compare_pairs(map, moved, heap[child]) >= 0)
            break;
        heap[top] = heap[child];
    }
    heap[top] = moved;
}

static void sort_pairs(const uint8_t *map, uint32_t *offsets, uint32_t count) {
    for (uint32_t top = count / 2; top-- > 0;)
        sift_down(map, offsets, top, count);
    for (uint32_t end = count; end-- > 1;) {
        uint32_t greatest = offsets[0];
        offsets[0] = offsets[end];
        offsets[end] = greatest;
        sift_down(map, offsets, 0, end);
    }
}

static const uint8_t *first_pair(const uint8_t *map) {
    return map + head_of(map).own_bytes;
}

bool map_is_in_order(const uint8_t *map) {
    uint32_t pairs = head_of(map).children / 2;
    const uint8_t *pair = first_pair(map);

    for (uint32_t i = 1; i < pairs; i++) {
        const uint8_t *next = value_skip(value_skip(pair));
        if (compare_pairs(map, (uint32_t) (pair - map), (uint32_t) (next - map)) > 0)
            return false;
        pair = next;
    }
    return true;
}

/* The pair after the one at `previous` (0: the first of all), by search. */
static uint32_t search_next(const struct map_walk *w) {
    const uint8_t *pair = first_pair(w->map);
    uint32_t best = 0;

    for (uint32_t i = 0; i < w->pairs; i++, pair = value_skip(value_skip(pair))) {
        uint32_t offset = (uint32_t) (pair - w->map);
        if (w->previous != 0 && compare_pairs(w->map, offset, w->previous) <= 0)
            continue;
        if (best == 0 || compare_pairs(w->map, offset, best) < 0)
            best = offset;
    }
    return best;
}

void map_walk_open(struct map_walk *w, const uint8_t *map) {
    const uint8_t *pair = first_pair(map);
    uint32_t *offsets = w->inline_offsets;

    w->map = map;
    w->pairs = head_of(map).children / 2;
    w->offsets = NULL;
    w->heap_bytes = 0;
    w->in_order = map_is_in_order(map);
    map_walk_rewind(w);
    if (w->in_order)
        return;
    if (w->pairs > MAP_WALK_INLINE_PAIRS) {
        size_t bytes = w->pairs * sizeof *offsets;
        offsets = alloc_get(alloc_system(), bytes);
        if (offsets == NULL)
            return;
        w->heap_bytes = bytes;
    }
    for (uint32_t i = 0; i < w->pairs; i++, pair = value_skip(value_skip(pair)))
        offsets[i] = (uint32_t) (pair - map);
    sort_pairs(map, offsets, w->pairs);
    w->offsets = offsets;
}

void map_walk_close(struct map_walk *w) {
    if (w->heap_bytes > 0)
        alloc_put(alloc_system(), (void *) w->offsets, w->heap_bytes);
}

void map_walk_rewind(struct map_walk *w) {
    w->at = 0;
    w->previous = 0;
}

const uint8_t *map_walk_next(struct map_walk *w) {
    if (w->at == w->pairs)
        return NULL;
    if (w->in_order) {
        const uint8_t *pair = w->map + w->previous;
        pair = w->at == 0 ? first_pair(w->map) : value_skip(value_skip(pair));
        w->previous = (uint32_t) (pair - w->map);
    } else {
        w->previous = w->offsets != NULL ? w->offsets[w->at] : search_next(w);
    }
    w->at++;
    return w->map + w->previous;
}

/* Both maps have the same number of pairs. */
static int compare_walks(struct map_walk *a, struct map_walk *b) {
    const uint8_t *x;
    const uint8_t *y;
    int order = 0;

    while (order == 0 && (x = map_walk_next(a)) != NULL) {
        y = map_walk_next(b);
        order = value_compare_at(&x, &y);
    }
    map_walk_rewind(a);
    map_walk_rewind(b);
    while (order == 0 && (x = map_walk_next(a)) != NULL) {
        x = value_skip(x);
        y = value_skip(map_walk_next(b));
        order = value_compare_at(&x, &y);
    }
    return order;
}

static int compare_maps(const uint8_t **a, const uint8_t **b) {
    uint32_t a_children = head_of(*a).children;
    uint32_t b_children = head_of(*b).children;
    struct map_walk x;
    struct map_walk y;
    int order;

    if (a_children != b_children)
        return a_children < b_children ? -1 : 1;
    map_walk_open(&x, *a);
    map_walk_open(&y, *b);
    order = compare_walks(&x, &y);
    map_walk_close(&y);
    map_walk_close(&x);
    if (order == 0) {
        *a = value_skip(*a);
        *b = value_skip(*b);
    }
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

static int compare_arrays(const uint8_t **a, const uint8_t **b) {
    struct value_head x = head_of(*a);
    struct value_head y = head_of(*b);

    *a += x.own_bytes;
    *b += y.own_bytes;
    for (uint32_t i = 0; i < x.children && i < y.children; i++) {
        int order = value_compare_at(a, b);
        if (order != 0)
            return order;
    }
    return x.children < y.children ? -1 : x.children > y.children;
}

int value_compare_at(const uint8_t **a, const uint8_t **b) {
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
        return compare_arrays(a, b);
    case VALUE_MAP:
        return compare_maps(a, b);
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

    return value_compare_at(&x, &y);
}

bool value_equal(struct value a, struct value b) {
    if (a.size_bytes == b.size_bytes && memcmp(a.at, b.at, a.size_bytes) == 0)
        return true;
    /* Other bytes can mean the same value only where it has several encodings:
     * one-byte values and short strings have one. */
    if (a.size_bytes == 1 && b.size_bytes == 1)
        return false;
    if ((a.at[0] & 0xe0) == 0xa0 && (b.at[0] & 0xe0) == 0xa0)
        return false;
    return value_compare(a, b) == 0;
}
