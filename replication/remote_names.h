/* remote_names.h -- a number for each name on a node that a program has asked for.
 *
 * The number stands for the pair in a pid (remote.h).  It is never taken back: a program asks for
 * few, and a pid that it keeps must go on meaning the same.
 *
 * Threads    remote_names_at(): any, without a lock.  remote_names_get(): any.
 */
#ifndef REPLICATION_REMOTE_NAMES_H
#define REPLICATION_REMOTE_NAMES_H

#include "engine/registry.h"
#include "replication/node_info.h"

#include <stdatomic.h>

enum {
    REMOTE_NAMES_MAX = 4096, /* different ones; then EG_BUSY */
    REMOTE_NAMES_SLOTS = 2 * REMOTE_NAMES_MAX,
};

struct remote_name {
    uint64_t node;
    char node_name[NODE_INFO_NAME_BYTES];
    char name[REGISTRY_KEY_BYTES];
};

struct remote_names {
    struct alloc *alloc;
    atomic_flag lock; /* of what follows, against others who add */
    uint32_t count;
    uint16_t slot[REMOTE_NAMES_SLOTS]; /* by hash: 1 + number; 0: free */
    struct remote_name *_Atomic at[REMOTE_NAMES_MAX];
};

void remote_names_init(struct remote_names *n, struct alloc *a);
void remote_names_fini(struct remote_names *n);

/* EG_BAD_REQUEST: one of them is empty or too long.  EG_BUSY, EG_MEMORY. */
EG_MUST_USE eg_err remote_names_get(struct remote_names *n, const char *node, const char *name,
                                    uint32_t *number);
const struct remote_name *remote_names_at(const struct remote_names *n,
                                          uint32_t number); /* or NULL */

#endif /* REPLICATION_REMOTE_NAMES_H */
