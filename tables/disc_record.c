/* disc_record.c -- row keys written straight into a batch, rows checked when read. */
#include "tables/disc_record.h"

#include "tables/key.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    KEY_ROOM_BYTES = 96,     /* first guess beside the encoded size: rarely short  */
    TAIL_HASH_BYTES = 16,    /* at the end of a cut tail                           */
    VALUE_HEADER_BYTES = 17, /* format, hlc, dot                                   */
    VALUE_EXPIRY_BYTES = 8,
    INDEX_ID_BYTES = 2,
};

/* ---- row keys ----------------------------------------------------------- */

/* A place to write that counts on past its end. */
struct span {
    uint8_t *at;
    size_t size_bytes;
    size_t used_bytes; /* past size_bytes: it did not fit */
};

static void span_put(struct span *s, const void *bytes, size_t size_bytes) {
    if (s->used_bytes + size_bytes <= s->size_bytes)
        memcpy(s->at + s->used_bytes, bytes, size_bytes);
    s->used_bytes += size_bytes;
}

static void span_put_sortable(struct span *s, struct value v) {
    size_t at = EG_MIN(s->used_bytes, s->size_bytes);
    s->used_bytes += key_sortable(v, s->at + at, s->size_bytes - at);
}

/* What tells a bag's records with one key apart: all other fields. */
static void span_put_tail(struct span *s, struct value array) {
    size_t from = s->used_bytes;
    struct value_iter it = value_iter_of(array);
    struct value field;
    XXH128_canonical_t hash;

    if (!value_iter_next(&it, &field)) /* the key itself stands before */
        return;
    while (value_iter_next(&it, &field))
        span_put_sortable(s, field);
    if (s->used_bytes > s->size_bytes || s->used_bytes - from <= DISC_TAIL_BYTES)
        return;
    XXH128_canonicalFromHash(&hash, XXH3_128bits(s->at + from, s->used_bytes - from));
    s->used_bytes = from + DISC_TAIL_BYTES - TAIL_HASH_BYTES;
    span_put(s, hash.digest, TAIL_HASH_BYTES);
}

size_t disc_row_prefix(uint8_t *buffer, uint32_t shard, enum disc_row_kind kind) {
    EG_ASSERT(shard <= UINT16_MAX);
    buffer[0] = (uint8_t) (shard >> 8);
    buffer[1] = (uint8_t) shard;
    buffer[2] = (uint8_t) kind;
    return DISC_PREFIX_BYTES;
}

/* Which row of a shard; the rest of its key follows from the record. */
struct row {
    uint32_t shard;
    enum disc_row_kind kind;
    const struct index_spec *index;
    bool bag;
};

static void span_put_index(struct span *s, uint32_t shard, uint32_t id) {
    uint8_t prefix[DISC_PREFIX_BYTES + INDEX_ID_BYTES];
    size_t prefix_bytes = disc_row_prefix(prefix, shard, DISC_ROW_INDEX);

    prefix[prefix_bytes] = (uint8_t) (id >> 8);
    prefix[prefix_bytes + 1] = (uint8_t) id;
    span_put(s, prefix, sizeof prefix);
}

static void span_put_prefix(struct span *s, uint32_t shard) {
    uint8_t prefix[DISC_PREFIX_BYTES];

    span_put(s, prefix, disc_row_prefix(prefix, shard, DISC_ROW_RECORD));
}

static size_t row_key_write(uint8_t *buffer, size_t size_bytes, struct row row,
                            const struct record *rec) {
    struct span s = {buffer, size_bytes, 0};

    if (row.kind == DISC_ROW_INDEX) {
        span_put_index(&s, row.shard, row.index->id);
        for (uint32_t i = 0; i < row.index->part_count; i++)
            span_put_sortable(&s, index_spec_field(row.index, i, record_value(rec)));
    } else {
        span_put_prefix(&s, row.shard);
    }
    span_put_sortable(&s, record_key(rec));
    if (row.bag)
        span_put_tail(&s, record_value(rec));
    return s.used_bytes;
}

size_t disc_row_key(uint8_t *buffer, size_t size_bytes, uint32_t shard, struct value key) {
    struct span s = {buffer, size_bytes, 0};

    span_put_prefix(&s, shard);
    span_put_sortable(&s, key);
    return s.used_bytes;
}

size_t disc_row_index(uint8_t *buffer, size_t size_bytes, uint32_t shard, uint32_t id,
                      const struct value *parts, uint32_t count) {
    struct span s = {buffer, size_bytes, 0};

    span_put_index(&s, shard, id);
    for (uint32_t i = 0; i < count; i++)
        span_put_sortable(&s, parts[i]);
    return s.used_bytes;
}

size_t disc_row_index_of(uint8_t *buffer, size_t size_bytes, uint32_t shard,
                         const struct index_spec *x, const struct value *parts, bool bag) {
    struct span s = {buffer, size_bytes, 0};

    span_put_index(&s, shard, x->id);
    for (uint32_t i = 0; i <= x->part_count; i++) /* the key too */
        span_put_sortable(&s, parts[i]);
    if (bag)
        span_put_tail(&s, parts[x->part_count + 1]);
    return s.used_bytes;
}

size_t disc_row_index_parts(struct disc_bytes row, uint32_t count) {
    size_t at = DISC_PREFIX_BYTES + INDEX_ID_BYTES;

    for (uint32_t i = 0; i < count; i++) {
        size_t bytes =
            at >= row.size_bytes ? 0 : key_sortable_skip(row.at + at, row.size_bytes - at);
        if (bytes == 0)
            return 0;
        at += bytes;
    }
    return at;
}

size_t disc_row_key_of(uint8_t *buffer, size_t size_bytes, uint32_t shard, const struct record *rec,
                       bool bag) {
    return row_key_write(buffer, size_bytes, (struct row){shard, DISC_ROW_RECORD, NULL, bag}, rec);
}

/* ---- into a batch ------------------------------------------------------- */

/* Write a row's key into the batch's next change, leaving room for a value.
 * NULL: no memory. */
static uint8_t *batch_row(struct disc_batch *b, struct row row, const struct record *rec,
                          size_t value_bytes, size_t *key_bytes) {
    size_t room_bytes = 2 * (size_t) record_key(rec).size_bytes + KEY_ROOM_BYTES;
    uint8_t *room;

    for (;;) {
        room = disc_batch_room(b, room_bytes, value_bytes);
        if (room == NULL)
            return NULL;
        *key_bytes = row_key_write(room, room_bytes, row, rec);
        if (EG_LIKELY(*key_bytes <= room_bytes))
            return room;
        room_bytes = *key_bytes;
    }
}

static uint8_t *put_le64(uint8_t *at, uint64_t n) {
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t) (n >> (8 * i));
    return at + 8;
}

static uint64_t get_le64(const uint8_t *at) {
    uint64_t n = 0;
    for (int i = 0; i < 8; i++)
        n |= (uint64_t) at[i] << (8 * i);
    return n;
}

eg_err disc_record_put(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                       const struct record *rec, bool bag) {
    struct value state = record_state(rec);
    uint32_t body_bytes = record_array_bytes(rec) + state.size_bytes; /* one behind the other */
    uint64_t expiry_ms = record_expiry_ms(rec);
    size_t header_bytes = VALUE_HEADER_BYTES + (expiry_ms != 0 ? VALUE_EXPIRY_BYTES : 0);
    size_t key_bytes;
    uint8_t *at = batch_row(b, (struct row){shard, DISC_ROW_RECORD, NULL, bag}, rec,
                            header_bytes + body_bytes, &key_bytes);

    if (at == NULL)
        return EG_MEMORY;
    at += key_bytes;
    *at++ = (uint8_t) (DISC_RECORD_FORMAT | (expiry_ms != 0 ? DISC_RECORD_EXPIRES : 0) |
                       (state.size_bytes != 0 ? DISC_RECORD_STATE : 0));
    at = put_le64(at, rec->hlc);
    at = put_le64(at, rec->dot);
    if (expiry_ms != 0)
        at = put_le64(at, expiry_ms);
    memcpy(at, record_array(rec), body_bytes);
    disc_batch_commit(b, DISC_PUT, t, key_bytes, header_bytes + body_bytes);
    return EG_OK;
}

/* Append a change that is all key. */
static eg_err batch_key(struct disc_batch *b, enum disc_change_kind kind, struct disc_table *t,
                        struct row row, const struct record *rec) {
    size_t key_bytes;

    if (batch_row(b, row, rec, 0, &key_bytes) == NULL)
        return EG_MEMORY;
    disc_batch_commit(b, kind, t, key_bytes, 0);
    return EG_OK;
}

eg_err disc_record_del(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                       const struct record *rec, bool bag) {
    return batch_key(b, DISC_DEL, t, (struct row){shard, DISC_ROW_RECORD, NULL, bag}, rec);
}

eg_err disc_record_put_index(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                             const struct index_spec *x, const struct record *rec, bool bag) {
    return batch_key(b, DISC_PUT, t, (struct row){shard, DISC_ROW_INDEX, x, bag}, rec);
}

eg_err disc_record_del_index(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                             const struct index_spec *x, const struct record *rec, bool bag) {
    return batch_key(b, DISC_DEL, t, (struct row){shard, DISC_ROW_INDEX, x, bag}, rec);
}

/* The row of a grave in the batch's next change; NULL: no memory. */
static uint8_t *batch_grave(struct disc_batch *b, uint32_t shard, struct value v, bool bag,
                            size_t value_bytes, size_t *key_bytes) {
    size_t room_bytes = 2 * (size_t) v.size_bytes + KEY_ROOM_BYTES + DISC_TAIL_BYTES;

    for (;;) {
        uint8_t prefix[DISC_PREFIX_BYTES];
        uint8_t *room = disc_batch_room(b, room_bytes, value_bytes);
        struct span s = {room, room_bytes, 0};

        if (room == NULL)
            return NULL;
        span_put(&s, prefix, disc_row_prefix(prefix, shard, DISC_ROW_GRAVE));
        span_put_sortable(&s, bag ? value_of(value_iter_of(v).at) : v);
        if (bag)
            span_put_tail(&s, v);
        *key_bytes = s.used_bytes;
        if (EG_LIKELY(s.used_bytes <= room_bytes))
            return room;
        room_bytes = s.used_bytes;
    }
}

eg_err disc_record_put_grave(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                             struct value v, bool bag, struct record_version version) {
    size_t key_bytes, value_bytes = VALUE_HEADER_BYTES + (size_t) v.size_bytes;
    uint8_t *at = batch_grave(b, shard, v, bag, value_bytes, &key_bytes);

    if (at == NULL)
        return EG_MEMORY;
    at += key_bytes;
    *at++ = DISC_RECORD_FORMAT;
    at = put_le64(at, version.hlc);
    at = put_le64(at, version.dot);
    memcpy(at, v.at, v.size_bytes);
    disc_batch_commit(b, DISC_PUT, t, key_bytes, value_bytes);
    return EG_OK;
}

eg_err disc_record_del_grave(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                             struct value v, bool bag) {
    size_t key_bytes;

    if (batch_grave(b, shard, v, bag, 0, &key_bytes) == NULL)
        return EG_MEMORY;
    disc_batch_commit(b, DISC_DEL, t, key_bytes, 0);
    return EG_OK;
}

eg_err disc_record_put_clock(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                             struct disc_bytes clock) {
    uint8_t key[DISC_PREFIX_BYTES];
    size_t key_bytes = disc_row_prefix(key, shard, DISC_ROW_CLOCK);

    return disc_batch_put(b, t, (struct disc_bytes){key, key_bytes}, clock);
}

enum { PART_KEY_BYTES = DISC_PREFIX_BYTES + 16, MADE_KEY_BYTES };

static struct disc_bytes part_key(uint8_t key[PART_KEY_BYTES], uint32_t shard,
                                  const uint64_t id[2]) {
    size_t prefix_bytes = disc_row_prefix(key, shard, DISC_ROW_PART);

    memcpy(key + prefix_bytes, id, 16);
    return (struct disc_bytes){key, prefix_bytes + 16};
}

eg_err disc_record_put_part(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                            const uint64_t id[2], struct disc_bytes head_and_part) {
    uint8_t key[PART_KEY_BYTES];

    return disc_batch_put(b, t, part_key(key, shard, id), head_and_part);
}

eg_err disc_record_del_part(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                            const uint64_t id[2]) {
    uint8_t key[PART_KEY_BYTES];

    return disc_batch_del(b, t, part_key(key, shard, id));
}

enum { DONE = 0xc3 }; /* no part begins so */

eg_err disc_record_put_done(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                            const uint64_t id[2]) {
    static const uint8_t done = DONE;
    uint8_t key[PART_KEY_BYTES];

    return disc_batch_put(b, t, part_key(key, shard, id), (struct disc_bytes){&done, 1});
}

static struct disc_bytes made_key(uint8_t key[MADE_KEY_BYTES], uint32_t shard,
                                  const uint64_t id[2]) {
    (void) part_key(key, shard, id);
    key[PART_KEY_BYTES] = 0;
    return (struct disc_bytes){key, MADE_KEY_BYTES};
}

eg_err disc_record_put_made(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                            const uint64_t id[2], uint32_t count) {
    uint8_t key[MADE_KEY_BYTES], value[4];

    for (unsigned i = 0; i < sizeof value; i++)
        value[i] = (uint8_t) (count >> (8 * i));
    return disc_batch_put(b, t, made_key(key, shard, id), (struct disc_bytes){value, sizeof value});
}

eg_err disc_record_del_made(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                            const uint64_t id[2]) {
    uint8_t key[MADE_KEY_BYTES];

    return disc_batch_del(b, t, made_key(key, shard, id));
}

eg_err disc_record_get_made(struct disc *d, struct disc_table *t, uint32_t shard,
                            const uint64_t id[2], uint32_t *count) {
    uint8_t key[MADE_KEY_BYTES];
    struct disc_bytes row = made_key(key, shard, id);
    struct disc_slice found;
    uint64_t same[2];
    eg_err err;

    *count = 0;
    err = disc_get(d, t, row, &found);
    if (err == EG_NOT_FOUND)
        return EG_OK;
    if (err != EG_OK)
        return err;
    err = disc_record_is_made(row, found.bytes, same, count) ? EG_OK : EG_CORRUPT;
    disc_release(d, &found);
    return err;
}

bool disc_record_is_done(struct disc_bytes key, struct disc_bytes value, uint64_t id[2]) {
    if (key.size_bytes != PART_KEY_BYTES || value.size_bytes != 1 || value.at[0] != DONE)
        return false;
    memcpy(id, key.at + DISC_PREFIX_BYTES, 16);
    return true;
}

bool disc_record_is_made(struct disc_bytes key, struct disc_bytes value, uint64_t id[2],
                         uint32_t *count) {
    if (key.size_bytes != MADE_KEY_BYTES || value.size_bytes != 4)
        return false;
    memcpy(id, key.at + DISC_PREFIX_BYTES, 16);
    *count = 0;
    for (unsigned i = 0; i < 4; i++)
        *count |= (uint32_t) value.at[i] << (8 * i);
    return true;
}

eg_err disc_record_clear(struct disc_batch *b, struct disc_table *t, uint32_t shard) {
    uint8_t from[DISC_PREFIX_BYTES], to[DISC_PREFIX_BYTES];
    size_t from_bytes = disc_row_prefix(from, shard, DISC_ROW_RECORD);
    size_t to_bytes = disc_row_prefix(to, shard, DISC_ROW_END);

    return disc_batch_del_range(b, t, (struct disc_bytes){from, from_bytes},
                                (struct disc_bytes){to, to_bytes});
}

eg_err disc_record_drop_index(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                              uint32_t id) {
    uint8_t from[DISC_PREFIX_BYTES + INDEX_ID_BYTES], to[DISC_PREFIX_BYTES + INDEX_ID_BYTES];

    disc_row_index(from, sizeof from, shard, id, NULL, 0);
    disc_row_index(to, sizeof to, shard, id + 1, NULL, 0);
    return disc_batch_del_range(b, t, (struct disc_bytes){from, sizeof from},
                                (struct disc_bytes){to, sizeof to});
}

/* ---- reading back ------------------------------------------------------- */

/* One whole value at the beginning of what is left. */
static bool take_value(struct disc_bytes *left, struct value *out) {
    size_t used_bytes;

    if (value_scan(left->at, left->size_bytes, &used_bytes) != EG_OK ||
        used_bytes > RECORD_SIZE_MAX)
        return false;
    *out = (struct value){left->at, (uint32_t) used_bytes};
    left->at += used_bytes;
    left->size_bytes -= used_bytes;
    return true;
}

eg_err disc_record_read(struct disc_record *out, struct disc_bytes value, uint32_t arity) {
    enum { FLAGS = DISC_RECORD_EXPIRES | DISC_RECORD_STATE };
    const uint8_t *at = value.at;
    size_t header_bytes = VALUE_HEADER_BYTES;
    struct value array, state = {NULL, 0};
    struct disc_bytes left;

    if (value.size_bytes < VALUE_HEADER_BYTES)
        return EG_CORRUPT;
    if ((at[0] & ~FLAGS) != DISC_RECORD_FORMAT)
        return EG_CORRUPT;
    if (at[0] & DISC_RECORD_EXPIRES)
        header_bytes += VALUE_EXPIRY_BYTES;
    if (value.size_bytes <= header_bytes)
        return EG_CORRUPT;
    left = (struct disc_bytes){at + header_bytes, value.size_bytes - header_bytes};
    if (!take_value(&left, &array) || ((at[0] & DISC_RECORD_STATE) && !take_value(&left, &state)) ||
        left.size_bytes != 0)
        return EG_CORRUPT;
    if (value_kind_of(array) != VALUE_ARRAY || value_count(array) == 0)
        return EG_CORRUPT;
    if (arity != 0 && value_count(array) != arity)
        return EG_CORRUPT;
    out->version = (struct record_version){get_le64(at + 1), get_le64(at + 9)};
    out->expiry_ms = at[0] & DISC_RECORD_EXPIRES ? get_le64(at + VALUE_HEADER_BYTES) : 0;
    out->array = array;
    out->state = state;
    return EG_OK;
}

eg_err disc_record_read_grave(struct disc_bytes row, struct record_version *version,
                              struct value *v) {
    size_t value_bytes, used_bytes;

    if (row.size_bytes <= VALUE_HEADER_BYTES || row.at[0] != DISC_RECORD_FORMAT)
        return EG_CORRUPT;
    value_bytes = row.size_bytes - VALUE_HEADER_BYTES;
    if (value_bytes > RECORD_SIZE_MAX ||
        value_scan(row.at + VALUE_HEADER_BYTES, value_bytes, &used_bytes) != EG_OK ||
        used_bytes != value_bytes)
        return EG_CORRUPT;
    *version = (struct record_version){get_le64(row.at + 1), get_le64(row.at + 9)};
    *v = (struct value){row.at + VALUE_HEADER_BYTES, (uint32_t) value_bytes};
    return EG_OK;
}
