/* router_wire.c -- requests and answers between two routers. */
#include "replication/router_wire.h"

#include "tables/transact.h"
#include "tables/value_append.h"

#include <string.h>

static const uint32_t fields_of[] = {
    [ROUTER_IS_REQUEST] = 13, [ROUTER_IS_ANSWER] = 4, [ROUTER_IS_HAVE] = 4};

/* ---- writing --------------------------------------------------------------------- */

static void put_span(struct value_writer *w, struct value v) {
    if (v.size_bytes == 0)
        value_put_nil(w);
    else
        value_put_raw(w, v);
}

static void write_request(struct value_writer *w, const void *what) {
    const struct router_request *q = what;

    value_put_array(w, fields_of[ROUTER_IS_REQUEST]);
    value_put_u64(w, ROUTER_IS_REQUEST);
    value_put_u64(w, q->id);
    value_put_u64(w, q->view.epoch);
    value_put_u64(w, q->view.hash);
    value_put_string(w, (const char *) q->table_name.at, q->table_name.size_bytes);
    value_put_u64(w, q->records_id);
    value_put_u64(w, q->shard);
    value_put_u64(w, q->what.op);
    value_put_u64(w, q->what.attribute);
    value_put_u64(w, q->what.ttl_ms);
    put_span(w, q->what.key);
    put_span(w, q->what.value);
    value_put_u64(w, q->what.seen.hlc);
}

eg_err router_put_request(struct buffer *out, const struct router_request *q) {
    return value_append(out, write_request, q);
}

/* A text where it failed. */
struct answer {
    uint64_t id;
    eg_err outcome;
    const void *bytes;
    size_t size_bytes;
};

static void write_answer(struct value_writer *w, const void *what) {
    const struct answer *a = what;

    value_put_array(w, fields_of[ROUTER_IS_ANSWER]);
    value_put_u64(w, ROUTER_IS_ANSWER);
    value_put_u64(w, a->id);
    value_put_i64(w, a->outcome);
    if (a->outcome != EG_OK)
        value_put_string(w, a->bytes, a->size_bytes);
    else if (a->size_bytes == 0)
        value_put_nil(w);
    else
        value_put_raw(w, (struct value){a->bytes, (uint32_t) a->size_bytes});
}

eg_err router_put_answer(struct buffer *out, uint64_t id, eg_err outcome, const void *bytes,
                         size_t size_bytes) {
    const struct answer a = {id, outcome, bytes, size_bytes};

    return value_append(out, write_answer, &a);
}

struct value router_put_have(uint8_t room[ROUTER_HAVE_BYTES], const struct router_have *h) {
    struct value_writer w = value_writer_init(room, ROUTER_HAVE_BYTES);

    value_put_array(&w, fields_of[ROUTER_IS_HAVE]);
    value_put_u64(&w, ROUTER_IS_HAVE);
    value_put_u64(&w, h->id);
    value_put_u64(&w, h->view.epoch);
    value_put_u64(&w, h->view.hash);
    return (struct value){room, (uint32_t) w.need_bytes};
}

/* ---- reading, from outside --------------------------------------------------------- */

static bool next_u64(struct value_iter *it, uint64_t most, uint64_t *out) {
    return value_iter_u64(it, out) && *out <= most;
}

/* A value, or an empty one where nil stands. */
static bool next_span(struct value_iter *it, struct value *out) {
    if (!value_iter_next(it, out))
        return false;
    if (value_kind_of(*out) == VALUE_NIL)
        *out = (struct value){NULL, 0};
    return true;
}

static bool next_text(struct value_iter *it, struct value *out) {
    struct value v;

    return value_iter_next(it, &v) && value_kind_of(v) == VALUE_STRING &&
           value_get_bytes(v, &out->at, &out->size_bytes);
}

/* What may be asked of another node's shard. */
static bool is_for_others(uint64_t op) {
    static const bool list[SHARD_OP_COUNT] = {
        [SHARD_READ] = true,
        [SHARD_WRITE] = true,
        [SHARD_INSERT_NEW] = true,
        [SHARD_WRITE_MANY] = true,
        [SHARD_DELETE] = true,
        [SHARD_DELETE_OBJECT] = true,
        [SHARD_TAKE] = true,
        [SHARD_UPDATE] = true,
        [SHARD_COUNTER] = true,
        [SHARD_CLEAR] = true,
        [SHARD_REPLACE_SEEN] = true,
        [SHARD_REMOVE_SEEN] = true,
        [SHARD_SETTLE] = true,
        [SHARD_READ_SIBLINGS] = true,
        [SHARD_REPLACE_SIBLINGS] = true,
        [SHARD_DELETE_SIBLINGS] = true,
        [SHARD_TX_READ] = true,
        [SHARD_TX_ASK] = true,
        [SHARD_TX_ONE] = true,
        [SHARD_TX_PREPARE] = true,
        [SHARD_TX_COMMIT] = true,
        [SHARD_TX_ABORT] = true,
        [SHARD_TX_LOCK] = true,
        [SHARD_TX_UNLOCK] = true,
        [SHARD_TX_STATUS] = true,
    };

    return op < SHARD_OP_COUNT && list[op];
}

static bool is_head(struct value v) {
    struct transact_head head;

    return transact_get_head(v, &head);
}

/* Has the request the key and the value that its operation looks at? */
static bool is_complete(const struct shard_request *q) {
    struct value key;

    switch (q->op) {
    case SHARD_CLEAR:
    case SHARD_SETTLE:
        return true;
    case SHARD_WRITE_MANY:
        return q->value.size_bytes != 0 && value_kind_of(q->value) == VALUE_ARRAY;
    case SHARD_UPDATE:
    case SHARD_COUNTER:
    case SHARD_DELETE_SIBLINGS:
        return q->key.size_bytes != 0 && q->value.size_bytes != 0;
    case SHARD_REPLACE_SIBLINGS:
        return q->key.size_bytes != 0 && q->value.size_bytes != 0 &&
               value_kind_of(q->value) == VALUE_ARRAY && shard_request_key(q, &key);
    case SHARD_READ:
    case SHARD_READ_SIBLINGS:
    case SHARD_DELETE:
    case SHARD_TAKE:
    case SHARD_TX_READ: /* its head is looked at by its shard */
        return q->key.size_bytes != 0;
    case SHARD_TX_COMMIT:
    case SHARD_TX_ABORT:
    case SHARD_TX_UNLOCK:
    case SHARD_TX_STATUS:
        return is_head(q->key);
    case SHARD_TX_ASK:
    case SHARD_TX_ONE:
    case SHARD_TX_PREPARE:
    case SHARD_TX_LOCK:
        return is_head(q->key) && q->value.size_bytes != 0 &&
               value_kind_of(q->value) == VALUE_ARRAY;
    default:
        return q->value.size_bytes != 0 && value_kind_of(q->value) == VALUE_ARRAY &&
               shard_request_key(q, &key);
    }
}

static bool get_request(struct value_iter *it, struct router_request *q) {
    uint64_t shard, op, attribute;

    *q = (struct router_request){0};
    if (!next_u64(it, UINT64_MAX, &q->id) || !next_u64(it, UINT64_MAX, &q->view.epoch) ||
        !next_u64(it, UINT64_MAX, &q->view.hash) || !next_text(it, &q->table_name) ||
        !next_u64(it, UINT64_MAX, &q->records_id) || !next_u64(it, SCHEMA_SHARDS_MAX - 1, &shard) ||
        !next_u64(it, SHARD_OP_COUNT - 1, &op) || !next_u64(it, SHARD_NO_ATTRIBUTE, &attribute) ||
        !next_u64(it, UINT64_MAX, &q->what.ttl_ms) || !next_span(it, &q->what.key) ||
        !next_span(it, &q->what.value) || !next_u64(it, UINT64_MAX, &q->what.seen.hlc))
        return false;
    q->shard = (uint32_t) shard;
    q->what.op = (enum shard_op) op;
    q->what.attribute = (uint16_t) attribute;
    return is_for_others(op) && is_complete(&q->what);
}

static bool get_answer(struct value_iter *it, struct router_answer *a) {
    struct value v;
    int64_t outcome;

    *a = (struct router_answer){0};
    if (!next_u64(it, UINT64_MAX, &a->id) || !value_iter_next(it, &v) ||
        !value_get_i64(v, &outcome) || outcome > 0 || outcome < EG_CLOSED)
        return false;
    a->outcome = (eg_err) outcome;
    return a->outcome == EG_OK ? value_iter_next(it, &a->result) : next_text(it, &a->result);
}

static bool get_have(struct value_iter *it, struct router_have *h) {
    return next_u64(it, UINT64_MAX, &h->id) && next_u64(it, UINT64_MAX, &h->view.epoch) &&
           next_u64(it, UINT64_MAX, &h->view.hash);
}

eg_err router_get(struct value payload, struct router_payload *out) {
    struct value_iter it;
    uint64_t word;
    bool well = false;

    if (value_kind_of(payload) != VALUE_ARRAY)
        return EG_BAD_REQUEST;
    it = value_iter_of(payload);
    if (!next_u64(&it, ROUTER_IS_HAVE, &word) || value_count(payload) != fields_of[word])
        return EG_BAD_REQUEST;
    out->word = (enum router_word) word;
    switch (out->word) {
    case ROUTER_IS_REQUEST:
        well = get_request(&it, &out->request);
        break;
    case ROUTER_IS_ANSWER:
        well = get_answer(&it, &out->answer);
        break;
    case ROUTER_IS_HAVE:
        well = get_have(&it, &out->have);
        break;
    }
    return well ? EG_OK : EG_BAD_REQUEST;
}
