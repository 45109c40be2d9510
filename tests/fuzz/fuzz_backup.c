/* fuzz_backup.c -- any bytes are read as a backup to an error or to the end, and what is read
 * holds what the reader promises.  An even first byte: the rest is the file.  An odd one: the
 * rest becomes blocks with good checksums, so that what lies behind these is reached too. */
#include "tables/backup.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_BYTES_MAX = 4 << 20, HEAD_BYTES = 8 };

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

static void check_item(const struct backup_item *item) {
    const uint8_t *next = item->bytes.at;

    for (uint32_t i = 0; i < item->count; i++) {
        uint64_t expiry_ms;
        struct value record;
        size_t used_bytes;

        if (item->kind == BACKUP_EXPIRING) {
            record = backup_expiring(&next, &expiry_ms);
        } else {
            record = value_of(next);
            next = record.at + record.size_bytes;
        }
        EG_ASSERT(value_scan(record.at, record.size_bytes, &used_bytes) == EG_OK);
        EG_ASSERT(value_kind_of(record) == VALUE_ARRAY && value_count(record) > 0);
    }
    if (item->count > 0)
        EG_ASSERT(next == item->bytes.at + item->bytes.size_bytes);
}

static void read_all(const uint8_t *data, size_t size) {
    struct bytes bytes = {{read_bytes}, data, size};
    struct err_note note = {""};
    struct backup_reader *r;
    struct backup_item item;
    uint64_t records = 0;
    eg_err err;

    EG_ASSERT(backup_reader_open(&r, alloc_system(), &bytes.source) == EG_OK);
    while ((err = backup_reader_next(r, &item, &note)) == EG_OK) {
        check_item(&item);
        records += item.count;
        if (item.kind == BACKUP_END)
            EG_ASSERT(item.records == records && bytes.left_bytes == 0);
    }
    EG_ASSERT(err == EG_NOT_FOUND || (err == EG_CORRUPT && note.text[0] != '\0'));
    backup_reader_close(r);
}

/* kind 1, size 2, body: until the input ends. */
static void read_blocks(const uint8_t *data, size_t size) {
    struct buffer file;
    uint64_t before = 0;

    buffer_init(&file, alloc_system(), FILE_BYTES_MAX);
    EG_ASSERT(buffer_append(&file, backup_magic, BACKUP_MAGIC_BYTES));
    while (size >= 3 && file.size_bytes + size + 64 < FILE_BYTES_MAX) {
        size_t body_bytes = EG_MIN((size_t) (data[1] | data[2] << 8), size - 3);
        uint8_t head[HEAD_BYTES] = {(uint8_t) body_bytes, (uint8_t) (body_bytes >> 8), 0, 0,
                                    data[0]};
        uint8_t sum[8];
        size_t place = file.size_bytes;

        EG_ASSERT(buffer_append(&file, head, sizeof head));
        EG_ASSERT(buffer_append(&file, data + 3, body_bytes));
        before = backup_checksum(file.at + place, HEAD_BYTES + body_bytes, before);
        for (uint32_t i = 0; i < sizeof sum; i++)
            sum[i] = (uint8_t) (before >> 8 * i);
        EG_ASSERT(buffer_append(&file, sum, sizeof sum));
        data += 3 + body_bytes;
        size -= 3 + body_bytes;
    }
    read_all(file.at, file.size_bytes);
    buffer_fini(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    if (data[0] % 2 == 0)
        read_all(data + 1, size - 1);
    else
        read_blocks(data + 1, size - 1);
    return 0;
}
