/* tx_change.c -- what a transaction wants, and what is there afterwards.
 *
 * A request is checked as its table would, and kept as it is: what it means is the shard's to say,
 * with deadlines of records and merges of counters.  What depends on what is there (update,
 * counter, insert_new, take) looks first, so that the commit finds out where that has changed. */
#include "query/tx_private.h"

#include "tables/record.h"
#include "tables/route.h"

#include <string.h>

enum { NUMBER_BYTES = 9 }; /* the longest MessagePack number */

/* One change on its way into the transaction. */
struct change {
    struct tx *tx;
    const struct tx_place *at;
    const struct shard_request *q;
    struct key *k;
    uint32_t key;
    struct buffer *result;
    struct err_note *note;
};

static eg_err answer_bool(struct buffer *result, bool b) {
    uint8_t byte = b ? 0xc3 : 0xc2;
    return buffer_append(result, &byte, 1) ? EG_OK : EG_MEMORY;
}

/* ---- entering a write ------------------------------------------------------------------ */

static bool is_set(const struct change *c) {
    return !c->tx->table[c->tx->key[c->key].table].many;
}

/* A loop that writes one key over and over wants only the last one. */
static void drop_covered(struct change *c, enum shard_op op) {
    struct tx *tx = c->tx;
    uint32_t last = tx->write_count - 1;
    uint32_t from = tx->level_count == 0 ? 0 : tx->level[tx->level_count - 1].writes;
    const struct tx_write *w;

    if (tx->write_count <= EG_MAX(from, tx->shown) || tx->key[c->key].newest != last ||
        !is_set(c) || (op != SHARD_WRITE && op != SHARD_DELETE))
        return;
    w = &tx->write[last];
    tx->key[c->key].newest = w->previous;
    tx->write_count--;
    if (w->value_bytes != 0 && w->value_at >= tx->fixed_bytes)
        tx->bytes.size_bytes = w->value_at; /* it and what follows it was this write's */
}

static eg_err touch(struct tx *tx, uint32_t key) {
    struct tx_table *t = &tx->table[tx->key[key].table];

    if (tx->key[key].touched)
        return EG_OK;
    if (t->touched_count == t->touched_room) {
        enum { FIRST = 8 };
        uint32_t room = EG_MAX(2 * t->touched_room, (uint32_t) FIRST);
        uint32_t *larger = alloc_get(tx->o.alloc, room * sizeof *larger);

        if (larger == NULL)
            return EG_MEMORY;
        if (t->touched_count != 0)
            memcpy(larger, t->touched, t->touched_count * sizeof *larger);
        alloc_put(tx->o.alloc, t->touched, t->touched_room * sizeof *larger);
        t->touched = larger;
        t->touched_room = room;
    }
    t->touched[t->touched_count++] = key;
    t->sorted = t->touched_count == 1;
    tx->key[key].touched = true;
    return EG_OK;
}

static eg_err make_room(struct tx *tx) {
    enum { FIRST = 8 };
    uint32_t room = EG_MAX(2 * tx->write_room, (uint32_t) FIRST);
    struct tx_write *larger;

    if (EG_LIKELY(tx->write_count < tx->write_room))
        return EG_OK;
    larger = tx->write_room == 0
                 ? alloc_get(tx->o.alloc, room * sizeof *larger)
                 : alloc_resize(tx->o.alloc, tx->write, tx->write_room * sizeof *larger,
                                room * sizeof *larger);
    if (larger == NULL)
        return EG_MEMORY;
    tx->write = larger;
    tx->write_room = room;
    return EG_OK;
}

/* `after`: the record that is there then (of a key with many: after an update); size 0: none;
 * where it is `value` itself it is kept once. */
static eg_err enter(struct change *c, enum shard_op op, struct value value, struct value after) {
    struct tx *tx = c->tx;
    struct tx_write w = {
        .ttl_ms = c->q->ttl_ms, .key = c->key, .attribute = c->q->attribute, .op = (uint8_t) op};
    eg_err err = tx_room(tx, c->note);

    if (EG_UNLIKELY(tx->write_count >= TX_CHANGES_MAX))
        return err_note(c->note, EG_TOO_LARGE, "a transaction makes at most %d changes",
                        (int) TX_CHANGES_MAX);
    if (err == EG_OK)
        err = make_room(tx);
    if (err == EG_OK)
        err = touch(tx, c->key);
    if (err != EG_OK)
        return err;
    if (EG_UNLIKELY(buffer_room(&tx->bytes, (size_t) value.size_bytes + after.size_bytes) == NULL))
        return err_note(c->note, EG_TOO_LARGE, "a transaction's changes are at most %d MiB",
                        (int) (TX_BYTES_MAX >> 20));
    drop_covered(c, op);
    if (value.size_bytes != 0)
        EG_ASSERT(tx_bytes_put(tx, value.at, value.size_bytes, &w.value_at) == EG_OK);
    w.value_bytes = value.size_bytes;
    w.after_at = w.value_at;
    if (after.size_bytes != 0 && after.at != value.at)
        EG_ASSERT(tx_bytes_put(tx, after.at, after.size_bytes, &w.after_at) == EG_OK);
    w.after_bytes = after.size_bytes;
    w.previous = tx->key[c->key].newest;
    tx->key[c->key].newest = tx->write_count;
    tx->write[tx->write_count++] = w;
    return EG_OK;
}

/* ---- what is there ------------------------------------------------------------------------ */

/* All records under the key, as they are by now. */
static eg_err rows_of(struct change *c, struct value **rows, uint32_t *count) {
    return tx_rows(c->tx, c->at, c->k, c->key, TX_NONE, rows, count);
}

/* The one record of a set, or of siblings the newest, copied to where it stays; size 0: none. */
static eg_err old_record(struct change *c, struct value *old) {
    struct tx *tx = c->tx;
    uint32_t newest = tx->key[c->key].newest, count;
    struct value *rows;
    uint8_t *copy;
    eg_err err;

    *old = (struct value){NULL, 0};
    if (!is_set(c)) {
        err = rows_of(c, &rows, &count);
        if (err == EG_OK && count > 0)
            *old = rows[0];
    } else if (newest != TX_NONE) {
        *old = tx_bytes_at(tx, tx->write[newest].after_at, tx->write[newest].after_bytes);
        err = EG_OK;
    } else {
        err = tx_look(tx, c->at, c->k, c->key, old);
    }
    if (err != EG_OK || old->size_bytes == 0)
        return err;
    copy = reader_scratch(c->at->reader, old->size_bytes); /* the bytes are about to move */
    if (copy == NULL)
        return EG_MEMORY;
    memcpy(copy, old->at, old->size_bytes);
    old->at = copy;
    return EG_OK;
}

/* The array with other fields, in the reader's scratch. */
static eg_err with_fields(struct change *c, struct value old, const struct value *change,
                          uint32_t count, struct value *array) {
    struct value_iter it = value_iter_of(old);
    size_t size_bytes = 5 + (size_t) old.size_bytes;
    struct value_writer w;
    struct value field;
    uint8_t *at;

    for (uint32_t i = 0; i < count; i++)
        size_bytes += change[i].size_bytes;
    if (size_bytes > RECORD_SIZE_MAX)
        return err_note(c->note, EG_TOO_LARGE, "the record would be larger than 16 MiB");
    at = reader_scratch(c->at->reader, size_bytes);
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

/* ---- the ops ------------------------------------------------------------------------------- */

static eg_err do_write(struct change *c) {
    eg_err err = enter(c, SHARD_WRITE, c->q->value, c->q->value);
    return err == EG_OK ? answer_bool(c->result, true) : err;
}

static eg_err do_insert_new(struct change *c) {
    struct value *rows, old = {NULL, 0};
    uint32_t count = 0;
    eg_err err;

    if (is_set(c)) {
        err = old_record(c, &old);
        count = old.size_bytes != 0;
    } else {
        err = rows_of(c, &rows, &count);
    }
    if (err != EG_OK)
        return err;
    return count != 0 ? answer_bool(c->result, false) : do_write(c);
}

static eg_err do_delete(struct change *c) {
    eg_err err = enter(c, SHARD_DELETE, (struct value){NULL, 0}, (struct value){NULL, 0});
    return err == EG_OK ? answer_bool(c->result, true) : err;
}

static eg_err do_delete_object(struct change *c) {
    struct value old;
    eg_err err;

    if (!is_set(c)) {
        err = enter(c, SHARD_DELETE_OBJECT, c->q->value, (struct value){NULL, 0});
        return err == EG_OK ? answer_bool(c->result, true) : err;
    }
    err = old_record(c, &old);
    if (err != EG_OK)
        return err;
    if (old.size_bytes != 0 && value_equal(old, c->q->value))
        return do_delete(c);
    return answer_bool(c->result, true);
}

static eg_err do_take(struct change *c) {
    struct value *rows, old = {NULL, 0};
    size_t before_bytes = c->result->size_bytes;
    struct value_writer w;
    uint32_t count;
    uint8_t *room;
    eg_err err;

    rows = &old;
    err = is_set(c) ? old_record(c, &old) : rows_of(c, &rows, &count);
    if (err != EG_OK)
        return err;
    if (is_set(c))
        count = old.size_bytes != 0;
    room = buffer_room(c->result, 5);
    if (room == NULL)
        return EG_TOO_LARGE;
    w = value_writer_init(room, 5);
    value_put_array(&w, count);
    c->result->size_bytes += w.need_bytes;
    for (uint32_t i = 0; err == EG_OK && i < count; i++)
        if (!buffer_append(c->result, rows[i].at, rows[i].size_bytes))
            err = EG_TOO_LARGE;
    if (err == EG_OK && count != 0)
        err = enter(c, SHARD_DELETE, (struct value){NULL, 0}, (struct value){NULL, 0});
    if (err != EG_OK)
        c->result->size_bytes = before_bytes;
    return err;
}

static eg_err do_update(struct change *c) {
    const struct schema *schema = table_schema(c->at->table);
    struct value change[SCHEMA_ATTRIBUTES_MAX] = {{NULL, 0}};
    struct value_iter it = value_iter_of(c->q->value);
    struct value old, name, v, array;
    eg_err err = old_record(c, &old);

    if (err != EG_OK)
        return err;
    if (old.size_bytes == 0)
        return EG_NOT_FOUND;
    while (value_iter_next(&it, &name) && value_iter_next(&it, &v)) {
        const uint8_t *text;
        uint32_t text_bytes;

        EG_ASSERT(value_get_bytes(name, &text, &text_bytes)); /* checked, as all of the map */
        change[schema_attribute(schema, (const char *) text, text_bytes)] = v;
    }
    err = with_fields(c, old, change, schema->attribute_count, &array);
    if (err == EG_OK)
        err = enter(c, SHARD_UPDATE, c->q->value, array);
    return err == EG_OK ? answer_bool(c->result, true) : err;
}

/* field + delta */
static eg_err add(struct change *c, struct value field, int64_t delta, struct value_writer *w) {
    int64_t old, sum;
    double real;

    if (value_is_integer(field)) {
        if (!value_get_i64(field, &old) || __builtin_add_overflow(old, delta, &sum))
            return err_note(c->note, EG_BAD_REQUEST, "the counter would leave 64 bits");
        value_put_i64(w, sum);
        return EG_OK;
    }
    if (value_is_float(field) && value_get_double(field, &real)) {
        value_put_double(w, real + (double) delta);
        return EG_OK;
    }
    return err_note(c->note, EG_BAD_REQUEST, "the counter's field is no number");
}

/* [key, nil, ..., number, ..., nil] */
static eg_err fresh_counter(struct change *c, struct value number, struct value *array) {
    uint32_t count = table_schema(c->at->table)->attribute_count;
    size_t size_bytes = 5 + (size_t) c->q->key.size_bytes + count + NUMBER_BYTES;
    uint8_t *at = reader_scratch(c->at->reader, size_bytes);
    struct value_writer w;

    if (at == NULL)
        return EG_MEMORY;
    w = value_writer_init(at, size_bytes);
    value_put_array(&w, count);
    value_put_raw(&w, c->q->key);
    for (uint32_t i = 1; i < count; i++) {
        if (i == c->q->attribute)
            value_put_raw(&w, number);
        else
            value_put_nil(&w);
    }
    EG_ASSERT(!w.overflow);
    *array = (struct value){at, (uint32_t) w.need_bytes};
    return EG_OK;
}

static eg_err do_counter(struct change *c) {
    uint32_t count = table_schema(c->at->table)->attribute_count;
    struct value change[SCHEMA_ATTRIBUTES_MAX] = {{NULL, 0}};
    uint8_t number[NUMBER_BYTES];
    struct value_writer w = value_writer_init(number, sizeof number);
    struct value old, field, array, sum;
    int64_t delta;
    eg_err err = old_record(c, &old);

    if (err != EG_OK)
        return err;
    EG_ASSERT(value_get_i64(c->q->value, &delta)); /* checked */
    if (old.size_bytes == 0) {
        value_put_i64(&w, delta);
    } else {
        EG_ASSERT(array_element(old, c->q->attribute, &field));
        err = add(c, field, delta, &w);
    }
    if (err != EG_OK)
        return err;
    sum = (struct value){number, (uint32_t) w.need_bytes};
    change[c->q->attribute] = sum;
    err = old.size_bytes == 0 ? fresh_counter(c, sum, &array)
                              : with_fields(c, old, change, count, &array);
    if (err == EG_OK && buffer_room(c->result, NUMBER_BYTES) == NULL)
        err = EG_MEMORY;
    if (err == EG_OK)
        err = enter(c, SHARD_COUNTER, c->q->value, array);
    if (err == EG_OK)
        EG_ASSERT(buffer_append(c->result, sum.at, sum.size_bytes)); /* there is room */
    return err;
}

static eg_err do_one(struct change *c) {
    switch (c->q->op) {
    case SHARD_WRITE:
        return do_write(c);
    case SHARD_INSERT_NEW:
        return do_insert_new(c);
    case SHARD_DELETE:
        return do_delete(c);
    case SHARD_DELETE_OBJECT:
        return do_delete_object(c);
    case SHARD_TAKE:
        return do_take(c);
    case SHARD_UPDATE:
        return do_update(c);
    case SHARD_COUNTER:
        return do_counter(c);
    default:
        return err_note(c->note, EG_BAD_REQUEST, "not inside a transaction");
    }
}

/* All of the array, or none. */
static eg_err write_many(struct tx *tx, const struct tx_place *at, const struct shard_request *q,
                         struct buffer *result, struct err_note *note) {
    struct shard_request one = {.op = SHARD_WRITE, .attribute = q->attribute, .ttl_ms = q->ttl_ms};
    size_t before_bytes = result->size_bytes;
    struct value_iter it;
    struct value_writer w;
    struct tx_mark mark;
    uint8_t *room;
    eg_err err = value_kind_of(q->value) == VALUE_ARRAY ? EG_OK : EG_BAD_REQUEST;

    if (err != EG_OK)
        return err_note(note, err, "records are an array of records");
    mark = tx_mark(tx);
    tx->shown = EG_MAX(tx->shown, tx->write_count); /* so that what was there can be gone back to */
    it = value_iter_of(q->value);
    while (err == EG_OK && value_iter_next(&it, &one.value))
        err = tx_change(tx, at, &one, result, note);
    result->size_bytes = before_bytes;
    room = err == EG_OK ? buffer_room(result, NUMBER_BYTES) : NULL;
    if (err == EG_OK && room == NULL)
        err = EG_MEMORY;
    if (err != EG_OK) {
        tx_undo_to(tx, mark);
        return err;
    }
    w = value_writer_init(room, NUMBER_BYTES);
    value_put_u64(&w, value_count(q->value));
    result->size_bytes += w.need_bytes;
    return EG_OK;
}

eg_err tx_change(struct tx *tx, const struct tx_place *at, const struct shard_request *q,
                 struct buffer *result, struct err_note *note) {
    struct change c = {.tx = tx, .at = at, .q = q, .result = result, .note = note};
    uint32_t table;
    struct value v;
    struct key k;
    eg_err err = tx_enter(tx, note);

    if (err == EG_OK && q->op == SHARD_WRITE_MANY)
        return write_many(tx, at, q, result, note);
    if (err == EG_OK)
        err = table_check(at->table, q, note);
    if (err == EG_OK)
        err = tx_table_enter(tx, at, &table);
    if (err != EG_OK)
        return err;
    if (!shard_request_key(q, &v))
        return err_note(note, EG_BAD_REQUEST, "not inside a transaction");
    err = table_key_checked(at->table, &k, v, note);
    if (err != EG_OK)
        return err;
    err = tx_key_enter(tx, table, &k, &c.key);
    c.k = &k;
    if (err == EG_OK)
        err = do_one(&c);
    key_release(&k);
    return err;
}
