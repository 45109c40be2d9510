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
    uint32_t state[NODES_MAX]; /* by member */
    uint64_t held[NODES_MAX];
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

static uint64_t held_of(const struct entry *e) {
    uint64_t held = 0;

    for (uint32_t i = 0; i < e->shards; i++)
        held += e->worth[i] != REPLICA_NONE;
    return held;
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
            uint64_t state;

            e->member = i;
            if (value_is_integer(one) && value_get_u64(one, &state))
                r->state[i] = (uint32_t) state;
            else if (read_entry(one, e))
                r->held[i] += held_of(&r->entry[r->count++]);
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

uint32_t replica_reports_state(const struct replica_reports *r, uint32_t member) {
    return r->state[member];
}

uint64_t replica_reports_held(const struct replica_reports *r, uint32_t member) {
    return r->held[member];
}

/* What each member's copy of the shard is worth.  False: nobody has told of the table. */
static bool worth_of(const struct replica_reports *r, uint64_t table, uint32_t shard,
                     uint8_t worth[NODES_MAX]) {
    uint32_t low = 0, high = r->count;
    bool told = false;

    memset(worth, REPLICA_NONE, NODES_MAX);
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (r->entry[middle].table < table)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < r->count && r->entry[low].table == table; low++) {
        const struct entry *e = &r->entry[low];
        told = true;
        if (shard < e->shards)
            worth[e->member] = EG_MIN(e->worth[shard], (uint8_t) REPLICA_FULL_OF_NOTHING);
    }
    return told;
}

bool replica_reports_has_full(const struct replica_reports *r, uint64_t table, uint32_t shard) {
    uint8_t worth[NODES_MAX];
    bool told = worth_of(r, table, shard, worth), full = false;

    for (uint32_t i = 0; i < NODES_MAX; i++)
        full |= worth[i] >= REPLICA_FULL;
    return full || !told;
}

/* ---- the plan ----------------------------------------------------------------------------- */

struct figures {
    uint8_t worth[NODES_MAX]; /* by member; of nothing is FULL here */
    bool nothing[NODES_MAX];  /* of that */
    uint32_t rank[NODES_MAX]; /* its place in the order of all nodes; NODES_MAX: in none */
    bool placed[NODES_MAX];   /* it should have a copy */
    bool told;                /* of the table, by somebody */
    bool all_full;            /* of those that should */
    uint32_t placed_in_view, wanted;
    uint32_t heirs;     /* in the view, stand-ins too */
    bool all_filled_up; /* the discs of all who have it FULL take no more */
};

static int member_of(const struct view *v, uint64_t id) {
    const struct view_member *m = view_find(v, id);
    return m == NULL ? -1 : (int) (m - v->member);
}

static bool says(const struct replica_plan_opts *o, uint32_t m, enum replica_state state) {
    return (o->reports->state[m] & state) != 0;
}

/* It cannot keep up. */
static bool is_ill(const struct replica_plan_opts *o, uint32_t m) {
    return says(o, m, o->on_disc ? REPLICA_DISC_FULL : REPLICA_DISC_LOST);
}

/* Who is full is behind whoever can go on. */
static void demote(const struct replica_plan_opts *o, struct figures *f) {
    bool any = false, any_open = false;

    for (uint32_t i = 0; i < o->view->count; i++) {
        any |= f->worth[i] == REPLICA_FULL;
        any_open |= f->worth[i] == REPLICA_FULL && !is_ill(o, i);
    }
    f->all_filled_up = any && !any_open;
    for (uint32_t i = 0; i < o->view->count && any_open; i++)
        if (f->worth[i] == REPLICA_FULL && is_ill(o, i))
            f->worth[i] = REPLICA_SOME;
}

static void place(const struct replica_plan_opts *o, struct figures *f) {
    uint32_t partition = placement_partition(o->shard, o->shards);
    struct placement_node nodes[NODES_MAX];
    uint64_t order[NODES_MAX];
    uint32_t count, placed;

    memcpy(nodes, o->nodes, o->node_count * sizeof *nodes);
    for (uint32_t i = 0; i < o->node_count; i++) {
        int m = member_of(o->view, nodes[i].id);
        nodes[i].eligible &= m < 0 || !says(o, (uint32_t) m, REPLICA_LEAVING);
    }
    for (uint32_t i = 0; i < NODES_MAX; i++)
        f->rank[i] = NODES_MAX;
    count = placement_copies(nodes, o->node_count, o->group, partition, 0, order, &placed);
    for (uint32_t i = 0; i < count; i++) {
        int m = member_of(o->view, order[i]);
        if (m >= 0)
            f->rank[m] = i;
    }
    count =
        placement_copies(nodes, o->node_count, o->group, partition, o->copies, order, &f->wanted);
    f->all_full = true;
    for (uint32_t i = 0; i < count; i++) {
        int m = member_of(o->view, order[i]);
        if (m < 0)
            continue;
        f->placed[m] = true;
        f->heirs++;
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
    if (f->worth[a] != REPLICA_FULL && is_ill(o, a) != is_ill(o, b))
        return is_ill(o, b);
    if (f->worth[a] == REPLICA_FULL && !view_id_equal(x, y) && f->nothing[a] != f->nothing[b])
        return f->nothing[b];
    if (!PLANTED(SKEWED_IS_MASTER) && says(o, a, REPLICA_SKEWED) != says(o, b, REPLICA_SKEWED))
        return says(o, b, REPLICA_SKEWED);
    if (f->worth[a] == REPLICA_FULL && !view_id_equal(x, y)) {
        uint32_t of_a = kin_of(o, f, a), of_b = kin_of(o, f, b);

        if (of_a != of_b)
            return of_a > of_b;
        return x.epoch != y.epoch ? x.epoch > y.epoch : x.hash > y.hash;
    }
    return f->rank[a] < f->rank[b];
}

static bool is_holder(const struct figures *f, uint32_t m) {
    return f->placed[m] || f->worth[m] != REPLICA_NONE;
}

/* It is not needed any more: all that should have a copy have it, and it has nothing of its own. */
static bool may_drop(const struct replica_plan_opts *o, const struct figures *f, uint32_t m,
                     uint32_t master) {
    bool enough = says(o, m, REPLICA_LEAVING) ? f->heirs != 0 : f->placed_in_view == f->wanted;

    return !f->placed[m] && m != master && f->all_full && enough && f->worth[m] == REPLICA_FULL &&
           same_lineage(o->view, m, master);
}

/* Those who should have it are away, and what is here is not all of it. */
static bool is_orphan(const struct figures *f, uint32_t master) {
    return f->told && f->placed_in_view == 0 && f->wanted != 0 && f->worth[master] != REPLICA_FULL;
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
    memset(&f, 0, sizeof f);
    f.told = worth_of(o->reports, o->table, o->shard, f.worth);
    for (uint32_t i = 0; i < v->count; i++) {
        f.nothing[i] = f.worth[i] == REPLICA_FULL_OF_NOTHING;
        f.worth[i] = EG_MIN(f.worth[i], (uint8_t) REPLICA_FULL);
    }
    demote(o, &f);
    place(o, &f);
    p->settled = f.wanted != 0 && all_there(o);
    for (uint32_t i = 0; i < v->count; i++)
        if (is_holder(&f, i) && (master < 0 || is_better(o, &f, i, (uint32_t) master)))
            master = (int) i;
    if (master < 0 || self < 0 || is_orphan(&f, (uint32_t) master))
        return;
    p->master = v->member[master].id;
    p->drop = may_drop(o, &f, (uint32_t) self, (uint32_t) master);
    p->here = is_holder(&f, (uint32_t) self) && !p->drop;
    p->waits = self != master && f.worth[self] != REPLICA_FULL && is_ill(o, (uint32_t) self);
    p->worst = f.all_filled_up;
    for (uint32_t i = 0; i < v->count; i++) {
        bool like_master = f.worth[i] == f.worth[master] &&
                           (f.worth[i] != REPLICA_FULL || same_lineage(v, i, (uint32_t) master));

        if ((int) i == self || !is_holder(&f, i) || may_drop(o, &f, i, (uint32_t) master))
            continue;
        p->holder[p->count++] =
            (struct replica_holder){v->member[i].id, like_master,
                                    f.worth[i] != REPLICA_FULL && is_ill(o, i), !is_ill(o, i)};
    }
}
