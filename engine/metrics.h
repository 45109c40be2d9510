/* metrics.h -- counters and gauges by name, for `stats` and /metrics.
 *
 * A module asks once for its metric and keeps the pointer; changing it is one
 * relaxed atomic.  What is counted on every operation of a scheduler is counted
 * in its owner's own struct and published here now and then: an atomic shared
 * by all cores costs more than the work it counts.
 *
 * Names      As Prometheus has them: letters, digits and '_'; counters end in
 *            "_total", units come last ("engram_wal_bytes").
 * Threads    Everything from any thread; nothing takes a lock.
 * Memory     Metrics live until metrics_close(); at most METRICS_MAX of them.
 */
#ifndef ENGINE_METRICS_H
#define ENGINE_METRICS_H

#include "engine/alloc.h"

#include <stdatomic.h>

enum { METRICS_MAX = 4096, METRIC_NAME_BYTES = 64 };

enum metric_kind {
    METRIC_COUNTER, /* only grows */
    METRIC_GAUGE,   /* goes up and down */
};

struct metrics;

struct metric {
    _Atomic int64_t value;
    enum metric_kind kind;
    struct metric *next; /* the next older one */
    char name[METRIC_NAME_BYTES];
    const char *help; /* one sentence for an operator; static */
};

EG_MUST_USE eg_err metrics_open(struct metrics **out, struct alloc *a);
void metrics_close(struct metrics *ms);

/* The metric of that name, created at 0 where there is none.
 * NULL: no memory, METRICS_MAX reached, name too long or of the other kind. */
struct metric *metrics_get(struct metrics *ms, enum metric_kind kind, const char *name,
                           const char *help);

/* Call `each` for every metric, newest first. */
void metrics_each(struct metrics *ms, void (*each)(void *arg, const struct metric *m), void *arg);

static inline void metric_add(struct metric *m, int64_t delta) {
    atomic_fetch_add_explicit(&m->value, delta, memory_order_relaxed);
}
static inline void metric_set(struct metric *m, int64_t value) {
    atomic_store_explicit(&m->value, value, memory_order_relaxed);
}
static inline int64_t metric_read(const struct metric *m) {
    return atomic_load_explicit(&m->value, memory_order_relaxed);
}

#endif /* ENGINE_METRICS_H */
