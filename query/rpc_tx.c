/* rpc_tx.c -- begin, commit, abort, and what is done in between, each request as a task.
 *
 *     request --job--> [ask | step | ask | step] --> answer
 *                          |                           '-- conflict, aborted: the transaction ends
 *                          '-- a page with more behind it: the job stays, as a cursor */
#include "query/rpc_tx.h"

#include "query/cursor.h"
#include "query/rpc_handler.h"
#include "query/rpc_tx_step.h"
#include "query/server_private.h"
#include "query/session.h"
#include "query/task.h"
#include "query/tx_card.h"

#include "engine/env.h"
#include "engine/message.h"
#include "engine/runtime.h"
#include "replication/tx_manager.h"
#include "tables/catalog.h"
#include "tables/outcome.h"

#include <string.h>
#include <xxhash.h>

enum { ID_BYTES = TX_ID_TEXT_BYTES - 1, NIL = 0xc0, TRUE = 0xc3, MS_NS = 1000 * 1000 };

/* One that is open. */
struct held {
    struct list_node node; /* of the session */
    struct session *session;
    struct tx *tx;
    struct transact_id id;
    struct list_node cursors; /* jobs that wait for select_next */
    uint64_t began_ns;
    size_t booked_bytes;
    uint64_t look_at; /* how many questions it has when it is booked again */
    bool busy;        /* a request of it is under way */
};

/* One that has ended. */
struct past {
    struct transact_id id;
    struct transact_age age;
    bool by_node;
};

struct rpc_txs {
    struct list_node open;
    uint32_t open_count;
    uint32_t past_count; /* of all; the newest RPC_TXS_PAST_MAX are kept */
    struct past past[RPC_TXS_PAST_MAX];
};

static struct alloc *alloc_of(const struct worker *w) {
    return w->server->opts.alloc;
}

static struct outcomes *outcomes_of(const struct worker *w) {
    return catalog_outcomes(w->server->opts.catalog);
}

/* ---- ids ------------------------------------------------------------------------------- */

static int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool get_hex(const uint8_t *at, uint32_t size_bytes, struct transact_id *out) {
    uint64_t half[2] = {0, 0};

    for (uint32_t i = 0; i < size_bytes; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0)
            return false;
        half[i / 16] = half[i / 16] << 4 | (uint64_t) digit;
    }
    *out = (struct transact_id){half[0], half[1]};
    return out->high != 0 || out->low != 0;
}

struct transact_id rpc_tx_id_of(struct value v) {
    struct transact_id id;
    XXH128_hash_t hash;
    const uint8_t *at = v.at;
    uint32_t size_bytes = v.size_bytes;

    if (!value_is_integer(v) && !value_get_bytes(v, &at, &size_bytes))
        size_bytes = 0;
    if (size_bytes == ID_BYTES && get_hex(at, size_bytes, &id))
        return id;
    hash = XXH3_128bits(at, size_bytes);
    return (struct transact_id){hash.high64 | 1, hash.low64};
}

void rpc_tx_note_doubt(struct err_note *note, const char *id, size_t id_bytes) {
    (void) err_note(note, EG_IN_DOUBT, "%.*s: ask transaction_status what became of it",
                    (int) id_bytes, id);
}

bool rpc_tx_began(struct worker *w, struct transact_id request) {
    return outcome_begin(outcomes_of(w), request);
}

void rpc_tx_ended(struct worker *w, struct transact_id id, eg_err err) {
    struct worker_counters *c = &w->counters;

    counter_add(err == EG_OK         ? &c->transactions_committed
                : err == EG_CONFLICT ? &c->transactions_lost
                : err == EG_IN_DOUBT ? &c->transactions_in_doubt
                                     : &c->transactions_aborted,
                1);
    if (err != EG_IN_DOUBT && (id.high != 0 || id.low != 0))
        outcome_put(outcomes_of(w), id, err == EG_OK ? OUTCOME_COMMITTED : OUTCOME_ABORTED);
}

void rpc_tx_left(struct worker *w, struct transact_id request, uint32_t number) {
    if (!transact_id_is_none(request))
        outcome_put(outcomes_of(w), request, (enum outcome)(OUTCOME_OF_TRY + number));
}

/* ---- those of a connection --------------------------------------------------------------- */

static struct held *find_open(const struct session *s, struct transact_id id) {
    if (s->transactions == NULL)
        return NULL;
    for (struct list_node *n = s->transactions->open.next; n != &s->transactions->open;
         n = n->next) {
        struct held *h = EG_CONTAINER_OF(n, struct held, node);
        if (transact_id_equal(h->id, id))
            return h;
    }
    return NULL;
}

static const struct past *find_past(const struct session *s, struct transact_id id) {
    const struct rpc_txs *x = s->transactions;
    uint32_t kept = x == NULL ? 0 : EG_MIN(x->past_count, (uint32_t) RPC_TXS_PAST_MAX);

    for (uint32_t i = 0; i < kept; i++)
        if (transact_id_equal(x->past[i].id, id))
            return &x->past[i];
    return NULL;
}

static eg_err find(struct rpc_call *c, struct value v, struct held **out) {
    const struct past *past;
    struct transact_id id;

    if (!rpc_is_id(v))
        return err_note(c->note, EG_BAD_REQUEST, "a transaction's id is what begin has answered");
    id = rpc_tx_id_of(v);
    *out = find_open(c->session, id);
    if (*out != NULL)
        return EG_OK;
    past = find_past(c->session, id);
    if (past != NULL && past->by_node)
        return err_note(c->note, EG_ABORTED, "the transaction was ended by the node");
    return err_note(c->note, EG_NOT_FOUND,
                    "no such transaction: it is over, or another connection's");
}

static bool ends(const struct rpc_call *c) {
    return c->method->run == rpc_commit || c->method->run == rpc_abort;
}

bool rpc_tx_is_of_one(const struct rpc_call *c) {
    return c->options.tx.size_bytes != 0 || c->method->run == rpc_begin || ends(c);
}

bool rpc_tx_is_busy(const struct rpc_call *c) {
    struct value id = ends(c) ? c->param[0] : c->options.tx;
    const struct held *h = NULL;

    if (id.size_bytes != 0 && rpc_is_id(id))
        h = find_open(c->session, rpc_tx_id_of(id));
    return h != NULL && h->busy;
}

static eg_err txs_of(struct session *s) {
    if (s->transactions != NULL)
        return EG_OK;
    s->transactions = alloc_zero(alloc_of(s->worker), sizeof *s->transactions);
    if (s->transactions == NULL)
        return EG_MEMORY;
    list_init(&s->transactions->open);
    return EG_OK;
}

/* ---- memory -------------------------------------------------------------------------------- */

/* Tell the server what it takes by now.  False: more than there is for it. */
static bool book(struct held *h, bool again) {
    struct server *server = h->session->worker->server;
    struct tx_stats stats;
    uint64_t change, before;

    stats = tx_stats(h->tx);
    if (!again && stats.questions < h->look_at) /* to sum them up takes time */
        return true;
    h->look_at = stats.questions + stats.questions / 16;
    change = stats.bytes - h->booked_bytes;
    h->booked_bytes = stats.bytes;
    before = atomic_fetch_add_explicit(&server->tasks_bytes, change, memory_order_relaxed);
    return before + change <= server->opts.answers_max_bytes || stats.bytes <= WORKER_SPARE_BYTES;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void drop_cursors(struct held *h);

/* `err`: EG_OK committed, EG_IN_DOUBT nobody knows, EG_ABORTED by the node, else nothing is left.
 */
static void held_end(struct held *h, eg_err err) {
    struct session *s = h->session;
    struct rpc_txs *x = s->transactions;
    struct past *past = &x->past[x->past_count++ % RPC_TXS_PAST_MAX];

    EG_ASSERT(!h->busy);
    drop_cursors(h);
    *past = (struct past){.id = h->id, .age = tx_age(h->tx), .by_node = err == EG_ABORTED};
    if (tx_state(h->tx) != TX_COMMITTING) /* else the connection is gone: others know */
        rpc_tx_ended(s->worker, h->id, err);
    atomic_fetch_sub_explicit(&s->worker->server->tasks_bytes, h->booked_bytes,
                              memory_order_relaxed);
    list_remove(&h->node);
    x->open_count--;
    atomic_fetch_sub_explicit(&s->worker->server->transactions, 1, memory_order_relaxed);
    tx_close(h->tx);
    alloc_put(alloc_of(s->worker), h, sizeof *h);
}

bool rpc_tx_expire(struct session *s, uint64_t now_ns) {
    struct rpc_txs *x = s->transactions;

    if (x == NULL)
        return false;
    for (struct list_node *n = x->open.next, *next; n != &x->open; n = next) {
        struct held *h = EG_CONTAINER_OF(n, struct held, node);

        next = n->next;
        if (!h->busy && now_ns >= tx_deadline_ns(h->tx))
            held_end(h, EG_ABORTED);
    }
    return x->open_count > 0;
}

void rpc_tx_end_all(struct session *s) {
    if (s->transactions == NULL)
        return;
    while (!list_is_empty(&s->transactions->open))
        held_end(EG_CONTAINER_OF(s->transactions->open.next, struct held, node), EG_ABORTED);
    alloc_put(alloc_of(s->worker), s->transactions, sizeof *s->transactions);
    s->transactions = NULL;
}

/* ---- a request as a task -------------------------------------------------------------------- */

struct job {
    struct task task;
    struct cursor cursor;   /* between pages */
    struct list_node in_tx; /* of held.cursors, then */
    struct held *held;      /* NULL: it has ended meanwhile */
    struct alloc *alloc;
    uint8_t *params;
    size_t params_bytes;
    struct rpc_tx_step step;
    bool commits;
    bool asks; /* something may be to be asked before the next step */
    bool kept; /* by the cursor, when the task ends */
    bool done; /* it was the end of its transaction: how */
    eg_err how;
};

static const struct task_ops job_task;

static struct job *job_of(struct task *t) {
    return EG_CONTAINER_OF(t, struct job, task);
}

static void job_free(struct job *j) {
    rpc_tx_step_close(&j->step);
    alloc_put(j->alloc, j->params, j->params_bytes);
    alloc_put(j->alloc, j, sizeof *j);
}

static void job_end(struct task *t) {
    struct job *j = job_of(t);

    if (j->held != NULL)
        j->held->busy = false;
    if (!j->kept)
        job_free(j);
}

eg_err rpc_tx_ask(struct task *t, struct tx *tx) {
    struct message *m;
    eg_pid to;
    eg_err err = tx_ask(tx, &t->worker->reader, &to, &m);

    if (err != EG_OK)
        return EG_OK;
    err = task_ask(t, NULL, to, m);
    if (err != EG_OK)
        tx_answered(tx, err, (struct value){0});
    return EG_AGAIN;
}

static void job_answered(struct task *t, eg_err err, struct value result) {
    tx_answered(job_of(t)->held->tx, err, result);
}

/* The transaction is over, and this is its last request. */
static void job_ends_tx(struct job *j, eg_err err) {
    struct held *h = j->held;

    rpc_tx_step_close(&j->step);
    j->held = NULL;
    h->busy = false;
    held_end(h, err);
}

/* ---- pages ------------------------------------------------------------------------------ */

static struct task *cursor_page(struct cursor *c, const struct task_ops **ops) {
    struct job *j = EG_CONTAINER_OF(c, struct job, cursor);

    list_remove(&j->in_tx);
    rpc_tx_step_next_page(&j->step);
    j->kept = false;
    j->held->busy = true;
    *ops = &job_task;
    return &j->task;
}

static void cursor_free(struct cursor *c) {
    struct job *j = EG_CONTAINER_OF(c, struct job, cursor);

    list_remove(&j->in_tx);
    job_free(j);
}

static const struct cursor_ops job_cursor = {.page = cursor_page, .free = cursor_free};

static void drop_cursors(struct held *h) {
    while (!list_is_empty(&h->cursors))
        cursor_drop(h->session, &EG_CONTAINER_OF(h->cursors.next, struct job, in_tx)->cursor);
}

static eg_err put_cursor(struct job *j, struct buffer *result, struct err_note *note) {
    enum { CURSOR_BYTES = 9 };
    size_t size_bytes = sizeof *j + j->params_bytes + rpc_tx_step_bytes(&j->step);
    uint8_t *room = buffer_room(result, CURSOR_BYTES);
    struct value_writer w;

    if (room == NULL)
        return EG_TOO_LARGE;
    w = value_writer_init(room, CURSOR_BYTES);
    if (rpc_tx_step_has_more(&j->step)) {
        if (size_bytes > CURSOR_BYTES_MAX)
            return err_note(note, EG_TOO_LARGE,
                            "what is left behind the page is more than a cursor keeps (16 MiB)");
        j->cursor = (struct cursor){.ops = &job_cursor, .size_bytes = size_bytes};
        cursor_keep(j->task.session, &j->cursor);
        list_push_back(&j->held->cursors, &j->in_tx);
        j->kept = true;
        value_put_u64(&w, j->cursor.id);
    } else {
        value_put_nil(&w);
    }
    result->size_bytes += w.need_bytes;
    return EG_OK;
}

/* ---- steps -------------------------------------------------------------------------- */

/* What it said, and what that means to the transaction. */
static eg_err call_said(struct job *j, eg_err err, struct buffer *result, struct err_note *note) {
    struct held *h = j->held;

    if (err == EG_OK && j->step.paged)
        err = put_cursor(j, result, note);
    if (err == EG_CONFLICT || err == EG_ABORTED || tx_state(h->tx) != TX_OPEN) {
        job_ends_tx(j, err);
    } else if (!book(h, j->step.scan == NULL)) {
        if (j->kept) { /* ends with the others */
            j->held = NULL;
            h->busy = false;
            held_end(h, EG_ABORTED);
        } else {
            job_ends_tx(j, EG_ABORTED);
        }
        err = err_note(note, EG_ABORTED,
                       "the transactions of all clients fill the memory there is for them");
    }
    return err;
}

static eg_err commit_said(struct job *j, eg_err err, struct buffer *result, struct err_note *note) {
    static const uint8_t yes = TRUE;
    char id[TX_ID_TEXT_BYTES];

    tx_id_text(j->held->id, id);
    job_ends_tx(j, err);
    if (err == EG_IN_DOUBT)
        rpc_tx_note_doubt(note, id, ID_BYTES);
    if (err == EG_OK && !buffer_append(result, &yes, 1))
        return EG_TOO_LARGE;
    return err;
}

static eg_err job_step(struct task *t, struct buffer *result, struct err_note *note) {
    struct job *j = job_of(t);
    struct tx *tx = j->held->tx;
    eg_err err = j->asks ? rpc_tx_ask(t, tx) : EG_OK;

    if (err == EG_AGAIN)
        return err;
    err = j->commits ? tx_commit(tx, &t->worker->reader, note)
                     : rpc_tx_step_run(&j->step, tx, t, result, note);
    j->asks = err == EG_AGAIN;
    if (j->asks) {
        (void) rpc_tx_ask(t, tx);
        return err;
    }
    return j->commits ? commit_said(j, err, result, note) : call_said(j, err, result, note);
}

static size_t job_bytes(const struct task *t) {
    return rpc_tx_step_bytes(&EG_CONTAINER_OF(t, struct job, task)->step);
}

static uint64_t job_until_ns(const struct task *t) {
    return tx_waits_until_ns(EG_CONTAINER_OF(t, struct job, task)->held->tx);
}

static const struct task_ops job_task = {.name = "transaction",
                                         .step = job_step,
                                         .free = job_end,
                                         .answered = job_answered,
                                         .kept_bytes = job_bytes,
                                         .waits_until_ns = job_until_ns};

static struct job *job_new(struct held *h, struct value params) {
    struct alloc *a = alloc_of(h->session->worker);
    struct job *j = alloc_zero(a, sizeof *j);

    if (j == NULL)
        return NULL;
    j->alloc = a;
    j->held = h;
    list_init(&j->in_tx);
    j->params_bytes = params.size_bytes;
    j->params = params.size_bytes == 0 ? NULL : alloc_get(a, params.size_bytes);
    if (params.size_bytes != 0 && j->params == NULL) {
        alloc_put(a, j, sizeof *j);
        return NULL;
    }
    if (params.size_bytes != 0)
        memcpy(j->params, params.at, params.size_bytes);
    return j;
}

/* ---- the methods -------------------------------------------------------------------- */

eg_err rpc_tx_call(struct rpc_call *c) {
    struct value params;
    struct held *h;
    struct job *j;
    eg_err err = find(c, c->options.tx, &h);

    if (err != EG_OK)
        return err;
    EG_ASSERT(!h->busy); /* what comes behind a request under way waits: session.c */
    j = job_new(h, c->params_given);
    if (j == NULL)
        return EG_MEMORY;
    params = (struct value){j->params, (uint32_t) j->params_bytes};
    err = rpc_tx_step_init(&j->step, c->method, value_iter_of(params), c->note);
    if (err != EG_OK) {
        job_free(j);
        return err;
    }
    h->busy = true;
    return task_start(&j->task, &job_task, c);
}

eg_err rpc_commit(struct rpc_call *c) {
    struct held *h;
    struct job *j;
    eg_err err = find(c, c->param[0], &h);

    if (err != EG_OK)
        return err;
    EG_ASSERT(!h->busy);
    j = job_new(h, (struct value){0});
    if (j == NULL)
        return EG_MEMORY;
    j->commits = true;
    h->busy = true;
    return task_start(&j->task, &job_task, c);
}

eg_err rpc_abort(struct rpc_call *c) {
    uint8_t *room = buffer_room(c->result, 1);
    struct held *h;
    eg_err err = find(c, c->param[0], &h);

    if (err != EG_OK)
        return err;
    if (room == NULL)
        return EG_MEMORY;
    EG_ASSERT(!h->busy);
    held_end(h, EG_NOT_FOUND); /* which it is from here on */
    *room = TRUE;
    c->result->size_bytes++;
    return EG_OK;
}

eg_err rpc_tx_open(struct worker *w, struct tx **out) {
    const struct tx_opts o = {.alloc = alloc_of(w),
                              .env = runtime_env(w->server->opts.runtime),
                              .patience = 1,
                              .managers = w->server->opts.transactions};

    return tx_open(out, &o);
}

/* The age of an earlier try. */
static eg_err find_age(struct rpc_call *c, struct transact_age *out) {
    struct transact_id id = rpc_tx_id_of(c->options.retry);
    const struct past *past = find_past(c->session, id);
    struct held *h = find_open(c->session, id);

    if (past == NULL && h == NULL)
        return err_note(c->note, EG_NOT_FOUND, "no such transaction on this connection");
    *out = past != NULL ? past->age : tx_age(h->tx);
    return EG_OK;
}

eg_err rpc_begin(struct rpc_call *c) {
    struct session *s = c->session;
    struct tx_start start = {.timeout_ms = c->options.timeout_ms};
    char text[TX_ID_TEXT_BYTES];
    struct value_writer w;
    uint8_t *room;
    struct held *h;
    eg_err err = txs_of(s);

    if (err == EG_OK && s->transactions->open_count >= RPC_TXS_MAX)
        err = err_note(c->note, EG_BUSY, "too many transactions of this connection are open");
    if (err == EG_OK && c->options.retry.size_bytes != 0)
        err = find_age(c, &start.age);
    if (err != EG_OK)
        return err;
    room = buffer_room(c->result, RPC_HEADER_BYTES + sizeof text);
    h = alloc_zero(alloc_of(s->worker), sizeof *h);
    err = room == NULL || h == NULL ? EG_MEMORY : rpc_tx_open(s->worker, &h->tx);
    if (err != EG_OK) {
        alloc_put(alloc_of(s->worker), h, sizeof *h);
        return err;
    }
    tx_begin(h->tx, &start);
    h->session = s;
    h->id = tx_id(h->tx);
    h->began_ns = env_now_ns(runtime_env(s->worker->server->opts.runtime));
    (void) tx_age(h->tx); /* from here on */
    list_init(&h->cursors);
    list_push_back(&s->transactions->open, &h->node);
    s->transactions->open_count++;
    atomic_fetch_add_explicit(&s->worker->server->transactions, 1, memory_order_relaxed);
    worker_watch(s->worker);
    tx_id_text(h->id, text);
    w = value_writer_init(room, RPC_HEADER_BYTES + sizeof text);
    value_put_text(&w, text);
    c->result->size_bytes += w.need_bytes;
    return EG_OK;
}

/* ---- for people ------------------------------------------------------------------------ */

static bool put_row(const struct held *h, struct buffer *rows) {
    struct tx_row row = {.id = h->id,
                         .pid = h->session->pid,
                         .committing = tx_state(h->tx) == TX_COMMITTING,
                         .began_ns = h->began_ns,
                         .deadline_ns = tx_deadline_ns(h->tx),
                         .stats = tx_stats(h->tx)};

    return buffer_append(rows, &row, sizeof row);
}

eg_err rpc_tx_rows(const struct session *s, struct buffer *rows) {
    if (s->transactions == NULL)
        return EG_OK;
    for (struct list_node *n = s->transactions->open.next; n != &s->transactions->open; n = n->next)
        if (!put_row(EG_CONTAINER_OF(n, struct held, node), rows))
            return EG_MEMORY;
    return EG_OK;
}
