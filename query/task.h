/* task.h -- a request that takes longer than one turn.
 *
 *     handler --task_start--> [ step | other work | step | other work ... ] --> answer
 *
 * A scheduler is never held for longer than about a millisecond, so what may take longer
 * is cut into steps.  A worker keeps its tasks in a ring and gives one step to each in
 * turn, between its other work.  A task ends by answering, by an error, or with
 * its connection: then it is only freed.
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

struct task;

struct task_ops {
    const char *name;
    /* Work for about TASK_STEP_NS, in a reader section that ends after the call.
     * EG_AGAIN: more to do.  EG_OK: the result (one value) has been appended to `result`.
     * Else it has failed; `note` says why. */
    eg_err (*step)(struct task *t, struct buffer *result, struct err_note *note);
    void (*free)(struct task *t);
};

/* The handler's own struct has this first. */
struct task {
    const struct task_ops *ops;
    struct worker *worker;
    struct session *session;
    struct list_node in_worker, in_session;
    uint64_t ref;         /* of the session's request under way    */
    uint64_t deadline_ns; /* of the step: look at scheduler_now_ns */
    struct buffer result; /* what step() appends to, kept between steps */
};

/* Take the request over: the handler returns what this returns.  EG_AGAIN: the answer comes
 * later, and the task is freed then.  Else it was not started and has been freed.  A
 * task that is done at its first step answers at once. */
EG_MUST_USE eg_err task_start(struct task *t, const struct task_ops *ops, struct rpc_call *c);

/* One step for each; true: some have more to do.  And the end of a connection. */
EG_MUST_USE bool task_run_all(struct worker *w);
void task_end_all(struct session *s);

/* Has this step had its time?  Cheap enough to be asked for every few records. */
bool task_is_over(const struct task *t);

#endif /* QUERY_TASK_H */
