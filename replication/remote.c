/* remote.c -- the route of pids that are elsewhere, and what comes back on it.
 *
 * Numbers: the entry of a node's start is its number's remainder, so finding it is one load;
 * the quotient grows each time that the entry is given to another start.
 *
 *     number = 1 + entry + REMOTE_NODES_MAX * uses
 *
 * A tie is written down before its message is sent, so that a node which is lost meanwhile
 * finds it; and where the loss has found it, what was sent over the next link is undone. */
#include "replication/remote.h"

#include "engine/actor.h"
#include "engine/pubsub.h"
#include "engine/registry.h"
#include "engine/scheduler.h"
#include "replication/remote_names.h"
#include "replication/remote_ties.h"
#include "replication/remote_wire.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum {
    NEAR_BYTES = 1024, /* a message that is written on the stack           */
    SWEEP_TIES = 512,  /* told of a loss in one turn                        */
    WAIT_NS = 1000 * 1000 * 1000,
    RETRY_NS = 10 * 1000 * 1000,
};

#define NAMES_NODE UINT32_MAX /* pid.node of those that stand for a name */

struct remote_node {
    _Atomic uint32_t number; /* 0: of nobody now */
    _Atomic uint64_t id, incarnation;
    _Atomic bool up, dropping;
    struct remote *owner;
    char name[NODE_INFO_NAME_BYTES]; /* under the lock */
    uint32_t uses;
    struct ties ties;
};

struct sweep {
    struct sweep *next;
    struct remote_node *node;
    struct tie *left;
};

struct remote {
    struct remote_opts opts;
    uint64_t self;
    struct route route;
    struct pubsub_hook hook;
    struct scheduler *scheduler;
    struct remote_node *_Atomic node[REMOTE_NODES_MAX];

    struct remote_names names;
    atomic_flag lock; /* of the names of nodes */

    struct sweep *sweeps; /* the mesh's scheduler's */
    bool sweeping;
    _Atomic bool closing;

    struct waiter *waiter;
    _Atomic uint32_t outstanding;
    _Atomic uint64_t sent, received, refused, dropped, unpublished;
};

static void count(_Atomic uint64_t *counter) {
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static void lock(struct remote *r) {
    while (atomic_flag_test_and_set_explicit(&r->lock, memory_order_acquire))
        EG_CPU_RELAX();
}
static void unlock(struct remote *r) {
    atomic_flag_clear_explicit(&r->lock, memory_order_release);
}

/* ---- nodes ------------------------------------------------------------------------ */

static struct remote_node *node_at(const struct remote *r, uint32_t i) {
    return atomic_load_explicit(&r->node[i], memory_order_acquire);
}

static struct remote_node *node_of_id(const struct remote *r, uint64_t id) {
    for (uint32_t i = 0; i < REMOTE_NODES_MAX; i++) {
        struct remote_node *n = node_at(r, i);
        if (n != NULL && atomic_load(&n->number) != 0 && atomic_load(&n->id) == id)
            return n;
    }
    return NULL;
}

/* The start that a number is of, with its id and incarnation.  NULL: it has ended. */
static struct remote_node *node_of_number(const struct remote *r, uint32_t number, uint64_t *id,
                                          uint64_t *incarnation) {
    struct remote_node *n = number != 0 ? node_at(r, (number - 1) % REMOTE_NODES_MAX) : NULL;

    if (n == NULL || atomic_load(&n->number) != number)
        return NULL;
    *id = atomic_load(&n->id);
    *incarnation = atomic_load(&n->incarnation);
    return atomic_load(&n->number) == number ? n : NULL; /* it was not given away meanwhile */
}

static void give_number(struct remote *r, uint32_t entry, struct remote_node *n,
                        const struct node_info *who) {
    atomic_store(&n->number, 0);
    atomic_store(&n->id, who->id);
    atomic_store(&n->incarnation, who->incarnation);
    lock(r);
    memcpy(n->name, who->name, sizeof n->name);
    unlock(r);
    atomic_store(&n->number, 1 + entry + REMOTE_NODES_MAX * n->uses++);
}

/* An entry for a start that has none: that of an earlier start of the node, one that nobody
 * has, or one of a node that is gone. */
static struct remote_node *node_for(struct remote *r, const struct node_info *who) {
    struct remote_node *n;
    uint32_t entry = REMOTE_NODES_MAX;

    for (uint32_t i = 0; i < REMOTE_NODES_MAX; i++) {
        n = node_at(r, i);
        if (n != NULL && atomic_load(&n->number) != 0 && atomic_load(&n->id) == who->id) {
            entry = i;
            break;
        }
        if (entry == REMOTE_NODES_MAX && (n == NULL || !atomic_load(&n->up)))
            entry = i;
    }
    if (entry == REMOTE_NODES_MAX)
        return NULL;
    n = node_at(r, entry);
    if (n == NULL) {
        n = alloc_zero(r->opts.alloc, sizeof *n);
        if (n == NULL)
            return NULL;
        n->owner = r;
        ties_init(&n->ties, r->opts.alloc, REMOTE_TIES_MAX);
        atomic_store_explicit(&r->node[entry], n, memory_order_release);
    }
    if (atomic_load(&n->number) == 0 || atomic_load(&n->id) != who->id ||
        atomic_load(&n->incarnation) != who->incarnation)
        give_number(r, entry, n, who);
    return n;
}

/* ---- writing ------------------------------------------------------------------------ */

static eg_err send_value(struct remote *r, uint64_t to, const struct remote_message *m) {
    uint8_t near[NEAR_BYTES], *room = near;
    size_t room_bytes = REMOTE_HEADER_BYTES + (size_t) m->body_bytes;
    struct value_writer w;
    eg_err err;

    if (room_bytes > sizeof near)
        room = alloc_get(r->opts.alloc, room_bytes);
    else
        room_bytes = sizeof near;
    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, room_bytes);
    remote_message_put(m, &w);
    EG_ASSERT(!w.overflow);
    err = r->opts.send(r->opts.user, to, (struct value){room, (uint32_t) w.need_bytes});
    if (room != near)
        alloc_put(r->opts.alloc, room, room_bytes);
    if (err == EG_OK)
        count(&r->sent);
    return err;
}

static const enum remote_kind kind_of[MESSAGE_KIND_COUNT] = {
    [MESSAGE_INFO] = REMOTE_INFO,       [MESSAGE_CAST] = REMOTE_CAST,
    [MESSAGE_CALL] = REMOTE_CALL,       [MESSAGE_REPLY] = REMOTE_REPLY,
    [MESSAGE_EXIT] = REMOTE_EXIT,       [MESSAGE_DOWN] = REMOTE_DOWN,
    [MESSAGE_LINK] = REMOTE_LINK,       [MESSAGE_UNLINK] = REMOTE_UNLINK,
    [MESSAGE_MONITOR] = REMOTE_MONITOR, [MESSAGE_DEMONITOR] = REMOTE_DEMONITOR,
    [MESSAGE_KILL] = REMOTE_KILL,
};

static struct remote_message message_of(struct remote *r, const struct message *m) {
    struct remote_message out = {.kind = kind_of[m->kind], .ref = m->ref, .tag = m->tag};

    EG_ASSERT(m->kind == MESSAGE_INFO || out.kind != REMOTE_INFO);
    if (m->from.node == runtime_node(r->opts.runtime))
        out.from = m->from;
    if (m->kind == MESSAGE_EXIT || m->kind == MESSAGE_DOWN)
        out.reason = message_exit(m);
    if (m->kind == MESSAGE_EXIT && (m->flags & MESSAGE_LINKED) != 0)
        out.kind = REMOTE_EXIT_LINKED;
    if (m->kind <= MESSAGE_REPLY) {
        out.body = m->payload;
        out.body_bytes = m->size_bytes;
    }
    return out;
}

/* ---- ties of what goes out ------------------------------------------------------------- */

/* The tie that a message to `there` makes or ends; false: none. */
static bool tie_of(const struct remote_message *m, eg_pid there, struct tie *out) {
    static const struct {
        bool any;
        enum tie_kind kind;
    } ties[REMOTE_KIND_COUNT] = {
        [REMOTE_CALL] = {true, TIE_CALL},       [REMOTE_EXIT_LINKED] = {true, TIE_LINK},
        [REMOTE_DOWN] = {true, TIE_WATCHED},    [REMOTE_LINK] = {true, TIE_LINK},
        [REMOTE_UNLINK] = {true, TIE_LINK},     [REMOTE_MONITOR] = {true, TIE_WATCH},
        [REMOTE_DEMONITOR] = {true, TIE_WATCH},
    };

    if (!ties[m->kind].any || eg_pid_is_none(m->from))
        return false;
    *out = (struct tie){.kind = ties[m->kind].kind, .here = m->from, .there = there, .ref = m->ref};
    return true;
}

static bool makes_tie(enum remote_kind kind) {
    return kind == REMOTE_CALL || kind == REMOTE_LINK || kind == REMOTE_MONITOR;
}

/* The tie has ended while it was being sent: by its answer, or because the node was lost.  If it
 * went over the next link, the other side is not to have it. */
static void undo(struct remote *r, uint64_t to, const struct remote_message *m) {
    struct remote_message back = *m;

    back.kind = m->kind == REMOTE_LINK ? REMOTE_UNLINK : REMOTE_DEMONITOR;
    if (m->kind != REMOTE_CALL)
        (void) send_value(r, to, &back); /* lost again: then it has no tie either */
}

static eg_err send_tie(struct remote *r, struct remote_node *n, uint64_t to,
                       const struct remote_message *m, const struct tie *tie) {
    eg_err err = ties_add(&n->ties, tie);

    if (err == EG_EXISTS)
        return send_value(r, to, m);
    if (err != EG_OK)
        return err;
    err = send_value(r, to, m);
    if (err != EG_OK)
        return ties_remove(&n->ties, tie) || m->kind != REMOTE_CALL ? err : EG_OK; /* answered */
    if (!ties_has(&n->ties, tie))
        undo(r, to, m);
    return EG_OK;
}

/* ---- the route ------------------------------------------------------------------------------- */

static void drop_link(struct scheduler *s, void *arg) {
    struct remote_node *n = arg;
    struct remote *r = n->owner;

    (void) s;
    if (!r->closing)
        r->opts.drop(r->opts.user, atomic_load(&n->id));
}

/* A signal cannot go, and may not be lost: the link ends, which tells both sides. */
static void give_up_link(struct remote *r, struct remote_node *n) {
    if (!atomic_exchange(&n->dropping, true) && scheduler_post(r->scheduler, drop_link, n) != EG_OK)
        atomic_store(&n->dropping, false); /* the next signal tries */
}

static bool may_wait(enum remote_kind kind) {
    return kind <= REMOTE_CALL;
}

static eg_err send_to(struct remote *r, struct remote_node *n, uint64_t id, eg_pid to,
                      const struct remote_message *m) {
    struct tie tie;
    eg_err err;

    if (!atomic_load_explicit(&n->up, memory_order_relaxed))
        return EG_NO_REPLICA;
    if (may_wait(m->kind) && r->opts.pending_bytes(r->opts.user, id) > REMOTE_PENDING_BYTES) {
        count(&r->refused);
        return EG_BUSY;
    }
    if (!tie_of(m, to, &tie)) {
        err = send_value(r, id, m);
    } else if (makes_tie(m->kind)) {
        err = send_tie(r, n, id, m, &tie);
    } else {
        ties_remove(&n->ties, &tie);
        err = send_value(r, id, m);
    }
    if (err != EG_OK && err != EG_NO_REPLICA && !may_wait(m->kind))
        give_up_link(r, n);
    return err;
}

/* To whoever has a name: elsewhere, or on this node. */
static eg_err send_to_name(struct remote *r, eg_pid to, struct message *m) {
    const struct remote_name *a = remote_names_at(&r->names, to.slot);
    struct remote_message out;
    struct remote_node *n;
    eg_pid pid;

    if (a == NULL || m->kind == MESSAGE_LINK)
        return EG_NO_REPLICA;
    if (a->node == r->self) {
        pid = registry_find(runtime_names(r->opts.runtime), a->name);
        return eg_pid_is_none(pid) ? EG_NOPROC : route_receive(r->opts.runtime, m->from, pid, m);
    }
    n = node_of_id(r, a->node);
    if (n == NULL)
        return EG_NO_REPLICA;
    out = message_of(r, m);
    out.to_name = true;
    memcpy(out.name, a->name, sizeof out.name);
    eg_err err = send_to(r, n, a->node, to, &out);
    if (err == EG_OK)
        message_free(r->opts.runtime, m);
    return err;
}

static eg_err route_send(const struct route *route, eg_pid to, struct message *m) {
    struct remote *r = EG_CONTAINER_OF((struct route *) route, struct remote, route);
    struct remote_message out;
    struct remote_node *n;
    uint64_t id, incarnation;
    eg_err err;

    if (to.node == NAMES_NODE)
        return send_to_name(r, to, m);
    n = node_of_number(r, to.node, &id, &incarnation);
    if (n == NULL)
        return EG_NO_REPLICA;
    out = message_of(r, m);
    out.to = to;
    out.incarnation = incarnation;
    err = send_to(r, n, id, to, &out);
    if (err == EG_OK)
        message_free(r->opts.runtime, m);
    return err;
}

/* ---- publishing ---------------------------------------------------------------------------------
 */

static void published(struct pubsub_hook *h, eg_pid from, const char *topic, uint32_t tag,
                      const void *bytes, size_t size_bytes) {
    struct remote *r = EG_CONTAINER_OF(h, struct remote, hook);
    struct remote_message m = {.kind = REMOTE_PUBLISH,
                               .to_name = true,
                               .tag = tag,
                               .body = bytes,
                               .body_bytes = (uint32_t) size_bytes};

    if (strlen(topic) >= sizeof m.name)
        return;
    memcpy(m.name, topic, strlen(topic) + 1);
    if (from.node == runtime_node(r->opts.runtime))
        m.from = from;
    for (uint32_t i = 0; i < REMOTE_NODES_MAX; i++) {
        struct remote_node *n = node_at(r, i);
        if (n == NULL || !atomic_load_explicit(&n->up, memory_order_relaxed))
            continue;
        if (r->opts.pending_bytes(r->opts.user, atomic_load(&n->id)) > REMOTE_PENDING_BYTES ||
            send_value(r, atomic_load(&n->id), &m) != EG_OK)
            count(&r->unpublished);
    }
}

/* ---- receiving
 * ------------------------------------------------------------------------------------ */

static struct message *exit_message(struct remote *r, enum message_kind kind,
                                    const eg_exit *reason) {
    return message_copy(r->opts.runtime, kind, reason, sizeof *reason);
}

static enum message_kind engine_kind(enum remote_kind kind) {
    if (kind == REMOTE_EXIT_LINKED)
        return MESSAGE_EXIT;
    for (int i = 0; i < MESSAGE_KIND_COUNT; i++) {
        if (kind_of[i] == kind)
            return (enum message_kind) i;
    }
    return MESSAGE_INFO;
}

/* What comes is awaited, or makes a tie.  False: neither, so it is dropped. */
static bool is_expected(struct remote *r, struct remote_node *n, const struct remote_message *m,
                        eg_pid here, eg_pid there) {
    struct tie tie = {.here = here, .there = there, .ref = m->ref};
    bool is_tie = m->kind == REMOTE_LINK || m->kind == REMOTE_MONITOR || m->kind == REMOTE_CALL;
    eg_err err;

    if (is_tie && eg_pid_is_none(there))
        return false; /* nobody to answer to */
    switch (m->kind) {
    case REMOTE_REPLY:
        tie.kind = TIE_CALL;
        return ties_remove(&n->ties, &tie);
    case REMOTE_EXIT_LINKED:
    case REMOTE_UNLINK:
        tie.kind = TIE_LINK;
        return ties_remove(&n->ties, &tie);
    case REMOTE_DOWN:
        tie.kind = TIE_WATCH;
        return ties_remove(&n->ties, &tie);
    case REMOTE_DEMONITOR:
        tie.kind = TIE_WATCHED;
        return ties_remove(&n->ties, &tie);
    case REMOTE_LINK:
    case REMOTE_MONITOR:
        tie.kind = m->kind == REMOTE_LINK ? TIE_LINK : TIE_WATCHED;
        err = ties_add(&n->ties, &tie);
        return err == EG_OK || (err == EG_EXISTS && m->kind == REMOTE_LINK);
    case REMOTE_EXIT:
        return runtime_pressure(r->opts.runtime, here) != PRESSURE_FULL;
    default:
        return true;
    }
}

/* A tie that this node cannot have memory for: the other side hears so. */
static void refuse_tie(struct remote *r, struct remote_node *n, const struct remote_message *m,
                       eg_pid here, eg_pid there) {
    struct tie tie = {.kind = m->kind == REMOTE_LINK ? TIE_LINK : TIE_WATCHED,
                      .here = here,
                      .there = there,
                      .ref = m->ref};
    struct remote_message back = {.kind = m->kind == REMOTE_LINK ? REMOTE_EXIT_LINKED : REMOTE_DOWN,
                                  .incarnation = atomic_load(&n->incarnation),
                                  .to = there,
                                  .from = here,
                                  .ref = m->ref,
                                  .reason = exit_reason(EG_EXIT_NOCONNECTION)};

    ties_remove(&n->ties, &tie);
    if (send_value(r, atomic_load(&n->id), &back) != EG_OK)
        give_up_link(r, n);
}

static void deliver(struct remote *r, struct remote_node *n, const struct remote_message *m,
                    eg_pid here, eg_pid there) {
    enum message_kind kind = engine_kind(m->kind);
    bool is_tie = m->kind == REMOTE_LINK || m->kind == REMOTE_MONITOR;
    struct message *out;

    if (!is_expected(r, n, m, here, there)) {
        count(&r->dropped);
        if (is_tie && !eg_pid_is_none(there))
            refuse_tie(r, n, m, here, there);
        return;
    }
    out = kind == MESSAGE_EXIT || kind == MESSAGE_DOWN
              ? exit_message(r, kind, &m->reason)
              : message_copy(r->opts.runtime, kind, m->body, is_tie ? 0 : m->body_bytes);
    if (out == NULL) {
        give_up_link(r, n); /* what comes may not be lost in silence */
        return;
    }
    out->ref = m->ref;
    out->tag = m->tag;
    out->flags = m->kind == REMOTE_EXIT_LINKED ? MESSAGE_LINKED : 0;
    if (route_receive(r->opts.runtime, there, here, out) != EG_OK)
        refuse_tie(r, n, m, here, there);
}

void remote_receive(struct remote *r, uint64_t from, struct value payload) {
    struct remote_node *n = node_of_id(r, from);
    uint32_t own = runtime_node(r->opts.runtime);
    struct remote_message m;
    eg_pid here, there = EG_PID_NONE;

    if (n == NULL || remote_message_get(&m, payload) != EG_OK ||
        (!m.to_name && m.incarnation != r->opts.self->incarnation) ||
        (m.to_name ? m.kind == REMOTE_LINK : m.kind == REMOTE_PUBLISH)) {
        count(&r->dropped);
        return;
    }
    count(&r->received);
    if (!eg_pid_is_none(m.from))
        there = (eg_pid){atomic_load(&n->number), m.from.slot, m.from.generation};
    if (m.kind == REMOTE_PUBLISH) {
        if (pubsub_deliver(runtime_topics(r->opts.runtime), there, m.name, m.tag, m.body,
                           m.body_bytes, NULL) != EG_OK)
            count(&r->dropped);
        return;
    }
    here = (eg_pid){own, m.to.slot, m.to.generation};
    if (m.to_name) {
        here = registry_find(runtime_names(r->opts.runtime), m.name);
        if (eg_pid_is_none(here))
            here = (eg_pid){own, UINT32_MAX, 1}; /* nobody: and answered as such */
    }
    deliver(r, n, &m, here, there);
}

/* ---- losing a node
 * ------------------------------------------------------------------------------------ */

/* What is said in the name of an actor that is out of reach.  False: no memory for it now. */
static bool tell(struct remote *r, const struct tie *t) {
    static const enum message_kind kinds[] = {[TIE_LINK] = MESSAGE_EXIT,
                                              [TIE_WATCH] = MESSAGE_DOWN,
                                              [TIE_WATCHED] = MESSAGE_DEMONITOR,
                                              [TIE_CALL] = MESSAGE_REPLY};
    eg_exit reason = exit_reason(EG_EXIT_NOCONNECTION);
    bool has_reason = t->kind == TIE_LINK || t->kind == TIE_WATCH;
    struct message *m = has_reason ? exit_message(r, kinds[t->kind], &reason)
                                   : message_new(r->opts.runtime, kinds[t->kind], 0);

    if (m == NULL)
        return false;
    m->ref = t->ref;
    m->tag = t->kind == TIE_CALL ? (uint32_t) EG_IN_DOUBT : 0;
    m->flags = t->kind == TIE_LINK ? MESSAGE_LINKED : 0;
    return route_receive(r->opts.runtime, t->there, t->here, m) == EG_OK;
}

static void sweep_on(struct remote *r);

static void sweep_some(struct scheduler *s, void *arg) {
    struct remote *r = arg;
    uint32_t told = 0;

    (void) s;
    r->sweeping = false;
    while (r->sweeps != NULL && (r->closing || told < SWEEP_TIES)) {
        struct sweep *sweep = r->sweeps;
        struct tie *t = sweep->left;
        if (t == NULL) {
            r->sweeps = sweep->next;
            alloc_put(r->opts.alloc, sweep, sizeof *sweep);
            continue;
        }
        if (!r->closing && !tell(r, t))
            break; /* and again in the next turn */
        sweep->left = t->next;
        tie_free(&sweep->node->ties, t);
        told++;
    }
    if (r->sweeps != NULL)
        sweep_on(r);
}

static void sweep_on(struct remote *r) {
    if (!r->sweeping && scheduler_post(r->scheduler, sweep_some, r) == EG_OK)
        r->sweeping = true;
}

/* Those that nobody else will tell.  At once where there are few. */
static void sweep(struct remote *r, struct remote_node *n) {
    struct tie *all = ties_take(&n->ties);
    struct sweep *s, **last = &r->sweeps;

    if (all == NULL)
        return;
    s = alloc_zero(r->opts.alloc, sizeof *s);
    while (s == NULL) { /* not even this: tell them all now, which takes as long as it takes */
        struct tie *t = all;
        if (t == NULL)
            return;
        all = t->next;
        (void) tell(r, t);
        tie_free(&n->ties, t);
    }
    s->node = n;
    s->left = all;
    while (*last != NULL)
        last = &(*last)->next;
    *last = s;
    sweep_some(NULL, r);
}

void remote_up(struct remote *r, const struct node_info *who) {
    struct remote_node *n = node_for(r, who);

    if (n == NULL)
        return; /* more nodes than there may be */
    atomic_store(&n->dropping, false);
    atomic_store(&n->up, true);
}

void remote_down(struct remote *r, uint64_t id) {
    struct remote_node *n = node_of_id(r, id);

    if (n == NULL)
        return;
    atomic_store(&n->up, false);
    sweep(r, n);
}

/* ---- names
 * --------------------------------------------------------------------------------------------------
 */

eg_err remote_named(struct remote *r, const char *node, const char *name, eg_pid *out) {
    uint32_t number;
    eg_err err = remote_names_get(&r->names, node, name, &number);

    if (err == EG_OK)
        *out = (eg_pid){NAMES_NODE, number, 1};
    return err;
}

uint32_t remote_nodes(struct remote *r, char (*out)[NODE_INFO_NAME_BYTES], uint32_t room) {
    uint32_t found = 0;

    for (uint32_t i = 0; i < REMOTE_NODES_MAX; i++) {
        struct remote_node *n = node_at(r, i);
        if (n == NULL || !atomic_load(&n->up))
            continue;
        if (found < room) {
            lock(r);
            memcpy(out[found], n->name, sizeof n->name);
            unlock(r);
        }
        found++;
    }
    return found;
}

void remote_node_of(struct remote *r, eg_pid pid, char out[static NODE_INFO_NAME_BYTES]) {
    uint64_t id, incarnation;
    const struct remote_node *n;
    const struct remote_name *a;

    out[0] = '\0';
    if (pid.node == runtime_node(r->opts.runtime)) {
        memcpy(out, r->opts.self->name, NODE_INFO_NAME_BYTES);
    } else if (pid.node == NAMES_NODE) {
        a = remote_names_at(&r->names, pid.slot);
        if (a != NULL)
            memcpy(out, a->node_name, NODE_INFO_NAME_BYTES);
    } else if ((n = node_of_number(r, pid.node, &id, &incarnation)) != NULL) {
        lock(r);
        memcpy(out, n->name, NODE_INFO_NAME_BYTES);
        unlock(r);
    }
}

/* ---- open and close
 * ------------------------------------------------------------------------------------------ */

static void step_done(struct scheduler *s, void *arg) {
    struct remote *r = arg;
    struct env *env = r->opts.env;

    (void) s;
    if (atomic_fetch_sub(&r->outstanding, 1) == 2) {
        env->ops->waiter_wake(env, r->waiter);
        atomic_store(&r->outstanding, 0); /* and from here on it may be freed */
    }
}

static void post_and_wait(struct remote *r, uint32_t first, uint32_t schedulers) {
    struct env *env = r->opts.env;

    atomic_store(&r->outstanding, schedulers + 1);
    for (uint32_t i = first; i < first + schedulers; i++) {
        while (scheduler_post(runtime_scheduler(r->opts.runtime, i), step_done, r) != EG_OK)
            env->ops->waiter_wait(env, r->waiter, RETRY_NS);
    }
    while (atomic_load(&r->outstanding) > 1)
        env->ops->waiter_wait(env, r->waiter, WAIT_NS);
    while (atomic_load(&r->outstanding) == 1)
        EG_CPU_RELAX();
}

eg_err remote_open(struct remote **out, const struct remote_opts *o) {
    struct remote *r = alloc_zero(o->alloc, sizeof *r);
    eg_err err;

    if (r == NULL)
        return EG_MEMORY;
    err = o->env->ops->waiter_open(o->env, &r->waiter);
    if (err != EG_OK) {
        alloc_put(o->alloc, r, sizeof *r);
        return err;
    }
    r->opts = *o;
    r->self = node_id_of(o->self->name);
    r->scheduler = runtime_scheduler(o->runtime, o->scheduler);
    r->route.send = route_send;
    r->hook.published = published;
    remote_names_init(&r->names, o->alloc);
    atomic_flag_clear(&r->lock);
    runtime_set_route(o->runtime, &r->route);
    atomic_store(&runtime_topics(o->runtime)->hook, &r->hook);
    *out = r;
    return EG_OK;
}

void remote_stop(struct remote *r) {
    runtime_set_route(r->opts.runtime, NULL);
    atomic_store(&runtime_topics(r->opts.runtime)->hook, NULL);
    /* Whoever was sending has finished when its scheduler's next turn begins. */
    post_and_wait(r, 0, runtime_schedulers(r->opts.runtime));
}

static void free_node(struct remote *r, struct remote_node *n) {
    struct tie *all = ties_take(&n->ties);

    for (struct tie *next; all != NULL; all = next) {
        next = all->next;
        tie_free(&n->ties, all);
    }
    ties_fini(&n->ties);
    alloc_put(r->opts.alloc, n, sizeof *n);
}

void remote_close(struct remote *r) {
    r->closing = true;
    post_and_wait(r, r->opts.scheduler, 1); /* a sweep that was under way has posted the next */
    post_and_wait(r, r->opts.scheduler, 1); /* which has run */
    sweep_some(NULL, r);
    for (uint32_t i = 0; i < REMOTE_NODES_MAX; i++) {
        if (node_at(r, i) != NULL)
            free_node(r, node_at(r, i));
    }
    remote_names_fini(&r->names);
    r->opts.env->ops->waiter_close(r->opts.env, r->waiter);
    alloc_put(r->opts.alloc, r, sizeof *r);
}

struct remote_stats remote_stats(const struct remote *r) {
    struct remote_stats s = {.sent = atomic_load(&r->sent),
                             .received = atomic_load(&r->received),
                             .refused = atomic_load(&r->refused),
                             .dropped = atomic_load(&r->dropped),
                             .unpublished = atomic_load(&r->unpublished)};

    for (uint32_t i = 0; i < REMOTE_NODES_MAX; i++) {
        if (node_at(r, i) != NULL)
            s.ties += atomic_load(&node_at(r, i)->ties.count);
    }
    return s;
}
