/* table.h -- one table: its schema, its shards, and the way to both.
 *
 *     any thread ----- direct reads, inside a reader section -----> stores, indexes
 *     any thread --- table_try: claims an idle shard, runs here --> shard
 *     an actor  --- table_send: a message, the answer comes back -> shard actor
 *
 * A key belongs to the shard its hash names; only that shard's owner of the moment
 * changes it.  Reads never wait for writers and see, for each key, the newest
 * record that was acknowledged before the read began, or a later one.  Expired
 * records are never shown.
 *
 * Ownership  Tables are counted: catalog_find() lends one for the reader's
 *            section, table_ref() keeps it longer.  A dropped table stays readable
 *            memory until the last reference goes; requests to it get EG_NO_TABLE.
 * Threads    Everything here from any thread; each has its own struct reader.
 */
#ifndef TABLES_TABLE_H
#define TABLES_TABLE_H

#include "engram/types.h"
#include "tables/reader.h"
#include "tables/schema.h"
#include "tables/shard_msg.h"
#include "tables/store.h"

struct message;
struct table;

const struct schema *table_schema(const struct table *t); /* of now; in a section */

/* What a table keeps for life: no section is needed. */
const struct schema_name *table_name(const struct table *t);
enum table_type table_type(const struct table *t);

/* False: it has been dropped and nobody holds it, so it may not be kept. */
EG_MUST_USE bool table_ref(struct table *t);
void table_unref(struct table *t);
bool table_dropped(const struct table *t);

/* A table never changes its shape: another one takes its name (tables/reshape.h).  Who
 * keeps one asks here, in a section, which it is by now; where the answer is another table
 * it knows nothing of the schema yet. */
struct table *table_now(struct table *t);
/* Equal where the records of one table have the same fields in the same places: what was
 * made for the one shape serves the other. */
uint64_t table_shape(const struct table *t);
/* Calls that came before a change of shape are still on their way here: what comes after
 * them must not overtake them. */
bool table_settling(const struct table *t);

/* May a read of this key, of any key, be answered from this node's memory?  (Else the copies here
 * lack something: tables/shard_role.h.) */
bool table_reads_here(struct table *t, const struct key *k);
bool table_reads_all_here(struct table *t);
/* Is there any copy of its shard here? */
bool table_has_copy(struct table *t, const struct key *k);
/* After a read of this key in place, in the same section: may it be answered?  Else what was seen
 * is not on all copies yet, and a later reader of another could miss it: table_send() it. */
bool table_read_stands(struct table *t, struct reader *r, const struct key *k);
/* The same for who has what table_get() gave: costs a comparison on the shard's line. */
bool table_got_stands(struct table *t, struct reader *r, const struct key *k,
                      const struct record *rec);

/* ---- direct reads, inside a reader section ------------------------------ */

/* Make `k` ready for table_get(): canonical form and hash.  See key_prepare(). */
EG_MUST_USE eg_err table_key(const struct table *t, struct key *k, struct value v);
/* Likewise, and says what is wrong with a key that is refused. */
EG_MUST_USE eg_err table_key_checked(const struct table *t, struct key *k, struct value v,
                                     struct err_note *note);

/* The record under `k`; in a bag the first, of siblings the newest; NULL: absent or expired. */
const struct record *table_get(struct table *t, struct reader *r, const struct key *k);

/* Has a transaction hold of what is under this key?  Then it may not be told before its end: look
 * again, or table_send() a read, which waits for it. */
bool table_is_held(struct table *t, const struct key *k);

/* Both of the above and table_got_stands() in one piece, for the look-up that has nothing unusual
 * about it: *rec is under `key`, and may be shown.  False says nothing: look with more care.  Each
 * instruction here is one less of the next look-up's that the processor begins while it waits for
 * this one's memory. */
bool table_get_at_once(struct table *t, struct reader *r, struct value key,
                       const struct record **rec);

/* n look-ups with their cache misses overlapped; out[i] as table_get(). */
void table_get_many(struct table *t, struct reader *r, const struct key *const *keys, size_t n,
                    const struct record **out);
void table_prefetch(struct table *t, struct reader *r, const struct key *k);

/* Append [record, ...] under `k`: none, one, a bag's many or all siblings. */
EG_MUST_USE eg_err table_read(struct table *t, struct reader *r, const struct key *k,
                              struct buffer *result);
/* Append [[record, ...], context]: shard_sibling.h.  EG_BAD_REQUEST: the table keeps none. */
EG_MUST_USE eg_err table_read_siblings(struct table *t, struct reader *r, const struct key *k,
                                       struct buffer *result, struct err_note *note);

/* Number of records that have not expired. */
uint64_t table_size(struct table *t, struct reader *r);

/* Append the first (last) key, or the one after (before) `k`; nil where none. */
EG_MUST_USE eg_err table_first(struct table *t, struct reader *r, bool last, struct buffer *result);
EG_MUST_USE eg_err table_next(struct table *t, struct reader *r, const struct key *k, bool prev,
                              struct buffer *result);

/* Append [record, ...] that the index called `name` (schema_index()) has under `v`: its
 * part's value or, of an index on several that is called by its own name, an array of the values
 * of its leading parts.  EG_BAD_REQUEST: no such index, or no such array; see the note. */
EG_MUST_USE eg_err table_index_read(struct table *t, struct reader *r, const char *name,
                                    size_t name_bytes, struct value v, struct buffer *result,
                                    struct err_note *note);

/* Call `see` for the live records from `low` to `high` (size 0: no end), both meant, of the index
 * called `name`, by value inside each shard, until it returns false.  Of an index on
 * several called by its own name, the ends are arrays of leading values, all but the last
 * of them equal.  EG_BAD_REQUEST. */
EG_MUST_USE eg_err table_index_fold(struct table *t, struct reader *r, const char *name,
                                    size_t name_bytes, struct value low, struct value high,
                                    bool reverse,
                                    bool (*see)(void *context, const struct record *rec),
                                    void *context);

/* Append [record, ...] that match the pattern (tables/pattern.h), at most `limit`
 * (0: all).  Uses the key or an index where the pattern binds one. */
EG_MUST_USE eg_err table_match(struct table *t, struct reader *r, struct value pattern,
                               uint64_t limit, struct buffer *result, struct err_note *note);

/* A walk over all records, in key order where the table has one; record by
 * record, inside one section. */
struct table_walk;
/* The walk lies in the reader's scratch memory and goes with the section.
 * `reverse` is for ordered_set; other types have one direction.  EG_MEMORY. */
EG_MUST_USE eg_err table_walk_open(struct table_walk **out, struct table *t, struct reader *r,
                                   const struct key *from, bool after, bool reverse);
const struct record *table_walk_next(struct table_walk *w); /* NULL: the end */

/* ---- changes ------------------------------------------------------------ */

/* Would the schema take it (arity, NaN, sizes, attributes)?  Its key is not looked at.  For who
 * keeps a request to send it later.  EG_NO_TABLE, EG_BAD_REQUEST, EG_BAD_RECORD, EG_TOO_LARGE. */
EG_MUST_USE eg_err table_check(const struct table *t, const struct shard_request *q,
                               struct err_note *note);

/* Check a request against the schema (arity, NaN, sizes) and run it here and now on
 * the shard its key names.  EG_AGAIN: the shard is busy, or its answer must wait
 * for the disc: table_send() it.  Anything else is its outcome: on EG_OK the
 * result was appended.  A busy shard is looked at up to `patience` times: 1 on a
 * scheduler, which has others to serve; TABLE_PATIENCE on a thread of the program,
 * for which a message costs more.  The caller is inside a reader section.  Only ops
 * with a key of their own; for many records table_try_many(), for the rest catalog_send(). */
EG_MUST_USE eg_err table_try(struct table *t, struct reader *r, const struct shard_request *q,
                             uint32_t patience, struct buffer *result, struct err_note *note);

/* Longer than a sleeping scheduler takes to come (about 50 us): one message queued at
 * a shard makes it busy for all, and whoever gives up sooner queues the next. */
enum { TABLE_PATIENCE = 512 };

/* write_many: all of `records` (an array of records) or none.  Claims every shard
 * it needs at once; EG_AGAIN: one is busy, the disc is behind, or answers must wait for it:
 * catalog_send(CATALOG_WRITE_MANY) it, who waits a while.  On EG_OK the count was appended. */
struct table_many {
    uint64_t ttl_ms; /* of these writes; 0: as the table says */
    bool dirty;      /* at this node's full copies           */
};
EG_MUST_USE eg_err table_try_many(struct table *t, struct reader *r, struct value records,
                                  const struct table_many *how, struct buffer *result,
                                  struct err_note *note);

/* Check a request and send it to its shard's actor as a MESSAGE_CALL with this
 * `ref`.  The REPLY's tag is the eg_err; its payload the result value on EG_OK, else
 * a text for people, maybe empty.  Requests of one sender to one shard are carried
 * out in order.  EG_BUSY: not sent.  Other errors: the request is wrong, not sent. */
EG_MUST_USE eg_err table_send(struct table *t, eg_pid from, uint64_t ref,
                              const struct shard_request *q, struct err_note *note);

/* The same CALL as a message, for those who send it themselves: *to is its shard. */
EG_MUST_USE eg_err table_message(struct table *t, const struct shard_request *q, eg_pid *to,
                                 struct message **out, struct err_note *note);

/* A SHARD_SYNC for one of the table's shards: its REPLY comes when what the shard has changed
 * so far is as safe as the table promises. */
uint32_t table_shards(const struct table *t);
EG_MUST_USE eg_err table_sync_message(struct table *t, uint32_t shard, eg_pid *to,
                                      struct message **out);

/* Have all full copies what is here of this shard?  (So they have where it has never had any.) */
bool table_is_settled(struct table *t, uint32_t shard);
/* A SHARD_SETTLE for one of them, to its master, wherever that is: its REPLY comes when all full
 * copies have what any of them had before, so what was read in place may then be told. */
EG_MUST_USE eg_err table_settle_message(struct table *t, uint32_t shard, eg_pid *to,
                                        struct message **out);

/* Can it be changed at one copy?  Else a change that is to be dirty is like any other. */
bool table_takes_dirty(const struct table *t);

/* What to tell a caller whose shard was not there (EG_NOPROC): the table is gone, or
 * the shard's actor has just been replaced. */
eg_err table_lost(const struct table *t);

/* Append the map of table_info. */
EG_MUST_USE eg_err table_info(struct table *t, struct reader *r, struct buffer *result);

/* ---- conflicts (journal.h) ---------------------------------------------------- */

struct shard;
struct shard_conflict;

/* Who decided it, who had the other version, in which view, and when. */
struct conflict_place {
    const char *here, *there, *view;
    uint64_t time_ms;
};

/* Keep what a merge has set aside, in its shard's turn.  What goes to disc is in the turn's batch,
 * of a disc_only table in its store's (store_disc_extra()). */
void table_conflict(struct shard *s, const struct shard_conflict *c,
                    const struct conflict_place *place);
/* Append the newest entries of this node's, at most `limit`, as an array.  EG_MEMORY. */
EG_MUST_USE eg_err table_conflicts(struct table *t, uint64_t limit, struct buffer *out);

#endif /* TABLES_TABLE_H */
