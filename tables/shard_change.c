/* shard_change.c -- how a shard changes: store, remove, clear.
 *
 * Each keeps the shard's invariants or changes nothing: what can fail comes first (limits, room in
 * ranks, the log, indexes, the store), and is taken back where something after it does; what
 * follows cannot fail (bytes, ranks, who is told). */
#include "tables/shard.h"

#include "engine/planted.h"
#include "tables/reshape.h"
#include "tables/shard_copy.h"
#include "tables/shard_edit.h"
#include "tables/shard_index.h"
#include "tables/shard_merge.h"
#include "tables/shard_stamp.h"
#include "tables/shard_unique.h"
#include "tables/shard_watch.h"
#include "tables/table_private.h"

#include <string.h>

/* ---- may it change ----------------------------------------------------------------------- */

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

/* ---- ranks and bytes --------------------------------------------------------------------- */

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

/* What the records take in memory: those of a disc_only table are rows on disc. */
static void bytes_enter(struct shard *s, const struct record *rec) {
    if (s->table->storage != STORAGE_DISC_ONLY)
        s->record_bytes += record_bytes(rec);
}

static void bytes_leave(struct shard *s, const struct record *rec) {
    if (s->table->storage != STORAGE_DISC_ONLY)
        s->record_bytes -= record_bytes(rec);
}

/* ---- versions ---------------------------------------------------------------------------- */

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

/* What stands beside the record: as it came, or as the table's policy has it. */
static eg_err state_of(struct shard_turn *t, const struct record *old, struct value array,
                       struct record_version version, struct value *state) {
    *state = t->state;
    if (EG_LIKELY(t->shard->copy == NULL && t->state_room == NULL) || t->version.hlc != 0 ||
        state->size_bytes != 0 || t->taking_back ||
        !merge_write_keeps_state(schema_of(t->shard->table)->merge))
        return EG_OK;
    return shard_merge_write(t, old, array, version, state);
}

/* After it can be seen: who has counted it finds it. */
static void count_change(struct shard *s) {
    uint32_t changes = atomic_load_explicit(&s->changes, memory_order_relaxed);

    atomic_store_explicit(&s->changes, changes + 1, memory_order_release);
}

/* ---- disc -------------------------------------------------------------------------------- */

/* A ram or disc table's log writes the clock with its batch; a disc_only store
 * writes at once, and so needs the clock that the change will leave at once. */
static eg_err clock_along(const struct shard_turn *t, const struct record *fresh) {
    struct shard *s = t->shard;
    struct disc_batch *extra;
    eg_err err = EG_OK;
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
    extra = store_disc_extra(s->store);
    extra->patient = t->taking_back; /* what is half done is, also where the disc is behind */
    if (t->made != NULL && !t->leaving)
        err = disc_record_put_made(extra, s->table->disc_table, s->number, t->made->id,
                                   t->made->count);
    if (err == EG_OK)
        err = disc_record_put_clock(extra, s->table->disc_table, s->number, packed);
    return err;
}

/* Rows that waited for a change of a disc_only store must not join the next one. */
static void forget_rows(struct shard *s) {
    if (s->table->storage == STORAGE_DISC_ONLY)
        disc_batch_reset(store_disc_extra(s->store));
}

/* ---- store, remove, clear ---------------------------------------------------------------- */

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

/* What a record needs before it is made; `size_bytes`: of it without its state. */
static eg_err room_to_store(struct shard_turn *t, const struct record *old, struct value array,
                            size_t size_bytes, uint64_t expiry_ms) {
    struct shard *s = t->shard;
    eg_err err = may_grow(t, old == NULL ? 0 : record_bytes(old), size_bytes);

    if (err == EG_OK)
        err = rank_room(s, expiry_ms);
    if (err == EG_OK && EG_UNLIKELY(t->undo != NULL))
        err = shard_undo_room(t->undo);
    if (err == EG_OK && shard_has_unique(s) && !t->remote)
        err = shard_unique_prepare(t, old, array);
    return err;
}

/* It is there: nothing fails any more. */
static void stored(struct shard_turn *t, const struct record *rec, const struct record *replaced,
                   struct value array, struct value state, uint64_t expiry_ms) {
    const struct record_version version = {rec->hlc, rec->dot};
    struct shard *s = t->shard;

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
    err = old == NULL ? reader_take_fault(t->reader) : EG_OK;
    if (err == EG_OK)
        err = room_to_store(t, old, array, size_bytes, expiry_ms);
    if (err == EG_OK && old != NULL && EG_UNLIKELY(s->copy != NULL))
        err = shard_merge_saw(t, old);
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
    stored(t, rec, replaced, array, state, expiry_ms);
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
    if (err == EG_OK && EG_UNLIKELY(s->copy != NULL))
        err = shard_merge_saw(t, rec);
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

/* ---- from the disc ----------------------------------------------------------------------- */

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
