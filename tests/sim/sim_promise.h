/* sim_promise.h -- clients of tables whose promises are more than what a key holds in the end.
 *
 *     carts    siblings   read with a context, written and deleted with it, now and then with an
 *                         old one: what it named goes, all else stays
 *     leases   a ttl      written with one of some seconds, and read
 *     notes    lww        written at all nodes, few keys: who loses to another side of a cut is in
 *                         a journal
 *
 * In seeds of policies there are, instead of carts and leases,
 *
 *     firsts, mosts, leasts, fields, joins      first, max, min, lww_by_attribute, callback
 *
 * which are written and deleted as notes are.  Keys go by there, some seconds each, so that what a
 * cut has made of them stands in the end.
 *
 * Each write has a number, which is part of each field that it writes (sim_promise_field.h).  The
 * rules are in sim_promise_check.c, those of journals and policies in sim_promise_journal.c.
 *
 * Threads    One.
 */
#ifndef TESTS_SIM_SIM_PROMISE_H
#define TESTS_SIM_SIM_PROMISE_H

#include "tests/sim/history.h"
#include "tests/sim/sim_client.h"
#include "tests/sim/sim_node.h"
#include "tests/support/rng.h"

enum {
    PROMISERS = 3,
    PROMISE_KEYS = 4,
    PROMISE_KEYS_MAX = 64, /* in seeds of policies, where they go by */
    PROMISE_SHARDS = 2,
    PROMISE_SEEN_MAX = 64, /* siblings of a key */
    PROMISE_DEEDS_MAX = 8192,
    PROMISE_NODES_MAX = 8,
    PROMISE_CONTEXT_BYTES = 2048,
};

enum promise_table {
    PROMISE_CARTS,
    PROMISE_LEASES,
    PROMISE_NOTES,
    PROMISE_FIRSTS,
    PROMISE_MOSTS,
    PROMISE_LEASTS,
    PROMISE_FIELDS,
    PROMISE_JOINS,
    PROMISE_TABLES,
};

/* Numbers of writes. */
struct numbers {
    uint32_t count, at[PROMISE_SEEN_MAX];
};

struct deed {
    enum promise_table table;
    uint32_t key, node, ttl_ms;
    uint32_t fields; /* that it writes, or takes away: a bit for each */
    enum { DEED_WRITE, DEED_DELETE, DEED_READ } kind;
    enum op_end end;
    uint64_t begin_ns, end_ns;
    uint64_t view;                      /* of its node, from begin to end; 0: it changed, or none */
    int64_t least_ms, most_ms;          /* of all clocks: when it began, and by when it had ended */
    int64_t least_then_ms;              /* of all clocks, when it ended                           */
    bool everywhere;                    /* all nodes' copies were whole, when it began and ended */
    uint64_t named_in;                  /* the view in which what it names was read; 0: none */
    struct numbers named;               /* what its context named; what a read saw                */
    uint64_t views[PROMISE_NODES_MAX];  /* of all nodes, as it began */
    uint32_t starts[PROMISE_NODES_MAX]; /* the same                  */
};

struct promiser {
    struct sim_promise *world;
    struct sim_client client;
    struct rng rng;
    struct sim_event think;
    uint32_t node, number; /* of what is under way */
    struct known {
        uint8_t context[PROMISE_CONTEXT_BYTES];
        uint32_t context_bytes; /* 0: none */
        uint64_t view;
        struct numbers named;
    } known[PROMISE_KEYS];
};

struct sim_promise {
    struct sim *sim;
    struct sim_node *node;
    uint32_t nodes;
    uint64_t think_ms;
    int64_t *most_ms; /* the highest that any clock has shown */
    bool on, sync, quiet;
    bool jumps;    /* its clocks do: what has a ttl is left out, and there are more notes */
    bool policies; /* all tables but the first two; else the first three alone          */
    uint64_t start_ns;
    struct promiser promiser[PROMISERS];
    struct deed *deed; /* from 1 on */
    uint32_t deeds, done, refused;
};

const char *promise_table_name(enum promise_table t);
bool promise_has(const struct sim_promise *x, enum promise_table t);
/* The parameters of create_table. */
void promise_put_create(struct value_writer *w, enum promise_table t, bool on_disc, bool sync);

void sim_promise_init(struct sim_promise *x);
void sim_promise_fini(struct sim_promise *x);
void sim_promise_start(struct sim_promise *x, struct sim *s, struct sim_net *net, uint64_t seed);
bool sim_promise_is_done(const struct sim_promise *x); /* after `quiet`: nothing is under way */
void sim_promise_stop(struct sim_promise *x);          /* the world goes on a while */

/* The numbers in an array of records of carts or leases. */
void promise_numbers_in(struct value records, struct numbers *out);

/* All copies of tables in which nothing is ever over are whole and the same. */
bool sim_promise_agrees(struct sim_node *const *nodes, uint32_t count, const struct sim_promise *x,
                        char text[HISTORY_TEXT_BYTES]);
/* All rules, asked of the nodes by `admin`.  Not `kept`: what was acknowledged may be lost.
 * `tells`: print what befell the key that is wrong. */
bool sim_promise_check(const struct sim_promise *x, struct sim_client *admin, bool kept, bool tells,
                       char text[HISTORY_TEXT_BYTES]);

#endif /* TESTS_SIM_SIM_PROMISE_H */
