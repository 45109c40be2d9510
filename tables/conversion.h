/* conversion.h -- how a record of a table's old shape becomes one of its new shape.
 *
 *     old     [ key | a | b | c ]
 *               |     |   \
 *     source  [ 0     1    2    none ]        add `d`
 *               |     |    |     |
 *     new     [ key | a | b | c | default ]
 *
 * A field of the new record is one of the old record's, or a value that all get; or the body of a
 * match specification makes the whole record.  Both at once where nodes that changed a table
 * on both sides of a cut agree on one shape (tables/arrange.h): the specification makes a
 * record of the first fields, and the new one's come from that or, from CONVERSION_LATER on, from
 * the old one.
 *
 * `decided`: other nodes have made the change, so it is made here whatever the records are.  What
 * the specification makes nothing of keeps its fields, cut or filled up with nil, and what
 * would be too large is cut to its key.
 *
 * Ownership  A conversion owns its values and its program.  What it makes lies in the caller's
 * room until the next one. Threads    A conversion does not change; each shard has a room of its
 * own.
 */
#ifndef TABLES_CONVERSION_H
#define TABLES_CONVERSION_H

#include "engine/buffer.h"
#include "engine/err.h"
#include "tables/predicate.h"
#include "tables/schema.h"

enum {
    CONVERSION_DEFAULT = -1, /* as a source: no field of the old record */
    CONVERSION_LATER = 4096, /* and this and more, behind a program: one of the old record itself */
    CONVERSION_NO_VALUE = -1,
};

struct conversion_field {
    int32_t source; /* a position in the old record, or see above               */
    int32_t value;  /* where in `values`: the default; or, of a field that is there, what a field
                     * that equals the value there becomes, which stands behind that */
};

struct conversion {
    struct alloc *alloc;
    bool same;      /* records stay as they are */
    bool decided;   /* see above                */
    uint32_t count; /* fields of the new record */
    struct conversion_field field[SCHEMA_ATTRIBUTES_MAX];
    struct buffer values;
    struct predicate *program; /* NULL, or instead of all that, or before it:    */
    uint32_t early, made;      /* it takes so many fields, and makes so many; 0: all */
};

struct conversion_room {
    struct buffer record, part, made;
    struct predicate_machine machine;
};

void conversion_init(struct conversion *c, struct alloc *a);
void conversion_fini(struct conversion *c);

void conversion_room_init(struct conversion_room *room, struct alloc *a);
void conversion_room_fini(struct conversion_room *room);

/* Keep a value for fields that have none; *at is where.  EG_MEMORY. */
EG_MUST_USE eg_err conversion_value(struct conversion *c, struct value v, int32_t *at);

/* The record that `old` becomes: what no clause of a program matches stays as it is.
 * EG_TOO_LARGE, EG_MEMORY; EG_BAD_REQUEST: it cannot become one, and the note says why. */
EG_MUST_USE eg_err conversion_run(const struct conversion *c, struct conversion_room *room,
                                  struct value old, struct value *fresh, struct err_note *note);

#endif /* TABLES_CONVERSION_H */
