/* transact.h -- what a transaction has seen and wants, and the ways to commit it at the shards.
 *
 *     transact_look, scans --> seen, questions      nothing leaves the transaction
 *     writes ---------------> wants                 before it is committed
 *
 *     (a) wants nothing:                 transact_stands()         in place
 *     (b) all shards here and idle:      transact_try()            in place
 *     (c) one shard:    transact_pack_part(), SHARD_TX_ONE     --> its master
 *     (d) several, or transact_is_singly():  SHARD_TX_PREPARE  --> theirs, by a manager
 *
 * Version    Of a key: its record's stamp (hlc), 0 where there is none; of a bag's key or of
 *            siblings, a digest over what is under it.  A key stands if it has the version that was
 *            seen.
 * Question   A path that was gone through (scan.h), in one shard.  It stands if the shard has
 *            counted no change since it was begun, else if it finds the same versions again: which
 *            is looked at where few records are on the path (TRANSACT_ASK_MAX), else it does not
 *            stand.  Counts of two copies, or of two lives of one, are never equal.
 * Want       A plain request of shard_msg.h: WRITE, INSERT_NEW, DELETE, DELETE_OBJECT, UPDATE,
 *            COUNTER; carried out in order.
 *
 * Flat, as they go between nodes, a head and a part for each shard:
 *
 *     head [id high, id low, age ms, age node, age count, coordinator, deadline ms]
 *     part [[key, version, ...], [question, ...], [op, attribute, ttl ms, key, value, ...],
 *           flags]                   key, value: nil where the op has none
 *
 * One moment (b, c, d): who looks in place while several records are being changed together, or
 * where a prepared part may change what he has looked at, is told to ask the shard instead
 * (table_got_stands(), table_read_stands()): so nobody sees half.
 *
 * Ownership  Tables are borrowed: the transaction keeps its references (table_ref).
 * Threads    Any, in a reader section, but for shard_tx.h.
 */
#ifndef TABLES_TRANSACT_H
#define TABLES_TRANSACT_H

#include "engine/buffer.h"
#include "tables/scan.h"
#include "tables/shard_msg.h"

struct message;
struct table;

enum {
    TRANSACT_ASK_MAX = 1024,                  /* records that are looked at again for a question */
    TRANSACT_HERE_MAX = 64,                   /* shards that are claimed at once                 */
    TRANSACT_PARTS_MAX = 4096,                /* shards of one transaction                       */
    TRANSACT_TRIES_MAX = 64,                  /* of one request that a client has named          */
    TRANSACT_PART_BYTES_MAX = 15 * (1 << 20), /* fits a frame between nodes, with its head       */
};

struct transact_id {
    uint64_t high, low; /* both 0: none */
};

static inline bool transact_id_is_none(struct transact_id id) {
    return id.high == 0 && id.low == 0;
}

static inline bool transact_id_equal(struct transact_id a, struct transact_id b) {
    return a.high == b.high && a.low == b.low;
}

/* The id of try number `number`, from 1, of what a client has named: an id is used once, by one
 * try, so whatever is late of a try that was lost finds nothing of the next one.  Whoever knows the
 * request's id finds its tries with it, at the same manager (high ^ low is the same); no two tries
 * of a request have the same, and one of another has it by chance alone.  The mixing is
 * SplitMix64's (Steele, Lea, Flood 2014). */
static inline struct transact_id transact_id_of_try(struct transact_id request, uint32_t number) {
    uint64_t mix = request.high + number * UINT64_C(0x9e3779b97f4a7c15);

    mix = (mix ^ mix >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mix = (mix ^ mix >> 27) * UINT64_C(0x94d049bb133111eb);
    mix ^= mix >> 31;
    return (struct transact_id){request.high ^ mix, request.low ^ mix};
}

/* Since when it has been tried, kept over its tries: the smaller is older, and none are equal. */
struct transact_age {
    uint64_t ms, node, count;
};

static inline bool transact_is_older(struct transact_age a, struct transact_age b) {
    if (a.ms != b.ms)
        return a.ms < b.ms;
    return a.node != b.node ? a.node < b.node : a.count < b.count;
}

struct transact_head {
    struct transact_id id;
    struct transact_age age;
    uint64_t coordinator; /* a node, 0: this one, which has no others */
    uint64_t deadline_ms; /* wall clock */
};

/* A key that was looked at. */
struct transact_seen {
    struct table *table;
    struct value key; /* canonical, and its hash: table_key() */
    uint64_t hash;
    uint64_t version;
    uint32_t shard; /* transact_shard_of() */
};

/* A path that was gone through in shard `shard`; its values are borrowed, `only` is not looked at.
 */
struct transact_question {
    struct table *table;
    uint32_t shard;
    uint64_t changes; /* transact_changes() before it began */
    uint64_t digest;  /* of all records that the path led to: transact_add()  */
    const struct scan_path *path;
};

struct transact_want {
    struct table *table;
    struct shard_request request; /* key and value borrowed     */
    struct value key;             /* of the request, or of its record: as in transact_seen */
    uint64_t hash;
    uint32_t shard; /* transact_shard_of() */
};

struct transact {
    const struct transact_seen *seen;
    const struct transact_question *question;
    const struct transact_want *want; /* in their order */
    uint32_t seen_count;
    uint32_t question_count;
    uint32_t want_count;
    uint32_t patience; /* how often a busy shard is looked at (table_try()); 0: once */
};

/* ---- looking --------------------------------------------------------------------------- */

/* What is under `k` now, where this node's copy may be read: its first record (of siblings the
 * newest; NULL: none) and its version.  EG_AGAIN: ask with SHARD_TX_READ.  Others: the disc. */
EG_MUST_USE eg_err transact_look(struct table *t, struct reader *r, const struct key *k,
                                 const struct record **rec, uint64_t *version);
/* The same, also where not all full copies have it yet, or may not: then not *stands, and it is to
 * be looked at again before anything is decided by it (by its master, which validates it). */
EG_MUST_USE eg_err transact_glance(struct table *t, struct reader *r, const struct key *k,
                                   const struct record **rec, uint64_t *version, bool *stands);
/* After its EG_AGAIN: does somebody hold the shard for a moment only, or no more? */
bool transact_passes(struct table *t, const struct key *k);
/* How many changes the shard has counted, as a number that no other shard or copy has. */
uint64_t transact_changes(const struct table *t, uint32_t shard);
/* Have all full copies what is here, and may nothing that is prepared change it?  After the scan of
 * a shard in place, in the same section; else SHARD_TX_ASK it. */
bool transact_scan_stands(struct table *t, uint32_t shard);
/* Of a path of which only the first `rows` records were looked at, with this digest: that of all of
 * it, for who has another copy to compare with.  EG_CONFLICT: the first ones are others by now;
 * EG_TOO_LARGE: TRANSACT_ASK_MAX records are not all; the disc's. */
EG_MUST_USE eg_err transact_complete(struct table *t, uint32_t shard, struct reader *r,
                                     const struct scan_path *path, uint32_t rows, uint64_t *digest);
/* The digest of a question with one more record; 0 is that of none, the order does not matter. */
uint64_t transact_add(uint64_t digest, const struct record *rec);

/* ---- committing in place --------------------------------------------------------------- */

/* (a) Was there one moment at which all that was seen was so?  EG_OK; EG_CONFLICT; EG_AGAIN: cannot
 * be said from here: ask the masters (SHARD_TX_ONE or SHARD_TX_PREPARE without wants). */
EG_MUST_USE eg_err transact_stands(struct reader *r, const struct transact *x,
                                   struct err_note *note);
/* (b) EG_OK: all that was seen stands and all wants are done, in one moment; EG_CONFLICT: it does
 * not; EG_AGAIN: not here or not now (busy, copies elsewhere, locked, synced disc): send it.  Other
 * errors are a want's.  After an error nothing has changed.  *results, unless NULL: one value
 * behind the other for each want. */
EG_MUST_USE eg_err transact_try(struct reader *r, const struct transact *x, struct buffer *results,
                                struct err_note *note);

/* Does it make several changes, some of them where one may be without the others?  A disc_only
 * table writes each by itself; of a majority table's a master that was cut off keeps all, and the
 * heal brings those that nobody has written over.  Only rows and marks that tell of the whole keep
 * it whole: by a manager, also within one shard. */
bool transact_is_singly(const struct transact *x);

/* May transact_try() do it at some time, as things are now?  Else its shards have copies elsewhere,
 * or answer when the disc has it. */
bool transact_is_here(const struct transact *x);

/* ---- committing by message --------------------------------------------------------------- */

/* The shard of a key that has been checked (table_key()). */
uint32_t transact_shard_of(const struct table *t, struct value key);
/* The hash of a key that is canonical. */
uint64_t transact_hash_of(const struct table *t, struct value key);

/* Append the head.  EG_MEMORY, EG_TOO_LARGE. */
EG_MUST_USE eg_err transact_pack_head(const struct transact_head *h, struct buffer *out);
/* From anywhere: false where it is none. */
EG_MUST_USE bool transact_get_head(struct value packed, struct transact_head *out);
/* Append what of `x` is of this shard.  EG_MEMORY, EG_TOO_LARGE. */
EG_MUST_USE eg_err transact_pack_part(const struct transact *x, const struct table *t,
                                      uint32_t shard, struct buffer *out);
/* Is this a part, each of whose wants a shard of `t` could do?  EG_BAD_REQUEST and what
 * table_check_request() says. */
EG_MUST_USE eg_err transact_check_part(struct table *t, uint32_t shard, struct value part,
                                       struct err_note *note);

/* Does a part only say what was seen? */
bool transact_part_reads(struct value part);
/* Does it stand at this node's copy, for a transaction that holds all it will change, where all
 * full copies know so: any thread.  EG_CONFLICT; EG_AGAIN: only its master can say
 * (SHARD_TX_PREPARE); EG_BAD_REQUEST: it is none; the disc's. */
EG_MUST_USE eg_err transact_part_stands(struct table *t, uint32_t shard, struct reader *r,
                                        struct value part);

/* At how many places of it could there have been another thing between two looks that found the
 * same?  Nothing, or what a bag or a question has; not a record, whose version comes but once. */
uint32_t transact_part_flickers(const struct table *t, struct value part);

/* A SHARD_TX_* request as a CALL for shard number `shard`, wherever its master is.  EG_MEMORY,
 * EG_BUSY. */
EG_MUST_USE eg_err transact_message(struct table *t, uint32_t shard, const struct shard_request *q,
                                    eg_pid *to, struct message **out);

/* ---- parts that nobody ends --------------------------------------------------------------- */

struct catalog;

/* A part is prepared in this shard since some seconds: what became of its transaction?  Who knows,
 * or finds out, sends COMMIT or ABORT.  In the shard's turn; asked again until then. */
struct transact_doubt {
    void (*ask)(void *user, struct table *t, uint32_t shard, struct value head);
    void *user;
};

/* From here on; NULL: nobody.  It outlives the catalog's shards, or a turn that began before. */
void catalog_set_doubt(struct catalog *c, const struct transact_doubt *doubt);

/* Append a path as SHARD_TX_ASK wants it:
 *
 *     [kind, index, low is, low, high is, high, exact, [equal, ...], [point, ...]]
 *
 * where an end is 0: not given, else 1, + 2: open, + 4: prefix.  EG_MEMORY, EG_TOO_LARGE. */
EG_MUST_USE eg_err transact_pack_path(const struct scan_path *path, struct buffer *out);

#endif /* TABLES_TRANSACT_H */
