/* shard_copy_mend.c -- one record of another copy beside ours, where two copies differ that should
 * not: what is here of it, and what is to be here from now on. */
#include "tables/shard_copy_private.h"

#include "tables/shard_stamp.h"

eg_err shard_copy_read_offer(struct shard *s, struct value change, struct shard_offer *out,
                             uint64_t *hash) {
    struct value_iter it = {.at = change.at, .left = 1};
    struct copy_change c;
    struct key k;
    eg_err err = shard_copy_read_change(s, &it, &c);

    if (err == EG_OK && c.kind != CHANGE_STORE)
        err = EG_BAD_REQUEST;
    if (err == EG_OK)
        err = shard_copy_change_key(s, &c, &k);
    if (err != EG_OK)
        return err;
    *hash = k.hash;
    key_release(&k);
    *out = (struct shard_offer){c.version, c.expiry_ms, c.value, c.state};
    return EG_OK;
}

bool shard_copy_is_same(const struct shard *s, struct value a, struct value b) {
    struct value key_a = a, key_b = b;

    if (!shard_copy_is_bag(s) && (!array_element(a, 0, &key_a) || !array_element(b, 0, &key_b)))
        return false;
    return value_equal(key_a, key_b);
}

static eg_err offered_key(struct shard *s, const struct shard_offer *o, struct key *k) {
    struct value v;

    EG_ASSERT(array_element(o->record, 0, &v));
    return key_prepare(k, v, s->table->seed, s->table->world->o.alloc);
}

eg_err shard_copy_trace(struct shard *s, struct reader *r, const struct shard_offer *o,
                        enum shard_trace *out, struct record_version *gone) {
    struct shard_turn t = {.shard = s, .reader = r};
    const struct grave *g;
    struct key k;
    eg_err err = offered_key(s, o, &k);

    *out = SHARD_TRACE_NONE;
    if (err != EG_OK)
        return err;
    g = graves_find(&s->copy->graves, k.hash, shard_copy_identity(s, &k, o->record));
    *gone = g != NULL ? g->version : s->copy->cleared;
    if (g != NULL && s->copy->cleared.hlc != 0 && shard_copy_is_newer(s, s->copy->cleared, *gone))
        *gone = s->copy->cleared;
    if (shard_copy_find(&t, &k, o->record) != NULL)
        *out = SHARD_TRACE_RECORD;
    else if (gone->hlc != 0 && shard_copy_is_newer(s, *gone, o->version))
        *out = SHARD_TRACE_GONE;
    key_release(&k);
    return reader_take_fault(r);
}

eg_err shard_copy_mend(struct shard_turn *t, const struct shard_offer *with, enum shard_mend how) {
    struct shard *s = t->shard;
    bool remove = how == SHARD_MEND_REMOVE, telling = s->copy->telling;
    const struct record *there;
    struct copy_change c;
    struct key k;
    eg_err err = offered_key(s, with, &k);

    if (err != EG_OK)
        return err;
    there = shard_copy_find(t, &k, with->record);
    err = there == NULL ? reader_take_fault(t->reader) : EG_OK;
    if (err == EG_OK) {
        c = (struct copy_change){.kind = remove ? CHANGE_REMOVE : CHANGE_STORE,
                                 .version = with->version,
                                 .expiry_ms = with->expiry_ms,
                                 .value = remove ? shard_copy_identity(s, &k, with->record)
                                                 : with->record,
                                 .state = with->state};
        if (how != SHARD_MEND_KEEP) {
            shard_stamp_hear(t, with->version.hlc); /* no copy may hold to what it has */
            shard_copy_write_anew(t, &c);
        }
        s->copy->telling = telling && how != SHARD_MEND_KEEP;
        t->remote = true; /* nothing refuses it */
        t->key = &k;
        err = shard_copy_apply_newer(t, &c, there);
        t->key = NULL;
        t->remote = false; /* what the turn does next is its own */
        t->version = (struct record_version){0, 0};
        t->state = (struct value){NULL, 0};
        s->copy->telling = telling;
    }
    key_release(&k);
    return err;
}

eg_err shard_copy_affirm(struct shard_turn *t, const struct key *k, struct value record) {
    struct shard_offer as = {.record = record};
    const struct record *there;
    eg_err err;

    if (shard_copy_is_bag(t->shard) && record.size_bytes == 0)
        return EG_OK; /* what it removes there is removed, where it was */
    there = shard_copy_find(t, k, record);
    err = there == NULL ? reader_take_fault(t->reader) : EG_OK;
    if (err != EG_OK || (there == NULL && record.size_bytes == 0))
        return err;
    if (there != NULL)
        as = (struct shard_offer){shard_copy_version(there), record_expiry_ms(there),
                                  record_value(there), record_state(there)};
    return shard_copy_mend(t, &as, there != NULL ? SHARD_MEND_WRITE : SHARD_MEND_REMOVE);
}
