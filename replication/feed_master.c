/* feed_master.c -- who follows a shard, which of them are full, and what waits for them. */
#include "engine/planted.h"
#include "replication/feed_private.h"

#include <string.h>

/* ---- waiting for others ---------------------------------------------------------------------- */

void feed_tick_soon(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);
    struct message *m;
    eg_ref timer;

    if (st->ticking)
        return;
    m = message_new(actor_runtime(self), MESSAGE_INFO, 0);
    if (m != NULL) {
        m->tag = FEED_TICK;
        st->ticking = actor_start_timer(self, FEED_TICK_MS, m, &timer) == EG_OK;
    }
    if (!st->ticking)
        feed_need(st->world, s, FEED_NEEDS_TICK);
}

void feed_step_soon(struct actor *self, struct shard *s, bool wait) {
    struct feed *st = feed_of(s);
    struct message *m;
    eg_ref timer;

    if (st->stepping)
        return;
    m = message_new(actor_runtime(self), wait ? MESSAGE_INFO : MESSAGE_REPLY, 0);
    if (m == NULL) {
        feed_tick_soon(self, s);
        return;
    }
    m->tag = FEED_STEP;
    st->stepping = wait ? actor_start_timer(self, FEED_WAIT_MS, m, &timer) == EG_OK
                        : actor_send(self, actor_pid(self), m) == EG_OK;
    feed_tick_soon(self, s);
}

/* What all have of our own changes for whom answers wait. */
uint64_t feed_covered_by_all(const struct shard *s, const struct feed *st) {
    uint64_t least = s->log.sync ? st->synced : UINT64_MAX;

    for (uint32_t i = 0; i < st->follower_count; i++)
        if (st->follower[i]->full)
            least = EG_MIN(least, st->follower[i]->covered);
    return least;
}

void feed_mark(struct shard *s) {
    struct feed *st = feed_of(s);
    struct mark m = {dot_sequence(s->sequence), s->hlc};

    if (shard_role(s) != SHARD_MASTER)
        return;
    if (!buffer_append(&st->marks, &m, sizeof m)) { /* then one for all of them */
        buffer_clear(&st->marks);
        if (!buffer_append(&st->marks, &m, sizeof m))
            return; /* reads wait until the next change */
    }
}

void feed_settle(struct shard *s) {
    struct feed *st = feed_of(s);
    struct mark *m = (struct mark *) (void *) st->marks.at;
    size_t count = st->marks.size_bytes / sizeof *m, done = 0;
    uint64_t covered = feed_covered_by_all(s, st);

    while (done < count && m[done].sequence <= covered)
        done++;
    if (done == 0)
        return;
    shard_set_stable(s, EG_MAX(m[done - 1].hlc, atomic_load(&s->stable)));
    memmove(m, m + done, (count - done) * sizeof *m);
    st->marks.size_bytes -= done * sizeof *m;
}

void feed_tell_stable(struct shard *s) {
    struct feed *st = feed_of(s);
    uint64_t stable = atomic_load(&s->stable);

    if (!feed_is_master(st) || !st->serving || st->told_stable == stable)
        return;
    for (uint32_t i = 0; i < st->follower_count; i++) {
        struct follower *f = st->follower[i];

        if (f->full && f->told_stable != stable &&
            feed_say(s, f->node, REPLICA_STABLE, stable) == EG_OK) /* or the next */
            f->told_stable = stable;
    }
    st->told_stable = stable;
}

void feed_release(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);
    uint64_t covered = PLANTED(ANSWERED_BEFORE_COPIES) ? UINT64_MAX : feed_covered_by_all(s, st);
    size_t count, done = 0;
    struct held *h = feed_held(st, &count);

    if (!st->serving || !feed_quorum_full(st))
        return;
    feed_settle(s);
    if (st->told_stable != atomic_load(&s->stable) && st->marks.size_bytes == 0)
        feed_step_soon(self, s, true);
    while (done < count && h[done].sequence <= covered && h[done].round <= st->round_over) {
        if (h[done].reply != NULL)
            actor_reply(self, h[done].to, h[done].ref, h[done].reply);
        else
            feed_witness_over(st, &h[done]);
        done++;
    }
    if (done != 0) {
        memmove(h, h + done, (count - done) * sizeof *h);
        st->held.size_bytes -= done * sizeof *h;
    }
}

void feed_give_up(struct actor *self, struct feed *st) {
    static const char why[] = "made here, and the view changed before all copies had it";
    static const char again[] = "the view changed before a majority had confirmed it";
    size_t count;
    struct held *h = feed_held(st, &count);

    for (size_t i = 0; i < count; i++) {
        if (h[i].reply == NULL) {
            feed_witness_give_up(st, &h[i], why);
            continue;
        }
        message_free(st->world->runtime, h[i].reply);
        if (h[i].changed)
            actor_reply_bytes(self, h[i].to, h[i].ref, EG_IN_DOUBT, why, sizeof why - 1);
        else
            actor_reply_bytes(self, h[i].to, h[i].ref, EG_NO_REPLICA, again, sizeof again - 1);
    }
    buffer_clear(&st->held);
}

void feed_carry_over(struct feed *st) {
    size_t count;
    struct held *h = feed_held(st, &count);

    for (size_t i = 0; i < count; i++)
        h[i].round = 0; /* nobody has gone on without us since */
}

/* Ask our own disc to say when it has what we have done so far. */
bool feed_sync_notice(struct actor *self, struct shard *s, uint64_t sequence) {
    const struct feed *st = feed_of(s);
    struct notice n = {feed_is_master(st) ? 0 : st->following, sequence};
    struct message *m = message_copy(actor_runtime(self), MESSAGE_REPLY, &n, sizeof n);

    if (m == NULL)
        return false;
    m->tag = FEED_SYNCED;
    if (shard_log_wait(&s->log, actor_pid(self), 0, m) == EG_OK)
        return true;
    message_free(actor_runtime(self), m);
    return false;
}

/* A read waits for what copies have put off saying (feed_witness.c): let them say it now. */
static void poke(struct shard *s) {
    struct feed *st = feed_of(s);
    uint64_t sequence = dot_sequence(s->sequence);

    if (shard_copy_has_news(s) || st->poked == sequence)
        return;
    st->poked = sequence;
    for (uint32_t i = 0; i < st->follower_count; i++)
        if (st->follower[i]->full && st->follower[i]->covered < sequence)
            (void) feed_say(s, st->follower[i]->node, REPLICA_STABLE,
                            atomic_load(&s->stable)); /* or in a while, by themselves */
}

bool feed_hold(void *user, struct actor *self, struct shard *s, const struct message *call,
               const struct shard_request *q, struct message *reply, unsigned why) {
    struct feed *st = feed_of(s);
    struct held h = {.sequence = dot_sequence(s->sequence),
                     .changed = (why & SHARD_HOLD_CHANGED) != 0,
                     .to = call->from,
                     .ref = call->ref,
                     .reply = reply};

    (void) user;
    if (!feed_has_quorum(st) && feed_witness_hold(self, s, call, q, reply))
        return true;
    poke(s);
    if ((why & SHARD_HOLD_LOOKED) != 0 && feed_has_quorum(st) && !PLANTED(READ_WITHOUT_ROUND))
        h.round = feed_round(self, s);
    if (!buffer_append(&st->held, &h, sizeof h))
        return false;
    if (s->log.sync && !feed_sync_notice(self, s, h.sequence)) {
        st->held.size_bytes -= sizeof h;
        return false;
    }
    feed_release(self, s);
    return true;
}

/* ---- followers ----------------------------------------------------------------------------------
 */

struct follower *feed_follower(const struct feed *st, uint64_t node) {
    for (uint32_t i = 0; i < st->follower_count; i++)
        if (st->follower[i]->node == node)
            return st->follower[i];
    return NULL;
}

void feed_set_telling(struct shard *s) {
    struct feed *st = feed_of(s);
    bool telling = false;

    for (uint32_t i = 0; i < st->follower_count; i++)
        telling |= !st->follower[i]->once && st->follower[i]->heard;
    if (telling && !s->copy->telling)
        s->copy->told = dot_sequence(s->sequence);
    s->copy->telling = telling;
}

/* The role that goes with who is full. */
void feed_grant(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);
    bool any = false;

    if (!st->serving || st->stopped)
        return;
    for (uint32_t i = 0; i < st->follower_count; i++)
        any |= st->follower[i]->full;
    any = any && !st->acks_one;
    if (feed_has_quorum(st)) {
        shard_set_role(s, SHARD_CHAIR);
        feed_release(self, s);
        return;
    }
    if (any && shard_role(s) != SHARD_MASTER) {
        shard_set_role(s, SHARD_MASTER);
        feed_mark(s);
    }
    shard_set_role(s, any ? SHARD_MASTER : SHARD_ALONE);
    feed_release(self, s);
}

/* With one copy's word enough, others may be behind whatever they say. */
static uint64_t stable_for_others(const struct shard *s) {
    return feed_of(s)->acks_one ? UINT64_MAX : atomic_load(&s->stable);
}

static void tell_full(struct shard *s, struct follower *f) {
    uint64_t stable = stable_for_others(s);

    if (f->full && feed_say_of(s, f->node, REPLICA_SERVE, f->session, stable) == EG_OK)
        f->told_stable = stable; /* lost with the link: it follows anew */
}

/* Serve as soon as all who must be heard are, and are counted. */
void feed_try_serve(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);

    if (st->serving || st->stopped || !feed_is_master(st))
        return;
    if (feed_has_quorum(st) && (!feed_quorum_heard(st) || !feed_quorum_full(st)))
        return;
    for (uint32_t i = 0; i < st->plan.count && !feed_has_quorum(st); i++) {
        const struct replica_holder *h = &st->plan.holder[i];
        const struct follower *f = feed_follower(st, h->node);

        if (h->must && !PLANTED(SERVES_UNHEARD) &&
            (f == NULL || !f->heard || (!f->full && !h->ill)))
            return;
    }
    st->serving = true;
    st->unheard = false;
    if (feed_has_quorum(st))
        shard_copy_vote(s, true);
    feed_grant(self, s);
    for (uint32_t i = 0; i < st->follower_count; i++)
        tell_full(s, st->follower[i]);
    if (!st->was_full)
        st->world->worth_changed(st->world);
}

bool feed_is_holder(const struct feed *st, uint64_t node) {
    for (uint32_t i = 0; i < st->plan.count; i++)
        if (st->plan.holder[i].node == node)
            return true;
    return node == st->plan.master;
}

static struct follower *follower_make(struct feed *st, uint64_t node) {
    struct follower *f = alloc_zero(st->world->alloc, sizeof *f);

    if (f == NULL || st->follower_count == NODES_MAX) {
        alloc_put(st->world->alloc, f, f == NULL ? 0 : sizeof *f);
        return NULL;
    }
    f->node = node;
    shard_clock_init(&f->has, st->world->alloc);
    shard_clock_init(&f->snapshot, st->world->alloc);
    buffer_init(&f->place, st->world->alloc, KEY_SIZE_MAX * 2);
    st->follower[st->follower_count++] = f;
    return f;
}

void feed_drop_node(struct actor *self, struct shard *s, uint64_t node) {
    struct feed *st = feed_of(s);

    for (uint32_t i = st->follower_count; i-- > 0;)
        if (st->follower[i]->node == node)
            feed_follower_drop(st, i);
    feed_set_telling(s);
    feed_grant(self, s);
}

void feed_ask_once(struct shard *s, struct follower *f) {
    feed_sift_stop(feed_of(s), &f->sift);
    feed_compare_stop(feed_of(s), &f->compare);
    f->asked_session = ++feed_of(s)->session;
    f->asked = feed_send_follow(s, f->node, f->asked_session, true) == EG_OK; /* or the tick does */
    f->asked_ticks = 0;
}

void feed_ask_again(struct actor *self, struct shard *s, struct follower *f) {
    f->asked_ticks++;
    if (!f->asked && f->asked_ticks >= 1u << f->asked_failures)
        feed_ask_once(s, f);
    else if (f->sift != NULL && feed_is_time(f->asked_ticks))
        feed_sift_again(self, s, f->node);
    else if (f->asked && feed_is_time(f->asked_ticks))
        (void) feed_send_follow(s, f->node, f->asked_session, true); /* or the next time */
}

/* What it has; not `all`, where that is of origins that our disc cannot remember now. */
static eg_err hear_clock(struct feed *st, struct follower *f, struct value clock, bool *all) {
    eg_err err = shard_clock_get(&f->has, st->world->origins, clock);

    *all = err == EG_OK;
    if (err == EG_OK || err == EG_MEMORY || err == EG_BAD_REQUEST)
        return err;
    shard_clock_fini(&f->has);
    return shard_clock_get_known(&f->has, st->world->origins, clock, all);
}

void feed_heard(struct actor *self, struct shard *s, struct follower *f) {
    if (!f->heard && shard_clock_copy(&f->snapshot, shard_copy_clock(s)) != EG_OK) {
        feed_drop_node(self, s, f->node); /* it follows anew */
        return;
    }
    f->heard = true;
    feed_set_telling(s);
    feed_step_soon(self, s, false);
    feed_try_serve(self, s);
}

/* It has followed anew since; or it was counted, and would say another session if it was lost. */
static bool is_late(const struct follower *f, uint64_t session) {
    return session < f->session || (session == f->session && f->full);
}

void feed_hear_follow(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it) {
    struct feed *st = feed_of(s);
    struct follower *f;
    struct value clock, once;
    uint64_t session, origin, more;
    bool heard = false, partial = false, all;
    eg_err err;

    if (!feed_is_holder(st, from) || !replica_wire_u64(it, &session) ||
        !value_iter_next(it, &clock) || !value_iter_next(it, &once) ||
        !replica_wire_u64(it, &origin) || !replica_wire_u64(it, &more))
        return;
    f = feed_follower(st, from);
    if (f != NULL && is_late(f, session))
        return;
    if (f != NULL && f->session == session && f->end_sequence != UINT64_MAX) {
        if (f->stage == WALK_COMPARES)
            feed_compare_offer_again(s, f);
        feed_step_soon(self, s, false);
        return; /* it is being told */
    }
    if (f != NULL) {
        heard = f->heard;
        partial = f->partial; /* it is asked again */
        f->partial = false;
    }
    feed_drop_node(self, s, from);
    f = follower_make(st, from);
    if (f == NULL)
        return; /* it asks again */
    f->session = session;
    f->origin = origin;
    f->has_more = more;
    f->once = value_kind_of(once) == VALUE_TRUE;
    f->heard = heard;
    f->partial = partial;
    err = hear_clock(st, f, clock, &all);
    if (err == EG_OK)
        err = shard_clock_copy(&f->snapshot, shard_copy_clock(s));
    if (err != EG_OK) {
        feed_drop_node(self, s, from);
        return;
    }
    if (feed_is_master(st) && !f->once) {
        f->lacked = partial || !all || !shard_clock_has(&f->snapshot, &f->has);
        if (PLANTED(MAJORITY_NOT_READ) && feed_has_quorum(st))
            f->lacked = false;
        f->heard |= !f->lacked;
        if (f->lacked)
            feed_ask_once(s, f);
    }
    feed_set_telling(s);
    feed_step_soon(self, s, false);
}

void feed_hear_covered(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it) {
    struct feed *st = feed_of(s);
    struct follower *f = feed_follower(st, from);
    uint64_t sequence;

    if (f == NULL || f->once || !feed_is_of(st, it, f->session) || !replica_wire_u64(it, &sequence))
        return;
    sequence = EG_MIN(sequence, dot_sequence(s->sequence));
    if (f->full && sequence == f->covered && st->serving && !st->stopped)
        tell_full(s, f); /* it would not say it again if it knew */
    f->covered = EG_MAX(f->covered, sequence);
    if (!f->full && !st->stopped && f->stage == WALK_OVER && f->covered >= f->end_sequence) {
        f->full = true;
        if (st->serving) {
            feed_grant(self, s);
            tell_full(s, f);
        }
        feed_try_serve(self, s);
    }
    feed_release(self, s);
}

/* ---- the turn's end
 * ------------------------------------------------------------------------------- */

/* Does the group have a stretch that came from there? */
static bool has_part(const struct feed *st, uint64_t from) {
    for (uint32_t i = 0; i < st->part_count; i++)
        if (st->part[i].from == from)
            return true;
    return false;
}

/* The group without what came from `to`: how many changes, and how many bytes.  They are put at
 * the end of `out` where `put` says so; false: no memory. */
static bool group_for(struct shard *s, uint64_t to, bool put, uint32_t *count, size_t *bytes) {
    struct feed *st = feed_of(s);
    const struct shard_copy *c = s->copy;
    struct feed_part before = {0}, rest = {0, c->group_count, c->group.size_bytes};
    bool fits = true;

    *count = 0;
    *bytes = 0;
    for (uint32_t i = 0; i <= st->part_count && fits; i++) {
        const struct feed_part *p = i < st->part_count ? &st->part[i] : &rest;
        size_t part_bytes = p->bytes - before.bytes;

        if (p->from != to && part_bytes != 0) {
            *count += p->count - before.count;
            *bytes += part_bytes;
            fits = !put || buffer_append(&st->out, c->group.at + before.bytes, part_bytes);
        }
        before = *p;
    }
    return fits;
}

static bool out_witness(struct shard *s) {
    struct feed *st = feed_of(s);
    uint8_t *room = buffer_room(&st->out, WITNESS_BYTES);
    struct value_writer w = value_writer_init(room, room == NULL ? 0 : WITNESS_BYTES);

    witness_put(feed_witness_word(s), &w);
    st->out.size_bytes += room == NULL ? 0 : w.need_bytes;
    return room != NULL;
}

/* [origin, first, last, stable, clock or nil, witness, changes], but for what came from `to`.
 * *bare: that is no change at all, and nobody waits for it. */
static bool out_changes(struct shard *s, uint64_t to, bool *bare) {
    static const uint8_t nil = 0xc0;
    struct feed *st = feed_of(s);
    const struct origins *o = st->world->origins;
    uint32_t count;
    size_t bytes;
    bool fits = group_for(s, to, false, &count, &bytes);
    uint8_t header[FEED_ARRAY32_BYTES] = {0xdd, (uint8_t) (count >> 24), (uint8_t) (count >> 16),
                                          (uint8_t) (count >> 8), (uint8_t) count};

    *bare = count == 0 && st->witness.node == 0;
    fits = fits && feed_out_begin(s, REPLICA_CHANGES, 7, bytes) &&
           feed_out_u64(st, origin_of(o, o->own)) && feed_out_u64(st, s->copy->told + 1) &&
           feed_out_u64(st, dot_sequence(s->sequence)) && feed_out_u64(st, stable_for_others(s));
    if (shard_clock_is_empty(&st->relay))
        fits = fits && buffer_append(&st->out, &nil, 1);
    else
        fits = fits && feed_out_clock(st, &st->relay);
    return fits && out_witness(s) && buffer_append(&st->out, header, sizeof header) &&
           group_for(s, to, true, &count, &bytes);
}

/* Nobody may miss a change and not know it. */
void feed_lose(struct shard *s, struct follower *f) {
    struct feed *st = feed_of(s);

    (void) feed_say(s, f->node, REPLICA_ANEW, 0); /* not through either: the tick tries again */
    if (f->stage != WALK_OVER)
        feed_walk_ends(st, f);
    f->end_sequence =
        UINT64_MAX; /* it is not counted as it is, and if it was it stays waited for */
    feed_need(st->world, s, FEED_NEEDS_TICK);
}

/* To everybody who follows.  Those from whom nothing came hear the same. */
static void tell_followers(struct shard *s) {
    struct feed *st = feed_of(s);
    const struct feed_world *w = st->world;
    bool made = false, bare = false;
    uint64_t made_for = 0;

    for (uint32_t i = 0; i < st->follower_count; i++) {
        struct follower *f = st->follower[i];
        uint64_t to = has_part(st, f->node) ? f->node : UINT64_MAX; /* that is nobody's id */

        if (f->once || !f->heard || f->end_sequence == UINT64_MAX)
            continue;
        if (!made || to != made_for) {
            made = !s->copy->lost && out_changes(s, to, &bare);
            made_for = to;
        }
        if (!made || (bare ? w->post : w->send)(
                         w->user, f->node,
                         (struct value){st->out.at, (uint32_t) st->out.size_bytes}) != EG_OK) {
            feed_lose(s, f);
            made = false; /* `out` was used for the word */
        }
    }
}

bool feed_changed(void *user, struct shard *s) {
    struct feed *st = feed_of(s);

    (void) user;
    if (st == NULL)
        return true;
    if (!feed_is_master(st))
        return feed_tell_master(s);
    if (s->tx != NULL && !st->ticking)
        feed_need(st->world, s, FEED_NEEDS_TICK); /* to look after what is prepared */
    if (feed_may_wait(s))
        return false;
    feed_mark(s);
    st->told_stable = atomic_load(&s->stable);
    tell_followers(s);
    feed_forget_group(s);
    if (st->out.room_bytes > FEED_OUT_KEPT_BYTES) {
        buffer_fini(&st->out);
        buffer_init(&st->out, st->world->alloc, SHARD_COPY_GROUP_BYTES_MAX + REPLICA_HEAD_BYTES);
    }
    return true;
}
