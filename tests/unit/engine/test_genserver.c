/* A server answers each call once, whatever happens to it meanwhile. */
#include "engine/genserver.h"

#include "engine/registry.h"
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

TestSuite(genserver, .init = setup, .fini = teardown, .timeout = 240);

/* ---- a server that does what it is told ----------------------------------------- */

enum tag {
    ADD,        /* answer with the sum so far                    */
    LATER,      /* answer when a cast RELEASE comes              */
    RELEASE,    /* answer all that wait, twice                   */
    CRASH,      /* end in the middle of the call                 */
    ASK,        /* call the pid in the payload, pass its outcome */
    SLEEP,      /* answer in so many milliseconds                */
    IDLE_AFTER, /* set an idle timeout                           */
    IDLES,      /* how many there were                           */
    RELAYED,    /* how many asked calls are over, and how the last ended */
};

struct asked {
    eg_pid whom;
    uint32_t tag;
    uint64_t timeout_ms;
};

struct adder {
    int64_t sum;
    int idles, infos;
    struct caller waiting[64];
    int waiting_count;
    struct relayed {
        int count;
        eg_err last;
    } relayed;
    int *terminated;
};

static eg_err adder_init(struct actor *self, void *state, const void *arg) {
    struct adder *a = state;
    (void) self;
    if (arg != NULL)
        a->terminated = *(int *const *) arg;
    return EG_OK;
}

static void asked_done(struct actor *self, void *state, const struct call_then *then,
                       eg_err outcome, struct message *reply) {
    struct adder *a = state;
    int64_t answer = reply == NULL || reply->size_bytes == 0 ? 0 : *(int64_t *) reply->payload;
    (void) then;
    a->relayed.count++;
    a->relayed.last = outcome;
    cr_assert_eq(
        genserver_reply(self, a->waiting[--a->waiting_count], outcome, &answer, sizeof answer),
        EG_OK);
}

static void adder_ask(struct actor *self, struct adder *a, struct caller from,
                      const struct asked *q) {
    int64_t zero = 0;
    struct message *m = message_copy(actor_runtime(self), MESSAGE_CALL, &zero, sizeof zero);
    eg_err err;

    m->tag = q->tag;
    a->waiting[a->waiting_count++] = from;
    err = genserver_call(self, q->whom, m, q->timeout_ms, &(struct call_then){.done = asked_done});
    if (err != EG_OK)
        genserver_reply(self, a->waiting[--a->waiting_count], err, NULL, 0);
}

static void adder_sleep(struct actor *self, struct adder *a, struct caller from, uint64_t ms) {
    a->waiting[a->waiting_count++] = from;
    cr_assert_eq(genserver_later(self, ms, &(struct call_then){.done = asked_done}), EG_OK);
}

static void adder_call(struct actor *self, void *state, struct caller from, struct message *m) {
    struct adder *a = state;

    switch (m->tag) {
    case ADD:
        a->sum += *(int64_t *) m->payload;
        cr_assert_eq(genserver_reply(self, from, EG_OK, &a->sum, sizeof a->sum), EG_OK);
        break;
    case LATER:
        a->waiting[a->waiting_count++] = from;
        break;
    case CRASH:
        actor_crash(self, 7, "told to");
        break;
    case ASK:
        adder_ask(self, a, from, (const struct asked *) m->payload);
        break;
    case SLEEP:
        adder_sleep(self, a, from, *(const uint64_t *) m->payload);
        break;
    case RELAYED:
        cr_assert_eq(genserver_reply(self, from, EG_OK, &a->relayed, sizeof a->relayed), EG_OK);
        break;
    case IDLES:
        cr_assert_eq(genserver_reply(self, from, EG_OK, &a->idles, sizeof a->idles), EG_OK);
        break;
    }
}

static void adder_cast(struct actor *self, void *state, struct message *m) {
    struct adder *a = state;

    if (m->tag == IDLE_AFTER)
        genserver_set_timeout(self, *(uint64_t *) m->payload);
    for (int i = 0; m->tag == RELEASE && i < a->waiting_count; i++) {
        cr_assert_eq(genserver_reply(self, a->waiting[i], EG_OK, &a->sum, sizeof a->sum), EG_OK);
        cr_assert_eq(genserver_reply(self, a->waiting[i], EG_OK, &a->sum, sizeof a->sum),
                     EG_NOT_FOUND);
    }
}

static void adder_timeout(struct actor *self, void *state) {
    (void) self;
    ((struct adder *) state)->idles++;
}

static void adder_terminate(struct actor *self, void *state, const eg_exit *reason) {
    struct adder *a = state;
    (void) self;
    (void) reason;
    if (a->terminated != NULL)
        ++*a->terminated;
}

static void adder_describe(struct actor *self, const void *state, char *text, size_t size_bytes) {
    (void) self;
    snprintf(text, size_bytes, "sum %d", (int) ((const struct adder *) state)->sum);
}

static const struct genserver_ops adder = {.name = "adder",
                                           .state_bytes = sizeof(struct adder),
                                           .init = adder_init,
                                           .call = adder_call,
                                           .cast = adder_cast,
                                           .timeout = adder_timeout,
                                           .terminate = adder_terminate,
                                           .describe = adder_describe};

static eg_pid spawn_on(int scheduler, const char *name) {
    eg_pid pid;
    struct genserver_opts o = {
        .ops = &adder, .name = name, .spawn = {.scheduler = SPAWN_ON(scheduler)}};
    cr_assert_eq(genserver_spawn(st->rt, NULL, &o, &pid, NULL), EG_OK);
    return pid;
}

static eg_err add(eg_pid to, int64_t n, int64_t *sum) {
    return stepper_call(st, to, ADD, &n, sizeof n, sum, sizeof *sum);
}

static eg_err ask(eg_pid via, eg_pid whom, uint32_t tag, uint64_t timeout_ms) {
    struct asked q = {whom, tag, timeout_ms};
    return stepper_call(st, via, ASK, &q, sizeof q, NULL, 0);
}

/* Have `via` ask, without waiting for what comes of it. */
static void ask_on_the_side(eg_pid via, eg_pid whom, uint32_t tag) {
    struct asked q = {whom, tag, CALL_TIMEOUT_NEVER};
    struct message *m = message_copy(st->rt, MESSAGE_CALL, &q, sizeof q);
    m->tag = ASK;
    m->ref = actor_make_ref(st->rt);
    cr_assert_eq(foreign_send(st->me, via, m), EG_OK);
    stepper_run(st);
}

static void assert_relayed(eg_pid via, int count, eg_err last) {
    struct relayed r;
    stepper_run(st);
    cr_assert_eq(stepper_call(st, via, RELAYED, NULL, 0, &r, sizeof r), EG_OK);
    cr_assert_eq(r.count, count, "%d not %d", r.count, count);
    cr_assert_eq(r.last, last);
}

/* ---- claims ------------------------------------------------------------------------ */

Test(genserver, answers_calls_in_order) {
    eg_pid pid = spawn_on(0, NULL);
    int64_t sum;
    for (int i = 1; i <= 100; i++) {
        cr_assert_eq(add(pid, i, &sum), EG_OK);
        cr_assert_eq(sum, i * (i + 1) / 2);
    }
}

Test(genserver, is_called_by_name_while_it_lives) {
    eg_pid pid = spawn_on(0, "adder");
    int64_t sum;

    stepper_run(st);
    cr_assert(eg_pid_equal(registry_find(runtime_names(st->rt), "adder"), pid));
    cr_assert_eq(add(registry_find(runtime_names(st->rt), "adder"), 5, &sum), EG_OK);
    cr_assert_eq(stepper_call(st, pid, CRASH, NULL, 0, NULL, 0), EG_NOPROC);
    cr_assert(eg_pid_is_none(registry_find(runtime_names(st->rt), "adder")));
}

Test(genserver, a_taken_name_ends_the_second) {
    eg_pid first = spawn_on(0, "adder"), second = spawn_on(0, "adder");
    stepper_run(st);
    cr_assert(runtime_is_alive(st->rt, first));
    cr_assert_not(runtime_is_alive(st->rt, second));
    cr_assert(eg_pid_equal(registry_find(runtime_names(st->rt), "adder"), first));
}

Test(genserver, answers_later_from_another_callback_and_only_once) {
    eg_pid pid = spawn_on(0, NULL), via = spawn_on(1, NULL);

    ask_on_the_side(via, pid, LATER);
    assert_relayed(via, 0, EG_OK);
    cr_assert_eq(stepper_cast(st, pid, RELEASE, NULL, 0), EG_OK);
    assert_relayed(via, 1, EG_OK);
}

Test(genserver, a_call_to_the_dead_fails_at_once) {
    eg_pid dead = spawn_on(0, NULL), via = spawn_on(1, NULL);
    uint64_t before_ns;

    cr_assert_eq(stepper_call(st, dead, CRASH, NULL, 0, NULL, 0), EG_NOPROC);
    before_ns = st->now_ns;
    cr_assert_eq(ask(via, dead, ADD, 5000), EG_NOPROC);
    cr_assert_eq(st->now_ns, before_ns);
}

Test(genserver, whoever_waits_hears_of_a_death_at_once) {
    eg_pid pid = spawn_on(0, NULL), via = spawn_on(1, NULL);
    uint64_t before_ns = st->now_ns;
    cr_assert_eq(ask(via, pid, CRASH, 5000), EG_NOPROC);
    cr_assert_eq(st->now_ns, before_ns);
}

Test(genserver, a_kill_answers_what_was_owed) {
    eg_pid pid = spawn_on(0, NULL), via = spawn_on(1, NULL);
    eg_exit kill = exit_reason(EG_EXIT_KILL);

    ask_on_the_side(via, pid, LATER);
    actor_exit_send(st->rt, EG_PID_NONE, pid, &kill);
    assert_relayed(via, 1, EG_NOPROC);
}

Test(genserver, the_deadline_ends_a_call_and_a_late_answer_is_dropped) {
    eg_pid pid = spawn_on(0, NULL), via = spawn_on(1, NULL);
    uint64_t before_ns = st->now_ns;

    cr_assert_eq(ask(via, pid, LATER, 250), EG_TIMEOUT);
    cr_assert_geq(st->now_ns - before_ns, 249000000);
    cr_assert_leq(st->now_ns - before_ns, 252000000);
    cr_assert_eq(stepper_cast(st, pid, RELEASE, NULL, 0), EG_OK);
    assert_relayed(via, 1, EG_TIMEOUT);
}

Test(genserver, what_is_to_be_done_later_is_done_once_and_then) {
    const uint64_t delay_ms[] = {0, 250, 0};
    eg_pid pid = spawn_on(0, NULL);

    for (int i = 0; i < 3; i++) {
        uint64_t before_ns = st->now_ns, took_ns;

        cr_assert_eq(stepper_call(st, pid, SLEEP, &delay_ms[i], sizeof delay_ms[i], NULL, 0),
                     EG_OK);
        took_ns = st->now_ns - before_ns;
        cr_assert_geq(took_ns, delay_ms[i] * 1000000 - (delay_ms[i] != 0) * 1000000);
        cr_assert_leq(took_ns, (delay_ms[i] + 2) * 1000000);
        assert_relayed(pid, i + 1, EG_OK);
    }
}

Test(genserver, a_full_mailbox_says_busy) {
    eg_pid pid;
    struct genserver_opts o = {.ops = &adder, .spawn = {.mailbox_bound = 4}};
    int refused = 0;

    cr_assert_eq(genserver_spawn(st->rt, NULL, &o, &pid, NULL), EG_OK);
    stepper_run(st);
    for (int i = 0; i < 40; i++) {
        struct message *m = message_new(st->rt, MESSAGE_CALL, sizeof(int64_t));
        struct message *reply;
        memset(m->payload, 0, sizeof(int64_t));
        m->tag = ADD;
        if (i < 39) {
            m->ref = 1000 + (uint64_t) i;
            foreign_send(st->me, pid, m);
            continue;
        }
        refused += foreign_call(st->me, pid, m, 1000, &reply) == EG_BUSY;
    }
    cr_assert_eq(refused, 1);
}

Test(genserver, without_a_call_callback_a_call_is_no_method) {
    static const struct genserver_ops deaf = {.name = "deaf"};
    struct genserver_opts o = {.ops = &deaf};
    eg_pid pid;

    cr_assert_eq(genserver_spawn(st->rt, NULL, &o, &pid, NULL), EG_OK);
    cr_assert_eq(stepper_call(st, pid, ADD, NULL, 0, NULL, 0), EG_NO_METHOD);
}

Test(genserver, an_idle_timeout_comes_once_and_not_after_a_message) {
    eg_pid pid = spawn_on(0, NULL);
    uint64_t after_ms = 100;
    int64_t sum;
    int idles;

    cr_assert_eq(stepper_cast(st, pid, IDLE_AFTER, &after_ms, sizeof after_ms), EG_OK);
    stepper_run_ms(st, 50);
    cr_assert_eq(add(pid, 1, &sum), EG_OK); /* ends the wait */
    stepper_run_ms(st, 1000);
    cr_assert_eq(stepper_call(st, pid, IDLES, NULL, 0, &idles, sizeof idles), EG_OK);
    cr_assert_eq(idles, 0);

    cr_assert_eq(stepper_cast(st, pid, IDLE_AFTER, &after_ms, sizeof after_ms), EG_OK);
    stepper_run_ms(st, 1000);
    cr_assert_eq(stepper_call(st, pid, IDLES, NULL, 0, &idles, sizeof idles), EG_OK);
    cr_assert_eq(idles, 1);
}

Test(genserver, terminate_is_called_exactly_once) {
    int terminated = 0, *where = &terminated;
    struct genserver_opts o = {.ops = &adder, .spawn = {.arg = &where, .arg_bytes = sizeof where}};
    eg_exit shutdown = exit_reason(EG_EXIT_SHUTDOWN);
    eg_pid pid;

    cr_assert_eq(genserver_spawn(st->rt, NULL, &o, &pid, NULL), EG_OK);
    stepper_run(st);
    actor_exit_send(st->rt, EG_PID_NONE, pid, &shutdown);
    actor_exit_send(st->rt, EG_PID_NONE, pid, &shutdown);
    stepper_run(st);
    cr_assert_eq(terminated, 1);
    cr_assert_not(runtime_is_alive(st->rt, pid));
}

Test(genserver, many_open_calls_find_their_answers) {
    enum { CALLS = 40 };
    eg_pid pid = spawn_on(0, NULL), via = spawn_on(1, NULL);

    for (int i = 0; i < CALLS; i++)
        ask_on_the_side(via, pid, LATER);
    cr_assert_eq(stepper_cast(st, pid, RELEASE, NULL, 0), EG_OK);
    assert_relayed(via, CALLS, EG_OK);
}

/* Goal: a spawn that lacks memory leaves nothing behind, whatever request fails. */
Test(genserver_oom, spawn_fails_cleanly_at_every_allocation, .timeout = 240) {
    static const char big[1000];
    int granted = 0;
    bool spawned = false;

    for (; !spawned; granted++) {
        struct fail_alloc local = fail_alloc_after(INT_MAX);
        struct stepper *s = stepper_open(&local.base, 1, 1, NULL);
        struct genserver_opts o = {.ops = &adder, .name = "x", .spawn = {.arg_bytes = sizeof big}};
        int terminated = 0, *where = &terminated;
        char arg[sizeof big] = {0};
        eg_pid pid = EG_PID_NONE;
        eg_err err;

        memcpy(arg, &where, sizeof where);
        o.spawn.arg = arg;
        local.left = granted;
        err = genserver_spawn(s->rt, NULL, &o, &pid, NULL);
        stepper_run(s);
        local.left = INT_MAX;
        if (err == EG_OK && runtime_is_alive(s->rt, pid)) {
            spawned = true;
            cr_assert(eg_pid_equal(registry_find(runtime_names(s->rt), "x"), pid));
        } else {
            cr_assert(eg_pid_is_none(registry_find(runtime_names(s->rt), "x")));
        }
        stepper_close(s);
        cr_assert_eq(local.live, 0, "leak when allocation %d fails", granted + 1);
        cr_assert_lt(granted, 100);
    }
    cr_assert_gt(granted, 2);
}
