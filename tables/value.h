/* value.h -- MessagePack values, read and written in place.
 *
 * A `struct value` is a span over exactly one encoded value inside somebody
 * else's bytes: a frame, a record, a literal.  Nothing is decoded into a tree
 * and nothing is copied; a value is looked at where it lies.
 *
 * Bytes from outside (wire, disc, user) pass value_scan() first.  Every other
 * function trusts its span to hold one whole well-formed value.
 *
 * Order      One total order over all values (value_compare):
 *            nil < false < true < numbers < string < binary < array < map < ext.
 *            Numbers compare exactly by value, integers and floats together, also
 *            past 2^53; -0.0 equals 0; NaN (legal in a field, not in a key) sorts
 *            after all other numbers and equals itself.  Strings and binaries by
 *            bytes, the shorter first on a tie; arrays element by element, then
 *            the shorter first; maps by size, then sorted keys, then their
 *            values (a key that stands twice: as it stands); ext by type, then bytes.
 * Ownership  A value borrows; it lives as long as the bytes below it.
 * Threads    Pure functions.
 */
#ifndef TABLES_VALUE_H
#define TABLES_VALUE_H

#include "engine/base.h"
#include "engine/big_endian.h"

enum { VALUE_DEPTH_MAX = 64 }; /* nesting allowed anywhere in Engram */

enum value_kind { /* in the order of the total order */
                  VALUE_NIL,
                  VALUE_FALSE,
                  VALUE_TRUE,
                  VALUE_NUMBER,
                  VALUE_STRING,
                  VALUE_BINARY,
                  VALUE_ARRAY,
                  VALUE_MAP,
                  VALUE_EXT,
};

struct value {
    const uint8_t *at;
    uint32_t size_bytes;
};

/* ---- from outside ------------------------------------------------------ */

/* Check that `at` begins with one whole value and tell its size.
 * EG_AGAIN: a prefix of one, more bytes are needed.  EG_BAD_REQUEST: never a
 * value (0xc1).  EG_TOO_LARGE: nested deeper than VALUE_DEPTH_MAX.  Runs in
 * O(size) time and constant memory whatever the headers claim. */
EG_MUST_USE eg_err value_scan(const uint8_t *at, size_t size_bytes, size_t *used_bytes);

/* True where these bytes are one small integer or one string of less than 32 bytes: the usual
 * key, which needs no scan. */
static inline bool value_is_short(const uint8_t *at, size_t size_bytes) {
    return at != NULL && size_bytes > 0 &&
           ((at[0] & 0xe0) == 0xa0 ? size_bytes == 1u + (at[0] & 0x1f)
                                   : size_bytes == 1 && (at[0] < 0x80 || at[0] >= 0xe0));
}

/* The same for bytes that arrive in pieces: the scanner remembers where the next
 * header begins and looks at each only once. */
struct value_scanner {
    size_t next_bytes; /* after EG_OK: the value's size                */
    size_t max_bytes;
    uint32_t depth;
    uint32_t left[VALUE_DEPTH_MAX + 1]; /* values missing at each open level */
};
/* A value past `max_bytes` is refused at the header that says so. */
void value_scanner_init(struct value_scanner *s, size_t max_bytes);
/* Before the first call: the value is an array whose first `begun_bytes`, its header among them,
 * are known to be whole values, and `left` (>= 1) more follow. */
void value_scanner_enter(struct value_scanner *s, size_t begun_bytes, uint32_t left);
/* Look at what has come since the last call.  `at` is where the value begins,
 * `size_bytes` all of it that is there by now; it may lie elsewhere than before.
 * Errors as value_scan(), and EG_TOO_LARGE past max_bytes; only EG_AGAIN may be
 * followed by another call. */
EG_MUST_USE eg_err value_scanner_run(struct value_scanner *s, const uint8_t *at, size_t size_bytes);

/* ---- looking at a trusted value ----------------------------------------- */

enum value_kind value_kind_of(struct value v);
const uint8_t *value_skip(const uint8_t *at); /* the byte after the value that begins here */
struct value value_of(const uint8_t *at);     /* the value that begins here                */

bool value_is_integer(struct value v);                          /* encoded as int or uint */
bool value_is_float(struct value v);                            /* encoded as float       */
EG_MUST_USE bool value_get_i64(struct value v, int64_t *out);   /* false: no integer in range */
EG_MUST_USE bool value_get_u64(struct value v, uint64_t *out);  /* false: no integer in range */
EG_MUST_USE bool value_get_double(struct value v, double *out); /* any number, rounded       */
EG_MUST_USE bool value_get_bool(struct value v, bool *out);
/* The bytes of a string, binary or ext; false for other kinds. */
EG_MUST_USE bool value_get_bytes(struct value v, const uint8_t **at, uint32_t *size_bytes);
EG_MUST_USE bool value_get_ext_type(struct value v, int8_t *out);
/* True where v is the string `text`. */
bool value_is_string(struct value v, const char *text);

/* Elements of an array, or keys and values of a map in turn:
 *     struct value_iter it = value_iter_of(v);  // v is an array or a map
 *     while (value_iter_next(&it, &element)) ... */
struct value_iter {
    const uint8_t *at;
    uint32_t left; /* elements; a map counts both sides */
};
uint32_t value_count(struct value v); /* array: elements; map: pairs; else 0 */
struct value_iter value_iter_of(struct value v);
bool value_iter_next(struct value_iter *it, struct value *element);
/* The next one, an array, element by element, and not skipped first: when `in` has come to its
 * end, `it` goes on behind it.  False: it is none. */
bool value_iter_enter(const struct value_iter *it, struct value_iter *in);
void value_iter_leave(struct value_iter *it, const struct value_iter *in);
/* The next one as a number; false too where it is none, and then `it` means nothing.  A hundred of
 * them are read for one write to three copies, and almost all are of the two forms read here. */
bool value_iter_u64_any(struct value_iter *it, uint64_t *n);
static inline bool value_iter_u64(struct value_iter *it, uint64_t *n) {
    const uint8_t *at = it->at;

    if (it->left == 0 || (*at >= 0x80 && *at != 0xcf))
        return value_iter_u64_any(it, n);
    it->left--;
    if (*at < 0x80) {
        *n = *at;
        it->at++;
    } else {
        *n = load_be64(at + 1);
        it->at += 9;
    }
    return true;
}

int value_compare(struct value a, struct value b); /* <0, 0, >0 in the total order */
bool value_equal(struct value a, struct value b);  /* value_compare() == 0, faster  */
bool value_same(struct value a, struct value b);   /* the same bytes, or both none  */

/* ---- writing ------------------------------------------------------------ */

/* A writer never passes its end: what does not fit sets `overflow` and counts
 * on, so that `need_bytes` says how much room a second try needs. */
struct value_writer {
    uint8_t *at;
    uint8_t *end;
    size_t need_bytes;
    bool overflow;
};
/* A buffer of NULL and 0 bytes only counts. */
static inline struct value_writer value_writer_init(void *buffer, size_t size_bytes) {
    uint8_t *at = (uint8_t *) buffer;
    return (struct value_writer){.at = at, .end = size_bytes > 0 ? at + size_bytes : at};
}
void value_put_nil(struct value_writer *w);
void value_put_bool(struct value_writer *w, bool b);
void value_put_i64(struct value_writer *w, int64_t n); /* shortest form */
void value_put_u64(struct value_writer *w, uint64_t n);
void value_put_double(struct value_writer *w, double d);
void value_put_string(struct value_writer *w, const char *at, size_t size_bytes);
void value_put_text(struct value_writer *w, const char *text); /* a C string */
void value_put_binary(struct value_writer *w, const void *at, size_t size_bytes);
void value_put_ext(struct value_writer *w, int8_t type, const void *at, size_t size_bytes);
void value_put_array(struct value_writer *w, uint32_t count); /* header; elements follow */
void value_put_map(struct value_writer *w, uint32_t pairs);
void value_put_raw(struct value_writer *w, struct value v); /* copy as it is encoded */

#endif /* TABLES_VALUE_H */
