/* view_peer.c -- whom we reach, what they tell of themselves, and which set that makes.
 *
 * A link counts when its last break is as long ago as its past asks for.  Between two others there
 * is one when both have told of it. */
#include "replication/view_private.h"

#include <string.h>

enum {
    FLAP_MULT = 4,       /* x the time that it is held: another break before that is one more */
    FLAP_TIMES = 8,      /* so often is no more than cuts that come and go                  */
    FLAP_PROVE_MS = 500, /* and it must have lasted for                                     */
};

/* A word of an epoch that is so far ahead is a lie: it would use the numbers up. */
#define EPOCH_LEAP (UINT64_C(1) << 40)

/* ---- peers -------------------------------------------------------------- */

struct view_peer *views_peer(struct views *v, uint64_t id) {
    for (uint32_t i = 0; i < v->peer_count; i++) {
        if (v->peer[i].who.id == id)
            return &v->peer[i];
    }
    return NULL;
}

bool views_reaches(struct views *v, struct view_start who) {
    const struct view_peer *p = views_peer(v, who.id);
    return p != NULL && p->who.incarnation == who.incarnation;
}

bool views_is_self(const struct views *v, struct view_start who) {
    return who.id == v->self.id && who.incarnation == v->self.incarnation;
}

/* Do these two reach each other, by what they have told? */
static bool is_mutual(const struct view_peer *a, const struct view_peer *b) {
    return a->told && b->told && view_set_has(&a->word.reach, b->who) &&
           view_set_has(&b->word.reach, a->who);
}

/* ---- what should be ----------------------------------------------------- */

/* Is this member of our view still in it, as far as we know?  `said`: and does it say that all of
 * it is? */
static bool is_with_us(const struct views *v, const struct view_peer *p, bool said) {
    if (!p->told)
        return true;
    if (p->word.where == WHERE_NONE)
        return false;
    if (p->word.id.epoch < v->view->id.epoch)
        return true; /* said before it agreed to ours */
    return view_id_equal(p->word.id, v->view->id) && !(said && p->word.where == WHERE_BROKEN);
}

/* Is our view whole: as we see it, or (`said`) as all of its members do? */
static bool is_whole(struct views *v, bool said) {
    if (v->broken)
        return false;
    for (uint32_t i = 0; i < v->members.count; i++) {
        struct view_start who = v->members.start[i];
        const struct view_peer *p;

        if (views_is_self(v, who))
            continue;
        p = views_peer(v, who.id);
        if (p == NULL || p->who.incarnation != who.incarnation || !is_with_us(v, p, said) ||
            (p->told && !view_set_has(&p->word.reach, v->self)))
            return false;
        for (uint32_t j = 0; j < i; j++) {
            const struct view_peer *q = views_peer(v, v->members.start[j].id);
            if (q != NULL && p->told && q->told && !is_mutual(p, q))
                return false;
        }
    }
    return true;
}

bool views_is_whole(struct views *v) {
    return is_whole(v, true);
}

static bool is_fit(const struct views *v, const struct view_set *set, const struct view_peer *p,
                   const struct view_peer *const *chosen, uint32_t chosen_count) {
    if (!p->told || p->shunned_until_ms > v->now_ms || !view_set_has(&p->word.reach, v->self))
        return false;
    if (view_set_has(set, p->who))
        return false;
    for (uint32_t i = 0; i < chosen_count; i++) {
        if (!is_mutual(p, chosen[i]))
            return false;
    }
    return true;
}

/* Grow a set from ourselves: members of the present view first, so that it stays where it can. */
static void set_grow(struct views *v, const struct view_set *without, struct view_set *out) {
    const struct view_peer *chosen[NODES_MAX];
    uint32_t count = 0;

    out->count = 0;
    view_set_add(out, v->self);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < v->peer_count; i++) {
            const struct view_peer *p = &v->peer[i];
            bool member = v->view != NULL && view_set_has(&v->members, p->who);
            if (member != (round == 0) || view_set_has(without, p->who) ||
                !is_fit(v, out, p, chosen, count))
                continue;
            chosen[count++] = p;
            view_set_add(out, p->who);
        }
    }
}

/* The set that this node should be in.  Whoever would not gain by it is left where it is. */
void views_wanted(struct views *v, struct view_set *out) {
    struct view_set without = {0};
    bool again = true;

    while (again) {
        again = false;
        set_grow(v, &without, out);
        for (uint32_t i = 0; i < v->peer_count; i++) {
            const struct view_peer *p = &v->peer[i];
            bool ours = v->serving && view_id_equal(p->word.id, v->view->id);
            if (view_set_has(out, p->who) && !ours && p->word.where == WHERE_WHOLE &&
                p->word.count >= out->count) {
                view_set_add(&without, p->who);
                again = true;
            }
        }
    }
}

/* ---- telling ------------------------------------------------------------ */

void views_send(struct views *v, uint64_t to, const uint8_t *at, const struct value_writer *w) {
    EG_ASSERT(!w->overflow);
    v->ops->send(v->user, to, (struct value){at, (uint32_t) w->need_bytes});
}

static void send_tell(struct views *v, struct view_peer *p) {
    uint8_t at[VIEW_SMALL_BYTES];
    struct value_writer w = value_writer_init(at, sizeof at);

    value_put_array(&w, 8);
    value_put_u64(&w, VIEW_TELL);
    value_put_bool(&w, p->told);
    value_put_u64(&w, v->epoch);
    value_put_u64(&w, v->word.where);
    value_put_u64(&w, v->word.id.epoch);
    value_put_u64(&w, v->word.id.hash);
    value_put_u64(&w, v->word.count);
    view_set_put(&v->word.reach, &w);
    p->to_tell = false;
    views_send(v, p->who.id, at, &w);
}

void views_tell_stranger(struct views *v, uint64_t to) {
    struct view_peer p = {.who.id = to, .told = true}; /* it need not tell us anything */

    send_tell(v, &p);
}

static bool word_equal(const struct view_word *a, const struct view_word *b) {
    return a->where == b->where && view_id_equal(a->id, b->id) && a->count == b->count &&
           view_set_equal(&a->reach, &b->reach);
}

/* Tell all whom we reach where we are and whom we reach, if that has changed. */
void views_tell(struct views *v) {
    struct view_word word = {.where = WHERE_NONE};
    bool changed;

    for (uint32_t i = 0; i < v->peer_count; i++)
        view_set_add(&word.reach, v->peer[i].who);
    if (v->pending != PENDING_NONE) {
        word.where = WHERE_AGREED;
        word.id = v->pending_id;
    } else if (v->serving) {
        /* As we see it ourselves: two who said what they hear of each other would never end. */
        word.where = is_whole(v, false) ? WHERE_WHOLE : WHERE_BROKEN;
        word.id = v->view->id;
        word.count = v->view->count;
    }
    changed = !word_equal(&word, &v->word);
    v->word = word;
    for (uint32_t i = 0; i < v->peer_count; i++) {
        if (changed || v->peer[i].to_tell)
            send_tell(v, &v->peer[i]);
    }
    for (uint32_t i = 0; i < v->linked_count; i++) {
        struct view_linked *l = &v->linked[i];

        if (l->to_tell && !views_reaches(v, l->who))
            views_tell_stranger(v, l->who.id);
        l->to_tell = false;
    }
}

bool views_epoch_get(const struct views *v, struct value field, uint64_t *out) {
    return value_get_u64(field, out) && *out <= v->epoch + EPOCH_LEAP;
}

bool views_tell_receive(struct views *v, struct view_peer *p, struct value_iter *it) {
    struct value field[7];
    struct view_word word;
    uint64_t epoch, where, count;
    bool heard;

    for (size_t i = 0; i < EG_COUNTOF(field); i++) {
        if (!value_iter_next(it, &field[i]))
            return false;
    }
    if (!value_get_bool(field[0], &heard) || !views_epoch_get(v, field[1], &epoch) ||
        !value_get_u64(field[2], &where) || where > WHERE_BROKEN ||
        !value_get_u64(field[3], &word.id.epoch) || word.id.epoch > epoch ||
        !value_get_u64(field[4], &word.id.hash) || !value_get_u64(field[5], &count) ||
        count > NODES_MAX || !view_set_get(&word.reach, field[6]))
        return false;
    word.where = (enum view_where) where;
    word.count = (uint32_t) count;
    v->epoch = EG_MAX(v->epoch, epoch);
    p->told = true;
    p->to_tell |= !heard;
    p->word = word;
    return true;
}

/* ---- whom we reach ------------------------------------------------------ */

static struct view_flap *flap_find(struct views *v, struct view_start who) {
    for (uint32_t i = 0; i < v->flap_count; i++) {
        if (v->flap[i].who.id == who.id && v->flap[i].who.incarnation == who.incarnation)
            return &v->flap[i];
    }
    return NULL;
}

static struct view_flap *flap_oldest(struct views *v) {
    struct view_flap *oldest = &v->flap[0];
    for (uint32_t i = 1; i < v->flap_count; i++) {
        if (v->flap[i].lost_ms < oldest->lost_ms)
            oldest = &v->flap[i];
    }
    return oldest;
}

/* A link has broken; once is nothing. */
static void flap_note(struct views *v, struct view_start who) {
    struct view_flap *f = flap_find(v, who), now = {.who = who, .times = 1, .lost_ms = v->now_ms};

    if (f != NULL && v->now_ms - f->lost_ms < FLAP_MULT * EG_MAX(f->hold_ms, VIEW_AGE_MIN_MS)) {
        now.times = f->times + 1;
        now.hold_ms =
            f->hold_ms == 0
                ? VIEW_AGE_MIN_MS
                : EG_MIN(2 * f->hold_ms, now.times > FLAP_TIMES ? VIEW_HOLD_MS_MAX : VIEW_HOLD_MS);
    }
    if (f == NULL)
        f = v->flap_count < NODES_MAX ? &v->flap[v->flap_count++] : flap_oldest(v);
    *f = now;
}

/* From when on does a link count that has come up now? */
static uint64_t flap_over_ms(struct views *v, struct view_start who) {
    const struct view_flap *f = flap_find(v, who);

    return f == NULL || f->hold_ms == 0
               ? v->now_ms
               : EG_MAX(f->lost_ms + f->hold_ms, v->now_ms + FLAP_PROVE_MS);
}

static bool is_linked(const struct views *v, struct view_start who) {
    for (uint32_t i = 0; i < v->linked_count; i++) {
        if (v->linked[i].who.id == who.id && v->linked[i].who.incarnation == who.incarnation)
            return true;
    }
    return false;
}

static void link_note(struct views *v, struct view_linked *out, struct view_start who,
                      const struct view_linked *before, uint32_t before_count) {
    *out = (struct view_linked){who, flap_over_ms(v, who), true};
    for (uint32_t i = 0; i < before_count; i++) {
        if (before[i].who.id == who.id && before[i].who.incarnation == who.incarnation)
            *out = before[i];
    }
}

/* Those are peers whose links have lasted long enough. */
void views_peers_update(struct views *v) {
    struct view_peer before[NODES_MAX];
    uint32_t before_count = v->peer_count;

    memcpy(before, v->peer, before_count * sizeof before[0]);
    v->peer_count = 0;
    for (uint32_t i = 0; i < v->linked_count; i++) {
        const struct view_linked *l = &v->linked[i];
        struct view_peer *p = &v->peer[v->peer_count];
        if (l->counts_ms > v->now_ms)
            continue;
        v->peer_count++;
        *p = (struct view_peer){.who = l->who, .to_tell = true};
        for (uint32_t j = 0; j < before_count; j++) {
            if (before[j].who.id == l->who.id && before[j].who.incarnation == l->who.incarnation)
                *p = before[j];
        }
    }
    for (uint32_t i = 0; i < v->members.count; i++) {
        if (!views_is_self(v, v->members.start[i]) && !views_reaches(v, v->members.start[i]))
            v->broken = true; /* also if it comes back at once: frames may be lost */
    }
}

void views_reach(struct views *v, const struct node_info *others, uint32_t count, uint64_t now_ms) {
    struct view_linked before[NODES_MAX];
    uint32_t before_count = v->linked_count;

    EG_ASSERT(count < NODES_MAX);
    v->now_ms = EG_MAX(v->now_ms, now_ms);
    memcpy(before, v->linked, before_count * sizeof before[0]);
    v->linked_count = count;
    for (uint32_t i = 0; i < count; i++) {
        EG_ASSERT(i == 0 || others[i - 1].id < others[i].id);
        link_note(v, &v->linked[i], (struct view_start){others[i].id, others[i].incarnation},
                  before, before_count);
    }
    for (uint32_t i = 0; i < before_count; i++) {
        if (!is_linked(v, before[i].who))
            flap_note(v, before[i].who);
    }
    views_peers_update(v);
}

/* When something becomes right by itself. */
uint64_t views_peers_next_ms(const struct views *v) {
    uint64_t next_ms = UINT64_MAX;

    for (uint32_t i = 0; i < v->peer_count; i++) {
        if (v->peer[i].shunned_until_ms > v->now_ms)
            next_ms = EG_MIN(next_ms, v->peer[i].shunned_until_ms);
    }
    for (uint32_t i = 0; i < v->linked_count; i++) {
        if (v->linked[i].counts_ms > v->now_ms)
            next_ms = EG_MIN(next_ms, v->linked[i].counts_ms);
    }
    return next_ms;
}
