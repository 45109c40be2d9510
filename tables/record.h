/* record.h -- one immutable record and its version.
 *
 *     | hlc 8 | dot 8 | size:28 flags:4 | [expiry 8, ranks 2 x 4] | MessagePack array | [state] |
 *
 * A record is written once, published with a release store, and never changed:
 * readers on any thread need no lock, an update is a pointer swap, a snapshot
 * keeps old versions by pointer.  The array is kept as the client encoded it.
 *
 * hlc  hybrid logical clock: wall milliseconds << 16 | counter.
 * dot  replica slot << 48 | sequence: which replica wrote it as its how-many-th.
 * state  what a merge policy keeps beside the record, a MessagePack value (merge.h).
 *
 * Memory     Exactly record_bytes(); 8-byte aligned.
 * Threads    Immutable, but for the ranks, which only the shard's owner reads.
 */
#ifndef TABLES_RECORD_H
#define TABLES_RECORD_H

#include "engine/base.h"
#include "tables/value.h"

enum record_flag {
    RECORD_EXPIRES = 1,   /* expiry (wall milliseconds) and ranks precede the array */
    RECORD_CANONICAL = 2, /* the key's encoded bytes are its canonical form         */
    RECORD_STATE = 4,     /* a state follows the array                              */
    RECORD_FLAG_BITS = 4,
};

enum {
    RECORD_HEADER_BYTES = 20,
    RECORD_EXPIRY_BYTES = 16,     /* expiry, and two places that the shard's owner keeps (rank.h) */
    RECORD_SIZE_MAX = (16 << 20), /* of the array; equals the largest frame */
};

struct record {
    uint64_t hlc;
    uint64_t dot;
    uint32_t size_and_flags; /* array bytes << RECORD_FLAG_BITS | flags */
    uint8_t bytes[];         /* [expiry, ranks] array                   */
};

struct record_version {
    uint64_t hlc;
    uint64_t dot;
};

static inline uint32_t record_flags(const struct record *r) {
    return r->size_and_flags & ((1u << RECORD_FLAG_BITS) - 1);
}
static inline uint32_t record_array_bytes(const struct record *r) {
    return r->size_and_flags >> RECORD_FLAG_BITS;
}
static inline const uint8_t *record_array(const struct record *r) {
    return r->bytes + (record_flags(r) & RECORD_EXPIRES ? RECORD_EXPIRY_BYTES : 0);
}
static inline struct value record_value(const struct record *r) {
    return (struct value){record_array(r), record_array_bytes(r)};
}
struct value record_kept_state(const struct record *r); /* it has one */
/* Size 0: none. */
static inline struct value record_state(const struct record *r) {
    return EG_LIKELY((record_flags(r) & RECORD_STATE) == 0) ? (struct value){NULL, 0}
                                                            : record_kept_state(r);
}
/* What the record takes in memory, header included. */
static inline size_t record_bytes(const struct record *r) {
    return RECORD_HEADER_BYTES + record_array_bytes(r) + record_state(r).size_bytes +
           (size_t) (record_flags(r) & RECORD_EXPIRES ? RECORD_EXPIRY_BYTES : 0);
}
static inline size_t record_bytes_for(uint32_t array_bytes, bool expires) { /* without a state */
    return (size_t) RECORD_HEADER_BYTES + array_bytes + (expires ? RECORD_EXPIRY_BYTES : 0);
}

/* All of a usual record's lines at once: the key may lie across two, and whoever looks
 * for it wants the rest next. */
EG_PREFETCHES static inline void record_prefetch(const struct record *r) {
    enum { USUAL_BYTES = 104 };

    EG_PREFETCH(r);
    EG_PREFETCH((const char *) r + EG_CACHE_LINE);
    EG_PREFETCH((const char *) r + USUAL_BYTES - 1);
}

/* Write a record into `memory` of record_bytes_for() bytes.  `expiry_ms` 0:
 * never expires.  The array must hold at least one element (the key). */
struct record *record_init(void *memory, struct value array, struct record_version version,
                           uint64_t expiry_ms);
/* Before anybody else sees it, and with room for it behind; size 0: none. */
void record_keep_state(struct record *r, struct value state);

uint64_t record_expiry_ms(const struct record *r); /* 0: never */
struct value record_key(const struct record *r);   /* element 0 */

/* Element `position` of the array; the caller knows the arity. */
struct value record_field(const struct record *r, uint32_t position);

/* One value from an array by position; false where it has fewer. */
EG_MUST_USE bool array_element(struct value array, uint32_t position, struct value *out);

#endif /* TABLES_RECORD_H */
