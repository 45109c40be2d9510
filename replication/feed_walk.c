/* feed_walk.c -- what a follower lacks, in bounded steps: the last changes where it can lack no
 * others (tables/recent.h), else a walk through the shard. */
#include "engine/env.h"
#include "engine/planted.h"
#include "replication/feed_private.h"
#include "tables/shard_mark.h"

enum {
    STEP_NS = 500 * 1000, /* how long one part of a walk may take */
    LOOK_AT_CLOCK_RECORDS = 32,
};

/* Put a change at the end of `out`; false: no memory. */
static bool out_change(struct feed *st, const struct record *rec, const struct grave *g,
                       const struct record_version *clear) {
    size_t body_bytes = rec != NULL ? record_array_bytes(rec) + record_state(rec).size_bytes
                        : g != NULL ? g->size_bytes
                                    : 0;
    uint8_t *room = buffer_room(&st->out, body_bytes + REPLICA_HEAD_BYTES);
    struct value_writer w =
        value_writer_init(room, room == NULL ? 0 : body_bytes + REPLICA_HEAD_BYTES);

    if (room == NULL)
        return false;
    if (rec != NULL)
        shard_copy_put_record(st->world->origins, rec, &w);
    else if (g != NULL)
        shard_copy_put_grave(st->world->origins, g, &w);
    else
        shard_copy_put_clear(st->world->origins, *clear, &w);
    st->out.size_bytes += w.need_bytes;
    return true;
}

/* A message of changes that is being filled by a walk. */
struct parcel {
    struct shard *shard;
    struct follower *follower;
    struct reader *reader;
    size_t count_at; /* where the array begins */
    uint32_t count;
    uint64_t until_ns;
    bool over; /* full, or the time is */
};

static bool parcel_takes(struct parcel *p, uint64_t dot) {
    return !shard_clock_covers(&p->follower->has, dot);
}

static void parcel_added(struct parcel *p) {
    struct feed *st = feed_of(p->shard);

    p->count++;
    p->over |= st->out.size_bytes >= REPLICA_BATCH_BYTES;
}

static eg_err walk_records(struct parcel *p) {
    struct shard *s = p->shard;
    struct feed *st = feed_of(s);
    struct follower *f = p->follower;
    struct store *store = s->store;
    const struct record *rec, *last = NULL;
    struct store_cursor c;
    uint32_t seen = 0;
    struct key k;

    if (f->place.size_bytes == 0) {
        store->ops->seek(store, p->reader, &c, NULL, false, false);
    } else {
        struct value v = {f->place.at, (uint32_t) f->place.size_bytes};
        eg_err err = table_key(s->table, &k, v);

        if (err != EG_OK)
            return err;
        store->ops->seek(store, p->reader, &c, &k, true, false);
        key_release(&k);
    }
    while ((rec = store->ops->next(store, p->reader, &c)) != NULL) {
        if ((p->over || (PLANTED(TAIL_NOT_WALKED) && p->count != 0)) &&
            !value_equal(record_key(last), record_key(rec)))
            break; /* between two keys */
        last = rec;
        if (parcel_takes(p, rec->dot) && !feed_compare_has(s, f->told, rec)) {
            if (!out_change(st, rec, NULL, NULL))
                return EG_MEMORY;
            parcel_added(p);
        }
        if (++seen % LOOK_AT_CLOCK_RECORDS == 0)
            p->over |= env_now_ns(st->world->env) >= p->until_ns;
    }
    if (reader_take_fault(p->reader) != EG_OK)
        return EG_DISC;
    if (rec == NULL || PLANTED(TAIL_NOT_WALKED)) {
        f->stage = WALK_GRAVES;
        return EG_OK;
    }
    buffer_clear(&f->place);
    return buffer_append(&f->place, record_key(last).at, record_key(last).size_bytes) ? EG_OK
                                                                                      : EG_MEMORY;
}

static eg_err walk_graves(struct parcel *p) {
    struct feed *st = feed_of(p->shard);
    struct follower *f = p->follower;
    const struct grave *g;

    while (!p->over) {
        if (!graves_walk(&p->shard->copy->graves, &f->grave_place, &f->graves_ended, &g)) {
            f->stage = WALK_END;
            return EG_OK;
        }
        for (; g != NULL && !PLANTED(GRAVES_NOT_WALKED); g = g->next) {
            if (!parcel_takes(p, g->version.dot))
                continue;
            if (!out_change(st, NULL, g, NULL))
                return EG_MEMORY;
            parcel_added(p);
        }
        p->over |= env_now_ns(st->world->env) >= p->until_ns;
    }
    return EG_OK;
}

/* ---- the last changes ------------------------------------------------------------------------ */

static eg_err recent_records(struct parcel *p, const struct key *k, uint64_t dot) {
    struct shard *s = p->shard;
    struct feed *st = feed_of(s);
    struct store *store = s->store;
    const struct record *rec;
    struct store_cursor c;

    store->ops->seek(store, p->reader, &c, k, false, false);
    while ((rec = store->ops->next(store, p->reader, &c)) != NULL &&
           value_equal(record_key(rec), k->value)) {
        if (rec->dot != dot)
            continue;
        if (!out_change(st, rec, NULL, NULL))
            return EG_MEMORY;
        parcel_added(p);
        return EG_OK;
    }
    return reader_take_fault(p->reader);
}

/* What that change has left: its record, its grave, or nothing where a later one took its place. */
static eg_err recent_change(struct parcel *p, uint64_t dot, struct value key) {
    struct shard *s = p->shard;
    struct feed *st = feed_of(s);
    uint32_t before = p->count;
    struct key k;
    eg_err err = table_key(s->table, &k, key);

    if (err != EG_OK)
        return err;
    err = recent_records(p, &k, dot);
    if (err == EG_OK && p->count == before && !PLANTED(GRAVES_NOT_WALKED))
        for (const struct grave *g = graves_with(&s->copy->graves, k.hash); g != NULL;
             g = graves_also(g)) {
            if (g->version.dot != dot)
                continue;
            if (!out_change(st, NULL, g, NULL))
                err = EG_MEMORY;
            parcel_added(p);
            break;
        }
    key_release(&k);
    return err;
}

static eg_err walk_recent(struct parcel *p) {
    struct feed *st = feed_of(p->shard);
    struct shard_copy *c = p->shard->copy;
    struct follower *f = p->follower;
    struct value key;
    uint64_t dot;
    eg_err err = EG_OK;

    if (!recent_stays(&c->recent, &f->recent))
        return EG_BUSY; /* so many have come meanwhile: then otherwise */
    while (err == EG_OK && !p->over) {
        if (!recent_next(&c->recent, &f->recent, &dot, &key) ||
            (PLANTED(TAIL_NOT_WALKED) && p->count != 0)) {
            f->stage = WALK_END;
            break;
        }
        if (!parcel_takes(p, dot))
            continue;
        if (key.size_bytes != 0)
            err = recent_change(p, dot, key);
        else if (c->cleared.dot == dot && out_change(st, NULL, NULL, &c->cleared))
            parcel_added(p);
        else if (c->cleared.dot == dot)
            err = EG_MEMORY;
        p->over |= env_now_ns(st->world->env) >= p->until_ns;
    }
    return err;
}

/* Is all that it lacks among the last changes? */
static bool is_recent(const struct shard *s, const struct follower *f) {
    const struct shard_clock *behind = recent_behind(&s->copy->recent);

    return behind != NULL && !s->copy->loose && shard_clock_has(&f->has, behind);
}

/* ---- a walk ------------------------------------------------------------------------------------
 */

/* What is prepared here, and what has ended lately: all of it, each time. */
static eg_err send_marks(struct shard *s, const struct follower *f) {
    struct feed *st = feed_of(s);
    uint8_t header[FEED_ARRAY32_BYTES] = {0xdd};
    uint32_t count;
    size_t at;

    if (s->tx == NULL && s->copy->marks == NULL)
        return EG_OK;
    if (!feed_out_begin(s, REPLICA_MISSING, 3, FEED_ARRAY32_BYTES) ||
        !feed_out_u64(st, f->session) || !feed_out_u64(st, s->store->ops->stats(s->store).count))
        return EG_MEMORY;
    at = st->out.size_bytes;
    if (!buffer_append(&st->out, header, sizeof header) ||
        shard_mark_put_all(s, &st->out, &count) != EG_OK)
        return EG_MEMORY;
    for (unsigned i = 0; i < 4; i++)
        st->out.at[at + 1 + i] = (uint8_t) (count >> (24 - 8 * i));
    return count == 0 || PLANTED(MARKS_NOT_WALKED) ? EG_OK : feed_out_send(st, f->node);
}

static eg_err send_end(struct shard *s, struct follower *f) {
    struct feed *st = feed_of(s);
    const struct origins *o = st->world->origins;
    uint64_t sequence;
    eg_err err;

    feed_flush(s); /* what the clock stands for comes before it */
    if (f->end_sequence == UINT64_MAX)
        return EG_OK; /* it was lost on the way: it follows anew */
    err = send_marks(s, f);
    if (err != EG_OK)
        return err;
    sequence = dot_sequence(s->sequence);
    if (!feed_out_begin(s, REPLICA_END, 1 + REPLICA_END_VALUES, 0) ||
        !feed_out_u64(st, f->session) || !feed_out_clock(st, &f->snapshot) ||
        !feed_out_u64(st, origin_of(o, o->own)) || !feed_out_u64(st, sequence) ||
        !feed_out_clock(st, &s->copy->floor.clock) || !feed_out_u64(st, s->copy->floor.hlc))
        return EG_MEMORY;
    f->end_sequence = sequence;
    return feed_out_send(st, f->node);
}

/* What was put together is not on its way: who follows will not mind what it gets twice. */
static eg_err walk_again(struct follower *f, eg_err err) {
    f->stage = f->walks ? WALK_CLEAR : WALK_WAITS; /* and passes over the same */
    buffer_clear(&f->place);
    f->grave_place = 0;
    f->graves_ended = false;
    return err;
}

bool feed_is_even(const struct feed *st) {
    bool even = !st->ragged && !st->partial;

    for (uint32_t i = 0; i < st->follower_count; i++)
        even &= !st->follower[i]->partial;
    return even;
}

/* May it begin?  EG_BUSY: others walk.  Where nothing is missing it is over at once. */
static eg_err walk_begin(struct actor *self, struct shard *s, struct follower *f) {
    struct feed_world *w = feed_of(s)->world;
    eg_err err;

    if (feed_is_even(feed_of(s)) && shard_clock_has(&f->has, &f->snapshot)) {
        err = send_end(s, f);
        f->stage = err == EG_OK ? WALK_OVER : WALK_WAITS;
        return err;
    }
    if (feed_is_even(feed_of(s)) && is_recent(s, f)) {
        recent_first(&s->copy->recent, &f->recent);
        f->stage = WALK_RECENT;
        return EG_OK;
    }
    if (feed_compare_offer(self, s, f, &err))
        return err;
    if (atomic_fetch_add(&w->walks, 1) >= REPLICA_FILLS) {
        atomic_fetch_sub(&w->walks, 1);
        return EG_BUSY;
    }
    f->walks = true;
    f->stage = WALK_CLEAR;
    return EG_OK;
}

static eg_err walk_clear(struct parcel *p) {
    const struct record_version *clear = &p->shard->copy->cleared;

    p->follower->stage = WALK_RECORDS;
    if (clear->hlc == 0 || PLANTED(CLEAR_NOT_WALKED) || !parcel_takes(p, clear->dot))
        return EG_OK;
    if (!out_change(feed_of(p->shard), NULL, NULL, clear))
        return EG_MEMORY;
    parcel_added(p);
    return EG_OK;
}

static eg_err walk_some(struct parcel *p) {
    eg_err err = EG_OK;

    if (p->follower->stage == WALK_RECENT)
        return walk_recent(p);
    if (p->follower->stage == WALK_CLEAR)
        err = walk_clear(p);
    if (err == EG_OK && p->follower->stage == WALK_RECORDS)
        err = walk_records(p);
    if (err == EG_OK && p->follower->stage == WALK_GRAVES)
        err = walk_graves(p);
    return err;
}

/* One part of a walk.  EG_BUSY: later. */
static eg_err walk_step(struct actor *self, struct shard *s, struct follower *f) {
    struct feed *st = feed_of(s);
    struct feed_world *w = st->world;
    struct parcel p = {.shard = s,
                       .follower = f,
                       .reader = shard_reader(s, self),
                       .until_ns = env_now_ns(w->env) + STEP_NS};
    uint8_t header[FEED_ARRAY32_BYTES] = {0xdd};
    eg_err err = EG_OK;

    if (f->stage == WALK_WAITS)
        err = walk_begin(self, s, f);
    if (err != EG_OK || f->stage == WALK_OVER || f->stage == WALK_COMPARES)
        return err;
    if (w->pending_bytes(w->user, f->node) > REPLICA_AHEAD_BYTES)
        return EG_BUSY;
    if (!feed_out_begin(s, REPLICA_MISSING, 3, FEED_ARRAY32_BYTES) ||
        !feed_out_u64(st, f->session) || !feed_out_u64(st, s->store->ops->stats(s->store).count))
        return EG_MEMORY;
    p.count_at = st->out.size_bytes;
    if (!buffer_append(&st->out, header, sizeof header))
        return EG_MEMORY;
    err = walk_some(&p);
    for (unsigned i = 0; i < 4; i++)
        st->out.at[p.count_at + 1 + i] = (uint8_t) (p.count >> (24 - 8 * i));
    if (err == EG_OK && p.count != 0)
        err = feed_out_send(st, f->node);
    if (err != EG_OK)
        return walk_again(f, err);
    if (f->stage == WALK_END) {
        err = send_end(s, f);
        if (err == EG_OK)
            feed_walk_ends(st, f);
    }
    return err;
}

void feed_step(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);
    bool more = feed_compare_step(self, s), wait = !more;

    for (uint32_t i = st->follower_count; i-- > 0;) {
        struct follower *f = st->follower[i];
        eg_err err;

        if (f->stage == WALK_OVER || f->stage == WALK_COMPARES || !feed_is_told(f))
            continue;
        err = walk_step(self, s, f);
        reader_reset(shard_reader(s, self));
        if (err != EG_OK && err != EG_BUSY && err != EG_MEMORY) {
            feed_drop_node(self, s, f->node); /* it follows anew */
            continue;
        }
        more |= f->stage != WALK_OVER && f->stage != WALK_COMPARES;
        wait &= err != EG_OK;
    }
    if (more)
        feed_step_soon(self, s, wait);
}
