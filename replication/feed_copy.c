/* feed_copy.c -- a copy's side: it follows, applies what it hears, and says what it has. */
#include "engine/env.h"
#include "engine/planted.h"
#include "replication/feed_private.h"
#include "tables/shard_floor.h"
#include "tables/shard_mark.h"

#include <string.h>

enum {
    AGAIN_TICKS = 16,    /* the longest between two times that something is asked for */
    FAILURES_COUNTED = 6 /* 2^6 ticks are long enough for a disc to be looked after    */
};

bool feed_is_time(uint32_t ticks) {
    return (ticks & (ticks - 1)) == 0 || ticks % AGAIN_TICKS == 0;
}

/* Nothing that was said before counts for it any more. */
static void be_filling(struct shard *s) {
    struct feed *st = feed_of(s);

    if (!PLANTED(SERVES_WHILE_FILLING) || shard_role(s) != SHARD_FULL)
        shard_set_role(s, SHARD_FILLING); /* before the master knows: it counts us no more then */
    if (st->ended)
        st->was_full = false; /* it may have gone on without us */
    st->ended = st->counted = st->quiet = st->barred = st->late = false;
    st->acked = 0;
    st->pause_ticks = st->quiet_ticks = 0;
    st->following = ++st->session;
    st->up_sent = st->up_has = 0;
    st->upset = false;
    feed_sift_stop(st, &st->sift);
    feed_compare_stop(st, &st->compare);
    feed_scrub_drop(s);   /* what we lack is on its way */
    feed_forget_group(s); /* our clock has it */
    shard_mark_begin(s);
}

void feed_follow_anew(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);

    if (st->stopped)
        return; /* the next view says whom */
    be_filling(s);
    (void) feed_send_follow(s, st->plan.master, st->following, false); /* the tick asks again */
    feed_tick_soon(self, s);
}

/* A master that counts us is told at once, for its answers wait. */
void feed_fall_behind(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);
    uint32_t failures = st->failures;

    if (st->stopped)
        return;
    st->failures = EG_MIN(failures + 1, (uint32_t) FAILURES_COUNTED);
    if (failures == 0 || st->counted) {
        feed_follow_anew(self, s);
        return;
    }
    be_filling(s);
    st->pause_ticks = 1u << failures;
    feed_tick_soon(self, s);
}

void feed_say_covered(struct shard *s, uint64_t sequence) {
    struct feed *st = feed_of(s);

    st->acked = sequence;
    st->late = false;
    if (feed_say_of(s, st->plan.master, REPLICA_COVERED, st->following, sequence) != EG_OK)
        feed_need(st->world, s, FEED_MISSED); /* it would wait for ever */
    st->counted = true;
}

void feed_wait_for_room(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);
    bool was_full = st->was_full;

    if (st->stopped)
        return;
    feed_follow_anew(self, s); /* the master has us no more, and may ask what only we have */
    st->following = 0;
    st->barred = true;
    st->was_full = false;
    if (was_full)
        st->world->worth_changed(st->world);
}

/* What was heard could not be applied. */
static void apply_failed(struct actor *self, struct shard *s, eg_err err) {
    if (err == EG_DISC && s->log.disc != NULL && disc_health(s->log.disc, NULL) != EG_OK)
        feed_wait_for_room(self, s);
    else
        feed_fall_behind(self, s);
}

void feed_acknowledge(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);
    uint64_t covered;

    if (!st->ended)
        return;
    covered = shard_clock_reach(&s->copy->clock, st->slot, st->began);
    if (s->log.sync && !shard_log_is_written(&s->log)) {
        if (!feed_sync_notice(self, s, covered))
            feed_fall_behind(self, s);
        return;
    }
    feed_say_covered(s, covered);
}

/* Is there something that the disc has by now, and the master does not know? */
static bool owes_word(struct shard *s) {
    const struct feed *st = feed_of(s);

    return s->log.sync && shard_clock_reach(&s->copy->clock, st->slot, st->began) > st->acked;
}

void feed_acknowledge_late(struct actor *self, struct shard *s) {
    if (feed_of(s)->late)
        feed_acknowledge(self, s);
}

/* Who waits for it has been told; the master is, with all that comes meanwhile. */
static void acknowledge_later(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);

    if (shard_role(s) != SHARD_FULL) { /* it counts us by that */
        feed_acknowledge(self, s);
        return;
    }
    st->late = true;
    feed_step_soon(self, s, true);
}

void feed_copy_tick(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);
    bool full = shard_role_is_whole(shard_role(s)), written = shard_log_is_written(&s->log);

    if (full && !owes_word(s))
        return;
    if (st->barred && s->log.disc != NULL && disc_health(s->log.disc, NULL) == EG_OK) {
        feed_follow_anew(self, s);
    } else if (st->barred) {
        if (feed_is_time(++st->quiet_ticks)) /* lest it waits for us: the last may be lost */
            (void) feed_send_follow(s, st->plan.master, st->session, false);
    } else if (st->pause_ticks != 0) {
        if (--st->pause_ticks == 0)
            feed_follow_anew(self, s);
    } else if (st->ended) {
        if ((st->quiet || full) && (written || !s->log.sync)) /* else a notice is on its way */
            feed_acknowledge(self, s);
    } else if (st->sift != NULL && st->quiet && feed_is_time(++st->quiet_ticks)) {
        feed_sift_again(self, s, st->plan.master);
    } else if (st->sift == NULL && st->quiet && feed_is_time(++st->quiet_ticks)) {
        (void) feed_send_follow(s, st->plan.master, st->following, false); /* or the next time */
    }
    st->quiet = true;
    feed_tick_soon(self, s);
}

eg_err feed_apply(struct actor *self, struct shard *s, const struct follower *teller,
                  struct value_iter *it) {
    struct feed *st = feed_of(s);
    struct value_iter changes;
    struct err_note note = {""};
    struct shard_turn t = {.shard = s,
                           .reader = shard_reader(s, self),
                           .note = &note,
                           .teller = teller == NULL ? NULL : &teller->has,
                           .teller_node = teller == NULL ? 0 : teller->node,
                           .now_ms = (uint64_t) env_wall_ms(st->world->env)};
    eg_err err = shard_ready(&t);

    if (err == EG_OK)
        err = value_iter_enter(it, &changes) ? shard_copy_apply(&t, changes) : EG_BAD_REQUEST;
    reader_reset(t.reader);
    return err;
}

bool feed_follows(const struct feed *st, uint64_t from) {
    return st->plan.here && !feed_is_master(st) && from == st->plan.master;
}

bool feed_is_asked(const struct feed *st, uint64_t from, struct value_iter *it) {
    const struct follower *f = feed_follower(st, from);
    uint64_t session;

    if (!replica_wire_u64(it, &session))
        return false;
    if (feed_follows(st, from))
        return session == st->following;
    return f != NULL && f->asked && session == f->asked_session;
}

static bool is_well(const struct feed *st, uint64_t node) {
    for (uint32_t i = 0; i < st->plan.count; i++)
        if (st->plan.holder[i].node == node)
            return st->plan.holder[i].well;
    return false;
}

/* What it told could not be taken: another time, later and later.  Where our disc will not have it
 * the other never becomes full, for it is told nothing before it is heard: then we are worth no
 * more than it is, and the next view makes it the master, who can hear us. */
static void give_up_asking(struct shard *s, struct follower *f, struct actor *self, eg_err err) {
    struct feed *st = feed_of(s);

    if (err == EG_DISC && feed_is_master(st) && st->plan.worst && is_well(st, f->node)) {
        st->deaf = true;
        st->world->worth_changed(st->world);
    }
    f->asked = false;
    f->asked_ticks = 0;
    f->asked_failures = EG_MIN(f->asked_failures + 1, (uint32_t) FAILURES_COUNTED);
    feed_tick_soon(self, s);
}

void feed_not_taken(struct actor *self, struct shard *s, uint64_t from, eg_err err) {
    struct feed *st = feed_of(s);

    if (feed_follows(st, from))
        apply_failed(self, s, err);
    else
        give_up_asking(s, feed_follower(st, from), self, err);
}

static void hear_missing(struct actor *self, struct shard *s, uint64_t from,
                         struct value_iter *it) {
    struct feed *st = feed_of(s);
    struct follower *f = feed_follower(st, from);
    struct value_iter changes;
    uint64_t count;
    eg_err err;

    if (!feed_is_asked(st, from, it) || !replica_wire_u64(it, &count) ||
        !value_iter_enter(it, &changes))
        return;
    if (feed_follows(st, from) && st->ended)
        return; /* it came before the END, and has come once more */
    shard_copy_expect(s, count, changes.left);
    s->copy->loose = true;
    if (feed_follows(st, from)) {
        st->partial = true;
        err = feed_apply(self, s, NULL, it);
    } else {
        f->partial = st->hurry = true;
        feed_part(s, 0);
        err = feed_apply(self, s, f, it);
        feed_part(s, from);
        if (err == EG_OK)
            feed_relay(s, NULL);
    }
    feed_compare_spoil(st, from);
    if (err != EG_OK)
        feed_not_taken(self, s, from, err);
    else if (!feed_follows(st, from))
        f->asked_ticks = 0;
}

/* The values of an END, behind its session. */
struct end {
    struct shard_clock clock;
    uint64_t origin, sequence;
    struct shard_floor floor;
};

static void end_fini(struct end *e) {
    shard_clock_fini(&e->clock);
    shard_clock_fini(&e->floor.clock);
}

/* EG_BAD_REQUEST; what shard_clock_get() says. */
static eg_err end_read(const struct feed_world *w, struct value_iter *it, struct end *e) {
    struct value clock, floor;
    eg_err err;

    shard_clock_init(&e->clock, w->alloc);
    shard_clock_init(&e->floor.clock, w->alloc);
    if (!value_iter_next(it, &clock) || !replica_wire_u64(it, &e->origin) ||
        !replica_wire_u64(it, &e->sequence) || !value_iter_next(it, &floor) ||
        !replica_wire_u64(it, &e->floor.hlc))
        return EG_BAD_REQUEST;
    err = shard_clock_get(&e->clock, w->origins, clock);
    return err == EG_OK ? shard_clock_get(&e->floor.clock, w->origins, floor) : err;
}

/* The floor is taken over with the clock. */
static eg_err cover_end(struct shard *s, const struct end *e) {
    eg_err err = shard_floor_merge(s, &e->floor);

    return err == EG_OK ? shard_copy_cover(s, &e->clock) : err;
}

static void take_masters_end(struct actor *self, struct shard *s, const struct end *e, eg_err err) {
    struct feed *st = feed_of(s);

    if (err == EG_OK)
        err = origins_slot(st->world->origins, e->origin, &st->slot);
    if (err == EG_OK)
        st->began = shard_clock_last(&e->clock, st->slot);
    st->ended = err == EG_OK;
    st->partial &= !st->ended;
    if (st->ended)
        shard_mark_settle(s);
    if (st->ended)
        feed_acknowledge(self, s);
    else
        feed_fall_behind(self, s);
}

/* What was let go of here must go from those too who have been told all that we had, and are as
 * old. */
static void follow_floor(struct shard *s, const struct follower *teller,
                         const struct shard_clock *floor) {
    struct feed *st = feed_of(s);

    for (uint32_t i = 0; i < st->follower_count; i++) {
        struct follower *f = st->follower[i];

        if (f != teller && !f->once && f->stage == WALK_OVER && !shard_clock_has(&f->has, floor))
            feed_lose(s, f);
    }
}

void feed_take_end(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it,
                   bool sifted) {
    struct feed *st = feed_of(s);
    struct follower *f = feed_follower(st, from);
    struct end e;
    eg_err err = end_read(st->world, it, &e);

    feed_compare_stop(st, feed_follows(st, from) ? &st->compare : &f->compare);
    s->copy->loose &= st->ragged || !feed_follows(st, from);
    if (err == EG_OK)
        err = cover_end(s, &e);
    s->copy->loose |= err != EG_OK;
    s->copy->more &= err != EG_OK;
    if (feed_follows(st, from)) {
        take_masters_end(self, s, &e, err);
    } else if (err != EG_OK) {
        give_up_asking(s, f, self, err);
    } else {
        f->asked = f->lacked = f->partial = false;
        s->copy->loose = !feed_is_even(st);
        st->hurry = true;
        feed_relay(s, &e.clock);
        if (sifted)
            follow_floor(s, f, &e.floor.clock);
        feed_heard(self, s, f);
    }
    end_fini(&e);
}

static void hear_end(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it,
                     const uint8_t *past) {
    struct feed *st = feed_of(s);
    struct value_iter values;
    struct value said;
    struct end e;
    eg_err err;

    if (!feed_is_asked(st, from, it) || it->left != REPLICA_END_VALUES)
        return;
    said = (struct value){it->at, (uint32_t) (past - it->at)};
    values = *it;
    err = end_read(st->world, &values, &e);
    if (err != EG_OK)
        feed_not_taken(self, s, from, err);
    else if (!feed_sift_begins(self, s, from, said, &e.clock, &e.floor))
        feed_take_end(self, s, from, it, false);
    end_fini(&e);
}

/* What a clock that came with changes says: what else they stand for, and what the master has of
 * our own. */
static eg_err hear_clock(struct shard *s, struct value clock) {
    struct feed *st = feed_of(s);
    struct shard_clock of;
    eg_err err;

    shard_clock_init(&of, st->world->alloc);
    err = shard_clock_get(&of, st->world->origins, clock);
    if (err == EG_OK)
        err = shard_copy_cover(s, &of);
    if (err == EG_OK)
        st->up_has = EG_MAX(st->up_has, shard_clock_last(&of, st->world->origins->own));
    shard_clock_fini(&of);
    return err;
}

/* What we wrote before we heard this goes up before we say that we have it: the master may forget
 * a grave then, which it is older than. */
static eg_err flush_first(struct shard *s) {
    feed_flush(s);
    return feed_of(s)->upset ? EG_AGAIN : EG_OK;
}

static void hear_changes(struct actor *self, struct shard *s, uint64_t from,
                         struct value_iter *it) {
    struct feed *st = feed_of(s);
    uint64_t origin, first, last, stable;
    struct value clock, witness;
    eg_err err;

    if (!feed_follows(st, from) || st->barred || !replica_wire_u64(it, &origin) ||
        !replica_wire_u64(it, &first) || !replica_wire_u64(it, &last) ||
        !replica_wire_u64(it, &stable) || !value_iter_next(it, &clock) ||
        !value_iter_next(it, &witness))
        return;
    err = feed_apply(self, s, NULL, it);
    if (PLANTED(COVERED_UNAPPLIED))
        err = EG_OK;
    if (err == EG_OK && first <= last)
        err = shard_copy_cover_range(s, origin, first, last);
    /* Before the END it stands for things too that are still on their way: the END has it. */
    if (err == EG_OK && value_kind_of(clock) != VALUE_NIL && st->ended)
        err = hear_clock(s, clock);
    if (err == EG_OK)
        err = flush_first(s);
    if (err == EG_OK && shard_role_is_whole(shard_role(s)))
        shard_set_stable(s, PLANTED(ALL_IS_STABLE) ? UINT64_MAX : stable);
    if (err == EG_OK && feed_witness_hear(s, witness))
        acknowledge_later(self, s);
    else if (err == EG_OK)
        feed_acknowledge(self, s);
    else
        apply_failed(self, s, err);
    if (owes_word(s))
        feed_tick_soon(self, s); /* a notice of the disc may fail */
}

static void hear_serve(struct shard *s, uint64_t from, struct value_iter *it) {
    struct feed *st = feed_of(s);
    uint64_t stable;

    if (!feed_follows(st, from) || !st->ended || !feed_is_of(st, it, st->following) ||
        !replica_wire_u64(it, &stable))
        return;
    shard_set_stable(s, PLANTED(ALL_IS_STABLE) ? UINT64_MAX : stable);
    shard_set_role(s, feed_has_quorum(st) ? SHARD_VOTER : SHARD_FULL);
    if (feed_has_quorum(st))
        shard_copy_vote(s, true);
    st->failures = 0;
    st->unheard = false;
    if (!st->was_full)
        st->world->worth_changed(st->world);
}

static void hear_stable(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it) {
    uint64_t stable;

    if (!feed_follows(feed_of(s), from) || !shard_role_is_whole(shard_role(s)) ||
        !replica_wire_u64(it, &stable))
        return;
    shard_set_stable(s, PLANTED(ALL_IS_STABLE) ? UINT64_MAX : stable);
    feed_acknowledge_late(self, s); /* somebody waits for it by now, perhaps */
}

static void hear_forget(struct shard *s, uint64_t from, struct value_iter *it) {
    struct feed *st = feed_of(s);
    struct shard_clock covered;
    struct value clock;

    if (!feed_follows(st, from) || !value_iter_next(it, &clock))
        return;
    shard_clock_init(&covered, st->world->alloc);
    if (shard_clock_get(&covered, st->world->origins, clock) == EG_OK)
        (void) shard_copy_forget(s, &covered, UINT64_MAX); /* how many is of no use here */
    shard_clock_fini(&covered);
}

void feed_hear(struct actor *self, struct shard *s, const struct message *m) {
    struct feed *st = feed_of(s);
    struct feed_said said;
    const struct replica_head *h = &said.head;
    struct value_iter it;
    uint64_t from;

    if (st == NULL)
        return;
    memcpy(&said, m->payload, sizeof said);
    from = said.from;
    it = (struct value_iter){m->payload + sizeof said + said.rest_at, said.rest_left};
    if (!replica_is_of_round(h->kind) &&
        (!view_id_equal(h->view, st->plan.view) || h->table != feed_records_id(s)))
        return; /* of another layout: whoever changes later follows anew, or is told to */
    /* What was under way may still be had everywhere; nothing begins. */
    if (st->stopped && h->kind != REPLICA_CHANGES && h->kind != REPLICA_COVERED)
        return;
    st->quiet &= !feed_follows(st, from);
    switch (h->kind) {
    case REPLICA_FOLLOW:
        feed_hear_follow(self, s, from, &it);
        break;
    case REPLICA_MISSING:
        hear_missing(self, s, from, &it);
        break;
    case REPLICA_END:
        hear_end(self, s, from, &it, m->payload + m->size_bytes);
        break;
    case REPLICA_CHANGES:
        hear_changes(self, s, from, &it);
        break;
    case REPLICA_COVERED:
        feed_hear_covered(self, s, from, &it);
        break;
    case REPLICA_SERVE:
        hear_serve(s, from, &it);
        break;
    case REPLICA_ANEW:
        if (feed_follows(st, from) && !st->barred)
            feed_follow_anew(self, s);
        break;
    case REPLICA_FORGET:
        hear_forget(s, from, &it);
        break;
    case REPLICA_STABLE:
        hear_stable(self, s, from, &it);
        break;
    case REPLICA_SYNC:
        feed_hear_sync(self, s, from, &it);
        break;
    case REPLICA_SYNCED:
        feed_hear_synced(s, from, &it);
        break;
    case REPLICA_UP:
        feed_hear_up(self, s, from, &it);
        break;
    case REPLICA_HAVE:
        feed_hear_have(self, s, from, &it);
        break;
    case REPLICA_GONE:
        feed_hear_gone(self, s, from, &it);
        break;
    case REPLICA_TREE:
        feed_hear_tree(self, s, from, &it);
        break;
    case REPLICA_WANT:
        feed_hear_want(self, s, from, &it);
        break;
    case REPLICA_ROUND:
        feed_hear_round(s, from, &it);
        break;
    case REPLICA_STANDS:
        feed_hear_stands(self, s, from, &it);
        break;
    case REPLICA_NODES:
    case REPLICA_LIST:
    case REPLICA_LACKING:
        feed_scrub_hear(self, s, from, h->kind, &it);
        break;
    case REPLICA_ROOTS:
    case REPLICA_SUMMED:
    case REPLICA_SCRUB:
    case REPLICA_KINDS:
        break;
    }
}
