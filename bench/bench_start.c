/* bench_start.c -- how fast a node starts with a disc table.
 *
 *     bench_start DIRECTORY fill RECORDS     make the table; nothing is measured
 *     bench_start DIRECTORY load RECORDS     open the node, read the last record
 */
#include "bench/bench.h"

static void open_node(eg_node **node, const char *directory) {
    eg_note note;

    if (eg_open(&(eg_options){.schedulers = 2, .data_dir = directory}, node, &note) == EG_OK)
        return;
    fprintf(stderr, "bench_start: %s: %s\n", directory, note.text);
    exit(1);
}

static void fill(eg_node *node, uint64_t records) {
    uint8_t record[BENCH_RECORD_ENCODED];
    eg_table *table = bench_create(node, "start", "storage", "disc");

    for (uint64_t i = 0; i < records; i++) {
        eg_err err;
        while ((err = eg_write(table, bench_record(record, i, 1))) == EG_BUSY)
            usleep(1000); /* the disc's writer is behind */
        bench_must(err, "write");
    }
    eg_table_close(table);
}

static void check_loaded(eg_node *node, uint64_t records) {
    uint8_t key[BENCH_KEY_ENCODED];
    eg_table *table;
    eg_span record;

    bench_must(eg_table_open(node, "start", &table), "open");
    bench_key(key, records - 1);
    bench_must(eg_read_begin(node), "begin");
    bench_must(eg_get(table, (eg_span){key, sizeof key}, &record), "get");
    eg_read_end(node);
    if (eg_size(table) != records)
        bench_must(EG_INTERNAL, "size");
    eg_table_close(table);
}

int main(int argc, char **argv) {
    uint64_t records = argc == 4 ? strtoull(argv[3], NULL, 10) : 0;
    double start = bench_now_s();
    eg_node *node;

    if (records == 0) {
        fputs("bench_start DIRECTORY fill|load RECORDS\n", stderr);
        return 2;
    }
    open_node(&node, argv[1]);
    if (strcmp(argv[2], "fill") == 0) {
        fill(node, records);
    } else {
        check_loaded(node, records);
        bench_print("load", (double) records / (bench_now_s() - start), "records/s");
    }
    eg_close(node);
    return 0;
}
