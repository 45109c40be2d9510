/* arena.c -- chunks in a list, the newest in use. */
#include "engine/arena.h"

#include <string.h>

enum { ARENA_CHUNK_BYTES = 1024, ARENA_ALIGN = 16 };

struct chunk {
    struct chunk *older;
    size_t size_bytes; /* of the whole chunk   */
    size_t used_bytes; /* from its start       */
};

enum { CHUNK_HEAD = (sizeof(struct chunk) + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN };

struct arena {
    struct alloc *alloc;
    struct chunk *newest;
    size_t total_bytes;
};

eg_err arena_open(struct arena **out, struct alloc *a) {
    struct arena *ar = alloc_zero(a, sizeof *ar);
    if (ar == NULL)
        return EG_MEMORY;
    ar->alloc = a;
    *out = ar;
    return EG_OK;
}

void arena_reset(struct arena *ar) {
    while (ar->newest != NULL) {
        struct chunk *c = ar->newest;
        ar->newest = c->older;
        alloc_put(ar->alloc, c, c->size_bytes);
    }
    ar->total_bytes = 0;
}

void arena_close(struct arena *ar) {
    arena_reset(ar);
    alloc_put(ar->alloc, ar, sizeof *ar);
}

void *arena_get(struct arena *ar, size_t size_bytes) {
    struct chunk *c = ar->newest;
    void *ptr;

    if (size_bytes > SIZE_MAX / 2)
        return NULL;
    size_bytes = (size_bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if (c == NULL || c->size_bytes - c->used_bytes < size_bytes) {
        size_t bytes = EG_MAX((size_t) ARENA_CHUNK_BYTES, CHUNK_HEAD + size_bytes);
        c = alloc_get(ar->alloc, bytes);
        if (c == NULL)
            return NULL;
        *c = (struct chunk){.older = ar->newest, .size_bytes = bytes, .used_bytes = CHUNK_HEAD};
        ar->newest = c;
        ar->total_bytes += bytes;
    }
    ptr = (char *) c + c->used_bytes;
    c->used_bytes += size_bytes;
    return ptr;
}

char *arena_copy_text(struct arena *ar, const char *text) {
    size_t bytes = strlen(text) + 1;
    char *copy = arena_get(ar, bytes);
    return copy == NULL ? NULL : memcpy(copy, text, bytes);
}

size_t arena_bytes(const struct arena *ar) {
    return ar->total_bytes;
}
