/* Every actor can be listed, described and traced while it runs. */
#include "engine/inspect.h"

#include "tests/support/fail_alloc.h"
#include "tests/support/stepper.h"

#include <criterion/criterion.h>
#include <string.h>

static struct fail_alloc memory;
static struct stepper *st;

static void setup(void) {
    memory = fail_alloc_after(INT_MAX);
    st = stepper_open(&memory.base, 2, 1, NULL);
    cr_assert_not_null(st);
}

static void teardown(void) {
    stepper_close(st);
    cr_assert_eq(memory.live, 0, "%d allocations leaked", memory.live);
}

TestSuite(inspect, .init = setup, .fini = teardown, .timeout = 240);

static void clock_describe(struct actor *self, const void *state, char *text, size_t size_bytes) {
    (void) self;
    snprintf(text, size_bytes, "%d o'clock", *(const int *) state);
}
static eg_err clock_init(struct actor *self, void *state, const void *arg) {
    (void) self;
    *(int *) state = *(const int *) arg;
    return EG_OK;
}
static const struct genserver_ops clock_ops = {
    .name = "clock", .state_bytes = sizeof(int), .init = clock_init, .describe = clock_describe};

static eg_pid spawn_clock(int hour, const char *name) {
    eg_pid pid;
    struct genserver_opts o = {
        .ops = &clock_ops,
        .name = name,
        .spawn = {.arg = &hour, .arg_bytes = sizeof hour, .scheduler = SPAWN_ANYWHERE}};
    cr_assert_eq(genserver_spawn(st->rt, NULL, &o, &pid, NULL), EG_OK);
    stepper_run(st);
    return pid;
}

Test(inspect, describes_one_process) {
    eg_pid pid = spawn_clock(7, "big ben");
    struct inspect_page *page;

    cr_assert_eq(inspect_wait_pid(st->rt, pid, &page), EG_OK);
    cr_assert_eq(page->count, 1);
    cr_assert(eg_pid_equal(page->entry[0].actor.pid, pid));
    cr_assert_str_eq(page->entry[0].state, "7 o'clock");
    cr_assert_str_eq(page->entry[0].registered, "big ben");
    cr_assert_str_eq(page->entry[0].label_text, "clock");
    cr_assert(page->entry[0].is_server);
    inspect_free(st->rt, page);
}

Test(inspect, the_dead_are_no_process) {
    eg_pid pid = spawn_clock(7, NULL);
    eg_exit kill = exit_reason(EG_EXIT_KILL);
    struct inspect_page *page;

    actor_exit_send(st->rt, EG_PID_NONE, pid, &kill);
    stepper_run(st);
    cr_assert_eq(inspect_wait_pid(st->rt, pid, &page), EG_NOPROC);
}

Test(inspect, pages_list_everybody_once) {
    enum { CLOCKS = 100 };
    bool seen[CLOCKS] = {false};
    uint32_t cursor = 0;
    int total = 0;

    for (int i = 0; i < CLOCKS; i++)
        spawn_clock(i, NULL);
    do {
        struct inspect_page *page;
        cr_assert_eq(inspect_wait(st->rt, cursor, 16, &page), EG_OK);
        for (uint32_t i = 0; i < page->count; i++) {
            int hour = atoi(page->entry[i].state);
            cr_assert_not(seen[hour]);
            seen[hour] = true;
            total++;
        }
        cursor = page->next;
        inspect_free(st->rt, page);
    } while (cursor != 0);
    cr_assert_eq(total, CLOCKS);
}

Test(inspect, a_trace_event_reads_as_a_line) {
    struct message *m = message_new(st->rt, MESSAGE_CAST, 3);
    struct trace_event e = {
        .kind = TRACE_RECEIVE, .pid = {0, 4, 2}, .peer = {0, 9, 1}, .message = m};
    char line[200];

    m->tag = 5;
    inspect_trace_line(&e, line, sizeof line);
    cr_assert_str_eq(line, "<0.4.2> receives cast tag 5 of 3 bytes from <0.9.1>");
    message_free(st->rt, m);
}

/* Goal: a page that lacks memory is refused, and (in teardown) nothing is left of it. */
Test(inspect, fails_cleanly_at_every_allocation) {
    eg_err err = EG_MEMORY;
    spawn_clock(1, NULL);
    for (int granted = 0; err != EG_OK; granted++) {
        struct inspect_page *page = NULL;

        memory.left = granted;
        err = inspect_wait(st->rt, 0, 10, &page);
        memory.left = INT_MAX;
        stepper_run(st);
        if (err == EG_OK)
            inspect_free(st->rt, page);
        else
            cr_assert_eq(err, EG_MEMORY);
        cr_assert_lt(granted, 50);
    }
}
