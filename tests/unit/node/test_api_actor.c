/* A program's own actors on a real node, through the public header only. */
#include <engram.h>
#include <engram/actor.h>

#include <criterion/criterion.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

enum { WAIT_MS = 60000 }; /* for what comes at once, unless the machine is very busy */

static eg_node *node;

static _Atomic int traced_receives, traced_ends;

static void see_line(void *context, int level, const char *line) {
    (void) context;
    (void) level;
    traced_receives += strstr(line, "receives call") != NULL;
    traced_ends += strstr(line, "ends: crash 3 told to") != NULL;
}

static void setup(void) {
    eg_note note = {""};
    cr_assert_eq(
        eg_open(&(eg_options){.name = "test", .schedulers = 2, .log_level = 2, .log = see_line},
                &node, &note),
        EG_OK, "%s", note.text);
}

static void teardown(void) {
    eg_close(node);
}

TestSuite(api_actor, .init = setup, .fini = teardown, .timeout = 240);

/* ---- an echo that can be told to do more --------------------------------------------- */

enum tag { ECHO, CRASH, RELAY, LISTEN, HEARD, WATCH, DOWNS, TICK, NEVER };

struct echo {
    eg_from waiting;
    int heard, downs, ticks;
};

static void relay_done(eg_actor *self, void *state, void *context, eg_err outcome, const void *data,
                       size_t size_bytes) {
    struct echo *e = state;
    (void) context;
    cr_assert_eq(eg_reply(self, e->waiting, outcome, data, size_bytes), EG_OK);
}

static void echo_call(eg_actor *self, void *state, eg_from from, const eg_message *m) {
    struct echo *e = state;
    eg_pid pid = EG_PID_NONE;
    eg_ref ref;
    eg_err err = EG_OK;

    if (m->size_bytes >= sizeof pid)
        memcpy(&pid, m->data, sizeof pid);
    switch (m->tag) {
    case ECHO:
        eg_reply(self, from, EG_OK, m->data, m->size_bytes);
        return;
    case CRASH:
        eg_crash(self, 3, "told to");
        return;
    case RELAY:
        e->waiting = from;
        err = eg_call(self, pid, ECHO, "relayed", 8, WAIT_MS, relay_done, NULL);
        if (err == EG_OK)
            return;
        break;
    case LISTEN:
        err = eg_subscribe_topic(self, "news");
        break;
    case HEARD:
        eg_reply(self, from, EG_OK, &e->heard, sizeof e->heard);
        return;
    case WATCH:
        err = eg_monitor(self, pid, &ref);
        break;
    case DOWNS:
        eg_reply(self, from, EG_OK, &e->downs, sizeof e->downs);
        return;
    case TICK:
        e->waiting = from;
        err = eg_send_after(self, 5, TICK, NULL, 0, &ref);
        if (err == EG_OK)
            return;
        break;
    default:
        return; /* NEVER is answered by nobody */
    }
    eg_reply(self, from, err, NULL, 0);
}

static void echo_info(eg_actor *self, void *state, const eg_message *m) {
    struct echo *e = state;
    e->heard += m->kind == EG_MESSAGE_INFO;
    if (m->kind == EG_MESSAGE_DOWN) {
        cr_assert_eq(m->exit->kind, EG_EXIT_CRASH);
        cr_assert_str_eq(m->exit->text, "told to");
        e->downs++;
    }
    if (m->kind == EG_MESSAGE_TIMEOUT)
        eg_reply(self, e->waiting, EG_OK, "tick", 5);
}

static void echo_describe(const void *state, char *text, size_t size_bytes) {
    snprintf(text, size_bytes, "heard %d", ((const struct echo *) state)->heard);
}

static const eg_server_ops echo = {.name = "echo",
                                   .state_bytes = sizeof(struct echo),
                                   .call = echo_call,
                                   .info = echo_info,
                                   .describe = echo_describe};

static eg_pid spawn(const char *name) {
    eg_pid pid;
    cr_assert_eq(
        eg_spawn_server(node, NULL,
                        &(eg_spawn){.server = &echo, .name = name, .scheduler = EG_SCHEDULER_ANY},
                        &pid),
        EG_OK);
    return pid;
}

static eg_err call(eg_pid to, enum tag tag, const void *data, size_t size_bytes, void *answer,
                   size_t room_bytes) {
    return eg_call_wait(node, to, tag, data, size_bytes, WAIT_MS, answer, room_bytes, NULL);
}

Test(api_actor, a_thread_calls_a_server_and_servers_call_each_other) {
    eg_pid a = spawn(NULL), b = spawn(NULL);
    char text[16];

    cr_assert_eq(call(a, ECHO, "hello", 6, text, sizeof text), EG_OK);
    cr_assert_str_eq(text, "hello");
    cr_assert_eq(call(a, RELAY, &b, sizeof b, text, sizeof text), EG_OK);
    cr_assert_str_eq(text, "relayed");
}

Test(api_actor, a_call_ends_by_deadline_or_death) {
    eg_pid a = spawn(NULL);

    cr_assert_eq(eg_call_wait(node, a, NEVER, NULL, 0, 20, NULL, 0, NULL), EG_TIMEOUT);
    cr_assert_eq(call(a, CRASH, NULL, 0, NULL, 0), EG_NOPROC);
    cr_assert_eq(call(a, ECHO, NULL, 0, NULL, 0), EG_NOPROC);
    cr_assert_not(eg_is_alive(node, a));
}

Test(api_actor, names_topics_monitors_and_timers_work) {
    eg_pid a = spawn("a"), b = spawn("b");
    uint32_t reached;
    char text[8];
    int n;

    cr_assert_eq(call(a, LISTEN, NULL, 0, NULL, 0), EG_OK);
    cr_assert_eq(eg_publish(node, NULL, "news", 1, "x", 1, &reached), EG_OK);
    cr_assert_eq(reached, 1);
    cr_assert_eq(call(eg_whereis(node, "a"), HEARD, NULL, 0, &n, sizeof n), EG_OK);
    cr_assert_eq(n, 1);
    cr_assert_eq(call(a, WATCH, &b, sizeof b, NULL, 0), EG_OK);
    cr_assert_eq(call(b, CRASH, NULL, 0, NULL, 0), EG_NOPROC);
    cr_assert_eq(call(a, TICK, NULL, 0, text, sizeof text), EG_OK);
    cr_assert_str_eq(text, "tick");
    do /* its end is told on another thread than the timer */
        cr_assert_eq(call(a, DOWNS, NULL, 0, &n, sizeof n), EG_OK);
    while (n == 0);
    cr_assert_eq(n, 1);
    while (!eg_pid_is_none(eg_whereis(node, "b")))
        sched_yield();
}

static const eg_child template = {.server = &echo};
static const eg_supervisor pool = {.strategy = EG_DYNAMIC,
                                   .intensity = 10,
                                   .period_ms = 1000,
                                   .children = &template,
                                   .child_count = 1};
static const eg_child tree[] = {
    {.id = "a", .server = &echo, .name = "tree.a"},
    {.id = "pool", .supervisor = &pool, .name = "tree.pool"},
    {.id = "b", .server = &echo, .name = "tree.b", .scheduler = EG_SCHEDULER(1)},
};
static const eg_supervisor top_of_tree = {.label = "tree",
                                          .strategy = EG_REST_FOR_ONE,
                                          .intensity = 3,
                                          .period_ms = 1000,
                                          .children = tree,
                                          .child_count = 3};

Test(api_actor, a_tree_starts_heals_changes_and_stops) {
    eg_child_info info[8];
    eg_pid top, worker, b;
    size_t count;

    cr_assert_eq(eg_spawn_supervisor(node, NULL, &top_of_tree, "tree", &top), EG_OK);
    cr_assert_eq(eg_await_children(node, top, WAIT_MS), EG_OK);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(eg_start_child(node, eg_whereis(node, "tree.pool"), &template, &worker),
                     EG_OK);
    cr_assert_eq(call(worker, ECHO, NULL, 0, NULL, 0), EG_OK);
    cr_assert_eq(eg_which_children(node, eg_whereis(node, "tree.pool"), info, 8, &count), EG_OK);
    cr_assert_eq(count, 5);

    b = eg_whereis(node, "tree.b");
    cr_assert_eq(call(eg_whereis(node, "tree.a"), CRASH, NULL, 0, NULL, 0), EG_NOPROC);
    while (eg_pid_is_none(eg_whereis(node, "tree.b")) ||
           eg_pid_equal(b, eg_whereis(node, "tree.b")))
        cr_assert_eq(eg_await_children(node, top, WAIT_MS), EG_OK); /* a round trip, no sleep */
    cr_assert_not(eg_is_alive(node, worker));
    cr_assert_eq(eg_terminate_child(node, top, "b", EG_PID_NONE), EG_OK);
    cr_assert_eq(eg_restart_child(node, top, "b", &b), EG_OK);
    cr_assert_eq(eg_delete_child(node, top, "b"), EG_BUSY);
    cr_assert_eq(eg_delete_child(node, top, "nobody"), EG_NOT_FOUND);
    cr_assert_eq(eg_stop_supervisor(node, top, WAIT_MS), EG_OK);
    cr_assert_not(eg_is_alive(node, b));
}

Test(api_actor, processes_are_listed_and_described) {
    eg_pid pid = spawn("watched");
    eg_process p, page[16];
    uint32_t cursor = 0;
    bool found = false;
    size_t count;

    cr_assert_eq(eg_process_info(node, pid, &p), EG_OK);
    cr_assert_str_eq(p.kind, "echo");
    cr_assert_str_eq(p.name, "watched");
    cr_assert_str_eq(p.state, "heard 0");
    do {
        cr_assert_eq(eg_processes(node, &cursor, page, 16, &count), EG_OK);
        for (size_t i = 0; i < count; i++)
            found |= eg_pid_equal(page[i].pid, pid);
    } while (cursor != 0);
    cr_assert(found);
    cr_assert_eq(eg_process_info(node, (eg_pid){0, 1u << 20, 9}, &p), EG_NOPROC);
}

Test(api_actor, a_traced_actor_is_seen_in_the_log) {
    eg_pid pid = spawn(NULL);

    cr_assert_eq(eg_trace(node, pid, true), EG_OK);
    cr_assert_eq(call(pid, ECHO, NULL, 0, NULL, 0), EG_OK);
    cr_assert_eq(call(pid, CRASH, NULL, 0, NULL, 0), EG_NOPROC);
    cr_assert_eq(call(pid, ECHO, NULL, 0, NULL, 0), EG_NOPROC);
    cr_assert_eq(traced_receives, 2);
    eg_close(node); /* after which the end has been logged, too */
    cr_assert_eq(traced_ends, 1);
    setup();
}

Test(api_actor, bad_arguments_are_refused) {
    eg_pid pid;
    eg_child nameless = {.server = &echo};

    cr_assert_eq(eg_spawn_server(node, NULL, &(eg_spawn){.server = NULL}, &pid), EG_BAD_REQUEST);
    cr_assert_eq(eg_spawn_server(node, NULL, &(eg_spawn){.server = &echo, .link = true}, &pid),
                 EG_BAD_REQUEST);
    cr_assert_eq(eg_spawn_server(node, NULL, &(eg_spawn){.server = &echo, .name = ""}, &pid),
                 EG_BAD_REQUEST);
    cr_assert_eq(eg_send(NULL, NULL, EG_PID_NONE, 0, NULL, 0), EG_BAD_REQUEST);
    cr_assert_eq(eg_send(node, NULL, EG_PID_NONE, 0, NULL, 0), EG_NOPROC);
    cr_assert_eq(eg_await_children(node, EG_PID_NONE, 100), EG_NOPROC);
    cr_assert_eq(eg_spawn_supervisor(node, NULL, &top_of_tree, NULL, &pid), EG_OK);
    cr_assert_eq(eg_start_child(node, pid, &nameless, NULL), EG_BAD_REQUEST);
    cr_assert_eq(eg_start_child(node, pid, &tree[0], NULL), EG_EXISTS);
    cr_assert_eq(eg_stop_supervisor(node, pid, WAIT_MS), EG_OK);
}
