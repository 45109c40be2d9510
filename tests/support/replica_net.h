/* replica_net.h -- copies of one table "t" on several nodes: catalogs in one thread, a network of
 * queues that is moved and cut by hand, views as the test likes.
 *
 *     open_net(3, 0, "disc", seed);      // nodes 0, 1, 2; every one has a copy
 *     install(7, 7);                     // a view of all three (bits); all known
 *     settle(7);
 *     fill(&net.node[0], 0, 100);        // acknowledged writes
 *     close_net();
 *
 * Threads    One: the test's own.
 */
#ifndef TESTS_SUPPORT_REPLICA_NET_H
#define TESTS_SUPPORT_REPLICA_NET_H

#include "replication/replica.h"
#include "replication/replica_wire.h"
#include "tables/shard_copy.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/table_world.h"

#define AGREE(condition)                                                                           \
    ((condition) ? (void) 0 : replica_net_disagrees(__FILE__, __LINE__, #condition))

enum {
    NODES = 5,
    RECORD_BYTES = 256,
    SETTLE_MS = 20000,
    TICK_MS = 25,
    SHARDS = 4,
    REPORTS_MAX = 512,
    KEPT_MAX = 64,
    ELEMENT_BITS = 20,
    ELEMENTS = 1 << ELEMENT_BITS, /* what the first of a set's two is less than */
};

struct packet {
    struct packet *next;
    uint64_t due_ms;
    uint32_t size_bytes;
    uint8_t bytes[];
};

struct node {
    struct table_world w;
    struct fail_alloc messages;
    struct replicas *r;
    uint64_t id;
    struct view_id stopped;
    struct view_id lineage;
    bool progress;
    const char *told;          /* the last event */
    struct packet *out[NODES]; /* oldest first */
    uint64_t sent_bytes[NODES];
    eg_pid client; /* who asks, and takes answers */
};

struct net {
    struct node node[NODES];
    uint32_t count;
    bool cut[NODES][NODES];
    uint64_t epoch, ms;
    uint32_t frozen; /* what is sent to these waits */
    uint32_t away;   /* these have been away for long */
    bool lying;      /* some bytes change on the way */
    bool sets;       /* a record's number says what is in it: two elements, none of them 0 */
    bool dull;       /* who loses power keeps nothing but what was synced */
    uint64_t far_ms; /* how long a packet is on its way */
    bool forgetful;  /* there is no memory for some of what arrives */
    uint32_t lost;   /* what is of these kinds does not arrive: a bit for each */
    uint64_t ttl_ms; /* of what is written; 0: none */
    uint32_t keep;   /* what is of these kinds is kept, to come once more */
    struct {
        uint32_t from, to;
        struct packet *packet;
    } kept[KEPT_MAX];
    uint32_t kept_count;
    struct rng rng;
    uint64_t seed;
    bool acked[1 << 14]; /* by key */
    uint32_t doubts;     /* other answers, which say that it may have happened */
    struct {
        uint64_t for_node; /* whose requests those are that are asked for; 0: the client's own */
        uint32_t have, told, answered;
        eg_err outcome; /* the last answer's */
    } witness;          /* witness.h */
    uint32_t report_count;
    struct buffer report[REPORTS_MAX]; /* views look at them */
};

extern struct net net;

/* Say which seed it was, and end. */
EG_NORETURN void replica_net_disagrees(const char *file, int line, const char *what);

/* ---- the network */

struct node *node_by_id(uint64_t id);
/* All that was kept comes once more. */
void hear_kept(void);
void cut(uint32_t a, uint32_t b);
/* One packet of each pair.  False: there was none. */
bool move_packets(void);
void run_ms(uint64_t ms);

/* ---- nodes */

/* `storage`: ram, disc, disc_only; sync: a disc table; one: acks 1; first, max, set, siblings,
 * counter: a policy of merging, the last one on disc; majority: one on disc. */
void open_net(uint32_t count, uint32_t copies, const char *storage, uint64_t seed);
/* Deletes that are remembered take no more than this; 0: as usual. */
void open_net_with(uint32_t count, uint32_t copies, const char *storage, uint64_t seed,
                   uint64_t graves_bytes_max);
void close_net(void);
void tick(struct node *n);
void start_replicas(struct node *n);
void start_client(struct node *n);
/* Off and on again, with its disc; `power`: what was not written yet is lost. */
void restart(struct node *n, bool power);
/* The same, with another disc from then on, which is the node's. */
void restart_with(struct node *n, struct disc_twin *disc);

/* ---- views */

/* A view of the nodes in `mask`; `known` are all members there are. */
void install(uint32_t mask, uint32_t known);
bool settled(uint32_t mask);
void settle(uint32_t mask);

/* ---- the table */

struct table *table_of(struct node *n);
struct value record_of(uint8_t *bytes, size_t room, uint64_t key, uint64_t n);
struct node *master_of(struct node *n, uint64_t key);
/* Send a change to a node; its REPLY has the key as its ref. */
bool ask_at(struct node *m, enum shard_op op, uint64_t key, uint64_t number, bool dirty);
/* To the master as `n` knows it. */
bool ask(struct node *n, enum shard_op op, uint64_t key, uint64_t number);
/* All shards, each by its master as `n` knows it. */
void clear_all(struct node *n);
const struct record *get(struct node *n, uint64_t key);
uint64_t size_of(struct node *n);
/* May a read at this copy show what stands there? */
bool stands(struct node *n, uint64_t key);
uint32_t roles_of(struct node *n, enum shard_role role); /* so many of its shards have it */
void equal_copies(uint32_t mask, uint64_t keys);
/* Write keys from..to-1, until all are acknowledged. */
void fill(struct node *n, uint64_t from, uint64_t to);

#endif /* TESTS_SUPPORT_REPLICA_NET_H */
