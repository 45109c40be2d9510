/* utf8.h -- where one UTF-8 character ends. */
#ifndef ENGINE_UTF8_H
#define ENGINE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Size of the character that begins at `at`, of which size_bytes (>= 1) are
 * there; 0 where none does.  Strict: no overlong forms, no surrogates, nothing
 * past U+10FFFF (Unicode 15, table 3-7). */
static inline size_t utf8_char_bytes(const uint8_t *at, size_t size_bytes) {
    size_t bytes = at[0] < 0x80   ? 1
                   : at[0] < 0xc2 ? 0
                   : at[0] < 0xe0 ? 2
                   : at[0] < 0xf0 ? 3
                   : at[0] < 0xf5 ? 4
                                  : 0;
    uint8_t low = at[0] == 0xe0 ? 0xa0 : at[0] == 0xf0 ? 0x90 : 0x80;
    uint8_t high = at[0] == 0xed ? 0x9f : at[0] == 0xf4 ? 0x8f : 0xbf;

    if (bytes > size_bytes)
        return 0;
    for (size_t i = 1; i < bytes; i++) {
        if (at[i] < low || at[i] > high)
            return 0;
        low = 0x80;
        high = 0xbf;
    }
    return bytes;
}

#endif /* ENGINE_UTF8_H */
