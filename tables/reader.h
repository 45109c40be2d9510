/* reader.h -- a thread's right to read tables directly.
 *
 * Between reader_enter() and reader_exit() every record the thread is handed
 * stays where it is.  RAM stores hand out their own records; a disc store
 * materialises one in the reader's scratch memory, which lives as long as the
 * outermost section.  Sections nest.
 *
 * A section holds back reclamation on the whole node: keep it to microseconds,
 * and never wait inside one.
 *
 * Threads    One reader belongs to one thread.
 */
#ifndef TABLES_READER_H
#define TABLES_READER_H

#include "engine/alloc.h"
#include "engine/epoch.h"

struct reader {
    struct epoch_slot *slot;
    struct alloc *alloc;
    struct reader_chunk *chunks; /* scratch of this section, newest first */
    bool scheduler;              /* the slot is a scheduler's: it is online anyway */
    eg_err fault;                /* a disc store could not read: EG_CORRUPT, EG_DISC, EG_MEMORY */
};

/* What a disc store returned as absent may be unreadable: the first such fault
 * since it was last taken.  EG_OK: there was none. */
EG_MUST_USE static inline eg_err reader_take_fault(struct reader *r) {
    eg_err fault = r->fault;
    r->fault = EG_OK;
    return fault;
}
static inline void reader_set_fault(struct reader *r, eg_err fault) {
    if (r->fault == EG_OK)
        r->fault = fault;
}

/* Claim a slot.  EG_BUSY: too many reading threads. */
EG_MUST_USE eg_err reader_open(struct reader *r, struct epoch *domain, struct alloc *a);
/* Use a scheduler's slot, whose section is its dispatch. */
void reader_of_scheduler(struct reader *r, struct epoch_slot *slot, struct alloc *a);
void reader_close(struct reader *r);

void reader_enter(struct reader *r);
void reader_exit(struct reader *r); /* the outermost one gives the scratch back */

/* Memory until the outermost exit.  NULL: refused. */
void *reader_scratch(struct reader *r, size_t size_bytes);
/* A scheduler's sections never nest to zero by themselves: call between dispatches. */
void reader_reset(struct reader *r);

#endif /* TABLES_READER_H */
