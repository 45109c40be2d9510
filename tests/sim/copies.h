/* copies.h -- what the nodes of a simulated cluster hold, and whether it is the same.
 *
 * Looks into the nodes' memory between two steps: no message, no promise of theirs.  Records are
 * [key, number of the write, ...] with both integers, as history.h wants them.
 *
 * Threads    One.
 */
#ifndef TESTS_SIM_COPIES_H
#define TESTS_SIM_COPIES_H

#include "tests/sim/history.h"
#include "tests/sim/sim_node.h"

struct copies_table {
    const char *name;
    uint32_t copies; /* 0: all    */
    bool on_disc;    /* only nodes with one hold it */
    uint32_t keys;   /* 0 .. keys-1 */
};

/* How many of these nodes should have a copy. */
uint32_t copies_expected(struct sim_node *const *nodes, uint32_t count,
                         const struct copies_table *t);

/* Every shard has as many whole copies as it should among the `count` nodes, all up, one of them
 * is its master, and all have the same records.  True: finals[key] says which, for each key.
 * False: `text` says what differs. */
bool copies_agree(struct sim_node *const *nodes, uint32_t count, const struct copies_table *t,
                  uint32_t table, struct final *finals, char text[HISTORY_TEXT_BYTES]);

/* The nodes have every shard of a table whole, with the same records.  False: `text` says what
 * differs. */
bool copies_same(struct sim_node *const *nodes, uint32_t count, const char *name, uint32_t shards,
                 char text[HISTORY_TEXT_BYTES]);

/* Assert the invariants of each of the node's shards of the table: indexes equal stores, clocks
 * cover, accounts add up.  The world goes on where a shard is busy.  False: it stays so, or has
 * no actor. */
EG_MUST_USE bool copies_check(struct sim_node *n, const char *table);

/* Read a key in place, as a program does that is part of the node.  False: it is not to be told
 * now, or there is no such table. */
EG_MUST_USE bool copies_peek(struct sim_node *n, const char *table, uint32_t key, uint32_t *number);

uint32_t copies_shards(struct sim_node *n, const char *table); /* 0: it knows no such table */
/* Of how many of them this node orders the writes. */
uint32_t copies_masters(struct sim_node *n, const char *table);

/* Does each shard of the table have a whole copy on one of these? */
bool copies_anywhere(struct sim_node *const *nodes, uint32_t count, const char *name);
/* Do the whole copies of `others` have all that this node's copies of the table have? */
bool copies_heard(struct sim_node *n, struct sim_node *const *others, uint32_t count,
                  const char *table);
/* Does the node have every shard of the table as a whole copy, now? */
bool copies_whole(struct sim_node *n, const char *table);

/* Print what its cluster has under way; how each of a table's shards stands to those of other nodes
 * (copies_tell.c). */
void copies_tell_node(const struct sim_node *n);
void copies_tell(struct sim_node *n, const char *table);

/* Lose a record of the node's whole copy behind the engine's back.  False: there is none that stays
 * by itself. */
EG_MUST_USE bool copies_damage(struct sim_node *n, const char *table, uint32_t key);

#endif /* TESTS_SIM_COPIES_H */
