/* rpc_transaction.c -- a whole transaction in one request.
 *
 *     [[method, param, ...], ...] --begin--> each in turn --commit--> [result, ...]
 *                                     ^           | refused: that is the answer
 *                                     '-- lost ---'  again, as old as it was
 *
 * What it was asked to do depends on nothing a client has decided meanwhile, so who loses against
 * another tries again here, TRANSACT_TRIES_MAX times, and after a few losses locks first; a check
 * that fails is no loss.
 *
 * The id that a client gives names the request.  Its tries have ids of their own behind that one
 * (transact_id_of_try()): one that was lost may still be known in many places, as aborted, when
 * the next one is prepared there. */
#include "query/rpc_handler.h"
#include "query/rpc_tx.h"
#include "query/rpc_tx_step.h"
#include "query/server_private.h"
#include "query/session.h"
#include "query/task.h"

#include "engine/runtime.h"
#include "replication/tx_manager.h"

#include <string.h>

enum {
    LOSSES_MAX = 3, /* from then on it locks first */
    NIL = 0xc0,
};

struct shot {
    struct task task;
    struct alloc *alloc;
    struct tx *tx;
    struct tx_start start;
    uint8_t *params; /* the calls, then the client's id */
    size_t params_bytes;
    struct value calls, id;
    struct transact_id request; /* what `id` stands for; none: it has none */
    struct value_iter rest;     /* calls to come */
    struct rpc_tx_step step;
    uint32_t number; /* of the call that is carried out, from 1 */
    bool stepping;   /* `step` is open */
    bool begun;      /* this try */
    bool locked;     /* what it lost before, as far as that was to be */
    bool committing;
    bool asks;  /* something may be to be asked before the next step */
    bool ended; /* but for its locks, perhaps; and how */
    eg_err how;
    struct err_note note;
    uint32_t tries;
    uint64_t until_ns; /* of all tries */
};

static struct shot *shot_of(struct task *t) {
    return EG_CONTAINER_OF(t, struct shot, task);
}

/* The connection has gone meanwhile: what it holds is not to wait for its time. */
static void leave(struct shot *s) {
    struct worker *w = s->task.worker;
    struct message *m;
    eg_pid to;

    reader_enter(&w->reader);
    while (tx_leave(s->tx, &to, &m) == EG_OK)
        (void) runtime_send(w->server->opts.runtime, EG_PID_NONE, to, m); /* lost: its time ends */
    reader_exit(&w->reader);
}

/* The number of this try, for its id. */
static uint32_t try_of(const struct shot *s) {
    return s->tries + 1;
}

/* The connection has gone before the end: others know, or nothing has happened. */
static void tell_left(struct shot *s) {
    if (s->begun && tx_state(s->tx) == TX_COMMITTING)
        rpc_tx_left(s->task.worker, s->request, try_of(s));
    else if (s->until_ns != 0)
        rpc_tx_ended(s->task.worker, s->request, EG_ABORTED);
}

static void shot_free(struct task *t) {
    struct shot *s = shot_of(t);

    if (!s->ended)
        tell_left(s);
    rpc_tx_step_close(&s->step);
    if (tx_has_locks(s->tx))
        leave(s);
    tx_close(s->tx);
    alloc_put(s->alloc, s->params, s->params_bytes);
    alloc_put(s->alloc, s, sizeof *s);
}

static void shot_answered(struct task *t, eg_err err, struct value result) {
    tx_answered(shot_of(t)->tx, err, result);
}

static size_t shot_bytes(const struct task *t) {
    const struct shot *s = EG_CONTAINER_OF(t, struct shot, task);
    return sizeof *s + s->params_bytes + (size_t) tx_stats(s->tx).bytes;
}

/* ---- the calls ------------------------------------------------------------------------ */

static eg_err put_header(struct shot *s, struct buffer *result) {
    uint8_t *room = buffer_room(result, RPC_HEADER_BYTES);
    struct value_writer w;

    if (room == NULL)
        return EG_TOO_LARGE;
    w = value_writer_init(room, RPC_HEADER_BYTES);
    value_put_array(&w, value_count(s->calls));
    result->size_bytes += w.need_bytes;
    return EG_OK;
}

/* The name is another request's, which tells what became of it. */
static eg_err refuse_twin(struct shot *s, struct err_note *note) {
    s->request = (struct transact_id){0, 0};
    return err_note(note, EG_EXISTS, "a transaction with this id is under way");
}

static eg_err begin(struct shot *s, struct buffer *result, struct err_note *note) {
    rpc_tx_step_close(&s->step);
    if (!transact_id_is_none(s->request)) {
        if (s->tries == 0 && !rpc_tx_began(s->task.worker, s->request))
            return refuse_twin(s, note);
        s->start.id = transact_id_of_try(s->request, try_of(s));
    }
    tx_begin(s->tx, &s->start);
    s->rest = value_iter_of(s->calls);
    s->number = 0;
    s->begun = true;
    s->stepping = s->committing = s->locked = s->asks = false;
    if (s->tries == 0)
        s->until_ns = tx_deadline_ns(s->tx);
    buffer_clear(result);
    return put_header(s, result);
}

static eg_err next_call(struct shot *s, struct err_note *note) {
    struct value call, name;
    struct value_iter it = {NULL, 0};
    eg_err err;

    EG_ASSERT(value_iter_next(&s->rest, &call));
    s->number++;
    if (value_kind_of(call) == VALUE_ARRAY)
        it = value_iter_of(call);
    if (!value_iter_next(&it, &name))
        return err_note(note, EG_BAD_REQUEST, "a call is [method, param, ...]");
    err = rpc_tx_step_open(&s->step, &s->task.worker->server->methods, name, it, note);
    s->stepping = err == EG_OK;
    return err;
}

/* A page has no cursor: the transaction is over when it is read. */
static eg_err end_call(struct shot *s, struct buffer *result) {
    static const uint8_t nil = NIL;
    bool put = !s->step.paged || buffer_append(result, &nil, 1);

    rpc_tx_step_close(&s->step);
    s->stepping = false;
    return put ? EG_OK : EG_TOO_LARGE;
}

static eg_err run_calls(struct shot *s, struct buffer *result, struct err_note *note) {
    eg_err err = EG_OK;

    while (err == EG_OK && (s->stepping || s->rest.left > 0)) {
        if (!s->stepping)
            err = next_call(s, note);
        if (err == EG_OK)
            err = rpc_tx_step_run(&s->step, s->tx, &s->task, result, note);
        if (err == EG_OK)
            err = end_call(s, result);
        if (err == EG_OK && s->rest.left > 0 && s->number % 16 == 0 && task_is_over(&s->task))
            return EG_AGAIN;
    }
    if (err != EG_OK && err != EG_AGAIN)
        err_note_prefix(note, "call %u", s->number);
    return err;
}

/* ---- a step ----------------------------------------------------------------------------- */

static eg_err attempt(struct shot *s, struct buffer *result, struct err_note *note) {
    struct reader *r = &s->task.worker->reader;
    eg_err err = EG_OK;

    if (s->tries >= LOSSES_MAX && !s->locked)
        err = tx_lock_again(s->tx, r, note);
    if (err == EG_OK) {
        s->locked = true;
        err = s->committing ? EG_OK : run_calls(s, result, note);
    }
    if (err == EG_OK) {
        s->committing = true;
        err = tx_commit(s->tx, r, note);
    }
    return err;
}

/* Did somebody else come in between?  Then the same again, in the time that is left. */
static bool may_try_again(struct shot *s, eg_err err) {
    uint64_t now_ns = scheduler_now_ns(s->task.worker->scheduler);
    bool checked = s->stepping && rpc_tx_step_checks(&s->step);

    if (err != EG_CONFLICT || checked || ++s->tries >= TRANSACT_TRIES_MAX || now_ns >= s->until_ns)
        return false;
    s->start.age = tx_age(s->tx);
    s->start.timeout_ms = (s->until_ns - now_ns) / 1000000 + 1;
    s->begun = false;
    return true;
}

static eg_err over(struct shot *s, eg_err err, struct err_note *note) {
    char text[TX_ID_TEXT_BYTES];
    const uint8_t *id = (const uint8_t *) text;
    uint32_t id_bytes = TX_ID_TEXT_BYTES - 1;

    if (err != EG_OK)
        tx_abort(s->tx, NULL);
    s->ended = true;
    rpc_tx_ended(s->task.worker, s->request, err);
    if (err == EG_IN_DOUBT) {
        rpc_tx_left(s->task.worker, s->request, try_of(s));
        tx_id_text(transact_id_is_none(s->request) ? tx_id(s->tx) : s->request, text);
        if (s->id.size_bytes != 0 && !value_is_integer(s->id))
            EG_ASSERT(value_get_bytes(s->id, &id, &id_bytes)); /* it was checked */
        rpc_tx_note_doubt(note, (const char *) id, id_bytes);
    }
    if (!tx_has_locks(s->tx))
        return err;
    s->asks = true;
    s->how = err;
    s->note = *note;
    return EG_AGAIN;
}

static eg_err shot_step(struct task *t, struct buffer *result, struct err_note *note) {
    struct shot *s = shot_of(t);
    eg_err err = s->asks ? rpc_tx_ask(t, s->tx) : EG_OK;

    if (err == EG_AGAIN)
        return err;
    if (s->ended) {
        *note = s->note;
        return s->how;
    }
    if (!s->begun)
        err = begin(s, result, note);
    if (err == EG_OK)
        err = attempt(s, result, note);
    s->asks = true;
    if (err == EG_AGAIN)
        (void) rpc_tx_ask(t, s->tx);
    else if (may_try_again(s, err)) /* locks are given back first */
        err = EG_AGAIN;
    else
        err = over(s, err, note);
    return err;
}

static uint64_t shot_until_ns(const struct task *t) {
    return tx_waits_until_ns(EG_CONTAINER_OF(t, struct shot, task)->tx);
}

static const struct task_ops shot_task = {.name = "transaction",
                                          .step = shot_step,
                                          .free = shot_free,
                                          .answered = shot_answered,
                                          .kept_bytes = shot_bytes,
                                          .waits_until_ns = shot_until_ns};

/* ---- the method --------------------------------------------------------------------------- */

static eg_err copy_params(struct shot *s, const struct rpc_call *c) {
    struct value calls = c->param[0], id = c->options.id;

    s->params_bytes = (size_t) calls.size_bytes + id.size_bytes;
    s->params = alloc_get(s->alloc, s->params_bytes);
    if (s->params == NULL)
        return EG_MEMORY;
    memcpy(s->params, calls.at, calls.size_bytes);
    s->calls = (struct value){s->params, calls.size_bytes};
    if (id.size_bytes == 0)
        return EG_OK;
    memcpy(s->params + calls.size_bytes, id.at, id.size_bytes);
    s->id = (struct value){s->params + calls.size_bytes, id.size_bytes};
    s->request = rpc_tx_id_of(s->id);
    return EG_OK;
}

eg_err rpc_transaction(struct rpc_call *c) {
    struct alloc *a = c->worker->server->opts.alloc;
    struct shot *s;
    eg_err err;

    if (value_kind_of(c->param[0]) != VALUE_ARRAY)
        return err_note(c->note, EG_BAD_REQUEST, "a transaction is [[method, param, ...], ...]");
    s = alloc_zero(a, sizeof *s);
    if (s == NULL)
        return EG_MEMORY;
    s->alloc = a;
    s->start.timeout_ms = c->options.timeout_ms;
    err = copy_params(s, c);
    if (err == EG_OK)
        err = rpc_tx_open(c->worker, &s->tx);
    if (err != EG_OK) {
        alloc_put(a, s->params, s->params_bytes);
        alloc_put(a, s, sizeof *s);
        return err;
    }
    return task_start(&s->task, &shot_task, c);
}
