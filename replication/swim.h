/* swim.h -- who is there, as far as anybody knows: SWIM with Lifeguard's corrections.
 *
 * A protocol machine without clock, network or memory of its own: time and messages come
 * in, messages and changes go out, so tests and the simulator drive it by hand.
 *
 *     joining --link--> up --no ack, nor by others--> suspect --nobody refutes--> down
 *                       ^---- it says so itself, with a higher version ---'--------'
 *     leaving -> left (it asked)         removed (an administrator; final)
 *
 * Each interval one member, in shuffled rounds, is pinged over the link to it; who does not
 * answer is pinged by three others; then it is suspect, and down when nobody refutes in time.
 * What changes is gossiped, on pings too.  Lifeguard: a node that misses answers itself trusts its
 * own suspicions less (local health), the time to refute shrinks with independent accusers,
 * and the accused is told first.  Different from the papers: the links are TCP and a full
 * mesh, so a link that breaks is a failed ping at once; nobody is ever forgotten (mesh.h
 * redials); and whoever comes back exchanges the whole state.
 *
 * Claims     What is said of a member is [info, state, version, removed, accusers].  Of two claims
 *            the one with the greater (incarnation, version, state) holds, so all nodes end
 *            with the same whatever the order they hear in.  Only a member itself raises its
 *            version, and so only it refutes.  `removed` is apart: the greatest incarnation
 *            that an administrator has removed; it only grows, and is never forgotten.
 *
 * Source     Das, Gupta, Motivala 2002; Dadgar, Phillips, Currey 2018 (Lifeguard).
 */
#ifndef REPLICATION_SWIM_H
#define REPLICATION_SWIM_H

#include "engine/buffer.h"
#include "replication/node_info.h"

enum {
    SWIM_INTERVAL_MS = 300, /* idle traffic and detection time both hang on it: 1 ping a node */
    SWIM_TIMEOUT_MS = 100,
    SWIM_INDIRECT = 3,
    SWIM_SUSPECT_MULT = 4, /* x interval: 1.2 s for up to 10 nodes */
    SWIM_HEALTH_MAX = 7,
    SWIM_CLOCK_SKEW_MS = 500, /* a member whose clock is further away is `skewed` */
    SWIM_GOSSIP_MS = 100,     /* while there is news, to SWIM_INDIRECT others */
    SWIM_EXCHANGE_MS = 15000, /* one other is asked whether it knows the same */
    SWIM_JOINING_MS = 5000,   /* for one that is remembered to answer, else it is down */
    SWIM_MEMBERS_MAX = 256,   /* with those that have left or were removed */
};

enum swim_state {
    SWIM_JOINING, /* known by name or address, never answered */
    SWIM_UP,
    SWIM_LEAVING,
    SWIM_SUSPECT,
    SWIM_DOWN,
    SWIM_LEFT,
    SWIM_REMOVED,
};
const char *swim_state_name(enum swim_state s);

struct swim_member {
    struct node_info info; /* with the highest incarnation that was heard of */
    enum swim_state state;
    uint64_t version;  /* of this state of this incarnation: higher overrides     */
    uint64_t removed;  /* incarnations up to this one were removed; 0: none       */
    uint64_t since_ms; /* by the machine's clock                                  */
    int64_t skew_ms;   /* of its wall clock to ours, from the last ping           */
    uint64_t round_trip_ms;
    bool linked;
};
static inline bool swim_is_skewed(const struct swim_member *m) {
    return m->skew_ms > SWIM_CLOCK_SKEW_MS || m->skew_ms < -SWIM_CLOCK_SKEW_MS;
}

struct swim;

struct swim_ops {
    /* May be lost; `to` is linked or not. */
    void (*send)(void *user, uint64_t to, struct value payload);
    /* `m` has changed (or is new); `before` is SWIM_JOINING for a new one.  Ourselves too:
     * another incarnation where somebody knew of a later one (our clock went back), or
     * SWIM_REMOVED where we were.  May look, may not change. */
    void (*changed)(void *user, const struct swim_member *m, enum swim_state before);
    uint64_t (*random)(void *user);
};

/* A node that is alone.  EG_MEMORY. */
EG_MUST_USE eg_err swim_open(struct swim **out, struct alloc *a, const struct node_info *self,
                             const struct swim_ops *ops, void *user);
void swim_close(struct swim *s);

/* Time passes; returns when it wants to be called next, at the latest: what comes in between
 * may make something due at once, so tick after it too.  `wall_ms` goes into pings. */
uint64_t swim_tick(struct swim *s, uint64_t now_ms, int64_t wall_ms);
/* From outside: what is malformed is dropped and counted. */
void swim_receive(struct swim *s, uint64_t from, struct value payload, uint64_t now_ms,
                  int64_t wall_ms);

/* The mesh has a link to it: states are exchanged; has lost it: as a ping that failed. */
void swim_linked(struct swim *s, const struct node_info *who, uint64_t now_ms);
void swim_unlinked(struct swim *s, uint64_t id, uint64_t now_ms);

/* What we say of ourselves.  LEAVING: we are about to go; LEFT: we are gone for good; DOWN: for a
 * while, so that nobody has to find out; UP: we are (here again).  Linked members hear it at
 * once. */
void swim_say(struct swim *s, enum swim_state state, uint64_t now_ms);
/* We are alone: everybody else is forgotten. */
void swim_forget_all(struct swim *s, uint64_t now_ms);
/* An administrator's word on somebody else: all its starts so far are removed.  EG_NOT_FOUND;
 * EG_BAD_REQUEST: it is ourselves. */
EG_MUST_USE eg_err swim_remove(struct swim *s, uint64_t id, uint64_t now_ms);

/* May a node of this name and incarnation be linked?  EG_DENIED with a note: another
 * incarnation of it is up; it was removed (it comes back with an incarnation that is newer
 * than its removal, and empty: it reads `removed` of itself to know); there are too many. */
EG_MUST_USE eg_err swim_may_link(const struct swim *s, const struct node_info *who,
                                 struct err_note *note);

/* Ourselves included, by id. */
uint32_t swim_count(const struct swim *s);
const struct swim_member *swim_at(const struct swim *s, uint32_t number);
const struct swim_member *swim_find(const struct swim *s, uint64_t id);

/* Claims and messages that were malformed, or for which there was no room. */
uint64_t swim_dropped(const struct swim *s);

/* The members that are remembered over a restart, and back (before any other call):
 * they are joining until they link.  EG_CORRUPT. */
EG_MUST_USE eg_err swim_save(const struct swim *s, struct buffer *out);
EG_MUST_USE eg_err swim_load(struct swim *s, struct value saved);

#endif /* REPLICATION_SWIM_H */
