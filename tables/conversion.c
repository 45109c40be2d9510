/* conversion.c -- new records from old ones. */
#include "tables/conversion.h"

#include "tables/record.h"

enum { HEADER_BYTES = 5 };

void conversion_init(struct conversion *c, struct alloc *a) {
    *c = (struct conversion){.alloc = a};
    buffer_init(&c->fallback, a, RECORD_SIZE_MAX);
}

void conversion_fini(struct conversion *c) {
    buffer_fini(&c->fallback);
}

void conversion_room_init(struct conversion_room *room, struct alloc *a) {
    buffer_init(&room->record, a, (size_t) RECORD_SIZE_MAX * 2 + HEADER_BYTES);
}

void conversion_room_fini(struct conversion_room *room) {
    buffer_fini(&room->record);
}

/* The old record's fields are walked once, for the sources ascend. */
static void put_fields(const struct conversion *c, struct value old, struct value_writer *w) {
    struct value_iter it = value_iter_of(old);
    struct value field = {0};
    int32_t at = -1;

    value_put_array(w, c->count);
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->source[i] == CONVERSION_DEFAULT) {
            value_put_raw(w, (struct value){c->fallback.at, (uint32_t) c->fallback.size_bytes});
            continue;
        }
        for (; at < c->source[i]; at++)
            EG_ASSERT(value_iter_next(&it, &field)); /* it has them all: checked when written */
        value_put_raw(w, field);
    }
}

eg_err conversion_run(const struct conversion *c, struct conversion_room *room, struct value old,
                      struct value *fresh, struct err_note *note) {
    size_t most_bytes = HEADER_BYTES + old.size_bytes + c->fallback.size_bytes;
    struct value_writer w;
    uint8_t *at;

    if (c->same) {
        *fresh = old;
        return EG_OK;
    }
    buffer_clear(&room->record);
    at = buffer_room(&room->record, most_bytes);
    if (at == NULL)
        return EG_MEMORY;
    w = value_writer_init(at, most_bytes);
    put_fields(c, old, &w);
    EG_ASSERT(!w.overflow);
    if (w.need_bytes > RECORD_SIZE_MAX)
        return err_note(note, EG_TOO_LARGE, "a record would be larger than 16 MiB");
    *fresh = (struct value){at, (uint32_t) w.need_bytes};
    return EG_OK;
}
