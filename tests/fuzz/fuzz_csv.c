/* fuzz_csv.c -- any text is rows or malformed rows, and the reader comes to its end;
 * the rows, written again, are read as the same fields. */
#include "tools/csv.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXT_BYTES_MAX = 1 << 20 };

static void check_row(const struct csv_field *fields, uint32_t count) {
    struct csv_reader r;
    struct buffer text;
    const struct csv_field *again;
    uint32_t again_count = 0;

    buffer_init(&text, alloc_system(), TEXT_BYTES_MAX);
    EG_ASSERT(csv_put_field(&text, "", 0, true)); /* else a row could begin as a mark */
    for (uint32_t i = 0; i < count; i++)
        EG_ASSERT(csv_put_field(&text, fields[i].at, fields[i].size_bytes, false));
    EG_ASSERT(csv_put_end(&text));
    csv_open(&r, alloc_system(), (const char *) text.at, text.size_bytes);
    if (count < CSV_FIELDS_MAX) {
        EG_ASSERT(csv_next(&r, &again, &again_count, NULL) == EG_OK);
        EG_ASSERT(again_count == count + 1);
        for (uint32_t i = 0; i < count; i++) {
            EG_ASSERT(again[i + 1].size_bytes == fields[i].size_bytes);
            EG_ASSERT(memcmp(again[i + 1].at, fields[i].at, fields[i].size_bytes) == 0);
        }
        EG_ASSERT(csv_next(&r, &again, &again_count, NULL) == EG_NOT_FOUND);
    }
    csv_close(&r);
    buffer_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct csv_reader r;
    const struct csv_field *fields;
    struct err_note note;
    uint32_t count = 0;
    uint64_t rows = 0;
    uint64_t lines = 1;
    eg_err err;

    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    csv_open(&r, alloc_system(), (const char *) data, size);
    while ((err = csv_next(&r, &fields, &count, &note)) != EG_NOT_FOUND) {
        EG_ASSERT(++rows <= lines && r.row == rows && r.line <= lines);
        if (err == EG_OK)
            check_row(fields, count);
    }
    EG_ASSERT(r.next_line == lines || size == 0 || rows == 0);
    csv_close(&r);
    return 0;
}
