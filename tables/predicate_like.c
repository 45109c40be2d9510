/* predicate_like.c -- text's `like`: % for any characters, _ for one.
 *
 * Where a character does not fit, only the last % met is asked to take one more: an earlier
 * one could not help, for what stands between the two has been found as early as it
 * can be.  So the work is bounded by text times pattern, whatever the pattern.
 *
 * A byte that begins no UTF-8 character counts as a character. */
#include "engine/utf8.h"
#include "tables/predicate_private.h"

#include <string.h>

static size_t character_bytes(const uint8_t *at, size_t size_bytes) {
    size_t bytes = at[0] < 0x80 ? 1 : utf8_char_bytes(at, size_bytes);

    return bytes == 0 ? 1 : bytes;
}

bool text_is_like(const uint8_t *text, size_t text_bytes, const uint8_t *pattern,
                  size_t pattern_bytes) {
    size_t t = 0;
    size_t p = 0;
    size_t after_percent = SIZE_MAX; /* in the pattern; SIZE_MAX: none met */
    size_t taken = 0;                /* the text's end of what that % took */

    while (t < text_bytes) {
        size_t bytes = character_bytes(text + t, text_bytes - t);

        if (p < pattern_bytes && pattern[p] == '%') {
            after_percent = ++p;
            taken = t;
            continue;
        }
        if (p < pattern_bytes && pattern[p] == '_') {
            p++;
            t += bytes;
            continue;
        }
        if (pattern_bytes - p >= bytes && memcmp(pattern + p, text + t, bytes) == 0) {
            p += bytes;
            t += bytes;
            continue;
        }
        if (after_percent == SIZE_MAX)
            return false;
        taken += character_bytes(text + taken, text_bytes - taken);
        t = taken;
        p = after_percent;
    }
    while (p < pattern_bytes && pattern[p] == '%')
        p++;
    return p == pattern_bytes;
}
