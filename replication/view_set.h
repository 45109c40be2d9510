/* view_set.h -- sets of nodes, each with the start of it that is meant.
 *
 * Sorted by id, at most NODES_MAX.  On the wire a flat array [id, incarnation, id, ...].
 */
#ifndef REPLICATION_VIEW_SET_H
#define REPLICATION_VIEW_SET_H

#include "replication/view.h"

struct view_start {
    uint64_t id, incarnation;
};

struct view_set {
    uint32_t count;
    struct view_start start[NODES_MAX];
};

/* Keeps the order; one that is there already is replaced.  Asserts that there is room. */
void view_set_add(struct view_set *s, struct view_start start);
bool view_set_has(const struct view_set *s, struct view_start start);       /* this very start */
bool view_set_covers(const struct view_set *s, const struct view_set *all); /* all of these */
bool view_set_equal(const struct view_set *a, const struct view_set *b);

void view_set_put(const struct view_set *s, struct value_writer *w);
EG_MUST_USE bool view_set_get(struct view_set *out, struct value v);

/* The id of a view of these members, proposed by the first of them. */
struct view_id view_set_id(const struct view_set *s, uint64_t epoch);

#endif /* REPLICATION_VIEW_SET_H */
