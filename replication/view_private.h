/* view_private.h -- what the files of the agreement on views share.
 *
 * view.c proposes, agrees and commits; view_peer.c knows whom we reach and what they tell.
 */
#ifndef REPLICATION_VIEW_PRIVATE_H
#define REPLICATION_VIEW_PRIVATE_H

#include "replication/view_set.h"

enum { VIEW_SMALL_BYTES = 128 + NODES_MAX * 18 }; /* any message without a report */

enum view_message_kind {
    VIEW_TELL,     /* [kind, heard, epoch seen, where, its epoch, its hash, its members, reach]   */
    VIEW_PROPOSE,  /* [kind, epoch, hash, wait in ms, members]                                    */
    VIEW_PREPARED, /* [kind, epoch, hash, lineage's epoch, hash, report]                          */
    VIEW_REFUSE,   /* [kind, epoch, hash, epoch seen]                                             */
    VIEW_COMMIT,   /* [kind, epoch, hash, (id, incarnation, lineage's epoch, hash, report) ...]   */
    VIEW_RENEW,    /* [kind]: the principal is asked for a new view of the same                   */
};

/* Where a node is, as it tells. */
enum view_where {
    WHERE_NONE,
    WHERE_AGREED, /* to a proposal of this id */
    WHERE_WHOLE,  /* in this view             */
    WHERE_BROKEN, /* in this view, which cannot go on */
};

struct view_word {
    enum view_where where;
    struct view_id id;
    uint32_t count; /* members of a whole view */
    struct view_set reach;
};

struct view_peer {
    struct view_start who;
    bool told;    /* `word` is what it says                   */
    bool to_tell; /* it has not heard ours, as far as we know */
    struct view_word word;
    bool silent;         /* that is why it is shunned: until it says something */
    uint32_t fail_count; /* proposals in a row that it was the cause of */
    bool asked;          /* by our last proposal, over this very link: else it is lost */
    uint64_t heard_ms;
    uint64_t shunned_until_ms;
};

/* A link that has broken: the more often, the longer after it does not count. */
struct view_flap {
    struct view_start who;
    uint32_t times;
    uint64_t lost_ms, hold_ms;
};

/* A link as we were told of it. */
struct view_linked {
    struct view_start who;
    uint64_t counts_ms; /* from when on                                        */
    bool to_tell;       /* it may think that it counts: to be told where it does not */
};

/* What a member has answered. */
struct view_answer {
    bool prepared;
    struct view_id lineage;
    uint8_t *report;
    uint32_t report_bytes;
};

enum view_pending_state { PENDING_NONE, PENDING_STOPPING, PENDING_PREPARED };

struct views {
    struct alloc *alloc;
    const struct view_ops *ops;
    void *user;
    struct view_start self;
    uint64_t now_ms;
    uint64_t epoch;        /* the highest seen                        */
    uint64_t agreed_epoch; /* of the last proposal that was agreed to */
    uint64_t dropped;

    struct view *view;       /* the last one installed; may be left already */
    struct view_set members; /* of it                                       */
    bool serving;            /* in it                                       */
    bool broken;             /* a link to a member has been lost since      */
    bool renew;              /* another of the same is asked for            */
    uint64_t installed_ms;
    uint64_t broke_ms; /* the last one of more than ourselves */
    struct view_id lineage;

    enum view_pending_state pending; /* a proposal that we have agreed to */
    bool mine;                       /* and have made                     */
    struct view_id pending_id;
    struct view_set pending_set;
    uint64_t pending_since_ms, pending_until_ms;
    struct view_answer answer[NODES_MAX]; /* where it is mine: of the members by their place */

    uint64_t prepare_ms; /* how long the next proposal of ours waits */
    uint64_t age_ms;     /* since one broke, until another may grow  */
    uint64_t settle_ms;  /* since when something is to be proposed; 0: nothing is */
    uint64_t patience_ms;
    struct view_word word; /* what we told last */
    uint32_t linked_count, flap_count, peer_count;
    struct view_linked linked[NODES_MAX];
    struct view_flap flap[NODES_MAX];
    struct view_peer peer[NODES_MAX]; /* those whom we reach, by id: linked long enough */
};

/* ---- view_peer.c -------------------------------------------------------- */

struct view_peer *views_peer(struct views *v, uint64_t id); /* NULL: not reached */
bool views_reaches(struct views *v, struct view_start who);
bool views_is_self(const struct views *v, struct view_start who);
/* Is the view that we are in as good as new?  Only while serving. */
bool views_is_whole(struct views *v);
/* The set that this node should be in.  Whoever would not gain by it is left where it is. */
void views_wanted(struct views *v, struct view_set *out);

/* Those are peers whose links have lasted long enough; to be looked at as time passes. */
void views_peers_update(struct views *v);
uint64_t views_peers_next_ms(const struct views *v); /* when something becomes right by itself */

void views_send(struct views *v, uint64_t to, const uint8_t *at, const struct value_writer *w);
/* Tell all whom we reach where we are and whom we reach, where they do not know. */
void views_tell(struct views *v);
/* Tell one whom we do not reach, as far as we count links: it hears just that. */
void views_tell_stranger(struct views *v, uint64_t to);
/* After the kind.  false: malformed. */
EG_MUST_USE bool views_tell_receive(struct views *v, struct view_peer *p, struct value_iter *it);
EG_MUST_USE bool views_epoch_get(const struct views *v, struct value field, uint64_t *out);

#endif /* REPLICATION_VIEW_PRIVATE_H */
