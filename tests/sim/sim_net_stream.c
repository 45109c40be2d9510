/* sim_net_stream.c -- engine/stream.h on the simulated network.
 *
 * What happened to a side waits in its wire's list until the wire is polled: before a turn of
 * its scheduler, or by an event of the world where it has none.  A poll tells each side one
 * thing: so much happens between two that are next to each other in time. */
#include "tests/sim/sim_net_private.h"

#include "engine/address.h"
#include "engine/scheduler.h"

#include <string.h>

static struct wire *wire_of(struct stream_net *n) {
    return EG_CONTAINER_OF(n, struct wire, base);
}
static struct side *side_of(struct stream *s) {
    return EG_CONTAINER_OF(s, struct sim_stream, base)->side;
}

/* ---- being polled ----------------------------------------------------------------- */

static void on_turn(struct sim_event *e);

static void wire_wake(struct wire *w) {
    if (w->scheduled)
        sim_poll_wake(&w->poll);
    else if (w->turn.place == 0)
        sim_at(w->net->sim, &w->turn, sim_now_ns(w->net->sim), on_turn);
}

void sim_side_ready(struct side *s) {
    if (s->wire == NULL)
        return;
    if (list_is_empty(&s->ready))
        list_push_back(&s->wire->ready, &s->ready);
    wire_wake(s->wire);
}

void sim_door_ready(struct door *d) {
    wire_wake(d->wire);
}

static uint64_t hash_bytes(const uint8_t *at, size_t size_bytes) {
    uint64_t h = size_bytes, word;

    for (; size_bytes >= sizeof word; at += sizeof word, size_bytes -= sizeof word) {
        memcpy(&word, at, sizeof word);
        h = (h ^ word) * UINT64_C(0x9fb21c651e98df25);
        h ^= h >> 32;
    }
    for (; size_bytes > 0; at++, size_bytes--)
        h = (h ^ *at) * UINT64_C(0x100000001b3);
    return h;
}

/* A piece of what has come, or all of it.  False: there is no room in this turn. */
static bool tell_bytes(struct side *s) {
    struct wire *w = s->wire;
    struct sim_net *n = s->conn->net;
    size_t there_bytes = other_side(s)->out.arrived_bytes;
    size_t room_bytes = STREAM_TURN_BYTES - w->lent_bytes;
    size_t size_bytes = EG_MIN(EG_MIN(there_bytes, room_bytes), (size_t) STREAM_READ_BYTES);
    uint8_t *at = w->input + w->lent_bytes;

    if (size_bytes == 0) { /* net_turn() makes room */
        list_push_back(&w->ready, &s->ready);
        return false;
    }
    if (rng_one_in(&n->rng, 2))
        size_bytes = 1 + rng_below(&n->rng, size_bytes);
    sim_side_take(s, at, size_bytes);
    w->lent_bytes += size_bytes;
    sim_note(n->sim, (uint64_t) s->conn->number);
    sim_note(n->sim, hash_bytes(at, size_bytes));
    s->stream->base.events->on_bytes(&s->stream->base, at, size_bytes);
    return true;
}

static void tell_closed(struct side *s) {
    struct sim_stream *stream = s->stream;
    struct wire *w = s->wire;

    s->stream = NULL;
    s->wire = NULL;
    w->stream_count--;
    stream->base.events->on_closed(&stream->base);
    alloc_put(w->alloc, stream, sizeof *stream);
    sim_conn_settle(s->conn);
}

static void tell_end(struct side *s, eg_err err) {
    s->ended = true;
    s->stream->base.events->on_end(&s->stream->base, err);
}

static void tell_written(struct side *s, eg_err err) {
    s->writing = NULL;
    if (s->finishing)
        sim_side_send_end(s);
    s->stream->base.events->on_written(&s->stream->base, err);
}

/* Its write() goes on as there is room.  True: that was told. */
static bool write_on(struct side *s) {
    size_t part = EG_MIN(sim_side_room_bytes(s), s->writing_bytes);

    if (s->broken) {
        tell_written(s, EG_CLOSED);
        return true;
    }
    sim_side_send(s, s->writing, part);
    s->writing += part;
    s->writing_bytes -= part;
    if (s->writing_bytes > 0)
        return false;
    tell_written(s, EG_OK);
    return true;
}

static bool end_has_come(const struct side *s) {
    const struct way *w = &other_side((struct side *) s)->out;

    return w->oldest != NULL && w->oldest != w->flying && w->oldest->size_bytes == 0;
}

/* One thing.  True: there may be another. */
static bool tell(struct side *s) {
    if (s->closing) {
        tell_closed(s);
        return false;
    }
    if (s->connecting && (s->connected || s->broken)) {
        s->connecting = false;
        sim_cancel(s->conn->net->sim, &s->conn->dial);
        s->stream->base.events->on_connected(&s->stream->base, s->broken ? EG_CLOSED : EG_OK);
        return true;
    }
    if (s->connecting)
        return false;
    if (s->writing != NULL && write_on(s))
        return true;
    if (!s->reading || s->ended)
        return false;
    if (other_side(s)->out.arrived_bytes > 0 && !sim_side_draws_reset(s))
        return tell_bytes(s);
    if (s->broken) {
        tell_end(s, EG_CLOSED);
        return true;
    }
    if (!end_has_come(s))
        return false;
    tell_end(s, EG_OK);
    return true;
}

static void accept_all(struct door *d) {
    struct wire *w = d->wire;

    while (!d->closing && !list_is_empty(&d->pending)) {
        struct conn *c = EG_CONTAINER_OF(d->pending.next, struct conn, pending);

        list_remove(&c->pending);
        d->base.events->on_accept(d->base.user,
                                  (struct stream_accepted){.handle = (int) c->number, .tcp = true});
    }
    if (!d->closing)
        return;
    while (!list_is_empty(&d->pending)) {
        struct conn *c = EG_CONTAINER_OF(d->pending.next, struct conn, pending);

        list_remove(&c->pending);
        stream_refuse(&w->base, (struct stream_accepted){.handle = (int) c->number});
    }
    list_remove(&d->node);
    if (d->base.events->on_closed != NULL)
        d->base.events->on_closed(d->base.user);
    alloc_put(w->alloc, d, sizeof *d);
}

static void wire_poll(struct wire *w) {
    struct list_node now;

    for (struct list_node *at = w->doors.next, *next; at != &w->doors; at = next) {
        next = at->next;
        accept_all(EG_CONTAINER_OF(at, struct door, node));
    }
    list_init(&now);
    while (!list_is_empty(&w->ready)) {
        struct list_node *first = w->ready.next;
        list_remove(first);
        list_push_back(&now, first);
    }
    while (!list_is_empty(&now)) {
        struct side *s = EG_CONTAINER_OF(now.next, struct side, ready);

        list_remove(&s->ready);
        if (tell(s))
            sim_side_ready(s);
    }
}

static void net_turn(struct stream_net *net) {
    struct wire *w = wire_of(net);

    memset(w->input, 0xc1, w->lent_bytes); /* whoever looks at it now is wrong */
    w->lent_bytes = 0;
    if (!list_is_empty(&w->ready))
        wire_wake(w); /* there is room again */
}

static void on_poll(struct sim_poll *p) {
    wire_poll(EG_CONTAINER_OF(p, struct wire, poll));
}
static void on_turn(struct sim_event *e) {
    struct wire *w = EG_CONTAINER_OF(e, struct wire, turn);

    wire_poll(w);
    net_turn(&w->base);
}

/* ---- streams ----------------------------------------------------------------------- */

static eg_err read_start(struct stream *stream) {
    struct side *s = side_of(stream);

    EG_ASSERT(!s->closing && !s->connecting);
    s->reading = true;
    sim_side_ready(s);
    return EG_OK; /* of a broken one on_end() tells */
}

static void read_stop(struct stream *stream) {
    side_of(stream)->reading = false;
}

static eg_err try_write(struct stream *stream, const uint8_t *at, size_t size_bytes,
                        size_t *written_bytes) {
    struct side *s = side_of(stream);

    EG_ASSERT(s->writing == NULL && !s->closing && !s->finished);
    *written_bytes = 0;
    if (s->broken || (size_bytes > 0 && sim_side_draws_reset(s)))
        return EG_CLOSED;
    *written_bytes = EG_MIN(size_bytes, sim_side_room_bytes(s));
    sim_side_send(s, at, *written_bytes);
    return EG_OK;
}

static eg_err write_all(struct stream *stream, const uint8_t *at, size_t size_bytes) {
    struct side *s = side_of(stream);

    EG_ASSERT(s->writing == NULL && !s->closing && !s->finished && size_bytes > 0);
    if (s->broken || sim_side_draws_reset(s))
        return EG_CLOSED;
    s->writing = at;
    s->writing_bytes = size_bytes;
    sim_side_ready(s);
    return EG_OK;
}

static void finish(struct stream *stream) {
    struct side *s = side_of(stream);

    if (s->closing || s->connecting)
        return;
    if (s->writing != NULL)
        s->finishing = true; /* behind that */
    else
        sim_side_send_end(s);
}

/* As a kernel does: what was sent still arrives, unless something came that nobody has read. */
static void let_go(struct side *s) {
    if (s->connecting)
        sim_cancel(s->conn->net->sim, &s->conn->dial);
    s->writing = NULL;
    if (s->connecting || other_side(s)->out.arrived_bytes > 0) {
        sim_side_send_reset(s);
        sim_side_break(s);
    } else {
        sim_side_send_end(s);
    }
    s->connecting = s->waits = false;
}

static void close_stream(struct stream *stream) {
    struct side *s = side_of(stream);

    EG_ASSERT(!s->closing);
    s->closing = true;
    let_go(s);
    sim_side_ready(s);
}

/* ---- connecting, listening ------------------------------------------------------------ */

static struct sim_stream *stream_new(struct wire *w, struct side *s,
                                     const struct stream_events *events, void *user) {
    struct sim_stream *stream = alloc_zero(w->alloc, sizeof *stream);

    if (stream == NULL)
        return NULL;
    stream->base = (struct stream){.ops = w->base.ops, .events = events, .user = user};
    stream->side = s;
    s->stream = stream;
    s->wire = w;
    w->stream_count++;
    return stream;
}

static eg_err net_connect(struct stream_net *net, const char *text,
                          const struct stream_events *events, void *user, struct stream **out,
                          struct err_note *note) {
    struct wire *w = wire_of(net);
    struct address a;
    struct conn *c;
    eg_err err = address_parse(text, &a, note);

    if (err != EG_OK)
        return err;
    EG_ASSERT(!a.local);
    c = sim_conn_new(w->net, w->host, sim_net_host_named(w->net, a.host, w->host), a.port);
    if (stream_new(w, &c->side[0], events, user) == NULL) {
        c->side[0].connecting = false;
        sim_conn_settle(c);
        return EG_MEMORY;
    }
    sim_conn_dial(c);
    *out = &c->side[0].stream->base;
    return EG_OK;
}

static void net_refuse(struct stream_net *net, struct stream_accepted accepted) {
    struct conn *c = sim_conn_numbered(wire_of(net)->net, (uint32_t) accepted.handle);

    EG_ASSERT(c != NULL && c->side[1].waits);
    let_go(&c->side[1]);
    sim_conn_settle(c);
}

static eg_err net_adopt(struct stream_net *net, struct stream_accepted accepted,
                        const struct stream_events *events, void *user, struct stream **out) {
    struct wire *w = wire_of(net);
    struct conn *c = sim_conn_numbered(w->net, (uint32_t) accepted.handle);

    EG_ASSERT(c != NULL && c->side[1].waits && c->side[1].host == w->host);
    if (stream_new(w, &c->side[1], events, user) == NULL) {
        net_refuse(net, accepted);
        return EG_MEMORY;
    }
    c->side[1].waits = false;
    *out = &c->side[1].stream->base;
    return EG_OK;
}

static bool is_bound(const struct wire *w, uint16_t port) {
    for (const struct list_node *at = w->net->wires.next; at != &w->net->wires; at = at->next) {
        const struct wire *other = EG_CONTAINER_OF(at, struct wire, node);

        for (const struct list_node *d = other->doors.next; d != &other->doors; d = d->next)
            if (other->host == w->host && EG_CONTAINER_OF(d, struct door, node)->port == port)
                return true;
    }
    return false;
}

static eg_err net_listen(struct stream_net *net, const char *text, bool loopback_only,
                         const struct listener_events *events, void *user,
                         struct stream_listener **out, struct err_note *note) {
    struct wire *w = wire_of(net);
    struct address a;
    struct door *d;
    eg_err err = address_parse(text, &a, note);

    if (err != EG_OK)
        return err;
    if (a.local || sim_net_host_named(w->net, a.host, w->host) != w->host || is_bound(w, a.port))
        return err_note(note, EG_DISC, "%s: cannot listen", text);
    if (loopback_only && strcmp(a.host, "127.0.0.1") != 0)
        return err_note(note, EG_DENIED, "%s: only loopback addresses may be bound", text);
    d = alloc_zero(w->alloc, sizeof *d);
    if (d == NULL)
        return err_note(note, EG_MEMORY, "%s: out of memory", text);
    d->base = (struct stream_listener){.ops = net->ops, .events = events, .user = user};
    d->wire = w;
    d->port = a.port != 0 ? a.port : w->net->port++;
    snprintf(d->base.address, sizeof d->base.address, "%s:%u", a.host, (unsigned) d->port);
    list_init(&d->pending);
    list_push_back(&w->doors, &d->node);
    *out = &d->base;
    return EG_OK;
}

static void listener_close(struct stream_listener *l) {
    struct door *d = EG_CONTAINER_OF(l, struct door, base);

    EG_ASSERT(!d->closing);
    d->closing = true;
    sim_door_ready(d);
}

/* ---- the net --------------------------------------------------------------------------- */

void sim_wire_forget(struct wire *w) {
    list_remove(&w->node);
    if (w->scheduled)
        sim_poll_remove(&w->poll);
    sim_cancel(w->net->sim, &w->turn);
}

static void net_close(struct stream_net *net) {
    struct wire *w = wire_of(net);

    EG_ASSERT(w->stream_count == 0);
    EG_ASSERT(list_is_empty(&w->doors));
    sim_wire_forget(w);
    alloc_put(w->alloc, w, sizeof *w);
}

static struct wire *wire_new(struct sim_net *n, struct alloc *a, uint32_t host) {
    static const struct stream_ops ops = {
        .listen = net_listen,
        .listener_close = listener_close,
        .adopt = net_adopt,
        .refuse = net_refuse,
        .connect = net_connect,
        .read_start = read_start,
        .read_stop = read_stop,
        .try_write = try_write,
        .write = write_all,
        .finish = finish,
        .close = close_stream,
        .net_turn = net_turn,
        .net_close = net_close,
    };
    struct wire *w = alloc_get(a, sizeof *w);

    if (w == NULL)
        return NULL;
    memset(w, 0, offsetof(struct wire, input));
    w->base.ops = &ops;
    w->net = n;
    w->alloc = a;
    w->host = host;
    list_init(&w->ready);
    list_init(&w->doors);
    list_push_back(&n->wires, &w->node);
    if (!n->host[host].powered) {
        n->host[host].powered = true;
        sim_net_changed(n);
    }
    return w;
}

eg_err sim_net_stream(struct stream_net **out, struct alloc *a, struct scheduler *s) {
    struct env *env = runtime_env(scheduler_runtime(s));
    struct sim_net *n = sim_user(sim_of_env(env));
    struct wire *w;
    uint32_t host = 0;

    while (host < n->host_count && n->host[host].env != env)
        host++;
    EG_ASSERT(host < n->host_count);
    w = wire_new(n, a, host);
    if (w == NULL)
        return EG_MEMORY;
    w->scheduled = true;
    sim_poll_add(n->sim, s, &w->poll, on_poll);
    *out = &w->base;
    return EG_OK;
}

struct stream_net *sim_net_stream_on(struct sim_net *n, struct alloc *a, uint32_t host) {
    struct wire *w = wire_new(n, a, host);

    EG_ASSERT(w != NULL);
    return &w->base;
}
