/* rpc_tx_step.c -- methods as they are inside a transaction: which they are, and what each does. */
#include "query/rpc_tx_step.h"

#include "query/rpc_handler.h"
#include "query/rpc_rows.h"
#include "query/server_private.h"
#include "query/session.h"
#include "query/task.h"
#include "query/text_tx.h"

#include "tables/catalog.h"

enum verb {
    VERB_KEYED,
    VERB_READ_MANY,
    VERB_WRITE_MANY,
    VERB_SIZE,
    VERB_STEP,
    VERB_SCAN,
    VERB_TEXT,
    VERB_EXPLAIN,
    VERB_CHECK
};

static eg_err never(struct rpc_call *c) {
    (void) c;
    return EG_INTERNAL; /* it is no method but inside a transaction */
}

/* [table, key, record or nil]: else the transaction is a conflict. */
static const struct rpc_method check_method = {
    .name = "check", .name_bytes = 5, .params = 3, .names_table = true, .run = never};

struct verb_row {
    eg_err (*run)(struct rpc_call *c);
    enum verb verb;
    enum select_kind kind; /* of VERB_SCAN */
    bool back;             /* of VERB_STEP and VERB_SCAN */
    bool from_end;         /* of VERB_STEP               */
};

static const struct verb_row rows[] = {
    {.run = NULL, .verb = VERB_KEYED},
    {.run = never, .verb = VERB_CHECK},
    {.run = rpc_read_many, .verb = VERB_READ_MANY},
    {.run = rpc_write_many, .verb = VERB_WRITE_MANY},
    {.run = rpc_size, .verb = VERB_SIZE, .kind = SELECT_COUNT},
    {.run = rpc_first, .verb = VERB_STEP, .from_end = true},
    {.run = rpc_last, .verb = VERB_STEP, .from_end = true, .back = true},
    {.run = rpc_next, .verb = VERB_STEP},
    {.run = rpc_prev, .verb = VERB_STEP, .back = true},
    {.run = rpc_index_read, .verb = VERB_SCAN, .kind = SELECT_INDEX},
    {.run = rpc_match, .verb = VERB_SCAN, .kind = SELECT_MATCH},
    {.run = rpc_select, .verb = VERB_SCAN, .kind = SELECT_RESULTS},
    {.run = rpc_select_reverse, .verb = VERB_SCAN, .kind = SELECT_RESULTS, .back = true},
    {.run = rpc_select_count, .verb = VERB_SCAN, .kind = SELECT_COUNT},
    {.run = rpc_select_delete, .verb = VERB_SCAN, .kind = SELECT_DELETE},
    {.run = rpc_query, .verb = VERB_TEXT},
    {.run = rpc_explain, .verb = VERB_EXPLAIN},
    {.run = rpc_select_replace, .verb = VERB_SCAN, .kind = SELECT_REPLACE},
};

static const struct verb_row *row_of(const struct rpc_method *m) {
    for (size_t i = 0; i < EG_COUNTOF(rows); i++)
        if (rows[i].run == m->run)
            return &rows[i];
    return NULL;
}

/* ---- which ---------------------------------------------------------------------------- */

eg_err rpc_tx_step_init(struct rpc_tx_step *s, const struct rpc_method *m, struct value_iter params,
                        struct err_note *note) {
    *s = (struct rpc_tx_step){.call = {.method = m, .note = note}};
    if (row_of(m) == NULL)
        return err_note(note, EG_BAD_REQUEST, "%s cannot be inside a transaction", m->name);
    return rpc_call_check_rest(&s->call, params);
}

eg_err rpc_tx_step_open(struct rpc_tx_step *s, const struct rpc_methods *all, struct value name,
                        struct value_iter params, struct err_note *note) {
    const struct rpc_method *m;
    const uint8_t *at;
    uint32_t size_bytes;
    eg_err err;

    if ((value_kind_of(name) != VALUE_STRING && value_kind_of(name) != VALUE_BINARY) ||
        !value_get_bytes(name, &at, &size_bytes))
        return err_note(note, EG_BAD_REQUEST, "a call is [method, param, ...]");
    m = value_is_string(name, check_method.name) ? &check_method
                                                 : rpc_method_find(all, at, size_bytes);
    if (m == NULL)
        return err_note(note, EG_NO_METHOD, "no method %.*s", (int) EG_MIN(size_bytes, 64u),
                        (const char *) at);
    err = rpc_tx_step_init(s, m, params, note);
    if (err == EG_OK &&
        (s->call.options.dirty || s->call.options.siblings || s->call.options.tx.size_bytes != 0 ||
         s->call.options.replaces.size_bytes != 0))
        return err_note(note, EG_BAD_REQUEST,
                        "%s inside a transaction takes no tx, context, siblings or replaces",
                        m->name);
    return err;
}

bool rpc_tx_step_checks(const struct rpc_tx_step *s) {
    return s->call.method == &check_method;
}

/* A query, which may take longer to free than a turn may last. */
struct rpc_tx_text {
    struct leaving leaving;
    struct worker *worker;
    struct alloc *alloc;
    struct text_tx *text;
    size_t header_at; /* see rpc_rows_begin() */
};

static bool leave_some(struct leaving *l) {
    struct rpc_tx_text *x = EG_CONTAINER_OF(l, struct rpc_tx_text, leaving);

    if (!text_tx_close_some(x->text))
        return false;
    alloc_put(x->alloc, x, sizeof *x);
    return true;
}

void rpc_tx_step_close(struct rpc_tx_step *s) {
    if (s->scan != NULL)
        tx_scan_close(s->scan);
    if (s->text != NULL && !leave_some(&s->text->leaving))
        worker_leave(s->text->worker, &s->text->leaving);
    s->scan = NULL;
    s->text = NULL;
}

bool rpc_tx_step_has_more(const struct rpc_tx_step *s) {
    return s->text != NULL ? text_tx_has_more(s->text->text) : tx_scan_has_more(s->scan);
}

void rpc_tx_step_next_page(struct rpc_tx_step *s) {
    s->begun = false;
    s->later = true;
    if (s->text != NULL)
        text_tx_next_page(s->text->text);
    else
        tx_scan_next_page(s->scan);
}

size_t rpc_tx_step_bytes(const struct rpc_tx_step *s) {
    return s->text == NULL ? 0 : text_tx_bytes(s->text->text);
}

/* ---- what each does -------------------------------------------------------------------- */

static eg_err run_keyed(struct rpc_tx_step *s, struct tx *tx, const struct tx_place *at,
                        struct buffer *result) {
    struct rpc_call *c = &s->call;
    const struct rpc_method *m = c->method;
    struct shard_request q = {.op = (enum shard_op) m->op, .ttl_ms = c->options.ttl_ms};
    struct value key;
    eg_err err = rpc_keyed_key(c, &key);

    if (err != EG_OK)
        return err;
    if (q.op == SHARD_READ)
        return tx_read(tx, at, key, result, c->note);
    q.attribute = c->attribute;
    if (m->key_at != 0)
        q.key = key;
    if (m->value_at != 0)
        q.value = c->param[m->value_at];
    return tx_change(tx, at, &q, result, c->note);
}

static eg_err run_many(struct rpc_tx_step *s, struct tx *tx, const struct tx_place *at, bool writes,
                       struct buffer *result) {
    struct rpc_call *c = &s->call;
    const struct shard_request q = {.op = SHARD_WRITE_MANY,
                                    .attribute = SHARD_NO_ATTRIBUTE,
                                    .ttl_ms = c->options.ttl_ms,
                                    .value = c->param[1]};

    if (value_kind_of(c->param[1]) != VALUE_ARRAY)
        return err_note(c->note, EG_BAD_REQUEST, "the %s are an array",
                        writes ? "records" : "keys");
    return writes ? tx_change(tx, at, &q, result, c->note)
                  : tx_read_many(tx, at, c->param[1], result, c->note);
}

static bool is_over(void *context) {
    return task_is_over(context);
}

/* Of index_read: [index, value], in the reader's scratch. */
static eg_err index_question(const struct rpc_call *c, struct reader *r, struct value *out) {
    size_t size_bytes = RPC_HEADER_BYTES + c->param[1].size_bytes + c->param[2].size_bytes;
    struct value_writer w;
    uint8_t *at;

    if (value_kind_of(c->param[1]) != VALUE_STRING)
        return err_note(c->note, EG_BAD_REQUEST, "an attribute's name is a string");
    at = reader_scratch(r, size_bytes);
    if (at == NULL)
        return EG_MEMORY;
    w = value_writer_init(at, size_bytes);
    value_put_array(&w, 2);
    value_put_raw(&w, c->param[1]);
    value_put_raw(&w, c->param[2]);
    *out = (struct value){at, (uint32_t) w.need_bytes};
    return EG_OK;
}

static eg_err open_scan(struct rpc_tx_step *s, const struct verb_row *row, struct tx *tx,
                        const struct tx_place *at) {
    const struct rpc_call *c = &s->call;
    struct select_opts o = {.kind = row->kind,
                            .question = c->param[1],
                            .limit = c->options.limit,
                            .reverse = row->back || c->options.reverse};
    eg_err err = EG_OK;

    if (row->kind == SELECT_INDEX)
        err = index_question(c, at->reader, &o.question);
    return err == EG_OK ? tx_scan_open(&s->scan, tx, at, &o, c->note) : err;
}

static eg_err run_scan(struct rpc_tx_step *s, const struct verb_row *row, struct tx *tx,
                       const struct tx_place *at, struct task *t, struct buffer *result) {
    static const uint8_t array_of_two = 0x92;
    const struct select_pace pace = {is_over, t};
    eg_err err = s->scan == NULL ? open_scan(s, row, tx, at) : EG_OK;

    if (err != EG_OK)
        return err;
    s->paged = row->kind == SELECT_RESULTS;
    if (s->paged && !s->begun && !buffer_append(result, &array_of_two, 1))
        return EG_TOO_LARGE;
    s->begun = true;
    return tx_scan_step(s->scan, at, &pace, result, s->call.note);
}

/* [[["_", ...], [], [true]]]: whatever there is. */
static eg_err count_question(const struct table *t, struct reader *r, struct value *out) {
    uint32_t count = table_schema(t)->attribute_count;
    size_t size_bytes = 4 * (size_t) RPC_HEADER_BYTES + 2 * (size_t) count;
    uint8_t *at = reader_scratch(r, size_bytes);
    struct value_writer w = value_writer_init(at, size_bytes);

    if (at == NULL)
        return EG_MEMORY;
    value_put_array(&w, 1);
    value_put_array(&w, 3);
    value_put_array(&w, count);
    for (uint32_t i = 0; i < count; i++)
        value_put_text(&w, "_");
    value_put_array(&w, 0);
    value_put_array(&w, 1);
    value_put_bool(&w, true);
    EG_ASSERT(!w.overflow);
    *out = (struct value){at, (uint32_t) w.need_bytes};
    return EG_OK;
}

/* Of a table that has others than this node it is a question like any: their counts of changes are
 * not ours. */
static eg_err run_size(struct rpc_tx_step *s, const struct verb_row *row, struct tx *tx,
                       const struct tx_place *at, struct task *t, struct buffer *result) {
    eg_err err;

    if (t->worker->server->opts.cluster == NULL)
        return tx_size(tx, at, result, s->call.note);
    if (s->scan == NULL) {
        err = count_question(at->table, at->reader, &s->call.param[1]);
        if (err != EG_OK)
            return err;
    }
    return run_scan(s, row, tx, at, t, result);
}

static eg_err open_text(struct rpc_tx_step *s, struct tx *tx, struct worker *w, const char *text,
                        uint32_t text_bytes) {
    const struct text_world world = {
        .alloc = w->server->opts.alloc, .catalog = w->server->opts.catalog, .reader = &w->reader};
    struct rpc_tx_text *x = alloc_zero(world.alloc, sizeof *x);
    eg_err err;

    if (x == NULL)
        return EG_MEMORY;
    x->leaving.step = leave_some;
    x->worker = w;
    x->alloc = world.alloc;
    err = text_tx_open(&x->text, tx, &world, text, text_bytes, s->call.param[1],
                       s->call.options.limit, s->call.note);
    if (err == EG_OK)
        s->text = x;
    else
        alloc_put(x->alloc, x, sizeof *x);
    return err;
}

static eg_err begin_text(struct rpc_tx_step *s, struct tx *tx, struct task *t) {
    const struct rpc_call *c = &s->call;
    const uint8_t *text;
    uint32_t text_bytes;

    if (value_kind_of(c->param[0]) != VALUE_STRING ||
        !value_get_bytes(c->param[0], &text, &text_bytes))
        return err_note(c->note, EG_BAD_REQUEST, "a query is a string");
    return open_text(s, tx, t->worker, (const char *) text, text_bytes);
}

static eg_err begin_rows(struct rpc_tx_step *s, struct buffer *result) {
    const struct value names = text_tx_columns(s->text->text);

    s->begun = s->paged = true;
    return rpc_rows_begin(s->later ? NULL : &names, result, &s->text->header_at);
}

/* A query: {columns, rows, cursor}; a later page of it: [rows, cursor]. */
static eg_err run_text(struct rpc_tx_step *s, struct tx *tx, struct task *t,
                       struct buffer *result) {
    const struct select_pace pace = {is_over, t};
    struct worker *w = t->worker;
    uint64_t count = 0;
    eg_err err = s->text == NULL ? begin_text(s, tx, t) : EG_OK;

    if (err == EG_OK && !s->begun)
        err = begin_rows(s, result);
    if (err == EG_OK)
        err = text_tx_step(s->text->text, w->server->opts.catalog, &w->reader, &pace, result,
                           &count, s->call.note);
    if (err == EG_OK)
        err = rpc_rows_end(!s->later, s->text->header_at, count, result);
    return err;
}

/* The way is the same as without a transaction, and nothing is seen on it. */
static eg_err run_explain(struct rpc_tx_step *s, struct tx *tx, struct task *t,
                          struct buffer *result) {
    struct rpc_call c = s->call;
    eg_err err = tx_check(tx, c.note);

    c.worker = t->worker;
    c.result = result;
    return err == EG_OK ? rpc_explain(&c) : err;
}

static eg_err run(struct rpc_tx_step *s, struct tx *tx, const struct tx_place *at, struct task *t,
                  struct buffer *result) {
    const struct verb_row *row = row_of(s->call.method);
    const struct value *param = s->call.param;

    switch (row->verb) {
    case VERB_KEYED:
        return run_keyed(s, tx, at, result);
    case VERB_READ_MANY:
    case VERB_WRITE_MANY:
        return run_many(s, tx, at, row->verb == VERB_WRITE_MANY, result);
    case VERB_SIZE:
        return run_size(s, row, tx, at, t, result);
    case VERB_STEP:
        return tx_step(tx, at, row->from_end ? (struct value){0} : param[1], row->back, result,
                       s->call.note);
    case VERB_SCAN:
        return run_scan(s, row, tx, at, t, result);
    case VERB_TEXT: /* they find their tables by themselves */
    case VERB_EXPLAIN:
    case VERB_CHECK:
        break;
    }
    return tx_expect(tx, at, param[1], param[2], s->call.note);
}

static eg_err put_true(struct buffer *result) {
    static const uint8_t yes = 0xc3;
    return buffer_append(result, &yes, 1) ? EG_OK : EG_TOO_LARGE;
}

eg_err rpc_tx_step_run(struct rpc_tx_step *s, struct tx *tx, struct task *t, struct buffer *result,
                       struct err_note *note) {
    struct tx_place at = {.reader = &t->worker->reader};
    size_t before_bytes = result->size_bytes;
    const uint8_t *name;
    uint32_t name_bytes;
    eg_err err;

    s->call.note = note;
    if (row_of(s->call.method)->verb == VERB_TEXT)
        return run_text(s, tx, t, result);
    if (row_of(s->call.method)->verb == VERB_EXPLAIN)
        return run_explain(s, tx, t, result);
    EG_ASSERT(value_get_bytes(s->call.param[0], &name, &name_bytes)); /* it was checked */
    at.table = catalog_find(t->worker->server->opts.catalog, (const char *) name, name_bytes);
    if (at.table == NULL)
        return err_note(note, EG_NO_TABLE, "no table %.*s", (int) EG_MIN(name_bytes, 64u),
                        (const char *) name);
    s->call.table = at.table;
    err = run(s, tx, &at, t, result);
    if (err == EG_OK && s->call.method == &check_method)
        err = put_true(result);
    if (err != EG_OK && s->scan == NULL)
        result->size_bytes = before_bytes; /* it is made anew */
    return err;
}
