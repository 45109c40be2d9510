/* schema_replay.h -- what a table is after its changes, one after the other from its creation on.
 *
 *     schema as created --change--> --change--> ... the table's schema
 *
 * A change that makes no sense where it stands (an attribute of a name that there is, an index
 * on what is gone) is void: changes that were made on both sides of a cut stand in one row
 * later, and each was made without knowledge of the others.  Every node that knows the same
 * changes comes to the same schema, and to the same layout of records.
 *
 * An attribute's origin tells where it comes from: equal in two replays where it is one attribute,
 * whatever it is called and wherever it stands.
 *
 * Threads    Pure.
 */
#ifndef REPLICATION_SCHEMA_REPLAY_H
#define REPLICATION_SCHEMA_REPLAY_H

#include "replication/schema_list.h"

struct schema_replay {
    struct alloc *alloc;
    struct schema *schema;
    uint64_t origin[SCHEMA_ATTRIBUTES_MAX];
    bool is_void[SCHEMA_CHANGES_MAX]; /* by change */
};

/* Of the entry's first `count` changes.  EG_BAD_REQUEST: it cannot have been created so; EG_MEMORY.
 */
EG_MUST_USE eg_err schema_replay_open(struct schema_replay *r, const struct schema_entry *e,
                                      uint32_t count, struct err_note *note);
void schema_replay_close(struct schema_replay *r);

/* The origin of what a change makes: the attribute that it adds (position 0), the one that a
 * transformation makes there. */
uint64_t schema_change_origin(const struct schema_change *c, uint32_t position);
/* The value of an attribute that the change adds, and its name; false: it adds none. */
bool schema_change_adds(const struct schema_change *c, struct value *name, struct value *fallback);

#endif /* REPLICATION_SCHEMA_REPLAY_H */
