/* record_column.c -- short loops over many records.
 *
 * Fields before the wanted one have the same size in most records, as a key made in
 * one way has; so the last one's first byte is tried first.  It is a guess that the
 * core takes without waiting for the byte, where looking its size up would wait. */
#include "tables/record_column.h"

#include "tables/value_integer.h"

#include <string.h>

enum { SHORT_ARRAY = 0x90, SHORT_MAX = 15 };

/* The first fields.  Nothing is decided before the end: one branch for all. */
static bool find_first(struct record_column *c, const struct record_batch *b, uint8_t header) {
    uint32_t other = 0;

    for (uint32_t i = 0; i < b->count; i++) {
        const uint8_t *array = record_array(b->record[i]);
        record_batch_ahead(b, i);
        other |= array[0] ^ header;
        c->at[i] = array + 1;
    }
    return other == 0;
}

/* The second fields: the header and the first byte of the first field are looked at as one. */
static bool find_second(struct record_column *c, const struct record_batch *b, uint8_t header) {
    const uint8_t usual[2] = {header, record_array(b->record[0])[1]};
    uint8_t usual_bytes = value_leads[usual[1]];

    for (uint32_t i = 0; i < b->count; i++) {
        const uint8_t *array = record_array(b->record[i]);
        record_batch_ahead(b, i);
        if (EG_LIKELY(memcmp(array, usual, sizeof usual) == 0 && usual_bytes < LEAD_NEVER))
            c->at[i] = array + 1 + usual_bytes;
        else if (EG_LIKELY(array[0] == header))
            c->at[i] = value_behind(array + 1);
        else
            return false;
    }
    return true;
}

static void move_one(struct record_column *c) {
    uint8_t usual = c->count > 0 ? c->at[0][0] : 0;
    uint8_t usual_bytes = value_leads[usual];

    for (uint32_t i = 0; i < c->count; i++) {
        const uint8_t *at = c->at[i];
        if (EG_LIKELY(*at == usual && usual_bytes < LEAD_NEVER))
            c->at[i] = at + usual_bytes;
        else
            c->at[i] = value_behind(at);
    }
    c->position++;
}

void record_column_move(struct record_column *c, uint32_t position) {
    EG_ASSERT(position >= c->position);
    while (c->position < position)
        move_one(c);
}

bool record_column_find(struct record_column *c, const struct record_batch *b, uint32_t arity,
                        uint32_t position) {
    uint8_t header = (uint8_t) (SHORT_ARRAY | arity);

    EG_ASSERT(b->count > 0);
    if (arity > SHORT_MAX || !(position == 0 ? find_first : find_second)(c, b, header))
        return false;
    c->count = b->count;
    c->position = EG_MIN(position, 1u);
    record_column_move(c, position);
    return true;
}

uint32_t record_column_reach(const struct record_column *c, const struct record *first) {
    enum { NUMBER_BYTES = 9 };
    ptrdiff_t bytes = c->at[0] - (const uint8_t *) first + NUMBER_BYTES - 1;

    return (uint32_t) EG_MIN(bytes, (ptrdiff_t) RECORD_SIZE_MAX);
}

bool record_column_integers(const struct record_column *c, int64_t *out, uint8_t *known) {
    uint8_t all = 1;

    for (uint32_t i = 0; i < c->count; i++) {
        known[i] = value_integer_at(c->at[i], &out[i]);
        all &= known[i];
    }
    return all;
}
