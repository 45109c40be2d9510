/* watch_filter.h -- which events of a table its watcher wants: those whose record a match
 * specification matches.
 *
 * A write is asked by its new record, what is gone by itself; what is no single record's
 * (clear, schema, gap) always passes.  A body decides nothing.  When the table's
 * attributes change in number, records no longer fit the specification and none passes;
 * the schema event that says so does.
 *
 * Threads    One at a time: it has its own machine.
 */
#ifndef TABLES_WATCH_FILTER_H
#define TABLES_WATCH_FILTER_H

#include "engine/err.h"
#include "tables/predicate.h"
#include "tables/watch.h"

struct watch_filter {
    struct predicate *predicate; /* NULL: all pass */
    struct predicate_machine machine;
};

/* `spec` of size 0: all.  Errors as predicate_open()'s. */
EG_MUST_USE eg_err watch_filter_open(struct watch_filter *f, struct alloc *a, struct value spec,
                                     uint32_t arity, struct err_note *note);
void watch_filter_close(struct watch_filter *f);

bool watch_filter_takes(struct watch_filter *f, const struct watch_event *e);

#endif /* TABLES_WATCH_FILTER_H */
