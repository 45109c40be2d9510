/* select_keys.c -- keys in the order they came, and a hash table of where they lie. */
#include "query/select_keys.h"

#include "tables/key.h"

enum { FIRST_ROOM = 256 };

struct select_keys_slot {
    uint32_t hash;
    uint32_t at; /* in bytes, + 1; 0: empty */
};

void select_keys_init(struct select_keys *k, struct alloc *a) {
    *k = (struct select_keys){.alloc = a};
    buffer_init(&k->bytes, a, SELECT_KEYS_BYTES_MAX);
}

void select_keys_fini(struct select_keys *k) {
    buffer_fini(&k->bytes);
    if (k->room > 0)
        alloc_put(k->alloc, k->slot, k->room * sizeof *k->slot);
}

size_t select_keys_bytes(const struct select_keys *k) {
    return k->bytes.room_bytes + k->room * sizeof *k->slot;
}

static struct value key_at(const struct select_keys *k, uint32_t at) {
    return value_of(k->bytes.at + at);
}

static struct select_keys_slot *find(const struct select_keys *k, uint32_t hash,
                                     const struct value *key) {
    uint32_t i = hash & (k->room - 1);

    while (k->slot[i].at != 0 && (key == NULL || k->slot[i].hash != hash ||
                                  !value_equal(key_at(k, k->slot[i].at - 1), *key)))
        i = (i + 1) & (k->room - 1);
    return &k->slot[i];
}

static eg_err grow(struct select_keys *k) {
    struct select_keys old = *k;

    k->room = EG_MAX((uint32_t) FIRST_ROOM, 2 * old.room);
    k->slot = alloc_zero(k->alloc, k->room * sizeof *k->slot);
    if (k->slot == NULL) {
        *k = old;
        return EG_MEMORY;
    }
    for (uint32_t i = 0; i < old.room; i++)
        if (old.slot[i].at != 0)
            *find(k, old.slot[i].hash, NULL) = old.slot[i];
    if (old.room > 0)
        alloc_put(k->alloc, old.slot, old.room * sizeof *old.slot);
    return EG_OK;
}

eg_err select_keys_add(struct select_keys *k, struct value key) {
    uint32_t hash = (uint32_t) key_hash(key, 0);
    uint32_t at = (uint32_t) k->bytes.size_bytes;
    struct select_keys_slot *slot;
    eg_err err = EG_OK;

    if (2 * (k->count + 1) > k->room)
        err = grow(k);
    if (err != EG_OK)
        return err;
    slot = find(k, hash, &key);
    if (slot->at != 0)
        return EG_OK;
    if (k->count == SELECT_KEYS_MAX || key.size_bytes > SELECT_KEYS_BYTES_MAX - at)
        return EG_TOO_LARGE;
    if (!buffer_append(&k->bytes, key.at, key.size_bytes))
        return EG_MEMORY;
    *slot = (struct select_keys_slot){hash, at + 1};
    k->count++;
    return EG_OK;
}

void select_keys_clear(struct select_keys *k) {
    struct alloc *a = k->alloc;

    select_keys_fini(k);
    select_keys_init(k, a);
}

bool select_keys_now(const struct select_keys *k, struct value *key) {
    if (k->next == k->bytes.size_bytes)
        return false;
    *key = key_at(k, k->next);
    return true;
}

void select_keys_pass(struct select_keys *k) {
    EG_ASSERT(k->next < k->bytes.size_bytes);
    k->next += key_at(k, k->next).size_bytes;
}
