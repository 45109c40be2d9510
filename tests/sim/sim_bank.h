/* sim_bank.h -- clients of transactions over the wire, who move money and turn a ring.
 *
 *     accounts  [0 .. 7, money]     two are read and written: some money goes from one to the other
 *     ring      [8 .. 15, next]     three that follow each other are read and written: the second
 *                                   and the third change places
 *
 * Others read all accounts, or all of the ring, in one request.  Whoever gets an answer finds all
 * the money there was at the beginning, and one ring of all, and so do the copies at the end: the
 * table asks for a majority, so this is to be so through all cuts.  Who sees half of a transaction,
 * or writes over what he has not read, makes another sum, or a ring that is short or has a loop.
 *
 * Threads    One.
 */
#ifndef TESTS_SIM_SIM_BANK_H
#define TESTS_SIM_SIM_BANK_H

#include "tests/sim/copies.h"
#include "tests/sim/history.h"
#include "tests/sim/sim_client.h"
#include "tests/sim/sim_node.h"
#include "tests/support/rng.h"

enum {
    BANKERS = 6,
    BANK_ACCOUNTS = 8,
    BANK_MONEY = 100, /* of each, at the beginning */
    BANK_RING = 8,
    BANK_KEYS = BANK_ACCOUNTS + BANK_RING,
    BANK_STEPS_MAX = 3, /* records of a transaction */
    BANK_ID_BYTES = 40,
};

struct sim_bank;

struct banker {
    struct sim_bank *world;
    struct sim_client client;
    struct rng rng;
    struct sim_event think;
    enum { BANK_IDLE, BANK_BEGIN, BANK_READ, BANK_WRITE, BANK_COMMIT, BANK_ABORT, BANK_LOOK } at;
    uint32_t node;                    /* that it talks to */
    bool ring;                        /* else accounts    */
    uint32_t step, steps;             /* of its reads or writes */
    uint32_t key[BANK_STEPS_MAX + 1]; /* of a ring the last is only read of */
    uint64_t found[BANK_STEPS_MAX], amount;
    char id[BANK_ID_BYTES];
};

struct sim_bank {
    struct sim *sim;
    struct sim_node *node;
    uint32_t nodes;
    uint64_t think_ms;
    bool on, quiet;
    uint64_t (*next_fault_ns)(void *user); /* many are under way then */
    void *user;
    struct copies_table t;
    struct banker banker[BANKERS];
    uint32_t done, refused, looks;
    char wrong[HISTORY_TEXT_BYTES]; /* what the first look found that was wrong */
};

extern const char sim_bank_table[];
/* The parameters of create_table, and of write_many for what there is at the beginning. */
void sim_bank_put_create(const struct sim_bank *x, struct value_writer *w, bool sync,
                         uint32_t shards);
void sim_bank_put_first(struct value_writer *w);

void sim_bank_start(struct sim_bank *x, struct sim *s, struct sim_net *net, uint64_t seed);
bool sim_bank_is_done(const struct sim_bank *x); /* after `quiet`: nothing is under way */
void sim_bank_stop(struct sim_bank *x);          /* the world goes on a while */

/* All copies are whole and the same, and nothing is prepared any more. */
bool sim_bank_agrees(struct sim_node *const *nodes, uint32_t count, const struct sim_bank *x,
                     char text[HISTORY_TEXT_BYTES]);
/* Of all looks, and of what they agreed on. */
bool sim_bank_check(const struct sim_bank *x, char text[HISTORY_TEXT_BYTES]);

#endif /* TESTS_SIM_SIM_BANK_H */
