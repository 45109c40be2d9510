/* metrics.c -- a list that only grows, pushed by compare-and-swap.
 *
 * A list, because metrics are looked up once, when a module opens.  Two threads
 * that create one name at the same moment agree: who loses the swap looks again
 * at what was pushed in between.
 */
#include "engine/metrics.h"

#include <string.h>

struct metrics {
    struct alloc *alloc;
    _Atomic(struct metric *) newest;
    _Atomic uint32_t count;
};

eg_err metrics_open(struct metrics **out, struct alloc *a) {
    struct metrics *ms = alloc_zero(a, sizeof *ms);
    if (ms == NULL)
        return EG_MEMORY;
    ms->alloc = a;
    *out = ms;
    return EG_OK;
}

void metrics_close(struct metrics *ms) {
    struct metric *m = atomic_load_explicit(&ms->newest, memory_order_acquire);
    while (m != NULL) {
        struct metric *older = m->next;
        alloc_put(ms->alloc, m, sizeof *m);
        m = older;
    }
    alloc_put(ms->alloc, ms, sizeof *ms);
}

static struct metric *find(struct metric *from, const struct metric *until, const char *name) {
    while (from != until && strcmp(from->name, name) != 0)
        from = from->next;
    return from == until ? NULL : from;
}

static struct metric *create(struct metrics *ms, enum metric_kind kind, const char *name,
                             const char *help) {
    struct metric *m;

    if (strlen(name) >= METRIC_NAME_BYTES)
        return NULL;
    if (atomic_fetch_add(&ms->count, 1) >= METRICS_MAX)
        goto uncount;
    m = alloc_zero(ms->alloc, sizeof *m);
    if (m == NULL)
        goto uncount;
    m->kind = kind;
    m->help = help;
    memcpy(m->name, name, strlen(name));
    return m;

uncount:
    atomic_fetch_sub(&ms->count, 1);
    return NULL;
}

struct metric *metrics_get(struct metrics *ms, enum metric_kind kind, const char *name,
                           const char *help) {
    struct metric *seen = atomic_load_explicit(&ms->newest, memory_order_acquire);
    struct metric *m = find(seen, NULL, name), *fresh;

    if (m != NULL)
        return m->kind == kind ? m : NULL;
    fresh = create(ms, kind, name, help);
    if (fresh == NULL)
        return NULL;
    fresh->next = seen;
    while (!atomic_compare_exchange_weak_explicit(&ms->newest, &seen, fresh, memory_order_acq_rel,
                                                  memory_order_acquire)) {
        m = find(seen, fresh->next, name);
        if (m != NULL) {
            alloc_put(ms->alloc, fresh, sizeof *fresh);
            atomic_fetch_sub(&ms->count, 1);
            return m->kind == kind ? m : NULL;
        }
        fresh->next = seen;
    }
    return fresh;
}

void metrics_each(struct metrics *ms, void (*each)(void *arg, const struct metric *m), void *arg) {
    const struct metric *m = atomic_load_explicit(&ms->newest, memory_order_acquire);
    for (; m != NULL; m = m->next)
        each(arg, m);
}
