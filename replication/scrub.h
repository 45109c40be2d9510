/* scrub.h -- once a day each copy is compared with its master's, table by table.
 *
 *     this node, of the shards that it is master of     each other node of the view
 *       sum a few at a time
 *       --ROOTS: all their sums, 8 bytes each---------> sum those that it has in full, compare
 *                                                       (shards that differ see to it themselves:
 *       <--SUMMED: so many compared, so many differ----  feed_scrub.h)
 *       all have said so: mend what differs, the next table
 *
 * Two equal copies so cost less than 9 bytes a shard, whatever is in them.  A few shards are summed
 * at a time, in steps of half a millisecond.  What stands still for a minute is given up until the
 * next day; a new view ends the round that is under way, and the next one begins when the shards
 * have their roles in it.
 *
 * Threads    The mesh's scheduler.
 */
#ifndef REPLICATION_SCRUB_H
#define REPLICATION_SCRUB_H

#include "replication/feed.h"
#include "tables/catalog.h"

enum { SCRUB_AT_ONCE = 4, SCRUB_PATIENCE_S = 60, SCRUB_EVERY_S = 24 * 3600 };

struct scrubs;

struct scrubs_opts {
    struct alloc *alloc;
    struct env *env;
    struct catalog *catalog;
    struct feed_world *world;
    uint64_t every_ms; /* 0: SCRUB_EVERY_S */
    bool (*order)(void *user, struct shard *s, enum feed_tag tag, const void *at,
                  size_t size_bytes);
    eg_err (*send)(void *user, uint64_t to, struct value payload);
    /* A round has found so many shards whose copies differed. */
    void (*mended)(void *user, uint64_t shards);
    void *user;
};

/* Since the start. */
struct scrub_counts {
    uint64_t rounds;    /* of this node, of all its tables */
    uint64_t compared;  /* shards with a copy elsewhere, once for each copy */
    uint64_t differing; /* of them, found so */
    uint64_t mended;    /* records and removals that were written anew */
};

EG_MUST_USE eg_err scrubs_open(struct scrubs **out, const struct scrubs_opts *o);
void scrubs_close(struct scrubs *c);

void scrubs_view(struct scrubs *c, const struct view *v); /* NULL: none */
/* Begin now, here and (`everywhere`) at all others of the view. */
void scrubs_demand(struct scrubs *c, bool everywhere);
/* Time passes, or a shard has moved on. */
void scrubs_step(struct scrubs *c);
void scrubs_hear(struct scrubs *c, uint64_t from, const struct replica_head *h,
                 struct value_iter *it);
/* A message of a round, which says no table: put it into the head.  False: no such round is known
 * here. */
bool scrubs_table_of(const struct scrubs *c, uint64_t from, struct replica_head *h,
                     struct value_iter it);
struct scrub_counts scrubs_counts(const struct scrubs *c); /* any thread */
bool scrubs_idle(const struct scrubs *c);

#endif /* REPLICATION_SCRUB_H */
