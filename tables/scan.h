/* scan.h -- going through the records that a question may mean, in pieces.
 *
 *     predicate --scan_choose--> path: key(s) | key range | index (values, range) | all
 *                                  |
 *           scan_open(place) --> scan_next() ... scan_next() --> scan_close(place)
 *                    ^------------------- later, in another section ---------'
 *
 * A scan looks inside one reader section and leaves its place as a few bytes: the key of the
 * last record it looked at, which also tells the shard, and for an index the value; of a bag
 * the record itself.  So what is kept between pieces pins neither memory nor an epoch.  A record
 * that is there throughout is met exactly once, whatever is written meanwhile; one that comes or
 * goes may be met.
 *
 * Order      By key where the table is ordered and the path is not an index; by value,
 *            then key, inside each shard for an index; else by shard and hash.
 * Threads    Any, inside its reader's section.
 */
#ifndef TABLES_SCAN_H
#define TABLES_SCAN_H

#include "tables/predicate.h"
#include "tables/shard_set.h"
#include "tables/table.h"

enum scan_kind {
    SCAN_NOTHING, /* no record can match */
    SCAN_KEY,
    SCAN_KEYS,         /* some, each looked up */
    SCAN_KEY_RANGE,    /* ordered_set          */
    SCAN_INDEX,        /* its leading parts have one value each              */
    SCAN_INDEX_VALUES, /* and the next one, or the first, some, each looked up */
    SCAN_INDEX_RANGE,  /* ... a range                                          */
    SCAN_ALL,
};

struct scan_path {
    enum scan_kind kind;
    bool reverse;       /* ordered_set by key only                                  */
    uint32_t index;     /* of SCAN_INDEX*: its id in the schema                     */
    struct range range; /* of the key, or of the index's part [equal_count]; borrowed */
    struct value equal[INDEX_PARTS_MAX]; /* of SCAN_INDEX*: its leading parts; borrowed */
    uint32_t equal_count;
    const struct value *point; /* of SCAN_KEYS, SCAN_INDEX_VALUES: ascending; borrowed */
    uint32_t point_count;
    uint32_t later;               /* of scan_choose_lookup(): which of `equal` is said later */
    const struct shard_set *only; /* of the table's shards; NULL: all; borrowed */
    uint64_t rows;                /* expected to be looked at */
    uint32_t shards;              /* to be asked              */
};

static inline bool scan_by_index(const struct scan_path *path) {
    return path->kind == SCAN_INDEX || path->kind == SCAN_INDEX_VALUES ||
           path->kind == SCAN_INDEX_RANGE;
}

/* The path that looks at fewest records. */
void scan_choose(struct scan_path *out, struct table *t, struct reader *r,
                 const struct predicate *p, bool reverse);
/* The path to those whose attribute at `position` has a value that is said later, in range.low and
 * range.high of SCAN_KEY or in equal[later].  False: they must all be looked at. */
EG_MUST_USE bool scan_choose_lookup(struct scan_path *out, struct table *t, struct reader *r,
                                    const struct predicate *p, uint32_t position);
/* The same as scan_choose() for a pattern (tables/pattern.h), which has been checked. */
void scan_choose_pattern(struct scan_path *out, struct table *t, struct reader *r,
                         struct value pattern);

/* The path to what table_index_read() gives; borrows from `v`.  EG_BAD_REQUEST with a note. */
EG_MUST_USE eg_err scan_choose_index(struct scan_path *out, struct table *t, const char *name,
                                     size_t name_bytes, struct value v, struct err_note *note);

struct scan;
/* Begin, or go on behind `place` (size 0: begin).  The scan lies in the reader's scratch.
 * EG_BAD_REQUEST: no place of this path (it came from outside, or the index has gone). */
EG_MUST_USE eg_err scan_open(struct scan **out, struct table *t, struct reader *r,
                             const struct scan_path *path, struct value place);
/* The same, where it may be left only where scan_may_stop() says so: going through a whole
 * set is faster then.  Its places are its own. */
EG_MUST_USE eg_err scan_open_quick(struct scan **out, struct table *t, struct reader *r,
                                   const struct scan_path *path, struct value place);
/* The next record, live and inside the range; NULL at the end, or reader->fault says why, or where
 * scan_paused(). */
const struct record *scan_next(struct scan *s);
/* The next records of SCAN_KEY_RANGE, some at once; count 0 at the end.  They are good until the
 * next call; ask for all of each of `ahead` (record_prefetch()) while they are looked at.  To stop
 * before the last ones, give them back. */
struct record_batch scan_next_many(struct scan *s);
void scan_give_back(struct scan *s, uint32_t count);
/* Some of the next records at once; count 0 as scan_next()'s NULL.  One only, where the scan
 * may be left behind any record. */
struct record_batch scan_next_batch(struct scan *s);
/* It is not the end: many were passed that are none (expired, absent).  Look at the clock,
 * then ask for the next one, or for scan_place().  Of SCAN_KEY_RANGE never. */
bool scan_paused(const struct scan *s);
/* May scan_place() be asked here?  Within some hundred records, if not. */
bool scan_may_stop(const struct scan *s);
/* Put into `place` (emptied first) where the scan stands: behind the record that
 * scan_next() gave last.  EG_MEMORY, EG_TOO_LARGE: it is empty. */
EG_MUST_USE eg_err scan_place(const struct scan *s, struct buffer *place);
/* The same one record earlier: the next piece begins with the one given last. */
EG_MUST_USE eg_err scan_place_before(const struct scan *s, struct buffer *place);

#endif /* TABLES_SCAN_H */
