/* fuzz_mnesia.c -- any bytes are read as a backup of Mnesia to an error or to the end, and what
 * comes out is MessagePack that Engram takes.  An even first byte: the rest is the file.  An
 * odd one: the rest is one term behind a good head. */
#include "tools/mnesia_backup.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_BYTES_MAX = 4 << 20 };

struct bytes {
    struct backup_source source;
    const uint8_t *at;
    size_t left_bytes;
};

static eg_err read_bytes(struct backup_source *s, void *at, size_t size_bytes, size_t *got,
                         struct err_note *note) {
    struct bytes *b = EG_CONTAINER_OF(s, struct bytes, source);

    (void) note;
    *got = EG_MIN(EG_MIN(size_bytes, b->left_bytes), (size_t) 1000);
    if (*got > 0)
        memcpy(at, b->at, *got);
    b->at += *got;
    b->left_bytes -= *got;
    return EG_OK;
}

static void check_value(struct value v) {
    size_t used_bytes;

    EG_ASSERT(value_scan(v.at, v.size_bytes, &used_bytes) == EG_OK);
    EG_ASSERT(used_bytes == v.size_bytes);
}

static void read_all(const uint8_t *data, size_t size, bool characters) {
    struct bytes bytes = {{read_bytes}, data, size};
    struct err_note note = {""};
    struct mnesia_reader *r;
    struct mnesia_item item;
    eg_err err;

    EG_ASSERT(mnesia_reader_open(&r, alloc_system(), &bytes.source, characters) == EG_OK);
    while ((err = mnesia_reader_next(r, &item, &note)) == EG_OK || err == EG_BAD_RECORD) {
        if (err == EG_BAD_RECORD)
            continue;
        check_value(item.table);
        check_value(item.value);
    }
    EG_ASSERT(err == EG_NOT_FOUND || err == EG_CORRUPT);
    mnesia_reader_close(r);
}

static void append_item(struct buffer *file, const uint8_t *term, size_t size) {
    size_t all_bytes = size + 1;
    const uint8_t head[] = {(uint8_t) (all_bytes >> 24),
                            (uint8_t) (all_bytes >> 16),
                            (uint8_t) (all_bytes >> 8),
                            (uint8_t) all_bytes,
                            98,
                            87,
                            76,
                            65};
    static const uint8_t md5[16] = {0}, version = ETF_VERSION;

    EG_ASSERT(buffer_append(file, head, sizeof head));
    if (all_bytes >= 65528)
        EG_ASSERT(buffer_append(file, md5, sizeof md5));
    EG_ASSERT(buffer_append(file, &version, 1));
    EG_ASSERT(buffer_append(file, term, size));
}

static void read_term(const uint8_t *data, size_t size) {
    static const uint8_t magic[] = {1, 2, 3, 4, 99, 88, 77, 11};
    static const char header[] = "h\2s\12log_headers\12backup_log";
    struct buffer file;

    buffer_init(&file, alloc_system(), FILE_BYTES_MAX);
    EG_ASSERT(buffer_append(&file, magic, sizeof magic));
    append_item(&file, (const uint8_t *) header, sizeof header - 1);
    append_item(&file, data, size);
    read_all(file.at, file.size_bytes, true);
    read_all(file.at, file.size_bytes, false);
    buffer_fini(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0 || size > FILE_BYTES_MAX / 2)
        return 0;
    if (data[0] % 2 == 0)
        read_all(data + 1, size - 1, true);
    else
        read_term(data + 1, size - 1);
    return 0;
}
