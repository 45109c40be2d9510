/* shard_clock.h -- which changes a copy of a shard has: for each origin a base and islands.
 *
 *     origin 7:  1 .......... base        from..to      from..to
 *                all of these are had     and these, with gaps between
 *
 * A dot is covered where its change has been applied, or something newer of its key was there
 * already.  What arrives in order only moves a base; islands are what overtook the rest,
 * and go when the gap before them is closed.
 *
 * A clock is given to another (wire, disc) only whole, and merged only when all that it stands
 * for has been applied: a dot that is covered is never asked for again.
 *
 * On the wire [[origin, base, from, to, from, to ...], ...] with origins written out, on disc the
 * same with slots (origin.h).
 *
 * Threads    One owner's.
 * Memory     24 bytes an origin, 16 an island.
 */
#ifndef TABLES_SHARD_CLOCK_H
#define TABLES_SHARD_CLOCK_H

#include "engine/alloc.h"
#include "tables/origin.h"
#include "tables/value.h"

struct clock_island {
    uint64_t from, to; /* both meant */
};

struct clock_entry {
    uint64_t base; /* 1 .. base are covered */
    uint16_t slot;
    uint32_t island_count, island_room;
    struct clock_island *island; /* ascending, with gaps; the first behind base + 1 */
};

struct shard_clock {
    struct alloc *alloc;
    struct clock_entry *entry; /* by slot */
    uint32_t count, room;
};

static inline void shard_clock_init(struct shard_clock *c, struct alloc *a) {
    *c = (struct shard_clock){.alloc = a};
}
void shard_clock_fini(struct shard_clock *c);

bool shard_clock_covers(const struct shard_clock *c, uint64_t dot);
/* Up to where all of an origin is covered. */
uint64_t shard_clock_base(const struct shard_clock *c, uint16_t slot);

/* From `sequence` on (0: from the first), up to where all of an origin is covered; less than it
 * where it is not itself. */
uint64_t shard_clock_reach(const struct shard_clock *c, uint16_t slot, uint64_t sequence);
/* The first of those that are all covered, up to this one; 0: it is not. */
uint64_t shard_clock_from(const struct shard_clock *c, uint16_t slot, uint64_t sequence);
/* The last of an origin that is covered. */
uint64_t shard_clock_last(const struct shard_clock *c, uint16_t slot);

/* Cover from..to (from >= 1) of a slot.  EG_MEMORY: nothing is changed. */
EG_MUST_USE eg_err shard_clock_add(struct shard_clock *c, uint16_t slot, uint64_t from,
                                   uint64_t to);
/* Of a slot that there is, without islands: exactly 1..base. */
void shard_clock_set(struct shard_clock *c, uint16_t slot, uint64_t base);
/* Cover nothing any more; the memory is kept for the next. */
void shard_clock_clear(struct shard_clock *c);
/* Cover what the other does.  EG_MEMORY: some of it. */
EG_MUST_USE eg_err shard_clock_merge(struct shard_clock *c, const struct shard_clock *other);
EG_MUST_USE eg_err shard_clock_copy(struct shard_clock *to, const struct shard_clock *from);

/* Is all of `part` covered by `c`? */
bool shard_clock_has(const struct shard_clock *c, const struct shard_clock *part);

/* How changes are counted: for telling apart who has none.  */
bool shard_clock_is_empty(const struct shard_clock *c);

/* `origins` NULL: slots instead of origins. */
void shard_clock_put(const struct shard_clock *c, const struct origins *origins,
                     struct value_writer *w);
/* Add what `v` says; from outside.  EG_BAD_REQUEST, EG_MEMORY, EG_DISC: some of it is there. */
EG_MUST_USE eg_err shard_clock_get(struct shard_clock *c, struct origins *origins, struct value v);

/* The same, of the origins that have a slot here; are those all?  So a copy that cannot remember
 * another origin (its disc is broken) can still tell others what they lack.  EG_BAD_REQUEST,
 * EG_MEMORY. */
EG_MUST_USE eg_err shard_clock_get_known(struct shard_clock *c, const struct origins *origins,
                                         struct value v, bool *all);

void shard_clock_check(const struct shard_clock *c);

#endif /* TABLES_SHARD_CLOCK_H */
