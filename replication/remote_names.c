/* remote_names.c -- an open-addressing table that only grows, read without its lock. */
#include "replication/remote_names.h"

#include <stdio.h>
#include <string.h>

static void lock(struct remote_names *n) {
    while (atomic_flag_test_and_set_explicit(&n->lock, memory_order_acquire))
        EG_CPU_RELAX();
}
static void unlock(struct remote_names *n) {
    atomic_flag_clear_explicit(&n->lock, memory_order_release);
}

void remote_names_init(struct remote_names *n, struct alloc *a) {
    n->alloc = a;
    n->count = 0;
    atomic_flag_clear(&n->lock);
    memset(n->slot, 0, sizeof n->slot);
}

void remote_names_fini(struct remote_names *n) {
    for (uint32_t i = 0; i < n->count; i++)
        alloc_put(n->alloc, atomic_load(&n->at[i]), sizeof(struct remote_name));
}

/* Where the pair is, or could be put. */
static uint16_t *find(struct remote_names *n, const struct remote_name *pair) {
    uint64_t at = (node_id_of(pair->name) ^ pair->node) % REMOTE_NAMES_SLOTS;

    while (n->slot[at] != 0) {
        const struct remote_name *there = atomic_load(&n->at[n->slot[at] - 1]);
        if (there->node == pair->node && strcmp(there->name, pair->name) == 0)
            break;
        at = (at + 1) % REMOTE_NAMES_SLOTS;
    }
    return &n->slot[at];
}

static eg_err add(struct remote_names *n, struct remote_name **made, uint32_t *number) {
    uint16_t *slot;
    eg_err err = EG_OK;

    lock(n);
    slot = find(n, *made);
    if (*slot == 0 && n->count == REMOTE_NAMES_MAX) {
        err = EG_BUSY;
    } else if (*slot == 0) {
        atomic_store_explicit(&n->at[n->count], *made, memory_order_release);
        *slot = (uint16_t) ++n->count;
        *made = NULL;
    }
    *number = *slot - 1u;
    unlock(n);
    return err;
}

eg_err remote_names_get(struct remote_names *n, const char *node, const char *name,
                        uint32_t *number) {
    struct remote_name *made;
    eg_err err;

    if (node[0] == '\0' || strlen(node) >= sizeof made->node_name || name[0] == '\0' ||
        strlen(name) >= sizeof made->name)
        return EG_BAD_REQUEST;
    made = alloc_zero(n->alloc, sizeof *made);
    if (made == NULL)
        return EG_MEMORY;
    made->node = node_id_of(node);
    snprintf(made->node_name, sizeof made->node_name, "%s", node);
    snprintf(made->name, sizeof made->name, "%s", name);
    err = add(n, &made, number);
    if (made != NULL)
        alloc_put(n->alloc, made, sizeof *made);
    return err;
}

const struct remote_name *remote_names_at(const struct remote_names *n, uint32_t number) {
    return number < REMOTE_NAMES_MAX ? atomic_load_explicit(&n->at[number], memory_order_acquire)
                                     : NULL;
}
