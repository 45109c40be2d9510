/* trio.h -- three nodes in three processes on this machine, which go through phases together.
 *
 *     parent: phase 0 --all done--> phase 1 --all done--> ...     opens no node
 *     nodes:  each does what is its own of a phase, and waits for the next
 *
 * What they share lies in memory that the parent has mapped before it forks; a benchmark's own
 * begins with a struct trio.
 */
#ifndef BENCH_TRIO_H
#define BENCH_TRIO_H

#include "bench/bench.h"

#include <stdatomic.h>

enum { TRIO_NODES = 3, TRIO_PHASES_MAX = 16 };

struct trio {
    char folder[64];               /* of the unix sockets they talk by; "": over TCP */
    char address[TRIO_NODES][128]; /* where the others reach it; written before has_address */
    _Atomic bool has_address[TRIO_NODES];
    _Atomic int phase;
    _Atomic int done[TRIO_PHASES_MAX]; /* nodes */
};

/* Memory for all of them, cleared.  It is there for good. */
void *trio_memory(size_t size_bytes);

/* Of the parent, before it forks: they talk by unix sockets.  trio_end() removes what is left. */
void trio_by_unix(struct trio *t);

/* Look again and again; ends the program where it takes too long. */
void trio_until(bool (*condition)(void *), void *user, const char *what);

/* Open node `number` of the three, and wait until it sees the others. */
eg_node *trio_join(struct trio *t, int number);

/* Fork the nodes: each calls `run` with its number and exits. */
void trio_fork(struct trio *t, void (*run)(struct trio *t, int number));
/* Of a node: wait for a phase; say that it is done. */
void trio_await(struct trio *t, int phase);
void trio_done(struct trio *t, int phase);
/* Of the parent: have all nodes go through a phase.  Returns how long it took, in seconds. */
double trio_phase(struct trio *t, int phase);
/* The last one, which nobody has to wait for; then wait for their ends. */
void trio_end(struct trio *t, int phase);

#endif /* BENCH_TRIO_H */
