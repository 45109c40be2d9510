/* select_keys.h -- the keys of records that are going to be changed, each once.
 *
 * Records found by an index may move in it when they are changed, and would be met again, or
 * not at all.  So their keys are gathered first, and then gone through.
 *
 * Ownership  Keys are copied.
 * Bounds     SELECT_KEYS_MAX keys, SELECT_KEYS_BYTES_MAX of them: then EG_TOO_LARGE, and
 *            the caller finds another way.
 */
#ifndef QUERY_SELECT_KEYS_H
#define QUERY_SELECT_KEYS_H

#include "engine/buffer.h"
#include "tables/value.h"

enum { SELECT_KEYS_MAX = 64 * 1024, SELECT_KEYS_BYTES_MAX = 4 << 20 };

struct select_keys {
    struct alloc *alloc;
    struct buffer bytes; /* one behind the other */
    uint32_t count;
    uint32_t room; /* of the hash table: a power of two, or 0 */
    struct select_keys_slot *slot;
    uint32_t next; /* in bytes */
};

void select_keys_init(struct select_keys *k, struct alloc *a);
void select_keys_fini(struct select_keys *k);
size_t select_keys_bytes(const struct select_keys *k);

/* Unless it is there.  EG_TOO_LARGE, EG_MEMORY: it was not added. */
EG_MUST_USE eg_err select_keys_add(struct select_keys *k, struct value key);
void select_keys_clear(struct select_keys *k);

/* The one to be changed next, until it is passed.  False: there is none.  Nothing may be added
 * while it is looked at. */
EG_MUST_USE bool select_keys_now(const struct select_keys *k, struct value *key);
void select_keys_pass(struct select_keys *k);

#endif /* QUERY_SELECT_KEYS_H */
