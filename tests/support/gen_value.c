/* gen_value.c -- random values, byte by byte: nothing here trusts the writer. */
#include "tests/support/gen_value.h"

#include <math.h>
#include <string.h>

static void put_be(struct value_writer *w, uint8_t lead, uint64_t n, int width) {
    uint8_t bytes[9] = {lead};

    for (int i = 0; i < width; i++)
        bytes[1 + i] = (uint8_t) (n >> (8 * (width - 1 - i)));
    value_put_raw(w, (struct value){bytes, (uint32_t) (1 + width)});
}

/* A width of 1, 2, 4 or 8 bytes that is at least `least`. */
static int any_width(struct rng *r, int least, int most) {
    int width;

    do
        width = 1 << rng_below(r, 4);
    while (width < least || width > most);
    return width;
}

static int log2_of(int width) {
    return width == 1 ? 0 : width == 2 ? 1 : width == 4 ? 2 : 3;
}

static void put_unsigned(struct rng *r, struct value_writer *w, uint64_t n) {
    int least = n <= UINT8_MAX ? 1 : n <= UINT16_MAX ? 2 : n <= UINT32_MAX ? 4 : 8;
    int width = any_width(r, least, 8);
    bool fits_signed = width == 8 ? n <= INT64_MAX : n < UINT64_C(1) << (8 * width - 1);

    if (n < 0x80 && rng_one_in(r, 2))
        put_be(w, (uint8_t) n, 0, 0);
    else if (fits_signed && rng_one_in(r, 2))
        put_be(w, (uint8_t) (0xd0 + log2_of(width)), n, width);
    else
        put_be(w, (uint8_t) (0xcc + log2_of(width)), n, width);
}

static void put_negative(struct rng *r, struct value_writer *w, int64_t n) {
    int least = n >= INT8_MIN ? 1 : n >= INT16_MIN ? 2 : n >= INT32_MIN ? 4 : 8;
    int width = any_width(r, least, 8);

    if (n >= -32 && rng_one_in(r, 2))
        put_be(w, (uint8_t) n, 0, 0);
    else
        put_be(w, (uint8_t) (0xd0 + log2_of(width)), (uint64_t) n, width);
}

static void put_float(struct rng *r, struct value_writer *w, double d) {
    float f = (float) d;
    uint32_t bits32;
    uint64_t bits64;

    memcpy(&bits32, &f, sizeof bits32);
    memcpy(&bits64, &d, sizeof bits64);
    if ((isnan(d) || (double) f == d) && rng_one_in(r, 2))
        put_be(w, 0xca, bits32, 4);
    else
        put_be(w, 0xcb, bits64, 8);
}

/* Numbers where something changes: widths, signs, 2^53, 2^63, 2^64. */
static void gen_number(struct rng *r, struct value_writer *w) {
    static const double floats[] = {0.0,     -0.0,    0.5,      -0.5,   1.5,       0.1,
                                    0x1p53,  0x1p63,  -0x1p63,  0x1p64, 0x1p-1074, 0x1p-1022,
                                    -0x1p64, 1.7e308, -1.7e308, 1e15,   127.0,     -33.0};
    uint64_t edge = UINT64_C(1) << rng_below(r, 64);
    uint64_t near = edge + rng_below(r, 5) - 2;

    switch (rng_below(r, 8)) {
    case 0:
    case 1:
        put_unsigned(r, w, rng_below(r, 4));
        break;
    case 2:
        put_negative(r, w, -1 - (int64_t) rng_below(r, 40));
        break;
    case 3:
        put_unsigned(r, w, near);
        break;
    case 4:
        if ((int64_t) near < 0)
            put_negative(r, w, (int64_t) near);
        else
            put_negative(r, w, -(int64_t) (near == 0 ? 1 : near));
        break;
    case 5:
        put_float(r, w, (rng_one_in(r, 2) ? 1.0 : -1.0) * (double) near);
        break;
    case 6:
        put_float(r, w, floats[rng_below(r, EG_COUNTOF(floats))]);
        break;
    default:
        put_float(r, w, rng_one_in(r, 3) ? (double) NAN : rng_one_in(r, 2) ? HUGE_VAL : -HUGE_VAL);
    }
}

static void put_bytes(struct rng *r, struct value_writer *w, enum value_kind kind,
                      const uint8_t *at, uint32_t size_bytes) {
    int width = any_width(r, size_bytes <= UINT8_MAX ? 1 : size_bytes <= UINT16_MAX ? 2 : 4, 4);

    if (kind == VALUE_STRING && size_bytes < 32 && rng_one_in(r, 2))
        put_be(w, (uint8_t) (0xa0 + size_bytes), 0, 0);
    else
        put_be(w, (uint8_t) ((kind == VALUE_STRING ? 0xd9 : 0xc4) + log2_of(width)), size_bytes,
               width);
    value_put_raw(w, (struct value){at, size_bytes});
}

static void put_ext(struct rng *r, struct value_writer *w, int8_t type, const uint8_t *at,
                    uint32_t size_bytes) {
    int width = any_width(r, size_bytes <= UINT8_MAX ? 1 : size_bytes <= UINT16_MAX ? 2 : 4, 4);

    if (rng_one_in(r, 2)) {
        value_put_ext(w, type, at, size_bytes);
        return;
    }
    put_be(w, (uint8_t) (0xc7 + log2_of(width)), size_bytes, width);
    put_be(w, (uint8_t) type, 0, 0);
    value_put_raw(w, (struct value){at, size_bytes});
}

static void put_container(struct rng *r, struct value_writer *w, bool map, uint32_t count) {
    uint64_t form = rng_below(r, 3);

    if (count < 16 && form == 0)
        put_be(w, (uint8_t) ((map ? 0x80 : 0x90) + count), 0, 0);
    else if (form == 1)
        put_be(w, map ? 0xde : 0xdc, count, 2);
    else
        put_be(w, map ? 0xdf : 0xdd, count, 4);
}

static uint32_t gen_bytes(struct rng *r, uint8_t bytes[40]) {
    static const uint8_t alphabet[] = {0x00, 0x00, 0x01, 'a', 0xff, 0xfe};
    uint32_t size_bytes = (uint32_t) rng_below(r, rng_one_in(r, 8) ? 40 : 5);

    for (uint32_t i = 0; i < size_bytes; i++)
        bytes[i] = alphabet[rng_below(r, sizeof alphabet)];
    return size_bytes;
}

void gen_value(struct rng *r, struct value_writer *w, unsigned depth) {
    uint32_t count = (uint32_t) rng_below(r, 4);
    uint8_t bytes[40];
    uint32_t size_bytes = gen_bytes(r, bytes);

    switch (rng_below(r, depth > 0 ? 14 : 9)) {
    case 0:
        put_be(w, 0xc0, 0, 0);
        break;
    case 1:
        value_put_bool(w, rng_one_in(r, 2));
        break;
    case 2:
    case 3:
    case 4:
        gen_number(r, w);
        break;
    case 5:
    case 6:
        put_bytes(r, w, VALUE_STRING, bytes, size_bytes);
        break;
    case 7:
        put_bytes(r, w, VALUE_BINARY, bytes, size_bytes);
        break;
    case 8:
        put_ext(r, w, (int8_t) (rng_below(r, 4) - 2), bytes, size_bytes);
        break;
    case 9:
    case 10:
    case 11:
        put_container(r, w, false, count);
        for (uint32_t i = 0; i < count; i++)
            gen_value(r, w, depth - 1);
        break;
    default:
        put_container(r, w, true, count);
        for (uint32_t i = 0; i < 2 * count; i++)
            gen_value(r, w, depth - 1);
    }
}

struct value gen_value_in(struct rng *r, uint8_t *buffer, unsigned depth) {
    struct value_writer w = value_writer_init(buffer, GEN_VALUE_BYTES);

    gen_value(r, &w, depth);
    EG_ASSERT(!w.overflow);
    return (struct value){buffer, (uint32_t) w.need_bytes};
}

static void reencode_number(struct rng *r, struct value_writer *w, struct value v) {
    double d;
    uint64_t u;
    int64_t i;

    EG_ASSERT(value_get_double(v, &d));
    if (value_is_float(v)) {
        if (d >= 0 && d < 0x1p64 && d == floor(d) && rng_one_in(r, 2))
            put_unsigned(r, w, (uint64_t) d);
        else if (d < 0 && d >= -0x1p63 && d == floor(d) && rng_one_in(r, 2))
            put_negative(r, w, (int64_t) d);
        else
            put_float(r, w, d);
    } else if (value_get_u64(v, &u)) {
        if (d < 0x1p64 && (uint64_t) d == u && rng_one_in(r, 2))
            put_float(r, w, d);
        else
            put_unsigned(r, w, u);
    } else {
        EG_ASSERT(value_get_i64(v, &i));
        if ((int64_t) d == i && rng_one_in(r, 2))
            put_float(r, w, d);
        else
            put_negative(r, w, i);
    }
}

/* Some key stands twice: then the order of its pairs is part of the value. */
static bool has_equal_keys(struct value map) {
    struct value_iter it = value_iter_of(map);
    struct value key;
    struct value other;

    while (value_iter_next(&it, &key)) {
        struct value_iter rest = it;
        rest.at = value_skip(rest.at); /* the key's own value */
        for (rest.left--; value_iter_next(&rest, &other); rest.left--) {
            if (value_equal(key, other))
                return true;
            rest.at = value_skip(rest.at);
        }
        it.at = value_skip(it.at);
        it.left--;
    }
    return false;
}

/* From a random pair on, and round: every order's first step. */
static void reencode_map(struct rng *r, struct value_writer *w, struct value v) {
    uint32_t pairs = value_count(v);
    uint32_t skip = pairs == 0 || has_equal_keys(v) ? 0 : (uint32_t) rng_below(r, pairs);

    put_container(r, w, true, pairs);
    for (int lap = 0; lap < 2; lap++) {
        struct value_iter it = value_iter_of(v);
        struct value element;
        for (uint32_t i = 0; value_iter_next(&it, &element); i++)
            if ((i / 2 >= skip) == (lap == 0))
                gen_reencoded(r, w, element);
    }
}

void gen_reencoded(struct rng *r, struct value_writer *w, struct value v) {
    enum value_kind kind = value_kind_of(v);
    const uint8_t *at = NULL;
    uint32_t size_bytes = 0;
    struct value_iter it;
    struct value element;
    int8_t type;

    switch (kind) {
    case VALUE_NUMBER:
        reencode_number(r, w, v);
        break;
    case VALUE_STRING:
    case VALUE_BINARY:
        EG_ASSERT(value_get_bytes(v, &at, &size_bytes));
        put_bytes(r, w, kind, at, size_bytes);
        break;
    case VALUE_EXT:
        EG_ASSERT(value_get_bytes(v, &at, &size_bytes));
        EG_ASSERT(value_get_ext_type(v, &type));
        put_ext(r, w, type, at, size_bytes);
        break;
    case VALUE_ARRAY:
        put_container(r, w, false, value_count(v));
        it = value_iter_of(v);
        while (value_iter_next(&it, &element))
            gen_reencoded(r, w, element);
        break;
    case VALUE_MAP:
        reencode_map(r, w, v);
        break;
    default:
        value_put_raw(w, v);
    }
}

bool gen_has_nan(struct value v) {
    enum value_kind kind = value_kind_of(v);
    double d;

    if (kind == VALUE_NUMBER)
        return value_get_double(v, &d) && isnan(d);
    if (kind == VALUE_ARRAY || kind == VALUE_MAP) {
        struct value_iter it = value_iter_of(v);
        struct value element;
        while (value_iter_next(&it, &element))
            if (gen_has_nan(element))
                return true;
    }
    return false;
}

const char *gen_hex(struct value v, char *text, size_t size_bytes) {
    size_t used = 0;

    text[0] = '\0';
    for (uint32_t i = 0; i < v.size_bytes && used + 4 < size_bytes; i++)
        used += (size_t) snprintf(text + used, size_bytes - used, "%02x ", v.at[i]);
    return text;
}
