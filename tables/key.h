/* key.h -- a key in its one canonical form.
 *
 * Values that compare equal have the same canonical bytes: integers in their
 * shortest encoding whatever they came in, integral floats as integers, other
 * floats as float64, strings and binaries with their shortest header, map
 * pairs sorted.  So two keys are equal if and only if their canonical bytes
 * are, and one hash serves them all.
 *
 * A probe key is prepared once (key_prepare) and then used against any number
 * of stores.  For the usual keys (short strings, integers written shortest)
 * the canonical form is the encoded form itself and nothing is copied.
 *
 * key_sortable() writes a second form whose memcmp order is value_compare's
 * order: for RocksDB keys and for the heads in ordered nodes.
 */
#ifndef TABLES_KEY_H
#define TABLES_KEY_H

#include "engine/alloc.h"
#include "tables/value.h"

enum {
    KEY_INLINE_BYTES = 48,
    KEY_SIZE_MAX = 64 * 1024, /* canonical bytes: an honest key is short */
};

struct key {
    struct value value;   /* as the caller gave it; borrowed                    */
    const uint8_t *canon; /* canonical bytes: value.at, inline_canon or on heap */
    uint32_t canon_bytes;
    uint32_t heap_bytes; /* 0: nothing to free                                  */
    uint64_t hash;       /* of the canonical bytes, seeded                      */
    struct alloc *alloc;
    uint8_t inline_canon[KEY_INLINE_BYTES];
};

/* Make `k` ready for look-ups of `v`.  Do not copy or move `k` afterwards.
 * EG_BAD_RECORD: a NaN somewhere in the key.  EG_TOO_LARGE: past KEY_SIZE_MAX.
 * EG_MEMORY: no room for a long non-canonical key.  After an error nothing
 * needs to be freed. */
EG_MUST_USE eg_err key_prepare(struct key *k, struct value v, uint64_t seed, struct alloc *a);
/* Of a key that has been prepared before: its canonical bytes and their hash.  Nothing is to be
 * released. */
static inline void key_of_canonical(struct key *k, struct value canonical, uint64_t hash) {
    k->value = canonical;
    k->canon = canonical.at;
    k->canon_bytes = canonical.size_bytes;
    k->heap_bytes = 0;
    k->hash = hash;
}

/* Where the bytes of `v` are canonical already, so that nothing is to be released.  False: they
 * are not, or are too many. */
bool key_prepare_as_is(struct key *k, struct value v, uint64_t seed);
void key_release(struct key *k);

/* True where the encoded bytes of `v` are already canonical. */
bool key_is_canonical(struct value v);

/* The hash key_prepare() would give, from a value known to hold no NaN. */
uint64_t key_hash(struct value v, uint64_t seed);

/* Append the sortable form of `v` to buffer; returns its size, which may be
 * larger than `size_bytes`: then only the first size_bytes were written.
 * Self-delimiting: sortable(a) ++ sortable(b) sorts as the pair (a, b). */
size_t key_sortable(struct value v, uint8_t *buffer, size_t size_bytes);

/* How many bytes the sortable form at `at` takes; 0: it is none, or not all there. */
size_t key_sortable_skip(const uint8_t *at, size_t size_bytes);

#endif /* TABLES_KEY_H */
