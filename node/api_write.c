/* api_write.c -- changes, in place where the shard is idle. */
#include "node/api_private.h"

#include "tables/catalog.h"
#include "tables/table.h"

#include <string.h>

/* What to tell whose shard was not there. */
static eg_err lost(struct node_thread *t, eg_table *table) {
    eg_err err;

    reader_enter(&t->reader);
    err = table_lost(api_table(table));
    reader_exit(&t->reader);
    return err;
}

/* Here and now where the shard is idle; a moment later where it is not; else by message.
 * The result is appended to `result`.  An attribute is looked for where it is meant, for
 * positions are those of one shape. */
static eg_err run_on(eg_table *table, struct shard_request *q, const char *attribute,
                     struct buffer *result) {
    struct node_thread *t;
    struct message *m = NULL;
    struct table *now;
    int position = 0;
    eg_pid to;
    eg_err err;

    t = node_thread(table->node, &err);
    if (t == NULL)
        return err;
    q->dirty = table->dirty;
    reader_enter(&t->reader);
    now = api_table(table);
    if (attribute != NULL) {
        position = schema_attribute(table_schema(now), attribute, strlen(attribute));
        q->attribute = (uint16_t) position;
    }
    err =
        position < 0 ? EG_BAD_REQUEST : table_try(now, &t->reader, q, TABLE_PATIENCE, result, NULL);
    if (err == EG_AGAIN)
        err = table_message(now, q, &to, &m, NULL);
    reader_exit(&t->reader);
    if (m == NULL)
        return err;
    err = api_call(table->node, to, m, NODE_CALL_MS, result, NULL);
    return err == EG_NOPROC ? lost(t, table) : err;
}

static eg_err run(eg_table *table, struct shard_request *q, struct buffer *result) {
    return run_on(table, q, NULL, result);
}

/* A result that is a bool or a number. */
struct small {
    uint8_t room[64];
    struct value value;
};

static eg_err run_small_on(eg_table *table, struct shard_request *q, const char *attribute,
                           struct small *out) {
    struct buffer b;
    eg_err err;

    buffer_init(&b, alloc_system(), sizeof out->room);
    b.at = out->room; /* borrowed: large enough never to be grown, so nothing is allocated */
    b.room_bytes = sizeof out->room;
    err = run_on(table, q, attribute, &b);
    EG_ASSERT(b.at == out->room);
    out->value = (struct value){b.at, (uint32_t) b.size_bytes};
    return err;
}

static eg_err run_small(eg_table *table, struct shard_request *q, struct small *out) {
    return run_small_on(table, q, NULL, out);
}

static eg_err run_record(eg_table *table, enum shard_op op, eg_span record, uint64_t ttl_ms,
                         struct small *out) {
    struct shard_request q = {.op = op, .ttl_ms = ttl_ms};
    eg_err err = table == NULL ? EG_BAD_REQUEST : api_value_of_span(record, &q.value);

    return err != EG_OK ? err : run_small(table, &q, out);
}

eg_err eg_write(eg_table *table, eg_span record) {
    struct small result;
    return run_record(table, SHARD_WRITE, record, 0, &result);
}

eg_err eg_write_ttl(eg_table *table, eg_span record, uint64_t ttl_ms) {
    struct small result;
    return run_record(table, SHARD_WRITE, record, ttl_ms, &result);
}

eg_err eg_insert_new(eg_table *table, eg_span record, bool *inserted) {
    return eg_insert_new_ttl(table, record, 0, inserted);
}

eg_err eg_insert_new_ttl(eg_table *table, eg_span record, uint64_t ttl_ms, bool *inserted) {
    struct small result;
    eg_err err = run_record(table, SHARD_INSERT_NEW, record, ttl_ms, &result);

    if (err == EG_OK && inserted != NULL && !value_get_bool(result.value, inserted))
        err = EG_INTERNAL;
    return err;
}

eg_err eg_delete_object(eg_table *table, eg_span record) {
    struct small result;
    return run_record(table, SHARD_DELETE_OBJECT, record, 0, &result);
}

eg_err eg_delete(eg_table *table, eg_span key) {
    struct shard_request q = {.op = SHARD_DELETE};
    struct small result;
    eg_err err = table == NULL ? EG_BAD_REQUEST : api_value_of_span(key, &q.key);

    return err != EG_OK ? err : run_small(table, &q, &result);
}

eg_err eg_write_replacing(eg_table *table, eg_span record, eg_span context) {
    struct shard_request q = {.op = SHARD_REPLACE_SIBLINGS};
    struct small result;
    eg_err err = table == NULL ? EG_BAD_REQUEST : api_value_of_span(record, &q.value);

    if (err == EG_OK)
        err = api_value_of_span(context, &q.key);
    return err != EG_OK ? err : run_small(table, &q, &result);
}

eg_err eg_delete_replacing(eg_table *table, eg_span key, eg_span context) {
    struct shard_request q = {.op = SHARD_DELETE_SIBLINGS};
    struct small result;
    eg_err err = table == NULL ? EG_BAD_REQUEST : api_value_of_span(key, &q.key);

    if (err == EG_OK)
        err = api_value_of_span(context, &q.value);
    return err != EG_OK ? err : run_small(table, &q, &result);
}

eg_err eg_take(eg_table *table, eg_span key, eg_result *out) {
    struct shard_request q = {.op = SHARD_TAKE};
    struct buffer b;
    eg_err err = table == NULL ? EG_BAD_REQUEST : api_value_of_span(key, &q.key);

    if (err != EG_OK)
        return err;
    buffer_init(&b, alloc_system(), NODE_RESULT_BYTES_MAX);
    err = run(table, &q, &b);
    return api_result_of(&b, err, out);
}

eg_err eg_update(eg_table *table, eg_span key, eg_span changes) {
    struct shard_request q = {.op = SHARD_UPDATE};
    struct small result;
    eg_err err = table == NULL ? EG_BAD_REQUEST : api_value_of_span(key, &q.key);

    if (err == EG_OK)
        err = api_value_of_span(changes, &q.value);
    return err != EG_OK ? err : run_small(table, &q, &result);
}

eg_err eg_update_counter(eg_table *table, eg_span key, const char *attribute, int64_t delta,
                         int64_t *value) {
    struct shard_request q = {.op = SHARD_COUNTER};
    uint8_t encoded[9];
    struct value_writer w = value_writer_init(encoded, sizeof encoded);
    struct small result;
    eg_err err;

    if (table == NULL || attribute == NULL)
        return EG_BAD_REQUEST;
    value_put_i64(&w, delta);
    q.value = (struct value){encoded, (uint32_t) w.need_bytes};
    err = api_value_of_span(key, &q.key);
    if (err == EG_OK)
        err = run_small_on(table, &q, attribute, &result);
    if (err == EG_OK && value != NULL && !value_get_i64(result.value, value))
        err = EG_BAD_REQUEST; /* the field is a float: eg_read() shows it */
    return err;
}

eg_err eg_write_many(eg_table *table, eg_span records, uint64_t *count) {
    return eg_write_many_ttl(table, records, 0, count);
}

eg_err eg_write_many_ttl(eg_table *table, eg_span records, uint64_t ttl_ms, uint64_t *count) {
    struct table_many how = {.ttl_ms = ttl_ms};
    struct schema_name name;
    struct node_thread *t;
    struct buffer b;
    struct value v;
    eg_err err = table == NULL ? EG_BAD_REQUEST : api_value_of_span(records, &v);

    if (err != EG_OK)
        return err;
    t = node_thread(table->node, &err);
    if (t == NULL)
        return err;
    buffer_init(&b, alloc_system(), 64);
    reader_enter(&t->reader);
    how.dirty = table->dirty;
    err = table_try_many(api_table(table), &t->reader, v, &how, &b, NULL);
    name = *table_name(api_table(table));
    reader_exit(&t->reader);
    if (err == EG_AGAIN) {
        struct catalog_request q = {.op = CATALOG_WRITE_MANY,
                                    .ttl_ms = ttl_ms,
                                    .dirty = table->dirty,
                                    .name = {(const uint8_t *) name.text, name.size_bytes},
                                    .value = v};
        err = api_change(table->node, &q, NULL);
    }
    buffer_fini(&b);
    if (err == EG_OK && count != NULL)
        *count = value_count(v);
    return err;
}
