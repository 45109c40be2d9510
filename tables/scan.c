/* scan.c -- going through the records that a question may mean; scan_path.c chooses how.
 *
 * A place is one value: the key of the record given last, or in a bag that record, since
 * its key alone does not say which of several was given; that of an index is index_place()'s.
 * Going quickly through a set it is [shard, position]. */
#include "tables/scan.h"

#include "engine/env.h"
#include "tables/shard_index.h"
#include "tables/table_private.h"
#include "tables/table_walk.h"

#include <string.h>

enum {
    ARRAY32_BYTES = 5,
    /* Behind every array that begins with a prefix stands, all but certainly, the prefix and
     * this: an ext of the last type.  Whoever has larger ones is walked past. */
    LAST_VALUE_BYTES = 3 + 16,
    RANGE_AHEAD = 32, /* records of a range, of which one is held against its end */
    RANGE_FIRST = 8,  /* the first of them: it may be all that is wanted            */
    RANGE_PARTS = 3,
    PASSED_MAX = 256, /* expired records, then the caller looks at the clock     */
    ABSENT_MAX = 16,  /* keys that are not there, likewise: they may be on disc  */
};

/* Records of a range that have been walked over and not given yet: a ring of parts, of which one is
 * being given.  Where all are wanted the next two are walked too: one is on its way to the
 * cache, and the records of the other are asked for while those that are given are looked at. */
struct range_part {
    uint32_t count;
    bool last; /* nothing comes behind these */
    const struct record *record[RANGE_AHEAD];
};

struct range_ahead {
    uint32_t most, given;
    uint32_t now;    /* which part is being given                       */
    uint32_t walked; /* parts behind it                                 */
    bool entered;    /* the first record inside the range has been met */
    bool has_end;
    struct order order; /* of keys                                       */
    struct probe end;   /* of the range, upwards, for nodes to be held against */
    struct range_part part[RANGE_PARTS];
};

struct scan {
    struct table *table;
    struct reader *reader;
    const struct scan_path *path;
    uint64_t now_ms;
    struct value place;          /* where it began; size 0: at the beginning */
    const struct record *last;   /* given; NULL: none yet                    */
    const struct record *before; /* given before that one                    */
    bool over;
    bool paused;
    struct value absent;        /* a key looked up in vain since `last`; size 0: none */
    struct table_walk *walk;    /* of SCAN_KEY_RANGE, SCAN_ALL    */
    struct range_ahead ahead;   /* of SCAN_KEY_RANGE              */
    struct store_sweep *sweep;  /* of SCAN_ALL instead, quickly   */
    uint32_t point;             /* of SCAN_KEYS, SCAN_INDEX_VALUES: which is looked up */
    const struct record *only;  /* of SCAN_KEY*: the one there is */
    struct store *store;        /* of SCAN_KEY* in a bag          */
    struct store_cursor cursor; /* likewise; store NULL: no more  */
    uint32_t shard;             /* of SCAN_INDEX*, and of a sweep */
    struct value equal[INDEX_PARTS_MAX];
    struct index_bounds bounds;
    struct shard_index_scan index;
    const struct record *one; /* a batch of it */
};

/* ---- places ------------------------------------------------------------------------ */

/* A place from outside may be any value. */
static eg_err check_place(const struct scan *s) {
    struct value key;

    if (s->place.size_bytes == 0 || scan_by_index(s->path) || s->sweep != NULL)
        return EG_OK;
    if (s->table->type == TABLE_BAG &&
        (value_kind_of(s->place) != VALUE_ARRAY || !array_element(s->place, 0, &key)))
        return EG_BAD_REQUEST;
    return EG_OK;
}

/* A bag's place as a record, for stores to compare with. */
static const struct record *record_of_place(const struct scan *s) {
    void *memory = reader_scratch(s->reader, record_bytes_for(s->place.size_bytes, false));

    return memory == NULL
               ? NULL
               : record_init(memory, s->place, (struct record_version){.hlc = 0, .dot = 0}, 0);
}

/* `last` NULL: the scan has not moved from where it began. */
static eg_err put_place(const struct scan *s, const struct record *last, struct buffer *place) {
    struct value v = s->place;

    if (last == s->last && s->absent.size_bytes != 0)
        v = s->absent;
    else if (last != NULL && scan_by_index(s->path)) {
        buffer_clear(place);
        return shard_index_place(&s->index, last, place);
    } else if (last != NULL)
        v = s->table->type == TABLE_BAG ? record_value(last) : record_key(last);
    else if (v.at == place->at)
        return EG_OK;
    buffer_clear(place);
    if (v.size_bytes == 0 || buffer_append(place, v.at, v.size_bytes))
        return EG_OK;
    return v.size_bytes > place->bound_bytes ? EG_TOO_LARGE : EG_MEMORY;
}

/* Where the sweep goes on: behind its shard's end, at the beginning of the next one. */
static eg_err put_sweep_place(const struct scan *s, struct buffer *place) {
    enum { SWEEP_PLACE_BYTES = 16 };
    uint8_t *room;
    struct value_writer w;
    uint64_t shard = s->shard, at;
    bool ended;

    EG_ASSERT(store_sweep_place(s->sweep, &at, &ended));
    if (ended) {
        shard++;
        at = 0;
    }
    buffer_clear(place);
    room = buffer_room(place, SWEEP_PLACE_BYTES);
    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, SWEEP_PLACE_BYTES);
    value_put_array(&w, 2);
    value_put_u64(&w, shard);
    value_put_u64(&w, at);
    place->size_bytes += w.need_bytes;
    return EG_OK;
}

bool scan_may_stop(const struct scan *s) {
    uint64_t at;
    bool ended;

    return s->sweep == NULL || store_sweep_place(s->sweep, &at, &ended);
}

eg_err scan_place(const struct scan *s, struct buffer *place) {
    return s->sweep != NULL ? put_sweep_place(s, place) : put_place(s, s->last, place);
}

eg_err scan_place_before(const struct scan *s, struct buffer *place) {
    EG_ASSERT(s->sweep == NULL);
    return put_place(s, s->before, place);
}

static bool is_meant(const struct scan *s, uint32_t shard) {
    return s->path->only == NULL || shard_set_has(s->path->only, shard);
}

/* ---- some values -------------------------------------------------------------------- */

static uint32_t point_count(const struct scan *s) {
    return s->path->kind == SCAN_KEY ? 1 : s->path->point_count;
}

/* In the scan's order. */
static struct value point_at(const struct scan *s, uint32_t i) {
    if (s->path->kind == SCAN_KEY)
        return s->path->range.low.value;
    return s->path->point[s->path->reverse ? s->path->point_count - 1 - i : i];
}

/* The first point that is not before `v`; *same: it is v. */
static uint32_t point_from(const struct scan *s, struct value v, bool *same) {
    uint32_t low = 0, high = point_count(s);

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = value_compare(point_at(s, middle), v);
        if (s->path->reverse ? order > 0 : order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *same = low < point_count(s) && value_equal(point_at(s, low), v);
    return low;
}

/* ---- keys ----------------------------------------------------------------------------- */

/* Look up the key of this point; of a bag go on behind `place`, where it has one. */
static eg_err open_key(struct scan *s, struct value place) {
    const struct record *rec;
    struct key k;
    eg_err err = table_key(s->table, &k, point_at(s, s->point));

    s->only = NULL;
    s->store = NULL;
    if (err == EG_BAD_RECORD || err == EG_TOO_LARGE) /* a NaN: no record has such a key */
        return EG_OK;
    if (err != EG_OK)
        return err;
    if (!is_meant(s, shard_of(s->table, k.hash)->number)) {
        key_release(&k);
        return EG_OK;
    }
    if (s->table->type != TABLE_BAG) {
        s->only = table_get(s->table, s->reader, &k);
    } else {
        s->store = shard_of(s->table, k.hash)->store;
        if (place.size_bytes == 0) {
            s->store->ops->seek(s->store, s->reader, &s->cursor, &k, false, false);
        } else {
            rec = record_of_place(s);
            err = rec == NULL ? EG_MEMORY : EG_OK;
            if (rec != NULL)
                s->store->ops->seek_behind(s->store, s->reader, &s->cursor, rec);
        }
    }
    key_release(&k);
    return err;
}

static eg_err open_keys(struct scan *s) {
    bool bag = s->table->type == TABLE_BAG, same = false;
    struct value key = s->place;

    if (s->place.size_bytes != 0) {
        EG_ASSERT(!bag || array_element(s->place, 0, &key)); /* it was checked */
        s->point = point_from(s, key, &same);
        s->point += same && !bag;
    }
    s->over = s->point == point_count(s);
    return s->over ? EG_OK : open_key(s, same ? s->place : (struct value){0});
}

static const struct record *next_of_key(struct scan *s) {
    const struct record *rec = s->only;

    s->only = NULL;
    if (s->store == NULL)
        return rec;
    rec = s->store->ops->next(s->store, s->reader, &s->cursor);
    if (rec != NULL && value_equal(record_key(rec), point_at(s, s->point)))
        return rec;
    s->store = NULL;
    return NULL;
}

static const struct record *next_of_keys(struct scan *s) {
    const struct record *rec;
    uint32_t absent = 0;
    eg_err err = EG_OK;

    s->absent = (struct value){0};
    while ((rec = next_of_key(s)) == NULL && s->point + 1 < point_count(s) && err == EG_OK) {
        if (++absent == ABSENT_MAX && s->table->type != TABLE_BAG) {
            s->absent = point_at(s, s->point);
            s->paused = true;
        }
        s->point++;
        err = open_key(s, (struct value){0});
        if (s->paused && err == EG_OK)
            return NULL;
    }
    if (err != EG_OK)
        reader_set_fault(s->reader, err);
    s->over = rec == NULL;
    return rec;
}

/* ---- a range of keys -------------------------------------------------------------------- */

/* Ordered stores compare a key's value; neither hash nor canonical form is wanted, so a
 * range may end at a value that could be no key. */
static struct key key_at(struct value v) {
    return (struct key){.value = v};
}

/* An array that stands behind all that begin with those of `prefix`; size 0: no memory. */
static struct value behind_prefix(struct scan *s, struct value prefix) {
    static const uint8_t last[LAST_VALUE_BYTES] = {0xc7, 16,   127,  0xff, 0xff, 0xff, 0xff,
                                                   0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                                   0xff, 0xff, 0xff, 0xff, 0xff};
    size_t room = ARRAY32_BYTES + prefix.size_bytes + sizeof last;
    uint8_t *memory = reader_scratch(s->reader, room);
    struct value_iter it = value_iter_of(prefix);
    struct value element;
    struct value_writer w;

    if (memory == NULL)
        return (struct value){NULL, 0};
    w = value_writer_init(memory, room);
    value_put_array(&w, value_count(prefix) + 1);
    while (value_iter_next(&it, &element))
        value_put_raw(&w, element);
    value_put_raw(&w, (struct value){last, sizeof last});
    EG_ASSERT(!w.overflow);
    return (struct value){memory, (uint32_t) w.need_bytes};
}

/* Walk down from the last record that is not above the high end, a prefix. */
static eg_err open_below_prefix(struct scan *s) {
    struct value from = behind_prefix(s, s->path->range.high.value);
    struct key k = key_at(from);
    const struct record *rec;
    eg_err err = from.size_bytes == 0 ? EG_MEMORY : EG_OK;

    if (err == EG_OK)
        err = table_walk_open_in(&s->walk, s->table, s->reader, s->path->only, &k, false, false,
                                 false);
    if (err != EG_OK)
        return err;
    while ((rec = table_walk_next(s->walk)) != NULL &&
           !range_above(&s->path->range, record_key(rec)))
        ;
    if (rec == NULL)
        return table_walk_open_in(&s->walk, s->table, s->reader, s->path->only, NULL, false, true,
                                  false);
    k = key_at(record_key(rec));
    return table_walk_open_in(&s->walk, s->table, s->reader, s->path->only, &k, true, true, false);
}

/* Upwards whole nodes can be told to lie before the end, or beyond it. */
static void find_end(struct scan *s) {
    const struct range_end *high = &s->path->range.high;
    struct range_ahead *a = &s->ahead;

    a->has_end = high->given && !s->path->reverse;
    if (!a->has_end)
        return;
    a->order = order_of_keys(false);
    if (high->prefix)
        probe_of_prefix(&a->end, &a->order, &high->value, 1);
    else
        probe_of_values(&a->end, &a->order, &high->value, 1);
}

static eg_err open_range(struct scan *s) {
    bool reverse = s->path->reverse;
    const struct range_end *begin = reverse ? &s->path->range.high : &s->path->range.low;
    struct key k = key_at(begin->value);
    bool after = begin->open;

    find_end(s);
    if (s->place.size_bytes != 0) {
        k = key_at(s->place);
        after = true;
    } else if (!begin->given) {
        return table_walk_open_in(&s->walk, s->table, s->reader, s->path->only, NULL, false,
                                  reverse, false);
    } else if (begin->prefix && reverse && !begin->open) {
        return open_below_prefix(s);
    } else if (begin->prefix && !reverse && begin->open) {
        k = key_at(behind_prefix(s, begin->value));
        if (k.value.size_bytes == 0)
            return EG_MEMORY;
    } else if (begin->prefix) {
        after = false; /* the prefix itself stands before all that begin with it */
    }
    return table_walk_open_in(&s->walk, s->table, s->reader, s->path->only, &k, after, reverse,
                              false);
}

static bool is_beyond(const struct scan *s, const struct record *rec) {
    return s->path->reverse ? range_below(&s->path->range, record_key(rec))
                            : range_above(&s->path->range, record_key(rec));
}

/* How many of the records, which ascend in the scan's direction, are not beyond its end. */
static uint32_t count_within(const struct scan *s, const struct record *const *rec,
                             uint32_t count) {
    uint32_t low = 0, high = count;

    if (count == 0 || !is_beyond(s, rec[count - 1]))
        return count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (is_beyond(s, rec[middle]))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* The part that is being given, and those behind it. */
static struct range_part *part_at(struct scan *s, uint32_t behind) {
    return &s->ahead.part[(s->ahead.now + behind) % RANGE_PARTS];
}

/* Some more of the walk, unseen.  What a disc store hands out does not stay: one at a time. */
static struct range_part *walk_part(struct scan *s) {
    struct range_ahead *a = &s->ahead;
    struct range_part *p = part_at(s, ++a->walked);

    a->most = s->table->storage == STORAGE_DISC_ONLY
                  ? 1
                  : EG_MIN(3 * a->most + RANGE_FIRST, (uint32_t) RANGE_AHEAD);
    p->count = table_walk_next_many(s->walk, a->has_end ? &a->end : NULL, p->record, a->most);
    p->last = p->count < a->most;
    return p;
}

static void ask_for(const struct range_part *p, uint32_t from) {
    for (uint32_t i = from; i < p->count; i++)
        record_prefetch(p->record[i]);
}

/* The next part is given now.  Only its last record is held against the range's end: the others
 * lie before it.  The walk begins at one end or just before it, so the first are looked at
 * too. */
static void enter_part(struct scan *s) {
    struct range_ahead *a = &s->ahead;
    struct range_part *p;
    uint32_t count;

    if (a->walked == 0)
        ask_for(walk_part(s), 0);
    a->walked--;
    a->now = (a->now + 1) % RANGE_PARTS;
    a->given = 0;
    p = part_at(s, 0);
    p->count = table_walk_keep_live(s->walk, p->record, p->count);
    count = count_within(s, p->record, p->count);
    p->last |= count < p->count;
    p->count = count;
    while (!a->entered && a->given < p->count &&
           !range_holds(&s->path->range, record_key(p->record[a->given])))
        a->given++;
    a->entered |= a->given < p->count;
}

/* Has the range another record?  Then it is at hand. */
static bool look_ahead(struct scan *s) {
    while (s->ahead.given == part_at(s, 0)->count) {
        s->over = part_at(s, 0)->last;
        if (s->over)
            return false;
        enter_part(s);
    }
    return true;
}

static const struct record *next_in_range(struct scan *s) {
    return look_ahead(s) ? part_at(s, 0)->record[s->ahead.given++] : NULL;
}

/* The part after the next, to be asked for while `b` is looked at. */
static void walk_ahead(struct scan *s, struct record_batch *b) {
    struct range_ahead *a = &s->ahead;
    struct range_part *p = part_at(s, a->walked);

    if (a->walked == 0 && !p->last) {
        p = walk_part(s);
        ask_for(p, 0);
    }
    if (a->walked != 1 || p->last)
        return;
    p = walk_part(s);
    ask_for(p, b->count);
    for (uint32_t i = p->count; i < b->count; i++)
        p->record[i] = b->record[0]; /* so that there is something to ask for */
    b->ahead = p->record;
}

struct record_batch scan_next_many(struct scan *s) {
    struct range_ahead *a = &s->ahead;
    struct range_part *p;
    struct record_batch b = {.count = 0};

    EG_ASSERT(s->path->kind == SCAN_KEY_RANGE);
    if (s->over || !look_ahead(s))
        return b;
    p = part_at(s, 0);
    b.record = &p->record[a->given];
    b.count = p->count - a->given;
    if (s->table->storage != STORAGE_DISC_ONLY)
        walk_ahead(s, &b);
    a->given = p->count;
    s->last = p->record[a->given - 1];
    return b;
}

void scan_give_back(struct scan *s, uint32_t count) {
    struct range_ahead *a = &s->ahead;

    EG_ASSERT(count < a->given);
    a->given -= count;
    s->last = part_at(s, 0)->record[a->given - 1];
}

/* ---- all ----------------------------------------------------------------------------------- */

static eg_err open_all(struct scan *s) {
    const struct record *rec;
    struct key k;
    eg_err err;

    if (s->place.size_bytes == 0)
        return table_walk_open_in(&s->walk, s->table, s->reader, s->path->only, NULL, false,
                                  s->path->reverse, true);
    if (s->table->type == TABLE_BAG) {
        rec = record_of_place(s);
        return rec == NULL
                   ? EG_MEMORY
                   : table_walk_open_behind(&s->walk, s->table, s->reader, s->path->only, rec);
    }
    err = table_key(s->table, &k, s->place);
    if (err != EG_OK)
        return err == EG_MEMORY ? err : EG_BAD_REQUEST;
    err = table_walk_open_in(&s->walk, s->table, s->reader, s->path->only, &k, true,
                             s->path->reverse, true);
    key_release(&k);
    return err;
}

/* ---- an index ------------------------------------------------------------------------------- */

static bool has_points(const struct scan *s) {
    return s->path->kind == SCAN_INDEX_VALUES;
}

static eg_err seek_index(struct scan *s, struct value place) {
    if (has_points(s))
        s->equal[s->path->equal_count] = point_at(s, s->point);
    return shard_index_seek(&s->index, &s->table->shard[s->shard], s->reader, s->path->index,
                            &s->bounds, place);
}

/* On to the next value, or the next shard's first; false: there is none. */
static bool next_stretch(struct scan *s) {
    if (has_points(s) && s->point + 1 < s->path->point_count) {
        s->point++;
        return true;
    }
    do
        if (s->shard + 1 == s->table->shard_count)
            return false;
    while (!is_meant(s, ++s->shard));
    s->point = 0;
    return true;
}

/* The shard that a place is in is that of its key. */
static eg_err shard_of_place(struct scan *s, const struct value values[INDEX_PLACE_MAX]) {
    struct key k;
    eg_err err = table_key(s->table, &k, values[s->index.spec->part_count]);

    if (err != EG_OK)
        return err == EG_MEMORY ? err : EG_BAD_REQUEST;
    s->shard = shard_of(s->table, k.hash)->number;
    key_release(&k);
    return EG_OK;
}

static eg_err go_on_in_index(struct scan *s) {
    struct value values[INDEX_PLACE_MAX];
    bool same = true;
    eg_err err;

    if (!index_place_values(s->index.spec, s->table->type == TABLE_BAG, s->place, values))
        return EG_BAD_REQUEST;
    err = shard_of_place(s, values);
    if (err != EG_OK)
        return err;
    if (has_points(s))
        s->point = point_from(s, values[s->path->equal_count], &same);
    if (!same) /* left at none of the values: it is no place of ours */
        return EG_BAD_REQUEST;
    return seek_index(s, s->place);
}

/* All shards are asked for the same values, one after the other. */
static void expect_all(struct scan *s) {
    uint32_t left = s->table->shard_count - s->shard;

    if (left > 1 && s->path->kind == SCAN_INDEX)
        shard_index_expect(&s->table->shard[s->shard], EG_MIN(left, (uint32_t) BTREE_MANY_MAX),
                           s->path->index, s->equal, s->path->equal_count);
}

static eg_err open_index(struct scan *s) {
    uint32_t given = s->path->equal_count;
    eg_err err;

    memcpy(s->equal, s->path->equal, sizeof s->equal);
    s->bounds = (struct index_bounds){
        .equal = s->equal,
        .equal_count = has_points(s) ? given + 1 : given,
        .range = s->path->kind == SCAN_INDEX_RANGE ? &s->path->range : NULL,
    };
    while (!is_meant(s, s->shard) && s->shard + 1 < s->table->shard_count)
        s->shard++;
    if (!is_meant(s, s->shard)) {
        s->over = true;
        return EG_OK;
    }
    expect_all(s);
    err = seek_index(s, (struct value){0});
    return err == EG_OK && s->place.size_bytes != 0 ? go_on_in_index(s) : err;
}

static const struct record *next_of_index(struct scan *s) {
    const struct record *rec;

    for (;;) {
        rec = shard_index_next(&s->index);
        if (rec != NULL || !next_stretch(s))
            break;
        if (seek_index(s, (struct value){0}) != EG_OK) { /* dropped at this moment */
            reader_set_fault(s->reader, EG_ABORTED);
            break;
        }
    }
    s->over = rec == NULL;
    return rec;
}

/* ---- all of a set, quickly ----------------------------------------------------------------------
 */

static void begin_sweep(struct scan *s, uint64_t at) {
    while (!is_meant(s, s->shard) && s->shard + 1 < s->table->shard_count) {
        s->shard++;
        at = 0;
    }
    s->over = !is_meant(s, s->shard);
    if (!s->over) {
        store_sweep_begin(s->sweep, s->table->shard[s->shard].store, at);
        return;
    }
    s->sweep->now = 0;
    s->sweep->part[0] = (struct sweep_part){.last = true};
}

static eg_err open_sweep(struct scan *s) {
    uint64_t shard = 0, at = 0;
    struct value first, second;

    if (s->place.size_bytes != 0 &&
        (value_kind_of(s->place) != VALUE_ARRAY || !array_element(s->place, 0, &first) ||
         !array_element(s->place, 1, &second) || !value_get_u64(first, &shard) ||
         !value_get_u64(second, &at)))
        return EG_BAD_REQUEST;
    if (shard >= s->table->shard_count) { /* left behind the last shard */
        s->over = true;
        s->shard = s->table->shard_count - 1;
        s->sweep->now = 0;
        s->sweep->part[0] = (struct sweep_part){.last = true};
        return EG_OK;
    }
    s->shard = (uint32_t) shard;
    begin_sweep(s, at);
    return EG_OK;
}

static const struct record *next_of_sweep(struct scan *s) {
    const struct record *rec;
    uint32_t passed = 0;

    for (;;) {
        while ((rec = store_sweep_next(s->sweep)) != NULL &&
               EG_UNLIKELY(record_flags(rec) & RECORD_EXPIRES) && shard_expired(rec, s->now_ms)) {
            s->paused = ++passed >= PASSED_MAX && scan_may_stop(s);
            if (s->paused)
                return NULL;
        }
        if (EG_LIKELY(rec != NULL) || s->shard + 1 == s->table->shard_count)
            break;
        s->shard++;
        begin_sweep(s, 0);
        if (s->over)
            return NULL;
    }
    s->over = rec == NULL;
    return rec;
}

/* Leave out those whose time is over. */
static void drop_expired(const struct scan *s, struct record_batch *b) {
    uint32_t flags = 0, kept = 0;

    for (uint32_t i = 0; i < b->count; i++)
        flags |= record_flags(b->record[i]);
    if (EG_LIKELY((flags & RECORD_EXPIRES) == 0))
        return;
    for (uint32_t i = 0; i < b->count; i++) {
        const struct record *rec = b->record[i];
        if ((record_flags(rec) & RECORD_EXPIRES) == 0 || !shard_expired(rec, s->now_ms))
            b->record[kept++] = rec;
    }
    b->count = kept;
}

static struct record_batch batch_of_sweep(struct scan *s) {
    struct record_batch b = {.count = 0};

    s->paused = false;
    while (!s->over && !s->paused && b.count == 0) {
        b = store_sweep_batch(s->sweep);
        if (b.count > 0) {
            drop_expired(s, &b);
            s->paused = b.count == 0 && scan_may_stop(s);
        } else if (s->shard + 1 == s->table->shard_count) {
            s->over = true;
        } else {
            s->shard++;
            begin_sweep(s, 0);
        }
    }
    return b;
}

/* ---- open and next -----------------------------------------------------------------------------
 */

static eg_err open_path(struct scan *s) {
    eg_err err = check_place(s);

    if (err != EG_OK)
        return err;
    switch (s->path->kind) {
    case SCAN_NOTHING:
        s->over = true;
        return EG_OK;
    case SCAN_KEY:
    case SCAN_KEYS:
        return open_keys(s);
    case SCAN_KEY_RANGE:
        return open_range(s);
    case SCAN_ALL:
        return s->sweep != NULL ? open_sweep(s) : open_all(s);
    default:
        return open_index(s);
    }
}

static eg_err open_scan(struct scan **out, struct table *t, struct reader *r,
                        const struct scan_path *path, bool sweep, struct value place) {
    struct scan *s = reader_scratch(r, sizeof *s);
    eg_err err;

    if (s == NULL)
        return EG_MEMORY;
    *s = (struct scan){.table = t,
                       .reader = r,
                       .path = path,
                       .place = place,
                       .now_ms = (uint64_t) env_wall_ms(t->world->o.env)};
    if (sweep) {
        s->sweep = reader_scratch(r, sizeof *s->sweep);
        if (s->sweep == NULL)
            return EG_MEMORY;
    }
    err = open_path(s);
    if (err == EG_OK)
        *out = s;
    return err;
}

eg_err scan_open(struct scan **out, struct table *t, struct reader *r, const struct scan_path *path,
                 struct value place) {
    return open_scan(out, t, r, path, false, place);
}

eg_err scan_open_quick(struct scan **out, struct table *t, struct reader *r,
                       const struct scan_path *path, struct value place) {
    bool sweep = path->kind == SCAN_ALL && t->type == TABLE_SET && t->storage != STORAGE_DISC_ONLY;

    return open_scan(out, t, r, path, sweep, place);
}

/* Expired ones too. */
static const struct record *next_of_path(struct scan *s) {
    const struct record *rec;

    switch (s->path->kind) {
    case SCAN_KEY:
    case SCAN_KEYS:
        return next_of_keys(s);
    case SCAN_KEY_RANGE:
        return next_in_range(s);
    case SCAN_INDEX:
    case SCAN_INDEX_VALUES:
    case SCAN_INDEX_RANGE:
        return next_of_index(s);
    default:
        rec = table_walk_next(s->walk);
        s->over = rec == NULL;
        return rec;
    }
}

const struct record *scan_next(struct scan *s) {
    const struct record *rec;

    s->paused = false;
    if (s->over)
        return NULL;
    if (s->sweep != NULL)
        return next_of_sweep(s);
    for (uint32_t passed = 0; (rec = next_of_path(s)) != NULL; passed++) {
        s->before = s->last;
        s->last = rec;
        if (EG_LIKELY(!shard_expired(rec, s->now_ms)))
            return rec;
        s->paused = passed + 1 == PASSED_MAX;
        if (s->paused)
            return NULL;
    }
    return NULL;
}

bool scan_paused(const struct scan *s) {
    return s->paused;
}

struct record_batch scan_next_batch(struct scan *s) {
    if (s->sweep != NULL)
        return batch_of_sweep(s);
    s->one = scan_next(s);
    return (struct record_batch){.record = &s->one, .count = s->one != NULL};
}
