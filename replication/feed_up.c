/* feed_up.c -- what was written dirty at one copy, on its way to the others.
 *
 *     copy A                     master M                          copy B
 *       dirty writes --UP-------> apply, cover, relay --CHANGES--> apply, cover
 *       next group  <--CHANGES, without what came from A, its clock: "I have yours"
 *
 * One group is under way at a time: what is written meanwhile is the next.  A copy sends it when
 * its master says that it has the one before; a master when all full copies have covered the one
 * before.  So groups are as large as the way is slow, nothing is sent by the clock, and who
 * does not keep up is felt by the writers (shard_dirty.h).
 *
 * Whatever is lost on the way makes the copy follow anew: its clock says what it has, and the
 * master asks for what it lacks. */
#include "engine/planted.h"
#include "replication/feed_private.h"

/* ---- the group -------------------------------------------------------------------------- */

void feed_part(struct shard *s, uint64_t from) {
    struct feed *st = feed_of(s);
    const struct shard_copy *c = s->copy;
    struct feed_part *last = st->part_count == 0 ? NULL : &st->part[st->part_count - 1];

    if (st->parts_over || c->group_count == (last == NULL ? 0 : last->count))
        return;
    if (last == NULL || last->from != from) {
        st->parts_over = st->part_count == FEED_PARTS; /* all others hear the rest, from wherever */
        if (st->parts_over)
            return;
        last = &st->part[st->part_count++];
    }
    *last = (struct feed_part){from, c->group_count, c->group.size_bytes};
}

void feed_forget_group(struct shard *s) {
    struct feed *st = feed_of(s);

    shard_copy_drop_group(s);
    st->part_count = 0;
    st->parts_over = st->hurry = false;
    shard_clock_clear(&st->relay);
    st->witness.node = 0;
}

void feed_flush(struct shard *s) {
    struct feed *st = feed_of(s);

    if (!shard_copy_has_news(s))
        return;
    st->forced = true;
    shard_copy_tell(s);
    st->forced = false;
}

bool feed_room(void *user, struct shard *s) {
    const struct feed *st = feed_of(s);

    (void) user;
    if (st != NULL && st->lingers)
        return false; /* it would never come to an end */
    for (uint32_t i = 0; st != NULL && i < st->follower_count; i++) {
        const struct follower *f = st->follower[i];

        if (!f->full && st->world->pending_bytes(st->world->user, f->node) > FEED_AHEAD_BYTES)
            return false;
    }
    return true;
}

/* ---- a copy -------------------------------------------------------------------------------- */

/* [origin, first, last, changes] */
static bool out_up(struct shard *s) {
    struct feed *st = feed_of(s);
    const struct origins *o = st->world->origins;
    const struct shard_copy *c = s->copy;
    uint32_t count = c->group_count;
    uint8_t header[FEED_ARRAY32_BYTES] = {0xdd, (uint8_t) (count >> 24), (uint8_t) (count >> 16),
                                          (uint8_t) (count >> 8), (uint8_t) count};

    return feed_out_begin(s, REPLICA_UP, 4, c->group.size_bytes) &&
           feed_out_u64(st, origin_of(o, o->own)) && feed_out_u64(st, c->told + 1) &&
           feed_out_u64(st, dot_sequence(s->sequence)) &&
           buffer_append(&st->out, header, sizeof header) &&
           buffer_append(&st->out, c->group.at, c->group.size_bytes);
}

bool feed_tell_master(struct shard *s) {
    struct feed *st = feed_of(s);
    struct shard_copy *c = s->copy;

    if (shard_role(s) != SHARD_FULL || (c->group_count == 0 && !c->lost))
        return true; /* it follows anew before it is full again: by its clock */
    if (st->up_has < st->up_sent && !st->forced && !c->lost)
        return false;
    if (PLANTED(DIRTY_NOT_TOLD))
        return true;
    if (c->lost || !out_up(s) || feed_out_send(st, st->plan.master) != EG_OK) {
        st->upset = true;
        feed_need(st->world, s, FEED_MISSED); /* it follows anew */
        return true;
    }
    st->up_sent = dot_sequence(s->sequence);
    return true;
}

/* ---- the master ---------------------------------------------------------------------------- */

bool feed_may_wait(const struct shard *s) {
    const struct feed *st = feed_of(s);
    const struct shard_copy *c = s->copy;

    if (c->lost || st->hurry || st->forced || st->held.size_bytes != 0 ||
        c->patience.count != c->group_count)
        return false;
    for (uint32_t i = 0; i < st->follower_count; i++)
        if (st->follower[i]->full && st->follower[i]->covered < c->told)
            return true;
    return false;
}

void feed_relay(struct shard *s, const struct shard_clock *of) {
    struct feed *st = feed_of(s);

    for (uint32_t i = 0; i < st->follower_count && of != NULL; i++) {
        struct follower *f = st->follower[i];

        if (f->stage != WALK_OVER && shard_clock_merge(&f->snapshot, of) != EG_OK)
            feed_lose(s, f);
    }
    if (!s->copy->telling)
        return;
    s->sequence++;
    s->copy->news = true;
    if (of != NULL && shard_clock_merge(&st->relay, of) != EG_OK)
        s->copy->lost = true;
}

/* These changes, all of which are here now, to the others. */
static eg_err relay_range(struct shard *s, uint64_t origin, uint64_t first, uint64_t last) {
    struct feed *st = feed_of(s);
    struct shard_clock of;
    uint16_t slot;
    eg_err err = shard_copy_cover_range(s, origin, first, last);

    if (err != EG_OK)
        return err;
    shard_clock_init(&of, st->world->alloc);
    err = origins_slot(st->world->origins, origin, &slot);
    if (err == EG_OK)
        err = shard_clock_add(&of, slot, first, last);
    if (err == EG_OK)
        feed_relay(s, &of);
    shard_clock_fini(&of);
    return err;
}

/* Is what came before them here too? */
static bool follows_on(struct shard *s, uint64_t origin, uint64_t first) {
    uint16_t slot;

    return first == 1 || (origins_slot(feed_of(s)->world->origins, origin, &slot) == EG_OK &&
                          shard_clock_covers(&s->copy->clock, dot_make(slot, first - 1)));
}

void feed_hear_up(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it) {
    struct feed *st = feed_of(s);
    struct follower *f = feed_follower(st, from);
    uint64_t origin, first, last;
    uint32_t before;
    eg_err err;

    if (!feed_is_master(st) || f == NULL || f->once || !replica_wire_u64(it, &origin) ||
        !replica_wire_u64(it, &first) || !replica_wire_u64(it, &last) || first < 1 || first > last)
        return;
    feed_part(s, 0);
    before = s->copy->group_count;
    err = feed_apply(self, s, NULL, it);
    feed_compare_spoil(st, from);
    s->copy->patience.count += s->copy->group_count - before;
    feed_part(s, from);
    if (err == EG_OK)
        err = relay_range(s, origin, first, last);
    if (err != EG_OK) {
        feed_lose(s, f);
        feed_tick_soon(self, s);
    } else if (!follows_on(s, origin, first) && !f->asked) {
        f->lacked = true;
        feed_ask_once(s, f);
        feed_tick_soon(self, s);
    }
}
