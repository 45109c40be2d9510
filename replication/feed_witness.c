/* feed_witness.c -- another node's requests that the copies answer themselves (witness.h).
 *
 *     master: run --> held without a reply, the word goes out with the group's changes
 *     copies: applied --> say so to that node; that node's own copy tells its router
 *     master: all have it: nothing more to say, unless that node's copy began anew meanwhile
 *
 * That node's copy is one of those that must have it, and hears who the others are with the
 * change.  As long as it follows in the same session it has heard: then whatever is lost between
 * the others and it is made good by `stable`, which it hears from us. */
#include "replication/feed_private.h"

static uint32_t count_full(const struct feed *st) {
    uint32_t count = 0;

    for (uint32_t i = 0; i < st->follower_count; i++)
        count += st->follower[i]->full;
    return count;
}

/* Of these who asks looks only at whether it is done. */
static bool is_of_transaction(enum shard_op op) {
    return op == SHARD_TX_ONE || op == SHARD_TX_PREPARE || op == SHARD_TX_COMMIT;
}

/* Is that an answer which is known without the master? */
static bool is_plain(const struct shard_request *q, const struct message *reply) {
    if (shard_op_transacts(q->op))
        return is_of_transaction(q->op);
    return q->op != SHARD_READ && q->op != SHARD_SETTLE && reply->size_bytes == 1 &&
           reply->payload[0] == 0xc3; /* true */
}

bool feed_witness_hold(struct actor *self, struct shard *s, const struct message *call,
                       const struct shard_request *q, struct message *reply) {
    struct feed *st = feed_of(s);
    const struct follower *f;
    struct held h = {.sequence = dot_sequence(s->sequence)};

    if (q->for_node == 0 || st->witness.node != 0 || s->log.sync || st->world->witness == NULL ||
        !is_plain(q, reply) || !shard_copy_has_news(s) || count_full(st) > WITNESS_COPIES_MAX)
        return false;
    f = feed_follower(st, q->for_node);
    if (f == NULL || !f->full || f->end_sequence == UINT64_MAX)
        return false;
    h.session = f->session;
    h.for_node = q->for_node;
    h.for_number = q->for_number;
    h.part = shard_op_transacts(q->op);
    if (!buffer_append(&st->held, &h, sizeof h))
        return false;
    st->witness = (struct witness_word){.node = q->for_node, .number = q->for_number};
    reply->tag = (uint32_t) EG_AGAIN;
    actor_reply(self, call->from, call->ref, reply);
    return true;
}

/* Where a group goes out: its word, about as many copies as there are now. */
const struct witness_word *feed_witness_word(struct shard *s) {
    struct feed *st = feed_of(s);
    struct witness_word *word = &st->witness;

    word->hlc = s->hlc;
    word->count = 0;
    for (uint32_t i = 0; i < st->follower_count && word->count < WITNESS_COPIES_MAX; i++)
        if (st->follower[i]->full)
            word->copy[word->count++] = st->follower[i]->node;
    return word;
}

static void answer(struct feed *st, const struct held *h, eg_err outcome, const char *text) {
    const struct witness_word word = {.node = h->for_node, .number = h->for_number};

    st->world->witness->answer(st->world->witness_user, &word, outcome, text);
}

void feed_witness_over(struct feed *st, const struct held *h) {
    static const char why[] = "made here, in a view that who asked is not in";
    const struct follower *f = feed_follower(st, h->for_node);

    if (!feed_is_holder(st, h->for_node) && !h->part) /* whose manager knows of views */
        answer(st, h, EG_IN_DOUBT, why);
    else if (f == NULL || !f->full || f->session != h->session)
        answer(st, h, EG_OK, "");
}

void feed_witness_give_up(struct feed *st, const struct held *h, const char *why) {
    answer(st, h, EG_IN_DOUBT, why);
}

/* What came with it is applied here: all up to `last` is. */
bool feed_witness_hear(struct shard *s, struct value word) {
    struct feed *st = feed_of(s);
    const struct feed_world *w = st->world;
    struct witness_word heard;

    if (!st->ended || s->log.sync || w->witness == NULL || witness_get(word, &heard) != EG_OK ||
        heard.node == 0)
        return false;
    if (heard.node == w->self)
        w->witness->tell(w->witness_user, &heard);
    else
        w->witness->have(w->witness_user, &heard, st->plan.view);
    return true;
}
