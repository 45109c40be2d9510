/* hand_net.c -- frames in queues, links as numbers that both sides hold. */
#include "tests/support/hand_net.h"

#include "engine/base.h"

#include <string.h>

#define NEVER UINT64_MAX

struct hand_frame {
    struct hand_frame *next;
    uint64_t due_ms;
    uint32_t connection, channel, size_bytes;
    uint8_t at[];
};

void hand_net_init(struct hand_net *n, uint32_t count, uint64_t seed,
                   const struct hand_net_events *events, void *user) {
    EG_ASSERT(count <= HAND_NET_NODES);
    memset(n, 0, sizeof *n);
    n->events = events;
    n->user = user;
    n->rng = rng_of(seed);
    n->count = count;
    n->now_ms = 1000;
    for (uint32_t a = 0; a < count; a++) {
        n->alive[a] = true;
        for (uint32_t b = 0; b < count; b++)
            n->down_ms[a][b] = NEVER;
    }
}

static struct hand_frame *frame_pop(struct hand_net *n, uint32_t from, uint32_t to) {
    struct hand_frame *f = n->first[from][to];
    n->first[from][to] = f->next;
    if (f->next == NULL)
        n->last[from][to] = NULL;
    return f;
}

void hand_net_fini(struct hand_net *n) {
    for (uint32_t a = 0; a < n->count; a++) {
        for (uint32_t b = 0; b < n->count; b++) {
            while (n->first[a][b] != NULL)
                free(frame_pop(n, a, b));
        }
    }
}

void hand_net_send(struct hand_net *n, uint32_t from, uint32_t to, uint32_t channel,
                   struct value v) {
    struct hand_frame *f, *last = n->last[from][to];
    uint64_t delay_ms = n->delay_ms_max > 0 ? rng_below(&n->rng, n->delay_ms_max + 1) : 0;

    if (n->side[from][to] == 0)
        return;
    n->frames[from]++;
    n->frame_bytes[from] += v.size_bytes;
    if (channel == HAND_NET_NOW && rng_below(&n->rng, 1000) < n->loss_permille)
        return;
    f = malloc(sizeof *f + v.size_bytes);
    EG_ASSERT(f != NULL);
    *f = (struct hand_frame){.due_ms = n->now_ms + 1 + delay_ms,
                             .connection = n->side[from][to],
                             .channel = channel,
                             .size_bytes = v.size_bytes};
    memcpy(f->at, v.at, v.size_bytes);
    if (last != NULL) {
        f->due_ms = EG_MAX(f->due_ms, last->due_ms);
        last->next = f;
    } else {
        n->first[from][to] = f;
    }
    n->last[from][to] = f;
}

static void side_down(struct hand_net *n, uint32_t at, uint32_t peer) {
    n->side[at][peer] = 0;
    n->down_ms[at][peer] = NEVER;
    if (n->alive[at])
        n->events->unlinked(n->user, at, peer);
}

void hand_net_reset(struct hand_net *n, uint32_t a, uint32_t b) {
    if (n->side[a][b] != 0)
        side_down(n, a, b);
    if (n->side[b][a] != 0)
        side_down(n, b, a);
}

void hand_net_kill(struct hand_net *n, uint32_t node) {
    n->alive[node] = false;
    for (uint32_t peer = 0; peer < n->count; peer++)
        n->side[node][peer] = 0; /* the others notice in a step */
}

void hand_net_start(struct hand_net *n, uint32_t node) {
    n->alive[node] = true;
    n->paused[node] = false;
    for (uint32_t peer = 0; peer < n->count; peer++) {
        n->down_ms[node][peer] = NEVER;
        n->dial_ms[node][peer] = n->dial_ms[peer][node] = n->now_ms + 1;
    }
}

void hand_net_heal(struct hand_net *n) {
    memset(n->blocked, 0, sizeof n->blocked);
    memset(n->paused, 0, sizeof n->paused);
    n->loss_permille = 0;
    n->delay_ms_max = EG_MIN(n->delay_ms_max, 10);
}

/* When does this side notice that the link is no good?  A reset comes at once where it can come;
 * what just swallows is given up after some seconds. */
static void side_watch(struct hand_net *n, uint32_t at, uint32_t peer) {
    bool blocked = n->blocked[at][peer] || n->blocked[peer][at];
    bool broken = n->side[peer][at] != n->side[at][peer];
    uint64_t *down_ms = &n->down_ms[at][peer];

    if (broken && !n->blocked[peer][at] && !n->paused[at])
        *down_ms = EG_MIN(*down_ms, n->now_ms + 1);
    else if ((broken || blocked) && *down_ms == NEVER)
        *down_ms = n->now_ms + 2000 + rng_below(&n->rng, 6000);
    else if (!broken && !blocked)
        *down_ms = NEVER;
    if (*down_ms <= n->now_ms && n->alive[at] && !n->paused[at])
        side_down(n, at, peer);
}

static void pair_dial(struct hand_net *n, uint32_t a, uint32_t b) {
    bool able = n->alive[a] && n->alive[b] && !n->paused[a] && !n->paused[b] && !n->blocked[a][b] &&
                !n->blocked[b][a];

    if (!able || n->now_ms < n->dial_ms[a][b])
        return;
    n->dial_ms[a][b] = n->now_ms + 100 + rng_below(&n->rng, 900);
    if (!n->events->may_link(n->user, a, b) || !n->events->may_link(n->user, b, a))
        return;
    n->side[a][b] = n->side[b][a] = ++n->connection;
    n->events->linked(n->user, a, b);
    n->events->linked(n->user, b, a);
}

static void pair_deliver(struct hand_net *n, uint32_t from, uint32_t to) {
    while (n->first[from][to] != NULL && n->first[from][to]->due_ms <= n->now_ms) {
        struct hand_frame *f = n->first[from][to];
        bool waits = (n->paused[to] || n->blocked[from][to]) && n->side[to][from] == f->connection;
        if (waits)
            return;
        f = frame_pop(n, from, to);
        if (n->alive[to] && n->side[to][from] == f->connection) {
            n->frames[to]++;
            n->frame_bytes[to] += f->size_bytes;
            n->events->payload(n->user, to, from, f->channel, (struct value){f->at, f->size_bytes});
        }
        free(f);
    }
}

void hand_net_step(struct hand_net *n) {
    n->now_ms++;
    for (uint32_t a = 0; a < n->count; a++) {
        for (uint32_t b = 0; b < n->count; b++) {
            if (n->side[a][b] != 0)
                side_watch(n, a, b);
            if (a < b && n->side[a][b] == 0 && n->side[b][a] == 0)
                pair_dial(n, a, b);
            pair_deliver(n, a, b);
        }
    }
}
