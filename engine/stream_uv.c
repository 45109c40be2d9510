/* stream_uv.c -- byte streams by libuv; listening by plain sockets on its loop.
 *
 *     struct net     one a loop: the turn's read buffer, a count of open handles
 *     struct conn    one a connection: a libuv stream and its one request
 *     struct door    one a listening socket
 *
 * libuv calls the read callback at once after it has read, so every read of a turn
 * gets the next part of one buffer.  Where none is left it is given an empty one:
 * that read fails and the socket is ready again in the next turn.
 * Listening goes past libuv's own listeners
 * because those tie a connection to the loop that accepted it; here accepting
 * yields a descriptor that any loop may open.
 *
 * Order of closing: uv_close() ends an unfinished request first (ECANCELED), then
 * calls back; a name being looked up is waited for.
 */
#include "engine/stream.h"

#include "engine/address.h"
#include "engine/loop_uv.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

enum {
    ACCEPTS_PER_TURN = 64, /* then the connections there are get their turn */
    HOST_TEXT_BYTES = 64,  /* a numeric address                             */
    READ_MIN_BYTES = 4096, /* less room than this is not worth a read       */
};

struct net {
    struct stream_net base;
    struct alloc *alloc;
    uv_loop_t *loop;
    uint32_t handle_count; /* listeners and connections not gone yet */
    size_t lent_bytes;     /* of `input`, since the last turn          */
    uint8_t input[STREAM_TURN_BYTES];
};

struct conn {
    struct stream base;
    struct net *net;
    bool writing;   /* `request.write` is under way         */
    bool resolving; /* `request.resolve` is under way       */
    bool closing;   /* close() was called: say nothing more */
    bool closed;    /* libuv has let go of the handle       */
    uint16_t port;  /* to connect to, once resolved         */
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    union {
        uv_connect_t connect;
        uv_getaddrinfo_t resolve;
        uv_write_t write;
    } request;
    uv_shutdown_t shutdown;
};

struct door {
    struct stream_listener base;
    struct net *net;
    uv_poll_t poll;
    int fd;
    int spare_fd;                  /* given up to refuse one when descriptors run out */
    char path[ADDRESS_PATH_BYTES]; /* to unlink; "" for TCP                           */
};

static struct net *net_of(struct stream_net *n) {
    return EG_CONTAINER_OF(n, struct net, base);
}
static struct conn *conn_of(struct stream *s) {
    return EG_CONTAINER_OF(s, struct conn, base);
}
static struct door *door_of(struct stream_listener *l) {
    return EG_CONTAINER_OF(l, struct door, base);
}

/* ---- connections -------------------------------------------------------- */

static struct conn *conn_new(struct net *net, const struct stream_events *events, void *user,
                             bool tcp) {
    struct conn *c = alloc_zero(net->alloc, sizeof *c);
    int failed;

    if (c == NULL)
        return NULL;
    c->base = (struct stream){.ops = net->base.ops, .events = events, .user = user};
    c->net = net;
    failed = tcp ? uv_tcp_init(net->loop, &c->uv.tcp) : uv_pipe_init(net->loop, &c->uv.pipe, 0);
    EG_ASSERT(failed == 0); /* neither asks the system for anything */
    net->handle_count++;
    return c;
}

static void conn_gone(struct conn *c) {
    struct net *net = c->net;

    net->handle_count--;
    if (c->base.events != NULL)
        c->base.events->on_closed(&c->base);
    alloc_put(net->alloc, c, sizeof *c);
}

static void conn_on_close(uv_handle_t *handle) {
    struct conn *c = EG_CONTAINER_OF(handle, struct conn, uv.handle);

    c->closed = true;
    if (!c->resolving)
        conn_gone(c);
}

static void conn_close(struct stream *s) {
    struct conn *c = conn_of(s);

    EG_ASSERT(!c->closing);
    c->closing = true;
    if (c->resolving)
        uv_cancel((uv_req_t *) &c->request.resolve); /* or it ends by itself */
    uv_close(&c->uv.handle, conn_on_close);
}

/* Give up a connection that its user never got. */
static void conn_drop(struct conn *c) {
    c->base.events = NULL;
    conn_close(&c->base);
}

static eg_err net_adopt(struct stream_net *n, struct stream_accepted accepted,
                        const struct stream_events *events, void *user, struct stream **out) {
    struct conn *c = conn_new(net_of(n), events, user, accepted.tcp);
    int failed;

    if (c == NULL) {
        close(accepted.handle);
        return EG_MEMORY;
    }
    failed = accepted.tcp ? uv_tcp_open(&c->uv.tcp, accepted.handle)
                          : uv_pipe_open(&c->uv.pipe, accepted.handle);
    if (failed != 0) {
        close(accepted.handle);
        conn_drop(c);
        return EG_CLOSED;
    }
    if (accepted.tcp)
        uv_tcp_nodelay(&c->uv.tcp, 1); /* fails only on a broken connection: reading tells */
    *out = &c->base;
    return EG_OK;
}

static void net_refuse(struct stream_net *n, struct stream_accepted accepted) {
    (void) n; /* a descriptor needs no loop to be closed */
    close(accepted.handle);
}

static void conn_on_alloc(uv_handle_t *handle, size_t suggested_bytes, uv_buf_t *buffer) {
    struct conn *c = EG_CONTAINER_OF(handle, struct conn, uv.handle);

    size_t left_bytes = STREAM_TURN_BYTES - c->net->lent_bytes;

    (void) suggested_bytes;
    if (left_bytes < READ_MIN_BYTES)
        left_bytes = 0;
    *buffer = uv_buf_init((char *) c->net->input + c->net->lent_bytes,
                          (unsigned) EG_MIN(left_bytes, (size_t) STREAM_READ_BYTES));
}

static void conn_on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer) {
    struct conn *c = EG_CONTAINER_OF(stream, struct conn, uv.stream);

    if (n > 0) {
        c->net->lent_bytes += (size_t) n;
        c->base.events->on_bytes(&c->base, (const uint8_t *) buffer->base, (size_t) n);
    } else if (n < 0 && n != UV_ENOBUFS) {
        c->base.events->on_end(&c->base, n == UV_EOF ? EG_OK : EG_CLOSED);
    }
}

static eg_err conn_read_start(struct stream *s) {
    int failed = uv_read_start(&conn_of(s)->uv.stream, conn_on_alloc, conn_on_read);

    return failed == 0 || failed == UV_EALREADY ? EG_OK : EG_CLOSED;
}

static void conn_read_stop(struct stream *s) {
    uv_read_stop(&conn_of(s)->uv.stream);
}

static eg_err conn_try_write(struct stream *s, const uint8_t *at, size_t size_bytes,
                             size_t *written_bytes) {
    struct conn *c = conn_of(s);
    uv_buf_t buffer = uv_buf_init((char *) at, (unsigned) EG_MIN(size_bytes, (size_t) INT32_MAX));
    int n;

    EG_ASSERT(!c->writing && !c->closing);
    n = uv_try_write(&c->uv.stream, &buffer, 1);
    *written_bytes = n > 0 ? (size_t) n : 0;
    return n >= 0 || n == UV_EAGAIN ? EG_OK : EG_CLOSED;
}

static void conn_on_write(uv_write_t *request, int failed) {
    struct conn *c = EG_CONTAINER_OF(request, struct conn, request.write);

    c->writing = false;
    if (!c->closing)
        c->base.events->on_written(&c->base, failed == 0 ? EG_OK : EG_CLOSED);
}

static eg_err conn_write(struct stream *s, const uint8_t *at, size_t size_bytes) {
    struct conn *c = conn_of(s);
    uv_buf_t buffer = uv_buf_init((char *) at, (unsigned) size_bytes);

    EG_ASSERT(!c->writing && !c->closing && size_bytes <= INT32_MAX);
    if (uv_write(&c->request.write, &c->uv.stream, &buffer, 1, conn_on_write) != 0)
        return EG_CLOSED;
    c->writing = true;
    return EG_OK;
}

static void conn_on_shutdown(uv_shutdown_t *request, int failed) {
    (void) request; /* whether or not the other side hears it, it is closed next */
    (void) failed;
}

static void conn_finish(struct stream *s) {
    struct conn *c = conn_of(s);

    /* Fails only where the connection is gone already. */
    if (!c->closing)
        uv_shutdown(&c->shutdown, &c->uv.stream, conn_on_shutdown);
}

/* ---- connecting --------------------------------------------------------- */

static void conn_on_connect(uv_connect_t *request, int failed) {
    struct conn *c = EG_CONTAINER_OF(request, struct conn, request.connect);

    if (!c->closing)
        c->base.events->on_connected(&c->base, failed == 0 ? EG_OK : EG_CLOSED);
}

static void set_port(struct sockaddr *a, uint16_t port) {
    if (a->sa_family == AF_INET6)
        ((struct sockaddr_in6 *) a)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *) a)->sin_port = htons(port);
}

static void conn_on_resolve(uv_getaddrinfo_t *request, int failed, struct addrinfo *found) {
    struct conn *c = EG_CONTAINER_OF(request, struct conn, request.resolve);

    c->resolving = false;
    if (!c->closing) {
        if (failed == 0) {
            set_port(found->ai_addr, c->port);
            failed =
                uv_tcp_connect(&c->request.connect, &c->uv.tcp, found->ai_addr, conn_on_connect);
        }
        if (failed != 0)
            c->base.events->on_connected(&c->base, EG_CLOSED);
    } else if (c->closed) {
        conn_gone(c);
    }
    uv_freeaddrinfo(found);
}

static eg_err net_connect(struct stream_net *n, const char *text,
                          const struct stream_events *events, void *user, struct stream **out,
                          struct err_note *note) {
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct address a;
    struct conn *c;
    eg_err err = address_parse(text, &a, note);

    if (err != EG_OK)
        return err;
    c = conn_new(net_of(n), events, user, !a.local);
    if (c == NULL)
        return EG_MEMORY;
    if (a.local) {
        uv_pipe_connect(&c->request.connect, &c->uv.pipe, a.path, conn_on_connect);
    } else {
        c->port = a.port;
        uv_tcp_nodelay(&c->uv.tcp, 1); /* remembered until there is a socket */
        if (uv_getaddrinfo(c->net->loop, &c->request.resolve, conn_on_resolve, a.host, NULL,
                           &hints) != 0) {
            conn_drop(c);
            return EG_MEMORY;
        }
        c->resolving = true;
    }
    *out = &c->base;
    return EG_OK;
}

/* ---- listening ---------------------------------------------------------- */

static bool is_loopback(const struct sockaddr *a) {
    if (a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *) a)->sin_addr.s_addr) >> 24 == 127;
    return a->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *) a)->sin6_addr);
}

/* A socket that listens at `a`, or -1 and errno. */
static int listening_socket(const struct sockaddr *a, socklen_t size_bytes) {
    int on = 1, failed;
    int fd = socket(a->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if ((a->sa_family == AF_UNIX ||
         setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0) &&
        bind(fd, a, size_bytes) == 0 && listen(fd, STREAM_BACKLOG) == 0)
        return fd;
    failed = errno;
    close(fd);
    errno = failed;
    return -1;
}

static eg_err listen_tcp(const char *text, const struct address *a, bool loopback_only, int *fd,
                         char *bound, struct err_note *note) {
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct sockaddr_storage name;
    socklen_t name_bytes = sizeof name;
    struct addrinfo *found;
    char host[HOST_TEXT_BYTES] = "";
    int failed = getaddrinfo(a->host, NULL, &hints, &found);

    if (failed != 0)
        return err_note(note, EG_BAD_REQUEST, "%s: %s", text, gai_strerror(failed));
    if (loopback_only && !is_loopback(found->ai_addr)) {
        freeaddrinfo(found);
        return err_note(note, EG_DENIED,
                        "%s: only loopback addresses and unix sockets may be bound without users "
                        "and passwords",
                        text);
    }
    set_port(found->ai_addr, a->port);
    *fd = listening_socket(found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    if (*fd < 0)
        return err_note(note, EG_DISC, "%s: cannot listen: %s", text, strerror(errno));

    EG_ASSERT(getsockname(*fd, (struct sockaddr *) &name, &name_bytes) == 0);
    getnameinfo((struct sockaddr *) &name, name_bytes, host, sizeof host, NULL, 0, NI_NUMERICHOST);
    snprintf(bound, STREAM_ADDRESS_BYTES, name.ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host,
             (unsigned) ntohs(name.ss_family == AF_INET6
                                  ? ((struct sockaddr_in6 *) &name)->sin6_port
                                  : ((struct sockaddr_in *) &name)->sin_port));
    return EG_OK;
}

/* A socket file outlives its process.  It is stale when nobody accepts there; what
 * is no socket is somebody's file and stays. */
static void unlink_if_stale(const struct sockaddr_un *a) {
    struct stat file;
    int fd;

    if (lstat(a->sun_path, &file) != 0 || !S_ISSOCK(file.st_mode))
        return;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *) a, sizeof *a) < 0 && errno == ECONNREFUSED)
        unlink(a->sun_path);
    close(fd);
}

static eg_err listen_local(const char *text, const struct address *a, int *fd, char *bound,
                           struct err_note *note) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};

    memcpy(name.sun_path, a->path, sizeof name.sun_path);
    unlink_if_stale(&name);
    *fd = listening_socket((struct sockaddr *) &name, sizeof name);
    if (*fd < 0)
        return err_note(note, EG_DISC, "%s: cannot listen: %s", text, strerror(errno));
    snprintf(bound, STREAM_ADDRESS_BYTES, "%s", text);
    return EG_OK;
}

/* Out of descriptors: without this the one that waits would wake us for ever. */
static void door_turn_away(struct door *d) {
    int fd;

    close(d->spare_fd);
    fd = accept4(d->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    d->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void door_on_ready(uv_poll_t *poll, int failed, int ready) {
    struct door *d = EG_CONTAINER_OF(poll, struct door, poll);
    struct stream_accepted accepted = {.tcp = d->path[0] == '\0'};

    (void) failed; /* accept4() says it better */
    (void) ready;
    for (int i = 0; i < ACCEPTS_PER_TURN && !uv_is_closing((uv_handle_t *) poll); i++) {
        accepted.handle = accept4(d->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted.handle >= 0)
            d->base.events->on_accept(d->base.user, accepted);
        else if (errno == EMFILE || errno == ENFILE)
            door_turn_away(d);
        else if (errno != ECONNABORTED && errno != EINTR)
            return; /* EAGAIN: all are in */
    }
}

static eg_err net_listen(struct stream_net *n, const char *text, bool loopback_only,
                         const struct listener_events *events, void *user,
                         struct stream_listener **out, struct err_note *note) {
    struct net *net = net_of(n);
    struct address a;
    struct door *d;
    eg_err err = address_parse(text, &a, note);

    if (err != EG_OK)
        return err;
    d = alloc_zero(net->alloc, sizeof *d);
    if (d == NULL)
        return err_note(note, EG_MEMORY, "%s: out of memory", text);
    err = a.local ? listen_local(text, &a, &d->fd, d->base.address, note)
                  : listen_tcp(text, &a, loopback_only, &d->fd, d->base.address, note);
    if (err != EG_OK)
        goto put_door;
    if (uv_poll_init(net->loop, &d->poll, d->fd) != 0) {
        err = err_note(note, EG_DISC, "%s: cannot be polled", text);
        goto close_socket;
    }
    EG_ASSERT(uv_poll_start(&d->poll, UV_READABLE, door_on_ready) == 0);
    d->base.ops = net->base.ops;
    d->base.events = events;
    d->base.user = user;
    d->net = net;
    d->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    memcpy(d->path, a.path, sizeof d->path);
    net->handle_count++;
    *out = &d->base;
    return EG_OK;

close_socket:
    close(d->fd);
    if (a.local)
        unlink(a.path);
put_door:
    alloc_put(net->alloc, d, sizeof *d);
    return err;
}

static void door_on_close(uv_handle_t *handle) {
    struct door *d = EG_CONTAINER_OF(handle, struct door, poll);
    struct net *net = d->net;

    if (d->base.events->on_closed != NULL)
        d->base.events->on_closed(d->base.user);
    net->handle_count--;
    alloc_put(net->alloc, d, sizeof *d);
}

static void door_close(struct stream_listener *l) {
    struct door *d = door_of(l);

    uv_poll_stop(&d->poll);
    if (d->path[0] != '\0')
        unlink(d->path);
    close(d->fd);
    if (d->spare_fd >= 0)
        close(d->spare_fd);
    uv_close((uv_handle_t *) &d->poll, door_on_close);
}

/* ---- the net ------------------------------------------------------------ */

static void net_turn(struct stream_net *n) {
    net_of(n)->lent_bytes = 0;
}

static void net_close(struct stream_net *n) {
    struct net *net = net_of(n);

    EG_ASSERT(net->handle_count == 0);
    alloc_unmap(net->alloc, net, sizeof *net);
}

eg_err stream_net_uv_open(struct stream_net **out, struct alloc *a, uv_loop_t *loop) {
    static const struct stream_ops ops = {
        .listen = net_listen,
        .listener_close = door_close,
        .adopt = net_adopt,
        .refuse = net_refuse,
        .connect = net_connect,
        .read_start = conn_read_start,
        .read_stop = conn_read_stop,
        .try_write = conn_try_write,
        .write = conn_write,
        .finish = conn_finish,
        .close = conn_close,
        .net_turn = net_turn,
        .net_close = net_close,
    };
    struct net *net = alloc_map(a, sizeof *net); /* memory only where it is read into */

    if (net == NULL)
        return EG_MEMORY;
    net->base.ops = &ops;
    net->alloc = a;
    net->loop = loop;
    *out = &net->base;
    return EG_OK;
}

eg_err stream_net_uv_of(struct stream_net **out, struct alloc *a, struct scheduler *s) {
    return stream_net_uv_open(out, a, loop_uv_of(s));
}
