/* feed_private.h -- how one shard's feed lies in memory, and what its files ask of each other:
 *
 *     feed.c         orders of views, time, the way in
 *     feed_master.c  who follows, who is full, answers that wait, changes told
 *     feed_walk.c    what a follower lacks
 *     feed_copy.c    following: what is heard, applied, said
 *     feed_graves.c  deletes that need not be remembered
 *     feed_sift.c    what such a delete has removed, where it was not heard of
 *     feed_up.c      what was written dirty at a copy, up to the master and on to the others
 *     feed_witness.c other nodes' requests that the copies answer themselves
 *     feed_quorum.c  majority tables: who has heard, has it, says that the view stands
 *     feed_out.c     messages put together
 *     feed_compare.c what two copies have, where a clock does not say it (feed_compare.h)
 *     feed_scan.c    all records of a shard, in steps
 *     feed_scrub.c   copies compared (feed_scrub.h)
 *     feed_mend.c    and made equal */
#ifndef REPLICATION_FEED_PRIVATE_H
#define REPLICATION_FEED_PRIVATE_H

#include "replication/feed.h"

#include "engine/planted.h"
#include "engine/runtime.h"
#include "replication/replica.h"
#include "tables/table.h"

enum {
    FEED_TICK_MS = 100,
    FEED_WAIT_MS = 5, /* for a link, or for others to have walked */
    FEED_ARRAY32_BYTES = 5,
    FEED_HELD_BYTES_MAX = 64 << 20,
    FEED_OUT_KEPT_BYTES = 1 << 20,
    FEED_PARTS = 16,
    FEED_AHEAD_BYTES = 4 << 20, /* on a link to a copy that fills, before dirty writes wait */
};

enum walk_stage {
    WALK_WAITS,
    WALK_COMPARES, /* until it has said what it has (feed_compare.h) */
    WALK_RECENT,
    WALK_CLEAR,
    WALK_RECORDS,
    WALK_GRAVES,
    WALK_END,
    WALK_OVER
};

struct sift;    /* feed_sift.c */
struct compare; /* feed_compare.h */

/* A copy that follows this one. */
struct follower {
    uint64_t node;
    bool once;                   /* only what is there now: it is the master, and we follow it */
    bool heard;                  /* we have all that it had; only then is it told anything */
    bool asked;                  /* we follow it, once */
    bool lacked;                 /* it has something that we have not: it must be asked */
    bool partial;                /* it has told some of that */
    bool full;                   /* counted: answers wait for it */
    uint64_t session;            /* its FOLLOW's */
    uint64_t origin;             /* of its changes, likewise */
    uint64_t asked_session;      /* and that of ours to it */
    uint32_t asked_ticks;        /* since it was asked, or has told something       */
    uint32_t asked_failures;     /* how often what it told could not be taken       */
    uint64_t covered;            /* of our own changes, as it says */
    uint64_t kept;               /* likewise, and its disc has them for good */
    uint64_t told_stable;        /* the stamp that it was told last */
    uint64_t stands;             /* the last round that it has answered */
    uint64_t end_sequence;       /* ours at the END */
    struct shard_clock has;      /* as it said when it followed */
    struct shard_clock snapshot; /* ours at that moment */
    enum walk_stage stage;
    struct recent_place recent; /* of a walk through the last changes only */
    bool walks;                 /* it is one of the world's `walks`        */
    bool compares;              /* and of its `compares` */
    struct buffer place;        /* of the walk: the last key */
    uint64_t grave_place;
    bool graves_ended;
    struct sift *sift;       /* before its END is taken; NULL: none is needed */
    uint64_t has_more;       /* so many records, that its clock does not say all of; 0: it does */
    struct compare *told;    /* what it has, where it follows us; NULL: its clock says it */
    struct compare *compare; /* what we have, where we follow it                     */
};

/* All that is stamped so is there by that change. */
struct mark {
    uint64_t sequence, hlc;
};

/* A stretch of the group: it came from that copy, which need not hear it again. */
struct feed_part {
    uint64_t from;  /* 0: from here */
    uint32_t count; /* where it ends, in changes */
    size_t bytes;   /* and in bytes              */
};

/* An answer that waits for copies.  Without a reply it is another node's request, which they answer
 * themselves: feed_witness.c. */
struct held {
    uint64_t sequence;
    uint64_t round; /* that must be over first; 0: none     */
    bool changed;   /* given up, it is in doubt; else it did not happen */
    eg_pid to;
    eg_ref ref;
    struct message *reply;
    uint64_t for_node, for_number;
    bool part;        /* of a transaction           */
    uint64_t session; /* in which that node's copy follows */
};

struct feed {
    struct feed_world *world;
    struct replica_plan plan;
    bool was_full, acks_one;
    bool unheard; /* a copy: FULL of another lineage, until it serves in the master's */
    bool stopped; /* between two views: nothing is granted, and nobody told anything new */
    bool serving; /* the master: role granted                     */
    bool ended;   /* a copy: the master's END has come          */
    bool partial; /* a copy: it has heard some of what stands before an END */
    bool ragged;  /* there may be more here than the clock says, for no END came */
    bool quiet;   /* a copy: nothing was heard since the last tick */
    bool counted; /* a copy: the master may wait for us         */
    bool barred;  /* a copy: our disc takes no more, and we do not follow */
    bool deaf;    /* the master: it takes not what a copy has whose own disc takes changes */
    uint32_t quiet_ticks;
    uint32_t failures;    /* how often what was told could not be taken, since we were full */
    uint32_t pause_ticks; /* before we follow anew; 0: none */
    uint16_t slot;        /* of the master's origin, once ended           */
    uint64_t began;   /* the master's last change when we followed: what was before may have gaps */
    uint64_t acked;   /* of the master's changes, last said           */
    bool late;        /* it has more, and says so in a while */
    uint64_t session; /* of the last FOLLOW    */
    uint64_t following;      /* of that to the master */
    struct sift *sift;       /* of the master's END      */
    struct compare *compare; /* with the master     */
    bool ticking, stepping;
    uint32_t ticks;
    uint32_t doubt_ticks; /* with parts of transactions prepared here */
    uint64_t synced;      /* our own changes that our disc has */
    uint32_t follower_count;
    struct follower *follower[NODES_MAX];
    struct buffer held;          /* struct held, by sequence */
    struct buffer marks;         /* struct mark, by sequence: what is not stable yet */
    uint64_t told_stable;        /* what the others were told last */
    uint64_t poked;              /* the copies, that they say what they have: of so many */
    struct buffer out;           /* the message that is being put together */
    struct shard_clock relay;    /* goes out with the next changes: what they stand for besides */
    struct witness_word witness; /* goes out with them; node 0: none */
    bool hurry;                  /* what is relayed is waited for                      */
    bool forced;                 /* the group is told now, whatever is on its way      */
    bool parts_over;             /* what follows the last part may be from anybody     */
    uint32_t part_count;
    struct feed_part part[FEED_PARTS];
    uint64_t up_sent, up_has;  /* a copy: of its own, told to the master; and what that has */
    bool owes;                 /* what was written dirty here is to be heard in the next view */
    bool lingers;              /* as it was in the one before: it takes nothing dirty now */
    bool upset;                /* a copy: something of them is lost, it must follow anew    */
    struct shard_clock wiped;  /* what is left in the clock when all was let go of */
    struct shard_clock forget; /* to be forgotten when all have covered forget_sequence */
    uint64_t forget_sequence;  /* 0: nothing */
    struct shard_clock cut;    /* the same, where they take too much */
    uint64_t cut_sequence;
    uint64_t kept;       /* our own changes that our disc has for good */
    struct scrub *scrub; /* NULL: it is not compared (feed_scrub.h) */
    uint64_t round;      /* the last that was begun; and ended */
    uint64_t round_over;
    bool round_more; /* the next is waited for */
};

static inline struct feed *feed_of(const struct shard *s) {
    return s->copy == NULL ? NULL : s->copy->feed;
}
/* A shard that has taken on another layout is told of as another, with the same feed. */
static inline uint64_t feed_records_id(const struct shard *s) {
    return schema_records_id(table_schema(s->table));
}
static inline bool feed_is_master(const struct feed *st) {
    return st->plan.master == st->world->self;
}

/* ---- feed_out.c: false, EG_MEMORY: no room, and what is in `out` means nothing --------------- */

/* Begin a message of `more` values behind the head, for which `rest_bytes` will be needed. */
bool feed_out_begin(struct shard *s, enum replica_kind kind, uint32_t more, size_t rest_bytes);
/* The same, of a round in which copies are compared, `own` or its master's: the round says of which
 * view and table it is (scrub.h), and the head is short. */
bool feed_out_begin_round(struct shard *s, enum replica_kind kind, bool own, uint64_t round,
                          uint32_t more);
bool feed_out_u64(struct feed *st, uint64_t n);
bool feed_out_clock(struct feed *st, const struct shard_clock *c);
eg_err feed_out_send(struct feed *st, uint64_t to);
/* A whole message of one number, or (ANEW) of none. */
eg_err feed_say(struct shard *s, uint64_t to, enum replica_kind kind, uint64_t n);
/* COVERED, SERVE: of what began with this FOLLOW alone. */
eg_err feed_say_of(struct shard *s, uint64_t to, enum replica_kind kind, uint64_t session,
                   uint64_t n);
/* Is it of that session?  What is not is late: it is dropped, and counted. */
bool feed_is_of(const struct feed *st, struct value_iter *it, uint64_t session);
/* Who hears a session twice need not do it twice. */
eg_err feed_send_follow(struct shard *s, uint64_t to, uint64_t session, bool once);

/* ---- feed_master.c --------------------------------------------------------------------------- */

/* Answers that wait, by sequence. */
struct held *feed_held(const struct feed *st, size_t *count);
bool feed_hold(void *user, struct actor *self, struct shard *s, const struct message *call,
               const struct shard_request *q, struct message *reply, unsigned why);
/* Those that all full copies have covered are given; all are told that they are in doubt, or, where
 * they have changed nothing, to ask again. */
void feed_release(struct actor *self, struct shard *s);
void feed_give_up(struct actor *self, struct feed *st);
/* They are as good in this view as they were in the one before, once its copies have covered them.
 */
void feed_carry_over(struct feed *st);
/* What all full copies, and our disc where it must, have of our own changes. */
uint64_t feed_covered_by_all(const struct shard *s, const struct feed *st);
/* What a disc is asked to say (FEED_SYNCED). */
struct notice {
    uint64_t session; /* a copy's, whose numbers are its master's; 0: the numbers are ours */
    uint64_t sequence;
};
/* Our disc will say when it has all up to `sequence`. */
bool feed_sync_notice(struct actor *self, struct shard *s, uint64_t sequence);

struct follower *feed_follower(const struct feed *st, uint64_t node); /* NULL: it does not */
/* Is it in the view, and may it have a copy? */
bool feed_is_holder(const struct feed *st, uint64_t node);
void feed_follower_drop(struct feed *st, uint32_t i);
void feed_drop_node(struct actor *self, struct shard *s, uint64_t node);
void feed_set_telling(struct shard *s); /* after followers have come or gone */
/* Let it tell us what it has and we have not. */
void feed_ask_once(struct shard *s, struct follower *f);
/* Time passes: where it was in vain, again. */
void feed_ask_again(struct actor *self, struct shard *s, struct follower *f);
/* It has, and is covered: now it hears what it lacks. */
void feed_heard(struct actor *self, struct shard *s, struct follower *f);
/* Is it being told?  What it has and we have not must not be overwritten before we know it. */
static inline bool feed_is_told(const struct follower *f) {
    return f->once || f->heard || PLANTED(TOLD_BEFORE_HEARD);
}
/* It has missed something: it must follow anew, and hears so. */
void feed_lose(struct shard *s, struct follower *f);

/* What has become stable since; and let the others know. */
void feed_mark(struct shard *s);
void feed_settle(struct shard *s);
void feed_tell_stable(struct shard *s);

/* The role that goes with who is full; and to serve, as soon as who must be heard is. */
void feed_grant(struct actor *self, struct shard *s);
void feed_try_serve(struct actor *self, struct shard *s);
void feed_hear_follow(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it);
void feed_hear_covered(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it);
bool feed_changed(void *user, struct shard *s);

/* ---- feed_quorum.c: of a majority table; of others all is enough ------------------------------
 */

static inline bool feed_has_quorum(const struct feed *st) {
    return st->plan.quorum.lists != 0;
}
/* Has the master heard so many that it has all that was ever acknowledged? */
bool feed_quorum_heard(const struct feed *st);
/* Have so many copies all? */
bool feed_quorum_full(const struct feed *st);
/* The master stays, and those by whom its view was counted have come from it straight into this
 * one: no other was counted between. */
bool feed_quorum_goes_on(const struct replica_plan *before, const struct replica_plan *now);
/* The round that must be over before what was looked at now may be told. */
uint64_t feed_round(struct actor *self, struct shard *s);
void feed_hear_round(struct shard *s, uint64_t from, struct value_iter *it);
void feed_hear_stands(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it);
/* Time passes: who has not answered is asked again. */
void feed_round_tick(struct actor *self, struct shard *s);

/* ---- feed_walk.c ----------------------------------------------------------------------------- */

void feed_step(struct actor *self, struct shard *s); /* of all walks under way */
void feed_walk_ends(struct feed *st, struct follower *f);
/* Is there nothing here that no clock says? */
bool feed_is_even(const struct feed *st);

/* ---- feed_copy.c ----------------------------------------------------------------------------- */

bool feed_follows(const struct feed *st, uint64_t from); /* is that our master? */
void feed_follow_anew(struct actor *self, struct shard *s);
/* What was told could not be taken: the same, after a while that grows. */
void feed_fall_behind(struct actor *self, struct shard *s);
/* A copy's time passes. */
void feed_copy_tick(struct actor *self, struct shard *s);
/* Our disc takes no more: nobody is to wait for us, until the tick finds room. */
void feed_wait_for_room(struct actor *self, struct shard *s);
/* Say what we have of the master's changes, as soon as our disc has it where it must. */
void feed_acknowledge(struct actor *self, struct shard *s);
void feed_acknowledge_late(struct actor *self, struct shard *s); /* what was put off */
void feed_say_covered(struct shard *s, uint64_t sequence);
void feed_hear(struct actor *self, struct shard *s, const struct message *m);
/* Is it an answer to our last FOLLOW to that node? */
bool feed_is_asked(const struct feed *st, uint64_t from, struct value_iter *it);
/* All that the END stands for is here, and what it says is gone is not (`sifted`). */
void feed_take_end(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it,
                   bool sifted);
/* What was heard from there could not be applied: it is asked for again. */
void feed_not_taken(struct actor *self, struct shard *s, uint64_t from, eg_err err);

/* The changes that come next in a message.  `teller`: who may have been on another side, as it said
 * what it knew; NULL: newer wins. */
eg_err feed_apply(struct actor *self, struct shard *s, const struct follower *teller,
                  struct value_iter *it);

/* ---- feed_sift.c ----------------------------------------------------------------------------- */

/* An END is to be taken whose teller has forgotten deletes up to `floor`; `said`: its values. True:
 * it is taken later, when what they removed has gone. */
bool feed_sift_begins(struct actor *self, struct shard *s, uint64_t from, struct value said,
                      const struct shard_clock *knows, const struct shard_floor *floor);
void feed_sift_again(struct actor *self, struct shard *s, uint64_t to);
/* It is known what is to be asked about. */
void feed_sift_go(struct actor *self, struct shard *s, uint64_t from);
bool feed_sift_put(const struct shard *s, const struct record *rec, struct buffer *out);
void feed_sift_stop(struct feed *st, struct sift **at);
void feed_hear_have(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it);
void feed_hear_gone(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it);

/* ---- feed_compare.c ------------------------------------------------------------------------- */

/* Before a walk: let it say what it has.  True: the walk begins then; or, EG_BUSY, it is asked
 * later, for others are. */
bool feed_compare_offer(struct actor *self, struct shard *s, struct follower *f, eg_err *err);
/* It has said so, or need not. */
void feed_compare_ends(struct feed *st, struct follower *f);
void feed_compare_offer_again(struct shard *s, const struct follower *f);
/* Before a sift: feed_sift_go() follows.  False: all is to be asked about. */
bool feed_compare_begins(struct actor *self, struct shard *s, uint64_t from, uint64_t session);
/* What was said last may be lost. */
void feed_compare_again(struct actor *self, struct shard *s, uint64_t to);
/* That copy has told something: comparisons with others have not seen it. */
void feed_compare_spoil(const struct feed *st, uint64_t from);
void feed_compare_stop(const struct feed *st, struct compare **at);
/* Has who follows said that it has this one? */
bool feed_compare_has(const struct shard *s, const struct compare *c, const struct record *rec);
/* Some more is looked at; false: nothing is under way. */
bool feed_compare_step(struct actor *self, struct shard *s);
void feed_hear_tree(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it);
void feed_hear_want(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it);

/* ---- feed_scan.c ---------------------------------------------------------------------------- */

typedef eg_err (*feed_look)(void *user, const struct record *rec, uint64_t hash);
/* The next records behind the place, which is moved on; empty: the first.  *over: there are no
 * more.  EG_MEMORY, EG_DISC, or what was returned for one of them: nothing is said of the others.
 */
eg_err feed_scan(struct actor *self, struct shard *s, struct buffer *place, feed_look look,
                 void *user, bool *over);

/* ---- feed_graves.c --------------------------------------------------------------------------- */

/* The master's, now and then: graves that nobody needs any more are forgotten. */
void feed_tend_graves(struct actor *self, struct shard *s);
/* They take too much: the oldest are forgotten, whoever is away. */
void feed_cut_graves(struct shard *s, uint64_t limit_bytes);
void feed_hear_sync(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it);
void feed_hear_synced(struct shard *s, uint64_t from, struct value_iter *it);
void feed_kept(struct shard *s, const struct message *m);

/* Of what is repeated until it is answered: is it time, after so many ticks? */
bool feed_is_time(uint32_t ticks);

/* ---- feed_up.c ------------------------------------------------------------------------------- */

/* What has been noted since the last part ends is from that copy; 0: from here. */
void feed_part(struct shard *s, uint64_t from);
/* What came to the master from another, and is in the group, goes on to those who follow, with a
 * clock that it stands for (NULL: nothing); as a change of ours, so that they can say that they
 * have it. */
void feed_relay(struct shard *s, const struct shard_clock *of);
/* Nothing of the group is to be told: who needs it begins anew. */
void feed_forget_group(struct shard *s);
/* Tell the group now. */
void feed_flush(struct shard *s);
/* May the group grow some more before it is told? */
bool feed_may_wait(const struct shard *s);
/* A copy's own changes to its master; false: not yet. */
bool feed_tell_master(struct shard *s);
void feed_hear_up(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it);
bool feed_room(void *user, struct shard *s);

/* ---- feed_scrub.c ---------------------------------------------------------------------------- */

void feed_scrub_begin(struct actor *self, struct shard *s, const struct message *m);
void feed_scrub_step(struct actor *self, struct shard *s);
void feed_scrub_go(struct actor *self, struct shard *s, const struct message *m);
void feed_scrub_drop(struct shard *s); /* whatever is under way */
void feed_scrub_hear(struct actor *self, struct shard *s, uint64_t from, enum replica_kind kind,
                     struct value_iter *it);

/* ---- feed_witness.c -------------------------------------------------------------------------- */

/* Let the copies answer it: true, and the reply is taken. */
bool feed_witness_hold(struct actor *self, struct shard *s, const struct message *call,
                       const struct shard_request *q, struct message *reply);
const struct witness_word *feed_witness_word(struct shard *s);
/* All have it, by our count; it cannot be said whether they will. */
void feed_witness_over(struct feed *st, const struct held *h);
void feed_witness_give_up(struct feed *st, const struct held *h, const char *why);
/* A copy has applied what this word came with.  True: it has said so to who waits for it. */
bool feed_witness_hear(struct shard *s, struct value word);

/* ---- time ------------------------------------------------------------------------------------ */

void feed_tick_soon(struct actor *self, struct shard *s);
void feed_step_soon(struct actor *self, struct shard *s, bool wait);

#endif /* REPLICATION_FEED_PRIVATE_H */
