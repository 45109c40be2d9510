/* Goal: many threads may submit, write, read and ask at once, and each submitter's
 * requests are done in its order.
 *
 * Method: threads with several requests in flight each check the order in which
 * done() comes and that the row of a done request is there; others write directly,
 * make and drop tables, ask for statistics.  Under ThreadSanitizer this is about
 * the queue: RocksDB itself is not instrumented. */
#include "tables/disc.h"
#include "tests/support/disc_wait.h"
#include "tests/support/rng.h"
#include "tests/support/temp_dir.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { SUBMITTERS = 3, IN_FLIGHT = 4, REQUESTS = 3000, TABLES_MADE = 30 };

static struct disc *disc;
static struct disc_table *table;
static _Atomic int bad;
static _Atomic bool over;

struct flight {
    struct disc_request request;
    struct disc_batch batch;
    struct submitter *owner;
    uint32_t number;
};

struct submitter {
    pthread_t thread;
    int self;
    struct flight flight[IN_FLIGHT];
    _Atomic uint32_t done; /* how many; they come in order */
};

/* On the writer's thread. */
static void flight_done(struct disc_request *q, eg_err err) {
    struct flight *f = EG_CONTAINER_OF(q, struct flight, request);
    uint32_t before = atomic_load(&f->owner->done);

    if (err != EG_OK || f->number != before + 1)
        atomic_fetch_add(&bad, 1);
    atomic_store(&f->owner->done, before + 1);
}

static void wait_for(struct submitter *s, uint32_t number) {
    while (atomic_load(&s->done) < number)
        sched_yield();
}

static bool row_is(int self, uint32_t number) {
    char key[16];
    struct disc_slice slice;
    uint32_t found = 0;

    snprintf(key, sizeof key, "s%d", self);
    if (disc_get(disc, table, disc_text(key), &slice) != EG_OK)
        return false;
    memcpy(&found, slice.bytes.at, sizeof found);
    disc_release(disc, &slice);
    return found >= number;
}

static void *submit_many(void *arg) {
    struct submitter *s = arg;
    char key[16];

    snprintf(key, sizeof key, "s%d", s->self);
    for (uint32_t number = 1; number <= REQUESTS; number++) {
        struct flight *f = &s->flight[number % IN_FLIGHT];
        struct disc_bytes value = {(const uint8_t *) &number, sizeof number};

        if (number > IN_FLIGHT)
            wait_for(s, number - IN_FLIGHT);
        if (number > IN_FLIGHT && !row_is(s->self, number - IN_FLIGHT))
            atomic_fetch_add(&bad, 1);
        disc_batch_reset(&f->batch);
        EG_ASSERT(disc_batch_put(&f->batch, table, disc_text(key), value) == EG_OK);
        f->number = number;
        f->request = (struct disc_request){
            .kind = DISC_WRITE, .batch = &f->batch, .sync = number % 64 == 0, .done = flight_done};
        EG_ASSERT(disc_submit(disc, &f->request) == EG_OK);
    }
    wait_for(s, REQUESTS);
    return NULL;
}

static void *write_directly(void *arg) {
    struct disc_batch b;
    uint32_t number = 0;

    (void) arg; /* there is one of these */
    disc_batch_init(&b, alloc_system());
    while (!atomic_load(&over)) {
        struct disc_bytes value = {(const uint8_t *) &number, sizeof number};

        number++;
        b.patient = true; /* a disc that is behind refuses the others */
        EG_ASSERT(disc_batch_put(&b, table, disc_text("direct"), value) == EG_OK);
        EG_ASSERT(disc_write(disc, &b) == EG_OK);
        disc_batch_reset(&b);
        EG_ASSERT(disc_health(disc, NULL) == EG_OK);
        if (number % 100 == 0 && disc_stats(disc).refused != 0)
            atomic_fetch_add(&bad, 1);
    }
    disc_batch_fini(&b);
    return NULL;
}

int main(void) {
    static struct submitter submitters[SUBMITTERS];
    struct temp_dir dir = temp_dir_make();
    struct err_note note;
    struct disc_stats stats;
    pthread_t direct;

    EG_ASSERT(disc_rocks_open(
                  &disc, &(struct disc_rocks_opts){.alloc = alloc_system(), .directory = dir.path},
                  &note) == EG_OK);
    EG_ASSERT(disc_wait_create(disc, "t", &table) == EG_OK);
    for (int i = 0; i < SUBMITTERS; i++) {
        submitters[i].self = i;
        for (int f = 0; f < IN_FLIGHT; f++) {
            submitters[i].flight[f].owner = &submitters[i];
            disc_batch_init(&submitters[i].flight[f].batch, alloc_system());
        }
        EG_ASSERT(pthread_create(&submitters[i].thread, NULL, submit_many, &submitters[i]) == 0);
    }
    EG_ASSERT(pthread_create(&direct, NULL, write_directly, NULL) == 0);
    for (int i = 0; i < TABLES_MADE; i++) {
        struct disc_table *t;
        EG_ASSERT(disc_wait_create(disc, "passing", &t) == EG_OK);
        EG_ASSERT(disc_wait_drop(disc, t) == EG_OK);
        disc_forget(disc, t);
    }
    for (int i = 0; i < SUBMITTERS; i++)
        pthread_join(submitters[i].thread, NULL);
    atomic_store(&over, true);
    pthread_join(direct, NULL);
    stats = disc_stats(disc);
    for (int i = 0; i < SUBMITTERS; i++)
        for (int f = 0; f < IN_FLIGHT; f++)
            disc_batch_fini(&submitters[i].flight[f].batch);
    disc_close(disc);
    temp_dir_remove(&dir);
    printf("1..1\n%s 1 - requests of each submitter are done in order\n", bad ? "not ok" : "ok");
    printf("# %" PRIu64 " requests in %" PRIu64 " writes, %" PRIu64 " with fsync\n", stats.requests,
           stats.writes, stats.syncs);
    return bad != 0;
}
