/* origin.h -- who made a change: 64 random bits for each start of a node, and short for it a slot.
 *
 *     dot of a record   | slot 16 | sequence 48 |      slot --> origin: what is said to others
 *
 * An origin is new at every start, so that a sequence is never used for two changes, whatever
 * tail a crash has lost and however old a disc was put back.  A slot is this node's own number
 * for an origin; it goes into records, and so it is remembered on disc before the first of them.
 *
 *     alone, since ever     slot 0 is this start's; nothing is on disc: nobody has seen a dot
 *     origins_meet()        from then on each start takes another slot, and all are remembered
 *
 * Threads    origins_slot() and origin_of() from any; origins_meet() by one at a time.
 * Memory     1 MiB of addresses, touched where used.
 */
#ifndef TABLES_ORIGIN_H
#define TABLES_ORIGIN_H

#include "engine/alloc.h"
#include "engine/err.h"

#include <stdatomic.h>

struct disc;
struct env;

enum { ORIGINS_MAX = 1 << 16, ORIGIN_PLACES = 1 << 17 };

struct origins {
    struct alloc *alloc;
    struct disc *disc; /* NULL: nothing is remembered                      */
    uint16_t own;      /* the slot of this start                           */
    _Atomic bool met;  /* another node may have dots of ours               */
    atomic_flag adding;
    _Atomic uint32_t count; /* of slots in use                             */
    _Atomic uint64_t origin[ORIGINS_MAX];
    _Atomic uint32_t place[ORIGIN_PLACES]; /* slot + 1, by origin; 0: free */
};

/* Read what is remembered, and begin a start of our own.  EG_MEMORY, EG_DISC, EG_CORRUPT;
 * EG_TOO_LARGE: all slots are used up. */
EG_MUST_USE eg_err origins_open(struct origins **out, struct alloc *a, struct disc *disc,
                                struct env *env, struct err_note *note);
void origins_close(struct origins *o);

/* Another node is known: what we did so far is remembered from here on. */
EG_MUST_USE eg_err origins_meet(struct origins *o);
static inline bool origins_met(const struct origins *o) {
    return atomic_load_explicit(&o->met, memory_order_acquire);
}

/* The slot of an origin; a new one is remembered before this returns.  EG_DISC, EG_TOO_LARGE. */
EG_MUST_USE eg_err origins_slot(struct origins *o, uint64_t origin, uint16_t *slot);

/* Only of one that has a slot already: EG_NOT_FOUND. */
EG_MUST_USE eg_err origins_known(const struct origins *o, uint64_t origin, uint16_t *slot);

static inline uint64_t origin_of(const struct origins *o, uint16_t slot) {
    return atomic_load_explicit(&o->origin[slot], memory_order_acquire);
}

/* ---- dots ------------------------------------------------------------------------- */

#define DOT_SEQUENCE_MAX ((UINT64_C(1) << 48) - 1)

static inline uint16_t dot_slot(uint64_t dot) {
    return (uint16_t) (dot >> 48);
}
static inline uint64_t dot_sequence(uint64_t dot) {
    return dot & DOT_SEQUENCE_MAX;
}
static inline uint64_t dot_make(uint16_t slot, uint64_t sequence) {
    return (uint64_t) slot << 48 | sequence;
}

#endif /* TABLES_ORIGIN_H */
