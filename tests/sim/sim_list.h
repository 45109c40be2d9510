/* sim_list.h -- clients of transactions over the wire, that read lists and append to them.
 *
 *     lists   [key, [element, ...]]   begin; some keys are read, to some of them an element is
 *                                     appended; commit.  Or several are read in one request.
 *
 * All that they read and did is a history (tests/support/serial.h), and must be one that
 * transactions one after the other explain: among those of one view, in real time; and what was
 * refused is read nowhere.  A transaction whose node left the view meanwhile is of none.
 *
 * Some ask, in the middle or alone, for all lists of the moment at once: so they read of each key
 * that it has a list or that it has none, and no list may come in between (seeds from
 * CLUSTER_SEED_SCANS on).
 *
 * Keys go with time, so lists stay short.
 *
 * Threads    One.
 */
#ifndef TESTS_SIM_SIM_LIST_H
#define TESTS_SIM_SIM_LIST_H

#include "tests/sim/copies.h"
#include "tests/sim/history.h"
#include "tests/sim/sim_client.h"
#include "tests/sim/sim_node.h"
#include "tests/support/rng.h"
#include "tests/support/serial.h"

enum {
    LISTERS = 6,
    LIST_KEYS = 1024,
    LIST_KEYS_AT_ONCE = 6,
    LIST_TXS_A_KEY = 12, /* one goes, one comes, after so many */
    LIST_SCAN_KEYS = 4,
    LIST_OPS_MAX = 4,
    LIST_MAX = 512, /* elements of a list */
    LIST_ID_BYTES = 40,
};

struct sim_lists;

struct lister {
    struct sim_lists *world;
    struct sim_client client;
    struct rng rng, plan; /* a try that is repeated has the same plan */
    struct sim_event think;
    enum { LIST_IDLE, LIST_BEGIN, LIST_READ, LIST_WRITE, LIST_COMMIT, LIST_ABORT, LIST_ONCE } at;
    uint32_t node, start; /* that it talks to */
    uint64_t view;        /* that it was in   */
    uint32_t tx;          /* in the history   */
    uint32_t op, ops, key[LIST_OPS_MAX];
    bool appends[LIST_OPS_MAX];
    bool scans[LIST_OPS_MAX]; /* key .. key + LIST_SCAN_KEYS - 1 */
    uint64_t planned;         /* how its plan is made */
    bool again;               /* the next one is another try of the last */
    char id[LIST_ID_BYTES];
};

struct sim_lists {
    struct sim *sim;
    struct sim_node *node;
    uint32_t nodes;
    uint64_t think_ms;
    bool on, quiet, scans, ordered;
    uint64_t (*next_fault_ns)(void *user); /* many are under way then */
    void *user;
    struct copies_table t;
    struct lister lister[LISTERS];
    struct serial history;
    uint32_t elements, done, refused;
};

extern const char sim_lists_table[];
/* The parameters of create_table. */
void sim_lists_put_create(const struct sim_lists *x, struct value_writer *w, bool sync,
                          uint32_t shards);

void sim_lists_init(struct sim_lists *x);
void sim_lists_fini(struct sim_lists *x);
void sim_lists_start(struct sim_lists *x, struct sim *s, struct sim_net *net, uint64_t seed);
bool sim_lists_is_done(const struct sim_lists *x); /* after `quiet`: nothing is under way */
void sim_lists_stop(struct sim_lists *x);          /* the world goes on a while */

/* All copies are whole and the same, and nothing is prepared any more. */
bool sim_lists_agree(struct sim_node *const *nodes, uint32_t count, const struct sim_lists *x,
                     char text[HISTORY_TEXT_BYTES]);
/* `tells`: print the transactions that the text names. */
bool sim_lists_check(struct sim_lists *x, bool tells, char text[HISTORY_TEXT_BYTES]);

#endif /* TESTS_SIM_SIM_LIST_H */
