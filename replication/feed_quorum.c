/* feed_quorum.c -- a majority table's master: who has told it what it had, who has all, who says
 * that the view stands.
 *
 *     read, at the chair --> held --ROUND(n)--> all holders --STANDS(n)--> a majority: told
 *                             '--- while round n is under way: waits for round n + 1
 *
 * A copy answers a round in the view that it was asked in, or not at all; before it has a part in
 * another view it has stopped in this one.  So when a majority has answered, none had gone on when
 * the round began, and nobody had acknowledged anything that is not here.  One round is under way
 * at a time, for all that came before it began. */
#include "replication/feed_private.h"

enum counted { HEARD, TOLD_ALL, FULL, STANDS };

static const struct replica_holder *holder_of(const struct replica_plan *p, uint64_t node) {
    for (uint32_t i = 0; i < p->count; i++)
        if (p->holder[i].node == node)
            return &p->holder[i];
    return NULL;
}

static bool is_kin(const struct replica_plan *p, uint64_t node) {
    const struct replica_holder *h = holder_of(p, node);

    return h != NULL && h->kin;
}

static bool counts(const struct feed *st, const struct follower *f, const struct replica_holder *h,
                   enum counted what) {
    switch (what) {
    case HEARD:
        return f->heard && h->votes;
    case TOLD_ALL:
        return f->heard;
    case FULL:
        return f->full;
    case STANDS:
        return f->stands >= st->round;
    }
    return false;
}

/* How many of the list, ourselves among them. */
static uint32_t count_of(const struct feed *st, uint32_t list, enum counted what) {
    const struct replica_quorum *q = &st->plan.quorum;
    uint8_t bit = (uint8_t) (1u << list);
    uint32_t count = (q->elects & bit) != 0 && (what != HEARD || q->votes);

    for (uint32_t i = 0; i < st->follower_count; i++) {
        const struct follower *f = st->follower[i];
        const struct replica_holder *h = holder_of(&st->plan, f->node);

        count += h != NULL && (h->elects & bit) != 0 && counts(st, f, h, what);
    }
    return count;
}

static bool most(const struct feed *st, enum counted what) {
    bool enough = true;

    for (uint32_t l = 0; l < st->plan.quorum.lists; l++)
        enough &= count_of(st, l, what) >= st->plan.quorum.need[l];
    return enough;
}

bool feed_quorum_heard(const struct feed *st) {
    const struct replica_quorum *q = &st->plan.quorum;
    bool enough = true;

    for (uint32_t l = 0; l < q->lists; l++)
        enough &= count_of(st, l, HEARD) >= q->need[l] || count_of(st, l, TOLD_ALL) == q->of[l];
    return enough;
}

bool feed_quorum_full(const struct feed *st) {
    return most(st, FULL);
}

/* A view that is counted needs most of each of these lists, and so would have had one of these. */
bool feed_quorum_goes_on(const struct replica_plan *before, const struct replica_plan *now) {
    const struct replica_quorum *q = &before->quorum;
    bool enough = q->lists != 0 && !now->refused && before->master == now->master &&
                  view_id_equal(before->view, now->lineage);

    for (uint32_t l = 0; l < q->lists; l++) {
        uint8_t bit = (uint8_t) (1u << l);
        uint32_t count = (q->elects & bit) != 0;

        for (uint32_t i = 0; i < before->count; i++)
            count += (before->holder[i].elects & bit) != 0 && is_kin(now, before->holder[i].node);
        enough &= count >= q->need[l];
    }
    return enough;
}

/* ---- rounds -------------------------------------------------------------------------------- */

static void ask(struct shard *s) {
    struct feed *st = feed_of(s);

    for (uint32_t i = 0; i < st->follower_count; i++)
        if (st->follower[i]->stands < st->round) /* lost: the tick asks again */
            (void) feed_say(s, st->follower[i]->node, REPLICA_ROUND, st->round);
}

static bool is_under_way(const struct feed *st) {
    return st->round_over < st->round;
}

static void begin(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);

    st->round++;
    st->round_more = false;
    if (most(st, STANDS)) { /* our own word is enough */
        st->round_over = st->round;
        return;
    }
    ask(s);
    feed_tick_soon(self, s);
}

uint64_t feed_round(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);

    if (is_under_way(st)) { /* it began before this */
        st->round_more = true;
        return st->round + 1;
    }
    begin(self, s);
    return st->round;
}

void feed_hear_round(struct shard *s, uint64_t from, struct value_iter *it) {
    uint64_t round;

    if (feed_follows(feed_of(s), from) && replica_wire_u64(it, &round))
        (void) feed_say(s, from, REPLICA_STANDS, round); /* lost: it asks again */
}

void feed_hear_stands(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it) {
    struct feed *st = feed_of(s);
    struct follower *f = feed_follower(st, from);
    uint64_t round;

    if (!feed_is_master(st) || f == NULL || !replica_wire_u64(it, &round))
        return;
    f->stands = EG_MAX(f->stands, EG_MIN(round, st->round));
    if (!is_under_way(st) || !most(st, STANDS))
        return;
    st->round_over = st->round;
    feed_release(self, s);
    if (st->round_more)
        begin(self, s);
}

void feed_round_tick(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);

    (void) self;
    if (is_under_way(st))
        ask(s);
}
