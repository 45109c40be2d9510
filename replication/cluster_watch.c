/* cluster_watch.c -- what is looked at now and then: our disc, others' clocks, whether the view's
 * plan is what it would be today. */
#include "replication/cluster_private.h"

#include "engine/env.h"

enum {
    RENEW_MS = 500,      /* between two requests for a view whose reports are of today */
    DISC_WELL_MS = 1000, /* for a disc to have room before it counts again             */
    SKEW_MS = 1000,
    SKEW_LOOKS = 3, /* one behind the other, before our clock counts as skewed, or no more */
    COPIES_MS = 100,
};

static void look_at_disc(struct cluster *c) {
    bool was_full = (c->state & REPLICA_DISC_FULL) != 0;
    struct err_note note = {""};
    uint64_t now_ms = cluster_now_ms(c);

    if (c->o.disc == NULL)
        return;
    if (disc_health(c->o.disc, &note) != EG_OK) {
        c->disc_well_ms = 0;
        if (disc_yields(c->o.disc, NULL) != EG_OK)
            c->state |= REPLICA_DISC_LOST;
        if (was_full)
            return;
        c->state |= REPLICA_DISC_FULL;
        env_log(c->o.env, ENV_LOG_ERROR, "cluster",
                "%s: other nodes' copies of disc tables go on without this node's", note.text);
    } else if (was_full) {
        if (c->disc_well_ms == 0)
            c->disc_well_ms = now_ms;
        if (now_ms - c->disc_well_ms < DISC_WELL_MS)
            return;
        c->state &= ~(uint32_t) (REPLICA_DISC_FULL | REPLICA_DISC_LOST);
        env_log(c->o.env, ENV_LOG_INFO, "cluster", "the disc takes changes again");
    }
}

/* Two members cannot say which of them is wrong. */
static bool is_skewed_here(const struct cluster *c) {
    uint32_t away = 0;

    for (uint32_t i = 0; c->view != NULL && i < c->view->count; i++) {
        const struct swim_member *m = swim_find(c->swim, c->view->member[i].id);

        away += m != NULL && m->info.id != c->self.id && m->linked && swim_is_skewed(m);
    }
    return c->view != NULL && 2 * away > c->view->count;
}

static void look_at_clock(struct cluster *c) {
    bool is_skewed = is_skewed_here(c), was = (c->state & REPLICA_SKEWED) != 0;

    c->skew_looks = is_skewed == was ? 0 : c->skew_looks + 1;
    if (c->skew_looks < SKEW_LOOKS)
        return;
    c->skew_looks = 0;
    c->state ^= REPLICA_SKEWED;
    cluster_tell_own_skew(c, is_skewed);
}

/* The others are to know of us what is so now, and to place copies by the members of now. */
static void renew_view(struct cluster *c) {
    struct placement_node nodes[NODES_MAX];
    uint64_t now_ms = cluster_now_ms(c);

    if (c->leaving)
        c->state |= REPLICA_LEAVING;
    else
        c->state &= ~(uint32_t) REPLICA_LEAVING;
    replica_say(c->replicas, c->state);
    if (c->view == NULL || c->to_install || views_now(c->views) == NULL ||
        now_ms - c->renewed_ms < RENEW_MS)
        return;
    if (!c->copies_news && replica_state_of(c->replicas, c->self.id) == c->state &&
        replica_is_placed_so(c->replicas, nodes, cluster_placement(c, nodes)))
        return;
    c->renewed_ms = now_ms;
    views_renew(c->views, now_ms);
}

void cluster_watch_tick(struct cluster *c) {
    uint64_t now_ms = cluster_now_ms(c);

    look_at_disc(c);
    if (now_ms - c->copies_looked_ms >= COPIES_MS) {
        c->copies_looked_ms = now_ms;
        c->copies_news = replica_watch(c->replicas);
    }
    renew_view(c);
    if (now_ms - c->skew_looked_ms >= SKEW_MS) {
        c->skew_looked_ms = now_ms;
        cluster_tell_skews(c);
        look_at_clock(c);
    }
}
