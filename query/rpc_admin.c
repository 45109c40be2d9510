/* rpc_admin.c -- methods on the node itself: who it is, how it does, what runs. */
#include "query/rpc_handler.h"

#include "query/rpc_pack.h"
#include "query/server_private.h"
#include "query/session.h"

#include "engine/env.h"
#include "engine/inspect.h"
#include "engine/runtime.h"
#include "tables/catalog.h"

#include <msgpack.h>
#include <stdio.h>
#include <string.h>

enum { PROTOCOL = 1 };

static const char NO_PROCESS[] = "no such process";

static msgpack_packer packer_of(struct rpc_call *c) {
    return rpc_packer(c->result);
}

static eg_err outcome(int failed) {
    return failed == 0 ? EG_OK : EG_MEMORY;
}

eg_err rpc_ping(struct rpc_call *c) {
    msgpack_packer p = packer_of(c);

    return outcome(pack_text(&p, "pong"));
}

eg_err rpc_hello(struct rpc_call *c) {
    const struct server_opts *o = &c->worker->server->opts;
    msgpack_packer p = packer_of(c);
    int failed = msgpack_pack_map(&p, 4);

    failed |= pack_text(&p, "server") | pack_text(&p, "engram");
    failed |= pack_text(&p, "version") | pack_text(&p, o->version);
    failed |= pack_text(&p, "node") | pack_text(&p, o->node_name);
    failed |= pack_count(&p, "protocol", PROTOCOL);
    return outcome(failed);
}

eg_err rpc_stats(struct rpc_call *c) {
    return server_stats(c->worker->server, c->result);
}

/* ---- what runs ------------------------------------------------------------------------ */

/* A question to all schedulers.  The answer reaches the session as a shard's would,
 * or nobody where the session has ended meanwhile. */
struct question {
    struct server *server;
    eg_pid asker;
    eg_ref ref;
    bool one; /* process_info: the map itself, not an array of maps */
};

enum { PID_TEXT_BYTES = 48, PROCESSES_MAX = INSPECT_PAGE_MAX, ANSWER_BYTES_MAX = 4 << 20 };

static void pid_text(eg_pid pid, char *text) {
    snprintf(text, PID_TEXT_BYTES, "<%u.%u.%u>", pid.node, pid.slot, pid.generation);
}

static bool pid_parse(const char *text, eg_pid *pid) {
    int used = 0;

    return sscanf(text, "<%u.%u.%u>%n", &pid->node, &pid->slot, &pid->generation, &used) == 3 &&
           text[used] == '\0';
}

static int pack_process(msgpack_packer *p, const struct inspect_entry *e) {
    static const char *const status[] = {"waiting", "runnable", "running", "exiting"};
    const struct actor_info *a = &e->actor;
    char pid[PID_TEXT_BYTES], parent[PID_TEXT_BYTES];
    int failed = msgpack_pack_map(p, 13);

    pid_text(a->pid, pid);
    pid_text(a->parent, parent);
    failed |= pack_text(p, "pid") | pack_text(p, pid);
    failed |= pack_text(p, "name") | pack_text(p, a->name);
    failed |= pack_text(p, "label") | pack_text(p, a->label != NULL ? a->label : "");
    failed |= pack_text(p, "registered") | pack_text(p, e->registered);
    failed |= pack_text(p, "status") | pack_text(p, status[a->status]);
    failed |= pack_count(p, "scheduler", a->scheduler);
    failed |= pack_count(p, "mailbox", a->mailbox_msgs);
    failed |= pack_count(p, "handled", a->handled_msgs);
    failed |= pack_count(p, "memory", a->memory_bytes);
    failed |= pack_count(p, "links", a->links);
    failed |= pack_count(p, "monitors", a->monitors);
    failed |= pack_text(p, "parent");
    failed |= eg_pid_is_none(a->parent) ? msgpack_pack_nil(p) : pack_text(p, parent);
    failed |= pack_text(p, "state") | pack_text(p, e->state);
    return failed;
}

static void answer(const struct question *q, eg_err err, const void *bytes, size_t size_bytes) {
    struct runtime *rt = q->server->opts.runtime;
    struct message *m = message_copy(rt, MESSAGE_REPLY, bytes, size_bytes);

    if (m == NULL) /* the client waits in vain until its own deadline; so does all else now */
        return;
    m->ref = q->ref;
    m->tag = (uint32_t) err;
    (void) runtime_send(rt, EG_PID_NONE, q->asker, m); /* a session that is gone asks no more */
}

static void on_page(void *context, const struct inspect_page *page) {
    struct question *q = context;
    struct alloc *a = q->server->opts.alloc;
    struct buffer out;
    msgpack_packer p;
    int failed = 0;

    buffer_init(&out, a, ANSWER_BYTES_MAX);
    p = rpc_packer(&out);
    if (!q->one)
        failed = msgpack_pack_array(&p, page->count);
    for (uint32_t i = 0; i < page->count; i++)
        failed |= pack_process(&p, &page->entry[i]);
    if (failed != 0)
        answer(q, EG_MEMORY, "", 0);
    else if (q->one && page->count == 0)
        answer(q, EG_NOT_FOUND, NO_PROCESS, sizeof NO_PROCESS - 1);
    else
        answer(q, EG_OK, out.at, out.size_bytes);
    buffer_fini(&out);
    alloc_put(a, q, sizeof *q);
}

/* Ask about `pid`, or about all where it is NULL. */
static eg_err ask(struct rpc_call *c, const eg_pid *pid) {
    struct server *s = c->worker->server;
    struct runtime *rt = s->opts.runtime;
    struct scheduler *home = c->worker->scheduler;
    struct question *q = alloc_get(s->opts.alloc, sizeof *q);
    eg_err err;

    if (q == NULL)
        return EG_MEMORY;
    *q = (struct question){s, c->session->pid, session_begin(c->session, c), pid != NULL};
    err = pid != NULL ? inspect_pids(rt, pid, 1, home, on_page, q)
                      : inspect_start(rt, 0, PROCESSES_MAX, home, on_page, q);
    if (err == EG_OK)
        return EG_AGAIN;
    session_cancel(c->session, q->ref);
    alloc_put(s->opts.alloc, q, sizeof *q);
    return err;
}

eg_err rpc_processes(struct rpc_call *c) {
    return ask(c, NULL);
}

eg_err rpc_process_info(struct rpc_call *c) {
    char text[PID_TEXT_BYTES] = "";
    const uint8_t *at;
    uint32_t size_bytes;
    eg_pid pid;

    if (value_kind_of(c->param[0]) != VALUE_STRING ||
        !value_get_bytes(c->param[0], &at, &size_bytes))
        return err_note(c->note, EG_BAD_REQUEST, "a process is named by a string like <0.17.1>");
    if (size_bytes < sizeof text)
        memcpy(text, at, size_bytes);
    if (!pid_parse(text, &pid))
        return err_note(c->note, EG_NOT_FOUND, "%s", NO_PROCESS);
    return ask(c, &pid);
}
