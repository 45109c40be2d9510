/* text_span.h -- values of text_value.h as the public calls take them. */
#ifndef TESTS_SUPPORT_TEXT_SPAN_H
#define TESTS_SUPPORT_TEXT_SPAN_H

#include "engram.h"
#include "tests/support/text_value.h"

/* It lies in the room. */
static inline eg_span text_span(uint8_t room[256], const char *text) {
    struct value v = text_value(room, 256, text);
    return (eg_span){v.at, v.size_bytes};
}

#endif /* TESTS_SUPPORT_TEXT_SPAN_H */
