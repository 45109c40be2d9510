/* catalog_write_many.c -- WRITE_MANY: any record may be refused (a limit, a unique index, the
 * disc), so all are written here in one go, as soon as their shards are idle at once; a sync
 * table's shards then say when they are on disc. */
#include "engine/env.h"
#include "engine/runtime.h"
#include "engine/scheduler.h"
#include "tables/catalog_job.h"
#include "tables/route.h"

enum {
    WRITE_MANY_PATIENCE_MS = 5000, /* until all its shards are idle, and the disc not behind */
    WRITE_MANY_PAUSE_MS = 10,      /* where something is busy: who tries adds to its load */
    WRITE_MANY_PAUSE_MS_MAX = 500,
};

static struct reader *reader_of(struct catalog *c, struct actor *self) {
    return &c->world.readers[scheduler_index(actor_scheduler(self))];
}

/* How long before it is tried again; longer and longer where something is busy. */
static uint64_t pause_ms(const struct job *j, eg_err err, uint64_t now_ns) {
    uint64_t left_ms = (j->deadline_ns - now_ns) / 1000000;
    uint64_t spent_ms = WRITE_MANY_PATIENCE_MS - EG_MIN(left_ms, (uint64_t) WRITE_MANY_PATIENCE_MS);

    if (err == EG_AGAIN)
        return 1;
    return EG_MIN(EG_MAX(spent_ms, (uint64_t) WRITE_MANY_PAUSE_MS),
                  (uint64_t) WRITE_MANY_PAUSE_MS_MAX);
}

/* May it go better in a moment?  Not where the table is another by now. */
static bool may_wait(struct job *j, eg_err err) {
    return err == EG_AGAIN || (err == EG_BUSY && table_now(j->table) == j->table);
}

/* What the try has come to: again, or over, or the disc is asked. */
static void after_try(struct actor *self, struct job *j, eg_err err) {
    uint64_t now_ns = env_now_ns(j->catalog->world.o.env);

    if (j->deadline_ns == 0)
        j->deadline_ns = now_ns + (uint64_t) WRITE_MANY_PATIENCE_MS * 1000000;
    if (may_wait(j, err) && now_ns < j->deadline_ns) {
        j->step = 0;
        job_step_later(self, j, pause_ms(j, err, now_ns));
    } else if (err == EG_AGAIN) {
        job_failed(j, err_note(&j->note, EG_BUSY, "the table's shards are never idle at once"));
    } else if (err != EG_OK) {
        job_failed(j, err);
    } else if (schema_of(j->table)->durability == DURABILITY_SYNC) {
        job_ask_shards(self, j, SHARD_SYNC);
    }
}

/* While it waited another table of the same fields may have taken the name.  EG_AGAIN: calls
 * of before are still on their way there.  Of one with other fields these may not be records:
 * EG_BUSY then, from the old table. */
static eg_err follow_table(struct job *j) {
    struct table *now = table_now(j->table);

    if (now == j->table || table_shape(now) != table_shape(j->table))
        return EG_OK;
    if (table_settling(now) || !table_ref(now))
        return EG_AGAIN;
    table_unref(j->table);
    j->table = now;
    return EG_OK;
}

/* A view came while it waited: to who knows where the shards' masters are by now.  False: they are
 * here, or nobody knows. */
static bool pass_on(struct actor *self, struct job *j) {
    struct catalog *c = j->catalog;
    struct table_route *route = atomic_load_explicit(&c->world.route, memory_order_acquire);
    struct message *call;
    eg_err err;
    eg_pid to;

    if (route == NULL || route->catalog(route, &j->request, &to, &call) != EG_OK)
        return false;
    call->ref = j->call->ref;
    err = runtime_send(actor_runtime(self), j->call->from, to, call);
    if (err == EG_OK)
        j->answered = true; /* by who has it now */
    else
        job_failed(j, err == EG_NOPROC ? EG_BUSY : err);
    return true;
}

bool job_write_many_step(struct actor *self, struct job *j) {
    struct reader *r = reader_of(j->catalog, self);
    struct value_writer w;
    uint8_t number[9];

    if (j->step++ == 0 && j->err == EG_OK) {
        const struct table_many how = {j->request.ttl_ms, j->request.dirty};
        struct buffer result;
        eg_err err;

        buffer_init(&result, catalog_alloc(j->catalog), 64);
        err = follow_table(j);
        if (err == EG_OK)
            err = table_many_here(j->table, r, j->request.value, &how, &result, &j->note);
        reader_reset(r);
        buffer_fini(&result);
        if (err != EG_AGAIN || !pass_on(self, j))
            after_try(self, j, err);
        if (j->asked != 0)
            return false;
    }
    w = value_writer_init(number, sizeof number);
    value_put_u64(&w, j->err == EG_OK ? value_count(j->request.value) : 0);
    job_answer(self, j, number, w.need_bytes);
    return true;
}
