/* shell_import.c -- records from a file into a table.
 *
 * The file is gone over twice: once to check every row, so that a bad one leaves
 * nothing written, and once to send.  Rows travel by write_many, several batches
 * under way at a time, in the file's order: where a key stands twice, the later
 * row wins.  A batch that the node is too busy for is sent again, and with it all
 * that followed it, for the same reason. */
#include "tools/rows.h"
#include "tools/shell.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

enum {
    BATCH_ROWS = 500,         /* enough that a round trip is nothing beside them */
    BATCH_BYTES = 256 * 1024, /* far below --max-frame                           */
    WINDOW = 8,               /* batches under way                               */
    BUSY_WAIT_MS = 20,        /* before a batch is sent again                    */
    BAD_ROWS_SHOWN = 20,      /* of those that are skipped                       */
};

struct batch {
    struct pack params;
    uint32_t id;
    uint32_t rows;
    uint64_t last_row;
    bool answered;
};

struct import {
    struct shell *shell;
    const char *table;
    bool skip_bad;
    struct rows rows;
    uint64_t good, bad; /* rows, as the check found them */
    uint64_t written;   /* rows the node has answered    */
    uint64_t start_ms;
    struct batch ring[WINDOW]; /* under way, the oldest at head */
    uint32_t head, under_way;
    bool busy; /* one of them has to be sent again */
};

/* ---- checking ---------------------------------------------------------------- */

static void say_bad_row(const struct import *m, const struct err_note *note) {
    (void) shell_fail(0, "row %llu (line %llu): %s", (unsigned long long) m->rows.row,
                      (unsigned long long) m->rows.line, note->text);
}

/* Go over the whole file and count. */
static int check_rows(struct import *m) {
    struct err_note note = {""};
    struct pack record;
    eg_err err;
    int code = EXIT_OK;

    pack_init(&record, m->shell->alloc);
    while (code == EXIT_OK) {
        pack_clear(&record);
        err = rows_next(&m->rows, &record, &note);
        if (err == EG_NOT_FOUND)
            break;
        if (err == EG_OK) {
            m->good++;
            continue;
        }
        if (err == EG_MEMORY) {
            code = shell_fail(EXIT_REFUSED, "out of memory");
        } else if (!m->skip_bad) {
            say_bad_row(m, &note);
            code =
                shell_fail(EXIT_REFUSED, "nothing was written; --skip-bad passes such rows over");
        } else if (m->bad++ < BAD_ROWS_SHOWN) {
            say_bad_row(m, &note);
        }
    }
    pack_fini(&record);
    return code;
}

/* ---- sending ----------------------------------------------------------------- */

static struct batch *batch_at(struct import *m, uint32_t place) {
    return &m->ring[(m->head + place) % WINDOW];
}

static int send_batch(struct import *m, struct batch *b) {
    struct err_note note = {""};
    eg_err err = client_send(m->shell->client, "write_many", pack_value(&b->params), &b->id, &note);

    b->answered = false;
    return err == EG_OK ? EXIT_OK : shell_fail_err(err, &note);
}

/* Take the next answer, of whichever batch. */
static int take_answer(struct import *m) {
    struct shell *s = m->shell;
    struct err_note note = {""};
    struct batch *b = NULL;
    eg_err err = client_receive(s->client, &s->last, &note);

    if (err != EG_OK)
        return shell_fail_err(err, &note);
    for (uint32_t i = 0; i < m->under_way; i++)
        if (batch_at(m, i)->id == s->last.id)
            b = batch_at(m, i);
    if (b == NULL || b->answered)
        return shell_fail(EXIT_REFUSED, "an answer to nothing that was asked");
    b->answered = true;
    if (!s->last.refused)
        return EXIT_OK;
    if (shell_refused_as(s, "busy")) {
        m->busy = true;
        b->id = 0; /* answered, and not done */
        return EXIT_OK;
    }
    (void) shell_refused(s);
    return shell_fail(EXIT_REFUSED, "%llu rows are written; it stopped at or before row %llu",
                      (unsigned long long) m->written, (unsigned long long) b->last_row);
}

static void retire_head(struct import *m) {
    struct batch *b = batch_at(m, 0);

    m->written += b->rows;
    m->head = (m->head + 1) % WINDOW;
    m->under_way--;
    progress_show(m->shell, m->start_ms, "imported", m->written, m->good);
}

/* Send what was refused as busy, and all behind it, one batch after the other. */
static int send_again(struct import *m) {
    uint64_t give_up_ms = shell_now_ms() + (uint64_t) m->shell->timeout_ms;
    int code = EXIT_OK;

    while (code == EXIT_OK && m->under_way > 0 && batch_at(m, 0)->id != 0)
        retire_head(m);
    while (code == EXIT_OK && m->under_way > 0) {
        m->busy = false;
        code = send_batch(m, batch_at(m, 0));
        if (code == EXIT_OK)
            code = take_answer(m);
        if (code == EXIT_OK && !m->busy) {
            retire_head(m);
            continue;
        }
        if (code == EXIT_OK && shell_now_ms() > give_up_ms)
            code = shell_refused(m->shell);
        if (code == EXIT_OK)
            poll(NULL, 0, BUSY_WAIT_MS);
    }
    m->busy = false;
    return code;
}

/* Wait until at most `most` batches are under way. */
static int settle(struct import *m, uint32_t most) {
    int code = EXIT_OK;

    while (code == EXIT_OK && m->under_way > most) {
        uint32_t owed = 0;
        for (uint32_t i = 0; i < m->under_way; i++)
            owed += !batch_at(m, i)->answered;
        if (m->busy && owed == 0)
            code = send_again(m);
        else if (!m->busy && batch_at(m, 0)->answered)
            retire_head(m);
        else
            code = take_answer(m);
    }
    return code;
}

/* Fill one batch from the file; *end where there is no more. */
static int fill_batch(struct import *m, struct batch *b, struct pack *records, bool *end) {
    struct err_note note = {""};
    eg_err err = EG_OK;

    pack_clear(records);
    b->rows = 0;
    while (b->rows < BATCH_ROWS && records->bytes.size_bytes < BATCH_BYTES && !*end) {
        err = rows_next(&m->rows, records, &note);
        *end = err == EG_NOT_FOUND;
        if (err == EG_OK)
            b->rows++;
        else if (err == EG_MEMORY || (!*end && !m->skip_bad))
            return shell_fail(EXIT_REFUSED, "the file changed while it was read");
    }
    b->last_row = m->rows.row;
    pack_clear(&b->params);
    pack_array(&b->params, 2);
    pack_text(&b->params, m->table);
    pack_array(&b->params, b->rows);
    if (b->rows > 0)
        pack_raw(&b->params,
                 (struct value){records->bytes.at, (uint32_t) records->bytes.size_bytes});
    return b->params.failed ? shell_fail(EXIT_REFUSED, "out of memory") : EXIT_OK;
}

static int send_rows(struct import *m) {
    struct err_note note = {""};
    struct pack records;
    bool end = false;
    int code = EXIT_OK;

    if (rows_rewind(&m->rows, &note) != EG_OK)
        return shell_fail(EXIT_REFUSED, "the file changed while it was read");
    m->start_ms = shell_now_ms();
    pack_init(&records, m->shell->alloc);
    for (uint32_t i = 0; i < WINDOW; i++)
        pack_init(&m->ring[i].params, m->shell->alloc);
    while (code == EXIT_OK && !end) {
        struct batch *b;
        code = settle(m, WINDOW - 1);
        if (code != EXIT_OK)
            break;
        b = batch_at(m, m->under_way);
        code = fill_batch(m, b, &records, &end);
        if (code == EXIT_OK && b->rows > 0) {
            code = send_batch(m, b);
            m->under_way++;
        }
    }
    if (code == EXIT_OK)
        code = settle(m, 0);
    for (uint32_t i = 0; i < WINDOW; i++)
        pack_fini(&m->ring[i].params);
    pack_fini(&records);
    progress_end(m->shell);
    return code;
}

/* ---- the table --------------------------------------------------------------- */

/* What the command line says beside table and file. */
struct plan {
    const char *key, *types, *format; /* NULL: not said */
    bool create;
    struct pack options; /* of the table to be made */
};

/* The attributes of a table to be: the key's column first, the others in order. */
static int attributes_of_file(struct import *m, const char *key, struct pack *out) {
    struct value names = pack_value(&m->rows.names), name;
    struct value_iter it = value_iter_of(names);
    int32_t first = key != NULL ? rows_column(&m->rows, key, strlen(key)) : 0;

    if (first < 0)
        return shell_fail(EXIT_REFUSED, "no column is called \"%s\"", key);
    if (value_count(names) == 0)
        return shell_fail(EXIT_REFUSED, "rows without names: create the table first");
    pack_array(out, value_count(names));
    for (int32_t i = 0; value_iter_next(&it, &name); i++)
        if (i == first)
            pack_raw(out, name);
    it = value_iter_of(names);
    for (int32_t i = 0; value_iter_next(&it, &name); i++)
        if (i != first)
            pack_raw(out, name);
    return out->failed ? shell_fail(EXIT_REFUSED, "out of memory") : EXIT_OK;
}

/* The attributes the rows go to, of the table or of the one to be made. */
static int find_attributes(struct import *m, const struct plan *plan, struct pack *out,
                           bool *missing) {
    struct shell *s = m->shell;
    struct value names = shell_get(pack_value(&plan->options), "attributes");
    const char *key = plan->key;
    int code;

    pack_text(shell_params(s, 1), m->table);
    code = shell_try(s, "table_info");
    *missing = shell_refused_as(s, "no_table");
    if (*missing && plan->create && names.size_bytes == 0)
        return attributes_of_file(m, key, out);
    if (code != EXIT_OK && !(*missing && plan->create))
        return s->last.refused ? shell_refused(s) : code;
    if (!*missing)
        names = shell_get(s->last.result, "attributes");
    if (names.size_bytes == 0 || value_count(names) == 0)
        return shell_fail(EXIT_REFUSED, "the node does not say which attributes %s has", m->table);
    pack_raw(out, names);
    if (key != NULL && !value_is_string(value_of(value_iter_of(pack_value(out)).at), key))
        return shell_fail(EXIT_REFUSED, "\"%s\" is not the key of %s", key, m->table);
    return EXIT_OK;
}

/* Make the table: what the options say, and the attributes where they do not. */
static int create_table(struct import *m, struct value options, struct value attributes) {
    bool named = shell_get(options, "attributes").size_bytes > 0;
    const uint8_t *pairs = value_iter_of(options).at;
    struct pack *p = shell_params(m->shell, 2);

    pack_text(p, m->table);
    pack_map(p, value_count(options) + !named);
    if (!named) {
        pack_text(p, "attributes");
        pack_raw(p, attributes);
    }
    pack_raw(p, (struct value){pairs, (uint32_t) (options.at + options.size_bytes - pairs)});
    return shell_ask(m->shell, "create_table");
}

static int say_imported(const struct import *m) {
    const char *form = m->shell->output == OUTPUT_JSON ? "{\"imported\":%llu,\"skipped\":%llu}\n"
                       : m->bad > 0                    ? "%llu rows imported, %llu skipped\n"
                                                       : "%llu rows imported\n";
    printf(form, (unsigned long long) m->good, (unsigned long long) m->bad);
    return EXIT_OK;
}

static int import_rows(struct import *m, const struct plan *plan) {
    struct err_note note = {""};
    struct pack attributes;
    bool missing = false;
    int code;

    if (rows_types(&m->rows, plan->types, &note) != EG_OK)
        return shell_fail(EXIT_USAGE, "%s", note.text);
    pack_init(&attributes, m->shell->alloc);
    code = find_attributes(m, plan, &attributes, &missing);
    if (code == EXIT_OK && rows_plan(&m->rows, pack_value(&attributes), &note) != EG_OK)
        code = shell_fail(EXIT_REFUSED, "%s", note.text);
    if (code == EXIT_OK)
        code = check_rows(m);
    if (code == EXIT_OK && missing)
        code = create_table(m, pack_value(&plan->options), pack_value(&attributes));
    if (code == EXIT_OK)
        code = send_rows(m);
    pack_fini(&attributes);
    return code == EXIT_OK ? say_imported(m) : code;
}

/* CSV unless the name or --format says JSON lines. */
static int format_of(const char *format, const char *path, bool *json_lines) {
    const char *dot = strrchr(path, '.');

    if (format == NULL)
        format = dot != NULL && strcmp(dot, ".jsonl") == 0 ? "jsonl" : "csv";
    *json_lines = strcmp(format, "jsonl") == 0;
    if (!*json_lines && strcmp(format, "csv") != 0)
        return shell_fail(EXIT_USAGE, "--format is csv or jsonl, not \"%s\"", format);
    return EXIT_OK;
}

int command_import(struct shell *s, struct args *a) {
    struct import m = {.shell = s};
    struct plan plan = {.key = NULL};
    struct err_note note = {""};
    bool json_lines = false;
    int code;

    m.skip_bad = args_flag(a, "--skip-bad");
    plan.create = args_flag(a, "--create");
    (void) args_value(a, "--key", &plan.key); /* NULL: not said; args_done() sees the rest */
    (void) args_value(a, "--types", &plan.types);
    (void) args_value(a, "--format", &plan.format);
    pack_init(&plan.options, s->alloc);
    code = create_options(a, &plan.options);
    if (code == EXIT_OK)
        code = args_done(a, 2, 2,
                         "import TABLE FILE [--format csv|jsonl] [--key ATTRIBUTE] [--create]\n"
                         "                     [--types TYPE,... | COLUMN=TYPE,...] [--skip-bad]\n"
                         "                     and with --create the options of create");
    if (code == EXIT_OK && plan.options.failed)
        code = shell_fail(EXIT_REFUSED, "out of memory");
    if (code == EXIT_OK)
        code = format_of(plan.format, a->word[1], &json_lines);
    if (code == EXIT_OK && rows_open(&m.rows, s->alloc, a->word[1], json_lines, &note) != EG_OK)
        code = shell_fail(EXIT_REFUSED, "%s", note.text);
    if (code == EXIT_OK) {
        m.table = a->word[0];
        code = import_rows(&m, &plan);
        rows_close(&m.rows);
    }
    pack_fini(&plan.options);
    return code;
}
