/* json.c -- JSON in by events, out by hand.
 *
 * YAJL reads: it is the one library of Debian's that hands over a number as it was
 * written (jansson refuses what int64 cannot hold, cJSON makes all numbers floats,
 * json-c clamps), and it builds no tree, so text goes straight to MessagePack.
 *
 * A container's header is written when it opens, as one byte, and widened when it
 * closes and its count is known; few hold more than the 15 that one byte can say. */
#include "tools/json.h"

#include "engine/utf8.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

/* The exact decimal expansion of a double takes 1077 digits at most. */
enum { NUMBER_BYTES_MAX = 1100 };

/* ---- JSON to MessagePack ------------------------------------------------ */

struct json_level {
    size_t at;      /* of the header in out->at                      */
    uint32_t count; /* elements; of a map, keys                      */
    bool map;
};

struct json_parser {
    struct buffer *out;
    struct err_note *note;
    eg_err err;     /* why a callback stopped the parser                 */
    uint32_t depth; /* levels open                                       */
    bool done;      /* the one value is whole                            */
    struct json_level level[VALUE_DEPTH_MAX];
};

/* What yajl's callbacks return. */
enum { STOP, GO_ON };

static int stop(struct json_parser *p, eg_err err) {
    p->err = err;
    return STOP;
}

/* A writer with room for `size_bytes` at the end of the output. */
static bool open_writer(struct json_parser *p, struct value_writer *w, size_t size_bytes) {
    uint8_t *room = buffer_room(p->out, size_bytes);

    if (room == NULL) {
        bool too_large = p->out->size_bytes + size_bytes > p->out->bound_bytes;
        p->err = too_large ? EG_TOO_LARGE : EG_MEMORY;
        p->err = err_note(p->note, p->err, "no room for a value of so many bytes");
        return false;
    }
    *w = value_writer_init(room, size_bytes);
    return true;
}

/* A value of `w` is written: count it in what holds it. */
static int close_writer(struct json_parser *p, const struct value_writer *w) {
    EG_ASSERT(!w->overflow);
    p->out->size_bytes += w->need_bytes;
    if (p->depth == 0)
        p->done = true;
    else if (!p->level[p->depth - 1].map)
        p->level[p->depth - 1].count++;
    return GO_ON;
}

static int on_null(void *ctx) {
    struct json_parser *p = ctx;
    struct value_writer w;

    if (!open_writer(p, &w, 1))
        return STOP;
    value_put_nil(&w);
    return close_writer(p, &w);
}

static int on_boolean(void *ctx, int truth) {
    struct json_parser *p = ctx;
    struct value_writer w;

    if (!open_writer(p, &w, 1))
        return STOP;
    value_put_bool(&w, truth);
    return close_writer(p, &w);
}

/* An integer where it is written as one and fits, else a float. */
static bool put_number(struct value_writer *w, const char *text) {
    double d;

    errno = 0;
    if (strpbrk(text, ".eE") == NULL) {
        if (text[0] == '-')
            value_put_i64(w, strtoll(text, NULL, 10));
        else
            value_put_u64(w, strtoull(text, NULL, 10));
        if (errno == 0)
            return true;
        *w = value_writer_init(w->end - 9, 9); /* begin again */
    }
    d = strtod(text, NULL);
    value_put_double(w, d);
    return isfinite(d);
}

static int on_number(void *ctx, const char *at, size_t size_bytes) {
    struct json_parser *p = ctx;
    struct value_writer w;
    char text[NUMBER_BYTES_MAX + 1];

    if (size_bytes > NUMBER_BYTES_MAX)
        return stop(p, err_note(p->note, EG_TOO_LARGE, "a number of %zu digits", size_bytes));
    memcpy(text, at, size_bytes);
    text[size_bytes] = '\0';
    if (!open_writer(p, &w, 9))
        return STOP;
    if (!put_number(&w, text))
        return stop(p, err_note(p->note, EG_BAD_REQUEST, "%.40s is more than a float holds", text));
    return close_writer(p, &w);
}

static int on_string(void *ctx, const unsigned char *at, size_t size_bytes) {
    struct json_parser *p = ctx;
    struct value_writer w;

    for (size_t i = 0, bytes; i < size_bytes; i += bytes) /* an escape can say half a pair */
        if ((bytes = utf8_char_bytes(at + i, size_bytes - i)) == 0)
            return stop(p, err_note(p->note, EG_BAD_REQUEST, "a string is not Unicode"));
    if (!open_writer(p, &w, 5 + size_bytes))
        return STOP;
    value_put_string(&w, (const char *) at, size_bytes);
    return close_writer(p, &w);
}

static int on_key(void *ctx, const unsigned char *at, size_t size_bytes) {
    struct json_parser *p = ctx;

    p->level[p->depth - 1].count++;
    return on_string(ctx, at, size_bytes);
}

static int on_open(struct json_parser *p, bool map) {
    struct value_writer w;

    if (p->depth == VALUE_DEPTH_MAX)
        return stop(
            p, err_note(p->note, EG_TOO_LARGE, "nested deeper than %d levels", VALUE_DEPTH_MAX));
    if (!open_writer(p, &w, 1))
        return STOP;
    p->level[p->depth++] = (struct json_level){.at = p->out->size_bytes, .map = map};
    p->out->size_bytes++;
    return GO_ON;
}

static int on_open_map(void *ctx) {
    return on_open(ctx, true);
}

static int on_open_array(void *ctx) {
    return on_open(ctx, false);
}

/* Put the header's final form where one byte was left for it. */
static int on_close(void *ctx) {
    struct json_parser *p = ctx;
    struct json_level *level = &p->level[p->depth - 1];
    uint8_t header[5];
    struct value_writer w = value_writer_init(header, sizeof header);
    struct value_writer room;
    size_t inside_bytes = p->out->size_bytes - level->at - 1;
    uint8_t *at;

    if (level->map)
        value_put_map(&w, level->count);
    else
        value_put_array(&w, level->count);
    if (!open_writer(p, &room, w.need_bytes - 1))
        return STOP;
    at = p->out->at + level->at;
    memmove(at + w.need_bytes, at + 1, inside_bytes);
    memcpy(at, header, w.need_bytes);
    room.need_bytes = w.need_bytes - 1;
    p->depth--;
    return close_writer(p, &room);
}

/* Feed the text; afterwards *used_bytes is where the value, or the error, ends. */
static eg_err run_parser(struct json_parser *p, yajl_handle yajl, const char *text,
                         size_t size_bytes, size_t *used_bytes) {
    const unsigned char *at = (const unsigned char *) text;
    yajl_status status = yajl_parse(yajl, at, size_bytes);
    unsigned char *why;

    *used_bytes = yajl_get_bytes_consumed(yajl);
    if (status == yajl_status_ok && !p->done) { /* a number may end with the text */
        *used_bytes = size_bytes;
        status = yajl_complete_parse(yajl);
    }
    if (p->err != EG_OK)
        return p->err;
    if (status == yajl_status_ok && p->done)
        return EG_OK;
    why = status == yajl_status_error ? yajl_get_error(yajl, 0, NULL, 0) : NULL;
    err_note(p->note, EG_BAD_REQUEST, "%.*s", why == NULL ? 20 : (int) strcspn((char *) why, "\n"),
             why == NULL ? "the value is not whole" : (char *) why);
    if (why != NULL)
        yajl_free_error(yajl, why);
    return EG_BAD_REQUEST;
}

eg_err json_parse(const char *text, size_t size_bytes, struct buffer *out, size_t *used_bytes,
                  struct err_note *note) {
    static const yajl_callbacks callbacks = {
        .yajl_null = on_null,
        .yajl_boolean = on_boolean,
        .yajl_number = on_number,
        .yajl_string = on_string,
        .yajl_start_map = on_open_map,
        .yajl_map_key = on_key,
        .yajl_end_map = on_close,
        .yajl_start_array = on_open_array,
        .yajl_end_array = on_close,
    };
    struct json_parser p = {.out = out, .note = note};
    size_t before_bytes = out->size_bytes;
    size_t end_bytes;
    yajl_handle yajl = yajl_alloc(&callbacks, NULL, &p);
    eg_err err;

    if (yajl == NULL)
        return EG_MEMORY;
    yajl_config(yajl, yajl_allow_trailing_garbage, 1); /* the next value, perhaps */
    err = run_parser(&p, yajl, text, size_bytes, &end_bytes);
    yajl_free(yajl);
    if (err != EG_OK) {
        out->size_bytes = before_bytes;
        err_note_prefix(note, "at byte %zu", end_bytes);
        return err;
    }
    while (end_bytes < size_bytes && strchr(" \t\r\n", text[end_bytes]) != NULL &&
           text[end_bytes] != '\0')
        end_bytes++;
    *used_bytes = end_bytes;
    return EG_OK;
}

/* ---- MessagePack to JSON ------------------------------------------------ */

static bool put_text(struct buffer *out, const char *text) {
    return buffer_append(out, text, strlen(text));
}

static bool put_escaped(struct buffer *out, uint8_t byte) {
    static const char short_escape[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    char text[8] = {'\\'};

    for (const char *s = short_escape; *s != '\0'; s += 2)
        if ((uint8_t) *s == byte) {
            text[1] = s[1];
            return put_text(out, text);
        }
    snprintf(text, sizeof text, "\\u%04x", byte);
    return put_text(out, text);
}

static bool put_string(struct buffer *out, const uint8_t *at, size_t size_bytes) {
    size_t plain = 0; /* bytes before `at` that stand for themselves */
    bool ok = put_text(out, "\"");

    for (const uint8_t *end = at + size_bytes; ok && at < end;) {
        size_t bytes = utf8_char_bytes(at, (size_t) (end - at));
        if (bytes > 0 && *at >= 0x20 && *at != '"' && *at != '\\' && *at != 0x7f) {
            at += bytes;
            plain += bytes;
            continue;
        }
        ok = buffer_append(out, at - plain, plain) &&
             (bytes == 0 ? put_text(out, "\xef\xbf\xbd") : put_escaped(out, *at));
        plain = 0;
        at++;
    }
    return ok && buffer_append(out, at - plain, plain) && put_text(out, "\"");
}

static bool put_hex(struct buffer *out, struct value v) {
    static const char digits[] = "0123456789abcdef";
    uint32_t size_bytes;
    const uint8_t *at;
    uint8_t *room;

    if (!value_get_bytes(v, &at, &size_bytes))
        return false;
    room = buffer_room(out, 2 * (size_t) size_bytes + 2);
    if (room == NULL)
        return false;
    *room++ = '"';
    for (uint32_t i = 0; i < size_bytes; i++) {
        *room++ = (uint8_t) digits[at[i] >> 4];
        *room++ = (uint8_t) digits[at[i] & 0x0f];
    }
    *room++ = '"';
    out->size_bytes += 2 * (size_t) size_bytes + 2;
    return true;
}

static bool put_ext(struct buffer *out, struct value v) {
    char text[40];
    int8_t type = 0;

    if (!value_get_ext_type(v, &type))
        return false;
    snprintf(text, sizeof text, "{\"ext\": %d, \"data\": ", type);
    return put_text(out, text) && put_hex(out, v) && put_text(out, "}");
}

/* 15 digits where they come back as the same float, as they mostly do, else 16 or 17. */
static bool put_float(struct buffer *out, double d) {
    char text[40];

    if (!isfinite(d))
        return put_text(out, "null");
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, d);
        if (strtod(text, NULL) == d)
            break;
    }
    if (strpbrk(text, ".e") == NULL)
        strcat(text, ".0"); /* at most 24 characters so far */
    return put_text(out, text);
}

static bool put_any_number(struct buffer *out, struct value v) {
    char text[24];
    int64_t i;
    uint64_t u;
    double d = 0;

    if (value_get_i64(v, &i))
        snprintf(text, sizeof text, "%lld", (long long) i);
    else if (value_get_u64(v, &u))
        snprintf(text, sizeof text, "%llu", (unsigned long long) u);
    else
        return value_get_double(v, &d) && put_float(out, d);
    return put_text(out, text);
}

static bool put_value(struct buffer *out, struct value v);

/* A key that is no string: its JSON text, made into a string where it stands. */
static bool put_key(struct buffer *out, struct value key) {
    struct buffer text;
    bool ok;

    if (value_kind_of(key) == VALUE_STRING || value_kind_of(key) == VALUE_BINARY)
        return put_value(out, key);
    buffer_init(&text, out->alloc, out->bound_bytes);
    ok = put_value(&text, key) && put_string(out, text.at, text.size_bytes);
    buffer_fini(&text);
    return ok;
}

static bool put_container(struct buffer *out, struct value v, bool map) {
    struct value_iter it = value_iter_of(v);
    struct value element;
    bool ok = put_text(out, map ? "{" : "[");

    for (const char *comma = ""; ok && value_iter_next(&it, &element); comma = ", ") {
        ok = put_text(out, comma);
        if (ok && map)
            ok = put_key(out, element) && put_text(out, ": ") && value_iter_next(&it, &element);
        ok = ok && put_value(out, element);
    }
    return ok && put_text(out, map ? "}" : "]");
}

/* Recurses once a level.  false: no room. */
static bool put_value(struct buffer *out, struct value v) {
    const uint8_t *at;
    uint32_t size_bytes;

    switch (value_kind_of(v)) {
    case VALUE_NIL:
        return put_text(out, "null");
    case VALUE_FALSE:
        return put_text(out, "false");
    case VALUE_TRUE:
        return put_text(out, "true");
    case VALUE_NUMBER:
        return put_any_number(out, v);
    case VALUE_STRING:
        return value_get_bytes(v, &at, &size_bytes) && put_string(out, at, size_bytes);
    case VALUE_BINARY:
        return put_hex(out, v);
    case VALUE_ARRAY:
        return put_container(out, v, false);
    case VALUE_MAP:
        return put_container(out, v, true);
    case VALUE_EXT:
        return put_ext(out, v);
    }
    return false;
}

eg_err json_print(struct value v, struct buffer *out) {
    size_t before_bytes = out->size_bytes;

    if (put_value(out, v))
        return EG_OK;
    out->size_bytes = before_bytes;
    return EG_MEMORY;
}

eg_err json_print_cell(struct value v, struct buffer *out) {
    size_t start = out->size_bytes;
    const uint8_t *at;
    uint32_t size_bytes;
    eg_err err;

    if (value_kind_of(v) == VALUE_NIL)
        return EG_OK;
    if (value_kind_of(v) == VALUE_STRING)
        return value_get_bytes(v, &at, &size_bytes) && buffer_append(out, at, size_bytes)
                   ? EG_OK
                   : EG_MEMORY;
    err = json_print(v, out);
    if (err == EG_OK && value_kind_of(v) == VALUE_BINARY) { /* without its quotes */
        out->size_bytes -= 2;
        memmove(out->at + start, out->at + start + 1, out->size_bytes - start);
    }
    return err;
}
