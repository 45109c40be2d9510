/* view.c -- proposals, what nodes tell of themselves, and when to propose.
 *
 * A node has one proposal at most that it has agreed to or made (`pending`); its epoch is above
 * every one that it agreed to before, so views come in one order on each node.  From there on
 * it is in no view until that proposal is committed or replaced, or forgotten because its
 * principal is gone or silent.
 *
 * Who proposes what is worked out again after whatever happens (views_step): nothing is
 * scheduled that could be out of date. */
#include "replication/view_private.h"

#include <stdatomic.h>
#include <string.h>

enum {
    SHUN_MS = 3000,     /* for one who was silent, or until it is heard; then it is asked    */
    REFUSED_MS = 1000,  /* for one who was against                                           */
    FAILS_DOUBLE = 2,   /* in a row: each up to here doubles those                           */
    FAILS_HEARD = 2,    /* after more than that one who is heard is not asked before SHUN_MS */
    PATIENCE_MS = 2000, /* with one who should propose and does not                          */
    PATIENT_MS = 60000, /* of a view, until proposals wait as shortly as at first            */
    COMMIT_MEMBER_FIELDS = 5,
    MESSAGE_BYTES_MAX = 16 << 20, /* mesh.h's frame */
};

/* ---- views -------------------------------------------------------------- */

void view_ref(const struct view *v) {
    atomic_fetch_add_explicit(&((struct view *) v)->refs, 1, memory_order_relaxed);
}

void view_unref(const struct view *v) {
    struct view *mine = (struct view *) v;
    if (atomic_fetch_sub_explicit(&mine->refs, 1, memory_order_acq_rel) == 1)
        alloc_put(mine->alloc, mine, mine->size_bytes);
}

const struct view_member *view_find(const struct view *v, uint64_t id) {
    for (uint32_t i = 0; i < v->count; i++) {
        if (v->member[i].id == id)
            return &v->member[i];
    }
    return NULL;
}

/* With room behind it for the reports.  NULL: no memory. */
static struct view *view_make(struct alloc *a, struct view_id id, const struct view_set *members,
                              size_t report_bytes) {
    size_t size_bytes =
        sizeof(struct view) + members->count * sizeof(struct view_member) + report_bytes;
    struct view *v = alloc_zero(a, size_bytes);

    if (v == NULL)
        return NULL;
    v->id = id;
    v->principal = members->start[0].id;
    v->count = members->count;
    v->alloc = a;
    v->refs = 1;
    v->size_bytes = size_bytes;
    for (uint32_t i = 0; i < v->count; i++) {
        v->member[i].id = members->start[i].id;
        v->member[i].incarnation = members->start[i].incarnation;
    }
    return v;
}

/* ---- messages out ------------------------------------------------------- */

static void send_refuse(struct views *v, uint64_t to, struct view_id id) {
    uint8_t at[VIEW_SMALL_BYTES];
    struct value_writer w = value_writer_init(at, sizeof at);

    value_put_array(&w, 4);
    value_put_u64(&w, VIEW_REFUSE);
    value_put_u64(&w, id.epoch);
    value_put_u64(&w, id.hash);
    value_put_u64(&w, v->epoch);
    views_send(v, to, at, &w);
}

static void send_renew(struct views *v, uint64_t to) {
    uint8_t at[VIEW_SMALL_BYTES];
    struct value_writer w = value_writer_init(at, sizeof at);

    value_put_array(&w, 1);
    value_put_u64(&w, VIEW_RENEW);
    views_send(v, to, at, &w);
}

/* ---- a proposal, as a member -------------------------------------------- */

static void answers_clear(struct views *v) {
    for (uint32_t i = 0; i < NODES_MAX; i++) {
        alloc_put(v->alloc, v->answer[i].report, v->answer[i].report_bytes);
        v->answer[i] = (struct view_answer){0};
    }
}

static void pending_forget(struct views *v) {
    answers_clear(v);
#ifdef EG_PLANT_OLD_VIEW_RESUMED
    if (!v->serving && v->view != NULL) {
        v->serving = true;
        v->ops->install(v->user, v->view);
    }
#endif
    v->pending = PENDING_NONE;
    v->mine = false;
    v->settle_ms = v->patience_ms = 0;
}

/* From here on this node is in no view. */
static void pending_take(struct views *v, struct view_id id, const struct view_set *set, bool mine,
                         uint64_t wait_ms) {
    answers_clear(v);
    v->epoch = EG_MAX(v->epoch, id.epoch);
    v->agreed_epoch = id.epoch;
    v->serving = false;
    v->pending = PENDING_STOPPING;
    v->mine = mine;
    v->pending_id = id;
    v->pending_set = *set;
    v->pending_since_ms = v->now_ms;
    v->pending_until_ms = v->now_ms + wait_ms;
    v->settle_ms = v->patience_ms = 0;
#ifdef EG_PLANT_PREPARED_BEFORE_STOPPED
    view_stopped(v, id, v->now_ms);
#endif
    v->ops->stop(v->user, id);
}

/* Take copies of an answer of the member at a place.  false: no memory. */
static bool answer_take(struct views *v, uint32_t place, struct view_id lineage,
                        struct value report) {
    struct view_answer *a = &v->answer[place];

    if (a->prepared)
        return true;
    a->report = alloc_get(v->alloc, report.size_bytes);
    if (a->report == NULL)
        return false;
    memcpy(a->report, report.at, report.size_bytes);
    a->report_bytes = report.size_bytes;
    a->lineage = lineage;
    a->prepared = true;
    return true;
}

static void install(struct views *v, struct view *view) {
    if (v->view != NULL)
        view_unref(v->view);
    v->view = view;
    v->members = v->pending_set;
    v->serving = true;
    v->broken = false;
    v->renew = false;
    v->lineage = view->id;
    v->installed_ms = v->now_ms;
    for (uint32_t i = 0; i < v->members.count; i++) {
        struct view_peer *p = views_peer(v, v->members.start[i].id);
        if (p != NULL)
            p->fail_count = 0;
    }
    pending_forget(v);
    v->ops->install(v->user, view);
}

static bool send_prepared(struct views *v, struct value report) {
    struct buffer b;
    uint8_t at[64];
    struct value_writer w = value_writer_init(at, sizeof at);
    bool whole;

    buffer_init(&b, v->alloc, VIEW_REPORT_BYTES_MAX + sizeof at);
    value_put_array(&w, 6);
    value_put_u64(&w, VIEW_PREPARED);
    value_put_u64(&w, v->pending_id.epoch);
    value_put_u64(&w, v->pending_id.hash);
    value_put_u64(&w, v->lineage.epoch);
    value_put_u64(&w, v->lineage.hash);
    whole = buffer_append(&b, at, w.need_bytes) && buffer_append(&b, report.at, report.size_bytes);
    if (whole)
        v->ops->send(v->user, v->pending_set.start[0].id,
                     (struct value){b.at, (uint32_t) b.size_bytes});
    buffer_fini(&b);
    return whole;
}

static void commit_if_all(struct views *v);

void view_stopped(struct views *v, struct view_id proposed, uint64_t now_ms) {
    struct buffer report;
    bool whole;

    v->now_ms = EG_MAX(v->now_ms, now_ms);
    if (v->pending != PENDING_STOPPING || !view_id_equal(proposed, v->pending_id))
        return;
    buffer_init(&report, v->alloc, VIEW_REPORT_BYTES_MAX);
    whole = v->ops->report(v->user, &report) == EG_OK;
    if (whole) {
        struct value r = {report.at, (uint32_t) report.size_bytes};
        whole = v->mine ? answer_take(v, 0, v->lineage, r) : send_prepared(v, r);
    }
    buffer_fini(&report);
    if (!whole) { /* no memory: the others go on without us, or we try again */
        if (!v->mine)
            send_refuse(v, v->pending_set.start[0].id, v->pending_id);
        pending_forget(v);
        return;
    }
    v->pending = PENDING_PREPARED;
    if (v->mine)
        commit_if_all(v);
}

/* Should this node be in it, rather than where it is or has agreed to be? */
static bool is_welcome(struct views *v, const struct view_set *set, struct view_id id) {
    struct view_start principal = set->start[0];

    if (!view_set_has(set, v->self) || id.epoch <= v->agreed_epoch)
        return false;
    for (uint32_t i = 0; i < set->count; i++) {
        if (!views_is_self(v, set->start[i]) && !views_reaches(v, set->start[i]))
            return false;
    }
    if (v->pending != PENDING_NONE) {
        struct view_start other = v->pending_set.start[0];
        return principal.id == other.id || set->count > v->pending_set.count ||
               (set->count == v->pending_set.count && principal.id < other.id) ||
               (!v->mine && !views_reaches(v, other));
    }
    return !v->serving || view_set_has(&v->members, principal) || !views_is_whole(v) ||
           set->count > v->view->count;
}

static bool propose_receive(struct views *v, const struct view_peer *p, struct view_id id,
                            struct value_iter *it) {
    struct value wait, members;
    struct view_set set;
    uint64_t wait_ms;

    if (!value_iter_next(it, &wait) || !value_get_u64(wait, &wait_ms) ||
        wait_ms > VIEW_PREPARE_MS_MAX || !value_iter_next(it, &members) ||
        !view_set_get(&set, members) || set.count < 2 || set.start[0].id != p->who.id ||
        !view_id_equal(view_set_id(&set, id.epoch), id))
        return false;
    if (!is_welcome(v, &set, id)) {
        send_refuse(v, p->who.id, id);
        return true;
    }
    pending_take(v, id, &set, false, 2 * wait_ms + VIEW_PREPARE_MS);
    return true;
}

/* ---- a proposal, as its principal --------------------------------------- */

static void propose(struct views *v, const struct view_set *set) {
    uint8_t at[VIEW_SMALL_BYTES];
    struct value_writer w = value_writer_init(at, sizeof at);
    struct view_id id = view_set_id(set, v->epoch + 1);

    if (v->serving && v->now_ms - v->installed_ms > PATIENT_MS)
        v->prepare_ms = VIEW_PREPARE_MS;
    value_put_array(&w, 5);
    value_put_u64(&w, VIEW_PROPOSE);
    value_put_u64(&w, id.epoch);
    value_put_u64(&w, id.hash);
    value_put_u64(&w, v->prepare_ms);
    view_set_put(set, &w);
    for (uint32_t i = 1; i < set->count; i++) {
        struct view_peer *p = views_peer(v, set->start[i].id);
        if (p != NULL)
            p->asked = true;
        views_send(v, set->start[i].id, at, &w);
    }
    pending_take(v, id, set, true, v->prepare_ms);
}

/* The next proposals are without it: the longer, the more often it was the cause. */
static void shun(struct views *v, struct view_peer *p, bool silent) {
    uint64_t ms = (uint64_t) (silent ? SHUN_MS : REFUSED_MS)
                  << EG_MIN(p->fail_count, (uint32_t) FAILS_DOUBLE);

    p->shunned_until_ms = v->now_ms + ms + v->ops->random(v->user) % EG_MIN(ms, (uint64_t) SHUN_MS);
    p->silent = silent;
    p->fail_count++;
}

/* It was silent as one is behind a cut, which has healed. */
static void heard(struct views *v, struct view_peer *p) {
    p->heard_ms = v->now_ms;
    if (p->silent)
        p->shunned_until_ms =
            EG_MIN(p->shunned_until_ms, v->now_ms + (p->fail_count > FAILS_HEARD ? SHUN_MS : 0));
    p->silent = false;
}

/* It did not come to be: next without who is the cause (0: all who are silent), if not ourselves.
 */
static void proposal_failed(struct views *v, uint64_t because_of) {
    bool slow = false; /* and no cut */

    for (uint32_t i = 1; i < v->pending_set.count; i++) {
        struct view_peer *p = views_peer(v, v->pending_set.start[i].id);
        if (p != NULL && (because_of == p->who.id || (because_of == 0 && !v->answer[i].prepared))) {
            bool is_there = p->heard_ms >= v->pending_since_ms;
            shun(v, p, because_of == 0 && !is_there);
            slow |= is_there;
        }
    }
    if (because_of == 0 && slow)
        v->prepare_ms = EG_MIN(2 * v->prepare_ms, VIEW_PREPARE_MS_MAX);
    pending_forget(v);
}

static bool commit_write(struct views *v, struct buffer *b) {
    uint8_t at[64];
    struct value_writer w = value_writer_init(at, sizeof at);

    value_put_array(&w, 3 + COMMIT_MEMBER_FIELDS * v->pending_set.count);
    value_put_u64(&w, VIEW_COMMIT);
    value_put_u64(&w, v->pending_id.epoch);
    value_put_u64(&w, v->pending_id.hash);
    if (!buffer_append(b, at, w.need_bytes))
        return false;
    for (uint32_t i = 0; i < v->pending_set.count; i++) {
        const struct view_answer *a = &v->answer[i];
        w = value_writer_init(at, sizeof at);
        value_put_u64(&w, v->pending_set.start[i].id);
        value_put_u64(&w, v->pending_set.start[i].incarnation);
        value_put_u64(&w, a->lineage.epoch);
        value_put_u64(&w, a->lineage.hash);
        if (!buffer_append(b, at, w.need_bytes) || !buffer_append(b, a->report, a->report_bytes))
            return false;
    }
    return true;
}

/* The view that a commit makes; its reports are copied behind it.  NULL: malformed, or no memory.
 */
static struct view *commit_read(struct views *v, struct value commit) {
    struct view *view = view_make(v->alloc, v->pending_id, &v->pending_set, commit.size_bytes);
    struct value_iter it = value_iter_of(commit);
    struct value field[COMMIT_MEMBER_FIELDS];
    uint8_t *room;

    if (view == NULL)
        return NULL;
    room = (uint8_t *) &view->member[view->count];
    for (int i = 0; i < 3; i++)
        value_iter_next(&it, &field[0]);
    for (uint32_t i = 0; i < view->count; i++) {
        struct view_member *m = &view->member[i];
        uint64_t id, incarnation;
        for (int j = 0; j < COMMIT_MEMBER_FIELDS; j++)
            value_iter_next(&it, &field[j]);
        if (!value_get_u64(field[0], &id) || !value_get_u64(field[1], &incarnation) ||
            id != m->id || incarnation != m->incarnation ||
            !value_get_u64(field[2], &m->lineage.epoch) ||
            !value_get_u64(field[3], &m->lineage.hash)) {
            view_unref(view);
            return NULL;
        }
        memcpy(room, field[4].at, field[4].size_bytes);
        m->report = (struct value){room, field[4].size_bytes};
        room += field[4].size_bytes;
    }
    return view;
}

static void commit_if_all(struct views *v) {
    struct buffer b;
    struct view *view = NULL;

    for (uint32_t i = 0; i < v->pending_set.count; i++) {
#ifdef EG_PLANT_COMMIT_WITHOUT_ONE
        if (i + 1 == v->pending_set.count && i > 1)
            break;
#endif
        if (!v->answer[i].prepared)
            return;
    }
    buffer_init(&b, v->alloc, MESSAGE_BYTES_MAX);
    if (commit_write(v, &b))
        view = commit_read(v, (struct value){b.at, (uint32_t) b.size_bytes});
    if (view == NULL) {
        proposal_failed(v, v->self.id);
        buffer_fini(&b);
        return;
    }
    for (uint32_t i = 1; i < view->count; i++)
        v->ops->send(v->user, view->member[i].id, (struct value){b.at, (uint32_t) b.size_bytes});
    buffer_fini(&b);
    install(v, view);
}

/* ---- messages in -------------------------------------------------------- */

static bool prepared_receive(struct views *v, const struct view_peer *p, struct view_id id,
                             struct value_iter *it) {
    struct value epoch, hash, report;
    struct view_id lineage;

    if (!value_iter_next(it, &epoch) || !value_get_u64(epoch, &lineage.epoch) ||
        !value_iter_next(it, &hash) || !value_get_u64(hash, &lineage.hash) ||
        !value_iter_next(it, &report) || report.size_bytes > VIEW_REPORT_BYTES_MAX)
        return false;
    if (!v->mine || !view_id_equal(id, v->pending_id))
        return true; /* late */
    for (uint32_t i = 1; i < v->pending_set.count; i++) {
        if (v->pending_set.start[i].id != p->who.id)
            continue;
        if (!answer_take(v, i, lineage, report))
            proposal_failed(v, v->self.id);
        else
            commit_if_all(v);
        return true;
    }
    return false;
}

static bool refuse_receive(struct views *v, const struct view_peer *p, struct view_id id,
                           struct value_iter *it) {
    struct value field;
    uint64_t epoch;

    if (!value_iter_next(it, &field) || !views_epoch_get(v, field, &epoch))
        return false;
    v->epoch = EG_MAX(v->epoch, epoch);
    if (v->mine && view_id_equal(id, v->pending_id))
        proposal_failed(v, epoch > id.epoch ? v->self.id : p->who.id);
    return true;
}

static bool commit_receive(struct views *v, const struct view_peer *p, struct view_id id,
                           struct value commit) {
    struct view *view;

    if (v->mine || v->pending != PENDING_PREPARED || !view_id_equal(id, v->pending_id))
        return true; /* late */
    if (p->who.id != v->pending_set.start[0].id ||
        value_count(commit) != 3 + COMMIT_MEMBER_FIELDS * v->pending_set.count)
        return false;
    view = commit_read(v, commit);
    if (view == NULL)
        return false;
    install(v, view);
    return true;
}

static bool message_receive(struct views *v, struct view_peer *p, struct value payload) {
    struct value_iter it = value_iter_of(payload);
    struct value field;
    struct view_id id = {0};
    uint64_t kind;

    if (!value_iter_next(&it, &field) || !value_get_u64(field, &kind))
        return false;
    if (kind == VIEW_TELL)
        return views_tell_receive(v, p, &it);
    if (kind == VIEW_RENEW) {
        v->renew |= v->serving && view_set_has(&v->members, p->who);
        return true;
    }
    if (!value_iter_next(&it, &field) || !views_epoch_get(v, field, &id.epoch) ||
        !value_iter_next(&it, &field) || !value_get_u64(field, &id.hash))
        return false;
    switch (kind) {
    case VIEW_PROPOSE:
        return propose_receive(v, p, id, &it);
    case VIEW_PREPARED:
        return prepared_receive(v, p, id, &it);
    case VIEW_REFUSE:
        return refuse_receive(v, p, id, &it);
    case VIEW_COMMIT:
        return commit_receive(v, p, id, payload);
    default:
        return false;
    }
}

static bool is_proposal(struct value payload) {
    struct value_iter it = value_iter_of(payload);
    struct value field;
    uint64_t kind;

    return value_kind_of(payload) == VALUE_ARRAY && value_iter_next(&it, &field) &&
           value_get_u64(field, &kind) && kind == VIEW_PROPOSE;
}

/* ---- what is wished ----------------------------------------------------- */

/* The view has broken: one that did not live long makes the next ones grow later. */
static void note_break(struct views *v) {
    uint64_t lived_ms = v->now_ms - v->installed_ms;

    if (v->view->count < 2)
        return;
    v->broke_ms = v->now_ms;
    if (lived_ms < 2 * v->age_ms)
        v->age_ms = EG_MIN(2 * v->age_ms, VIEW_AGE_MAX_MS);
    else
        v->age_ms = VIEW_AGE_MIN_MS;
}

/* Will it answer our proposal?  Not where that went with a link that broke, nor where it does not
 * reach us. */
static bool is_awaited(const struct views *v, const struct view_peer *p) {
    return p->asked && !(p->told && !view_set_has(&p->word.reach, v->self));
}

static bool pending_is_hopeless(struct views *v) {
    if (v->now_ms >= v->pending_until_ms)
        return true;
    for (uint32_t i = 0; i < v->pending_set.count; i++) {
        struct view_start who = v->pending_set.start[i];
        if (views_is_self(v, who) || (!v->mine && i > 0))
            continue;
        if (!views_reaches(v, who) ||
            (v->mine && !v->answer[i].prepared && !is_awaited(v, views_peer(v, who.id))))
            return true;
    }
    return false;
}

/* Why a view is to be proposed. */
enum wish { WISH_NOTHING, WISH_GROW, WISH_RENEW, WISH_MUST };

/* When the set that is wanted is to be proposed by us. */
static uint64_t propose_due_ms(struct views *v, enum wish wish) {
    if (v->settle_ms == 0)
        v->settle_ms = v->now_ms;
    if (v->view == NULL)
        return v->now_ms; /* at the start there is nothing to wait for */
    if (wish == WISH_RENEW)
        return EG_MAX(v->settle_ms, v->installed_ms) + VIEW_AGE_MIN_MS;
    if (wish == WISH_GROW && v->view->count > 1)
        return EG_MAX(v->settle_ms + VIEW_SETTLE_MS,
                      EG_MAX(v->installed_ms + VIEW_AGE_MIN_MS, v->broke_ms + v->age_ms));
    return v->settle_ms + VIEW_SETTLE_MS;
}

/* Somebody else should propose.  When not to wait for it any longer. */
static uint64_t patience_step(struct views *v, uint64_t id) {
    struct view_peer *p = views_peer(v, id);

    if (v->patience_ms == 0)
        v->patience_ms = v->now_ms + PATIENCE_MS + v->ops->random(v->user) % VIEW_PREPARE_MS;
    if (v->now_ms < v->patience_ms)
        return v->patience_ms;
    shun(v, p, true);
    v->patience_ms = 0;
    return v->now_ms;
}

static enum wish wish_now(struct views *v, struct view_set *wanted) {
    views_wanted(v, wanted);
    if (!v->serving || !views_is_whole(v))
        return WISH_MUST;
    if (wanted->count > v->view->count && view_set_covers(wanted, &v->members))
        return WISH_GROW;
    *wanted = v->members;
    return v->renew ? WISH_RENEW : WISH_NOTHING;
}

static uint64_t wish_step(struct views *v) {
    struct view_set wanted;
    enum wish wish = wish_now(v, &wanted);
    uint64_t due_ms;

    if (wish == WISH_NOTHING) {
        v->settle_ms = v->patience_ms = 0;
        return UINT64_MAX;
    }
    if (wanted.start[0].id != v->self.id) { /* another is to propose it */
        if (wish == WISH_MUST)
            return patience_step(v, wanted.start[0].id);
        if (v->renew)
            send_renew(v, wanted.start[0].id);
        v->renew = false;
        return UINT64_MAX;
    }
    due_ms = propose_due_ms(v, wish);
    if (v->now_ms < due_ms)
        return due_ms;
    if (v->serving && wish == WISH_MUST)
        note_break(v);
    propose(v, &wanted);
    return v->now_ms;
}

/* ---- what is to be done now --------------------------------------------- */

static uint64_t views_step(struct views *v) {
    uint64_t next_ms;

    views_peers_update(v);
    if (v->pending != PENDING_NONE && pending_is_hopeless(v)) {
        if (v->mine)
            proposal_failed(v, v->now_ms >= v->pending_until_ms ? 0 : v->self.id);
        else
            pending_forget(v);
    }
    next_ms = v->pending == PENDING_NONE ? wish_step(v) : v->pending_until_ms;
    views_tell(v);
    return EG_MIN(next_ms, views_peers_next_ms(v));
}

/* ---- from outside ------------------------------------------------------- */

eg_err views_open(struct views **out, struct alloc *a, const struct node_info *self, uint64_t epoch,
                  const struct view_ops *ops, void *user) {
    struct views *v = alloc_zero(a, sizeof *v);

    if (v == NULL)
        return EG_MEMORY;
    v->alloc = a;
    v->ops = ops;
    v->user = user;
    v->self = (struct view_start){self->id, self->incarnation};
    v->epoch = v->agreed_epoch = epoch;
    v->prepare_ms = VIEW_PREPARE_MS;
    v->age_ms = VIEW_AGE_MIN_MS;
    *out = v;
    return EG_OK;
}

void views_close(struct views *v) {
    answers_clear(v);
    if (v->view != NULL)
        view_unref(v->view);
    alloc_put(v->alloc, v, sizeof *v);
}

uint64_t views_tick(struct views *v, uint64_t now_ms) {
    v->now_ms = EG_MAX(v->now_ms, now_ms);
    return views_step(v);
}

void views_receive(struct views *v, uint64_t from, struct value payload, uint64_t now_ms) {
    struct view_peer *p;

    v->now_ms = EG_MAX(v->now_ms, now_ms);
    views_peers_update(v);
    p = views_peer(v, from);
    if (p == NULL) {
        if (is_proposal(payload))
            views_tell_stranger(v, from); /* else it would wait for us, and serve nobody */
        return; /* it tells all again when it hears that we have not heard */
    }
    heard(v, p);
    if (value_kind_of(payload) != VALUE_ARRAY || !message_receive(v, p, payload))
        v->dropped++;
}

void views_renew(struct views *v, uint64_t now_ms) {
    v->now_ms = EG_MAX(v->now_ms, now_ms);
    v->renew = v->serving;
}

void views_renumber(struct views *v, uint64_t incarnation, uint64_t now_ms) {
    v->now_ms = EG_MAX(v->now_ms, now_ms);
    v->self.incarnation = incarnation;
    if (v->pending != PENDING_NONE)
        pending_forget(v);
    v->broken = true; /* the view has a member that is no more */
}

uint64_t views_dropped(const struct views *v) {
    return v->dropped;
}

uint64_t views_epoch(const struct views *v) {
    return v->epoch;
}

const struct view *views_now(const struct views *v) {
    return v->serving ? v->view : NULL;
}
