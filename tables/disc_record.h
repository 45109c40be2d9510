/* disc_record.h -- what a shard's rows look like on disc.
 *
 *     row key   | shard 2 | kind 1 | ... |       big-endian, so shards lie together
 *       clock     kind 1                         the shard's clock, opaque bytes
 *       record    kind 2, sortable(key)          in a bag also sortable(the other fields)
 *       index     kind 3, its id 2, sortable(part) ..., record's own row key after kind
 *       grave     kind 4, as the record's that it stands for (shard_copy.h)
 *       part      kind 5, id 16                  of a transaction, prepared (shard_tx.h)
 *
 *     record    | format 1 | hlc 8 | dot 8 | [expiry 8] | MessagePack array | [state] |
 *     index     the value is empty
 *     grave     | format 1 | hlc 8 | dot 8 | key, of a bag the record |
 *     part      | head | part |                    transact.h
 *
 * The shard stands first because whole shards are what is read back (in parallel),
 * cleared (one range), and later moved between nodes; the number of shards of a
 * table is fixed at its creation.  Keys are sortable forms (key.h), so that a walk
 * is in key order and equal keys, however encoded, are one row.
 *
 * The tail of a bag's row key is cut at DISC_TAIL_BYTES and ends in a 128-bit
 * hash of all of it, so that large records do not make large keys.
 *
 * `format` is DISC_RECORD_FORMAT in the low six bits, DISC_RECORD_EXPIRES and DISC_RECORD_STATE.
 * Everything read back is checked: format, one whole well-formed array, arity; that a state is one
 * of the table's policy is for who knows the table.
 */
#ifndef TABLES_DISC_RECORD_H
#define TABLES_DISC_RECORD_H

#include "tables/disc.h"
#include "tables/index_spec.h"
#include "tables/record.h"

enum disc_row_kind {
    DISC_ROW_CLOCK = 1,
    DISC_ROW_RECORD,
    DISC_ROW_INDEX,
    DISC_ROW_GRAVE,
    DISC_ROW_END, /* of what a clear removes */
    DISC_ROW_PART = DISC_ROW_END,
    DISC_ROW_LAST
};

enum {
    DISC_RECORD_FORMAT = 1,
    DISC_RECORD_EXPIRES = 0x80,
    DISC_RECORD_STATE = 0x40,
    DISC_PREFIX_BYTES = 3, /* shard and kind */
    DISC_TAIL_BYTES = 512, /* of a bag's row key, after the key */
};

/* ---- writing: what a shard appends to its batch ------------------------- */

/* Each: EG_MEMORY, and the batch is as it was. */
EG_MUST_USE eg_err disc_record_put(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                                   const struct record *rec, bool bag);
EG_MUST_USE eg_err disc_record_del(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                                   const struct record *rec, bool bag);
EG_MUST_USE eg_err disc_record_put_clock(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                                         struct disc_bytes clock);
/* All records, index rows and graves of the shard; the clock stays. */
EG_MUST_USE eg_err disc_record_clear(struct disc_batch *b, struct disc_table *t, uint32_t shard);

/* Index rows, which only disc_only tables have on disc: RAM indexes are rebuilt. */
EG_MUST_USE eg_err disc_record_put_index(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                                         const struct index_spec *x, const struct record *rec,
                                         bool bag);
EG_MUST_USE eg_err disc_record_del_index(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                                         const struct index_spec *x, const struct record *rec,
                                         bool bag);
/* All rows of one index of the shard. */
EG_MUST_USE eg_err disc_record_drop_index(struct disc_batch *b, struct disc_table *t,
                                          uint32_t shard, uint32_t id);

/* The grave of a key, of a bag's record. */
EG_MUST_USE eg_err disc_record_put_grave(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                                         struct value v, bool bag, struct record_version version);
EG_MUST_USE eg_err disc_record_del_grave(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                                         struct value v, bool bag);

/* A prepared part of the transaction with this id, 16 bytes. */
EG_MUST_USE eg_err disc_record_put_part(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                                        const uint64_t id[2], struct disc_bytes head_and_part);
EG_MUST_USE eg_err disc_record_del_part(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                                        const uint64_t id[2]);
/* In its place: it was committed here. */
EG_MUST_USE eg_err disc_record_put_done(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                                        const uint64_t id[2]);
/* How many of that part's changes are made: the row behind its own. */
EG_MUST_USE eg_err disc_record_put_made(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                                        const uint64_t id[2], uint32_t count);
EG_MUST_USE eg_err disc_record_del_made(struct disc_batch *b, struct disc_table *t, uint32_t shard,
                                        const uint64_t id[2]);
/* 0: there is no such row. */
EG_MUST_USE eg_err disc_record_get_made(struct disc *d, struct disc_table *t, uint32_t shard,
                                        const uint64_t id[2], uint32_t *count);
/* Is this such a row?  Then of whom, and how many. */
EG_MUST_USE bool disc_record_is_done(struct disc_bytes key, struct disc_bytes value,
                                     uint64_t id[2]);
EG_MUST_USE bool disc_record_is_made(struct disc_bytes key, struct disc_bytes value, uint64_t id[2],
                                     uint32_t *count);

/* ---- row keys, for look-ups --------------------------------------------- */

/* Write the row key's beginning and a value's sortable form; returns its size as
 * key_sortable() does (larger than size_bytes: it did not fit). */
size_t disc_row_key(uint8_t *buffer, size_t size_bytes, uint32_t shard, struct value key);
/* What the index rows of these leading parts begin with; sizes as above. */
size_t disc_row_index(uint8_t *buffer, size_t size_bytes, uint32_t shard, uint32_t id,
                      const struct value *parts, uint32_t count);
/* The row of a record; `parts` are followed by its key, in a bag by the whole record. */
size_t disc_row_index_of(uint8_t *buffer, size_t size_bytes, uint32_t shard,
                         const struct index_spec *x, const struct value *parts, bool bag);
/* What of an index row is before the record's own row key; 0: it is no such row. */
size_t disc_row_index_parts(struct disc_bytes row, uint32_t count);
/* The whole row key of a record. */
size_t disc_row_key_of(uint8_t *buffer, size_t size_bytes, uint32_t shard, const struct record *rec,
                       bool bag);
/* Shard and kind: where a kind's rows begin, and where those of the kind before end. */
size_t disc_row_prefix(uint8_t *buffer, uint32_t shard, enum disc_row_kind kind);

/* ---- reading back ------------------------------------------------------- */

/* A record's value as it lies on disc, checked; spans point into it. */
struct disc_record {
    struct record_version version;
    uint64_t expiry_ms; /* 0: never */
    struct value array;
    struct value state; /* size 0: none */
};

/* EG_CORRUPT: not a record of a table with `arity` attributes (0: any). */
EG_MUST_USE eg_err disc_record_read(struct disc_record *out, struct disc_bytes value,
                                    uint32_t arity);

/* EG_CORRUPT: no grave. */
EG_MUST_USE eg_err disc_record_read_grave(struct disc_bytes row, struct record_version *version,
                                          struct value *v);

#endif /* TABLES_DISC_RECORD_H */
