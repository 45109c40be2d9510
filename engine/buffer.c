/* buffer.c -- bytes that grow by doubling, up to a bound. */
#include "engine/buffer.h"

#include <string.h>

enum { BUFFER_FIRST_BYTES = 256 };

void buffer_fini(struct buffer *b) {
    alloc_put(b->alloc, b->at, b->room_bytes);
    b->at = NULL;
    b->size_bytes = b->room_bytes = 0;
}

uint8_t *buffer_room(struct buffer *b, size_t n) {
    size_t room_bytes = EG_MAX(b->room_bytes, (size_t) BUFFER_FIRST_BYTES);
    uint8_t *grown;

    if (EG_LIKELY(b->room_bytes - b->size_bytes >= n))
        return b->at + b->size_bytes;
    if (n > b->bound_bytes || b->size_bytes > b->bound_bytes - n)
        return NULL;
    while (room_bytes - b->size_bytes < n)
        room_bytes *= 2;
    grown = alloc_resize(b->alloc, b->at, b->room_bytes, room_bytes);
    if (grown == NULL)
        return NULL;
    b->at = grown;
    b->room_bytes = room_bytes;
    return b->at + b->size_bytes;
}

bool buffer_append(struct buffer *b, const void *at, size_t n) {
    uint8_t *room;

    if (n == 0)
        return true; /* also where there is no room yet to point to */
    room = buffer_room(b, n);
    if (room == NULL)
        return false;
    memcpy(room, at, n);
    b->size_bytes += n;
    return true;
}
