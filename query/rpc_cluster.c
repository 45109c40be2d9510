/* rpc_cluster.c -- methods on the cluster: who is in it, who comes, who goes. */
#include "query/rpc_handler.h"

#include "query/server_private.h"
#include "query/session.h"

#include "engine/runtime.h"
#include "replication/cluster.h"

static eg_err ask(struct rpc_call *c, enum cluster_op op, const char *what) {
    struct server *server = c->worker->server;
    const uint8_t *text = NULL;
    uint32_t text_bytes = 0;
    struct message *m;
    eg_pid to;
    eg_err err;
    eg_ref ref;

    if (what != NULL && (value_kind_of(c->param[0]) != VALUE_STRING ||
                         !value_get_bytes(c->param[0], &text, &text_bytes)))
        return err_note(c->note, EG_BAD_REQUEST, "%s is a string", what);
    if (server->opts.cluster == NULL)
        return err_note(c->note, EG_BAD_REQUEST, "this node listens for no other nodes");
    err = cluster_message(server->opts.cluster, op, (const char *) text, text_bytes, &to, &m);
    if (err != EG_OK)
        return err;
    ref = session_begin(c->session, c);
    m->ref = ref;
    err = runtime_send(server->opts.runtime, c->session->pid, to, m);
    if (err == EG_OK)
        return EG_AGAIN;
    session_cancel(c->session, ref);
    return err == EG_NOPROC ? EG_BUSY : err;
}

eg_err rpc_cluster_status(struct rpc_call *c) {
    return ask(c, CLUSTER_STATUS, NULL);
}

eg_err rpc_join(struct rpc_call *c) {
    return ask(c, CLUSTER_JOIN, "an address");
}

eg_err rpc_leave(struct rpc_call *c) {
    return ask(c, CLUSTER_LEAVE, NULL);
}

eg_err rpc_remove(struct rpc_call *c) {
    return ask(c, CLUSTER_REMOVE, "a node's name");
}
