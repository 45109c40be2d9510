/* origin.c -- an array by slot, a hash table by origin, and a row of the meta table for each. */
#include "tables/origin.h"

#include "engine/env.h"
#include "engine/planted.h"
#include "tables/disc.h"

enum { ORIGIN_ROW_BYTES = 3, ORIGIN_VALUE_BYTES = 8 };

/* ---- looking ----------------------------------------------------------------------- */

/* Origins are random: any of their bits will do. */
static uint32_t first_place(uint64_t origin) {
    return (uint32_t) (origin % ORIGIN_PLACES);
}

/* Its slot, or a free place for it: false. */
static bool find(const struct origins *o, uint64_t origin, uint32_t *place, uint16_t *slot) {
    for (uint32_t at = first_place(origin);; at = (at + 1) % ORIGIN_PLACES) {
        uint32_t there = atomic_load_explicit(&o->place[at], memory_order_acquire);

        *place = at;
        if (there == 0)
            return false;
        *slot = (uint16_t) (there - 1);
        if (origin_of(o, *slot) == origin)
            return true;
    }
}

static void enter(struct origins *o, uint64_t origin, uint16_t slot) {
    uint16_t other;
    uint32_t place;

    if (find(o, origin, &place, &other))
        return;
    atomic_store_explicit(&o->origin[slot], origin, memory_order_release);
    atomic_store_explicit(&o->place[place], slot + 1u, memory_order_release);
    if (slot >= atomic_load_explicit(&o->count, memory_order_relaxed))
        atomic_store_explicit(&o->count, slot + 1u, memory_order_release);
}

/* ---- the disc ------------------------------------------------------------------------ */

/* A later change of anything reaches the disc after this, so that no record outlives its origin. */
static eg_err remember(struct origins *o, uint16_t slot, uint64_t origin) {
    const uint8_t key[ORIGIN_ROW_BYTES] = {DISC_META_ORIGIN, (uint8_t) (slot >> 8), (uint8_t) slot};
    uint8_t value[ORIGIN_VALUE_BYTES];
    struct disc_batch b;
    eg_err err;

    if (o->disc == NULL || !origins_met(o))
        return EG_OK;
    for (unsigned i = 0; i < ORIGIN_VALUE_BYTES; i++)
        value[i] = (uint8_t) (origin >> 8 * i);
    disc_batch_init(&b, o->alloc);
    b.patient = true;
    err = disc_batch_put(&b, o->disc->meta, (struct disc_bytes){key, sizeof key},
                         (struct disc_bytes){value, sizeof value});
    if (err == EG_OK)
        err = disc_write(o->disc, &b);
    disc_batch_fini(&b);
    return err;
}

static eg_err read_row(struct origins *o, const struct disc_iter *it) {
    uint64_t origin = 0;

    if (it->key.size_bytes != ORIGIN_ROW_BYTES || it->value.size_bytes != ORIGIN_VALUE_BYTES)
        return EG_CORRUPT;
    for (unsigned i = 0; i < ORIGIN_VALUE_BYTES; i++)
        origin |= (uint64_t) it->value.at[i] << 8 * i;
    enter(o, origin, (uint16_t) (it->key.at[1] << 8 | it->key.at[2]));
    return EG_OK;
}

static eg_err read_all(struct origins *o) {
    const uint8_t from[] = {DISC_META_ORIGIN}, to[] = {DISC_META_ORIGIN + 1};
    const struct disc_range range = {.from = {from, sizeof from}, .to = {to, sizeof to}};
    struct disc_iter *it;
    eg_err err;

    if (o->disc == NULL)
        return EG_OK;
    err = disc_iter_open(o->disc, o->disc->meta, &range, &it);
    if (err != EG_OK)
        return err;
    it->ops->seek(it, range.from);
    while (err == EG_OK && it->valid) {
        err = read_row(o, it);
        it->ops->next(it);
    }
    if (err == EG_OK)
        err = it->err;
    it->ops->close(it);
    return err;
}

/* ---- open, meet, add -------------------------------------------------------------------- */

static eg_err add(struct origins *o, uint64_t origin, uint16_t *slot) {
    uint32_t count = atomic_load_explicit(&o->count, memory_order_relaxed);
    eg_err err;

    if (count == ORIGINS_MAX)
        return EG_TOO_LARGE;
    err = remember(o, (uint16_t) count, origin);
    if (err != EG_OK)
        return err;
    enter(o, origin, (uint16_t) count);
    *slot = (uint16_t) count;
    return EG_OK;
}

eg_err origins_open(struct origins **out, struct alloc *a, struct disc *disc, struct env *env,
                    struct err_note *note) {
    struct origins *o = alloc_map(a, sizeof *o);
    eg_err err;

    if (o == NULL)
        return EG_MEMORY;
    o->alloc = a;
    o->disc = disc;
    err = read_all(o);
    if (err == EG_OK) {
        atomic_store(&o->met, atomic_load(&o->count) != 0);
        if (!PLANTED(ORIGIN_KEPT_OVER_A_START) || !origins_met(o))
            err = add(o, env_random(env) | 1, &o->own); /* 0 is nobody's */
    }
    if (err != EG_OK) {
        origins_close(o);
        return err_note(note, err, "the origins of changes cannot be read back or added to");
    }
    *out = o;
    return EG_OK;
}

void origins_close(struct origins *o) {
    alloc_unmap(o->alloc, o, sizeof *o);
}

eg_err origins_meet(struct origins *o) {
    eg_err err;

    if (origins_met(o))
        return EG_OK;
    EG_ASSERT(o->own == 0);
    atomic_store(&o->met, true);
    err = remember(o, 0, origin_of(o, 0));
    if (err != EG_OK)
        atomic_store(&o->met, false);
    return err;
}

eg_err origins_known(const struct origins *o, uint64_t origin, uint16_t *slot) {
    uint32_t place;

    return origin != 0 && find(o, origin, &place, slot) ? EG_OK : EG_NOT_FOUND;
}

eg_err origins_slot(struct origins *o, uint64_t origin, uint16_t *slot) {
    uint32_t place;
    eg_err err = EG_OK;

    if (origin == 0)
        return EG_BAD_REQUEST;
    if (EG_LIKELY(find(o, origin, &place, slot)))
        return EG_OK;
    while (atomic_flag_test_and_set_explicit(&o->adding, memory_order_acquire))
        EG_CPU_RELAX(); /* rare, and as long as a row takes to be written */
    if (!find(o, origin, &place, slot))
        err = add(o, origin, slot);
    atomic_flag_clear_explicit(&o->adding, memory_order_release);
    return err;
}
