/* catalog_index.c -- indexes come to and go from a live table.
 *
 *     ADD_INDEX   shards: build -> (unique) enforce -> verify -> [disc: schema] -> publish the
 * schema DROP_INDEX  [disc: schema] -> publish the schema -> shards: drop
 *
 * Readers use an index when the schema names it, which is after all shards have it
 * whole; a table that is read back from disc builds what its schema names, so an index
 * that a kill caught half built is none.
 *
 * A unique one is first whole in all shards, then kept unique by all of them, and only then
 * looked through: what was written before is found, what is written since was checked. */
#include "tables/catalog_job.h"
#include "engine/env.h"
#include "tables/index.h"
#include "tables/shard_actor.h"
#include "tables/watch_private.h"

enum { DROP_PATIENCE_MS = 10 * 1000 }; /* for shards that are being replaced */

/* Begin the next schema: a copy of the table's. */
static eg_err copy_schema(struct job *j) {
    struct alloc *a = j->catalog->world.o.alloc;
    eg_err err;

    j->schema = alloc_get(a, sizeof *j->schema);
    if (j->schema == NULL)
        return EG_MEMORY;
    err = schema_copy(j->schema, schema_of(j->table));
    if (err != EG_OK) {
        alloc_put(a, j->schema, sizeof *j->schema);
        j->schema = NULL;
        return err;
    }
    j->schema->version++;
    return EG_OK;
}

/* Has any shard the index still?  One whose actor was killed has not heard. */
static bool is_there(const struct job *j) {
    for (uint32_t i = 0; i < j->table->shard_count; i++)
        for (uint32_t n = 0; n < SCHEMA_INDEXES_MAX; n++) {
            const struct index *x = atomic_load(&j->table->shard[i].index[n].index);
            if (x != NULL && index_spec(x)->id == j->index.id)
                return true;
        }
    return false;
}

/* Ask all shards to drop the index; true when they have, or cannot be asked. */
static bool drop_everywhere(struct actor *self, struct job *j) {
    uint64_t now_ns = env_now_ns(j->catalog->world.o.env);

    if (j->deadline_ns == 0)
        j->deadline_ns = now_ns + (uint64_t) DROP_PATIENCE_MS * 1000000;
    if (is_there(j) && now_ns < j->deadline_ns) {
        job_ask_shards(self, j, SHARD_INDEX_DROP);
        job_step_later(self, j, 1); /* who is being replaced is not there yet */
    }
    return j->asked == 0;
}

/* ---- add ------------------------------------------------------------------------ */

static eg_err begin_add(struct job *j) {
    const struct schema *s = schema_of(j->table);
    eg_err err = index_spec_parse(&j->index, schema_attributes(s), j->request.value, &j->note);

    if (err == EG_OK)
        err = copy_schema(j);
    if (err == EG_OK)
        err = schema_add_index(j->schema, &j->index, &j->note);
    if (err == EG_OK) /* with the id it got */
        j->index = *j->schema->index[j->schema->index_count - 1];
    return err;
}

enum add_step { ADD_BUILD, ADD_ENFORCE, ADD_VERIFY, ADD_STORE, ADD_PUBLISH, ADD_END };

bool job_add_index_step(struct actor *self, struct job *j) {
    switch ((enum add_step) j->step++) {
    case ADD_BUILD:
        j->err = begin_add(j);
        if (j->err != EG_OK)
            break;
        job_ask_shards(self, j, SHARD_INDEX_BUILD);
        if (j->asked != 0)
            return false;
        j->step++;
        /* fall through */
    case ADD_ENFORCE:
        if (j->err == EG_OK && j->index.unique)
            job_ask_shards(self, j, SHARD_UNIQUE_ENFORCE);
        if (j->asked != 0)
            return false;
        j->step++;
        /* fall through */
    case ADD_VERIFY:
        if (j->err == EG_OK && j->index.unique)
            job_ask_shards(self, j, SHARD_UNIQUE_VERIFY);
        if (j->asked != 0)
            return false;
        j->step++;
        /* fall through */
    case ADD_STORE:
        if (j->err == EG_OK)
            job_store_schema(j);
        if (j->asked != 0)
            return false;
        j->step++;
        /* fall through */
    case ADD_PUBLISH:
        if (j->err == EG_OK) {
            job_publish_schema(j);
            watch_table_changed(j->table, "add_index", j->request.value);
            break;
        }
        /* fall through */
    default: /* of those that have built theirs */
        if (!drop_everywhere(self, j))
            return false;
        break;
    }
    job_answer_true(self, j);
    return true;
}

/* ---- drop ----------------------------------------------------------------------- */

/* Does the name lead to an attribute, so that there might be an index? */
static bool could_be(const struct job *j, struct value name) {
    struct index_spec x;
    struct err_note ignored;

    return value_is_string(name, schema_of(j->table)->attributes[0].text) ||
           index_spec_parse(&x, schema_attributes(schema_of(j->table)), name, &ignored) == EG_OK;
}

static eg_err begin_drop(struct job *j) {
    const struct index_spec *x = NULL;
    const uint8_t *at;
    uint32_t bytes;
    eg_err err;

    if (j->request.value.size_bytes == 0 || value_kind_of(j->request.value) != VALUE_STRING ||
        !value_get_bytes(j->request.value, &at, &bytes))
        return err_note(&j->note, EG_BAD_REQUEST, "an index's name is a string");
    x = schema_index(schema_of(j->table), (const char *) at, bytes);
    if (x == NULL)
        return err_note(&j->note, could_be(j, j->request.value) ? EG_NOT_FOUND : EG_BAD_REQUEST,
                        "there is no index on %.*s", (int) EG_MIN(bytes, 64u), (const char *) at);
    j->index = *x;
    err = copy_schema(j);
    if (err == EG_OK)
        schema_drop_index(j->schema, j->index.id);
    return err;
}

bool job_drop_index_step(struct actor *self, struct job *j) {
    switch (j->step++) {
    case 0:
        j->err = begin_drop(j);
        if (j->err != EG_OK)
            break;
        job_store_schema(j);
        if (j->asked != 0)
            return false;
        j->step++;
        /* fall through */
    case 1:
        if (j->err != EG_OK)
            break;
        job_publish_schema(j);
        watch_table_changed(j->table, "drop_index", j->request.value);
        j->dropping = true;
        /* fall through */
    default:
        j->err = j->dropping ? EG_OK : j->err; /* nobody reads it */
        if (j->dropping && !drop_everywhere(self, j))
            return false;
        break;
    }
    job_answer_true(self, j);
    return true;
}

/* ---- after a kill ------------------------------------------------------------------ */

/* What the disc was asked, it does, and that decides.  What shards were asked, they do too, but
 * their answers are lost: an index that they were building is dropped. */
bool job_index_resume(struct actor *self, struct job *j) {
    bool add = j->request.op == CATALOG_ADD_INDEX;

    j->asked = 0;
    if (j->disc_done != NULL && !atomic_load(&j->disc_ended)) {
        j->asked = 1;
        return false;
    }
    if (j->disc_done != NULL) {
        j->disc_done = NULL;
        job_failed(j, (eg_err) atomic_load(&j->disc_err));
    } else if (add && j->step <= ADD_STORE) {
        job_failed(j, err_note(&j->note, EG_TIMEOUT, "the catalog was restarted meanwhile"));
        j->step = ADD_PUBLISH;
    }
    return add ? job_add_index_step(self, j) : job_drop_index_step(self, j);
}
