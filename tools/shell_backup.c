/* shell_backup.c -- backup, restore, verify.
 *
 * A backup is made by the node and only kept here: its bytes come by backup_read and go to
 * a file that gets its name when it is whole and on disc.  A restore reads the file
 * twice: once to believe it, before anything is touched, and once to carry it out. */
#include "tables/backup.h"
#include "tools/file_source.h"
#include "tools/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    READS_UNDER_WAY = 3,
    OPEN_TRIES_MS = 20, /* between two, while the tables do not come to rest */
    BLOCK_HEAD_BYTES = 8,
    BLOCK_SUM_BYTES = 8,
    TABLES_MAX = 1 << 20,
};

/* ---- backup ------------------------------------------------------------------------ */

struct saving {
    struct shell *shell;
    int fd;
    uint64_t id;
    uint64_t records, all, bytes;
    uint32_t tables;
    uint64_t start_ms;
};

static uint64_t little_endian(const uint8_t *at, uint32_t bytes) {
    uint64_t n = 0;

    for (uint32_t i = 0; i < bytes; i++)
        n |= (uint64_t) at[i] << 8 * i;
    return n;
}

/* Count what stands in a piece of the file, which is whole blocks. */
static void count_blocks(struct saving *x, const uint8_t *at, size_t size_bytes) {
    size_t place = x->bytes == 0 ? BACKUP_MAGIC_BYTES : 0;

    while (place + BLOCK_HEAD_BYTES + 8 <= size_bytes) {
        uint64_t body_bytes = little_endian(at + place, 4);

        if (at[place + 4] == BACKUP_RECORDS || at[place + 4] == BACKUP_EXPIRING)
            x->records += little_endian(at + place + BLOCK_HEAD_BYTES + 4, 4);
        x->tables += at[place + 4] == BACKUP_TABLE;
        place += BLOCK_HEAD_BYTES + body_bytes + BLOCK_SUM_BYTES;
    }
}

static int write_all(struct saving *x, const uint8_t *at, size_t size_bytes) {
    while (size_bytes > 0) {
        ssize_t n = write(x->fd, at, size_bytes);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return shell_fail(EXIT_REFUSED, "cannot write the backup: %s", strerror(errno));
        at += n;
        size_bytes -= (size_t) n;
    }
    return EXIT_OK;
}

static int ask_piece(struct saving *x) {
    struct err_note note = {""};
    struct pack *p = shell_params(x->shell, 1);
    uint32_t id;
    eg_err err;

    pack_u64(p, x->id);
    err = client_send(x->shell->client, "backup_read", pack_value(p), &id, &note);
    return err == EG_OK ? EXIT_OK : shell_fail_err(err, &note);
}

/* Take one answer; *end where it says that there is no more. */
static int take_piece(struct saving *x, bool *end) {
    struct shell *s = x->shell;
    struct err_note note = {""};
    const uint8_t *at;
    uint32_t size_bytes;
    int code;
    eg_err err = client_receive(s->client, &s->last, &note);

    if (err != EG_OK)
        return shell_fail_err(err, &note);
    if (s->last.refused)
        return *end ? EXIT_OK : shell_refused(s);
    if (value_kind_of(s->last.result) == VALUE_NIL) {
        *end = true;
        return EXIT_OK;
    }
    if (value_kind_of(s->last.result) != VALUE_BINARY ||
        !value_get_bytes(s->last.result, &at, &size_bytes))
        return shell_fail(EXIT_REFUSED, "the node does not send a backup");
    count_blocks(x, at, size_bytes);
    code = write_all(x, at, size_bytes);
    x->bytes += size_bytes;
    progress_show(s, x->start_ms, "backed up", x->records, x->all);
    return code;
}

static int take_pieces(struct saving *x) {
    uint32_t asked = 0;
    bool end = false;
    int code = EXIT_OK;

    while (code == EXIT_OK && (!end || asked > 0)) {
        while (code == EXIT_OK && !end && asked < READS_UNDER_WAY) {
            code = ask_piece(x);
            asked++;
        }
        if (code == EXIT_OK)
            code = take_piece(x, &end);
        asked--;
    }
    progress_end(x->shell);
    return code;
}

/* Ask for the moment; the node says busy while another backup of a table is open. */
static int open_backup(struct saving *x, const struct args *tables) {
    struct shell *s = x->shell;
    uint64_t give_up_ms = shell_now_ms() + (uint64_t) s->timeout_ms;
    int code;

    do {
        struct pack *p = shell_params(s, 1);
        pack_map(p, tables->count > 0);
        if (tables->count > 0) {
            pack_text(p, "tables");
            pack_array(p, (uint32_t) tables->count);
            for (int i = 0; i < tables->count; i++)
                pack_text(p, tables->word[i]);
        }
        code = shell_try(s, "backup_open");
        if (!shell_refused_as(s, "busy") || shell_now_ms() > give_up_ms)
            break;
        (void) usleep(OPEN_TRIES_MS * 1000); /* a signal only makes it shorter */
    } while (code != EXIT_OK);
    if (code != EXIT_OK)
        return s->last.refused ? shell_refused(s) : code;
    if (!value_get_u64(s->last.result, &x->id))
        return shell_fail(EXIT_REFUSED, "the node does not open a backup");
    return EXIT_OK;
}

/* How many records there are to come, for the progress line. */
static void expect(struct saving *x, const struct args *tables) {
    struct shell *s = x->shell;
    uint64_t n;

    if (!s->progress)
        return;
    for (int i = 0; i < tables->count; i++) {
        pack_text(shell_params(s, 1), tables->word[i]);
        if (shell_try(s, "size") == EXIT_OK && value_get_u64(s->last.result, &n))
            x->all += n;
    }
}

static int save(struct saving *x, const struct args *tables) {
    int code;

    x->start_ms = shell_now_ms();
    expect(x, tables);
    code = open_backup(x, tables);
    if (code == EXIT_OK)
        code = take_pieces(x);
    if (code == EXIT_OK) {
        pack_u64(shell_params(x->shell, 1), x->id);
        code = shell_ask(x->shell, "backup_close");
    }
    return code;
}

/* Give the file its name when it is on disc, and the name too. */
static int settle_name(int fd, const char *beside, const char *path) {
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int directory;

    if (fsync(fd) != 0 || rename(beside, path) != 0)
        return shell_fail(EXIT_REFUSED, "cannot write %s: %s", path, strerror(errno));
    snprintf(folder, sizeof folder, "%.*s", slash == NULL ? 1 : (int) (slash - path) + 1,
             slash == NULL ? "." : path);
    directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory >= 0) {
        (void) fsync(directory); /* some file systems cannot; the file itself is safe */
        close(directory);
    }
    return EXIT_OK;
}

static int save_to(struct saving *x, const char *path, const struct args *tables) {
    char beside[PATH_MAX];
    int code;

    if (strcmp(path, "-") == 0) {
        x->fd = STDOUT_FILENO;
        return save(x, tables);
    }
    if ((size_t) snprintf(beside, sizeof beside, "%s.part", path) >= sizeof beside)
        return shell_fail(EXIT_REFUSED, "%s: the name is too long", path);
    x->fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (x->fd < 0)
        return shell_fail(EXIT_REFUSED, "cannot write %s: %s", beside, strerror(errno));
    code = save(x, tables);
    if (code == EXIT_OK)
        code = settle_name(x->fd, beside, path);
    close(x->fd);
    if (code != EXIT_OK)
        unlink(beside);
    return code;
}

int command_backup(struct shell *s, struct args *a) {
    struct saving x = {.shell = s};
    struct args tables;
    int code = args_done(a, 1, INT_MAX, "backup FILE [TABLE ...]");

    if (code != EXIT_OK)
        return code;
    tables = (struct args){a->count - 1, a->word + 1};
    code = save_to(&x, a->word[0], &tables);
    if (code == EXIT_OK && x.fd != STDOUT_FILENO)
        printf(s->output == OUTPUT_JSON ? "{\"tables\":%u,\"records\":%llu,\"bytes\":%llu}\n"
                                        : "%u tables, %llu records, %llu bytes\n",
               x.tables, (unsigned long long) x.records, (unsigned long long) x.bytes);
    return code;
}

/* ---- reading a file ------------------------------------------------------------------- */

/* What a file has, by table. */
struct content {
    struct shell *shell;
    struct pack names;     /* strings, one behind the other                   */
    struct buffer records; /* uint64_t of each table: how many there are      */
    struct buffer wanted;  /* bool of each table: it is to be restored        */
    uint32_t tables;
    uint64_t count; /* of all records            */
    uint64_t created_ms;
    uint64_t bytes, file_bytes;
    uint64_t start_ms;
};

static uint64_t *records_of(struct content *c, uint32_t table) {
    return (uint64_t *) (void *) c->records.at + table;
}

static struct value name_of(const struct content *c, uint32_t table) {
    const uint8_t *at = c->names.bytes.at;

    while (table-- > 0)
        at = value_skip(at);
    return value_of(at);
}

static void content_init(struct content *c, struct shell *s) {
    *c = (struct content){.shell = s, .start_ms = shell_now_ms()};
    pack_init(&c->names, s->alloc);
    buffer_init(&c->records, s->alloc, (size_t) TABLES_MAX * sizeof(uint64_t));
    buffer_init(&c->wanted, s->alloc, TABLES_MAX);
}

static void content_fini(struct content *c) {
    pack_fini(&c->names);
    buffer_fini(&c->records);
    buffer_fini(&c->wanted);
}

/* Go over the whole file with `see`, which returns an exit code. */
static int read_backup(struct content *c, const char *path,
                       int (*see)(void *context, const struct backup_item *item), void *context) {
    struct err_note note = {""};
    struct file_source f;
    struct backup_reader *r;
    struct backup_item item;
    int code = EXIT_OK;
    eg_err err = file_source_open(&f, path, &note);

    if (err != EG_OK)
        return shell_fail(EXIT_REFUSED, "%s", note.text);
    c->file_bytes = f.size_bytes;
    err = backup_reader_open(&r, c->shell->alloc, &f.source);
    if (err != EG_OK) {
        file_source_close(&f);
        return shell_fail_err(err, &note);
    }
    while (code == EXIT_OK && (err = backup_reader_next(r, &item, &note)) == EG_OK) {
        c->bytes = backup_reader_bytes(r);
        code = see(context, &item);
    }
    backup_reader_close(r);
    file_source_close(&f);
    if (code != EXIT_OK || err == EG_NOT_FOUND)
        return code;
    return shell_fail(EXIT_REFUSED, "%s: %s", path,
                      note.text[0] != '\0' ? note.text : eg_err_text(err));
}

static int see_content(void *context, const struct backup_item *item) {
    static const uint64_t none = 0;
    struct content *c = context;

    switch (item->kind) {
    case BACKUP_BEGIN:
        c->created_ms = item->created_ms;
        break;
    case BACKUP_TABLE:
        pack_raw(&c->names, item->name);
        c->tables++;
        if (c->names.failed || !buffer_append(&c->records, &none, sizeof none))
            return shell_fail(EXIT_REFUSED, "out of memory");
        break;
    case BACKUP_RECORDS:
    case BACKUP_EXPIRING:
        *records_of(c, item->table) += item->count;
        c->count += item->count;
        progress_show(c->shell, c->start_ms, "verified", c->bytes, c->file_bytes);
        break;
    default:
        break;
    }
    return EXIT_OK;
}

/* The whole file is sound, or it is said why not. */
static int verify(struct content *c, const char *path) {
    int code = read_backup(c, path, see_content, c);

    progress_end(c->shell);
    return code;
}

/* ---- verify ----------------------------------------------------------------------------- */

static int print_content(struct content *c) {
    struct shell *s = c->shell;
    struct pack rows;
    int code = EXIT_OK;

    pack_init(&rows, s->alloc);
    pack_array(&rows, c->tables);
    for (uint32_t i = 0; i < c->tables; i++) {
        pack_map(&rows, 2);
        pack_text(&rows, "table");
        pack_raw(&rows, name_of(c, i));
        pack_text(&rows, "records");
        pack_u64(&rows, *records_of(c, i));
    }
    code =
        rows.failed ? shell_fail(EXIT_REFUSED, "out of memory") : print_maps(s, pack_value(&rows));
    pack_fini(&rows);
    return code;
}

int command_verify(struct shell *s, struct args *a) {
    struct content c;
    int code = args_done(a, 1, 1, "verify FILE");

    if (code != EXIT_OK)
        return code;
    content_init(&c, s);
    code = verify(&c, a->word[0]);
    if (code == EXIT_OK)
        code = print_content(&c);
    content_fini(&c);
    return code;
}

/* ---- restore ------------------------------------------------------------------------------ */

struct restoring {
    struct content content;
    struct loader loader;
    enum loader_mode mode;
    struct args tables; /* none: all */
    uint64_t now_ms;
    uint32_t made; /* tables that are wanted */
};

static bool is_chosen(const struct restoring *x, struct value name) {
    if (x->tables.count == 0)
        return true;
    for (int i = 0; i < x->tables.count; i++)
        if (value_is_string(name, x->tables.word[i]))
            return true;
    return false;
}

/* Every table that is named on the command line is in the file. */
static int check_chosen(struct restoring *x) {
    for (int i = 0; i < x->tables.count; i++) {
        bool there = false;

        for (uint32_t t = 0; t < x->content.tables && !there; t++)
            there = value_is_string(name_of(&x->content, t), x->tables.word[i]);
        if (!there)
            return shell_fail(EXIT_REFUSED, "the backup has no table %s; nothing was changed",
                              x->tables.word[i]);
    }
    return EXIT_OK;
}

/* A table that is only cleared must be able to take the records. */
static int see_fitting(void *context, const struct backup_item *item) {
    struct restoring *x = context;
    struct shell *s = x->content.shell;
    int code;

    if (item->kind != BACKUP_TABLE || !is_chosen(x, item->name))
        return EXIT_OK;
    pack_raw(shell_params(s, 1), item->name);
    code = shell_try(s, "table_info");
    if (code != EXIT_OK)
        return shell_refused_as(s, "no_table") ? EXIT_OK
               : s->last.refused               ? shell_refused(s)
                                               : code;
    if (!value_equal(shell_get(s->last.result, "attributes"),
                     shell_get(item->schema, "attributes")))
        return shell_fail(EXIT_REFUSED,
                          "a table that is there has other attributes than in the backup; "
                          "nothing was changed");
    return EXIT_OK;
}

static int restore_table(struct restoring *x, const struct backup_item *item) {
    bool wanted = is_chosen(x, item->name);
    uint8_t mark;
    int code = EXIT_OK;

    if (wanted)
        code = loader_table(&x->loader, item->name, item->schema, x->mode, &wanted);
    mark = wanted;
    x->made += wanted;
    if (code == EXIT_OK && !buffer_append(&x->content.wanted, &mark, 1))
        code = shell_fail(EXIT_REFUSED, "out of memory");
    return code;
}

static int restore_records(struct restoring *x, const struct backup_item *item) {
    struct value name = name_of(&x->content, item->table);
    const uint8_t *next = item->bytes.at;
    int code = EXIT_OK;

    for (uint32_t i = 0; i < item->count && code == EXIT_OK; i++) {
        uint64_t expiry_ms = 0;
        struct value record;

        if (item->kind == BACKUP_EXPIRING) {
            record = backup_expiring(&next, &expiry_ms);
            if (expiry_ms <= x->now_ms)
                continue; /* it has expired meanwhile */
            expiry_ms -= x->now_ms;
        } else {
            record = value_of(next);
            next = record.at + record.size_bytes;
        }
        code = loader_add(&x->loader, name, record, expiry_ms);
    }
    return code;
}

static int see_restore(void *context, const struct backup_item *item) {
    struct restoring *x = context;

    if (item->kind == BACKUP_TABLE)
        return restore_table(x, item);
    if ((item->kind == BACKUP_RECORDS || item->kind == BACKUP_EXPIRING) &&
        x->content.wanted.at[item->table] != 0)
        return restore_records(x, item);
    return EXIT_OK;
}

static int sync_tables(struct restoring *x) {
    int code = EXIT_OK;

    for (uint32_t i = 0; i < x->content.tables && code == EXIT_OK; i++)
        if (x->content.wanted.at[i] != 0)
            code = loader_sync(&x->loader, name_of(&x->content, i));
    return code;
}

static int restore(struct restoring *x, const char *path) {
    struct content second;
    struct timespec now;
    int code = verify(&x->content, path);

    if (code == EXIT_OK)
        code = check_chosen(x);
    content_init(&second, x->content.shell);
    if (code == EXIT_OK && x->mode == LOADER_CLEAR)
        code = read_backup(&second, path, see_fitting, x);
    clock_gettime(CLOCK_REALTIME, &now);
    x->now_ms = (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
    x->loader.all = x->tables.count == 0 ? x->content.count : 0;
    x->loader.start_ms = shell_now_ms();
    if (code == EXIT_OK)
        code = read_backup(&second, path, see_restore, x);
    if (code == EXIT_OK)
        code = loader_finish(&x->loader);
    if (code == EXIT_OK)
        code = sync_tables(x);
    content_fini(&second);
    return code;
}

int command_restore(struct shell *s, struct args *a) {
    struct restoring *x;
    const char *mode = NULL;
    enum loader_mode chosen;
    int code;

    (void) args_value(a, "--mode", &mode); /* NULL: not said */
    code = args_done(a, 1, INT_MAX, "restore FILE [TABLE ...] [--mode skip|replace|clear]");
    if (code == EXIT_OK)
        code = loader_mode_of(mode, &chosen);
    if (code != EXIT_OK)
        return code;
    x = alloc_zero(s->alloc, sizeof *x);
    if (x == NULL)
        return shell_fail(EXIT_REFUSED, "out of memory");
    x->mode = chosen;
    x->tables = (struct args){a->count - 1, a->word + 1};
    content_init(&x->content, s);
    loader_init(&x->loader, s, "restored");
    code = restore(x, a->word[0]);
    if (code == EXIT_OK)
        printf(s->output == OUTPUT_JSON ? "{\"tables\":%u,\"records\":%llu}\n"
                                        : "%u tables, %llu records restored\n",
               x->made, (unsigned long long) x->loader.written);
    loader_fini(&x->loader);
    content_fini(&x->content);
    alloc_put(s->alloc, x, sizeof *x);
    return code;
}
