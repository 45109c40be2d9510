/* rpc_tx_list.c -- the method `transactions`: what is open or under way on this node.
 *
 *     task --post--> worker 0: its connections', the program's --REPLY--> task --post--> worker 1
 * ...
 *          --CALL--> manager 0: those that it brings to their end --REPLY--> ...
 *
 * One after the other: nothing is held for it meanwhile, and there is no moment of all. */
#include "query/rpc_handler.h"
#include "query/rpc_pack.h"
#include "query/rpc_tx.h"
#include "query/server_private.h"
#include "query/session.h"
#include "query/task.h"
#include "query/tx_card.h"

#include "engine/env.h"
#include "engine/message.h"
#include "engine/runtime.h"
#include "replication/tx_manager.h"

#include <stdio.h>

enum { MS_NS = 1000 * 1000, HOLDER_TEXT_BYTES = 48 };

struct listing {
    struct task task;
    struct alloc *alloc;
    uint32_t at; /* whom to ask next: workers, then managers */
    uint32_t count;
    struct buffer rows;
    eg_err failed;
};

/* What one worker is asked. */
struct look {
    struct worker *worker;
    struct runtime *runtime;
    struct message *excuse; /* where there is no memory for an answer */
    eg_pid asker;
    eg_ref ref;
};

static struct listing *listing_of(struct task *t) {
    return EG_CONTAINER_OF(t, struct listing, task);
}

/* ---- at a worker ------------------------------------------------------------------------- */

/* What the program's threads hold the first one tells. */
static eg_err collect(const struct worker *w, struct buffer *rows) {
    const struct tx_program *program = w->server->opts.program;
    eg_err err = EG_OK;

    for (struct list_node *n = w->sessions.next; n != &w->sessions && err == EG_OK; n = n->next)
        err = rpc_tx_rows(EG_CONTAINER_OF(n, struct session, node), rows);
    if (err == EG_OK && program != NULL)
        err = program->of_actors(program->context, rows);
    if (err == EG_OK && program != NULL && w == &w->server->worker[0])
        err = program->of_threads(program->context, rows);
    return err;
}

static int pack_holder(msgpack_packer *p, const struct tx_row *row) {
    char text[HOLDER_TEXT_BYTES];

    if (row->thread != 0)
        snprintf(text, sizeof text, "thread %u", row->thread);
    else
        snprintf(text, sizeof text, "%s<%u.%u.%u>", row->actor ? "actor " : "", row->pid.node,
                 row->pid.slot, row->pid.generation);
    return pack_text(p, text);
}

static int pack_row(msgpack_packer *p, const struct tx_row *row, uint64_t now_ns) {
    uint64_t began_ns = row->began_ns, end_ns = row->deadline_ns;
    char id[TX_ID_TEXT_BYTES];
    int failed;

    tx_id_text(row->id, id);
    failed = msgpack_pack_map(p, 10) | pack_text(p, "id") | pack_text(p, id);
    failed |= pack_text(p, "state") | pack_text(p, row->committing ? "committing" : "open");
    failed |= pack_text(p, "client") | pack_holder(p, row);
    failed |= pack_count(p, "age_ms", now_ns > began_ns ? (now_ns - began_ns) / MS_NS : 0);
    failed |= pack_count(p, "left_ms", end_ns > now_ns ? (end_ns - now_ns) / MS_NS : 0);
    failed |= pack_count(p, "seen", row->stats.seen);
    failed |= pack_count(p, "questions", row->stats.questions);
    failed |= pack_count(p, "changes", row->stats.wanted);
    failed |= pack_count(p, "locks", row->stats.locks);
    return failed | pack_count(p, "bytes", row->stats.bytes);
}

static int pack_all(const struct worker *w, struct buffer *out) {
    uint64_t now_ns = env_now_ns(runtime_env(w->server->opts.runtime));
    msgpack_packer p = rpc_packer(out);
    struct buffer rows;
    int failed;

    buffer_init(&rows, w->server->opts.alloc, SIZE_MAX);
    failed = collect(w, &rows) != EG_OK;
    failed |= msgpack_pack_array(&p, rows.size_bytes / sizeof(struct tx_row));
    for (size_t at = 0; failed == 0 && at < rows.size_bytes; at += sizeof(struct tx_row))
        failed = pack_row(&p, (const struct tx_row *) (rows.at + at), now_ns);
    buffer_fini(&rows);
    return failed;
}

static void answer(struct scheduler *scheduler, void *arg) {
    struct look *l = arg;
    struct alloc *a = l->worker->server->opts.alloc;
    struct message *m = NULL;
    struct buffer out;

    (void) scheduler; /* the worker's */
    buffer_init(&out, a, SIZE_MAX);
    if (pack_all(l->worker, &out) == 0)
        m = message_copy(l->runtime, MESSAGE_REPLY, out.at, out.size_bytes);
    buffer_fini(&out);
    if (m != NULL) {
        m->tag = EG_OK;
        message_free(l->runtime, l->excuse);
    } else {
        m = l->excuse;
        m->tag = (uint32_t) EG_MEMORY;
    }
    m->ref = l->ref;
    (void) runtime_send(l->runtime, EG_PID_NONE, l->asker, m); /* or nobody asks any more */
    alloc_put(a, l, sizeof *l);
}

/* ---- the task ----------------------------------------------------------------------------- */

static eg_err ask_worker(struct task *t, struct worker *w) {
    struct server *server = t->worker->server;
    struct runtime *rt = server->opts.runtime;
    struct look *l = alloc_get(server->opts.alloc, sizeof *l);
    eg_err err;

    if (l == NULL)
        return EG_MEMORY;
    *l = (struct look){w, rt, message_copy(rt, MESSAGE_REPLY, NULL, 0), t->session->pid,
                       session_task_ref(t->number)};
    err = l->excuse == NULL ? EG_MEMORY : scheduler_post(w->scheduler, answer, l);
    if (err == EG_OK) {
        t->asked++;
        return EG_OK;
    }
    if (l->excuse != NULL)
        message_free(rt, l->excuse);
    alloc_put(server->opts.alloc, l, sizeof *l);
    return err;
}

static eg_err ask_manager(struct task *t, uint32_t index) {
    struct message *m;
    eg_pid to;
    eg_err err = tx_list_message(t->worker->server->opts.transactions, index, &to, &m);

    return err == EG_OK ? task_ask(t, NULL, to, m) : err;
}

static eg_err put_rows(const struct listing *l, struct buffer *result) {
    uint8_t room[RPC_HEADER_BYTES];
    struct value_writer w = value_writer_init(room, sizeof room);

    value_put_array(&w, l->count);
    return buffer_append(result, room, w.need_bytes) &&
                   buffer_append(result, l->rows.at, l->rows.size_bytes)
               ? EG_OK
               : EG_TOO_LARGE;
}

static eg_err listing_step(struct task *t, struct buffer *result, struct err_note *note) {
    struct listing *l = listing_of(t);
    struct server *server = t->worker->server;
    struct tx_managers *managers = server->opts.transactions;
    uint32_t manager_count = managers == NULL ? 0 : tx_managers_count(managers);
    uint32_t at = l->at++;
    eg_err err;

    if (l->failed != EG_OK)
        return err_note(note, l->failed, "not all of this node could be asked");
    if (at == server->worker_count + manager_count)
        return put_rows(l, result);
    err = at < server->worker_count ? ask_worker(t, &server->worker[at])
                                    : ask_manager(t, at - server->worker_count);
    return err == EG_OK ? EG_AGAIN : err == EG_NOPROC ? EG_BUSY : err;
}

static void listing_answered(struct task *t, eg_err err, struct value result) {
    struct listing *l = listing_of(t);
    struct value_iter it;

    if (err == EG_OK && value_kind_of(result) != VALUE_ARRAY)
        err = EG_INTERNAL;
    l->failed = err == EG_NOPROC ? EG_BUSY : err;
    if (err != EG_OK)
        return;
    it = value_iter_of(result);
    l->count += it.left;
    if (!buffer_append(&l->rows, it.at, (size_t) (result.at + result.size_bytes - it.at)))
        l->failed = EG_MEMORY;
}

static void listing_free(struct task *t) {
    struct listing *l = listing_of(t);

    buffer_fini(&l->rows);
    alloc_put(l->alloc, l, sizeof *l);
}

static size_t listing_bytes(const struct task *t) {
    return EG_CONTAINER_OF(t, struct listing, task)->rows.room_bytes;
}

eg_err rpc_transactions(struct rpc_call *c) {
    static const struct task_ops ops = {.name = "transactions",
                                        .step = listing_step,
                                        .free = listing_free,
                                        .answered = listing_answered,
                                        .kept_bytes = listing_bytes};
    struct alloc *a = c->worker->server->opts.alloc;
    struct listing *l = alloc_zero(a, sizeof *l);

    if (l == NULL)
        return EG_MEMORY;
    l->alloc = a;
    buffer_init(&l->rows, a, SIZE_MAX);
    return task_start(&l->task, &ops, c);
}
