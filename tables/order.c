/* order.c -- probes and pivots: places in the order of a tree. */
#include "tables/order.h"

#include "tables/key.h"
#include "tables/range.h"
#include "tables/value_private.h"

#include <string.h>

/* Append what fits of a value's sortable form.  Each form says itself where it
 * ends, so a row of them sorts as the row of values. */
static void probe_append(struct probe *p, struct value v) {
    uint32_t room = PROBE_BYTES - p->sortable_bytes;
    size_t size;

    if (room == 0)
        return;
    size = key_sortable(v, p->sortable + p->sortable_bytes, room);
    p->sortable_bytes += (uint32_t) EG_MIN(size, (size_t) room);
}

static void probe_append_rest(struct probe *p) {
    struct value_iter it = value_iter_of(p->row);
    struct value element;

    if (value_iter_next(&it, &element)) /* the key is a part already */
        while (p->sortable_bytes < PROBE_BYTES && value_iter_next(&it, &element))
            probe_append(p, element);
}

static void probe_begin(struct probe *p, const struct order *order) {
    p->order = order;
    p->parts = 0;
    p->prefix = false;
    p->row = (struct value){NULL, 0};
    p->sortable_bytes = 0;
}

static void probe_add(struct probe *p, struct value v) {
    p->part[p->parts++] = v;
    probe_append(p, v);
}

static void probe_end(struct probe *p) {
    p->complete = p->parts == p->order->parts && (!p->order->rest || p->row.at != NULL);
}

struct order order_of_index(const struct index_spec *spec, bool bag) {
    struct order order = {.parts = (uint8_t) (spec->part_count + 1), .rest = bag};

    for (uint32_t i = 0; i < spec->part_count; i++)
        order.position[i] = spec->part[i].position;
    order.paths = spec->step_count != 0 ? spec : NULL;
    return order;
}

void probe_of_value(struct probe *p, const struct order *order, struct value v) {
    probe_of_values(p, order, &v, 1);
}

void probe_of_values(struct probe *p, const struct order *order, const struct value *v,
                     uint32_t count) {
    probe_begin(p, order);
    for (uint32_t i = 0; i < count; i++)
        probe_add(p, v[i]);
    probe_end(p);
}

void probe_of_prefix(struct probe *p, const struct order *order, const struct value *v,
                     uint32_t count) {
    uint32_t room;
    size_t size;

    probe_of_values(p, order, v, count - 1);
    room = PROBE_BYTES - p->sortable_bytes;
    p->part[p->parts++] = v[count - 1];
    p->prefix = true;
    p->complete = false;
    if (room == 0)
        return;
    size = key_sortable(v[count - 1], p->sortable + p->sortable_bytes, room);
    size -= value_kind_of(v[count - 1]) == VALUE_ARRAY; /* its end, which longer ones do not have */
    p->sortable_bytes += (uint32_t) EG_MIN(size, (size_t) room);
}

void probe_of_place(struct probe *p, const struct order *order, const struct value *v) {
    probe_begin(p, order);
    for (uint32_t i = 0; i < order->parts; i++)
        probe_add(p, v[i]);
    if (order->rest) {
        p->row = v[order->parts];
        probe_append_rest(p);
    }
    probe_end(p);
}

void probe_of_record(struct probe *p, const struct order *order, const struct record *rec) {
    probe_begin(p, order);
    for (uint32_t i = 0; i < order->parts; i++)
        probe_add(p, order_part(order, i, rec));
    if (order->rest) {
        p->row = record_value(rec);
        probe_append_rest(p);
    }
    probe_end(p);
}

static struct value value_at(const uint8_t *at) {
    return (struct value){at, (uint32_t) (value_skip(at) - at)};
}

void probe_of_pivot(struct probe *p, const struct order *order, const struct pivot *pivot) {
    const uint8_t *at = pivot->bytes;

    probe_begin(p, order);
    for (uint32_t i = 0; i < order->parts; i++) {
        struct value v = value_at(at);
        probe_add(p, v);
        at += v.size_bytes;
    }
    if (order->rest) {
        p->row = value_at(at);
        probe_append_rest(p);
    }
    probe_end(p);
}

static int compare_part(const struct probe *p, uint32_t i, struct value v) {
    if (EG_UNLIKELY(p->prefix) && i + 1 == p->parts)
        return -range_compare_prefix(v, p->part[i]);
    return value_compare(p->part[i], v);
}

int probe_compare(const struct probe *p, const struct record *rec) {
    for (uint32_t i = 0; i < p->parts; i++) {
        int c = compare_part(p, i, order_part(p->order, i, rec));
        if (c != 0)
            return c;
    }
    return p->row.at != NULL ? value_compare(p->row, record_value(rec)) : 0;
}

int probe_compare_pivot(const struct probe *p, const struct pivot *pivot) {
    const uint8_t *at = pivot->bytes;

    for (uint32_t i = 0; i < p->parts; i++) {
        struct value v = value_at(at);
        int c = compare_part(p, i, v);
        if (c != 0)
            return c;
        at += v.size_bytes;
    }
    return p->row.at != NULL ? value_compare(p->row, value_at(at)) : 0;
}

/* Encoded values say themselves where they end: one that begins with the bytes of `v` is
 * `v`.  Other bytes may still mean the same value. */
static bool part_equals(const struct order *order, uint32_t i, const struct record *rec,
                        struct value v) {
    const uint8_t *array = record_array(rec);
    const uint8_t *at = array + 1;

    if (EG_LIKELY((*array & 0xf0) == 0x90 && order->paths == NULL)) {
        for (uint32_t position = order->position[i]; position > 0; position--)
            at = value_leads[*at] < LEAD_NEVER ? at + value_leads[*at] : value_skip(at);
        if (EG_LIKELY(record_array_bytes(rec) - (size_t) (at - array) >= v.size_bytes &&
                      memcmp(at, v.at, v.size_bytes) == 0))
            return true;
    }
    return value_equal(order_part(order, i, rec), v);
}

bool order_begins(const struct order *order, const struct record *rec, const struct value *parts,
                  uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (!part_equals(order, i, rec, parts[i]))
            return false;
    return true;
}

bool order_same(const struct order *order, const struct record *a, const struct record *b) {
    for (uint32_t i = 0; i < order->parts; i++)
        if (!value_equal(order_part(order, i, a), order_part(order, i, b)))
            return false;
    return !order->rest || value_equal(record_value(a), record_value(b));
}

size_t pivot_bytes_for(const struct order *order, const struct record *rec) {
    size_t size = offsetof(struct pivot, bytes);

    for (uint32_t i = 0; i < order->parts; i++)
        size += order_part(order, i, rec).size_bytes;
    return size + (order->rest ? record_array_bytes(rec) : 0);
}

void pivot_init(struct pivot *p, const struct order *order, const struct record *rec,
                uint64_t generation) {
    uint8_t *at = p->bytes;

    p->generation = generation;
    for (uint32_t i = 0; i < order->parts; i++) {
        struct value v = order_part(order, i, rec);
        memcpy(at, v.at, v.size_bytes);
        at += v.size_bytes;
    }
    if (order->rest) {
        memcpy(at, record_array(rec), record_array_bytes(rec));
        at += record_array_bytes(rec);
    }
    p->size_bytes = (uint32_t) (at - p->bytes);
}
