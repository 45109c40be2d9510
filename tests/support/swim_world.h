/* swim_world.h -- a bunch of membership machines on a hand-made network.
 *
 *     struct swim_world w;
 *     swim_world_init(&w, 5, seed);
 *     swim_world_run(&w, 2000);               // they meet
 *     swim_world_kill(&w, 3);
 *     cr_assert(swim_world_until(&w, 5000, w.all_agree ...
 *
 * Machine i has the name "node-i".
 */
#ifndef TESTS_SUPPORT_SWIM_WORLD_H
#define TESTS_SUPPORT_SWIM_WORLD_H

#include "replication/swim.h"
#include "tests/support/hand_net.h"

struct swim_world_node {
    struct swim_world *world;
    uint32_t number;
    struct node_info info;
    struct swim *swim;
    uint64_t tick_ms;
    uint64_t stopped_until_ms;
    int64_t clock_ms; /* its wall clock is so far ahead */
};

struct swim_world {
    struct hand_net net;
    struct swim_world_node node[HAND_NET_NODES];
    uint64_t falls; /* how often anybody thought somebody down who was not */
    uint64_t changes;
};

void swim_world_init(struct swim_world *w, uint32_t count, uint64_t seed);
void swim_world_fini(struct swim_world *w);
void swim_world_run(struct swim_world *w, uint64_t ms);
/* Run until `is_so`, at most so long; false: it never was. */
bool swim_world_until(struct swim_world *w, uint64_t ms, bool (*is_so)(const struct swim_world *w));

void swim_world_kill(struct swim_world *w, uint32_t node);
void swim_world_start(struct swim_world *w, uint32_t node); /* a new incarnation, knows nobody */
void swim_world_cut(struct swim_world *w, uint32_t side);   /* bits: nodes of one side */

/* What `at` thinks of `of`; SWIM_JOINING where it does not know it. */
enum swim_state swim_world_state(const struct swim_world *w, uint32_t at, uint32_t of);
/* All that run think the truth: who runs is up with its incarnation, who does not is not. */
bool swim_world_is_true(const struct swim_world *w);

#endif /* TESTS_SUPPORT_SWIM_WORLD_H */
