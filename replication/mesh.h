/* mesh.h -- this node's links to all other nodes of its cluster.
 *
 *     dial, accept --handshake (handshake.h)--> link --on_up--> frames both ways --on_down-->
 *          ^-------------- again, for ever: 100 ms .. 1 s, with jitter ----------'
 *
 * Two nodes have one link, whoever dialled first (where both did, that of the smaller id
 * stays).  Nothing is read before both have proved that they know the cookie.  A frame is
 * a MessagePack array [channel, sequence, acknowledged, check, payload]; payloads of a channel come
 * in the order they were sent, and each exactly once, between an on_up() and the on_down()
 * that ends it: what a broken connection has swallowed is sent again over the next one as
 * long as both sides are the same incarnation and the window still has it, else the link
 * goes down and comes up anew.  MESH_NOW is not kept: it goes now or never.
 *
 * Bounds     A link keeps at most MESH_WINDOW_BYTES unacknowledged; beyond it mesh_send()
 *            says EG_BUSY.  A frame is at most MESH_FRAME_BYTES_MAX.  What a peer may have in
 *            flight to us is given to it as credit, so it cannot fill our memory.
 * Threads    mesh_send() from any; everything else, and every event, on the scheduler
 *            that was named at open ("the mesh's scheduler").
 */
#ifndef REPLICATION_MESH_H
#define REPLICATION_MESH_H

#include "engine/buffer.h"
#include "engine/runtime.h"
#include "replication/node_info.h"

enum {
    MESH_FRAME_BYTES_MAX = 17 << 20, /* one record of the largest size, and what goes round it */
    MESH_WINDOW_BYTES = 32 << 20,
    MESH_LISTENERS_MAX = 16,
    MESH_COOKIE_BYTES_MAX = 4096,
};

/* What a frame is about; the receiver's part of the node. */
enum mesh_channel {
    MESH_NOW,     /* membership (swim.h): may be lost             */
    MESH_VIEW,    /* agreement on views (view.h)                  */
    MESH_SCHEMA,  /* tables come, change and go (schema_sync.h)   */
    MESH_REPLICA, /* records between copies (replica.h)           */
    MESH_REQUEST, /* operations for a master, and their answers (router.h) */
    MESH_ACTOR,   /* between actors (remote.h)                    */
    MESH_CHANNEL_COUNT,
};

struct mesh;

struct mesh_events {
    /* May this node, which has proved the cookie, be linked?  An error refuses it, the note goes
     * to it and to our log.  Not asked for one that is linked already. */
    eg_err (*may_link)(void *user, const struct node_info *who, struct err_note *note);
    void (*on_up)(void *user, const struct node_info *who);
    void (*on_down)(void *user, uint64_t id);
    /* `payload` is one whole value, scanned, lent for the call. */
    void (*on_payload)(void *user, uint64_t from, enum mesh_channel channel, struct value payload);
    /* A dial of mesh_join() ended: EG_OK, or why not (EG_DENIED: cookie, version or name;
     * EG_BAD_REQUEST: it is ourselves; EG_CLOSED, EG_TIMEOUT: nobody there).  It goes on being
     * dialled unless that was ourselves. */
    void (*on_joined)(void *user, const char *address, eg_err err, const char *text);
};

struct mesh_opts {
    struct alloc *alloc; /* safe from any thread */
    struct runtime *runtime;
    struct env *env;
    uint32_t scheduler;
    eg_err (*net_open)(struct stream_net **out, struct alloc *a, struct scheduler *s);
    const char *const *listen; /* addresses */
    uint32_t listen_count;
    const void *cookie; /* NULL: none, and only loopback is bound */
    uint32_t cookie_bytes;
    const struct node_info *self; /* address "": the first listener's as bound */
    const struct mesh_events *events;
    void *user;
};

/* Listen and begin.  Blocks until the scheduler has bound the listeners: not for use on
 * one.  EG_BAD_REQUEST, EG_DENIED, EG_DISC with a note, as stream_listen(); EG_MEMORY. */
EG_MUST_USE eg_err mesh_open(struct mesh **out, const struct mesh_opts *o, struct err_note *note);
/* Close every link and listener: no event comes any more, and mesh_send() says EG_NO_REPLICA.
 * Blocks likewise. */
void mesh_stop(struct mesh *m);
/* And free it: nobody calls it any more. */
void mesh_close(struct mesh *m);

const struct node_info *mesh_self(const struct mesh *m); /* with the address that others dial */
const char *mesh_listens(const struct mesh *m, uint32_t number); /* as bound; NULL: no more */

/* Know a node, and dial it for ever; a changed address replaces the one that was known. */
void mesh_know(struct mesh *m, const struct node_info *who);
/* Dial an address whose node is not known yet, until it is. */
void mesh_join(struct mesh *m, const char *address);
/* Dial it no more; a link that there is stays until the other side, or mesh_forget(), ends it. */
void mesh_release(struct mesh *m, uint64_t id);
/* Forget a node: its link is closed and it is not dialled any more. */
void mesh_forget(struct mesh *m, uint64_t id);
/* End the link now; it is dialled again. */
void mesh_drop(struct mesh *m, uint64_t id);
/* It is said to be down: where nothing was heard of it lately, its link needs another connection.
 */
void mesh_doubt(struct mesh *m, uint64_t id);
/* This start has another number from now on: every link ends, and comes anew with that one. */
void mesh_renumber(struct mesh *m, uint64_t incarnation);
bool mesh_is_up(const struct mesh *m, uint64_t id);

/* Send one value, nested at most VALUE_DEPTH_MAX - 1 deep: what somebody else made (a record) may
 * be as deep as that by itself, and goes as a binary.  The bytes are copied.  EG_NO_REPLICA: no
 * link; EG_BUSY: the window is full; EG_TOO_LARGE; EG_MEMORY.  Any thread; frames of one thread on
 * one channel keep their order. */
EG_MUST_USE eg_err mesh_send(struct mesh *m, uint64_t to, enum mesh_channel channel,
                             struct value payload);

/* What both sides of the link can do besides (handshake.h); any thread. */
uint64_t mesh_features(const struct mesh *m, uint64_t to);

/* Bytes waiting for the node and not acknowledged: who sends much in the background looks here. */
uint64_t mesh_pending_bytes(const struct mesh *m, uint64_t to);

struct mesh_stats {
    uint64_t sent_bytes, received_bytes; /* TCP payload, handshakes included */
    uint64_t refused_handshakes, broken_frames, resent_frames, dials;
    uint32_t links_up;
};
struct mesh_stats mesh_stats(const struct mesh *m); /* any thread, some counters may be newer */

#endif /* REPLICATION_MESH_H */
