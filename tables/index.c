/* index.c -- a secondary index: a tree ordered by its parts, then the key. */
#include "tables/index.h"

#include "engine/buffer.h"

/* The last change stays open until the next one, so that it can be taken back:
 * what it replaced is retired one change later, which harms nobody. */
struct index {
    struct btree *tree;
    struct slab *slab;
    struct epoch_bin *bin;
    bool has_put, has_removal;
    struct btree_change put, removal;
    struct index_spec spec;
};

static void settle(struct index *x) {
    if (x->has_put)
        btree_finish(x->tree, &x->put);
    if (x->has_removal)
        btree_finish(x->tree, &x->removal);
    x->has_put = x->has_removal = false;
}

eg_err index_open(struct index **out, const struct store_opts *o, const struct index_spec *spec) {
    struct index *x = slab_get(o->slab, sizeof *x);
    struct btree_opts tree = {.alloc = o->alloc, .slab = o->slab, .bin = o->bin};

    if (x == NULL)
        return EG_MEMORY;
    x->slab = o->slab;
    x->bin = o->bin;
    x->spec = *spec;
    x->has_put = x->has_removal = false;
    tree.order = order_of_index(&x->spec, o->bag);
    if (btree_open(&x->tree, &tree) != EG_OK) {
        slab_put(o->slab, x, sizeof *x);
        return EG_MEMORY;
    }
    *out = x;
    return EG_OK;
}

void index_close(struct index *x) {
    btree_close(x->tree);
    slab_put(x->slab, x, sizeof *x);
}

void index_retire(struct index *x) {
    settle(x);
    btree_retire(x->tree);
    epoch_retire(x->bin, slab_free, x->slab, x, sizeof *x);
}

const struct index_spec *index_spec(const struct index *x) {
    return &x->spec;
}

struct btree_stats index_stats(const struct index *x) {
    return btree_stats(x->tree);
}

/* ---- changes ------------------------------------------------------------ */

static eg_err index_remove(struct index *x, const struct record *old) {
    struct probe p;
    eg_err err;

    probe_of_record(&p, btree_order(x->tree), old);
    err = btree_remove(x->tree, &p, &x->removal);
    x->has_removal = err == EG_OK;
    return err == EG_NOT_FOUND ? EG_OK : err;
}

eg_err index_update(struct index *x, const struct record *old, const struct record *now) {
    struct probe p;
    eg_err err;

    settle(x);
    if (now != NULL) { /* in the place of `old` where it has the same attribute and key */
        probe_of_record(&p, btree_order(x->tree), now);
        err = btree_put(x->tree, &p, now, &x->put);
        if (err != EG_OK)
            return err;
        x->has_put = true;
    }
    if (old == NULL || (now != NULL && order_same(btree_order(x->tree), old, now)))
        return EG_OK;
    err = index_remove(x, old);
    if (err != EG_OK)
        index_undo(x);
    return err;
}

void index_undo(struct index *x) {
    if (x->has_removal) /* the later one first */
        btree_undo(x->tree, &x->removal);
    if (x->has_put)
        btree_undo(x->tree, &x->put);
    x->has_put = x->has_removal = false;
}

void index_clear(struct index *x) {
    eg_err err;

    settle(x);
    err = btree_clear(x->tree);
    EG_ASSERT(err == EG_OK); /* an index has no snapshots */
}

/* ---- reading ------------------------------------------------------------ */

/* The place where a stretch begins.  False: at the very end of the tree. */
static bool seek_probe(struct probe *p, const struct order *order, const struct index_bounds *b,
                       bool *after) {
    const struct range_end none = {.given = false};
    const struct range_end *end = &none;
    struct value v[INDEX_PARTS_MAX + 1];

    EG_ASSERT(b->equal_count < order->parts);
    for (uint32_t i = 0; i < b->equal_count; i++)
        v[i] = b->equal[i];
    if (b->range != NULL)
        end = b->reverse ? &b->range->high : &b->range->low;
    *after = end->given && end->open;
    if (end->given) {
        v[b->equal_count] = end->value;
        if (end->prefix)
            probe_of_prefix(p, order, v, b->equal_count + 1);
        else
            probe_of_values(p, order, v, b->equal_count + 1);
    } else {
        probe_of_values(p, order, v, b->equal_count);
    }
    return p->parts != 0;
}

void index_seek(const struct index *x, struct index_iter *it, const struct index_bounds *b) {
    struct probe p;
    bool after;
    bool somewhere = seek_probe(&p, btree_order(x->tree), b, &after);

    it->bounds = *b;
    btree_seek(&it->at, x->tree, NULL, somewhere ? &p : NULL, after, b->reverse);
}

void index_find_many(struct index_runs *runs, const struct index *const *x, size_t n,
                     const struct value *equal, uint32_t equal_count) {
    const struct btree *trees[BTREE_MANY_MAX];

    EG_ASSERT(n >= 1 && n <= BTREE_MANY_MAX);
    for (size_t i = 0; i < n; i++)
        trees[i] = x[i]->tree;
    EG_ASSERT(equal_count < btree_order(trees[0])->parts);
    probe_of_values(&runs->probe, btree_order(trees[0]), equal, equal_count);
    btree_run_find_many(runs->run, trees, n, &runs->probe);
}

void index_seek_behind(const struct index *x, struct index_iter *it, const struct index_bounds *b,
                       const struct value values[INDEX_PLACE_MAX]) {
    struct probe p;

    it->bounds = *b;
    it->at = (struct btree_iter){.tree = x->tree};
    if (!index_bounds_hold(b, values))
        return; /* from outside, and never a place of this stretch */
    probe_of_place(&p, btree_order(x->tree), values);
    btree_seek(&it->at, x->tree, NULL, &p, true, b->reverse);
}

/* Has the stretch ended before `rec`?  It began inside, so the far end is enough. */
static bool is_behind(const struct index_bounds *b, const struct order *order,
                      const struct record *rec) {
    struct value v;

    for (uint32_t i = 0; i < b->equal_count; i++)
        if (!value_equal(order_part(order, i, rec), b->equal[i]))
            return true;
    if (b->range == NULL)
        return false;
    v = order_part(order, b->equal_count, rec);
    return b->reverse ? range_below(b->range, v) : range_above(b->range, v);
}

const struct record *index_next(struct index_iter *it) {
    const struct record *rec = btree_next(&it->at);

    return rec == NULL || is_behind(&it->bounds, btree_order(it->at.tree), rec) ? NULL : rec;
}

eg_err index_place(const struct index_spec *spec, bool bag, const struct record *rec,
                   struct buffer *place) {
    struct order order = order_of_index(spec, bag);
    size_t size_bytes = pivot_bytes_for(&order, rec) + 5; /* and the array's header */
    uint8_t *room = buffer_room(place, size_bytes);
    struct value_writer w = value_writer_init(room, size_bytes);

    if (room == NULL)
        return EG_TOO_LARGE;
    value_put_array(&w, order.parts + order.rest);
    for (uint32_t i = 0; i < order.parts; i++)
        value_put_raw(&w, order_part(&order, i, rec));
    if (order.rest)
        value_put_raw(&w, record_value(rec));
    EG_ASSERT(!w.overflow);
    place->size_bytes += w.need_bytes;
    return EG_OK;
}

bool index_place_values(const struct index_spec *spec, bool bag, struct value place,
                        struct value values[INDEX_PLACE_MAX]) {
    uint32_t count = spec->part_count + 1u + bag;

    if (place.size_bytes == 0 || value_kind_of(place) != VALUE_ARRAY || value_count(place) != count)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!array_element(place, i, &values[i]))
            return false;
    return !bag || value_kind_of(values[count - 1]) == VALUE_ARRAY;
}

void index_check(struct index *x, struct store *s, struct reader *r) {
    const struct record *rec;
    struct store_cursor c;

    settle(x);
    btree_check(x->tree);
    EG_ASSERT(btree_stats(x->tree).count == s->ops->stats(s).count);
    s->ops->seek(s, r, &c, NULL, false, false);
    while ((rec = s->ops->next(s, r, &c)) != NULL) {
        struct probe p;
        probe_of_record(&p, btree_order(x->tree), rec);
        EG_ASSERT(btree_get(x->tree, &p) == rec);
    }
}
