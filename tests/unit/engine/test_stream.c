/* test_stream.c -- bytes go through TCP and unix sockets in order, both ends hear the end. */
#include "engine/stream.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

enum { PAYLOAD_BYTES = 4 << 20 };

/* A server that sends everything back, and a client that counts what returns. */
struct world {
    uv_loop_t loop;
    struct stream_net *net;
    struct stream_listener *listener;
    struct stream *server, *client;
    uint8_t *pending; /* the echo under way */
    size_t got_bytes, sent_bytes, wrong_bytes;
    eg_err connected, server_end, client_end;
    int closed;
};

static uint8_t pattern(size_t i) {
    return (uint8_t) (i * 31 + i / 251);
}

static void server_bytes(struct stream *s, const uint8_t *at, size_t n) {
    struct world *w = s->user;

    cr_assert_null(w->pending);
    stream_read_stop(s); /* one echo at a time: what comes meanwhile waits in the kernel */
    w->pending = malloc(n);
    memcpy(w->pending, at, n);
    cr_assert_eq(stream_write(s, w->pending, n), EG_OK);
    stream_net_turn(w->net);
}
static void server_written(struct stream *s, eg_err err) {
    struct world *w = s->user;

    cr_assert_eq(err, EG_OK);
    free(w->pending);
    w->pending = NULL;
    cr_assert_eq(stream_read_start(s), EG_OK);
}
static void server_end(struct stream *s, eg_err err) {
    ((struct world *) s->user)->server_end = err;
    stream_finish(s);
    stream_close(s);
}
static void any_closed(struct stream *s) {
    ((struct world *) s->user)->closed++;
}
static void client_send(struct world *w) {
    static uint8_t payload[PAYLOAD_BYTES];

    for (size_t i = 0; i < PAYLOAD_BYTES; i++)
        payload[i] = pattern(i);
    cr_assert_eq(stream_write(w->client, payload, PAYLOAD_BYTES), EG_OK);
}
static void client_connected(struct stream *s, eg_err err) {
    struct world *w = s->user;

    w->connected = err;
    if (err != EG_OK) {
        stream_close(s);
        return;
    }
    cr_assert_eq(stream_read_start(s), EG_OK);
    client_send(w);
}
static void client_bytes(struct stream *s, const uint8_t *at, size_t n) {
    struct world *w = s->user;

    for (size_t i = 0; i < n; i++)
        w->wrong_bytes += at[i] != pattern(w->got_bytes + i);
    w->got_bytes += n;
    stream_net_turn(w->net);
    if (w->got_bytes == PAYLOAD_BYTES)
        stream_finish(s);
}
static void client_written(struct stream *s, eg_err err) {
    (void) s;
    cr_assert_eq(err, EG_OK);
}
static void client_end(struct stream *s, eg_err err) {
    struct world *w = s->user;

    w->client_end = err;
    stream_close(s);
    stream_listener_close(w->listener);
}

static const struct stream_events server_events = {NULL, server_bytes, server_end, server_written,
                                                   any_closed};
static const struct stream_events client_events = {client_connected, client_bytes, client_end,
                                                   client_written, any_closed};

static void on_accept(void *user, struct stream_accepted accepted) {
    struct world *w = user;

    cr_assert_eq(stream_adopt(w->net, accepted, &server_events, w, &w->server), EG_OK);
    cr_assert_eq(stream_read_start(w->server), EG_OK);
}
static const struct listener_events door_events = {on_accept, NULL};

static void echo_through(const char *address) {
    struct world w = {.connected = EG_BUSY, .server_end = EG_BUSY, .client_end = EG_BUSY};
    struct err_note note = {""};

    cr_assert_eq(uv_loop_init(&w.loop), 0);
    cr_assert_eq(stream_net_uv_open(&w.net, alloc_system(), &w.loop), EG_OK);
    cr_assert_eq(stream_listen(w.net, address, true, &door_events, &w, &w.listener, &note), EG_OK,
                 "%s", note.text);
    cr_assert_eq(stream_connect(w.net, w.listener->address, &client_events, &w, &w.client, &note),
                 EG_OK, "%s", note.text);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    cr_assert_eq(w.connected, EG_OK);
    cr_assert_eq(w.got_bytes, PAYLOAD_BYTES);
    cr_assert_eq(w.wrong_bytes, 0);
    cr_assert_eq(w.server_end, EG_OK);
    cr_assert_eq(w.client_end, EG_OK);
    cr_assert_eq(w.closed, 2);
    stream_net_close(w.net);
    cr_assert_eq(uv_loop_close(&w.loop), 0);
}

TestSuite(stream, .timeout = 240);

Test(stream, tcp_brings_every_byte_in_order_and_then_the_end) {
    echo_through("127.0.0.1:0");
}

Test(stream, a_name_is_resolved) {
    echo_through("localhost:0");
}

Test(stream, a_unix_socket_does_the_same_and_leaves_no_file) {
    char path[64];

    snprintf(path, sizeof path, "unix:/tmp/test_stream.%d", (int) getpid());
    echo_through(path);
    cr_assert_eq(access(path + 5, F_OK), -1);
}

static void hoard(struct stream *s, const uint8_t *at, size_t n) {
    struct world *w = s->user;

    for (size_t i = 0; i < n; i++) /* contiguous, and lent until the turn is over */
        w->wrong_bytes += at[i] != pattern(w->got_bytes + i);
    w->got_bytes += n;
}

Test(stream, a_turn_brings_no_more_than_its_bound_and_the_next_one_the_rest) {
    static const struct stream_events hoarding = {NULL, hoard, client_end, NULL, any_closed};
    struct world w = {.client_end = EG_BUSY};
    static uint8_t payload[PAYLOAD_BYTES];
    int pair[2];
    size_t first_bytes, sent = 0;

    for (size_t i = 0; i < PAYLOAD_BYTES; i++)
        payload[i] = pattern(i);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    cr_assert_eq(uv_loop_init(&w.loop), 0);
    cr_assert_eq(stream_net_uv_open(&w.net, alloc_system(), &w.loop), EG_OK);
    cr_assert_eq(stream_listen(w.net, "127.0.0.1:0", true, &door_events, &w, &w.listener, NULL),
                 EG_OK);
    cr_assert_eq(
        stream_adopt(w.net, (struct stream_accepted){.handle = pair[0]}, &hoarding, &w, &w.client),
        EG_OK);
    cr_assert_eq(stream_read_start(w.client), EG_OK);
    fcntl(pair[1], F_SETFL, O_NONBLOCK);
    for (int turn = 0; turn < 100; turn++) { /* no turn is declared over: the buffer runs out */
        ssize_t n = write(pair[1], payload + sent, PAYLOAD_BYTES - sent);
        sent += n > 0 ? (size_t) n : 0;
        uv_run(&w.loop, UV_RUN_NOWAIT);
    }
    first_bytes = w.got_bytes;
    cr_assert_leq(first_bytes, STREAM_TURN_BYTES);
    cr_assert_gt(first_bytes, STREAM_TURN_BYTES - STREAM_READ_BYTES);
    stream_net_turn(w.net);
    uv_run(&w.loop, UV_RUN_NOWAIT);
    cr_assert_gt(w.got_bytes, first_bytes);
    cr_assert_eq(w.wrong_bytes, 0);
    close(pair[1]);
    while (w.closed == 0) {
        stream_net_turn(w.net);
        uv_run(&w.loop, UV_RUN_ONCE);
    }
    uv_run(&w.loop, UV_RUN_DEFAULT);
    cr_assert_eq(w.got_bytes, sent);
    stream_net_close(w.net);
    cr_assert_eq(uv_loop_close(&w.loop), 0);
}

struct refusal {
    uv_loop_t loop;
    struct stream_net *net;
    struct err_note note;
};

static eg_err try_listen(struct refusal *r, const char *address, struct stream_listener **out) {
    return stream_listen(r->net, address, true, &door_events, NULL, out, &r->note);
}

Test(stream, only_loopback_may_be_bound_where_that_is_asked) {
    struct refusal r = {.note = {""}};
    struct stream_listener *l = NULL;

    uv_loop_init(&r.loop);
    cr_assert_eq(stream_net_uv_open(&r.net, alloc_system(), &r.loop), EG_OK);
    cr_assert_eq(try_listen(&r, "0.0.0.0:0", &l), EG_DENIED);
    cr_assert_not_null(strstr(r.note.text, "0.0.0.0:0"));
    cr_assert_eq(try_listen(&r, "[::]:0", &l), EG_DENIED);
    cr_assert_eq(try_listen(&r, "nonsense", &l), EG_BAD_REQUEST);
    cr_assert_eq(try_listen(&r, "unix:/nowhere/at/all", &l), EG_DISC);
    cr_assert_null(l);
    stream_net_close(r.net);
    cr_assert_eq(uv_loop_close(&r.loop), 0);
}

Test(stream, a_port_in_use_is_refused_and_a_file_that_is_no_socket_stays) {
    struct refusal r = {.note = {""}};
    struct stream_listener *first, *second = NULL;
    char path[64];
    int fd;

    uv_loop_init(&r.loop);
    cr_assert_eq(stream_net_uv_open(&r.net, alloc_system(), &r.loop), EG_OK);
    cr_assert_eq(try_listen(&r, "127.0.0.1:0", &first), EG_OK);
    cr_assert_eq(try_listen(&r, first->address, &second), EG_DISC);

    snprintf(path, sizeof path, "unix:/tmp/test_stream_file.%d", (int) getpid());
    fd = open(path + 5, O_CREAT | O_WRONLY, 0600);
    cr_assert_eq(try_listen(&r, path, &second), EG_DISC);
    cr_assert_eq(access(path + 5, F_OK), 0);
    cr_assert_null(second);
    close(fd);
    unlink(path + 5);

    stream_listener_close(first);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    stream_net_close(r.net);
    cr_assert_eq(uv_loop_close(&r.loop), 0);
}

Test(stream, a_socket_file_left_by_a_dead_process_is_replaced) {
    struct refusal r = {.note = {""}};
    struct stream_listener *l;
    struct stat file;
    char path[64];

    snprintf(path, sizeof path, "unix:/tmp/test_stream_stale.%d", (int) getpid());
    uv_loop_init(&r.loop);
    cr_assert_eq(stream_net_uv_open(&r.net, alloc_system(), &r.loop), EG_OK);
    if (fork() == 0) {
        cr_assert_eq(try_listen(&r, path, &l), EG_OK);
        _exit(0);
    }
    while (stat(path + 5, &file) != 0)
        ;
    for (eg_err err = EG_DISC; err != EG_OK;) /* until the child is gone */
        err = try_listen(&r, path, &l);
    stream_listener_close(l);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    stream_net_close(r.net);
    cr_assert_eq(uv_loop_close(&r.loop), 0);
}

static void lone_connected(struct stream *s, eg_err err) {
    *(eg_err *) s->user = err;
    stream_close(s);
}
static void lone_closed(struct stream *s) {
    (void) s;
}
static const struct stream_events lone_events = {lone_connected, NULL, NULL, NULL, lone_closed};

Test(stream, connecting_to_nobody_says_so_and_closing_while_it_resolves_is_quiet) {
    struct refusal r = {.note = {""}};
    struct stream *s;
    eg_err nobody = EG_BUSY, cut = EG_BUSY;

    uv_loop_init(&r.loop);
    cr_assert_eq(stream_net_uv_open(&r.net, alloc_system(), &r.loop), EG_OK);
    cr_assert_eq(stream_connect(r.net, "127.0.0.1:1", &lone_events, &nobody, &s, NULL), EG_OK);
    cr_assert_eq(stream_connect(r.net, "localhost:1", &lone_events, &cut, &s, NULL), EG_OK);
    stream_close(s);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    cr_assert_eq(nobody, EG_CLOSED);
    cr_assert_eq(cut, EG_BUSY);
    stream_net_close(r.net);
    cr_assert_eq(uv_loop_close(&r.loop), 0);
}
