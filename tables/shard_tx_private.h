/* shard_tx_private.h -- what transactions hold in one shard.
 *
 * Private to shard_tx*.c.
 */
#ifndef TABLES_SHARD_TX_PRIVATE_H
#define TABLES_SHARD_TX_PRIVATE_H

#include "tables/shard_lock.h"
#include "tables/shard_tx.h"
#include "tables/transact_private.h"

enum { SHARD_TX_DONE_MAX = 256 };

struct shard_tx {
    struct shard_lock *lock;
    struct transact_id *done; /* a ring: whose rows say that they were committed */
    uint32_t done_count, done_next;
    uint32_t prepared;    /* parts that are kept      */
    uint64_t asked_ms;    /* what became of them      */
    uint64_t ending_ms;   /* the shard stops no later */
    struct message *loan; /* NULL, or it asks for the shard (catalog_moment.c) */
};

/* A prepared part: of a lock_owner. */
struct shard_part {
    uint64_t since_ms;
    bool marked;    /* its master is another node                                      */
    bool on_disc;   /* it has a row there                                              */
    bool recovered; /* which is all that is known of it: another node may know better   */
    uint32_t made;  /* so many of its changes are: of a disc_only table, after a kill      */
    struct unique_set gates; /* of what it will change: closed */
    uint32_t head_bytes, part_bytes;
    uint8_t bytes[]; /* head, part */
};

static inline struct value shard_part_head(const struct shard_part *p) {
    return (struct value){p->bytes, p->head_bytes};
}
static inline struct value shard_part_body(const struct shard_part *p) {
    return (struct value){p->bytes + p->head_bytes, p->part_bytes};
}

/* NULL: no memory. */
struct shard_tx *shard_tx_of(struct shard *s);
/* Who looks in place finds what is held now. */
void shard_tx_hold(struct shard *s);
void shard_tx_release(struct shard *s, struct lock_owner *o);

/* What a part will look at and change, in the reader's scratch.  EG_BAD_REQUEST, EG_MEMORY. */
EG_MUST_USE eg_err shard_tx_wants(struct shard *s, struct reader *r, struct value part,
                                  struct lock_want **want, uint32_t *count);
/* Append what a packed path leads to, at most SHARD_TX_PATH_WANTS. */
enum { SHARD_TX_PATH_WANTS = 33 };
EG_MUST_USE eg_err shard_tx_wants_of_path(struct shard *s, struct reader *r, struct value path,
                                          struct lock_want *want, uint32_t *count);
/* Does all stand that the part has seen?  EG_CONFLICT. */
EG_MUST_USE eg_err shard_tx_stands(struct shard_turn *t, const struct transact_part *p);
/* Make all changes, or none.  The result: [of each, ...]. */
EG_MUST_USE eg_err shard_tx_change(struct shard_turn *t, struct value_iter want);
EG_MUST_USE eg_err shard_tx_head_and_part(struct shard_turn *t, struct transact_head *head,
                                          struct transact_part *part);

EG_MUST_USE eg_err shard_tx_prepare(struct shard_turn *t);
EG_MUST_USE eg_err shard_tx_commit(struct shard_turn *t);
/* What was given up after it was decided is made, once: who has no answer asks again. */
EG_MUST_USE eg_err shard_tx_redo(struct shard_turn *t, struct transact_id id,
                                 const struct transact_part *part);
EG_MUST_USE eg_err shard_tx_abort(struct shard_turn *t);
EG_MUST_USE eg_err shard_tx_unlock(struct shard_turn *t);
EG_MUST_USE eg_err shard_tx_status(struct shard_turn *t);

#endif /* TABLES_SHARD_TX_PRIVATE_H */
