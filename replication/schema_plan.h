/* schema_plan.h -- what the catalog must do so that a table becomes what has been agreed on.
 *
 *     was: nothing     now: a table     ADOPT, all of it
 *     was: a table     now: nothing     DROP
 *     was: a table     now: it, with changes that it lacks at the end      those changes
 *                      now: it, with changes before some of its own        ARRANGE: see below
 *                      now: it, under another name                         ARRANGE
 *
 * After a cut both sides may have changed one table.  The changes of both are put into one row, and
 * what the table would be had they been made so from the beginning is what it becomes.  Each
 * side's records go there from where they are: a field that both shapes have is kept, whatever
 * place it has; what only the others have added gets their default.  Where both have
 * added an attribute of one name, it is the earlier one: values of the later are kept, but where
 * they are its default, they become that of the earlier.
 *
 * What takes something away is made with all members, so of such changes one side lacks at most the
 * last, and has only added since: a transformation runs on what the record was without
 * that.
 *
 * Threads    Pure.
 */
#ifndef REPLICATION_SCHEMA_PLAN_H
#define REPLICATION_SCHEMA_PLAN_H

#include "replication/schema_join.h"
#include "tables/catalog.h"

struct schema_plan_step {
    enum catalog_op op;
    struct schema_name name;
    struct buffer value;
    uint32_t upto; /* so many of the changes are made with it; 0: it is one of several for all */
};

struct schema_plan {
    struct alloc *alloc;
    struct buffer steps; /* struct schema_plan_step, in their order                        */
    bool lost; /* an attribute of one name was added on both sides: one's default is lost */
};

/* EG_MEMORY, EG_TOO_LARGE; EG_BAD_REQUEST: the entry is of no table that could be.  The plan is to
 * be closed whatever the outcome. */
EG_MUST_USE eg_err schema_plan_open(struct schema_plan *p, const struct schema_outcome *o,
                                    struct err_note *note);
struct schema_plan_step *schema_plan_at(const struct schema_plan *p, uint32_t *count);
void schema_plan_close(struct schema_plan *p);

#endif /* REPLICATION_SCHEMA_PLAN_H */
