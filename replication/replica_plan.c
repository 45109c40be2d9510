/* replica_plan.c -- a pure function of view, reports and placement. */
#include "replication/replica_plan.h"

#include "engine/planted.h"
#include "tables/schema.h"

#include <stdlib.h>
#include <string.h>

/* ---- reports ------------------------------------------------------------------------- */

struct entry {
    uint64_t table;
    uint32_t member; /* its number in the view */
    uint32_t shards;
    const uint8_t *worth; /* one byte a shard */
};

struct replica_reports {
    struct alloc *alloc;
    uint32_t count, room;
    struct entry *entry; /* by table, then member */
};

void replica_report_put(struct value_writer *w, uint64_t table, const uint8_t *worth,
                        uint32_t shards) {
    value_put_array(w, 2);
    value_put_u64(w, table);
    value_put_binary(w, worth, shards);
}

static int entry_compare(const void *a, const void *b) {
    const struct entry *x = a, *y = b;

    if (x->table != y->table)
        return x->table < y->table ? -1 : 1;
    return x->member < y->member ? -1 : x->member > y->member;
}

/* What is malformed is as if it had not been said. */
static bool read_entry(struct value v, struct entry *e) {
    struct value_iter it;
    struct value f;

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != 2)
        return false;
    it = value_iter_of(v);
    return value_iter_next(&it, &f) && value_is_integer(f) && value_get_u64(f, &e->table) &&
           value_iter_next(&it, &f) && value_kind_of(f) == VALUE_BINARY &&
           value_get_bytes(f, &e->worth, &e->shards) && e->shards <= SCHEMA_SHARDS_MAX;
}

static struct value report_of(const struct view_member *m) {
    static const uint8_t nothing[] = {0x90};
    bool any = m->report.size_bytes != 0 && value_kind_of(m->report) == VALUE_ARRAY;

    return any ? m->report : (struct value){nothing, 1};
}

eg_err replica_reports_open(struct replica_reports **out, struct alloc *a, const struct view *v) {
    struct replica_reports *r = alloc_zero(a, sizeof *r);

    if (r == NULL)
        return EG_MEMORY;
    r->alloc = a;
    for (uint32_t i = 0; i < v->count; i++)
        r->room += value_count(report_of(&v->member[i]));
    r->entry = alloc_get(a, EG_MAX(r->room, 1u) * sizeof *r->entry);
    if (r->entry == NULL) {
        alloc_put(a, r, sizeof *r);
        return EG_MEMORY;
    }
    for (uint32_t i = 0; i < v->count; i++) {
        struct value_iter it = value_iter_of(report_of(&v->member[i]));
        struct value one;

        while (value_iter_next(&it, &one)) {
            struct entry *e = &r->entry[r->count];
            e->member = i;
            r->count += read_entry(one, e);
        }
    }
    qsort(r->entry, r->count, sizeof *r->entry, entry_compare);
    *out = r;
    return EG_OK;
}

void replica_reports_close(struct replica_reports *r) {
    if (r == NULL)
        return;
    alloc_put(r->alloc, r->entry, EG_MAX(r->room, 1u) * sizeof *r->entry);
    alloc_put(r->alloc, r, sizeof *r);
}

/* What each member's copy of the shard is worth. */
static void worth_of(const struct replica_plan_opts *o, uint8_t worth[NODES_MAX],
                     bool ill[NODES_MAX]) {
    const struct replica_reports *r = o->reports;
    uint32_t low = 0, high = r->count;

    memset(worth, REPLICA_NONE, NODES_MAX);
    memset(ill, 0, NODES_MAX * sizeof *ill);
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (r->entry[middle].table < o->table)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < r->count && r->entry[low].table == o->table; low++) {
        const struct entry *e = &r->entry[low];
        uint8_t said = o->shard < e->shards ? e->worth[o->shard] : (uint8_t) REPLICA_NONE;

        ill[e->member] = (said & REPLICA_ILL) != 0;
        worth[e->member] = EG_MIN((uint8_t) (said & REPLICA_WORTH),
                                  (uint8_t) (ill[e->member] ? REPLICA_SOME : REPLICA_FULL));
    }
}

/* ---- the plan ----------------------------------------------------------------------------- */

struct figures {
    uint8_t worth[NODES_MAX]; /* by member */
    bool ill[NODES_MAX];
    uint32_t rank[NODES_MAX]; /* its place in the order of all nodes; NODES_MAX: in none */
    bool placed[NODES_MAX];   /* it should have a copy */
    bool all_full;            /* of those that should */
    uint32_t placed_in_view, wanted;
};

static int member_of(const struct view *v, uint64_t id) {
    const struct view_member *m = view_find(v, id);
    return m == NULL ? -1 : (int) (m - v->member);
}

static void place(const struct replica_plan_opts *o, struct figures *f) {
    uint32_t partition = placement_partition(o->shard, o->shards);
    uint64_t order[NODES_MAX];
    uint32_t count, placed;

    for (uint32_t i = 0; i < NODES_MAX; i++)
        f->rank[i] = NODES_MAX;
    count = placement_copies(o->nodes, o->node_count, o->group, partition, 0, order, &placed);
    for (uint32_t i = 0; i < count; i++) {
        int m = member_of(o->view, order[i]);
        if (m >= 0)
            f->rank[m] = i;
    }
    count = placement_copies(o->nodes, o->node_count, o->group, partition, o->copies, order,
                             &f->wanted);
    f->all_full = true;
    for (uint32_t i = 0; i < count; i++) {
        int m = member_of(o->view, order[i]);
        if (m < 0)
            continue;
        f->placed[m] = true;
        f->placed_in_view += i < f->wanted;
        f->all_full &= f->worth[m] == REPLICA_FULL;
    }
}

static bool same_lineage(const struct view *v, uint32_t a, uint32_t b) {
    return view_id_equal(v->member[a].lineage, v->member[b].lineage);
}

/* How many are FULL of the same lineage. */
static uint32_t kin_of(const struct replica_plan_opts *o, const struct figures *f, uint32_t m) {
    uint32_t kin = 0;

    for (uint32_t i = 0; i < o->view->count; i++)
        kin += f->worth[i] == REPLICA_FULL && same_lineage(o->view, i, m);
    return kin;
}

/* Is member `a` the better master?  Both are worth the same, or more than nothing. */
static bool is_better(const struct replica_plan_opts *o, const struct figures *f, uint32_t a,
                      uint32_t b) {
    const struct view_id x = o->view->member[a].lineage, y = o->view->member[b].lineage;

    if (f->worth[a] != f->worth[b])
        return f->worth[a] > f->worth[b];
    if (PLANTED(TWO_MASTERS) && f->worth[a] == REPLICA_FULL)
        return o->view->member[a].id == o->self;
    if (f->worth[a] == REPLICA_FULL && !view_id_equal(x, y)) {
        uint32_t of_a = kin_of(o, f, a), of_b = kin_of(o, f, b);

        if (of_a != of_b)
            return of_a > of_b;
        return x.epoch != y.epoch ? x.epoch > y.epoch : x.hash > y.hash;
    }
    if (f->ill[a] != f->ill[b])
        return f->ill[b];
    return f->rank[a] < f->rank[b];
}

static bool is_holder(const struct figures *f, uint32_t m) {
    return f->placed[m] || f->worth[m] != REPLICA_NONE;
}

/* It is not needed any more: all that should have a copy have it, and it has nothing of its own. */
static bool may_drop(const struct replica_plan_opts *o, const struct figures *f, uint32_t m,
                     uint32_t master) {
    return !f->placed[m] && m != master && f->all_full && f->placed_in_view == f->wanted &&
           f->worth[m] == REPLICA_FULL && same_lineage(o->view, m, master);
}

/* Who has been placed elsewhere since it went may still have a copy. */
static bool all_there(const struct replica_plan_opts *o) {
    for (uint32_t i = 0; i < o->node_count; i++)
        if (o->nodes[i].eligible && view_find(o->view, o->nodes[i].id) == NULL)
            return false;
    return true;
}

void replica_plan_make(struct replica_plan *p, const struct replica_plan_opts *o) {
    const struct view *v = o->view;
    struct figures f;
    int self = member_of(v, o->self), master = -1;

    *p = (struct replica_plan){.view = v->id};
    worth_of(o, f.worth, f.ill);
    f.placed_in_view = f.wanted = 0;
    memset(f.placed, 0, sizeof f.placed);
    place(o, &f);
    p->settled = f.wanted != 0 && all_there(o);
    for (uint32_t i = 0; i < v->count; i++)
        if (is_holder(&f, i) && (master < 0 || is_better(o, &f, i, (uint32_t) master)))
            master = (int) i;
    if (master < 0 || self < 0)
        return;
    p->master = v->member[master].id;
    p->drop = may_drop(o, &f, (uint32_t) self, (uint32_t) master);
    p->here = is_holder(&f, (uint32_t) self) && !p->drop;
    for (uint32_t i = 0; i < v->count; i++) {
        bool like_master = f.worth[i] == f.worth[master] &&
                           (f.worth[i] != REPLICA_FULL || same_lineage(v, i, (uint32_t) master));

        if ((int) i == self || !is_holder(&f, i) || may_drop(o, &f, i, (uint32_t) master))
            continue;
        p->holder[p->count++] = (struct replica_holder){v->member[i].id, like_master, f.ill[i]};
    }
}
