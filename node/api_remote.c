/* api_remote.c -- <engram/actor.h>, what concerns other nodes, over replication/remote.h. */
#include "engram/actor.h"

#include "node/node.h"
#include "replication/cluster.h"
#include "replication/remote.h"

#include <stdio.h>

_Static_assert((int) EG_NAME_BYTES == (int) NODE_INFO_NAME_BYTES, "one bound of names");

/* NULL: this node has no part in a cluster. */
static struct remote *remote_of(eg_node *node) {
    return node->cluster != NULL ? cluster_remote(node->cluster) : NULL;
}

eg_err eg_named(eg_node *node, const char *on_node, const char *name, eg_pid *out) {
    if (node == NULL || on_node == NULL || name == NULL || out == NULL)
        return EG_BAD_REQUEST;
    return remote_of(node) == NULL ? EG_NO_REPLICA
                                   : remote_named(remote_of(node), on_node, name, out);
}

eg_err eg_nodes(eg_node *node, char (*out)[EG_NAME_BYTES], size_t room, size_t *count) {
    if (node == NULL || count == NULL || (out == NULL && room > 0))
        return EG_BAD_REQUEST;
    *count = remote_of(node) == NULL
                 ? 0
                 : remote_nodes(remote_of(node), out, (uint32_t) EG_MIN(room, (size_t) UINT32_MAX));
    return EG_OK;
}

eg_err eg_node_of(eg_node *node, eg_pid pid, char out[EG_NAME_BYTES]) {
    if (node == NULL || out == NULL)
        return EG_BAD_REQUEST;
    out[0] = '\0';
    if (pid.node == runtime_node(node_runtime(node)))
        snprintf(out, EG_NAME_BYTES, "%.*s", EG_NAME_BYTES - 1, node->name);
    else if (remote_of(node) != NULL)
        remote_node_of(remote_of(node), pid, out);
    return EG_OK;
}
