/* grave.c -- a hash table whose buckets lie in the order of the hash. */
#include "tables/grave.h"

#include <string.h>

enum {
    BITS_FIRST = 4,
    BITS_MAX = 28,
    LOAD_MAX = 2,         /* graves a bucket, before there are twice as many */
    SHARD_HASH_BITS = 16, /* the highest: the same in all keys of a shard    */
};

/* The rest of a key's hash chooses, its highest bits first. */
static uint64_t place_of(uint64_t hash) {
    return hash << SHARD_HASH_BITS;
}

static size_t bucket_of(const struct graves *g, uint64_t hash) {
    return (size_t) (place_of(hash) >> (64 - g->bits));
}

static size_t bucket_count(const struct graves *g) {
    return g->bucket == NULL ? 0 : (size_t) 1 << g->bits;
}

void graves_discard(struct graves *g, struct grave *made) {
    alloc_put(g->alloc, made, grave_bytes(made));
}

void graves_clear(struct graves *g) {
    for (size_t i = 0; i < bucket_count(g); i++) {
        struct grave *next;

        for (struct grave *at = g->bucket[i]; at != NULL; at = next) {
            next = at->next;
            graves_discard(g, at);
        }
        g->bucket[i] = NULL;
    }
    g->count = g->bytes = 0;
}

void graves_fini(struct graves *g) {
    graves_clear(g);
    alloc_put(g->alloc, g->bucket, bucket_count(g) * sizeof *g->bucket);
    graves_init(g, g->alloc);
}

/* ---- looking -------------------------------------------------------------------------- */

static struct grave **find(const struct graves *g, uint64_t hash, struct value v) {
    struct grave **at;

    if (g->count == 0)
        return NULL;
    for (at = &g->bucket[bucket_of(g, hash)]; *at != NULL; at = &(*at)->next)
        if ((*at)->hash == hash && value_equal(grave_value(*at), v))
            return at;
    return NULL;
}

const struct grave *graves_find(const struct graves *g, uint64_t hash, struct value v) {
    struct grave **at = find(g, hash, v);
    return at == NULL ? NULL : *at;
}

static const struct grave *with_hash(const struct grave *at, uint64_t hash) {
    while (at != NULL && at->hash != hash)
        at = at->next;
    return at;
}

const struct grave *graves_with(const struct graves *g, uint64_t hash) {
    return g->count == 0 ? NULL : with_hash(g->bucket[bucket_of(g, hash)], hash);
}

const struct grave *graves_also(const struct grave *before) {
    return with_hash(before->next, before->hash);
}

/* ---- changing --------------------------------------------------------------------------- */

/* False: no memory, and nothing has changed. */
static bool spread(struct graves *g, uint32_t bits) {
    struct graves wide = {.alloc = g->alloc, .bits = bits};

    wide.bucket = alloc_zero(g->alloc, ((size_t) 1 << bits) * sizeof *wide.bucket);
    if (wide.bucket == NULL)
        return false;
    for (size_t i = 0; i < bucket_count(g); i++) {
        struct grave *next;

        for (struct grave *at = g->bucket[i]; at != NULL; at = next) {
            struct grave **to = &wide.bucket[bucket_of(&wide, at->hash)];

            next = at->next;
            at->next = *to;
            *to = at;
        }
    }
    alloc_put(g->alloc, g->bucket, bucket_count(g) * sizeof *g->bucket);
    g->bucket = wide.bucket;
    g->bits = bits;
    return true;
}

struct grave *graves_make(struct graves *g, uint64_t hash, struct value v,
                          struct record_version version) {
    struct grave *made;

    if (g->bucket == NULL && !spread(g, BITS_FIRST))
        return NULL;
    if (g->count >= bucket_count(g) * LOAD_MAX && g->bits < BITS_MAX)
        (void) spread(g, g->bits + 1); /* without memory its lists grow longer */
    made = alloc_get(g->alloc, sizeof *made + v.size_bytes);
    if (made == NULL)
        return NULL;
    made->next = NULL;
    made->version = version;
    made->hash = hash;
    made->size_bytes = v.size_bytes;
    memcpy(made->value, v.at, v.size_bytes);
    return made;
}

static void unlink_at(struct graves *g, struct grave **at) {
    struct grave *old = *at;

    *at = old->next;
    g->count--;
    g->bytes -= grave_bytes(old);
    graves_discard(g, old);
}

void graves_put(struct graves *g, struct grave *made) {
    struct grave **at;

    graves_remove(g, made->hash, grave_value(made));
    at = &g->bucket[bucket_of(g, made->hash)];
    made->next = *at;
    *at = made;
    g->count++;
    g->bytes += grave_bytes(made);
}

void graves_remove(struct graves *g, uint64_t hash, struct value v) {
    struct grave **at = find(g, hash, v);

    if (at != NULL)
        unlink_at(g, at);
}

uint64_t graves_sift(struct graves *g, bool (*drop)(void *context, const struct grave *g),
                     void *context) {
    uint64_t dropped = 0;

    for (size_t i = 0; i < bucket_count(g); i++) {
        struct grave **at = &g->bucket[i];

        while (*at != NULL) {
            if (drop(context, *at)) {
                unlink_at(g, at);
                dropped++;
            } else {
                at = &(*at)->next;
            }
        }
    }
    return dropped;
}

bool graves_walk(const struct graves *g, uint64_t *place, bool *ended, const struct grave **first) {
    size_t count = bucket_count(g);
    size_t at;

    if (*ended || g->count == 0)
        return false;
    at = (size_t) (*place >> (64 - g->bits));
    while (at < count && g->bucket[at] == NULL)
        at++;
    if (at == count)
        return false;
    *first = g->bucket[at];
    *ended = at + 1 == count;
    *place = *ended ? 0 : (uint64_t) (at + 1) << (64 - g->bits);
    return true;
}
