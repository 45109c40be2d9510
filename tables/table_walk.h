/* table_walk.h -- the records of all shards as one row.
 *
 * An ordered_set is walked in key order, its shards merged; other types shard by
 * shard, each in its store's own order, so that every record is met once.
 *
 * Private to tables/.
 */
#ifndef TABLES_TABLE_WALK_H
#define TABLES_TABLE_WALK_H

#include "tables/shard_set.h"
#include "tables/table.h"

struct table_walk {
    struct table *table;
    struct reader *reader;
    uint64_t now_ms;              /* what has expired by now is passed over; 0: nothing */
    const struct shard_set *only; /* these shards; NULL: all */
    bool merge;
    bool reverse;
    uint32_t at;    /* without merge: the shard of the moment; with: whose head was taken */
    uint32_t count; /* cursors; `at` equals it where no head was                          */
    struct walk_part {
        const struct record *head; /* merge: the next record of this shard */
        bool passed;               /* else: this shard is not meant        */
        struct store_cursor cursor;
    } part[];
};

/* table_walk_open() through some shards; `only` outlives the walk, NULL: all.  `raw`: with expired
 * records too, who walks looks. */
EG_MUST_USE eg_err table_walk_open_in(struct table_walk **out, struct table *t, struct reader *r,
                                      const struct shard_set *only, const struct key *from,
                                      bool after, bool reverse, bool raw);
/* A bag's raw walk that goes on behind the place of `rec`, which need not be there any more. */
EG_MUST_USE eg_err table_walk_open_behind(struct table_walk **out, struct table *t,
                                          struct reader *r, const struct shard_set *only,
                                          const struct record *rec);

/* The next `most` records, or fewer at the end.  With `end` (a place in the order of keys), those
 * that are easily seen to be beyond it are the end.  They may lie far from the cache, and not all
 * may be live: ask for them, then see table_walk_keep_live(). */
struct probe;
uint32_t table_walk_next_many(struct table_walk *w, const struct probe *end,
                              const struct record **out, uint32_t most);
/* Of `count` records, those that have not expired come first; how many these are. */
uint32_t table_walk_keep_live(const struct table_walk *w, const struct record **rec,
                              uint32_t count);

#endif /* TABLES_TABLE_WALK_H */
