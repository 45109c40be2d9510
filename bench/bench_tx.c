/* bench_tx.c -- transactions a second, from programs that have a node embedded.
 *
 *     bench_tx [--smoke] NODES [pair | tatp | tpcb] [threads]
 *
 * What bench/peers/mnesia_tx.escript does: NODES (1 or 3) processes on this machine, a node in
 * each, tables with copies on all of them.  On one node the clients are one thread, and then two;
 * on three, eight dealt out over the nodes.  There a client is an Erlang process inside a node, so
 * here it is an actor (`threads`: a thread of the program, which the system wakes for each answer).
 *
 * With three nodes the parent opens none: it tells phases through memory that all share. */
#include "bench/trio.h"
#include "bench/tx_work.h"

#include "engram/actor.h"

#include <pthread.h>
#include <stddef.h>

enum {
    CLIENTS_MAX = 8,
    LOOK_AT_CLOCK = 16,
    SETTLE_US = 2500000, /* once copies are full the view is renewed, a second later */
};

enum phase { JOIN, FILL, OPEN, SETTLE, RUN, END, PHASES };

struct shared {
    struct trio trio;
    const struct tx_work *work;
    _Atomic uint64_t count;
    double seconds;
    uint32_t size;
    int nodes, clients;
    bool threads;
};

struct bench_node {
    struct shared *shared;
    int number;
    eg_node *node;
    eg_table *table[TX_TABLES_MAX];
};

struct client {
    const struct tx_work *work;
    struct tx_client tx;
    double until_s;
    _Atomic int *ended; /* actors, of its node's */
};

/* ---- clients ---------------------------------------------------------------------------- */

/* It has made one more.  True: its time is over. */
static bool counts_last(struct client *c) {
    return ++c->tx.count % LOOK_AT_CLOCK == 0 && bench_now_s() >= c->until_s;
}

static void *run_thread(void *arg) {
    struct client *c = arg;

    do
        c->work->work(&c->tx);
    while (!counts_last(c));
    return NULL;
}

static void go_on(struct tx_client *tx) {
    struct client *c = (struct client *) ((char *) tx - offsetof(struct client, tx));

    if (counts_last(c)) {
        atomic_fetch_add(c->ended, 1);
        eg_exit_normal(tx->self);
    } else {
        c->work->work(tx);
    }
}

static eg_err begin(eg_actor *self, void *state, const void *arg) {
    struct client *c = (struct client *) arg;

    (void) state;
    c->tx.self = self;
    c->tx.done = go_on;
    c->work->work(&c->tx);
    return EG_OK;
}

struct ends {
    _Atomic int ended;
    int count;
};

static bool all_ended(void *user) {
    struct ends *e = user;
    return atomic_load(&e->ended) == e->count;
}

static void spawn(struct client *c, eg_node *node) {
    static const eg_server_ops ops = {.name = "client", .init = begin};
    eg_pid pid;

    bench_must(eg_spawn_server(node, NULL, &(eg_spawn){.server = &ops, .arg = c}, &pid), "spawn");
}

static void start_thread(struct client *c, pthread_t *thread) {
    if (pthread_create(thread, NULL, run_thread, c) != 0)
        exit(1);
}

/* This node's clients, until their time is over.  Returns how many transactions they made. */
static uint64_t run_clients(struct bench_node *n) {
    struct shared *s = n->shared;
    struct client client[CLIENTS_MAX];
    pthread_t thread[CLIENTS_MAX];
    bool threads = s->threads || s->nodes == 1;
    struct ends ends = {0};
    uint64_t count = 0;
    int clients = 0;

    for (int i = n->number; i < s->clients; i += s->nodes, clients++) {
        client[clients] =
            (struct client){.work = s->work,
                            .tx = {.node = n->node,
                                   .table = n->table,
                                   .random = (uint64_t) i,
                                   .number = (uint64_t) s->clients * 10 + (uint64_t) i,
                                   .size = s->size},
                            .until_s = bench_now_s() + s->seconds,
                            .ended = &ends.ended};
        if (threads)
            start_thread(&client[clients], &thread[clients]);
        else
            spawn(&client[clients], n->node);
        ends.count += !threads;
    }
    trio_until(all_ended, &ends, "a client does not end");
    for (int i = 0; i < clients; i++) {
        if (threads)
            pthread_join(thread[i], NULL);
        count += client[i].tx.count;
    }
    return count;
}

/* ---- a node ------------------------------------------------------------------------------- */

static void fill(struct bench_node *n) {
    const struct tx_work *work = n->shared->work;

    work->create(n->node, work);
    for (int i = 0; i < TX_TABLES_MAX && work->table[i] != NULL; i++)
        bench_must(eg_table_open(n->node, work->table[i], &n->table[i]), "open");
    work->fill(n->table, n->shared->size);
}

/* The copies here were made before the first record was written: they are full. */
static bool opens(void *user) {
    struct bench_node *n = user;

    for (int i = 0; i < TX_TABLES_MAX && n->shared->work->table[i] != NULL; i++)
        if (n->table[i] == NULL &&
            eg_table_open(n->node, n->shared->work->table[i], &n->table[i]) != EG_OK)
            return false;
    return true;
}

static void run_phase(struct bench_node *n, int phase) {
    if (phase == JOIN)
        n->node = trio_join(&n->shared->trio, n->number);
    else if (phase == FILL && n->number == 0)
        fill(n);
    else if (phase == OPEN)
        trio_until(opens, n, "a table does not come");
    else if (phase == SETTLE)
        usleep(SETTLE_US);
    else if (phase == RUN)
        atomic_fetch_add(&n->shared->count, run_clients(n));
}

static void close_node(struct bench_node *n) {
    for (int i = 0; i < TX_TABLES_MAX && n->table[i] != NULL; i++)
        eg_table_close(n->table[i]);
    eg_close(n->node);
}

static void run_node(struct trio *t, int number) {
    struct bench_node n = {.shared = (struct shared *) t, .number = number};

    for (int phase = 0; phase < PHASES; phase++) {
        trio_await(t, phase);
        run_phase(&n, phase);
        trio_done(t, phase);
    }
    close_node(&n);
}

/* ---- one node, and the parent of three ----------------------------------------------------------
 */

static void tell(const struct shared *s, uint64_t count, double took_s) {
    char name[64];

    snprintf(name, sizeof name, "%s, %d nodes, %d clients", s->work->name, s->nodes, s->clients);
    bench_print(name, (double) count / took_s, "/s");
}

static void run_one(struct shared *s) {
    struct bench_node n = {.shared = s};

    bench_must(eg_open(&(eg_options){.name = "bench"}, &n.node, NULL), "open");
    fill(&n);
    for (s->clients = 1; s->clients <= 2; s->clients++) {
        double began_s = bench_now_s();
        uint64_t count = run_clients(&n);
        tell(s, count, bench_now_s() - began_s);
    }
    close_node(&n);
}

static void run_three(struct shared *s) {
    s->clients = CLIENTS_MAX;
    trio_fork(&s->trio, run_node);
    for (int phase = 0; phase < END; phase++) {
        double took_s = trio_phase(&s->trio, phase);
        if (phase == RUN)
            tell(s, atomic_load(&s->count), took_s);
    }
    trio_end(&s->trio, END);
}

static void run(const struct tx_work *work, int nodes, bool smoke, bool threads) {
    struct shared *s = trio_memory(sizeof *s);

    s->work = work;
    s->nodes = nodes;
    s->threads = threads;
    s->seconds = smoke ? 0.2 : 2;
    s->size = smoke ? work->smoke_size : work->size;
    if (nodes == 1)
        run_one(s);
    else
        run_three(s);
}

int main(int argc, char **argv) {
    static const struct tx_work *const works[] = {&tx_pair, &tx_tatp, &tx_tpcb};
    bool smoke = argc > 1 && strcmp(argv[1], "--smoke") == 0;
    bool threads = argc > 1 && strcmp(argv[argc - 1], "threads") == 0;
    int at = 1 + smoke, nodes = argc > at ? atoi(argv[at]) : 0;

    if (nodes != 1 && nodes != TRIO_NODES) {
        fprintf(stderr, "bench_tx [--smoke] 1 | 3 [pair | tatp | tpcb] [threads]\n");
        return 2;
    }
    argc -= threads;
    for (size_t i = 0; i < sizeof works / sizeof works[0]; i++)
        if (argc <= at + 1 || strcmp(argv[at + 1], works[i]->name) == 0)
            run(works[i], nodes, smoke, threads);
    return 0;
}
