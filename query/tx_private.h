/* tx_private.h -- how a transaction lies in memory.  Others include tx.h.
 *
 *     tables --> [table, touched keys]        keys --> [hash, version seen, newest write]
 *                                               ^          |
 *     writes [op, value, what is there after] --'<---------'  each to the one before it
 *     bytes  canonical keys, requests' values, records after changes
 *
 * Everything is found by number, for all of it grows and moves.  While there are few keys they
 * are gone through one by one; from TX_HASH_FROM on there is a hash table.
 *
 * Of a key with one record (a set) each write keeps what is there after it, so the newest one
 * answers every read.  Of a key with many (a bag, siblings) the writes are carried out in their
 * order on what was there before. */
#ifndef QUERY_TX_PRIVATE_H
#define QUERY_TX_PRIVATE_H

#include "engine/env.h"
#include "engine/err.h"
#include "engine/list.h"
#include "query/tx.h"

enum {
    TX_NONE = UINT32_MAX,
    TX_HASH_FROM = 16, /* keys */
    TX_WHY_BYTES = 128,
    TX_HINTS_MAX = 1024,      /* keys that are locked first */
    TX_KEPT_BYTES = 64 << 10, /* of memory, from one transaction to the next */
};

struct tx_table {
    struct table *table;
    void *handle; /* NULL: it is held here */
    uint64_t shape;
    enum table_type type;
    bool many;         /* records under one key                  */
    bool adds;         /* merge: counter, whose deltas go as such */
    bool sorted;       /* touched, by key                        */
    uint32_t *touched; /* keys with writes, or that had some      */
    uint32_t touched_count, touched_room;
};

struct tx_key {
    uint64_t hash;
    uint64_t version;
    uint32_t at, size_bytes;      /* canonical                                             */
    uint32_t kept_at, kept_bytes; /* [record, ...] that its master has told; 0: not asked */
    uint32_t newest;              /* write; TX_NONE: none                                  */
    uint32_t next;                /* in its slot of the hash table; TX_NONE                */
    uint16_t table, shard;
    bool seen;
    bool early;   /* and perhaps not all full copies had that: its master is to say so too */
    bool touched; /* it is in its table's list */
};

struct tx_write {
    uint64_t ttl_ms;
    uint32_t key;
    uint32_t previous; /* of the same key; TX_NONE */
    uint32_t value_at, value_bytes;
    uint32_t after_at, after_bytes; /* of a key with one record: it; 0 bytes: none */
    uint16_t attribute;
    uint8_t op; /* WRITE, DELETE, DELETE_OBJECT, UPDATE, COUNTER */
    bool stays; /* whatever level is undone: tx_change_stays()   */
};

/* What a question has found: heap of its own, so that its path stays where it is. */
struct tx_question {
    struct tx_question *next;
    uint32_t table;
    uint32_t shards;
    size_t size_bytes;      /* of this block */
    struct scan_path path;  /* values lie behind shard[] */
    struct shard_set begun; /* of those the path was gone through at all */
    uint32_t cut;           /* of the shard with this number less 1 the first rows alone; 0: none */
    uint32_t cut_rows;      /* so many                                                  */
    bool whole;             /* of all of the table, by its counts alone               */
    bool stepped;           /* by first and next, which go on where the last one ended */
    struct tx_found {
        uint64_t changes, digest;
    } shard[];
};

struct tx_mark {
    uint32_t writes;
    size_t bytes;
};

enum tx_asks { TX_ASKS_NOTHING, TX_ASKS_KEY, TX_ASKS_SCAN, TX_ASKS_LOCK, TX_ASKS_COMMIT };

struct tx_locked {
    struct table *table; /* held */
    uint32_t shard;
};

/* What is held of which shards, or may be: it outlives the transaction until that is said to all.
 */
struct tx_locks {
    struct tx_locked *list;
    uint32_t count, room;
    struct buffer head; /* whose they are; where there are none, of one look */
    /* The one that is asked for. */
    struct buffer want;
    uint32_t table, shard;
    uint32_t next;  /* of a whole table: its shard */
    bool granted;   /* what was asked for          */
    bool unlocking; /* the answer that is out is to that */
    bool unheard;   /* one of them was not answered in time: the rest is not waited for */
};

/* What the last try has touched. */
struct tx_hint {
    struct table *table;
    void *handle;
    uint32_t at, size_bytes;
    bool exclusive;
};

struct tx {
    struct tx_opts o;
    enum tx_state state;
    uint64_t began_ns, deadline_ns;
    int64_t tick_ms; /* of the coarse clock, and the exact one then */
    uint64_t tick_ns;
    struct tx_table *table;
    uint32_t table_count, table_room;
    struct tx_key *key;
    uint32_t key_count, key_room;
    struct tx_write *write;
    uint32_t write_count, write_room;
    uint32_t *slot;
    uint32_t slot_count, slot_room; /* count 0: few keys, which need no slots */
    struct buffer bytes;
    size_t fixed_bytes; /* up to here nothing is given back by undoing a level */
    uint32_t seen_count;
    uint32_t early_count; /* of those */
    uint32_t shown; /* writes before this one are shown by an open scan: they stay as they are */
    uint32_t level_count;
    uint64_t question_count;
    struct tx_question *questions; /* newest first */
    struct list_node scans;
    struct tx_scan *stepping; /* of tx_step(), while it waits for answers */
    struct buffer rows;       /* of one key with many records, while they are put together */

    enum tx_asks asks;
    uint32_t asked_key;
    struct tx_scan *asked_scan;
    bool unanswered;
    uint64_t until_ns; /* so long is an answer waited for */
    uint32_t refusals;
    eg_err failed; /* an answer said so: the next call does */
    struct err_note failed_note;

    struct tx_locks locks;
    struct tx_hint *hint;
    uint32_t hint_count, hint_room, hint_at;
    struct buffer hint_bytes;

    bool decided; /* of TX_COMMITTING: `outcome` was answered */
    eg_err outcome;
    bool id_given;
    struct transact_id root; /* drawn once; its own ids are those behind it */
    struct transact_id id;
    struct transact_age age;
    struct tx_mark level[TX_LEVELS_MAX];
    char why[TX_WHY_BYTES];
};

/* ---- keys and tables (tx_key.c) ------------------------------------------------ */

/* Its number, entered if need be.  EG_NO_TABLE, EG_MEMORY. */
EG_MUST_USE eg_err tx_table_enter(struct tx *tx, const struct tx_place *at, uint32_t *number);
/* The table of a number in this section; NULL with EG_NO_TABLE or EG_CONFLICT (it has another shape
 * by now). */
struct table *tx_table_now(struct tx *tx, uint32_t number, eg_err *err);
void tx_tables_leave(struct tx *tx);

uint32_t tx_key_find(const struct tx *tx, uint32_t table, const struct key *k); /* or TX_NONE */
EG_MUST_USE eg_err tx_key_enter(struct tx *tx, uint32_t table, const struct key *k,
                                uint32_t *number);
static inline struct value tx_bytes_at(const struct tx *tx, uint32_t at, uint32_t size_bytes) {
    return (struct value){tx->bytes.at + at, size_bytes};
}
static inline struct value tx_key_value(const struct tx *tx, uint32_t key) {
    return tx_bytes_at(tx, tx->key[key].at, tx->key[key].size_bytes);
}
/* Its newest write of those before number `shown`; TX_NONE. */
static inline uint32_t tx_key_write(const struct tx *tx, uint32_t key, uint32_t shown) {
    uint32_t w = tx->key[key].newest;
    while (w != TX_NONE && w >= shown)
        w = tx->write[w].previous;
    return w;
}
/* Append; EG_TOO_LARGE, EG_MEMORY. */
EG_MUST_USE eg_err tx_bytes_put(struct tx *tx, const void *bytes, size_t size_bytes, uint32_t *at);
/* One more entry may come.  EG_TOO_LARGE. */
EG_MUST_USE eg_err tx_room(const struct tx *tx, struct err_note *note);

/* ---- looking (tx_read.c) ---------------------------------------------------------- */

/* Remember the version of a key; what is under it, its first record (size 0: none), in the table or
 * in `bytes`.  EG_AGAIN: it is asked for.  EG_CONFLICT: it is another than before. */
EG_MUST_USE eg_err tx_look(struct tx *tx, const struct tx_place *at, struct key *k, uint32_t key,
                           struct value *first);
/* What was seen early and nothing is changed by: is it so, by now?  EG_AGAIN: it is asked for.
 * EG_CONFLICT: it is another. */
EG_MUST_USE eg_err tx_look_again(struct tx *tx, struct reader *r);
/* All records under a key as the writes before number `shown` leave them: *rows is of the
 * reader's scratch. */
EG_MUST_USE eg_err tx_rows(struct tx *tx, const struct tx_place *at, struct key *k, uint32_t key,
                           uint32_t shown, struct value **rows, uint32_t *count);

/* ---- questions (tx_question.c) ----------------------------------------------------- */

/* A new one for a path, with the counts of the table's shards as they are.  EG_MEMORY,
 * EG_TOO_LARGE. */
EG_MUST_USE eg_err tx_question_open(struct tx *tx, uint32_t table, struct table *t,
                                    const struct scan_path *path, struct tx_question **out);
/* What was looked at is what lies in this range of keys; *q is another block then.  EG_MEMORY: it
 * stays as it is, and stands for more. */
EG_MUST_USE eg_err tx_question_set_range(struct tx *tx, struct tx_question **q,
                                         const struct range *range);
/* The newest one, where it can be gone on with from this key: it ended there, and nothing has
 * changed in the table since it was begun; else NULL. */
struct tx_question *tx_question_ending_at(const struct tx *tx, uint32_t table, struct table *t,
                                          struct value key, bool back);
/* Before others are asked whether they stand: what was not looked at to the end of its shard is
 * gone through, for they compare all of it. */
void tx_questions_complete(struct tx *tx, struct reader *r);
void tx_questions_free(struct tx *tx);

/* ---- scans (tx_scan.c) -------------------------------------------------------------- */

void tx_scans_end(struct tx *tx);    /* all that are open */
void tx_scans_undone(struct tx *tx); /* those that show writes which are no more */
EG_MUST_USE eg_err tx_scan_ask(struct tx_scan *s, eg_pid *to, struct message **out);
void tx_scan_answered(struct tx_scan *s, eg_err err, struct value result);

/* ---- locks (tx_lock.c) ------------------------------------------------------------------ */

EG_MUST_USE eg_err tx_lock_ask(struct tx *tx, eg_pid *to, struct message **out);
EG_MUST_USE eg_err tx_unlock_ask(struct tx *tx, eg_pid *to, struct message **out);
void tx_locks_forget(struct tx *tx); /* they end with their time */
void tx_locks_fini(struct tx *tx);
void tx_hints_take(struct tx *tx);
void tx_hints_clear(struct tx *tx);
void tx_hints_fini(struct tx *tx);

/* ---- states (tx.c) --------------------------------------------------------------------- */

/* Something is not as it was seen. */
EG_MUST_USE eg_err tx_lose(struct tx *tx, struct err_note *note);
void tx_lost(struct tx *tx);
/* Before every call: open, in time, nothing unanswered, and what an answer said. */
EG_MUST_USE eg_err tx_enter(struct tx *tx, struct err_note *note);

void tx_end_committed(struct tx *tx);
void tx_end_refused(struct tx *tx, const char *why);
uint64_t tx_deadline_ms(const struct tx *tx); /* wall clock */
struct tx_mark tx_mark(const struct tx *tx);
void tx_undo_to(struct tx *tx, struct tx_mark mark);

/* ---- the end (tx_commit.c) ------------------------------------------------------------- */

/* Append what its messages begin with (tables/transact.h). */
EG_MUST_USE eg_err tx_pack_head(struct tx *tx, struct buffer *out);
EG_MUST_USE eg_err tx_commit_ask(struct tx *tx, eg_pid *to, struct message **out);
/* It could not be said to anybody. */
void tx_commit_refused(struct tx *tx, eg_err err);
void tx_commit_answered(struct tx *tx, eg_err err, struct value result);

#endif /* QUERY_TX_PRIVATE_H */
