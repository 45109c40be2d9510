/* value_canonical.c -- one byte sequence for all values that compare equal.
 *
 * Innermost first: a map's keys and values are written in canonical form behind its
 * header, as they come; where its keys turn out not to ascend, the finished pairs
 * change places.  So each is written and compared in its final form, and nothing is
 * sorted twice.
 */
#include "tables/value_private.h"

#include <math.h>
#include <string.h>

void canon_init(struct canon *c, struct alloc *a, size_t bound_bytes) {
    buffer_init(&c->bytes, a, bound_bytes);
    buffer_init(&c->places, a, SIZE_MAX / 2); /* both in proportion to the value */
    buffer_init(&c->scratch, a, SIZE_MAX / 2);
    c->saw_nan = false;
}

void canon_fini(struct canon *c) {
    buffer_fini(&c->scratch);
    buffer_fini(&c->places);
    buffer_fini(&c->bytes);
}

/* ---- one value's own part ----------------------------------------------- */

static void put_number(struct value_writer *w, const uint8_t *at, bool *nan) {
    struct value_number n = value_number_canonical(value_number_of(at));

    if (n.form == NUMBER_UNSIGNED) {
        value_put_u64(w, n.u);
    } else if (n.form == NUMBER_NEGATIVE) {
        value_put_i64(w, n.i);
    } else {
        value_put_double(w, n.d);
        *nan = isnan(n.d);
    }
}

struct canon_head canon_head_of(const uint8_t *at) {
    struct canon_head h = {.bytes = at};
    struct value_writer w = value_writer_init(h.at, sizeof h.at);

    switch ((enum value_kind) value_kinds[at[0]]) {
    case VALUE_NIL:
    case VALUE_FALSE:
    case VALUE_TRUE:
        value_put_raw(&w, (struct value){at, 1});
        break;
    case VALUE_NUMBER:
        put_number(&w, at, &h.nan);
        break;
    case VALUE_STRING:
        h.bytes = value_bytes_of(at, &h.bytes_bytes);
        value_put_string_head(&w, h.bytes_bytes);
        break;
    case VALUE_BINARY:
        h.bytes = value_bytes_of(at, &h.bytes_bytes);
        value_put_binary_head(&w, h.bytes_bytes);
        break;
    case VALUE_EXT:
        h.bytes = value_bytes_of(at, &h.bytes_bytes);
        value_put_ext_head(&w, value_ext_type_of(at), h.bytes_bytes);
        break;
    case VALUE_ARRAY:
        value_put_array(&w, head_of(at).children);
        break;
    case VALUE_MAP:
        value_put_map(&w, head_of(at).children / 2);
        break;
    }
    EG_ASSERT(!w.overflow);
    h.size_bytes = (uint32_t) w.need_bytes;
    return h;
}

/* ---- the pairs of one map ----------------------------------------------- */

/* Keys by value, equal ones by their place. */
static int compare_places(const struct canon *c, uint32_t a_place, uint32_t b_place) {
    const uint8_t *a = c->bytes.at + a_place;
    const uint8_t *b = c->bytes.at + b_place;
    int order = value_compare_at(&a, &b, true);

    return order != 0 ? order : a_place < b_place ? -1 : a_place > b_place;
}

/* Heap sort: in place, O(n log n) whatever a client sends. */
static void sift_down(const struct canon *c, uint32_t *heap, uint32_t top, uint32_t count) {
    uint32_t moved = heap[top];

    for (uint32_t child; (child = 2 * top + 1) < count; top = child) {
        if (child + 1 < count && compare_places(c, heap[child], heap[child + 1]) < 0)
            child++;
        if (compare_places(c, moved, heap[child]) >= 0)
            break;
        heap[top] = heap[child];
    }
    heap[top] = moved;
}

static void sort_places(const struct canon *c, uint32_t *places, uint32_t count) {
    for (uint32_t top = count / 2; top-- > 0;)
        sift_down(c, places, top, count);
    for (uint32_t end = count; end-- > 1;) {
        uint32_t greatest = places[0];
        places[0] = places[end];
        places[end] = greatest;
        sift_down(c, places, 0, end);
    }
}

/* Bring the pairs at `places`, which fill the bytes from the first to the end,
 * into the order of their keys. */
static bool sort_pairs(struct canon *c, uint32_t *places, uint32_t count) {
    uint32_t begin = places[0];
    size_t all_bytes = c->bytes.size_bytes - begin;

    sort_places(c, places, count);
    buffer_clear(&c->scratch);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *pair = c->bytes.at + places[i];
        const uint8_t *end = value_skip(value_skip(pair));
        if (!buffer_append(&c->scratch, pair, (size_t) (end - pair)))
            return false;
    }
    EG_ASSERT(c->scratch.size_bytes == all_bytes);
    memcpy(c->bytes.at + begin, c->scratch.at, all_bytes);
    return true;
}

static const uint8_t *put_pairs(struct canon *c, const uint8_t *at, uint32_t count) {
    size_t base_bytes = c->places.size_bytes;
    bool ascending = true;
    uint32_t place = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t previous = place;
        place = (uint32_t) c->bytes.size_bytes;
        if (!buffer_append(&c->places, &place, sizeof place))
            return NULL;
        at = canon_put(c, at);
        if (at == NULL)
            return NULL;
        ascending = ascending && (i == 0 || compare_places(c, previous, place) < 0);
        at = canon_put(c, at);
        if (at == NULL)
            return NULL;
    }
    if (!ascending && !sort_pairs(c, (uint32_t *) (void *) (c->places.at + base_bytes), count))
        return NULL;
    c->places.size_bytes = base_bytes;
    return at;
}

/* Recurses once a level. */
const uint8_t *canon_put(struct canon *c, const uint8_t *at) {
    struct canon_head canonical = canon_head_of(at);
    struct value_head head = head_of(at);
    bool map = value_kinds[at[0]] == VALUE_MAP;

    c->saw_nan |= canonical.nan;
    if (!buffer_append(&c->bytes, canonical.at, canonical.size_bytes) ||
        !buffer_append(&c->bytes, canonical.bytes, canonical.bytes_bytes))
        return NULL;
    at += head.own_bytes;
    if (map)
        return put_pairs(c, at, head.children / 2);
    for (uint32_t i = 0; i < head.children && at != NULL; i++)
        at = canon_put(c, at);
    return at;
}
