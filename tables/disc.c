/* disc.c -- batches: changes one after the other in a growing buffer. */
#include "tables/disc.h"

#include <string.h>

enum { BATCH_FIRST_BYTES = 4096 }; /* a page: some dozens of small records */

void disc_batch_init(struct disc_batch *b, struct alloc *a) {
    *b = (struct disc_batch){.alloc = a};
}

void disc_batch_fini(struct disc_batch *b) {
    alloc_put(b->alloc, b->at, b->room_bytes);
    *b = (struct disc_batch){.alloc = b->alloc};
}

void disc_batch_reset(struct disc_batch *b) {
    if (b->room_bytes > DISC_BATCH_KEEP_BYTES)
        disc_batch_fini(b);
    b->used_bytes = 0;
    b->count = 0;
    b->patient = false;
}

static size_t change_bytes(size_t key_bytes, size_t value_bytes) {
    size_t unpadded = sizeof(struct disc_change) + key_bytes + value_bytes;
    return (unpadded + 7) & ~(size_t) 7;
}

static bool batch_grow(struct disc_batch *b, size_t need_bytes) {
    size_t room_bytes = EG_MAX(b->room_bytes, (size_t) BATCH_FIRST_BYTES);
    uint8_t *at;

    while (room_bytes < need_bytes)
        room_bytes *= 2;
    at = alloc_get(b->alloc, room_bytes);
    if (at == NULL)
        return false;
    if (b->at != NULL)
        memcpy(at, b->at, b->used_bytes);
    alloc_put(b->alloc, b->at, b->room_bytes);
    b->at = at;
    b->room_bytes = room_bytes;
    return true;
}

uint8_t *disc_batch_room(struct disc_batch *b, size_t key_bytes_max, size_t value_bytes_max) {
    size_t need_bytes = b->used_bytes + change_bytes(key_bytes_max, value_bytes_max);

    if (EG_UNLIKELY(need_bytes > b->room_bytes) && !batch_grow(b, need_bytes))
        return NULL;
    return b->at + b->used_bytes + sizeof(struct disc_change);
}

void disc_batch_commit(struct disc_batch *b, enum disc_change_kind kind, struct disc_table *t,
                       size_t key_bytes, size_t value_bytes) {
    struct disc_change *c = (struct disc_change *) (void *) (b->at + b->used_bytes);
    size_t size_bytes = change_bytes(key_bytes, value_bytes);

    EG_ASSERT(b->used_bytes + size_bytes <= b->room_bytes);
    EG_ASSERT(size_bytes <= UINT32_MAX);
    c->table = t;
    c->key_bytes = (uint32_t) key_bytes;
    c->value_bytes = (uint32_t) value_bytes;
    c->kind = kind;
    c->size_bytes = (uint32_t) size_bytes;
    b->used_bytes += size_bytes;
    b->count++;
}

static eg_err batch_append(struct disc_batch *b, enum disc_change_kind kind, struct disc_table *t,
                           struct disc_bytes key, struct disc_bytes value) {
    uint8_t *room = disc_batch_room(b, key.size_bytes, value.size_bytes);

    if (room == NULL)
        return EG_MEMORY;
    if (key.size_bytes > 0)
        memcpy(room, key.at, key.size_bytes);
    if (value.size_bytes > 0)
        memcpy(room + key.size_bytes, value.at, value.size_bytes);
    disc_batch_commit(b, kind, t, key.size_bytes, value.size_bytes);
    return EG_OK;
}

eg_err disc_batch_put(struct disc_batch *b, struct disc_table *t, struct disc_bytes key,
                      struct disc_bytes value) {
    return batch_append(b, DISC_PUT, t, key, value);
}

eg_err disc_batch_del(struct disc_batch *b, struct disc_table *t, struct disc_bytes key) {
    return batch_append(b, DISC_DEL, t, key, (struct disc_bytes){0});
}

eg_err disc_batch_del_range(struct disc_batch *b, struct disc_table *t, struct disc_bytes from,
                            struct disc_bytes to) {
    return batch_append(b, DISC_DEL_RANGE, t, from, to);
}

const struct disc_change *disc_batch_next(const struct disc_batch *b, const struct disc_change *c) {
    const uint8_t *at = c == NULL ? b->at : (const uint8_t *) c + c->size_bytes;

    if (b->used_bytes == 0 || at == b->at + b->used_bytes)
        return NULL;
    return (const struct disc_change *) (const void *) at;
}

eg_err disc_schema_key(char *buffer, size_t size_bytes, const char *name, struct disc_bytes *key) {
    size_t name_bytes = strlen(name);

    if (name_bytes == 0 || name_bytes > DISC_NAME_BYTES_MAX)
        return EG_TOO_LARGE;
    EG_ASSERT(size_bytes > DISC_NAME_BYTES_MAX + 1);
    buffer[0] = DISC_META_SCHEMA;
    memcpy(buffer + 1, name, name_bytes + 1);
    *key = (struct disc_bytes){(const uint8_t *) buffer, name_bytes + 1};
    return EG_OK;
}

eg_err disc_batch_put_schema(struct disc_batch *b, struct disc *d, const char *name,
                             struct disc_bytes schema) {
    char buffer[DISC_NAME_BYTES_MAX + 2];
    struct disc_bytes key;
    eg_err err = disc_schema_key(buffer, sizeof buffer, name, &key);

    return err != EG_OK ? err : disc_batch_put(b, d->meta, key, schema);
}

eg_err disc_batch_del_schema(struct disc_batch *b, struct disc *d, const char *name) {
    char buffer[DISC_NAME_BYTES_MAX + 2];
    struct disc_bytes key;
    eg_err err = disc_schema_key(buffer, sizeof buffer, name, &key);

    return err != EG_OK ? err : disc_batch_del(b, d->meta, key);
}
