/* store_conformance.h -- what every store must do, tested once for all of them.
 *
 * A store's test file says how to open one and what it promises, and gets the
 * whole suite:
 *
 *     static eg_err open_mine(struct store **out, const struct store_opts *o) ...
 *     STORE_CONFORMANCE(store_mine, (struct conformance){
 *         .open = open_mine, .ordered = true, .bag = false, .disc = false})
 *
 * Most tests compare with a naive twin: an unsorted array of records that is
 * searched with value_equal().  Random ones take EG_SEED=.
 */
#ifndef TESTS_STORE_CONFORMANCE_H
#define TESTS_STORE_CONFORMANCE_H

#include "tables/reader.h"
#include "tables/store.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/random_value.h"

#include <criterion/criterion.h>
#include <inttypes.h>

struct conformance {
    eg_err (*open)(struct store **out, const struct store_opts *o);
    void (*closed)(void); /* after close, where the opener has something to undo; or NULL */
    bool ordered;         /* scans go by key                                              */
    bool bag;             /* many records a key                                           */
    bool disc;            /* records are copied out; memory is not the slab's             */
};

/* ---- a store and its surroundings ----------------------------------------- */

enum { STAND_KEY_SEED = 77 };

struct stand {
    struct conformance is;
    struct fail_alloc memory;
    struct epoch *domain;
    struct epoch_bin bin;
    struct slab *slab;
    struct store *store;
    struct reader reader;
    uint64_t versions;
};

static void stand_open(struct stand *t, struct conformance is) {
    struct store_opts o;

    *t = (struct stand){.is = is, .memory = fail_alloc_after(INT_MAX)};
    cr_assert_eq(epoch_open(&t->domain, &t->memory.base, 4), EG_OK);
    epoch_bin_init(&t->bin, t->domain, &t->memory.base);
    cr_assert_eq(slab_open(&t->slab, &t->memory.base), EG_OK);
    cr_assert_eq(reader_open(&t->reader, t->domain, &t->memory.base), EG_OK);
    o = (struct store_opts){.alloc = &t->memory.base,
                            .slab = t->slab,
                            .bin = &t->bin,
                            .seed = STAND_KEY_SEED,
                            .bag = is.bag};
    cr_assert_eq(is.open(&t->store, &o), EG_OK);
    cr_assert_eq(t->store->ordered, is.ordered);
    cr_assert_eq(t->store->bag, is.bag);
}

/* Empty the store, and see that nothing of it is left anywhere. */
static void stand_close(struct stand *t) {
    reader_close(&t->reader);
    cr_assert_eq(t->store->ops->clear(t->store), EG_OK);
    t->store->ops->check(t->store);
    epoch_bin_drain(&t->bin);
    if (!t->is.disc && t->bin.lost_bytes == 0)
        cr_assert_leq(slab_stats(t->slab).objects, 4, "records or nodes leaked");
    t->store->ops->close(t->store);
    if (t->is.closed != NULL)
        t->is.closed();
    epoch_bin_drain(&t->bin);
    slab_close(t->slab);
    epoch_close(t->domain);
    cr_assert_eq(t->memory.live, 0, "%d allocations leaked", (int) t->memory.live);
}

/* A record [key, rest] from the slab.  NULL: no memory. */
static struct record *stand_record(struct stand *t, struct value array, uint64_t expiry_ms) {
    size_t bytes = record_bytes_for(array.size_bytes, expiry_ms != 0);
    void *memory = slab_get(t->slab, bytes);
    struct record_version version = {++t->versions, t->versions ^ UINT64_C(0x5555)};

    return memory == NULL ? NULL : record_init(memory, array, version, expiry_ms);
}

static struct value array_key(struct value array) {
    struct value key;
    cr_assert(array_element(array, 0, &key));
    return key;
}

static void stand_key(struct stand *t, struct key *k, struct value v) {
    (void) t;
    cr_assert_eq(key_prepare(k, v, STAND_KEY_SEED, alloc_system()), EG_OK);
}

/* Put the array; tells whether something was replaced. */
static eg_err stand_put_expiring(struct stand *t, struct value array, uint64_t expiry_ms,
                                 bool *replaced) {
    struct record *rec = stand_record(t, array, expiry_ms);
    const struct record *old = NULL;
    size_t bytes = record_bytes_for(array.size_bytes, expiry_ms != 0);
    struct key k;
    eg_err err;

    if (rec == NULL)
        return EG_MEMORY;
    stand_key(t, &k, array_key(array));
    reader_enter(&t->reader);
    err = t->store->ops->put(t->store, &k, rec, &old);
    if (err != EG_OK)
        slab_put(t->slab, rec, bytes); /* still ours */
    else if (old != NULL)
        cr_assert(value_equal(record_key(old), k.value), "the old record is still readable");
    if (err == EG_OK && replaced != NULL)
        *replaced = old != NULL;
    reader_exit(&t->reader);
    key_release(&k);
    epoch_sweep(&t->bin);
    return err;
}

static eg_err stand_put(struct stand *t, struct value array) {
    return stand_put_expiring(t, array, 0, NULL);
}

/* [n, payload of `size` bytes] */
static struct value number_record(uint64_t n, uint64_t version, size_t size, uint8_t *buffer,
                                  size_t buffer_bytes) {
    struct value_writer w = value_writer_init(buffer, buffer_bytes);
    static const uint8_t zeroes[100000];

    value_put_array(&w, 3);
    value_put_u64(&w, n);
    value_put_u64(&w, version);
    value_put_binary(&w, zeroes, size);
    cr_assert(!w.overflow);
    return (struct value){buffer, (uint32_t) w.need_bytes};
}

static void put_number(struct stand *t, uint64_t n, uint64_t version) {
    uint8_t buffer[64];
    cr_assert_eq(stand_put(t, number_record(n, version, 10, buffer, sizeof buffer)), EG_OK);
}

/* The version of record [n, ...], or -1. */
static int64_t get_number(struct stand *t, uint64_t n) {
    uint8_t buffer[16];
    struct value_writer w = value_writer_init(buffer, sizeof buffer);
    const struct record *rec;
    int64_t version = -1;
    struct key k;

    value_put_u64(&w, n);
    stand_key(t, &k, (struct value){buffer, (uint32_t) w.need_bytes});
    reader_enter(&t->reader);
    rec = t->store->ops->get(t->store, &t->reader, &k);
    if (rec != NULL)
        cr_assert(value_get_i64(record_field(rec, 1), &version));
    reader_exit(&t->reader);
    return version;
}

static uint64_t record_number(const struct record *rec) {
    uint64_t n;
    cr_assert(value_get_u64(record_key(rec), &n));
    return n;
}

static bool remove_number(struct stand *t, uint64_t n) {
    uint8_t buffer[16];
    struct value_writer w = value_writer_init(buffer, sizeof buffer);
    const struct record *rec;
    struct key k;

    value_put_u64(&w, n);
    stand_key(t, &k, (struct value){buffer, (uint32_t) w.need_bytes});
    reader_enter(&t->reader);
    rec = t->store->ops->get(t->store, &t->reader, &k);
    if (rec != NULL)
        cr_assert_eq(t->store->ops->remove(t->store, &k, rec), EG_OK);
    reader_exit(&t->reader);
    epoch_sweep(&t->bin);
    return rec != NULL;
}

/* ---- the naive twin --------------------------------------------------------- */

enum { TWIN_MAX = 3000 };

struct twin {
    struct value row[TWIN_MAX]; /* copies */
    uint64_t expiry_ms[TWIN_MAX];
    uint32_t count;
    bool bag;
};

static uint32_t twin_find(const struct twin *w, struct value key, uint32_t from) {
    while (from < w->count && !value_equal(array_key(w->row[from]), key))
        from++;
    return from;
}

static uint32_t twin_find_row(const struct twin *w, struct value row) {
    uint32_t i = 0;
    while (i < w->count && !value_equal(w->row[i], row))
        i++;
    return i;
}

static bool twin_put(struct twin *w, struct value row, uint64_t expiry_ms) {
    uint32_t i = w->bag ? twin_find_row(w, row) : twin_find(w, array_key(row), 0);
    bool replaced = i < w->count;
    uint8_t *copy = malloc(row.size_bytes);

    cr_assert_lt(i, TWIN_MAX);
    memcpy(copy, row.at, row.size_bytes);
    if (replaced)
        free((void *) w->row[i].at);
    else
        w->count++;
    w->row[i] = (struct value){copy, row.size_bytes};
    w->expiry_ms[i] = expiry_ms;
    return replaced;
}

static void twin_remove(struct twin *w, uint32_t i) {
    free((void *) w->row[i].at);
    w->count--;
    w->row[i] = w->row[w->count];
    w->expiry_ms[i] = w->expiry_ms[w->count];
}

static void twin_clear(struct twin *w) {
    while (w->count > 0)
        twin_remove(w, 0);
}

/* The record is exactly as the twin remembers it, bytes and expiry. */
static void twin_expects(const struct twin *w, const struct record *rec, uint64_t seed) {
    uint32_t i = w->bag ? twin_find_row(w, record_value(rec)) : twin_find(w, record_key(rec), 0);

    cr_assert_lt(i, w->count, "seed %" PRIu64 ": a record that nobody put", seed);
    cr_assert_eq(record_array_bytes(rec), w->row[i].size_bytes, "seed %" PRIu64, seed);
    cr_assert(memcmp(record_array(rec), w->row[i].at, w->row[i].size_bytes) == 0,
              "seed %" PRIu64 ": not the bytes that were put last", seed);
    cr_assert_eq(record_expiry_ms(rec), w->expiry_ms[i], "seed %" PRIu64, seed);
}

/* The whole store, scanned, is the whole twin, and in order where it has one. */
static void twin_expects_all(const struct twin *w, struct stand *t, uint64_t seed) {
    struct store_cursor c;
    const struct record *rec, *last = NULL;
    uint32_t seen = 0;

    t->store->ops->check(t->store);
    cr_assert_eq(t->store->ops->stats(t->store).count, w->count, "seed %" PRIu64, seed);
    reader_enter(&t->reader);
    t->store->ops->seek(t->store, &t->reader, &c, NULL, false, false);
    while ((rec = t->store->ops->next(t->store, &t->reader, &c)) != NULL) {
        twin_expects(w, rec, seed);
        if (t->is.ordered && last != NULL) {
            int order = value_compare(record_key(last), record_key(rec));
            cr_assert(order < 0 || (t->is.bag && order == 0), "seed %" PRIu64 ": order", seed);
        }
        last = rec;
        seen++;
    }
    cr_assert_eq(seen, w->count, "seed %" PRIu64 ": scan saw %u of %u", seed, seen, w->count);
    reader_exit(&t->reader);
}

/* ---- claims ------------------------------------------------------------------ */

static void conformance_empty(struct conformance is) {
    struct stand t;
    struct store_cursor c;

    stand_open(&t, is);
    t.store->ops->check(t.store);
    cr_assert_eq(get_number(&t, 1), -1);
    cr_assert_eq(t.store->ops->stats(t.store).count, 0);
    cr_assert_lt(t.store->ops->stats(t.store).index_bytes, 512, "an empty store is tiny");
    reader_enter(&t.reader);
    t.store->ops->seek(t.store, &t.reader, &c, NULL, false, false);
    cr_assert_null(t.store->ops->next(t.store, &t.reader, &c));
    cr_assert_null(t.store->ops->next(t.store, &t.reader, &c));
    reader_exit(&t.reader);
    stand_close(&t);
}

/* A random record [key, field, padding]. */
static struct value random_row(struct rng *rng, uint64_t variety, size_t padding, uint8_t *buffer,
                               size_t bytes) {
    static const uint8_t zeroes[SLAB_OBJECT_MAX];
    struct value_writer w = value_writer_init(buffer, bytes);

    value_put_array(&w, 3);
    random_value(&w, rng, variety, 2);
    random_value(&w, rng, 5, 1);
    value_put_binary(&w, zeroes, padding);
    cr_assert(!w.overflow);
    return (struct value){buffer, (uint32_t) w.need_bytes};
}

/* Remove what is under a random key, from both. */
static void random_remove(struct stand *t, struct twin *twin, struct value key, uint64_t seed) {
    const struct record *rec;
    struct key k;
    eg_err err = EG_OK;

    stand_key(t, &k, key);
    reader_enter(&t->reader);
    rec = t->store->ops->get(t->store, &t->reader, &k);
    cr_assert_eq(rec != NULL, twin_find(twin, key, 0) < twin->count,
                 "seed %" PRIu64 ": presence of a key", seed);
    if (rec != NULL) {
        twin_expects(twin, rec, seed);
        uint32_t i = twin->bag ? twin_find_row(twin, record_value(rec)) : twin_find(twin, key, 0);
        err = t->store->ops->remove(t->store, &k, rec);
        if (err == EG_OK)
            twin_remove(twin, i);
    }
    reader_exit(&t->reader);
    key_release(&k);
    epoch_sweep(&t->bin);
}

static void conformance_random(struct conformance is) {
    uint64_t first = rng_test_seed(1), last = rng_is_replay() || is.disc ? first : first + 30;
    static struct twin twin;

    for (uint64_t seed = first; seed <= last; seed++) {
        struct rng rng = rng_of(seed);
        uint64_t variety = 1 + rng_below(&rng, 300);
        struct stand t;

        stand_open(&t, is);
        twin.bag = is.bag;
        for (int step = 0; step < 3000; step++) {
            uint8_t buffer[2048];
            struct value row = random_row(&rng, variety, 0, buffer, sizeof buffer);
            uint64_t expiry = rng_one_in(&rng, 4) ? 1 + rng_below(&rng, 1000) : 0;
            bool replaced;

            /* tides of growth and of removal, so that the store also shrinks */
            if (rng_below(&rng, 10) < ((step / 500) % 2 == 0 ? 7 : 2)) {
                cr_assert_eq(stand_put_expiring(&t, row, expiry, &replaced), EG_OK);
                cr_assert_eq(replaced, twin_put(&twin, row, expiry), "seed %" PRIu64, seed);
            } else {
                random_remove(&t, &twin, array_key(row), seed);
            }
            if (rng_one_in(&rng, 1000)) {
                cr_assert_eq(t.store->ops->clear(t.store), EG_OK);
                twin_clear(&twin);
            }
            if (step % 250 == 0)
                twin_expects_all(&twin, &t, seed);
        }
        twin_expects_all(&twin, &t, seed);
        twin_clear(&twin);
        stand_close(&t);
    }
}

/* Goal: a value is one key in whatever encoding it comes. */
static void conformance_equal_keys(struct conformance is) {
    static const uint8_t one_int[] = {0x92, 0x01, 0xc0}, /* [1, nil] */
        one_long[] = {0x92, 0xd3, 0, 0, 0, 0, 0, 0, 0, 1, 0xc0},
                         one_float[] = {0x92, 0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 0xc0};
    const struct value row[] = {
        {one_int, sizeof one_int}, {one_long, sizeof one_long}, {one_float, sizeof one_float}};
    bool replaced;
    struct stand t;

    stand_open(&t, is);
    cr_assert_eq(stand_put_expiring(&t, row[0], 0, &replaced), EG_OK);
    cr_assert(!replaced);
    for (int i = 1; i < 9; i++) {
        cr_assert_eq(stand_put_expiring(&t, row[i % 3], 0, &replaced), EG_OK);
        cr_assert(replaced, "1, 1 as int64 and 1.0 are one key");
        for (int probe = 0; probe < 3; probe++) {
            struct key k;
            stand_key(&t, &k, array_key(row[probe]));
            reader_enter(&t.reader);
            cr_assert_not_null(t.store->ops->get(t.store, &t.reader, &k));
            reader_exit(&t.reader);
            key_release(&k);
        }
    }
    cr_assert_eq(t.store->ops->stats(t.store).count, 1);
    stand_close(&t);
}

static void conformance_growth(struct conformance is) {
    const uint64_t count = is.disc ? 5000 : 100000;
    struct stand t;

    stand_open(&t, is);
    for (uint64_t n = 0; n < count; n++)
        put_number(&t, n, n);
    t.store->ops->check(t.store);
    for (uint64_t n = 0; n < count; n++)
        cr_assert_eq(get_number(&t, n), (int64_t) n);
    cr_assert_eq(get_number(&t, count), -1);
    for (uint64_t n = 0; n < count; n++)
        cr_assert(remove_number(&t, n));
    cr_assert(!remove_number(&t, 0));
    t.store->ops->check(t.store);
    cr_assert_eq(t.store->ops->stats(t.store).count, 0);
    epoch_bin_drain(&t.bin);
    if (!is.disc)
        cr_assert_lt(slab_stats(t.slab).system_bytes + t.store->ops->stats(t.store).index_bytes,
                     1 << 20, "memory is given back");
    stand_close(&t);
}

static void conformance_big(struct conformance is) {
    static uint8_t buffer[200000];
    struct stand t;

    stand_open(&t, is);
    for (int round = 0; round < 2; round++) { /* insert, then replace */
        for (uint32_t size = 1; size <= KEY_SIZE_MAX / 2; size *= 2) {
            struct value_writer w = value_writer_init(buffer, sizeof buffer);
            struct value row;
            struct key k;

            memset(buffer, 'x', sizeof buffer);
            value_put_array(&w, 2);
            random_bytes_be(&w, 0xdb, size, 4); /* a string with the longest header */
            row = (struct value){buffer, 6 + size + 65536};
            buffer[6 + size] = 0xc5; /* binary of 65533 bytes */
            buffer[7 + size] = 0xff;
            buffer[8 + size] = 0xfd;
            cr_assert_eq(stand_put(&t, row), EG_OK);
            stand_key(&t, &k, array_key(row));
            reader_enter(&t.reader);
            const struct record *rec = t.store->ops->get(t.store, &t.reader, &k);
            cr_assert_not_null(rec);
            cr_assert(value_equal(record_value(rec), row));
            reader_exit(&t.reader);
            key_release(&k);
        }
    }
    cr_assert_eq(t.store->ops->stats(t.store).count, 16);
    t.store->ops->check(t.store);
    stand_close(&t);
}

/* Goal: what stays during a scan is seen, exactly once, whatever else goes on.
 * Method: even numbers stay, odd ones come and go between any two steps. */
static void conformance_scan_under_change(struct conformance is) {
    enum { NUMBERS = 2000 };
    static uint8_t seen[NUMBERS];
    uint64_t seed = rng_test_seed(5);
    struct rng rng = rng_of(seed);
    struct stand t;

    stand_open(&t, is);
    for (uint64_t n = 0; n < NUMBERS; n += 2)
        put_number(&t, n, 0);
    for (int scan = 0; scan < (is.disc ? 2 : 20); scan++) {
        const struct record *rec;
        struct store_cursor c;

        memset(seen, 0, sizeof seen);
        reader_enter(&t.reader);
        t.store->ops->seek(t.store, &t.reader, &c, NULL, false, false);
        while ((rec = t.store->ops->next(t.store, &t.reader, &c)) != NULL) {
            uint64_t n = record_number(rec);
            cr_assert_lt(n, NUMBERS);
            seen[n]++;
            for (int i = 0; i < 8; i++) { /* tides again: growth in one scan, then shrinking */
                uint64_t odd = rng_below(&rng, NUMBERS / 2) * 2 + 1;
                if (rng_below(&rng, 10) < (scan % 2 == 0 ? 8 : 1))
                    put_number(&t, odd, is.bag ? 0 : (uint64_t) scan);
                else
                    remove_number(&t, odd);
            }
        }
        reader_exit(&t.reader);
        for (uint64_t n = 0; n < NUMBERS; n += 2)
            cr_assert_eq(seen[n], 1, "seed %" PRIu64 ": scan %d saw %" PRIu64 " %u times", seed,
                         scan, n, seen[n]);
    }
    t.store->ops->check(t.store);
    stand_close(&t);
}

/* Goal: a scan goes on in another section behind the last key, also when that
 * key has gone and the store has another shape. */
static void conformance_resume(struct conformance is) {
    enum { NUMBERS = 3000 };
    static uint8_t seen[NUMBERS];
    struct stand t;
    struct key k;
    uint8_t last[16];
    bool resume = false;
    uint64_t extra = NUMBERS;

    stand_open(&t, is);
    memset(seen, 0, sizeof seen);
    for (uint64_t n = 0; n < NUMBERS; n++)
        put_number(&t, n, 0);
    for (;;) {
        const struct record *rec = NULL;
        struct store_cursor c;

        reader_enter(&t.reader);
        t.store->ops->seek(t.store, &t.reader, &c, resume ? &k : NULL, resume, false);
        for (int i = 0; i < 7 && (rec = t.store->ops->next(t.store, &t.reader, &c)) != NULL; i++) {
            uint64_t n = record_number(rec);
            struct value_writer w = value_writer_init(last, sizeof last);
            if (n < NUMBERS)
                seen[n]++;
            value_put_u64(&w, n);
            stand_key(&t, &k, (struct value){last, (uint32_t) w.need_bytes});
            resume = true;
        }
        reader_exit(&t.reader);
        if (rec == NULL)
            break;
        uint64_t n;
        cr_assert(value_get_u64(k.value, &n));
        remove_number(&t, n);
        for (int i = 0; i < 5 && extra < 2 * NUMBERS; i++)
            put_number(&t, is.ordered ? UINT64_MAX - extra++ : extra++, 0);
    }
    for (uint64_t n = 0; n < NUMBERS; n++)
        cr_assert_eq(seen[n], 1, "%" PRIu64 " was seen %u times", n, seen[n]);
    stand_close(&t);
}

static void seek_number(struct stand *t, struct store_cursor *c, uint64_t n, bool after,
                        bool reverse) {
    static uint8_t buffer[16];
    static struct key k; /* lives as long as the scan */
    struct value_writer w = value_writer_init(buffer, sizeof buffer);

    value_put_u64(&w, n);
    stand_key(t, &k, (struct value){buffer, (uint32_t) w.need_bytes});
    t->store->ops->seek(t->store, &t->reader, c, &k, after, reverse);
}

/* Goal: seek finds its place at, between and beyond keys, in both directions. */
static void conformance_ordered_seek(struct conformance is) {
    enum { NUMBERS = 600 }; /* 0, 10, 20, ... */
    struct stand t;
    struct store_cursor c;

    if (!is.ordered)
        return;
    stand_open(&t, is);
    for (uint64_t n = 0; n < NUMBERS; n++)
        put_number(&t, n * 10, 0);
    reader_enter(&t.reader);
    for (uint64_t at = 0; at < NUMBERS * 10; at++) {
        for (int way = 0; way < 4; way++) {
            bool after = way & 1, reverse = way & 2;
            uint64_t want = reverse ? (after && at % 10 == 0 ? at - 10 : at / 10 * 10)
                                    : (after ? at / 10 * 10 + 10 : (at + 9) / 10 * 10);
            const struct record *rec;

            seek_number(&t, &c, at, after, reverse);
            for (int i = 0; i < 3; i++) {
                rec = t.store->ops->next(t.store, &t.reader, &c);
                if (want >= NUMBERS * 10) { /* past the end, or wrapped below 0 */
                    cr_assert_null(rec);
                    break;
                }
                cr_assert_not_null(rec, "seek %" PRIu64 " way %d", at, way);
                cr_assert_eq(record_number(rec), want, "seek %" PRIu64 " way %d", at, way);
                want = reverse ? want - 10 : want + 10;
            }
        }
    }
    t.store->ops->seek(t.store, &t.reader, &c, NULL, false, true);
    for (uint64_t n = NUMBERS; n-- > 0;)
        cr_assert_eq(record_number(t.store->ops->next(t.store, &t.reader, &c)), n * 10);
    cr_assert_null(t.store->ops->next(t.store, &t.reader, &c));
    reader_exit(&t.reader);
    stand_close(&t);
}

/* Goal: a bag keeps different records under one key, and equal ones once. */
static void conformance_bag(struct conformance is) {
    enum { KEYS = 20, EACH = 50 };
    struct stand t;
    struct store_cursor c;
    uint8_t buffer[64];
    bool replaced;

    if (!is.bag)
        return;
    stand_open(&t, is);
    for (int round = 0; round < 2; round++)
        for (uint64_t v = 0; v < EACH; v++)
            for (uint64_t n = 0; n < KEYS; n++) {
                struct value row = number_record(n, v, 3, buffer, sizeof buffer);
                cr_assert_eq(stand_put_expiring(&t, row, 0, &replaced), EG_OK);
                cr_assert_eq(replaced, round == 1, "an equal record replaces, another is added");
            }
    cr_assert_eq(t.store->ops->stats(t.store).count, KEYS * EACH);
    t.store->ops->check(t.store);

    for (uint64_t n = 0; n < KEYS; n++) {
        uint64_t versions = 0;
        reader_enter(&t.reader);
        seek_number(&t, &c, n, false, false);
        for (int i = 0; i < EACH; i++) {
            const struct record *rec = t.store->ops->next(t.store, &t.reader, &c);
            uint64_t v;
            cr_assert_eq(record_number(rec), n);
            cr_assert(value_get_u64(record_field(rec, 1), &v));
            cr_assert_eq(versions & UINT64_C(1) << v, 0);
            versions |= UINT64_C(1) << v;
        }
        reader_exit(&t.reader);
        for (int left = EACH; left > 0; left--)
            cr_assert(remove_number(&t, n), "one at a time");
        cr_assert_eq(get_number(&t, n), -1);
    }
    cr_assert_eq(t.store->ops->stats(t.store).count, 0);
    stand_close(&t);
}

static void conformance_get_many(struct conformance is) {
    enum { NUMBERS = 1000, MANY = 50 };
    static struct key key[MANY];
    static uint8_t buffer[MANY][16];
    const struct key *keys[MANY];
    struct store *stores[MANY];
    const struct record *out[MANY];
    struct rng rng = rng_of(3);
    struct stand t;

    stand_open(&t, is);
    for (uint64_t n = 0; n < NUMBERS; n++)
        put_number(&t, n, n + 1);
    for (int round = 0; round < 100; round++) {
        size_t many = 1 + rng_below(&rng, MANY);
        uint64_t n[MANY];

        reader_enter(&t.reader);
        for (size_t i = 0; i < many; i++) {
            struct value_writer w = value_writer_init(buffer[i], sizeof buffer[i]);
            n[i] = rng_below(&rng, NUMBERS + 500);
            value_put_u64(&w, n[i]);
            stand_key(&t, &key[i], (struct value){buffer[i], (uint32_t) w.need_bytes});
            keys[i] = &key[i];
            stores[i] = t.store;
        }
        store_get_many(stores, &t.reader, keys, many, out);
        for (size_t i = 0; i < many; i++) {
            cr_assert_eq(out[i] != NULL, n[i] < NUMBERS);
            if (out[i] != NULL)
                cr_assert_eq(record_number(out[i]), n[i]);
        }
        reader_exit(&t.reader);
    }
    stand_close(&t);
}

/* ---- snapshots --------------------------------------------------------------- */

static struct store_snapshot *open_snapshot(struct stand *t) {
    struct store_snapshot *p = NULL;
    eg_err err = EG_AGAIN;

    for (int turn = 0; turn < 1000 && err == EG_AGAIN; turn++)
        err = t->store->ops->snapshot_open(t->store, &p);
    cr_assert_eq(err, EG_OK);
    return p;
}

enum { SNAPSHOT_NUMBERS = 1500 };

/* One random change to the store and to the twin, version[n] or -1. */
static void snapshot_churn(struct stand *t, struct rng *rng, int64_t *version) {
    uint64_t n = rng_below(rng, SNAPSHOT_NUMBERS);

    if (version[n] >= 0 && (t->is.bag || rng_one_in(rng, 3))) {
        remove_number(t, n);
        version[n] = -1;
    } else {
        version[n] = (int64_t) t->versions;
        put_number(t, n, t->versions);
    }
}

/* Goal: a snapshot is the state of its moment, no matter what is written during it.
 * Method: remember the twin of that moment, and write wildly between any two steps. */
static void conformance_snapshot(struct conformance is) {
    static int64_t now[SNAPSHOT_NUMBERS], then[SNAPSHOT_NUMBERS];
    static uint8_t seen[SNAPSHOT_NUMBERS];
    uint64_t seed = rng_test_seed(11);
    struct rng rng = rng_of(seed);
    struct stand t;

    stand_open(&t, is);
    memset(now, -1, sizeof now);
    for (int round = 0; round < 12; round++) {
        const struct record *rec;
        struct store_snapshot *p;
        int64_t version;

        for (int i = 0; i < 2000; i++)
            snapshot_churn(&t, &rng, now);
        p = open_snapshot(&t);
        memcpy(then, now, sizeof then);
        memset(seen, 0, sizeof seen);
        do {
            reader_enter(&t.reader); /* the scanner leaves its section now and then */
            for (int i = 0; i < 5; i++) {
                cr_assert_eq(t.store->ops->snapshot_next(p, &t.reader, &rec), EG_OK);
                if (rec == NULL)
                    break;
                uint64_t n = record_number(rec);
                cr_assert(value_get_i64(record_field(rec, 1), &version));
                cr_assert_eq(version, then[n], "seed %" PRIu64 ": %" PRIu64 " is not of the moment",
                             seed, n);
                seen[n]++;
                for (int j = 0; j < round % 4; j++)
                    snapshot_churn(&t, &rng, now);
            }
            reader_exit(&t.reader);
            if (round % 5 == 4 && rng_one_in(&rng, 200)) {
                cr_assert_eq(t.store->ops->clear(t.store), EG_OK);
                memset(now, -1, sizeof now);
            }
            epoch_flush(&t.bin);
        } while (rec != NULL);
        t.store->ops->check(t.store);
        t.store->ops->snapshot_close(t.store, p);
        for (uint64_t n = 0; n < SNAPSHOT_NUMBERS; n++)
            cr_assert(then[n] >= 0 ? seen[n] >= 1 && (seen[n] == 1 || !is.ordered) : seen[n] == 0,
                      "seed %" PRIu64 ": round %d gave %" PRIu64 " %u times", seed, round, n,
                      seen[n]);
    }
    t.store->ops->check(t.store);
    stand_close(&t);
}

/* A snapshot that is not read to its end costs nothing afterwards either. */
static void conformance_snapshot_abandoned(struct conformance is) {
    static int64_t now[SNAPSHOT_NUMBERS];
    struct rng rng = rng_of(2);
    struct stand t;

    stand_open(&t, is);
    memset(now, -1, sizeof now);
    for (int round = 0; round < 20; round++) {
        struct store_snapshot *p = open_snapshot(&t);
        for (int i = 0; i < 500; i++)
            snapshot_churn(&t, &rng, now);
        t.store->ops->snapshot_close(t.store, p);
        for (int i = 0; i < 500; i++)
            snapshot_churn(&t, &rng, now);
        t.store->ops->check(t.store);
    }
    stand_close(&t);
}

/* ---- memory that runs out ------------------------------------------------------ */

static void conformance_open_oom(struct conformance is) {
    eg_err err = EG_MEMORY;

    for (int granted = 0; granted < 100 && err != EG_OK; granted++) {
        struct fail_alloc memory = fail_alloc_after(INT_MAX);
        struct epoch *domain;
        struct epoch_bin bin;
        struct slab *slab;
        struct store *store = NULL;

        cr_assert_eq(epoch_open(&domain, &memory.base, 1), EG_OK);
        epoch_bin_init(&bin, domain, &memory.base);
        cr_assert_eq(slab_open(&slab, &memory.base), EG_OK);
        memory.left = granted;
        err = is.open(&store, &(struct store_opts){.alloc = &memory.base,
                                                   .slab = slab,
                                                   .bin = &bin,
                                                   .seed = STAND_KEY_SEED,
                                                   .bag = is.bag});
        if (err == EG_OK)
            store->ops->close(store);
        else
            cr_assert_null(store, "untouched where open fails");
        if (is.closed != NULL)
            is.closed();
        epoch_bin_drain(&bin);
        slab_close(slab);
        epoch_close(domain);
        cr_assert_eq(memory.live, 0, "leak when allocation %d fails", granted + 1);
    }
    cr_assert_eq(err, EG_OK);
}

/* Goal: a refused allocation changes nothing, wherever it strikes.
 * Method: let it strike at random for a while, compare with the twin throughout. */
static void conformance_oom(struct conformance is) {
    uint64_t seed = rng_test_seed(21);
    struct rng rng = rng_of(seed);
    static struct twin twin;
    uint32_t refused = 0;
    struct stand t;

    stand_open(&t, is);
    twin.bag = is.bag;
    for (int step = 0; step < 6000; step++) {
        static uint8_t buffer[SLAB_OBJECT_MAX + 2048];
        size_t padding = rng_one_in(&rng, 10) ? SLAB_OBJECT_MAX : 0; /* not from the slab's store */
        struct value row = random_row(&rng, 400, padding, buffer, sizeof buffer);

        t.memory.left = rng_one_in(&rng, 3) ? (int) rng_below(&rng, 3) : INT_MAX;
        if (rng_below(&rng, 10) < (step % 2000 < 1500 ? 8 : 2)) {
            eg_err err = stand_put(&t, row);
            refused += err == EG_MEMORY;
            if (err == EG_OK)
                twin_put(&twin, row, 0);
            else
                cr_assert_eq(err, EG_MEMORY);
        } else {
            if (is.disc) /* to read what is to be removed needs memory too */
                t.memory.left = INT_MAX;
            random_remove(&t, &twin, array_key(row), seed);
        }
        t.memory.left = INT_MAX;
        if (step % 500 == 0)
            twin_expects_all(&twin, &t, seed);
    }
    twin_expects_all(&twin, &t, seed);
    cr_assert_gt(refused, 0, "nothing was ever refused: the test has no teeth");
    twin_clear(&twin);
    stand_close(&t);
}

/* ---- all of it ------------------------------------------------------------------- */

#define CONFORMANCE_TEST(suite, claim, body, ...)                                                  \
    Test(suite, claim, .timeout = 240) {                                                           \
        body(__VA_ARGS__);                                                                         \
    }

#define STORE_CONFORMANCE(suite, ...)                                                              \
    CONFORMANCE_TEST(suite, an_empty_store_is_tiny_and_finds_nothing, conformance_empty,           \
                     __VA_ARGS__)                                                                  \
    CONFORMANCE_TEST(suite, random_changes_agree_with_a_naive_twin, conformance_random,            \
                     __VA_ARGS__)                                                                  \
    CONFORMANCE_TEST(suite, one_value_is_one_key_in_every_encoding, conformance_equal_keys,        \
                     __VA_ARGS__)                                                                  \
    CONFORMANCE_TEST(suite, grows_shrinks_and_gives_memory_back, conformance_growth, __VA_ARGS__)  \
    CONFORMANCE_TEST(suite, keys_and_records_may_be_big, conformance_big, __VA_ARGS__)             \
    CONFORMANCE_TEST(suite, a_scan_sees_what_stays_exactly_once, conformance_scan_under_change,    \
                     __VA_ARGS__)                                                                  \
    CONFORMANCE_TEST(suite, a_scan_resumes_behind_a_key_that_is_gone, conformance_resume,          \
                     __VA_ARGS__)                                                                  \
    CONFORMANCE_TEST(suite, seek_finds_its_place_both_ways, conformance_ordered_seek, __VA_ARGS__) \
    CONFORMANCE_TEST(suite, a_bag_keeps_different_records_of_a_key, conformance_bag, __VA_ARGS__)  \
    CONFORMANCE_TEST(suite, many_lookups_at_once_agree_with_one, conformance_get_many,             \
                     __VA_ARGS__)                                                                  \
    CONFORMANCE_TEST(suite, a_snapshot_is_exactly_its_moment, conformance_snapshot, __VA_ARGS__)   \
    CONFORMANCE_TEST(suite, an_abandoned_snapshot_leaves_nothing, conformance_snapshot_abandoned,  \
                     __VA_ARGS__)                                                                  \
    CONFORMANCE_TEST(suite, open_fails_cleanly_at_every_allocation, conformance_open_oom,          \
                     __VA_ARGS__)                                                                  \
    CONFORMANCE_TEST(suite, refused_memory_changes_nothing, conformance_oom, __VA_ARGS__)

#endif /* TESTS_STORE_CONFORMANCE_H */
