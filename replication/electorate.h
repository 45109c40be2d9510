/* electorate.h -- the nodes of whose copies a majority is asked for.
 *
 * Where a majority table's records should lie is computed from the members that each node knows of
 * (placement.h), and two nodes may know of others.  A majority must be one of a list that cannot
 * be two lists at once: this one.  It is the cluster's, every member keeps it, and each report for
 * a view says it; the newest that is reported holds in the view.
 *
 *     {old}  --a view that could serve by either-->  {old, new}  --it has served by both-->  {new}
 *
 * While there are two lists a majority of each is needed (Raft's joint consensus, with the views'
 * epochs for its terms).  Who comes, leaves, or is removed changes what is wanted, and so the
 * list, in a view that has majorities of both, and in no other.
 *
 * The first list is made with the first majority table, of all members; where such a table is
 * found without a list, when all members are there.
 */
#ifndef REPLICATION_ELECTORATE_H
#define REPLICATION_ELECTORATE_H

#include "replication/placement.h"
#include "tables/value.h"

enum { ELECTORATE_LISTS = 2, ELECTORATE_BYTES_MAX = 64 + 2 * NODES_MAX * 24 };

struct elector {
    uint64_t id;
    uint32_t weight;
    bool has_disc;
};

struct elector_list {
    uint32_t count;
    struct elector at[NODES_MAX]; /* by id */
};

struct electorate {
    uint64_t epoch; /* of the view that made it; 0: there is none */
    uint32_t lists; /* 1, or 2 while it changes */
    struct elector_list list[ELECTORATE_LISTS];
};

bool elector_lists_equal(const struct elector_list *a, const struct elector_list *b);
void elector_list_add(struct elector_list *l, struct elector e); /* one more, in its place */

/* [[id, weight, disc], ...] and [epoch, [list, ...]]. */
void elector_list_put(struct value_writer *w, const struct elector_list *l);
void electorate_put(struct value_writer *w, const struct electorate *e);
/* From outside, or the disc.  False: it is none. */
EG_MUST_USE bool elector_list_get(struct value v, struct elector_list *l);
EG_MUST_USE bool electorate_get(struct value v, struct electorate *e);

/* The nodes of list number `list` that vote about a partition of a table; best first. */
uint32_t electorate_of(const struct electorate *e, uint32_t list, bool on_disc, uint64_t group,
                       uint32_t partition, uint32_t copies, uint64_t out[NODES_MAX]);

/* ---- what becomes of it with a view ---------------------------------------------------- */

/* What a view can do by one list: are its majorities here, have they served by it? */
struct electorate_look {
    bool reached; /* by the present lists, and by the wanted one */
    bool served;  /* by both lists, where there are two          */
};

/* The electorate that holds in the view of this epoch.  True: it is another than `now`. */
bool electorate_next(struct electorate *out, const struct electorate *now,
                     const struct elector_list *wanted, struct electorate_look look,
                     uint64_t epoch);

#endif /* REPLICATION_ELECTORATE_H */
