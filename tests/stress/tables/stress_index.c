/* stress_index.c -- look-ups by value in an index whose hash grows and shrinks under them.
 *
 * Goal: a record that keeps its value is found by it exactly once, at any moment, whatever comes
 * and goes around it, also while it is replaced; nothing is found that is not of the value;
 * one record is never found twice, whatever happens to it.
 * Method: residents with a value each, two of them with the same, among passing records in
 * tides, some with the residents' values, some in crowds: segments are split, merged and
 * gathered, and the hash itself comes and goes.  Records repeat their version in every word.
 *
 * With EG_PLANT_... compiled in (see tests/CMakeLists.txt) it must fail, and stops as soon as
 * it has.  Run under TSan too. */
#include "tables/index.h"

#include "tables/reader.h"
#include "tests/support/rng.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RESIDENTS = 512, /* two of each value: keys 0 .. 511, values 0 .. 255  */
    VALUES = RESIDENTS / 2,
    PASSING = 6000, /* keys behind them */
    CROWDS = 4,     /* values that many passing ones have */
    WORDS = 4,
    ROW_BYTES = 1 + 5 + 5 + 2 + WORDS * 8,
    TIDES = 12, /* unless said otherwise: argv[1] */
    FINDERS = 2,
};

static struct stress {
    struct epoch *domain;
    struct epoch_bin bin;
    struct slab *slab;
    struct index *index;
    const struct record *record[RESIDENTS + PASSING]; /* the writer's */
    uint64_t version, count;
    _Atomic bool stop;
    _Atomic uint64_t finds, missed, twice, foreign, torn;
} t;

/* ---- records: [key, value, binary of WORDS times the version] -------------------------- */

static uint8_t *put_number(uint8_t *at, uint32_t n) {
    *at++ = 0xce;
    n += 1u << 20; /* so that this is the shortest form */
    for (int i = 0; i < 4; i++)
        *at++ = (uint8_t) (n >> (24 - 8 * i));
    return at;
}

static struct record *make_record(uint32_t key, uint32_t value) {
    uint8_t row[ROW_BYTES] = {0x93};
    uint8_t *at = put_number(put_number(row + 1, key), value);
    uint64_t version = ++t.version;
    void *memory = slab_get(t.slab, record_bytes_for(ROW_BYTES, false));

    EG_ASSERT(memory != NULL);
    *at++ = 0xc4;
    *at++ = WORDS * 8;
    for (int i = 0; i < WORDS; i++)
        memcpy(at + 8 * i, &version, 8);
    return record_init(memory, (struct value){row, ROW_BYTES}, (struct record_version){version, 1},
                       0);
}

static uint32_t number_in(const struct record *rec, uint32_t position) {
    uint64_t n = 0;
    bool is_number = value_get_u64(record_field(rec, position), &n);

    return is_number ? (uint32_t) n - (1u << 20) : UINT32_MAX;
}

static bool is_whole(const struct record *rec) {
    uint64_t word[WORDS];

    memcpy(word, record_array(rec) + ROW_BYTES - sizeof word, sizeof word);
    for (int i = 1; i < WORDS; i++)
        if (word[i] != word[0])
            return false;
    return true;
}

/* ---- the writer ---------------------------------------------------------------------------- */

static void change(uint32_t key, struct record *now) {
    const struct record *old = t.record[key];

    EG_ASSERT(index_update(t.index, old, now) == EG_OK);
    t.count += (now != NULL) - (uint64_t) (old != NULL);
    t.record[key] = now;
    if (old != NULL)
        epoch_retire(&t.bin, slab_free, t.slab, (void *) (uintptr_t) old, record_bytes(old));
    epoch_flush(&t.bin); /* as eager as can be */
}

static uint32_t passing_value(struct rng *rng) {
    uint64_t dice = rng_below(rng, 10);

    if (dice == 0)
        return VALUES + (uint32_t) rng_below(rng, CROWDS);
    return dice == 1 ? (uint32_t) rng_below(rng, VALUES) : 1000 + (uint32_t) rng_below(rng, 4000);
}

static bool has_failed(void) {
    return t.missed + t.twice + t.foreign + t.torn != 0;
}

/* One tide: up to about `most` passing records, or down to that. */
static void write_tide(struct rng *rng, uint64_t most, bool rising) {
    while (!has_failed() && (rising ? t.count < most : t.count > most)) {
        uint32_t key = (uint32_t) rng_below(rng, RESIDENTS + PASSING);

        if (key < RESIDENTS)
            change(key, make_record(key, key / 2));
        else if (rng_one_in(rng, 30) ? !rising : rising)
            change(key, make_record(key, passing_value(rng)));
        else if (t.record[key] != NULL)
            change(key, NULL);
    }
}

/* ---- readers ----------------------------------------------------------------------------------
 */

struct met {
    const struct record *record[64];
    uint32_t residents, count;
};

static void meet(struct met *met, const struct record *rec, uint32_t value) {
    t.torn += !is_whole(rec);
    t.foreign += number_in(rec, 1) != value;
    met->residents += number_in(rec, 0) < RESIDENTS;
    for (uint32_t i = 0; i < met->count; i++)
        t.twice += number_in(met->record[i], 0) == number_in(rec, 0);
    if (met->count < EG_COUNTOF(met->record))
        met->record[met->count++] = rec;
}

static void look_up(struct met *met, struct value v, uint32_t value) {
    const struct index *const indexes[2] = {t.index, t.index};
    const struct record *rec;
    struct index_runs runs;

    index_find_many(&runs, indexes, 2, &v, 1);
    while ((rec = index_runs_next(&runs, 1)) != NULL)
        meet(met, rec, value);
}

static void scan(struct met *met, struct value v, uint32_t value) {
    const struct record *rec;
    struct index_iter it;

    index_seek(t.index, &it, &(struct index_bounds){.equal = &v, .equal_count = 1});
    while ((rec = index_next(&it)) != NULL)
        meet(met, rec, value);
}

static void find(struct reader *r, uint32_t value, bool by_scan) {
    struct met met = {.count = 0};
    uint8_t bytes[5];

    put_number(bytes, value);
    reader_enter(r);
    (by_scan ? scan : look_up)(&met, (struct value){bytes, sizeof bytes}, value);
    reader_exit(r);
    t.missed += value < VALUES && met.residents != 2;
    t.finds++;
}

static void *finder(void *arg) {
    struct rng rng = rng_of((uint64_t) (uintptr_t) &rng ^ (uint64_t) (uintptr_t) arg);
    struct reader r;

    EG_ASSERT(reader_open(&r, t.domain, alloc_system()) == EG_OK);
    while (!atomic_load(&t.stop))
        find(&r,
             rng_one_in(&rng, 8) ? VALUES + (uint32_t) rng_below(&rng, CROWDS)
                                 : (uint32_t) rng_below(&rng, VALUES),
             rng_one_in(&rng, 3));
    reader_close(&r);
    return NULL;
}

/* ---- the run -----------------------------------------------------------------------------------
 */

static int claim(int number, bool ok, const char *what, uint64_t count) {
    printf("%s %d - %s # %" PRIu64 "\n", ok ? "ok" : "not ok", number, what, count);
    return ok ? 0 : 1;
}

static void open_index(void) {
    struct index_spec spec = index_spec_of(1);
    struct store_opts opts = {.alloc = alloc_system(), .bin = &t.bin, .seed = 7};

    EG_ASSERT(epoch_open(&t.domain, alloc_system(), 8) == EG_OK);
    epoch_bin_init(&t.bin, t.domain, alloc_system());
    EG_ASSERT(slab_open(&t.slab, alloc_system()) == EG_OK);
    opts.slab = t.slab;
    EG_ASSERT(index_open(&t.index, &opts, &spec) == EG_OK);
    for (uint32_t key = 0; key < RESIDENTS; key++)
        change(key, make_record(key, key / 2));
}

int main(int argc, char **argv) {
    int tides = argc > 1 ? atoi(argv[1]) : TIDES, failures = 0;
    uint64_t seed = rng_test_seed(1);
    struct rng rng = rng_of(seed);
    pthread_t thread[FINDERS];

    open_index();
    for (int i = 0; i < FINDERS; i++)
        EG_ASSERT(pthread_create(&thread[i], NULL, finder, (void *) (uintptr_t) i) == 0);
    for (int i = 0; (i < tides || t.finds == 0) && !has_failed();
         i++) /* every third is a great one */
        write_tide(&rng, i % 2 == 0 ? 5000 : i % 3 == 0 ? 900 : 2000, i % 2 == 0);
    atomic_store(&t.stop, true);
    for (int i = 0; i < FINDERS; i++)
        pthread_join(thread[i], NULL);

    printf("# EG_SEED=%" PRIu64 ", %" PRIu64 " finds, %" PRIu64 " writes\n1..5\n", seed,
           (uint64_t) t.finds, t.version);
    failures += claim(1, t.missed == 0, "who stays is found", t.missed);
    failures += claim(2, t.twice == 0, "nobody is found twice", t.twice);
    failures += claim(3, t.foreign == 0, "only the value is found", t.foreign);
    failures += claim(4, t.torn == 0, "every record is whole", t.torn);
    failures += claim(5, t.finds > 0, "there was somebody to look", t.finds);
    index_retire(t.index);
    epoch_bin_drain(&t.bin);
    slab_close(t.slab);
    epoch_close(t.domain);
    return failures == 0 ? 0 : 1;
}
