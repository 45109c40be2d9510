/* Actors on real threads: birth, messages, ties, ends, time, lending, foreign callers. */
#include "engine/foreign.h"
#include "engine/loop_uv.h"
#include "engine/reserve.h"
#include "tests/support/fail_alloc.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

enum { WAIT_MS = 60000 }; /* for what comes at once, unless the machine is very busy */

static struct fail_alloc memory;
static struct runtime *rt;
static struct foreign *me;

static void setup(void) {
    memory = fail_alloc_after(INT_MAX);
    cr_assert_eq(runtime_open(&rt, &(struct runtime_opts){.alloc = &memory.base,
                                                          .env = env_uv(),
                                                          .driver = loop_uv_driver(),
                                                          .schedulers = 2,
                                                          .actors_max = 1000}),
                 EG_OK);
    cr_assert_eq(runtime_start(rt), EG_OK);
    cr_assert_eq(foreign_open(&me, rt), EG_OK);
}

static void teardown(void) {
    foreign_close(me);
    runtime_stop(rt);
    runtime_close(rt);
    cr_assert_eq(memory.live, 0, "%d allocations leaked", memory.live);
}

TestSuite(runtime, .init = setup, .fini = teardown, .timeout = 240);

/* ---- an actor that does what it is told ---------------------------------------- */

enum tag {
    PLAY_ECHO,   /* reply with the payload                                */
    PLAY_STOP,   /* end with the eg_exit in the payload                   */
    PLAY_WATCH,  /* monitor the pid in the payload                        */
    PLAY_LINK,   /* link to it                                            */
    PLAY_UNLINK, /* unlink it                                             */
    PLAY_TIMER,  /* start a timer of the uint64 in the payload            */
    PLAY_CANCEL, /* cancel it                                             */
    PLAY_SPAWN,  /* spawn_link a player; reply with its pid               */
    PLAY_TRAP,   /* trap exits                                            */
    PLAY_COUNT,  /* reply with the number of casts seen                   */

    PLAY_HOLD, /* keep the CALL and never answer                        */
};

struct player {
    eg_pid boss; /* hears of exits, downs and timeouts */
    eg_ref timer;
    uint64_t casts;
    struct message *held;
};

static eg_err player_init(struct actor *self, void *state, const void *arg) {
    struct player *p = state;
    (void) self;
    if (arg != NULL)
        p->boss = *(const eg_pid *) arg;
    return EG_OK;
}

static void player_terminate(struct actor *self, void *state, const eg_exit *reason) {
    struct player *p = state;
    (void) reason;
    if (p->held != NULL)
        message_free(actor_runtime(self), p->held);
}

static void tell_boss(struct actor *self, struct player *p, const struct message *m) {
    struct message *copy =
        message_copy(actor_runtime(self), MESSAGE_INFO, m->payload, m->size_bytes);
    copy->tag = m->kind;
    copy->ref = m->ref;
    actor_send(self, p->boss, copy);
}

static const struct actor_ops player_ops;

static void player_call(struct actor *self, struct player *p, struct message *m) {
    eg_pid pid = EG_PID_NONE;
    eg_ref ref = 0;
    eg_exit reason;
    uint64_t delay_ms;

    if (m->size_bytes >= sizeof pid)
        memcpy(&pid, m->payload, sizeof pid);
    switch (m->tag) {
    case PLAY_STOP:
        memcpy(&reason, m->payload, sizeof reason);
        actor_exit(self, &reason);
        break;
    case PLAY_WATCH:
        cr_assert_eq(actor_monitor(self, pid, &ref), EG_OK);
        break;
    case PLAY_LINK:
        cr_assert_eq(actor_link(self, pid), EG_OK);
        break;
    case PLAY_UNLINK:
        actor_unlink(self, pid);
        break;
    case PLAY_TIMER:
        memcpy(&delay_ms, m->payload, sizeof delay_ms);
        cr_assert_eq(actor_start_timer(self, delay_ms,
                                       message_new(actor_runtime(self), MESSAGE_INFO, 0),
                                       &p->timer),
                     EG_OK);
        break;
    case PLAY_CANCEL:
        ref = actor_cancel_timer(self, p->timer);
        break;
    case PLAY_SPAWN:
        cr_assert_eq(actor_spawn(actor_runtime(self), self,
                                 &(struct spawn_opts){.ops = &player_ops,
                                                      .arg = &p->boss,
                                                      .arg_bytes = sizeof p->boss,
                                                      .scheduler = SPAWN_ANYWHERE,
                                                      .link = true},
                                 &pid, NULL),
                     EG_OK);
        actor_reply_bytes(self, m->from, m->ref, EG_OK, &pid, sizeof pid);
        return;
    case PLAY_TRAP:
        actor_trap_exit(self, true);
        break;
    case PLAY_COUNT:
        ref = p->casts;
        break;
    case PLAY_HOLD:
        actor_keep(self, m);
        p->held = m;
        return;
    default:
        actor_reply_bytes(self, m->from, m->ref, EG_OK, m->payload, m->size_bytes);
        return;
    }
    actor_reply_bytes(self, m->from, m->ref, EG_OK, &ref, sizeof ref);
}

static void player_receive(struct actor *self, void *state, struct message *m) {
    struct player *p = state;
    if (m->kind == MESSAGE_CALL)
        player_call(self, p, m);
    else if (m->kind == MESSAGE_CAST)
        p->casts++;
    else
        tell_boss(self, p, m);
}

static const struct actor_ops player_ops = {.name = "player",
                                            .state_bytes = sizeof(struct player),
                                            .init = player_init,
                                            .receive = player_receive,
                                            .terminate = player_terminate};

/* ---- what the test does with it ---------------------------------------------------- */

static eg_pid spawn_on(uint32_t scheduler) {
    eg_pid boss = foreign_pid(me), pid;
    cr_assert_eq(actor_spawn(rt, NULL,
                             &(struct spawn_opts){.ops = &player_ops,
                                                  .arg = &boss,
                                                  .arg_bytes = sizeof boss,
                                                  .scheduler = SPAWN_ON(scheduler)},
                             &pid, NULL),
                 EG_OK);
    return pid;
}

static uint64_t ask(eg_pid to, enum tag tag, const void *bytes, size_t size_bytes) {
    struct message *m = message_copy(rt, MESSAGE_CALL, bytes, size_bytes), *reply;
    uint64_t answer = 0;
    m->tag = tag;
    cr_assert_eq(foreign_call(me, to, m, WAIT_MS, &reply), EG_OK);
    memcpy(&answer, reply->payload, EG_MIN(reply->size_bytes, sizeof answer));
    message_free(rt, reply);
    return answer;
}

static void expect(enum message_kind kind, eg_exit_kind reason_kind, const char *text) {
    struct message *m = foreign_receive(me, WAIT_MS);
    eg_exit reason = {0};
    cr_assert_not_null(m);
    cr_assert_eq(m->tag, kind, "heard %s", message_kind_name(m->tag));
    if (kind != MESSAGE_TIMEOUT) {
        memcpy(&reason, m->payload, EG_MIN(m->size_bytes, sizeof reason));
        cr_assert_eq(reason.kind, reason_kind, "ended %s", exit_kind_name(reason.kind));
        cr_assert_str_eq(reason.text, text);
    }
    message_free(rt, m);
}

static void stop(eg_pid pid, eg_exit reason) {
    ask(pid, PLAY_STOP, &reason, sizeof reason);
}

Test(runtime, a_call_is_answered_from_each_scheduler) {
    uint64_t n = 4711;
    cr_assert_eq(ask(spawn_on(0), PLAY_ECHO, &n, sizeof n), n);
    cr_assert_eq(ask(spawn_on(1), PLAY_ECHO, &n, sizeof n), n);
}

Test(runtime, casts_of_one_sender_arrive_before_its_later_call) {
    eg_pid pid = spawn_on(1);
    for (int i = 0; i < 1000; i++) {
        struct message *m = message_new(rt, MESSAGE_CAST, 0);
        cr_assert_eq(foreign_send(me, pid, m), EG_OK);
    }
    cr_assert_eq(ask(pid, PLAY_COUNT, NULL, 0), 1000);
}

Test(runtime, a_stale_pid_is_noproc_and_never_the_next_actor) {
    eg_pid old = spawn_on(0), fresh;
    struct message *down;
    eg_ref ref;
    cr_assert_eq(foreign_monitor(me, old, &ref), EG_OK);
    stop(old, exit_reason(EG_EXIT_NORMAL));
    down = foreign_receive(me, WAIT_MS); /* said when its slot is free */
    cr_assert_not_null(down);
    message_free(rt, down);
    fresh = spawn_on(0);
    cr_assert_eq(fresh.slot, old.slot);
    cr_assert_eq(foreign_send(me, old, message_new(rt, MESSAGE_CAST, 0)), EG_NOPROC);
    cr_assert_eq(ask(fresh, PLAY_COUNT, NULL, 0), 0);
}

Test(runtime, a_monitor_hears_the_reason_across_schedulers) {
    eg_pid watcher = spawn_on(0), watched = spawn_on(1);
    ask(watcher, PLAY_WATCH, &watched, sizeof watched);
    stop(watched, exit_crash(7, "out of luck"));
    expect(MESSAGE_DOWN, EG_EXIT_CRASH, "out of luck");
}

Test(runtime, monitoring_the_dead_is_a_down_with_noproc) {
    eg_pid watcher = spawn_on(0), watched = spawn_on(1);
    stop(watched, exit_reason(EG_EXIT_NORMAL));
    ask(watcher, PLAY_WATCH, &watched, sizeof watched);
    expect(MESSAGE_DOWN, EG_EXIT_NOPROC, "");
}

Test(runtime, a_crash_takes_the_linked_along_unless_they_trap) {
    eg_pid a = spawn_on(0), b = spawn_on(1), trapper = spawn_on(0);
    ask(trapper, PLAY_TRAP, NULL, 0);
    ask(b, PLAY_LINK, &a, sizeof a);
    ask(trapper, PLAY_LINK, &b, sizeof b);
    stop(a, exit_crash(1, "first"));
    expect(MESSAGE_EXIT, EG_EXIT_CRASH, "first"); /* a's reason, through b */
    cr_assert(!runtime_is_alive(rt, a));
    cr_assert(!runtime_is_alive(rt, b));
    cr_assert(runtime_is_alive(rt, trapper));
}

Test(runtime, a_normal_end_disturbs_nobody) {
    eg_pid a = spawn_on(0), b = spawn_on(1), watcher = spawn_on(1);
    ask(a, PLAY_LINK, &b, sizeof b);
    ask(watcher, PLAY_WATCH, &a, sizeof a);
    stop(a, exit_reason(EG_EXIT_NORMAL));
    expect(MESSAGE_DOWN, EG_EXIT_NORMAL, "");
    cr_assert_eq(ask(b, PLAY_COUNT, NULL, 0), 0);
}

Test(runtime, unlinked_actors_go_alone) {
    eg_pid a = spawn_on(0), b = spawn_on(1), watcher = spawn_on(1);
    ask(a, PLAY_LINK, &b, sizeof b);
    ask(a, PLAY_UNLINK, &b, sizeof b);
    ask(watcher, PLAY_WATCH, &a, sizeof a);
    stop(a, exit_crash(1, "alone"));
    expect(MESSAGE_DOWN, EG_EXIT_CRASH, "alone");
    cr_assert_eq(ask(b, PLAY_COUNT, NULL, 0), 0);
}

Test(runtime, kill_cannot_be_trapped_and_looks_like_killed) {
    eg_pid a = spawn_on(1), watcher = spawn_on(0);
    eg_exit kill = exit_reason(EG_EXIT_KILL);
    ask(a, PLAY_TRAP, NULL, 0);
    ask(watcher, PLAY_WATCH, &a, sizeof a);
    actor_exit_send(rt, EG_PID_NONE, a, &kill);
    expect(MESSAGE_DOWN, EG_EXIT_KILLED, "");
}

Test(runtime, signals_are_sent_where_there_is_no_memory) {
    eg_exit shutdown = exit_reason(EG_EXIT_SHUTDOWN), kill = exit_reason(EG_EXIT_KILL);
    eg_exit crash = exit_crash(1, "whose text has no room");
    const eg_exit *const reasons[] = {&shutdown, &kill, &crash};
    eg_pid pids[RESERVE_BLOCKS];
    uint32_t before = runtime_actors(rt);

    for (uint32_t i = 0; i < EG_COUNTOF(pids); i++)
        pids[i] = spawn_on(i % 2);
    memory.left = 0;
    for (uint32_t i = 0; i < EG_COUNTOF(pids); i++)
        actor_exit_send(rt, EG_PID_NONE, pids[i], reasons[i % 3]);
    memory.left = INT_MAX;
    while (runtime_actors(rt) != before) /* the suite's timeout ends this */
        sched_yield();
}

Test(runtime, a_child_spawned_elsewhere_is_linked_from_its_first_moment) {
    eg_pid parent = spawn_on(0), child;
    for (int i = 0; i < 2; i++) { /* once on each scheduler */
        struct message *m = message_new(rt, MESSAGE_CALL, 0), *reply;
        m->tag = PLAY_SPAWN;
        ask(parent, PLAY_TRAP, NULL, 0);
        cr_assert_eq(foreign_call(me, parent, m, WAIT_MS, &reply), EG_OK);
        memcpy(&child, reply->payload, sizeof child);
        message_free(rt, reply);
        stop(child, exit_crash(3, "child"));
        expect(MESSAGE_EXIT, EG_EXIT_CRASH, "child");
    }
}

Test(runtime, a_timer_fires_once_and_a_cancelled_one_never) {
    eg_pid a = spawn_on(0);
    uint64_t soon_ms = 5, late_ms = 60 * 1000;
    ask(a, PLAY_TIMER, &soon_ms, sizeof soon_ms);
    expect(MESSAGE_TIMEOUT, EG_EXIT_NORMAL, "");
    cr_assert_eq(ask(a, PLAY_CANCEL, NULL, 0), false);
    ask(a, PLAY_TIMER, &late_ms, sizeof late_ms);
    cr_assert_eq(ask(a, PLAY_CANCEL, NULL, 0), true);
    cr_assert_eq(ask(a, PLAY_CANCEL, NULL, 0), false);
}

Test(runtime, a_call_without_answer_times_out_and_its_late_reply_is_dropped) {
    eg_pid a = spawn_on(0);
    struct message *m = message_new(rt, MESSAGE_CALL, 0), *reply = NULL;
    uint64_t n = 9;
    m->tag = PLAY_HOLD;
    cr_assert_eq(foreign_call(me, a, m, 10, &reply), EG_TIMEOUT);
    cr_assert_null(reply);
    cr_assert_eq(ask(a, PLAY_ECHO, &n, sizeof n), n);
}

Test(runtime, calls_left_in_the_mailbox_of_a_dead_actor_are_refused) {
    eg_pid a = spawn_on(0);
    eg_exit normal = exit_reason(EG_EXIT_NORMAL);
    struct message *m = message_copy(rt, MESSAGE_CALL, &normal, sizeof normal), *reply;
    m->tag = PLAY_STOP;
    m->ref = UINT64_MAX; /* nobody waits for this one's reply */
    cr_assert_eq(foreign_send(me, a, m), EG_OK);
    cr_assert_eq(foreign_call(me, a, message_new(rt, MESSAGE_CALL, 0), WAIT_MS, &reply), EG_NOPROC);
}

/* ---- failing starts ------------------------------------------------------------------- */

static eg_err refuse_init(struct actor *self, void *state, const void *arg) {
    (void) self;
    (void) state;
    (void) arg;
    return EG_DENIED;
}
static void receive_nothing(struct actor *self, void *state, struct message *m) {
    (void) self;
    (void) state;
    (void) m;
}
static const struct actor_ops refuser_ops = {
    .name = "refuser", .init = refuse_init, .receive = receive_nothing};

Test(runtime, a_refused_init_elsewhere_is_an_exit) {
    eg_pid pid;
    eg_ref ref;
    struct message *down;
    eg_exit reason;
    cr_assert_eq(actor_spawn(rt, NULL, &(struct spawn_opts){.ops = &refuser_ops}, &pid, NULL),
                 EG_OK);
    cr_assert_eq(foreign_monitor(me, pid, &ref), EG_OK);
    down = foreign_receive(me, WAIT_MS);
    cr_assert_not_null(down);
    cr_assert_eq(down->ref, ref);
    reason = message_exit(down); /* it may have been gone before we looked */
    cr_assert(reason.kind == EG_EXIT_NOPROC || reason.code == EG_DENIED);
    message_free(rt, down);
}

/* ---- bounds ------------------------------------------------------------------------------- */

enum gate { SHUT, ENTERED, OPEN };

static void block_at_gate(struct actor *self, void *state, struct message *m) {
    _Atomic int *gate = *(_Atomic int **) state;
    int shut = SHUT;
    (void) self;
    (void) m;
    atomic_compare_exchange_strong(gate, &shut, ENTERED);
    while (atomic_load(gate) != OPEN)
        sched_yield();
}
static eg_err take_pointer(struct actor *self, void *state, const void *arg) {
    (void) self;
    memcpy(state, arg, sizeof(void *));
    return EG_OK;
}
static const struct actor_ops blocker_ops = {.name = "blocker",
                                             .state_bytes = sizeof(void *),
                                             .init = take_pointer,
                                             .receive = block_at_gate};

Test(runtime, a_full_mailbox_refuses_calls_and_passes_replies) {
    static _Atomic int gate;
    _Atomic int *at = &gate;
    struct message *reply;
    eg_pid pid;
    eg_err err;
    atomic_store(&gate, SHUT);
    cr_assert_eq(actor_spawn(rt, NULL,
                             &(struct spawn_opts){.ops = &blocker_ops,
                                                  .arg = &at,
                                                  .arg_bytes = sizeof at,
                                                  .scheduler = SPAWN_ON(0),
                                                  .mailbox_bound = 8},
                             &pid, NULL),
                 EG_OK);
    cr_assert_eq(foreign_send(me, pid, message_new(rt, MESSAGE_CAST, 0)), EG_OK);
    while (atomic_load(&gate) != ENTERED)
        sched_yield();
    /* The scheduler stands still: what follows waits in its inbox, and only the
     * mailbox, later, says busy. */
    for (int i = 0; i < 8 + 8; i++)
        cr_assert_eq(foreign_send(me, pid, message_new(rt, MESSAGE_CAST, 0)), EG_OK);
    cr_assert_eq(foreign_send(me, pid, message_new(rt, MESSAGE_REPLY, 0)), EG_OK);
    atomic_store(&gate, OPEN);
    while ((err = foreign_call(me, pid, message_new(rt, MESSAGE_CALL, 0), 10, &reply)) == EG_BUSY)
        ;
    cr_assert_eq(err, EG_TIMEOUT); /* taken, though this actor never answers */
    while (scheduler_stats(runtime_scheduler(rt, 0)).busy_msgs < 8)
        sched_yield(); /* it may not have run at all in those 10 ms */
    while (runtime_pressure(rt, pid) != PRESSURE_CALM)
        sched_yield();
}

/* ---- lending ----------------------------------------------------------------------------------
 */

static void count_message(struct actor *self, void *state, struct message *m) {
    uint64_t *count = state;
    ++*count;
    if (m->kind == MESSAGE_CALL)
        actor_reply_bytes(self, m->from, m->ref, EG_OK, count, sizeof *count);
}
static const struct actor_ops counter_ops = {
    .name = "counter", .state_bytes = sizeof(uint64_t), .receive = count_message};

Test(runtime, an_idle_lendable_actor_is_run_in_place_and_handed_back) {
    eg_pid pid;
    struct actor *a;
    cr_assert_eq(actor_spawn(rt, NULL, &(struct spawn_opts){.ops = &counter_ops, .lendable = true},
                             &pid, NULL),
                 EG_OK);
    cr_assert_eq(ask(pid, PLAY_ECHO, NULL, 0), 1);
    while ((a = actor_claim(rt, pid)) == NULL)
        sched_yield(); /* the scheduler may still be putting it down */
    cr_assert_null(actor_claim(rt, pid), "lent twice");
    *(uint64_t *) actor_state(a) += 10;
    cr_assert_eq(foreign_send(me, pid, message_new(rt, MESSAGE_CAST, 0)), EG_OK);
    actor_release(a);
    cr_assert_eq(ask(pid, PLAY_ECHO, NULL, 0), 13);
}

Test(runtime, a_lent_actor_may_end_itself) {
    eg_pid pid;
    struct actor *a;
    eg_ref ref;
    struct message *down;
    cr_assert_eq(actor_spawn(rt, NULL, &(struct spawn_opts){.ops = &counter_ops, .lendable = true},
                             &pid, NULL),
                 EG_OK);
    cr_assert_eq(foreign_monitor(me, pid, &ref), EG_OK);
    cr_assert_eq(ask(pid, PLAY_ECHO, NULL, 0), 1);
    while ((a = actor_claim(rt, pid)) == NULL)
        sched_yield();
    actor_crash(a, 5, "while lent");
    actor_release(a);
    down = foreign_receive(me, WAIT_MS);
    cr_assert_not_null(down);
    cr_assert_str_eq(message_exit(down).text, "while lent");
    message_free(rt, down);
}

/* Counts, and lends itself when it is asked to. */
static struct loan loan;

static void lend_message(struct actor *self, void *state, struct message *m) {
    uint64_t number;

    if (m->kind == MESSAGE_CAST) {
        memcpy(&number, m->payload, sizeof number);
        actor_lend(self, &loan, number);
    }
    count_message(self, state, m);
}

static eg_pid spawn_lender(void) {
    static const struct actor_ops ops = {
        .name = "lender", .state_bytes = sizeof(uint64_t), .receive = lend_message};
    eg_pid pid;

    cr_assert_eq(
        actor_spawn(rt, NULL, &(struct spawn_opts){.ops = &ops, .lendable = true}, &pid, NULL),
        EG_OK);
    return pid;
}

static void ask_loan(eg_pid pid, uint64_t number) {
    struct message *m = message_copy(rt, MESSAGE_CAST, &number, sizeof number);

    loan_ask(&loan, number);
    cr_assert_eq(foreign_send(me, pid, m), EG_OK);
}

Test(runtime, an_actor_lends_itself_when_its_turn_comes_and_its_messages_wait) {
    eg_pid pid = spawn_lender();
    struct message *reply;
    struct actor *a;

    ask_loan(pid, 1);
    while (!loan_given(&loan, 1))
        sched_yield();
    cr_assert_null(actor_claim(rt, pid), "lent twice");
    cr_assert_eq(foreign_call(me, pid, message_new(rt, MESSAGE_CALL, 0), 50, &reply), EG_TIMEOUT);
    a = loan_end(&loan);
    cr_assert_not_null(a);
    *(uint64_t *) actor_state(a) += 10;
    actor_release(a);
    cr_assert_eq(ask(pid, PLAY_ECHO, NULL, 0), 13);
    cr_assert_null(loan_end(&loan), "given once");
}

Test(runtime, an_actor_is_not_lent_for_a_loan_that_has_ended) {
    eg_pid pid = spawn_lender();

    for (uint64_t number = 1; number < 200; number++) {
        struct actor *a;

        ask_loan(pid, number);
        a = loan_end(&loan); /* before it heard of it, or not */
        cr_assert_not(loan_given(&loan, number));
        if (a != NULL)
            actor_release(a);
        cr_assert_eq(ask(pid, PLAY_ECHO, NULL, 0), 2 * number);
    }
}

Test(runtime, plain_actors_cannot_be_claimed) {
    cr_assert_null(actor_claim(rt, spawn_on(0)));
    cr_assert_null(actor_claim(rt, EG_PID_NONE));
}

/* ---- posts, pids, memory ------------------------------------------------------------------------
 */

static void set_flag(struct scheduler *s, void *arg) {
    cr_assert(scheduler_is_current(s));
    atomic_store((_Atomic bool *) arg, true);
}

Test(runtime, a_posted_function_runs_on_its_scheduler) {
    static _Atomic bool ran;
    cr_assert_eq(scheduler_post(runtime_scheduler(rt, 1), set_flag, &ran), EG_OK);
    while (!atomic_load(&ran))
        sched_yield();
}

Test(runtime, all_actors_are_listed_once) {
    eg_pid pids[64], mine[10];
    uint32_t cursor = 0, found = 0, n;
    for (uint32_t i = 0; i < 10; i++)
        mine[i] = spawn_on(i % 2);
    while ((n = runtime_pids(rt, &cursor, pids, 3)) > 0)
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t j = 0; j < 10; j++)
                found += eg_pid_equal(pids[i], mine[j]);
    cr_assert_eq(found, 10);
}

Test(runtime, a_full_table_refuses_the_next_actor) {
    eg_pid pid;
    eg_err err = EG_OK;
    int spawned = 0;
    struct spawn_opts opts = {.ops = &counter_ops};
    while ((err = actor_spawn(rt, NULL, &opts, &pid, NULL)) == EG_OK)
        spawned++;
    cr_assert_eq(err, EG_BUSY);
    cr_assert_eq(spawned, 999); /* and one foreign */
}

Test(runtime_oom, open_fails_cleanly_at_every_allocation) {
    eg_err err;
    int succeed = 0;
    do {
        struct fail_alloc a = fail_alloc_after(succeed);
        struct runtime *r = NULL;
        err = runtime_open(&r, &(struct runtime_opts){.alloc = &a.base,
                                                      .env = env_uv(),
                                                      .driver = loop_uv_driver(),
                                                      .schedulers = 2});
        if (err == EG_OK)
            runtime_close(r);
        else
            cr_assert_null(r);
        cr_assert_eq(a.live, 0, "leak when allocation %d fails", succeed + 1);
    } while (err != EG_OK && ++succeed < 100);
    cr_assert_eq(succeed, 18 + RESERVE_BLOCKS);
}
