/* remote_ties.c -- chained hash tables that double, one lock each. */
#include "replication/remote_ties.h"

enum { BUCKETS_FIRST = 16 };

static void lock(struct ties_part *p) {
    while (atomic_flag_test_and_set_explicit(&p->lock, memory_order_acquire))
        EG_CPU_RELAX();
}
static void unlock(struct ties_part *p) {
    atomic_flag_clear_explicit(&p->lock, memory_order_release);
}

static uint64_t hash_of(const struct tie *t) {
    uint64_t h = (uint64_t) t->here.generation << 32 | t->here.slot;

    h ^= t->kind == TIE_LINK ? (uint64_t) t->there.generation << 32 | t->there.slot
                             : t->ref * UINT64_C(0x9e3779b97f4a7c15);
    h ^= h >> 31;
    h *= UINT64_C(0xbf58476d1ce4e5b9);
    return h ^ h >> 29;
}

static bool is_same(const struct tie *a, const struct tie *b) {
    return a->kind == b->kind && eg_pid_equal(a->here, b->here) &&
           (a->kind == TIE_LINK ? eg_pid_equal(a->there, b->there) : a->ref == b->ref);
}

static struct ties_part *part_of(struct ties *t, uint64_t hash) {
    return &t->part[hash % TIES_PARTS];
}

static struct tie **bucket_of(struct ties_part *p, uint64_t hash) {
    return &p->bucket[hash / TIES_PARTS % p->bucket_count];
}

/* Where the tie hangs, or would at the end of its chain; NULL: there are no chains. */
static struct tie **find(struct ties_part *p, const struct tie *tie, uint64_t hash) {
    struct tie **at = p->bucket_count > 0 ? bucket_of(p, hash) : NULL;

    while (at != NULL && *at != NULL && !is_same(*at, tie))
        at = &(*at)->next;
    return at;
}

/* Twice as many buckets; where memory for them is refused chains grow instead. */
static void grow(struct ties *t, struct ties_part *p) {
    uint32_t count = p->bucket_count > 0 ? 2 * p->bucket_count : BUCKETS_FIRST;
    struct tie **bucket = alloc_zero(t->alloc, count * sizeof(struct tie *));
    struct ties_part grown = {.bucket = bucket, .bucket_count = count};

    if (bucket == NULL)
        return;
    for (uint32_t i = 0; i < p->bucket_count; i++) {
        for (struct tie *tie = p->bucket[i], *next; tie != NULL; tie = next) {
            struct tie **to = bucket_of(&grown, hash_of(tie));
            next = tie->next;
            tie->next = *to;
            *to = tie;
        }
    }
    alloc_put(t->alloc, p->bucket, p->bucket_count * sizeof(struct tie *));
    p->bucket = bucket;
    p->bucket_count = count;
}

void ties_init(struct ties *t, struct alloc *a, uint32_t max) {
    *t = (struct ties){.alloc = a, .max = max};
    for (uint32_t i = 0; i < TIES_PARTS; i++)
        atomic_flag_clear(&t->part[i].lock);
}

void ties_fini(struct ties *t) {
    EG_ASSERT(atomic_load(&t->count) == 0);
    for (uint32_t i = 0; i < TIES_PARTS; i++) {
        alloc_put(t->alloc, t->part[i].bucket, t->part[i].bucket_count * sizeof(struct tie *));
        t->part[i].bucket = NULL;
        t->part[i].bucket_count = 0;
    }
}

eg_err ties_add(struct ties *t, const struct tie *tie) {
    uint64_t hash = hash_of(tie);
    struct ties_part *p = part_of(t, hash);
    struct tie *added, **at;
    eg_err err = EG_OK;

    if (atomic_load_explicit(&t->count, memory_order_relaxed) >= t->max)
        return EG_BUSY;
    added = alloc_get(t->alloc, sizeof *added);
    if (added == NULL)
        return EG_MEMORY;
    *added = *tie;
    added->next = NULL;
    lock(p);
    if (p->count >= p->bucket_count)
        grow(t, p);
    at = find(p, tie, hash);
    if (at == NULL)
        err = EG_MEMORY;
    else if (*at != NULL)
        err = EG_EXISTS;
    if (err == EG_OK) {
        *at = added;
        p->count++;
        atomic_fetch_add_explicit(&t->count, 1, memory_order_relaxed);
    }
    unlock(p);
    if (err != EG_OK)
        alloc_put(t->alloc, added, sizeof *added);
    return err;
}

bool ties_remove(struct ties *t, const struct tie *tie) {
    uint64_t hash = hash_of(tie);
    struct ties_part *p = part_of(t, hash);
    struct tie **at, *found = NULL;

    lock(p);
    at = find(p, tie, hash);
    if (at != NULL && *at != NULL) {
        found = *at;
        *at = found->next;
        p->count--;
        atomic_fetch_sub_explicit(&t->count, 1, memory_order_relaxed);
    }
    unlock(p);
    if (found != NULL)
        tie_free(t, found);
    return found != NULL;
}

bool ties_has(struct ties *t, const struct tie *tie) {
    uint64_t hash = hash_of(tie);
    struct ties_part *p = part_of(t, hash);
    struct tie **at;
    bool has;

    lock(p);
    at = find(p, tie, hash);
    has = at != NULL && *at != NULL;
    unlock(p);
    return has;
}

static struct tie *take_part(struct ties_part *p, struct tie *all) {
    for (uint32_t i = 0; i < p->bucket_count; i++) {
        while (p->bucket[i] != NULL) {
            struct tie *tie = p->bucket[i];
            p->bucket[i] = tie->next;
            tie->next = all;
            all = tie;
        }
    }
    return all;
}

struct tie *ties_take(struct ties *t) {
    struct tie *all = NULL;

    for (uint32_t i = 0; i < TIES_PARTS; i++) {
        struct ties_part *p = &t->part[i];
        lock(p);
        all = take_part(p, all);
        atomic_fetch_sub_explicit(&t->count, p->count, memory_order_relaxed);
        p->count = 0;
        unlock(p);
    }
    return all;
}

void tie_free(struct ties *t, struct tie *tie) {
    alloc_put(t->alloc, tie, sizeof *tie);
}
