/* merge_sibling.c -- siblings: versions that did not know of each other stand side by side.
 *
 * A plain write replaces all that its master has; one that says what it replaces (the context
 * that came with a read) leaves those that have come since.  A removal is no sibling: it takes
 * away what it knew. */
#include "tables/merge_private.h"

#include "tables/record.h"

enum { SIBLING_FIELDS = 4, SIBLINGS_MAX = 64 }; /* of one key: then the oldest goes */

struct sibling {
    uint64_t hlc, origin, sequence;
    struct value record;
};

static bool read_sibling(struct value v, struct sibling *s) {
    struct value hlc, origin, sequence;

    return value_kind_of(v) == VALUE_ARRAY && value_count(v) == SIBLING_FIELDS &&
           array_element(v, 0, &hlc) && array_element(v, 1, &origin) &&
           array_element(v, 2, &sequence) && array_element(v, 3, &s->record) &&
           value_is_integer(hlc) && value_is_integer(origin) && value_is_integer(sequence) &&
           value_get_u64(hlc, &s->hlc) && value_get_u64(origin, &s->origin) &&
           value_get_u64(sequence, &s->sequence);
}

static uint32_t siblings_of(const struct merge_version *v, struct sibling list[SIBLINGS_MAX]) {
    struct value_iter it;
    struct value element;
    uint32_t count = 0;

    if (merge_is_removed(v))
        return 0;
    if (v->state.size_bytes == 0) {
        list[0] = (struct sibling){v->hlc, v->origin, v->sequence, v->record};
        return 1;
    }
    it = value_iter_of(v->state);
    while (value_iter_next(&it, &element)) {
        EG_ASSERT(count < SIBLINGS_MAX);
        EG_ASSERT(read_sibling(element, &list[count]));
        if (value_kind_of(list[count].record) == VALUE_NIL)
            list[count].record = v->record;
        count++;
    }
    return count;
}

uint32_t merge_sibling_count(const struct merge_version *v) {
    if (merge_is_removed(v))
        return 0;
    return v->state.size_bytes == 0 ? 1 : value_count(v->state);
}

struct value merge_sibling(const struct merge_version *v, uint32_t i, uint64_t *origin,
                           uint64_t *sequence) {
    struct sibling list[SIBLINGS_MAX];
    uint32_t count = siblings_of(v, list);

    EG_ASSERT(i < count);
    *origin = list[i].origin;
    *sequence = list[i].sequence;
    return list[i].record;
}

/* ---- a list ---------------------------------------------------------------------------------- */

struct family {
    struct sibling member[SIBLINGS_MAX]; /* newest first */
    uint32_t count;
};

static bool is_later(const struct sibling *a, const struct sibling *b) {
    if (a->hlc != b->hlc)
        return a->hlc > b->hlc;
    return a->origin != b->origin ? a->origin > b->origin : a->sequence > b->sequence;
}

static void family_add(struct family *f, const struct sibling *s) {
    uint32_t at = 0;

    while (at < f->count && !is_later(s, &f->member[at]))
        at++;
    if (at == SIBLINGS_MAX)
        return;
    f->count = EG_MIN(f->count + 1, (uint32_t) SIBLINGS_MAX);
    for (uint32_t i = f->count - 1; i > at; i--)
        f->member[i] = f->member[i - 1];
    f->member[at] = *s;
}

static bool has(const struct sibling *list, uint32_t count, const struct sibling *s) {
    for (uint32_t i = 0; i < count; i++)
        if (list[i].origin == s->origin && list[i].sequence == s->sequence)
            return true;
    return false;
}

static void put_family(const void *context, struct value_writer *w) {
    const struct family *f = context;

    value_put_array(w, f->count);
    for (uint32_t i = 0; i < f->count; i++) {
        value_put_array(w, SIBLING_FIELDS);
        value_put_u64(w, f->member[i].hlc);
        value_put_u64(w, f->member[i].origin);
        value_put_u64(w, f->member[i].sequence);
        if (i == 0)
            value_put_nil(w);
        else
            value_put_raw(w, f->member[i].record);
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

static bool is_replaced(struct value replaces, const struct sibling *s) {
    struct value_iter it = value_iter_of(replaces);
    struct value v;
    struct merge_pair dot;

    while (value_iter_next(&it, &v))
        if (merge_get_pair(v, &dot) && dot.first == s->origin && dot.second == s->sequence)
            return true;
    return false;
}

eg_err merge_write_siblings(const struct merge_rule *rule, const struct merge_write *w,
                            struct buffer *state) {
    struct family f = {.count = 0};
    struct sibling old[SIBLINGS_MAX];
    uint32_t count;

    (void) rule;
    if (w->replaces.size_bytes == 0 || w->old == NULL)
        return EG_OK;
    family_add(&f, &(struct sibling){w->hlc, w->origin, w->sequence, w->record});
    count = siblings_of(w->old, old);
    for (uint32_t i = 0; i < count; i++)
        if (!is_replaced(w->replaces, &old[i]))
            family_add(&f, &old[i]);
    EG_ASSERT(f.member[0].record.at == w->record.at); /* a write is later than what is there */
    return f.count == 1 ? EG_OK : merge_append(state, put_family, &f);
}

/* ---- joining --------------------------------------------------------------------------------- */

/* Those that the other side has too, or has never heard of. */
static void keep(struct family *f, const struct sibling *list, uint32_t count,
                 const struct merge_side *other, const struct sibling *others,
                 uint32_t other_count) {
    for (uint32_t i = 0; i < count; i++)
        if (!has(f->member, f->count, &list[i]) &&
            (has(others, other_count, &list[i]) ||
             !other->knows(other->context, list[i].origin, list[i].sequence)))
            family_add(f, &list[i]);
}

eg_err merge_join_siblings(const struct merge_rule *rule, const struct merge_side *here,
                           const struct merge_side *there, enum merge_outcome *outcome,
                           struct buffer *record, struct buffer *state) {
    struct family f = {.count = 0};
    struct sibling a[SIBLINGS_MAX], b[SIBLINGS_MAX];
    uint32_t a_count = siblings_of(here->version, a), b_count = siblings_of(there->version, b);

    (void) rule;
    keep(&f, a, a_count, there, b, b_count);
    keep(&f, b, b_count, here, a, a_count);
    *outcome = MERGE_MAKES;
    if (f.count == 0)
        return EG_OK;
    if (!buffer_append(record, f.member[0].record.at, f.member[0].record.size_bytes))
        return EG_MEMORY;
    return merge_append(state, put_family, &f);
}

bool merge_sound_siblings(const struct merge_rule *rule, struct value record, struct value state) {
    struct value_iter it;
    struct value v;
    struct sibling s;
    uint32_t at = 0;

    (void) record;
    if (value_kind_of(state) != VALUE_ARRAY || value_count(state) < 1 ||
        value_count(state) > SIBLINGS_MAX)
        return false;
    it = value_iter_of(state);
    while (value_iter_next(&it, &v)) {
        if (!read_sibling(v, &s) || (at == 0) != (value_kind_of(s.record) == VALUE_NIL))
            return false;
        if (at++ != 0 && (value_kind_of(s.record) != VALUE_ARRAY ||
                          value_count(s.record) != rule->attribute_count))
            return false;
    }
    return true;
}
