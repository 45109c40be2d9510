/* runtime.c -- open, start, stop and close of all schedulers of a node. */
#include "engine/actor_private.h"

#include "engine/epoch.h"
#include "engine/pubsub.h"
#include "engine/registry.h"

/* Which scheduler this thread runs.  The one thread-local of the engine: message
 * blocks, sends and spawns ask at every call, from code that has no other way to
 * know on whose thread it was called (a lent actor runs on any).  Initial-exec:
 * one load, also in the shared library. */
static _Thread_local struct scheduler *current __attribute__((tls_model("initial-exec")));

struct scheduler *runtime_current(const struct runtime *rt) {
    return current != NULL && current->rt == rt ? current : NULL;
}

struct scheduler *runtime_set_current(struct scheduler *s) {
    struct scheduler *before = current;
    current = s;
    return before;
}

/* No scheduler is given turns: end what is left on all of them, until what the ending
 * ones sent and spawned has ended too. */
static void end_all(struct runtime *rt) {
    bool pending = true;
    while (pending) {
        pending = false;
        for (uint32_t i = 0; i < rt->scheduler_count; i++) {
            inbox_nudge(&rt->schedulers[i]->inbox); /* it may have been left asleep */
            pending |= !inbox_is_empty(&rt->schedulers[i]->inbox);
            scheduler_end(rt->schedulers[i]);
        }
    }
}

/* ---- open, close -------------------------------------------------------------------- */

static void close_schedulers(struct runtime *rt, uint32_t count) {
    while (count-- > 0) {
        struct scheduler *s = rt->schedulers[count];
        if (s->epoch != NULL)
            epoch_slot_release(s->epoch);
        rt->driver->close(s->driver);
        scheduler_close(s);
    }
}

static eg_err open_scheduler(struct runtime *rt, uint32_t index) {
    struct scheduler *s;
    eg_err err = scheduler_open(&s, rt, index);

    if (err != EG_OK)
        return err;
    err = rt->driver->open(rt, s, &s->driver);
    if (err != EG_OK)
        goto close_scheduler;
    if (rt->opts.epoch != NULL) {
        s->epoch = epoch_slot_claim(rt->opts.epoch);
        err = s->epoch == NULL ? EG_BUSY : EG_OK;
        if (err != EG_OK)
            goto close_driver;
    }
    rt->schedulers[index] = s;
    return EG_OK;

close_driver:
    rt->driver->close(s->driver);
close_scheduler:
    scheduler_close(s);
    return err;
}

eg_err runtime_open(struct runtime **out, const struct runtime_opts *opts) {
    uint32_t actors_max = opts->actors_max == 0 ? RUNTIME_ACTORS_MAX : opts->actors_max;
    struct runtime *rt;
    uint32_t opened = 0;
    eg_err err;

    EG_ASSERT(opts->schedulers >= 1 && opts->schedulers <= SCHEDULERS_MAX);
    rt = alloc_map(opts->alloc, sizeof *rt); /* for its alignment */
    if (rt == NULL)
        return EG_MEMORY;
    rt->opts = *opts;
    rt->alloc = opts->alloc;
    rt->env = opts->env;
    rt->driver = opts->driver;
    rt->node = opts->node;
    runtime_set_route(rt, opts->route);
    rt->scheduler_count = opts->schedulers;
    err = reserve_open(&rt->reserve, rt->alloc, BLOCK_MIN_BYTES);
    if (err != EG_OK)
        goto put_runtime;
    err = registry_open(&rt->names, rt->alloc, REGISTRY_UNIQUE, env_random(rt->env));
    if (err != EG_OK)
        goto close_reserve;
    err = pubsub_open(&rt->topics, rt);
    if (err != EG_OK)
        goto close_names;
    err = pid_table_open(&rt->pids, rt->alloc, actors_max);
    if (err != EG_OK)
        goto close_topics;
    rt->schedulers = alloc_zero(rt->alloc, rt->scheduler_count * sizeof(struct scheduler *));
    err = rt->schedulers == NULL ? EG_MEMORY : EG_OK;
    if (err != EG_OK)
        goto close_pids;
    for (; opened < rt->scheduler_count; opened++) {
        err = open_scheduler(rt, opened);
        if (err != EG_OK)
            goto close_schedulers;
    }
    *out = rt;
    return EG_OK;

close_schedulers:
    close_schedulers(rt, opened);
    alloc_put(rt->alloc, rt->schedulers, rt->scheduler_count * sizeof(struct scheduler *));
close_pids:
    pid_table_close(&rt->pids);
close_topics:
    pubsub_close(rt->topics);
close_names:
    registry_close(rt->names);
close_reserve:
    reserve_close(&rt->reserve);
put_runtime:
    alloc_unmap(opts->alloc, rt, sizeof *rt);
    return err;
}

void runtime_close(struct runtime *rt) {
    EG_ASSERT(!rt->running);
    end_all(rt); /* what was spawned and sent before a start that never came */
    foreigns_free(rt);
    close_schedulers(rt, rt->scheduler_count);
    alloc_put(rt->alloc, rt->schedulers, rt->scheduler_count * sizeof(struct scheduler *));
    pid_table_close(&rt->pids);
    pubsub_close(rt->topics);
    registry_close(rt->names);
    reserve_close(&rt->reserve);
    alloc_unmap(rt->alloc, rt, sizeof *rt);
}

/* ---- start, stop ----------------------------------------------------------------------- */

static void stop_drivers(struct runtime *rt, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        rt->driver->stop(rt->schedulers[i]->driver);
    for (uint32_t i = 0; i < count; i++)
        rt->driver->join(rt->schedulers[i]->driver);
}

eg_err runtime_start(struct runtime *rt) {
    EG_ASSERT(!rt->running);
    for (uint32_t i = 0; i < rt->scheduler_count; i++) {
        eg_err err = rt->driver->start(rt->schedulers[i]->driver);
        if (err != EG_OK) {
            stop_drivers(rt, i);
            return err;
        }
    }
    rt->running = true;
    return EG_OK;
}

void runtime_stop(struct runtime *rt) {
    if (!rt->running)
        return;
    stop_drivers(rt, rt->scheduler_count);
    rt->running = false;
    end_all(rt);
}

/* ---- looking ------------------------------------------------------------------------------ */

uint32_t runtime_schedulers(const struct runtime *rt) {
    return rt->scheduler_count;
}
struct scheduler *runtime_scheduler(struct runtime *rt, uint32_t index) {
    EG_ASSERT(index < rt->scheduler_count);
    return rt->schedulers[index];
}
struct registry *runtime_names(const struct runtime *rt) {
    return rt->names;
}
struct pubsub *runtime_topics(const struct runtime *rt) {
    return rt->topics;
}
struct env *runtime_env(const struct runtime *rt) {
    return rt->env;
}
struct alloc *runtime_alloc(const struct runtime *rt) {
    return rt->alloc;
}
uint32_t runtime_node(const struct runtime *rt) {
    return rt->node;
}

bool runtime_is_alive(struct runtime *rt, eg_pid pid) {
    uint64_t word;
    return pid.node == rt->node && pid_table_find(&rt->pids, pid.slot, pid.generation, &word);
}

uint32_t runtime_pids(struct runtime *rt, uint32_t *cursor, eg_pid *out, uint32_t max) {
    uint32_t count = 0;
    uint32_t used = atomic_load(&rt->pids.used);

    for (; *cursor < used && count < max; ++*cursor) {
        uint64_t word = atomic_load(&pid_entry_at(&rt->pids, *cursor)->word);
        if (pid_word_generation(word) != 0 && pid_word_home(word) < PID_HOME_FOREIGN)
            out[count++] = (eg_pid){rt->node, *cursor, pid_word_generation(word)};
    }
    return count;
}

uint32_t runtime_actors(const struct runtime *rt) {
    uint64_t spawned = 0, exited = 0;
    for (uint32_t i = 0; i < rt->scheduler_count; i++) {
        struct scheduler_stats stats = scheduler_stats(rt->schedulers[i]);
        exited += stats.exited;
        spawned += stats.spawned;
    }
    return (uint32_t) (spawned - EG_MIN(exited, spawned));
}

eg_ref actor_make_ref(struct runtime *rt) {
    struct scheduler *s = runtime_current(rt);
    if (s == NULL)
        return atomic_fetch_add_explicit(&rt->foreign_refs, 1, memory_order_relaxed) + 1;
    return (uint64_t) (s->index + 1) << 56 | ++s->refs;
}

eg_err runtime_trace(struct runtime *rt, eg_pid pid, bool on) {
    struct message *m = message_new(rt, MESSAGE_TRACE, 0);
    if (m == NULL)
        return EG_MEMORY;
    m->tag = on;
    return runtime_send(rt, EG_PID_NONE, pid, m);
}
