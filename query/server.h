/* server.h -- serves clients by MessagePack-RPC.
 *
 *     listeners --accept--> the scheduler with the fewest --post--> its worker --> session
 *
 * One worker a scheduler (worker.h), one session a connection (session.h); a
 * connection stays where it was put.  Everything that clients could fill has a
 * bound: connections, a frame, the bytes of all unfinished frames, the answers
 * that wait for a client to read them, requests under way.
 *
 * Until there are users and passwords only loopback addresses and unix sockets are
 * bound; others get EG_DENIED.
 *
 * Threads    Open and stop from one thread that is no scheduler's; the rest any.
 */
#ifndef QUERY_SERVER_H
#define QUERY_SERVER_H

#include "engine/stream.h"
#include "engine/err.h"

struct catalog;
struct runtime;
struct scheduler;
struct buffer;
struct server;

enum {
    SERVER_CONNECTIONS_MAX = 10000,
    SERVER_FRAME_MAX = 16 << 20,
    SERVER_INPUT_MAX = 64 << 20,
    SERVER_ANSWERS_MAX = 512 << 20,
    SERVER_DRAIN_MS = 5000, /* for what was received to be answered */
    SERVER_LISTENERS_MAX = 16,
};

struct cluster;
struct tx_managers;
struct tx_program;

struct server_opts {
    struct alloc *alloc;
    struct runtime *runtime; /* started */
    struct catalog *catalog;
    struct cluster *cluster;          /* NULL: the node has no part in one */
    struct tx_managers *transactions; /* NULL: only what is here and idle commits */
    const struct tx_program *program; /* NULL: nobody but clients holds any; outlives the server */
    /* The network as a scheduler sees it; called on that scheduler. */
    eg_err (*net_open)(struct stream_net **out, struct alloc *a, struct scheduler *s);
    const char *const *listen; /* addresses */
    uint32_t listen_count;     /* 1 .. SERVER_LISTENERS_MAX */
    const char *node_name;     /* told by hello; must outlive the server */
    const char *version;       /* likewise */
    uint32_t connections_max;  /* 0: SERVER_CONNECTIONS_MAX */
    uint64_t frame_max_bytes;  /* 0: SERVER_FRAME_MAX */
    uint64_t input_max_bytes;  /* 0: SERVER_INPUT_MAX */
    /* What answers in the making may take; more than SERVER_ANSWERS_MAX, or 0, is that. */
    uint64_t answers_max_bytes;
};

/* Bind every address, then accept.  On an error nothing is left.  EG_DENIED,
 * EG_BAD_REQUEST, EG_DISC (cannot be bound) with a note that names the address;
 * EG_MEMORY. */
EG_MUST_USE eg_err server_open(struct server **out, const struct server_opts *o,
                               struct err_note *note);

/* Accept no more, answer what was received, close the connections, free all.
 * Waits, at most SERVER_DRAIN_MS for clients that do not read. */
void server_close(struct server *s);

/* The address as bound (port 0 has become a number); NULL past the last. */
const char *server_address(const struct server *s, uint32_t number);

/* Append what the method `stats` answers.  From any thread.  EG_MEMORY. */
EG_MUST_USE eg_err server_stats(const struct server *s, struct buffer *out);

#endif /* QUERY_SERVER_H */
