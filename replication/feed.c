/* feed.c -- one shard's exchange with its other copies: its beginning and end, orders, time. */
#include "engine/env.h"
#include "replication/feed_private.h"
#include "tables/shard_conflict.h"
#include "tables/shard_floor.h"
#include "tables/shard_mark.h"
#include "tables/shard_tx.h"

#include <string.h>

enum {
    FORGET_TICKS = 10, /* between two rounds of forgetting graves */
    DOUBT_TICKS = 8,   /* between two questions after what is prepared */
};

/* ---- open and close ---------------------------------------------------------------------- */

static eg_err feed_open(struct feed_world *w, struct shard *s) {
    struct feed *st;
    eg_err err = shard_copy_open(s);

    if (err != EG_OK || s->copy->feed != NULL)
        return err;
    st = alloc_zero(w->alloc, sizeof *st);
    if (st == NULL)
        return EG_MEMORY;
    st->world = w;
    buffer_init(&st->held, w->alloc, FEED_HELD_BYTES_MAX);
    buffer_init(&st->marks, w->alloc, FEED_HELD_BYTES_MAX);
    buffer_init(&st->out, w->alloc, SHARD_COPY_GROUP_BYTES_MAX + REPLICA_HEAD_BYTES);
    shard_clock_init(&st->relay, w->alloc);
    shard_clock_init(&st->forget, w->alloc);
    shard_clock_init(&st->cut, w->alloc);
    shard_clock_init(&st->wiped, w->alloc);
    s->copy->feed = st;
    return EG_OK;
}

void feed_walk_ends(struct feed *st, struct follower *f) {
    if (f->walks)
        atomic_fetch_sub(&st->world->walks, 1);
    f->walks = false;
    f->stage = WALK_OVER;
    buffer_fini(&f->place);
    feed_compare_ends(st, f);
    feed_compare_stop(st, &f->told);
}

void feed_follower_drop(struct feed *st, uint32_t i) {
    struct follower *f = st->follower[i];

    st->ragged |= f->partial;
    feed_walk_ends(st, f);
    feed_sift_stop(st, &f->sift);
    feed_compare_stop(st, &f->compare);
    shard_clock_fini(&f->has);
    shard_clock_fini(&f->snapshot);
    alloc_put(st->world->alloc, f, sizeof *f);
    st->follower[i] = st->follower[--st->follower_count];
}

struct held *feed_held(const struct feed *st, size_t *count) {
    *count = st->held.size_bytes / sizeof(struct held);
    return (struct held *) (void *) st->held.at;
}

void feed_close(struct feed_world *w, struct shard *s) {
    struct feed *st = feed_of(s);
    struct held *h;
    size_t count;

    if (st == NULL)
        return;
    if (st->owes)
        atomic_fetch_sub(&w->owing, 1);
    while (st->follower_count != 0)
        feed_follower_drop(st, 0);
    feed_sift_stop(st, &st->sift);
    feed_compare_stop(st, &st->compare);
    feed_scrub_drop(s);
    h = feed_held(st, &count);
    for (size_t i = 0; i < count; i++)
        if (h[i].reply != NULL)
            message_free(w->runtime, h[i].reply);
    buffer_fini(&st->held);
    buffer_fini(&st->marks);
    buffer_fini(&st->out);
    shard_clock_fini(&st->relay);
    shard_clock_fini(&st->forget);
    shard_clock_fini(&st->cut);
    shard_clock_fini(&st->wiped);
    alloc_put(w->alloc, st, sizeof *st);
    s->copy->feed = NULL;
}

/* ---- views ------------------------------------------------------------------------------- */

/* All was let go of, and nothing has come since. */
static bool is_wiped(struct shard *s) {
    const struct feed *st = feed_of(s);

    return st != NULL && !shard_clock_is_empty(&st->wiped) &&
           s->store->ops->stats(s->store).count == 0 && s->copy->graves.count == 0 &&
           shard_clock_has(&st->wiped, shard_copy_clock(s));
}

/* What this copy is worth when the view ends now. */
static uint8_t worth_now(struct shard *s) {
    const struct feed *st = feed_of(s);
    enum shard_role role = shard_role(s);
    bool any = !is_wiped(s) && shard_copy_any(s);
    bool full = shard_role_is_whole(role) || (st != NULL && st->was_full && role != SHARD_AWAY);
    bool deaf = st != NULL && st->deaf, unheard = deaf ? full : st != NULL && st->unheard;
    bool votes = s->copy == NULL ? role == SHARD_ALONE : s->copy->votes;
    enum replica_worth worth = full && !deaf ? REPLICA_FULL : any ? REPLICA_SOME : REPLICA_NONE;

    return (uint8_t) (worth | (any ? FEED_ANY : 0) | FEED_SAID | (votes ? FEED_VOTES : 0) |
                      (shard_role_is_whole(role) ? FEED_SERVED : 0) |
                      (unheard && worth == REPLICA_SOME ? FEED_UNHEARD : 0));
}

/* What it was when it served last; but a master that cannot hear another gives way to that. */
static void worth_as_before(struct shard *s) {
    uint8_t worth = atomic_load(&s->worth) & (uint8_t) ~FEED_SERVED;

    if ((worth & FEED_WORTH) == REPLICA_FULL && feed_of(s) != NULL && feed_of(s)->deaf)
        worth = (uint8_t) ((worth & ~FEED_WORTH) | REPLICA_SOME | FEED_UNHEARD);
    atomic_store(&s->worth, worth);
}

static void stop(struct feed_world *w, struct shard *s) {
    if (shard_role(s) != SHARD_STOPPED || atomic_load(&s->worth) == 0)
        atomic_store(&s->worth, worth_now(s));
    else
        worth_as_before(s);
    shard_set_role(s, SHARD_STOPPED);
    shard_tx_drop_locks(s);
    if (feed_of(s) != NULL)
        feed_of(s)->stopped = true;
    w->stopped(w);
}

static void leave_copy(struct actor *self, struct shard *s, bool wipe) {
    struct err_note note = {""};
    struct shard_turn t = {.shard = s,
                           .reader = shard_reader(s, self),
                           .note = &note,
                           .now_ms = (uint64_t) env_wall_ms(feed_of(s)->world->env)};

    bool owes = wipe && s->copy->patience.ever;

    if (owes) { /* it has a copy still in the next view: it is heard then */
        feed_of(s)->owes = true;
        atomic_fetch_add(&feed_of(s)->world->owing, 1); /* before anybody sees it away */
        feed_of(s)->world->worth_changed(feed_of(s)->world);
    }
    shard_set_role(s, SHARD_AWAY);
    if (wipe) /* it may count us until it makes that plan too; of no use where it has */
        (void) feed_send_follow(s, feed_of(s)->plan.master, ++feed_of(s)->session, false);
    if (owes)
        return;
    if (wipe && (shard_ready(&t) != EG_OK || shard_copy_wipe(&t) != EG_OK ||
                 shard_clock_copy(&feed_of(s)->wiped, shard_copy_clock(s)) != EG_OK))
        env_log(feed_of(s)->world->env, ENV_LOG_WARN, "replica",
                "a copy that is not needed stays for now");
    reader_reset(t.reader);
}

/* What is still held was seen or done in another view, and others may have gone on from there
 * meanwhile; and what is written from now on is later than all that was written in one before,
 * wherever that is and whatever clocks say. */
static void begin_majority(struct actor *self, struct shard *s, bool goes_on) {
    struct feed *st = feed_of(s);

    if (st->plan.quorum.fresh)
        shard_copy_vote(s, true);
    if (goes_on)
        feed_carry_over(st);
    else
        feed_give_up(self, st);
    st->round_over = st->round;
    st->round_more = false;
    if (feed_is_master(st))
        s->hlc = EG_MAX(s->hlc, shard_stamp_of_view(st->plan.view.epoch));
}

/* Has it something acknowledged that the master's lineage may lack? */
static bool has_more(const struct shard *s, const struct feed_order *order) {
    uint8_t worth = atomic_load(&s->worth);

    return order->plan.here && !order->was_full &&
           ((worth & FEED_UNHEARD) != 0 || (worth & FEED_WORTH) == REPLICA_FULL);
}

static void follow_plan(struct actor *self, struct shard *s, const struct feed_order *order) {
    struct feed *st = feed_of(s);
    bool goes_on = feed_is_master(st) && feed_quorum_goes_on(&st->plan, &order->plan);

    feed_scrub_drop(s);
    while (st->follower_count != 0)
        feed_follower_drop(st, 0);
    feed_sift_stop(st, &st->sift);
    feed_compare_stop(st, &st->compare);
    feed_set_telling(s);
    st->plan = order->plan;
    st->was_full = order->was_full && order->plan.here;
    st->unheard = has_more(s, order);
    st->acks_one = order->acks_one;
    st->stopped = st->serving = st->ended = st->counted = st->barred = st->deaf = false;
    s->copy->gives_way = !st->plan.worst;
    st->lingers = st->owes;
    if (st->owes)
        atomic_fetch_sub(&st->world->owing, 1);
    st->owes = false;
    st->failures = 0;
    st->doubt_ticks = DOUBT_TICKS - 1;
    st->forget_sequence = st->cut_sequence = st->kept = 0;
    if (feed_has_quorum(st))
        begin_majority(self, s, goes_on);
    if (s->copy->loose &&
        !st->plan.refused) { /* those ENDs were of the view before, or of a start before */
        shard_copy_claim(s);
        st->ragged = st->partial = false;
    }
    feed_forget_group(s);
    buffer_clear(&st->marks);
    st->told_stable = st->poked = 0;
    st->late = false;
    shard_set_stable(s, 0);
    if (st->plan.refused && st->plan.here) { /* as if between two views */
        st->stopped = true;
        shard_set_role(s, SHARD_STOPPED);
        return;
    }
    if (!st->plan.here || !feed_is_master(st))
        feed_give_up(self, st);
    if (!st->plan.here) {
        leave_copy(self, s, st->plan.drop);
    } else if (feed_is_master(st)) {
        shard_set_role(s, SHARD_STOPPED);
        feed_try_serve(self, s);
        feed_tick_soon(self, s);
    } else if (st->plan.waits) {
        feed_wait_for_room(self, s);
    } else {
        feed_follow_anew(self, s);
    }
    s->copy->patience.ever = false;
}

/* An order that comes twice changes nothing. */
static bool same_plan(const struct replica_plan *a, const struct replica_plan *b) {
    bool same = view_id_equal(a->view, b->view) && a->master == b->master && a->here == b->here &&
                a->drop == b->drop && a->settled == b->settled && a->waits == b->waits &&
                a->worst == b->worst && a->count == b->count && a->refused == b->refused &&
                memcmp(&a->quorum, &b->quorum, sizeof a->quorum) == 0;

    for (uint32_t i = 0; same && i < a->count; i++)
        same = a->holder[i].node == b->holder[i].node && a->holder[i].must == b->holder[i].must &&
               a->holder[i].ill == b->holder[i].ill && a->holder[i].well == b->holder[i].well &&
               a->holder[i].votes == b->holder[i].votes &&
               a->holder[i].elects == b->holder[i].elects;
    return same;
}

static void take_plan(struct feed_world *w, struct actor *self, struct shard *s,
                      struct message *m) {
    struct feed_order order;

    memcpy(&order, m->payload, sizeof order);
    atomic_store(&s->master, order.plan.master);
    atomic_store(&s->refused, order.plan.refused);
    if (order.never_met) {
        shard_set_role(s, order.plan.refused ? SHARD_STOPPED : SHARD_ALONE);
        return;
    }
    if (feed_of(s) != NULL && feed_of(s)->acks_one == order.acks_one &&
        same_plan(&feed_of(s)->plan, &order.plan))
        return;
    if (feed_open(w, s) == EG_OK) {
        follow_plan(self, s, &order);
        return;
    }
    actor_keep(self, m); /* no memory: again when others had a turn */
    (void) actor_send(self, actor_pid(self), m);
}

/* ---- time -------------------------------------------------------------------------------- */

static bool doubt_one(void *context, struct value head, struct value part) {
    struct shard *s = context;
    struct feed_world *w = feed_of(s)->world;

    (void) part;
    w->doubt(w, s, head);
    return true;
}

/* Parts are kept until somebody says what became of them.  Who should may be gone: it is asked
 * about as soon as we serve, and now and then while they stay.  False: there are none. */
static bool look_at_parts(struct shard *s) {
    struct feed *st = feed_of(s);
    bool any = st->serving && shard_tx_is_prepared(s);

    if (!any)
        st->doubt_ticks = 0;
    else if (st->doubt_ticks++ % DOUBT_TICKS == DOUBT_TICKS - 1)
        shard_tx_each(s, doubt_one, s);
    return any;
}

static bool master_waits(struct shard *s) {
    struct feed *st = feed_of(s);
    bool waits = !st->serving || st->held.size_bytes != 0 || s->copy->graves.count != 0;

    for (uint32_t i = 0; i < st->follower_count; i++) {
        const struct follower *f = st->follower[i];
        waits |=
            !f->full || f->end_sequence == UINT64_MAX || ((!f->heard || f->lacked) && !f->once);
    }
    return waits;
}

static void tick(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);

    st->ticking = false;
    if (!st->plan.here || st->stopped || shard_role(s) == SHARD_AWAY)
        return;
    if (feed_is_master(st)) {
        for (uint32_t i = 0; i < st->follower_count; i++) {
            struct follower *f = st->follower[i];

            if (f->end_sequence == UINT64_MAX)
                (void) feed_say(s, f->node, REPLICA_ANEW, 0);
            else if ((!f->heard || f->lacked) && !f->once)
                feed_ask_again(self, s, f);
        }
        if (st->ticks++ % FORGET_TICKS == 0)
            feed_tend_graves(self, s);
        if (s->log.sync && shard_log_is_written(&s->log)) /* a notice may have failed */
            st->synced = dot_sequence(s->sequence);
        feed_try_serve(self, s);
        feed_round_tick(self, s);
        feed_release(self, s);
        feed_step(self, s);
        if (look_at_parts(s) || master_waits(s))
            feed_tick_soon(self, s);
        return;
    }
    feed_step(self, s); /* the master may follow us once */
    feed_copy_tick(self, s);
}

static void node_down(struct actor *self, struct shard *s, const struct message *m) {
    struct feed *st = feed_of(s);
    uint64_t node;

    memcpy(&node, m->payload, sizeof node);
    if (st == NULL || st->stopped)
        return; /* the next view is without its link, or made over it */
    for (uint32_t i = 0; i < st->follower_count; i++)
        if (st->follower[i]->node == node && !st->follower[i]->full) {
            feed_drop_node(self, s, node);
            break;
        }
    if (feed_follows(st, node) && st->plan.here && !st->plan.drop)
        feed_follow_anew(self, s);
}

/* ---- what the shard calls ---------------------------------------------------------------- */

static void synced(struct actor *self, struct shard *s, const struct message *m) {
    struct feed *st = feed_of(s);
    struct notice n;

    if (st == NULL || m->size_bytes != sizeof n)
        return;
    memcpy(&n, m->payload, sizeof n);
    if (feed_is_master(st) && n.session == 0) {
        st->synced = EG_MAX(st->synced, n.sequence);
        feed_release(self, s);
    } else if (st->ended && n.session == st->following) {
        feed_say_covered(s, n.sequence);
    }
}

/* What others have said is lost, and nobody knows what it was. */
static void missed(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);

    if (!st->plan.here)
        return;
    if (!feed_is_master(st)) {
        feed_follow_anew(self, s);
        return;
    }
    for (uint32_t i = 0; i < st->follower_count; i++) {
        struct follower *f = st->follower[i];

        if (f->once)
            continue;
        feed_lose(s, f);
        f->asked = false; /* an END that comes still would stand for what is lost */
    }
}

void feed_need(struct feed_world *w, struct shard *s, enum feed_need need) {
    atomic_fetch_or(&s->needs, (uint8_t) need);
    atomic_store(&w->needed, true);
}

/* Before anything that others have said is heard: it was said after what is missed. */
static void look_at_needs(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);
    uint8_t needs = atomic_load(&s->needs) == 0 ? 0 : atomic_exchange(&s->needs, 0);

    if (st == NULL || needs == 0)
        return;
    if (needs & FEED_MISSED)
        missed(self, s);
    if (!st->ticking)
        tick(self, s);
}

static void cut(struct shard *s, const struct message *m) {
    uint64_t limit_bytes;

    if (s->copy == NULL || m->size_bytes != sizeof limit_bytes)
        return;
    memcpy(&limit_bytes, m->payload, sizeof limit_bytes);
    feed_scrub_drop(s); /* it tells by graves what was removed from what is damaged */
    feed_cut_graves(s, limit_bytes);
}

static void feed_receive(void *user, struct actor *self, struct shard *s, struct message *m) {
    struct feed_world *w = user;
    struct feed *st = feed_of(s);

    switch ((enum feed_tag) m->tag) {
    case FEED_STOP:
        stop(w, s);
        break;
    case FEED_PLAN:
        take_plan(w, self, s, m);
        break;
    case FEED_HEAR:
        look_at_needs(self, s);
        feed_hear(self, s, m);
        break;
    case FEED_DOWN:
        node_down(self, s, m);
        break;
    case FEED_STEP:
        if (st != NULL) {
            st->stepping = false;
            feed_acknowledge_late(self, s);
            feed_tell_stable(s);
            feed_step(self, s);
        }
        break;
    case FEED_TICK:
        if (st != NULL)
            tick(self, s);
        break;
    case FEED_SYNCED:
        synced(self, s, m);
        break;
    case FEED_KEPT:
        feed_kept(s, m);
        break;
    case FEED_NEEDED:
        look_at_needs(self, s);
        break;
    case FEED_CUT:
        cut(s, m);
        break;
    case FEED_SCRUB:
        feed_scrub_begin(self, s, m);
        break;
    case FEED_SCRUB_STEP:
        feed_scrub_step(self, s);
        break;
    case FEED_SCRUB_GO:
        feed_scrub_go(self, s, m);
        break;
    case FEED_SCRUB_DROP:
        feed_scrub_drop(s);
        break;
    }
}

/* What was in the mailbox of the actor before is lost. */
static void feed_resume(void *user, struct actor *self, struct shard *s) {
    struct feed_world *w = user;
    struct feed *st = feed_of(s);

    w->resumed(w);
    if (st == NULL)
        return;
    st->ticking = st->stepping = false;
    feed_scrub_drop(s);
    missed(self, s);
    feed_tick_soon(self, s);
}

static void feed_closed(void *user, struct shard *s) {
    feed_close(user, s);
}

static eg_err feed_part_news(void *user, struct shard *s, enum shard_part_news news,
                             struct value head, struct value part) {
    struct transact_head h;

    (void) user;
    if (news == SHARD_PART_PREPARED)
        shard_mark_prepared(s, head, part);
    else if (transact_get_head(head, &h))
        shard_mark_ended(s, h.id, news == SHARD_PART_COMMITTED);
    return EG_OK;
}

static void feed_conflict(void *user, const struct shard_conflict *c) {
    struct feed_world *w = user;

    w->conflict(w, c, feed_of(c->shard)->plan.view);
}

/* All copies that there may be have told what they have, and none of them is that start. */
static bool feed_is_over(void *user, struct shard *s, uint64_t origin) {
    struct feed_world *w = user;
    const struct feed *st = feed_of(s);

    if (st == NULL || !st->serving || st->stopped || !st->plan.settled ||
        origin == origin_of(w->origins, w->origins->own))
        return false;
    for (uint32_t i = 0; i < st->plan.count; i++) {
        const struct follower *f = feed_follower(st, st->plan.holder[i].node);

        if (f == NULL || !f->full || !f->heard || f->origin == origin)
            return false;
    }
    return true;
}

const struct shard_copy_ops *feed_ops(void) {
    static const struct shard_copy_ops ops = {.changed = feed_changed,
                                              .room = feed_room,
                                              .receive = feed_receive,
                                              .resume = feed_resume,
                                              .hold = feed_hold,
                                              .close = feed_closed,
                                              .conflict = feed_conflict,
                                              .is_over = feed_is_over,
                                              .part = feed_part_news};

    return &ops;
}
