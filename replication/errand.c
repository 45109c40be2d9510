/* errand.c -- slots that are found by number: the low bits say which, the rest is never used
 * again. */
#include "replication/errand.h"

#include <string.h>

enum { SLOT_BITS = 20, SLOTS_FIRST = 64 };

void errands_init(struct errands *e, struct alloc *a, uint32_t most) {
    EG_ASSERT(most <= 1u << SLOT_BITS);
    *e = (struct errands){.alloc = a, .slots_max = most};
}

void errands_fini(struct errands *e) {
    EG_ASSERT(e->unused_count == e->slot_count);
    if (e->slot_count == 0)
        return;
    alloc_put(e->alloc, e->slot, e->slot_count * sizeof *e->slot);
    alloc_put(e->alloc, e->unused, e->slot_count * sizeof *e->unused);
}

static eg_err grow(struct errands *e) {
    uint32_t count = e->slot_count == 0 ? SLOTS_FIRST : 2 * e->slot_count;
    struct errand **slot;
    uint32_t *unused;

    if (e->slot_count == e->slots_max)
        return EG_BUSY;
    count = EG_MIN(count, e->slots_max);
    slot = alloc_zero(e->alloc, count * sizeof *slot);
    unused = alloc_get(e->alloc, count * sizeof *unused);
    if (slot == NULL || unused == NULL) {
        if (slot != NULL)
            alloc_put(e->alloc, slot, count * sizeof *slot);
        if (unused != NULL)
            alloc_put(e->alloc, unused, count * sizeof *unused);
        return EG_MEMORY;
    }
    if (e->slot_count != 0) {
        memcpy(slot, e->slot, e->slot_count * sizeof *slot);
        alloc_put(e->alloc, e->slot, e->slot_count * sizeof *e->slot);
        alloc_put(e->alloc, e->unused, e->slot_count * sizeof *e->unused);
    }
    EG_ASSERT(e->unused_count == 0);
    for (uint32_t i = count; i > e->slot_count; i--)
        unused[e->unused_count++] = i - 1;
    e->slot = slot;
    e->unused = unused;
    e->slot_count = count;
    return EG_OK;
}

bool errands_have_room(const struct errands *e, uint32_t count) {
    return e->slots_max - (e->slot_count - e->unused_count) >= count;
}

eg_err errand_new(struct errands *e, struct errand **out) {
    eg_err err = e->unused_count == 0 ? grow(e) : EG_OK;
    struct errand *d;
    uint32_t slot;

    if (err != EG_OK)
        return err;
    d = alloc_zero(e->alloc, sizeof *d);
    if (d == NULL)
        return EG_MEMORY;
    slot = e->unused[--e->unused_count];
    list_init(&d->node);
    d->number = ++e->given << SLOT_BITS | slot;
    e->slot[slot] = d;
    *out = d;
    return EG_OK;
}

static uint32_t slot_of(uint64_t number) {
    return (uint32_t) (number & ((1u << SLOT_BITS) - 1));
}

struct errand *errand_find(const struct errands *e, uint64_t number) {
    uint32_t slot = slot_of(number);

    if (slot >= e->slot_count || e->slot[slot] == NULL || e->slot[slot]->number != number)
        return NULL;
    return e->slot[slot];
}

void errand_renumber(struct errands *e, struct errand *d) {
    d->number = ++e->given << SLOT_BITS | slot_of(d->number);
}

void errand_free(struct errands *e, struct errand *d) {
    EG_ASSERT(errand_find(e, d->number) == d && d->request == NULL);
    list_remove(&d->node);
    e->slot[slot_of(d->number)] = NULL;
    e->unused[e->unused_count++] = slot_of(d->number);
    alloc_put(e->alloc, d, sizeof *d);
}
