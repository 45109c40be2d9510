/* registry.c -- a chained hash table with one writer at a time.
 *
 *     buckets -> key -> key -> ..        a key is there while it has members
 *                 '-> oldest <-> .. <-> newest registration
 *
 * Writers take turns by making `version` odd.  Finders look without a lock and
 * look again when the version moved meanwhile, so everything they touch is
 * atomic and no memory goes back to the allocator before close: keys and
 * registrations wait on free lists, and outgrown bucket arrays on a list (all
 * together smaller than the present one).
 *
 * A spinning lock, because a change is some ten stores and this layer may not
 * block; a writer that loses its core in between delays the others by a slice.
 *
 * Order of memory: a writer's stores are releases and a finder's loads acquires,
 * so who saw a store of a change also sees the odd version before it.  (Fences
 * would do as well, but ThreadSanitizer does not know them.)
 */
#include "engine/registry.h"

#include "engine/actor.h"

#include <stdatomic.h>
#include <string.h>

enum {
    KEY_WORDS = REGISTRY_KEY_BYTES / sizeof(uint64_t),
    BUCKETS_FIRST = 64,
    BLOCK_OBJECTS = 32, /* keys or registrations taken from the allocator at once */
};

struct registration {
    struct registration *prev, *next; /* members of the key; next: free list */
    struct key *key;
    eg_pid pid;
    struct cleanup cleanup; /* where an actor joined */
    struct registry *registry;
};

struct key {
    _Atomic(struct key *) next; /* in the bucket, or the free list */
    _Atomic uint64_t hash;
    _Atomic uint64_t word[KEY_WORDS];   /* the name, padded with zeros         */
    _Atomic uint64_t pid_low, pid_high; /* of the oldest member, for finders   */
    struct registration *oldest, *newest;
    uint32_t count;
};

struct buckets {
    struct buckets *outgrown;
    uint64_t mask;
    _Atomic(struct key *) first[];
};

struct block { /* of free objects; lives until close */
    struct block *next;
    size_t size_bytes;
    _Alignas(16) unsigned char objects[];
};

struct registry {
    _Atomic uint64_t version; /* odd: somebody writes */
    _Atomic(struct buckets *) buckets;
    struct alloc *alloc;
    enum registry_kind kind;
    uint64_t seed;
    uint64_t keys;
    uint32_t registrations;
    struct key *free_keys;
    struct registration *free_registrations;
    struct block *blocks;
};

/* A key as its words and their hash, on the caller's stack. */
struct name {
    uint64_t word[KEY_WORDS];
    uint64_t hash;
};

#define LOAD(p)     atomic_load_explicit((p), memory_order_acquire)
#define STORE(p, v) atomic_store_explicit((p), (v), memory_order_release)

static uint64_t mix(uint64_t h) { /* the finisher of splitmix64 */
    h = (h ^ (h >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    h = (h ^ (h >> 27)) * UINT64_C(0x94d049bb133111eb);
    return h ^ (h >> 31);
}

static bool name_of(const struct registry *r, const char *key, struct name *out) {
    size_t length = strnlen(key, REGISTRY_KEY_BYTES);

    if (length == 0 || length == REGISTRY_KEY_BYTES)
        return false;
    memset(out->word, 0, sizeof out->word);
    memcpy(out->word, key, length);
    out->hash = r->seed;
    for (size_t i = 0; i <= (length - 1) / sizeof(uint64_t); i++)
        out->hash = mix(out->hash ^ out->word[i]) + i;
    return true;
}

/* ---- the lock ----------------------------------------------------------------- */

static void lock(struct registry *r) {
    uint64_t v = atomic_load_explicit(&r->version, memory_order_relaxed);
    while ((v & 1) != 0 || !atomic_compare_exchange_weak_explicit(
                               &r->version, &v, v + 1, memory_order_acquire, memory_order_relaxed))
        v = atomic_load_explicit(&r->version, memory_order_relaxed);
}

static void unlock(struct registry *r) {
    uint64_t v = atomic_load_explicit(&r->version, memory_order_relaxed);
    EG_ASSERT((v & 1) == 1);
    STORE(&r->version, v + 1);
}

/* ---- memory --------------------------------------------------------------------- */

static struct buckets *buckets_new(struct alloc *a, uint64_t count) {
    struct buckets *b = alloc_zero(a, sizeof *b + count * sizeof b->first[0]);
    if (b != NULL)
        b->mask = count - 1;
    return b;
}

/* A zeroed block, already in the list of what close gives back. */
static void *block_new(struct registry *r, size_t object_bytes) {
    size_t size_bytes = sizeof(struct block) + BLOCK_OBJECTS * object_bytes;
    struct block *b = alloc_zero(r->alloc, size_bytes);

    if (b == NULL)
        return NULL;
    b->size_bytes = size_bytes;
    b->next = r->blocks;
    r->blocks = b;
    return b->objects;
}

static bool reserve_key(struct registry *r) {
    struct key *block;

    if (r->free_keys != NULL)
        return true;
    block = block_new(r, sizeof *block);
    for (int i = 0; block != NULL && i < BLOCK_OBJECTS; i++) {
        STORE(&block[i].next, r->free_keys);
        r->free_keys = &block[i];
    }
    return block != NULL;
}

static bool reserve_registration(struct registry *r) {
    struct registration *block;

    if (r->free_registrations != NULL)
        return true;
    block = block_new(r, sizeof *block);
    for (int i = 0; block != NULL && i < BLOCK_OBJECTS; i++) {
        block[i].next = r->free_registrations;
        r->free_registrations = &block[i];
    }
    return block != NULL;
}

eg_err registry_open(struct registry **out, struct alloc *a, enum registry_kind kind,
                     uint64_t seed) {
    struct registry *r = alloc_zero(a, sizeof *r);
    struct buckets *b;

    if (r == NULL)
        return EG_MEMORY;
    b = buckets_new(a, BUCKETS_FIRST);
    if (b == NULL) {
        alloc_put(a, r, sizeof *r);
        return EG_MEMORY;
    }
    r->alloc = a;
    r->kind = kind;
    r->seed = seed;
    STORE(&r->buckets, b);
    *out = r;
    return EG_OK;
}

void registry_close(struct registry *r) {
    struct buckets *b = LOAD(&r->buckets);

    while (b != NULL) {
        struct buckets *outgrown = b->outgrown;
        alloc_put(r->alloc, b, sizeof *b + (b->mask + 1) * sizeof b->first[0]);
        b = outgrown;
    }
    while (r->blocks != NULL) {
        struct block *next = r->blocks->next;
        alloc_put(r->alloc, r->blocks, r->blocks->size_bytes);
        r->blocks = next;
    }
    alloc_put(r->alloc, r, sizeof *r);
}

/* ---- keys ------------------------------------------------------------------------ */

static bool key_is(struct key *k, const struct name *n) {
    if (LOAD(&k->hash) != n->hash)
        return false;
    for (int i = 0; i < KEY_WORDS; i++)
        if (LOAD(&k->word[i]) != n->word[i])
            return false;
    return true;
}

/* Locked. */
static struct key *key_find(struct registry *r, const struct name *n) {
    struct buckets *b = LOAD(&r->buckets);
    struct key *k = LOAD(&b->first[n->hash & b->mask]);
    while (k != NULL && !key_is(k, n))
        k = LOAD(&k->next);
    return k;
}

static void key_link(struct buckets *b, struct key *k) {
    _Atomic(struct key *) *head = &b->first[LOAD(&k->hash) & b->mask];
    STORE(&k->next, LOAD(head));
    STORE(head, k);
}

/* Twice the buckets once there are as many keys.  Without memory chains get
 * longer, and that is all. */
static void grow(struct registry *r) {
    struct buckets *old = LOAD(&r->buckets), *fresh;

    if (r->keys <= old->mask)
        return;
    fresh = buckets_new(r->alloc, 2 * (old->mask + 1));
    if (fresh == NULL)
        return;
    for (uint64_t i = 0; i <= old->mask; i++) {
        struct key *k = LOAD(&old->first[i]), *next;
        for (; k != NULL; k = next) {
            next = LOAD(&k->next);
            key_link(fresh, k);
        }
    }
    fresh->outgrown = old;
    STORE(&r->buckets, fresh);
}

/* Locked, and a free key is there. */
static struct key *key_add(struct registry *r, const struct name *n) {
    struct key *k = r->free_keys;

    grow(r);
    r->free_keys = LOAD(&k->next);
    r->keys++;
    STORE(&k->hash, n->hash);
    for (int i = 0; i < KEY_WORDS; i++)
        STORE(&k->word[i], n->word[i]);
    key_link(LOAD(&r->buckets), k);
    return k;
}

static void key_del(struct registry *r, struct key *k) {
    struct buckets *b = LOAD(&r->buckets);
    _Atomic(struct key *) *at = &b->first[LOAD(&k->hash) & b->mask];

    while (LOAD(at) != k)
        at = &LOAD(at)->next;
    STORE(at, LOAD(&k->next));
    STORE(&k->next, r->free_keys);
    r->free_keys = k;
    r->keys--;
}

static void key_show_oldest(struct key *k) {
    eg_pid pid = k->oldest->pid;
    STORE(&k->pid_low, (uint64_t) pid.generation << 32 | pid.slot);
    STORE(&k->pid_high, pid.node);
}

/* ---- registrations ----------------------------------------------------------------- */

static eg_err put_locked(struct registry *r, const struct name *n, eg_pid pid,
                         struct registration **out) {
    struct key *k = key_find(r, n);
    struct registration *e;

    if (k != NULL && r->kind == REGISTRY_UNIQUE)
        return EG_EXISTS;
    if (r->registrations == REGISTRY_REGISTRATIONS_MAX)
        return EG_BUSY;
    if (!reserve_registration(r) || (k == NULL && !reserve_key(r)))
        return EG_MEMORY;
    if (k == NULL)
        k = key_add(r, n);

    e = r->free_registrations;
    r->free_registrations = e->next;
    *e = (struct registration){.prev = k->newest, .key = k, .pid = pid, .registry = r};
    if (k->newest == NULL)
        k->oldest = e;
    else
        k->newest->next = e;
    k->newest = e;
    k->count++;
    r->registrations++;
    key_show_oldest(k);
    *out = e;
    return EG_OK;
}

eg_err registry_put(struct registry *r, const char *key, eg_pid pid, struct registration **out) {
    struct name n;
    eg_err err;

    if (!name_of(r, key, &n))
        return EG_BAD_REQUEST;
    lock(r);
    err = put_locked(r, &n, pid, out);
    unlock(r);
    return err;
}

static void del_locked(struct registry *r, struct registration *e) {
    struct key *k = e->key;

    if (e->prev == NULL)
        k->oldest = e->next;
    else
        e->prev->next = e->next;
    if (e->next == NULL)
        k->newest = e->prev;
    else
        e->next->prev = e->prev;
    k->count--;
    if (k->count == 0)
        key_del(r, k);
    else
        key_show_oldest(k);
    e->next = r->free_registrations;
    r->free_registrations = e;
    r->registrations--;
}

void registry_del(struct registry *r, struct registration *e) {
    lock(r);
    del_locked(r, e);
    unlock(r);
}

/* ---- looking -------------------------------------------------------------------------- */

/* One look.  False: somebody was writing. */
static bool look(struct registry *r, const struct name *n, eg_pid *out) {
    uint64_t version = LOAD(&r->version);
    struct buckets *b = LOAD(&r->buckets);
    struct key *k = LOAD(&b->first[n->hash & b->mask]);

    while (k != NULL && LOAD(&r->version) == version && !key_is(k, n))
        k = LOAD(&k->next);
    if (k == NULL) {
        *out = EG_PID_NONE;
    } else {
        uint64_t low = LOAD(&k->pid_low);
        *out = (eg_pid){(uint32_t) LOAD(&k->pid_high), (uint32_t) low, (uint32_t) (low >> 32)};
    }
    return (version & 1) == 0 && LOAD(&r->version) == version;
}

eg_pid registry_find(struct registry *r, const char *key) {
    struct name n;
    eg_pid pid;

    if (!name_of(r, key, &n))
        return EG_PID_NONE;
    while (!look(r, &n, &pid))
        ;
    return pid;
}

uint32_t registry_members(struct registry *r, const char *key, eg_pid *out, uint32_t max) {
    uint32_t count = 0, copied = 0;
    struct name n;
    struct key *k;

    if (!name_of(r, key, &n))
        return 0;
    lock(r);
    k = key_find(r, &n);
    if (k != NULL) {
        count = k->count;
        for (struct registration *e = k->oldest; e != NULL && copied < max; e = e->next)
            out[copied++] = e->pid;
    }
    unlock(r);
    return count;
}

uint32_t registry_count(struct registry *r) {
    uint32_t count;
    lock(r);
    count = r->registrations;
    unlock(r);
    return count;
}

static void key_text(struct key *k, char out[static REGISTRY_KEY_BYTES]) {
    for (int i = 0; i < KEY_WORDS; i++) {
        uint64_t word = LOAD(&k->word[i]);
        memcpy(out + i * sizeof word, &word, sizeof word);
    }
}

void registry_key(const struct registration *e, char out[static REGISTRY_KEY_BYTES]) {
    key_text(e->key, out);
}

void registry_each(struct registry *r, void (*each)(void *arg, const char *key, eg_pid pid),
                   void *arg) {
    struct buckets *b;

    lock(r);
    b = LOAD(&r->buckets);
    for (uint64_t i = 0; i <= b->mask; i++) {
        for (struct key *k = LOAD(&b->first[i]); k != NULL; k = LOAD(&k->next)) {
            char text[REGISTRY_KEY_BYTES];
            key_text(k, text);
            for (struct registration *e = k->oldest; e != NULL; e = e->next)
                each(arg, text, e->pid);
        }
    }
    unlock(r);
}

/* ---- for an actor, about itself --------------------------------------------------------- */

static void on_owner_exit(struct cleanup *c) {
    struct registration *e = EG_CONTAINER_OF(c, struct registration, cleanup);
    registry_del(e->registry, e);
}

eg_err registry_join(struct registry *r, struct actor *self, const char *key,
                     struct registration **out) {
    struct registration *e;
    eg_err err = registry_put(r, key, actor_pid(self), &e);

    if (err != EG_OK)
        return err;
    e->cleanup.run = on_owner_exit;
    actor_on_exit(self, &e->cleanup);
    if (out != NULL)
        *out = e;
    return EG_OK;
}

/* Some registration of `pid` under the name.  Only its owner deletes it, and that
 * is who asks, so it may be used after the lock is gone. */
static struct registration *find_own(struct registry *r, const struct name *n, eg_pid pid) {
    struct registration *e = NULL;
    struct key *k;

    lock(r);
    k = key_find(r, n);
    if (k != NULL)
        e = k->oldest;
    while (e != NULL && !eg_pid_equal(e->pid, pid))
        e = e->next;
    unlock(r);
    return e;
}

eg_err registry_leave(struct registry *r, struct actor *self, const char *key) {
    eg_err err = EG_NOT_FOUND;
    struct registration *e;
    struct name n;

    if (!name_of(r, key, &n))
        return EG_BAD_REQUEST;
    while ((e = find_own(r, &n, actor_pid(self))) != NULL) {
        actor_cancel_on_exit(self, &e->cleanup);
        registry_del(r, e);
        err = EG_OK;
    }
    return err;
}
