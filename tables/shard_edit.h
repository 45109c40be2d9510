/* shard_edit.h -- new records made from old ones: update, counters, write_many.
 *
 * What is built here lies in the reader's scratch memory and is copied into a
 * record by shard_store().
 */
#ifndef TABLES_SHARD_EDIT_H
#define TABLES_SHARD_EDIT_H

#include "tables/shard.h"

/* The changes of an `update` by position: fills change[position] for each pair of
 * the map; others are left with size 0.  EG_BAD_REQUEST with a note: no map, an
 * unknown attribute, the key. */
EG_MUST_USE eg_err shard_edit_changes(const struct schema *s, struct value map,
                                      struct value change[SCHEMA_ATTRIBUTES_MAX],
                                      struct err_note *note);

/* The record `old` with the request's changes. */
EG_MUST_USE eg_err shard_edit_update(struct shard_turn *t, const struct record *old,
                                     struct value *array);

/* The record `old` (NULL: a new one, nil elsewhere) with the request's delta added to
 * its attribute; *number is the new value, as it stands in the record.
 * EG_BAD_REQUEST: the field is no number, or the sum leaves 64 bits. */
EG_MUST_USE eg_err shard_edit_counter(struct shard_turn *t, const struct record *old,
                                      struct value *array, struct value *number);

/* What was changed, newest last, so that it can be taken back. */
struct shard_change {
    struct shard *shard;
    struct value array;       /* as it was given; size 0: `old` was removed */
    const struct record *old; /* what it replaced, or NULL                  */
    size_t noted_from;        /* what its watchers would be told: shard_watch_mark() */
    size_t noted_to;          /* before and after                                    */
};

/* Take back `count` changes, newest first.  The caller owns their shards and is in
 * the section in which they were made. */
void shard_edit_undo(struct reader *r, const struct shard_change *change, size_t count,
                     uint64_t now_ms);

/* The changes of a turn, noted as they are made. */
enum { SHARD_UNDO_FEW = 6 };
struct shard_undo {
    struct reader *reader; /* more than a few lie in its scratch */
    struct shard_change *change;
    uint32_t count, room;
    struct shard_change few[SHARD_UNDO_FEW];
};

static inline void shard_undo_init(struct shard_undo *u, struct reader *r) {
    u->reader = r;
    u->change = u->few;
    u->count = 0;
    u->room = SHARD_UNDO_FEW;
}
/* Before a change, room for it: EG_MEMORY.  After it. */
EG_MUST_USE eg_err shard_undo_room(struct shard_undo *u);
void shard_undo_note(struct shard_turn *t, struct value array, const struct record *old);

/* Add the gates of a record that comes, and of what it replaces (shard_unique.h).  The caller
 * owns the shard. */
EG_MUST_USE eg_err shard_edit_gates(struct shard *s, struct reader *r, struct value array,
                                    struct unique_set *set);

/* SHARD_WRITE_MANY: all records of the request's array, or none. */
EG_MUST_USE eg_err shard_edit_write_many(struct shard_turn *t);

#endif /* TABLES_SHARD_EDIT_H */
