/* swim_claim.c -- what is said of whom: claims, which of two holds, how they spread.
 *
 * Two things bend the order of claims.  Who is linked to a member does not take another's word
 * that it is down, only that it may be: after a cut heals, the sides think so of each
 * other.  And what is said of ourselves we answer with a higher version. */
#include "replication/swim_private.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { TELL_MULT = 4 }; /* x log10(members): so often each node passes a claim on */

/* ---- members ------------------------------------------------------------ */

/* Where in the order an id is, or would be. */
static uint32_t place_of(const struct swim *s, uint64_t id) {
    uint32_t low = 0, high = s->count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (s->entry[s->order[middle]].m.info.id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct swim_entry *swim_entry_find(struct swim *s, uint64_t id) {
    uint32_t at = place_of(s, id);
    struct swim_entry *e = at < s->count ? &s->entry[s->order[at]] : NULL;
    return e != NULL && e->m.info.id == id ? e : NULL;
}

/* The one that has been gone longest, to make room. */
static struct swim_entry *entry_to_forget(struct swim *s) {
    struct swim_entry *oldest = NULL;

    for (uint32_t i = 1; i < s->count; i++) {
        struct swim_entry *e = &s->entry[i];
        if ((e->m.state == SWIM_LEFT || e->m.state == SWIM_REMOVED) && !e->m.linked &&
            (oldest == NULL || e->m.since_ms < oldest->m.since_ms))
            oldest = e;
    }
    return oldest;
}

struct swim_entry *swim_entry_add(struct swim *s, const struct node_info *info) {
    struct swim_entry *e;
    uint32_t number, at;

    if (s->count < SWIM_MEMBERS_MAX) {
        number = s->count;
        e = &s->entry[number];
    } else {
        e = entry_to_forget(s);
        if (e == NULL)
            return NULL;
        number = (uint32_t) (e - s->entry);
        at = place_of(s, e->m.info.id);
        s->count--;
        memmove(&s->order[at], &s->order[at + 1], (s->count - at) * sizeof s->order[0]);
    }
    memset(e, 0, sizeof *e);
    e->m.info = *info;
    e->m.since_ms = s->now_ms;
    at = place_of(s, info->id);
    memmove(&s->order[at + 1], &s->order[at], (s->count - at) * sizeof s->order[0]);
    s->order[at] = (uint16_t) number;
    s->count++;
    return e;
}

/* ---- taking a claim ----------------------------------------------------- */

static uint32_t tell_count(const struct swim *s) {
    return s->count < 10 ? TELL_MULT : s->count < 100 ? 2 * TELL_MULT : 3 * TELL_MULT;
}

static void entry_tell(struct swim *s, struct swim_entry *e) {
    e->tell_count = tell_count(s);
}

/* Its state has become another: say so to all who want to know. */
static void entry_changed(struct swim *s, struct swim_entry *e, enum swim_state before) {
    e->m.since_ms = s->now_ms;
    if (e->m.state != SWIM_SUSPECT)
        e->accuser_count = 0;
    if (!swim_is_live(&e->m))
        e->probe.under_way = false;
    entry_tell(s, e);
    s->ops->changed(s->user, &e->m, before);
}

void swim_entry_set(struct swim *s, struct swim_entry *e, enum swim_state state) {
    enum swim_state before = e->m.state;
    e->m.state = state;
    entry_changed(s, e, before);
}

static bool accuser_add(struct swim_entry *e, uint64_t by) {
    if (e->accuser_count == SWIM_ACCUSERS)
        return false;
    for (uint32_t i = 0; i < e->accuser_count; i++) {
        if (e->accuser[i] == by)
            return false;
    }
    e->accuser[e->accuser_count++] = by;
    return true;
}

/* One more says so.  True where that is news; the caller tells it. */
static bool entry_accuse(struct swim *s, struct swim_entry *e, uint64_t by) {
    if (e->m.state == SWIM_UP || e->m.state == SWIM_LEAVING) {
        e->m.state = SWIM_SUSPECT;
        e->accuser_count = 0;
        e->hurry = by != swim_self(s)->m.info.id;
    }
    return e->m.state == SWIM_SUSPECT && accuser_add(e, by);
}

/* Pass on what has changed of it since it was as `was`, if anything; the accused hears it first. */
static void entry_notice(struct swim *s, struct swim_entry *e, const struct swim_member *was,
                         bool news) {
    if (e->m.state != was->state || e->m.info.incarnation != was->info.incarnation)
        entry_changed(s, e, was->state);
    else if (news)
        entry_tell(s, e);
    else
        return;
    if (e->m.state == SWIM_SUSPECT && e->m.linked)
        swim_send_one(s, e->m.info.id, e);
}

void swim_accuse(struct swim *s, struct swim_entry *e, uint64_t by) {
    struct swim_member was = e->m;
    bool news = entry_accuse(s, e, by);
    entry_notice(s, e, &was, news);
}

void swim_say_self(struct swim *s, enum swim_state state) {
    struct swim_entry *self = swim_self(s);
    enum swim_state before = self->m.state;

    self->m.version++;
    self->m.state = state;
    if (before != state)
        entry_changed(s, self, before);
    else
        entry_tell(s, self);
}

static void claim_of_ourselves(struct swim *s, uint64_t from, const struct swim_claim *c) {
    struct swim_entry *self = swim_self(s);
    enum swim_state before = self->m.state;

    if (c->removed > self->m.removed) {
        self->m.removed = c->removed;
        if (c->removed >= self->m.info.incarnation)
            self->m.state = SWIM_REMOVED;
        entry_changed(s, self, before);
    }
    if (self->m.state == SWIM_REMOVED)
        return;
    if (c->info.incarnation > self->m.info.incarnation) {
        if (swim_is_live(&(struct swim_member){.state = c->state}))
            return; /* somebody has our name; or had it a moment ago, and is soon down */
        self->m.info.incarnation = c->info.incarnation + 1;
        self->m.version = 0;
        entry_changed(s, self, before);
        swim_tell_linked(s, self);
    } else if (c->info.incarnation == self->m.info.incarnation &&
               (c->version > self->m.version ||
                (c->version == self->m.version && c->state > self->m.state))) {
#ifndef EG_PLANT_SUSPICION_NOT_REFUTED
        self->m.version = c->version;
        swim_say_self(s, before);
        s->health = EG_MIN(s->health + 1, SWIM_HEALTH_MAX);
        swim_tell_linked(s, self);
#endif
    } else if ((c->state == SWIM_SUSPECT || c->state == SWIM_DOWN) && from != self->m.info.id) {
        swim_send_one(s, from, self); /* it has missed what we said since */
    }
}

static bool is_newer(const struct swim_claim *c, const struct swim_member *m) {
    if (c->info.incarnation != m->info.incarnation)
        return c->info.incarnation > m->info.incarnation;
    if (c->version != m->version)
        return c->version > m->version;
    return c->state > m->state && m->state != SWIM_REMOVED;
}

static void entry_adopt(struct swim *s, struct swim_entry *e, const struct swim_claim *c) {
    e->m.info = c->info;
    e->m.version = c->version;
    e->m.state = c->state;
    if (c->state == SWIM_SUSPECT) {
        e->m.since_ms = s->now_ms; /* also where it was suspect in an earlier version */
        memcpy(e->accuser, c->accuser, sizeof e->accuser);
        e->accuser_count = c->accuser_count;
        e->hurry = true;
    }
}

/* It is said to be down by somebody else, and we have a link to it. */
static bool is_hearsay(uint64_t from, const struct swim_claim *c, const struct swim_entry *e) {
    return c->state == SWIM_DOWN && from != c->info.id && swim_is_reached(e) &&
           swim_is_live(&e->m) && c->info.incarnation == e->m.info.incarnation;
}

static void entry_take(struct swim *s, uint64_t from, struct swim_entry *e,
                       const struct swim_claim *c) {
    struct swim_member was = e->m;
    bool news = c->removed > e->m.removed;

    e->m.removed = EG_MAX(e->m.removed, c->removed);
    if (is_newer(c, &e->m)) {
        if (is_hearsay(from, c, e)) {
            e->m.version = c->version;
            entry_accuse(s, e, from);
        } else {
            entry_adopt(s, e, c);
        }
        news = true;
    } else if (c->state == SWIM_SUSPECT && c->version == e->m.version &&
               c->info.incarnation == e->m.info.incarnation) {
        for (uint32_t i = 0; i < c->accuser_count && e->m.state == SWIM_SUSPECT; i++)
            news |= entry_accuse(s, e, c->accuser[i]);
    }
#ifndef EG_PLANT_REMOVED_COMES_BACK
    if (e->m.removed >= e->m.info.incarnation)
        e->m.state = SWIM_REMOVED;
#endif
    entry_notice(s, e, &was, news);
}

void swim_claim_take(struct swim *s, uint64_t from, const struct swim_claim *c) {
    struct swim_entry *e = swim_entry_find(s, c->info.id);

    if (e == swim_self(s)) {
        claim_of_ourselves(s, from, c);
        return;
    }
    if (e == NULL) {
        struct node_info unknown = c->info;
        unknown.incarnation = 0; /* so that any claim is newer */
        e = swim_entry_add(s, &unknown);
    }
    if (e != NULL && from == c->info.id)
        e->linked_as = c->info.incarnation;
    if (e == NULL)
        s->dropped++;
    else
        entry_take(s, from, e, c);
}

/* ---- telling ------------------------------------------------------------ */

static void claim_put(const struct swim_entry *e, struct value_writer *w) {
    value_put_array(w, 5);
    node_info_put(&e->m.info, w);
    value_put_u64(w, e->m.state);
    value_put_u64(w, e->m.version);
    value_put_u64(w, e->m.removed);
    value_put_array(w, e->accuser_count);
    for (uint32_t i = 0; i < e->accuser_count; i++)
        value_put_u64(w, e->accuser[i]);
}

static bool claim_get(struct swim_claim *out, struct value v) {
    struct value field[5];
    struct value_iter it;
    uint64_t state;

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != EG_COUNTOF(field))
        return false;
    it = value_iter_of(v);
    for (size_t i = 0; i < EG_COUNTOF(field); i++)
        value_iter_next(&it, &field[i]);
    if (node_info_get(&out->info, field[0]) != EG_OK || !value_get_u64(field[1], &state) ||
        state < SWIM_UP || state > SWIM_REMOVED || !value_get_u64(field[2], &out->version) ||
        !value_get_u64(field[3], &out->removed) || value_kind_of(field[4]) != VALUE_ARRAY ||
        value_count(field[4]) > SWIM_ACCUSERS)
        return false;
    if (out->info.incarnation == 0 || out->info.incarnation > SWIM_NUMBER_MAX ||
        out->version > SWIM_NUMBER_MAX || out->removed > SWIM_NUMBER_MAX)
        return false; /* above it nobody could refute */
    out->state = (enum swim_state) state;
    out->accuser_count = value_count(field[4]);
    it = value_iter_of(field[4]);
    for (uint32_t i = 0; i < out->accuser_count; i++) {
        struct value id;
        value_iter_next(&it, &id);
        if (!value_get_u64(id, &out->accuser[i]))
            return false;
    }
    return true;
}

struct letter {
    struct value_writer w;
    uint32_t claims;
    uint8_t claim[SWIM_MESSAGE_BYTES]; /* one behind the other; their count comes before them */
};

static void letter_add(struct letter *l, const struct swim_entry *e) {
    EG_ASSERT(l->claims < SWIM_MESSAGE_CLAIMS);
    claim_put(e, &l->w);
    EG_ASSERT(!l->w.overflow);
    l->claims++;
}

static void letter_init(struct letter *l) {
    l->claims = 0;
    l->w = value_writer_init(l->claim, sizeof l->claim);
}

static void letter_send(struct swim *s, uint64_t to, enum swim_kind kind, uint64_t number,
                        int64_t word, const struct letter *l) {
    uint8_t at[SWIM_MESSAGE_BYTES + 64];
    struct value_writer w = value_writer_init(at, sizeof at);
    bool numbered = kind != SWIM_TELL, worded = kind == SWIM_ACK || kind == SWIM_ASK;

    value_put_array(&w, 1 + numbered + worded + l->claims);
    value_put_u64(&w, kind);
    if (numbered)
        value_put_u64(&w, number);
    if (kind == SWIM_ACK)
        value_put_i64(&w, word);
    else if (kind == SWIM_ASK)
        value_put_u64(&w, (uint64_t) word);
    EG_ASSERT(w.need_bytes + l->w.need_bytes <= sizeof at);
    memcpy(at + w.need_bytes, l->claim, l->w.need_bytes);
    s->ops->send(s->user, to, (struct value){at, (uint32_t) (w.need_bytes + l->w.need_bytes)});
}

/* The next claims that are to be told, in turn, behind what `to` itself should answer. */
static void letter_fill(struct swim *s, struct letter *l, uint64_t to) {
    struct swim_entry *theirs = swim_entry_find(s, to);

    if (theirs != NULL && theirs->m.state != SWIM_UP && theirs->m.state != SWIM_JOINING)
        letter_add(l, theirs);
    for (uint32_t i = 0; i < s->count && l->claims < SWIM_MESSAGE_CLAIMS; i++) {
        struct swim_entry *e = &s->entry[(s->told_at + i) % s->count];
        if (e->tell_count > 0 && e != theirs && e->m.state != SWIM_JOINING) {
            letter_add(l, e);
            e->tell_count--;
        }
    }
    s->told_at = (s->told_at + 1) % s->count;
}

void swim_send(struct swim *s, uint64_t to, enum swim_kind kind, uint64_t number, int64_t word) {
    struct letter l;

    letter_init(&l);
    if (kind != SWIM_NACK && kind != SWIM_DIGEST)
        letter_fill(s, &l, to);
    letter_send(s, to, kind, number, word, &l);
}

void swim_send_one(struct swim *s, uint64_t to, const struct swim_entry *e) {
    struct letter l;

    letter_init(&l);
    letter_add(&l, e);
    letter_send(s, to, SWIM_TELL, 0, 0, &l);
}

void swim_tell_linked(struct swim *s, const struct swim_entry *e) {
    for (uint32_t i = 1; i < s->count; i++) {
        if (s->entry[i].m.linked)
            swim_send_one(s, s->entry[i].m.info.id, e);
    }
}

void swim_send_all(struct swim *s, uint64_t to) {
    struct letter l;

    letter_init(&l);
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->entry[i].m.state == SWIM_JOINING)
            continue;
        letter_add(&l, &s->entry[i]);
        if (l.claims == SWIM_MESSAGE_CLAIMS) {
            letter_send(s, to, SWIM_TELL, 0, 0, &l);
            letter_init(&l);
        }
    }
    if (l.claims > 0)
        letter_send(s, to, SWIM_TELL, 0, 0, &l);
}

void swim_claims_receive(struct swim *s, uint64_t from, struct value_iter *it) {
    struct value v;
    struct swim_claim c;

    while (value_iter_next(it, &v)) {
        if (claim_get(&c, v))
            swim_claim_take(s, from, &c);
        else
            s->dropped++;
    }
}

bool swim_has_news(const struct swim *s) {
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->entry[i].tell_count > 0 && s->entry[i].m.state != SWIM_JOINING)
            return true;
    }
    return false;
}

/* The same for all who hold the same claims; one that is only remembered is none. */
uint64_t swim_digest(const struct swim *s) {
    uint64_t digest = 0;

    for (uint32_t i = 0; i < s->count; i++) {
        const struct swim_member *m = &s->entry[i].m;
        uint8_t at[64];
        struct value_writer w = value_writer_init(at, sizeof at);

        if (m->state == SWIM_JOINING)
            continue;
        value_put_u64(&w, m->info.id);
        value_put_u64(&w, m->info.incarnation);
        value_put_u64(&w, m->version);
        value_put_u64(&w, m->state);
        value_put_u64(&w, m->removed);
        digest ^= XXH3_64bits(at, w.need_bytes);
    }
    return digest;
}

/* ---- over a restart ----------------------------------------------------- */

eg_err swim_save(const struct swim *s, struct buffer *out) {
    uint8_t at[SWIM_CLAIM_BYTES];
    struct value_writer w = value_writer_init(at, sizeof at);

    value_put_array(&w, s->count - 1);
    if (!buffer_append(out, at, w.need_bytes))
        return EG_MEMORY;
    for (uint32_t i = 1; i < s->count; i++) {
        const struct swim_entry *e = &s->entry[i];
        struct swim_entry plain = {.m = e->m};
        if (e->m.state == SWIM_JOINING)
            plain.m.state = SWIM_DOWN;
        w = value_writer_init(at, sizeof at);
        claim_put(&plain, &w);
        if (!buffer_append(out, at, w.need_bytes))
            return EG_MEMORY;
    }
    return EG_OK;
}

eg_err swim_load(struct swim *s, struct value saved) {
    struct value_iter it;
    struct value v;
    struct swim_claim c;

    EG_ASSERT(s->count == 1);
    if (value_kind_of(saved) != VALUE_ARRAY)
        return EG_CORRUPT;
    it = value_iter_of(saved);
    while (value_iter_next(&it, &v)) {
        struct swim_entry *e;
        if (!claim_get(&c, v))
            return EG_CORRUPT;
        if (swim_entry_find(s, c.info.id) != NULL)
            continue; /* ourselves, under the name of another: the name was changed */
        e = swim_entry_add(s, &c.info);
        if (e == NULL)
            return EG_CORRUPT;
        e->m.version = c.version;
        e->m.removed = c.removed;
        e->m.state = c.state >= SWIM_LEFT ? c.state : SWIM_JOINING;
    }
    return EG_OK;
}
