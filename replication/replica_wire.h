/* replica_wire.h -- what copies of a shard say to each other.
 *
 *     [kind, view epoch, view hash, table, shard, ...]
 *
 *     FOLLOW   session, clock, once, origin, more   tell me what I lack; not `once`: and all that
 *                                comes then; my changes are of this start; I have so many records,
 *                                and my clock does not say all of them (0: it does)
 *     MISSING  session, count, changes   some of what you lack (tables/shard_copy.h); and how many
 *                                records there are here, about
 *     END      session, clock, origin, sequence, floor, hlc   that was all of what this clock
 *                                stands for; as our how-many-th change we are at by now; what was
 *                                removed up to there is not told of (tables/shard_floor.h)
 *
 *     TREE     session, follows, salt, depth, level, parents, sums   what I have below the nodes
 *                                that differ (feed_compare.h); `follows`: who says it does
 *     WANT     session, salt, leaves or nil, prints   in these leaves I have these: tell the others
 *     HAVE     session, number, items   I have these: which of them have you seen, and no more?
 *     GONE     session, number, items   these
 *
 *     CHANGES  origin, first, last, stable, clock or nil, witness, changes   what one turn did;
 *                                what more stands behind it; up to which stamp all copies have
 *                                all; whom else to tell that you have it (witness.h)
 *
 *     COVERED  session, sequence   I have all of yours up to there
 *     SERVE    session, stable   you are counted among the full copies: answer reads
 *     STABLE   stable            the same stamp by itself, where there are no more changes
 *
 *     ANEW                       something is lost: follow again
 *     SYNC     sequence          you have all of ours up to there: say when your disc has it too
 *     SYNCED   sequence          it has, for good
 *     FORGET   clock             all copies have this: its graves are not needed any more
 *     ROUND    number            is this still your view? (majority tables)
 *     STANDS   number            it is: no later one was when that was asked
 *     UP       origin, first, last, changes   what was written dirty at a copy, for its master
 *
 *     NODES    round, level, parents, sums   what lies below the nodes that differ (feed_scrub.h)
 *     LIST     round, leaves, rest, prints   of all records in the leaves that differ; and the sum
 *                                            of what lies in the others
 *     LACKING  round, numbers, changes       of those I have not these; and what is not among them
 *
 * These three say no view and no table, for their round does (replica_is_of_round()): there may be
 * one of each for each record that differs.  And of whole tables (scrub.h)
 *
 *     ROOTS    round, salt, cutoff, shards, roots   the sums of the shards of which I am the master
 *     SUMMED   round, compared, differing           I have compared them
 *     SCRUB    nothing                              compare all of which you are the master
 *
 * Several of them may come as one packet (packet.h), where the other side knows what that is.
 *
 * `table` is schema_records_id(): nodes of which one has changed a table's layout and the other has
 * not yet do not understand each other until both have.
 *
 * Who follows anew says another session: an END is good only where every MISSING before it came.  A
 * FOLLOW with a session that is being told already changes nothing: it may be repeated.  Sessions
 * of one copy grow, and what belongs to one before is late: nobody heeds it.
 */
#ifndef REPLICATION_REPLICA_WIRE_H
#define REPLICATION_REPLICA_WIRE_H

#include "replication/view.h"
#include "tables/shard_copy.h"

enum replica_kind {
    REPLICA_FOLLOW,
    REPLICA_MISSING,
    REPLICA_END,
    REPLICA_CHANGES,
    REPLICA_COVERED,
    REPLICA_SERVE,
    REPLICA_ANEW,
    REPLICA_FORGET,
    REPLICA_STABLE,
    REPLICA_SYNC,
    REPLICA_SYNCED,
    REPLICA_UP,
    REPLICA_HAVE,
    REPLICA_GONE,
    REPLICA_ROUND,
    REPLICA_STANDS,
    REPLICA_NODES,
    REPLICA_LIST,
    REPLICA_LACKING,
    REPLICA_TREE,
    REPLICA_WANT,
    REPLICA_ROOTS,
    REPLICA_SUMMED,
    REPLICA_SCRUB,
    REPLICA_KINDS,
};

/* What a message of a round says for its table: whose round it is. */
enum { REPLICA_ROUND_YOURS, REPLICA_ROUND_OWN };

static inline bool replica_is_of_round(enum replica_kind kind) {
    return kind >= REPLICA_NODES && kind <= REPLICA_LACKING;
}

/* Does nobody wait for it?  Then it goes a moment later, with others (outbox.h). */
bool replica_is_patient(enum replica_kind kind);

enum {
    REPLICA_HEAD_BYTES = 96, /* of all but clocks and changes */
    REPLICA_END_VALUES = 5,  /* behind the session            */
};

struct replica_head {
    enum replica_kind kind;
    struct view_id view;
    uint64_t table;
    uint32_t shard;
};

void replica_wire_head(struct value_writer *w, const struct replica_head *h, uint32_t more);

/* From outside; the rest of the payload is left in `it`.  EG_BAD_REQUEST. */
EG_MUST_USE eg_err replica_wire_open(struct replica_head *h, struct value_iter *it,
                                     struct value payload);
EG_MUST_USE bool replica_wire_u64(struct value_iter *it, uint64_t *n);

#endif /* REPLICATION_REPLICA_WIRE_H */
