/* rank.c -- a binary heap whose elements know where they are.
 *
 * Invariants (rank_check):
 *   (1) no element ranks before its parent.
 *   (2) place(heap[i]) == i. */
#include "tables/rank.h"

#include <string.h>

enum { RANK_FIRST_ROOM = 64 };

static uint64_t rank_of(const struct rank *q, const struct record *rec) {
    return q->by == RANK_DEADLINE ? record_expiry_ms(rec) : rec->hlc;
}

/* Where a record keeps its place in this heap: behind the expiry. */
static uint8_t *place_at(const struct rank *q, const struct record *rec) {
    EG_ASSERT(record_flags(rec) & RECORD_EXPIRES);
    return (uint8_t *) rec->bytes + 8 + (q->by == RANK_DEADLINE ? 0 : 4);
}

static uint32_t place_get(const struct rank *q, const struct record *rec) {
    uint32_t place;
    memcpy(&place, place_at(q, rec), sizeof place);
    return place;
}

static void set(struct rank *q, uint32_t place, struct record *rec) {
    q->heap[place] = rec;
    memcpy(place_at(q, rec), &place, sizeof place);
}

void rank_fini(struct rank *q) {
    alloc_put(q->alloc, q->heap, rank_bytes(q));
    q->heap = NULL;
    q->count = q->room = 0;
}

eg_err rank_reserve(struct rank *q) {
    uint32_t room = EG_MAX(2 * q->room, (uint32_t) RANK_FIRST_ROOM);
    struct record **grown;

    if (EG_LIKELY(q->count < q->room))
        return EG_OK;
    grown = alloc_resize(q->alloc, q->heap, rank_bytes(q), room * sizeof *grown);
    if (grown == NULL)
        return EG_MEMORY;
    q->heap = grown;
    q->room = room;
    return EG_OK;
}

static void sift_up(struct rank *q, uint32_t place, struct record *rec) {
    while (place > 0) {
        uint32_t parent = (place - 1) / 2;
        if (rank_of(q, q->heap[parent]) <= rank_of(q, rec))
            break;
        set(q, place, q->heap[parent]);
        place = parent;
    }
    set(q, place, rec);
}

static void sift_down(struct rank *q, uint32_t place, struct record *rec) {
    for (;;) {
        uint32_t child = 2 * place + 1;
        if (child >= q->count)
            break;
        if (child + 1 < q->count && rank_of(q, q->heap[child + 1]) < rank_of(q, q->heap[child]))
            child++;
        if (rank_of(q, rec) <= rank_of(q, q->heap[child]))
            break;
        set(q, place, q->heap[child]);
        place = child;
    }
    set(q, place, rec);
}

void rank_push(struct rank *q, struct record *rec) {
    EG_ASSERT(q->count < q->room);
    sift_up(q, q->count++, rec);
}

void rank_remove(struct rank *q, const struct record *rec) {
    uint32_t place = place_get(q, rec);
    struct record *last;

    EG_ASSERT(place < q->count && q->heap[place] == rec);
    last = q->heap[--q->count];
    if (last == rec)
        return;
    if (place > 0 && rank_of(q, last) < rank_of(q, q->heap[(place - 1) / 2]))
        sift_up(q, place, last);
    else
        sift_down(q, place, last);
}

void rank_check(const struct rank *q) {
    for (uint32_t i = 0; i < q->count; i++) {
        EG_ASSERT(place_get(q, q->heap[i]) == i);
        if (i > 0)
            EG_ASSERT(rank_of(q, q->heap[(i - 1) / 2]) <= rank_of(q, q->heap[i]));
    }
}
