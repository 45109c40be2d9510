/* rows.h -- the rows of a file of CSV or JSON lines, as records of a table.
 *
 *     rows_open()      the file is there, its columns have names
 *     rows_plan()      which column feeds which attribute, and as what type
 *     rows_next() ...  one record after the other
 *     rows_rewind()    and all of them again
 *
 * Columns go by name.  A CSV cell is a string unless the plan says otherwise; an
 * empty cell of another type is nil.  A JSON line is an object by attribute, or an
 * array that is the record.
 *
 * Errors     EG_BAD_RECORD is about one row; rows_next() then goes on behind it. */
#ifndef TOOLS_ROWS_H
#define TOOLS_ROWS_H

#include "tools/csv.h"
#include "tools/pack.h"

enum { ROWS_COLUMNS_MAX = 1024 };

enum cell_type { TYPE_STRING, TYPE_INT, TYPE_FLOAT, TYPE_NUMBER, TYPE_BOOL, TYPE_JSON };

struct rows {
    struct alloc *alloc;
    bool json_lines;
    const char *text; /* the whole file */
    size_t size_bytes;
    bool mapped; /* else it stands in `piped` */
    struct buffer piped;

    struct csv_reader csv;
    size_t line_at; /* JSON lines: where the next one begins      */
    uint64_t row;   /* number of the row read last, header not counted */
    uint64_t line;  /* the line it began on                       */

    struct pack names;                     /* the file's columns: an array of strings */
    struct pack attributes;                /* the table's                             */
    uint32_t width;                        /* how many attributes                     */
    int32_t column[ROWS_COLUMNS_MAX];      /* of each attribute; -1: none */
    enum cell_type type[ROWS_COLUMNS_MAX]; /* of each column              */
};

/* Open `path` ("-": standard input) and read the names of its columns: of a CSV
 * file its header, of JSON lines the keys of a first object, else none. */
EG_MUST_USE eg_err rows_open(struct rows *r, struct alloc *a, const char *path, bool json_lines,
                             struct err_note *note);
void rows_close(struct rows *r);

/* Number of the column `name`, or -1. */
int32_t rows_column(const struct rows *r, const char *name, size_t size_bytes);

/* `types` says what columns are: "int,string,..." in their order, or
 * "age=int,born=float" by name; NULL: all strings. */
EG_MUST_USE eg_err rows_types(struct rows *r, const char *types, struct err_note *note);

/* Feed these attributes (an array of strings, copied).  A column that is none of
 * them is an error, and so is a key without a column; another attribute is nil. */
EG_MUST_USE eg_err rows_plan(struct rows *r, struct value attributes, struct err_note *note);

/* Append the next row as a record.  EG_NOT_FOUND: the file is at its end. */
EG_MUST_USE eg_err rows_next(struct rows *r, struct pack *out, struct err_note *note);
EG_MUST_USE eg_err rows_rewind(struct rows *r, struct err_note *note);

#endif /* TOOLS_ROWS_H */
