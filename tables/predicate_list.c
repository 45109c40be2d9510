/* predicate_list.c -- the values of a long `in`, searched by halves.
 *
 *     binary:  has nil | count | where each begins ... | values, ascending, each once
 *                 1        4          4 each
 *
 * Pushed one by one, as a short `in` does it, ten thousand values would be looked at for each
 * record.  Numbers are little-endian, places counted from the binary's first byte. */
#include "tables/predicate_private.h"

#include <string.h>

enum { COUNT_AT = 1, HEAD_BYTES = 5, PLACE_BYTES = 4, BINARY_HEADER_BYTES = 5 };

static uint32_t get_u32(const uint8_t *at) {
    return (uint32_t) at[0] | (uint32_t) at[1] << 8 | (uint32_t) at[2] << 16 |
           (uint32_t) at[3] << 24;
}

static void put_u32(uint8_t *at, uint32_t n) {
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t) (n >> (8 * i));
}

struct value list_literal(struct compiler *c, const struct expr *e) {
    struct value *values = domain_room(c, e->count);
    size_t bytes = HEAD_BYTES;
    uint32_t count = 0;
    struct value_writer w;
    uint8_t *at, *list;

    for (uint16_t i = 1; values != NULL && i < e->count; i++)
        if (value_kind_of(e->arg[i]->literal) != VALUE_NIL)
            values[count++] = e->arg[i]->literal;
    if (values != NULL)
        count = values_sort(values, count);
    for (uint32_t i = 0; values != NULL && i < count; i++)
        bytes += PLACE_BYTES + values[i].size_bytes;
    if (values == NULL || bytes > PREDICATE_BYTES_MAX) {
        compiler_fail(c, EG_TOO_LARGE, "literals take too many bytes");
        return (struct value){0};
    }
    at = compiler_get(c, bytes + BINARY_HEADER_BYTES);
    list = compiler_get(c, bytes);
    if (at == NULL || list == NULL)
        return (struct value){0};
    list[0] = 0;
    for (uint16_t i = 1; i < e->count; i++)
        list[0] |= value_kind_of(e->arg[i]->literal) == VALUE_NIL;
    put_u32(list + COUNT_AT, count);
    bytes = HEAD_BYTES + count * PLACE_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        put_u32(list + HEAD_BYTES + i * PLACE_BYTES, (uint32_t) bytes);
        memcpy(list + bytes, values[i].at, values[i].size_bytes);
        bytes += values[i].size_bytes;
    }
    w = value_writer_init(at, bytes + BINARY_HEADER_BYTES);
    value_put_binary(&w, list, bytes);
    return (struct value){at, (uint32_t) w.need_bytes};
}

bool list_check(const uint8_t *at) {
    const uint8_t *list;
    uint32_t bytes, count, end;

    if (value_kinds[*at] != VALUE_BINARY)
        return false;
    list = value_bytes_of(at, &bytes);
    if (bytes < HEAD_BYTES || list[0] > 1)
        return false;
    count = get_u32(list + COUNT_AT);
    if (count > (bytes - HEAD_BYTES) / PLACE_BYTES)
        return false;
    end = HEAD_BYTES + count * PLACE_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        size_t used;
        if (end >= bytes || get_u32(list + HEAD_BYTES + i * PLACE_BYTES) != end ||
            value_scan(list + end, bytes - end, &used) != EG_OK)
            return false;
        end += (uint32_t) used;
    }
    return end == bytes;
}

struct slot list_holds(struct run *r, const struct slot *x, const struct slot *y) {
    uint8_t room[SLOT_ROOM_BYTES];
    uint32_t bytes, low = 0, high;
    const uint8_t *list = value_bytes_of(y->at, &bytes); /* a literal: it was checked */

    if (*slot_bytes(r, x, room) == 0xc0)
        return slot_at(predicate_nil);
    high = get_u32(list + COUNT_AT);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct slot one = slot_at(list + get_u32(list + HEAD_BYTES + middle * PLACE_BYTES));
        int order = slots_order(r, x, &one);
        if (order == 0) /* or the run ends */
            return slot_bool(true);
        if (order > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return list[0] != 0 ? slot_at(predicate_nil) : slot_bool(false);
}
