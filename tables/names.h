/* names.h -- tables by name, read by everybody, changed by the catalog's actor.
 *
 * A small open-addressed table that is never changed: a new one is written and
 * published, the old one retired.  Tables come and go rarely, requests name them
 * a million times a second.
 */
#ifndef TABLES_NAMES_H
#define TABLES_NAMES_H

#include "engine/epoch.h"

struct table;

struct name_set; /* one published state */

struct names {
    struct alloc *alloc;
    struct epoch_bin *bin;
    uint64_t seed;
    _Atomic(struct name_set *) now; /* NULL: no tables */
};

static inline void names_init(struct names *n, struct alloc *a, struct epoch_bin *bin,
                              uint64_t seed) {
    *n = (struct names){.alloc = a, .bin = bin, .seed = seed};
}
void names_fini(struct names *n); /* nobody reads */

/* NULL: no such name.  In a reader section, any thread. */
struct table *names_find(const struct names *n, const char *name, size_t name_bytes);

/* EG_MEMORY: nothing changed. */
EG_MUST_USE eg_err names_add(struct names *n, struct table *t);
EG_MUST_USE eg_err names_remove(struct names *n, struct table *t);

/* Let another table have the name, or come in its place under one of its own, in two steps of which
 * the second cannot fail: room for it (NULL: refused), while no other name changes; then the
 * change, or give it back. */
struct name_set *names_reserve(struct names *n);
void names_replace(struct names *n, struct name_set *room, struct table *old, struct table *t);
void names_unreserve(struct names *n, struct name_set *room);

/* All tables, sorted by name; the array is valid in the section. */
uint32_t names_all(const struct names *n, struct table *const **tables);

#endif /* TABLES_NAMES_H */
