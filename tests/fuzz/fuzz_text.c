/* fuzz_text.c -- any text is a query or refused; what an expression prints means the same. */
#include "query/text_parser.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PRINTED_BYTES_MAX = 4 << 20 };

/* Parse "delete from t where <text>" and print its expression.  Names lose their quotes
 * when they are printed: what holds one is not read again. */
static eg_err reprint(const uint8_t *text, size_t size, struct buffer *out) {
    static const char head[] = "delete from t where ";
    struct text_query *q;
    struct arena *arena;
    struct buffer whole;
    eg_err err;

    EG_ASSERT(arena_open(&arena, alloc_system()) == EG_OK);
    buffer_init(&whole, alloc_system(), PRINTED_BYTES_MAX);
    EG_ASSERT(buffer_append(&whole, head, sizeof head - 1) && buffer_append(&whole, text, size));
    err = text_parse(&q, arena, (const char *) whole.at, whole.size_bytes, NULL);
    if (err == EG_OK && q->where == NULL)
        err = EG_BAD_REQUEST;
    if (err == EG_OK)
        err = text_print(q->where, out);
    buffer_fini(&whole);
    arena_close(arena);
    return err;
}

static void any_text(const uint8_t *data, size_t size) {
    struct err_note note = {""};
    struct text_query *q;
    struct arena *arena;

    EG_ASSERT(arena_open(&arena, alloc_system()) == EG_OK);
    if (text_parse(&q, arena, (const char *) data, size, &note) != EG_OK)
        EG_ASSERT(note.text[0] != '\0');
    arena_close(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buffer once;
    struct buffer twice;

    any_text(data, size);
    buffer_init(&once, alloc_system(), PRINTED_BYTES_MAX);
    buffer_init(&twice, alloc_system(), PRINTED_BYTES_MAX);
    if (size > 0 && memchr(data, '"', size) == NULL && reprint(data, size, &once) == EG_OK &&
        once.size_bytes < TEXT_BYTES_MAX / 2 &&
        reprint(once.at, once.size_bytes, &twice) == EG_OK) {
        EG_ASSERT(once.size_bytes == twice.size_bytes);
        EG_ASSERT(memcmp(once.at, twice.at, once.size_bytes) == 0);
    }
    buffer_fini(&twice);
    buffer_fini(&once);
    return 0;
}
