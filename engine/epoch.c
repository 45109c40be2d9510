/* epoch.c -- one epoch counter, a line a reader, and queues of stamped batches.
 *
 * The protocol, with `now` the domain's counter:
 *
 *     reader   slot = now;  light fence;  read ...;  slot = 0 (or now again)
 *     owner    unlink p;  queue p in an open batch
 *              close the open batches:  full fence;  closed_on = now
 *              stamp them, when  (a) it has itself made a heavy fence since and
 *                                    moved now from closed_on on:  stamp = closed_on
 *                                (b) now >= closed_on + 2:  stamp = closed_on + 1
 *              free a batch:     when every slot is 0 or > stamp
 *
 * An epoch ends by a heavy fence between a load of `now` and a compare-and-swap that
 * adds one to what was loaded.  So in (b) the fence that ended epoch closed_on + 1 began
 * when that epoch had begun, which was after closed_on was read, which was after the
 * unlink: one fence serves all bins that were closed before it, and with a table of
 * many shards hardly any pays for its own.
 *
 * Why a freed p is held by nobody: take any reader and the owner's scan of its
 * slot.  (1) The scan saw 0 or an older section that has ended: then the new
 * section's store was not visible to the scan, so the heavy fence precedes the
 * reader's in their one order, and the reader's loads see p unlinked.  (2) The scan saw
 * slot > stamp: the reader took that value from the end of epoch `stamp` or a later one,
 * which came after the heavy fence.  In both cases the reader began too late to find p.
 *
 * Stamps are given to whole batches when they are closed, not to objects when
 * they are retired: an object stamped with a stale reading of `now` could be
 * freed one epoch too early, and a fence for each would be the price of avoiding
 * that.  It also makes an object in the queue cost 16 bytes.
 *
 * The fences are fence.h's: a full one in each section costs some 9 ns by itself
 * and keeps the cache misses of one section from overlapping those of the next.
 *
 * Invariants (checked by bin_check):
 *   (1) oldest .. newest are linked: first those with a stamp, which do not decrease,
 *       then from `unstamped` on the closed ones, then the open ones.
 *   (2) open_count and open_bytes are of the open ones; closed_on is 0 where none is closed.
 */
#include "engine/epoch.h"

#include "engine/fence.h"

#include <sched.h>

enum {
    BATCH_OBJECTS = 61, /* makes a batch one KB */
    /* Batches are closed when they hold so many objects or bytes.  A heavy fence disturbs
     * every core, 5 us of each here, so there are to be few; the price is what is held back. */
    CLOSE_OBJECTS = 1024,
    CLOSE_BYTES = 64 * 1024,
    SWEEP_OBJECTS_MIN = 128, /* some 10 us of frees in a sweep */
    DOMAIN_SLOTS_MAX = 1 << 16,
};

#define STAMP_CLOSED UINT64_MAX /* in the place of a stamp: closed, and waits for one */

struct epoch {
    _Alignas(EG_CACHE_LINE) _Atomic uint64_t now;        /* begins at 1: 0 says not reading */
    _Alignas(EG_CACHE_LINE) _Atomic uint32_t slots_used; /* none was ever claimed from here */
    uint32_t slots_max;
    enum fence_kind fence;
    struct alloc *alloc;
    size_t mapped_bytes;
    struct epoch_slot slots[];
};

struct retired {
    void *ptr;
    size_t size_bytes;
};

struct epoch_batch {
    struct epoch_batch *next;
    epoch_free_fn free_fn; /* of all objects in the batch */
    void *owner;
    uint64_t stamp; /* 0: open */
    uint32_t count;
    uint32_t freed; /* a sweep may stop inside a batch */
    struct retired object[BATCH_OBJECTS];
};

/* ---- the domain and its slots ------------------------------------------- */

eg_err epoch_open(struct epoch **out, struct alloc *a, uint32_t slots_max) {
    size_t bytes = sizeof(struct epoch) + slots_max * sizeof(struct epoch_slot);
    struct epoch *e;

    EG_ASSERT(slots_max >= 1 && slots_max <= DOMAIN_SLOTS_MAX);
    e = alloc_map(a, bytes); /* aligned, zeroed, and paid for where threads come */
    if (e == NULL)
        return EG_MEMORY;
    atomic_init(&e->now, 1);
    atomic_init(&e->slots_used, 0);
    e->slots_max = slots_max;
    e->fence = fence_kind_here();
    e->alloc = a;
    e->mapped_bytes = bytes;
    *out = e;
    return EG_OK;
}

void epoch_close(struct epoch *e) {
    for (uint32_t i = 0; i < atomic_load(&e->slots_used); i++)
        EG_ASSERT(atomic_load(&e->slots[i].claimed) == 0);
    alloc_unmap(e->alloc, e, e->mapped_bytes);
}

struct epoch_slot *epoch_slot_claim(struct epoch *e) {
    for (uint32_t i = 0; i < e->slots_max; i++) {
        struct epoch_slot *s = &e->slots[i];
        uint32_t none = 0, used = atomic_load(&e->slots_used);

        if (atomic_load_explicit(&s->claimed, memory_order_relaxed) != 0 ||
            !atomic_compare_exchange_strong(&s->claimed, &none, 1))
            continue;
        while (used < i + 1 && !atomic_compare_exchange_weak(&e->slots_used, &used, i + 1))
            ;
        s->domain = e;
        s->depth = 0;
        return s;
    }
    return NULL;
}

void epoch_slot_release(struct epoch_slot *s) {
    EG_ASSERT(s->depth == 0);
    atomic_store_explicit(&s->reading_since, 0, memory_order_release);
    atomic_store_explicit(&s->claimed, 0, memory_order_release);
}

static void begin_reading(struct epoch_slot *s) {
    uint64_t now = atomic_load_explicit(&s->domain->now, memory_order_acquire);
    atomic_store_explicit(&s->reading_since, now, memory_order_release);
    fence_light(s->domain->fence);
}

void epoch_enter(struct epoch_slot *s) {
    if (s->depth++ == 0)
        begin_reading(s);
}

void epoch_exit(struct epoch_slot *s) {
    EG_ASSERT(s->depth > 0);
    if (--s->depth == 0)
        atomic_store_explicit(&s->reading_since, 0, memory_order_release);
}

void epoch_online(struct epoch_slot *s) {
    begin_reading(s);
}

void epoch_quiescent(struct epoch_slot *s) {
    uint64_t now = atomic_load_explicit(&s->domain->now, memory_order_acquire);
    if (now != atomic_load_explicit(&s->reading_since, memory_order_relaxed))
        begin_reading(s);
}

void epoch_offline(struct epoch_slot *s) {
    atomic_store_explicit(&s->reading_since, 0, memory_order_release);
}

/* The epoch of the oldest section that runs; UINT64_MAX when none does. */
static uint64_t oldest_reader(struct epoch *e) {
    uint32_t used = atomic_load_explicit(&e->slots_used, memory_order_acquire);
    uint64_t oldest = UINT64_MAX;

    for (uint32_t i = 0; i < used; i++) {
        uint64_t since = atomic_load_explicit(&e->slots[i].reading_since, memory_order_acquire);
        if (since != 0 && since < oldest)
            oldest = since;
    }
    return oldest;
}

uint64_t epoch_lag(struct epoch *e) {
    uint64_t now = atomic_load_explicit(&e->now, memory_order_acquire);
    uint64_t oldest = oldest_reader(e);
    return oldest < now ? now - oldest : 0;
}

/* ---- bins ---------------------------------------------------------------- */

static void bin_check(const struct epoch_bin *b) {
    EG_ASSERT((b->oldest == NULL) == (b->newest == NULL));
    EG_ASSERT((b->retired_count == 0) == (b->oldest == NULL));
#ifdef EG_SLOW_CHECKS
    uint64_t stamp = 0, count = 0, open = 0;
    bool stamped = true;
    for (const struct epoch_batch *batch = b->oldest; batch != NULL; batch = batch->next) {
        stamped = stamped && batch != b->unstamped;
        EG_ASSERT(stamped == (batch->stamp != 0 && batch->stamp != STAMP_CLOSED));
        EG_ASSERT(batch->stamp == 0 || batch->stamp >= stamp);
        EG_ASSERT(batch->stamp != STAMP_CLOSED || b->closed_on != 0);
        EG_ASSERT(batch->freed < batch->count);
        stamp = batch->stamp == 0 ? UINT64_MAX : batch->stamp;
        count += batch->count - batch->freed;
        open += batch->stamp == 0 ? batch->count : 0;
    }
    EG_ASSERT(count == b->retired_count);
    EG_ASSERT(open == b->open_count);
#endif
}

void epoch_bin_init(struct epoch_bin *b, struct epoch *domain, struct alloc *a) {
    *b = (struct epoch_bin){.domain = domain, .alloc = a};
}

static struct epoch_batch *batch_add(struct epoch_bin *b, epoch_free_fn free_fn, void *owner) {
    struct epoch_batch *batch = alloc_get(b->alloc, sizeof *batch);

    if (batch == NULL)
        return NULL;
    batch->next = NULL;
    batch->free_fn = free_fn;
    batch->owner = owner;
    batch->stamp = 0;
    batch->count = batch->freed = 0;
    if (b->newest != NULL)
        b->newest->next = batch;
    else
        b->oldest = batch;
    b->newest = batch;
    if (b->unstamped == NULL)
        b->unstamped = batch;
    return batch;
}

bool epoch_try_retire(struct epoch_bin *b, epoch_free_fn free_fn, void *owner, void *ptr,
                      size_t size_bytes) {
    struct epoch_batch *batch = b->newest;

    EG_ASSERT(ptr != NULL);
    if (batch == NULL || batch->stamp != 0 || batch->count == BATCH_OBJECTS ||
        batch->free_fn != free_fn || batch->owner != owner)
        batch = batch_add(b, free_fn, owner);
    if (batch == NULL)
        return false;
    batch->object[batch->count++] = (struct retired){ptr, size_bytes};
    b->next_note = &batch->object[batch->count];
    b->open_count++;
    b->open_bytes += size_bytes;
    b->retired_bytes += size_bytes;
    b->retired_count++;
    b->since_sweep++;
    return true;
}

void epoch_retire(struct epoch_bin *b, epoch_free_fn free_fn, void *owner, void *ptr,
                  size_t size_bytes) {
    if (!epoch_try_retire(b, free_fn, owner, ptr, size_bytes))
        b->lost_bytes += size_bytes;
}

/* Let no more into the open batches, and note since when the closed ones wait. */
static void close_batches(struct epoch_bin *b) {
    for (struct epoch_batch *batch = b->unstamped; batch != NULL; batch = batch->next)
        batch->stamp = STAMP_CLOSED;
    b->open_count = b->open_bytes = 0;
    atomic_thread_fence(memory_order_seq_cst);
    b->closed_on = atomic_load_explicit(&b->domain->now, memory_order_seq_cst);
}

static void stamp_closed(struct epoch_bin *b, uint64_t stamp) {
    struct epoch_batch *batch = b->unstamped;

    for (; batch != NULL && batch->stamp == STAMP_CLOSED; batch = batch->next)
        batch->stamp = stamp;
    b->unstamped = batch;
    b->closed_on = 0;
}

/* Other bins may have ended two epochs since ours were closed. */
static void stamp_if_passed(struct epoch_bin *b) {
    if (b->closed_on != 0 &&
        atomic_load_explicit(&b->domain->now, memory_order_acquire) >= b->closed_on + 2)
        stamp_closed(b, b->closed_on + 1);
}

/* End an epoch, for all that is closed or open here. */
static void stamp_all(struct epoch_bin *b) {
    uint64_t now;

    do { /* again where another bin was faster: its fence may have begun before we closed */
        close_batches(b);
        fence_heavy(b->domain->fence);
        now = b->closed_on;
    } while (!atomic_compare_exchange_strong(&b->domain->now, &now, now + 1));
    stamp_closed(b, now);
}

/* Free objects of batches stamped before `oldest`, at most `budget` of them. */
static void free_until(struct epoch_bin *b, uint64_t oldest, uint64_t budget) {
    struct epoch_batch *batch;

    while ((batch = b->oldest) != NULL && batch != b->unstamped && batch->stamp < oldest) {
        for (; batch->freed < batch->count && budget > 0; budget--) {
            struct retired *object = &batch->object[batch->freed++];
            b->retired_bytes -= object->size_bytes;
            b->retired_count--;
            batch->free_fn(batch->owner, object->ptr, object->size_bytes);
        }
        if (batch->freed < batch->count)
            return;
        b->oldest = batch->next;
        if (b->oldest == NULL)
            b->newest = NULL;
        alloc_put(b->alloc, batch, sizeof *batch);
    }
}

static void sweep_stamped(struct epoch_bin *b) {
    uint64_t budget = SWEEP_OBJECTS_MIN + 2 * b->since_sweep;

    b->since_sweep = 0;
    if (b->oldest == NULL || b->oldest == b->unstamped)
        return;
#ifdef EG_PLANT_NO_GRACE /* a defect for the stress test to find */
    free_until(b, UINT64_MAX, budget);
#else
    free_until(b, oldest_reader(b->domain), budget);
#endif
    bin_check(b);
}

void epoch_sweep(struct epoch_bin *b) {
    stamp_if_passed(b);
    if (b->open_count >= CLOSE_OBJECTS || b->open_bytes >= CLOSE_BYTES) {
        if (b->closed_on == 0)
            close_batches(b);
        else
            stamp_all(b);
    }
    sweep_stamped(b);
}

void epoch_flush(struct epoch_bin *b) {
    stamp_if_passed(b);
    if (b->unstamped != NULL)
        stamp_all(b);
    sweep_stamped(b);
}

void epoch_bin_drain(struct epoch_bin *b) {
    if (b->unstamped != NULL)
        stamp_all(b);
    while (b->oldest != NULL) {
        free_until(b, oldest_reader(b->domain), UINT64_MAX);
        if (b->oldest != NULL)
            sched_yield(); /* closing a table: the last reader leaves within microseconds */
    }
    bin_check(b);
}

void epoch_bin_discard(struct epoch_bin *b) {
    stamp_closed(b, 0); /* nobody reads them: no epoch has to end, no fence is needed */
    b->unstamped = NULL;
    b->open_count = b->open_bytes = 0;
    free_until(b, UINT64_MAX, UINT64_MAX);
    bin_check(b);
}
