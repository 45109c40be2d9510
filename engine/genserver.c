/* genserver.c -- one actor behind all servers, which sorts what it receives.
 *
 * The actor's state is a header and the server's own state behind it.  What is
 * owed is an array of slots with a free list; a slot counts its uses, so that a
 * caller's value answers once and never another call.
 */
#include "engine/genserver.h"

#include "engine/actor_private.h"
#include "engine/registry.h"

#include <stdio.h>
#include <string.h>

enum { NO_SLOT = UINT32_MAX, OWED_FIRST = 4 };

struct owed {
    eg_pid pid; /* EG_PID_NONE: free */
    uint32_t uses;
    eg_ref ref;
    uint32_t next_free;
};

struct genserver {
    const struct genserver_ops *ops;
    const void *context;
    struct actor *self;
    struct calls *calls;
    struct owed *owed;
    uint32_t owed_slots, first_free, owed_count;
    uint32_t idle_turn; /* counts messages: a timeout of an earlier turn is void */
    struct timer idle;
    struct cleanup cleanup; /* answers what is owed */
    struct registration *registration;
    uint64_t called, cast;
    _Alignas(16) unsigned char state[];
};

/* What spawn hands to init: a copy, for init may run on another scheduler later. */
struct start {
    struct genserver_opts opts;
    char name[REGISTRY_KEY_BYTES];
    _Alignas(16) unsigned char arg[];
};

static struct genserver *server_of(const struct actor *a) {
    return actor_state((struct actor *) a); /* the state's constness is the caller's affair */
}

/* ---- what is owed ------------------------------------------------------------- */

/* Also after a kill: nobody shall wait for what will not come. */
static void answer_owed(struct cleanup *c) {
    struct genserver *g = EG_CONTAINER_OF(c, struct genserver, cleanup);

    for (uint32_t i = 0; i < g->owed_slots; i++)
        if (!eg_pid_is_none(g->owed[i].pid))
            actor_reply_bytes(g->self, g->owed[i].pid, g->owed[i].ref, EG_NOPROC, NULL, 0);
    actor_timer_stop(g->self, &g->idle);
    alloc_put(actor_alloc(g->self), g->owed, g->owed_slots * sizeof *g->owed);
}

static bool grow_owed(struct genserver *g) {
    uint32_t count = EG_MAX(2 * g->owed_slots, OWED_FIRST);
    struct owed *fresh = alloc_resize(actor_alloc(g->self), g->owed, g->owed_slots * sizeof *fresh,
                                      count * sizeof *fresh);
    if (fresh == NULL)
        return false;
    for (uint32_t i = count; i-- > g->owed_slots;) {
        fresh[i] = (struct owed){.next_free = g->first_free};
        g->first_free = i;
    }
    g->owed = fresh;
    g->owed_slots = count;
    return true;
}

static bool owe(struct genserver *g, const struct message *m, struct caller *out) {
    struct owed *o;

    if (g->first_free == NO_SLOT && !grow_owed(g))
        return false;
    o = &g->owed[g->first_free];
    *out = (struct caller){m->from, m->ref, g->first_free, ++o->uses};
    g->first_free = o->next_free;
    o->pid = m->from;
    o->ref = m->ref;
    g->owed_count++;
    return true;
}

static bool settle(struct genserver *g, struct caller c) {
    struct owed *o = c.slot < g->owed_slots ? &g->owed[c.slot] : NULL;

    if (o == NULL || o->uses != c.uses || eg_pid_is_none(o->pid) || o->ref != c.ref)
        return false;
    o->pid = EG_PID_NONE;
    o->next_free = g->first_free;
    g->first_free = c.slot;
    g->owed_count--;
    return true;
}

eg_err genserver_reply(struct actor *self, struct caller to, eg_err outcome, const void *bytes,
                       size_t size_bytes) {
    if (!genserver_is(self) || !settle(server_of(self), to))
        return EG_NOT_FOUND;
    actor_reply_bytes(self, to.pid, to.ref, outcome, bytes, size_bytes);
    return EG_OK;
}

eg_err genserver_reply_message(struct actor *self, struct caller to, struct message *reply) {
    if (!genserver_is(self) || !settle(server_of(self), to)) {
        message_free(actor_runtime(self), reply);
        return EG_NOT_FOUND;
    }
    actor_reply(self, to.pid, to.ref, reply);
    return EG_OK;
}

/* ---- idle timeout ---------------------------------------------------------------- */

/* A REPLY to itself always passes, and needs no other kind of message; calls never
 * have a reference with a zero lower half. */
static eg_ref idle_ref(const struct genserver *g) {
    return (eg_ref) g->idle_turn << 32;
}

static void on_idle(struct timer *t) {
    enum { RETRY_MS = 10 };
    struct genserver *g = EG_CONTAINER_OF(t, struct genserver, idle);
    struct runtime *rt = actor_runtime(g->self);
    struct message *m = message_new(rt, MESSAGE_REPLY, 0);

    if (m == NULL) {
        actor_timer_start(g->self, t, RETRY_MS, on_idle);
        return;
    }
    m->ref = idle_ref(g);
    m->tag = (uint32_t) EG_TIMEOUT;
    (void) runtime_send(rt, EG_PID_NONE, actor_pid(g->self), m); /* always passes */
}

void genserver_set_timeout(struct actor *self, uint64_t timeout_ms) {
    struct genserver *g = server_of(self);
    actor_timer_stop(self, &g->idle);
    actor_timer_start(self, &g->idle, timeout_ms, on_idle);
}

/* ---- the actor --------------------------------------------------------------------- */

static eg_err send_ack(struct actor *self, const struct genserver_opts *o) {
    struct message *m = message_new(actor_runtime(self), MESSAGE_INFO, 0);
    if (m == NULL)
        return EG_MEMORY;
    m->tag = o->ack_tag;
    return actor_send(self, o->ack_to, m);
}

static eg_err on_init(struct actor *self, void *state, const void *arg) {
    const struct start *start = arg;
    const struct genserver_opts *o = &start->opts;
    struct genserver *g = state;
    eg_err err = EG_OK;

    g->ops = o->ops;
    g->context = o->context;
    g->self = self;
    g->first_free = NO_SLOT;
    g->cleanup.run = answer_owed;
    actor_on_exit(self, &g->cleanup);
    if (start->name[0] != '\0')
        err =
            registry_join(runtime_names(actor_runtime(self)), self, start->name, &g->registration);
    if (err == EG_OK && g->ops->init != NULL)
        err = g->ops->init(self, g->state, o->spawn.arg_bytes > 0 ? start->arg : o->spawn.arg);
    if (err == EG_OK && !eg_pid_is_none(o->ack_to))
        err = send_ack(self, o);
    return err;
}

static void on_call(struct genserver *g, struct message *m) {
    struct caller from;

    g->called++;
    if (g->ops->call == NULL)
        actor_reply_bytes(g->self, m->from, m->ref, EG_NO_METHOD, NULL, 0);
    else if (!owe(g, m, &from))
        actor_reply_bytes(g->self, m->from, m->ref, EG_MEMORY, NULL, 0);
    else
        g->ops->call(g->self, g->state, from, m);
}

static void on_reply(struct genserver *g, struct message *m) {
    if ((uint32_t) m->ref != 0)
        calls_receive(g->calls, g->self, g->state, m);
    else if (m->ref == idle_ref(g) && g->ops->timeout != NULL)
        g->ops->timeout(g->self, g->state);
}

static void on_receive(struct actor *self, void *state, struct message *m) {
    struct genserver *g = state;

    if (m->kind != MESSAGE_REPLY || (uint32_t) m->ref != 0) {
        if (timer_is_started(&g->idle))
            actor_timer_stop(self, &g->idle);
        g->idle_turn++;
    }
    switch (m->kind) {
    case MESSAGE_CALL:
        on_call(g, m);
        break;
    case MESSAGE_REPLY:
        on_reply(g, m);
        break;
    case MESSAGE_CAST:
        g->cast++;
        if (g->ops->cast != NULL)
            g->ops->cast(self, g->state, m);
        break;
    default:
        if (g->ops->info != NULL)
            g->ops->info(self, g->state, m);
        break;
    }
}

static void on_describe(const struct actor *self, const void *state, char *text,
                        size_t size_bytes) {
    const struct genserver *g = state;
    (void) self;
    if (g->ops->describe != NULL)
        g->ops->describe(g->self, g->state, text, size_bytes);
}

static void on_terminate(struct actor *self, void *state, const eg_exit *reason) {
    struct genserver *g = state;
    if (g->ops->terminate != NULL)
        g->ops->terminate(self, g->state, reason);
}

static const struct actor_ops genserver_actor = {
    .name = "server",
    .state_bytes = sizeof(struct genserver),
    .init = on_init,
    .receive = on_receive,
    .terminate = on_terminate,
    .describe = on_describe,
};

static eg_err spawn_with(struct runtime *rt, struct actor *self, const struct genserver_opts *opts,
                         struct start *start, size_t start_bytes, eg_pid *out, eg_ref *monitor) {
    struct spawn_opts spawn = opts->spawn;

    memset(start, 0, sizeof *start);
    start->opts = *opts;
    if (opts->name != NULL)
        memcpy(start->name, opts->name, strlen(opts->name));
    if (spawn.arg_bytes > 0)
        memcpy(start->arg, spawn.arg, spawn.arg_bytes);
    spawn.ops = &genserver_actor;
    spawn.state_bytes += spawn.state_bytes == 0 ? opts->ops->state_bytes : 0;
    spawn.state_bytes += (uint32_t) sizeof(struct genserver);
    spawn.arg = start;
    spawn.arg_bytes = start_bytes;
    spawn.lendable = false;
    if (spawn.label == NULL)
        spawn.label = opts->ops->name;
    return actor_spawn(rt, self, &spawn, out, monitor);
}

eg_err genserver_spawn(struct runtime *rt, struct actor *self, const struct genserver_opts *opts,
                       eg_pid *out, eg_ref *monitor) {
    _Alignas(16) unsigned char near[512]; /* enough for most arguments */
    size_t size_bytes = sizeof(struct start) + opts->spawn.arg_bytes;
    struct start *start = (struct start *) near;
    eg_err err;

    if (opts->name != NULL && (opts->name[0] == '\0' || strlen(opts->name) >= REGISTRY_KEY_BYTES))
        return EG_BAD_REQUEST;
    if (size_bytes > sizeof near) {
        start = alloc_get(runtime_alloc(rt), size_bytes);
        if (start == NULL)
            return EG_MEMORY;
    }
    err = spawn_with(rt, self, opts, start, size_bytes, out, monitor);
    if (size_bytes > sizeof near)
        alloc_put(runtime_alloc(rt), start, size_bytes);
    return err;
}

eg_err genserver_call(struct actor *self, eg_pid to, struct message *m, uint64_t timeout_ms,
                      const struct call_then *then) {
    return calls_start(&server_of(self)->calls, self, to, m, timeout_ms, then);
}

eg_err genserver_later(struct actor *self, uint64_t delay_ms, const struct call_then *then) {
    return calls_later(&server_of(self)->calls, self, delay_ms, then);
}

/* ---- looking -------------------------------------------------------------------------- */

const void *genserver_context(const struct actor *self) {
    return server_of(self)->context;
}

bool genserver_is(const struct actor *a) {
    return a->ops == &genserver_actor;
}

void genserver_registered(const struct actor *a, char *text, size_t size_bytes) {
    const struct genserver *g = server_of(a);
    char key[REGISTRY_KEY_BYTES] = "";

    if (g->registration != NULL)
        registry_key(g->registration, key);
    snprintf(text, size_bytes, "%s", key);
}

struct genserver_stats genserver_stats(const struct actor *a) {
    const struct genserver *g = server_of(a);
    return (struct genserver_stats){.calls = calls_stats(g->calls),
                                    .owed = g->owed_count,
                                    .called = g->called,
                                    .cast = g->cast};
}
