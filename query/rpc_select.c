/* rpc_select.c -- select and its kin as methods: a question, the task that answers it, and
 * the cursor that keeps it between pages.
 *
 *     handler --> asked --task--> page, done --> freed
 *                   ^               |
 *              select_next <--cursor, more
 */
#include "query/rpc_handler.h"

#include "query/cursor.h"
#include "query/select.h"
#include "query/server_private.h"
#include "query/session.h"

#include "tables/catalog.h"

enum { ARRAY_OF_TWO = 0x92, NIL = 0xc0 };

/* One question, and whoever holds it at the moment. */
struct asked {
    struct task task;
    struct cursor cursor;
    struct alloc *alloc;
    struct select *select;
    struct schema_name table; /* found anew at each step */
    bool paged;               /* the result is [results, cursor] */
    bool kept;                /* by the cursor, when the task ends */
};

static struct asked *asked_of(struct task *t) {
    return EG_CONTAINER_OF(t, struct asked, task);
}

static void asked_free(struct asked *a) {
    select_close(a->select);
    alloc_put(a->alloc, a, sizeof *a);
}

/* ---- as a cursor -------------------------------------------------------------------- */

static const struct task_ops asked_task;

static struct task *cursor_page(struct cursor *c, const struct task_ops **ops) {
    struct asked *a = EG_CONTAINER_OF(c, struct asked, cursor);

    select_next_page(a->select);
    a->kept = false;
    *ops = &asked_task;
    return &a->task;
}

static void cursor_free(struct cursor *c) {
    asked_free(EG_CONTAINER_OF(c, struct asked, cursor));
}

static const struct cursor_ops asked_cursor = {.page = cursor_page, .free = cursor_free};

/* Behind the page: where it goes on, or nil. */
static eg_err put_cursor(struct asked *a, struct buffer *result) {
    enum { CURSOR_BYTES = 9 };
    uint8_t *room = buffer_room(result, CURSOR_BYTES);
    struct value_writer w;

    if (room == NULL)
        return EG_TOO_LARGE;
    w = value_writer_init(room, CURSOR_BYTES);
    if (select_has_more(a->select)) {
        a->cursor = (struct cursor){.ops = &asked_cursor,
                                    .size_bytes = sizeof *a + select_bytes(a->select)};
        cursor_keep(a->task.session, &a->cursor);
        a->kept = true;
        value_put_u64(&w, a->cursor.id);
    } else {
        value_put_nil(&w);
    }
    result->size_bytes += w.need_bytes;
    return EG_OK;
}

/* ---- as a task ------------------------------------------------------------------------ */

static bool is_over(void *context) {
    return task_is_over(context);
}

/* Send what the question wants to know of shards; what cannot be sent is asked again. */
static eg_err ask_shards(struct asked *a, struct table *t, struct err_note *note) {
    struct message *m;
    eg_pid to;
    eg_err err;

    while ((err = select_ask(a->select, t, &to, &m, note)) == EG_OK) {
        err = task_ask(&a->task, t, to, m);
        if (err != EG_OK) {
            select_answered(a->select, err, (struct value){0});
            return EG_AGAIN;
        }
    }
    return err == EG_NOT_FOUND ? EG_AGAIN : err;
}

static eg_err asked_step(struct task *task, struct buffer *result, struct err_note *note) {
    struct asked *a = asked_of(task);
    const struct select_pace pace = {is_over, task};
    static const uint8_t pair = ARRAY_OF_TWO;
    struct table *t =
        catalog_find(task->worker->server->opts.catalog, a->table.text, a->table.size_bytes);
    eg_err err;

    if (t == NULL)
        return err_note(note, EG_NO_TABLE, "%s was dropped meanwhile", a->table.text);
    if (a->paged && result->size_bytes == 0 && !buffer_append(result, &pair, 1))
        return EG_MEMORY;
    err = select_step(a->select, t, &task->worker->reader, &pace, result, note);
    if (err == EG_AGAIN)
        return ask_shards(a, t, note);
    return err == EG_OK && a->paged ? put_cursor(a, result) : err;
}

static void asked_answered(struct task *task, eg_err err, struct value result) {
    select_answered(asked_of(task)->select, err, result);
}

static void asked_end(struct task *task) {
    struct asked *a = asked_of(task);

    if (!a->kept)
        asked_free(a);
}

static size_t asked_bytes(const struct task *task) {
    return select_bytes(EG_CONTAINER_OF(task, struct asked, task)->select);
}

static const struct task_ops asked_task = {.name = "select",
                                           .step = asked_step,
                                           .free = asked_end,
                                           .answered = asked_answered,
                                           .kept_bytes = asked_bytes};

/* ---- the methods ------------------------------------------------------------------------ */

static eg_err ask_for(struct rpc_call *c, enum select_kind kind, struct value question,
                      bool reverse) {
    struct alloc *alloc = c->worker->server->opts.alloc;
    const struct select_opts o = {.kind = kind,
                                  .question = question,
                                  .limit = c->options.limit,
                                  .reverse = reverse,
                                  .dirty = c->options.dirty};
    struct asked *a = alloc_zero(alloc, sizeof *a);
    eg_err err;

    if (a == NULL)
        return EG_MEMORY;
    err = select_open(&a->select, alloc, c->table, &c->worker->reader, &o, c->note);
    if (err != EG_OK) {
        alloc_put(alloc, a, sizeof *a);
        return err;
    }
    a->alloc = alloc;
    a->table = *table_name(c->table);
    a->paged = kind == SELECT_RESULTS;
    return task_start(&a->task, &asked_task, c);
}

static eg_err ask(struct rpc_call *c, enum select_kind kind, bool reverse) {
    return ask_for(c, kind, c->param[1], reverse);
}

/* index_read, where other nodes are to be asked: [index, value]. */
eg_err rpc_index_read_far(struct rpc_call *c) {
    size_t size_bytes = RPC_HEADER_BYTES + c->param[1].size_bytes + c->param[2].size_bytes;
    uint8_t *at = reader_scratch(&c->worker->reader, size_bytes);
    struct value_writer w;

    if (at == NULL)
        return EG_MEMORY;
    w = value_writer_init(at, size_bytes);
    value_put_array(&w, 2);
    value_put_raw(&w, c->param[1]);
    value_put_raw(&w, c->param[2]);
    return ask_for(c, SELECT_INDEX, (struct value){at, (uint32_t) w.need_bytes}, false);
}

eg_err rpc_select(struct rpc_call *c) {
    return ask(c, SELECT_RESULTS, c->options.reverse);
}

eg_err rpc_select_reverse(struct rpc_call *c) {
    return ask(c, SELECT_RESULTS, true);
}

eg_err rpc_select_count(struct rpc_call *c) {
    return ask(c, SELECT_COUNT, false);
}

eg_err rpc_select_delete(struct rpc_call *c) {
    return ask(c, SELECT_DELETE, false);
}

eg_err rpc_select_replace(struct rpc_call *c) {
    return ask(c, SELECT_REPLACE, false);
}

eg_err rpc_match(struct rpc_call *c) {
    return ask(c, SELECT_MATCH, false);
}

eg_err rpc_select_next(struct rpc_call *c) {
    return cursor_next(c);
}
