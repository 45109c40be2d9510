/* value_append.c -- a message put together at the end of a buffer, measured first. */
#include "tables/value_append.h"

#include "engine/base.h"

eg_err value_append(struct buffer *out, void (*write)(struct value_writer *w, const void *what),
                    const void *what) {
    struct value_writer w = value_writer_init(NULL, 0);
    size_t need_bytes;
    uint8_t *room;

    write(&w, what);
    need_bytes = w.need_bytes;
    room = buffer_room(out, need_bytes);
    if (room == NULL)
        return out->size_bytes + need_bytes > out->bound_bytes ? EG_TOO_LARGE : EG_MEMORY;
    w = value_writer_init(room, need_bytes);
    write(&w, what);
    EG_ASSERT(!w.overflow);
    out->size_bytes += need_bytes;
    return EG_OK;
}
