/* Views under random faults, with a judge that looks at every millisecond (view_world.h).
 *
 * Links lose, delay, block in one direction and break; nodes stand still, die, restart; those
 * who must stop granting take their time.  Once the network is whole all who run must be in
 * one view within a bound, and stay in it. */
#include "tests/support/view_world.h"

#include <criterion/criterion.h>
#include <string.h>

enum { SEEDS = 40, ROUNDS = 25, ONE_VIEW_MS = VIEW_HOLD_MS_MAX + 30000, REST_MS = 20000 };

struct model {
    struct view_world w;
    struct rng rng;
};

static uint32_t some_node(struct model *m) {
    return (uint32_t) rng_below(&m->rng, m->w.net.count);
}

static void fault_links(struct model *m) {
    uint32_t a = some_node(m), b = some_node(m);

    switch (rng_below(&m->rng, 6)) {
    case 0:
        m->w.net.blocked[a][b] = a != b;
        break;
    case 1:
        memset(m->w.net.blocked, 0, sizeof m->w.net.blocked);
        break;
    case 2:
    case 3:
        if (a != b)
            hand_net_reset(&m->w.net, a, b);
        break;
    case 4:
        view_world_cut(&m->w, (uint32_t) rng_u64(&m->rng));
        break;
    default:
        m->w.net.loss_permille = (uint32_t) rng_below(&m->rng, 300);
        m->w.net.delay_ms_max = (uint32_t) rng_below(&m->rng, 100);
    }
}

static void fault_node(struct model *m) {
    struct view_world *w = &m->w;
    uint32_t a = some_node(m);

    switch (rng_below(&m->rng, 5)) {
    case 0:
        view_world_pause(w, a, rng_below(&m->rng, 6000));
        break;
    case 1:
        if (w->node[a].swim != NULL)
            view_world_kill(w, a);
        break;
    case 2:
        w->stop_ms_max = (uint32_t) rng_below(&m->rng, rng_one_in(&m->rng, 4) ? 1500 : 100);
        break;
    case 3:
        if (w->node[a].views != NULL)
            views_renew(w->node[a].views, w->net.now_ms);
        break;
    default:
        if (w->node[a].swim == NULL) {
            w->node[a].clock_ms = rng_one_in(&m->rng, 4) ? -(int64_t) rng_below(&m->rng, 60000) : 0;
            view_world_start(w, a);
        }
    }
}

static void trial(uint64_t seed) {
    struct model *m = calloc(1, sizeof *m);
    uint64_t installs;

    m->rng = rng_of(seed);
    view_world_init(&m->w, 1 + (uint32_t) rng_below(&m->rng, 7), seed);
    for (uint32_t i = 0; i < ROUNDS && m->w.fault == NULL; i++) {
        if (rng_one_in(&m->rng, 2))
            fault_links(m);
        else
            fault_node(m);
        view_world_run(&m->w, rng_below(&m->rng, rng_one_in(&m->rng, 2) ? 4000 : 300));
    }
    hand_net_heal(&m->w.net);
    m->w.stop_ms_max = EG_MIN(m->w.stop_ms_max, 100);
    for (uint32_t i = 0; i < m->w.net.count; i++)
        m->w.node[i].stopped_until_ms = 0;
    cr_assert(view_world_until(&m->w, ONE_VIEW_MS, view_world_is_one), "EG_SEED=%llu",
              (unsigned long long) seed);
    view_world_run(&m->w,
                   VIEW_HOLD_MS_MAX + 10000); /* a link that broke late may break it once more */
    installs = view_world_installs(&m->w);
    view_world_run(&m->w, REST_MS);
    cr_assert(view_world_is_one(&m->w), "EG_SEED=%llu", (unsigned long long) seed);
    cr_assert_eq(view_world_installs(&m->w), installs, "EG_SEED=%llu: it does not come to rest",
                 (unsigned long long) seed);
    cr_assert_null(m->w.fault, "EG_SEED=%llu: %s", (unsigned long long) seed, m->w.fault);
    view_world_fini(&m->w);
    free(m);
}

Test(view_model, views_are_safe_always_and_one_once_the_network_is_whole, .timeout = 300) {
    uint64_t first = rng_test_seed(1);

    for (uint64_t i = 0; i < (rng_is_replay() ? 1 : SEEDS); i++)
        trial(first + i);
}
