/* csv.h -- rows of RFC 4180 text, read and written.
 *
 * The reader goes over bytes in memory (a mapped file).  Rows end with LF or
 * CRLF, the last one also with the end of the text; a quoted field may hold
 * commas, quotes (doubled) and line ends.  A byte order mark is passed over.
 *
 * Ownership  A row's fields point into the text or, where quotes had to be undone,
 *            into the reader's scratch; they live until the next row.
 * Errors     A malformed row is EG_BAD_RECORD with a note, and the reader goes on
 *            with the next line, so that a caller may skip it.
 * Bounds     CSV_FIELDS_MAX fields a row, CSV_FIELD_BYTES_MAX a field. */
#ifndef TOOLS_CSV_H
#define TOOLS_CSV_H

#include "engine/buffer.h"
#include "engine/err.h"

enum {
    CSV_FIELDS_MAX = 4096,
    CSV_FIELD_BYTES_MAX = 16 << 20, /* a field is never more than a frame */
};

struct csv_field {
    const char *at;
    uint32_t size_bytes;
};

struct csv_reader {
    const char *at, *end;
    uint64_t row;          /* number of the row last read, from 1   */
    uint64_t line;         /* the line of the text it began on      */
    uint64_t next_line;    /* the line that `at` stands on          */
    struct buffer scratch; /* fields of this row without quotes     */
    struct buffer fields;  /* array of struct csv_field             */
};

void csv_open(struct csv_reader *r, struct alloc *a, const char *text, size_t size_bytes);
void csv_close(struct csv_reader *r);

/* Read the next row; *fields has *count of them.  EG_NOT_FOUND: the text is at its
 * end.  EG_BAD_RECORD: the row is malformed and passed over.  EG_MEMORY. */
EG_MUST_USE eg_err csv_next(struct csv_reader *r, const struct csv_field **fields, uint32_t *count,
                            struct err_note *note);

/* Append one field, quoted where it must be, after a comma unless `first`. */
EG_MUST_USE bool csv_put_field(struct buffer *out, const char *at, size_t size_bytes, bool first);
EG_MUST_USE bool csv_put_end(struct buffer *out); /* CRLF */

#endif /* TOOLS_CSV_H */
