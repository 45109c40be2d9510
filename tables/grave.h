/* grave.h -- what a shard has removed, so that no copy that was away brings it back.
 *
 * A grave is the key that was removed (of a bag: the whole record), and the version of the
 * removal.  It goes when every copy that is not removed has covered its dot: the replication
 * layer says when.
 *
 * They lie in order of their key's hash, in buckets that split, so that a walk can be left at a
 * hash and gone on with however many have come meanwhile.
 *
 * Threads    One owner's.
 * Bound      `bytes` says what they take; the shard counts it for the node and refuses no
 *            delete, for a grave takes less than what it stands for did.
 */
#ifndef TABLES_GRAVE_H
#define TABLES_GRAVE_H

#include "engine/alloc.h"
#include "tables/record.h"
#include "tables/shard_clock.h"

struct grave {
    struct grave *next; /* in its bucket */
    struct record_version version;
    uint64_t hash; /* of the key */
    uint32_t size_bytes;
    uint8_t value[]; /* the key, or of a bag the record */
};

static inline struct value grave_value(const struct grave *g) {
    return (struct value){g->value, g->size_bytes};
}

/* What it takes of memory. */
static inline size_t grave_bytes(const struct grave *g) {
    return sizeof *g + g->size_bytes;
}

struct graves {
    struct alloc *alloc;
    struct grave **bucket; /* 1 << bits of them */
    uint32_t bits;
    uint64_t count;
    uint64_t bytes;
};

static inline void graves_init(struct graves *g, struct alloc *a) {
    *g = (struct graves){.alloc = a};
}
void graves_fini(struct graves *g);
void graves_clear(struct graves *g);

/* NULL: none. */
const struct grave *graves_find(const struct graves *g, uint64_t hash, struct value v);

/* The first of those with this hash; then graves_also() those behind it.  NULL: none. */
const struct grave *graves_with(const struct graves *g, uint64_t hash);
const struct grave *graves_also(const struct grave *before);

/* Make one, and room for it; it is not there yet.  NULL: no memory. */
struct grave *graves_make(struct graves *g, uint64_t hash, struct value v,
                          struct record_version version);
/* Put it there, in place of one of the same value; or free it. */
void graves_put(struct graves *g, struct grave *made);
void graves_discard(struct graves *g, struct grave *made);
/* Nothing, where there is none. */
void graves_remove(struct graves *g, uint64_t hash, struct value v);

/* Drop those that `drop` says true of; returns how many. */
uint64_t graves_sift(struct graves *g, bool (*drop)(void *context, const struct grave *g),
                     void *context);

/* The graves of the next bucket from `*place` on (begin with 0 and not ended), and the place behind
 * it. False: there are no more. */
bool graves_walk(const struct graves *g, uint64_t *place, bool *ended, const struct grave **first);

#endif /* TABLES_GRAVE_H */
