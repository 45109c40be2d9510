/* tx_bundle.h -- a transaction that is to be committed, cut by shard, as one value:
 *
 *     [id high, id low, age ms, age node, age count, deadline ms, logs,
 *      [table's name, its id, its records' id, shard, part, ...]]
 *
 * It is what a manager is sent and what its disc remembers of a decision.  Parts: transact.h.
 * The private half of tx_manager.h.
 */
#ifndef REPLICATION_TX_BUNDLE_H
#define REPLICATION_TX_BUNDLE_H

#include "replication/tx_manager.h"

struct tx_place {
    struct value name; /* a string's bytes */
    uint64_t table, records;
    uint32_t shard;
    struct value part;
};

struct tx_bundle {
    struct transact_id id;
    struct transact_age age;
    uint64_t deadline_ms;
    bool logs; /* some of its tables are on disc */
    uint32_t count;
    struct value_iter places;
};

/* Append what was said; in a section.  EG_MEMORY, EG_TOO_LARGE. */
EG_MUST_USE eg_err tx_bundle_put(struct buffer *out, const struct tx_commit *c);
/* False: it is none.  Of a scanned value (value_scan()); its spans are lent. */
EG_MUST_USE bool tx_bundle_get(struct value v, struct tx_bundle *out);
EG_MUST_USE bool tx_bundle_next(struct value_iter *places, struct tx_place *out);

#endif /* REPLICATION_TX_BUNDLE_H */
