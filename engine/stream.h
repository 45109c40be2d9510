/* stream.h -- byte streams to whoever is outside: TCP and unix sockets.
 *
 * Sessions of clients and links between nodes speak through this seam.
 * stream_uv.c fills it from libuv; the simulator fills it from memory.
 *
 *     listen --on_accept--> adopt --.
 *                                   +--> read_start --on_bytes ...--> on_end
 *     connect --on_connected--------'    try_write | write --on_written-->
 *                                        finish ... close --on_closed-->
 *
 * A `struct stream_net` is the network as one scheduler sees it.  A listener
 * belongs to one net; what it accepts is a plain number that any net may adopt,
 * so connections are dealt out evenly over the schedulers.  (SO_REUSEPORT would
 * deal them by hash, and would let a second node bind the same port.)
 *
 * An address is text: "HOST:PORT", "[IPV6]:PORT" or "unix:PATH".
 *
 * Order      Bytes arrive as they were sent.  After close() nothing is called
 *            but on_closed(), and from there on the stream is gone.
 * Ownership  on_bytes() lends memory of the net until stream_net_turn(): a
 *            scheduler's turn hook executes what came over all its streams at
 *            once, and copies only what is unfinished, so an idle stream holds
 *            no memory.  What comes over one stream in one go is contiguous.
 *            write() borrows its bytes until on_written() or on_closed().
 * Threads    A net, its listeners and its streams belong to one scheduler.
 */
#ifndef ENGINE_STREAM_H
#define ENGINE_STREAM_H

#include "engine/alloc.h"
#include "engine/err.h"

enum {
    STREAM_ADDRESS_BYTES = 160,     /* any address as text, terminated         */
    STREAM_READ_BYTES = 64 * 1024,  /* the most one on_bytes() can bring       */
    STREAM_TURN_BYTES = 512 * 1024, /* the most one turn can: then the kernel keeps the rest */
    STREAM_BACKLOG = 1024,          /* connections the kernel keeps for accept */
};

struct stream;
struct stream_listener;
struct stream_net;
struct scheduler;
struct uv_loop_s;

/* A connection that was accepted and not adopted yet. */
struct stream_accepted {
    int handle;
    bool tcp;
};

struct stream_events {
    /* connect() ended.  EG_OK, or why not: then only close() is left to do. */
    void (*on_connected)(struct stream *s, eg_err err);
    /* Bytes came.  May close the stream. */
    void (*on_bytes)(struct stream *s, const uint8_t *at, size_t size_bytes);
    /* EG_OK: the other side sends no more, and may still read.
     * EG_CLOSED: the connection is broken. */
    void (*on_end)(struct stream *s, eg_err err);
    /* write() ended: all of it is with the kernel, or EG_CLOSED. */
    void (*on_written)(struct stream *s, eg_err err);
    void (*on_closed)(struct stream *s);
};

struct listener_events {
    /* Adopt it on some net, or stream_refuse() it. */
    void (*on_accept)(void *user, struct stream_accepted accepted);
    void (*on_closed)(void *user);
};

struct stream {
    const struct stream_ops *ops;
    const struct stream_events *events;
    void *user;
};

struct stream_listener {
    const struct stream_ops *ops;
    const struct listener_events *events;
    void *user;
    char address[STREAM_ADDRESS_BYTES]; /* as bound: port 0 has become a number */
};

struct stream_net {
    const struct stream_ops *ops;
};

struct stream_ops {
    eg_err (*listen)(struct stream_net *n, const char *address, bool loopback_only,
                     const struct listener_events *events, void *user, struct stream_listener **out,
                     struct err_note *note);
    void (*listener_close)(struct stream_listener *l);

    eg_err (*adopt)(struct stream_net *n, struct stream_accepted accepted,
                    const struct stream_events *events, void *user, struct stream **out);
    void (*refuse)(struct stream_net *n, struct stream_accepted accepted);
    eg_err (*connect)(struct stream_net *n, const char *address, const struct stream_events *events,
                      void *user, struct stream **out, struct err_note *note);

    eg_err (*read_start)(struct stream *s);
    void (*read_stop)(struct stream *s);
    eg_err (*try_write)(struct stream *s, const uint8_t *at, size_t size_bytes,
                        size_t *written_bytes);
    eg_err (*write)(struct stream *s, const uint8_t *at, size_t size_bytes);
    void (*finish)(struct stream *s);
    void (*close)(struct stream *s);
    void (*net_turn)(struct stream_net *n);
    void (*net_close)(struct stream_net *n);
};

/* The network by libuv, on `loop`.  EG_MEMORY. */
EG_MUST_USE eg_err stream_net_uv_open(struct stream_net **out, struct alloc *a,
                                      struct uv_loop_s *loop);

/* The same on the loop of a scheduler that loop_uv_driver() drives; call it there. */
EG_MUST_USE eg_err stream_net_uv_of(struct stream_net **out, struct alloc *a, struct scheduler *s);

/* The bytes that were lent come back to the net.  Once in every turn that saw any. */
static inline void stream_net_turn(struct stream_net *n) {
    n->ops->net_turn(n);
}

/* Every listener and stream of it has said on_closed(). */
static inline void stream_net_close(struct stream_net *n) {
    n->ops->net_close(n);
}

/* Accept at `address` until listener_close().  Resolves names and may block on
 * that: for starting up.  EG_BAD_REQUEST: no address.  EG_DENIED: `loopback_only`
 * and it is neither loopback nor a unix socket.  EG_DISC: it cannot be bound.
 * EG_MEMORY.  The note says which address and why; *out is untouched. */
EG_MUST_USE static inline eg_err stream_listen(struct stream_net *n, const char *address,
                                               bool loopback_only,
                                               const struct listener_events *events, void *user,
                                               struct stream_listener **out,
                                               struct err_note *note) {
    return n->ops->listen(n, address, loopback_only, events, user, out, note);
}

/* No on_accept() from here on; on_closed() when it is gone. */
static inline void stream_listener_close(struct stream_listener *l) {
    l->ops->listener_close(l);
}

/* Make a stream of an accepted connection.  It reads nothing before
 * read_start().  EG_MEMORY, EG_CLOSED: the connection has been closed. */
EG_MUST_USE static inline eg_err stream_adopt(struct stream_net *n, struct stream_accepted accepted,
                                              const struct stream_events *events, void *user,
                                              struct stream **out) {
    return n->ops->adopt(n, accepted, events, user, out);
}

static inline void stream_refuse(struct stream_net *n, struct stream_accepted accepted) {
    n->ops->refuse(n, accepted);
}

/* Begin to connect; on_connected() tells how it ended.  On an error nothing will
 * be called: EG_BAD_REQUEST: no address.  EG_MEMORY. */
EG_MUST_USE static inline eg_err stream_connect(struct stream_net *n, const char *address,
                                                const struct stream_events *events, void *user,
                                                struct stream **out, struct err_note *note) {
    return n->ops->connect(n, address, events, user, out, note);
}

/* EG_CLOSED: the connection is broken. */
EG_MUST_USE static inline eg_err stream_read_start(struct stream *s) {
    return s->ops->read_start(s);
}
static inline void stream_read_stop(struct stream *s) {
    s->ops->read_stop(s);
}

/* Hand the kernel what it takes now, 0 bytes included.  Not while a write() is
 * under way.  EG_CLOSED: the connection is broken. */
EG_MUST_USE static inline eg_err stream_try_write(struct stream *s, const uint8_t *at,
                                                  size_t size_bytes, size_t *written_bytes) {
    return s->ops->try_write(s, at, size_bytes, written_bytes);
}

/* Hand the kernel all of it as it takes it; one at a time; on_written() tells.
 * EG_CLOSED: the connection is broken and nothing will be called. */
EG_MUST_USE static inline eg_err stream_write(struct stream *s, const uint8_t *at,
                                              size_t size_bytes) {
    return s->ops->write(s, at, size_bytes);
}

/* Send no more: the other side sees the end after what was written.  Reading goes
 * on, so that a last answer is not lost to a reset. */
static inline void stream_finish(struct stream *s) {
    s->ops->finish(s);
}

static inline void stream_close(struct stream *s) {
    s->ops->close(s);
}

#endif /* ENGINE_STREAM_H */
