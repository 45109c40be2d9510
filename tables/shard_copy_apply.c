/* shard_copy_apply.c -- changes of elsewhere done here: the newer one stays, and what did not know
 * of each other is judged by the table's policy.
 *
 * Some are read ahead of the first that is applied, so that what they will look at comes from
 * memory meanwhile. */
#include "tables/shard_copy_private.h"

#include "engine/planted.h"
#include "tables/shard_conflict.h"
#include "tables/shard_mark.h"
#include "tables/shard_merge.h"
#include "tables/shard_stamp.h"

#define CHANGE_AHEAD_MS (UINT64_C(10) * 365 * 24 * 3600 * 1000) /* ten years */

enum {
    APPLY_AHEAD = 8,  /* changes that are read before the first is applied */
    EXPECT_AHEAD = 4, /* steps of growth for each that comes               */
};

const struct record *shard_copy_find(struct shard_turn *t, const struct key *k,
                                     struct value whole) {
    struct store *store = t->shard->store;
    struct store_cursor c;
    const struct record *rec;

    if (!store->bag)
        return store->ops->get(store, t->reader, k);
    store->ops->seek(store, t->reader, &c, k, false, false);
    while ((rec = store->ops->next(store, t->reader, &c)) != NULL &&
           value_equal(record_key(rec), k->value))
        if (value_equal(record_value(rec), whole))
            return rec;
    return NULL;
}

eg_err shard_copy_apply_newer(struct shard_turn *t, const struct copy_change *c,
                              const struct record *there) {
    eg_err err;

    t->version = c->version;
    t->state = c->state;
    if (c->kind == CHANGE_STORE) {
        t->there = there;
        t->looked = true;
        err = shard_store(t, c->value, c->expiry_ms, NULL);
        t->looked = false;
        return err;
    }
    return there != NULL ? shard_remove(t, t->key, there) : shard_copy_bury_unseen(t, c);
}

/* ---- what did not know of each other ------------------------------------------------------- */

void shard_copy_write_anew(const struct shard_turn *t, struct copy_change *c) {
    struct shard *s = t->shard;
    uint64_t hlc = EG_MAX(t->now_ms << 16, s->hlc + 1);

    s->hlc = hlc;
    if (shard_stamp_is_ahead(s))
        hlc = shard_stamp_after(t, NULL, hlc);
    c->version = (struct record_version){hlc, ++s->sequence};
}

/* The change and what is here did not know of each other.  *fresh: what comes of them is a
 * change of ours, in `c`.  What is over was removed when it was written, swept already or not. */
static eg_err judge(struct shard_turn *t, struct copy_change *c, const struct record *there,
                    const struct grave *g, bool *fresh) {
    static const struct value nothing = {NULL, 0};
    struct shard *s = t->shard;
    const struct origins *o = shard_copy_origins(s);
    bool removes = c->kind == CHANGE_REMOVE || (c->expiry_ms != 0 && c->expiry_ms <= t->now_ms);
    bool stands = there != NULL && !shard_expired(there, t->now_ms);
    struct merge_version ours =
        stands ? shard_merge_version(o, there)
               : shard_merge_version_of(o, there != NULL ? shard_copy_version(there) : g->version,
                                        nothing, nothing);
    struct merge_version theirs = shard_merge_version_of(
        o, c->version, removes ? nothing : c->value, removes ? nothing : c->state);
    struct shard_verdict verdict;
    eg_err err = shard_conflict_judge(t, &ours, &theirs, &verdict);

    if (PLANTED(DELETE_LOSES) && removes && there != NULL &&
        schema_of(s->table)->merge != MERGE_LWW)
        verdict = (struct shard_verdict){true, ours.record, ours.state, false};
    if (err != EG_OK || !verdict.is_new || shard_copy_is_bag(s))
        return err;
    *fresh = true;
    if (!verdict.expires_as_there)
        c->expiry_ms = stands ? record_expiry_ms(there) : 0;
    c->kind = verdict.record.size_bytes == 0 ? CHANGE_REMOVE : CHANGE_STORE;
    c->value = c->kind == CHANGE_STORE ? verdict.record : t->key->value;
    c->state = c->kind == CHANGE_STORE ? verdict.state : nothing;
    shard_copy_write_anew(t, c);
    return EG_OK;
}

/* Did neither writer know of the other's?  One that is here may be later than our clock says, for
 * it came before an END that has not come; whoever wrote both did the second over the first. */
static bool is_conflict(const struct shard_turn *t, const struct copy_change *c,
                        const struct record *there, const struct grave *g) {
    uint64_t dot;

    if (EG_LIKELY(t->teller == NULL) || (there == NULL && g == NULL))
        return false;
    dot = there != NULL ? there->dot : g->version.dot;
    if (PLANTED(LOSS_INVENTED) || (PLANTED(DELETE_LOSES) && c->kind == CHANGE_REMOVE))
        return dot != c->version.dot;
    return dot_slot(dot) != dot_slot(c->version.dot) && !shard_clock_covers(t->teller, dot);
}

/* ---- one change ---------------------------------------------------------------------------- */

eg_err shard_copy_cover_one(struct shard *s, uint64_t dot) {
    return shard_clock_add(&s->copy->clock, dot_slot(dot), dot_sequence(dot), dot_sequence(dot));
}

static eg_err apply_keyed(struct shard_turn *t, struct copy_change *c) {
    struct shard *s = t->shard;
    const struct record *there = shard_copy_find(t, t->key, c->value);
    const struct grave *g =
        graves_find(&s->copy->graves, t->key->hash, shard_copy_identity(s, t->key, c->value));
    uint64_t dot = c->version.dot;
    bool fresh = false, met, newer;
    eg_err err = there == NULL ? reader_take_fault(t->reader) : EG_OK;

    if (err != EG_OK)
        return err;
    met = is_conflict(t, c, there, g);
    if (met) {
        err = judge(t, c, there, g, &fresh);
    } else if (EG_UNLIKELY(t->teller_is_behind) && c->kind == CHANGE_STORE && there == NULL &&
               g == NULL && c->version.hlc <= s->copy->floor.hlc) {
        /* A delete that is forgotten here, and not on every other copy, may be later than it. */
        shard_copy_write_anew(t, c);
        met = fresh = true;
    }
    if (err != EG_OK)
        return err;
    newer = PLANTED(OLDER_OVER_NEWER) ||
            ((there == NULL || shard_copy_is_newer(s, c->version, shard_copy_version(there))) &&
             (g == NULL || shard_copy_is_newer(s, c->version, g->version)));
    if (fresh || newer)
        err = shard_copy_apply_newer(t, c, there);
    else if (met && s->table->storage == STORAGE_DISC_ONLY)
        err = store_disc_write_extra(s->store); /* the journal's row, if there is one */
    return err == EG_OK && met && !PLANTED(MERGED_UNCOVERED) ? shard_copy_cover_one(s, dot) : err;
}

static eg_err apply_one(struct shard_turn *t, struct copy_change *c, const struct key *k) {
    struct shard *s = t->shard;
    eg_err err;

    shard_stamp_hear(t, c->version.hlc);
    if (shard_clock_covers(&s->copy->clock, c->version.dot))
        return EG_OK;
    if (s->copy->cleared.hlc != 0 && !shard_copy_is_newer(s, c->version, s->copy->cleared))
        return shard_copy_lose_to_clear(t, c, k);
    if (c->kind == CHANGE_CLEAR)
        return shard_copy_apply_clear(t, c);
    t->key = k;
    err = apply_keyed(t, c);
    t->key = NULL;
    return err;
}

/* ---- a group ------------------------------------------------------------------------------- */

/* Changes that have been read, with their keys: what they will look at is on its way from memory
 * meanwhile. */
struct ahead {
    uint32_t count;
    struct copy_change change[APPLY_AHEAD];
    struct key key[APPLY_AHEAD]; /* of a clear: nothing */
};

static eg_err read_one(struct shard_turn *t, struct value_iter *changes, struct copy_change *c,
                       struct key *k) {
    struct shard *s = t->shard;
    eg_err err = shard_copy_read_change(s, changes, c);

    if (err != EG_OK)
        return err;
    if (c->version.hlc >> 16 > t->now_ms + CHANGE_AHEAD_MS &&
        !(table_schema(s->table)->majority && c->version.hlc >= SHARD_STAMP_VIEWS))
        return EG_BAD_REQUEST; /* no clock is so wrong: ours must not be either from then on */
    if (c->kind == CHANGE_CLEAR)
        return EG_OK;
    err = shard_copy_change_key(s, c, k);
    if (err == EG_OK)
        s->store->ops->prefetch(s->store, t->reader, k);
    return err;
}

/* EG_OK too where there are no more; an error is of the one behind `count`. */
static eg_err read_some(struct shard_turn *t, struct value_iter *changes, struct ahead *a) {
    struct store *store = t->shard->store;
    eg_err err = EG_OK;

    for (a->count = 0;
         a->count < APPLY_AHEAD && changes->left != 0 && !shard_mark_is_next(*changes);
         a->count++) {
        err = read_one(t, changes, &a->change[a->count], &a->key[a->count]);
        if (err != EG_OK)
            break;
    }
    for (uint32_t i = 0; i < a->count; i++)
        if (a->change[i].kind != CHANGE_CLEAR)
            store->ops->prefetch_record(store, t->reader, &a->key[i]);
    return err;
}

static eg_err apply_some(struct shard_turn *t, struct ahead *a) {
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < a->count; i++) {
        bool keyed = a->change[i].kind != CHANGE_CLEAR; /* it may be merged into another kind */

        if (err == EG_OK)
            err = apply_one(t, &a->change[i], &a->key[i]);
        if (keyed)
            key_release(&a->key[i]);
    }
    return err;
}

void shard_copy_expect(struct shard *s, uint64_t count, uint32_t coming) {
    if (s->store->ops->expect != NULL)
        s->store->ops->expect(s->store, count, (uint64_t) coming * EXPECT_AHEAD);
}

eg_err shard_copy_apply(struct shard_turn *t, struct value_iter changes) {
    eg_err err = EG_OK;

    (void) shard_copy_clock(t->shard); /* our own dots come back to us too */
    shard_copy_recent_ready(t);
    t->remote = true;
    t->teller_is_behind =
        t->teller != NULL && !shard_clock_has(t->teller, &t->shard->copy->floor.clock);
    while (err == EG_OK && changes.left != 0) {
        struct ahead a;
        eg_err read = read_some(t, &changes, &a);

        err = apply_some(t, &a);
        err = err == EG_OK ? read : err;
        while (err == EG_OK && shard_mark_is_next(changes))
            err = shard_mark_apply(t->shard, t->reader, &changes);
    }
    if (err != EG_OK) /* what was applied may be covered never, or late */
        recent_break(&t->shard->copy->recent);
    t->version = (struct record_version){0, 0};
    t->state = (struct value){NULL, 0};
    t->remote = false;
    return err;
}
