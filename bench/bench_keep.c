/* bench_keep.c -- what it costs a write that copies can be made equal without going through all.
 *
 *     bench_keep [--smoke]
 *
 * Two nodes in one process, a table with copies on both, and one with a single copy, of which those
 * records are written that lie on the node that writes.  The same ones are written over and over,
 * 500 together, by turns of 20,000: with the ring of the last changes (tables/recent.h)
 * and a tree in which each change marks its leaf (tables/hash_tree.h; otherwise there is one only
 * while copies are compared), and without both. */
#include "bench/bench.h"

#include "node/node.h"
#include "replication/feed_private.h"
#include "tables/table_private.h"

#include <stdbool.h>

enum { NODES = 2, TOGETHER = 500, TURNS = 100, ONE_COSTS = 20, WAIT_S = 60, POLL_US = 1000 };

struct bench {
    eg_node *node[NODES];
    eg_table *replicated, *single;
    uint64_t records, at;
    uint64_t *here; /* the numbers of those that lie on the first node */
    uint64_t here_count;
    uint64_t turn; /* records */
    int turns;
    uint8_t *array;
};

/* ---- nodes ----------------------------------------------------------------------------------- */

static void open_nodes(struct bench *b) {
    static const char *const names[NODES] = {"one", "two"};

    for (int i = 0; i < NODES; i++) {
        eg_options o = {.name = names[i], .schedulers = 1, .peer_listen = {"127.0.0.1:0"}};

        if (i != 0)
            o.join[0] = eg_node_peer_address(b->node[0], 0);
        bench_must(eg_open(&o, &b->node[i], NULL), "open");
    }
}

static eg_table *create(eg_node *node, const char *name, uint32_t copies) {
    uint8_t bytes[64];
    eg_writer w = eg_writer_init(bytes, sizeof bytes);
    eg_span options;
    eg_table *table;

    eg_put_map(&w, 2);
    eg_put_string(&w, "copies");
    eg_put_uint(&w, copies);
    eg_put_string(&w, "shards");
    eg_put_uint(&w, 16);
    options = eg_written(&w);
    bench_must(eg_create_table(node, name, &options, NULL), "create");
    bench_must(eg_table_open(node, name, &table), "open");
    return table;
}

static struct actor *claim(eg_node *n, struct shard *s) {
    struct actor *owner;

    while ((owner = actor_claim(n->runtime, shard_pid(s))) == NULL)
        usleep(10);
    return owner;
}

/* ---- with and without ------------------------------------------------------------------------
 */

static void keep_in(eg_node *n, struct shard *s, bool keep) {
    struct actor *owner = claim(n, s);
    struct shard_copy *c = s->copy;

    if (shard_role(s) == SHARD_ALONE)
        c = NULL; /* nobody has it besides: nothing is kept */
    if (c != NULL && c->tree == NULL && keep) {
        c->tree = calloc(1, sizeof *c->tree);
        if (c->tree == NULL)
            exit(1);
        bench_must(hash_tree_open(c->tree, n->alloc, HASH_TREE_DEPTH_MAX - 1, 1), "tree");
    } else if (c != NULL && c->tree != NULL && !keep) {
        hash_tree_close(c->tree);
        free(c->tree);
        c->tree = NULL;
    }
    if (c != NULL) {
        c->unsure = !keep; /* then it does not begin anew */
        recent_break(&c->recent);
    }
    actor_release(owner);
}

static void keep_all(const struct bench *b, bool keep) {
    for (int i = 0; i < NODES; i++) {
        struct table *const *tables;
        uint32_t count = catalog_tables(b->node[i]->catalog, &tables);

        for (uint32_t t = 0; t < count; t++)
            for (uint32_t n = 0; n < table_shards(tables[t]); n++)
                keep_in(b->node[i], table_shard(tables[t], n), keep);
    }
}

/* ---- turns ----------------------------------------------------------------------------------- */

/* Where nobody else has it, whoever leads it has it. */
static void find_here(struct bench *b, uint32_t table) {
    struct table *const *tables;

    (void) catalog_tables(b->node[0]->catalog, &tables);
    for (uint64_t i = 0; i < b->records; i++) {
        uint8_t bytes[BENCH_KEY_ENCODED];
        struct key k;

        bench_key(bytes, i);
        bench_must(table_key(tables[table], &k, (struct value){bytes, sizeof bytes}), "key");
        if (shard_role(shard_of(tables[table], k.hash)) == SHARD_ALONE)
            b->here[b->here_count++] = i;
        key_release(&k);
    }
    if (b->here_count == 0)
        bench_must(EG_NOT_FOUND, "records of the first node");
}

static uint64_t next_number(struct bench *b, const eg_table *table) {
    b->at++;
    return table == b->single ? b->here[b->at % b->here_count] : b->at % b->records;
}

/* One, or TOGETHER. */
static void write_some(struct bench *b, eg_table *table, uint64_t together) {
    size_t size_bytes = together == 1 ? 0 : 3;
    eg_err err;

    b->array[0] = 0xdc;
    b->array[1] = TOGETHER >> 8;
    b->array[2] = TOGETHER & 0xff;
    for (uint64_t k = 0; k < together; k++, size_bytes += BENCH_RECORD_ENCODED)
        (void) bench_record(b->array + size_bytes, next_number(b, table), 1);
    do {
        eg_span what = {b->array, size_bytes};

        err = together == 1 ? eg_write(table, what) : eg_write_many(table, what, NULL);
    } while ((err == EG_BUSY || err == EG_NO_REPLICA) && usleep(POLL_US) == 0);
    bench_must(err, "write"); /* otherwise it is between two views, or the others are behind */
}

static double cpu_now_s(void) {
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

/* Records a second of the processor's time, of both nodes together. */
static double turn(struct bench *b, eg_table *table, uint64_t together) {
    uint64_t all = together == 1 && table == b->replicated ? b->turn / ONE_COSTS : b->turn;
    double began_s = cpu_now_s();

    for (uint64_t done = 0; done < all; done += together)
        write_some(b, table, together);
    return (double) all / (cpu_now_s() - began_s);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *) a, y = *(const double *) b;

    return x < y ? -1 : x > y;
}

static double median(double *at, int count) {
    qsort(at, (size_t) count, sizeof *at, by_value);
    return (at[count / 2] + at[(count - 1) / 2]) / 2;
}

/* With, without, without, with: what drifts hits both.  Each after a turn that is not counted: the
 * rings are as large as they get, and memory that was made ready for them has left the caches. */
static void measure(struct bench *b, const char *what, eg_table *table, uint64_t together) {
    double rate[2][TURNS], ratio[TURNS];
    char name[64];

    for (int i = 0; i < b->turns; i++) {
        for (int k = 0; k < 2; k++) {
            bool keep = (i + k) % 2 == 0;

            keep_all(b, keep);
            (void) turn(b, table, TOGETHER);
            rate[keep][i] = turn(b, table, together);
        }
        ratio[i] = rate[1][i] / rate[0][i];
    }
    snprintf(name, sizeof name, "%s, with", what);
    bench_print(name, median(rate[1], b->turns), "/s");
    snprintf(name, sizeof name, "%s, without", what);
    bench_print(name, median(rate[0], b->turns), "/s");
    snprintf(name, sizeof name, "%s, with to without", what);
    printf("%-44s %14.3f x\n", name, median(ratio, b->turns));
    keep_all(b, false);
}

static void wait_for_copies(const struct bench *b) {
    double until = bench_now_s() + WAIT_S;

    for (int i = 0; i < NODES; i++) {
        struct table *const *tables;
        uint32_t full = 0;

        while (full < 16) { /* those of the table with two copies */
            uint32_t count = catalog_tables(b->node[i]->catalog, &tables);

            full = 0;
            for (uint32_t t = 0; t < count; t++)
                for (uint32_t n = 0; n < table_shards(tables[t]); n++) {
                    enum shard_role role = shard_role(table_shard(tables[t], n));
                    full += role == SHARD_MASTER || role == SHARD_FULL;
                }
            if (bench_now_s() > until)
                bench_must(EG_TIMEOUT, "copies");
            usleep(POLL_US);
        }
    }
    sleep(1);
}

int main(int argc, char **argv) {
    struct bench b = {.records = 200000, .turn = 20000, .turns = TURNS};
    bool smoke = argc == 2 && strcmp(argv[1], "--smoke") == 0;

    if (argc != 1 && !smoke) {
        fputs("bench_keep [--smoke]\n", stderr);
        return 2;
    }
    if (smoke) {
        b.records = 5000;
        b.turn = TOGETHER;
        b.turns = 4;
    }
    b.array = malloc(3 + (size_t) TOGETHER * BENCH_RECORD_ENCODED);
    b.here = malloc(b.records * sizeof *b.here);
    if (b.array == NULL || b.here == NULL)
        return 1;
    open_nodes(&b);
    b.replicated = create(b.node[0], "replicated", 2);
    b.single = create(b.node[0], "single", 1);
    wait_for_copies(&b);
    find_here(&b, 1); /* tables are in the order of their names */
    measure(&b, "replicated", b.replicated, 1);
    measure(&b, "replicated, 500 together", b.replicated, TOGETHER);
    measure(&b, "single", b.single, 1);
    measure(&b, "single, 500 together", b.single, TOGETHER);
    eg_table_close(b.replicated);
    eg_table_close(b.single);
    for (int i = NODES - 1; i >= 0; i--)
        eg_close(b.node[i]);
    free(b.array);
    free(b.here);
    return 0;
}
