/* value_write.c -- MessagePack written into a caller's buffer, shortest form. */
#include "tables/value_private.h"

#include <string.h>

/* Room for `size_bytes`, or NULL.  Once something did not fit nothing more is
 * written: what is in the buffer is a prefix of the whole. */
static inline uint8_t *claim(struct value_writer *w, size_t size_bytes) {
    uint8_t *room = w->at;

    w->need_bytes += size_bytes;
    if (EG_UNLIKELY(w->overflow || (size_t) (w->end - room) < size_bytes)) {
        w->overflow = true;
        return NULL;
    }
    w->at += size_bytes;
    return room;
}

/* One byte and `width` bytes (0, 1, 2, 4 or 8) of a big-endian number, as one claim. */
static inline void put_head(struct value_writer *w, uint8_t lead, uint64_t n, size_t width) {
    uint8_t *room = claim(w, 1 + width);

    if (room == NULL)
        return;
    *room = lead;
    if (width == 1)
        room[1] = (uint8_t) n;
    else if (width == 2)
        store_be16(room + 1, (uint32_t) n);
    else if (width == 4)
        store_be32(room + 1, (uint32_t) n);
    else if (width == 8)
        store_be64(room + 1, n);
}

static inline void put_bytes(struct value_writer *w, const void *at, size_t size_bytes) {
    uint8_t *room = size_bytes > 0 ? claim(w, size_bytes) : NULL;

    if (room != NULL)
        memcpy(room, at, size_bytes);
}

void value_put_nil(struct value_writer *w) {
    put_head(w, 0xc0, 0, 0);
}

void value_put_bool(struct value_writer *w, bool b) {
    put_head(w, b ? 0xc3 : 0xc2, 0, 0);
}

void value_put_u64(struct value_writer *w, uint64_t n) {
    if (n < 0x80)
        put_head(w, (uint8_t) n, 0, 0);
    else if (n <= UINT8_MAX)
        put_head(w, 0xcc, n, 1);
    else if (n <= UINT16_MAX)
        put_head(w, 0xcd, n, 2);
    else if (n <= UINT32_MAX)
        put_head(w, 0xce, n, 4);
    else
        put_head(w, 0xcf, n, 8);
}

void value_put_i64(struct value_writer *w, int64_t n) {
    if (n >= 0)
        value_put_u64(w, (uint64_t) n);
    else if (n >= -32)
        put_head(w, (uint8_t) n, 0, 0);
    else if (n >= INT8_MIN)
        put_head(w, 0xd0, (uint64_t) n, 1);
    else if (n >= INT16_MIN)
        put_head(w, 0xd1, (uint64_t) n, 2);
    else if (n >= INT32_MIN)
        put_head(w, 0xd2, (uint64_t) n, 4);
    else
        put_head(w, 0xd3, (uint64_t) n, 8);
}

void value_put_double(struct value_writer *w, double d) {
    uint64_t bits;

    memcpy(&bits, &d, sizeof bits);
    put_head(w, 0xcb, bits, 8);
}

void value_put_string_head(struct value_writer *w, size_t size_bytes) {
    EG_ASSERT(size_bytes <= UINT32_MAX);
    if (size_bytes < 32)
        put_head(w, (uint8_t) (0xa0 | size_bytes), 0, 0);
    else if (size_bytes <= UINT8_MAX)
        put_head(w, 0xd9, size_bytes, 1);
    else if (size_bytes <= UINT16_MAX)
        put_head(w, 0xda, size_bytes, 2);
    else
        put_head(w, 0xdb, size_bytes, 4);
}

void value_put_string(struct value_writer *w, const char *at, size_t size_bytes) {
    value_put_string_head(w, size_bytes);
    put_bytes(w, at, size_bytes);
}

void value_put_text(struct value_writer *w, const char *text) {
    value_put_string(w, text, strlen(text));
}

void value_put_binary_head(struct value_writer *w, size_t size_bytes) {
    EG_ASSERT(size_bytes <= UINT32_MAX);
    if (size_bytes <= UINT8_MAX)
        put_head(w, 0xc4, size_bytes, 1);
    else if (size_bytes <= UINT16_MAX)
        put_head(w, 0xc5, size_bytes, 2);
    else
        put_head(w, 0xc6, size_bytes, 4);
}

void value_put_binary(struct value_writer *w, const void *at, size_t size_bytes) {
    value_put_binary_head(w, size_bytes);
    put_bytes(w, at, size_bytes);
}

void value_put_ext_head(struct value_writer *w, int8_t type, size_t size_bytes) {
    EG_ASSERT(size_bytes <= UINT32_MAX);
    if (size_bytes - 1 < 16 && (size_bytes & (size_bytes - 1)) == 0)
        put_head(w, (uint8_t) (0xd4 + __builtin_ctzll(size_bytes)), 0, 0);
    else if (size_bytes <= UINT8_MAX)
        put_head(w, 0xc7, size_bytes, 1);
    else if (size_bytes <= UINT16_MAX)
        put_head(w, 0xc8, size_bytes, 2);
    else
        put_head(w, 0xc9, size_bytes, 4);
    put_bytes(w, &type, 1);
}

void value_put_ext(struct value_writer *w, int8_t type, const void *at, size_t size_bytes) {
    value_put_ext_head(w, type, size_bytes);
    put_bytes(w, at, size_bytes);
}

void value_put_array(struct value_writer *w, uint32_t count) {
    if (count < 16)
        put_head(w, (uint8_t) (0x90 | count), 0, 0);
    else if (count <= UINT16_MAX)
        put_head(w, 0xdc, count, 2);
    else
        put_head(w, 0xdd, count, 4);
}

void value_put_map(struct value_writer *w, uint32_t pairs) {
    if (pairs < 16)
        put_head(w, (uint8_t) (0x80 | pairs), 0, 0);
    else if (pairs <= UINT16_MAX)
        put_head(w, 0xde, pairs, 2);
    else
        put_head(w, 0xdf, pairs, 4);
}

void value_put_raw(struct value_writer *w, struct value v) {
    put_bytes(w, v.at, v.size_bytes);
}
