/* Goal: the twin that the simulator trusts behaves as RocksDB does.
 *
 * Method: the same random requests to both, and after each restart, kill and loss
 * of power the same tables with the same rows.  A kill is a copy of the files of
 * an idle disc.  A loss of power also cuts the log anywhere behind what was last
 * fsynced (fdatasync is wrapped to know); every batch counts a row up, which tells
 * how many of the unsynced batches came through, and the twin must be able to
 * crash to just that state. */
#include "tests/support/disc_twin.h"
#include "tests/support/disc_wait.h"
#include "tests/support/rng.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TRIALS = 8, STEPS = 250, TABLES = 3, KEYS = 60, BATCH_CHANGES_MAX = 6, TRUTH = 0, REAL = 1 };

static struct disc *both[2];
static struct disc_twin *twin;
static struct disc_table *tables[2][TABLES]; /* NULL: does not exist */
static struct temp_dir dir;
static char path[TEMP_PATH_BYTES];
static uint32_t generation; /* of the files: each kill goes on in a copy */
static uint64_t number;     /* of the last batch written */
static uint64_t seed_now;

/* ---- what has been fsynced ---------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    char name[64]; /* of the log last synced */
    off_t size_bytes;
} synced = {PTHREAD_MUTEX_INITIALIZER, "", 0};

EG_API int fdatasync(int fd) {
    char link[64], target[TEMP_PATH_BYTES];
    struct stat s;
    ssize_t n;
    int failed;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, target, sizeof target - 1);
    failed = fstat(fd, &s);
    if (failed == 0 && n > 4 && memcmp(target + n - 4, ".log", 4) == 0) {
        target[n] = '\0';
        pthread_mutex_lock(&synced.lock);
        snprintf(synced.name, sizeof synced.name, "%.60s", strrchr(target, '/') + 1);
        synced.size_bytes = s.st_size;
        pthread_mutex_unlock(&synced.lock);
    }
    return (int) syscall(SYS_fdatasync, fd);
}

/* Cut the newest log of a copy somewhere behind what was synced. */
static void log_cut(const char *data, struct rng *r) {
    char db[TEMP_PATH_BYTES], newest[TEMP_PATH_BYTES] = "", file[TEMP_PATH_BYTES];
    struct dirent *entry;
    off_t from = 0;
    struct stat s;
    DIR *d;

    snprintf(db, sizeof db, "%.400s/db", data);
    d = opendir(db);
    cr_assert_not_null(d);
    while ((entry = readdir(d)) != NULL) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot != NULL && strcmp(dot, ".log") == 0 && strcmp(entry->d_name, newest) > 0)
            snprintf(newest, sizeof newest, "%.60s", entry->d_name);
    }
    closedir(d);
    pthread_mutex_lock(&synced.lock);
    if (strcmp(synced.name, newest) == 0)
        from = synced.size_bytes;
    pthread_mutex_unlock(&synced.lock);
    snprintf(file, sizeof file, "%.400s/%.60s", db, newest);
    cr_assert_eq(stat(file, &s), 0);
    cr_assert_leq(from, s.st_size);
    cr_assert_eq(truncate(file, from + (off_t) rng_below(r, (uint64_t) (s.st_size - from) + 1)), 0);
}

/* ---- the two are equal -------------------------------------------------- */

static void name_of(char name[16], int table) {
    snprintf(name, 16, "table%d", table);
}

static void step_equal(struct disc_iter *a, struct disc_iter *b) {
    cr_assert_eq(a->valid, b->valid, "seed %" PRIu64, seed_now);
    cr_assert_eq(a->err, b->err, "seed %" PRIu64, seed_now);
    if (!a->valid)
        return;
    cr_assert_eq(a->key.size_bytes, b->key.size_bytes, "seed %" PRIu64, seed_now);
    cr_assert_eq(memcmp(a->key.at, b->key.at, a->key.size_bytes), 0, "seed %" PRIu64, seed_now);
    cr_assert_eq(a->value.size_bytes, b->value.size_bytes, "seed %" PRIu64, seed_now);
    cr_assert_eq(memcmp(a->value.at, b->value.at, a->value.size_bytes), 0, "seed %" PRIu64,
                 seed_now);
}

static struct disc_bytes key_of(char buffer[8], uint64_t n) {
    int size_bytes = snprintf(buffer, 8, "%02u%s", (unsigned) (n % KEYS), n % 3 == 0 ? "x" : "");
    return (struct disc_bytes){(const uint8_t *) buffer, (size_t) size_bytes};
}

/* Walk the same random way over the same range of one table. */
static void table_equal(int table, struct rng *r) {
    struct disc_iter *it[2];
    struct disc_range range = {{NULL, 0}, {NULL, 0}, rng_one_in(r, 2)};
    char from[8], to[8], key[8];
    int steps = 3 * KEYS;

    if (rng_one_in(r, 2))
        range.from = key_of(from, rng_below(r, KEYS));
    if (rng_one_in(r, 2))
        range.to = key_of(to, rng_below(r, KEYS));
    for (int i = 0; i < 2; i++)
        cr_assert_eq(disc_iter_open(both[i], tables[i][table], &range, &it[i]), EG_OK);
    while (steps-- > 0) {
        uint64_t what = it[TRUTH]->valid ? rng_below(r, 20) : 0;
        struct disc_bytes at =
            rng_one_in(r, 3) ? (struct disc_bytes){0} : key_of(key, rng_below(r, KEYS));
        for (int i = 0; i < 2; i++) {
            if (what == 0 && steps % 2 == 0)
                it[i]->ops->seek(it[i], at);
            else if (what <= 1)
                it[i]->ops->seek_back(it[i], at);
            else if (what <= 6)
                it[i]->ops->prev(it[i]);
            else
                it[i]->ops->next(it[i]);
        }
        step_equal(it[TRUTH], it[REAL]);
    }
    for (int i = 0; i < 2; i++)
        it[i]->ops->close(it[i]);
}

static void all_equal(struct rng *r) {
    for (int t = 0; t < TABLES; t++) {
        char name[16];
        struct disc_iter *it[2];

        name_of(name, t);
        for (int i = 0; i < 2; i++)
            cr_assert_eq(disc_wait_find(both[i], name), tables[i][t], "seed %" PRIu64, seed_now);
        if (tables[TRUTH][t] == NULL)
            continue;
        for (int i = 0; i < 2; i++) {
            cr_assert_eq(disc_iter_open(both[i], tables[i][t], NULL, &it[i]), EG_OK);
            it[i]->ops->seek(it[i], (struct disc_bytes){0});
        }
        for (step_equal(it[TRUTH], it[REAL]); it[TRUTH]->valid; step_equal(it[TRUTH], it[REAL]))
            for (int i = 0; i < 2; i++)
                it[i]->ops->next(it[i]);
        for (int i = 0; i < 2; i++)
            it[i]->ops->close(it[i]);
        table_equal(t, r);
    }
}

/* ---- the same to both --------------------------------------------------- */

static void batch_random(struct disc_batch *b, int side, struct rng r) {
    struct disc_bytes last = {(const uint8_t *) &number, sizeof number};
    uint64_t changes = rng_below(&r, BATCH_CHANGES_MAX + 1);

    disc_batch_init(b, alloc_system());
    while (changes-- > 0) {
        struct disc_table *t = tables[side][rng_below(&r, TABLES)];
        uint64_t what = rng_below(&r, 10);
        char key[8], other[8], value[80];
        struct disc_bytes k = key_of(key, rng_u64(&r)), o = key_of(other, rng_u64(&r));
        struct disc_bytes v = {(const uint8_t *) value, rng_below(&r, sizeof value)};

        memset(value, (int) rng_u64(&r), sizeof value);
        if (t == NULL)
            continue;
        if (what < 7)
            cr_assert_eq(disc_batch_put(b, t, k, v), EG_OK);
        else if (what < 9)
            cr_assert_eq(disc_batch_del(b, t, k), EG_OK);
        else if (memcmp(k.at, o.at, 2) < 0) /* RocksDB refuses a range that runs backwards */
            cr_assert_eq(disc_batch_del_range(b, t, k, o), EG_OK);
    }
    cr_assert_eq(disc_batch_put(b, both[side]->meta, disc_text("q"), last), EG_OK);
}

static void write_both(struct rng *r) {
    struct rng same = rng_of(rng_u64(r));
    uint64_t how = rng_below(r, 6);

    number++;
    for (int i = 0; i < 2; i++) {
        struct disc_batch b;

        batch_random(&b, i, same);
        if (how == 0)
            cr_assert_eq(disc_write(both[i], &b), EG_OK);
        else
            cr_assert_eq(disc_wait_write(both[i], &b, how == 1), EG_OK);
        disc_batch_fini(&b);
    }
}

static void table_both(struct rng *r) {
    int t = (int) rng_below(r, TABLES);
    bool drop = tables[TRUTH][t] != NULL && rng_one_in(r, 2);
    eg_err err[2];
    char name[16];

    name_of(name, t);
    for (int i = 0; i < 2; i++) {
        err[i] = drop ? disc_wait_drop(both[i], tables[i][t])
                      : disc_wait_create(both[i], name, &tables[i][t]);
        if (drop) {
            disc_forget(both[i], tables[i][t]);
            tables[i][t] = NULL;
        }
    }
    cr_assert_eq(err[TRUTH], err[REAL], "seed %" PRIu64, seed_now);
}

/* ---- restarts ----------------------------------------------------------- */

static void real_open(void) {
    struct err_note note = {""};
    eg_err err = disc_rocks_open(
        &both[REAL], &(struct disc_rocks_opts){.alloc = alloc_system(), .directory = path}, &note);
    cr_assert_eq(err, EG_OK, "seed %" PRIu64 ": %s", seed_now, note.text);
}

static void tables_find(void) {
    for (int i = 0; i < 2; i++)
        for (int t = 0; t < TABLES; t++) {
            char name[16];
            name_of(name, t);
            tables[i][t] = disc_wait_find(both[i], name);
        }
}

static uint64_t last_number(struct disc *d) {
    struct disc_slice s;
    uint64_t last;

    if (disc_get(d, d->meta, disc_text("q"), &s) != EG_OK)
        return 0;
    memcpy(&last, s.bytes.at, sizeof last);
    disc_release(d, &s);
    return last;
}

static void restart_both(struct rng *r) {
    uint64_t how = rng_below(r, 3); /* in order, kill, loss of power */
    char old[TEMP_PATH_BYTES];

    if (how == 0) {
        disc_close(both[REAL]);
        real_open();
        disc_twin_restart(twin);
    } else {
        uint64_t unsynced = disc_twin_unsynced(twin), lost;

        memcpy(old, path, sizeof old);
        snprintf(path, sizeof path, "%.400s/%u", dir.path, ++generation);
        temp_dir_copy(old, path);
        if (how == 2)
            log_cut(path, r);
        disc_close(both[REAL]);
        temp_dir_remove_tree(old);
        real_open();
        lost = number - last_number(both[REAL]);
        cr_assert(how == 2 || lost == 0, "seed %" PRIu64 ": a kill lost %" PRIu64, seed_now, lost);
        cr_assert_leq(lost, unsynced, "seed %" PRIu64 ": lost what was synced", seed_now);
        disc_twin_crash_keeping(twin, unsynced - lost);
        number -= lost;
    }
    tables_find();
    all_equal(r);
}

static void trial(uint64_t seed) {
    struct rng r = rng_of(seed);

    seed_now = seed;
    number = 0;
    dir = temp_dir_make();
    snprintf(path, sizeof path, "%.400s/%u", dir.path, generation = 0);
    real_open();
    cr_assert_eq(
        disc_twin_open(&twin, &(struct disc_twin_opts){.alloc = alloc_system(), .seed = seed}),
        EG_OK);
    both[TRUTH] = disc_twin_disc(twin);
    tables_find();
    for (int step = 0; step < STEPS; step++) {
        uint64_t what = rng_below(&r, 100);

        if (what < 88)
            write_both(&r);
        else if (what < 94)
            table_both(&r);
        else if (what < 97)
            all_equal(&r);
        else
            restart_both(&r);
    }
    all_equal(&r);
    disc_close(both[TRUTH]);
    disc_close(both[REAL]);
    temp_dir_remove(&dir);
}

Test(disc_model, the_twin_and_rocksdb_hold_the_same_rows_through_kills_and_losses_of_power) {
    uint64_t seed = rng_test_seed(20261121);

    for (uint32_t i = 0; i < (rng_is_replay() ? 1 : TRIALS); i++)
        trial(seed + i);
}
