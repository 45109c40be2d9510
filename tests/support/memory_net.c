/* memory_net.c -- streams as buffers between a test and the code under test. */
#include "tests/support/memory_net.h"

#include <stdio.h>
#include <string.h>

enum { BUFFER_BOUND = 1 << 30 };

struct memory_stream {
    struct stream base;
    struct memory_net *net;
    struct memory_client *client; /* NULL: hung up */
    bool reading, ended, closing;
    const uint8_t *writing; /* NULL: no write() is under way */
    size_t writing_bytes;
};

struct memory_listener {
    struct stream_listener base;
    struct memory_net *net;
    bool closing;
};

static struct memory_stream *stream_of(struct stream *s) {
    return EG_CONTAINER_OF(s, struct memory_stream, base);
}

static struct memory_net *net_of(struct stream_net *n) {
    return EG_CONTAINER_OF(n, struct memory_net, base);
}

/* ---- the code under test's side ----------------------------------------------- */

static eg_err net_listen(struct stream_net *n, const char *address, bool loopback_only,
                         const struct listener_events *events, void *user,
                         struct stream_listener **out, struct err_note *note) {
    struct memory_net *net = net_of(n);
    struct memory_listener *l = alloc_zero(net->alloc, sizeof *l);

    (void) loopback_only;
    if (l == NULL)
        return err_note(note, EG_MEMORY, "out of memory");
    l->base = (struct stream_listener){.ops = n->ops, .events = events, .user = user};
    snprintf(l->base.address, sizeof l->base.address, "%s", address);
    l->net = net;
    net->listener = l;
    *out = &l->base;
    return EG_OK;
}

static void listener_close(struct stream_listener *listener) {
    EG_CONTAINER_OF(listener, struct memory_listener, base)->closing = true;
}

static struct memory_client *client_numbered(struct memory_net *n, int number) {
    for (struct list_node *at = n->clients.next; at != &n->clients; at = at->next) {
        struct memory_client *c = EG_CONTAINER_OF(at, struct memory_client, node);
        if (c->number == number)
            return c;
    }
    return NULL;
}

static eg_err net_adopt(struct stream_net *n, struct stream_accepted accepted,
                        const struct stream_events *events, void *user, struct stream **out) {
    struct memory_net *net = net_of(n);
    struct memory_client *c = client_numbered(net, accepted.handle);
    struct memory_stream *s = alloc_zero(net->alloc, sizeof *s);

    EG_ASSERT(c != NULL && c->stream == NULL);
    if (s == NULL) {
        c->refused = true;
        return EG_MEMORY;
    }
    s->base = (struct stream){.ops = n->ops, .events = events, .user = user};
    s->net = net;
    s->client = c;
    c->stream = s;
    *out = &s->base;
    return EG_OK;
}

static void net_refuse(struct stream_net *n, struct stream_accepted accepted) {
    struct memory_client *c = client_numbered(net_of(n), accepted.handle);

    EG_ASSERT(c != NULL);
    c->refused = c->server_closed = true;
}

static eg_err stream_reads(struct stream *s) {
    stream_of(s)->reading = true;
    return stream_of(s)->client != NULL ? EG_OK : EG_CLOSED;
}

static void stream_stops(struct stream *s) {
    stream_of(s)->reading = false;
}

/* As much as the client's window takes. */
static size_t pass_on(struct memory_stream *s, const uint8_t *at, size_t size_bytes) {
    struct memory_client *c = s->client;
    size_t n = EG_MIN(size_bytes, c->window_bytes);

    EG_ASSERT(buffer_append(&c->received, at, n));
    if (c->window_bytes != SIZE_MAX)
        c->window_bytes -= n;
    return n;
}

static eg_err stream_tries(struct stream *stream, const uint8_t *at, size_t size_bytes,
                           size_t *written_bytes) {
    struct memory_stream *s = stream_of(stream);

    EG_ASSERT(s->writing == NULL && !s->closing);
    *written_bytes = 0;
    if (s->client == NULL || s->client->vanished)
        return EG_CLOSED;
    *written_bytes = pass_on(s, at, size_bytes);
    return EG_OK;
}

static eg_err stream_writes(struct stream *stream, const uint8_t *at, size_t size_bytes) {
    struct memory_stream *s = stream_of(stream);

    EG_ASSERT(s->writing == NULL && !s->closing && size_bytes > 0);
    if (s->client == NULL || s->client->vanished)
        return EG_CLOSED;
    s->writing = at;
    s->writing_bytes = size_bytes;
    return EG_OK;
}

static void stream_finishes(struct stream *s) {
    if (stream_of(s)->client != NULL)
        stream_of(s)->client->server_finished = true;
}

static void stream_closes(struct stream *s) {
    EG_ASSERT(!stream_of(s)->closing);
    stream_of(s)->closing = true;
}

static void net_turn(struct stream_net *n) {
    struct memory_net *net = net_of(n);

    memset(net->input, 0xc1, net->lent_bytes); /* whoever looks at it now is wrong */
    net->lent_bytes = 0;
}

static void net_close(struct stream_net *n) {
    (void) n; /* the test's own; memory_net_fini() looks */
}

/* ---- the test's side -------------------------------------------------------------- */

void memory_net_open(struct memory_net *n, struct alloc *a) {
    static const struct stream_ops ops = {
        .listen = net_listen,
        .listener_close = listener_close,
        .adopt = net_adopt,
        .refuse = net_refuse,
        .read_start = stream_reads,
        .read_stop = stream_stops,
        .try_write = stream_tries,
        .write = stream_writes,
        .finish = stream_finishes,
        .close = stream_closes,
        .net_turn = net_turn,
        .net_close = net_close,
    };
    n->base.ops = &ops;
    n->alloc = a;
    n->listener = NULL;
    n->lent_bytes = 0;
    n->accepted = 0;
    list_init(&n->clients);
}

void memory_net_fini(struct memory_net *n) {
    EG_ASSERT(n->listener == NULL);
    EG_ASSERT(list_is_empty(&n->clients));
}

struct memory_client *memory_dial(struct memory_net *n) {
    struct memory_client *c;

    if (n->listener == NULL || n->listener->closing)
        return NULL;
    c = alloc_zero(alloc_system(), sizeof *c);
    EG_ASSERT(c != NULL);
    c->net = n;
    c->number = (int) n->accepted++;
    c->window_bytes = SIZE_MAX;
    buffer_init(&c->sent, alloc_system(), BUFFER_BOUND);
    buffer_init(&c->received, alloc_system(), BUFFER_BOUND);
    list_push_back(&n->clients, &c->node);
    n->listener->base.events->on_accept(n->listener->base.user,
                                        (struct stream_accepted){.handle = c->number});
    return c;
}

void memory_send(struct memory_client *c, const void *at, size_t size_bytes) {
    EG_ASSERT(buffer_append(&c->sent, at, size_bytes));
}

void memory_half_close(struct memory_client *c) {
    c->half_closed = true;
}

void memory_vanish(struct memory_client *c) {
    c->vanished = true;
}

static void client_free(struct memory_client *c) {
    list_remove(&c->node);
    buffer_fini(&c->sent);
    buffer_fini(&c->received);
    alloc_put(alloc_system(), c, sizeof *c);
}

void memory_hang_up(struct memory_client *c) {
    c->vanished = c->hung_up = true;
    if (c->stream == NULL)
        client_free(c);
}

void *memory_user(struct memory_client *c) {
    return c->stream != NULL ? c->stream->base.user : NULL;
}

static bool deliver(struct memory_stream *s) {
    struct memory_client *c = s->client;
    struct memory_net *n = s->net;
    size_t room_bytes = STREAM_TURN_BYTES - n->lent_bytes;
    size_t size_bytes = EG_MIN(EG_MIN(c->sent.size_bytes, room_bytes), (size_t) STREAM_READ_BYTES);
    uint8_t *at = n->input + n->lent_bytes;

    if (c->piece_bytes != 0)
        size_bytes = EG_MIN(size_bytes, c->piece_bytes);
    if (size_bytes == 0)
        return false;
    memcpy(at, c->sent.at, size_bytes);
    memmove(c->sent.at, c->sent.at + size_bytes, c->sent.size_bytes - size_bytes);
    c->sent.size_bytes -= size_bytes;
    n->lent_bytes += size_bytes;
    s->base.events->on_bytes(&s->base, at, size_bytes);
    return true;
}

static bool stream_gone(struct memory_stream *s) {
    struct memory_client *c = s->client;

    s->base.events->on_closed(&s->base);
    if (c != NULL) {
        c->stream = NULL;
        c->server_finished = c->server_closed = true;
        if (c->hung_up)
            client_free(c);
    }
    alloc_put(s->net->alloc, s, sizeof *s);
    return true;
}

/* One step of one stream: its end, a write, a read, the other side's end. */
static bool step(struct memory_stream *s) {
    struct memory_client *c = s->client;
    size_t n;

    if (s->closing)
        return stream_gone(s);
    if (c->vanished && !s->ended) {
        s->ended = true;
        s->writing = NULL;
        s->base.events->on_end(&s->base, EG_CLOSED);
        return true;
    }
    if (s->writing != NULL && c->window_bytes > 0) {
        n = pass_on(s, s->writing, s->writing_bytes);
        s->writing += n;
        s->writing_bytes -= n;
        if (s->writing_bytes == 0) {
            s->writing = NULL;
            s->base.events->on_written(&s->base, EG_OK);
        }
        return true;
    }
    if (!s->reading || s->ended)
        return false;
    if (c->sent.size_bytes > 0)
        return deliver(s);
    if (!c->half_closed)
        return false;
    s->ended = true;
    s->base.events->on_end(&s->base, EG_OK);
    return true;
}

bool memory_net_move(struct memory_net *n) {
    struct memory_listener *l = n->listener;
    bool moved = false;

    for (struct list_node *at = n->clients.next, *next; at != &n->clients; at = next) {
        struct memory_client *c = EG_CONTAINER_OF(at, struct memory_client, node);
        next = at->next;
        if (c->stream != NULL)
            moved |= step(c->stream);
    }
    if (l != NULL && l->closing) {
        n->listener = NULL;
        l->base.events->on_closed(l->base.user);
        alloc_put(n->alloc, l, sizeof *l);
        moved = true;
    }
    return moved;
}
