/* recent.h -- the last changes of a shard, by dot and key: what a copy that was away for a short
 * time lacks is found here, and the shard need not be walked through.
 *
 *     behind --> | older part: dot, key; dot, key; ... | newer part: dot, key; ... |
 *     a clock        dropped as a whole, when the newer part is full and becomes the older
 *
 * Whoever has covered `behind` lacks nothing but what is noted here.  So `behind` covers all that
 * was applied before: what the clock says where the first part begins, which is when the clock
 * covers all that is there; from then on also what has been noted, for a change may be covered long
 * after it was applied.  Where that cannot be had, or memory fails, all is dropped
 * (recent_break()), and it begins anew when it can; meanwhile the shard is walked through.
 *
 * Threads    The shard's owner.
 * Bound      Two parts, each of `part_bytes` and a key: of RECENT_PART_BYTES, some 1,500 changes.
 * Cost       For each change its key and a byte, one behind the other, for most are the next of
 * their origin; and a clock for each part: what a part stands for is one stretch of one origin as
 * long as that one makes the changes.  By bench/bench_keep.c some 1 % of what writes take.
 */
#ifndef TABLES_RECENT_H
#define TABLES_RECENT_H

#include "engine/buffer.h"
#include "tables/shard_clock.h"

enum {
    RECENT_PART_BYTES = 10 << 10,
    RECENT_KEY_BYTES_MAX = 1 << 10, /* one that is longer is not noted: all is dropped */
};

struct recent_part {
    struct buffer entries;
    struct shard_clock behind; /* at its beginning */
};

/* What each change looks at comes first. */
struct recent {
    bool on;
    bool both;      /* there is an older part too                       */
    bool scattered; /* the newer one has noted others than first..last  */
    uint64_t last;  /* dot that the newer one has noted                 */
    size_t part_bytes;
    struct recent_part newer, older;
    uint64_t first; /* dot that the newer one has noted */
    uint64_t drops; /* how often something was dropped: a place is good for one of them */
    struct alloc *alloc;
};

/* Where a reader of it is; zero at the beginning. */
struct recent_place {
    uint64_t drops;
    uint64_t dot; /* that was read last */
    size_t at;
    bool newer; /* part */
};

static inline void recent_init(struct recent *r, struct alloc *a, size_t part_bytes) {
    *r = (struct recent){.alloc = a, .part_bytes = part_bytes};
}
void recent_fini(struct recent *r);

/* The clock covers all that has been applied: begin.  Without memory it does not. */
void recent_begin(struct recent *r, const struct shard_clock *now);
static inline bool recent_is_full(const struct recent *r) {
    return r->on && r->newer.entries.size_bytes >= r->part_bytes;
}
/* Where the next change will be noted, while it is being made: nobody has been there for long. */
static inline void recent_prefetch(const struct recent *r) {
    const struct buffer *b = &r->newer.entries;

    if (b->at == NULL)
        return;
    EG_PREFETCH_TO_WRITE(b->at + b->size_bytes); /* may be the end: a prefetch never faults */
    EG_PREFETCH_TO_WRITE(b->at + EG_MIN(b->size_bytes + EG_CACHE_LINE, b->room_bytes));
}
/* The older part goes, and another begins. */
void recent_turn(struct recent *r, const struct shard_clock *now);
/* A change that has been made or applied; key size 0: a clear. */
void recent_note(struct recent *r, uint64_t dot, struct value key);
/* Something was not noted, or is covered that was not: drop everything. */
void recent_break(struct recent *r);

/* Who has covered this lacks only what is noted.  NULL: nothing can be said. */
const struct shard_clock *recent_behind(const struct recent *r);
void recent_first(const struct recent *r, struct recent_place *p);
/* Is what that place was in still all here? */
static inline bool recent_stays(const struct recent *r, const struct recent_place *p) {
    return r->on && r->drops == p->drops;
}
/* The next change, in the order in which they were noted; false: there is none by now. */
bool recent_next(const struct recent *r, struct recent_place *p, uint64_t *dot, struct value *key);

uint64_t recent_bytes(const struct recent *r);

#endif /* TABLES_RECENT_H */
