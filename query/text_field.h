/* text_field.h -- the fields of a record, read where they lie.
 *
 * What an aggregate does for each of a million records must not be a call a field: the usual
 * encodings are read here, in line, and what is not usual by tables/value.h.
 */
#ifndef QUERY_TEXT_FIELD_H
#define QUERY_TEXT_FIELD_H

#include "tables/value.h"

/* Is it an array of `arity` values? */
static inline bool text_field_fits(struct value row, uint32_t arity) {
    enum { SMALL_ARRAY = 0x90, SMALL_MAX = 15 };

    if (EG_LIKELY(arity <= SMALL_MAX && row.at[0] == (SMALL_ARRAY | arity)))
        return true;
    return value_count(row) == arity;
}

/* Where the first field begins. */
static inline const uint8_t *text_field_first(struct value row) {
    return (row.at[0] & 0xf0) == 0x90 ? row.at + 1 : value_iter_of(row).at;
}

/* The byte behind the value that begins here. */
static inline const uint8_t *text_field_skip(const uint8_t *at) {
    uint8_t lead = at[0];

    if (lead < 0x80 || lead >= 0xe0)
        return at + 1;
    if ((lead & 0xe0) == 0xa0)
        return at + 1 + (lead & 0x1f);
    if (lead == 0xcd)
        return at + 3;
    if (lead == 0xce)
        return at + 5;
    return value_skip(at);
}

/* An integer of 64 bits with sign. */
static inline bool text_field_integer(const uint8_t *at, int64_t *out) {
    switch (at[0]) {
    case 0xcc:
        *out = at[1];
        return true;
    case 0xcd:
        *out = at[1] << 8 | at[2];
        return true;
    case 0xce:
        *out = (int64_t) ((uint32_t) at[1] << 24 | (uint32_t) at[2] << 16 | (uint32_t) at[3] << 8 |
                          at[4]);
        return true;
    default:
        if (at[0] < 0x80 || at[0] >= 0xe0) {
            *out = (int8_t) at[0];
            return true;
        }
        if (at[0] < 0xca)
            return false;
        return value_is_integer(value_of(at)) && value_get_i64(value_of(at), out);
    }
}

#endif /* QUERY_TEXT_FIELD_H */
