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
 * Cost       A few bytes written one behind the other for each change, and a clock for each part;
 * what a part stands for is one stretch of one origin as long as that one makes the changes.  By
 * bench/bench_keep.c less than 3 % of what writes one by one take.
 */
#ifndef TABLES_RECENT_H
#define TABLES_RECENT_H

#include "engine/buffer.h"
#include "tables/shard_clock.h"

enum {
    RECENT_PART_BYTES = 16 << 10,
    RECENT_KEY_BYTES_MAX = 1 << 10, /* one that is longer is not noted: all is dropped */
};

struct recent_part {
    struct buffer entries;
    uint64_t first, last;      /* dots: all that it has noted is these, one after the other; or 0 */
    bool scattered;            /* it is not so                                             */
    struct shard_clock behind; /* at its beginning */
};

struct recent {
    struct alloc *alloc;
    size_t part_bytes;
    struct recent_part part[2];
    uint32_t newer; /* which of them */
    bool on;
    bool both;      /* there is an older one too */
    uint64_t drops; /* how often something was dropped: a place is good for one of them */
};

/* Where a reader of it is; zero at the beginning. */
struct recent_place {
    uint64_t drops;
    uint32_t part; /* 0: the older */
    size_t at;
};

static inline void recent_init(struct recent *r, struct alloc *a, size_t part_bytes) {
    *r = (struct recent){.alloc = a, .part_bytes = part_bytes};
}
void recent_fini(struct recent *r);

/* The clock covers all that has been applied: begin.  Without memory it does not. */
void recent_begin(struct recent *r, const struct shard_clock *now);
static inline bool recent_is_full(const struct recent *r) {
    return r->on && r->part[r->newer].entries.size_bytes >= r->part_bytes;
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
