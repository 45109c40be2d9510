/* api.c -- what the public calls on tables share: check, find, call, release.
 *
 * Spans from the program are scanned before anything looks at them. */
#include "engine/runtime.h"
#include "node/api_private.h"
#include "tables/table.h"

#include <stdio.h>
#include <string.h>

struct table *api_table(eg_table *handle) {
    struct table *t = atomic_load_explicit(&handle->table, memory_order_acquire);
    struct table *now = table_now(t);

    if (EG_LIKELY(now == t) || !table_ref(now))
        return now;
    if (atomic_compare_exchange_strong(&handle->table, &t, now))
        table_unref(t);
    else
        table_unref(now); /* another thread has seen it too */
    return now;
}

/* ---- spans and results -------------------------------------------------------------- */

eg_err api_value_of_span(eg_span s, struct value *out) {
    size_t used_bytes;
    eg_err err;

    if (s.at == NULL || s.size_bytes > UINT32_MAX)
        return EG_BAD_REQUEST;
    err = value_scan(s.at, s.size_bytes, &used_bytes);
    if (err == EG_AGAIN || (err == EG_OK && used_bytes != s.size_bytes))
        return EG_BAD_REQUEST;
    *out = (struct value){s.at, (uint32_t) s.size_bytes};
    return err;
}

struct value api_value_of_text(const char *text) {
    return (struct value){(const uint8_t *) text, (uint32_t) strlen(text)};
}

void eg_result_free(eg_result *r) {
    struct buffer b;

    if (r == NULL || r->owner == NULL)
        return;
    buffer_init(&b, alloc_system(), 0);
    b.at = r->owner;
    b.room_bytes = r->room_bytes;
    buffer_fini(&b);
    *r = (eg_result){0};
}

eg_err api_result_of(struct buffer *b, eg_err err, eg_result *out) {
    if (err == EG_OK && out != NULL)
        *out = (eg_result){{b->at, b->size_bytes}, b->at, b->room_bytes};
    else
        buffer_fini(b);
    return err;
}

void api_copy_note(eg_note *to, const struct err_note *from) {
    if (to != NULL)
        snprintf(to->text, sizeof to->text, "%s", from->text);
}

void api_clear_note(eg_note *note) {
    if (note != NULL)
        note->text[0] = '\0';
}

/* ---- waiting for an answer ------------------------------------------------------------ */

eg_err api_call(eg_node *n, eg_pid to, struct message *m, uint64_t timeout_ms,
                struct buffer *result, struct err_note *note) {
    struct message *reply;
    struct node_thread *t;
    struct foreign *f = NULL;
    eg_err err = EG_OK;

    if (runtime_current(n->runtime) != NULL) /* a scheduler must not wait for itself */
        err = EG_BUSY;
    else if ((t = node_thread(n, &err)) != NULL)
        f = node_foreign(t, &err);
    if (f == NULL) {
        message_free(n->runtime, m);
        return err;
    }
    err = foreign_call(f, to, m, timeout_ms, &reply);
    if (err != EG_OK)
        return err;
    err = (eg_err) reply->tag;
    if (err == EG_OK && result != NULL && !buffer_append(result, reply->payload, reply->size_bytes))
        err = EG_MEMORY;
    if (err != EG_OK)
        (void) err_note(note, err, "%.*s", (int) reply->size_bytes, (const char *) reply->payload);
    message_free(n->runtime, reply);
    return err;
}

/* ---- a section, a buffer, a result ----------------------------------------------------- */

eg_err api_reading_begin(struct api_reading *c, eg_table *table) {
    eg_err err = EG_OK;

    if (table == NULL)
        return EG_BAD_REQUEST;
    c->thread = node_thread(table->node, &err);
    if (c->thread == NULL)
        return err;
    reader_enter(&c->thread->reader);
    c->table = api_table(table);
    if (table_dropped(c->table)) {
        reader_exit(&c->thread->reader);
        return EG_NO_TABLE;
    }
    buffer_init(&c->buffer, alloc_system(), NODE_RESULT_BYTES_MAX);
    return EG_OK;
}

eg_err api_reading_end(struct api_reading *c, eg_err err, eg_result *out) {
    reader_exit(&c->thread->reader);
    return api_result_of(&c->buffer, err, out);
}
