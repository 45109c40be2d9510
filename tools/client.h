/* client.h -- a blocking MessagePack-RPC client on one connection.
 *
 *     client_send(c, "read", &params, &id);     // as often as the window allows
 *     client_receive(c, &reply, &note);         // any of them, by reply.id
 *
 * or client_call() for one at a time.  A server closes a connection that it does
 * not understand; then, and where it does not answer in time, the client is of no
 * more use than to be closed.
 *
 * Ownership  A reply's values live until the next receive or call.
 * Threads    One connection belongs to one thread.  Send, receive and call block.
 * Errors     EG_CLOSED: connection refused or lost.  EG_TIMEOUT: no answer in time.
 *            EG_TOO_LARGE, EG_BAD_REQUEST: the other side speaks something else.
 *            An error that the *node* answers is no error of the client: it
 *            stands in reply.error. */
#ifndef TOOLS_CLIENT_H
#define TOOLS_CLIENT_H

#include "engine/err.h"
#include "tables/value.h"

#include <signal.h>

struct alloc;
struct client;

struct client_reply {
    uint32_t id;
    bool refused;        /* the node answered an error                  */
    struct value error;  /* a string "code: text" where refused         */
    struct value result; /* else                                        */
};

/* Connect to HOST:PORT or unix:PATH.  `timeout_ms` bounds the connecting and every
 * later wait for progress. */
EG_MUST_USE eg_err client_open(struct client **out, struct alloc *a, const char *address,
                               int timeout_ms, struct err_note *note);
void client_close(struct client *c);

/* Queue one request, whose params are an encoded array; *id names its answer.
 * Blocks only where 64 KiB are queued already. */
EG_MUST_USE eg_err client_send(struct client *c, const char *method, struct value params,
                               uint32_t *id, struct err_note *note);

/* Send what is queued and wait for the next answer. */
EG_MUST_USE eg_err client_receive(struct client *c, struct client_reply *reply,
                                  struct err_note *note);

/* Both.  Only while no other answer is owed. */
EG_MUST_USE eg_err client_call(struct client *c, const char *method, struct value params,
                               struct client_reply *reply, struct err_note *note);

/* Wait, as long as it takes, for the next event of a subscription: its params.  No answer
 * is owed.  `during` is the signal mask of the wait; EG_AGAIN: a signal came. */
EG_MUST_USE eg_err client_event(struct client *c, const sigset_t *during, struct value *event,
                                struct err_note *note);
/* Would client_event() return at once?  A guess: part of one may be there. */
bool client_has_event(const struct client *c);

#endif /* TOOLS_CLIENT_H */
