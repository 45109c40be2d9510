/* A supervisor does to its children what OTP's does, and nothing twice. */
#include "engine/supervisor.h"

#include "engine/registry.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/stepper.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

enum { LOG_MAX = 200000 };

static struct fail_alloc memory;
static struct stepper *st;
static struct {
    char text[LOG_MAX];      /* "a+ b+ b- a-": starts and terminates, in order */
    int starts, fail_starts; /* the next so many inits fail               */
    char fail_id;            /* and each of this worker                   */
} seen;

static void note(const char *id, const char *what) {
    strncat(seen.text, id, sizeof seen.text - strlen(seen.text) - 1);
    strncat(seen.text, what, sizeof seen.text - strlen(seen.text) - 1);
}

static void forget(void) {
    seen.text[0] = '\0';
    seen.starts = 0;
}

static void setup(void) {
    memory = fail_alloc_after(INT_MAX);
    memset(&seen, 0, sizeof seen);
    st = stepper_open(&memory.base, 2, 1, NULL);
    cr_assert_not_null(st);
}

static void teardown(void) {
    stepper_close(st);
    cr_assert_eq(memory.live, 0, "%d allocations leaked", memory.live);
}

TestSuite(supervisor, .init = setup, .fini = teardown, .timeout = 240);

/* ---- workers -------------------------------------------------------------------- */

enum tag { CRASH, END_NORMALLY, HANG };

struct worker {
    char id[8];
    bool hangs;
};

static eg_err worker_init(struct actor *self, void *state, const void *arg) {
    struct worker *w = state;
    (void) self;
    strncpy(w->id, arg, sizeof w->id - 1);
    if (seen.fail_starts > 0 || w->id[0] == seen.fail_id) {
        seen.fail_starts -= seen.fail_starts > 0;
        note(w->id, "! ");
        return EG_DISC;
    }
    seen.starts++;
    note(w->id, "+ ");
    return EG_OK;
}

static void worker_cast(struct actor *self, void *state, struct message *m) {
    struct worker *w = state;
    if (m->tag == CRASH)
        actor_crash(self, 1, "told to");
    else if (m->tag == END_NORMALLY)
        actor_exit_normal(self);
    else
        w->hangs = true;
}

static void worker_terminate(struct actor *self, void *state, const eg_exit *reason) {
    (void) self;
    (void) reason;
    note(((struct worker *) state)->id, "- ");
}

static const struct genserver_ops worker = {.name = "worker",
                                            .state_bytes = sizeof(struct worker),
                                            .init = worker_init,
                                            .cast = worker_cast,
                                            .terminate = worker_terminate};

/* Traps exits and ignores them: only a kill ends it. */
static const struct genserver_ops stubborn = {
    .name = "stubborn", .state_bytes = sizeof(struct worker), .init = worker_init};

static struct child_spec child(const char *id, enum child_restart restart) {
    struct child_spec c = {.kind = CHILD_SERVER,
                           .restart = restart,
                           .server = &worker,
                           .name = id,
                           .arg = id,
                           .arg_bytes = strlen(id) + 1};
    strncpy(c.id, id, sizeof c.id - 1);
    return c;
}

static eg_pid start(enum children_strategy strategy, const struct child_spec *children,
                    uint32_t count, uint32_t intensity) {
    struct supervisor_opts o = {.label = "top",
                                .strategy = strategy,
                                .intensity = intensity,
                                .period_ms = 1000,
                                .children = children,
                                .child_count = count};
    eg_pid pid;
    cr_assert_eq(supervisor_spawn(st->rt, NULL, &o, SPAWN_HERE, "top", &pid), EG_OK);
    stepper_run(st);
    return pid;
}

static eg_pid named(const char *name) {
    return registry_find(runtime_names(st->rt), name);
}

static void tell(const char *name, enum tag tag) {
    cr_assert_eq(stepper_cast(st, named(name), tag, NULL, 0), EG_OK, "%s", name);
    stepper_run(st);
}

static eg_err command(eg_pid top, enum supervisor_command c, const char *id) {
    struct child_key key = {0};
    strncpy(key.id, id, sizeof key.id - 1);
    return stepper_call(st, top, c, &key, sizeof key, NULL, 0);
}

static eg_err add_child(eg_pid top, const struct child_spec *spec, eg_pid *out) {
    struct message *m = supervisor_start_child(st->rt, spec), *reply;
    eg_err err = foreign_call(st->me, top, m, 10000, &reply);
    if (err != EG_OK)
        return err;
    err = (eg_err) (int32_t) reply->tag;
    if (err == EG_OK)
        memcpy(out, reply->payload, sizeof *out);
    message_free(st->rt, reply);
    return err;
}

static struct child_counts count(eg_pid top) {
    struct child_counts n;
    cr_assert_eq(stepper_call(st, top, SUPERVISOR_COUNT_CHILDREN, NULL, 0, &n, sizeof n), EG_OK);
    return n;
}

#define ABC(restart)                                                                               \
    { child("a", restart), child("b", restart), child("c", restart) }

/* ---- start and stop --------------------------------------------------------------- */

Test(supervisor, starts_in_order_and_stops_in_reverse) {
    const struct child_spec c[] = ABC(PERMANENT);
    eg_pid top = start(ONE_FOR_ONE, c, 3, 3);

    cr_assert_str_eq(seen.text, "a+ b+ c+ ");
    cr_assert_eq(stepper_call(st, top, SUPERVISOR_AWAIT, NULL, 0, NULL, 0), EG_OK);
    supervisor_stop(st->rt, top);
    stepper_run(st);
    cr_assert_str_eq(seen.text, "a+ b+ c+ c- b- a- ");
    cr_assert_not(runtime_is_alive(st->rt, top));
}

Test(supervisor, a_child_that_fails_at_first_start_ends_it_and_stops_the_others) {
    const struct child_spec c[] = ABC(PERMANENT);
    eg_pid top;

    seen.fail_id = 'c';
    top = start(ONE_FOR_ONE, c, 3, 9);
    cr_assert_str_eq(seen.text, "a+ b+ c! b- a- ");
    cr_assert_not(runtime_is_alive(st->rt, top));
}

Test(supervisor, a_child_past_its_deadline_is_killed) {
    struct child_spec c[] = {child("a", PERMANENT), child("b", PERMANENT)};
    uint64_t before_ns;
    eg_pid top, b;

    c[1].server = &stubborn;
    c[1].trap_exit = true;
    c[1].shutdown_ms = 300;
    top = start(ONE_FOR_ONE, c, 2, 3);
    b = named("b");
    before_ns = st->now_ns;
    supervisor_stop(st->rt, top);
    stepper_run(st);
    cr_assert(runtime_is_alive(st->rt, b));
    cr_assert(runtime_is_alive(st->rt, named("a"))); /* b's turn is not over */
    stepper_run_ms(st, 299);
    cr_assert(runtime_is_alive(st->rt, b));
    stepper_run_ms(st, 10);
    cr_assert_not(runtime_is_alive(st->rt, b));
    cr_assert_not(runtime_is_alive(st->rt, top));
    cr_assert_geq(st->now_ns - before_ns, 300000000);
}

Test(supervisor, a_brutal_kill_waits_for_nothing_and_calls_no_terminate) {
    struct child_spec c[] = {child("a", PERMANENT)};
    eg_pid top;

    c[0].shutdown_ms = SHUTDOWN_BRUTAL;
    top = start(ONE_FOR_ONE, c, 1, 3);
    supervisor_stop(st->rt, top);
    stepper_run(st);
    cr_assert_str_eq(seen.text, "a+ ");
    cr_assert_not(runtime_is_alive(st->rt, top));
}

/* ---- strategies --------------------------------------------------------------------- */

Test(supervisor, one_for_one_restarts_who_died) {
    const struct child_spec c[] = ABC(PERMANENT);
    eg_pid before, a;

    start(ONE_FOR_ONE, c, 3, 3);
    before = named("b");
    a = named("a");
    forget();
    tell("b", CRASH);
    cr_assert_str_eq(seen.text, "b- b+ ");
    cr_assert_not(eg_pid_equal(before, named("b")));
    cr_assert(eg_pid_equal(a, named("a")));
}

Test(supervisor, one_for_all_restarts_all_in_order) {
    const struct child_spec c[] = ABC(PERMANENT);
    start(ONE_FOR_ALL, c, 3, 3);
    forget();
    tell("b", CRASH);
    cr_assert_str_eq(seen.text, "b- c- a- a+ b+ c+ ");
}

Test(supervisor, rest_for_one_restarts_who_died_and_what_came_after) {
    const struct child_spec c[] = ABC(PERMANENT);
    start(REST_FOR_ONE, c, 3, 3);
    forget();
    tell("b", CRASH);
    cr_assert_str_eq(seen.text, "b- c- b+ c+ ");
}

Test(supervisor, a_dynamic_one_runs_many_of_one_template) {
    struct child_spec template = child("x", PERMANENT), one = {0};
    eg_pid top, pid[50], restarted;
    struct child_info info[50];

    template.name = NULL;
    top = start(SIMPLE_ONE_FOR_ONE, &template, 1, 3);
    cr_assert_eq(seen.starts, 0);
    one.arg = "d";
    one.arg_bytes = 2;
    for (int i = 0; i < 50; i++)
        cr_assert_eq(add_child(top, &one, &pid[i]), EG_OK);
    cr_assert_eq(count(top).active, 50);
    cr_assert_eq(stepper_cast(st, pid[7], CRASH, NULL, 0), EG_OK);
    stepper_run(st);
    cr_assert_eq(count(top).active, 50);
    cr_assert_eq(seen.starts, 51);
    cr_assert_eq(stepper_call(st, top, SUPERVISOR_WHICH_CHILDREN, NULL, 0, info, sizeof info),
                 EG_OK);
    restarted = info[7].pid;
    cr_assert_not(eg_pid_equal(restarted, pid[7]));
    cr_assert_eq(info[7].restarts, 1);

    struct child_key key = {.pid = restarted};
    cr_assert_eq(stepper_call(st, top, SUPERVISOR_TERMINATE_CHILD, &key, sizeof key, NULL, 0),
                 EG_OK);
    cr_assert_eq(count(top).specs, 49);
    supervisor_stop(st->rt, top);
    stepper_run(st);
    cr_assert_not(runtime_is_alive(st->rt, top));
    cr_assert_not(runtime_is_alive(st->rt, pid[0]));
}

/* ---- kinds of restart ------------------------------------------------------------------ */

Test(supervisor, a_transient_child_that_ends_normally_stays_down_and_listed) {
    const struct child_spec c[] = ABC(TRANSIENT);
    eg_pid top = start(ONE_FOR_ONE, c, 3, 3);
    struct child_counts n;

    forget();
    tell("b", END_NORMALLY);
    cr_assert_str_eq(seen.text, "b- ");
    n = count(top);
    cr_assert_eq(n.specs, 3);
    cr_assert_eq(n.active, 2);
    tell("a", CRASH);
    cr_assert_str_eq(seen.text, "b- a- a+ ");
}

Test(supervisor, a_permanent_child_that_ends_normally_comes_back) {
    const struct child_spec c[] = ABC(PERMANENT);
    start(ONE_FOR_ONE, c, 3, 3);
    forget();
    tell("b", END_NORMALLY);
    cr_assert_str_eq(seen.text, "b- b+ ");
}

Test(supervisor, a_temporary_child_is_forgotten) {
    const struct child_spec c[] = ABC(TEMPORARY);
    eg_pid top = start(ONE_FOR_ONE, c, 3, 0);
    forget();
    tell("b", CRASH);
    cr_assert_str_eq(seen.text, "b- ");
    cr_assert_eq(count(top).specs, 2);
    cr_assert_eq(command(top, SUPERVISOR_RESTART_CHILD, "b"), EG_NOT_FOUND);
}

/* ---- intensity -------------------------------------------------------------------------- */

Test(supervisor, one_restart_too_many_ends_it_with_all_children) {
    const struct child_spec c[] = ABC(PERMANENT);
    eg_pid top = start(ONE_FOR_ONE, c, 3, 2);

    tell("a", CRASH);
    tell("a", CRASH);
    cr_assert(runtime_is_alive(st->rt, top));
    forget();
    tell("b", CRASH);
    cr_assert_not(runtime_is_alive(st->rt, top));
    cr_assert_str_eq(seen.text, "b- c- a- ");
}

Test(supervisor, a_vital_one_takes_the_process_with_it, .signal = SIGABRT) {
    const struct child_spec c[] = ABC(PERMANENT);
    struct supervisor_opts o = {.label = "vital",
                                .strategy = ONE_FOR_ONE,
                                .intensity = 1,
                                .period_ms = 1000,
                                .children = c,
                                .child_count = 3,
                                .vital = true};
    eg_pid pid;

    cr_assert_eq(supervisor_spawn(st->rt, NULL, &o, SPAWN_HERE, "vital", &pid), EG_OK);
    stepper_run(st);
    tell("a", CRASH);
    cr_assert(runtime_is_alive(st->rt, pid));
    tell("a", CRASH);
}

Test(supervisor, restarts_spread_over_time_do_not_count_together) {
    const struct child_spec c[] = ABC(PERMANENT);
    eg_pid top = start(ONE_FOR_ONE, c, 3, 2);

    for (int i = 0; i < 20; i++) {
        tell("a", CRASH);
        stepper_run_ms(st, 600);
    }
    cr_assert(runtime_is_alive(st->rt, top));
    cr_assert_eq(count(top).restarts, 20);
}

Test(supervisor, init_that_fails_in_a_restart_is_tried_again_until_the_intensity) {
    const struct child_spec c[] = ABC(PERMANENT);
    eg_pid top = start(ONE_FOR_ONE, c, 3, 3);

    forget();
    seen.fail_starts = 2;
    tell("b", CRASH);
    cr_assert_str_eq(seen.text, "b- b! b! b+ ");
    cr_assert(runtime_is_alive(st->rt, top));

    stepper_run_ms(st, 2000);
    seen.fail_starts = 1000;
    tell("b", CRASH);
    cr_assert_not(runtime_is_alive(st->rt, top));
    cr_assert_eq(seen.fail_starts, 1000 - 3); /* a storm is bounded */
}

Test(supervisor, escalation_restarts_the_whole_subtree) {
    struct child_spec inner[] = {child("a", PERMANENT), child("b", PERMANENT)};
    struct child_spec outer[] = {{.id = "inner",
                                  .kind = CHILD_SUPERVISOR,
                                  .name = "inner",
                                  .supervisor = {.strategy = ONE_FOR_ONE,
                                                 .intensity = 1,
                                                 .period_ms = 1000,
                                                 .children = inner,
                                                 .child_count = 2}},
                                 child("z", PERMANENT)};
    eg_pid top = start(REST_FOR_ONE, outer, 2, 5), inner_pid = named("inner");

    cr_assert_str_eq(seen.text, "a+ b+ z+ ");
    forget();
    tell("a", CRASH);
    cr_assert(eg_pid_equal(named("inner"), inner_pid));
    tell("a", CRASH);
    cr_assert_str_eq(seen.text, "a- a+ a- b- z- a+ b+ z+ ");
    cr_assert_not(eg_pid_equal(named("inner"), inner_pid));
    cr_assert(runtime_is_alive(st->rt, top));
    cr_assert_eq(count(top).supervisors, 1);
    supervisor_stop(st->rt, top);
    stepper_run(st);
    cr_assert_not(runtime_is_alive(st->rt, named("inner")));
}

/* ---- commands ------------------------------------------------------------------------------ */

Test(supervisor, children_come_and_go_while_it_runs) {
    const struct child_spec c[] = ABC(PERMANENT);
    struct child_spec d = child("d", PERMANENT);
    eg_pid top = start(ONE_FOR_ONE, c, 3, 3), pid;

    forget();
    cr_assert_eq(add_child(top, &d, &pid), EG_OK);
    cr_assert(eg_pid_equal(named("d"), pid));
    cr_assert_eq(add_child(top, &d, &pid), EG_EXISTS);
    cr_assert_eq(command(top, SUPERVISOR_DELETE_CHILD, "d"), EG_BUSY);
    cr_assert_eq(command(top, SUPERVISOR_TERMINATE_CHILD, "d"), EG_OK);
    cr_assert_eq(command(top, SUPERVISOR_TERMINATE_CHILD, "d"), EG_OK);
    cr_assert_eq(command(top, SUPERVISOR_RESTART_CHILD, "d"), EG_OK);
    cr_assert_eq(command(top, SUPERVISOR_RESTART_CHILD, "d"), EG_EXISTS);
    cr_assert_eq(command(top, SUPERVISOR_TERMINATE_CHILD, "d"), EG_OK);
    cr_assert_eq(command(top, SUPERVISOR_DELETE_CHILD, "d"), EG_OK);
    cr_assert_eq(command(top, SUPERVISOR_DELETE_CHILD, "d"), EG_NOT_FOUND);
    cr_assert_str_eq(seen.text, "d+ d- d+ d- ");
    cr_assert_eq(count(top).specs, 3);
}

Test(supervisor, an_added_child_whose_init_fails_leaves_no_entry) {
    const struct child_spec c[] = ABC(PERMANENT);
    struct child_spec d = child("d", PERMANENT);
    eg_pid top = start(ONE_FOR_ONE, c, 3, 3), pid;

    seen.fail_starts = 1;
    cr_assert_eq(add_child(top, &d, &pid), EG_DISC);
    cr_assert_eq(count(top).specs, 3);
    seen.fail_starts = 1;
    d.scheduler = SPAWN_ON(1); /* init runs elsewhere: the answer comes later */
    cr_assert_eq(add_child(top, &d, &pid), EG_DISC);
    cr_assert_eq(count(top).specs, 3);
    cr_assert_eq(add_child(top, &d, &pid), EG_OK);
}

Test(supervisor, children_on_other_schedulers_start_in_order_too) {
    struct child_spec c[] = ABC(PERMANENT);
    eg_pid top;

    for (int i = 0; i < 3; i++)
        c[i].scheduler = SPAWN_ON(i % 2);
    top = start(ONE_FOR_ALL, c, 3, 3);
    cr_assert_str_eq(seen.text, "a+ b+ c+ ");
    forget();
    tell("a", CRASH);
    cr_assert_str_eq(seen.text, "a- c- b- a+ b+ c+ ");
    cr_assert_eq(count(top).active, 3);
}

Test(supervisor, a_child_terminated_while_another_restarts_slowly_waits_its_turn) {
    struct child_spec c[] = ABC(PERMANENT);
    struct child_key key = {.id = "c"};
    struct message *m, *reply;
    eg_pid top;

    c[2].server = &stubborn; /* stopping it takes its whole deadline */
    c[2].trap_exit = true;
    c[2].shutdown_ms = 200;
    top = start(ONE_FOR_ALL, c, 3, 3);
    tell("a", CRASH);
    m = supervisor_request(st->rt, SUPERVISOR_TERMINATE_CHILD, &key, sizeof key);
    cr_assert_eq(foreign_call(st->me, top, m, 10000, &reply), EG_OK);
    cr_assert_eq((eg_err) (int32_t) reply->tag, EG_OK);
    message_free(st->rt, reply);
    cr_assert_eq(count(top).active, 2);
    cr_assert_eq(command(top, SUPERVISOR_DELETE_CHILD, "c"), EG_OK);
}

static void count_change(void *counter, eg_pid pid) {
    *(int *) counter += eg_pid_is_none(pid) ? 100 : 1;
}

Test(supervisor, the_owner_is_told_of_each_new_life) {
    struct child_spec c[] = {child("a", PERMANENT)};
    int changes = 0;

    c[0].changed = count_change;
    c[0].changed_context = &changes;
    start(ONE_FOR_ONE, c, 1, 3);
    cr_assert_eq(changes, 1);
    tell("a", CRASH);
    cr_assert_eq(changes, 102);
    stepper_close(st); /* while `changes` is here */
    setup();
}

/* Goal: whatever request for memory fails, a start either stands whole or is gone.
 * One child: to stop another a signal is needed, which may not be lost and so stops
 * the node where there is no memory for it. */
Test(supervisor_oom, start_fails_cleanly_at_every_allocation, .timeout = 240) {
    const struct child_spec c[] = {child("a", PERMANENT)};
    struct supervisor_opts o = {.strategy = ONE_FOR_ONE,
                                .intensity = 3,
                                .period_ms = 1000,
                                .children = c,
                                .child_count = 1};
    bool stands = false;

    for (int granted = 0; !stands; granted++) {
        struct fail_alloc local = fail_alloc_after(INT_MAX);
        struct stepper *s = stepper_open(&local.base, 2, 1, NULL);
        eg_pid pid = EG_PID_NONE;
        eg_err err;

        memset(&seen, 0, sizeof seen);
        local.left = granted;
        err = supervisor_spawn(s->rt, NULL, &o, SPAWN_ON(0), NULL, &pid);
        stepper_run(s);
        local.left = INT_MAX;
        stepper_run(s);
        stands = err == EG_OK && runtime_is_alive(s->rt, pid);
        if (stands)
            cr_assert_str_eq(seen.text, "a+ ");
        else
            cr_assert_eq(runtime_actors(s->rt), 0, "%d are left", runtime_actors(s->rt));
        stepper_close(s);
        cr_assert_eq(local.live, 0, "leak when allocation %d fails", granted + 1);
        cr_assert_lt(granted, 200);
    }
}
