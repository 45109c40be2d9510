/* merge_set.c -- sets: of a field that is an array, each element knows who added it.
 *
 * An element that both have stays. One that only one side has stays where the other has not
 * heard of its adding, and goes where it has: then it was removed there. So an element that was
 * added again while another side removed it stays: adding wins (an optimised OR-set: Bieniusa et
 * al., "An optimized conflict-free replicated set").  Fields that are no arrays: the later. */
#include "engine/planted.h"
#include "tables/merge_private.h"

#include "tables/record.h"

#include <stdlib.h>

/* An element and the dots under which it was added; size 0: the version's own. */
struct element {
    struct value value, dots;
    const struct merge_version *version;
};

static bool is_set(struct value field) {
    return value_kind_of(field) == VALUE_ARRAY;
}

/* Of attribute i's elements the dots, an array beside them; size 0: all are the version's own. */
static struct value dots_of(const struct merge_version *v, uint32_t i) {
    struct value dots = {NULL, 0};

    if (v->state.size_bytes != 0) {
        EG_ASSERT(array_element(v->state, i, &dots));
        if (value_kind_of(dots) == VALUE_NIL)
            dots.size_bytes = 0;
    }
    return dots;
}

/* Of one element; none: the version's own. */
static eg_err see_dots(struct value dots, merge_see_fn *see, void *context) {
    struct value_iter it = value_iter_of(dots);
    struct merge_pair dot;
    struct value v;
    eg_err err = EG_OK;

    while (err == EG_OK && value_iter_next(&it, &v)) {
        EG_ASSERT(merge_get_pair(v, &dot));
        err = see(context, dot.first, dot.second);
    }
    return err;
}

eg_err merge_see_elements(const struct merge_rule *rule, const struct merge_version *v,
                          merge_see_fn *see, void *context) {
    eg_err err = EG_OK;

    for (uint32_t i = 0; i + 1 < rule->attribute_count; i++) {
        struct value dots = dots_of(v, i), one;
        struct value_iter it;

        if (dots.size_bytes == 0)
            continue;
        it = value_iter_of(dots);
        while (err == EG_OK && value_iter_next(&it, &one))
            err = see_dots(one, see, context);
    }
    return err;
}

/* Attribute i's elements, in the order of values and each once; NULL: none, or no memory. */
struct elements {
    struct element *at;
    uint32_t count;
    size_t room_bytes;
};

static int by_value(const void *a, const void *b) {
    return value_compare(((const struct element *) a)->value, ((const struct element *) b)->value);
}

static eg_err elements_open(struct elements *e, struct alloc *alloc, const struct merge_version *v,
                            uint32_t i) {
    struct value field, dots, value, own = {NULL, 0};
    struct value_iter it, dot_it = {NULL, 0};
    uint32_t kept = 0;

    *e = (struct elements){.at = NULL};
    if (merge_is_removed(v) || !is_set(field = merge_field(v->record, i)) ||
        value_count(field) == 0)
        return EG_OK;
    e->room_bytes = value_count(field) * sizeof *e->at;
    e->at = alloc_get(alloc, e->room_bytes);
    if (e->at == NULL)
        return EG_MEMORY;
    dots = dots_of(v, i);
    it = value_iter_of(field);
    if (dots.size_bytes != 0)
        dot_it = value_iter_of(dots);
    while (value_iter_next(&it, &value)) {
        (void) value_iter_next(&dot_it, &own); /* none: the version's */
        e->at[e->count++] = (struct element){value, own, v};
    }
    qsort(e->at, e->count, sizeof *e->at, by_value);
    for (uint32_t n = 0; n < e->count; n++)
        if (kept == 0 || !value_equal(e->at[kept - 1].value, e->at[n].value))
            e->at[kept++] = e->at[n];
    e->count = kept;
    return EG_OK;
}

static void elements_close(struct elements *e, struct alloc *alloc) {
    alloc_put(alloc, e->at, e->room_bytes);
}

/* ---- dots -------------------------------------------------------------------------------------
 */

static uint32_t dot_count(const struct element *e) {
    return e->dots.size_bytes == 0 ? 1 : value_count(e->dots);
}

static struct merge_pair dot_at(const struct element *e, uint32_t i) {
    struct merge_pair dot = {e->version->origin, e->version->sequence};
    struct value v;

    if (e->dots.size_bytes != 0) {
        EG_ASSERT(array_element(e->dots, i, &v));
        EG_ASSERT(merge_get_pair(v, &dot));
    }
    return dot;
}

static bool has_dot(const struct element *e, struct merge_pair dot) {
    for (uint32_t i = 0; e != NULL && i < dot_count(e); i++)
        if (merge_pair_is(dot_at(e, i), dot))
            return true;
    return false;
}

/* Does the dot survive, that the other side has, or has it not? */
static bool survives(const struct merge_side *other, const struct element *twin,
                     struct merge_pair dot) {
    if (PLANTED(SET_REMOVAL_FORGOTTEN))
        return true;
    if (PLANTED(SET_ADD_LOSES))
        return has_dot(twin, dot);
    return has_dot(twin, dot) || !other->knows(other->context, dot.first, dot.second);
}

/* ---- joining one attribute
 * ----------------------------------------------------------------------- */

struct field_join {
    const struct merge_side *here, *there;
    struct elements a, b;
};

/* The next element of either side in order; false: no more.  NULL: not on that side. */
static bool next_of_both(const struct field_join *j, uint32_t *ia, uint32_t *ib,
                         const struct element **a, const struct element **b) {
    int order;

    if (*ia == j->a.count && *ib == j->b.count)
        return false;
    order = *ia == j->a.count   ? 1
            : *ib == j->b.count ? -1
                                : value_compare(j->a.at[*ia].value, j->b.at[*ib].value);
    *a = order <= 0 ? &j->a.at[(*ia)++] : NULL;
    *b = order >= 0 ? &j->b.at[(*ib)++] : NULL;
    return true;
}

/* The dots that are left of an element; written where `w` is given. */
static uint32_t joined_dots(const struct field_join *j, const struct element *a,
                            const struct element *b, struct value_writer *w) {
    uint32_t count = 0;

    for (uint32_t i = 0; a != NULL && i < dot_count(a); i++)
        if (survives(j->there, b, dot_at(a, i))) {
            count++;
            if (w != NULL)
                merge_put_pair(w, dot_at(a, i));
        }
    for (uint32_t i = 0; b != NULL && i < dot_count(b); i++)
        if (!has_dot(a, dot_at(b, i)) && survives(j->here, a, dot_at(b, i))) {
            count++;
            if (w != NULL)
                merge_put_pair(w, dot_at(b, i));
        }
    return count;
}

static uint32_t joined_count(const struct field_join *j) {
    uint32_t ia = 0, ib = 0, count = 0;
    const struct element *a, *b;

    while (next_of_both(j, &ia, &ib, &a, &b))
        count += joined_dots(j, a, b, NULL) != 0;
    return count;
}

static void put_elements(const struct field_join *j, struct value_writer *w) {
    uint32_t ia = 0, ib = 0;
    const struct element *a, *b;

    value_put_array(w, joined_count(j));
    while (next_of_both(j, &ia, &ib, &a, &b))
        if (joined_dots(j, a, b, NULL) != 0)
            value_put_raw(w, a != NULL ? a->value : b->value);
}

static void put_dots(const struct field_join *j, struct value_writer *w) {
    uint32_t ia = 0, ib = 0, count;
    const struct element *a, *b;

    value_put_array(w, joined_count(j));
    while (next_of_both(j, &ia, &ib, &a, &b)) {
        count = joined_dots(j, a, b, NULL);
        if (count == 0)
            continue;
        value_put_array(w, count);
        (void) joined_dots(j, a, b, w);
    }
}

/* ---- joining records
 * ------------------------------------------------------------------------------- */

struct joining {
    uint32_t count;                           /* of attributes behind the key */
    const struct merge_version *base, *later; /* base: one that is there */
    struct field_join *field;
    bool *sets;
};

static void put_record(const void *context, struct value_writer *w) {
    const struct joining *j = context;
    struct value key;

    EG_ASSERT(array_element(j->base->record, 0, &key));
    value_put_array(w, j->count + 1);
    value_put_raw(w, key);
    for (uint32_t i = 0; i < j->count; i++)
        if (j->sets[i])
            put_elements(&j->field[i], w);
        else
            value_put_raw(w, merge_field(j->later->record, i));
}

static void put_state(const void *context, struct value_writer *w) {
    const struct joining *j = context;

    value_put_array(w, j->count);
    for (uint32_t i = 0; i < j->count; i++)
        if (j->sets[i])
            put_dots(&j->field[i], w);
        else
            value_put_nil(w);
}

/* Is a set on every side that has the record, and so joined? */
static bool is_joined(const struct merge_version *a, const struct merge_version *b, uint32_t i) {
    return (merge_is_removed(a) || is_set(merge_field(a->record, i))) &&
           (merge_is_removed(b) || is_set(merge_field(b->record, i)));
}

/* Does anything live on that the side which removed the record has not heard of? */
static bool outlives(const struct joining *j) {
    for (uint32_t i = 0; i < j->count; i++)
        if (j->sets[i] && joined_count(&j->field[i]) != 0)
            return true;
    return false;
}

/* Does the later write of a field that is no set take the place of something else? */
static bool replaces_any(const struct joining *j, const struct merge_version *a,
                         const struct merge_version *b) {
    if (merge_is_removed(a) || merge_is_removed(b))
        return false;
    for (uint32_t i = 0; i < j->count; i++)
        if (!j->sets[i] && !value_equal(merge_field(a->record, i), merge_field(b->record, i)))
            return true;
    return false;
}

static eg_err join_fields(struct joining *j, const struct merge_side *here,
                          const struct merge_side *there, enum merge_outcome *outcome,
                          struct merge_loss *loss, struct buffer *record, struct buffer *state) {
    bool is_removed = merge_is_removed(here->version) || merge_is_removed(there->version);
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < j->count && err == EG_OK; i++) {
        j->field[i].here = here;
        j->field[i].there = there;
        j->sets[i] = is_joined(here->version, there->version, i);
        if (!j->sets[i])
            continue;
        err = elements_open(&j->field[i].a, record->alloc, here->version, i);
        if (err == EG_OK)
            err = elements_open(&j->field[i].b, record->alloc, there->version, i);
    }
    if (err != EG_OK)
        return err;
    if (is_removed && !outlives(j)) {
        *outcome = merge_later(here, there);
        return EG_OK;
    }
    *outcome = MERGE_MAKES;
    if (replaces_any(j, here->version, there->version))
        *loss = merge_loss_of(merge_later(here, there));
    err = merge_append(record, put_record, j);
    return err != EG_OK ? err : merge_append(state, put_state, j);
}

eg_err merge_join_sets(const struct merge_rule *rule, const struct merge_side *here,
                       const struct merge_side *there, enum merge_outcome *outcome,
                       struct merge_loss *loss, struct buffer *record, struct buffer *state) {
    struct field_join field[SCHEMA_ATTRIBUTES_MAX] = {{.here = NULL}};
    bool sets[SCHEMA_ATTRIBUTES_MAX];
    struct joining j = {.count = rule->attribute_count - 1, .field = field, .sets = sets};
    eg_err err;

    if (merge_is_removed(here->version) && merge_is_removed(there->version)) {
        *outcome = merge_later(here, there);
        return EG_OK;
    }
    j.base = merge_is_removed(here->version) ? there->version : here->version;
    j.later = merge_is_later(there->version, here->version) ? there->version : here->version;
    if (merge_is_removed(j.later))
        j.later = j.base;
    err = join_fields(&j, here, there, outcome, loss, record, state);
    for (uint32_t i = 0; i < j.count; i++) {
        elements_close(&field[i].a, record->alloc);
        elements_close(&field[i].b, record->alloc);
    }
    return err;
}

/* ---- writing
 * ---------------------------------------------------------------------------------------- */

struct writing {
    const struct merge_write *write;
    uint32_t count;
    struct elements *old; /* of each attribute */
};

static const struct element *find(const struct elements *e, struct value v) {
    struct element wanted = {.value = v};

    return e->count == 0 ? NULL : bsearch(&wanted, e->at, e->count, sizeof *e->at, by_value);
}

/* Does some element of attribute i keep the dots that it had? */
static bool keeps_any(const struct writing *c, uint32_t i) {
    struct value field = merge_field(c->write->record, i), v;
    struct value_iter it;

    if (!is_set(field) || c->old[i].count == 0)
        return false;
    it = value_iter_of(field);
    while (value_iter_next(&it, &v))
        if (find(&c->old[i], v) != NULL)
            return true;
    return false;
}

static void put_written(const void *context, struct value_writer *w) {
    const struct writing *c = context;
    const struct merge_pair own = {c->write->origin, c->write->sequence};

    value_put_array(w, c->count);
    for (uint32_t i = 0; i < c->count; i++) {
        struct value field = merge_field(c->write->record, i), v;
        struct value_iter it;

        if (!keeps_any(c, i)) {
            value_put_nil(w);
            continue;
        }
        value_put_array(w, value_count(field));
        it = value_iter_of(field);
        while (value_iter_next(&it, &v)) {
            const struct element *e = find(&c->old[i], v);
            uint32_t count = e == NULL ? 1 : dot_count(e);

            value_put_array(w, count);
            for (uint32_t n = 0; n < count; n++)
                merge_put_pair(w, e == NULL ? own : dot_at(e, n));
        }
    }
}

eg_err merge_write_set(const struct merge_rule *rule, const struct merge_write *w,
                       struct buffer *state) {
    struct elements old[SCHEMA_ATTRIBUTES_MAX] = {{.at = NULL}};
    struct writing c = {.write = w, .count = rule->attribute_count - 1, .old = old};
    bool any = false;
    eg_err err = EG_OK;

    if (w->old == NULL || merge_is_removed(w->old))
        return EG_OK;
    for (uint32_t i = 0; i < c.count && err == EG_OK; i++)
        err = elements_open(&old[i], state->alloc, w->old, i);
    for (uint32_t i = 0; i < c.count && err == EG_OK && !any; i++)
        any = keeps_any(&c, i);
    if (err == EG_OK && any)
        err = merge_append(state, put_written, &c);
    for (uint32_t i = 0; i < c.count; i++)
        elements_close(&old[i], state->alloc);
    return err;
}

/* ---- from outside
 * -------------------------------------------------------------------------------------- */

static bool are_dots(struct value dots) {
    struct value_iter it;
    struct value v;
    struct merge_pair dot;

    if (value_kind_of(dots) != VALUE_ARRAY || value_count(dots) == 0)
        return false;
    it = value_iter_of(dots);
    while (value_iter_next(&it, &v))
        if (!merge_get_pair(v, &dot))
            return false;
    return true;
}

bool merge_sound_set(const struct merge_rule *rule, struct value record, struct value state) {
    struct value_iter it, dots_it;
    struct value of_field, dots;
    uint32_t i = 0;

    if (value_kind_of(state) != VALUE_ARRAY || value_count(state) != rule->attribute_count - 1)
        return false;
    it = value_iter_of(state);
    while (value_iter_next(&it, &of_field)) {
        struct value field = merge_field(record, i++);

        if (value_kind_of(of_field) == VALUE_NIL)
            continue;
        if (value_kind_of(of_field) != VALUE_ARRAY || !is_set(field) ||
            value_count(of_field) != value_count(field))
            return false;
        dots_it = value_iter_of(of_field);
        while (value_iter_next(&dots_it, &dots))
            if (!are_dots(dots))
                return false;
    }
    return true;
}
