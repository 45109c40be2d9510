/* machine.h -- what a node asks about the machine before it starts.
 *
 * machine_uv.c answers from libuv.  Nothing here is asked while the node runs.
 */
#ifndef NODE_MACHINE_H
#define NODE_MACHINE_H

#include "engine/base.h"

uint32_t machine_cores(void);        /* that this process may use; at least 1         */
uint64_t machine_memory_bytes(void); /* of the machine or this process's cgroup, the smaller */
void machine_name(char *name, size_t size_bytes); /* host name; "engram" where it has none */

/* One object a thread, found again by that thread, given back when it ends.
 *
 * A program's threads come and go without telling us; what they hold on a node
 * (a reader, a place to wait) must go with them. */
struct thread_slot;

struct thread_object {                     /* the first member of what a thread holds */
    void (*gone)(struct thread_object *o); /* called on the thread, when it ends */
};

EG_MUST_USE eg_err thread_slot_open(struct thread_slot **out);
/* From now on no thread's end gives anything back. */
void thread_slot_close(struct thread_slot *s);

struct thread_object *thread_slot_get(const struct thread_slot *s); /* NULL: none yet */
EG_MUST_USE eg_err thread_slot_set(struct thread_slot *s, struct thread_object *o);

#endif /* NODE_MACHINE_H */
