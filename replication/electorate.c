/* electorate.c -- lists of nodes, as they are written, and how one follows the other. */
#include "replication/electorate.h"

#include <string.h>

bool elector_lists_equal(const struct elector_list *a, const struct elector_list *b) {
    bool same = a->count == b->count;

    for (uint32_t i = 0; same && i < a->count; i++)
        same = a->at[i].id == b->at[i].id && a->at[i].weight == b->at[i].weight &&
               a->at[i].has_disc == b->at[i].has_disc;
    return same;
}

void elector_list_add(struct elector_list *l, struct elector e) {
    uint32_t at = l->count;

    EG_ASSERT(l->count < NODES_MAX);
    for (; at > 0 && l->at[at - 1].id > e.id; at--)
        l->at[at] = l->at[at - 1];
    l->at[at] = e;
    l->count++;
}

/* ---- as bytes ---------------------------------------------------------------------------- */

void elector_list_put(struct value_writer *w, const struct elector_list *l) {
    value_put_array(w, l->count);
    for (uint32_t i = 0; i < l->count; i++) {
        value_put_array(w, 3);
        value_put_u64(w, l->at[i].id);
        value_put_u64(w, l->at[i].weight);
        value_put_bool(w, l->at[i].has_disc);
    }
}

void electorate_put(struct value_writer *w, const struct electorate *e) {
    value_put_array(w, 2);
    value_put_u64(w, e->epoch);
    value_put_array(w, e->lists);
    for (uint32_t i = 0; i < e->lists; i++)
        elector_list_put(w, &e->list[i]);
}

static bool get_elector(struct value v, struct elector *e) {
    struct value_iter it;
    struct value disc;
    uint64_t weight;

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != 3)
        return false;
    it = value_iter_of(v);
    if (!value_iter_u64(&it, &e->id) || !value_iter_u64(&it, &weight) || weight > NODE_WEIGHT_MAX)
        return false;
    e->weight = (uint32_t) weight;
    return value_iter_next(&it, &disc) && value_get_bool(disc, &e->has_disc);
}

bool elector_list_get(struct value v, struct elector_list *l) {
    struct value_iter it;
    struct value one;

    l->count = 0;
    if (v.size_bytes == 0 || value_kind_of(v) != VALUE_ARRAY || value_count(v) > NODES_MAX)
        return false;
    it = value_iter_of(v);
    while (value_iter_next(&it, &one)) {
        struct elector e;

        if (!get_elector(one, &e))
            return false;
        elector_list_add(l, e);
    }
    return true;
}

bool electorate_get(struct value v, struct electorate *e) {
    struct value_iter it;
    struct value lists, one;

    *e = (struct electorate){0};
    if (v.size_bytes == 0 || value_kind_of(v) != VALUE_ARRAY || value_count(v) != 2)
        return false;
    it = value_iter_of(v);
    if (!value_iter_u64(&it, &e->epoch) || e->epoch == 0 || !value_iter_next(&it, &lists) ||
        value_kind_of(lists) != VALUE_ARRAY || value_count(lists) == 0 ||
        value_count(lists) > ELECTORATE_LISTS)
        return false;
    it = value_iter_of(lists);
    while (value_iter_next(&it, &one))
        if (!elector_list_get(one, &e->list[e->lists++]))
            return false;
    return true;
}

/* ---- who votes ----------------------------------------------------------------------------- */

uint32_t electorate_of(const struct electorate *e, uint32_t list, bool on_disc, uint64_t group,
                       uint32_t partition, uint32_t copies, uint64_t out[NODES_MAX]) {
    const struct elector_list *l = &e->list[list];
    struct placement_node nodes[NODES_MAX];
    uint32_t placed;

    for (uint32_t i = 0; i < l->count; i++)
        nodes[i] = (struct placement_node){.id = l->at[i].id,
                                           .weight = l->at[i].weight,
                                           .eligible = !on_disc || l->at[i].has_disc,
                                           .standing = true};
    (void) placement_copies(nodes, l->count, group, partition, copies, out, &placed);
    return placed;
}

/* ---- one follows the other ------------------------------------------------------------------- */

bool electorate_next(struct electorate *out, const struct electorate *now,
                     const struct elector_list *wanted, struct electorate_look look,
                     uint64_t epoch) {
    *out = *now;
    if (now->lists == 2 && look.served) {
        out->list[0] = now->list[1];
        out->lists = 1;
    } else if (now->lists == 1 && look.reached && wanted->count != 0 &&
               !elector_lists_equal(&now->list[0], wanted)) {
        out->list[1] = *wanted;
        out->lists = 2;
    } else {
        return false;
    }
    out->epoch = epoch;
    return true;
}
