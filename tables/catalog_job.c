/* catalog_job.c -- what the steps of jobs are made of: who is asked, what is answered, how a
 * changed schema is kept and seen. */
#include "engine/runtime.h"
#include "tables/catalog_job.h"
#include "tables/moment.h"
#include "tables/shard_actor.h"

#include <string.h>

void job_failed(struct job *j, eg_err err) {
    if (j->err == EG_OK)
        j->err = err;
}

void job_ask_shard(struct actor *self, struct job *j, struct shard *s, uint32_t tag,
                   const struct shard_request *q) {
    struct message *m;

    if (eg_pid_is_none(shard_pid(s)))
        return; /* never started: nothing to ask */
    m = message_new(actor_runtime(self), MESSAGE_CALL, shard_request_size(q));
    if (m == NULL) {
        job_failed(j, EG_MEMORY);
        return;
    }
    m->tag = tag;
    m->ref = j->id;
    shard_request_pack(q, m->payload);
    if (actor_send(self, shard_pid(s), m) == EG_OK)
        j->asked++;
    else
        job_failed(j, EG_BUSY);
}

void job_ask_shards(struct actor *self, struct job *j, uint32_t tag) {
    struct shard_request q = {.op = tag < SHARD_OP_COUNT ? (enum shard_op) tag : SHARD_PURGE,
                              .attribute = j->index.id,
                              .value = {(const uint8_t *) &j->index, sizeof j->index}};

    for (uint32_t i = 0; i < j->table->shard_count; i++)
        job_ask_shard(self, j, &j->table->shard[i], tag, &q);
}

/* On the disc's writer thread: only passes the word on. */
static void disc_done(struct disc_request *q, eg_err err) {
    struct job *j = EG_CONTAINER_OF(q, struct job, disc);
    struct message *m = j->disc_done;
    struct catalog *c = j->catalog;

    m->ref = j->id;
    atomic_store(&j->disc_err, err); /* before the pid is read: see catalog_actor.c */
    atomic_store(&j->disc_ended, true);
    (void) runtime_send(c->world.o.runtime, EG_PID_NONE, catalog_pid(c), m); /* or take_over() */
}

void job_ask_disc(struct job *j, struct disc_request q) {
    eg_err err;

    j->disc = q;
    j->disc.done = disc_done;
    j->disc_done = message_new(j->catalog->world.o.runtime, MESSAGE_REPLY, 0);
    if (j->disc_done == NULL) {
        job_failed(j, EG_MEMORY);
        return;
    }
    j->disc_done->tag = CATALOG_DISC_DONE;
    atomic_store(&j->disc_ended, false);
    err = disc_submit(j->catalog->world.o.disc, &j->disc);
    if (err == EG_OK) {
        j->asked++;
        return;
    }
    message_free(j->catalog->world.o.runtime, j->disc_done);
    j->disc_done = NULL;
    job_failed(j, err);
}

void job_ask_families(struct actor *self, struct job *j, struct message *m) {
    if (m == NULL) {
        job_failed(j, EG_MEMORY);
        return;
    }
    m->ref = j->id;
    if (actor_send(self, catalog_families(j->catalog), m) == EG_OK)
        j->asked++;
    else
        job_failed(j, EG_BUSY);
}

void job_step_later(struct actor *self, struct job *j, uint64_t delay_ms) {
    struct message *m = message_new(actor_runtime(self), MESSAGE_INFO, sizeof j->id);
    eg_ref timer;

    if (m != NULL) {
        m->tag = CATALOG_STEP;
        memcpy(m->payload, &j->id, sizeof j->id);
    }
    if (m != NULL && actor_start_timer(self, delay_ms, m, &timer) == EG_OK)
        j->asked++;
    else
        job_failed(j, EG_MEMORY);
}

void job_answer(struct actor *self, struct job *j, const void *at, size_t size_bytes) {
    if (j->answered)
        return;
    if (j->err != EG_OK) {
        at = j->note.text;
        size_bytes = strlen(j->note.text);
    }
    actor_reply_bytes(self, j->call->from, j->call->ref, j->err, at, size_bytes);
    j->answered = true;
}

void job_answer_true(struct actor *self, struct job *j) {
    static const uint8_t yes = 0xc3;
    job_answer(self, j, &yes, 1);
}

void job_free(struct job *j) {
    struct alloc *a = catalog_alloc(j->catalog);

    EG_ASSERT(j->loans == 0);
    if (j->moment != NULL)
        moment_unref(j->moment);
    if (j->schema != NULL) {
        schema_fini(j->schema);
        alloc_put(a, j->schema, sizeof *j->schema);
    }
    if (j->alter != NULL)
        job_alter_free(j);
    if (j->table != NULL)
        table_unref(j->table);
    buffer_fini(&j->encoded);
    disc_batch_fini(&j->batch);
    message_free(j->catalog->world.o.runtime, j->call);
    list_remove(&j->node);
    alloc_put(a, j, sizeof *j);
}

/* ---- a table's schema -------------------------------------------------------------------- */

void job_store_schema(struct job *j) {
    eg_err err;

    if (j->table->disc_table == NULL)
        return;
    err = schema_encode(j->schema, &j->encoded);
    if (err == EG_OK)
        err =
            disc_batch_put_schema(&j->batch, j->catalog->world.o.disc, j->schema->stored_name.text,
                                  (struct disc_bytes){j->encoded.at, j->encoded.size_bytes});
    if (err == EG_OK)
        job_ask_disc(j,
                     (struct disc_request){.kind = DISC_WRITE, .sync = true, .batch = &j->batch});
    else
        job_failed(j, err);
}

static void schema_free(void *owner, void *ptr, size_t size_bytes) {
    struct schema *s = ptr;
    schema_fini(s);
    alloc_put(owner, ptr, size_bytes);
}

void job_publish_schema(struct job *j) {
    struct catalog *c = j->catalog;
    const struct schema *old = schema_of(j->table);

    atomic_store_explicit(&j->table->schema, j->schema, memory_order_release);
    j->schema = NULL;
    epoch_retire(&c->bin, schema_free, catalog_alloc(c), (void *) old, sizeof *old);
}
