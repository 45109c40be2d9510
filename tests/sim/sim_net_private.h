/* sim_net_private.h -- the insides of the simulated network.
 *
 *     host --< wire (a stream_net) --< side --- conn --- side >-- wire >-- host
 *                                       `--way: segments--^
 *
 * A side outlives its stream: what was written before a close still arrives.  A connection is
 * freed when neither side has a stream, waits to be adopted, or has anything under way.
 */
#ifndef TESTS_SIM_SIM_NET_PRIVATE_H
#define TESTS_SIM_SIM_NET_PRIVATE_H

#include "engine/list.h"
#include "tests/sim/sim_net.h"

enum { SIM_HOST_NAME_BYTES = 32 };

struct segment {
    struct segment *next;
    uint64_t arrives_ns;
    uint32_t size_bytes, read_bytes; /* size 0: the end */
    uint8_t bytes[];
};

/* What one side sends: arrived ones wait to be read, those from `flying` on are under way. */
struct way {
    struct segment *oldest, *flying, *newest;
    size_t arrived_bytes, flying_bytes;
    struct sim_event arrival; /* of `flying` */
};

struct side {
    struct conn *conn;
    uint32_t host;
    struct wire *wire;         /* NULL: nobody's */
    struct sim_stream *stream; /* NULL: not adopted yet, or let go of */
    struct way out;
    struct list_node ready; /* in the wire's list: something is to be told */
    struct sim_event gives_up, hears_reset;
    const uint8_t *writing; /* NULL: no write() is under way */
    size_t writing_bytes;
    bool connecting, connected; /* `connected`: to be told; `broken` says how */
    bool waits;                 /* in a door's list                          */
    bool reading, ended, finishing, finished, closing;
    bool broken; /* it knows                                 */
    bool dead;   /* here is nobody any more, and no kernel that knew */
};

struct conn {
    struct list_node node, pending; /* of the net; of a door */
    struct sim_net *net;
    uint32_t number, attempts;
    uint16_t port;
    struct sim_event dial;
    struct side side[2]; /* 0: who connects */
};

struct sim_stream {
    struct stream base;
    struct side *side;
};

struct door {
    struct stream_listener base;
    struct list_node node, pending;
    struct wire *wire;
    uint16_t port;
    bool closing;
};

struct wire {
    struct stream_net base;
    struct list_node node, ready, doors;
    struct sim_net *net;
    struct alloc *alloc;
    uint32_t host, stream_count;
    bool scheduled; /* `poll` moves it, else `turn` */
    struct sim_poll poll;
    struct sim_event turn;
    size_t lent_bytes;
    uint8_t input[STREAM_TURN_BYTES];
};

struct host {
    char name[SIM_HOST_NAME_BYTES];
    struct env *env;
    bool powered;
};

struct sim_net {
    struct sim *sim;
    struct rng rng;
    struct sim_net_habits habits;
    uint32_t host_count, conn_count, number;
    uint16_t port;
    struct host host[SIM_HOSTS_MAX];
    struct sim_link link[SIM_HOSTS_MAX][SIM_HOSTS_MAX];
    struct list_node conns, wires;
};

static inline struct side *other_side(struct side *s) {
    return s == &s->conn->side[0] ? &s->conn->side[1] : &s->conn->side[0];
}

/* ---- sim_net.c: what happens between hosts ---------------------------------------- */

uint32_t sim_net_host_named(struct sim_net *n, const char *name, uint32_t own); /* or HOSTS_MAX */
struct conn *sim_conn_new(struct sim_net *n, uint32_t from, uint32_t to, uint16_t port);
void sim_conn_dial(struct conn *c);
void sim_conn_settle(struct conn *c); /* free it where nothing is left of it */
struct conn *sim_conn_numbered(struct sim_net *n, uint32_t number);

size_t sim_side_room_bytes(const struct side *s);                         /* in its send buffer */
void sim_side_send(struct side *s, const uint8_t *at, size_t size_bytes); /* no more than that  */
void sim_side_send_end(struct side *s);
void sim_side_take(struct side *s, uint8_t *to, size_t size_bytes); /* of what arrived there */
void sim_side_break(struct side *s);       /* it knows now; tell nobody           */
void sim_side_send_reset(struct side *s);  /* to the other, as far as links carry */
bool sim_side_draws_reset(struct side *s); /* chance broke the connection         */

/* ---- sim_net_stream.c: what programs see -------------------------------------------- */

void sim_wire_forget(struct wire *w); /* its host crashed: its memory is somebody's to reclaim */
void sim_side_ready(struct side *s);  /* something is to be told to its stream */
void sim_door_ready(struct door *d);

#endif /* TESTS_SIM_SIM_NET_PRIVATE_H */
