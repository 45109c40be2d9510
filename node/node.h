/* node.h -- one of each, put together.
 *
 * All state of a node hangs off this one struct, so that many nodes live in one
 * process.  Here is the order of start and its reverse; no logic.
 *
 *     epoch -> runtime -> disc -> catalog -> transactions -> cluster -> server
 */
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include "engine/buffer.h"
#include "engine/env.h"
#include "engine/err.h"
#include "engine/foreign.h"
#include "engine/list.h"
#include "engram.h"
#include "node/machine.h"
#include "query/tx_card.h"
#include "tables/memory.h"
#include "tables/reader.h"

#include <stdatomic.h>

struct catalog;
struct cluster;
struct disc;
struct epoch;
struct server;
struct tx_managers;

enum {
    NODE_NAME_BYTES = 256,
    NODE_MEMORY_MIN_BYTES = 64 << 20, /* of memory_limit_bytes                     */
    NODE_READERS_MAX = 512,           /* threads of the program that read at once       */
    NODE_RESULT_BYTES_MAX = 64 << 20, /* of one answer to the program                 */
    NODE_CALL_MS = 60 * 1000,         /* a blocking call that nobody answers            */
    NODE_CALL_LONG_MS = 3600 * 1000,  /* one that walks a whole table                  */
};

struct node_env { /* the machine's, with the program's place for log lines */
    struct env env;
    struct env_ops ops;
    eg_node *node;
};

struct merge_function;

struct eg_node {
    struct alloc *alloc; /* of all its parts; results and handles are the system's */
    eg_options options;
    struct node_env env;
    char name[NODE_NAME_BYTES];
    struct memory_budget budget;
    struct merge_function *merge; /* of its options' merges */
    struct epoch *epoch;
    struct runtime *runtime;
    struct disc *disc; /* NULL: RAM only */
    struct catalog *catalog;
    struct tx_managers *transactions;
    struct tx_program program; /* how the server asks for what the program holds of them */
    struct cluster *cluster;   /* NULL: it has no part in one */
    struct err_note apart;     /* why it has no part in a cluster, where it could not listen */
    struct server *server;     /* NULL: it does not listen */
    _Atomic uint32_t next_subscriber; /* deals schedulers out */
    _Atomic uint32_t thread_count;    /* that ever were: their numbers */
    struct thread_slot *threads;
    struct list_node all_threads; /* what threads hold, under the lock */
    atomic_flag threads_lock;     /* held for a few instructions       */
    _Atomic bool closing;
    _Atomic uint32_t errands_to_cut; /* schedulers that have not yet */
};

/* The merges of the options, for the catalog; closed also after an error.  EG_BAD_REQUEST,
 * EG_MEMORY. */
EG_MUST_USE eg_err api_merges_open(eg_node *n, struct err_note *note);
void api_merges_close(eg_node *n);

struct api_txs;
struct errand;
void api_txs_close(struct api_txs *x); /* NULL: it has none */
struct node_thread;
void api_errands_close(struct node_thread *t);
/* Before a node closes: those of actors that are not over will never be.  Waits. */
void api_errands_cut(eg_node *n);
/* What its threads and actors hold of transactions (api_tx_list.c). */
struct tx_program api_tx_program(eg_node *n);

/* What one thread of the program holds on a node: made at its first call. */
struct node_thread {
    struct thread_object object;
    struct list_node node;
    eg_node *owner;
    uint32_t number; /* for people, from 1 */
    struct reader reader;
    struct foreign *foreign;      /* NULL until it has to wait for an answer */
    struct api_txs *txs;          /* NULL until its first transaction        */
    struct tx_card *_Atomic card; /* of txs, for others: under the list's lock it stays      */
    struct list_node underway;    /* errands of this thread's actors (api_tx_then.c) */
    struct errand *errands;       /* of actors, that are over: to be used again (api_tx_then.c) */
    uint32_t errand_count;
};

/* eg_open() with the memory of all parts from `a`, which is safe from any thread. */
EG_MUST_USE eg_err node_open(const eg_options *options, struct alloc *a, eg_node **out,
                             eg_note *note);

/* The calling thread's; NULL with *err: EG_BUSY (too many), EG_MEMORY. */
struct node_thread *node_thread(eg_node *n, eg_err *err);
void node_thread_free(struct node_thread *t); /* no longer in the list */
/* Each, under the list's lock: a few instructions. */
void node_threads_each(eg_node *n, void (*see)(void *context, const struct node_thread *t),
                       void *context);
/* NULL: it has called nothing of this node yet. */
static inline struct node_thread *node_thread_here(eg_node *n) {
    return (struct node_thread *) thread_slot_get(n->threads); /* its first member */
}
/* Its place to wait for answers.  NULL: as above. */
struct foreign *node_foreign(struct node_thread *t, eg_err *err);

static inline struct runtime *node_runtime(eg_node *n) {
    return n->runtime;
}

#endif /* NODE_NODE_H */
