/* bench_counter.c -- one counter that all want at once, and what an open transaction takes.
 *
 *     bench_counter [--smoke] 1 | 3
 *
 * 1,000 transactions, each of which reads the counter and writes it one higher: in a row, by one
 * client, and then by eight at once, dealt out over the nodes.  The counter is exact afterwards, or
 * the program fails.  On one node also: the memory of transactions that are held open, each of
 * which has read a record and wants to write one. */
#include "bench/trio.h"
#include "engine/env.h"
#include "node/node.h"
#include "query/tx.h"
#include "tables/catalog.h"

#include <pthread.h>

enum {
    INCREMENTS = 1000,
    CLIENTS = 8,
    OPEN_ONES = 10000,
    OPEN_ONES_SMOKE = 500,
    SETTLE_US = 2500000, /* once copies are full the view is renewed, a second later */
};

enum phase { JOIN, FILL, OPEN, SETTLE, ROW, AT_ONCE, CHECK, END, PHASES };

struct shared {
    struct trio trio;
    int nodes;
};

struct bench_node {
    struct shared *shared;
    int number;
    eg_node *node;
    eg_table *table;
};

/* ---- increments ------------------------------------------------------------------------ */

static eg_writer counter(uint8_t room[32], int64_t n) {
    eg_writer w = eg_writer_init(room, 32);

    eg_put_array(&w, 2);
    eg_put_string(&w, "n");
    eg_put_int(&w, n);
    return w;
}

static eg_err read_counter(eg_tx *tx, eg_table *table, int64_t *n) {
    eg_span record, value;
    eg_err err = eg_tx_get(tx, table, (eg_span){"\xa1n", 2}, &record);

    if (err != EG_OK)
        return err;
    return eg_element(record, 1, &value) && eg_as_int(value, n) ? EG_OK : EG_BAD_RECORD;
}

static eg_err add_one(eg_tx *tx, void *table) {
    uint8_t room[32];
    eg_writer w;
    int64_t n;
    eg_err err = read_counter(tx, table, &n);

    if (err != EG_OK)
        return err;
    w = counter(room, n + 1);
    return eg_tx_write(tx, table, eg_written(&w));
}

static void add(struct bench_node *n, int count) {
    for (int i = 0; i < count; i++) {
        eg_note note = {{0}};
        eg_err err = eg_transaction(n->node, add_one, n->table, &(eg_tx_options){.note = &note});

        if (err != EG_OK)
            fprintf(stderr, "%s\n", note.text);
        bench_must(err, "increment");
    }
}

static void *add_some(void *node) {
    add(node, INCREMENTS / CLIENTS);
    return NULL;
}

/* This node's clients of the eight. */
static void add_at_once(struct bench_node *n) {
    pthread_t thread[CLIENTS];
    int clients = 0;

    for (int i = n->number; i < CLIENTS; i += n->shared->nodes)
        if (pthread_create(&thread[clients++], NULL, add_some, n) != 0)
            exit(1);
    while (clients > 0)
        pthread_join(thread[--clients], NULL);
}

static eg_err look(eg_tx *tx, void *arg) {
    struct bench_node *n = arg;
    int64_t value;
    eg_err err = read_counter(tx, n->table, &value);

    if (err == EG_OK && value != 2 * INCREMENTS) {
        fprintf(stderr, "the counter is %lld\n", (long long) value);
        exit(1);
    }
    return err;
}

/* ---- open ones --------------------------------------------------------------------------- */

static void open_one(struct node_thread *t, const struct tx_place *at, uint32_t number) {
    const struct tx_opts o = {.alloc = alloc_system(), .env = &t->owner->env.env};
    uint8_t key_room[BENCH_KEY_ENCODED], record_room[BENCH_RECORD_ENCODED];
    const struct tx_start start = {.timeout_ms = 0};
    struct err_note note;
    struct buffer answer;
    struct shard_request q = {.op = SHARD_WRITE, .attribute = SHARD_NO_ATTRIBUTE};
    eg_span record = bench_record(record_room, number, 1);
    struct tx *tx;

    buffer_init(&answer, alloc_system(), SIZE_MAX);
    bench_must(tx_open(&tx, &o), "open");
    tx_begin(tx, &start);
    bench_key(key_room, number + OPEN_ONES);
    q.value = (struct value){record.at, (uint32_t) record.size_bytes};
    bench_must(tx_read(tx, at, (struct value){key_room, sizeof key_room}, &answer, &note), "read");
    bench_must(tx_change(tx, at, &q, &answer, &note), "write");
    buffer_fini(&answer);
}

/* They are never closed: the program ends. */
static void print_open_ones(struct bench_node *n, uint32_t count) {
    eg_err err;
    struct node_thread *t = node_thread(n->node, &err);
    double before = bench_resident_bytes();
    struct tx_place at;

    bench_must(err, "thread");
    reader_enter(&t->reader);
    at = (struct tx_place){.table = catalog_find(n->node->catalog, "counter", 7),
                           .reader = &t->reader};
    for (uint32_t i = 0; i < count; i++)
        open_one(t, &at, i);
    reader_exit(&t->reader);
    bench_print("open transaction, with what it wants",
                (bench_resident_bytes() - before) / (double) count, "bytes");
}

/* ---- nodes --------------------------------------------------------------------------------- */

static void tell(const struct shared *s, const char *what, double took_s) {
    char name[64];

    snprintf(name, sizeof name, "%d increments %s, %d nodes", INCREMENTS, what, s->nodes);
    bench_print(name, took_s * 1e3, "ms");
}

static void fill(struct bench_node *n) {
    uint8_t room[32];
    eg_writer w = counter(room, 0);
    eg_err err;

    bench_must(eg_create_table(n->node, "counter", NULL, NULL), "create");
    bench_must(eg_table_open(n->node, "counter", &n->table), "open");
    do /* until all copies are full the view may be another one */
        err = eg_write(n->table, eg_written(&w));
    while (err == EG_IN_DOUBT || err == EG_NO_REPLICA || err == EG_BUSY);
    bench_must(err, "fill");
}

static bool opens(void *user) {
    struct bench_node *n = user;

    return n->table != NULL || eg_table_open(n->node, "counter", &n->table) == EG_OK;
}

static void run_phase(struct bench_node *n, int phase) {
    if (phase == JOIN)
        n->node = trio_join(&n->shared->trio, n->number);
    else if (phase == FILL && n->number == 0)
        fill(n);
    else if (phase == OPEN)
        trio_until(opens, n, "the table does not come");
    else if (phase == SETTLE)
        usleep(SETTLE_US);
    else if (phase == ROW && n->number == 0)
        add(n, INCREMENTS);
    else if (phase == AT_ONCE)
        add_at_once(n);
    else if (phase == CHECK)
        bench_must(eg_transaction(n->node, look, n, NULL), "look");
}

static void run_node(struct trio *t, int number) {
    struct bench_node n = {.shared = (struct shared *) t, .number = number};

    for (int phase = 0; phase < PHASES; phase++) {
        trio_await(t, phase);
        run_phase(&n, phase);
        trio_done(t, phase);
    }
    eg_table_close(n.table);
    eg_close(n.node);
}

static void run_three(struct shared *s) {
    trio_fork(&s->trio, run_node);
    for (int phase = 0; phase < END; phase++) {
        double took_s = trio_phase(&s->trio, phase);
        if (phase == ROW || phase == AT_ONCE)
            tell(s, phase == ROW ? "in a row" : "at once", took_s);
    }
    trio_end(&s->trio, END);
}

static void run_one(struct shared *s, bool smoke) {
    struct bench_node n = {.shared = s};
    double began_s;

    bench_must(eg_open(&(eg_options){.name = "bench"}, &n.node, NULL), "open");
    fill(&n);
    for (int phase = ROW; phase <= AT_ONCE; phase++) {
        began_s = bench_now_s();
        run_phase(&n, phase);
        tell(s, phase == ROW ? "in a row" : "at once", bench_now_s() - began_s);
    }
    run_phase(&n, CHECK);
    print_open_ones(&n, smoke ? OPEN_ONES_SMOKE : OPEN_ONES);
}

int main(int argc, char **argv) {
    bool smoke = argc > 1 && strcmp(argv[1], "--smoke") == 0;
    struct shared *s = trio_memory(sizeof *s);

    s->nodes = argc > 1 + smoke ? atoi(argv[1 + smoke]) : 0;
    if (s->nodes == TRIO_NODES)
        run_three(s);
    else if (s->nodes == 1)
        run_one(s, smoke);
    else
        fprintf(stderr, "bench_counter [--smoke] 1 | 3\n");
    return s->nodes == 1 || s->nodes == TRIO_NODES ? 0 : 2;
}
