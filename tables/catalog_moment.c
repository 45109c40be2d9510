/* catalog_moment.c -- jobs of the catalog that change no schema: all of a table on disc, and
 * one moment of many tables. */
#include "tables/catalog_job.h"

#include "engine/env.h"
#include "engine/runtime.h"
#include "tables/moment.h"
#include "tables/shard_actor.h"

#include <string.h>

bool job_sync_step(struct actor *self, struct job *j) {
    if (j->step++ == 0) {
        job_ask_shards(self, j, SHARD_FSYNC);
        if (j->asked != 0)
            return false;
    }
    job_answer_true(self, j);
    return true;
}

/* The job's next step comes after everybody else's turn. */
static void step_again(struct actor *self, struct job *j) {
    struct message *m = message_new(actor_runtime(self), MESSAGE_REPLY, 0);

    if (m == NULL) {
        job_failed(j, EG_MEMORY);
        return;
    }
    m->tag = EG_OK;
    m->ref = j->id;
    if (actor_send(self, actor_pid(self), m) == EG_OK)
        j->asked++;
    else
        job_failed(j, EG_BUSY);
}

/* ---- a moment ---------------------------------------------------------------------
 *
 *     WAIT     until no other job is under way: a write_many that found its shards busy
 *              may be half done.  Since this job has its turn, no new one begins.
 *     PREPARE  every shard: wipe the traces of earlier snapshots
 *     LEND     every shard: wait in our hands        from the first on: CATALOG_LET_GO
 *     OPEN     all are ours: a snapshot of each; give them back
 *     OVER
 *
 * Whatever is in the way from PREPARE on lets all shards go, and after a while it begins
 * anew, until the deadline. */
enum { MOMENT_WAIT, MOMENT_PREPARE, MOMENT_LEND, MOMENT_OPEN, MOMENT_OVER };

enum { PARTS_A_STEP = 1024 }; /* shards asked or opened in one turn: a fraction of a millisecond */

void job_moment_let_go(struct job *j) {
    struct moment *m;

    if (j->loans == 0)
        return;
    m = j->moment;
    for (uint32_t i = 0; i < moment_parts(m); i++) {
        struct actor *lent = loan_end(&moment_shard(m, i)->loan);
        if (lent != NULL)
            actor_release(lent);
    }
    j->loans = 0;
}

void job_moment_late(struct catalog *c, const struct message *m) {
    uint64_t number;

    memcpy(&number, m->payload, sizeof number);
    for (struct list_node *n = c->jobs.next; n != &c->jobs; n = n->next) {
        struct job *j = EG_CONTAINER_OF(n, struct job, node);
        if (j->loans == number && !(j->step == MOMENT_OPEN && j->part > 0)) /* it ends soon */
            job_moment_let_go(j);
    }
}

static void moment_over(struct job *j) {
    job_moment_let_go(j);
    j->step = MOMENT_OVER;
}

/* Something was in the way that may pass. */
static void try_anew(struct actor *self, struct job *j) {
    job_moment_let_go(j);
    j->err = EG_OK;
    j->note.text[0] = '\0';
    if (env_now_ns(j->catalog->world.o.env) >= j->deadline_ns) {
        job_failed(j, err_note(&j->note, EG_BUSY, "the tables do not come to rest"));
        return;
    }
    job_step_later(self, j, j->hold_ms);
    j->hold_ms = EG_MIN(2 * j->hold_ms, (uint32_t) MOMENT_HOLD_MS_MAX);
    j->step = MOMENT_WAIT;
}

static void ask_part(struct actor *self, struct job *j, struct shard *s, uint32_t tag) {
    struct message *m = message_new(actor_runtime(self), MESSAGE_CALL, sizeof j->loans);
    eg_err err;

    if (m == NULL) {
        job_failed(j, EG_MEMORY);
        return;
    }
    m->tag = tag;
    m->ref = j->id;
    memcpy(m->payload, &j->loans, sizeof j->loans);
    err = actor_send(self, shard_pid(s), m);
    if (err == EG_OK)
        j->asked++;
    else
        job_failed(j, err);
}

/* True: these were the last. */
static bool ask_some(struct actor *self, struct job *j, uint32_t tag) {
    struct moment *m = j->moment;
    uint32_t end = EG_MIN(moment_parts(m), j->part + PARTS_A_STEP);

    for (; j->part < end; j->part++) {
        struct shard *s = moment_shard(m, j->part);
        if (tag == SHARD_LEND)
            loan_ask(&s->loan, j->loans);
        ask_part(self, j, s, tag);
    }
    if (end < moment_parts(m))
        return false;
    j->part = 0;
    return true;
}

static void wait_step(struct actor *self, struct job *j) {
    struct catalog *c = j->catalog;
    uint64_t now_ns = env_now_ns(c->world.o.env);
    bool alone = c->jobs.next == &j->node && j->node.next == &c->jobs;

    if (j->deadline_ns == 0) {
        j->deadline_ns = now_ns + (uint64_t) MOMENT_PATIENCE_MS * 1000000;
        j->hold_ms = MOMENT_HOLD_MS_MIN;
        j->moment = moment_claim(c, j->request.value);
    }
    if (j->moment == NULL) {
        job_failed(j, err_note(&j->note, EG_BUSY, "nobody waits for the moment any more"));
        return;
    }
    if (!alone && now_ns < j->deadline_ns) {
        job_step_later(self, j, 1);
        return;
    }
    job_failed(j, alone ? moment_follow(j->moment, &j->note)
                        : err_note(&j->note, EG_BUSY, "the tables do not come to rest"));
    j->step = MOMENT_PREPARE;
    j->part = 0;
}

/* From here on writers wait: the time that they do is bounded first. */
static void begin_loans(struct actor *self, struct job *j) {
    struct message *m = message_new(actor_runtime(self), MESSAGE_INFO, sizeof j->loans);
    uint64_t number = ++j->catalog->last_loan;
    eg_ref timer;

    if (m != NULL) {
        m->tag = CATALOG_LET_GO;
        memcpy(m->payload, &number, sizeof number);
    }
    if (m != NULL && actor_start_timer(self, j->hold_ms, m, &timer) == EG_OK)
        j->loans = number;
    else
        job_failed(j, EG_MEMORY);
}

static bool all_given(const struct job *j) {
    const struct moment *m = j->moment;

    for (uint32_t i = 0; i < moment_parts(m); i++)
        if (!loan_given(&moment_shard(m, i)->loan, j->loans))
            return false;
    return true;
}

static void open_some(struct actor *self, struct job *j) {
    struct moment *m = j->moment;
    uint32_t end = EG_MIN(moment_parts(m), j->part + PARTS_A_STEP);
    eg_err err = EG_OK;

    for (; j->part < end && err == EG_OK; j->part++)
        err = moment_open(m, j->part);
    if (err == EG_OK && end < moment_parts(m)) {
        step_again(self, j);
        return;
    }
    if (err == EG_OK)
        err = moment_seal(m, (uint64_t) env_wall_ms(j->catalog->world.o.env));
    if (err != EG_OK)
        moment_close(m);
    job_failed(j, err);
    if (err == EG_OK)
        moment_over(j);
}

static void moment_step(struct actor *self, struct job *j) {
    switch (j->step) {
    case MOMENT_WAIT:
        wait_step(self, j);
        break;
    case MOMENT_PREPARE:
        if (ask_some(self, j, SHARD_PREPARE))
            j->step = MOMENT_LEND;
        break;
    case MOMENT_LEND:
        if (j->part == 0)
            begin_loans(self, j);
        else if (j->loans == 0)
            job_failed(j, EG_AGAIN);
        if (j->err == EG_OK && ask_some(self, j, SHARD_LEND))
            j->step = MOMENT_OPEN;
        break;
    default:
        if (j->loans == 0)
            job_failed(j, EG_AGAIN);
        else if (j->part > 0 || all_given(j))
            open_some(self, j);
        else
            job_step_later(self, j, 1); /* its answer was quicker than the last, or it was killed */
    }
}

bool job_moment_step(struct actor *self, struct job *j) {
    while (j->asked == 0 && j->step != MOMENT_OVER) {
        if (j->err == EG_OK)
            moment_step(self, j);
        else if (j->err == EG_AGAIN || j->err == EG_NOPROC) /* NOPROC: a successor comes */
            try_anew(self, j);
        else
            moment_over(j);
    }
    if (j->asked != 0)
        return false;
    job_answer_true(self, j);
    return true;
}
