/* text_group.h -- aggregates, for all rows or for each group of them.
 *
 *     groups: hash table --> [ the group's values | sum, count, min, ... ] ...
 *
 * nil counts for nothing but count(*).  A sum of integers is an integer, kept in 128
 * bits on its way, so that only the whole sum has to fit; with a float among them it is a
 * float.  What is no number adds nothing to sum and avg.  Values that compare equal are
 * one group, 1 and 1.0 too, and nil is one.
 *
 * Memory     Counts towards the query's TEXT_MEMORY_MAX.
 */
#ifndef QUERY_TEXT_GROUP_H
#define QUERY_TEXT_GROUP_H

#include "query/text_plan.h"
#include "query/text_rows.h"

struct text_tally {
    uint64_t count;   /* of rows, or of values that are not nil */
    uint64_t numbers; /* of these, how many were summed         */
    bool real;        /* a float was among them                 */
    uint64_t low;     /* the integers' sum, in two's complement */
    int64_t high;
    double sum, lost; /* of the floats, and what rounding took from it */
    uint8_t *best;    /* min or max; NULL: none yet             */
    uint32_t best_bytes, best_room;
    bool whole; /* best is the integer `best_integer` */
    int64_t best_integer;
};

/* Two's complement in 128 bits: the sign goes on into the upper half. */
static inline void text_tally_add_integer(struct text_tally *t, uint64_t low, bool negative) {
    t->high += __builtin_add_overflow(t->low, low, &t->low) - (negative ? 1 : 0);
}
/* Count one value in.  EG_TOO_LARGE, EG_MEMORY. */
EG_MUST_USE eg_err text_tally_add(struct text_tally *t, enum text_aggregate kind, struct value v,
                                  struct text_memory *m);

/* Count in what was counted elsewhere; `best` is nil for none. */
EG_MUST_USE eg_err text_tally_merge(struct text_tally *t, enum text_aggregate kind,
                                    const struct text_tally *other, struct value best,
                                    struct text_memory *m);

enum { TEXT_GROUPS_PIECE = 2048 }; /* freed in one go: some 100 us */

struct text_group {
    uint64_t hash;
    const uint8_t *values; /* those of the group, one after the other */
    struct text_tally tally[];
};

struct text_groups {
    const struct text_plan *plan;
    struct text_memory *memory;
    struct text_store store;
    struct text_group *all;    /* without group by: the one there is  */
    struct text_group **group; /* in the order they came          */
    uint32_t count, room;
    uint32_t *slot; /* number of a group + 1, by its hash; 0: none */
    uint32_t slots;
};

EG_MUST_USE eg_err text_groups_init(struct text_groups *g, const struct text_plan *plan,
                                    struct text_memory *memory);
void text_groups_fini(struct text_groups *g);
/* Before that: free up to TEXT_GROUPS_PIECE groups.  True: there are no more. */
bool text_groups_free_some(struct text_groups *g);

/* The group of these values, a new one where there is none.  EG_TOO_LARGE, EG_MEMORY. */
EG_MUST_USE eg_err text_groups_find(struct text_groups *g, const struct value *values,
                                    struct text_group **out);

/* Count a row in whose values are these.  EG_TOO_LARGE, EG_MEMORY. */
EG_MUST_USE eg_err text_groups_add(struct text_groups *g, const struct value *values);

/* The same without group by, where the plan is `direct`: fields[i] is where the record's field
 * i begins. */
EG_MUST_USE eg_err text_groups_add_fields(struct text_groups *g, const uint8_t *const *fields);

/* Append the record of group `i`: its values, then its aggregates.  EG_BAD_REQUEST: a
 * sum that leaves 64 bits. */
EG_MUST_USE eg_err text_groups_put(struct text_groups *g, uint32_t i, struct buffer *out,
                                   struct err_note *note);

#endif /* QUERY_TEXT_GROUP_H */
