/* rpc_cluster.c -- methods on the cluster: who is in it, who comes, who goes. */
#include "query/rpc_handler.h"

#include "query/server_private.h"
#include "query/session.h"

#include "engine/runtime.h"
#include "replication/cluster.h"

enum { LEAVE_MS_MAX = 24 * 3600 * 1000 };

/* {force: true, timeout_ms: n}: the latter where there is something to wait for. */
static eg_err read_options(struct rpc_call *c, struct cluster_question *q) {
    struct value_iter it;
    struct value name, v;

    if (c->free_options.size_bytes == 0)
        return EG_OK;
    it = value_iter_of(c->free_options);
    while (value_iter_next(&it, &name)) {
        EG_ASSERT(value_iter_next(&it, &v)); /* the frame was scanned: pairs are whole */
        if (value_is_string(name, "force")) {
            if (!value_get_bool(v, &q->force))
                return err_note(c->note, EG_BAD_REQUEST, "force is true or false");
        } else if (q->op == CLUSTER_LEAVE && value_is_string(name, "timeout_ms")) {
            if (!value_is_integer(v) || !value_get_u64(v, &q->timeout_ms) || q->timeout_ms == 0 ||
                q->timeout_ms > LEAVE_MS_MAX)
                return err_note(c->note, EG_BAD_REQUEST, "timeout_ms is from 1 to %d",
                                LEAVE_MS_MAX);
        } else {
            return err_note(c->note, EG_BAD_REQUEST, "%s has no such option", c->method->name);
        }
    }
    return EG_OK;
}

static eg_err ask(struct rpc_call *c, enum cluster_op op, const char *what) {
    struct server *server = c->worker->server;
    struct cluster_question q = {.op = op};
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
    q.text = (const char *) text;
    q.text_bytes = text_bytes;
    err = read_options(c, &q);
    if (err == EG_OK)
        err = cluster_message(server->opts.cluster, &q, &to, &m);
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

eg_err rpc_scrub(struct rpc_call *c) {
    return ask(c, CLUSTER_SCRUB, NULL);
}

eg_err rpc_remove(struct rpc_call *c) {
    return ask(c, CLUSTER_REMOVE, "a node's name");
}
