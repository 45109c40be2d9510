/* fuzz_json.c -- any text is JSON or refused; what is read prints to the same JSON. */
#include "tools/json.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXT_BYTES_MAX = 1 << 20 };

/* Append the JSON text of the value at the start of `text` to `out`. */
static eg_err reprint(const uint8_t *text, size_t size, struct buffer *out) {
    struct buffer bytes;
    struct err_note note;
    size_t used = 0;
    size_t scanned = 0;
    eg_err err;

    buffer_init(&bytes, alloc_system(), TEXT_BYTES_MAX);
    err = json_parse((const char *) text, size, &bytes, &used, &note);
    EG_ASSERT(err == EG_OK || bytes.size_bytes == 0);
    if (err == EG_OK) {
        EG_ASSERT(used <= size);
        EG_ASSERT(value_scan(bytes.at, bytes.size_bytes, &scanned) == EG_OK);
        EG_ASSERT(scanned == bytes.size_bytes);
        err = json_print((struct value){bytes.at, (uint32_t) bytes.size_bytes}, out);
    }
    buffer_fini(&bytes);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buffer once;
    struct buffer twice;

    buffer_init(&once, alloc_system(), TEXT_BYTES_MAX);
    buffer_init(&twice, alloc_system(), TEXT_BYTES_MAX);
    if (reprint(data, size, &once) == EG_OK) {
        EG_ASSERT(reprint(once.at, once.size_bytes, &twice) == EG_OK);
        EG_ASSERT(once.size_bytes == twice.size_bytes);
        EG_ASSERT(memcmp(once.at, twice.at, once.size_bytes) == 0);
    }
    buffer_fini(&twice);
    buffer_fini(&once);
    return 0;
}
