/* client.c -- sockets with a deadline, frames in and out of two buffers. */
#include "tools/client.h"

#include "engine/address.h"
#include "engine/buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    READ_BYTES = 64 * 1024,        /* asked of the kernel at once                    */
    FLUSH_BYTES = 64 * 1024,       /* queued before a send blocks                    */
    HEADER_BYTES = 32,             /* a request's array, type, id and method's header */
    ANSWER_BYTES_MAX = 1024 << 20, /* largest answer; whole tables come in one       */
};

struct client {
    struct alloc *alloc;
    int fd;
    int timeout_ms;
    uint32_t last_id;
    struct buffer out;
    struct buffer in;
    size_t start; /* of `in`: where the next answer begins */
};

/* ---- connecting ---------------------------------------------------------- */

/* Wait until the socket is ready for `events`. */
static eg_err wait_for(const struct client *c, short events, struct err_note *note) {
    struct pollfd p = {.fd = c->fd, .events = events};
    int ready;

    do
        ready = poll(&p, 1, c->timeout_ms);
    while (ready < 0 && errno == EINTR);
    if (ready == 0)
        return err_note(note, EG_TIMEOUT, "no answer within %d ms", c->timeout_ms);
    return ready < 0 ? err_note(note, EG_CLOSED, "poll: %s", strerror(errno)) : EG_OK;
}

/* A connected non-blocking socket in c->fd, or an errno and no socket. */
static int socket_connect(struct client *c, int family, const struct sockaddr *to,
                          socklen_t bytes) {
    int failure = 0;
    socklen_t size = sizeof failure;

    c->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        return errno;
    if (connect(c->fd, to, bytes) != 0) {
        if (errno != EINPROGRESS)
            failure = errno;
        else if (wait_for(c, POLLOUT, NULL) != EG_OK)
            failure = ETIMEDOUT;
        else if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &failure, &size) != 0)
            failure = errno;
    }
    if (failure != 0) {
        close(c->fd);
        c->fd = -1;
    }
    return failure;
}

static int connect_unix(struct client *c, const char *path) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};

    memcpy(to.sun_path, path, strlen(path) + 1); /* address_parse() has measured it */
    return socket_connect(c, AF_UNIX, (struct sockaddr *) &to, sizeof to);
}

static int connect_tcp(struct client *c, const struct address *to, const char **why) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    char port[8];
    int failure, one = 1;

    snprintf(port, sizeof port, "%u", (unsigned) to->port);
    failure = getaddrinfo(to->host, port, &hints, &found);
    if (failure != 0) {
        *why = gai_strerror(failure);
        return EINVAL;
    }
    failure = ECONNREFUSED;
    for (struct addrinfo *a = found; a != NULL && failure != 0; a = a->ai_next)
        failure = socket_connect(c, a->ai_family, a->ai_addr, a->ai_addrlen);
    freeaddrinfo(found);
    if (failure == 0) /* a request is written whole: nothing to wait for */
        (void) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return failure;
}

eg_err client_open(struct client **out, struct alloc *a, const char *address, int timeout_ms,
                   struct err_note *note) {
    struct client *c;
    struct address to;
    const char *why = NULL;
    int failure;

    if (address_parse(address, &to, note) != EG_OK) {
        err_note_prefix(note, "cannot connect to");
        return EG_CLOSED;
    }
    c = alloc_zero(a, sizeof *c);
    if (c == NULL)
        return err_note(note, EG_MEMORY, "out of memory");
    c->alloc = a;
    c->timeout_ms = timeout_ms;
    buffer_init(&c->out, a, ANSWER_BYTES_MAX);
    buffer_init(&c->in, a, ANSWER_BYTES_MAX);
    if (to.local)
        failure = connect_unix(c, to.path);
    else
        failure = connect_tcp(c, &to, &why);
    if (failure != 0) {
        alloc_put(a, c, sizeof *c);
        return err_note(note, EG_CLOSED, "cannot connect to %s: %s", address,
                        why != NULL ? why : strerror(failure));
    }
    *out = c;
    return EG_OK;
}

void client_close(struct client *c) {
    close(c->fd);
    buffer_fini(&c->out);
    buffer_fini(&c->in);
    alloc_put(c->alloc, c, sizeof *c);
}

/* ---- bytes --------------------------------------------------------------- */

/* Read what is there, at least one byte of it. */
static eg_err fill(struct client *c, struct err_note *note) {
    uint8_t *room;
    ssize_t got;
    eg_err err;

    if (c->start > 0) {
        c->in.size_bytes -= c->start;
        memmove(c->in.at, c->in.at + c->start, c->in.size_bytes);
        c->start = 0;
    }
    room = buffer_room(&c->in, READ_BYTES);
    if (room == NULL)
        return err_note(note, EG_MEMORY, "the answer is too large");
    while ((got = recv(c->fd, room, READ_BYTES, 0)) < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            err = wait_for(c, POLLIN, note);
            if (err != EG_OK)
                return err;
        } else if (errno != EINTR) {
            return err_note(note, EG_CLOSED, "connection lost: %s", strerror(errno));
        }
    }
    if (got == 0)
        return err_note(note, EG_CLOSED, "the node closed the connection");
    c->in.size_bytes += (size_t) got;
    return EG_OK;
}

/* Send all that is queued, and go on reading meanwhile: a node that waits for us to
 * take its answers would else wait for ever. */
static eg_err flush(struct client *c, struct err_note *note) {
    size_t sent = 0;

    while (sent < c->out.size_bytes) {
        ssize_t n = send(c->fd, c->out.at + sent, c->out.size_bytes - sent, MSG_NOSIGNAL);
        struct pollfd p = {.fd = c->fd, .events = POLLIN | POLLOUT};
        eg_err err = EG_OK;

        if (n >= 0) {
            sent += (size_t) n;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            return err_note(note, EG_CLOSED, "connection lost: %s", strerror(errno));
        if (poll(&p, 1, c->timeout_ms) == 0)
            return err_note(note, EG_TIMEOUT, "nothing taken within %d ms", c->timeout_ms);
        if (p.revents & POLLIN)
            err = fill(c, note);
        if (err != EG_OK)
            return err;
    }
    buffer_clear(&c->out);
    return EG_OK;
}

/* ---- frames -------------------------------------------------------------- */

eg_err client_send(struct client *c, const char *method, struct value params, uint32_t *id,
                   struct err_note *note) {
    size_t need = HEADER_BYTES + strlen(method) + params.size_bytes;
    uint8_t *room;
    struct value_writer w;

    if (c->out.size_bytes >= FLUSH_BYTES) {
        eg_err err = flush(c, note);
        if (err != EG_OK)
            return err;
    }
    room = buffer_room(&c->out, need);
    if (room == NULL)
        return err_note(note, EG_MEMORY, "the request is too large");
    w = value_writer_init(room, need);
    value_put_array(&w, 4);
    value_put_u64(&w, 0);
    value_put_u64(&w, *id = ++c->last_id);
    value_put_text(&w, method);
    value_put_raw(&w, params);
    EG_ASSERT(!w.overflow);
    c->out.size_bytes += (size_t) (w.at - room);
    return EG_OK;
}

/* Take `frame` apart: [1, id, error, result].  Anything else is foreign. */
static eg_err reply_parse(struct value frame, struct client_reply *reply, struct err_note *note) {
    struct value_iter it;
    struct value part[4];
    uint64_t type, id;

    if (value_kind_of(frame) != VALUE_ARRAY || value_count(frame) != 4)
        return err_note(note, EG_BAD_REQUEST, "the other side does not speak MessagePack-RPC");
    it = value_iter_of(frame);
    for (int i = 0; i < 4; i++)
        EG_ASSERT(value_iter_next(&it, &part[i]));
    if (!value_get_u64(part[0], &type) || type != 1 || !value_get_u64(part[1], &id) ||
        id > UINT32_MAX)
        return err_note(note, EG_BAD_REQUEST, "the other side does not speak MessagePack-RPC");
    reply->id = (uint32_t) id;
    reply->refused = value_kind_of(part[2]) != VALUE_NIL;
    reply->error = part[2];
    reply->result = part[3];
    return EG_OK;
}

/* Take the next frame from what has been read.  EG_AGAIN: more must come. */
static eg_err next_frame(struct client *c, struct value_scanner *scanner, struct value *frame,
                         struct err_note *note) {
    size_t there_bytes = c->in.size_bytes - c->start;
    eg_err err = EG_AGAIN;

    if (there_bytes > 0)
        err = value_scanner_run(scanner, c->in.at + c->start, there_bytes);
    if (err == EG_OK) {
        *frame = (struct value){c->in.at + c->start, (uint32_t) scanner->next_bytes};
        c->start += scanner->next_bytes;
    }
    return err == EG_OK || err == EG_AGAIN
               ? err
               : err_note(note, err, "the other side does not speak MessagePack-RPC");
}

eg_err client_receive(struct client *c, struct client_reply *reply, struct err_note *note) {
    struct value_scanner scanner;
    struct value frame;
    eg_err err = flush(c, note);

    value_scanner_init(&scanner, ANSWER_BYTES_MAX);
    while (err == EG_OK) {
        err = next_frame(c, &scanner, &frame, note);
        if (err == EG_OK)
            return reply_parse(frame, reply, note);
        if (err == EG_AGAIN)
            err = fill(c, note);
    }
    return err;
}

/* [2, "event", params] */
static eg_err event_parse(struct value frame, struct value *event, struct err_note *note) {
    struct value part[3] = {{NULL, 0}};
    struct value_iter it;
    bool good = value_kind_of(frame) == VALUE_ARRAY && value_count(frame) == 3;

    if (good)
        it = value_iter_of(frame);
    for (int i = 0; good && i < 3; i++)
        good = value_iter_next(&it, &part[i]);
    if (!good || !value_is_string(part[1], "event"))
        return err_note(note, EG_BAD_REQUEST, "the other side sends what is no event");
    *event = part[2];
    return EG_OK;
}

eg_err client_event(struct client *c, const sigset_t *during, struct value *event,
                    struct err_note *note) {
    struct value_scanner scanner;
    struct value frame;
    eg_err err;

    value_scanner_init(&scanner, ANSWER_BYTES_MAX);
    while ((err = next_frame(c, &scanner, &frame, note)) == EG_AGAIN) {
        struct pollfd p = {.fd = c->fd, .events = POLLIN};

        if (ppoll(&p, 1, NULL, during) < 0)
            return errno == EINTR ? EG_AGAIN
                                  : err_note(note, EG_CLOSED, "poll: %s", strerror(errno));
        err = fill(c, note);
        if (err != EG_OK)
            return err;
    }
    return err == EG_OK ? event_parse(frame, event, note) : err;
}

bool client_has_event(const struct client *c) {
    size_t used_bytes;

    return value_scan(c->in.at + c->start, c->in.size_bytes - c->start, &used_bytes) == EG_OK;
}

eg_err client_call(struct client *c, const char *method, struct value params,
                   struct client_reply *reply, struct err_note *note) {
    uint32_t id;
    eg_err err = client_send(c, method, params, &id, note);

    if (err == EG_OK)
        err = client_receive(c, reply, note);
    if (err == EG_OK && reply->id != id)
        err = err_note(note, EG_BAD_REQUEST, "an answer to nothing that was asked");
    return err;
}
