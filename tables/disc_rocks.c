/* disc_rocks.c -- disc.h on RocksDB: the database and its tables.
 *
 * One column family a table ("t:NAME"), and "default" for the meta table (schemas).
 * The directory around it is disc_directory_rocks.c's.
 *
 * Create makes the family first and stores the schema second; drop removes the
 * schema first and the family second, both durably.  So a kill between the two
 * leaves a family without a schema, which open removes, and a schema without a
 * family is damage.  A table that is to take another's place has no schema either until
 * one batch puts its own and removes the other's.
 *
 * Log replay tolerates only a torn tail (kTolerateCorruptedTailRecords): that is
 * what a kill leaves.  The default would stop at any damage and silently drop
 * everything after it, fsynced or not.  Checksums of blocks and log are verified. */
#include "tables/disc_rocks_private.h"

#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    CACHE_BYTES = 32 << 20,    /* RAM tables never come back to the disc, so the cache
                                  serves disc_only tables and compaction              */
    BLOCK_BYTES = 16 << 10,    /* fewer index entries; start reads everything in order */
    BUFFER_BYTES = 32 << 20,   /* one table's memtable: a kill replays at most a few   */
    BUFFERS_BYTES = 96 << 20,  /* of all tables together                               */
    ARENA_BYTES = 256 << 10,   /* a memtable's step, so that small tables stay small   */
    LOG_BYTES = 64 << 20,      /* of write-ahead log: bounds the replay after a kill   */
    FILES_MAX = 512,           /* open at once                                         */
    INFO_LOG_BYTES = 1 << 20,  /* RocksDB's diary: warnings only, two files            */
    SYNC_STEP_BYTES = 1 << 20, /* write back steadily, so that fsync has little left  */
    RESERVE_BYTES = 64 << 20,  /* kept free: a flush of the buffers must still fit ... */
    RESERVE_FRACTION = 16,     /* ... but never more than this part of a small disc    */
    RESERVE_LAST = 4,          /* of the reserve, this part is RocksDB's own           */
    FAMILY_NAME_BYTES = DISC_NAME_BYTES_MAX + 3,
};

#define FAMILY_PREFIX "t:"

/* ---- what RocksDB says -------------------------------------------------- */

enum rocks_failure rocks_failure(char *text, struct err_note *note, const char *doing) {
    enum rocks_failure failure = ROCKS_OTHER;

    if (strstr(text, "No space left") != NULL || strstr(text, "NoSpace") != NULL ||
        strstr(text, "Space limit") != NULL)
        failure = ROCKS_FULL;
    else if (strncmp(text, "Corruption", 10) == 0)
        failure = ROCKS_CORRUPT;
    else if (strstr(text, "Write stall") != NULL)
        failure = ROCKS_BUSY;
    err_note(note, EG_DISC, "%s: %s", doing, text); /* the note is the result */
    rocksdb_free(text);
    return failure;
}

enum disc_state rocks_room(const struct disc_rocks *d) {
    uint64_t reserve_bytes, free_bytes;
    struct statvfs fs;

    if (statvfs(d->path, &fs) != 0)
        return DISC_OPEN; /* let the write itself find out */
    reserve_bytes = (uint64_t) fs.f_blocks * fs.f_frsize / RESERVE_FRACTION;
    reserve_bytes = EG_MIN(reserve_bytes, d->reserve_bytes);
    free_bytes = (uint64_t) fs.f_bavail * fs.f_frsize;
    if (EG_LIKELY(free_bytes > reserve_bytes))
        return DISC_OPEN;
    return free_bytes > reserve_bytes / RESERVE_LAST ? DISC_FULL : DISC_SPENT;
}

/* ---- tables ------------------------------------------------------------- */

/* Not yet in the list: the others may see it once it has its family. */
static struct disc_table *table_new(struct disc_rocks *d, const char *name) {
    struct disc_table *t = alloc_zero(d->alloc, sizeof *t);

    if (t == NULL)
        return NULL;
    t->disc = d;
    memcpy(t->name, name, strlen(name)); /* checked: at most DISC_NAME_BYTES_MAX */
    return t;
}

static void table_link(struct disc_rocks *d, struct disc_table *t) {
    t->next = d->tables;
    d->tables = t;
}

static void table_unlink(struct disc_rocks *d, struct disc_table *t) {
    struct disc_table **at = &d->tables;

    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
}

static void table_free(struct disc_rocks *d, struct disc_table *t) {
    if (t->family != NULL)
        rocksdb_column_family_handle_destroy(t->family);
    alloc_put(d->alloc, t, sizeof *t);
}

static struct disc_table *table_find(struct disc_rocks *d, const char *name) {
    struct disc_table *t;

    for (t = d->tables; t != NULL; t = t->next)
        if (!t->dropped && strcmp(t->name, name) == 0)
            return t;
    return NULL;
}

/* Write the meta table's few rows to a file now: in memory they would hold back
 * the log they are in, and a start would replay it up to LOG_BYTES. */
static void meta_flush(struct disc_rocks *d) {
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    char *text = NULL;

    rocksdb_flush_cf(d->db, options, d->meta.family, &text);
    rocksdb_flushoptions_destroy(options);
    if (text != NULL)
        rocksdb_free(text); /* the rows are in the log: nothing is lost */
}

/* The family is there; now its schema makes it a table. */
static char *schema_put(struct disc_rocks *d, const char *name, struct disc_bytes schema) {
    char buffer[DISC_NAME_BYTES_MAX + 2];
    struct disc_bytes key;
    char *text = NULL;

    EG_ASSERT(disc_schema_key(buffer, sizeof buffer, name, &key) == EG_OK);
    rocksdb_put_cf(d->db, d->sync_options, d->meta.family, (const char *) key.at, key.size_bytes,
                   (const char *) schema.at, schema.size_bytes, &text);
    return text;
}

/* Make the family and store the schema.  NULL, or what RocksDB says: then there is
 * no family, or one without a schema, which open() removes. */
static char *family_make(struct disc_rocks *d, struct disc_table *t, struct disc_bytes schema) {
    char name[FAMILY_NAME_BYTES];
    char *text = NULL, *ignored = NULL;
    rocksdb_column_family_handle_t *family;

    snprintf(name, sizeof name, FAMILY_PREFIX "%s", t->name);
    family = rocksdb_create_column_family(d->db, d->options, name, &text);
    if (text != NULL)
        return text;
    t->family = family;
    if (schema.size_bytes == 0)
        return NULL; /* a batch will put it */
    text = schema_put(d, t->name, schema);
    if (text != NULL)
        rocksdb_drop_column_family(d->db, t->family, &ignored);
    if (ignored != NULL)
        rocksdb_free(ignored);
    return text;
}

eg_err rocks_table_create(struct disc_rocks *d, struct disc_request *q, struct err_note *note,
                          enum rocks_failure *failure) {
    struct disc_table *t;
    bool exists;
    char *text;

    if (q->name[0] == '\0' || strlen(q->name) > DISC_NAME_BYTES_MAX)
        return EG_BAD_REQUEST;
    pthread_mutex_lock(&d->lock);
    exists = table_find(d, q->name) != NULL;
    pthread_mutex_unlock(&d->lock);
    if (exists) /* and it stays so: only this thread adds tables */
        return EG_EXISTS;
    t = table_new(d, q->name);
    if (t == NULL)
        return EG_MEMORY;
    text = family_make(d, t, q->schema);
    if (text != NULL) {
        *failure = rocks_failure(text, note, "create table");
        table_free(d, t);
        return EG_DISC;
    }
    meta_flush(d);
    pthread_mutex_lock(&d->lock);
    table_link(d, t);
    pthread_mutex_unlock(&d->lock);
    q->table = t;
    return EG_OK;
}

eg_err rocks_table_drop(struct disc_rocks *d, struct disc_table *t, struct err_note *note,
                        enum rocks_failure *failure) {
    char buffer[DISC_NAME_BYTES_MAX + 2];
    struct disc_bytes key;
    char *text = NULL;

    EG_ASSERT(!t->dropped && t != &d->meta);
    EG_ASSERT(disc_schema_key(buffer, sizeof buffer, t->name, &key) == EG_OK);
    rocksdb_delete_cf(d->db, d->sync_options, d->meta.family, (const char *) key.at, key.size_bytes,
                      &text);
    if (text == NULL) {
        pthread_mutex_lock(&d->lock);
        t->dropped = true;
        pthread_mutex_unlock(&d->lock);
        rocksdb_drop_column_family(d->db, t->family, &text);
    }
    if (text == NULL) {
        meta_flush(d); /* so that the log it was in need not stay */
        return EG_OK;
    }
    *failure = rocks_failure(text, note, "drop table");
    return EG_DISC;
}

static void rocks_forget(struct disc *base, struct disc_table *t) {
    struct disc_rocks *d = rocks_of(base);

    EG_ASSERT(t->dropped);
    pthread_mutex_lock(&d->lock);
    table_unlink(d, t);
    pthread_mutex_unlock(&d->lock);
    table_free(d, t);
}

static eg_err rocks_tables(struct disc *base, disc_table_fn fn, void *ctx) {
    static const uint8_t from[] = {DISC_META_SCHEMA}, to[] = {DISC_META_SCHEMA + 1};
    const struct disc_range schemas = {{from, 1}, {to, 1}, false};
    struct disc_rocks *d = rocks_of(base);
    struct disc_iter *it;
    eg_err err = rocks_iter_open(base, &d->meta, &schemas, &it);

    if (err != EG_OK)
        return err;
    for (it->ops->seek(it, schemas.from); it->valid; it->ops->next(it)) {
        char name[DISC_NAME_BYTES_MAX + 1];
        struct disc_table *t;

        EG_ASSERT(it->key.size_bytes - 1 < sizeof name); /* open() checked them */
        memcpy(name, it->key.at + 1, it->key.size_bytes - 1);
        name[it->key.size_bytes - 1] = '\0';
        pthread_mutex_lock(&d->lock);
        t = table_find(d, name);
        pthread_mutex_unlock(&d->lock);
        if (t != NULL) /* else it was dropped since the iterator was opened */
            fn(ctx, name, t, it->value);
    }
    err = it->err;
    it->ops->close(it);
    return err;
}

static uint64_t property(struct disc_rocks *d, struct disc_table *t, const char *name) {
    uint64_t value = 0;
    /* 0 and -1 tell whether RocksDB knows the property; an unknown one counts nothing. */
    return rocksdb_property_int_cf(d->db, t->family, name, &value) == 0 ? value : 0;
}

static struct disc_stats rocks_stats(struct disc *base) {
    struct disc_rocks *d = rocks_of(base);
    struct disc_stats s = {
        .queued_bytes = d->queued_bytes,
        .queued_bytes_max = d->queued_bytes_max,
        .requests = d->requests,
        .writes = d->writes,
        .syncs = d->syncs,
        .written_bytes = d->written_bytes,
        .refused = d->refused,
        .background_errors = property(d, &d->meta, "rocksdb.background-errors"),
        .memory_bytes = rocksdb_cache_get_usage(d->cache),
    };
    struct disc_table *t;

    pthread_mutex_lock(&d->lock);
    for (t = d->tables; t != NULL; t = t->next) {
        s.table_bytes += property(d, t, "rocksdb.estimate-live-data-size");
        s.memory_bytes += property(d, t, "rocksdb.cur-size-all-mem-tables");
        s.memory_bytes += property(d, t, "rocksdb.estimate-table-readers-mem");
    }
    pthread_mutex_unlock(&d->lock);
    return s;
}

/* ---- opening the database ----------------------------------------------- */

/* Options that the C interface knows by text only. */
static rocksdb_options_t *options_from_text(const char *text) {
    rocksdb_options_t *defaults = rocksdb_options_create();
    rocksdb_options_t *options = rocksdb_options_create();
    char *refused = NULL;

    rocksdb_get_options_from_string(defaults, text, options, &refused);
    rocksdb_options_destroy(defaults);
    if (refused != NULL)
        rocksdb_free(refused); /* an older RocksDB: it goes without */
    return options;
}

static void options_make(struct disc_rocks *d, const struct disc_rocks_opts *o) {
    rocksdb_block_based_table_options_t *blocks = rocksdb_block_based_options_create();
    rocksdb_filterpolicy_t *bloom = rocksdb_filterpolicy_create_bloom_full(10);
    rocksdb_options_t *options;

    /* Remember how long each closed log was, so that one cut short is noticed. */
    d->options = options = options_from_text("track_and_verify_wals_in_manifest=true");

    d->cache = rocksdb_cache_create_lru(o->cache_bytes != 0 ? o->cache_bytes : CACHE_BYTES);
    rocksdb_block_based_options_set_block_cache(blocks, d->cache);
    rocksdb_block_based_options_set_block_size(blocks, BLOCK_BYTES);
    rocksdb_block_based_options_set_filter_policy(blocks, bloom); /* owned by the options */
    rocksdb_block_based_options_set_format_version(blocks, 5);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(blocks, 1); /* bounded so */
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(blocks, 1);
    rocksdb_options_set_block_based_table_factory(options, blocks);
    rocksdb_block_based_options_destroy(blocks);

    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_paranoid_checks(options, 1);
    rocksdb_options_set_wal_recovery_mode(options, 0); /* kTolerateCorruptedTailRecords */
    rocksdb_options_set_write_buffer_size(options, BUFFER_BYTES);
    rocksdb_options_set_db_write_buffer_size(options, BUFFERS_BYTES);
    rocksdb_options_set_arena_block_size(options, ARENA_BYTES);
    rocksdb_options_set_max_total_wal_size(options, LOG_BYTES);
    rocksdb_options_set_max_open_files(options, FILES_MAX);
    rocksdb_options_set_skip_stats_update_on_db_open(options, 1); /* start is not slowed */
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    rocksdb_options_set_bytes_per_sync(options, SYNC_STEP_BYTES);
    rocksdb_options_set_wal_bytes_per_sync(options, SYNC_STEP_BYTES);
    rocksdb_options_set_max_background_jobs(options, 2); /* schedulers need the cores */
    rocksdb_options_set_info_log_level(options, 2);      /* warnings */
    rocksdb_options_set_max_log_file_size(options, INFO_LOG_BYTES);
    rocksdb_options_set_keep_log_file_num(options, 2);
    rocksdb_options_set_stats_dump_period_sec(options, 0);
    rocksdb_options_set_stats_persist_period_sec(options, 0);

    d->read_options = rocksdb_readoptions_create();
    d->write_options = rocksdb_writeoptions_create();
    d->sync_options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(d->sync_options, 1);
    d->hasty_options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_no_slowdown(d->hasty_options, 1);
}

static void options_free(struct disc_rocks *d) {
    rocksdb_writeoptions_destroy(d->hasty_options);
    rocksdb_writeoptions_destroy(d->sync_options);
    rocksdb_writeoptions_destroy(d->write_options);
    rocksdb_readoptions_destroy(d->read_options);
    rocksdb_options_destroy(d->options);
    rocksdb_cache_destroy(d->cache);
}

static eg_err open_failed(struct disc_rocks *d, char *text, struct err_note *note) {
    enum rocks_failure failure = rocks_failure(text, note, d->path);

    if (failure == ROCKS_FULL)
        return EG_DISC;
    /* At open an I/O error names a file that is missing, short or unreadable. */
    err_note_prefix(note, "the data directory is damaged");
    return EG_CORRUPT;
}

/* Open RocksDB with the families it has, and give each a table. */
static eg_err database_open(struct disc_rocks *d, bool used, struct err_note *note) {
    char *only_default[] = {(char *) "default"};
    char **names = only_default, **listed = NULL;
    rocksdb_column_family_handle_t **families = NULL;
    const rocksdb_options_t **options = NULL;
    size_t count = 1;
    char *text = NULL;
    eg_err err = EG_OK;

    if (used) {
        names = listed = rocksdb_list_column_families(d->options, d->path, &count, &text);
        if (text != NULL)
            return open_failed(d, text, note);
    }
    families = alloc_zero(d->alloc, count * sizeof *families);
    options = alloc_zero(d->alloc, count * sizeof *options);
    if (families == NULL || options == NULL) {
        err = EG_MEMORY;
        goto put_arrays;
    }
    for (size_t i = 0; i < count; i++)
        options[i] = d->options;
    d->db = rocksdb_open_column_families(d->options, d->path, (int) count,
                                         (const char *const *) names, options, families, &text);
    if (text != NULL) {
        err = open_failed(d, text, note);
        goto put_arrays;
    }
    for (size_t i = 0; i < count; i++) {
        const char *name = names[i] + strlen(FAMILY_PREFIX);
        struct disc_table *t;

        if (strcmp(names[i], "default") == 0) {
            d->meta = (struct disc_table){.disc = d, .family = families[i]};
        } else if (strncmp(names[i], FAMILY_PREFIX, strlen(FAMILY_PREFIX)) == 0 &&
                   strlen(name) <= DISC_NAME_BYTES_MAX && err == EG_OK &&
                   (t = table_new(d, name)) != NULL) {
            t->family = families[i];
            table_link(d, t);
        } else {
            rocksdb_column_family_handle_destroy(families[i]);
            err = EG_MEMORY;
        }
    }
put_arrays:
    alloc_put(d->alloc, options, count * sizeof *options);
    alloc_put(d->alloc, families, count * sizeof *families);
    if (listed != NULL)
        rocksdb_list_column_families_destroy(listed, count);
    return err;
}

static void database_close(struct disc_rocks *d) {
    while (d->tables != NULL) {
        struct disc_table *t = d->tables;
        d->tables = t->next;
        table_free(d, t);
    }
    if (d->meta.family != NULL)
        rocksdb_column_family_handle_destroy(d->meta.family);
    if (d->db != NULL)
        rocksdb_close(d->db);
    options_free(d);
}

/* Every schema must have its family; a family without a schema is a create or a
 * drop that a kill cut short, and goes. */
static eg_err tables_repair(struct disc_rocks *d, struct err_note *note) {
    static const uint8_t from[] = {DISC_META_SCHEMA}, to[] = {DISC_META_SCHEMA + 1};
    const struct disc_range schemas = {{from, 1}, {to, 1}, false};
    struct disc_table *t, *next;
    struct disc_iter *it;
    eg_err err = rocks_iter_open(&d->base, &d->meta, &schemas, &it);

    if (err != EG_OK)
        return err;
    for (it->ops->seek(it, schemas.from); it->valid && err == EG_OK; it->ops->next(it)) {
        char name[DISC_NAME_BYTES_MAX + 1] = "";
        size_t name_bytes = it->key.size_bytes - 1;

        if (name_bytes <= DISC_NAME_BYTES_MAX)
            memcpy(name, it->key.at + 1, name_bytes);
        t = name[0] == '\0' ? NULL : table_find(d, name);
        if (t == NULL)
            err =
                err_note(note, EG_CORRUPT, "%s: table %s has a schema but no rows", d->path, name);
        else
            t->has_schema = true;
    }
    if (err == EG_OK && it->err != EG_OK)
        err = err_note(note, it->err, "%s: schemas cannot be read", d->path);
    it->ops->close(it);

    for (t = d->tables; t != NULL && err == EG_OK; t = next) {
        char *text = NULL;
        next = t->next;
        if (t->has_schema)
            continue;
        rocksdb_drop_column_family(d->db, t->family, &text);
        if (text != NULL) {
            err = open_failed(d, text, note);
        } else {
            table_unlink(d, t);
            table_free(d, t);
        }
    }
    return err;
}

/* The steps of open that need the lock; on an error nothing of them stays. */
static eg_err directory_open(struct disc_rocks *d, const struct disc_rocks_opts *o,
                             struct err_note *note) {
    bool formatted, made;
    eg_err err = directory_format_read(d, o->directory, &formatted, note);

    if (err != EG_OK)
        return err;
    directory_path(d, o->directory, "/db/CURRENT");
    made = access(d->path, F_OK) == 0;
    if (formatted && !made)
        return err_note(note, EG_CORRUPT, "the data directory is damaged: %s is missing", d->path);
    directory_path(d, o->directory, "/db");
    if (formatted && !directory_has_log(d->path))
        return err_note(note, EG_CORRUPT, "the data directory is damaged: %s has no log", d->path);

    options_make(d, o);
    err = database_open(d, made, note);
    if (err == EG_OK)
        err = tables_repair(d, note);
    if (err == EG_OK && !formatted)
        err = directory_format_write(o->directory, note);
    if (err == EG_OK)
        err = rocks_writer_start(d);
    if (err != EG_OK)
        database_close(d);
    return err;
}

/* An orderly stop makes `async` writes durable too, and leaves no log to replay. */
static void buffers_flush(struct disc_rocks *d) {
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    struct disc_table *t;
    char *text = NULL;

    rocksdb_flush_wal(d->db, 1, &text);
    for (t = d->tables; t != NULL && text == NULL; t = t->next)
        if (!t->dropped)
            rocksdb_flush_cf(d->db, options, t->family, &text);
    rocksdb_flushoptions_destroy(options);
    if (text != NULL)
        rocksdb_free(text); /* `async` promised the log file, and there they are */
    else
        meta_flush(d);
}

static void rocks_close(struct disc *base) {
    struct disc_rocks *d = rocks_of(base);

    rocks_writer_stop(d);
    if (d->state == DISC_OPEN)
        buffers_flush(d);
    rocksdb_cancel_all_background_work(d->db, 1);
    database_close(d);
    close(d->lock_fd);
    alloc_put(d->alloc, d->path, d->path_bytes);
    alloc_put(d->alloc, d, sizeof *d);
}
static const struct disc_ops rocks_ops = {
    .submit = rocks_submit,
    .write = rocks_write,
    .get = rocks_get,
    .release = rocks_release,
    .iter_open = rocks_iter_open,
    .tables = rocks_tables,
    .forget = rocks_forget,
    .health = rocks_health,
    .yields = rocks_yields,
    .stats = rocks_stats,
    .close = rocks_close,
};

eg_err disc_rocks_open(struct disc **out, const struct disc_rocks_opts *o, struct err_note *note) {
    struct disc_rocks *d;
    eg_err err = directory_enter(o->directory, note);

    if (err != EG_OK)
        return err;
    d = alloc_zero(o->alloc, sizeof *d);
    if (d == NULL)
        return err_note(note, EG_MEMORY, "no memory to open %s", o->directory);
    d->base.ops = &rocks_ops;
    d->base.meta = &d->meta;
    d->alloc = o->alloc;
    d->reserve_bytes = o->reserve_bytes != 0 ? o->reserve_bytes : RESERVE_BYTES;
    d->path_bytes = strlen(o->directory) + sizeof "/db/CURRENT";
    d->path = alloc_get(o->alloc, d->path_bytes);
    if (d->path == NULL) {
        err = err_note(note, EG_MEMORY, "no memory to open %s", o->directory);
        goto put_disc;
    }
    err = directory_lock(d, o->directory, note);
    if (err != EG_OK)
        goto put_path;
    err = directory_open(d, o, note);
    if (err != EG_OK)
        goto unlock;
    *out = &d->base;
    return EG_OK;

unlock:
    close(d->lock_fd);
put_path:
    alloc_put(o->alloc, d->path, d->path_bytes);
put_disc:
    alloc_put(o->alloc, d, sizeof *d);
    return err;
}
