/* shard_actor.h -- tags of what a shard's actor understands besides enum shard_op.
 *
 * Private to tables/: the catalog stops shards, a shard reminds itself. */
#ifndef TABLES_SHARD_ACTOR_H
#define TABLES_SHARD_ACTOR_H

enum shard_actor_tag {
    SHARD_STOP = 0x20000, /* CALL: write what is owed, answer, end         */
    SHARD_TICK,           /* time passed                                   */
    SHARD_FSYNC,          /* CALL: answer when all there is is on disc     */
    SHARD_THAW,           /* a snapshot is wanted no more                  */
    SHARD_STEP,           /* the next part of what takes many turns        */
    SHARD_RESHAPE,        /* CALL, these four: see reshape.h               */
    SHARD_FREEZE,
    SHARD_MOVE,
    SHARD_ABANDON,
    SHARD_UNIQUE_ENFORCE, /* CALL: keep index `attribute` unique; answered when what
                             was changed before is written                 */
    SHARD_UNIQUE_VERIFY,  /* CALL: is it?  EG_EXISTS: no                   */
    SHARD_PREPARE,        /* CALL: answer when a snapshot could be opened at once;
                             EG_BUSY: one is open                          */
    SHARD_LEND,           /* CALL: `loan` is asked for under the payload's number */
};

struct actor;
struct message;
struct shard;

void shard_next_step(struct actor *self); /* a SHARD_STEP to itself */
void shard_prepare(struct actor *self, struct shard *s, struct message *m);
void shard_lend(struct actor *self, struct shard *s, const struct message *m);
/* Run a request that came as a CALL, and answer it.  False: it waits for a transaction, and keeps
 * the message. */
EG_MUST_USE bool shard_run_call(struct actor *self, struct shard *s, struct message *m);
/* One that has waited. */
void shard_run_admitted(struct actor *self, struct shard *s, const struct message *m);

#endif /* TABLES_SHARD_ACTOR_H */
