/* shard_floor.c -- one clock more, and two questions about one record. */
#include "tables/shard_floor.h"

#include "engine/planted.h"
#include "tables/shard_copy.h"
#include "tables/shard_stamp.h"
#include "tables/table_private.h"

eg_err shard_floor_raise(struct shard *s, struct record_version version) {
    struct shard_floor *floor = &s->copy->floor;
    uint16_t slot = dot_slot(version.dot);
    uint64_t sequence = dot_sequence(version.dot), from;

    if (PLANTED(FLOOR_NOT_RAISED))
        return EG_OK;
    floor->hlc = EG_MAX(floor->hlc, version.hlc);
    if (shard_clock_covers(&floor->clock, version.dot))
        return EG_OK;
    from = shard_clock_from(shard_copy_clock(s), slot, sequence);
    return shard_clock_add(&floor->clock, slot, from == 0 ? sequence : from, sequence);
}

eg_err shard_floor_merge(struct shard *s, const struct shard_floor *floor) {
    s->copy->floor.hlc = EG_MAX(s->copy->floor.hlc, floor->hlc);
    if ((floor->hlc & SHARD_STAMP_VIEWS) != 0)
        s->hlc = EG_MAX(s->hlc, floor->hlc);
    else /* what we write is later still */
        s->copy->ahead = EG_MAX(s->copy->ahead, floor->hlc);
    return shard_clock_merge(&s->copy->floor.clock, &floor->clock);
}

/* ---- a bound -----------------------------------------------------------------------------------
 */

void shard_floor_account(struct shard *s) {
    struct world *w = s->table->world;
    uint64_t now = s->copy->graves.bytes, said = s->copy->graves_said;

    if (now == said)
        return;
    atomic_fetch_add_explicit(&w->grave_bytes, (int64_t) (now - said), memory_order_relaxed);
    atomic_fetch_add_explicit(&w->grave_shards, (now != 0) - (said != 0), memory_order_relaxed);
    s->copy->graves_said = now;
}

enum { AGES = 256 };

/* How many bytes of graves there are of each age, of as many between the oldest and the latest. */
struct ages {
    uint64_t oldest, latest, step;
    uint64_t bytes[AGES];
};

static bool find_ends(void *context, const struct grave *g) {
    struct ages *a = context;

    a->oldest = EG_MIN(a->oldest, g->version.hlc);
    a->latest = EG_MAX(a->latest, g->version.hlc);
    return false;
}

static bool count_age(void *context, const struct grave *g) {
    struct ages *a = context;

    a->bytes[(g->version.hlc - a->oldest) / a->step] += grave_bytes(g);
    return false;
}

void shard_floor_cut(struct shard *s, const struct shard_clock *covered, uint64_t limit_bytes) {
    struct ages a = {.oldest = UINT64_MAX};
    struct graves *graves = &s->copy->graves;
    uint64_t left = graves->bytes;
    uint32_t age = 0;

    if (graves->bytes <= limit_bytes)
        return;
    graves_sift(graves, find_ends, &a);
    a.step = (a.latest - a.oldest) / AGES + 1;
    graves_sift(graves, count_age, &a);
    while (left > limit_bytes && age < AGES)
        left -= a.bytes[age++];
    (void) shard_copy_forget(s, covered,
                             a.oldest + a.step * age - 1); /* how many is of no use here */
    shard_floor_account(s);
}

/* ---- what another copy has ---------------------------------------------------------------------
 */

/* The record that has the item's key, and of a bag its value.  EG_NOT_FOUND: none. */
static eg_err find(struct shard_turn *t, const struct shard_item *item, struct key *k,
                   const struct record **rec) {
    struct shard *s = t->shard;
    struct value v = item->value;
    eg_err err;

    if (s->store->bag && !array_element(item->value, 0, &v))
        return EG_BAD_REQUEST;
    err = key_prepare(k, v, s->table->seed, s->table->world->o.alloc);
    if (err != EG_OK)
        return err == EG_MEMORY ? err : EG_BAD_REQUEST;
    if (shard_of(s->table, k->hash) != s) {
        err = EG_BAD_REQUEST;
    } else {
        *rec = shard_copy_find(t, k, item->value);
        if (*rec == NULL)
            err = reader_take_fault(t->reader);
        if (err == EG_OK && *rec == NULL)
            err = EG_NOT_FOUND;
    }
    if (err != EG_OK)
        key_release(k);
    return err;
}

bool shard_floor_is_gone(struct shard_turn *t, const struct shard_item *item) {
    struct shard *s = t->shard;
    const struct record *rec;
    uint16_t slot;
    uint64_t dot;
    struct key k;
    eg_err err;

    if (item->sequence == 0 || item->sequence > DOT_SEQUENCE_MAX ||
        origins_known(s->table->world->origins, item->origin, &slot) != EG_OK)
        return false;
    dot = dot_make(slot, item->sequence);
    if (!shard_clock_covers(shard_copy_clock(s), dot))
        return false;
    err = find(t, item, &k, &rec);
    if (err != EG_OK)
        return err == EG_NOT_FOUND;
    key_release(&k);
    return rec->dot != dot;
}

eg_err shard_floor_let_go(struct shard_turn *t, const struct shard_item *item) {
    const struct origins *o = t->shard->table->world->origins;
    const struct record *rec;
    struct key k;
    eg_err err = find(t, item, &k, &rec);

    if (err != EG_OK)
        return err == EG_NOT_FOUND ? EG_OK : err;
    if (origin_of(o, dot_slot(rec->dot)) == item->origin &&
        dot_sequence(rec->dot) == item->sequence) {
        t->remote = t->leaving = true;
        t->version = (struct record_version){rec->hlc, rec->dot};
        err = shard_remove(t, &k, rec);
        t->version = (struct record_version){0, 0};
        t->remote = t->leaving = false;
    }
    key_release(&k);
    return err;
}

eg_err shard_floor_renew(struct shard_turn *t, const struct shard_item *item,
                         const struct shard_clock *knows, uint64_t floor_hlc) {
    struct shard *s = t->shard;
    const struct record *rec;
    struct shard_offer offer;
    uint16_t slot;
    uint64_t dot;
    struct key k;
    eg_err err;

    if (origins_known(s->table->world->origins, item->origin, &slot) != EG_OK)
        return EG_OK;
    dot = dot_make(slot, item->sequence);
    if (shard_clock_covers(knows, dot))
        return EG_OK;
    err = find(t, item, &k, &rec);
    if (err != EG_OK)
        return err == EG_NOT_FOUND ? EG_OK : err;
    key_release(&k);
    if (rec->dot != dot || rec->hlc > floor_hlc)
        return EG_OK;
    shard_stamp_hear(t, floor_hlc);
    offer = (struct shard_offer){.version = {rec->hlc, rec->dot},
                                 .expiry_ms = record_expiry_ms(rec),
                                 .record = record_value(rec),
                                 .state = record_state(rec)};
    return shard_copy_mend(t, &offer, SHARD_MEND_WRITE);
}
