/* disc.h -- the seam to durable storage: sorted tables of bytes.
 *
 * All that tables/ may ask of a disc.  disc_rocks.c answers with RocksDB, the
 * simulator and the tests with an in-memory twin (tests/support/disc_twin.h);
 * one conformance test keeps the two equal.  What the bytes mean is said in
 * disc_record.h; nothing here knows records.
 *
 *     shard --submit(request)--> queue --> writer: all that waits becomes one
 *           <----done(err)-----            write, with fsync if anyone asked
 *
 * Durability A request that is done with EG_OK is in the log file; with `sync`
 *            it is on the disc.  What a kill leaves of the writes of one
 *            submitter is a prefix of them that holds every one done with sync;
 *            one batch is there as a whole or not at all.  Without `sync` a write
 *            may wait a millisecond for company before it is in the log file.
 * Order      Requests of one submitter take effect in the order submitted.
 *            A read that begins after done() sees what was written.
 *            Two submitters are not ordered: a table's owner waits for done().
 * Errors     A log or fsync that failed is never tried again: the disc refuses
 *            all further writes (EG_DISC, disc_health() says why) and reads go
 *            on.  A full disc refuses (EG_DISC) until there is room again, except
 *            what may use the reserve: some room is kept free for what memory shows
 *            already and for what makes room (`reserved`, DISC_DROP, disc_write();
 *            disc_yields() says whether there is some left).
 * Threads    Any, except where said.  done() runs on the writer's thread and
 *            must only post a message.
 * Memory     The queue is bounded in bytes (EG_BUSY); a request and its batch
 *            are the caller's and are lent from submit() until done().
 */
#ifndef TABLES_DISC_H
#define TABLES_DISC_H

#include "engine/alloc.h"
#include "engine/err.h"

enum {
    DISC_QUEUE_BYTES_MAX = 64 << 20, /* waiting for the writer, all submitters        */
    DISC_BATCH_KEEP_BYTES = 1 << 20, /* a reset batch gives back what it grew past this */
    DISC_NAME_BYTES_MAX = 255,       /* of a table                                    */
};

struct disc;
struct disc_table; /* lent by create or open; see disc_forget() */

struct disc_bytes {
    const uint8_t *at;
    size_t size_bytes;
};

/* ---- batches ------------------------------------------------------------ */

/* Changes that happen together.  A reusable buffer of one owner; appending
 * costs a copy and no allocation once it has grown. */
struct disc_batch {
    struct alloc *alloc;
    uint8_t *at;
    size_t used_bytes;
    size_t room_bytes;
    uint32_t count; /* of changes */
    bool patient;   /* disc_write() waits where the disc is behind, and is not refused */
};

enum disc_change_kind { DISC_PUT, DISC_DEL, DISC_DEL_RANGE };

/* One change as it lies in a batch; key and value (DISC_DEL_RANGE: first key
 * and the key to stop before) follow, and padding to 8 bytes. */
struct disc_change {
    struct disc_table *table;
    uint32_t key_bytes;
    uint32_t value_bytes;
    uint32_t kind;
    uint32_t size_bytes; /* of all this, padding included */
};

void disc_batch_init(struct disc_batch *b, struct alloc *a);
void disc_batch_fini(struct disc_batch *b);
void disc_batch_reset(struct disc_batch *b);

/* Append one change.  EG_MEMORY: nothing was appended. */
EG_MUST_USE eg_err disc_batch_put(struct disc_batch *b, struct disc_table *t, struct disc_bytes key,
                                  struct disc_bytes value);
EG_MUST_USE eg_err disc_batch_del(struct disc_batch *b, struct disc_table *t,
                                  struct disc_bytes key);
/* All keys k with from <= k < to. */
EG_MUST_USE eg_err disc_batch_del_range(struct disc_batch *b, struct disc_table *t,
                                        struct disc_bytes from, struct disc_bytes to);

/* The same without a copy: room for a key and a value of at most so many bytes,
 * NULL where refused; then what was written there (value right after key). */
uint8_t *disc_batch_room(struct disc_batch *b, size_t key_bytes_max, size_t value_bytes_max);
void disc_batch_commit(struct disc_batch *b, enum disc_change_kind kind, struct disc_table *t,
                       size_t key_bytes, size_t value_bytes);

/* Take back what was appended since the mark, the store having refused. */
struct disc_mark {
    size_t used_bytes;
    uint32_t count;
};
static inline struct disc_mark disc_batch_mark(const struct disc_batch *b) {
    return (struct disc_mark){b->used_bytes, b->count};
}
static inline void disc_batch_rewind(struct disc_batch *b, struct disc_mark m) {
    EG_ASSERT(m.used_bytes <= b->used_bytes);
    b->used_bytes = m.used_bytes;
    b->count = m.count;
}

/* Walk a batch: struct disc_change *c = NULL; while ((c = disc_batch_next(b, c)) != NULL) */
const struct disc_change *disc_batch_next(const struct disc_batch *b, const struct disc_change *c);
static inline struct disc_bytes disc_change_key(const struct disc_change *c) {
    return (struct disc_bytes){(const uint8_t *) (c + 1), c->key_bytes};
}
static inline struct disc_bytes disc_change_value(const struct disc_change *c) {
    return (struct disc_bytes){(const uint8_t *) (c + 1) + c->key_bytes, c->value_bytes};
}

/* ---- requests ----------------------------------------------------------- */

enum disc_request_kind {
    DISC_WRITE,  /* batch, sync                                                  */
    DISC_CREATE, /* name, schema; table is the answer.  EG_EXISTS.  Durable.  With an empty
                    schema nothing of it outlives a restart until a batch has put one. */
    DISC_DROP,   /* table: with its schema and all its rows.  Durable.  Its owner has
                    stopped submitting; who still reads sees the old rows until
                    disc_forget().  The name is free again at once.              */
};

struct disc_request {
    enum disc_request_kind kind;
    bool sync;
    bool reserved; /* of DISC_WRITE: may use the reserve of a full disc */
    const struct disc_batch *batch;
    const char *name;
    struct disc_bytes schema;
    struct disc_table *table;
    void (*done)(struct disc_request *q, eg_err err);
    struct disc_request *next; /* the disc's while it has the request */
};

/* ---- reading ------------------------------------------------------------ */

/* Bytes pinned until released. */
struct disc_slice {
    struct disc_bytes bytes;
    void *pin;
};

/* A walk over one table as it was when the iterator was opened.  After every
 * seek or step either `valid` and key and value are there until the next step,
 * or not `valid` and `err` says whether that is the end (EG_OK) or why not
 * (EG_CORRUPT, EG_DISC).  Used by one thread at a time. */
struct disc_iter {
    const struct disc_iter_ops *ops;
    bool valid;
    eg_err err;
    struct disc_bytes key;
    struct disc_bytes value;
};

struct disc_iter_ops {
    void (*seek)(struct disc_iter *it, struct disc_bytes key);      /* first >= key */
    void (*seek_back)(struct disc_iter *it, struct disc_bytes key); /* last <= key  */
    void (*next)(struct disc_iter *it);
    void (*prev)(struct disc_iter *it);
    void (*close)(struct disc_iter *it);
};

struct disc_range {
    struct disc_bytes from; /* size 0: from the first key  */
    struct disc_bytes to;   /* exclusive; size 0: to the end.  Both are borrowed
                               until the iterator is closed                     */
    bool whole; /* the whole range will be read once: read ahead, leave the cache alone */
};

struct disc_stats {
    uint64_t queued_bytes;
    uint64_t queued_bytes_max; /* since open            */
    uint64_t requests;         /* done since open       */
    uint64_t writes;           /* groups they became    */
    uint64_t syncs;            /* of these with fsync   */
    uint64_t written_bytes;
    uint64_t refused;           /* requests done with an error, or EG_BUSY */
    uint64_t background_errors; /* of compaction and flushing              */
    uint64_t table_bytes;       /* live rows on disc, estimated            */
    uint64_t memory_bytes;      /* write buffers and caches                */
};

/* One table found at open; `schema` is what create or disc_batch_put_schema()
 * stored last.  Borrowed during the call. */
typedef void (*disc_table_fn)(void *ctx, const char *name, struct disc_table *t,
                              struct disc_bytes schema);

struct disc_ops {
    eg_err (*submit)(struct disc *d, struct disc_request *q);
    eg_err (*write)(struct disc *d, const struct disc_batch *b);
    eg_err (*get)(struct disc *d, struct disc_table *t, struct disc_bytes key,
                  struct disc_slice *out);
    void (*release)(struct disc *d, struct disc_slice *s);
    eg_err (*iter_open)(struct disc *d, struct disc_table *t, const struct disc_range *range,
                        struct disc_iter **out);
    eg_err (*tables)(struct disc *d, disc_table_fn fn, void *ctx);
    void (*forget)(struct disc *d, struct disc_table *t);
    eg_err (*health)(struct disc *d, struct err_note *note);
    eg_err (*yields)(struct disc *d, struct err_note *note);
    struct disc_stats (*stats)(struct disc *d);
    void (*close)(struct disc *d);
};

struct disc {
    const struct disc_ops *ops;
    struct disc_table *meta; /* a table of the node's own: schemas, its name */
};

/* Hand `q` to the writer; exactly one done() follows, never from inside.
 * EG_BUSY: the queue is at its bound.  EG_DISC: the disc refuses writes.
 * EG_TOO_LARGE: the batch alone passes the bound.  After an error no done()
 * comes.  No system call unless the writer sleeps. */
EG_MUST_USE static inline eg_err disc_submit(struct disc *d, struct disc_request *q) {
    return d->ops->submit(d, q);
}

/* Write on the calling thread, without fsync and past the queue: for stores
 * whose next read must find it.  To make it durable submit a `sync` request
 * afterwards.  May use the reserve: ask disc_health() first.  EG_BUSY: the disc is
 * behind, nothing was written.  Blocks for as long as a write to a file does. */
EG_MUST_USE static inline eg_err disc_write(struct disc *d, const struct disc_batch *b) {
    return d->ops->write(d, b);
}

/* EG_NOT_FOUND; EG_CORRUPT: the row or its block is damaged; EG_DISC. */
EG_MUST_USE static inline eg_err disc_get(struct disc *d, struct disc_table *t,
                                          struct disc_bytes key, struct disc_slice *out) {
    return d->ops->get(d, t, key, out);
}
static inline void disc_release(struct disc *d, struct disc_slice *s) {
    d->ops->release(d, s);
}

/* `range` NULL: the whole table. */
EG_MUST_USE static inline eg_err disc_iter_open(struct disc *d, struct disc_table *t,
                                                const struct disc_range *range,
                                                struct disc_iter **out) {
    return d->ops->iter_open(d, t, range, out);
}

/* Call `fn` for every table, by name. */
EG_MUST_USE static inline eg_err disc_tables(struct disc *d, disc_table_fn fn, void *ctx) {
    return d->ops->tables(d, fn, ctx);
}

/* Nobody uses the dropped table `t` any more.  Also at close, for all tables. */
static inline void disc_forget(struct disc *d, struct disc_table *t) {
    d->ops->forget(d, t);
}

/* EG_OK, or EG_DISC and why writes are refused.  Cheap: ask before applying. */
EG_MUST_USE static inline eg_err disc_health(struct disc *d, struct err_note *note) {
    return d->ops->health(d, note);
}
/* The same for what may use the reserve of a full disc: EG_OK also where there is only that. */
EG_MUST_USE static inline eg_err disc_yields(struct disc *d, struct err_note *note) {
    return d->ops->yields(d, note);
}
static inline struct disc_stats disc_stats(struct disc *d) {
    return d->ops->stats(d);
}

/* Finish what was submitted, then close.  No iterator or slice is left. */
static inline void disc_close(struct disc *d) {
    d->ops->close(d);
}

/* Rows of the meta table begin with what they are; the rest is a name, of an origin its slot. */
enum {
    DISC_META_SCHEMA = 's',
    DISC_META_NODE = 'n',
    DISC_META_ORIGIN = 'o',
    DISC_META_CLUSTER = 'c',
    DISC_META_JOURNAL = 'j',  /* journal.h */
    DISC_META_DECISION = 't', /* replication/tx_decision.h */
};

/* The meta row of a table's schema.  EG_TOO_LARGE: no such name can be. */
EG_MUST_USE eg_err disc_schema_key(char *buffer, size_t size_bytes, const char *name,
                                   struct disc_bytes *key);

/* Replace the stored schema of table `name` together with the rest of `b`. */
EG_MUST_USE eg_err disc_batch_put_schema(struct disc_batch *b, struct disc *d, const char *name,
                                         struct disc_bytes schema);

/* Remove it: with the rest of `b`, so that a table can take the place of another. */
EG_MUST_USE eg_err disc_batch_del_schema(struct disc_batch *b, struct disc *d, const char *name);

/* ---- RocksDB ------------------------------------------------------------ */

struct disc_rocks_opts {
    struct alloc *alloc;
    const char *directory;  /* made if absent, its parent is not      */
    uint64_t cache_bytes;   /* of blocks read; 0: DISC_CACHE_BYTES    */
    uint64_t reserve_bytes; /* kept free on the file system; 0: see disc_rocks.c */
};

/* Open or make the data directory and lock it.  On an error nothing is open,
 * what was there is as it was, and `note` says what and where.
 * EG_DISC: in use by another node, not a directory, not accessible, full.
 * EG_CORRUPT: damaged, or of a later format.  EG_MEMORY.  Takes as long as
 * replaying the log does. */
EG_MUST_USE eg_err disc_rocks_open(struct disc **out, const struct disc_rocks_opts *o,
                                   struct err_note *note);

#endif /* TABLES_DISC_H */
