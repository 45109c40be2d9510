/* order.c -- probes and pivots: places in the order of a tree. */
#include "tables/order.h"

#include "tables/key.h"

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

void probe_of_value(struct probe *p, const struct order *order, struct value v) {
    probe_begin(p, order);
    probe_add(p, v);
    probe_end(p);
}

void probe_of_record(struct probe *p, const struct order *order, const struct record *rec) {
    probe_begin(p, order);
    for (uint32_t i = 0; i < order->parts; i++)
        probe_add(p, record_field(rec, order->position[i]));
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

int probe_compare(const struct probe *p, const struct record *rec) {
    for (uint32_t i = 0; i < p->parts; i++) {
        int c = value_compare(p->part[i], record_field(rec, p->order->position[i]));
        if (c != 0)
            return c;
    }
    return p->row.at != NULL ? value_compare(p->row, record_value(rec)) : 0;
}

int probe_compare_pivot(const struct probe *p, const struct pivot *pivot) {
    const uint8_t *at = pivot->bytes;

    for (uint32_t i = 0; i < p->parts; i++) {
        struct value v = value_at(at);
        int c = value_compare(p->part[i], v);
        if (c != 0)
            return c;
        at += v.size_bytes;
    }
    return p->row.at != NULL ? value_compare(p->row, value_at(at)) : 0;
}

bool order_same(const struct order *order, const struct record *a, const struct record *b) {
    for (uint32_t i = 0; i < order->parts; i++)
        if (!value_equal(record_field(a, order->position[i]), record_field(b, order->position[i])))
            return false;
    return !order->rest || value_equal(record_value(a), record_value(b));
}

size_t pivot_bytes_for(const struct order *order, const struct record *rec) {
    size_t size = offsetof(struct pivot, bytes);

    for (uint32_t i = 0; i < order->parts; i++)
        size += record_field(rec, order->position[i]).size_bytes;
    return size + (order->rest ? record_array_bytes(rec) : 0);
}

void pivot_init(struct pivot *p, const struct order *order, const struct record *rec,
                uint64_t generation) {
    uint8_t *at = p->bytes;

    p->generation = generation;
    for (uint32_t i = 0; i < order->parts; i++) {
        struct value v = record_field(rec, order->position[i]);
        memcpy(at, v.at, v.size_bytes);
        at += v.size_bytes;
    }
    if (order->rest) {
        memcpy(at, record_array(rec), record_array_bytes(rec));
        at += record_array_bytes(rec);
    }
    p->size_bytes = (uint32_t) (at - p->bytes);
}
