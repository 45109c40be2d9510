/* api_tx_call.c -- reads and changes inside a transaction, by key.
 *
 * In a dirty context each is the plain call: EG_SYNC_DIRTY as it is, EG_ASYNC_DIRTY through a
 * handle that is dirty. */
#include "node/api_tx_private.h"

#include "tables/table.h"

#include <string.h>

/* ---- dirty contexts ------------------------------------------------------------------- */

/* A handle of the table for one call. */
struct plain {
    struct eg_table table;
    eg_table *used;
    struct node_thread *thread; /* NULL: it is the caller's own handle */
};

static eg_err plain_open(struct plain *p, const eg_tx *tx, eg_table *table) {
    struct node_thread *t = tx->txs->thread;
    struct table *now;
    bool held;

    p->used = table;
    p->thread = NULL;
    if (tx->context == EG_SYNC_DIRTY || table->dirty)
        return EG_OK;
    reader_enter(&t->reader);
    now = api_table(table);
    held = table_ref(now);
    reader_exit(&t->reader);
    if (!held)
        return EG_NO_TABLE;
    p->thread = t;
    p->table = (struct eg_table){.node = table->node, .dirty = true};
    atomic_init(&p->table.table, now);
    p->used = &p->table;
    return EG_OK;
}

static void plain_close(struct plain *p) {
    if (p->thread != NULL)
        table_unref(atomic_load(&p->table.table));
}

/* Run `call` (of p.used) in a dirty context. */
#define PLAIN(tx, given, call)                                                                     \
    do {                                                                                           \
        struct plain p;                                                                            \
        eg_err plain_err = plain_open(&p, (tx), (given));                                          \
        if (plain_err == EG_OK) {                                                                  \
            plain_err = (call);                                                                    \
            plain_close(&p);                                                                       \
        }                                                                                          \
        return plain_err;                                                                          \
    } while (0)

/* ---- reads -------------------------------------------------------------------------------- */

struct read {
    struct value key;
    struct buffer *out;
};

static eg_err step_get(eg_tx *tx, const struct tx_place *at, void *what) {
    struct api_txs *x = tx->txs;
    struct read *read = what;
    struct value record;
    eg_err err = tx_get(x->tx, at, read->key, &record, &tx->note);

    if (err != EG_OK)
        return err;
    buffer_clear(&x->answer);
    return buffer_append(&x->answer, record.at, record.size_bytes) ? EG_OK : EG_MEMORY;
}

static eg_err get_plain(eg_tx *tx, eg_table *table, eg_span key, struct buffer *answer) {
    eg_span found;
    eg_result all;
    eg_err err = eg_read(table, key, &all);

    (void) tx;
    if (err != EG_OK)
        return err;
    buffer_clear(answer);
    if (!eg_element(all.value, 0, &found))
        err = EG_NOT_FOUND;
    else if (!buffer_append(answer, found.at, found.size_bytes))
        err = EG_MEMORY;
    eg_result_free(&all);
    return err;
}

static eg_err get_dirty(eg_tx *tx, eg_table *table, eg_span key) {
    PLAIN(tx, table, get_plain(tx, p.used, key, &tx->txs->answer));
}

eg_err eg_tx_get(eg_tx *tx, eg_table *table, eg_span key, eg_span *record) {
    struct read read = {.key = {key.at, (uint32_t) key.size_bytes}};
    eg_err err = table == NULL || record == NULL ? EG_BAD_REQUEST : api_tx_check(tx);

    if (EG_LIKELY(err == EG_OK) && !value_is_short(key.at, key.size_bytes))
        err = api_value_of_span(key, &read.key);
    if (EG_UNLIKELY(err != EG_OK))
        return err;
    err = EG_UNLIKELY(api_tx_is_dirty(tx)) ? get_dirty(tx, table, key)
                                           : api_tx_run(tx, table, step_get, &read);
    if (err == EG_OK)
        *record = (eg_span){tx->txs->answer.at, tx->txs->answer.size_bytes};
    return err;
}

static eg_err step_read(eg_tx *tx, const struct tx_place *at, void *what) {
    struct read *read = what;
    return tx_read(tx->txs->tx, at, read->key, read->out, &tx->note);
}

static eg_err read_dirty(eg_tx *tx, eg_table *table, eg_span key, eg_result *out) {
    PLAIN(tx, table, eg_read(p.used, key, out));
}

eg_err eg_tx_read(eg_tx *tx, eg_table *table, eg_span key, eg_result *out) {
    struct buffer b;
    struct read read = {.out = &b};
    eg_err err = table == NULL ? EG_BAD_REQUEST : api_tx_check(tx);

    if (err == EG_OK)
        err = api_value_of_span(key, &read.key);
    if (err != EG_OK)
        return err;
    if (EG_UNLIKELY(api_tx_is_dirty(tx)))
        return read_dirty(tx, table, key, out);
    buffer_init(&b, alloc_system(), NODE_RESULT_BYTES_MAX);
    err = api_tx_run(tx, table, step_read, &read);
    return api_result_of(&b, err, out);
}

/* ---- changes -------------------------------------------------------------------------------- */

struct change {
    struct shard_request q;
    const char *attribute; /* its position is looked for where it is meant */
    struct buffer *out;
};

static eg_err step_change(eg_tx *tx, const struct tx_place *at, void *what) {
    struct change *c = what;

    c->q.attribute = SHARD_NO_ATTRIBUTE;
    if (c->attribute != NULL) {
        int position =
            schema_attribute(table_schema(at->table), c->attribute, strlen(c->attribute));
        if (position < 0)
            return err_note(&tx->note, EG_BAD_REQUEST, "no attribute %.64s", c->attribute);
        c->q.attribute = (uint16_t) position;
    }
    return tx_change(tx->txs->tx, at, &c->q, c->out, &tx->note);
}

/* A result that is a bool or a number. */
struct small {
    uint8_t room[64];
    struct value value;
};

static eg_err run_small(eg_tx *tx, eg_table *table, struct change *c, struct small *out) {
    struct buffer b;
    eg_err err;

    buffer_init(&b, alloc_system(), sizeof out->room);
    b.at = out->room; /* borrowed: large enough never to be grown, so nothing is allocated */
    b.room_bytes = sizeof out->room;
    c->out = &b;
    err = api_tx_run(tx, table, step_change, c);
    EG_ASSERT(b.at == out->room);
    out->value = (struct value){b.at, (uint32_t) b.size_bytes};
    return err;
}

/* What each begins with: what is given is looked at, and there is a context. */
static eg_err check(const eg_tx *tx, const eg_table *table, eg_span given, struct value *v) {
    eg_err err = table == NULL ? EG_BAD_REQUEST : api_tx_check((eg_tx *) tx);

    return err == EG_OK ? api_value_of_span(given, v) : err;
}

static eg_err write_dirty(eg_tx *tx, eg_table *table, eg_span record, uint64_t ttl_ms) {
    PLAIN(tx, table, eg_write_ttl(p.used, record, ttl_ms));
}

eg_err eg_tx_write_ttl(eg_tx *tx, eg_table *table, eg_span record, uint64_t ttl_ms) {
    struct change c = {.q = {.op = SHARD_WRITE, .ttl_ms = ttl_ms}};
    struct small result;
    eg_err err = check(tx, table, record, &c.q.value);

    if (EG_UNLIKELY(err != EG_OK))
        return err;
    return EG_UNLIKELY(api_tx_is_dirty(tx)) ? write_dirty(tx, table, record, ttl_ms)
                                            : run_small(tx, table, &c, &result);
}

eg_err eg_tx_write(eg_tx *tx, eg_table *table, eg_span record) {
    return eg_tx_write_ttl(tx, table, record, 0);
}

static eg_err write_many_dirty(eg_tx *tx, eg_table *table, eg_span records, uint64_t ttl_ms,
                               uint64_t *count) {
    PLAIN(tx, table, eg_write_many_ttl(p.used, records, ttl_ms, count));
}

eg_err eg_tx_write_many_ttl(eg_tx *tx, eg_table *table, eg_span records, uint64_t ttl_ms,
                            uint64_t *count) {
    struct change c = {.q = {.op = SHARD_WRITE_MANY, .ttl_ms = ttl_ms}};
    struct small result;
    eg_err err = check(tx, table, records, &c.q.value);

    if (err != EG_OK)
        return err;
    if (api_tx_is_dirty(tx))
        return write_many_dirty(tx, table, records, ttl_ms, count);
    err = run_small(tx, table, &c, &result);
    if (err == EG_OK && count != NULL && !value_get_u64(result.value, count))
        err = EG_INTERNAL;
    return err;
}

eg_err eg_tx_write_many(eg_tx *tx, eg_table *table, eg_span records, uint64_t *count) {
    return eg_tx_write_many_ttl(tx, table, records, 0, count);
}

static eg_err insert_new_dirty(eg_tx *tx, eg_table *table, eg_span record, uint64_t ttl_ms,
                               bool *inserted) {
    PLAIN(tx, table, eg_insert_new_ttl(p.used, record, ttl_ms, inserted));
}

eg_err eg_tx_insert_new_ttl(eg_tx *tx, eg_table *table, eg_span record, uint64_t ttl_ms,
                            bool *inserted) {
    struct change c = {.q = {.op = SHARD_INSERT_NEW, .ttl_ms = ttl_ms}};
    struct small result;
    eg_err err = check(tx, table, record, &c.q.value);

    if (err != EG_OK)
        return err;
    if (api_tx_is_dirty(tx))
        return insert_new_dirty(tx, table, record, ttl_ms, inserted);
    err = run_small(tx, table, &c, &result);
    if (err == EG_OK && inserted != NULL && !value_get_bool(result.value, inserted))
        err = EG_INTERNAL;
    return err;
}

eg_err eg_tx_insert_new(eg_tx *tx, eg_table *table, eg_span record, bool *inserted) {
    return eg_tx_insert_new_ttl(tx, table, record, 0, inserted);
}

static eg_err delete_dirty(eg_tx *tx, eg_table *table, eg_span key) {
    PLAIN(tx, table, eg_delete(p.used, key));
}

eg_err eg_tx_delete(eg_tx *tx, eg_table *table, eg_span key) {
    struct change c = {.q = {.op = SHARD_DELETE}};
    struct small result;
    eg_err err = check(tx, table, key, &c.q.key);

    if (err != EG_OK)
        return err;
    return api_tx_is_dirty(tx) ? delete_dirty(tx, table, key) : run_small(tx, table, &c, &result);
}

static eg_err delete_object_dirty(eg_tx *tx, eg_table *table, eg_span record) {
    PLAIN(tx, table, eg_delete_object(p.used, record));
}

eg_err eg_tx_delete_object(eg_tx *tx, eg_table *table, eg_span record) {
    struct change c = {.q = {.op = SHARD_DELETE_OBJECT}};
    struct small result;
    eg_err err = check(tx, table, record, &c.q.value);

    if (err != EG_OK)
        return err;
    return api_tx_is_dirty(tx) ? delete_object_dirty(tx, table, record)
                               : run_small(tx, table, &c, &result);
}

static eg_err take_dirty(eg_tx *tx, eg_table *table, eg_span key, eg_result *out) {
    PLAIN(tx, table, eg_take(p.used, key, out));
}

eg_err eg_tx_take(eg_tx *tx, eg_table *table, eg_span key, eg_result *out) {
    struct buffer b;
    struct change c = {.q = {.op = SHARD_TAKE}, .out = &b};
    eg_err err = check(tx, table, key, &c.q.key);

    if (err != EG_OK)
        return err;
    if (api_tx_is_dirty(tx))
        return take_dirty(tx, table, key, out);
    buffer_init(&b, alloc_system(), NODE_RESULT_BYTES_MAX);
    err = api_tx_run(tx, table, step_change, &c);
    return api_result_of(&b, err, out);
}

static eg_err update_dirty(eg_tx *tx, eg_table *table, eg_span key, eg_span changes) {
    PLAIN(tx, table, eg_update(p.used, key, changes));
}

eg_err eg_tx_update(eg_tx *tx, eg_table *table, eg_span key, eg_span changes) {
    struct change c = {.q = {.op = SHARD_UPDATE}};
    struct small result;
    eg_err err = check(tx, table, key, &c.q.key);

    if (err == EG_OK)
        err = api_value_of_span(changes, &c.q.value);
    if (err != EG_OK)
        return err;
    return api_tx_is_dirty(tx) ? update_dirty(tx, table, key, changes)
                               : run_small(tx, table, &c, &result);
}

static eg_err update_counter_dirty(eg_tx *tx, eg_table *table, eg_span key, const char *attribute,
                                   int64_t delta, int64_t *value) {
    PLAIN(tx, table, eg_update_counter(p.used, key, attribute, delta, value));
}

eg_err eg_tx_update_counter(eg_tx *tx, eg_table *table, eg_span key, const char *attribute,
                            int64_t delta, int64_t *value) {
    struct change c = {.q = {.op = SHARD_COUNTER}, .attribute = attribute};
    uint8_t encoded[9];
    struct value_writer w = value_writer_init(encoded, sizeof encoded);
    struct small result;
    eg_err err = attribute == NULL ? EG_BAD_REQUEST : check(tx, table, key, &c.q.key);

    if (err != EG_OK)
        return err;
    if (api_tx_is_dirty(tx))
        return update_counter_dirty(tx, table, key, attribute, delta, value);
    value_put_i64(&w, delta);
    c.q.value = (struct value){encoded, (uint32_t) w.need_bytes};
    err = run_small(tx, table, &c, &result);
    if (err == EG_OK && value != NULL && !value_get_i64(result.value, value))
        err = EG_BAD_REQUEST; /* the field is a float: eg_tx_get() shows it */
    return err;
}

/* ---- locks --------------------------------------------------------------------------------- */

struct lock {
    struct value key; /* size 0: the whole table */
    bool exclusive;
};

static eg_err step_lock(eg_tx *tx, const struct tx_place *at, void *what) {
    struct lock *l = what;
    return tx_lock(tx->txs->tx, at, l->key, l->exclusive, &tx->note);
}

eg_err eg_tx_lock(eg_tx *tx, eg_table *table, const eg_span *key, bool exclusive) {
    struct lock l = {.exclusive = exclusive};
    eg_err err = table == NULL ? EG_BAD_REQUEST : api_tx_check(tx);

    if (err == EG_OK && key != NULL)
        err = api_value_of_span(*key, &l.key);
    if (err != EG_OK ||
        api_tx_is_dirty(tx)) /* where nothing is held there is nothing to be locked */
        return err;
    return api_tx_run(tx, table, step_lock, &l);
}
