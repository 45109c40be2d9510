/* api_then.c -- changes of tables that an actor asks for: a message and what to do with its answer.
 */
#include "engine/genserver.h"
#include "engine/runtime.h"
#include "engram/actor.h"
#include "node/api_private.h"
#include "tables/table.h"

#include <string.h>

static void on_done(struct actor *self, void *state, const struct call_then *then, eg_err outcome,
                    struct message *reply) {
    eg_done_fn done = (eg_done_fn) then->program;

    done((eg_actor *) self, state, then->context, outcome, reply == NULL ? NULL : reply->payload,
         reply == NULL ? 0 : reply->size_bytes);
}

/* The request as a message for who makes the change: the shard, or who knows where it is. */
static eg_err make(struct actor *self, eg_table *table, const char *attribute,
                   struct shard_request *q, eg_pid *to, struct message **m) {
    struct node_thread *t;
    struct table *now;
    int position;
    eg_err err = EG_OK;

    if (actor_runtime(self) != table->node->runtime)
        return EG_BAD_REQUEST; /* an actor of another node */
    t = node_thread(table->node, &err);
    if (t == NULL)
        return err;
    reader_enter(&t->reader);
    now = api_table(table);
    if (table_dropped(now))
        err = EG_NO_TABLE;
    if (err == EG_OK && attribute != NULL) {
        position = schema_attribute(table_schema(now), attribute, strlen(attribute));
        q->attribute = (uint16_t) position;
        err = position < 0 ? EG_BAD_REQUEST : EG_OK;
    }
    q->dirty = table->dirty;
    if (err == EG_OK)
        err = table_message(now, q, to, m, NULL);
    reader_exit(&t->reader);
    return err;
}

static eg_err ask(eg_actor *actor, eg_table *table, const char *attribute, struct shard_request *q,
                  eg_done_fn done, void *context) {
    struct call_then then = {on_done, context, (void (*)(void)) done};
    struct actor *self = (struct actor *) actor;
    struct message *m;
    eg_pid to;
    eg_err err = make(self, table, attribute, q, &to, &m);

    return err != EG_OK ? err : genserver_call(self, to, m, NODE_CALL_MS, &then);
}

static eg_err ask_record(eg_actor *self, eg_table *table, enum shard_op op, eg_span record,
                         eg_done_fn done, void *context) {
    struct shard_request q = {.op = op, .attribute = SHARD_NO_ATTRIBUTE};
    eg_err err =
        table == NULL || done == NULL ? EG_BAD_REQUEST : api_value_of_span(record, &q.value);

    return err != EG_OK ? err : ask(self, table, NULL, &q, done, context);
}

static eg_err ask_key(eg_actor *self, eg_table *table, enum shard_op op, eg_span key,
                      eg_done_fn done, void *context) {
    struct shard_request q = {.op = op, .attribute = SHARD_NO_ATTRIBUTE};
    eg_err err = table == NULL || done == NULL ? EG_BAD_REQUEST : api_value_of_span(key, &q.key);

    return err != EG_OK ? err : ask(self, table, NULL, &q, done, context);
}

eg_err eg_write_then(eg_actor *self, eg_table *table, eg_span record, eg_done_fn done,
                     void *context) {
    return ask_record(self, table, SHARD_WRITE, record, done, context);
}

eg_err eg_insert_new_then(eg_actor *self, eg_table *table, eg_span record, eg_done_fn done,
                          void *context) {
    return ask_record(self, table, SHARD_INSERT_NEW, record, done, context);
}

eg_err eg_delete_then(eg_actor *self, eg_table *table, eg_span key, eg_done_fn done,
                      void *context) {
    return ask_key(self, table, SHARD_DELETE, key, done, context);
}

eg_err eg_take_then(eg_actor *self, eg_table *table, eg_span key, eg_done_fn done, void *context) {
    return ask_key(self, table, SHARD_TAKE, key, done, context);
}

eg_err eg_update_then(eg_actor *self, eg_table *table, eg_span key, eg_span changes,
                      eg_done_fn done, void *context) {
    struct shard_request q = {.op = SHARD_UPDATE, .attribute = SHARD_NO_ATTRIBUTE};
    eg_err err = table == NULL || done == NULL ? EG_BAD_REQUEST : api_value_of_span(key, &q.key);

    if (err == EG_OK)
        err = api_value_of_span(changes, &q.value);
    return err != EG_OK ? err : ask(self, table, NULL, &q, done, context);
}

eg_err eg_update_counter_then(eg_actor *self, eg_table *table, eg_span key, const char *attribute,
                              int64_t delta, eg_done_fn done, void *context) {
    struct shard_request q = {.op = SHARD_COUNTER};
    uint8_t encoded[9];
    struct value_writer w = value_writer_init(encoded, sizeof encoded);
    eg_err err;

    if (table == NULL || attribute == NULL || done == NULL)
        return EG_BAD_REQUEST;
    value_put_i64(&w, delta);
    q.value = (struct value){encoded, (uint32_t) w.need_bytes};
    err = api_value_of_span(key, &q.key);
    return err != EG_OK ? err : ask(self, table, attribute, &q, done, context);
}
