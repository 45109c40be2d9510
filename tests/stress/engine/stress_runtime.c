/* stress_runtime.c -- real schedulers and foreign threads at once, for TSan.
 *
 * Four claims, each a test in TAP: per-sender order holds into one actor from many
 * threads, wherever it lives; a lendable actor's state has one user at a time and
 * loses no increment, whether it is claimed or sent to; spawns, links, monitors and
 * kills in a race end with exactly one DOWN for each monitor and nobody left; a
 * sleeping scheduler misses no message. */
#include "engine/foreign.h"
#include "engine/loop_uv.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/rng.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SCHEDULERS = 3,
    THREADS = 3,
    WAIT_MS = 60000,         /* for what comes at once, unless the machine is very busy */
    PLANTED_WAIT_MS = 10000, /* the planted defect loses an answer: it is to be found soon */
};

static struct fail_alloc memory;
static struct runtime *rt;
static int failures;

static void tap(int number, bool ok, const char *claim) {
    printf("%sok %d - %s\n", ok ? "" : "not ", number, claim);
    failures += !ok;
}

static void open_runtime(void) {
    memory = fail_alloc_after(INT_MAX);
    EG_ASSERT(runtime_open(&rt, &(struct runtime_opts){.alloc = &memory.base,
                                                       .env = env_uv(),
                                                       .driver = loop_uv_driver(),
                                                       .schedulers = SCHEDULERS,
                                                       .actors_max = 10000}) == EG_OK);
    EG_ASSERT(runtime_start(rt) == EG_OK);
}

static bool close_runtime(void) {
    runtime_stop(rt);
    runtime_close(rt);
    return memory.live == 0;
}

static void run_threads(void (*body)(void *), void *arg) {
    uv_thread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        EG_ASSERT(uv_thread_create(&threads[i], body, arg) == 0);
    for (int i = 0; i < THREADS; i++)
        uv_thread_join(&threads[i]);
}

/* ---- order ------------------------------------------------------------------------ */

enum { ORDER_MSGS = 5000, SENDERS_MAX = 64 };

struct order {
    eg_pid sender[SENDERS_MAX];
    uint32_t next[SENDERS_MAX];
    uint32_t broken;
    uint32_t total;
};

static void order_receive(struct actor *self, void *state, struct message *m) {
    struct order *o = state;
    uint32_t at = 0;
    if (m->kind == MESSAGE_CALL) {
        uint32_t answer[2] = {o->broken, o->total};
        actor_reply_bytes(self, m->from, m->ref, EG_OK, answer, sizeof answer);
        return;
    }
    while (o->sender[at].generation != 0 && !eg_pid_equal(o->sender[at], m->from))
        at++;
    EG_ASSERT(at < SENDERS_MAX);
    o->sender[at] = m->from;
    o->broken += m->tag != o->next[at];
    o->next[at] = m->tag + 1;
    o->total++;
}

static const struct actor_ops order_ops = {
    .name = "order", .state_bytes = sizeof(struct order), .receive = order_receive};

/* An actor that sends ORDER_MSGS, a few at a time, when it is told to. */
struct sender {
    eg_pid to;
    uint32_t sent;
};

static eg_err sender_init(struct actor *self, void *state, const void *arg) {
    struct sender *s = state;
    s->to = *(const eg_pid *) arg;
    return actor_send(self, actor_pid(self), message_new(actor_runtime(self), MESSAGE_REPLY, 0));
}

static void sender_receive(struct actor *self, void *state, struct message *m) {
    struct sender *s = state;
    for (int i = 0; i < 100 && s->sent < ORDER_MSGS; i++) {
        struct message *out = message_new(actor_runtime(self), MESSAGE_REPLY, 0);
        out->tag = s->sent++;
        EG_ASSERT(actor_send(self, s->to, out) == EG_OK);
    }
    if (s->sent < ORDER_MSGS) {
        actor_keep(self, m);
        EG_ASSERT(actor_send(self, actor_pid(self), m) == EG_OK);
    }
}

static const struct actor_ops sender_ops = {.name = "sender",
                                            .state_bytes = sizeof(struct sender),
                                            .init = sender_init,
                                            .receive = sender_receive};

static void send_in_order(void *arg) {
    struct foreign *me;
    EG_ASSERT(foreign_open(&me, rt) == EG_OK);
    for (uint32_t i = 0; i < ORDER_MSGS; i++) {
        struct message *m = message_new(rt, MESSAGE_REPLY, 0);
        m->tag = i;
        EG_ASSERT(foreign_send(me, *(eg_pid *) arg, m) == EG_OK);
    }
    foreign_close(me);
}

static bool check_order(bool lendable) {
    const uint32_t expected = (THREADS + 2 * SCHEDULERS) * ORDER_MSGS;
    uint32_t answer[2] = {0, 0};
    struct foreign *me;
    eg_pid to, sender;

    open_runtime();
    EG_ASSERT(actor_spawn(rt, NULL, &(struct spawn_opts){.ops = &order_ops, .lendable = lendable},
                          &to, NULL) == EG_OK);
    for (int i = 0; i < 2 * SCHEDULERS; i++)
        EG_ASSERT(actor_spawn(
                      rt, NULL,
                      &(struct spawn_opts){.ops = &sender_ops, .arg = &to, .arg_bytes = sizeof to},
                      &sender, NULL) == EG_OK);
    run_threads(send_in_order, &to);
    EG_ASSERT(foreign_open(&me, rt) == EG_OK);
    while (answer[1] < expected) {
        struct message *reply;
        eg_err err = foreign_call(me, to, message_new(rt, MESSAGE_CALL, 0), WAIT_MS, &reply);
        if (err == EG_BUSY)
            continue;
        EG_ASSERT(err == EG_OK);
        memcpy(answer, reply->payload, sizeof answer);
        message_free(rt, reply);
    }
    foreign_close(me);
    return close_runtime() && answer[0] == 0 && answer[1] == expected;
}

/* ---- lending ------------------------------------------------------------------------ */

enum { LEND_ROUNDS = 10000 };

struct lent {
    uint64_t count;  /* plain on purpose: TSan sees a second user */
    eg_pid observer; /* hears the count after every change        */
};

/* The send between reading and writing gives a second user time to be noticed. */
static void lent_change(struct actor *self, struct lent *l) {
    struct message *m = message_new(actor_runtime(self), MESSAGE_INFO, 0);
    uint64_t count = l->count;
    m->tag = (uint32_t) count;
    EG_ASSERT(actor_send(self, l->observer, m) == EG_OK);
    l->count = count + 1;
}

static eg_err lent_init(struct actor *self, void *state, const void *arg) {
    (void) self;
    ((struct lent *) state)->observer = *(const eg_pid *) arg;
    return EG_OK;
}

static void lent_receive(struct actor *self, void *state, struct message *m) {
    struct lent *l = state;
    lent_change(self, l);
    if (m->kind == MESSAGE_CALL)
        actor_reply_bytes(self, m->from, m->ref, EG_OK, &l->count, sizeof l->count);
}

static const struct actor_ops lent_ops = {
    .name = "lent", .state_bytes = sizeof(struct lent), .init = lent_init, .receive = lent_receive};

static _Atomic uint32_t claimed_count;
static _Atomic uint32_t borrowers; /* that have changes left, or are inside the last one */
static uint32_t lent_wait_ms = WAIT_MS;

static void change_in_place_or_by_call(void *arg) {
    eg_pid pid = *(eg_pid *) arg;
    struct foreign *me;
    EG_ASSERT(foreign_open(&me, rt) == EG_OK);
    for (int i = 0; i < LEND_ROUNDS; i++) {
        struct actor *a = actor_claim(rt, pid);
        struct message *reply;
        if (a != NULL) {
            lent_change(a, actor_state(a));
            actor_release(a);
            atomic_fetch_add(&claimed_count, 1);
        } else {
            EG_ASSERT(foreign_call(me, pid, message_new(rt, MESSAGE_CALL, 0), lent_wait_ms,
                                   &reply) == EG_OK);
            message_free(rt, reply);
        }
    }
    foreign_close(me);
}

/* Claims from a scheduler: what a server does with a shard of another one. */
struct borrower {
    eg_pid pid;
    uint32_t left;
};

static eg_err borrower_init(struct actor *self, void *state, const void *arg) {
    *(struct borrower *) state = (struct borrower){*(const eg_pid *) arg, LEND_ROUNDS};
    return actor_send(self, actor_pid(self), message_new(actor_runtime(self), MESSAGE_REPLY, 0));
}

static void borrower_receive(struct actor *self, void *state, struct message *m) {
    struct borrower *b = state;
    struct actor *a = actor_claim(actor_runtime(self), b->pid);
    if (a != NULL) {
        lent_change(a, actor_state(a));
        actor_release(a);
        b->left--;
        atomic_fetch_add(&claimed_count, 1);
        if (b->left == 0)
            atomic_fetch_sub(&borrowers, 1);
    }
    if (b->left > 0) {
        actor_keep(self, m);
        EG_ASSERT(actor_send(self, actor_pid(self), m) == EG_OK);
    }
}

static const struct actor_ops borrower_ops = {.name = "borrower",
                                              .state_bytes = sizeof(struct borrower),
                                              .init = borrower_init,
                                              .receive = borrower_receive};

static bool check_lending(void) {
    const uint32_t expected = (THREADS + SCHEDULERS) * LEND_ROUNDS;
    struct foreign *observer;
    eg_pid pid, borrower, to;
    bool ok = true;

    open_runtime();
    atomic_store(&borrowers, SCHEDULERS);
    EG_ASSERT(foreign_open(&observer, rt) == EG_OK);
    to = foreign_pid(observer);
    EG_ASSERT(
        actor_spawn(rt, NULL,
                    &(struct spawn_opts){
                        .ops = &lent_ops, .arg = &to, .arg_bytes = sizeof to, .lendable = true},
                    &pid, NULL) == EG_OK);
    for (uint32_t i = 0; i < SCHEDULERS; i++)
        EG_ASSERT(actor_spawn(rt, NULL,
                              &(struct spawn_opts){.ops = &borrower_ops,
                                                   .arg = &pid,
                                                   .arg_bytes = sizeof pid,
                                                   .scheduler = SPAWN_ON(i)},
                              &borrower, NULL) == EG_OK);
    run_threads(change_in_place_or_by_call, &pid);
    for (uint32_t i = 0; i < expected && ok; i++) {
        struct message *m = foreign_receive(observer, lent_wait_ms);
        ok = m != NULL && m->tag == i; /* in order, whoever ran it */
        if (m != NULL)
            message_free(rt, m);
    }
    ok = ok && foreign_receive(observer, 0) == NULL;
    while (ok && atomic_load(&borrowers) > 0)
        uv_sleep(1); /* a change is told of before it is made: no runtime ends meanwhile */
    foreign_close(observer);
    printf("# %u of %u in place\n", atomic_load(&claimed_count), expected);
    return close_runtime() && ok;
}

/* ---- births and deaths ------------------------------------------------------------------ */

enum { RACE_ROUNDS = 1500 };

static void idle_receive(struct actor *self, void *state, struct message *m) {
    eg_pid other;
    (void) state;
    if (m->kind != MESSAGE_CAST)
        return;
    memcpy(&other, m->payload, sizeof other);
    EG_ASSERT(actor_link(self, other) == EG_OK);
}

static const struct actor_ops idle_ops = {.name = "idle", .receive = idle_receive};

static _Atomic uint64_t next_seed;
static _Atomic uint32_t wrong_downs;

static bool race_round(struct foreign *me, struct rng *rng) {
    eg_pid a, b;
    eg_ref refs[2];
    uint32_t downs = 0;
    struct spawn_opts opts = {.ops = &idle_ops, .lendable = rng_one_in(rng, 2)};
    eg_exit reason = exit_reason(rng_one_in(rng, 2) ? EG_EXIT_KILL : EG_EXIT_SHUTDOWN);

    EG_ASSERT(actor_spawn(rt, NULL, &opts, &a, NULL) == EG_OK);
    EG_ASSERT(actor_spawn(rt, NULL, &opts, &b, NULL) == EG_OK);
    EG_ASSERT(foreign_send(me, a, message_copy(rt, MESSAGE_CAST, &b, sizeof b)) == EG_OK);
    if (rng_one_in(rng, 2)) /* both ends at once */
        EG_ASSERT(foreign_send(me, b, message_copy(rt, MESSAGE_CAST, &a, sizeof a)) == EG_OK);
    EG_ASSERT(foreign_monitor(me, a, &refs[0]) == EG_OK);
    EG_ASSERT(foreign_monitor(me, b, &refs[1]) == EG_OK);
    /* A kill may come before the link was made; otherwise one takes the other along. */
    if (reason.kind == EG_EXIT_KILL || rng_one_in(rng, 2))
        actor_exit_send(rt, foreign_pid(me), a, &reason);
    if (reason.kind == EG_EXIT_KILL || runtime_is_alive(rt, a))
        actor_exit_send(rt, foreign_pid(me), b, &reason);
    while (downs < 2) {
        struct message *m = foreign_receive(me, WAIT_MS);
        if (m == NULL || m->kind != MESSAGE_DOWN || (m->ref != refs[0] && m->ref != refs[1])) {
            atomic_fetch_add(&wrong_downs, 1);
            return false;
        }
        message_free(rt, m);
        downs++;
    }
    return true;
}

static void race(void *arg) {
    struct rng rng = rng_of(atomic_fetch_add(&next_seed, 1));
    struct foreign *me;
    (void) arg;
    EG_ASSERT(foreign_open(&me, rt) == EG_OK);
    for (int i = 0; i < RACE_ROUNDS && race_round(me, &rng); i++)
        ;
    if (foreign_receive(me, 0) != NULL)
        atomic_fetch_add(&wrong_downs, 1);
    foreign_close(me);
}

static bool check_race(void) {
    uint32_t left;
    open_runtime();
    run_threads(race, NULL);
    left = runtime_actors(rt);
    return close_runtime() && atomic_load(&wrong_downs) == 0 && left == 0;
}

/* ---- sleep ----------------------------------------------------------------------------------- */

enum { WAKE_ROUNDS = 3000 };

static void echo_receive(struct actor *self, void *state, struct message *m) {
    (void) state;
    actor_reply_bytes(self, m->from, m->ref, EG_OK, NULL, 0);
}
static const struct actor_ops echo_ops = {.name = "echo", .receive = echo_receive};

static _Atomic uint32_t lost;

static void call_one_by_one(void *arg) {
    struct foreign *me;
    EG_ASSERT(foreign_open(&me, rt) == EG_OK);
    for (int i = 0; i < WAKE_ROUNDS; i++) {
        struct message *reply;
        if (foreign_call(me, *(eg_pid *) arg, message_new(rt, MESSAGE_CALL, 0), WAIT_MS, &reply) !=
            EG_OK)
            atomic_fetch_add(&lost, 1);
        else
            message_free(rt, reply);
    }
    foreign_close(me);
}

static bool check_wakes(void) {
    eg_pid pid;
    open_runtime();
    EG_ASSERT(actor_spawn(rt, NULL, &(struct spawn_opts){.ops = &echo_ops}, &pid, NULL) == EG_OK);
    run_threads(call_one_by_one, &pid);
    return close_runtime() && atomic_load(&lost) == 0;
}

/* stress_runtime N: the lending alone, up to N times, for the planted defect. */
int main(int argc, char **argv) {
    const char *seed = getenv("EG_SEED");
    if (argc == 2) {
        lent_wait_ms = PLANTED_WAIT_MS;
        for (int left = atoi(argv[1]); left > 0; left--)
            if (!check_lending())
                return 1;
        return 0;
    }
    atomic_store(&next_seed, seed == NULL ? 1 : strtoull(seed, NULL, 10));
    printf("1..5\n");
    tap(1, check_order(false), "order of every sender into a plain actor");
    tap(2, check_order(true), "order of every sender into a lendable actor");
    tap(3, check_lending(), "a lent actor has one user at a time and loses nothing");
    tap(4, check_race(), "one DOWN for each monitor however births and deaths race");
    tap(5, check_wakes(), "no message is missed by who is falling asleep");
    return failures != 0;
}
