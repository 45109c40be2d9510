/* bench_query.c -- what a program pays for questions by match specification.
 *
 *     bench_query [--smoke] select|range|index
 *
 * Through the public library: 1,000,000 records [key, number, value].  `select` goes through a
 * whole set with one guard, which one record in a hundred passes, and takes their keys.
 * `range` takes the hundred records under the first part of a key made of two, out of
 * an ordered_set: the one way in which ETS bounds a select too.  `index` reads the ten
 * records of a number by an index on it. */
#include "bench/bench.h"

#include <stdbool.h>

enum { NUMBERS = 1000, BELOW = 10, RANGE = 100, SAME = 10, SPEC_BYTES = 256 };

struct bench {
    eg_node *node;
    eg_table *table;
    uint64_t records;
    double seconds; /* of each figure */
    bool indexed;   /* ten records have each number, and an index on it */
};

static void put_key(eg_writer *w, uint64_t n) {
    uint8_t key[BENCH_KEY_ENCODED];

    bench_key(key, n);
    eg_put_string(w, ""); /* a place for the same bytes, which are encoded already */
    w->at--;
    memcpy(w->at, key, sizeof key);
    w->at += sizeof key;
    w->need_bytes += sizeof key - 1;
}

static void write_record(struct bench *b, uint64_t n, bool two_parts) {
    static const uint8_t value[BENCH_VALUE_BYTES] = {1};
    uint8_t bytes[256];
    eg_writer w = eg_writer_init(bytes, sizeof bytes);

    eg_put_array(&w, 3);
    if (two_parts) {
        eg_put_array(&w, 2);
        put_key(&w, n / RANGE);
        eg_put_uint(&w, n % RANGE);
    } else {
        put_key(&w, n);
    }
    eg_put_uint(&w, b->indexed ? n / SAME : n % NUMBERS);
    eg_put_bytes(&w, value, sizeof value);
    bench_must(eg_write(b->table, eg_written(&w)), "write");
}

static void create(struct bench *b, const char *type, bool two_parts) {
    uint8_t bytes[128];
    eg_writer w = eg_writer_init(bytes, sizeof bytes);
    eg_span options;

    eg_put_map(&w, 2);
    eg_put_string(&w, "type");
    eg_put_string(&w, type);
    eg_put_string(&w, "attributes");
    eg_put_array(&w, 3);
    eg_put_string(&w, "key");
    eg_put_string(&w, "number");
    eg_put_string(&w, "value");
    options = eg_written(&w);
    bench_must(eg_create_table(b->node, "table", &options, NULL), "create");
    bench_must(eg_table_open(b->node, "table", &b->table), "open");
    for (uint64_t n = 0; n < b->records; n++)
        write_record(b, n, two_parts);
}

/* [[["$1", "$2", "_"], [["<", "$2", BELOW]], ["$1"]]] */
static eg_span guard_spec(eg_writer *w) {
    eg_put_array(w, 1);
    eg_put_array(w, 3);
    eg_put_array(w, 3);
    eg_put_string(w, "$1");
    eg_put_string(w, "$2");
    eg_put_string(w, "_");
    eg_put_array(w, 1);
    eg_put_array(w, 3);
    eg_put_string(w, "<");
    eg_put_string(w, "$2");
    eg_put_int(w, BELOW);
    eg_put_array(w, 1);
    eg_put_string(w, "$1");
    return eg_written(w);
}

/* [[[[key, "_"], "_", "_"], [], ["$_"]]] */
static eg_span range_spec(eg_writer *w, uint64_t first) {
    eg_put_array(w, 1);
    eg_put_array(w, 3);
    eg_put_array(w, 3);
    eg_put_array(w, 2);
    put_key(w, first);
    eg_put_string(w, "_");
    eg_put_string(w, "_");
    eg_put_string(w, "_");
    eg_put_array(w, 0);
    eg_put_array(w, 1);
    eg_put_string(w, "$_");
    return eg_written(w);
}

static void ask(struct bench *b, eg_span spec, uint64_t wanted, bool check) {
    eg_result found;

    bench_must(eg_select(b->table, spec, 0, &found, NULL), "select");
    if (check && eg_count(found.value) != wanted) /* which looks at every byte */
        bench_must(EG_INTERNAL, "not what was to be found");
    eg_result_free(&found);
}

static void measure_select(struct bench *b) {
    uint8_t bytes[SPEC_BYTES];
    eg_writer w = eg_writer_init(bytes, sizeof bytes);
    eg_span spec = guard_spec(&w);
    double start;
    uint64_t done = 0;

    create(b, "set", false);
    start = bench_now_s();
    do
        ask(b, spec, b->records / NUMBERS * BELOW, true);
    while (done += b->records, bench_now_s() - start < b->seconds);
    bench_print("one guard", (double) done / (bench_now_s() - start), "/s");
}

static void measure_range(struct bench *b) {
    uint64_t seed = 1, done = 0;
    double start;

    create(b, "ordered_set", true);
    start = bench_now_s();
    do {
        for (int i = 0; i < 64; i++) {
            uint8_t bytes[SPEC_BYTES];
            eg_writer w = eg_writer_init(bytes, sizeof bytes);
            ask(b, range_spec(&w, bench_random(&seed) % (b->records / RANGE)), RANGE, i == 0);
        }
        done += 64 * RANGE;
    } while (bench_now_s() - start < b->seconds);
    bench_print("range of 100", (double) done / (bench_now_s() - start), "/s");
}

static void measure_index(struct bench *b) {
    uint64_t seed = 1, done = 0;
    double start;

    b->indexed = true;
    create(b, "set", false);
    bench_must(eg_add_index(b->node, "table", "number", NULL), "add_index");
    start = bench_now_s();
    do {
        for (int i = 0; i < 64; i++) {
            uint8_t bytes[16];
            eg_writer w = eg_writer_init(bytes, sizeof bytes);
            eg_result found;

            eg_put_uint(&w, bench_random(&seed) % (b->records / SAME));
            bench_must(eg_index_read(b->table, "number", eg_written(&w), &found), "index_read");
            if (i == 0 && eg_count(found.value) != SAME)
                bench_must(EG_INTERNAL, "not what was to be found");
            eg_result_free(&found);
        }
        done += 64;
    } while (bench_now_s() - start < b->seconds);
    bench_print("index read of 10", (double) done / (bench_now_s() - start), "look-ups/s");
}

int main(int argc, char **argv) {
    struct bench b = {.records = 1000000, .seconds = 1};
    const char *what = argv[argc - 1];

    if (argc == 3 && strcmp(argv[1], "--smoke") == 0) {
        b.records = 20000;
        b.seconds = 0.05;
    } else if (argc != 2) {
        fputs("bench_query [--smoke] select|range|index\n", stderr);
        return 2;
    }
    bench_must(eg_open(&(eg_options){.schedulers = 2}, &b.node, NULL), "open");
    if (strcmp(what, "select") == 0)
        measure_select(&b);
    else if (strcmp(what, "index") == 0)
        measure_index(&b);
    else
        measure_range(&b);
    eg_table_close(b.table);
    eg_close(b.node);
    return 0;
}
