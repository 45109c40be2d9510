/* watch_filter.c -- events asked by a compiled match specification. */
#include "tables/watch_filter.h"

eg_err watch_filter_open(struct watch_filter *f, struct alloc *a, struct value spec, uint32_t arity,
                         struct err_note *note) {
    eg_err err;

    *f = (struct watch_filter){0};
    if (spec.size_bytes == 0)
        return EG_OK;
    err = predicate_open(&f->predicate, a, spec, arity, note);
    if (err == EG_OK)
        predicate_machine_init(&f->machine, a);
    return err;
}

void watch_filter_close(struct watch_filter *f) {
    if (f->predicate == NULL)
        return;
    predicate_machine_fini(&f->machine);
    predicate_close(f->predicate);
    f->predicate = NULL;
}

bool watch_filter_takes(struct watch_filter *f, const struct watch_event *e) {
    bool matched = false;

    if (f->predicate == NULL || e->kind > WATCH_EXPIRE)
        return true;
    if (value_count(e->record) != predicate_arity(f->predicate))
        return false;
    /* One too many is better than one too few: what cannot be asked passes. */
    return predicate_run(&f->machine, f->predicate, e->record, NULL, &matched) != EG_OK || matched;
}
