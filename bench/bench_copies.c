/* bench_copies.c -- what copies on other nodes cost who reads: nothing, it should be.
 *
 *     bench_copies [--smoke]
 *
 * Three nodes and one that is alone, in one process.  The same records are in a table with a copy
 * on each of the three and in one of the node that is alone; both are read by turns, a few
 * milliseconds each, at random keys that were drawn before. */
#include "bench/bench.h"

#include <stdbool.h>

enum { NODES = 3, ALONE = NODES, DRAWS = 1 << 18, BATCH = 16, TURNS = 100, TOGETHER = 500 };

struct bench {
    eg_node *node[NODES + 1];
    eg_table *shared, *alone;
    uint64_t records;
    double seconds;
    uint8_t *draws; /* random keys */
    uint64_t at;
};

static eg_span draw(struct bench *b) {
    return (eg_span){b->draws + (b->at++ & (DRAWS - 1)) * BENCH_KEY_ENCODED, BENCH_KEY_ENCODED};
}

/* Between two views a copy is not read: on a machine that others use there may be some. */
static void must_read(eg_err err, const char *what) {
    if (err == EG_NO_REPLICA)
        usleep(1000);
    else
        bench_must(err, what);
}

static uint64_t get_some(struct bench *b, eg_table *table, eg_node *node) {
    eg_span record;

    bench_must(eg_read_begin(node), "begin");
    for (int i = 0; i < 64; i++)
        must_read(eg_get(table, draw(b), &record), "get");
    eg_read_end(node);
    return 64;
}

static uint64_t get_many(struct bench *b, eg_table *table, eg_node *node) {
    eg_span keys[BATCH], records[BATCH];
    int64_t found;

    for (int i = 0; i < BATCH; i++)
        keys[i] = draw(b);
    bench_must(eg_read_begin(node), "begin");
    found = eg_get_many(table, keys, BATCH, records);
    eg_read_end(node);
    must_read(found < 0 ? (eg_err) found : EG_OK, "get_many");
    return BATCH;
}

static uint64_t copy_some(struct bench *b, eg_table *table, eg_node *node) {
    eg_result result;

    (void) node;
    for (int i = 0; i < 64; i++) {
        bench_must(eg_read(table, draw(b), &result), "read");
        eg_result_free(&result);
    }
    return 64;
}

/* For so long; returns operations done. */
static uint64_t turn(struct bench *b, eg_table *table, eg_node *node, double seconds,
                     uint64_t (*run)(struct bench *b, eg_table *table, eg_node *node)) {
    double until = bench_now_s() + seconds;
    uint64_t done = 0;

    while (bench_now_s() < until)
        done += run(b, table, node);
    return done;
}

static void measure(struct bench *b, const char *what,
                    uint64_t (*run)(struct bench *b, eg_table *table, eg_node *node)) {
    uint64_t shared = 0, alone = 0;
    char name[64];

    for (int i = 0; i < TURNS; i++) {
        shared += turn(b, b->shared, b->node[0], b->seconds / TURNS, run);
        alone += turn(b, b->alone, b->node[ALONE], b->seconds / TURNS, run);
    }
    snprintf(name, sizeof name, "%s, three copies", what);
    bench_print(name, (double) shared / b->seconds, "/s");
    snprintf(name, sizeof name, "%s, alone", what);
    bench_print(name, (double) alone / b->seconds, "/s");
}

/* ---- nodes, records ------------------------------------------------------------------------ */

static void open_nodes(struct bench *b) {
    static const char *const names[NODES + 1] = {"one", "two", "three", "alone"};

    for (int i = 0; i <= ALONE; i++) {
        eg_options o = {.name = names[i], .schedulers = 1};
        eg_note note = {""};
        eg_err err;

        if (i < ALONE)
            o.peer_listen[0] = "127.0.0.1:0";
        if (i > 0 && i < ALONE)
            o.join[0] = eg_node_peer_address(b->node[0], 0);
        err = eg_open(&o, &b->node[i], &note);
        if (err != EG_OK)
            fprintf(stderr, "%s\n", note.text);
        bench_must(err, "open");
    }
}

static void fill(struct bench *b, eg_table *table) {
    uint8_t *array = malloc(3 + TOGETHER * BENCH_RECORD_ENCODED);

    if (array == NULL)
        exit(1);
    for (uint64_t i = 0; i < b->records; i += TOGETHER) {
        array[0] = 0xdc;
        array[1] = TOGETHER >> 8;
        array[2] = TOGETHER & 0xff;
        for (uint64_t k = 0; k < TOGETHER; k++)
            (void) bench_record(array + 3 + k * BENCH_RECORD_ENCODED, i + k, 1);
        bench_must(
            eg_write_many(table, (eg_span){array, 3 + TOGETHER * BENCH_RECORD_ENCODED}, NULL),
            "write_many");
    }
    free(array);
}

/* The table is known there, and has this record in place. */
static bool has_copy(eg_node *node, uint64_t number) {
    uint8_t key[BENCH_KEY_ENCODED];
    eg_span record;
    eg_table *table;
    eg_err err;

    if (eg_table_open(node, "table", &table) != EG_OK)
        return false;
    bench_must(eg_read_begin(node), "begin");
    bench_key(key, number);
    err = eg_get(table, (eg_span){key, sizeof key}, &record);
    eg_read_end(node);
    eg_table_close(table);
    return err == EG_OK;
}

static void wait_for_copies(struct bench *b) {
    double until = bench_now_s() + 60;

    for (uint64_t i = 0; i < 64; i++)
        for (int n = 0; n < NODES; n++)
            while (!has_copy(b->node[n], i)) {
                if (bench_now_s() > until)
                    bench_must(EG_TIMEOUT, "three copies");
                usleep(1000);
            }
}

int main(int argc, char **argv) {
    struct bench b = {.records = 200000, .seconds = 1};
    uint64_t seed = 1;

    if (argc == 2 && strcmp(argv[1], "--smoke") == 0) {
        b.records = 5000;
        b.seconds = 0.05;
    } else if (argc != 1) {
        fputs("bench_copies [--smoke]\n", stderr);
        return 2;
    }
    b.draws = malloc((size_t) DRAWS * BENCH_KEY_ENCODED);
    if (b.draws == NULL)
        return 1;
    for (size_t i = 0; i < DRAWS; i++)
        bench_key(b.draws + i * BENCH_KEY_ENCODED, bench_random(&seed) % b.records);
    open_nodes(&b);
    b.shared = bench_create(b.node[0], "table", "type", "set");
    b.alone = bench_create(b.node[ALONE], "table", "type", "set");
    fill(&b, b.shared);
    fill(&b, b.alone);
    wait_for_copies(&b);
    measure(&b, "get", get_some);
    measure(&b, "get 16", get_many);
    measure(&b, "read", copy_some);
    eg_table_close(b.shared);
    eg_table_close(b.alone);
    for (int i = ALONE; i >= 0; i--)
        eg_close(b.node[i]);
    free(b.draws);
    return 0;
}
