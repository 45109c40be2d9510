/* shard.h -- the owner of one part of a table.
 *
 * A shard is an actor that can be lent: whoever claims it is its owner until it is
 * released, and only the owner changes what is here.  Store, indexes, deadlines,
 * version clock and disc batch change in one turn, so a reader that comes after a
 * write was answered finds all of them agreeing.
 *
 *     request --> shard_run --> store, indexes, deadlines      this turn
 *                           --> log: batch ==> disc ==> done   turns later
 *
 * Invariants (shard_check):
 *   (1) every record of the store is in each index, and nothing else is.
 *   (2) every record with an expiry is among the deadlines, and nothing else is.
 *   (3) `record_bytes` is the sum of record_bytes() over the store.
 *
 * The actor is only the turn-giver: if it is killed, its supervisor starts another
 * on the same shard, and what was under way goes on.  Requests that waited in its
 * mailbox are answered EG_NOPROC by the runtime.
 *
 * Private to tables/: the layers above speak to tables (table.h).
 */
#ifndef TABLES_SHARD_H
#define TABLES_SHARD_H

#include "engine/actor.h"
#include "tables/memory.h"
#include "tables/rank.h"
#include "tables/reader.h"
#include "tables/schema.h"
#include "tables/shard_log.h"
#include "tables/shard_msg.h"
#include "tables/shard_role.h"
#include "tables/store.h"
#include "tables/unique.h"

#include <stddef.h>

struct child_spec;
struct disc_record;
struct index;
struct reshape_part;
struct shard_clock;
struct shard_copy;
struct table;

enum {
    /* A reader that is stuck must not turn into memory without bound: past this
     * much waiting to be freed a shard refuses changes until the reader moves. */
    SHARD_RETIRED_BYTES_MAX = 64 << 20,
    SHARD_PURGE_BATCH = 128,          /* expired records removed before a request is run */
    SHARD_PURGE_ROWS = 1024,          /* of a disc_only table, looked at in one tick       */
    SHARD_PURGE_FAULT_MS = 60 * 1000, /* then again, where a row could not be read */
    SHARD_RESULT_SMALL_BYTES = 16,    /* a bool, a number */
    SHARD_CLOCK_BYTES = 24, /* what is stored beside the records; of a copy more (shard_copy.h) */
};

/* One index of the shard.  Readers may use it when it is `whole`. */
struct shard_index {
    _Atomic(struct index *) index; /* NULL: the slot is free */
    _Atomic bool whole;            /* false: under construction */
    bool enforced;                 /* the owner's: it is kept unique */
};

/* An index under construction. */
struct shard_build {
    uint32_t id;
    bool verifying;      /* it is whole: is it unique?                           */
    struct buffer place; /* the last key that was added, or where it was verified */
};

/* A pass over the rows of a disc_only table for those that have expired. */
struct shard_rows_purge {
    struct buffer place; /* the last key that was looked at; empty: none yet */
    uint64_t next_ms;    /* the earliest deadline that was left              */
};

/* A call that is answered turns later: it outlives an actor that is killed. */
struct shard_call {
    bool open;
    eg_pid from;
    eg_ref ref;
};

struct shard {
    /* Read by anybody. */
    struct store *store;
    struct table *table;
    _Atomic uint64_t pid; /* of the actor of now, slot << 32 | generation; 0: none */
    uint32_t number;
    _Atomic uint8_t role; /* enum shard_role, and SHARD_HELD: changed in the owner's turn */
    /* Of a shard that is not ALONE, stamps; beside the role, for every read in place looks at them.
     */
    _Atomic uint64_t stable;           /* up to here all full copies have all   */
    _Atomic uint64_t newest;           /* of what is there; set before it is    */
    _Atomic uint64_t removed;          /* of the last removal, likewise         */
    _Atomic uint64_t indexed;          /* of the last that changed an index, but for removals */
    _Atomic uint64_t held;             /* where SHARD_HELD: of which keys (shard_tx.h)  */
    uint32_t unique_indexes;           /* changed by the owner, when indexes come and go */
    uint32_t index_end;                /* likewise: no index is behind it           */
    _Atomic uint64_t next_deadline_ms; /* the earliest expiry; UINT64_MAX: none */
    _Atomic uint64_t build_seen;       /* records that the index under construction has met */
    struct shard_index index[SCHEMA_INDEXES_MAX];
    _Atomic(struct store_snapshot *) unwanted; /* by anybody; the owner closes them */
    _Atomic uint64_t master;     /* the node that orders its writes now; 0: none is known */
    _Atomic uint8_t worth;       /* what this copy is, for the next view (replication/feed.h) */
    _Atomic uint8_t needs;       /* what its copy has to look after (likewise)                    */
    _Atomic uint64_t scrubbed;   /* how far it is compared with others (likewise)  */
    _Atomic uint64_t scrub_root; /* what was summed for that                       */
    _Atomic bool refused;        /* too few of its copies are in this view: it is not served */

    /* The owner's: first what each write changes, on two lines of its own. */
    _Alignas(2 * EG_CACHE_LINE) struct epoch_bin bin;
    uint64_t hlc;             /* the last stamp given                         */
    uint64_t sequence;        /* the last dot: slot and sequence (origin.h)   */
    uint64_t record_bytes;    /* of the records there are                     */
    _Atomic uint32_t changes; /* made so far, for those who went through it (transact.h) */
    uint16_t turns;
    bool ticking; /* a tick is on its way: time passes for this shard */
    bool noted;   /* this turn has changed what somebody watches      */

    _Alignas(EG_CACHE_LINE) struct slab *slab;
    struct reshape_part *reshape; /* NULL, or into what it is being turned (reshape.h)  */
    struct shard_tx *tx;          /* NULL, or what transactions hold here (shard_tx.h)  */
    uint64_t life;                /* tells its count of changes from those of others    */
    struct shard_copy *copy;      /* NULL: no other node can know of it (shard_copy.h)  */
    bool shadow;                  /* it is being filled by another's owner              */
    bool gated;                   /* it holds some of `gates`                           */
    uint64_t accounted_bytes;     /* record_bytes when the accounts were last told */
    struct memory_account node_account;
    struct memory_account table_account;
    struct rank by_deadline; /* records that expire                  */
    struct rank by_age;      /* of a cache table: all its records    */
    struct shard_log log;
    struct unique_set gates; /* that it holds: of values it has changed */
    struct shard_build build;
    struct shard_rows_purge rows_purge;
    struct shard_call build_call;
    struct shard_call stop_call;
    struct loan loan;          /* to the catalog, for a moment              */
    struct buffer notes;       /* of this turn's changes (shard_watch.h)    */
    uint64_t notes_lost;       /* for which there was no memory             */
    uint64_t notes_lost_clear; /* the number of a clear among them, or 0   */
};

_Static_assert(offsetof(struct shard, slab) - offsetof(struct shard, bin) == 2 * EG_CACHE_LINE,
               "what a write changes has grown past its two lines");

/* Has a transaction hold of something here?  Any thread. */
static inline bool shard_is_held(const struct shard *s) {
    return (atomic_load_explicit(&s->role, memory_order_acquire) & SHARD_HELD) != 0;
}

/* Whoever is about to claim the shard asks for what its last owner, on another core
 * perhaps, has changed.  Reads nothing. */
static inline void shard_expect(const struct shard *s) {
    EG_PREFETCH_TO_WRITE(&s->bin);
    EG_PREFETCH_TO_WRITE((const char *) &s->bin + EG_CACHE_LINE);
}

/* What one turn works with. */
/* So many changes of this transaction's part are made when the next one is written. */
struct shard_made {
    uint64_t id[2];
    uint32_t count;
};

struct shard_turn {
    struct shard *shard;
    struct reader *reader;
    const struct shard_request *request;
    const struct key *key; /* of the request's key or record; NULL where it has none */
    struct buffer *result;
    struct err_note *note;
    uint64_t now_ms;  /* wall clock */
    bool direct;      /* EG_AGAIN is an answer: who runs it can send it as a message */
    bool gated;       /* who runs it holds the gates of all values it changes        */
    bool taking_back; /* a change that was refused in the middle: limits do not apply */
    bool leaving;     /* what is removed goes by itself: its time is over, or its room */
    bool decided;     /* it must be made: limits do not apply                       */
    bool remote;      /* a change of elsewhere: it keeps its version and nothing refuses it */
    bool looked;      /* of a set: what is under the key has been looked up, and is `there` */
    const struct record *there;       /* NULL: nothing                                    */
    struct shard_made *made;          /* NULL, or what a disc_only table writes beside a change */
    struct shard_undo *undo;          /* NULL, or where its changes are noted (shard_edit.h) */
    struct record_version version;    /* of a record that is only copied; 0: the next one */
    struct value state;               /* and what stands beside it (merge.h)              */
    struct buffer *state_room;        /* for what is to; NULL: the copy's own, if it is one */
    const struct shard_clock *teller; /* who tells of a change knew this; NULL: newer wins   */
    uint64_t teller_node;
    bool teller_is_behind; /* it has not heard of deletes that are forgotten here */
};

/* Make the shard's parts; shard_child() says how a supervisor gives it its actor.
 * EG_MEMORY, EG_DISC, EG_CORRUPT: nothing is left. */
EG_MUST_USE eg_err shard_open(struct shard *s, struct table *t, uint32_t number);
void shard_child(struct shard *s, struct child_spec *out);
/* No reader is left and the actor is gone. */
void shard_close(struct shard *s);

/* The shard's actor of now; EG_PID_NONE before it has one. */
eg_pid shard_pid(const struct shard *s);

/* Carry out a checked request.  The caller owns the shard and is in a reader
 * section.  On EG_OK the result was appended; otherwise nothing changed. */
EG_MUST_USE eg_err shard_run(struct shard_turn *t);
/* The same of a change that is one of several, where shard_ready() has been asked and the result
 * has SHARD_RESULT_SMALL_BYTES of room.  After an error some of it may be made: `undo` says what.
 */
EG_MUST_USE eg_err shard_run_part(struct shard_turn *t);

/* The parts of shard_run(), for those who own several shards at once: may the shard
 * be changed now; store one checked record under t->key, telling what it replaced
 * (readable until the turn's end); remove one that was just read; end the turn. */
EG_MUST_USE eg_err shard_ready(struct shard_turn *t);
EG_MUST_USE eg_err shard_store(struct shard_turn *t, struct value array, uint64_t expiry_ms,
                               const struct record **old_out);
EG_MUST_USE eg_err shard_remove(struct shard_turn *t, const struct key *k,
                                const struct record *rec);
EG_MUST_USE eg_err shard_clear(struct shard_turn *t);
/* The clock as it goes to the disc: in `bytes`, of a copy in its own memory until it is packed
 * again.  Size 0: no memory, the disc keeps what it has. */
struct disc_bytes shard_clock_pack(struct shard *s, uint8_t bytes[SHARD_CLOCK_BYTES]);
/* Append [record, ...] under the turn's key. */
EG_MUST_USE eg_err shard_answer_key(struct shard_turn *t);
void shard_turn_end(struct shard *s); /* sweep, account, flush the log */

/* When a write of now expires: its own ttl, else the table's; 0: never. */
uint64_t shard_expiry(const struct shard_turn *t);

/* Read the shard's records and clock back from disc, before its actor starts.
 * `progress` is called now and then with the records so far. */
EG_MUST_USE eg_err shard_recover(struct shard *s, void (*progress)(void *context, uint64_t records),
                                 void *context, struct err_note *note);

/* Remove what has expired, at most `most`.  Returns how many. */
uint64_t shard_purge(struct shard *s, struct reader *r, uint64_t now_ms, uint64_t most);

/* The same for a disc_only table, which must look at its rows where the earliest has
 * expired: at SHARD_PURGE_ROWS of them, or at `all`.  They stay in the reader's scratch
 * memory meanwhile. */
uint64_t shard_purge_rows(struct shard *s, struct reader *r, uint64_t now_ms, bool all);

/* Make a record of what was read back from disc, before the shard serves. */
EG_MUST_USE eg_err shard_take_back(struct shard *s, const struct disc_record *row);

/* A cache gives up its oldest records until it fits; the newest stays, whatever its size. */
void shard_evict(struct shard *s);

/* Close a snapshot, from any thread: at once where the shard is idle, else by its actor.
 * The owner's own way is shard_thaw(), which closes all that are unwanted. */
void shard_give_up(struct shard *s, struct store_snapshot *p);
void shard_thaw(struct shard *s);

bool shard_expired(const struct record *rec, uint64_t now_ms);

/* Assert the invariants above; O(n). */
void shard_check(struct shard *s, struct reader *r);

#endif /* TABLES_SHARD_H */
