/* stress_store_hash.c -- readers of a hash store that never stops relocating.
 *
 * Goal: no reader ever misses a key that is always there, sees an older version
 * than it must, or a record that is not whole; live scans see every lasting key
 * exactly once; a snapshot is one moment.
 * Method: one writer lets a small table grow and shrink in tides, so that every
 * few writes split or merge buckets under the readers.  Lasting keys are only
 * ever replaced, with rising versions; a reader knows from `written` what it
 * must at least find.  Records repeat their version in every word.
 *
 * A small table on purpose: a reader meets a relocation the more often the fewer
 * buckets there are.  Run under TSan too; with EG_PLANT_... compiled in (see
 * tests/CMakeLists.txt) it must fail, and stops as soon as it has. */
#include "tables/reader.h"
#include "tables/store.h"
#include "tests/support/rng.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

enum {
    LASTING = 32,
    PASSING = 200,
    KEYS = LASTING + PASSING,
    WORDS = 8, /* of a record, each its version */
    GETTERS = 2,
    TIDES = 2500, /* unless said otherwise: argv[1] */
    MANY = 16,
    KEY_BYTES = 5,
    ROW_BYTES = 1 + KEY_BYTES + 2 + WORDS * 8,
    SEED = 99,
};

struct stress {
    struct epoch *domain;
    struct epoch_bin bin;
    struct slab *slab;
    struct store *store;
    _Atomic uint64_t written[LASTING]; /* versions whose put has returned */
    uint64_t version[KEYS];            /* the writer's: 0 where absent    */
    _Atomic bool stop;

    struct store_snapshot *_Atomic snapshot; /* from the writer to the scanner and back */
    uint64_t moment[KEYS];                   /* what it must hold                       */

    _Atomic uint64_t gets, scans, snapshots, missed, stale, torn, miscounted, not_the_moment;
};

/* ---- records: [n, binary of WORDS times the version] ------------------------ */

static void key_bytes(uint8_t *at, uint32_t n) {
    at[0] = 0xce; /* uint32; small numbers have a shorter form, so begin above them */
    n += 1u << 20;
    for (int i = 0; i < 4; i++)
        at[1 + i] = (uint8_t) (n >> (24 - 8 * i));
}

static void prepare(struct key *k, uint8_t *bytes, uint32_t n) {
    key_bytes(bytes, n);
    EG_ASSERT(key_prepare(k, (struct value){bytes, KEY_BYTES}, SEED, alloc_system()) == EG_OK);
}

static uint32_t number_of(const struct record *rec) {
    uint64_t n = 0;
    bool is_number = value_get_u64(record_key(rec), &n);
    return is_number && n - (1u << 20) < KEYS ? (uint32_t) n - (1u << 20) : KEYS;
}

/* The version of a record, or 0 where its words differ. */
static uint64_t version_of(const struct record *rec) {
    uint64_t word[WORDS];

    memcpy(word, record_array(rec) + 1 + KEY_BYTES + 2, sizeof word);
    for (int i = 1; i < WORDS; i++)
        if (word[i] != word[0])
            return 0;
    return word[0];
}

/* ---- the writer --------------------------------------------------------------- */

static void put(struct stress *t, uint32_t n) {
    uint8_t row[ROW_BYTES] = {0x92}, bytes[KEY_BYTES];
    uint64_t version = ++t->version[n];
    const struct record *old;
    struct key k;
    void *memory = slab_get(t->slab, record_bytes_for(ROW_BYTES, false));

    key_bytes(row + 1, n);
    row[1 + KEY_BYTES] = 0xc4; /* binary */
    row[2 + KEY_BYTES] = WORDS * 8;
    for (int i = 0; i < WORDS; i++)
        memcpy(row + 1 + KEY_BYTES + 2 + i * 8, &version, 8);
    EG_ASSERT(memory != NULL);
    record_init(memory, (struct value){row, ROW_BYTES}, (struct record_version){version, 1}, 0);
    prepare(&k, bytes, n);
    EG_ASSERT(t->store->ops->put(t->store, &k, memory, &old) == EG_OK);
    if (n < LASTING)
        atomic_store_explicit(&t->written[n], version, memory_order_release);
    epoch_flush(&t->bin); /* as eager as can be */
}

static void take_away(struct stress *t, uint32_t n) {
    uint8_t bytes[KEY_BYTES];
    struct key k;
    const struct record *rec;

    prepare(&k, bytes, n);
    rec = t->store->ops->get(t->store, NULL, &k);
    EG_ASSERT(rec != NULL); /* the owner needs no section: it alone frees */
    EG_ASSERT(t->store->ops->remove(t->store, &k, rec) == EG_OK);
    t->version[n] = 0;
    epoch_flush(&t->bin);
}

/* Offer the scanner a snapshot, or take the last one back. */
static void turn_snapshot(struct stress *t, struct store_snapshot **open) {
    if (*open != NULL) {
        if (atomic_load_explicit(&t->snapshot, memory_order_acquire) != NULL)
            return; /* it is still reading */
        t->store->ops->snapshot_close(t->store, *open);
        *open = NULL;
    } else if (t->store->ops->snapshot_open(t->store, open) == EG_OK) {
        memcpy(t->moment, t->version, sizeof t->moment);
        atomic_store_explicit(&t->snapshot, *open, memory_order_release);
    }
}

static bool found_a_fault(const struct stress *t) {
    return t->missed + t->stale + t->torn + t->miscounted + t->not_the_moment > 0;
}

/* Each has looked: where cores are few they may not have run at all meanwhile. */
static bool all_have_seen(const struct stress *t) {
    return t->gets > 0 && t->scans > 0 && t->snapshots > 0;
}

static void write_tides(struct stress *t, int tides, uint64_t seed) {
    struct rng rng = rng_of(seed);
    struct store_snapshot *open = NULL;

    for (int tide = 0; (tide < tides || !all_have_seen(t)) && !found_a_fault(t); tide++) {
        for (uint32_t step = 0; step < 4 * PASSING; step++) {
            uint32_t n = LASTING + (uint32_t) rng_below(&rng, PASSING);
            if (t->version[n] == 0 && (tide % 2 == 0 || rng_one_in(&rng, 20)))
                put(t, n);
            else if (t->version[n] != 0 && (tide % 2 == 1 || rng_one_in(&rng, 20)))
                take_away(t, n);
            if (step % 4 == 0)
                put(t, (uint32_t) rng_below(&rng, LASTING));
            if (step % 64 == 0)
                turn_snapshot(t, &open);
        }
        if (tide % 50 == 0)
            t->store->ops->check(t->store);
    }
    for (; open != NULL; sched_yield())
        turn_snapshot(t, &open);
    atomic_store(&t->stop, true);
}

/* ---- readers ------------------------------------------------------------------ */

static void *getter(void *arg) {
    struct stress *t = arg;
    struct rng rng = rng_of((uint64_t) (uintptr_t) &rng);
    struct reader r;
    struct key key[MANY];
    const struct key *keys[MANY];
    struct store *stores[MANY];
    uint8_t bytes[MANY][KEY_BYTES];

    EG_ASSERT(reader_open(&r, t->domain, alloc_system()) == EG_OK);
    for (int i = 0; i < MANY; i++) {
        keys[i] = &key[i];
        stores[i] = t->store;
    }
    while (!atomic_load(&t->stop)) {
        const struct record *out[MANY];
        uint64_t least[MANY];
        uint32_t n[MANY];

        for (int i = 0; i < MANY; i++) {
            n[i] = (uint32_t) rng_below(&rng, LASTING);
            prepare(&key[i], bytes[i], n[i]);
        }
        reader_enter(&r);
        for (int i = 0; i < MANY; i++)
            least[i] = atomic_load_explicit(&t->written[n[i]], memory_order_acquire);
        store_get_many(stores, &r, keys, MANY, out);
        if (rng_one_in(&rng, 50)) /* hold what was read while others write */
            sched_yield();
        for (int i = 0; i < MANY; i++) {
            uint64_t version = out[i] != NULL ? version_of(out[i]) : 0;
            t->missed += out[i] == NULL;
            t->torn += out[i] != NULL && (version == 0 || number_of(out[i]) != n[i]);
            t->stale += version != 0 && version < least[i];
        }
        reader_exit(&r);
        t->gets += MANY;
    }
    reader_close(&r);
    return NULL;
}

static void scan_live(struct stress *t, struct reader *r) {
    uint8_t seen[KEYS + 1] = {0};
    struct store_cursor c;
    const struct record *rec;

    reader_enter(r);
    t->store->ops->seek(t->store, r, &c, NULL, false, false);
    while ((rec = t->store->ops->next(t->store, r, &c)) != NULL) {
        t->torn += version_of(rec) == 0;
        seen[number_of(rec)]++;
    }
    reader_exit(r);
    for (uint32_t n = 0; n < LASTING; n++)
        t->miscounted += seen[n] != 1;
    t->torn += seen[KEYS];
    t->scans++;
}

/* All keys at most once, lasting ones exactly; left and taken up again where it may be. */
static void sweep_live(struct stress *t, struct reader *r) {
    uint8_t seen[KEYS + 1] = {0};
    struct store_sweep sweep;
    const struct record *rec;
    uint64_t at = 0;
    bool ended = false;

    while (!ended) {
        reader_enter(r);
        store_sweep_begin(&sweep, t->store, at);
        while ((rec = store_sweep_next(&sweep)) != NULL) {
            t->torn += version_of(rec) == 0;
            seen[number_of(rec)]++;
            if (store_sweep_place(&sweep, &at, &ended) && t->scans % 2 == 0)
                break;
        }
        ended |= rec == NULL;
        reader_exit(r);
    }
    for (uint32_t n = 0; n < KEYS; n++)
        t->miscounted += n < LASTING ? seen[n] != 1 : seen[n] > 1;
    t->torn += seen[KEYS];
    t->scans++;
}

static void scan_snapshot(struct stress *t, struct reader *r, struct store_snapshot *p) {
    uint8_t seen[KEYS + 1] = {0};
    const struct record *rec = NULL;

    do {
        reader_enter(r);
        for (int i = 0; i < 20; i++) {
            EG_ASSERT(t->store->ops->snapshot_next(p, r, &rec) == EG_OK);
            if (rec == NULL)
                break;
            uint32_t n = number_of(rec);
            seen[n] = 1;
            t->not_the_moment += n < KEYS && version_of(rec) != t->moment[n];
        }
        reader_exit(r);
    } while (rec != NULL);
    for (uint32_t n = 0; n < KEYS; n++)
        t->not_the_moment += seen[n] != (t->moment[n] != 0);
    t->torn += seen[KEYS];
    t->snapshots++;
    atomic_store_explicit(&t->snapshot, NULL, memory_order_release);
}

static void *scanner(void *arg) {
    struct stress *t = arg;
    struct reader r;

    EG_ASSERT(reader_open(&r, t->domain, alloc_system()) == EG_OK);
    while (!atomic_load(&t->stop)) {
        struct store_snapshot *p = atomic_load_explicit(&t->snapshot, memory_order_acquire);
        if (p != NULL)
            scan_snapshot(t, &r, p);
        scan_live(t, &r);
        sweep_live(t, &r);
    }
    reader_close(&r);
    return NULL;
}

/* ---- the report --------------------------------------------------------------- */

static int claim(int number, bool holds, const char *what, uint64_t count) {
    printf("%s %d - %s (%" PRIu64 ")\n", holds ? "ok" : "not ok", number, what, count);
    return holds ? 0 : 1;
}

static int report(struct stress *t) {
    uint64_t relocations = t->store->ops->stats(t->store).relocations;
    int failures = 0;

    printf("# %" PRIu64 " gets, %" PRIu64 " scans, %" PRIu64 " snapshots, %" PRIu64
           " relocations\n1..6\n",
           t->gets, t->scans, t->snapshots, relocations);
    failures += claim(1, t->missed == 0, "no lasting key was missed", t->missed);
    failures += claim(2, t->stale == 0, "no version was older than one already written", t->stale);
    failures += claim(3, t->torn == 0, "every record was whole", t->torn);
    failures += claim(4, t->miscounted == 0, "scans saw lasting keys exactly once", t->miscounted);
    failures += claim(5, t->not_the_moment == 0, "snapshots were one moment", t->not_the_moment);
    failures +=
        claim(6, relocations > 1000 && all_have_seen(t), "there was something to see", relocations);
    return failures;
}

int main(int argc, char **argv) {
    static struct stress t;
    pthread_t thread[GETTERS + 1];
    uint64_t seed = rng_test_seed(1);

    EG_ASSERT(epoch_open(&t.domain, alloc_system(), 8) == EG_OK);
    epoch_bin_init(&t.bin, t.domain, alloc_system());
    EG_ASSERT(slab_open(&t.slab, alloc_system()) == EG_OK);
    EG_ASSERT(store_hash_open(&t.store, &(struct store_opts){.alloc = alloc_system(),
                                                             .slab = t.slab,
                                                             .bin = &t.bin,
                                                             .seed = SEED}) == EG_OK);
    for (uint32_t n = 0; n < LASTING; n++)
        put(&t, n);
    for (int i = 0; i < GETTERS; i++)
        EG_ASSERT(pthread_create(&thread[i], NULL, getter, &t) == 0);
    EG_ASSERT(pthread_create(&thread[GETTERS], NULL, scanner, &t) == 0);
    write_tides(&t, argc > 1 ? atoi(argv[1]) : TIDES, seed);
    for (int i = 0; i <= GETTERS; i++)
        pthread_join(thread[i], NULL);

    int failures = report(&t);
    epoch_bin_drain(&t.bin);
    t.store->ops->close(t.store);
    slab_close(t.slab);
    epoch_close(t.domain);
    return failures == 0 ? 0 : 1;
}
