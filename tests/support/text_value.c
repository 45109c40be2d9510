/* text_value.c -- a small JSON reader and writer for tests. */
#include "tests/support/text_value.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ------------------------------------------------------------------ */

static void read_value(const char **at, struct value_writer *w);

static void skip_space(const char **at) {
    *at += strspn(*at, " \t\r\n");
}

static bool take(const char **at, const char *word) {
    size_t bytes = strlen(word);

    skip_space(at);
    if (strncmp(*at, word, bytes) != 0)
        return false;
    *at += bytes;
    return true;
}

static size_t read_quoted(const char **at, char *out, size_t size_bytes) {
    char quote = *(*at)++;
    size_t bytes = 0;

    while (**at != quote) {
        EG_ASSERT(**at != '\0' && bytes < size_bytes);
        if (**at == '\\')
            (*at)++;
        out[bytes++] = *(*at)++;
    }
    (*at)++;
    return bytes;
}

static void read_number(const char **at, struct value_writer *w) {
    size_t bytes = strspn(*at, "+-0123456789.eE");

    EG_ASSERT(bytes > 0);
    if (strcspn(*at, ".eE") < bytes)
        value_put_double(w, strtod(*at, NULL));
    else if (**at == '-')
        value_put_i64(w, strtoll(*at, NULL, 10));
    else
        value_put_u64(w, strtoull(*at, NULL, 10));
    *at += bytes;
}

/* Elements first, into a buffer of their own: their number is known only then. */
static void read_elements(const char **at, struct value_writer *w, const char *end, bool map) {
    size_t room_bytes = (size_t) (w->end - w->at);
    uint8_t *room = malloc(room_bytes + 1);
    struct value_writer inner = value_writer_init(room, room_bytes);
    uint32_t count = 0;

    EG_ASSERT(room != NULL);
    while (!take(at, end)) {
        EG_ASSERT(count == 0 || take(at, ","));
        read_value(at, &inner);
        if (map) {
            bool colon = take(at, ":");
            EG_ASSERT(colon);
            read_value(at, &inner);
        }
        count++;
    }
    EG_ASSERT(!inner.overflow);
    if (map)
        value_put_map(w, count);
    else
        value_put_array(w, count);
    value_put_raw(w, (struct value){room, (uint32_t) inner.need_bytes});
    free(room);
}

static void read_value(const char **at, struct value_writer *w) {
    char text[4096];
    size_t bytes;

    skip_space(at);
    if (take(at, "[")) {
        read_elements(at, w, "]", false);
    } else if (take(at, "{")) {
        read_elements(at, w, "}", true);
    } else if (take(at, "nil") || take(at, "null")) {
        value_put_nil(w);
    } else if (take(at, "true")) {
        value_put_bool(w, true);
    } else if (take(at, "false")) {
        value_put_bool(w, false);
    } else if (strncmp(*at, "b'", 2) == 0) {
        ++*at;
        bytes = read_quoted(at, text, sizeof text);
        value_put_binary(w, text, bytes);
    } else if (**at == '\'' || **at == '"') {
        bytes = read_quoted(at, text, sizeof text);
        value_put_string(w, text, bytes);
    } else {
        read_number(at, w);
    }
}

struct value text_value(uint8_t *buffer, size_t size_bytes, const char *text) {
    struct value_writer w = value_writer_init(buffer, size_bytes);

    read_value(&text, &w);
    skip_space(&text);
    EG_ASSERT(*text == '\0' && !w.overflow);
    return (struct value){buffer, (uint32_t) w.need_bytes};
}

/* ---- writing ------------------------------------------------------------------------ */

struct text {
    char *at;
    size_t left_bytes;
};

static void put(struct text *t, const char *at, size_t bytes) {
    bytes = EG_MIN(bytes, t->left_bytes - 1);
    memcpy(t->at, at, bytes);
    t->at += bytes;
    t->left_bytes -= bytes;
    *t->at = '\0';
}

static void put_quoted(struct text *t, struct value v, const char *quote) {
    const uint8_t *at;
    uint32_t bytes;

    if (!value_get_bytes(v, &at, &bytes))
        abort();
    put(t, quote, strlen(quote));
    put(t, (const char *) at, bytes);
    put(t, "'", 1);
}

static void put_number(struct text *t, struct value v) {
    char number[64];
    int64_t i;
    uint64_t u;
    double d;

    if (value_get_i64(v, &i))
        snprintf(number, sizeof number, "%" PRId64, i);
    else if (value_get_u64(v, &u))
        snprintf(number, sizeof number, "%" PRIu64, u);
    else if (value_get_double(v, &d))
        snprintf(number, sizeof number, fabs(d) < 1e15 && d == floor(d) ? "%.1f" : "%.17g", d);
    put(t, number, strlen(number));
}

static void write_value(struct text *t, struct value v) {
    static const char *const words[] = {"nil", "false", "true"};
    enum value_kind kind = value_kind_of(v);
    struct value_iter it;
    struct value element;
    uint32_t i = 0;

    switch (kind) {
    case VALUE_NUMBER:
        put_number(t, v);
        return;
    case VALUE_STRING:
        put_quoted(t, v, "'");
        return;
    case VALUE_BINARY:
        put_quoted(t, v, "b'");
        return;
    case VALUE_EXT:
        put(t, "ext", 3);
        return;
    case VALUE_ARRAY:
    case VALUE_MAP:
        it = value_iter_of(v);
        put(t, kind == VALUE_MAP ? "{" : "[", 1);
        for (; value_iter_next(&it, &element); i++) {
            if (i > 0)
                put(t, kind == VALUE_MAP && i % 2 == 1 ? ": " : ", ", 2);
            write_value(t, element);
        }
        put(t, kind == VALUE_MAP ? "}" : "]", 1);
        return;
    default:
        put(t, words[kind], strlen(words[kind]));
    }
}

const char *value_text(struct value v, char *text, size_t size_bytes) {
    struct text t = {text, size_bytes};

    *text = '\0';
    write_value(&t, v);
    return text;
}
