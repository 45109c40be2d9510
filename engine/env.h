/* env.h -- what a node may ask of the world besides memory and sockets.
 *
 * Time, chance, a place for log lines, and a way for a foreign thread to wait.
 * env_uv.c answers from the operating system; tests/sim answers from a seed and
 * a virtual clock.  Nothing else in engine/ reads a clock or draws a number.
 *
 * Threads    Every function from any thread.
 */
#ifndef ENGINE_ENV_H
#define ENGINE_ENV_H

#include "engine/base.h"

enum env_log_level { ENV_LOG_ERROR, ENV_LOG_WARN, ENV_LOG_INFO, ENV_LOG_DEBUG };

struct env;
struct waiter; /* one thread can sleep on it */

struct env_ops {
    uint64_t (*now_ns)(struct env *e); /* monotonic; differences only        */
    int64_t (*wall_ms)(struct env *e); /* since 1970, may jump, some ms coarse; for stamps */
    uint64_t (*random)(struct env *e); /* 64 unpredictable (or seeded) bits  */
    void (*log)(struct env *e, enum env_log_level level, const char *line);

    eg_err (*waiter_open)(struct env *e, struct waiter **out);
    void (*waiter_close)(struct env *e, struct waiter *w);
    /* Sleep until waked or `timeout_ns` is over, whichever is first; a wake that
     * came before the wait ends it at once.  May also return for no reason. */
    void (*waiter_wait)(struct env *e, struct waiter *w, uint64_t timeout_ns);
    void (*waiter_wake)(struct env *e, struct waiter *w);
};

struct env {
    const struct env_ops *ops;
};

/* The operating system, through libuv: one for the process, without state that
 * could be closed.  Log lines go to standard error. */
struct env *env_uv(void);

static inline uint64_t env_now_ns(struct env *e) {
    return e->ops->now_ns(e);
}
static inline int64_t env_wall_ms(struct env *e) {
    return e->ops->wall_ms(e);
}
static inline uint64_t env_random(struct env *e) {
    return e->ops->random(e);
}

/* One line, cut at ENV_LOG_LINE_BYTES: env_log(e, ENV_LOG_WARN, "table", "%s is full", name). */
enum { ENV_LOG_LINE_BYTES = 512 };
void env_log(struct env *e, enum env_log_level level, const char *module, const char *format, ...)
    EG_PRINTF(4, 5);

#endif /* ENGINE_ENV_H */
