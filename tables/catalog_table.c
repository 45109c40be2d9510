/* catalog_table.c -- making tables: fresh, or from what the disc remembers. */
#include "engine/env.h"
#include "engine/foreign.h"
#include "engine/runtime.h"
#include "engine/supervisor.h"
#include "tables/catalog_private.h"
#include "tables/disc.h"
#include "tables/watch_private.h"
#include "tables/reshape.h"

#include <stdio.h>
#include <string.h>

/* Of shards: then all of the table's begin again.  Their data outlives them. */
enum { TABLE_RESTARTS = 16, TABLE_RESTARTS_MS = 10 * 1000 };

static void close_shards(struct table *t, uint32_t count) {
    while (count-- > 0)
        shard_close(&t->shard[count]);
}

static size_t table_bytes(uint32_t shards) {
    return sizeof(struct table) + shards * sizeof(struct shard);
}

eg_err table_open(struct table **out, struct world *w, struct schema *schema,
                  struct disc_table *disc_table) {
    /* mapped: its shards want cache lines of their own */
    struct table *t = alloc_map(w->o.alloc, table_bytes(schema->shards));
    eg_err err = EG_MEMORY;
    uint32_t opened = 0;

    if (t == NULL)
        goto free_schema;
    t->world = w;
    t->name = schema->name;
    t->seed = schema->seed;
    t->family = schema->id + schema->version * UINT64_C(0x9e3779b97f4a7c15); /* spreads */
    t->shape = t->family;
    t->node = runtime_node(w->o.runtime);
    t->shard_count = schema->shards;
    t->type = schema->type;
    t->storage = w->o.disc == NULL ? STORAGE_RAM : schema->storage; /* others may have discs */
    t->disc_table = disc_table;
    atomic_init(&t->schema, schema);
    atomic_init(&t->refs, 1);
    atomic_init(&t->budget.limit_bytes, schema->cache ? 0 : (int64_t) schema->max_bytes);
    for (; opened < t->shard_count; opened++) {
        err = shard_open(&t->shard[opened], t, opened);
        if (err != EG_OK)
            goto close_shards;
    }
    *out = t;
    return EG_OK;

close_shards:
    close_shards(t, opened);
    alloc_unmap(w->o.alloc, t, table_bytes(schema->shards));
free_schema:
    schema_fini(schema);
    alloc_put(w->o.alloc, schema, sizeof *schema);
    return err;
}

static void shard_at(const void *children, uint32_t index, struct child_spec *out) {
    struct table *t = (struct table *) children;
    shard_child(&t->shard[index], out);
}

void table_child(struct table *t, struct child_spec *out) {
    *out = (struct child_spec){.kind = CHILD_SUPERVISOR,
                               .restart = PERMANENT, /* it gives up as shutdown does */
                               .shutdown_ms = SHUTDOWN_INFINITY,
                               .supervisor = {.label = t->name.text,
                                              .strategy = ONE_FOR_ONE,
                                              .intensity = TABLE_RESTARTS,
                                              .period_ms = TABLE_RESTARTS_MS,
                                              .children = t,
                                              .child_count = t->shard_count,
                                              .child_at = shard_at}};
    snprintf(out->id, sizeof out->id, "table %016llx", (unsigned long long) t->family);
}

void table_free(struct table *t) {
    struct schema *schema = (struct schema *) schema_of(t);
    struct alloc *a = t->world->o.alloc;

    watch_table_forget(t);
    if (t->reshape != NULL)
        reshape_close(t->reshape);
    close_shards(t, t->shard_count);
    if (t->disc_dropped)
        disc_forget(t->world->o.disc, t->disc_table);
    alloc_unmap(a, t, table_bytes(schema->shards));
    schema_fini(schema);
    alloc_put(a, schema, sizeof *schema);
}

/* ---- recovery ------------------------------------------------------------------------ */

struct recovery {
    struct catalog *catalog;
    struct foreign *foreign;
    struct err_note *note;
    eg_err err; /* the first; the rest is passed over */
    const char *name;
    uint64_t records;  /* of this table, earlier shards */
    uint64_t reported; /* when the log last heard of it */
    uint64_t reported_ns;
};

enum { RECOVERY_REPORT_MS = 1000, CATALOG_START_MS = 30 * 1000 };

static void progress(void *context, uint64_t records) {
    struct recovery *y = context;
    struct env *env = y->catalog->world.o.env;
    uint64_t now_ns = env_now_ns(env);

    if (now_ns - y->reported_ns < (uint64_t) RECOVERY_REPORT_MS * 1000000)
        return;
    y->reported_ns = now_ns;
    env_log(env, ENV_LOG_INFO, "recover", "%s: %llu records so far", y->name,
            (unsigned long long) (y->records + records));
}

static eg_err recover_shards(struct recovery *y, struct table *t) {
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < t->shard_count && err == EG_OK; i++) {
        err = shard_recover(&t->shard[i], progress, y, y->note);
        y->records += t->shard[i].store->ops->stats(t->shard[i].store).count;
    }
    return err;
}

static eg_err parse_stored(struct recovery *y, const char *name, struct disc_bytes stored,
                           struct schema **out) {
    struct alloc *a = y->catalog->world.o.alloc;
    struct schema *schema = alloc_get(a, sizeof *schema);
    struct value options = {stored.at, (uint32_t) stored.size_bytes};
    size_t used_bytes;
    eg_err err;

    if (schema == NULL)
        return EG_MEMORY;
    if (value_scan(stored.at, stored.size_bytes, &used_bytes) != EG_OK ||
        used_bytes != stored.size_bytes)
        err = err_note(y->note, EG_CORRUPT, "its stored schema is damaged");
    else
        err = schema_parse(schema, a, name, strlen(name), options, y->note);
    if (err != EG_OK) {
        alloc_put(a, schema, sizeof *schema);
        return err;
    }
    *out = schema;
    return EG_OK;
}

static eg_err start_table(struct recovery *y, struct table *t) {
    struct runtime *rt = y->catalog->world.o.runtime;
    struct child_spec child;
    struct message *m, *reply;
    eg_err err;

    table_child(t, &child);
    m = supervisor_start_child(rt, &child);
    if (m == NULL)
        return EG_MEMORY;
    err = foreign_call(y->foreign, catalog_families(y->catalog), m, CATALOG_START_MS, &reply);
    if (err != EG_OK)
        return err;
    err = (eg_err) reply->tag;
    message_free(rt, reply);
    return err;
}

static eg_err recover_table(struct recovery *y, const char *name, struct disc_table *disc_table,
                            struct disc_bytes stored) {
    struct catalog *c = y->catalog;
    uint64_t start_ns = env_now_ns(c->world.o.env);
    struct schema *schema;
    struct table *t;
    eg_err err = parse_stored(y, name, stored, &schema);

    if (err != EG_OK)
        return err;
    name = schema->name.text; /* the disc's may be another */
    y->name = name;
    y->records = 0;
    y->reported_ns = start_ns;
    err = table_open(&t, &c->world, schema, disc_table);
    if (err != EG_OK)
        return err;
    err = recover_shards(y, t);
    if (err == EG_OK)
        err = names_add(&c->names, t);
    if (err != EG_OK) {
        table_free(t);
        return err;
    }
    err = start_table(y, t); /* whoever has the names stops what was started */
    if (err != EG_OK)
        return err;
    env_log(c->world.o.env, ENV_LOG_INFO, "recover", "%s: %llu records in %llu ms", name,
            (unsigned long long) y->records,
            (unsigned long long) ((env_now_ns(c->world.o.env) - start_ns) / 1000000));
    return EG_OK;
}

static void found_table(void *ctx, const char *name, struct disc_table *t,
                        struct disc_bytes stored) {
    struct recovery *y = ctx;

    if (y->err != EG_OK)
        return;
    y->err = recover_table(y, name, t, stored);
    if (y->err != EG_OK)
        err_note_prefix(y->note, "table %s", name);
}

static bool is_known(void *context, uint64_t id) {
    struct catalog *c = context;
    struct table *const *tables;
    uint32_t count = names_all(&c->names, &tables);

    for (uint32_t i = 0; i < count; i++)
        if (schema_of(tables[i])->id == id)
            return true;
    return false;
}

eg_err catalog_recover(struct catalog *c, struct foreign *f, struct err_note *note) {
    struct recovery y = {.catalog = c, .foreign = f, .note = note, .err = EG_OK};
    eg_err err;

    if (c->world.o.disc == NULL)
        return EG_OK;
    err = disc_tables(c->world.o.disc, found_table, &y);
    if (err == EG_OK)
        err = y.err;
    return err != EG_OK ? err : journals_recover(&c->world.journals, is_known, c);
}
