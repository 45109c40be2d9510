/* etf.c -- a term at a time, by its tag.  Erlang's own description of the format is the
 * chapter "External Term Format" of ERTS. */
#include "tools/etf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum tag {
    TAG_NEW_FLOAT = 70,
    TAG_SMALL_INTEGER = 97,
    TAG_INTEGER = 98,
    TAG_FLOAT = 99,
    TAG_ATOM = 100, /* Latin 1, as is SMALL_ATOM */
    TAG_SMALL_TUPLE = 104,
    TAG_LARGE_TUPLE = 105,
    TAG_NIL = 106,
    TAG_STRING = 107,
    TAG_LIST = 108,
    TAG_BINARY = 109,
    TAG_SMALL_BIG = 110,
    TAG_LARGE_BIG = 111,
    TAG_SMALL_ATOM = 115,
    TAG_MAP = 116,
    TAG_ATOM_UTF8 = 118,
    TAG_SMALL_ATOM_UTF8 = 119,
};

enum {
    FLOAT_TEXT_BYTES = 31,
    ATOM_BYTES_MAX = 2 * 255 * 4,
    BIG_BYTES_64 = 8,
};

static eg_err damaged(struct err_note *note) {
    return err_note(note, EG_CORRUPT, "a damaged Erlang term");
}

/* ---- numbers in the bytes --------------------------------------------------------- */

static bool has(const struct etf *e, uint64_t bytes) {
    return (uint64_t) (e->end - e->at) >= bytes;
}

static bool take_big_endian(struct etf *e, uint32_t bytes, uint64_t *out) {
    if (!has(e, bytes))
        return false;
    *out = 0;
    while (bytes-- > 0)
        *out = *out << 8 | *e->at++;
    return true;
}

static eg_err read_big(struct etf *e, uint32_t size_bytes, struct pack *out,
                       struct err_note *note) {
    uint64_t count, sign, n = 0;

    if (!take_big_endian(e, size_bytes, &count) || !take_big_endian(e, 1, &sign) || sign > 1 ||
        !has(e, count))
        return damaged(note);
    for (uint64_t i = 0; i < count; i++) {
        if (e->at[i] == 0)
            continue;
        if (i >= BIG_BYTES_64)
            return err_note(note, EG_BAD_RECORD, "an integer of more than 64 bits");
        n |= (uint64_t) e->at[i] << 8 * i;
    }
    if (sign == 1 && n > UINT64_C(1) << 63)
        return err_note(note, EG_BAD_RECORD, "an integer of more than 64 bits");
    e->at += count;
    if (sign == 0)
        pack_u64(out, n);
    else
        pack_i64(out, n == UINT64_C(1) << 63 ? INT64_MIN : -(int64_t) n);
    return EG_OK;
}

static eg_err read_float(struct etf *e, struct pack *out, struct err_note *note) {
    uint64_t bits;
    double d;

    if (!take_big_endian(e, sizeof bits, &bits))
        return damaged(note);
    memcpy(&d, &bits, sizeof d);
    if (!isfinite(d)) /* Erlang has no others */
        return damaged(note);
    pack_double(out, d);
    return EG_OK;
}

/* As Erlang wrote them until release 11. */
static eg_err read_float_text(struct etf *e, struct pack *out, struct err_note *note) {
    char text[FLOAT_TEXT_BYTES + 1] = "";
    char *end;
    double d;

    if (!has(e, FLOAT_TEXT_BYTES))
        return damaged(note);
    memcpy(text, e->at, FLOAT_TEXT_BYTES);
    e->at += FLOAT_TEXT_BYTES;
    d = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(d))
        return damaged(note);
    pack_double(out, d);
    return EG_OK;
}

/* ---- characters ---------------------------------------------------------------------- */

static uint32_t put_utf8(uint32_t c, char *at) {
    if (c < 0x80) {
        at[0] = (char) c;
        return 1;
    }
    if (c < 0x800) {
        at[0] = (char) (0xc0 | c >> 6);
        at[1] = (char) (0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        at[0] = (char) (0xe0 | c >> 12);
        at[1] = (char) (0x80 | (c >> 6 & 0x3f));
        at[2] = (char) (0x80 | (c & 0x3f));
        return 3;
    }
    at[0] = (char) (0xf0 | c >> 18);
    at[1] = (char) (0x80 | (c >> 12 & 0x3f));
    at[2] = (char) (0x80 | (c >> 6 & 0x3f));
    at[3] = (char) (0x80 | (c & 0x3f));
    return 4;
}

static bool is_utf8(const uint8_t *at, size_t size_bytes) {
    for (size_t i = 0; i < size_bytes;) {
        uint8_t lead = at[i++];
        uint32_t more = lead < 0x80       ? 0
                        : lead >> 5 == 6  ? 1
                        : lead >> 4 == 14 ? 2
                        : lead >> 3 == 30 ? 3
                                          : 4;
        uint32_t c = more == 0 ? lead : lead & (0x3f >> more);

        if (more > 3 || size_bytes - i < more)
            return false;
        for (uint32_t n = 0; n < more; n++, i++) {
            if (at[i] >> 6 != 2)
                return false;
            c = c << 6 | (at[i] & 0x3f);
        }
        if ((more == 1 && c < 0x80) || (more == 2 && c < 0x800) || (more == 3 && c < 0x10000) ||
            c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
            return false;
    }
    return true;
}

/* What Erlang's own shell shows as a character of a string. */
static bool is_printable(uint64_t c) {
    return (c >= 32 && c < 127) || (c >= 160 && c < 0xd800) || (c >= 0xe000 && c < 0xfffe) ||
           (c >= 0x10000 && c <= 0x10ffff) || (c >= 8 && c <= 13) || c == 27;
}

static eg_err read_atom(struct etf *e, uint32_t size_bytes, bool latin1, struct pack *out,
                        struct err_note *note) {
    char text[ATOM_BYTES_MAX];
    uint32_t text_bytes = 0;
    uint64_t count;

    if (!take_big_endian(e, size_bytes, &count) || !has(e, count) || count > ATOM_BYTES_MAX / 2)
        return damaged(note);
    if (!latin1 && !is_utf8(e->at, count))
        return damaged(note);
    for (uint64_t i = 0; i < count; i++) {
        if (latin1)
            text_bytes += put_utf8(e->at[i], text + text_bytes);
        else
            text[text_bytes++] = (char) e->at[i];
    }
    e->at += count;
    if (text_bytes == 4 && memcmp(text, "true", 4) == 0)
        pack_bool(out, true);
    else if (text_bytes == 5 && memcmp(text, "false", 5) == 0)
        pack_bool(out, false);
    else if (text_bytes == 9 && memcmp(text, "undefined", 9) == 0)
        pack_nil(out);
    else
        pack_string(out, text, text_bytes);
    return EG_OK;
}

static eg_err read_binary(struct etf *e, struct pack *out, struct err_note *note) {
    uint64_t count;

    if (!take_big_endian(e, 4, &count) || !has(e, count))
        return damaged(note);
    if (is_utf8(e->at, count))
        pack_string(out, (const char *) e->at, count);
    else
        pack_binary(out, e->at, count);
    e->at += count;
    return EG_OK;
}

/* Put `count` characters, bytes or integers with their tags, as one string. */
static void put_characters(struct pack *out, struct etf chars, uint64_t count, bool bytes) {
    struct pack text;

    pack_init(&text, out->bytes.alloc);
    for (uint64_t i = 0; i < count; i++) {
        char utf8[4];
        uint64_t c = 0;
        uint32_t width = bytes ? 1 : *chars.at++ == TAG_INTEGER ? 4 : 1;

        EG_ASSERT(take_big_endian(&chars, width, &c));
        if (!buffer_append(&text.bytes, utf8, put_utf8((uint32_t) c, utf8)))
            text.failed = true;
    }
    if (text.failed)
        out->failed = true;
    else
        pack_string(out, (const char *) text.bytes.at, text.bytes.size_bytes);
    pack_fini(&text);
}

/* A list of bytes, written densely. */
static eg_err read_bytes(struct etf *e, struct pack *out, struct err_note *note) {
    uint64_t count;
    bool text = e->characters;

    if (!take_big_endian(e, 2, &count) || !has(e, count))
        return damaged(note);
    for (uint64_t i = 0; i < count && text; i++)
        text = is_printable(e->at[i]);
    if (text && count > 0) {
        put_characters(out, *e, count, true);
    } else {
        pack_array(out, (uint32_t) count);
        for (uint64_t i = 0; i < count; i++)
            pack_u64(out, e->at[i]);
    }
    e->at += count;
    return EG_OK;
}

/* Are the next `count` terms printable characters, and then the list's end?  Goes behind
 * them. */
static bool skip_characters(struct etf *e, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        uint64_t tag, c;

        if (!take_big_endian(e, 1, &tag) || (tag != TAG_SMALL_INTEGER && tag != TAG_INTEGER) ||
            !take_big_endian(e, tag == TAG_INTEGER ? 4 : 1, &c) || !is_printable(c))
            return false;
    }
    return has(e, 1) && *e->at++ == TAG_NIL;
}

/* ---- terms ------------------------------------------------------------------------------ */

static eg_err read_term(struct etf *e, struct pack *out, uint32_t depth, struct err_note *note);

static eg_err read_terms(struct etf *e, uint64_t count, struct pack *out, uint32_t depth,
                         struct err_note *note) {
    eg_err err = EG_OK;

    for (uint64_t i = 0; i < count && err == EG_OK; i++)
        err = read_term(e, out, depth + 1, note);
    return err;
}

static eg_err read_tuple(struct etf *e, uint32_t size_bytes, struct pack *out, uint32_t depth,
                         struct err_note *note) {
    uint64_t count;

    if (!take_big_endian(e, size_bytes, &count) || !has(e, count)) /* a byte each at least */
        return damaged(note);
    pack_array(out, (uint32_t) count);
    return read_terms(e, count, out, depth, note);
}

static eg_err read_list(struct etf *e, struct pack *out, uint32_t depth, struct err_note *note) {
    struct etf chars;
    uint64_t count;
    eg_err err;

    if (!take_big_endian(e, 4, &count) || !has(e, count + 1))
        return damaged(note);
    chars = *e;
    if (e->characters && count > 0 && skip_characters(&chars, count)) {
        put_characters(out, *e, count, false);
        *e = chars;
        return EG_OK;
    }
    pack_array(out, (uint32_t) count);
    err = read_terms(e, count, out, depth, note);
    if (err != EG_OK)
        return err;
    if (!has(e, 1))
        return damaged(note);
    if (*e->at++ != TAG_NIL)
        return err_note(note, EG_BAD_RECORD, "an improper list");
    return EG_OK;
}

static eg_err read_map(struct etf *e, struct pack *out, uint32_t depth, struct err_note *note) {
    uint64_t count;

    if (!take_big_endian(e, 4, &count) || !has(e, 2 * count))
        return damaged(note);
    pack_map(out, (uint32_t) count);
    return read_terms(e, 2 * count, out, depth, note);
}

static eg_err refuse(uint64_t tag, struct err_note *note) {
    switch (tag) {
    case 88:
    case 103:
        return err_note(note, EG_BAD_RECORD, "a pid, which means nothing here");
    case 90:
    case 101:
    case 114:
        return err_note(note, EG_BAD_RECORD, "a reference, which means nothing here");
    case 89:
    case 102:
    case 120:
        return err_note(note, EG_BAD_RECORD, "a port, which means nothing here");
    case 112:
    case 113:
    case 117:
        return err_note(note, EG_BAD_RECORD, "a fun, which means nothing here");
    case 77:
        return err_note(note, EG_BAD_RECORD, "a bit string that is no whole number of bytes");
    default:
        return damaged(note);
    }
}

static eg_err read_term(struct etf *e, struct pack *out, uint32_t depth, struct err_note *note) {
    uint64_t tag, n;

    if (depth > VALUE_DEPTH_MAX)
        return err_note(note, EG_TOO_LARGE, "a term nested more than 64 deep");
    if (out->failed)
        return err_note(note, EG_MEMORY, "out of memory");
    if (!take_big_endian(e, 1, &tag))
        return damaged(note);
    switch (tag) {
    case TAG_SMALL_INTEGER:
        if (!take_big_endian(e, 1, &n))
            return damaged(note);
        pack_u64(out, n);
        return EG_OK;
    case TAG_INTEGER:
        if (!take_big_endian(e, 4, &n))
            return damaged(note);
        pack_i64(out, (int32_t) (uint32_t) n);
        return EG_OK;
    case TAG_SMALL_BIG:
        return read_big(e, 1, out, note);
    case TAG_LARGE_BIG:
        return read_big(e, 4, out, note);
    case TAG_NEW_FLOAT:
        return read_float(e, out, note);
    case TAG_FLOAT:
        return read_float_text(e, out, note);
    case TAG_ATOM:
        return read_atom(e, 2, true, out, note);
    case TAG_SMALL_ATOM:
        return read_atom(e, 1, true, out, note);
    case TAG_ATOM_UTF8:
        return read_atom(e, 2, false, out, note);
    case TAG_SMALL_ATOM_UTF8:
        return read_atom(e, 1, false, out, note);
    case TAG_BINARY:
        return read_binary(e, out, note);
    case TAG_STRING:
        return read_bytes(e, out, note);
    case TAG_NIL:
        pack_array(out, 0);
        return EG_OK;
    case TAG_LIST:
        return read_list(e, out, depth, note);
    case TAG_SMALL_TUPLE:
        return read_tuple(e, 1, out, depth, note);
    case TAG_LARGE_TUPLE:
        return read_tuple(e, 4, out, depth, note);
    case TAG_MAP:
        return read_map(e, out, depth, note);
    default:
        return refuse(tag, note);
    }
}

eg_err etf_read(struct etf *e, struct pack *out, struct err_note *note) {
    eg_err err = read_term(e, out, 2, note); /* 1 is the record that it is part of */

    return err == EG_OK && out->failed ? err_note(note, EG_MEMORY, "out of memory") : err;
}

eg_err etf_enter_tuple(struct etf *e, uint32_t *arity, struct err_note *note) {
    uint64_t tag, count;

    if (!take_big_endian(e, 1, &tag) || (tag != TAG_SMALL_TUPLE && tag != TAG_LARGE_TUPLE) ||
        !take_big_endian(e, tag == TAG_SMALL_TUPLE ? 1 : 4, &count) || !has(e, count))
        return damaged(note);
    *arity = (uint32_t) count;
    return EG_OK;
}
