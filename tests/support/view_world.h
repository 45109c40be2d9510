/* view_world.h -- membership and views together, on a hand-made network, with a judge.
 *
 * Each machine grants in the view that it was told to install until it says that it has
 * stopped, which takes up to stop_ms_max.  After every millisecond the judge looks whether
 *
 *     all members of a view had acknowledged it when it was installed,
 *     nobody who acknowledged a view grants in an earlier one,
 *     views come in the order of their epochs on each node, restarts included,
 *     ids are equal where members are equal, and only there;
 *
 * `fault` says what it saw.
 */
#ifndef TESTS_SUPPORT_VIEW_WORLD_H
#define TESTS_SUPPORT_VIEW_WORLD_H

#include "replication/swim.h"
#include "replication/view.h"
#include "tests/support/hand_net.h"

enum { VIEW_WORLD_IDS = 4096 };

struct view_world_node {
    struct view_world *world;
    uint32_t number;
    struct node_info info;
    struct swim *swim;
    struct views *views;
    uint64_t tick_ms;
    uint64_t stopped_until_ms;   /* the process stands still */
    int64_t clock_ms;            /* its wall clock is so far ahead */
    bool dirty;                  /* whom it reaches may have changed */
    uint64_t epoch;              /* as its disc remembers it */
    const struct view *granting; /* NULL: nothing */
    struct view_id stopping;
    uint64_t stop_ms; /* when it says that it has stopped; 0: not asked */
    uint64_t installs;
    uint64_t installed_ms;
};

struct view_world {
    struct hand_net net;
    struct alloc *views_alloc; /* of the machines of views */
    uint32_t stop_ms_max;
    const char *fault;
    struct view_world_node node[HAND_NET_NODES];
    uint32_t acknowledged_count;
    struct {
        uint64_t node, incarnation;
        struct view_id id;
    } acknowledged[VIEW_WORLD_IDS];
    const struct view *installed[VIEW_WORLD_IDS]; /* one of each id */
    uint32_t installed_count;
};

void view_world_init(struct view_world *w, uint32_t count, uint64_t seed);
void view_world_fini(struct view_world *w);
void view_world_run(struct view_world *w, uint64_t ms);
bool view_world_until(struct view_world *w, uint64_t ms, bool (*is_so)(const struct view_world *w));

void view_world_kill(struct view_world *w, uint32_t node);
void view_world_start(struct view_world *w, uint32_t node);
void view_world_pause(struct view_world *w, uint32_t node, uint64_t ms);
void view_world_cut(struct view_world *w, uint32_t side); /* bits: nodes of one side */

/* The members of the view that a node serves in, as bits; 0: it is in none. */
uint32_t view_world_members(const struct view_world *w, uint32_t node);
/* All that run are in one view, and nobody else is in it. */
bool view_world_is_one(const struct view_world *w);
uint64_t view_world_installs(const struct view_world *w);

#endif /* TESTS_SUPPORT_VIEW_WORLD_H */
