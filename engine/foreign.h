/* foreign.h -- a thread of the embedding program among the actors.
 *
 * A foreign has a pid and a mailbox but no scheduler: its thread sends, calls
 * and blocks for answers.  It may be sent to, and may watch actors.
 *
 * Ownership  One foreign a thread at a time.
 * Threads    The owner's; messages to its pid from any.
 */
#ifndef ENGINE_FOREIGN_H
#define ENGINE_FOREIGN_H

#include "engine/runtime.h"

struct foreign;

/* EG_MEMORY; EG_BUSY: the pid table is full. */
EG_MUST_USE eg_err foreign_open(struct foreign **out, struct runtime *rt);
void foreign_close(struct foreign *f); /* unread messages are dropped */

eg_pid foreign_pid(const struct foreign *f);
struct runtime *foreign_runtime(const struct foreign *f);

/* As actor_send. */
eg_err foreign_send(struct foreign *f, eg_pid to, struct message *m);

/* Send `m` as a CALL and block until its REPLY, or `timeout_ms` is over.
 *
 * EG_OK       *reply is the answer, yours to free; its tag is the server's outcome.
 * EG_NOPROC, EG_BUSY  it was not handled.
 * EG_TIMEOUT  it may be handled still; a late answer is dropped.
 * Other messages that come meanwhile wait for foreign_receive(). */
EG_MUST_USE eg_err foreign_call(struct foreign *f, eg_pid to, struct message *m,
                                uint64_t timeout_ms, struct message **reply);

/* The next message that is no late answer, or NULL after `timeout_ms` (0: do not
 * wait).  Yours to free. */
struct message *foreign_receive(struct foreign *f, uint64_t timeout_ms);

/* As actor_monitor: a DOWN comes to foreign_receive().  Close does not end it. */
EG_MUST_USE eg_err foreign_monitor(struct foreign *f, eg_pid other, eg_ref *out);
void foreign_demonitor(struct foreign *f, eg_pid other, eg_ref monitor);

#endif /* ENGINE_FOREIGN_H */
