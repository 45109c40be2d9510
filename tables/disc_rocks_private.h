/* disc_rocks_private.h -- what the RocksDB side of disc.h shares between its files.
 *
 *     disc_rocks.c             options, open and close, tables
 *     disc_directory_rocks.c   the data directory: lock, format, what must be there
 *     disc_writer_rocks.c      the queue, the writer's thread, group commit, faults
 *     disc_read_rocks.c        look-ups and iterators
 */
#ifndef TABLES_DISC_ROCKS_PRIVATE_H
#define TABLES_DISC_ROCKS_PRIVATE_H

#include "tables/disc.h"

#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>

struct disc_table {
    struct disc_rocks *disc;
    rocksdb_column_family_handle_t *family;
    struct disc_table *next; /* in the disc's list; under its lock */
    bool dropped;
    bool has_schema;                    /* found at open */
    char name[DISC_NAME_BYTES_MAX + 1]; /* "" for the meta table */
};

enum disc_state {
    DISC_OPEN,   /* writes are taken                                        */
    DISC_FULL,   /* only the reserve is left: for `reserved` requests       */
    DISC_SPENT,  /* no room at all: refused until there is                  */
    DISC_FAILED, /* a write or fsync failed: refused until the node restarts */
};

/* How deep the writer sleeps: who must wake it? */
enum disc_sleep {
    DISC_AWAKE,   /* nobody                    */
    DISC_NAPPING, /* who waits for the answer  */
    DISC_ASLEEP,  /* everybody                 */
};

struct disc_rocks {
    struct disc base;
    struct alloc *alloc;
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *read_options;
    rocksdb_writeoptions_t *write_options; /* the writer's, without fsync   */
    rocksdb_writeoptions_t *sync_options;  /* the writer's, with            */
    rocksdb_writeoptions_t *hasty_options; /* disc_write(): refuses to stall */
    struct disc_table meta;
    struct disc_table *tables; /* live and dropped, under lock */
    int lock_fd;
    uint64_t reserve_bytes;
    char *path; /* of the RocksDB files */
    size_t path_bytes;

    /* The writer. */
    pthread_t thread;
    pthread_mutex_t lock; /* of `tables`, `note` and the sleep below */
    pthread_cond_t wake;
    bool stop; /* under lock */
    rocksdb_writebatch_t *group;
    struct err_note note; /* why writes are refused; under lock */
    _Atomic int state;    /* enum disc_state; the note is written before it */

    /* Submitters and the writer share these: on no line with the above. */
    uint8_t apart[EG_CACHE_LINE];
    _Atomic(struct disc_request *) inbox; /* newest first */
    _Atomic uint64_t queued_bytes;
    _Atomic int sleep; /* enum disc_sleep; the writer sets it, who wakes it clears it */

    /* Counted by the writer (refused: by anyone). */
    _Atomic uint64_t queued_bytes_max;
    _Atomic uint64_t requests;
    _Atomic uint64_t writes;
    _Atomic uint64_t syncs;
    _Atomic uint64_t written_bytes;
    _Atomic uint64_t refused;
};

static inline struct disc_rocks *rocks_of(struct disc *d) {
    return EG_CONTAINER_OF(d, struct disc_rocks, base);
}

/* RocksDB says what went wrong only in words, so this one function reads them.
 * Frees `text`.  Writes "DOING: TEXT" into the note. */
enum rocks_failure { ROCKS_FULL, ROCKS_BUSY, ROCKS_CORRUPT, ROCKS_OTHER };
enum rocks_failure rocks_failure(char *text, struct err_note *note, const char *doing);

/* The data directory; each says in the note what is wrong with which path. */
eg_err directory_enter(const char *path, struct err_note *note); /* make it if need be */
/* One buffer serves all paths; after open it holds that of the database. */
void directory_path(struct disc_rocks *d, const char *directory, const char *leaf);
/* Take DIRECTORY/lock, which the kernel gives back however the process ends. */
eg_err directory_lock(struct disc_rocks *d, const char *directory, struct err_note *note);
/* *used: a database was made here once. */
eg_err directory_format_read(struct disc_rocks *d, const char *directory, bool *used,
                             struct err_note *note);
eg_err directory_format_write(const char *directory, struct err_note *note);
/* Is there a write-ahead log?  RocksDB always keeps one and does not miss it. */
bool directory_has_log(const char *path);

/* The writer: started after the database is open, stopped before it is closed. */
EG_MUST_USE eg_err rocks_writer_start(struct disc_rocks *d);
void rocks_writer_stop(struct disc_rocks *d);
eg_err rocks_submit(struct disc *base, struct disc_request *q);
eg_err rocks_write(struct disc *base, const struct disc_batch *b);
eg_err rocks_health(struct disc *base, struct err_note *note);
eg_err rocks_yields(struct disc *base, struct err_note *note);

/* Tables; on the writer's thread, or before it runs. */
EG_MUST_USE eg_err rocks_table_create(struct disc_rocks *d, struct disc_request *q,
                                      struct err_note *note, enum rocks_failure *failure);
EG_MUST_USE eg_err rocks_table_drop(struct disc_rocks *d, struct disc_table *t,
                                    struct err_note *note, enum rocks_failure *failure);

/* What room the file system has, as the state it asks for: DISC_OPEN, FULL or SPENT. */
enum disc_state rocks_room(const struct disc_rocks *d);

eg_err rocks_get(struct disc *base, struct disc_table *t, struct disc_bytes key,
                 struct disc_slice *out);
void rocks_release(struct disc *base, struct disc_slice *s);
eg_err rocks_iter_open(struct disc *base, struct disc_table *t, const struct disc_range *range,
                       struct disc_iter **out);

#endif /* TABLES_DISC_ROCKS_PRIVATE_H */
