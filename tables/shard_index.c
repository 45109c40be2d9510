/* shard_index.c -- the indexes of one shard.
 *
 * Each index has a slot in the shard.  Readers take the slot's pointer; `whole`
 * says that they may.  While an index is being built it gets every change from
 * the first moment on, so the walk that fills it may pass over records in any
 * state: adding one twice changes nothing. */
#include "tables/shard_index.h"

#include "engine/env.h"
#include "tables/disc_record.h"
#include "tables/shard_unique.h"
#include "tables/table_private.h"

enum { BUILD_STEP_RECORDS = 2000 }; /* about a millisecond */

static struct index *index_in(const struct shard_index *slot) {
    return atomic_load_explicit(&slot->index, memory_order_acquire);
}

static struct shard_index *slot_of(struct shard *s, uint32_t id) {
    for (uint32_t i = 0; i < SCHEMA_INDEXES_MAX; i++) {
        struct index *x = index_in(&s->index[i]);
        if (x != NULL && index_spec(x)->id == id)
            return &s->index[i];
    }
    return NULL;
}

static bool on_disc(const struct shard *s) {
    return s->table->storage == STORAGE_DISC_ONLY;
}

static eg_err open_slot(struct shard *s, const struct index_spec *spec, bool whole) {
    struct store_opts o = {.alloc = s->table->world->o.alloc,
                           .slab = s->slab,
                           .bin = &s->bin,
                           .seed = s->table->seed,
                           .bag = s->table->type == TABLE_BAG};
    struct index *x;
    eg_err err = index_open(&x, &o, spec);

    if (err != EG_OK)
        return err;
    for (uint32_t i = 0; i < SCHEMA_INDEXES_MAX; i++) {
        struct shard_index *slot = &s->index[i];
        if (index_in(slot) != NULL)
            continue;
        slot->enforced = whole && spec->unique;             /* else when all shards have it */
        atomic_store(&s->indexed, atomic_load(&s->newest)); /* what it is filled from may be new */
        atomic_store_explicit(&slot->whole, whole, memory_order_relaxed);
        atomic_store_explicit(&slot->index, x, memory_order_release);
        s->index_end = EG_MAX(s->index_end, i + 1);
        return EG_OK;
    }
    index_close(x);
    return EG_BUSY;
}

eg_err shard_index_open(struct shard *s, const struct schema *schema) {
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < schema->index_count && err == EG_OK; i++)
        err = open_slot(s, schema->index[i], true);
    if (err != EG_OK)
        shard_index_close(s);
    shard_unique_count(s);
    return err;
}

void shard_index_close(struct shard *s) {
    for (uint32_t i = 0; i < SCHEMA_INDEXES_MAX; i++) {
        struct index *x = index_in(&s->index[i]);
        if (x != NULL)
            index_close(x);
        atomic_store_explicit(&s->index[i].index, NULL, memory_order_relaxed);
    }
}

/* ---- changes ------------------------------------------------------------------ */

/* The rows of a disc_only table join what its store writes next, or is refused. */
static eg_err update_rows(struct shard *s, const struct index_spec *spec, const struct record *old,
                          const struct record *fresh) {
    struct disc_batch *b = store_disc_extra(s->store);
    struct disc_table *t = s->table->disc_table;
    bool bag = s->table->type == TABLE_BAG;
    eg_err err = EG_OK;

    if (old != NULL)
        err = disc_record_del_index(b, t, s->number, spec, old, bag);
    if (err == EG_OK && fresh != NULL)
        err = disc_record_put_index(b, t, s->number, spec, fresh, bag);
    return err;
}

static void undo_before(struct shard *s, uint32_t end) {
    while (end-- > 0) {
        struct index *x = index_in(&s->index[end]);
        if (x != NULL && !on_disc(s)) /* the store drops rows it did not write */
            index_undo(x);
    }
}

static bool is_moved(const struct index_spec *x, struct value from, struct value to) {
    for (uint32_t i = 0; i < x->part_count; i++)
        if (!value_equal(index_spec_field(x, i, from), index_spec_field(x, i, to)))
            return true;
    return false;
}

bool shard_index_moves(const struct shard *s, const struct record *old, struct value array) {
    for (uint32_t i = 0; i < s->index_end; i++) {
        const struct index *x = index_in(&s->index[i]);

        if (x != NULL && (old == NULL || is_moved(index_spec(x), record_value(old), array)))
            return true;
    }
    return false;
}

bool shard_has_index(const struct shard *s) {
    for (uint32_t i = 0; i < SCHEMA_INDEXES_MAX; i++)
        if (index_in(&s->index[i]) != NULL)
            return true;
    return false;
}

eg_err shard_index_update(struct shard *s, const struct record *old, const struct record *fresh) {
    for (uint32_t i = 0; i < s->index_end; i++) {
        struct index *x = index_in(&s->index[i]);
        eg_err err;

        if (x == NULL)
            continue;
        err = on_disc(s) ? update_rows(s, index_spec(x), old, fresh) : index_update(x, old, fresh);
        if (err != EG_OK) {
            undo_before(s, i);
            return err;
        }
    }
    return EG_OK;
}

void shard_index_undo(struct shard *s) {
    undo_before(s, SCHEMA_INDEXES_MAX);
}

eg_err shard_index_clear(struct shard *s) {
    for (uint32_t i = 0; i < SCHEMA_INDEXES_MAX; i++) {
        struct index *x = index_in(&s->index[i]);
        if (x != NULL && !on_disc(s)) /* a cleared disc shard has lost its rows too */
            index_clear(x);
    }
    return EG_OK;
}

/* ---- reading --------------------------------------------------------------------- */

static eg_err append(struct buffer *result, const struct record *rec, uint64_t now_ms,
                     uint32_t *count) {
    if (shard_expired(rec, now_ms))
        return EG_OK;
    if (!buffer_append(result, record_array(rec), record_array_bytes(rec)))
        return EG_TOO_LARGE;
    ++*count;
    return EG_OK;
}

/* The index that readers may use.  Its slot may be emptied and filled again while we
 * look; where it holds the same index before and after, `whole` was said of that one. */
static const struct index *whole_index(struct shard *s, uint32_t id) {
    struct shard_index *slot = slot_of(s, id);
    const struct index *x = slot == NULL ? NULL : index_in(slot);

    if (x == NULL || index_spec(x)->id != id ||
        !atomic_load_explicit(&slot->whole, memory_order_acquire))
        return NULL;
    return index_in(slot) == x ? x : NULL;
}

eg_err shard_index_seek(struct shard_index_scan *scan, struct shard *s, struct reader *r,
                        uint32_t id, const struct index_bounds *b, struct value place) {
    const struct index *x = whole_index(s, id);
    struct value values[INDEX_PLACE_MAX];
    bool bag = s->table->type == TABLE_BAG;

    if (x == NULL || b->equal_count + (b->range != NULL) > index_spec(x)->part_count)
        return EG_BAD_REQUEST;
    if (place.size_bytes != 0 && !index_place_values(index_spec(x), bag, place, values))
        return EG_BAD_REQUEST;
    scan->shard = s;
    scan->reader = r;
    scan->spec = index_spec(x);
    scan->on_disc = on_disc(s);
    if (scan->on_disc)
        store_disc_index_seek(s->store, r, &scan->cursor, scan->spec, b,
                              place.size_bytes != 0 ? values : NULL);
    else if (place.size_bytes != 0)
        index_seek_behind(x, &scan->iter, b, values);
    else
        index_seek(x, &scan->iter, b);
    return EG_OK;
}

const struct record *shard_index_next(struct shard_index_scan *scan) {
    struct store *store = scan->shard->store;

    return scan->on_disc ? store->ops->next(store, scan->reader, &scan->cursor)
                         : index_next(&scan->iter);
}

eg_err shard_index_place(const struct shard_index_scan *scan, const struct record *last,
                         struct buffer *place) {
    return index_place(scan->spec, scan->shard->table->type == TABLE_BAG, last, place);
}

/* One shard after the other: what a disc store hands out does not stay. */
static eg_err read_rows(struct shard *s, struct reader *r, uint32_t id,
                        const struct index_bounds *b, uint64_t now_ms, struct buffer *result,
                        uint32_t *found) {
    struct shard_index_scan scan;
    const struct record *rec;
    eg_err err = shard_index_seek(&scan, s, r, id, b, (struct value){0});

    while (err == EG_OK && (rec = shard_index_next(&scan)) != NULL)
        err = append(result, rec, now_ms, found);
    return err == EG_OK ? reader_take_fault(r) : err;
}

/* Those of the indexes that can be asked. */
static uint32_t whole_indexes(struct shard *shards, uint32_t count, uint32_t id,
                              uint32_t equal_count, const struct index *x[BTREE_MANY_MAX]) {
    uint32_t found = 0;

    EG_ASSERT(count <= BTREE_MANY_MAX);
    for (uint32_t i = 0; i < count; i++) {
        x[found] = whole_index(&shards[i], id);
        found += x[found] != NULL && equal_count <= index_spec(x[found])->part_count;
    }
    return found;
}

uint32_t shard_index_find_many(struct index_runs *runs, struct shard *shards, uint32_t count,
                               uint32_t id, const struct value *equal, uint32_t equal_count) {
    const struct index *x[BTREE_MANY_MAX];
    uint32_t found = whole_indexes(shards, count, id, equal_count, x);

    if (found > 0)
        index_find_many(runs, x, found, equal, equal_count);
    return found;
}

void shard_index_expect(struct shard *shards, uint32_t count, uint32_t id,
                        const struct value *equal, uint32_t equal_count) {
    const struct index *x[BTREE_MANY_MAX];
    uint32_t found = on_disc(shards) ? 0 : whole_indexes(shards, count, id, equal_count, x);

    if (found > 0)
        index_expect_many(x, found, equal, equal_count);
}

/* `count` <= BTREE_MANY_MAX shards in memory. */
static eg_err read_runs(struct shard *shards, uint32_t count, uint32_t id,
                        const struct value *equal, uint32_t equal_count, uint64_t now_ms,
                        struct buffer *result, uint32_t *found) {
    const struct record *rec;
    struct index_runs runs;

    if (shard_index_find_many(&runs, shards, count, id, equal, equal_count) != count)
        return EG_BAD_REQUEST;
    /* At once, not by doubling; what does not fit is refused when it is appended. */
    (void) buffer_room(result, index_runs_bytes(&runs, count));
    for (uint32_t i = 0; i < count; i++)
        while ((rec = index_runs_next(&runs, i)) != NULL) {
            eg_err err = append(result, rec, now_ms, found);
            if (err != EG_OK)
                return err;
        }
    return EG_OK;
}

eg_err shard_index_read_many(struct shard *shards, uint32_t count, struct reader *r, uint32_t id,
                             const struct value *equal, uint32_t equal_count, uint64_t now_ms,
                             struct buffer *result, uint32_t *found) {
    const struct index_bounds b = {.equal = equal, .equal_count = equal_count};
    bool rows = on_disc(&shards[0]);
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < count && err == EG_OK; i += rows ? 1 : BTREE_MANY_MAX) {
        uint32_t most = EG_MIN(count - i, (uint32_t) BTREE_MANY_MAX);
        err = rows ? read_rows(&shards[i], r, id, &b, now_ms, result, found)
                   : read_runs(&shards[i], most, id, equal, equal_count, now_ms, result, found);
    }
    return err;
}

/* ---- building ---------------------------------------------------------------------- */

static eg_err add_to_index(struct shard *s, struct index *x, const struct record *rec) {
    return on_disc(s) ? update_rows(s, index_spec(x), NULL, rec) : index_update(x, NULL, rec);
}

/* Where the next step goes on: a key, for no pointer survives the section. */
static eg_err keep_place(struct shard *s, const struct record *last) {
    struct value key = record_key(last);

    buffer_clear(&s->build.place);
    return buffer_append(&s->build.place, key.at, key.size_bytes) ? EG_OK : EG_MEMORY;
}

static eg_err seek_place(struct shard *s, struct reader *r, struct store_cursor *c) {
    struct buffer *place = &s->build.place;
    struct key k;
    eg_err err;

    if (place->size_bytes == 0) {
        s->store->ops->seek(s->store, r, c, NULL, false, false);
        return EG_OK;
    }
    err = key_prepare(&k, (struct value){place->at, (uint32_t) place->size_bytes}, s->table->seed,
                      s->table->world->o.alloc);
    if (err != EG_OK)
        return err;
    s->store->ops->seek(s->store, r, c, &k, true, false);
    key_release(&k);
    return EG_OK;
}

/* A step ends between two keys: a bag's records of one key are one step's. */
static bool step_is_over(uint32_t records, const struct record *last, const struct record *next) {
    return records >= BUILD_STEP_RECORDS && !value_equal(record_key(last), record_key(next));
}

/* Remove an index's rows of a disc_only table. */
static eg_err drop_rows(struct shard *s, uint32_t id) {
    struct disc_batch *extra = store_disc_extra(s->store);
    eg_err err = disc_record_drop_index(extra, s->table->disc_table, s->number, id);

    if (err == EG_OK)
        return store_disc_write_extra(s->store);
    disc_batch_reset(extra);
    return err;
}

eg_err shard_index_build_begin(struct shard *s, const struct index_spec *spec) {
    eg_err err = on_disc(s) ? drop_rows(s, spec->id) : EG_OK; /* of one that was given up */

    shard_index_drop(s, spec->id); /* likewise */
    if (err == EG_OK)
        err = open_slot(s, spec, false);
    if (err == EG_OK) {
        s->build.id = spec->id;
        s->build.verifying = false;
        atomic_store_explicit(&s->build_seen, 0, memory_order_relaxed);
        buffer_init(&s->build.place, s->table->world->o.alloc, KEY_SIZE_MAX * 2);
    }
    return err;
}

eg_err shard_index_build_step(struct shard *s, struct reader *r, bool *done) {
    const struct record *rec, *last = NULL;
    struct shard_index *slot = slot_of(s, s->build.id);
    struct store_cursor c;
    uint32_t records = 0;
    eg_err err = slot == NULL ? EG_NOT_FOUND : seek_place(s, r, &c); /* dropped meanwhile */

    *done = false;
    if (err != EG_OK)
        return err;
    while ((rec = s->store->ops->next(s->store, r, &c)) != NULL &&
           !(last != NULL && step_is_over(records, last, rec))) {
        err = add_to_index(s, index_in(slot), rec);
        if (err != EG_OK)
            return err;
        last = rec;
        records++;
    }
    if (on_disc(s)) {
        err = reader_take_fault(r);
        if (err == EG_OK)
            err = store_disc_write_extra(s->store);
    }
    atomic_fetch_add_explicit(&s->build_seen, records, memory_order_relaxed);
    if (err != EG_OK || rec != NULL)
        return err != EG_OK ? err : keep_place(s, last);
    *done = true;
    buffer_fini(&s->build.place);
    atomic_store_explicit(&slot->whole, true, memory_order_release);
    return EG_OK;
}

void shard_index_drop(struct shard *s, uint32_t id) {
    struct shard_index *slot = slot_of(s, id);
    struct index *x;

    if (slot == NULL)
        return;
    x = index_in(slot);
    if (!atomic_load_explicit(&slot->whole, memory_order_relaxed))
        buffer_fini(&s->build.place);
    atomic_store_explicit(&slot->whole, false, memory_order_relaxed);
    slot->enforced = false;
    atomic_store_explicit(&slot->index, NULL, memory_order_release);
    index_retire(x);
    shard_unique_count(s);
    if (!on_disc(s))
        return;
    disc_batch_reset(store_disc_extra(s->store)); /* rows of a step that failed */
    if (drop_rows(s, id) != EG_OK)
        env_log(s->table->world->o.env, ENV_LOG_WARN, "table",
                "%s: rows of a dropped index stay on disc", schema_of(s->table)->name.text);
}

uint64_t shard_index_bytes(const struct shard *s) {
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < SCHEMA_INDEXES_MAX; i++) {
        struct index *x = index_in(&s->index[i]);
        if (x != NULL)
            bytes += index_stats(x).bytes;
    }
    return bytes;
}
