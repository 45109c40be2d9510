/* rpc_far.c -- size, first, last, next, prev and read_many where other nodes are to be asked: the
 * task that does it, and the text behind the methods' own hot way. */
#include "query/rpc_handler.h"

#include "query/far_call.h"
#include "query/server_private.h"
#include "query/session.h"
#include "query/task.h"

#include "tables/catalog.h"
#include "tables/far.h"

struct calling {
    struct task task;
    struct alloc *alloc;
    struct far_call *call;
    struct schema_name table; /* found anew at each step */
    bool info;                /* the size is told as table_info does */
};

static struct calling *calling_of(struct task *t) {
    return EG_CONTAINER_OF(t, struct calling, task);
}

/* What cannot be sent is asked again. */
static eg_err ask_nodes(struct calling *c, struct table *t) {
    struct message *m;
    eg_pid to;
    eg_err err;

    while ((err = far_call_ask(c->call, t, &to, &m)) == EG_OK) {
        err = task_ask(&c->task, t, to, m);
        if (err != EG_OK)
            far_call_answered(c->call, err, (struct value){0});
    }
    return err == EG_NOT_FOUND ? EG_AGAIN : err;
}

/* The size that has come, and the rest. */
static eg_err tell_info(struct table *t, struct reader *r, struct buffer *result) {
    uint64_t size = 0;

    if (!value_get_u64((struct value){result->at, (uint32_t) result->size_bytes}, &size))
        return EG_INTERNAL;
    buffer_clear(result);
    return table_info_of(t, r, size, result);
}

static eg_err calling_step(struct task *task, struct buffer *result, struct err_note *note) {
    struct calling *c = calling_of(task);
    struct table *t =
        catalog_find(task->worker->server->opts.catalog, c->table.text, c->table.size_bytes);
    eg_err err;

    if (t == NULL)
        return err_note(note, EG_NO_TABLE, "%s was dropped meanwhile", c->table.text);
    err = far_call_step(c->call, t, &task->worker->reader, result, note);
    if (err == EG_OK && c->info)
        err = tell_info(t, &task->worker->reader, result);
    return err == EG_AGAIN ? ask_nodes(c, t) : err;
}

static void calling_answered(struct task *task, eg_err err, struct value result) {
    far_call_answered(calling_of(task)->call, err, result);
}

static void calling_end(struct task *task) {
    struct calling *c = calling_of(task);

    far_call_close(c->call);
    alloc_put(c->alloc, c, sizeof *c);
}

static const struct task_ops calling_task = {
    .name = "far", .step = calling_step, .free = calling_end, .answered = calling_answered};

eg_err rpc_far(struct rpc_call *c, enum page_kind kind, struct value question, bool reverse) {
    struct alloc *alloc = c->worker->server->opts.alloc;
    const struct far_call_opts o = {
        .kind = kind, .question = question, .reverse = reverse, .dirty = c->options.dirty};
    struct calling *calling = alloc_zero(alloc, sizeof *calling);
    eg_err err;

    if (calling == NULL)
        return EG_MEMORY;
    err = far_call_open(&calling->call, alloc, c->table, &o, c->note);
    if (err != EG_OK) {
        alloc_put(alloc, calling, sizeof *calling);
        return err;
    }
    calling->alloc = alloc;
    calling->info = c->method->run == rpc_table_info;
    calling->table = *table_name(c->table);
    return task_start(&calling->task, &calling_task, c);
}
