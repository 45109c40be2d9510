/* record.c -- records written once and read in place. */
#include "tables/record.h"

#include "tables/key.h"
#include "tables/value_private.h"

#include <string.h>

struct record *record_init(void *memory, struct value array, struct record_version version,
                           uint64_t expiry_ms) {
    struct record *r = memory;
    uint32_t flags = expiry_ms != 0 ? RECORD_EXPIRES : 0;
    uint8_t *bytes = r->bytes;
    struct value key;

    EG_ASSERT((uintptr_t) memory % _Alignof(struct record) == 0);
    EG_ASSERT(array.size_bytes <= RECORD_SIZE_MAX);
    EG_ASSERT(array_element(array, 0, &key));
    if (key_is_canonical(key))
        flags |= RECORD_CANONICAL;
    r->hlc = version.hlc;
    r->dot = version.dot;
    r->size_and_flags = array.size_bytes << RECORD_FLAG_BITS | flags;
    if (expiry_ms != 0) {
        memset(bytes, 0, RECORD_EXPIRY_BYTES); /* the ranks are the shard's to set */
        memcpy(bytes, &expiry_ms, sizeof expiry_ms);
        bytes += RECORD_EXPIRY_BYTES;
    }
    memcpy(bytes, array.at, array.size_bytes);
    return r;
}

void record_keep_state(struct record *r, struct value state) {
    if (state.size_bytes == 0)
        return;
    memcpy((uint8_t *) record_array(r) + record_array_bytes(r), state.at, state.size_bytes);
    r->size_and_flags |= RECORD_STATE;
}

struct value record_kept_state(const struct record *r) {
    return value_of(record_array(r) + record_array_bytes(r));
}

uint64_t record_expiry_ms(const struct record *r) {
    uint64_t expiry_ms = 0;

    if (record_flags(r) & RECORD_EXPIRES)
        memcpy(&expiry_ms, r->bytes, sizeof expiry_ms);
    return expiry_ms;
}

struct value record_key(const struct record *r) {
    const uint8_t *array = record_array(r);

    return value_of(array + head_of(array).own_bytes);
}

struct value record_field(const struct record *r, uint32_t position) {
    struct value field;

    EG_ASSERT(array_element(record_value(r), position, &field));
    return field;
}

bool array_element(struct value array, uint32_t position, struct value *out) {
    struct value_head head = head_of(array.at);
    const uint8_t *at = array.at + head.own_bytes;

    if (value_kinds[array.at[0]] != VALUE_ARRAY || position >= head.children)
        return false;
    while (position-- > 0)
        at = value_skip(at);
    *out = value_of(at);
    return true;
}
