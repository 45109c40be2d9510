/* shard_clock.c -- sorted entries, in each sorted islands.
 *
 * Invariants (shard_clock_check)
 *   (1) entries ascend by slot.
 *   (2) islands ascend, do not touch each other, and the first does not touch the base. */
#include "tables/shard_clock.h"

#include <string.h>

enum { ENTRY_ROOM = 4, ISLAND_ROOM = 4, ISLANDS_MAX = 1 << 20 };

void shard_clock_fini(struct shard_clock *c) {
    for (uint32_t i = 0; i < c->count; i++)
        alloc_put(c->alloc, c->entry[i].island,
                  c->entry[i].island_room * sizeof *c->entry[i].island);
    alloc_put(c->alloc, c->entry, c->room * sizeof *c->entry);
    shard_clock_init(c, c->alloc);
}

/* ---- entries ------------------------------------------------------------------------- */

/* The first entry at or behind the slot. */
static uint32_t entry_place(const struct shard_clock *c, uint16_t slot) {
    uint32_t low = 0, high = c->count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (c->entry[middle].slot < slot)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct clock_entry *entry_of(const struct shard_clock *c, uint16_t slot) {
    uint32_t at = entry_place(c, slot);
    return at < c->count && c->entry[at].slot == slot ? &c->entry[at] : NULL;
}

/* NULL: no memory. */
static struct clock_entry *entry_make(struct shard_clock *c, uint16_t slot) {
    struct clock_entry *there = entry_of(c, slot);
    uint32_t at;

    if (there != NULL)
        return there;
    if (c->count == c->room) {
        uint32_t room = EG_MAX(2 * c->room, (uint32_t) ENTRY_ROOM);
        struct clock_entry *more =
            alloc_resize(c->alloc, c->entry, c->room * sizeof *more, room * sizeof *more);
        if (more == NULL)
            return NULL;
        c->entry = more;
        c->room = room;
    }
    at = entry_place(c, slot);
    memmove(&c->entry[at + 1], &c->entry[at], (c->count - at) * sizeof *c->entry);
    c->entry[at] = (struct clock_entry){.slot = slot};
    c->count++;
    return &c->entry[at];
}

/* ---- islands ---------------------------------------------------------------------------- */

/* The first island that ends at or behind `sequence`. */
static uint32_t island_place(const struct clock_entry *e, uint64_t sequence) {
    uint32_t low = 0, high = e->island_count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (e->island[middle].to < sequence)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void islands_remove(struct clock_entry *e, uint32_t at, uint32_t count) {
    memmove(&e->island[at], &e->island[at + count],
            (e->island_count - at - count) * sizeof *e->island);
    e->island_count -= count;
}

/* The base takes in the islands that it has reached. */
static void base_reach(struct clock_entry *e) {
    uint32_t count = 0;

    while (count < e->island_count && e->island[count].from <= e->base + 1) {
        e->base = EG_MAX(e->base, e->island[count].to);
        count++;
    }
    if (count != 0)
        islands_remove(e, 0, count);
}

static bool island_room(struct shard_clock *c, struct clock_entry *e) {
    uint32_t room = EG_MAX(2 * e->island_room, (uint32_t) ISLAND_ROOM);
    struct clock_island *more;

    if (e->island_count < e->island_room)
        return true;
    if (e->island_count >= ISLANDS_MAX)
        return false;
    more = alloc_resize(c->alloc, e->island, e->island_room * sizeof *more, room * sizeof *more);
    if (more == NULL)
        return false;
    e->island = more;
    e->island_room = room;
    return true;
}

static eg_err island_add(struct shard_clock *c, struct clock_entry *e, uint64_t from, uint64_t to) {
    uint32_t at, end;

    if (!island_room(c, e))
        return EG_MEMORY;
    at = island_place(e, from - 1); /* one that ends right before it grows */
    for (end = at; end < e->island_count && e->island[end].from <= to + 1; end++) {
        from = EG_MIN(from, e->island[end].from);
        to = EG_MAX(to, e->island[end].to);
    }
    if (end == at) {
        memmove(&e->island[at + 1], &e->island[at], (e->island_count - at) * sizeof *e->island);
        e->island_count++;
    } else {
        islands_remove(e, at + 1, end - at - 1);
    }
    e->island[at] = (struct clock_island){from, to};
    return EG_OK;
}

eg_err shard_clock_add(struct shard_clock *c, uint16_t slot, uint64_t from, uint64_t to) {
    struct clock_entry *e;

    EG_ASSERT(from >= 1);
    EG_ASSERT(to <= DOT_SEQUENCE_MAX);
    if (from > to)
        return EG_OK;
    e = entry_make(c, slot);
    if (e == NULL)
        return EG_MEMORY;
    if (to <= e->base)
        return EG_OK;
    if (from > e->base + 1)
        return island_add(c, e, from, to);
    e->base = to;
    base_reach(e);
    return EG_OK;
}

void shard_clock_set(struct shard_clock *c, uint16_t slot, uint64_t base) {
    struct clock_entry *e = entry_of(c, slot);

    EG_ASSERT(e != NULL);
    EG_ASSERT(e->island_count == 0);
    e->base = base;
}

void shard_clock_clear(struct shard_clock *c) {
    for (uint32_t i = 0; i < c->count; i++) {
        c->entry[i].base = 0;
        c->entry[i].island_count = 0;
    }
}

/* ---- asking --------------------------------------------------------------------------------- */

bool shard_clock_covers(const struct shard_clock *c, uint64_t dot) {
    const struct clock_entry *e = entry_of(c, dot_slot(dot));
    uint64_t sequence = dot_sequence(dot);
    uint32_t at;

    if (e == NULL)
        return false;
    if (EG_LIKELY(sequence <= e->base))
        return true;
    at = island_place(e, sequence);
    return at < e->island_count && e->island[at].from <= sequence;
}

uint64_t shard_clock_base(const struct shard_clock *c, uint16_t slot) {
    const struct clock_entry *e = entry_of(c, slot);
    return e == NULL ? 0 : e->base;
}

uint64_t shard_clock_reach(const struct shard_clock *c, uint16_t slot, uint64_t sequence) {
    const struct clock_entry *e = entry_of(c, slot);
    uint32_t at;

    if (e == NULL || sequence <= e->base)
        return e == NULL ? 0 : e->base;
    at = island_place(e, sequence);
    return at < e->island_count && e->island[at].from <= sequence ? e->island[at].to : e->base;
}

uint64_t shard_clock_from(const struct shard_clock *c, uint16_t slot, uint64_t sequence) {
    const struct clock_entry *e = entry_of(c, slot);
    uint32_t at;

    if (e == NULL || sequence <= e->base)
        return e != NULL;
    at = island_place(e, sequence);
    return at < e->island_count && e->island[at].from <= sequence ? e->island[at].from : 0;
}

uint64_t shard_clock_last(const struct shard_clock *c, uint16_t slot) {
    const struct clock_entry *e = entry_of(c, slot);

    if (e == NULL)
        return 0;
    return e->island_count == 0 ? e->base : e->island[e->island_count - 1].to;
}

/* A stretch is covered by the base or by one island: islands do not touch. */
static bool stretch_is_covered(const struct clock_entry *e, uint64_t from, uint64_t to) {
    uint32_t at;

    if (to <= e->base)
        return true;
    at = island_place(e, to);
    return at < e->island_count && e->island[at].from <= from;
}

bool shard_clock_has(const struct shard_clock *c, const struct shard_clock *part) {
    for (uint32_t i = 0; i < part->count; i++) {
        const struct clock_entry *p = &part->entry[i];
        const struct clock_entry *e = entry_of(c, p->slot);

        if (p->base == 0 && p->island_count == 0)
            continue;
        if (e == NULL || e->base < p->base)
            return false;
        for (uint32_t n = 0; n < p->island_count; n++)
            if (!stretch_is_covered(e, p->island[n].from, p->island[n].to))
                return false;
    }
    return true;
}

bool shard_clock_is_empty(const struct shard_clock *c) {
    for (uint32_t i = 0; i < c->count; i++)
        if (c->entry[i].base != 0 || c->entry[i].island_count != 0)
            return false;
    return true;
}

eg_err shard_clock_merge(struct shard_clock *c, const struct shard_clock *other) {
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < other->count && err == EG_OK; i++) {
        const struct clock_entry *e = &other->entry[i];

        err = shard_clock_add(c, e->slot, 1, e->base);
        for (uint32_t n = 0; n < e->island_count && err == EG_OK; n++)
            err = shard_clock_add(c, e->slot, e->island[n].from, e->island[n].to);
    }
    return err;
}

eg_err shard_clock_copy(struct shard_clock *to, const struct shard_clock *from) {
    eg_err err;

    shard_clock_fini(to);
    err = shard_clock_merge(to, from);
    if (err != EG_OK)
        shard_clock_fini(to);
    return err;
}

/* ---- wire and disc -----------------------------------------------------------------------------
 */

void shard_clock_put(const struct shard_clock *c, const struct origins *origins,
                     struct value_writer *w) {
    value_put_array(w, c->count);
    for (uint32_t i = 0; i < c->count; i++) {
        const struct clock_entry *e = &c->entry[i];

        value_put_array(w, 2 + 2 * e->island_count);
        value_put_u64(w, origins == NULL ? e->slot : origin_of(origins, e->slot));
        value_put_u64(w, e->base);
        for (uint32_t n = 0; n < e->island_count; n++) {
            value_put_u64(w, e->island[n].from);
            value_put_u64(w, e->island[n].to);
        }
    }
}

static bool next_number(struct value_iter *it, uint64_t *n) {
    struct value v;
    return value_iter_next(it, &v) && value_is_integer(v) && value_get_u64(v, n);
}

static eg_err slot_of(struct origins *origins, uint64_t said, uint16_t *slot) {
    if (origins != NULL)
        return origins_slot(origins, said, slot);
    if (said >= ORIGINS_MAX)
        return EG_BAD_REQUEST;
    *slot = (uint16_t) said;
    return EG_OK;
}

/* `known`: the slot that it has, or EG_NOT_FOUND. */
static eg_err slot_to_add(struct origins *origins, bool known, uint64_t said, uint16_t *slot) {
    return known ? origins_known(origins, said, slot) : slot_of(origins, said, slot);
}

static eg_err entry_get(struct shard_clock *c, struct origins *origins, bool known,
                        struct value v) {
    struct value_iter it;
    uint64_t said, base, from, to;
    uint16_t slot;
    eg_err err;

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) < 2 || value_count(v) % 2 != 0)
        return EG_BAD_REQUEST;
    it = value_iter_of(v);
    if (!next_number(&it, &said) || !next_number(&it, &base) || base > DOT_SEQUENCE_MAX)
        return EG_BAD_REQUEST;
    err = slot_to_add(origins, known, said, &slot);
    if (err == EG_OK)
        err = shard_clock_add(c, slot, 1, base);
    for (uint32_t left = value_count(v) - 2; left > 0 && err == EG_OK; left -= 2) {
        if (!next_number(&it, &from) || !next_number(&it, &to) || from < 1 || from > to ||
            to > DOT_SEQUENCE_MAX)
            return EG_BAD_REQUEST;
        err = shard_clock_add(c, slot, from, to);
    }
    return err;
}

eg_err shard_clock_get(struct shard_clock *c, struct origins *origins, struct value v) {
    struct value_iter it;
    struct value entry;
    eg_err err = EG_OK;

    if (value_kind_of(v) != VALUE_ARRAY)
        return EG_BAD_REQUEST;
    it = value_iter_of(v);
    while (err == EG_OK && value_iter_next(&it, &entry))
        err = entry_get(c, origins, false, entry);
    return err;
}

eg_err shard_clock_get_known(struct shard_clock *c, const struct origins *origins, struct value v,
                             bool *all) {
    struct value_iter it;
    struct value entry;
    eg_err err = EG_OK;

    if (value_kind_of(v) != VALUE_ARRAY)
        return EG_BAD_REQUEST;
    it = value_iter_of(v);
    *all = true;
    while (err == EG_OK && value_iter_next(&it, &entry)) {
        err = entry_get(c, (struct origins *) origins, true, entry);
        *all &= err == EG_OK;
        if (err == EG_NOT_FOUND)
            err = EG_OK;
    }
    return err;
}

void shard_clock_check(const struct shard_clock *c) {
    for (uint32_t i = 0; i < c->count; i++) {
        const struct clock_entry *e = &c->entry[i];
        uint64_t last = e->base;

        EG_ASSERT(i == 0 || c->entry[i - 1].slot < e->slot);
        for (uint32_t n = 0; n < e->island_count; n++) {
            EG_ASSERT(e->island[n].from > last + 1);
            EG_ASSERT(e->island[n].to >= e->island[n].from);
            last = e->island[n].to;
        }
    }
}
