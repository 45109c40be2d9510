/* tatp_wire.h -- one client of the telecom benchmark, over the wire.
 *
 *     tatp_client_init(&c, shell, address, seed, subscribers)
 *     tatp_client_step(&c)  ...        one transaction, until it has an end
 *     tatp_client_fini(&c)
 *
 * Where all calls of a transaction are known beforehand it is one request (`transaction`); where
 * one is about what another has found it is held open (`begin` ... `commit`).
 *
 * Threads    A client belongs to one thread; clients share nothing.
 * Errors     As everything in the shell: an exit code, after saying why. */
#ifndef TOOLS_TATP_WIRE_H
#define TOOLS_TATP_WIRE_H

#include "engine/hist.h"
#include "tools/shell.h"
#include "tools/tatp.h"

/* What became of transactions of one kind. */
struct tatp_count {
    uint64_t done;          /* that have an end, whichever of these      */
    uint64_t failed;        /* found no such record, or one too many     */
    uint64_t in_doubt;      /* nobody could say; not tried again         */
    uint64_t retries;       /* tries beyond the first                    */
    struct hist latency_ns; /* of all tries together, until the end      */
};

enum { TATP_ID_BYTES = 64 };

struct tatp_client {
    struct shell shell; /* a connection of its own */
    uint64_t random;    /* of its transactions: the same in each run */
    uint64_t pauses;    /* of the time between tries                 */
    uint64_t subscribers;
    char tx[TATP_ID_BYTES]; /* the transaction held open last; "": none yet */
    struct tatp_count count[TATP_KINDS];
};

void tatp_client_init(struct tatp_client *c, const struct shell *like, const char *address,
                      uint64_t seed, uint64_t subscribers);
void tatp_client_fini(struct tatp_client *c);

EG_MUST_USE int tatp_client_step(struct tatp_client *c);

/* Add what became of those of one client. */
void tatp_count_merge(struct tatp_count *to, const struct tatp_count *from);

#endif /* TOOLS_TATP_WIRE_H */
