/* sim_cluster_agree.c -- are the nodes in one view, and all copies equal?  May one of them go? */
#include "tests/sim/sim_cluster_private.h"

enum { AGREE_MS = 120 * 1000 }; /* after healing, for all copies to be equal */

static bool one_view(void *arg) {
    struct sim_cluster *c = arg;
    uint64_t view = 0;

    for (uint32_t i = 0; i < c->shape.nodes; i++) {
        if (!c->node[i].up)
            continue;
        if (view == 0)
            view = sim_node_view(&c->node[i]);
        if (view == 0 || sim_node_view(&c->node[i]) != view)
            return false;
    }
    return true;
}

bool sim_cluster_all_met(void *arg) {
    struct sim_cluster *c = arg;

    for (uint32_t i = 0; i < c->shape.nodes; i++)
        if (sim_node_view_count(&c->node[i]) != c->shape.nodes)
            return false;
    return one_view(arg);
}

/* Of those that are up. */
static bool merged_agree(struct sim_cluster *c) {
    struct sim_node *up[CLUSTER_NODES_MAX];
    char text[HISTORY_TEXT_BYTES];
    uint32_t count = 0;

    for (uint32_t i = 0; i < c->shape.nodes; i++)
        if (c->node[i].up)
            up[count++] = &c->node[i];
    return sim_merge_agrees(up, count, &c->merge, text);
}

bool sim_cluster_can_spare(struct sim_cluster *c, uint32_t node) {
    uint32_t others = 0;

    if (!one_view(c))
        return false;
    for (uint32_t i = 0; i < c->shape.nodes; i++)
        others += c->node[i].up && i != node;
    for (uint32_t t = 0; t < c->shape.tables; t++) {
        struct sim_node *up[CLUSTER_NODES_MAX];
        struct final finals[CLUSTER_KEYS_MAX];
        char text[HISTORY_TEXT_BYTES];
        uint32_t count = 0;

        for (uint32_t i = 0; i < c->shape.nodes; i++)
            if (c->node[i].up)
                up[count++] = &c->node[i];
        for (uint32_t i = 0; i < count; i++)
            if (copies_shards(up[i], c->table[t].t.name) == 0)
                return false;
        if (copies_expected(up, count, &c->table[t].t) < 2)
            return false; /* one crash may take its last writes */
        if (!copies_agree(up, count, &c->table[t].t, t, finals, text))
            return false;
    }
    return others > 0 && merged_agree(c) &&
           sim_cluster_can_do_without(c, node); /* a disc may refuse */
}

bool sim_cluster_can_do_without(struct sim_cluster *c, uint32_t node) {
    struct sim_node *others[CLUSTER_NODES_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < c->shape.nodes; i++)
        if (c->node[i].up && i != node)
            others[count++] = &c->node[i];
    for (uint32_t t = 0; t < c->shape.tables; t++)
        if (!copies_anywhere(others, count, c->table[t].t.name) && c->table[t].majority)
            c->table[t].spoiled |= !c->table[t].sync; /* it is not served: somebody has to go */
        else if (!copies_anywhere(others, count, c->table[t].t.name) ||
                 (c->node[node].up && !c->table[t].sync &&
                  !copies_heard(&c->node[node], others, count, c->table[t].t.name)))
            return false;
    for (uint32_t t = 0; c->merge.on && c->node[node].up && t < MERGE_TABLES; t++)
        if (!copies_anywhere(others, count, merge_table_name((enum merge_table) t)) ||
            !copies_heard(&c->node[node], others, count, merge_table_name((enum merge_table) t)))
            return false;
    for (uint32_t t = 0; c->promise.on && c->node[node].up && t < PROMISE_TABLES; t++)
        if (promise_has(&c->promise, (enum promise_table) t) &&
            (!copies_anywhere(others, count, promise_table_name((enum promise_table) t)) ||
             !copies_heard(&c->node[node], others, count,
                           promise_table_name((enum promise_table) t))))
            return false;
    if (c->tx.on && !copies_anywhere(others, count, sim_tx_table))
        return false; /* what they have not heard of was not acknowledged */
    if (c->lists.on && !copies_anywhere(others, count, sim_lists_table))
        return false;
    if (c->bank.on &&
        (!copies_anywhere(others, count, sim_bank_table) ||
         (c->node[node].up && !copies_heard(&c->node[node], others, count, sim_bank_table))))
        return false;
    return one_view(c) && count > 0;
}

bool sim_cluster_may_forget(struct sim_cluster *c) {
    struct sim_node *all[CLUSTER_NODES_MAX];
    char text[HISTORY_TEXT_BYTES];

    for (uint32_t i = 0; c->bank.on && i < c->shape.nodes; i++) {
        if (!c->node[i].up)
            return false;
        all[i] = &c->node[i];
    }
    return sim_bank_agrees(all, c->shape.nodes, &c->bank, text);
}

static bool nobody_has(struct sim_node *const *nodes, uint32_t count, const char *table) {
    for (uint32_t i = 0; i < count; i++)
        if (copies_shards(nodes[i], table) != 0)
            return false;
    return true;
}

static bool all_agree(struct cluster_look *l) {
    struct sim_cluster *c = l->c;
    struct sim_node *nodes[CLUSTER_NODES_MAX];

    for (uint32_t i = 0; i < c->shape.nodes; i++)
        nodes[i] = &c->node[i];
    if (!sim_cluster_all_met(c))
        return sim_cluster_wrong(c, "the nodes are not in one view");
    for (uint32_t t = 0; t < c->shape.tables; t++)
        if (!copies_agree(nodes, c->shape.nodes, &c->table[t].t, t, l->finals[t], c->text) &&
            !((l->all_went || c->shape.wild) && !c->table[t].t.on_disc &&
              nobody_has(nodes, c->shape.nodes, c->table[t].t.name)))
            return false;
    if (!sim_merge_agrees(nodes, c->shape.nodes, &c->merge, c->text) &&
        !((l->all_went || c->shape.wild) && nobody_has(nodes, c->shape.nodes, "tally")))
        return false;
    if (!sim_promise_agrees(nodes, c->shape.nodes, &c->promise, c->text) &&
        !((l->all_went || c->shape.wild) && nobody_has(nodes, c->shape.nodes, "notes")))
        return false;
    if (!sim_tx_agrees(nodes, c->shape.nodes, &c->tx, c->text) &&
        !((l->all_went || c->shape.wild) && nobody_has(nodes, c->shape.nodes, sim_tx_table)))
        return false;
    if (!sim_lists_agree(nodes, c->shape.nodes, &c->lists, c->text) &&
        !((l->all_went || c->shape.wild) && nobody_has(nodes, c->shape.nodes, sim_lists_table)))
        return false;
    if (!sim_bank_agrees(nodes, c->shape.nodes, &c->bank, c->text) &&
        !((l->all_went || c->shape.wild) && nobody_has(nodes, c->shape.nodes, sim_bank_table)))
        return false;
    return !c->o.schema || sim_schema_agrees(&c->schema, c->text, sizeof c->text);
}

bool sim_cluster_come_to_agree(struct cluster_look *l) {
    uint64_t end_ms = sim_cluster_now_ms(l->c) + AGREE_MS;

    while (sim_cluster_now_ms(l->c) < end_ms) {
        if (all_agree(l))
            return true;
        sim_run_ms(l->c->sim, LOOK_MS);
    }
    return all_agree(l);
}
