/* watch_event.c -- an event as clients read it. */
#include "engine/buffer.h"
#include "tables/record.h"
#include "tables/watch.h"

enum { EVENT_BYTES = 512 }; /* more than all but record, old and details can take */

const char *watch_kind_name(enum watch_kind kind) {
    static const char *const names[WATCH_PUBLIC_KINDS] = {
        [WATCH_WRITE] = "write", [WATCH_DELETE] = "delete",     [WATCH_EXPIRE] = "expire",
        [WATCH_CLEAR] = "clear", [WATCH_SCHEMA] = "schema",     [WATCH_GAP] = "gap",
        [WATCH_DISC] = "disc",   [WATCH_MEMORY] = "memory",     [WATCH_OVERLOAD] = "overload",
        [WATCH_NODE] = "node",   [WATCH_VIEW] = "view",         [WATCH_COPIES] = "copies",
        [WATCH_CLOCK] = "clock", [WATCH_CONFLICT] = "conflict",
    };

    EG_ASSERT(kind < WATCH_PUBLIC_KINDS);
    return names[kind];
}

struct value watch_event_subject(const struct watch_event *e) {
    struct value key;

    if (e->record.size_bytes == 0 || e->kind == WATCH_WRITE || e->bag ||
        !array_element(e->record, 0, &key))
        return e->record;
    return key;
}

static void put_value_or_nil(struct value_writer *w, struct value v) {
    if (v.size_bytes > 0)
        value_put_raw(w, v);
    else
        value_put_nil(w);
}

static void put_details(struct value_writer *w, const struct watch_event *e, bool old) {
    if (e->details.size_bytes > 0) {
        value_put_raw(w, e->details);
    } else if (old && e->kind <= WATCH_EXPIRE) {
        value_put_map(w, 1);
        value_put_text(w, "old");
        put_value_or_nil(w, watch_event_old(e));
    } else {
        value_put_map(w, 0);
    }
}

eg_err watch_event_put(const struct watch_event *e, uint64_t number, bool old, struct buffer *out) {
    size_t need_bytes =
        EVENT_BYTES + 2 * (size_t) e->record.size_bytes + e->old.size_bytes + e->details.size_bytes;
    uint8_t *room = buffer_room(out, need_bytes);
    struct value_writer w;

    if (room == NULL)
        return EG_TOO_LARGE;
    w = value_writer_init(room, need_bytes);
    value_put_array(&w, 5);
    value_put_u64(&w, number);
    value_put_text(&w, watch_kind_name(e->kind));
    if (e->table[0] != '\0')
        value_put_text(&w, e->table);
    else
        value_put_nil(&w);
    put_value_or_nil(&w, watch_event_subject(e));
    put_details(&w, e, old);
    EG_ASSERT(!w.overflow);
    out->size_bytes += w.need_bytes;
    return EG_OK;
}
