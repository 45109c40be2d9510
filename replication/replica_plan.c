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
    const struct view *view;                              /* which outlives this */
    struct value known[NODES_MAX], electorate[NODES_MAX]; /* in its memory; size 0: not said */
    uint32_t state[NODES_MAX];                            /* by member */
    uint64_t held[NODES_MAX];
    bool complete; /* all whom any member knows are here */
    uint32_t count, room;
    struct entry *entry; /* by table, then member */
};

void replica_report_put(struct value_writer *w, uint64_t table, const uint8_t *worth,
                        uint32_t shards) {
    value_put_array(w, 2);
    value_put_u64(w, table);
    value_put_binary(w, worth, shards);
}

void replica_report_put_electorate(struct value_writer *w, const struct elector_list *known,
                                   const struct electorate *e) {
    value_put_array(w, 2);
    elector_list_put(w, known);
    if (e->epoch != 0)
        electorate_put(w, e);
    else
        value_put_nil(w);
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
        held += (e->worth[i] & REPLICA_WORTH_MASK) != REPLICA_NONE;
    return held;
}

static bool read_electorate(struct replica_reports *r, uint32_t member, struct value v) {
    struct value_iter it;
    struct value known;

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != 2)
        return false;
    it = value_iter_of(v);
    if (!value_iter_next(&it, &known) || value_kind_of(known) != VALUE_ARRAY)
        return false;
    r->known[member] = known;
    return value_iter_next(&it, &r->electorate[member]);
}

/* Are so many of the list here that they are most of it?  `all`: every one. */
static bool reaches(const struct replica_reports *r, const struct elector_list *l, bool all) {
    uint32_t here = 0;

    for (uint32_t i = 0; i < l->count; i++)
        here += view_find(r->view, l->at[i].id) != NULL;
    return l->count != 0 && (all ? here == l->count : here > l->count / 2);
}

/* One that does not know whom there is knows of nobody, not even of itself. */
static bool is_complete(const struct replica_reports *r) {
    struct elector_list known;
    bool complete = true;

    for (uint32_t i = 0; i < r->view->count && complete; i++)
        complete = elector_list_get(r->known[i], &known) && reaches(r, &known, true);
    return complete;
}

eg_err replica_reports_open(struct replica_reports **out, struct alloc *a, const struct view *v) {
    struct replica_reports *r = alloc_zero(a, sizeof *r);

    if (r == NULL)
        return EG_MEMORY;
    r->alloc = a;
    r->view = v;
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
            else if (read_electorate(r, i, one))
                continue;
            else if (read_entry(one, e))
                r->held[i] += held_of(&r->entry[r->count++]);
        }
    }
    qsort(r->entry, r->count, sizeof *r->entry, entry_compare);
    r->complete = is_complete(r);
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
                     uint8_t worth[NODES_MAX], uint8_t said[NODES_MAX]) {
    uint32_t low = 0, high = r->count;
    bool told = false;

    memset(worth, REPLICA_NONE, NODES_MAX);
    memset(said, 0, NODES_MAX);
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
        if (shard >= e->shards)
            continue;
        worth[e->member] = e->worth[shard] & REPLICA_WORTH_MASK;
        said[e->member] = e->worth[shard] & (uint8_t) ~REPLICA_WORTH_MASK;
    }
    return told;
}

bool replica_reports_has_full(const struct replica_reports *r, uint64_t table, uint32_t shard,
                              uint64_t but) {
    uint8_t worth[NODES_MAX], said[NODES_MAX];
    bool told = worth_of(r, table, shard, worth, said), full = false;

    for (uint32_t i = 0; i < r->view->count; i++)
        full |= worth[i] >= REPLICA_FULL && r->view->member[i].id != but;
    return full || (!told && view_find(r->view, but) == NULL);
}

/* ---- the electorate ----------------------------------------------------------------------------
 */

void replica_reports_electorate(const struct replica_reports *r, struct electorate *newest) {
    struct electorate e;

    *newest = (struct electorate){0};
    for (uint32_t i = 0; i < r->view->count; i++)
        if (electorate_get(r->electorate[i], &e) && e.epoch > newest->epoch)
            *newest = e;
}

void replica_reports_wanted(const struct replica_reports *r, struct elector_list *wanted) {
    const struct view_member *m = view_find(r->view, r->view->principal);
    struct elector_list known;

    wanted->count = 0;
    if (m == NULL || !elector_list_get(r->known[m - r->view->member], &known))
        return;
    for (uint32_t i = 0; i < known.count; i++) {
        const struct view_member *one = view_find(r->view, known.at[i].id);
        if (one == NULL || (r->state[one - r->view->member] & REPLICA_LEAVING) == 0)
            elector_list_add(wanted, known.at[i]);
    }
}

static bool remembers(const struct replica_reports *r, uint32_t member) {
    return r->complete || (r->state[member] & REPLICA_REMEMBERS) != 0;
}

bool replica_reports_may_found(const struct replica_reports *r, const struct elector_list *wanted,
                               bool fresh) {
    uint32_t voices = 0;

    for (uint32_t i = 0; i < wanted->count; i++) {
        const struct view_member *m = view_find(r->view, wanted->at[i].id);

        voices += m != NULL && remembers(r, (uint32_t) (m - r->view->member));
    }
    return wanted->count != 0 && (r->complete || (fresh && voices > wanted->count / 2));
}

bool replica_reports_make_remember(const struct replica_reports *r, uint64_t member) {
    struct electorate e;
    bool elects = false;

    replica_reports_electorate(r, &e);
    for (uint32_t l = 0; l < e.lists; l++)
        for (uint32_t i = 0; i < e.list[l].count; i++)
            elects |= e.list[l].at[i].id == member;
    return r->complete || (e.epoch != 0 && !elects);
}

bool replica_reports_tell(const struct replica_reports *r, uint64_t table) {
    uint8_t worth[NODES_MAX], said[NODES_MAX];

    return worth_of(r, table, 0, worth, said);
}

/* What is asked about: of a shard, by one list. */
struct vote {
    const struct replica_reports *reports;
    const struct electorate *electorate;
    uint32_t list;
    bool keeps[NODES_MAX]; /* by member: it has this electorate */
    uint8_t said[NODES_MAX];
};

static bool most_of(const struct vote *v, const struct replica_majority *t, uint32_t shard,
                    bool served) {
    uint64_t id[NODES_MAX];
    uint32_t partition = placement_partition(shard, t->shards), here = 0;
    uint32_t of =
        electorate_of(v->electorate, v->list, t->on_disc, t->group, partition, t->copies, id);

    for (uint32_t i = 0; i < of; i++) {
        const struct view_member *m = view_find(v->reports->view, id[i]);
        size_t number = m == NULL ? 0 : (size_t) (m - v->reports->view->member);

        here +=
            m != NULL && (!served || (v->keeps[number] && (v->said[number] & REPLICA_SERVED) != 0));
    }
    return here > of / 2;
}

static bool most_keep(const struct vote *v) {
    const struct elector_list *l = &v->electorate->list[v->list];
    uint32_t keep = 0;

    for (uint32_t i = 0; i < l->count; i++) {
        const struct view_member *m = view_find(v->reports->view, l->at[i].id);
        keep += m != NULL && v->keeps[m - v->reports->view->member];
    }
    return keep > l->count / 2;
}

struct electorate_look replica_reports_look(const struct replica_reports *r,
                                            const struct electorate *now,
                                            const struct elector_list *wanted,
                                            const struct replica_majority *tables, uint32_t count) {
    struct electorate_look look = {true, true};
    struct electorate next = *now, e;
    struct vote v = {.reports = r, .electorate = &next};

    if (now->lists == 1) { /* as it would be */
        next.list[1] = *wanted;
        next.lists = 2;
    }
    for (uint32_t i = 0; i < r->view->count; i++)
        v.keeps[i] = electorate_get(r->electorate[i], &e) && e.epoch == now->epoch;
    for (v.list = 0; v.list < next.lists; v.list++) {
        look.reached &= reaches(r, &next.list[v.list], false);
        look.served &= most_keep(&v);
        for (uint32_t i = 0; i < count; i++)
            for (uint32_t s = 0; s < tables[i].shards && (look.reached || look.served); s++) {
                uint8_t worth[NODES_MAX];

                (void) worth_of(r, tables[i].table, s, worth, v.said);
                look.reached &= most_of(&v, &tables[i], s, false);
                look.served &= most_of(&v, &tables[i], s, true);
            }
    }
    return look;
}

/* ---- the plan ----------------------------------------------------------------------------- */

struct figures {
    uint8_t worth[NODES_MAX]; /* by member; of nothing is FULL here */
    bool nothing[NODES_MAX];  /* of that */
    uint32_t rank[NODES_MAX]; /* its place in the order of all nodes; NODES_MAX: in none */
    bool placed[NODES_MAX];   /* it should have a copy */
    uint8_t said[NODES_MAX];  /* REPLICA_VOTES ...     */
    uint8_t elects[NODES_MAX];
    bool told;     /* of the table, by somebody */
    bool all_full; /* of those that should */
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
    return f->placed[m] || f->elects[m] != 0 || f->worth[m] != REPLICA_NONE;
}

/* It is not needed any more: all that should have a copy have it, and it has nothing of its own. */
static bool may_drop(const struct replica_plan_opts *o, const struct figures *f, uint32_t m,
                     uint32_t master) {
    bool enough = says(o, m, REPLICA_LEAVING) ? f->heirs != 0 : f->placed_in_view == f->wanted;

    return !f->placed[m] && f->elects[m] == 0 && m != master && f->all_full && enough &&
           f->worth[m] == REPLICA_FULL && same_lineage(o->view, m, master);
}

/* Those who should have it are away, and what is here is not all of it. */
static bool is_orphan(const struct figures *f, uint32_t master) {
    return f->told && f->placed_in_view == 0 && f->wanted != 0 && f->worth[master] != REPLICA_FULL;
}

/* Nothing that it has acknowledged is missing at this member. */
static bool votes(const struct replica_plan_opts *o, const struct figures *f, uint32_t m) {
    return (f->said[m] & REPLICA_VOTES) != 0 || (!f->told && remembers(o->reports, m));
}

/* Who votes, and whether those who are here are enough. */
static void count_votes(struct replica_plan *p, const struct replica_plan_opts *o,
                        struct figures *f) {
    uint32_t partition = placement_partition(o->shard, o->shards);
    uint64_t id[NODES_MAX];

    p->quorum.lists = (uint8_t) EG_MAX(o->electorate->lists, 1u);
    p->refused = o->electorate->lists == 0;
    for (uint32_t l = 0; l < o->electorate->lists; l++) {
        uint32_t of =
            electorate_of(o->electorate, l, o->on_disc, o->group, partition, o->copies, id);
        uint32_t here = 0, voices = 0, need = PLANTED(MINORITY_SERVES) ? 1 : of / 2 + 1;

        for (uint32_t i = 0; i < of; i++) {
            int m = member_of(o->view, id[i]);
            if (m < 0)
                continue;
            f->elects[m] |= (uint8_t) (1u << l);
            here++;
            voices += votes(o, f, (uint32_t) m);
        }
        p->quorum.of[l] = (uint8_t) of;
        p->quorum.need[l] = (uint8_t) need;
        p->refused |= of == 0 || (voices < need && here < of);
    }
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
    f.told = worth_of(o->reports, o->table, o->shard, f.worth, f.said);
    for (uint32_t i = 0; i < v->count; i++) {
        f.nothing[i] = f.worth[i] == REPLICA_FULL_OF_NOTHING;
        f.worth[i] = EG_MIN(f.worth[i], (uint8_t) REPLICA_FULL);
    }
    demote(o, &f);
    place(o, &f);
    p->settled = f.wanted != 0 && all_there(o);
    if (o->electorate != NULL)
        count_votes(p, o, &f);
    p->quorum.fresh =
        o->electorate != NULL && self >= 0 && !f.told && remembers(o->reports, (uint32_t) self);
    if (p->refused) { /* nothing is told either: it stays as it is */
        p->here = self >= 0 && is_holder(&f, (uint32_t) self);
        return;
    }
    for (uint32_t i = 0; i < v->count; i++)
        if (is_holder(&f, i) && (master < 0 || is_better(o, &f, i, (uint32_t) master)))
            master = (int) i;
    if (master < 0 || self < 0 || is_orphan(&f, (uint32_t) master))
        return;
    p->master = v->member[master].id;
    p->lineage = v->member[self].lineage;
    p->drop = may_drop(o, &f, (uint32_t) self, (uint32_t) master);
    p->here = is_holder(&f, (uint32_t) self) && !p->drop;
    p->waits = self != master && f.worth[self] != REPLICA_FULL && is_ill(o, (uint32_t) self);
    p->worst = f.all_filled_up;
    p->quorum.elects = f.elects[self];
    p->quorum.votes = votes(o, &f, (uint32_t) self);
    for (uint32_t i = 0; i < v->count; i++) {
        bool unheard = f.worth[i] < f.worth[master] && (f.said[i] & REPLICA_UNHEARD) != 0;

        if ((int) i == self || !is_holder(&f, i) || may_drop(o, &f, i, (uint32_t) master))
            continue;
        p->holder[p->count++] =
            (struct replica_holder){.node = v->member[i].id,
                                    .must = f.worth[i] == f.worth[master] || unheard,
                                    .ill = f.worth[i] != REPLICA_FULL && (is_ill(o, i) || unheard),
                                    .well = !is_ill(o, i),
                                    .votes = votes(o, &f, i),
                                    .kin = same_lineage(v, i, (uint32_t) self),
                                    .elects = f.elects[i]};
    }
}
