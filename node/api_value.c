/* api_value.c -- MessagePack for programs that bring no library of their own. */
#include "engram.h"
#include "tables/record.h"
#include "tables/value.h"

#include <string.h>

eg_writer eg_writer_init(void *memory, size_t size_bytes) {
    uint8_t *at = memory;
    return (eg_writer){.start = at, .at = at, .end = at + size_bytes};
}

/* The public writer is the inner one with its start kept. */
static struct value_writer open_writer(const eg_writer *w) {
    struct value_writer v = value_writer_init(w->at, (size_t) (w->end - w->at));
    v.overflow = w->need_bytes > (size_t) (w->end - w->start);
    return v;
}

static void close_writer(eg_writer *w, const struct value_writer *v) {
    w->at = v->at;
    w->need_bytes += v->need_bytes;
}

void eg_put_nil(eg_writer *w) {
    struct value_writer v = open_writer(w);
    value_put_nil(&v);
    close_writer(w, &v);
}

void eg_put_bool(eg_writer *w, bool b) {
    struct value_writer v = open_writer(w);
    value_put_bool(&v, b);
    close_writer(w, &v);
}

void eg_put_int(eg_writer *w, int64_t n) {
    struct value_writer v = open_writer(w);
    value_put_i64(&v, n);
    close_writer(w, &v);
}

void eg_put_uint(eg_writer *w, uint64_t n) {
    struct value_writer v = open_writer(w);
    value_put_u64(&v, n);
    close_writer(w, &v);
}

void eg_put_double(eg_writer *w, double d) {
    struct value_writer v = open_writer(w);
    value_put_double(&v, d);
    close_writer(w, &v);
}

/* What cannot be written makes the span empty, as what does not fit. */
static void refuse(eg_writer *w) {
    w->need_bytes = SIZE_MAX / 2;
}

void eg_put_string(eg_writer *w, const char *text) {
    struct value_writer v = open_writer(w);
    if (text == NULL || strlen(text) > UINT32_MAX) {
        refuse(w);
        return;
    }
    value_put_text(&v, text);
    close_writer(w, &v);
}

void eg_put_bytes(eg_writer *w, const void *at, size_t size_bytes) {
    struct value_writer v = open_writer(w);
    if ((at == NULL && size_bytes != 0) || size_bytes > UINT32_MAX) {
        refuse(w);
        return;
    }
    value_put_binary(&v, at, size_bytes);
    close_writer(w, &v);
}

void eg_put_array(eg_writer *w, uint32_t count) {
    struct value_writer v = open_writer(w);
    value_put_array(&v, count);
    close_writer(w, &v);
}

void eg_put_map(eg_writer *w, uint32_t pairs) {
    struct value_writer v = open_writer(w);
    value_put_map(&v, pairs);
    close_writer(w, &v);
}

void eg_put_value(eg_writer *w, eg_span value) {
    struct value_writer v = open_writer(w);
    size_t used_bytes;

    if (value.at == NULL || value.size_bytes > UINT32_MAX ||
        value_scan(value.at, value.size_bytes, &used_bytes) != EG_OK ||
        used_bytes != value.size_bytes) {
        refuse(w);
        return;
    }
    value_put_raw(&v, (struct value){value.at, (uint32_t) value.size_bytes});
    close_writer(w, &v);
}

eg_span eg_written(const eg_writer *w) {
    if (w->need_bytes > (size_t) (w->end - w->start))
        return (eg_span){NULL, 0};
    return (eg_span){w->start, w->need_bytes};
}

/* ---- looking ---------------------------------------------------------------------- */

/* The program may show any bytes: only a whole value is looked at. */
static bool whole(eg_span s, struct value *v) {
    size_t used_bytes;

    if (s.at == NULL || s.size_bytes > UINT32_MAX ||
        value_scan(s.at, s.size_bytes, &used_bytes) != EG_OK || used_bytes != s.size_bytes)
        return false;
    *v = (struct value){s.at, (uint32_t) s.size_bytes};
    return true;
}

bool eg_element(eg_span array, uint32_t position, eg_span *out) {
    struct value v, element;

    if (!whole(array, &v) || !array_element(v, position, &element))
        return false;
    *out = (eg_span){element.at, element.size_bytes};
    return true;
}

uint32_t eg_count(eg_span array_or_map) {
    struct value v;
    return whole(array_or_map, &v) ? value_count(v) : 0;
}

bool eg_as_int(eg_span s, int64_t *out) {
    struct value v;
    return whole(s, &v) && value_get_i64(v, out);
}

bool eg_as_double(eg_span s, double *out) {
    struct value v;
    return whole(s, &v) && value_get_double(v, out);
}

bool eg_as_bool(eg_span s, bool *out) {
    struct value v;
    return whole(s, &v) && value_get_bool(v, out);
}

bool eg_as_text(eg_span s, const char **at, size_t *size_bytes) {
    struct value v;
    const uint8_t *bytes;
    uint32_t size;

    if (!whole(s, &v) || value_kind_of(v) > VALUE_BINARY || !value_get_bytes(v, &bytes, &size))
        return false;
    *at = (const char *) bytes;
    *size_bytes = size;
    return true;
}

bool eg_is_nil(eg_span s) {
    struct value v;
    return whole(s, &v) && value_kind_of(v) == VALUE_NIL;
}
