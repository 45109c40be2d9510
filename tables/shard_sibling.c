/* shard_sibling.c -- versions of one key side by side, as they are read and replaced. */
#include "tables/shard_sibling.h"

#include "tables/merge_private.h"
#include "tables/origin.h"
#include "tables/shard_merge.h"
#include "tables/table_private.h"
#include "tables/value_append.h"

enum { CONTEXT_BYTES_MAX = 5 + MERGE_SIBLINGS_MAX * 19 /* two numbers in an array each */ };

struct family {
    struct merge_sibling member[MERGE_SIBLINGS_MAX];
    uint32_t count;
};

static struct family family_of(const struct origins *o, const struct record *rec) {
    struct family f = {.count = 0};
    struct merge_version v;

    if (rec != NULL) {
        v = shard_merge_version(o, rec);
        f.count = merge_siblings(&v, f.member);
    }
    return f;
}

/* ---- reading ------------------------------------------------------------------------------ */

static void put_records(struct value_writer *w, const void *what) {
    const struct family *f = what;

    value_put_array(w, f->count);
    for (uint32_t i = 0; i < f->count; i++)
        value_put_raw(w, f->member[i].record);
}

static void put_dot(struct value_writer *w, const struct merge_sibling *s) {
    merge_put_pair(w, (struct merge_pair){s->origin, s->sequence});
}

static void put_all(struct value_writer *w, const void *what) {
    const struct family *f = what;
    uint8_t bytes[CONTEXT_BYTES_MAX];
    struct value_writer context = value_writer_init(bytes, sizeof bytes);

    value_put_array(&context, f->count);
    for (uint32_t i = 0; i < f->count; i++)
        put_dot(&context, &f->member[i]);
    EG_ASSERT(!context.overflow);
    value_put_array(w, 2);
    put_records(w, f);
    value_put_binary(w, bytes, context.need_bytes);
}

eg_err sibling_put_records(const struct origins *o, const struct record *rec, struct buffer *out) {
    struct family f = family_of(o, rec);

    return value_append(out, put_records, &f);
}

eg_err sibling_put_all(const struct origins *o, const struct record *rec, struct buffer *out) {
    struct family f = family_of(o, rec);

    return value_append(out, put_all, &f);
}

/* ---- replacing ----------------------------------------------------------------------------- */

bool sibling_context(struct value context, struct value *replaces) {
    const uint8_t *at;
    uint32_t size_bytes;
    size_t used_bytes;

    if (value_kind_of(context) != VALUE_BINARY || !value_get_bytes(context, &at, &size_bytes) ||
        size_bytes > CONTEXT_BYTES_MAX || value_scan(at, size_bytes, &used_bytes) != EG_OK ||
        used_bytes != size_bytes)
        return false;
    *replaces = (struct value){at, size_bytes};
    return merge_replaces_is_sound(*replaces);
}

/* Room for states of our own: a shard that is alone keeps none. */
static void room_init(const struct shard_turn *t, struct buffer *room) {
    buffer_init(room, t->shard->table->world->o.alloc, 2 * (size_t) RECORD_SIZE_MAX);
}

eg_err sibling_replace(struct shard_turn *t, uint64_t expiry_ms) {
    struct buffer room;
    eg_err err;

    room_init(t, &room);
    t->state_room = &room;
    err = shard_store(t, t->request->value, expiry_ms, NULL);
    t->state_room = NULL;
    buffer_fini(&room);
    return err;
}

eg_err sibling_leave(struct shard_turn *t, const struct record *old, struct value replaces,
                     uint64_t expiry_ms) {
    struct merge_version v = shard_merge_version(t->shard->table->world->origins, old);
    struct value newest;
    struct buffer room;
    eg_err err;

    room_init(t, &room);
    err = merge_leave_siblings(&v, replaces, &newest, &room);
    if (err == EG_OK && newest.size_bytes == 0) {
        err = shard_remove(t, t->key, old);
    } else if (err == EG_OK && value_count((struct value){room.at, (uint32_t) room.size_bytes}) !=
                                   family_of(t->shard->table->world->origins, old).count) {
        t->state = (struct value){room.at, (uint32_t) room.size_bytes};
        err = shard_store(t, newest, expiry_ms, NULL);
        t->state = (struct value){NULL, 0};
    }
    buffer_fini(&room);
    return err;
}

eg_err sibling_leave_equal(struct shard_turn *t, const struct record *old, struct value array,
                           uint64_t expiry_ms) {
    struct family f = family_of(t->shard->table->world->origins, old);
    uint8_t bytes[CONTEXT_BYTES_MAX];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);
    uint32_t count = 0;

    for (uint32_t i = 0; i < f.count; i++)
        count += value_equal(f.member[i].record, array);
    if (count == 0)
        return EG_OK;
    value_put_array(&w, count);
    for (uint32_t i = 0; i < f.count; i++)
        if (value_equal(f.member[i].record, array))
            put_dot(&w, &f.member[i]);
    EG_ASSERT(!w.overflow);
    return sibling_leave(t, old, (struct value){bytes, (uint32_t) w.need_bytes}, expiry_ms);
}
