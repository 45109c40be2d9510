/* replica_wire.c -- the beginning that all messages between copies have. */
#include "replication/replica_wire.h"

enum { HEAD_VALUES = 5 };

static const uint32_t rest_of[REPLICA_KINDS] = {
    [REPLICA_FOLLOW] = 5,  [REPLICA_MISSING] = 3, [REPLICA_END] = 6,    [REPLICA_CHANGES] = 7,
    [REPLICA_COVERED] = 2, [REPLICA_SERVE] = 2,   [REPLICA_ANEW] = 0,   [REPLICA_FORGET] = 1,
    [REPLICA_STABLE] = 1,  [REPLICA_SYNC] = 1,    [REPLICA_SYNCED] = 1, [REPLICA_UP] = 4,
    [REPLICA_HAVE] = 3,    [REPLICA_GONE] = 3,    [REPLICA_NODES] = 4,  [REPLICA_LIST] = 4,
    [REPLICA_LACKING] = 3, [REPLICA_ROOTS] = 5,   [REPLICA_SUMMED] = 3, [REPLICA_SCRUB] = 0,
    [REPLICA_ROUND] = 1,   [REPLICA_STANDS] = 1,  [REPLICA_TREE] = 7,   [REPLICA_WANT] = 4,
};

void replica_wire_head(struct value_writer *w, const struct replica_head *h, uint32_t more) {
    EG_ASSERT(more == rest_of[h->kind]);
    value_put_array(w, HEAD_VALUES + more);
    value_put_u64(w, h->kind);
    value_put_u64(w, h->view.epoch);
    value_put_u64(w, h->view.hash);
    value_put_u64(w, h->table);
    value_put_u64(w, h->shard);
}

bool replica_is_patient(enum replica_kind kind) {
    static const bool patient[REPLICA_KINDS] = {
        [REPLICA_FOLLOW] = true, [REPLICA_MISSING] = true, [REPLICA_END] = true,
        [REPLICA_SERVE] = true,  [REPLICA_ANEW] = true,    [REPLICA_FORGET] = true,
        [REPLICA_SYNC] = true,   [REPLICA_SYNCED] = true,  [REPLICA_HAVE] = true,
        [REPLICA_GONE] = true,   [REPLICA_NODES] = true,   [REPLICA_LIST] = true,
        [REPLICA_TREE] = true,   [REPLICA_WANT] = true,    [REPLICA_LACKING] = true,
    };

    return patient[kind];
}

bool replica_wire_u64(struct value_iter *it, uint64_t *n) {
    return value_iter_u64(it, n);
}

eg_err replica_wire_open(struct replica_head *h, struct value_iter *it, struct value payload) {
    uint64_t kind, shard;

    if (value_kind_of(payload) != VALUE_ARRAY)
        return EG_BAD_REQUEST;
    *it = value_iter_of(payload);
    if (!replica_wire_u64(it, &kind) || kind >= REPLICA_KINDS ||
        value_count(payload) != HEAD_VALUES + rest_of[kind] ||
        !replica_wire_u64(it, &h->view.epoch) || !replica_wire_u64(it, &h->view.hash) ||
        !replica_wire_u64(it, &h->table) || !replica_wire_u64(it, &shard) ||
        shard >= SCHEMA_SHARDS_MAX)
        return EG_BAD_REQUEST;
    h->kind = (enum replica_kind) kind;
    h->shard = (uint32_t) shard;
    return EG_OK;
}
