/* node.c -- start in order, stop in reverse. */
#include "node/node.h"

#include "engine/epoch.h"
#include "engine/inspect.h"
#include "engine/loop_uv.h"
#include "engine/runtime.h"
#include "engine/scheduler.h"
#include "engine/stream.h"
#include "node/config.h"
#include "query/server.h"
#include "query/text_partial.h"
#include "replication/cluster.h"
#include "replication/tx_manager.h"
#include "tables/catalog.h"
#include "tables/disc.h"
#include "tables/merge_call.h"

#include <stdio.h>
#include <string.h>

#ifndef ENGRAM_VERSION
#define ENGRAM_VERSION "0.1.0"
#endif

const char *eg_version(void) {
    return ENGRAM_VERSION;
}

/* ---- parts ---------------------------------------------------------------------- */

static void node_log(struct env *e, enum env_log_level level, const char *line) {
    eg_node *n = EG_CONTAINER_OF(e, struct node_env, env)->node;

    if (n->options.log != NULL && (int) level <= n->options.log_level)
        n->options.log(n->options.log_context, (int) level, line);
}

static void open_env(eg_node *n) {
    n->env.ops = *env_uv()->ops; /* the machine's have no state of their own */
    n->env.ops.log = node_log;
    n->env.env.ops = &n->env.ops;
    n->env.node = n;
}

static eg_err open_runtime(eg_node *n) {
    struct runtime_opts o = {.alloc = n->alloc,
                             .env = &n->env.env,
                             .driver = loop_uv_driver(),
                             .schedulers = n->options.schedulers,
                             .epoch = n->epoch,
                             .on_trace = inspect_log_trace,
                             .arg = &n->env.env};
    eg_err err;

    if (o.schedulers == 0)
        o.schedulers = machine_cores();
    o.schedulers = EG_MIN(o.schedulers, (uint32_t) SCHEDULERS_MAX);
    err = runtime_open(&n->runtime, &o);
    if (err != EG_OK)
        return err;
    err = runtime_start(n->runtime);
    if (err != EG_OK) {
        runtime_close(n->runtime);
        n->runtime = NULL;
    }
    return err;
}

static eg_err open_disc(eg_node *n, struct err_note *note) {
    struct disc_rocks_opts o = {.alloc = n->alloc, .directory = n->options.data_dir};

    return n->options.data_dir == NULL ? EG_OK : disc_rocks_open(&n->disc, &o, note);
}

static eg_err read_name(eg_node *n, bool *found) {
    static const uint8_t key[] = {DISC_META_NODE};
    struct disc_slice slice;
    eg_err err = disc_get(n->disc, n->disc->meta, (struct disc_bytes){key, sizeof key}, &slice);

    *found = err == EG_OK;
    if (err != EG_OK)
        return err == EG_NOT_FOUND ? EG_OK : err;
    snprintf(n->name, sizeof n->name, "%.*s", (int) slice.bytes.size_bytes,
             (const char *) slice.bytes.at);
    disc_release(n->disc, &slice);
    return EG_OK;
}

static eg_err write_name(eg_node *n) {
    static const uint8_t key[] = {DISC_META_NODE};
    struct disc_batch b;
    eg_err err;

    disc_batch_init(&b, n->alloc);
    err = disc_batch_put(&b, n->disc->meta, (struct disc_bytes){key, sizeof key},
                         (struct disc_bytes){(const uint8_t *) n->name, strlen(n->name)});
    if (err == EG_OK)
        err = disc_write(n->disc, &b);
    disc_batch_fini(&b);
    return err;
}

/* The name that was asked for, else the data directory's, else the host's. */
static eg_err choose_name(eg_node *n) {
    bool remembered = false;
    eg_err err = n->disc == NULL ? EG_OK : read_name(n, &remembered);

    if (err != EG_OK)
        return err;
    if (n->options.name != NULL)
        snprintf(n->name, sizeof n->name, "%s", n->options.name);
    else if (!remembered)
        machine_name(n->name, sizeof n->name);
    return n->disc == NULL ? EG_OK : write_name(n);
}

static eg_err open_catalog(eg_node *n, struct err_note *note) {
    struct catalog_opts o = {.alloc = n->alloc,
                             .env = &n->env.env,
                             .runtime = n->runtime,
                             .epoch = n->epoch,
                             .disc = n->disc,
                             .budget = &n->budget,
                             .merge = n->merge,
                             .merge_count = n->options.merge_count};

    return catalog_open(&n->catalog, &o, note);
}

static eg_err open_transactions(eg_node *n, struct err_note *note) {
    struct tx_managers_opts o = {.alloc = n->alloc,
                                 .env = &n->env.env,
                                 .runtime = n->runtime,
                                 .catalog = n->catalog,
                                 .disc = n->disc};

    return tx_managers_open(&n->transactions, &o, note);
}

static eg_err open_cluster(eg_node *n, struct err_note *note) {
    struct cluster_opts o = {.alloc = n->alloc,
                             .env = &n->env.env,
                             .runtime = n->runtime,
                             .epoch = n->epoch,
                             .catalog = n->catalog,
                             .disc = n->disc,
                             .transactions = n->transactions,
                             .net_open = stream_net_uv_of,
                             .name = n->name,
                             .listen = n->options.peer_listen,
                             .advertise = n->options.advertise,
                             .join = n->options.join,
                             .cookie = n->options.cookie,
                             .cookie_bytes = (uint32_t) n->options.cookie_bytes};
    eg_err err;

    while (o.listen_count < EG_LISTEN_MAX && n->options.peer_listen[o.listen_count] != NULL)
        o.listen_count++;
    while (o.join_count < EG_LISTEN_MAX && n->options.join[o.join_count] != NULL)
        o.join_count++;
    if (o.listen_count == 0)
        return EG_OK;
    err = cluster_open(&n->cluster, &o, note);
    if (err == EG_OK || err == EG_MEMORY || !n->options.peer_optional)
        return err;
    n->apart = *note; /* said when all else has opened */
    note->text[0] = '\0';
    return EG_OK;
}

static eg_err open_server(eg_node *n, struct err_note *note) {
    struct server_opts o = {.alloc = n->alloc,
                            .runtime = n->runtime,
                            .catalog = n->catalog,
                            .cluster = n->cluster,
                            .transactions = n->transactions,
                            .program = &n->program,
                            .net_open = stream_net_uv_of,
                            .listen = n->options.listen,
                            .node_name = n->name,
                            .version = eg_version(),
                            .connections_max = n->options.connections_max,
                            .frame_max_bytes = n->options.max_frame_bytes,
                            .input_max_bytes = n->options.max_input_bytes,
                            .answers_max_bytes = (uint64_t) atomic_load_explicit(
                                &n->budget.limit_bytes, memory_order_relaxed)};

    n->program = api_tx_program(n);
    while (o.listen_count < EG_LISTEN_MAX && n->options.listen[o.listen_count] != NULL)
        o.listen_count++;
    return o.listen_count == 0 ? EG_OK : server_open(&n->server, &o, note);
}

/* ---- the whole -------------------------------------------------------------------- */

static void set_limit(eg_node *n) {
    uint64_t limit = n->options.memory_limit_bytes;

    if (limit == 0)
        limit = machine_memory_bytes() / 5 * 4;
    atomic_init(&n->budget.limit_bytes, (int64_t) limit);
}

static eg_err check_options(const eg_options *o, struct err_note *note) {
    if (o->name != NULL && !config_is_name(o->name))
        return err_note(note, EG_BAD_REQUEST, "name: \"%s\" is not " CONFIG_NAME_IS, o->name);
    if (o->cookie_bytes > MESH_COOKIE_BYTES_MAX)
        return err_note(note, EG_BAD_REQUEST, "cookie: at most %d bytes", MESH_COOKIE_BYTES_MAX);
    if (o->schedulers > SCHEDULERS_MAX)
        return err_note(note, EG_BAD_REQUEST, "schedulers: at most %d", SCHEDULERS_MAX);
    if (o->memory_limit_bytes != 0 && o->memory_limit_bytes < NODE_MEMORY_MIN_BYTES)
        return err_note(note, EG_BAD_REQUEST, "memory_limit_bytes: at least 64 MiB");
    return EG_OK;
}

static eg_err open_parts(eg_node *n, struct err_note *note) {
    eg_err err = thread_slot_open(&n->threads);

    if (err == EG_OK)
        err = epoch_open(&n->epoch, n->alloc, NODE_READERS_MAX + SCHEDULERS_MAX);
    if (err == EG_OK)
        err = open_runtime(n);
    if (err == EG_OK)
        err = open_disc(n, note);
    if (err == EG_OK)
        err = choose_name(n);
    if (err == EG_OK)
        err = api_merges_open(n, note);
    if (err == EG_OK)
        err = open_catalog(n, note);
    if (err == EG_OK) /* before others can ask */
        catalog_set_partial(n->catalog, text_partial_ops());
    if (err == EG_OK)
        err = open_transactions(n, note);
    if (err == EG_OK)
        err = open_cluster(n, note);
    if (err == EG_OK)
        err = open_server(n, note);
    return err;
}

static void close_threads(eg_node *n) {
    struct list_node *head = &n->all_threads;

    if (n->threads == NULL)
        return;
    thread_slot_close(n->threads);
    while (!list_is_empty(head)) {
        struct node_thread *t = EG_CONTAINER_OF(head->next, struct node_thread, node);
        list_remove(&t->node);
        node_thread_free(t);
    }
}

static void close_parts(eg_node *n) {
    if (n->server != NULL)
        server_close(n->server);
    if (n->cluster != NULL)
        cluster_stop(n->cluster);
    close_threads(n);
    if (n->transactions != NULL)
        tx_managers_stop(n->transactions);
    if (n->catalog != NULL && catalog_close(n->catalog) != EG_OK)
        env_log(&n->env.env, ENV_LOG_ERROR, "node", "the disc did not take everything");
    if (n->transactions != NULL)
        tx_managers_close(n->transactions);
    if (n->cluster != NULL)
        cluster_close(n->cluster);
    if (n->runtime != NULL)
        runtime_stop(n->runtime);
    if (n->disc != NULL) /* its last word goes to actors, which may be gone by now */
        disc_close(n->disc);
    if (n->runtime != NULL)
        runtime_close(n->runtime);
    if (n->epoch != NULL)
        epoch_close(n->epoch);
    api_merges_close(n);
    alloc_put(n->alloc, n, sizeof *n);
}

eg_err eg_open(const eg_options *options, eg_node **out, eg_note *note) {
    return out == NULL ? EG_BAD_REQUEST : node_open(options, alloc_system(), out, note);
}

eg_err node_open(const eg_options *options, struct alloc *a, eg_node **out, eg_note *note) {
    struct err_note why = {""};
    eg_node *n = alloc_zero(a, sizeof *n);
    eg_err err;

    if (note != NULL)
        note->text[0] = '\0';
    if (n == NULL)
        return EG_MEMORY;
    n->alloc = a;
    if (options != NULL)
        n->options = *options;
    list_init(&n->all_threads);
    atomic_flag_clear(&n->threads_lock);
    open_env(n);
    set_limit(n);
    err = check_options(&n->options, &why);
    if (err == EG_OK)
        err = open_parts(n, &why);
    if (err != EG_OK) {
        if (note != NULL)
            snprintf(note->text, sizeof note->text, "%s",
                     why.text[0] != '\0' ? why.text : eg_err_text(err));
        close_parts(n);
        return err;
    }
    if (n->apart.text[0] != '\0')
        env_log(&n->env.env, ENV_LOG_WARN, "cluster", "%s: no part in a cluster", n->apart.text);
    *out = n;
    return EG_OK;
}

void eg_close(eg_node *node) {
    if (node == NULL)
        return;
    api_errands_cut(node);
    close_parts(node);
}

const char *eg_node_name(const eg_node *node) {
    return node == NULL ? NULL : node->name;
}

const char *eg_node_peer_address(const eg_node *node, uint32_t number) {
    return node == NULL || node->cluster == NULL ? NULL : cluster_address(node->cluster, number);
}

const char *eg_node_address(const eg_node *node, uint32_t number) {
    return node == NULL || node->server == NULL ? NULL : server_address(node->server, number);
}
