/* scan_path.c -- which way to the records that a question may mean.
 *
 * What the question says of the key and of the parts of each index is held against what the
 * table has, and the path on which fewest records are expected is taken. */
#include "tables/pattern.h"
#include "tables/scan.h"
#include "tables/table_private.h"

/* Nobody counts what lies in a range.  One with two ends is taken for a sixteenth of the
 * table, one with a single end for a quarter, and one value of an index for a 64th. */
enum { SHIFT_BOTH_ENDS = 4, SHIFT_ONE_END = 2, SHIFT_VALUE = 6 };

/* What is known of all records that are meant: of their key (x NULL), or of an index's part. */
struct facts {
    bool (*known)(const struct facts *of, const struct index_spec *x, uint32_t part,
                  struct domain *out);
    const struct predicate *predicate;
    struct value pattern;
    uint32_t later; /* the attribute whose value is said later */
};

static bool is_empty(const struct domain *d) {
    const struct range *range = &d->range;
    int order;

    if (d->few || !range->low.given || !range->high.given || range->low.prefix ||
        range->high.prefix)
        return d->few && d->point_count == 0;
    order = value_compare(range->low.value, range->high.value);
    return order > 0 || (order == 0 && (range->low.open || range->high.open));
}

static uint64_t count_of(struct table *t) {
    uint64_t count = 0;

    for (uint32_t i = 0; i < t->shard_count; i++)
        count += t->shard[i].store->ops->stats(t->shard[i].store).count;
    return count;
}

static uint64_t fewer(uint64_t count, uint32_t shift) {
    return EG_MAX(count >> EG_MIN(shift, 63u), (uint64_t) 1);
}

static uint64_t guess(uint64_t count, const struct range *range) {
    return fewer(count, range->low.given && range->high.given ? SHIFT_BOTH_ENDS : SHIFT_ONE_END);
}

/* ---- facts ----------------------------------------------------------------------- */

static bool by_predicate(const struct facts *of, const struct index_spec *x, uint32_t part,
                         struct domain *out) {
    return x == NULL ? predicate_domain(of->predicate, 0, out)
                     : predicate_domain_of_part(of->predicate, x, part, out);
}

static bool by_pattern(const struct facts *of, const struct index_spec *x, uint32_t part,
                       struct domain *out) {
    struct value v;

    if (x != NULL && x->part[part].step_count > 0)
        return false;
    if (!pattern_get_field(of->pattern, x == NULL ? 0 : x->part[part].position, &v))
        return false;
    *out = (struct domain){.range = range_of_value(v)};
    return true;
}

static bool is_later(const struct facts *of, const struct index_spec *x, uint32_t part) {
    return x->part[part].position == of->later && x->part[part].step_count == 0;
}

static bool by_lookup(const struct facts *of, const struct index_spec *x, uint32_t part,
                      struct domain *out) {
    if (!is_later(of, x, part))
        return by_predicate(of, x, part, out);
    *out = (struct domain){.range = range_of_value((struct value){0})};
    return true;
}

/* ---- paths ------------------------------------------------------------------------ */

/* By the key, where something is known of it. */
static void choose_key(struct scan_path *out, struct table *t, const struct facts *facts) {
    struct domain key;

    if (!facts->known(facts, NULL, 0, &key))
        return;
    out->range = key.range;
    if (is_empty(&key)) {
        out->kind = SCAN_NOTHING;
        out->shards = 0;
        out->rows = 0;
    } else if (key.range.exact) {
        out->kind = SCAN_KEY;
        out->shards = 1;
        out->rows = 1;
    } else if (key.few) {
        out->kind = SCAN_KEYS;
        out->point = key.point;
        out->point_count = key.point_count;
        out->shards = EG_MIN(out->shards, key.point_count);
        out->rows = key.point_count;
    } else if (t->type == TABLE_ORDERED_SET) {
        out->kind = SCAN_KEY_RANGE;
        out->rows = guess(out->rows, &key.range);
    } else {
        out->range = (struct range){0};
    }
}

/* By an index: the leading parts of which one value is known, and what is known of the next.
 * False: nothing is known of any. */
static bool path_by_index(struct scan_path *path, const struct index_spec *x,
                          const struct facts *facts, uint64_t count) {
    struct domain next = {0};
    bool known = false;
    uint32_t i = 0;

    while (i < x->part_count && (known = facts->known(facts, x, i, &next)) && next.range.exact)
        path->equal[i++] = next.range.low.value;
    known = known && i < x->part_count;
    path->kind = SCAN_INDEX;
    path->index = x->id;
    path->equal_count = i;
    path->rows = x->unique && i == x->part_count ? 1 : fewer(count, SHIFT_VALUE * i);
    if (known && next.few) {
        path->kind = SCAN_INDEX_VALUES;
        path->point = next.point;
        path->point_count = next.point_count;
        path->rows = x->unique && i + 1 == x->part_count
                         ? next.point_count
                         : next.point_count * fewer(count, SHIFT_VALUE * (i + 1));
        if (next.point_count == 0)
            path->kind = SCAN_NOTHING;
    } else if (known) {
        path->kind = SCAN_INDEX_RANGE;
        path->range = next.range;
        path->rows = guess(path->rows, &path->range);
    }
    return known || i > 0;
}

/* Of two by index, where the same is expected of both: the one of which more is known. */
static bool is_better(const struct scan_path *path, const struct scan_path *than) {
    if (path->rows != than->rows || !scan_by_index(than))
        return path->rows < than->rows;
    return path->equal_count > than->equal_count ||
           (path->equal_count == than->equal_count && path->kind != SCAN_INDEX &&
            than->kind == SCAN_INDEX);
}

static void choose(struct scan_path *out, struct table *t, const struct facts *facts,
                   bool reverse) {
    const struct schema *schema = table_schema(t);
    uint64_t count = count_of(t);

    *out = (struct scan_path){.kind = SCAN_ALL,
                              .reverse = reverse && t->type == TABLE_ORDERED_SET,
                              .rows = count,
                              .shards = t->shard_count};
    choose_key(out, t, facts);
    if (out->reverse) /* the order was asked for */
        return;
    for (uint32_t i = 0; i < schema->index_count; i++) {
        struct scan_path path = {.shards = t->shard_count};
        if (path_by_index(&path, schema->index[i], facts, count) && is_better(&path, out))
            *out = path;
    }
}

void scan_choose(struct scan_path *out, struct table *t, struct reader *r,
                 const struct predicate *p, bool reverse) {
    (void) r; /* the section is what matters */
    choose(out, t, &(struct facts){.known = by_predicate, .predicate = p}, reverse);
}

void scan_choose_pattern(struct scan_path *out, struct table *t, struct reader *r,
                         struct value pattern) {
    (void) r;
    choose(out, t, &(struct facts){.known = by_pattern, .pattern = pattern}, false);
}

bool scan_choose_lookup(struct scan_path *out, struct table *t, struct reader *r,
                        const struct predicate *p, uint32_t position) {
    const struct schema *schema = table_schema(t);
    struct facts facts = {.known = by_lookup, .predicate = p, .later = position};
    uint64_t count = count_of(t);
    bool found = false;

    (void) r;
    *out = (struct scan_path){.kind = SCAN_KEY, .shards = 1, .rows = 1};
    if (position == 0)
        return true;
    for (uint32_t i = 0; i < schema->index_count; i++) {
        struct scan_path path = {.shards = t->shard_count};
        const struct index_spec *x = schema->index[i];
        if (!path_by_index(&path, x, &facts, count) || path.kind == SCAN_NOTHING)
            continue;
        while (path.later < path.equal_count && !is_later(&facts, x, path.later))
            path.later++;
        if (path.later == path.equal_count || (found && !is_better(&path, out)))
            continue;
        *out = path;
        found = true;
    }
    return found;
}
