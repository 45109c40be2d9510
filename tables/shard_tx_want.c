/* shard_tx_want.c -- which keys a part of a transaction holds, and so who may not change what it
 * has seen before its end.
 *
 *     a key seen        shared
 *     a key changed     exclusive; where that moves the record in an index, SHARD_TX_INDEXES too
 *     an index asked    SHARD_TX_INDEXES shared, and what was found, where that is little
 *     other questions   the whole shard, shared
 *
 * So two that have asked one index, each for its own, and change what they found are not in each
 * other's way. */
#include "tables/shard_index.h"
#include "tables/shard_tx_private.h"
#include "tables/table_private.h"

enum { FOUND_MAX = 32 }; /* by one question; of more, the whole shard is held */

static eg_err hash_of(const struct shard *s, struct value v, uint64_t *hash) {
    struct key k;
    eg_err err = key_prepare(&k, v, s->table->seed, s->table->world->o.alloc);

    if (err != EG_OK)
        return err;
    *hash = k.hash;
    key_release(&k);
    return EG_OK;
}

/* ---- changes --------------------------------------------------------------------------------- */

/* May it move a record in an index?  Where that is not easily said it may; and one that expires may
 * be there no more for who asks. */
static eg_err moves(struct shard *s, struct reader *r, const struct shard_request *q,
                    struct value key, bool *yes) {
    const struct record *old;
    struct key k;
    eg_err err;

    *yes = shard_has_index(s);
    if (!*yes || q->op != SHARD_WRITE || s->store->bag || s->table->storage == STORAGE_DISC_ONLY)
        return EG_OK;
    err = key_prepare(&k, key, s->table->seed, s->table->world->o.alloc);
    if (err != EG_OK)
        return err;
    old = s->store->ops->get(s->store, r, &k);
    key_release(&k);
    err = reader_take_fault(r);
    if (err == EG_OK && old != NULL && (record_flags(old) & RECORD_EXPIRES) == 0)
        *yes = shard_index_moves(s, old, q->value);
    return err;
}

static eg_err wants_of_changes(struct shard *s, struct reader *r, struct value_iter it,
                               struct lock_want *want, uint32_t *count) {
    bool any = false;

    while (it.left != 0) {
        struct lock_want *w = &want[*count];
        struct shard_request q;
        struct value key;
        bool yes = false;
        eg_err err;

        if (!transact_next_want(&it, &q) || !transact_may_want(q.op) ||
            !shard_request_key(&q, &key))
            return EG_BAD_REQUEST;
        *w = (struct lock_want){.exclusive = true};
        err = hash_of(s, key, &w->hash);
        if (err == EG_OK && !any)
            err = moves(s, r, &q, key, &yes);
        if (err != EG_OK)
            return err;
        any |= yes;
        ++*count;
    }
    if (any)
        want[(*count)++] = (struct lock_want){.hash = SHARD_TX_INDEXES, .exclusive = true};
    return EG_OK;
}

/* ---- questions ------------------------------------------------------------------------------- */

struct found {
    const struct shard *shard;
    struct lock_want *want;
    uint32_t count;
};

static eg_err find_one(void *context, const struct record *rec) {
    struct found *f = context;

    if (f->count == FOUND_MAX)
        return EG_TOO_LARGE;
    f->want[f->count++] =
        (struct lock_want){.hash = key_hash(record_key(rec), f->shard->table->seed)};
    return EG_OK;
}

eg_err shard_tx_wants_of_path(struct shard *s, struct reader *r, struct value packed,
                              struct lock_want *want, uint32_t *count) {
    struct found f = {.shard = s, .want = want + *count + 1};
    struct scan_path path;
    uint64_t digest;
    eg_err err = transact_get_path(packed, s->table, r, &path);

    if (err != EG_OK)
        return err;
    if (scan_by_index(&path) && s->table->storage != STORAGE_DISC_ONLY)
        err = transact_walk(s, r, &path, find_one, &f, &digest);
    else
        err = EG_TOO_LARGE;
    if (err == EG_OK) {
        want[*count] = (struct lock_want){.hash = SHARD_TX_INDEXES};
        *count += 1 + f.count;
        return EG_OK;
    }
    want[(*count)++] = (struct lock_want){.whole = true};
    return err == EG_TOO_LARGE || err == EG_BAD_REQUEST ? EG_OK : err; /* the index may have gone */
}

static eg_err wants_of_questions(struct shard *s, struct reader *r, struct value_iter it,
                                 struct lock_want *want, uint32_t *count) {
    eg_err err = EG_OK;

    while (err == EG_OK && it.left != 0) {
        uint64_t changes, digest;
        struct value path;

        if (!transact_next_question(&it, &changes, &digest, &path))
            return EG_BAD_REQUEST;
        err = shard_tx_wants_of_path(s, r, path, want, count);
    }
    return err;
}

/* ---- a part ---------------------------------------------------------------------------------- */

eg_err shard_tx_wants(struct shard *s, struct reader *r, struct value part, struct lock_want **want,
                      uint32_t *count) {
    struct transact_part p;
    struct value key;
    uint64_t version;
    size_t most;
    eg_err err = EG_OK;

    if (!transact_get_part(part, &p))
        return EG_BAD_REQUEST;
    most = 1u + p.seen.left + p.want.left + (size_t) p.question.left * SHARD_TX_PATH_WANTS;
    *want = reader_scratch(r, most * sizeof **want);
    if (*want == NULL)
        return EG_MEMORY;
    *count = 0;
    while (err == EG_OK && p.seen.left != 0) {
        struct lock_want *w = &(*want)[*count];

        if (!transact_next_seen(&p.seen, &key, &version))
            return EG_BAD_REQUEST;
        *w = (struct lock_want){.exclusive = false};
        err = hash_of(s, key, &w->hash);
        ++*count;
    }
    if (err == EG_OK)
        err = wants_of_questions(s, r, p.question, *want, count);
    return err == EG_OK ? wants_of_changes(s, r, p.want, *want, count) : err;
}

_Static_assert(SHARD_TX_PATH_WANTS == FOUND_MAX + 1, "what one question may want");
