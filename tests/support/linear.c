/* linear.c -- a search with a memory, key by key. */
#include "tests/support/linear.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NOWHERE = UINT32_MAX };

/* ---- what has been tried ----------------------------------------------------------------- */

/* A set of operations, as a sum of random words, and a state. */
struct tried {
    uint64_t low, high, state;
};

struct memory {
    struct tried *at; /* open addressing; all zero: free */
    size_t room, count;
};

static size_t place_of(const struct memory *m, const struct tried *t) {
    size_t i = (size_t) (t->low ^ t->state * UINT64_C(0x9e3779b97f4a7c15)) & (m->room - 1);

    while (m->at[i].low != 0 && memcmp(&m->at[i], t, sizeof *t) != 0)
        i = (i + 1) & (m->room - 1);
    return i;
}

static void grow(struct memory *m) {
    struct memory old = *m;

    m->room = old.room == 0 ? 1024 : 2 * old.room;
    m->at = calloc(m->room, sizeof *m->at);
    EG_ASSERT(m->at != NULL);
    for (size_t i = 0; i < old.room; i++)
        if (old.at[i].low != 0)
            m->at[place_of(m, &old.at[i])] = old.at[i];
    free(old.at);
}

/* False: it was there. */
static bool remember(struct memory *m, struct tried t) {
    size_t i;

    t.low |= 1;
    if (2 * m->count >= m->room)
        grow(m);
    i = place_of(m, &t);
    if (m->at[i].low != 0)
        return false;
    m->at[i] = t;
    m->count++;
    return true;
}

/* ---- one key ----------------------------------------------------------------------------- */

/* A call or a return, in a list by time. */
struct moment {
    uint32_t before, next, op;
    bool is_call;
    uint32_t other; /* of a call its return; NOWHERE: it has none */
};

struct taken {
    uint32_t moment;
    uint64_t state;
};

struct search {
    const struct linear_op *ops;
    uint32_t count;
    struct moment *moment; /* the last one is the list's head */
    uint32_t moment_count, head;
    struct taken *taken;
    uint32_t taken_count;
    struct memory memory;
    uint64_t state, low, high;
    uint32_t owed; /* answered operations that have no place yet */
    uint32_t furthest, culprit;
};

static uint64_t mix(uint64_t n) {
    n = (n ^ n >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    n = (n ^ n >> 27) * UINT64_C(0x94d049bb133111eb);
    return n ^ n >> 31;
}

/* Can it take effect now, and what is there then?  Of one that nobody answered every outcome is. */
static bool step(const struct linear_op *o, uint64_t state, uint64_t *after) {
    *after = state;
    switch (o->kind) {
    case LINEAR_READ:
        return !o->known || state == o->seen;
    case LINEAR_WRITE:
        *after = o->value;
        return true;
    case LINEAR_TAKE:
        *after = 0;
        return !o->known || state == o->seen;
    case LINEAR_INSERT:
        *after = state == 0 ? o->value : state;
        return !o->known || o->took == (state == 0);
    case LINEAR_CHANGE:
        *after = state == o->seen ? o->value : state;
        return !o->known || o->took == (state == o->seen);
    case LINEAR_KINDS:
        break;
    }
    return false;
}

static void unlink_moment(struct search *s, uint32_t m) {
    s->moment[s->moment[m].before].next = s->moment[m].next;
    if (s->moment[m].next != NOWHERE)
        s->moment[s->moment[m].next].before = s->moment[m].before;
}

static void link_moment(struct search *s, uint32_t m) {
    s->moment[s->moment[m].before].next = m;
    if (s->moment[m].next != NOWHERE)
        s->moment[s->moment[m].next].before = m;
}

static void flip(struct search *s, uint32_t op) {
    s->low ^= mix(op + UINT64_C(0x1234567));
    s->high ^= mix(op + UINT64_C(0x7654321) * UINT64_C(0x100000001));
}

/* False: it has been tried. */
static bool take(struct search *s, uint32_t m, uint64_t after) {
    uint32_t op = s->moment[m].op;

    flip(s, op);
    if (!remember(&s->memory, (struct tried){s->low, s->high, after})) {
        flip(s, op);
        return false;
    }
    s->taken[s->taken_count++] = (struct taken){m, s->state};
    s->state = after;
    unlink_moment(s, m);
    if (s->moment[m].other != NOWHERE) {
        unlink_moment(s, s->moment[m].other);
        s->owed--;
    }
    return true;
}

/* The last one back; where to go on from. */
static uint32_t take_back(struct search *s) {
    struct taken t = s->taken[--s->taken_count];

    if (s->moment[t.moment].other != NOWHERE) {
        link_moment(s, s->moment[t.moment].other);
        s->owed++;
    }
    link_moment(s, t.moment);
    flip(s, s->moment[t.moment].op);
    s->state = t.state;
    return s->moment[t.moment].next;
}

static enum linear_verdict search(struct search *s) {
    uint32_t at = s->moment[s->head].next;

    for (uint64_t steps = 0; s->owed != 0; steps++) {
        uint64_t after;

        if (steps == LINEAR_STEPS_MAX)
            return LINEAR_UNDECIDED;
        if (at != NOWHERE && s->moment[at].is_call) {
            bool taken = step(&s->ops[s->moment[at].op], s->state, &after) && take(s, at, after);

            at = taken ? s->moment[s->head].next : s->moment[at].next;
            continue;
        }
        if (at != NOWHERE && s->taken_count >= s->furthest) {
            s->furthest = s->taken_count;
            s->culprit = s->moment[at].op;
        }
        if (s->taken_count == 0)
            return LINEAR_BAD;
        at = take_back(s);
    }
    return LINEAR_GOOD;
}

/* ---- the list ------------------------------------------------------------------------------ */

struct stamp {
    uint64_t at;
    uint32_t op;
    bool is_call;
};

/* What begins when another ends may have been at the same time as it. */
static int stamp_compare(const void *a, const void *b) {
    const struct stamp *x = a, *y = b;

    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    if (x->is_call != y->is_call)
        return x->is_call ? -1 : 1;
    return x->op < y->op ? -1 : x->op > y->op;
}

static bool was_seen(const struct linear_op *ops, uint32_t count, uint64_t value) {
    for (uint32_t i = 0; i < count; i++)
        if (ops[i].known && ops[i].kind != LINEAR_WRITE && ops[i].seen == value)
            return true;
    return false;
}

/* Could it matter?  Who was not answered, and of whose value nobody speaks, may as well not have
 * been; but who looks before it writes speaks of any value. */
static bool matters(const struct linear_op *ops, uint32_t count, uint32_t i, bool looks) {
    if (ops[i].known)
        return true;
    if (ops[i].kind == LINEAR_READ)
        return false;
    return ops[i].kind != LINEAR_WRITE || looks || was_seen(ops, count, ops[i].value);
}

static void make_list(struct search *s) {
    struct stamp *stamps = calloc(2 * (size_t) s->count + 1, sizeof *stamps);
    uint32_t *call = calloc((size_t) s->count + 1, sizeof *call), last;
    bool looks = false;

    EG_ASSERT(stamps != NULL && call != NULL);
    for (uint32_t i = 0; i < s->count; i++)
        looks |= s->ops[i].kind == LINEAR_INSERT || s->ops[i].kind == LINEAR_CHANGE;
    for (uint32_t i = 0; i < s->count; i++) {
        if (!matters(s->ops, s->count, i, looks))
            continue;
        stamps[s->moment_count++] = (struct stamp){s->ops[i].begin, i, true};
        if (s->ops[i].known)
            stamps[s->moment_count++] = (struct stamp){s->ops[i].end, i, false};
        s->owed += s->ops[i].known;
    }
    qsort(stamps, s->moment_count, sizeof *stamps, stamp_compare);
    s->moment = calloc((size_t) s->moment_count + 1, sizeof *s->moment);
    s->taken = calloc((size_t) s->count + 1, sizeof *s->taken);
    EG_ASSERT(s->moment != NULL && s->taken != NULL);
    last = s->head = s->moment_count;
    s->moment[last].next = NOWHERE;
    for (uint32_t i = 0; i < s->moment_count; i++) {
        s->moment[i] = (struct moment){last, NOWHERE, stamps[i].op, stamps[i].is_call, NOWHERE};
        s->moment[last].next = i;
        last = i;
        if (stamps[i].is_call)
            call[stamps[i].op] = i;
        else
            s->moment[call[stamps[i].op]].other = i;
    }
    free(stamps);
    free(call);
}

static enum linear_verdict check_key(const struct linear_op *ops, uint32_t count,
                                     char text[LINEAR_TEXT_BYTES]) {
    static const char *const names[LINEAR_KINDS] = {"read", "write", "take", "insert", "change"};
    struct search s = {.ops = ops, .count = count};
    enum linear_verdict v;
    const struct linear_op *o;

    make_list(&s);
    v = search(&s);
    o = &ops[s.culprit];
    if (v == LINEAR_BAD)
        snprintf(text, LINEAR_TEXT_BYTES,
                 "key %u is not linearizable: no order of %u operations explains %s %u (wrote "
                 "%" PRIu64 ", saw %" PRIu64 ", %" PRIu64 " to %" PRIu64 "); %u have a place",
                 o->key, count, names[o->kind], o->number, o->value, o->seen, o->begin, o->end,
                 s.furthest);
    else if (v == LINEAR_UNDECIDED)
        snprintf(text, LINEAR_TEXT_BYTES, "key %u: too many orders of %u operations to try",
                 ops[0].key, count);
    free(s.moment);
    free(s.taken);
    free(s.memory.at);
    return v;
}

static int key_compare(const void *a, const void *b) {
    const struct linear_op *x = a, *y = b;

    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

enum linear_verdict linear_check(struct linear_op *ops, uint32_t count,
                                 char text[LINEAR_TEXT_BYTES]) {
    enum linear_verdict worst = LINEAR_GOOD;

    text[0] = '\0';
    qsort(ops, count, sizeof *ops, key_compare);
    for (uint32_t from = 0, to; from < count; from = to) {
        enum linear_verdict v;

        for (to = from; to < count && ops[to].key == ops[from].key;)
            to++;
        v = check_key(&ops[from], to - from, text);
        if (v == LINEAR_BAD)
            return v;
        worst = EG_MAX(worst, v);
    }
    return worst;
}
