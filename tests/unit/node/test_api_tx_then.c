/* Transactions of actors, on two nodes: of records that each has, and that only one has. */
#include <engram.h>
#include <engram/actor.h>

#include "tests/support/pause.h"
#include "tests/support/text_span.h"
#include "tests/support/two_nodes.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { WAIT_MS = 60000, ACCOUNTS = 8, EACH = 100, ROUNDS = 25, MOVERS = 3 };

static eg_node *node[2];
static eg_table *far[2], *near[2]; /* a record on one of them; on both */

static eg_err put(eg_tx *tx, eg_table *table, int key, int64_t n) {
    uint8_t room[32];
    eg_writer w = eg_writer_init(room, sizeof room);

    eg_put_array(&w, 2);
    eg_put_int(&w, key);
    eg_put_int(&w, n);
    return eg_tx_write(tx, table, eg_written(&w));
}

static eg_err get(eg_tx *tx, eg_table *table, int key, int64_t *n) {
    uint8_t at = (uint8_t) key; /* to 127 it is its own encoding */
    eg_span record, field;
    eg_err err = eg_tx_get(tx, table, (eg_span){&at, 1}, &record);

    if (err == EG_OK)
        cr_assert(eg_element(record, 1, &field) && eg_as_int(field, n));
    return err;
}

/* The view may be another one meanwhile, once all copies are full: the same again does better. */
static bool passes(eg_err err) {
    return err == EG_BUSY || err == EG_NO_REPLICA || err == EG_IN_DOUBT;
}

/* By this thread. */
static void must_make(eg_err (*fn)(eg_tx *tx, void *arg), int side, void *arg) {
    eg_note note = {""};
    eg_err err;

    for (int ms = 0;; ms += 2) {
        err = eg_transaction(node[side], fn, arg, &(eg_tx_options){.note = &note});
        if (!passes(err) || ms >= WAIT_MS)
            break;
        pause_ms(2);
    }
    cr_assert_eq(err, EG_OK, "%s", note.text);
}

static eg_err fill(eg_tx *tx, void *arg) {
    eg_err err = EG_OK;

    (void) arg;
    for (int i = 0; i < ACCOUNTS && err == EG_OK; i++)
        err = put(tx, far[0], i, EACH);
    for (int i = 0; i < ACCOUNTS && err == EG_OK; i++)
        err = put(tx, near[0], i, EACH);
    return err;
}

static void setup(void) {
    two_nodes_open(node, 1);
    two_nodes_create_table(
        node, "far", "{'copies': 1, 'shards': 8, 'attributes': ['k', 'n'], 'index': ['n']}", far);
    two_nodes_create_table(node, "near", "{'shards': 8, 'attributes': ['k', 'n'], 'index': ['n']}",
                           near);
    must_make(fill, 0, NULL);
}

static void teardown(void) {
    two_nodes_close_table(far);
    two_nodes_close_table(near);
    two_nodes_close(node);
}

TestSuite(api_tx_then, .init = setup, .fini = teardown, .timeout = 240);

struct sums {
    int64_t far, near;
};

static eg_err add_up(eg_tx *tx, void *arg) {
    struct sums *sum = arg;
    eg_err err = EG_OK;
    int64_t n = 0;

    *sum = (struct sums){0};
    for (int i = 0; i < ACCOUNTS && err == EG_OK; i++) {
        err = get(tx, far[1], i, &n);
        sum->far += n;
        if (err == EG_OK)
            err = get(tx, near[1], i, &n);
        sum->near += n;
    }
    return err;
}

static void check_sums(void) {
    struct sums sum;

    must_make(add_up, 1, &sum);
    cr_expect_eq(sum.far, ACCOUNTS * EACH);
    cr_expect_eq(sum.near, ACCOUNTS * EACH);
}

/* ---- an actor that makes one transaction when it is called ---------------------------------- */

struct job {
    int side;
    eg_err (*fn)(eg_tx *tx, void *arg);
    void *arg;
    eg_tx_options options;
};

struct worker {
    eg_from waiting;
    bool in_call;
};

struct answer {
    eg_err outcome;
    char why[200];
};

static void on_done(eg_actor *self, void *state, void *context, eg_err outcome, const void *data,
                    size_t size_bytes) {
    struct worker *w = state;
    struct answer a = {.outcome = outcome};

    cr_expect_eq(context, &node);
    cr_expect_not(w->in_call, "done is called inside the call");
    snprintf(a.why, sizeof a.why, "%.*s", (int) size_bytes,
             data == NULL ? "" : (const char *) data);
    eg_reply(self, w->waiting, EG_OK, &a, sizeof a);
}

static void on_call(eg_actor *self, void *state, eg_from from, const eg_message *m) {
    struct worker *w = state;
    struct job job;

    memcpy(&job, m->data, sizeof job);
    w->waiting = from;
    w->in_call = true;
    cr_expect_eq(
        eg_transaction_then(self, node[job.side], job.fn, job.arg, &job.options, on_done, &node),
        EG_OK);
    w->in_call = false;
}

static struct answer run_once(struct job job) {
    static const eg_server_ops ops = {
        .name = "worker", .state_bytes = sizeof(struct worker), .call = on_call};
    struct answer a = {.outcome = EG_INTERNAL};
    eg_pid pid;

    cr_assert_eq(eg_spawn_server(node[job.side], NULL, &(eg_spawn){.server = &ops}, &pid), EG_OK);
    cr_assert_eq(
        eg_call_wait(node[job.side], pid, 0, &job, sizeof job, WAIT_MS, &a, sizeof a, NULL), EG_OK);
    eg_exit_send(node[job.side], NULL, pid, EG_EXIT_SHUTDOWN);
    return a;
}

static struct answer run(struct job job, eg_err expected) {
    struct answer a = run_once(job);

    for (int ms = 0; a.outcome != expected && passes(a.outcome) && ms < WAIT_MS; ms += 2) {
        pause_ms(2);
        a = run_once(job);
    }
    cr_expect_eq(a.outcome, expected, "%d: %s", a.outcome, a.why);
    return a;
}

static eg_err read_and_write(eg_tx *tx, void *arg) {
    int *times = arg;
    int64_t n = 0, own = 0;
    eg_err err = EG_OK;

    ++*times;
    for (int i = 0; i < ACCOUNTS && err == EG_OK; i++) {
        err = get(tx, far[1], i, &n);
        if (err == EG_OK)
            err = put(tx, far[1], i, n + 1);
        if (err == EG_OK)
            err = get(tx, far[1], i, &own);
        if (err == EG_OK)
            cr_expect_eq(own, EACH + 1, "%d", (int) own);
        if (err == EG_OK)
            err = put(tx, far[1], i, n);
    }
    return err;
}

/* What was wanted before something was asked is not wanted twice. */
Test(api_tx_then, what_lies_elsewhere_is_asked_for_between_turns) {
    int times = 0;

    run((struct job){.side = 1, .fn = read_and_write, .arg = &times}, EG_OK);
    cr_expect_gt(times, 1);
    check_sums();
}

static eg_err give_up(eg_tx *tx, void *arg) {
    eg_err err = put(tx, near[0], 0, 0);

    (void) arg;
    return err != EG_OK ? err : eg_tx_abort(tx, "too little");
}

static eg_err write_nothing_good(eg_tx *tx, void *arg) {
    return eg_tx_write(tx, near[0], text_span(arg, "[1]"));
}

Test(api_tx_then, done_hears_why_nothing_was_made) {
    uint8_t room[256];
    struct answer a = run((struct job){.fn = give_up}, EG_ABORTED);

    cr_expect_str_eq(a.why, "too little");
    run((struct job){.fn = write_nothing_good, .arg = room}, EG_BAD_RECORD);
    check_sums();
}

static eg_err inner(eg_tx *tx, void *arg) {
    eg_err err = put(tx, near[1], 0, 0);

    (void) arg;
    return err != EG_OK ? err : eg_tx_abort(tx, "not this");
}

static eg_err outer(eg_tx *tx, void *arg) {
    int64_t n = 0;
    eg_err err;

    cr_expect_eq(eg_transaction(node[1], inner, arg, NULL), EG_ABORTED);
    cr_expect_eq(eg_tx_nested(tx, inner, arg), EG_ABORTED);
    err = get(tx, near[1], 0, &n);
    if (err == EG_OK)
        cr_expect_eq(n, EACH);
    return err == EG_OK ? put(tx, near[1], 0, n) : err;
}

Test(api_tx_then, one_inside_the_other_is_a_part_of_it) {
    run((struct job){.side = 1, .fn = outer}, EG_OK);
    check_sums();
}

static eg_err ask_index(eg_tx *tx, void *arg) {
    uint8_t room[256];
    eg_result found;
    eg_err err = eg_tx_index_read(tx, *(eg_table **) arg, "n", text_span(room, "100"), &found);

    if (err != EG_OK)
        return err;
    cr_expect_eq(eg_count(found.value), ACCOUNTS);
    eg_result_free(&found);
    return EG_OK;
}

static eg_err lock_one(eg_tx *tx, void *arg) {
    eg_span key = {"\x01", 1};

    (void) arg;
    return eg_tx_lock(tx, near[1], &key, true);
}

Test(api_tx_then, what_cannot_be_begun_anew_is_busy) {
    run((struct job){.side = 1, .fn = ask_index, .arg = &near[1]}, EG_OK);
    run((struct job){.side = 1, .fn = ask_index, .arg = &far[1]}, EG_BUSY);
    run((struct job){.side = 1, .fn = lock_one}, EG_BUSY);
    check_sums();
}

static void on_refused(eg_actor *self, void *state, eg_from from, const eg_message *m) {
    static const eg_tx_options dirty = {.context = EG_SYNC_DIRTY};
    eg_err told[5] = {
        eg_transaction_then(self, NULL, give_up, NULL, NULL, on_done, NULL),
        eg_transaction_then(self, node[0], NULL, NULL, NULL, on_done, NULL),
        eg_transaction_then(self, node[0], give_up, NULL, NULL, NULL, NULL),
        eg_transaction_then(self, node[0], give_up, NULL, &dirty, on_done, NULL),
        eg_transaction_then(self, node[1], give_up, NULL, NULL, on_done, NULL), /* not its node */
    };

    (void) state;
    (void) m;
    eg_reply(self, from, EG_OK, told, sizeof told);
}

Test(api_tx_then, what_makes_no_sense_is_refused) {
    static const eg_server_ops ops = {.name = "refused", .call = on_refused};
    eg_err told[5];
    eg_pid pid;

    cr_assert_eq(eg_spawn_server(node[0], NULL, &(eg_spawn){.server = &ops}, &pid), EG_OK);
    cr_assert_eq(eg_call_wait(node[0], pid, 0, NULL, 0, WAIT_MS, told, sizeof told, NULL), EG_OK);
    for (int i = 0; i < 5; i++)
        cr_expect_eq(told[i], EG_BAD_REQUEST, "%d", i);
}

/* ---- many at once ---------------------------------------------------------------------------- */

struct mover {
    int side, rounds;
    uint64_t random;
    eg_from waiting;
    struct answer answer;
};

static eg_err move_one(eg_tx *tx, eg_table *table, uint64_t random) {
    int from = (int) (random >> 33) % ACCOUNTS;
    int to = (from + 1 + (int) (random >> 50) % (ACCOUNTS - 1)) % ACCOUNTS;
    int64_t a = 0, b = 0;
    eg_err err = get(tx, table, from, &a);

    if (err == EG_OK)
        err = get(tx, table, to, &b);
    if (err == EG_OK)
        err = put(tx, table, from, a - 1);
    return err == EG_OK ? put(tx, table, to, b + 1) : err;
}

static eg_err move_both(eg_tx *tx, void *arg) {
    struct mover *m = arg;
    eg_err err = move_one(tx, far[m->side], m->random);

    return err == EG_OK ? move_one(tx, near[m->side], m->random * 31) : err;
}

static void move_next(eg_actor *self, struct mover *m);

static void on_moved(eg_actor *self, void *state, void *context, eg_err outcome, const void *data,
                     size_t size_bytes) {
    struct mover *m = state;

    (void) context;
    m->answer.outcome = outcome;
    snprintf(m->answer.why, sizeof m->answer.why, "%.*s", (int) size_bytes,
             data == NULL ? "" : (const char *) data);
    m->rounds -= outcome == EG_OK;
    if (passes(outcome) || (outcome == EG_OK && m->rounds > 0))
        move_next(self, m);
    else
        eg_reply(self, m->waiting, EG_OK, &m->answer, sizeof m->answer);
}

static void move_next(eg_actor *self, struct mover *m) {
    m->random = m->random * 6364136223846793005u + 1442695040888963407u;
    cr_assert_eq(eg_transaction_then(self, node[m->side], move_both, m, NULL, on_moved, NULL),
                 EG_OK);
}

static void on_begin(eg_actor *self, void *state, eg_from from, const eg_message *m) {
    struct mover *mover = state;

    memcpy(mover, m->data, sizeof *mover);
    mover->waiting = from;
    move_next(self, mover);
}

static const eg_server_ops mover = {
    .name = "mover", .state_bytes = sizeof(struct mover), .call = on_begin};

/* Calls all movers, and is answered by the last of them. */
struct leader {
    eg_from waiting;
    int left;
    struct answer answer;
};

static void on_led(eg_actor *self, void *state, void *context, eg_err outcome, const void *data,
                   size_t size_bytes) {
    struct leader *l = state;

    (void) context;
    cr_expect_eq(outcome, EG_OK);
    if (outcome == EG_OK && size_bytes == sizeof l->answer && l->answer.outcome == EG_OK)
        memcpy(&l->answer, data, sizeof l->answer);
    if (--l->left == 0)
        eg_reply(self, l->waiting, EG_OK, &l->answer, sizeof l->answer);
}

static void on_lead(eg_actor *self, void *state, eg_from from, const eg_message *m) {
    struct leader *l = state;
    eg_pid pid[MOVERS];

    memcpy(pid, m->data, sizeof pid);
    l->waiting = from;
    l->left = MOVERS;
    for (int i = 0; i < MOVERS; i++) {
        struct mover one = {.side = (int) m->tag, .rounds = ROUNDS, .random = m->tag * 100 + i};
        cr_assert_eq(eg_call(self, pid[i], 0, &one, sizeof one, WAIT_MS, on_led, NULL), EG_OK);
    }
}

struct led {
    eg_pid leader, mover[MOVERS];
};

static struct led spawn_all(int side) {
    static const eg_server_ops leader = {
        .name = "leader", .state_bytes = sizeof(struct leader), .call = on_lead};
    struct led all;

    cr_assert_eq(eg_spawn_server(node[side], NULL, &(eg_spawn){.server = &leader}, &all.leader),
                 EG_OK);
    for (int i = 0; i < MOVERS; i++)
        cr_assert_eq(
            eg_spawn_server(node[side], NULL, &(eg_spawn){.server = &mover}, &all.mover[i]), EG_OK);
    return all;
}

static void *lead(void *arg) {
    const int *side = arg;
    struct led all = spawn_all(*side);
    struct answer a = {.outcome = EG_INTERNAL};
    eg_err err = eg_call_wait(node[*side], all.leader, (uint32_t) *side, all.mover,
                              sizeof all.mover, WAIT_MS, &a, sizeof a, NULL);

    cr_expect_eq(err, EG_OK);
    cr_expect_eq(a.outcome, EG_OK, "%s", a.why);
    return NULL;
}

/* They lose to each other again and again, and lock first. */
Test(api_tx_then, money_that_many_move_is_neither_made_nor_lost) {
    int side[2] = {0, 1};
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, lead, &side[0]), 0);
    lead(&side[1]);
    pthread_join(thread, NULL);
    check_sums();
}

/* Whatever it was at, nothing is held up by it. */
Test(api_tx_then, an_actor_that_ends_leaves_nothing) {
    for (int i = 0; i < ROUNDS; i++) {
        struct mover m = {.side = 1, .rounds = 1000000, .random = (uint64_t) i};
        struct led all = spawn_all(1);

        for (int k = 0; k < MOVERS; k++) {
            eg_err err = eg_call_wait(node[1], all.mover[k], 0, &m, sizeof m, 1, NULL, 0, NULL);
            cr_expect(err == EG_TIMEOUT, "%d", err);
        }
        for (int k = 0; k < MOVERS; k++)
            eg_exit_send(node[1], NULL, all.mover[k], EG_EXIT_KILL);
        eg_exit_send(node[1], NULL, all.leader, EG_EXIT_KILL);
    }
    check_sums();
}

/* ---- what is asked for often ------------------------------------------------------------------
 */

enum { MANY = 200, BEFORE_IT = 1000 }; /* records behind the accounts; more than one by one */

static eg_err fill_many(eg_tx *tx, void *arg) {
    eg_err err = EG_OK;

    (void) arg;
    for (int i = 0; i < MANY && err == EG_OK; i++)
        err = put(tx, far[0], ACCOUNTS + i, BEFORE_IT);
    return err;
}

static eg_err get_wide(eg_tx *tx, eg_table *table, int key, int64_t *n) {
    uint8_t room[8];
    eg_writer w = eg_writer_init(room, sizeof room);
    eg_span record, field;
    eg_err err;

    eg_put_int(&w, key);
    err = eg_tx_get(tx, table, eg_written(&w), &record);
    if (err == EG_OK)
        cr_assert(eg_element(record, 1, &field) && eg_as_int(field, n));
    return err;
}

static eg_err read_many(eg_tx *tx, void *arg) {
    int64_t *sum = arg, n = 0;
    eg_err err = EG_OK;

    *sum = 0;
    for (int i = 0; i < MANY && err == EG_OK; i++) {
        err = get_wide(tx, far[1], ACCOUNTS + i, &n);
        *sum += n;
    }
    return err;
}

Test(api_tx_then, as_many_records_as_it_likes_may_lie_elsewhere) {
    int64_t sum = 0;

    must_make(fill_many, 0, NULL);
    run((struct job){.side = 1, .fn = read_many, .arg = &sum}, EG_OK);
    cr_expect_eq(sum, MANY * BEFORE_IT);
}

/* A transaction on node 1 that loses to another until it locks first, and then asks what cannot be
 * asked for. */
struct loser {
    int key; /* of a record that only node 0 has; -1: not looked for yet */
    uint32_t losses;
    _Atomic uint32_t read, changed; /* so often */
    _Atomic bool over;
};

static eg_err find_elsewhere(eg_tx *tx, struct loser *l) {
    int64_t n = 0;
    int key = 0;

    while (get(tx, far[1], key, &n) == EG_OK)
        cr_assert_lt(++key, ACCOUNTS);
    l->key = key; /* it has been asked for */
    return EG_BUSY;
}

enum { LOCKS_AFTER = 3, MOMENT_MS = 500 };

static eg_err lose_then_ask(eg_tx *tx, void *arg) {
    struct loser *l = arg;
    uint32_t turn;
    int64_t n = 0;
    eg_err err;

    if (l->key < 0)
        return find_elsewhere(tx, l);
    err = get(tx, far[1], l->key, &n);
    if (err == EG_OK)
        err = put(tx, far[1], l->key, n);
    if (err != EG_OK)
        return err;
    if (l->losses == LOCKS_AFTER)
        return ask_index(tx, &far[1]);
    l->losses++;
    turn = atomic_fetch_add(&l->read, 1) + 1;
    for (int ms = 0; atomic_load(&l->changed) < turn && ms < MOMENT_MS; ms += 2)
        pause_ms(2); /* in vain: it does not lose, and all is tried once more */
    return EG_OK;
}

static eg_err touch(eg_tx *tx, void *arg) {
    const struct loser *l = arg;
    int64_t n = 0;
    eg_err err = get(tx, far[0], l->key, &n);

    return err == EG_OK ? put(tx, far[0], l->key, n) : err;
}

static void *touch_what_is_read(void *arg) {
    struct loser *l = arg;

    while (!atomic_load(&l->over)) {
        uint32_t turn = atomic_load(&l->read);

        if (turn != atomic_load(&l->changed) && eg_transaction(node[0], touch, l, NULL) == EG_OK)
            atomic_store(&l->changed, turn);
        pause_ms(2);
    }
    return NULL;
}

/* The locks of one beginning are given back before the next one, which else waits for them. */
Test(api_tx_then, what_begins_anew_leaves_no_lock) {
    struct loser l = {.key = -1};
    struct answer a = {.outcome = EG_OK};
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, touch_what_is_read, &l), 0);
    for (int i = 0; i < EACH && (a.outcome == EG_OK || passes(a.outcome)) && l.losses < LOCKS_AFTER;
         i++) {
        l.losses = 0;
        a = run_once((struct job){.side = 1, .fn = lose_then_ask, .arg = &l});
    }
    atomic_store(&l.over, true);
    pthread_join(thread, NULL);
    cr_expect(passes(a.outcome), "%d: %s", a.outcome, a.why);
    cr_expect_eq(l.losses, LOCKS_AFTER);
    must_make(touch, 0, &l);
}

/* ---- the node closes ---------------------------------------------------------------------------
 */

static eg_err lose_always(eg_tx *tx, void *arg) {
    (void) tx;
    (void) arg;
    return EG_CONFLICT;
}

static void never_done(eg_actor *self, void *state, void *context, eg_err outcome, const void *data,
                       size_t size_bytes) {
    (void) self;
    (void) state;
    (void) context;
    (void) data;
    (void) size_bytes;
    cr_expect_fail("%d", outcome);
}

static void on_begin_some(eg_actor *self, void *state, eg_from from, const eg_message *m) {
    eg_node *alone;

    (void) state;
    memcpy(&alone, m->data, sizeof alone);
    for (int i = 0; i < MOVERS; i++)
        cr_expect_eq(eg_transaction_then(self, alone, lose_always, NULL, NULL, never_done, NULL),
                     EG_OK);
    eg_reply(self, from, EG_OK, NULL, 0);
}

Test(api_tx_then, a_node_closes_while_some_are_tried) {
    static const eg_server_ops ops = {.name = "loser", .call = on_begin_some};

    for (int i = 0; i < ROUNDS; i++) {
        eg_node *alone;
        eg_pid pid;

        cr_assert_eq(eg_open(&(eg_options){.name = "alone", .schedulers = 2}, &alone, NULL), EG_OK);
        for (int k = 0; k < MOVERS; k++) {
            cr_assert_eq(eg_spawn_server(alone, NULL, &(eg_spawn){.server = &ops}, &pid), EG_OK);
            cr_assert_eq(eg_call_wait(alone, pid, 0, &alone, sizeof alone, WAIT_MS, NULL, 0, NULL),
                         EG_OK);
        }
        eg_close(alone);
    }
}
