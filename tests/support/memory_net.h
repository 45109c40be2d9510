/* memory_net.h -- a network in memory, moved by hand.
 *
 * A test plays the clients: it dials, sends, reads or does not read, and vanishes,
 * byte by byte if it wants to.  Nothing happens between two calls of
 * memory_net_move(), so a test sees every state there is.
 *
 * Threads    One.
 */
#ifndef TESTS_SUPPORT_MEMORY_NET_H
#define TESTS_SUPPORT_MEMORY_NET_H

#include "engine/buffer.h"
#include "engine/list.h"
#include "engine/stream.h"

struct memory_net {
    struct stream_net base;
    struct alloc *alloc;
    struct memory_listener *listener; /* the last one opened */
    struct list_node clients;         /* whose stream or whose test is still there */
    size_t lent_bytes;
    uint32_t accepted;
    uint8_t input[STREAM_TURN_BYTES];
};

struct memory_client {
    struct list_node node;
    struct memory_net *net;
    struct memory_stream *stream; /* NULL: not adopted, or closed by the server        */
    int number;
    struct buffer sent;     /* by the client, not delivered yet                        */
    struct buffer received; /* by the client                                           */
    size_t window_bytes;    /* that the client takes before it reads no more           */
    size_t piece_bytes;     /* delivered at once; 0: all                               */
    bool half_closed, vanished, refused;
    bool server_finished; /* it will send no more: finished or closed                  */
    bool server_closed;
    bool hung_up; /* by the test */
};

void memory_net_open(struct memory_net *n, struct alloc *a);
void memory_net_fini(struct memory_net *n); /* clients hung up, streams closed */

/* NULL: nobody listens.  The client's until memory_hang_up(). */
struct memory_client *memory_dial(struct memory_net *n);
void memory_send(struct memory_client *c, const void *at, size_t size_bytes);
void memory_half_close(struct memory_client *c); /* after what was sent */
void memory_vanish(struct memory_client *c);     /* reset: the server sees a broken connection */
void memory_hang_up(struct memory_client *c);    /* vanish and forget */
/* What the code under test keeps for this client; NULL: it has let go of it. */
void *memory_user(struct memory_client *c);

/* Deliver what can be delivered, both ways.  True: something moved. */
bool memory_net_move(struct memory_net *n);

#endif /* TESTS_SUPPORT_MEMORY_NET_H */
