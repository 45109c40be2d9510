/* shard_copy.h -- a shard as one of several copies of it on other nodes.
 *
 *     owner's turn: store, remove, clear --note--> group of the turn --ops->changed()--> others
 *     others' groups --shard_copy_apply()--> store, remove; what is older loses; clock
 *
 * A change is known by its dot: who made it (an origin: one start of one node) and as its
 * how-many-th.  The shard's clock says which dots have been applied or are superseded by what
 * was; two copies with equal clocks have equal records.  A delete leaves a grave (key, stamp,
 * dot), so that what it removed does not come back from a copy that was away; a clear
 * leaves one stamp for all.  What goes because its time is over is each copy's own affair: its
 * grave has the version of what went, so nobody need be told.  What a full cache gives up
 * leaves nothing.
 *
 * A change of elsewhere is applied where it is newer, by stamp and then by origin, than what is
 * there: record, grave, clear.  So copies that have heard of the same changes are equal, in
 * whatever order they came.  It is not refused for a limit or a unique index.  Where the turn
 * says what the teller knew, versions that did not know of each other are merged instead, by the
 * table's policy and as a change of ours (shard_conflict.h).
 *
 * Readers of several copies must not see a change here and miss it there afterwards: what is newer
 * than `stable` is read at the master, which answers when all have it (table_read_stands()).
 *
 * A node that has never known another has none of this: `shard.copy` is NULL, its clock is one
 * number, and what it removes is gone, for nobody can have it still.
 *
 * A change on its way, in a group: an array
 *
 *     [0, origin, sequence, hlc, expiry, record, state]  stored; expiry 0: never; state: where
 *                                                    there is one
 *     [1, origin, sequence, hlc, key]                removed; of a bag the record
 *     [2, origin, sequence, hlc]                     all that is older is removed
 *     [3 ...], [4 ...]                               parts of transactions: shard_mark.h
 *
 * Invariants (shard_copy_check)
 *   (1) a key has a record or a grave, not both.
 *   (2) nothing is older than the last clear.
 *   (3) who has covered recent_behind() lacks only what is noted as recent, where nothing is loose.
 *   A record's dot is covered by the clock, but for those that came before their END (replica.h):
 *   they are `loose` until it has come, or until they are claimed.  What the owner writes over or
 *   removes meanwhile is covered one by one (shard_merge_saw()): it has been seen.
 *
 * Threads    The shard's owner.
 */
#ifndef TABLES_SHARD_COPY_H
#define TABLES_SHARD_COPY_H

#include "tables/grave.h"
#include "tables/hash_tree.h"
#include "tables/recent.h"
#include "tables/shard.h"
#include "tables/shard_clock.h"
#include "tables/shard_dirty.h"
#include "tables/shard_floor.h"

struct actor;
struct catalog;
struct message;
struct shard_conflict;

enum { SHARD_COPY_GROUP_BYTES_MAX = 64 << 20 }; /* of one turn */

struct shard_copy {
    struct shard_clock clock; /* see shard_copy_clock() */
    struct shard_floor floor; /* of what was removed and is forgotten */
    struct graves graves;
    uint64_t graves_said;          /* bytes of them, as the node counts them */
    struct recent recent;          /* the last changes: what is not loose */
    struct hash_tree *tree;        /* where it is compared with another: leaves are marked */
    struct record_version cleared; /* hlc 0: never */
    uint64_t ahead;                /* the latest stamp that our clock did not follow
                                    * (shard_stamp.h) */
    struct grave *digging;         /* of the removal under way */
    struct buffer packed;          /* the clock as it goes to the disc */
    bool loose;                    /* there may be more here than the clock says; on disc too */
    bool unsure;                   /* likewise, since the disc gave it back: nothing is recent */
    bool more;                     /* likewise, though it is claimed: until another's END comes */
    struct buffer state;           /* of the record that is being written (shard_merge.h) */
    struct buffer merged;          /* and it, where it comes of two (shard_conflict.h) */
    bool votes;                    /* of a majority table: it has all that it has ever
                                    * acknowledged; on disc too (docs/decisions/0015) */
    bool telling;                  /* somebody follows: changes are noted */
    bool lost;                     /* some could not be: who follows must begin anew */
    bool news;                     /* there is something to tell without a change */
    uint32_t group_count;          /* of the turn's changes, and of earlier patient ones */
    struct patience patience;      /* of dirty changes (shard_dirty.h) */
    bool gives_way;                /* another copy is master soon where our disc is full */
    struct buffer group;           /* one behind the other */
    uint64_t told;                 /* the own sequence that others know of */
    uint64_t own_from;             /* of our own changes only those behind it are here */
    void *feed;                    /* replication's own */
    struct shard_marks *marks;     /* of transactions' parts; NULL: none yet (shard_mark.h) */
};

/* Why an answer waits: bits. */
enum shard_hold {
    SHARD_HOLD_CHANGED = 1, /* others must have what it changed                            */
    SHARD_HOLD_LOOKED = 2,  /* a chair's majority must say that its view stood when it looked */
};

/* What has become of a transaction's part in a shard (shard_tx.h). */
enum shard_part_news {
    SHARD_PART_PREPARED,
    SHARD_PART_COMMITTED, /* its changes are in the turn's group */
    SHARD_PART_ABORTED,
};

/* What replication does with the shards' changes; the shard's owner calls. */
struct shard_copy_ops {
    /* A turn has changed something, or `lost` it.  The group is emptied afterwards.  False: it has
     * only patient changes, and is told with those of a later turn. */
    bool (*changed)(void *user, struct shard *s);
    /* May a dirty change add to what is on its way to the others? */
    bool (*room)(void *user, struct shard *s);
    /* A message whose tag is SHARD_COPY_FIRST or above. */
    void (*receive)(void *user, struct actor *self, struct shard *s, struct message *m);
    /* A successor has taken the shard over. */
    void (*resume)(void *user, struct actor *self, struct shard *s);
    /* The answer of a request waits for other copies: true, and the message is taken.  Where they
     * answer another node's request themselves, who passed it on hears EG_AGAIN at once.  `why`:
     * enum shard_hold. */
    bool (*hold)(void *user, struct actor *self, struct shard *s, const struct message *call,
                 const struct shard_request *q, struct message *reply, unsigned why);
    void (*close)(void *user, struct shard *s); /* nobody calls any more: free the feed */
    /* Two versions met, and one or both are not what is there now.  NULL: nobody listens. */
    void (*conflict)(void *user, const struct shard_conflict *c);
    /* Will that origin never make a change any more, and have we all that it has made?  While this
     * is so nobody else can say so of this shard.  NULL: nobody knows. */
    bool (*is_over)(void *user, struct shard *s, uint64_t origin);
    /* A part of a transaction was prepared at this master, or ended, in this turn: the full copies
     * are told together with the turn's group, and hold() waits for that too.  `part` where it was
     * prepared; flat (transact.h).  EG_OK, or it is not prepared (an end is always taken: what it
     * could not tell makes followers begin anew).  NULL: nobody has copies. */
    eg_err (*part)(void *user, struct shard *s, enum shard_part_news news, struct value head,
                   struct value part);
};

enum { SHARD_COPY_FIRST = 0x40000 };

/* The stamps of a majority table do not come from clocks: what was written in a later view is
 * later (docs/decisions/0015). */
#define SHARD_STAMP_VIEWS (UINT64_C(1) << 63)
static inline uint64_t shard_stamp_of_view(uint64_t epoch) {
    return SHARD_STAMP_VIEWS | (epoch & 0x7fffff) << 40;
}

/* NULL: nobody listens; then every shard's copy is as it was at the last call. */
void catalog_set_copies(struct catalog *c, const struct shard_copy_ops *ops, void *user);
struct origins *catalog_origins(struct catalog *c);
/* All tables, by name; valid in the section. */
uint32_t catalog_tables(struct catalog *c, struct table *const **tables);

/* Begin to keep what copies need.  EG_MEMORY. */
EG_MUST_USE eg_err shard_copy_open(struct shard *s);
void shard_copy_close(struct shard *s);
void shard_set_role(struct shard *s, enum shard_role role);
enum shard_role shard_role(const struct shard *s); /* any thread */

/* The parts of a table, for who keeps its copies. */
struct shard *table_shard(struct table *t, uint32_t number);
struct reader *shard_reader(const struct shard *s, const struct actor *self);

/* All full copies have what is stamped so, or earlier. */
void shard_set_stable(struct shard *s, uint64_t hlc);
static inline bool shard_is_stable(const struct shard *s) {
    return atomic_load_explicit(&s->newest, memory_order_acquire) <=
           atomic_load_explicit(&s->stable, memory_order_acquire);
}

/* ---- how far it has come ------------------------------------------------------------------- */

/* All of the clock, the shard's own changes included. */
const struct shard_clock *shard_copy_clock(struct shard *s);
/* All that these stand for has been applied.  EG_MEMORY: some is not covered. */
EG_MUST_USE eg_err shard_copy_cover(struct shard *s, const struct shard_clock *of);
EG_MUST_USE eg_err shard_copy_cover_range(struct shard *s, uint64_t origin, uint64_t from,
                                          uint64_t to);

/* Drop the graves that are covered (NULL: whichever), and not stamped later than this; the floor
 * rises over them.  Returns how many. */
uint64_t shard_copy_forget(struct shard *s, const struct shard_clock *covered, uint64_t until_hlc);
/* No clock will come for what is `loose`: it becomes a change of our own, so that whose clock has
 * that has it too. */
void shard_copy_claim(struct shard *s);
/* Are there records here, perhaps, of which the clock says nothing? */
static inline bool shard_copy_has_more(const struct shard *s) {
    return s->copy->loose || s->copy->unsure || s->copy->more;
}
/* Its word counts from now on, or no more. */
void shard_copy_vote(struct shard *s, bool votes);
/* Drop everything that is here, as if there had never been a copy. */
EG_MUST_USE eg_err shard_copy_wipe(struct shard_turn *t);
/* Has there been a change, of ours or of others, since the beginning or since all was dropped? */
bool shard_copy_any(struct shard *s);

/* ---- in the owner's turn, called by its operations (shard_copy_note.c) ------------------- */

/* Before a record is stored that an index has under another value than before. */
void shard_copy_indexing(struct shard *s, uint64_t hlc);
/* Before a record is stored: what the disc must forget.  EG_MEMORY. */
EG_MUST_USE eg_err shard_copy_storing(struct shard_turn *t, struct value array, uint64_t hlc);
void shard_copy_stored(struct shard_turn *t, struct value array, struct value state,
                       struct record_version version, uint64_t expiry_ms);
/* Before a record is removed; then either of the others. */
EG_MUST_USE eg_err shard_copy_removing(struct shard_turn *t, const struct key *k,
                                       const struct record *rec, struct record_version version);
void shard_copy_removed(struct shard_turn *t);
void shard_copy_not_removed(struct shard_turn *t);
/* Before everything is removed: a disc_only table forgets at once, and so must know why at once. */
EG_MUST_USE eg_err shard_copy_clearing(struct shard_turn *t, struct record_version version);
void shard_copy_cleared(struct shard_turn *t, struct record_version version);

/* The end of a turn. */
void shard_copy_tell(struct shard *s);
/* Forget what has not been told: who is to know of it begins anew, by our clock. */
void shard_copy_drop_group(struct shard *s);
static inline bool shard_copy_has_news(const struct shard *s) {
    return s->copy->group_count != 0 || s->copy->lost || s->copy->news;
}

/* ---- changes of elsewhere (shard_copy_apply.c) -------------------------------------------- */

/* About so many records are where the `coming` next changes come from, which a walk tells: have
 * room for them, as far as what comes is worth it, whoever says what. */
void shard_copy_expect(struct shard *s, uint64_t count, uint32_t coming);
/* Apply a group's changes, elements of an array, from outside: what is malformed is EG_BAD_REQUEST.
 * After an error some are applied: the same group may come again.  The caller has asked
 * shard_ready(), and then covers what they stand for: shard_copy_cover(). */
EG_MUST_USE eg_err shard_copy_apply(struct shard_turn *t, struct value_iter changes);
/* The record that has this key, in a bag this value; NULL: none, or a fault of the reader's. */
const struct record *shard_copy_find(struct shard_turn *t, const struct key *k, struct value whole);

/* Write a record, a grave, the last clear as a change (shard_copy_change.c). */
void shard_copy_put_record(const struct origins *o, const struct record *rec,
                           struct value_writer *w);
void shard_copy_put_grave(const struct origins *o, const struct grave *g, struct value_writer *w);
void shard_copy_put_clear(const struct origins *o, struct record_version v, struct value_writer *w);

/* ---- what another copy has, where two differ that should not (shard_copy_mend.c) ---------- */

struct shard_offer {
    struct record_version version;
    uint64_t expiry_ms;
    struct value record, state;
};

/* A stored record, told as a change; from outside.  EG_BAD_REQUEST: it is none of this shard. */
EG_MUST_USE eg_err shard_copy_read_offer(struct shard *s, struct value change,
                                         struct shard_offer *out, uint64_t *hash);
bool shard_copy_is_newer(const struct shard *s, struct record_version a, struct record_version b);
/* Do both stand for the same: for one key, of a bag for one record? */
bool shard_copy_is_same(const struct shard *s, struct value a, struct value b);
enum shard_trace { SHARD_TRACE_NONE, SHARD_TRACE_RECORD, SHARD_TRACE_GONE /* later than that */ };
/* What is here of what was offered; `gone`: the version by which it is.  EG_DISC, EG_MEMORY. */
EG_MUST_USE eg_err shard_copy_trace(struct shard *s, struct reader *r, const struct shard_offer *o,
                                    enum shard_trace *out, struct record_version *gone);
enum shard_mend {
    SHARD_MEND_WRITE,  /* as a new change of ours              */
    SHARD_MEND_REMOVE, /* likewise                             */
    SHARD_MEND_KEEP,   /* as it is: all others have it, and hear nothing */
};
/* Whatever is here.  As shard_store(). */
EG_MUST_USE eg_err shard_copy_mend(struct shard_turn *t, const struct shard_offer *with,
                                   enum shard_mend how);

/* What is under the key, or is not, as a change of ours, so that it stays whatever a master of
 * before has made there that nobody heard of: `record` is what that may be, and of size 0 where it
 * may be no record that is not here.  As shard_store(). */
EG_MUST_USE eg_err shard_copy_affirm(struct shard_turn *t, const struct key *k,
                                     struct value record);

/* ---- disc (shard_copy_disc.c) ------------------------------------------------------------- */

struct disc_bytes shard_copy_pack(struct shard *s); /* as it goes behind SHARD_CLOCK_BYTES */
EG_MUST_USE eg_err shard_copy_recover_clock(struct shard *s, struct disc_bytes packed);
EG_MUST_USE eg_err shard_copy_recover_graves(struct shard *s);
/* The disc gave back what has this dot. */
void shard_copy_recovered(struct shard *s, uint64_t dot);
/* Another shape's shard goes on with it (reshape.h): EG_MEMORY, nothing is moved. */
EG_MUST_USE eg_err shard_copy_move(struct shard *from, struct shard *to);

void shard_copy_check(struct shard *s, struct reader *r);

#endif /* TABLES_SHARD_COPY_H */
