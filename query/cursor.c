/* cursor.c -- the cursors of one connection, oldest first.
 *
 * An id is random among the integers that every client's numbers hold exactly. */
#include "query/cursor.h"

#include "query/server_private.h"
#include "query/session.h"

#include "engine/env.h"
#include "engine/runtime.h"

enum { ID_BITS = 53 };

static void take_out(struct session *s, struct cursor *c) {
    list_remove(&c->node);
    s->cursor_count--;
    s->cursors_bytes -= c->size_bytes;
}

static struct cursor *oldest(struct session *s) {
    return EG_CONTAINER_OF(s->cursors.next, struct cursor, node);
}

static void end(struct session *s, struct cursor *c) {
    take_out(s, c);
    c->ops->free(c);
}

void cursor_keep(struct session *s, struct cursor *c) {
    struct worker *w = s->worker;

    c->id = (env_random(runtime_env(w->server->opts.runtime)) >> (64 - ID_BITS)) | 1;
    c->used_ns = scheduler_now_ns(w->scheduler);
    while (!list_is_empty(&s->cursors) && (s->cursor_count >= CURSORS_SESSION_MAX ||
                                           s->cursors_bytes + c->size_bytes > CURSOR_BYTES_MAX))
        end(s, oldest(s));
    list_push_back(&s->cursors, &c->node);
    s->cursor_count++;
    s->cursors_bytes += c->size_bytes;
    worker_watch(w);
}

void cursor_drop(struct session *s, struct cursor *c) {
    end(s, c);
}

static struct cursor *find(struct session *s, uint64_t id) {
    for (struct list_node *n = s->cursors.next; n != &s->cursors; n = n->next) {
        struct cursor *c = EG_CONTAINER_OF(n, struct cursor, node);
        if (c->id == id)
            return c;
    }
    return NULL;
}

eg_err cursor_next(struct rpc_call *call) {
    enum value_kind kind = value_kind_of(call->param[0]);
    const struct task_ops *ops;
    struct cursor *c = NULL;
    struct task *t;
    uint64_t id;

    if (kind == VALUE_ARRAY || kind == VALUE_MAP || kind == VALUE_FALSE || kind == VALUE_TRUE)
        return err_note(call->note, EG_BAD_REQUEST, "a cursor is what the page before had");
    if (value_get_u64(call->param[0], &id))
        c = find(call->session, id);
    if (c == NULL)
        return err_note(call->note, EG_NOT_FOUND,
                        "no such cursor: it is used up, too old or another connection's");
    if (call->session->task_count >= TASKS_SESSION_MAX) /* before it is used up */
        return err_note(call->note, EG_BUSY, "too many long requests of this connection");
    take_out(call->session, c);
    t = c->ops->page(c, &ops);
    if (t == NULL) {
        c->ops->free(c);
        return EG_MEMORY;
    }
    return task_start(t, ops, call);
}

void cursor_expire(struct session *s, uint64_t now_ns) {
    while (!list_is_empty(&s->cursors) && now_ns > oldest(s)->used_ns &&
           now_ns - oldest(s)->used_ns > (uint64_t) CURSOR_IDLE_MS * 1000000)
        end(s, oldest(s));
}

void cursor_end_all(struct session *s) {
    while (!list_is_empty(&s->cursors))
        end(s, oldest(s));
}
