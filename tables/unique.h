/* unique.h -- the gates through which values of unique indexes come and go.
 *
 * An index can be read by any thread (index.h), so that a value is taken or free is seen
 * in the shards' indexes themselves.  Only the moment between looking and changing needs
 * guarding, against another shard's owner who looks for the same value:
 *
 *     hash of the value --> gate:  enter, look in all shards, change, to the disc, leave
 *
 * A gate is a counter of holders: who enters makes 0 one.  A change enters the gates of
 * the values that it takes and of those that it frees, for it may still be taken back, and
 * leaves when it is where a kill does not reverse it: so on disc too a value is free
 * before another record has it.
 *
 * Order      Gates are entered in ascending order while none is held, or without waiting; who
 *            holds one waits for nothing else.  So nobody waits for ever.
 * Threads    Any.
 * Memory     4 KiB a node.
 */
#ifndef TABLES_UNIQUE_H
#define TABLES_UNIQUE_H

#include "engine/base.h"

#include <stdatomic.h>

enum {
    UNIQUE_GATES = 1024,
    /* Looks at a gate before giving up: about a millisecond; and some tens of them, where
     * giving up is an answer. */
    UNIQUE_PATIENCE = 10 * 1000,
    UNIQUE_PATIENCE_LONG = 500 * 1000,
};

struct unique_gates {
    _Atomic uint32_t holders[UNIQUE_GATES];
};

struct unique_set {
    uint64_t bits[UNIQUE_GATES / 64];
};

static inline void unique_set_add(struct unique_set *set, uint64_t hash) {
    uint32_t gate = (uint32_t) (hash % UNIQUE_GATES);
    set->bits[gate / 64] |= UINT64_C(1) << gate % 64;
}
bool unique_set_is_empty(const struct unique_set *set);

/* Enter all gates of `set`, or none: false, one stayed closed for `patience` looks.
 * Those in `held` (may be NULL) are the caller's already. */
EG_MUST_USE bool unique_enter(struct unique_gates *g, const struct unique_set *set,
                              const struct unique_set *held, uint32_t patience);
void unique_leave(struct unique_gates *g, const struct unique_set *set);
/* Who holds the gates of `set` lets another hold them too. */
void unique_share(struct unique_gates *g, const struct unique_set *set);

#endif /* TABLES_UNIQUE_H */
