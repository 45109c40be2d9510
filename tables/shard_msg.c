/* shard_msg.c -- a shard request as flat bytes: its struct, then key, then value. */
#include "tables/shard_msg.h"

#include "tables/record.h"

#include <string.h>

bool shard_request_key(const struct shard_request *q, struct value *key) {
    switch (q->op) {
    case SHARD_READ:
    case SHARD_READ_SIBLINGS:
    case SHARD_TX_READ:
    case SHARD_DELETE_SIBLINGS:
    case SHARD_DELETE:
    case SHARD_TAKE:
    case SHARD_UPDATE:
    case SHARD_COUNTER:
        *key = q->key;
        return true;
    case SHARD_WRITE:
    case SHARD_INSERT_NEW:
    case SHARD_DELETE_OBJECT:
    case SHARD_REPLACE_SEEN:
    case SHARD_REMOVE_SEEN:
    case SHARD_REPLACE_SIBLINGS:
        return array_element(q->value, 0, key);
    default:
        return false;
    }
}

size_t shard_request_size(const struct shard_request *q) {
    return sizeof *q + q->key.size_bytes + q->value.size_bytes;
}

void shard_request_pack(const struct shard_request *q, uint8_t *at) {
    memcpy(at, q, sizeof *q);
    at += sizeof *q;
    if (q->key.size_bytes != 0)
        memcpy(at, q->key.at, q->key.size_bytes);
    if (q->value.size_bytes != 0)
        memcpy(at + q->key.size_bytes, q->value.at, q->value.size_bytes);
}

struct shard_request shard_request_unpack(const uint8_t *at) {
    struct shard_request q;

    memcpy(&q, at, sizeof q);
    EG_ASSERT(q.op < SHARD_OP_COUNT);
    q.key.at = at + sizeof q;
    q.value.at = q.key.at + q.key.size_bytes;
    return q;
}
