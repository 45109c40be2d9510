/* Membership machines under random faults, against what is the case.
 *
 * Links lose, delay, block in one direction and break; nodes stop, die, restart under their
 * name with a new incarnation, leave, and are removed.  Once the network is whole again, all
 * who run must think the truth within a bound, and the same: whoever was removed is removed
 * for everybody unless it has started again since. */
#include "tests/support/swim_world.h"

#include <criterion/criterion.h>
#include <string.h>

enum { SEEDS = 40, ROUNDS = 25, WHOLE_MS = 30000 };

struct model {
    struct swim_world w;
    struct rng rng;
    uint64_t removed[HAND_NET_NODES]; /* the incarnation that an administrator removed */
};

static uint32_t some_node(struct model *m) {
    return (uint32_t) rng_below(&m->rng, m->w.net.count);
}

static void fault_links(struct model *m) {
    uint32_t a = some_node(m), b = some_node(m);

    switch (rng_below(&m->rng, 5)) {
    case 0:
        m->w.net.blocked[a][b] = a != b;
        break;
    case 1:
        memset(m->w.net.blocked, 0, sizeof m->w.net.blocked);
        break;
    case 2:
        if (a != b)
            hand_net_reset(&m->w.net, a, b);
        break;
    case 3:
        swim_world_cut(&m->w, (uint32_t) rng_u64(&m->rng));
        break;
    default:
        m->w.net.loss_permille = (uint32_t) rng_below(&m->rng, 400);
        m->w.net.delay_ms_max = (uint32_t) rng_below(&m->rng, 150);
    }
}

static void fault_node(struct model *m) {
    struct swim_world *w = &m->w;
    uint32_t a = some_node(m), b = some_node(m);

    switch (rng_below(&m->rng, 4)) {
    case 0:
        w->net.paused[a] = true;
        w->node[a].stopped_until_ms = w->net.now_ms + rng_below(&m->rng, 8000);
        break;
    case 1:
        if (w->node[a].swim != NULL)
            swim_world_kill(w, a);
        break;
    case 2:
        if (w->node[a].swim == NULL)
            swim_world_start(w, a);
        break;
    default:
        if (a != b && w->node[a].swim != NULL && w->node[b].swim == NULL &&
            swim_remove(w->node[a].swim, w->node[b].info.id, w->net.now_ms) == EG_OK)
            m->removed[b] = w->node[b].info.incarnation;
    }
}

/* A removal is known to those only who live on: the last of them may have died with it. */
static bool somebody_knows(const struct model *m, uint32_t of) {
    for (uint32_t at = 0; at < m->w.net.count; at++) {
        const struct swim_member *s = m->w.node[at].swim == NULL
                                          ? NULL
                                          : swim_find(m->w.node[at].swim, m->w.node[of].info.id);
        if (s != NULL && s->removed >= m->removed[of])
            return true;
    }
    return false;
}

static void check_removed(const struct model *m, uint64_t seed) {
    for (uint32_t of = 0; of < m->w.net.count; of++) {
        bool gone = m->removed[of] >= m->w.node[of].info.incarnation && somebody_knows(m, of);
        for (uint32_t at = 0; gone && at < m->w.net.count; at++) {
            if (m->w.node[at].swim != NULL)
                cr_assert_eq(swim_world_state(&m->w, at, of), SWIM_REMOVED,
                             "EG_SEED=%llu: %u of %u", (unsigned long long) seed, at, of);
        }
    }
}

static bool is_same(const struct swim_member *a, const struct swim_member *b) {
    if (a == NULL || b == NULL)
        return a == b;
    return a->state == b->state && a->version == b->version &&
           a->info.incarnation == b->info.incarnation && a->removed == b->removed;
}

static bool all_say_the_same(const struct swim_world *w) {
    uint32_t first = 0;

    while (first < w->net.count && w->node[first].swim == NULL)
        first++;
    for (uint32_t at = first; at < w->net.count; at++) {
        for (uint32_t of = 0; of < w->net.count && w->node[at].swim != NULL; of++) {
            uint64_t id = w->node[of].info.id;
            if (!is_same(swim_find(w->node[at].swim, id), swim_find(w->node[first].swim, id)))
                return false;
        }
    }
    return true;
}

static void trial(uint64_t seed) {
    struct model m = {.rng = rng_of(seed)};

    swim_world_init(&m.w, 2 + (uint32_t) rng_below(&m.rng, 6), seed);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        if (rng_one_in(&m.rng, 2))
            fault_links(&m);
        else
            fault_node(&m);
        swim_world_run(&m.w, rng_below(&m.rng, 4000));
    }
    hand_net_heal(&m.w.net);
    for (uint32_t i = 0; i < m.w.net.count; i++)
        m.w.node[i].stopped_until_ms = 0;
    cr_assert(swim_world_until(&m.w, WHOLE_MS, swim_world_is_true), "EG_SEED=%llu",
              (unsigned long long) seed);
    cr_assert(swim_world_until(&m.w, WHOLE_MS, all_say_the_same), "EG_SEED=%llu",
              (unsigned long long) seed);
    check_removed(&m, seed);
    swim_world_run(&m.w, 8000); /* pings of a node that thinks itself ill take long */
    m.w.changes = 0;
    swim_world_run(&m.w, 5000);
    cr_assert_eq(m.w.changes, 0, "EG_SEED=%llu: it does not come to rest",
                 (unsigned long long) seed);
    swim_world_fini(&m.w);
}

Test(swim_model, the_truth_is_found_once_the_network_is_whole, .timeout = 300) {
    uint64_t first = rng_test_seed(1);

    for (uint64_t i = 0; i < (rng_is_replay() ? 1 : SEEDS); i++)
        trial(first + i);
}
