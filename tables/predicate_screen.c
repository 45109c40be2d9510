/* predicate_screen.c -- most records are looked at only to be left again.
 *
 * A clause that begins by comparing fields with integers needs no machine to say no.  A test is
 * read once for many records, as a range of integers that is meant or is not, and asked of
 * the whole column.  What is no integer is left to the machine, as is everything else that
 * a clause may ask. */
#include "tables/predicate_private.h"
#include "tables/record_column.h"

#include <string.h>

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

/* keep[i]: all tests so far hold, or cannot be asked; known[i]: all could be asked. */
struct screen {
    struct record_column column;
    int64_t n[RECORD_BATCH_MAX];
    uint8_t integer[RECORD_BATCH_MAX];
    uint8_t known[RECORD_BATCH_MAX];
    uint8_t keep[RECORD_BATCH_MAX];
};

static void ask(struct screen *s, const struct test *t) {
    record_column_move(&s->column, t->position);
    if (EG_LIKELY(record_column_integers(&s->column, s->n, s->integer))) {
        for (uint32_t i = 0; i < s->column.count; i++)
            s->keep[i] &= ((uint64_t) s->n[i] - t->low <= t->span) ^ t->other;
        return;
    }
    for (uint32_t i = 0; i < s->column.count; i++) {
        uint8_t holds = ((uint64_t) s->n[i] - t->low <= t->span) ^ t->other;
        s->keep[i] &= holds | (s->integer[i] ^ 1);
        s->known[i] &= s->integer[i];
    }
}

/* Keep the records that are kept; are all of them known? */
static bool close_ranks(const struct screen *s, struct record_batch *b) {
    uint32_t kept = 0;
    uint8_t unknown = 0;

    for (uint32_t i = 0; i < b->count; i++) {
        b->record[kept] = b->record[i];
        kept += s->keep[i];
        unknown |= s->keep[i] & (s->known[i] ^ 1);
    }
    b->count = kept;
    b->ahead = NULL;
    return unknown == 0;
}

bool predicate_screen(const struct predicate *p, struct record_batch *b, uint32_t *reach_bytes) {
    struct screen s;
    const struct code *c = p->code + 1;
    const struct record *first = b->record[0];

    if (!p->screens || b->count == 0 || !record_column_find(&s.column, b, p->arity, 0))
        return false;
    memset(s.keep, 1, b->count);
    memset(s.known, 1, b->count);
    for (uint32_t left = tests_of(p); left > 0; left--, c++) {
        struct test t = test_of(p, c);
        ask(&s, &t);
    }
    *reach_bytes = record_column_reach(&s.column, first);
    return close_ranks(&s, b) && p->screens_all;
}
