/* pubsub.h -- topics: whoever publishes need not know who listens.
 *
 * A topic is a key of a duplicate registry; it exists while it has subscribers,
 * and a subscriber that ends is gone from it.  Publishing sends each subscriber
 * its own copy as an INFO, in order of subscription, from the publisher: so one
 * publisher's messages reach one subscriber in order.
 *
 *     publish("orders") --> subscriber, subscriber, ..   here
 *              '--> hook --> the same on other nodes     (once there are any)
 *
 * A subscriber with a full mailbox misses the message; that is counted.
 *
 * Threads    Publishing from any thread; subscribing from the actor itself.
 */
#ifndef ENGINE_PUBSUB_H
#define ENGINE_PUBSUB_H

#include "engine/registry.h"
#include "engine/runtime.h"

#include <stdatomic.h>

/* Told of every publish of this node, by who carries it to others. */
struct pubsub_hook {
    void (*published)(struct pubsub_hook *h, eg_pid from, const char *topic, uint32_t tag,
                      const void *bytes, size_t size_bytes);
};

struct pubsub {
    struct runtime *rt;
    struct registry *topics;
    struct pubsub_hook *_Atomic hook; /* NULL: this node only */
    _Atomic uint64_t published;       /* calls of publish     */
    _Atomic uint64_t delivered, lost; /* copies sent; refused by a mailbox or for memory */
};

EG_MUST_USE eg_err pubsub_open(struct pubsub **out, struct runtime *rt);
void pubsub_close(struct pubsub *ps);

/* As registry_join and registry_leave.  Subscribing twice delivers twice. */
EG_MUST_USE eg_err pubsub_subscribe(struct pubsub *ps, struct actor *self, const char *topic);
eg_err pubsub_unsubscribe(struct pubsub *ps, struct actor *self, const char *topic);

/* Send to all subscribers of this node and tell the hook.  *reached (may be NULL)
 * is how many copies were sent.  EG_MEMORY: nobody was sent anything. */
EG_MUST_USE eg_err pubsub_publish(struct pubsub *ps, eg_pid from, const char *topic, uint32_t tag,
                                  const void *bytes, size_t size_bytes, uint32_t *reached);

/* The half that the hook's other end calls: this node's subscribers only. */
EG_MUST_USE eg_err pubsub_deliver(struct pubsub *ps, eg_pid from, const char *topic, uint32_t tag,
                                  const void *bytes, size_t size_bytes, uint32_t *reached);

#endif /* ENGINE_PUBSUB_H */
