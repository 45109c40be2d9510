/* catalog_job.c -- the catalog's actor: each request is a job that goes on step by
 * step, whenever everybody it asked has answered.
 *
 *     CREATE      [disc: create] -> open, publish
 *     DROP        unpublish -> shards: stop -> [disc: drop] -> free when nobody holds it
 *     CLEAR       shards: clear
 *     ADD_INDEX   shards: build -> [disc: schema] -> publish the schema
 *     DROP_INDEX  [disc: schema] -> publish the schema -> shards: drop
 *     WRITE_MANY  in place as soon as the shards are idle, and not busy -> [sync: shards: on disc]
 *                 (or on to where they are written now: route.h)
 *     SYNC        shards: all on disc
 *     MOMENT      no write_many under way -> shards: prepare -> shards: lent, all at once
 *     ALTER       see catalog_reshape.c
 *     STOP        all shards: stop
 *
 * CREATE to DROP_INDEX and MOMENT take turns, WRITE_MANY and SYNC run side by side with
 * them, but wait while a moment is taken, and STOP waits until nothing is under way. */
#include "engine/env.h"
#include "engine/runtime.h"
#include "engine/scheduler.h"
#include "engine/supervisor.h"
#include "tables/catalog_job.h"
#include "tables/moment.h"
#include "tables/route.h"
#include "tables/shard_actor.h"
#include "tables/watch_private.h"

#include <string.h>

enum {
    JOBS_WAITING_MAX = 1024, /* changes of the schema that may wait for their turn */
    CATALOG_TICK_MS = 200,
    REVIVED_AT_ONCE = 256,         /* a supervisor lets four times as many wait */
    WRITE_MANY_PATIENCE_MS = 5000, /* until all its shards are idle, and the disc not behind */
    WRITE_MANY_PAUSE_MS = 10,      /* where something is busy: who tries adds to its load */
    WRITE_MANY_PAUSE_MS_MAX = 500,
};

static struct alloc *alloc_of(const struct catalog *c) {
    return c->world.o.alloc;
}

static struct reader *reader_of(struct catalog *c, struct actor *self) {
    return &c->world.readers[scheduler_index(actor_scheduler(self))];
}

/* ---- asking shards and the disc ---------------------------------------------------- */

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
    atomic_store(&j->disc_err, err); /* before the pid is read: see take_over() */
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

/* ---- a job's beginning and end ------------------------------------------------------- */

static void job_free(struct job *j) {
    struct alloc *a = alloc_of(j->catalog);

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

static void answer(struct actor *self, struct job *j, const void *at, size_t size_bytes) {
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
    answer(self, j, &yes, 1);
}

/* ---- the steps: each returns true when the job is over -------------------------------- */

/* Ask the tables' supervisor for a change of this table's family. */
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

static bool publish_table(struct actor *self, struct job *j);

/* A table that could not be made goes again, and its name is free. */
static bool give_up(struct actor *self, struct job *j) {
    j->cause = j->err;
    if (j->fresh != NULL) {
        EG_ASSERT(table_ref(j->fresh)); /* the catalog's own is still there */
        j->table = j->fresh;
    }
    j->discard = j->fresh != NULL ? DISCARD_STOP : DISCARD_ON_DISC;
    return job_discard_step(self, j);
}

/* Open the new table and let its shards be started. */
static bool start_table(struct actor *self, struct job *j) {
    struct child_spec child;
    eg_err err;

    j->disc_table = j->disc.table;
    err = table_open(&j->fresh, &j->catalog->world, j->schema, j->disc_table);
    j->schema = NULL; /* the table's, or gone */
    if (err != EG_OK) {
        job_failed(j, err);
        return give_up(self, j);
    }
    table_child(j->fresh, &child);
    job_ask_families(self, j, supervisor_start_child(actor_runtime(self), &child));
    j->step = 2;
    return j->asked == 0 && publish_table(self, j);
}

static bool publish_table(struct actor *self, struct job *j) {
    if (j->err == EG_OK)
        job_failed(j, names_add(&j->catalog->names, j->fresh));
    if (j->err != EG_OK)
        return give_up(self, j);
    watch_table_changed(j->fresh, "create", (struct value){NULL, 0});
    job_answer_true(self, j);
    return true;
}

/* As the request has it; the rest is this node's to say, unless it adopts another's. */
static eg_err make_schema(struct job *j) {
    struct catalog *c = j->catalog;
    struct schema *schema = alloc_zero(alloc_of(c), sizeof *schema);
    eg_err err = schema == NULL
                     ? EG_MEMORY
                     : schema_parse(schema, alloc_of(c), (const char *) j->request.name.at,
                                    j->request.name.size_bytes, j->request.value, &j->note);

    if (err != EG_OK) {
        if (schema != NULL)
            alloc_put(alloc_of(c), schema, sizeof *schema);
        return err;
    }
    schema->name = schema->stored_name; /* whatever the request calls itself */
    if (j->request.op != CATALOG_ADOPT) {
        schema->id = env_random(c->world.o.env);
        schema->seed = env_random(c->world.o.env);
        schema->version = 1;
    }
    j->schema = schema;
    return EG_OK;
}

static bool create_step(struct actor *self, struct job *j) {
    struct catalog *c = j->catalog;
    const char *name = (const char *) j->request.name.at;
    size_t name_bytes = j->request.name.size_bytes;
    bool adopt = j->request.op == CATALOG_ADOPT;
    struct table *there;
    bool on_disc;
    eg_err err;

    if (j->discard != DISCARD_NOT)
        return job_discard_step(self, j);
    if (j->step == 2)
        return publish_table(self, j);
    if (j->step == 1) {
        if (j->err == EG_OK)
            return start_table(self, j);
        job_answer_true(self, j);
        return true;
    }
    there = names_find(&c->names, name, name_bytes);
    err = make_schema(j);
    if (err == EG_OK && there != NULL && schema_of(there)->id != j->schema->id)
        err = err_note(&j->note, EG_EXISTS, "there is a table of that name");
    if (err != EG_OK)
        job_failed(j, err);
    if (err != EG_OK || there != NULL) {
        job_answer_true(self, j);
        return true;
    }
    on_disc = j->schema->storage != STORAGE_RAM;
    if (adopt && c->world.o.disc == NULL)
        on_disc = false; /* other nodes have its records */
    if (!on_disc)
        return start_table(self, j);
    if (c->world.o.disc == NULL)
        job_failed(j, err_note(&j->note, EG_DISC, "this node has no data directory"));
    else if (schema_encode(j->schema, &j->encoded) != EG_OK)
        job_failed(j, EG_MEMORY);
    else
        job_ask_disc(j, (struct disc_request){.kind = DISC_CREATE,
                                              .sync = true,
                                              .name = j->schema->name.text,
                                              .schema = {j->encoded.at, j->encoded.size_bytes}});
    j->step = 1;
    return j->asked == 0 && create_step(self, j);
}

static struct message *family_request(struct actor *self, struct job *j,
                                      enum supervisor_command command) {
    struct child_spec child;
    struct child_key key = {.pid = EG_PID_NONE};

    table_child(j->table, &child);
    memcpy(key.id, child.id, sizeof key.id);
    return supervisor_request(actor_runtime(self), command, &key, sizeof key);
}

static void table_ended(struct table *t) {
    watch_table_ended(t);
    journals_drop(&t->world->journals, schema_of(t)->id);
}

/* Nobody finds it any more, but some may hold it. */
static void discard_end(struct actor *self, struct job *j) {
    bool forgotten = j->disc_table != NULL && j->err == EG_OK;

    if (j->table != NULL) {
        j->table->disc_dropped |= forgotten;
        list_push_back(&j->catalog->dying, &j->table->dying);
        if (!j->undead)            /* else it stays until the tree has ended */
            table_unref(j->table); /* the catalog's own */
    } else if (forgotten) {
        disc_forget(j->catalog->world.o.disc, j->disc_table);
    }
    if (j->cause != EG_OK)
        j->err = j->cause;
    else if (j->table != NULL && j->alter == NULL) /* else another has taken its place */
        table_ended(j->table);
    job_answer_true(self, j);
}

bool job_discard_step(struct actor *self, struct job *j) {
    while (j->asked == 0) {
        enum discard now = j->discard++;

        if (now == DISCARD_DELETE) /* only what could not be asked counts */
            j->undead = j->err == EG_MEMORY || j->err == EG_BUSY;
        if (now != DISCARD_END)
            j->err = EG_OK; /* a disc that refuses the last batch may still forget the table */
        switch (now) {
        case DISCARD_STOP:
            atomic_store_explicit(&j->table->dropped, true, memory_order_release);
            job_ask_shards(self, j, SHARD_STOP);
            break;
        case DISCARD_TERMINATE:
            job_ask_families(self, j, family_request(self, j, SUPERVISOR_TERMINATE_CHILD));
            break;
        case DISCARD_DELETE:
            job_ask_families(self, j, family_request(self, j, SUPERVISOR_DELETE_CHILD));
            break;
        case DISCARD_ON_DISC:
            if (j->disc_table != NULL)
                job_ask_disc(j, (struct disc_request){
                                    .kind = DISC_DROP, .sync = true, .table = j->disc_table});
            break;
        default:
            discard_end(self, j);
            return true;
        }
    }
    return false;
}

static bool drop_step(struct actor *self, struct job *j) {
    if (j->discard != DISCARD_NOT)
        return job_discard_step(self, j);
    j->disc_table = j->table->disc_table;
    if (j->disc_table != NULL) /* one that refuses would not forget the table either */
        j->err = disc_yields(j->catalog->world.o.disc, &j->note);
    if (j->err == EG_OK)
        j->err = names_remove(&j->catalog->names, j->table);
    if (j->err != EG_OK) {
        job_answer_true(self, j);
        return true;
    }
    job_succeed(j->catalog, j->table, NULL);
    j->discard = DISCARD_STOP;
    return job_discard_step(self, j);
}

static bool clear_step(struct actor *self, struct job *j) {
    if (j->step++ == 0) {
        watch_table_clear(j->table);
        job_ask_shards(self, j, SHARD_CLEAR);
        if (j->asked != 0)
            return false;
    }
    watch_table_cleared(j->table, j->err == EG_OK);
    job_answer_true(self, j);
    return true;
}

static void schema_free(void *owner, void *ptr, size_t size_bytes) {
    struct schema *s = ptr;
    schema_fini(s);
    alloc_put(owner, ptr, size_bytes);
}

/* Let the disc remember the job's schema. */
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

/* Let everybody see it. */
void job_publish_schema(struct job *j) {
    struct catalog *c = j->catalog;
    const struct schema *old = schema_of(j->table);

    atomic_store_explicit(&j->table->schema, j->schema, memory_order_release);
    j->schema = NULL;
    epoch_retire(&c->bin, schema_free, alloc_of(c), (void *) old, sizeof *old);
}

/* ---- write_many ------------------------------------------------------------------------- */

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

/* Any record may be refused (a limit, a unique index, the disc), so all are written here in
 * one go, as soon as their shards are idle at once; a sync table's shards then say when
 * they are on disc. */
static void write_all_or_none(struct actor *self, struct job *j, eg_err err) {
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

static bool write_many_step(struct actor *self, struct job *j) {
    struct reader *r = reader_of(j->catalog, self);
    struct value_writer w;
    uint8_t number[9];

    if (j->step++ == 0 && j->err == EG_OK) {
        const struct table_many how = {j->request.ttl_ms, j->request.dirty};
        struct buffer result;
        eg_err err;

        buffer_init(&result, alloc_of(j->catalog), 64);
        err = follow_table(j);
        if (err == EG_OK)
            err = table_many_here(j->table, r, j->request.value, &how, &result, &j->note);
        reader_reset(r);
        buffer_fini(&result);
        if (err != EG_AGAIN || !pass_on(self, j))
            write_all_or_none(self, j, err);
        if (j->asked != 0)
            return false;
    }
    w = value_writer_init(number, sizeof number);
    value_put_u64(&w, j->err == EG_OK ? value_count(j->request.value) : 0);
    answer(self, j, number, w.need_bytes);
    return true;
}

/* ---- stop ---------------------------------------------------------------------------------- */

static bool stop_step(struct actor *self, struct job *j) {
    struct shard_request q = {.op = SHARD_PURGE};
    struct table *const *tables;
    uint32_t count = names_all(&j->catalog->names, &tables);

    if (j->step++ == 0) {
        for (uint32_t i = 0; i < count; i++)
            for (uint32_t n = 0; n < tables[i]->shard_count; n++)
                job_ask_shard(self, j, &tables[i]->shard[n], SHARD_STOP, &q);
        if (j->asked != 0)
            return false;
    }
    job_answer_true(self, j);
    return true;
}

/* ---- the actor --------------------------------------------------------------------------------
 */

struct job_kind {
    bool takes_turns;
    bool alone;    /* begins when no other is under way */
    bool of_table; /* the table must be there */
    bool (*step)(struct actor *self, struct job *j);
};

static const struct job_kind kinds[] = {
    [CATALOG_CREATE] = {true, false, false, create_step},
    [CATALOG_ADOPT] = {true, false, false, create_step},
    [CATALOG_DROP] = {true, false, true, drop_step},
    [CATALOG_CLEAR] = {true, false, true, clear_step},
    [CATALOG_ADD_INDEX] = {true, false, true, job_add_index_step},
    [CATALOG_DROP_INDEX] = {true, false, true, job_drop_index_step},
    [CATALOG_WRITE_MANY] = {false, false, true, write_many_step},
    [CATALOG_SYNC] = {false, false, true, job_sync_step},
    [CATALOG_MOMENT] = {true, false, false, job_moment_step},
    [CATALOG_ALTER] = {true, false, true, job_alter_step},
    [CATALOG_ARRANGE] = {true, false, true, job_alter_step},
    [CATALOG_STOP] = {true, true, false, stop_step},
};

static bool turn_is_taken(const struct catalog *c) {
    for (struct list_node *n = c->jobs.next; n != &c->jobs; n = n->next) {
        const struct job *j = EG_CONTAINER_OF(n, struct job, node);
        if (kinds[j->request.op].takes_turns && !j->retiring)
            return true;
    }
    return false;
}

/* Then even those who take no turns wait, for the milliseconds that it takes. */
static bool moment_is_taken(const struct catalog *c) {
    for (struct list_node *n = c->jobs.next; n != &c->jobs; n = n->next)
        if (EG_CONTAINER_OF(n, struct job, node)->request.op == CATALOG_MOMENT)
            return true;
    return false;
}

static void begin(struct actor *self, struct job *j) {
    struct catalog *c = j->catalog;

    list_remove(&j->node);
    list_push_back(&c->jobs, &j->node);
    if (kinds[j->request.op].of_table) {
        j->table =
            names_find(&c->names, (const char *) j->request.name.at, j->request.name.size_bytes);
        if (j->table == NULL) {
            job_failed(j, EG_NO_TABLE);
            job_answer_true(self, j);
            job_free(j);
            return;
        }
        EG_ASSERT(table_ref(j->table)); /* the catalog holds what has a name */
    }
    if (kinds[j->request.op].step(self, j))
        job_free(j);
}

static bool may_begin(const struct catalog *c, const struct job *j) {
    return kinds[j->request.op].alone ? list_is_empty(&c->jobs) : !turn_is_taken(c);
}

/* Whoever waits for the turn gets it when it is free. */
static void next_turn(struct actor *self, struct catalog *c) {
    while (!list_is_empty(&c->waiting)) {
        struct job *j = EG_CONTAINER_OF(c->waiting.next, struct job, node);

        if (!may_begin(c, j))
            return;
        c->waiting_count--;
        begin(self, j);
    }
}

static void on_call(struct actor *self, struct catalog *c, struct message *m) {
    struct job *j = alloc_zero(alloc_of(c), sizeof *j);

    if (j == NULL || c->waiting_count >= JOBS_WAITING_MAX) {
        actor_reply_bytes(self, m->from, m->ref, j == NULL ? EG_MEMORY : EG_BUSY, NULL, 0);
        alloc_put(alloc_of(c), j, sizeof *j);
        return;
    }
    actor_keep(self, m);
    j->catalog = c;
    j->call = m;
    j->id = ++c->last_job;
    memcpy(&j->request, m->payload, sizeof j->request);
    j->request.name.at = m->payload + sizeof j->request;
    j->request.value.at = j->request.name.at + j->request.name.size_bytes;
    buffer_init(&j->encoded, alloc_of(c), SIZE_MAX);
    disc_batch_init(&j->batch, alloc_of(c));
    list_push_back(&c->waiting, &j->node);
    c->waiting_count++;
    if (!kinds[j->request.op].takes_turns && !moment_is_taken(c)) {
        c->waiting_count--;
        begin(self, j);
    }
}

static struct job *find_job(struct catalog *c, uint64_t id) {
    for (struct list_node *n = c->jobs.next; n != &c->jobs; n = n->next) {
        struct job *j = EG_CONTAINER_OF(n, struct job, node);
        if (j->id == id)
            return j;
    }
    return NULL;
}

/* How an answer went; the first that failed says why. */
static eg_err outcome(struct job *j, const struct message *m) {
    struct err_note why = {""};
    eg_err err = (eg_err) m->tag;

    if (m->tag == CATALOG_DISC_DONE) {
        err = (eg_err) atomic_load(&j->disc_err);
        j->disc_done = NULL;
    }
    if (err == EG_OK || j->err != EG_OK)
        return err;
    if (m->tag != CATALOG_DISC_DONE)
        return err_note(&j->note, err, "%.*s", (int) m->size_bytes, (const char *) m->payload);
    return disc_health(j->catalog->world.o.disc, &why) == EG_OK
               ? err
               : err_note(&j->note, err, "%s", why.text);
}

static void on_answer(struct actor *self, struct catalog *c, const struct message *m) {
    struct job *j = find_job(c, m->ref);
    eg_err err;

    if (j == NULL)
        return;                        /* of a job that ended with an earlier actor */
    if (j->answered && !j->retiring) { /* likewise, and only the disc still had it */
        job_free(j);
        return;
    }
    if (j->asked == 0)
        return; /* told twice: before and after the catalog was restarted */
    err = outcome(j, m);
    if (err != EG_OK)
        job_failed(j, err);
    if (--j->asked == 0 && kinds[j->request.op].step(self, j))
        job_free(j);
}

/* Dropped tables go when the last holder has let go, and then after a grace period. */
static void table_free_late(void *owner, void *ptr, size_t size_bytes) {
    (void) owner;
    (void) size_bytes;
    table_free(ptr);
}

static void bury(struct catalog *c) {
    for (struct list_node *n = c->dying.next, *next; n != &c->dying; n = next) {
        struct table *t = EG_CONTAINER_OF(n, struct table, dying);

        next = n->next;
        if (atomic_load_explicit(&t->refs, memory_order_acquire) != 0)
            continue;
        if (!epoch_try_retire(&c->bin, table_free_late, NULL, t, sizeof *t))
            return; /* the next turn tries again: a table is too much to forget */
        list_remove(n);
    }
}

/* What those who watch the node want to know, as soon as it is seen to be otherwise. */
static void tell_states(struct catalog *c) {
    struct watch_hub *h = c->world.watch;
    bool full = memory_over_limit(c->world.o.budget);
    struct err_note note = {""};
    bool disc_failed = c->world.o.disc != NULL && disc_health(c->world.o.disc, &note) != EG_OK;

    if (full != h->memory_full)
        watch_tell_state(h, WATCH_MEMORY, full ? "full" : "free", NULL);
    if (disc_failed != h->disc_failed)
        watch_tell_state(h, WATCH_DISC, disc_failed ? "failed" : "well",
                         disc_failed ? note.text : NULL);
    h->memory_full = full;
    h->disc_failed = disc_failed;
}

static void tick_jobs(struct actor *self, struct catalog *c) {
    for (struct list_node *n = c->jobs.next, *next; n != &c->jobs; n = next) {
        struct job *j = EG_CONTAINER_OF(n, struct job, node);

        next = n->next;
        if (j->alter != NULL && j->asked == 0 && job_alter_tick(self, j))
            job_free(j);
    }
}

/* A supervisor of all tables that ended has forgotten them, and so each is named again to its
 * successor; one that goes on says that it has them. */
static void revive(struct actor *self, struct catalog *c) {
    struct table *const *tables;
    uint32_t count = names_all(&c->names, &tables);

    for (uint32_t n = 0; n < REVIVED_AT_ONCE && c->revived < EG_MIN(count, c->to_revive); n++) {
        struct child_spec child;
        struct message *m;

        table_child(tables[c->revived], &child);
        m = supervisor_start_child(actor_runtime(self), &child);
        if (m == NULL)
            return;
        if (actor_send(self, catalog_families(c), m) != EG_OK)
            return; /* it is gone again, and so will be who asks */
        c->revived++;
    }
}

/* Where there is no memory for it, the next turn asks again. */
static void start_tick(struct actor *self, struct catalog *c) {
    struct message *m;
    eg_ref timer;

    if (EG_LIKELY(c->ticking))
        return;
    m = message_new(actor_runtime(self), MESSAGE_INFO, 0);
    if (m == NULL)
        return;
    m->tag = CATALOG_TICK;
    c->ticking = actor_start_timer(self, CATALOG_TICK_MS, m, &timer) == EG_OK;
}

static void receive(struct actor *self, void *state, struct message *m) {
    struct catalog *c = *(struct catalog **) state;
    bool open = atomic_load_explicit(&c->open, memory_order_acquire);

    if (m->kind == MESSAGE_CALL) {
        on_call(self, c, m);
    } else if (m->tag == CATALOG_TICK) {
        c->ticking = false;
        watch_hub_tick(c->world.watch);
        tell_states(c);
        revive(self, c);
        if (open)
            epoch_flush(&c->bin);
        tick_jobs(self, c);
    } else if (m->tag == CATALOG_LET_GO) {
        job_moment_late(c, m);
    } else {
        if (m->kind == MESSAGE_TIMEOUT) { /* as if somebody had answered */
            memcpy(&m->ref, m->payload, sizeof m->ref);
            m->tag = EG_OK;
        }
        on_answer(self, c, m);
    }
    start_tick(self, c);
    next_turn(self, c);
    bury(c);
    if (open)
        epoch_sweep(&c->bin);
}

/* A successor finds what its killed predecessor had begun.  Answers that were sent
 * to the dead pid are lost, so every job that waited for one ends here; the disc's
 * work goes on by itself and is only waited for. */
static void take_over(struct actor *self, struct catalog *c) {
    for (struct list_node *n = c->jobs.next, *next; n != &c->jobs; n = next) {
        struct job *j = EG_CONTAINER_OF(n, struct job, node);

        next = n->next;
        if (j->alter != NULL) {
            if (job_alter_resume(self, j))
                job_free(j);
            continue;
        }
        if (!j->answered &&
            (j->request.op == CATALOG_ADD_INDEX || j->request.op == CATALOG_DROP_INDEX)) {
            if (j->table != NULL && job_index_resume(self, j))
                job_free(j);
            continue;
        }
        if (!j->answered) {
            if (j->request.op == CATALOG_CLEAR && j->table != NULL)
                watch_table_cleared(j->table, false); /* some shards may be */
            job_failed(j, err_note(&j->note, EG_TIMEOUT, "the catalog was restarted meanwhile"));
            job_answer_true(self, j);
        }
        if (j->disc_done == NULL || atomic_load(&j->disc_ended))
            job_free(j);
    }
}

/* The actor ends, perhaps killed: nobody may wait for what it holds. */
static void let_all_go(struct cleanup *cleanup) {
    struct catalog *c = EG_CONTAINER_OF(cleanup, struct catalog, let_go);

    for (struct list_node *n = c->jobs.next; n != &c->jobs; n = n->next)
        job_moment_let_go(EG_CONTAINER_OF(n, struct job, node));
}

static eg_err init(struct actor *self, void *state, const void *arg) {
    struct catalog *c = (struct catalog *) arg;
    eg_pid pid = actor_pid(self);
    struct table *const *tables;

    *(struct catalog **) state = c;
    c->let_go = (struct cleanup){.run = let_all_go};
    actor_on_exit(self, &c->let_go);
    atomic_store(&c->pid, (uint64_t) pid.slot << 32 | pid.generation);
    take_over(self, c);
    c->ticking = false; /* a predecessor's timer went with it */
    c->revived = 0;
    c->to_revive = names_all(&c->names, &tables);
    revive(self, c);
    start_tick(self, c);
    return EG_OK;
}

void catalog_child(struct catalog *c, struct child_spec *out) {
    static const struct actor_ops ops = {.name = "catalog",
                                         .state_bytes = sizeof(struct catalog *),
                                         .init = init,
                                         .receive = receive};

    *out = (struct child_spec){.id = "catalog",
                               .kind = CHILD_ACTOR,
                               .restart = PERMANENT,
                               .actor = &ops,
                               .arg = c,
                               .scheduler = SPAWN_ON(0),
                               .mailbox_bound = MAILBOX_BOUND_DEFAULT};
}
