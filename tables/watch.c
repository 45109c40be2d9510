/* watch.c -- the lists of watchers: who comes, who goes, what they are told of tables.
 *
 * A list is never changed: whoever comes or goes publishes a new one under the hub's
 * lock and retires the old, as publishers may be walking it.  A watcher that closes is
 * marked and left out of the next list; where there is no memory for one, it stays in
 * the old list, unheard, until somebody else comes or goes. */
#include "tables/watch.h"

#include "engine/fence.h"
#include "tables/table_private.h"
#include "tables/watch_private.h"

#include <string.h>

enum { DETAILS_BYTES_MAX = 1024 };

/* ---- the hub ------------------------------------------------------------------- */

static void lock(struct watch_hub *h) {
    while (atomic_flag_test_and_set_explicit(&h->lock, memory_order_acquire))
        EG_CPU_RELAX();
}

static void unlock(struct watch_hub *h) {
    atomic_flag_clear_explicit(&h->lock, memory_order_release);
}

eg_err watch_hub_open(struct watch_hub **out, struct alloc *a, struct epoch *epoch,
                      struct memory_budget *budget) {
    struct watch_hub *h = alloc_zero(a, sizeof *h);

    if (h == NULL)
        return EG_MEMORY;
    h->alloc = a;
    h->budget = budget;
    atomic_flag_clear(&h->lock);
    epoch_bin_init(&h->bin, epoch, a);
    h->fence = fence_kind_here();
    *out = h;
    return EG_OK;
}

void watch_hub_tick(struct watch_hub *h) {
    lock(h);
    epoch_flush(&h->bin);
    unlock(h);
}

uint64_t watch_held_bytes(const struct watch_hub *h) {
    return atomic_load_explicit(&h->held_bytes, memory_order_relaxed);
}

/* ---- lists --------------------------------------------------------------------- */

static size_t list_bytes(uint32_t count) {
    return sizeof(struct watch_list) + count * sizeof(struct watcher *);
}

static void free_list(void *owner, void *ptr, size_t size_bytes) {
    alloc_put(owner, ptr, size_bytes);
}

static void free_watcher(void *owner, void *ptr, size_t size_bytes) {
    (void) owner;
    (void) size_bytes;
    watcher_unref(ptr);
}

/* Its opener has closed it and no list has it. */
static void retire_watcher(struct watch_hub *h, struct watcher *w) {
    epoch_retire(&h->bin, free_watcher, NULL, w, sizeof *w);
}

static bool is_closed(struct watcher *w) {
    return atomic_load_explicit(&w->closed, memory_order_relaxed);
}

/* Publish the list without closed watchers and with `fresh`, which may be NULL.
 * EG_MEMORY: it is as it was. */
static eg_err relist(struct watch_hub *h, _Atomic(struct watch_list *) *at, struct watcher *fresh) {
    struct watch_list *old = watch_list_of(at), *now = NULL;
    uint32_t before = old == NULL ? 0 : old->count, count = fresh != NULL;

    for (uint32_t i = 0; i < before; i++)
        count += !is_closed(old->watcher[i]);
    if (count > 0) {
        now = alloc_get(h->alloc, list_bytes(count));
        if (now == NULL)
            return EG_MEMORY;
        *now = (struct watch_list){0};
        for (uint32_t i = 0; i < before; i++)
            if (!is_closed(old->watcher[i]))
                now->watcher[now->count++] = old->watcher[i];
        if (fresh != NULL)
            now->watcher[now->count++] = fresh;
        EG_ASSERT(now->count == count);
        for (uint32_t i = 0; i < count; i++)
            now->old |= now->watcher[i]->o.old;
    }
    atomic_store_explicit(at, now, memory_order_release);
    for (uint32_t i = 0; i < before; i++)
        if (is_closed(old->watcher[i]))
            retire_watcher(h, old->watcher[i]);
    if (old != NULL)
        epoch_retire(&h->bin, free_list, h->alloc, old, list_bytes(before));
    return EG_OK;
}

/* Nobody is told anything from here on; who has closed goes. */
static void forget_list(struct watch_hub *h, _Atomic(struct watch_list *) *at) {
    struct watch_list *old = watch_list_of(at);

    if (old == NULL)
        return;
    atomic_store_explicit(at, NULL, memory_order_release);
    for (uint32_t i = 0; i < old->count; i++) {
        old->watcher[i]->at = NULL;
        if (is_closed(old->watcher[i]))
            retire_watcher(h, old->watcher[i]);
    }
    epoch_retire(&h->bin, free_list, h->alloc, old, list_bytes(old->count));
}

void watch_hub_close(struct watch_hub *h) {
    lock(h);
    forget_list(h, &h->system);
    unlock(h);
    epoch_bin_drain(&h->bin);
    alloc_put(h->alloc, h, sizeof *h);
}

/* ---- watchers ------------------------------------------------------------------ */

static struct watcher *watcher_new(struct watch_hub *h, uint32_t parts,
                                   const struct watch_opts *o) {
    struct watcher *w = alloc_zero(h->alloc, sizeof *w + parts * sizeof w->gap[0]);

    if (w == NULL)
        return NULL;
    w->hub = h;
    w->alloc = h->alloc;
    w->o = *o;
    if (w->o.bound_events == 0)
        w->o.bound_events = WATCH_EVENTS_MAX;
    if (w->o.bound_bytes == 0)
        w->o.bound_bytes = WATCH_BYTES_MAX;
    w->parts = parts;
    atomic_init(&w->refs, 1);
    return w;
}

static eg_err enter(struct watcher *w, struct table *t, _Atomic(struct watch_list *) *at) {
    struct watch_hub *h = w->hub;
    eg_err err;

    lock(h);
    if (t != NULL) {
        t = table_now(t);
        at = &t->watchers;
    }
    err = t != NULL && table_dropped(t) ? EG_NO_TABLE : relist(h, at, w);
    if (err == EG_OK)
        w->at = at;
    epoch_sweep(&h->bin);
    unlock(h);
    /* A change under way either sees the new list, or has been stored before this returns:
     * who reads the table now, or hears of the change, misses none (shard_is_watched()). */
    fence_heavy(h->fence);
    return err;
}

eg_err watch_table(struct watcher **out, struct table *t, const struct watch_opts *o) {
    struct watcher *w = watcher_new(t->world->watch, t->shard_count + 1, o);
    eg_err err;

    if (w == NULL)
        return EG_MEMORY;
    w->name = t->name;
    w->bag = t->type == TABLE_BAG;
    *out = w; /* it may be ready before this returns */
    err = enter(w, t, &t->watchers);
    if (err != EG_OK)
        watcher_unref(w);
    return err;
}

eg_err watch_system(struct watcher **out, struct watch_hub *hub, const struct watch_opts *o) {
    struct watcher *w = watcher_new(hub, 1, o);
    eg_err err;

    if (w == NULL)
        return EG_MEMORY;
    *out = w;
    err = enter(w, NULL, &hub->system);
    if (err != EG_OK)
        watcher_unref(w);
    return err;
}

void watcher_close(struct watcher *w) {
    struct watch_hub *h = w->hub;

    atomic_fetch_add_explicit(&w->refs, 1, memory_order_relaxed); /* ours, until it is empty */
    lock(h);
    atomic_store_explicit(&w->closed, true, memory_order_release);
    if (w->at == NULL)
        retire_watcher(h, w);
    else if (relist(h, w->at, NULL) != EG_OK)
        w->at = NULL; /* goes with its list */
    epoch_sweep(&h->bin);
    unlock(h);
    watcher_drop_all(w);
    watcher_unref(w);
}

/* ---- telling ------------------------------------------------------------------- */

bool watch_note_put(struct buffer *notes, enum watch_kind kind, struct value record,
                    struct value old, const char *name, bool last) {
    size_t name_bytes = strlen(name);
    size_t size_bytes = sizeof(struct watch_note) + record.size_bytes + old.size_bytes + name_bytes;
    size_t padded_bytes = (size_bytes + 7) / 8 * 8;
    uint8_t *at = buffer_room(notes, padded_bytes);
    struct watch_note *n = (struct watch_note *) (void *) at;

    if (at == NULL)
        return false;
    *n = (struct watch_note){.size_bytes = (uint32_t) padded_bytes,
                             .record_bytes = record.size_bytes,
                             .old_bytes = old.size_bytes,
                             .kind = (uint8_t) kind,
                             .name_bytes = (uint8_t) name_bytes,
                             .last = last};
    at = (uint8_t *) (n + 1);
    if (record.size_bytes > 0)
        memcpy(at, record.at, record.size_bytes);
    at += record.size_bytes;
    if (old.size_bytes > 0)
        memcpy(at, old.at, old.size_bytes);
    at += old.size_bytes;
    memcpy(at, name, name_bytes);
    notes->size_bytes += padded_bytes;
    return true;
}

bool watch_note_clear(struct buffer *notes, enum watch_kind kind, uint64_t number, bool moot) {
    const struct value none = {NULL, 0};
    const struct value payload = {(const uint8_t *) &number, sizeof number};
    size_t at_bytes = notes->size_bytes;

    if (!watch_note_put(notes, kind, payload, none, "", false))
        return false;
    ((struct watch_note *) (void *) (notes->at + at_bytes))->moot = moot;
    return true;
}

/* One note to all in the list. */
static void publish_one(struct watch_hub *h, const struct watch_list *list, uint32_t part,
                        enum watch_kind kind, const char *table, struct value details, bool last) {
    const struct value none = {NULL, 0};
    struct buffer b;

    buffer_init(&b, h->alloc, DETAILS_BYTES_MAX + details.size_bytes);
    if (watch_note_put(&b, kind, details, none, table, last))
        watch_publish(h, list, part, b.at, b.size_bytes);
    else
        watch_publish_loss(list, part, 1, 0);
    buffer_fini(&b);
}

void watch_tell(struct watch_hub *h, enum watch_kind kind, const char *table,
                struct value details) {
    const struct watch_list *list;

    if (atomic_load_explicit(&h->system, memory_order_relaxed) == NULL)
        return;
    lock(h); /* all who tell the node's watchers are one part */
    list = watch_list_of(&h->system);
    if (list != NULL)
        publish_one(h, list, 0, kind, table, details, false);
    unlock(h);
}

void watch_tell_state(struct watch_hub *h, enum watch_kind kind, const char *state,
                      const char *reason) {
    uint8_t bytes[DETAILS_BYTES_MAX];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);

    value_put_map(&w, 1 + (reason != NULL));
    value_put_text(&w, "state");
    value_put_text(&w, state);
    if (reason != NULL) {
        value_put_text(&w, "reason");
        value_put_text(&w, reason);
    }
    if (!w.overflow)
        watch_tell(h, kind, "", (struct value){bytes, (uint32_t) w.need_bytes});
}

/* ---- tables -------------------------------------------------------------------- */

/* {"change": change, "attribute": attribute} */
static struct value change_details(uint8_t bytes[DETAILS_BYTES_MAX], const char *change,
                                   struct value attribute) {
    struct value_writer w = value_writer_init(bytes, DETAILS_BYTES_MAX);

    value_put_map(&w, 1 + (attribute.size_bytes > 0));
    value_put_text(&w, "change");
    value_put_text(&w, change);
    if (attribute.size_bytes > 0) {
        value_put_text(&w, "attribute");
        value_put_raw(&w, attribute);
    }
    if (w.overflow) /* an attribute without a bound: say at least what happened */
        return change_details(bytes, change, (struct value){NULL, 0});
    return (struct value){bytes, (uint32_t) w.need_bytes};
}

static void tell_change(struct table *t, const char *change, struct value attribute, bool last) {
    struct watch_hub *h = t->world->watch;
    const struct watch_list *list = watch_list_of(&t->watchers);
    uint8_t bytes[DETAILS_BYTES_MAX];
    struct value details = change_details(bytes, change, attribute);

    if (list != NULL)
        publish_one(h, list, t->shard_count, WATCH_SCHEMA, "", details, last);
    watch_tell(h, WATCH_SCHEMA, t->name.text, details);
}

void watch_table_changed(struct table *t, const char *change, struct value attribute) {
    tell_change(t, change, attribute, false);
}

void watch_table_clear(struct table *t) {
    atomic_fetch_add(&t->clears, 1);
}

void watch_table_cleared(struct table *t, bool all) {
    const struct watch_list *list = watch_list_of(&t->watchers);
    struct watch_hub *h = t->world->watch;
    uint64_t number = atomic_load(&t->clears);
    struct buffer b;

    if (list == NULL)
        return;
    buffer_init(&b, h->alloc, DETAILS_BYTES_MAX);
    if (watch_note_clear(&b, WATCH_CLEAR, number, !all))
        watch_publish(h, list, t->shard_count, b.at, b.size_bytes);
    else
        watch_publish_loss(list, t->shard_count, 1, number);
    buffer_fini(&b);
}

void watch_table_ended(struct table *t) {
    tell_change(t, "drop", (struct value){NULL, 0}, true);
    watch_table_forget(t);
}

void watch_table_succeeded(struct table *t, struct table *fresh) {
    struct watch_hub *h = t->world->watch;
    struct watch_list *list;

    EG_ASSERT(t->shard_count == fresh->shard_count); /* the parts that publish */
    lock(h);
    list = watch_list_of(&t->watchers);
    atomic_store_explicit(&t->successor, fresh, memory_order_release);
    atomic_store(&fresh->clears, atomic_load(&t->clears));
    for (uint32_t i = 0; list != NULL && i < list->count; i++)
        if (list->watcher[i]->at != NULL)
            list->watcher[i]->at = &fresh->watchers;
    atomic_store_explicit(&fresh->watchers, list, memory_order_release);
    atomic_store_explicit(&t->watchers, NULL, memory_order_release);
    unlock(h);
}

void watch_table_forget(struct table *t) {
    struct watch_hub *h = t->world->watch;

    if (atomic_load_explicit(&t->watchers, memory_order_relaxed) == NULL)
        return;
    lock(h);
    forget_list(h, &t->watchers);
    unlock(h);
}
