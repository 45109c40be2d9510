/* predicate_screen.c -- most records are looked at only to be left again.
 *
 * A clause that begins by comparing fields with integers needs no machine to say no.  A test is
 * read once for many records, as a range of integers that is meant or is not, and asked of
 * the whole column; the next one of those that are left.  What is no integer is left to the
 * machine, as is everything else that a clause may ask. */
#include "tables/predicate_private.h"
#include "tables/record_column.h"
#include "tables/value_integer.h"

enum { TESTS_MAX = 8 };

/* Meant is what lies from `low` as far as `span`, or (`other`) what does not. */
struct test {
    uint32_t position;
    uint64_t low, span;
    uint8_t other;
};

static struct test test_of(const struct predicate *p, const struct code *c) {
    uint64_t n = (uint64_t) p->literal[c->y].i, least = (uint64_t) INT64_MIN;
    bool above = (c->holds & ORDER_GREATER) != 0;
    bool below = (c->holds & ORDER_LESS) != 0;
    bool equal = (c->holds & ORDER_EQUAL) != 0;
    struct test t = {.position = c->x, .low = n, .span = 0, .other = !equal};

    if (above == below) { /* == or /= */
        t.other = above;
        return t;
    }
    t.low = least; /* below n, and n itself or not; or the rest of these */
    t.span = n - least;
    t.other = above;
    if (below == equal) /* =< n, and its rest: > n */
        return t;
    t.low = n; /* >= n, and its rest: < n */
    t.span = (uint64_t) INT64_MAX - n;
    t.other = below;
    return t;
}

/* Tests in front of the clause, none before the field of the one before it. */
static uint32_t tests_of(const struct predicate *p) {
    const struct code *c = p->code + 1;
    uint32_t count = 0, position = 0;

    while (c->op == CODE_FIELD_INTEGER && count < TESTS_MAX && c->x >= position) {
        position = c->x;
        count++;
        c++;
    }
    return count;
}

void screen_prepare(struct predicate *p) {
    const struct code *c = p->code + 1;

    p->screens = p->code[0].op == CODE_CLAUSE && c->op == CODE_FIELD_INTEGER &&
                 p->code[p->code[0].x].op == CODE_END;
    if (p->screens)
        c += tests_of(p);
    p->screens_all = p->screens && c->op == CODE_YIELD &&
                     (c->x_from == FROM_RECORD || c->x_from == FROM_LITERAL);
    p->yields_true = p->screens_all && c->x_from == FROM_LITERAL &&
                     p->literal[c->x].form == SLOT_AT && *p->literal[c->x].at == 0xc3;
}

bool predicate_screens_true(const struct predicate *p) {
    return p->yields_true;
}

/* Leave out whose integer is not meant.  Who has none stays; false: there is one. */
static bool keep_meant(struct record_column *column, struct record_batch *b, struct test t) {
    uint32_t kept = 0, others = 0;

    for (uint32_t i = 0; i < column->count; i++) {
        const uint8_t *at = column->at[i];
        int64_t n;
        uint32_t other = !value_integer_at(at, &n);

        b->record[kept] = b->record[i];
        column->at[kept] = at;
        kept += (((uint64_t) n - t.low <= t.span) ^ t.other) | other;
        others |= other;
    }
    b->count = column->count = kept;
    return others == 0;
}

bool predicate_screen(const struct predicate *p, struct record_batch *b, uint32_t *reach_bytes) {
    struct record_column column;
    const struct code *c = p->code + 1;
    bool known = true;

    if (!p->screens || b->count == 0 || !record_column_find(&column, b, p->arity, c->x))
        return false;
    b->ahead = NULL;
    for (uint32_t left = tests_of(p); left > 0 && b->count > 0; left--, c++) {
        record_column_move(&column, c->x);
        *reach_bytes = record_column_reach(&column, b->record[0]);
        known &= keep_meant(&column, b, test_of(p, c));
    }
    return known && p->screens_all;
}
