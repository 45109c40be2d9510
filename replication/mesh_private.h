/* mesh_private.h -- what the mesh's files share: connections, peers, and who dials.
 *
 *     mesh.c        the public calls, open and close, the turn hook
 *     mesh_conn.c   one connection: its bytes, its handshake, its end
 *     mesh_peer.c   one node: its link, which connection carries it, when it is dialled
 *
 * A peer's link (link.h) outlives connections:
 *
 *     DOWN --handshake--> UP (conn) --conn breaks--> UP (no conn) --resumed--> UP (conn)
 *      ^                   |                          |
 *      '--mesh_drop, other incarnation, bad frame-----+--MESH_RESUME_MS, or nobody there
 *
 * Two nodes that dial each other at once: the dial of the smaller id stays.  It refuses the
 * other's PROOF where it has sent its own; else it welcomes it and gives up its own
 * attempt.  The greater id always welcomes.  Nobody changes connections before READY.
 *
 * Threads    All of it on the mesh's scheduler, but for peer_find() and the links.
 */
#ifndef REPLICATION_MESH_PRIVATE_H
#define REPLICATION_MESH_PRIVATE_H

#include "engine/list.h"
#include "engine/scheduler.h"
#include "engine/stream.h"
#include "replication/frame.h"
#include "replication/handshake.h"
#include "replication/link.h"
#include "replication/mesh.h"

enum {
    MESH_PEERS_MAX = 128, /* known at a time; more than NODES_MAX, for those on their way out */
    MESH_JOINS_MAX = 64,
    MESH_UNPROVED_MAX = 64, /* accepted connections without proof: then the oldest goes     */
    MESH_HANDSHAKE_MS = 5000,
    MESH_CONNECT_MS =
        1500, /* for the other's kernel; a first packet that was lost is said at 1 s */
    MESH_PARTING_MS = 1000, /* for the other side to read why it is refused                 */
    MESH_RESUME_MS = 1000,  /* a link without a connection is down after this               */
    MESH_REDIAL_MIN_MS = 100,
    MESH_REDIAL_MAX_MS = 1000,
    MESH_REFUSED_MS = 3000, /* after a refusal, which will stand for a while               */
    MESH_DOUBT_MS = 1000,   /* nothing heard for this from one that is said to be down     */
    MESH_RECONNECT_MS = 20, /* the first try after a break, for the smaller id             */
    MESH_ACKNOWLEDGE_MS = 25,
    MESH_SILENCE_MS = 10000, /* nothing heard, or nothing acknowledged: it is gone          */
    MESH_TICK_MS = 1000,
    MESH_FLUSH_BYTES = 1 << 20, /* of one link in one turn                                  */
    MESH_LOG_QUIET_MS = 1000,   /* between two lines about strangers                        */
};

struct conn;
struct peer;

/* Dials one address until it is told to stop. */
struct dialler {
    struct mesh *mesh;
    struct peer *peer; /* NULL: a join's */
    struct timer timer;
    struct conn *conn; /* under way; NULL: none */
    uint32_t delay_ms;
    char address[STREAM_ADDRESS_BYTES]; /* "": nowhere */
};

struct join {
    struct list_node node;
    struct dialler dialler;
};

struct peer {
    struct mesh *mesh;
    uint32_t slot;
    bool known; /* dialled for ever */
    _Atomic bool up;
    _Atomic uint64_t features; /* of its link: both sides have them */
    struct node_info info;     /* incarnation: the link's, where it is up */
    uint64_t session;
    struct conn *conn;     /* that carries the link; NULL: down, or broken  */
    struct conn *welcomed; /* accepted, its READY has not come; NULL: none  */
    struct dialler dialler;
    struct timer resume, tell;
    bool must_tell;
    uint64_t heard_ms;
    uint64_t awaited, awaited_ms; /* the sequence that is not acknowledged, since when */
    struct link link;
};

enum conn_state {
    CONN_CONNECTING,
    CONN_SHAKING,
    CONN_LINKED,
    CONN_PARTING, /* last words are on their way */
    CONN_CLOSED,
};

struct conn {
    struct list_node node;     /* of all           */
    struct list_node ready;    /* of what is to do */
    struct list_node unproved; /* accepted, oldest first */
    struct mesh *mesh;
    struct stream *stream;
    enum conn_state state;
    struct dialler *dialler; /* whose attempt this is; NULL: accepted, or linked */
    struct peer *peer;       /* that it is linked to, or whose READY it waits for */
    struct handshake shake;
    uint64_t session; /* that the handshake has agreed on */
    bool resumes;
    struct timer deadline;

    const uint8_t *in; /* lent by the net until the turn's end */
    size_t in_bytes;
    struct buffer held;
    struct frame_splitter splitter;
    bool connected, ended, finished;
    eg_err end;

    struct buffer out;
    size_t out_sent_bytes;
    struct link_chunk *borrowed; /* the stream writes from it: else from `out` */
    size_t borrowed_bytes;
    bool writing;
};

struct mesh {
    struct mesh_opts opts;
    struct node_info self;
    struct handshake_self shake_self;
    uint8_t cookie[MESH_COOKIE_BYTES_MAX];
    struct scheduler *scheduler;
    struct stream_net *net;
    struct stream_listener *listener[MESH_LISTENERS_MAX];
    uint32_t listener_count;
    uint32_t listeners_left; /* to be closed */
    struct turn_hook hook;
    struct timer tick;
    struct list_node conns, ready, unproved, joins;
    uint32_t conn_count, unproved_count, join_count;
    bool hooked, closing, closed;
    bool lent, turning; /* inside on_turn(): bytes of the net are lent; before it writes */
    uint64_t turn_ns;   /* when the turn began whose hook has run last */
    uint64_t logged_ms;
    eg_err err; /* of opening */
    struct err_note note;

    struct waiter *waiter; /* whoever opens or closes sleeps here */
    _Atomic uint32_t outstanding;

    _Atomic bool awake; /* a turn is on its way */
    _Atomic uint64_t dirty[MESH_PEERS_MAX / 64];
    _Atomic uint64_t id[MESH_PEERS_MAX]; /* 0: free */
    struct peer *_Atomic peer[MESH_PEERS_MAX];

    _Atomic uint64_t sent_bytes, received_bytes, refused_handshakes, broken_frames, resent_frames,
        dials;
    _Atomic uint32_t links_up;
};

static inline void mesh_count(_Atomic uint64_t *counter, uint64_t n) {
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}
static inline uint64_t mesh_now_ms(const struct mesh *m) {
    return scheduler_now_ns(m->scheduler) / 1000000;
}
uint64_t mesh_random_below(struct mesh *m, uint64_t bound);
void mesh_step_done(struct mesh *m);
void mesh_closed_one(struct mesh *m); /* a connection or a listener, while closing */
/* Write to this peer in this turn, or the next one there is. */
void mesh_mark(struct mesh *m, uint32_t slot);
/* A line about somebody who is not linked; not more often than a log can bear. */
void mesh_log_stranger(struct mesh *m, const char *who, const char *text);

/* ---- mesh_conn.c ------------------------------------------------------------- */

void conn_accept(struct mesh *m, struct stream_accepted accepted);
/* EG_MEMORY, EG_BAD_REQUEST: no address. */
EG_MUST_USE eg_err conn_dial(struct dialler *d, struct err_note *note);
/* In the turn: what came, and that it ended. */
void conn_run(struct conn *c);
/* Write what there is.  True: more than fits a turn. */
bool conn_flush(struct conn *c);
/* Say why, and close when that is read. */
void conn_refuse(struct conn *c, enum handshake_refusal why, const char *text);
/* Close it; nobody is told.  Harmless where it is closed. */
void conn_close(struct conn *c);
/* The handshake is over: frames from here on. */
void conn_linked(struct conn *c);
/* Append a message of the handshake; false: no memory, and it has been closed. */
void conn_break(struct conn *c); /* as if the other side had ended it */
bool conn_say(struct conn *c, const struct value_writer *w, const uint8_t *at);

/* ---- mesh_peer.c ------------------------------------------------------------- */

struct peer *peer_find(struct mesh *m, uint64_t id); /* any thread; NULL: not known */
EG_MUST_USE eg_err peer_get(struct mesh *m, const struct node_info *info, struct peer **out);
void peer_free(struct peer *p);
void peer_forget(struct peer *p);
void peer_down(struct peer *p);
void peer_tick(struct peer *p);
void peer_doubt(struct peer *p);

/* Steps of a handshake (handshake.h). */
void peer_met(struct conn *c);
void peer_asked(struct conn *c);
void peer_welcomed(struct conn *c);
void peer_done(struct conn *c);
/* One frame on a link. */
void peer_frame(struct conn *c, struct value v);
/* The connection has ended, by whomever; `refusal` 0: without a word. */
void peer_lost(struct conn *c, eg_err err, enum handshake_refusal refusal, const char *text);

void dialler_init(struct dialler *d, struct mesh *m, struct peer *p, const char *address);
void dialler_start(struct dialler *d, uint64_t delay_ms);
void dialler_stop(struct dialler *d);
void join_free(struct join *j);

#endif /* REPLICATION_MESH_PRIVATE_H */
