/* api_watch.c -- subscriptions of the program: a watcher read on a scheduler, event by
 * event, into the program's function.
 *
 *     ready --> step, step ... --> all read
 *     eg_unsubscribe --post--> close --> done, when no step is under way
 *
 * All but eg_subscribe() and the waiting happens on the subscription's scheduler. */
#include "engine/runtime.h"
#include "engine/scheduler.h"
#include "node/node.h"
#include "tables/catalog.h"
#include "tables/watch_filter.h"

#include <stdio.h>
#include <string.h>

enum {
    STEP_EVENTS = 1024, /* before the scheduler's other work gets its turn */
    POST_RETRY_NS = 10 * 1000 * 1000,
};

struct eg_subscription {
    eg_node *node;
    struct scheduler *scheduler;
    struct watcher *watcher;
    struct watch_filter filter;
    struct waiter *waiter; /* eg_unsubscribe() sleeps here; NULL: nobody does */
    void (*see)(void *context, const eg_event *event);
    void *context;
    bool old;
    bool stepping; /* a step runs now, and perhaps the program's function */
    bool posted;   /* the next step has been asked for                     */
    bool closing;
    _Atomic bool done; /* nothing here is touched any more */
};

static void subscription_free(eg_subscription *u) {
    struct env *env = &u->node->env.env;

    if (u->waiter != NULL)
        env->ops->waiter_close(env, u->waiter);
    alloc_put(alloc_system(), u, sizeof *u);
}

static void finish(eg_subscription *u) {
    struct env *env = &u->node->env.env;

    watcher_close(u->watcher);
    watch_filter_close(&u->filter);
    if (u->waiter == NULL) {
        subscription_free(u);
        return;
    }
    env->ops->waiter_wake(env, u->waiter);
    atomic_store(&u->done, true); /* and from here on it may be freed */
}

static eg_span span_of(struct value v) {
    return v.size_bytes == 0 ? (eg_span){NULL, 0} : (eg_span){v.at, v.size_bytes};
}

static void show(eg_subscription *u, const struct watch_event *e) {
    eg_event view = {.kind = watch_kind_name(e->kind),
                     .table = e->table,
                     .record = span_of(watch_event_subject(e)),
                     .details = span_of(e->details),
                     .missing = e->missing};

    if (u->old)
        view.old = span_of(watch_event_old(e));
    u->see(u->context, &view);
}

static void on_step(struct scheduler *s, void *arg);

/* Tell the program of the next events. */
static void step(eg_subscription *u) {
    struct watch_event e;

    u->stepping = true;
    for (uint32_t count = 0; !u->closing && watcher_next(u->watcher, &e); count++) {
        if (watch_filter_takes(&u->filter, &e))
            show(u, &e);
        if (count >= STEP_EVENTS && watcher_waits(u->watcher) &&
            scheduler_post(u->scheduler, on_step, u) == EG_OK) {
            u->posted = true;
            break; /* where there is no memory to ask for another step, this one goes on */
        }
    }
    u->stepping = false;
    if (u->closing && !u->posted)
        finish(u);
}

static void on_step(struct scheduler *s, void *arg) {
    eg_subscription *u = arg;

    (void) s; /* u has it */
    u->posted = false;
    if (u->closing)
        finish(u);
    else
        step(u);
}

static void on_ready(struct watcher *w, void *user) {
    eg_subscription *u = user;

    (void) w; /* u has it */
    if (!u->posted && !u->closing)
        step(u);
}

static void on_close(struct scheduler *s, void *arg) {
    eg_subscription *u = arg;

    (void) s; /* u has it */
    u->closing = true;
    if (!u->stepping && !u->posted)
        finish(u);
}

static eg_err watch(eg_subscription *u, const char *table, struct value where,
                    uint32_t queue_events, struct err_note *note) {
    const struct watch_opts o = {.scheduler = u->scheduler,
                                 .old = u->old,
                                 .bound_events = queue_events,
                                 .ready = on_ready,
                                 .user = u};
    struct node_thread *t;
    struct table *found;
    eg_err err;

    if (table == NULL && where.size_bytes > 0)
        return err_note(note, EG_BAD_REQUEST, "what happens to the node has no records");
    if (table == NULL)
        return watch_system(&u->watcher, catalog_watch(u->node->catalog), &o);
    t = node_thread(u->node, &err);
    if (t == NULL)
        return err;
    reader_enter(&t->reader);
    found = catalog_find(u->node->catalog, table, strlen(table));
    err = found == NULL ? EG_NO_TABLE
                        : watch_filter_open(&u->filter, alloc_system(), where,
                                            table_schema(found)->attribute_count, note);
    if (err == EG_OK)
        err = watch_table(&u->watcher, found, &o);
    reader_exit(&t->reader);
    return err;
}

eg_err eg_subscribe(eg_node *node, const char *table, const eg_subscribe_options *options,
                    void (*see)(void *context, const eg_event *event), void *context,
                    eg_subscription **out, eg_note *note) {
    struct err_note why = {""};
    struct value where = {NULL, 0};
    eg_subscription *u;
    size_t used_bytes;
    uint32_t number;
    eg_err err;

    if (node == NULL || see == NULL || out == NULL)
        return EG_BAD_REQUEST;
    if (options != NULL && options->where.size_bytes > 0 &&
        (value_scan(options->where.at, options->where.size_bytes, &used_bytes) != EG_OK ||
         used_bytes != options->where.size_bytes || used_bytes > UINT32_MAX))
        return EG_BAD_REQUEST;
    if (options != NULL)
        where = (struct value){options->where.at, (uint32_t) options->where.size_bytes};
    u = alloc_zero(alloc_system(), sizeof *u);
    if (u == NULL)
        return EG_MEMORY;
    number = atomic_fetch_add(&node->next_subscriber, 1) % runtime_schedulers(node->runtime);
    u->node = node;
    u->scheduler = runtime_scheduler(node->runtime, number);
    u->see = see;
    u->context = context;
    u->old = options != NULL && options->old;
    *out = u; /* its first event may come before this returns */
    err = watch(u, table, where, options != NULL ? options->queue_events : 0, &why);
    if (err != EG_OK) {
        *out = NULL;
        if (note != NULL)
            snprintf(note->text, sizeof note->text, "%s", why.text);
        watch_filter_close(&u->filter);
        alloc_put(alloc_system(), u, sizeof *u);
    }
    return err;
}

void eg_unsubscribe(eg_subscription *u) {
    struct env *env;
    bool waits;

    if (u == NULL)
        return;
    env = &u->node->env.env;
    if (scheduler_is_current(u->scheduler)) {
        on_close(u->scheduler, u);
        return;
    }
    waits = runtime_current(u->node->runtime) == NULL; /* a scheduler must not */
    if (waits && env->ops->waiter_open(env, &u->waiter) != EG_OK) {
        u->waiter = NULL;
        waits = false; /* without memory for it: events may come a moment longer */
    }
    while (scheduler_post(u->scheduler, on_close, u) != EG_OK)
        if (waits)
            env->ops->waiter_wait(env, u->waiter, POST_RETRY_NS);
    if (!waits)
        return;
    while (!atomic_load(&u->done))
        env->ops->waiter_wait(env, u->waiter, POST_RETRY_NS);
    subscription_free(u);
}
