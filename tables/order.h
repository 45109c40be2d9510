/* order.h -- by what a tree compares records.
 *
 * An order names attribute positions, most significant first, and may end with
 * the whole record, which makes every record different from every other:
 *
 *     ordered_set         [0]                 one record a key
 *     bag                 [0] rest            equal records are one
 *     index on i, j       [i, j, 0]           one entry a record
 *     index on i, in a bag [i, 0] rest
 *
 * An index's parts may be places inside their attributes (index_spec.h).
 *
 * A probe is a place in that order: the first parts only (all records whose
 * first parts are these), or a record's own place.  It carries the beginning of its
 * sortable form (key.h), so that most comparisons are of a few bytes; only
 * where these tie are the values themselves compared.
 *
 * A pivot keeps what a record was compared by after the record itself is gone:
 * the parts' encoded values in a row.  Trees separate their children with it.
 *
 * Threads    Pure functions.
 */
#ifndef TABLES_ORDER_H
#define TABLES_ORDER_H

#include "tables/index_spec.h"
#include "tables/record.h"

enum {
    ORDER_PARTS_MAX = INDEX_PARTS_MAX + 1, /* an index's, then the key */
    PROBE_BYTES = 128, /* of the sortable form; what lies behind is compared by value */
};

struct order {
    uint16_t position[ORDER_PARTS_MAX];
    uint8_t parts;
    bool rest;                      /* then the whole record */
    const struct index_spec *paths; /* where a part lies inside its attribute; NULL: none does */
};

static inline struct order order_of_keys(bool bag) {
    return (struct order){.position = {0}, .parts = 1, .rest = bag};
}
static inline struct order order_of_attribute(uint16_t position, bool bag) {
    return (struct order){.position = {position, 0}, .parts = 2, .rest = bag};
}
/* Borrows the spec where it has paths. */
struct order order_of_index(const struct index_spec *spec, bool bag);

/* What `rec` is compared by in part `i`. */
static inline struct value order_part(const struct order *order, uint32_t i,
                                      const struct record *rec) {
    struct value v = record_field(rec, order->position[i]);

    if (EG_LIKELY(order->paths == NULL) || i + 1 == order->parts) /* the key is whole */
        return v;
    return index_spec_follow(order->paths, i, v);
}

struct probe {
    const struct order *order;
    struct value part[ORDER_PARTS_MAX];
    uint8_t parts;    /* how many are given                              */
    bool complete;    /* the place of one record, not of a run of them   */
    bool prefix;      /* the last part: all arrays that begin with it    */
    struct value row; /* the whole record, where complete and order.rest */
    uint32_t sortable_bytes;
    uint8_t sortable[PROBE_BYTES];
};

struct pivot {
    uint64_t generation; /* of the tree that made it */
    uint32_t size_bytes;
    uint8_t bytes[]; /* the parts' values, then the whole record where order.rest */
};

/* All records whose first part equals `v`.  Borrows `v` and `order`. */
void probe_of_value(struct probe *p, const struct order *order, struct value v);
/* All whose first parts equal these; `count` at most the order's parts.  Borrows them. */
void probe_of_values(struct probe *p, const struct order *order, const struct value *v,
                     uint32_t count);
/* The same, but the last of them is an array, and every array that begins with it is meant. */
void probe_of_prefix(struct probe *p, const struct order *order, const struct value *v,
                     uint32_t count);
/* The place whose parts, and whole record where order.rest, are these values. */
void probe_of_place(struct probe *p, const struct order *order, const struct value *v);

/* The place of `rec`.  Borrows it. */
void probe_of_record(struct probe *p, const struct order *order, const struct record *rec);

/* The place of a pivot.  Borrows it. */
void probe_of_pivot(struct probe *p, const struct order *order, const struct pivot *pivot);

/* <0: the probe comes before; 0: equal in all parts that the probe has. */
int probe_compare(const struct probe *p, const struct record *rec);
int probe_compare_pivot(const struct probe *p, const struct pivot *pivot);

/* Are these the first parts of `rec`? */
bool order_begins(const struct order *order, const struct record *rec, const struct value *parts,
                  uint32_t count);

/* Do two records stand at the same place? */
bool order_same(const struct order *order, const struct record *a, const struct record *b);

/* Bytes that a pivot for `rec` takes, and writing one there. */
size_t pivot_bytes_for(const struct order *order, const struct record *rec);
void pivot_init(struct pivot *p, const struct order *order, const struct record *rec,
                uint64_t generation);
static inline size_t pivot_bytes(const struct pivot *p) {
    return offsetof(struct pivot, bytes) + p->size_bytes;
}

#endif /* TABLES_ORDER_H */
