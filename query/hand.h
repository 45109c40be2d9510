/* hand.h -- other workers' part of an aggregate (text_crew.h).
 *
 *     task --hands_call--> a post to each worker --> a task of its own there, step by step
 *       its own shards ...                              shards, until there are no more
 *       |                                               |
 *     hands_await <-------------- REPLY ----------------' only where it is waited for
 *
 * A hand has no connection and answers nobody.  It stands in its worker's ring like any other task,
 * so that who is served there waits no longer than for those.
 */
#ifndef QUERY_HAND_H
#define QUERY_HAND_H

#include "query/task.h"

struct text_run;

/* In the task's first step: ask others for help where it is worth it.  What cannot be asked is no
 * error: there is less help. */
void hands_call(struct task *t, struct text_run *r);
/* In a step that then returns EG_AGAIN: the task waits for hands that still count.  Each is one
 * answer to it. */
void hands_await(struct task *t, struct text_run *r);

#endif /* QUERY_HAND_H */
