/* sim_cluster_clock.c -- what the nodes' clocks show, and that none that is wrong orders writes. */
#include "tests/sim/sim_cluster_private.h"

#include "engine/env.h"
#include "replication/swim.h"

#include <stdlib.h>

enum { NEAR_MS = 100 }; /* of a clock to where it counts as skewed, how sure one must be */

void sim_cluster_look_at_clocks(struct sim_cluster *c) {
    for (uint32_t i = 0; i < c->shape.nodes; i++)
        c->most_ms = EG_MAX(c->most_ms, env_wall_ms(&c->node[i].env.env));
}

int64_t sim_cluster_least_clock_ms(const struct sim_cluster *c) {
    int64_t least_ms = INT64_MAX;

    for (uint32_t i = 0; i < c->shape.nodes; i++)
        least_ms = EG_MIN(least_ms, env_wall_ms((struct env *) &c->node[i].env.env));
    return least_ms;
}

/* Of how many nodes the clock is at least so far from that of this one. */
static uint32_t clocks_away(struct sim_cluster *c, uint32_t node, int64_t ms) {
    uint32_t away = 0;

    for (uint32_t i = 0; i < c->shape.nodes; i++)
        away += llabs(env_wall_ms(&c->node[i].env.env) - env_wall_ms(&c->node[node].env.env)) > ms;
    return away;
}

static bool is_skewed(struct sim_cluster *c, uint32_t node) {
    return 2 * clocks_away(c, node, SWIM_CLOCK_SKEW_MS + NEAR_MS) > c->shape.nodes;
}

/* Far from where it may or may not be so. */
static bool is_in_time(struct sim_cluster *c, uint32_t node) {
    return 2 * clocks_away(c, node, SWIM_CLOCK_SKEW_MS - NEAR_MS) <= c->shape.nodes;
}

bool sim_cluster_masters_are_in_time(void *user) {
    struct sim_cluster *c = user;
    bool any = false;

    for (uint32_t i = 0; i < c->shape.nodes; i++)
        any |= is_in_time(c, i);
    for (uint32_t i = 0; any && i < c->shape.nodes; i++)
        for (uint32_t t = 0; is_skewed(c, i) && t < c->shape.tables; t++)
            if (c->table[t].t.copies == 0 &&
                (!c->table[t].t.on_disc || c->shape.discs == c->shape.nodes) &&
                copies_masters(&c->node[i], c->table[t].t.name) != 0)
                return false;
    return true;
}
