/* task.c -- steps of long requests, one after the other.
 *
 *     started --step: EG_AGAIN--> in the ring <--all answered-- out of it
 *        |                         |      '--step asked a shard-->'
 *        '------ step: done ------>'-- answer, free
 *
 * All tasks of a worker share one allowance of time a turn.  The first steps of requests
 * that have just come take from it too; the ring gets one step even where these have
 * used it up, so that neither starves the other. */
#include "query/task.h"

#include "query/server_private.h"
#include "query/session.h"

#include "engine/env.h"
#include "engine/message.h"
#include "engine/runtime.h"

#include <string.h>

static uint64_t now_ns(const struct worker *w) {
    return env_now_ns(runtime_env(w->server->opts.runtime));
}

bool task_is_over(const struct task *t) {
    return now_ns(t->worker) >= t->deadline_ns;
}

/* ---- memory -------------------------------------------------------------------- */

static size_t taken_bytes(const struct task *t) {
    return t->result.room_bytes + (t->ops->kept_bytes != NULL ? t->ops->kept_bytes(t) : 0);
}

/* Tell the server what the task takes by now.  Small ones are worth no bound. */
static eg_err book(struct task *t, struct err_note *note) {
    struct server *server = t->worker->server;
    uint64_t most = server->opts.answers_max_bytes;
    size_t now_bytes = taken_bytes(t);
    uint64_t change = (uint64_t) now_bytes - (uint64_t) t->booked_bytes;
    uint64_t before;

    if (change == 0)
        return EG_OK;
    before = atomic_fetch_add_explicit(&server->tasks_bytes, change, memory_order_relaxed);
    t->booked_bytes = now_bytes;
    if (before + change <= most || now_bytes <= WORKER_SPARE_BYTES)
        return EG_OK;
    if (now_bytes > most)
        return err_note(note, EG_TOO_LARGE,
                        "the answer takes more memory than the node has for it: ask for less");
    return err_note(note, EG_BUSY, "the answers in the making fill the memory there is");
}

static void task_free(struct task *t) {
    struct server *server = t->worker->server;

    list_remove(&t->in_worker);
    if (!list_is_empty(&t->in_session)) {
        list_remove(&t->in_session);
        t->session->task_count--;
    }
    atomic_fetch_sub_explicit(&server->tasks_bytes, t->booked_bytes, memory_order_relaxed);
    worker_buffer_put(t->worker, &t->result);
    t->ops->free(t);
}

/* ---- steps ---------------------------------------------------------------------- */

static eg_err step(struct task *t, uint64_t deadline_ns, struct err_note *note) {
    eg_err err, booked;

    t->deadline_ns = deadline_ns;
    err = t->ops->step(t, &t->result, note);
    if (err != EG_AGAIN)
        return err;
    booked = t->asked == 0 ? book(t, note) : EG_OK;
    return booked != EG_OK ? booked : EG_AGAIN;
}

/* The answer; afterwards there is no task, and perhaps no session. */
static void finish(struct task *t, eg_err err, const struct err_note *note) {
    struct worker *w = t->worker;
    struct session *s = t->session;
    eg_ref ref = t->ref;
    struct buffer result = t->result;

    t->result = worker_buffer_get(w); /* the bytes are needed a moment longer */
    task_free(t);
    if (err == EG_OK)
        session_end(s, ref, EG_OK, result.at, result.size_bytes);
    else
        session_end(s, ref, err, (const uint8_t *) note->text, strlen(note->text));
    worker_buffer_put(w, &result);
}

eg_err task_start(struct task *t, const struct task_ops *ops, struct rpc_call *c) {
    struct worker *w = c->worker;
    struct session *s = c->session;
    uint64_t now = now_ns(w);
    eg_err err = EG_AGAIN;

    t->ops = ops;
    t->worker = w;
    t->session = s;
    t->number = s->next_task++;
    t->asked = 0;
    t->booked_bytes = 0;
    t->result = worker_buffer_get(w);
    list_init(&t->in_worker);
    list_init(&t->in_session);
    if (w->tasks_deadline_ns == 0)
        w->tasks_deadline_ns = now + TASK_STEP_NS;
    if (s->task_count >= TASKS_SESSION_MAX)
        err = err_note(c->note, EG_BUSY, "too many long requests of this connection under way");
    else if (now < w->tasks_deadline_ns)
        err = step(t, w->tasks_deadline_ns, c->note);
    if (err == EG_AGAIN) {
        t->ref = session_begin(s, c);
        list_push_back(&s->tasks, &t->in_session);
        s->task_count++;
        if (t->asked == 0)
            list_push_back(&w->tasks, &t->in_worker);
        return EG_AGAIN;
    }
    if (err == EG_OK && !buffer_append(c->result, t->result.at, t->result.size_bytes))
        err = err_note(c->note, EG_TOO_LARGE, "the answer is too large");
    task_free(t);
    return err;
}

void task_start_alone(struct task *t, const struct task_ops *ops, struct worker *w) {
    *t = (struct task){.ops = ops, .worker = w, .result = worker_buffer_get(w)};
    list_init(&t->in_session);
    list_push_back(&w->tasks, &t->in_worker);
}

static void run_one(struct worker *w, struct task *t, uint64_t deadline_ns) {
    struct err_note note = {""};
    eg_err err;

    reader_enter(&w->reader);
    err = step(t, deadline_ns, &note);
    reader_exit(&w->reader);
    reader_reset(&w->reader);
    if (err != EG_AGAIN && t->session == NULL)
        task_free(t);
    else if (err != EG_AGAIN)
        finish(t, err, &note);
    else if (t->asked == 0)
        list_push_back(&w->tasks, &t->in_worker);
}

bool task_run_all(struct worker *w) {
    struct list_node round;
    uint64_t now, deadline_ns;

    if (list_is_empty(&w->tasks))
        return false;
    now = now_ns(w);
    deadline_ns = now < w->tasks_deadline_ns ? w->tasks_deadline_ns : now + TASK_STEP_NS;
    list_push_back(&w->tasks, &round); /* who has had a step stands behind it */
    do {
        struct task *t = EG_CONTAINER_OF(w->tasks.next, struct task, in_worker);
        list_remove(&t->in_worker);
        run_one(w, t, deadline_ns);
    } while (w->tasks.next != &round && now_ns(w) < deadline_ns);
    list_remove(&round);
    return !list_is_empty(&w->tasks);
}

/* ---- asking shards ----------------------------------------------------------------- */

eg_err task_ask(struct task *t, struct table *table, eg_pid to, struct message *m) {
    eg_err err;

    EG_ASSERT(t->ops->answered != NULL);
    m->ref = session_task_ref(t->number);
    err = runtime_send(t->worker->server->opts.runtime, t->session->pid, to, m);
    t->asked += err == EG_OK;
    if (t->ops->waits_until_ns != NULL)
        worker_watch(t->worker);
    return err == EG_NOPROC && table != NULL ? table_lost(table) : err;
}

void task_reply(struct session *s, uint32_t number, const struct message *m) {
    for (struct list_node *n = s->tasks.next; n != &s->tasks; n = n->next) {
        struct task *t = EG_CONTAINER_OF(n, struct task, in_session);

        if (t->number != number)
            continue;
        EG_ASSERT(t->asked > 0);
        t->asked--;
        t->ops->answered(t, (eg_err) (int32_t) m->tag,
                         (struct value){m->payload, (uint32_t) m->size_bytes});
        if (t->asked == 0)
            list_push_back(&t->worker->tasks, &t->in_worker);
        return;
    }
    /* The task has failed meanwhile: nobody wants to know. */
}

/* With another number, so that what still comes finds nobody. */
static void give_up_waiting(struct task *t) {
    t->number = t->session->next_task++;
    t->asked = 0;
    t->ops->answered(t, EG_TIMEOUT, (struct value){0});
    list_push_back(&t->worker->tasks, &t->in_worker);
}

bool task_expire(struct session *s, uint64_t now_ns) {
    bool waits = false;

    for (struct list_node *n = s->tasks.next; n != &s->tasks; n = n->next) {
        struct task *t = EG_CONTAINER_OF(n, struct task, in_session);

        if (t->asked == 0 || t->ops->waits_until_ns == NULL)
            continue;
        waits = true;
        if (t->ops->waits_until_ns(t) <= now_ns)
            give_up_waiting(t);
    }
    return waits;
}

void task_end_all(struct session *s) {
    while (!list_is_empty(&s->tasks))
        task_free(EG_CONTAINER_OF(s->tasks.next, struct task, in_session));
}

void task_end_alone(struct worker *w) {
    while (!list_is_empty(&w->tasks)) {
        struct task *t = EG_CONTAINER_OF(w->tasks.next, struct task, in_worker);

        EG_ASSERT(t->session == NULL);
        task_free(t);
    }
}
