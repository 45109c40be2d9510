/* api.c -- the public calls on tables: check, find, call, release.
 *
 * Spans from the program are scanned before anything looks at them. */
#include "engine/runtime.h"
#include "node/api_private.h"
#include "query/server.h"
#include "tables/far.h"
#include "tables/catalog.h"
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

static struct value value_of_text(const char *text) {
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

/* A call that says nothing leaves nothing of an earlier one either. */
static void clear_note(eg_note *note) {
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

static eg_err change(eg_node *n, const struct catalog_request *q, eg_note *note) {
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

    clear_note(note);
    if (node == NULL || name == NULL)
        return EG_BAD_REQUEST;
    q.name = value_of_text(name);
    if (options != NULL && options->size_bytes != 0) {
        eg_err err = api_value_of_span(*options, &q.value);
        if (err != EG_OK)
            return err;
    }
    return change(node, &q, note);
}

static eg_err change_named(eg_node *node, enum catalog_op op, const char *name) {
    struct catalog_request q = {.op = op};

    if (node == NULL || name == NULL)
        return EG_BAD_REQUEST;
    q.name = value_of_text(name);
    return change(node, &q, NULL);
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

    clear_note(note);
    if (node == NULL || table == NULL || attribute == NULL)
        return EG_BAD_REQUEST;
    value_put_text(&w, attribute);
    if (w.overflow)
        return EG_BAD_REQUEST;
    q.name = value_of_text(table);
    q.value = (struct value){encoded, (uint32_t) w.need_bytes};
    return change(node, &q, note);
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
    q.name = value_of_text(table);
    return change(node, &q, note);
}

eg_err eg_drop_index(eg_node *node, const char *table, const char *attribute, eg_note *note) {
    return change_index(node, CATALOG_DROP_INDEX, table, attribute, note);
}

eg_err eg_alter_table(eg_node *node, const char *table, eg_span change_wanted, eg_note *note) {
    struct catalog_request q = {.op = CATALOG_ALTER};
    eg_err err;

    if (node == NULL || table == NULL)
        return EG_BAD_REQUEST;
    q.name = value_of_text(table);
    err = api_value_of_span(change_wanted, &q.value);
    return err != EG_OK ? err : change(node, &q, note);
}

eg_err eg_table_open(eg_node *node, const char *name, eg_table **out) {
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

void eg_table_close(eg_table *table) {
    if (table == NULL)
        return;
    table_unref(atomic_load(&table->table));
    alloc_put(alloc_system(), table, sizeof *table);
}

/* ---- reading ----------------------------------------------------------------------------- */

eg_err eg_read_begin(eg_node *node) {
    struct node_thread *t;
    eg_err err;

    if (node == NULL)
        return EG_BAD_REQUEST;
    t = node_thread(node, &err);
    if (t == NULL)
        return err;
    reader_enter(&t->reader);
    return EG_OK;
}

void eg_read_end(eg_node *node) {
    eg_err err;
    struct node_thread *t = node == NULL ? NULL : node_thread(node, &err);

    if (t != NULL && t->reader.slot->depth > 0)
        reader_exit(&t->reader);
}

static eg_span span_of_record(const struct record *rec) {
    return rec == NULL ? (eg_span){NULL, 0} : (eg_span){record_array(rec), record_array_bytes(rec)};
}

eg_err eg_get(eg_table *table, eg_span key, eg_span *record) {
    struct node_thread *t;
    const struct record *rec;
    struct table *now;
    struct value v;
    struct key k;
    eg_err err = table == NULL || record == NULL ? EG_BAD_REQUEST : api_value_of_span(key, &v);

    if (err != EG_OK)
        return err;
    t = node_thread(table->node, &err);
    if (t == NULL)
        return err;
    now = api_table(table);
    if (EG_UNLIKELY(table_dropped(now)))
        return EG_NO_TABLE;
    err = table_key(now, &k, v);
    if (err != EG_OK)
        return err;
    if (EG_UNLIKELY(!table_reads_here(now, &k))) {
        key_release(&k);
        return EG_NO_REPLICA;
    }
    rec = table_get(now, &t->reader, &k);
    key_release(&k);
    if (rec == NULL) {
        err = reader_take_fault(&t->reader);
        return err != EG_OK ? err : EG_NOT_FOUND;
    }
    *record = span_of_record(rec);
    return EG_OK;
}

int64_t eg_get_many(eg_table *table, const eg_span *keys, size_t n, eg_span *records) {
    enum { WINDOW = 16 };
    struct key k[WINDOW];
    const struct key *pointer[WINDOW];
    const struct record *rec[WINDOW];
    struct node_thread *t;
    struct table *now = NULL;
    int64_t found = 0;
    eg_err err = EG_OK;

    if (table == NULL || keys == NULL || records == NULL)
        return EG_BAD_REQUEST;
    t = node_thread(table->node, &err);
    if (t != NULL)
        now = api_table(table);
    if (now != NULL && table_dropped(now))
        return EG_NO_TABLE;
    for (size_t from = 0; err == EG_OK && from < n; from += WINDOW) {
        size_t count = EG_MIN(n - from, (size_t) WINDOW), made = 0;

        for (; made < count && err == EG_OK; made += err == EG_OK) {
            struct value v;
            err = api_value_of_span(keys[from + made], &v);
            if (err == EG_OK)
                err = table_key(now, &k[made], v);
            if (err == EG_OK && EG_UNLIKELY(!table_reads_here(now, &k[made]))) {
                key_release(&k[made]);
                err = EG_NO_REPLICA;
            }
            pointer[made] = &k[made];
        }
        if (err == EG_OK)
            table_get_many(now, &t->reader, pointer, count, rec);
        if (err == EG_OK)
            err = reader_take_fault(&t->reader);
        for (size_t i = 0; i < made; i++) {
            if (err == EG_OK) {
                records[from + i] = span_of_record(rec[i]);
                found += rec[i] != NULL;
            }
            key_release(&k[i]);
        }
    }
    return err == EG_OK ? found : (int64_t) err;
}

/* The reads that copy share one frame: a section, a buffer, a result. */
struct copy {
    struct node_thread *thread;
    struct table *table; /* of this section */
    struct buffer buffer;
};

static eg_err copy_begin(struct copy *c, eg_table *table) {
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

static eg_err copy_end(struct copy *c, eg_err err, eg_result *out) {
    reader_exit(&c->thread->reader);
    return api_result_of(&c->buffer, err, out);
}

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

static uint64_t size_far(eg_table *table, struct node_thread *t) {
    struct buffer b;
    uint64_t size = 0;

    buffer_init(&b, alloc_system(), NODE_RESULT_BYTES_MAX);
    if (api_far_call(table, t, PAGE_SIZE, (struct value){0}, false, &b) != EG_OK ||
        !value_get_u64((struct value){b.at, (uint32_t) b.size_bytes}, &size))
        size = 0;
    buffer_fini(&b);
    return size;
}

eg_err eg_table_info(eg_table *table, eg_result *out) {
    struct copy c;
    eg_err err = copy_begin(&c, table);

    if (err != EG_OK)
        return err;
    if (!table_is_near(c.table, false)) {
        uint64_t size;
        reader_exit(&c.thread->reader); /* the others are waited for */
        size = size_far(table, c.thread);
        reader_enter(&c.thread->reader);
        c.table = api_table(table);
        err = table_info_of(c.table, &c.thread->reader, size, &c.buffer);
        return copy_end(&c, err, out);
    }
    err = table_info(c.table, &c.thread->reader, &c.buffer);
    return copy_end(&c, err, out);
}

/* By the shard's own node. */
static eg_err read_far(struct copy *c, eg_table *table, struct value key, eg_result *out) {
    struct shard_request q = {.op = SHARD_READ, .attribute = SHARD_NO_ATTRIBUTE, .key = key};
    struct message *m;
    eg_pid to;
    eg_err err = table_message(c->table, &q, &to, &m, NULL);

    reader_exit(&c->thread->reader);
    if (err == EG_OK)
        err = api_call(table->node, to, m, NODE_CALL_MS, &c->buffer, NULL);
    return api_result_of(&c->buffer, err, out);
}

eg_err eg_read(eg_table *table, eg_span key, eg_result *out) {
    struct copy c;
    struct value v;
    struct key k;
    bool here = true;
    size_t before_bytes;
    eg_err err = api_value_of_span(key, &v);

    if (err == EG_OK)
        err = copy_begin(&c, table);
    if (err != EG_OK)
        return err;
    err = table_key(c.table, &k, v);
    if (err == EG_OK) {
        here = table_reads_here(c.table, &k);
        before_bytes = c.buffer.size_bytes;
        if (here)
            err = table_read(c.table, &c.thread->reader, &k, &c.buffer);
        if (here && err == EG_OK && !table_read_stands(c.table, &c.thread->reader, &k)) {
            here = false; /* not on all copies yet: its master says when */
            c.buffer.size_bytes = before_bytes;
        }
        key_release(&k);
    }
    if (err == EG_OK && !here)
        return read_far(&c, table, v, out);
    return copy_end(&c, err, out);
}

/* An index and a value as SELECT_INDEX wants them. */
static eg_err index_read_far(struct copy *c, eg_table *table, const char *name, struct value v,
                             eg_result *out) {
    size_t room_bytes = strlen(name) + v.size_bytes + 16;
    uint8_t *room = alloc_get(alloc_system(), room_bytes);
    struct value_writer w;
    eg_err err = EG_MEMORY;

    reader_exit(&c->thread->reader);
    if (room != NULL) {
        w = value_writer_init(room, room_bytes);
        value_put_array(&w, 2);
        value_put_text(&w, name);
        value_put_raw(&w, v);
        err = api_far_select(table, SELECT_INDEX, (struct value){room, (uint32_t) w.need_bytes}, 0,
                             &c->buffer, NULL);
        alloc_put(alloc_system(), room, room_bytes);
    }
    return api_result_of(&c->buffer, err, out);
}

eg_err eg_index_read(eg_table *table, const char *attribute, eg_span value, eg_result *out) {
    struct copy c;
    struct value v;
    struct err_note note; /* no room for it in the call */
    eg_err err = attribute == NULL ? EG_BAD_REQUEST : api_value_of_span(value, &v);

    if (err == EG_OK)
        err = copy_begin(&c, table);
    if (err != EG_OK)
        return err;
    if (!table_is_near(c.table, false))
        return index_read_far(&c, table, attribute, v, out);
    err = table_index_read(c.table, &c.thread->reader, attribute, strlen(attribute), v, &c.buffer,
                           &note);
    return copy_end(&c, err, out);
}

eg_err eg_match(eg_table *table, eg_span pattern, uint64_t limit, eg_result *out, eg_note *note) {
    struct err_note why = {""};
    struct copy c;
    struct value v;
    bool near;
    eg_err err = api_value_of_span(pattern, &v);

    clear_note(note);
    if (err == EG_OK)
        err = copy_begin(&c, table);
    if (err != EG_OK)
        return err;
    near = table_is_near(c.table, false);
    if (near)
        err = table_match(c.table, &c.thread->reader, v, limit, &c.buffer, &why);
    reader_exit(&c.thread->reader);
    if (!near)
        err = api_far_select(table, SELECT_MATCH, v, limit, &c.buffer, &why);
    if (err != EG_OK)
        api_copy_note(note, &why);
    return api_result_of(&c.buffer, err, out);
}

uint64_t eg_size(eg_table *table) {
    struct node_thread *t;
    struct table *now;
    uint64_t size;
    bool near;
    eg_err err;

    t = table == NULL ? NULL : node_thread(table->node, &err);
    if (t == NULL)
        return 0;
    reader_enter(&t->reader);
    now = api_table(table);
    near = table_is_near(now, false);
    size = table_dropped(now) || !near ? 0 : table_size(now, &t->reader);
    reader_exit(&t->reader);
    return near ? size : size_far(table, t);
}

static eg_err next_far(struct copy *c, eg_table *table, struct value key, bool back,
                       eg_result *out) {
    reader_exit(&c->thread->reader);
    return api_result_of(&c->buffer,
                         api_far_call(table, c->thread, PAGE_NEXT, key, back, &c->buffer), out);
}

static eg_err first_or_last(eg_table *table, bool last, eg_result *out) {
    struct copy c;
    eg_err err = copy_begin(&c, table);

    if (err != EG_OK)
        return err;
    if (!table_is_near(c.table, false))
        return next_far(&c, table, (struct value){0}, last, out);
    return copy_end(&c, table_first(c.table, &c.thread->reader, last, &c.buffer), out);
}

static eg_err next_or_prev(eg_table *table, eg_span key, bool prev, eg_result *out) {
    struct copy c;
    struct value v;
    struct key k;
    eg_err err = api_value_of_span(key, &v);

    if (err == EG_OK)
        err = copy_begin(&c, table);
    if (err != EG_OK)
        return err;
    if (!table_is_near(c.table, false))
        return next_far(&c, table, v, prev, out);
    err = table_key(c.table, &k, v);
    if (err == EG_OK) {
        err = table_next(c.table, &c.thread->reader, &k, prev, &c.buffer);
        key_release(&k);
    }
    return copy_end(&c, err, out);
}

eg_err eg_first(eg_table *table, eg_result *out) {
    return first_or_last(table, false, out);
}

eg_err eg_last(eg_table *table, eg_result *out) {
    return first_or_last(table, true, out);
}

eg_err eg_next(eg_table *table, eg_span key, eg_result *out) {
    return next_or_prev(table, key, false, out);
}

eg_err eg_prev(eg_table *table, eg_span key, eg_result *out) {
    return next_or_prev(table, key, true, out);
}

static eg_err fold(struct table *table, struct reader *r, const struct key *from, bool reverse,
                   bool (*see)(void *context, eg_span record), void *context) {
    struct table_walk *walk;
    const struct record *rec;
    eg_err err = table_walk_open(&walk, table, r, from, false, reverse);

    while (err == EG_OK && (rec = table_walk_next(walk)) != NULL &&
           see(context, span_of_record(rec)))
        ;
    return err != EG_OK ? err : reader_take_fault(r);
}

eg_err eg_fold(eg_table *table, const eg_span *from, bool reverse,
               bool (*see)(void *context, eg_span record), void *context) {
    struct node_thread *t;
    struct table *now;
    struct value v;
    struct key k;
    eg_err err = EG_OK;

    if (table == NULL || see == NULL)
        return EG_BAD_REQUEST;
    t = node_thread(table->node, &err);
    if (t == NULL)
        return err;
    if (from != NULL)
        err = api_value_of_span(*from, &v);
    if (err != EG_OK)
        return err;
    if (api_is_far(table, t))
        return api_far_fold(table, t, from == NULL ? NULL : &v, reverse, see, context);
    reader_enter(&t->reader);
    now = api_table(table);
    if (table_dropped(now))
        err = EG_NO_TABLE;
    else if (reverse && table_type(now) != TABLE_ORDERED_SET)
        err = EG_BAD_REQUEST;
    if (err == EG_OK && from != NULL)
        err = table_key(now, &k, v);
    if (err == EG_OK) {
        err = fold(now, &t->reader, from == NULL ? NULL : &k, reverse, see, context);
        if (from != NULL)
            key_release(&k);
    }
    reader_exit(&t->reader);
    return err;
}

/* What eg_fold_index() calls with each record. */
struct seer {
    bool (*see)(void *context, eg_span record);
    void *context;
};

static bool see_record(void *context, const struct record *rec) {
    const struct seer *s = context;
    return s->see(s->context, span_of_record(rec));
}

eg_err eg_fold_index(eg_table *table, const char *name, const eg_span *low, const eg_span *high,
                     bool reverse, bool (*see)(void *context, eg_span record), void *context) {
    struct seer seer = {see, context};
    struct value from = {NULL, 0}, to = {NULL, 0};
    struct node_thread *t;
    struct table *now;
    eg_err err = EG_OK;

    if (table == NULL || name == NULL || see == NULL)
        return EG_BAD_REQUEST;
    t = node_thread(table->node, &err);
    if (t == NULL)
        return err;
    if (low != NULL)
        err = api_value_of_span(*low, &from);
    if (err == EG_OK && high != NULL)
        err = api_value_of_span(*high, &to);
    if (err != EG_OK)
        return err;
    reader_enter(&t->reader);
    now = api_table(table);
    if (table_dropped(now))
        err = EG_NO_TABLE;
    else if (!table_is_near(now, false))
        err = EG_NO_REPLICA;
    else
        err = table_index_fold(now, &t->reader, name, strlen(name), from, to, reverse, see_record,
                               &seer);
    reader_exit(&t->reader);
    return err;
}

/* ---- writing -------------------------------------------------------------------------------- */

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
    err = table_try_many(api_table(table), &t->reader, v, ttl_ms, &b, NULL);
    name = *table_name(api_table(table));
    reader_exit(&t->reader);
    if (err == EG_AGAIN) {
        struct catalog_request q = {.op = CATALOG_WRITE_MANY,
                                    .ttl_ms = ttl_ms,
                                    .name = {(const uint8_t *) name.text, name.size_bytes},
                                    .value = v};
        err = change(table->node, &q, NULL);
    }
    buffer_fini(&b);
    if (err == EG_OK && count != NULL)
        *count = value_count(v);
    return err;
}
