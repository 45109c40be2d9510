/* pattern.c -- walk pattern and record side by side.
 *
 * Recurses once a level of arrays, so never deeper than VALUE_DEPTH_MAX. */
#include "tables/pattern.h"

#include "tables/record.h"
#include "tables/value_private.h"

static bool is_wildcard(const uint8_t *at) {
    uint32_t size_bytes;

    if (value_kinds[*at] != VALUE_STRING)
        return false;
    at = value_bytes_of(at, &size_bytes);
    return size_bytes == 1 && *at == '_';
}

eg_err pattern_check(struct value pattern, uint32_t arity, struct err_note *note) {
    if (value_kind_of(pattern) != VALUE_ARRAY)
        return err_note(note, EG_BAD_REQUEST, "a pattern is an array");
    if (value_count(pattern) != arity)
        return err_note(note, EG_BAD_REQUEST,
                        "the pattern has %u elements, the table %u attributes",
                        (unsigned) value_count(pattern), (unsigned) arity);
    return EG_OK;
}

static bool is_bound(struct value v) {
    struct value_iter it;
    struct value element;

    if (value_kind_of(v) != VALUE_ARRAY)
        return !is_wildcard(v.at);
    it = value_iter_of(v);
    while (value_iter_next(&it, &element))
        if (!is_bound(element))
            return false;
    return true;
}

bool pattern_get_key(struct value pattern, struct value *key) {
    return pattern_get_field(pattern, 0, key);
}

bool pattern_get_field(struct value pattern, uint32_t position, struct value *field) {
    return array_element(pattern, position, field) && is_bound(*field);
}

/* Where they match, both are moved behind. */
static bool matches(const uint8_t **pattern, const uint8_t **value) {
    struct value_head p;
    struct value_head v;

    if (is_wildcard(*pattern)) {
        *pattern = value_skip(*pattern);
        *value = value_skip(*value);
        return true;
    }
    if (value_kinds[**pattern] != VALUE_ARRAY || value_kinds[**value] != VALUE_ARRAY)
        return value_compare_at(pattern, value, false) == 0;
    p = head_of(*pattern);
    v = head_of(*value);
    if (p.children != v.children)
        return false;
    *pattern += p.own_bytes;
    *value += v.own_bytes;
    for (uint32_t i = 0; i < p.children; i++)
        if (!matches(pattern, value))
            return false;
    return true;
}

bool pattern_matches(struct value pattern, struct value array) {
    const uint8_t *p = pattern.at;
    const uint8_t *v = array.at;

    return matches(&p, &v);
}
