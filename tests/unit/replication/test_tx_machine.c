/* test_tx_machine.c -- one transaction, turned by hand: whatever is lost at whichever step, all of
 * its parts are done or none is, and who asked is told nothing else. */
#include "replication/tx_machine.h"

#include <criterion/criterion.h>
#include <string.h>

enum { PARTS = 3, STEPS = 64 };

TestSuite(tx_machine, .timeout = 240);

/* What a shard knows of its part. */
enum shard_part { NOTHING, PREPARED, DONE, GIVEN_UP };

struct world {
    struct tx_machine m;
    struct tx_part part[PARTS];
    enum shard_part shard[PARTS];
    bool refuses[PARTS]; /* to prepare */
    bool reads[PARTS];   /* it changes nothing */
    bool firm;           /* all tables ask for a majority */
    eg_err look;         /* what is seen of one that changes nothing, from here */
    bool on_disc;        /* the decision */
    bool answered, alive;
    eg_err answer;
    uint32_t steps, redone;
};

static void open_world(struct world *w, bool logs) {
    *w = (struct world){.alive = true};
    tx_machine_begin(&w->m, w->part, PARTS, logs);
}

static void open_firm_world(struct world *w, bool logs) {
    *w = (struct world){.alive = true, .firm = true};
    for (uint32_t i = 0; i < PARTS; i++)
        w->part[i].firm = true;
    tx_machine_begin(&w->m, w->part, PARTS, logs);
}

/* Of a part that is not there. */
static eg_err gone(const struct world *w, uint32_t i) {
    return w->firm && w->shard[i] == GIVEN_UP ? EG_ABORTED : EG_NOT_FOUND;
}

/* What the shard does, and says. */
static eg_err shard_does(struct world *w, uint32_t i, enum tx_do what) {
    enum shard_part *s = &w->shard[i];

    switch (what) {
    case TX_DO_PREPARE:
        if (w->refuses[i])
            return EG_CONFLICT;
        *s = PREPARED;
        return EG_OK;
    case TX_DO_COMMIT:
        if (*s == PREPARED)
            *s = DONE;
        return *s == DONE ? EG_OK : gone(w, i);
    case TX_DO_LOOK:
        return *s == DONE ? EG_EXISTS : *s == PREPARED ? EG_OK : gone(w, i);
    case TX_DO_ABORT:
        cr_assert_neq(*s, DONE, "told to abort what it has committed");
        *s = GIVEN_UP;
        return EG_OK;
    default:
        cr_assert_eq(what, TX_DO_REDO);
        w->redone++;
        *s = DONE;
        return EG_OK;
    }
}

static void answer(struct world *w) {
    cr_assert_not(w->answered, "answered twice");
    w->answered = true;
    w->answer = w->m.outcome;
}

/* What goes wrong with one step. */
enum fault {
    NO_FAULT,
    LOST_BEFORE,  /* it never came there, and nobody knows */
    LOST_AFTER,   /* it was done, and nobody knows         */
    REFUSED,      /* there was no master                   */
    ACTOR_BEFORE, /* who turns the machine was replaced    */
    ACTOR_AFTER,  /* likewise, after it was done           */
    NODE_BEFORE,  /* its node went, and came again         */
    NODE_AFTER,
    ANOTHER_VIEW,
    TOO_LATE,
    CUT, /* that shard goes on in a view without us, and gives up what was prepared */
    FAULTS,
};

static void restart_node(struct world *w) {
    if (!w->answered)
        w->answer = EG_IN_DOUBT; /* says the link that broke */
    w->answered = true;
    if (w->on_disc) {
        memset(w->part, 0, sizeof w->part);
        for (uint32_t i = 0; i < PARTS; i++)
            w->part[i] = (struct tx_part){.reads = w->reads[i], .firm = w->firm};
        tx_machine_recall(&w->m, w->part, PARTS);
    } else {
        w->alive = false;
    }
}

/* All that is to be changed is held, and nothing has been asked of the part's shard. */
static void look_at(struct world *w, uint32_t part) {
    cr_assert(w->reads[part]);
    for (uint32_t i = 0; i < PARTS; i++)
        cr_assert(w->reads[i] || w->part[i].state == TX_PART_VOTED, "looked at %u before", part);
    tx_machine_heard(&w->m, part, TX_DO_CHECK, w->look);
}

/* A majority that gives up a part would know. */
static bool any_done(const struct world *w) {
    bool any = false;

    for (uint32_t i = 0; i < PARTS; i++)
        any |= w->shard[i] == DONE;
    return any;
}

static void do_step(struct world *w, struct tx_step step, enum fault f) {
    eg_err err;

    if (step.what == TX_DO_CHECK && f != ACTOR_BEFORE && f != NODE_BEFORE) {
        look_at(w, step.part); /* at once: nothing of it can be lost */
        return;
    }
    if (step.what == TX_DO_CONFIRM && f != ACTOR_BEFORE && f != NODE_BEFORE) {
        tx_machine_heard(&w->m, step.part, TX_DO_CONFIRM, EG_OK);
        return;
    }

    if (step.what == TX_DO_ANSWER) { /* in the turn in which it was said */
        answer(w);
        if (f == NODE_BEFORE || f == NODE_AFTER)
            restart_node(w);
        return;
    }
    if (f == ACTOR_BEFORE || f == NODE_BEFORE) {
        if (f == ACTOR_BEFORE)
            tx_machine_restart(&w->m);
        else
            restart_node(w);
        return;
    }
    if (f == ANOTHER_VIEW)
        tx_machine_view(&w->m);
    if (f == TOO_LATE)
        tx_machine_expire(&w->m);
    if (f == CUT && w->shard[step.part] == PREPARED && !(w->firm && any_done(w)))
        w->shard[step.part] = GIVEN_UP;
    switch (step.what) {
    case TX_DO_LOG:
        if (f == REFUSED) {
            tx_machine_logged(&w->m, EG_DISC);
            return;
        }
        if (f == LOST_AFTER) { /* it is there all the same, for a later start */
            tx_machine_log_lost(&w->m);
            return;
        }
        w->on_disc = f != LOST_BEFORE;
        if (f == ACTOR_AFTER)
            tx_machine_restart(&w->m);
        else if (f == NODE_AFTER || f == LOST_BEFORE)
            restart_node(w);
        else
            tx_machine_logged(&w->m, EG_OK);
        return;
    case TX_DO_END:
        w->on_disc = false;
        return;
    default:
        break;
    }
    err = f == LOST_BEFORE ? EG_IN_DOUBT
          : f == REFUSED   ? EG_NO_REPLICA
                           : shard_does(w, step.part, step.what);
    if (f == ACTOR_AFTER)
        tx_machine_restart(&w->m);
    else if (f == NODE_AFTER)
        restart_node(w);
    else
        tx_machine_heard(&w->m, step.part, step.what, f == LOST_AFTER ? EG_TIMEOUT : err);
}

/* The shards of a coordinator that knows nothing: one has committed, or all give it up. */
static void resolve(struct world *w) {
    bool any = any_done(w);

    for (uint32_t i = 0; i < PARTS; i++)
        if (w->shard[i] == PREPARED)
            w->shard[i] = any ? DONE : GIVEN_UP;
}

/* With fault `f` at step number `at`, until nothing is left to do. */
static void run(struct world *w, uint32_t at, enum fault f) {
    bool failed = false;

    while (w->alive && w->steps < STEPS) {
        struct tx_step step = tx_machine_next(&w->m);

        if (step.what == TX_DO_NOTHING && tx_machine_waits(&w->m)) {
            tx_machine_retry(&w->m);
            continue;
        }
        if (step.what == TX_DO_NOTHING)
            break;
        failed = w->steps++ == at;
        do_step(w, step, failed ? f : NO_FAULT);
    }
    cr_assert_lt(w->steps, STEPS, "it never ends");
    if (w->alive)
        cr_assert_eq(w->m.state, TX_OVER);
    if (!w->alive || w->m.outcome != EG_OK)
        resolve(w); /* who has not heard that it is aborted asks */
}

static void check(const struct world *w, uint32_t at, enum fault f) {
    uint32_t done = 0, prepared = 0;

    uint32_t parts = 0;

    for (uint32_t i = 0; i < PARTS; i++) {
        prepared += w->shard[i] == PREPARED;
        if (w->reads[i])
            continue;
        parts++;
        done += w->shard[i] == DONE;
    }
    cr_assert_eq(prepared, 0, "fault %d at step %u: %u are left prepared", f, at, prepared);
    cr_assert(done == 0 || done == parts, "fault %d at step %u: %u of %u are done", f, at, done,
              parts);
    cr_assert(w->answered);
    if (w->answer == EG_OK)
        cr_assert_eq(done, parts, "fault %d at step %u: told that it is committed", f, at);
    else if (w->answer != EG_IN_DOUBT)
        cr_assert_eq(done, 0, "fault %d at step %u: told %s", f, at, eg_err_name(w->answer));
    if (w->m.unsure)
        cr_assert_eq(tx_machine_status(&w->m), TX_STATUS_UNKNOWN);
    else if (w->alive)
        cr_assert_eq(tx_machine_status(&w->m), done == 0 ? TX_STATUS_ABORTED : TX_STATUS_COMMITTED);
}

Test(tx_machine, all_vote_and_all_do_it) {
    for (int logs = 0; logs < 2; logs++) {
        struct world w;

        open_world(&w, logs);
        run(&w, UINT32_MAX, NO_FAULT);
        check(&w, 0, NO_FAULT);
        cr_assert_eq(w.answer, EG_OK);
        cr_assert_eq(w.steps, 2 * PARTS + 2u + (uint32_t) logs);
    }
}

Test(tx_machine, one_that_refuses_undoes_all_and_is_the_answer) {
    for (uint32_t who = 0; who < PARTS; who++) {
        struct world w;

        open_world(&w, true);
        w.refuses[who] = true;
        run(&w, UINT32_MAX, NO_FAULT);
        check(&w, who, NO_FAULT);
        cr_assert_eq(w.answer, EG_CONFLICT);
        cr_assert_eq(w.shard[who], NOTHING);
    }
}

Test(tx_machine, whatever_fails_at_whichever_step_all_or_nothing_is_done) {
    for (int logs = 0; logs < 2; logs++)
        for (int refuses = 0; refuses < 2; refuses++)
            for (enum fault f = NO_FAULT; f < FAULTS; f++)
                for (uint32_t at = 0; at < 2 * PARTS + 4; at++) {
                    struct world w;

                    open_world(&w, logs);
                    w.refuses[PARTS - 1] = refuses;
                    run(&w, at, f);
                    check(&w, at, f);
                }
}

Test(tx_machine, where_all_ask_for_a_majority_nothing_is_made_anew_whatever_fails) {
    for (int logs = 0; logs < 2; logs++)
        for (enum fault f = NO_FAULT; f < FAULTS; f++)
            for (uint32_t at = 0; at < 2 * PARTS + 4; at++) {
                struct world w;

                open_firm_world(&w, logs);
                run(&w, at, f);
                check(&w, at, f);
                cr_assert_eq(w.redone, 0);
            }
}

/* Decided, and the view changes before any is told: one side of the cut has given up this part. */
Test(tx_machine, what_a_majority_has_given_up_is_aborted_however_late_it_is_heard) {
    for (int late = 0; late < 2; late++)
        for (int logs = 0; logs < 2; logs++)
            for (uint32_t who = 0; who < PARTS; who++) {
                struct world w;
                struct tx_step step;

                open_firm_world(&w, logs);
                do { /* until it is to be told to commit */
                    step = tx_machine_next(&w.m);
                    if (step.what != TX_DO_COMMIT)
                        do_step(&w, step, NO_FAULT);
                } while (step.what != TX_DO_COMMIT);
                do_step(&w, step, REFUSED);
                if (late)
                    tx_machine_expire(&w.m);
                tx_machine_view(&w.m);
                w.shard[who] = GIVEN_UP;
                run(&w, UINT32_MAX, NO_FAULT);
                check(&w, who, ANOTHER_VIEW);
                cr_assert_eq(w.redone, 0);
                cr_assert_eq(tx_machine_status(&w.m), TX_STATUS_ABORTED);
            }
}

/* After a start.  What nobody remembers may have been made, and is made anew. */
Test(tx_machine, what_is_found_on_disc_and_a_majority_has_given_up_is_aborted) {
    for (uint32_t lost = 0; lost <= PARTS; lost++) {
        struct world w;

        open_firm_world(&w, true);
        for (uint32_t i = lost; i < PARTS; i++)
            w.shard[i] = GIVEN_UP;
        w.answered = w.on_disc = true;
        w.answer = EG_IN_DOUBT;
        restart_node(&w);
        run(&w, UINT32_MAX, NO_FAULT);
        check(&w, lost, NODE_BEFORE);
        cr_assert_eq(w.redone, lost < PARTS ? 0 : PARTS);
    }
}

Test(tx_machine, what_was_given_up_where_others_have_done_it_is_made_anew) {
    struct world w;

    open_world(&w, false);
    run(&w, PARTS + 1, CUT); /* the second of those that are told to commit */
    check(&w, PARTS + 1, CUT);
    cr_assert_eq(w.redone, 1);
    cr_assert_eq(w.answer, EG_OK);
}

/* Who finds one record finds the others: the others are held, and what was given up is not. */
Test(tx_machine, what_was_given_up_before_a_view_is_made_before_the_others_are_told) {
    for (int logs = 0; logs < 2; logs++)
        for (uint32_t gone = 0; gone < PARTS; gone++) {
            struct world w;
            struct tx_step step;

            open_world(&w, logs);
            for (uint32_t i = 0; i < PARTS; i++)
                do_step(&w, tx_machine_next(&w.m), NO_FAULT);
            for (uint32_t i = 0; i < PARTS + (uint32_t) logs; i++) {
                step = tx_machine_next(&w.m);
                do_step(&w, step, step.what == TX_DO_LOG ? NO_FAULT : REFUSED);
            }
            tx_machine_view(&w.m);
            w.shard[gone] = GIVEN_UP;
            for (;;) {
                step = tx_machine_next(&w.m);
                if (step.what == TX_DO_NOTHING && !tx_machine_waits(&w.m))
                    break;
                if (step.what == TX_DO_NOTHING)
                    tx_machine_retry(&w.m);
                else
                    do_step(&w, step, NO_FAULT);
                cr_assert(step.what != TX_DO_COMMIT || w.shard[gone] == DONE);
            }
            check(&w, gone, ANOTHER_VIEW);
            cr_assert_eq(w.redone, 1);
        }
}

/* Somebody gives all of it up between the looks and the commits, which are answered one by one. */
Test(tx_machine, nothing_is_made_anew_while_others_may_still_say_that_they_are_gone) {
    struct world w;
    struct tx_step step;

    open_world(&w, false);
    for (uint32_t i = 0; i < PARTS; i++)
        do_step(&w, tx_machine_next(&w.m), NO_FAULT);
    for (uint32_t i = 0; i < PARTS; i++)
        do_step(&w, tx_machine_next(&w.m), REFUSED);
    tx_machine_view(&w.m);
    do { /* who waits for an answer that says that it is in doubt, and then looks */
        step = tx_machine_next(&w.m);
        if (step.what == TX_DO_LOOK || step.what == TX_DO_ANSWER)
            do_step(&w, step, NO_FAULT);
    } while (step.what == TX_DO_LOOK || step.what == TX_DO_ANSWER);
    cr_assert_eq(step.what, TX_DO_COMMIT);
    for (uint32_t i = 1; i < PARTS; i++)
        cr_assert_eq(tx_machine_next(&w.m).what, TX_DO_COMMIT);
    for (uint32_t i = 0; i < PARTS; i++) {
        tx_machine_heard(&w.m, i, TX_DO_COMMIT, EG_NOT_FOUND);
        cr_assert_neq(tx_machine_next(&w.m).what, TX_DO_REDO);
    }
    cr_assert_eq(tx_machine_status(&w.m), TX_STATUS_ABORTED);
}

/* Nobody can be asked: it is brought to its end as it comes, once its time is over. */
Test(tx_machine, what_cannot_be_looked_at_holds_the_others_for_a_while_only) {
    struct world w;

    open_world(&w, false);
    for (uint32_t i = 0; i < PARTS; i++)
        do_step(&w, tx_machine_next(&w.m), NO_FAULT);
    cr_assert_eq(tx_machine_next(&w.m).what, TX_DO_COMMIT);
    tx_machine_heard(&w.m, 0, TX_DO_COMMIT, EG_AGAIN);
    tx_machine_view(&w.m);
    for (uint32_t i = 0; i < PARTS; i++) {
        cr_assert_neq(tx_machine_next(&w.m).what, TX_DO_NOTHING);
        tx_machine_heard(&w.m, i, TX_DO_LOOK, i == 0 ? EG_NO_REPLICA : EG_OK);
    }
    cr_assert_eq(tx_machine_next(&w.m).what, TX_DO_NOTHING);
    tx_machine_expire(&w.m);
    cr_assert_eq(tx_machine_next(&w.m).what, TX_DO_ANSWER);
    cr_assert_eq(tx_machine_next(&w.m).what, TX_DO_COMMIT);
}

Test(tx_machine, what_all_have_given_up_is_aborted_though_it_was_decided) {
    struct world w;
    struct tx_step step;

    open_world(&w, false);
    for (uint32_t i = 0; i < PARTS; i++) {
        step = tx_machine_next(&w.m);
        do_step(&w, step, NO_FAULT);
    }
    memset(w.shard, 0, sizeof w.shard);
    cr_assert_eq(tx_machine_status(&w.m), TX_STATUS_OPEN);
    run(&w, UINT32_MAX, NO_FAULT);
    cr_assert_eq(w.answer, EG_ABORTED);
    cr_assert_eq(w.redone, 0);
}

/* One had done it, its disc has it, and its memory is gone. */
Test(tx_machine, what_is_found_on_disc_is_made_anew_though_all_have_given_it_up) {
    struct world w;

    open_world(&w, true);
    tx_machine_recall(&w.m, w.part, PARTS);
    w.answered = w.on_disc = true;
    w.answer = EG_IN_DOUBT;
    run(&w, UINT32_MAX, NO_FAULT);
    check(&w, 0, NO_FAULT);
    cr_assert_eq(w.redone, PARTS);
}

Test(tx_machine, nobody_is_told_to_commit_before_the_decision_is_on_disc) {
    struct world w;
    struct tx_step step;

    open_world(&w, true);
    for (uint32_t i = 0; i < PARTS; i++)
        do_step(&w, tx_machine_next(&w.m), NO_FAULT);
    step = tx_machine_next(&w.m);
    cr_assert_eq(step.what, TX_DO_LOG);
    cr_assert_eq(tx_machine_next(&w.m).what, TX_DO_NOTHING);
    tx_machine_logged(&w.m, EG_OK);
    cr_assert_eq(tx_machine_next(&w.m).what, TX_DO_COMMIT);
}

/* Who hears `busy` sends the same again, and the id is used up. */
Test(tx_machine, a_disc_that_is_busy_is_a_lost_try) {
    struct world w;

    open_world(&w, true);
    for (uint32_t i = 0; i < PARTS; i++)
        do_step(&w, tx_machine_next(&w.m), NO_FAULT);
    cr_assert_eq(tx_machine_next(&w.m).what, TX_DO_LOG);
    tx_machine_logged(&w.m, EG_BUSY);
    cr_assert_eq(tx_machine_next(&w.m).what, TX_DO_ANSWER);
    cr_assert_eq(w.m.outcome, EG_CONFLICT);
}

Test(tx_machine, a_late_word_of_what_was_asked_before_changes_nothing) {
    struct world w;

    open_world(&w, false);
    cr_assert_eq(tx_machine_next(&w.m).what, TX_DO_PREPARE);
    tx_machine_restart(&w.m);
    tx_machine_heard(&w.m, 0, TX_DO_PREPARE, EG_OK);
    cr_assert_eq(w.part[0].state, TX_PART_DOUBT);
    w.shard[0] = PREPARED;
    run(&w, UINT32_MAX, NO_FAULT);
    check(&w, 0, NO_FAULT);
    cr_assert_eq(w.answer, EG_CONFLICT);
}

Test(tx_machine, what_a_view_undoes_may_be_tried_again_and_what_is_late_not) {
    struct world w;

    open_world(&w, false);
    run(&w, 1, ANOTHER_VIEW);
    cr_assert_eq(w.answer, EG_CONFLICT);
    open_world(&w, false);
    run(&w, 1, TOO_LATE);
    cr_assert_eq(w.answer, EG_ABORTED);
}

/* One of its parts changes nothing: nobody need hear of it. */
static void open_world_that_reads(struct world *w, bool logs, uint32_t who, eg_err look) {
    *w = (struct world){.alive = true, .look = look};
    w->part[who].reads = w->reads[who] = true;
    tx_machine_begin(&w->m, w->part, PARTS, logs);
}

Test(tx_machine, what_it_only_reads_is_looked_at_when_all_it_changes_is_held) {
    static const eg_err looks[] = {EG_OK, EG_CONFLICT, EG_AGAIN};

    for (uint32_t who = 0; who < PARTS; who++)
        for (size_t i = 0; i < sizeof looks / sizeof looks[0]; i++) {
            struct world w;

            open_world_that_reads(&w, true, who, looks[i]);
            run(&w, UINT32_MAX, NO_FAULT);
            check(&w, who, NO_FAULT);
            cr_assert_eq(w.answer, looks[i] == EG_AGAIN ? EG_OK : looks[i]);
            cr_assert_eq(w.shard[who], looks[i] == EG_AGAIN ? DONE : NOTHING, "look %zu at %u: %d",
                         i, who, w.shard[who]);
        }
}

Test(tx_machine, whatever_fails_while_it_also_reads_all_or_nothing_is_done) {
    static const eg_err looks[] = {EG_OK, EG_CONFLICT, EG_AGAIN};

    for (int logs = 0; logs < 2; logs++)
        for (size_t i = 0; i < sizeof looks / sizeof looks[0]; i++)
            for (uint32_t who = 0; who < PARTS; who++)
                for (enum fault f = NO_FAULT; f < FAULTS; f++)
                    for (uint32_t at = 0; at < 2 * PARTS + 5; at++) {
                        struct world w;

                        open_world_that_reads(&w, logs, who, looks[i]);
                        run(&w, at, f);
                        check(&w, at, f);
                    }
}

static void expect_step(struct world *w, enum tx_do what, uint32_t part) {
    struct tx_step step = tx_machine_next(&w->m);

    cr_assert(step.what == what && (step.part == part || what == TX_DO_NOTHING),
              "to do: %d of %u, and not %d of %u", what, part, step.what, step.part);
}

/* Part 0 changes something; part 1 stands while another has hold of part 2, and he changes both
 * before part 2 is ours.  Where that is empty again then, as it was seen, only part 1 tells. */
Test(tx_machine, what_stood_is_looked_at_again_when_another_has_had_to_be_asked) {
    static const eg_err looks[] = {EG_OK, EG_CONFLICT, EG_AGAIN};

    for (size_t i = 0; i < sizeof looks / sizeof looks[0]; i++) {
        struct world w = {.alive = true, .reads = {false, true, true}};

        w.part[1].reads = w.part[2].reads = true;
        tx_machine_begin(&w.m, w.part, PARTS, false);
        expect_step(&w, TX_DO_PREPARE, 0);
        expect_step(&w, TX_DO_NOTHING, 0);
        tx_machine_heard(&w.m, 0, TX_DO_PREPARE, shard_does(&w, 0, TX_DO_PREPARE));
        expect_step(&w, TX_DO_CHECK, 1);
        tx_machine_heard(&w.m, 1, TX_DO_CHECK, EG_OK);
        expect_step(&w, TX_DO_CHECK, 2);
        tx_machine_heard(&w.m, 2, TX_DO_CHECK, EG_AGAIN);
        expect_step(&w, TX_DO_PREPARE, 2);
        expect_step(&w, TX_DO_NOTHING, 0);
        tx_machine_heard(&w.m, 2, TX_DO_PREPARE, shard_does(&w, 2, TX_DO_PREPARE));
        expect_step(&w, TX_DO_CHECK, 1);
        w.look = looks[i];
        tx_machine_heard(&w.m, 1, TX_DO_CHECK, looks[i]);
        run(&w, UINT32_MAX, NO_FAULT);
        check(&w, 0, NO_FAULT);
        cr_assert_eq(w.answer, looks[i] == EG_AGAIN ? EG_OK : looks[i]);
    }
}

/* Once, however many had to be asked. */
Test(tx_machine, what_stood_is_looked_at_again_when_the_last_has_voted) {
    struct world w = {.alive = true, .reads = {true, true, true}};

    for (uint32_t i = 0; i < PARTS; i++)
        w.part[i].reads = true;
    tx_machine_begin(&w.m, w.part, PARTS, false);
    for (uint32_t i = 0; i < PARTS; i++) {
        expect_step(&w, TX_DO_CHECK, i);
        tx_machine_heard(&w.m, i, TX_DO_CHECK, i == 0 ? EG_OK : EG_AGAIN);
        if (i != 0)
            expect_step(&w, TX_DO_PREPARE, i);
    }
    tx_machine_heard(&w.m, 1, TX_DO_PREPARE, shard_does(&w, 1, TX_DO_PREPARE));
    expect_step(&w, TX_DO_NOTHING, 0);
    tx_machine_heard(&w.m, 2, TX_DO_PREPARE, shard_does(&w, 2, TX_DO_PREPARE));
    expect_step(&w, TX_DO_CHECK, 0);
    tx_machine_heard(&w.m, 0, TX_DO_CHECK, EG_OK);
    run(&w, UINT32_MAX, NO_FAULT);
    cr_assert_eq(w.answer, EG_OK);
}

static void look_at_both(struct world *w, eg_err second) {
    expect_step(w, TX_DO_CHECK, 1);
    tx_machine_heard(&w->m, 1, TX_DO_CHECK, EG_OK);
    expect_step(w, TX_DO_CHECK, 2);
    tx_machine_heard(&w->m, 2, TX_DO_CHECK, EG_OK);
    expect_step(w, TX_DO_CONFIRM, 1);
    tx_machine_heard(&w->m, 1, TX_DO_CONFIRM, EG_OK);
    expect_step(w, TX_DO_CONFIRM, 2);
    tx_machine_heard(&w->m, 2, TX_DO_CONFIRM, second);
}

/* Part 2 is as it was seen, and was not in between: nobody knows whether part 1 stood then. */
Test(tx_machine, what_has_moved_between_two_looks_begins_anew_and_all_second_looks_with_it) {
    struct world w = {.alive = true, .reads = {false, true, true}};

    w.part[1].reads = w.part[2].reads = true;
    tx_machine_begin(&w.m, w.part, PARTS, false);
    expect_step(&w, TX_DO_PREPARE, 0);
    tx_machine_heard(&w.m, 0, TX_DO_PREPARE, shard_does(&w, 0, TX_DO_PREPARE));
    look_at_both(&w, EG_AGAIN);
    for (int i = 0; i < 2; i++) {
        expect_step(&w, TX_DO_CHECK, 2);
        tx_machine_heard(&w.m, 2, TX_DO_CHECK, EG_OK);
        expect_step(&w, TX_DO_CONFIRM, 1);
        tx_machine_heard(&w.m, 1, TX_DO_CONFIRM, EG_OK);
        expect_step(&w, TX_DO_CONFIRM, 2);
        tx_machine_heard(&w.m, 2, TX_DO_CONFIRM, EG_AGAIN);
    }
    expect_step(&w, TX_DO_CHECK, 2);
    tx_machine_heard(&w.m, 2, TX_DO_CHECK, EG_OK);
    expect_step(&w, TX_DO_CONFIRM, 1);
    tx_machine_heard(&w.m, 1, TX_DO_CONFIRM, EG_OK);
    expect_step(&w, TX_DO_CONFIRM, 2);
    tx_machine_heard(&w.m, 2, TX_DO_CONFIRM, EG_AGAIN);
    expect_step(&w, TX_DO_PREPARE, 2); /* that is too often: it is held */
    tx_machine_heard(&w.m, 2, TX_DO_PREPARE, shard_does(&w, 2, TX_DO_PREPARE));
    expect_step(&w, TX_DO_CHECK, 1);
    tx_machine_heard(&w.m, 1, TX_DO_CHECK, EG_OK);
    run(&w, UINT32_MAX, NO_FAULT);
    check(&w, 0, NO_FAULT);
    cr_assert_eq(w.answer, EG_OK);
}

Test(tx_machine, what_does_not_stand_at_the_second_look_is_a_conflict) {
    struct world w = {.alive = true, .reads = {false, true, true}};

    w.part[1].reads = w.part[2].reads = true;
    tx_machine_begin(&w.m, w.part, PARTS, false);
    expect_step(&w, TX_DO_PREPARE, 0);
    tx_machine_heard(&w.m, 0, TX_DO_PREPARE, shard_does(&w, 0, TX_DO_PREPARE));
    look_at_both(&w, EG_CONFLICT);
    run(&w, UINT32_MAX, NO_FAULT);
    check(&w, 0, NO_FAULT);
    cr_assert_eq(w.answer, EG_CONFLICT);
}
