/* transact_path.c -- the path of a question, flat and back. */
#include "tables/table_private.h"
#include "tables/transact_private.h"
#include "tables/value_append.h"

enum { PATH_FIELDS = 9, END_GIVEN = 1, END_OPEN = 2, END_PREFIX = 4, POINTS_MAX = 4096 };

static void put_end(struct value_writer *w, const struct range_end *end) {
    unsigned is = (end->given ? END_GIVEN : 0u) | (end->open ? END_OPEN : 0u) |
                  (end->prefix ? END_PREFIX : 0u);

    value_put_u64(w, is);
    if (end->given)
        value_put_raw(w, end->value);
    else
        value_put_nil(w);
}

static void put_values(struct value_writer *w, const struct value *list, uint32_t count) {
    value_put_array(w, count);
    for (uint32_t i = 0; i < count; i++)
        value_put_raw(w, list[i]);
}

void transact_put_path(struct value_writer *w, const struct scan_path *path) {
    bool few = path->kind == SCAN_KEYS || path->kind == SCAN_INDEX_VALUES;

    value_put_array(w, PATH_FIELDS);
    value_put_u64(w, path->kind);
    value_put_u64(w, path->index);
    put_end(w, &path->range.low);
    put_end(w, &path->range.high);
    value_put_bool(w, path->range.exact);
    put_values(w, path->equal, path->equal_count);
    put_values(w, path->point, few ? path->point_count : 0);
}

static void put_path(struct value_writer *w, const void *what) {
    transact_put_path(w, what);
}

eg_err transact_pack_path(const struct scan_path *path, struct buffer *out) {
    return value_append(out, put_path, path);
}

/* ---- back -------------------------------------------------------------------------------- */

static bool get_end(struct value_iter *it, struct range_end *end) {
    uint64_t is;
    struct value v;

    if (!value_iter_u64(it, &is) || is > (END_GIVEN | END_OPEN | END_PREFIX) ||
        !value_iter_next(it, &v))
        return false;
    *end = (struct range_end){.given = (is & END_GIVEN) != 0,
                              .open = (is & END_OPEN) != 0,
                              .prefix = (is & END_PREFIX) != 0,
                              .value = v};
    return !end->prefix || (end->given && value_kind_of(v) == VALUE_ARRAY);
}

static bool next_list(struct value_iter *it, struct value *list, uint32_t most) {
    return value_iter_next(it, list) && value_kind_of(*list) == VALUE_ARRAY &&
           value_count(*list) <= most;
}

static void copy_values(struct value list, struct value *to) {
    struct value_iter it = value_iter_of(list);

    while (value_iter_next(&it, to))
        to++;
}

/* Points are looked up one by one, in their order. */
static bool ascends(const struct value *point, uint32_t count) {
    for (uint32_t i = 1; i < count; i++)
        if (value_compare(point[i - 1], point[i]) >= 0)
            return false;
    return true;
}

/* Can it be gone through in a table of this type, so far as the path itself says? */
static bool is_sound(const struct scan_path *p, const struct table *t) {
    uint32_t parts = p->equal_count + (p->kind != SCAN_INDEX);

    switch (p->kind) {
    case SCAN_KEY:
        return p->range.low.given && p->range.exact && !p->range.low.prefix;
    case SCAN_KEY_RANGE:
        return table_type(t) == TABLE_ORDERED_SET;
    case SCAN_INDEX:
        return parts >= 1 && parts <= INDEX_PARTS_MAX;
    case SCAN_INDEX_VALUES:
    case SCAN_INDEX_RANGE:
        return parts <= INDEX_PARTS_MAX;
    default:
        return true;
    }
}

eg_err transact_get_path(struct value packed, const struct table *t, struct reader *r,
                         struct scan_path *out) {
    struct scan_path p = {.kind = SCAN_NOTHING};
    struct value equal, points, exact;
    struct value_iter it;
    struct value *point;
    uint64_t kind, index;

    if (packed.size_bytes == 0 || value_kind_of(packed) != VALUE_ARRAY ||
        value_count(packed) != PATH_FIELDS)
        return EG_BAD_REQUEST;
    it = value_iter_of(packed);
    if (!value_iter_u64(&it, &kind) || kind > SCAN_ALL || !value_iter_u64(&it, &index) ||
        index > UINT32_MAX || !get_end(&it, &p.range.low) || !get_end(&it, &p.range.high) ||
        !value_iter_next(&it, &exact) || !value_get_bool(exact, &p.range.exact) ||
        !next_list(&it, &equal, INDEX_PARTS_MAX) || !next_list(&it, &points, POINTS_MAX))
        return EG_BAD_REQUEST;
    p.kind = (enum scan_kind) kind;
    p.index = (uint32_t) index;
    p.equal_count = value_count(equal);
    copy_values(equal, p.equal);
    p.point_count = value_count(points);
    point = reader_scratch(r, EG_MAX(p.point_count, 1u) * sizeof *point);
    if (point == NULL)
        return EG_MEMORY;
    copy_values(points, point);
    p.point = point;
    if (!is_sound(&p, t) || !ascends(point, p.point_count))
        return EG_BAD_REQUEST;
    *out = p;
    return EG_OK;
}
