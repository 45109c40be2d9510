/* index.c -- a secondary index: a tree ordered by its parts, then the key. */
#include "tables/index.h"

#include "engine/buffer.h"
#include "tables/key.h"

#include <stdatomic.h>

enum {
    HASH_FROM = 1024, /* records, to begin a hash: one turn goes through so many */
    HASH_BELOW = 256, /* to give it back                                         */
};

/* The last change stays open until the next one, so that it can be taken back:
 * what it replaced is retired one change later, which harms nobody. */
struct index {
    struct btree *tree;
    _Atomic(struct index_hash *) hash; /* NULL: few records, or it was given up */
    uint64_t seed;
    bool given_up;          /* no memory for the hash */
    struct index_spec spec; /* what look-ups ask of it comes first */
    struct slab *slab;
    struct epoch_bin *bin;
    bool has_put, has_removal;
    const struct record *now; /* of the last change */
    struct btree_change put, removal;
};

static void settle(struct index *x) {
    if (x->has_put)
        btree_finish(x->tree, &x->put);
    if (x->has_removal)
        btree_finish(x->tree, &x->removal);
    x->has_put = x->has_removal = false;
}

/* ---- the hash, a copy of what the tree says ---------------------------------------- */

static inline struct index_hash *hash_of(const struct index *x) {
    return atomic_load_explicit(&x->hash, memory_order_acquire);
}

static void hash_end(struct index *x) {
    struct index_hash *hash = hash_of(x);

    if (hash == NULL)
        return;
    atomic_store_explicit(&x->hash, NULL, memory_order_release);
    index_hash_retire(hash);
}

/* It lacks a record: from now on the tree alone answers. */
static void hash_give_up(struct index *x) {
    hash_end(x);
    x->given_up = true;
}

static uint64_t hash_of_record(const struct index *x, const struct record *rec) {
    const struct order *order = btree_order(x->tree);
    uint64_t hash = x->seed;

    for (uint32_t i = 0; i + 1 < order->parts; i++)
        hash = key_hash(order_part(order, i, rec), hash);
    return hash;
}

static void hash_begin(struct index *x) {
    struct index_hash *hash = index_hash_open(x->slab, x->bin);
    const struct record *rec;
    struct btree_iter it;
    bool done = hash != NULL;

    if (done)
        btree_seek(&it, x->tree, NULL, NULL, false, false);
    while (done && (rec = btree_next(&it)) != NULL)
        done = index_hash_put(hash, hash_of_record(x, rec), rec);
    if (!done && hash != NULL)
        index_hash_retire(hash);
    x->given_up = !done;
    atomic_store_explicit(&x->hash, done ? hash : NULL, memory_order_release);
}

/* Say of the hash what has become of the tree: either may be NULL. */
static void hash_change(struct index *x, const struct record *out, const struct record *in) {
    struct index_hash *hash = hash_of(x);
    uint64_t out_hash = 0, in_hash = 0;

    if (hash == NULL)
        return;
    if (out != NULL)
        out_hash = hash_of_record(x, out);
    if (in != NULL)
        in_hash = hash_of_record(x, in);
    if (out != NULL && in != NULL && out_hash == in_hash &&
        index_hash_swap(hash, in_hash, out, in)) /* never gone, never twice */
        return;
    if (out != NULL)
        index_hash_remove(hash, out_hash, out);
    if (in != NULL && !index_hash_put(hash, in_hash, in))
        hash_give_up(x);
}

/* What the last change has taken out of the tree. */
static const struct record *taken_out(const struct index *x) {
    if (x->has_removal)
        return x->removal.old;
    return x->has_put ? x->put.old : NULL;
}

/* The tree has taken in x->now. */
static void hash_follow(struct index *x) {
    uint64_t count = btree_stats(x->tree).count;

    if (count < HASH_BELOW) {
        hash_end(x);
        x->given_up = false;
    } else if (hash_of(x) == NULL && count >= HASH_FROM && count < 2 * HASH_FROM && !x->given_up) {
        hash_begin(x);
    } else {
        hash_change(x, taken_out(x), x->now);
    }
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
    x->seed = o->seed;
    x->given_up = false;
    x->now = NULL;
    atomic_init(&x->hash, NULL);
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
    hash_end(x);
    btree_retire(x->tree);
    epoch_retire(x->bin, slab_free, x->slab, x, sizeof *x);
}

const struct index_spec *index_spec(const struct index *x) {
    return &x->spec;
}

struct btree_stats index_stats(const struct index *x) {
    struct btree_stats stats = btree_stats(x->tree);
    const struct index_hash *hash = hash_of(x);

    stats.bytes += hash != NULL ? index_hash_bytes(hash) : 0;
    return stats;
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

static void undo_tree(struct index *x) {
    if (x->has_removal) /* the later one first */
        btree_undo(x->tree, &x->removal);
    if (x->has_put)
        btree_undo(x->tree, &x->put);
    x->has_put = x->has_removal = false;
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
    if (old != NULL && (now == NULL || !order_same(btree_order(x->tree), old, now))) {
        err = index_remove(x, old);
        if (err != EG_OK) {
            undo_tree(x);
            return err;
        }
    }
    x->now = now;
    hash_follow(x);
    return EG_OK;
}

void index_undo(struct index *x) {
    hash_change(x, x->now, taken_out(x));
    undo_tree(x);
    x->now = NULL;
}

void index_clear(struct index *x) {
    eg_err err;

    settle(x);
    hash_end(x);
    x->given_up = false;
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

static uint64_t hash_of_values(const struct index *x, const struct value *equal, uint32_t count) {
    uint64_t hash = x->seed;

    for (uint32_t i = 0; i < count; i++)
        hash = key_hash(equal[i], hash);
    return hash;
}

/* Of two records of one value. */
static bool stands_before(const struct order *order, const struct record *a,
                          const struct record *b) {
    int c = value_compare(record_key(a), record_key(b));

    return c < 0 || (c == 0 && order->rest && value_compare(record_value(a), record_value(b)) < 0);
}

/* Keep what has the value, in the order of the tree.  False: the tree must be asked. */
static bool seek_hash(const struct index *x, struct index_iter *it) {
    const struct order *order = btree_order(x->tree);
    const struct index_hash *of = hash_of(x);
    const struct index_bounds *b = &it->bounds;
    uint64_t hash;
    int count, kept = 0;

    if (of == NULL || b->range != NULL || b->equal_count != x->spec.part_count)
        return false;
    hash = hash_of_values(x, b->equal, b->equal_count);
    count = index_hash_read(index_hash_line(of, hash), hash, it->found);
    for (int i = 0; i < count; i++)
        record_prefetch(it->found[i]);
    for (int i = 0; i < count; i++) {
        const struct record *rec = it->found[i];
        int at = kept;

        if (!order_begins(order, rec, b->equal, b->equal_count))
            continue;
        for (; at > 0 && stands_before(order, rec, it->found[at - 1]) != b->reverse; at--)
            it->found[at] = it->found[at - 1];
        it->found[at] = rec;
        kept++;
    }
    it->found_count = kept;
    it->found_at = 0;
    return count >= 0;
}

void index_seek(const struct index *x, struct index_iter *it, const struct index_bounds *b) {
    struct probe p;
    bool after, somewhere;

    it->bounds = *b;
    if (seek_hash(x, it))
        return;
    it->found_count = -1;
    somewhere = seek_probe(&p, btree_order(x->tree), b, &after);
    btree_seek(&it->at, x->tree, NULL, somewhere ? &p : NULL, after, b->reverse);
}

/* A run that its tree is to give. */
static void find_in_trees(struct index_runs *runs, const struct index *const *x,
                          const uint8_t *by_tree, size_t count) {
    const struct btree *trees[BTREE_MANY_MAX];
    struct btree_run *at[BTREE_MANY_MAX];

    for (size_t i = 0; i < count; i++) {
        trees[i] = x[by_tree[i]]->tree;
        at[i] = &runs->run[by_tree[i]].tree;
    }
    probe_of_values(&runs->probe, runs->order, runs->equal, runs->equal_count);
    btree_run_find_many(at, trees, count, &runs->probe);
}

void index_find_many(struct index_runs *runs, const struct index *const *x, size_t n,
                     const struct value *equal, uint32_t equal_count) {
    const struct hash_line *line[BTREE_MANY_MAX];
    uint8_t by_tree[BTREE_MANY_MAX];
    size_t by_tree_count = 0;
    uint64_t hash = hash_of_values(x[0], equal, equal_count);

    EG_ASSERT(n >= 1 && n <= BTREE_MANY_MAX);
    runs->order = btree_order(x[0]->tree);
    runs->equal = equal;
    runs->equal_count = equal_count;
    EG_ASSERT(equal_count < runs->order->parts);
    for (size_t i = 0; i < n; i++) {
        const struct index_hash *of = equal_count == x[i]->spec.part_count ? hash_of(x[i]) : NULL;
        line[i] = of != NULL ? index_hash_line(of, hash) : NULL;
    }
    for (size_t i = 0; i < n; i++) {
        struct index_run *run = &runs->run[i];

        run->at = 0;
        run->count = line[i] != NULL ? index_hash_read(line[i], hash, run->found) : -1;
        for (int k = 0; k < run->count; k++)
            record_prefetch(run->found[k]);
        if (run->count < 0)
            by_tree[by_tree_count++] = (uint8_t) i;
    }
    if (by_tree_count != 0)
        find_in_trees(runs, x, by_tree, by_tree_count);
}

void index_expect_many(const struct index *const *x, size_t n, const struct value *equal,
                       uint32_t equal_count) {
    uint64_t hash = hash_of_values(x[0], equal, equal_count);

    for (size_t i = 0; i < n; i++) {
        const struct index_hash *of = equal_count == x[i]->spec.part_count ? hash_of(x[i]) : NULL;
        if (of != NULL)
            (void) index_hash_line(of, hash);
    }
}

size_t index_runs_bytes(const struct index_runs *runs, size_t n) {
    size_t bytes = 0;

    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < runs->run[i].count; k++)
            bytes += record_array_bytes(runs->run[i].found[k]);
    return bytes;
}

const struct record *index_runs_next(struct index_runs *runs, size_t i) {
    struct index_run *run = &runs->run[i];

    if (run->count < 0)
        return btree_run_next(&run->tree);
    while (run->at < run->count) {
        const struct record *rec = run->found[run->at++];
        if (order_begins(runs->order, rec, runs->equal,
                         runs->equal_count)) /* other values may have its tag */
            return rec;
    }
    return NULL;
}

void index_seek_behind(const struct index *x, struct index_iter *it, const struct index_bounds *b,
                       const struct value values[INDEX_PLACE_MAX]) {
    struct probe p;

    it->bounds = *b;
    it->found_count = -1;
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
    const struct record *rec;

    if (it->found_count >= 0)
        return it->found_at < it->found_count ? it->found[it->found_at++] : NULL;
    rec = btree_next(&it->at);
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

static bool hash_finds(const struct index *x, const struct record *rec) {
    const struct record *found[INDEX_HASH_FOUND_MAX];
    uint64_t hash = hash_of_record(x, rec);
    int count = index_hash_read(index_hash_line(hash_of(x), hash), hash, found);

    for (int i = 0; i < count; i++)
        if (found[i] == rec)
            return true;
    return count < 0;
}

static void check_in_tree(void *context, const struct record *rec) {
    const struct index *x = context;
    struct probe p;

    probe_of_record(&p, btree_order(x->tree), rec);
    EG_ASSERT(btree_get(x->tree, &p) == rec);
}

void index_check(struct index *x, struct store *s, struct reader *r) {
    const struct record *rec;
    struct store_cursor c;

    settle(x);
    btree_check(x->tree);
    EG_ASSERT(btree_stats(x->tree).count == s->ops->stats(s).count);
    if (hash_of(x) != NULL)
        index_hash_check(hash_of(x), check_in_tree, x);
    s->ops->seek(s, r, &c, NULL, false, false);
    while ((rec = s->ops->next(s, r, &c)) != NULL) {
        check_in_tree(x, rec);
        EG_ASSERT(hash_of(x) == NULL || hash_finds(x, rec));
    }
}
