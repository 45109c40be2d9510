/* gen_value.h -- random MessagePack values, from small domains so that they meet.
 *
 * Every encoding of a value is drawn, not only the shortest; numbers crowd around
 * the edges where encodings and exactness change; strings hold zero bytes.
 */
#ifndef TESTS_SUPPORT_GEN_VALUE_H
#define TESTS_SUPPORT_GEN_VALUE_H

#include "tables/value.h"
#include "tests/support/rng.h"

enum {
    GEN_DEPTH = 3,         /* a usual nesting for gen_value       */
    GEN_VALUE_BYTES = 4096 /* room that a value of GEN_DEPTH fits */
};

/* Append a random value nested at most `depth` levels. */
void gen_value(struct rng *r, struct value_writer *w, unsigned depth);

/* Append `v` in another encoding of the same value: wider headers, integers as
 * floats where exact, pairs of a map in another order. */
void gen_reencoded(struct rng *r, struct value_writer *w, struct value v);

/* A random value in `buffer` of GEN_VALUE_BYTES. */
struct value gen_value_in(struct rng *r, uint8_t *buffer, unsigned depth);

/* True where a NaN is `v` or inside it. */
bool gen_has_nan(struct value v);

/* "93 01 a1 78": for failure messages.  Cut to fit. */
const char *gen_hex(struct value v, char *text, size_t size_bytes);

#endif /* TESTS_SUPPORT_GEN_VALUE_H */
