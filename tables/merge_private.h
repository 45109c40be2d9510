/* merge_private.h -- the policies of merge.h:
 *
 *     merge_attribute.c  merge_counter.c  merge_set.c  merge_sibling.c
 *     merge_whole.c      first, max, min, callback
 */
#ifndef TABLES_MERGE_PRIVATE_H
#define TABLES_MERGE_PRIVATE_H

#include "tables/merge.h"

/* Only who makes a version sets *loss, or who knows that there is none: what is not taken is lost
 * else, which merge_join() knows. */
typedef eg_err merge_join_fn(const struct merge_rule *rule, const struct merge_side *here,
                             const struct merge_side *there, enum merge_outcome *outcome,
                             struct merge_loss *loss, struct buffer *record, struct buffer *state);
typedef eg_err merge_write_fn(const struct merge_rule *rule, const struct merge_write *w,
                              struct buffer *state);
typedef bool merge_sound_fn(const struct merge_rule *rule, struct value record, struct value state);

merge_join_fn merge_join_attributes, merge_join_counters, merge_join_sets, merge_join_siblings;
merge_join_fn merge_join_first, merge_join_extreme, merge_join_call;
merge_write_fn merge_write_attributes, merge_write_counter, merge_write_set, merge_write_siblings;
merge_sound_fn merge_sound_attributes, merge_sound_counter, merge_sound_set, merge_sound_siblings;
merge_sound_fn merge_sound_parts;

/* The writes whose dots are in the state, which there is. */
typedef eg_err merge_dots_fn(const struct merge_rule *rule, const struct merge_version *v,
                             merge_see_fn *see, void *context);
merge_dots_fn merge_see_elements, merge_see_siblings, merge_see_parts;

/* Append what `put` writes: it is called twice, first to be measured.  EG_TOO_LARGE: past the
 * buffer's bound.  EG_MEMORY. */
typedef void merge_put_fn(const void *context, struct value_writer *w);
EG_MUST_USE eg_err merge_append(struct buffer *out, merge_put_fn *put, const void *context);

static inline bool merge_is_removed(const struct merge_version *v) {
    return v->record.size_bytes == 0;
}

/* The later of the two, whole. */
static inline enum merge_outcome merge_later(const struct merge_side *here,
                                             const struct merge_side *there) {
    return merge_is_later(there->version, here->version) ? MERGE_TAKES_THERE : MERGE_TAKES_HERE;
}

/* The i-th attribute behind the key. */
struct value merge_field(struct value record, uint32_t i);

/* A pair of numbers: a stamp (hlc, origin) or a dot (origin, sequence). */
struct merge_pair {
    uint64_t first, second;
};
bool merge_get_pair(struct value v, struct merge_pair *out);
void merge_put_pair(struct value_writer *w, struct merge_pair p);
static inline bool merge_pair_is_less(struct merge_pair a, struct merge_pair b) {
    return a.first != b.first ? a.first < b.first : a.second < b.second;
}
static inline bool merge_pair_is(struct merge_pair a, struct merge_pair b) {
    return a.first == b.first && a.second == b.second;
}

#endif /* TABLES_MERGE_PRIVATE_H */
