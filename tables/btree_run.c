/* btree_run.c -- many trees gone down together for one value. */
#include "tables/btree_run.h"

#include "tables/btree_node.h"

enum {
    RECORDS_AHEAD = 4, /* of one tree; more than these hide each other's misses */
};

/* One level down.  The deepest ancestor that has a child to the right says whether equal
 * records can stand behind the leaf: where that child's pivot is greater, none can. */
static const struct node *step_down(struct btree_run *run, const struct node *n,
                                    const struct probe *p) {
    struct node_stretch alike = node_alike(n, p);
    uint32_t at = node_choose_child(n, p, false, alike);

    if (at + 1 < n->count)
        run->beyond = at + 1 < alike.to;
    return node_child(n, at);
}

static void find_leaves(struct btree_run *const *runs, size_t n, const struct probe *p) {
    bool arrived = false;

    while (!arrived) {
        arrived = true;
        for (size_t i = 0; i < n; i++) {
            const struct node *at = runs[i]->leaf;
            if (at == NULL || at->level == 0)
                continue;
            runs[i]->leaf = step_down(runs[i], at, p);
            node_prefetch_heads(runs[i]->leaf);
            arrived = false;
        }
    }
}

static void find_in_leaf(struct btree_run *run, const struct probe *p) {
    struct node_stretch alike = node_alike(run->leaf, p);

    run->at = alike.from;
    run->until = alike.to;
    run->beyond = run->beyond && alike.to == run->leaf->count;
    if (run->at < run->until)
        EG_PREFETCH(&node_slots(run->leaf)[run->at]);
}

static void ask_for_records(const struct btree_run *run) {
    uint32_t end = EG_MIN(run->until, run->at + RECORDS_AHEAD);

    for (uint32_t i = run->at; i < end; i++)
        record_prefetch(node_record(run->leaf, i));
}

void btree_run_find_many(struct btree_run *const *runs, const struct btree *const *trees, size_t n,
                         const struct probe *p) {
    EG_ASSERT(n <= BTREE_MANY_MAX);
    EG_ASSERT(!p->prefix);
    for (size_t i = 0; i < n; i++) {
        runs[i]->probe = p;
        runs[i]->leaf = btree_root(trees[i]);
        runs[i]->at = runs[i]->until = 0;
        runs[i]->beyond = runs[i]->going_on = false;
        runs[i]->rest.tree = trees[i];
        if (runs[i]->leaf != NULL)
            node_prefetch_heads(runs[i]->leaf);
    }
    find_leaves(runs, n, p);
    for (size_t i = 0; i < n; i++)
        if (runs[i]->leaf != NULL)
            find_in_leaf(runs[i], p);
    for (size_t i = 0; i < n; i++)
        ask_for_records(runs[i]);
}

/* The leaf, which may be the past by now, has been gone through.  Go on behind its last
 * record where that is one of the run; where the run has not begun, look for it anew, for
 * other records may have come between. */
static void leave_leaf(struct btree_run *run) {
    const struct record *last = node_record(run->leaf, run->leaf->count - 1u);
    int c = probe_compare(run->probe, last);

    run->going_on = true;
    if (c < 0)
        run->rest.leaf = NULL;
    else if (c > 0)
        btree_seek(&run->rest, run->rest.tree, NULL, run->probe, false, false);
    else
        run->rest =
            (struct btree_iter){.tree = run->rest.tree, .leaf = run->leaf, .at = run->leaf->count};
}

static bool is_of(const struct btree_run *run, const struct record *rec) {
    return order_begins(run->probe->order, rec, run->probe->part, run->probe->parts);
}

static const struct record *next_beyond(struct btree_run *run) {
    const struct record *rec;

    if (!run->going_on)
        leave_leaf(run);
    rec = btree_next(&run->rest);
    run->beyond = rec != NULL && is_of(run, rec);
    return run->beyond ? rec : NULL;
}

const struct record *btree_run_next(struct btree_run *run) {
    while (run->at < run->until) {
        const struct record *rec = node_record(run->leaf, run->at++);
        if (is_of(run, rec)) /* heads are short: others may look alike */
            return rec;
    }
    return run->beyond ? next_beyond(run) : NULL;
}
