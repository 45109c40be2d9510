/* bench_store.c -- what the stores themselves can do: no actors, no wire, no disc.
 *
 *     bench_store [hash|ordered] [records] [seconds a measurement]
 *
 * A table of 16 shards as a node would hold it, keys of 16 bytes, values of 64.
 * Reads pick keys uniformly, prepare them, choose the shard, enter a section and
 * touch the record found.  Every write allocates its record and retires the old.
 * Single inserts are timed by processor time, which other programs do not inflate.
 * One line a figure on standard output. */
#include "tables/reader.h"
#include "tables/store.h"
#include "tests/support/rng.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    SHARDS = 16,
    THREADS_MAX = 2,
    KEY_TEXT = 16,
    VALUE_BYTES = 64,
    KEY_BYTES = 1 + KEY_TEXT,
    ROW_BYTES = 1 + KEY_BYTES + 2 + VALUE_BYTES,
    PAYLOAD_BYTES = KEY_TEXT + VALUE_BYTES,
    MANY = 16,
    SEED = 12345,
    ASKED = 1 << 20,         /* keys a worker draws ahead: drawing is not what is measured */
    LATENCY_STEPS = 1 << 16, /* of 100 ns: up to 6.5 ms */
};

struct shard {
    struct slab *slab;
    struct store *store;
    struct epoch_bin bin;
};

struct bench {
    struct epoch *domain;
    struct shard shard[SHARDS];
    uint64_t records;
    double seconds;
};

struct worker {
    struct bench *bench;
    void (*work)(struct worker *w);
    struct reader reader;
    struct rng rng;
    uint8_t (*text)[KEY_BYTES]; /* keys to ask for, in random order, again and again */
    uint32_t at;
    uint32_t number, of;
    uint64_t operations;
    double ran; /* seconds by the clock, and of processor time */
    double burnt;
};

static double clock_s(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

static double now(void) {
    return clock_s(CLOCK_MONOTONIC);
}

static uint64_t resident_bytes(void) {
    unsigned long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%lu %lu", &total, &resident) != 2)
        resident = 0;
    if (f != NULL)
        fclose(f);
    return resident * (uint64_t) sysconf(_SC_PAGESIZE);
}

/* ---- keys and records ------------------------------------------------------- */

static void key_text(uint8_t *at, uint64_t n) {
    static const char digits[] = "0123456789abcdef";
    n *= UINT64_C(0x9e3779b97f4a7c15); /* odd, so no two are the same */
    at[0] = 0xa0 | KEY_TEXT;
    for (int i = 0; i < KEY_TEXT; i++, n >>= 4)
        at[1 + i] = (uint8_t) digits[n & 15];
}

static struct shard *prepare(struct bench *b, struct key *k, const uint8_t *text) {
    EG_ASSERT(key_prepare(k, (struct value){text, KEY_BYTES}, SEED, alloc_system()) == EG_OK);
    return &b->shard[(k->hash >> 48) * SHARDS >> 16];
}

static void write_one(struct shard *shard, struct key *k, uint64_t version) {
    uint8_t row[ROW_BYTES] = {0x92};
    const struct record *old;
    void *memory = slab_get(shard->slab, record_bytes_for(ROW_BYTES, false));

    memcpy(row + 1, k->canon, KEY_BYTES);
    row[1 + KEY_BYTES] = 0xc4;
    row[2 + KEY_BYTES] = VALUE_BYTES;
    memcpy(row + 3 + KEY_BYTES, &version, sizeof version);
    EG_ASSERT(memory != NULL);
    record_init(memory, (struct value){row, ROW_BYTES}, (struct record_version){version, 1}, 0);
    EG_ASSERT(shard->store->ops->put(shard->store, k, memory, &old) == EG_OK);
    epoch_sweep(&shard->bin);
}

/* ---- workers ---------------------------------------------------------------- */

static _Thread_local uint64_t sink; /* what was read goes somewhere */

static const uint8_t *next_text(struct worker *w) {
    return w->text[w->at++ % ASKED];
}

static void read_one_by_one(struct worker *w) {
    uint64_t sum = 0;

    for (int i = 0; i < 1000; i++) {
        struct key k;
        struct store *s = prepare(w->bench, &k, next_text(w))->store;
        reader_enter(&w->reader);
        const struct record *rec = s->ops->get(s, &w->reader, &k);
        EG_ASSERT(rec != NULL);
        sum += record_array(rec)[ROW_BYTES - 1] + rec->dot;
        reader_exit(&w->reader);
    }
    sink = sum;
    w->operations += 1000;
}

static void read_many(struct worker *w) {
    struct key key[MANY];
    const struct key *keys[MANY];
    struct store *stores[MANY];
    const struct record *out[MANY];
    uint64_t sum = 0;

    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < MANY; i++) {
            keys[i] = &key[i];
            stores[i] = prepare(w->bench, &key[i], next_text(w))->store;
        }
        reader_enter(&w->reader);
        store_get_many(stores, &w->reader, keys, MANY, out);
        for (int i = 0; i < MANY; i++)
            sum += record_array(out[i])[ROW_BYTES - 1] + out[i]->dot;
        reader_exit(&w->reader);
    }
    sink = sum;
    w->operations += 100 * MANY;
}

/* Each thread owns its share of the shards, as an actor would. */
static void overwrite(struct worker *w) {
    for (int i = 0; i < 1000; i++) {
        struct shard *shard;
        struct key k;
        do {
            shard = prepare(w->bench, &k, next_text(w));
        } while ((uint64_t) (shard - w->bench->shard) % w->of != w->number);
        write_one(shard, &k, (uint64_t) i);
    }
    w->operations += 1000;
}

static void scan_all(struct worker *w) {
    for (int i = 0; i < SHARDS; i++) {
        struct store *s = w->bench->shard[i].store;
        const struct record *rec;
        struct store_cursor c;

        reader_enter(&w->reader);
        s->ops->seek(s, &w->reader, &c, NULL, false, false);
        while ((rec = s->ops->next(s, &w->reader, &c)) != NULL) {
            sink += rec->dot;
            w->operations++;
        }
        reader_exit(&w->reader);
    }
}

static void *run_worker(void *arg) {
    struct worker *w = arg;
    double start, burnt;

    EG_ASSERT(reader_open(&w->reader, w->bench->domain, alloc_system()) == EG_OK);
    w->text = malloc(ASKED * sizeof *w->text);
    EG_ASSERT(w->text != NULL);
    for (uint32_t i = 0; i < ASKED; i++)
        key_text(w->text[i], rng_below(&w->rng, w->bench->records));
    start = now();
    burnt = clock_s(CLOCK_THREAD_CPUTIME_ID);
    do {
        w->work(w);
        w->ran = now() - start;
    } while (w->ran < w->bench->seconds);
    w->burnt = clock_s(CLOCK_THREAD_CPUTIME_ID) - burnt;
    free(w->text);
    reader_close(&w->reader);
    return NULL;
}

static double measure(struct bench *b, const char *name, void (*work)(struct worker *),
                      uint32_t threads) {
    struct worker worker[THREADS_MAX];
    pthread_t thread[THREADS_MAX];
    double rate = 0, burnt = 0, operations = 0;

    for (uint32_t i = 0; i < threads; i++) {
        worker[i] = (struct worker){
            .bench = b, .work = work, .rng = rng_of(i + 1), .number = i, .of = threads};
        EG_ASSERT(pthread_create(&thread[i], NULL, run_worker, &worker[i]) == 0);
    }
    for (uint32_t i = 0; i < threads; i++) {
        pthread_join(thread[i], NULL);
        rate += (double) worker[i].operations / worker[i].ran;
        operations += (double) worker[i].operations;
        burnt += worker[i].burnt;
    }
    printf("%-22s %u thread%s %8.2f M/s %8.0f ns of processor time each\n", name, threads,
           threads == 1 ? " " : "s", rate / 1e6, burnt / operations * 1e9);
    fflush(stdout);
    return rate;
}

/* ---- growth ------------------------------------------------------------------- */

static double latency_us(const uint64_t *histogram, uint64_t count, double share) {
    uint64_t want = (uint64_t) ((double) count * share), seen = 0;
    uint32_t step = 0;

    while (step < LATENCY_STEPS - 1 && (seen += histogram[step]) <= want)
        step++;
    return (step + 1) * 0.1;
}

static void grow(struct bench *b) {
    static uint64_t histogram[LATENCY_STEPS];
    uint64_t resident = resident_bytes(), index = 0;
    double longest = 0, start = now(), before = clock_s(CLOCK_THREAD_CPUTIME_ID);

    for (uint64_t n = 0; n < b->records; n++) {
        uint8_t text[KEY_BYTES];
        struct key k;
        struct shard *shard;

        key_text(text, n);
        shard = prepare(b, &k, text);
        write_one(shard, &k, n);
        double after = clock_s(CLOCK_THREAD_CPUTIME_ID), took = after - before;
        histogram[EG_MIN((uint64_t) (took * 1e7), (uint64_t) LATENCY_STEPS - 1)]++;
        longest = EG_MAX(longest, took);
        before = after;
    }
    resident = resident_bytes() - resident;
    for (int i = 0; i < SHARDS; i++)
        index += b->shard[i].store->ops->stats(b->shard[i].store).index_bytes;
    printf("insert                 1 thread  %8.2f M/s\n",
           (double) b->records / (now() - start) / 1e6);
    printf("insert, processor time p50 %.1f us, p99.99 %.1f us, longest %.1f us\n",
           latency_us(histogram, b->records, 0.5), latency_us(histogram, b->records, 0.9999),
           longest * 1e6);
    printf("memory a record        %.1f bytes over payload, of it index %.1f\n",
           (double) resident / (double) b->records - PAYLOAD_BYTES,
           (double) index / (double) b->records);
}

static void open_bench(struct bench *b, bool ordered) {
    EG_ASSERT(epoch_open(&b->domain, alloc_system(), 16) == EG_OK);
    for (int i = 0; i < SHARDS; i++) {
        struct shard *s = &b->shard[i];
        struct store_opts o = {.alloc = alloc_system(), .bin = &s->bin, .seed = SEED};

        epoch_bin_init(&s->bin, b->domain, alloc_system());
        EG_ASSERT(slab_open(&s->slab, alloc_system()) == EG_OK);
        o.slab = s->slab;
        EG_ASSERT((ordered ? store_ordered_open : store_hash_open)(&s->store, &o) == EG_OK);
    }
}

static void close_bench(struct bench *b) {
    for (int i = 0; i < SHARDS; i++) {
        epoch_bin_drain(&b->shard[i].bin);
        b->shard[i].store->ops->close(b->shard[i].store);
        slab_close(b->shard[i].slab);
    }
    epoch_close(b->domain);
}

int main(int argc, char **argv) {
    bool ordered = argc > 1 && strcmp(argv[1], "ordered") == 0;
    struct bench b = {.records = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000,
                      .seconds = argc > 3 ? strtod(argv[3], NULL) : 1};

    open_bench(&b, ordered);
    printf("%s store, %" PRIu64 " records\n", ordered ? "ordered" : "hash", b.records);
    grow(&b);
    measure(&b, "read", read_one_by_one, 1);
    measure(&b, "read", read_one_by_one, 2);
    measure(&b, "read 16 at once", read_many, 1);
    measure(&b, "read 16 at once", read_many, 2);
    measure(&b, "overwrite", overwrite, 1);
    measure(&b, "overwrite", overwrite, 2);
    measure(&b, "scan", scan_all, 1);
    close_bench(&b);
    return 0;
}
