/* shard_floor.h -- deletes that a copy has forgotten, and how another copy that has not heard of
 * them loses what they removed.
 *
 *     copy of an old disc               a copy whose floor it does not cover
 *       what it has: key, dot  ------>    is it here?  no, and our clock has its dot:
 *       it goes               <------     then it was removed or replaced, whenever that was
 *
 * Of each delete that a copy's clock covers, the copy has the grave, or something that came after
 * it, or it is covered by the copy's floor.  So changes alone are enough for a copy whose
 * clock covers the floor; any other must have been asked about all that it has and the copy has
 * not (replication/feed_compare.h), before it takes over the clock (replication/feed_sift.c).  The
 * floor is said with the clock (END), is taken over with it, and lies on the disc in the same row.
 *
 * A floor is kept as coarse as the clock allows: of each stretch that the clock covers without a
 * gap, all up to the last that was forgotten.  It grows where graves are dropped, for whatever
 * reason, and where a full cache gives up a record.
 *
 * Threads    The shard's owner.
 */
#ifndef TABLES_SHARD_FLOOR_H
#define TABLES_SHARD_FLOOR_H

#include "tables/shard.h"
#include "tables/shard_clock.h"

struct catalog;

struct shard_floor {
    struct shard_clock clock;
    uint64_t hlc; /* no delete that is forgotten has a later stamp */
};

/* A delete, or what stands for one, is forgotten.  EG_MEMORY: it must not be. */
EG_MUST_USE eg_err shard_floor_raise(struct shard *s, struct record_version version);
/* Take over what another copy has forgotten; its clock follows.  EG_MEMORY. */
EG_MUST_USE eg_err shard_floor_merge(struct shard *s, const struct shard_floor *floor);

/* ---- a bound for what is not forgotten yet ---------------------------------------------------
 *
 * While a member is away, deletes are kept for it.  They take no more than a node's bound:
 * where they do, each shard gives up its oldest, once all copies that are there have heard of them.
 * The copy that was away is asked about all that it has then, and is well again; only, where it has
 * itself written a record that was removed here, and neither knew of the other, nobody can say any
 * more that the removal was the later.  Its record comes as a new write of the master's, for other
 * copies may remember what that has forgotten, and would not take it as it is.  What the master
 * itself has is written anew likewise, where it hears a copy that has forgotten. */

enum { SHARD_GRAVES_BYTES_MAX = 64 << 20 }; /* of a node, unless its catalog is told otherwise */

/* How much one shard may keep so that all are within half of the bound; UINT64_MAX: they are within
 * it.  Any thread. */
uint64_t catalog_graves_limit(struct catalog *c);
/* Forget the oldest that are covered (NULL: whichever), until what is left takes no more. */
void shard_floor_cut(struct shard *s, const struct shard_clock *covered, uint64_t limit_bytes);
/* Let the node know what they take. */
void shard_floor_account(struct shard *s);

/* ---- what another copy has ------------------------------------------------------------------- */

/* One version of what another copy has: its key, of a bag the record; who wrote it. */
struct shard_item {
    struct value value;
    uint64_t origin, sequence;
};

/* Was it here, or what replaced it, and is it here no more?  False too where it cannot be said.
 * Items come from outside. */
bool shard_floor_is_gone(struct shard_turn *t, const struct shard_item *item);
/* Remove it where it is here, without a trace.  EG_DISC, EG_MEMORY: it is here still.
 * EG_BAD_REQUEST: nothing like it belongs here. */
EG_MUST_USE eg_err shard_floor_let_go(struct shard_turn *t, const struct shard_item *item);
/* Another copy, of that clock, has forgotten deletes up to that stamp.  Where the item is here, and
 * nobody can say that none of them is later, it becomes a change of ours that is: a third copy may
 * remember it.  As shard_store(). */
EG_MUST_USE eg_err shard_floor_renew(struct shard_turn *t, const struct shard_item *item,
                                     const struct shard_clock *knows, uint64_t floor_hlc);

#endif /* TABLES_SHARD_FLOOR_H */
