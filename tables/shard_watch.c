/* shard_watch.c -- noting the changes of a turn. */
#include "tables/shard_watch.h"

#include "tables/watch_private.h"

#include <string.h>

enum { NOTES_KEPT_BYTES = 64 * 1024 }; /* of room between turns */

static void note(struct shard *s, enum watch_kind kind, struct value record, struct value old) {
    s->noted = true;
    if (!watch_note_put(&s->notes, kind, record, old, "", false))
        s->notes_lost++;
}

static bool old_is_wanted(const struct shard *s) {
    const struct watch_list *list = watch_list_of(&s->table->watchers);
    return list != NULL && list->old;
}

/* In a bag: the same record with the same deadline is there as it was. */
static bool is_same(const struct record *rec, struct value array, uint64_t expiry_ms) {
    return record_expiry_ms(rec) == expiry_ms && record_array_bytes(rec) == array.size_bytes &&
           memcmp(record_array(rec), array.at, array.size_bytes) == 0;
}

void shard_watch_stored(struct shard_turn *t, struct value array, uint64_t expiry_ms,
                        const struct record *replaced) {
    struct shard *s = t->shard;
    struct value old = {NULL, 0};

    if (t->taking_back)
        return;
    if (replaced != NULL && shard_expired(replaced, t->now_ms)) {
        note(s, WATCH_EXPIRE, record_value(replaced), old);
        replaced = NULL;
    }
    if (replaced != NULL && s->store->bag) {
        if (is_same(replaced, array, expiry_ms))
            return;
        replaced = NULL; /* it is no other record that went */
    }
    if (replaced != NULL && old_is_wanted(s))
        old = record_value(replaced);
    note(s, WATCH_WRITE, array, old);
}

void shard_watch_removed(struct shard_turn *t, const struct record *rec) {
    const struct value none = {NULL, 0};

    if (t->taking_back)
        return;
    note(t->shard, t->leaving || shard_expired(rec, t->now_ms) ? WATCH_EXPIRE : WATCH_DELETE,
         record_value(rec), none);
}

void shard_watch_cleared(struct shard *s, bool empty) {
    uint64_t number = atomic_load_explicit(&s->table->clears, memory_order_relaxed);

    s->noted = true;
    if (!watch_note_clear(&s->notes, WATCH_CLEAR_PART, number, empty)) {
        s->notes_lost++;
        s->notes_lost_clear = number;
    }
}

void shard_watch_take_back(struct shard *s, size_t from, size_t to) {
    while (from < to) {
        struct watch_note *n = (struct watch_note *) (void *) (s->notes.at + from);

        n->taken_back = true;
        from += n->size_bytes;
    }
}

void shard_watch_publish(struct shard *s) {
    const struct watch_list *list = watch_list_of(&s->table->watchers);
    struct watch_hub *hub = s->table->world->watch;

    if (list != NULL && s->notes.size_bytes > 0)
        watch_publish(hub, list, s->number, s->notes.at, s->notes.size_bytes);
    if (list != NULL && s->notes_lost > 0)
        watch_publish_loss(list, s->number, s->notes_lost, s->notes_lost_clear);
    s->notes_lost = s->notes_lost_clear = 0;
    s->noted = false;
    if (s->notes.room_bytes > NOTES_KEPT_BYTES) {
        struct alloc *a = s->notes.alloc;

        buffer_fini(&s->notes);
        buffer_init(&s->notes, a, SIZE_MAX);
    }
    buffer_clear(&s->notes);
}
