/* wire_net.c -- connections as two ends with a buffer before each. */
#include "tests/support/wire_net.h"

#include <stdio.h>
#include <string.h>

enum { BUFFER_BOUND = 1 << 30 };

struct wire_net {
    struct stream_net base;
    struct wire *wire;
    struct alloc *alloc;
    struct scheduler *scheduler;
    struct turn_hook hook;
    uint32_t handle_count;
    size_t lent_bytes;
    uint8_t input[STREAM_TURN_BYTES];
};

struct wire_stream {
    struct stream base;
    struct list_node node; /* of the wire */
    struct wire *wire;
    struct wire_net *net;      /* NULL: not adopted yet, or a client by hand */
    struct wire_stream *other; /* NULL: gone */
    int handle;                /* 0: adopted */
    char address[STREAM_ADDRESS_BYTES];
    struct buffer incoming;
    size_t gone_bytes; /* of it, delivered already */
    bool connecting, reading, half_closed, reset, ended, closing, by_hand;
    const uint8_t *writing;
    size_t writing_bytes;
};

struct wire_listener {
    struct stream_listener base;
    struct list_node node;
    struct wire_net *net; /* NULL: by hand */
    struct wire *wire;
    struct wire_stream *waiting[16];
    uint32_t waiting_count;
    bool closing;
};

static struct wire *the_wire; /* of the test that runs */

static struct wire_stream *stream_of(struct stream *s) {
    return EG_CONTAINER_OF(s, struct wire_stream, base);
}

static struct wire_net *net_of(struct stream_net *n) {
    return EG_CONTAINER_OF(n, struct wire_net, base);
}

static struct wire_listener *listener_at(struct wire *w, const char *address) {
    for (struct list_node *n = w->listeners.next; n != &w->listeners; n = n->next) {
        struct wire_listener *l = EG_CONTAINER_OF(n, struct wire_listener, node);
        if (!l->closing && strcmp(l->base.address, address) == 0)
            return l;
    }
    return NULL;
}

static struct wire_stream *stream_new(struct wire *w, struct wire_net *net) {
    struct wire_stream *s = alloc_zero(net != NULL ? net->alloc : alloc_system(), sizeof *s);

    if (s == NULL)
        return NULL;
    s->wire = w;
    s->net = net;
    buffer_init(&s->incoming, alloc_system(), BUFFER_BOUND);
    list_push_back(&w->streams, &s->node);
    return s;
}

/* The other end notices; what is on its way to this one is lost. */
static void part(struct wire_stream *s, bool reset) {
    if (s->other == NULL)
        return;
    s->other->reset |= reset;
    s->other->half_closed = true;
    s->other->other = NULL;
    s->other = NULL;
}

static void stream_free(struct wire_stream *s, struct alloc *a) {
    part(s, false);
    list_remove(&s->node);
    buffer_fini(&s->incoming);
    alloc_put(a, s, sizeof *s);
}

static size_t left_bytes(const struct wire_stream *s) {
    return s->incoming.size_bytes - s->gone_bytes;
}

static void close_up(struct wire_stream *s) {
    if (s->gone_bytes == 0)
        return;
    memmove(s->incoming.at, s->incoming.at + s->gone_bytes, left_bytes(s));
    s->incoming.size_bytes -= s->gone_bytes;
    s->gone_bytes = 0;
}

static void reset(struct wire_stream *s) {
    if (s->other != NULL) {
        if (rng_below(&s->wire->rng, 2) == 0)
            s->other->incoming.size_bytes =
                s->other->gone_bytes + rng_below(&s->wire->rng, left_bytes(s->other) + 1);
        part(s, true);
    }
    s->reset = s->half_closed = true;
}

/* ---- the code under test's side ----------------------------------------------- */

static eg_err net_listen(struct stream_net *n, const char *address, bool loopback_only,
                         const struct listener_events *events, void *user,
                         struct stream_listener **out, struct err_note *note) {
    struct wire_net *net = net_of(n);
    struct wire_listener *l;

    if (loopback_only && strncmp(address, "any", 3) == 0)
        return err_note(note, EG_DENIED, "%s: only loopback", address);
    if (listener_at(net->wire, address) != NULL)
        return err_note(note, EG_DISC, "%s: in use", address);
    l = alloc_zero(net->alloc, sizeof *l);
    if (l == NULL)
        return err_note(note, EG_MEMORY, "out of memory");
    l->base = (struct stream_listener){.ops = n->ops, .events = events, .user = user};
    snprintf(l->base.address, sizeof l->base.address, "%s", address);
    l->net = net;
    l->wire = net->wire;
    list_push_back(&net->wire->listeners, &l->node);
    net->handle_count++;
    *out = &l->base;
    return EG_OK;
}

static void listener_close(struct stream_listener *listener) {
    EG_CONTAINER_OF(listener, struct wire_listener, base)->closing = true;
}

static struct wire_stream *waiting(struct wire *w, int handle) {
    for (struct list_node *n = w->streams.next; n != &w->streams; n = n->next) {
        struct wire_stream *s = EG_CONTAINER_OF(n, struct wire_stream, node);
        if (s->handle == handle)
            return s;
    }
    return NULL;
}

/* An end that was waiting moves to the memory of its net. */
static eg_err net_adopt(struct stream_net *n, struct stream_accepted accepted,
                        const struct stream_events *events, void *user, struct stream **out) {
    struct wire_net *net = net_of(n);
    struct wire_stream *waited = waiting(net->wire, accepted.handle);
    struct wire_stream *s = stream_new(net->wire, net);

    EG_ASSERT(waited != NULL);
    if (s == NULL) {
        stream_free(waited, alloc_system());
        return EG_MEMORY;
    }
    s->base = (struct stream){.ops = n->ops, .events = events, .user = user};
    s->other = waited->other;
    if (s->other != NULL)
        s->other->other = s;
    s->half_closed = waited->half_closed;
    s->reset = waited->reset;
    s->incoming = waited->incoming;
    s->gone_bytes = waited->gone_bytes;
    waited->incoming.at = NULL;
    waited->incoming.room_bytes = 0;
    waited->other = NULL;
    stream_free(waited, alloc_system());
    net->handle_count++;
    *out = &s->base;
    return EG_OK;
}

static void net_refuse(struct stream_net *n, struct stream_accepted accepted) {
    struct wire_stream *s = waiting(net_of(n)->wire, accepted.handle);

    EG_ASSERT(s != NULL);
    stream_free(s, alloc_system());
}

static eg_err net_connect(struct stream_net *n, const char *address,
                          const struct stream_events *events, void *user, struct stream **out,
                          struct err_note *note) {
    struct wire_net *net = net_of(n);
    struct wire_stream *s;

    if (address[0] == '?')
        return err_note(note, EG_BAD_REQUEST, "%s is no address", address);
    s = stream_new(net->wire, net);
    if (s == NULL)
        return EG_MEMORY;
    s->base = (struct stream){.ops = n->ops, .events = events, .user = user};
    s->connecting = true;
    snprintf(s->address, sizeof s->address, "%s", address);
    net->handle_count++;
    *out = &s->base;
    return EG_OK;
}

static eg_err stream_reads(struct stream *s) {
    stream_of(s)->reading = true;
    return EG_OK;
}

static void stream_stops(struct stream *s) {
    stream_of(s)->reading = false;
}

static size_t pass_on(struct wire_stream *s, const uint8_t *at, size_t size_bytes) {
    struct buffer *to = &s->other->incoming;
    size_t room_bytes = s->wire->window_bytes - EG_MIN(s->wire->window_bytes, to->size_bytes);
    size_t n = EG_MIN(size_bytes, room_bytes);

    EG_ASSERT(buffer_append(to, at, n));
    s->wire->carried_bytes += n;
    return n;
}

static eg_err stream_tries(struct stream *stream, const uint8_t *at, size_t size_bytes,
                           size_t *written_bytes) {
    struct wire_stream *s = stream_of(stream);

    EG_ASSERT(s->writing == NULL && !s->closing && !s->connecting);
    *written_bytes = 0;
    if (s->other == NULL)
        return EG_CLOSED;
    *written_bytes = pass_on(s, at, size_bytes);
    return EG_OK;
}

static eg_err stream_writes(struct stream *stream, const uint8_t *at, size_t size_bytes) {
    struct wire_stream *s = stream_of(stream);

    EG_ASSERT(s->writing == NULL && !s->closing && size_bytes > 0);
    if (s->other == NULL)
        return EG_CLOSED;
    s->writing = at;
    s->writing_bytes = size_bytes;
    return EG_OK;
}

static void stream_finishes(struct stream *s) {
    if (stream_of(s)->other != NULL)
        stream_of(s)->other->half_closed = true;
}

static void stream_closes(struct stream *s) {
    EG_ASSERT(!stream_of(s)->closing);
    stream_of(s)->closing = true;
}

static void net_turn(struct stream_net *n) {
    struct wire_net *net = net_of(n);

    memset(net->input, 0xc1, net->lent_bytes); /* whoever looks at it now is wrong */
    net->lent_bytes = 0;
}

static void net_close(struct stream_net *n) {
    struct wire_net *net = net_of(n);

    EG_ASSERT(net->handle_count == 0);
    scheduler_remove_hook(net->scheduler, &net->hook);
    alloc_put(net->alloc, net, sizeof *net);
}

/* ---- moving ------------------------------------------------------------------------ */

static void connect_now(struct wire_stream *s) {
    struct wire *w = s->wire;
    struct wire_listener *l = w->refuses ? NULL : listener_at(w, s->address);
    struct wire_stream *end;

    s->connecting = false;
    if (l == NULL || l->waiting_count == EG_COUNTOF(l->waiting)) {
        s->base.events->on_connected(&s->base, EG_CLOSED);
        return;
    }
    end = stream_new(w, NULL);
    EG_ASSERT(end != NULL);
    end->handle = ++w->last_handle;
    end->other = s;
    s->other = end;
    l->waiting[l->waiting_count++] = end;
    s->base.events->on_connected(&s->base, EG_OK);
}

/* The first length of 16 bits in it gains its highest bit. */
static void lengthen(struct wire *w, uint8_t *at, size_t size_bytes) {
    for (size_t i = 0; w->flips_next && i + 2 < size_bytes; i++) {
        if (at[i] == 0xc5 && at[i + 1] < 0x80) {
            at[i + 1] |= 0x80;
            w->flips_next = false;
        }
    }
}

static bool deliver(struct wire_stream *s) {
    struct wire_net *n = s->net;
    struct wire *w = s->wire;
    size_t bytes = EG_MIN(EG_MIN(left_bytes(s), STREAM_TURN_BYTES - n->lent_bytes),
                          (size_t) STREAM_READ_BYTES);
    uint8_t *at = n->input + n->lent_bytes;

    if (bytes == 0)
        return false;
    if (rng_below(&w->rng, 100000) < w->reset_in_100000) {
        reset(s);
        return true;
    }
    if (w->piece_bytes != 0) {
        size_t piece_bytes = 1 + rng_below(&w->rng, w->piece_bytes);
        bytes = EG_MIN(bytes, piece_bytes);
    }
    memcpy(at, s->incoming.at + s->gone_bytes, bytes);
    s->gone_bytes += bytes;
    if (s->gone_bytes * 2 > s->incoming.size_bytes)
        close_up(s);
    if (rng_below(&w->rng, 100000) < w->flip_in_100000)
        at[rng_below(&w->rng, bytes)] ^= (uint8_t) (1u << rng_below(&w->rng, 8));
    lengthen(w, at, bytes);
    n->lent_bytes += bytes;
    s->base.events->on_bytes(&s->base, at, bytes);
    return true;
}

/* One step of one stream.  False: nothing to do. */
static bool step(struct wire_stream *s) {
    if (s->closing) {
        struct wire_net *net = s->net;
        s->base.events->on_closed(&s->base);
        net->handle_count--;
        stream_free(s, net->alloc);
        return true;
    }
    if (s->connecting) {
        if (s->wire->silent)
            return false;
        connect_now(s);
        return true;
    }
    if (s->writing != NULL && s->other != NULL) {
        size_t n = pass_on(s, s->writing, s->writing_bytes);
        s->writing += n;
        s->writing_bytes -= n;
        if (s->writing_bytes == 0) {
            s->writing = NULL;
            s->base.events->on_written(&s->base, EG_OK);
        }
        if (n > 0)
            return true;
    }
    if (s->ended)
        return false;
    if (s->reset) {
        s->ended = true;
        s->base.events->on_end(&s->base, EG_CLOSED);
        return true;
    }
    if (!s->reading)
        return false;
    if (left_bytes(s) > 0)
        return deliver(s);
    if (!s->half_closed)
        return false;
    s->ended = true;
    s->base.events->on_end(&s->base, EG_OK);
    return true;
}

static bool accept_waiting(struct wire_listener *l) {
    bool any = l->waiting_count > 0;

    for (uint32_t i = 0; i < l->waiting_count; i++)
        l->base.events->on_accept(l->base.user,
                                  (struct stream_accepted){.handle = l->waiting[i]->handle});
    l->waiting_count = 0;
    return any;
}

static void listener_gone(struct wire_listener *l) {
    struct wire_net *net = l->net;

    for (uint32_t i = 0; i < l->waiting_count; i++)
        stream_free(l->waiting[i], alloc_system());
    list_remove(&l->node);
    l->base.events->on_closed(l->base.user);
    net->handle_count--;
    alloc_put(net->alloc, l, sizeof *l);
}

static bool move(struct turn_hook *h) {
    struct wire_net *net = EG_CONTAINER_OF(h, struct wire_net, hook);
    struct wire *w = net->wire;
    bool moved = false;

    for (struct list_node *n = w->streams.next, *next; n != &w->streams; n = next) {
        struct wire_stream *s = EG_CONTAINER_OF(n, struct wire_stream, node);
        next = n->next;
        if (s->net == net)
            moved |= step(s);
    }
    for (struct list_node *n = w->listeners.next, *next; n != &w->listeners; n = next) {
        struct wire_listener *l = EG_CONTAINER_OF(n, struct wire_listener, node);
        next = n->next;
        if (l->net == net)
            moved |= l->closing ? (listener_gone(l), true) : accept_waiting(l);
    }
    return moved;
}

/* ---- the test's side ------------------------------------------------------------------ */

void wire_open(struct wire *w, uint64_t seed) {
    *w = (struct wire){.rng = rng_of(seed), .window_bytes = 1 << 18};
    list_init(&w->listeners);
    list_init(&w->streams);
    the_wire = w;
}

void wire_close(struct wire *w) {
    EG_ASSERT(list_is_empty(&w->listeners));
    EG_ASSERT(list_is_empty(&w->streams));
}

eg_err wire_net_of(struct stream_net **out, struct alloc *a, struct scheduler *s) {
    static const struct stream_ops ops = {
        .listen = net_listen,
        .listener_close = listener_close,
        .adopt = net_adopt,
        .refuse = net_refuse,
        .connect = net_connect,
        .read_start = stream_reads,
        .read_stop = stream_stops,
        .try_write = stream_tries,
        .write = stream_writes,
        .finish = stream_finishes,
        .close = stream_closes,
        .net_turn = net_turn,
        .net_close = net_close,
    };
    struct wire_net *n = alloc_zero(a, sizeof *n);

    if (n == NULL)
        return EG_MEMORY;
    n->base.ops = &ops;
    n->wire = the_wire;
    n->alloc = a;
    n->scheduler = s;
    n->hook.run = move;
    scheduler_add_hook(s, &n->hook);
    *out = &n->base;
    return EG_OK;
}

void wire_reset_all(struct wire *w) {
    for (struct list_node *n = w->streams.next; n != &w->streams; n = n->next) {
        struct wire_stream *s = EG_CONTAINER_OF(n, struct wire_stream, node);
        if (!s->closing && !s->connecting)
            reset(s);
    }
}

struct wire_stream *wire_dial(struct wire *w, const char *address) {
    struct wire_listener *l = listener_at(w, address);
    struct wire_stream *s, *end;

    if (l == NULL || l->waiting_count == EG_COUNTOF(l->waiting))
        return NULL;
    s = stream_new(w, NULL);
    end = stream_new(w, NULL);
    EG_ASSERT(s != NULL && end != NULL);
    s->by_hand = true;
    end->handle = ++w->last_handle;
    end->other = s;
    s->other = end;
    l->waiting[l->waiting_count++] = end;
    return s;
}

void wire_say(struct wire_stream *s, const void *at, size_t size_bytes) {
    if (s->other != NULL)
        EG_ASSERT(buffer_append(&s->other->incoming, at, size_bytes));
}

struct buffer *wire_heard(struct wire_stream *s) {
    close_up(s);
    return &s->incoming;
}

bool wire_is_ended(const struct wire_stream *s) {
    return s->other == NULL || s->half_closed || s->reset;
}

void wire_half_close(struct wire_stream *s) {
    if (s->other != NULL)
        s->other->half_closed = true;
}

void wire_hang_up(struct wire_stream *s) {
    part(s, true);
    stream_free(s, alloc_system());
}

struct wire_listener *wire_listen(struct wire *w, const char *address) {
    struct wire_listener *l = alloc_zero(alloc_system(), sizeof *l);

    EG_ASSERT(l != NULL && listener_at(w, address) == NULL);
    snprintf(l->base.address, sizeof l->base.address, "%s", address);
    l->wire = w;
    list_push_back(&w->listeners, &l->node);
    return l;
}

struct wire_stream *wire_accept(struct wire_listener *l) {
    struct wire_stream *s;

    if (l->waiting_count == 0)
        return NULL;
    s = l->waiting[--l->waiting_count];
    s->handle = 0;
    s->by_hand = true;
    return s;
}

void wire_listener_close(struct wire_listener *l) {
    for (uint32_t i = 0; i < l->waiting_count; i++)
        stream_free(l->waiting[i], alloc_system());
    list_remove(&l->node);
    alloc_put(alloc_system(), l, sizeof *l);
}
