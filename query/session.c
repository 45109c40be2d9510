/* session.c -- one client connection: bytes in, answers out, and its end.
 *
 * The ref of a request under way says all that its answer needs:
 *
 *     63 always 1 | 62 notification | 61 alone | 60 keyed | 37..32 key slot | 31..0 msgid
 *
 * That of a question which one of its tasks asked:
 *
 *     63 always 1 | 59 task | 31..0 the task's number
 */
#include "query/session.h"

#include "query/cursor.h"
#include "query/rpc_backup.h"
#include "query/rpc_tx.h"
#include "query/server_private.h"
#include "query/subscription.h"
#include "query/task.h"

#include "engine/actor.h"
#include "engine/env.h"
#include "engine/runtime.h"

#include <string.h>

#define REF_ALWAYS       (UINT64_C(1) << 63)
#define REF_NOTIFICATION (UINT64_C(1) << 62)
#define REF_ALONE        (UINT64_C(1) << 61)
#define REF_KEYED        (UINT64_C(1) << 60)
#define REF_TASK         (UINT64_C(1) << 59)
#define REF_TX           (UINT64_C(1) << 58)

enum { REF_SLOT_SHIFT = 32 };

static struct server *server_of(const struct session *s) {
    return s->worker->server;
}

static uint64_t now_ns(const struct session *s) {
    return scheduler_now_ns(s->worker->scheduler);
}

static void enlist(struct list_node *list, struct list_node *n) {
    if (list_is_empty(n))
        list_push_back(list, n);
}

static void mark_ready(struct session *s) {
    enlist(&s->worker->ready, &s->ready);
}

static void mark_dirty(struct session *s) {
    enlist(&s->worker->dirty, &s->dirty);
}

/* ---- answers ------------------------------------------------------------- */

struct buffer *session_output(struct session *s) {
    if (s->out.at == NULL)
        s->out = worker_buffer_get(s->worker);
    mark_dirty(s);
    return &s->out;
}

void session_answer_error(struct session *s, uint32_t id, eg_err err, const char *text) {
    struct buffer *out = session_output(s);
    uint8_t *room = buffer_room(out, RPC_ERROR_TEXT_BYTES + RPC_HEADER_BYTES);
    struct value_writer w;

    counter_add(&s->worker->counters.errors[EG_MIN(-err, WORKER_ERRORS_MAX - 1)], 1);
    if (room == NULL) { /* not even for this: the client would wait for ever */
        session_close(s);
        return;
    }
    w = value_writer_init(room, RPC_ERROR_TEXT_BYTES + RPC_HEADER_BYTES);
    rpc_put_error(&w, id, err, text);
    EG_ASSERT(!w.overflow);
    out->size_bytes += (size_t) (w.at - room);
}

/* Answer, execute nothing more, and close when that is written. */
static void last_words(struct session *s, bool has_id, uint32_t id, eg_err err, const char *text) {
    if (has_id)
        session_answer_error(s, id, err, text);
    if (s->state != SESSION_OPEN)
        return;
    s->state = SESSION_LAST_WORDS;
    s->since_ns = now_ns(s);
    mark_dirty(s);
}

static void bad_frame(struct session *s, eg_err err, const uint8_t *at, size_t size_bytes) {
    uint32_t id = 0;
    bool has_id = rpc_msgid_of_prefix(at, size_bytes, &id);

    counter_add(&s->worker->counters.bad_frames, 1);
    last_words(s, has_id, id, err,
               err == EG_TOO_LARGE ? "the frame is larger or nested deeper than the bounds allow"
                                   : "this is no MessagePack-RPC request");
}

/* ---- requests under way ---------------------------------------------------- */

static uint32_t key_slot(const struct key *k) {
    return (uint32_t) (k->hash % SESSION_KEY_SLOTS);
}

bool session_key_underway(const struct session *s, const struct key *k) {
    return s->underway_keys[key_slot(k)] != 0;
}

eg_ref session_begin(struct session *s, const struct rpc_call *c) {
    eg_ref ref = REF_ALWAYS | c->id;

    if (c->notification)
        ref |= REF_NOTIFICATION;
    if ((c->method->order == RPC_ALONE && c->options.tx.size_bytes == 0) || c->alone) {
        ref |= REF_ALONE;
        s->alone = true;
    }
    if (c->has_key) {
        ref |= REF_KEYED | (eg_ref) key_slot(&c->key) << REF_SLOT_SHIFT;
        s->underway_keys[key_slot(&c->key)]++;
    }
    if (rpc_tx_is_of_one(c)) {
        ref |= REF_TX;
        s->underway_in_tx++;
    }
    s->underway++;
    return ref;
}

void session_cancel(struct session *s, eg_ref ref) {
    EG_ASSERT(s->underway > 0);
    s->underway--;
    if (ref & REF_ALONE)
        s->alone = false;
    if (ref & REF_TX)
        s->underway_in_tx--;
    if (ref & REF_KEYED)
        s->underway_keys[(ref >> REF_SLOT_SHIFT) % SESSION_KEY_SLOTS]--;
    if (s->paused)
        mark_ready(s);
}

eg_ref session_task_ref(uint32_t number) {
    return REF_ALWAYS | REF_TASK | number;
}

static void answer_result(struct session *s, uint32_t id, const uint8_t *at, size_t size_bytes) {
    struct buffer *out = session_output(s);
    uint8_t *room = buffer_room(out, size_bytes + RPC_HEADER_BYTES);
    struct value_writer w;

    if (room == NULL) {
        session_answer_error(s, id, EG_TOO_LARGE, "the answer is too large");
        return;
    }
    w = value_writer_init(room, size_bytes + RPC_HEADER_BYTES);
    rpc_put_response(&w, id);
    value_put_raw(&w, (struct value){at, (uint32_t) size_bytes});
    EG_ASSERT(!w.overflow);
    out->size_bytes += (size_t) (w.at - room);
}

void session_end(struct session *s, eg_ref ref, eg_err err, const uint8_t *at, size_t size_bytes) {
    char text[ERR_NOTE_BYTES] = "";

    session_cancel(s, ref);
    if (s->state == SESSION_CLOSED)
        return;
    if (ref & REF_NOTIFICATION) {
        mark_dirty(s); /* it may have been the last that kept the session open */
    } else if (err == EG_OK) {
        answer_result(s, (uint32_t) ref, at, size_bytes);
    } else {
        memcpy(text, at, EG_MIN(size_bytes, sizeof text - 1));
        session_answer_error(s, (uint32_t) ref, err == EG_NOPROC ? EG_BUSY : err, text);
    }
}

static void on_reply(struct session *s, const struct message *m) {
    if (m->ref & REF_TASK)
        task_reply(s, (uint32_t) m->ref, m);
    else
        session_end(s, m->ref, (eg_err) (int32_t) m->tag, m->payload, m->size_bytes);
}

/* ---- the actor that shards answer to ------------------------------------------ */

struct mouth {
    struct session *session;
    struct cleanup cleanup;
};

static void try_free(struct session *s);

static void mouth_gone(struct cleanup *cleanup) {
    struct session *s = EG_CONTAINER_OF(cleanup, struct mouth, cleanup)->session;

    s->pid = EG_PID_NONE;
    session_close(s);
    try_free(s);
}

static eg_err mouth_init(struct actor *self, void *state, const void *arg) {
    struct mouth *m = state;

    m->session = *(struct session *const *) arg;
    m->cleanup.run = mouth_gone;
    actor_on_exit(self, &m->cleanup);
    return EG_OK;
}

static void mouth_receive(struct actor *self, void *state, struct message *message) {
    (void) self; /* all it has is the session */
    if (message->kind == MESSAGE_REPLY)
        on_reply(((struct mouth *) state)->session, message);
}

static const struct actor_ops mouth_ops = {
    .name = "session",
    .state_bytes = sizeof(struct mouth),
    .init = mouth_init,
    .receive = mouth_receive,
};

/* ---- birth and end --------------------------------------------------------------- */

static void give_back_input(struct session *s) {
    atomic_fetch_sub_explicit(&server_of(s)->held_bytes, s->held.size_bytes, memory_order_relaxed);
    buffer_fini(&s->held);
    s->in_bytes = 0;
}

static void give_back_sending(struct session *s) {
    atomic_fetch_sub_explicit(&server_of(s)->unread_bytes, s->sending.size_bytes,
                              memory_order_relaxed);
    worker_buffer_put(s->worker, &s->sending);
}

/* The stream and the actor end on their own; the later one turns off the light. */
static void try_free(struct session *s) {
    struct worker *w = s->worker;

    if (s->stream != NULL || !eg_pid_is_none(s->pid))
        return;
    if (s->sending.at != NULL)
        give_back_sending(s);
    if (s->out.at != NULL)
        worker_buffer_put(w, &s->out);
    give_back_input(s);
    list_remove(&s->node);
    w->session_count--;
    if (s->unwelcome)
        w->unwelcome_count--;
    else
        atomic_fetch_sub(&w->server->connections, 1);
    alloc_put(w->server->opts.alloc, s, sizeof *s);
    if (w->draining && w->session_count == 0)
        server_worker_empty(w->server, w);
}

void session_close(struct session *s) {
    const eg_exit reason = exit_reason(EG_EXIT_SHUTDOWN);

    if (s->state == SESSION_CLOSED)
        return;
    s->state = SESSION_CLOSED;
    list_remove(&s->ready);
    list_remove(&s->dirty);
    task_end_all(s);
    subscription_end_all(s);
    cursor_end_all(s);
    backup_end_all(s);
    rpc_tx_end_all(s);
    if (s->stream != NULL)
        stream_close(s->stream);
    if (!eg_pid_is_none(s->pid))
        actor_exit_send(server_of(s)->opts.runtime, EG_PID_NONE, s->pid, &reason);
}

static void on_closed(struct stream *stream) {
    struct session *s = stream->user;

    s->stream = NULL;
    try_free(s);
}

/* ---- input ------------------------------------------------------------------------- */

static void shed(struct session *s) {
    uint32_t id = 0;
    bool has_id = rpc_msgid_of_prefix(s->held.at, s->held.size_bytes, &id);

    counter_add(&s->worker->counters.shed, 1);
    server_tell_overload(server_of(s), "input", "unfinished requests fill their memory");
    last_words(s, has_id, id, EG_BUSY, "unfinished requests fill the memory there is for them");
    give_back_input(s);
}

/* Unfinished frames have filled their bound: whoever of this worker holds most must go. */
static void make_room(struct session *s) {
    struct session *most = s;

    for (struct list_node *n = s->worker->sessions.next; n != &s->worker->sessions; n = n->next) {
        struct session *other = EG_CONTAINER_OF(n, struct session, node);
        if (other->held.size_bytes > most->held.size_bytes)
            most = other;
    }
    shed(most);
}

/* Keep bytes beyond this turn. */
static void hold(struct session *s, const uint8_t *at, size_t size_bytes) {
    struct server *server = server_of(s);

    if (!buffer_append(&s->held, at, size_bytes)) {
        shed(s);
        return;
    }
    if (atomic_fetch_add_explicit(&server->held_bytes, size_bytes, memory_order_relaxed) +
            size_bytes >
        server->opts.input_max_bytes)
        make_room(s);
    worker_watch(s->worker);
}

static void on_bytes(struct stream *stream, const uint8_t *at, size_t size_bytes) {
    struct session *s = stream->user;

    counter_add(&s->worker->counters.in_bytes, size_bytes);
    if (s->state != SESSION_OPEN)
        return; /* lingering: read so that the other side can */
    if (s->in_bytes > 0 && s->in + s->in_bytes != at) { /* read in two goes */
        hold(s, s->in, s->in_bytes);
        s->in_bytes = 0;
    }
    if (s->in_bytes == 0)
        s->in = at;
    s->in_bytes += size_bytes;
    s->since_ns = now_ns(s);
    mark_ready(s);
}

static void on_end(struct stream *stream, eg_err err) {
    struct session *s = stream->user;

    s->reading = false;
    s->ended = true;
    if (err != EG_OK || s->state == SESSION_LINGER)
        session_close(s);
    else
        mark_ready(s);
}

bool session_must_wait(const struct session *s) {
    return s->rewound || s->alone || s->underway >= SESSION_UNDERWAY_MAX ||
           s->out.size_bytes + s->sending.size_bytes > SESSION_OUTPUT_PAUSE;
}

void session_rewind(struct session *s, size_t offset) {
    if (s->rewound)
        return; /* to an earlier request */
    s->taken_bytes = offset;
    s->rewound = s->paused = true;
    rpc_splitter_init(&s->splitter, server_of(s)->opts.frame_max_bytes);
}

/* Carry out what is batched, so that what comes next is done in its order.  False: an
 * earlier request of this session could not be done yet. */
static bool catch_up(struct session *s) {
    worker_execute(s->worker);
    return !s->rewound;
}

/* A request that names no method, or not as it should. */
static void refuse(struct session *s, const struct rpc_call *c, eg_err err) {
    const struct err_note note = *c->note; /* others of the batch write theirs there */

    if (catch_up(s) && !c->notification)
        session_answer_error(s, c->id, err, note.text);
}

/* What it sees and does comes behind all before it; of a transaction, behind what is of the same
 * one, or of none: what is of another cannot tell which of them came first. */
static bool must_wait_behind(struct session *s, const struct rpc_call *c, eg_err err) {
    bool tx = err == EG_OK && rpc_tx_is_of_one(c);

    if (tx && !catch_up(s))
        return true;
    if (tx)
        return s->underway > s->underway_in_tx || s->task_count >= TASKS_SESSION_MAX ||
               rpc_tx_is_busy(c);
    return c->method->order >= RPC_BEHIND && s->underway > 0;
}

static void take_call(struct session *s, struct rpc_call *c, const struct rpc_frame *frame) {
    struct worker *w = s->worker;
    eg_err err;

    c->method = rpc_method_find(&w->server->methods, frame->method, frame->method_bytes);
    if (c->method == NULL) {
        refuse(s, c,
               err_note(c->note, EG_NO_METHOD, "no method %.*s",
                        (int) EG_MIN(frame->method_bytes, 64u), (const char *) frame->method));
        return;
    }
    if (c->method->order != RPC_KEYED && !catch_up(s))
        return;
    err = rpc_call_check(c, frame->params);
    if (must_wait_behind(s, c, err)) {
        if (catch_up(s))
            session_rewind(s, c->offset);
        return;
    }
    if (err == EG_OK)
        err = worker_add(w, c);
    if (err != EG_OK)
        refuse(s, c, err);
}

/* Carry out or batch the frame that begins `offset` bytes into the session's input,
 * or rewind to it where it must wait. */
static void take_frame(struct session *s, const uint8_t *at, size_t size_bytes, size_t offset) {
    struct worker *w = s->worker;
    struct rpc_call *c = worker_next(w);
    struct rpc_frame frame;
    eg_err err = rpc_parse((struct value){at, (uint32_t) size_bytes}, &frame);

    if (s->rewound)
        return;
    if (err != EG_OK) {
        if (catch_up(s))
            bad_frame(s, err, at, size_bytes);
        return;
    }
    if (frame.kind == RPC_RESPONSE)
        return; /* to a request nobody made */
    c->session = s;
    c->worker = w;
    c->id = frame.msgid;
    c->notification = frame.kind == RPC_NOTIFICATION;
    c->has_key = c->alone = false;
    c->offset = offset;
    c->note = &w->note;
    w->note.text[0] = '\0';
    if (s->unwelcome)
        last_words(s, !c->notification, c->id, EG_BUSY, "too many connections");
    else
        take_call(s, c, &frame);
}

void session_collect(struct session *s) {
    const uint8_t *at;
    size_t size_bytes, frame_bytes, offset;
    eg_err err;

    if (s->held.size_bytes > 0 && s->in_bytes > 0) {
        hold(s, s->in, s->in_bytes);
        s->in_bytes = 0;
    }
    at = s->held.size_bytes > 0 ? s->held.at : s->in;
    size_bytes = s->held.size_bytes > 0 ? s->held.size_bytes : s->in_bytes;
    s->taken_bytes = 0;
    s->paused = s->rewound = false;
    while (s->state == SESSION_OPEN && !s->paused && s->taken_bytes < size_bytes) {
        if (session_must_wait(s)) {
            s->paused = true;
            return;
        }
        offset = s->taken_bytes;
        err = rpc_splitter_next(&s->splitter, at + offset, size_bytes - offset, &frame_bytes);
        if (err == EG_AGAIN)
            return;
        if (err != EG_OK) {
            if (catch_up(s))
                bad_frame(s, err, at + offset, size_bytes - offset);
            return;
        }
        s->taken_bytes += frame_bytes;
        take_frame(s, at + offset, frame_bytes, offset);
    }
}

/* What was not taken stays for a later turn. */
static void keep_rest(struct session *s) {
    size_t rest_bytes;

    if (s->held.size_bytes == 0) {
        rest_bytes = s->in_bytes - s->taken_bytes;
        s->in_bytes = 0;
        if (rest_bytes > 0)
            hold(s, s->in + s->taken_bytes, rest_bytes);
        return;
    }
    rest_bytes = s->held.size_bytes - s->taken_bytes;
    if (rest_bytes == 0) {
        give_back_input(s);
    } else if (s->taken_bytes > 0) {
        memmove(s->held.at, s->held.at + s->taken_bytes, rest_bytes);
        s->held.size_bytes = rest_bytes;
        atomic_fetch_sub_explicit(&server_of(s)->held_bytes, s->taken_bytes, memory_order_relaxed);
    }
}

void session_settle(struct session *s) {
    if (s->state == SESSION_CLOSED)
        return;
    if (s->state == SESSION_OPEN)
        keep_rest(s);
    else
        give_back_input(s);
    if (s->paused && s->reading) {
        stream_read_stop(s->stream);
        s->reading = false;
    } else if (!s->paused && !s->reading && !s->ended) {
        s->reading = stream_read_start(s->stream) == EG_OK;
        if (!s->reading)
            session_close(s);
    }
    if (s->ended)
        mark_dirty(s); /* flushing looks whether that was all */
    s->rewound = false;
    if (s->paused && !session_must_wait(s) && s->underway == 0)
        mark_ready(s); /* what it waited for came in the same turn */
}

/* ---- output --------------------------------------------------------------------------- */

static void send_piece(struct session *s) {
    size_t piece_bytes =
        EG_MIN(s->sending.size_bytes - s->sent_bytes, (size_t) SESSION_WRITE_BYTES);

    s->writing = stream_write(s->stream, s->sending.at + s->sent_bytes, piece_bytes) == EG_OK;
    s->piece_bytes = piece_bytes;
    s->since_ns = now_ns(s);
    worker_watch(s->worker);
    if (!s->writing)
        session_close(s);
}

static void on_written(struct stream *stream, eg_err err) {
    struct session *s = stream->user;

    s->writing = false;
    if (err != EG_OK) {
        session_close(s);
        return;
    }
    counter_add(&s->worker->counters.out_bytes, s->piece_bytes);
    s->sent_bytes += s->piece_bytes;
    if (s->sent_bytes < s->sending.size_bytes) {
        send_piece(s);
        return;
    }
    give_back_sending(s);
    mark_dirty(s);
    if (s->paused)
        mark_ready(s);
}

/* The stream did not take all: the rest goes when the client reads. */
static void send_later(struct session *s, size_t sent_bytes) {
    struct server *server = server_of(s);
    uint64_t most = EG_MIN((uint64_t) SERVER_OUTPUT_MAX, server->opts.answers_max_bytes);

    s->sending = s->out;
    s->out = (struct buffer){0};
    s->sent_bytes = sent_bytes;
    if (atomic_fetch_add_explicit(&server->unread_bytes, s->sending.size_bytes,
                                  memory_order_relaxed) > most) {
        counter_add(&s->worker->counters.unread, 1);
        server_tell_overload(server, "output", "answers that nobody reads fill their memory");
        session_close(s);
        return;
    }
    send_piece(s);
}

/* All that was asked has been answered and written: is that the end? */
static void end_if_done(struct session *s) {
    bool all_taken = s->held.size_bytes == 0 || !s->paused; /* else an unfinished frame */

    if (s->writing || s->out.size_bytes > 0 || s->underway > 0)
        return;
    if (s->state == SESSION_OPEN && s->ended && all_taken && s->in_bytes == 0) {
        if (!s->worker->draining) {
            session_close(s);
            return;
        }
        s->state = SESSION_LAST_WORDS;
    }
    if (s->state == SESSION_LAST_WORDS) {
        s->state = SESSION_LINGER;
        s->since_ns = now_ns(s);
        worker_watch(s->worker);
        stream_finish(s->stream);
        if (!s->reading)
            s->reading = stream_read_start(s->stream) == EG_OK;
        if (!s->reading)
            session_close(s);
    }
}

void session_write(struct session *s) {
    size_t sent_bytes;

    if (s->state == SESSION_CLOSED || s->writing || s->out.size_bytes == 0)
        return;
    if (stream_try_write(s->stream, s->out.at, s->out.size_bytes, &sent_bytes) != EG_OK) {
        session_close(s);
        return;
    }
    counter_add(&s->worker->counters.out_bytes, sent_bytes);
    if (sent_bytes < s->out.size_bytes)
        send_later(s, sent_bytes);
    else
        worker_buffer_put(s->worker, &s->out);
}

void session_flush(struct session *s) {
    session_write(s);
    if (s->state == SESSION_CLOSED)
        return;
    if (s->paused && !session_must_wait(s))
        mark_ready(s);
    subscription_resume(s);
    end_if_done(s);
}

/* ---- time ------------------------------------------------------------------------------- */

bool session_tick(struct session *s, uint64_t now) {
    struct server *server = server_of(s);
    uint64_t waited_ms = now > s->since_ns ? (now - s->since_ns) / 1000000 : 0;
    bool transactions;

    if (s->state == SESSION_CLOSED)
        return false;
    transactions = rpc_tx_expire(s, now);
    transactions |= task_expire(s, now);
    cursor_expire(s, now);
    if (s->writing && waited_ms > SESSION_WRITE_MS) {
        counter_add(&s->worker->counters.unread, 1);
        session_close(s);
    } else if (s->state == SESSION_LINGER && waited_ms > SESSION_LINGER_MS) {
        session_close(s);
    } else if (s->state == SESSION_OPEN && s->unwelcome && waited_ms > SESSION_UNWELCOME_MS) {
        last_words(s, true, 0, EG_BUSY, "too many connections");
    } else if (s->state == SESSION_OPEN && s->held.size_bytes > 0 && !s->paused &&
               waited_ms > SESSION_STALE_MS &&
               atomic_load_explicit(&server->held_bytes, memory_order_relaxed) >
                   server->opts.input_max_bytes / 4 * 3) {
        shed(s); /* its worker may not be the one that is short of memory */
    }
    return backup_expire(s, now) || transactions || s->writing || s->unwelcome ||
           s->state == SESSION_LINGER || s->held.size_bytes > 0 || s->cursor_count > 0;
}

void session_drain(struct session *s) {
    if (s->state != SESSION_OPEN)
        return;
    if (s->reading)
        stream_read_stop(s->stream);
    s->reading = false;
    s->ended = true;
    mark_dirty(s);
}

void session_open(struct worker *w, struct stream_accepted accepted, bool unwelcome) {
    static const struct stream_events events = {
        .on_bytes = on_bytes, .on_end = on_end, .on_written = on_written, .on_closed = on_closed};
    struct server *server = w->server;
    struct session *s = alloc_zero(server->opts.alloc, sizeof *s);
    const struct spawn_opts spawn = {
        .ops = &mouth_ops, .arg = &s, .arg_bytes = sizeof s, .scheduler = SPAWN_HERE};

    if (s == NULL) {
        stream_refuse(w->net, accepted);
        goto uncount;
    }
    *s = (struct session){.worker = w,
                          .unwelcome = unwelcome,
                          .since_ns = env_now_ns(runtime_env(server->opts.runtime))};
    list_init(&s->ready);
    list_init(&s->dirty);
    list_init(&s->tasks);
    list_init(&s->subscriptions);
    list_init(&s->cursors);
    list_init(&s->backups);
    buffer_init(&s->held, server->opts.alloc, server->opts.frame_max_bytes + STREAM_TURN_BYTES);
    rpc_splitter_init(&s->splitter, server->opts.frame_max_bytes);
    if (stream_adopt(w->net, accepted, &events, s, &s->stream) != EG_OK) {
        alloc_put(server->opts.alloc, s, sizeof *s);
        goto uncount;
    }
    list_push_back(&w->sessions, &s->node);
    w->session_count++;
    w->unwelcome_count += unwelcome;
    if (unwelcome)
        worker_watch(w);
    counter_add(&w->counters.accepted, 1);
    if (actor_spawn(server->opts.runtime, NULL, &spawn, &s->pid, NULL) != EG_OK) {
        session_close(s);
        return;
    }
    s->reading = stream_read_start(s->stream) == EG_OK;
    if (!s->reading)
        session_close(s);
    return;

uncount:
    if (!unwelcome)
        atomic_fetch_sub(&server->connections, 1);
}
