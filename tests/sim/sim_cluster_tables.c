/* sim_cluster_tables.c -- the tables are made: the usual ones, and those of a kind of seeds, which
 * draw from dice of their own. */
#include "tests/sim/sim_cluster_private.h"

#include <string.h>

enum { CREATE_TRIES = 3 };

static bool create_table(struct sim_cluster *c, const char *name, struct value params) {
    struct sim_answer a;

    for (int i = 0; i < CREATE_TRIES; i++) {
        if (sim_client_call(&c->admin, c->node[0].client_address, "create_table", params,
                            ADMIN_WAIT_MS, &a) == SIM_DONE ||
            (i > 0 && a.outcome == SIM_REFUSED && strncmp(a.text, "exists:", 7) == 0))
            return true;
        if (a.outcome == SIM_REFUSED && strncmp(a.text, "in_doubt:", 9) != 0 &&
            strncmp(a.text, "disc:", 5) != 0)
            break;
        /* A link that broke is no reason. */
        (void) sim_run_until(c->sim, sim_cluster_all_met, c, MEET_MS);
    }
    return sim_cluster_wrong(c, "create_table %s: %s", name, a.text);
}

static bool create(struct sim_cluster *c, const struct cluster_table *t) {
    uint8_t at[512];
    struct value_writer v = value_writer_init(at, sizeof at);

    value_put_array(&v, 2);
    value_put_text(&v, t->t.name);
    value_put_map(&v, (c->shape.nodes > 1 ? 7 : 6) + t->majority);
    value_put_text(&v, "type");
    value_put_text(&v, t->ordered ? "ordered_set" : "set");
    value_put_text(&v, "storage");
    value_put_text(&v, t->t.on_disc ? "disc" : "ram");
    value_put_text(&v, "durability");
    value_put_text(&v, t->sync ? "sync" : "async");
    value_put_text(&v, "shards");
    value_put_u64(&v, t->shards);
    if (t->majority) {
        value_put_text(&v, "majority");
        value_put_bool(&v, true);
    }
    value_put_text(&v, "attributes");
    value_put_array(&v, 4);
    value_put_text(&v, "key");
    value_put_text(&v, "number");
    value_put_text(&v, "tag");
    value_put_text(&v, "bytes");
    value_put_text(&v, "index");
    value_put_array(&v, 1);
    value_put_text(&v, "tag");
    if (c->shape.nodes > 1) {
        value_put_text(&v, "copies");
        if (t->t.copies == 0)
            value_put_text(&v, "all");
        else
            value_put_u64(&v, t->t.copies);
    }
    EG_ASSERT(!v.overflow);
    return create_table(c, t->t.name, (struct value){at, (uint32_t) v.need_bytes});
}

/* Drawn apart from all else. */
static bool create_merged(struct sim_cluster *c) {
    struct rng r = rng_of(c->o.seed ^ CLUSTER_SEED_MERGE);
    bool on_disc = c->shape.discs == c->shape.nodes && rng_one_in(&r, 2);
    struct sim_merge *x = &c->merge;

    x->on = c->o.seed >= CLUSTER_SEED_MERGE && !cluster_seed_has_promises(c->o.seed) &&
            c->o.seed < CLUSTER_SEED_TX && !c->o.unmerged && c->shape.nodes > 1 &&
            rng_one_in(&r, 2);
    x->sync = on_disc && rng_one_in(&r, 2);
    x->leaves = c->o.seed >= CLUSTER_SEED_LEAVE;
    x->node = c->node;
    x->nodes = c->shape.nodes;
    for (uint32_t i = 0; x->on && i < MERGE_TABLES; i++) {
        uint8_t at[512];
        struct value_writer w = value_writer_init(at, sizeof at);

        merge_put_create(&w, (enum merge_table) i, on_disc, x->sync);
        if (!create_table(c, merge_table_name((enum merge_table) i),
                          (struct value){at, (uint32_t) w.need_bytes}))
            return false;
    }
    if (x->on)
        sim_cluster_tell(c, "merged tables: %s%s", on_disc ? "disc" : "ram",
                         x->sync ? ", sync" : "");
    return true;
}

static bool create_transacted(struct sim_cluster *c) {
    struct rng r = rng_of(c->o.seed ^ CLUSTER_SEED_TX);
    bool on_disc = c->shape.discs == c->shape.nodes && rng_one_in(&r, 2);
    struct sim_tx *x = &c->tx;
    uint8_t at[512];
    struct value_writer w = value_writer_init(at, sizeof at);

    x->on = c->o.seed >= CLUSTER_SEED_TX && c->o.seed < CLUSTER_SEED_LISTS;
    x->sync = on_disc && rng_one_in(&r, 2);
    x->node = c->node;
    x->nodes = c->shape.nodes;
    x->think_ms = c->shape.think_ms;
    x->t = (struct copies_table){.name = sim_tx_table, .on_disc = on_disc, .keys = TX_KEYS};
    if (!x->on)
        return true;
    sim_tx_put_create(&w, on_disc, x->sync, 2 + (uint32_t) rng_below(&r, 5));
    sim_cluster_tell(c, "transactions: %s%s", on_disc ? "disc" : "ram", x->sync ? ", sync" : "");
    return create_table(c, sim_tx_table, (struct value){at, (uint32_t) w.need_bytes});
}

static bool create_lists(struct sim_cluster *c) {
    struct rng r = rng_of(c->o.seed ^ CLUSTER_SEED_LISTS);
    bool on_disc = c->shape.discs == c->shape.nodes && rng_one_in(&r, 2);
    bool sync = on_disc && rng_one_in(&r, 2);
    struct sim_lists *x = &c->lists;
    uint8_t at[512];
    struct value_writer w = value_writer_init(at, sizeof at);

    x->on = c->o.seed >= CLUSTER_SEED_LISTS && c->o.seed < CLUSTER_SEED_LISTS_END;
    x->node = c->node;
    x->nodes = c->shape.nodes;
    x->think_ms = c->shape.think_ms;
    x->t = (struct copies_table){.name = sim_lists_table, .on_disc = on_disc, .keys = LIST_KEYS};
    x->t.copies = rng_one_in(&r, 3) ? 2 + (uint32_t) rng_below(&r, 2) : 0;
    x->scans = c->o.seed >= CLUSTER_SEED_SCANS;
    if (!x->on)
        return true;
    x->ordered = x->scans && rng_one_in(&r, 2);
    sim_lists_put_create(x, &w, sync, 1 + (uint32_t) rng_below(&r, 6));
    sim_cluster_tell(c, "lists: %s%s, copies %u", on_disc ? "disc" : "ram", sync ? ", sync" : "",
                     x->t.copies);
    return create_table(c, sim_lists_table, (struct value){at, (uint32_t) w.need_bytes});
}

static bool fill_bank(struct sim_cluster *c) {
    uint8_t at[512];
    struct value_writer w = value_writer_init(at, sizeof at);
    struct value params;
    struct sim_answer a;

    sim_bank_put_first(&w);
    params = (struct value){at, (uint32_t) w.need_bytes};
    for (uint64_t end_ms = sim_cluster_now_ms(c) + MEET_MS; sim_cluster_now_ms(c) < end_ms;
         sim_run_ms(c->sim, LOOK_MS))
        if (sim_client_call(&c->admin, c->node[0].client_address, "write_many", params,
                            ADMIN_WAIT_MS, &a) == SIM_DONE)
            return true; /* what was done before is the same */
    return sim_cluster_wrong(c, "the bank is not filled: %s", a.text);
}

static bool create_bank(struct sim_cluster *c) {
    struct rng r = rng_of(c->o.seed ^ CLUSTER_SEED_BANK);
    bool on_disc = c->shape.discs == c->shape.nodes && rng_one_in(&r, 2);
    bool sync = on_disc && rng_one_in(&r, 2);
    struct sim_bank *x = &c->bank;
    uint8_t at[512];
    struct value_writer w = value_writer_init(at, sizeof at);

    x->on = c->o.seed >= CLUSTER_SEED_BANK && c->o.seed < CLUSTER_SEED_BANK_END &&
            c->shape.nodes != 2; /* one that has lost something would be a majority */
    x->node = c->node;
    x->nodes = c->shape.nodes;
    x->think_ms = c->shape.think_ms;
    x->t = (struct copies_table){.name = sim_bank_table, .on_disc = on_disc, .keys = BANK_KEYS};
    if (!x->on)
        return true;
    sim_bank_put_create(x, &w, sync, 1 + (uint32_t) rng_below(&r, 6));
    sim_cluster_tell(c, "bank: %s%s", on_disc ? "disc" : "ram", sync ? ", sync" : "");
    return create_table(c, sim_bank_table, (struct value){at, (uint32_t) w.need_bytes}) &&
           fill_bank(c);
}

/* Drawn apart too. */
static bool create_promised(struct sim_cluster *c) {
    struct rng r = rng_of(c->o.seed ^ CLUSTER_SEED_PROMISE);
    bool on_disc = c->shape.discs == c->shape.nodes && rng_one_in(&r, 2);
    struct sim_promise *x = &c->promise;

    x->on = cluster_seed_has_promises(c->o.seed) && c->shape.nodes > 1;
    x->sync = on_disc && rng_one_in(&r, 2);
    x->jumps = cluster_seed_promises_jump(c->o.seed);
    x->policies = c->o.seed >= CLUSTER_SEED_POLICIES;
    x->node = c->node;
    x->nodes = c->shape.nodes;
    x->most_ms = &c->most_ms;
    for (uint32_t i = 0; x->on && i < PROMISE_TABLES; i++) {
        uint8_t at[512];
        struct value_writer w = value_writer_init(at, sizeof at);

        if (!promise_has(x, (enum promise_table) i))
            continue;
        promise_put_create(&w, (enum promise_table) i, on_disc, x->sync);
        if (!create_table(c, promise_table_name((enum promise_table) i),
                          (struct value){at, (uint32_t) w.need_bytes}))
            return false;
    }
    return true;
}

bool sim_cluster_create_tables(struct sim_cluster *c) {
    for (uint32_t i = 0; i < c->shape.tables; i++)
        if (!create(c, &c->table[i]))
            return false;
    return create_merged(c) && create_promised(c) && create_transacted(c) && create_lists(c) &&
           create_bank(c);
}
