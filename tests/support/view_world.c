/* view_world.c -- machines, network, clock and judge. */
#include "tests/support/view_world.h"

#include <stdio.h>
#include <string.h>

#define WALL_AT_START INT64_C(1700000000000)

static int64_t wall_ms(const struct view_world_node *n) {
    return WALL_AT_START + (int64_t) n->world->net.now_ms + n->clock_ms;
}

static uint32_t number_of(const struct view_world *w, uint64_t id) {
    uint32_t i = 0;
    while (i < w->net.count && w->node[i].info.id != id)
        i++;
    EG_ASSERT(i < w->net.count);
    return i;
}

static void find(struct view_world *w, bool right, const char *fault) {
    if (!right && w->fault == NULL)
        w->fault = fault;
}

/* ---- the judge ---------------------------------------------------------- */

static bool has_acknowledged(const struct view_world *w, const struct view_member *m,
                             struct view_id id) {
    for (uint32_t i = 0; i < w->acknowledged_count; i++) {
        if (w->acknowledged[i].node == m->id && w->acknowledged[i].incarnation == m->incarnation &&
            view_id_equal(w->acknowledged[i].id, id))
            return true;
    }
    return false;
}

static bool members_equal(const struct view *a, const struct view *b) {
    bool same = a->count == b->count;
    for (uint32_t i = 0; same && i < a->count; i++)
        same = a->member[i].id == b->member[i].id &&
               a->member[i].incarnation == b->member[i].incarnation;
    return same;
}

static void judge_install(struct view_world *w, struct view_world_node *n, const struct view *v) {
    bool seen = false;

    find(w, n->granting == NULL, "installed before it had stopped");
    find(w, v->id.epoch > n->epoch, "an epoch that is not above the last");
    find(w, view_find(v, n->info.id) != NULL, "installed a view that it is not in");
    for (uint32_t i = 0; i < v->count; i++) {
        find(w, has_acknowledged(w, &v->member[i], v->id), "a member has not acknowledged");
        find(w,
             value_is_string(v->member[i].report, w->node[number_of(w, v->member[i].id)].info.name),
             "a report is another's");
    }
    for (uint32_t i = 0; i < w->installed_count; i++) {
        if (view_id_equal(w->installed[i]->id, v->id)) {
            seen = true;
            find(w, members_equal(w->installed[i], v), "one id, two sets of members");
        }
    }
    if (!seen && w->installed_count < VIEW_WORLD_IDS) {
        view_ref(v);
        w->installed[w->installed_count++] = v;
    }
}

/* Nobody grants in a view before one that it has acknowledged and that somebody grants in. */
static void judge_now(struct view_world *w) {
    for (uint32_t i = 0; i < w->net.count; i++) {
        const struct view *v = w->node[i].granting;
        for (uint32_t j = 0; v != NULL && j < v->count; j++) {
            const struct view_world_node *m = &w->node[number_of(w, v->member[j].id)];
            find(w,
                 m->granting == NULL || m->info.incarnation != v->member[j].incarnation ||
                     m->granting->id.epoch >= v->id.epoch,
                 "a member grants in an earlier view");
        }
    }
}

/* ---- the machines' world ------------------------------------------------ */

static void swim_sends(void *user, uint64_t to, struct value payload) {
    struct view_world_node *n = user;
    hand_net_send(&n->world->net, n->number, number_of(n->world, to), HAND_NET_NOW, payload);
}

static void swim_changed(void *user, const struct swim_member *m, enum swim_state before) {
    struct view_world_node *n = user;
    (void) before;
    n->dirty = true;
    if (m->info.id == n->info.id && m->info.incarnation != n->info.incarnation) {
        n->info.incarnation = m->info.incarnation;
        views_renumber(n->views, m->info.incarnation, n->world->net.now_ms);
    }
}

static uint64_t any_random(void *user) {
    struct view_world_node *n = user;
    return rng_u64(&n->world->net.rng);
}

static const struct swim_ops swim_ops = {swim_sends, swim_changed, any_random};

static void views_sends(void *user, uint64_t to, struct value payload) {
    struct view_world_node *n = user;
    hand_net_send(&n->world->net, n->number, number_of(n->world, to), HAND_NET_RELIABLE, payload);
}

static void views_stop(void *user, struct view_id proposed) {
    struct view_world_node *n = user;
    struct view_world *w = n->world;
    n->stopping = proposed;
    n->stop_ms = w->net.now_ms + 1 + rng_below(&w->net.rng, w->stop_ms_max + 1);
}

static eg_err views_report(void *user, struct buffer *out) {
    struct view_world_node *n = user;
    uint8_t at[80];
    struct value_writer writer = value_writer_init(at, sizeof at);
    value_put_text(&writer, n->info.name);
    return buffer_append(out, at, writer.need_bytes) ? EG_OK : EG_MEMORY;
}

static void views_install(void *user, const struct view *v) {
    struct view_world_node *n = user;
    judge_install(n->world, n, v);
    view_ref(v);
    n->granting = v;
    n->epoch = v->id.epoch;
    n->installs++;
    n->installed_ms = n->world->net.now_ms;
}

static const struct view_ops view_ops = {views_sends, views_stop, views_report, views_install,
                                         any_random};

static void grant_nothing(struct view_world_node *n) {
    if (n->granting != NULL)
        view_unref(n->granting);
    n->granting = NULL;
}

static void node_stopped(struct view_world_node *n) {
    struct view_world *w = n->world;
    uint32_t at = w->acknowledged_count++ % VIEW_WORLD_IDS;

    EG_ASSERT(w->acknowledged_count <= VIEW_WORLD_IDS);
    grant_nothing(n);
    n->stop_ms = 0;
    w->acknowledged[at].node = n->info.id;
    w->acknowledged[at].incarnation = n->info.incarnation;
    w->acknowledged[at].id = n->stopping;
    view_stopped(n->views, n->stopping, w->net.now_ms);
    n->tick_ms = 0;
}

/* As cluster.c does it. */
static void node_reach(struct view_world_node *n) {
    struct node_info reach[HAND_NET_NODES];
    uint32_t count = 0;

    n->dirty = false;
    for (uint32_t i = 0; i < swim_count(n->swim); i++) {
        const struct swim_member *m = swim_at(n->swim, i);
        bool good = m->state == SWIM_UP || m->state == SWIM_SUSPECT || m->state == SWIM_LEAVING;
        if (m->info.id != n->info.id && m->linked && good)
            reach[count++] = m->info;
    }
    views_reach(n->views, reach, count, n->world->net.now_ms);
}

static bool net_may_link(void *user, uint32_t at, uint32_t peer) {
    struct view_world *w = user;
    return swim_may_link(w->node[at].swim, &w->node[peer].info, NULL) == EG_OK;
}

static void net_linked(void *user, uint32_t at, uint32_t peer) {
    struct view_world *w = user;
    struct view_world_node *n = &w->node[at];
    swim_linked(n->swim, &w->node[peer].info, w->net.now_ms);
    node_reach(n);
    n->tick_ms = 0;
}

static void net_unlinked(void *user, uint32_t at, uint32_t peer) {
    struct view_world *w = user;
    struct view_world_node *n = &w->node[at];
    swim_unlinked(n->swim, w->node[peer].info.id, w->net.now_ms);
    node_reach(n);
    n->tick_ms = 0;
}

static void net_payload(void *user, uint32_t at, uint32_t from, uint32_t channel, struct value v) {
    struct view_world *w = user;
    struct view_world_node *n = &w->node[at];
    if (channel == HAND_NET_NOW)
        swim_receive(n->swim, w->node[from].info.id, v, w->net.now_ms, wall_ms(n));
    else
        views_receive(n->views, w->node[from].info.id, v, w->net.now_ms);
    n->tick_ms = 0;
}

static const struct hand_net_events events = {net_may_link, net_linked, net_unlinked, net_payload};

/* ---- by hand ------------------------------------------------------------ */

static void node_open(struct view_world *w, uint32_t number) {
    struct view_world_node *n = &w->node[number];

    n->info.incarnation = (uint64_t) wall_ms(n) << 16;
    EG_ASSERT(swim_open(&n->swim, alloc_system(), &n->info, &swim_ops, n) == EG_OK);
    EG_ASSERT(views_open(&n->views, w->views_alloc, &n->info, n->epoch, &view_ops, n) == EG_OK);
    n->tick_ms = n->stop_ms = 0;
}

void view_world_init(struct view_world *w, uint32_t count, uint64_t seed) {
    memset(w, 0, sizeof *w);
    hand_net_init(&w->net, count, seed, &events, w);
    w->stop_ms_max = 20;
    w->views_alloc = alloc_system();
    for (uint32_t i = 0; i < count; i++) {
        struct view_world_node *n = &w->node[i];
        n->world = w;
        n->number = i;
        snprintf(n->info.name, sizeof n->info.name, "node-%u", i);
        snprintf(n->info.address, sizeof n->info.address, "10.0.0.%u:7341", i);
        n->info.id = node_id_of(n->info.name);
        n->info.weight = NODE_WEIGHT_USUAL;
        node_open(w, i);
    }
}

static void node_close(struct view_world_node *n) {
    grant_nothing(n);
    if (n->swim == NULL)
        return;
    views_close(n->views);
    swim_close(n->swim);
    n->swim = NULL;
    n->views = NULL;
}

void view_world_fini(struct view_world *w) {
    for (uint32_t i = 0; i < w->net.count; i++)
        node_close(&w->node[i]);
    for (uint32_t i = 0; i < w->installed_count; i++)
        view_unref(w->installed[i]);
    hand_net_fini(&w->net);
}

static void node_step(struct view_world_node *n) {
    struct view_world *w = n->world;
    uint64_t now_ms = w->net.now_ms, swim_ms, views_ms;

    if (n->swim == NULL || w->net.paused[n->number])
        return;
    if (n->stop_ms != 0 && now_ms >= n->stop_ms)
        node_stopped(n);
    if (now_ms < n->tick_ms)
        return;
    swim_ms = swim_tick(n->swim, now_ms, wall_ms(n));
    if (n->dirty)
        node_reach(n);
    views_ms = views_tick(n->views, now_ms);
    n->tick_ms = EG_MIN(swim_ms, views_ms);
}

static void step(struct view_world *w) {
    for (uint32_t i = 0; i < w->net.count; i++) {
        if (w->net.paused[i] && w->net.now_ms >= w->node[i].stopped_until_ms)
            w->net.paused[i] = false;
    }
    hand_net_step(&w->net);
    for (uint32_t i = 0; i < w->net.count; i++)
        node_step(&w->node[i]);
    judge_now(w);
}

void view_world_run(struct view_world *w, uint64_t ms) {
    while (ms-- > 0)
        step(w);
}

bool view_world_until(struct view_world *w, uint64_t ms,
                      bool (*is_so)(const struct view_world *w)) {
    while (!is_so(w)) {
        if (ms-- == 0)
            return false;
        step(w);
    }
    return true;
}

void view_world_kill(struct view_world *w, uint32_t node) {
    node_close(&w->node[node]);
    hand_net_kill(&w->net, node);
}

void view_world_start(struct view_world *w, uint32_t node) {
    hand_net_start(&w->net, node);
    node_open(w, node);
}

void view_world_pause(struct view_world *w, uint32_t node, uint64_t ms) {
    w->net.paused[node] = true;
    w->node[node].stopped_until_ms = w->net.now_ms + ms;
}

void view_world_cut(struct view_world *w, uint32_t side) {
    for (uint32_t a = 0; a < w->net.count; a++) {
        for (uint32_t b = 0; b < w->net.count; b++)
            w->net.blocked[a][b] = (side >> a & 1) != (side >> b & 1);
    }
}

uint32_t view_world_members(const struct view_world *w, uint32_t node) {
    const struct views *views = w->node[node].views;
    const struct view *v = views != NULL ? views_now(views) : NULL;
    uint32_t members = 0;

    for (uint32_t i = 0; v != NULL && i < v->count; i++)
        members |= UINT32_C(1) << number_of(w, v->member[i].id);
    return members;
}

bool view_world_is_one(const struct view_world *w) {
    const struct view *one = NULL;
    uint32_t running = 0;

    for (uint32_t i = 0; i < w->net.count; i++) {
        const struct view *v;
        if (w->node[i].views == NULL)
            continue;
        running++;
        v = views_now(w->node[i].views);
        if (v == NULL || (one != NULL && !view_id_equal(v->id, one->id)))
            return false;
        one = v;
    }
    return one == NULL || one->count == running;
}

uint64_t view_world_installs(const struct view_world *w) {
    uint64_t n = 0;
    for (uint32_t i = 0; i < w->net.count; i++)
        n += w->node[i].installs;
    return n;
}
