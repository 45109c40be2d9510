/* route.c -- the engine's end of the way between nodes. */
#include "engine/actor_private.h"

#include <string.h>

void runtime_set_route(struct runtime *rt, const struct route *r) {
    atomic_store_explicit(&rt->route, r, memory_order_release);
}

/* A tie from elsewhere, with the bond that the actor here is to have. */
static struct message *with_bond(struct runtime *rt, eg_pid from, eg_pid to, struct message *m) {
    enum bond_kind kind = m->kind == MESSAGE_LINK ? BOND_LINK : BOND_MONITORED;
    struct bond *b = bond_new(rt, kind, to.slot, from, m->ref);
    struct message *tie = message_new(rt, (enum message_kind) m->kind, sizeof b);

    if (b == NULL || tie == NULL) {
        if (b != NULL)
            block_put(rt, b, 0);
        if (tie != NULL)
            message_free(rt, tie);
        tie = NULL;
    } else {
        tie->ref = m->ref;
        tie->flags = 0;
        memcpy(tie->payload, &b, sizeof b);
    }
    message_free(rt, m);
    return tie;
}

eg_err route_receive(struct runtime *rt, eg_pid from, eg_pid to, struct message *m) {
    eg_err err;

    EG_ASSERT(to.node == rt->node);
    if (m->kind == MESSAGE_LINK || m->kind == MESSAGE_MONITOR)
        m = with_bond(rt, from, to, m);
    if (m == NULL)
        return EG_MEMORY;
    err = try_send(rt, runtime_current(rt), from, to, m);
    if (err == EG_NOPROC)
        undeliverable(rt, m);
    else if (err != EG_OK && m->kind == MESSAGE_CALL)
        refuse_call(rt, m, err);
    else if (err != EG_OK)
        message_dispose(rt, m);
    return EG_OK;
}
