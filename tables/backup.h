/* backup.h -- tables in one file: written from a moment, read back with suspicion.
 *
 *     | magic 8 | block | block | ... | block |
 *     block:  | body size 4 | kind 1 | 0 0 0 | body ... | checksum 8 |
 *
 *     BEGIN    {format: 1, created: ms, node: name, tables: n}
 *     TABLE    [name, options]             n of them, ascending by the names' bytes
 *     RECORDS  | table 4 | count 4 | record | record | ...
 *     EXPIRING | table 4 | count 4 | expiry 8, record | expiry 8, record | ...
 *     END      {records: n, blocks: n}     and nothing behind it
 *
 * Numbers in blocks are little-endian, all else is MessagePack: options as create_table
 * takes them, a record as the array that was written.  Tables are numbered from 0 in the order of
 * their blocks; expiry is in milliseconds since 1970.
 *
 * Checksum   XXH3 (64 bits) of the block before it, seeded with the checksum of the block before
 *            that (the first with 0): so a block that is missing, doubled, or of another file is
 *            found, not only a changed one.
 * Memory     One block.  A block has about BACKUP_BLOCK_BYTES, more only for one large record.
 * Trust      A reader checks everything: sums, sizes, order, that options make a table, that
 *            records are arrays of as many elements.  What passes may still be a lie, but
 *            none that harms.
 */
#ifndef TABLES_BACKUP_H
#define TABLES_BACKUP_H

#include "engine/err.h"
#include "tables/moment.h"

enum {
    BACKUP_VERSION = 1,
    BACKUP_MAGIC_BYTES = 8,
    BACKUP_BLOCK_BYTES = 256 * 1024,
    BACKUP_BLOCK_BYTES_MAX = RECORD_SIZE_MAX + BACKUP_BLOCK_BYTES,
    BACKUP_RECORDS_MAX = 64 * 1024, /* of one block */
};

enum backup_kind {
    BACKUP_BEGIN = 1,
    BACKUP_TABLE,
    BACKUP_RECORDS,
    BACKUP_EXPIRING,
    BACKUP_END,
};

/* ---- writing ---------------------------------------------------------------- */

struct backup_writer;

/* Of a moment that has been taken, and whose reference becomes the writer's.  `node` is told in
 * the file.  EG_MEMORY: the moment is still the caller's. */
EG_MUST_USE eg_err backup_writer_open(struct backup_writer **out, struct alloc *a, struct moment *m,
                                      const char *node);
void backup_writer_close(struct backup_writer *w);

/* Append the next part of the file, some blocks: about BACKUP_BLOCK_BYTES, or fewer where `over`
 * says that time is over.  Nothing appended: that was all.  In a reader section.  An error: the
 * file cannot be finished (EG_MEMORY, EG_CORRUPT, EG_DISC, EG_TOO_LARGE). */
EG_MUST_USE eg_err backup_writer_next(struct backup_writer *w, struct reader *r, struct buffer *out,
                                      bool (*over)(void *context), void *context);
uint64_t backup_writer_records(const struct backup_writer *w); /* so far */

/* ---- reading ---------------------------------------------------------------- */

/* Where the bytes come from: fill up to `size_bytes`; *got 0 at the end. */
struct backup_source {
    eg_err (*read)(struct backup_source *s, void *at, size_t size_bytes, size_t *got,
                   struct err_note *note);
};

/* What has been read of a source, from taken_bytes on not yet made use of. */
struct backup_input {
    struct backup_source *source;
    struct buffer in;
    size_t taken_bytes;
};
/* Make `wanted` bytes stand at in.at + taken_bytes; *there says how many do: fewer at the end.
 * What stood before them goes.  EG_MEMORY; the source's errors. */
EG_MUST_USE eg_err backup_input_fill(struct backup_input *b, size_t wanted, size_t *there,
                                     struct err_note *note);

/* What stands next in a file; spans live until the next call. */
struct backup_item {
    enum backup_kind kind;
    uint32_t table;      /* TABLE, RECORDS, EXPIRING: its number               */
    struct value name;   /* TABLE: a string                                    */
    struct value schema; /* TABLE: its options                                 */
    uint32_t count;      /* RECORDS, EXPIRING                                  */
    struct value bytes;  /* RECORDS: the records one behind the other; EXPIRING: with expiry */
    uint32_t tables;     /* BEGIN                                              */
    uint64_t created_ms; /* BEGIN                                              */
    struct value node;   /* BEGIN: a string                                    */
    uint64_t records;    /* END                                                */
};

struct backup_reader;
EG_MUST_USE eg_err backup_reader_open(struct backup_reader **out, struct alloc *a,
                                      struct backup_source *s);
void backup_reader_close(struct backup_reader *r);

/* The next item.  EG_NOT_FOUND: the END was the last call's.  EG_CORRUPT with a note that says
 * what and where: the file is damaged, or none of ours.  EG_MEMORY; the source's errors. */
EG_MUST_USE eg_err backup_reader_next(struct backup_reader *r, struct backup_item *item,
                                      struct err_note *note);
uint64_t backup_reader_bytes(const struct backup_reader *r); /* read so far */

/* Walk EXPIRING: *at begins at item->bytes.at. */
struct value backup_expiring(const uint8_t **at, uint64_t *expiry_ms);

/* ---- shared ------------------------------------------------------------------ */

extern const uint8_t backup_magic[BACKUP_MAGIC_BYTES];
uint64_t backup_checksum(const uint8_t *block, size_t size_bytes, uint64_t before);

#endif /* TABLES_BACKUP_H */
