/* Goal: an index finds exactly the records whose attribute has a value, whatever
 * happened to them before, and a write that any part refuses leaves all parts as
 * they were.  Method: an ordered store with two indexes is kept as a shard keeps
 * it, with random changes, random refusals and memory running out; the store
 * itself, searched naively, says what an index must answer. */
#include "tables/index.h"

#include "tables/reader.h"
#include "tests/support/rng.h"
#include "tests/support/shard_memory.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { INDEXES = 2, FOUND_MAX = 4096 };

static struct trial {
    uint64_t seed;
    struct rng rng;
    struct shard_memory memory;
    struct reader reader;
    struct store_opts opts;
    struct store *store;
    struct index *index[INDEXES]; /* on attributes 1 and 2 */
    uint64_t hlc;
    uint64_t refusals;
} t;

/* ---- what a shard does -------------------------------------------------- */

/* Change the indexes from `old` to `now`, all or none. */
static eg_err update_indexes(const struct record *old, const struct record *now) {
    for (uint32_t i = 0; i < INDEXES; i++) {
        if (index_update(t.index[i], old, now) == EG_OK)
            continue;
        while (i-- > 0)
            index_undo(t.index[i]);
        return EG_MEMORY;
    }
    return EG_OK;
}

static void undo_indexes(void) {
    for (uint32_t i = INDEXES; i-- > 0;)
        index_undo(t.index[i]);
}

static void write_record(struct record *rec) {
    const struct record *old = NULL, *replaced;
    struct key k;
    eg_err err;

    cr_assert_eq(key_prepare(&k, record_key(rec), 0, &t.memory.alloc.base), EG_OK);
    if (!t.opts.bag)
        old = t.store->ops->get(t.store, &t.reader, &k);
    err = update_indexes(old, rec);
    if (err == EG_OK) {
        err = rng_one_in(&t.rng, 20) ? EG_MEMORY : t.store->ops->put(t.store, &k, rec, &replaced);
        if (err != EG_OK)
            undo_indexes();
    }
    if (err != EG_OK) {
        t.refusals++;
        epoch_retire(&t.memory.bin, slab_free, t.memory.slab, rec, record_bytes(rec));
    }
    key_release(&k);
}

static void remove_record(const struct record *rec) {
    struct key k;
    eg_err err;

    cr_assert_eq(key_prepare(&k, record_key(rec), 0, &t.memory.alloc.base), EG_OK);
    err = update_indexes(rec, NULL);
    if (err == EG_OK) {
        err = rng_one_in(&t.rng, 20) ? EG_MEMORY : t.store->ops->remove(t.store, &k, rec);
        if (err != EG_OK)
            undo_indexes();
    }
    t.refusals += err != EG_OK;
    key_release(&k);
}

/* ---- random records ----------------------------------------------------- */

/* A value from a small domain, in one of the encodings that it has. */
static void put_some(struct value_writer *w, uint64_t n) {
    char text[80];

    if (n == 0)
        value_put_nil(w);
    else if (n == 4)
        value_put_double(w, rng_one_in(&t.rng, 2) ? NAN : -NAN); /* equal in other bytes */
    else if (n % 3 == 0)
        value_put_i64(w, (int64_t) n);
    else if (n % 3 == 1)
        value_put_double(w, (double) (n - 1)); /* the integers of the line above, as floats */
    else {
        snprintf(text, sizeof text, "An Organisation With A Long Name, Department %" PRIu64, n);
        value_put_text(w, text);
    }
}

static struct record *random_record(void) {
    uint8_t bytes[512];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);

    value_put_array(&w, 3);
    value_put_i64(&w, (int64_t) rng_below(&t.rng, 4000));
    put_some(&w, rng_below(&t.rng, 12)); /* long runs of equal values */
    put_some(&w, rng_below(&t.rng, 900));
    return shard_memory_record(&t.memory, (struct value){bytes, (uint32_t) w.need_bytes}, ++t.hlc);
}

static const struct record *some_record(void) {
    struct record *place = random_record();
    const struct record *rec = NULL;
    struct store_cursor c;
    struct key k;

    if (place == NULL)
        return NULL;
    cr_assert_eq(key_prepare(&k, record_key(place), 0, &t.memory.alloc.base), EG_OK);
    t.store->ops->seek(t.store, &t.reader, &c, &k, false, rng_one_in(&t.rng, 2));
    rec = t.store->ops->next(t.store, &t.reader, &c);
    key_release(&k);
    shard_memory_free_record(&t.memory, place);
    return rec;
}

/* ---- answers ------------------------------------------------------------ */

static int by_address(const void *a, const void *b) {
    const struct record *const *x = a, *const *y = b;

    return ((uintptr_t) *x > (uintptr_t) *y) - ((uintptr_t) *x < (uintptr_t) *y);
}

/* A look-up finds what a scan of the index has found, in any order; a scan downwards too. */
static void check_look_up(uint32_t i, struct value v, const struct record *const *wanted,
                          uint32_t count) {
    static const struct record *sorted[FOUND_MAX], *found[FOUND_MAX];
    const struct index *const indexes[2] = {t.index[i], t.index[i]};
    const struct record *rec;
    struct index_runs runs;
    struct index_iter back;

    index_seek(t.index[i], &back,
               &(struct index_bounds){.equal = &v, .equal_count = 1, .reverse = true});
    for (uint32_t n = count; n-- > 0;)
        cr_assert_eq(index_next(&back), wanted[n], "seed %" PRIu64 ": not so backwards", t.seed);
    cr_assert_null(index_next(&back));
    memcpy(sorted, wanted, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), by_address);
    index_find_many(&runs, indexes, 2, &v, 1);
    for (size_t n = 0; n < 2; n++) {
        uint32_t found_count = 0;

        while ((rec = index_runs_next(&runs, n)) != NULL) {
            cr_assert_lt(found_count, count, "seed %" PRIu64 ": found too many", t.seed);
            found[found_count++] = rec;
        }
        qsort(found, found_count, sizeof(*found), by_address);
        cr_assert_eq(found_count, count, "seed %" PRIu64 ": found too few", t.seed);
        cr_assert_eq(memcmp(found, sorted, count * sizeof(*found)), 0,
                     "seed %" PRIu64 ": found others", t.seed);
    }
}

static void check_answer(uint32_t i, struct value v) {
    static const struct record *found[FOUND_MAX];
    uint32_t count = 0, seen = 0;
    const struct record *rec;
    struct index_iter it;
    struct store_cursor c;

    index_seek(t.index[i], &it, &(struct index_bounds){.equal = &v, .equal_count = 1});
    while ((rec = index_next(&it)) != NULL) {
        cr_assert_lt(count, FOUND_MAX);
        found[count++] = rec;
    }
    check_look_up(i, v, found, count);
    t.store->ops->seek(t.store, &t.reader, &c, NULL, false, false);
    while ((rec = t.store->ops->next(t.store, &t.reader, &c)) != NULL) {
        if (value_compare(record_field(rec, i + 1), v) != 0)
            continue;
        cr_assert_lt(seen, count, "seed %" PRIu64 ": a record is missing", t.seed);
        cr_assert_eq(found[seen++], rec, "seed %" PRIu64 ": not the records in key order", t.seed);
    }
    cr_assert_eq(seen, count, "seed %" PRIu64 ": found what is not there", t.seed);
}

static void check_random_answer(void) {
    uint8_t bytes[128];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);
    uint32_t i = (uint32_t) rng_below(&t.rng, INDEXES);

    put_some(&w, rng_below(&t.rng, i == 0 ? 14 : 900));
    check_answer(i, (struct value){bytes, (uint32_t) w.need_bytes});
}

static void check_everything(void) {
    t.store->ops->check(t.store);
    for (uint32_t i = 0; i < INDEXES; i++)
        index_check(t.index[i], t.store, &t.reader);
}

/* ---- trials ------------------------------------------------------------- */

static void step(void) {
    uint64_t dice = rng_below(&t.rng, 100);
    bool growing = t.hlc / 2000 % 2 == 0;

    if (dice < (growing ? 70u : 40u)) {
        struct record *rec = random_record();
        if (rec != NULL)
            write_record(rec);
    } else if (dice < 97) {
        const struct record *rec = some_record();
        if (rec != NULL)
            remove_record(rec);
    } else {
        check_random_answer();
    }
}

static void trial(uint64_t seed) {
    memset(&t, 0, sizeof t);
    t.seed = seed;
    t.rng = rng_of(seed);
    shard_memory_open(&t.memory);
    cr_assert_eq(reader_open(&t.reader, t.memory.domain, &t.memory.alloc.base), EG_OK);
    t.opts = (struct store_opts){.alloc = &t.memory.alloc.base,
                                 .slab = t.memory.slab,
                                 .bin = &t.memory.bin,
                                 .bag = seed % 2 == 0};
    cr_assert_eq(store_ordered_open(&t.store, &t.opts), EG_OK);
    for (uint16_t i = 0; i < INDEXES; i++) {
        struct index_spec spec = index_spec_of(i + 1);
        cr_assert_eq(index_open(&t.index[i], &t.opts, &spec), EG_OK);
    }

    for (uint32_t i = 0; i < 6000; i++) {
        if (rng_one_in(&t.rng, 400)) /* memory comes and goes */
            t.memory.alloc.left = t.memory.alloc.left > 0 ? 0 : INT_MAX;
        reader_enter(&t.reader);
        step();
        if (i % 1000 == 0)
            check_everything();
        reader_exit(&t.reader);
        epoch_sweep(&t.memory.bin);
    }
    t.memory.alloc.left = INT_MAX;
    check_everything();

    index_clear(t.index[0]);
    cr_assert_eq(index_stats(t.index[0]).count, 0);
    for (uint32_t i = 0; i < INDEXES; i++)
        index_retire(t.index[i]);
    cr_assert_eq(t.store->ops->clear(t.store), EG_OK);
    t.store->ops->close(t.store);
    reader_close(&t.reader);
    shard_memory_close(&t.memory, 0);
}

Test(index_model, finds_exactly_the_records_that_the_store_has, .timeout = 240) {
    uint64_t first = rng_test_seed(1);
    uint64_t refusals = 0;

    for (uint64_t seed = first; seed < first + (rng_is_replay() ? 1 : 20); seed++) {
        trial(seed);
        refusals += t.refusals;
    }
    cr_assert(rng_is_replay() || refusals > 0, "nothing was refused");
}
