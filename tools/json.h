/* json.h -- JSON text to MessagePack and back, for people and for files.
 *
 * Integers that fit 64 bits, signed or unsigned, stay integers; other numbers are
 * floats, and a float is printed so that it comes back as the same one (2.0, not
 * 2).  A name that an object holds twice, the map holds twice.
 *
 * What JSON lacks is printed and does not come back as it was:
 *
 *     binary 01 ff           "01ff"
 *     ext of type 3, 01 ff   {"ext": 3, "data": "01ff"}
 *     NaN, infinities        null
 *     a map's key 7          "7": its JSON text as a string
 *     a byte that is no UTF-8 in a string    U+FFFD
 *
 * Bounds     Nesting as VALUE_DEPTH_MAX; sizes as the buffer's bound.
 * Errors     EG_BAD_REQUEST with a note (what and at which byte), EG_TOO_LARGE,
 *            EG_MEMORY; `out` is then as it was.
 * Locale     The program's LC_NUMERIC must be the one it started with, "C". */
#ifndef TOOLS_JSON_H
#define TOOLS_JSON_H

#include "engine/buffer.h"
#include "engine/err.h"
#include "tables/value.h"

/* Append the one JSON value at the start of `text` as MessagePack; *used_bytes is
 * what it took, white space around it included. */
EG_MUST_USE eg_err json_parse(const char *text, size_t size_bytes, struct buffer *out,
                              size_t *used_bytes, struct err_note *note);

/* Append `v` as JSON on one line. */
EG_MUST_USE eg_err json_print(struct value v, struct buffer *out);
/* The same for a cell of a table or of CSV: a string and a binary (in hexadecimal) without
 * quotes, nil as nothing. */
EG_MUST_USE eg_err json_print_cell(struct value v, struct buffer *out);

#endif /* TOOLS_JSON_H */
