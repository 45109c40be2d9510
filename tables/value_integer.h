/* value_integer.h -- the integer at an address, without asking how it is encoded.
 *
 * Which of ten encodings an integer has is as random as the integer, so a switch over them is
 * guessed wrongly every other time, and a wrong guess costs as much as everything else that
 * is done with a record.  Here the first byte looks up what to do, and that is
 * the same for all: load the eight bytes that end where the value ends, and mask out
 * those before it.
 *
 *     | .. header and fields .. | cd | 03 | e8 |        n = 8 bytes that end here, & 0xffff
 *                                              ^ at + advance
 *
 * So at least 7 bytes that may be read must stand before the value: the record's header and that
 * of its array do. */
#ifndef TABLES_VALUE_INTEGER_H
#define TABLES_VALUE_INTEGER_H

#include "engine/base.h"
#include "tables/value_private.h"

struct value_integer {
    uint64_t mask;    /* of the value's bits                                  */
    uint64_t sign;    /* the bit that says so, where there is a sign          */
    uint64_t large;   /* the bit that makes it 2^63 or more, which is no more */
    uint32_t advance; /* the value's size                                     */
    uint32_t other;   /* 1: it is no integer                                  */
};
extern const struct value_integer value_integers[256]; /* by the first byte */

/* False: no integer from -2^63 to 2^63 - 1; then *out is anything. */
static inline bool value_integer_at(const uint8_t *at, int64_t *out) {
    const struct value_integer *how = &value_integers[at[0]];
    uint64_t n = load_be64(at + how->advance - 8) & how->mask;

    *out = (int64_t) ((n ^ how->sign) - how->sign);
    return ((n & how->large) | how->other) == 0;
}

/* The byte behind the value that begins here. */
static inline const uint8_t *value_behind(const uint8_t *at) {
    uint8_t lead = value_leads[*at];

    return EG_LIKELY(lead < LEAD_NEVER) ? at + lead : value_skip(at);
}

#endif /* TABLES_VALUE_INTEGER_H */
