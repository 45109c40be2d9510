/* index.c -- a secondary index: a tree ordered by an attribute, then the key. */
#include "tables/index.h"

/* The last change stays open until the next one, so that it can be taken back:
 * what it replaced is retired one change later, which harms nobody. */
struct index {
    struct btree *tree;
    struct slab *slab;
    struct epoch_bin *bin;
    uint16_t position;
    bool has_put, has_removal;
    struct btree_change put, removal;
};

static void settle(struct index *x) {
    if (x->has_put)
        btree_finish(x->tree, &x->put);
    if (x->has_removal)
        btree_finish(x->tree, &x->removal);
    x->has_put = x->has_removal = false;
}

eg_err index_open(struct index **out, const struct store_opts *o, uint16_t position) {
    struct index *x = slab_get(o->slab, sizeof *x);
    struct btree_opts tree = {.alloc = o->alloc,
                              .slab = o->slab,
                              .bin = o->bin,
                              .order = order_of_attribute(position, o->bag)};

    EG_ASSERT(position > 0); /* the store itself finds by key */
    if (x == NULL)
        return EG_MEMORY;
    x->slab = o->slab;
    x->bin = o->bin;
    x->position = position;
    x->has_put = x->has_removal = false;
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

uint16_t index_position(const struct index *x) {
    return x->position;
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

void index_seek(const struct index *x, struct index_iter *it, struct value v) {
    struct probe p;

    probe_of_value(&p, btree_order(x->tree), v);
    it->value = v;
    it->position = x->position;
    btree_seek(&it->at, x->tree, NULL, &p, false, false);
}

const struct record *index_next(struct index_iter *it) {
    const struct record *rec = btree_next(&it->at);

    return rec != NULL && value_equal(record_field(rec, it->position), it->value) ? rec : NULL;
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
