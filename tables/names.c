/* names.c -- tables by name: a sorted array, and a hash of places in it. */
#include "tables/names.h"

#include "tables/table_private.h"

#include <string.h>
#include <xxhash.h>

/* | count | tables, sorted by name | places: room of them, index + 1 or 0 | */
struct name_set {
    uint32_t count;
    uint32_t room; /* a power of two, at least twice count: a probe ends soon */
    struct table *table[];
};

static uint32_t *places_of(const struct name_set *s) {
    return (uint32_t *) (void *) &((struct name_set *) s)->table[s->count];
}

static size_t set_bytes(uint32_t count, uint32_t room) {
    return sizeof(struct name_set) + count * sizeof(struct table *) + room * sizeof(uint32_t);
}

static const struct schema_name *name_of(const struct table *t) {
    return &schema_of(t)->name;
}

static struct name_set *set_of(const struct names *n) {
    return atomic_load_explicit(&n->now, memory_order_acquire);
}

static struct name_set *set_new(struct names *n, uint32_t count) {
    uint32_t room = 8;
    struct name_set *s;

    while (room < 2 * count)
        room *= 2;
    s = alloc_zero(n->alloc, set_bytes(count, room));
    if (s != NULL) {
        s->count = count;
        s->room = room;
    }
    return s;
}

static void fill_places(const struct names *n, struct name_set *s) {
    uint32_t *place = places_of(s);

    for (uint32_t i = 0; i < s->count; i++) {
        const struct schema_name *name = name_of(s->table[i]);
        uint32_t at = (uint32_t) XXH3_64bits_withSeed(name->text, name->size_bytes, n->seed);

        while (place[at &= s->room - 1] != 0)
            at++;
        place[at] = i + 1;
    }
}

static void set_free(void *owner, void *ptr, size_t size_bytes) {
    struct names *n = owner;
    alloc_put(n->alloc, ptr, size_bytes);
}

static void publish(struct names *n, struct name_set *fresh) {
    struct name_set *old = set_of(n);

    fill_places(n, fresh);
    atomic_store_explicit(&n->now, fresh, memory_order_release);
    if (old != NULL)
        epoch_retire(n->bin, set_free, n, old, set_bytes(old->count, old->room));
}

void names_fini(struct names *n) {
    struct name_set *s = set_of(n);
    if (s != NULL)
        alloc_put(n->alloc, s, set_bytes(s->count, s->room));
}

struct table *names_find(const struct names *n, const char *name, size_t name_bytes) {
    const struct name_set *s = set_of(n);
    const uint32_t *place;
    uint32_t at;

    if (s == NULL)
        return NULL;
    place = places_of(s);
    at = (uint32_t) XXH3_64bits_withSeed(name, name_bytes, n->seed);
    for (; place[at &= s->room - 1] != 0; at++) {
        struct table *t = s->table[place[at] - 1];
        const struct schema_name *own = name_of(t);
        if (own->size_bytes == name_bytes && memcmp(own->text, name, name_bytes) == 0)
            return t;
    }
    return NULL;
}

eg_err names_add(struct names *n, struct table *t) {
    const struct name_set *old = set_of(n);
    uint32_t count = old == NULL ? 0 : old->count;
    struct name_set *s = set_new(n, count + 1);
    uint32_t i = 0;

    if (s == NULL)
        return EG_MEMORY;
    for (; i < count && strcmp(name_of(old->table[i])->text, name_of(t)->text) < 0; i++)
        s->table[i] = old->table[i];
    s->table[i] = t;
    for (; i < count; i++)
        s->table[i + 1] = old->table[i];
    publish(n, s);
    return EG_OK;
}

eg_err names_remove(struct names *n, struct table *t) {
    const struct name_set *old = set_of(n);
    struct name_set *s = set_new(n, old->count - 1);
    uint32_t to = 0;

    if (s == NULL)
        return EG_MEMORY;
    for (uint32_t i = 0; i < old->count; i++)
        if (old->table[i] != t)
            s->table[to++] = old->table[i];
    EG_ASSERT(to == s->count);
    publish(n, s);
    return EG_OK;
}

struct name_set *names_reserve(struct names *n) {
    return set_new(n, set_of(n)->count);
}

void names_replace(struct names *n, struct name_set *room, struct table *old, struct table *t) {
    const struct name_set *now = set_of(n);
    uint32_t put = 0;

    EG_ASSERT(room->count == now->count);
    for (uint32_t i = 0; i < now->count; i++)
        if (now->table[i] != old)
            room->table[put++] = now->table[i];
    for (; put > 0 && strcmp(name_of(t)->text, name_of(room->table[put - 1])->text) < 0; put--)
        room->table[put] = room->table[put - 1];
    room->table[put] = t;
    publish(n, room);
}

void names_unreserve(struct names *n, struct name_set *room) {
    if (room != NULL)
        alloc_put(n->alloc, room, set_bytes(room->count, room->room));
}

uint32_t names_all(const struct names *n, struct table *const **tables) {
    const struct name_set *s = set_of(n);

    *tables = s == NULL ? NULL : s->table;
    return s == NULL ? 0 : s->count;
}
