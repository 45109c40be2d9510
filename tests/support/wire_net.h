/* wire_net.h -- several hosts on one wire in memory, in one thread.
 *
 * Each scheduler of a test's steppers gets a net of its own (wire_net_of as `net_open`); a turn
 * hook moves its bytes in pieces that are drawn from a seed, so stepper_run() carries
 * everything there is.  Connections can be reset, at any byte, and hosts be cut off.
 *
 * Threads    One.
 */
#ifndef TESTS_SUPPORT_WIRE_NET_H
#define TESTS_SUPPORT_WIRE_NET_H

#include "engine/buffer.h"
#include "engine/list.h"
#include "engine/scheduler.h"
#include "engine/stream.h"
#include "tests/support/rng.h"

struct wire {
    struct rng rng;
    struct list_node listeners, streams; /* streams: of all nets */
    int last_handle;
    uint32_t reset_in_100000; /* chance that a delivery is a reset instead          */
    uint32_t flip_in_100000;  /* that a bit of it arrives as another                 */
    size_t piece_bytes;       /* the most that arrives at once; 0: as much as there is */
    size_t window_bytes;      /* under way on a connection, one direction           */
    bool flips_next;          /* the next binary that begins claims to be longer       */
    bool refuses;             /* nobody answers: connections are refused            */
    bool silent;              /* connections are accepted nowhere, and not refused   */
    uint64_t carried_bytes;
};

/* One at a time: wire_net_of() puts nets on the one that was opened last. */
void wire_open(struct wire *w, uint64_t seed);
void wire_close(struct wire *w); /* every net closed, every client hung up */
eg_err wire_net_of(struct stream_net **out, struct alloc *a, struct scheduler *s);

/* Reset every connection there is. */
void wire_reset_all(struct wire *w);

/* A client by hand.  NULL: nobody listens there. */
struct wire_stream;
struct wire_stream *wire_dial(struct wire *w, const char *address);
void wire_say(struct wire_stream *s, const void *at, size_t size_bytes);
/* All that it has heard and not forgotten. */
struct buffer *wire_heard(struct wire_stream *s);
bool wire_is_ended(const struct wire_stream *s); /* by the other side, or reset */
void wire_half_close(struct wire_stream *s);
void wire_hang_up(struct wire_stream *s);

/* A host by hand: what connects to `address` can be taken by wire_accept(), NULL: nobody. */
struct wire_listener;
struct wire_listener *wire_listen(struct wire *w, const char *address);
struct wire_stream *wire_accept(struct wire_listener *l);
void wire_listener_close(struct wire_listener *l);

#endif /* TESTS_SUPPORT_WIRE_NET_H */
