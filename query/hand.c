/* hand.c -- a hand: posted, stepped, and heard of. */
#include "query/hand.h"

#include "query/server_private.h"
#include "query/session.h"
#include "query/text_crew.h"

#include "engine/message.h"
#include "engine/runtime.h"

struct hand_task {
    struct task task;
    struct text_crew *crew;
    struct worker *worker;
    uint32_t number;
    bool done;
    struct text_run *run;
    struct message *word; /* that it is done, so that it can always be said */
};

static struct hand_task *hand_of(struct task *t) {
    return EG_CONTAINER_OF(t, struct hand_task, task);
}

static struct runtime *runtime_of(const struct worker *w) {
    return w->server->opts.runtime;
}

/* ---- at its worker ------------------------------------------------------------------- */

static void tell(struct hand_task *h, eg_err err, const struct err_note *note) {
    struct message *m = h->word;
    struct text_run *run = h->run;
    eg_pid asker;

    h->done = true;
    h->run = NULL;
    if (!text_crew_done(h->crew, h->number, run, err, note, &asker, &m->ref))
        return;
    h->word = NULL;
    m->tag = EG_OK;
    (void) runtime_send(runtime_of(h->worker), EG_PID_NONE, asker, m); /* or it asks no more */
}

static void hand_free(struct hand_task *h) {
    static const struct err_note none = {""};
    struct worker *w = h->worker;

    if (!h->done) /* dismissed, or its worker closes, and then who asked has gone too */
        tell(h, EG_CLOSED, &none);
    if (h->word != NULL)
        message_free(runtime_of(w), h->word);
    text_crew_unref(h->crew);
    alloc_put(w->server->opts.alloc, h, sizeof *h);
}

static void hand_end(struct task *t) {
    hand_free(hand_of(t));
}

static bool is_over(void *context) {
    return task_is_over(context);
}

static eg_err hand_step(struct task *t, struct buffer *result, struct err_note *note) {
    const struct select_pace pace = {is_over, t};
    struct hand_task *h = hand_of(t);
    struct catalog *catalog = t->worker->server->opts.catalog;
    eg_err err = EG_OK;

    (void) result; /* what it counts goes to who asked */
    if (text_crew_dismissed(h->crew))
        return EG_OK;
    if (h->run != NULL ||
        text_crew_begin(h->crew, h->number, catalog, &t->worker->reader, &h->run) == EG_OK)
        err = text_run_help(h->run, catalog, &t->worker->reader, &pace, note);
    if (err == EG_AGAIN && !h->run->awaits)
        return EG_AGAIN;
    tell(h, err == EG_AGAIN ? EG_OK : err, note);
    return EG_OK;
}

static const struct task_ops hand_ops = {.name = "hand", .step = hand_step, .free = hand_end};

static void begin(struct scheduler *scheduler, void *arg) {
    struct hand_task *h = arg;

    (void) scheduler; /* the worker's */
    task_start_alone(&h->task, &hand_ops, h->worker);
}

/* ---- at who asks --------------------------------------------------------------------- */

static bool call_one(struct worker *w, struct text_crew *crew, uint32_t number) {
    struct runtime *rt = runtime_of(w);
    struct hand_task *h = alloc_zero(w->server->opts.alloc, sizeof *h);

    if (h == NULL)
        return false;
    h->crew = crew;
    h->worker = w;
    h->number = number;
    h->word = message_copy(rt, MESSAGE_REPLY, NULL, 0);
    text_crew_ref(crew);
    if (h->word != NULL && scheduler_post(w->scheduler, begin, h) == EG_OK)
        return true;
    if (h->word != NULL)
        message_free(rt, h->word);
    text_crew_unref(crew);
    alloc_put(w->server->opts.alloc, h, sizeof *h);
    return false;
}

void hands_call(struct task *t, struct text_run *r) {
    struct server *s = t->worker->server;
    struct worker *w = t->worker;
    struct text_crew *crew;
    uint32_t count = 0;

    if (s->worker_count > 1 && text_plan_check(r->plan, s->opts.catalog, NULL) == EG_OK)
        count = EG_MIN(text_crew_useful(r->plan), s->worker_count - 1);
    if (count == 0 || text_crew_open(&crew, r->plan, count) != EG_OK)
        return;
    text_run_lead(r, crew);
    for (uint32_t i = 0; i < count; i++) {
        w = w + 1 == s->worker + s->worker_count ? s->worker : w + 1;
        if (!call_one(w, crew, i))
            text_crew_send_home(crew, i);
    }
}

void hands_await(struct task *t, struct text_run *r) {
    if (r->crew == NULL || !r->awaits)
        return;
    for (uint32_t i = 0; i < text_crew_hands(r->crew); i++)
        t->asked += text_crew_await(r->crew, i, t->session->pid, session_task_ref(t->number));
}
