/* route.h -- the hook for requests that this node cannot carry out by itself.
 *
 * tables/ does not know other nodes.  Who does fills this in (replication/router.h): where a
 * shard is not ALONE here, what would have gone into its mailbox goes where the route says,
 * as the same CALL with the same kind of REPLY.  So whoever asks a table or the catalog
 * for a message, and sends it, need not know whether there is a cluster.
 *
 * Threads    Any, in a reader section; never blocks.
 */
#ifndef TABLES_ROUTE_H
#define TABLES_ROUTE_H

#include "tables/shard_msg.h"
#include "tables/shard_role.h"

struct catalog;
struct catalog_request;
struct message;
struct table;

struct table_route {
    /* A checked request for shard number `shard` of `t`. */
    eg_err (*request)(struct table_route *r, struct table *t, uint32_t shard,
                      const struct shard_request *q, eg_pid *to, struct message **out);
    /* EG_AGAIN: this node's catalog does it alone. */
    eg_err (*catalog)(struct table_route *r, const struct catalog_request *q, eg_pid *to,
                      struct message **out);
};

/* From here on; NULL: no more.  The route outlives every section that began before. */
void catalog_set_route(struct catalog *c, struct table_route *r);

/* ---- for who carries requests on ----------------------------------------------------- */

/* Check a request that came from another node as table_send() does, and say which shard it is for
 * (those without a key: as given, which is checked).  EG_BAD_REQUEST, EG_BAD_RECORD,
 * EG_TOO_LARGE. */
EG_MUST_USE eg_err table_check_request(struct table *t, const struct shard_request *q,
                                       uint32_t *shard, struct err_note *note);
/* The same for an array of records to write: the shard of each. */
EG_MUST_USE eg_err table_check_many(struct table *t, struct value records, uint16_t *shards,
                                    struct err_note *note);
enum shard_role table_role(const struct table *t, uint32_t shard);

/* Past the route: a message to the shard's own actor, to this node's own catalog. */
EG_MUST_USE eg_err table_message_here(struct table *t, uint32_t shard,
                                      const struct shard_request *q, eg_pid *to,
                                      struct message **out);
EG_MUST_USE eg_err catalog_message_here(struct catalog *c, const struct catalog_request *q,
                                        eg_pid *to, struct message **out);

#endif /* TABLES_ROUTE_H */
