/* supervisor.h -- the actor that starts others, and again when they fail.
 *
 * OTP's supervisor: children.h decides, this file does.  Children are linked to
 * it; it traps exits, starts them in order, stops them in reverse and ends itself
 * when restarts come too often, which its own supervisor then sees; or it is vital.
 *
 *     supervisor_spawn --> first start --> up <--> restarting --> gone
 *
 * A child is a server, a plain actor or another supervisor.  A server is up when
 * its init is done, a supervisor when all its children are; a plain actor is up
 * at once where it lives on the supervisor's scheduler (init has run then) or
 * as soon as it is spawned elsewhere.
 *
 * Commands are calls: build one with supervisor_request(), send it with
 * genserver_call() or foreign_call(), look at the answer with the structs below.
 * What comes while children are being restarted waits for its turn, up to
 * SUPERVISOR_WAITING_MAX commands; after that EG_BUSY.
 */
#ifndef ENGINE_SUPERVISOR_H
#define ENGINE_SUPERVISOR_H

#include "engine/children.h"
#include "engine/genserver.h"

enum { SUPERVISOR_WAITING_MAX = 1024 };

/* How a child is asked to stop: exit shutdown, and kill after so many ms. */
#define SHUTDOWN_DEFAULT  0u               /* SHUTDOWN_DEFAULT_MS; a supervisor: never */
#define SHUTDOWN_BRUTAL   (UINT32_MAX - 1) /* kill at once                             */
#define SHUTDOWN_INFINITY UINT32_MAX       /* never kill                               */
enum { SHUTDOWN_DEFAULT_MS = 5000 };       /* OTP's                                    */

enum child_kind { CHILD_ACTOR, CHILD_SERVER, CHILD_SUPERVISOR };

struct child_spec;

/* Copied by the supervisor; what it points to must live as long. */
struct supervisor_opts {
    const char *label; /* for people; static */
    enum children_strategy strategy;
    uint32_t intensity; /* restarts within period_ms before it gives up */
    uint32_t period_ms;
    /* Started in this order.  A dynamic supervisor has one, its template.  Where
     * child_at is given it is asked instead, with `children` as its context. */
    const void *children; /* array of struct child_spec */
    uint32_t child_count;
    void (*child_at)(const void *children, uint32_t index, struct child_spec *out);
    /* A node is none without it: where restarts come too often, the process stops. */
    bool vital;
};

struct child_spec {
    char id[CHILD_ID_BYTES]; /* unique among siblings; ignored in a dynamic supervisor */
    enum child_kind kind;
    enum child_restart restart;
    uint32_t shutdown_ms;

    /* One of them, by kind. */
    const struct actor_ops *actor;
    const struct genserver_ops *server;
    struct supervisor_opts supervisor;

    const char *name;           /* servers, supervisors: registered; static; NULL: none */
    const void *server_context; /* genserver_opts.context                               */
    uint32_t state_bytes;       /* 0: as ops say                                        */
    const char *label;          /* NULL: the ops' name                                  */

    /* For init, each time: a copy of arg_bytes, or with 0 the pointer itself. */
    const void *arg;
    size_t arg_bytes;

    int32_t scheduler; /* SPAWN_HERE (the supervisor's), SPAWN_ANYWHERE, SPAWN_ON(i) */
    uint32_t mailbox_bound;
    bool lendable;  /* plain actors only */
    bool trap_exit; /* from the start; for supervisors always */

    /* Optional: called in the supervisor's turn with the pid of each new life, once
     * it is up, and with EG_PID_NONE when it has gone. */
    void (*changed)(void *context, eg_pid pid);
    void *changed_context;
};

/* Start a supervisor, linked to `self` where that is given.  Returns at once: the
 * first start is over when a request SUPERVISOR_AWAIT is answered. */
EG_MUST_USE eg_err supervisor_spawn(struct runtime *rt, struct actor *self,
                                    const struct supervisor_opts *opts, int32_t scheduler,
                                    const char *name, eg_pid *out);

/* ---- commands ------------------------------------------------------------------ */

enum supervisor_command {
    /* Answered with EG_OK and an eg_pid: itself, when all children are up. */
    SUPERVISOR_AWAIT,
    /* Payload struct child_spec (dynamic: only arg counts), its arg behind it.
     * Answer: the new child's eg_pid.  EG_EXISTS, or its init's error. */
    SUPERVISOR_START_CHILD,
    /* Payload struct child_key.  EG_NOT_FOUND where there is no such child. */
    SUPERVISOR_TERMINATE_CHILD, /* stays listed, unless temporary or dynamic    */
    SUPERVISOR_RESTART_CHILD,   /* answer: eg_pid.  EG_EXISTS: it is running    */
    SUPERVISOR_DELETE_CHILD,    /* EG_BUSY: it is running                       */
    /* Answer: array of struct child_info, in start order. */
    SUPERVISOR_WHICH_CHILDREN,
    /* Answer: struct child_counts. */
    SUPERVISOR_COUNT_CHILDREN,
};

/* A child by its id, or in a dynamic supervisor by its pid. */
struct child_key {
    char id[CHILD_ID_BYTES];
    eg_pid pid;
};

struct child_info {
    char id[CHILD_ID_BYTES];
    eg_pid pid; /* EG_PID_NONE: not running */
    enum child_kind kind;
    enum child_restart restart;
    enum child_state state;
    uint32_t restarts;
};

struct child_counts {
    uint32_t specs, active, supervisors, workers;
    uint64_t restarts;
};

/* The CALL for a command; `payload` is copied.  NULL: no memory. */
struct message *supervisor_request(struct runtime *rt, enum supervisor_command command,
                                   const void *payload, size_t payload_bytes);
/* The CALL of SUPERVISOR_START_CHILD, with the spec's arg behind it. */
struct message *supervisor_start_child(struct runtime *rt, const struct child_spec *spec);

/* Stop a supervisor from outside: as its own supervisor would, in reverse order. */
void supervisor_stop(struct runtime *rt, eg_pid supervisor);

const char *children_strategy_name(enum children_strategy s); /* "one_for_one", ... */
const char *child_restart_name(enum child_restart r);         /* "permanent", ...   */

#endif /* ENGINE_SUPERVISOR_H */
