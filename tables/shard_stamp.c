/* shard_stamp.c -- two clocks of a shard: the one that it goes by, and the one that it has seen. */
#include "tables/shard_stamp.h"

#include "engine/planted.h"
#include "tables/table_private.h"

void shard_stamp_hear(struct shard_turn *t, uint64_t hlc) {
    struct shard *s = t->shard;

    if (EG_LIKELY(hlc <= s->hlc))
        return;
    if (EG_LIKELY(hlc >> 16 <= t->now_ms + SHARD_STAMP_AHEAD_MS) ||
        (hlc & SHARD_STAMP_VIEWS) != 0) { /* no time at all */
        s->hlc = hlc;
        return;
    }
    if (hlc > s->copy->ahead)
        s->copy->ahead = hlc;
    atomic_fetch_add_explicit(&s->table->world->stamps_ahead, 1, memory_order_relaxed);
}

uint64_t shard_stamp_after(const struct shard_turn *t, const struct key *k, uint64_t least) {
    struct shard_copy *c = t->shard->copy;
    const struct grave *g;
    uint64_t hlc = least;

    if (PLANTED(AHEAD_NOT_PASSED))
        return hlc;
    if (k == NULL || t->shard->store->bag) { /* graves of a bag are of whole records */
        hlc = EG_MAX(hlc, c->ahead + 1);
    } else {
        g = graves_find(&c->graves, k->hash, k->value);
        hlc = EG_MAX(hlc, EG_MAX(c->cleared.hlc, c->floor.hlc) + 1);
        if (g != NULL)
            hlc = EG_MAX(hlc, g->version.hlc + 1);
    }
    c->ahead = EG_MAX(c->ahead, hlc);
    return hlc;
}
