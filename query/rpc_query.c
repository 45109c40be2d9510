/* rpc_query.c -- query and explain as methods: a plan, the task that carries it out, and the
 * cursor that keeps what is left between pages.
 *
 *     query        {columns: [...], rows: [[...], ...], cursor: id or nil}
 *     select_next  [rows, id or nil]
 */
#include "query/rpc_handler.h"

#include "query/cursor.h"
#include "query/hand.h"
#include "query/rpc_rows.h"
#include "query/server_private.h"
#include "query/session.h"
#include "query/text_answer.h"

enum { NUMBER_BYTES = 9 };

/* One query, and whoever holds it at the moment. */
struct queried {
    struct task task;
    struct cursor cursor;
    struct leaving leaving;
    struct alloc *alloc;
    struct text_answer answer;
    bool begun;       /* there has been a step            */
    bool later;       /* a page of select_next            */
    bool kept;        /* by the cursor, when the task ends */
    size_t header_at; /* see rpc_rows_begin() */
};

static struct queried *queried_of(struct task *t) {
    return EG_CONTAINER_OF(t, struct queried, task);
}

/* Many groups take longer to free than a turn may last. */
static bool leave_some(struct leaving *l) {
    struct queried *q = EG_CONTAINER_OF(l, struct queried, leaving);

    if (!text_answer_close_some(&q->answer))
        return false;
    alloc_put(q->alloc, q, sizeof *q);
    return true;
}

static void queried_free(struct queried *q) {
    q->leaving.step = leave_some;
    worker_leave(q->task.worker, &q->leaving);
}

static struct catalog *catalog_of(const struct task *t) {
    return t->worker->server->opts.catalog;
}

/* ---- answers ---------------------------------------------------------------------------- */

static bool put_number(struct buffer *out, uint64_t n) {
    uint8_t room[NUMBER_BYTES];
    struct value_writer w = value_writer_init(room, sizeof room);

    value_put_u64(&w, n);
    return buffer_append(out, room, w.need_bytes);
}

static eg_err put_nil(struct buffer *out) {
    static const uint8_t nil = 0xc0;
    return buffer_append(out, &nil, 1) ? EG_OK : EG_TOO_LARGE;
}

/* ---- as a cursor ------------------------------------------------------------------------ */

static const struct task_ops query_task;

static struct task *cursor_page(struct cursor *c, const struct task_ops **ops) {
    struct queried *q = EG_CONTAINER_OF(c, struct queried, cursor);

    text_answer_next_page(&q->answer);
    q->later = true;
    q->kept = false;
    *ops = &query_task;
    return &q->task;
}

static void cursor_free(struct cursor *c) {
    queried_free(EG_CONTAINER_OF(c, struct queried, cursor));
}

static const struct cursor_ops run_cursor = {.page = cursor_page, .free = cursor_free};

static eg_err put_cursor(struct queried *q, struct buffer *out, struct err_note *note) {
    size_t size_bytes = sizeof *q + text_answer_bytes(&q->answer);

    if (!text_answer_has_more(&q->answer))
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

/* Send what shards are to be asked; what cannot be sent is asked again. */
static eg_err ask_shards(struct queried *q, struct err_note *note) {
    struct table *table;
    struct message *m;
    eg_pid to;
    eg_err err;

    for (;;) {
        err = text_answer_ask(&q->answer, catalog_of(&q->task), &table, &to, &m, note);
        if (err != EG_OK)
            return err == EG_NOT_FOUND ? EG_AGAIN : err;
        err = task_ask(&q->task, table, to, m);
        if (err == EG_OK)
            continue;
        text_answer_answered(&q->answer, err, (struct value){0});
        return EG_AGAIN;
    }
}

static eg_err query_step(struct task *task, struct buffer *result, struct err_note *note) {
    struct queried *q = queried_of(task);
    const struct select_pace pace = {is_over, task};
    const struct value names = text_answer_columns(&q->answer);
    uint64_t rows = 0;
    eg_err err = EG_OK;

    if (!q->begun && q->answer.run != NULL)
        hands_call(task, q->answer.run);
    q->begun = true;
    if (result->size_bytes == 0)
        err = rpc_rows_begin(q->later ? NULL : &names, result, &q->header_at);
    if (err == EG_OK)
        err = text_answer_step(&q->answer, catalog_of(task), &task->worker->reader, &pace, result,
                               &rows, note);
    if (err == EG_AGAIN && q->answer.run != NULL)
        hands_await(task, q->answer.run);
    if (err == EG_AGAIN)
        return ask_shards(q, note);
    if (err == EG_OK)
        err = rpc_rows_end(!q->later, q->header_at, rows, result);
    return err == EG_OK ? put_cursor(q, result, note) : err;
}

static void query_answered(struct task *task, eg_err err, struct value result) {
    text_answer_answered(&queried_of(task)->answer, err, result);
}

static size_t query_bytes(const struct task *task) {
    return text_answer_bytes(&EG_CONTAINER_OF(task, struct queried, task)->answer);
}

static const struct task_ops query_task = {.name = "query",
                                           .step = query_step,
                                           .free = queried_end,
                                           .answered = query_answered,
                                           .kept_bytes = query_bytes};

/* ---- the methods ------------------------------------------------------------------------------
 */

static eg_err world_of(struct rpc_call *c, struct text_world *world, const char **text,
                       uint32_t *text_bytes) {
    const uint8_t *at;

    *world = (struct text_world){.alloc = c->worker->server->opts.alloc,
                                 .catalog = c->worker->server->opts.catalog,
                                 .reader = &c->worker->reader,
                                 .dirty = c->options.dirty};
    if (value_kind_of(c->param[0]) != VALUE_STRING ||
        !value_get_bytes(c->param[0], &at, text_bytes))
        return err_note(c->note, EG_BAD_REQUEST, "a query is a string");
    *text = (const char *) at;
    return EG_OK;
}

eg_err rpc_query(struct rpc_call *c) {
    struct text_world world;
    struct queried *q;
    const char *text;
    uint32_t text_bytes;
    eg_err err = world_of(c, &world, &text, &text_bytes);

    if (err != EG_OK)
        return err;
    q = alloc_zero(world.alloc, sizeof *q);
    if (q == NULL)
        return EG_MEMORY;
    q->alloc = world.alloc;
    err = text_answer_open(&q->answer, &world, text, text_bytes, c->param[1], c->options.limit,
                           c->note);
    if (err != EG_OK) {
        alloc_put(q->alloc, q, sizeof *q);
        return err;
    }
    c->alone = text_answer_changes(&q->answer); /* what follows a change sees it */
    return task_start(&q->task, &query_task, c);
}

eg_err rpc_explain(struct rpc_call *c) {
    struct text_world world;
    struct text_plan *p;
    const char *text;
    uint32_t text_bytes;
    eg_err err = world_of(c, &world, &text, &text_bytes);

    if (err == EG_OK)
        err = text_plan_open(&p, &world, text, text_bytes, c->param[1], c->note);
    if (err != EG_OK)
        return err;
    err = text_plan_explain(p, c->result);
    text_plan_close(p);
    return err;
}
