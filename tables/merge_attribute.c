/* merge_attribute.c -- lww_by_attribute: each attribute has the stamp of who wrote it last.
 *
 * A write of a whole record is one of those attributes that it changes: that of a program which
 * reads a record, changes one field and writes it back must not undo the others. */
#include "tables/merge_private.h"

#include "engine/planted.h"
#include "tables/record.h"

static struct merge_pair stamp_of(const struct merge_version *v, uint32_t i) {
    struct merge_pair stamp = {v->hlc, v->origin};
    struct value kept;

    if (v->state.size_bytes != 0) {
        EG_ASSERT(array_element(v->state, i, &kept));
        if (value_kind_of(kept) != VALUE_NIL)
            EG_ASSERT(merge_get_pair(kept, &stamp));
    }
    return stamp;
}

/* ---- writing ----------------------------------------------------------------------------- */

struct writing {
    const struct merge_rule *rule;
    const struct merge_write *write;
};

static void put_kept_stamps(const void *context, struct value_writer *w) {
    const struct writing *c = context;
    const struct merge_version *old = c->write->old;

    value_put_array(w, c->rule->attribute_count - 1);
    for (uint32_t i = 0; i + 1 < c->rule->attribute_count; i++)
        if (value_same(merge_field(old->record, i), merge_field(c->write->record, i)))
            merge_put_pair(w, stamp_of(old, i));
        else
            value_put_nil(w);
}

eg_err merge_write_attributes(const struct merge_rule *rule, const struct merge_write *w,
                              struct buffer *state) {
    struct writing c = {rule, w};

    if (w->old == NULL || merge_is_removed(w->old))
        return EG_OK;
    for (uint32_t i = 0; i + 1 < rule->attribute_count; i++)
        if (value_same(merge_field(w->old->record, i), merge_field(w->record, i)))
            return merge_append(state, put_kept_stamps, &c);
    return EG_OK;
}

/* ---- joining ------------------------------------------------------------------------------ */

struct joining {
    const struct merge_rule *rule;
    const struct merge_version *here, *there;
};

static const struct merge_version *later(const struct joining *j, uint32_t i) {
    if (PLANTED(ATTRIBUTES_AS_ONE))
        i = 0;
    return merge_pair_is_less(stamp_of(j->here, i), stamp_of(j->there, i)) ? j->there : j->here;
}

static void put_record(const void *context, struct value_writer *w) {
    const struct joining *j = context;
    struct value key;

    EG_ASSERT(array_element(j->here->record, 0, &key));
    value_put_array(w, j->rule->attribute_count);
    value_put_raw(w, key);
    for (uint32_t i = 0; i + 1 < j->rule->attribute_count; i++)
        value_put_raw(w, merge_field(later(j, i)->record, i));
}

static void put_stamps(const void *context, struct value_writer *w) {
    const struct joining *j = context;

    value_put_array(w, j->rule->attribute_count - 1);
    for (uint32_t i = 0; i + 1 < j->rule->attribute_count; i++)
        merge_put_pair(w, stamp_of(later(j, i), i));
}

/* When what stands there was written last: a merge gives what it has made a later stamp. */
static struct merge_pair written_at(const struct joining *j, const struct merge_version *v) {
    struct merge_pair last = {0, 0};

    for (uint32_t i = 0; i + 1 < j->rule->attribute_count; i++)
        if (merge_pair_is_less(last, stamp_of(v, i)))
            last = stamp_of(v, i);
    return j->rule->attribute_count > 1 ? last : (struct merge_pair){v->hlc, v->origin};
}

/* Was the stamp known to who wrote `v`?  Surely where `v` has what its origin wrote then or later;
 * where nothing of that origin is left in it nobody can say. */
static bool has_heard(const struct joining *j, const struct merge_version *v,
                      struct merge_pair stamp) {
    if (v->origin == stamp.second && v->hlc >= stamp.first)
        return true;
    for (uint32_t i = 0; i + 1 < j->rule->attribute_count; i++) {
        struct merge_pair known = stamp_of(v, i);

        if (known.second == stamp.second && known.first >= stamp.first)
            return true;
    }
    return false;
}

/* Does an attribute of `own` go that `other` may not have heard of? */
static bool loses(const struct joining *j, const struct merge_version *own,
                  const struct merge_version *other) {
    for (uint32_t i = 0; i + 1 < j->rule->attribute_count && !PLANTED(ATTRIBUTE_UNNOTED); i++)
        if (later(j, i) == other && !has_heard(j, other, stamp_of(own, i)) &&
            !value_same(merge_field(own->record, i), merge_field(other->record, i)))
            return true;
    return false;
}

eg_err merge_join_attributes(const struct merge_rule *rule, const struct merge_side *here,
                             const struct merge_side *there, enum merge_outcome *outcome,
                             struct merge_loss *loss, struct buffer *record, struct buffer *state) {
    struct joining j = {rule, here->version, there->version};
    eg_err err;

    if (merge_is_removed(j.here) || merge_is_removed(j.there)) {
        *outcome = merge_pair_is_less(written_at(&j, j.here), written_at(&j, j.there))
                       ? MERGE_TAKES_THERE
                       : MERGE_TAKES_HERE;
        return EG_OK;
    }
    *outcome = MERGE_MAKES;
    *loss = (struct merge_loss){.here = loses(&j, j.here, j.there),
                                .there = loses(&j, j.there, j.here)};
    err = merge_append(record, put_record, &j);
    return err != EG_OK ? err : merge_append(state, put_stamps, &j);
}

bool merge_sound_attributes(const struct merge_rule *rule, struct value record,
                            struct value state) {
    struct value_iter it;
    struct value v;
    struct merge_pair stamp;

    (void) record;
    if (value_kind_of(state) != VALUE_ARRAY || value_count(state) != rule->attribute_count - 1)
        return false;
    it = value_iter_of(state);
    while (value_iter_next(&it, &v))
        if (value_kind_of(v) != VALUE_NIL && !merge_get_pair(v, &stamp))
            return false;
    return true;
}
