/* text_column.c -- aggregates of many records at once. */
#include "query/text_column.h"

#include "tables/record_column.h"

/* The numbers of a column, where they are integers. */
struct numbers {
    int64_t n[RECORD_BATCH_MAX];
    uint8_t known[RECORD_BATCH_MAX];
};

static eg_err add_each(struct text_tally *t, enum text_aggregate kind,
                       const struct record_column *c, struct text_memory *m) {
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < c->count && err == EG_OK; i++)
        err = text_tally_add(t, kind, value_of(c->at[i]), m);
    return err;
}

static void add_count(struct text_tally *t, const struct record_column *c) {
    for (uint32_t i = 0; i < c->count; i++)
        t->count += c->at[i][0] != 0xc0;
}

/* A sum of a batch's integers fits into 72 bits: their upper and lower halves are added apart. */
static void add_integers(struct text_tally *t, const struct numbers *all, uint32_t count) {
    uint64_t low = 0;
    int64_t high = 0;

    for (uint32_t i = 0; i < count; i++) {
        low += (uint32_t) all->n[i];
        high += all->n[i] >> 32;
    }
    text_tally_add_integer(t, low, false);
    text_tally_add_integer(t, (uint64_t) high << 32, false);
    t->high += high >> 32;
    t->count += count;
    t->numbers += count;
}

/* Only the first of the best counts, as if they had come one by one. */
static eg_err add_best(struct text_tally *t, enum text_aggregate kind,
                       const struct record_column *c, const struct numbers *all,
                       struct text_memory *m) {
    uint32_t best = 0;

    for (uint32_t i = 1; i < c->count; i++)
        if (kind == TEXT_MIN ? all->n[i] < all->n[best] : all->n[i] > all->n[best])
            best = i;
    t->count += c->count - 1;
    return text_tally_add(t, kind, value_of(c->at[best]), m);
}

static eg_err add_column(struct text_tally *t, enum text_aggregate kind,
                         const struct record_column *c, struct text_memory *m) {
    struct numbers all;

    if (kind == TEXT_COUNT) {
        add_count(t, c);
        return EG_OK;
    }
    if (!record_column_integers(c, all.n, all.known))
        return add_each(t, kind, c, m);
    if (kind == TEXT_MIN || kind == TEXT_MAX)
        return add_best(t, kind, c, &all, m);
    add_integers(t, &all, c->count);
    return EG_OK;
}

/* The field that is aggregated first. */
static uint32_t first_field(const struct text_plan *p) {
    for (uint32_t i = 0; i < p->aggregate_count; i++)
        if (p->aggregate_values[i] != UINT32_MAX)
            return p->fields[p->aggregate_values[i]];
    return 0;
}

eg_err text_groups_add_batch(struct text_groups *g, const struct record_batch *b, uint32_t arity,
                             uint32_t *reach_bytes, bool *taken) {
    const struct text_plan *p = g->plan;
    struct text_tally *t = g->all->tally;
    struct record_batch again = *b; /* the next ones have been asked for by then */
    struct record_column c;
    eg_err err = EG_OK;

    *taken = b->count == 0 || record_column_find(&c, b, arity, first_field(p));
    again.ahead = NULL;
    for (uint32_t i = 0; i < p->aggregate_count && b->count > 0 && *taken && err == EG_OK; i++) {
        uint32_t value = p->aggregate_values[i];

        if (value == UINT32_MAX) {
            t[i].count += b->count;
            continue;
        }
        if (p->fields[value] < c.position)
            EG_ASSERT(record_column_find(&c, &again, arity, 0));
        record_column_move(&c, p->fields[value]);
        *reach_bytes = EG_MAX(*reach_bytes, record_column_reach(&c, b->record[0]));
        err = add_column(&t[i], p->aggregates[i], &c, g->memory);
    }
    return err;
}
