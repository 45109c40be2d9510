/* value.c -- MessagePack read in place: scan, skip, look.
 *
 * The scanner is the only function that meets bytes nobody has checked.  It
 * keeps how many values are still missing at each open level, so it never
 * recurses, and it remembers where the next header begins, so bytes that come
 * in pieces are looked at once:
 *
 *     93 01 92 a1 78 ...        left[0] 1   the value itself
 *     `- array of 3             left[1] 2   01 is done
 *           `- array of 2       left[2] 1   "x" is done; next_bytes -> ...
 */
#include "tables/value_private.h"

#include <math.h>
#include <string.h>

#define TIMES4(x)   x, x, x, x
#define TIMES16(x)  TIMES4(x), TIMES4(x), TIMES4(x), TIMES4(x)
#define TIMES32(x)  TIMES16(x), TIMES16(x)
#define TIMES128(x) TIMES32(x), TIMES32(x), TIMES32(x), TIMES32(x)

/* clang-format off */
const uint8_t value_leads[256] = {
    TIMES128(1),                                            /* 00 small integers   */
    TIMES16(LEAD_MAP4), TIMES16(LEAD_ARRAY4),               /* 80, 90              */
    1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, /* a0 strings   */
    17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32,
    1, LEAD_NEVER, 1, 1,                                    /* c0 nil, -, booleans */
    LEAD_LEN8, LEAD_LEN16, LEAD_LEN32,                      /* c4 binaries         */
    LEAD_EXT8, LEAD_EXT16, LEAD_EXT32,                      /* c7 exts             */
    5, 9,                                                   /* ca floats           */
    2, 3, 5, 9,                                             /* cc unsigned         */
    2, 3, 5, 9,                                             /* d0 signed           */
    3, 4, 6, 10, 18,                                        /* d4 exts of 1 to 16  */
    LEAD_LEN8, LEAD_LEN16, LEAD_LEN32,                      /* d9 strings          */
    LEAD_ARRAY16, LEAD_ARRAY32, LEAD_MAP16, LEAD_MAP32,     /* dc                  */
    TIMES32(1),                                             /* e0 small negatives  */
};

const uint8_t value_kinds[256] = {
    TIMES128(VALUE_NUMBER),
    TIMES16(VALUE_MAP), TIMES16(VALUE_ARRAY),
    TIMES32(VALUE_STRING),
    VALUE_NIL, VALUE_NIL /* 0xc1 is never a value */, VALUE_FALSE, VALUE_TRUE,
    VALUE_BINARY, VALUE_BINARY, VALUE_BINARY,
    VALUE_EXT, VALUE_EXT, VALUE_EXT,
    VALUE_NUMBER, VALUE_NUMBER,
    TIMES4(VALUE_NUMBER), TIMES4(VALUE_NUMBER),
    VALUE_EXT, TIMES4(VALUE_EXT),
    VALUE_STRING, VALUE_STRING, VALUE_STRING,
    VALUE_ARRAY, VALUE_ARRAY, VALUE_MAP, VALUE_MAP,
    TIMES32(VALUE_NUMBER),
};
/* clang-format on */

/* ---- from outside ------------------------------------------------------ */

void value_scanner_init(struct value_scanner *s, size_t max_bytes) {
    s->next_bytes = 0;
    s->max_bytes = EG_MIN(max_bytes, UINT32_MAX);
    s->depth = 0;
    s->left[0] = 1; /* the levels above are written before they are read */
}

void value_scanner_enter(struct value_scanner *s, size_t begun_bytes, uint32_t left) {
    EG_ASSERT(s->next_bytes == 0 && left > 0);
    s->next_bytes = begun_bytes;
    s->depth = 1;
    s->left[1] = left;
}

eg_err value_scanner_run(struct value_scanner *s, const uint8_t *at, size_t size_bytes) {
    size_t limit_bytes = EG_MIN(size_bytes, s->max_bytes);
    size_t next_bytes = s->next_bytes;
    uint32_t depth = s->depth;
    uint32_t left = s->left[depth];
    eg_err err = EG_AGAIN;

    while (left > 0 && next_bytes < limit_bytes) {
        uint8_t lead = value_leads[at[next_bytes]];
        struct value_head head;

        if (EG_LIKELY(lead < LEAD_NEVER)) {
            next_bytes += lead;
            if (EG_LIKELY(left > 1)) {
                left--;
                continue;
            }
        } else if (EG_LIKELY(lead == LEAD_ARRAY4)) {
            head.children = at[next_bytes] & 0x0f;
            next_bytes++;
        } else {
            err = head_read(at + next_bytes, limit_bytes - next_bytes, &head);
            if (err != EG_OK)
                break;
            next_bytes += head.own_bytes;
            err = EG_AGAIN;
        }
        if (lead >= LEAD_CONTAINER) {
            if (depth == VALUE_DEPTH_MAX || next_bytes + head.children > s->max_bytes) {
                err = EG_TOO_LARGE; /* each child takes a byte at least */
                break;
            }
            if (head.children > 0) {
                s->left[depth++] = left;
                left = head.children;
                continue;
            }
        }
        while (--left == 0 && depth > 0)
            left = s->left[--depth];
    }
    s->next_bytes = next_bytes;
    s->depth = depth;
    s->left[depth] = left;
    if (err != EG_AGAIN)
        return err;
    if (left == 0 && next_bytes <= limit_bytes)
        return EG_OK;
    return next_bytes > s->max_bytes || size_bytes >= s->max_bytes ? EG_TOO_LARGE : EG_AGAIN;
}

/* The size of a value whose first byte says it, or of a short array of such, as most records are;
 * 0: another one, or cut. */
static inline size_t plain_size(const uint8_t *at, size_t size_bytes) {
    bool array = size_bytes != 0 && value_leads[at[0]] == LEAD_ARRAY4;
    uint32_t left = array ? at[0] & 0x0f : 1;
    size_t used_bytes = array;

    for (; left > 0 && used_bytes < size_bytes; left--) {
        uint8_t lead = value_leads[at[used_bytes]];

        if (lead >= LEAD_NEVER)
            return 0;
        used_bytes += lead;
    }
    return left == 0 && used_bytes <= size_bytes ? used_bytes : 0;
}

eg_err value_scan(const uint8_t *at, size_t size_bytes, size_t *used_bytes) {
    struct value_scanner s;
    eg_err err;

    *used_bytes = plain_size(at, size_bytes);
    if (EG_LIKELY(*used_bytes != 0))
        return EG_OK;
    value_scanner_init(&s, UINT32_MAX);
    err = value_scanner_run(&s, at, size_bytes);
    if (err == EG_OK)
        *used_bytes = s.next_bytes;
    return err;
}

/* ---- looking at a trusted value ----------------------------------------- */

enum value_kind value_kind_of(struct value v) {
    return (enum value_kind) value_kinds[v.at[0]];
}

const uint8_t *value_skip(const uint8_t *at) {
    uint64_t missing = 1;

    do {
        uint8_t lead = value_leads[*at];
        struct value_head head;

        if (EG_LIKELY(lead < LEAD_NEVER)) {
            at += lead;
            continue;
        }
        head = head_of(at);
        at += head.own_bytes;
        missing += head.children;
    } while (--missing > 0);
    return at;
}

struct value value_of(const uint8_t *at) {
    return (struct value){at, (uint32_t) (value_skip(at) - at)};
}

struct value_number value_number_of(const uint8_t *at) {
    struct value_number n = {.form = NUMBER_UNSIGNED};
    uint32_t bits32;
    uint64_t bits64;
    float f;

    switch (at[0]) {
    case 0xca:
        bits32 = load_be32(at + 1);
        memcpy(&f, &bits32, sizeof f);
        n.form = NUMBER_FLOAT;
        n.d = (double) f;
        return n;
    case 0xcb:
        bits64 = load_be64(at + 1);
        n.form = NUMBER_FLOAT;
        memcpy(&n.d, &bits64, sizeof n.d);
        return n;
    case 0xcc:
        n.u = at[1];
        return n;
    case 0xcd:
        n.u = load_be16(at + 1);
        return n;
    case 0xce:
        n.u = load_be32(at + 1);
        return n;
    case 0xcf:
        n.u = load_be64(at + 1);
        return n;
    case 0xd0:
        n.i = (int8_t) at[1];
        break;
    case 0xd1:
        n.i = (int16_t) load_be16(at + 1);
        break;
    case 0xd2:
        n.i = (int32_t) load_be32(at + 1);
        break;
    case 0xd3:
        n.i = (int64_t) load_be64(at + 1);
        break;
    default: /* one byte: 00..7f and e0..ff */
        n.i = (int8_t) at[0];
        break;
    }
    if (n.i < 0)
        n.form = NUMBER_NEGATIVE; /* else u and i are the same bits */
    return n;
}

struct value_number value_number_canonical(struct value_number n) {
    double d = n.d;

    if (n.form != NUMBER_FLOAT)
        return n;
    if (isnan(d))
        return (struct value_number){.form = NUMBER_FLOAT, .d = (double) NAN};
    if (d >= 0 && d < 0x1p64 && (double) (uint64_t) d == d)
        return (struct value_number){.form = NUMBER_UNSIGNED, .u = (uint64_t) d};
    if (d < 0 && d >= -0x1p63 && (double) (int64_t) d == d)
        return (struct value_number){.form = NUMBER_NEGATIVE, .i = (int64_t) d};
    return n;
}

bool value_is_float(struct value v) {
    return v.at[0] == 0xca || v.at[0] == 0xcb;
}

bool value_is_integer(struct value v) {
    return value_kind_of(v) == VALUE_NUMBER && !value_is_float(v);
}

bool value_get_i64(struct value v, int64_t *out) {
    struct value_number n;

    if (!value_is_integer(v))
        return false;
    n = value_number_of(v.at);
    if (n.form == NUMBER_UNSIGNED && n.u > INT64_MAX)
        return false;
    *out = n.i;
    return true;
}

bool value_get_u64(struct value v, uint64_t *out) {
    struct value_number n;

    if (!value_is_integer(v))
        return false;
    n = value_number_of(v.at);
    if (n.form != NUMBER_UNSIGNED)
        return false;
    *out = n.u;
    return true;
}

bool value_get_double(struct value v, double *out) {
    struct value_number n;

    if (value_kind_of(v) != VALUE_NUMBER)
        return false;
    n = value_number_of(v.at);
    *out = n.form == NUMBER_FLOAT ? n.d : n.form == NUMBER_UNSIGNED ? (double) n.u : (double) n.i;
    return true;
}

bool value_get_bool(struct value v, bool *out) {
    *out = v.at[0] == 0xc3;
    return v.at[0] == 0xc2 || v.at[0] == 0xc3;
}

const uint8_t *value_long_bytes_of(const uint8_t *at, uint32_t *size_bytes) {
    switch (value_leads[at[0]]) {
    case LEAD_LEN8:
        *size_bytes = at[1];
        return at + 2;
    case LEAD_LEN16:
        *size_bytes = load_be16(at + 1);
        return at + 3;
    case LEAD_LEN32:
        *size_bytes = load_be32(at + 1);
        return at + 5;
    case LEAD_EXT8:
        *size_bytes = at[1];
        return at + 3;
    case LEAD_EXT16:
        *size_bytes = load_be16(at + 1);
        return at + 4;
    case LEAD_EXT32:
        *size_bytes = load_be32(at + 1);
        return at + 6;
    default:
        *size_bytes = UINT32_C(1) << (at[0] - 0xd4); /* d4..d8: exts of 1, 2, 4, 8, 16 */
        return at + 2;
    }
}

int8_t value_ext_type_of(const uint8_t *at) {
    uint32_t size_bytes;
    return (int8_t) value_bytes_of(at, &size_bytes)[-1];
}

bool value_get_bytes(struct value v, const uint8_t **at, uint32_t *size_bytes) {
    enum value_kind kind = value_kind_of(v);

    if (kind != VALUE_STRING && kind != VALUE_BINARY && kind != VALUE_EXT)
        return false;
    *at = value_bytes_of(v.at, size_bytes);
    return true;
}

bool value_get_ext_type(struct value v, int8_t *out) {
    if (value_kind_of(v) != VALUE_EXT)
        return false;
    *out = value_ext_type_of(v.at);
    return true;
}

bool value_is_string(struct value v, const char *text) {
    uint32_t size_bytes;
    const uint8_t *at;

    if (value_kind_of(v) != VALUE_STRING)
        return false;
    at = value_bytes_of(v.at, &size_bytes);
    return strlen(text) == size_bytes && memcmp(at, text, size_bytes) == 0;
}

uint32_t value_count(struct value v) {
    enum value_kind kind = value_kind_of(v);

    if (kind == VALUE_ARRAY)
        return head_of(v.at).children;
    if (kind == VALUE_MAP)
        return head_of(v.at).children / 2;
    return 0;
}

struct value_iter value_iter_of(struct value v) {
    struct value_head head = head_of(v.at);

    EG_ASSERT(head.container);
    return (struct value_iter){v.at + head.own_bytes, head.children};
}

bool value_iter_enter(const struct value_iter *it, struct value_iter *in) {
    struct value_head head;

    if (it->left == 0 || value_kinds[*it->at] != VALUE_ARRAY)
        return false;
    head = head_of(it->at);
    *in = (struct value_iter){it->at + head.own_bytes, head.children};
    return true;
}

void value_iter_leave(struct value_iter *it, const struct value_iter *in) {
    EG_ASSERT(in->left == 0);
    it->at = in->at;
    it->left--;
}

bool value_iter_u64_any(struct value_iter *it, uint64_t *n) {
    struct value v;

    if (!value_iter_next(it, &v))
        return false;
    switch (v.at[0]) {
    case 0xcc:
        *n = v.at[1];
        return true;
    case 0xcd:
        *n = load_be16(v.at + 1);
        return true;
    case 0xce:
        *n = load_be32(v.at + 1);
        return true;
    default:
        return value_get_u64(v, n);
    }
}

bool value_iter_next(struct value_iter *it, struct value *element) {
    if (it->left == 0)
        return false;
    *element = value_of(it->at);
    it->at += element->size_bytes;
    it->left--;
    return true;
}
