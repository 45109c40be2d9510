/* merge.c -- what policies share, and the way to them. */
#include "tables/merge_private.h"

#include "tables/record.h"

#include <string.h>

/* ---- what policies share --------------------------------------------------------------- */

bool merge_is_later(const struct merge_version *a, const struct merge_version *b) {
    if (a->hlc != b->hlc)
        return a->hlc > b->hlc;
    return a->origin != b->origin ? a->origin > b->origin : a->sequence > b->sequence;
}

eg_err merge_append(struct buffer *out, merge_put_fn *put, const void *context) {
    struct value_writer w = value_writer_init(NULL, 0);
    size_t need_bytes;
    uint8_t *room;

    put(context, &w);
    need_bytes = w.need_bytes;
    room = buffer_room(out, need_bytes);
    if (room == NULL)
        return out->size_bytes + need_bytes > out->bound_bytes ? EG_TOO_LARGE : EG_MEMORY;
    w = value_writer_init(room, need_bytes);
    put(context, &w);
    EG_ASSERT(!w.overflow);
    out->size_bytes += need_bytes;
    return EG_OK;
}

struct value merge_field(struct value record, uint32_t i) {
    struct value field;

    EG_ASSERT(array_element(record, i + 1, &field));
    return field;
}

bool merge_get_pair(struct value v, struct merge_pair *out) {
    struct value first, second;

    return value_kind_of(v) == VALUE_ARRAY && value_count(v) == 2 && array_element(v, 0, &first) &&
           array_element(v, 1, &second) && value_is_integer(first) && value_is_integer(second) &&
           value_get_u64(first, &out->first) && value_get_u64(second, &out->second);
}

void merge_put_pair(struct value_writer *w, struct merge_pair p) {
    value_put_array(w, 2);
    value_put_u64(w, p.first);
    value_put_u64(w, p.second);
}

/* ---- without state ---------------------------------------------------------------------- */

static eg_err join_later(const struct merge_rule *rule, const struct merge_side *here,
                         const struct merge_side *there, enum merge_outcome *outcome,
                         struct merge_loss *loss, struct buffer *record, struct buffer *state) {
    (void) rule, (void) loss, (void) record, (void) state;
    *outcome = merge_later(here, there);
    return EG_OK;
}

/* ---- the way ---------------------------------------------------------------------------- */

static const struct {
    merge_join_fn *join;
    merge_write_fn *write; /* NULL: a write has no state, */
    merge_sound_fn *sound; /* and NULL: nothing has       */
    merge_dots_fn *dots;   /* NULL: none are in a state   */
} policies[] = {
    [MERGE_LWW] = {join_later, NULL, NULL, NULL},
    [MERGE_LWW_BY_ATTRIBUTE] = {merge_join_attributes, merge_write_attributes,
                                merge_sound_attributes, NULL},
    [MERGE_FIRST] = {merge_join_first, NULL, merge_sound_parts, merge_see_parts},
    [MERGE_MAX] = {merge_join_extreme, NULL, merge_sound_parts, merge_see_parts},
    [MERGE_MIN] = {merge_join_extreme, NULL, merge_sound_parts, merge_see_parts},
    [MERGE_SIBLINGS] = {merge_join_siblings, merge_write_siblings, merge_sound_siblings,
                        merge_see_siblings},
    [MERGE_COUNTER] = {merge_join_counters, merge_write_counter, merge_sound_counter, NULL},
    [MERGE_SET] = {merge_join_sets, merge_write_set, merge_sound_set, merge_see_elements},
    [MERGE_CALLBACK] = {merge_join_call, NULL, merge_sound_parts, merge_see_parts},
};

eg_err merge_join(const struct merge_rule *rule, const struct merge_side *here,
                  const struct merge_side *there, enum merge_outcome *outcome,
                  struct merge_loss *loss, struct buffer *record, struct buffer *state) {
    eg_err err;

    *loss = (struct merge_loss){.none = false};
    err = policies[rule->policy].join(rule, here, there, outcome, loss, record, state);
    if (err == EG_OK && *outcome != MERGE_MAKES && !loss->none)
        *loss = merge_loss_of(*outcome);
    return err;
}

eg_err merge_write_state(const struct merge_rule *rule, const struct merge_write *w,
                         struct buffer *state) {
    merge_write_fn *write = policies[rule->policy].write;

    return write == NULL ? EG_OK : write(rule, w, state);
}

eg_err merge_see_writes(const struct merge_rule *rule, const struct merge_version *v,
                        merge_see_fn *see, void *context) {
    merge_dots_fn *dots = policies[rule->policy].dots;
    eg_err err = see(context, v->origin, v->sequence);

    return err != EG_OK || dots == NULL || v->state.size_bytes == 0 ? err
                                                                    : dots(rule, v, see, context);
}

bool merge_write_keeps_state(enum table_merge policy) {
    return policies[policy].write != NULL;
}

bool merge_state_is_sound(const struct merge_rule *rule, struct value record, struct value state) {
    merge_sound_fn *sound = policies[rule->policy].sound;

    return state.size_bytes == 0 || (sound != NULL && sound(rule, record, state));
}
