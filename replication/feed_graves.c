/* feed_graves.c -- the master forgets deletes that no copy can miss any more.
 *
 *     note what there is by now --> all copies have covered it --SYNC--> each disc has it for good
 *                                                              <--SYNCED-- --FORGET--> graves go
 *
 * For good: a copy that loses power may lose the end of what was not synced.  If that was a delete
 * of which nobody has a grave any more, its record came back there, and there only. */
#include "engine/planted.h"
#include "replication/feed_private.h"

#include <string.h>

/* What a disc is asked to say (FEED_KEPT). */
struct keeping {
    struct view_id view;
    uint64_t sequence; /* the master's, up to which all is here */
};

/* ---- forgetting ------------------------------------------------------------------------------ */

static bool may_forget(const struct shard *s) {
    const struct feed *st = feed_of(s);

    if (PLANTED(GRAVES_FORGOTTEN_EARLY))
        return st->serving;
    if (!st->serving || !st->plan.settled || s->copy->graves.count == 0)
        return false;
    if (st->scrub != NULL)
        return false; /* they tell what was removed from what is damaged */
    for (uint32_t i = 0; i < st->plan.count; i++) {
        const struct follower *f = feed_follower(st, st->plan.holder[i].node);
        if (f == NULL || !f->full)
            return false;
    }
    return true;
}

static bool is_kept_by_all(const struct feed *st) {
    for (uint32_t i = 0; i < st->follower_count; i++)
        if (st->follower[i]->kept < st->forget_sequence)
            return false;
    return st->kept >= st->forget_sequence;
}

static void try_forget(struct shard *s) {
    struct feed *st = feed_of(s);

    if (st->forget_sequence == 0 || !may_forget(s) || !is_kept_by_all(st))
        return;
    for (uint32_t i = 0; i < st->follower_count; i++)
        if (feed_out_begin(s, REPLICA_FORGET, 1, 0) && feed_out_clock(st, &st->forget))
            (void) feed_out_send(st, st->follower[i]->node); /* it may keep them longer */
    (void) shard_copy_forget(s, &st->forget, UINT64_MAX);
    st->forget_sequence = 0;
}

/* ---- keeping --------------------------------------------------------------------------------- */

static void has_kept(struct shard *s, uint64_t sequence) {
    struct feed *st = feed_of(s);

    if (!feed_is_master(st)) {
        (void) feed_say(s, st->plan.master, REPLICA_SYNCED, sequence); /* or when asked again */
        return;
    }
    st->kept = EG_MAX(st->kept, sequence);
    try_forget(s);
}

/* Let our disc say when it has all that is here, whatever the table's durability. */
static void keep(struct actor *self, struct shard *s, uint64_t sequence) {
    struct keeping k = {.view = feed_of(s)->plan.view, .sequence = sequence};
    struct message *m;

    if (s->log.disc == NULL || (s->log.sync && shard_log_is_written(&s->log))) {
        has_kept(s, sequence);
        return;
    }
    m = message_copy(actor_runtime(self), MESSAGE_REPLY, &k, sizeof k);
    if (m == NULL)
        return; /* it is asked for again */
    m->tag = FEED_KEPT;
    if (shard_log_wait_synced(&s->log, actor_pid(self), 0, m) != EG_OK)
        message_free(actor_runtime(self), m);
}

void feed_kept(struct shard *s, const struct message *m) {
    struct keeping k;

    if (feed_of(s) == NULL || m->size_bytes != sizeof k)
        return;
    memcpy(&k, m->payload, sizeof k);
    if (view_id_equal(k.view, feed_of(s)->plan.view))
        has_kept(s, k.sequence);
}

void feed_hear_sync(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it) {
    struct feed *st = feed_of(s);
    uint64_t sequence;

    if (feed_follows(st, from) && st->ended && replica_wire_u64(it, &sequence) &&
        shard_clock_reach(&s->copy->clock, st->slot, st->began) >= sequence)
        keep(self, s, sequence);
}

void feed_hear_synced(struct shard *s, uint64_t from, struct value_iter *it) {
    struct follower *f = feed_follower(feed_of(s), from);
    uint64_t sequence;

    if (f == NULL || f->once || !replica_wire_u64(it, &sequence))
        return;
    f->kept = EG_MAX(f->kept, EG_MIN(sequence, f->covered));
    try_forget(s);
}

/* ---- too many of them ------------------------------------------------------------------------ */

/* What a copy wrote before it heard of a delete comes up before it says that it has that.  Until
 * all who are here have said so the master does not forget it: the older write would be taken here,
 * and not where the delete has come. */
void feed_cut_graves(struct shard *s, uint64_t limit_bytes) {
    struct feed *st = feed_of(s);

    if (st == NULL || !feed_is_master(st)) {
        shard_floor_cut(s, NULL, limit_bytes);
        return;
    }
    if (st->cut_sequence == 0) {
        if (shard_clock_copy(&st->cut, shard_copy_clock(s)) != EG_OK)
            return; /* another time */
        st->cut_sequence = EG_MAX(dot_sequence(s->sequence), (uint64_t) 1);
    }
    if (feed_covered_by_all(s, st) < st->cut_sequence)
        return;
    shard_floor_cut(s, &st->cut, limit_bytes);
    st->cut_sequence = 0;
}

/* ---- time ------------------------------------------------------------------------------------ */

static void ask_to_keep(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);

    for (uint32_t i = 0; i < st->follower_count; i++)
        if (st->follower[i]->kept < st->forget_sequence)
            (void) feed_say(s, st->follower[i]->node, REPLICA_SYNC, st->forget_sequence);
    if (st->kept < st->forget_sequence)
        keep(self, s, st->forget_sequence);
}

void feed_tend_graves(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);

    if (!may_forget(s))
        return;
    if (st->forget_sequence != 0 && feed_covered_by_all(s, st) >= st->forget_sequence)
        ask_to_keep(self, s);
    if (st->forget_sequence == 0 && s->copy->graves.count != 0 &&
        shard_clock_copy(&st->forget, shard_copy_clock(s)) == EG_OK)
        st->forget_sequence = EG_MAX(dot_sequence(s->sequence), (uint64_t) 1);
}
