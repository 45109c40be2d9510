/* bench_table.c -- what a program pays for reading and writing its own tables.
 *
 *     bench_table [--smoke] set|ordered_set|growth
 *
 * Through the public library, as an embedding program would: 1,000,000 records,
 * uniform random keys.  Keys and records are drawn before the clock starts: a key
 * written byte by byte just before it is read would stall the processor's stores
 * and be what is measured. */
#include "bench/bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum {
    DRAWS = 1 << 20, /* used round and round */
    BATCH = 16,
    RANGE = 100,
    THREADS_MAX = 2,
};

struct bench {
    eg_node *node;
    eg_table *table;
    uint64_t records, growth;
    double seconds; /* of each figure */
    atomic_bool stop;
};

static void fill(struct bench *b) {
    uint8_t record[BENCH_RECORD_ENCODED];
    double start = bench_now_s();

    for (uint64_t i = 0; i < b->records; i++)
        bench_must(eg_write(b->table, bench_record(record, i, 1)), "write");
    bench_print("fill 1 thread", (double) b->records / (bench_now_s() - start), "/s");
    bench_print("process over payload",
                bench_resident_bytes() / (double) b->records - BENCH_PAYLOAD_BYTES, "bytes/record");
}

/* ---- what a thread does until it is told to stop ------------------------------------ */

struct job { /* of one thread: on lines of its own, so that counting disturbs no other */
    _Alignas(128) struct bench *bench;
    uint64_t (*run)(struct job *j); /* one round; returns operations done */
    uint8_t *draws;
    size_t draw_bytes;
    uint64_t at, done;
};

static eg_span draw(struct job *j) {
    return (eg_span){j->draws + (j->at++ & (DRAWS - 1)) * j->draw_bytes, j->draw_bytes};
}

static uint64_t round_get(struct job *j) {
    eg_span record;

    bench_must(eg_read_begin(j->bench->node), "begin");
    for (int i = 0; i < 64; i++)
        bench_must(eg_get(j->bench->table, draw(j), &record), "get");
    eg_read_end(j->bench->node);
    return 64;
}

static uint64_t round_get_many(struct job *j) {
    eg_span keys[BATCH], records[BATCH];

    bench_must(eg_read_begin(j->bench->node), "begin");
    for (int i = 0; i < BATCH; i++)
        keys[i] = draw(j);
    if (eg_get_many(j->bench->table, keys, BATCH, records) != BATCH)
        bench_must(EG_INTERNAL, "get_many");
    eg_read_end(j->bench->node);
    return BATCH;
}

static uint64_t round_write(struct job *j) {
    for (int i = 0; i < 64; i++)
        bench_must(eg_write(j->bench->table, draw(j)), "write");
    return 64;
}

static bool count_range(void *context, eg_span record) {
    (void) record;
    return ++*(uint64_t *) context < RANGE;
}

static uint64_t round_range(struct job *j) {
    uint64_t seen = 0;
    eg_span from = draw(j);

    bench_must(eg_fold(j->bench->table, &from, false, count_range, &seen), "fold");
    return seen;
}

static void *work(void *arg) {
    struct job *j = arg;

    while (!atomic_load_explicit(&j->bench->stop, memory_order_relaxed))
        j->done += j->run(j);
    return NULL;
}

/* Random keys, or whole records where the job writes. */
static void draw_all(struct job *j, uint64_t seed) {
    bool writes = j->run == round_write;

    j->draw_bytes = writes ? BENCH_RECORD_ENCODED : BENCH_KEY_ENCODED;
    j->draws = malloc(j->draw_bytes * DRAWS);
    if (j->draws == NULL)
        exit(1);
    for (size_t i = 0; i < DRAWS; i++) {
        uint64_t n = bench_random(&seed) % j->bench->records;
        uint8_t *at = j->draws + i * j->draw_bytes;
        if (writes)
            bench_record(at, n, (uint8_t) i);
        else
            bench_key(at, n);
    }
}

static void measure(struct bench *b, const char *what, int threads,
                    uint64_t (*run)(struct job *j)) {
    struct job job[THREADS_MAX];
    pthread_t thread[THREADS_MAX];
    uint64_t done = 0;
    double start;
    char name[64];

    atomic_store(&b->stop, false);
    for (int i = 0; i < threads; i++) {
        job[i] = (struct job){.bench = b, .run = run};
        draw_all(&job[i], (uint64_t) i + 1);
    }
    start = bench_now_s();
    for (int i = 0; i < threads; i++)
        pthread_create(&thread[i], NULL, work, &job[i]);
    usleep((useconds_t) (b->seconds * 1e6));
    atomic_store(&b->stop, true);
    for (int i = 0; i < threads; i++) {
        pthread_join(thread[i], NULL);
        done += job[i].done;
        free(job[i].draws);
    }
    snprintf(name, sizeof name, "%s %d thread%s", what, threads, threads > 1 ? "s" : "");
    bench_print(name, (double) done / (bench_now_s() - start), "/s");
}

static void measure_type(struct bench *b, const char *type) {
    b->table = bench_create(b->node, "table", "type", type);
    fill(b);
    for (int threads = 1; threads <= THREADS_MAX; threads++)
        measure(b, "read", threads, round_get);
    measure(b, "read_many 16", 1, round_get_many);
    for (int threads = 1; threads <= THREADS_MAX; threads++)
        measure(b, "overwrite", threads, round_write);
    if (strcmp(type, "ordered_set") == 0)
        measure(b, "range of 100", 1, round_range);
    eg_table_close(b->table);
}

/* The longest single write while a table grows from empty. */
static void measure_growth(struct bench *b) {
    enum { BUCKETS = 1 << 20, NS_A_BUCKET = 100 };
    uint32_t *histogram = calloc(BUCKETS, sizeof *histogram);
    uint8_t record[BENCH_RECORD_ENCODED];
    uint64_t longest_ns = 0, above = 0;
    size_t bucket;

    if (histogram == NULL)
        exit(1);
    b->table = bench_create(b->node, "table", "type", "set");
    for (uint64_t i = 0; i < b->growth; i++) {
        eg_span r = bench_record(record, i, 1);
        double start = bench_now_s();
        uint64_t ns;
        bench_must(eg_write(b->table, r), "write");
        ns = (uint64_t) ((bench_now_s() - start) * 1e9);
        longest_ns = ns > longest_ns ? ns : longest_ns;
        bucket = ns / NS_A_BUCKET;
        histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    }
    for (bucket = BUCKETS; bucket > 0 && above + histogram[bucket - 1] <= b->growth / 10000;
         bucket--)
        above += histogram[bucket - 1];
    bench_print("write p99.99", (double) bucket * NS_A_BUCKET / 1000.0, "us");
    bench_print("write longest", (double) longest_ns / 1000.0, "us");
    free(histogram);
    eg_table_close(b->table);
}

int main(int argc, char **argv) {
    struct bench b = {.records = 1000000, .growth = 5000000, .seconds = 1};
    const char *what = argv[argc - 1];

    if (argc == 3 && strcmp(argv[1], "--smoke") == 0) {
        b.records = 20000;
        b.growth = 50000;
        b.seconds = 0.05;
    } else if (argc != 2) {
        fputs("bench_table [--smoke] set|ordered_set|growth\n", stderr);
        return 2;
    }
    bench_must(eg_open(&(eg_options){.schedulers = 2}, &b.node, NULL), "open");
    if (strcmp(what, "growth") == 0)
        measure_growth(&b);
    else
        measure_type(&b, what);
    eg_close(b.node);
    return 0;
}
