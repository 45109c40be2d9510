/* text_rows.c -- rows kept in memory until they can be told in order. */
#include "query/text_rows.h"

#include "tables/key.h"
#include "tables/record.h"

#include <string.h>

enum { TURN_ROWS = 256, PREFIX_BYTES = 8, HEAP_FIRST_ROOM = 64 };

/* ---- memory ------------------------------------------------------------------------ */

void *text_memory_get(struct text_memory *m, size_t size_bytes) {
    void *at;

    if (size_bytes > TEXT_MEMORY_MAX - m->used_bytes)
        return NULL;
    at = alloc_get(m->alloc, size_bytes);
    if (at != NULL)
        m->used_bytes += size_bytes;
    return at;
}

void text_memory_put(struct text_memory *m, void *at, size_t size_bytes) {
    if (at == NULL)
        return;
    alloc_put(m->alloc, at, size_bytes);
    m->used_bytes -= size_bytes;
}

struct text_chunk {
    struct text_chunk *older;
    size_t size_bytes, used_bytes;
    uint8_t bytes[];
};

const uint8_t *text_store_copy(struct text_store *s, const void *at, size_t size_bytes) {
    struct text_chunk *c = s->newest;
    uint8_t *copy;

    if (c == NULL || c->size_bytes - c->used_bytes < size_bytes) {
        size_t room = EG_MAX(size_bytes, TEXT_CHUNK_BYTES - sizeof *c);
        c = text_memory_get(s->memory, sizeof *c + room);
        if (c == NULL)
            return NULL;
        *c = (struct text_chunk){.older = s->newest, .size_bytes = room};
        s->newest = c;
    }
    copy = c->bytes + c->used_bytes;
    memcpy(copy, at, size_bytes);
    c->used_bytes += size_bytes;
    return copy;
}

void text_store_clear(struct text_store *s) {
    while (s->newest != NULL) {
        struct text_chunk *c = s->newest;
        s->newest = c->older;
        text_memory_put(s->memory, c, sizeof *c + c->size_bytes);
    }
}

/* ---- order -------------------------------------------------------------------------- */

void text_rows_init(struct text_rows *r, struct text_memory *m, uint32_t order_count,
                    const bool *descending, uint64_t most) {
    *r = (struct text_rows){.memory = m,
                            .store = {.memory = m},
                            .descending = descending,
                            .order_count = order_count,
                            .most = most,
                            .turned = most == UINT64_MAX};
}

void text_rows_fini(struct text_rows *r) {
    text_store_clear(&r->store);
    text_memory_put(r->memory, r->heap, r->room * sizeof *r->heap);
    text_memory_put(r->memory, r->drained, r->drained == NULL ? 0 : r->room * sizeof *r->drained);
    r->heap = r->drained = NULL;
    r->room = r->count = r->drained_count = 0;
}

/* The first bytes of the first key's sortable form, so that most comparisons look at
 * nothing else; turned round where that key descends. */
static uint64_t prefix_of(struct text_rows *r, const uint8_t *row) {
    uint8_t sortable[PREFIX_BYTES] = {0};
    struct value_iter it = value_iter_of(value_of(row));
    struct value key;
    uint64_t prefix = 0;

    if (r->order_count == 0)
        return r->sequence++;
    EG_ASSERT(value_iter_next(&it, &key));
    (void) key_sortable(key, sortable, sizeof sortable); /* its beginning is enough */
    for (uint32_t i = 0; i < PREFIX_BYTES; i++)
        prefix = prefix << 8 | sortable[i];
    return r->descending[0] ? ~prefix : prefix;
}

/* <0: a comes before b. */
static int compare(const struct text_rows *r, const struct text_heap_entry *a,
                   const struct text_heap_entry *b) {
    struct value_iter ia, ib;
    struct value x, y;

    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    ia = value_iter_of(value_of(a->row));
    ib = value_iter_of(value_of(b->row));
    for (uint32_t i = 0; i < r->order_count; i++) {
        int order;
        EG_ASSERT(value_iter_next(&ia, &x) && value_iter_next(&ib, &y));
        order = value_compare(x, y);
        if (order != 0)
            return r->descending[i] ? -order : order;
    }
    return 0;
}

/* Does `a` belong above `b`?  On top is the first, or before the turn the last. */
static bool above(const struct text_rows *r, const struct text_heap_entry *a,
                  const struct text_heap_entry *b) {
    int order = compare(r, a, b);
    return r->turned ? order < 0 : order > 0;
}

static void sift_up(struct text_rows *r, uint64_t at) {
    struct text_heap_entry e = r->heap[at];

    while (at > 0 && above(r, &e, &r->heap[(at - 1) / 2])) {
        r->heap[at] = r->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    r->heap[at] = e;
}

static void sift_down(struct text_rows *r, uint64_t at) {
    struct text_heap_entry e = r->heap[at];

    for (uint64_t child = 2 * at + 1; child < r->count; child = 2 * at + 1) {
        if (child + 1 < r->count && above(r, &r->heap[child + 1], &r->heap[child]))
            child++;
        if (!above(r, &r->heap[child], &e))
            break;
        r->heap[at] = r->heap[child];
        at = child;
    }
    r->heap[at] = e;
}

/* ---- rows in --------------------------------------------------------------------------- */

static eg_err refused(const struct text_rows *r, size_t size_bytes) {
    return size_bytes > TEXT_MEMORY_MAX - r->memory->used_bytes ? EG_TOO_LARGE : EG_MEMORY;
}

static eg_err grow(struct text_rows *r) {
    uint64_t room = EG_MAX((uint64_t) HEAP_FIRST_ROOM, 2 * r->room);
    struct text_heap_entry *heap = text_memory_get(r->memory, room * sizeof *heap);

    if (heap == NULL)
        return refused(r, room * sizeof *heap);
    if (r->count > 0)
        memcpy(heap, r->heap, r->count * sizeof *heap);
    text_memory_put(r->memory, r->heap, r->room * sizeof *heap);
    r->heap = heap;
    r->room = room;
    return EG_OK;
}

/* Copy the rows that are left and let go of those pushed out, now and then. */
static eg_err tidy(struct text_rows *r) {
    struct text_store fresh = {.memory = r->memory};

    if (r->stored_bytes < 2 * r->live_bytes + TEXT_CHUNK_BYTES)
        return EG_OK;
    for (uint64_t i = 0; i < r->count; i++) {
        const uint8_t *row =
            text_store_copy(&fresh, r->heap[i].row, value_of(r->heap[i].row).size_bytes);
        if (row == NULL) { /* the heap points into both: keep both */
            while (fresh.newest != NULL) {
                struct text_chunk *c = fresh.newest;
                fresh.newest = c->older;
                c->older = r->store.newest;
                r->store.newest = c;
            }
            return refused(r, TEXT_CHUNK_BYTES);
        }
        r->heap[i].row = row;
    }
    text_store_clear(&r->store);
    r->store = fresh;
    r->stored_bytes = r->live_bytes;
    return EG_OK;
}

eg_err text_rows_push(struct text_rows *r, struct value row) {
    struct text_heap_entry e = {.prefix = prefix_of(r, row.at), .row = row.at};
    bool full = r->count == r->most;
    eg_err err = EG_OK;

    if (r->most == 0 || (full && compare(r, &e, &r->heap[0]) >= 0))
        return EG_OK;
    if (!full && r->count == r->room)
        err = grow(r);
    if (err == EG_OK && full)
        err = tidy(r);
    if (err != EG_OK)
        return err;
    e.row = text_store_copy(&r->store, row.at, row.size_bytes);
    if (e.row == NULL)
        return refused(r, EG_MAX(row.size_bytes, (uint32_t) TEXT_CHUNK_BYTES));
    r->stored_bytes += row.size_bytes;
    r->live_bytes += row.size_bytes;
    if (full) {
        r->live_bytes -= value_of(r->heap[0].row).size_bytes;
        r->heap[0] = e;
        sift_down(r, 0);
    } else {
        r->heap[r->count] = e;
        sift_up(r, r->count++);
    }
    return EG_OK;
}

/* ---- rows out --------------------------------------------------------------------------- */

static struct text_heap_entry take_top(struct text_rows *r) {
    struct text_heap_entry top = r->heap[0];

    r->heap[0] = r->heap[--r->count];
    if (r->count > 0)
        sift_down(r, 0);
    return top;
}

/* The last row of all comes first from the heap: it goes to the end of a second array,
 * which is the heap from then on, for what is in order is a heap. */
eg_err text_rows_turn(struct text_rows *r) {
    if (r->turned || r->count + r->drained_count == 0) {
        r->turned = true;
        return EG_OK;
    }
    if (r->drained == NULL) {
        r->drained = text_memory_get(r->memory, r->room * sizeof *r->drained);
        if (r->drained == NULL)
            return refused(r, r->room * sizeof *r->drained);
    }
    for (uint32_t i = 0; i < TURN_ROWS && r->count > 0; i++)
        r->drained[r->room - ++r->drained_count] = take_top(r);
    if (r->count > 0)
        return EG_AGAIN;
    memmove(r->drained, r->drained + r->room - r->drained_count,
            r->drained_count * sizeof *r->drained);
    text_memory_put(r->memory, r->heap, r->room * sizeof *r->heap);
    r->heap = r->drained;
    r->drained = NULL;
    r->count = r->drained_count;
    r->drained_count = 0;
    r->turned = true;
    return EG_OK;
}

bool text_rows_pop(struct text_rows *r, struct value *row) {
    EG_ASSERT(r->turned);
    if (r->count == 0)
        return false;
    *row = value_of(take_top(r).row);
    return true;
}
