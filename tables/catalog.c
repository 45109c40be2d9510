/* catalog.c -- open and close, look-ups, and the way to the actor. */
#include "tables/catalog.h"

#include "engine/env.h"
#include "engine/foreign.h"
#include "engine/runtime.h"
#include "engine/scheduler.h"
#include "engine/supervisor.h"
#include "tables/catalog_private.h"
#include "tables/outcome.h"
#include "tables/shard_copy.h"
#include "tables/shard_floor.h"
#include "tables/shard_stamp.h"
#include "tables/watch_private.h"

#include "tables/page.h"

#include <string.h>

enum {
    CATALOG_ANSWER_BYTES_MAX = 64 << 20, /* of one shard's answer */
    CATALOG_STOP_MS = 60 * 1000,         /* to write what discs are owed */
    ROOT_RESTARTS = 8,                   /* of the catalog or all tables: then the tree ends */
    ROOT_RESTARTS_MS = 10 * 1000,
};

static eg_err open_scratch(struct world *w) {
    uint32_t count = runtime_schedulers(w->o.runtime);

    w->readers = alloc_zero(w->o.alloc, count * sizeof *w->readers);
    w->results = alloc_zero(w->o.alloc, count * sizeof *w->results);
    if (w->readers == NULL || w->results == NULL)
        return EG_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        struct scheduler *s = runtime_scheduler(w->o.runtime, i);
        reader_of_scheduler(&w->readers[i], scheduler_epoch(s), w->o.alloc);
        buffer_init(&w->results[i], w->o.alloc, CATALOG_ANSWER_BYTES_MAX);
    }
    return EG_OK;
}

static void close_scratch(struct world *w) {
    uint32_t count = runtime_schedulers(w->o.runtime);

    for (uint32_t i = 0; w->results != NULL && w->readers != NULL && i < count; i++) {
        buffer_fini(&w->results[i]);
        reader_close(&w->readers[i]);
    }
    alloc_put(w->o.alloc, w->results, count * sizeof *w->results);
    alloc_put(w->o.alloc, w->readers, count * sizeof *w->readers);
}

static void free_all(struct catalog *c) {
    struct table *const *tables;
    uint32_t count = names_all(&c->names, &tables);

    epoch_bin_drain(&c->bin); /* some of what waits there looks at tables */
    for (uint32_t i = 0; i < count; i++)
        table_free(tables[i]);
    for (struct list_node *n = c->dying.next, *next; n != &c->dying; n = next) {
        next = n->next;
        table_free(EG_CONTAINER_OF(n, struct table, dying));
    }
    names_fini(&c->names);
    journals_fini(&c->world.journals);
    epoch_bin_drain(&c->bin);
    watch_hub_close(c->world.watch);
    if (c->world.origins != NULL)
        origins_close(c->world.origins);
    if (c->world.outcomes != NULL)
        outcomes_close(c->world.outcomes);
    close_scratch(&c->world);
    alloc_put(c->world.o.alloc, c, sizeof *c);
}

/* ---- the tree: root -> catalog, families -> a supervisor a table -> its shards ---- */

static void families_changed(void *context, eg_pid pid) {
    struct catalog *c = context;
    atomic_store(&c->families, (uint64_t) pid.slot << 32 | pid.generation);
}

static void root_child(const void *children, uint32_t index, struct child_spec *out) {
    struct catalog *c = (struct catalog *) children;

    if (index == 1) {
        catalog_child(c, out);
        return;
    }
    *out = (struct child_spec){.id = "tables",
                               .kind = CHILD_SUPERVISOR,
                               .restart = PERMANENT,
                               .shutdown_ms = SHUTDOWN_INFINITY,
                               .supervisor = {.label = "tables",
                                              .strategy = ONE_FOR_ONE,
                                              .intensity = CHILDREN_INTENSITY_MAX,
                                              .period_ms = ROOT_RESTARTS_MS},
                               .changed = families_changed,
                               .changed_context = c};
}

static eg_pid pid_of(const struct catalog *c, uint64_t packed) {
    return (eg_pid){runtime_node(c->world.o.runtime), (uint32_t) (packed >> 32), (uint32_t) packed};
}

eg_pid catalog_pid(const struct catalog *c) {
    return pid_of(c, atomic_load(&c->pid));
}

eg_pid catalog_families(const struct catalog *c) {
    return pid_of(c, atomic_load(&c->families));
}

/* Call and drop the answer but for its outcome. */
static eg_err ask(struct catalog *c, struct foreign *f, eg_pid to, struct message *m) {
    struct message *reply;
    eg_err err;

    if (m == NULL)
        return EG_MEMORY;
    err = foreign_call(f, to, m, CATALOG_STOP_MS, &reply);
    if (err != EG_OK)
        return err;
    err = (eg_err) reply->tag;
    message_free(c->world.o.runtime, reply);
    return err;
}

static eg_err start_tree(struct catalog *c, struct foreign *f) {
    struct supervisor_opts o = {.label = "engram",
                                .strategy = REST_FOR_ONE, /* the catalog knows the tables */
                                .intensity = ROOT_RESTARTS,
                                .period_ms = ROOT_RESTARTS_MS,
                                .children = c,
                                .child_count = 2,
                                .child_at = root_child,
                                .vital = true};
    struct runtime *rt = c->world.o.runtime;
    eg_err err = supervisor_spawn(rt, NULL, &o, SPAWN_ON(0), NULL, &c->root);

    if (err != EG_OK)
        return err;
    err = ask(c, f, c->root, supervisor_request(rt, SUPERVISOR_AWAIT, NULL, 0));
    return err == EG_NOPROC ? EG_MEMORY : err; /* what else ends a tree that has just begun */
}

/* Shards first, which write what they owe; then the tree from its leaves on. */
static eg_err stop_tree(struct catalog *c, struct foreign *f) {
    struct catalog_request q = {.op = CATALOG_STOP};
    struct runtime *rt = c->world.o.runtime;
    struct message *m;
    eg_ref down;
    eg_pid to;
    eg_err err;

    if (eg_pid_is_none(c->root))
        return EG_OK;
    err = catalog_message(c, &q, &to, &m);
    if (err == EG_OK)
        err = ask(c, f, to, m);
    if (foreign_monitor(f, c->root, &down) == EG_OK) {
        supervisor_stop(rt, c->root);
        m = foreign_receive(f, CATALOG_STOP_MS); /* DOWN: now nothing touches the tables */
        if (m != NULL)
            message_free(rt, m);
    }
    return err;
}

eg_err catalog_open(struct catalog **out, const struct catalog_opts *o, struct err_note *note) {
    struct catalog *c = alloc_zero(o->alloc, sizeof *c);
    struct foreign *f;
    eg_err err;

    if (c == NULL)
        return EG_MEMORY;
    c->world.o = *o;
    journals_init(&c->world.journals, o->alloc, o->disc);
    list_init(&c->jobs);
    list_init(&c->waiting);
    list_init(&c->dying);
    list_init(&c->asking);
    atomic_flag_clear(&c->asking_lock);
    epoch_bin_init(&c->bin, o->epoch, o->alloc);
    names_init(&c->names, o->alloc, &c->bin, env_random(o->env));
    err = watch_hub_open(&c->world.watch, o->alloc, o->epoch, o->budget);
    if (err != EG_OK) {
        alloc_put(o->alloc, c, sizeof *c);
        return err;
    }
    err = foreign_open(&f, o->runtime);
    if (err != EG_OK)
        goto free_catalog;
    err = open_scratch(&c->world);
    if (err == EG_OK)
        err = origins_open(&c->world.origins, o->alloc, o->disc, o->env, note);
    if (err == EG_OK)
        err = outcomes_open(&c->world.outcomes, o->alloc, o->env);
    if (err == EG_OK)
        err = start_tree(c, f);
    if (err == EG_OK)
        err = catalog_recover(c, f, note);
    if (err != EG_OK)
        goto stop;
    atomic_store_explicit(&c->open, true, memory_order_release);
    foreign_close(f);
    *out = c;
    return EG_OK;

stop:
    if (stop_tree(c, f) != EG_OK)
        env_log(o->env, ENV_LOG_WARN, "catalog", "not all shards stopped in order");
    foreign_close(f);
free_catalog:
    free_all(c);
    return err;
}

eg_err catalog_close(struct catalog *c) {
    struct foreign *f;
    eg_err err = foreign_open(&f, c->world.o.runtime);

    if (err != EG_OK)
        return err;
    err = stop_tree(c, f);
    foreign_close(f);
    free_all(c);
    return err;
}

struct catalog_conflicts catalog_conflicts(const struct catalog *c) {
    return (struct catalog_conflicts){atomic_load(&c->world.journals.failed),
                                      atomic_load(&c->world.journals.lost),
                                      atomic_load(&c->world.journals.past)};
}

struct watch_hub *catalog_watch(struct catalog *c) {
    return c->world.watch;
}

void catalog_set_doubt(struct catalog *c, const struct transact_doubt *doubt) {
    atomic_store_explicit(&c->world.doubt, doubt, memory_order_release);
}

struct outcomes *catalog_outcomes(struct catalog *c) {
    return c->world.outcomes;
}

struct table *catalog_find(struct catalog *c, const char *name, size_t name_bytes) {
    return names_find(&c->names, name, name_bytes);
}

eg_err catalog_names(struct catalog *c, struct buffer *result) {
    struct table *const *tables;
    uint32_t count = names_all(&c->names, &tables);
    size_t size_bytes = 5;
    struct value_writer w;
    uint8_t *room;

    for (uint32_t i = 0; i < count; i++)
        size_bytes += 5 + (size_t) schema_of(tables[i])->name.size_bytes;
    room = buffer_room(result, size_bytes);
    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, size_bytes);
    value_put_array(&w, count);
    for (uint32_t i = 0; i < count; i++)
        value_put_text(&w, schema_of(tables[i])->name.text);
    result->size_bytes += w.need_bytes;
    return EG_OK;
}

void catalog_set_copies(struct catalog *c, const struct shard_copy_ops *ops, void *user) {
    c->world.copy_user = user;
    atomic_store(&c->world.copy_ops, ops); /* read by the shards, which have started already */
}

uint64_t catalog_graves_limit(struct catalog *c) {
    const struct world *w = &c->world;
    uint64_t most = w->o.graves_bytes_max != 0 ? w->o.graves_bytes_max : SHARD_GRAVES_BYTES_MAX;
    int64_t bytes = atomic_load_explicit(&w->grave_bytes, memory_order_relaxed);
    int64_t shards = atomic_load_explicit(&w->grave_shards, memory_order_relaxed);

    return bytes <= 0 || (uint64_t) bytes <= most ? UINT64_MAX
                                                  : most / 2 / (uint64_t) EG_MAX(shards, 1);
}

uint64_t catalog_stamps_ahead(struct catalog *c) {
    return atomic_load_explicit(&c->world.stamps_ahead, memory_order_relaxed);
}

struct origins *catalog_origins(struct catalog *c) {
    return c->world.origins;
}

uint32_t catalog_tables(struct catalog *c, struct table *const **tables) {
    return names_all(&c->names, tables);
}

void catalog_set_route(struct catalog *c, struct table_route *r) {
    atomic_store_explicit(&c->world.route, r, memory_order_release);
}

void catalog_set_partial(struct catalog *c, const struct page_partial_ops *ops) {
    atomic_store_explicit(&c->world.partial, ops, memory_order_release);
}

void catalog_set_far(struct catalog *c, struct table_far *f) {
    atomic_store_explicit(&c->world.far, f, memory_order_release);
}

eg_err catalog_message(struct catalog *c, const struct catalog_request *q, eg_pid *to,
                       struct message **out) {
    struct table_route *route = atomic_load_explicit(&c->world.route, memory_order_acquire);
    eg_err err = route == NULL ? EG_AGAIN : route->catalog(route, q, to, out);

    return err == EG_AGAIN ? catalog_message_here(c, q, to, out) : err;
}

eg_err catalog_message_here(struct catalog *c, const struct catalog_request *q, eg_pid *to,
                            struct message **out) {
    struct message *m = message_new(c->world.o.runtime, MESSAGE_CALL,
                                    sizeof *q + q->name.size_bytes + q->value.size_bytes);
    uint8_t *at;

    if (m == NULL)
        return EG_MEMORY;
    m->tag = q->op;
    at = m->payload;
    memcpy(at, q, sizeof *q);
    at += sizeof *q;
    if (q->name.size_bytes != 0)
        memcpy(at, q->name.at, q->name.size_bytes);
    if (q->value.size_bytes != 0)
        memcpy(at + q->name.size_bytes, q->value.at, q->value.size_bytes);
    *to = catalog_pid(c);
    *out = m;
    return EG_OK;
}

eg_err catalog_send(struct catalog *c, eg_pid from, uint64_t ref, const struct catalog_request *q) {
    struct message *m;
    eg_pid to;
    eg_err err = catalog_message(c, q, &to, &m);

    if (err != EG_OK)
        return err;
    m->ref = ref;
    return runtime_send(c->world.o.runtime, from, to, m);
}
