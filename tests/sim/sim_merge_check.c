/* sim_merge_check.c -- what all copies have in the end, against what was asked for. */
#include "tests/sim/sim_merge.h"

#include "tables/table_private.h"
#include "tests/sim/copies.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct seen {
    uint64_t counter[MERGE_COUNTERS];
    bool there[MERGE_THINGS_MAX];
    const char *nonsense; /* what nobody wrote, or NULL */
};

bool sim_merge_agrees(struct sim_node *const *nodes, uint32_t count, const struct sim_merge *x,
                      char text[HISTORY_TEXT_BYTES]) {
    for (uint32_t t = 0; x->on && t < MERGE_TABLES; t++)
        if (!copies_same(nodes, count, merge_table_name((enum merge_table) t), 2, text))
            return false;
    return true;
}

/* ---- what is there -------------------------------------------------------------------------- */

static bool next_u64(struct value_iter *it, uint64_t *n) {
    struct value v;
    return value_iter_next(it, &v) && value_get_u64(v, n);
}

static void see_thing(const struct sim_merge *x, struct seen *seen, enum merge_table t,
                      uint64_t key, uint64_t number) {
    if (number == 0 || number > x->things || x->thing[number].table != t ||
        x->thing[number].key != key)
        seen->nonsense = merge_table_name(t);
    else
        seen->there[number] = true;
}

static void see(const struct sim_merge *x, struct seen *seen, enum merge_table t,
                struct value record) {
    struct value_iter it = value_iter_of(record), elements;
    struct value v;
    uint64_t key, number;

    if (!next_u64(&it, &key) || !value_iter_next(&it, &v)) {
        seen->nonsense = merge_table_name(t);
    } else if (t == MERGE_TALLY) {
        if (key >= MERGE_COUNTERS || !value_get_u64(v, &seen->counter[key]))
            seen->nonsense = merge_table_name(t);
    } else if (t == MERGE_PAIRS) {
        see_thing(x, seen, t, key, value_get_u64(v, &number) ? number : 0);
    } else {
        elements = value_iter_of(v);
        while (next_u64(&elements, &number))
            see_thing(x, seen, t, key, number);
    }
}

static void look(const struct sim_merge *x, struct sim_node *n, struct seen *seen) {
    struct reader r;

    *seen = (struct seen){.nonsense = NULL};
    EG_ASSERT(reader_open(&r, n->epoch, alloc_system()) == EG_OK);
    reader_enter(&r);
    for (uint32_t i = 0; i < MERGE_TABLES; i++) {
        const char *name = merge_table_name((enum merge_table) i);
        struct table *t = catalog_find(n->catalog, name, strlen(name));

        for (uint32_t k = 0; t != NULL && k < t->shard_count; k++) {
            struct shard *s = &t->shard[k];
            const struct record *rec;
            struct store_cursor c;

            s->store->ops->seek(s->store, &r, &c, NULL, false, false);
            while ((rec = s->store->ops->next(s->store, &r, &c)) != NULL)
                see(x, seen, (enum merge_table) i, record_value(rec));
        }
    }
    reader_exit(&r);
    reader_close(&r);
}

/* ---- rules ---------------------------------------------------------------------------------- */

/* Might a clear have taken this away?  `must`: has one, for certain? */
static bool is_cleared(const struct sim_merge *x, const struct thing *t, bool must) {
    for (uint32_t i = 0; t->table == MERGE_PAIRS && i < x->clears; i++) {
        const struct merge_clear *c = &x->clear[i];
        bool in_order = c->end == OP_OK && c->view != 0 && c->view == t->view;

        if (must ? in_order && t->put == OP_OK && t->end_ns < c->begin_ns
                 : !in_order || t->begin_ns <= c->end_ns)
            return true;
    }
    return false;
}

static bool wrong(char text[HISTORY_TEXT_BYTES], const char *what, uint32_t number,
                  const struct thing *t) {
    snprintf(text, HISTORY_TEXT_BYTES, "%s: %s, key %" PRIu64 ", %u (put at %.3f ms)", what,
             merge_table_name(t->table), t->key, number, (double) t->begin_ns / 1e6);
    return false;
}

static bool check_thing(const struct sim_merge *x, uint32_t number, bool there, bool kept,
                        char text[HISTORY_TEXT_BYTES]) {
    const struct thing *t = &x->thing[number];

    if (there && t->put == OP_FAIL)
        return wrong(text, "refused and there", number, t);
    if (!kept)
        return true;
    if (!there && t->put == OP_OK && t->taken == OP_OPEN && !is_cleared(x, t, false))
        return wrong(text, "acknowledged and lost", number, t);
    if (there && t->put == OP_OK && t->taken == OP_OK && t->known)
        return wrong(text, "taken out and back", number, t);
    if (there && is_cleared(x, t, true))
        return wrong(text, "cleared and back", number, t);
    return true;
}

bool sim_merge_check(const struct sim_merge *x, struct sim_node *n, bool kept,
                     char text[HISTORY_TEXT_BYTES]) {
    static struct seen seen;

    if (!x->on)
        return true;
    look(x, n, &seen);
    if (seen.nonsense != NULL) {
        snprintf(text, HISTORY_TEXT_BYTES, "%s has what nobody wrote", seen.nonsense);
        return false;
    }
    for (uint32_t i = 0; i < MERGE_COUNTERS; i++)
        if ((kept && seen.counter[i] < x->acked[i]) ||
            seen.counter[i] > x->acked[i] + x->doubted[i]) {
            snprintf(text, HISTORY_TEXT_BYTES,
                     "tally %u is %" PRIu64 ", and %" PRIu64 " was acknowledged, %" PRIu64
                     " is in doubt",
                     i, seen.counter[i], x->acked[i], x->doubted[i]);
            return false;
        }
    for (uint32_t i = 1; i <= x->things; i++)
        if (!check_thing(x, i, seen.there[i], kept, text))
            return false;
    return true;
}
