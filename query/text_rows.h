/* text_rows.h -- rows kept in memory until they can be told in order, within a bound.
 *
 *     row: [key, ..., column, ...]   a copy in a chunk
 *            |
 *     heap: [ prefix, row ] ...      a binary heap; prefix: the first key's first bytes
 *
 * With a limit only the best rows are kept: the heap then has the worst on top, which a
 * better one pushes out, and is turned round by text_rows_turn() when all have come.
 * Without keys rows come out as they went in.  Every call does a bounded piece of work, so that any
 * number of rows is sorted in steps.
 *
 * Memory     All of it counts towards TEXT_MEMORY_MAX: past that EG_TOO_LARGE.
 */
#ifndef QUERY_TEXT_ROWS_H
#define QUERY_TEXT_ROWS_H

#include "engine/buffer.h"
#include "tables/value.h"

enum { TEXT_MEMORY_MAX = 64 << 20, TEXT_CHUNK_BYTES = 64 * 1024 };

/* What one query may hold. */
struct text_memory {
    struct alloc *alloc;
    size_t used_bytes;
};
void *text_memory_get(struct text_memory *m, size_t size_bytes); /* NULL: refused */
void text_memory_put(struct text_memory *m, void *at, size_t size_bytes);

struct text_chunk;

/* Copies of bytes that all go together. */
struct text_store {
    struct text_memory *memory;
    struct text_chunk *newest;
};
const uint8_t *text_store_copy(struct text_store *s, const void *at, size_t size_bytes);
void text_store_clear(struct text_store *s);

struct text_heap_entry {
    uint64_t prefix;
    const uint8_t *row;
};

struct text_rows {
    struct text_memory *memory;
    struct text_store store;
    const bool *descending;
    uint32_t order_count;
    uint64_t most;     /* rows worth keeping                */
    uint64_t sequence; /* stands for the key where there is none */
    bool turned;       /* the first row is on top */
    struct text_heap_entry *heap;
    uint64_t count, room;
    struct text_heap_entry *drained; /* while it is being turned: the last rows so far */
    uint64_t drained_count;
    size_t live_bytes, stored_bytes; /* what rows in the heap take, and rows pushed out too */
};

void text_rows_init(struct text_rows *r, struct text_memory *m, uint32_t order_count,
                    const bool *descending, uint64_t most);
void text_rows_fini(struct text_rows *r);

/* Take a row in.  EG_TOO_LARGE: past the memory there is; EG_MEMORY. */
EG_MUST_USE eg_err text_rows_push(struct text_rows *r, struct value row);

/* When all are in.  EG_AGAIN: a piece was done, call again. */
EG_MUST_USE eg_err text_rows_turn(struct text_rows *r);
/* The next row in order, valid until text_rows_fini(); false: that was all. */
bool text_rows_pop(struct text_rows *r, struct value *row);

#endif /* QUERY_TEXT_ROWS_H */
