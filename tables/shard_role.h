/* shard_role.h -- what a node's copy of a shard is good for, now.
 *
 * A table without copies on other nodes has ALONE everywhere.  Who changes a role does it
 * in the shard's own turn (tables/shard_copy.h), so what was queued before is done before.
 */
#ifndef TABLES_SHARD_ROLE_H
#define TABLES_SHARD_ROLE_H

#include <stdbool.h>

enum shard_role {
    SHARD_ALONE,   /* reads and writes, as without a cluster                        */
    SHARD_MASTER,  /* reads and writes; answers to writes wait for the other copies */
    SHARD_FULL,    /* reads                                                        */
    SHARD_CHAIR,   /* of a majority table, MASTER: every answer waits for a majority */
    SHARD_VOTER,   /* of one, FULL: a read of a key goes to the chair               */
    SHARD_FILLING, /* nothing: it lacks something                                 */
    SHARD_AWAY,    /* nothing: there is no copy here                             */
    SHARD_STOPPED, /* nothing: between two views                                */
};

/* Beside the role in its byte: what may not be looked at or changed in place, for a transaction has
 * hold of it (shard_tx.h).  So whoever compares the byte with a role sees both at once. */
enum { SHARD_HELD = 0x80 };

/* It has all that was acknowledged in its view. */
static inline bool shard_role_is_whole(enum shard_role role) {
    return role <= SHARD_VOTER;
}

/* It orders the writes, and others have copies. */
static inline bool shard_role_leads(enum shard_role role) {
    return role == SHARD_MASTER || role == SHARD_CHAIR;
}

/* It has all, and another orders the writes. */
static inline bool shard_role_copies(enum shard_role role) {
    return role == SHARD_FULL || role == SHARD_VOTER;
}

#endif /* TABLES_SHARD_ROLE_H */
