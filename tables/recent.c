/* recent.c -- two buffers of changes, of which the older goes when the newer is full.
 *
 *     entry   [JUMP, dot,] size of the key (1 byte, or LONG and 2), key
 *
 * Without a JUMP its dot is the next after the one before: most are, and take a byte besides the
 * key. */
#include "tables/recent.h"

#include <string.h>

enum {
    LONG = 0xfe, /* from here on a size takes two bytes more */
    JUMP = 0xff,
    ENTRY_BYTES_MAX = 1 + sizeof(uint64_t) + 1 + sizeof(uint16_t), /* and the key */
};

static const uint64_t no_dot = UINT64_MAX; /* behind it comes 0, which no change has */

static void part_init(struct recent_part *p, const struct recent *r) {
    buffer_init(&p->entries, r->alloc, r->part_bytes + RECENT_KEY_BYTES_MAX * 2);
    shard_clock_init(&p->behind, r->alloc);
}

static void part_fini(struct recent_part *p) {
    buffer_fini(&p->entries);
    shard_clock_fini(&p->behind);
}

void recent_fini(struct recent *r) {
    if (r->on) {
        part_fini(&r->newer);
        part_fini(&r->older);
    }
    *r = (struct recent){.alloc = r->alloc, .part_bytes = r->part_bytes, .drops = r->drops + 1};
}

void recent_break(struct recent *r) {
    if (r->on)
        recent_fini(r);
}

static void part_begins(struct recent *r) {
    buffer_clear(&r->newer.entries);
    r->last = no_dot;
    r->scattered = false;
    r->drops++;
}

void recent_begin(struct recent *r, const struct shard_clock *now) {
    part_init(&r->newer, r);
    part_init(&r->older, r);
    part_begins(r);
    r->on = true;
    r->both = false;
    if (shard_clock_copy(&r->newer.behind, now) != EG_OK)
        recent_break(r);
}

/* All that the newer part stands for: what was behind it, and what it has noted. */
static eg_err cover_newer(const struct recent *r, struct shard_clock *out) {
    struct recent_place at = {.newer = true};
    eg_err err = shard_clock_merge(out, &r->newer.behind);
    struct value key;
    uint64_t dot, base = 0;
    uint16_t slot = 0; /* most are of one origin, and covered by now: up to its base */

    if (err == EG_OK && !r->scattered && r->last != no_dot)
        return shard_clock_add(out, dot_slot(r->first), dot_sequence(r->first),
                               dot_sequence(r->last));
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
    struct recent_part next = r->older;
    eg_err err = shard_clock_copy(&next.behind, now);

    if (err == EG_OK)
        err = cover_newer(r, &next.behind);
    r->older = r->newer;
    r->newer = next;
    r->both = true;
    part_begins(r);
    if (err != EG_OK)
        recent_break(r);
}

/* What is not written a byte before its key. */
static uint8_t *put_head(struct recent *r, uint8_t *at, uint64_t dot, uint32_t size_bytes) {
    uint16_t size = (uint16_t) size_bytes;

    if (dot != r->last + 1) {
        *at++ = JUMP;
        memcpy(at, &dot, sizeof dot);
        at += sizeof dot;
        if (r->last == no_dot)
            r->first = dot;
        else
            r->scattered = true;
    }
    if (size_bytes < LONG) {
        *at++ = (uint8_t) size_bytes;
        return at;
    }
    *at++ = LONG;
    memcpy(at, &size, sizeof size);
    return at + sizeof size;
}

EG_SELDOM static void note_with_head(struct recent *r, uint64_t dot, struct value key) {
    struct buffer *b = &r->newer.entries;
    uint8_t *room = NULL;

    if (!r->on)
        return;
    if (key.size_bytes <= RECENT_KEY_BYTES_MAX)
        room = buffer_room(b, ENTRY_BYTES_MAX + (size_t) key.size_bytes);
    if (room == NULL) {
        recent_break(r);
        return;
    }
    room = put_head(r, room, dot, key.size_bytes);
    if (key.size_bytes != 0)
        memcpy(room, key.at, key.size_bytes);
    r->last = dot;
    b->size_bytes = (size_t) (room - b->at) + key.size_bytes;
}

/* Most keys are short: no call for so few bytes. */
static void put_key(uint8_t *to, struct value key) {
    uint32_t n = key.size_bytes;

    if (n >= 2 * sizeof(uint64_t) && n <= 4 * sizeof(uint64_t)) { /* both halves, overlapping */
        memcpy(to, key.at, 2 * sizeof(uint64_t));
        memcpy(to + n - 2 * sizeof(uint64_t), key.at + n - 2 * sizeof(uint64_t),
               2 * sizeof(uint64_t));
    } else {
        memcpy(to, key.at, n);
    }
}

void recent_note(struct recent *r, uint64_t dot, struct value key) {
    struct buffer *b = &r->newer.entries;
    size_t room_bytes = b->room_bytes - b->size_bytes; /* 0 where it is off */
    uint8_t *at;

    if (EG_UNLIKELY(dot != r->last + 1 || key.size_bytes >= room_bytes || key.size_bytes >= LONG ||
                    key.size_bytes == 0)) {
        note_with_head(r, dot, key);
        return;
    }
    at = b->at + b->size_bytes;
    *at = (uint8_t) key.size_bytes;
    put_key(at + 1, key);
    r->last = dot;
    b->size_bytes += 1 + (size_t) key.size_bytes;
}

const struct shard_clock *recent_behind(const struct recent *r) {
    return !r->on ? NULL : r->both ? &r->older.behind : &r->newer.behind;
}

void recent_first(const struct recent *r, struct recent_place *p) {
    *p = (struct recent_place){.drops = r->drops, .newer = !r->both};
}

static const uint8_t *take_head(const uint8_t *at, uint64_t *dot, uint32_t *size_bytes) {
    uint16_t size;

    ++*dot;
    if (*at == JUMP) {
        memcpy(dot, at + 1, sizeof *dot);
        at += 1 + sizeof *dot;
    }
    *size_bytes = *at++;
    if (*size_bytes != LONG)
        return at;
    memcpy(&size, at, sizeof size);
    *size_bytes = size;
    return at + sizeof size;
}

bool recent_next(const struct recent *r, struct recent_place *p, uint64_t *dot, struct value *key) {
    const struct buffer *b = p->newer ? &r->newer.entries : &r->older.entries;

    if (!p->newer && p->at == b->size_bytes) {
        p->newer = true;
        p->at = 0;
        b = &r->newer.entries;
    }
    if (p->at == b->size_bytes)
        return false;
    key->at = take_head(b->at + p->at, &p->dot, &key->size_bytes);
    p->at = (size_t) (key->at - b->at) + key->size_bytes;
    *dot = p->dot;
    return true;
}

uint64_t recent_bytes(const struct recent *r) {
    return !r->on ? 0 : r->newer.entries.room_bytes + r->older.entries.room_bytes;
}
