/* key.c -- canonical, hashed and sortable keys.
 *
 * The usual keys are canonical as they come.  What is not is written anew
 * (value_canonical.c), except where only its hash is wanted and there is no memory.
 *
 * Sortable form: memcmp order is value_compare order.
 *
 *     any     | kind + 1 | ...                         0 stays free to end arrays
 *     number  | 1 | class 16 | fraction 64 |           see put_sortable_number
 *     string  | 1 | bytes, 00 as 00 ff | 00 00 |       also binary
 *     array   | 1 | elements | 00 |
 *     map     | 1 | pairs 32 | keys in order | their values |
 *     ext     | 1 | type + 128 | as a string |
 */
#include "tables/key.h"

#include "tables/value_private.h"

#include <math.h>
#include <string.h>

#define XXH_INLINE_ALL /* short keys: the call would cost as much as the hash */
#include <xxhash.h>

/* No value is more than 9 times its canonical form (0.0 as a float64), nor less
 * than half of it (0.5 as a float32). */
enum { ENCODED_SIZE_MAX = 9 * KEY_SIZE_MAX, CANONICAL_SIZE_MAX = 2 * ENCODED_SIZE_MAX };

/* ---- is it canonical already? ------------------------------------------- */

/* Is the first byte the one that the writer would choose?  For all but floats
 * and containers nothing else can be wrong. */
static bool is_shortest(const uint8_t *at) {
    struct value_number number;
    uint32_t n;

    switch (at[0]) {
    case 0xca:
        return false; /* a float64 says the same */
    case 0xcb:
        number = value_number_canonical(value_number_of(at));
        return number.form == NUMBER_FLOAT && !isnan(number.d);
    case 0xcc:
        return at[1] >= 0x80;
    case 0xcd:
        return load_be16(at + 1) > UINT8_MAX;
    case 0xce:
        return load_be32(at + 1) > UINT16_MAX;
    case 0xcf:
        return load_be32(at + 1) > 0; /* the upper half of eight bytes */
    case 0xd0:
        return (int8_t) at[1] < -32;
    case 0xd1:
        return (int16_t) load_be16(at + 1) < INT8_MIN;
    case 0xd2:
        return (int32_t) load_be32(at + 1) < INT16_MIN;
    case 0xd3:
        return (int64_t) load_be64(at + 1) < INT32_MIN;
    case 0xc4: /* binary */
        return true;
    case 0xc5:
    case 0xda:
        return load_be16(at + 1) > UINT8_MAX;
    case 0xc6:
    case 0xdb:
    case 0xc9:
        return load_be32(at + 1) > UINT16_MAX;
    case 0xd9:
        return at[1] >= 32;
    case 0xc7: /* exts of 1, 2, 4, 8 and 16 bytes have headers of their own */
        n = at[1];
        return n == 0 || n > 16 || (n & (n - 1)) != 0;
    case 0xc8:
        return load_be16(at + 1) > UINT8_MAX;
    case 0xdc:
    case 0xde:
        return load_be16(at + 1) >= 16;
    case 0xdd:
    case 0xdf:
        return load_be32(at + 1) > UINT16_MAX;
    default:
        return true;
    }
}

static const uint8_t *end_if_canonical(const uint8_t *at);

static const uint8_t *end_if_pairs_canonical(const uint8_t *at, uint32_t count) {
    const uint8_t *previous = NULL;

    for (uint32_t i = 0; i < count && at != NULL; i++) {
        const uint8_t *key = at;
        const uint8_t *same_key = key;
        at = end_if_canonical(key);
        if (at != NULL && i > 0 && value_compare_at(&previous, &same_key, true) > 0)
            return NULL;
        previous = key;
        at = at == NULL ? NULL : end_if_canonical(at);
    }
    return at;
}

/* What follows the value at `at`; NULL where it is not canonical. */
static const uint8_t *end_if_canonical(const uint8_t *at) {
    struct value_head head = head_of(at);
    bool map = value_kinds[*at] == VALUE_MAP;

    if (!is_shortest(at))
        return NULL;
    at += head.own_bytes;
    if (map)
        return end_if_pairs_canonical(at, head.children / 2);
    for (uint32_t i = 0; i < head.children && at != NULL; i++)
        at = end_if_canonical(at);
    return at;
}

bool key_is_canonical(struct value v) {
    uint8_t lead = v.at[0];

    /* The usual keys need no look at all: small integers, short strings. */
    if (lead < 0x80 || lead >= 0xe0 || (lead & 0xe0) == 0xa0)
        return true;
    if (value_leads[lead] < LEAD_CONTAINER)
        return is_shortest(v.at);
    return end_if_canonical(v.at) != NULL;
}

/* ---- probe keys --------------------------------------------------------- */

/* Fill k->canon with the canonical form of k->value, a container. */
static eg_err canonicalise_container(struct key *k) {
    struct canon c;
    eg_err err = EG_OK;

    if (k->value.size_bytes > ENCODED_SIZE_MAX)
        return EG_TOO_LARGE;
    canon_init(&c, k->alloc, CANONICAL_SIZE_MAX);
    if (canon_put(&c, k->value.at) == NULL)
        err = EG_MEMORY;
    else if (c.saw_nan)
        err = EG_BAD_RECORD;
    else if (c.bytes.size_bytes > KEY_SIZE_MAX)
        err = EG_TOO_LARGE;
    if (err == EG_OK) {
        k->canon = c.bytes.at;
        k->canon_bytes = (uint32_t) c.bytes.size_bytes;
        k->heap_bytes = (uint32_t) c.bytes.room_bytes;
        buffer_init(&c.bytes, k->alloc, 0); /* now the key's */
    }
    canon_fini(&c);
    return err;
}

/* The same for all others, which mostly fit into the key itself. */
EG_SELDOM static eg_err canonicalise(struct key *k) {
    enum value_kind kind = value_kind_of(k->value);
    struct canon_head h;
    uint8_t *to = k->inline_canon;

    if (kind == VALUE_ARRAY || kind == VALUE_MAP)
        return canonicalise_container(k);
    h = canon_head_of(k->value.at);
    if (h.nan)
        return EG_BAD_RECORD;
    if (h.bytes_bytes > KEY_SIZE_MAX - h.size_bytes)
        return EG_TOO_LARGE;
    k->canon_bytes = h.size_bytes + h.bytes_bytes;
    if (k->canon_bytes > KEY_INLINE_BYTES) {
        to = alloc_get(k->alloc, k->canon_bytes);
        if (to == NULL)
            return EG_MEMORY;
        k->heap_bytes = k->canon_bytes;
    }
    memcpy(to, h.at, h.size_bytes);
    memcpy(to + h.size_bytes, h.bytes, h.bytes_bytes);
    k->canon = to;
    return EG_OK;
}

eg_err key_prepare(struct key *k, struct value v, uint64_t seed, struct alloc *a) {
    k->value = v;
    k->canon = v.at;
    k->canon_bytes = v.size_bytes;
    k->heap_bytes = 0;
    k->alloc = a;
    if (EG_UNLIKELY(!key_is_canonical(v))) {
        eg_err err = canonicalise(k);
        if (err != EG_OK)
            return err;
    } else if (v.size_bytes > KEY_SIZE_MAX) {
        return EG_TOO_LARGE;
    }
    k->hash = XXH3_64bits_withSeed(k->canon, k->canon_bytes, seed);
    return EG_OK;
}

bool key_prepare_as_is(struct key *k, struct value v, uint64_t seed) {
    if (EG_UNLIKELY(!key_is_canonical(v)) || EG_UNLIKELY(v.size_bytes > KEY_SIZE_MAX))
        return false;
    k->value = v;
    k->canon = v.at;
    k->canon_bytes = v.size_bytes;
    k->heap_bytes = 0;
    k->hash = XXH3_64bits_withSeed(v.at, v.size_bytes, seed);
    return true;
}

void key_release(struct key *k) {
    if (k->heap_bytes > 0)
        alloc_put(k->alloc, (void *) k->canon, k->heap_bytes);
    k->heap_bytes = 0;
}

/* Hash the canonical form without writing it anywhere. */
static const uint8_t *hash_without_memory(XXH3_state_t *hash, const uint8_t *at) {
    struct canon_head canonical = canon_head_of(at);
    struct value_head head = head_of(at);
    const uint8_t *pair;

    XXH3_64bits_update(hash, canonical.at, canonical.size_bytes);
    XXH3_64bits_update(hash, canonical.bytes, canonical.bytes_bytes);
    if (value_kinds[*at] == VALUE_MAP) {
        struct map_walk walk = map_walk_of(at, false);
        while ((pair = map_walk_next(&walk)) != NULL)
            hash_without_memory(hash, hash_without_memory(hash, pair));
        return value_skip(at);
    }
    at += head.own_bytes;
    for (uint32_t i = 0; i < head.children; i++)
        at = hash_without_memory(hash, at);
    return at;
}

uint64_t key_hash(struct value v, uint64_t seed) {
    XXH3_state_t state;
    struct key k;
    uint64_t hash;

    if (EG_LIKELY(key_is_canonical(v)))
        return XXH3_64bits_withSeed(v.at, v.size_bytes, seed);
    if (key_prepare(&k, v, seed, alloc_system()) == EG_OK) {
        hash = k.hash;
        key_release(&k);
        return hash;
    }
    XXH3_64bits_reset_withSeed(&state, seed);
    hash_without_memory(&state, v.at);
    return XXH3_64bits_digest(&state);
}

/* ---- sortable form ------------------------------------------------------ */

struct sink {
    bool canonical; /* what is put is in canonical form */
    uint8_t *at;
    size_t room_bytes;
    size_t need_bytes;
};

static void sink_put(struct sink *s, const void *bytes, size_t size_bytes) {
    size_t fits = EG_MIN(size_bytes, s->room_bytes);

    s->need_bytes += size_bytes;
    if (fits == 0)
        return; /* at may be NULL where only the size is wanted */
    memcpy(s->at, bytes, fits);
    s->at += fits;
    s->room_bytes -= fits;
}

/* The lowest `width` bytes of n, highest first. */
static void sink_put_be(struct sink *s, uint64_t n, size_t width) {
    uint8_t bytes[8];

    for (size_t i = 0; i < width; i++)
        bytes[i] = (uint8_t) (n >> (8 * (width - 1 - i)));
    sink_put(s, bytes, width);
}

static void put_sortable_bytes(struct sink *s, const uint8_t *at) {
    uint32_t left;
    const uint8_t *bytes = value_bytes_of(at, &left);
    const uint8_t *zero;

    while (left > 0 && (zero = memchr(bytes, 0, left)) != NULL) {
        sink_put(s, bytes, (size_t) (zero - bytes));
        sink_put(s, "\x00\xff", 2);
        left -= (uint32_t) (zero + 1 - bytes);
        bytes = zero + 1;
    }
    sink_put(s, bytes, left);
    sink_put(s, "\x00\x00", 2);
}

/* Every finite number but 0 is 1.fraction * 2^exponent with at most 63 bits of
 * fraction, be it float or integer.
 *
 *     class     8000 zero; 8001 .. 8832 the exponent of a positive number, -1074 ..
 *               1023; fffe infinity; ffff NaN
 *     fraction  64 bits, left-aligned; only where there is an exponent
 *
 * A negative number is the complement of its positive twin. */
enum {
    CLASS_ZERO = 0x8000,
    CLASS_OF_EXPONENT_0 = CLASS_ZERO + 1075,
    CLASS_INFINITY = 0xfffe,
    CLASS_NAN = 0xffff,
};

/* Split a float into magnitude * 2^scale.  False: infinite. */
static bool split_float(double d, uint64_t *magnitude, int *scale) {
    uint64_t bits;
    int exponent;

    memcpy(&bits, &d, sizeof bits);
    exponent = (int) (bits >> 52 & 0x7ff);
    *magnitude = bits & ((UINT64_C(1) << 52) - 1);
    *scale = -1074; /* of the subnormals, whose leading digit is 0 */
    if (exponent > 0) {
        *magnitude |= UINT64_C(1) << 52;
        *scale += exponent - 1;
    }
    return exponent != 0x7ff;
}

static void put_sortable_number(struct sink *s, const uint8_t *at) {
    struct value_number n = value_number_of(at);
    bool negative = n.form == NUMBER_NEGATIVE || (n.form == NUMBER_FLOAT && n.d < 0);
    uint64_t flip = negative ? UINT64_MAX : 0;
    uint64_t magnitude = n.form == NUMBER_NEGATIVE ? -(uint64_t) n.i : n.u;
    int scale = 0;
    int shift;

    if (n.form == NUMBER_FLOAT && !split_float(n.d, &magnitude, &scale)) {
        sink_put_be(s, isnan(n.d) ? CLASS_NAN : CLASS_INFINITY ^ flip, 2);
        return;
    }
    if (magnitude == 0) {
        sink_put_be(s, CLASS_ZERO, 2);
        return;
    }
    shift = __builtin_clzll(magnitude);
    sink_put_be(s, (uint64_t) (CLASS_OF_EXPONENT_0 + scale + 63 - shift) ^ flip, 2);
    sink_put_be(s, magnitude << shift << 1 ^ flip, 8); /* the leading 1 is understood */
}

static const uint8_t *put_sortable(struct sink *s, const uint8_t *at);

static void put_sortable_pairs(struct sink *s, const uint8_t *map) {
    struct map_walk walk = map_walk_of(map, s->canonical);
    const uint8_t *pair;

    sink_put_be(s, walk.pairs, 4);
    while ((pair = map_walk_next(&walk)) != NULL)
        put_sortable(s, pair);
    walk = map_walk_of(map, s->canonical);
    while ((pair = map_walk_next(&walk)) != NULL)
        put_sortable(s, value_skip(pair));
}

/* In canonical form first, as comparison does: see value_order.c. */
static void put_sortable_map(struct sink *s, const uint8_t *map) {
    struct canon c;

    if (s->canonical) {
        put_sortable_pairs(s, map);
        return;
    }
    canon_init(&c, alloc_system(), UINT32_MAX);
    s->canonical = canon_put(&c, map) != NULL;
    put_sortable_pairs(s, s->canonical ? c.bytes.at : map);
    s->canonical = false;
    canon_fini(&c);
}

/* Returns what follows the value at `at`.  Recurses once a level. */
static const uint8_t *put_sortable(struct sink *s, const uint8_t *at) {
    enum value_kind kind = (enum value_kind) value_kinds[at[0]];
    struct value_head head = head_of(at);
    const uint8_t *next = at + head.own_bytes;

    sink_put_be(s, (uint64_t) kind + 1, 1);
    switch (kind) {
    case VALUE_NIL:
    case VALUE_FALSE:
    case VALUE_TRUE:
        break;
    case VALUE_NUMBER:
        put_sortable_number(s, at);
        break;
    case VALUE_EXT:
        sink_put_be(s, (uint64_t) (value_ext_type_of(at) + 128), 1);
        put_sortable_bytes(s, at);
        break;
    case VALUE_STRING:
    case VALUE_BINARY:
        put_sortable_bytes(s, at);
        break;
    case VALUE_ARRAY:
        for (uint32_t i = 0; i < head.children; i++)
            next = put_sortable(s, next);
        sink_put_be(s, 0, 1);
        break;
    case VALUE_MAP:
        put_sortable_map(s, at);
        next = value_skip(at);
        break;
    }
    return next;
}

size_t key_sortable(struct value v, uint8_t *buffer, size_t size_bytes) {
    struct sink s = {.at = buffer, .room_bytes = size_bytes};

    put_sortable(&s, v.at);
    return s.need_bytes;
}

/* ---- over a sortable form, which may come from a damaged disc --------------- */

static size_t skip_bytes(const uint8_t *at, size_t size_bytes) {
    for (size_t i = 0; i + 1 < size_bytes; i++) {
        if (at[i] != 0)
            continue;
        if (at[i + 1] == 0)
            return i + 2;
        i++; /* a zero of the value's own */
    }
    return 0;
}

static size_t skip_number(const uint8_t *at, size_t size_bytes) {
    enum { CLASS_BYTES = 2, FRACTION_BYTES = 8 };
    unsigned class = size_bytes < CLASS_BYTES ? CLASS_ZERO : (unsigned) at[0] << 8 | at[1];
    size_t bytes = CLASS_BYTES;

    if (class != CLASS_ZERO && class != CLASS_INFINITY && class != CLASS_NAN &&
        class != (CLASS_INFINITY ^ 0xffffu))
        bytes += FRACTION_BYTES;
    return bytes <= size_bytes ? bytes : 0;
}

static size_t skip_sortable(const uint8_t *at, size_t size_bytes, uint32_t depth);

/* `count` forms in a row; UINT64_MAX: until the end of an array. */
static size_t skip_row(const uint8_t *at, size_t size_bytes, uint64_t count, uint32_t depth) {
    size_t used = 0;

    for (uint64_t i = 0; i < count; i++) {
        size_t bytes;

        if (used == size_bytes)
            return 0;
        if (count == UINT64_MAX && at[used] == 0)
            return used + 1;
        bytes = skip_sortable(at + used, size_bytes - used, depth);
        if (bytes == 0)
            return 0;
        used += bytes;
    }
    return used;
}

static size_t skip_map(const uint8_t *at, size_t size_bytes, uint32_t depth) {
    enum { COUNT_BYTES = 4 };
    uint64_t pairs = 0;
    size_t bytes;

    if (size_bytes < COUNT_BYTES)
        return 0;
    for (size_t i = 0; i < COUNT_BYTES; i++)
        pairs = pairs << 8 | at[i];
    if (pairs == 0)
        return COUNT_BYTES;
    bytes = skip_row(at + COUNT_BYTES, size_bytes - COUNT_BYTES, 2 * pairs, depth);
    return bytes == 0 ? 0 : COUNT_BYTES + bytes;
}

static size_t skip_sortable(const uint8_t *at, size_t size_bytes, uint32_t depth) {
    size_t bytes = 0;

    if (size_bytes == 0 || depth > VALUE_DEPTH_MAX)
        return 0;
    switch ((enum value_kind)(at[0] - 1)) {
    case VALUE_NIL:
    case VALUE_FALSE:
    case VALUE_TRUE:
        return 1;
    case VALUE_NUMBER:
        bytes = skip_number(at + 1, size_bytes - 1);
        break;
    case VALUE_STRING:
    case VALUE_BINARY:
        bytes = skip_bytes(at + 1, size_bytes - 1);
        break;
    case VALUE_EXT:
        bytes = size_bytes < 2 ? 0 : skip_bytes(at + 2, size_bytes - 2);
        bytes += bytes != 0;
        break;
    case VALUE_ARRAY:
        bytes = skip_row(at + 1, size_bytes - 1, UINT64_MAX, depth + 1);
        break;
    case VALUE_MAP:
        bytes = skip_map(at + 1, size_bytes - 1, depth + 1);
        break;
    }
    return bytes == 0 ? 0 : bytes + 1;
}

size_t key_sortable_skip(const uint8_t *at, size_t size_bytes) {
    return skip_sortable(at, size_bytes, 0);
}
