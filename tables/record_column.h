/* record_column.h -- one field of many records, side by side.
 *
 *     records   [k0, 7, ..]   [k1, 1000, ..]   [k2, -3, ..]
 *     column        ^at[0]         ^at[1]          ^at[2]        --> 7, 1000, -3
 *
 * Finding a field and reading a number are chains of steps that wait for each other.  A core
 * works on several chains at once, but only on those that fit into its window: so each
 * step is done for all records before the next one, and the chains are short.
 */
#ifndef TABLES_RECORD_COLUMN_H
#define TABLES_RECORD_COLUMN_H

#include "tables/record_batch.h"

struct record_column {
    uint32_t count;
    uint32_t position;
    const uint8_t *at[RECORD_BATCH_MAX]; /* where each field begins */
};

/* The field at `position` of all of a batch, which asks for the next ones meanwhile.  False: a
 * record is no array of `arity` with a header of one byte, and nothing was found. */
EG_MUST_USE bool record_column_find(struct record_column *c, const struct record_batch *b,
                                    uint32_t arity, uint32_t position);
/* On to a field at or behind the column's. */
void record_column_move(struct record_column *c, uint32_t position);

/* How far into a record one has to look for the column, by the example of its first record. */
uint32_t record_column_reach(const struct record_column *c, const struct record *first);

/* The column's integers.  `known[i]` 0: number i is no integer of 64 bits with sign, and out[i] is
 * anything.  True: all are. */
bool record_column_integers(const struct record_column *c, int64_t *out, uint8_t *known);

#endif /* TABLES_RECORD_COLUMN_H */
