/* buffer.h -- bytes that grow.
 *
 * An answer is written into a buffer whose size is not known beforehand.  Room is
 * asked for before it is written, so that one failed allocation is one refused
 * answer and never half of one.
 *
 * Ownership  The buffer owns its bytes; buffer_fini() gives them back.
 * Bound      buffer_room() refuses growth past bound_bytes.
 */
#ifndef ENGINE_BUFFER_H
#define ENGINE_BUFFER_H

#include "engine/alloc.h"

struct buffer {
    struct alloc *alloc;
    uint8_t *at;
    size_t size_bytes;
    size_t room_bytes;  /* allocated */
    size_t bound_bytes; /* never more than this */
};

static inline void buffer_init(struct buffer *b, struct alloc *a, size_t bound_bytes) {
    *b = (struct buffer){.alloc = a, .bound_bytes = bound_bytes};
}
void buffer_fini(struct buffer *b);

/* Make sure that n more bytes fit behind size_bytes; returns where they go, and
 * the caller adds to size_bytes what it wrote.
 * NULL: past the bound or no memory, and the buffer is as it was. */
uint8_t *buffer_room(struct buffer *b, size_t n);

/* Room and copy in one.  false: as buffer_room()'s NULL. */
EG_MUST_USE bool buffer_append(struct buffer *b, const void *at, size_t n);

static inline void buffer_clear(struct buffer *b) {
    b->size_bytes = 0;
}

#endif /* ENGINE_BUFFER_H */
