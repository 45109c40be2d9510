/* transact_look.c -- what a transaction sees, and by which version it knows it again. */
#include "engine/env.h"
#include "engine/planted.h"
#include "tables/shard_copy.h"
#include "tables/shard_tx.h"
#include "tables/table_private.h"
#include "tables/transact_private.h"

/* The finaliser of MurmurHash3 (Appleby, 2011): each bit of the result depends on all. */
static uint64_t mixed(uint64_t n) {
    n ^= n >> 33;
    n *= UINT64_C(0xff51afd7ed558ccd);
    n ^= n >> 33;
    n *= UINT64_C(0xc4ceb9fe1a85ec53);
    return n ^ n >> 33;
}

/* What a merge has put beside the record may change under the stamp of the later of the two. */
EG_SELDOM static uint64_t version_with_state(const struct record *rec) {
    struct value state = record_state(rec);
    uint64_t sum = rec->hlc;

    for (uint32_t i = 0; i < state.size_bytes; i++)
        sum = mixed(sum ^ state.at[i]);
    return sum;
}

static uint64_t version_of(const struct record *rec) {
    return EG_LIKELY((record_flags(rec) & RECORD_STATE) == 0) ? rec->hlc : version_with_state(rec);
}

uint64_t transact_add(uint64_t digest, const struct record *rec) {
    return digest + mixed(version_of(rec));
}

static struct transact_found find_in_bag(struct shard *s, struct reader *r, const struct key *k,
                                         uint64_t now_ms) {
    struct transact_found found = {NULL, 0};
    const struct record *rec;
    struct store_cursor c;

    s->store->ops->seek(s->store, r, &c, k, false, false);
    while ((rec = s->store->ops->next(s->store, r, &c)) != NULL &&
           value_equal(record_key(rec), k->value)) {
        if (shard_expired(rec, now_ms))
            continue;
        found.version = transact_add(found.version, rec);
        if (found.first == NULL)
            found.first = rec;
    }
    return found;
}

struct transact_found transact_find(struct shard *s, struct reader *r, const struct key *k,
                                    uint64_t now_ms) {
    const struct record *rec;

    if (EG_UNLIKELY(s->store->bag))
        return find_in_bag(s, r, k, now_ms);
    rec = s->store->ops->get(s->store, r, k);
    if (rec == NULL || shard_expired(rec, now_ms))
        return (struct transact_found){NULL, 0};
    return (struct transact_found){rec, version_of(rec)};
}

eg_err transact_glance(struct table *t, struct reader *r, const struct key *k,
                       const struct record **rec, uint64_t *version, bool *stands) {
    struct shard *s = shard_of(t, k->hash);
    struct transact_found found;

    if (EG_UNLIKELY(role_of(s) > SHARD_FULL))
        return EG_AGAIN;
    found = transact_find(s, r, k, (uint64_t) env_wall_ms(t->world->o.env));
    if (EG_UNLIKELY(r->fault != EG_OK))
        return reader_take_fault(r);
    *stands = table_got_stands(t, r, k, found.first);
    if (EG_UNLIKELY(!*stands) && table_is_held(t, k))
        return EG_AGAIN;
    *rec = found.first;
    *version = found.version;
    return EG_OK;
}

bool transact_passes(struct table *t, const struct key *k) {
    const struct shard *s = shard_of(t, k->hash);

    return role_of(s) <= SHARD_FULL && shard_tx_passes(s);
}

eg_err transact_look(struct table *t, struct reader *r, const struct key *k,
                     const struct record **rec, uint64_t *version) {
    bool stands;
    eg_err err = transact_glance(t, r, k, rec, version, &stands);

    return EG_LIKELY(err != EG_OK || stands) ? err : EG_AGAIN;
}

uint64_t transact_changes(const struct table *t, uint32_t shard) {
    const struct shard *s = &t->shard[shard];

    return s->life + atomic_load_explicit(&s->changes, memory_order_acquire);
}

bool transact_scan_stands(struct table *t, uint32_t shard) {
    struct shard *s = &t->shard[shard];
    unsigned role = role_or_held(s);

    return role == SHARD_ALONE || (role <= SHARD_FULL && shard_is_stable(s));
}

uint32_t transact_shard_of(const struct table *t, struct value key) {
    return table_shard_of_key(t, key);
}

uint64_t transact_hash_of(const struct table *t, struct value key) {
    return key_hash(key, t->seed);
}

/* ---- again --------------------------------------------------------------------------------- */

eg_err transact_walk(struct shard *s, struct reader *r, const struct scan_path *path,
                     eg_err (*add)(void *context, const struct record *rec), void *context,
                     uint64_t *digest) {
    struct scan_path here = *path;
    struct shard_set only = {{0}};
    const struct record *rec;
    uint32_t records = 0;
    struct scan *scan;
    eg_err err;

    *digest = 0;
    shard_set_add(&only, s->number);
    here.only = &only;
    err = scan_open(&scan, s->table, r, &here, (struct value){0});
    while (err == EG_OK && ((rec = scan_next(scan)) != NULL || scan_paused(scan))) {
        if (++records > TRANSACT_ASK_MAX)
            return EG_TOO_LARGE;
        if (rec == NULL)
            continue;
        *digest = transact_add(*digest, rec);
        if (add != NULL)
            err = add(context, rec);
    }
    return err == EG_OK ? reader_take_fault(r) : err;
}

struct first_rows {
    uint32_t left;
    uint64_t digest, wanted;
};

static eg_err compare_first(void *context, const struct record *rec) {
    struct first_rows *f = context;

    if (f->left == 0)
        return EG_OK;
    f->digest = transact_add(f->digest, rec);
    return --f->left != 0 || f->digest == f->wanted ? EG_OK : EG_CONFLICT;
}

eg_err transact_complete(struct table *t, uint32_t shard, struct reader *r,
                         const struct scan_path *path, uint32_t rows, uint64_t *digest) {
    struct first_rows first = {.left = rows, .wanted = *digest};
    uint64_t all;
    eg_err err = transact_walk(&t->shard[shard], r, path, compare_first, &first, &all);

    if (err == EG_OK && first.left != 0)
        err = EG_CONFLICT;
    if (err == EG_OK)
        *digest = all;
    return err;
}

eg_err transact_version_stands(struct shard *s, struct reader *r, const struct key *k,
                               uint64_t version, uint64_t now_ms) {
    struct transact_found found = transact_find(s, r, k, now_ms);

    if (EG_UNLIKELY(r->fault != EG_OK))
        return reader_take_fault(r);
    return found.version == version || PLANTED(VERSION_NOT_COMPARED) ? EG_OK : EG_CONFLICT;
}

eg_err transact_key_stands(struct shard *s, struct reader *r, struct value key, uint64_t version,
                           uint64_t now_ms) {
    struct key k;
    eg_err err = key_prepare(&k, key, s->table->seed, s->table->world->o.alloc);

    if (err != EG_OK)
        return err;
    err = transact_version_stands(s, r, &k, version, now_ms);
    key_release(&k);
    return err;
}

eg_err transact_question_stands(struct shard *s, struct reader *r, uint64_t changes,
                                uint64_t digest, const struct scan_path *path) {
    uint64_t again;
    eg_err err;

    if (transact_changes(s->table, s->number) == changes)
        return EG_OK;
    err = transact_walk(s, r, path, NULL, NULL, &again);
    if (err == EG_OK)
        return again == digest || PLANTED(QUESTION_NOT_COMPARED) ? EG_OK : EG_CONFLICT;
    return err == EG_TOO_LARGE || err == EG_BAD_REQUEST ? EG_CONFLICT : err;
}

/* ---- one moment, in place ------------------------------------------------------------------ */

/* Is the table what it was when the transaction began? */
static eg_err is_same(struct table *t) {
    if (EG_UNLIKELY(atomic_load_explicit(&t->successor, memory_order_acquire) != NULL))
        return EG_CONFLICT;
    return EG_UNLIKELY(table_dropped(t)) ? EG_NO_TABLE : EG_OK;
}

static bool is_held(const struct shard *s, uint64_t hash) {
    return EG_UNLIKELY((role_or_held(s) & SHARD_HELD) != 0) && shard_tx_holds(s, hash);
}

/* Does no transaction change what was seen just now?  One that has changed some of it and not yet
 * all does throughout. */
static eg_err is_quiet(const struct transact *x) {
    for (uint32_t i = 0; i < x->seen_count; i++) {
        const struct transact_seen *seen = &x->seen[i];
        eg_err err = is_same(seen->table);

        if (err != EG_OK)
            return err;
        if (is_held(&seen->table->shard[seen->shard], seen->hash))
            return EG_AGAIN;
    }
    for (uint32_t i = 0; i < x->question_count; i++) {
        const struct transact_question *q = &x->question[i];
        eg_err err = is_same(q->table);

        if (err != EG_OK)
            return err;
        if (!transact_path_stands(q->table, q->shard, q->path))
            return EG_AGAIN;
    }
    return EG_OK;
}

static eg_err looks_same(struct reader *r, const struct transact_seen *seen) {
    const struct record *rec;
    uint64_t version;
    struct key k;
    eg_err err;

    key_of_canonical(&k, seen->key, seen->hash);
    err = transact_look(seen->table, r, &k, &rec, &version);
    if (err != EG_OK)
        return err;
    return version == seen->version ? EG_OK : EG_CONFLICT;
}

static eg_err all_look_same(struct reader *r, const struct transact *x) {
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < x->seen_count && err == EG_OK; i++)
        err = looks_same(r, &x->seen[i]);
    for (uint32_t i = 0; i < x->question_count && err == EG_OK; i++) {
        const struct transact_question *q = &x->question[i];

        err = transact_question_looks(q->table, q->shard, r, q->changes, q->digest, q->path);
    }
    return err;
}

/* What could have been another thing in between and is the same again: nothing, or of a bag, or
 * what a question found. */
static bool may_flicker(const struct transact *x) {
    for (uint32_t i = 0; i < x->seen_count; i++)
        if (x->seen[i].version == 0 || x->seen[i].table->type == TABLE_BAG)
            return true;
    return x->question_count != 0;
}

/* Was it one moment already? */
static bool is_one_look(const struct transact *x) {
    return x->question_count == 0 &&
           (x->seen_count == 0 || (x->seen_count == 1 && x->seen[0].table->type != TABLE_BAG));
}

/* The changes of all shards that were looked at; a sum of growing numbers is the same where each
 * is. */
static uint64_t changes_of_all(const struct transact *x) {
    uint64_t sum = 0;

    for (uint32_t i = 0; i < x->seen_count; i++)
        sum += transact_changes(x->seen[i].table, x->seen[i].shard);
    for (uint32_t i = 0; i < x->question_count; i++)
        sum += transact_changes(x->question[i].table, x->question[i].shard);
    return sum;
}

eg_err transact_stands(struct reader *r, const struct transact *x, struct err_note *note) {
    enum { TRIES = 4 };
    uint64_t before;
    eg_err err;

    EG_ASSERT(x->want_count == 0);
    if (is_one_look(x))
        return EG_OK;
    if (!may_flicker(x)) {
        err = is_quiet(x);
        return err == EG_OK ? all_look_same(r, x) : err;
    }
    for (uint32_t i = 0; i < TRIES; i++) {
        before = changes_of_all(x);
        err = all_look_same(r, x);
        if (err == EG_OK)
            err = is_quiet(x);
        if (err == EG_OK)
            err = all_look_same(r, x);
        if (err != EG_OK)
            return err == EG_NO_TABLE ? err_note(note, err, "a table was dropped meanwhile") : err;
        if (changes_of_all(x) == before)
            return EG_OK;
    }
    return EG_AGAIN;
}
