/* link.h -- what has been sent to one node and is not known to have arrived.
 *
 *     mesh_send() --copy--> [ chunk | chunk | chunk ] --write--> stream
 *                            oldest    ^unsent
 *                            '-- dropped when acknowledged; written again on a new connection
 *
 * Any thread appends frames to the last chunk; the mesh's scheduler writes chunks as they are,
 * many frames at a time, keeps them until the other side has acknowledged their last
 * frame, and begins again with the oldest where the connection breaks.  The other side knows by
 * the sequence what it has had already.  What goes now or never (sequence 0) lies apart and is
 * given out once.
 *
 * Bounds     link_push() refuses what would make more than `window_bytes` wait.
 * Threads    link_push(), link_pending_bytes(): any.  All else: the mesh's scheduler.
 * Memory     Chunks are counted, for a stream may still borrow one that has been dropped.
 */
#ifndef REPLICATION_LINK_H
#define REPLICATION_LINK_H

#include "engine/buffer.h"
#include "replication/mesh.h"

#include <stdatomic.h>

enum {
    LINK_CHUNK_BYTES = 64 << 10,
    LINK_OUTSIDE_BYTES = 8 << 10,      /* longer payloads are copied outside the lock */
    LINK_NOW_BYTES_MAX = 256 << 10,    /* of frames that go now or never               */
    LINK_ACKNOWLEDGE_BYTES = 64 << 10, /* handled, before it is said in the same turn  */
};

struct link_chunk {
    struct link_chunk *next;
    uint64_t last_sequence;
    size_t size_bytes;    /* behind it appenders go on           */
    size_t written_bytes; /* of these, with the stream           */
    size_t room_bytes;
    uint32_t refs; /* the link, and a write under way: the mesh's scheduler's */
    uint8_t at[];
};

struct link {
    struct alloc *alloc;
    atomic_flag lock; /* guards what comes next up to the blank line; held for one small copy */
    uint64_t id;      /* of the node; 0: the link is down and takes nothing */
    uint64_t next_sequence;
    uint64_t window_bytes;
    struct link_chunk *oldest, *newest;
    struct link_chunk *unsent; /* the first that is not all written; NULL: none */
    uint64_t acknowledged;     /* by the other side */
    struct buffer now;
    _Atomic uint64_t pending_bytes; /* in chunks */

    uint64_t received;     /* from the other side, handled      */
    uint64_t told;         /* of these, acknowledged to it      */
    uint64_t untold_bytes; /* since                             */
};

void link_init(struct link *l, struct alloc *a);
void link_fini(struct link *l); /* down */

/* Begin a session with `id`: everything counts from 1.  Not up. */
void link_begin(struct link *l, uint64_t id, uint64_t window_bytes);
/* Take nothing more and forget what waits. */
void link_end(struct link *l);
/* On a new connection: the other side has handled up to `received`; write the rest again.
 * EG_BAD_REQUEST: it cannot have.  *resent: frames that may go again. */
EG_MUST_USE eg_err link_resume(struct link *l, uint64_t received, uint64_t *resent);

/* Append a frame for `id`.  EG_NO_REPLICA: down, or another's.  EG_BUSY, EG_MEMORY,
 * EG_TOO_LARGE: nothing was appended. */
EG_MUST_USE eg_err link_push(struct link *l, uint64_t id, enum mesh_channel channel,
                             struct value payload);

static inline uint64_t link_pending_bytes(const struct link *l) {
    return atomic_load_explicit(&l->pending_bytes, memory_order_relaxed);
}

/* The chunk to write from next, at written_bytes; NULL: none.  What is untold is acknowledged
 * along with it where it has room.  Written or borrowed no further than size_bytes is now. */
struct link_chunk *link_next(struct link *l, size_t *left_bytes);
void link_wrote(struct link *l, struct link_chunk *c, size_t size_bytes);
void link_chunk_ref(struct link_chunk *c);
void link_chunk_unref(struct alloc *a, struct link_chunk *c);

/* Move what goes now or never behind `out`; where there is no room, it waits.  True: something
 * else is to be written, and an acknowledgement rides along. */
bool link_take_now(struct link *l, struct buffer *out);
/* And an acknowledgement of what is untold.  False: no room. */
bool link_tell(struct link *l, struct buffer *out);

/* The other side has handled up to `sequence`.  EG_BAD_REQUEST: that was never sent. */
EG_MUST_USE eg_err link_acknowledged(struct link *l, uint64_t sequence);

/* The sequence that has been with the stream for longest without being acknowledged; 0: none is
 * awaited. */
uint64_t link_awaited(struct link *l);

/* A frame came.  EG_OK: it is the next one, and counts as handled now; EG_EXISTS: it has been
 * handled; EG_BAD_REQUEST: one before it is missing. */
EG_MUST_USE eg_err link_receive(struct link *l, uint64_t sequence, size_t frame_bytes);
static inline bool link_is_untold(const struct link *l) {
    return l->received > l->told;
}

#endif /* REPLICATION_LINK_H */
