/* store_ordered.c -- the RAM store that keeps its keys in order.
 *
 * A thin front of btree.h: the tree's order is the key, in a bag the key and then
 * the whole record, so that all records of a key stand together and equal ones
 * are one.  Every promise of store.h about readers is the tree's. */
#include "tables/store.h"

#include "tables/btree.h"

struct ordered {
    struct store base;
    struct alloc *alloc;
    struct btree *tree;
};

struct ordered_snapshot {
    struct store_snapshot base;
    struct btree_snapshot *tree;
    struct btree_iter at;
};

_Static_assert(sizeof(struct btree_iter) <= sizeof(((struct store_cursor *) 0)->opaque),
               "a scan's position fits a cursor");

static struct btree *tree_of(const struct store *s) {
    return EG_CONTAINER_OF(s, struct ordered, base)->tree;
}

/* ---- reading ------------------------------------------------------------ */

static const struct record *ordered_get(struct store *s, struct reader *r, const struct key *k) {
    struct probe p;

    (void) r; /* the section is what matters: records are handed out where they lie */
    probe_of_value(&p, btree_order(tree_of(s)), k->value);
    return btree_get(tree_of(s), &p);
}

static void ordered_get_many(struct store *const *stores, struct reader *r,
                             const struct key *const *keys, size_t n, const struct record **out) {
    const struct btree *trees[BTREE_MANY_MAX];
    struct probe probes[BTREE_MANY_MAX];

    (void) r;
    for (size_t from = 0, count; from < n; from += count) {
        count = EG_MIN(n - from, (size_t) BTREE_MANY_MAX);
        for (size_t i = 0; i < count; i++) {
            trees[i] = tree_of(stores[from + i]);
            probe_of_value(&probes[i], btree_order(trees[i]), keys[from + i]->value);
        }
        btree_get_many(trees, probes, count, out + from);
    }
}

/* To find the leaf and the record is all of a get but two misses: walking there
 * beforehand costs more than it hides.  Both stages leave the work to the get. */
static void ordered_prefetch(struct store *s, struct reader *r, const struct key *k) {
    (void) s;
    (void) r;
    (void) k;
}

static void ordered_seek(struct store *s, struct reader *r, struct store_cursor *c,
                         const struct key *k, bool after, bool reverse) {
    struct btree_iter *it = (struct btree_iter *) c->opaque;
    struct probe p;

    (void) r;
    if (k != NULL)
        probe_of_value(&p, btree_order(tree_of(s)), k->value);
    btree_seek(it, tree_of(s), NULL, k != NULL ? &p : NULL, after, reverse);
}

static void ordered_seek_behind(struct store *s, struct reader *r, struct store_cursor *c,
                                const struct record *rec) {
    struct probe p;

    (void) r;
    probe_of_record(&p, btree_order(tree_of(s)), rec);
    btree_seek((struct btree_iter *) c->opaque, tree_of(s), NULL, &p, true, false);
}

static const struct record *ordered_next(struct store *s, struct reader *r,
                                         struct store_cursor *c) {
    (void) s;
    (void) r;
    return btree_next((struct btree_iter *) c->opaque);
}

uint32_t store_ordered_next_many(struct store_cursor *c, const struct probe *end,
                                 const struct record **out, uint32_t most) {
    return btree_next_many((struct btree_iter *) c->opaque, end, out, most);
}

static struct store_stats ordered_stats(const struct store *s) {
    struct btree_stats t = btree_stats(tree_of(s));

    return (struct store_stats){.count = t.count,
                                .index_bytes = t.bytes,
                                .relocations = t.relocations,
                                .kept_bytes = t.kept_bytes};
}

/* ---- changing ----------------------------------------------------------- */

static eg_err ordered_put(struct store *s, const struct key *k, struct record *rec,
                          const struct record **old_out) {
    struct btree *t = tree_of(s);
    struct btree_change c;
    struct probe p;
    eg_err err;

    (void) k; /* the record has it too */
    probe_of_record(&p, btree_order(t), rec);
    err = btree_put(t, &p, rec, &c);
    if (err != EG_OK)
        return err;
    btree_finish(t, &c);
    *old_out = c.old;
    return EG_OK;
}

static eg_err ordered_remove(struct store *s, const struct key *k, const struct record *rec) {
    struct btree *t = tree_of(s);
    struct btree_change c;
    struct probe p;
    eg_err err;

    (void) k;
    probe_of_record(&p, btree_order(t), rec);
    err = btree_remove(t, &p, &c);
    if (err != EG_OK)
        return err;
    EG_ASSERT(c.old == rec);
    btree_finish(t, &c);
    return EG_OK;
}

static eg_err ordered_clear(struct store *s) {
    return btree_clear(tree_of(s));
}

/* ---- snapshots ---------------------------------------------------------- */

static eg_err ordered_snapshot_open(struct store *s, struct store_snapshot **out) {
    struct ordered *o = EG_CONTAINER_OF(s, struct ordered, base);
    struct ordered_snapshot *p = alloc_get(o->alloc, sizeof *p);

    if (p == NULL)
        return EG_MEMORY;
    if (btree_snapshot_open(&p->tree, o->tree) != EG_OK) {
        alloc_put(o->alloc, p, sizeof *p);
        return EG_MEMORY;
    }
    p->base.store = s;
    btree_seek(&p->at, o->tree, p->tree, NULL, false, false);
    *out = &p->base;
    return EG_OK;
}

static eg_err ordered_snapshot_next(struct store_snapshot *p, struct reader *r,
                                    const struct record **out) {
    (void) r;
    *out = btree_next(&EG_CONTAINER_OF(p, struct ordered_snapshot, base)->at);
    return EG_OK;
}

static void ordered_snapshot_close(struct store *s, struct store_snapshot *p) {
    struct ordered *o = EG_CONTAINER_OF(s, struct ordered, base);
    struct ordered_snapshot *snapshot = EG_CONTAINER_OF(p, struct ordered_snapshot, base);

    btree_snapshot_close(snapshot->tree);
    alloc_put(o->alloc, snapshot, sizeof *snapshot);
}

/* ---- open, check, close ------------------------------------------------- */

static void ordered_check(struct store *s) {
    btree_check(tree_of(s));
}

static void ordered_close(struct store *s) {
    struct ordered *o = EG_CONTAINER_OF(s, struct ordered, base);

    btree_close(o->tree);
    alloc_put(o->alloc, o, sizeof *o);
}

static const struct store_ops ordered_ops = {
    .name = "ordered",
    .get = ordered_get,
    .prefetch = ordered_prefetch,
    .prefetch_record = ordered_prefetch,
    .get_many = ordered_get_many,
    .put = ordered_put,
    .remove = ordered_remove,
    .clear = ordered_clear,
    .seek = ordered_seek,
    .next = ordered_next,
    .seek_behind = ordered_seek_behind,
    .stats = ordered_stats,
    .snapshot_open = ordered_snapshot_open,
    .snapshot_next = ordered_snapshot_next,
    .snapshot_close = ordered_snapshot_close,
    .check = ordered_check,
    .close = ordered_close,
};

eg_err store_ordered_open(struct store **out, const struct store_opts *o) {
    struct ordered *s = alloc_get(o->alloc, sizeof *s);
    struct btree_opts tree = {.alloc = o->alloc,
                              .slab = o->slab,
                              .bin = o->bin,
                              .order = order_of_keys(o->bag),
                              .owns_records = true};

    if (s == NULL)
        return EG_MEMORY;
    *s =
        (struct ordered){.base = {&ordered_ops, .ordered = true, .bag = o->bag}, .alloc = o->alloc};
    if (btree_open(&s->tree, &tree) != EG_OK) {
        alloc_put(o->alloc, s, sizeof *s);
        return EG_MEMORY;
    }
    *out = &s->base;
    return EG_OK;
}
