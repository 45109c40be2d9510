/* sim_client.c -- requests out, frames in, one deadline. */
#include "tests/sim/sim_client.h"

#include <string.h>

enum { BUFFER_BOUND = 64 << 20 };

static void answer(struct sim_client *c, const struct sim_answer *a) {
    c->busy = false;
    sim_cancel(c->sim, &c->deadline);
    c->on_answer(c, a);
}

static void let_go(struct sim_client *c) {
    if (c->stream == NULL || c->closing)
        return;
    c->closing = true;
    c->connected = false;
    stream_close(c->stream);
}

static void fail(struct sim_client *c) {
    enum sim_outcome outcome = c->sent ? SIM_UNKNOWN : SIM_UNSENT;

    let_go(c);
    if (c->busy)
        answer(c, &(struct sim_answer){.outcome = outcome});
}

/* ---- what comes ------------------------------------------------------------------- */

static void take_error(struct sim_answer *a, struct value error) {
    const uint8_t *at;
    uint32_t size_bytes;

    a->outcome = SIM_REFUSED;
    if (value_get_bytes(error, &at, &size_bytes))
        snprintf(a->text, sizeof a->text, "%.*s", (int) size_bytes, (const char *) at);
}

static void take_frame(struct sim_client *c, size_t frame_bytes) {
    struct sim_answer a = {.outcome = SIM_DONE};
    struct rpc_frame f;

    EG_ASSERT(rpc_parse((struct value){c->input.at, (uint32_t) frame_bytes}, &f) == EG_OK);
    if (f.kind != RPC_RESPONSE || f.msgid != c->number || !c->busy)
        return;
    if (value_kind_of(f.error) != VALUE_NIL)
        take_error(&a, f.error);
    else
        a.result = f.result;
    answer(c, &a);
}

static void on_bytes(struct stream *s, const uint8_t *at, size_t size_bytes) {
    struct sim_client *c = s->user;
    size_t frame_bytes;
    eg_err err;

    if (c->closing)
        return;
    EG_ASSERT(buffer_append(&c->input, at, size_bytes));
    while ((err = rpc_splitter_next(&c->splitter, c->input.at, c->input.size_bytes,
                                    &frame_bytes)) == EG_OK) {
        take_frame(c, frame_bytes);
        c->input.size_bytes -= frame_bytes;
        memmove(c->input.at, c->input.at + frame_bytes, c->input.size_bytes);
    }
    EG_ASSERT(err == EG_AGAIN);
}

static void on_end(struct stream *s, eg_err err) {
    (void) err;
    fail(s->user);
}

/* ---- what goes --------------------------------------------------------------------- */

static void send_request(struct sim_client *c) {
    size_t written = 0;

    c->sent = true;
    if (stream_try_write(c->stream, c->request.at, c->request.size_bytes, &written) != EG_OK) {
        fail(c);
    } else if (written < c->request.size_bytes) {
        if (stream_write(c->stream, c->request.at + written, c->request.size_bytes - written) !=
            EG_OK)
            fail(c);
    }
}

static void on_written(struct stream *s, eg_err err) {
    if (err != EG_OK)
        fail(s->user);
}

static void on_connected(struct stream *s, eg_err err) {
    struct sim_client *c = s->user;

    if (c->closing)
        return;
    c->connected = err == EG_OK;
    if (err != EG_OK || stream_read_start(s) != EG_OK)
        fail(c);
    else if (c->busy)
        send_request(c);
}

static void on_closed(struct stream *s);

static void dial(struct sim_client *c) {
    static const struct stream_events events = {.on_connected = on_connected,
                                                .on_bytes = on_bytes,
                                                .on_end = on_end,
                                                .on_written = on_written,
                                                .on_closed = on_closed};
    c->address = c->wanted;
    buffer_clear(&c->input);
    rpc_splitter_init(&c->splitter, RPC_FRAME_BYTES_MAX);
    EG_ASSERT(stream_connect(c->wire, c->address, &events, c, &c->stream, NULL) == EG_OK);
}

static void on_closed(struct stream *s) {
    struct sim_client *c = s->user;

    c->stream = NULL;
    c->closing = false;
    if (c->busy)
        dial(c);
}

static void on_deadline(struct sim_event *e) {
    fail(EG_CONTAINER_OF(e, struct sim_client, deadline));
}

/* The next request is the first thing that it has to do: not from within ask(). */
static void on_begin(struct sim_event *e) {
    struct sim_client *c = EG_CONTAINER_OF(e, struct sim_client, begin);

    if (!c->busy || c->closing)
        return; /* on_closed() dials */
    if (c->stream == NULL)
        dial(c);
    else if (c->connected)
        send_request(c);
}

void sim_client_ask(struct sim_client *c, const char *address, const char *method,
                    struct value params, uint64_t timeout_ms) {
    size_t room_bytes = params.size_bytes + strlen(method) + 32;
    struct value_writer w;
    uint8_t *at;

    EG_ASSERT(!c->busy);
    buffer_clear(&c->request);
    at = buffer_room(&c->request, room_bytes);
    EG_ASSERT(at != NULL);
    w = value_writer_init(at, room_bytes);
    rpc_put_request(&w, ++c->number, method);
    value_put_raw(&w, params);
    EG_ASSERT(!w.overflow);
    c->request.size_bytes = w.need_bytes;
    c->busy = true;
    c->sent = false;
    c->wanted = address;
    if (c->stream != NULL && strcmp(c->address, address) != 0)
        let_go(c);
    sim_at(c->sim, &c->begin, sim_now_ns(c->sim), on_begin);
    sim_at(c->sim, &c->deadline, sim_now_ns(c->sim) + timeout_ms * 1000000, on_deadline);
}

/* ---- waiting ------------------------------------------------------------------------- */

struct wait {
    struct sim_client *client;
    void (*on_answer)(struct sim_client *c, const struct sim_answer *a);
    void *user;
    struct sim_answer *answer;
    bool done;
};

static void keep_answer(struct sim_client *c, const struct sim_answer *a) {
    struct wait *w = c->user;

    *w->answer = *a;
    w->answer->result = (struct value){NULL, 0};
    buffer_clear(&c->kept);
    if (a->outcome == SIM_DONE) {
        EG_ASSERT(buffer_append(&c->kept, a->result.at, a->result.size_bytes));
        w->answer->result = (struct value){c->kept.at, a->result.size_bytes};
    }
    w->done = true;
}

static bool is_done(void *wait) {
    return ((struct wait *) wait)->done;
}

enum sim_outcome sim_client_call(struct sim_client *c, const char *address, const char *method,
                                 struct value params, uint64_t timeout_ms, struct sim_answer *out) {
    struct wait w = {.client = c, .on_answer = c->on_answer, .user = c->user, .answer = out};

    c->on_answer = keep_answer;
    c->user = &w;
    sim_client_ask(c, address, method, params, timeout_ms);
    EG_ASSERT(sim_run_until(c->sim, is_done, &w, timeout_ms + 1000));
    c->on_answer = w.on_answer;
    c->user = w.user;
    return out->outcome;
}

/* ---- open, close ------------------------------------------------------------------------ */

void sim_client_init(struct sim_client *c, struct sim_net *net, struct sim *s, const char *host,
                     void (*on_answer)(struct sim_client *c, const struct sim_answer *a),
                     void *user) {
    *c = (struct sim_client){.sim = s, .on_answer = on_answer, .user = user};
    c->wire = sim_net_stream_on(net, alloc_system(), sim_net_host(net, host));
    buffer_init(&c->request, alloc_system(), BUFFER_BOUND);
    buffer_init(&c->input, alloc_system(), BUFFER_BOUND);
    buffer_init(&c->kept, alloc_system(), BUFFER_BOUND);
}

void sim_client_close(struct sim_client *c) {
    c->busy = false;
    sim_cancel(c->sim, &c->deadline);
    sim_cancel(c->sim, &c->begin);
    let_go(c);
}

void sim_client_fini(struct sim_client *c) {
    EG_ASSERT(c->stream == NULL);
    stream_net_close(c->wire);
    buffer_fini(&c->request);
    buffer_fini(&c->input);
    buffer_fini(&c->kept);
}
