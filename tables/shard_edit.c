/* shard_edit.c -- new records made from old ones. */
#include "tables/shard_edit.h"

#include "engine/env.h"
#include "tables/shard_unique.h"
#include "tables/shard_watch.h"
#include "tables/table_private.h"

#include <string.h>

enum { NUMBER_BYTES = 9 }; /* the longest MessagePack number */

eg_err shard_edit_changes(const struct schema *s, struct value map,
                          struct value change[SCHEMA_ATTRIBUTES_MAX], struct err_note *note) {
    struct value_iter it;
    struct value name, v;

    if (value_kind_of(map) != VALUE_MAP)
        return err_note(note, EG_BAD_REQUEST, "changes are a map of attributes");
    memset(change, 0, s->attribute_count * sizeof *change);
    it = value_iter_of(map);
    while (value_iter_next(&it, &name) && value_iter_next(&it, &v)) {
        const uint8_t *at;
        uint32_t size_bytes;
        int position;

        if (value_kind_of(name) != VALUE_STRING || !value_get_bytes(name, &at, &size_bytes))
            return err_note(note, EG_BAD_REQUEST, "an attribute's name is a string");
        position = schema_attribute(s, (const char *) at, size_bytes);
        if (position < 0)
            return err_note(note, EG_BAD_REQUEST, "no attribute %.*s",
                            (int) EG_MIN(size_bytes, 64u), (const char *) at);
        if (position == 0)
            return err_note(note, EG_BAD_REQUEST, "the key cannot be changed");
        change[position] = v;
    }
    return EG_OK;
}

/* The array [change or old field, ...]. */
static eg_err merged(struct shard_turn *t, const struct record *old, const struct value *change,
                     uint32_t count, struct value *array) {
    struct value_iter it = value_iter_of(record_value(old));
    size_t size_bytes = 5;
    struct value_writer w;
    struct value field;
    uint8_t *at;

    for (uint32_t i = 0; i < count; i++)
        size_bytes += change[i].size_bytes;
    size_bytes += record_array_bytes(old);
    if (size_bytes > RECORD_SIZE_MAX)
        return err_note(t->note, EG_TOO_LARGE, "the record would be larger than 16 MiB");
    at = reader_scratch(t->reader, size_bytes);
    if (at == NULL)
        return EG_MEMORY;
    w = value_writer_init(at, size_bytes);
    value_put_array(&w, count);
    for (uint32_t i = 0; i < count && value_iter_next(&it, &field); i++)
        value_put_raw(&w, change[i].size_bytes != 0 ? change[i] : field);
    EG_ASSERT(!w.overflow);
    *array = (struct value){at, (uint32_t) w.need_bytes};
    return EG_OK;
}

eg_err shard_edit_update(struct shard_turn *t, const struct record *old, struct value *array) {
    const struct schema *schema = schema_of(t->shard->table);
    struct value change[SCHEMA_ATTRIBUTES_MAX];
    eg_err err = shard_edit_changes(schema, t->request->value, change, t->note);

    return err != EG_OK ? err : merged(t, old, change, schema->attribute_count, array);
}

/* [key, nil, ..., number, ..., nil] */
static eg_err fresh_counter(struct shard_turn *t, struct value number, struct value *array) {
    uint32_t count = schema_of(t->shard->table)->attribute_count;
    size_t size_bytes = 5 + t->request->key.size_bytes + count + NUMBER_BYTES;
    uint8_t *at = reader_scratch(t->reader, size_bytes);
    struct value_writer w;

    if (at == NULL)
        return EG_MEMORY;
    w = value_writer_init(at, size_bytes);
    value_put_array(&w, count);
    value_put_raw(&w, t->request->key);
    for (uint32_t i = 1; i < count; i++) {
        if (i == t->request->attribute)
            value_put_raw(&w, number);
        else
            value_put_nil(&w);
    }
    EG_ASSERT(!w.overflow);
    *array = (struct value){at, (uint32_t) w.need_bytes};
    return EG_OK;
}

/* field + delta, written into `w`. */
static eg_err add(struct shard_turn *t, struct value field, int64_t delta, struct value_writer *w) {
    int64_t old, sum;
    double real;

    if (value_is_integer(field)) {
        if (!value_get_i64(field, &old) || __builtin_add_overflow(old, delta, &sum))
            return err_note(t->note, EG_BAD_REQUEST, "the counter would leave 64 bits");
        value_put_i64(w, sum);
        return EG_OK;
    }
    if (value_is_float(field) && value_get_double(field, &real)) {
        value_put_double(w, real + (double) delta);
        return EG_OK;
    }
    return err_note(t->note, EG_BAD_REQUEST, "the counter's field is no number");
}

eg_err shard_edit_counter(struct shard_turn *t, const struct record *old, struct value *array,
                          struct value *number) {
    const struct schema *schema = schema_of(t->shard->table);
    uint16_t position = t->request->attribute;
    struct value change[SCHEMA_ATTRIBUTES_MAX];
    uint8_t *at = reader_scratch(t->reader, NUMBER_BYTES);
    struct value_writer w = value_writer_init(at, at == NULL ? 0 : NUMBER_BYTES);
    int64_t delta;
    eg_err err = EG_OK;

    if (at == NULL)
        return EG_MEMORY;
    if (!value_is_integer(t->request->value) || !value_get_i64(t->request->value, &delta))
        return err_note(t->note, EG_BAD_REQUEST, "the delta must be an integer of 64 bits");
    if (old == NULL)
        value_put_i64(&w, delta);
    else
        err = add(t, record_field(old, position), delta, &w);
    if (err != EG_OK)
        return err;
    *number = (struct value){at, (uint32_t) w.need_bytes};
    if (old == NULL)
        return fresh_counter(t, *number, array);
    memset(change, 0, schema->attribute_count * sizeof *change);
    change[position] = *number;
    return merged(t, old, change, schema->attribute_count, array);
}

/* ---- many at once ------------------------------------------------------------ */

/* Take back one change. */
static eg_err undo(struct shard_turn *t, const struct shard_change *c) {
    struct store *store = t->shard->store;
    struct store_cursor cursor;
    const struct record *rec;

    if (c->old != NULL) { /* it was replaced, or removed */
        t->state = record_state(c->old);
        return shard_store(t, record_value(c->old), record_expiry_ms(c->old), NULL);
    }
    store->ops->seek(store, t->reader, &cursor, t->key, false, false);
    do
        rec = store->ops->next(store, t->reader, &cursor);
    while (rec != NULL && !value_equal(record_value(rec), c->array));
    if (rec == NULL)
        return reader_take_fault(t->reader);
    return shard_remove(t, t->key, rec);
}

void shard_edit_undo(struct reader *r, const struct shard_change *change, size_t count,
                     uint64_t now_ms) {
    while (count-- > 0) {
        const struct shard_change *c = &change[count];
        struct table *table = c->shard->table;
        struct shard_turn t = {
            .shard = c->shard, .reader = r, .now_ms = now_ms, .taking_back = true};
        struct value key_value;
        struct key k;
        eg_err err;

        EG_ASSERT(array_element(c->array.size_bytes != 0 ? c->array : record_value(c->old), 0,
                                &key_value));
        EG_ASSERT(key_prepare(&k, key_value, table->seed, table->world->o.alloc) == EG_OK);
        t.key = &k;
        err = undo(&t, c);
        key_release(&k);
        shard_watch_take_back(c->shard, c->noted_from, c->noted_to);
        if (err == EG_OK)
            continue;
        /* In memory, a change that stays half done breaks what the table promises: stop.  A
         * disc that has failed or is spent keeps the rows it took; one that is only behind is
         * waited for. */
        EG_ASSERT(table->storage == STORAGE_DISC_ONLY);
        env_log(table->world->o.env, ENV_LOG_ERROR, "table",
                "%s: %zu records of a refused change of several stay on disc",
                schema_of(table)->name.text, count + 1);
        return;
    }
}

eg_err shard_undo_room(struct shard_undo *u) {
    struct shard_change *more;

    if (EG_LIKELY(u->count < u->room))
        return EG_OK;
    more = reader_scratch(u->reader, 2 * (size_t) u->room * sizeof *more);
    if (more == NULL)
        return EG_MEMORY;
    memcpy(more, u->change, u->count * sizeof *more);
    u->change = more;
    u->room *= 2;
    return EG_OK;
}

void shard_undo_note(struct shard_turn *t, struct value array, const struct record *old) {
    struct shard_undo *u = t->undo;

    u->change[u->count++] = (struct shard_change){.shard = t->shard, .array = array, .old = old};
}

eg_err shard_edit_gates(struct shard *s, struct reader *r, struct value array,
                        struct unique_set *set) {
    const struct record *old;
    struct value key_value;
    struct key k;
    eg_err err;

    shard_unique_gates(s, array, set);
    if (s->store->bag)
        return EG_OK; /* what it replaces is equal */
    EG_ASSERT(array_element(array, 0, &key_value));
    err = key_prepare(&k, key_value, s->table->seed, s->table->world->o.alloc);
    if (err != EG_OK)
        return err;
    old = s->store->ops->get(s->store, r, &k);
    key_release(&k);
    if (old != NULL)
        shard_unique_gates(s, record_value(old), set);
    return reader_take_fault(r);
}

static eg_err gates_of_share(struct shard_turn *t, struct value records, struct unique_set *set) {
    struct value_iter it = value_iter_of(records);
    struct value array;
    eg_err err = EG_OK;

    while (err == EG_OK && value_iter_next(&it, &array))
        err = shard_edit_gates(t->shard, t->reader, array, set);
    return err;
}

eg_err shard_edit_write_many(struct shard_turn *t) {
    struct table *table = t->shard->table;
    uint32_t count = value_count(t->request->value);
    struct value_iter it = value_iter_of(t->request->value);
    struct shard_change *change = reader_scratch(t->reader, EG_MAX(count, 1u) * sizeof *change);
    uint64_t expiry_ms = shard_expiry(t);
    struct value array, key_value;
    struct value_writer w;
    size_t done = 0;
    eg_err err = EG_OK;

    if (change == NULL)
        return EG_MEMORY;
    if (shard_has_unique(t->shard)) {
        struct unique_set set = {{0}};

        err = gates_of_share(t, t->request->value, &set);
        if (err == EG_OK)
            err = shard_unique_enter(t, &set);
        if (err != EG_OK)
            return err;
    }
    while (err == EG_OK && value_iter_next(&it, &array)) {
        struct key k;

        EG_ASSERT(array_element(array, 0, &key_value)); /* checked: table_check() */
        err = key_prepare(&k, key_value, table->seed, table->world->o.alloc);
        if (err != EG_OK)
            break;
        t->key = &k;
        change[done] = (struct shard_change){
            .shard = t->shard, .array = array, .noted_from = shard_watch_mark(t->shard)};
        err = shard_store(t, array, expiry_ms, &change[done].old);
        change[done].noted_to = shard_watch_mark(t->shard);
        done += err == EG_OK;
        key_release(&k);
    }
    t->key = NULL;
    if (err != EG_OK) {
        shard_edit_undo(t->reader, change, done, t->now_ms);
        return err;
    }
    w = value_writer_init(t->result->at + t->result->size_bytes, NUMBER_BYTES);
    value_put_u64(&w, count);
    t->result->size_bytes += w.need_bytes;
    return EG_OK;
}
