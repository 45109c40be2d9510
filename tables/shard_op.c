/* shard_op.c -- what a shard does with each request.
 *
 * Every op reads what is there, decides, and then changes store, indexes, ranks
 * and log through two functions, shard_store() and shard_remove(), which keep the
 * shard's invariants or change nothing.  Room for the answer is taken before
 * anything is changed, so an answer is never lost after the deed. */
#include "tables/shard.h"

#include "engine/env.h"
#include "engine/planted.h"
#include "tables/reshape.h"
#include "tables/shard_copy.h"
#include "tables/shard_edit.h"
#include "tables/shard_index.h"
#include "tables/shard_merge.h"
#include "tables/shard_stamp.h"
#include "tables/shard_sibling.h"
#include "tables/shard_tx.h"
#include "tables/shard_unique.h"
#include "tables/shard_watch.h"
#include "tables/table_private.h"

#include <string.h>

/* ---- answers -------------------------------------------------------------- */

static void answer_bool(struct shard_turn *t, bool b) {
    t->result->at[t->result->size_bytes++] = b ? 0xc3 : 0xc2; /* room: shard_run() */
}

static void answer_number(struct shard_turn *t, uint64_t n) {
    struct buffer *b = t->result;
    struct value_writer w = value_writer_init(b->at + b->size_bytes, SHARD_RESULT_SMALL_BYTES);

    value_put_u64(&w, n);
    b->size_bytes += w.need_bytes;
}

/* ---- reading inside a turn ------------------------------------------------- */

bool shard_expired(const struct record *rec, uint64_t now_ms) {
    return (record_flags(rec) & RECORD_EXPIRES) != 0 &&
           record_expiry_ms(rec) <= now_ms + (PLANTED(EXPIRY_EARLY) ? 200 : 0);
}

/* The records under the turn's key, one after the other. */
struct same_key {
    struct store_cursor cursor;
    const struct record *next;
};

static const struct record *same_key_next(struct shard_turn *t, struct same_key *it) {
    struct store *store = t->shard->store;
    const struct record *rec = it->next;

    it->next = NULL;
    if (rec == NULL || !value_equal(record_key(rec), t->key->value))
        return NULL;
    if (store->bag)
        it->next = store->ops->next(store, t->reader, &it->cursor);
    return rec;
}

static const struct record *same_key_first(struct shard_turn *t, struct same_key *it) {
    struct store *store = t->shard->store;

    if (store->bag) {
        store->ops->seek(store, t->reader, &it->cursor, t->key, false, false);
        it->next = store->ops->next(store, t->reader, &it->cursor);
    } else {
        it->next = store->ops->get(store, t->reader, t->key);
    }
    return same_key_next(t, it);
}

/* Append [record, ...] of the turn's key, expired ones left out. */
static eg_err answer_records(struct shard_turn *t) {
    struct same_key it;
    const struct record *rec;
    struct value_writer w;
    uint32_t count = 0;
    size_t size_bytes = 0;
    uint8_t *room;

    for (rec = same_key_first(t, &it); rec != NULL; rec = same_key_next(t, &it)) {
        if (shard_expired(rec, t->now_ms))
            continue;
        count++;
        size_bytes += record_array_bytes(rec);
    }
    if (t->reader->fault != EG_OK)
        return reader_take_fault(t->reader);
    room = buffer_room(t->result, size_bytes + 5);
    if (room == NULL)
        return err_note(t->note, EG_TOO_LARGE, "the records do not fit one answer");
    w = value_writer_init(room, size_bytes + 5);
    value_put_array(&w, count);
    for (rec = same_key_first(t, &it); rec != NULL; rec = same_key_next(t, &it))
        if (!shard_expired(rec, t->now_ms))
            value_put_raw(&w, record_value(rec));
    if (t->reader->fault != EG_OK)
        return reader_take_fault(t->reader);
    EG_ASSERT(!w.overflow);
    t->result->size_bytes += w.need_bytes;
    return EG_OK;
}

/* What a disc_only table could not read is not absent: whoever found nothing asks
 * here before it says so. */
static eg_err nothing_there(struct shard_turn *t, eg_err absent) {
    return EG_UNLIKELY(t->reader->fault != EG_OK) ? reader_take_fault(t->reader) : absent;
}

/* The one live record under the key of a set; NULL: absent or expired, or a fault. */
static const struct record *only_record(struct shard_turn *t) {
    struct store *store = t->shard->store;
    const struct record *rec = store->ops->get(store, t->reader, t->key);

    return rec != NULL && shard_expired(rec, t->now_ms) ? NULL : rec;
}

static bool keeps_siblings(const struct shard_turn *t) {
    return EG_UNLIKELY(schema_keeps_siblings(schema_of(t->shard->table)));
}

/* The same with all versions there are; `with_context`: [[record, ...], context]. */
static eg_err answer_siblings(struct shard_turn *t, bool with_context) {
    const struct origins *o = t->shard->table->world->origins;
    const struct record *rec = only_record(t);
    eg_err err = rec == NULL ? nothing_there(t, EG_OK) : EG_OK;

    if (err == EG_OK)
        err = with_context ? sibling_put_all(o, rec, t->result)
                           : sibling_put_records(o, rec, t->result);
    return err != EG_TOO_LARGE ? err : err_note(t->note, err, "the records do not fit one answer");
}

eg_err shard_answer_key(struct shard_turn *t) {
    return keeps_siblings(t) ? answer_siblings(t, false) : answer_records(t);
}

/* ---- changing -------------------------------------------------------------- */

/* The next version: later than anything this shard or the replaced record has.  Of the key, or
 * NULL: of all that is here. */
static struct record_version next_version(const struct shard_turn *t, const struct key *k,
                                          const struct record *old) {
    struct shard *s = t->shard;
    uint64_t hlc = EG_MAX(t->now_ms << 16, s->hlc + 1);

    s->hlc = hlc;
    if (old != NULL)
        hlc = EG_MAX(hlc, old->hlc + 1);
    if (EG_UNLIKELY(shard_stamp_is_ahead(s)))
        hlc = shard_stamp_after(t, k, hlc);
    else
        s->hlc = hlc;
    return (struct record_version){.hlc = hlc, .dot = s->sequence + 1};
}

static eg_err may_grow(const struct shard_turn *t, size_t old_bytes, size_t new_bytes) {
    const struct table *table = t->shard->table;

    if (new_bytes <= old_bytes || t->taking_back || t->remote || t->decided ||
        table->storage == STORAGE_DISC_ONLY)
        return EG_OK;
    if (memory_over_limit(table->world->o.budget))
        return err_note(t->note, EG_MEMORY, "the node is at its memory limit");
    if (t->shard->by_age.room == 0 && memory_over_limit(&table->budget))
        return err_note(t->note, EG_MEMORY, "the table is at its max_bytes");
    return EG_OK;
}

/* What makes room, or needs none: a full disc takes it. */
static bool frees(const struct shard_turn *t) {
    static const bool list[SHARD_OP_COUNT] = {
        [SHARD_DELETE] = true,      [SHARD_DELETE_OBJECT] = true, [SHARD_TAKE] = true,
        [SHARD_REMOVE_SEEN] = true, [SHARD_CLEAR] = true,         [SHARD_PURGE] = true,
        [SHARD_SYNC] = true,        [SHARD_SETTLE] = true,        [SHARD_DELETE_SIBLINGS] = true,
    };

    return t->request != NULL && list[t->request->op];
}

eg_err shard_ready(struct shard_turn *t) {
    struct shard *s = t->shard;
    eg_err err;

    if (EG_UNLIKELY(table_dropped(s->table)))
        return table_lost(s->table);
    if (EG_UNLIKELY(s->bin.retired_bytes > SHARD_RETIRED_BYTES_MAX))
        return err_note(t->note, EG_BUSY, "a stuck reader holds back memory");
    if (EG_UNLIKELY(s->reshape != NULL) && !t->decided) { /* it waits for those that are */
        err = reshape_ready(s, t->note);
        if (err != EG_OK)
            return err;
    }
    if (EG_UNLIKELY(atomic_load_explicit(&s->next_deadline_ms, memory_order_relaxed) <= t->now_ms))
        (void) shard_purge(s, t->reader, t->now_ms,
                           SHARD_PURGE_BATCH); /* its count is for timers */
    err = shard_log_ready(&s->log, frees(t), t->note);
    if (EG_UNLIKELY(err == EG_DISC) && s->copy != NULL && s->copy->gives_way &&
        (shard_role(s) == SHARD_MASTER || shard_role(s) == SHARD_CHAIR))
        return err_note(t->note, EG_BUSY, "the disc of this node is full: another is to go on");
    return err;
}

static void deadline_moved(struct shard *s) {
    const struct record *first = rank_first(&s->by_deadline);
    atomic_store_explicit(&s->next_deadline_ms,
                          first == NULL ? RANK_NEVER : record_expiry_ms(first),
                          memory_order_relaxed);
}

/* Ranks follow the store: cannot fail once reserved.  A disc_only table has no
 * records in memory to rank and keeps the earliest deadline alone. */
static void rank_enter(struct shard *s, const struct record *rec) {
    if ((record_flags(rec) & RECORD_EXPIRES) == 0)
        return;
    if (s->table->storage == STORAGE_DISC_ONLY) {
        uint64_t next_ms = atomic_load_explicit(&s->next_deadline_ms, memory_order_relaxed);
        atomic_store_explicit(&s->next_deadline_ms, EG_MIN(next_ms, record_expiry_ms(rec)),
                              memory_order_relaxed);
        s->rows_purge.next_ms = EG_MIN(s->rows_purge.next_ms, record_expiry_ms(rec));
        return;
    }
    if (record_expiry_ms(rec) != RANK_NEVER) {
        rank_push(&s->by_deadline, (struct record *) rec);
        deadline_moved(s);
    }
    if (schema_of(s->table)->cache)
        rank_push(&s->by_age, (struct record *) rec);
}

static void rank_leave(struct shard *s, const struct record *rec) {
    if ((record_flags(rec) & RECORD_EXPIRES) == 0 || s->table->storage == STORAGE_DISC_ONLY)
        return;
    if (record_expiry_ms(rec) != RANK_NEVER) {
        rank_remove(&s->by_deadline, rec);
        deadline_moved(s);
    }
    if (schema_of(s->table)->cache)
        rank_remove(&s->by_age, rec);
}

static eg_err rank_room(struct shard *s, uint64_t expiry_ms) {
    eg_err err = EG_OK;

    if (expiry_ms != 0 && s->table->storage != STORAGE_DISC_ONLY)
        err = rank_reserve(&s->by_deadline);
    if (err == EG_OK && schema_of(s->table)->cache)
        err = rank_reserve(&s->by_age);
    return err;
}

/* A ram or disc table's log writes the clock with its batch; a disc_only store
 * writes at once, and so needs the clock that the change will leave at once. */
static eg_err clock_along(const struct shard_turn *t, const struct record *fresh) {
    struct shard *s = t->shard;
    uint8_t clock[SHARD_CLOCK_BYTES];
    struct disc_bytes packed;
    uint64_t step = !t->remote && !t->leaving; /* as the change itself will do */

    if (s->table->storage != STORAGE_DISC_ONLY)
        return EG_OK;
    if (fresh != NULL)
        rank_enter(s, fresh); /* too early a deadline does no harm */
    s->sequence += step;
    packed = shard_clock_pack(s, clock);
    s->sequence -= step;
    if (packed.size_bytes == 0)
        return EG_MEMORY;
    /* What is half done must be taken back also where the disc is behind. */
    store_disc_extra(s->store)->patient = t->taking_back;
    return disc_record_put_clock(store_disc_extra(s->store), s->table->disc_table, s->number,
                                 packed);
}

/* Rows that waited for a change of a disc_only store must not join the next one. */
static void forget_rows(struct shard *s) {
    if (s->table->storage == STORAGE_DISC_ONLY)
        disc_batch_reset(store_disc_extra(s->store));
}

/* After it can be seen: who has counted it finds it. */
static void count_change(struct shard *s) {
    uint32_t changes = atomic_load_explicit(&s->changes, memory_order_relaxed);

    atomic_store_explicit(&s->changes, changes + 1, memory_order_release);
}

/* Put a finished record where it belongs: log, indexes, store; or nowhere. */
static eg_err install(struct shard_turn *t, const struct record *old, struct record *rec,
                      const struct record **replaced) {
    struct shard *s = t->shard;
    struct disc_mark mark = shard_log_mark(&s->log);
    eg_err err = shard_log_put(&s->log, rec);

    if (err == EG_OK && EG_UNLIKELY(s->copy != NULL))
        err = shard_copy_storing(t, record_value(rec), rec->hlc);
    if (err == EG_OK && EG_UNLIKELY(s->copy != NULL) &&
        shard_index_moves(s, old, record_value(rec)))
        shard_copy_indexing(s, rec->hlc);
    if (err == EG_OK && !(PLANTED(INDEX_NOT_TOLD) && t->remote))
        err = shard_index_update(s, old, rec);
    if (err != EG_OK)
        goto rewind;
    err = clock_along(t, rec);
    if (err == EG_OK)
        err = s->store->ops->put(s->store, t->key, rec, replaced);
    if (err != EG_OK)
        goto undo_indexes;
    return EG_OK;

undo_indexes:
    shard_index_undo(s);
rewind:
    forget_rows(s);
    shard_log_rewind(&s->log, mark);
    return err;
}

/* What the records take in memory: those of a disc_only table are rows on disc. */
static void bytes_enter(struct shard *s, const struct record *rec) {
    if (s->table->storage != STORAGE_DISC_ONLY)
        s->record_bytes += record_bytes(rec);
}

static void bytes_leave(struct shard *s, const struct record *rec) {
    if (s->table->storage != STORAGE_DISC_ONLY)
        s->record_bytes -= record_bytes(rec);
}

/* What stands beside the record: as it came, or as the table's policy has it. */
static eg_err state_of(struct shard_turn *t, const struct record *old, struct value array,
                       struct record_version version, struct value *state) {
    *state = t->state;
    if (EG_LIKELY(t->shard->copy == NULL && t->state_room == NULL) || t->version.hlc != 0 ||
        state->size_bytes != 0 || t->taking_back ||
        !merge_keeps_state(schema_of(t->shard->table)->merge))
        return EG_OK;
    return shard_merge_write(t, old, array, version, state);
}

eg_err shard_store(struct shard_turn *t, struct value array, uint64_t expiry_ms,
                   const struct record **old_out) {
    struct shard *s = t->shard;
    const struct schema *schema = schema_of(s->table);
    const struct record *old = NULL, *replaced = NULL;
    struct record_version version;
    struct record *rec;
    struct value state;
    size_t size_bytes;
    eg_err err;

    if (schema->cache && expiry_ms == 0)
        expiry_ms = RANK_NEVER; /* it has an age, and so a rank */
    size_bytes = record_bytes_for(array.size_bytes, expiry_ms != 0);
    slab_prefetch(s->slab, size_bytes); /* it comes while the old one is looked for */
    /* In a bag an equal record stands at the same place everywhere, so what is
     * replaced need not be known beforehand. */
    if (!s->store->bag)
        old = t->looked ? t->there : s->store->ops->get(s->store, t->reader, t->key);
    err = old == NULL ? nothing_there(t, EG_OK) : EG_OK;
    if (err == EG_OK)
        err = may_grow(t, old == NULL ? 0 : record_bytes(old), size_bytes);
    if (err == EG_OK)
        err = rank_room(s, expiry_ms);
    if (err == EG_OK && EG_UNLIKELY(t->undo != NULL))
        err = shard_undo_room(t->undo);
    if (err == EG_OK && shard_has_unique(s) && !t->remote)
        err = shard_unique_prepare(t, old, array);
    if (err != EG_OK)
        return err;
    version = t->version.hlc != 0 ? t->version : next_version(t, t->key, old);
    err = state_of(t, old, array, version, &state);
    if (err != EG_OK)
        return err;
    size_bytes += state.size_bytes;
    rec = slab_get(s->slab, size_bytes);
    if (rec == NULL)
        return EG_MEMORY;
    record_init(rec, array, version, expiry_ms);
    record_keep_state(rec, state);
    err = install(t, old, rec, &replaced);
    if (err != EG_OK) { /* an index may have shown it to a reader: not freed at once */
        epoch_retire(&s->bin, slab_free, s->slab, rec, size_bytes);
        return err;
    }
    s->sequence += !t->remote;
    count_change(s);
    if (replaced != NULL) {
        bytes_leave(s, replaced);
        rank_leave(s, replaced);
    }
    bytes_enter(s, rec);
    rank_enter(s, rec);
    if (shard_is_watched(s))
        shard_watch_stored(t, array, expiry_ms, replaced);
    if (EG_UNLIKELY(s->copy != NULL))
        shard_copy_stored(t, array, state, version, expiry_ms);
    if (EG_UNLIKELY(s->reshape != NULL))
        reshape_stored(t, array, state, version, expiry_ms, replaced);
    if (EG_UNLIKELY(t->undo != NULL))
        shard_undo_note(t, array, replaced);
    if (old_out != NULL)
        *old_out = replaced;
    return EG_OK;
}

eg_err shard_remove(struct shard_turn *t, const struct key *k, const struct record *rec) {
    struct shard *s = t->shard;
    struct disc_mark mark = shard_log_mark(&s->log);
    eg_err err = EG_UNLIKELY(t->undo != NULL) ? shard_undo_room(t->undo) : EG_OK;

    if (err == EG_OK && shard_has_unique(s) && !t->remote)
        err = shard_unique_prepare(t, rec, (struct value){0});
    if (err == EG_OK)
        err = shard_log_del(&s->log, rec);
    if (err != EG_OK)
        return err;
    if (EG_UNLIKELY(s->copy != NULL))
        err = shard_copy_removing(t, k, rec, t->remote ? t->version : next_version(t, k, rec));
    if (err == EG_OK)
        err = shard_index_update(s, rec, NULL);
    if (err != EG_OK)
        goto rewind;
    err = clock_along(t, NULL);
    if (err == EG_OK)
        err = s->store->ops->remove(s->store, k, rec);
    if (err != EG_OK)
        goto undo_indexes;
    s->sequence += !t->remote && !t->leaving;
    count_change(s);
    bytes_leave(s, rec);
    rank_leave(s, rec);
    if (EG_UNLIKELY(s->copy != NULL))
        shard_copy_removed(t);
    if (shard_is_watched(s))
        shard_watch_removed(t, rec);
    if (EG_UNLIKELY(s->reshape != NULL))
        reshape_removed(t, k, rec);
    if (EG_UNLIKELY(t->undo != NULL))
        shard_undo_note(t, (struct value){0}, rec);
    return EG_OK;

undo_indexes:
    shard_index_undo(s);
rewind:
    if (s->copy != NULL)
        shard_copy_not_removed(t);
    forget_rows(s);
    shard_log_rewind(&s->log, mark);
    return err;
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

eg_err shard_take_back(struct shard *s, const struct disc_record *row) {
    size_t size_bytes =
        record_bytes_for(row->array.size_bytes, row->expiry_ms != 0) + row->state.size_bytes;
    const struct record *replaced = NULL;
    struct value key_value;
    struct record *rec;
    struct key k;
    eg_err err;

    if (!array_element(row->array, 0, &key_value) ||
        !shard_state_is_sound(s, row->array, row->state))
        return EG_CORRUPT;
    err = key_prepare(&k, key_value, s->table->seed, s->table->world->o.alloc);
    if (err != EG_OK)
        return err;
    err = rank_room(s, row->expiry_ms);
    rec = err == EG_OK ? slab_get(s->slab, size_bytes) : NULL;
    if (rec == NULL) {
        err = EG_MEMORY;
        goto release_key;
    }
    record_init(rec, row->array, row->version, row->expiry_ms);
    record_keep_state(rec, row->state);
    err = shard_index_update(s, NULL, rec);
    if (err != EG_OK)
        goto release_key;
    err = s->store->ops->put(s->store, &k, rec, &replaced);
    if (err == EG_OK && replaced != NULL)
        err = EG_CORRUPT; /* rows are unique on disc */
    if (err == EG_OK) {
        if (s->copy == NULL || row->version.hlc > s->copy->ahead)
            s->hlc = EG_MAX(s->hlc, row->version.hlc);
        bytes_enter(s, rec);
        rank_enter(s, rec);
    }
release_key: /* after an error the shard is closed, and the record goes with its slab */
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

uint64_t shard_expiry(const struct shard_turn *t) {
    uint64_t ttl_ms =
        t->request->ttl_ms != 0 ? t->request->ttl_ms : schema_of(t->shard->table)->ttl_ms;

    if (ttl_ms == 0)
        return 0;
    return ttl_ms < RANK_NEVER - 1 - t->now_ms ? t->now_ms + ttl_ms : RANK_NEVER - 1;
}

/* ---- the ops ---------------------------------------------------------------- */

static eg_err op_write(struct shard_turn *t) {
    eg_err err = shard_store(t, t->request->value, shard_expiry(t), NULL);

    if (err == EG_OK)
        answer_bool(t, true);
    return err;
}

static eg_err op_insert_new(struct shard_turn *t) {
    struct same_key it;
    const struct record *rec = same_key_first(t, &it);
    eg_err err;

    while (rec != NULL && shard_expired(rec, t->now_ms))
        rec = same_key_next(t, &it);
    if (rec != NULL) {
        answer_bool(t, false);
        return EG_OK;
    }
    err = nothing_there(t, EG_OK);
    return err != EG_OK ? err : op_write(t);
}

/* A bag's records under one key go together: all their gates, or none. */
static eg_err enter_gates_of_key(struct shard_turn *t) {
    struct unique_set set = {{0}};
    struct same_key it;
    eg_err err;

    for (const struct record *rec = same_key_first(t, &it); rec != NULL;
         rec = same_key_next(t, &it))
        shard_unique_gates(t->shard, record_value(rec), &set);
    err = nothing_there(t, EG_OK);
    return err == EG_OK ? shard_unique_enter(t, &set) : err;
}

static eg_err remove_all_of_key(struct shard_turn *t) {
    struct store *store = t->shard->store;
    const struct record *rec;
    eg_err err = shard_has_unique(t->shard) && !t->gated ? enter_gates_of_key(t) : EG_OK;

    while (err == EG_OK && (rec = store->ops->get(store, t->reader, t->key)) != NULL)
        err = shard_remove(t, t->key, rec);
    return err != EG_OK ? err : nothing_there(t, EG_OK);
}

static eg_err op_delete(struct shard_turn *t) {
    eg_err err = remove_all_of_key(t);

    if (err == EG_OK)
        answer_bool(t, true);
    return err;
}

/* What an update leaves of a record's deadline: its own, unless a ttl was given. */
static uint64_t kept_expiry(const struct shard_turn *t, const struct record *old) {
    uint64_t expiry_ms = record_expiry_ms(old);

    if (t->request->ttl_ms != 0)
        return shard_expiry(t);
    return expiry_ms == RANK_NEVER ? 0 : expiry_ms;
}

/* Of siblings, one version or those that a context names. */
static eg_err leave_others(struct shard_turn *t, const struct record *rec) {
    const struct shard_request *q = t->request;
    struct value named;
    eg_err err;

    if (rec == NULL || shard_expired(rec, t->now_ms)) {
        err = nothing_there(t, EG_OK);
    } else if (q->op == SHARD_DELETE_SIBLINGS) {
        EG_ASSERT(sibling_context(q->value, &named)); /* the table has seen it */
        err = sibling_leave(t, rec, named, kept_expiry(t, rec));
    } else {
        err = sibling_leave_equal(t, rec, q->value, kept_expiry(t, rec));
    }
    if (err == EG_OK)
        answer_bool(t, true);
    return err;
}

static eg_err op_delete_siblings(struct shard_turn *t) {
    return leave_others(t, t->shard->store->ops->get(t->shard->store, t->reader, t->key));
}

static eg_err op_replace_siblings(struct shard_turn *t) {
    eg_err err = sibling_replace(t, shard_expiry(t));

    if (err == EG_OK)
        answer_bool(t, true);
    return err;
}

static eg_err op_read_siblings(struct shard_turn *t) {
    return answer_siblings(t, true);
}

static eg_err op_delete_object(struct shard_turn *t) {
    struct same_key it;
    const struct record *rec = same_key_first(t, &it);
    eg_err err;

    if (keeps_siblings(t))
        return leave_others(t, rec);
    while (rec != NULL && !value_equal(record_value(rec), t->request->value))
        rec = same_key_next(t, &it);
    err = rec != NULL ? shard_remove(t, t->key, rec) : nothing_there(t, EG_OK);
    if (err == EG_OK)
        answer_bool(t, true);
    return err;
}

static eg_err op_take(struct shard_turn *t) {
    size_t before_bytes = t->result->size_bytes;
    eg_err err = shard_answer_key(t);

    if (err == EG_OK)
        err = remove_all_of_key(t);
    if (err != EG_OK)
        t->result->size_bytes = before_bytes;
    return err;
}

static eg_err op_update(struct shard_turn *t) {
    const struct record *old = only_record(t);
    struct value array;
    eg_err err;

    if (old == NULL)
        return nothing_there(t, EG_NOT_FOUND);
    err = shard_edit_update(t, old, &array);
    if (err == EG_OK)
        err = shard_store(t, array, kept_expiry(t, old), NULL);
    if (err == EG_OK)
        answer_bool(t, true);
    return err;
}

static eg_err op_counter(struct shard_turn *t) {
    const struct record *old = only_record(t);
    struct value array, number;
    eg_err err = old == NULL ? nothing_there(t, EG_OK) : EG_OK;

    if (err == EG_OK)
        err = shard_edit_counter(t, old, &array, &number);
    if (err == EG_OK)
        err = shard_store(t, array, old == NULL ? shard_expiry(t) : kept_expiry(t, old), NULL);
    if (err == EG_OK) {
        EG_ASSERT(number.size_bytes <= SHARD_RESULT_SMALL_BYTES);
        memcpy(t->result->at + t->result->size_bytes, number.at, number.size_bytes);
        t->result->size_bytes += number.size_bytes;
    }
    return err;
}

static bool is_seen(const struct shard_turn *t, const struct record *rec) {
    struct record_version seen = t->request->seen;

    return rec->hlc == seen.hlc && (rec->dot == seen.dot || seen.dot == 0);
}

static eg_err op_replace_seen(struct shard_turn *t) {
    const struct record *old = only_record(t);
    bool seen = old != NULL && is_seen(t, old);
    eg_err err = old == NULL ? nothing_there(t, EG_OK) : EG_OK;

    if (err == EG_OK && seen)
        err = shard_store(t, t->request->value, kept_expiry(t, old), NULL);
    if (err == EG_OK)
        answer_bool(t, seen);
    return err;
}

static eg_err op_remove_seen(struct shard_turn *t) {
    struct same_key it;
    const struct record *rec = same_key_first(t, &it);
    eg_err err;

    while (rec != NULL && !is_seen(t, rec))
        rec = same_key_next(t, &it);
    if (rec != NULL && shard_expired(rec, t->now_ms))
        rec = NULL;
    err = rec != NULL ? shard_remove(t, t->key, rec) : nothing_there(t, EG_OK);
    if (err == EG_OK)
        answer_bool(t, rec != NULL);
    return err;
}

static eg_err op_sync(struct shard_turn *t) {
    answer_bool(t, true);
    return EG_OK;
}

eg_err shard_clear(struct shard_turn *t) {
    struct shard *s = t->shard;
    struct record_version version = t->version;
    struct disc_mark mark = shard_log_mark(&s->log);
    bool was_empty = s->store->ops->stats(s->store).count == 0;
    eg_err err = EG_OK;

    if (shard_has_unique(s) && !t->gated && !t->remote) { /* all values there are */
        struct unique_set all;

        memset(&all, 0xff, sizeof all);
        err = shard_unique_enter(t, &all);
    }
    if (err == EG_OK)
        err = shard_log_clear(&s->log);
    if (err != EG_OK)
        return err;
    if (EG_UNLIKELY(s->copy != NULL)) {
        version = t->remote ? t->version : next_version(t, NULL, NULL);
        err = shard_copy_clearing(t, version);
    }
    if (err == EG_OK)
        err = shard_index_clear(s);
    if (err == EG_OK)
        err = s->store->ops->clear(s->store);
    if (err != EG_OK) {
        forget_rows(s);
        shard_log_rewind(&s->log, mark);
        return err;
    }
    rank_clear(&s->by_deadline);
    rank_clear(&s->by_age);
    deadline_moved(s);
    s->record_bytes = 0;
    if (EG_UNLIKELY(s->copy != NULL))
        shard_copy_cleared(t, version);
    s->sequence += !t->remote;
    count_change(s);
    if (shard_is_watched(s))
        shard_watch_cleared(s, was_empty);
    if (EG_UNLIKELY(s->reshape != NULL))
        reshape_cleared(t);
    return EG_OK;
}

static eg_err op_clear(struct shard_turn *t) {
    eg_err err = shard_clear(t);

    if (err == EG_OK)
        answer_bool(t, true);
    return err;
}

static eg_err op_read(struct shard_turn *t) {
    return shard_answer_key(t);
}

static eg_err op_purge(struct shard_turn *t) {
    answer_number(t, shard_purge(t->shard, t->reader, t->now_ms, UINT64_MAX));
    return EG_OK;
}

static eg_err op_index_drop(struct shard_turn *t) {
    shard_index_drop(t->shard, t->request->attribute);
    answer_bool(t, true);
    return EG_OK;
}

static eg_err op_write_many(struct shard_turn *t) {
    return shard_edit_write_many(t);
}

static eg_err (*const ops[SHARD_OP_COUNT])(struct shard_turn *t) = {
    [SHARD_READ] = op_read,
    [SHARD_WRITE] = op_write,
    [SHARD_INSERT_NEW] = op_insert_new,
    [SHARD_WRITE_MANY] = op_write_many,
    [SHARD_DELETE] = op_delete,
    [SHARD_DELETE_OBJECT] = op_delete_object,
    [SHARD_TAKE] = op_take,
    [SHARD_UPDATE] = op_update,
    [SHARD_COUNTER] = op_counter,
    [SHARD_CLEAR] = op_clear,
    [SHARD_INDEX_DROP] = op_index_drop,
    [SHARD_PURGE] = op_purge,
    [SHARD_REPLACE_SEEN] = op_replace_seen,
    [SHARD_REMOVE_SEEN] = op_remove_seen,
    [SHARD_READ_SIBLINGS] = op_read_siblings,
    [SHARD_REPLACE_SIBLINGS] = op_replace_siblings,
    [SHARD_DELETE_SIBLINGS] = op_delete_siblings,
    [SHARD_SYNC] = op_sync,
    [SHARD_SETTLE] = op_sync,
};

static eg_err run_dirty(struct shard_turn *t) {
    eg_err err = shard_dirty_begin(t->shard, t->note);

    if (err != EG_OK)
        return err;
    err = ops[t->request->op](t);
    shard_dirty_end(t->shard);
    return err;
}

eg_err shard_run_part(struct shard_turn *t) {
    return ops[t->request->op](t);
}

eg_err shard_run(struct shard_turn *t) {
    enum shard_op op = t->request->op;
    eg_err err;

    if (buffer_room(t->result, SHARD_RESULT_SMALL_BYTES) == NULL)
        return EG_MEMORY;
    if (op == SHARD_READ || op == SHARD_READ_SIBLINGS)
        return ops[op](t);
    if (EG_UNLIKELY(shard_op_transacts(op)))
        return shard_tx_run(t);
    if (op == SHARD_SETTLE) /* the answer waits, see shard.c */
        return op_sync(t);
    if (op == SHARD_INDEX_DROP) /* the schema has forgotten it already: whatever the disc says */
        return op_index_drop(t);
    err = shard_ready(t);
    if (err == EG_OK && EG_UNLIKELY(t->request->dirty))
        return run_dirty(t);
    if (err == EG_OK)
        err = ops[op](t);
    return err;
}
