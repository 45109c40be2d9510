/* route.h -- the hook for pids on other nodes.
 *
 * engine/ does not know the network.  Who does fills this in; without it, other
 * nodes cannot be reached: sends fail and links and monitors end in NOCONNECTION.
 */
#ifndef ENGINE_ROUTE_H
#define ENGINE_ROUTE_H

#include "engine/message.h"

struct route {
    /* Take `m` to to.node.  EG_NO_REPLICA: unreachable, and m stays the caller's.
     * A LINK or MONITOR carries no payload.  Any thread; never blocks. */
    eg_err (*send)(const struct route *r, eg_pid to, struct message *m);
};

#endif /* ENGINE_ROUTE_H */
