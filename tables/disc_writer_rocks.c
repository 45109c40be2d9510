/* disc_writer_rocks.c -- the thread that writes, so that schedulers need not wait.
 *
 * Submitters push requests on a lock-free stack; the writer takes the whole
 * stack at once, turns it round (a stack taken whole and reversed is a queue)
 * and makes one RocksDB write of all the batches in it, with one fsync if any
 * of them asked.  While one fsync runs the next group gathers: that is the group
 * commit, and it needs no timer.
 *
 *     AWAKE --stack empty--> NAPPING --NAPS times nothing--> ASLEEP
 *       ^---- NAP_MS, or someone who waits ---'                |
 *       '------------------------ any submit ------------------'
 *
 * To wake a thread costs its waker a system call, ten times the rest of a submit.
 * So a writer with work only naps, and a submit that nobody waits for (no `sync`)
 * lets it: more gathers, and what a kill may take grows by NAP_MS.
 *
 *     OPEN --reserve--> FULL --no space--> SPENT --room again--> FULL, OPEN
 *       '-----------------'--any other failure--'--> FAILED (stays)
 *
 * FULL is entered before RocksDB meets the end of the file system, where the free
 * space passes below the reserve.  From there on only what may use the reserve is
 * written: what memory shows already, and what makes room.  SPENT is where most of
 * that is used too, or where RocksDB met the end anyway.  In both the writer looks
 * once in FULL_PROBE_MS whether there is room and a write works again.
 *
 * FAILED is never left: after a failed fsync nobody knows what the disc holds, and
 * a second one that succeeds proves nothing (the kernel has dropped the pages). */
#include "tables/disc_rocks_private.h"

#include <string.h>
#include <time.h>

enum {
    GROUP_BYTES = 8 << 20,       /* one write: bounds latency and RocksDB's copy  */
    NAP_MS = 1,                  /* what `async` may be late                            */
    NAPS = 20,                   /* then there is no load, and a wake-up a submit is fine */
    FULL_PROBE_MS = 200,         /* how soon room is noticed                      */
    REQUEST_OVERHEAD_BYTES = 64, /* an empty request counts too                 */
};

static size_t request_bytes(const struct disc_request *q) {
    size_t bytes = REQUEST_OVERHEAD_BYTES + q->schema.size_bytes;
    return q->kind == DISC_WRITE ? bytes + q->batch->used_bytes : bytes;
}

/* ---- faults ------------------------------------------------------------- */

static void state_set(struct disc_rocks *d, enum disc_state state, const struct err_note *note) {
    pthread_mutex_lock(&d->lock);
    if (d->state != DISC_FAILED) { /* the first reason is the reason */
        if (note != NULL)
            d->note = *note;
        atomic_store(&d->state, state);
    }
    pthread_mutex_unlock(&d->lock);
}

/* What a failed write means for all that follow. */
static eg_err state_after(struct disc_rocks *d, enum rocks_failure failure,
                          const struct err_note *note) {
    if (failure == ROCKS_BUSY)
        return EG_BUSY;
    state_set(d, failure == ROCKS_FULL ? DISC_SPENT : DISC_FAILED, note);
    return EG_DISC;
}

eg_err rocks_health(struct disc *base, struct err_note *note) {
    struct disc_rocks *d = rocks_of(base);

    if (EG_LIKELY(atomic_load_explicit(&d->state, memory_order_acquire) == DISC_OPEN))
        return EG_OK;
    if (note != NULL) {
        pthread_mutex_lock(&d->lock);
        *note = d->note;
        pthread_mutex_unlock(&d->lock);
    }
    return EG_DISC;
}

eg_err rocks_yields(struct disc *base, struct err_note *note) {
    const struct disc_rocks *d = rocks_of(base);
    int state = atomic_load_explicit(&d->state, memory_order_acquire);

    return state == DISC_OPEN || state == DISC_FULL ? EG_OK : rocks_health(base, note);
}

/* Look at the room before a write; never back to OPEN, which full_probe() decides. */
static enum disc_state room_check(struct disc_rocks *d) {
    enum disc_state state = (enum disc_state) atomic_load(&d->state);
    enum disc_state room;
    struct err_note note;

    if (state >= DISC_SPENT)
        return state;
    room = rocks_room(d);
    if (EG_LIKELY(room <= state))
        return state;
    err_note(&note, EG_DISC, "no space left on the disc of %s", d->path);
    state_set(d, room, &note);
    return (enum disc_state) atomic_load(&d->state);
}

/* ---- batches to RocksDB ------------------------------------------------- */

static void group_add(rocksdb_writebatch_t *group, const struct disc_batch *b) {
    const struct disc_change *c = NULL;

    while ((c = disc_batch_next(b, c)) != NULL) {
        struct disc_bytes key = disc_change_key(c);
        struct disc_bytes value = disc_change_value(c);
        const char *key_at = (const char *) key.at;
        const char *value_at = (const char *) value.at;

        switch ((enum disc_change_kind) c->kind) {
        case DISC_PUT:
            rocksdb_writebatch_put_cf(group, c->table->family, key_at, key.size_bytes, value_at,
                                      value.size_bytes);
            break;
        case DISC_DEL:
            rocksdb_writebatch_delete_cf(group, c->table->family, key_at, key.size_bytes);
            break;
        case DISC_DEL_RANGE:
            rocksdb_writebatch_delete_range_cf(group, c->table->family, key_at, key.size_bytes,
                                               value_at, value.size_bytes);
            break;
        }
    }
}

eg_err rocks_write(struct disc *base, const struct disc_batch *b) {
    struct disc_rocks *d = rocks_of(base);
    rocksdb_writebatch_t *group;
    struct err_note note;
    char *text = NULL;

    if (room_check(d) >= DISC_SPENT) {
        atomic_fetch_add(&d->refused, 1);
        return EG_DISC;
    }
    group = rocksdb_writebatch_create();
    group_add(group, b);
    rocksdb_write(d->db, b->patient ? d->write_options : d->hasty_options, group, &text);
    rocksdb_writebatch_destroy(group);
    if (text == NULL) {
        atomic_fetch_add(&d->written_bytes, b->used_bytes);
        return EG_OK;
    }
    atomic_fetch_add(&d->refused, 1);
    return state_after(d, rocks_failure(text, &note, "write"), &note);
}

/* ---- the writer's thread ------------------------------------------------ */

static void request_done(struct disc_rocks *d, struct disc_request *q, eg_err err) {
    atomic_fetch_sub(&d->queued_bytes, request_bytes(q));
    atomic_fetch_add_explicit(&d->requests, 1, memory_order_relaxed);
    if (err != EG_OK)
        atomic_fetch_add(&d->refused, 1);
    q->done(q, err); /* q is the caller's from here */
}

/* Write what `group` gathered from `first` up to (not including) `end`. */
static void group_write(struct disc_rocks *d, struct disc_request *first, struct disc_request *end,
                        bool sync) {
    eg_err err = EG_OK;
    struct err_note note;
    char *text = NULL;

    if (d->state >= DISC_SPENT) {
        err = EG_DISC;
    } else if (sync || rocksdb_writebatch_count(d->group) > 0) {
        if (rocksdb_writebatch_count(d->group) > 0)
            rocksdb_write(d->db, sync ? d->sync_options : d->write_options, d->group, &text);
        else
            rocksdb_flush_wal(d->db, 1, &text); /* of disc_write()s before */
        if (text != NULL)
            err = state_after(d, rocks_failure(text, &note, sync ? "sync" : "write"), &note);
        atomic_fetch_add_explicit(&d->writes, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&d->syncs, sync, memory_order_relaxed);
    }
    rocksdb_writebatch_clear(d->group);
    while (first != end) {
        struct disc_request *next = first->next;
        if (err == EG_OK)
            atomic_fetch_add_explicit(&d->written_bytes, first->batch->used_bytes,
                                      memory_order_relaxed);
        request_done(d, first, err);
        first = next;
    }
}

static void table_change(struct disc_rocks *d, struct disc_request *q) {
    enum rocks_failure failure = ROCKS_OTHER;
    struct err_note note;
    eg_err err = EG_DISC;

    if (room_check(d) <= (q->kind == DISC_DROP ? DISC_FULL : DISC_OPEN)) {
        if (q->kind == DISC_CREATE)
            err = rocks_table_create(d, q, &note, &failure);
        else
            err = rocks_table_drop(d, q->table, &note, &failure);
        if (err == EG_DISC)
            err = state_after(d, failure, &note);
    }
    request_done(d, q, err);
}

/* While the disc is full it takes only what may use the reserve. */
static bool request_fits(const struct disc_request *q, enum disc_state state) {
    return state == DISC_OPEN || q->reserved;
}

/* Carry out a list of requests in order, as few writes as they allow. */
static void requests_run(struct disc_rocks *d, struct disc_request *q) {
    while (q != NULL) {
        enum disc_state state = room_check(d);
        struct disc_request *first = q;
        size_t group_bytes = 0;
        bool sync = false;

        while (q != NULL && q->kind == DISC_WRITE && group_bytes < GROUP_BYTES &&
               request_fits(q, state)) {
            group_add(d->group, q->batch);
            group_bytes += q->batch->used_bytes;
            sync |= q->sync;
            q = q->next;
        }
        if (first != q) {
            group_write(d, first, q, sync);
        } else if (q->kind == DISC_WRITE) {
            q = q->next;
            request_done(d, first, EG_DISC);
        } else {
            q = q->next;
            table_change(d, first);
        }
    }
}

/* All that was submitted, oldest first; NULL: nothing. */
static struct disc_request *inbox_take(struct disc_rocks *d) {
    struct disc_request *newest = atomic_exchange(&d->inbox, NULL);
    struct disc_request *oldest = NULL;

    while (newest != NULL) {
        struct disc_request *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

/* FULL or SPENT: is there room, and does RocksDB take a write again? */
static void full_probe(struct disc_rocks *d) {
    enum disc_state room = rocks_room(d);
    char *text = NULL;

    if (room >= (enum disc_state) d->state)
        return;
    rocksdb_put_cf(d->db, d->sync_options, d->meta.family, "probe", 5, "", 0, &text);
    if (text != NULL)
        rocksdb_free(text); /* known already: the note stands */
    else
        state_set(d, room, NULL);
}

/* Wait on the condition for so long at most; the lock is held. */
static bool wait_ms(struct disc_rocks *d, long ms) {
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ms * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    return pthread_cond_timedwait(&d->wake, &d->lock, &until) == 0;
}

/* Nap or sleep until there may be something to do.  A submit that comes before the
 * look into the inbox is found there; one that comes after it sees `sleep`. */
static void writer_sleep(struct disc_rocks *d, enum disc_sleep sleep) {
    bool go_on = true;

    pthread_mutex_lock(&d->lock);
    atomic_store(&d->sleep, sleep);
    if (atomic_load(&d->inbox) != NULL || d->stop)
        go_on = false;
    while (go_on && atomic_load(&d->sleep) != DISC_AWAKE) {
        if (sleep == DISC_NAPPING)
            go_on = wait_ms(d, NAP_MS);
        else if (d->state == DISC_FULL || d->state == DISC_SPENT)
            go_on = wait_ms(d, FULL_PROBE_MS);
        else
            pthread_cond_wait(&d->wake, &d->lock);
        go_on = go_on && !d->stop;
    }
    atomic_store(&d->sleep, DISC_AWAKE);
    pthread_mutex_unlock(&d->lock);
}

static bool writer_stops(struct disc_rocks *d) {
    bool stop;

    pthread_mutex_lock(&d->lock);
    stop = d->stop;
    pthread_mutex_unlock(&d->lock);
    return stop && atomic_load(&d->inbox) == NULL;
}

static void *writer_run(void *arg) {
    struct disc_rocks *d = arg;
    uint32_t naps = 0;

    do {
        struct disc_request *q = inbox_take(d);
        if (q != NULL) {
            requests_run(d, q);
            naps = NAPS;
        } else if (naps > 0) {
            writer_sleep(d, DISC_NAPPING);
            naps--;
        } else {
            writer_sleep(d, DISC_ASLEEP);
        }
        if (d->state == DISC_FULL || d->state == DISC_SPENT)
            full_probe(d);
    } while (!writer_stops(d));
    return NULL;
}

/* ---- for everyone ------------------------------------------------------- */

/* The writer holds the lock from its look at `sleep` until it waits; once we had it
 * the signal cannot come too early.  Outside, so that it does not wake into a lock. */
static void writer_wake(struct disc_rocks *d) {
    pthread_mutex_lock(&d->lock);
    pthread_mutex_unlock(&d->lock);
    pthread_cond_signal(&d->wake);
}

static eg_err submit_refuse(struct disc_rocks *d, eg_err err) {
    atomic_fetch_add(&d->refused, 1);
    return err;
}

eg_err rocks_submit(struct disc *base, struct disc_request *q) {
    struct disc_rocks *d = rocks_of(base);
    size_t bytes = request_bytes(q);
    bool urgent = q->sync || q->kind != DISC_WRITE || bytes >= GROUP_BYTES; /* q is lent below */
    uint64_t queued_bytes;
    struct disc_request *newest;
    int sleep;

    if (EG_UNLIKELY(bytes > DISC_QUEUE_BYTES_MAX))
        return submit_refuse(d, EG_TOO_LARGE);
    if (EG_UNLIKELY(atomic_load_explicit(&d->state, memory_order_acquire) != DISC_OPEN) &&
        (q->reserved || q->kind == DISC_DROP ? rocks_yields(base, NULL) : EG_DISC) != EG_OK)
        return submit_refuse(d, EG_DISC);
    queued_bytes = atomic_fetch_add(&d->queued_bytes, bytes) + bytes;
    if (EG_UNLIKELY(queued_bytes > DISC_QUEUE_BYTES_MAX)) {
        atomic_fetch_sub(&d->queued_bytes, bytes);
        return submit_refuse(d, EG_BUSY);
    }
    if (queued_bytes > atomic_load_explicit(&d->queued_bytes_max, memory_order_relaxed))
        atomic_store_explicit(&d->queued_bytes_max, queued_bytes, memory_order_relaxed);

    newest = atomic_load_explicit(&d->inbox, memory_order_relaxed);
    do {
        q->next = newest;
    } while (!atomic_compare_exchange_weak(&d->inbox, &newest, q));
    sleep = atomic_load(&d->sleep);
    if ((sleep == DISC_ASLEEP || (sleep == DISC_NAPPING && urgent)) &&
        atomic_exchange(&d->sleep, DISC_AWAKE) != DISC_AWAKE)
        writer_wake(d);
    return EG_OK;
}

eg_err rocks_writer_start(struct disc_rocks *d) {
    pthread_condattr_t attributes;
    int failed;

    d->group = rocksdb_writebatch_create();
    pthread_mutex_init(&d->lock, NULL); /* cannot fail with default attributes on Linux */
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&d->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    failed = pthread_create(&d->thread, NULL, writer_run, d);
    if (failed == 0)
        return EG_OK;
    pthread_cond_destroy(&d->wake);
    pthread_mutex_destroy(&d->lock);
    rocksdb_writebatch_destroy(d->group);
    return EG_MEMORY;
}

void rocks_writer_stop(struct disc_rocks *d) {
    pthread_mutex_lock(&d->lock);
    d->stop = true;
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
    EG_ASSERT(pthread_join(d->thread, NULL) == 0);
    EG_ASSERT(atomic_load(&d->queued_bytes) == 0);
    pthread_cond_destroy(&d->wake);
    pthread_mutex_destroy(&d->lock);
    rocksdb_writebatch_destroy(d->group);
}
