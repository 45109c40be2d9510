/* tx.h -- a transaction that somebody holds: what it has seen, and what it wants.
 *
 *     tx_open --> tx_begin --> tx_read, tx_change, tx_scan_step ... --> tx_commit --> over
 *                    ^             |   ^                                  |  ^          |
 *                    |  EG_AGAIN:  '-> tx_ask --CALL--> REPLY --> tx_answered           |
 *                    '------------------------ (its memory is used again) --------------'
 *
 * Nothing leaves it before its commit.  Each record it reads is remembered by its version, each
 * question by what it found; each change waits in it, and what it reads afterwards is as if that
 * had been made.  The commit says to the shards what was seen and what is wanted: they make all of
 * it, or nothing where something is not as it was seen any more.
 *
 * Levels nest: what an inner one wanted can be taken back alone (tx_level_undo), what it has seen
 * stays seen, for what came afterwards was decided by it.
 *
 * It never blocks.  EG_AGAIN means: ask (tx_ask, until EG_NOT_FOUND), and call the same again
 * when all is answered; where nothing is to be asked, in another turn.
 *
 * After EG_CONFLICT and EG_ABORTED it is over: every call says so again, nothing is left of it
 * anywhere, and it can be begun anew.  After other errors of a read or change it goes on, and
 * that call has done nothing.
 *
 * Bounds     TX_BYTES_MAX, TX_ENTRIES_MAX, TX_CHANGES_MAX, TX_LEVELS_MAX: EG_TOO_LARGE, and the
 *            call has done nothing.  An open one that has only read little takes less than 4 KiB.
 * Ownership  Copies all it is given.  Tables are held (table_ref), unless who calls says that
 *            he holds them (struct tx_place).
 * Threads    One at a time, in a section of that thread's reader.
 */
#ifndef QUERY_TX_H
#define QUERY_TX_H

#include "query/select.h"
#include "tables/transact.h"

struct env;
struct message;
struct tx;
struct tx_managers;
struct tx_scan;

enum {
    TX_BYTES_MAX = 64 << 20,  /* of what it wants, with the keys of what it has seen */
    TX_ENTRIES_MAX = 1000000, /* reads, questions and changes */
    TX_CHANGES_MAX = 100000,  /* of these: what a shard has of them is made in one turn of its core,
                                 1 to 2 microseconds each */
    TX_LEVELS_MAX = 64,
    TX_TIMEOUT_MS = 30 * 1000, /* unless said */
};

struct tx_opts {
    struct alloc *alloc;
    struct env *env;
    uint64_t node;                /* this one's number among all, for its age; 0: it is alone */
    uint32_t patience;            /* with a busy shard: see table_try() */
    struct tx_managers *managers; /* for several shards; NULL: only what is here and idle */
    /* Of tables that the caller holds (struct tx_place): what is it by now?  NULL: gone. */
    struct table *(*table_of)(void *handle);
};

/* EG_MEMORY. */
EG_MUST_USE eg_err tx_open(struct tx **out, const struct tx_opts *o);
void tx_close(struct tx *tx); /* ends it, where it is open; locks go too */

struct tx_start {
    uint64_t timeout_ms;     /* 0: TX_TIMEOUT_MS; after it the transaction is EG_ABORTED */
    struct transact_id id;   /* chosen by a client; none: its own, when first asked for */
    struct transact_age age; /* of an earlier try of it; not begun: its own */
};
/* From the beginning, with the memory it has.  Ends what was open. */
void tx_begin(struct tx *tx, const struct tx_start *start);
/* Nothing of it is left.  `why` (NULL: nothing) is what later calls say. */
void tx_abort(struct tx *tx, const char *why);

enum tx_state {
    TX_OVER, /* not begun; or committed, and forgotten */
    TX_OPEN,
    TX_COMMITTING, /* tx_commit() has said EG_AGAIN: it can not be aborted any more */
    TX_ABORTED,    /* by its deadline, its holder, or a bound */
    TX_CONFLICT,   /* something is not as it was seen: another try may do better */
};
enum tx_state tx_state(const struct tx *tx);
struct transact_id tx_id(struct tx *tx);
struct transact_age tx_age(struct tx *tx);    /* of its first try */
uint64_t tx_began_ns(const struct tx *tx);    /* this try, about; of env_now_ns() */
uint64_t tx_deadline_ns(const struct tx *tx); /* likewise, exact to the same few milliseconds */
/* EG_OK: it is open, and its time is not over.  EG_CONFLICT, EG_ABORTED with the reason. */
EG_MUST_USE eg_err tx_check(struct tx *tx, struct err_note *note);

/* Each table of this section that something is wanted of. */
void tx_each_wanted(struct tx *tx, void (*see)(void *context, struct table *t), void *context);

/* For people: what it holds. */
struct tx_stats {
    uint64_t seen, questions, wanted, bytes, levels;
    uint64_t locks; /* shards in which it has locked something */
};
struct tx_stats tx_stats(const struct tx *tx);

/* ---- levels -------------------------------------------------------------- */

/* EG_TOO_LARGE: nested too deep.  EG_MEMORY. */
EG_MUST_USE eg_err tx_level_begin(struct tx *tx);
void tx_level_end(struct tx *tx);  /* what it wanted, its parent wants */
void tx_level_undo(struct tx *tx); /* nobody does                      */
/* What tx_change() has just done is wanted also where its level is undone; there was something. */
void tx_change_stays(struct tx *tx);
uint32_t tx_level(const struct tx *tx); /* 0: the outermost */
/* Of no level anything is wanted: its commit says whether what it has seen was ever so. */
void tx_forget_wants(struct tx *tx);

/* ---- reads and changes ---------------------------------------------------- */

struct tx_place {
    struct table *table; /* of this section */
    struct reader *reader;
    void *handle; /* of who holds it until the commit (tx_opts.table_of); NULL: it is held here */
};

/* Append what the plain call of the same kind answers, but with what is wanted so far.
 * Also EG_BAD_RECORD, EG_TOO_LARGE of a key, EG_NO_TABLE. */
EG_MUST_USE eg_err tx_read(struct tx *tx, const struct tx_place *at, struct value key,
                           struct buffer *result, struct err_note *note); /* [record, ...] */
/* The first record as it lies, until the next call: here or in the table, for this section.
 * EG_NOT_FOUND. */
EG_MUST_USE eg_err tx_get(struct tx *tx, const struct tx_place *at, struct value key,
                          struct value *record, struct err_note *note);
EG_MUST_USE eg_err tx_read_many(struct tx *tx, const struct tx_place *at, struct value keys,
                                struct buffer *result, struct err_note *note);
EG_MUST_USE eg_err tx_size(struct tx *tx, const struct tx_place *at, struct buffer *result,
                           struct err_note *note);
/* The first (last) key where `key` is of size 0, else the one after (before) it; nil. */
EG_MUST_USE eg_err tx_step(struct tx *tx, const struct tx_place *at, struct value key, bool back,
                           struct buffer *result, struct err_note *note);
/* EG_CONFLICT unless `record` (nil: nothing) is what stands under the key. */
EG_MUST_USE eg_err tx_expect(struct tx *tx, const struct tx_place *at, struct value key,
                             struct value record, struct err_note *note);

/* SHARD_WRITE, INSERT_NEW, DELETE, DELETE_OBJECT, TAKE, UPDATE, COUNTER, WRITE_MANY: checked
 * against the schema now, made at the commit.  Appends what the plain request answers. */
EG_MUST_USE eg_err tx_change(struct tx *tx, const struct tx_place *at,
                             const struct shard_request *q, struct buffer *result,
                             struct err_note *note);

/* ---- questions ------------------------------------------------------------- */

/* As select.h, of all its kinds; results of an ordered_set come in the order of keys where they
 * would without a transaction, own writes among them.  One is stepped at a time; a level that ends
 * ends those opened in it.  What is wanted between two pages, the later one shows. */
EG_MUST_USE eg_err tx_scan_open(struct tx_scan **out, struct tx *tx, const struct tx_place *at,
                                const struct select_opts *o, struct err_note *note);
EG_MUST_USE eg_err tx_scan_step(struct tx_scan *s, const struct tx_place *at,
                                const struct select_pace *pace, struct buffer *result,
                                struct err_note *note);
/* All rows a path leads to, for somebody else to judge: own ones come whether it leads to them or
 * not.  The path is borrowed until it is closed. */
EG_MUST_USE eg_err tx_scan_open_path(struct tx_scan **out, struct tx *tx, const struct tx_place *at,
                                     const struct scan_path *path, struct err_note *note);
/* Hand over one after the other.  EG_OK: that were all, or `each` has had enough, and none behind
 * that one counts as seen.  EG_NOT_FOUND, which `each` has said: that one comes again. */
EG_MUST_USE eg_err tx_scan_each(struct tx_scan *s, const struct tx_place *at,
                                const struct select_pace *pace,
                                eg_err (*each)(void *context, struct value row, bool *enough),
                                void *context, struct err_note *note);
bool tx_scan_has_more(const struct tx_scan *s);
void tx_scan_next_page(struct tx_scan *s);
void tx_scan_close(struct tx_scan *s); /* before the transaction ends */

/* ---- locks ------------------------------------------------------------------ */

/* Held until the end.  `key` of size 0: all of the table.  EG_CONFLICT: an older one has it. */
EG_MUST_USE eg_err tx_lock(struct tx *tx, const struct tx_place *at, struct value key,
                           bool exclusive, struct err_note *note);
/* For who begins it anew after several conflicts: what it touched then, before anything else, so
 * that its age decides.  Nothing where it was not begun with the same tx_start.age. */
EG_MUST_USE eg_err tx_lock_again(struct tx *tx, struct reader *r, struct err_note *note);

/* It has locks that tx_ask() gives back, or would after its end. */
bool tx_has_locks(const struct tx *tx);

/* ---- the end ------------------------------------------------------------------ */

/* EG_OK: all of it was made, and it is over.  EG_CONFLICT: nothing.  EG_IN_DOUBT with a note that
 * begins "in_doubt: ID".  EG_NO_TABLE, EG_EXISTS (of a unique index), EG_NO_REPLICA,
 * EG_NO_MAJORITY, EG_MEMORY, EG_DISC, EG_BUSY, ...: nothing was made, and it is over. */
EG_MUST_USE eg_err tx_commit(struct tx *tx, struct reader *r, struct err_note *note);

/* After EG_AGAIN, and after the end, where locks are given back: one CALL at a time; EG_NOT_FOUND:
 * no more.  Each is answered here, also where it
 * could not be sent.  A reply to one that is over is thrown away by who holds it. */
EG_MUST_USE eg_err tx_ask(struct tx *tx, struct reader *r, eg_pid *to, struct message **out);
void tx_answered(struct tx *tx, eg_err err, struct value result);
/* Who can not come again to the call that said EG_AGAIN, but only begin with all calls anew: when
 * the answer is there, with the same transaction, which has kept it (tx_forget_wants() first); or
 * from tx_begin() on, and the answer is thrown away.  NOT: neither would ever come to an end. */
enum tx_anew { TX_ANEW_NOT, TX_ANEW_SAME, TX_ANEW_ALL };
enum tx_anew tx_anew(const struct tx *tx);
/* Until then, of env_now_ns(), an answer is waited for; then EG_TIMEOUT is what was answered, and
 * what still comes is thrown away.  0: nothing was asked. */
uint64_t tx_waits_until_ns(const struct tx *tx);
/* Of who waits for no answer any more: it is over, and this is the next CALL by which it gives back
 * what it holds, to be sent in nobody's name.  EG_NOT_FOUND: no more. */
EG_MUST_USE eg_err tx_leave(struct tx *tx, eg_pid *to, struct message **out);

#endif /* QUERY_TX_H */
