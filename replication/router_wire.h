/* router_wire.h -- requests and answers between two routers.
 *
 *     [0, id, epoch, hash, table's name, its records' id, shard, op, attribute, ttl_ms, key, value,
 *      seen]
 *     [1, id, outcome, result or text]
 *     [4, id, epoch, hash]     our copy has what it changed (witness.h)
 *
 * `id` is the asker's.  `epoch` and `hash` name the view that it was sent in.  `key` and `value`
 * are nil where the operation has none; `seen` is the stamp of the version that was judged, or 0.
 * The private half of router.h.
 */
#ifndef REPLICATION_ROUTER_WIRE_H
#define REPLICATION_ROUTER_WIRE_H

#include "engine/buffer.h"
#include "replication/view.h"
#include "tables/schema.h"
#include "tables/shard_msg.h"

struct router_request {
    uint64_t id;
    struct view_id view;
    struct value table_name; /* a string */
    uint64_t records_id;     /* schema_records_id() */
    uint32_t shard;          /* of the operations without a key */
    struct shard_request what;
};

enum router_word { /* 2 and 3 are far_read's */
                   ROUTER_IS_REQUEST = 0,
                   ROUTER_IS_ANSWER = 1,
                   ROUTER_IS_HAVE = 4
};

enum { ROUTER_HAVE_BYTES = 2 + 3 * 9 };

struct router_have {
    uint64_t id;
    struct view_id view;
};

struct router_answer {
    uint64_t id;
    eg_err outcome;
    struct value result; /* of EG_OK; else a string */
};

/* Append one payload.  EG_MEMORY; EG_TOO_LARGE: past the buffer's bound. */
EG_MUST_USE eg_err router_put_request(struct buffer *out, const struct router_request *q);
EG_MUST_USE eg_err router_put_answer(struct buffer *out, uint64_t id, eg_err outcome,
                                     const void *bytes, size_t size_bytes);
struct value router_put_have(uint8_t room[ROUTER_HAVE_BYTES], const struct router_have *h);

/* From another node, one whole value.  EG_BAD_REQUEST: none of these, and *out is undefined. */
struct router_payload {
    enum router_word word;
    struct router_request request; /* that which it is */
    struct router_answer answer;
    struct router_have have;
};
EG_MUST_USE eg_err router_get(struct value payload, struct router_payload *out);

#endif /* REPLICATION_ROUTER_WIRE_H */
