/* sim_cluster.h -- a whole cluster, its clients and what befalls it, from one seed.
 *
 *     open --> safety: clients write while the nemesis (nemesis.h) does its work
 *          --> heal:   nothing fails any more; all copies must become equal, and agree with
 *                      the history
 *          --> stop:   every node in order, nothing left behind
 *          --> start:  what discs hold is there again
 *
 * What kind of cluster, which tables, how many clients and which faults is drawn from the seed.
 *
 * Threads    One.
 */
#ifndef TESTS_SIM_SIM_CLUSTER_H
#define TESTS_SIM_SIM_CLUSTER_H

#include "tests/sim/copies.h"
#include "tests/sim/history.h"
#include "tests/sim/sim_bank.h"
#include "tests/sim/sim_client.h"
#include "tests/sim/sim_list.h"
#include "tests/sim/sim_merge.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/sim_promise.h"
#include "tests/sim/sim_schema.h"
#include "tests/sim/sim_tx.h"

enum {
    CLUSTER_SEED_MERGE = 60000000, /* from here on half have tables that are merged */
    CLUSTER_SEED_LEAVE = 65000000, /* from here on sets are left as they are, now and then */
    CLUSTER_SEED_TX = 80000000,    /* from here on there are transactions (sim_tx.h), */
    CLUSTER_SEED_LISTS = 85000000, /* and from here on others (sim_list.h)           */
    CLUSTER_SEED_SCANS = 87000000, /* and from here on they ask for several lists at once */
    CLUSTER_SEED_LISTS_END = 90000000,
    CLUSTER_SEED_BANK = 90000000, /* and from here on those of sim_bank.h */
    CLUSTER_SEED_BANK_END = 95000000,
    CLUSTER_NODES_MAX = 7,
    CLUSTER_CLIENTS_MAX = 8,
    CLUSTER_TABLES_MAX = 4,
    CLUSTER_KEYS_MAX = HISTORY_KEYS_MAX, /* of a table */
    CLUSTER_SEED_DIRTY = 1000000,        /* odd seeds from here on write at single copies too */
    CLUSTER_SEED_MAIL = 20000000,        /* from here on what copies say may come twice, or not */
    CLUSTER_SEED_OLD_DISC = 30000000,    /* from here on old discs are put back */
    CLUSTER_SEED_CUTS = 40000000,        /* from here on cuts have shapes (cut_shape.h) */
    CLUSTER_SEED_MAJORITY_END = 60000000,
    CLUSTER_SEED_MAJORITY = 50000000, /* from here on most tables ask for a majority, and must be
                                       * linearizable over all */
    CLUSTER_SEED_STAY = 55000000,     /* from here on, up to MAJORITY_END, and from PROMISE on,
                                       * each node has a client that stays there */
    CLUSTER_SEED_SCAN = 57000000,    /* and from here on, up to MAJORITY_END, many reads of majority
                                      * tables are scans */
    CLUSTER_SEED_PROMISE = 70000000, /* up to PROMISE_END: what is promised beside that */
    CLUSTER_SEED_PROMISE_JUMP = 75000000, /* from here on clocks jump, and no record has a ttl */
    CLUSTER_SEED_POLICIES = 77000000, /* from here on these are of other policies than siblings, */
    CLUSTER_SEED_POLICIES_JUMP = 79000000, /* from here on while clocks jump, not before */
    CLUSTER_SEED_PROMISE_END = 80000000,
};

static inline bool cluster_seed_has_majorities(uint64_t seed) {
    return seed >= CLUSTER_SEED_MAJORITY && seed < CLUSTER_SEED_MAJORITY_END;
}

static inline bool cluster_seed_has_scans(uint64_t seed) {
    return seed >= CLUSTER_SEED_SCAN && seed < CLUSTER_SEED_MAJORITY_END;
}

static inline bool cluster_seed_has_promises(uint64_t seed) {
    return seed >= CLUSTER_SEED_PROMISE && seed < CLUSTER_SEED_PROMISE_END;
}
static inline bool cluster_seed_promises_jump(uint64_t seed) {
    return cluster_seed_has_promises(seed) && seed >= CLUSTER_SEED_PROMISE_JUMP &&
           (seed < CLUSTER_SEED_POLICIES || seed >= CLUSTER_SEED_POLICIES_JUMP);
}
static inline bool cluster_seed_has_stayers(uint64_t seed) {
    return (seed >= CLUSTER_SEED_STAY && seed < CLUSTER_SEED_MAJORITY_END) ||
           cluster_seed_has_promises(seed);
}

struct nemesis;

struct cluster_table {
    struct copies_table t;
    bool sync, ordered, majority;
    bool spoiled; /* of a majority table: too many of its copies may have lost what they had */
    uint32_t shards;
};

/* How a key is read: by itself, or by going through all that there is. */
enum asking { ASK_KEY, ASK_SELECT, ASK_QUERY, ASK_MANY, CLUSTER_ASKINGS };

struct cluster_client {
    struct sim_cluster *cluster;
    struct sim_client client;
    struct rng rng;
    struct sim_event think;
    uint32_t node;   /* that it talks to */
    uint32_t number; /* of its operation under way */
    enum asking asked;
    uint32_t company; /* the last start of its node that has been in a view with others */
    bool stays;       /* at its node, and with few keys; it asks often and waits shortly */
};

/* What a seed asks for. */
struct cluster_shape {
    uint32_t nodes, clients, tables, keys;
    uint32_t discs; /* of the nodes, the first ones */
    uint64_t safety_ms, think_ms;
    bool wild;  /* nodes crash whenever they like: only synced tables keep what they acknowledged */
    bool dirty; /* some operations are of one copy alone */
};

struct cluster_opts {
    uint64_t seed;
    uint32_t nodes;  /* 0: drawn */
    uint32_t faults; /* a bit for each kind that is allowed; UINT32_MAX: all */
    bool tell;       /* print what happens */
    bool schema;     /* tables come, change and go meanwhile (sim_schema.h) */
    bool unmerged;   /* without tables that are merged (sim_merge.h) */
};

struct sim_cluster {
    struct cluster_opts o;
    struct cluster_shape shape;
    struct sim *sim;
    struct sim_net *net;
    struct rng rng;
    struct rng peek_rng; /* of its own: who only looks changes nothing of what happens */
    struct sim_node node[CLUSTER_NODES_MAX];
    struct cluster_client client[CLUSTER_CLIENTS_MAX];
    struct cluster_client stayer[CLUSTER_NODES_MAX]; /* one at each node, */
    uint32_t stayers;                                /* or none          */
    uint32_t stays_at;                               /* the table that they ask of */
    struct sim_client admin;
    struct sim_schema schema;
    struct sim_merge merge;
    struct sim_tx tx;
    struct sim_lists lists;
    struct sim_bank bank;
    struct sim_promise promise;
    struct cluster_table table[CLUSTER_TABLES_MAX];
    struct history history;
    struct nemesis *nemesis;
    bool quiet;      /* clients begin nothing more */
    int64_t most_ms; /* the highest that any clock has shown */
    char text[HISTORY_TEXT_BYTES];
};

struct cluster_result {
    bool good;
    uint64_t hash, virtual_ms, events;
    struct history_counts counts;
    uint32_t nodes, faults;
    char text[HISTORY_TEXT_BYTES]; /* what was wrong */
};

/* All of it. */
struct cluster_result sim_cluster_run(const struct cluster_opts *o);

/* ---- for the nemesis -------------------------------------------------------------------- */

/* All nodes that are up are in one view and have all that they should: then one may go, and
 * nothing that was acknowledged goes with it. */
bool sim_cluster_can_spare(struct sim_cluster *c, uint32_t node);
/* The others have all that there is, whatever its own copies are: of a node that is broken. */
bool sim_cluster_can_do_without(struct sim_cluster *c, uint32_t node);
void sim_cluster_tell(struct sim_cluster *c, const char *format, ...) EG_PRINTF(2, 3);
/* One may come back with less than it had acknowledged, and vote for that (docs/decisions/0015): of
 * the bank all others have all, so that no majority is without. */
bool sim_cluster_may_forget(struct sim_cluster *c);
/* The clocks of all nodes have been looked at. */
void sim_cluster_look_at_clocks(struct sim_cluster *c);

#endif /* TESTS_SIM_SIM_CLUSTER_H */
