/* engram.h -- Engram inside your program: open a node, keep tables, read them in
 * nanoseconds from any thread.
 *
 *     eg_node *node;
 *     eg_table *users;
 *     eg_open(&(eg_options){.name = "shop"}, &node, NULL);
 *     eg_create_table(node, "users", NULL, NULL);
 *     eg_table_open(node, "users", &users);
 *     ...
 *     eg_table_close(users);
 *     eg_close(node);
 *
 * Values     Keys, records and options are MessagePack, given as spans of bytes.
 *            A record is an array, element 0 its key.  Write them with any
 *            MessagePack library, or with eg_writer below; spans from the caller
 *            are checked, never trusted.
 * Ownership  Spans that a call takes are read before it returns.  An eg_result
 *            belongs to the caller (eg_result_free).  Spans from eg_get() live
 *            until eg_read_end().
 * Threads    Every call from any thread, except on schedulers (inside an actor's
 *            callback) the ones marked "may wait".
 * Errors     An eg_err each; decide on eg_err_class_of().  Where a person will read
 *            it, a call takes an eg_note (NULL: nobody reads it).
 */
#ifndef ENGRAM_H
#define ENGRAM_H

#include "engram/error.h"
#include "engram/types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct eg_table eg_table;
struct eg_writer;

typedef struct eg_span {
    const void *at;
    size_t size_bytes;
} eg_span;

typedef struct eg_note {
    char text[256]; /* one sentence; "" where nothing was said */
} eg_note;

typedef struct eg_result {
    eg_span value; /* MessagePack */
    void *owner;   /* Engram's    */
    size_t room_bytes;
} eg_result;

EG_API void eg_result_free(eg_result *r);

/* ---- a node ------------------------------------------------------------- */

enum { EG_LISTEN_MAX = 16 };

/* A merge of the program's own, for tables made with {merge: "callback", callback: name}: of two
 * versions of a record that both sides of a cut have written it writes what is to be there, or
 * nothing: the key is removed.  An empty span is a removal; `winner` is the later one.  It is
 * pure, the same on every node, may be called by any thread, and twice for one merge.  Any error,
 * or what is no record of the table with that key: the winner stays. */
typedef struct eg_merge {
    const char *name;
    eg_err (*merge)(void *context, eg_span winner, eg_span loser, struct eg_writer *out);
    void *context;
} eg_merge;

typedef struct eg_options {
    const char *name;                  /* NULL: host name, or what the data directory says */
    const char *data_dir;              /* NULL: RAM only; disc tables are refused          */
    const char *listen[EG_LISTEN_MAX]; /* HOST:PORT or unix:PATH; none: no server      */
    /* Other nodes: where they reach this one (none: it has no part in a cluster), how they are to
     * dial it (NULL: as it listens), whom to join, and the secret that all share (NULL: none, and
     * only loopback may be listened on). */
    const char *peer_listen[EG_LISTEN_MAX];
    bool peer_optional; /* where it cannot listen there, it goes on without a cluster */
    const char *advertise;
    const char *join[EG_LISTEN_MAX];
    const void *cookie;
    size_t cookie_bytes;
    uint32_t schedulers;         /* 0: number of cores                               */
    uint64_t memory_limit_bytes; /* 0: 80 % of the machine or its cgroup             */
    uint32_t connections_max;    /* 0: 10,000                                        */
    uint64_t max_frame_bytes;    /* 0: 16 MiB                                        */
    uint64_t max_input_bytes;    /* 0: 64 MiB                                        */
    const eg_merge *merges;      /* lent until eg_close()                            */
    uint32_t merge_count;
    int log_level; /* 0: errors; 1: + warnings; 2: + info; 3: + debug  */
    /* Where log lines go; NULL: nowhere. */
    void (*log)(void *context, int level, const char *line);
    void *log_context;
} eg_options;

/* Open a node: recover its disc tables, start its schedulers, listen.  May wait.
 * On an error nothing is left running and *out is untouched.  A node that cannot go on any more,
 * because parts of it die again and again, ends the process: abort(), and why on stderr. */
EG_API eg_err eg_open(const eg_options *options, eg_node **out, eg_note *note);

/* Answer what was received, put on disc what is owed, stop.  May wait.  Tables and
 * results of the node are closed first by the caller. */
EG_API void eg_close(eg_node *node);

EG_API const char *eg_node_name(const eg_node *node);
/* The address a listener is bound to (port 0 resolved); NULL past the last. */
EG_API const char *eg_node_address(const eg_node *node, uint32_t number);
/* The same of where other nodes reach it. */
EG_API const char *eg_node_peer_address(const eg_node *node, uint32_t number);
EG_API const char *eg_version(void);

/* What the wire method stats tells of a node that listens; of one that does not, {node,
 * processes}: it counts no requests. */
EG_API eg_err eg_stats(eg_node *node, eg_result *out);

/* ---- tables ------------------------------------------------------------- */

/* `options` is the MessagePack map of the wire method create_table, or empty. */
EG_API eg_err eg_create_table(eg_node *node, const char *name, const eg_span *options,
                              eg_note *note);                  /* may wait */
EG_API eg_err eg_drop_table(eg_node *node, const char *name);  /* may wait */
EG_API eg_err eg_clear_table(eg_node *node, const char *name); /* may wait */
EG_API eg_err eg_add_index(eg_node *node, const char *table, const char *attribute,
                           eg_note *note); /* may wait */
/* With a map {on: ["last", "first"], unique: true, name: "by_name"} as the wire's add_index
 * takes it.  EG_EXISTS: there is such an index, or two records have one value. */
EG_API eg_err eg_add_index_of(eg_node *node, const char *table, eg_span spec, eg_note *note);
EG_API eg_err eg_drop_index(eg_node *node, const char *table, const char *attribute,
                            eg_note *note); /* may wait */

/* Change the shape of a live table; readers and writers go on.  `change` is one of
 *     ["add_attribute", name, default]    ["drop_attribute", name]
 *     ["rename_attribute", old, new]      ["change_storage", "ram" | "disc" | "disc_only"]
 *     ["transform_table", [[head, guards, body], ...], [attribute, ...] or nil]
 * A handle follows at its next use; until then it keeps the old records in memory.  Any
 * error: nothing changed.  Takes as long as going through the table does.  May wait. */
EG_API eg_err eg_alter_table(eg_node *node, const char *table, eg_span change, eg_note *note);

/* Copies: the tables' names in an array; what the wire method table_info tells of one. */
EG_API eg_err eg_tables(eg_node *node, eg_result *out);
EG_API eg_err eg_table_info(eg_table *table, eg_result *out);

EG_API eg_err eg_table_open(eg_node *node, const char *name, eg_table **out);

/* A handle in the dirty context: what is read or written by key through it is so at this node's
 * own copy, at once and without the others; those have it a moment later, and of two writes
 * of a key the later one stays everywhere.  What was written and has not gone out yet is lost where
 * the node is.  EG_NO_REPLICA: there is no copy here, or (writes) no whole one; EG_BUSY: the other
 * copies do not keep up.  All other calls are as through a handle of eg_table_open(). */
EG_API eg_err eg_table_open_dirty(eg_node *node, const char *name, eg_table **out);
/* A handle of a table that is dropped stays valid until it is closed, and everything
 * asked of it is EG_NO_TABLE, also where another table has the name by now. */
EG_API void eg_table_close(eg_table *table);

/* ---- reading ------------------------------------------------------------ */

/* A table of which this node has not all (it has copies on others) is read through them, by the
 * calls that copy, by eg_fold() and by those that ask: they wait for the others, and say
 * EG_NO_REPLICA where no node that has all of a shard could be reached for 5 s (eg_size(): 0). What
 * hands out records in place, eg_get(), eg_get_many() and eg_fold_index(), looks at this node alone
 * and says EG_NO_REPLICA at once, as does eg_fold() from a key of an unordered table.
 *
 * What was read of a majority table is told when most copies have stood by it since.  The folds
 * have shown it by then: they wait at their end, and where they say EG_NO_REPLICA or
 * EG_NO_MAJORITY, it may have been of the past. */

/* A reading section of this thread: what eg_get() hands out stays where it is until
 * the end.  Sections nest.  Keep them short: they hold back reclamation.
 * EG_BUSY: more threads read than the node has slots for. */
EG_API eg_err eg_read_begin(eg_node *node);
EG_API void eg_read_end(eg_node *node);

/* Inside a section: the record under `key`, in place.  EG_NOT_FOUND: absent.  Of a table with
 * copies on other nodes, a change that is on its way to them is waited for, so that nobody who
 * reads afterwards anywhere finds less (about one round trip; EG_BUSY on a scheduler, which must
 * not wait; EG_TIMEOUT, EG_NO_REPLICA where the copies cannot be reached). */
EG_API eg_err eg_get(eg_table *table, eg_span key, eg_span *record);

/* Inside a section: n look-ups at once, their cache misses overlapped.  An absent
 * one has size 0.  Returns how many were found, or a negative eg_err. */
EG_API int64_t eg_get_many(eg_table *table, const eg_span *keys, size_t n, eg_span *records);

/* Copies: [record, ...] under `key` (empty where absent; several in a bag, or of siblings). */
EG_API eg_err eg_read(eg_table *table, eg_span key, eg_result *out);
/* Of a table that keeps siblings (merge: "siblings") [[record, ...], context], newest first: the
 * context is what eg_write_replacing() and eg_delete_replacing() take.  EG_BAD_REQUEST: another
 * table. */
EG_API eg_err eg_read_siblings(eg_table *table, eg_span key, eg_result *out);
EG_API eg_err eg_index_read(eg_table *table, const char *attribute, eg_span value, eg_result *out);
EG_API eg_err eg_match(eg_table *table, eg_span pattern, uint64_t limit, eg_result *out,
                       eg_note *note);
EG_API uint64_t eg_size(eg_table *table);
/* The first, last, next or previous key, or nil. */
EG_API eg_err eg_first(eg_table *table, eg_result *out);
EG_API eg_err eg_last(eg_table *table, eg_result *out);
EG_API eg_err eg_next(eg_table *table, eg_span key, eg_result *out);
EG_API eg_err eg_prev(eg_table *table, eg_span key, eg_result *out);

/* Call `see` for every record from `from` (NULL: the first) on, in key order where
 * the table has one, until it returns false.  The record lives for that call. */
EG_API eg_err eg_fold(eg_table *table, const eg_span *from, bool reverse,
                      bool (*see)(void *context, eg_span record), void *context);

/* The same by the index that `name` calls (an attribute, a path "address.city", or its name), by
 * value: from `low` to `high`, both meant, either NULL: no end.  In an index on several
 * attributes called by its name, low and high are arrays of the values of the first of
 * them: all but the last equal in both.  By value inside each shard of the table: a table with one
 * shard gives one order.  EG_BAD_REQUEST: no such index, or ends that do not fit it. */
EG_API eg_err eg_fold_index(eg_table *table, const char *name, const eg_span *low,
                            const eg_span *high, bool reverse,
                            bool (*see)(void *context, eg_span record), void *context);

/* The records of one moment, though writes go on: all that was there when the fold began, in no
 * order, until `see` returns false; one that is changed meanwhile may come twice, as it was.
 * Reclamation goes on too, so it may take its time; the node keeps what is replaced or removed
 * meanwhile.  May wait.  EG_BUSY: another snapshot of the table is open. */
EG_API eg_err eg_fold_snapshot(eg_table *table, bool (*see)(void *context, eg_span record),
                               void *context);

/* ---- backup --------------------------------------------------------------- */

/* One moment of the tables that `tables` names (the list ends with NULL), or of all where it is
 * NULL, to a file, which gets its name when it is whole and on disc.  May wait.  *records
 * (where not NULL): how many.  EG_BUSY: another backup of one of them is under way.  EG_DISC
 * and others: there is no file. */
EG_API eg_err eg_backup(eg_node *node, const char *path, const char *const *tables,
                        uint64_t *records, eg_note *note);

/* Is the file a whole backup?  EG_CORRUPT: the note says what is wrong, and where. */
EG_API eg_err eg_verify(const char *path, eg_note *note);

/* What becomes of a table that is there. */
typedef enum eg_restore_mode {
    EG_RESTORE_SKIP,    /* it stays as it is                                          */
    EG_RESTORE_REPLACE, /* it is dropped, and made as in the backup                   */
    EG_RESTORE_CLEAR,   /* it keeps its options and gets the backup's records instead */
} eg_restore_mode;

/* Make the tables of a backup again, all or those that `tables` names, with their options and
 * records.  Durable when it returns.  May wait.  EG_CORRUPT, EG_NO_TABLE: nothing was
 * touched.  Other errors: a part may have been restored. */
EG_API eg_err eg_restore(eg_node *node, const char *path, const char *const *tables,
                         eg_restore_mode mode, uint64_t *records, eg_note *note);

/* ---- match specifications ------------------------------------------------ */

/* `spec` is [[head, guards, body], ...] as the wire method select takes it.
 * EG_BAD_REQUEST and EG_TOO_LARGE: the note says what is wrong with it. */

/* [result, ...], at most `limit` (0: all). */
EG_API eg_err eg_select(eg_table *table, eg_span spec, uint64_t limit, eg_result *out,
                        eg_note *note);

/* Page by page, `limit` results each; `reverse` is for ordered_set.  Writes may go on: a record
 * that is there throughout comes once.  Between pages nothing of the table is held.  EG_NOT_FOUND:
 * the last page has been given.  A cursor is closed before its table, and used by one thread
 * at a time. */
typedef struct eg_cursor eg_cursor;
EG_API eg_err eg_cursor_open(eg_table *table, eg_span spec, uint64_t limit, bool reverse,
                             eg_cursor **out, eg_note *note);
EG_API eg_err eg_cursor_next(eg_cursor *cursor, eg_result *page, eg_note *note);
EG_API void eg_cursor_close(eg_cursor *cursor);

/* How many records there are whose body yields true; remove those (may wait); put the body's
 * result, a record with the same key, in place of each that matches (may wait).  After an
 * error of the last two, what was changed stays changed. */
EG_API eg_err eg_select_count(eg_table *table, eg_span spec, uint64_t *count, eg_note *note);
EG_API eg_err eg_select_delete(eg_table *table, eg_span spec, uint64_t *count, eg_note *note);
EG_API eg_err eg_select_replace(eg_table *table, eg_span spec, uint64_t *count, eg_note *note);

/* ---- text queries --------------------------------------------------------- */

/* A statement of the text language, its ? filled from the array `arguments` (NULL: none).  It
 * finds its tables by name.  May wait where it changes records.
 *
 * EG_BAD_REQUEST, EG_NO_TABLE, EG_TOO_LARGE: the note says what is wrong, and where.
 * Others as of reading and writing: what an update or delete changed before stays changed. */

/* [columns, rows]: an array of names and one of rows; `out` NULL: they are not wanted. */
EG_API eg_err eg_query(eg_node *node, const char *text, const eg_span *arguments, eg_result *out,
                       eg_note *note);

/* Page by page, `limit` rows each, as an array of rows.  Rows of one table that are neither
 * sorted nor grouped go on from their place, others are kept.  The columns live as long as the
 * cursor.  EG_NOT_FOUND: the last page has been given.  A cursor is closed before its
 * node, and used by one thread at a time. */
typedef struct eg_query_cursor eg_query_cursor;
EG_API eg_err eg_query_open(eg_node *node, const char *text, const eg_span *arguments,
                            uint64_t limit, eg_query_cursor **out, eg_note *note);
EG_API eg_span eg_query_columns(const eg_query_cursor *cursor);
EG_API eg_err eg_query_next(eg_query_cursor *cursor, eg_result *rows, eg_note *note);
EG_API void eg_query_close(eg_query_cursor *cursor);

/* How a statement would be answered: the map that the wire's explain gives. */
EG_API eg_err eg_explain(eg_node *node, const char *text, const eg_span *arguments, eg_result *out,
                         eg_note *note);

/* ---- writing ------------------------------------------------------------ */

/* A write runs on the calling thread where the shard is idle; else it waits for the
 * shard.  All of these may wait.  EG_BUSY, EG_MEMORY, EG_DISC: nothing changed.  A full
 * disc still takes what makes room (delete, take, clear, drop).  EG_IN_DOUBT: the change
 * of a sync table was made and can be read, but then the disc failed: it may be gone
 * after a restart.  From then on changes are refused with EG_DISC. */
EG_API eg_err eg_write(eg_table *table, eg_span record);
EG_API eg_err eg_write_ttl(eg_table *table, eg_span record, uint64_t ttl_ms);
EG_API eg_err eg_write_many(eg_table *table, eg_span records, uint64_t *count);
EG_API eg_err eg_write_many_ttl(eg_table *table, eg_span records, uint64_t ttl_ms, uint64_t *count);
EG_API eg_err eg_insert_new(eg_table *table, eg_span record, bool *inserted);
EG_API eg_err eg_insert_new_ttl(eg_table *table, eg_span record, uint64_t ttl_ms, bool *inserted);
EG_API eg_err eg_delete(eg_table *table, eg_span key);
/* Of a table that keeps siblings, only those versions that `context` of eg_read_siblings() names
 * are replaced or removed; what has come since stays beside. */
EG_API eg_err eg_write_replacing(eg_table *table, eg_span record, eg_span context);
EG_API eg_err eg_delete_replacing(eg_table *table, eg_span key, eg_span context);
EG_API eg_err eg_delete_object(eg_table *table, eg_span record);
EG_API eg_err eg_take(eg_table *table, eg_span key, eg_result *out);
EG_API eg_err eg_update(eg_table *table, eg_span key, eg_span changes); /* {attribute: value} */
EG_API eg_err eg_update_counter(eg_table *table, eg_span key, const char *attribute, int64_t delta,
                                int64_t *value);

/* ---- transactions --------------------------------------------------------- */

/* eg_transaction() calls `fn`, and all that it reads and changes through its `tx` is one: it is
 * made at one moment, in which everything it has read is still so, or nothing of it is.  Where
 * another was quicker `fn` is called again, so it may run several times: what it does besides
 * through `tx` it does as often.  It may wait.
 *
 *     static eg_err move(eg_tx *tx, void *arg) {
 *         eg_err err = eg_tx_update_counter(tx, accounts, from, "balance", -amount, &left);
 *         if (err == EG_OK && left < 0)
 *             return eg_tx_abort(tx, "not enough there");
 *         return err != EG_OK ? err
 *                             : eg_tx_update_counter(tx, accounts, to, "balance", amount, NULL);
 *     }
 *     err = eg_transaction(node, move, &what, NULL);
 *
 * Where `fn` returns EG_OK it is committed; an error undoes it, and is what eg_transaction()
 * returns.  EG_CONFLICT of a call inside is to be returned: then it is tried again.  EG_IN_DOUBT:
 * nobody can say yet whether it happened (the note begins with its id).  EG_ABORTED: by
 * eg_tx_abort(), or its time is over, which also a call inside says.  Others of a commit
 * (EG_EXISTS of a unique index, EG_NO_REPLICA, ...): nothing was changed.
 *
 * A transaction inside another one is a part of it: an error undoes the part alone, and the outer
 * one goes on as it likes.  At most 64 levels: EG_TOO_LARGE.  So is one of 64 MiB, of more than
 * 100,000 changes, or of a million reads and changes.
 *
 * Tables are those of eg_table_open(), which are closed afterwards.  `tx` is for the thread that
 * `fn` runs on, until it returns.  An actor calls eg_transaction_then() (engram/actor.h). */
typedef struct eg_tx eg_tx;

typedef enum eg_context {
    EG_TRANSACTION,
    EG_SYNC_TRANSACTION, /* and when it returns, this node's disc has what it changed */
    EG_ASYNC_DIRTY,      /* each call for itself, at this node's own copy           */
    EG_SYNC_DIRTY,       /* each call for itself, at all copies there are           */
} eg_context;

/* The outermost says whether a transaction waits for the disc: of tables whose durability is async,
 * too, and EG_IN_DOUBT where that fails.  Every commit waits for all copies there are; those of
 * other nodes go to disc as the table says.
 *
 * Inside a transaction a dirty context is a part of it, but undoes nothing by itself; in a dirty
 * one a transaction is one of its own. */
typedef struct eg_tx_options {
    eg_context context;
    uint64_t timeout_ms; /* of all tries together; 0: 30,000       */
    uint32_t tries;      /* 0: as many as there is time for        */
    eg_note *note;       /* why it was not made; NULL: nobody reads it */
} eg_tx_options;

EG_API eg_err eg_transaction(eg_node *node, eg_err (*fn)(eg_tx *tx, void *arg), void *arg,
                             const eg_tx_options *options);
/* The same inside `tx`, where that is at hand. */
EG_API eg_err eg_tx_nested(eg_tx *tx, eg_err (*fn)(eg_tx *tx, void *arg), void *arg);
/* EG_ABORTED, for `fn` to return: the reason comes to the note. */
EG_API eg_err eg_tx_abort(eg_tx *tx, const char *reason);

/* Reads see what the transaction has changed itself.  The record under `key` (of a bag the first),
 * until the next call with this `tx`.  EG_NOT_FOUND. */
EG_API eg_err eg_tx_get(eg_tx *tx, eg_table *table, eg_span key, eg_span *record);
/* The others copy, as those without a transaction. */
EG_API eg_err eg_tx_read(eg_tx *tx, eg_table *table, eg_span key, eg_result *out);
EG_API eg_err eg_tx_index_read(eg_tx *tx, eg_table *table, const char *attribute, eg_span value,
                               eg_result *out);
EG_API eg_err eg_tx_match(eg_tx *tx, eg_table *table, eg_span pattern, uint64_t limit,
                          eg_result *out);
EG_API eg_err eg_tx_select(eg_tx *tx, eg_table *table, eg_span spec, uint64_t limit,
                           eg_result *out);
EG_API eg_err eg_tx_select_count(eg_tx *tx, eg_table *table, eg_span spec, uint64_t *count);
EG_API eg_err eg_tx_select_delete(eg_tx *tx, eg_table *table, eg_span spec, uint64_t *count);
EG_API eg_err eg_tx_select_replace(eg_tx *tx, eg_table *table, eg_span spec, uint64_t *count);
EG_API eg_err eg_tx_size(eg_tx *tx, eg_table *table, uint64_t *size);
EG_API eg_err eg_tx_first(eg_tx *tx, eg_table *table, eg_result *out);
EG_API eg_err eg_tx_last(eg_tx *tx, eg_table *table, eg_result *out);
EG_API eg_err eg_tx_next(eg_tx *tx, eg_table *table, eg_span key, eg_result *out);
EG_API eg_err eg_tx_prev(eg_tx *tx, eg_table *table, eg_span key, eg_result *out);
/* Every record as it was when the fold began, in key order where the table has one; `see` may call
 * whatever it likes with this `tx`. */
EG_API eg_err eg_tx_fold(eg_tx *tx, eg_table *table, bool reverse,
                         bool (*see)(void *context, eg_span record), void *context);
/* Page by page, of the table as it was when the cursor was opened.  Closed before `fn` returns.
 * EG_NOT_FOUND: the last page has been given. */
typedef struct eg_tx_cursor eg_tx_cursor;
EG_API eg_err eg_tx_cursor_open(eg_tx *tx, eg_table *table, eg_span spec, uint64_t limit,
                                bool reverse, eg_tx_cursor **out);
EG_API eg_err eg_tx_cursor_next(eg_tx_cursor *cursor, eg_result *page);
EG_API void eg_tx_cursor_close(eg_tx_cursor *cursor);

/* A statement of the text language, as eg_query() takes and answers it: select sees what the
 * transaction has changed, and the others put their changes into it, all or none.  It may wait.
 * Pages of rows come from a cursor like any, whose columns live as long as it does. */
EG_API eg_err eg_tx_query(eg_tx *tx, const char *text, const eg_span *arguments, eg_result *out);
EG_API eg_err eg_tx_query_open(eg_tx *tx, const char *text, const eg_span *arguments,
                               uint64_t limit, eg_tx_cursor **out);
EG_API eg_span eg_tx_query_columns(const eg_tx_cursor *cursor);

EG_API eg_err eg_tx_write(eg_tx *tx, eg_table *table, eg_span record);
EG_API eg_err eg_tx_write_ttl(eg_tx *tx, eg_table *table, eg_span record, uint64_t ttl_ms);
EG_API eg_err eg_tx_write_many(eg_tx *tx, eg_table *table, eg_span records, uint64_t *count);
EG_API eg_err eg_tx_write_many_ttl(eg_tx *tx, eg_table *table, eg_span records, uint64_t ttl_ms,
                                   uint64_t *count);
EG_API eg_err eg_tx_insert_new(eg_tx *tx, eg_table *table, eg_span record, bool *inserted);
EG_API eg_err eg_tx_insert_new_ttl(eg_tx *tx, eg_table *table, eg_span record, uint64_t ttl_ms,
                                   bool *inserted);
EG_API eg_err eg_tx_delete(eg_tx *tx, eg_table *table, eg_span key);
EG_API eg_err eg_tx_delete_object(eg_tx *tx, eg_table *table, eg_span record);
EG_API eg_err eg_tx_take(eg_tx *tx, eg_table *table, eg_span key, eg_result *out);
EG_API eg_err eg_tx_update(eg_tx *tx, eg_table *table, eg_span key, eg_span changes);
EG_API eg_err eg_tx_update_counter(eg_tx *tx, eg_table *table, eg_span key, const char *attribute,
                                   int64_t delta, int64_t *value);

/* Locks before anything is read, for those who know that they would lose otherwise: of a key, or
 * (NULL) of the whole table, shared or exclusive, until the end.  Who began earlier waits for it,
 * others are told EG_CONFLICT and try again. */
EG_API eg_err eg_tx_lock(eg_tx *tx, eg_table *table, const eg_span *key, bool exclusive);
/* The same of a name that is no record, one for all nodes of the view; what it guards is the
 * program's.  Of two transactions that held it at once, one of them exclusively (a lock ends early
 * where its node dies), only one is committed.  At most 1,024 bytes: EG_TOO_LARGE.  The first name
 * of all makes the table engram_names, where they are. */
EG_API eg_err eg_tx_lock_name(eg_tx *tx, const char *name, bool exclusive);

/* ---- events ------------------------------------------------------------- */

typedef struct eg_subscription eg_subscription;

typedef struct eg_event {
    const char *kind;  /* "write", "delete", "expire", "clear", "schema", "gap", or of the node */
    const char *table; /* "" where it is of no table                                   */
    eg_span record;    /* what was written; of what is gone the key, in a bag itself   */
    eg_span old;       /* where asked for: what was there before; else empty           */
    eg_span details;   /* a map, or empty                                              */
    uint64_t missing;  /* of a gap: how many events could not be kept                  */
} eg_event;

typedef struct eg_subscribe_options {
    bool old;              /* tell the record that was there before                       */
    eg_span where;         /* a match specification that records must match; empty: all are told */
    uint32_t queue_events; /* kept for a function that is behind; 0: 131,072              */
} eg_subscribe_options;

/* Call `see` for every change of a table, or, where `table` is NULL, for what happens to
 * the node.  Changes of one key come in their order; a function that is too slow finds
 * a "gap" where events are missing.  After the "schema" event that says {"change": "drop"}
 * none comes.
 *
 * `see` runs on one of the node's schedulers, one call at a time: it must not block, and
 * what it is given lives until it returns.  It may call eg_unsubscribe() and whatever does
 * not wait.  EG_NO_TABLE, EG_BAD_REQUEST, EG_MEMORY, EG_BUSY: it is never called. */
EG_API eg_err eg_subscribe(eg_node *node, const char *table, const eg_subscribe_options *options,
                           void (*see)(void *context, const eg_event *event), void *context,
                           eg_subscription **out, eg_note *note);

/* After this returns `see` is not called any more, but for one call that may still be
 * under way where this is called on another scheduler.  Before eg_close().  May wait. */
EG_API void eg_unsubscribe(eg_subscription *subscription);

/* ---- MessagePack, for those who bring no library ------------------------ */

/* Writes into the caller's memory and never past it; after the last put,
 * eg_written() is the span, empty where it did not fit. */
typedef struct eg_writer {
    uint8_t *start, *at, *end;
    size_t need_bytes;
} eg_writer;

EG_API eg_writer eg_writer_init(void *memory, size_t size_bytes);
EG_API void eg_put_nil(eg_writer *w);
EG_API void eg_put_bool(eg_writer *w, bool b);
EG_API void eg_put_int(eg_writer *w, int64_t n);
EG_API void eg_put_uint(eg_writer *w, uint64_t n);
EG_API void eg_put_double(eg_writer *w, double d);
EG_API void eg_put_string(eg_writer *w, const char *text);
EG_API void eg_put_bytes(eg_writer *w, const void *at, size_t size_bytes);
EG_API void eg_put_array(eg_writer *w, uint32_t count);
EG_API void eg_put_map(eg_writer *w, uint32_t pairs);
EG_API void eg_put_value(eg_writer *w, eg_span value); /* one whole value, as it is */
EG_API eg_span eg_written(const eg_writer *w);

/* Looking at a value: each returns false where it is of another kind. */
EG_API bool eg_element(eg_span array, uint32_t position, eg_span *out);
EG_API uint32_t eg_count(eg_span array_or_map);
EG_API bool eg_as_int(eg_span v, int64_t *out);
EG_API bool eg_as_double(eg_span v, double *out);
EG_API bool eg_as_bool(eg_span v, bool *out);
EG_API bool eg_as_text(eg_span v, const char **at, size_t *size_bytes);
EG_API bool eg_is_nil(eg_span v);

#ifdef __cplusplus
}
#endif

#endif /* ENGRAM_H */
