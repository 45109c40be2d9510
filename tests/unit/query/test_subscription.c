/* test_subscription.c -- events among answers, and clients that do not read them.
 *
 * Method: as test_session.c: one thread, a network in memory, a virtual clock. */
#include "query/rpc_proto.h"
#include "query/session.h"
#include "query/subscription.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/hand_node.h"

#include <criterion/criterion.h>
#include <string.h>

static struct hand_node node;
static uint8_t request[1 << 16];
static struct value_writer w;

static void setup(void) {
    hand_node_open(&node, &(struct hand_node_opts){0});
}

static void teardown(void) {
    hand_node_close(&node);
}

TestSuite(subscription, .init = setup, .fini = teardown, .timeout = 240);

/* ---- asking and hearing --------------------------------------------------------------- */

static void begin(uint32_t id, const char *method, uint32_t params) {
    w = value_writer_init(request, sizeof request);
    rpc_put_request(&w, id, method);
    value_put_array(&w, params);
}

static void send_it(struct memory_client *c) {
    cr_assert(!w.overflow);
    memory_send(c, request, w.need_bytes);
}

static struct memory_client *with_table(void) {
    struct memory_client *c = memory_dial(&node.net);

    begin(0, "create_table", 1);
    value_put_text(&w, "t");
    send_it(c);
    hand_node_run(&node);
    return c;
}

static void subscribe(struct memory_client *c, uint32_t id, bool disconnect) {
    begin(id, "subscribe", 1);
    value_put_map(&w, 2);
    value_put_text(&w, "table");
    value_put_text(&w, "t");
    value_put_text(&w, "slow");
    value_put_text(&w, disconnect ? "disconnect" : "drop");
    send_it(c);
}

static void write_binary(struct memory_client *c, uint32_t id, int64_t key, size_t size_bytes) {
    static const uint8_t nothing[60000];

    begin(id, "write", 2);
    value_put_text(&w, "t");
    value_put_array(&w, 2);
    value_put_i64(&w, key);
    value_put_binary(&w, nothing, size_bytes);
    send_it(c);
}

struct heard {
    uint32_t answers, refusals, writes, gaps;
    uint64_t missing;
};

static void hear_event(struct heard *h, struct value params) {
    struct value_iter it = value_iter_of(params);
    struct value part[5], missing;

    cr_assert_eq(value_count(params), 5u);
    for (int i = 0; i < 5; i++)
        cr_assert(value_iter_next(&it, &part[i]));
    h->writes += value_is_string(part[1], "write");
    if (value_is_string(part[1], "gap")) {
        uint64_t n;
        it = value_iter_of(part[4]);
        cr_assert(value_iter_next(&it, &missing) && value_iter_next(&it, &missing));
        cr_assert(value_get_u64(missing, &n));
        h->gaps++;
        h->missing += n;
    }
}

/* All the client has received so far, which is then forgotten. */
static struct heard hear(struct memory_client *c) {
    struct heard h = {0};
    size_t at = 0, used;

    while (at < c->received.size_bytes &&
           value_scan(c->received.at + at, c->received.size_bytes - at, &used) == EG_OK) {
        struct rpc_frame f;
        cr_assert_eq(rpc_parse((struct value){c->received.at + at, (uint32_t) used}, &f), EG_OK);
        if (f.kind == RPC_NOTIFICATION)
            hear_event(&h, f.params);
        else if (value_kind_of(f.error) != VALUE_NIL)
            h.refusals++;
        else
            h.answers++;
        at += used;
    }
    if (at > 0) {
        c->received.size_bytes -= at;
        memmove(c->received.at, c->received.at + at, c->received.size_bytes);
    }
    return h;
}

/* ---- claims ------------------------------------------------------------------------------ */

Test(subscription, events_and_answers_share_a_connection) {
    struct memory_client *c = with_table();
    struct heard h;

    subscribe(c, 1, false);
    for (uint32_t i = 0; i < 100; i++)
        write_binary(c, 2 + i, i, 10);
    hand_node_run(&node);
    h = hear(c);
    cr_assert_eq(h.answers, 102u);
    cr_assert_eq(h.writes, 100u);
    memory_hang_up(c);
}

Test(subscription, a_client_that_does_not_read_finds_a_gap_and_the_rest) {
    struct memory_client *writer = with_table(), *c = memory_dial(&node.net);
    const uint32_t count = 1000;
    struct heard h;

    subscribe(c, 1, false);
    hand_node_run(&node);
    cr_assert_eq(hear(c).answers, 1u);
    c->window_bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        write_binary(writer, 1 + i, i, 60000);
        hand_node_run(&node);
        hear(writer);
    }
    c->window_bytes = SIZE_MAX;
    hand_node_run(&node);
    h = hear(c);
    cr_assert_gt(h.missing, 0u);
    cr_assert_eq(h.writes + h.missing, count);
    write_binary(writer, 2000, 1, 1);
    hand_node_run(&node);
    cr_assert_eq(hear(c).writes, 1u);
    memory_hang_up(c);
    memory_hang_up(writer);
}

Test(subscription, a_slow_client_that_wants_to_be_disconnected_is) {
    struct memory_client *writer = with_table(), *c = memory_dial(&node.net);

    subscribe(c, 1, true);
    hand_node_run(&node);
    c->window_bytes = 0;
    for (uint32_t i = 0; i < 1000 && !c->server_closed; i++) {
        write_binary(writer, 1 + i, i, 60000);
        hand_node_run(&node);
    }
    cr_assert(c->server_closed);
    memory_hang_up(c);
    memory_hang_up(writer);
}

Test(subscription, a_client_that_vanishes_leaves_nothing_behind) {
    struct memory_client *writer = with_table();

    for (uint32_t i = 0; i < 50; i++) {
        struct memory_client *c = memory_dial(&node.net);
        for (uint32_t n = 0; n < SUBSCRIPTIONS_SESSION_MAX + 1; n++)
            subscribe(c, n, n % 2 == 0);
        hand_node_run(&node);
        cr_assert_eq(hear(c).refusals, 1u);
        write_binary(writer, 1 + i, 1, 1);
        memory_vanish(c);
        hand_node_run(&node);
        memory_hang_up(c);
    }
    memory_hang_up(writer);
}

Test(subscription_bounds, without_memory_it_is_refused_or_it_works, .timeout = 240) {
    for (int granted = 0; granted < 12; granted++) {
        struct fail_alloc memory = fail_alloc_after(INT_MAX);
        struct memory_client *writer, *c;
        struct heard h;

        hand_node_open(&node, &(struct hand_node_opts){.server_alloc = &memory.base});
        writer = with_table();
        c = memory_dial(&node.net);
        hand_node_run(&node);
        atomic_store(&memory.left, granted);
        subscribe(c, 1, false);
        hand_node_run(&node);
        atomic_store(&memory.left, INT_MAX);
        write_binary(writer, 1, 1, 1);
        hand_node_run(&node);
        h = hear(c);
        cr_assert(c->server_closed || h.answers + h.refusals == 1);
        cr_assert_eq(h.writes, h.answers);
        memory_hang_up(c);
        memory_hang_up(writer);
        hand_node_close(&node);
        cr_assert_eq(atomic_load(&memory.live), 0);
    }
}
