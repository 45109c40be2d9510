/* genserver.h -- an actor that serves: calls with answers, casts, infos, timeouts.
 *
 * OTP's gen_server in callbacks that run to completion.  A call is answered in
 * its callback or later, from any other callback of the server, by the value
 * that names the caller; every call is answered exactly once, for the server
 * keeps a list of those it owes:
 *
 *     CALL --call()--> owed --genserver_reply()--> answered
 *                       '----the server ends-----> EG_NOPROC
 *
 * so nobody needs a monitor to hear that a server died in the middle of a call.
 * Servers call too: genserver_call() sends, and done() runs when the answer, the
 * deadline or the other's death is there.
 *
 * Threads    What takes `self`: self's callbacks only.
 * Memory     A header of 128 bytes before the state; what is owed and what is awaited
 *            is kept in entries that are recycled, so a call allocates nothing
 *            but its messages, which come from free lists.
 */
#ifndef ENGINE_GENSERVER_H
#define ENGINE_GENSERVER_H

#include "engine/actor.h"
#include "engine/calls.h"

/* Who waits for an answer.  Plain data: keep it, copy it, reply once. */
struct caller {
    eg_pid pid;
    eg_ref ref;
    uint32_t slot; /* in the server's list of what it owes */
    uint32_t uses;
};

struct genserver_ops {
    const char *name;     /* for people: "account", "supervisor" */
    uint32_t state_bytes; /* zeroed before init                  */

    /* All are optional.  `state` is the state_bytes of this server. */
    eg_err (*init)(struct actor *self, void *state, const void *arg);
    /* Without it every call is answered with EG_NO_METHOD. */
    void (*call)(struct actor *self, void *state, struct caller from, struct message *m);
    void (*cast)(struct actor *self, void *state, struct message *m);
    /* Everything else: INFO, EXIT, DOWN, TIMEOUT. */
    void (*info)(struct actor *self, void *state, struct message *m);
    void (*timeout)(struct actor *self, void *state); /* genserver_set_timeout() */
    void (*terminate)(struct actor *self, void *state, const eg_exit *reason);
    /* One line about the state, for inspection; as snprintf. */
    void (*describe)(struct actor *self, const void *state, char *text, size_t size_bytes);
};

struct genserver_opts {
    const struct genserver_ops *ops;
    const void *context; /* genserver_context(): for ops that serve many types */
    /* As for actor_spawn, but ops and lendable are not looked at, and state_bytes
     * is of the server's own state; 0: ops->state_bytes. */
    struct spawn_opts spawn;
    const char *name; /* registered in runtime_names() before init; NULL: none.
                       * Taken: the spawn fails, or the server ends, with EG_EXISTS */
    eg_pid ack_to;    /* who is sent an INFO with ack_tag when init is done */
    uint32_t ack_tag;
};

/* As actor_spawn. */
EG_MUST_USE eg_err genserver_spawn(struct runtime *rt, struct actor *self,
                                   const struct genserver_opts *opts, eg_pid *out, eg_ref *monitor);

const void *genserver_context(const struct actor *self);

/* ---- serving ---------------------------------------------------------------- */

/* Answer a call.  EG_NOT_FOUND: it is answered already, or not this server's. */
eg_err genserver_reply(struct actor *self, struct caller to, eg_err outcome, const void *bytes,
                       size_t size_bytes);
/* As above with a message of kind REPLY made before; takes it in any case. */
eg_err genserver_reply_message(struct actor *self, struct caller to, struct message *reply);

/* Call timeout() when no message came for so long.  Any message ends it. */
void genserver_set_timeout(struct actor *self, uint64_t timeout_ms);

/* ---- asking ------------------------------------------------------------------ */

/* As calls_start(). */
EG_MUST_USE eg_err genserver_call(struct actor *self, eg_pid to, struct message *m,
                                  uint64_t timeout_ms, const struct call_then *then);

/* As calls_later(). */
EG_MUST_USE eg_err genserver_later(struct actor *self, uint64_t delay_ms,
                                   const struct call_then *then);

/* ---- looking ------------------------------------------------------------------ */

bool genserver_is(const struct actor *a); /* else the two below may not be asked */
/* The name it is registered under; "" where it has none. */
void genserver_registered(const struct actor *a, char *text, size_t size_bytes);
struct genserver_stats {
    struct calls_stats calls; /* it made            */
    uint32_t owed;            /* answers, right now */
    uint64_t called, cast;    /* received so far    */
};
struct genserver_stats genserver_stats(const struct actor *a);

#endif /* ENGINE_GENSERVER_H */
