/* recent.c -- two buffers of changes, of which the older goes when the newer is full. */
#include "tables/recent.h"

#include <string.h>

enum {
    ENTRY_BYTES = 12,  /* dot, size of the key; then the key */
    AHEAD_BYTES = 192, /* of what comes next: nobody has looked at that memory for long */
};

static void part_close(struct recent_part *p) {
    buffer_fini(&p->entries);
    shard_clock_fini(&p->behind);
}

static void part_begins(struct recent_part *p) {
    buffer_clear(&p->entries);
    p->first = p->last = 0;
    p->scattered = false;
}

void recent_fini(struct recent *r) {
    if (r->on) {
        part_close(&r->part[0]);
        part_close(&r->part[1]);
    }
    *r = (struct recent){.alloc = r->alloc, .part_bytes = r->part_bytes, .drops = r->drops + 1};
}

void recent_break(struct recent *r) {
    if (r->on)
        recent_fini(r);
}

void recent_begin(struct recent *r, const struct shard_clock *now) {
    for (uint32_t i = 0; i < 2; i++) {
        buffer_init(&r->part[i].entries, r->alloc, r->part_bytes + RECENT_KEY_BYTES_MAX * 2);
        shard_clock_init(&r->part[i].behind, r->alloc);
    }
    part_begins(&r->part[0]);
    part_begins(&r->part[1]);
    r->on = true;
    r->newer = 0;
    r->both = false;
    r->drops++;
    if (shard_clock_copy(&r->part[0].behind, now) != EG_OK)
        recent_break(r);
}

/* All that a part stands for: what was behind it, and what it has noted. */
static eg_err part_cover(const struct recent *r, const struct recent_part *p,
                         struct shard_clock *out) {
    struct recent_place at = {.part = 1};
    eg_err err = shard_clock_merge(out, &p->behind);
    struct value key;
    uint64_t dot, base = 0;
    uint16_t slot = 0; /* most are of one origin, and covered by now: up to its base */

    if (err == EG_OK && !p->scattered && p->first != 0)
        return shard_clock_add(out, dot_slot(p->first), dot_sequence(p->first),
                               dot_sequence(p->last));
    while (err == EG_OK && recent_next(r, &at, &dot, &key)) {
        if (EG_LIKELY(dot_slot(dot) == slot && dot_sequence(dot) <= base))
            continue;
        if (!shard_clock_covers(out, dot))
            err = shard_clock_add(out, dot_slot(dot), dot_sequence(dot), dot_sequence(dot));
        slot = dot_slot(dot);
        base = shard_clock_base(out, slot);
    }
    return err;
}

void recent_turn(struct recent *r, const struct shard_clock *now) {
    struct recent_part *next = &r->part[1 - r->newer];
    eg_err err = shard_clock_copy(&next->behind, now);

    if (err == EG_OK)
        err = part_cover(r, &r->part[r->newer], &next->behind);
    part_begins(next);
    r->newer = 1 - r->newer;
    r->both = true;
    r->drops++;
    if (err != EG_OK)
        recent_break(r);
}

void recent_note(struct recent *r, uint64_t dot, struct value key) {
    struct recent_part *p = &r->part[r->newer];
    struct buffer *b = &p->entries;
    size_t need_bytes = ENTRY_BYTES + (size_t) key.size_bytes;
    uint8_t *room = NULL;

    if (!r->on)
        return;
    if (EG_LIKELY(b->room_bytes - b->size_bytes >= need_bytes))
        room = b->at + b->size_bytes;
    else if (key.size_bytes <= RECENT_KEY_BYTES_MAX)
        room = buffer_room(b, need_bytes);
    if (room == NULL) {
        recent_break(r);
        return;
    }
    if (EG_UNLIKELY(p->first == 0))
        p->first = dot;
    else
        p->scattered |= dot != p->last + 1;
    p->last = dot;
    memcpy(room, &dot, sizeof dot);
    memcpy(room + sizeof dot, &key.size_bytes, sizeof key.size_bytes);
    if (key.size_bytes != 0)
        memcpy(room + ENTRY_BYTES, key.at, key.size_bytes);
    b->size_bytes += need_bytes;
    if (EG_LIKELY(b->room_bytes - b->size_bytes >= AHEAD_BYTES))
        EG_PREFETCH_TO_WRITE(b->at + b->size_bytes + AHEAD_BYTES - 1);
}

const struct shard_clock *recent_behind(const struct recent *r) {
    return !r->on ? NULL : &r->part[r->both ? 1 - r->newer : r->newer].behind;
}

void recent_first(const struct recent *r, struct recent_place *p) {
    *p = (struct recent_place){.drops = r->drops, .part = r->both ? 0 : 1};
}

bool recent_next(const struct recent *r, struct recent_place *p, uint64_t *dot, struct value *key) {
    const struct buffer *b = &r->part[p->part == 0 ? 1 - r->newer : r->newer].entries;

    if (p->part == 0 && p->at == b->size_bytes) {
        p->part = 1;
        p->at = 0;
        b = &r->part[r->newer].entries;
    }
    if (p->at == b->size_bytes)
        return false;
    memcpy(dot, b->at + p->at, sizeof *dot);
    memcpy(&key->size_bytes, b->at + p->at + sizeof *dot, sizeof key->size_bytes);
    key->at = b->at + p->at + ENTRY_BYTES;
    p->at += ENTRY_BYTES + key->size_bytes;
    return true;
}

uint64_t recent_bytes(const struct recent *r) {
    return !r->on ? 0 : r->part[0].entries.room_bytes + r->part[1].entries.room_bytes;
}
