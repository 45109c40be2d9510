/* watch_private.h -- how watchers and their queues lie in memory.
 *
 *     watcher.top --> link --> link --> link          newest first, taken as a whole
 *                      |         |        |
 *                    chunk     gap of   chunk         a gap's link is the watcher's own
 *                              shard 3
 *
 *     chunk   | refs, part | link of watcher 0 | link of watcher 1 | note | note | ...
 *
 * A `part` is who publishes one after the other: a shard by its number, or, as the last,
 * the catalog.  Each watcher has a gap for each part. */
#ifndef TABLES_WATCH_PRIVATE_H
#define TABLES_WATCH_PRIVATE_H

#include "engine/buffer.h"
#include "engine/epoch.h"
#include "engine/fence.h"
#include "tables/memory.h"
#include "tables/schema.h"
#include "tables/watch.h"

struct watch_chunk;

struct watch_link {
    struct watch_link *next;
    struct watch_chunk *chunk; /* NULL: the link of a gap */
};

struct watch_gap {
    struct watch_link link;
    _Atomic uint64_t missed;       /* 0: the part may send                             */
    _Atomic uint64_t missed_clear; /* number of the last clear that did not fit        */
    uint64_t cleared;              /* the reader's: of the last that this part has had */
};

/* One change, followed by the record, the old record and the table's name. */
struct watch_note {
    uint32_t size_bytes; /* with all that follows, a multiple of 8 */
    uint32_t record_bytes;
    uint32_t old_bytes;
    uint8_t kind;
    uint8_t name_bytes;
    bool taken_back;
    bool last;
    bool moot; /* WATCH_CLEAR_PART: there was nothing; WATCH_CLEAR: not all parts did it */
};

struct watch_chunk {
    _Atomic uint32_t refs;
    uint32_t part;
    uint32_t events;
    uint32_t links;
    uint32_t note_bytes;
    bool last;
    uint64_t clear; /* the number of the last clear that is told in it; 0: none */
    struct watch_hub *hub;
    struct watch_link link[];
};

struct watch_list { /* published, never changed */
    uint32_t count;
    bool old; /* somebody wants it */
    struct watcher *watcher[];
};

struct watcher {
    struct watch_hub *hub;
    struct alloc *alloc;
    struct watch_opts o;
    _Atomic(struct watch_list *) *at; /* its list, under the hub's lock; NULL: that is gone */
    struct schema_name name;
    uint32_t parts;
    bool bag;
    _Atomic uint32_t refs;
    _Atomic bool closed;
    _Atomic bool unwaked; /* there was no memory for the wake-up */
    _Atomic bool full;    /* an event did not fit                */

    uint8_t apart[EG_CACHE_LINE]; /* what publishers change has a line of its own */
    _Atomic(struct watch_link *) top;
    _Atomic uint64_t queued_bytes;
    _Atomic uint32_t queued_events;

    uint8_t apart_too[EG_CACHE_LINE];

    /* The reader's. */
    struct watch_link *oldest;             /* taken, in order */
    struct watch_link *held, *held_newest; /* what came after a clear that is not complete */
    uint64_t told_clear;                   /* number of the last clear that is over           */
    bool clear_counts;                     /* there was something in a part of the one under way */
    bool ended;
    struct watch_chunk *chunk; /* being read */
    size_t at_bytes;           /* of its notes */
    uint8_t details[24];       /* of a gap */
    char name_now[SCHEMA_NAME_MAX + 1];
    struct watch_gap gap[];
};

struct watch_hub {
    struct alloc *alloc;
    atomic_flag lock; /* held for a few instructions: lists and the bin */
    enum fence_kind fence;
    struct epoch_bin bin; /* lists and watchers that publishers may still see */
    _Atomic(struct watch_list *) system;
    _Atomic uint64_t held_bytes;   /* of all chunks */
    struct memory_budget *budget;  /* of the node, in which they are booked */
    bool disc_failed, memory_full; /* as last told by the catalog's actor */
};

EG_MUST_USE eg_err watch_hub_open(struct watch_hub **out, struct alloc *a, struct epoch *epoch,
                                  struct memory_budget *budget);
void watch_hub_close(struct watch_hub *h); /* nobody publishes any more */
/* Free what can be: once in a while. */
void watch_hub_tick(struct watch_hub *h);

static inline struct watch_list *watch_list_of(_Atomic(struct watch_list *) const *at) {
    return atomic_load_explicit(at, memory_order_acquire);
}

/* ---- publishing (watch_queue.c) ------------------------------------------- */

/* Hand notes of one part to all in the list.  The caller is in a section, and one at a
 * time for each part. */
void watch_publish(struct watch_hub *h, const struct watch_list *list, uint32_t part,
                   const uint8_t *notes, size_t size_bytes);
/* `count` changes could not even be noted; `clear`: the number of one among them, or 0. */
void watch_publish_loss(const struct watch_list *list, uint32_t part, uint64_t count,
                        uint64_t clear);
/* The note that a clear begins in a part, or is over; `moot` as in the note. */
EG_MUST_USE bool watch_note_clear(struct buffer *notes, enum watch_kind kind, uint64_t number,
                                  bool moot);
/* Append a note.  False: no memory. */
EG_MUST_USE bool watch_note_put(struct buffer *notes, enum watch_kind kind, struct value record,
                                struct value old, const char *name, bool last);
void watcher_drop_all(struct watcher *w);
void watcher_unref(struct watcher *w);

/* ---- of tables ---------------------------------------------------------- */

/* Shards are about to clear the table; then: all have, or some of them have failed.  Clears
 * have numbers, so that each shard's part of one finds its end.  By the catalog's actor,
 * in a section. */
void watch_table_clear(struct table *t);
void watch_table_cleared(struct table *t, bool all);
/* Tell the table's watchers and the node's of {"change": change, "attribute": ...};
 * attribute may be of size 0.  By the catalog's actor. */
void watch_table_changed(struct table *t, const char *change, struct value attribute);
/* `fresh` takes the place of `t`, and those who watch it from now on watch that.  No shard of
 * either changes meanwhile.  Whoever comes for `t` later is sent on. */
void watch_table_succeeded(struct table *t, struct table *fresh);
/* As watch_table_changed() at its end, and nobody watches it from here on.  All shards have
 * stopped. */
void watch_table_ended(struct table *t);
/* It is freed: whoever still watches it hears nothing any more. */
void watch_table_forget(struct table *t);

#endif /* TABLES_WATCH_PRIVATE_H */
