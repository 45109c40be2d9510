/* bench.h -- what the embedded benchmarks share: records, a clock, one line a figure.
 *
 * Every figure is printed as `name value unit`, which bench/run reads.  A record is
 * [key, value]: a string of 16 digits, a binary of 64 bytes.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "engram.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    BENCH_KEY_BYTES = 16,
    BENCH_VALUE_BYTES = 64,
    BENCH_PAYLOAD_BYTES = BENCH_KEY_BYTES + BENCH_VALUE_BYTES,
    BENCH_KEY_ENCODED = 1 + BENCH_KEY_BYTES,
    BENCH_RECORD_ENCODED = 1 + BENCH_KEY_ENCODED + 2 + BENCH_VALUE_BYTES,
};

static inline void bench_must(eg_err err, const char *what) {
    if (err == EG_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, eg_err_text(err));
    exit(1);
}

static inline double bench_now_s(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

static inline void bench_print(const char *name, double value, const char *unit) {
    printf("%-44s %14.1f %s\n", name, value, unit);
    fflush(stdout);
}

static inline double bench_resident_bytes(void) {
    unsigned long total, resident;
    FILE *f = fopen("/proc/self/statm", "r");

    if (f == NULL || fscanf(f, "%lu %lu", &total, &resident) != 2)
        exit(1);
    fclose(f);
    return (double) resident * (double) sysconf(_SC_PAGESIZE);
}

static inline uint64_t bench_random(uint64_t *s) { /* splitmix64 */
    uint64_t z = (*s += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Key number `n`, in BENCH_KEY_ENCODED bytes. */
static inline void bench_key(uint8_t *at, uint64_t n) {
    static const char digits[] = "0123456789abcdef";

    at[0] = 0xa0 | BENCH_KEY_BYTES;
    for (int i = BENCH_KEY_BYTES; i > 0; i--, n >>= 4)
        at[i] = (uint8_t) digits[n & 15];
}

/* Its record, in BENCH_RECORD_ENCODED bytes, the value all `fill`. */
static inline eg_span bench_record(uint8_t *at, uint64_t n, uint8_t fill) {
    uint8_t *value = at + 1 + BENCH_KEY_ENCODED;

    at[0] = 0x92;
    bench_key(at + 1, n);
    value[0] = 0xc4; /* bin 8 */
    value[1] = BENCH_VALUE_BYTES;
    memset(value + 2, fill, BENCH_VALUE_BYTES);
    return (eg_span){at, BENCH_RECORD_ENCODED};
}

/* Create and open a table, with one option of create_table. */
static inline eg_table *bench_create(eg_node *node, const char *name, const char *option,
                                     const char *value) {
    uint8_t bytes[64];
    eg_writer w = eg_writer_init(bytes, sizeof bytes);
    eg_span options;
    eg_table *table;

    eg_put_map(&w, 1);
    eg_put_string(&w, option);
    eg_put_string(&w, value);
    options = eg_written(&w);
    bench_must(eg_create_table(node, name, &options, NULL), "create");
    bench_must(eg_table_open(node, name, &table), "open");
    return table;
}

#endif /* BENCH_BENCH_H */
