/* feed.h -- one shard's exchange with its other copies, in its owner's turns.
 *
 *     copy:    FILLING --FOLLOW--> ... MISSING, END --COVERED--> ... SERVE --> FULL
 *     master:  STOPPED, until who must be heard has followed and told --> MASTER, or ALONE while
 *              no other copy is full --CHANGES--> all who follow
 *
 * A copy that is asked to follow is told what it lacks by a walk through the shard, in steps of
 * half a millisecond, while changes go on and are told too.  It is full when it has what
 * was there at the END of the walk (by the master's own count), and the master has counted
 * it: from then on answers wait for it.
 *
 * What fails on the way (no memory, a link that breaks) makes a copy follow anew; it does not
 * serve meanwhile.  A disc that takes no more makes it wait for room: it tells its master, by
 * a FOLLOW whose answers it does not take, that it is not to be counted.  A master whose disc
 * takes no more serves on; where a copy has something that it cannot take, it is worth no more than
 * that copy in the next view, so that the one that can hear the other is the master.
 *
 * Threads    The shard's owner; its actor.
 */
#ifndef REPLICATION_FEED_H
#define REPLICATION_FEED_H

#include "replication/replica_plan.h"
#include "replication/replica_wire.h"
#include "replication/witness.h"

enum feed_tag {
    FEED_STOP = SHARD_COPY_FIRST, /* payload: nothing               */
    FEED_PLAN,                    /* struct feed_order            */
    FEED_HEAR,                    /* struct feed_said, then a payload */
    FEED_DOWN,                    /* the id of a node whose link is lost */
    FEED_STEP,                    /* the next part of a walk         */
    FEED_TICK,
    FEED_SYNCED, /* struct notice: the disc has all up to it */
    FEED_KEPT,   /* the same, for good (feed_graves.c)    */
    FEED_NEEDED, /* shard.needs is not 0             */
    FEED_CUT,    /* how many bytes of graves it may keep */
    FEED_SCRUB,  /* struct scrub_order               */
    FEED_SCRUB_STEP,
    FEED_SCRUB_GO,   /* the round: all copies have compared */
    FEED_SCRUB_DROP, /* it takes too long                   */
};

/* A message of another copy, whose head has been read. */
struct feed_said {
    uint64_t from;
    struct replica_head head;
    uint32_t rest_at; /* in the payload: what follows the head, so many values */
    uint32_t rest_left;
};

/* What a shard's copy has to look after: bits of shard.needs.  They are set where there is no
 * memory for a message, and so by anybody. */
enum feed_need {
    FEED_NEEDS_TICK = 1, /* something is to be said again                */
    FEED_MISSED = 2,     /* what another node said has not reached it   */
};

/* Of a shard's `worth`: enum replica_worth, whether there has ever been a change, and that this is
 * what it was when a view ended. */
enum {
    FEED_WORTH = 3,
    FEED_ANY = 4,
    FEED_SAID = 8,
    FEED_VOTES = 16, /* of a majority table: REPLICA_VOTES, REPLICA_SERVED */
    FEED_SERVED = 32,
    FEED_UNHEARD = 64, /* REPLICA_UNHEARD */
};

struct feed_order {
    struct replica_plan plan;
    bool was_full;  /* this copy is FULL in the master's lineage */
    bool never_met; /* there is no other node, and never was      */
    bool acks_one;
};

/* A shard is to be summed, and compared with its other copies (feed_scrub.h). */
struct scrub_order {
    uint64_t round; /* `from` counts them */
    uint64_t salt;
    uint64_t cutoff_ms; /* what expires before is left out */
    uint64_t from;      /* its master */
    uint64_t root;      /* of a copy: what the master has summed */
    uint32_t depth;     /* likewise */
};

/* Of shard.scrubbed: round << SCRUB_STATE_BITS | state.  A root's lowest bits are the depth. */
enum scrub_state { SCRUB_NONE, SCRUB_BUSY, SCRUB_SUMMED, SCRUB_EQUAL, SCRUB_DIFFERS, SCRUB_OVER };
enum { SCRUB_STATE_BITS = 3, SCRUB_DEPTH_MASK = 7 };

/* What all feeds of a node share; replica.c fills it in. */
struct feed_world {
    struct alloc *alloc;
    struct env *env;
    struct runtime *runtime;
    struct origins *origins;
    uint64_t self;
    eg_err (*send)(void *user, uint64_t to, struct value payload);
    eg_err (*post)(void *user, uint64_t to, struct value payload); /* likewise, soon (outbox.h) */
    uint64_t (*pending_bytes)(void *user, uint64_t to);
    void *user;
    _Atomic uint64_t owing;    /* copies that were let go of and are to be heard first */
    _Atomic uint64_t late;     /* words of a session that is over, which nobody heeded */
    _Atomic uint32_t walks;    /* under way, at most REPLICA_FILLS */
    _Atomic uint64_t salt;     /* of the next comparison (feed_compare.c) */
    _Atomic uint32_t compares; /* before a walk; at most COMPARE_AT_ONCE (feed_compare.h) */
    void (*stopped)(struct feed_world *w);
    void (*worth_changed)(struct feed_world *w); /* of a copy: it has become full, or is no more */
    void (*resumed)(struct feed_world *w);       /* an order may have been lost with an actor */
    const struct witness_ops *witness;           /* NULL: copies answer no requests themselves */
    void *witness_user;
    /* The policy of a table has decided between two versions.  Any thread. */
    void (*conflict)(struct feed_world *w, const struct shard_conflict *c, struct view_id view);
    /* A part of a transaction is prepared here, and nobody has said for a while what became of
     * it.  Any thread. */
    void (*doubt)(struct feed_world *w, struct shard *s, struct value head);
    void (*scrubbed)(struct feed_world *w); /* some shard's has moved on */
    _Atomic uint64_t mended;                /* records and removals written anew */
    _Atomic bool needed; /* some shard needs something: who moves the feeds sends FEED_NEEDED */
};

/* What the catalog calls; the user is the feed_world. */
const struct shard_copy_ops *feed_ops(void);
/* From any thread; it cannot fail. */
void feed_need(struct feed_world *w, struct shard *s, enum feed_need need);
/* At the end, when nobody calls any more. */
void feed_close(struct feed_world *w, struct shard *s);

#endif /* REPLICATION_FEED_H */
