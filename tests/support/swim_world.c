/* swim_world.c -- machines, the network and a clock that is turned by hand. */
#include "tests/support/swim_world.h"

#include <stdio.h>
#include <string.h>

#define WALL_AT_START INT64_C(1700000000000)

static int64_t wall_ms(const struct swim_world_node *n) {
    return WALL_AT_START + (int64_t) n->world->net.now_ms + n->clock_ms;
}

/* The number of nodes: it is none of them. */
static uint32_t number_of(const struct swim_world *w, uint64_t id) {
    uint32_t i = 0;
    while (i < w->net.count && w->node[i].info.id != id)
        i++;
    return i;
}

static void on_send(void *user, uint64_t to, struct value payload) {
    struct swim_world_node *n = user;
    uint32_t number = number_of(n->world, to);
    EG_ASSERT(number < n->world->net.count);
    hand_net_send(&n->world->net, n->number, number, HAND_NET_NOW, payload);
}

static void on_changed(void *user, const struct swim_member *m, enum swim_state before) {
    struct swim_world_node *n = user;
    uint32_t number = number_of(n->world, m->info.id);
    const struct swim_world_node *of = &n->world->node[number];

    n->world->changes++;
    n->world->falls += number < n->world->net.count && m->state == SWIM_DOWN &&
                       before != SWIM_DOWN && of->swim != NULL &&
                       of->info.incarnation == m->info.incarnation;
}

static uint64_t on_random(void *user) {
    struct swim_world_node *n = user;
    return rng_u64(&n->world->net.rng);
}

static const struct swim_ops ops = {on_send, on_changed, on_random};

static bool net_may_link(void *user, uint32_t at, uint32_t peer) {
    struct swim_world *w = user;
    return swim_may_link(w->node[at].swim, &w->node[peer].info, NULL) == EG_OK;
}

static void net_linked(void *user, uint32_t at, uint32_t peer) {
    struct swim_world *w = user;
    swim_linked(w->node[at].swim, &w->node[peer].info, w->net.now_ms);
    w->node[at].tick_ms = 0;
}

static void net_unlinked(void *user, uint32_t at, uint32_t peer) {
    struct swim_world *w = user;
    swim_unlinked(w->node[at].swim, w->node[peer].info.id, w->net.now_ms);
    w->node[at].tick_ms = 0;
}

static void net_payload(void *user, uint32_t at, uint32_t from, uint32_t channel, struct value v) {
    struct swim_world *w = user;
    struct swim_world_node *n = &w->node[at];
    (void) channel;
    swim_receive(n->swim, w->node[from].info.id, v, w->net.now_ms, wall_ms(n));
    n->tick_ms = 0;
}

static const struct hand_net_events events = {net_may_link, net_linked, net_unlinked, net_payload};

static void node_open(struct swim_world *w, uint32_t number) {
    struct swim_world_node *n = &w->node[number];

    n->info.incarnation = (uint64_t) wall_ms(n) << 16;
    EG_ASSERT(swim_open(&n->swim, alloc_system(), &n->info, &ops, n) == EG_OK);
    n->tick_ms = 0;
}

void swim_world_init(struct swim_world *w, uint32_t count, uint64_t seed) {
    memset(w, 0, sizeof *w);
    hand_net_init(&w->net, count, seed, &events, w);
    for (uint32_t i = 0; i < count; i++) {
        struct swim_world_node *n = &w->node[i];
        n->world = w;
        n->number = i;
        snprintf(n->info.name, sizeof n->info.name, "node-%u", i);
        snprintf(n->info.address, sizeof n->info.address, "10.0.0.%u:7341", i);
        n->info.id = node_id_of(n->info.name);
        n->info.weight = NODE_WEIGHT_USUAL;
        node_open(w, i);
    }
}

void swim_world_fini(struct swim_world *w) {
    for (uint32_t i = 0; i < w->net.count; i++) {
        if (w->node[i].swim != NULL)
            swim_close(w->node[i].swim);
    }
    hand_net_fini(&w->net);
}

static void step(struct swim_world *w) {
    for (uint32_t i = 0; i < w->net.count; i++) {
        if (w->net.paused[i] && w->net.now_ms >= w->node[i].stopped_until_ms)
            w->net.paused[i] = false;
    }
    hand_net_step(&w->net);
    for (uint32_t i = 0; i < w->net.count; i++) {
        struct swim_world_node *n = &w->node[i];
        if (n->swim != NULL && !w->net.paused[i] && w->net.now_ms >= n->tick_ms)
            n->tick_ms = swim_tick(n->swim, w->net.now_ms, wall_ms(n));
    }
}

void swim_world_run(struct swim_world *w, uint64_t ms) {
    while (ms-- > 0)
        step(w);
}

bool swim_world_until(struct swim_world *w, uint64_t ms,
                      bool (*is_so)(const struct swim_world *w)) {
    while (!is_so(w)) {
        if (ms-- == 0)
            return false;
        step(w);
    }
    return true;
}

void swim_world_kill(struct swim_world *w, uint32_t node) {
    swim_close(w->node[node].swim);
    w->node[node].swim = NULL;
    hand_net_kill(&w->net, node);
}

void swim_world_start(struct swim_world *w, uint32_t node) {
    hand_net_start(&w->net, node);
    node_open(w, node);
}

void swim_world_cut(struct swim_world *w, uint32_t side) {
    for (uint32_t a = 0; a < w->net.count; a++) {
        for (uint32_t b = 0; b < w->net.count; b++)
            w->net.blocked[a][b] = (side >> a & 1) != (side >> b & 1);
    }
}

enum swim_state swim_world_state(const struct swim_world *w, uint32_t at, uint32_t of) {
    const struct swim_member *m = swim_find(w->node[at].swim, w->node[of].info.id);
    return m != NULL ? m->state : SWIM_JOINING;
}

bool swim_world_is_true(const struct swim_world *w) {
    for (uint32_t at = 0; at < w->net.count; at++) {
        for (uint32_t of = 0; of < w->net.count && w->node[at].swim != NULL; of++) {
            const struct swim_member *m = swim_find(w->node[at].swim, w->node[of].info.id);
            bool up = m != NULL && m->state == SWIM_UP &&
                      m->info.incarnation == w->node[of].info.incarnation;
            if (w->node[of].swim != NULL ? !up : m != NULL && m->state < SWIM_DOWN)
                return false;
        }
    }
    return true;
}
