/* api_tx_then.c -- transactions of actors: tried in their turns, and nobody waits between them.
 *
 *     eg_transaction_then --> BODY: fn --> COMMIT --made--> END --> done
 *                              ^  ^  |       |  ^            |
 *                              |  |  '-asks--'--'-answer     |
 *                              |  '-----answer-'             |
 *                              '--------- conflict ----------'
 *
 * A function of C cannot be left in its middle.  So what it has to ask ends it, and it is called
 * anew when the answer is there: what it has wanted until then is forgotten, what it has seen is
 * not, and the answer is one of that.  What a scan was told is not kept: there all begins anew, and
 * mostly in place, for it had to ask only because of what was under way.
 *
 * Where the node closes, each scheduler first ends the errands of its actors: these go after what
 * all transactions need.  What has been asked for one still comes, and finds it cut.
 *
 * Threads    All of an errand: its actor's callbacks.  The idle ones: of that thread.
 */
#include "engine/genserver.h"
#include "engine/runtime.h"
#include "engine/scheduler.h"
#include "engram/actor.h"
#include "node/api_tx_private.h"

#include <string.h>

enum {
    MS_NS = 1000 * 1000,
    ERRANDS_KEPT = 64, /* of a thread: with the memory that their transactions have taken     */
    ANEW_MAX = 64,     /* of one try, from the beginning: this node has not all of the table  */
    CUT_WAIT_NS = 1000 * 1000,
    ANSWER_KEPT_BYTES = 64 << 10,
    AT_ONCE_LOSSES = 2, /* tries that follow at once: what it lost to is over by then          */
    PAUSE_MS_MAX = 4,
};

enum errand_at { AT_BEGIN, AT_LOCKS, AT_BODY, AT_COMMIT, AT_END };

struct errand {
    struct cleanup cleanup; /* its actor has ended */
    struct list_node node;  /* of those under way  */
    struct errand *next;    /* of the idle ones    */
    struct actor *self;
    struct api_txs *txs; /* NULL: it was cut */
    eg_err (*fn)(eg_tx *tx, void *arg);
    void *arg;
    eg_done_fn done;
    void *context;

    enum errand_at at;
    struct tx_put_off put_off;
    struct tx_start start;
    uint64_t until_ns;
    uint32_t tries_left; /* 0: as many as there is time for */
    uint32_t losses, anew;
    uint32_t seen; /* at most, when it had to ask */
    eg_err said;   /* by fn: not EG_OK, and what it has read is looked at again */
    eg_err outcome;
    struct err_note note; /* why */
};

static struct env *env_of(const struct errand *e) {
    return &e->txs->thread->owner->env.env;
}

/* ---- memory ------------------------------------------------------------------------------- */

static void errand_free(struct errand *e) {
    api_txs_close(e->txs);
    alloc_put(alloc_system(), e, sizeof *e);
}

void api_errands_close(struct node_thread *t) {
    while (t->errands != NULL) {
        struct errand *e = t->errands;

        t->errands = e->next;
        errand_free(e);
    }
    t->errand_count = 0;
}

static struct errand *errand_get(struct node_thread *t, eg_err *err) {
    struct errand *e = t->errands;

    *err = EG_OK;
    if (EG_LIKELY(e != NULL)) {
        t->errands = e->next;
        t->errand_count--;
        return e;
    }
    e = alloc_zero(alloc_system(), sizeof *e);
    if (e == NULL) {
        *err = EG_MEMORY;
        return NULL;
    }
    e->txs = api_txs_open(t, err);
    if (e->txs == NULL) {
        alloc_put(alloc_system(), e, sizeof *e);
        return NULL;
    }
    return e;
}

static void errand_put(struct errand *e) {
    struct node_thread *t = e->txs->thread;

    if (EG_UNLIKELY(e->txs->answer.room_bytes > ANSWER_KEPT_BYTES))
        buffer_fini(&e->txs->answer);
    if (t->errand_count == ERRANDS_KEPT) {
        errand_free(e);
        return;
    }
    e->next = t->errands;
    t->errands = e;
    t->errand_count++;
}

/* Nobody hears of it any more: it gives back what it holds, in nobody's name. */
static void leave(struct errand *e) {
    struct reader *r = &e->txs->thread->reader;
    struct message *m;
    eg_err err;
    eg_pid to;

    list_remove(&e->node);
    for (;;) {
        reader_enter(r);
        err = tx_leave(e->txs->tx, &to, &m);
        reader_exit(r);
        if (err != EG_OK)
            return;
        (void) runtime_send(actor_runtime(e->self), EG_PID_NONE, to, m);
    }
}

static void actor_ended(struct cleanup *c) {
    struct errand *e = EG_CONTAINER_OF(c, struct errand, cleanup);

    if (e->txs == NULL) {
        alloc_put(alloc_system(), e, sizeof *e);
        return;
    }
    leave(e);
    errand_free(e);
}

/* ---- the node closes ---------------------------------------------------------------------- */

static void cut_here(struct scheduler *s, void *arg) {
    eg_node *n = arg;
    struct node_thread *t = node_thread_here(n);

    (void) s;
    while (t != NULL && !list_is_empty(&t->underway)) {
        struct errand *e = EG_CONTAINER_OF(t->underway.next, struct errand, node);

        leave(e);
        api_txs_close(e->txs);
        e->txs = NULL; /* its actor's end frees the rest */
    }
    atomic_fetch_sub(&n->errands_to_cut, 1);
}

void api_errands_cut(eg_node *n) {
    uint32_t count = runtime_schedulers(n->runtime);
    struct env *env = &n->env.env;
    struct waiter *waiter = NULL;

    if (env->ops->waiter_open(env, &waiter) != EG_OK)
        waiter = NULL; /* without memory for it this thread spins */
    atomic_store(&n->closing, true);
    atomic_store(&n->errands_to_cut, count);
    for (uint32_t i = 0; i < count; i++)
        while (scheduler_post(runtime_scheduler(n->runtime, i), cut_here, n) != EG_OK)
            if (waiter != NULL)
                env->ops->waiter_wait(env, waiter, CUT_WAIT_NS);
    while (atomic_load(&n->errands_to_cut) > 0)
        if (waiter != NULL)
            env->ops->waiter_wait(env, waiter, CUT_WAIT_NS);
    if (waiter != NULL)
        env->ops->waiter_close(env, waiter);
}

/* ---- for people --------------------------------------------------------------------------- */

eg_err api_errands_rows(eg_node *n, struct buffer *rows) {
    const struct node_thread *t = node_thread_here(n);

    for (struct list_node *at = t == NULL ? NULL : t->underway.next;
         at != NULL && at != &t->underway; at = at->next) {
        struct errand *e = EG_CONTAINER_OF(at, struct errand, node);
        struct tx_row row;

        tx_show(e->txs->tx, &e->txs->card);
        if (!tx_card_look(&e->txs->card, &row))
            continue;
        row.actor = true;
        row.pid = actor_pid(e->self);
        if (!buffer_append(rows, &row, sizeof row))
            return EG_MEMORY;
    }
    return EG_OK;
}

/* ---- what comes of what it asks ------------------------------------------------------------ */

static void move(struct errand *e, void *state);

static void on_answer(struct actor *self, void *state, const struct call_then *then, eg_err outcome,
                      struct message *reply) {
    struct errand *e = then->context;
    struct value answer = {NULL, 0};

    (void) self;
    if (e->txs == NULL)
        return;
    if (reply != NULL)
        answer = (struct value){reply->payload, (uint32_t) reply->size_bytes};
    tx_answered(e->txs->tx, outcome, answer);
    move(e, state);
}

static void on_turn(struct actor *self, void *state, const struct call_then *then, eg_err outcome,
                    struct message *reply) {
    struct errand *e = then->context;

    (void) self;
    (void) outcome;
    (void) reply;
    if (e->txs != NULL)
        move(e, state);
}

static eg_err next_call(struct errand *e, eg_pid *to, struct message **m) {
    struct reader *r = &e->txs->thread->reader;
    eg_err err;

    if (e->put_off.call != NULL) {
        *to = e->put_off.to;
        *m = e->put_off.call;
        e->put_off.call = NULL;
        return EG_OK;
    }
    reader_enter(r);
    err = tx_ask(e->txs->tx, r, to, m);
    reader_exit(r);
    return err;
}

/* True: something has been asked, and its answer comes. */
static bool ask(struct errand *e) {
    const struct call_then then = {.done = on_answer, .context = e};
    struct message *m;
    eg_pid to;

    while (next_call(e, &to, &m) == EG_OK) {
        uint64_t patience_ms = api_tx_patience_ms(e->txs);
        eg_err err = genserver_call(e->self, to, m, patience_ms, &then);

        if (err == EG_OK)
            return true;
        tx_answered(e->txs->tx, err, (struct value){NULL, 0});
    }
    return false;
}

static eg_err come_again(struct errand *e, uint64_t delay_ms) {
    return genserver_later(e->self, delay_ms, &(struct call_then){.done = on_turn, .context = e});
}

/* ---- one try ------------------------------------------------------------------------------- */

/* EG_OK: to be committed.  EG_AGAIN: it has asked something. */
static eg_err run_body(struct errand *e) {
    struct api_txs *x = e->txs, *outer = x->thread->txs;
    eg_tx *tx;
    eg_err err;

    tx = api_tx_push(x, &err);
    if (tx == NULL)
        return err;
    tx->context = EG_TRANSACTION;
    tx->on_disc = false;
    e->put_off = (struct tx_put_off){.anew = TX_ANEW_NOT};
    x->put_off = &e->put_off;
    x->thread->txs = x; /* for a transaction inside this one */
    err = api_tx_outcome(tx, e->fn(tx, e->arg));
    x->thread->txs = outer;
    x->put_off = NULL;
    e->note = tx->note;
    api_tx_pop(tx);
    return err;
}

/* Nobody will be asked. */
static void drop_call(struct errand *e) {
    if (e->put_off.call == NULL)
        return;
    message_free(actor_runtime(e->self), e->put_off.call);
    e->put_off.call = NULL;
    tx_answered(e->txs->tx, EG_TIMEOUT, (struct value){NULL, 0});
}

/* What it has to ask is not asked for ever, unless it has seen more each time. */
static eg_err begin_anew(struct errand *e) {
    struct tx *tx = e->txs->tx;
    uint32_t seen = tx_stats(tx).seen;

    if (seen > e->seen)
        e->anew = 0;
    e->seen = EG_MAX(e->seen, seen);
    if (++e->anew > ANEW_MAX) {
        tx_abort(tx, NULL);
        drop_call(e);
        return EG_BUSY;
    }
    if (e->put_off.anew == TX_ANEW_SAME) {
        tx_forget_wants(tx);
        return EG_AGAIN;
    }
    tx_abort(tx, NULL); /* so that its locks go before it begins */
    e->at = AT_BEGIN;
    return EG_AGAIN;
}

static eg_err step_body(struct errand *e) {
    struct tx *held = e->txs->tx;
    eg_err err = run_body(e);

    if (e->put_off.anew != TX_ANEW_NOT)
        return begin_anew(e);
    e->said = EG_OK;
    e->at = AT_COMMIT;
    if (err == EG_OK)
        return EG_OK;
    if (tx_state(held) != TX_OPEN || err == EG_CONFLICT || err == EG_BUSY) {
        tx_abort(held, NULL);
        return err;
    }
    e->said = err; /* because of what it has read: was that ever so? */
    tx_forget_wants(held);
    return EG_OK;
}

static eg_err step_locks(struct errand *e) {
    struct reader *r = &e->txs->thread->reader;
    eg_err err;

    reader_enter(r);
    err = tx_lock_again(e->txs->tx, r, &e->note);
    reader_exit(r);
    return err;
}

static eg_err step_commit(struct errand *e) {
    struct reader *r = &e->txs->thread->reader;
    struct err_note note = {""};
    eg_err err;

    reader_enter(r);
    err = tx_commit(e->txs->tx, r, &note);
    reader_exit(r);
    if (err == EG_AGAIN)
        return err;
    if (e->said != EG_OK)
        return err == EG_CONFLICT ? err : e->said;
    e->note = note;
    return err;
}

/* Of its time: 0 would be no bound. */
static uint64_t left_ms(const struct errand *e) {
    uint64_t now_ns = env_now_ns(env_of(e));

    return e->until_ns <= now_ns ? 1 : (e->until_ns - now_ns - 1) / MS_NS + 1;
}

/* EG_AGAIN: something is to be asked, or only to be tried again.  Others: the try is over. */
static eg_err step(struct errand *e) {
    eg_err err = EG_OK;

    if (e->at == AT_BEGIN) {
        if (tx_has_locks(e->txs->tx))
            return EG_AGAIN;
        e->start.timeout_ms = left_ms(e);
        tx_begin(e->txs->tx, &e->start);
        e->note.text[0] = '\0';
        e->at = e->losses >= API_TX_LOCK_AFTER_LOSSES ? AT_LOCKS : AT_BODY;
    }
    if (e->at == AT_LOCKS) {
        err = step_locks(e);
        if (err == EG_OK)
            e->at = AT_BODY;
    }
    if (err == EG_OK && e->at == AT_BODY)
        err = step_body(e);
    if (err == EG_OK && e->at == AT_COMMIT)
        err = step_commit(e);
    return err;
}

/* ---- from one to the next ------------------------------------------------------------------ */

static void finish(struct errand *e, void *state) {
    const struct err_note note = e->note;
    eg_err outcome = e->outcome;
    eg_done_fn done = e->done;
    void *context = e->context;
    struct actor *self = e->self;

    actor_cancel_on_exit(self, &e->cleanup);
    list_remove(&e->node);
    errand_put(e); /* before done(), which may begin another */
    if (outcome == EG_OK)
        done((eg_actor *) self, state, context, outcome, NULL, 0);
    else
        done((eg_actor *) self, state, context, outcome, note.text, strlen(note.text));
}

/* Is it tried once more?  Then when. */
static bool tries_again(struct errand *e, uint64_t *delay_ms) {
    if (e->outcome != EG_CONFLICT || e->tries_left == 1 || env_now_ns(env_of(e)) >= e->until_ns)
        return false;
    if (e->tries_left != 0)
        e->tries_left--;
    e->losses++;
    e->anew = e->seen = 0;
    e->start.age = tx_age(e->txs->tx);
    e->at = AT_BEGIN;
    *delay_ms = e->losses <= AT_ONCE_LOSSES
                    ? 0
                    : 1 + env_random(env_of(e)) % EG_MIN(e->losses - AT_ONCE_LOSSES, PAUSE_MS_MAX);
    return true;
}

static void move(struct errand *e, void *state) {
    uint64_t delay_ms = 0;
    eg_err err = e->at == AT_END ? EG_OK : step(e);

    if (e->at != AT_END && err != EG_AGAIN) {
        e->outcome = err;
        e->at = AT_END;
    }
    if ((err == EG_AGAIN || tx_has_locks(e->txs->tx)) && ask(e))
        return;
    if (e->at == AT_END && !tries_again(e, &delay_ms)) {
        finish(e, state);
        return;
    }
    if (come_again(e, delay_ms) == EG_OK)
        return;
    tx_abort(e->txs->tx, NULL);
    e->outcome = EG_MEMORY;
    finish(e, state);
}

eg_err eg_transaction_then(eg_actor *self, eg_node *node, eg_err (*fn)(eg_tx *tx, void *arg),
                           void *arg, const eg_tx_options *options, eg_done_fn done,
                           void *context) {
    uint64_t timeout_ms = options != NULL && options->timeout_ms != 0 ? options->timeout_ms
                                                                      : (uint64_t) TX_TIMEOUT_MS;
    struct node_thread *t;
    struct errand *e;
    uint64_t now_ns;
    eg_err err;

    if (self == NULL || node == NULL || fn == NULL || done == NULL ||
        (options != NULL && options->context != EG_TRANSACTION) ||
        actor_runtime((struct actor *) self) != node->runtime)
        return EG_BAD_REQUEST;
    if (atomic_load_explicit(&node->closing, memory_order_relaxed))
        return EG_BUSY;
    t = node_thread(node, &err);
    e = t == NULL ? NULL : errand_get(t, &err);
    if (e == NULL)
        return err;
    now_ns = env_now_ns(env_of(e));
    *e = (struct errand){
        .cleanup = {.run = actor_ended},
        .self = (struct actor *) self,
        .txs = e->txs,
        .fn = fn,
        .arg = arg,
        .done = done,
        .context = context,
        .until_ns =
            timeout_ms < (UINT64_MAX - now_ns) / MS_NS ? now_ns + timeout_ms * MS_NS : UINT64_MAX,
        .tries_left = options != NULL ? options->tries : 0,
    };
    err = come_again(e, 0); /* not inside the call */
    if (err != EG_OK) {
        errand_put(e);
        return err;
    }
    tx_card_begin(&e->txs->card, now_ns, e->until_ns);
    actor_on_exit(e->self, &e->cleanup);
    list_push_back(&t->underway, &e->node);
    return EG_OK;
}
