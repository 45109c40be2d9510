/* subscription.c -- subscribe, unsubscribe, and the events in between. */
#include "query/subscription.h"

#include "query/rpc_handler.h"
#include "query/server_private.h"
#include "query/session.h"

#include "engine/env.h"
#include "engine/runtime.h"
#include "tables/catalog.h"
#include "tables/watch_filter.h"

struct subscription {
    struct list_node in_session;
    struct list_node eventful; /* of its worker, or by itself */
    struct session *session;
    struct watcher *watcher;
    struct watch_filter filter;
    uint64_t number;
    bool old;
    bool disconnect; /* at the first event that does not fit */
};

static struct server *server_of(const struct session *s) {
    return s->worker->server;
}

static void subscription_end(struct subscription *u) {
    struct session *s = u->session;

    watcher_close(u->watcher);
    watch_filter_close(&u->filter);
    list_remove(&u->in_session);
    list_remove(&u->eventful);
    s->subscription_count--;
    atomic_fetch_sub_explicit(&server_of(s)->subscriptions, 1, memory_order_relaxed);
    alloc_put(server_of(s)->opts.alloc, u, sizeof *u);
}

void subscription_end_all(struct session *s) {
    while (!list_is_empty(&s->subscriptions))
        subscription_end(EG_CONTAINER_OF(s->subscriptions.next, struct subscription, in_session));
}

/* ---- sending -------------------------------------------------------------------- */

static bool output_is_full(const struct session *s) {
    return s->out.size_bytes + s->sending.size_bytes > SESSION_OUTPUT_PAUSE;
}

static void on_ready(struct watcher *watcher, void *user) {
    struct subscription *u = user;

    if (u->disconnect && watcher_was_full(watcher)) {
        counter_add(&u->session->worker->counters.unread, 1);
        session_close(u->session);
    } else if (list_is_empty(&u->eventful)) {
        list_push_back(&u->session->worker->eventful, &u->eventful);
    }
}

/* Append [2, "event", [...]]. */
static eg_err put_event(struct subscription *u, const struct watch_event *e) {
    struct buffer *out = session_output(u->session);
    size_t before_bytes = out->size_bytes;
    uint8_t *room = buffer_room(out, RPC_HEADER_BYTES);
    struct value_writer w;
    eg_err err;

    if (room == NULL)
        return EG_TOO_LARGE;
    w = value_writer_init(room, RPC_HEADER_BYTES);
    rpc_put_notification(&w, "event");
    EG_ASSERT(!w.overflow);
    out->size_bytes += w.need_bytes;
    err = watch_event_put(e, u->number, u->old, out);
    if (err != EG_OK)
        out->size_bytes = before_bytes;
    return err;
}

static uint64_t now_ns(const struct worker *w) {
    return env_now_ns(runtime_env(w->server->opts.runtime));
}

/* Send some of what waits.  False: the subscription is gone. */
static bool send_slice(struct subscription *u, uint64_t deadline_ns) {
    struct session *s = u->session;
    struct watch_event e;

    for (uint32_t i = 1; i <= SUBSCRIPTION_SLICE_EVENTS && !output_is_full(s); i++) {
        if ((i % SUBSCRIPTION_LOOK_EVENTS == 0 && now_ns(s->worker) >= deadline_ns) ||
            !watcher_next(u->watcher, &e))
            break;
        if (!watch_filter_takes(&u->filter, &e))
            continue;
        if (put_event(u, &e) != EG_OK) { /* neither it nor a word that it is missing */
            session_close(s);
            return false;
        }
        if (e.last) {
            subscription_end(u);
            return false;
        }
    }
    return true;
}

bool subscription_run_all(struct worker *w) {
    uint64_t deadline_ns;

    if (list_is_empty(&w->eventful))
        return false;
    deadline_ns = now_ns(w) + SUBSCRIPTION_TURN_NS;
    while (!list_is_empty(&w->eventful) && now_ns(w) < deadline_ns) {
        struct subscription *u = EG_CONTAINER_OF(w->eventful.next, struct subscription, eventful);

        list_remove(&u->eventful);
        if (output_is_full(u->session))
            u->session->events_stalled = true;
        else if (send_slice(u, deadline_ns) && watcher_waits(u->watcher))
            list_push_back(&w->eventful, &u->eventful);
    }
    return !list_is_empty(&w->eventful);
}

void subscription_resume(struct session *s) {
    if (!s->events_stalled || output_is_full(s))
        return;
    s->events_stalled = false;
    for (struct list_node *n = s->subscriptions.next; n != &s->subscriptions; n = n->next) {
        struct subscription *u = EG_CONTAINER_OF(n, struct subscription, in_session);
        if (list_is_empty(&u->eventful) && watcher_waits(u->watcher))
            list_push_back(&s->worker->eventful, &u->eventful);
    }
}

/* ---- the methods ------------------------------------------------------------------ */

/* What `subscribe` asks for. */
struct wish {
    struct value table; /* size 0: not said */
    struct value where; /* likewise         */
    bool system;
    bool old;
    bool disconnect;
};

static eg_err get_bool(struct rpc_call *c, struct value v, const char *name, bool *out) {
    return value_get_bool(v, out) ? EG_OK
                                  : err_note(c->note, EG_BAD_REQUEST, "%s is true or false", name);
}

static eg_err take_option(struct rpc_call *c, struct value name, struct value v,
                          struct wish *wish) {
    const uint8_t *at;
    uint32_t size_bytes;

    if (value_is_string(name, "table")) {
        wish->table = v;
        return value_kind_of(v) == VALUE_STRING
                   ? EG_OK
                   : err_note(c->note, EG_BAD_REQUEST, "a table's name is a string");
    }
    if (value_is_string(name, "where")) {
        wish->where = v;
        return EG_OK;
    }
    if (value_is_string(name, "system"))
        return get_bool(c, v, "system", &wish->system);
    if (value_is_string(name, "old") || value_is_string(name, "detailed"))
        return get_bool(c, v, "old", &wish->old);
    if (value_is_string(name, "slow")) {
        wish->disconnect = value_is_string(v, "disconnect");
        return wish->disconnect || value_is_string(v, "drop")
                   ? EG_OK
                   : err_note(c->note, EG_BAD_REQUEST, "slow is \"drop\" or \"disconnect\"");
    }
    if (value_kind_of(name) != VALUE_STRING || !value_get_bytes(name, &at, &size_bytes))
        return err_note(c->note, EG_BAD_REQUEST, "an option's name is a string");
    return err_note(c->note, EG_BAD_REQUEST, "subscribe has no option %.*s",
                    (int) EG_MIN(size_bytes, 64u), (const char *) at);
}

static eg_err read_wish(struct rpc_call *c, struct wish *wish) {
    struct value_iter it;
    struct value name, v;
    eg_err err = EG_OK;

    *wish = (struct wish){0};
    if (value_kind_of(c->param[0]) != VALUE_MAP)
        return err_note(c->note, EG_BAD_REQUEST, "what to subscribe to is a map");
    it = value_iter_of(c->param[0]);
    while (err == EG_OK && value_iter_next(&it, &name)) {
        EG_ASSERT(value_iter_next(&it, &v)); /* the frame was scanned: pairs are whole */
        err = take_option(c, name, v, wish);
    }
    if (err == EG_OK && wish->system == (wish->table.size_bytes > 0))
        err = err_note(c->note, EG_BAD_REQUEST, "say either {table: name} or {system: true}");
    if (err == EG_OK && wish->system && (wish->old || wish->where.size_bytes > 0))
        err = err_note(c->note, EG_BAD_REQUEST, "what happens to the node has no records");
    return err;
}

/* Begin to watch what is wished. */
static eg_err open_watcher(struct rpc_call *c, const struct wish *wish, struct subscription *u) {
    struct catalog *catalog = c->worker->server->opts.catalog;
    const struct watch_opts o = {.scheduler = c->worker->scheduler,
                                 .old = wish->old,
                                 .tell_full = wish->disconnect,
                                 .ready = on_ready,
                                 .user = u};
    const uint8_t *at;
    uint32_t size_bytes;
    struct table *table;
    eg_err err;

    if (wish->system)
        return watch_system(&u->watcher, catalog_watch(catalog), &o);
    EG_ASSERT(value_get_bytes(wish->table, &at, &size_bytes)); /* a string: take_option() */
    table = catalog_find(catalog, (const char *) at, size_bytes);
    if (table == NULL)
        return err_note(c->note, EG_NO_TABLE, "no table %.*s", (int) EG_MIN(size_bytes, 64u),
                        (const char *) at);
    err = watch_filter_open(&u->filter, c->worker->server->opts.alloc, wish->where,
                            table_schema(table)->attribute_count, c->note);
    if (err != EG_OK)
        return err;
    err = watch_table(&u->watcher, table, &o);
    if (err != EG_OK)
        watch_filter_close(&u->filter);
    return err;
}

static eg_err subscription_new(struct rpc_call *c, const struct wish *wish,
                               struct subscription **out) {
    struct server *server = c->worker->server;
    struct subscription *u = alloc_zero(server->opts.alloc, sizeof *u);
    eg_err err;

    if (u == NULL)
        return EG_MEMORY;
    *u = (struct subscription){
        .session = c->session, .old = wish->old, .disconnect = wish->disconnect};
    list_init(&u->eventful);
    err = open_watcher(c, wish, u);
    if (err != EG_OK) {
        alloc_put(server->opts.alloc, u, sizeof *u);
        return err;
    }
    *out = u;
    return EG_OK;
}

eg_err rpc_subscribe(struct rpc_call *c) {
    struct session *s = c->session;
    struct server *server = c->worker->server;
    uint8_t *room = buffer_room(c->result, RPC_HEADER_BYTES);
    struct subscription *u;
    struct value_writer w;
    struct wish wish;
    eg_err err = room == NULL ? EG_MEMORY : read_wish(c, &wish);

    if (err != EG_OK)
        return err;
    if (s->subscription_count >= SUBSCRIPTIONS_SESSION_MAX)
        return err_note(c->note, EG_BUSY, "a connection has at most %d subscriptions",
                        SUBSCRIPTIONS_SESSION_MAX);
    if (atomic_load_explicit(&server->subscriptions, memory_order_relaxed) >=
        SUBSCRIPTIONS_NODE_MAX)
        return err_note(c->note, EG_BUSY, "the node has as many subscriptions as it takes");
    err = subscription_new(c, &wish, &u);
    if (err != EG_OK)
        return err;
    u->number = ++s->last_subscription;
    list_push_back(&s->subscriptions, &u->in_session);
    s->subscription_count++;
    atomic_fetch_add_explicit(&server->subscriptions, 1, memory_order_relaxed);
    w = value_writer_init(room, RPC_HEADER_BYTES);
    value_put_u64(&w, u->number);
    c->result->size_bytes += w.need_bytes;
    return EG_OK;
}

eg_err rpc_unsubscribe(struct rpc_call *c) {
    static const uint8_t yes = 0xc3;
    uint64_t number;

    if (!value_is_integer(c->param[0]))
        return err_note(c->note, EG_BAD_REQUEST, "a subscription is an integer");
    if (!value_get_u64(c->param[0], &number))
        number = 0;
    for (struct list_node *n = c->session->subscriptions.next; n != &c->session->subscriptions;
         n = n->next) {
        struct subscription *u = EG_CONTAINER_OF(n, struct subscription, in_session);
        if (u->number != number)
            continue;
        if (!buffer_append(c->result, &yes, 1))
            return EG_MEMORY;
        subscription_end(u);
        return EG_OK;
    }
    return err_note(c->note, EG_NOT_FOUND, "this connection has no such subscription");
}
