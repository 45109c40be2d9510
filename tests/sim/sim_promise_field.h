/* sim_promise_field.h -- the fields of a record, each of which says whose write it is of.
 *
 *     notes, firsts      [key, number]
 *     mosts, leasts      [key, rank]            ranks are in another order than numbers
 *     fields             [key, number, number]  of two writes, maybe
 *     joins              [key, rank, number]    likewise: of each the greater
 *
 * Threads    Pure.
 */
#ifndef TESTS_SIM_SIM_PROMISE_FIELD_H
#define TESTS_SIM_SIM_PROMISE_FIELD_H

#include "tests/sim/sim_promise.h"

enum { PROMISE_FIELDS_MAX = 2 };

/* A record as it stands, or is in a journal. */
struct promised {
    bool there;
    uint64_t field[PROMISE_FIELDS_MAX];
};

uint32_t promise_field_count(enum promise_table t);
/* What a write puts there. */
uint64_t promise_field(enum promise_table t, uint32_t number, uint32_t field);
/* Whose it is. */
uint32_t promise_number_of(uint64_t field);
/* All fields of a table. */
static inline uint32_t promise_all_fields(enum promise_table t) {
    return (UINT32_C(1) << promise_field_count(t)) - 1;
}
/* Nil and no record at all are not there. */
struct promised promise_read_fields(enum promise_table t, struct value record);

void promise_put_record(struct value_writer *w, enum promise_table t, uint32_t key,
                        uint32_t number);

#endif /* TESTS_SIM_SIM_PROMISE_FIELD_H */
