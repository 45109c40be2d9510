/* table_walk.c -- walking a table's shards as one row. */
#include "tables/table_walk.h"

#include "engine/env.h"
#include "tables/table_private.h"

static void seek(struct table_walk *w, uint32_t shard, struct walk_part *part,
                 const struct key *from, bool after) {
    struct store *store = w->table->shard[shard].store;
    store->ops->seek(store, w->reader, &part->cursor, from, after, w->reverse);
}

static const struct record *step(struct table_walk *w, uint32_t shard, struct walk_part *part) {
    struct store *store = w->table->shard[shard].store;
    const struct record *rec;

    do
        rec = store->ops->next(store, w->reader, &part->cursor);
    while (rec != NULL && shard_expired(rec, w->now_ms));
    return rec;
}

static struct table_walk *walk_new(struct table *t, struct reader *r, const struct shard_set *only,
                                   bool reverse, bool raw) {
    bool merge = t->type == TABLE_ORDERED_SET;
    uint32_t count = merge ? t->shard_count : 1;
    struct table_walk *w = reader_scratch(r, sizeof *w + count * sizeof w->part[0]);

    EG_ASSERT(merge || !reverse);
    if (w != NULL)
        *w = (struct table_walk){.table = t,
                                 .reader = r,
                                 .now_ms = raw ? 0 : (uint64_t) env_wall_ms(t->world->o.env),
                                 .only = only,
                                 .merge = merge,
                                 .reverse = reverse,
                                 .count = count};
    return w;
}

static bool is_meant(const struct table_walk *w, uint32_t shard) {
    return w->only == NULL || shard_set_has(w->only, shard);
}

/* A shard that is not meant has no record. */
static void begin_in(struct table_walk *w, uint32_t shard, const struct key *from, bool after) {
    w->at = shard;
    w->part[0].passed = !is_meant(w, shard);
    if (!w->part[0].passed)
        seek(w, shard, &w->part[0], from, after);
}

eg_err table_walk_open_behind(struct table_walk **out, struct table *t, struct reader *r,
                              const struct shard_set *only, const struct record *rec) {
    struct table_walk *w = walk_new(t, r, only, false, true);
    struct store *store;

    EG_ASSERT(t->type == TABLE_BAG);
    if (w == NULL)
        return EG_MEMORY;
    w->at = shard_of(t, key_hash(record_key(rec), t->seed))->number;
    store = t->shard[w->at].store;
    w->part[0].passed = !is_meant(w, w->at);
    if (!w->part[0].passed)
        store->ops->seek_behind(store, r, &w->part[0].cursor, rec);
    *out = w;
    return EG_OK;
}

eg_err table_walk_open_in(struct table_walk **out, struct table *t, struct reader *r,
                          const struct shard_set *only, const struct key *from, bool after,
                          bool reverse, bool raw) {
    struct table_walk *w = walk_new(t, r, only, reverse, raw);
    uint32_t count;

    if (w == NULL)
        return EG_MEMORY;
    count = w->count;
    if (!w->merge) {
        begin_in(w, from == NULL ? 0 : shard_of(t, from->hash)->number, from, after);
    } else {
        w->at = count;
        for (uint32_t i = 0; i < count; i++) {
            w->part[i].head = NULL;
            if (!is_meant(w, i))
                continue;
            seek(w, i, &w->part[i], from, after);
            w->part[i].head = step(w, i, &w->part[i]);
        }
    }
    *out = w;
    return EG_OK;
}

eg_err table_walk_open(struct table_walk **out, struct table *t, struct reader *r,
                       const struct key *from, bool after, bool reverse) {
    return table_walk_open_in(out, t, r, NULL, from, after, reverse, false);
}

static const struct record *step_here(struct table_walk *w) {
    return w->part[0].passed ? NULL : step(w, w->at, &w->part[0]);
}

static const struct record *next_in_row(struct table_walk *w) {
    const struct record *rec = step_here(w);

    while (rec == NULL && w->at + 1 < w->table->shard_count) {
        begin_in(w, w->at + 1, NULL, false);
        rec = step_here(w);
    }
    return rec;
}

/* The first head in the walk's direction.  Few shards: a scan beats a heap.  The
 * one taken is followed up at the next call: until then its record stays. */
static const struct record *next_merged(struct table_walk *w) {
    const struct record *best = NULL;

    if (w->at < w->count)
        w->part[w->at].head = step(w, w->at, &w->part[w->at]);
    w->at = w->count;
    for (uint32_t i = 0; i < w->count; i++) {
        const struct record *head = w->part[i].head;
        int order;

        if (head == NULL)
            continue;
        order = best == NULL ? -1 : value_compare(record_key(head), record_key(best));
        if (best == NULL || (w->reverse ? order > 0 : order < 0)) {
            best = head;
            w->at = i;
        }
    }
    return best;
}

const struct record *table_walk_next(struct table_walk *w) {
    return w->merge ? next_merged(w) : next_in_row(w);
}

/* ---- many at once -------------------------------------------------------------- */

static bool is_live(const struct table_walk *w, const struct record *rec) {
    return EG_LIKELY((record_flags(rec) & RECORD_EXPIRES) == 0) || !shard_expired(rec, w->now_ms);
}

uint32_t table_walk_keep_live(const struct table_walk *w, const struct record **rec,
                              uint32_t count) {
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++)
        if (is_live(w, rec[i]))
            rec[kept++] = rec[i];
    return kept;
}

/* All in one tree and upwards: its leaves are copied out. */
static uint32_t next_of_tree(struct table_walk *w, const struct probe *end,
                             const struct record **out, uint32_t most) {
    struct walk_part *part = &w->part[0];
    uint32_t count = 0;

    if (w->at == w->count && part->head == NULL)
        return 0;
    if (w->at == w->count) /* it is not given yet */
        out[count++] = part->head;
    w->at = 0;
    return count + store_ordered_next_many(&part->cursor, end, out + count, most - count);
}

uint32_t table_walk_next_many(struct table_walk *w, const struct probe *end,
                              const struct record **out, uint32_t most) {
    uint32_t count = 0;

    if (w->merge && w->count == 1 && !w->reverse && w->table->storage != STORAGE_DISC_ONLY)
        return next_of_tree(w, end, out, most);
    while (count < most && (out[count] = table_walk_next(w)) != NULL)
        count++;
    return count;
}
