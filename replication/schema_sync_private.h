/* schema_sync_private.h -- how the list of tables is kept in step: what its files share.
 *
 *     schema_sync.c    what others say, views, time      schema_say.c     the payloads
 *     schema_learn.c   what must be done here to agree   schema_change.c  a change, at its
 * principal
 */
#ifndef REPLICATION_SCHEMA_SYNC_PRIVATE_H
#define REPLICATION_SCHEMA_SYNC_PRIVATE_H

#include "engine/message.h"
#include "replication/schema_list.h"
#include "replication/schema_sync.h"

/* Kinds of payloads: see schema_sync.c. */
enum { LIST, APPLY, APPLIED, ASK, ANSWER, SUM, PAYLOAD_KINDS };
enum { SCHEMA_PAYLOAD_BYTES_MAX = 16 << 20, SCHEMA_TEXT_BYTES = 200 };

struct schema_applying {
    uint64_t to, number;
    uint32_t left;
    eg_err err;
    struct schema_name name;
};

/* One thing that the catalog is to do. */
struct schema_step {
    struct list_node node;
    uint64_t number;
    uint32_t op;
    bool unsent;
    uint64_t group; /* of the steps of one entry that was heard: one after the other; 0: alone */
    bool held;      /* until those before it are done */
    bool decided;   /* by others: it must be done                                       */
    bool lost;      /* with it, the default of an attribute that both sides of a cut added */
    struct schema_name name, asked;
    struct buffer value;
    struct schema_entry *outcome;     /* what is known then; NULL: nothing yet */
    struct schema_applying *applying; /* NULL: of a LIST, or of `change` */
    struct schema_asked *change;
};

enum schema_asked_state { QUEUED, HERE, SPREAD };

struct schema_asked {
    struct list_node node;
    enum schema_asked_state state;
    uint64_t peer; /* who asked for it with that number; 0: a CALL of this node */
    uint64_t number;
    eg_pid from;
    eg_ref ref;
    uint64_t since_ns;
    struct catalog_request request; /* spans into `bytes` */
    struct buffer bytes;
    uint64_t spread_number;
    uint64_t waiting[NODES_MAX]; /* of SPREAD: who has not APPLIED yet */
    uint32_t waiting_count;
    bool until_whole;
    bool applied;     /* of one that another node leads: what it told of the table is done here */
    uint64_t made_ns; /* it is made, by its word, and not known here yet; 0: no word of it */
};

struct schema_peer {
    uint64_t id;
    struct view_id listed; /* the view in which it has last said all that it knows */
};

struct schema_sync {
    struct schema_sync_opts o;
    struct schema_list list;
    const struct view *view;
    struct list_node steps, changes, asked, parked;
    uint64_t numbers;
    struct schema_peer peer[NODES_MAX];
    uint32_t peer_count;
    bool again; /* something could not be learnt now: lists are asked for again */
    bool was_whole;
    struct buffer out;
    uint64_t malformed;
};
/* ---- saying: lost where there is no memory or no link, and then said again by the tick ------- */

void schema_say_list(struct schema_sync *s, uint64_t to, bool want);
/* That this node knows what has this sum; the list, to who does not know what a sum is. */
void schema_say_sum(struct schema_sync *s, uint64_t to, bool want);
void schema_say_apply(struct schema_sync *s, uint64_t to, uint64_t number,
                      const struct schema_entry *e);
void schema_say_applied(struct schema_sync *s, uint64_t to, uint64_t number, eg_err err);
void schema_say_answer(struct schema_sync *s, uint64_t to, uint64_t number, eg_err err,
                       const char *text);
EG_MUST_USE eg_err schema_say_ask(struct schema_sync *s, uint64_t to, const struct schema_asked *c);
/* To who asked with a CALL on this node. */
void schema_say_reply(struct schema_sync *s, eg_pid to, eg_ref ref, eg_err err, const char *text);

/* ---- learning ------------------------------------------------------------------------------- */

/* Do what it takes to agree with `theirs`, which is taken over.  EG_BUSY: later. */
EG_MUST_USE eg_err schema_learn(struct schema_sync *s, struct schema_entry *theirs,
                                struct schema_applying *applying);
/* It is so now: put it into the list. */
void schema_know(struct schema_sync *s, struct schema_entry *e);
/* On disc, before it is done: that it is to be so, and what is known now; and back when the node
 * starts, whichever it is by then. */
EG_MUST_USE eg_err schema_intend(struct schema_sync *s, const struct schema_entry *e);
EG_MUST_USE eg_err schema_recall(struct schema_sync *s, struct err_note *note);

/* Something for the catalog to do; NULL: no memory.  Sent, and sent again while it is unsent. */
struct schema_step *schema_step_add(struct schema_sync *s, const struct schema_name *name,
                                    uint32_t op, struct value value);
void schema_step_send(struct schema_sync *s, struct schema_step *p);
/* Remember what is to be, and send it.  EG_BUSY, EG_DISC, ...: it could not be remembered. */
EG_MUST_USE eg_err schema_step_begin(struct schema_sync *s, struct schema_step *p);
void schema_step_free(struct schema_sync *s, struct schema_step *p);

/* As who makes a table. */
struct schema_name schema_self_name(const struct schema_sync *s);

/* ---- changes -------------------------------------------------------------------------------- */

/* A copy of what is asked, in no list.  NULL: no memory. */
struct schema_asked *schema_change_new(struct schema_sync *s, const struct catalog_request *q);
/* To the principal of the present view; it waits where there is none. */
void schema_change_dispatch(struct schema_sync *s, struct schema_asked *c);
/* Begin the next one, where it is its turn. */
void schema_change_next(struct schema_sync *s);
/* It is done here: let all others of the view do it. */
void schema_change_spread(struct schema_sync *s, struct schema_asked *c,
                          const struct schema_entry *e);
struct schema_asked *schema_change_spreading(struct schema_sync *s); /* NULL: none is */
void schema_change_applied(struct schema_sync *s, uint64_t from, uint64_t number, eg_err err);
/* Tell who asked, and forget it. */
void schema_change_end(struct schema_sync *s, struct schema_asked *c, eg_err err, const char *text);
/* What the principal told of this table is done here. */
void schema_change_applied_here(struct schema_sync *s, const struct schema_name *name);
/* Whoever asked here can be told what is made: this node knows of it, or has waited for long. */
void schema_change_tell_made(struct schema_sync *s, bool whole);
/* Payloads ASK and ANSWER.  False: malformed. */
bool schema_change_asked(struct schema_sync *s, uint64_t from, const struct value field[5]);
bool schema_change_answered(struct schema_sync *s, const struct value field[4]);

/* Has the list just become whole? */
void schema_look_whole(struct schema_sync *s);

#endif /* REPLICATION_SCHEMA_SYNC_PRIVATE_H */
