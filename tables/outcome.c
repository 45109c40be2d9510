/* outcome.c -- rings of the last outcomes, each with a hash over it. */
#include "tables/outcome.h"

#include "engine/env.h"

#include <stdatomic.h>
#include <string.h>

enum {
    STRIPES = 64,
    STRIPE_FIRST = 64, /* entries, at first */
    STRIPE_MAX = OUTCOMES_MAX / STRIPES,
    NONE = -1,
};

struct entry {
    struct transact_id id;
    uint64_t ms : 56, what : 8;
    int32_t next; /* of those in one chain; NONE: the last */
};

struct stripe {
    atomic_flag lock;
    uint32_t room, count, first; /* the oldest is entry[first] */
    struct entry *entry;
    int32_t *chain; /* as many as there is room for */
};

struct outcomes {
    struct alloc *alloc;
    struct env *env;
    struct stripe stripe[STRIPES];
};

eg_err outcomes_open(struct outcomes **out, struct alloc *a, struct env *env) {
    struct outcomes *o = alloc_zero(a, sizeof *o);

    if (o == NULL)
        return EG_MEMORY;
    o->alloc = a;
    o->env = env;
    for (uint32_t i = 0; i < STRIPES; i++)
        atomic_flag_clear(&o->stripe[i].lock);
    *out = o;
    return EG_OK;
}

static void give_back(struct alloc *a, struct entry *entry, int32_t *chain, uint32_t room) {
    if (entry != NULL)
        alloc_put(a, entry, room * sizeof *entry);
    if (chain != NULL)
        alloc_put(a, chain, room * sizeof *chain);
}

void outcomes_close(struct outcomes *o) {
    for (uint32_t i = 0; i < STRIPES; i++)
        give_back(o->alloc, o->stripe[i].entry, o->stripe[i].chain, o->stripe[i].room);
    alloc_put(o->alloc, o, sizeof *o);
}

/* ---- one stripe, locked ---------------------------------------------------------------------- */

static uint64_t hash_of(struct transact_id id) {
    return (id.high ^ id.low * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xff51afd7ed558ccd);
}

static int32_t *chain_of(struct stripe *s, struct transact_id id) {
    return &s->chain[(hash_of(id) >> 16) & (s->room - 1)];
}

static bool is_forgotten(const struct entry *e, uint64_t now_ms) {
    return e->ms + OUTCOME_KEPT_MS <= now_ms;
}

static struct entry *find(struct stripe *s, struct transact_id id) {
    if (s->room == 0)
        return NULL;
    for (int32_t at = *chain_of(s, id); at != NONE; at = s->entry[at].next)
        if (transact_id_equal(s->entry[at].id, id))
            return &s->entry[at];
    return NULL;
}

static void link_in(struct stripe *s, int32_t at) {
    int32_t *chain = chain_of(s, s->entry[at].id);

    s->entry[at].next = *chain;
    *chain = at;
}

static void drop_oldest(struct stripe *s) {
    int32_t *link = chain_of(s, s->entry[s->first].id);

    while (*link != (int32_t) s->first)
        link = &s->entry[*link].next;
    *link = s->entry[s->first].next;
    s->first = (s->first + 1) & (s->room - 1);
    s->count--;
}

/* Twice the room, where there is memory for it. */
static void grow(struct outcomes *o, struct stripe *s) {
    uint32_t room = s->room == 0 ? (uint32_t) STRIPE_FIRST : 2 * s->room;
    struct entry *entry = alloc_get(o->alloc, room * sizeof *entry);
    int32_t *chain = alloc_get(o->alloc, room * sizeof *chain);
    struct stripe before = *s;

    if (entry == NULL || chain == NULL) {
        give_back(o->alloc, entry, chain, room);
        return;
    }
    for (uint32_t i = 0; i < s->count; i++)
        entry[i] = s->entry[(s->first + i) & (s->room - 1)];
    for (uint32_t i = 0; i < room; i++)
        chain[i] = NONE;
    s->entry = entry;
    s->chain = chain;
    s->room = room;
    s->first = 0;
    for (uint32_t i = 0; i < s->count; i++)
        link_in(s, (int32_t) i);
    give_back(o->alloc, before.entry, before.chain, before.room);
}

static void add(struct outcomes *o, struct stripe *s, const struct entry *e) {
    uint32_t at;

    while (s->count != 0 && is_forgotten(&s->entry[s->first], e->ms))
        drop_oldest(s);
    if (s->count == s->room && s->room < STRIPE_MAX)
        grow(o, s);
    if (s->room == 0)
        return;
    if (s->count == s->room)
        drop_oldest(s);
    at = (s->first + s->count++) & (s->room - 1);
    s->entry[at] = *e;
    link_in(s, (int32_t) at);
}

/* ---- any thread ------------------------------------------------------------------------------ */

static struct stripe *enter(struct outcomes *o, struct transact_id id) {
    struct stripe *s = &o->stripe[hash_of(id) >> 58];

    while (atomic_flag_test_and_set_explicit(&s->lock, memory_order_acquire))
        ; /* who has it is nearly done */
    return s;
}

static void leave(struct stripe *s) {
    atomic_flag_clear_explicit(&s->lock, memory_order_release);
}

static void put(struct outcomes *o, struct stripe *s, struct entry *known, const struct entry *e) {
    if (known == NULL) {
        add(o, s, e);
    } else {
        known->what = e->what;
        known->ms = e->ms; /* it stays in its place: those behind it go a little later */
    }
}

void outcome_put(struct outcomes *o, struct transact_id id, enum outcome what) {
    const struct entry e = {id, env_now_ns(o->env) / 1000000, what, NONE};
    struct stripe *s = enter(o, id);
    struct entry *known = find(s, id);

    if (known == NULL || is_forgotten(known, e.ms) || known->what == OUTCOME_OPEN ||
        what == OUTCOME_COMMITTED)
        put(o, s, known, &e);
    leave(s);
}

void outcome_revoke(struct outcomes *o, struct transact_id id) {
    const struct entry e = {id, env_now_ns(o->env) / 1000000, OUTCOME_ABORTED, NONE};
    struct stripe *s = enter(o, id);

    put(o, s, find(s, id), &e);
    leave(s);
}

bool outcome_begin(struct outcomes *o, struct transact_id request) {
    const struct entry e = {request, env_now_ns(o->env) / 1000000, OUTCOME_OPEN, NONE};
    struct stripe *s = enter(o, request);
    struct entry *known = find(s, request);
    bool fresh = known != NULL && !is_forgotten(known, e.ms);
    bool open = fresh && known->what == OUTCOME_OPEN;

    if (!fresh || known->what == OUTCOME_ABORTED)
        put(o, s, known, &e);
    leave(s);
    return !open;
}

enum outcome outcome_get(struct outcomes *o, struct transact_id id) {
    uint64_t now_ms = env_now_ns(o->env) / 1000000;
    struct stripe *s = enter(o, id);
    const struct entry *known = find(s, id);
    enum outcome what =
        known == NULL || is_forgotten(known, now_ms) ? OUTCOME_UNKNOWN : (enum outcome) known->what;

    leave(s);
    return what;
}
