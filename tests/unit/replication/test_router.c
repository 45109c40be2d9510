/* Requests find the node that may do them, and their answers the way back.  One node is real; the
 * other one is played by the test, payload by payload. */
#include "replication/router.h"
#include "replication/router_wire.h"
#include "replication/witness.h"
#include "engine/supervisor.h"
#include "tables/table_private.h"
#include "tests/support/table_world.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <string.h>

enum { ME = 1, OTHER = 2, THIRD = 3, STAMP = 1000 };

/* What the other node does with a request. */
enum mood {
    ANSWERS,
    REFUSES_ONCE,
    SILENT,
    UNREACHABLE,
    LOST,
    LEFT_OUT,
    BACK,
    COPIES_ANSWER, /* it says nothing, and all copies say that they have it */
    OURS_ANSWERS,  /* our own copy alone does                               */
    OTHERS_LATE,   /* ours does, and the others say so of an earlier view   */
};

struct town {
    struct table_world w;
    struct router *router;
    eg_pid root;
    struct table *table;
    struct view_id view;
    uint64_t master;
    enum mood mood;
    uint32_t requests;   /* that the other was sent */
    uint64_t unanswered; /* the one that it had when it was left out */
    struct router_request last;
    uint8_t copy[1024];          /* of its bytes */
    struct router_answer answer; /* that was sent to the other */
    uint8_t answer_copy[1024];
    uint32_t answers;
};

static void say(struct town *n, uint64_t id, eg_err outcome, const void *bytes, size_t size_bytes) {
    struct buffer b;

    buffer_init(&b, alloc_system(), 1024);
    cr_assert_eq(router_put_answer(&b, id, outcome, bytes, size_bytes), EG_OK);
    router_receive(n->router, OTHER, (struct value){b.at, (uint32_t) b.size_bytes});
    buffer_fini(&b);
}

static void open_all(struct town *n, enum shard_role role) {
    for (uint32_t i = 0; i < 4; i++)
        atomic_store(&n->table->shard[i].role, role);
}

static void copies_answer(struct town *n, bool other, struct view_id in) {
    const struct witness_word word = {
        .node = ME, .number = n->last.id, .hlc = STAMP, .count = 2, .copy = {ME, THIRD}};
    uint8_t room[ROUTER_HAVE_BYTES];
    const struct router_have have = {n->last.id, in};

    if (other)
        router_receive(n->router, THIRD, router_put_have(room, &have));
    router_witness()->tell(n->router, &word);
}

static void other_answers(struct town *n) {
    uint8_t bytes[64];
    struct value result = text_value(bytes, sizeof bytes,
                                     n->last.what.op == SHARD_READ         ? "[[1, 'away']]"
                                     : n->last.what.op == SHARD_WRITE_MANY ? "1"
                                                                           : "true");

    switch (n->mood) {
    case ANSWERS:
        say(n, n->last.id, EG_OK, result.at, result.size_bytes);
        break;
    case REFUSES_ONCE:
        n->mood = ANSWERS;
        say(n, n->last.id, EG_NO_REPLICA, "", 0);
        break;
    case LOST:
        router_node_down(n->router, OTHER);
        n->master = ME;
        open_all(n, SHARD_MASTER);
        break;
    case LEFT_OUT: /* it stands still, and is asked again when it is back */
        n->unanswered = n->last.id;
        n->mood = BACK;
        router_node_down(n->router, OTHER);
        break;
    case BACK:
        say(n, n->unanswered, EG_OK, "\x91\x92\x01\xa3old", 7);
        say(n, n->last.id, EG_OK, result.at, result.size_bytes);
        break;
    case COPIES_ANSWER:
    case OURS_ANSWERS:
        copies_answer(n, n->mood == COPIES_ANSWER, n->view);
        break;
    case OTHERS_LATE:
        copies_answer(n, true, (struct view_id){n->view.epoch - 1, n->view.hash});
        break;
    default:
        break;
    }
}

static eg_err send(void *user, uint64_t to, struct value payload) {
    struct town *n = user;
    struct router_payload p;

    if (n->mood == UNREACHABLE)
        return EG_NO_REPLICA;
    cr_assert_eq(to, OTHER);
    cr_assert_leq(payload.size_bytes, sizeof n->copy);
    memcpy(n->copy, payload.at, payload.size_bytes);
    cr_assert_eq(router_get((struct value){n->copy, payload.size_bytes}, &p), EG_OK);
    if (p.word == ROUTER_IS_REQUEST) {
        n->last = p.request;
        n->requests++;
        other_answers(n);
    } else if (p.word == ROUTER_IS_ANSWER) {
        n->answers++;
        memcpy(n->answer_copy, n->copy, payload.size_bytes);
        cr_assert_eq(router_get((struct value){n->answer_copy, payload.size_bytes}, &p), EG_OK);
        n->answer = p.answer;
    }
    return EG_OK;
}

static uint64_t master(void *user, const struct table *t, uint32_t shard) {
    (void) t, (void) shard; /* of all shards alike */
    return ((struct town *) user)->master;
}

static struct view_id view(void *user) {
    return ((struct town *) user)->view;
}

static void open_town(struct town *n, enum shard_role role) {
    struct router_opts o = {.alloc = alloc_system(),
                            .self = ME,
                            .master = master,
                            .view = view,
                            .send = send,
                            .user = n};
    static struct child_spec child; /* copied when the supervisor starts */
    struct supervisor_opts tree = {
        .label = "test", .intensity = 3, .period_ms = 1000, .children = &child, .child_count = 1};
    uint8_t bytes[64];

    *n = (struct town){.view = {7, 77}, .master = OTHER};
    table_world_open(&n->w, alloc_system(), 1);
    o.env = &n->w.st->env;
    o.runtime = n->w.st->rt;
    o.catalog = n->w.catalog;
    cr_assert_eq(router_open(&n->router, &o), EG_OK);
    router_child(n->router, &child);
    cr_assert_eq(supervisor_spawn(o.runtime, NULL, &tree, SPAWN_ON(0), NULL, &n->root), EG_OK);
    stepper_run(n->w.st);
    cr_assert_eq(table_world_ask(&n->w, CATALOG_CREATE, "t",
                                 text_value(bytes, sizeof bytes, "{'shards': 4}")),
                 EG_OK);
    n->table = table_world_find(&n->w, "t");
    open_all(n, role);
    catalog_set_route(n->w.catalog, router_route(n->router));
}

static void close_town(struct town *n) {
    catalog_set_route(n->w.catalog, NULL);
    supervisor_stop(n->w.st->rt, n->root);
    stepper_run(n->w.st);
    router_close(n->router);
    table_world_close(&n->w);
}

static eg_err run(struct town *n, enum shard_op op, const char *text) {
    uint8_t bytes[256];
    struct shard_request q = {.op = op, .attribute = SHARD_NO_ATTRIBUTE};
    struct value v = text_value(bytes, sizeof bytes, text);
    eg_err err;

    if (op == SHARD_READ || op == SHARD_DELETE)
        q.key = v;
    else
        q.value = v;
    reader_enter(&n->w.reader);
    err = table_world_run(&n->w, n->table, &q);
    reader_exit(&n->w.reader);
    return err;
}

static void result_is(const struct town *n, const char *text) {
    char found[256];

    cr_assert_str_eq(value_text((struct value){n->w.result.at, (uint32_t) n->w.result.size_bytes},
                                found, sizeof found),
                     text);
}

static struct value request_of_other(uint8_t *room, size_t room_bytes, struct town *n,
                                     enum shard_op op, const char *text, struct view_id in) {
    uint8_t bytes[256];
    struct buffer b;
    struct value v = text_value(bytes, sizeof bytes, text);
    struct router_request q = {.id = 42,
                               .view = in,
                               .table_name = {(const uint8_t *) "t", 1},
                               .records_id = table_schema(n->table)->id,
                               .what = {.op = op, .attribute = SHARD_NO_ATTRIBUTE}};

    if (op == SHARD_READ)
        q.what.key = v;
    else
        q.what.value = v;
    buffer_init(&b, alloc_system(), 1024);
    cr_assert_eq(router_put_request(&b, &q), EG_OK);
    cr_assert_leq(b.size_bytes, room_bytes);
    memcpy(room, b.at, b.size_bytes);
    v = (struct value){room, (uint32_t) b.size_bytes};
    buffer_fini(&b);
    return v;
}

Test(router, a_write_goes_to_the_master_and_its_answer_comes_back) {
    struct town n;

    open_town(&n, SHARD_FULL);
    cr_assert_eq(run(&n, SHARD_WRITE, "[1, 'x']"), EG_OK);
    result_is(&n, "true");
    cr_assert_eq(n.requests, 1);
    cr_assert_eq(n.last.view.epoch, 7);
    cr_assert_eq(n.last.what.op, SHARD_WRITE);
    close_town(&n);
}

Test(router, what_was_refused_is_asked_again) {
    struct town n;

    open_town(&n, SHARD_FULL);
    n.mood = REFUSES_ONCE;
    cr_assert_eq(run(&n, SHARD_WRITE, "[1, 'x']"), EG_OK);
    cr_assert_eq(n.requests, 2);
    close_town(&n);
}

Test(router, without_a_master_it_waits_and_then_says_so) {
    struct town n;

    open_town(&n, SHARD_STOPPED);
    n.master = 0;
    cr_assert_eq(run(&n, SHARD_WRITE, "[1, 'x']"), EG_NO_REPLICA);
    cr_assert_geq(n.w.st->now_ns, (uint64_t) ROUTER_WAIT_MS * 1000000);
    close_town(&n);
}

Test(router, a_node_that_cannot_be_reached_now_is_asked_later) {
    struct town n;

    open_town(&n, SHARD_FULL);
    n.mood = UNREACHABLE;
    cr_assert_eq(run(&n, SHARD_READ, "1"), EG_OK); /* a full copy reads here */
    open_all(&n, SHARD_AWAY);
    cr_assert_eq(run(&n, SHARD_READ, "1"), EG_NO_REPLICA);
    n.mood = ANSWERS;
    cr_assert_eq(run(&n, SHARD_READ, "1"), EG_OK);
    result_is(&n, "[[1, 'away']]");
    close_town(&n);
}

Test(router, silence_is_a_timeout) {
    struct town n;

    open_town(&n, SHARD_FULL);
    n.mood = SILENT;
    cr_assert_eq(run(&n, SHARD_WRITE, "[1, 'x']"), EG_TIMEOUT);
    close_town(&n);
}

Test(router, a_change_is_answered_when_all_copies_say_that_they_have_it) {
    struct town n;

    open_town(&n, SHARD_FULL);
    n.mood = COPIES_ANSWER;
    cr_assert_eq(run(&n, SHARD_WRITE, "[1, 'x']"), EG_OK);
    result_is(&n, "true");
    n.mood = ANSWERS; /* also of the one before: nobody waits for it */
    say(&n, n.last.id, EG_IN_DOUBT, "", 0);
    cr_assert_eq(run(&n, SHARD_WRITE, "[1, 'y']"), EG_OK);
    close_town(&n);
}

Test(router, a_copy_that_does_not_say_so_is_waited_for) {
    struct town n;

    open_town(&n, SHARD_FULL);
    n.mood = OURS_ANSWERS;
    cr_assert_eq(run(&n, SHARD_WRITE, "[1, 'x']"), EG_TIMEOUT);
    n.mood = OTHERS_LATE;
    cr_assert_eq(run(&n, SHARD_WRITE, "[1, 'x']"), EG_TIMEOUT);
    close_town(&n);
}

Test(router, what_all_have_by_the_masters_count_is_answered_too) {
    struct town n;

    open_town(&n, SHARD_FULL);
    n.mood = OURS_ANSWERS;
    for (uint32_t i = 0; i < 4; i++)
        atomic_store(&n.table->shard[i].stable, STAMP);
    cr_assert_eq(run(&n, SHARD_WRITE, "[1, 'x']"), EG_OK);
    result_is(&n, "true");
    open_all(&n, SHARD_AWAY); /* our copy went elsewhere: nobody tells us any more */
    cr_assert_eq(run(&n, SHARD_WRITE, "[1, 'x']"), EG_IN_DOUBT);
    close_town(&n);
}

Test(router, a_change_is_in_doubt_when_its_node_is_lost_and_a_read_is_asked_again) {
    struct town n;

    open_town(&n, SHARD_AWAY);
    n.mood = LOST;
    cr_assert_eq(run(&n, SHARD_WRITE, "[1, 'x']"), EG_IN_DOUBT);
    open_all(&n, SHARD_AWAY);
    n.master = OTHER;
    cr_assert_eq(run(&n, SHARD_READ, "1"), EG_OK); /* by the new master: it is not there */
    result_is(&n, "[]");
    close_town(&n);
}

Test(router, what_is_read_out_of_a_view_that_is_over_comes_too_late) {
    struct town n;

    open_town(&n, SHARD_AWAY);
    n.mood = LEFT_OUT;
    cr_assert_eq(run(&n, SHARD_READ, "1"), EG_OK);
    result_is(&n, "[[1, 'away']]");
    cr_assert_eq(n.requests, 2);
    close_town(&n);
}

Test(router, many_records_go_shard_by_shard_and_are_answered_once) {
    struct town n;
    uint8_t bytes[256];

    open_town(&n, SHARD_FULL);
    cr_assert_eq(table_world_ask(&n.w, CATALOG_WRITE_MANY, "t",
                                 text_value(bytes, sizeof bytes,
                                            "[[1,1],[2,2],[3,3],[4,4],[5,5],[6,6],[7,7],[8,8]]")),
                 EG_OK);
    result_is(&n, "8");
    cr_assert_geq(n.requests, 2);
    cr_assert_leq(n.requests, 4);
    cr_assert_eq(table_world_ask(&n.w, CATALOG_WRITE_MANY, "t",
                                 text_value(bytes, sizeof bytes, "[[1,1],[2]]")),
                 EG_BAD_RECORD);
    cr_assert_eq(
        table_world_ask(&n.w, CATALOG_WRITE_MANY, "t", text_value(bytes, sizeof bytes, "[]")),
        EG_OK);
    result_is(&n, "0");
    close_town(&n);
}

Test(router, a_visitor_of_this_view_is_served_and_of_another_is_not) {
    struct town n;
    uint8_t room[512];

    open_town(&n, SHARD_ALONE); /* whose answers wait for nobody */
    router_receive(n.router, OTHER,
                   request_of_other(room, sizeof room, &n, SHARD_WRITE, "[1, 'x']", n.view));
    stepper_run(n.w.st);
    cr_assert_eq(n.answers, 1);
    cr_assert_eq(n.answer.id, 42);
    cr_assert_eq(n.answer.outcome, EG_OK);
    router_receive(
        n.router, OTHER,
        request_of_other(room, sizeof room, &n, SHARD_WRITE, "[2, 'x']", (struct view_id){6, 77}));
    stepper_run(n.w.st);
    cr_assert_eq(n.answer.outcome, EG_NO_REPLICA);
    reader_enter(&n.w.reader);
    cr_assert_eq(table_size(n.table, &n.w.reader), 1);
    reader_exit(&n.w.reader);
    close_town(&n);
}

/* Whose table has other fields by now, or not yet: it asks again when both have the same. */
Test(router, a_visitor_that_knows_another_layout_is_not_served) {
    struct town n;
    uint8_t room[512], bytes[64];
    struct value request;

    open_town(&n, SHARD_ALONE);
    request = request_of_other(room, sizeof room, &n, SHARD_WRITE, "[1, 'x']", n.view);
    cr_assert_eq(table_world_ask(&n.w, CATALOG_ALTER, "t",
                                 text_value(bytes, sizeof bytes, "['drop_attribute', 'value']")),
                 EG_OK);
    cr_assert_eq(table_world_ask(&n.w, CATALOG_ALTER, "t",
                                 text_value(bytes, sizeof bytes, "['add_attribute', 'v', 7]")),
                 EG_OK);
    n.table = table_world_find(&n.w, "t");
    open_all(&n, SHARD_ALONE);
    router_receive(n.router, OTHER, request);
    stepper_run(n.w.st);
    cr_assert_eq(n.answer.outcome, EG_NO_REPLICA);
    reader_enter(&n.w.reader);
    cr_assert_eq(table_size(n.table, &n.w.reader), 0);
    reader_exit(&n.w.reader);
    close_town(&n);
}

Test(router, a_visitor_hears_that_this_is_no_master_any_more) {
    struct town n;
    uint8_t room[512];

    open_town(&n, SHARD_FULL);
    router_receive(n.router, OTHER,
                   request_of_other(room, sizeof room, &n, SHARD_WRITE, "[1, 'x']", n.view));
    stepper_run(n.w.st);
    cr_assert_eq(n.answer.outcome, EG_NO_REPLICA);
    close_town(&n);
}

Test(router, a_visitors_bad_record_is_refused_with_the_reason) {
    struct town n;
    uint8_t room[512];

    open_town(&n, SHARD_MASTER);
    router_receive(n.router, OTHER,
                   request_of_other(room, sizeof room, &n, SHARD_WRITE, "[1]", n.view));
    stepper_run(n.w.st);
    cr_assert_eq(n.answer.outcome, EG_BAD_RECORD);
    cr_assert_gt(n.answer.result.size_bytes, 0);
    close_town(&n);
}

Test(router, payloads_that_make_no_sense_are_dropped) {
    static const char *const texts[] = {"1",
                                        "[]",
                                        "[0]",
                                        "[1, 2]",
                                        "[2, 1, 0, nil]",
                                        "[1, 99, 0, true]",
                                        "[1, 1, -99, 'x']",
                                        "[1, 1, 5, 'x']",
                                        "[0, 1, 7, 77, 't', 0, 0, 0, 0, 0, nil, nil, 0]",
                                        "[0, 1, 7, 77, 't', 0, 0, 11, 0, 0, 1, 1, 0]",
                                        "[0, 1, 7, 77, 't', 0, 999, 1, 0, 0, nil, [1, 2], 0]"};
    struct town n;
    uint8_t bytes[256];

    open_town(&n, SHARD_MASTER);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        router_receive(n.router, OTHER, text_value(bytes, sizeof bytes, texts[i]));
    stepper_run(n.w.st);
    cr_assert_eq(n.answers, 0);
    close_town(&n);
}
