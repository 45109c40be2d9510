/* Requests find the node that may do them, and their answers the way back.  One node is real; the
 * other one is played by the test, payload by payload. */
#include "replication/router.h"
#include "replication/router_wire.h"
#include "replication/witness.h"
#include "engine/scheduler.h"
#include "engine/supervisor.h"
#include "tables/table_private.h"
#include "tables/transact.h"
#include "tests/support/table_world.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <string.h>

enum { ME = 1, OTHER = 2, THIRD = 3, STAMP = 1000 };

/* What the other node does with a request. */
enum mood {
    ANSWERS,
    REFUSES_ONCE,
    REFUSES,
    BUSY_ONCE,
    BUSY,
    SILENT,
    UNREACHABLE,
    LOST,
    LEFT_OUT,
    BACK,
    COPIES_ANSWER, /* it says nothing, and all copies say that they have it */
    OURS_ANSWERS,  /* our own copy alone does                               */
    OURS_FIRST,    /* ours does, and asked once more it answers             */
    OURS_AND_DOWN, /* ours does, and for a while nothing can be sent        */
    OTHERS_LATE,   /* ours does, and the others say so of an earlier view   */
};

struct town {
    struct table_world w;
    struct router *router;
    eg_pid root;
    struct table *table;
    struct view_id view;
    uint64_t master;
    bool left_out; /* the other is in our view no more */
    enum mood mood;
    uint32_t requests;   /* that the other was sent */
    uint32_t unsent;     /* so many that could not be sent are left */
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
    case REFUSES:
        say(n, n->last.id, EG_NO_REPLICA, "", 0);
        break;
    case BUSY_ONCE:
        n->mood = ANSWERS;
        say(n, n->last.id, EG_BUSY, "", 0);
        break;
    case BUSY:
        say(n, n->last.id, EG_BUSY, "", 0);
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
    case OURS_FIRST:
        n->mood = ANSWERS;
        copies_answer(n, false, n->view);
        break;
    case OURS_AND_DOWN:
        n->mood = ANSWERS;
        n->unsent = 3;
        copies_answer(n, false, n->view);
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
    if (n->unsent > 0) {
        n->unsent--;
        return EG_NO_REPLICA;
    }
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

static bool is_with_us(void *user, uint64_t node) {
    cr_assert_eq(node, OTHER);
    return !((struct town *) user)->left_out;
}

static void open_town(struct town *n, enum shard_role role) {
    struct router_opts o = {.alloc = alloc_system(),
                            .self = ME,
                            .master = master,
                            .view = view,
                            .is_with_us = is_with_us,
                            .send = send,
                            .user = n};
    static struct child_spec child; /* copied when the supervisor starts */
    struct supervisor_opts tree = {
        .label = "test", .intensity = 3, .period_ms = 1000, .children = &child, .child_count = 1};
    uint8_t bytes[64];

    *n = (struct town){.view = {7, 77}, .master = OTHER};
    table_world_open(&n->w, alloc_system(), 1);
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

/* Who was asked says so at once each time: it is not asked for ever. */
Test(router, what_is_refused_again_and_again_is_refused_in_the_end) {
    struct town n;

    open_town(&n, SHARD_FULL);
    n.mood = REFUSES;
    cr_assert_eq(run(&n, SHARD_WRITE, "[1, 'x']"), EG_NO_REPLICA);
    cr_assert_geq(n.w.st->now_ns, (uint64_t) ROUTER_TRY_MS * 1000000);
    cr_assert_gt(n.requests, 100);
    n.mood = ANSWERS;
    cr_assert_eq(run(&n, SHARD_WRITE, "[1, 'x']"), EG_OK);
    close_town(&n);
}

/* A reply that a call by hand gets. */
struct heard {
    uint32_t count;
    eg_err err;
};

static void hear(struct actor *self, void *state, struct message *m) {
    struct heard *h = *(struct heard **) state;

    (void) self;
    if (m->kind != MESSAGE_REPLY)
        return;
    h->count++;
    h->err = (eg_err) m->tag;
}

static eg_err begin_hearing(struct actor *self, void *state, const void *arg) {
    (void) self;
    *(const struct heard **) state = arg;
    return EG_OK;
}

static eg_pid spawn_client(struct town *n, struct heard *h) {
    static const struct actor_ops ops = {.name = "client",
                                         .state_bytes = sizeof(struct heard *),
                                         .init = begin_hearing,
                                         .receive = hear};
    struct spawn_opts spawn = {.ops = &ops, .arg = h, .scheduler = SPAWN_ON(0)};
    eg_pid client;

    cr_assert_eq(actor_spawn(n->w.st->rt, NULL, &spawn, &client, NULL), EG_OK);
    return client;
}

/* The shard was alone when the session looked, and is between two views when it comes to the call:
 * who asked has done nothing wrong. */
Test(router, what_finds_its_shard_between_two_views_waits_for_the_next) {
    struct heard heard = {0};
    uint8_t bytes[16];
    struct shard_request q = {.op = SHARD_WRITE,
                              .attribute = SHARD_NO_ATTRIBUTE,
                              .value = text_value(bytes, sizeof bytes, "[1, 'x']")};
    struct err_note note = {""};
    struct town n;

    open_town(&n, SHARD_ALONE);
    reader_enter(&n.w.reader);
    cr_assert_eq(table_send(n.table, spawn_client(&n, &heard), 9, &q, &note), EG_OK);
    reader_exit(&n.w.reader);
    open_all(&n, SHARD_STOPPED); /* before its turn */
    n.master = 0;
    stepper_run_ms(n.w.st, 100);
    cr_assert_eq(heard.count, 0);
    open_all(&n, SHARD_ALONE);
    n.master = ME;
    router_view_changed(n.router);
    stepper_run_ms(n.w.st, 100);
    cr_assert_eq(heard.count, 1);
    cr_assert_eq(heard.err, EG_OK);
    reader_enter(&n.w.reader);
    cr_assert_eq(table_size(n.table, &n.w.reader), 1);
    reader_exit(&n.w.reader);
    close_town(&n);
}

/* Refused again and again by its own node it would wait for ever. */
Test(router, what_a_copy_does_not_answer_goes_to_the_master) {
    const struct transact_head head = {.id = {1, 2}};
    struct shard_request q = {.op = SHARD_TX_ASK, .attribute = SHARD_NO_ATTRIBUTE};
    struct buffer packed;
    uint8_t bytes[8];
    struct town n;

    buffer_init(&packed, alloc_system(), 1024);
    cr_assert_eq(transact_pack_head(&head, &packed), EG_OK);
    q.key = (struct value){packed.at, (uint32_t) packed.size_bytes};
    q.value = text_value(bytes, sizeof bytes, "[]"); /* the master looks at it */
    open_town(&n, SHARD_FULL);
    reader_enter(&n.w.reader);
    cr_assert_eq(table_world_transact(&n.w, n.table, 2, &q), EG_OK);
    cr_assert_eq(n.requests, 1);
    cr_assert_eq(n.last.what.op, SHARD_TX_ASK);
    cr_assert_eq(n.last.shard, 2);
    q.op = SHARD_TX_STATUS;
    q.value.size_bytes = 0;
    cr_assert_eq(table_world_transact(&n.w, n.table, 2, &q), EG_OK);
    cr_assert_eq(n.requests, 2);
    reader_exit(&n.w.reader);
    buffer_fini(&packed);
    close_town(&n);
}

Test(router, a_node_that_cannot_be_reached_now_is_asked_later) {
    struct town n;

    open_town(&n, SHARD_FULL);
    n.mood = UNREACHABLE;
    cr_assert_eq(run(&n, SHARD_READ, "1"), EG_OK); /* a full copy reads here */
    open_all(&n, SHARD_AWAY);
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

/* A mark has no stamp: what the master counts says nothing of it. */
Test(router, a_part_that_a_copy_does_not_say_it_has_is_asked_for_once_more) {
    static const enum shard_op ops[] = {SHARD_TX_PREPARE, SHARD_TX_COMMIT};
    const struct transact_head head = {.id = {1, 2}};
    struct shard_request q = {.attribute = SHARD_NO_ATTRIBUTE};
    struct buffer packed;
    uint8_t bytes[16];
    struct town n;

    buffer_init(&packed, alloc_system(), 1024);
    cr_assert_eq(transact_pack_head(&head, &packed), EG_OK);
    q.key = (struct value){packed.at, (uint32_t) packed.size_bytes};
    open_town(&n, SHARD_FULL);
    for (uint32_t i = 0; i < 4; i++)
        atomic_store(&n.table->shard[i].stable, STAMP);
    reader_enter(&n.w.reader);
    for (uint32_t i = 0; i < EG_COUNTOF(ops); i++) {
        q.op = ops[i];
        q.value = i == 0 ? text_value(bytes, sizeof bytes, "[[], [], [], 0]") : (struct value){0};
        n.mood = OURS_FIRST;
        cr_assert_eq(table_world_transact(&n.w, n.table, 2, &q), EG_OK);
        cr_assert_eq(n.requests, 2 * (i + 1));
        n.mood = COPIES_ANSWER;
        cr_assert_eq(table_world_transact(&n.w, n.table, 2, &q), EG_OK);
        n.requests--;
    }
    n.mood = OURS_AND_DOWN;
    n.requests = 0;
    cr_assert_eq(table_world_transact(&n.w, n.table, 2, &q), EG_OK);
    cr_assert_eq(n.requests, 2);
    cr_assert_eq(n.unsent, 0);
    reader_exit(&n.w.reader);
    buffer_fini(&packed);
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

/* Of one it would be half done.  Who changes one record hears it at once. */
Test(router, many_records_wait_for_a_shard_that_is_busy) {
    struct town n;
    eg_err err;
    uint8_t bytes[256];
    struct value records =
        text_value(bytes, sizeof bytes, "[[1,1],[2,2],[3,3],[4,4],[5,5],[6,6],[7,7],[8,8]]");

    open_town(&n, SHARD_FULL);
    n.mood = BUSY_ONCE;
    cr_assert_eq(table_world_ask(&n.w, CATALOG_WRITE_MANY, "t", records), EG_OK);
    result_is(&n, "8");
    n.mood = BUSY_ONCE;
    cr_assert_eq(run(&n, SHARD_WRITE, "[1, 'x']"), EG_BUSY);
    n.mood = BUSY;
    err = table_world_ask(&n.w, CATALOG_WRITE_MANY, "t", records);
    cr_assert_eq(err, EG_BUSY, "%d", (int) err);
    close_town(&n);
}

/* Its shards were this node's own when it came, and are another's when all would be idle. */
Test(router, many_records_go_where_their_shards_went_meanwhile) {
    struct heard heard = {0};
    uint8_t bytes[64];
    struct catalog_request q = {.op = CATALOG_WRITE_MANY,
                                .name = {(const uint8_t *) "t", 1},
                                .value = text_value(bytes, sizeof bytes, "[[1,1],[2,2],[3,3]]")};
    struct town n;

    open_town(&n, SHARD_ALONE);
    cr_assert_eq(catalog_send(n.w.catalog, spawn_client(&n, &heard), 9, &q), EG_OK);
    open_all(&n, SHARD_FULL);
    stepper_run_ms(n.w.st, 1000);
    cr_assert_eq(heard.count, 1);
    cr_assert_eq(heard.err, EG_OK);
    cr_assert_geq(n.requests, 1);
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

/* It goes on in the old view, and reads copies there that have not heard of the change. */
Test(router, a_visitor_that_is_left_out_meanwhile_is_in_doubt) {
    struct town n;
    uint8_t room[512];

    open_town(&n, SHARD_ALONE);
    n.left_out = true;
    router_receive(n.router, OTHER,
                   request_of_other(room, sizeof room, &n, SHARD_WRITE, "[1, 'x']", n.view));
    stepper_run(n.w.st);
    cr_assert_eq(n.answer.outcome, EG_IN_DOUBT);
    router_receive(n.router, OTHER,
                   request_of_other(room, sizeof room, &n, SHARD_READ, "1", n.view));
    stepper_run(n.w.st);
    cr_assert_eq(n.answer.outcome, EG_NO_REPLICA);
    reader_enter(&n.w.reader);
    cr_assert_eq(table_size(n.table, &n.w.reader), 1);
    reader_exit(&n.w.reader);
    close_town(&n);
}

static eg_err outcome_for_other(struct town *n) {
    uint8_t room[512];

    router_receive(n->router, OTHER,
                   request_of_other(room, sizeof room, n, SHARD_WRITE, "[1, 'x']", n->view));
    stepper_run(n->w.st);
    return n->answer.outcome;
}

/* The other has been told that it is in doubt, and may have written something else since. */
Test(router, who_has_stood_still_does_nothing_that_was_asked_before) {
    struct town n;

    open_town(&n, SHARD_ALONE);
    router_alive(n.router);
    cr_assert_eq(outcome_for_other(&n), EG_OK);
    stepper_run_ms(n.w.st, 2 * ROUTER_STILL_MS);
    cr_assert_eq(outcome_for_other(&n), EG_NO_REPLICA);
    router_alive(n.router);
    cr_assert_eq(outcome_for_other(&n), EG_NO_REPLICA);
    for (int i = 0; i < 2 * ROUTER_LATE_MS; i += 25) {
        stepper_run_ms(n.w.st, 25);
        router_alive(n.router);
    }
    cr_assert_eq(outcome_for_other(&n), EG_OK);
    close_town(&n);
}

/* Stopped in the middle of a turn, whose time is that of its beginning. */
Test(router, who_has_stood_still_in_the_middle_of_a_turn_knows) {
    struct town n;

    open_town(&n, SHARD_ALONE);
    router_alive(n.router);
    cr_assert_eq(outcome_for_other(&n), EG_OK);
    n.w.st->now_ns += (uint64_t) 2 * ROUTER_STILL_MS * 1000000;
    scheduler_attach(
        runtime_scheduler(n.w.st->rt, 0)); /* as its streams do, which read in its turns */
    cr_assert_eq(outcome_for_other(&n), EG_NO_REPLICA);
    scheduler_attach(NULL);
    close_town(&n);
}

/* Who has just started, and has heard of no table yet, would say that there is none. */
Test(router, between_two_views_nobody_is_served) {
    struct town n;
    uint8_t room[512];

    open_town(&n, SHARD_ALONE);
    n.view = (struct view_id){0, 0};
    router_receive(n.router, OTHER,
                   request_of_other(room, sizeof room, &n, SHARD_WRITE, "[1, 'x']", n.view));
    stepper_run(n.w.st);
    cr_assert_eq(n.answer.outcome, EG_NO_REPLICA);
    reader_enter(&n.w.reader);
    cr_assert_eq(table_size(n.table, &n.w.reader), 0);
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
