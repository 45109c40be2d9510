/* shard_unique.c -- no second record with one value. */
#include "tables/shard_unique.h"

#include "tables/shard_index.h"
#include "tables/table_private.h"

enum { VERIFY_STEP_RECORDS = 500 };

static const struct index_spec *enforced(const struct shard *s, uint32_t i) {
    const struct index *x = atomic_load_explicit(&s->index[i].index, memory_order_relaxed);

    return x != NULL && s->index[i].enforced ? index_spec(x) : NULL;
}

/* The values that must be one record's alone.  False: a nil among them, and nobody minds. */
static bool values_of(const struct index_spec *x, struct value array,
                      struct value part[INDEX_PARTS_MAX]) {
    for (uint32_t i = 0; i < x->part_count; i++) {
        part[i] = index_spec_field(x, i, array);
        if (value_kind_of(part[i]) == VALUE_NIL)
            return false;
    }
    return true;
}

/* ---- gates ---------------------------------------------------------------------- */

static uint64_t hash_of(const struct index_spec *x, uint64_t seed, const struct value *part) {
    uint64_t hash = x->id;

    for (uint32_t i = 0; i < x->part_count; i++)
        hash = (hash ^ key_hash(part[i], seed)) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 32;
}

void shard_unique_gates(const struct shard *s, struct value array, struct unique_set *set) {
    struct value part[INDEX_PARTS_MAX];

    for (uint32_t i = 0; i < SCHEMA_INDEXES_MAX; i++) {
        const struct index_spec *x = enforced(s, i);
        if (x != NULL && values_of(x, array, part))
            unique_set_add(set, hash_of(x, s->table->seed, part));
    }
}

eg_err shard_unique_enter(struct shard_turn *t, const struct unique_set *set) {
    struct shard *s = t->shard;
    uint32_t patience = t->direct ? UNIQUE_PATIENCE : UNIQUE_PATIENCE_LONG;

    if (s->gated) /* who holds some does not wait for others */
        patience = 0;
    if (!unique_enter(&s->table->world->gates, set, &s->gates, patience))
        return t->direct ? EG_AGAIN
                         : err_note(t->note, EG_BUSY, "a value of a unique index is being changed");
    for (size_t i = 0; i < EG_COUNTOF(set->bits); i++)
        s->gates.bits[i] |= set->bits[i];
    s->gated = true;
    return EG_OK;
}

void shard_unique_hold(struct shard *s, const struct unique_set *set) {
    if (shard_log_is_written(&s->log))
        return;
    unique_share(&s->table->world->gates, set);
    s->gates = *set; /* it held none: a shard with some changes nothing */
    s->gated = true;
}

void shard_unique_leave(struct shard *s) {
    if (EG_LIKELY(!s->gated) || !shard_log_is_written(&s->log))
        return;
    unique_leave(&s->table->world->gates, &s->gates);
    s->gates = (struct unique_set){{0}};
    s->gated = false;
}

/* ---- looking -------------------------------------------------------------------- */

static eg_err taken(const struct shard *s, const struct index_spec *x, struct err_note *note) {
    char title[INDEX_TITLE_BYTES_MAX];
    size_t bytes = index_spec_title(x, schema_attributes(schema_of(s->table)), title);

    return err_note(note, EG_EXISTS, "unique index %.*s: another record has that value",
                    (int) EG_MIN(bytes, (size_t) 100), title);
}

/* Is it the record that `array` replaces? */
static bool is_replaced(const struct table *t, const struct record *rec, struct value array) {
    struct value key;

    EG_ASSERT(array_element(array, 0, &key));
    return t->type == TABLE_BAG ? value_equal(record_value(rec), array)
                                : value_equal(record_key(rec), key);
}

static eg_err look_at(struct shard_turn *t, const struct index_spec *x, struct value array,
                      const struct record *rec) {
    bool other = !shard_expired(rec, t->now_ms) && !is_replaced(t->shard->table, rec, array);

    return other ? taken(t->shard, x, t->note) : EG_OK;
}

static eg_err look_in_memory(struct shard_turn *t, const struct index_spec *x, uint32_t first,
                             const struct value *part, struct value array) {
    struct table *table = t->shard->table;
    const struct record *rec;
    struct index_runs runs;
    eg_err err = EG_OK;

    for (uint32_t from = first; from < table->shard_count && err == EG_OK; from += BTREE_MANY_MAX) {
        uint32_t most = EG_MIN(table->shard_count - from, (uint32_t) BTREE_MANY_MAX);
        uint32_t found = shard_index_find_many(&runs, &table->shard[from], most, x->id, part,
                                               x->part_count); /* else it is being dropped */
        for (uint32_t i = 0; i < found; i++)
            while (err == EG_OK && (rec = index_runs_next(&runs, i)) != NULL)
                err = look_at(t, x, array, rec);
    }
    return err;
}

static eg_err look_in_rows(struct shard_turn *t, const struct index_spec *x, uint32_t first,
                           const struct value *part, struct value array) {
    struct table *table = t->shard->table;
    const struct index_bounds bounds = {.equal = part, .equal_count = x->part_count};
    const struct record *rec;
    eg_err err = EG_OK;

    for (uint32_t i = first; i < table->shard_count && err == EG_OK; i++) {
        struct shard_index_scan scan;

        if (shard_index_seek(&scan, &table->shard[i], t->reader, x->id, &bounds,
                             (struct value){0}) != EG_OK)
            continue; /* being dropped */
        while (err == EG_OK && (rec = shard_index_next(&scan)) != NULL)
            err = look_at(t, x, array, rec);
        if (err == EG_OK)
            err = reader_take_fault(t->reader);
    }
    return err;
}

/* Look in the shards from the `first` on for another live record with these values. */
static eg_err look(struct shard_turn *t, const struct index_spec *x, uint32_t first,
                   const struct value *part, struct value array) {
    return t->shard->table->storage == STORAGE_DISC_ONLY ? look_in_rows(t, x, first, part, array)
                                                         : look_in_memory(t, x, first, part, array);
}

static eg_err look_for_all(struct shard_turn *t, struct value array) {
    struct value part[INDEX_PARTS_MAX];
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < SCHEMA_INDEXES_MAX && err == EG_OK; i++) {
        const struct index_spec *x = enforced(t->shard, i);
        if (x != NULL && values_of(x, array, part))
            err = look(t, x, 0, part, array);
    }
    return err;
}

eg_err shard_unique_prepare(struct shard_turn *t, const struct record *old, struct value array) {
    struct unique_set set = {{0}};
    eg_err err = EG_OK;

    if (t->taking_back) /* its gates were never left, and what it restores was right */
        return EG_OK;
    if (!t->gated) {
        if (old != NULL && !shard_expired(old, t->now_ms))
            shard_unique_gates(t->shard, record_value(old), &set);
        if (array.size_bytes != 0)
            shard_unique_gates(t->shard, array, &set);
        err = shard_unique_enter(t, &set);
    }
    return err == EG_OK && array.size_bytes != 0 ? look_for_all(t, array) : err;
}

/* ---- making an index unique ------------------------------------------------------- */

void shard_unique_count(struct shard *s) {
    s->unique_indexes = 0;
    for (uint32_t i = 0; i < SCHEMA_INDEXES_MAX; i++)
        s->unique_indexes += enforced(s, i) != NULL;
    s->log.at_once = s->unique_indexes != 0;
}

void shard_unique_enforce(struct shard *s, uint32_t id) {
    for (uint32_t i = 0; i < SCHEMA_INDEXES_MAX; i++) {
        const struct index *x = atomic_load_explicit(&s->index[i].index, memory_order_relaxed);
        if (x != NULL && index_spec(x)->id == id)
            s->index[i].enforced = true;
    }
    shard_unique_count(s);
}

/* Look for another record with the values of each of the next.  In those shards that come behind
 * this one: of two records one looks for the other, and what came since was checked itself. */
eg_err shard_unique_verify_step(struct shard *s, struct reader *r, uint64_t now_ms, bool *done,
                                struct err_note *note) {
    struct shard_turn t = {.shard = s, .reader = r, .now_ms = now_ms, .note = note};
    struct buffer *place = &s->build.place;
    const struct index_bounds all = {.equal_count = 0};
    struct value part[INDEX_PARTS_MAX];
    struct shard_index_scan scan;
    const struct record *rec = NULL;
    uint32_t records = 0;
    eg_err err = shard_index_seek(&scan, s, r, s->build.id, &all,
                                  (struct value){place->at, (uint32_t) place->size_bytes});

    *done = false;
    while (err == EG_OK && records < VERIFY_STEP_RECORDS &&
           (rec = shard_index_next(&scan)) != NULL) {
        records++;
        if (!shard_expired(rec, now_ms) && values_of(scan.spec, record_value(rec), part))
            err = look(&t, scan.spec, s->number, part, record_value(rec));
    }
    if (err == EG_OK)
        err = reader_take_fault(r);
    if (err != EG_OK)
        return err;
    *done = rec == NULL;
    buffer_clear(place);
    return *done ? EG_OK : shard_index_place(&scan, rec, place);
}
