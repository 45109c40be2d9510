/* Goal: SIGKILL at any time leaves of each submitter's writes a prefix that holds
 * every write acknowledged with `sync`.
 *
 * Method: a child writes through the real disc from several submitters at once,
 * each with one batch in flight and a counter that grows by one a batch; what is
 * acknowledged goes into memory shared with the parent.  The parent kills it a random
 * time after it has begun, or after it writes, and another child opens what is left and
 * checks:
 *   (1) a submitter's rows are numbers 1 .. n, whole batches, none missing between;
 *   (2) n is at least the last number acknowledged with sync, and, since a kill
 *       leaves the kernel's memory alone, the last one acknowledged at all;
 *   (3) the row "last", in the same batch, says n too.
 * The next round goes on with the same files, so logs are replayed over and over,
 * and every few rounds one submitter's table is dropped and made again.
 *
 * EG_ROUNDS sets how many kills (default 20).  The checker is shown to fail by
 * planting a false acknowledgement (round 0). */
#include "tables/disc.h"
#include "tests/support/disc_wait.h"
#include "tests/support/rng.h"
#include "tests/support/temp_dir.h"

#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    SUBMITTERS = 4,
    ROWS_A_BATCH = 5,
    ROUNDS = 20,
    VALUE_BYTES = 1500, /* enough that logs turn over and buffers are flushed meanwhile */
    LIFE_MS_MAX = 300,
    KEEP = 2000, /* rows of older batches are deleted, so that files stay small */
};

/* What the child has been told, seen by the parent. */
struct ledger {
    _Atomic uint64_t acked[SUBMITTERS];  /* any                        */
    _Atomic uint64_t synced[SUBMITTERS]; /* asked for and done with sync */
    _Atomic uint64_t submitted[SUBMITTERS];
    _Atomic int ready;
};

static struct ledger *ledger;
static char path[TEMP_PATH_BYTES];

static struct disc *disc_open(void) {
    struct err_note note = {""};
    struct disc *d;
    eg_err err = disc_rocks_open(
        &d, &(struct disc_rocks_opts){.alloc = alloc_system(), .directory = path}, &note);

    if (err != EG_OK) {
        fprintf(stderr, "# open: %s: %s\n", eg_err_name(err), note.text);
        _exit(2);
    }
    return d;
}

static struct disc_table *table_of(struct disc *d, int submitter) {
    char name[8];
    struct disc_table *t;

    snprintf(name, sizeof name, "t%d", submitter);
    t = disc_wait_find(d, name);
    if (t == NULL)
        EG_ASSERT(disc_wait_create(d, name, &t) == EG_OK);
    return t;
}

static uint64_t last_of(struct disc *d, struct disc_table *t) {
    struct disc_slice s;
    uint64_t last;

    if (disc_get(d, t, disc_text("last"), &s) != EG_OK)
        return 0;
    memcpy(&last, s.bytes.at, sizeof last);
    disc_release(d, &s);
    return last;
}

/* ---- the writer that is killed ------------------------------------------ */

struct submitter {
    struct disc *disc;
    struct disc_table *table;
    struct disc_batch batch;
    struct disc_wait wait;
    uint64_t number; /* of the batch in flight */
    struct rng rng;
};

static void key_write(char key[24], uint64_t number, int row) {
    snprintf(key, 24, "k%016" PRIx64 ".%d", number, row);
}

/* One batch: rows `number`.0 .. 4, their old ones gone, and "last". */
static void batch_fill(struct submitter *s) {
    struct disc_batch *b = &s->batch;
    uint8_t bytes[VALUE_BYTES];
    struct disc_bytes value = {bytes, sizeof bytes};
    char key[24], end[24];

    for (size_t i = 0; i + sizeof s->number <= sizeof bytes; i += sizeof s->number)
        memcpy(bytes + i, &s->number, sizeof s->number);
    disc_batch_reset(b);
    for (int row = 0; row < ROWS_A_BATCH; row++) {
        key_write(key, s->number, row);
        EG_ASSERT(disc_batch_put(b, s->table, disc_text(key), value) == EG_OK);
    }
    if (s->number > KEEP) {
        key_write(key, 0, 0);
        key_write(end, s->number - KEEP, 0);
        if (rng_one_in(&s->rng, 50)) /* sometimes a whole range at once */
            EG_ASSERT(disc_batch_del_range(b, s->table, disc_text(key), disc_text(end)) == EG_OK);
        for (int row = 0; row < ROWS_A_BATCH; row++) {
            key_write(key, s->number - KEEP, row);
            EG_ASSERT(disc_batch_del(b, s->table, disc_text(key)) == EG_OK);
        }
    }
    EG_ASSERT(disc_batch_put(b, s->table, disc_text("last"), value) == EG_OK);
}

static void *submitter_run(void *arg) {
    struct submitter *s = arg;
    int self = (int) s->rng.state; /* its number, until the generator is seeded */

    s->rng = rng_of(s->number * 31 + (uint64_t) self);
    for (;;) {
        bool sync = self == 0 || rng_one_in(&s->rng, 20);

        s->number++;
        batch_fill(s);
        s->wait.request =
            (struct disc_request){.kind = DISC_WRITE, .batch = &s->batch, .sync = sync};
        atomic_store(&ledger->submitted[self], s->number);
        EG_ASSERT(disc_wait_submit(&s->wait, s->disc) == EG_OK);
        EG_ASSERT(disc_wait_answer(&s->wait) == EG_OK);
        atomic_store(&ledger->acked[self], s->number);
        if (sync)
            atomic_store(&ledger->synced[self], s->number);
    }
    return NULL;
}

static void child_write(bool renew) {
    static struct submitter s[SUBMITTERS];
    struct disc *d = disc_open();
    pthread_t thread;

    for (int i = 0; i < SUBMITTERS; i++) {
        struct disc_table *t = table_of(d, i);
        if (renew && i == SUBMITTERS - 1) { /* its numbers start again */
            atomic_store(&ledger->acked[i], 0);
            atomic_store(&ledger->synced[i], 0);
            EG_ASSERT(disc_wait_drop(d, t) == EG_OK);
            disc_forget(d, t);
            t = table_of(d, i);
        }
        s[i].disc = d;
        s[i].table = t;
        s[i].number = last_of(d, t);
        s[i].rng = rng_of((uint64_t) i);
        disc_batch_init(&s[i].batch, alloc_system());
        disc_wait_init(&s[i].wait);
        EG_ASSERT(pthread_create(&thread, NULL, submitter_run, &s[i]) == 0);
    }
    atomic_store(&ledger->ready, 1);
    for (;;)
        pause();
}

/* ---- the reader that checks --------------------------------------------- */

static int complain(int submitter, const char *what, uint64_t is, uint64_t wanted) {
    fprintf(stderr, "# submitter %d: %s: %" PRIu64 ", expected %" PRIu64 "\n", submitter, what, is,
            wanted);
    return 1;
}

static int table_check(struct disc *d, int submitter) {
    struct disc_table *t = table_of(d, submitter);
    uint64_t last = last_of(d, t), number, row = 0;
    struct disc_iter *it;
    char key[24];
    bool torn = false;
    int bad = 0;

    if (last < atomic_load(&ledger->acked[submitter]))
        bad |= complain(submitter, "acknowledged and lost", last, ledger->acked[submitter]);
    if (last < atomic_load(&ledger->synced[submitter]))
        bad |= complain(submitter, "synced and lost", last, ledger->synced[submitter]);
    if (last > atomic_load(&ledger->submitted[submitter]))
        bad |= complain(submitter, "never submitted", last, ledger->submitted[submitter]);
    number = last > KEEP ? last - KEEP + 1 : 1;
    EG_ASSERT(disc_iter_open(d, t, NULL, &it) == EG_OK);
    for (it->ops->seek(it, disc_text("k")); it->valid && it->key.at[0] == 'k' && !torn;
         it->ops->next(it)) {
        key_write(key, number, (int) row);
        torn = it->key.size_bytes != strlen(key) || memcmp(it->key.at, key, strlen(key)) != 0;
        for (size_t i = 0; i + sizeof number <= it->value.size_bytes; i += sizeof number)
            torn |= memcmp(it->value.at + i, &number, sizeof number) != 0;
        if (++row == ROWS_A_BATCH) {
            row = 0;
            number++;
        }
    }
    if (torn)
        bad |= complain(submitter, "a row missing or wrong in batch", number, number);
    else if (number != last + 1)
        bad |= complain(submitter, "rows end at batch", number - 1, last);
    if (it->err != EG_OK)
        bad |= complain(submitter, "read error", (uint64_t) -it->err, 0);
    it->ops->close(it);
    return bad;
}

static void child_check(void) {
    struct disc *d = disc_open();
    int bad = 0;

    for (int i = 0; i < SUBMITTERS; i++)
        bad |= table_check(d, i);
    /* Half of the time this one is killed too, in a manner of speaking. */
    if (bad || atomic_load(&ledger->acked[0]) % 2 == 0)
        _exit(bad);
    disc_close(d);
    _exit(bad);
}

/* ---- rounds ------------------------------------------------------------- */

static int check(void) {
    pid_t pid = fork();
    int status;

    if (pid == 0)
        child_check();
    EG_ASSERT(pid > 0 && waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 3;
}

static void sleep_us(uint64_t us) {
    nanosleep(&(struct timespec){0, (long) us * 1000}, NULL);
}

/* Some are killed while they open or make tables: the time is the test's input.  Others write
 * before, however long it takes them to begin. */
static void write_and_kill(struct rng *r, bool renew, bool writes) {
    pid_t pid;
    int status;
    uint64_t life_us = rng_below(r, LIFE_MS_MAX * 1000);

    atomic_store(&ledger->ready, 0);
    pid = fork();
    if (pid == 0)
        child_write(renew);
    EG_ASSERT(pid > 0);
    for (; writes && atomic_load(&ledger->ready) == 0; sleep_us(1000))
        EG_ASSERT(waitpid(pid, &status, WNOHANG) == 0);
    sleep_us(life_us);
    EG_ASSERT(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
    EG_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static bool planted_fault_is_found(struct rng *r) {
    bool found;

    do
        write_and_kill(r, false, true);
    while (ledger->acked[0] == 0);
    atomic_fetch_add(&ledger->acked[0], 1000000);
    atomic_fetch_add(&ledger->submitted[0], 1000000);
    found = check() == 1;
    atomic_fetch_sub(&ledger->acked[0], 1000000);
    atomic_fetch_sub(&ledger->submitted[0], 1000000);
    return found;
}

int main(void) {
    uint64_t seed = rng_test_seed(20261121);
    const char *rounds_text = getenv("EG_ROUNDS");
    int rounds = rounds_text != NULL ? atoi(rounds_text) : ROUNDS;
    struct rng r = rng_of(seed);
    struct temp_dir dir = temp_dir_make();
    bool failed;

    snprintf(path, sizeof path, "%.400s/data", dir.path);
    ledger = mmap(NULL, sizeof *ledger, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EG_ASSERT(ledger != MAP_FAILED);
    printf("1..2\n");
    failed = !planted_fault_is_found(&r);
    printf("%s 1 - a planted false acknowledgement is found\n", failed ? "not ok" : "ok");
    for (int i = 0; i < rounds && !failed; i++) {
        write_and_kill(&r, i % 5 == 4, rng_one_in(&r, 2));
        failed = check() != 0;
        if (failed)
            printf("# round %d of EG_SEED=%" PRIu64 "\n", i, seed);
    }
    printf("%s 2 - %d kills left prefixes with all that was acknowledged\n",
           failed ? "not ok" : "ok", rounds);
    for (int i = 0; i < SUBMITTERS; i++)
        printf("# submitter %d: %" PRIu64 " batches, %" PRIu64 " the last with sync\n", i,
               ledger->acked[i], ledger->synced[i]);
    temp_dir_remove(&dir);
    return failed;
}
