/* rpc_table.c -- methods on tables and on more than one key. */
#include "query/rpc_handler.h"

#include "query/server_private.h"
#include "query/session.h"

#include "tables/catalog.h"
#include "tables/far.h"

enum { READ_MANY_KEYS = 16 }; /* look-ups whose cache misses overlap */

static struct catalog *catalog_of(const struct rpc_call *c) {
    return c->worker->server->opts.catalog;
}

/* The text of a parameter that must be a string. */
static eg_err text_param(struct rpc_call *c, uint32_t number, const char *what, const char **text,
                         uint32_t *text_bytes) {
    const uint8_t *at;

    if (value_kind_of(c->param[number]) != VALUE_STRING ||
        !value_get_bytes(c->param[number], &at, text_bytes))
        return err_note(c->note, EG_BAD_REQUEST, "%s is a string", what);
    *text = (const char *) at;
    return EG_OK;
}

/* ---- changes that the catalog makes ------------------------------------------ */

static eg_err ask_catalog(struct rpc_call *c, enum catalog_op op, struct value value) {
    struct catalog_request q = {
        .op = op, .value = value, .ttl_ms = c->options.ttl_ms, .dirty = c->options.dirty};
    eg_err err;
    eg_ref ref;

    if (!value_get_bytes(c->param[0], &q.name.at, &q.name.size_bytes))
        return EG_INTERNAL; /* rpc_call_check() has seen a string */
    ref = session_begin(c->session, c);
    err = catalog_send(catalog_of(c), c->session->pid, ref, &q);
    if (err == EG_OK)
        return EG_AGAIN;
    session_cancel(c->session, ref);
    return err;
}

eg_err rpc_create_table(struct rpc_call *c) {
    return ask_catalog(c, CATALOG_CREATE, c->free_options);
}

eg_err rpc_drop_table(struct rpc_call *c) {
    return ask_catalog(c, CATALOG_DROP, (struct value){0});
}

eg_err rpc_clear_table(struct rpc_call *c) {
    return ask_catalog(c, CATALOG_CLEAR, (struct value){0});
}

eg_err rpc_sync_table(struct rpc_call *c) {
    return ask_catalog(c, CATALOG_SYNC, (struct value){0});
}

eg_err rpc_conflicts(struct rpc_call *c) {
    enum { CONFLICTS_UNLESS_SAID = 100 };
    uint64_t limit = c->options.limit == 0 ? CONFLICTS_UNLESS_SAID : c->options.limit;
    eg_err err = table_conflicts(c->table, limit, c->result);

    return err != EG_MEMORY ? err
                            : err_note(c->note, EG_TOO_LARGE,
                                       "more entries than one answer can have: ask with limit");
}

eg_err rpc_add_index(struct rpc_call *c) {
    return ask_catalog(c, CATALOG_ADD_INDEX, c->param[1]);
}

eg_err rpc_drop_index(struct rpc_call *c) {
    return ask_catalog(c, CATALOG_DROP_INDEX, c->param[1]);
}

/* [method, word, ...]: what tables/alter.h reads. */
static eg_err ask_alter(struct rpc_call *c, const struct value *word, uint32_t count) {
    size_t size_bytes = RPC_HEADER_BYTES + c->method->name_bytes;
    struct value_writer w;
    uint8_t *at;

    for (uint32_t i = 0; i < count; i++)
        size_bytes += word[i].size_bytes;
    at = reader_scratch(&c->worker->reader, size_bytes);
    if (at == NULL)
        return EG_MEMORY;
    w = value_writer_init(at, size_bytes);
    value_put_array(&w, count + 1);
    value_put_text(&w, c->method->name);
    for (uint32_t i = 0; i < count; i++)
        value_put_raw(&w, word[i]);
    EG_ASSERT(!w.overflow);
    return ask_catalog(c, CATALOG_ALTER, (struct value){at, (uint32_t) w.need_bytes});
}

eg_err rpc_alter(struct rpc_call *c) {
    return ask_alter(c, &c->param[1], c->method->params - 1u);
}

/* table, specification, {attributes: [name, ...]} */
eg_err rpc_transform_table(struct rpc_call *c) {
    static const uint8_t nil = 0xc0;
    struct value word[2] = {c->param[1], {&nil, 1}};
    struct value name;
    struct value_iter it;

    if (c->free_options.size_bytes != 0) {
        it = value_iter_of(c->free_options);
        while (value_iter_next(&it, &name)) {
            if (!value_is_string(name, "attributes"))
                return err_note(c->note, EG_BAD_REQUEST, "the only option is attributes");
            EG_ASSERT(value_iter_next(&it, &word[1])); /* the frame was scanned: pairs are whole */
        }
    }
    return ask_alter(c, word, 2);
}

eg_err rpc_write_many(struct rpc_call *c) {
    const struct table_many how = {c->options.ttl_ms, c->options.dirty};
    eg_err err;

    if (value_kind_of(c->param[1]) != VALUE_ARRAY)
        return err_note(c->note, EG_BAD_REQUEST, "the records are an array");
    err = table_try_many(c->table, &c->worker->reader, c->param[1], &how, c->result, c->note);
    return err == EG_AGAIN ? ask_catalog(c, CATALOG_WRITE_MANY, c->param[1]) : err;
}

/* ---- about tables ---------------------------------------------------------------- */

eg_err rpc_tables(struct rpc_call *c) {
    return catalog_names(catalog_of(c), c->result);
}

eg_err rpc_table_info(struct rpc_call *c) {
    if (EG_UNLIKELY(!table_answers_here(c->table, false)))
        return rpc_far(c, PAGE_SIZE, (struct value){0}, false);
    return table_info(c->table, &c->worker->reader, c->result);
}

static eg_err put_header(struct buffer *out, uint32_t count) {
    uint8_t *room = buffer_room(out, RPC_HEADER_BYTES);
    struct value_writer w;

    if (room == NULL)
        return EG_TOO_LARGE;
    w = value_writer_init(room, RPC_HEADER_BYTES);
    value_put_array(&w, count);
    out->size_bytes += (size_t) (w.at - room);
    return EG_OK;
}

/* May it be answered in place? */
static bool is_near(const struct rpc_call *c) {
    return EG_LIKELY(table_answers_here(c->table, c->options.dirty));
}

eg_err rpc_size(struct rpc_call *c) {
    uint8_t *room;
    struct value_writer w;

    if (!is_near(c))
        return rpc_far(c, PAGE_SIZE, (struct value){0}, false);
    room = buffer_room(c->result, RPC_HEADER_BYTES);
    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, RPC_HEADER_BYTES);
    value_put_u64(&w, table_size(c->table, &c->worker->reader));
    c->result->size_bytes += (size_t) (w.at - room);
    return EG_OK;
}

/* ---- many keys, keys in order ------------------------------------------------------ */

/* Is it on all copies?  Else its master says when (far_call.h). */
static bool stands(struct rpc_call *c, const struct key *k, const struct record *found) {
    return c->options.dirty || table_got_stands(c->table, &c->worker->reader, k, found);
}

/* [record] or []; in a bag [record, ...].  EG_AGAIN: not to be told yet. */
static eg_err put_found(struct rpc_call *c, const struct key *k, const struct record *found) {
    eg_err err;

    if (schema_has_many(table_schema(c->table))) {
        err = table_read(c->table, &c->worker->reader, k, c->result);
        return err == EG_OK && !stands(c, k, found) ? EG_AGAIN : err;
    }
    if (!stands(c, k, found))
        return EG_AGAIN;
    err = put_header(c->result, found != NULL);
    if (err == EG_OK && found != NULL &&
        !buffer_append(c->result, record_array(found), record_array_bytes(found)))
        err = EG_TOO_LARGE;
    return err;
}

static eg_err read_chunk(struct rpc_call *c, struct value_iter *it) {
    struct key key[READ_MANY_KEYS];
    const struct key *keys[READ_MANY_KEYS];
    const struct record *found[READ_MANY_KEYS];
    uint32_t count = 0;
    struct value v;
    eg_err err = EG_OK;

    while (err == EG_OK && count < READ_MANY_KEYS && value_iter_next(it, &v)) {
        err = table_key_checked(c->table, &key[count], v, c->note);
        if (err == EG_OK) {
            keys[count] = &key[count];
            count++;
        }
    }
    if (err == EG_OK) {
        table_get_many(c->table, &c->worker->reader, keys, count, found);
        err = reader_take_fault(&c->worker->reader);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (err == EG_OK)
            err = put_found(c, &key[i], found[i]);
        key_release(&key[i]);
    }
    return err;
}

eg_err rpc_read_many(struct rpc_call *c) {
    size_t before_bytes = c->result->size_bytes;
    struct value_iter it;
    eg_err err;

    if (value_kind_of(c->param[1]) != VALUE_ARRAY)
        return err_note(c->note, EG_BAD_REQUEST, "the keys are an array");
    if (!is_near(c))
        return rpc_far(c, PAGE_READ, c->param[1], false);
    err = put_header(c->result, value_count(c->param[1]));
    for (it = value_iter_of(c->param[1]); err == EG_OK && it.left > 0;)
        err = read_chunk(c, &it);
    if (EG_LIKELY(err != EG_AGAIN))
        return err;
    c->result->size_bytes = before_bytes;
    return rpc_far(c, PAGE_READ, c->param[1], false);
}

static eg_err first(struct rpc_call *c, bool last) {
    return is_near(c) ? table_first(c->table, &c->worker->reader, last, c->result)
                      : rpc_far(c, PAGE_NEXT, (struct value){0}, last);
}

eg_err rpc_first(struct rpc_call *c) {
    return first(c, false);
}

eg_err rpc_last(struct rpc_call *c) {
    return first(c, true);
}

static eg_err neighbour(struct rpc_call *c, bool prev) {
    struct key key;
    eg_err err;

    if (!is_near(c))
        return rpc_far(c, PAGE_NEXT, c->param[1], prev);
    err = table_key_checked(c->table, &key, c->param[1], c->note);
    if (err != EG_OK)
        return err;
    err = table_next(c->table, &c->worker->reader, &key, prev, c->result);
    key_release(&key);
    return err;
}

eg_err rpc_next(struct rpc_call *c) {
    return neighbour(c, false);
}

eg_err rpc_prev(struct rpc_call *c) {
    return neighbour(c, true);
}

/* ---- other ways to find records ------------------------------------------------------- */

eg_err rpc_index_read(struct rpc_call *c) {
    const char *text = "";
    uint32_t text_bytes = 0;
    eg_err err = text_param(c, 1, "an attribute's name", &text, &text_bytes);

    if (err != EG_OK)
        return err;
    if (!is_near(c))
        return rpc_index_read_far(c);
    return table_index_read(c->table, &c->worker->reader, text, text_bytes, c->param[2], c->result,
                            c->note);
}
