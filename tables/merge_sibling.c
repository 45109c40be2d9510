/* merge_sibling.c -- siblings: versions that did not know of each other stand side by side.
 *
 * A plain write replaces all that its master has; one that says what it replaces (the context
 * that came with a read) leaves those that have come since.  A removal is no sibling: it takes
 * away what it knew. */
#include "tables/merge_private.h"

#include "engine/planted.h"
#include "tables/record.h"

enum { SIBLING_FIELDS = 4, SIBLING_HEAD_BYTES = 32 /* of a state: three numbers in an array */ };

static bool read_sibling(struct value v, struct merge_sibling *s) {
    struct value hlc, origin, sequence;

    return value_kind_of(v) == VALUE_ARRAY && value_count(v) == SIBLING_FIELDS &&
           array_element(v, 0, &hlc) && array_element(v, 1, &origin) &&
           array_element(v, 2, &sequence) && array_element(v, 3, &s->record) &&
           value_is_integer(hlc) && value_is_integer(origin) && value_is_integer(sequence) &&
           value_get_u64(hlc, &s->hlc) && value_get_u64(origin, &s->origin) &&
           value_get_u64(sequence, &s->sequence);
}

uint32_t merge_siblings(const struct merge_version *v,
                        struct merge_sibling out[MERGE_SIBLINGS_MAX]) {
    struct value_iter it;
    struct value element;
    uint32_t count = 0;

    if (merge_is_removed(v))
        return 0;
    if (v->state.size_bytes == 0) {
        out[0] = (struct merge_sibling){v->hlc, v->origin, v->sequence, v->record};
        return 1;
    }
    it = value_iter_of(v->state);
    while (value_iter_next(&it, &element)) {
        EG_ASSERT(count < MERGE_SIBLINGS_MAX);
        EG_ASSERT(read_sibling(element, &out[count]));
        if (value_kind_of(out[count].record) == VALUE_NIL)
            out[count].record = v->record;
        count++;
    }
    return count;
}

/* ---- a list ---------------------------------------------------------------------------------- */

struct family {
    const struct merge_rule *rule;
    struct merge_sibling member[MERGE_SIBLINGS_MAX + 1]; /* newest first */
    uint32_t count;
    size_t bytes;
};

static bool is_later(const struct merge_sibling *a, const struct merge_sibling *b) {
    if (a->hlc != b->hlc)
        return a->hlc > b->hlc;
    return a->origin != b->origin ? a->origin > b->origin : a->sequence > b->sequence;
}

static size_t bytes_of(const struct merge_sibling *s) {
    return SIBLING_HEAD_BYTES + s->record.size_bytes;
}

/* The oldest go, but never the last. */
static void keep_bounds(struct family *f) {
    while (f->count > 1 && (f->count > MERGE_SIBLINGS_MAX || f->bytes > MERGE_SIBLINGS_BYTES_MAX)) {
        const struct merge_sibling *oldest = &f->member[--f->count];

        f->bytes -= bytes_of(oldest);
        if (f->rule != NULL && f->rule->dropped != NULL)
            f->rule->dropped(f->rule->user, oldest);
    }
}

/* In its place behind the first `fixed`. */
static void family_add(struct family *f, uint32_t fixed, const struct merge_sibling *s) {
    uint32_t at = fixed;

    while (at < f->count && !is_later(s, &f->member[at]))
        at++;
    for (uint32_t i = f->count; i > at; i--)
        f->member[i] = f->member[i - 1];
    f->member[at] = *s;
    f->count++;
    f->bytes += bytes_of(s);
    keep_bounds(f);
}

static bool has(const struct merge_sibling *list, uint32_t count, const struct merge_sibling *s) {
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

static bool is_replaced(struct value replaces, const struct merge_sibling *s) {
    struct value_iter it = value_iter_of(replaces);
    struct value v;
    struct merge_pair dot;

    while (value_iter_next(&it, &v))
        if (merge_get_pair(v, &dot) && dot.first == s->origin && dot.second == s->sequence)
            return true;
    return false;
}

static void add_others(struct family *f, uint32_t fixed, const struct merge_version *old,
                       struct value replaces) {
    struct merge_sibling list[MERGE_SIBLINGS_MAX];
    uint32_t count = merge_siblings(old, list);

    for (uint32_t i = 0; i < count; i++)
        if (!is_replaced(replaces, &list[i]))
            family_add(f, fixed, &list[i]);
}

eg_err merge_write_siblings(const struct merge_rule *rule, const struct merge_write *w,
                            struct buffer *state) {
    struct family f = {.rule = rule};

    if (w->replaces.size_bytes == 0 || w->old == NULL || PLANTED(CONTEXT_TAKES_ALL))
        return EG_OK;
    family_add(&f, 0, &(struct merge_sibling){w->hlc, w->origin, w->sequence, w->record});
    add_others(&f, 1, w->old, w->replaces);
    return f.count == 1 ? EG_OK : merge_append(state, put_family, &f);
}

eg_err merge_leave_siblings(const struct merge_version *v, struct value replaces,
                            struct value *newest, struct buffer *state) {
    struct family f = {.rule = NULL};

    add_others(&f, 0, v, replaces);
    *newest = f.count == 0 ? (struct value){NULL, 0} : f.member[0].record;
    return f.count == 0 ? EG_OK : merge_append(state, put_family, &f);
}

bool merge_replaces_is_sound(struct value replaces) {
    struct value_iter it;
    struct value v;
    struct merge_pair dot;

    if (value_kind_of(replaces) != VALUE_ARRAY || value_count(replaces) > MERGE_SIBLINGS_MAX)
        return false;
    it = value_iter_of(replaces);
    while (value_iter_next(&it, &v))
        if (!merge_get_pair(v, &dot))
            return false;
    return true;
}

/* ---- joining --------------------------------------------------------------------------------- */

struct brood {
    struct merge_sibling list[MERGE_SIBLINGS_MAX];
    uint32_t count;
};

/* Of `own` those that the other side has too, or has never heard of; but for what is in `taken`. */
static void keep(struct family *f, const struct brood *own, const struct merge_side *other,
                 const struct brood *others, const struct brood *taken) {
    for (uint32_t i = 0; i < own->count; i++) {
        const struct merge_sibling *s = &own->list[i];

        if (taken != NULL && has(taken->list, taken->count, s))
            continue;
        if (has(others->list, others->count, s) || PLANTED(SIBLING_BACK) ||
            (!PLANTED(SIBLING_LOST) && !other->knows(other->context, s->origin, s->sequence)))
            family_add(f, 0, s);
    }
}

eg_err merge_join_siblings(const struct merge_rule *rule, const struct merge_side *here,
                           const struct merge_side *there, enum merge_outcome *outcome,
                           struct merge_loss *loss, struct buffer *record, struct buffer *state) {
    struct family f = {.rule = rule};
    struct brood a, b;

    (void) loss; /* nothing; what goes for want of room is told one by one */
    a.count = merge_siblings(here->version, a.list);
    b.count = merge_siblings(there->version, b.list);
    keep(&f, &a, there, &b, NULL);
    keep(&f, &b, here, &a, &a); /* what both have was kept just now */
    *outcome = MERGE_MAKES;
    if (f.count == 0)
        return EG_OK;
    if (!buffer_append(record, f.member[0].record.at, f.member[0].record.size_bytes))
        return EG_MEMORY;
    return merge_append(state, put_family, &f);
}

eg_err merge_see_siblings(const struct merge_rule *rule, const struct merge_version *v,
                          merge_see_fn *see, void *context) {
    struct merge_sibling list[MERGE_SIBLINGS_MAX];
    uint32_t count = merge_siblings(v, list);
    eg_err err = EG_OK;

    (void) rule;
    for (uint32_t i = 0; i < count && err == EG_OK; i++)
        err = see(context, list[i].origin, list[i].sequence);
    return err;
}

bool merge_sound_siblings(const struct merge_rule *rule, struct value record, struct value state) {
    struct value_iter it;
    struct value v;
    struct merge_sibling s;
    struct value key, its_key;
    uint32_t at = 0;

    if (value_kind_of(state) != VALUE_ARRAY || value_count(state) < 1 ||
        value_count(state) > MERGE_SIBLINGS_MAX || !array_element(record, 0, &key))
        return false;
    it = value_iter_of(state);
    while (value_iter_next(&it, &v)) {
        if (!read_sibling(v, &s) || (at == 0) != (value_kind_of(s.record) == VALUE_NIL))
            return false;
        if (at++ != 0 && (value_kind_of(s.record) != VALUE_ARRAY ||
                          value_count(s.record) != rule->attribute_count ||
                          !array_element(s.record, 0, &its_key) || !value_equal(key, its_key)))
            return false;
    }
    return true;
}
