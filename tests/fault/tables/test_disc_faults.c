/* Discs that fill up, fail, lie or are damaged, and memory that runs out.
 *
 * The wrappers of fdatasync(), fsync() and write() below stand before the C
 * library's also for RocksDB, since it is a shared library: a real fault where a
 * real disc would show it. */
#include "tables/disc.h"
#include "tests/support/disc_wait.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/pause.h"
#include "tests/support/rng.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <rocksdb/c.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- the disc below ----------------------------------------------------- */

static _Atomic int syncs_left = INT_MAX;  /* until they fail           */
static _Atomic int writes_left = INT_MAX; /* to write-ahead log files  */
static _Atomic int syncs_seen;

EG_API int fdatasync(int fd) {
    atomic_fetch_add(&syncs_seen, 1);
    if (atomic_fetch_sub(&syncs_left, 1) <= 0) {
        errno = EIO;
        return -1;
    }
    return (int) syscall(SYS_fdatasync, fd);
}

static bool is_log(int fd) {
    char link[64], path[TEMP_PATH_BYTES];
    ssize_t n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path);
    return n > 4 && memcmp(path + n - 4, ".log", 4) == 0;
}

EG_API ssize_t write(int fd, const void *at, size_t size_bytes) {
    if (atomic_load(&writes_left) != INT_MAX && is_log(fd) &&
        atomic_fetch_sub(&writes_left, 1) <= 0) {
        syscall(SYS_write, fd, at, size_bytes / 2); /* and it is torn */
        errno = EIO;
        return -1;
    }
    return syscall(SYS_write, fd, at, size_bytes);
}

/* ---- helpers ------------------------------------------------------------ */

static struct temp_dir dir;
static struct disc *disc;
static struct err_note note;
static uint64_t reserve_bytes;

static eg_err open_at(const char *path, struct alloc *a) {
    disc = NULL;
    note.text[0] = '\0';
    return disc_rocks_open(
        &disc,
        &(struct disc_rocks_opts){.alloc = a, .directory = path, .reserve_bytes = reserve_bytes},
        &note);
}

static void setup(void) {
    dir = temp_dir_make();
}

static void teardown(void) {
    temp_dir_remove(&dir);
}

static eg_err put(struct disc_table *t, uint32_t number, size_t value_bytes, bool sync) {
    struct disc_batch b;
    char key[16];
    uint8_t *room;
    eg_err err;

    disc_batch_init(&b, alloc_system());
    snprintf(key, sizeof key, "%08u", number);
    room = disc_batch_room(&b, 8, value_bytes);
    memcpy(room, key, 8);
    memset(room + 8, (int) number, value_bytes);
    disc_batch_commit(&b, DISC_PUT, t, 8, value_bytes);
    err = disc_wait_write(disc, &b, sync);
    disc_batch_fini(&b);
    return err;
}

static bool has(struct disc_table *t, uint32_t number) {
    struct disc_slice s;
    char key[16];
    bool found;

    snprintf(key, sizeof key, "%08u", number);
    found = disc_get(disc, t, disc_text(key), &s) == EG_OK;
    if (found)
        disc_release(disc, &s);
    return found;
}

static struct disc_table *table_make(void) {
    struct disc_table *t = NULL;
    cr_assert_eq(disc_wait_create(disc, "t", &t), EG_OK);
    return t;
}

TestSuite(disc_faults, .init = setup, .fini = teardown, .timeout = 240);

/* ---- memory ------------------------------------------------------------- */

/* Goal: no allocation failure inside open leaks, half-opens or keeps the lock.
 * Method: fail the 1st request, then the 2nd, ... until open succeeds; once where
 * there is nothing and once where there are tables to find. */
Test(disc_faults, open_fails_cleanly_at_every_allocation) {
    for (int round = 0; round < 2; round++) {
        eg_err err;
        int granted = 0;
        do {
            struct fail_alloc a = fail_alloc_after(granted);
            err = open_at(dir.path, &a.base);
            if (err == EG_OK) {
                struct disc_table *t;
                atomic_store(&a.left, INT_MAX);
                cr_assert_eq(disc_wait_create(disc, round == 0 ? "a" : "b", &t), EG_OK);
                disc_close(disc);
            } else {
                cr_assert_eq(err, EG_MEMORY, "%s", note.text);
                cr_assert_null(disc);
            }
            cr_assert_eq(a.live, 0, "leak when allocation %d fails", granted + 1);
        } while (err != EG_OK && ++granted < 100);
        cr_assert_gt(granted, 3);
    }
}

/* ---- a disc that fails -------------------------------------------------- */

Test(disc_faults, after_a_failed_fsync_nothing_is_acknowledged_and_reads_go_on) {
    struct disc_table *t;

    cr_assert_eq(open_at(dir.path, alloc_system()), EG_OK, "%s", note.text);
    t = table_make();
    cr_assert_eq(put(t, 1, 10, true), EG_OK);
    cr_assert_gt(syncs_seen, 0, "the wrapper is not in the way");
    atomic_store(&syncs_left, 0);
    cr_assert_eq(put(t, 2, 10, true), EG_DISC);
    atomic_store(&syncs_left, INT_MAX); /* the disc claims to be well again */
    cr_assert_eq(put(t, 3, 10, true), EG_DISC);
    cr_assert_eq(put(t, 4, 10, false), EG_DISC);
    cr_assert_eq(disc_health(disc, &note), EG_DISC);
    cr_assert_not_null(strstr(note.text, "Input/output error"), "%s", note.text);
    cr_assert(has(t, 1));
    disc_close(disc);

    cr_assert_eq(open_at(dir.path, alloc_system()), EG_OK, "%s", note.text);
    t = disc_wait_find(disc, "t");
    cr_assert(has(t, 1));
    cr_assert_not(has(t, 3));
    cr_assert_not(has(t, 4));
    cr_assert_eq(put(t, 5, 10, true), EG_OK);
    disc_close(disc);
}

Test(disc_faults, after_a_failed_write_nothing_is_acknowledged) {
    struct disc_table *t;
    struct disc_batch b;

    cr_assert_eq(open_at(dir.path, alloc_system()), EG_OK, "%s", note.text);
    t = table_make();
    cr_assert_eq(put(t, 1, 10, false), EG_OK);
    atomic_store(&writes_left, 0);
    cr_assert_eq(put(t, 2, 10, false), EG_DISC);
    atomic_store(&writes_left, INT_MAX);
    cr_assert_eq(put(t, 3, 10, false), EG_DISC);
    disc_batch_init(&b, alloc_system());
    cr_assert_eq(disc_batch_put(&b, t, disc_text("k"), disc_text("v")), EG_OK);
    cr_assert_eq(disc_write(disc, &b), EG_DISC);
    disc_batch_fini(&b);
    cr_assert_eq(disc_health(disc, &note), EG_DISC);
    cr_assert_gt(disc_stats(disc).refused, 2);
    cr_assert(has(t, 1));
    disc_close(disc);
    cr_assert_eq(open_at(dir.path, alloc_system()), EG_OK, "%s", note.text);
    t = disc_wait_find(disc, "t");
    cr_assert(has(t, 1));
    cr_assert_not(has(t, 2));
    cr_assert_not(has(t, 3));
    disc_close(disc);
}

/* ---- a disc that is full ------------------------------------------------ */

/* A small file system of this test's own at dir.path; false where not allowed. */
static bool small_disc_mount(void) {
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return false;
    return mount("tmpfs", dir.path, "tmpfs", 0, "size=48m") == 0;
}

/* Write until refused; returns how many were taken. */
static uint32_t fill(struct disc_table *t, uint32_t from) {
    uint32_t number = from;
    eg_err err;

    while ((err = put(t, number, 64 << 10, false)) == EG_OK)
        number++;
    cr_assert_eq(err, EG_DISC);
    return number;
}

static void full_disc_recovers(void) {
    char data[TEMP_PATH_BYTES], ballast[TEMP_PATH_BYTES];
    struct disc_table *t;
    uint32_t taken;
    int fd;

    if (!small_disc_mount())
        cr_skip("needs root to mount a small tmpfs");
    snprintf(data, sizeof data, "%.400s/data", dir.path);
    snprintf(ballast, sizeof ballast, "%.400s/ballast", dir.path);
    fd = open(ballast, O_WRONLY | O_CREAT, 0600);
    cr_assert_eq(posix_fallocate(fd, 0, 32 << 20), 0);
    close(fd);
    cr_assert_eq(open_at(data, alloc_system()), EG_OK, "%s", note.text);
    t = table_make();
    taken = fill(t, 0);
    while (disc_health(disc, &note) == EG_OK) /* what RocksDB has tidied away since made room */
        taken = fill(t, taken);
    cr_assert_gt(taken, 50);
    cr_assert_not_null(strstr(note.text, "space"), "%s", note.text);
    for (uint32_t i = 0; i < taken; i++)
        cr_assert(has(t, i), "%u of %u", i, taken);

    cr_assert_eq(unlink(ballast), 0);
    for (int i = 0; i < 1000 && disc_health(disc, &note) != EG_OK; i++)
        pause_ms(100);
    cr_assert_eq(disc_health(disc, &note), EG_OK, "%s", note.text);
    cr_assert_eq(put(t, taken + 1000, 10, true), EG_OK);
    disc_close(disc);
    cr_assert_eq(open_at(data, alloc_system()), EG_OK, "%s", note.text);
    t = disc_wait_find(disc, "t");
    for (uint32_t i = 0; i < taken; i++)
        cr_assert(has(t, i), "%u of %u", i, taken);
    cr_assert(has(t, taken + 1000));
    disc_close(disc);
    umount(dir.path);
}

Test(disc_faults, a_full_disc_refuses_reads_on_and_takes_writes_when_there_is_room) {
    full_disc_recovers();
}

Test(disc_faults, the_same_where_rocksdb_itself_meets_the_end) {
    reserve_bytes = 1;
    full_disc_recovers();
}
