/* actor.h -- your own processes beside the data: OTP's habits in C.
 *
 * An actor is a little state and callbacks that run to completion on one of the
 * node's schedulers, one message at a time.  Actors share nothing but what they
 * send.  Servers answer calls; supervisors start actors, and start them again when
 * they fail; names, links, monitors and topics tie them together.
 *
 *     static void on_call(eg_actor *self, void *state, eg_from from, const eg_message *m) {
 *         struct counter *c = state;
 *         c->n++;
 *         eg_reply(self, from, EG_OK, &c->n, sizeof c->n);
 *     }
 *     static const eg_server_ops counter = {
 *         .name = "counter", .state_bytes = sizeof(struct counter), .call = on_call};
 *
 *     eg_pid pid;
 *     eg_spawn_server(node, NULL, &(eg_spawn){.server = &counter, .name = "hits"}, &pid);
 *     ...
 *     eg_call_wait(node, eg_whereis(node, "hits"), 0, NULL, 0, 1000, buffer, sizeof buffer, &got);
 *
 * Failure    An actor that meets what it cannot handle calls eg_crash() and returns;
 *            its supervisor decides.  Memory is shared, so a signal or a failed
 *            assertion stops the node: check what comes from outside.
 * Callbacks  Never block in one: it holds up its scheduler.  Never call what is
 *            marked "waits".  `self` is valid in its own callbacks only.
 * Ownership  What is sent is copied.  A message's bytes live until the callback
 *            returns.  Ops, child lists and names given to a supervisor are not
 *            copied: keep them as long as it lives (static const, mostly).
 * Threads    Calls with a node: any thread.  Calls with `self`: see above.
 */
#ifndef ENGRAM_ACTOR_H
#define ENGRAM_ACTOR_H

#include "engram.h"
#include "engram/error.h"
#include "engram/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct eg_actor eg_actor;

typedef enum eg_message_kind {
    EG_MESSAGE_INFO,    /* eg_send(), a publication                                */
    EG_MESSAGE_CAST,    /* eg_cast()                                               */
    EG_MESSAGE_CALL,    /* only a server without ops->call sees none of them       */
    EG_MESSAGE_EXIT,    /* a linked actor ended, and this one traps exits: `exit`  */
    EG_MESSAGE_DOWN,    /* a monitored actor ended: `ref`, `exit`                  */
    EG_MESSAGE_TIMEOUT, /* of eg_send_after(): `ref`                               */
} eg_message_kind;

typedef struct eg_message {
    eg_message_kind kind;
    uint32_t tag; /* the sender's word for what it is               */
    eg_pid from;  /* EG_PID_NONE: a thread of the program           */
    eg_ref ref;   /* of the monitor, the timer                      */
    const void *data;
    size_t size_bytes;
    const eg_exit *exit; /* EXIT and DOWN; else NULL                               */
} eg_message;

/* Who waits for an answer.  Plain data: keep it, and reply once. */
typedef struct eg_from {
    eg_pid pid;
    eg_ref ref;
    uint32_t slot, uses;
} eg_from;

/* ---- servers -------------------------------------------------------------- */

typedef struct eg_server_ops {
    const char *name;     /* what it is, for people */
    uint32_t state_bytes; /* zeroed before init     */

    /* All are optional. */
    eg_err (*init)(eg_actor *self, void *state, const void *arg); /* an error: no actor */
    /* Answer with eg_reply(), here or in a later callback.  Without it, EG_NO_METHOD. */
    void (*call)(eg_actor *self, void *state, eg_from from, const eg_message *m);
    void (*cast)(eg_actor *self, void *state, const eg_message *m);
    void (*info)(eg_actor *self, void *state, const eg_message *m); /* all other kinds */
    void (*timeout)(eg_actor *self, void *state);                   /* eg_set_timeout() */
    /* The end, unless killed; called once. */
    void (*terminate)(eg_actor *self, void *state, const eg_exit *reason);
    /* One line about the state, for eg_process_info(); as snprintf. */
    void (*describe)(const void *state, char *text, size_t size_bytes);
} eg_server_ops;

enum { EG_SCHEDULER_HERE = 0, EG_SCHEDULER_ANY = -1 };
#define EG_SCHEDULER(index) ((int32_t) (index) + 1)

typedef struct eg_spawn {
    const eg_server_ops *server;
    const char *name;       /* registered while it lives; NULL: none             */
    const void *arg;        /* for init; with arg_bytes 0 the pointer itself,    */
    size_t arg_bytes;       /* else a copy of so many bytes                      */
    int32_t scheduler;      /* EG_SCHEDULER_HERE (from a thread: any), _ANY, (i) */
    uint32_t mailbox_bound; /* messages; 0: 16,384                               */
    bool link;              /* to the spawning actor                             */
    bool trap_exit;
} eg_spawn;

/* Start a server.  `self` is the spawning actor, or NULL outside of actors.  Where it
 * lives on self's scheduler init has run when this returns, and init's error is
 * returned; else a failing init is an exit.
 * EG_EXISTS: the name is taken.  EG_MEMORY; EG_BUSY: too many actors. */
EG_API eg_err eg_spawn_server(eg_node *node, eg_actor *self, const eg_spawn *spawn, eg_pid *out);

/* EG_NOT_FOUND: answered already, or not a call of this server. */
EG_API eg_err eg_reply(eg_actor *self, eg_from to, eg_err outcome, const void *data,
                       size_t size_bytes);

/* Call ops->timeout when no message came for so long.  Any message ends it. */
EG_API void eg_set_timeout(eg_actor *self, uint64_t timeout_ms);

/* ---- an actor about itself -------------------------------------------------- */

EG_API eg_pid eg_self(const eg_actor *self);
EG_API eg_node *eg_actor_node(const eg_actor *self);
EG_API uint64_t eg_now_ms(const eg_actor *self); /* monotonic, of this turn */

/* End after this callback; terminate is called.  The first reason stays. */
EG_API void eg_exit_normal(eg_actor *self);
EG_API void eg_crash(eg_actor *self, int32_t code, const char *text);

EG_API void eg_trap_exit(eg_actor *self, bool on);
/* Both end when one ends, unless normally or trapped.  EG_MEMORY. */
EG_API eg_err eg_link(eg_actor *self, eg_pid other);
EG_API void eg_unlink(eg_actor *self, eg_pid other);
/* Exactly one DOWN comes, at once where `other` is gone.  EG_MEMORY. */
EG_API eg_err eg_monitor(eg_actor *self, eg_pid other, eg_ref *out);
EG_API void eg_demonitor(eg_actor *self, eg_ref monitor);

/* ---- sending ------------------------------------------------------------------ */

/* `self` may be NULL outside of actors; then `node` says where, else it may be NULL.
 * EG_NOPROC: nobody has that pid.  EG_BUSY: its mailbox is full, or the link to its node.
 * EG_NO_REPLICA: its node is not linked, or has been started again.  EG_TOO_LARGE. */
EG_API eg_err eg_send(eg_node *node, eg_actor *self, eg_pid to, uint32_t tag, const void *data,
                      size_t size_bytes);
EG_API eg_err eg_cast(eg_node *node, eg_actor *self, eg_pid to, uint32_t tag, const void *data,
                      size_t size_bytes);

/* A TIMEOUT with this tag and data comes to self in so long. */
EG_API eg_err eg_send_after(eg_actor *self, uint64_t delay_ms, uint32_t tag, const void *data,
                            size_t size_bytes, eg_ref *out);
EG_API bool eg_cancel(eg_actor *self, eg_ref timer); /* false: it has come already */

/* As Erlang's exit(Pid, Reason); EG_EXIT_KILL cannot be trapped. */
EG_API void eg_exit_send(eg_node *node, eg_actor *self, eg_pid to, eg_exit_kind kind);
EG_API bool eg_is_alive(eg_node *node, eg_pid pid);

/* ---- calls ---------------------------------------------------------------------- */

#define EG_NEVER UINT64_MAX /* a timeout that does not come */

/* What came of a call; data is NULL unless the server answered. */
typedef void (*eg_done_fn)(eg_actor *self, void *state, void *context, eg_err outcome,
                           const void *data, size_t size_bytes);

/* Ask a server from an actor: returns at once, `done` is called once in a later turn.
 * Its outcome is what the server said; EG_NOPROC: it ended first; EG_IN_DOUBT: its node was
 * lost; EG_TIMEOUT: it may still be handled, and a late answer is dropped.
 * An error: `done` is never called.  EG_NOPROC, EG_BUSY, EG_NO_REPLICA, EG_MEMORY,
 * EG_TOO_LARGE. */
EG_API eg_err eg_call(eg_actor *self, eg_pid to, uint32_t tag, const void *data, size_t size_bytes,
                      uint64_t timeout_ms, eg_done_fn done, void *context);

/* Ask from a thread of the program: waits.  The answer is cut to `room_bytes`, and
 * *size_bytes (may be NULL) is its whole size.  Errors as above, and what the server
 * said.  Inside an actor: EG_DENIED. */
EG_API eg_err eg_call_wait(eg_node *node, eg_pid to, uint32_t tag, const void *data,
                           size_t size_bytes, uint64_t timeout_ms, void *answer, size_t room_bytes,
                           size_t *answer_bytes);

/* ---- tables, from an actor -------------------------------------------------------- */

/* As the calls of engram.h without _then, which wait and so are not for actors: these return at
 * once, and `done` is called once in a later turn, with the answer of the wire method of the
 * same name as MessagePack.  Changes of one key that one actor asked for are made in that order.
 * EG_TIMEOUT and EG_IN_DOUBT: it may have been made, or be made still.  An error: `done` is never
 * called, nothing changed. */
EG_API eg_err eg_write_then(eg_actor *self, eg_table *table, eg_span record, eg_done_fn done,
                            void *context);
EG_API eg_err eg_insert_new_then(eg_actor *self, eg_table *table, eg_span record, eg_done_fn done,
                                 void *context);
EG_API eg_err eg_update_then(eg_actor *self, eg_table *table, eg_span key, eg_span changes,
                             eg_done_fn done, void *context);
EG_API eg_err eg_update_counter_then(eg_actor *self, eg_table *table, eg_span key,
                                     const char *attribute, int64_t delta, eg_done_fn done,
                                     void *context);
EG_API eg_err eg_delete_then(eg_actor *self, eg_table *table, eg_span key, eg_done_fn done,
                             void *context);
EG_API eg_err eg_take_then(eg_actor *self, eg_table *table, eg_span key, eg_done_fn done,
                           void *context);

/* As eg_transaction(), from an actor: returns at once, `fn` is called in turns of self that come,
 * and `done` in a later one; `arg` is theirs until then.  Where `fn` reads what another node has to
 * be asked for, that call says EG_BUSY, and so do all behind it: return it, and `fn` is called from
 * its beginning when the answer is there.  So it may run several times, as ever.
 *
 * Of the options timeout_ms and tries; the context is EG_TRANSACTION.  done: EG_OK; else the reason
 * is its data, as text.  EG_BUSY: a scan of what this node has not all of, or eg_tx_lock(), which
 * cannot be begun anew.  Where the actor ends or the node closes first, it is never called. */
EG_API eg_err eg_transaction_then(eg_actor *self, eg_node *node, eg_err (*fn)(eg_tx *tx, void *arg),
                                  void *arg, const eg_tx_options *options, eg_done_fn done,
                                  void *context);

/* ---- names and topics ------------------------------------------------------------ */

enum { EG_NAME_BYTES = 64 }; /* with the terminating zero */

/* EG_EXISTS: taken.  EG_BAD_REQUEST: empty or too long.  Goes with the actor. */
EG_API eg_err eg_register(eg_actor *self, const char *name);
EG_API eg_err eg_unregister(eg_actor *self, const char *name);
EG_API eg_pid eg_whereis(eg_node *node, const char *name); /* EG_PID_NONE: nobody */

EG_API eg_err eg_subscribe_topic(eg_actor *self, const char *topic);
EG_API eg_err eg_unsubscribe_topic(eg_actor *self, const char *topic);
/* An INFO to each subscriber on this node and all linked ones; *reached (may be NULL) is to how
 * many of this node. */
EG_API eg_err eg_publish(eg_node *node, eg_actor *self, const char *topic, uint32_t tag,
                         const void *data, size_t size_bytes, uint32_t *reached);

/* ---- other nodes ------------------------------------------------------------------ */

/* Pids of other nodes come with messages, and are like those of this node: send to them, call,
 * link and monitor them.  A lost node is an EXIT and a DOWN with EG_EXIT_NOCONNECTION.  A pid
 * means something only on the node that it came to: inside the data of a message, send a name and
 * the name of its node. */

/* The pid that stands for a name on a node: for whoever has it when a message arrives there.  It
 * can be sent to, called and monitored, not linked.  Neither needs to be there now.
 * EG_BAD_REQUEST: empty or too long.  EG_BUSY: more than 4,096 different ones.  EG_NO_REPLICA:
 * this node has no part in a cluster.  EG_MEMORY. */
EG_API eg_err eg_named(eg_node *node, const char *on_node, const char *name, eg_pid *out);

/* The other nodes that are linked now: up to `room` of their names; *count is how many there are.
 */
EG_API eg_err eg_nodes(eg_node *node, char (*out)[EG_NAME_BYTES], size_t room, size_t *count);

/* The node that an actor is on; "" where it is of a start that has ended. */
EG_API eg_err eg_node_of(eg_node *node, eg_pid pid, char out[EG_NAME_BYTES]);

/* ---- supervisors ------------------------------------------------------------------- */

typedef enum eg_strategy {
    EG_ONE_FOR_ONE,  /* restart who ended                                   */
    EG_ONE_FOR_ALL,  /* restart all                                         */
    EG_REST_FOR_ONE, /* restart who ended and all that were started after   */
    EG_DYNAMIC,      /* simple_one_for_one: many of one template            */
} eg_strategy;

typedef enum eg_restart {
    EG_PERMANENT, /* always started again        */
    EG_TRANSIENT, /* only after an abnormal exit */
    EG_TEMPORARY, /* never                       */
} eg_restart;

#define EG_SHUTDOWN_DEFAULT  0u               /* 5 s; a supervisor: never killed */
#define EG_SHUTDOWN_BRUTAL   (UINT32_MAX - 1) /* kill at once                    */
#define EG_SHUTDOWN_INFINITY UINT32_MAX       /* never kill                      */

struct eg_supervisor;

typedef struct eg_child {
    const char *id; /* unique among siblings, below 48 bytes; a dynamic one needs none */
    const eg_server_ops *server; /* one of these two */
    const struct eg_supervisor *supervisor;
    const char *name;
    eg_restart restart;
    uint32_t shutdown_ms; /* between asking and killing, or EG_SHUTDOWN_... */
    const void *arg;      /* as in eg_spawn, for each life                  */
    size_t arg_bytes;
    int32_t scheduler;
    uint32_t mailbox_bound;
    bool trap_exit;
} eg_child;

typedef struct eg_supervisor {
    const char *label;
    eg_strategy strategy;
    uint32_t intensity; /* more restarts within period_ms end the supervisor */
    uint32_t period_ms;
    const eg_child *children; /* started in this order, stopped in reverse; the */
    uint32_t child_count;     /* template of a dynamic one                      */
} eg_supervisor;

/* Start a supervisor; linked to `self` unless NULL.  Returns before its children are up:
 * eg_await_children() waits for them. */
EG_API eg_err eg_spawn_supervisor(eg_node *node, eg_actor *self, const eg_supervisor *supervisor,
                                  const char *name, eg_pid *out);
/* Waits.  EG_NOPROC: a child did not start, so the supervisor ended. */
EG_API eg_err eg_await_children(eg_node *node, eg_pid supervisor, uint64_t timeout_ms);
/* Stop it and its children, last first.  Waits until it is gone, or EG_TIMEOUT. */
EG_API eg_err eg_stop_supervisor(eg_node *node, eg_pid supervisor, uint64_t timeout_ms);

/* All of these wait, and are for threads of the program.  EG_NOT_FOUND: no such child.
 * A dynamic supervisor takes arg and arg_bytes of `child` only. */
EG_API eg_err eg_start_child(eg_node *node, eg_pid supervisor, const eg_child *child, eg_pid *out);
EG_API eg_err eg_terminate_child(eg_node *node, eg_pid supervisor, const char *id, eg_pid pid);
EG_API eg_err eg_restart_child(eg_node *node, eg_pid supervisor, const char *id, eg_pid *out);
EG_API eg_err eg_delete_child(eg_node *node, eg_pid supervisor, const char *id);

typedef struct eg_child_info {
    char id[48];
    eg_pid pid; /* EG_PID_NONE: not running */
    eg_restart restart;
    bool is_supervisor;
    uint32_t restarts;
} eg_child_info;

/* The first `room` children in start order; *count is how many there are. */
EG_API eg_err eg_which_children(eg_node *node, eg_pid supervisor, eg_child_info *out, size_t room,
                                size_t *count);

/* ---- looking ------------------------------------------------------------------------- */

typedef struct eg_process {
    eg_pid pid, parent;
    char kind[32];            /* ops->name, a supervisor's label */
    char name[EG_NAME_BYTES]; /* registered; "": none            */
    char state[128];          /* ops->describe                   */
    uint32_t scheduler;
    uint32_t mailbox, mailbox_bound; /* messages */
    uint32_t links, monitors;
    uint64_t handled; /* messages so far */
    uint64_t memory_bytes;
} eg_process;

/* Waits.  EG_NOPROC. */
EG_API eg_err eg_process_info(eg_node *node, eg_pid pid, eg_process *out);

/* Up to `room` of them, from *cursor on (0 first), which is 0 again after the last.
 * Waits.  Who comes or goes meanwhile may be missed. */
EG_API eg_err eg_processes(eg_node *node, uint32_t *cursor, eg_process *out, size_t room,
                           size_t *count);

/* Log what the actor receives, sends, and how it ends. */
EG_API eg_err eg_trace(eg_node *node, eg_pid pid, bool on);

#ifdef __cplusplus
}
#endif

#endif /* ENGRAM_ACTOR_H */
