/* index_spec.h -- what an index is ordered by: attributes, and places inside them.
 *
 *     "age"                                          an attribute
 *     "address.city"                                 a map's key, or an array's element ("tags.0")
 *     {on: ["last", "first"], name: "by_name"}       several, the first most significant
 *     {on: "mail", unique: true}                     no two records with one value
 *
 * A path steps into the attribute: a name is a map's key, a number an array's element
 * from 0 (or a map's key).  A path that leads nowhere, because a map lacks the key, an
 * array is too short or a value is neither, yields nil: the record stands in the
 * index under nil, as one whose attribute is nil does.  An array is one value, not many.
 *
 * A spec names attributes by position, so it is not touched when one is renamed; what it is
 * called (index_spec_title) follows from the attributes' names of the moment unless it
 * has a name of its own.
 *
 * Ownership  Flat: copied by assignment.
 * Threads    Pure data, pure functions.
 */
#ifndef TABLES_INDEX_SPEC_H
#define TABLES_INDEX_SPEC_H

#include "engine/err.h"
#include "tables/range.h"

struct schema_name;

enum {
    INDEX_PARTS_MAX = 8,
    INDEX_STEPS_MAX = 24,         /* of all paths of one index             */
    INDEX_TEXT_BYTES_MAX = 512,   /* of their names                        */
    INDEX_NAME_BYTES_MAX = 255,   /* of a name of its own                  */
    INDEX_TITLE_BYTES_MAX = 3072, /* of the longest title that can be      */
    INDEX_ID_PATHS = 256,         /* ids of indexes on more than an attribute begin here */
};

/* One step into a value. */
struct index_step {
    uint16_t text_at; /* its name, in the spec's text                   */
    uint16_t text_bytes;
    int32_t element; /* the same as a number; -1: it is none           */
};

struct index_part {
    uint16_t position; /* of the attribute        */
    uint8_t step_at;   /* the first of its steps  */
    uint8_t step_count;
};

struct index_spec {
    uint16_t id; /* of its rows on disc, and in requests to shards: the attribute's
                    position, or INDEX_ID_PATHS and up; unique in its table         */
    uint8_t part_count;
    uint8_t step_count;
    bool unique;
    uint16_t text_bytes;
    uint8_t name_bytes; /* 0: no name of its own */
    struct index_part part[INDEX_PARTS_MAX];
    struct index_step step[INDEX_STEPS_MAX];
    char text[INDEX_TEXT_BYTES_MAX];
    char name[INDEX_NAME_BYTES_MAX + 1];
};

/* The attributes of the table that the index is of. */
struct index_attributes {
    const struct schema_name *name;
    uint32_t count;
};

/* An index on one whole attribute. */
struct index_spec index_spec_of(uint16_t position);

/* Read a spec as it stands in `index` or `add_index`; its id is the attribute's position or
 * INDEX_ID_PATHS.  EG_BAD_REQUEST with a note that says what is wrong. */
EG_MUST_USE eg_err index_spec_parse(struct index_spec *x, struct index_attributes of,
                                    struct value v, struct err_note *note);

/* As index_spec_parse() reads it: a string where one says it all, else a map. */
void index_spec_put(const struct index_spec *x, struct index_attributes of, struct value_writer *w);

/* What people call it: its name, else its parts, "last,first".  Terminated; returns its bytes. */
size_t index_spec_title(const struct index_spec *x, struct index_attributes of,
                        char title[INDEX_TITLE_BYTES_MAX]);

/* Is it called so? */
bool index_spec_called(const struct index_spec *x, struct index_attributes of, const char *name,
                       size_t name_bytes);
/* Is its first part written so ("address.city")? */
bool index_spec_begins(const struct index_spec *x, struct index_attributes of, const char *path,
                       size_t path_bytes);
/* Is part `i` the attribute at `position`, then `path` (strings and numbers) into it?  A string
 * is no step that is a number: it would not lead into arrays. */
bool index_spec_part_is(const struct index_spec *x, uint32_t i, uint32_t position,
                        const struct value *path, uint32_t path_count);

/* Are both ordered by the same? */
bool index_spec_same(const struct index_spec *a, const struct index_spec *b);
/* Whole attributes only? */
static inline bool index_spec_plain(const struct index_spec *x) {
    return x->step_count == 0;
}

/* What lies where part `i` leads inside the attribute's value. */
struct value index_spec_follow(const struct index_spec *x, uint32_t i, struct value attribute);

/* Part `i` of a record's array. */
struct value index_spec_field(const struct index_spec *x, uint32_t i, struct value array);

/* A stretch of an index: the leading parts equal these, the next lies in a range. */
struct index_bounds {
    const struct value *equal; /* borrowed, like the range */
    uint32_t equal_count;
    const struct range *range; /* of part [equal_count]; NULL: anywhere */
    bool reverse;
};
/* Do these parts lie there? */
bool index_bounds_hold(const struct index_bounds *b, const struct value *parts);

#endif /* TABLES_INDEX_SPEC_H */
