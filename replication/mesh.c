/* mesh.c -- opening, closing, the calls of others, and the turn in which all of it happens.
 *
 * Opening and closing are functions posted to the mesh's scheduler; who calls sleeps until
 * they have said that they are done, as in query/server.c.
 */
#include "replication/mesh_private.h"

#include <stdio.h>
#include <string.h>

enum {
    STEP_WAIT_NS = 1000 * 1000 * 1000, /* a missed wake must not hang a stop for ever */
    POST_RETRY_NS = 10 * 1000 * 1000,
};

uint64_t mesh_random_below(struct mesh *m, uint64_t bound) {
    return bound > 0 ? env_random(m->opts.env) % bound : 0;
}

void mesh_log_stranger(struct mesh *m, const char *who, const char *text) {
    uint64_t now_ms = mesh_now_ms(m);

    if (m->logged_ms != 0 && now_ms - m->logged_ms < MESH_LOG_QUIET_MS)
        return;
    m->logged_ms = now_ms;
    env_log(m->opts.env, ENV_LOG_WARN, "mesh", "no link with %s: %s",
            who[0] != '\0' ? who : "somebody", text);
}

/* ---- steps --------------------------------------------------------------------- */

void mesh_step_done(struct mesh *m) {
    struct env *env = m->opts.env;

    if (atomic_fetch_sub(&m->outstanding, 1) == 2) {
        env->ops->waiter_wake(env, m->waiter);
        atomic_store(&m->outstanding, 0); /* and from here on it may be freed */
    }
}

static void do_step(struct mesh *m, void (*step)(struct scheduler *s, void *mesh)) {
    struct env *env = m->opts.env;

    atomic_store(&m->outstanding, 2);
    while (scheduler_post(m->scheduler, step, m) != EG_OK)
        env->ops->waiter_wait(env, m->waiter, POST_RETRY_NS);
    while (atomic_load(&m->outstanding) > 1)
        env->ops->waiter_wait(env, m->waiter, STEP_WAIT_NS);
    while (atomic_load(&m->outstanding) == 1)
        EG_CPU_RELAX(); /* the waker is about to leave */
}

/* ---- the turn --------------------------------------------------------------------- */

static void nothing(struct scheduler *s, void *arg) {
    (void) s; /* the hook runs in any turn: this only makes one */
    (void) arg;
}

void mesh_mark(struct mesh *m, uint32_t slot) {
    atomic_fetch_or(&m->dirty[slot / 64], UINT64_C(1) << slot % 64);
}

/* From any thread, or between two turns' hooks: somebody must make a turn. */
static void wake(struct mesh *m, uint32_t slot) {
    mesh_mark(m, slot);
    if (scheduler_is_current(m->scheduler) &&
        (m->turning || m->turn_ns != scheduler_now_ns(m->scheduler)))
        return; /* the hook has yet to run in this turn, or to write at its end */
    if (!atomic_exchange(&m->awake, true) && scheduler_post(m->scheduler, nothing, m) != EG_OK)
        atomic_store(&m->awake, false); /* the next send, or any turn, finds it dirty */
}

static bool flush_peer(struct mesh *m, uint32_t slot) {
    struct peer *p = atomic_load(&m->peer[slot]);

    return p != NULL && p->conn != NULL && conn_flush(p->conn);
}

static bool flush_dirty(struct mesh *m) {
    bool more = false;

    for (uint32_t i = 0; i < EG_COUNTOF(m->dirty); i++) {
        uint64_t dirty = atomic_load(&m->dirty[i]);
        if (dirty == 0)
            continue; /* as in most turns */
        dirty = atomic_exchange(&m->dirty[i], 0);
        for (; dirty != 0; dirty &= dirty - 1) {
            uint32_t slot = 64 * i + (uint32_t) __builtin_ctzll(dirty);
            if (flush_peer(m, slot)) {
                mesh_mark(m, slot);
                more = true;
            }
        }
    }
    return more;
}

static bool on_turn(struct turn_hook *h) {
    struct mesh *m = EG_CONTAINER_OF(h, struct mesh, hook);
    struct list_node now;

    if (atomic_load_explicit(&m->awake, memory_order_relaxed))
        atomic_store(&m->awake, false);
    m->turning = true;
    m->turn_ns = scheduler_now_ns(m->scheduler);
    list_init(&now);
    while (!list_is_empty(&m->ready)) {
        struct list_node *n = m->ready.next;
        list_remove(n);
        list_push_back(&now, n);
    }
    while (!list_is_empty(&now)) {
        struct conn *c = EG_CONTAINER_OF(now.next, struct conn, ready);
        list_remove(&c->ready);
        conn_run(c);
        if (c->state == CONN_LINKED)
            mesh_mark(m, c->peer->slot); /* written below, with what others send it in this turn */
        else
            conn_flush(c);
    }
    if (m->lent)
        stream_net_turn(m->net);
    m->lent = m->turning = false;
    return flush_dirty(m) || !list_is_empty(&m->ready);
}

static void on_tick(struct timer *t) {
    struct mesh *m = EG_CONTAINER_OF(t, struct mesh, tick);

    for (uint32_t i = 0; i < MESH_PEERS_MAX; i++) {
        struct peer *p = atomic_load(&m->peer[i]);
        if (p != NULL)
            peer_tick(p);
    }
    scheduler_timer_start(m->scheduler, &m->tick, MESH_TICK_MS, on_tick);
}

/* ---- open ------------------------------------------------------------------------------ */

static void on_accept(void *user, struct stream_accepted accepted) {
    conn_accept(user, accepted);
}

void mesh_closed_one(struct mesh *m) {
    EG_ASSERT(m->closing);
    if (m->conn_count > 0 || m->listeners_left > 0 || m->closed)
        return;
    m->closed = true;
    mesh_step_done(m);
}

static void on_listener_closed(void *user) {
    struct mesh *m = user;

    m->listeners_left--;
    mesh_closed_one(m);
}

static void listen_all(struct mesh *m) {
    static const struct listener_events events = {on_accept, on_listener_closed};

    for (uint32_t i = 0; m->err == EG_OK && i < m->opts.listen_count; i++) {
        const char *address = m->opts.listen[i];
        m->err = stream_listen(m->net, address, m->opts.cookie_bytes == 0, &events, m,
                               &m->listener[i], &m->note);
        if (m->err == EG_DENIED)
            err_note(&m->note, EG_DENIED,
                     "%s: only loopback addresses and unix sockets may be bound without a cookie",
                     address);
        m->listener_count += m->err == EG_OK;
    }
    if (m->self.address[0] == '\0' && m->listener_count > 0)
        memcpy(m->self.address, m->listener[0]->address, sizeof m->self.address);
}

static void open_here(struct scheduler *s, void *arg) {
    struct mesh *m = arg;

    m->err = m->opts.net_open(&m->net, m->opts.alloc, s);
    if (m->err == EG_OK) {
        m->hook.run = on_turn;
        m->hooked = true;
        scheduler_add_hook(s, &m->hook);
        scheduler_timer_start(s, &m->tick, MESH_TICK_MS, on_tick);
        listen_all(m);
    }
    mesh_step_done(m);
}

static struct mesh *mesh_new(const struct mesh_opts *o) {
    struct mesh *m = alloc_zero(o->alloc, sizeof *m);

    if (m == NULL)
        return NULL;
    m->opts = *o;
    m->self = *o->self;
    m->self.id = node_id_of(m->self.name);
    if (o->cookie_bytes > 0)
        memcpy(m->cookie, o->cookie, o->cookie_bytes);
    m->opts.cookie = m->cookie;
    m->shake_self = (struct handshake_self){&m->self, m->cookie, o->cookie_bytes};
    m->scheduler = runtime_scheduler(o->runtime, o->scheduler);
    list_init(&m->conns);
    list_init(&m->ready);
    list_init(&m->unproved);
    list_init(&m->joins);
    return m;
}

eg_err mesh_open(struct mesh **out, const struct mesh_opts *o, struct err_note *note) {
    struct mesh *m;
    eg_err err;

    EG_ASSERT(o->listen_count <= MESH_LISTENERS_MAX);
    if (o->cookie_bytes > MESH_COOKIE_BYTES_MAX)
        return err_note(note, EG_BAD_REQUEST, "the cookie is longer than %d bytes",
                        MESH_COOKIE_BYTES_MAX);
    m = mesh_new(o);
    if (m == NULL)
        return err_note(note, EG_MEMORY, "out of memory");
    err = o->env->ops->waiter_open(o->env, &m->waiter);
    if (err != EG_OK) {
        alloc_put(o->alloc, m, sizeof *m);
        return err_note(note, err, "out of memory");
    }
    do_step(m, open_here);
    err = m->err;
    if (err != EG_OK) {
        err_note(note, err, "%s", m->note.text[0] != '\0' ? m->note.text : eg_err_text(err));
        mesh_close(m);
        return err;
    }
    *out = m;
    return EG_OK;
}

/* ---- close ------------------------------------------------------------------------------- */

static void forget_everybody(struct mesh *m) {
    while (!list_is_empty(&m->joins))
        join_free(EG_CONTAINER_OF(m->joins.next, struct join, node));
    for (uint32_t i = 0; i < MESH_PEERS_MAX; i++) {
        struct peer *p = atomic_load(&m->peer[i]);
        if (p != NULL) {
            p->known = false;
            dialler_stop(&p->dialler);
            peer_down(p);
        }
    }
}

static void close_here(struct scheduler *s, void *arg) {
    struct mesh *m = arg;

    (void) s;
    m->closing = true;
    forget_everybody(m);
    for (struct list_node *n = m->conns.next; n != &m->conns; n = n->next)
        conn_close(EG_CONTAINER_OF(n, struct conn, node));
    m->listeners_left = m->listener_count;
    for (uint32_t i = 0; i < m->listener_count; i++)
        stream_listener_close(m->listener[i]);
    mesh_closed_one(m);
}

static void leave_here(struct scheduler *s, void *arg) {
    struct mesh *m = arg;

    if (m->hooked) {
        scheduler_remove_hook(s, &m->hook);
        scheduler_timer_stop(s, &m->tick);
    }
    for (uint32_t i = 0; i < MESH_PEERS_MAX; i++) {
        struct peer *p = atomic_load(&m->peer[i]);
        if (p != NULL)
            peer_free(p);
    }
    if (m->net != NULL)
        stream_net_close(m->net);
    mesh_step_done(m);
}

void mesh_stop(struct mesh *m) {
    if (!m->closing)
        do_step(m, close_here);
}

void mesh_close(struct mesh *m) {
    struct env *env = m->opts.env;

    mesh_stop(m);
    do_step(m, leave_here);
    env->ops->waiter_close(env, m->waiter);
    alloc_put(m->opts.alloc, m, sizeof *m);
}

/* ---- asking ---------------------------------------------------------------------------------- */

const struct node_info *mesh_self(const struct mesh *m) {
    return &m->self;
}

const char *mesh_listens(const struct mesh *m, uint32_t number) {
    return number < m->listener_count ? m->listener[number]->address : NULL;
}

bool mesh_is_up(const struct mesh *m, uint64_t id) {
    struct peer *p = peer_find((struct mesh *) m, id);

    return p != NULL && atomic_load_explicit(&p->up, memory_order_relaxed);
}

uint64_t mesh_pending_bytes(const struct mesh *m, uint64_t to) {
    struct peer *p = peer_find((struct mesh *) m, to);

    return p != NULL ? link_pending_bytes(&p->link) : 0;
}

uint64_t mesh_features(const struct mesh *m, uint64_t to) {
    const struct peer *p = peer_find((struct mesh *) m, to);

    return p != NULL ? atomic_load_explicit(&p->features, memory_order_relaxed) : 0;
}

struct mesh_stats mesh_stats(const struct mesh *m) {
    return (struct mesh_stats){
        .sent_bytes = atomic_load(&m->sent_bytes),
        .received_bytes = atomic_load(&m->received_bytes),
        .refused_handshakes = atomic_load(&m->refused_handshakes),
        .broken_frames = atomic_load(&m->broken_frames),
        .resent_frames = atomic_load(&m->resent_frames),
        .dials = atomic_load(&m->dials),
        .links_up = atomic_load(&m->links_up),
    };
}

/* ---- telling -----------------------------------------------------------------------------------
 */

void mesh_know(struct mesh *m, const struct node_info *who) {
    struct peer *p;
    bool news;

    if (who->id == m->self.id || m->closing || peer_get(m, who, &p) != EG_OK)
        return;
    news = !timer_is_started(&p->dialler.timer) || strcmp(p->dialler.address, who->address) != 0;
    p->known = true;
    memcpy(p->dialler.address, who->address, sizeof p->dialler.address);
    if (news && p->conn == NULL && p->welcomed == NULL && p->dialler.conn == NULL)
        dialler_start(&p->dialler, 1 + mesh_random_below(m, MESH_RECONNECT_MS));
}

void mesh_join(struct mesh *m, const char *address) {
    struct join *j;

    if (m->closing || m->join_count == MESH_JOINS_MAX || strlen(address) >= STREAM_ADDRESS_BYTES)
        return;
    for (struct list_node *n = m->joins.next; n != &m->joins; n = n->next) {
        if (strcmp(EG_CONTAINER_OF(n, struct join, node)->dialler.address, address) == 0)
            return;
    }
    j = alloc_zero(m->opts.alloc, sizeof *j);
    if (j == NULL)
        return;
    dialler_init(&j->dialler, m, NULL, address);
    list_push_back(&m->joins, &j->node);
    m->join_count++;
    dialler_start(&j->dialler, 1);
}

void mesh_release(struct mesh *m, uint64_t id) {
    struct peer *p = peer_find(m, id);

    if (p != NULL) {
        p->known = false;
        dialler_stop(&p->dialler);
    }
}

void mesh_forget(struct mesh *m, uint64_t id) {
    struct peer *p = peer_find(m, id);

    if (p != NULL)
        peer_forget(p);
}

void mesh_drop(struct mesh *m, uint64_t id) {
    struct peer *p = peer_find(m, id);

    if (p != NULL)
        peer_down(p);
}

void mesh_doubt(struct mesh *m, uint64_t id) {
    struct peer *p = peer_find(m, id);

    if (p != NULL)
        peer_doubt(p);
}

void mesh_renumber(struct mesh *m, uint64_t incarnation) {
    m->self.incarnation = incarnation;
    for (uint32_t i = 0; i < MESH_PEERS_MAX; i++) {
        struct peer *p = atomic_load(&m->peer[i]);
        if (p != NULL)
            peer_down(p);
    }
    for (struct list_node *n = m->conns.next; n != &m->conns; n = n->next) {
        struct conn *c = EG_CONTAINER_OF(n, struct conn, node);
        if (c->state == CONN_SHAKING) /* it may have said the one before */
            conn_break(c);
    }
}

eg_err mesh_send(struct mesh *m, uint64_t to, enum mesh_channel channel, struct value payload) {
    struct peer *p = peer_find(m, to);
    eg_err err;

    if (p == NULL)
        return EG_NO_REPLICA;
    err = link_push(&p->link, to, channel, payload);
    if (err == EG_OK)
        wake(m, p->slot);
    return err;
}
