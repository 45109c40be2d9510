/* mnesia_backup.h -- a file that mnesia:backup/1 wrote, item by item.
 *
 *     | 1 2 3 4 | 99 88 77 11 | size 4 | 98 87 76 65 | [MD5 16] | term ... | size 4 | ...
 *
 * It is a log of OTP's disk_log: numbers big-endian, an MD5 (of the size alone, and not
 * looked at) from 65528 bytes on; in place of 99 88 77 11 a log that nobody closed has
 * 6 7 8 9.  The terms: {log_header, backup_log, ...}; {schema, Table, [{Option, Value}]} for each
 * table, and {schema, Table} for one that is dropped; {Table, Key, Attribute ...} for a record
 * and {Table, Key} for one that is deleted.
 *
 * A record is its attributes as MessagePack (etf.h), without the name in front.
 * Trust      None: the file may be anything.  Memory is one item's.
 */
#ifndef TOOLS_MNESIA_BACKUP_H
#define TOOLS_MNESIA_BACKUP_H

#include "tables/backup.h"
#include "tools/etf.h"

enum mnesia_kind { MNESIA_TABLE, MNESIA_RECORD, MNESIA_DELETE };

struct mnesia_item {
    enum mnesia_kind kind;
    struct value table; /* a string, as all here until the next call */
    struct value value; /* TABLE: options for create_table; RECORD: the record; DELETE: the key */
};

struct mnesia_reader;
EG_MUST_USE eg_err mnesia_reader_open(struct mnesia_reader **out, struct alloc *a,
                                      struct backup_source *s, bool characters);
void mnesia_reader_close(struct mnesia_reader *r);

/* EG_NOT_FOUND: the end.  EG_CORRUPT: damaged, or no such file; EG_BAD_RECORD: a term that has
 * no like here, and the next call goes on behind it; both with a note.  EG_MEMORY; the
 * source's errors. */
EG_MUST_USE eg_err mnesia_reader_next(struct mnesia_reader *r, struct mnesia_item *item,
                                      struct err_note *note);
uint64_t mnesia_reader_bytes(const struct mnesia_reader *r); /* behind the item */

#endif /* TOOLS_MNESIA_BACKUP_H */
