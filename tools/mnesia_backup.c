/* mnesia_backup.c -- items of a disk_log, and what Mnesia means by them. */
#include "tools/mnesia_backup.h"

#include <string.h>

enum {
    FILE_HEAD_BYTES = 8,
    ITEM_HEAD_BYTES = 8,
    MD5_FROM_BYTES = 65528,
    MD5_BYTES = 16,
    ITEM_BYTES_MAX = 128 << 20, /* a record of 16 MiB takes less as a term, but for lists */
};

struct mnesia_reader {
    struct alloc *alloc;
    struct backup_input input;
    bool characters;
    bool begun; /* the file's head has been read */
    bool first; /* the log's header has          */
    uint64_t bytes;
    struct pack table, value; /* of the item */
};

static eg_err damaged(const struct mnesia_reader *r, struct err_note *note, const char *why) {
    return err_note(note, EG_CORRUPT, "%s, at byte %llu", why, (unsigned long long) r->bytes);
}

/* ---- bytes ---------------------------------------------------------------------------- */

static void take(struct mnesia_reader *r, size_t size_bytes) {
    r->input.taken_bytes += size_bytes;
    r->bytes += size_bytes;
}

static eg_err read_file_head(struct mnesia_reader *r, struct err_note *note) {
    static const uint8_t magic[] = {1, 2, 3, 4}, closed[] = {99, 88, 77, 11},
                         opened[] = {6, 7, 8, 9};
    const uint8_t *at;
    size_t there;
    eg_err err = backup_input_fill(&r->input, FILE_HEAD_BYTES, &there, note);

    if (err != EG_OK)
        return err;
    at = r->input.in.at + r->input.taken_bytes;
    if (there < FILE_HEAD_BYTES || memcmp(at, magic, sizeof magic) != 0)
        return err_note(note, EG_CORRUPT, "this is no backup of Mnesia");
    if (memcmp(at + 4, opened, sizeof opened) == 0)
        return err_note(note, EG_CORRUPT, "the backup was not finished: its log is still open");
    if (memcmp(at + 4, closed, sizeof closed) != 0)
        return err_note(note, EG_CORRUPT, "this is no backup of Mnesia");
    take(r, FILE_HEAD_BYTES);
    r->begun = true;
    return EG_OK;
}

static uint32_t big_endian(const uint8_t *at) {
    return (uint32_t) at[0] << 24 | (uint32_t) at[1] << 16 | (uint32_t) at[2] << 8 | at[3];
}

/* The next item's term, behind its version byte. */
static eg_err read_item(struct mnesia_reader *r, struct etf *term, struct err_note *note) {
    static const uint8_t magic[] = {98, 87, 76, 65};
    size_t there, size_bytes, head_bytes = ITEM_HEAD_BYTES;
    const uint8_t *at;
    eg_err err = backup_input_fill(&r->input, ITEM_HEAD_BYTES, &there, note);

    if (err != EG_OK)
        return err;
    if (there == 0)
        return EG_NOT_FOUND;
    at = r->input.in.at + r->input.taken_bytes;
    if (there < ITEM_HEAD_BYTES || memcmp(at + 4, magic, sizeof magic) != 0)
        return damaged(r, note, "the log is damaged");
    size_bytes = big_endian(at);
    if (size_bytes >= MD5_FROM_BYTES)
        head_bytes += MD5_BYTES;
    if (size_bytes > ITEM_BYTES_MAX)
        return damaged(r, note, "an item is larger than any record can be");
    err = backup_input_fill(&r->input, head_bytes + size_bytes, &there, note);
    if (err != EG_OK)
        return err;
    at = r->input.in.at + r->input.taken_bytes;
    if (there < head_bytes + size_bytes)
        return damaged(r, note, "the file ends inside an item");
    if (size_bytes < 1 || at[head_bytes] != ETF_VERSION)
        return damaged(r, note, "an item is no Erlang term");
    *term = (struct etf){at + head_bytes + 1, at + head_bytes + size_bytes, r->characters};
    take(r, head_bytes + size_bytes);
    return EG_OK;
}

/* ---- tables ------------------------------------------------------------------------------ */

/* The value of {Name, Value} in a list of pairs, or one of size 0. */
static struct value in_pairs(struct value list, const char *name) {
    struct value_iter it = value_iter_of(list);
    struct value pair, key, v;

    while (value_iter_next(&it, &pair))
        if (value_kind_of(pair) == VALUE_ARRAY && value_count(pair) == 2 &&
            array_element(pair, 0, &key) && value_is_string(key, name) &&
            array_element(pair, 1, &v))
            return v;
    return (struct value){0};
}

static bool is_list(struct value v) {
    return v.size_bytes != 0 && value_kind_of(v) == VALUE_ARRAY;
}

static bool are_names(struct value list) {
    struct value_iter it;
    struct value v;

    if (!is_list(list) || value_count(list) == 0)
        return false;
    it = value_iter_of(list);
    while (value_iter_next(&it, &v))
        if (value_kind_of(v) != VALUE_STRING)
            return false;
    return true;
}

static const char *storage_of(struct value list) {
    struct value disc_only = in_pairs(list, "disc_only_copies"),
                 disc = in_pairs(list, "disc_copies");

    if (is_list(disc_only) && value_count(disc_only) > 0)
        return "disc_only";
    return is_list(disc) && value_count(disc) > 0 ? "disc" : "ram";
}

/* Positions count from 1 and the record's name is the first: the key is at 2.  An index is a
 * position or {Position, Kind}; those of plugins have names, and nothing like them here. */
static void put_indexes(struct pack *out, struct value list, struct value attributes) {
    struct value names[SCHEMA_INDEXES_MAX];
    struct value_iter it;
    struct value v;
    uint32_t count = 0;

    if (is_list(list)) {
        it = value_iter_of(list);
        while (value_iter_next(&it, &v) && count < SCHEMA_INDEXES_MAX) {
            uint64_t position;

            if (value_kind_of(v) == VALUE_ARRAY && !array_element(v, 0, &v))
                continue;
            if (value_get_u64(v, &position) && position > 2 && position < UINT32_MAX &&
                array_element(attributes, (uint32_t) position - 2, &names[count]))
                count++;
        }
    }
    pack_text(out, "index");
    pack_array(out, count);
    for (uint32_t i = 0; i < count; i++)
        pack_raw(out, names[i]);
}

/* {schema, Table, Options}: what create_table wants. */
static eg_err read_table(struct mnesia_reader *r, struct etf *term, struct mnesia_item *item,
                         struct err_note *note) {
    struct pack options;
    struct value list, type, attributes, majority;
    bool yes = false;
    eg_err err;

    pack_init(&options, r->alloc);
    term->characters = false; /* [10] is an index, and no line feed */
    err = etf_read(term, &options, note);
    if (err != EG_OK)
        goto done;
    list = pack_value(&options);
    if (!is_list(list) || !are_names(in_pairs(list, "attributes"))) {
        err = damaged(r, note, "a table without attributes");
        goto done;
    }
    type = in_pairs(list, "type");
    attributes = in_pairs(list, "attributes");
    majority = in_pairs(list, "majority");
    pack_map(&r->value, 5);
    pack_text(&r->value, "type");
    if (type.size_bytes != 0)
        pack_raw(&r->value, type);
    else
        pack_text(&r->value, "set");
    pack_text(&r->value, "storage");
    pack_text(&r->value, storage_of(list));
    pack_text(&r->value, "attributes");
    pack_raw(&r->value, attributes);
    put_indexes(&r->value, in_pairs(list, "index"), attributes);
    pack_text(&r->value, "majority");
    pack_bool(&r->value, majority.size_bytes != 0 && value_get_bool(majority, &yes) && yes);
    item->kind = MNESIA_TABLE;
    if (r->value.failed)
        err = EG_MEMORY;
done:
    pack_fini(&options);
    return err;
}

/* ---- items ---------------------------------------------------------------------------------- */

static eg_err check_header(struct mnesia_reader *r, struct err_note *note) {
    struct etf term;
    uint32_t arity;
    struct value v;
    eg_err err = read_item(r, &term, note);

    if (err == EG_NOT_FOUND)
        return damaged(r, note, "the file ends before its header");
    if (err == EG_OK)
        err = etf_enter_tuple(&term, &arity, note);
    for (uint32_t i = 0; i < 2 && err == EG_OK; i++) {
        if (i >= arity)
            return damaged(r, note, "the log has no header");
        pack_clear(&r->table);
        err = etf_read(&term, &r->table, note);
        if (err != EG_OK)
            break;
        v = pack_value(&r->table);
        if (!value_is_string(v, i == 0 ? "log_header" : "backup_log"))
            return damaged(r, note, "this log is no backup of Mnesia");
    }
    r->first = err == EG_OK;
    return err;
}

static eg_err read_record(struct mnesia_reader *r, struct etf *term, uint32_t arity,
                          struct mnesia_item *item, struct err_note *note) {
    eg_err err = EG_OK;

    item->kind = arity == 2 ? MNESIA_DELETE : MNESIA_RECORD;
    if (arity > 2)
        pack_array(&r->value, arity - 1);
    for (uint32_t i = 1; i < arity && err == EG_OK; i++)
        err = etf_read(term, &r->value, note);
    if (err == EG_OK && term->at != term->end)
        return damaged(r, note, "something stands behind a term");
    return err;
}

/* One item.  EG_AGAIN: it means nothing here. */
static eg_err next_item(struct mnesia_reader *r, struct mnesia_item *item, struct err_note *note) {
    struct etf term;
    uint32_t arity;
    eg_err err = read_item(r, &term, note);

    if (err == EG_OK)
        err = etf_enter_tuple(&term, &arity, note);
    if (err != EG_OK)
        return err;
    if (arity < 2)
        return damaged(r, note, "an item is no record");
    pack_clear(&r->table);
    pack_clear(&r->value);
    err = etf_read(&term, &r->table, note);
    if (err != EG_OK)
        return err;
    if (value_kind_of(pack_value(&r->table)) != VALUE_STRING)
        return damaged(r, note, "an item is no record");
    if (!value_is_string(pack_value(&r->table), "schema")) {
        err = read_record(r, &term, arity, item, note);
    } else if (arity != 3) {
        return EG_AGAIN; /* {schema, Table}: it has been dropped */
    } else {
        pack_clear(&r->table);
        err = etf_read(&term, &r->table, note);
        if (err == EG_OK && value_kind_of(pack_value(&r->table)) != VALUE_STRING)
            return damaged(r, note, "a table without a name");
        if (err == EG_OK && value_is_string(pack_value(&r->table), "schema"))
            return EG_AGAIN; /* the table of tables itself */
        if (err == EG_OK)
            err = read_table(r, &term, item, note);
    }
    if (err != EG_OK)
        return err;
    item->table = pack_value(&r->table);
    item->value = pack_value(&r->value);
    return EG_OK;
}

eg_err mnesia_reader_next(struct mnesia_reader *r, struct mnesia_item *item,
                          struct err_note *note) {
    eg_err err = r->begun ? EG_OK : read_file_head(r, note);

    if (err == EG_OK && !r->first)
        err = check_header(r, note);
    if (err != EG_OK)
        return err;
    do
        err = next_item(r, item, note);
    while (err == EG_AGAIN);
    if (err == EG_TOO_LARGE)
        err = EG_BAD_RECORD;
    if (err == EG_BAD_RECORD)
        err_note_prefix(note, "before byte %llu", (unsigned long long) r->bytes);
    return err;
}

uint64_t mnesia_reader_bytes(const struct mnesia_reader *r) {
    return r->bytes;
}

eg_err mnesia_reader_open(struct mnesia_reader **out, struct alloc *a, struct backup_source *s,
                          bool characters) {
    struct mnesia_reader *r = alloc_zero(a, sizeof *r);

    if (r == NULL)
        return EG_MEMORY;
    r->alloc = a;
    r->input.source = s;
    r->characters = characters;
    buffer_init(&r->input.in, a, (size_t) ITEM_BYTES_MAX * 2);
    pack_init(&r->table, a);
    pack_init(&r->value, a);
    *out = r;
    return EG_OK;
}

void mnesia_reader_close(struct mnesia_reader *r) {
    buffer_fini(&r->input.in);
    pack_fini(&r->table);
    pack_fini(&r->value);
    alloc_put(r->alloc, r, sizeof *r);
}
