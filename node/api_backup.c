/* api_backup.c -- one moment of tables, for a program: to a file, from a file, one by one. */
#include "engine/env.h"
#include "engine/runtime.h"
#include "node/api_private.h"
#include "node/file.h"
#include "tables/backup.h"

#include <string.h>

enum {
    NAMES_BYTES_MAX = 16 << 20,
    PIECE_BYTES_MAX = BACKUP_BLOCK_BYTES_MAX + (1 << 20),
    FOLD_SECTION_RECORDS = 1024, /* of one reading section */
    WRITE_RECORDS = 1000,
    WRITE_BYTES = 256 * 1024,
    ARRAY32_BYTES = 5,
};

/* ---- a moment ------------------------------------------------------------------------ */

/* The moment of `names`, or of all where it is of size 0. */
static eg_err take_moment(eg_node *n, struct value names, struct moment **out,
                          struct err_note *note) {
    eg_err err;
    struct node_thread *t = node_thread(n, &err);
    struct moment *m;
    struct message *message;
    eg_pid to;

    if (t == NULL)
        return err;
    reader_enter(&t->reader);
    err = moment_new(&m, n->catalog, names, note);
    reader_exit(&t->reader);
    if (err != EG_OK)
        return err;
    err = moment_message(m, n->catalog, &to, &message);
    if (err == EG_OK)
        err = api_call(n, to, message, NODE_CALL_LONG_MS, NULL, note);
    if (err != EG_OK)
        moment_unref(m);
    else
        *out = m;
    return err == EG_NOPROC ? EG_BUSY : err; /* the catalog's actor is just being replaced */
}

/* [name, ...] of a list that ends with NULL; nothing of no list. */
static eg_err pack_names(struct buffer *out, const char *const *tables) {
    struct value_writer w;
    uint32_t count = 0;
    size_t need = ARRAY32_BYTES;
    uint8_t *room;

    if (tables == NULL)
        return EG_OK;
    for (; tables[count] != NULL; count++)
        need += ARRAY32_BYTES + strlen(tables[count]);
    room = buffer_room(out, need);
    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, need);
    value_put_array(&w, count);
    for (uint32_t i = 0; i < count; i++)
        value_put_text(&w, tables[i]);
    out->size_bytes += w.need_bytes;
    return EG_OK;
}

/* ---- backup ----------------------------------------------------------------------------- */

static eg_err write_pieces(eg_node *n, struct backup_writer *w, struct file *f,
                           struct err_note *note) {
    eg_err err = EG_OK;
    struct node_thread *t = node_thread(n, &err);
    struct buffer piece;

    if (t == NULL)
        return err;
    buffer_init(&piece, alloc_system(), PIECE_BYTES_MAX);
    do {
        buffer_clear(&piece);
        reader_enter(&t->reader);
        err = backup_writer_next(w, &t->reader, &piece, NULL, NULL);
        reader_exit(&t->reader);
        if (err == EG_OK)
            err = file_write(f, piece.at, piece.size_bytes, note);
    } while (err == EG_OK && piece.size_bytes > 0);
    buffer_fini(&piece);
    return err;
}

static eg_err backup_to(eg_node *n, struct moment *m, struct file *f, uint64_t *records,
                        struct err_note *note) {
    struct backup_writer *w;
    eg_err err = backup_writer_open(&w, alloc_system(), m, n->name);

    if (err != EG_OK) {
        moment_unref(m);
        return err;
    }
    err = write_pieces(n, w, f, note);
    if (records != NULL)
        *records = backup_writer_records(w);
    backup_writer_close(w);
    return err;
}

eg_err eg_backup(eg_node *node, const char *path, const char *const *tables, uint64_t *records,
                 eg_note *note) {
    struct err_note why = {""};
    struct buffer names;
    struct file f;
    struct moment *m;
    eg_err err;

    if (node == NULL || path == NULL)
        return EG_BAD_REQUEST;
    buffer_init(&names, alloc_system(), NAMES_BYTES_MAX);
    err = pack_names(&names, tables);
    if (err == EG_OK)
        err = file_create(&f, path, &why);
    if (err == EG_OK) {
        err = take_moment(node, (struct value){names.at, (uint32_t) names.size_bytes}, &m, &why);
        if (err == EG_OK)
            err = backup_to(node, m, &f, records, &why);
        if (err == EG_OK)
            err = file_commit(&f, &why);
        else
            file_abandon(&f);
    }
    buffer_fini(&names);
    api_copy_note(note, &why);
    return err;
}

/* ---- fold --------------------------------------------------------------------------------- */

/* Up to a section's worth of records; *go false: it is over. */
static eg_err fold_some(struct moment *m, struct reader *r,
                        bool (*see)(void *context, eg_span record), void *context, bool *go) {
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < FOLD_SECTION_RECORDS && *go && err == EG_OK; i++) {
        const struct record *rec;
        uint32_t table;

        err = moment_next(m, r, &table, &rec);
        if (err != EG_OK)
            break;
        *go = rec != NULL && see(context, (eg_span){record_array(rec), record_array_bytes(rec)});
    }
    return err;
}

eg_err eg_fold_snapshot(eg_table *table, bool (*see)(void *context, eg_span record),
                        void *context) {
    const char *names[2] = {NULL, NULL};
    struct err_note note = {""};
    struct settle settle;
    struct node_thread *t;
    struct buffer packed;
    struct moment *m;
    bool go = true;
    eg_err err;

    if (table == NULL || see == NULL)
        return EG_BAD_REQUEST;
    t = node_thread(table->node, &err);
    if (t == NULL)
        return err;
    names[0] = table_name(table->table)->text;
    reader_enter(&t->reader);
    api_settle_begin(&settle, api_table(table));
    reader_exit(&t->reader);
    buffer_init(&packed, alloc_system(), NAMES_BYTES_MAX);
    err = table_dropped(table->table) ? EG_NO_TABLE : pack_names(&packed, names);
    if (err == EG_OK)
        err = take_moment(table->node, (struct value){packed.at, (uint32_t) packed.size_bytes}, &m,
                          &note);
    buffer_fini(&packed);
    if (err != EG_OK)
        return err;
    err = api_settle(table, t, &settle);
    while (go && err == EG_OK) { /* between sections what was freed meanwhile can go */
        reader_enter(&t->reader);
        err = fold_some(m, &t->reader, see, context, &go);
        reader_exit(&t->reader);
    }
    moment_unref(m);
    return err;
}

/* ---- restore ------------------------------------------------------------------------------- */

struct restoring {
    struct backup_source source;
    struct file file;
    eg_node *node;
    const char *const *tables; /* NULL: all */
    eg_restore_mode mode;
    uint32_t found; /* of `tables`, in the file */
    uint64_t now_ms;
    uint64_t records;
    struct buffer handles; /* eg_table * of each table, NULL: not wanted */
    struct buffer batch;   /* an array of records of one table           */
    uint32_t batch_records, batch_table;
    eg_note note;
};

static eg_err read_source(struct backup_source *s, void *at, size_t size_bytes, size_t *got,
                          struct err_note *note) {
    return file_read(&EG_CONTAINER_OF(s, struct restoring, source)->file, at, size_bytes, got,
                     note);
}

/* Go over the whole file. */
static eg_err read_backup(struct restoring *x, const char *path,
                          eg_err (*see)(struct restoring *x, const struct backup_item *item),
                          struct err_note *note) {
    struct backup_reader *r;
    struct backup_item item;
    eg_err err = file_open(&x->file, path, note);

    if (err != EG_OK)
        return err;
    x->source.read = read_source;
    err = backup_reader_open(&r, alloc_system(), &x->source);
    if (err == EG_OK) {
        while (err == EG_OK && (err = backup_reader_next(r, &item, note)) == EG_OK)
            err = see(x, &item);
        backup_reader_close(r);
    }
    file_close(&x->file);
    return err == EG_NOT_FOUND ? EG_OK : err;
}

static bool is_wanted(const struct restoring *x, const char *name) {
    if (x->tables == NULL)
        return true;
    for (uint32_t i = 0; x->tables[i] != NULL; i++)
        if (strcmp(x->tables[i], name) == 0)
            return true;
    return false;
}

static eg_table **handle_at(struct restoring *x, uint32_t table) {
    return (eg_table **) (void *) x->handles.at + table;
}

eg_err api_sync_table(eg_node *n, const struct schema_name *name) {
    struct catalog_request q = {.op = CATALOG_SYNC,
                                .name = {(const uint8_t *) name->text, name->size_bytes}};
    struct err_note note = {""};
    struct message *m;
    eg_pid to;
    eg_err err = catalog_message(n->catalog, &q, &to, &m);

    return err != EG_OK ? err : api_call(n, to, m, NODE_CALL_LONG_MS, NULL, &note);
}

/* Everything of the table that was changed is on disc. */
static eg_err sync_table(eg_table *t) {
    return api_sync_table(t->node, table_name(t->table));
}

static eg_err make_table(struct restoring *x, const char *name, struct value options,
                         eg_table **out) {
    eg_span span = {options.at, options.size_bytes};
    eg_err err = eg_create_table(x->node, name, &span, &x->note);

    if (err == EG_EXISTS && x->mode == EG_RESTORE_SKIP)
        return EG_OK;
    if (err == EG_EXISTS && x->mode == EG_RESTORE_CLEAR) {
        err = eg_clear_table(x->node, name);
    } else if (err == EG_EXISTS) {
        err = eg_drop_table(x->node, name);
        if (err == EG_OK)
            err = eg_create_table(x->node, name, &span, &x->note);
    }
    return err == EG_OK ? eg_table_open(x->node, name, out) : err;
}

static eg_err restore_table(struct restoring *x, const struct backup_item *item) {
    char name[SCHEMA_NAME_MAX + 1] = "";
    eg_table *handle = NULL;
    const uint8_t *at;
    uint32_t size_bytes;
    eg_err err = EG_OK;

    EG_ASSERT(value_get_bytes(item->name, &at, &size_bytes)); /* the reader has seen a name */
    EG_ASSERT(size_bytes <= SCHEMA_NAME_MAX);
    memcpy(name, at, size_bytes);
    if (is_wanted(x, name))
        err = make_table(x, name, item->schema, &handle);
    if (err == EG_OK && !buffer_append(&x->handles, &handle, sizeof handle)) {
        eg_table_close(handle);
        err = EG_MEMORY;
    }
    return err;
}

/* Write what was collected.  A disc that is behind is waited for. */
static eg_err write_batch(struct restoring *x) {
    eg_table *t;
    eg_span all = {x->batch.at, x->batch.size_bytes};
    uint64_t written;
    eg_err err;

    if (x->batch_records == 0)
        return EG_OK;
    t = *handle_at(x, x->batch_table);
    x->batch.at[0] = 0xdd; /* array 32 */
    for (int i = 0; i < 4; i++)
        x->batch.at[1 + i] = (uint8_t) (x->batch_records >> (24 - 8 * i));
    err = eg_write_many(t, all, &written);
    if (err == EG_BUSY) {
        err = sync_table(t);
        if (err == EG_OK)
            err = eg_write_many(t, all, &written);
    }
    x->records += x->batch_records;
    x->batch_records = 0;
    return err;
}

static eg_err add_record(struct restoring *x, uint32_t table, struct value record) {
    eg_err err = EG_OK;

    if (x->batch_records > 0 && (x->batch_table != table || x->batch_records == WRITE_RECORDS ||
                                 x->batch.size_bytes + record.size_bytes > WRITE_BYTES))
        err = write_batch(x);
    if (err != EG_OK)
        return err;
    if (x->batch_records == 0) {
        buffer_clear(&x->batch);
        if (buffer_room(&x->batch, ARRAY32_BYTES) == NULL)
            return EG_MEMORY;
        x->batch.size_bytes = ARRAY32_BYTES;
        x->batch_table = table;
    }
    if (!buffer_append(&x->batch, record.at, record.size_bytes))
        return EG_MEMORY;
    x->batch_records++;
    return EG_OK;
}

static eg_err add_expiring(struct restoring *x, eg_table *t, struct value record,
                           uint64_t expiry_ms) {
    eg_span span = {record.at, record.size_bytes};
    eg_err err;

    if (expiry_ms <= x->now_ms)
        return EG_OK; /* it has expired meanwhile */
    err = eg_write_ttl(t, span, expiry_ms - x->now_ms);
    if (err == EG_BUSY) {
        err = sync_table(t);
        if (err == EG_OK)
            err = eg_write_ttl(t, span, expiry_ms - x->now_ms);
    }
    x->records += err == EG_OK;
    return err;
}

static eg_err restore_records(struct restoring *x, const struct backup_item *item) {
    eg_table *t = *handle_at(x, item->table);
    const uint8_t *next = item->bytes.at;
    eg_err err = EG_OK;

    for (uint32_t i = 0; t != NULL && i < item->count && err == EG_OK; i++) {
        uint64_t expiry_ms;
        struct value record;

        if (item->kind == BACKUP_EXPIRING) {
            record = backup_expiring(&next, &expiry_ms);
            err = add_expiring(x, t, record, expiry_ms);
        } else {
            record = value_of(next);
            next = record.at + record.size_bytes;
            err = add_record(x, item->table, record);
        }
    }
    return err;
}

static eg_err see_restore(struct restoring *x, const struct backup_item *item) {
    switch (item->kind) {
    case BACKUP_TABLE:
        return restore_table(x, item);
    case BACKUP_RECORDS:
    case BACKUP_EXPIRING:
        return restore_records(x, item);
    default:
        return EG_OK;
    }
}

static eg_err sync_all(struct restoring *x) {
    size_t count = x->handles.size_bytes / sizeof(eg_table *);
    eg_err err = write_batch(x);

    for (uint32_t i = 0; i < count && err == EG_OK; i++)
        if (*handle_at(x, i) != NULL)
            err = sync_table(*handle_at(x, i));
    return err;
}

static eg_err see_names(struct restoring *x, const struct backup_item *item) {
    for (uint32_t i = 0; x->tables != NULL && x->tables[i] != NULL; i++)
        x->found += item->kind == BACKUP_TABLE && value_is_string(item->name, x->tables[i]);
    return EG_OK;
}

/* The file is whole, and has every table that is named. */
static eg_err check_file(struct restoring *x, const char *path, struct err_note *note) {
    uint32_t wanted = 0;
    eg_err err = read_backup(x, path, see_names, note);

    while (x->tables != NULL && x->tables[wanted] != NULL)
        wanted++;
    if (err == EG_OK && x->found < wanted)
        return err_note(note, EG_NO_TABLE, "the backup has not all of these tables");
    return err;
}

eg_err eg_verify(const char *path, eg_note *note) {
    struct restoring x = {.node = NULL};
    struct err_note why = {""};
    eg_err err;

    if (path == NULL)
        return EG_BAD_REQUEST;
    err = check_file(&x, path, &why);
    api_copy_note(note, &why);
    return err;
}

eg_err eg_restore(eg_node *node, const char *path, const char *const *tables, eg_restore_mode mode,
                  uint64_t *records, eg_note *note) {
    struct restoring x = {.node = node, .tables = tables, .mode = mode};
    struct err_note why = {""};
    eg_err err;

    if (node == NULL || path == NULL || (unsigned) mode > EG_RESTORE_CLEAR)
        return EG_BAD_REQUEST;
    err = check_file(&x, path, &why);
    if (err != EG_OK) {
        api_copy_note(note, &why);
        return err;
    }
    x.now_ms = (uint64_t) env_wall_ms(runtime_env(node->runtime));
    buffer_init(&x.handles, alloc_system(), SIZE_MAX);
    buffer_init(&x.batch, alloc_system(), RECORD_SIZE_MAX + WRITE_BYTES + ARRAY32_BYTES);
    err = read_backup(&x, path, see_restore, &why);
    if (err == EG_OK)
        err = sync_all(&x);
    for (uint32_t i = 0; i < x.handles.size_bytes / sizeof(eg_table *); i++)
        eg_table_close(*handle_at(&x, i));
    buffer_fini(&x.handles);
    buffer_fini(&x.batch);
    if (records != NULL)
        *records = x.records;
    if (why.text[0] != '\0' || note == NULL)
        api_copy_note(note, &why);
    else
        *note = x.note;
    return err;
}
