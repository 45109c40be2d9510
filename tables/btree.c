/* btree.c -- changing a tree under its readers, and walking it.
 *
 * Every change ends in one release store, into a slot of a node that no snapshot
 * can see or into the root:
 *
 *     replace    the leaf's own slot                          0 nodes copied
 *     insert     the slot of the leaf's parent                the leaf
 *     split      the slot of the grandparent                  both halves, the parent
 *     frozen     the slot above the highest frozen ancestor   the path up to it
 *
 * Invariants (btree_check):
 *   (1) all leaves are at level 0 and none is empty; an empty tree has no root;
 *   (2) pivot[i] <= every entry of child i, and above every entry of child i-1;
 *   (3) a node whose generation is not above the newest snapshot's is never
 *       stored to;
 *   (4) a node below another is not older than any snapshot that sees it: frozen
 *       is the top of the tree last, so a writable parent may be stored to
 *       whatever its child is.
 *
 * The death log.  An object that dies while snapshots are open goes to the
 * newest one's log.  When that closes, an object made after the next older
 * snapshot was opened is retired, any other goes to that one's log.  Records
 * carry no generation and so wait for all snapshots older than their death. */
#include "tables/btree.h"

#include "tables/btree_node.h"

enum object_kind { OBJECT_NODE, OBJECT_PIVOT, OBJECT_RECORD, OBJECT_KIND_MASK = 7 };

enum { DEATHS_BATCH = 510 }; /* a batch is one page */

struct deaths {
    struct deaths *next;
    uint32_t count;
    uintptr_t object[DEATHS_BATCH];
};

struct btree {
    struct btree_opts opts;
    node_slot root; /* NULL: empty */
    uint64_t generation;
    struct btree_snapshot *newest;
    uint64_t objects; /* nodes and pivots not retired yet */
    _Atomic uint64_t count;
    _Atomic uint64_t bytes;
    _Atomic uint64_t kept_bytes; /* of records in the death logs */
    _Atomic uint64_t relocations;
};

struct btree_snapshot {
    struct btree *tree;
    struct node *root;
    uint64_t generation; /* of the nodes it sees: not above this */
    struct btree_snapshot *older, *newer;
    struct deaths *log;   /* the dead; only the first batch takes more      */
    struct deaths *spare; /* empty: what is reserved cannot be refused later */
    uint64_t spare_count;
};

/* ---- objects: nodes, pivots, records ------------------------------------ */

static void *object_ptr(uintptr_t object) {
    return (void *) (object & ~(uintptr_t) OBJECT_KIND_MASK);
}

static size_t object_bytes(uintptr_t object) {
    switch (object & OBJECT_KIND_MASK) {
    case OBJECT_NODE:
        return node_bytes(object_ptr(object));
    case OBJECT_PIVOT:
        return pivot_bytes(object_ptr(object));
    default:
        return record_bytes(object_ptr(object));
    }
}

/* Only the owner writes the counters: a load and a store, no locked addition. */
static void counter_add(_Atomic uint64_t *counter, int64_t change) {
    uint64_t was = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, was + (uint64_t) change, memory_order_relaxed);
}

static void account(struct btree *t, uintptr_t object, int sign) {
    if ((object & OBJECT_KIND_MASK) == OBJECT_RECORD)
        return; /* they are the store's affair */
    counter_add(&t->bytes, sign * (int64_t) object_bytes(object));
    t->objects += (uint64_t) (int64_t) sign;
}

/* No new reader can reach it and no snapshot sees it. */
static void object_retire(struct btree *t, uintptr_t object) {
    account(t, object, -1);
#ifdef EG_PLANT_NODE_WITHOUT_GRACE /* a defect for the stress test to find */
    if ((object & OBJECT_KIND_MASK) != OBJECT_RECORD) {
        slab_put(t->opts.slab, object_ptr(object), object_bytes(object));
        return;
    }
#endif
    epoch_retire(t->opts.bin, slab_free, t->opts.slab, object_ptr(object), object_bytes(object));
}

/* Nodes and pivots are in `bytes` until they are retired. */
static size_t kept_bytes_of(uintptr_t object) {
    uintptr_t kind = object & OBJECT_KIND_MASK;

    return kind == OBJECT_NODE || kind == OBJECT_PIVOT ? 0 : object_bytes(object);
}

static bool snapshot_sees(const struct btree_snapshot *s, uintptr_t object) {
    switch (object & OBJECT_KIND_MASK) {
    case OBJECT_NODE:
        return ((struct node *) object_ptr(object))->generation <= s->generation;
    case OBJECT_PIVOT:
        return ((struct pivot *) object_ptr(object))->generation <= s->generation;
    default:
        return true; /* it may */
    }
}

/* Room in the newest snapshot's log for `count` deaths. */
static eg_err deaths_reserve(struct btree *t, uint64_t count) {
    struct btree_snapshot *s = t->newest;

    if (s == NULL)
        return EG_OK;
    while (s->spare_count * DEATHS_BATCH < count) {
        struct deaths *batch = alloc_get(t->opts.alloc, sizeof *batch);
        if (batch == NULL)
            return EG_MEMORY;
        batch->count = 0;
        batch->next = s->spare;
        s->spare = batch;
        s->spare_count++;
    }
    return EG_OK;
}

/* The live tree has let go of `object`.  Room was reserved. */
static void object_bury(struct btree *t, uintptr_t object) {
    struct btree_snapshot *s = t->newest;

    if (s == NULL || !snapshot_sees(s, object)) {
        object_retire(t, object);
        return;
    }
    if (s->log == NULL || s->log->count == DEATHS_BATCH) {
        struct deaths *batch = s->spare;
        EG_ASSERT(batch != NULL);
        s->spare = batch->next;
        s->spare_count--;
        batch->next = s->log;
        s->log = batch;
    }
    s->log->object[s->log->count++] = object;
    counter_add(&t->kept_bytes, (int64_t) kept_bytes_of(object));
}

/* ---- changes: begin, make, publish, finish, undo ------------------------ */

static eg_err change_begin(struct btree *t, struct btree_change *c) {
    c->old = NULL;
    c->count_change = 0;
    c->made_count = c->dead_count = 0;
    return deaths_reserve(t, 2 * BTREE_TOUCH_MAX); /* two may be open: remove and insert */
}

static void *change_make(struct btree *t, struct btree_change *c, size_t size) {
    EG_ASSERT(c->made_count < BTREE_TOUCH_MAX);
    return slab_get(t->opts.slab, size);
}

static struct node *change_make_node(struct btree *t, struct btree_change *c,
                                     const struct draft *d) {
    struct node *n = change_make(t, c, draft_bytes(d));

    if (n == NULL)
        return NULL;
    node_init(n, d, t->generation);
    c->made[c->made_count++] = (uintptr_t) n | OBJECT_NODE;
    account(t, (uintptr_t) n | OBJECT_NODE, +1);
    return n;
}

static struct pivot *change_make_pivot(struct btree *t, struct btree_change *c,
                                       const struct record *rec) {
    struct pivot *p = change_make(t, c, pivot_bytes_for(&t->opts.order, rec));

    if (p == NULL)
        return NULL;
    pivot_init(p, &t->opts.order, rec, t->generation);
    c->made[c->made_count++] = (uintptr_t) p | OBJECT_PIVOT;
    account(t, (uintptr_t) p | OBJECT_PIVOT, +1);
    return p;
}

static void change_kill(struct btree_change *c, const void *ptr, enum object_kind kind) {
    EG_ASSERT(c->dead_count < BTREE_TOUCH_MAX);
    EG_ASSERT(((uintptr_t) ptr & OBJECT_KIND_MASK) == 0);
    c->dead[c->dead_count++] = (uintptr_t) ptr | kind;
}

/* Nobody has seen what was made. */
static eg_err change_abandon(struct btree *t, struct btree_change *c) {
    for (uint32_t i = 0; i < c->made_count; i++) {
        account(t, c->made[i], -1);
        slab_put(t->opts.slab, object_ptr(c->made[i]), object_bytes(c->made[i]));
    }
    return EG_MEMORY;
}

static eg_err change_publish(struct btree *t, struct btree_change *c, node_slot *at,
                             const void *now) {
    c->at = at;
    c->before = atomic_load_explicit(at, memory_order_relaxed);
    atomic_store_explicit(at, (void *) now, memory_order_release);
    counter_add(&t->count, c->count_change);
    return EG_OK;
}

void btree_finish(struct btree *t, struct btree_change *c) {
    for (uint32_t i = 0; i < c->dead_count; i++)
        object_bury(t, c->dead[i]);
}

void btree_undo(struct btree *t, struct btree_change *c) {
    atomic_store_explicit(c->at, c->before, memory_order_release);
    counter_add(&t->count, -c->count_change);
    for (uint32_t i = 0; i < c->made_count; i++)
        object_retire(t, c->made[i]);
}

/* ---- from the leaf upwards ---------------------------------------------- */

struct path {
    uint32_t depth; /* of the leaf's step */
    struct {
        struct node *node;
        uint32_t at; /* the child taken; in the leaf: where the probe stands */
    } step[BTREE_HEIGHT_MAX];
    bool exact;
    bool rightmost; /* behind everything in the tree */
};

static void path_find(struct path *path, struct node *root, const struct probe *p) {
    struct node *n = root;

    path->depth = 0;
    path->rightmost = true;
    for (;; path->depth++) {
        uint32_t at;
        EG_ASSERT(path->depth < BTREE_HEIGHT_MAX);
        path->step[path->depth].node = n;
        if (n->level == 0)
            break;
        at = node_find_child(n, p, false);
        path->step[path->depth].at = at;
        path->rightmost = path->rightmost && at == n->count - 1u;
        n = node_child(n, at);
    }
    path->step[path->depth].at = node_find(n, p, false, &path->exact);
    path->rightmost = path->rightmost && path->step[path->depth].at == n->count;
}

static bool node_writable(const struct btree *t, const struct node *n) {
#ifdef EG_PLANT_FROZEN_NODE_WRITTEN /* a defect for the stress test to find */
    if (n != NULL)
        return true;
#endif
    return t->newest == NULL || n->generation > t->newest->generation;
}

/* Two nodes from one draft.  *pivot: what separates them. */
static bool split(struct btree *t, struct btree_change *c, const struct draft *d, uint32_t at,
                  struct node *half[2], struct pivot **pivot) {
    struct draft cut;

    draft_cut(&cut, d, 0, at);
    half[0] = change_make_node(t, c, &cut);
    draft_cut(&cut, d, at, d->count);
    half[1] = change_make_node(t, c, &cut);
    *pivot = d->level > 0 ? d->pivot[at] : change_make_pivot(t, c, d->slot[at]);
#ifdef EG_PLANT_WRONG_PIVOT /* a defect for the stress test to find */
    if (d->level == 0)
        *pivot = change_make_pivot(t, c, d->slot[at - 1]);
#endif
    counter_add(&t->relocations, 1);
    return half[0] != NULL && half[1] != NULL && *pivot != NULL;
}

/* Child `at` of `parent` becomes two. */
static bool settle_split(struct btree *t, struct btree_change *c, struct draft *parent, uint32_t at,
                         const struct draft *d, uint32_t cut_at) {
    struct node *half[2];
    struct pivot *pivot;
    struct probe p;

    if (!split(t, c, d, cut_at, half, &pivot))
        return false;
    probe_of_pivot(&p, &t->opts.order, pivot);
    parent->slot[at] = half[0];
    draft_insert(parent, at + 1, &p, half[1], pivot);
    return true;
}

/* Child `at` of `parent`, which is too small, and a neighbour become one or two. */
static bool settle_join(struct btree *t, struct btree_change *c, struct draft *parent, uint32_t at,
                        struct draft *d) {
    uint32_t left_at = at + 1 < parent->count ? at : at - 1;
    struct node *neighbour = parent->slot[left_at == at ? at + 1 : left_at];
    struct pivot *pivot = parent->pivot[left_at + 1];
    struct draft other;
    struct draft *left = left_at == at ? d : &other;

    draft_load(&other, &t->opts.order, neighbour);
    draft_join(left, left == d ? &other : d, pivot);
    change_kill(c, neighbour, OBJECT_NODE);
    if (d->level == 0)
        change_kill(c, pivot, OBJECT_PIVOT); /* else it has come down */
    draft_remove(parent, left_at + 1);
    counter_add(&t->relocations, 1);
    if (left->count > NODE_ENTRIES_MAX)
        return settle_split(t, c, parent, left_at, left, left->count / 2);
    parent->slot[left_at] = change_make_node(t, c, left);
    return parent->slot[left_at] != NULL;
}

/* Child `at` of `parent` is empty. */
static void settle_empty(struct btree_change *c, struct draft *parent, uint32_t at) {
    if (parent->count > 1)
        change_kill(c, parent->pivot[EG_MAX(at, 1u)], OBJECT_PIVOT);
    draft_remove(parent, at);
}

static eg_err rise_to_root(struct btree *t, struct btree_change *c, struct draft *d,
                           uint32_t cut_at) {
    struct node *root;

    if (d->count == 0)
        return change_publish(t, c, &t->root, NULL);
    if (d->level > 0 && d->count == 1)
        return change_publish(t, c, &t->root, d->slot[0]);
    if (d->count > NODE_ENTRIES_MAX) {
        struct draft top;
        struct node *half[2];
        struct pivot *pivot;
        if (!split(t, c, d, cut_at, half, &pivot))
            return change_abandon(t, c);
        draft_begin(&top, &t->opts.order, d->level + 1);
        draft_push_child(&top, half[0], NULL);
        draft_push_child(&top, half[1], pivot);
        root = change_make_node(t, c, &top);
    } else {
        root = change_make_node(t, c, d);
    }
    return root != NULL ? change_publish(t, c, &t->root, root) : change_abandon(t, c);
}

/* `d` is what the leaf of `path` is to become: write it, and whatever must change
 * above it, up to the first ancestor where one store publishes it all. */
static eg_err rise(struct btree *t, const struct path *path, struct draft *d,
                   struct btree_change *c, bool shrinking) {
    struct draft spare;
    struct draft *parent = &spare;

    change_kill(c, path->step[path->depth].node, OBJECT_NODE);
    for (uint32_t depth = path->depth; depth > 0; depth--) {
        struct node *up = path->step[depth - 1].node;
        uint32_t at = path->step[depth - 1].at;
        bool small = shrinking && d->count < NODE_ENTRIES_MIN && up->count > 1;
        bool large = d->count > NODE_ENTRIES_MAX;
        struct draft *risen = parent;

        if (d->count > 0 && !small && !large) {
            struct node *n = change_make_node(t, c, d);
            if (n == NULL)
                return change_abandon(t, c);
            if (node_writable(t, up))
                return change_publish(t, c, &node_slots(up)[at], n);
            draft_load(parent, &t->opts.order, up);
            parent->slot[at] = n;
        } else {
            bool done = true;
            draft_load(parent, &t->opts.order, up);
            if (d->count == 0)
                settle_empty(c, parent, at);
            else if (small)
                done = settle_join(t, c, parent, at, d);
            else /* keys that only ascend leave full nodes behind */
                done = settle_split(t, c, parent, at, d,
                                    path->rightmost ? d->count - 1 : d->count / 2);
            if (!done)
                return change_abandon(t, c);
        }
        change_kill(c, up, OBJECT_NODE);
        parent = d;
        d = risen;
    }
    return rise_to_root(t, c, d, path->rightmost ? d->count - 1 : d->count / 2);
}

/* ---- put and remove ----------------------------------------------------- */

static eg_err put_first(struct btree *t, const struct probe *p, const struct record *rec,
                        struct btree_change *c) {
    struct draft d;

    draft_begin(&d, &t->opts.order, 0);
    draft_insert(&d, 0, p, (void *) rec, NULL);
    return rise_to_root(t, c, &d, 0);
}

eg_err btree_put(struct btree *t, const struct probe *p, const struct record *rec,
                 struct btree_change *c) {
    struct node *root = atomic_load_explicit(&t->root, memory_order_relaxed);
    struct path path;
    struct node *leaf;
    uint32_t at;
    struct draft d;

    EG_ASSERT(p->complete);
    if (change_begin(t, c) != EG_OK)
        return EG_MEMORY;
    c->count_change = 1;
    if (root == NULL)
        return put_first(t, p, rec, c);

    path_find(&path, root, p);
    leaf = path.step[path.depth].node;
    at = path.step[path.depth].at;
    if (path.exact) {
        c->old = node_record(leaf, at);
        c->count_change = 0;
        if (t->opts.owns_records)
            change_kill(c, c->old, OBJECT_RECORD);
        if (node_writable(t, leaf))
            return change_publish(t, c, &node_slots(leaf)[at], rec);
    }
    draft_load(&d, &t->opts.order, leaf);
    if (path.exact)
        d.slot[at] = (void *) rec;
    else
        draft_insert(&d, at, p, (void *) rec, NULL);
    return rise(t, &path, &d, c, false);
}

eg_err btree_remove(struct btree *t, const struct probe *p, struct btree_change *c) {
    struct node *root = atomic_load_explicit(&t->root, memory_order_relaxed);
    struct path path;
    struct draft d;

    EG_ASSERT(p->complete);
    if (root == NULL)
        return EG_NOT_FOUND;
    path_find(&path, root, p);
    if (!path.exact)
        return EG_NOT_FOUND;
    if (change_begin(t, c) != EG_OK)
        return EG_MEMORY;
    c->count_change = -1;
    c->old = node_record(path.step[path.depth].node, path.step[path.depth].at);
    if (t->opts.owns_records)
        change_kill(c, c->old, OBJECT_RECORD);
    draft_load(&d, &t->opts.order, path.step[path.depth].node);
    draft_remove(&d, path.step[path.depth].at);
    return rise(t, &path, &d, c, true);
}

/* ---- the whole tree ----------------------------------------------------- */

eg_err btree_open(struct btree **out, const struct btree_opts *o) {
    struct btree *t;

    EG_ASSERT(o->order.parts >= 1 && o->order.parts <= ORDER_PARTS_MAX);
    t = slab_get(o->slab, sizeof *t);
    if (t == NULL)
        return EG_MEMORY;
    *t = (struct btree){.opts = *o, .generation = 1};
    *out = t;
    return EG_OK;
}

/* Call `visit` on every object below `n`, children before parents. */
static void each_object(struct btree *t, struct node *n,
                        void (*visit)(struct btree *t, uintptr_t object)) {
    for (uint32_t i = 0; i < n->count; i++) {
        if (n->level > 0)
            each_object(t, node_child(n, i), visit);
        if (n->level > 0 && i > 0)
            visit(t, (uintptr_t) node_pivots(n)[i] | OBJECT_PIVOT);
        if (n->level == 0 && t->opts.owns_records)
            visit(t, (uintptr_t) node_record(n, i) | OBJECT_RECORD);
    }
    visit(t, (uintptr_t) n | OBJECT_NODE);
}

eg_err btree_clear(struct btree *t) {
    struct node *root = atomic_load_explicit(&t->root, memory_order_relaxed);

    if (root == NULL)
        return EG_OK;
    if (deaths_reserve(t, t->objects + atomic_load_explicit(&t->count, memory_order_relaxed)) !=
        EG_OK)
        return EG_MEMORY;
    atomic_store_explicit(&t->root, NULL, memory_order_release);
    atomic_store_explicit(&t->count, 0, memory_order_relaxed);
    each_object(t, root, object_bury);
    return EG_OK;
}

void btree_close(struct btree *t) {
    EG_ASSERT(t->newest == NULL);
    slab_put(t->opts.slab, t, sizeof *t);
}

void btree_retire(struct btree *t) {
    eg_err err;

    EG_ASSERT(t->newest == NULL);
    err = btree_clear(t);
    EG_ASSERT(err == EG_OK); /* without a snapshot it takes no memory */
    EG_ASSERT(t->objects == 0);
    epoch_retire(t->opts.bin, slab_free, t->opts.slab, t, sizeof *t);
}

const struct order *btree_order(const struct btree *t) {
    return &t->opts.order;
}

struct btree_stats btree_stats(const struct btree *t) {
    return (struct btree_stats){
        .count = atomic_load_explicit(&t->count, memory_order_relaxed),
        .bytes = atomic_load_explicit(&t->bytes, memory_order_relaxed),
        .kept_bytes = atomic_load_explicit(&t->kept_bytes, memory_order_relaxed),
        .relocations = atomic_load_explicit(&t->relocations, memory_order_relaxed),
    };
}

/* ---- reading ------------------------------------------------------------ */

static const struct node *root_of(const struct btree *t, const struct btree_snapshot *s) {
    return s != NULL ? s->root : atomic_load_explicit(&t->root, memory_order_acquire);
}

const struct node *btree_root(const struct btree *t) {
    return root_of(t, NULL);
}

static const struct node *descend(const struct node *n, const struct probe *p) {
    while (n != NULL && n->level > 0) {
        n = node_child(n, node_find_child(n, p, false));
        node_prefetch(n);
    }
    return n;
}

static const struct record *leaf_get(const struct node *leaf, const struct probe *p) {
    bool exact;
    uint32_t at;

    if (leaf == NULL)
        return NULL;
    at = node_find(leaf, p, false, &exact);
    return exact ? node_record(leaf, at) : NULL;
}

const struct record *btree_get(const struct btree *t, const struct probe *p) {
    const struct record *rec = NULL;
    struct btree_iter it;

    if (p->complete)
        return leaf_get(descend(root_of(t, NULL), p), p);
    btree_seek(&it, t, NULL, p, false, false);
    rec = btree_next(&it);
    return rec != NULL && probe_compare(p, rec) == 0 ? rec : NULL;
}

/* All take a step down, then all the next: while one node is waited for, those of
 * the others are on their way. */
void btree_get_many(const struct btree *const *trees, const struct probe *probes, size_t n,
                    const struct record **out) {
    const struct node *at[BTREE_MANY_MAX];
    bool arrived = false;

    EG_ASSERT(n <= BTREE_MANY_MAX);
    for (size_t i = 0; i < n; i++) /* a run of records may begin at the end of a leaf */
        at[i] = probes[i].complete ? root_of(trees[i], NULL) : NULL;
    while (!arrived) {
        arrived = true;
        for (size_t i = 0; i < n; i++) {
            if (at[i] == NULL || at[i]->level == 0)
                continue;
            at[i] = node_child(at[i], node_find_child(at[i], &probes[i], false));
            node_prefetch(at[i]);
            arrived = false;
        }
    }
    for (size_t i = 0; i < n; i++)
        if (at[i] != NULL)
            node_prefetch_record(at[i], &probes[i]);
    for (size_t i = 0; i < n; i++)
        out[i] = at[i] != NULL ? leaf_get(at[i], &probes[i]) : btree_get(trees[i], &probes[i]);
}

/* How far ahead of a scan records are fetched: about a cache miss's worth of them. */
enum { SCAN_AHEAD = 8 };

static void iter_prefetch(const struct btree_iter *it, uint32_t steps) {
    if (!it->reverse && it->at + steps < it->leaf->count)
        EG_PREFETCH(node_record(it->leaf, it->at + steps));
    else if (it->reverse && it->at > steps)
        EG_PREFETCH(node_record(it->leaf, it->at - 1 - steps));
}

static bool iter_at_end(const struct btree_iter *it) {
    return it->reverse ? it->at == 0 : it->at == it->leaf->count;
}

/* Stand at the beginning of what is below child `at` of `n`. */
static void iter_enter(struct btree_iter *it, const struct node *n, uint32_t at) {
    while (n->level > 0) {
        it->parent = n;
        it->parent_at = at;
        n = node_child(n, at);
        at = it->reverse ? n->count - 1u : 0;
    }
    it->leaf = n;
    it->at = it->reverse ? n->count : 0;
}

void btree_seek(struct btree_iter *it, const struct btree *t, const struct btree_snapshot *s,
                const struct probe *p, bool after, bool reverse) {
    const struct node *n = root_of(t, s);
    const struct node *fork = NULL; /* where the neighbouring subtree hangs */
    uint32_t fork_at = 0;
    bool behind = after != reverse; /* the place is behind what equals the probe */
    bool exact;

    *it = (struct btree_iter){.tree = t, .snapshot = s, .reverse = reverse};
    if (n == NULL)
        return;
    if (p == NULL) {
        iter_enter(it, n, reverse ? n->count - 1u : 0);
    } else {
        while (n->level > 0) {
            uint32_t at = node_find_child(n, p, behind);
            if (reverse ? at > 0 : at + 1 < n->count) {
                fork = n;
                fork_at = reverse ? at - 1 : at + 1;
            }
            it->parent = n;
            it->parent_at = at;
            n = node_child(n, at);
            node_prefetch(n);
        }
        it->leaf = n;
        it->at = node_find(n, p, behind, &exact);
        if (iter_at_end(it) && fork == NULL)
            it->leaf = NULL;
        else if (iter_at_end(it))
            iter_enter(it, fork, fork_at);
    }
    for (uint32_t i = 0; it->leaf != NULL && i < SCAN_AHEAD; i++)
        iter_prefetch(it, i);
}

/* The leaf has been gone through: to the next.  What a child of one node may hold never
 * changes, so the parent's next child goes on where the leaf ended, whatever was written
 * meanwhile; where the parent ends too, look behind the last record again.  False: the end. */
static bool iter_go_on(struct btree_iter *it) {
    uint32_t last = it->reverse ? 0 : it->leaf->count - 1u;
    struct probe p;

    if (it->parent != NULL &&
        (it->reverse ? it->parent_at > 0 : it->parent_at + 1 < it->parent->count)) {
        iter_enter(it, it->parent, it->reverse ? it->parent_at - 1 : it->parent_at + 1);
        return true;
    }
    probe_of_record(&p, &it->tree->opts.order, node_record(it->leaf, last));
    btree_seek(it, it->tree, it->snapshot, &p, true, it->reverse);
    return it->leaf != NULL;
}

const struct record *btree_next(struct btree_iter *it) {
    const struct record *rec;

    if (it->leaf == NULL || (iter_at_end(it) && !iter_go_on(it)))
        return NULL;
    iter_prefetch(it, SCAN_AHEAD);
    rec = node_record(it->leaf, it->reverse ? it->at - 1 : it->at);
    it->at += it->reverse ? UINT32_MAX : 1;
    return rec;
}

/* The leaf that comes next is wanted soon. */
static void iter_prefetch_leaf(const struct btree_iter *it) {
    if (it->parent != NULL && it->parent_at + 1 < it->parent->count)
        node_prefetch(node_child(it->parent, it->parent_at + 1));
}

uint32_t btree_next_many(struct btree_iter *it, const struct probe *end, const struct record **out,
                         uint32_t most) {
    uint32_t count = 0;

    EG_ASSERT(!it->reverse);
    while (count < most && it->leaf != NULL && (!iter_at_end(it) || iter_go_on(it))) {
        uint32_t until = end != NULL ? node_alike(it->leaf, end).to : it->leaf->count;
        uint32_t stop = EG_MIN(until, it->at + (most - count));

        if (until == it->leaf->count)
            iter_prefetch_leaf(it);
        if (it->at < stop) {
            node_records(it->leaf, it->at, stop, out + count);
            count += stop - it->at;
            it->at = stop;
        }
        if (it->at >= until && until < it->leaf->count)
            it->leaf = NULL;
    }
    return count;
}

/* ---- snapshots ---------------------------------------------------------- */

eg_err btree_snapshot_open(struct btree_snapshot **out, struct btree *t) {
    struct btree_snapshot *s = alloc_zero(t->opts.alloc, sizeof *s);

    if (s == NULL)
        return EG_MEMORY;
    s->tree = t;
    s->root = atomic_load_explicit(&t->root, memory_order_relaxed);
    s->generation = t->generation++;
    s->older = t->newest;
    if (t->newest != NULL)
        t->newest->newer = s;
    t->newest = s;
    *out = s;
    return EG_OK;
}

/* What `older` may still see stays in the batch, the rest is retired. */
static void deaths_settle(struct btree *t, struct deaths *batch,
                          const struct btree_snapshot *older) {
    uint64_t gone_bytes = 0;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < batch->count; i++) {
        if (older != NULL && snapshot_sees(older, batch->object[i])) {
            batch->object[kept++] = batch->object[i];
            continue;
        }
        gone_bytes += kept_bytes_of(batch->object[i]);
        object_retire(t, batch->object[i]);
    }
    batch->count = kept;
    counter_add(&t->kept_bytes, -(int64_t) gone_bytes);
}

void btree_snapshot_close(struct btree_snapshot *s) {
    struct btree *t = s->tree;
    struct deaths *batch, *next;

    for (batch = s->spare; batch != NULL; batch = next) {
        next = batch->next;
        alloc_put(t->opts.alloc, batch, sizeof *batch);
    }
    for (batch = s->log; batch != NULL; batch = next) {
        next = batch->next;
        deaths_settle(t, batch, s->older);
        if (batch->count == 0) {
            alloc_put(t->opts.alloc, batch, sizeof *batch);
        } else {
            batch->next = s->older->log;
            s->older->log = batch;
        }
    }
    if (s->older != NULL)
        s->older->newer = s->newer;
    if (s->newer != NULL)
        s->newer->older = s->older;
    else
        t->newest = s->older;
    alloc_put(t->opts.alloc, s, sizeof *s);
}

/* ---- checking ----------------------------------------------------------- */

struct check {
    const struct btree *tree;
    uint64_t records;
    uint64_t bytes;
};

/* Everything below `n` is at or above `low` and below `high` (NULL: no bound). */
static void check_node(struct check *k, const struct node *n, uint32_t level,
                       const struct pivot *low, const struct pivot *high) {
    EG_ASSERT(n->level == level);
    EG_ASSERT(n->generation <= k->tree->generation);
    node_check(n, &k->tree->opts.order);
    k->bytes += node_bytes(n);
    for (uint32_t i = 0; i < n->count; i++) {
        struct pivot *const *pivots = node_pivots(n);
        struct probe p;
        if (n->level > 0) {
            k->bytes += i > 0 ? pivot_bytes(pivots[i]) : 0;
            check_node(k, node_child(n, i), level - 1, i > 0 ? pivots[i] : low,
                       i + 1u < n->count ? pivots[i + 1] : high);
            continue;
        }
        probe_of_record(&p, &k->tree->opts.order, node_record(n, i));
        EG_ASSERT(low == NULL || probe_compare_pivot(&p, low) >= 0);
        EG_ASSERT(high == NULL || probe_compare_pivot(&p, high) < 0);
        k->records++;
    }
}

void btree_check(const struct btree *t) {
    const struct node *root = root_of(t, NULL);
    struct check k = {.tree = t};

    if (root != NULL)
        check_node(&k, root, root->level, NULL, NULL);
    EG_ASSERT(k.records == atomic_load_explicit(&t->count, memory_order_relaxed));
    if (t->newest == NULL)
        EG_ASSERT(k.bytes == atomic_load_explicit(&t->bytes, memory_order_relaxed));
    else
        EG_ASSERT(k.bytes <= atomic_load_explicit(&t->bytes, memory_order_relaxed));
}
