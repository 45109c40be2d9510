/* catalog_create.c -- tables that come, are emptied, go, and stop with the node. */
#include "engine/env.h"
#include "engine/supervisor.h"
#include "tables/catalog_job.h"
#include "tables/shard_actor.h"
#include "tables/watch_private.h"

#include <string.h>

/* ---- CREATE, ADOPT ----------------------------------------------------------------------- */

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

static bool publish_table(struct actor *self, struct job *j) {
    if (j->err == EG_OK)
        job_failed(j, names_add(&j->catalog->names, j->fresh));
    if (j->err != EG_OK)
        return give_up(self, j);
    watch_table_changed(j->fresh, "create", (struct value){NULL, 0});
    job_answer_true(self, j);
    return true;
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

/* As the request has it; the rest is this node's to say, unless it adopts another's. */
static eg_err make_schema(struct job *j) {
    struct catalog *c = j->catalog;
    struct schema *schema = alloc_zero(catalog_alloc(c), sizeof *schema);
    eg_err err = schema == NULL
                     ? EG_MEMORY
                     : schema_parse(schema, catalog_alloc(c), (const char *) j->request.name.at,
                                    j->request.name.size_bytes, j->request.value, &j->note);

    if (err != EG_OK) {
        if (schema != NULL)
            alloc_put(catalog_alloc(c), schema, sizeof *schema);
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

bool job_create_step(struct actor *self, struct job *j) {
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
    return j->asked == 0 && job_create_step(self, j);
}

/* ---- DROP, and what could not be made ---------------------------------------------------- */

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

bool job_drop_step(struct actor *self, struct job *j) {
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

/* ---- CLEAR, STOP ------------------------------------------------------------------------- */

bool job_clear_step(struct actor *self, struct job *j) {
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

bool job_stop_step(struct actor *self, struct job *j) {
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
