/* table_read.c -- direct reads: no message, no lock, on the caller's thread. */
#include "engine/env.h"
#include "engine/runtime.h"
#include "tables/pattern.h"
#include "tables/scan.h"
#include "tables/shard_copy.h"
#include "tables/shard_index.h"
#include "tables/shard_sibling.h"
#include "tables/table_private.h"

#include <string.h>

enum { ARRAY_HEADER_BYTES = 5 };

static uint64_t now_ms(const struct table *t) {
    return (uint64_t) env_wall_ms(t->world->o.env);
}

EG_SELDOM static const struct record *unless_expired(const struct table *t,
                                                     const struct record *rec) {
    return shard_expired(rec, now_ms(t)) ? NULL : rec;
}

/* The clock is read only for records that end some day. */
static inline const struct record *live(const struct table *t, const struct record *rec) {
    bool ends = rec != NULL && (record_flags(rec) & RECORD_EXPIRES) != 0;
    return EG_UNLIKELY(ends) ? unless_expired(t, rec) : rec;
}

const struct record *table_get(struct table *t, struct reader *r, const struct key *k) {
    struct store *store = shard_of(t, k->hash)->store;
    return live(t, store->ops->get(store, r, k));
}

bool table_get_at_once(struct table *t, struct reader *r, struct value key,
                       const struct record **rec) {
    unsigned role;
    struct shard *s;
    struct key k;

    if (EG_UNLIKELY(atomic_load_explicit(&t->successor, memory_order_acquire) != NULL) ||
        EG_UNLIKELY(atomic_load_explicit(&t->dropped, memory_order_acquire)) ||
        EG_UNLIKELY(!key_prepare_as_is(&k, key, t->seed)))
        return false;
    s = shard_of(t, k.hash);
    if (EG_UNLIKELY(role_or_held(s) > SHARD_FULL))
        return false;
    *rec = live(t, s->store->ops->get(s->store, r, &k));
    role = role_or_held(s); /* it may have become another's meanwhile, or a transaction's */
    return *rec != NULL &&
           (EG_LIKELY(role == SHARD_ALONE) || (role <= SHARD_FULL && shard_is_stable(s)));
}

void table_prefetch(struct table *t, struct reader *r, const struct key *k) {
    struct store *store = shard_of(t, k->hash)->store;
    store->ops->prefetch(store, r, k);
}

void table_get_many(struct table *t, struct reader *r, const struct key *const *keys, size_t n,
                    const struct record **out) {
    enum { WINDOW = 64 };
    struct store *stores[WINDOW];

    for (size_t from = 0; from < n; from += WINDOW) {
        size_t count = EG_MIN(n - from, (size_t) WINDOW);
        for (size_t i = 0; i < count; i++)
            stores[i] = shard_of(t, keys[from + i]->hash)->store;
        store_get_many(stores, r, keys + from, count, out + from);
        for (size_t i = 0; i < count; i++)
            out[from + i] = live(t, out[from + i]);
    }
}

/* ---- answers that are arrays ------------------------------------------------------ */

/* An array whose length is known only at its end: room for the longest header is
 * left, and closed up where a short one does. */
struct array_answer {
    struct buffer *result;
    size_t start_bytes;
    uint32_t count;
};

static eg_err answer_begin(struct array_answer *a, struct buffer *result) {
    *a = (struct array_answer){.result = result, .start_bytes = result->size_bytes};
    if (buffer_room(result, ARRAY_HEADER_BYTES) == NULL)
        return EG_MEMORY;
    result->size_bytes += ARRAY_HEADER_BYTES;
    return EG_OK;
}

static eg_err answer_add(struct array_answer *a, const struct record *rec) {
    if (!buffer_append(a->result, record_array(rec), record_array_bytes(rec)))
        return EG_TOO_LARGE;
    a->count++;
    return EG_OK;
}

/* `err` is the outcome so far: an answer that failed leaves nothing. */
static eg_err answer_end(struct array_answer *a, eg_err err) {
    uint8_t *start = a->result->at + a->start_bytes;
    struct value_writer w = value_writer_init(start, ARRAY_HEADER_BYTES);
    size_t body_bytes = a->result->size_bytes - a->start_bytes - ARRAY_HEADER_BYTES;

    if (err != EG_OK) {
        a->result->size_bytes = a->start_bytes;
        return err;
    }
    value_put_array(&w, a->count);
    memmove(start + w.need_bytes, start + ARRAY_HEADER_BYTES, body_bytes);
    a->result->size_bytes = a->start_bytes + w.need_bytes + body_bytes;
    return EG_OK;
}

static eg_err read_siblings(struct table *t, struct reader *r, const struct key *k,
                            eg_err (*put)(const struct origins *o, const struct record *rec,
                                          struct buffer *out),
                            struct buffer *result) {
    const struct record *rec = table_get(t, r, k);
    eg_err err = rec == NULL ? reader_take_fault(r) : EG_OK;

    return err != EG_OK ? err : put(t->world->origins, rec, result);
}

eg_err table_read_siblings(struct table *t, struct reader *r, const struct key *k,
                           struct buffer *result, struct err_note *note) {
    if (!schema_keeps_siblings(schema_of(t)))
        return err_note(note, EG_BAD_REQUEST, "table %s keeps no siblings", t->name.text);
    return read_siblings(t, r, k, sibling_put_all, result);
}

eg_err table_read(struct table *t, struct reader *r, const struct key *k, struct buffer *result) {
    struct store *store = shard_of(t, k->hash)->store;
    struct array_answer answer;
    struct store_cursor c;
    const struct record *rec;
    eg_err err;

    if (EG_UNLIKELY(schema_keeps_siblings(schema_of(t))))
        return read_siblings(t, r, k, sibling_put_records, result);
    err = answer_begin(&answer, result);
    if (err != EG_OK)
        return err;
    if (!store->bag) {
        rec = table_get(t, r, k);
        if (rec != NULL)
            err = answer_add(&answer, rec);
    } else {
        store->ops->seek(store, r, &c, k, false, false);
        while (err == EG_OK && (rec = store->ops->next(store, r, &c)) != NULL &&
               value_equal(record_key(rec), k->value))
            if (live(t, rec) != NULL)
                err = answer_add(&answer, rec);
    }
    if (err == EG_OK)
        err = reader_take_fault(r);
    return answer_end(&answer, err);
}

/* The leading parts that `v` says. */
static eg_err leading_parts(const struct index_spec *x, struct index_attributes of,
                            const char *name, size_t name_bytes, struct value v,
                            struct value part[INDEX_PARTS_MAX], uint32_t *count,
                            struct err_note *note) {
    struct value_iter it;

    *count = 1;
    part[0] = v;
    if (x->part_count == 1 || !index_spec_called(x, of, name, name_bytes))
        return EG_OK;
    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) < 1 || value_count(v) > x->part_count)
        return err_note(note, EG_BAD_REQUEST,
                        "index %.*s is on %u parts: the value is an array of the first of them",
                        (int) EG_MIN(name_bytes, (size_t) 64), name, x->part_count);
    it = value_iter_of(v);
    for (*count = 0; value_iter_next(&it, &part[*count]);)
        ++*count;
    return EG_OK;
}

eg_err table_index_read(struct table *t, struct reader *r, const char *name, size_t name_bytes,
                        struct value v, struct buffer *result, struct err_note *note) {
    const struct schema *s = schema_of(t);
    const struct index_spec *x = schema_index(s, name, name_bytes);
    struct value part[INDEX_PARTS_MAX + 1];
    uint32_t part_count;
    struct array_answer answer;
    uint64_t now = now_ms(t);
    eg_err err;

    if (x == NULL)
        return err_note(note, EG_BAD_REQUEST, "no index on attribute %.*s",
                        (int) EG_MIN(name_bytes, (size_t) 64), name);
    err = leading_parts(x, schema_attributes(s), name, name_bytes, v, part, &part_count, note);
    if (err == EG_OK)
        err = answer_begin(&answer, result);
    if (err != EG_OK)
        return err;
    err = shard_index_read_many(t->shard, t->shard_count, r, x->id, part, part_count, now, result,
                                &answer.count);
    return answer_end(&answer, err);
}

eg_err scan_choose_index(struct scan_path *out, struct table *t, const char *name,
                         size_t name_bytes, struct value v, struct err_note *note) {
    const struct schema *s = schema_of(t);
    const struct index_spec *x = schema_index(s, name, name_bytes);
    struct value part[INDEX_PARTS_MAX + 1];
    eg_err err;

    if (x == NULL)
        return err_note(note, EG_BAD_REQUEST, "no index on attribute %.*s",
                        (int) EG_MIN(name_bytes, (size_t) 64), name);
    *out = (struct scan_path){.kind = SCAN_INDEX, .index = x->id};
    err =
        leading_parts(x, schema_attributes(s), name, name_bytes, v, part, &out->equal_count, note);
    for (uint32_t i = 0; err == EG_OK && i < out->equal_count; i++)
        out->equal[i] = part[i];
    return err;
}

/* The stretch between two ends: the parts that both share, then a range. */
static eg_err stretch_between(const struct index_spec *x, struct index_attributes of,
                              const char *name, size_t name_bytes, struct value low,
                              struct value high, struct value part[INDEX_PARTS_MAX + 1],
                              struct range *range, struct index_bounds *b) {
    struct value last[INDEX_PARTS_MAX + 1];
    uint32_t count = 0, high_count = 0;
    eg_err err = EG_OK;

    if (low.size_bytes != 0)
        err = leading_parts(x, of, name, name_bytes, low, part, &count, NULL);
    if (err == EG_OK && high.size_bytes != 0)
        err = leading_parts(x, of, name, name_bytes, high, last, &high_count, NULL);
    if (err != EG_OK || (count != 0 && high_count != 0 && count != high_count))
        return EG_BAD_REQUEST;
    for (uint32_t i = 0; i + 1 < EG_MIN(count, high_count); i++)
        if (!value_equal(part[i], last[i]))
            return EG_BAD_REQUEST;
    if (count != 0)
        range->low = (struct range_end){.given = true, .value = part[count - 1]};
    if (high_count != 0)
        range->high = (struct range_end){.given = true, .value = last[high_count - 1]};
    for (uint32_t i = 0; count == 0 && i + 1 < high_count; i++)
        part[i] = last[i];
    b->equal = part;
    b->equal_count = EG_MAX(EG_MAX(count, high_count), 1u) - 1;
    b->range = range;
    return EG_OK;
}

eg_err table_index_fold(struct table *t, struct reader *r, const char *name, size_t name_bytes,
                        struct value low, struct value high, bool reverse,
                        bool (*see)(void *context, const struct record *rec), void *context) {
    const struct schema *s = schema_of(t);
    const struct index_spec *x = schema_index(s, name, name_bytes);
    struct value part[INDEX_PARTS_MAX + 1];
    struct range range = {.exact = false};
    struct index_bounds bounds = {.reverse = reverse};
    uint64_t now = now_ms(t);
    eg_err err = x == NULL ? EG_BAD_REQUEST
                           : stretch_between(x, schema_attributes(s), name, name_bytes, low, high,
                                             part, &range, &bounds);

    for (uint32_t i = 0; i < t->shard_count && err == EG_OK; i++) {
        struct shard_index_scan scan;
        const struct record *rec;

        err = shard_index_seek(&scan, &t->shard[i], r, x->id, &bounds, (struct value){0});
        while (err == EG_OK && (rec = shard_index_next(&scan)) != NULL)
            if (!shard_expired(rec, now) && !see(context, rec))
                return EG_OK;
        if (err == EG_OK)
            err = reader_take_fault(r);
    }
    return err;
}

/* ---- match --------------------------------------------------------------------------- */

struct match {
    struct value pattern;
    uint64_t limit;
    struct array_answer answer;
};

static eg_err match_one(struct match *m, const struct record *rec) {
    return pattern_matches(m->pattern, record_value(rec)) ? answer_add(&m->answer, rec) : EG_OK;
}

static bool match_full(const struct match *m) {
    return m->limit != 0 && m->answer.count >= m->limit;
}

/* All records under one key. */
static eg_err match_key(struct match *m, struct table *t, struct reader *r, struct value v) {
    struct store_cursor c;
    const struct record *rec;
    struct store *store;
    struct key k;
    eg_err err = table_key(t, &k, v);

    if (err != EG_OK)
        return err;
    store = shard_of(t, k.hash)->store;
    if (!store->bag) {
        rec = table_get(t, r, &k);
        if (rec != NULL)
            err = match_one(m, rec);
    } else {
        store->ops->seek(store, r, &c, &k, false, false);
        while (err == EG_OK && !match_full(m) && (rec = store->ops->next(store, r, &c)) != NULL &&
               value_equal(record_key(rec), v))
            if (live(t, rec) != NULL)
                err = match_one(m, rec);
    }
    key_release(&k);
    return err;
}

static eg_err match_all(struct match *m, struct table *t, struct reader *r) {
    struct table_walk *walk;
    const struct record *rec;
    eg_err err = table_walk_open(&walk, t, r, NULL, false, false);

    while (err == EG_OK && !match_full(m) && (rec = table_walk_next(walk)) != NULL)
        err = match_one(m, rec);
    return err;
}

eg_err table_match(struct table *t, struct reader *r, struct value pattern, uint64_t limit,
                   struct buffer *result, struct err_note *note) {
    struct match m = {.pattern = pattern, .limit = limit};
    struct value key_value;
    eg_err err = pattern_check(pattern, schema_of(t)->attribute_count, note);

    if (err == EG_OK)
        err = answer_begin(&m.answer, result);
    if (err != EG_OK)
        return err;
    err =
        pattern_get_key(pattern, &key_value) ? match_key(&m, t, r, key_value) : match_all(&m, t, r);
    if (err == EG_OK)
        err = reader_take_fault(r);
    return answer_end(&m.answer, err);
}

/* ---- first, next --------------------------------------------------------------------- */

static eg_err answer_key_or_nil(struct buffer *result, const struct record *rec) {
    static const uint8_t nil = 0xc0;
    struct value key = {&nil, 1};

    if (rec != NULL)
        key = record_key(rec);
    return buffer_append(result, key.at, key.size_bytes) ? EG_OK : EG_TOO_LARGE;
}

static eg_err one_step(struct table *t, struct reader *r, const struct key *from, bool reverse,
                       struct buffer *result) {
    struct table_walk *walk;
    const struct record *rec;
    /* Types without an order of their own have one direction, as in ETS. */
    eg_err err = table_walk_open(&walk, t, r, from, true, reverse && t->type == TABLE_ORDERED_SET);

    if (err != EG_OK)
        return err;
    rec = table_walk_next(walk);
    err = reader_take_fault(r);
    return err != EG_OK ? err : answer_key_or_nil(result, rec);
}

eg_err table_first(struct table *t, struct reader *r, bool last, struct buffer *result) {
    return one_step(t, r, NULL, last, result);
}

eg_err table_next(struct table *t, struct reader *r, const struct key *k, bool prev,
                  struct buffer *result) {
    return one_step(t, r, k, prev, result);
}

/* ---- size and description -------------------------------------------------------------- */

/* Expired records go before they are counted.  False: the shard is busy, and sheds its own. */
static bool purge(struct table *t, struct reader *r, struct shard *s) {
    struct actor *owner;

    if (EG_LIKELY(atomic_load_explicit(&s->next_deadline_ms, memory_order_relaxed) == RANK_NEVER))
        return true;
    if (atomic_load_explicit(&s->next_deadline_ms, memory_order_relaxed) > now_ms(t))
        return true;
    owner = actor_claim(t->world->o.runtime, shard_pid(s));
    if (owner == NULL)
        return false;
    if (t->storage == STORAGE_DISC_ONLY)
        (void) shard_purge_rows(s, r, now_ms(t), true); /* how many is read below */
    else
        (void) shard_purge(s, r, now_ms(t), UINT64_MAX);
    shard_turn_end(s);
    actor_release(owner);
    return true;
}

static uint64_t count_of(struct store *store) {
    return store->ops->stats(store).count;
}

/* The rows that have not expired, of a disc_only shard that others work on: it sheds in its ticks
 * alone, and slowly, while the pass over the rows that purge() would have made can be made here. */
static uint64_t live_rows(struct table *t, struct reader *r, struct store *store) {
    uint64_t now = now_ms(t), count = 0;
    const struct record *rec;
    struct store_cursor c;

    store->ops->seek(store, r, &c, NULL, false, false);
    while ((rec = store->ops->next(store, r, &c)) != NULL)
        count += !shard_expired(rec, now);
    return reader_take_fault(r) == EG_OK ? count : count_of(store);
}

static uint64_t size_of(struct table *t, struct reader *r, const struct shard_set *only) {
    uint64_t size = 0;

    for (uint32_t i = 0; i < t->shard_count; i++) {
        struct shard *s = &t->shard[i];
        if (only != NULL && !shard_set_has(only, i))
            continue;
        if (purge(t, r, s) || t->storage != STORAGE_DISC_ONLY)
            size += count_of(s->store);
        else
            size += live_rows(t, r, s->store);
    }
    return size;
}

uint64_t table_size(struct table *t, struct reader *r) {
    return size_of(t, r, NULL);
}

uint64_t table_size_of(struct table *t, struct reader *r, const struct shard_set *shards) {
    return size_of(t, r, shards);
}

uint32_t table_shard_of_key(const struct table *t, struct value key) {
    return table_shard_of_hash(t, key_hash(key, t->seed));
}

uint32_t table_shard_of_hash(const struct table *t, uint64_t hash) {
    return (uint32_t) (((hash >> 48) * t->shard_count) >> 16);
}

/* An index that the schema does not name yet. */
struct building {
    const struct index_spec *spec;
    uint64_t seen, all; /* records */
};

static struct building *building_of(struct building list[SCHEMA_INDEXES_MAX], uint32_t *count,
                                    const struct index_spec *x) {
    for (uint32_t i = 0; i < *count; i++)
        if (list[i].spec->id == x->id)
            return &list[i];
    if (*count == SCHEMA_INDEXES_MAX)
        return NULL;
    list[*count] = (struct building){.spec = x};
    return &list[(*count)++];
}

static bool has_index(const struct schema *s, uint32_t id) {
    for (uint32_t i = 0; i < s->index_count; i++)
        if (s->index[i]->id == id)
            return true;
    return false;
}

/* Add what shard `s` has of indexes under construction. */
static void add_building(const struct schema *schema, const struct shard *s,
                         struct building list[SCHEMA_INDEXES_MAX], uint32_t *count) {
    uint64_t all = s->store->ops->stats(s->store).count;
    uint64_t seen = atomic_load_explicit(&s->build_seen, memory_order_relaxed);

    for (uint32_t i = 0; i < SCHEMA_INDEXES_MAX; i++) {
        const struct index *x = atomic_load_explicit(&s->index[i].index, memory_order_acquire);
        struct building *b;

        if (x == NULL || has_index(schema, index_spec(x)->id))
            continue;
        b = building_of(list, count, index_spec(x));
        if (b == NULL)
            continue;
        b->all += all;
        b->seen += atomic_load_explicit(&s->index[i].whole, memory_order_relaxed)
                       ? all
                       : EG_MIN(seen, all);
    }
}

/* building: {index: percent}, where there are any. */
static void put_building(const struct schema *s, const struct building *list, uint32_t count,
                         struct value_writer *w) {
    value_put_text(w, "building");
    value_put_map(w, count);
    for (uint32_t i = 0; i < count; i++) {
        char title[INDEX_TITLE_BYTES_MAX];
        size_t bytes = index_spec_title(list[i].spec, schema_attributes(s), title);

        value_put_string(w, title, bytes);
        value_put_u64(w, list[i].all == 0 ? 100 : list[i].seen * 100 / list[i].all);
    }
}

static void put_info(const struct table *t, const struct schema *s, uint64_t size, uint64_t local,
                     const struct building *list, uint32_t count, struct value_writer *w) {
    int64_t memory = atomic_load_explicit(&t->budget.used_bytes, memory_order_relaxed);

    value_put_map(w, schema_option_count(s) + 4u + (count != 0));
    value_put_text(w, "name");
    value_put_string(w, s->name.text, s->name.size_bytes);
    schema_put_options(s, w);
    value_put_text(w, "size");
    value_put_u64(w, size);
    value_put_text(w, "local_size");
    value_put_u64(w, local);
    value_put_text(w, "memory");
    value_put_u64(w, (uint64_t) EG_MAX(memory, (int64_t) 0));
    if (count != 0)
        put_building(s, list, count, w);
}

eg_err table_info(struct table *t, struct reader *r, struct buffer *result) {
    return table_info_of(t, r, table_size(t, r), result);
}

eg_err table_info_of(struct table *t, struct reader *r, uint64_t size, struct buffer *result) {
    struct shard_set here = table_shards_here(t, true);
    uint64_t local = table_size_of(t, r, &here);
    const struct schema *s = schema_of(t);
    struct building building[SCHEMA_INDEXES_MAX];
    uint32_t count = 0;
    struct value_writer measure = value_writer_init(NULL, 0);
    struct value_writer w;
    uint8_t *room;

    for (uint32_t i = 0; i < t->shard_count; i++)
        add_building(s, &t->shard[i], building, &count);
    put_info(t, s, size, local, building, count, &measure);
    room = buffer_room(result, measure.need_bytes + 16); /* memory may grow a digit meanwhile */
    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, measure.need_bytes + 16);
    put_info(t, s, size, local, building, count, &w);
    EG_ASSERT(!w.overflow);
    result->size_bytes += w.need_bytes;
    return EG_OK;
}
