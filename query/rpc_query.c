/* rpc_query.c -- query and explain as methods: a plan, the task that carries it out, and the
 * cursor that keeps what is left between pages.
 *
 *     query        {columns: [...], rows: [[...], ...], cursor: id or nil}
 *     select_next  [rows, id or nil]
 */
#include "query/rpc_handler.h"

#include "query/cursor.h"
#include "query/server_private.h"
#include "query/session.h"
#include "query/text_insert.h"
#include "query/text_run.h"

#include <string.h>

enum { ARRAY32_BYTES = 5, CLOSE_UP_BYTES_MAX = 4096, NUMBER_BYTES = 9, TEXT_SHOWN_MAX = 128 };

/* One query, and whoever holds it at the moment. */
struct queried {
    struct task task;
    struct cursor cursor;
    struct alloc *alloc;
    struct text_plan *plan; /* of insert, update, delete; a run has its own */
    struct text_run *run;
    struct select *change;
    struct text_insert insert;
    uint64_t page_most;
    bool later;       /* a page of select_next            */
    bool kept;        /* by the cursor, when the task ends */
    size_t header_at; /* of the rows, in the result       */
};

static struct queried *queried_of(struct task *t) {
    return EG_CONTAINER_OF(t, struct queried, task);
}

static void queried_free(struct queried *q) {
    if (q->run != NULL)
        text_run_close(q->run);
    if (q->change != NULL)
        select_close(q->change);
    if (q->insert.plan != NULL)
        text_insert_fini(&q->insert);
    if (q->plan != NULL)
        text_plan_close(q->plan);
    alloc_put(q->alloc, q, sizeof *q);
}

static struct catalog *catalog_of(const struct task *t) {
    return t->worker->server->opts.catalog;
}

/* ---- answers ---------------------------------------------------------------------------- */

static bool put_text(struct buffer *out, const char *text) {
    uint8_t room[TEXT_SHOWN_MAX];
    struct value_writer w = value_writer_init(room, sizeof room);

    value_put_text(&w, text);
    return buffer_append(out, room, w.need_bytes);
}

static bool put_number(struct buffer *out, uint64_t n) {
    uint8_t room[NUMBER_BYTES];
    struct value_writer w = value_writer_init(room, sizeof room);

    value_put_u64(&w, n);
    return buffer_append(out, room, w.need_bytes);
}

/* Up to where the rows begin; how many there will be is not known yet. */
static eg_err begin_rows(struct queried *q, struct value names, struct buffer *out) {
    static const uint8_t map_of_three = 0x83, array_of_two = 0x92, array32[ARRAY32_BYTES] = {0xdd};
    bool put = buffer_append(out, q->later ? &array_of_two : &map_of_three, 1);

    if (!q->later)
        put = put && put_text(out, "columns") && buffer_append(out, names.at, names.size_bytes) &&
              put_text(out, "rows");
    q->header_at = out->size_bytes;
    put = put && buffer_append(out, array32, sizeof array32);
    return put ? EG_OK : EG_TOO_LARGE;
}

static eg_err end_rows(struct queried *q, uint64_t rows, struct buffer *out) {
    uint8_t *header = out->at + q->header_at;
    size_t body_bytes = out->size_bytes - q->header_at - ARRAY32_BYTES;
    struct value_writer w = value_writer_init(header, ARRAY32_BYTES);

    if (body_bytes <= CLOSE_UP_BYTES_MAX) { /* moved to get a shorter header */
        value_put_array(&w, (uint32_t) rows);
        memmove(header + w.need_bytes, header + ARRAY32_BYTES, body_bytes);
        out->size_bytes -= ARRAY32_BYTES - w.need_bytes;
    } else {
        for (int i = 0; i < 4; i++)
            header[1 + i] = (uint8_t) (rows >> (24 - 8 * i));
    }
    return q->later || put_text(out, "cursor") ? EG_OK : EG_TOO_LARGE;
}

static eg_err put_nil(struct buffer *out) {
    static const uint8_t nil = 0xc0;
    return buffer_append(out, &nil, 1) ? EG_OK : EG_TOO_LARGE;
}

/* The one row of a change. */
static eg_err put_count(struct queried *q, uint64_t count, struct buffer *out) {
    static const uint8_t array_of_one = 0x91;
    eg_err err = begin_rows(q, q->plan->names, out);

    if (err == EG_OK && (!buffer_append(out, &array_of_one, 1) || !put_number(out, count)))
        err = EG_TOO_LARGE;
    if (err == EG_OK)
        err = end_rows(q, 1, out);
    return err == EG_OK ? put_nil(out) : err;
}

/* ---- as a cursor ------------------------------------------------------------------------ */

static const struct task_ops run_task;

static struct task *cursor_page(struct cursor *c, const struct task_ops **ops) {
    struct queried *q = EG_CONTAINER_OF(c, struct queried, cursor);

    text_run_page(q->run, q->page_most);
    q->later = true;
    q->kept = false;
    *ops = &run_task;
    return &q->task;
}

static void cursor_free(struct cursor *c) {
    queried_free(EG_CONTAINER_OF(c, struct queried, cursor));
}

static const struct cursor_ops run_cursor = {.page = cursor_page, .free = cursor_free};

static eg_err put_cursor(struct queried *q, struct buffer *out, struct err_note *note) {
    size_t size_bytes = sizeof *q + text_run_bytes(q->run);

    if (!q->run->more)
        return put_nil(out);
    if (size_bytes > CURSOR_BYTES_MAX)
        return err_note(note, EG_TOO_LARGE,
                        "what is left behind the page is more than a cursor keeps (16 MiB)");
    q->cursor = (struct cursor){.ops = &run_cursor, .size_bytes = size_bytes};
    cursor_keep(q->task.session, &q->cursor);
    q->kept = true;
    return put_number(out, q->cursor.id) ? EG_OK : EG_TOO_LARGE;
}

/* ---- as a task ---------------------------------------------------------------------------- */

static bool is_over(void *context) {
    return task_is_over(context);
}

static void queried_end(struct task *task) {
    if (!queried_of(task)->kept)
        queried_free(queried_of(task));
}

static eg_err run_step(struct task *task, struct buffer *result, struct err_note *note) {
    struct queried *q = queried_of(task);
    const struct select_pace pace = {is_over, task};
    eg_err err = EG_OK;

    if (result->size_bytes == 0)
        err = begin_rows(q, q->run->plan->names, result);
    if (err == EG_OK)
        err = text_run_step(q->run, catalog_of(task), &task->worker->reader, &pace, result, note);
    if (err == EG_OK)
        err = end_rows(q, q->run->page_rows, result);
    return err == EG_OK ? put_cursor(q, result, note) : err;
}

static const struct task_ops run_task = {.name = "query", .step = run_step, .free = queried_end};

/* Send what shards are to be asked; what cannot be sent is asked again. */
static eg_err ask_shards(struct queried *q, struct err_note *note) {
    struct table *t = q->plan->source[0].table;
    struct message *m;
    eg_pid to;
    eg_err err;

    for (;;) {
        err = q->change != NULL ? select_ask(q->change, t, &to, &m, note)
                                : text_insert_ask(&q->insert, &to, &m, note);
        if (err != EG_OK)
            return err == EG_NOT_FOUND ? EG_AGAIN : err;
        err = task_ask(&q->task, t, to, m);
        if (err == EG_OK)
            continue;
        if (q->change != NULL)
            select_answered(q->change, err, (struct value){0});
        else
            text_insert_answered(&q->insert, err, (struct value){0});
        return EG_AGAIN;
    }
}

static eg_err change_step(struct task *task, struct buffer *result, struct err_note *note) {
    struct queried *q = queried_of(task);
    const struct select_pace pace = {is_over, task};
    struct reader *r = &task->worker->reader;
    uint64_t count = q->plan->row_count;
    struct buffer counted;
    eg_err err = text_plan_check(q->plan, catalog_of(task), note);

    if (err != EG_OK)
        return err;
    buffer_init(&counted, q->alloc, NUMBER_BYTES);
    if (q->change != NULL)
        err = select_step(q->change, q->plan->source[0].table, r, &pace, &counted, note);
    else
        err = text_insert_step(&q->insert, r, &pace, note);
    if (err == EG_OK && q->change != NULL &&
        !value_get_u64((struct value){counted.at, (uint32_t) counted.size_bytes}, &count))
        err = EG_INTERNAL;
    buffer_fini(&counted);
    if (err == EG_AGAIN)
        return ask_shards(q, note);
    return err == EG_OK ? put_count(q, count, result) : err;
}

static void change_answered(struct task *task, eg_err err, struct value result) {
    struct queried *q = queried_of(task);

    if (q->change != NULL)
        select_answered(q->change, err, result);
    else
        text_insert_answered(&q->insert, err, result);
}

static const struct task_ops change_task = {
    .name = "query", .step = change_step, .free = queried_end, .answered = change_answered};

/* ---- the methods ------------------------------------------------------------------------------
 */

static eg_err make_plan(struct rpc_call *c, struct text_plan **out) {
    const struct text_world world = {.alloc = c->worker->server->opts.alloc,
                                     .catalog = c->worker->server->opts.catalog,
                                     .reader = &c->worker->reader};
    const uint8_t *text;
    uint32_t text_bytes;

    if (value_kind_of(c->param[0]) != VALUE_STRING ||
        !value_get_bytes(c->param[0], &text, &text_bytes))
        return err_note(c->note, EG_BAD_REQUEST, "a query is a string");
    return text_plan_open(out, &world, (const char *) text, text_bytes, c->param[1], c->note);
}

static eg_err begin_change(struct queried *q, struct rpc_call *c) {
    struct select_opts o = {.kind = SELECT_REMOVE, .compiled = q->plan->input};
    eg_err err;

    if (q->plan->statement == TEXT_INSERT) {
        text_insert_init(&q->insert, q->plan);
        return EG_OK;
    }
    if (q->plan->statement == TEXT_UPDATE)
        o.kind = SELECT_REPLACE;
    err = select_open(&q->change, q->alloc, q->plan->source[0].table, &c->worker->reader, &o,
                      c->note);
    if (err == EG_OK)
        q->plan->input = NULL; /* the select's own */
    return err;
}

static eg_err begin(struct queried *q, struct rpc_call *c) {
    eg_err err;

    if (q->plan->statement != TEXT_SELECT)
        return begin_change(q, c);
    err = text_run_open(&q->run, q->plan);
    if (err != EG_OK)
        return err;
    q->plan = NULL; /* the run's own */
    q->page_most = c->options.limit;
    text_run_page(q->run, q->page_most);
    return EG_OK;
}

eg_err rpc_query(struct rpc_call *c) {
    struct queried *q = alloc_zero(c->worker->server->opts.alloc, sizeof *q);
    eg_err err;

    if (q == NULL)
        return EG_MEMORY;
    q->alloc = c->worker->server->opts.alloc;
    err = make_plan(c, &q->plan);
    if (err == EG_OK)
        err = begin(q, c);
    if (err != EG_OK) {
        queried_free(q);
        return err;
    }
    c->alone = q->run == NULL; /* what follows a change sees it */
    return task_start(&q->task, q->run != NULL ? &run_task : &change_task, c);
}

eg_err rpc_explain(struct rpc_call *c) {
    struct text_plan *p;
    eg_err err = make_plan(c, &p);

    if (err != EG_OK)
        return err;
    err = text_plan_explain(p, c->result);
    text_plan_close(p);
    return err;
}
