/* predicate_prefix.c -- the usual question of a range, compiled at once.
 *
 *     [[[["bern", "_"], "_"], [], ["$_"]]]      all whose key is a pair that begins with "bern"
 *
 *     0  CLAUSE   else 4
 *     1  UNPACK   field 0: 2 elements, which are places 2 and 3
 *     2  EQ       place 2, literal 0, tests
 *     3  YIELD    the record
 *     4  END
 *
 * To make trees of it and to ask them what they say takes half as long as to find the hundred
 * records that are meant.  Here is the program that they would become, to the last instruction;
 * what is written otherwise in the least goes the long way, which also says what is wrong. */
#include "tables/predicate_private.h"

#include <string.h>

enum { SHORT_ARRAY_MAX = 15 }; /* elements: one byte says how many */

/* ---- reading ---------------------------------------------------------------------- */

static bool take_array(const uint8_t **at, uint32_t count) {
    bool same = **at == (0x90 | count);

    *at += same;
    return same;
}

/* Of a string its first byte says how long it is, so the others are there. */
static bool take_text(const uint8_t **at, const char *text, uint32_t size_bytes) {
    bool same = **at == (0xa0 | size_bytes) && memcmp(*at + 1, text, size_bytes) == 0;

    *at += same ? 1 + size_bytes : 0;
    return same;
}

static bool take_any(const uint8_t **at) {
    return take_text(at, "_", 1);
}

/* A value that means itself, wherever it stands. */
static bool take_literal(const uint8_t **at, struct value *out) {
    enum value_kind kind = value_kinds[**at];
    uint32_t size_bytes;
    const uint8_t *text;

    if (kind != VALUE_STRING && kind != VALUE_NUMBER && kind != VALUE_BINARY)
        return false;
    text = kind == VALUE_STRING ? value_bytes_of(*at, &size_bytes) : NULL;
    if (text != NULL && size_bytes > 0 && (*text == '$' || *text == '_'))
        return false;
    *out = (struct value){*at, (uint32_t) (value_skip(*at) - *at)};
    *at += out->size_bytes;
    return true;
}

static bool take_key(const uint8_t **at, struct key_prefix *k) {
    uint32_t i;

    if ((**at & 0xf0) != 0x90)
        return false;
    k->elements = *(*at)++ & 0x0f;
    for (i = 0; i < k->elements && !take_any(at); i++) {
        if (i == KEY_PREFIX_MAX || !take_literal(at, &k->literal[i]))
            return false;
        k->bytes += k->literal[i].size_bytes;
    }
    k->count = i++;
    while (i < k->elements && take_any(at))
        i++;
    return k->count > 0 && i == k->elements && k->bytes <= KEY_PREFIX_BYTES_MAX;
}

bool prefix_read(struct key_prefix *out, struct value spec, uint32_t arity) {
    const uint8_t *at = spec.at;

    *out = (struct key_prefix){.arity = arity};
    if (arity > SHORT_ARRAY_MAX || !take_array(&at, 1) || !take_array(&at, 3) ||
        !take_array(&at, arity) || !take_key(&at, out))
        return false;
    for (uint32_t i = 1; i < arity; i++)
        if (!take_any(&at))
            return false;
    return take_array(&at, 0) && take_array(&at, 1) && take_text(&at, "$_", 2);
}

/* ---- writing ---------------------------------------------------------------------- */

/* What a compilation gathers, without memory of its own. */
struct parts {
    struct code code[KEY_PREFIX_MAX + 4];
    struct slot literal[KEY_PREFIX_MAX];
    uint8_t bytes[KEY_PREFIX_BYTES_MAX]; /* of literals that are no numbers */
    uint32_t bytes_size;
    struct known_field known[1 + KEY_PREFIX_MAX];
    uint8_t prefix[1 + KEY_PREFIX_BYTES_MAX];
    uint8_t position[KEY_PREFIX_MAX]; /* of elements, encoded */
    struct value path[KEY_PREFIX_MAX];
};

static void put_code(struct parts *p, const struct key_prefix *k) {
    struct code *c = p->code;

    *c++ = (struct code){.op = CODE_CLAUSE, .x = k->count + 3};
    *c++ = (struct code){
        .op = CODE_UNPACK, .x_from = FROM_FIELD, .y = k->arity, .count = (uint16_t) k->elements};
    for (uint32_t i = 0; i < k->count; i++)
        *c++ = (struct code){.op = EXPR_EQ,
                             .x_from = FROM_INNER,
                             .y_from = FROM_LITERAL,
                             .tests = true,
                             .holds = (uint16_t) predicate_order_bits(EXPR_EQ),
                             .x = k->arity + i,
                             .y = i};
    *c++ = (struct code){.op = CODE_YIELD, .x_from = FROM_RECORD};
    *c++ = (struct code){.op = CODE_END};
}

static void put_literal(struct parts *p, uint32_t i, struct value v) {
    if (value_kind_of(v) == VALUE_NUMBER) {
        p->literal[i] = slot_of_number(value_number_of(v.at));
        return;
    }
    p->literal[i] = (struct slot){.form = SLOT_AT, .offset = p->bytes_size};
    memcpy(p->bytes + p->bytes_size, v.at, v.size_bytes);
    p->bytes_size += v.size_bytes;
}

/* The key begins so; and each of its first elements, which an index may be on, is this one. */
static void put_known(struct parts *p, const struct key_prefix *k) {
    struct range_end end = {.given = true, .prefix = true, .value = {p->prefix, 1 + k->bytes}};

    p->prefix[0] = (uint8_t) (0x90 | k->count);
    memcpy(p->prefix + 1, k->literal[0].at, k->bytes);
    p->known[0] = (struct known_field){.domain = {.range = {.low = end, .high = end}}};
    for (uint32_t i = 0; i < k->count; i++) {
        p->position[i] = (uint8_t) i;
        p->path[i] = (struct value){&p->position[i], 1};
        p->known[1 + i] = (struct known_field){
            .path_count = 1, .path = &p->path[i], .domain = domain_of_value(k->literal[i])};
    }
}

static struct buffer filled(void *at, size_t size_bytes) {
    return (struct buffer){.at = at, .size_bytes = size_bytes, .room_bytes = size_bytes};
}

eg_err prefix_open(struct predicate **out, struct alloc *a, const struct key_prefix *k,
                   struct err_note *note) {
    struct parts p;
    struct compiler c = {.alloc = a,
                         .note = note,
                         .arity = k->arity,
                         .places_max = k->arity + k->elements,
                         .yields_record = true,
                         .known = p.known,
                         .known_count = 1 + k->count,
                         .key_range = true,
                         .key_elements = k->elements};

    p.bytes_size = 0;
    put_code(&p, k);
    for (uint32_t i = 0; i < k->count; i++)
        put_literal(&p, i, k->literal[i]);
    put_known(&p, k);
    c.code = filled(p.code, (k->count + 4) * sizeof p.code[0]);
    c.literals = filled(p.literal, k->count * sizeof p.literal[0]);
    c.bytes = filled(p.bytes, p.bytes_size);
    return program_open(out, &c);
}
