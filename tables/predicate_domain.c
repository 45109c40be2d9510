/* predicate_domain.c -- sets of values, and'ed and or'ed: a range, and few points in it.
 *
 *     1, 5, 9   and   3 .. 7            5
 *     1, 5      or    7                 1, 5, 7
 *     1, 5      or    3 .. 7            1 .. 7
 *
 * A range that is one value is a point too; of more points than are worth a look-up each, or of
 * ranges or'ed, the hull is left.  A set may hold more than it should, never less. */
#include "tables/predicate_private.h"

#include <string.h>

enum {
    POINTS_MAX = 1024,            /* each a look-up, in one go where nothing is found */
    POINTS_BYTES_MAX = 64 * 1024, /* of a program that is kept with them              */
};

/* ---- ends ------------------------------------------------------------------------ */

/* Does the array `v` begin with all elements of the array `prefix`? */
static bool begins_with(struct value v, struct value prefix) {
    struct value_head p = head_of(prefix.at);
    const uint8_t *a = prefix.at + p.own_bytes;
    const uint8_t *b = v.at;

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) < p.children)
        return false;
    b += head_of(v.at).own_bytes;
    for (uint32_t i = 0; i < p.children; i++)
        if (value_compare_at(&a, &b, false) != 0)
            return false;
    return true;
}

/* The order of two low ends by where they begin. */
static int compare_low(const struct range_end *a, const struct range_end *b) {
    int order = value_compare(a->value, b->value);

    return order != 0 ? order : a->open - b->open;
}

/* The order of two high ends by where they end. */
static int compare_high(const struct range_end *a, const struct range_end *b) {
    bool a_holds_b = a->prefix && begins_with(b->value, a->value);
    bool b_holds_a = b->prefix && begins_with(a->value, b->value);
    int order = value_compare(a->value, b->value);

    if (a_holds_b || b_holds_a)
        return a_holds_b - b_holds_a;
    return order != 0 ? order : b->open - a->open;
}

static void intersect_ranges(struct range *into, const struct range *with) {
    if (with->low.given && (!into->low.given || compare_low(&with->low, &into->low) > 0))
        into->low = with->low;
    if (with->high.given && (!into->high.given || compare_high(&with->high, &into->high) < 0))
        into->high = with->high;
}

static void unite_ranges(struct range *into, const struct range *with) {
    if (!with->low.given || (into->low.given && compare_low(&with->low, &into->low) < 0))
        into->low = with->low;
    if (!with->high.given || (into->high.given && compare_high(&with->high, &into->high) > 0))
        into->high = with->high;
}

/* ---- points ------------------------------------------------------------------------ */

static bool is_point(const struct range *r) {
    return r->low.given && r->high.given && !r->low.open && !r->high.open && !r->low.prefix &&
           !r->high.prefix &&
           (r->low.value.at == r->high.value.at || value_equal(r->low.value, r->high.value));
}

/* The set's points; NULL: it is not known to have few. */
static const struct value *points_of(const struct domain *d, uint32_t *count) {
    static const struct value none;

    if (d->few) {
        *count = d->point_count;
        return d->point_count > 0 ? d->point : &none;
    }
    *count = 1;
    return is_point(&d->range) ? &d->range.low.value : NULL;
}

/* No value at all: a range that ends where it begins, without its ends. */
static struct domain domain_of_nothing(void) {
    static const uint8_t nil[] = {0xc0};
    struct range_end end = {.given = true, .open = true, .value = {nil, 1}};

    return (struct domain){.range = {.low = end, .high = end}, .few = true};
}

/* Ascending, each once. */
static struct domain domain_of_points(struct value *point, uint32_t count) {
    struct domain d = {.few = true, .point = point, .point_count = count};

    if (count == 0)
        return domain_of_nothing();
    if (count == 1)
        return domain_of_value(point[0]);
    d.range.low = (struct range_end){.given = true, .value = point[0]};
    d.range.high = (struct range_end){.given = true, .value = point[count - 1]};
    return d;
}

/* Where `v` is among the points, or would be. */
static uint32_t find_point(const struct value *point, uint32_t count, struct value v, bool *found) {
    uint32_t low = 0, high = count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = value_compare(point[middle], v);
        *found = order == 0;
        if (*found)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = false;
    return low;
}

static void keep_if(struct domain *d, const struct domain *with) {
    uint32_t count, others, kept = 0;
    const struct value *other = points_of(with, &others);
    bool found = true;

    EG_ASSERT(d->few);
    count = d->point_count;
    for (uint32_t i = 0; i < count; i++) {
        if (other != NULL)
            find_point(other, others, d->point[i], &found);
        if (other != NULL ? found : range_holds(&with->range, d->point[i]))
            d->point[kept++] = d->point[i];
    }
    *d = domain_of_points(d->point, kept);
}

/* Arrays of points are made with room for a power of two. */
static uint32_t room_for(uint32_t count) {
    uint32_t room = 4;

    while (room < count)
        room *= 2;
    return room;
}

static bool make_room(struct compiler *c, struct domain *d, uint32_t more) {
    struct value *all;

    if (d->point_count + more > POINTS_MAX)
        return false;
    if (d->few && room_for(d->point_count + more) == room_for(d->point_count))
        return true;
    all = compiler_get(c, room_for(d->point_count + more) * sizeof *all);
    if (all == NULL)
        return false;
    memcpy(all, d->point, d->point_count * sizeof *all);
    d->point = all;
    return true;
}

static bool unite_points(struct compiler *c, struct domain *into, const struct domain *with) {
    uint32_t mine_count, other_count;
    const struct value *mine = points_of(into, &mine_count), *other = points_of(with, &other_count);
    struct domain all = {.few = into->few, .point_count = mine_count};
    struct value first;
    bool found;

    if (mine == NULL || other == NULL)
        return false;
    first = *mine;
    all.point = into->few ? into->point : &first;
    if (!make_room(c, &all, other_count))
        return false;
    for (uint32_t i = 0; i < other_count; i++) {
        uint32_t at = find_point(all.point, all.point_count, other[i], &found);
        if (found)
            continue;
        memmove(all.point + at + 1, all.point + at, (all.point_count - at) * sizeof *all.point);
        all.point[at] = other[i];
        all.point_count++;
    }
    *into = domain_of_points(all.point, all.point_count);
    return true;
}

/* ---- sorting --------------------------------------------------------------------------- */

static void sift(struct value *v, uint32_t at, uint32_t count) {
    for (uint32_t child; (child = 2 * at + 1) < count; at = child) {
        struct value moved = v[at];
        if (child + 1 < count && value_compare(v[child], v[child + 1]) < 0)
            child++;
        if (value_compare(moved, v[child]) >= 0)
            return;
        v[at] = v[child];
        v[child] = moved;
    }
}

static void sort(struct value *v, uint32_t count) {
    for (uint32_t i = count / 2; i-- > 0;)
        sift(v, i, count);
    for (uint32_t end = count; end-- > 1;) {
        struct value largest = v[0];
        v[0] = v[end];
        v[end] = largest;
        sift(v, 0, end);
    }
}

uint32_t values_sort(struct value *v, uint32_t count) {
    uint32_t kept = 1;
    bool sorted = true;

    for (uint32_t i = 1; i < count && sorted; i++)
        sorted = value_compare(v[i - 1], v[i]) < 0;
    if (sorted)
        return count;
    sort(v, count);
    for (uint32_t i = 1; i < count; i++)
        if (!value_equal(v[i], v[kept - 1]))
            v[kept++] = v[i];
    return kept;
}

/* ---- sets ---------------------------------------------------------------------------------- */

bool domain_is_known(const struct domain *d) {
    return d->few || d->range.low.given || d->range.high.given;
}

struct domain domain_of_value(struct value v) {
    return (struct domain){.range = range_of_value(v)};
}

struct value *domain_room(struct compiler *c, uint32_t count) {
    return compiler_get(c, room_for(count) * sizeof(struct value));
}

struct domain domain_of_values(struct value *values, uint32_t count) {
    struct domain hull;

    if (count == 0)
        return domain_of_nothing();
    if (count > POINTS_MAX) {
        hull = domain_of_value(values[0]);
        for (uint32_t i = 1; i < count; i++) {
            struct domain one = domain_of_value(values[i]);
            unite_ranges(&hull.range, &one.range);
        }
        return hull;
    }
    return domain_of_points(values, values_sort(values, count));
}

void domain_intersect(struct domain *into, const struct domain *with) {
    struct domain other;

    if (into->few) {
        keep_if(into, with);
    } else if (with->few) {
        other = *with;
        keep_if(&other, into);
        *into = other;
    } else {
        intersect_ranges(&into->range, &with->range);
    }
}

void domain_unite(struct compiler *c, struct domain *into, const struct domain *with) {
    if (with->few && with->point_count == 0)
        return;
    if (into->few && into->point_count == 0) {
        *into = *with;
    } else if (!unite_points(c, into, with)) {
        into->few = false;
        unite_ranges(&into->range, &with->range);
    }
}

void domain_end(struct domain *d) {
    size_t bytes = 0;

    for (uint32_t i = 0; d->few && i < d->point_count; i++)
        bytes += d->point[i].size_bytes;
    if (bytes > POINTS_BYTES_MAX)
        d->few = false;
    d->range.exact = is_point(&d->range);
}
