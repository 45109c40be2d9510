/* sim_cluster_plan.c -- what a seed asks for: nodes, usual tables, network. */
#include "tests/sim/sim_cluster_private.h"

enum { GRAVES_BYTES = 400 }; /* of a node, where they are bounded so */

static const char *const node_names[CLUSTER_NODES_MAX] = {"a", "b", "c", "d", "e", "f", "g"};

static void draw_shape(struct sim_cluster *c) {
    static const uint32_t usual[] = {1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7};
    struct cluster_shape *s = &c->shape;
    struct rng *r = &c->rng;

    s->nodes = usual[rng_below(r, EG_COUNTOF(usual))];
    if (c->o.nodes != 0)
        s->nodes = c->o.nodes;
    s->clients = 1 + (uint32_t) rng_below(r, CLUSTER_CLIENTS_MAX);
    s->tables = 1 + (uint32_t) rng_below(r, CLUSTER_TABLES_MAX);
    s->keys = 3 + (uint32_t) rng_below(r, CLUSTER_KEYS_MAX - 2);
    s->discs = rng_one_in(r, 3) ? (uint32_t) rng_below(r, s->nodes + 1) : s->nodes;
    s->safety_ms = 5000 + rng_below(r, 40000);
    s->think_ms = 20 + rng_below(r, 500);
    s->wild = rng_one_in(r, 3);
    if (c->o.seed >= CLUSTER_SEED_TX) { /* nodes can often be spared, and much is under way then */
        s->clients = 1;
        s->think_ms = 20 + s->think_ms % 60;
        s->wild = false;
    }
    s->dirty = c->o.seed >= CLUSTER_SEED_DIRTY && c->o.seed % 2 == 1;
    sim_cluster_tell(c, "%u nodes, %u of them with discs, %u clients, %u tables, %u keys, %s%s",
                     s->nodes, s->discs, s->clients, s->tables, s->keys,
                     s->wild ? "wild" : "careful", s->dirty ? ", dirty" : "");
}

static void draw_table(struct sim_cluster *c, uint32_t i) {
    static const char *const names[CLUSTER_TABLES_MAX] = {"alpha", "beta", "gamma", "delta"};
    struct cluster_table *t = &c->table[i];
    uint32_t kind = (uint32_t) rng_below(&c->rng, 4);

    *t = (struct cluster_table){.t = {.name = names[i], .keys = c->shape.keys}};
    t->t.copies = rng_one_in(&c->rng, 3) ? 1 + (uint32_t) rng_below(&c->rng, 3) : 0;
    t->t.on_disc = kind != 0 && c->shape.discs > 0;
    t->sync = t->t.on_disc && kind >= 2;
    t->ordered = rng_one_in(&c->rng, 4);
    t->shards = 1 + (uint32_t) rng_below(&c->rng, 6);
    t->majority = cluster_seed_has_majorities(c->o.seed) && !rng_one_in(&c->rng, 5);
    sim_cluster_tell(c, "%s: %s%s%s%s, copies %u, %u shards", t->t.name,
                     t->t.on_disc ? "disc" : "ram", t->sync ? ", sync" : "",
                     t->ordered ? ", ordered" : "", t->majority ? ", majority" : "", t->t.copies,
                     t->shards);
}

static void draw_network(struct sim_cluster *c) {
    struct sim_net_habits *h = sim_net_habits(c->net);
    struct rng *r = &c->rng;
    uint32_t slow_us = rng_one_in(r, 2) ? 1 + (uint32_t) rng_below(r, 20000) : 100;

    if (rng_one_in(r, 4))
        h->segment_bytes = 1000 + (uint32_t) rng_below(r, 5000);
    if (rng_one_in(r, 4))
        h->send_buffer_bytes = 100 + (uint32_t) rng_below(r, 20000);
    h->slow_one_in = rng_one_in(r, 2) ? 1000 : 0;
    h->reset_one_in = rng_one_in(r, 3) ? 1000 + (uint32_t) rng_below(r, 100000) : 0;
    h->give_up_ms = 1000 + rng_below(r, 200000);
    for (uint32_t a = 0; a < c->shape.nodes; a++)
        for (uint32_t b = 0; b < c->shape.nodes; b++)
            if (a != b)
                sim_net_link(c->net, c->node[a].host, c->node[b].host)->delay_mean_ns =
                    slow_us * UINT64_C(1000);
}

/* Deletes are forgotten before all copies have heard of them. */
static bool few_graves(uint64_t seed) {
    return seed >= CLUSTER_SEED_OLD_DISC && !cluster_seed_has_majorities(seed) &&
           !cluster_seed_has_promises(seed) && seed % 4 == 3;
}

static void make_nodes(struct sim_cluster *c) {
    for (uint32_t i = 0; i < c->shape.nodes; i++) {
        struct sim_node_opts o = {.name = node_names[i],
                                  .seed = rng_u64(&c->rng),
                                  .schedulers = 1 + (uint32_t) rng_below(&c->rng, 3),
                                  .has_disc = i < c->shape.discs,
                                  .disc_delay_ms = 1 + rng_below(&c->rng, 20),
                                  .graves_bytes_max = few_graves(c->o.seed) ? GRAVES_BYTES : 0};

        if (i > 0)
            o.join[0] = c->node[rng_below(&c->rng, i)].peer_address;
        sim_node_init(&c->node[i], c->sim, c->net, &o);
        if (rng_one_in(&c->rng, 3))
            sim_env_jump(&c->node[i].env, (int64_t) rng_below(&c->rng, 10000) - 5000);
    }
}

void sim_cluster_draw(struct sim_cluster *c) {
    c->history.forgets = few_graves(c->o.seed);
    c->history.renews = c->o.seed >= CLUSTER_SEED_OLD_DISC;
    draw_shape(c);
    make_nodes(c);
    for (uint32_t i = 0; i < c->shape.tables; i++)
        draw_table(c, i);
    draw_network(c);
}
