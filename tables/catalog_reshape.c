/* catalog_reshape.c -- the job that changes a table's shape (reshape.h).
 *
 *     MAKE      [disc: a table without a schema] -> open the new table, without actors
 *     FILL      old shards: reshape
 *     FREEZE    old shards: freeze; from here on their calls wait
 *     START     the new table's actors
 *     SWITCH    [disc: the new schema comes and the old one goes, in one batch]
 *     MOVE      the name means the new table; old shards: send on what waited
 *     FORGET    [disc: drop the old rows] -> answer
 *     RETIRE    nobody can have found the old table -> its shards: stop -> free it
 *
 *     GIVE_UP   before SWITCH is through: old shards: abandon -> take the new table to pieces
 *
 * A crash before SWITCH is on disc finds the old table and rows without a schema, which
 * open() removes; after it, the new table and the old rows without a schema.
 *
 * RETIRE is done while other changes begin.  Where a step could not even be asked for
 * lack of memory, MOVE and GIVE_UP ask again at the next tick: others wait for them. */
#include "engine/env.h"
#include "engine/supervisor.h"
#include "tables/arrange.h"
#include "tables/catalog_job.h"
#include "tables/reshape.h"
#include "tables/shard_actor.h"
#include "tables/watch_private.h"

#include <stdio.h>
#include <string.h>

enum {
    RETIRE_TICKS = 2,  /* for messages that were on their way when the name changed */
    UNSEEN_TICKS = 50, /* for a reader that is stuck: who comes later hears EG_BUSY */
};

enum alter_stage {
    ALTER_BEGIN,
    ALTER_IN_PLACE,
    ALTER_MAKE,
    ALTER_FILL,
    ALTER_FREEZE,
    ALTER_START,
    ALTER_SWITCH,
    ALTER_MOVE,
    ALTER_FORGET,
    ALTER_RETIRE,
    ALTER_GIVE_UP,
    ALTER_DISCARD,
};

struct alter_job {
    struct table *old;       /* the job has a reference of its own */
    struct table *fresh;     /* likewise, once it is open          */
    struct reshape *reshape; /* until the old table has it         */
    struct conversion conversion;
    bool has_conversion;
    struct name_set *names; /* room for the switch */
    uint32_t ticks;
};

static struct alloc *alloc_of(const struct job *j) {
    return j->catalog->world.o.alloc;
}

static bool on_disc(const struct table *t) {
    return t->disc_table != NULL;
}

void job_alter_free(struct job *j) {
    struct alter_job *a = j->alter;

    if (a->has_conversion)
        conversion_fini(&a->conversion);
    names_unreserve(&j->catalog->names, a->names);
    if (a->fresh != NULL) {
        atomic_store_explicit(&a->fresh->settling, false, memory_order_release);
        table_unref(a->fresh);
    }
    table_unref(a->old);
    alloc_put(alloc_of(j), a, sizeof *a);
    j->alter = NULL;
}

static void point_to(struct table *t, const struct table *from, struct table *to) {
    if (atomic_load_explicit(&t->successor, memory_order_relaxed) == from)
        atomic_store_explicit(&t->successor, to, memory_order_release);
}

void job_succeed(struct catalog *c, const struct table *t, struct table *now) {
    for (struct list_node *n = c->dying.next; n != &c->dying; n = n->next)
        point_to(EG_CONTAINER_OF(n, struct table, dying), t, now);
    for (struct list_node *n = c->jobs.next; n != &c->jobs; n = n->next) {
        struct job *j = EG_CONTAINER_OF(n, struct job, node);
        if (j->alter != NULL && j->retiring)
            point_to(j->alter->old, t, now);
    }
}

/* ---- what each stage asks ------------------------------------------------------------- */

static void ask_old(struct actor *self, struct job *j, uint32_t tag) {
    struct reshape *x = j->alter->old->reshape;
    struct shard_request q = {.op = SHARD_PURGE,
                              .value = {(const uint8_t *) &x, sizeof x}}; /* of RESHAPE */

    for (uint32_t i = 0; i < j->alter->old->shard_count; i++)
        job_ask_shard(self, j, &j->alter->old->shard[i], tag, &q);
}

/* Others have its records on disc, or will. */
static bool may_lack_disc(const struct job *j) {
    return j->catalog->world.o.disc == NULL &&
           (j->alter->conversion.decided || schema_of(j->table)->storage != STORAGE_RAM);
}

static void ask_make(struct job *j) {
    struct schema *s = j->schema;
    struct disc *disc = j->catalog->world.o.disc;
    uint64_t number;

    s->stored_name = s->name;
    if (s->storage == STORAGE_RAM || may_lack_disc(j))
        return;
    if (disc == NULL) {
        job_failed(j, err_note(&j->note, EG_DISC, "this node has no data directory"));
        return;
    }
    number = env_random(j->catalog->world.o.env);
    /* No table's name has so strange a beginning, and no other table this number. */
    s->stored_name.size_bytes = (uint8_t) snprintf(s->stored_name.text, SCHEMA_NAME_MAX,
                                                   "\x01%016llx", (unsigned long long) number);
    job_ask_disc(
        j, (struct disc_request){.kind = DISC_CREATE, .sync = true, .name = s->stored_name.text});
}

static void ask_start(struct actor *self, struct job *j) {
    struct child_spec child;

    table_child(j->alter->fresh, &child);
    job_ask_families(self, j, supervisor_start_child(actor_runtime(self), &child));
}

static void ask_switch(struct job *j) {
    struct table *old = j->alter->old, *fresh = j->alter->fresh;
    const struct schema *s = schema_of(fresh);
    struct disc *disc = j->catalog->world.o.disc;
    eg_err err = EG_OK;

    disc_batch_reset(&j->batch);
    buffer_clear(&j->encoded);
    if (on_disc(fresh))
        err = schema_encode(s, &j->encoded);
    if (err == EG_OK && on_disc(fresh))
        err = disc_batch_put_schema(&j->batch, disc, s->stored_name.text,
                                    (struct disc_bytes){j->encoded.at, j->encoded.size_bytes});
    if (err == EG_OK && on_disc(old))
        err = disc_batch_del_schema(&j->batch, disc, schema_of(old)->stored_name.text);
    if (err != EG_OK)
        job_failed(j, err);
    else if (j->batch.count != 0)
        job_ask_disc(j,
                     (struct disc_request){.kind = DISC_WRITE, .sync = true, .batch = &j->batch});
}

static void ask_forget(struct job *j) {
    struct table *old = j->alter->old;

    if (on_disc(old))
        job_ask_disc(
            j, (struct disc_request){.kind = DISC_DROP, .sync = true, .table = old->disc_table});
}

static void ask(struct actor *self, struct job *j) {
    switch ((enum alter_stage) j->step) {
    case ALTER_IN_PLACE:
        job_store_schema(j);
        break;
    case ALTER_MAKE:
        ask_make(j);
        break;
    case ALTER_FILL:
        ask_old(self, j, SHARD_RESHAPE);
        break;
    case ALTER_FREEZE:
        ask_old(self, j, SHARD_FREEZE);
        break;
    case ALTER_START:
        ask_start(self, j);
        break;
    case ALTER_SWITCH:
        ask_switch(j);
        break;
    case ALTER_MOVE:
        ask_old(self, j, SHARD_MOVE);
        break;
    case ALTER_FORGET:
        ask_forget(j);
        break;
    case ALTER_GIVE_UP:
        if (j->alter->old->reshape != NULL)
            ask_old(self, j, SHARD_ABANDON);
        break;
    default:
        break;
    }
}

static void enter(struct actor *self, struct job *j, enum alter_stage stage) {
    j->step = stage;
    ask(self, j);
}

/* ---- what is done between ----------------------------------------------------------------- */

static bool is_renamed(const struct alter *x, const struct schema *old) {
    return strcmp(x->schema->name.text, old->name.text) != 0;
}

/* What the request means; false: there is nothing to do, or it is refused. */
static bool begin(struct job *j) {
    const struct schema *old = schema_of(j->table);
    bool arrange = j->request.op == CATALOG_ARRANGE;
    struct alter x;
    eg_err err = arrange ? arrange_open(&x, alloc_of(j), old, j->request.value, &j->note)
                         : alter_open(&x, alloc_of(j), old, j->request.value, &j->note);

    if (err == EG_OK && is_renamed(&x, old) &&
        names_find(&j->catalog->names, x.schema->name.text, x.schema->name.size_bytes) != NULL) {
        alter_close(&x);
        err = err_note(&j->note, EG_EXISTS, "there is a table of that name");
    }
    if (err != EG_OK) {
        job_failed(j, err);
        return false;
    }
    x.conversion.decided |= j->request.decided;
    j->alter = alloc_zero(alloc_of(j), sizeof *j->alter);
    if (j->alter == NULL) {
        alter_close(&x);
        job_failed(j, EG_MEMORY);
        return false;
    }
    EG_ASSERT(table_ref(j->table)); /* the job has one already */
    j->alter->old = j->table;
    j->alter->conversion = x.conversion;
    j->alter->has_conversion = true;
    j->schema = x.schema;
    j->step = x.in_place ? ALTER_IN_PLACE : ALTER_MAKE;
    return true;
}

/* The new table, which nobody knows yet, and what fills it. */
static void open_fresh(struct job *j) {
    struct alter_job *a = j->alter;
    eg_err err;

    j->disc_table = j->schema->storage == STORAGE_RAM || may_lack_disc(j) ? NULL : j->disc.table;
    err = table_open(&j->fresh, &j->catalog->world, j->schema, j->disc_table);
    j->schema = NULL; /* the table's, or gone */
    if (err == EG_OK) {
        EG_ASSERT(table_ref(j->fresh));
        a->fresh = j->fresh;
        a->has_conversion = false;
        if (a->conversion.same)
            a->fresh->shape = a->old->shape;
        err = reshape_open(&a->old->reshape, a->old, a->fresh, &a->conversion);
    }
    if (err == EG_OK) {
        a->names = names_reserve(&j->catalog->names);
        err = a->names == NULL ? EG_MEMORY : EG_OK;
    }
    job_failed(j, err);
}

/* Those who watch the table hear what was done to which attribute. */
static void tell_altered(struct table *t, struct value change) {
    struct value_iter it = value_iter_of(change);
    struct value verb, word;
    char name[32];
    const uint8_t *at;
    uint32_t size_bytes;

    EG_ASSERT(value_iter_next(&it, &verb) && value_iter_next(&it, &word)); /* alter_open() */
    EG_ASSERT(value_get_bytes(verb, &at, &size_bytes) && size_bytes < sizeof name);
    memcpy(name, at, size_bytes);
    name[size_bytes] = '\0';
    watch_table_changed(t, name, value_kind_of(word) == VALUE_STRING ? word : (struct value){0});
}

/* And what it was called before, where it is called otherwise now. */
static void tell_arranged(struct table *t, const struct table *old) {
    uint8_t at[SCHEMA_NAME_MAX + 8];
    struct value_writer w = value_writer_init(at, sizeof at);

    value_put_string(&w, old->name.text, old->name.size_bytes);
    if (strcmp(t->name.text, old->name.text) != 0)
        watch_table_changed(t, "rename_table", (struct value){at, (uint32_t) w.need_bytes});
    else
        watch_table_changed(t, "merge", (struct value){NULL, 0});
}

static void tell(struct job *j, struct table *t) {
    if (j->request.op == CATALOG_ARRANGE)
        tell_arranged(t, j->alter->old);
    else
        tell_altered(t, j->request.value);
}

/* The name means the new table from here on. */
static void publish(struct job *j) {
    struct catalog *c = j->catalog;
    struct alter_job *a = j->alter;

    atomic_store_explicit(&a->fresh->settling, true, memory_order_release);
    names_replace(&c->names, a->names, a->old, a->fresh);
    a->names = NULL;
    job_succeed(c, a->old, a->fresh);
    watch_table_succeeded(a->old, a->fresh);
    tell(j, a->fresh);
}

static void table_unseen(void *owner, void *ptr, size_t size_bytes) {
    struct table *t = ptr;

    (void) owner;
    (void) size_bytes;
    atomic_store(&t->unseen, true);
}

static void retire(struct actor *self, struct job *j) {
    struct alter_job *a = j->alter;

    a->old->disc_dropped = on_disc(a->old) && j->err == EG_OK;
    j->err = EG_OK; /* the change is made, whatever stays behind on the disc */
    job_answer_true(self, j);
    j->retiring = true;
    j->step = ALTER_RETIRE;
    epoch_retire(&j->catalog->bin, table_unseen, NULL, a->old, sizeof *a->old);
}

/* From here on the job is about the new table alone. */
static bool discard(struct actor *self, struct job *j) {
    struct alter_job *a = j->alter;

    if (a->old->reshape != NULL) {
        reshape_close(a->old->reshape);
        a->old->reshape = NULL;
    }
    table_unref(j->table);
    j->table = NULL;
    j->step = ALTER_DISCARD;
    j->discard = DISCARD_ON_DISC;
    if (a->fresh != NULL) {
        EG_ASSERT(table_ref(a->fresh));
        j->table = a->fresh;
        j->discard = DISCARD_STOP;
    }
    return job_discard_step(self, j);
}

static void give_up(struct actor *self, struct job *j) {
    j->cause = j->err;
    j->err = EG_OK;
    enter(self, j, ALTER_GIVE_UP);
}

static bool stopping(const struct catalog *c) {
    for (struct list_node *n = c->waiting.next; n != &c->waiting; n = n->next)
        if (EG_CONTAINER_OF(n, struct job, node)->request.op == CATALOG_STOP)
            return true;
    return false;
}

/* ---- the steps -------------------------------------------------------------------------- */

static bool answer_now(struct actor *self, struct job *j) {
    job_answer_true(self, j);
    return true;
}

/* Everybody who was asked in this stage has answered.  True: the job is over. */
static bool advance(struct actor *self, struct job *j) {
    bool ok = j->err == EG_OK;

    if (j->step == ALTER_START && j->err == EG_EXISTS) { /* asked twice: job_alter_resume() */
        j->err = EG_OK;
        ok = true;
    }
    switch ((enum alter_stage) j->step) {
    case ALTER_IN_PLACE:
        if (ok) {
            job_publish_schema(j);
            tell(j, j->table);
        }
        return answer_now(self, j);
    case ALTER_MAKE:
        if (!ok)
            return answer_now(self, j);
        open_fresh(j);
        if (j->err == EG_OK)
            enter(self, j, ALTER_FILL);
        else
            give_up(self, j);
        return false;
    case ALTER_FILL:
    case ALTER_FREEZE:
    case ALTER_START:
        if (ok)
            enter(self, j, (enum alter_stage) j->step + 1);
        else
            give_up(self, j);
        return false;
    case ALTER_SWITCH:
        if (!ok) {
            give_up(self, j);
            return false;
        }
        publish(j);
        enter(self, j, ALTER_MOVE);
        return false;
    case ALTER_MOVE:
        if (ok)
            enter(self, j, ALTER_FORGET);
        return false; /* else the tick asks again */
    case ALTER_FORGET:
        retire(self, j);
        return false;
    case ALTER_GIVE_UP:
        return ok && discard(self, j);
    case ALTER_DISCARD:
        return job_discard_step(self, j);
    default:
        return false; /* RETIRE: at a tick */
    }
}

/* A stage may have nobody to ask: then the next one comes at once. */
static bool run(struct actor *self, struct job *j) {
    while (j->asked == 0) {
        uint32_t step = j->step;

        if (advance(self, j))
            return true;
        if (j->step == step)
            return false; /* it waits for something else */
    }
    return false;
}

bool job_alter_step(struct actor *self, struct job *j) {
    if (j->step != ALTER_BEGIN)
        return j->retiring && j->discard != DISCARD_NOT ? job_discard_step(self, j) : run(self, j);
    if (!begin(j))
        return answer_now(self, j);
    ask(self, j);
    return run(self, j);
}

bool job_alter_tick(struct actor *self, struct job *j) {
    struct alter_job *a = j->alter;
    bool seen = !atomic_load(&a->old->unseen) && a->ticks < UNSEEN_TICKS;

    if (j->step == ALTER_MOVE || j->step == ALTER_GIVE_UP) {
        j->err = EG_OK;
        ask(self, j);
        return run(self, j);
    }
    if (j->step != ALTER_RETIRE || j->discard != DISCARD_NOT)
        return false;
    a->ticks++;
    if (seen || (a->ticks < RETIRE_TICKS && !stopping(j->catalog)))
        return false;
    j->disc_table = NULL;
    j->discard = DISCARD_STOP;
    return job_discard_step(self, j);
}

/* Answers of shards and supervisors were lost, so they are asked again: they answer twice
 * alike.  The disc's outcome is in the job. */
bool job_alter_resume(struct actor *self, struct job *j) {
    bool disc = j->disc_done != NULL;

    j->asked = 0;
    if (disc && !atomic_load(&j->disc_ended)) {
        j->asked = 1;
        return false;
    }
    if (disc) {
        j->disc_done = NULL;
        job_failed(j, (eg_err) atomic_load(&j->disc_err));
    } else if (j->discard == DISCARD_NOT) {
        ask(self, j);
    }
    return j->discard != DISCARD_NOT ? job_discard_step(self, j) : run(self, j);
}
