/* loop_uv.h -- a thread and a libuv loop for each scheduler.
 *
 * The loop gives its scheduler turns while there is work, looks at I/O now and
 * then in between, and blocks in libuv when a turn left nothing to do.  A push
 * from another thread wakes it by an eventfd, and only when it sleeps.
 *
 * Callbacks of libuv run between turns, on the scheduler's thread, while its epoch
 * slot may be offline: they may send, post and collect input, but read no table.
 * Do that in a turn hook (scheduler_add_hook), which comes right after.
 *
 * Only *_uv.c files include this; uv.h comes with it.
 */
#ifndef ENGINE_LOOP_UV_H
#define ENGINE_LOOP_UV_H

#include "engine/runtime.h"
#include "engine/scheduler.h"

#include <uv.h>

const struct driver_ops *loop_uv_driver(void);

/* The loop of a scheduler driven by loop_uv_driver().  Any thread may ask; only
 * the scheduler's own thread (a posted function, a hook, an actor) may use it.
 *
 * Whoever opens handles on it closes them before runtime_stop() returns: what is
 * left open then is closed without its owner, and is logged as a defect. */
uv_loop_t *loop_uv_of(struct scheduler *s);

#endif /* ENGINE_LOOP_UV_H */
