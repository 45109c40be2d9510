/* test_task.c -- long requests go on between others, and end once: by an answer, an error
 * or with their connection.
 *
 * Method: a node moved by hand; a task that counts its steps, started as a handler would. */
#include "query/task.h"
#include "query/session.h"
#include "tests/support/hand_node.h"

#include <criterion/criterion.h>
#include <string.h>

static struct hand_node node;
static struct memory_client *client;
static uint32_t freed;

static void setup(void) {
    hand_node_open(&node, &(struct hand_node_opts){0});
    client = memory_dial(&node.net);
    hand_node_run(&node);
    freed = 0;
}

static void teardown(void) {
    memory_hang_up(client);
    hand_node_close(&node);
}

TestSuite(task, .init = setup, .fini = teardown, .timeout = 240);

/* ---- a task that counts ------------------------------------------------------------- */

struct counting {
    struct task task;
    uint32_t steps_left;
    eg_err end;
    struct table *ask; /* NULL: asks nobody */
    uint32_t answers;
    eg_err answer;
};

static eg_err counting_step(struct task *t, struct buffer *result, struct err_note *note) {
    struct counting *c = (struct counting *) (void *) t;

    cr_assert(buffer_append(result, "\x05", c->steps_left == 1));
    if (c->ask != NULL && c->steps_left > 1) {
        static const uint8_t key = 7;
        struct shard_request q = {.op = SHARD_READ, .key = {&key, 1}};
        for (int i = 0; i < 2; i++) {
            struct message *m;
            eg_pid to;
            cr_assert_eq(table_message(c->ask, &q, &to, &m, note), EG_OK);
            cr_assert_eq(task_ask(t, c->ask, to, m), EG_OK);
        }
    }
    if (--c->steps_left > 0)
        return EG_AGAIN;
    return c->end == EG_OK ? EG_OK : err_note(note, c->end, "on purpose");
}

static void counting_answered(struct task *t, eg_err err, struct value result) {
    struct counting *c = (struct counting *) (void *) t;

    c->answers++;
    c->answer = err;
    if (err == EG_OK)
        cr_assert_eq(value_kind_of(result), VALUE_ARRAY);
}

static uint32_t answers_seen;

static void counting_free(struct task *t) {
    struct counting *c = (struct counting *) (void *) t;

    freed++;
    answers_seen = c->answers;
    alloc_put(alloc_system(), c, sizeof *c);
}

static const struct task_ops counting_ops = {.name = "counting",
                                             .step = counting_step,
                                             .free = counting_free,
                                             .answered = counting_answered};

/* As a handler does. */
static eg_err start(uint32_t id, uint32_t steps, eg_err end, struct table *ask, bool notification) {
    struct session *s = memory_user(client);
    struct counting *t = alloc_zero(alloc_system(), sizeof *t);
    static struct err_note note;
    struct rpc_call call = {.session = s,
                            .worker = s->worker,
                            .method = rpc_method_at(0),
                            .id = id,
                            .notification = notification,
                            .result = session_output(s),
                            .note = &note};
    size_t before = call.result->size_bytes;
    eg_err err;

    t->steps_left = steps;
    t->end = end;
    t->ask = ask;
    s->worker->tasks_deadline_ns = 0; /* a fresh turn */
    err = task_start(&t->task, &counting_ops, &call);
    if (err == EG_OK) {
        cr_assert_eq(call.result->size_bytes, before + 1);
        call.result->size_bytes = before; /* the worker's part of an answer is not played here */
    }
    return err;
}

static uint32_t underway(void) {
    return ((const struct session *) memory_user(client))->underway;
}

/* ---- tests --------------------------------------------------------------------------- */

Test(task, one_that_is_done_at_once_answers_at_once) {
    cr_assert_eq(start(1, 1, EG_OK, NULL, false), EG_OK);
    cr_assert_eq(freed, 1);
    cr_assert_eq(underway(), 0);
}

Test(task, one_that_fails_at_once_was_not_started) {
    cr_assert_eq(start(1, 1, EG_BAD_REQUEST, NULL, false), EG_BAD_REQUEST);
    cr_assert_eq(freed, 1);
    cr_assert_eq(underway(), 0);
}

Test(task, a_long_one_answers_when_it_is_done) {
    cr_assert_eq(start(9, 100, EG_OK, NULL, false), EG_AGAIN);
    cr_assert_eq(underway(), 1);
    hand_node_run(&node);
    cr_assert_eq(freed, 1);
    cr_assert_eq(underway(), 0);
    cr_assert_eq(client->received.size_bytes, 5);
    cr_assert_eq(memcmp(client->received.at, "\x94\x01\x09\xc0\x05", 5), 0);
}

Test(task, others_are_served_meanwhile) {
    cr_assert_eq(start(9, 1000, EG_OK, NULL, false), EG_AGAIN);
    memory_send(client, "\x94\x00\x01\xa4ping\x90", 9);
    for (int i = 0; i < 10; i++)
        hand_node_move(&node);
    cr_assert_eq(freed, 0);
    cr_assert_eq(client->received.size_bytes, 9);
    hand_node_run(&node);
    cr_assert_eq(freed, 1);
    cr_assert_eq(client->received.size_bytes, 14);
}

Test(task, an_error_is_the_answer) {
    cr_assert_eq(start(9, 3, EG_TOO_LARGE, NULL, false), EG_AGAIN);
    hand_node_run(&node);
    cr_assert_eq(freed, 1);
    cr_assert_eq(memcmp(client->received.at, "\x94\x01\x09\xb5too_large: on purpose\xc0",
                        client->received.size_bytes),
                 0);
}

Test(task, that_of_a_notification_is_carried_out_unanswered) {
    cr_assert_eq(start(9, 3, EG_OK, NULL, true), EG_AGAIN);
    hand_node_run(&node);
    cr_assert_eq(freed, 1);
    cr_assert_eq(underway(), 0);
    cr_assert_eq(client->received.size_bytes, 0);
}

Test(task, they_end_with_their_connection) {
    for (uint32_t i = 0; i < 10; i++)
        cr_assert_eq(start(i, 1000000, EG_OK, NULL, false), EG_AGAIN);
    hand_node_move(&node);
    session_close(memory_user(client));
    cr_assert_eq(freed, 10);
    hand_node_run(&node);
    cr_assert_eq(client->received.size_bytes, 0);
}

Test(task, they_are_bounded_per_connection) {
    for (uint32_t i = 0; i < TASKS_SESSION_MAX; i++)
        cr_assert_eq(start(i, 10, EG_OK, NULL, false), EG_AGAIN);
    cr_assert_eq(start(99, 10, EG_OK, NULL, false), EG_BUSY);
    hand_node_run(&node);
    cr_assert_eq(freed, TASKS_SESSION_MAX + 1);
    cr_assert_eq(client->received.size_bytes, TASKS_SESSION_MAX * 5);
}

static struct table *make_table(void) {
    struct table *t;

    memory_send(client,
                "\x94\x00\x01\xac"
                "create_table\x91\xa1t",
                19);
    hand_node_run(&node);
    t = catalog_find(node.catalog, "t", 1);
    cr_assert_not_null(t);
    buffer_clear(&client->received);
    return t;
}

Test(task, what_it_asks_of_a_shard_is_answered_to_it_alone) {
    struct table *t = make_table();

    cr_assert_eq(start(9, 5, EG_OK, t, false), EG_AGAIN);
    hand_node_run(&node);
    cr_assert_eq(freed, 1);
    cr_assert_eq(answers_seen, 8);
    cr_assert_eq(client->received.size_bytes, 5);
}

Test(task, answers_that_come_after_its_end_find_nobody) {
    struct table *t = make_table();

    cr_assert_eq(start(9, 5, EG_OK, t, false), EG_AGAIN);
    session_close(memory_user(client));
    cr_assert_eq(freed, 1);
    hand_node_run(&node);
    cr_assert_eq(answers_seen, 0);
}

/* ---- what is freed piece by piece ------------------------------------------------------ */

static uint32_t pieces_left;

static bool leaving_step(struct leaving *l) {
    (void) l;
    return --pieces_left == 0;
}

Test(task, what_is_left_behind_is_freed_a_piece_a_turn) {
    struct leaving l = {.step = leaving_step};
    struct worker *w = ((const struct session *) memory_user(client))->worker;

    pieces_left = 5;
    worker_leave(w, &l);
    cr_assert_eq(pieces_left, 4);
    (void) w->hook.run(&w->hook);
    cr_assert_eq(pieces_left, 3);
    hand_node_run(&node);
    cr_assert_eq(pieces_left, 0);
    cr_assert(list_is_empty(&w->leavings));
}
