/* A program's actors on two nodes, through the public header, over real connections. */
#include <engram.h>
#include <engram/actor.h>

#include "tests/support/pause.h"
#include "tests/support/two_nodes.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { WAIT_MS = 60000 };
enum tag { ECHO, WATCH, LISTEN, HEARD, DOWNS, LOST, CALL_OTHER, ANSWERED };

static eg_node *node[2];
static eg_pid server[2];

struct server {
    int heard, downs;
    eg_exit_kind lost;
    bool answered;
    eg_err answer;
};

static void on_answer(eg_actor *self, void *state, void *context, eg_err outcome, const void *data,
                      size_t size_bytes) {
    struct server *s = state;

    (void) self, (void) context, (void) data, (void) size_bytes;
    s->answered = true;
    s->answer = outcome;
}

static void on_call(eg_actor *self, void *state, eg_from from, const eg_message *m) {
    struct server *s = state;
    eg_pid pid = EG_PID_NONE;
    eg_ref ref;
    eg_err err = EG_OK;
    int number = 0;

    if (m->size_bytes >= sizeof pid)
        memcpy(&pid, m->data, sizeof pid);
    switch (m->tag) {
    case ECHO:
        eg_reply(self, from, EG_OK, m->data, m->size_bytes);
        return;
    case WATCH:
        err = eg_monitor(self, pid, &ref);
        break;
    case LISTEN:
        err = eg_subscribe_topic(self, "news");
        break;
    case CALL_OTHER:
        s->answered = false;
        err = eg_call(self, pid, ECHO, "x", 1, WAIT_MS, on_answer, NULL);
        break;
    case HEARD:
        number = s->heard;
        break;
    case DOWNS:
        number = s->downs;
        break;
    case LOST:
        number = (int) s->lost;
        break;
    case ANSWERED:
        number = s->answered && s->answer == EG_OK;
        break;
    default:
        break;
    }
    eg_reply(self, from, err, &number, sizeof number);
}

static void on_info(eg_actor *self, void *state, const eg_message *m) {
    struct server *s = state;

    (void) self;
    s->heard += m->kind == EG_MESSAGE_INFO;
    if (m->kind == EG_MESSAGE_DOWN) {
        s->downs++;
        s->lost = m->exit->kind;
    }
}

static const eg_server_ops ops = {
    .name = "server", .state_bytes = sizeof(struct server), .call = on_call, .info = on_info};

/* ---- two nodes ------------------------------------------------------------------------ */

static void setup(void) {
    two_nodes_open(node, 2);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(eg_spawn_server(node[i], NULL,
                                     &(eg_spawn){.server = &ops, .name = "server", .scheduler = -1},
                                     &server[i]),
                     EG_OK);
}

static void teardown(void) {
    two_nodes_close(node);
}

TestSuite(api_remote, .init = setup, .fini = teardown, .timeout = 240);

static eg_pid named(int i, const char *on) {
    eg_pid pid;

    cr_assert_eq(eg_named(node[i], on, "server", &pid), EG_OK);
    return pid;
}

static int ask(int i, enum tag tag) {
    int number = -1;

    cr_assert_eq(
        eg_call_wait(node[i], server[i], tag, NULL, 0, WAIT_MS, &number, sizeof number, NULL),
        EG_OK);
    return number;
}

static void order(int i, enum tag tag, eg_pid whom) {
    cr_assert_eq(eg_call_wait(node[i], server[i], tag, &whom, sizeof whom, WAIT_MS, NULL, 0, NULL),
                 EG_OK);
}

static void wait_for(int i, enum tag tag, int number) {
    for (int ms = 0; ask(i, tag) != number && ms < WAIT_MS; ms += 2)
        pause_ms(2);
    cr_assert_eq(ask(i, tag), number);
}

/* ---- what reaches across ----------------------------------------------------------------- */

Test(api_remote, a_thread_calls_a_server_of_another_node_by_its_name) {
    char answer[8];
    size_t size_bytes;

    cr_assert_eq(eg_call_wait(node[0], named(0, "two"), ECHO, "over", 4, WAIT_MS, answer,
                              sizeof answer, &size_bytes),
                 EG_OK);
    cr_assert_eq(size_bytes, 4);
    cr_assert_eq(memcmp(answer, "over", 4), 0);
    cr_assert_eq(eg_call_wait(node[1], named(1, "two"), ECHO, "here", 4, WAIT_MS, answer,
                              sizeof answer, &size_bytes),
                 EG_OK, "a name of this node works alike");
}

Test(api_remote, an_actor_calls_and_is_answered) {
    order(0, CALL_OTHER, named(0, "two"));
    wait_for(0, ANSWERED, 1);
}

Test(api_remote, nobody_is_found_where_nobody_is) {
    eg_pid pid;
    char on[EG_NAME_BYTES];

    cr_assert_eq(eg_named(node[0], "two", "nobody", &pid), EG_OK);
    cr_assert_eq(eg_call_wait(node[0], pid, ECHO, "x", 1, WAIT_MS, NULL, 0, NULL), EG_NOPROC);
    cr_assert_eq(eg_named(node[0], "three", "server", &pid), EG_OK);
    cr_assert_eq(eg_send(node[0], NULL, pid, 0, "x", 1), EG_NO_REPLICA);
    cr_assert_eq(eg_node_of(node[0], pid, on), EG_OK);
    cr_assert_str_eq(on, "three");
    cr_assert_eq(eg_node_of(node[0], server[0], on), EG_OK);
    cr_assert_str_eq(on, "one");
    cr_assert_eq(eg_named(node[0], "", "server", &pid), EG_BAD_REQUEST);
    cr_assert_eq(eg_named(NULL, "one", "server", &pid), EG_BAD_REQUEST);
}

Test(api_remote, a_publication_reaches_both_nodes) {
    uint32_t reached;

    order(0, LISTEN, EG_PID_NONE);
    order(1, LISTEN, EG_PID_NONE);
    cr_assert_eq(eg_publish(node[0], NULL, "news", 0, "paper", 5, &reached), EG_OK);
    cr_assert_eq(reached, 1);
    wait_for(0, HEARD, 1);
    wait_for(1, HEARD, 1);
}

Test(api_remote, a_node_that_goes_is_a_down) {
    order(0, WATCH, named(0, "two"));
    eg_close(node[1]);
    node[1] = NULL;
    wait_for(0, DOWNS, 1);
    cr_assert_eq(ask(0, LOST), (int) EG_EXIT_NOCONNECTION);
    cr_assert_eq(two_nodes_others(node, 0), 0);
}

Test(api_remote, a_node_alone_knows_no_others) {
    eg_node *alone;
    eg_pid pid;
    size_t count = 7;

    cr_assert_eq(eg_open(&(eg_options){.name = "alone", .log_level = 0}, &alone, NULL), EG_OK);
    cr_assert_eq(eg_named(alone, "two", "server", &pid), EG_NO_REPLICA);
    cr_assert_eq(eg_nodes(alone, NULL, 0, &count), EG_OK);
    cr_assert_eq(count, 0);
    eg_close(alone);
}
