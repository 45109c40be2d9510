/* far.h -- the hook for reading what this node has not.
 *
 *     shard FULL here: read here          else: the node that far->node() names is asked for
 *                                         pages of it (tables/page.h), by message
 *
 * The reading counterpart of route.h: tables/ does not know other nodes, who does fills this in
 * (replication/far_read.h).
 *
 * Threads    Any, in a reader section; never blocks.
 */
#ifndef TABLES_FAR_H
#define TABLES_FAR_H

#include "engine/actor.h"
#include "tables/shard_role.h"
#include "tables/shard_set.h"
#include "tables/value.h"

struct catalog;
struct message;
struct table;

struct table_far {
    /* Who has this shard whole in the present view; 0: nobody can be asked just now. */
    uint64_t (*node)(struct table_far *f, const struct table *t, uint32_t shard);
    /* Ask it for a page.  The REPLY is what page_serve() gave there; EG_AGAIN, which comes after a
     * moment or with the next view: it has not answered and may be asked again, as may another. */
    eg_err (*ask)(struct table_far *f, struct table *t, uint64_t node, struct value request,
                  eg_pid *to, struct message **out);
    /* The number of the present view, which only grows; 0: there is none. */
    uint64_t (*view)(struct table_far *f);
};

enum {
    FAR_WAIT_MS = 5000,     /* for a node that has the shard: then EG_NO_REPLICA */
    FAR_MAJORITY_MS = 2000, /* and of a majority table: then EG_NO_MAJORITY */
};
uint64_t table_far_wait_ns(const struct table *t); /* how long to look for one; 0: not at all */
/* There is nobody: the code of that, with a note. */
struct err_note;
eg_err table_far_nobody(const struct table *t, struct err_note *note, const char *why);

/* From here on; NULL: no more.  It outlives every section that began before. */
void catalog_set_far(struct catalog *c, struct table_far *f);
/* NULL: nobody else can be asked. */
struct table_far *table_far(const struct table *t);
uint64_t table_now_ns(const struct table *t);   /* of the clock that deadlines are in */
uint64_t table_far_view(const struct table *t); /* 0: none, or no other node is known */

/* The shards that may be read here now (dirty: of which there is any copy here). */
struct shard_set table_shards_here(struct table *t, bool dirty);
/* All of them are among those. */
bool table_reads_set_here(struct table *t, const struct shard_set *shards);
/* The number of records in some of its shards. */
struct reader;
uint64_t table_size_of(struct table *t, struct reader *r, const struct shard_set *shards);
/* table_info() of a table whose size somebody else has told. */
struct buffer;
EG_MUST_USE eg_err table_info_of(struct table *t, struct reader *r, uint64_t size,
                                 struct buffer *result);
/* The shard of a key that is in the table, and of a key's hash. */
uint32_t table_shard_of_key(const struct table *t, struct value key);
uint32_t table_shard_of_hash(const struct table *t, uint64_t hash);
/* May a question about the whole table be answered from here alone?  (dirty: there is some copy of
 * each shard.) */
bool table_is_near(struct table *t, bool dirty);
/* And may what is read be told at once?  Of a majority table only when most copies have stood by it
 * (query/settle.h). */
bool table_answers_here(struct table *t, bool dirty);

#endif /* TABLES_FAR_H */
