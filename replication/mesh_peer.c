/* mesh_peer.c -- nodes: which of them are linked, over which connection, and when they are dialled.
 */
#include "replication/mesh_private.h"

#include <string.h>

/* ---- the table of nodes ------------------------------------------------------------ */

struct peer *peer_find(struct mesh *m, uint64_t id) {
    for (uint32_t i = 0; i < MESH_PEERS_MAX && id != 0; i++) {
        if (atomic_load_explicit(&m->id[i], memory_order_acquire) == id)
            return atomic_load_explicit(&m->peer[i], memory_order_acquire);
    }
    return NULL;
}

static void on_resume_over(struct timer *t);
static void on_tell(struct timer *t);

eg_err peer_get(struct mesh *m, const struct node_info *info, struct peer **out) {
    struct peer *p = peer_find(m, info->id);
    uint32_t slot = 0;

    if (p != NULL) {
        *out = p;
        return EG_OK;
    }
    while (slot < MESH_PEERS_MAX && atomic_load(&m->id[slot]) != 0)
        slot++;
    if (slot == MESH_PEERS_MAX)
        return EG_BUSY;
    p = atomic_load(&m->peer[slot]);
    if (p == NULL) {
        p = alloc_zero(m->opts.alloc, sizeof *p);
        if (p == NULL)
            return EG_MEMORY;
        p->mesh = m;
        p->slot = slot;
        link_init(&p->link, m->opts.alloc);
        atomic_store_explicit(&m->peer[slot], p, memory_order_release);
    }
    p->info = *info;
    p->known = true;
    dialler_init(&p->dialler, m, p, info->address);
    atomic_store_explicit(&m->id[slot], info->id, memory_order_release);
    *out = p;
    return EG_OK;
}

static void stop_timers(struct peer *p) {
    scheduler_timer_stop(p->mesh->scheduler, &p->resume);
    scheduler_timer_stop(p->mesh->scheduler, &p->tell);
}

void peer_free(struct peer *p) {
    stop_timers(p);
    dialler_stop(&p->dialler);
    link_end(&p->link);
    link_fini(&p->link);
    alloc_put(p->mesh->opts.alloc, p, sizeof *p);
}

/* Where it is known, not linked and nothing is under way: dial it. */
static void dial_if_alone(struct peer *p, uint64_t delay_ms) {
    struct dialler *d = &p->dialler;

    if (p->known && !p->mesh->closing && p->conn == NULL && p->welcomed == NULL &&
        d->conn == NULL && !timer_is_started(&d->timer))
        dialler_start(d, delay_ms);
}

void peer_forget(struct peer *p) {
    p->known = false;
    dialler_stop(&p->dialler);
    if (p->welcomed != NULL)
        conn_close(p->welcomed);
    peer_down(p);
    if (!p->known)
        atomic_store_explicit(&p->mesh->id[p->slot], 0, memory_order_release);
}

/* ---- links up and down --------------------------------------------------------------- */

static bool is_same_start(const struct peer *p, const struct node_info *info) {
    return p != NULL && atomic_load(&p->up) && p->info.incarnation == info->incarnation;
}

void peer_down(struct peer *p) {
    struct mesh *m = p->mesh;

    if (!atomic_load(&p->up))
        return;
    stop_timers(p);
    if (p->conn != NULL)
        conn_close(p->conn);
    atomic_store(&p->up, false);
    atomic_fetch_sub(&m->links_up, 1);
    link_end(&p->link);
    p->session = 0;
    p->must_tell = false;
    if (!m->closing)
        m->opts.events->on_down(m->opts.user, p->info.id);
    dial_if_alone(p, MESH_REDIAL_MIN_MS / 2 + mesh_random_below(m, MESH_REDIAL_MIN_MS));
}

static void on_resume_over(struct timer *t) {
    peer_down(EG_CONTAINER_OF(t, struct peer, resume));
}

/* The connection that carried the link is gone; the link waits for another one. */
static void peer_break(struct peer *p) {
    struct mesh *m = p->mesh;
    uint64_t delay_ms = mesh_random_below(m, MESH_RECONNECT_MS);

    if (p->info.id < m->self.id)
        delay_ms += 2 * MESH_RECONNECT_MS; /* let the other side dial: its id is smaller */
    p->conn = NULL;
    if (!timer_is_started(&p->resume))
        scheduler_timer_start(m->scheduler, &p->resume, MESH_RESUME_MS, on_resume_over);
    p->dialler.delay_ms = 0;
    dial_if_alone(p, delay_ms);
}

/* It is said to be down: packets that were lost in a cut are sent again ever more rarely, so
 * where nothing is heard of it another connection is there sooner when the cut heals. */
void peer_doubt(struct peer *p) {
    if (p->conn == NULL || mesh_now_ms(p->mesh) - p->heard_ms <= MESH_DOUBT_MS)
        return;
    conn_close(p->conn);
    peer_break(p);
}

/* From here on the link goes over `c`. */
static void attach(struct peer *p, struct conn *c) {
    struct mesh *m = p->mesh;
    struct conn *before = p->conn;

    p->conn = c;
    c->peer = p;
    if (p->welcomed == c)
        p->welcomed = NULL;
    conn_linked(c);
    if (before != NULL)
        conn_close(before);
    dialler_stop(&p->dialler);
    p->dialler.delay_ms = 0;
    scheduler_timer_stop(m->scheduler, &p->resume);
    p->heard_ms = p->awaited_ms = mesh_now_ms(m);
    p->awaited = 0;
}

static eg_err resume(struct peer *p, struct conn *c) {
    uint64_t resent;
    eg_err err = link_resume(&p->link, c->shake.attach.received, &resent);

    if (err != EG_OK)
        return err;
    mesh_count(&p->mesh->resent_frames, resent);
    attach(p, c);
    return EG_OK;
}

static void begin(struct peer *p, struct conn *c) {
    struct mesh *m = p->mesh;

    p->info = c->shake.peer;
    memcpy(p->dialler.address, p->info.address, sizeof p->dialler.address);
    p->session = c->session;
    atomic_store(&p->features, c->shake.features);
    link_begin(&p->link, p->info.id,
               EG_MIN((uint64_t) MESH_WINDOW_BYTES, c->shake.attach.credit_bytes));
    attach(p, c);
    atomic_store(&p->up, true);
    atomic_fetch_add(&m->links_up, 1);
    m->opts.events->on_up(m->opts.user, &p->info);
}

/* The handshake of `c` is over on this side: its link goes on, or is a new one. */
static void settle(struct conn *c) {
    struct peer *p = c->peer;

    if (c->resumes && is_same_start(p, &c->shake.peer) && p->session == c->session) {
        if (resume(p, c) == EG_OK)
            return;
        mesh_count(&p->mesh->broken_frames, 1);
        conn_close(c);
        peer_down(p);
    } else if (c->resumes) {
        conn_close(c); /* what it would go on with has ended meanwhile */
        dial_if_alone(p, MESH_REDIAL_MIN_MS);
    } else {
        peer_down(p);
        if (p->known && c->state == CONN_SHAKING)
            begin(p, c);
        else if (c->state == CONN_SHAKING)
            conn_close(c); /* it is forgotten, or released: nothing more may come of it */
    }
}

/* Nothing comes from it though it owes an acknowledgement; or what comes is none, as where a bit
 * that flipped makes it wait for a frame that is longer than what was sent. */
static bool is_stuck(struct peer *p) {
    uint64_t now_ms = mesh_now_ms(p->mesh), awaited = link_awaited(&p->link);

    if (awaited == 0 || awaited != p->awaited) {
        p->awaited = awaited;
        p->awaited_ms = now_ms;
    }
    return (link_pending_bytes(&p->link) > 0 && now_ms - p->heard_ms > MESH_SILENCE_MS) ||
           now_ms - p->awaited_ms > MESH_SILENCE_MS;
}

void peer_tick(struct peer *p) {
    if (p->conn == NULL || !is_stuck(p))
        return;
    mesh_log_stranger(p->mesh, p->info.name, "it does not answer, and is dialled again");
    conn_close(p->conn);
    peer_break(p);
}

/* ---- frames --------------------------------------------------------------------------- */

static void on_tell(struct timer *t) {
    struct peer *p = EG_CONTAINER_OF(t, struct peer, tell);

    p->must_tell = true;
    mesh_mark(p->mesh, p->slot);
}

static void broken_frame(struct peer *p) {
    mesh_count(&p->mesh->broken_frames, 1);
    mesh_log_stranger(p->mesh, p->info.name, "it broke the protocol between nodes");
    peer_down(p);
}

/* What was sent has not come as it was sent: let it be sent again, over another connection. */
static void spoiled(struct peer *p) {
    mesh_count(&p->mesh->broken_frames, 1);
    mesh_log_stranger(p->mesh, p->info.name, "what it sent was spoiled on its way");
    conn_close(p->conn);
    peer_break(p);
}

void peer_frame(struct conn *c, struct value v) {
    struct peer *p = c->peer;
    struct mesh *m = c->mesh;
    struct frame f;
    eg_err err = frame_parse(v, &f);

    p->heard_ms = mesh_now_ms(m);
    if (err == EG_CORRUPT) {
        spoiled(p);
        return;
    }
    if (err == EG_OK && f.acknowledged > 0)
        err = link_acknowledged(&p->link, f.acknowledged);
    if (err == EG_OK && f.sequence > 0) {
        err = link_receive(&p->link, f.sequence, v.size_bytes);
        if (err == EG_EXISTS)
            return;                     /* sent again, and handled before */
        scheduler_expect(m->scheduler); /* what follows from it */
        if (!timer_is_started(&p->tell))
            scheduler_timer_start(m->scheduler, &p->tell, MESH_ACKNOWLEDGE_MS, on_tell);
    }
    if (err != EG_OK)
        broken_frame(p);
    else if (f.channel != MESH_NOW || value_kind_of(f.payload) != VALUE_NIL)
        m->opts.events->on_payload(m->opts.user, p->info.id, f.channel, f.payload);
}

/* ---- handshakes -------------------------------------------------------------------------- */

static void joined(struct dialler *d, eg_err err, const char *text) {
    struct join *j = EG_CONTAINER_OF(d, struct join, dialler);
    struct mesh *m = d->mesh;
    char address[STREAM_ADDRESS_BYTES];

    memcpy(address, d->address, sizeof address);
    if (err == EG_OK || err == EG_BAD_REQUEST)
        join_free(j);
    if (m->opts.events->on_joined != NULL)
        m->opts.events->on_joined(m->opts.user, address, err, text);
}

static void refuse(struct conn *c, enum handshake_refusal why, const char *text) {
    mesh_count(&c->mesh->refused_handshakes, 1);
    peer_lost(c, EG_DENIED, why, text);
    conn_refuse(c, why, text);
}

static uint64_t fresh_session(struct mesh *m) {
    uint64_t session = env_random(m->opts.env);

    return session != 0 ? session : 1;
}

/* This attempt is not needed any more: the node is linked, or about to be. */
static void give_up(struct conn *c, bool linked) {
    struct dialler *d = c->dialler;

    conn_close(c);
    if (d == NULL)
        return;
    if (linked && d->peer == NULL)
        joined(d, EG_OK, "");
    else if (!linked)
        dialler_start(d, MESH_REDIAL_MIN_MS);
}

static bool is_self(const struct conn *c) {
    return c->shake.peer.id == c->mesh->self.id;
}

static void refuse_self(struct conn *c) {
    if (c->shake.peer.incarnation == c->mesh->self.incarnation)
        refuse(c, HANDSHAKE_IS_SELF, "this is the node itself");
    else
        refuse(c, HANDSHAKE_IS_UNWELCOME, "the node that was dialled has the same name");
}

/* We dialled, and somebody says who it is. */
void peer_met(struct conn *c) {
    struct mesh *m = c->mesh;
    struct peer *p = peer_find(m, c->shake.peer.id);
    struct handshake_attach attach = {.fresh = fresh_session(m), .credit_bytes = MESH_WINDOW_BYTES};
    uint8_t room[HANDSHAKE_BYTES_MAX];
    struct value_writer w = value_writer_init(room, sizeof room);

    EG_ASSERT(c->dialler != NULL);
    if (is_self(c)) {
        refuse_self(c);
        return;
    }
    if (c->dialler->peer != NULL && c->dialler->peer != p) {
        refuse(c, HANDSHAKE_IS_OTHER_NODE, "another node than was expected answers");
        return;
    }
    if (p != NULL && (p->conn != NULL || p->welcomed != NULL ||
                      (p->dialler.conn != NULL && p->dialler.conn != c))) {
        give_up(c, p->conn != NULL);
        return;
    }
    if (is_same_start(p, &c->shake.peer)) {
        attach.session = p->session;
        attach.received = p->link.received;
    }
    c->session = attach.fresh;
    if (handshake_prove(&c->shake, &attach, &w) != EG_OK) {
        refuse(c, HANDSHAKE_IS_TOO_MUCH, HANDSHAKE_NO_PROOF);
        return;
    }
    conn_say(c, &w, room);
}

/* May a node that has proved the cookie be linked?  False: it has been refused. */
static bool admit(struct conn *c, struct peer **out) {
    struct mesh *m = c->mesh;
    const struct node_info *info = &c->shake.peer;
    struct peer *p = peer_find(m, info->id);
    struct err_note note = {""};
    eg_err err = EG_OK;

    if (p != NULL && atomic_load(&p->up) && p->conn == NULL && !is_same_start(p, info))
        peer_down(p); /* an earlier start of it, which has broken off */
    if (!is_same_start(p, info))
        err = m->opts.events->may_link(m->opts.user, info, &note);
    if (c->state != CONN_SHAKING)
        return false;
    if (err != EG_OK) {
        refuse(c, HANDSHAKE_IS_UNWELCOME, note.text);
        return false;
    }
    err = peer_get(m, info, &p);
    if (err != EG_OK) {
        refuse(c, HANDSHAKE_IS_TOO_MUCH, "there are as many nodes as it can know");
        return false;
    }
    c->peer = *out = p;
    return true;
}

/* We accepted, and it has proved. */
void peer_asked(struct conn *c) {
    struct mesh *m = c->mesh;
    const struct node_info *info = &c->shake.peer;
    const struct handshake_attach *theirs = &c->shake.attach;
    struct handshake_attach ours = {.credit_bytes = MESH_WINDOW_BYTES};
    struct peer *p = peer_find(m, info->id);
    uint8_t room[HANDSHAKE_BYTES_MAX];
    struct value_writer w = value_writer_init(room, sizeof room);

    if (is_self(c)) {
        refuse_self(c);
        return;
    }
    if (p != NULL && p->dialler.conn != NULL && m->self.id < info->id &&
        p->dialler.conn->shake.state == HANDSHAKE_AT_PROVED) {
        conn_refuse(c, HANDSHAKE_IS_SECOND, "the other connection stays");
        return;
    }
    if (!admit(c, &p))
        return;
    c->resumes = is_same_start(p, info) && theirs->session == p->session;
    c->session = c->resumes ? p->session : theirs->fresh;
    ours.session = c->session;
    ours.received = c->resumes ? p->link.received : 0;
    if (p->welcomed != NULL)
        conn_close(p->welcomed);
    dialler_stop(&p->dialler);
    p->welcomed = c;
    if (handshake_welcome(&c->shake, &ours, &w) != EG_OK)
        refuse(c, HANDSHAKE_IS_TOO_MUCH, HANDSHAKE_NO_PROOF);
    else
        conn_say(c, &w, room);
}

/* We dialled, and it has proved too. */
void peer_welcomed(struct conn *c) {
    struct dialler *d = c->dialler;
    struct peer *p = peer_find(c->mesh, c->shake.peer.id);
    uint8_t room[HANDSHAKE_BYTES_MAX];
    struct value_writer w = value_writer_init(room, sizeof room);

    if (p != NULL && p->conn != NULL) {
        give_up(c, true); /* linked meanwhile */
        return;
    }
    if (!admit(c, &p))
        return;
    c->resumes = c->shake.attach.session != c->session;
    c->session = c->shake.attach.session;
    handshake_ready(&c->shake, &w);
    if (!conn_say(c, &w, room))
        return;
    if (p->welcomed != NULL)
        conn_close(p->welcomed);
    settle(c);
    if (d->peer != NULL)
        return;
    if (c->state == CONN_LINKED)
        joined(d, EG_OK, "");
    else
        dialler_start(d, 0);
}

/* We accepted, and it is ready. */
void peer_done(struct conn *c) {
    settle(c);
}

/* ---- lost connections -------------------------------------------------------------------- */

static void dial_lost(struct dialler *d, eg_err err, enum handshake_refusal refusal,
                      const char *text) {
    struct peer *p = d->peer;
    bool patient = err == EG_DENIED && refusal != HANDSHAKE_IS_SECOND;

    if (p == NULL) {
        if (refusal != HANDSHAKE_IS_SELF)
            dialler_start(d, 0);
        else
            err = EG_BAD_REQUEST;
        joined(d, err, text);
        return;
    }
    if (err == EG_CLOSED && atomic_load(&p->up) && p->conn == NULL && p->welcomed == NULL) {
        peer_down(p); /* it broke off, and nobody is there any more */
        return;
    }
    if (p->conn == NULL && p->welcomed == NULL && p->known)
        dialler_start(d, patient ? MESH_REFUSED_MS : 0);
}

void peer_lost(struct conn *c, eg_err err, enum handshake_refusal refusal, const char *text) {
    struct mesh *m = c->mesh;
    struct dialler *d = c->dialler;
    struct peer *p = c->peer;

    if (m->closing)
        return;
    if (err == EG_DENIED && refusal != HANDSHAKE_IS_SECOND)
        mesh_log_stranger(m, d != NULL ? d->address : c->shake.peer.name, text);
    if (p != NULL && p->welcomed == c) {
        p->welcomed = NULL;
        dial_if_alone(p, MESH_REDIAL_MIN_MS);
    }
    if (p != NULL && p->conn == c) {
        peer_break(p);
        return;
    }
    if (d == NULL)
        return;
    d->conn = NULL;
    c->dialler = NULL;
    dial_lost(d, err, refusal, text);
}

/* ---- dialling ------------------------------------------------------------------------------ */

void dialler_init(struct dialler *d, struct mesh *m, struct peer *p, const char *address) {
    *d = (struct dialler){.mesh = m, .peer = p};
    memcpy(d->address, address, strlen(address) + 1);
}

static void on_dial(struct timer *t) {
    struct dialler *d = EG_CONTAINER_OF(t, struct dialler, timer);
    struct err_note note = {""};
    eg_err err = EG_BAD_REQUEST;

    EG_ASSERT(d->conn == NULL);
    if (d->address[0] != '\0')
        err = conn_dial(d, &note);
    if (err == EG_OK)
        return;
    dialler_start(d, MESH_REFUSED_MS);
    if (d->peer == NULL && d->mesh->opts.events->on_joined != NULL)
        d->mesh->opts.events->on_joined(d->mesh->opts.user, d->address,
                                        err == EG_BAD_REQUEST ? EG_DENIED : err, note.text);
}

/* In so many milliseconds; 0: after a while that doubles each time, with chance in it, so that
 * those who were cut off together do not come back together. */
void dialler_start(struct dialler *d, uint64_t delay_ms) {
    struct mesh *m = d->mesh;

    if (delay_ms == 0) {
        d->delay_ms = EG_MAX((uint32_t) MESH_REDIAL_MIN_MS,
                             EG_MIN(2 * d->delay_ms, (uint32_t) MESH_REDIAL_MAX_MS));
        delay_ms = d->delay_ms / 2 + mesh_random_below(m, d->delay_ms / 2);
    }
    scheduler_timer_stop(m->scheduler, &d->timer);
    scheduler_timer_start(m->scheduler, &d->timer, delay_ms, on_dial);
}

void dialler_stop(struct dialler *d) {
    scheduler_timer_stop(d->mesh->scheduler, &d->timer);
    if (d->conn != NULL)
        conn_close(d->conn);
}

void join_free(struct join *j) {
    struct mesh *m = j->dialler.mesh;

    dialler_stop(&j->dialler);
    list_remove(&j->node);
    m->join_count--;
    alloc_put(m->opts.alloc, j, sizeof *j);
}
