/* cluster_private.h -- how a node's part in the cluster lies in memory. */
#ifndef REPLICATION_CLUSTER_PRIVATE_H
#define REPLICATION_CLUSTER_PRIVATE_H

#include "replication/cluster.h"
#include "replication/cluster_memory.h"
#include "replication/far_read.h"
#include "replication/replica.h"
#include "replication/remote.h"
#include "replication/router.h"
#include "replication/run_code.h"
#include "replication/schema_sync.h"
#include "replication/swim.h"
#include "replication/view.h"
#include "tables/reader.h"

enum {
    CLUSTER_JOINS_WAITING = 16, /* joins whose answer waits for the dial */
};

/* What a question has before its text. */
struct cluster_word {
    uint64_t timeout_ms;
    bool force;
};

/* Somebody who waits for an answer. */
struct cluster_asker {
    eg_pid from;
    eg_ref ref;
    uint64_t due_ms;
    char address[STREAM_ADDRESS_BYTES]; /* of a join */
};

struct cluster {
    struct cluster_opts o;
    struct node_info self;
    struct mesh *mesh;
    struct swim *swim;
    struct views *views;
    struct schema_sync *schema;
    struct router *router;
    struct far_read *reads;
    struct replicas *replicas;
    struct remote *remote;
    const struct view *view; /* installed last */
    bool to_install;         /* its copies have no roles yet: tables are still being learnt */
    bool install_again;      /* or there was no memory, or no disc, for it */
    bool reach_changed;      /* links or members have, since the views were told */
    bool running;            /* inside cluster_run() */
    _Atomic bool open;       /* the machines are */
    _Atomic uint64_t epoch;  /* of the view that this node is in now; 0: of none */
    uint64_t schema_ticked_ms;
    uint64_t unsent;      /* payloads of machines that say it again */
    eg_pid root;          /* supervises the two actors */
    _Atomic uint64_t pid; /* of the actor of now, slot << 32 | generation */
    struct reader reader; /* of the mesh's turns, which run outside sections */
    bool reader_open;

    /* Where a message of views is put, and where one is read. */
    uint8_t view_said[RUN_BYTES_MAX], view_heard[RUN_BYTES_MAX];

    struct cluster_memory memory; /* as the disc is to have it */
    bool renumbered;              /* the mesh is to say so                         */
    bool to_remember;             /* and does not */
    struct buffer remembered;     /* what it had at the start: `members` points into it */
    struct value members;

    struct cluster_asker joins[CLUSTER_JOINS_WAITING];
    uint32_t join_count;
    struct cluster_asker leaver; /* from EG_PID_NONE: nobody asked */
    bool leaving;                /* others are getting what is here */
    uint64_t parting_ms;         /* when the others are to be forgotten at last; 0: never */
    uint64_t left[NODES_MAX];    /* the cluster that it has left: they may not know */
    uint32_t left_count;
    uint64_t own_joins; /* of the addresses that it was started to join: a bit for each of itself */
    bool met;           /* it has been in a view with another since its start */

    uint32_t state;   /* enum replica_state, as it is now */
    bool copies_news; /* more of them are full than the view knows */
    uint64_t disc_well_ms, renewed_ms, skew_looked_ms, copies_looked_ms;
    uint64_t discs_full[NODES_MAX], skewed[NODES_MAX]; /* ids: it was told of them */
    uint32_t discs_full_count, skewed_count;
    uint32_t skew_looks; /* at which our own clock was other than we say */
    bool stale;          /* removed since its data began: it links with nobody */
};

uint64_t cluster_now_ms(const struct cluster *c);

/* In answer to a call, from anywhere on the cluster's scheduler.  EG_OK: `true`. */
void cluster_answer(struct cluster *c, eg_pid to, eg_ref ref, eg_err err, const char *text);

/* What stands before a question's text, and that: "" where it is none. */
struct cluster_word cluster_word_of(const struct message *m, char *text, size_t room_bytes);

/* ---- who comes and goes (cluster_member.c) ------------------------------ */

void cluster_join(struct cluster *c, const struct message *m);
void cluster_joined(struct cluster *c, const char *address, eg_err err, const char *text);
/* Was it told whom to join, and has met nobody?  Then it may be one of them whose data are gone. */
bool cluster_is_lost(const struct cluster *c);
/* Something is known of ourselves that we did not say. */
void cluster_self_changed(struct cluster *c, const struct swim_member *self);
void cluster_member_tick(struct cluster *c);

/* ---- who goes (cluster_leave.c) -------------------------------------------- */

void cluster_leave(struct cluster *c, const struct message *m);
void cluster_remove(struct cluster *c, const struct message *m);
void cluster_part(struct cluster *c); /* say LEFT, and be alone soon */
void cluster_leave_tick(struct cluster *c);
/* Is that one of those whom it has left, and not joined again? */
bool cluster_has_left(const struct cluster *c, uint64_t id);

/* Members that were remembered are dialled; what is new is remembered. */
EG_MUST_USE eg_err cluster_recall(struct cluster *c);
void cluster_remember(struct cluster *c);

/* ---- what is told (cluster_event.c) --------------------------------------- */

void cluster_tell_member(struct cluster *c, const struct swim_member *m);
void cluster_tell_view(struct cluster *c, const struct view *v);
void cluster_tell_copies(struct cluster *c, const char *state, uint64_t shards);
void cluster_tell_discs(struct cluster *c); /* of others, where this view knows otherwise */
void cluster_tell_skews(struct cluster *c);
void cluster_tell_own_skew(struct cluster *c, bool is_skewed);

/* Clocks, our disc, what others are to know of us: looked at now and then (cluster_watch.c). */
void cluster_watch_tick(struct cluster *c);
/* Who may hold copies: all that are not removed. */
uint32_t cluster_placement(const struct cluster *c, struct placement_node out[NODES_MAX]);

/* Append what cluster_status answers (cluster_status.c). */
EG_MUST_USE eg_err cluster_put_status(const struct cluster *c, struct buffer *out);

#endif /* REPLICATION_CLUSTER_PRIVATE_H */
