/* stress_btree.c -- readers, scans and snapshots of a tree that never rests.
 *
 * Goal: no reader ever misses an account, or sees one older than it must; scans
 * are in order and see every account once, in the store and in an index; each of
 * several open snapshots is one moment, in which the sum of all accounts is what
 * it always is.
 * Method: accounts stand among passing keys that come and go in tides, so that
 * leaves are split and joined around them all the time.  The writer moves amounts
 * between accounts, two puts each, and opens a snapshot only between two moves.
 * Records repeat their version in every word.
 *
 * With EG_PLANT_... compiled in (see tests/CMakeLists.txt) it must fail, and
 * stops as soon as it has.  Run under TSan too. */
#include "tables/index.h"
#include "tables/reader.h"
#include "tests/support/rng.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

enum {
    ACCOUNTS = 64,
    KEYS = 1024, /* every 16th is an account */
    KEY_STEP = KEYS / ACCOUNTS,
    TAGS = 4, /* values of the indexed attribute */
    OPENING_BALANCE = 1000,
    SNAPSHOTS = 3, /* open at a time */
    WORDS = 6,     /* of a record, each its version */
    KEY_BYTES = 5,
    ROW_BYTES = 1 + KEY_BYTES + 1 + 9 + 2 + WORDS * 8,
    TIDES = 150, /* unless said otherwise: argv[1] */
    GETTERS = 2,
};

struct moment { /* a snapshot on its way from the writer to the scanner and back */
    struct store_snapshot *_Atomic open;
    struct store_snapshot *own; /* the writer's */
    uint64_t count;
};

struct stress {
    struct epoch *domain;
    struct epoch_bin bin;
    struct slab *slab;
    struct store *store;
    struct index *by_tag;
    _Atomic uint64_t written[ACCOUNTS]; /* versions whose put has returned */
    int64_t balance[ACCOUNTS];          /* the writer's                    */
    const struct record *record[KEYS];  /* likewise: what is there now     */
    uint64_t version, count;
    struct moment moment[SNAPSHOTS];
    _Atomic bool stop;

    _Atomic uint64_t gets, scans, finds, snapshots;
    _Atomic uint64_t missed, stale, torn, unordered, not_found, not_the_moment;
};

/* ---- records: [n, tag, balance, binary of WORDS times the version] ---------- */

static void number_key(uint8_t *at, uint32_t n) {
    at[0] = 0xce; /* uint32; small numbers have a shorter form, so begin above them */
    n += 1u << 20;
    for (int i = 0; i < 4; i++)
        at[1 + i] = (uint8_t) (n >> (24 - 8 * i));
}

static struct record *make_record(struct stress *t, uint32_t n, uint8_t tag, int64_t balance) {
    uint8_t row[ROW_BYTES] = {0x94};
    uint8_t *at = row + 1;
    uint64_t version = ++t->version;
    void *memory = slab_get(t->slab, record_bytes_for(ROW_BYTES, false));

    EG_ASSERT(memory != NULL);
    number_key(at, n);
    at += KEY_BYTES;
    *at++ = tag;
    *at++ = 0xd3; /* int64 */
    for (int i = 0; i < 8; i++)
        *at++ = (uint8_t) ((uint64_t) balance >> (56 - 8 * i));
    *at++ = 0xc4; /* binary */
    *at++ = WORDS * 8;
    for (int i = 0; i < WORDS; i++)
        memcpy(at + i * 8, &version, 8);
    return record_init(memory, (struct value){row, ROW_BYTES}, (struct record_version){version, 1},
                       0);
}

static uint32_t number_of(const struct record *rec) {
    uint64_t n = 0;
    bool is_number = value_get_u64(record_key(rec), &n);
    return is_number && n - (1u << 20) < KEYS ? (uint32_t) n - (1u << 20) : KEYS;
}

static int64_t balance_of(const struct record *rec) {
    int64_t balance = 0;
    return value_get_i64(record_field(rec, 2), &balance) ? balance : INT64_MIN;
}

/* The version of a record, or 0 where its words differ. */
static uint64_t version_of(const struct record *rec) {
    uint64_t word[WORDS];

    memcpy(word, record_array(rec) + ROW_BYTES - sizeof word, sizeof word);
    for (int i = 1; i < WORDS; i++)
        if (word[i] != word[0])
            return 0;
    return word[0];
}

static bool is_account(uint32_t n) {
    return n % KEY_STEP == KEY_STEP / 2;
}
static uint8_t tag_of_account(uint32_t n) {
    return (uint8_t) (n / KEY_STEP % TAGS);
}

/* ---- the writer ------------------------------------------------------------- */

static void put(struct stress *t, uint32_t n, uint8_t tag, int64_t balance) {
    struct record *rec = make_record(t, n, tag, balance);
    const struct record *old;

    EG_ASSERT(index_update(t->by_tag, t->record[n], rec) == EG_OK);
    EG_ASSERT(t->store->ops->put(t->store, NULL, rec, &old) == EG_OK);
    EG_ASSERT(old == t->record[n]);
    t->count += old == NULL;
    t->record[n] = rec;
    if (is_account(n))
        atomic_store_explicit(&t->written[n / KEY_STEP], rec->hlc, memory_order_release);
    epoch_flush(&t->bin); /* as eager as can be */
}

static void take_away(struct stress *t, uint32_t n) {
    EG_ASSERT(index_update(t->by_tag, t->record[n], NULL) == EG_OK);
    EG_ASSERT(t->store->ops->remove(t->store, NULL, t->record[n]) == EG_OK);
    t->record[n] = NULL;
    t->count--;
    epoch_flush(&t->bin);
}

static void move_amount(struct stress *t, struct rng *rng) {
    uint32_t from = (uint32_t) rng_below(rng, ACCOUNTS), to = (uint32_t) rng_below(rng, ACCOUNTS);
    int64_t amount = (int64_t) rng_below(rng, 100);

    t->balance[from] -= amount;
    put(t, from * KEY_STEP + KEY_STEP / 2, tag_of_account(from * KEY_STEP), t->balance[from]);
    t->balance[to] += amount;
    put(t, to * KEY_STEP + KEY_STEP / 2, tag_of_account(to * KEY_STEP), t->balance[to]);
}

/* Offer the scanner a snapshot, or take an old one back, in no particular order. */
static void turn_snapshot(struct stress *t, struct moment *m) {
    if (m->own == NULL) {
        EG_ASSERT(t->store->ops->snapshot_open(t->store, &m->own) == EG_OK);
        m->count = t->count;
        atomic_store_explicit(&m->open, m->own, memory_order_release);
    } else if (atomic_load_explicit(&m->open, memory_order_acquire) == NULL) {
        t->store->ops->snapshot_close(t->store, m->own);
        m->own = NULL;
    }
}

static bool found_a_fault(const struct stress *t) {
    return t->missed + t->stale + t->torn + t->unordered + t->not_found + t->not_the_moment > 0;
}

/* Each has looked: where cores are few they may not have run at all meanwhile. */
static bool all_have_seen(const struct stress *t) {
    return t->gets > 0 && t->finds > 0 && t->snapshots > 0;
}

static void write_tides(struct stress *t, int tides, uint64_t seed) {
    struct rng rng = rng_of(seed);

    for (int tide = 0; (tide < tides || !all_have_seen(t)) && !found_a_fault(t); tide++) {
        for (uint32_t step = 0; step < 2 * KEYS; step++) {
            uint32_t n = (uint32_t) rng_below(&rng, KEYS);
            bool rising = tide % 2 == 0 || rng_one_in(&rng, 20);
            if (!is_account(n) && rising)
                put(t, n, (uint8_t) rng_below(&rng, TAGS), 0);
            else if (!is_account(n) && t->record[n] != NULL)
                take_away(t, n);
            if (step % 4 == 0)
                move_amount(t, &rng);
            if (step % 50 == 0)
                turn_snapshot(t, &t->moment[rng_below(&rng, SNAPSHOTS)]);
        }
        if (tide % 50 == 0)
            t->store->ops->check(t->store);
    }
}

static void end_snapshots(struct stress *t) {
    for (int i = 0; i < SNAPSHOTS; i++)
        for (; t->moment[i].own != NULL; sched_yield())
            turn_snapshot(t, &t->moment[i]);
}

/* ---- readers ---------------------------------------------------------------- */

static void *getter(void *arg) {
    struct stress *t = arg;
    struct rng rng = rng_of((uint64_t) (uintptr_t) &rng);
    struct reader r;

    EG_ASSERT(reader_open(&r, t->domain, alloc_system()) == EG_OK);
    while (!atomic_load(&t->stop)) {
        uint32_t account = (uint32_t) rng_below(&rng, ACCOUNTS);
        uint32_t n = account * KEY_STEP + KEY_STEP / 2;
        uint8_t bytes[KEY_BYTES];
        const struct record *rec;
        uint64_t least, version;
        struct key k;

        number_key(bytes, n);
        EG_ASSERT(key_prepare(&k, (struct value){bytes, KEY_BYTES}, 1, alloc_system()) == EG_OK);
        reader_enter(&r);
        least = atomic_load_explicit(&t->written[account], memory_order_acquire);
        rec = t->store->ops->get(t->store, &r, &k);
        if (rng_one_in(&rng, 50)) /* hold what was read while others write */
            sched_yield();
        version = rec != NULL ? version_of(rec) : 0;
        t->missed += rec == NULL;
        t->torn += rec != NULL && (version == 0 || number_of(rec) != n);
        t->stale += version != 0 && version < least;
        reader_exit(&r);
        t->gets++;
    }
    reader_close(&r);
    return NULL;
}

/* Check that `rec` follows the key `*last` and is whole; count it if an account. */
static void meet(struct stress *t, const struct record *rec, bool reverse, int64_t *last,
                 uint32_t *accounts) {
    uint32_t n = number_of(rec);

    t->torn += version_of(rec) == 0 || n == KEYS;
    t->unordered += *last >= 0 && (reverse ? (int64_t) n >= *last : (int64_t) n <= *last);
    *last = n;
    *accounts += is_account(n);
}

static void scan_live(struct stress *t, struct reader *r, bool reverse) {
    const struct record *rec;
    struct store_cursor c;
    uint32_t accounts = 0;
    int64_t last = -1;

    reader_enter(r);
    t->store->ops->seek(t->store, r, &c, NULL, false, reverse);
    while ((rec = t->store->ops->next(t->store, r, &c)) != NULL)
        meet(t, rec, reverse, &last, &accounts);
    reader_exit(r);
    t->missed += accounts != ACCOUNTS;
    t->scans++;
}

/* The same, upwards and many at a time, in a cursor of its own. */
static void scan_many(struct stress *t, struct reader *r) {
    const struct record *rec[40];
    struct store_cursor c;
    uint32_t accounts = 0, count;
    int64_t last = -1;

    reader_enter(r);
    t->store->ops->seek(t->store, r, &c, NULL, false, false);
    while ((count = store_ordered_next_many(&c, NULL, rec, EG_COUNTOF(rec))) > 0)
        for (uint32_t i = 0; i < count; i++)
            meet(t, rec[i], false, &last, &accounts);
    reader_exit(r);
    t->missed += accounts != ACCOUNTS;
    t->scans++;
}

static void find_by_tag(struct stress *t, struct reader *r, uint8_t tag) {
    const struct record *rec;
    struct index_iter it;
    struct value wanted = {&tag, 1};
    uint32_t accounts = 0;
    int64_t last = -1;

    reader_enter(r);
    index_seek(t->by_tag, &it, &(struct index_bounds){.equal = &wanted, .equal_count = 1});
    while ((rec = index_next(&it)) != NULL) {
        meet(t, rec, false, &last, &accounts);
        t->torn += record_field(rec, 1).at[0] != tag;
    }
    reader_exit(r);
    t->not_found += accounts != ACCOUNTS / TAGS;
    t->finds++;
}

/* The same as a look-up does it: without a scan, maybe in many trees at once. */
static void look_up_tag(struct stress *t, struct reader *r, uint8_t tag) {
    const struct index *const indexes[2] = {t->by_tag, t->by_tag};
    const struct record *rec;
    struct index_runs runs;
    struct value wanted = {&tag, 1};

    reader_enter(r);
    index_find_many(&runs, indexes, 2, &wanted, 1);
    for (int i = 0; i < 2; i++) {
        uint32_t accounts = 0;
        int64_t last = -1;

        while ((rec = index_runs_next(&runs, (size_t) i)) != NULL) {
            meet(t, rec, false, &last, &accounts);
            t->torn += record_field(rec, 1).at[0] != tag;
        }
        t->not_found += accounts != ACCOUNTS / TAGS;
    }
    reader_exit(r);
    t->finds++;
}

static void scan_moment(struct stress *t, struct reader *r, struct moment *m) {
    struct store_snapshot *p = atomic_load_explicit(&m->open, memory_order_acquire);
    const struct record *rec = NULL;
    uint64_t count = 0;
    uint32_t accounts = 0;
    int64_t last = -1, sum = 0;

    if (p == NULL)
        return;
    do { /* a snapshot outlives reader sections */
        reader_enter(r);
        for (int i = 0; i < 40; i++) {
            EG_ASSERT(t->store->ops->snapshot_next(p, r, &rec) == EG_OK);
            if (rec == NULL)
                break;
            meet(t, rec, false, &last, &accounts);
            sum += balance_of(rec);
            count++;
        }
        reader_exit(r);
    } while (rec != NULL);
    t->not_the_moment += sum != (int64_t) ACCOUNTS * OPENING_BALANCE;
    t->not_the_moment += accounts != ACCOUNTS || count != m->count;
    t->snapshots++;
    atomic_store_explicit(&m->open, NULL, memory_order_release);
}

static void *scanner(void *arg) {
    struct stress *t = arg;
    struct reader r;

    EG_ASSERT(reader_open(&r, t->domain, alloc_system()) == EG_OK);
    for (uint32_t turn = 0; !atomic_load(&t->stop); turn++) {
        scan_moment(t, &r, &t->moment[turn % SNAPSHOTS]);
        scan_live(t, &r, turn % 2 == 0);
        scan_many(t, &r);
        find_by_tag(t, &r, (uint8_t) (turn % TAGS));
        if (turn % 4 == 0)
            look_up_tag(t, &r, (uint8_t) (turn / 4 % TAGS));
    }
    for (int i = 0; i < SNAPSHOTS; i++) /* the writer is gone: nothing is open */
        EG_ASSERT(atomic_load(&t->moment[i].open) == NULL);
    reader_close(&r);
    return NULL;
}

/* ---- the report ------------------------------------------------------------- */

static int claim(int number, bool holds, const char *what, uint64_t count) {
    printf("%s %d - %s (%" PRIu64 ")\n", holds ? "ok" : "not ok", number, what, count);
    return holds ? 0 : 1;
}

static int report(struct stress *t) {
    uint64_t relocations = t->store->ops->stats(t->store).relocations;
    int failures = 0;

    printf("# %" PRIu64 " gets, %" PRIu64 " scans, %" PRIu64 " finds, %" PRIu64
           " snapshots, %" PRIu64 " relocations\n1..7\n",
           t->gets, t->scans, t->finds, t->snapshots, relocations);
    failures += claim(1, t->missed == 0, "no account was missed", t->missed);
    failures += claim(2, t->stale == 0, "no version was older than one already written", t->stale);
    failures += claim(3, t->torn == 0, "every record was whole", t->torn);
    failures += claim(4, t->unordered == 0, "scans were in order, without doubles", t->unordered);
    failures += claim(5, t->not_found == 0, "an index showed each account once", t->not_found);
    failures +=
        claim(6, t->not_the_moment == 0, "in every snapshot the sum was kept", t->not_the_moment);
    failures +=
        claim(7, relocations > 1000 && all_have_seen(t), "there was something to see", relocations);
    return failures;
}

static void open_stores(struct stress *t) {
    struct index_spec by_tag = index_spec_of(1);
    struct store_opts opts;

    EG_ASSERT(epoch_open(&t->domain, alloc_system(), 8) == EG_OK);
    epoch_bin_init(&t->bin, t->domain, alloc_system());
    EG_ASSERT(slab_open(&t->slab, alloc_system()) == EG_OK);
    opts = (struct store_opts){.alloc = alloc_system(), .slab = t->slab, .bin = &t->bin};
    EG_ASSERT(store_ordered_open(&t->store, &opts) == EG_OK);
    EG_ASSERT(index_open(&t->by_tag, &opts, &by_tag) == EG_OK);
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        t->balance[i] = OPENING_BALANCE;
        put(t, i * KEY_STEP + KEY_STEP / 2, tag_of_account(i * KEY_STEP), OPENING_BALANCE);
    }
}

int main(int argc, char **argv) {
    static struct stress t;
    pthread_t thread[GETTERS + 1];
    uint64_t seed = rng_test_seed(1);
    int failures;

    open_stores(&t);
    for (int i = 0; i < GETTERS; i++)
        EG_ASSERT(pthread_create(&thread[i], NULL, getter, &t) == 0);
    EG_ASSERT(pthread_create(&thread[GETTERS], NULL, scanner, &t) == 0);
    write_tides(&t, argc > 1 ? atoi(argv[1]) : TIDES, seed);
    if (found_a_fault(&t)) { /* who walks a broken tree may never come out of it */
        (void) report(&t);
        fflush(stdout);
        _Exit(1);
    }
    end_snapshots(&t);
    atomic_store(&t.stop, true);
    for (int i = 0; i <= GETTERS; i++)
        pthread_join(thread[i], NULL);

    failures = report(&t);
    index_retire(t.by_tag);
    epoch_bin_drain(&t.bin);
    t.store->ops->close(t.store);
    slab_close(t.slab);
    epoch_close(t.domain);
    return failures == 0 ? 0 : 1;
}
