/* task.h -- a request that takes longer than one turn.
 *
 *     handler --task_start--> [ step | other work | step | other work ... ] --> answer
 *                                 |                     ^
 *                                 '--task_ask--> shard --'
 *
 * A scheduler is never held for longer than about a millisecond, so what may take longer
 * is cut into steps.  A worker keeps its tasks in a ring and gives one step to each in
 * turn, between its other work; all steps of one turn together take about TASK_STEP_NS.
 * A task ends by answering, by an error, or with its connection: then it is only freed.
 *
 * What results in the making take, and what is kept to make them, is bounded for all clients
 * together, and by the node's memory limit where that is less (server_opts.answers_max_bytes):
 * one alone that takes more fails with EG_TOO_LARGE, one too many with EG_BUSY.
 *
 * A step that needs the owner of a busy shard, or the disc, asks by message and returns; the
 * task stays out of the ring until all it asked for has been answered.
 *
 * Threads    Its worker's scheduler.
 */
#ifndef QUERY_TASK_H
#define QUERY_TASK_H

#include "engine/list.h"
#include "query/rpc_method.h"

enum {
    TASK_STEP_NS = 500 * 1000, /* what a step may take                       */
    TASKS_SESSION_MAX = 64,    /* of one connection; then EG_BUSY            */
};

struct message;
struct task;

struct task_ops {
    const char *name;
    /* Work until task_is_over(), in a reader section that ends after the call.
     * EG_AGAIN: more to do.  EG_OK: the result is one value in `result`, which was empty at
     * the first step and is the task's alone.  Else it has failed; `note` says why. */
    eg_err (*step)(struct task *t, struct buffer *result, struct err_note *note);
    /* Never within a step, and with nothing of the session to be touched any more. */
    void (*free)(struct task *t);
    /* What a shard answered to task_ask(): EG_OK with the result, else an error (EG_NOPROC:
     * its actor was replaced, nothing was done).  NULL: it never asks. */
    void (*answered)(struct task *t, eg_err err, struct value result);
    /* What it keeps in memory besides the result.  NULL: next to nothing. */
    size_t (*kept_bytes)(const struct task *t);
    /* Until when, of env_now_ns(), it waits for what it has asked: then EG_TIMEOUT is what was
     * answered.  NULL: for as long as it takes. */
    uint64_t (*waits_until_ns)(const struct task *t);
};

/* The handler's own struct has this first. */
struct task {
    const struct task_ops *ops;
    struct worker *worker;
    struct session *session; /* NULL: of none */
    struct list_node in_worker, in_session;
    uint64_t ref;         /* of the session's request under way                */
    uint64_t deadline_ns; /* of the step: see task_is_over()                   */
    struct buffer result; /* what step() appends to, kept between steps        */
    size_t booked_bytes;  /* in the server's sum                               */
    uint32_t number;      /* in its session, told by the answers it asked for  */
    uint32_t asked;       /* not answered yet                                  */
};

/* Take the request over: the handler returns what this returns.  EG_AGAIN: the answer comes
 * later, and the task is freed then.  Else it was not started and has been freed.  A
 * task that is done at its first step answers at once. */
EG_MUST_USE eg_err task_start(struct task *t, const struct task_ops *ops, struct rpc_call *c);

/* A task of no connection, part of another one's work: nothing is answered when it ends.  On the
 * worker's scheduler, outside any step; the first one comes in its ring. */
void task_start_alone(struct task *t, const struct task_ops *ops, struct worker *w);

/* Has this step had its time?  Some 20 ns: to be asked for every few records. */
bool task_is_over(const struct task *t);

/* Within a step that then returns EG_AGAIN: send a CALL (table_message()) to its shard; the
 * answer comes to answered().  May be called several times in one step.  Errors as
 * table_send()'s: not sent, and the message is gone either way.  `table` may be NULL: then
 * EG_NOPROC is told as it is. */
EG_MUST_USE eg_err task_ask(struct task *t, struct table *table, eg_pid to, struct message *m);

/* ---- for worker and session --------------------------------------------------- */

/* Steps for those in the ring, until their time of this turn is over.  True: some have
 * more to do. */
EG_MUST_USE bool task_run_all(struct worker *w);
/* The reply to task_ask() of the session's task with this number. */
void task_reply(struct session *s, uint32_t number, const struct message *m);
/* Who has waited too long for an answer hears that there is none.  True: some wait. */
bool task_expire(struct session *s, uint64_t now_ns);
/* The end of a connection. */
void task_end_all(struct session *s);
/* The end of a worker that has none left: what stands alone in its ring. */
void task_end_alone(struct worker *w);

#endif /* QUERY_TASK_H */
