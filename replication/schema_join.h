/* schema_join.h -- what becomes of the list of tables when an entry of another node is heard.
 *
 *     list + entry --schema_join_open()--> outcomes: this entry of mine becomes that one
 *
 * The rule.  Whatever nodes hear in whatever order, those that have heard the same have the same
 * list: joining is commutative, associative, and twice is as good as once.
 *
 *     Two entries of one id are one table: its changes are those of both.
 *     A name that was dropped stays dropped for every table that was made before that, and
 *         had it then.
 *     A table that was made when the name had been dropped takes the place of an older one.
 *     Where a name means two tables that nobody has dropped, the one that was born first (of two
 *         born at once the one of the smaller id) keeps it.  Others are called
 *         `name@node`, by the node that made them; where that name is taken too,
 *         `name@node@id`.
 *
 * Ids are hashes of what tables are, so equal creations on both sides of a cut are one table.
 *
 * Threads    Pure.
 */
#ifndef REPLICATION_SCHEMA_JOIN_H
#define REPLICATION_SCHEMA_JOIN_H

#include "replication/schema_list.h"

struct schema_outcome {
    struct schema_entry *was; /* in the list; NULL: the name, or the table, is new */
    struct schema_entry
        *now; /* in none, the joining's own; NULL: it is gone, another has its name */
};

struct schema_joined {
    struct buffer outcomes; /* struct schema_outcome; names are free when it is their turn */
};

/* Takes `theirs` over.  EG_MEMORY; EG_TOO_LARGE: too many changes. */
EG_MUST_USE eg_err schema_join_open(struct schema_joined *out, const struct schema_list *l,
                                    struct schema_entry *theirs);
struct schema_outcome *schema_joined_at(const struct schema_joined *j, uint32_t *count);
void schema_join_close(struct schema_joined *j); /* with the entries that were not taken out */

#endif /* REPLICATION_SCHEMA_JOIN_H */
