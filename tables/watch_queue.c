/* watch_queue.c -- chunks of events, and each watcher's queue of them.
 *
 * A gap and its part
 *     sends --does not fit--> missed > 0, the gap's link is pushed --read--> missed = 0
 * Between the two the part only counts what it would have sent.  As one part publishes
 * one after the other, the gap lies exactly where its first missed event would.
 *
 * A clear reaches the reader as one note of each shard, and the catalog's when all have
 * answered.  What a shard sends between those two came after the clear and is held back
 * until the reader has told it. */
#include "engine/buffer.h"
#include "engine/scheduler.h"
#include "tables/watch_private.h"

#include <string.h>

/* ---- chunks ------------------------------------------------------------------- */

static uint8_t *notes_of(struct watch_chunk *c) {
    return (uint8_t *) &c->link[c->links];
}

static size_t chunk_bytes(uint32_t links, uint32_t note_bytes) {
    return sizeof(struct watch_chunk) + links * sizeof(struct watch_link) + note_bytes;
}

/* Chunks are few and large beside what is written: each is booked at once. */
static void book(struct watch_hub *h, int64_t change_bytes) {
    atomic_fetch_add_explicit(&h->held_bytes, (uint64_t) change_bytes, memory_order_relaxed);
    memory_add(h->budget, change_bytes);
}

/* NULL: all chunks of the node together have filled their bound, or no memory. */
static struct watch_chunk *chunk_new(struct watch_hub *h, uint32_t links, uint32_t note_bytes) {
    size_t size_bytes = chunk_bytes(links, note_bytes);
    struct watch_chunk *c = NULL;

    if (atomic_load_explicit(&h->held_bytes, memory_order_relaxed) < WATCH_HELD_BYTES_MAX)
        c = alloc_get(h->alloc, size_bytes);
    if (c == NULL)
        return NULL;
    book(h, (int64_t) size_bytes);
    *c = (struct watch_chunk){.hub = h, .links = links, .note_bytes = note_bytes};
    return c;
}

static void chunk_unref(struct watch_chunk *c, uint32_t count) {
    struct watch_hub *h = c->hub;
    size_t size_bytes = chunk_bytes(c->links, c->note_bytes);

    if (atomic_fetch_sub_explicit(&c->refs, count, memory_order_acq_rel) != count)
        return;
    alloc_put(h->alloc, c, size_bytes);
    book(h, -(int64_t) size_bytes);
}

/* ---- pushing --------------------------------------------------------------------- */

void watcher_unref(struct watcher *w) {
    size_t size_bytes = sizeof *w + w->parts * sizeof w->gap[0];

    if (atomic_fetch_sub_explicit(&w->refs, 1, memory_order_acq_rel) != 1)
        return;
    watcher_drop_all(w);
    alloc_put(w->alloc, w, size_bytes);
}

static void on_wake(struct scheduler *s, void *arg) {
    struct watcher *w = arg;

    (void) s; /* the user knows it */
    if (!atomic_load_explicit(&w->closed, memory_order_acquire))
        w->o.ready(w, w->o.user);
    watcher_unref(w);
}

static void wake(struct watcher *w) {
    if (w->o.scheduler == NULL)
        return;
    atomic_fetch_add_explicit(&w->refs, 1, memory_order_relaxed);
    if (scheduler_post(w->o.scheduler, on_wake, w) == EG_OK)
        return;
    atomic_fetch_sub_explicit(&w->refs, 1, memory_order_relaxed); /* never the last: it is listed */
    atomic_store_explicit(&w->unwaked, true, memory_order_relaxed);
}

static void push(struct watcher *w, struct watch_link *l) {
    struct watch_link *top = atomic_load_explicit(&w->top, memory_order_relaxed);

    do
        l->next = top;
    while (!atomic_compare_exchange_weak_explicit(&w->top, &top, l, memory_order_acq_rel,
                                                  memory_order_relaxed));
    if (top == NULL || (EG_UNLIKELY(atomic_load_explicit(&w->unwaked, memory_order_relaxed)) &&
                        atomic_exchange_explicit(&w->unwaked, false, memory_order_relaxed)))
        wake(w);
}

static void miss(struct watcher *w, uint32_t part, uint64_t count, uint64_t clear) {
    struct watch_gap *gap = &w->gap[part];

    if (clear != 0) /* before it is counted: whoever reads the count finds it */
        atomic_store_explicit(&gap->missed_clear, clear, memory_order_release);
    if (atomic_fetch_add_explicit(&gap->missed, count, memory_order_acq_rel) == 0)
        push(w, &gap->link);
    if (!atomic_exchange_explicit(&w->full, true, memory_order_relaxed) && w->o.tell_full)
        wake(w);
}

/* Is the part's gap not read yet? */
static bool is_missing(struct watch_gap *gap) {
#ifdef EG_PLANT_GAP_NOT_AWAITED
    (void) gap;
    return false;
#else
    return atomic_load_explicit(&gap->missed, memory_order_acquire) != 0;
#endif
}

/* An empty queue takes a chunk of any size: none is too large for ever. */
static bool fits(const struct watcher *w, const struct watch_chunk *c) {
    uint32_t events = atomic_load_explicit(&w->queued_events, memory_order_relaxed);
    uint64_t bytes = atomic_load_explicit(&w->queued_bytes, memory_order_relaxed);

    return events == 0 ||
           (events + c->events <= w->o.bound_events && bytes + c->note_bytes <= w->o.bound_bytes);
}

/* Push the chunk's link `number` to a watcher, or count what it misses.  The chunk's last
 * news is told in any case: it is one, and the end. */
static bool offer(struct watcher *w, struct watch_chunk *c, uint32_t number) {
    if (atomic_load_explicit(&w->closed, memory_order_acquire))
        return false;
    if (!c->last && (is_missing(&w->gap[c->part]) || !fits(w, c))) {
        miss(w, c->part, c->events, c->clear);
        return false;
    }
    atomic_fetch_add_explicit(&w->queued_events, c->events, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->queued_bytes, c->note_bytes, memory_order_relaxed);
    push(w, &c->link[number]);
    return true;
}

static uint64_t clear_number(const struct watch_note *n) {
    uint64_t number;

    memcpy(&number, n + 1, sizeof number);
    return number;
}

/* How many bytes of notes the next chunk takes, and what is in them. */
static uint32_t measure(struct watch_chunk *c, const uint8_t *notes, size_t size_bytes) {
    uint32_t used_bytes = 0;

    while (used_bytes < size_bytes && used_bytes < WATCH_CHUNK_BYTES) {
        const struct watch_note *n =
            (const struct watch_note *) (const void *) (notes + used_bytes);
        used_bytes += n->size_bytes;
        c->events += !n->taken_back;
        c->last |= n->last;
        if (n->kind == WATCH_CLEAR || n->kind == WATCH_CLEAR_PART)
            c->clear = clear_number(n);
    }
    return used_bytes;
}

static void publish_chunk(struct watch_hub *h, const struct watch_list *list,
                          const struct watch_chunk *what, const uint8_t *notes) {
    struct watch_chunk *c = chunk_new(h, list->count, what->note_bytes);
    uint32_t refused = 1; /* our own reference */

    if (c == NULL) {
        for (uint32_t i = 0; i < list->count; i++)
            miss(list->watcher[i], what->part, what->events, what->clear);
        return;
    }
    c->part = what->part;
    c->events = what->events;
    c->clear = what->clear;
    c->last = what->last;
    memcpy(notes_of(c), notes, what->note_bytes);
    atomic_init(&c->refs, list->count + 1);
    for (uint32_t i = 0; i < list->count; i++) {
        c->link[i].chunk = c;
        refused += !offer(list->watcher[i], c, i);
    }
    chunk_unref(c, refused);
}

void watch_publish(struct watch_hub *h, const struct watch_list *list, uint32_t part,
                   const uint8_t *notes, size_t size_bytes) {
    while (size_bytes > 0) {
        struct watch_chunk what = {.part = part};

        what.note_bytes = measure(&what, notes, size_bytes);
        if (what.events > 0)
            publish_chunk(h, list, &what, notes);
        notes += what.note_bytes;
        size_bytes -= what.note_bytes;
    }
}

void watch_publish_loss(const struct watch_list *list, uint32_t part, uint64_t count,
                        uint64_t clear) {
    for (uint32_t i = 0; i < list->count; i++)
        miss(list->watcher[i], part, count, clear);
}

/* ---- reading ------------------------------------------------------------------------ */

bool watcher_waits(const struct watcher *w) {
    return !w->ended && (w->chunk != NULL || w->oldest != NULL ||
                         atomic_load_explicit(&w->top, memory_order_relaxed) != NULL);
}

bool watcher_was_full(const struct watcher *w) {
    return atomic_load_explicit(&w->full, memory_order_relaxed);
}

const char *watcher_table(const struct watcher *w) {
    return w->name.text;
}

/* Turn what was pushed round. */
static void take(struct watcher *w) {
    struct watch_link *l;

    if (atomic_load_explicit(&w->top, memory_order_relaxed) == NULL)
        return;
    l = atomic_exchange_explicit(&w->top, NULL, memory_order_acquire);
    while (l != NULL) {
        struct watch_link *next = l->next;
        l->next = w->oldest;
        w->oldest = l;
        l = next;
    }
}

static struct watch_link *pop(struct watcher *w) {
    struct watch_link *l;

    if (w->oldest == NULL)
        take(w);
    l = w->oldest;
    if (l != NULL)
        w->oldest = l->next;
    return l;
}

static void release(struct watcher *w, struct watch_chunk *c) {
    atomic_fetch_sub_explicit(&w->queued_events, c->events, memory_order_relaxed);
    atomic_fetch_sub_explicit(&w->queued_bytes, c->note_bytes, memory_order_relaxed);
    chunk_unref(c, 1);
}

static struct watch_gap *gap_of(struct watch_link *l) {
    return EG_CONTAINER_OF(l, struct watch_gap, link);
}

static uint32_t part_of(const struct watcher *w, struct watch_link *l) {
    return l->chunk != NULL ? l->chunk->part : (uint32_t) (gap_of(l) - w->gap);
}

static uint64_t missed_clear(const struct watch_gap *gap) {
    return atomic_load_explicit(&gap->missed_clear, memory_order_acquire);
}

/* Does this come after a part's clear that is not over in all the others? */
static bool must_wait(const struct watcher *w, struct watch_link *l) {
    uint32_t part = part_of(w, l);
    const struct watch_gap *gap = &w->gap[part];

#ifdef EG_PLANT_CLEAR_NOT_AWAITED
    return l->chunk == NULL && missed_clear(gap) > w->told_clear;
#endif
    return part != w->parts - 1 && /* the catalog's own */
           (gap->cleared > w->told_clear ||
            (l->chunk == NULL && missed_clear(gap) > w->told_clear));
}

static void hold(struct watcher *w, struct watch_link *l) {
    l->next = NULL;
    if (w->held == NULL)
        w->held = l;
    else
        w->held_newest->next = l;
    w->held_newest = l;
}

/* Clear `number` is over: what was held back comes next.  True: it is to be told, for
 * there was something. */
static bool end_clear(struct watcher *w, uint64_t number) {
    bool counts = w->clear_counts;

    for (uint32_t i = 0; i < w->parts; i++) /* what was missed was perhaps something */
        counts |= missed_clear(&w->gap[i]) > w->told_clear;
    w->told_clear = number;
    w->clear_counts = false;
    if (w->held != NULL) {
        w->held_newest->next = w->oldest;
        w->oldest = w->held;
        w->held = NULL;
    }
    return counts;
}

static void event_init(const struct watcher *w, struct watch_event *e, enum watch_kind kind) {
    *e = (struct watch_event){.kind = kind, .table = w->name.text, .bag = w->bag};
}

/* What a gap has counted; from here on its part sends again.  False: it has come to count
 * a clear that is not over, and goes on. */
static bool take_missed(const struct watcher *w, struct watch_gap *gap, uint64_t *count) {
    uint64_t missed = atomic_load_explicit(&gap->missed, memory_order_acquire);

    do {
        if (missed_clear(gap) > w->told_clear)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&gap->missed, &missed, 0, memory_order_acq_rel,
                                                    memory_order_acquire));
    *count += missed;
    return true;
}

static void push_back(struct watcher *w, struct watch_link *l) {
    l->next = w->oldest;
    w->oldest = l;
}

/* Gaps side by side are one. */
static void join_gaps(struct watcher *w, uint64_t *count) {
    struct watch_link *l;

    while ((l = w->oldest) != NULL && l->chunk == NULL && part_of(w, l) != w->parts - 1 &&
           !must_wait(w, l)) {
        w->oldest = l->next;
        if (!take_missed(w, gap_of(l), count)) {
            push_back(w, l);
            return;
        }
    }
}

static void gap_init(struct watcher *w, uint64_t count, struct watch_event *e) {
    struct value_writer writer = value_writer_init(w->details, sizeof w->details);

    event_init(w, e, WATCH_GAP);
    e->missing = count;
    value_put_map(&writer, 1);
    value_put_text(&writer, "missing");
    value_put_u64(&writer, count);
    EG_ASSERT(!writer.overflow);
    e->details = (struct value){w->details, (uint32_t) writer.need_bytes};
}

/* False: it is to be looked at again. */
static bool read_gap(struct watcher *w, struct watch_link *l, struct watch_event *e) {
    uint64_t count = 0;

    if (!take_missed(w, gap_of(l), &count)) {
        push_back(w, l);
        return false;
    }
    join_gaps(w, &count);
    gap_init(w, count, e);
    return true;
}

/* Where the catalog could not say that a clear is over, it is, and is told before the gap. */
static bool read_catalog_gap(struct watcher *w, struct watch_link *l, struct watch_event *e) {
    uint64_t number = missed_clear(gap_of(l));

    if (number <= w->told_clear)
        return read_gap(w, l, e);
    EG_ASSERT(end_clear(w, number)); /* its own number counts */
    push_back(w, l);                 /* before what was held back */
    event_init(w, e, WATCH_CLEAR);
    return true;
}

/* A part's clear, or the end of all parts'.  True: there is something to tell. */
static bool read_clear(struct watcher *w, const struct watch_note *n, struct watch_event *e) {
    uint64_t number = clear_number(n);

    if (n->kind == WATCH_CLEAR_PART && number > w->told_clear) {
        w->gap[w->chunk->part].cleared = number;
        w->clear_counts |= !n->moot;
        return false;
    }
    if (n->kind == WATCH_CLEAR_PART ? n->moot : !end_clear(w, number))
        return false; /* nothing has changed */
    if (n->kind == WATCH_CLEAR_PART || n->moot)
        gap_init(w, 1, e); /* cleared in part, or too late: whoever reads sees what is left */
    else
        event_init(w, e, WATCH_CLEAR);
    return true;
}

static bool read_note(struct watcher *w, const struct watch_note *n, struct watch_event *e) {
    const uint8_t *at = (const uint8_t *) (n + 1);

    if (n->taken_back)
        return false;
    if (n->kind == WATCH_CLEAR || n->kind == WATCH_CLEAR_PART)
        return read_clear(w, n, e);
    event_init(w, e, (enum watch_kind) n->kind);
    e->last = n->last;
    if (n->kind <= WATCH_EXPIRE) {
        e->record = (struct value){at, n->record_bytes};
        e->old = (struct value){at + n->record_bytes, n->old_bytes};
    } else {
        e->details = (struct value){at, n->record_bytes};
    }
    if (n->name_bytes > 0) {
        memcpy(w->name_now, at + n->record_bytes + n->old_bytes, n->name_bytes);
        w->name_now[n->name_bytes] = '\0';
        e->table = w->name_now;
    }
    return true;
}

static bool next_note(struct watcher *w, struct watch_event *e) {
    while (w->at_bytes < w->chunk->note_bytes) {
        const struct watch_note *n =
            (const struct watch_note *) (const void *) (notes_of(w->chunk) + w->at_bytes);
        w->at_bytes += n->size_bytes;
        if (read_note(w, n, e))
            return true;
    }
    release(w, w->chunk);
    w->chunk = NULL;
    return false;
}

bool watcher_next(struct watcher *w, struct watch_event *e) {
    while (!w->ended) {
        struct watch_link *l;
        bool found = false;

        if (w->chunk != NULL && next_note(w, e)) {
            w->ended = e->last;
            return true;
        }
        l = pop(w);
        if (l == NULL)
            return false;
        if (l->chunk != NULL && !must_wait(w, l)) {
            w->chunk = l->chunk;
            w->at_bytes = 0;
            continue;
        }
        if (part_of(w, l) == w->parts - 1)
            found = read_catalog_gap(w, l, e);
        else if (must_wait(w, l))
            hold(w, l);
        else
            found = read_gap(w, l, e);
        if (found)
            return true;
    }
    return false;
}

static void drop_list(struct watcher *w, struct watch_link *l) {
    while (l != NULL) {
        struct watch_link *next = l->next;
        if (l->chunk != NULL)
            release(w, l->chunk);
        l = next;
    }
}

void watcher_drop_all(struct watcher *w) {
    if (w->chunk != NULL)
        release(w, w->chunk);
    w->chunk = NULL;
    take(w);
    drop_list(w, w->held);
    drop_list(w, w->oldest);
    w->held = w->oldest = NULL;
}
