/* sim_client.h -- a program that talks to simulated nodes, one request at a time.
 *
 *     ask --> connect where it is not --> request --> answer | timeout | broken --> on_answer
 *
 * A request whose answer did not come may have happened; one that could not be sent at all did
 * not.  Either way the connection is given up, and the next ask() goes to the node it names.
 *
 * Threads    None: events of the world call it between steps.
 */
#ifndef TESTS_SIM_SIM_CLIENT_H
#define TESTS_SIM_SIM_CLIENT_H

#include "engine/buffer.h"
#include "query/rpc_proto.h"
#include "tests/sim/sim_net.h"

enum sim_outcome {
    SIM_DONE,    /* `result` says what           */
    SIM_REFUSED, /* `code` says why: no answer but an error */
    SIM_UNSENT,  /* nobody was there             */
    SIM_UNKNOWN, /* it was sent, and no answer came */
};

struct sim_answer {
    enum sim_outcome outcome;
    struct value result; /* lent for the call */
    char text[96];       /* of a refusal: "code: ..." */
};

struct sim_client {
    struct sim *sim;
    struct stream_net *wire;
    struct stream *stream; /* NULL: not connected */
    void (*on_answer)(struct sim_client *c, const struct sim_answer *a);
    void *user;
    const char *address; /* of the node that it is connected to */
    const char *wanted;  /* while that one closes               */
    struct buffer request, input, kept;
    struct rpc_splitter splitter;
    uint32_t number; /* of the last request */
    bool busy, connected, sent, closing;
    struct sim_event begin, deadline;
};

void sim_client_init(struct sim_client *c, struct sim_net *net, struct sim *s, const char *host,
                     void (*on_answer)(struct sim_client *c, const struct sim_answer *a),
                     void *user);
/* No answer comes any more; let the world run a moment, then fini. */
void sim_client_close(struct sim_client *c);
void sim_client_fini(struct sim_client *c);

/* Ask `address` (which outlives the client) for a method with `params`, an array.  One at a
 * time; on_answer() comes once, never from within this call. */
void sim_client_ask(struct sim_client *c, const char *address, const char *method,
                    struct value params, uint64_t timeout_ms);

/* Ask and wait; the world goes on.  *result is lent until the next ask. */
enum sim_outcome sim_client_call(struct sim_client *c, const char *address, const char *method,
                                 struct value params, uint64_t timeout_ms, struct sim_answer *out);

#endif /* TESTS_SIM_SIM_CLIENT_H */
