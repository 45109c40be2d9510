/* merge.c -- the policies that need no state, and the way to those that do. */
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

/* When it was written: a merge gives what has won a later stamp. */
static struct merge_pair written_at(const struct merge_version *v) {
    struct merge_pair stamp = {v->hlc, v->origin};

    if (v->state.size_bytes != 0)
        EG_ASSERT(merge_get_pair(v->state, &stamp));
    return stamp;
}

static void put_stamp(const void *context, struct value_writer *w) {
    merge_put_pair(w, *(const struct merge_pair *) context);
}

static eg_err join_first(const struct merge_rule *rule, const struct merge_side *here,
                         const struct merge_side *there, enum merge_outcome *outcome,
                         struct merge_loss *loss, struct buffer *record, struct buffer *state) {
    struct merge_pair a = written_at(here->version), b = written_at(there->version), *first;
    const struct merge_version *taken;

    (void) rule;
    first = merge_pair_is_less(b, a) ? &b : &a;
    taken = first == &a ? here->version : there->version;
    *outcome = first == &a ? MERGE_TAKES_HERE : MERGE_TAKES_THERE;
    if (merge_is_removed(taken) || merge_later(here, there) == *outcome)
        return EG_OK;
    *outcome = MERGE_MAKES;
    *loss = (struct merge_loss){.here = first == &b, .there = first == &a};
    if (!buffer_append(record, taken->record.at, taken->record.size_bytes))
        return EG_MEMORY;
    return merge_append(state, put_stamp, first);
}

static eg_err write_first(const struct merge_rule *rule, const struct merge_write *w,
                          struct buffer *state) {
    (void) rule, (void) w, (void) state;
    return EG_OK;
}

static bool sound_first(const struct merge_rule *rule, struct value record, struct value state) {
    struct merge_pair stamp;

    (void) rule, (void) record;
    return merge_get_pair(state, &stamp);
}

/* Their keys are equal, so the records compare as what is behind them.  A removal has no
 * size: then, as where both are equal, the later. */
static eg_err join_extreme(const struct merge_rule *rule, const struct merge_side *here,
                           const struct merge_side *there, enum merge_outcome *outcome,
                           struct merge_loss *loss, struct buffer *record, struct buffer *state) {
    const struct merge_version *a = here->version, *b = there->version;
    int order =
        merge_is_removed(a) || merge_is_removed(b) ? 0 : value_compare(a->record, b->record);

    (void) loss, (void) record, (void) state;
    if (order == 0)
        *outcome = merge_later(here, there);
    else
        *outcome =
            (order > 0) == (rule->policy == MERGE_MAX) ? MERGE_TAKES_HERE : MERGE_TAKES_THERE;
    return EG_OK;
}

static bool is_same(struct value a, struct value b) {
    return a.size_bytes == b.size_bytes &&
           (a.size_bytes == 0 || memcmp(a.at, b.at, a.size_bytes) == 0);
}

static eg_err join_call(const struct merge_rule *rule, const struct merge_side *here,
                        const struct merge_side *there, enum merge_outcome *outcome,
                        struct merge_loss *loss, struct buffer *record, struct buffer *state) {
    bool is_here = merge_later(here, there) == MERGE_TAKES_HERE;
    struct value newer = (is_here ? here : there)->version->record;
    struct value older = (is_here ? there : here)->version->record;
    bool asks = rule->call != NULL && (newer.size_bytes != 0 || older.size_bytes != 0);
    eg_err err = asks ? rule->call(rule->context, newer, older, record) : EG_OK;
    struct value made;

    (void) state;
    made = (struct value){record->at, (uint32_t) record->size_bytes};
    *outcome = is_here ? MERGE_TAKES_HERE : MERGE_TAKES_THERE;
    if (err != EG_OK && err != EG_MEMORY && rule->failed != NULL)
        rule->failed(rule->user, err);
    if (err != EG_OK || !asks || is_same(made, newer))
        return err == EG_MEMORY ? err : EG_OK;
    if (is_same(made, older)) {
        *outcome = is_here ? MERGE_TAKES_THERE : MERGE_TAKES_HERE;
    } else {
        *outcome = MERGE_MAKES;
        *loss = (struct merge_loss){.here = true, .there = true};
    }
    return EG_OK;
}

/* ---- the way ---------------------------------------------------------------------------- */

static const struct {
    merge_join_fn *join;
    merge_write_fn *write; /* NULL: no state */
    merge_sound_fn *sound;
} policies[] = {
    [MERGE_LWW] = {join_later, NULL, NULL},
    [MERGE_LWW_BY_ATTRIBUTE] = {merge_join_attributes, merge_write_attributes,
                                merge_sound_attributes},
    [MERGE_FIRST] = {join_first, write_first, sound_first},
    [MERGE_MAX] = {join_extreme, NULL, NULL},
    [MERGE_MIN] = {join_extreme, NULL, NULL},
    [MERGE_SIBLINGS] = {merge_join_siblings, merge_write_siblings, merge_sound_siblings},
    [MERGE_COUNTER] = {merge_join_counters, merge_write_counter, merge_sound_counter},
    [MERGE_SET] = {merge_join_sets, merge_write_set, merge_sound_set},
    [MERGE_CALLBACK] = {join_call, NULL, NULL},
};

eg_err merge_join(const struct merge_rule *rule, const struct merge_side *here,
                  const struct merge_side *there, enum merge_outcome *outcome,
                  struct merge_loss *loss, struct buffer *record, struct buffer *state) {
    eg_err err;

    *loss = (struct merge_loss){.here = false, .there = false};
    err = policies[rule->policy].join(rule, here, there, outcome, loss, record, state);
    if (err == EG_OK && *outcome != MERGE_MAKES)
        *loss = merge_loss_of(*outcome);
    return err;
}

eg_err merge_write_state(const struct merge_rule *rule, const struct merge_write *w,
                         struct buffer *state) {
    merge_write_fn *write = policies[rule->policy].write;

    return write == NULL ? EG_OK : write(rule, w, state);
}

bool merge_keeps_state(enum table_merge policy) {
    return policies[policy].write != NULL;
}

bool merge_state_is_sound(const struct merge_rule *rule, struct value record, struct value state) {
    merge_sound_fn *sound = policies[rule->policy].sound;

    return state.size_bytes == 0 || (sound != NULL && sound(rule, record, state));
}
