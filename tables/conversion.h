/* conversion.h -- how a record of a table's old shape becomes one of its new shape.
 *
 *     old     [ key | a | b | c ]
 *               |     |   \
 *     source  [ 0     1    2    none ]        add `d`
 *               |     |    |     |
 *     new     [ key | a | b | c | default ]
 *
 * A field of the new record is one of the old record's, in the old order, or the default; or
 * the body of a match specification makes the whole record.
 *
 * Ownership  A conversion owns its default and its program.  What it makes lies in the caller's
 * room until the next one. Threads    A conversion does not change; each shard has a room of its
 * own.
 */
#ifndef TABLES_CONVERSION_H
#define TABLES_CONVERSION_H

#include "engine/buffer.h"
#include "engine/err.h"
#include "tables/predicate.h"
#include "tables/schema.h"

enum { CONVERSION_DEFAULT = -1 }; /* as a source: no field of the old record */

struct conversion {
    struct alloc *alloc;
    bool same;                             /* records stay as they are */
    uint32_t count;                        /* fields of the new record */
    int32_t source[SCHEMA_ATTRIBUTES_MAX]; /* by new position, ascending: an old one */
    struct buffer fallback;                /* the default, one value   */
    struct predicate *program;             /* NULL, or instead of all that              */
};

struct conversion_room {
    struct buffer record;
    struct predicate_machine machine;
};

void conversion_init(struct conversion *c, struct alloc *a);
void conversion_fini(struct conversion *c);

void conversion_room_init(struct conversion_room *room, struct alloc *a);
void conversion_room_fini(struct conversion_room *room);

/* The record that `old` becomes: what no clause of a program matches stays as it is.
 * EG_TOO_LARGE, EG_MEMORY; EG_BAD_REQUEST: it cannot become one, and the note says why. */
EG_MUST_USE eg_err conversion_run(const struct conversion *c, struct conversion_room *room,
                                  struct value old, struct value *fresh, struct err_note *note);

#endif /* TABLES_CONVERSION_H */
