/* rpc_tx_status.c -- the method `transaction_status`: what became of one, as far as any node of the
 * view knows. */
#include "query/rpc_handler.h"
#include "query/rpc_tx.h"
#include "query/server_private.h"
#include "query/task.h"

#include "engine/message.h"
#include "replication/tx_manager.h"
#include "tables/catalog.h"
#include "tables/outcome.h"

#include <string.h>

struct status {
    struct task task;
    struct alloc *alloc;
    struct transact_id id;
    bool sent, told;
    eg_err err;
    uint8_t answer[16];
    size_t answer_bytes;
};

static struct status *status_of(struct task *t) {
    return EG_CONTAINER_OF(t, struct status, task);
}

static eg_err status_here(struct status *s, struct buffer *result) {
    struct value_writer w = value_writer_init(s->answer, sizeof s->answer);
    enum outcome what = outcome_get(catalog_outcomes(s->task.worker->server->opts.catalog), s->id);

    value_put_text(&w, what == OUTCOME_COMMITTED ? "committed"
                       : what == OUTCOME_ABORTED ? "aborted"
                                                 : "unknown");
    return buffer_append(result, s->answer, w.need_bytes) ? EG_OK : EG_TOO_LARGE;
}

static eg_err status_step(struct task *t, struct buffer *result, struct err_note *note) {
    struct status *s = status_of(t);
    struct tx_managers *managers = t->worker->server->opts.transactions;
    struct message *m;
    eg_pid to;
    eg_err err;

    if (managers == NULL ||
        outcome_get(catalog_outcomes(t->worker->server->opts.catalog), s->id) == OUTCOME_COMMITTED)
        return status_here(s, result);
    if (s->told && s->err != EG_OK)
        return s->err == EG_NOPROC ? EG_BUSY : err_note(note, s->err, "nobody could say");
    if (s->told)
        return buffer_append(result, s->answer, s->answer_bytes) ? EG_OK : EG_TOO_LARGE;
    err = tx_status_message(managers, s->id, &to, &m);
    if (err == EG_OK)
        err = task_ask(t, NULL, to, m);
    return err == EG_OK ? EG_AGAIN : err == EG_NOPROC ? EG_BUSY : err;
}

static void status_answered(struct task *t, eg_err err, struct value result) {
    struct status *s = status_of(t);

    s->told = true;
    s->err = err != EG_OK || result.size_bytes <= sizeof s->answer ? err : EG_INTERNAL;
    if (s->err != EG_OK)
        return;
    s->answer_bytes = result.size_bytes;
    memcpy(s->answer, result.at, result.size_bytes);
}

static void status_free(struct task *t) {
    struct status *s = status_of(t);
    alloc_put(s->alloc, s, sizeof *s);
}

eg_err rpc_transaction_status(struct rpc_call *c) {
    static const struct task_ops ops = {.name = "transaction status",
                                        .step = status_step,
                                        .free = status_free,
                                        .answered = status_answered};
    struct alloc *a = c->worker->server->opts.alloc;
    struct status *s;

    if (!rpc_is_id(c->param[0]))
        return err_note(c->note, EG_BAD_REQUEST, "a transaction's id is a string");
    s = alloc_zero(a, sizeof *s);
    if (s == NULL)
        return EG_MEMORY;
    s->alloc = a;
    s->id = rpc_tx_id_of(c->param[0]);
    return task_start(&s->task, &ops, c);
}
