/* shell_print.c -- the same rows as a table, plain lines, CSV or JSON.
 *
 * JSON is the node's answer as it came.  The other three go through a grid of
 * cells: strings as they are, nil as nothing, all else as its JSON text.  Plain
 * lines separate cells by tabs and write the tabs, line ends and backslashes inside
 * them as \t, \n, \r and \\, so that a line is always a row. */
#include "tools/csv.h"
#include "tools/json.h"
#include "tools/shell.h"

#include <stdio.h>
#include <string.h>

enum {
    GRID_BYTES_MAX = 1024 << 20, /* text of one answer                        */
    COLUMNS_MAX = 1024,          /* of a table, or keys of a map               */
    WIDTH_MAX = 60,              /* padding stops here; a longer cell sticks out */
};

struct cell {
    size_t at; /* into grid.text */
    uint32_t size_bytes;
};

/* Cells in row order; the first row is the header. */
struct grid {
    struct buffer text;
    struct buffer cells; /* array of struct cell */
    uint32_t columns;
    bool failed;
};

static void grid_init(struct grid *g, struct alloc *a, uint32_t columns) {
    *g = (struct grid){.columns = columns};
    buffer_init(&g->text, a, GRID_BYTES_MAX);
    buffer_init(&g->cells, a, GRID_BYTES_MAX);
}

static void grid_fini(struct grid *g) {
    buffer_fini(&g->text);
    buffer_fini(&g->cells);
}

/* Close the cell whose text began at `start`. */
static void cell_end(struct grid *g, size_t start) {
    struct cell c = {start, (uint32_t) (g->text.size_bytes - start)};
    if (!buffer_append(&g->cells, &c, sizeof c))
        g->failed = true;
}

static void cell_text(struct grid *g, const char *text) {
    size_t start = g->text.size_bytes;
    if (!buffer_append(&g->text, text, strlen(text)))
        g->failed = true;
    cell_end(g, start);
}

static void cell_value(struct grid *g, struct value v) {
    size_t start = g->text.size_bytes;

    if (v.size_bytes > 0)
        g->failed |= json_print_cell(v, &g->text) != EG_OK;
    cell_end(g, start);
}

/* ---- rendering --------------------------------------------------------------- */

static const char *cell_at(const struct grid *g, uint32_t number, uint32_t *size_bytes) {
    const struct cell *cells = (const struct cell *) (const void *) g->cells.at;
    *size_bytes = cells[number].size_bytes;
    return (const char *) g->text.at + cells[number].at;
}

static void write_escaped(const char *at, uint32_t size_bytes) {
    for (uint32_t i = 0; i < size_bytes; i++) {
        switch (at[i]) {
        case '\t':
            fputs("\\t", stdout);
            break;
        case '\n':
            fputs("\\n", stdout);
            break;
        case '\r':
            fputs("\\r", stdout);
            break;
        case '\\':
            fputs("\\\\", stdout);
            break;
        default:
            putchar(at[i]);
        }
    }
}

/* A terminal obeys control characters; data must not command it. */
static void write_visible(const char *at, uint32_t size_bytes) {
    for (uint32_t i = 0; i < size_bytes; i++)
        putchar((unsigned char) at[i] < 0x20 || at[i] == 0x7f ? '?' : at[i]);
}

/* Columns that a UTF-8 text takes: its characters, taken as one wide each. */
static uint32_t width_of(const char *at, uint32_t size_bytes) {
    uint32_t width = 0;
    for (uint32_t i = 0; i < size_bytes; i++)
        width += (at[i] & 0xc0) != 0x80;
    return width;
}

static void render_plain(const struct grid *g, uint32_t rows) {
    uint32_t size;

    for (uint32_t i = g->columns; i < rows * g->columns; i++) {
        const char *at = cell_at(g, i, &size);
        write_escaped(at, size);
        putchar(i % g->columns + 1 == g->columns ? '\n' : '\t');
    }
}

static void render_table(const struct shell *s, const struct grid *g, uint32_t rows) {
    uint32_t widths[COLUMNS_MAX] = {0};
    uint32_t size;

    for (uint32_t i = 0; i < rows * g->columns; i++) {
        const char *at = cell_at(g, i, &size);
        uint32_t width = EG_MIN(width_of(at, size), (uint32_t) WIDTH_MAX);
        widths[i % g->columns] = EG_MAX(widths[i % g->columns], width);
    }
    for (uint32_t i = 0; i < rows * g->columns; i++) {
        const char *at = cell_at(g, i, &size);
        uint32_t column = i % g->columns, width = width_of(at, size);
        if (i == 0 && s->color)
            fputs("\033[1m", stdout);
        write_visible(at, size);
        if (i + 1 == g->columns && s->color)
            fputs("\033[0m", stdout);
        if (column + 1 == g->columns)
            putchar('\n');
        else
            printf("%*s", width < widths[column] ? (int) (widths[column] - width) + 2 : 2, "");
    }
}

static bool render_csv(const struct grid *g, uint32_t rows, struct buffer *out) {
    uint32_t size;

    for (uint32_t i = 0; i < rows * g->columns; i++) {
        const char *at = cell_at(g, i, &size);
        if (!csv_put_field(out, at, size, i % g->columns == 0) ||
            (i % g->columns + 1 == g->columns && !csv_put_end(out)))
            return false;
    }
    fwrite(out->at, 1, out->size_bytes, stdout);
    return true;
}

static int grid_render(struct shell *s, struct grid *g) {
    uint32_t rows = (uint32_t) (g->cells.size_bytes / sizeof(struct cell) / g->columns);
    struct buffer csv;

    if (g->failed)
        return shell_fail(EXIT_REFUSED, "out of memory");
    buffer_init(&csv, s->alloc, 2 * (size_t) GRID_BYTES_MAX);
    if (s->output == OUTPUT_TABLE)
        render_table(s, g, rows);
    else if (s->output == OUTPUT_PLAIN)
        render_plain(g, rows);
    else if (!render_csv(g, rows, &csv))
        g->failed = true;
    buffer_fini(&csv);
    return g->failed ? shell_fail(EXIT_REFUSED, "out of memory") : EXIT_OK;
}

static int render_json(struct shell *s, struct value v) {
    struct buffer out;
    bool ok;

    buffer_init(&out, s->alloc, GRID_BYTES_MAX);
    ok = json_print(v, &out) == EG_OK && buffer_append(&out, "\n", 1);
    if (ok)
        fwrite(out.at, 1, out.size_bytes, stdout);
    buffer_fini(&out);
    return ok ? EXIT_OK : shell_fail(EXIT_REFUSED, "out of memory");
}

/* ---- shapes ------------------------------------------------------------------ */

/* The answer in s->last lives until the next call, and a header needs one. */
static int keep(struct shell *s, struct pack *copy, struct value *v) {
    pack_init(copy, s->alloc);
    pack_raw(copy, *v);
    if (copy->failed)
        return shell_fail(EXIT_REFUSED, "out of memory");
    *v = pack_value(copy);
    return EXIT_OK;
}

static int grid_of_records(struct shell *s, struct value names, struct value records) {
    struct value_iter rows = value_iter_of(records), columns = value_iter_of(names);
    struct value row, cell;
    struct grid g;
    int code;

    grid_init(&g, s->alloc, value_count(names));
    while (value_iter_next(&columns, &cell))
        cell_value(&g, cell);
    while (value_iter_next(&rows, &row)) {
        struct value_iter cells = value_iter_of(row);
        for (uint32_t i = 0; i < g.columns; i++)
            cell_value(&g, value_iter_next(&cells, &cell) ? cell : (struct value){NULL, 0});
    }
    code = grid_render(s, &g);
    grid_fini(&g);
    return code;
}

int print_records(struct shell *s, const char *table, struct value records) {
    struct pack copy;
    struct value names;
    int code;

    if (s->output == OUTPUT_JSON)
        return render_json(s, records);
    if (value_count(records) == 0 && s->output == OUTPUT_PLAIN)
        return EXIT_OK;
    code = keep(s, &copy, &records);
    if (code == EXIT_OK) {
        pack_text(shell_params(s, 1), table);
        code = shell_ask(s, "table_info");
    }
    if (code == EXIT_OK) {
        names = shell_get(s->last.result, "attributes");
        if (names.size_bytes == 0 || value_count(names) == 0 || value_count(names) > COLUMNS_MAX)
            code = shell_fail(EXIT_REFUSED, "the node does not say which attributes %s has", table);
        else
            code = grid_of_records(s, names, records);
    }
    pack_fini(&copy);
    return code;
}

int print_rows(struct shell *s, struct value answer) {
    struct value names = shell_get(answer, "columns"), rows = shell_get(answer, "rows");

    if (s->output == OUTPUT_JSON)
        return render_json(s, answer);
    if (names.size_bytes == 0 || rows.size_bytes == 0 || value_count(names) == 0 ||
        value_count(names) > COLUMNS_MAX)
        return shell_fail(EXIT_REFUSED, "the node's answer is no columns and rows");
    return grid_of_records(s, names, rows);
}

/* Rows "prefix.name value" of a map, maps inside it flattened. */
static void flatten(struct grid *g, const char *prefix, struct value map) {
    struct value_iter it = value_iter_of(map);
    struct value key, value;
    const uint8_t *at;
    uint32_t size_bytes;
    char name[256];

    while (value_iter_next(&it, &key) && value_iter_next(&it, &value)) {
        if (!value_get_bytes(key, &at, &size_bytes))
            continue; /* names of settings and counters are strings */
        snprintf(name, sizeof name, "%s%s%.*s", prefix, prefix[0] != '\0' ? "." : "",
                 (int) size_bytes, (const char *) at);
        if (value_kind_of(value) == VALUE_MAP) {
            flatten(g, name, value);
        } else {
            cell_text(g, name);
            cell_value(g, value);
        }
    }
}

int print_map(struct shell *s, struct value map) {
    struct grid g;
    int code;

    if (s->output == OUTPUT_JSON || value_kind_of(map) != VALUE_MAP)
        return render_json(s, map);
    grid_init(&g, s->alloc, 2);
    cell_text(&g, "name");
    cell_text(&g, "value");
    flatten(&g, "", map);
    code = grid_render(s, &g);
    grid_fini(&g);
    return code;
}

int print_list(struct shell *s, struct value list) {
    return print_values(s, "name", list);
}

int print_values(struct shell *s, const char *header, struct value list) {
    struct value_iter it;
    struct value v;
    struct grid g;
    int code;

    if (s->output == OUTPUT_JSON || value_kind_of(list) != VALUE_ARRAY)
        return render_json(s, list);
    grid_init(&g, s->alloc, 1);
    cell_text(&g, header);
    it = value_iter_of(list);
    while (value_iter_next(&it, &v))
        cell_value(&g, v);
    code = grid_render(s, &g);
    grid_fini(&g);
    return code;
}

static struct value map_find(struct value map, struct value name) {
    struct value key, value;

    if (value_kind_of(map) == VALUE_MAP) {
        struct value_iter it = value_iter_of(map);
        while (value_iter_next(&it, &key) && value_iter_next(&it, &value))
            if (value_equal(key, name))
                return value;
    }
    return (struct value){NULL, 0};
}

int print_maps(struct shell *s, struct value maps) {
    struct value_iter it, header;
    struct value first, row, name, value;
    struct grid g;
    int code;

    if (s->output == OUTPUT_JSON || value_kind_of(maps) != VALUE_ARRAY)
        return render_json(s, maps);
    it = value_iter_of(maps);
    if (!value_iter_next(&it, &first) || value_kind_of(first) != VALUE_MAP ||
        value_count(first) == 0 || value_count(first) > COLUMNS_MAX)
        return print_list(s, maps);
    grid_init(&g, s->alloc, value_count(first));
    header = value_iter_of(first);
    while (value_iter_next(&header, &name) && value_iter_next(&header, &value))
        cell_value(&g, name);
    it = value_iter_of(maps);
    while (value_iter_next(&it, &row)) {
        header = value_iter_of(first);
        while (value_iter_next(&header, &name) && value_iter_next(&header, &value))
            cell_value(&g, map_find(row, name));
    }
    code = grid_render(s, &g);
    grid_fini(&g);
    return code;
}

int print_done(struct shell *s, struct value result) {
    if (s->output == OUTPUT_JSON)
        return render_json(s, result);
    if (s->output == OUTPUT_TABLE)
        puts("ok");
    return EXIT_OK;
}
