/* cluster_memory.c -- one row, written whole. */
#include "replication/cluster_memory.h"

enum { VERSION = 1, FIELDS_MIN = 5, FIELDS = 7, HEAD_BYTES = 64 };

static const uint8_t row_key[] = {DISC_META_CLUSTER};

static bool row_read(struct value v, struct cluster_memory *out, struct value *members) {
    struct value field[FIELDS];
    struct value_iter it;
    uint64_t version;

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) < FIELDS_MIN || value_count(v) > FIELDS)
        return false;
    it = value_iter_of(v);
    for (uint32_t i = 0; i < value_count(v); i++)
        value_iter_next(&it, &field[i]);
    *members = field[4];
    if (value_count(v) > 5 && value_kind_of(field[5]) != VALUE_NIL &&
        !electorate_get(field[5], &out->electorate))
        return false;
    out->remembers = true; /* of before it was written: as it was taken then */
    if (value_count(v) > 6 && !value_get_bool(field[6], &out->remembers))
        return false;
    return value_get_u64(field[0], &version) && version == VERSION &&
           value_get_u64(field[1], &out->incarnation) && value_get_u64(field[2], &out->born) &&
           value_get_u64(field[3], &out->epoch) && value_kind_of(field[4]) == VALUE_ARRAY;
}

eg_err cluster_memory_load(struct disc *d, struct cluster_memory *out, struct buffer *row,
                           struct value *members, struct err_note *note) {
    struct disc_slice slice;
    size_t used_bytes;
    eg_err err = disc_get(d, d->meta, (struct disc_bytes){row_key, sizeof row_key}, &slice);

    *out = (struct cluster_memory){0};
    *members = (struct value){NULL, 0};
    if (err == EG_NOT_FOUND)
        return EG_OK;
    if (err != EG_OK)
        return err;
    if (!buffer_append(row, slice.bytes.at, slice.bytes.size_bytes))
        err = EG_MEMORY;
    disc_release(d, &slice);
    if (err != EG_OK)
        return err;
    if (value_scan(row->at, row->size_bytes, &used_bytes) != EG_OK ||
        used_bytes != row->size_bytes ||
        !row_read((struct value){row->at, (uint32_t) row->size_bytes}, out, members))
        return err_note(note, EG_CORRUPT, "what the disc remembers of the cluster is damaged");
    return EG_OK;
}

static eg_err electorate_write(struct buffer *row, const struct cluster_memory *m) {
    enum { ROOM_BYTES = ELECTORATE_BYTES_MAX + 1 };
    const struct electorate *e = &m->electorate;
    uint8_t *room = buffer_room(row, ROOM_BYTES);
    struct value_writer w = value_writer_init(room, room == NULL ? 0 : ROOM_BYTES);

    if (room == NULL)
        return EG_MEMORY;
    if (e->epoch != 0)
        electorate_put(&w, e);
    else
        value_put_nil(&w);
    value_put_bool(&w, m->remembers);
    EG_ASSERT(!w.overflow);
    row->size_bytes += w.need_bytes;
    return EG_OK;
}

static eg_err row_write(struct buffer *row, const struct cluster_memory *m, const struct swim *s) {
    uint8_t head[HEAD_BYTES];
    struct value_writer w = value_writer_init(head, sizeof head);
    eg_err err;

    value_put_array(&w, FIELDS);
    value_put_u64(&w, VERSION);
    value_put_u64(&w, m->incarnation);
    value_put_u64(&w, m->born);
    value_put_u64(&w, m->epoch);
    if (s == NULL)
        value_put_array(&w, 0);
    if (!buffer_append(row, head, w.need_bytes))
        return EG_MEMORY;
    err = s != NULL ? swim_save(s, row) : EG_OK;
    return err == EG_OK ? electorate_write(row, m) : err;
}

eg_err cluster_memory_save(struct disc *d, struct alloc *a, const struct cluster_memory *m,
                           const struct swim *s) {
    struct disc_batch b;
    struct buffer row;
    eg_err err;

    buffer_init(&row, a, CLUSTER_MEMORY_BYTES_MAX);
    disc_batch_init(&b, a);
    err = disc_health(d, NULL);
    if (err == EG_OK)
        err = row_write(&row, m, s);
    if (err == EG_OK)
        err = disc_batch_put(&b, d->meta, (struct disc_bytes){row_key, sizeof row_key},
                             (struct disc_bytes){row.at, row.size_bytes});
    if (err == EG_OK)
        err = disc_write(d, &b);
    disc_batch_fini(&b);
    buffer_fini(&row);
    return err;
}

uint64_t cluster_memory_next_start(const struct cluster_memory *m, int64_t wall_ms) {
    uint64_t now = wall_ms > 0 ? (uint64_t) wall_ms << 16 : 1;
    return EG_MAX(now, m->incarnation + 1);
}
