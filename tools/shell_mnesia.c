/* shell_mnesia.c -- import-mnesia: tables and records from what mnesia:backup/1 wrote.
 *
 * The file is gone over twice: once to be sure of every term, before anything is touched, and
 * once to send. */
#include "tools/file_source.h"
#include "tools/loader.h"
#include "tools/mnesia_backup.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { BAD_SHOWN = 20 };

/* One table of the file. */
struct found {
    uint32_t name_at; /* into `names` */
    uint32_t arity;
    uint64_t records;
    bool wanted;
};

struct importing {
    struct shell *shell;
    const char *path;
    const char *storage; /* NULL: as the file says */
    struct args tables;  /* none: all              */
    enum loader_mode mode;
    bool characters, skip_bad;
    struct pack names; /* of the tables, one behind the other */
    struct buffer found;
    uint64_t records, bad;
    uint64_t start_ms;
    struct loader loader;
};

static struct found *found_at(const struct importing *m, uint32_t number) {
    return (struct found *) (void *) m->found.at + number;
}

static uint32_t found_count(const struct importing *m) {
    return (uint32_t) (m->found.size_bytes / sizeof(struct found));
}

/* Records of a table stand together, so the last one asked for is nearly always it. */
static struct found *find(const struct importing *m, struct value name) {
    for (uint32_t i = found_count(m); i-- > 0;)
        if (value_equal(value_of(m->names.bytes.at + found_at(m, i)->name_at), name))
            return found_at(m, i);
    return NULL;
}

static bool is_chosen(const struct importing *m, struct value name) {
    for (int i = 0; i < m->tables.count; i++)
        if (value_is_string(name, m->tables.word[i]))
            return true;
    return m->tables.count == 0;
}

/* ---- once over the file ---------------------------------------------------------------- */

static int bad_item(struct importing *m, const struct err_note *note) {
    if (!m->skip_bad) {
        (void) shell_fail(0, "%s: %s", m->path, note->text);
        return shell_fail(EXIT_REFUSED, "nothing was changed; --skip-bad passes such records over");
    }
    if (m->bad++ < BAD_SHOWN)
        (void) shell_fail(0, "%s: %s", m->path, note->text);
    return EXIT_OK;
}

/* Go over the file with `see`; what cannot be kept is told of where `tell`. */
static int read_items(struct importing *m, bool tell,
                      int (*see)(struct importing *m, const struct mnesia_item *item)) {
    struct err_note note = {""};
    struct file_source f;
    struct mnesia_reader *r;
    struct mnesia_item item;
    int code = EXIT_OK;
    eg_err err = file_source_open(&f, m->path, &note);

    if (err != EG_OK)
        return shell_fail(EXIT_REFUSED, "%s", note.text);
    err = mnesia_reader_open(&r, m->shell->alloc, &f.source, m->characters);
    if (err != EG_OK) {
        file_source_close(&f);
        return shell_fail_err(err, &note);
    }
    while (code == EXIT_OK) {
        err = mnesia_reader_next(r, &item, &note);
        if (err == EG_OK)
            code = see(m, &item);
        else if (err == EG_BAD_RECORD)
            code = tell ? bad_item(m, &note) : EXIT_OK;
        else
            break;
        if (tell)
            progress_show(m->shell, m->start_ms, "checked", mnesia_reader_bytes(r), f.size_bytes);
    }
    mnesia_reader_close(r);
    file_source_close(&f);
    if (code != EXIT_OK || err == EG_NOT_FOUND)
        return code;
    return shell_fail(EXIT_REFUSED, "%s: %s", m->path,
                      note.text[0] != '\0' ? note.text : eg_err_text(err));
}

static int add_found(struct importing *m, const struct mnesia_item *item) {
    struct found f = {.name_at = (uint32_t) m->names.bytes.size_bytes,
                      .arity = value_count(shell_get(item->value, "attributes")),
                      .wanted = is_chosen(m, item->table)};

    if (find(m, item->table) != NULL)
        return shell_fail(EXIT_REFUSED, "%s: a table stands twice in it", m->path);
    pack_raw(&m->names, item->table);
    if (m->names.failed || !buffer_append(&m->found, &f, sizeof f))
        return shell_fail(EXIT_REFUSED, "out of memory");
    return EXIT_OK;
}

static int see_check(struct importing *m, const struct mnesia_item *item) {
    struct found *f;

    if (item->kind == MNESIA_TABLE)
        return add_found(m, item);
    f = find(m, item->table);
    if (f == NULL)
        return shell_fail(EXIT_REFUSED, "%s: a record of a table that is not in it", m->path);
    if (item->kind != MNESIA_RECORD || !f->wanted)
        return EXIT_OK;
    if (value_count(item->value) != f->arity)
        return shell_fail(EXIT_REFUSED, "%s: a record has other attributes than its table",
                          m->path);
    f->records++;
    m->records++;
    return EXIT_OK;
}

/* Every table named on the command line is there. */
static int check_chosen(struct importing *m) {
    for (int i = 0; i < m->tables.count; i++) {
        bool there = false;

        for (uint32_t t = 0; t < found_count(m) && !there; t++)
            there = value_is_string(value_of(m->names.bytes.at + found_at(m, t)->name_at),
                                    m->tables.word[i]);
        if (!there)
            return shell_fail(EXIT_REFUSED, "%s has no table %s; nothing was changed", m->path,
                              m->tables.word[i]);
    }
    return EXIT_OK;
}

/* ---- and once to send ------------------------------------------------------------------ */

/* The file's options, with the storage that was asked for. */
static int make_table(struct importing *m, struct found *f, const struct mnesia_item *item) {
    struct value_iter it = value_iter_of(item->value);
    struct value name, v;
    struct pack options;
    int code;

    pack_init(&options, m->shell->alloc);
    pack_map(&options, value_count(item->value));
    while (value_iter_next(&it, &name) && value_iter_next(&it, &v)) {
        pack_raw(&options, name);
        if (m->storage != NULL && value_is_string(name, "storage"))
            pack_text(&options, m->storage);
        else
            pack_raw(&options, v);
    }
    code = options.failed
               ? shell_fail(EXIT_REFUSED, "out of memory")
               : loader_table(&m->loader, item->table, pack_value(&options), m->mode, &f->wanted);
    pack_fini(&options);
    return code;
}

/* What was written before is to be gone: so it has to be there first. */
static int delete_key(struct importing *m, const struct mnesia_item *item) {
    struct pack *p;
    int code = loader_finish(&m->loader);

    if (code != EXIT_OK)
        return code;
    p = shell_params(m->shell, 2);
    pack_raw(p, item->table);
    pack_raw(p, item->value);
    return shell_ask(m->shell, "delete");
}

static int see_send(struct importing *m, const struct mnesia_item *item) {
    struct found *f = find(m, item->table);

    if (f == NULL)
        return shell_fail(EXIT_REFUSED, "the file changed while it was read");
    if (!f->wanted)
        return EXIT_OK;
    switch (item->kind) {
    case MNESIA_TABLE:
        return make_table(m, f, item);
    case MNESIA_DELETE:
        return delete_key(m, item);
    default:
        return loader_add(&m->loader, item->table, item->value, 0);
    }
}

static int sync_tables(struct importing *m, uint32_t *made) {
    int code = EXIT_OK;

    for (uint32_t i = 0; i < found_count(m) && code == EXIT_OK; i++) {
        if (!found_at(m, i)->wanted)
            continue;
        ++*made;
        code = loader_sync(&m->loader, value_of(m->names.bytes.at + found_at(m, i)->name_at));
    }
    return code;
}

static int import(struct importing *m) {
    uint32_t made = 0;
    int code = read_items(m, true, see_check);

    progress_end(m->shell);
    if (code == EXIT_OK)
        code = check_chosen(m);
    m->loader.all = m->records;
    m->loader.start_ms = shell_now_ms();
    if (code == EXIT_OK)
        code = read_items(m, false, see_send);
    if (code == EXIT_OK)
        code = loader_finish(&m->loader);
    if (code == EXIT_OK)
        code = sync_tables(m, &made);
    if (code == EXIT_OK)
        printf(m->shell->output == OUTPUT_JSON
                   ? "{\"tables\":%u,\"records\":%llu,\"skipped\":%llu}\n"
                   : "%u tables, %llu records imported, %llu skipped\n",
               made, (unsigned long long) m->loader.written, (unsigned long long) m->bad);
    return code;
}

int command_import_mnesia(struct shell *s, struct args *a) {
    struct importing *m = alloc_zero(s->alloc, sizeof *m);
    const char *mode = NULL;
    int code;

    if (m == NULL)
        return shell_fail(EXIT_REFUSED, "out of memory");
    m->shell = s;
    m->skip_bad = args_flag(a, "--skip-bad");
    m->characters = !args_flag(a, "--lists");
    (void) args_value(a, "--mode", &mode); /* NULL: not said; args_done() sees the rest */
    (void) args_value(a, "--storage", &m->storage);
    code = args_done(a, 1, INT_MAX,
                     "import-mnesia FILE [TABLE ...] [--mode skip|replace|clear]\n"
                     "       [--storage ram|disc|disc_only] [--lists] [--skip-bad]");
    if (code == EXIT_OK)
        code = loader_mode_of(mode, &m->mode);
    if (code != EXIT_OK) {
        alloc_put(s->alloc, m, sizeof *m);
        return code;
    }
    m->path = a->word[0];
    m->tables = (struct args){a->count - 1, a->word + 1};
    m->start_ms = shell_now_ms();
    pack_init(&m->names, s->alloc);
    buffer_init(&m->found, s->alloc, SIZE_MAX);
    loader_init(&m->loader, s, "imported");
    code = import(m);
    loader_fini(&m->loader);
    pack_fini(&m->names);
    buffer_fini(&m->found);
    alloc_put(s->alloc, m, sizeof *m);
    return code;
}
