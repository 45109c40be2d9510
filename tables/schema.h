/* schema.h -- what a table is: its name, shape and options.
 *
 * A schema is written once, from a request or from disc, and never changed;
 * altering a table means publishing a new one.  The encoded form is the
 * MessagePack map that `create_table` takes as its options, with the name and
 * what Engram added (id, seed, version): the same bytes go to disc and, later,
 * to other nodes.
 *
 * Threads    Immutable after schema_parse(); shared freely.
 */
#ifndef TABLES_SCHEMA_H
#define TABLES_SCHEMA_H

#include "engine/buffer.h"
#include "engine/err.h"
#include "tables/index_spec.h"

enum table_type { TABLE_SET, TABLE_ORDERED_SET, TABLE_BAG };
enum table_storage { STORAGE_RAM, STORAGE_DISC, STORAGE_DISC_ONLY };
enum table_durability { DURABILITY_ASYNC, DURABILITY_SYNC };
enum table_merge {
    MERGE_LWW,
    MERGE_LWW_BY_ATTRIBUTE,
    MERGE_FIRST,
    MERGE_MAX,
    MERGE_MIN,
    MERGE_SIBLINGS,
    MERGE_COUNTER,
    MERGE_SET,
    MERGE_CALLBACK,
};

enum {
    SCHEMA_NAME_MAX = 255, /* bytes of a table's or attribute's name           */
    SCHEMA_ATTRIBUTES_MAX = 256,
    SCHEMA_INDEXES_MAX = 16,
    SCHEMA_SHARDS_MAX = 256,
    SCHEMA_SHARDS_HASHED = 16,  /* default: writers of other keys rarely meet       */
    SCHEMA_SHARDS_PLACED = 256, /* default where copies are a number: each has its own nodes */
    SCHEMA_SHARDS_ORDERED = 1,  /* default: order is then one tree's, without merge */
    SCHEMA_COPIES_ALL = 0,
};

struct schema_name {
    uint8_t size_bytes;
    char text[SCHEMA_NAME_MAX + 1]; /* terminated */
};

struct schema {
    struct schema_name name;
    struct schema_name stored_name; /* what the disc calls it: another one after a change */
    uint64_t id;                    /* random at creation; tells a table from its namesake later  */
    uint64_t seed;                  /* of key hashes                                              */
    uint64_t version;               /* grows with every change                                    */
    uint64_t layout;                /* of its records: see schema_records_id(); 0: as created     */
    enum table_type type;
    enum table_storage storage;
    enum table_durability durability;
    enum table_merge merge;
    struct value callback; /* its own, of MERGE_CALLBACK (merge_call.h); size 0: none */
    bool majority;
    bool cache;
    bool acks_one;   /* a write is answered when one copy has it, not all */
    uint32_t copies; /* SCHEMA_COPIES_ALL or a number */
    uint32_t shards;
    uint64_t ttl_ms;    /* 0: records live for ever   */
    uint64_t max_bytes; /* 0: only the node's limit   */
    uint32_t attribute_count;
    uint32_t index_count;
    struct index_spec *index[SCHEMA_INDEXES_MAX]; /* its own                 */
    struct schema_name *attributes;               /* attribute_count of them */
    struct alloc *alloc;
};

/* Can a key have several records: of its own, or siblings (merge.h)? */
static inline bool schema_keeps_siblings(const struct schema *s) {
    return s->merge == MERGE_SIBLINGS && s->type != TABLE_BAG;
}
static inline bool schema_has_many(const struct schema *s) {
    return s->type == TABLE_BAG || s->merge == MERGE_SIBLINGS;
}

/* Do versions that did not know of each other come to more than the later?  Then who wrote what
 * without the others has to be heard by who merges. */
static inline bool schema_is_merged(const struct schema *s) {
    return s->merge != MERGE_LWW && s->type != TABLE_BAG;
}

/* Read and check `options` (a MessagePack map, or an empty value for none) for a
 * table called `name`; fields that only Engram sets (id, seed, version, and
 * `table`, its name where the disc has it under another) are taken where present.  Errors:
 * EG_BAD_REQUEST with a note that names the option; EG_MEMORY.  Afterwards schema_fini() is owed
 * only on EG_OK. */
EG_MUST_USE eg_err schema_parse(struct schema *s, struct alloc *a, const char *name,
                                size_t name_bytes, struct value options, struct err_note *note);
EG_MUST_USE eg_err schema_copy(struct schema *to, const struct schema *from);
void schema_fini(struct schema *s);

/* Append the encoded form, as schema_parse() reads it back. */
EG_MUST_USE eg_err schema_encode(const struct schema *s, struct buffer *out);

/* Its options as pairs of a map whose header the caller has put: so many. */
uint32_t schema_option_count(const struct schema *s);
void schema_put_options(const struct schema *s, struct value_writer *w);

/* Seconds as users give a ttl, in milliseconds; false: not above 0, or past a century. */
EG_MUST_USE bool schema_ttl_ms(double seconds, uint64_t *ttl_ms);

/* What options contradict each other?  EG_BAD_REQUEST. */
EG_MUST_USE eg_err schema_check(const struct schema *s, struct err_note *note);

/* false: `v` names no storage type. */
EG_MUST_USE bool schema_storage(struct value v, enum table_storage *out);

/* Other attributes, an array of names; indexes are as they were.  EG_BAD_REQUEST,
 * EG_MEMORY. */
EG_MUST_USE eg_err schema_set_attributes(struct schema *s, struct value names,
                                         struct err_note *note);

/* What names this table's records where nodes tell each other of them: equal where it is the same
 * table, and its records have the same fields for the same reasons.  A node that has not
 * made a change yet, or has made one already, must not take others' records for its own. */
static inline uint64_t schema_records_id(const struct schema *s) {
    return s->id ^ s->layout;
}
/* Records are changed so: the layout that they have then. */
uint64_t schema_next_layout(const struct schema *s, struct value change);

/* Position of an attribute, or -1. */
int schema_attribute(const struct schema *s, const char *name, size_t name_bytes);

/* The index that is called so; else one whose only part is written so; else the first
 * whose leading part is.  NULL: none. */
const struct index_spec *schema_index(const struct schema *s, const char *name, size_t name_bytes);
/* The index on this whole attribute alone, or NULL. */
const struct index_spec *schema_index_at(const struct schema *s, uint32_t position);
static inline struct index_attributes schema_attributes(const struct schema *s) {
    return (struct index_attributes){s->attributes, s->attribute_count};
}

/* Add an index; copies the spec and gives it an id that no other has.  EG_EXISTS: there is
 * one of that name or of those parts.  EG_BAD_REQUEST: too many.  EG_MEMORY. */
EG_MUST_USE eg_err schema_add_index(struct schema *s, const struct index_spec *spec,
                                    struct err_note *note);
void schema_drop_index(struct schema *s, uint32_t id);

#endif /* TABLES_SCHEMA_H */
