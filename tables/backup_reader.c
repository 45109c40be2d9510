/* backup_reader.c -- blocks from bytes of which nothing is believed.
 *
 *     BEGIN -> TABLE * n -> (RECORDS | EXPIRING) * -> END -> the end of the file
 *
 * A block is read as its bytes come, never as its size claims, so that a damaged size costs no
 * more memory than the file has bytes. */
#include "tables/backup.h"

#include <string.h>

enum {
    HEAD_BYTES = 8,
    RECORDS_BYTES = 8,
    SUM_BYTES = 8,
    EXPIRY_BYTES = 8,
    READ_BYTES = 256 * 1024, /* asked of the source at once */
};

struct backup_reader {
    struct alloc *alloc;
    struct backup_input input;
    uint64_t bytes; /* of the blocks read */
    uint64_t before;
    uint64_t blocks, records;
    enum backup_kind last; /* the block before; 0: none */
    uint32_t tables;       /* that BEGIN promised       */
    uint32_t tables_read;
    struct schema_name last_name;
    struct buffer arity; /* uint16_t of each table, less one */
};

static uint64_t get_le(const uint8_t *at, uint32_t bytes) {
    uint64_t n = 0;

    for (uint32_t i = 0; i < bytes; i++)
        n |= (uint64_t) at[i] << 8 * i;
    return n;
}

/* ---- bytes ------------------------------------------------------------------------ */

eg_err backup_input_fill(struct backup_input *b, size_t wanted, size_t *there,
                         struct err_note *note) {
    size_t left = b->in.size_bytes - b->taken_bytes;

    if (left < wanted && b->taken_bytes > 0) {
        memmove(b->in.at, b->in.at + b->taken_bytes, left);
        b->in.size_bytes = left;
        b->taken_bytes = 0;
    }
    while (b->in.size_bytes - b->taken_bytes < wanted) {
        uint8_t *room = buffer_room(&b->in, READ_BYTES);
        size_t got = 0;
        eg_err err;

        if (room == NULL)
            return EG_MEMORY;
        err = b->source->read(b->source, room, READ_BYTES, &got, note);
        if (err != EG_OK)
            return err;
        if (got == 0)
            break;
        EG_ASSERT(got <= READ_BYTES);
        b->in.size_bytes += got;
    }
    *there = EG_MIN(b->in.size_bytes - b->taken_bytes, wanted);
    return EG_OK;
}

static eg_err damaged(const struct backup_reader *r, struct err_note *note, const char *why) {
    return err_note(note, EG_CORRUPT, "%s, at byte %llu", why, (unsigned long long) r->bytes);
}

/* The next whole block whose sum is right. */
static eg_err read_block(struct backup_reader *r, const uint8_t **block, size_t *body_bytes,
                         struct err_note *note) {
    size_t there, size_bytes;
    eg_err err = backup_input_fill(&r->input, HEAD_BYTES, &there, note);
    const uint8_t *at;

    if (err != EG_OK)
        return err;
    if (there < HEAD_BYTES)
        return damaged(r, note, "the file ends before its end block");
    *body_bytes = get_le(r->input.in.at + r->input.taken_bytes, 4);
    if (*body_bytes > BACKUP_BLOCK_BYTES_MAX)
        return damaged(r, note, "a block is larger than any can be");
    size_bytes = HEAD_BYTES + *body_bytes;
    err = backup_input_fill(&r->input, size_bytes + SUM_BYTES, &there, note);
    if (err != EG_OK)
        return err;
    if (there < size_bytes + SUM_BYTES)
        return damaged(r, note, "the file ends inside a block");
    at = r->input.in.at + r->input.taken_bytes;
    if (backup_checksum(at, size_bytes, r->before) != get_le(at + size_bytes, SUM_BYTES))
        return damaged(r, note, "a block is damaged: its checksum is wrong");
    if (at[5] != 0 || at[6] != 0 || at[7] != 0)
        return damaged(r, note, "a block is of a later format");
    r->before = get_le(at + size_bytes, SUM_BYTES);
    r->input.taken_bytes += size_bytes + SUM_BYTES;
    *block = at;
    return EG_OK;
}

static eg_err read_magic(struct backup_reader *r, struct err_note *note) {
    size_t there;
    eg_err err = backup_input_fill(&r->input, BACKUP_MAGIC_BYTES, &there, note);

    if (err != EG_OK)
        return err;
    if (there < BACKUP_MAGIC_BYTES ||
        memcmp(r->input.in.at + r->input.taken_bytes, backup_magic, BACKUP_MAGIC_BYTES) != 0)
        return err_note(note, EG_CORRUPT, "this is no Engram backup");
    r->input.taken_bytes += BACKUP_MAGIC_BYTES;
    r->bytes = BACKUP_MAGIC_BYTES;
    return EG_OK;
}

/* ---- bodies ------------------------------------------------------------------------ */

/* The whole body is one value of this kind. */
static bool is_one(struct value body, enum value_kind kind) {
    size_t used_bytes;

    return value_scan(body.at, body.size_bytes, &used_bytes) == EG_OK &&
           used_bytes == body.size_bytes && value_kind_of(body) == kind;
}

static struct value in_map(struct value map, const char *name) {
    struct value_iter it = value_iter_of(map);
    struct value key, v;

    while (value_iter_next(&it, &key) && value_iter_next(&it, &v))
        if (value_is_string(key, name))
            return v;
    return (struct value){0};
}

static bool number_in(struct value map, const char *name, uint64_t *out) {
    struct value v = in_map(map, name);

    return v.size_bytes != 0 && value_get_u64(v, out);
}

static eg_err read_begin(struct backup_reader *r, struct value body, struct backup_item *item,
                         struct err_note *note) {
    uint64_t format, tables;

    if (r->last != 0 || !is_one(body, VALUE_MAP) || !number_in(body, "format", &format))
        return damaged(r, note, "the file does not begin as a backup does");
    if (format != BACKUP_VERSION)
        return err_note(note, EG_CORRUPT, "a backup of format %llu, and only 1 is known",
                        (unsigned long long) format);
    item->node = in_map(body, "node");
    if (!number_in(body, "created", &item->created_ms) || !number_in(body, "tables", &tables) ||
        tables > UINT32_MAX || item->node.size_bytes == 0 ||
        value_kind_of(item->node) != VALUE_STRING)
        return damaged(r, note, "the file does not begin as a backup does");
    item->tables = r->tables = (uint32_t) tables;
    return EG_OK;
}

static eg_err read_table(struct backup_reader *r, struct value body, struct backup_item *item,
                         struct err_note *note) {
    struct err_note why = {""};
    struct schema schema;
    const uint8_t *at;
    uint32_t size_bytes;
    uint16_t arity;
    eg_err err;

    if (r->last != BACKUP_BEGIN && r->last != BACKUP_TABLE)
        return damaged(r, note, "a table stands at the wrong place");
    if (r->tables_read == r->tables || !is_one(body, VALUE_ARRAY) || value_count(body) != 2)
        return damaged(r, note, "a block is no table");
    if (!array_element(body, 0, &item->name) || !array_element(body, 1, &item->schema) ||
        value_kind_of(item->name) != VALUE_STRING || !value_get_bytes(item->name, &at, &size_bytes))
        return damaged(r, note, "a block is no table");
    err = schema_parse(&schema, r->alloc, (const char *) at, size_bytes, item->schema, &why);
    if (err == EG_BAD_REQUEST)
        return err_note(note, EG_CORRUPT, "a table that cannot be made: %s", why.text);
    if (err != EG_OK)
        return err;
    arity = (uint16_t) (schema.attribute_count - 1);
    if (r->tables_read > 0 && strcmp(r->last_name.text, schema.name.text) >= 0)
        err = damaged(r, note, "tables are not in order");
    r->last_name = schema.name;
    schema_fini(&schema);
    if (err == EG_OK && !buffer_append(&r->arity, &arity, sizeof arity))
        err = EG_MEMORY;
    item->table = r->tables_read++;
    return err;
}

/* Check that the body is `count` records and nothing else. */
static bool are_records(struct backup_item *item, uint32_t arity) {
    const uint8_t *at = item->bytes.at, *end = at + item->bytes.size_bytes;
    size_t before_bytes = item->kind == BACKUP_EXPIRING ? EXPIRY_BYTES : 0;

    for (uint32_t i = 0; i < item->count; i++) {
        struct value record;
        size_t used_bytes;

        if ((size_t) (end - at) <= before_bytes)
            return false;
        at += before_bytes;
        if (value_scan(at, (size_t) (end - at), &used_bytes) != EG_OK ||
            used_bytes > RECORD_SIZE_MAX)
            return false;
        record = (struct value){at, (uint32_t) used_bytes};
        if (value_kind_of(record) != VALUE_ARRAY || value_count(record) != arity)
            return false;
        at += used_bytes;
    }
    return at == end;
}

static eg_err read_records(struct backup_reader *r, struct value body, struct backup_item *item,
                           struct err_note *note) {
    uint16_t arity;

    if (r->last == 0 || r->last == BACKUP_END || r->tables_read != r->tables)
        return damaged(r, note, "records stand before their table");
    if (body.size_bytes < RECORDS_BYTES)
        return damaged(r, note, "a block is no records");
    item->table = (uint32_t) get_le(body.at, 4);
    item->count = (uint32_t) get_le(body.at + 4, 4);
    item->bytes = (struct value){body.at + RECORDS_BYTES, body.size_bytes - RECORDS_BYTES};
    if (item->table >= r->tables || item->count == 0 || item->count > BACKUP_RECORDS_MAX)
        return damaged(r, note, "a block is no records");
    memcpy(&arity, r->arity.at + item->table * sizeof arity, sizeof arity);
    if (!are_records(item, arity + 1u))
        return damaged(r, note, "a block has something else than records of its table");
    r->records += item->count;
    return EG_OK;
}

static eg_err read_end(struct backup_reader *r, struct value body, struct backup_item *item,
                       struct err_note *note) {
    uint64_t blocks;
    size_t there;
    eg_err err;

    if (r->last == 0 || r->last == BACKUP_END || r->tables_read != r->tables ||
        !is_one(body, VALUE_MAP) || !number_in(body, "records", &item->records) ||
        !number_in(body, "blocks", &blocks) || blocks != r->blocks || item->records != r->records)
        return damaged(r, note, "the end block does not say what was there");
    err = backup_input_fill(&r->input, 1, &there, note);
    if (err == EG_OK && there > 0)
        err = damaged(r, note, "something stands behind the end block");
    return err;
}

eg_err backup_reader_next(struct backup_reader *r, struct backup_item *item,
                          struct err_note *note) {
    const uint8_t *block = NULL;
    struct value body;
    size_t body_bytes = 0;
    eg_err err = EG_OK;

    if (r->last == BACKUP_END)
        return EG_NOT_FOUND;
    if (r->bytes == 0)
        err = read_magic(r, note);
    if (err == EG_OK)
        err = read_block(r, &block, &body_bytes, note);
    if (err != EG_OK)
        return err;
    *item = (struct backup_item){.kind = (enum backup_kind) block[4]};
    body = (struct value){block + HEAD_BYTES, (uint32_t) body_bytes};
    switch (item->kind) {
    case BACKUP_BEGIN:
        err = read_begin(r, body, item, note);
        break;
    case BACKUP_TABLE:
        err = read_table(r, body, item, note);
        break;
    case BACKUP_RECORDS:
    case BACKUP_EXPIRING:
        err = read_records(r, body, item, note);
        break;
    case BACKUP_END:
        err = read_end(r, body, item, note);
        break;
    default:
        err = damaged(r, note, "a block of no known kind");
    }
    r->last = item->kind;
    r->blocks++;
    r->bytes += HEAD_BYTES + body_bytes + SUM_BYTES;
    return err;
}

uint64_t backup_reader_bytes(const struct backup_reader *r) {
    return r->bytes;
}

struct value backup_expiring(const uint8_t **at, uint64_t *expiry_ms) {
    struct value record = value_of(*at + EXPIRY_BYTES);

    *expiry_ms = get_le(*at, EXPIRY_BYTES);
    *at = record.at + record.size_bytes;
    return record;
}

eg_err backup_reader_open(struct backup_reader **out, struct alloc *a, struct backup_source *s) {
    struct backup_reader *r = alloc_zero(a, sizeof *r);

    if (r == NULL)
        return EG_MEMORY;
    r->alloc = a;
    r->input.source = s;
    buffer_init(&r->input.in, a, (size_t) BACKUP_BLOCK_BYTES_MAX * 2);
    buffer_init(&r->arity, a, SIZE_MAX);
    *out = r;
    return EG_OK;
}

void backup_reader_close(struct backup_reader *r) {
    buffer_fini(&r->input.in);
    buffer_fini(&r->arity);
    alloc_put(r->alloc, r, sizeof *r);
}
