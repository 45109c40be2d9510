/* swim_private.h -- what the files of the membership protocol share.
 *
 * swim.c asks who answers, swim_claim.c keeps what is said of whom.
 */
#ifndef REPLICATION_SWIM_PRIVATE_H
#define REPLICATION_SWIM_PRIVATE_H

#include "replication/swim.h"

enum {
    SWIM_ACCUSERS = 3,       /* more do not make a suspicion shorter                     */
    SWIM_RELAYS = 64,        /* pings under way that others have asked for               */
    SWIM_MESSAGE_CLAIMS = 6, /* in one message                                           */
    SWIM_CLAIM_BYTES = 384,  /* one, at most: name, address and ten numbers              */
    SWIM_MESSAGE_BYTES = SWIM_MESSAGE_CLAIMS * SWIM_CLAIM_BYTES + 64,
};

/* Of incarnations and versions: what claims more is malformed, for nobody could go beyond it. */
#define SWIM_NUMBER_MAX (UINT64_MAX / 4)

/* [kind, number, ...]: what is numbered is answered with the number. */
enum swim_kind {
    SWIM_PING,   /* [kind, number, claims ...]                                 */
    SWIM_ACK,    /* [kind, number, wall clock in ms, claims ...]               */
    SWIM_ASK,    /* [kind, number, id of who is to be pinged, claims ...]      */
    SWIM_NACK,   /* [kind, number]: we did ping it and had no answer in time   */
    SWIM_TELL,   /* [kind, claims ...]                                         */
    SWIM_DIGEST, /* [kind, digest]: all claims are asked for where it differs  */
};

struct swim_claim {
    struct node_info info;
    enum swim_state state;
    uint64_t version, removed;
    uint32_t accuser_count;
    uint64_t accuser[SWIM_ACCUSERS];
};

struct swim_probe {
    bool under_way;
    bool asked; /* the others too */
    uint32_t number;
    uint32_t asked_count, nack_count;
    uint64_t started_ms;
    int64_t started_wall_ms;
};

struct swim_entry {
    struct swim_member m;
    struct swim_probe probe;
    uint64_t linked_as;  /* the start that the link is to, by its own word */
    bool hurry;          /* to be pinged next: somebody suspects it */
    uint32_t tell_count; /* how often what we know of it is still to be told */
    uint32_t accuser_count;
    uint64_t accuser[SWIM_ACCUSERS];
};

/* A ping that somebody else asked for. */
struct swim_relay {
    uint32_t number;       /* ours; 0: free */
    uint32_t their_number; /* in the answer */
    uint64_t asker, target;
    uint64_t due_ms;
};

struct swim {
    struct alloc *alloc;
    const struct swim_ops *ops;
    void *user;
    uint64_t now_ms;
    int64_t wall_ms;
    uint64_t next_ms; /* what swim_tick() has returned */
    uint64_t probe_ms, gossip_ms, exchange_ms;
    uint64_t dropped;
    uint32_t health; /* 0: well */
    uint32_t number; /* of the last ping */
    uint32_t count;
    uint32_t told_at; /* who stands first in the next message */
    uint32_t round_at, round_count;
    uint16_t order[SWIM_MEMBERS_MAX]; /* entries by id */
    uint16_t round[SWIM_MEMBERS_MAX]; /* entries that are still to be pinged in this round */
    struct swim_relay relay[SWIM_RELAYS];
    struct swim_entry entry[SWIM_MEMBERS_MAX]; /* the first is ourselves */
};

static inline struct swim_entry *swim_self(struct swim *s) {
    return &s->entry[0];
}

/* One that should answer. */
static inline bool swim_is_live(const struct swim_member *m) {
    return m->state == SWIM_UP || m->state == SWIM_LEAVING || m->state == SWIM_SUSPECT;
}

/* Does a ping get to it?  What answers to the name may be another start, that of a node whose clock
 * went back: then the later one, which others speak of, is not heard. */
static inline bool swim_is_reached(const struct swim_entry *e) {
    return e->m.linked && e->linked_as == e->m.info.incarnation;
}

/* ---- swim_claim.c ------------------------------------------------------- */

struct swim_entry *swim_entry_find(struct swim *s, uint64_t id);
/* One that is not there; NULL: no room. */
struct swim_entry *swim_entry_add(struct swim *s, const struct node_info *info);

/* Somebody (or we ourselves) says this of a member. */
void swim_claim_take(struct swim *s, uint64_t from, const struct swim_claim *c);
/* A new state that we have found out. */
void swim_entry_set(struct swim *s, struct swim_entry *e, enum swim_state state);
/* `by` has had no answer from it. */
void swim_accuse(struct swim *s, struct swim_entry *e, uint64_t by);
/* What we say of ourselves, with a version above all that was said. */
void swim_say_self(struct swim *s, enum swim_state state);

/* Send [kind, number, ...] with what `to` should hear. */
void swim_send(struct swim *s, uint64_t to, enum swim_kind kind, uint64_t number, int64_t word);
void swim_send_all(struct swim *s, uint64_t to);
void swim_send_one(struct swim *s, uint64_t to, const struct swim_entry *e);
void swim_tell_linked(struct swim *s, const struct swim_entry *e);
void swim_claims_receive(struct swim *s, uint64_t from, struct value_iter *it);
uint64_t swim_digest(const struct swim *s);
EG_MUST_USE bool swim_has_news(const struct swim *s);

#endif /* REPLICATION_SWIM_PRIVATE_H */
