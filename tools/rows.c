/* rows.c -- files into records: CSV cells by column, JSON by name. */
#include "tools/rows.h"

#include "tools/json.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    NUMBER_BYTES_MAX = 64,     /* longest text that can be a number   */
    PIPE_BYTES_MAX = 1 << 30,  /* of what cannot be mapped            */
    PIPE_STEP_BYTES = 1 << 16, /* read at once                        */
    SHOWN_BYTES_MAX = 40,      /* of a bad cell, in the error's text  */
};

static const char *const type_names[] = {"string", "int", "float", "number", "bool", "json"};

/* ---- the file ---------------------------------------------------------------- */

static eg_err read_pipe(struct rows *r, int fd, const char *path, struct err_note *note) {
    for (;;) {
        uint8_t *room = buffer_room(&r->piped, PIPE_STEP_BYTES);
        ssize_t got;

        if (room == NULL)
            return err_note(note, EG_TOO_LARGE, "%s: too large for what is no file", path);
        got = read(fd, room, PIPE_STEP_BYTES);
        if (got < 0)
            return err_note(note, EG_DISC, "cannot read %s: %s", path, strerror(errno));
        if (got == 0)
            break;
        r->piped.size_bytes += (size_t) got;
    }
    r->text = (const char *) r->piped.at;
    r->size_bytes = r->piped.size_bytes;
    return EG_OK;
}

static eg_err map_file(struct rows *r, int fd, size_t size_bytes, const char *path,
                       struct err_note *note) {
    void *at = mmap(NULL, size_bytes, PROT_READ, MAP_PRIVATE, fd, 0);

    if (at == MAP_FAILED)
        return err_note(note, EG_DISC, "cannot read %s: %s", path, strerror(errno));
    r->text = at;
    r->size_bytes = size_bytes;
    r->mapped = true;
    return EG_OK;
}

static eg_err file_open(struct rows *r, const char *path, struct err_note *note) {
    bool standard = strcmp(path, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    struct stat about;
    eg_err err;

    if (fd < 0 || fstat(fd, &about) != 0)
        err = err_note(note, EG_DISC, "cannot read %s: %s", path, strerror(errno));
    else if (S_ISREG(about.st_mode) && about.st_size > 0)
        err = map_file(r, fd, (size_t) about.st_size, path, note);
    else
        err = read_pipe(r, fd, path, note);
    if (fd >= 0 && !standard)
        close(fd);
    return err;
}

/* ---- columns ----------------------------------------------------------------- */

int32_t rows_column(const struct rows *r, const char *name, size_t size_bytes) {
    struct value_iter it = value_iter_of(pack_value(&r->names));
    struct value column;
    const uint8_t *at;
    uint32_t length;

    for (int32_t i = 0; value_iter_next(&it, &column); i++)
        if (value_get_bytes(column, &at, &length) && length == size_bytes &&
            memcmp(at, name, length) == 0)
            return i;
    return -1;
}

static eg_err header_read(struct rows *r, struct err_note *note) {
    const struct csv_field *cells;
    uint32_t count;
    eg_err err;

    csv_open(&r->csv, r->alloc, r->text, r->size_bytes);
    err = csv_next(&r->csv, &cells, &count, note);
    if (err == EG_NOT_FOUND)
        return err_note(note, EG_BAD_RECORD, "the file is empty: it has no header");
    if (err != EG_OK)
        return err;
    if (count > ROWS_COLUMNS_MAX)
        return err_note(note, EG_TOO_LARGE, "more than %d columns", ROWS_COLUMNS_MAX);
    pack_array(&r->names, count);
    for (uint32_t i = 0; i < count; i++) {
        if (cells[i].size_bytes == 0)
            return err_note(note, EG_BAD_RECORD, "column %u has no name", i + 1);
        pack_string(&r->names, cells[i].at, cells[i].size_bytes);
    }
    if (r->names.failed)
        return EG_MEMORY;
    for (uint32_t i = 0; i < count; i++)
        if (rows_column(r, cells[i].at, cells[i].size_bytes) != (int32_t) i)
            return err_note(note, EG_BAD_RECORD, "two columns are called \"%.*s\"",
                            (int) cells[i].size_bytes, cells[i].at);
    return EG_OK;
}

/* The next line that is not empty.  EG_NOT_FOUND: there is none. */
static eg_err line_next(struct rows *r, const char **at, size_t *size_bytes) {
    while (r->line_at < r->size_bytes) {
        const char *start = r->text + r->line_at;
        const char *end = memchr(start, '\n', r->size_bytes - r->line_at);

        *at = start;
        *size_bytes = end != NULL ? (size_t) (end - start) : r->size_bytes - r->line_at;
        r->line_at += *size_bytes + 1;
        r->line++;
        while (*size_bytes > 0 && strchr(" \t\r", start[*size_bytes - 1]) != NULL)
            --*size_bytes;
        if (*size_bytes > 0) {
            r->row++;
            return EG_OK;
        }
    }
    return EG_NOT_FOUND;
}

/* The next line as a value in `row`. */
static eg_err line_parse(struct rows *r, struct pack *row, struct err_note *note) {
    const char *at;
    size_t size_bytes, used;
    eg_err err = line_next(r, &at, &size_bytes);

    if (err != EG_OK)
        return err;
    err = json_parse(at, size_bytes, &row->bytes, &used, note);
    if (err == EG_OK && used != size_bytes)
        return err_note(note, EG_BAD_RECORD, "text behind the JSON value");
    return err == EG_OK || err == EG_MEMORY ? err : EG_BAD_RECORD;
}

/* The keys of the first line's object; none where it is no object. */
static eg_err keys_read(struct rows *r, struct err_note *note) {
    struct pack row;
    struct value first, key, value;
    eg_err err;

    pack_init(&row, r->alloc);
    err = line_parse(r, &row, note);
    if (err == EG_OK && value_kind_of(pack_value(&row)) == VALUE_MAP) {
        first = pack_value(&row);
        struct value_iter it = value_iter_of(first);
        pack_array(&r->names, value_count(first));
        while (value_iter_next(&it, &key) && value_iter_next(&it, &value))
            pack_raw(&r->names, key);
    } else {
        pack_array(&r->names, 0); /* a bad first row is rows_next()'s to say */
    }
    pack_fini(&row);
    return r->names.failed ? EG_MEMORY : rows_rewind(r, note);
}

eg_err rows_open(struct rows *r, struct alloc *a, const char *path, bool json_lines,
                 struct err_note *note) {
    eg_err err;

    memset(r, 0, sizeof *r);
    r->alloc = a;
    r->json_lines = json_lines;
    buffer_init(&r->piped, a, PIPE_BYTES_MAX);
    csv_open(&r->csv, a, NULL, 0);
    pack_init(&r->names, a);
    pack_init(&r->attributes, a);
    err = file_open(r, path, note);
    if (err == EG_OK)
        err = json_lines ? keys_read(r, note) : header_read(r, note);
    if (err != EG_OK)
        rows_close(r);
    return err;
}

void rows_close(struct rows *r) {
    csv_close(&r->csv);
    pack_fini(&r->names);
    pack_fini(&r->attributes);
    buffer_fini(&r->piped);
    if (r->mapped)
        (void) munmap((void *) (uintptr_t) r->text, r->size_bytes); /* read only: nothing is lost */
}

eg_err rows_rewind(struct rows *r, struct err_note *note) {
    const struct csv_field *cells;
    uint32_t count;

    r->line_at = 0;
    r->row = r->line = 0;
    if (r->json_lines)
        return EG_OK;
    csv_close(&r->csv);
    csv_open(&r->csv, r->alloc, r->text, r->size_bytes);
    return csv_next(&r->csv, &cells, &count, note);
}

/* ---- the plan ---------------------------------------------------------------- */

static bool type_find(const char *name, size_t length, enum cell_type *out) {
    for (size_t i = 0; i < EG_COUNTOF(type_names); i++) {
        if (strlen(type_names[i]) == length && memcmp(type_names[i], name, length) == 0) {
            *out = (enum cell_type) i;
            return true;
        }
    }
    return false;
}

eg_err rows_types(struct rows *r, const char *types, struct err_note *note) {
    int32_t count = (int32_t) value_count(pack_value(&r->names));

    for (int32_t next = 0; types != NULL && *types != '\0'; next++) {
        size_t length = strcspn(types, ","), name = 0;
        int32_t column = next;

        for (size_t i = 0; i < length; i++)
            if (types[i] == '=' || types[i] == ':')
                name = i + 1;
        if (name > 0)
            column = rows_column(r, types, name - 1);
        if (column < 0 || column >= count)
            return err_note(note, EG_BAD_REQUEST, "--types: no column for \"%.*s\"", (int) length,
                            types);
        if (!type_find(types + name, length - name, &r->type[column]))
            return err_note(note, EG_BAD_REQUEST,
                            "--types: \"%.*s\" is not string, int, float, number, bool or json",
                            (int) (length - name), types + name);
        types += length + (types[length] == ',');
    }
    return EG_OK;
}

eg_err rows_plan(struct rows *r, struct value attributes, struct err_note *note) {
    struct value_iter it = value_iter_of(attributes);
    struct value name;
    const uint8_t *at;
    uint32_t size_bytes, found = 0;

    pack_clear(&r->attributes);
    pack_raw(&r->attributes, attributes);
    r->width = value_count(attributes);
    if (r->attributes.failed)
        return EG_MEMORY;
    if (r->width == 0 || r->width > ROWS_COLUMNS_MAX)
        return err_note(note, EG_BAD_REQUEST, "a table with %u attributes", r->width);
    for (uint32_t i = 0; value_iter_next(&it, &name); i++) {
        bool text = value_get_bytes(name, &at, &size_bytes);
        r->column[i] = text ? rows_column(r, (const char *) at, size_bytes) : -1;
        found += r->column[i] >= 0;
        if (i == 0 && r->column[0] < 0 && !r->json_lines)
            return err_note(note, EG_BAD_RECORD, "no column is called \"%.*s\", which is the key",
                            text ? (int) size_bytes : 0, text ? (const char *) at : "");
    }
    if (!r->json_lines && found != value_count(pack_value(&r->names)))
        return err_note(note, EG_BAD_RECORD, "a column of the file is no attribute of the table");
    return EG_OK;
}

/* ---- cells ------------------------------------------------------------------- */

static eg_err pack_int(struct pack *out, const char *text) {
    char *end;
    long long n;

    errno = 0;
    n = strtoll(text, &end, 10);
    if (*end != '\0' || end == text)
        return EG_BAD_RECORD;
    if (errno == 0) {
        pack_i64(out, n);
        return EG_OK;
    }
    errno = 0; /* past int64_t, perhaps not past uint64_t */
    pack_u64(out, strtoull(text, &end, 10));
    return errno == 0 && text[0] != '-' ? EG_OK : EG_BAD_RECORD;
}

static eg_err pack_float(struct pack *out, const char *text) {
    char *end;
    double d = strtod(text, &end);

    if (*end != '\0' || end == text || isnan(d))
        return EG_BAD_RECORD;
    pack_double(out, d);
    return EG_OK;
}

static eg_err pack_number(struct pack *out, const char *text) {
    size_t before = out->bytes.size_bytes;

    if (pack_int(out, text) == EG_OK)
        return EG_OK;
    out->bytes.size_bytes = before;
    return pack_float(out, text);
}

/* A cell that is not empty, as a type that is no string. */
static eg_err pack_typed(struct pack *out, const struct csv_field *cell, enum cell_type type,
                         struct err_note *note) {
    char text[NUMBER_BYTES_MAX];
    size_t used;

    if (type == TYPE_JSON) {
        eg_err err = json_parse(cell->at, cell->size_bytes, &out->bytes, &used, note);
        return err == EG_OK && used != cell->size_bytes ? EG_BAD_RECORD : err;
    }
    if (cell->size_bytes >= sizeof text)
        return EG_BAD_RECORD;
    memcpy(text, cell->at, cell->size_bytes);
    text[cell->size_bytes] = '\0';
    if (type == TYPE_INT)
        return pack_int(out, text);
    if (type == TYPE_FLOAT)
        return pack_float(out, text);
    if (type == TYPE_NUMBER)
        return pack_number(out, text);
    EG_ASSERT(type == TYPE_BOOL);
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return EG_BAD_RECORD;
    pack_bool(out, text[0] == 't');
    return EG_OK;
}

static eg_err pack_cell(struct pack *out, const struct csv_field *cell, enum cell_type type,
                        bool key, struct err_note *note) {
    eg_err err;

    if (type == TYPE_STRING) {
        pack_string(out, cell->at, cell->size_bytes);
        return EG_OK;
    }
    if (cell->size_bytes == 0) {
        pack_nil(out);
        return key ? err_note(note, EG_BAD_RECORD, "the key is empty") : EG_OK;
    }
    err = pack_typed(out, cell, type, note);
    if (err == EG_OK || err == EG_MEMORY)
        return err;
    return err_note(note, EG_BAD_RECORD, "\"%.*s\" is not %s",
                    (int) EG_MIN(cell->size_bytes, (uint32_t) SHOWN_BYTES_MAX), cell->at,
                    type_names[type]);
}

/* ---- rows -------------------------------------------------------------------- */

static eg_err csv_row(struct rows *r, struct pack *out, struct err_note *note) {
    uint32_t columns = value_count(pack_value(&r->names)), count;
    const struct csv_field *cells;
    eg_err err;

    do /* a blank line is no row */
        err = csv_next(&r->csv, &cells, &count, note);
    while (err == EG_OK && count == 1 && columns > 1 && cells[0].size_bytes == 0);
    r->row = r->csv.row - 1;
    r->line = r->csv.line;
    if (err != EG_OK)
        return err;
    if (count != columns)
        return err_note(note, EG_BAD_RECORD, "%u fields where the header has %u", count, columns);
    pack_array(out, r->width);
    for (uint32_t i = 0; i < r->width && err == EG_OK; i++) {
        int32_t column = r->column[i];
        if (column < 0)
            pack_nil(out);
        else
            err = pack_cell(out, &cells[column], r->type[column], i == 0, note);
    }
    return err;
}

/* {"attribute": value} in the table's order; nil where the object lacks one. */
static eg_err object_row(struct rows *r, struct value object, struct pack *out,
                         struct err_note *note) {
    struct value_iter names = value_iter_of(pack_value(&r->attributes));
    struct value name, key, value;
    uint32_t found = 0;

    pack_array(out, r->width);
    for (uint32_t i = 0; value_iter_next(&names, &name); i++) {
        struct value_iter pairs = value_iter_of(object);
        struct value hit = {NULL, 0};

        while (value_iter_next(&pairs, &key) && value_iter_next(&pairs, &value))
            if (value_equal(key, name))
                hit = value;
        if (i == 0 && hit.size_bytes == 0)
            return err_note(note, EG_BAD_RECORD, "the key is missing");
        found += hit.size_bytes > 0;
        if (hit.size_bytes > 0)
            pack_raw(out, hit);
        else
            pack_nil(out);
    }
    if (found != value_count(object))
        return err_note(note, EG_BAD_RECORD, "it names what is no attribute, or one twice");
    return EG_OK;
}

static eg_err json_row(struct rows *r, struct pack *out, struct err_note *note) {
    struct pack row;
    struct value v;
    eg_err err;

    pack_init(&row, r->alloc);
    err = line_parse(r, &row, note);
    if (err == EG_OK) {
        v = pack_value(&row);
        if (value_kind_of(v) == VALUE_MAP)
            err = object_row(r, v, out, note);
        else if (value_kind_of(v) != VALUE_ARRAY)
            err = err_note(note, EG_BAD_RECORD, "neither an object nor an array");
        else if (value_count(v) != r->width)
            err = err_note(note, EG_BAD_RECORD, "%u elements where the table has %u attributes",
                           value_count(v), r->width);
        else
            pack_raw(out, v);
    }
    pack_fini(&row);
    return err;
}

eg_err rows_next(struct rows *r, struct pack *out, struct err_note *note) {
    size_t before = out->bytes.size_bytes;
    eg_err err = r->json_lines ? json_row(r, out, note) : csv_row(r, out, note);

    if (out->failed)
        err = EG_MEMORY;
    if (err != EG_OK)
        out->bytes.size_bytes = before;
    return err;
}
