/* csv.c -- RFC 4180, strictly: quotes stand around a whole field or not at all.
 *
 * A row is first cut into spans of the text.  Only then are doubled quotes undone,
 * for all its fields at once: the scratch is made large enough before anything
 * points into it.  No field that was not quoted holds a quote, so a quote inside a
 * span tells that it must be undone. */
#include "tools/csv.h"

#include <string.h>

static const char byte_order_mark[] = "\xef\xbb\xbf";

void csv_open(struct csv_reader *r, struct alloc *a, const char *text, size_t size_bytes) {
    *r = (struct csv_reader){.at = text, .next_line = 1};
    r->end = size_bytes > 0 ? text + size_bytes : text; /* text may be NULL */
    buffer_init(&r->scratch, a, size_bytes);
    buffer_init(&r->fields, a, CSV_FIELDS_MAX * sizeof(struct csv_field));
    if (size_bytes >= 3 && memcmp(text, byte_order_mark, 3) == 0)
        r->at += 3;
}

void csv_close(struct csv_reader *r) {
    buffer_fini(&r->fields);
    buffer_fini(&r->scratch);
}

/* Pass over the rest of a malformed row: to behind the next line end. */
static eg_err bad_row(struct csv_reader *r, const char *at) {
    const char *line_end = memchr(at, '\n', (size_t) (r->end - at));

    r->at = line_end != NULL ? line_end + 1 : r->end;
    r->next_line += line_end != NULL;
    return EG_BAD_RECORD;
}

/* The closing quote of the field that begins at `at`; NULL where there is none. */
static const char *closing_quote(struct csv_reader *r, const char *at) {
    while ((at = memchr(at, '"', (size_t) (r->end - at))) != NULL) {
        if (at + 1 == r->end || at[1] != '"')
            return at;
        at += 2;
    }
    return NULL;
}

static uint64_t count_lines(const char *at, const char *end) {
    uint64_t lines = 0;

    while ((at = memchr(at, '\n', (size_t) (end - at))) != NULL) {
        lines++;
        at++;
    }
    return lines;
}

static bool is_row_end(const struct csv_reader *r, const char *at) {
    return at == r->end || *at == '\n' || (*at == '\r' && at + 1 < r->end && at[1] == '\n');
}

/* Cut out the field that begins at *at, and move *at to what ended it. */
static eg_err cut_field(struct csv_reader *r, const char **at, struct csv_field *field,
                        struct err_note *note) {
    const char *begin = *at;
    const char *end;

    if (begin == r->end || *begin != '"') {
        for (end = begin; !is_row_end(r, end) && *end != ','; end++)
            if (*end == '"')
                return err_note(note, bad_row(r, end), "a quote inside a field without quotes");
        *at = end;
    } else {
        begin++;
        end = closing_quote(r, begin);
        if (end == NULL)
            return err_note(note, bad_row(r, begin), "a quoted field is never closed");
        r->next_line += count_lines(begin, end);
        *at = end + 1;
        if (!is_row_end(r, *at) && **at != ',')
            return err_note(note, bad_row(r, *at), "text behind the closing quote of a field");
    }
    if (end - begin > CSV_FIELD_BYTES_MAX)
        return err_note(note, bad_row(r, *at), "a field of more than %d bytes",
                        CSV_FIELD_BYTES_MAX);
    *field = (struct csv_field){begin, (uint32_t) (end - begin)};
    return EG_OK;
}

/* Undo the doubled quotes of all fields that have them. */
static eg_err undo_quotes(struct csv_reader *r, struct csv_field *fields, uint32_t count) {
    size_t quoted_bytes = 0;
    char *out;

    for (uint32_t i = 0; i < count; i++)
        if (memchr(fields[i].at, '"', fields[i].size_bytes) != NULL)
            quoted_bytes += fields[i].size_bytes;
    if (quoted_bytes == 0)
        return EG_OK;
    buffer_clear(&r->scratch);
    out = (char *) buffer_room(&r->scratch, quoted_bytes);
    if (out == NULL)
        return EG_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        const char *from = fields[i].at;
        const char *end = from + fields[i].size_bytes;
        if (memchr(from, '"', fields[i].size_bytes) == NULL)
            continue;
        fields[i].at = out;
        for (; from < end; from += *from == '"' ? 2 : 1)
            *out++ = *from;
        fields[i].size_bytes = (uint32_t) (out - fields[i].at);
    }
    return EG_OK;
}

eg_err csv_next(struct csv_reader *r, const struct csv_field **fields, uint32_t *count,
                struct err_note *note) {
    const char *at = r->at;

    if (at == r->end)
        return EG_NOT_FOUND;
    r->row++;
    r->line = r->next_line;
    buffer_clear(&r->fields);
    for (;; at++) {
        struct csv_field field;
        eg_err err = cut_field(r, &at, &field, note);
        if (err != EG_OK)
            return err;
        if (r->fields.size_bytes == CSV_FIELDS_MAX * sizeof field)
            return err_note(note, bad_row(r, at), "more than %d fields", CSV_FIELDS_MAX);
        if (!buffer_append(&r->fields, &field, sizeof field))
            return EG_MEMORY;
        if (is_row_end(r, at))
            break;
    }
    if (at < r->end) {
        at += *at == '\r' ? 2 : 1;
        r->next_line++;
    }
    r->at = at;
    struct csv_field *cut = (struct csv_field *) (void *) r->fields.at;
    *fields = cut;
    *count = (uint32_t) (r->fields.size_bytes / sizeof *cut);
    return undo_quotes(r, cut, *count);
}

/* ---- writing ------------------------------------------------------------ */

static bool needs_quotes(const char *at, size_t size_bytes) {
    for (size_t i = 0; i < size_bytes; i++)
        if (at[i] == ',' || at[i] == '"' || at[i] == '\r' || at[i] == '\n')
            return true;
    return false;
}

bool csv_put_field(struct buffer *out, const char *at, size_t size_bytes, bool first) {
    const char *end = size_bytes > 0 ? at + size_bytes : at;
    uint8_t *room = buffer_room(out, 2 * size_bytes + 3); /* all quotes, around them, a comma */
    uint8_t *begin = room;

    if (room == NULL)
        return false;
    if (!first)
        *room++ = ',';
    if (!needs_quotes(at, size_bytes)) {
        for (; at < end; at++)
            *room++ = (uint8_t) *at;
    } else {
        *room++ = '"';
        for (; at < end; at++) {
            if (*at == '"')
                *room++ = '"';
            *room++ = (uint8_t) *at;
        }
        *room++ = '"';
    }
    out->size_bytes += (size_t) (room - begin);
    return true;
}

bool csv_put_end(struct buffer *out) {
    return buffer_append(out, "\r\n", 2);
}
