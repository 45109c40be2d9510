/* merge_counter.c -- counters: the last plain write, and what each origin has added since.
 *
 *     value = base + sum of every origin's part
 *
 * An origin's part only grows by its own additions, so of two parts of one origin the later
 * holds the earlier, and nothing is counted twice however often copies meet (a PN-counter: Shapiro
 * et al., "A comprehensive study of convergent and commutative replicated data types").  A
 * record that was made by adding has the base that nobody wrote: stamp 0, zeros.  A value that two
 * sides together have brought past 64 bits stays at their end, and both are told to have lost; base
 * and parts go on being what they were.  Where a part itself would leave 64 bits (a value may have
 * begun at their other end) the write counts as one of the whole record.
 *
 * One that was removed and is made anew by adding has its removal for a base, and zeros: a removal
 * is then what a plain write of 0 would be.  On the base that nobody wrote all that was removed
 * would come in again, from who has added to it unknown of that.
 *
 * Every start of a node is an origin, so parts would grow in number for ever.  The part of one that
 * makes no more changes goes into the base's values: it is *folded*, and the base counts how often
 * that was.  Only one side of a cut can fold, for all copies must be there; so of two versions on
 * one base the one with more folds has the other's.  A part that the other still has was folded
 * where that side's clock knows of it. */
#include "engine/planted.h"
#include "tables/merge_private.h"

#include "tables/record.h"

enum { STATE_FIELDS = 4 /* and folds, where there are any */, PART_FIELDS = 3 };

/* What a version consists of; a plain write is its own base. */
struct counted {
    struct merge_pair base; /* hlc, origin */
    struct value values;    /* behind the key; size 0: those of the record */
    struct value parts;     /* size 0: none */
    uint64_t folds;
    const struct merge_version *version;
};

static bool read_state(struct value state, struct counted *c) {
    struct value hlc, origin, folds;
    uint32_t count;

    if (value_kind_of(state) != VALUE_ARRAY)
        return false;
    count = value_count(state);
    if (count == STATE_FIELDS + 1 && (!array_element(state, STATE_FIELDS, &folds) ||
                                      !value_is_integer(folds) || !value_get_u64(folds, &c->folds)))
        return false;
    return (count == STATE_FIELDS || count == STATE_FIELDS + 1) && array_element(state, 0, &hlc) &&
           array_element(state, 1, &origin) && value_is_integer(hlc) && value_is_integer(origin) &&
           value_get_u64(hlc, &c->base.first) && value_get_u64(origin, &c->base.second) &&
           array_element(state, 2, &c->values) && array_element(state, 3, &c->parts);
}

static struct counted counted_of(const struct merge_version *v) {
    struct counted c = {.base = {v->hlc, v->origin}, .version = v};

    if (v->state.size_bytes != 0)
        EG_ASSERT(read_state(v->state, &c));
    return c;
}

/* ---- numbers ------------------------------------------------------------------------------ */

static bool number(struct value v, int64_t *n) {
    return value_is_integer(v) && value_get_i64(v, n);
}

/* Sums: no sum of as many numbers as there can be leaves it. */
typedef __int128 wide;

static bool is_beyond(wide n) {
    return n < INT64_MIN || n > INT64_MAX;
}

static int64_t nearest(wide n) {
    return (int64_t) (n < INT64_MIN ? INT64_MIN : n > INT64_MAX ? INT64_MAX : n);
}

/* ---- parts --------------------------------------------------------------------------------- */

struct part {
    uint64_t origin, sequence;
    struct value sums;
};

static bool read_part(struct value v, struct part *p) {
    struct value origin, sequence;

    return value_kind_of(v) == VALUE_ARRAY && value_count(v) == PART_FIELDS &&
           array_element(v, 0, &origin) && array_element(v, 1, &sequence) &&
           value_is_integer(origin) && value_is_integer(sequence) &&
           value_get_u64(origin, &p->origin) && value_get_u64(sequence, &p->sequence) &&
           array_element(v, 2, &p->sums);
}

static bool next_part(struct value_iter *it, struct part *p) {
    struct value v;

    if (!value_iter_next(it, &v))
        return false;
    EG_ASSERT(read_part(v, p));
    return true;
}

static struct value_iter parts_of(const struct counted *c) {
    return c->parts.size_bytes == 0 ? (struct value_iter){NULL, 0} : value_iter_of(c->parts);
}

static bool find_part(const struct counted *c, uint64_t origin, struct part *p) {
    struct value_iter it = parts_of(c);

    while (next_part(&it, p))
        if (p->origin == origin)
            return true;
    return false;
}

static int64_t sum_at(const struct part *p, uint32_t i) {
    struct value v;
    int64_t n;

    EG_ASSERT(array_element(p->sums, i, &v));
    EG_ASSERT(number(v, &n));
    return n;
}

/* The value of the base at attribute i. */
static struct value base_at(const struct counted *c, uint32_t i) {
    struct value v;

    if (c->values.size_bytes == 0)
        return merge_field(c->version->record, i);
    EG_ASSERT(array_element(c->values, i, &v));
    return v;
}

static void put_stamp(const struct counted *c, struct value_writer *w) {
    value_put_array(w, STATE_FIELDS + (c->folds != 0));
    value_put_u64(w, c->base.first);
    value_put_u64(w, c->base.second);
}

static void put_folds(uint64_t folds, struct value_writer *w) {
    if (folds != 0)
        value_put_u64(w, folds);
}

static void put_part(const struct part *p, struct value_writer *w) {
    value_put_array(w, PART_FIELDS);
    value_put_u64(w, p->origin);
    value_put_u64(w, p->sequence);
    value_put_raw(w, p->sums);
}

/* ---- writing -------------------------------------------------------------------------------- */

struct adding {
    uint32_t count; /* of attributes behind the key */
    const struct merge_write *write;
    bool is_new; /* it was not there: the base is zeros */
    struct counted old;
    uint32_t kept; /* parts of others that are not folded */
};

static bool is_folded(const struct adding *a, const struct part *p) {
    return p->origin != a->write->origin && a->write->is_over != NULL &&
           a->write->is_over(a->write->context, p->origin);
}

/* What the write adds at attribute i; 0 where there is no number. */
static wide difference(const struct adding *a, uint32_t i) {
    int64_t now, before = 0;

    if (!number(merge_field(a->write->record, i), &now))
        return 0;
    if (!a->is_new && !number(merge_field(a->write->old->record, i), &before))
        return 0;
    return (wide) now - before;
}

/* What the write's origin has added at attribute i; `before` NULL: nothing yet. */
static wide own_sum(const struct adding *a, const struct part *before, uint32_t i) {
    return difference(a, i) + (before == NULL ? 0 : sum_at(before, i));
}

/* The base's value at attribute i, which is the number n, and what is folded into it. */
static wide folded_value(const struct adding *a, uint32_t i, int64_t n) {
    struct value_iter it = parts_of(&a->old);
    struct part p;
    wide sum = n;

    while (next_part(&it, &p))
        if (is_folded(a, &p))
            sum += sum_at(&p, i);
    return sum;
}

static bool leaves_64_bits(const struct adding *a) {
    struct part own;
    bool has_own = find_part(&a->old, a->write->origin, &own), leaves = false;
    int64_t n;

    for (uint32_t i = 0; i < a->count; i++) {
        leaves |= is_beyond(own_sum(a, has_own ? &own : NULL, i));
        if (!a->is_new && number(base_at(&a->old, i), &n))
            leaves |= is_beyond(folded_value(a, i, n));
    }
    return leaves;
}

static void put_own_part(const struct adding *a, const struct part *before,
                         struct value_writer *w) {
    value_put_array(w, PART_FIELDS);
    value_put_u64(w, a->write->origin);
    value_put_u64(w, a->write->sequence);
    value_put_array(w, a->count);
    for (uint32_t i = 0; i < a->count; i++)
        value_put_i64(w, (int64_t) own_sum(a, before, i));
}

static void put_zeros(const struct adding *a, struct value_writer *w) {
    int64_t n;

    for (uint32_t i = 0; i < a->count; i++)
        if (number(merge_field(a->write->record, i), &n))
            value_put_i64(w, 0);
        else
            value_put_raw(w, merge_field(a->write->record, i));
}

/* The base's values, and what is folded into them. */
static void put_values(const struct adding *a, struct value_writer *w) {
    int64_t n;

    for (uint32_t i = 0; i < a->count; i++)
        if (number(base_at(&a->old, i), &n))
            value_put_i64(w, (int64_t) folded_value(a, i, n));
        else
            value_put_raw(w, base_at(&a->old, i));
}

static void put_added(const void *context, struct value_writer *w) {
    const struct adding *a = context;
    struct value_iter it = parts_of(&a->old);
    struct part own, p;
    bool has_own = find_part(&a->old, a->write->origin, &own);

    put_stamp(&a->old, w);
    value_put_array(w, a->count);
    if (a->is_new)
        put_zeros(a, w);
    else
        put_values(a, w);
    value_put_array(w, a->kept + 1);
    while (next_part(&it, &p))
        if (p.origin != a->write->origin && !is_folded(a, &p))
            put_part(&p, w);
    put_own_part(a, has_own ? &own : NULL, w);
    put_folds(a->old.folds, w);
}

eg_err merge_write_counter(const struct merge_rule *rule, const struct merge_write *w,
                           struct buffer *state) {
    struct adding a = {.count = rule->attribute_count - 1, .write = w};
    uint32_t folded = 0;
    struct value_iter it;
    struct part p;

    if (!w->adds)
        return EG_OK;
    a.is_new = w->old == NULL || merge_is_removed(w->old);
    if (!a.is_new)
        a.old = counted_of(w->old);
    else if (w->old != NULL)
        a.old.base = (struct merge_pair){w->old->hlc, w->old->origin};
    if (leaves_64_bits(&a))
        return EG_TOO_LARGE;
    it = parts_of(&a.old);
    while (next_part(&it, &p)) {
        folded += is_folded(&a, &p);
        a.kept += p.origin != w->origin && !is_folded(&a, &p);
    }
    a.old.folds += folded != 0;
    return merge_append(state, put_added, &a);
}

/* ---- joining ----------------------------------------------------------------------------------
 */

/* `here` is the side that has more folds, if one has. */
struct joining {
    uint32_t count;
    struct counted here, there;
    const struct merge_side *side; /* of `here` */
};

/* What only `there` has: has it gone into the values here? */
static bool was_folded(const struct joining *j, const struct part *p) {
    return j->here.folds != j->there.folds &&
           j->side->knows(j->side->context, p->origin, p->sequence);
}

/* The later of both sides' parts of an origin that `here` has; then what only `there` has. */
static bool next_joined(const struct joining *j, struct value_iter *here, struct value_iter *there,
                        struct part *p) {
    struct part other;

    if (next_part(here, p)) {
        if (!PLANTED(COUNTER_PART_KEPT) && find_part(&j->there, p->origin, &other) &&
            other.sequence > p->sequence)
            *p = other;
        return true;
    }
    while (next_part(there, p))
        if (PLANTED(COUNTER_ADDED_TWICE) ||
            (!find_part(&j->here, p->origin, &other) && !was_folded(j, p)))
            return true;
    return false;
}

static void put_joined_parts(const struct joining *j, struct value_writer *w) {
    struct value_iter here = parts_of(&j->here), there = parts_of(&j->there);
    struct part p;
    uint32_t count = 0;

    while (next_joined(j, &here, &there, &p))
        count++;
    value_put_array(w, count);
    here = parts_of(&j->here);
    there = parts_of(&j->there);
    while (next_joined(j, &here, &there, &p))
        put_part(&p, w);
}

static void put_state(const void *context, struct value_writer *w) {
    const struct joining *j = context;

    put_stamp(&j->here, w);
    value_put_array(w, j->count);
    for (uint32_t i = 0; i < j->count; i++)
        value_put_raw(w, base_at(&j->here, i));
    put_joined_parts(j, w);
    put_folds(j->here.folds, w);
}

/* All of it at attribute i.  False: the base has no number there. */
static bool total(const struct joining *j, uint32_t i, wide *sum) {
    struct value_iter here = parts_of(&j->here), there = parts_of(&j->there);
    struct part p;
    int64_t n;

    if (!number(base_at(&j->here, i), &n))
        return false;
    *sum = n;
    while (next_joined(j, &here, &there, &p))
        *sum += sum_at(&p, i);
    return true;
}

static void put_value(const struct joining *j, uint32_t i, struct value_writer *w) {
    wide sum;

    if (total(j, i, &sum))
        value_put_i64(w, nearest(sum));
    else
        value_put_raw(w, base_at(&j->here, i));
}

static bool is_past_64_bits(const struct joining *j) {
    bool past = false;
    wide sum;

    for (uint32_t i = 0; i < j->count; i++)
        past |= total(j, i, &sum) && is_beyond(sum);
    return past;
}

static void put_record(const void *context, struct value_writer *w) {
    const struct joining *j = context;
    struct value key;

    EG_ASSERT(array_element(j->here.version->record, 0, &key));
    value_put_array(w, j->count + 1);
    value_put_raw(w, key);
    for (uint32_t i = 0; i < j->count; i++)
        put_value(j, i, w);
}

eg_err merge_join_counters(const struct merge_rule *rule, const struct merge_side *here,
                           const struct merge_side *there, enum merge_outcome *outcome,
                           struct merge_loss *loss, struct buffer *record, struct buffer *state) {
    struct joining j = {.count = rule->attribute_count - 1};
    eg_err err;

    if (merge_is_removed(here->version) || merge_is_removed(there->version)) {
        *outcome = merge_later(here, there);
        return EG_OK;
    }
    j.here = counted_of(here->version);
    j.there = counted_of(there->version);
    j.side = here;
    if (!merge_pair_is(j.here.base, j.there.base)) { /* the later one, as it is */
        bool takes_here = merge_pair_is_less(j.there.base, j.here.base);

        *outcome = takes_here ? MERGE_TAKES_HERE : MERGE_TAKES_THERE;
        if (merge_later(here, there) == *outcome)
            return EG_OK;
        *loss = merge_loss_of(*outcome);
        if (takes_here) /* and as of when it was written, for others that have added to it */
            j.there = j.here;
        else
            j.here = j.there;
    } else if (j.there.folds > j.here.folds) {
        struct counted swapped = j.here;

        j.here = j.there;
        j.there = swapped;
        j.side = there;
    }
    *outcome = MERGE_MAKES;
    if (!loss->here && !loss->there && is_past_64_bits(&j))
        *loss = (struct merge_loss){.here = true, .there = true, .past = true};
    err = merge_append(record, put_record, &j);
    return err != EG_OK ? err : merge_append(state, put_state, &j);
}

/* ---- from outside
 * -------------------------------------------------------------------------------- */

static bool are_numbers(struct value v, uint32_t count) {
    struct value_iter it;
    struct value element;
    int64_t n;

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != count)
        return false;
    it = value_iter_of(v);
    while (value_iter_next(&it, &element))
        if (!number(element, &n))
            return false;
    return true;
}

bool merge_sound_counter(const struct merge_rule *rule, struct value record, struct value state) {
    uint32_t count = rule->attribute_count - 1;
    struct counted c = {.version = NULL};
    struct value_iter it;
    struct value v;
    struct part p;

    (void) record;
    if (!read_state(state, &c) || value_kind_of(c.values) != VALUE_ARRAY ||
        value_count(c.values) != count || value_kind_of(c.parts) != VALUE_ARRAY)
        return false;
    it = value_iter_of(c.parts);
    while (value_iter_next(&it, &v))
        if (!read_part(v, &p) || !are_numbers(p.sums, count))
            return false;
    return true;
}
