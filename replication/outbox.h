/* outbox.h -- what copies say to each node, and what of it can wait a moment so that it goes
 * together.
 *
 *     outbox_post() --> [ packet for a ] --.
 *                       [ packet for b ] --+-- outbox_flush(), soon --> one frame for many
 *     outbox_send() --> what was posted to that node before, and then itself, at once
 *
 * Where two nodes meet again each shard says a few short things, 256 of them at once; heads of
 * frames, views and tables would be most of it (packet.h).  What somebody waits for is sent.
 *
 * Order      What one thread has posted and sent to a node arrives in that order.
 * Bounds     A packet; who posts more sends what there is.  Where the link takes nothing (EG_BUSY)
 *            the packet stays, and who posts or sends to that node hears so.
 * Threads    Any.
 */
#ifndef REPLICATION_OUTBOX_H
#define REPLICATION_OUTBOX_H

#include "replication/packet.h"
#include "replication/view.h"

#include <stdatomic.h>

struct outbox_opts {
    struct alloc *alloc;                                           /* safe from any thread */
    eg_err (*send)(void *user, uint64_t to, struct value payload); /* any thread           */
    bool (*packs)(void *user, uint64_t to); /* does it know what a packet is?  NULL: nobody does */
    void (*wake)(void *user);               /* let outbox_flush() be called soon; any thread     */
    void *user;
};

struct outbox_box {
    uint64_t to; /* 0: free */
    struct packet_writer writer;
    struct buffer packed; /* made, and not taken yet */
};

struct outbox {
    struct outbox_opts o;
    atomic_flag lock;         /* held while one message is put, or a packet handed over */
    _Atomic uint32_t waiting; /* boxes that are not empty */
    _Atomic uint64_t posted;  /* messages that went in packets */
    struct outbox_box box[NODES_MAX];
};

void outbox_init(struct outbox *b, const struct outbox_opts *o);
void outbox_fini(struct outbox *b);

/* As o.send(); it may fail on the way later as it may on a link that breaks. */
EG_MUST_USE eg_err outbox_post(struct outbox *b, uint64_t to, struct value payload);
EG_MUST_USE eg_err outbox_send(struct outbox *b, uint64_t to, struct value payload);
/* Send what waits.  True: some still does. */
bool outbox_flush(struct outbox *b);
/* How much has been posted so far: who flushes waits while more comes. */
static inline uint64_t outbox_posted(const struct outbox *b) {
    return atomic_load_explicit(&b->posted, memory_order_relaxed);
}
/* The link has ended: what waits for it is of no use. */
void outbox_drop(struct outbox *b, uint64_t to);

#endif /* REPLICATION_OUTBOX_H */
