/* api_actor.c -- <engram/actor.h> over engine/: check, translate, call.
 *
 * A program's server is a genserver whose ops are the functions below; the program's
 * own ops are its context.  Nothing is decided here. */
#include "engram/actor.h"

#include "engine/genserver.h"
#include "engine/inspect.h"
#include "engine/pubsub.h"
#include "engine/registry.h"
#include "engine/supervisor.h"
#include "node/node.h"

#include <stdio.h>
#include <string.h>

enum { COMMAND_TIMEOUT_MS = 60 * 1000 }; /* of a supervisor's commands: inits may be slow */

_Static_assert((int) EG_NAME_BYTES == (int) REGISTRY_KEY_BYTES, "one bound of names");
_Static_assert((int) EG_DYNAMIC == (int) SIMPLE_ONE_FOR_ONE, "strategies are alike");
_Static_assert((int) EG_TEMPORARY == (int) TEMPORARY, "restarts are alike");
_Static_assert(EG_SHUTDOWN_BRUTAL == SHUTDOWN_BRUTAL, "shutdowns are alike");
_Static_assert((int) EG_SCHEDULER_ANY == (int) SPAWN_ANYWHERE, "places are alike");

static struct actor *in(const eg_actor *self) {
    return (struct actor *) self; /* the same thing, by its public name */
}
static eg_actor *out(struct actor *self) {
    return (eg_actor *) self;
}

static struct runtime *runtime_of(eg_node *node, const eg_actor *self) {
    return self != NULL ? actor_runtime(in(self)) : node_runtime(node);
}

/* ---- servers --------------------------------------------------------------------- */

static const eg_server_ops *ops_of(const struct actor *self) {
    return genserver_context(self);
}

static eg_message view(const struct message *m, eg_exit *room) {
    static const eg_message_kind kind[MESSAGE_KIND_COUNT] = {
        [MESSAGE_INFO] = EG_MESSAGE_INFO, [MESSAGE_CAST] = EG_MESSAGE_CAST,
        [MESSAGE_CALL] = EG_MESSAGE_CALL, [MESSAGE_EXIT] = EG_MESSAGE_EXIT,
        [MESSAGE_DOWN] = EG_MESSAGE_DOWN, [MESSAGE_TIMEOUT] = EG_MESSAGE_TIMEOUT,
    };
    eg_message v = {.kind = kind[m->kind],
                    .tag = m->tag,
                    .from = m->from,
                    .ref = m->ref,
                    .data = m->payload,
                    .size_bytes = m->size_bytes};

    if (m->kind == MESSAGE_EXIT || m->kind == MESSAGE_DOWN) {
        *room = message_exit(m);
        v.exit = room;
        v.data = NULL;
        v.size_bytes = 0;
    }
    return v;
}

static eg_err on_init(struct actor *self, void *state, const void *arg) {
    const eg_server_ops *ops = ops_of(self);
    return ops->init == NULL ? EG_OK : ops->init(out(self), state, arg);
}

static void on_call(struct actor *self, void *state, struct caller from, struct message *m) {
    const eg_server_ops *ops = ops_of(self);
    eg_exit unused;
    eg_message v = view(m, &unused);
    eg_from caller = {from.pid, from.ref, from.slot, from.uses};

    if (ops->call != NULL)
        ops->call(out(self), state, caller, &v);
    else
        genserver_reply(self, from, EG_NO_METHOD, NULL, 0);
}

static void on_cast(struct actor *self, void *state, struct message *m) {
    const eg_server_ops *ops = ops_of(self);
    eg_exit unused;
    eg_message v = view(m, &unused);

    if (ops->cast != NULL)
        ops->cast(out(self), state, &v);
}

static void on_info(struct actor *self, void *state, struct message *m) {
    const eg_server_ops *ops = ops_of(self);
    eg_exit reason;
    eg_message v = view(m, &reason);

    if (ops->info != NULL)
        ops->info(out(self), state, &v);
}

static void on_timeout(struct actor *self, void *state) {
    const eg_server_ops *ops = ops_of(self);
    if (ops->timeout != NULL)
        ops->timeout(out(self), state);
}

static void on_terminate(struct actor *self, void *state, const eg_exit *reason) {
    const eg_server_ops *ops = ops_of(self);
    if (ops->terminate != NULL)
        ops->terminate(out(self), state, reason);
}

static void on_describe(struct actor *self, const void *state, char *text, size_t size_bytes) {
    const eg_server_ops *ops = ops_of(self);
    if (ops->describe != NULL)
        ops->describe(state, text, size_bytes);
}

static const struct genserver_ops program_server = {
    .name = "server",
    .init = on_init,
    .call = on_call,
    .cast = on_cast,
    .info = on_info,
    .timeout = on_timeout,
    .terminate = on_terminate,
    .describe = on_describe,
};

eg_err eg_spawn_server(eg_node *node, eg_actor *self, const eg_spawn *spawn, eg_pid *pid) {
    struct genserver_opts o = {.ops = &program_server};

    if (spawn == NULL || spawn->server == NULL || pid == NULL || (node == NULL && self == NULL) ||
        (spawn->link && self == NULL) || spawn->mailbox_bound > MAILBOX_BOUND_MAX)
        return EG_BAD_REQUEST;
    o.context = spawn->server;
    o.name = spawn->name;
    o.spawn = (struct spawn_opts){.arg = spawn->arg,
                                  .arg_bytes = spawn->arg_bytes,
                                  .state_bytes = spawn->server->state_bytes,
                                  .scheduler = spawn->scheduler,
                                  .mailbox_bound = spawn->mailbox_bound,
                                  .label = spawn->server->name,
                                  .trap_exit = spawn->trap_exit,
                                  .link = spawn->link};
    return genserver_spawn(runtime_of(node, self), in(self), &o, pid, NULL);
}

eg_err eg_reply(eg_actor *self, eg_from to, eg_err outcome, const void *data, size_t size_bytes) {
    return genserver_reply(in(self), (struct caller){to.pid, to.ref, to.slot, to.uses}, outcome,
                           data, size_bytes);
}

void eg_set_timeout(eg_actor *self, uint64_t timeout_ms) {
    genserver_set_timeout(in(self), timeout_ms);
}

/* ---- an actor about itself --------------------------------------------------------- */

eg_pid eg_self(const eg_actor *self) {
    return actor_pid(in(self));
}

eg_node *eg_actor_node(const eg_actor *self) {
    struct env *env = runtime_env(actor_runtime(in(self)));
    return EG_CONTAINER_OF(env, struct node_env, env)->node;
}

uint64_t eg_now_ms(const eg_actor *self) {
    return actor_now_ms(in(self));
}
void eg_exit_normal(eg_actor *self) {
    actor_exit_normal(in(self));
}
void eg_crash(eg_actor *self, int32_t code, const char *text) {
    actor_crash(in(self), code, "%s", text == NULL ? "" : text);
}
void eg_trap_exit(eg_actor *self, bool on) {
    actor_trap_exit(in(self), on);
}
eg_err eg_link(eg_actor *self, eg_pid other) {
    return actor_link(in(self), other);
}
void eg_unlink(eg_actor *self, eg_pid other) {
    actor_unlink(in(self), other);
}
eg_err eg_monitor(eg_actor *self, eg_pid other, eg_ref *ref) {
    return actor_monitor(in(self), other, ref);
}
void eg_demonitor(eg_actor *self, eg_ref monitor) {
    actor_demonitor(in(self), monitor);
}

/* ---- sending -------------------------------------------------------------------------- */

static struct message *copy_of(struct runtime *rt, enum message_kind kind, uint32_t tag,
                               const void *data, size_t size_bytes, eg_err *err) {
    struct message *m = NULL;

    *err = size_bytes > MESSAGE_PAYLOAD_MAX ? EG_TOO_LARGE : EG_OK;
    if (*err == EG_OK)
        m = message_copy(rt, kind, data, size_bytes);
    if (*err == EG_OK && m == NULL)
        *err = EG_MEMORY;
    if (m != NULL)
        m->tag = tag;
    return m;
}

static eg_err send_as(eg_node *node, eg_actor *self, eg_pid to, enum message_kind kind,
                      uint32_t tag, const void *data, size_t size_bytes) {
    struct runtime *rt;
    struct message *m;
    eg_err err;

    if (node == NULL && self == NULL)
        return EG_BAD_REQUEST;
    rt = runtime_of(node, self);
    m = copy_of(rt, kind, tag, data, size_bytes, &err);
    if (m == NULL)
        return err;
    return self != NULL ? actor_send(in(self), to, m) : runtime_send(rt, EG_PID_NONE, to, m);
}

eg_err eg_send(eg_node *node, eg_actor *self, eg_pid to, uint32_t tag, const void *data,
               size_t size_bytes) {
    return send_as(node, self, to, MESSAGE_INFO, tag, data, size_bytes);
}
eg_err eg_cast(eg_node *node, eg_actor *self, eg_pid to, uint32_t tag, const void *data,
               size_t size_bytes) {
    return send_as(node, self, to, MESSAGE_CAST, tag, data, size_bytes);
}

eg_err eg_send_after(eg_actor *self, uint64_t delay_ms, uint32_t tag, const void *data,
                     size_t size_bytes, eg_ref *timer) {
    eg_err err;
    struct message *m = copy_of(actor_runtime(in(self)), MESSAGE_INFO, tag, data, size_bytes, &err);
    return m == NULL ? err : actor_start_timer(in(self), delay_ms, m, timer);
}
bool eg_cancel(eg_actor *self, eg_ref timer) {
    return actor_cancel_timer(in(self), timer);
}

void eg_exit_send(eg_node *node, eg_actor *self, eg_pid to, eg_exit_kind kind) {
    eg_exit reason = exit_reason(kind);
    actor_exit_send(runtime_of(node, self), self == NULL ? EG_PID_NONE : eg_self(self), to,
                    &reason);
}
bool eg_is_alive(eg_node *node, eg_pid pid) {
    return runtime_is_alive(node_runtime(node), pid);
}

/* ---- calls ------------------------------------------------------------------------------- */

static void on_done(struct actor *self, void *state, const struct call_then *then, eg_err outcome,
                    struct message *reply) {
    eg_done_fn done = (eg_done_fn) then->program;
    done(out(self), state, then->context, outcome, reply == NULL ? NULL : reply->payload,
         reply == NULL ? 0 : reply->size_bytes);
}

eg_err eg_call(eg_actor *self, eg_pid to, uint32_t tag, const void *data, size_t size_bytes,
               uint64_t timeout_ms, eg_done_fn done, void *context) {
    struct call_then then = {on_done, context, (void (*)(void)) done};
    struct message *m;
    eg_err err;

    if (done == NULL)
        return EG_BAD_REQUEST;
    m = copy_of(actor_runtime(in(self)), MESSAGE_CALL, tag, data, size_bytes, &err);
    return m == NULL ? err : genserver_call(in(self), to, m, timeout_ms, &then);
}

/* The calling thread's place to wait.  EG_DENIED: it is a scheduler's. */
static eg_err place_to_wait(eg_node *node, struct foreign **f) {
    struct node_thread *t;
    eg_err err = EG_OK;

    if (node == NULL)
        return EG_BAD_REQUEST;
    if (runtime_current(node_runtime(node)) != NULL)
        return EG_DENIED;
    t = node_thread(node, &err);
    if (t == NULL)
        return err;
    *f = node_foreign(t, &err);
    return *f == NULL ? err : EG_OK;
}

/* Send and wait.  On EG_OK the server said so, and the answer is the caller's. */
static eg_err ask(eg_node *node, eg_pid to, struct message *m, uint64_t timeout_ms,
                  struct message **reply) {
    struct runtime *rt = node_runtime(node);
    struct foreign *f;
    eg_err err = place_to_wait(node, &f);

    if (err != EG_OK) {
        message_free(rt, m);
        return err;
    }
    err = foreign_call(f, to, m, timeout_ms, reply);
    if (err != EG_OK)
        return err;
    err = (eg_err) (int32_t) (*reply)->tag;
    if (err != EG_OK)
        message_free(rt, *reply);
    return err;
}

eg_err eg_call_wait(eg_node *node, eg_pid to, uint32_t tag, const void *data, size_t size_bytes,
                    uint64_t timeout_ms, void *answer, size_t room_bytes, size_t *answer_bytes) {
    struct message *m, *reply;
    eg_err err;

    if (node == NULL)
        return EG_BAD_REQUEST;
    m = copy_of(node_runtime(node), MESSAGE_CALL, tag, data, size_bytes, &err);
    if (m == NULL)
        return err;
    err = ask(node, to, m, timeout_ms, &reply);
    if (err != EG_OK)
        return err;
    if (room_bytes > 0)
        memcpy(answer, reply->payload, EG_MIN(room_bytes, reply->size_bytes));
    if (answer_bytes != NULL)
        *answer_bytes = reply->size_bytes;
    message_free(node_runtime(node), reply);
    return EG_OK;
}

/* ---- names and topics ----------------------------------------------------------------------- */

eg_err eg_register(eg_actor *self, const char *name) {
    return registry_join(runtime_names(actor_runtime(in(self))), in(self), name, NULL);
}
eg_err eg_unregister(eg_actor *self, const char *name) {
    return registry_leave(runtime_names(actor_runtime(in(self))), in(self), name);
}
eg_pid eg_whereis(eg_node *node, const char *name) {
    return registry_find(runtime_names(node_runtime(node)), name);
}
eg_err eg_subscribe_topic(eg_actor *self, const char *topic) {
    return pubsub_subscribe(runtime_topics(actor_runtime(in(self))), in(self), topic);
}
eg_err eg_unsubscribe_topic(eg_actor *self, const char *topic) {
    return pubsub_unsubscribe(runtime_topics(actor_runtime(in(self))), in(self), topic);
}
eg_err eg_publish(eg_node *node, eg_actor *self, const char *topic, uint32_t tag, const void *data,
                  size_t size_bytes, uint32_t *reached) {
    if (node == NULL && self == NULL)
        return EG_BAD_REQUEST;
    return pubsub_publish(runtime_topics(runtime_of(node, self)),
                          self == NULL ? EG_PID_NONE : eg_self(self), topic, tag, data, size_bytes,
                          reached);
}

/* ---- supervisors ------------------------------------------------------------------------------
 */

static void child_at(const void *children, uint32_t index, struct child_spec *spec);

static struct supervisor_opts opts_of(const eg_supervisor *s) {
    return (struct supervisor_opts){.label = s->label,
                                    .strategy = (enum children_strategy) s->strategy,
                                    .intensity = s->intensity,
                                    .period_ms = s->period_ms,
                                    .children = s->children,
                                    .child_count = s->child_count,
                                    .child_at = child_at};
}

/* The supervisor checks what comes out: an id too long is not terminated, a child
 * that is neither has no ops. */
static void translate(const eg_child *c, struct child_spec *spec) {
    *spec = (struct child_spec){.kind = c->supervisor != NULL ? CHILD_SUPERVISOR : CHILD_SERVER,
                                .restart = (enum child_restart) c->restart,
                                .shutdown_ms = c->shutdown_ms,
                                .server = c->server != NULL ? &program_server : NULL,
                                .server_context = c->server,
                                .name = c->name,
                                .arg = c->arg,
                                .arg_bytes = c->arg_bytes,
                                .scheduler = c->scheduler,
                                .mailbox_bound = c->mailbox_bound,
                                .trap_exit = c->trap_exit};
    if (c->id != NULL)
        memcpy(spec->id, c->id, EG_MIN(strlen(c->id) + 1, sizeof spec->id));
    if (c->server != NULL) {
        spec->state_bytes = c->server->state_bytes;
        spec->label = c->server->name;
    }
    if (c->supervisor != NULL)
        spec->supervisor = opts_of(c->supervisor);
}

static void child_at(const void *children, uint32_t index, struct child_spec *spec) {
    translate(&((const eg_child *) children)[index], spec);
}

eg_err eg_spawn_supervisor(eg_node *node, eg_actor *self, const eg_supervisor *supervisor,
                           const char *name, eg_pid *pid) {
    struct supervisor_opts o;

    if (supervisor == NULL || pid == NULL || (node == NULL && self == NULL))
        return EG_BAD_REQUEST;
    o = opts_of(supervisor);
    return supervisor_spawn(runtime_of(node, self), in(self), &o, SPAWN_HERE, name, pid);
}

static eg_err command(eg_node *node, eg_pid supervisor, struct message *m, uint64_t timeout_ms,
                      eg_pid *pid) {
    struct message *reply;
    eg_err err = m == NULL ? EG_MEMORY : ask(node, supervisor, m, timeout_ms, &reply);

    if (err != EG_OK)
        return err;
    if (pid != NULL && reply->size_bytes == sizeof *pid)
        memcpy(pid, reply->payload, sizeof *pid);
    message_free(node_runtime(node), reply);
    return EG_OK;
}

eg_err eg_await_children(eg_node *node, eg_pid supervisor, uint64_t timeout_ms) {
    struct message *m;

    if (node == NULL)
        return EG_BAD_REQUEST;
    m = supervisor_request(node_runtime(node), SUPERVISOR_AWAIT, NULL, 0);
    return command(node, supervisor, m, timeout_ms, NULL);
}

eg_err eg_stop_supervisor(eg_node *node, eg_pid supervisor, uint64_t timeout_ms) {
    struct message *m = NULL;
    struct foreign *f;
    eg_ref monitor;
    bool down = false;
    eg_err err = place_to_wait(node, &f);

    if (err == EG_OK)
        err = foreign_monitor(f, supervisor, &monitor);
    if (err != EG_OK)
        return err;
    supervisor_stop(node_runtime(node), supervisor);
    while (!down && (m = foreign_receive(f, timeout_ms)) != NULL) {
        down = m->kind == MESSAGE_DOWN && m->ref == monitor;
        message_free(node_runtime(node), m);
    }
    if (!down)
        foreign_demonitor(f, supervisor, monitor);
    return down ? EG_OK : EG_TIMEOUT;
}

eg_err eg_start_child(eg_node *node, eg_pid supervisor, const eg_child *child, eg_pid *pid) {
    struct child_spec spec;

    if (node == NULL || child == NULL)
        return EG_BAD_REQUEST;
    if (child->arg_bytes > MESSAGE_PAYLOAD_MAX - sizeof spec)
        return EG_TOO_LARGE;
    translate(child, &spec);
    return command(node, supervisor, supervisor_start_child(node_runtime(node), &spec),
                   COMMAND_TIMEOUT_MS, pid);
}

static eg_err command_on(eg_node *node, eg_pid supervisor, enum supervisor_command c,
                         const char *id, eg_pid child, eg_pid *pid) {
    struct child_key key = {.pid = child};

    if (node == NULL || (id != NULL && strlen(id) >= sizeof key.id))
        return EG_BAD_REQUEST;
    if (id != NULL)
        memcpy(key.id, id, strlen(id) + 1);
    return command(node, supervisor, supervisor_request(node_runtime(node), c, &key, sizeof key),
                   COMMAND_TIMEOUT_MS, pid);
}

eg_err eg_terminate_child(eg_node *node, eg_pid supervisor, const char *id, eg_pid pid) {
    return command_on(node, supervisor, SUPERVISOR_TERMINATE_CHILD, id, pid, NULL);
}
eg_err eg_restart_child(eg_node *node, eg_pid supervisor, const char *id, eg_pid *pid) {
    return command_on(node, supervisor, SUPERVISOR_RESTART_CHILD, id, EG_PID_NONE, pid);
}
eg_err eg_delete_child(eg_node *node, eg_pid supervisor, const char *id) {
    return command_on(node, supervisor, SUPERVISOR_DELETE_CHILD, id, EG_PID_NONE, NULL);
}

eg_err eg_which_children(eg_node *node, eg_pid supervisor, eg_child_info *infos, size_t room,
                         size_t *count) {
    const struct child_info *info;
    struct message *m, *reply;
    size_t n;
    eg_err err;

    if (node == NULL || count == NULL)
        return EG_BAD_REQUEST;
    m = supervisor_request(node_runtime(node), SUPERVISOR_WHICH_CHILDREN, NULL, 0);
    err = m == NULL ? EG_MEMORY : ask(node, supervisor, m, COMMAND_TIMEOUT_MS, &reply);
    if (err != EG_OK)
        return err;
    info = (const void *) reply->payload;
    n = reply->size_bytes / sizeof *info;
    for (size_t i = 0; i < EG_MIN(n, room); i++) {
        infos[i] = (eg_child_info){.pid = info[i].pid,
                                   .restart = (eg_restart) info[i].restart,
                                   .is_supervisor = info[i].kind == CHILD_SUPERVISOR,
                                   .restarts = info[i].restarts};
        memcpy(infos[i].id, info[i].id, sizeof infos[i].id);
    }
    *count = n;
    message_free(node_runtime(node), reply);
    return EG_OK;
}

/* ---- looking
 * ------------------------------------------------------------------------------------- */

static void show(const struct inspect_entry *e, eg_process *p) {
    *p = (eg_process){.pid = e->actor.pid,
                      .parent = e->actor.parent,
                      .scheduler = e->actor.scheduler,
                      .mailbox = e->actor.mailbox_msgs,
                      .mailbox_bound = e->actor.mailbox_bound,
                      .links = e->actor.links,
                      .monitors = e->actor.monitors,
                      .handled = e->actor.handled_msgs,
                      .memory_bytes = e->actor.memory_bytes};
    snprintf(p->kind, sizeof p->kind, "%s",
             e->label_text[0] != '\0' ? e->label_text : e->actor.name);
    snprintf(p->name, sizeof p->name, "%s", e->registered);
    snprintf(p->state, sizeof p->state, "%s", e->state);
}

eg_err eg_process_info(eg_node *node, eg_pid pid, eg_process *process) {
    struct inspect_page *page;
    eg_err err;

    if (node == NULL || process == NULL)
        return EG_BAD_REQUEST;
    if (runtime_current(node_runtime(node)) != NULL)
        return EG_DENIED;
    err = inspect_wait_pid(node_runtime(node), pid, &page);
    if (err != EG_OK)
        return err;
    show(&page->entry[0], process);
    inspect_free(node_runtime(node), page);
    return EG_OK;
}

eg_err eg_processes(eg_node *node, uint32_t *cursor, eg_process *processes, size_t room,
                    size_t *count) {
    struct inspect_page *page;
    eg_err err;

    if (node == NULL || cursor == NULL || processes == NULL || room == 0 || count == NULL)
        return EG_BAD_REQUEST;
    if (runtime_current(node_runtime(node)) != NULL)
        return EG_DENIED;
    err =
        inspect_wait(node_runtime(node), *cursor, (uint32_t) EG_MIN(room, INSPECT_PAGE_MAX), &page);
    if (err != EG_OK)
        return err;
    for (uint32_t i = 0; i < page->count; i++)
        show(&page->entry[i], &processes[i]);
    *count = page->count;
    *cursor = page->next;
    inspect_free(node_runtime(node), page);
    return EG_OK;
}

eg_err eg_trace(eg_node *node, eg_pid pid, bool on) {
    return node == NULL ? EG_BAD_REQUEST : runtime_trace(node_runtime(node), pid, on);
}
