/* merge_whole.c -- first, max, min and callback: of two versions one, or what is made of both.
 *
 * What a merge makes anew has a stamp and a dot of the master's.  Which writes are in it, its
 * *parts*, stands beside it (of other versions: they themselves), for
 *
 *     - a version whose writer had seen all parts of the other is later than it, whatever stamps
 *       say: it was written, or deleted, knowingly
 *     - a version all of whose parts are in the other has been merged into it already, by a master
 *       that is gone; a function is not asked once more, and what was noted then is noted again,
 *       for that journal may have gone too
 *     - when it was written is what its newest part says
 */
#include "tables/merge_private.h"

#include "engine/planted.h"
#include "tables/record.h"

enum { PARTS_MAX = 64 }; /* of one version: beyond that it counts as written when it was made */

struct part {
    uint64_t hlc, origin, sequence;
};

struct parts {
    uint32_t count;
    struct part at[2 * PARTS_MAX]; /* newest first; two may be put together */
};

/* ---- parts -------------------------------------------------------------------------------- */

static bool part_is(const struct part *a, const struct part *b) {
    return a->origin == b->origin && a->sequence == b->sequence;
}

static bool part_is_later(const struct part *a, const struct part *b) {
    if (a->hlc != b->hlc)
        return a->hlc > b->hlc;
    return a->origin != b->origin ? a->origin > b->origin : a->sequence > b->sequence;
}

static bool get_part(struct value v, struct part *p) {
    struct value_iter it;
    struct value n[3];

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != EG_COUNTOF(n))
        return false;
    it = value_iter_of(v);
    for (size_t i = 0; i < EG_COUNTOF(n); i++)
        if (!value_iter_next(&it, &n[i]) || !value_is_integer(n[i]))
            return false;
    return value_get_u64(n[0], &p->hlc) && value_get_u64(n[1], &p->origin) &&
           value_get_u64(n[2], &p->sequence);
}

static bool get_parts(struct value state, struct parts *p) {
    struct value_iter it;
    struct value v;

    p->count = 0;
    if (value_kind_of(state) != VALUE_ARRAY || value_count(state) == 0 ||
        value_count(state) > PARTS_MAX)
        return false;
    it = value_iter_of(state);
    while (value_iter_next(&it, &v))
        if (!get_part(v, &p->at[p->count++]))
            return false;
    return true;
}

static void parts_of(const struct merge_version *v, struct parts *p) {
    if (v->state.size_bytes != 0 && !PLANTED(PARTS_FORGOTTEN)) {
        EG_ASSERT(get_parts(v->state, p));
        return;
    }
    p->count = 1;
    p->at[0] = (struct part){v->hlc, v->origin, v->sequence};
}

bool merge_sound_parts(const struct merge_rule *rule, struct value record, struct value state) {
    struct parts p;

    (void) rule, (void) record;
    return get_parts(state, &p);
}

eg_err merge_see_parts(const struct merge_rule *rule, const struct merge_version *v,
                       merge_see_fn *see, void *context) {
    struct parts p;
    eg_err err = EG_OK;

    (void) rule;
    parts_of(v, &p);
    for (uint32_t i = 0; i < p.count && err == EG_OK; i++)
        err = see(context, p.at[i].origin, p.at[i].sequence);
    return err;
}

static void put_parts(const void *context, struct value_writer *w) {
    const struct parts *p = context;

    value_put_array(w, p->count);
    for (uint32_t i = 0; i < p->count; i++) {
        value_put_array(w, 3);
        value_put_u64(w, p->at[i].hlc);
        value_put_u64(w, p->at[i].origin);
        value_put_u64(w, p->at[i].sequence);
    }
}

static bool has_part(const struct parts *p, const struct part *one) {
    for (uint32_t i = 0; i < p->count; i++)
        if (part_is(&p->at[i], one))
            return true;
    return false;
}

static bool has_parts(const struct parts *p, const struct parts *some) {
    for (uint32_t i = 0; i < some->count; i++)
        if (!has_part(p, &some->at[i]))
            return false;
    return true;
}

static bool knows_parts(const struct merge_side *side, const struct parts *p) {
    for (uint32_t i = 0; i < p->count; i++)
        if (!side->knows(side->context, p->at[i].origin, p->at[i].sequence))
            return false;
    return true;
}

static void add_part(struct parts *p, const struct part *one) {
    uint32_t i = p->count++;

    for (; i > 0 && part_is_later(one, &p->at[i - 1]); i--)
        p->at[i] = p->at[i - 1];
    p->at[i] = *one;
}

/* ---- which is it ---------------------------------------------------------------------------- */

/* Two versions, and what is in each. */
struct pair {
    const struct merge_version *version[2]; /* here, there */
    struct parts parts[2];
};

enum { HERE, THERE };

static struct pair *read_pair(struct pair *p, const struct merge_side *here,
                              const struct merge_side *there) {
    p->version[HERE] = here->version;
    p->version[THERE] = there->version;
    parts_of(here->version, &p->parts[HERE]);
    parts_of(there->version, &p->parts[THERE]);
    return p;
}

/* By when they were written. */
static int later_of(const struct pair *p) {
    return part_is_later(&p->parts[THERE].at[0], &p->parts[HERE].at[0]) ? THERE : HERE;
}

static bool is_removed(const struct pair *p) {
    return merge_is_removed(p->version[HERE]) || merge_is_removed(p->version[THERE]);
}

/* One of them stands.  Where its stamp is not the later it is made anew. */
static eg_err take(const struct pair *p, int which, enum merge_outcome *outcome,
                   struct buffer *record, struct buffer *state) {
    const struct merge_version *taken = p->version[which];

    *outcome = which == HERE ? MERGE_TAKES_HERE : MERGE_TAKES_THERE;
    if (merge_is_removed(taken) || merge_is_later(taken, p->version[1 - which]))
        return EG_OK;
    *outcome = which == HERE ? MERGE_RENEWS_HERE : MERGE_RENEWS_THERE;
    buffer_clear(record); /* a function's answer, which is the same */
    if (!buffer_append(record, taken->record.at, taken->record.size_bytes))
        return EG_MEMORY;
    return merge_append(state, put_parts, &p->parts[which]);
}

/* Was one written by who had seen the other?  Or is it the same, made twice?  Then it stands. */
static bool is_known(const struct pair *p, const struct merge_side *here,
                     const struct merge_side *there, int *which) {
    bool here_known = knows_parts(there, &p->parts[HERE]);
    bool there_known = knows_parts(here, &p->parts[THERE]);

    *which = here_known ? THERE : HERE;
    if (here_known != there_known)
        return true;
    *which = merge_is_later(p->version[THERE], p->version[HERE]) ? THERE : HERE;
    return p->parts[HERE].count == p->parts[THERE].count &&
           has_parts(&p->parts[HERE], &p->parts[THERE]);
}

/* ---- first, max, min ------------------------------------------------------------------------ */

eg_err merge_join_first(const struct merge_rule *rule, const struct merge_side *here,
                        const struct merge_side *there, enum merge_outcome *outcome,
                        struct merge_loss *loss, struct buffer *record, struct buffer *state) {
    struct pair pair, *p = read_pair(&pair, here, there);
    int which;

    (void) rule;
    loss->none = is_known(p, here, there, &which);
    if (!loss->none)
        which = PLANTED(LATER_OVER_FIRST) ? later_of(p) : 1 - later_of(p);
    return take(p, which, outcome, record, state);
}

/* Their keys are equal, so the records compare as what is behind them.  A removal has no
 * size: then, as where both are equal, the later. */
eg_err merge_join_extreme(const struct merge_rule *rule, const struct merge_side *here,
                          const struct merge_side *there, enum merge_outcome *outcome,
                          struct merge_loss *loss, struct buffer *record, struct buffer *state) {
    struct pair pair, *p = read_pair(&pair, here, there);
    int order = is_removed(p) ? 0 : value_compare(here->version->record, there->version->record);
    int which;

    loss->none = is_known(p, here, there, &which);
    if (!loss->none && order == 0)
        which = later_of(p);
    else if (!loss->none && PLANTED(LATER_OVER_GREATER))
        which = later_of(p);
    else if (!loss->none)
        which = (order > 0) == (rule->policy == MERGE_MAX) ? HERE : THERE;
    return take(p, which, outcome, record, state);
}

/* ---- callback ---------------------------------------------------------------------------------
 */

/* All that is in one is in the other. */
static bool is_in(const struct pair *p, int *which) {
    bool here = has_parts(&p->parts[THERE], &p->parts[HERE]);

    *which = here ? THERE : HERE;
    return here || has_parts(&p->parts[HERE], &p->parts[THERE]);
}

/* It has what is in both.  EG_OK, and nothing beside it, where that is too much. */
static eg_err put_all_parts(struct pair *p, struct buffer *state) {
    struct parts *all = &p->parts[HERE];

    for (uint32_t i = 0; i < p->parts[THERE].count; i++)
        if (!has_part(all, &p->parts[THERE].at[i]))
            add_part(all, &p->parts[THERE].at[i]);
    return all->count > PARTS_MAX ? EG_OK : merge_append(state, put_parts, all);
}

static eg_err call(const struct merge_rule *rule, struct pair *p, enum merge_outcome *outcome,
                   struct merge_loss *loss, struct buffer *record, struct buffer *state) {
    int newer = later_of(p);
    struct value winner = p->version[newer]->record, loser = p->version[1 - newer]->record, made;
    bool asks = rule->call != NULL && !PLANTED(CALLBACK_NOT_ASKED) &&
                (winner.size_bytes != 0 || loser.size_bytes != 0);
    eg_err err = asks ? rule->call(rule->context, winner, loser, record) : EG_OK;

    if (err == EG_MEMORY)
        return err;
    if (err != EG_OK && rule->failed != NULL)
        rule->failed(rule->user, err);
    made = (struct value){record->at, (uint32_t) record->size_bytes};
    if (err != EG_OK || !asks || value_same(made, winner))
        return take(p, newer, outcome, record, state);
    if (value_same(made, loser))
        return take(p, 1 - newer, outcome, record, state);
    *outcome = MERGE_MAKES;
    *loss = (struct merge_loss){.here = !PLANTED(MADE_UNNOTED), .there = !PLANTED(MADE_UNNOTED)};
    return made.size_bytes == 0 ? EG_OK : put_all_parts(p, state);
}

eg_err merge_join_call(const struct merge_rule *rule, const struct merge_side *here,
                       const struct merge_side *there, enum merge_outcome *outcome,
                       struct merge_loss *loss, struct buffer *record, struct buffer *state) {
    struct pair pair, *p = read_pair(&pair, here, there);
    int which;

    loss->none = is_known(p, here, there, &which);
    if (loss->none || is_in(p, &which))
        return take(p, which, outcome, record, state);
    return call(rule, p, outcome, loss, record, state);
}
