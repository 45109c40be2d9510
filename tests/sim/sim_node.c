/* sim_node.c -- start in the order of node/node.c, stop in reverse, or not at all. */
#include "tests/sim/sim_node.h"

#include "engine/epoch.h"
#include "replication/cluster_private.h"
#include "replication/tx_manager.h"
#include "tables/catalog_private.h"
#include "tables/watch_private.h"

#include <string.h>

enum {
    READERS_MAX = 64,
    CLIENT_PORT = 7340,
    PEER_PORT = 7341,
    SCRUB_EVERY_MS = 3000,
    RECENT_BYTES = 128, /* few changes: shards are walked through too */
};

/* ---- the machine ----------------------------------------------------------------- */

/* A disc's thread needs no memory of its node's to begin. */
static void wake_disc(void *ctx) {
    struct sim_node *n = ctx;
    uint32_t refuse_one_in = n->heap.refuse_one_in;

    n->heap.refuse_one_in = 0;
    disc_pump_wake(&n->pump);
    n->heap.refuse_one_in = refuse_one_in;
}

static void open_disc(struct sim_node *n) {
    struct disc_twin_opts o = {
        .alloc = &n->disc_heap.base, .seed = n->o.seed, .wake = wake_disc, .ctx = n};

    n->old = NULL; /* it was in the same heap */
    n->pump = (struct disc_pump){.delay_ms = n->o.disc_delay_ms};
    EG_ASSERT(disc_twin_open(&n->pump.twin, &o) == EG_OK);
}

void sim_node_init(struct sim_node *n, struct sim *s, struct sim_net *net,
                   const struct sim_node_opts *o) {
    *n = (struct sim_node){.sim = s, .net = net, .o = *o};
    snprintf(n->name, sizeof n->name, "%s", o->name);
    snprintf(n->client_address, sizeof n->client_address, "%s:%d", o->name, CLIENT_PORT);
    snprintf(n->peer_address, sizeof n->peer_address, "%s:%d", o->name, PEER_PORT);
    n->host = sim_net_host(net, o->name);
    sim_env_init(&n->env, s, n->name, o->seed);
    sim_net_host_env(net, n->host, &n->env.env);
    sim_heap_init(&n->heap, o->seed);
    sim_mail_init(&n->mail, s, o->seed);
    sim_heap_init(&n->disc_heap, o->seed);
    if (o->has_disc)
        open_disc(n);
}

void sim_node_fini(struct sim_node *n) {
    EG_ASSERT(!n->up);
    EG_ASSERT(n->heap.live == 0);
    sim_heap_reclaim(&n->disc_heap);
}

void sim_node_wipe(struct sim_node *n) {
    EG_ASSERT(!n->up);
    sim_heap_reclaim(&n->disc_heap);
    if (n->o.has_disc)
        open_disc(n);
}

void sim_node_copy_disc(struct sim_node *n) {
    EG_ASSERT(disc_twin_copy(&n->old, n->pump.twin) == EG_OK);
}

void sim_node_put_back_disc(struct sim_node *n) {
    EG_ASSERT(!n->up);
    disc_close(disc_twin_disc(n->pump.twin));
    n->pump.twin = n->old;
    n->old = NULL;
}

/* ---- start ------------------------------------------------------------------------ */

static struct disc *disc_of(struct sim_node *n) {
    return n->o.has_disc ? disc_twin_disc(n->pump.twin) : NULL;
}

static void start_catalog(struct sim_node *n) {
    struct catalog_opts o = {.alloc = &n->heap.base,
                             .env = &n->env.env,
                             .runtime = n->runtime,
                             .epoch = n->epoch,
                             .disc = disc_of(n),
                             .budget = &n->budget,
                             .recent_bytes = RECENT_BYTES,
                             .graves_bytes_max = n->o.graves_bytes_max};
    struct err_note note;

    EG_ASSERT(catalog_open(&n->catalog, &o, &note) == EG_OK);
}

static void start_transactions(struct sim_node *n) {
    struct tx_managers_opts o = {.alloc = &n->heap.base,
                                 .env = &n->env.env,
                                 .runtime = n->runtime,
                                 .catalog = n->catalog,
                                 .disc = disc_of(n)};
    struct err_note note;

    EG_ASSERT(tx_managers_open(&n->transactions, &o, &note) == EG_OK);
}

static void start_cluster(struct sim_node *n) {
    static const char cookie[] = "what all nodes of a simulation know";
    const char *const listen = n->peer_address;
    struct cluster_opts o = {.alloc = &n->heap.base,
                             .env = &n->env.env,
                             .runtime = n->runtime,
                             .epoch = n->epoch,
                             .catalog = n->catalog,
                             .disc = disc_of(n),
                             .transactions = n->transactions,
                             .net_open = sim_net_stream,
                             .name = n->name,
                             .listen = &listen,
                             .listen_count = 1,
                             .join = n->o.join,
                             .cookie = cookie,
                             .cookie_bytes = sizeof cookie - 1,
                             .scrub_every_ms = SCRUB_EVERY_MS};
    struct err_note note;

    while (o.join_count < SIM_JOINS_MAX && n->o.join[o.join_count] != NULL)
        o.join_count++;
    EG_ASSERT(cluster_open(&n->cluster, &o, &note) == EG_OK);
    sim_mail_attach(&n->mail, n->cluster);
}

static void start_server(struct sim_node *n) {
    char address[SIM_ADDRESS_BYTES];
    const char *const listen = address;
    struct server_opts o = {.alloc = &n->heap.base,
                            .runtime = n->runtime,
                            .catalog = n->catalog,
                            .cluster = n->cluster,
                            .transactions = n->transactions,
                            .net_open = sim_net_stream,
                            .listen = &listen,
                            .listen_count = 1,
                            .node_name = n->name,
                            .version = "sim"};
    struct err_note note;

    snprintf(address, sizeof address, "127.0.0.1:%d", CLIENT_PORT); /* any host may come, here */
    EG_ASSERT(server_open(&n->server, &o, &note) == EG_OK);
}

void sim_node_start(struct sim_node *n) {
    struct runtime_opts o = {.alloc = &n->heap.base, .env = &n->env.env};

    EG_ASSERT(!n->up);
    n->heap.refuse_one_in = 0;
    n->starts++;
    n->up = true;
    n->budget = (struct memory_budget){0};
    EG_ASSERT(epoch_open(&n->epoch, &n->heap.base, READERS_MAX) == EG_OK);
    o.schedulers = n->o.schedulers;
    o.epoch = n->epoch;
    n->runtime = sim_runtime(n->sim, &o);
    if (n->o.has_disc)
        disc_pump_start(&n->pump, n->runtime);
    start_catalog(n);
    start_transactions(n);
    start_cluster(n);
    start_server(n);
}

/* ---- the end ------------------------------------------------------------------------ */

static void forget(struct sim_node *n) {
    n->up = false;
    n->epoch = NULL;
    n->runtime = NULL;
    n->catalog = NULL;
    n->transactions = NULL;
    n->cluster = NULL;
    n->server = NULL;
}

/* What could not be retired, where even the memory for that was refused, is left behind and counted
 * (epoch.h), with what hangs on it; of what shards retire nothing is, for it goes with their slabs.
 */
static uint64_t lost_bytes(const struct sim_node *n) {
    return n->catalog->bin.lost_bytes + n->catalog->world.watch->bin.lost_bytes;
}

uint64_t sim_node_mended(const struct sim_node *n) {
    return n->mended + (n->up ? cluster_mended(n->cluster) : 0);
}

bool sim_node_stop(struct sim_node *n) {
    uint64_t lost;
    bool clean;

    EG_ASSERT(n->up);
    n->heap.refuse_one_in = 0;
    lost = lost_bytes(n);
    n->mended += cluster_mended(n->cluster);
    server_close(n->server);
    sim_mail_detach(&n->mail);
    cluster_stop(n->cluster);
    tx_managers_stop(n->transactions);
    (void) catalog_close(n->catalog); /* a disc that refuses is no leak */
    tx_managers_close(n->transactions);
    cluster_close(n->cluster);
    sim_stop_runtime(n->sim, n->runtime);
    epoch_close(n->epoch);
    if (n->o.has_disc)
        disc_twin_crash_keeping(n->pump.twin, disc_twin_unsynced(n->pump.twin));
    clean = (n->heap.live == 0 || lost != 0) && atomic_load(&n->budget.used_bytes) == 0;
    sim_heap_reclaim(&n->heap);
    forget(n);
    return clean;
}

static void crash(struct sim_node *n, bool power) {
    EG_ASSERT(n->up);
    n->mended += cluster_mended(n->cluster);
    sim_net_crash(n->net, n->host, power);
    sim_vanish(n->sim, n->runtime);
    sim_mail_detach(&n->mail);
    sim_heap_reclaim(&n->heap);
    if (n->o.has_disc && power)
        disc_twin_crash(n->pump.twin);
    else if (n->o.has_disc)
        disc_twin_crash_keeping(n->pump.twin, disc_twin_unsynced(n->pump.twin));
    forget(n);
}

void sim_node_kill(struct sim_node *n) {
    crash(n, false);
}

void sim_node_lose_power(struct sim_node *n) {
    crash(n, true);
}

void sim_node_pause(struct sim_node *n, uint64_t ms) {
    EG_ASSERT(n->up);
    sim_pause(n->sim, n->runtime, sim_now_ns(n->sim) + ms * 1000000);
}

/* ---- views ---------------------------------------------------------------------------- */

static const struct view *view_of(const struct sim_node *n) {
    return n->up && n->cluster != NULL && n->cluster->views != NULL ? views_now(n->cluster->views)
                                                                    : NULL;
}

uint64_t sim_node_view(const struct sim_node *n) {
    const struct view *v = view_of(n);

    return v == NULL ? 0 : (v->id.hash ^ v->id.epoch << 1) | 1;
}

uint32_t sim_node_view_count(const struct sim_node *n) {
    const struct view *v = view_of(n);

    return v == NULL ? 0 : v->count;
}
