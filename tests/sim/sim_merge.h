/* sim_merge.h -- clients of tables that are merged: counters, sets, and a bag.
 *
 *     tally   counter   three keys that everybody adds to
 *     tags    set       a key of each client: its array of elements, each written for the first
 *                       time once, and taken out at most once
 *     pairs   a bag     pairs that are each written once, and deleted at most once; now and then
 *                       the table is cleared
 *
 * Afterwards a counter is at least what was acknowledged, and at most that and what is in doubt; an
 * element or pair that was acknowledged and that nobody took out is there; one that was taken out
 * at a node that had been in the view where it was put in, is not; and nothing is there that nobody
 * wrote.
 *
 * Who is in doubt about a write of a set may yet see it made, over what it writes next: it goes on
 * with another key.  Where sets are left (`leaves`) it does so now and then when it has taken
 * something out: whether that stays out shows where nobody writes the set again.
 *
 * Threads    One.
 */
#ifndef TESTS_SIM_SIM_MERGE_H
#define TESTS_SIM_SIM_MERGE_H

#include "tests/sim/history.h"
#include "tests/sim/sim_client.h"
#include "tests/sim/sim_node.h"
#include "tests/support/rng.h"

enum {
    MERGERS = 3,
    MERGE_TABLES = 3,
    MERGE_COUNTERS = 3,
    MERGE_ELEMENTS_MAX = 10, /* of a set at a time */
    MERGE_THINGS_MAX = 4096, /* elements and pairs of a run */
    MERGE_NODES_MAX = 8,
};

enum merge_table { MERGE_TALLY, MERGE_TAGS, MERGE_PAIRS };

/* What may have become of a thing. */
struct thing {
    enum merge_table table;
    uint64_t key;
    enum op_end put, taken; /* OP_OPEN: nobody tried */
    uint64_t view;          /* in which it was put there; 0: it changed, or none */
    uint64_t begin_ns, end_ns;
    uint32_t
        knowing; /* nodes that had it for certain each time it was put there, a bit for each, */
    uint32_t starts[MERGE_NODES_MAX]; /* in those starts of theirs                         */
    bool known;                       /* it was taken out at one of them                  */
};

struct merger {
    struct sim_merge *world;
    struct sim_client client;
    struct rng rng;
    struct sim_event think;
    uint32_t node;
    uint64_t view, begin_ns; /* as it asked */
    enum merge_table table;
    uint64_t key, delta;
    bool clears;
    bool whole;               /* what its node has is in the view that it asked in */
    uint32_t putting, taking; /* things under way; 0: none */
    uint64_t set_key;         /* its own, and what is in it */
    uint32_t set[MERGE_ELEMENTS_MAX], set_count;
};

struct merge_clear {
    enum op_end end;
    uint64_t view, begin_ns, end_ns;
};

struct sim_merge {
    struct sim *sim;
    struct sim_node *node;
    uint32_t nodes;
    uint64_t think_ms;
    bool on, sync, quiet;
    bool leaves; /* its clients change nodes often, too */
    struct merger merger[MERGERS];
    uint64_t keys; /* given out to sets */
    uint64_t acked[MERGE_COUNTERS], doubted[MERGE_COUNTERS];
    struct thing thing[MERGE_THINGS_MAX]; /* from 1 on */
    uint32_t things;
    struct merge_clear clear[64];
    uint32_t clears, done, refused;
};

const char *merge_table_name(enum merge_table t);
/* The parameters of create_table. */
void merge_put_create(struct value_writer *w, enum merge_table t, bool on_disc, bool sync);

void sim_merge_start(struct sim_merge *x, struct sim *s, struct sim_net *net, uint64_t seed);
bool sim_merge_is_done(const struct sim_merge *x); /* after `quiet`: nothing is under way */
void sim_merge_stop(struct sim_merge *x);          /* the world goes on a while */

/* All copies are whole and the same (sim_merge_check.c). */
bool sim_merge_agrees(struct sim_node *const *nodes, uint32_t count, const struct sim_merge *x,
                      char text[HISTORY_TEXT_BYTES]);
/* The rules above; not `kept`: what was acknowledged may be lost.  False: `text` says what is
 * wrong. */
bool sim_merge_check(const struct sim_merge *x, struct sim_node *n, bool kept,
                     char text[HISTORY_TEXT_BYTES]);

#endif /* TESTS_SIM_SIM_MERGE_H */
