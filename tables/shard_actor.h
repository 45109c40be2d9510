/* shard_actor.h -- tags of what a shard's actor understands besides enum shard_op.
 *
 * Private to tables/: the catalog stops shards, a shard reminds itself. */
#ifndef TABLES_SHARD_ACTOR_H
#define TABLES_SHARD_ACTOR_H

enum shard_actor_tag {
    SHARD_STOP = 0x20000, /* CALL: write what is owed, answer, end         */
    SHARD_TICK,           /* time passed                                   */
    SHARD_STEP,           /* the next part of an index under construction  */
    SHARD_FSYNC,          /* CALL: answer when all there is is on disc     */
    SHARD_THAW,           /* a snapshot is wanted no more                  */
};

#endif /* TABLES_SHARD_ACTOR_H */
