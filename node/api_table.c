/* api_table.c -- tables as such: made, changed, opened, told of. */
#include "node/api_private.h"

#include "engine/runtime.h"
#include "query/server.h"
#include "tables/catalog.h"
#include "tables/far.h"
#include "tables/table.h"

#include <string.h>

eg_err api_change(eg_node *n, const struct catalog_request *q, eg_note *note) {
    struct err_note why = {""};
    struct message *m;
    eg_pid to;
    eg_err err = catalog_message(n->catalog, q, &to, &m);

    if (err == EG_OK)
        err = api_call(n, to, m, NODE_CALL_LONG_MS, NULL, &why);
    if (err != EG_OK)
        api_copy_note(note, &why);
    return err == EG_NOPROC ? EG_BUSY : err; /* the catalog's actor is just being replaced */
}

eg_err eg_create_table(eg_node *node, const char *name, const eg_span *options, eg_note *note) {
    struct catalog_request q = {.op = CATALOG_CREATE};

    api_clear_note(note);
    if (node == NULL || name == NULL)
        return EG_BAD_REQUEST;
    q.name = api_value_of_text(name);
    if (options != NULL && options->size_bytes != 0) {
        eg_err err = api_value_of_span(*options, &q.value);
        if (err != EG_OK)
            return err;
    }
    return api_change(node, &q, note);
}

static eg_err change_named(eg_node *node, enum catalog_op op, const char *name) {
    struct catalog_request q = {.op = op};

    if (node == NULL || name == NULL)
        return EG_BAD_REQUEST;
    q.name = api_value_of_text(name);
    return api_change(node, &q, NULL);
}

eg_err eg_drop_table(eg_node *node, const char *name) {
    return change_named(node, CATALOG_DROP, name);
}

eg_err eg_clear_table(eg_node *node, const char *name) {
    return change_named(node, CATALOG_CLEAR, name);
}

static eg_err change_index(eg_node *node, enum catalog_op op, const char *table,
                           const char *attribute, eg_note *note) {
    struct catalog_request q = {.op = op};
    uint8_t encoded[SCHEMA_NAME_MAX + 8];
    struct value_writer w = value_writer_init(encoded, sizeof encoded);

    api_clear_note(note);
    if (node == NULL || table == NULL || attribute == NULL)
        return EG_BAD_REQUEST;
    value_put_text(&w, attribute);
    if (w.overflow)
        return EG_BAD_REQUEST;
    q.name = api_value_of_text(table);
    q.value = (struct value){encoded, (uint32_t) w.need_bytes};
    return api_change(node, &q, note);
}

eg_err eg_add_index(eg_node *node, const char *table, const char *attribute, eg_note *note) {
    return change_index(node, CATALOG_ADD_INDEX, table, attribute, note);
}

eg_err eg_add_index_of(eg_node *node, const char *table, eg_span spec, eg_note *note) {
    struct catalog_request q = {.op = CATALOG_ADD_INDEX};
    eg_err err;

    if (node == NULL || table == NULL)
        return EG_BAD_REQUEST;
    err = api_value_of_span(spec, &q.value);
    if (err != EG_OK)
        return err;
    q.name = api_value_of_text(table);
    return api_change(node, &q, note);
}

eg_err eg_drop_index(eg_node *node, const char *table, const char *attribute, eg_note *note) {
    return change_index(node, CATALOG_DROP_INDEX, table, attribute, note);
}

eg_err eg_alter_table(eg_node *node, const char *table, eg_span change_wanted, eg_note *note) {
    struct catalog_request q = {.op = CATALOG_ALTER};
    eg_err err;

    if (node == NULL || table == NULL)
        return EG_BAD_REQUEST;
    q.name = api_value_of_text(table);
    err = api_value_of_span(change_wanted, &q.value);
    return err != EG_OK ? err : api_change(node, &q, note);
}

static eg_err open_handle(eg_node *node, const char *name, bool dirty, eg_table **out) {
    struct node_thread *t;
    struct table *found;
    eg_table *handle;
    eg_err err;

    if (node == NULL || name == NULL || out == NULL)
        return EG_BAD_REQUEST;
    t = node_thread(node, &err);
    if (t == NULL)
        return err;
    handle = alloc_get(alloc_system(), sizeof *handle);
    if (handle == NULL)
        return EG_MEMORY;
    handle->node = node;
    handle->dirty = dirty;
    reader_enter(&t->reader);
    found = catalog_find(node->catalog, name, strlen(name));
    if (found != NULL && !table_ref(found))
        found = NULL; /* dropped between the two */
    atomic_init(&handle->table, found);
    reader_exit(&t->reader);
    if (found == NULL) {
        alloc_put(alloc_system(), handle, sizeof *handle);
        return EG_NO_TABLE;
    }
    *out = handle;
    return EG_OK;
}

eg_err eg_table_open(eg_node *node, const char *name, eg_table **out) {
    return open_handle(node, name, false, out);
}

eg_err eg_table_open_dirty(eg_node *node, const char *name, eg_table **out) {
    return open_handle(node, name, true, out);
}

void eg_table_close(eg_table *table) {
    if (table == NULL)
        return;
    table_unref(atomic_load(&table->table));
    alloc_put(alloc_system(), table, sizeof *table);
}

/* ---- what there is ---------------------------------------------------------------------- */

eg_err eg_tables(eg_node *node, eg_result *out) {
    struct node_thread *t;
    struct buffer b;
    eg_err err = EG_OK;

    if (node == NULL)
        return EG_BAD_REQUEST;
    t = node_thread(node, &err);
    if (t == NULL)
        return err;
    buffer_init(&b, alloc_system(), NODE_RESULT_BYTES_MAX);
    reader_enter(&t->reader);
    err = catalog_names(node->catalog, &b);
    reader_exit(&t->reader);
    return api_result_of(&b, err, out);
}

/* {node, processes}: what there is to tell where no server counts. */
static eg_err put_quiet_stats(eg_node *node, struct buffer *out) {
    enum { MAP_BYTES = 512 }; /* a name has at most 63 */
    uint8_t *room = buffer_room(out, MAP_BYTES);
    struct value_writer w;

    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, MAP_BYTES);
    value_put_map(&w, 2);
    value_put_text(&w, "node");
    value_put_text(&w, eg_node_name(node));
    value_put_text(&w, "processes");
    value_put_u64(&w, runtime_actors(node->runtime));
    EG_ASSERT(!w.overflow);
    out->size_bytes += w.need_bytes;
    return EG_OK;
}

eg_err eg_stats(eg_node *node, eg_result *out) {
    struct buffer b;
    eg_err err;

    if (node == NULL || out == NULL)
        return EG_BAD_REQUEST;
    buffer_init(&b, alloc_system(), NODE_RESULT_BYTES_MAX);
    err = node->server != NULL ? server_stats(node->server, &b) : put_quiet_stats(node, &b);
    return api_result_of(&b, err, out);
}

eg_err eg_table_info(eg_table *table, eg_result *out) {
    struct api_reading c;
    eg_err err = api_reading_begin(&c, table);

    if (err != EG_OK)
        return err;
    if (!table_answers_here(c.table, false)) {
        uint64_t size;
        reader_exit(&c.thread->reader); /* the others are waited for */
        size = api_far_size(table, c.thread);
        reader_enter(&c.thread->reader);
        c.table = api_table(table);
        err = table_info_of(c.table, &c.thread->reader, size, &c.buffer);
        return api_reading_end(&c, err, out);
    }
    err = table_info(c.table, &c.thread->reader, &c.buffer);
    return api_reading_end(&c, err, out);
}
