/* bench_table.c -- what a program pays for reading and writing its own tables.
 *
 * Through the public library, as an embedding program would: 1,000,000 records of
 * a 16-byte key and a 64-byte value, uniform random keys, drawn before the clock
 * starts.  Prints one line a figure: name, value, unit. */
#include "engram.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    KEY_BYTES = 16,
    VALUE_BYTES = 64,
    DRAWS = 1 << 20, /* keys drawn beforehand, used round and round */
    BATCH = 16,
    RANGE = 100,
    RECORD_ROOM = 128,
};

struct bench {
    eg_node *node;
    eg_table *table;
    uint64_t records;
    double seconds; /* of each figure */
    atomic_bool stop;
};

static void must(eg_err err, const char *what) {
    if (err == EG_OK)
        return;
    fprintf(stderr, "bench_table: %s: %s\n", what, eg_err_text(err));
    exit(1);
}

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

static uint64_t next_random(uint64_t *s) { /* splitmix64 */
    uint64_t z = (*s += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void print(const char *name, double value, const char *unit) {
    printf("%-44s %14.1f %s\n", name, value, unit);
    fflush(stdout);
}

static size_t resident_bytes(void) {
    unsigned long total, resident;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%lu %lu", &total, &resident) != 2)
        exit(1);
    fclose(f);
    return resident * (size_t) sysconf(_SC_PAGESIZE);
}

/* A key as MessagePack: a string of 16 digits. */
static void key_at(uint8_t *at, uint64_t n) {
    char digits[KEY_BYTES + 1];
    snprintf(digits, sizeof digits, "%016llx", (unsigned long long) n);
    at[0] = 0xa0 | KEY_BYTES;
    memcpy(at + 1, digits, KEY_BYTES);
}

static eg_span record_at(uint8_t *at, uint64_t n, uint8_t fill) {
    at[0] = 0x92;
    key_at(at + 1, n);
    at[2 + KEY_BYTES] = 0xc4; /* bin 8 */
    at[3 + KEY_BYTES] = VALUE_BYTES;
    memset(at + 4 + KEY_BYTES, fill, VALUE_BYTES);
    return (eg_span){at, 4 + KEY_BYTES + VALUE_BYTES};
}

static void make_table(struct bench *b, const char *type) {
    uint8_t bytes[64];
    eg_writer w = eg_writer_init(bytes, sizeof bytes);
    eg_span options;

    eg_put_map(&w, 1);
    eg_put_string(&w, "type");
    eg_put_string(&w, type);
    options = eg_written(&w);
    must(eg_create_table(b->node, type, &options, NULL), "create");
    must(eg_table_open(b->node, type, &b->table), "open");
}

static void fill(struct bench *b, const char *type) {
    uint8_t record[RECORD_ROOM];
    size_t before = resident_bytes();
    double start = now_s();
    char name[64];

    for (uint64_t i = 0; i < b->records; i++)
        must(eg_write(b->table, record_at(record, i, 1)), "write");
    snprintf(name, sizeof name, "%s fill 1 thread", type);
    print(name, (double) b->records / (now_s() - start), "/s");
    snprintf(name, sizeof name, "%s memory over payload", type);
    print(name,
          (double) (resident_bytes() - before) / (double) b->records - KEY_BYTES - VALUE_BYTES,
          "bytes/record");
    snprintf(name, sizeof name, "%s process memory over payload", type);
    print(name, (double) resident_bytes() / (double) b->records - KEY_BYTES - VALUE_BYTES,
          "bytes/record");
}

/* ---- what a thread does until it is told to stop ------------------------------------ */

struct job {
    struct bench *bench;
    uint64_t (*run)(struct job *j); /* one round; returns operations done */
    uint64_t seed;
    uint8_t (*keys)[1 + KEY_BYTES];
    uint64_t at;
    uint64_t done;
};

static const uint8_t *draw(struct job *j) {
    return j->keys[j->at++ & (DRAWS - 1)];
}

static eg_span span_of(const uint8_t *key) {
    return (eg_span){key, 1 + KEY_BYTES};
}

static uint64_t round_get(struct job *j) {
    eg_span record;

    must(eg_read_begin(j->bench->node), "begin");
    for (int i = 0; i < 64; i++)
        must(eg_get(j->bench->table, span_of(draw(j)), &record), "get");
    eg_read_end(j->bench->node);
    return 64;
}

static uint64_t round_get_many(struct job *j) {
    eg_span keys[BATCH], records[BATCH];

    must(eg_read_begin(j->bench->node), "begin");
    for (int i = 0; i < BATCH; i++)
        keys[i] = span_of(draw(j));
    if (eg_get_many(j->bench->table, keys, BATCH, records) != BATCH)
        must(EG_INTERNAL, "get_many");
    eg_read_end(j->bench->node);
    return BATCH;
}

static uint64_t round_write(struct job *j) {
    uint8_t record[RECORD_ROOM];

    for (int i = 0; i < 64; i++) {
        eg_span r = record_at(record, 0, (uint8_t) i);
        memcpy(record + 1, draw(j), 1 + KEY_BYTES);
        must(eg_write(j->bench->table, r), "write");
    }
    return 64;
}

static bool count_range(void *context, eg_span record) {
    (void) record;
    return ++*(uint64_t *) context < RANGE;
}

static uint64_t round_range(struct job *j) {
    uint64_t seen = 0;
    eg_span from = span_of(draw(j));

    must(eg_fold(j->bench->table, &from, false, count_range, &seen), "fold");
    return seen;
}

static void *work(void *arg) {
    struct job *j = arg;
    while (!atomic_load_explicit(&j->bench->stop, memory_order_relaxed))
        j->done += j->run(j);
    return NULL;
}

static void draw_keys(struct job *j) {
    j->keys = malloc(sizeof(*j->keys) * DRAWS);
    if (j->keys == NULL)
        exit(1);
    for (size_t i = 0; i < DRAWS; i++)
        key_at(j->keys[i], next_random(&j->seed) % j->bench->records);
}

static void measure(struct bench *b, const char *type, const char *what, int threads,
                    uint64_t (*run)(struct job *j)) {
    enum { THREADS_MAX = 8 };
    struct job job[THREADS_MAX];
    pthread_t thread[THREADS_MAX];
    uint64_t done = 0;
    double start;
    char name[64];

    atomic_store(&b->stop, false);
    for (int i = 0; i < threads; i++) {
        job[i] = (struct job){.bench = b, .run = run, .seed = (uint64_t) i + 1};
        draw_keys(&job[i]);
    }
    start = now_s();
    for (int i = 0; i < threads; i++)
        pthread_create(&thread[i], NULL, work, &job[i]);
    usleep((useconds_t) (b->seconds * 1e6));
    atomic_store(&b->stop, true);
    for (int i = 0; i < threads; i++) {
        pthread_join(thread[i], NULL);
        done += job[i].done;
        free(job[i].keys);
    }
    snprintf(name, sizeof name, "%s %s %d thread%s", type, what, threads, threads > 1 ? "s" : "");
    print(name, (double) done / (now_s() - start), "/s");
}

static void measure_type(struct bench *b, const char *type) {
    make_table(b, type);
    fill(b, type);
    for (int threads = 1; threads <= 2; threads++)
        measure(b, type, "read", threads, round_get);
    measure(b, type, "read_many 16", 1, round_get_many);
    for (int threads = 1; threads <= 2; threads++)
        measure(b, type, "overwrite", threads, round_write);
    if (strcmp(type, "ordered_set") == 0)
        measure(b, type, "range of 100", 1, round_range);
    eg_table_close(b->table);
    must(eg_drop_table(b->node, type), "drop");
}

/* The longest single write while a table grows. */
static void measure_growth(struct bench *b, uint64_t records) {
    enum { BUCKETS = 1 << 20, NS_A_BUCKET = 100 };
    uint32_t *histogram = calloc(BUCKETS, sizeof *histogram);
    uint8_t record[RECORD_ROOM];
    uint64_t longest_ns = 0, above = 0;
    size_t bucket;

    if (histogram == NULL)
        exit(1);
    make_table(b, "set");
    for (uint64_t i = 0; i < records; i++) {
        double start = now_s();
        uint64_t ns;
        must(eg_write(b->table, record_at(record, i, 1)), "write");
        ns = (uint64_t) ((now_s() - start) * 1e9);
        longest_ns = ns > longest_ns ? ns : longest_ns;
        bucket = ns / NS_A_BUCKET;
        histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    }
    for (bucket = BUCKETS; bucket > 0 && above + histogram[bucket - 1] <= records / 10000; bucket--)
        above += histogram[bucket - 1];
    print("set growth write p99.99", (double) bucket * NS_A_BUCKET / 1000.0, "us");
    print("set growth write longest", (double) longest_ns / 1000.0, "us");
    free(histogram);
    eg_table_close(b->table);
}

int main(int argc, char **argv) {
    struct bench b = {.records = 1000000, .seconds = 2};
    uint64_t growth = 5000000;
    eg_options o = {.schedulers = 2};

    if (argc > 1 && strcmp(argv[1], "--smoke") == 0) {
        b.records = 20000;
        b.seconds = 0.05;
        growth = 50000;
    }
    must(eg_open(&o, &b.node, NULL), "open");
    measure_type(&b, "set");
    measure_type(&b, "ordered_set");
    measure_growth(&b, growth);
    eg_close(b.node);
    return 0;
}
