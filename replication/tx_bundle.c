/* tx_bundle.c -- which shards a transaction is about, and what of it is whose. */
#include "replication/tx_bundle.h"

#include "engine/buffer.h"
#include "tables/table.h"

#include <stdlib.h>
#include <string.h>

enum { FIELDS = 8, PLACE_FIELDS = 5, HEAD_BYTES = 80, PLACE_BYTES = SCHEMA_NAME_MAX + 48 };

/* ---- writing --------------------------------------------------------------------------------- */

struct site {
    struct table *table;
    uint64_t id; /* the table's: the order does not hang on where it lies */
    uint32_t shard;
};

static int compare(const void *a, const void *b) {
    const struct site *x = a, *y = b;

    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return (x->shard > y->shard) - (x->shard < y->shard);
}

static bool add(struct buffer *sites, struct table *t, uint32_t shard) {
    const struct site s = {t, table_schema(t)->id, shard};
    const struct site *last = (const struct site *) (const void *) sites->at;

    if (sites->size_bytes != 0 && compare(&s, last + sites->size_bytes / sizeof s - 1) == 0)
        return true;
    return buffer_append(sites, &s, sizeof s);
}

/* Each that is touched, once, in order.  False: no memory. */
static bool find_sites(const struct transact *x, struct buffer *sites, uint32_t *count) {
    struct site *s;
    uint32_t found, kept = 0;
    bool fits = true;

    for (uint32_t i = 0; i < x->seen_count && fits; i++)
        fits = add(sites, x->seen[i].table, x->seen[i].shard);
    for (uint32_t i = 0; i < x->question_count && fits; i++)
        fits = add(sites, x->question[i].table, x->question[i].shard);
    for (uint32_t i = 0; i < x->want_count && fits; i++)
        fits = add(sites, x->want[i].table, x->want[i].shard);
    s = (struct site *) (void *) sites->at;
    found = (uint32_t) (sites->size_bytes / sizeof *s);
    if (found != 0)
        qsort(s, found, sizeof *s, compare);
    for (uint32_t i = 0; i < found; i++)
        if (kept == 0 || compare(&s[kept - 1], &s[i]) != 0)
            s[kept++] = s[i];
    *count = kept;
    return fits;
}

static eg_err put_site(struct buffer *out, const struct tx_commit *c, const struct site *s) {
    const struct schema_name *name = table_name(s->table);
    uint8_t *room = buffer_room(out, PLACE_BYTES);
    struct value_writer w;

    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, PLACE_BYTES);
    value_put_string(&w, name->text, name->size_bytes);
    value_put_u64(&w, s->id);
    value_put_u64(&w, schema_records_id(table_schema(s->table)));
    value_put_u64(&w, s->shard);
    EG_ASSERT(!w.overflow);
    out->size_bytes += w.need_bytes;
    return transact_pack_part(c->what, s->table, s->shard, out);
}

static eg_err put_head(struct buffer *out, const struct tx_commit *c, bool logs, uint32_t count) {
    uint8_t *room = buffer_room(out, HEAD_BYTES);
    struct value_writer w;

    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, HEAD_BYTES);
    value_put_array(&w, FIELDS);
    value_put_u64(&w, c->id.high);
    value_put_u64(&w, c->id.low);
    value_put_u64(&w, c->age.ms);
    value_put_u64(&w, c->age.node);
    value_put_u64(&w, c->age.count);
    value_put_u64(&w, c->deadline_ms);
    value_put_u64(&w, logs);
    value_put_array(&w, PLACE_FIELDS * count);
    EG_ASSERT(!w.overflow);
    out->size_bytes += w.need_bytes;
    return EG_OK;
}

eg_err tx_bundle_put(struct buffer *out, const struct tx_commit *c) {
    struct buffer sites;
    const struct site *s;
    uint32_t count;
    bool logs = false;
    eg_err err;

    buffer_init(&sites, out->alloc, SIZE_MAX);
    err = find_sites(c->what, &sites, &count) ? EG_OK : EG_MEMORY;
    s = (const struct site *) (const void *) sites.at;
    if (err == EG_OK && count > TRANSACT_PARTS_MAX)
        err = EG_TOO_LARGE;
    for (uint32_t i = 0; i < count && err == EG_OK; i++)
        logs |= table_schema(s[i].table)->storage != STORAGE_RAM;
    if (err == EG_OK)
        err = put_head(out, c, logs, count);
    for (uint32_t i = 0; i < count && err == EG_OK; i++)
        err = put_site(out, c, &s[i]);
    buffer_fini(&sites);
    return err;
}

/* ---- reading --------------------------------------------------------------------------------- */

bool tx_bundle_next(struct value_iter *places, struct tx_place *out) {
    struct value name;
    uint64_t shard;

    if (!value_iter_next(places, &name) || value_kind_of(name) != VALUE_STRING ||
        !value_get_bytes(name, &out->name.at, &out->name.size_bytes) ||
        !value_iter_u64(places, &out->table) || !value_iter_u64(places, &out->records) ||
        !value_iter_u64(places, &shard) || shard >= SCHEMA_SHARDS_MAX ||
        !value_iter_next(places, &out->part))
        return false;
    out->shard = (uint32_t) shard;
    return true;
}

bool tx_bundle_get(struct value v, struct tx_bundle *out) {
    struct value_iter it;
    struct value places;
    struct tx_place place;
    uint64_t logs;

    if (v.size_bytes == 0 || value_kind_of(v) != VALUE_ARRAY || value_count(v) != FIELDS)
        return false;
    it = value_iter_of(v);
    if (!value_iter_u64(&it, &out->id.high) || !value_iter_u64(&it, &out->id.low) ||
        !value_iter_u64(&it, &out->age.ms) || !value_iter_u64(&it, &out->age.node) ||
        !value_iter_u64(&it, &out->age.count) || !value_iter_u64(&it, &out->deadline_ms) ||
        !value_iter_u64(&it, &logs) || !value_iter_next(&it, &places) ||
        value_kind_of(places) != VALUE_ARRAY || value_count(places) % PLACE_FIELDS != 0 ||
        value_count(places) / PLACE_FIELDS > TRANSACT_PARTS_MAX)
        return false;
    out->logs = logs != 0;
    out->count = value_count(places) / PLACE_FIELDS;
    out->places = it = value_iter_of(places);
    for (uint32_t i = 0; i < out->count; i++)
        if (!tx_bundle_next(&it, &place))
            return false;
    return true;
}
