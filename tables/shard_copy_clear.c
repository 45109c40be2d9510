/* shard_copy_clear.c -- a clear of elsewhere: it takes all that is older, and what comes late and
 * is older is lost to it. */
#include "tables/shard_copy_private.h"

#include "tables/shard_conflict.h"
#include "tables/shard_merge.h"

struct older {
    struct shard *shard;
    struct record_version than;
    eg_err err;
};

static bool grave_is_older(void *context, const struct grave *g) {
    struct older *o = context;

    if (!shard_copy_is_newer(o->shard, o->than, g->version))
        return false;
    if (o->err == EG_OK)
        o->err = shard_copy_forget_row(o->shard, grave_value(g));
    return o->err == EG_OK;
}

/* Remove what is older than the clear, one by one: something newer is there too. */
static eg_err clear_older(struct shard_turn *t, struct record_version than) {
    struct shard *s = t->shard;
    struct older o = {.shard = s, .than = than};
    struct record_version before = s->copy->cleared;
    struct store_cursor c;
    const struct record *rec;
    eg_err err = EG_OK;

    s->copy->cleared = than; /* what goes to disc one by one says why */
    t->leaving = true;       /* and that stands for all their graves */
    s->store->ops->seek(s->store, t->reader, &c, NULL, false, false);
    while (err == EG_OK && (rec = s->store->ops->next(s->store, t->reader, &c)) != NULL) {
        struct key k;

        if (!shard_copy_is_newer(s, than, shard_copy_version(rec)))
            continue;
        err = key_prepare(&k, record_key(rec), s->table->seed, s->table->world->o.alloc);
        if (err != EG_OK)
            break;
        err = shard_remove(t, &k, rec);
        key_release(&k);
    }
    t->leaving = false;
    if (err == EG_OK)
        err = reader_take_fault(t->reader);
    if (err == EG_OK) {
        graves_sift(&s->copy->graves, grave_is_older, &o);
        err = o.err;
    }
    if (err == EG_OK && s->table->storage == STORAGE_DISC_ONLY)
        err = store_disc_write_extra(s->store);
    if (err != EG_OK) { /* it will come again */
        s->copy->cleared = before;
        return err;
    }
    shard_copy_note_clear(s, than);
    return EG_OK;
}

static bool grave_is_newer(void *context, const struct grave *g) {
    struct older *o = context;

    o->err = shard_copy_is_newer(o->shard, g->version, o->than) ? EG_EXISTS : o->err;
    return false;
}

/* The journal gets what the clear takes away unknown to who cleared, as far as it has room. */
static eg_err report_cleared(struct shard_turn *t, struct record_version clear) {
    struct shard *s = t->shard;
    uint64_t count = 0;
    struct store_cursor c;
    const struct record *rec;
    eg_err err = EG_OK;

    if (EG_LIKELY(t->teller == NULL))
        return EG_OK;
    s->store->ops->seek(s->store, t->reader, &c, NULL, false, false);
    while (err == EG_OK && count < JOURNAL_ENTRIES &&
           (rec = s->store->ops->next(s->store, t->reader, &c)) != NULL) {
        struct merge_version loser;
        struct key k;

        if (shard_copy_is_newer(s, shard_copy_version(rec), clear) ||
            shard_clock_covers(t->teller, rec->dot) || shard_expired(rec, t->now_ms))
            continue;
        err = key_prepare(&k, record_key(rec), s->table->seed, s->table->world->o.alloc);
        if (err != EG_OK)
            break;
        loser = shard_merge_version(s->table->world->origins, rec);
        t->key = &k;
        shard_conflict_cleared(t, &loser, &s->copy->clock, clear, t->teller);
        t->key = NULL;
        key_release(&k);
        count++;
    }
    return err == EG_OK ? reader_take_fault(t->reader) : err;
}

eg_err shard_copy_apply_clear(struct shard_turn *t, const struct copy_change *c) {
    struct shard *s = t->shard;
    struct older o = {.shard = s, .than = c->version};
    struct store_cursor cursor;
    const struct record *rec;
    eg_err err = report_cleared(t, c->version);

    if (err != EG_OK)
        return err;
    graves_sift(&s->copy->graves, grave_is_newer, &o);
    s->store->ops->seek(s->store, t->reader, &cursor, NULL, false, false);
    while (o.err == EG_OK && (rec = s->store->ops->next(s->store, t->reader, &cursor)) != NULL)
        if (shard_copy_is_newer(s, shard_copy_version(rec), c->version))
            o.err = EG_EXISTS;
    if (reader_take_fault(t->reader) != EG_OK)
        return EG_DISC;
    if (o.err == EG_EXISTS)
        return clear_older(t, c->version);
    t->version = c->version;
    t->key = NULL;
    return shard_clear(t);
}

eg_err shard_copy_lose_to_clear(struct shard_turn *t, const struct copy_change *c,
                                const struct key *k) {
    struct shard *s = t->shard;
    struct merge_version loser =
        shard_merge_version_of(s->table->world->origins, c->version, c->value, c->state);
    eg_err err = EG_OK;

    if (EG_LIKELY(t->teller == NULL) || c->kind != CHANGE_STORE ||
        shard_clock_covers(t->teller, s->copy->cleared.dot) ||
        (c->expiry_ms != 0 && c->expiry_ms <= t->now_ms))
        return EG_OK;
    t->key = k;
    shard_conflict_cleared(t, &loser, t->teller, s->copy->cleared, &s->copy->clock);
    t->key = NULL;
    if (s->table->storage == STORAGE_DISC_ONLY)
        err = store_disc_write_extra(s->store);
    return err == EG_OK ? shard_copy_cover_one(s, c->version.dot) : err;
}
