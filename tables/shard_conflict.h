/* shard_conflict.h -- two versions of a key, and neither writer knew of the other's.
 *
 *     what is here:  its dot is not in the teller's clock   -.
 *     what comes:    its dot is not in ours                  -'-> conflict
 *
 * Only the master of a view that has healed sees both so, once: it has heard a copy that was on
 * another side, before that copy hears anything (replication/feed.h).  What the table's policy
 * makes of them is a write of the master's own, later than both, and so what all copies come to;
 * where the policy takes the later, there is nothing to write.
 *
 * Threads    The shard's owner.
 */
#ifndef TABLES_SHARD_CONFLICT_H
#define TABLES_SHARD_CONFLICT_H

#include "tables/merge.h"
#include "tables/shard.h"
#include "tables/shard_clock.h"

/* A version by the name that is its own, and what its side had heard of when both met. */
struct conflict_version {
    uint64_t hlc, origin, sequence;
    const struct shard_clock *clock; /* NULL: it did not meet another, and goes for want of room */
};

/* What a policy has decided, for who keeps a journal. */
struct shard_conflict {
    struct shard *shard;
    struct value key;
    struct value winner, loser;        /* records; size 0: a removal */
    struct conflict_version met, lost; /* met: the winner, or what it was made of with the loser */
    uint64_t teller;                   /* the node that had the other; 0: this one */
};

/* What is to be there. */
struct shard_verdict {
    bool is_new;         /* false: the later of both, as it is */
    struct value record; /* size 0: nothing; valid in the turn */
    struct value state;
    bool expires_as_there; /* else as here */
};

/* What merge_rule's `dropped` takes: more siblings than may be go to the journal. */
struct shard_dropping {
    struct shard_turn *turn;
    struct merge_version winner; /* the newest */
};
void shard_conflict_dropped(void *dropping, const struct merge_sibling *loser);

/* The record under the turn's key, of which `holder` knew, goes for a clear of `clearer`'s, who did
 * not; of siblings so do those that are not covered by him, too. */
void shard_conflict_cleared(struct shard_turn *t, const struct merge_version *loser,
                            const struct shard_clock *holder, struct record_version clear,
                            const struct shard_clock *clearer);

/* EG_MEMORY, EG_CORRUPT, what a callback says: nothing is decided. */
EG_MUST_USE eg_err shard_conflict_judge(struct shard_turn *t, const struct merge_version *here,
                                        const struct merge_version *there,
                                        struct shard_verdict *out);

#endif /* TABLES_SHARD_CONFLICT_H */
