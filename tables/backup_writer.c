/* backup_writer.c -- a moment as the blocks of a backup file. */
#include "tables/backup.h"
#include "tables/rank.h"

#define XXH_INLINE_ALL
#include <string.h>
#include <xxhash.h>

enum {
    HEAD_BYTES = 8,    /* of a block                                       */
    RECORDS_BYTES = 8, /* before the records: table and count              */
    SUM_BYTES = 8,
    EXPIRY_BYTES = 8,
    LOOK_RECORDS = 64, /* between two looks at the clock */
    TABLES_A_STEP = 64,
};

/* As PNG's: a text transfer, or a file cut to 7 bits, is seen at once. */
const uint8_t backup_magic[BACKUP_MAGIC_BYTES] = {0x8e, 'E', 'G', 'B', '\r', '\n', 0x1a, '\n'};

struct backup_writer {
    struct alloc *alloc;
    struct moment *moment;
    const char *node;
    enum backup_kind next; /* what is to be written */
    uint32_t next_table;
    uint64_t before; /* the last checksum */
    uint64_t blocks, records;
    struct buffer kept; /* the record that begins the next block; size 0: none */
    uint64_t kept_expiry_ms;
    uint32_t kept_table;
};

uint64_t backup_checksum(const uint8_t *block, size_t size_bytes, uint64_t before) {
    return XXH3_64bits_withSeed(block, size_bytes, before);
}

static void put_le(uint8_t *at, uint64_t n, uint32_t bytes) {
    for (uint32_t i = 0; i < bytes; i++)
        at[i] = (uint8_t) (n >> 8 * i);
}

/* ---- blocks -------------------------------------------------------------------- */

/* Room for a block's head; its place in `out`. */
static eg_err block_begin(struct buffer *out, enum backup_kind kind, size_t *place) {
    uint8_t *head = buffer_room(out, HEAD_BYTES);

    if (head == NULL)
        return EG_TOO_LARGE;
    memset(head, 0, HEAD_BYTES);
    head[4] = (uint8_t) kind;
    *place = out->size_bytes;
    out->size_bytes += HEAD_BYTES;
    return EG_OK;
}

static eg_err block_end(struct backup_writer *w, struct buffer *out, size_t place) {
    size_t body_bytes = out->size_bytes - place - HEAD_BYTES;
    uint8_t *sum = buffer_room(out, SUM_BYTES);
    uint8_t *block = out->at + place;

    if (sum == NULL)
        return EG_TOO_LARGE;
    EG_ASSERT(body_bytes <= BACKUP_BLOCK_BYTES_MAX);
    put_le(block, body_bytes, 4);
    w->before = backup_checksum(block, HEAD_BYTES + body_bytes, w->before);
    put_le(sum, w->before, SUM_BYTES);
    out->size_bytes += SUM_BYTES;
    w->blocks++;
    return EG_OK;
}

/* A block of one MessagePack value that `put` writes. */
static eg_err put_block(struct backup_writer *w, struct buffer *out, enum backup_kind kind,
                        void (*put)(const struct backup_writer *w, struct value_writer *v)) {
    struct value_writer v = value_writer_init(NULL, 0);
    uint8_t *room;
    size_t place;
    eg_err err = block_begin(out, kind, &place);

    if (err != EG_OK)
        return err;
    put(w, &v);
    room = buffer_room(out, v.need_bytes);
    if (room == NULL)
        return EG_TOO_LARGE;
    out->size_bytes += v.need_bytes;
    v = value_writer_init(room, v.need_bytes);
    put(w, &v);
    EG_ASSERT(!v.overflow);
    return block_end(w, out, place);
}

static void put_begin(const struct backup_writer *w, struct value_writer *v) {
    value_put_map(v, 4);
    value_put_text(v, "format");
    value_put_u64(v, BACKUP_VERSION);
    value_put_text(v, "created");
    value_put_u64(v, moment_wall_ms(w->moment));
    value_put_text(v, "node");
    value_put_text(v, w->node);
    value_put_text(v, "tables");
    value_put_u64(v, moment_tables(w->moment));
}

static void put_table(const struct backup_writer *w, struct value_writer *v) {
    const struct schema_name *name = moment_name(w->moment, w->next_table);

    value_put_array(v, 2);
    value_put_string(v, name->text, name->size_bytes);
    value_put_raw(v, moment_options(w->moment, w->next_table));
}

static void put_end(const struct backup_writer *w, struct value_writer *v) {
    value_put_map(v, 2);
    value_put_text(v, "records");
    value_put_u64(v, w->records);
    value_put_text(v, "blocks");
    value_put_u64(v, w->blocks);
}

/* ---- records ---------------------------------------------------------------------- */

/* One record on its way into a block. */
struct item {
    struct value array;
    uint64_t expiry_ms; /* 0: never */
    uint32_t table;
    bool there; /* else the moment is at its end */
};

/* The one that did not fit the last block, or the next of the moment. */
static eg_err take_item(struct backup_writer *w, struct reader *r, struct item *item) {
    const struct record *rec;
    eg_err err;

    if (w->kept.size_bytes > 0) {
        *item = (struct item){
            {w->kept.at, (uint32_t) w->kept.size_bytes}, w->kept_expiry_ms, w->kept_table, true};
        return EG_OK;
    }
    err = moment_next(w->moment, r, &item->table, &rec);
    item->there = err == EG_OK && rec != NULL;
    if (!item->there)
        return err;
    item->array = record_value(rec);
    item->expiry_ms = record_expiry_ms(rec);
    if (item->expiry_ms == RANK_NEVER) /* a cache's: it only has an age */
        item->expiry_ms = 0;
    return EG_OK;
}

static eg_err put_item(struct backup_writer *w, struct buffer *out, const struct item *item) {
    size_t expiry_bytes = item->expiry_ms != 0 ? EXPIRY_BYTES : 0;
    uint8_t *room = buffer_room(out, expiry_bytes + item->array.size_bytes);

    if (room == NULL)
        return EG_TOO_LARGE;
    put_le(room, item->expiry_ms, (uint32_t) expiry_bytes);
    memcpy(room + expiry_bytes, item->array.at, item->array.size_bytes);
    out->size_bytes += expiry_bytes + item->array.size_bytes;
    w->records++;
    return EG_OK;
}

/* Keep the record for the next block. */
static eg_err keep_item(struct backup_writer *w, const struct item *item) {
    EG_ASSERT(w->kept.size_bytes == 0);
    if (!buffer_append(&w->kept, item->array.at, item->array.size_bytes))
        return EG_MEMORY;
    w->kept_expiry_ms = item->expiry_ms;
    w->kept_table = item->table;
    return EG_OK;
}

/* Records of one table that all expire or all do not. */
static eg_err put_records(struct backup_writer *w, struct reader *r, struct buffer *out,
                          bool (*over)(void *context), void *context, bool *end) {
    struct item item = {.there = false}, first;
    uint32_t count = 0;
    uint8_t *body;
    size_t place;
    eg_err err = take_item(w, r, &item);

    *end = err == EG_OK && !item.there;
    if (err != EG_OK || *end)
        return err;
    first = item;
    err = block_begin(out, item.expiry_ms != 0 ? BACKUP_EXPIRING : BACKUP_RECORDS, &place);
    if (err != EG_OK)
        return err;
    if (buffer_room(out, RECORDS_BYTES) == NULL)
        return EG_TOO_LARGE;
    out->size_bytes += RECORDS_BYTES;
    while (err == EG_OK && item.there) {
        bool fits = out->size_bytes - place + item.array.size_bytes <= BACKUP_BLOCK_BYTES;

        if (item.table != first.table || (item.expiry_ms != 0) != (first.expiry_ms != 0) ||
            (count > 0 && (!fits || count == BACKUP_RECORDS_MAX))) {
            err = keep_item(w, &item);
            break;
        }
        err = put_item(w, out, &item);
        buffer_clear(&w->kept);
        count++;
        if (count % LOOK_RECORDS == 0 && over != NULL && over(context))
            break;
        if (err == EG_OK)
            err = take_item(w, r, &item);
    }
    if (err != EG_OK)
        return err;
    body = out->at + place + HEAD_BYTES;
    put_le(body, first.table, 4);
    put_le(body + 4, count, 4);
    return block_end(w, out, place);
}

/* ---- the whole ----------------------------------------------------------------------- */

static eg_err put_first(struct backup_writer *w, struct buffer *out) {
    if (!buffer_append(out, backup_magic, sizeof backup_magic))
        return EG_MEMORY;
    w->next = BACKUP_TABLE;
    return put_block(w, out, BACKUP_BEGIN, put_begin);
}

static eg_err put_tables(struct backup_writer *w, struct buffer *out) {
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < TABLES_A_STEP && w->next_table < moment_tables(w->moment); i++) {
        err = put_block(w, out, BACKUP_TABLE, put_table);
        if (err != EG_OK)
            return err;
        w->next_table++;
    }
    if (w->next_table == moment_tables(w->moment))
        w->next = BACKUP_RECORDS;
    return EG_OK;
}

eg_err backup_writer_next(struct backup_writer *w, struct reader *r, struct buffer *out,
                          bool (*over)(void *context), void *context) {
    size_t before_bytes = out->size_bytes;
    bool end = false;
    eg_err err = EG_OK;

    if (w->next == BACKUP_BEGIN)
        err = put_first(w, out);
    else if (w->next == BACKUP_TABLE)
        err = put_tables(w, out);
    if (err != EG_OK || out->size_bytes > before_bytes || w->next != BACKUP_RECORDS)
        return err;
    err = put_records(w, r, out, over, context, &end);
    if (err == EG_OK && end) {
        w->next = BACKUP_END;
        err = put_block(w, out, BACKUP_END, put_end);
    }
    return err;
}

uint64_t backup_writer_records(const struct backup_writer *w) {
    return w->records;
}

eg_err backup_writer_open(struct backup_writer **out, struct alloc *a, struct moment *m,
                          const char *node) {
    struct backup_writer *w = alloc_zero(a, sizeof *w);

    if (w == NULL)
        return EG_MEMORY;
    EG_ASSERT(moment_taken(m));
    w->alloc = a;
    w->moment = m;
    w->node = node;
    w->next = BACKUP_BEGIN;
    buffer_init(&w->kept, a, RECORD_SIZE_MAX);
    *out = w;
    return EG_OK;
}

void backup_writer_close(struct backup_writer *w) {
    moment_unref(w->moment);
    buffer_fini(&w->kept);
    alloc_put(w->alloc, w, sizeof *w);
}
