/* catalog_moment.c -- jobs of the catalog that change no schema: all of a table on disc, and
 * one moment of many tables. */
#include "tables/catalog_job.h"

#include "engine/env.h"
#include "engine/runtime.h"
#include "tables/moment.h"
#include "tables/shard_actor.h"

#include <string.h>

struct moment *job_moment(const struct job *j) {
    struct moment *m;

    memcpy(&m, j->request.value.at, sizeof m);
    return m;
}

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

/* A write_many that found its shards busy writes one after the other: halves of it must be
 * in no snapshot.  Since this job has its turn, no new one begins. */
bool job_moment_step(struct actor *self, struct job *j) {
    struct catalog *c = j->catalog;
    uint64_t now_ns = env_now_ns(c->world.o.env);
    eg_err err = EG_AGAIN;

    if (j->step++ == 0)
        j->deadline_ns = now_ns + (uint64_t) MOMENT_PATIENCE_MS * 1000000;
    if (j->err == EG_OK && c->jobs.next == &j->node && j->node.next == &c->jobs)
        err = moment_freeze(job_moment(j), &j->note);
    if (err == EG_AGAIN && now_ns < j->deadline_ns)
        step_again(self, j);
    if (j->asked != 0)
        return false;
    job_failed(j, err != EG_AGAIN ? err
                                  : err_note(&j->note, EG_BUSY, "the tables do not come to rest"));
    job_answer_true(self, j);
    return true;
}
