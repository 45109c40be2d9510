/* predicate_like.c -- text's `like`: % for any characters, _ for one.
 *
 *     abc%def%_x%yz        abc at the beginning, yz at the end, between them
 *                          each piece as early as it can be found
 *
 * To find a piece as early as possible is always right: what follows it has most room then.  So
 * a pattern takes one pass over the text.  A piece without _ that is whole UTF-8 is searched as
 * bytes, in linear time, for such bytes stand only where its characters do; any other piece is
 * tried at each character, and those steps are counted.
 *
 * A byte that begins no UTF-8 character counts as a character. */
#include "engine/utf8.h"
#include "tables/predicate_private.h"

#include <string.h>

struct span {
    const uint8_t *at;
    size_t bytes;
};

static size_t character_bytes(struct span s) {
    size_t bytes = s.at[0] < 0x80 ? 1 : utf8_char_bytes(s.at, s.bytes);

    return bytes == 0 ? 1 : bytes;
}

static struct span behind(struct span s, size_t bytes) {
    return (struct span){s.at + bytes, s.bytes - bytes};
}

/* How many bytes of `text` the piece takes where it fits at its beginning; else SIZE_MAX. */
static size_t fit(struct span text, struct span piece, uint64_t *steps_left) {
    struct span rest = text;

    while (piece.bytes > 0) {
        size_t bytes;
        if (rest.bytes == 0 || *steps_left == 0)
            return SIZE_MAX;
        --*steps_left;
        bytes = character_bytes(rest);
        if (piece.at[0] != '_' && (piece.bytes < bytes || memcmp(piece.at, rest.at, bytes) != 0))
            return SIZE_MAX;
        piece = behind(piece, piece.at[0] == '_' ? 1 : bytes);
        rest = behind(rest, bytes);
    }
    return text.bytes - rest.bytes;
}

static bool is_plain(struct span piece) {
    while (piece.bytes > 0) {
        size_t bytes = utf8_char_bytes(piece.at, piece.bytes);
        if (bytes == 0 || piece.at[0] == '_')
            return false;
        piece = behind(piece, bytes);
    }
    return true;
}

/* The text behind the first place where the piece fits; false: it fits nowhere. */
static bool find(struct span *text, struct span piece, uint64_t *steps_left) {
    const uint8_t *found;

    if (is_plain(piece)) {
        found = piece.bytes == 0 ? text->at : memmem(text->at, text->bytes, piece.at, piece.bytes);
        if (found != NULL)
            *text = behind(*text, (size_t) (found - text->at) + piece.bytes);
        return found != NULL;
    }
    for (; text->bytes > 0; *text = behind(*text, character_bytes(*text))) {
        size_t taken = fit(*text, piece, steps_left);
        if (taken != SIZE_MAX) {
            *text = behind(*text, taken);
            return true;
        }
        if (*steps_left == 0)
            return false;
    }
    return false;
}

/* Does the piece fit so that it ends where the text does?  It takes as many characters as it
 * has itself: step back that many from the end. */
static bool fit_end(struct span text, struct span piece, uint64_t *steps_left) {
    size_t characters = 0;
    size_t all = 0;
    struct span s;

    for (s = piece; s.bytes > 0; s = behind(s, s.at[0] == '_' ? 1 : character_bytes(s)))
        characters++;
    for (s = text; s.bytes > 0; s = behind(s, character_bytes(s)))
        all++;
    if (all < characters)
        return false;
    for (; all > characters; all--)
        text = behind(text, character_bytes(text));
    return fit(text, piece, steps_left) == text.bytes;
}

static struct span next_piece(struct span *pattern) {
    const uint8_t *percent = pattern->bytes == 0 ? NULL : memchr(pattern->at, '%', pattern->bytes);
    struct span piece = *pattern;

    if (percent == NULL) {
        *pattern = behind(*pattern, pattern->bytes);
        return piece;
    }
    piece.bytes = (size_t) (percent - pattern->at);
    *pattern = behind(*pattern, piece.bytes + 1);
    return piece;
}

bool text_is_like(const uint8_t *text_at, size_t text_bytes, const uint8_t *pattern_at,
                  size_t pattern_bytes, uint64_t *steps_left) {
    struct span text = {text_at, text_bytes};
    struct span pattern = {pattern_at, pattern_bytes};
    bool open_end = pattern_bytes > 0 && memchr(pattern_at, '%', pattern_bytes) != NULL;
    struct span piece = next_piece(&pattern);
    size_t taken = fit(text, piece, steps_left);

    if (taken == SIZE_MAX || !open_end)
        return taken == text_bytes;
    text = behind(text, taken);
    while (pattern.bytes > 0 && memchr(pattern.at, '%', pattern.bytes) != NULL) {
        piece = next_piece(&pattern);
        if (!find(&text, piece, steps_left))
            return false;
    }
    return fit_end(text, pattern, steps_left);
}
