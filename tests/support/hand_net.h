/* hand_net.h -- links between a few machines, broken by hand or by chance, in virtual time.
 *
 * What mesh.h gives to protocol machines, with everything that can go wrong with it: links
 * that are reset, that swallow one direction and are noticed late, peers that are killed or
 * stopped, delays.  Frames of a link arrive in order; what is under way when it breaks is lost.
 * Each hand_net_step() is a millisecond.
 *
 *     block   nothing passes in this direction; frames wait, and after a while the link is
 *             given up by one side or the other
 *     reset   both sides hear at once; the link is dialled again
 *     kill    as when a process dies: its links are reset
 *     pause   as SIGSTOP: it takes nothing, its links stay up
 */
#ifndef TESTS_SUPPORT_HAND_NET_H
#define TESTS_SUPPORT_HAND_NET_H

#include "tables/value.h"
#include "tests/support/rng.h"

enum {
    HAND_NET_NODES = 8,
    HAND_NET_NOW = 0,      /* a channel that may lose frames */
    HAND_NET_RELIABLE = 1, /* one that does not              */
};

struct hand_net_events {
    bool (*may_link)(void *user, uint32_t at, uint32_t peer);
    void (*linked)(void *user, uint32_t at, uint32_t peer);
    void (*unlinked)(void *user, uint32_t at, uint32_t peer);
    void (*payload)(void *user, uint32_t at, uint32_t from, uint32_t channel, struct value v);
};

struct hand_frame;

struct hand_net {
    const struct hand_net_events *events;
    void *user;
    struct rng rng;
    uint32_t count;
    uint64_t now_ms;
    uint32_t delay_ms_max;  /* 0: none but the step's                           */
    uint32_t loss_permille; /* of HAND_NET_NOW                                  */
    uint32_t connection;    /* the last number                                  */
    bool alive[HAND_NET_NODES], paused[HAND_NET_NODES];
    bool blocked[HAND_NET_NODES][HAND_NET_NODES];     /* from, to                  */
    uint32_t side[HAND_NET_NODES][HAND_NET_NODES];    /* at, peer: connection or 0 */
    uint64_t down_ms[HAND_NET_NODES][HAND_NET_NODES]; /* at, peer: when it notices */
    uint64_t dial_ms[HAND_NET_NODES][HAND_NET_NODES];
    struct hand_frame *first[HAND_NET_NODES][HAND_NET_NODES]; /* from, to */
    struct hand_frame *last[HAND_NET_NODES][HAND_NET_NODES];
    uint64_t frames[HAND_NET_NODES], frame_bytes[HAND_NET_NODES]; /* sent and received */
};

void hand_net_init(struct hand_net *n, uint32_t count, uint64_t seed,
                   const struct hand_net_events *events, void *user);
void hand_net_fini(struct hand_net *n);

void hand_net_send(struct hand_net *n, uint32_t from, uint32_t to, uint32_t channel,
                   struct value v);
void hand_net_step(struct hand_net *n);

void hand_net_reset(struct hand_net *n, uint32_t a, uint32_t b);
void hand_net_kill(struct hand_net *n, uint32_t node);
void hand_net_start(struct hand_net *n, uint32_t node); /* again */
void hand_net_heal(struct hand_net *n);                 /* no block, pause, loss, long delay */
static inline bool hand_net_is_linked(const struct hand_net *n, uint32_t at, uint32_t peer) {
    return n->side[at][peer] != 0;
}

#endif /* TESTS_SUPPORT_HAND_NET_H */
