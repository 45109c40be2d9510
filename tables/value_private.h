/* value_private.h -- how one MessagePack header is read, for tables/ only.
 *
 * A table maps the first byte of a value to what follows it: for most values
 * their whole size, for the rest the shape of their header.  The scanner, the
 * skipper and the comparison all read headers through head_read().
 */
#ifndef TABLES_VALUE_PRIVATE_H
#define TABLES_VALUE_PRIVATE_H

#include "engine/big_endian.h"
#include "engine/buffer.h"
#include "tables/value.h"

/* What the first byte says.  Below LEAD_NEVER: the whole size of the value. */
enum value_lead {
    LEAD_NEVER = 0x80, /* 0xc1                                               */
    LEAD_LEN8,         /* string or binary behind 1, 2 or 4 length bytes     */
    LEAD_LEN16,
    LEAD_LEN32,
    LEAD_EXT8, /* the same with a type byte between length and bytes */
    LEAD_EXT16,
    LEAD_EXT32,
    LEAD_CONTAINER, /* from here on: others follow inside it */
    LEAD_ARRAY4 = LEAD_CONTAINER,
    LEAD_ARRAY16,
    LEAD_ARRAY32,
    LEAD_MAP4,
    LEAD_MAP16,
    LEAD_MAP32,
};

/* Both tables are indexed by the first byte. */
extern const uint8_t value_leads[256];
extern const uint8_t value_kinds[256]; /* enum value_kind */

struct value_head {
    uint64_t own_bytes; /* header and bytes of its own; children follow */
    uint32_t children;  /* values inside; a map counts both sides       */
    bool container;
};

/* Read the header at `at`, of which `have_bytes` (>= 1) are there.
 * EG_AGAIN: it is cut.  EG_BAD_REQUEST: 0xc1.  EG_TOO_LARGE: a map whose count
 * alone means more bytes than a span can hold.  With have_bytes SIZE_MAX, for
 * trusted bytes, the compiler drops the checks. */
static inline eg_err head_read(const uint8_t *at, size_t have_bytes, struct value_head *h) {
    uint8_t lead = value_leads[at[0]];
    uint32_t pairs;

    *h = (struct value_head){.own_bytes = lead};
    if (EG_LIKELY(lead < LEAD_NEVER))
        return EG_OK;
    h->container = lead >= LEAD_CONTAINER;
    switch (lead) {
    case LEAD_ARRAY4:
        h->own_bytes = 1;
        h->children = at[0] & 0x0f;
        return EG_OK;
    case LEAD_MAP4:
        h->own_bytes = 1;
        h->children = 2 * (uint32_t) (at[0] & 0x0f);
        return EG_OK;
    case LEAD_LEN8:
        if (have_bytes < 2)
            return EG_AGAIN;
        h->own_bytes = 2 + (uint64_t) at[1];
        return EG_OK;
    case LEAD_EXT8:
        if (have_bytes < 2)
            return EG_AGAIN;
        h->own_bytes = 3 + (uint64_t) at[1];
        return EG_OK;
    case LEAD_LEN16:
    case LEAD_EXT16:
        if (have_bytes < 3)
            return EG_AGAIN;
        h->own_bytes = (lead == LEAD_EXT16 ? 4u : 3u) + (uint64_t) load_be16(at + 1);
        return EG_OK;
    case LEAD_ARRAY16:
    case LEAD_MAP16:
        if (have_bytes < 3)
            return EG_AGAIN;
        h->own_bytes = 3;
        h->children = load_be16(at + 1) << (lead == LEAD_MAP16);
        return EG_OK;
    case LEAD_LEN32:
    case LEAD_EXT32:
        if (have_bytes < 5)
            return EG_AGAIN;
        h->own_bytes = (lead == LEAD_EXT32 ? 6u : 5u) + (uint64_t) load_be32(at + 1);
        return EG_OK;
    case LEAD_ARRAY32:
        if (have_bytes < 5)
            return EG_AGAIN;
        h->own_bytes = 5;
        h->children = load_be32(at + 1);
        return EG_OK;
    case LEAD_MAP32:
        if (have_bytes < 5)
            return EG_AGAIN;
        pairs = load_be32(at + 1);
        if (pairs > INT32_MAX)
            return EG_TOO_LARGE;
        h->own_bytes = 5;
        h->children = 2 * pairs;
        return EG_OK;
    default:
        return EG_BAD_REQUEST;
    }
}

/* The header of a trusted value: a short array's, mostly. */
static inline struct value_head head_of(const uint8_t *at) {
    struct value_head h = {1, at[0] & 0x0fu, true};
    eg_err err;

    if (EG_LIKELY((at[0] & 0xf0) == 0x90))
        return h;
    err = head_read(at, SIZE_MAX, &h);
    EG_ASSERT(err == EG_OK);
    return h;
}

/* A number as it was encoded, none of its digits lost. */
struct value_number {
    enum { NUMBER_UNSIGNED, NUMBER_NEGATIVE, NUMBER_FLOAT } form;
    union {
        uint64_t u; /* NUMBER_UNSIGNED: >= 0          */
        int64_t i;  /* NUMBER_NEGATIVE: < 0           */
        double d;   /* NUMBER_FLOAT                   */
    };
};
struct value_number value_number_of(const uint8_t *at);

/* The same number in its one form: an integer wherever it is one that 64 bits
 * can hold, else a float; all NaNs are one. */
struct value_number value_number_canonical(struct value_number n);

/* The bytes of the string, binary or ext that begins at `at`. */
const uint8_t *value_long_bytes_of(const uint8_t *at, uint32_t *size_bytes);
static inline const uint8_t *value_bytes_of(const uint8_t *at, uint32_t *size_bytes) {
    if (EG_LIKELY((at[0] & 0xe0) == 0xa0)) { /* a string of less than 32 bytes */
        *size_bytes = at[0] & 0x1f;
        return at + 1;
    }
    return value_long_bytes_of(at, size_bytes);
}
int8_t value_ext_type_of(const uint8_t *at);

/* Headers alone; the caller writes as many bytes behind them. */
void value_put_string_head(struct value_writer *w, size_t size_bytes);
void value_put_binary_head(struct value_writer *w, size_t size_bytes);
void value_put_ext_head(struct value_writer *w, int8_t type, size_t size_bytes);

/* ---- maps, canonical form, order ---------------------------------------- */

/* Pairs of a map in the order of their keys; equal keys as they lie.  Where the
 * map is canonical that is as it lies.  Else each step searches, in O(pairs) and
 * without memory: canonicalise first where there is any. */
struct map_walk {
    const uint8_t *map;
    uint32_t pairs;
    uint32_t at;       /* how many were handed out  */
    uint32_t previous; /* offset of the last        */
    bool canonical;
};
struct map_walk map_walk_of(const uint8_t *map, bool canonical);
/* The next key, behind which its value begins; NULL at the end. */
const uint8_t *map_walk_next(struct map_walk *w);

/* The canonical form of any value: what key.h says of keys, and all NaNs as one.
 * Takes O(size log size) for each level of nesting. */
struct canon {
    struct buffer bytes;   /* the canonical form; bounded                        */
    struct buffer places;  /* offsets of the pairs of all open maps: a stack     */
    struct buffer scratch; /* a map's pairs while they change places             */
    bool saw_nan;
};
void canon_init(struct canon *c, struct alloc *a, size_t bound_bytes);
void canon_fini(struct canon *c);
/* Append that of the value at `at`; returns what follows it, or NULL: no memory,
 * or past the bound. */
const uint8_t *canon_put(struct canon *c, const uint8_t *at);

/* One value's own part of it: a new header, and the bytes that stay. */
struct canon_head {
    uint8_t at[9];
    uint32_t size_bytes;
    const uint8_t *bytes;
    uint32_t bytes_bytes;
    bool nan;
};
struct canon_head canon_head_of(const uint8_t *at);

/* Compare what begins at *a and *b.  Where equal (0), both are moved behind.
 * `canonical` promises that both are, and then no memory is needed. */
int value_compare_at(const uint8_t **a, const uint8_t **b, bool canonical);

#endif /* TABLES_VALUE_PRIVATE_H */
