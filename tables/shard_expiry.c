/* shard_expiry.c -- records that go by themselves: those whose time is over, and the oldest of a
 * full cache.
 *
 * Records in memory are found by their ranks; of a disc_only table only the earliest deadline is
 * known, and where it is over a pass looks at its rows. */
#include "tables/shard.h"

#include "engine/planted.h"
#include "tables/reshape.h"
#include "tables/table_private.h"

uint64_t shard_expiry(const struct shard_turn *t) {
    uint64_t ttl_ms =
        t->request->ttl_ms != 0 ? t->request->ttl_ms : schema_of(t->shard->table)->ttl_ms;

    if (ttl_ms == 0)
        return 0;
    return ttl_ms < RANK_NEVER - 1 - t->now_ms ? t->now_ms + ttl_ms : RANK_NEVER - 1;
}

bool shard_expired(const struct record *rec, uint64_t now_ms) {
    return (record_flags(rec) & RECORD_EXPIRES) != 0 &&
           record_expiry_ms(rec) <= now_ms + (PLANTED(EXPIRY_EARLY) ? 200 : 0);
}

/* Remove a record found by rank, not by key. */
static eg_err remove_ranked(struct shard_turn *t, const struct record *rec) {
    struct key k;
    eg_err err =
        key_prepare(&k, record_key(rec), t->shard->table->seed, t->shard->table->world->o.alloc);

    if (err != EG_OK)
        return err;
    err = shard_remove(t, &k, rec);
    key_release(&k);
    return err;
}

void shard_evict(struct shard *s) {
    const struct schema *schema = schema_of(s->table);
    struct shard_turn t = {.shard = s, .leaving = true};

    if (EG_LIKELY(!schema->cache) || reshape_holds(s))
        return;
    while (s->record_bytes > schema->max_bytes / s->table->shard_count && s->by_age.count > 1)
        if (remove_ranked(&t, rank_first(&s->by_age)) != EG_OK)
            return; /* out of memory for the removal: the next turn tries again */
}

uint64_t shard_purge(struct shard *s, struct reader *r, uint64_t now_ms, uint64_t most) {
    struct shard_turn t = {.shard = s, .reader = r, .now_ms = now_ms, .leaving = true};
    const struct record *first;
    uint64_t purged = 0;

    if (EG_UNLIKELY(reshape_holds(s)))
        return 0; /* the new shard will */
    while (purged < most && (first = rank_first(&s->by_deadline)) != NULL &&
           record_expiry_ms(first) <= now_ms && remove_ranked(&t, first) == EG_OK)
        purged++;
    return purged;
}

/* Where the pass over the rows goes on; false: at the first. */
static bool purge_place(struct shard *s, struct key *k) {
    const struct buffer *place = &s->rows_purge.place;
    struct value v = {place->at, (uint32_t) place->size_bytes};

    return v.size_bytes != 0 &&
           key_prepare(k, v, s->table->seed, s->table->world->o.alloc) == EG_OK;
}

/* Remove what has expired of the next rows; true: that were all. */
static bool purge_some(struct shard_turn *t, uint64_t *purged) {
    struct shard *s = t->shard;
    struct store *store = s->store;
    struct shard_rows_purge *pass = &s->rows_purge;
    const struct record *rec, *last = NULL;
    struct store_cursor c;
    uint32_t rows = 0;
    struct key k;

    if (purge_place(s, &k)) {
        store->ops->seek(store, t->reader, &c, &k, true, false);
        key_release(&k);
    } else {
        store->ops->seek(store, t->reader, &c, NULL, false, false);
    }
    while ((rec = store->ops->next(store, t->reader, &c)) != NULL) {
        if (rows++ >= SHARD_PURGE_ROWS && !value_equal(record_key(last), record_key(rec)))
            break; /* between two keys: a bag's records of one key are one step's */
        last = rec;
        if (shard_expired(rec, t->now_ms) && remove_ranked(t, rec) == EG_OK)
            ++*purged;
        else if (record_flags(rec) & RECORD_EXPIRES)
            pass->next_ms = EG_MIN(pass->next_ms, record_expiry_ms(rec));
    }
    if (reader_take_fault(t->reader) != EG_OK) {
        pass->next_ms = EG_MIN(pass->next_ms, t->now_ms + SHARD_PURGE_FAULT_MS);
        return true;
    }
    buffer_clear(&pass->place);
    return rec == NULL ||
           !buffer_append(&pass->place, record_key(last).at, record_key(last).size_bytes);
}

uint64_t shard_purge_rows(struct shard *s, struct reader *r, uint64_t now_ms, bool all) {
    struct shard_turn t = {.shard = s, .reader = r, .now_ms = now_ms, .leaving = true};
    uint64_t purged = 0;
    bool over;

    if (EG_UNLIKELY(reshape_holds(s)))
        return 0;
    if (atomic_load_explicit(&s->next_deadline_ms, memory_order_relaxed) > now_ms)
        return 0;
    if (all)
        buffer_clear(&s->rows_purge.place);
    if (s->rows_purge.place.size_bytes == 0)
        s->rows_purge.next_ms = RANK_NEVER;
    do
        over = purge_some(&t, &purged);
    while (!over && all);
    if (over) {
        buffer_clear(&s->rows_purge.place);
        atomic_store_explicit(&s->next_deadline_ms, s->rows_purge.next_ms, memory_order_relaxed);
    }
    return purged;
}
