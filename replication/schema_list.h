/* schema_list.h -- the list of tables as nodes tell it each other: its entries.
 *
 *     entry  [name, id, born, dropped, live, schema or nil, [[stamp, op, value], ...], asked,
 * maker]
 *
 * name     what the table is called; its entry's place in the list
 * born     the stamp of its creation; the last change's stamp is the entry's
 * dropped  when the name was last dropped before that; 0: never.  Of an entry that is not live,
 *          when it was
 * schema   as it was created; the changes since then are behind it, in their order
 * asked    what it was to be called: another name where an older table has that (schema_join.h)
 * maker    the node that made it
 *
 * A change is known by all that it is: its stamp, what it does, to what.  Changes stand in the
 * order of their stamps, and of two with one stamp what takes away comes first.
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

enum { SCHEMA_CHANGES_MAX = 4096 }; /* of one table: more than nodes make apart from each other */

struct schema_change {
    uint64_t stamp;
    uint32_t op; /* enum catalog_op */
    uint32_t size_bytes;
    uint8_t *at; /* its value */
};

struct schema_entry {
    struct list_node node;
    struct alloc *alloc;
    struct schema_name name, asked, maker;
    uint64_t id, born, dropped;
    bool live;
    struct buffer schema; /* empty where it is not live */
    struct schema_change *changes;
    uint32_t change_count, change_room;
};

/* The stamp of its last change. */
uint64_t schema_entry_stamp(const struct schema_entry *e);

bool schema_change_equal(const struct schema_change *a, const struct schema_change *b);
/* Does `a` come before `b`? */
bool schema_change_before(const struct schema_change *a, const struct schema_change *b);
/* Does it take something away or say what it means anew: may it only be made with everybody? */
bool schema_takes_away(uint32_t op, struct value value);
static inline struct value schema_change_value(const struct schema_change *c) {
    return (struct value){c->at, c->size_bytes};
}
bool schema_entry_has(const struct schema_entry *e, const struct schema_change *c);

struct schema_list {
    struct alloc *alloc;
    struct list_node entries;
    uint64_t stamp; /* the greatest that was seen */
};

void schema_list_init(struct schema_list *l, struct alloc *a);
void schema_list_fini(struct schema_list *l);
struct schema_entry *schema_list_find(const struct schema_list *l, const char *name,
                                      size_t name_bytes);
/* The live one with that id, whatever it is called. */
struct schema_entry *schema_list_find_id(const struct schema_list *l, uint64_t id);
/* A stamp greater than all before. */
uint64_t schema_list_stamp(struct schema_list *l, uint64_t wall_ms);

/* One that is in no list.  NULL: no memory. */
struct schema_entry *schema_entry_new(struct alloc *a, const char *name, size_t name_bytes);
struct schema_entry *schema_entry_copy(const struct schema_entry *e);
void schema_entry_free(struct schema_entry *e); /* in no list any more */
/* Put it into the list in place of its namesake, and of the same table under another name. */
void schema_list_put(struct schema_list *l, struct schema_entry *e);
EG_MUST_USE eg_err schema_entry_add(struct schema_entry *e, uint64_t stamp, uint32_t op,
                                    struct value value);
void schema_entry_cut(struct schema_entry *e, uint32_t count); /* to its first changes */
EG_MUST_USE eg_err schema_entry_add_all(struct schema_entry *e, const struct schema_entry *from);

void schema_entry_put(const struct schema_entry *e, struct value_writer *w);
/* Of all entries, in whatever order: lists of the same sum are the same.  EG_MEMORY. */
EG_MUST_USE eg_err schema_list_sum(const struct schema_list *l, uint64_t seed, uint64_t *sum);
/* From outside.  EG_BAD_REQUEST, EG_MEMORY. */
EG_MUST_USE eg_err schema_entry_get(struct schema_entry **out, struct alloc *a, struct value v);

#endif /* REPLICATION_SCHEMA_LIST_H */
