/* cluster_private.h -- how a node's part in the cluster lies in memory. */
#ifndef REPLICATION_CLUSTER_PRIVATE_H
#define REPLICATION_CLUSTER_PRIVATE_H

#include "replication/cluster.h"
#include "replication/remote.h"
#include "replication/router.h"
#include "replication/schema_sync.h"
#include "replication/swim.h"
#include "replication/view.h"
#include "tables/reader.h"

struct cluster {
    struct cluster_opts o;
    struct node_info self;
    struct mesh *mesh;
    struct swim *swim;
    struct views *views;
    struct schema_sync *schema;
    struct router *router;
    struct remote *remote;
    const struct view *view; /* installed last */
    bool reach_changed;      /* links or members have, since the views were told */
    bool running;            /* inside cluster_run() */
    bool open;               /* the machines are */
    uint64_t schema_ticked_ms;
    uint64_t unsent;      /* payloads of machines that say it again */
    eg_pid root;          /* supervises the two actors */
    _Atomic uint64_t pid; /* of the actor of now, slot << 32 | generation */
    struct reader reader; /* of the mesh's turns, which run outside sections */
    bool reader_open;
};

uint64_t cluster_now_ms(const struct cluster *c);

/* Append what cluster_status answers (cluster_status.c). */
EG_MUST_USE eg_err cluster_put_status(const struct cluster *c, struct buffer *out);

#endif /* REPLICATION_CLUSTER_PRIVATE_H */
