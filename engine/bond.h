/* bond.h -- what ties an actor to another one, or to a time.
 *
 * A link is two bonds, one at each end, and so is a monitor.  A bond hangs in its
 * owner's list, so that a death finds them all, and in a hash table of the owner's
 * scheduler, so that a supervisor of a million children finds one at once.
 *
 * Memory     A bond is a message block of the smallest class: both ends are
 *            allocated when the tie is made, and at a death the bond itself can
 *            become the message that tells it.  So dying needs no memory.
 * Threads    The owner's scheduler.
 */
#ifndef ENGINE_BOND_H
#define ENGINE_BOND_H

#include "engine/alloc.h"
#include "engine/list.h"
#include "engine/timer.h"
#include "engram/types.h"

struct message;

enum bond_kind {
    BOND_LINK,      /* found by peer                        */
    BOND_MONITOR,   /* the owner watches; found by ref      */
    BOND_MONITORED, /* the owner is watched; found by ref   */
    BOND_TIMER,     /* a struct timer_bond; found by ref    */
};

struct bond {
    struct list_node in_owner;
    struct bond *hash_next;
    eg_ref ref;
    eg_pid peer;
    uint8_t kind;
    bool hashed;
    uint32_t owner_slot;
};

struct timer_bond {
    struct bond bond;
    struct timer timer;
    struct message *message; /* NULL: under way in the mailbox */
    struct actor *owner;
};

struct bond_table {
    struct alloc *alloc;
    struct bond **buckets;
    uint32_t bucket_count; /* a power of two */
    uint32_t count;
};

EG_MUST_USE eg_err bond_table_open(struct bond_table *t, struct alloc *a);
void bond_table_close(struct bond_table *t);

/* Where memory for more buckets is refused, chains grow instead. */
void bond_table_add(struct bond_table *t, struct bond *b);
void bond_table_remove(struct bond_table *t, struct bond *b);

/* A link is found by `peer` (ref is ignored), the others by `ref`. */
struct bond *bond_table_find(struct bond_table *t, uint32_t owner_slot, enum bond_kind kind,
                             eg_pid peer, eg_ref ref);

#endif /* ENGINE_BOND_H */
