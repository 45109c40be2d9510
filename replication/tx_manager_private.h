/* tx_manager_private.h -- how managers lie in memory, and what their files ask of each other:
 *
 *     tx_manager.c   the actors, what is asked of them, open and close
 *     tx_run.c       one transaction: its machine and what moves that
 *     tx_ask.c       what other nodes know of one: questions of clients, parts in doubt */
#ifndef REPLICATION_TX_MANAGER_PRIVATE_H
#define REPLICATION_TX_MANAGER_PRIVATE_H

#include "replication/tx_bundle.h"
#include "replication/tx_decision.h"
#include "replication/tx_machine.h"
#include "replication/tx_wire.h"

#include "engine/actor.h"
#include "engine/env.h"
#include "engine/list.h"
#include "engine/planted.h"

enum {
    TX_TICK_MS = 50,
    TX_RETRY_MS = 200,           /* what could not be done now                        */
    TX_ASK_AGAIN_MS = 500,       /* of a part in doubt                                */
    TX_RECALL_TABLES_MS = 60000, /* after a start its tables may not all be known yet */
    TX_RECALL_VIEW_MS = 10000,   /* and a view may be to come: later there is no cluster */
    TX_ASKS_MAX = 4096,          /* questions under way at one manager                */
};

enum tx_manager_tag {
    TX_COMMIT = 1, /* CALL: a bundle                                          */
    TX_STATUS,     /* CALL: struct transact_id                                */
    TX_LIST,       /* CALL: nothing                                           */
    TX_LOGGED,     /* a run's number: the disc has something to say of it     */
    TX_VIEW,       /* struct tx_members                                       */
    TX_RECEIVED,   /* from a node: its id, struct tx_word                     */
    TX_DOUBT,      /* struct tx_doubt, then the table's name, then the head   */
    TX_TICK,
    TX_GO_ON, /* a run's number: it was enough for one turn                   */
};

/* Who is in the present view. */
struct tx_members {
    struct view_id view; /* epoch 0: there are no others */
    uint32_t count;
    uint64_t node[NODES_MAX];
};

struct tx_doubt {
    uint64_t table;
    uint32_t shard;
    uint32_t name_bytes;
    struct transact_id id;
};

/* A part as it was looked at. */
struct tx_look {
    uint64_t changes;  /* its shard's, before */
    uint32_t flickers; /* transact_part_flickers() */
};

/* A transaction under way. */
struct tx_run {
    struct list_node node;
    uint64_t number; /* used once: what answers an earlier one finds nothing */
    struct transact_id id;
    struct transact_age age;
    bool recalled; /* found on disc: nobody waits for it */
    eg_pid from;
    eg_ref ref;
    uint64_t began_ns, deadline_ns, retry_ns;
    struct message *bundle; /* its places lie in it */
    struct tx_place *place;
    struct tx_part *part;
    struct tx_look *look;
    uint32_t count;
    uint32_t flickers;  /* of all parts that were looked at */
    bool goes_on;       /* TX_GO_ON is on its way           */
    bool early;         /* tx_awaits_view()                 */
    struct buffer head; /* as all its shards are told */
    struct tx_machine machine;
    struct tx_decision decision;
    bool written, erased;
    char why[128]; /* the first refusal's text */
};

/* What is asked of other nodes: for a client, or for a part in doubt. */
struct tx_ask {
    struct list_node node;
    uint64_t number;
    struct transact_id id;
    eg_pid from; /* a client */
    eg_ref ref;
    struct message *doubt; /* a part: struct tx_doubt and what follows; NULL: a client's */
    bool telling;          /* the shard is being told           */
    uint64_t again_ns, deadline_ns;
    uint32_t waiting; /* how many of `members` have not said     */
    bool said[NODES_MAX];
    bool open, committed, aborted;
};

struct tx_manager {
    struct tx_managers *all;
    uint32_t index;
    _Atomic uint64_t pid; /* of the actor of now; 0: not yet */
    struct tx_run **slot;
    uint32_t *unused;
    uint32_t slot_count, unused_count;
    uint64_t given; /* numbers so far */
    struct list_node runs, asks;
    uint32_t ask_count;
    struct tx_members members;
    struct buffer out;
    struct reader reader;
    bool ticking, reading;
};

struct tx_managers {
    struct tx_managers_opts o;
    struct tx_peers peers;
    _Atomic bool met;            /* `peers` may be called */
    struct transact_doubt doubt; /* shards ask so */
    eg_pid root;
    uint64_t opened_ns;
    uint32_t count;
    struct tx_manager manager[];
};

/* Has the disc some of it? */
static inline bool tx_run_is_lent(struct tx_run *run) {
    return tx_decision_state(&run->decision) == TX_DECISION_UNDER_WAY;
}
static inline struct tx_manager *tx_manager_of(struct tx_managers *t, struct transact_id id) {
    return &t->manager[(id.high ^ id.low) % t->count];
}
static inline uint64_t tx_now_ns(const struct tx_manager *m) {
    return env_now_ns(m->all->o.env);
}

/* ---- tx_manager.c ---------------------------------------------------------------------------- */

/* The node has met others, and has not been in a view since its start: what it remembers of
 * transactions may be over by now, and its shards do not know yet that they are not alone. */
bool tx_awaits_view(const struct tx_manager *m);
/* The view that a manager goes by, for shards whose master may be in a later one. */
enum { TX_VIEW_BYTES = 9 };
struct value tx_view_put(const struct tx_manager *m, uint8_t room[TX_VIEW_BYTES]);

/* ---- tx_run.c -------------------------------------------------------------------------------- */

/* The bundle is the run's from here on, also after an error.  EG_BUSY, EG_MEMORY, EG_EXISTS,
 * EG_CORRUPT. */
EG_MUST_USE eg_err tx_run_new(struct tx_manager *m, struct message *bundle, bool recalled,
                              struct tx_run **out);
/* Do what is to be done; it may be gone afterwards. */
void tx_run_move(struct tx_manager *m, struct actor *self, struct tx_run *run);
/* A shard's answer. */
void tx_run_hear(struct tx_manager *m, struct actor *self, const struct message *reply);
void tx_run_logged(struct tx_manager *m, struct actor *self, uint64_t number);
void tx_run_go_on(struct tx_manager *m, struct actor *self, uint64_t number);
void tx_runs_tick(struct tx_manager *m, struct actor *self);
void tx_runs_view(struct tx_manager *m, struct actor *self);
void tx_runs_restart(struct tx_manager *m, struct actor *self);
struct tx_run *tx_run_find(struct tx_manager *m, struct transact_id id);
void tx_run_free(struct tx_manager *m, struct tx_run *run);
void tx_runs_list(struct tx_manager *m, struct actor *self, const struct message *call);

/* ---- tx_ask.c -------------------------------------------------------------------------------- */

void tx_ask_client(struct tx_manager *m, struct actor *self, const struct message *call);
/* The message is kept. */
void tx_ask_doubt(struct tx_manager *m, struct actor *self, struct message *doubt);
void tx_ask_receive(struct tx_manager *m, struct actor *self, uint64_t from,
                    const struct tx_word *w);
void tx_ask_hear(struct tx_manager *m, const struct message *reply);
void tx_asks_tick(struct tx_manager *m, struct actor *self);
void tx_asks_view(struct tx_manager *m, struct actor *self);
void tx_ask_free(struct tx_manager *m, struct tx_ask *a);
/* Did that reply answer a question, and not a run's request? */
static inline bool tx_ask_is_its(eg_ref ref) {
    return (ref & 1) != 0;
}

#endif /* REPLICATION_TX_MANAGER_PRIVATE_H */
