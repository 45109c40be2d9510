/* shell_export.c -- the records of a table into a file.
 *
 * CSV with a header (RFC 4180), or JSON lines, one object a record, where the name
 * ends in .jsonl.  The file appears under its name only when it is whole.
 *
 * A table that fits one answer comes as one `match`; a larger one is walked by key,
 * which sees every record that is there from beginning to end. */
#include "tools/csv.h"
#include "tools/json.h"
#include "tools/shell.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    AT_ONCE_RECORDS = 20000,    /* more are walked                              */
    WALK_KEYS = 256,            /* read with one read_many                      */
    FLUSH_BYTES = 256 * 1024,   /* written to the file at once                  */
    OUT_BYTES_MAX = 1024 << 20, /* of one record's text, with what is unwritten */
};

struct export {
    struct shell *shell;
    const char *table;
    bool json_lines;
    FILE *file;
    struct pack attributes;
    struct buffer out;
    uint64_t rows, all;
    uint64_t start_ms;
};

/* ---- records to text ----------------------------------------------------------- */

static bool put_csv_cell(struct export *x, struct value v, bool first) {
    struct buffer text;
    bool ok;

    buffer_init(&text, x->shell->alloc, OUT_BYTES_MAX);
    ok = json_print_cell(v, &text) == EG_OK &&
         csv_put_field(&x->out, text.size_bytes > 0 ? (const char *) text.at : "", text.size_bytes,
                       first);
    buffer_fini(&text);
    return ok;
}

static bool put_csv_row(struct export *x, struct value cells) {
    struct value_iter it = value_iter_of(cells);
    struct value cell;
    bool ok = true;

    for (bool first = true; ok && value_iter_next(&it, &cell); first = false)
        ok = put_csv_cell(x, cell, first);
    return ok && csv_put_end(&x->out);
}

static bool put_json_row(struct export *x, struct value record) {
    struct value_iter names = value_iter_of(pack_value(&x->attributes));
    struct value_iter cells = value_iter_of(record);
    struct value name, cell;
    const char *before = "{";

    while (value_iter_next(&names, &name) && value_iter_next(&cells, &cell)) {
        if (!buffer_append(&x->out, before, strlen(before)) || json_print(name, &x->out) != EG_OK ||
            !buffer_append(&x->out, ": ", 2) || json_print(cell, &x->out) != EG_OK)
            return false;
        before = ", ";
    }
    return buffer_append(&x->out, "}\n", 2);
}

static int flush_out(struct export *x) {
    if (fwrite(x->out.at, 1, x->out.size_bytes, x->file) != x->out.size_bytes)
        return shell_fail(EXIT_REFUSED, "cannot write: %s", strerror(errno));
    buffer_clear(&x->out);
    return EXIT_OK;
}

static int put_records(struct export *x, struct value records) {
    struct value_iter it = value_iter_of(records);
    struct value record;
    int code = EXIT_OK;

    while (code == EXIT_OK && value_iter_next(&it, &record)) {
        if (!(x->json_lines ? put_json_row(x, record) : put_csv_row(x, record)))
            return shell_fail(EXIT_REFUSED, "out of memory");
        x->rows++;
        if (x->out.size_bytes >= FLUSH_BYTES)
            code = flush_out(x);
    }
    progress_show(x->shell, x->start_ms, "exported", x->rows, x->all);
    return code;
}

/* ---- records from the node ------------------------------------------------------ */

static int export_at_once(struct export *x, bool *too_large) {
    struct shell *s = x->shell;
    struct pack *p = shell_params(s, 2);
    uint32_t width = value_count(pack_value(&x->attributes));
    int code;

    pack_text(p, x->table);
    pack_array(p, width);
    for (uint32_t i = 0; i < width; i++)
        pack_text(p, "_");
    code = shell_try(s, "match");
    *too_large = shell_refused_as(s, "too_large");
    if (code == EXIT_OK)
        return put_records(x, s->last.result);
    return s->last.refused && !*too_large ? shell_refused(s) : code;
}

/* Collect up to WALK_KEYS keys behind `key`, which then is the last of them, or
 * nil at the end. */
static int collect_keys(struct export *x, struct pack *key, struct pack *keys, uint32_t *count) {
    struct shell *s = x->shell;
    int code = EXIT_OK;

    pack_clear(keys);
    for (*count = 0; code == EXIT_OK && *count < WALK_KEYS; ++*count) {
        struct pack *p = shell_params(s, key->bytes.size_bytes > 0 ? 2 : 1);
        pack_text(p, x->table);
        if (key->bytes.size_bytes > 0)
            pack_raw(p, pack_value(key));
        code = shell_ask(s, key->bytes.size_bytes > 0 ? "next" : "first");
        if (code != EXIT_OK)
            break;
        pack_clear(key);
        pack_raw(key, s->last.result);
        if (key->failed)
            return shell_fail(EXIT_REFUSED, "out of memory");
        if (value_kind_of(pack_value(key)) == VALUE_NIL)
            break;
        pack_raw(keys, pack_value(key));
    }
    return code;
}

static int put_keys(struct export *x, const struct pack *keys, uint32_t count) {
    struct shell *s = x->shell;
    struct pack *p = shell_params(s, 2);
    struct value_iter it;
    struct value records;
    int code;

    if (count == 0)
        return EXIT_OK;
    pack_text(p, x->table);
    pack_array(p, count);
    pack_raw(p, (struct value){keys->bytes.at, (uint32_t) keys->bytes.size_bytes});
    code = shell_ask(s, "read_many");
    if (code != EXIT_OK)
        return code;
    it = value_iter_of(s->last.result);
    while (code == EXIT_OK && value_iter_next(&it, &records))
        code = put_records(x, records);
    return code;
}

static int export_walk(struct export *x) {
    struct pack key, keys;
    uint32_t count;
    int code = EXIT_OK;

    pack_init(&key, x->shell->alloc);
    pack_init(&keys, x->shell->alloc);
    do {
        code = collect_keys(x, &key, &keys, &count);
        if (code == EXIT_OK && keys.failed)
            code = shell_fail(EXIT_REFUSED, "out of memory");
        if (code == EXIT_OK)
            code = put_keys(x, &keys, count);
    } while (code == EXIT_OK && count == WALK_KEYS);
    pack_fini(&key);
    pack_fini(&keys);
    return code;
}

/* ---- the whole ------------------------------------------------------------------ */

static int export_rows(struct export *x) {
    bool too_large = true;
    int code = EXIT_OK;

    x->start_ms = shell_now_ms();
    if (!x->json_lines && !put_csv_row(x, pack_value(&x->attributes)))
        return shell_fail(EXIT_REFUSED, "out of memory");
    if (x->all <= AT_ONCE_RECORDS)
        code = export_at_once(x, &too_large);
    if (too_large)
        code = export_walk(x);
    if (code == EXIT_OK)
        code = flush_out(x);
    progress_end(x->shell);
    return code;
}

static int ask_table(struct export *x) {
    struct shell *s = x->shell;
    struct value names, size;
    int code;

    pack_text(shell_params(s, 1), x->table);
    code = shell_ask(s, "table_info");
    if (code != EXIT_OK)
        return code;
    names = shell_get(s->last.result, "attributes");
    size = shell_get(s->last.result, "size");
    if (names.size_bytes == 0 || size.size_bytes == 0 || !value_get_u64(size, &x->all))
        return shell_fail(EXIT_REFUSED, "the node does not say what %s is", x->table);
    pack_raw(&x->attributes, names);
    return x->attributes.failed ? shell_fail(EXIT_REFUSED, "out of memory") : EXIT_OK;
}

/* Write beside `path` and rename; what is no plain file is written as it is. */
static int export_to(struct export *x, const char *path) {
    char beside[PATH_MAX];
    struct stat about;
    bool plain = stat(path, &about) != 0 || S_ISREG(about.st_mode);
    int code;

    snprintf(beside, sizeof beside, "%s%s", path, plain ? ".part" : "");
    x->file = strcmp(path, "-") == 0 ? stdout : fopen(beside, "we");
    if (x->file == NULL)
        return shell_fail(EXIT_REFUSED, "cannot write %s: %s", beside, strerror(errno));
    code = export_rows(x);
    if (x->file == stdout)
        return code;
    if (fclose(x->file) != 0 && code == EXIT_OK)
        code = shell_fail(EXIT_REFUSED, "cannot write %s: %s", beside, strerror(errno));
    if (plain && code == EXIT_OK && rename(beside, path) != 0)
        code = shell_fail(EXIT_REFUSED, "cannot write %s: %s", path, strerror(errno));
    if (plain && code != EXIT_OK)
        unlink(beside);
    if (code == EXIT_OK)
        printf(x->shell->output == OUTPUT_JSON ? "{\"exported\":%llu}\n" : "%llu rows exported\n",
               (unsigned long long) x->rows);
    return code;
}

int command_export(struct shell *s, struct args *a) {
    struct export x = {.shell = s};
    const char *format = NULL, *dot;
    int code;

    (void) args_value(a, "--format", &format); /* NULL: the name says it */
    code = args_done(a, 2, 2, "export TABLE FILE [--format csv|jsonl]");
    if (code != EXIT_OK)
        return code;
    dot = strrchr(a->word[1], '.');
    x.json_lines =
        format != NULL ? strcmp(format, "jsonl") == 0 : dot != NULL && strcmp(dot, ".jsonl") == 0;
    if (format != NULL && !x.json_lines && strcmp(format, "csv") != 0)
        return shell_fail(EXIT_USAGE, "--format is csv or jsonl, not \"%s\"", format);
    x.table = a->word[0];
    pack_init(&x.attributes, s->alloc);
    buffer_init(&x.out, s->alloc, OUT_BYTES_MAX);
    code = ask_table(&x);
    if (code == EXIT_OK)
        code = export_to(&x, a->word[1]);
    pack_fini(&x.attributes);
    buffer_fini(&x.out);
    return code;
}
