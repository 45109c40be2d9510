/* route.h -- the hook for pids on other nodes.
 *
 * engine/ does not know the network.  Who does fills this in; without it, other
 * nodes cannot be reached: sends fail and links and monitors end in NOCONNECTION.
 */
#ifndef ENGINE_ROUTE_H
#define ENGINE_ROUTE_H

#include "engine/message.h"

struct runtime;

struct route {
    /* Take `m`, whose `from` is here, to to.node.  EG_NO_REPLICA: unreachable; EG_BUSY, EG_MEMORY,
     * EG_TOO_LARGE; after an error m stays the caller's.  A LINK or MONITOR carries no payload.
     * Any thread; never blocks. */
    eg_err (*send)(const struct route *r, eg_pid to, struct message *m);
};

/* Reach other nodes by `r` from now on; NULL: no more. */
void runtime_set_route(struct runtime *rt, const struct route *r);

/* `m` came from another node: deliver it to `to`, which is here, in the name of `from`, which is
 * there.  Takes m.  Whoever is not there or full answers as to one of this node.  A LINK or
 * MONITOR comes without payload.  EG_MEMORY: no bond could be made, and nobody was told. */
EG_MUST_USE eg_err route_receive(struct runtime *rt, eg_pid from, eg_pid to, struct message *m);

#endif /* ENGINE_ROUTE_H */
