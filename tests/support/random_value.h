/* random_value.h -- random MessagePack, in every kind and every encoding.
 *
 * Few different values in many forms: 7 comes as a byte, as an int64, as 7.0, so
 * that equal keys meet in different clothes.
 */
#ifndef TESTS_SUPPORT_RANDOM_VALUE_H
#define TESTS_SUPPORT_RANDOM_VALUE_H

#include "tables/value.h"
#include "tests/support/rng.h"

#include <string.h>

static inline void random_bytes_be(struct value_writer *w, uint8_t lead, uint64_t n, int width) {
    uint8_t bytes[9] = {lead};
    for (int i = 0; i < width; i++)
        bytes[1 + i] = (uint8_t) (n >> 8 * (width - 1 - i));
    value_put_raw(w, (struct value){bytes, (uint32_t) width + 1});
}

/* The integer n in one of the encodings that can hold it. */
static inline void random_encoding_of(struct value_writer *w, struct rng *rng, uint8_t n) {
    switch (rng_below(rng, 7)) {
    case 0:
        random_bytes_be(w, 0xcc, n, 1); /* uint8 */
        return;
    case 1:
        random_bytes_be(w, 0xcd, n, 2); /* uint16 */
        return;
    case 2:
        random_bytes_be(w, 0xd3, n, 8); /* int64 */
        return;
    case 3:
        value_put_double(w, n);
        return;
    default:
        value_put_u64(w, n);
        return;
    }
}

/* A string or binary of `n`, mostly short. */
static inline void random_text(struct value_writer *w, struct rng *rng, uint64_t n) {
    char text[400];
    size_t size = 4 + (rng_below(rng, 100) < 95 ? n % 20 : n % 300);

    memset(text, 'k', sizeof text);
    memcpy(text, &n, sizeof n < size ? sizeof n : size);
    if (n % 5 == 0)
        value_put_binary(w, text, size);
    else
        value_put_string(w, text, size);
}

/* One of about `variety` different values. */
static inline void random_value(struct value_writer *w, struct rng *rng, uint64_t variety,
                                int depth) {
    uint64_t n = rng_below(rng, variety);
    uint32_t count = (uint32_t) rng_below(rng, 4);

    switch (rng_below(rng, depth > 0 ? 20 : 18)) {
    case 0:
        value_put_nil(w);
        return;
    case 1:
        value_put_bool(w, n % 2 == 0);
        return;
    case 2:
        value_put_double(w, (double) n + 0.5);
        return;
    case 3:
        value_put_i64(w, -(int64_t) n);
        return;
    case 4:
    case 5:
    case 6:
        value_put_u64(w, n << n % 40);
        return;
    case 7:
    case 8:
    case 9:
    case 10:
        random_encoding_of(w, rng, (uint8_t) n);
        return;
    case 18:
        value_put_array(w, count);
        while (count-- > 0)
            random_value(w, rng, 3, depth - 1);
        return;
    case 19:
        count = count > 1 ? 1 : count; /* of several, two keys might be equal */
        value_put_map(w, count);
        while (count-- > 0) {
            random_value(w, rng, 3, depth - 1);
            random_value(w, rng, 3, depth - 1);
        }
        return;
    default:
        random_text(w, rng, n);
        return;
    }
}

#endif /* TESTS_SUPPORT_RANDOM_VALUE_H */
