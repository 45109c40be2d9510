/* supervisor.c -- spawns, links, deadlines and commands around children.c.
 *
 *     EXIT of a child    -> children_exited     -> start and stop callbacks
 *     its ack            -> children_started
 *     shutdown deadline  -> kill
 *     a command          -> now where settled, else it waits
 *
 * The list's callbacks may not call back into it, so a child that is up as soon
 * as it is spawned is reported after the step, by pump().
 *
 * Children are found by pid in a chained hash table: a dynamic supervisor may
 * have a hundred thousand.
 */
#include "engine/supervisor.h"

#include "engine/actor_private.h"

#include <stdio.h>
#include <string.h>

enum { BUCKETS_FIRST = 8, TAG_CHILD_UP = 0x75700001 };

struct supervised {
    struct child child;
    struct child_spec spec;
    void *arg_copy; /* of spec.arg_bytes */
    eg_pid pid;
    struct supervised *hash_next;
    struct supervised *next_up;
    struct timer deadline; /* of its shutdown */
    struct runtime *rt;
};

struct waiting { /* a command that waits for its turn, or for its outcome */
    struct waiting *next;
    struct caller from;
    struct message *m;
};

struct supervisor {
    struct actor *self;
    struct supervisor_opts opts;
    eg_pid parent;
    struct children list;
    struct supervised **bucket;
    uint32_t bucket_count;
    struct supervised *up_first; /* spawned and up, not yet reported */
    struct waiting *first, *last;
    uint32_t waiting_count;
    struct waiting *current;  /* the command whose start or stop is under way */
    struct child *subject;    /* of the current command; NULL once it has gone */
    struct waiting *awaiting; /* SUPERVISOR_AWAIT during the first start */
    eg_pid ack_to;
    bool first_start_over;
    eg_exit reason; /* why it was asked to end */
    struct cleanup cleanup;
};

struct supervisor_start {
    struct supervisor_opts opts;
    eg_pid parent;
    bool ack; /* tell the parent when all children are up */
};

static struct supervised *supervised_of(struct child *c) {
    return EG_CONTAINER_OF(c, struct supervised, child);
}

static bool is_dynamic(const struct supervisor *s) {
    return s->opts.strategy == SIMPLE_ONE_FOR_ONE;
}

const char *children_strategy_name(enum children_strategy s) {
    static const char *const name[] = {"one_for_one", "one_for_all", "rest_for_one",
                                       "simple_one_for_one"};
    return name[s];
}

const char *child_restart_name(enum child_restart r) {
    static const char *const name[] = {"permanent", "transient", "temporary"};
    return name[r];
}

/* ---- children by pid ------------------------------------------------------------ */

static struct supervised **bucket_of(struct supervisor *s, eg_pid pid) {
    uint32_t h = (pid.slot ^ pid.generation * 0x9e3779b9u) * 0x85ebca6bu;
    return &s->bucket[(h >> 8) & (s->bucket_count - 1)];
}

static struct supervised *by_pid(struct supervisor *s, eg_pid pid) {
    struct supervised *k = *bucket_of(s, pid);
    while (k != NULL && !eg_pid_equal(k->pid, pid))
        k = k->hash_next;
    return k;
}

static void hash_add(struct supervisor *s, struct supervised *k) {
    struct supervised **bucket = bucket_of(s, k->pid);
    k->hash_next = *bucket;
    *bucket = k;
}

static void hash_del(struct supervisor *s, struct supervised *k) {
    struct supervised **at = bucket_of(s, k->pid);
    while (*at != k)
        at = &(*at)->hash_next;
    *at = k->hash_next;
}

/* Without memory for more buckets the chains grow instead. */
static void hash_grow(struct supervisor *s) {
    uint32_t count = s->bucket_count;
    struct supervised **old = s->bucket, **fresh;

    if (s->list.count <= count)
        return;
    fresh = alloc_zero(actor_alloc(s->self), 2 * count * sizeof *fresh);
    if (fresh == NULL)
        return;
    s->bucket = fresh;
    s->bucket_count = 2 * count;
    for (uint32_t i = 0; i < count; i++) {
        struct supervised *k, *next;
        for (k = old[i]; k != NULL; k = next) {
            next = k->hash_next;
            hash_add(s, k);
        }
    }
    alloc_put(actor_alloc(s->self), old, count * sizeof *old);
}

/* ---- spawning ---------------------------------------------------------------- */

static const struct genserver_ops supervisor_server;

static eg_err spawn_supervisor(struct runtime *rt, struct actor *self,
                               const struct supervisor_start *start, int32_t scheduler,
                               const char *name, eg_pid *out) {
    struct genserver_opts server = {.ops = &supervisor_server,
                                    .name = name,
                                    .spawn = {.arg = start,
                                              .arg_bytes = sizeof *start,
                                              .scheduler = scheduler,
                                              .label = start->opts.label,
                                              .trap_exit = true,
                                              .link = self != NULL}};
    return genserver_spawn(rt, self, &server, out, NULL);
}

eg_err supervisor_spawn(struct runtime *rt, struct actor *self, const struct supervisor_opts *opts,
                        int32_t scheduler, const char *name, eg_pid *out) {
    struct supervisor_start start = {.opts = *opts};
    if (self != NULL)
        start.parent = actor_pid(self);
    return spawn_supervisor(rt, self, &start, scheduler, name, out);
}

/* ---- what children.c asks for ------------------------------------------------------- */

static eg_err spawn_child(struct supervisor *s, struct supervised *k, bool *up) {
    const struct child_spec *spec = &k->spec;
    struct spawn_opts spawn = {.ops = spec->actor,
                               .arg = spec->arg_bytes > 0 ? k->arg_copy : spec->arg,
                               .arg_bytes = spec->arg_bytes,
                               .scheduler = spec->scheduler,
                               .state_bytes = spec->state_bytes,
                               .label = spec->label,
                               .mailbox_bound = spec->mailbox_bound,
                               .lendable = spec->lendable,
                               .trap_exit = spec->trap_exit,
                               .link = true};
    struct supervisor_start nested = {spec->supervisor, actor_pid(s->self), true};
    struct genserver_opts server = {.ops = spec->server,
                                    .context = spec->server_context,
                                    .spawn = spawn,
                                    .name = spec->name,
                                    .ack_to = actor_pid(s->self),
                                    .ack_tag = TAG_CHILD_UP};
    struct runtime *rt = actor_runtime(s->self);

    *up = spec->kind == CHILD_ACTOR;
    switch (spec->kind) {
    case CHILD_ACTOR:
        return actor_spawn(rt, s->self, &spawn, &k->pid, NULL);
    case CHILD_SERVER:
        return genserver_spawn(rt, s->self, &server, &k->pid, NULL);
    case CHILD_SUPERVISOR:
        break;
    }
    return spawn_supervisor(rt, s->self, &nested, spec->scheduler, spec->name, &k->pid);
}

static eg_err on_start(void *owner, struct child *c) {
    struct supervisor *s = owner;
    struct supervised *k = supervised_of(c);
    bool up;
    eg_err err = spawn_child(s, k, &up);

    if (err != EG_OK) {
        k->pid = EG_PID_NONE;
        return err;
    }
    hash_add(s, k);
    if (up) {
        k->next_up = s->up_first;
        s->up_first = k;
    }
    return EG_OK;
}

static void on_deadline(struct timer *t) {
    struct supervised *k = EG_CONTAINER_OF(t, struct supervised, deadline);
    eg_exit kill = exit_reason(EG_EXIT_KILL);
    actor_exit_send(k->rt, EG_PID_NONE, k->pid, &kill);
}

static uint32_t shutdown_of(const struct child_spec *spec) {
    if (spec->shutdown_ms != SHUTDOWN_DEFAULT)
        return spec->shutdown_ms;
    return spec->kind == CHILD_SUPERVISOR ? SHUTDOWN_INFINITY : SHUTDOWN_DEFAULT_MS;
}

static void on_stop(void *owner, struct child *c) {
    struct supervisor *s = owner;
    struct supervised *k = supervised_of(c);
    uint32_t shutdown_ms = shutdown_of(&k->spec);
    bool brutal = shutdown_ms == SHUTDOWN_BRUTAL;
    eg_exit reason = exit_reason(brutal ? EG_EXIT_KILL : EG_EXIT_SHUTDOWN);

    actor_exit_send(k->rt, actor_pid(s->self), k->pid, &reason);
    if (!brutal && shutdown_ms != SHUTDOWN_INFINITY)
        actor_timer_start(s->self, &k->deadline, shutdown_ms, on_deadline);
}

static void on_drop(void *owner, struct child *c) {
    struct supervisor *s = owner;
    struct supervised *k = supervised_of(c);
    struct alloc *a = actor_alloc(s->self);

    if (s->subject == c)
        s->subject = NULL;
    actor_timer_stop(s->self, &k->deadline);
    alloc_put(a, k->arg_copy, k->spec.arg_bytes);
    alloc_put(a, k, sizeof *k);
}

static uint64_t on_now(void *owner) {
    return actor_now_ms(((struct supervisor *) owner)->self) * 1000000;
}

static const struct children_ops child_ops = {on_start, on_stop, on_drop, on_now};

/* ---- commands -------------------------------------------------------------------------- */

/* A child from its spec, with a copy of its argument.  NULL: no memory. */
static struct supervised *supervised_new(struct supervisor *s, const struct child_spec *spec,
                                         const void *arg, size_t arg_bytes) {
    struct alloc *a = actor_alloc(s->self);
    struct supervised *k = alloc_zero(a, sizeof *k);

    if (k == NULL)
        return NULL;
    if (arg_bytes > 0) {
        k->arg_copy = alloc_get(a, arg_bytes);
        if (k->arg_copy == NULL) {
            alloc_put(a, k, sizeof *k);
            return NULL;
        }
        memcpy(k->arg_copy, arg, arg_bytes);
    }
    k->spec = *spec;
    k->spec.arg_bytes = arg_bytes;
    k->rt = actor_runtime(s->self);
    k->child.restart = spec->restart;
    if (!is_dynamic(s))
        memcpy(k->child.id, spec->id, sizeof k->child.id);
    return k;
}

static void spec_at(const struct supervisor *s, uint32_t index, struct child_spec *out) {
    memset(out, 0, sizeof *out);
    if (s->opts.child_at != NULL)
        s->opts.child_at(s->opts.children, index, out);
    else
        *out = ((const struct child_spec *) s->opts.children)[index];
}

static bool spec_is_valid(const struct supervisor *s, const struct child_spec *spec) {
    if (!is_dynamic(s) && (spec->id[0] == '\0' || memchr(spec->id, 0, CHILD_ID_BYTES) == NULL))
        return false;
    switch (spec->kind) {
    case CHILD_ACTOR:
        return spec->actor != NULL && spec->restart <= TEMPORARY;
    case CHILD_SERVER:
        return spec->server != NULL && spec->restart <= TEMPORARY;
    case CHILD_SUPERVISOR:
        return spec->restart <= TEMPORARY;
    }
    return false;
}

static eg_err start_child(struct supervisor *s, const struct message *m) {
    const struct child_spec *given = (const void *) m->payload;
    struct child_spec spec;
    struct supervised *k;
    eg_err err;

    if (m->size_bytes < sizeof *given || m->size_bytes - sizeof *given != given->arg_bytes)
        return EG_BAD_REQUEST;
    spec = *given;
    if (is_dynamic(s))
        spec_at(s, 0, &spec);
    if (!spec_is_valid(s, &spec))
        return EG_BAD_REQUEST;
    k = supervised_new(s, &spec, given + 1, given->arg_bytes);
    if (k == NULL)
        return EG_MEMORY;
    if (given->arg_bytes == 0)
        k->spec.arg = given->arg;
    s->subject = &k->child;
    err = children_add(&s->list, &k->child);
    if (err != EG_OK)
        on_drop(s, &k->child);
    else
        hash_grow(s);
    return err;
}

static struct child *child_by_key(struct supervisor *s, const struct message *m) {
    const struct child_key *key = (const void *) m->payload;
    struct supervised *k;

    if (m->size_bytes != sizeof *key || memchr(key->id, 0, sizeof key->id) == NULL)
        return NULL;
    if (!is_dynamic(s))
        return children_find(&s->list, key->id);
    k = by_pid(s, key->pid);
    return k == NULL ? NULL : &k->child;
}

/* Begin a command of a settled supervisor.  On EG_OK its outcome is known when it
 * is settled again. */
static eg_err begin(struct supervisor *s, const struct message *m) {
    struct child *c = m->tag == SUPERVISOR_START_CHILD ? NULL : child_by_key(s, m);

    if (m->tag == SUPERVISOR_START_CHILD)
        return start_child(s, m);
    if (c == NULL)
        return EG_NOT_FOUND;
    s->subject = c;
    switch (m->tag) {
    case SUPERVISOR_TERMINATE_CHILD:
        return children_terminate(&s->list, c);
    case SUPERVISOR_RESTART_CHILD:
        return children_restart(&s->list, c);
    default:
        return children_remove(&s->list, c);
    }
}

static void answer(struct supervisor *s, struct waiting *w, eg_err outcome, eg_pid pid) {
    (void) genserver_reply(s->self, w->from, outcome, &pid,
                           eg_pid_is_none(pid) ? 0 : sizeof pid); /* fails for nobody */
    message_free(actor_runtime(s->self), w->m);
    alloc_put(actor_alloc(s->self), w, sizeof *w);
}

static void finish_current(struct supervisor *s, eg_err outcome) {
    struct waiting *w = s->current;
    bool starts = w->m->tag == SUPERVISOR_START_CHILD || w->m->tag == SUPERVISOR_RESTART_CHILD;
    eg_pid pid = EG_PID_NONE;

    if (outcome == EG_OK && starts && s->subject != NULL)
        pid = supervised_of(s->subject)->pid;
    s->current = NULL;
    s->subject = NULL;
    answer(s, w, outcome, pid);
}

static void answer_awaiting(struct supervisor *s) {
    while (s->awaiting != NULL) {
        struct waiting *w = s->awaiting;
        s->awaiting = w->next;
        answer(s, w, EG_OK, actor_pid(s->self));
    }
}

static void first_start_is_over(struct supervisor *s) {
    struct message *m;

    s->first_start_over = true;
    answer_awaiting(s);
    if (eg_pid_is_none(s->ack_to))
        return;
    m = message_new(actor_runtime(s->self), MESSAGE_INFO, 0);
    if (m == NULL) {
        actor_crash(s->self, EG_MEMORY, "no memory to say that the children are up");
        return;
    }
    m->tag = TAG_CHILD_UP;
    (void) actor_send(s->self, s->ack_to, m); /* a parent that has gone ends this one, too */
}

/* Others would take this node for one that does its part, and wait for it for good. */
static void stop_where_vital(const struct supervisor *s, const char *why) {
    char text[128];

    if (!s->opts.vital)
        return;
    snprintf(text, sizeof text, "%s cannot go on: %s", s->opts.label, why);
    eg_assert_failed(text, __FILE__, __LINE__);
}

static void end_self(struct supervisor *s) {
    if (s->list.end_why == EG_OK) {
        actor_exit(s->self, &s->reason);
    } else if (s->list.end_why == EG_BUSY && s->first_start_over) {
        eg_exit reason = exit_reason(EG_EXIT_SHUTDOWN);
        reason.code = EG_BUSY;
        snprintf(reason.text, sizeof reason.text, "restarts reached the intensity of %u",
                 s->list.intensity);
        stop_where_vital(s, reason.text);
        actor_exit(s->self, &reason);
    } else {
        actor_crash(s->self, s->list.end_why, "a child did not start: %s",
                    eg_err_text(s->list.end_why));
    }
}

static void report_up(struct supervisor *s, struct supervised *k) {
    if (k->child.state == CHILD_STARTING && k->spec.changed != NULL)
        k->spec.changed(k->spec.changed_context, k->pid);
    children_started(&s->list, &k->child);
}

/* After every event: go on until the supervisor must wait. */
static void pump(struct supervisor *s) {
    for (;;) {
        if (s->up_first != NULL) {
            struct supervised *k = s->up_first;
            s->up_first = k->next_up;
            report_up(s, k);
            continue;
        }
        if (s->list.phase == CHILDREN_ENDED) {
            end_self(s);
            return;
        }
        if (s->list.phase != CHILDREN_SETTLED)
            return;
        if (!s->first_start_over)
            first_start_is_over(s);
        if (s->current != NULL)
            finish_current(s, s->list.command);
        if (s->first == NULL)
            return;
        s->current = s->first;
        s->first = s->first->next;
        s->waiting_count--;
        eg_err err = begin(s, s->current->m);
        if (err != EG_OK || s->current->m->tag == SUPERVISOR_DELETE_CHILD)
            finish_current(s, err);
    }
}

/* ---- looking ------------------------------------------------------------------------------ */

static void answer_which(struct supervisor *s, struct caller from) {
    size_t size_bytes = s->list.count * sizeof(struct child_info);
    struct message *m = message_new(actor_runtime(s->self), MESSAGE_REPLY, size_bytes);
    struct child_info *info;

    if (m == NULL) {
        (void) genserver_reply(s->self, from, EG_MEMORY, NULL, 0);
        return;
    }
    m->tag = EG_OK;
    info = (void *) m->payload;
    memset(info, 0, size_bytes);
    for (struct child *c = s->list.first; c != NULL; c = c->next, info++) {
        const struct supervised *k = supervised_of(c);
        memcpy(info->id, c->id, sizeof info->id);
        info->pid = c->state == CHILD_DOWN ? EG_PID_NONE : k->pid;
        info->kind = k->spec.kind;
        info->restart = c->restart;
        info->state = c->state;
        info->restarts = c->restarts;
    }
    (void) genserver_reply_message(s->self, from, m); /* fails for nobody */
}

static void answer_count(struct supervisor *s, struct caller from) {
    struct child_counts n = {
        .specs = s->list.count, .active = s->list.up_count, .restarts = s->list.restarts};
    for (struct child *c = s->list.first; c != NULL; c = c->next)
        n.supervisors += supervised_of(c)->spec.kind == CHILD_SUPERVISOR;
    n.workers = n.specs - n.supervisors;
    (void) genserver_reply(s->self, from, EG_OK, &n, sizeof n); /* fails for nobody */
}

/* ---- the server ------------------------------------------------------------------------------ */

static void on_exit_of_self(struct cleanup *c) {
    struct supervisor *s = EG_CONTAINER_OF(c, struct supervisor, cleanup);
    struct alloc *a = actor_alloc(s->self);
    struct waiting *lists[] = {s->first, s->current, s->awaiting};

    for (size_t i = 0; i < EG_COUNTOF(lists); i++) {
        struct waiting *w = lists[i], *next;
        for (; w != NULL; w = next) {
            next = w == s->current ? NULL : w->next;
            message_free(actor_runtime(s->self), w->m); /* genserver answers the caller */
            alloc_put(a, w, sizeof *w);
        }
    }
    children_close(&s->list);
    alloc_put(a, s->bucket, s->bucket_count * sizeof *s->bucket);
}

static eg_err declare_all(struct supervisor *s) {
    for (uint32_t i = 0; i < s->opts.child_count; i++) {
        struct child_spec spec;
        struct supervised *k;
        eg_err err;

        spec_at(s, i, &spec);
        if (!spec_is_valid(s, &spec))
            return EG_BAD_REQUEST;
        k = supervised_new(s, &spec, spec.arg, spec.arg_bytes);
        if (k == NULL)
            return EG_MEMORY;
        err = children_declare(&s->list, &k->child);
        if (err != EG_OK) {
            on_drop(s, &k->child);
            return err;
        }
        hash_grow(s);
    }
    return EG_OK;
}

static eg_err on_init(struct actor *self, void *state, const void *arg) {
    const struct supervisor_start *start = arg;
    struct supervisor *s = state;
    struct alloc *a = actor_alloc(self);
    eg_err err;

    s->self = self;
    s->opts = start->opts;
    s->parent = start->parent;
    s->ack_to = start->ack ? start->parent : EG_PID_NONE;
    s->reason = exit_reason(EG_EXIT_SHUTDOWN);
    if (is_dynamic(s) && s->opts.child_count != 1)
        return EG_BAD_REQUEST;
    err = children_open(&s->list, a, &child_ops, s, s->opts.strategy, s->opts.intensity,
                        (uint64_t) s->opts.period_ms * 1000000);
    if (err != EG_OK)
        return err;
    s->bucket_count = BUCKETS_FIRST;
    s->bucket = alloc_zero(a, BUCKETS_FIRST * sizeof *s->bucket);
    if (s->bucket == NULL) {
        children_close(&s->list);
        return EG_MEMORY;
    }
    s->cleanup.run = on_exit_of_self;
    actor_on_exit(self, &s->cleanup);
    if (!is_dynamic(s)) {
        err = declare_all(s);
        if (err != EG_OK)
            return err;
        children_start(&s->list);
    }
    pump(s);
    return EG_OK;
}

static void on_call(struct actor *self, void *state, struct caller from, struct message *m) {
    struct supervisor *s = state;
    struct waiting *w;

    if (m->tag == SUPERVISOR_WHICH_CHILDREN) {
        answer_which(s, from);
        return;
    }
    if (m->tag == SUPERVISOR_COUNT_CHILDREN) {
        answer_count(s, from);
        return;
    }
    w = m->tag > SUPERVISOR_COUNT_CHILDREN ? NULL : alloc_zero(actor_alloc(self), sizeof *w);
    if (w == NULL || s->waiting_count == SUPERVISOR_WAITING_MAX) {
        eg_err why = m->tag > SUPERVISOR_COUNT_CHILDREN ? EG_NO_METHOD
                     : w == NULL                        ? EG_MEMORY
                                                        : EG_BUSY;
        alloc_put(actor_alloc(self), w, sizeof *w);
        (void) genserver_reply(self, from, why, NULL, 0); /* fails for nobody */
        return;
    }
    w->from = from;
    w->m = m;
    actor_keep(self, m);
    if (m->tag == SUPERVISOR_AWAIT) {
        w->next = s->awaiting;
        s->awaiting = w;
        if (s->first_start_over)
            answer_awaiting(s);
        return;
    }
    if (s->first == NULL)
        s->first = w;
    else
        s->last->next = w;
    s->last = w;
    s->waiting_count++;
    pump(s);
}

static void on_child_exit(struct supervisor *s, struct supervised *k, const eg_exit *reason) {
    bool orderly = reason->kind == EG_EXIT_NORMAL || reason->kind == EG_EXIT_SHUTDOWN;
    eg_err why =
        reason->kind == EG_EXIT_CRASH && reason->code != EG_OK ? (eg_err) reason->code : EG_ABORTED;

    hash_del(s, k);
    actor_timer_stop(s->self, &k->deadline);
    k->pid = EG_PID_NONE;
    if (k->spec.changed != NULL)
        k->spec.changed(k->spec.changed_context, EG_PID_NONE);
    children_exited(&s->list, &k->child, orderly ? EXIT_ORDERLY : EXIT_ABNORMAL, why);
    pump(s);
}

static void on_info(struct actor *self, void *state, struct message *m) {
    struct supervisor *s = state;
    struct supervised *k = by_pid(s, m->from);

    (void) self;
    if (m->kind == MESSAGE_INFO && m->tag == TAG_CHILD_UP && k != NULL) {
        report_up(s, k);
        pump(s);
    } else if (m->kind == MESSAGE_EXIT) {
        eg_exit reason = message_exit(m);
        if (k != NULL) {
            on_child_exit(s, k, &reason);
        } else if (eg_pid_is_none(m->from) || eg_pid_equal(m->from, s->parent)) {
            s->reason = reason;
            children_end(&s->list);
            pump(s);
        }
    }
}

static void on_describe(struct actor *self, const void *state, char *text, size_t size_bytes) {
    static const char *const phase[] = {"settled", "starting", "stopping", "ended"};
    const struct supervisor *s = state;
    (void) self;
    snprintf(text, size_bytes, "%s, %u of %u children up, %llu restarts, %s",
             children_strategy_name(s->opts.strategy), s->list.up_count, s->list.count,
             (unsigned long long) s->list.restarts, phase[s->list.phase]);
}

static const struct genserver_ops supervisor_server = {
    .name = "supervisor",
    .state_bytes = sizeof(struct supervisor),
    .init = on_init,
    .call = on_call,
    .info = on_info,
    .describe = on_describe,
};

/* ---- for callers --------------------------------------------------------------------------------
 */

struct message *supervisor_request(struct runtime *rt, enum supervisor_command command,
                                   const void *payload, size_t payload_bytes) {
    struct message *m = message_copy(rt, MESSAGE_CALL, payload, payload_bytes);
    if (m != NULL)
        m->tag = command;
    return m;
}

struct message *supervisor_start_child(struct runtime *rt, const struct child_spec *spec) {
    struct message *m = message_new(rt, MESSAGE_CALL, sizeof *spec + spec->arg_bytes);

    if (m == NULL)
        return NULL;
    m->tag = SUPERVISOR_START_CHILD;
    memcpy(m->payload, spec, sizeof *spec);
    if (spec->arg_bytes > 0)
        memcpy(m->payload + sizeof *spec, spec->arg, spec->arg_bytes);
    return m;
}

void supervisor_stop(struct runtime *rt, eg_pid supervisor) {
    eg_exit reason = exit_reason(EG_EXIT_SHUTDOWN);
    actor_exit_send(rt, EG_PID_NONE, supervisor, &reason);
}
