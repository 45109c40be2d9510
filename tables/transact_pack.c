/* transact_pack.c -- heads and parts of transactions as flat bytes, which are not trusted. */
#include "engine/runtime.h"
#include "tables/table_private.h"
#include "tables/transact_private.h"
#include "tables/value_append.h"

static const uint8_t nil_byte = 0xc0;

/* ---- head -------------------------------------------------------------------------------- */

enum { HEAD_FIELDS = 7, PART_FIELDS = 4, WANT_FIELDS = 5, QUESTION_FIELDS = 3 };

static void put_head(struct value_writer *w, const void *what) {
    const struct transact_head *h = what;

    value_put_array(w, HEAD_FIELDS);
    value_put_u64(w, h->id.high);
    value_put_u64(w, h->id.low);
    value_put_u64(w, h->age.ms);
    value_put_u64(w, h->age.node);
    value_put_u64(w, h->age.count);
    value_put_u64(w, h->coordinator);
    value_put_u64(w, h->deadline_ms);
}

eg_err transact_pack_head(const struct transact_head *h, struct buffer *out) {
    return value_append(out, put_head, h);
}

bool transact_get_head(struct value packed, struct transact_head *out) {
    struct transact_head h;
    struct value_iter it;

    if (packed.size_bytes == 0 || value_kind_of(packed) != VALUE_ARRAY ||
        value_count(packed) < HEAD_FIELDS) /* one that an older version has left on disc has more */
        return false;
    it = value_iter_of(packed);
    if (!value_iter_u64(&it, &h.id.high) || !value_iter_u64(&it, &h.id.low) ||
        !value_iter_u64(&it, &h.age.ms) || !value_iter_u64(&it, &h.age.node) ||
        !value_iter_u64(&it, &h.age.count) || !value_iter_u64(&it, &h.coordinator) ||
        !value_iter_u64(&it, &h.deadline_ms))
        return false;
    *out = h;
    return true;
}

/* ---- part -------------------------------------------------------------------------------- */

/* What of a transaction is of one shard. */
struct share {
    const struct transact *whole;
    const struct table *table;
    uint32_t shard;
    uint32_t seen, questions, wants; /* how many */
};

static bool is_of(const struct share *s, const struct table *t, uint32_t shard) {
    return t == s->table && shard == s->shard;
}

static void put_span(struct value_writer *w, struct value v) {
    if (v.size_bytes == 0)
        value_put_nil(w);
    else
        value_put_raw(w, v);
}

static void put_seen(struct value_writer *w, const struct share *s) {
    value_put_array(w, 2 * s->seen);
    for (uint32_t i = 0; i < s->whole->seen_count; i++) {
        const struct transact_seen *seen = &s->whole->seen[i];

        if (!is_of(s, seen->table, seen->shard))
            continue;
        value_put_raw(w, seen->key);
        value_put_u64(w, seen->version);
    }
}

static void put_questions(struct value_writer *w, const struct share *s) {
    value_put_array(w, s->questions);
    for (uint32_t i = 0; i < s->whole->question_count; i++) {
        const struct transact_question *q = &s->whole->question[i];

        if (!is_of(s, q->table, q->shard))
            continue;
        value_put_array(w, QUESTION_FIELDS);
        value_put_u64(w, q->changes);
        value_put_u64(w, q->digest);
        transact_put_path(w, q->path);
    }
}

static void put_wants(struct value_writer *w, const struct share *s) {
    value_put_array(w, WANT_FIELDS * s->wants);
    for (uint32_t i = 0; i < s->whole->want_count; i++) {
        const struct transact_want *want = &s->whole->want[i];

        if (!is_of(s, want->table, want->shard))
            continue;
        value_put_u64(w, want->request.op);
        value_put_u64(w, want->request.attribute);
        value_put_u64(w, want->request.ttl_ms);
        put_span(w, want->request.key);
        put_span(w, want->request.value);
    }
}

static void put_part(struct value_writer *w, const void *what) {
    const struct share *s = what;

    value_put_array(w, PART_FIELDS);
    put_seen(w, s);
    put_questions(w, s);
    put_wants(w, s);
    value_put_u64(w, 0);
}

eg_err transact_pack_part(const struct transact *x, const struct table *t, uint32_t shard,
                          struct buffer *out) {
    struct share s = {.whole = x, .table = t, .shard = shard};
    size_t before_bytes = out->size_bytes;
    eg_err err;

    for (uint32_t i = 0; i < x->seen_count; i++)
        s.seen += is_of(&s, x->seen[i].table, x->seen[i].shard);
    for (uint32_t i = 0; i < x->question_count; i++)
        s.questions += is_of(&s, x->question[i].table, x->question[i].shard);
    for (uint32_t i = 0; i < x->want_count; i++)
        s.wants += is_of(&s, x->want[i].table, x->want[i].shard);
    err = value_append(out, put_part, &s);
    if (err == EG_OK && out->size_bytes - before_bytes > TRANSACT_PART_BYTES_MAX) {
        out->size_bytes = before_bytes;
        err = EG_TOO_LARGE;
    }
    return err;
}

static bool next_array(struct value_iter *it, struct value_iter *out) {
    struct value v;

    if (!value_iter_next(it, &v) || value_kind_of(v) != VALUE_ARRAY)
        return false;
    *out = value_iter_of(v);
    return true;
}

bool transact_get_part(struct value part, struct transact_part *out) {
    struct value_iter it;

    if (part.size_bytes == 0 || value_kind_of(part) != VALUE_ARRAY ||
        value_count(part) != PART_FIELDS)
        return false;
    it = value_iter_of(part);
    return next_array(&it, &out->seen) && next_array(&it, &out->question) &&
           next_array(&it, &out->want) && value_iter_u64(&it, &out->flags);
}

bool transact_next_seen(struct value_iter *it, struct value *key, uint64_t *version) {
    return value_iter_next(it, key) && value_iter_u64(it, version);
}

static struct value span_of(struct value v) {
    return v.size_bytes == 1 && v.at[0] == nil_byte ? (struct value){NULL, 0} : v;
}

bool transact_next_want(struct value_iter *it, struct shard_request *q) {
    uint64_t op, attribute, ttl_ms;
    struct value key, value;

    if (!value_iter_u64(it, &op) || !value_iter_u64(it, &attribute) ||
        !value_iter_u64(it, &ttl_ms) || !value_iter_next(it, &key) ||
        !value_iter_next(it, &value) || op >= SHARD_OP_COUNT || attribute > SHARD_NO_ATTRIBUTE)
        return false;
    *q = (struct shard_request){.op = (enum shard_op) op,
                                .attribute = (uint16_t) attribute,
                                .ttl_ms = ttl_ms,
                                .key = span_of(key),
                                .value = span_of(value)};
    return true;
}

/* ---- from outside -------------------------------------------------------------------------- */

static eg_err check_seen(const struct table *t, uint32_t shard, struct value_iter it,
                         struct err_note *note) {
    while (it.left != 0) {
        struct value key_value;
        uint64_t version;
        struct key k;
        bool here;
        eg_err err;

        if (!transact_next_seen(&it, &key_value, &version))
            return err_note(note, EG_BAD_REQUEST, "a key that was seen, and no version");
        err = table_key_checked(t, &k, key_value, note);
        if (err != EG_OK)
            return err;
        here = table_shard_of_hash(t, k.hash) == shard;
        key_release(&k);
        if (!here)
            return err_note(note, EG_BAD_REQUEST, "a key of another shard");
    }
    return EG_OK;
}

bool transact_may_want(enum shard_op op) {
    return op == SHARD_WRITE || op == SHARD_INSERT_NEW || op == SHARD_DELETE ||
           op == SHARD_DELETE_OBJECT || op == SHARD_UPDATE || op == SHARD_COUNTER;
}

/* Has it what its op looks at? */
static bool is_whole(const struct shard_request *q) {
    struct value key;

    switch (q->op) {
    case SHARD_DELETE:
        return q->key.size_bytes != 0;
    case SHARD_UPDATE:
    case SHARD_COUNTER:
        return q->key.size_bytes != 0 && q->value.size_bytes != 0;
    default:
        return q->value.size_bytes != 0 && value_kind_of(q->value) == VALUE_ARRAY &&
               shard_request_key(q, &key);
    }
}

static eg_err check_wants(struct table *t, uint32_t shard, struct value_iter it,
                          struct err_note *note) {
    while (it.left != 0) {
        struct shard_request q;
        uint32_t number = shard;
        eg_err err;

        if (!transact_next_want(&it, &q) || !transact_may_want(q.op) || !is_whole(&q))
            return err_note(note, EG_BAD_REQUEST, "no change that a transaction can make");
        err = table_check_request(t, &q, &number, note);
        if (err != EG_OK)
            return err;
        if (number != shard)
            return err_note(note, EG_BAD_REQUEST, "a change of another shard");
    }
    return EG_OK;
}

eg_err transact_check_part(struct table *t, uint32_t shard, struct value part,
                           struct err_note *note) {
    struct transact_part p;
    eg_err err;

    if (part.size_bytes > TRANSACT_PART_BYTES_MAX)
        return err_note(note, EG_TOO_LARGE, "a transaction's part of a shard is at most 15 MiB");
    if (!transact_get_part(part, &p))
        return err_note(note, EG_BAD_REQUEST, "no part of a transaction");
    err = check_seen(t, shard, p.seen, note);
    return err == EG_OK ? check_wants(t, shard, p.want, note) : err;
}

bool transact_next_question(struct value_iter *it, uint64_t *changes, uint64_t *digest,
                            struct value *path) {
    struct value_iter in;

    return next_array(it, &in) && in.left == QUESTION_FIELDS && value_iter_u64(&in, changes) &&
           value_iter_u64(&in, digest) && value_iter_next(&in, path);
}

eg_err transact_message(struct table *t, uint32_t shard, const struct shard_request *q, eg_pid *to,
                        struct message **out) {
    EG_ASSERT(shard_op_transacts(q->op));
    EG_ASSERT(shard < t->shard_count);
    return table_message_to(t, shard, q, to, out);
}
