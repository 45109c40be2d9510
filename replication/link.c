/* link.c -- chunks of frames between their senders and one stream.
 *
 * Invariants (checked by link_check, under the lock):
 *   (1) chunks before `unsent` are all written, those behind it not at all.
 *   (2) last_sequence grows along the list, and the newest's is next_sequence - 1.
 *   (3) pending_bytes is the sum of size_bytes.
 */
#include "replication/link.h"

#include "engine/planted.h"
#include "replication/frame.h"

#include <string.h>

static void lock(struct link *l) {
    while (atomic_flag_test_and_set_explicit(&l->lock, memory_order_acquire))
        EG_CPU_RELAX();
}

static void unlock(struct link *l) {
    atomic_flag_clear_explicit(&l->lock, memory_order_release);
}

static void link_check(const struct link *l) {
    EG_ASSERT((l->oldest == NULL) == (l->newest == NULL));
    EG_ASSERT(l->unsent == NULL || l->unsent->written_bytes < l->unsent->size_bytes);
#ifdef EG_SLOW_CHECKS
    bool unsent = false;
    uint64_t sum_bytes = 0, last = 0;
    for (const struct link_chunk *c = l->oldest; c != NULL; c = c->next) {
        unsent |= c == l->unsent;
        EG_ASSERT(unsent ? c == l->unsent || c->written_bytes == 0
                         : c->written_bytes == c->size_bytes);
        EG_ASSERT(c->size_bytes <= c->room_bytes);
        EG_ASSERT(c->last_sequence >= last);
        EG_ASSERT(c->next != NULL || c == l->newest);
        last = c->last_sequence;
        sum_bytes += c->size_bytes;
    }
    EG_ASSERT(unsent == (l->unsent != NULL));
    EG_ASSERT(sum_bytes == link_pending_bytes(l));
#endif
}

static void set_pending(struct link *l, uint64_t bytes) {
    atomic_store_explicit(&l->pending_bytes, bytes, memory_order_relaxed);
}

/* ---- chunks ----------------------------------------------------------------- */

static struct link_chunk *chunk_new(struct link *l, size_t room_bytes) {
    struct link_chunk *c = alloc_get(l->alloc, sizeof *c + room_bytes);

    if (c != NULL)
        *c = (struct link_chunk){.room_bytes = room_bytes, .refs = 1};
    return c;
}

void link_chunk_ref(struct link_chunk *c) {
    c->refs++;
}

void link_chunk_unref(struct alloc *a, struct link_chunk *c) {
    EG_ASSERT(c->refs > 0);
    if (--c->refs == 0)
        alloc_put(a, c, sizeof *c + c->room_bytes);
}

static void add_chunk(struct link *l, struct link_chunk *c) {
    if (l->newest != NULL)
        l->newest->next = c;
    else
        l->oldest = c;
    l->newest = c;
}

/* `c` has grown by a frame, or is new. */
static void grown(struct link *l, struct link_chunk *c, size_t frame_bytes) {
    c->size_bytes += frame_bytes;
    if (l->unsent == NULL)
        l->unsent = c;
    set_pending(l, link_pending_bytes(l) + frame_bytes);
}

/* ---- sessions ------------------------------------------------------------------ */

void link_init(struct link *l, struct alloc *a) {
    *l = (struct link){.alloc = a};
    atomic_flag_clear(&l->lock);
    buffer_init(&l->now, a, LINK_NOW_BYTES_MAX);
}

void link_fini(struct link *l) {
    EG_ASSERT(l->id == 0 && l->oldest == NULL);
    buffer_fini(&l->now);
}

void link_begin(struct link *l, uint64_t id, uint64_t window_bytes) {
    EG_ASSERT(id != 0);
    lock(l);
    EG_ASSERT(l->id == 0 && l->oldest == NULL);
    l->id = id;
    l->next_sequence = 1;
    l->acknowledged = 0;
    l->window_bytes = window_bytes;
    unlock(l);
    l->received = l->told = l->untold_bytes = 0;
}

void link_end(struct link *l) {
    struct link_chunk *c, *next;
    struct buffer now;

    lock(l);
    c = l->oldest;
    now = l->now;
    l->id = 0;
    l->oldest = l->newest = l->unsent = NULL;
    buffer_init(&l->now, l->alloc, LINK_NOW_BYTES_MAX);
    set_pending(l, 0);
    unlock(l);
    buffer_fini(&now);
    for (; c != NULL; c = next) {
        next = c->next;
        link_chunk_unref(l->alloc, c);
    }
}

/* Drop what has been written and handled.  The last chunk stays where nobody borrows it, to
 * be filled again. */
static struct link_chunk *drop_handled(struct link *l, uint64_t sequence) {
    struct link_chunk *dropped = NULL, *c;

    while ((c = l->oldest) != NULL && c != l->unsent && c->last_sequence <= sequence) {
        set_pending(l, link_pending_bytes(l) - c->size_bytes);
        if (c == l->newest && c->refs == 1 && c->room_bytes == LINK_CHUNK_BYTES) {
            c->size_bytes = c->written_bytes = 0;
            break;
        }
        l->oldest = c->next;
        if (l->oldest == NULL)
            l->newest = NULL;
        c->next = dropped;
        dropped = c;
    }
    return dropped;
}

static void put_dropped(struct link *l, struct link_chunk *c) {
    for (struct link_chunk *next; c != NULL; c = next) {
        next = c->next;
        link_chunk_unref(l->alloc, c);
    }
}

eg_err link_acknowledged(struct link *l, uint64_t sequence) {
    struct link_chunk *dropped;

    lock(l);
    if (sequence >= l->next_sequence) {
        unlock(l);
        return EG_BAD_REQUEST;
    }
    l->acknowledged = EG_MAX(l->acknowledged, sequence);
    dropped = drop_handled(l, sequence);
    link_check(l);
    unlock(l);
    put_dropped(l, dropped);
    return EG_OK;
}

uint64_t link_awaited(struct link *l) {
    uint64_t awaited = 0;

    lock(l);
    if (l->oldest != NULL && l->oldest != l->unsent && l->oldest->size_bytes > 0 &&
        l->oldest->last_sequence > l->acknowledged)
        awaited = l->acknowledged + 1;
    unlock(l);
    return awaited;
}

eg_err link_resume(struct link *l, uint64_t received, uint64_t *resent) {
    uint64_t last = received;
    eg_err err = link_acknowledged(l, received);

    if (err != EG_OK)
        return err;
    lock(l);
    l->unsent = NULL;
    for (struct link_chunk *c = l->oldest; c != NULL; c = c->next) {
        if (c->written_bytes > 0)
            last = c->last_sequence;
        if (PLANTED(FRAME_NOT_SENT_AGAIN) && c->written_bytes == c->size_bytes)
            continue;
        c->written_bytes = 0;
        if (l->unsent == NULL && c->size_bytes > 0)
            l->unsent = c;
    }
    link_check(l);
    unlock(l);
    *resent = last > received ? last - received : 0;
    l->told = 0; /* the other side may not have heard it: say it again */
    return EG_OK;
}

/* ---- sending ---------------------------------------------------------------------- */

static eg_err may_push(const struct link *l, uint64_t id, size_t frame_bytes) {
    uint64_t pending_bytes = link_pending_bytes(l);

    if (l->id != id)
        return EG_NO_REPLICA;
    return pending_bytes == 0 || pending_bytes + frame_bytes <= l->window_bytes ? EG_OK : EG_BUSY;
}

static void put_frame(uint8_t *at, enum mesh_channel channel, uint64_t sequence,
                      struct value payload, uint64_t hash) {
    frame_put_header(at, channel, sequence, hash);
    memcpy(at + FRAME_HEADER_BYTES, payload.at, payload.size_bytes);
}

static eg_err push_now(struct link *l, uint64_t id, struct value payload) {
    size_t frame_bytes = FRAME_HEADER_BYTES + payload.size_bytes;
    uint64_t hash = frame_payload_hash(payload);
    uint8_t *room = NULL;
    eg_err err = EG_NO_REPLICA;

    lock(l);
    if (l->id == id) {
        err = EG_BUSY; /* or out of memory: never, then */
        room = buffer_room(&l->now, frame_bytes);
    }
    if (room != NULL) {
        put_frame(room, MESH_NOW, 0, payload, hash);
        l->now.size_bytes += frame_bytes;
        err = EG_OK;
    }
    unlock(l);
    return err;
}

/* A payload that is long enough for a chunk of its own. */
static eg_err push_long(struct link *l, uint64_t id, enum mesh_channel channel,
                        struct value payload) {
    size_t frame_bytes = FRAME_HEADER_BYTES + payload.size_bytes;
    uint64_t hash = frame_payload_hash(payload);
    struct link_chunk *c = chunk_new(l, frame_bytes);
    eg_err err;

    if (c == NULL)
        return EG_MEMORY;
    put_frame(c->at, channel, 0, payload, hash);
    lock(l);
    err = may_push(l, id, frame_bytes);
    if (err == EG_OK) {
        c->last_sequence = l->next_sequence++;
        frame_put_header(c->at, channel, c->last_sequence, hash);
        add_chunk(l, c);
        grown(l, c, frame_bytes);
        link_check(l);
    }
    unlock(l);
    if (err != EG_OK)
        link_chunk_unref(l->alloc, c);
    return err;
}

static bool has_room(const struct link_chunk *c, size_t frame_bytes) {
    return c != NULL && c->room_bytes - c->size_bytes >= frame_bytes;
}

static eg_err push_short(struct link *l, uint64_t id, enum mesh_channel channel,
                         struct value payload) {
    size_t frame_bytes = FRAME_HEADER_BYTES + payload.size_bytes;
    uint64_t hash = frame_payload_hash(payload);
    struct link_chunk *spare = NULL, *c;
    eg_err err;

    lock(l);
    err = may_push(l, id, frame_bytes);
    if (err == EG_OK && !has_room(l->newest, frame_bytes)) {
        unlock(l);
        spare = chunk_new(l, LINK_CHUNK_BYTES);
        if (spare == NULL)
            return EG_MEMORY;
        lock(l);
        err = may_push(l, id, frame_bytes);
    }
    if (err == EG_OK) {
        if (!has_room(l->newest, frame_bytes)) {
            EG_ASSERT(spare != NULL);
            add_chunk(l, spare);
            spare = NULL;
        }
        c = l->newest;
        c->last_sequence = l->next_sequence++;
        put_frame(c->at + c->size_bytes, channel, c->last_sequence, payload, hash);
        grown(l, c, frame_bytes);
        link_check(l);
    }
    unlock(l);
    if (spare != NULL)
        link_chunk_unref(l->alloc, spare);
    return err;
}

eg_err link_push(struct link *l, uint64_t id, enum mesh_channel channel, struct value payload) {
    EG_ASSERT(id != 0 && channel < MESH_CHANNEL_COUNT);
    if (payload.size_bytes > MESH_FRAME_BYTES_MAX - FRAME_HEADER_BYTES)
        return EG_TOO_LARGE;
    if (channel == MESH_NOW)
        return push_now(l, id, payload);
    return payload.size_bytes > LINK_OUTSIDE_BYTES ? push_long(l, id, channel, payload)
                                                   : push_short(l, id, channel, payload);
}

/* ---- writing ---------------------------------------------------------------------------- */

struct link_chunk *link_next(struct link *l, size_t *left_bytes) {
    struct link_chunk *c;

    lock(l);
    c = l->unsent;
    if (c != NULL && link_is_untold(l) && has_room(c, FRAME_ACKNOWLEDGE_BYTES)) {
        frame_put_acknowledge(c->at + c->size_bytes, l->received);
        grown(l, c, FRAME_ACKNOWLEDGE_BYTES);
        l->told = l->received;
        l->untold_bytes = 0;
    }
    if (c != NULL)
        *left_bytes = c->size_bytes - c->written_bytes;
    unlock(l);
    return c;
}

void link_wrote(struct link *l, struct link_chunk *c, size_t size_bytes) {
    lock(l);
    if (c == l->unsent) { /* else it has been dropped meanwhile, or begins again */
        c->written_bytes += size_bytes;
        EG_ASSERT(c->written_bytes <= c->size_bytes);
        if (c->written_bytes == c->size_bytes)
            l->unsent = c->next;
        link_check(l);
    }
    unlock(l);
}

bool link_take_now(struct link *l, struct buffer *out) {
    bool rides;

    lock(l);
    rides = l->unsent != NULL && has_room(l->unsent, FRAME_ACKNOWLEDGE_BYTES);
    if (l->now.size_bytes > 0 && buffer_append(out, l->now.at, l->now.size_bytes))
        buffer_clear(&l->now);
    unlock(l);
    return rides;
}

bool link_tell(struct link *l, struct buffer *out) {
    uint8_t frame[FRAME_ACKNOWLEDGE_BYTES];

    frame_put_acknowledge(frame, l->received);
    if (!buffer_append(out, frame, sizeof frame))
        return false;
    l->told = l->received;
    l->untold_bytes = 0;
    return true;
}

/* ---- receiving ------------------------------------------------------------------------------ */

eg_err link_receive(struct link *l, uint64_t sequence, size_t frame_bytes) {
    EG_ASSERT(sequence > 0);
    if (sequence <= l->received)
        return PLANTED(FRAME_HANDLED_TWICE) ? EG_OK : EG_EXISTS;
    if (sequence != l->received + 1 && !PLANTED(FRAME_NOT_SENT_AGAIN))
        return EG_BAD_REQUEST;
    l->received = sequence;
    l->untold_bytes += frame_bytes;
    return EG_OK;
}
