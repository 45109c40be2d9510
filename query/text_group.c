/* text_group.c -- aggregates, for all rows or for each group of them. */
#include "query/text_group.h"

#include "query/text_field.h"
#include "tables/key.h"

#include <math.h>
#include <string.h>

enum { FIRST_SLOTS = 64, BEST_ROOM = 16, NUMBER_BYTES = 9, HEADER_BYTES = 5 };

static bool is_nil(struct value v) {
    return v.at[0] == 0xc0;
}

/* ---- one tally -------------------------------------------------------------------------- */

/* Neumaier's sum: what a small number loses beside a large one is added at the end. */
static void add_float(struct text_tally *t, double d) {
    double sum = t->sum + d;

    if (isfinite(sum))
        t->lost += fabs(t->sum) >= fabs(d) ? (t->sum - sum) + d : (d - sum) + t->sum;
    t->sum = sum;
}

static void add_number(struct text_tally *t, struct value v) {
    uint64_t large;
    int64_t n;
    double d;

    if (text_field_integer(v.at, &n)) {
        text_tally_add_integer(t, (uint64_t) n, n < 0);
    } else if (value_is_integer(v) && value_get_u64(v, &large)) {
        text_tally_add_integer(t, large, false);
    } else if (value_is_float(v) && value_get_double(v, &d)) {
        t->real = true;
        add_float(t, d);
    } else {
        return; /* what is no number adds nothing */
    }
    t->numbers++;
}

static eg_err keep_best(struct text_tally *t, struct text_memory *m, struct value v) {
    t->whole = text_field_integer(v.at, &t->best_integer);
    if (v.size_bytes > t->best_room) {
        uint32_t room = EG_MAX((uint32_t) BEST_ROOM, v.size_bytes);
        uint8_t *best = text_memory_get(m, room);
        if (best == NULL)
            return room > TEXT_MEMORY_MAX - m->used_bytes ? EG_TOO_LARGE : EG_MEMORY;
        text_memory_put(m, t->best, t->best_room);
        t->best = best;
        t->best_room = room;
    }
    memcpy(t->best, v.at, v.size_bytes);
    t->best_bytes = v.size_bytes;
    return EG_OK;
}

eg_err text_tally_add(struct text_tally *t, enum text_aggregate kind, struct value v,
                      struct text_memory *m) {
    int64_t n;
    int order;

    if (is_nil(v))
        return EG_OK;
    t->count++;
    switch (kind) {
    case TEXT_COUNT:
        return EG_OK;
    case TEXT_SUM:
    case TEXT_AVG:
        add_number(t, v);
        return EG_OK;
    case TEXT_MIN:
    case TEXT_MAX:
        break;
    }
    if (t->best != NULL) {
        if (t->whole && text_field_integer(v.at, &n))
            order = (n > t->best_integer) - (n < t->best_integer);
        else
            order = value_compare(v, (struct value){t->best, t->best_bytes});
        if (kind == TEXT_MIN ? order >= 0 : order <= 0)
            return EG_OK;
    }
    return keep_best(t, m, v);
}

eg_err text_tally_merge(struct text_tally *t, enum text_aggregate kind,
                        const struct text_tally *other, struct value best, struct text_memory *m) {
    uint64_t count = t->count + other->count;
    eg_err err = EG_OK;

    if ((kind == TEXT_MIN || kind == TEXT_MAX) && !is_nil(best))
        err = text_tally_add(t, kind, best, m);
    t->count = count;
    t->numbers += other->numbers;
    t->real |= other->real;
    t->high += other->high + __builtin_add_overflow(t->low, other->low, &t->low);
    add_float(t, other->sum);
    t->lost += other->lost;
    return err;
}

static double whole_sum(const struct text_tally *t) {
    double integers = ldexp((double) t->high, 64) + (double) t->low;

    /* A negative sum that fits is all ones above: the halves would lose its last digits. */
    if (t->high == -1)
        integers = -(double) (0 - t->low);
    return integers + t->sum + (isfinite(t->sum) ? t->lost : 0);
}

static eg_err put_sum(const struct text_tally *t, struct value_writer *w, struct err_note *note) {
    if (t->numbers == 0)
        value_put_nil(w);
    else if (t->real)
        value_put_double(w, whole_sum(t));
    else if (t->high == 0)
        value_put_u64(w, t->low);
    else if (t->high == -1 && t->low >= (uint64_t) 1 << 63)
        value_put_i64(w, (int64_t) t->low);
    else
        return err_note(note, EG_BAD_REQUEST, "a sum of integers leaves 64 bits");
    return EG_OK;
}

static eg_err put(const struct text_tally *t, enum text_aggregate kind, struct buffer *out,
                  struct err_note *note) {
    uint8_t *room = buffer_room(out, NUMBER_BYTES + t->best_bytes);
    struct value_writer w;
    eg_err err = EG_OK;

    if (room == NULL)
        return EG_TOO_LARGE;
    w = value_writer_init(room, NUMBER_BYTES + t->best_bytes);
    switch (kind) {
    case TEXT_COUNT:
        value_put_u64(&w, t->count);
        break;
    case TEXT_SUM:
        err = put_sum(t, &w, note);
        break;
    case TEXT_AVG:
        if (t->numbers == 0)
            value_put_nil(&w);
        else
            value_put_double(&w, whole_sum(t) / (double) t->numbers);
        break;
    case TEXT_MIN:
    case TEXT_MAX:
        if (t->best == NULL)
            value_put_nil(&w);
        else
            value_put_raw(&w, (struct value){t->best, t->best_bytes});
        break;
    }
    out->size_bytes += w.need_bytes;
    return err;
}

/* ---- groups ------------------------------------------------------------------------------- */

static eg_err refused(const struct text_groups *g, size_t size_bytes) {
    return size_bytes > TEXT_MEMORY_MAX - g->memory->used_bytes ? EG_TOO_LARGE : EG_MEMORY;
}

static size_t group_bytes(const struct text_groups *g) {
    return sizeof(struct text_group) + g->plan->aggregate_count * sizeof(struct text_tally);
}

static uint64_t hash_of(const struct text_groups *g, const struct value *values) {
    uint64_t hash = 0;

    for (uint32_t i = 0; i < g->plan->group_count; i++)
        hash = key_hash(values[i], hash + 1);
    return hash;
}

static bool is_group(const struct text_groups *g, const struct text_group *group, uint64_t hash,
                     const struct value *values) {
    const uint8_t *at = group->values;

    if (group->hash != hash)
        return false;
    for (uint32_t i = 0; i < g->plan->group_count; i++) {
        struct value v = value_of(at);
        if (!value_equal(v, values[i]))
            return false;
        at += v.size_bytes;
    }
    return true;
}

static eg_err grow_slots(struct text_groups *g) {
    uint32_t slots = EG_MAX((uint32_t) FIRST_SLOTS, 2 * g->slots);
    uint32_t *slot = text_memory_get(g->memory, slots * sizeof *slot);

    if (slot == NULL)
        return refused(g, slots * sizeof *slot);
    memset(slot, 0, slots * sizeof *slot);
    for (uint32_t i = 0; i < g->count; i++) {
        uint64_t at = g->group[i]->hash & (slots - 1);
        while (slot[at] != 0)
            at = (at + 1) & (slots - 1);
        slot[at] = i + 1;
    }
    text_memory_put(g->memory, g->slot, g->slots * sizeof *slot);
    g->slot = slot;
    g->slots = slots;
    return EG_OK;
}

static eg_err grow_list(struct text_groups *g) {
    uint32_t room = EG_MAX((uint32_t) FIRST_SLOTS, 2 * g->room);
    struct text_group **group = text_memory_get(g->memory, room * sizeof(struct text_group *));

    if (group == NULL)
        return refused(g, room * sizeof(struct text_group *));
    if (g->count > 0)
        memcpy(group, g->group, g->count * sizeof(struct text_group *));
    text_memory_put(g->memory, g->group, g->room * sizeof(struct text_group *));
    g->group = group;
    g->room = room;
    return EG_OK;
}

/* The values of a new group, in a row. */
static const uint8_t *keep_values(struct text_groups *g, const struct value *values, eg_err *err) {
    struct buffer row;
    const uint8_t *kept = NULL;
    bool put = true;

    buffer_init(&row, g->memory->alloc, TEXT_MEMORY_MAX);
    for (uint32_t i = 0; i < g->plan->group_count && put; i++)
        put = buffer_append(&row, values[i].at, values[i].size_bytes);
    if (put)
        kept = text_store_copy(&g->store, row.at, row.size_bytes);
    if (kept == NULL)
        *err = refused(g, EG_MAX(row.size_bytes, (size_t) TEXT_CHUNK_BYTES));
    buffer_fini(&row);
    return kept;
}

static eg_err new_group(struct text_groups *g, uint64_t hash, const struct value *values,
                        struct text_group **out) {
    struct text_group *group;
    eg_err err = EG_OK;

    if (g->count == g->room)
        err = grow_list(g);
    if (err == EG_OK && 2 * (g->count + 1) > g->slots)
        err = grow_slots(g);
    if (err != EG_OK)
        return err;
    group = text_memory_get(g->memory, group_bytes(g));
    if (group == NULL)
        return refused(g, group_bytes(g));
    memset(group, 0, group_bytes(g));
    group->hash = hash;
    if (g->plan->group_count > 0)
        group->values = keep_values(g, values, &err);
    if (err != EG_OK) {
        text_memory_put(g->memory, group, group_bytes(g));
        return err;
    }
    g->group[g->count++] = group;
    *out = group;
    return EG_OK;
}

eg_err text_groups_find(struct text_groups *g, const struct value *values,
                        struct text_group **out) {
    uint64_t hash = hash_of(g, values), at;
    eg_err err;

    if (g->slots > 0)
        for (at = hash & (g->slots - 1); g->slot[at] != 0; at = (at + 1) & (g->slots - 1)) {
            *out = g->group[g->slot[at] - 1];
            if (is_group(g, *out, hash, values))
                return EG_OK;
        }
    err = new_group(g, hash, values, out);
    if (err != EG_OK)
        return err;
    at = hash & (g->slots - 1);
    while (g->slot[at] != 0)
        at = (at + 1) & (g->slots - 1);
    g->slot[at] = g->count;
    return EG_OK;
}

eg_err text_groups_init(struct text_groups *g, const struct text_plan *plan,
                        struct text_memory *memory) {
    *g = (struct text_groups){.plan = plan, .memory = memory, .store = {.memory = memory}};
    if (plan->group_count > 0)
        return EG_OK;
    return new_group(g, 0, NULL, &g->all);
}

bool text_groups_free_some(struct text_groups *g) {
    for (uint32_t n = 0; n < TEXT_GROUPS_PIECE && g->count > 0; n++) {
        struct text_group *group = g->group[--g->count];

        for (uint32_t k = 0; k < g->plan->aggregate_count; k++)
            text_memory_put(g->memory, group->tally[k].best, group->tally[k].best_room);
        text_memory_put(g->memory, group, group_bytes(g));
    }
    return g->count == 0;
}

void text_groups_fini(struct text_groups *g) {
    while (!text_groups_free_some(g))
        continue;
    text_store_clear(&g->store);
    text_memory_put(g->memory, g->group, g->room * sizeof(struct text_group *));
    text_memory_put(g->memory, g->slot, g->slots * sizeof *g->slot);
    *g = (struct text_groups){0};
}

eg_err text_groups_add(struct text_groups *g, const struct value *values) {
    const struct text_plan *p = g->plan;
    struct text_group *group = g->all;
    eg_err err = EG_OK;

    if (group == NULL)
        err = text_groups_find(g, values, &group);
    for (uint32_t i = 0; i < p->aggregate_count && err == EG_OK; i++) {
        if (p->aggregate_values[i] == UINT32_MAX)
            group->tally[i].count++;
        else
            err = text_tally_add(&group->tally[i], p->aggregates[i], values[p->aggregate_values[i]],
                                 g->memory);
    }
    return err;
}

/* A usual integer, counted without a call.  False: nothing was done. */
static inline bool add_usual(struct text_tally *t, enum text_aggregate kind, const uint8_t *at) {
    int64_t n;

    if (kind == TEXT_COUNT) {
        t->count += at[0] != 0xc0;
        return true;
    }
    if (!text_field_integer(at, &n))
        return false;
    if (kind == TEXT_SUM || kind == TEXT_AVG) {
        text_tally_add_integer(t, (uint64_t) n, n < 0);
        t->numbers++;
    } else if (!t->whole || (kind == TEXT_MIN ? n < t->best_integer : n > t->best_integer)) {
        return false; /* it may be the best so far */
    }
    t->count++;
    return true;
}

eg_err text_groups_add_fields(struct text_groups *g, const uint8_t *const *fields) {
    const struct text_plan *p = g->plan;
    struct text_tally *t = g->all->tally;
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < p->aggregate_count && err == EG_OK; i++, t++) {
        uint32_t value = p->aggregate_values[i];
        if (value == UINT32_MAX)
            t->count++;
        else if (!add_usual(t, p->aggregates[i], fields[p->fields[value]]))
            err =
                text_tally_add(t, p->aggregates[i], value_of(fields[p->fields[value]]), g->memory);
    }
    return err;
}

eg_err text_groups_put(struct text_groups *g, uint32_t i, struct buffer *out,
                       struct err_note *note) {
    const struct text_plan *p = g->plan;
    const struct text_group *group = g->group[i];
    uint32_t fields = p->group_count + p->aggregate_count;
    uint8_t *room = buffer_room(out, HEADER_BYTES + 1);
    const uint8_t *at = group->values;
    struct value_writer w;
    eg_err err = EG_OK;

    if (room == NULL)
        return EG_TOO_LARGE;
    w = value_writer_init(room, HEADER_BYTES + 1);
    value_put_array(&w, EG_MAX(1u, fields));
    if (fields == 0)
        value_put_nil(&w); /* a record has a field at least */
    out->size_bytes += w.need_bytes;
    for (uint32_t k = 0; k < p->group_count && err == EG_OK; k++) {
        struct value v = value_of(at);
        at += v.size_bytes;
        if (!buffer_append(out, v.at, v.size_bytes))
            err = EG_TOO_LARGE;
    }
    for (uint32_t k = 0; k < p->aggregate_count && err == EG_OK; k++)
        err = put(&group->tally[k], p->aggregates[k], out, note);
    return err;
}
