/* schema_list.h -- the list of tables as nodes tell it each other: entries, and their one rule.
 *
 *     entry  [name, id, born, dropped, live, schema or nil, [[stamp, op, value], ...]]
 *
 * born     the stamp of its creation; the last change's stamp is the entry's.
 * dropped  when the name was last dropped before that; 0: never.  Of an entry that is not live,
 * when it was. schema   as it was created; the changes since then are behind it, in the order of
 * their stamps.
 *
 * schema_list_compare() says what a node has to do that has one entry of a name and hears of
 * another; it gives every node the same outcome, in whatever order they hear.
 *
 * Ownership  An entry owns copies of all its bytes.
 * Threads    One.  Pure.
 */
#ifndef REPLICATION_SCHEMA_LIST_H
#define REPLICATION_SCHEMA_LIST_H

#include "engine/buffer.h"
#include "engine/err.h"
#include "engine/list.h"
#include "tables/schema.h"

struct schema_change {
    uint64_t stamp;
    uint32_t op; /* enum catalog_op */
    uint32_t size_bytes;
    uint8_t *at; /* its value */
};

struct schema_entry {
    struct list_node node;
    struct alloc *alloc;
    struct schema_name name;
    uint64_t id, born, dropped;
    bool live;
    bool aside;           /* this node's own table of that name is another: not told to others */
    struct buffer schema; /* empty where it is not live */
    struct schema_change *changes;
    uint32_t change_count, change_room;
};

/* The stamp of its last change. */
uint64_t schema_entry_stamp(const struct schema_entry *e);

struct schema_list {
    struct alloc *alloc;
    struct list_node entries;
    uint64_t stamp; /* the greatest that was seen */
};

void schema_list_init(struct schema_list *l, struct alloc *a);
void schema_list_fini(struct schema_list *l);
struct schema_entry *schema_list_find(const struct schema_list *l, const char *name,
                                      size_t name_bytes);
/* A stamp greater than all before. */
uint64_t schema_list_stamp(struct schema_list *l, uint64_t wall_ms);

/* A copy that is in no list.  NULL: no memory. */
struct schema_entry *schema_entry_new(struct alloc *a, const char *name, size_t name_bytes);
void schema_entry_free(struct schema_entry *e); /* in no list any more */
/* Put it into the list in place of its namesake. */
void schema_list_put(struct schema_list *l, struct schema_entry *e);
EG_MUST_USE eg_err schema_entry_add(struct schema_entry *e, uint64_t stamp, uint32_t op,
                                    struct value value);

void schema_entry_put(const struct schema_entry *e, struct value_writer *w);
/* From outside.  EG_BAD_REQUEST, EG_MEMORY. */
EG_MUST_USE eg_err schema_entry_get(struct schema_entry **out, struct alloc *a, struct value v);

/* What to do with `mine` (NULL: no entry) on hearing of `theirs`. */
enum schema_advice {
    SCHEMA_KEEP,     /* nothing: they will learn from me          */
    SCHEMA_CATCH_UP, /* the same table: do the changes that I lack */
    SCHEMA_TAKE,     /* do as they have, from the beginning on; mine, if live, is dropped */
    SCHEMA_DROP,     /* theirs says that it was dropped after all that I know */
    SCHEMA_CLASH,    /* two tables of one name; theirs keeps it   */
};
enum schema_advice schema_list_compare(const struct schema_entry *mine,
                                       const struct schema_entry *theirs);

#endif /* REPLICATION_SCHEMA_LIST_H */
