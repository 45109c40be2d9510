/* Goal: whatever happens to the files of a stopped node, it opens with exactly the
 * rows that were written, or says that it cannot.  Never other rows, never fewer
 * without a word, never a crash.
 *
 * Method: an image of a killed node with rows in table files and in the log; for
 * each trial one file of a copy is cut, flipped, zeroed, lengthened or removed, and
 * a child opens it and reads everything.  The one thing that cannot be told is a
 * last log cut at its end (or to nothing): there a prefix is right, as after a kill.
 *
 * RocksDB keeps threads for good, and a child has none of its parent's: so the
 * image is made in a child too, and this process never opens a database. */
#include "tables/disc.h"
#include "tests/support/disc_wait.h"
#include "tests/support/rng.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROWS = 1500, ROWS_IN_TABLE_FILES = 1000, VALUE_BYTES = 40, TRIALS = 200 };

enum outcome { EXACT, REFUSED, PREFIX, WRONG };

static void value_of(uint32_t number, uint8_t value[VALUE_BYTES]) {
    struct rng r = rng_of(number);
    for (int i = 0; i < VALUE_BYTES; i++)
        value[i] = (uint8_t) rng_u64(&r);
}

static eg_err disc_open(struct disc **d, const char *path) {
    struct err_note note = {""};
    eg_err err = disc_rocks_open(
        d, &(struct disc_rocks_opts){.alloc = alloc_system(), .directory = path}, &note);

    if (err != EG_OK && note.text[0] == '\0')
        return EG_INTERNAL; /* refused without a word */
    return err;
}

static void rows_write(struct disc *d, struct disc_table *t, uint32_t from, uint32_t to) {
    struct disc_batch b;

    disc_batch_init(&b, alloc_system());
    for (uint32_t number = from; number < to; number++) {
        uint8_t *room = disc_batch_room(&b, 8, VALUE_BYTES);
        char key[16];

        snprintf(key, sizeof key, "%08u", number);
        memcpy(room, key, 8);
        value_of(number, room + 8);
        disc_batch_commit(&b, DISC_PUT, t, 8, VALUE_BYTES);
        if (b.count < 10 && number + 1 < to)
            continue;
        EG_ASSERT(disc_wait_write(d, &b, true) == EG_OK);
        disc_batch_reset(&b);
    }
    disc_batch_fini(&b);
}

/* In a child: rows in files and in the log, then gone without a goodbye. */
static void image_make(const char *path) {
    struct disc_table *t;
    struct disc *d;

    EG_ASSERT(disc_open(&d, path) == EG_OK);
    EG_ASSERT(disc_wait_create(d, "t", &t) == EG_OK);
    rows_write(d, t, 0, ROWS_IN_TABLE_FILES / 2);
    disc_close(d);
    EG_ASSERT(disc_open(&d, path) == EG_OK);
    rows_write(d, disc_wait_find(d, "t"), ROWS_IN_TABLE_FILES / 2, ROWS_IN_TABLE_FILES);
    disc_close(d);
    EG_ASSERT(disc_open(&d, path) == EG_OK);
    rows_write(d, disc_wait_find(d, "t"), ROWS_IN_TABLE_FILES, ROWS);
    _exit(0);
}

/* In a child: what is to be found in a directory? */
static enum outcome image_read(const char *path) {
    struct disc_table *t;
    struct disc *d;
    struct disc_iter *it;
    uint32_t number = 0;
    bool wrong = false;
    eg_err err = disc_open(&d, path);

    if (err != EG_OK)
        return err == EG_CORRUPT || err == EG_DISC ? REFUSED : WRONG;
    t = disc_wait_find(d, "t");
    if (t == NULL)
        return WRONG;
    if (disc_iter_open(d, t, NULL, &it) != EG_OK)
        return WRONG;
    for (it->ops->seek(it, (struct disc_bytes){0}); it->valid; it->ops->next(it), number++) {
        uint8_t value[VALUE_BYTES];
        char key[16];

        snprintf(key, sizeof key, "%08u", number);
        value_of(number, value);
        wrong |= it->key.size_bytes != 8 || memcmp(it->key.at, key, 8) != 0;
        wrong |= it->value.size_bytes != VALUE_BYTES || memcmp(it->value.at, value, VALUE_BYTES);
    }
    if (it->err != EG_OK)
        return wrong ? WRONG : REFUSED;
    it->ops->close(it);
    disc_close(d);
    if (wrong || number < ROWS_IN_TABLE_FILES)
        return WRONG;
    return number == ROWS ? EXACT : PREFIX;
}

/* Run one of the two in a child; its outcome, or WRONG where it was killed. */
static enum outcome in_child(const char *path, bool make) {
    pid_t pid = fork();
    int status;

    cr_assert_geq(pid, 0);
    if (pid == 0) {
        int quiet = open("/dev/null", O_WRONLY);
        dup2(quiet, STDERR_FILENO);
        if (make)
            image_make(path);
        _exit((int) image_read(path));
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? (enum outcome) WEXITSTATUS(status) : WRONG;
}

/* ---- damage ------------------------------------------------------------- */

struct victim {
    char path[TEMP_PATH_BYTES];
    char name[64];
    off_t size_bytes;
};

/* The n-th file (of those RocksDB reads) of a database, chosen by `r`. */
static struct victim victim_choose(const char *path, struct rng *r) {
    struct victim chosen = {"", "", 0};
    char db[TEMP_PATH_BYTES];
    struct dirent *entry;
    uint32_t seen = 0;
    DIR *dir;

    snprintf(db, sizeof db, "%.400s/db", path);
    dir = opendir(db);
    cr_assert_not_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        struct stat s;
        char file[TEMP_PATH_BYTES];

        if (strncmp(entry->d_name, "LOG", 3) == 0 || strcmp(entry->d_name, "LOCK") == 0 ||
            strncmp(entry->d_name, "OPTIONS", 7) == 0 || strcmp(entry->d_name, "IDENTITY") == 0)
            continue; /* not data */
        snprintf(file, sizeof file, "%.400s/%.60s", db, entry->d_name);
        cr_assert_eq(stat(file, &s), 0);
        if (!S_ISREG(s.st_mode) || s.st_size == 0)
            continue;
        if (rng_below(r, ++seen) == 0) {
            memcpy(chosen.path, file, sizeof file);
            snprintf(chosen.name, sizeof chosen.name, "%.60s", entry->d_name);
            chosen.size_bytes = s.st_size;
        }
    }
    closedir(dir);
    cr_assert_gt(seen, 3);
    return chosen;
}

enum damage { CUT, FLIP, ZERO, LENGTHEN, REMOVE, DAMAGES };
static const char *const damage_names[] = {"cut", "flipped", "zeroed", "lengthened", "removed"};

static void damage_do(const struct victim *v, enum damage damage, struct rng *r) {
    off_t at = (off_t) rng_below(r, (uint64_t) v->size_bytes);
    uint8_t bytes[64] = {0};
    int fd = open(v->path, O_RDWR);

    cr_assert_geq(fd, 0);
    switch (damage) {
    case CUT:
        cr_assert_eq(ftruncate(fd, at), 0);
        break;
    case FLIP:
        cr_assert_eq(pread(fd, bytes, 1, at), 1);
        bytes[0] ^= (uint8_t) (1u << rng_below(r, 8));
        cr_assert_eq(pwrite(fd, bytes, 1, at), 1);
        break;
    case ZERO:
        at = EG_MIN(at, EG_MAX(v->size_bytes - (off_t) sizeof bytes, 0));
        cr_assert_gt(pwrite(fd, bytes, EG_MIN(sizeof bytes, (size_t) v->size_bytes), at), 0);
        break;
    case LENGTHEN:
        memset(bytes, (int) rng_u64(r), sizeof bytes);
        cr_assert_gt(pwrite(fd, bytes, sizeof bytes, v->size_bytes), 0);
        break;
    case REMOVE:
        cr_assert_eq(unlink(v->path), 0);
        break;
    case DAMAGES:
        break;
    }
    close(fd);
}

static bool is_log(const struct victim *v) {
    const char *dot = strrchr(v->name, '.');
    return dot != NULL && strcmp(dot, ".log") == 0;
}

Test(disc_damage, damaged_files_give_exact_rows_or_a_refusal) {
    uint64_t seed = rng_test_seed(20261121);
    uint32_t trials = rng_is_replay() ? 1 : TRIALS;
    struct temp_dir dir = temp_dir_make();
    char image[TEMP_PATH_BYTES], copy[TEMP_PATH_BYTES];
    uint32_t counts[4] = {0};

    snprintf(image, sizeof image, "%.400s/image", dir.path);
    snprintf(copy, sizeof copy, "%.400s/copy", dir.path);
    cr_assert_eq(in_child(image, true), 0);
    temp_dir_copy(image, copy);
    cr_assert_eq(in_child(copy, false), EXACT, "the undamaged image");
    temp_dir_remove_tree(copy);

    for (uint32_t trial = 0; trial < trials; trial++) {
        struct rng r = rng_of(seed + trial);
        enum damage damage = (enum damage) rng_below(&r, DAMAGES);
        struct victim v;
        enum outcome outcome;

        temp_dir_copy(image, copy);
        v = victim_choose(copy, &r);
        damage_do(&v, damage, &r);
        outcome = in_child(copy, false);
        counts[outcome]++;
        cr_expect(outcome == EXACT || outcome == REFUSED ||
                      (outcome == PREFIX && (damage == CUT || damage == REMOVE) && is_log(&v)),
                  "seed %" PRIu64 ": %s %s: outcome %d", seed + trial, v.name, damage_names[damage],
                  outcome);
        temp_dir_remove_tree(copy);
    }
    fprintf(stderr, "# exact %u, refused %u, prefix of the log %u, wrong %u\n", counts[EXACT],
            counts[REFUSED], counts[PREFIX], counts[WRONG]);
    temp_dir_remove(&dir);
}
