/* cursor.h -- the rest of an answer, to be asked for later.
 *
 *     select {limit} --> page, id --select_next(id)--> page, id ... --> last page, nil
 *
 * A cursor is a compiled question and the place that its scan has reached.  It pins neither
 * memory nor an epoch and sees what is there when its next page is asked for.  Every page
 * has an id of its own, so that asking twice for one page is an error and not a gap.
 *
 * Bounds     A connection has at most CURSORS_SESSION_MAX, the oldest goes first; one that
 *            nobody asked for in CURSOR_IDLE_MS is gone.  They end with their connection,
 *            and are nothing to any other.
 * Threads    Its session's scheduler.
 */
#ifndef QUERY_CURSOR_H
#define QUERY_CURSOR_H

#include "engine/list.h"
#include "query/task.h"

enum {
    CURSORS_SESSION_MAX = 64,
    CURSOR_IDLE_MS = 5 * 60 * 1000,
    CURSOR_BYTES_MAX = 16 << 20, /* of one connection's cursors together */
};

struct cursor;

struct cursor_ops {
    /* A task that makes the next page; the cursor is its own from here on, and it gives it
     * back by cursor_keep() where there is more.  NULL: no memory. */
    struct task *(*page)(struct cursor *c, const struct task_ops **ops);
    void (*free)(struct cursor *c);
};

/* The language's own struct has this first. */
struct cursor {
    const struct cursor_ops *ops;
    struct list_node node; /* of the session, oldest first */
    uint64_t id;           /* random; of the page to come  */
    uint64_t used_ns;
    size_t size_bytes; /* what it takes of CURSOR_BYTES_MAX */
};

/* Keep it for the next page; c->id is new.  The oldest others may have to go. */
void cursor_keep(struct session *s, struct cursor *c);
/* It is not there any more: freed. */
void cursor_drop(struct session *s, struct cursor *c);
/* The method select_next: find, take out and go on.  EG_NOT_FOUND. */
EG_MUST_USE eg_err cursor_next(struct rpc_call *c);
/* Those that nobody asked for; all of an ending connection. */
void cursor_expire(struct session *s, uint64_t now_ns);
void cursor_end_all(struct session *s);

#endif /* QUERY_CURSOR_H */
