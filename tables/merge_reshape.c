/* merge_reshape.c -- states that follow their records into another shape. */
#include "tables/merge_reshape.h"

#include "tables/merge_private.h"
#include "tables/record.h"

/* ---- attributes that go along -----------------------------------------------------------------
 */

/* The state's place of the new record's attribute i behind the key; false: it is a new one. */
static bool place_of(const struct merge_reshape *r, uint32_t i, uint32_t *place) {
    const struct conversion_field *f = &r->conversion->field[i + 1];

    if (f->source < 1)
        return false;
    *place = (uint32_t) f->source - 1;
    /* What a field that equals the default becomes is no longer what the state is about. */
    return f->value == CONVERSION_NO_VALUE ||
           value_equal(merge_field(r->old, *place), merge_field(r->fresh, i));
}

static uint32_t count_of(const struct merge_reshape *r) {
    return r->conversion->count - 1;
}

static void put_moved(const struct merge_reshape *r, struct value list, struct value_writer *w) {
    uint32_t place;
    struct value v;

    value_put_array(w, count_of(r));
    for (uint32_t i = 0; i < count_of(r); i++)
        if (place_of(r, i, &place) && array_element(list, place, &v))
            value_put_raw(w, v);
        else
            value_put_nil(w);
}

static void put_attributes(const void *context, struct value_writer *w) {
    const struct merge_reshape *r = context;

    put_moved(r, r->state, w);
}

/* ---- counters ----------------------------------------------------------------------------------
 */

enum { COUNTER_VALUES = 2, COUNTER_PARTS, PART_SUMS = 2 };

/* A new attribute begins with what the record has. */
static void put_values(const struct merge_reshape *r, struct value values, struct value_writer *w) {
    uint32_t place;
    struct value v;

    value_put_array(w, count_of(r));
    for (uint32_t i = 0; i < count_of(r); i++)
        if (place_of(r, i, &place) && array_element(values, place, &v))
            value_put_raw(w, v);
        else
            value_put_raw(w, merge_field(r->fresh, i));
}

static void put_sums(const struct merge_reshape *r, struct value sums, struct value_writer *w) {
    uint32_t place;
    struct value v;

    value_put_array(w, count_of(r));
    for (uint32_t i = 0; i < count_of(r); i++)
        if (place_of(r, i, &place) && array_element(sums, place, &v))
            value_put_raw(w, v);
        else
            value_put_u64(w, 0);
}

static void put_part(const struct merge_reshape *r, struct value part, struct value_writer *w) {
    struct value_iter it = value_iter_of(part);
    struct value v;

    value_put_array(w, value_count(part));
    for (uint32_t i = 0; value_iter_next(&it, &v); i++)
        if (i == PART_SUMS)
            put_sums(r, v, w);
        else
            value_put_raw(w, v);
}

static void put_parts(const struct merge_reshape *r, struct value parts, struct value_writer *w) {
    struct value_iter it = value_iter_of(parts);
    struct value v;

    value_put_array(w, value_count(parts));
    while (value_iter_next(&it, &v))
        put_part(r, v, w);
}

static void put_counter(const void *context, struct value_writer *w) {
    const struct merge_reshape *r = context;
    struct value_iter it = value_iter_of(r->state);
    struct value v;

    value_put_array(w, value_count(r->state));
    for (uint32_t i = 0; value_iter_next(&it, &v); i++)
        if (i == COUNTER_VALUES)
            put_values(r, v, w);
        else if (i == COUNTER_PARTS)
            put_parts(r, v, w);
        else
            value_put_raw(w, v);
}

/* ---- siblings ----------------------------------------------------------------------------------
 */

struct version_of {
    const struct merge_sibling *sibling;
    struct value record; /* size 0: the newest, which stands beside the state */
};

static void put_sibling(const void *context, struct value_writer *w) {
    const struct version_of *v = context;

    value_put_array(w, 4);
    value_put_u64(w, v->sibling->hlc);
    value_put_u64(w, v->sibling->origin);
    value_put_u64(w, v->sibling->sequence);
    if (v->record.size_bytes == 0)
        value_put_nil(w);
    else
        value_put_raw(w, v->record);
}

static void put_count(const void *context, struct value_writer *w) {
    value_put_array(w, *(const uint32_t *) context);
}

static eg_err put_siblings(const struct merge_reshape *r, struct buffer *out) {
    const struct merge_version version = {.record = r->old, .state = r->state};
    struct merge_sibling list[MERGE_SIBLINGS_MAX];
    uint32_t count = merge_siblings(&version, list);
    eg_err err = merge_append(out, put_count, &count);

    for (uint32_t i = 0; i < count && err == EG_OK; i++) {
        struct version_of v = {.sibling = &list[i]};

        if (i != 0)
            err = r->convert(r->context, list[i].record, &v.record);
        if (err == EG_OK)
            err = merge_append(out, put_sibling, &v);
    }
    return err;
}

/* ---- all ----------------------------------------------------------------------------------------
 */

eg_err merge_reshape_state(const struct merge_reshape *r, struct buffer *out) {
    if (r->state.size_bytes == 0)
        return EG_OK;
    if (r->policy == MERGE_SIBLINGS)
        return put_siblings(r, out);
    if (r->policy != MERGE_LWW_BY_ATTRIBUTE && r->policy != MERGE_COUNTER &&
        r->policy != MERGE_SET) /* it speaks of writes, not of attributes */
        return buffer_append(out, r->state.at, r->state.size_bytes) ? EG_OK : EG_MEMORY;
    if (r->conversion->program != NULL)
        return EG_OK;
    return merge_append(out, r->policy == MERGE_COUNTER ? put_counter : put_attributes, r);
}
