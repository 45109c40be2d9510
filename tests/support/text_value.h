/* text_value.h -- MessagePack written as JSON in tests, and shown as JSON.
 *
 *     text_value(buffer, sizeof buffer, "[1, 2.0, 'anna', {'a': nil}, b'raw']")
 *
 * Strings may stand in single quotes, so that C needs no escapes; b'...' is a binary,
 * nil, null, true, false.  A number with '.' or 'e' is a float.
 */
#ifndef TESTS_SUPPORT_TEXT_VALUE_H
#define TESTS_SUPPORT_TEXT_VALUE_H

#include "tables/value.h"

/* Aborts where the text is wrong or does not fit. */
struct value text_value(uint8_t *buffer, size_t size_bytes, const char *text);

/* The value in the same notation, cut to fit. */
const char *value_text(struct value v, char *text, size_t size_bytes);

#endif /* TESTS_SUPPORT_TEXT_VALUE_H */
