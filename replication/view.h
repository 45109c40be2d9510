/* view.h -- which nodes act together: all of a view have acknowledged its id.
 *
 * SWIM says who seems to be there; a view is what everything else hangs on: who masters a
 * shard, which copies must acknowledge, which requests are still good.  A machine
 * without clock or network, as swim.h.
 *
 *     PROPOSE(id, members) --> each: stop granting, flush --> PREPARED(id, what I have)
 *                 |                                                  |
 *      somebody silent or against: another set       all have: COMMIT(id, what all have)
 *
 *     state      hears                      does
 *     SERVING    PROPOSE of a better view   ops->stop(); at view_stopped(): PREPARED, -> PREPARED
 *     SERVING    its view is broken, or     the least id of the set that it should be proposes,
 *                could have more members    after a settling time; the others wait for that
 *     PREPARED   COMMIT                     ops->install(), -> SERVING
 *     PREPARED   nothing for a while        forget it: it serves nobody until it is in a view again
 *
 * Every node tells those whom it reaches whom it reaches, and which view it is in.  A set is
 * one whose members all reach each other by what each has told (both directions count, so a
 * one-way link is none); it is grown from the present view, so that partial failures leave
 * views as they are.  A view is broken where a member cannot be reached, or tells that it is
 * in none or a later one.  A view needs every one of its members, not a majority: any
 * connected set serves.  Whoever is in a whole view leaves it for a larger one only, or at the
 * word of one of its members: so in a network that stays as it is, changes come to an end.
 * Views do not grow before they are VIEW_AGE_MIN_MS old, nor soon after a break of one that did not
 * last; a link that keeps breaking does not count for a while.  Both are counted from the break,
 * so what was cut for longer comes back at once, and are short until it has gone on for
 * long.  A node never grants in its old view after it said PREPARED, and survivors of a death agree
 * before any of them serves alone.
 *
 * What a member has (`lineage`): the last view that it was a whole part of.  Copies of one
 * lineage differ by what was under way only; others must catch up first (replica.h).
 *
 * Source     Aerospike's clustering (prepare, then accept by all proposed); Hazelcast's
 *            complaints for the rules on one-way links and flapping.
 */
#ifndef REPLICATION_VIEW_H
#define REPLICATION_VIEW_H

#include "engine/buffer.h"
#include "replication/node_info.h"

enum {
    VIEW_PREPARE_MS = 500, /* for all to answer a proposal; doubles while somebody is slow */
    VIEW_PREPARE_MS_MAX = 8000,
    VIEW_SETTLE_MS = 100,    /* several changes at once make one view                     */
    VIEW_AGE_MIN_MS = 1000,  /* of a view, before links that came back make a new one     */
    VIEW_AGE_MAX_MS = 2000,  /* since one broke that did not last, before another grows   */
    VIEW_HOLD_MS = 2000,     /* since a link broke again, before it counts                */
    VIEW_HOLD_MS_MAX = 4000, /* where it does so all the time                             */
    VIEW_REPORT_BYTES_MAX = 256 << 10, /* what a member says it has: all fit one frame       */
    VIEW_ID_TEXT_BYTES = 40,
};

struct view_id {
    uint64_t epoch; /* grows with every view that anybody of it has seen */
    uint64_t hash;  /* of epoch, principal and members with their incarnations */
};
static inline bool view_id_equal(struct view_id a, struct view_id b) {
    return a.epoch == b.epoch && a.hash == b.hash;
}
/* As people read it. */
void view_id_text(struct view_id id, char text[VIEW_ID_TEXT_BYTES]);
/* Between two views nobody is in any (epoch 0), so nobody is in the same. */
static inline bool view_id_shared(struct view_id a, struct view_id b) {
    return a.epoch != 0 && view_id_equal(a, b);
}

struct view_member {
    uint64_t id, incarnation;
    struct view_id lineage; /* epoch 0: none, it comes empty or from longer ago than it knows */
    struct value
        report; /* of ops->report(): opaque here, read by replica.h; in the view's memory */
};

/* Immutable; shared by counting, read from any thread. */
struct view {
    struct view_id id;
    uint64_t principal;
    uint32_t count;
    struct alloc *alloc;
    _Atomic uint32_t refs;
    size_t size_bytes;
    struct view_member member[]; /* by id */
};
void view_ref(const struct view *v);
void view_unref(const struct view *v);
const struct view_member *view_find(const struct view *v, uint64_t id); /* NULL: not in it */

struct views;

struct view_ops {
    void (*send)(void *user, uint64_t to, struct value payload); /* reliable while linked */
    /* Grant nothing more; then call view_stopped() with the same id, now or later. */
    void (*stop)(void *user, struct view_id proposed);
    /* Append one value: what this node's copies are (after a stop). */
    eg_err (*report)(void *user, struct buffer *out);
    void (*install)(void *user, const struct view *v); /* keep it by view_ref() */
    uint64_t (*random)(void *user);
};

/* `epoch`: the highest this node remembers (it is to be made durable by ops->install). */
EG_MUST_USE eg_err views_open(struct views **out, struct alloc *a, const struct node_info *self,
                              uint64_t epoch, const struct view_ops *ops, void *user);
void views_close(struct views *v);

/* Time passes; returns when it wants to be called next.  Also after every other call. */
uint64_t views_tick(struct views *v, uint64_t now_ms);
void views_receive(struct views *v, uint64_t from, struct value payload, uint64_t now_ms);
/* This node may act with these, by id (up or only suspect, linked, incarnations as linked); said at
 * every change, and without one whose link has broken in between.  Each node tells the
 * others of its own set. */
void views_reach(struct views *v, const struct node_info *others, uint32_t count, uint64_t now_ms);
void view_stopped(struct views *v, struct view_id proposed, uint64_t now_ms);
/* Ask for a new view of the same members: reports have changed (a copy has become whole). */
void views_renew(struct views *v, uint64_t now_ms);

/* This start has another number from now on: the others know of a later one than ours (swim.h).
 * It takes part in views anew. */
void views_renumber(struct views *v, uint64_t incarnation, uint64_t now_ms);

/* Messages that were malformed. */
uint64_t views_dropped(const struct views *v);
uint64_t views_epoch(const struct views *v); /* the highest that was seen */

/* NULL: none at the moment. */
const struct view *views_now(const struct views *v);

#endif /* REPLICATION_VIEW_H */
