/* hand_node.c -- a node whose only thread is the test's. */
#include "tests/support/hand_node.h"

#include "engine/scheduler.h"
#include "replication/tx_manager.h"

#include <string.h>

enum { READERS_MAX = 8, TICK_MS = 50, MOVES_MAX = 100000 };

static struct hand_node *node_of(struct env *e) {
    return EG_CONTAINER_OF(e, struct hand_node, env);
}

/* ---- the world -------------------------------------------------------------------- */

static uint64_t env_clock(struct env *e) {
    return node_of(e)->now_ns += node_of(e)->look_ns;
}

static int64_t env_wall(struct env *e) {
    return (int64_t) (node_of(e)->now_ns / 1000000) + 1700000000000;
}

static uint64_t env_chance(struct env *e) { /* splitmix64 */
    uint64_t z = node_of(e)->random += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static void env_log_line(struct env *e, enum env_log_level level, const char *line) {
    (void) e;
    (void) level;
    (void) line;
}

static eg_err env_waiter_open(struct env *e, struct waiter **out) {
    *out = (struct waiter *) e; /* nobody sleeps here: any address will do */
    return EG_OK;
}

static void env_waiter_close(struct env *e, struct waiter *w) {
    (void) e;
    (void) w;
}

static void env_waiter_wake(struct env *e, struct waiter *w) {
    (void) e;
    (void) w;
}

static void env_waiter_wait(struct env *e, struct waiter *w, uint64_t timeout_ns) {
    struct hand_node *n = node_of(e);

    (void) w;
    if (!hand_node_move(n))
        n->now_ns += EG_MIN(timeout_ns, (uint64_t) TICK_MS * 1000000);
}

static const struct env_ops env_by_hand = {
    .now_ns = env_clock,
    .wall_ms = env_wall,
    .random = env_chance,
    .log = env_log_line,
    .waiter_open = env_waiter_open,
    .waiter_close = env_waiter_close,
    .waiter_wait = env_waiter_wait,
    .waiter_wake = env_waiter_wake,
};

static eg_err driver_open(struct runtime *rt, struct scheduler *s, void **out) {
    (void) rt;
    *out = s;
    return EG_OK;
}

static eg_err driver_start(void *driver) {
    scheduler_awake(driver); /* and it never sleeps */
    return EG_OK;
}

static void driver_ignore(void *driver) {
    (void) driver;
}

static const struct driver_ops driver_by_hand = {
    .open = driver_open,
    .start = driver_start,
    .stop = driver_ignore,
    .join = driver_ignore,
    .close = driver_ignore,
    .wake = driver_ignore,
};

/* ---- moving ------------------------------------------------------------------------ */

bool hand_node_turn(struct hand_node *n, uint32_t scheduler) {
    n->now_ns += 1000; /* a turn takes a while */
    return scheduler_turn(runtime_scheduler(n->runtime, scheduler), TURN_DISPATCHES,
                          DISPATCH_MSGS) != TURN_IDLE;
}

bool hand_node_move(struct hand_node *n) {
    bool moved = memory_net_move(&n->net);

    for (uint32_t i = 0; n->runtime != NULL && i < runtime_schedulers(n->runtime); i++)
        moved |= hand_node_turn(n, i);
    return moved;
}

void hand_node_run(struct hand_node *n) {
    int still = 0, moves = 0;

    while (still < 3) { /* what one turn sends to itself moves in the next */
        still = hand_node_move(n) ? 0 : still + 1;
        EG_ASSERT(moves++ < MOVES_MAX);
    }
}

void hand_node_pass(struct hand_node *n, uint64_t ms) {
    for (uint64_t passed_ms = 0; passed_ms < ms; passed_ms += TICK_MS) {
        n->now_ns += (uint64_t) TICK_MS * 1000000;
        hand_node_run(n);
    }
}

/* ---- open and close ------------------------------------------------------------------- */

static eg_err net_open(struct stream_net **out, struct alloc *a, struct scheduler *s) {
    struct hand_node *n = node_of(runtime_env(scheduler_runtime(s)));

    memory_net_open(&n->net, a);
    *out = &n->net.base;
    return EG_OK;
}

void hand_node_open(struct hand_node *n, const struct hand_node_opts *o) {
    static const char *const listen[] = {"memory:1"};
    struct err_note note = {""};

    memset(n, 0, sizeof *n);
    n->env.ops = &env_by_hand;
    n->now_ns = 1000000000;
    memory_net_open(&n->net, alloc_system());
    EG_ASSERT(epoch_open(&n->epoch, alloc_system(), READERS_MAX) == EG_OK);
    EG_ASSERT(
        runtime_open(&n->runtime, &(struct runtime_opts){.alloc = alloc_system(),
                                                         .env = &n->env,
                                                         .driver = &driver_by_hand,
                                                         .schedulers = EG_MAX(o->schedulers, 1u),
                                                         .epoch = n->epoch}) == EG_OK);
    EG_ASSERT(runtime_start(n->runtime) == EG_OK);
    EG_ASSERT(catalog_open(&n->catalog,
                           &(struct catalog_opts){.alloc = alloc_system(),
                                                  .env = &n->env,
                                                  .runtime = n->runtime,
                                                  .epoch = n->epoch,
                                                  .budget = &n->budget},
                           &note) == EG_OK);
    if (o->transactions)
        EG_ASSERT(tx_managers_open(&n->managers,
                                   &(struct tx_managers_opts){.alloc = alloc_system(),
                                                              .env = &n->env,
                                                              .runtime = n->runtime,
                                                              .catalog = n->catalog},
                                   &note) == EG_OK);
    EG_ASSERT(server_open(&n->server,
                          &(struct server_opts){.alloc = o->server_alloc != NULL ? o->server_alloc
                                                                                 : alloc_system(),
                                                .runtime = n->runtime,
                                                .catalog = n->catalog,
                                                .transactions = n->managers,
                                                .net_open = net_open,
                                                .listen = listen,
                                                .listen_count = 1,
                                                .node_name = "hand",
                                                .version = "0",
                                                .connections_max = o->connections_max,
                                                .frame_max_bytes = o->frame_max_bytes,
                                                .input_max_bytes = o->input_max_bytes},
                          &note) == EG_OK);
}

void hand_node_close(struct hand_node *n) {
    hand_node_run(n);
    server_close(n->server);
    if (n->managers != NULL)
        tx_managers_stop(n->managers);
    EG_ASSERT(catalog_close(n->catalog) == EG_OK);
    if (n->managers != NULL)
        tx_managers_close(n->managers);
    runtime_stop(n->runtime);
    runtime_close(n->runtime);
    n->runtime = NULL;
    epoch_close(n->epoch);
    memory_net_fini(&n->net);
}
