/* machine_uv.c -- the machine through libuv, and threads that end through POSIX. */
#include "node/machine.h"

#include "engine/alloc.h"

#include <pthread.h>
#include <stdio.h>
#include <uv.h>

uint32_t machine_cores(void) {
    unsigned cores = uv_available_parallelism();
    return cores == 0 ? 1 : cores;
}

uint64_t machine_memory_bytes(void) {
    uint64_t machine = uv_get_total_memory();
    uint64_t group = uv_get_constrained_memory();

    return group != 0 && group < machine ? group : machine;
}

void machine_name(char *name, size_t size_bytes) {
    size_t room = size_bytes;

    if (uv_os_gethostname(name, &room) != 0 || name[0] == '\0')
        snprintf(name, size_bytes, "engram");
}

/* ---- one object a thread: libuv's own keys know no destructor ------------------ */

struct thread_slot {
    pthread_key_t key;
};

static void thread_ends(void *value) {
    struct thread_object *o = value;
    o->gone(o);
}

eg_err thread_slot_open(struct thread_slot **out) {
    struct thread_slot *s = alloc_get(alloc_system(), sizeof *s);

    if (s == NULL)
        return EG_MEMORY;
    if (pthread_key_create(&s->key, thread_ends) != 0) {
        alloc_put(alloc_system(), s, sizeof *s);
        return EG_BUSY;
    }
    *out = s;
    return EG_OK;
}

void thread_slot_close(struct thread_slot *s) {
    EG_ASSERT(pthread_key_delete(s->key) == 0);
    alloc_put(alloc_system(), s, sizeof *s);
}

struct thread_object *thread_slot_get(const struct thread_slot *s) {
    return pthread_getspecific(s->key);
}

eg_err thread_slot_set(struct thread_slot *s, struct thread_object *o) {
    return pthread_setspecific(s->key, o) == 0 ? EG_OK : EG_MEMORY;
}
