/* sim_tx.h -- clients of transactions that touch several shards.
 *
 *     two   each transaction writes two records that nobody else writes, 2n and 2n + 1, and often
 *           one that others write too
 *
 * They ask a node's managers themselves, as a program does that is part of the node.  Afterwards
 * either both of its records are there or neither; both, where it was told so; neither, where it
 * was told that nothing has happened; and no part is left that waits.  Who looks at the two
 * meanwhile, one after the other, does not find the first alone.
 *
 * Threads    One.
 */
#ifndef TESTS_SIM_SIM_TX_H
#define TESTS_SIM_SIM_TX_H

#include "tests/sim/copies.h"
#include "tests/sim/history.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/sim_tx_look.h"
#include "tests/support/rng.h"

enum {
    TXERS = 6,
    TX_LOOKERS = 3,
    TX_TRIES_MAX = 1500, /* of a run */
    TX_HOT = 4,          /* records that many write: keys 0, 1 .. */
    TX_KEYS = TX_HOT + 2 * TX_TRIES_MAX,
};

struct sim_tx;

struct tx_try {
    struct sim_tx *world;
    struct sim_node *node;
    uint32_t number; /* from 1 on */
    uint32_t start;  /* of the node */
    uint64_t view;   /* that it is in */
    uint32_t hot;    /* TX_HOT: none */
    bool stale;      /* it says that it has seen what never was */
    enum op_end end;
    char text[64];
};

struct txer {
    struct sim_tx *world;
    struct rng rng;
    struct sim_event think;
    uint32_t trying; /* 0: nothing */
    uint64_t until_ns;
};

/* Looks at both records of a transaction of a moment ago, again and again. */
struct tx_looker {
    struct sim_tx *world;
    struct rng rng;
    struct sim_event think;
    struct tx_look look;
    uint32_t half; /* of which transaction only one was found; 0: none */
};

struct sim_tx {
    struct sim *sim;
    struct sim_node *node;
    uint32_t nodes;
    uint64_t think_ms;
    bool on, sync, quiet;
    uint64_t (*next_fault_ns)(void *user); /* many are under way then */
    void *user;
    struct copies_table t;
    struct txer txer[TXERS];
    struct tx_try try[TX_TRIES_MAX + 1];
    uint32_t tries;
    struct tx_looker looker[TX_LOOKERS];
};

extern const char sim_tx_table[];
/* The parameters of create_table. */
void sim_tx_put_create(struct value_writer *w, bool on_disc, bool sync, uint32_t shards);

void sim_tx_start(struct sim_tx *x, struct sim *s, uint64_t seed);
bool sim_tx_is_done(const struct sim_tx *x); /* after `quiet`: nobody waits */
void sim_tx_stop(struct sim_tx *x);
uint32_t sim_tx_count(const struct sim_tx *x, enum op_end end);

/* All copies are whole and the same, and nothing is prepared any more.  False: `text` says what is
 * wrong. */
bool sim_tx_agrees(struct sim_node *const *nodes, uint32_t count, const struct sim_tx *x,
                   char text[HISTORY_TEXT_BYTES]);
/* A part of any transaction is prepared there, in the table of that name: `text` says which. */
bool sim_tx_anything_waits(struct sim_node *n, const char *table, char text[HISTORY_TEXT_BYTES]);
/* The rules above, of what they agreed on.  Not `kept`: copies may have lost what they had. */
bool sim_tx_check(const struct sim_tx *x, bool kept, char text[HISTORY_TEXT_BYTES]);

#endif /* TESTS_SIM_SIM_TX_H */
