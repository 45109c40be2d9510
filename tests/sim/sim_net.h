/* sim_net.h -- the network between the nodes of a simulated world: engine/stream.h from memory.
 *
 *     try_write --> send buffer --bandwidth, delay--> the other host's buffer --poll--> on_bytes
 *                       |              |                        |
 *                  finite: 0 taken   cut: waits, then breaks    read in pieces of any size
 *
 * It keeps TCP's promises and no others.  Bytes come in order, cut anywhere.  A link may be
 * slow, narrow, or dead in one direction while the other lives.  A connection may break: one
 * side hears at once, the other at once or much later, and what was under way is lost.  A host
 * without power says nothing: who speaks to it hears so after minutes, or of a reset when it
 * is back; who only listens never does.
 *
 *     struct sim_net *n = sim_net_open(sim);
 *     uint32_t a = sim_net_host(n, "a"), b = sim_net_host(n, "b");      // "a:7000" is there
 *     sim_net_stream(&stream_net, alloc, scheduler);                    // as opts.net_open
 *     sim_net_link(n, a, b)->cut = true; sim_net_changed(n);
 *
 * Where a node's env is host_env(), its net is on that host; hosts without nodes (those of
 * clients) use sim_net_stream_on().
 *
 * Chance     From one stream of its own.  What arrives goes into the world's hash.
 * Memory     Streams and listeners: the allocator given.  What is under way: the system's.
 */
#ifndef TESTS_SIM_SIM_NET_H
#define TESTS_SIM_SIM_NET_H

#include "engine/stream.h"
#include "tests/sim/sim.h"

enum { SIM_HOSTS_MAX = 16 };

struct sim_net;

/* One direction between two hosts. */
struct sim_link {
    uint64_t delay_min_ns, delay_mean_ns; /* exponential above the least             */
    uint64_t bytes_per_s;                 /* 0: no bound                             */
    bool cut;                             /* nothing arrives; sent again when it heals */
    uint64_t sent_bytes;                  /* all that was handed to it, for looking at */
    uint64_t free_ns;                     /* of the simulator: when what was sent is on the way */
};

/* What connections are like, from now on. */
struct sim_net_habits {
    uint32_t send_buffer_bytes, receive_buffer_bytes; /* at least 1       */
    uint32_t segment_bytes;                           /* at most so many arrive at once      */
    uint32_t slow_one_in;    /* segments take a hundred times as long; 0: none */
    uint32_t reset_one_in;   /* sends and reads break the connection; 0: none  */
    uint32_t silent_percent; /* of broken ones: only one side hears at once    */
    uint64_t give_up_ms;     /* who sends and is not answered gives up after   */
};

struct sim_net *sim_net_open(struct sim *s); /* one in a world; quick links, good habits */
void sim_net_close(struct sim_net *n);       /* every stream_net closed                  */

/* A machine of this name; the same again for the same name. */
uint32_t sim_net_host(struct sim_net *n, const char *name);
/* Of this host are nets opened by who has this env. */
void sim_net_host_env(struct sim_net *n, uint32_t host, struct env *e);

struct sim_link *sim_net_link(struct sim_net *n, uint32_t from, uint32_t to);
struct sim_net_habits *sim_net_habits(struct sim_net *n);
/* Links were cut or healed: what waited goes on. */
void sim_net_changed(struct sim_net *n);
void sim_net_heal(struct sim_net *n); /* all links whole and quick, no resets any more */

/* A net for this scheduler, on the host of its env; as mesh_opts.net_open. */
eg_err sim_net_stream(struct stream_net **out, struct alloc *a, struct scheduler *s);
/* A net that no scheduler moves: events come by themselves, between steps. */
struct stream_net *sim_net_stream_on(struct sim_net *n, struct alloc *a, uint32_t host);

/* What this host's program had open is gone, and its memory too.  `power`: with its kernel, so
 * that nobody is told; else each other side hears of it, as after kill -9. */
void sim_net_crash(struct sim_net *n, uint32_t host, bool power);
/* Break one of the connections between these, if there is one. */
void sim_net_break(struct sim_net *n, uint32_t a, uint32_t b);
uint32_t sim_net_connections(const struct sim_net *n); /* half dead ones too */

#endif /* TESTS_SIM_SIM_NET_H */
