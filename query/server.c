/* server.c -- start the workers, deal out connections, and stop in order.
 *
 *     open    workers (one a scheduler) -> listeners (on the first)
 *     close   listeners -> drain, at most SERVER_DRAIN_MS -> cut -> workers
 *
 * Every step is a function posted to a scheduler; who opens or closes sleeps until
 * all of a step's functions have said that they are done.
 */
#include "query/server_private.h"

#include "query/session.h"

#include "engine/env.h"
#include "engine/runtime.h"
#include "tables/catalog.h"
#include "tables/watch.h"

enum {
    STEP_WAIT_MS = 1000, /* a missed wake must not hang a stop for ever */
    UNWELCOME_MAX = 64,  /* a worker's; past it a connection is just closed */
    POST_RETRY_NS = 10 * 1000 * 1000,
    OVERLOAD_QUIET_NS = 1000 * 1000 * 1000,
};

/* ---- steps ------------------------------------------------------------------ */

static struct env *env_of(const struct server *s) {
    return runtime_env(s->opts.runtime);
}

void server_step_done(struct server *s) {
    struct env *env = env_of(s);

    if (atomic_fetch_sub(&s->outstanding, 1) == 2) {
        env->ops->waiter_wake(env, s->waiter);
        atomic_store(&s->outstanding, 0); /* and from here on it may be freed */
    }
}

/* False: not in time. */
static bool wait_for_step(struct server *s, uint64_t timeout_ms) {
    struct env *env = env_of(s);
    uint64_t end_ns = env_now_ns(env) + timeout_ms * 1000000;

    while (atomic_load(&s->outstanding) > 1) {
        uint64_t now_ns = env_now_ns(env);
        if (now_ns >= end_ns)
            return false;
        env->ops->waiter_wait(env, s->waiter,
                              EG_MIN(end_ns - now_ns, (uint64_t) STEP_WAIT_MS * 1000000));
    }
    while (atomic_load(&s->outstanding) == 1)
        ; /* the waker is about to leave */
    return true;
}

/* A stop cannot be refused: wait for memory. */
static void post(struct server *s, struct worker *w,
                 void (*fn)(struct scheduler *scheduler, void *worker)) {
    struct env *env = env_of(s);

    while (scheduler_post(w->scheduler, fn, w) != EG_OK)
        env->ops->waiter_wait(env, s->waiter, POST_RETRY_NS);
}

static void post_to_all(struct server *s, void (*fn)(struct scheduler *scheduler, void *worker)) {
    atomic_store(&s->outstanding, s->worker_count + 1);
    for (uint32_t i = 0; i < s->worker_count; i++)
        post(s, &s->worker[i], fn);
}

static void post_to_first(struct server *s, uint32_t steps,
                          void (*fn)(struct scheduler *scheduler, void *worker)) {
    atomic_store(&s->outstanding, steps + 1);
    post(s, &s->worker[0], fn);
}

void server_tell_overload(struct server *s, const char *what, const char *reason) {
    uint64_t now_ns = env_now_ns(env_of(s));
    uint64_t told_ns = atomic_load_explicit(&s->overload_told_ns, memory_order_relaxed);

    if ((told_ns == 0 || now_ns - told_ns >= OVERLOAD_QUIET_NS) &&
        atomic_compare_exchange_strong(&s->overload_told_ns, &told_ns, now_ns))
        watch_tell_state(catalog_watch(s->opts.catalog), WATCH_OVERLOAD, what, reason);
}

/* ---- connections --------------------------------------------------------------- */

struct delivery {
    struct worker *worker;
    struct stream_accepted accepted;
    bool unwelcome;
};

static void receive(struct worker *w, struct stream_accepted accepted, bool unwelcome) {
    if (w->draining || (unwelcome && w->unwelcome_count >= UNWELCOME_MAX)) {
        stream_refuse(w->net, accepted);
        if (!unwelcome)
            atomic_fetch_sub(&w->server->connections, 1);
        return;
    }
    session_open(w, accepted, unwelcome);
}

static void deliver(struct scheduler *scheduler, void *arg) {
    struct delivery *d = arg;

    (void) scheduler; /* the worker knows it */
    receive(d->worker, d->accepted, d->unwelcome);
    alloc_put(d->worker->server->opts.alloc, d, sizeof *d);
}

/* On the first worker's scheduler: deal connections out in turn. */
static void on_accept(void *user, struct stream_accepted accepted) {
    struct server *s = user;
    struct worker *w = &s->worker[s->next_worker++ % s->worker_count];
    bool unwelcome = atomic_fetch_add(&s->connections, 1) >= s->opts.connections_max;
    struct delivery *d;

    if (unwelcome) {
        atomic_fetch_sub(&s->connections, 1);
        counter_add(&s->worker[0].counters.refused, 1);
        server_tell_overload(s, "connections", "there are as many as the node takes");
    }
    if (w == &s->worker[0]) {
        receive(w, accepted, unwelcome);
        return;
    }
    d = alloc_get(s->opts.alloc, sizeof *d);
    if (d != NULL) {
        *d = (struct delivery){w, accepted, unwelcome};
        if (scheduler_post(w->scheduler, deliver, d) == EG_OK)
            return;
        alloc_put(s->opts.alloc, d, sizeof *d);
    }
    stream_refuse(s->worker[0].net, accepted);
    if (!unwelcome)
        atomic_fetch_sub(&s->connections, 1);
}

static void on_listener_closed(void *user) {
    server_step_done(user);
}

/* ---- open ------------------------------------------------------------------------ */

static void open_worker(struct scheduler *scheduler, void *arg) {
    struct worker *w = arg;
    eg_err err = worker_open(w, w->server, scheduler);

    if (err == EG_OK)
        atomic_fetch_add(&w->server->workers_open, 1);
    server_step_done(w->server);
}

static void open_listeners(struct scheduler *scheduler, void *arg) {
    static const struct listener_events events = {on_accept, on_listener_closed};
    struct server *s = ((struct worker *) arg)->server;

    (void) scheduler;
    for (uint32_t i = 0; s->err == EG_OK && i < s->opts.listen_count; i++) {
        s->err = stream_listen(s->worker[0].net, s->opts.listen[i], true, &events, s,
                               &s->listener[i], &s->note);
        s->listener_count += s->err == EG_OK;
    }
    server_step_done(s);
}

static struct server *server_new(const struct server_opts *o) {
    uint32_t worker_count = runtime_schedulers(o->runtime);
    struct server *s = alloc_zero(o->alloc, sizeof *s + worker_count * sizeof s->worker[0]);

    if (s == NULL)
        return NULL;
    s->opts = *o;
    if (s->opts.connections_max == 0)
        s->opts.connections_max = SERVER_CONNECTIONS_MAX;
    if (s->opts.frame_max_bytes == 0)
        s->opts.frame_max_bytes = SERVER_FRAME_MAX;
    if (s->opts.input_max_bytes == 0)
        s->opts.input_max_bytes = SERVER_INPUT_MAX;
    if (s->opts.answers_max_bytes == 0 || s->opts.answers_max_bytes > SERVER_ANSWERS_MAX)
        s->opts.answers_max_bytes = SERVER_ANSWERS_MAX;
    rpc_methods_init(&s->methods);
    s->worker_count = worker_count;
    for (uint32_t i = 0; i < worker_count; i++) {
        s->worker[i].server = s;
        s->worker[i].scheduler = runtime_scheduler(o->runtime, i);
    }
    return s;
}

static void server_free(struct server *s) {
    struct env *env = env_of(s);

    env->ops->waiter_close(env, s->waiter);
    alloc_put(s->opts.alloc, s, sizeof *s + s->worker_count * sizeof s->worker[0]);
}

eg_err server_open(struct server **out, const struct server_opts *o, struct err_note *note) {
    struct env *env = runtime_env(o->runtime);
    struct server *s;
    eg_err err;

    EG_ASSERT(o->listen_count >= 1);
    if (o->listen_count > SERVER_LISTENERS_MAX)
        return err_note(note, EG_BAD_REQUEST, "at most %d addresses can be listened at",
                        SERVER_LISTENERS_MAX);
    s = server_new(o);
    if (s == NULL)
        return EG_MEMORY;
    err = env->ops->waiter_open(env, &s->waiter);
    if (err != EG_OK) {
        alloc_put(s->opts.alloc, s, sizeof *s + s->worker_count * sizeof s->worker[0]);
        return err;
    }
    s->started_ns = env_now_ns(env);
    post_to_all(s, open_worker);
    wait_for_step(s, UINT32_MAX);
    if (atomic_load(&s->workers_open) == s->worker_count) {
        post_to_first(s, 1, open_listeners);
        wait_for_step(s, UINT32_MAX);
    } else {
        s->err = err_note(&s->note, EG_MEMORY, "out of memory for the server");
    }
    if (s->err != EG_OK) {
        err = s->err;
        if (note != NULL)
            *note = s->note;
        server_close(s);
        return err;
    }
    *out = s;
    return EG_OK;
}

const char *server_address(const struct server *s, uint32_t number) {
    return number < s->listener_count ? s->listener[number]->address : NULL;
}

/* ---- close ------------------------------------------------------------------------- */

static void close_listeners(struct scheduler *scheduler, void *arg) {
    struct server *s = ((struct worker *) arg)->server;

    (void) scheduler;
    for (uint32_t i = 0; i < s->listener_count; i++)
        stream_listener_close(s->listener[i]);
}

static void drain(struct scheduler *scheduler, void *arg) {
    struct worker *w = arg;

    (void) scheduler;
    if (w->hooked)
        worker_drain(w);
    else
        server_step_done(w->server);
}

static void cut(struct scheduler *scheduler, void *arg) {
    (void) scheduler;
    worker_cut(arg);
}

static void close_worker(struct scheduler *scheduler, void *arg) {
    struct worker *w = arg;

    (void) scheduler;
    worker_close(w);
    server_step_done(w->server);
}

void server_worker_empty(struct server *s, struct worker *w) {
    EG_ASSERT(w->draining && w->session_count == 0);
    server_step_done(s);
}

void server_close(struct server *s) {
    if (s->listener_count > 0) {
        post_to_first(s, s->listener_count, close_listeners);
        wait_for_step(s, UINT32_MAX);
        s->listener_count = 0;
    }
    post_to_all(s, drain);
    if (!wait_for_step(s, SERVER_DRAIN_MS)) {
        for (uint32_t i = 0; i < s->worker_count; i++)
            post(s, &s->worker[i], cut);
        wait_for_step(s, UINT32_MAX);
    }
    post_to_all(s, close_worker);
    wait_for_step(s, UINT32_MAX);
    server_free(s);
}
