/* pack.c -- a value_writer over a buffer that makes room first. */
#include "tools/pack.h"

#include <string.h>

enum {
    PACK_BYTES_MAX = 1024 << 20, /* of one request or batch     */
    HEAD_BYTES = 9,              /* longest header of any value */
};

void pack_init(struct pack *p, struct alloc *a) {
    buffer_init(&p->bytes, a, PACK_BYTES_MAX);
    p->failed = false;
}

void pack_fini(struct pack *p) {
    buffer_fini(&p->bytes);
}

void pack_clear(struct pack *p) {
    buffer_clear(&p->bytes);
    p->failed = false;
}

struct value pack_value(const struct pack *p) {
    EG_ASSERT(!p->failed);
    return (struct value){p->bytes.at, (uint32_t) p->bytes.size_bytes};
}

/* A writer over room for a header and `payload_bytes`; without room one that takes
 * nothing, for which the puts below need no check of their own. */
static struct value_writer pack_begin(struct pack *p, size_t payload_bytes) {
    uint8_t *room = p->failed ? NULL : buffer_room(&p->bytes, HEAD_BYTES + payload_bytes);

    p->failed = room == NULL;
    return value_writer_init(room, room == NULL ? 0 : HEAD_BYTES + payload_bytes);
}

static void pack_end(struct pack *p, const struct value_writer *w) {
    if (!p->failed)
        p->bytes.size_bytes = (size_t) (w->at - p->bytes.at);
}

void pack_nil(struct pack *p) {
    struct value_writer w = pack_begin(p, 0);
    value_put_nil(&w);
    pack_end(p, &w);
}

void pack_bool(struct pack *p, bool b) {
    struct value_writer w = pack_begin(p, 0);
    value_put_bool(&w, b);
    pack_end(p, &w);
}

void pack_i64(struct pack *p, int64_t n) {
    struct value_writer w = pack_begin(p, 0);
    value_put_i64(&w, n);
    pack_end(p, &w);
}

void pack_u64(struct pack *p, uint64_t n) {
    struct value_writer w = pack_begin(p, 0);
    value_put_u64(&w, n);
    pack_end(p, &w);
}

void pack_double(struct pack *p, double d) {
    struct value_writer w = pack_begin(p, 0);
    value_put_double(&w, d);
    pack_end(p, &w);
}

void pack_text(struct pack *p, const char *text) {
    pack_string(p, text, strlen(text));
}

void pack_string(struct pack *p, const char *at, size_t size_bytes) {
    struct value_writer w = pack_begin(p, size_bytes);
    value_put_string(&w, at, size_bytes);
    pack_end(p, &w);
}

void pack_array(struct pack *p, uint32_t count) {
    struct value_writer w = pack_begin(p, 0);
    value_put_array(&w, count);
    pack_end(p, &w);
}

void pack_map(struct pack *p, uint32_t pairs) {
    struct value_writer w = pack_begin(p, 0);
    value_put_map(&w, pairs);
    pack_end(p, &w);
}

void pack_raw(struct pack *p, struct value v) {
    struct value_writer w = pack_begin(p, v.size_bytes);
    value_put_raw(&w, v);
    pack_end(p, &w);
}

void pack_binary(struct pack *p, const void *at, size_t size_bytes) {
    struct value_writer w = pack_begin(p, size_bytes);
    value_put_binary(&w, at, size_bytes);
    pack_end(p, &w);
}
