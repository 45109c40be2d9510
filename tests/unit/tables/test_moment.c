/* A moment is taken whatever its shards have to do, and nobody waits for it for long. */
#include "tables/moment.h"

#include "tables/catalog_private.h"
#include "tables/table_private.h"
#include "tests/support/table_world.h"

#include <criterion/criterion.h>
#include <string.h>

enum {
    TALKERS = 6,   /* a shard: more than one has a call waiting at any time */
    ROUNDS = 2000, /* of a talker; then it has lost its voice               */
};

static struct table_world w;
static struct table *t;

static void setup(void) {
    table_world_open(&w, alloc_system(), 11);
    cr_assert_eq(table_world_ask(&w, CATALOG_CREATE, "t", (struct value){0}), EG_OK);
    reader_enter(&w.reader);
    t = table_world_find(&w, "t");
    cr_assert(table_ref(t));
    reader_exit(&w.reader);
}

static void teardown(void) {
    table_unref(t);
    table_world_close(&w);
}

TestSuite(moment, .init = setup, .fini = teardown, .timeout = 240);

/* ---- actors that always have something to ask of a shard ---------------------------- */

static uint64_t rounds_left;

struct talker {
    struct shard *shard;
};

static void ask_shard(struct actor *self, struct shard *s) {
    static const uint8_t key = 1;
    struct shard_request q = {.op = SHARD_READ, .key = {&key, 1}};
    struct message *m;

    if (rounds_left == 0)
        return;
    rounds_left--;
    m = message_new(actor_runtime(self), MESSAGE_CALL, shard_request_size(&q));
    m->tag = q.op;
    shard_request_pack(&q, m->payload);
    cr_assert_eq(actor_send(self, shard_pid(s), m), EG_OK);
}

static eg_err talker_init(struct actor *self, void *state, const void *arg) {
    struct talker *me = state;

    me->shard = *(struct shard *const *) arg;
    ask_shard(self, me->shard);
    return EG_OK;
}

static void talker_receive(struct actor *self, void *state, struct message *m) {
    cr_assert_eq((eg_err) m->tag, EG_OK);
    ask_shard(self, ((struct talker *) state)->shard);
}

static void let_talk(void) {
    static const struct actor_ops ops = {.name = "talker",
                                         .state_bytes = sizeof(struct talker),
                                         .init = talker_init,
                                         .receive = talker_receive};

    for (uint32_t i = 0; i < t->shard_count * TALKERS; i++) {
        struct shard *s = &t->shard[i % t->shard_count];
        struct spawn_opts o = {
            .ops = &ops, .arg = &s, .arg_bytes = sizeof s, .scheduler = SPAWN_ANYWHERE};
        eg_pid pid;

        cr_assert_eq(actor_spawn(w.st->rt, NULL, &o, &pid, NULL), EG_OK);
    }
}

/* ---- a moment that is asked for, and not yet waited for ------------------------------ */

static uint32_t answers;
static eg_err answered;

static void asker_receive(struct actor *self, void *state, struct message *m) {
    (void) self;
    (void) state;
    answers++;
    answered = (eg_err) m->tag;
}

static struct moment *begin_moment(void) {
    static const struct actor_ops ops = {.name = "asker", .receive = asker_receive};
    struct moment *m;
    eg_pid asker;

    answers = 0;
    cr_assert_eq(actor_spawn(w.st->rt, NULL, &(struct spawn_opts){.ops = &ops}, &asker, NULL),
                 EG_OK);
    reader_enter(&w.reader);
    cr_assert_eq(moment_new(&m, w.catalog, (struct value){0}, &w.note), EG_OK);
    reader_exit(&w.reader);
    cr_assert_eq(moment_send(m, w.catalog, asker, 1), EG_OK);
    return m;
}

static eg_err end_moment(struct moment *m) {
    for (uint32_t ms = 0; answers == 0 && ms < 2 * MOMENT_PATIENCE_MS; ms++)
        stepper_run_ms(w.st, 1);
    cr_assert_eq(answers, 1);
    cr_assert_eq(moment_taken(m), answered == EG_OK);
    moment_unref(m);
    stepper_run(w.st);
    return answered;
}

/* How many of the table's shards are idle and anybody's? */
static uint32_t free_shards(void) {
    uint32_t count = 0;

    for (uint32_t i = 0; i < t->shard_count; i++) {
        struct actor *a = actor_claim(w.st->rt, shard_pid(&t->shard[i]));
        if (a == NULL)
            continue;
        actor_release(a);
        count++;
    }
    return count;
}

/* ---- claims -------------------------------------------------------------------------- */

Test(moment, is_taken_of_shards_that_are_never_idle) {
    struct moment *m;

    rounds_left = (uint64_t) ROUNDS * TALKERS;
    let_talk();
    for (uint32_t i = 0; i < 100; i++)
        cr_assert(stepper_turn(w.st));
    m = begin_moment();
    while (answers == 0)
        cr_assert(stepper_turn(w.st), "all is still");
    cr_assert_gt(rounds_left, 0, "only when nobody spoke any more");
    cr_assert_eq(end_moment(m), EG_OK);
}

/* As if the last shard had been killed between its answer and the loan. */
static struct moment *begin_in_vain(void) {
    struct moment *m = begin_moment();

    while (t->shard[0].loan.word == 0)
        cr_assert(stepper_turn(w.st));
    cr_assert_null(loan_end(&t->shard[t->shard_count - 1].loan));
    stepper_run(w.st);
    cr_assert_eq(free_shards(), 1);
    return m;
}

Test(moment, lets_the_shards_go_that_wait_for_one_in_vain_and_tries_again) {
    struct moment *m;

    stepper_run(w.st);
    cr_assert_eq(free_shards(), t->shard_count);
    m = begin_in_vain();
    stepper_run_ms(w.st, MOMENT_HOLD_MS_MIN + 2);
    cr_assert_not(moment_taken(m));
    cr_assert_eq(free_shards(), t->shard_count);
    cr_assert_eq(end_moment(m), EG_OK);
    stepper_run(w.st);
    cr_assert_eq(free_shards(), t->shard_count);
}

Test(moment, is_given_up_when_the_shards_never_meet_and_half_of_the_time_is_the_writers) {
    struct loan *last = &t->shard[t->shard_count - 1].loan;
    uint32_t held_ms = 0, longest_ms = 0, all_ms = 0, free_ms = 0;
    struct moment *m;

    stepper_run(w.st);
    m = begin_in_vain();
    for (; answers == 0; all_ms++) {
        while (stepper_turn(w.st)) {
            struct actor *given = loan_end(last);
            if (given != NULL)
                actor_release(given);
        }
        w.st->now_ns += 1000000;
        held_ms = free_shards() < t->shard_count ? held_ms + 1 : 0;
        longest_ms = EG_MAX(longest_ms, held_ms);
        free_ms += held_ms == 0;
    }
    cr_assert_eq(end_moment(m), EG_BUSY);
    cr_assert_geq(all_ms, (uint32_t) MOMENT_PATIENCE_MS);
    cr_assert_leq(all_ms, (uint32_t) MOMENT_PATIENCE_MS + 2 * MOMENT_HOLD_MS_MAX);
    cr_assert_geq(longest_ms, (uint32_t) MOMENT_HOLD_MS_MAX / 2);
    cr_assert_leq(longest_ms, (uint32_t) MOMENT_HOLD_MS_MAX + 1);
    cr_assert_geq(2 * free_ms + MOMENT_HOLD_MS_MAX, all_ms);
    cr_assert_eq(free_shards(), t->shard_count);
}

Test(moment, that_dies_with_the_catalog_holds_nothing) {
    eg_exit why = exit_reason(EG_EXIT_KILL);
    struct moment *m;

    stepper_run(w.st);
    m = begin_in_vain();
    actor_exit_send(w.st->rt, EG_PID_NONE, catalog_pid(w.catalog), &why);
    stepper_run(w.st);
    cr_assert_eq(free_shards(), t->shard_count);
    cr_assert_eq(end_moment(m), EG_TIMEOUT);
    m = begin_moment(); /* and its successor takes the next */
    cr_assert_eq(end_moment(m), EG_OK);
}

Test(moment, goes_on_when_a_shard_was_killed) {
    eg_exit why = exit_reason(EG_EXIT_KILL);
    struct moment *m;

    stepper_run(w.st);
    for (uint32_t turns = 0; turns < 40; turns++) {
        m = begin_moment();
        for (uint32_t i = 0; i < turns; i++)
            (void) stepper_turn(w.st);
        actor_exit_send(w.st->rt, EG_PID_NONE, shard_pid(&t->shard[turns % t->shard_count]), &why);
        cr_assert_eq(end_moment(m), EG_OK);
        stepper_run_ms(w.st, 10000); /* the supervisor bears only so many */
        cr_assert_eq(free_shards(), t->shard_count);
    }
}

/* ---- requests that come to nothing -------------------------------------------------------- */

static uint32_t holders(void) {
    return atomic_load(&t->refs);
}

Test(moment, whose_request_is_lost_with_the_catalogs_mailbox_holds_no_table) {
    eg_exit why = exit_reason(EG_EXIT_KILL);
    uint32_t before;

    stepper_run(w.st);
    before = holders();
    actor_exit_send(w.st->rt, EG_PID_NONE, catalog_pid(w.catalog), &why);
    cr_assert_eq(end_moment(begin_moment()), EG_NOPROC);
    cr_assert_eq(holders(), before);
    cr_assert_eq(end_moment(begin_moment()), EG_OK); /* of its successor */
    cr_assert_eq(holders(), before);
}

Test(moment, that_is_given_up_before_its_turn_holds_no_table) {
    uint32_t before;
    struct moment *m;

    stepper_run(w.st);
    before = holders();
    m = begin_moment();
    cr_assert_gt(holders(), before);
    moment_unref(m);
    cr_assert_eq(holders(), before);
    stepper_run(w.st);
    cr_assert_eq(answers, 1);
    cr_assert_eq(answered, EG_BUSY);
    cr_assert_eq(free_shards(), t->shard_count);
}
