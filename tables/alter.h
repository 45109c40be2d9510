/* alter.h -- what a request to change a table's shape means.
 *
 *     ["add_attribute", name, default]       a new field at the end of every record
 *     ["drop_attribute", name]               not the key, not one that an index uses
 *     ["rename_attribute", old, new]
 *     ["change_storage", "ram" | "disc" | "disc_only"]
 *     ["transform_table", [[head, guards, body], ...], attributes or nil]
 *
 * The answer is the schema the table would have and how each record becomes one of it.
 * Renaming moves no record; nor does a change to what is so already.
 *
 * Threads    Pure.
 */
#ifndef TABLES_ALTER_H
#define TABLES_ALTER_H

#include "tables/conversion.h"
#include "tables/schema.h"

struct alter {
    struct schema *schema;        /* from the allocator, of the next version */
    struct conversion conversion; /* where records move                      */
    bool in_place;                /* none does                               */
};

/* EG_BAD_REQUEST, EG_EXISTS (an attribute of that name), EG_MEMORY; then nothing is left. */
EG_MUST_USE eg_err alter_open(struct alter *out, struct alloc *a, const struct schema *old,
                              struct value change, struct err_note *note);
void alter_close(struct alter *x); /* what has not been taken over: set to NULL what has */

#endif /* TABLES_ALTER_H */
