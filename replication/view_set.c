/* view_set.c -- sorted arrays of nodes' starts, and the id that a set of them gives a view. */
#include "replication/view_set.h"

#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static uint32_t place_of(const struct view_set *s, uint64_t id) {
    uint32_t low = 0, high = s->count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (s->start[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void view_set_add(struct view_set *s, struct view_start start) {
    uint32_t at = place_of(s, start.id);

    if (at == s->count || s->start[at].id != start.id) {
        EG_ASSERT(s->count < NODES_MAX);
        memmove(&s->start[at + 1], &s->start[at], (s->count - at) * sizeof s->start[0]);
        s->count++;
    }
    s->start[at] = start;
}

bool view_set_has(const struct view_set *s, struct view_start start) {
    uint32_t at = place_of(s, start.id);
    return at < s->count && s->start[at].id == start.id &&
           s->start[at].incarnation == start.incarnation;
}

bool view_set_covers(const struct view_set *s, const struct view_set *all) {
    for (uint32_t i = 0; i < all->count; i++) {
        if (!view_set_has(s, all->start[i]))
            return false;
    }
    return true;
}

bool view_set_equal(const struct view_set *a, const struct view_set *b) {
    return a->count == b->count && memcmp(a->start, b->start, a->count * sizeof a->start[0]) == 0;
}

void view_set_put(const struct view_set *s, struct value_writer *w) {
    value_put_array(w, 2 * s->count);
    for (uint32_t i = 0; i < s->count; i++) {
        value_put_u64(w, s->start[i].id);
        value_put_u64(w, s->start[i].incarnation);
    }
}

bool view_set_get(struct view_set *out, struct value v) {
    struct value_iter it;
    struct value id, incarnation;
    uint32_t count = value_count(v);

    if (value_kind_of(v) != VALUE_ARRAY || count % 2 != 0 || count > 2 * NODES_MAX)
        return false;
    out->count = 0;
    it = value_iter_of(v);
    while (value_iter_next(&it, &id) && value_iter_next(&it, &incarnation)) {
        struct view_start *s = &out->start[out->count];
        if (!value_get_u64(id, &s->id) || !value_get_u64(incarnation, &s->incarnation) ||
            (out->count > 0 && s->id <= s[-1].id))
            return false;
        out->count++;
    }
    return true;
}

struct view_id view_set_id(const struct view_set *s, uint64_t epoch) {
    uint8_t at[16 + NODES_MAX * 18];
    struct value_writer w = value_writer_init(at, sizeof at);
    struct view_id id = {.epoch = epoch};

    value_put_u64(&w, epoch);
    view_set_put(s, &w);
    EG_ASSERT(!w.overflow);
    id.hash = XXH3_64bits(at, w.need_bytes);
    return id;
}

void view_id_text(struct view_id id, char text[VIEW_ID_TEXT_BYTES]) {
    snprintf(text, VIEW_ID_TEXT_BYTES, "%llx-%016llx", (unsigned long long) id.epoch,
             (unsigned long long) id.hash);
}
