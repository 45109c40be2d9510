/* tx_work.h -- what the clients of bench_tx do: a load, its tables, and one transaction of it.
 *
 * The same as bench/peers/mnesia_tx.escript does, table by table and call by call.  Keys of
 * several columns are arrays here and tuples there.
 *
 * Threads    fill: one, before the others.  work: any, each with a client of its own.
 */
#ifndef BENCH_TX_WORK_H
#define BENCH_TX_WORK_H

#include "bench/bench.h"

#include "engram/actor.h"

enum { TX_TABLES_MAX = 4, TX_BATCH = 256, TX_CALL_BYTES = 128 };

/* The reason of a transaction that undoes itself, as its load has it. */
#define TX_REFUSED "refused"

struct tx_client {
    eg_node *node;
    eg_actor *self;                    /* NULL: it is a thread, which waits */
    void (*done)(struct tx_client *c); /* of an actor: the next one can begin */
    eg_table **table;                  /* as in tx_work.table */
    uint64_t random;
    uint64_t number; /* of this client among all */
    uint64_t count;  /* transactions so far */
    uint32_t size;
    _Alignas(16) uint8_t call[TX_CALL_BYTES]; /* of an actor: what its transaction is about */
};

struct tx_work {
    const char *name;
    const char *table[TX_TABLES_MAX]; /* names, as many as there are */
    /* Options of create_table as JSON people would write them are spelled in MessagePack here. */
    void (*create)(eg_node *node, const struct tx_work *work);
    void (*fill)(eg_table **table, uint32_t size);
    /* One transaction; of an actor it is begun.  Refusals that belong to the load are done work. */
    void (*work)(struct tx_client *c);
    uint32_t size, smoke_size;
};

extern const struct tx_work tx_pair, tx_tatp, tx_tpcb;

/* Create `name` with these attributes, and an index on one of them (NULL: none). */
void tx_create(eg_node *node, const char *name, const char *const *attributes, uint32_t count,
               const char *index);

/* Records that go to a table together. */
struct tx_batch {
    eg_table *table;
    uint32_t count;
    size_t size_bytes;
    uint8_t at[TX_BATCH * 256];
};

void tx_batch_add(struct tx_batch *b, const eg_writer *record);
void tx_batch_end(struct tx_batch *b);

/* One transaction about `call`, which `fn` gets; refused by `fn` it is done as well. */
void tx_run(struct tx_client *c, eg_err (*fn)(eg_tx *tx, void *call), void *call,
            size_t size_bytes);

/* From 1 to `n`. */
static inline uint64_t tx_uniform(uint64_t *random, uint64_t n) {
    return 1 + bench_random(random) % n;
}

#endif /* BENCH_TX_WORK_H */
