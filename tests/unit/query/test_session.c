/* test_session.c -- what clients do, good and bad, and what they get for it.
 *
 * Method: a node of one thread, a network in memory, a virtual clock.  Requests are
 * written as MessagePack by a small writer, answers are looked at as bytes. */
#include "query/rpc_proto.h"
#include "query/session.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/hand_node.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct hand_node node;

static void setup(void) {
    hand_node_open(&node, &(struct hand_node_opts){0});
}

static void teardown(void) {
    hand_node_close(&node);
}

TestSuite(session, .init = setup, .fini = teardown, .timeout = 240);

/* ---- asking ------------------------------------------------------------------------ */

static uint8_t request[1 << 16];
static struct value_writer w;

static void begin(uint32_t id, const char *method, uint32_t params) {
    w = value_writer_init(request, sizeof request);
    rpc_put_request(&w, id, method);
    value_put_array(&w, params);
}

static void send_it(struct memory_client *c) {
    cr_assert(!w.overflow);
    memory_send(c, request, w.need_bytes);
}

static void ping(struct memory_client *c, uint32_t id) {
    begin(id, "ping", 0);
    send_it(c);
}

static void create(struct memory_client *c, uint32_t id, const char *table) {
    begin(id, "create_table", 1);
    value_put_text(&w, table);
    send_it(c);
}

static void write_pair(struct memory_client *c, uint32_t id, int64_t key, int64_t value) {
    begin(id, "write", 2);
    value_put_text(&w, "t");
    value_put_array(&w, 2);
    value_put_i64(&w, key);
    value_put_i64(&w, value);
    send_it(c);
}

static void read_key(struct memory_client *c, uint32_t id, int64_t key) {
    begin(id, "read", 2);
    value_put_text(&w, "t");
    value_put_i64(&w, key);
    send_it(c);
}

/* The answer to `id` among all the client has received; a dead client has none. */
static bool answer_of(struct memory_client *c, uint32_t id, struct rpc_frame *out) {
    size_t at = 0, used;

    while (at < c->received.size_bytes &&
           value_scan(c->received.at + at, c->received.size_bytes - at, &used) == EG_OK) {
        struct value frame = {c->received.at + at, (uint32_t) used};
        cr_assert_eq(rpc_parse(frame, out), EG_OK);
        if (out->kind == RPC_RESPONSE && out->msgid == id)
            return true;
        at += used;
    }
    return false;
}

static uint32_t answers(struct memory_client *c) {
    size_t at = 0, used;
    uint32_t count = 0;

    while (at < c->received.size_bytes &&
           value_scan(c->received.at + at, c->received.size_bytes - at, &used) == EG_OK) {
        at += used;
        count++;
    }
    return count;
}

static void assert_ok(struct memory_client *c, uint32_t id) {
    struct rpc_frame f;

    cr_assert(answer_of(c, id, &f), "no answer to %u", id);
    cr_assert_eq(value_kind_of(f.error), VALUE_NIL, "%u: %.*s", id, (int) f.error.size_bytes,
                 (const char *) f.error.at);
}

static void assert_refused(struct memory_client *c, uint32_t id, const char *code) {
    struct rpc_frame f;
    const uint8_t *at;
    uint32_t size_bytes;

    cr_assert(answer_of(c, id, &f), "no answer to %u", id);
    cr_assert_eq(value_kind_of(f.error), VALUE_STRING, "%u", id);
    cr_assert(value_get_bytes(f.error, &at, &size_bytes));
    cr_assert(size_bytes > strlen(code) && memcmp(at, code, strlen(code)) == 0, "%u: %.*s", id,
              (int) size_bytes, (const char *) at);
    cr_assert_eq(at[strlen(code)], ':');
}

static struct memory_client *with_table(void) {
    struct memory_client *c = memory_dial(&node.net);

    create(c, 0, "t");
    hand_node_run(&node);
    assert_ok(c, 0);
    return c;
}

/* ---- good clients ---------------------------------------------------------------------- */

Test(session, answers_arrive_whole_however_the_requests_are_cut) {
    for (size_t piece_bytes = 1; piece_bytes < 40; piece_bytes++) {
        struct memory_client *c = memory_dial(&node.net);
        c->piece_bytes = piece_bytes;
        for (uint32_t id = 0; id < 20; id++)
            ping(c, id);
        hand_node_run(&node);
        for (uint32_t id = 0; id < 20; id++)
            assert_ok(c, id);
        cr_assert_eq(answers(c), 20);
        memory_hang_up(c);
        hand_node_run(&node);
    }
}

Test(session, a_pipeline_reads_its_own_writes_and_sees_the_table_it_made) {
    struct memory_client *c = memory_dial(&node.net);
    struct rpc_frame f;
    struct value record;
    int64_t value;

    create(c, 9000, "t");
    for (uint32_t i = 0; i < 1000; i++) {
        write_pair(c, 2 * i, 7, i);
        read_key(c, 2 * i + 1, 7);
    }
    hand_node_run(&node);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_ok(c, 2 * i);
        assert_ok(c, 2 * i + 1);
        answer_of(c, 2 * i + 1, &f);
        cr_assert_eq(value_count(f.result), 1);
        cr_assert(array_element(f.result, 0, &record));
        cr_assert(array_element(record, 1, &record));
        cr_assert(value_get_i64(record, &value));
        cr_assert_eq(value, i);
    }
    memory_hang_up(c);
}

Test(session, unknown_methods_are_answered_and_the_connection_goes_on) {
    struct memory_client *c = memory_dial(&node.net);

    begin(1, "nvim_set_client_info", 0);
    send_it(c);
    begin(2, "auth", 0);
    send_it(c);
    memory_send(c, "\x94\x00\x03\xc4\x04ping\x90", 10); /* the method as binary */
    hand_node_run(&node);
    assert_refused(c, 1, "no_method");
    assert_refused(c, 2, "no_method");
    assert_ok(c, 3);
    cr_assert(!c->server_closed);
    memory_hang_up(c);
}

Test(session, a_notification_is_carried_out_unanswered) {
    struct memory_client *c = with_table();

    w = value_writer_init(request, sizeof request);
    rpc_put_notification(&w, "write");
    value_put_array(&w, 2);
    value_put_text(&w, "t");
    value_put_array(&w, 2);
    value_put_i64(&w, 5);
    value_put_i64(&w, 6);
    send_it(c);
    w = value_writer_init(request, sizeof request);
    rpc_put_notification(&w, "no such thing");
    value_put_array(&w, 0);
    send_it(c);
    read_key(c, 1, 5);
    hand_node_run(&node);
    cr_assert_eq(answers(c), 2);
    struct rpc_frame f;
    cr_assert(answer_of(c, 1, &f));
    cr_assert_eq(value_count(f.result), 1);
    memory_hang_up(c);
}

Test(session, what_was_sent_before_a_half_close_is_still_answered) {
    struct memory_client *c = with_table();

    for (uint32_t id = 1; id <= 500; id++)
        write_pair(c, id, id, id);
    memory_half_close(c);
    hand_node_run(&node);
    for (uint32_t id = 1; id <= 500; id++)
        assert_ok(c, id);
    cr_assert(c->server_closed);
    memory_hang_up(c);
}

Test(session, idle_connections_hold_no_buffers) {
    struct memory_client *c[100];

    for (uint32_t i = 0; i < 100; i++) {
        c[i] = memory_dial(&node.net);
        c[i]->piece_bytes = 1 + i % 7; /* some have had unfinished frames */
        ping(c[i], i);
    }
    hand_node_run(&node);
    for (uint32_t i = 0; i < 100; i++) {
        const struct session *s = memory_user(c[i]);
        assert_ok(c[i], i);
        cr_assert_null(s->held.at);
        cr_assert_null(s->out.at);
        cr_assert_null(s->sending.at);
        memory_hang_up(c[i]);
    }
}

/* ---- bad clients ------------------------------------------------------------------------ */

static void assert_cut_off(const void *bytes, size_t size_bytes, bool answered, const char *code) {
    struct memory_client *c = memory_dial(&node.net);

    ping(c, 77);
    memory_send(c, bytes, size_bytes);
    ping(c, 78); /* nothing after it is looked at */
    hand_node_run(&node);
    assert_ok(c, 77);
    if (answered)
        assert_refused(c, 5, code);
    cr_assert_eq(answers(c), answered ? 2 : 1);
    cr_assert(c->server_finished, "the server has said that it is over");
    hand_node_pass(&node, 2 * SESSION_LINGER_MS);
    cr_assert(c->server_closed);
    memory_hang_up(c);
    hand_node_run(&node);
}

Test(session, what_is_no_request_is_answered_where_it_has_an_id_and_ends_the_connection) {
    assert_cut_off("\xc1", 1, false, NULL);
    assert_cut_off("GET / HTTP/1.1\r\n\r\n", 18, false, NULL);
    assert_cut_off("\x93\x00\x05\x06", 4, false, NULL);                 /* too short      */
    assert_cut_off("\x94\x00\x05\x07\x90", 5, true, "bad_request");     /* no method      */
    assert_cut_off("\x94\x00\x05\xa4ping\xc0", 9, true, "bad_request"); /* no params      */
    assert_cut_off("\x94\x07\x05\xa4ping\x90", 9, false, NULL);         /* no known kind  */
    assert_cut_off("\x94\x00\x05\xa4ping\x91\xc1", 10, true, "bad_request");
}

Test(session, lying_headers_are_refused_at_the_header_and_cost_nothing) {
    struct memory_client *c;
    static const char *const lies[] = {
        "\x94\x00\x05\xa4ping\x91\xc6\xff\xff\xff\xff", /* a binary of 4 GiB        */
        "\x94\x00\x05\xa4ping\xdd\xff\xff\xff\xff",     /* 2^32 parameters          */
        "\x94\x00\x05\xa4ping\x91\xdf\xff\xff\xff\xff", /* a map of 2^32 pairs      */
    };

    for (size_t i = 0; i < EG_COUNTOF(lies); i++) {
        c = memory_dial(&node.net);
        memory_send(c, lies[i], i == 1 ? 13 : 14);
        hand_node_run(&node);
        assert_refused(c, 5, "too_large");
        memory_hang_up(c);
        hand_node_run(&node);
    }
}

Test(session, nesting_has_a_bound) {
    char deep[200];
    size_t size_bytes = 0;

    memcpy(deep, "\x94\x00\x05\xa4ping\x91", 9);
    for (size_bytes = 9; size_bytes < 100; size_bytes++)
        deep[size_bytes] = (char) 0x91;
    deep[size_bytes++] = 0;
    assert_cut_off(deep, size_bytes, true, "too_large");
}

Test(session, one_that_never_reads_is_not_read_from_and_closed_in_the_end) {
    struct memory_client *c = with_table();
    uint64_t waited_ms = 0;

    begin(1, "write", 2);
    value_put_text(&w, "t");
    value_put_array(&w, 2);
    value_put_i64(&w, 1);
    static const char big[20000];
    value_put_binary(&w, big, sizeof big);
    send_it(c);
    hand_node_run(&node);
    c->window_bytes = 1000;
    for (uint32_t id = 2; id < 100000; id++)
        read_key(c, id, 1);
    hand_node_run(&node);
    cr_assert_gt(c->sent.size_bytes, 0, "the rest waits with the client");
    cr_assert(!c->server_closed);
    while (!c->server_closed && waited_ms < 10 * SESSION_WRITE_MS) {
        hand_node_pass(&node, 1000);
        waited_ms += 1000;
    }
    cr_assert(c->server_closed);
    cr_assert_geq(waited_ms, SESSION_WRITE_MS);
    cr_assert_leq(waited_ms, SESSION_WRITE_MS + 5000);
    memory_hang_up(c);
}

Test(session, one_that_reads_slowly_gets_everything) {
    struct memory_client *c = with_table();
    static const char big[20000];

    begin(1, "write", 2);
    value_put_text(&w, "t");
    value_put_array(&w, 2);
    value_put_i64(&w, 1);
    value_put_binary(&w, big, sizeof big);
    send_it(c);
    for (uint32_t id = 2; id < 1000; id++)
        read_key(c, id, 1);
    c->window_bytes = 0;
    for (int i = 0; i < 100000 && answers(c) < 998; i += 1) {
        c->window_bytes = 300000;
        hand_node_pass(&node, 1000);
    }
    for (uint32_t id = 1; id < 1000; id++)
        assert_ok(c, id);
    memory_hang_up(c);
}

Test(session, a_broken_connection_ends_its_session_and_nothing_else) {
    struct memory_client *good = with_table(), *bad;

    for (int i = 0; i < 50; i++) {
        bad = memory_dial(&node.net);
        for (uint32_t id = 0; id < 100; id++)
            write_pair(bad, id, id, i);
        memory_send(bad, request, 3); /* and a bit of a frame */
        if (i % 2 == 0)
            hand_node_move(&node);
        memory_hang_up(bad);
        hand_node_run(&node);
    }
    ping(good, 1);
    hand_node_run(&node);
    assert_ok(good, 1);
    memory_hang_up(good);
}

/* ---- bounds that all share --------------------------------------------------------------- */

TestSuite(session_bounds, .timeout = 240);

Test(session_bounds, one_connection_too_many_is_told_so) {
    struct memory_client *c[4], *late, *silent;

    hand_node_open(&node, &(struct hand_node_opts){.connections_max = 4});
    for (int i = 0; i < 4; i++)
        c[i] = memory_dial(&node.net);
    late = memory_dial(&node.net);
    silent = memory_dial(&node.net);
    ping(late, 5);
    hand_node_run(&node);
    assert_refused(late, 5, "busy");
    cr_assert(late->server_finished);
    cr_assert_eq(answers(silent), 0);
    hand_node_pass(&node, SESSION_UNWELCOME_MS + 1000);
    assert_refused(silent, 0, "busy");
    memory_hang_up(late);
    memory_hang_up(silent);
    memory_hang_up(c[0]);
    hand_node_run(&node);
    c[0] = memory_dial(&node.net); /* there is room again */
    ping(c[0], 6);
    hand_node_run(&node);
    assert_ok(c[0], 6);
    for (int i = 0; i < 4; i++)
        memory_hang_up(c[i]);
    hand_node_close(&node);
}

Test(session_bounds, unfinished_frames_share_one_bound_and_the_largest_goes_first) {
    enum { SLOW = 20, PART = 60000 };
    struct memory_client *slow[SLOW], *honest;
    static char part[PART];
    uint32_t closed = 0;

    hand_node_open(&node, &(struct hand_node_opts){.input_max_bytes = 10 * PART});
    honest = memory_dial(&node.net);
    memcpy(part, "\x94\x00\x05\xa4ping\x91\xc6\x00\x0f\x00\x00", 14);
    begin(8, "ping", 0);
    memory_send(honest, request, w.need_bytes - 1); /* also unfinished, but small */
    for (int i = 0; i < SLOW; i++) {
        slow[i] = memory_dial(&node.net);
        memory_send(slow[i], part, (size_t) (PART - i));
        hand_node_run(&node);
    }
    for (int i = 0; i < SLOW; i++)
        closed += slow[i]->server_finished;
    cr_assert_geq(closed, SLOW - 10);
    cr_assert_lt(closed, SLOW);
    assert_refused(slow[0], 5, "busy"); /* the largest */
    memory_send(honest, request + w.need_bytes - 1, 1);
    hand_node_run(&node);
    assert_ok(honest, 8);
    for (int i = 0; i < SLOW; i++)
        memory_hang_up(slow[i]);
    memory_hang_up(honest);
    hand_node_close(&node);
}

Test(session_bounds, a_frame_past_its_bound_is_refused_also_when_it_arrives_whole) {
    struct memory_client *c;
    static char bytes[5000];

    hand_node_open(&node, &(struct hand_node_opts){.frame_max_bytes = 4096});
    c = memory_dial(&node.net);
    memcpy(bytes, "\x94\x00\x05\xa4ping\x91\xc5\x11\x00", 12);
    memory_send(c, bytes, 12 + 0x1100);
    hand_node_run(&node);
    assert_refused(c, 5, "too_large");
    memory_hang_up(c);
    hand_node_close(&node);
}

Test(session_bounds, large_answers_do_not_pile_up_and_each_comes_once) {
    enum { READS = 400, BIG = 1 << 20, ENOUGH = 10 << 20 };
    struct fail_alloc memory = fail_alloc_after(INT_MAX);
    static uint8_t bytes[BIG + 64], filling[BIG];
    struct memory_client *c;

    hand_node_open(&node, &(struct hand_node_opts){.server_alloc = &memory.base});
    c = with_table();
    w = value_writer_init(bytes, sizeof bytes);
    rpc_put_request(&w, 1, "write");
    value_put_array(&w, 2);
    value_put_text(&w, "t");
    value_put_array(&w, 2);
    value_put_i64(&w, 1);
    value_put_binary(&w, filling, BIG - 64);
    memory_send(c, bytes, w.need_bytes);
    hand_node_run(&node);
    c->window_bytes = 0;
    for (uint32_t id = 2; id < 2 + READS; id++) {
        read_key(c, id, id % 7 == 0 ? 2 : 1);
        if (id % 100 == 0)
            ping(c, 10000 + id);
        if (id % 110 == 0) {
            begin(20000 + id, "no such method", 0);
            send_it(c);
        }
    }
    memory.peak_bytes = 0;
    hand_node_run(&node);
    cr_assert_lt(memory.peak_bytes, ENOUGH);
    c->window_bytes = SIZE_MAX;
    hand_node_run(&node);
    cr_assert_lt(memory.peak_bytes, ENOUGH);
    cr_assert_eq(answers(c), 2 + READS + READS / 100 + READS / 110);
    for (uint32_t id = 2; id < 2 + READS; id++)
        assert_ok(c, id);
    memory_hang_up(c);
    hand_node_close(&node);
    cr_assert_eq(memory.live, 0);
}

Test(session_bounds, a_stop_answers_what_was_received_first) {
    struct memory_client *c, *idle;

    hand_node_open(&node, &(struct hand_node_opts){0});
    idle = memory_dial(&node.net);
    c = with_table();
    for (uint32_t id = 1; id <= 300; id++)
        write_pair(c, id, id, id);
    hand_node_move(&node); /* received, not executed */
    server_close(node.server);
    for (uint32_t id = 1; id <= 300; id++)
        assert_ok(c, id);
    cr_assert(c->server_closed);
    cr_assert(idle->server_closed);
    cr_assert_null(memory_dial(&node.net));
    memory_hang_up(c);
    memory_hang_up(idle);
    cr_assert_eq(catalog_close(node.catalog), EG_OK);
    runtime_stop(node.runtime);
    runtime_close(node.runtime);
    epoch_close(node.epoch);
}

/* Goal: no failed allocation crashes, leaks, or hangs a server; some only lose their
 * connection.  Method: fail all after the n-th, for every n that a session needs. */
Test(session_bounds, failing_memory_costs_answers_or_connections_and_nothing_else) {
    for (int granted = 3; granted < 60; granted++) {
        struct fail_alloc memory = fail_alloc_after(INT_MAX);
        struct memory_client *c;

        hand_node_open(&node, &(struct hand_node_opts){.server_alloc = &memory.base});
        memory.left = granted - 3;
        c = memory_dial(&node.net);
        create(c, 1, "t");
        for (uint32_t id = 2; id < 50; id++) {
            write_pair(c, id, id, id);
            read_key(c, 100 + id, id);
            if (id % 5 == 0)
                memory_send(c, "\x94\x00", 2), memory_send(c, "\x07\xa4ping\x90", 7);
            hand_node_move(&node);
        }
        hand_node_run(&node);
        memory_hang_up(c);
        memory.left = INT_MAX;
        hand_node_close(&node);
        cr_assert_eq(memory.live, 0, "%d blocks leaked when %d are granted", memory.live, granted);
    }
}

/* ---- what fuzzing has found ------------------------------------------------------------------ */

Test(session, the_key_cannot_be_indexed) {
    struct memory_client *c = with_table();

    begin(1, "add_index", 2);
    value_put_text(&w, "t");
    value_put_text(&w, "key");
    send_it(c);
    begin(2, "create_table", 2);
    value_put_text(&w, "u");
    value_put_map(&w, 1);
    value_put_text(&w, "index");
    value_put_array(&w, 1);
    value_put_text(&w, "key");
    send_it(c);
    hand_node_run(&node);
    assert_refused(c, 1, "bad_request");
    assert_refused(c, 2, "bad_request");
    memory_hang_up(c);
}
