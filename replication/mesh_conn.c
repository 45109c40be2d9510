/* mesh_conn.c -- one connection between nodes: bytes in, bytes out, and its end.
 *
 * Callbacks of the stream only note what happened; the turn hook does the rest, in conn_run()
 * and conn_flush(), so that events come inside a turn and nothing is called from within itself.
 */
#include "replication/mesh_private.h"

#include <string.h>

enum { HELD_PIECE_BYTES = 16 << 10 }; /* copied at a time to a frame that is not all there */

static const struct stream_events stream_events;

static void mark_ready(struct conn *c) {
    if (list_is_empty(&c->ready))
        list_push_back(&c->mesh->ready, &c->ready);
}

static void unlist_unproved(struct conn *c) {
    if (list_is_empty(&c->unproved))
        return;
    list_remove(&c->unproved);
    c->mesh->unproved_count--;
}

/* ---- begin and end ------------------------------------------------------------ */

static void on_deadline(struct timer *t) {
    struct conn *c = EG_CONTAINER_OF(t, struct conn, deadline);

    if (c->state == CONN_PARTING) {
        conn_close(c);
        return;
    }
    if (c->dialler == NULL)
        mesh_count(&c->mesh->refused_handshakes, 1);
    peer_lost(c, EG_TIMEOUT, 0, "it does not answer");
    conn_close(c);
}

static struct conn *conn_new(struct mesh *m) {
    struct conn *c = alloc_zero(m->opts.alloc, sizeof *c);

    if (c == NULL)
        return NULL;
    c->mesh = m;
    list_init(&c->ready);
    list_init(&c->unproved);
    buffer_init(&c->held, m->opts.alloc, MESH_FRAME_BYTES_MAX + STREAM_TURN_BYTES);
    buffer_init(&c->out, m->opts.alloc, 2 * LINK_NOW_BYTES_MAX);
    frame_splitter_init(&c->splitter, HANDSHAKE_BYTES_MAX);
    return c;
}

static void conn_add(struct conn *c, uint64_t deadline_ms) {
    struct mesh *m = c->mesh;

    list_push_back(&m->conns, &c->node);
    m->conn_count++;
    scheduler_timer_start(m->scheduler, &c->deadline, deadline_ms, on_deadline);
}

static void shake(struct conn *c, bool dials) {
    uint8_t nonce[HANDSHAKE_NONCE_BYTES], room[HANDSHAKE_BYTES_MAX];
    struct value_writer w = value_writer_init(room, sizeof room);

    for (uint32_t i = 0; i < HANDSHAKE_NONCE_BYTES / 8; i++) {
        uint64_t bits = env_random(c->mesh->opts.env);
        memcpy(nonce + 8 * i, &bits, 8);
    }
    c->state = CONN_SHAKING;
    handshake_start(&c->shake, &c->mesh->shake_self, dials, nonce, &w);
    conn_say(c, &w, room);
}

void conn_accept(struct mesh *m, struct stream_accepted accepted) {
    struct conn *c = m->closing ? NULL : conn_new(m);

    if (c == NULL) {
        stream_refuse(m->net, accepted);
        return;
    }
    if (m->unproved_count >= MESH_UNPROVED_MAX) {
        mesh_count(&m->refused_handshakes, 1);
        conn_close(EG_CONTAINER_OF(m->unproved.next, struct conn, unproved));
    }
    if (stream_adopt(m->net, accepted, &stream_events, c, &c->stream) != EG_OK) {
        alloc_put(m->opts.alloc, c, sizeof *c);
        return;
    }
    conn_add(c, MESH_HANDSHAKE_MS);
    list_push_back(&m->unproved, &c->unproved);
    m->unproved_count++;
    shake(c, false);
    if (c->state == CONN_SHAKING && stream_read_start(c->stream) != EG_OK)
        conn_close(c);
}

eg_err conn_dial(struct dialler *d, struct err_note *note) {
    struct mesh *m = d->mesh;
    struct conn *c = conn_new(m);
    eg_err err;

    if (c == NULL)
        return err_note(note, EG_MEMORY, "out of memory");
    err = stream_connect(m->net, d->address, &stream_events, c, &c->stream, note);
    if (err != EG_OK) {
        alloc_put(m->opts.alloc, c, sizeof *c);
        return err;
    }
    conn_add(c, MESH_CONNECT_MS);
    c->state = CONN_CONNECTING;
    c->dialler = d;
    d->conn = c;
    mesh_count(&m->dials, 1);
    return EG_OK;
}

static void let_go_of_output(struct conn *c) {
    if (c->borrowed != NULL)
        link_chunk_unref(c->mesh->opts.alloc, c->borrowed);
    c->borrowed = NULL;
}

void conn_close(struct conn *c) {
    if (c->state == CONN_CLOSED)
        return;
    c->state = CONN_CLOSED;
    scheduler_timer_stop(c->mesh->scheduler, &c->deadline);
    list_remove(&c->ready);
    unlist_unproved(c);
    if (c->dialler != NULL)
        c->dialler->conn = NULL;
    c->dialler = NULL;
    if (c->peer != NULL && c->peer->welcomed == c)
        c->peer->welcomed = NULL;
    if (c->peer != NULL && c->peer->conn == c)
        c->peer->conn = NULL;
    stream_close(c->stream);
}

static void on_closed(struct stream *s) {
    struct conn *c = s->user;
    struct mesh *m = c->mesh;

    EG_ASSERT(c->state == CONN_CLOSED);
    let_go_of_output(c);
    buffer_fini(&c->held);
    buffer_fini(&c->out);
    list_remove(&c->node);
    m->conn_count--;
    alloc_put(m->opts.alloc, c, sizeof *c);
    if (m->closing)
        mesh_closed_one(m);
}

void conn_refuse(struct conn *c, enum handshake_refusal why, const char *text) {
    uint8_t room[HANDSHAKE_BYTES_MAX];
    struct value_writer w = value_writer_init(room, sizeof room);

    if (c->state == CONN_CLOSED || c->state == CONN_PARTING)
        return;
    handshake_refuse(&c->shake, why, text, &w);
    unlist_unproved(c);
    if (!conn_say(c, &w, room))
        return;
    c->state = CONN_PARTING;
    scheduler_timer_stop(c->mesh->scheduler, &c->deadline);
    scheduler_timer_start(c->mesh->scheduler, &c->deadline, MESH_PARTING_MS, on_deadline);
    mark_ready(c);
}

void conn_linked(struct conn *c) {
    c->state = CONN_LINKED;
    scheduler_timer_stop(c->mesh->scheduler, &c->deadline);
    unlist_unproved(c);
    frame_splitter_init(&c->splitter, MESH_FRAME_BYTES_MAX);
    if (c->dialler != NULL)
        c->dialler->conn = NULL;
    c->dialler = NULL;
    mark_ready(c);
}

/* ---- input ------------------------------------------------------------------------ */

static void on_connected(struct stream *s, eg_err err) {
    struct conn *c = s->user;

    c->connected = err == EG_OK;
    c->ended = !c->connected;
    c->end = err;
    mark_ready(c);
}

static void on_bytes(struct stream *s, const uint8_t *at, size_t size_bytes) {
    struct conn *c = s->user;

    EG_ASSERT(c->in_bytes == 0 || c->in + c->in_bytes == at);
    if (c->in_bytes == 0)
        c->in = at;
    c->in_bytes += size_bytes;
    c->mesh->lent = true;
    mesh_count(&c->mesh->received_bytes, size_bytes);
    mark_ready(c);
}

static void on_end(struct stream *s, eg_err err) {
    struct conn *c = s->user;

    c->ended = true;
    c->end = err;
    mark_ready(c);
}

static void take_step(struct conn *c, struct value message) {
    uint8_t room[HANDSHAKE_BYTES_MAX];
    struct value_writer w = value_writer_init(room, sizeof room);
    struct err_note note = {""};
    enum handshake_step step = handshake_receive(&c->shake, message, &w, &note);

    if (!conn_say(c, &w, room))
        return;
    switch (step) {
    case HANDSHAKE_MORE:
        return;
    case HANDSHAKE_MET:
        peer_met(c);
        return;
    case HANDSHAKE_ASKED:
        unlist_unproved(c);
        peer_asked(c);
        return;
    case HANDSHAKE_WELCOMED:
        peer_welcomed(c);
        return;
    case HANDSHAKE_DONE:
        peer_done(c);
        return;
    case HANDSHAKE_REFUSED:
        peer_lost(c, EG_DENIED, c->shake.refusal, note.text);
        conn_close(c);
        return;
    case HANDSHAKE_FAILED:
        mesh_count(&c->mesh->refused_handshakes, 1);
        peer_lost(c, EG_DENIED, c->shake.refusal, note.text);
        conn_refuse(c, c->shake.refusal, note.text);
        return;
    }
}

static void bad_bytes(struct conn *c) {
    static const char text[] = "it does not speak as a node does";

    if (c->state == CONN_SHAKING) {
        mesh_count(&c->mesh->refused_handshakes, 1);
        peer_lost(c, EG_DENIED, HANDSHAKE_IS_OTHER_PROTOCOL, text);
        conn_refuse(c, HANDSHAKE_IS_OTHER_PROTOCOL, text);
        return;
    }
    mesh_count(&c->mesh->broken_frames, 1);
    peer_down(c->peer);
}

/* Cut and handle what lies at `at`; returns how much of it is done with. */
static size_t take_all(struct conn *c, const uint8_t *at, size_t size_bytes) {
    size_t taken_bytes = 0, frame_bytes;
    eg_err err = EG_OK;

    while ((c->state == CONN_SHAKING || c->state == CONN_LINKED) && taken_bytes < size_bytes) {
        err = frame_splitter_next(&c->splitter, at + taken_bytes, size_bytes - taken_bytes,
                                  &frame_bytes);
        if (err == EG_AGAIN)
            break;
        if (err != EG_OK) {
            bad_bytes(c);
            break;
        }
        struct value v = {at + taken_bytes, (uint32_t) frame_bytes};
        taken_bytes += frame_bytes;
        if (c->state == CONN_LINKED)
            peer_frame(c, v);
        else
            take_step(c, v);
    }
    return taken_bytes;
}

/* A frame has begun before: so much behind it as ends it, piece by piece, for all else can be taken
 * where it lies. */
static void finish_held(struct conn *c) {
    while (c->held.size_bytes > 0 && c->in_bytes > 0) {
        size_t piece_bytes = EG_MIN(c->in_bytes, (size_t) HELD_PIECE_BYTES), taken_bytes;

        if (!buffer_append(&c->held, c->in, piece_bytes)) {
            c->ended = true;
            c->end = EG_MEMORY;
            c->in_bytes = 0;
            return;
        }
        taken_bytes = take_all(c, c->held.at, c->held.size_bytes);
        if (taken_bytes > 0) { /* its end was in the piece */
            piece_bytes -= c->held.size_bytes - taken_bytes;
            buffer_clear(&c->held);
        }
        c->in += piece_bytes;
        c->in_bytes -= piece_bytes;
    }
}

static void take_input(struct conn *c) {
    size_t taken_bytes;

    finish_held(c);
    if (c->in_bytes > 0) {
        taken_bytes = take_all(c, c->in, c->in_bytes);
        if (!buffer_append(&c->held, c->in + taken_bytes, c->in_bytes - taken_bytes)) {
            c->ended = true;
            c->end = EG_MEMORY;
        }
        c->in_bytes = 0;
    }
    if (c->held.size_bytes == 0)
        buffer_fini(&c->held);
}

static const char *end_text(eg_err err) {
    return err == EG_MEMORY ? "out of memory" : "the connection ended";
}

void conn_run(struct conn *c) {
    if (c->state == CONN_CONNECTING && c->connected) {
        scheduler_timer_stop(c->mesh->scheduler, &c->deadline);
        scheduler_timer_start(c->mesh->scheduler, &c->deadline, MESH_HANDSHAKE_MS, on_deadline);
        shake(c, true);
        if (c->state == CONN_SHAKING && stream_read_start(c->stream) != EG_OK)
            c->ended = true;
    }
    if (c->state == CONN_PARTING)
        c->in_bytes = 0;
    take_input(c);
    if (c->state == CONN_CLOSED || !c->ended)
        return;
    if (c->state == CONN_PARTING && c->end == EG_OK)
        return; /* it sends no more, and may still read */
    if (c->state != CONN_PARTING)
        peer_lost(c, EG_CLOSED, 0,
                  c->state == CONN_CONNECTING ? "nobody listens there" : end_text(c->end));
    conn_close(c);
}

/* ---- output -------------------------------------------------------------------------- */

bool conn_say(struct conn *c, const struct value_writer *w, const uint8_t *at) {
    EG_ASSERT(!w->overflow);
    if (c->state == CONN_CLOSED)
        return false;
    if (w->need_bytes == 0)
        return true;
    if (!buffer_append(&c->out, at, w->need_bytes)) {
        peer_lost(c, EG_MEMORY, 0, "out of memory");
        conn_close(c);
        return false;
    }
    mark_ready(c);
    return true;
}

void conn_break(struct conn *c) {
    c->ended = true;
    c->end = EG_CLOSED;
    mark_ready(c);
}

/* Write what lies in `out`.  True: all of it went. */
static bool flush_out(struct conn *c) {
    size_t sent_bytes;

    if (c->out.size_bytes == 0)
        return true;
    if (stream_try_write(c->stream, c->out.at, c->out.size_bytes, &sent_bytes) != EG_OK) {
        conn_break(c);
        return false;
    }
    mesh_count(&c->mesh->sent_bytes, sent_bytes);
    if (sent_bytes == c->out.size_bytes) {
        buffer_clear(&c->out);
        return true;
    }
    c->out_sent_bytes = sent_bytes;
    c->writing =
        stream_write(c->stream, c->out.at + sent_bytes, c->out.size_bytes - sent_bytes) == EG_OK;
    if (!c->writing)
        conn_break(c);
    return false;
}

/* Write from the link's chunks.  True: there is more, and the stream would take it. */
static bool flush_link(struct conn *c) {
    struct link *l = &c->peer->link;
    struct link_chunk *chunk;
    size_t left_bytes, sent_bytes, total_bytes = 0;

    while ((chunk = link_next(l, &left_bytes)) != NULL) {
        const uint8_t *at = chunk->at + chunk->written_bytes;
        if (total_bytes >= MESH_FLUSH_BYTES)
            return true;
        if (stream_try_write(c->stream, at, left_bytes, &sent_bytes) != EG_OK) {
            conn_break(c);
            return false;
        }
        link_wrote(l, chunk, sent_bytes);
        scheduler_expect(c->mesh->scheduler); /* an answer, mostly */
        mesh_count(&c->mesh->sent_bytes, sent_bytes);
        total_bytes += sent_bytes;
        if (sent_bytes == left_bytes)
            continue;
        c->writing = stream_write(c->stream, at + sent_bytes, left_bytes - sent_bytes) == EG_OK;
        if (!c->writing) {
            conn_break(c);
            return false;
        }
        link_chunk_ref(chunk);
        c->borrowed = chunk;
        c->borrowed_bytes = left_bytes - sent_bytes;
        return false;
    }
    return false;
}

/* An acknowledgement on its own, where none can ride along. */
static void tell(struct conn *c) {
    struct peer *p = c->peer;

    if (!link_is_untold(&p->link) ||
        (!p->must_tell && p->link.untold_bytes < LINK_ACKNOWLEDGE_BYTES))
        return;
    if (link_tell(&p->link, &c->out))
        p->must_tell = false;
}

bool conn_flush(struct conn *c) {
    if (c->writing || c->state == CONN_CLOSED || c->state == CONN_CONNECTING ||
        (c->ended && c->end != EG_OK))
        return false;
    if (c->state == CONN_LINKED && !link_take_now(&c->peer->link, &c->out))
        tell(c);
    if (!flush_out(c))
        return false;
    if (c->state == CONN_LINKED)
        return flush_link(c);
    if (c->state == CONN_PARTING && c->ended)
        conn_close(c);
    else if (c->state == CONN_PARTING && !c->finished)
        stream_finish(c->stream);
    c->finished = c->state == CONN_PARTING;
    return false;
}

static void on_written(struct stream *s, eg_err err) {
    struct conn *c = s->user;

    c->writing = false;
    if (err != EG_OK) {
        conn_break(c);
        return;
    }
    if (c->borrowed != NULL) {
        mesh_count(&c->mesh->sent_bytes, c->borrowed_bytes);
        link_wrote(&c->peer->link, c->borrowed, c->borrowed_bytes);
        link_chunk_unref(c->mesh->opts.alloc, c->borrowed);
        c->borrowed = NULL;
    } else {
        mesh_count(&c->mesh->sent_bytes, c->out.size_bytes - c->out_sent_bytes);
        buffer_clear(&c->out);
    }
    mark_ready(c);
}

static const struct stream_events stream_events = {
    .on_connected = on_connected,
    .on_bytes = on_bytes,
    .on_end = on_end,
    .on_written = on_written,
    .on_closed = on_closed,
};
