/* inspect.c -- a question to all schedulers, and its answers put together.
 *
 * Each scheduler writes only the entries of its own actors, so the page needs no
 * lock: the counter of those who have not answered yet orders everything.
 */
#include "engine/inspect.h"

#include "engine/actor_private.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct question {
    struct runtime *rt;
    struct scheduler *home;
    inspect_done_fn done;
    void *context;
    _Atomic uint32_t unanswered;
    uint32_t room; /* entries that were allocated */
    eg_pid *pids;
    struct inspect_page *page;
};

static size_t page_bytes(uint32_t entries) {
    return sizeof(struct inspect_page) + entries * sizeof(struct inspect_entry);
}

static void question_free(struct question *q) {
    struct alloc *a = runtime_alloc(q->rt);
    if (q->page != NULL)
        alloc_put(a, q->page, page_bytes(q->room));
    alloc_put(a, q->pids, q->room * sizeof *q->pids);
    alloc_put(a, q, sizeof *q);
}

static void describe(struct actor *a, struct inspect_entry *e) {
    actor_describe(a, &e->actor);
    if (e->actor.label != NULL) { /* it may live in the actor's arena */
        snprintf(e->label_text, sizeof e->label_text, "%s", e->actor.label);
        e->actor.label = NULL;
    }
    if (a->ops->describe != NULL)
        a->ops->describe(a, actor_state(a), e->state, sizeof e->state);
    e->is_server = genserver_is(a);
    if (e->is_server) {
        e->server = genserver_stats(a);
        genserver_registered(a, e->registered, sizeof e->registered);
    }
}

/* Drop the entries of those who had gone, and hand the page over. */
static void finish(struct scheduler *s, void *arg) {
    struct question *q = arg;
    struct inspect_page *page = q->page;
    uint32_t kept = 0;

    (void) s;
    for (uint32_t i = 0; i < page->count; i++) {
        if (eg_pid_is_none(page->entry[i].actor.pid))
            continue;
        if (kept != i)
            page->entry[kept] = page->entry[i];
        kept++;
    }
    page->count = kept;
    q->done(q->context, page);
    question_free(q);
}

static void answered(struct question *q, struct scheduler *here) {
    if (atomic_fetch_sub_explicit(&q->unanswered, 1, memory_order_acq_rel) != 1)
        return;
    if (q->home == NULL || q->home == here || scheduler_post(q->home, finish, q) != EG_OK)
        finish(here, q); /* no memory to go home: better here than never */
}

static void look(struct scheduler *s, void *arg) {
    struct question *q = arg;

    for (uint32_t i = 0; i < q->page->count; i++) {
        struct actor *a = scheduler_find(s, q->pids[i]);
        if (a != NULL)
            describe(a, &q->page->entry[i]);
    }
    answered(q, s);
}

static struct question *question_new(struct runtime *rt, uint32_t room, struct scheduler *home,
                                     inspect_done_fn done, void *context) {
    struct alloc *a = runtime_alloc(rt);
    struct question *q = alloc_zero(a, sizeof *q);

    if (q == NULL)
        return NULL;
    *q = (struct question){.rt = rt, .home = home, .done = done, .context = context, .room = room};
    q->pids = alloc_get(a, room * sizeof *q->pids);
    q->page = alloc_zero(a, page_bytes(room));
    if (q->pids == NULL || q->page == NULL) {
        question_free(q);
        return NULL;
    }
    return q;
}

/* Ask all schedulers.  The first that cannot be asked takes the question back,
 * unless others have it already: then its actors are missing from the page. */
static eg_err ask(struct question *q) {
    uint32_t count = runtime_schedulers(q->rt), asked = 0;

    atomic_store_explicit(&q->unanswered, count + 1, memory_order_relaxed); /* 1: this loop */
    for (uint32_t i = 0; i < count; i++) {
        if (scheduler_post(runtime_scheduler(q->rt, i), look, q) == EG_OK)
            asked++;
        else
            atomic_fetch_sub_explicit(&q->unanswered, 1, memory_order_acq_rel);
    }
    if (asked == 0) {
        question_free(q);
        return EG_MEMORY;
    }
    answered(q, runtime_current(q->rt));
    return EG_OK;
}

eg_err inspect_start(struct runtime *rt, uint32_t cursor, uint32_t max, struct scheduler *home,
                     inspect_done_fn done, void *context) {
    struct question *q;

    max = EG_MAX(EG_MIN(max, INSPECT_PAGE_MAX), 1);
    q = question_new(rt, max, home, done, context);
    if (q == NULL)
        return EG_MEMORY;
    q->page->count = runtime_pids(rt, &cursor, q->pids, max);
    q->page->next = q->page->count < max ? 0 : cursor;
    return ask(q);
}

eg_err inspect_pids(struct runtime *rt, const eg_pid *pids, uint32_t count, struct scheduler *home,
                    inspect_done_fn done, void *context) {
    struct question *q;

    if (count == 0 || count > INSPECT_PAGE_MAX)
        return EG_BAD_REQUEST;
    q = question_new(rt, count, home, done, context);
    if (q == NULL)
        return EG_MEMORY;
    memcpy(q->pids, pids, count * sizeof *pids);
    q->page->count = count;
    return ask(q);
}

/* ---- for threads that may wait -------------------------------------------------- */

struct wait {
    struct runtime *rt;
    struct waiter *waiter;
    struct inspect_page *page; /* a copy of what was handed over; NULL: no memory */
    _Atomic uint32_t stage;    /* 1: the page is there; 2: and nobody touches this */
};

static void on_waited(void *context, const struct inspect_page *page) {
    struct wait *w = context;
    struct env *env = runtime_env(w->rt);

    w->page = alloc_get(runtime_alloc(w->rt), page_bytes(page->count));
    if (w->page != NULL)
        memcpy(w->page, page, page_bytes(page->count));
    atomic_store_explicit(&w->stage, 1, memory_order_release);
    env->ops->waiter_wake(env, w->waiter);
    atomic_store_explicit(&w->stage, 2, memory_order_release);
}

static eg_err wait_for(struct runtime *rt, const eg_pid *pid, uint32_t cursor, uint32_t max,
                       struct inspect_page **out) {
    struct env *env = runtime_env(rt);
    struct wait w = {.rt = rt};
    eg_err err = env->ops->waiter_open(env, &w.waiter);

    if (err != EG_OK)
        return err;
    err = pid != NULL ? inspect_pids(rt, pid, 1, NULL, on_waited, &w)
                      : inspect_start(rt, cursor, max, NULL, on_waited, &w);
    while (err == EG_OK && atomic_load_explicit(&w.stage, memory_order_acquire) == 0)
        env->ops->waiter_wait(env, w.waiter, UINT64_MAX);
    while (err == EG_OK && atomic_load_explicit(&w.stage, memory_order_acquire) != 2)
        ; /* the waker is about to leave */
    env->ops->waiter_close(env, w.waiter);
    if (err == EG_OK && w.page == NULL)
        err = EG_MEMORY;
    if (err == EG_OK)
        *out = w.page;
    return err;
}

eg_err inspect_wait(struct runtime *rt, uint32_t cursor, uint32_t max, struct inspect_page **out) {
    return wait_for(rt, NULL, cursor, max, out);
}

eg_err inspect_wait_pid(struct runtime *rt, eg_pid pid, struct inspect_page **out) {
    eg_err err = wait_for(rt, &pid, 0, 1, out);

    if (err == EG_OK && (*out)->count == 0) {
        inspect_free(rt, *out);
        *out = NULL;
        return EG_NOPROC;
    }
    return err;
}

void inspect_free(struct runtime *rt, struct inspect_page *page) {
    alloc_put(runtime_alloc(rt), page, page_bytes(page->count));
}

/* ---- tracing ---------------------------------------------------------------------- */

void inspect_trace_line(const struct trace_event *e, char *text, size_t size_bytes) {
    int used =
        snprintf(text, size_bytes, "<%u.%u.%u> ", e->pid.node, e->pid.slot, e->pid.generation);
    char *rest = text + EG_MIN((size_t) EG_MAX(used, 0), size_bytes - 1);
    size_t room = size_bytes - (size_t) (rest - text);

    switch (e->kind) {
    case TRACE_SPAWN:
        snprintf(rest, room, "is started by <%u.%u.%u>", e->peer.node, e->peer.slot,
                 e->peer.generation);
        break;
    case TRACE_RECEIVE:
    case TRACE_SEND:
        snprintf(rest, room, "%s %s tag %" PRIu32 " of %" PRIu32 " bytes %s <%u.%u.%u>",
                 e->kind == TRACE_SEND ? "sends" : "receives",
                 message_kind_name((enum message_kind) e->message->kind), e->message->tag,
                 e->message->size_bytes, e->kind == TRACE_SEND ? "to" : "from", e->peer.node,
                 e->peer.slot, e->peer.generation);
        break;
    case TRACE_EXIT:
        snprintf(rest, room, "ends: %s %d %s", exit_kind_name(e->reason->kind),
                 (int) e->reason->code, e->reason->text);
        break;
    }
}

void inspect_log_trace(void *env, const struct trace_event *e) {
    char line[256];
    inspect_trace_line(e, line, sizeof line);
    env_log(env, ENV_LOG_INFO, "trace", "%s", line);
}
