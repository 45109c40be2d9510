/* shard_conflict.c -- what becomes of two versions of a key, and who hears of it. */
#include "tables/shard_conflict.h"

#include "engine/planted.h"
#include "engine/env.h"
#include "tables/merge_call.h"
#include "tables/shard_copy.h"
#include "tables/shard_merge.h"
#include "tables/table_private.h"

/* Whose clock knows of a dot; one of an origin that has no slot here is known to nobody.  Its
 * version may be later than its clock, for it came before an END that has not come: who wrote
 * that knew at least of what it had written itself before. */
struct knower {
    struct origins *origins;
    const struct shard_clock *clock;
    const struct merge_version *version;
};

static bool knows(const void *context, uint64_t origin, uint64_t sequence) {
    const struct knower *k = context;
    uint16_t slot;

    if (origin == k->version->origin && sequence <= k->version->sequence)
        return true;
    return origins_slot(k->origins, origin, &slot) == EG_OK &&
           shard_clock_covers(k->clock, dot_make(slot, sequence));
}

static struct conflict_version named(const struct merge_version *v,
                                     const struct shard_clock *clock) {
    return (struct conflict_version){v->hlc, v->origin, v->sequence, clock};
}

static struct conflict_version named_sibling(const struct merge_sibling *s,
                                             const struct shard_clock *clock) {
    return (struct conflict_version){s->hlc, s->origin, s->sequence, clock};
}

/* `past` (merge.h): it is told even where nothing of it can be seen. */
static void report(struct shard_turn *t, bool past, struct value winner,
                   struct conflict_version met, struct value loser, struct conflict_version lost) {
    const struct world *w = t->shard->table->world;
    struct shard_conflict c = {
        .shard = t->shard,
        .key = t->key->value,
        .winner = winner,
        .loser = loser,
        .met = met,
        .lost = lost,
        .teller = t->teller_node,
    };

    if (!past && value_same(winner, loser)) /* what stands is as it was: nothing of it is lost */
        return;
    if (w->copy_ops != NULL && w->copy_ops->conflict != NULL)
        w->copy_ops->conflict(w->copy_user, &c);
    else
        table_conflict(t->shard, &c, &(struct conflict_place){"", "", "", t->now_ms});
}

void shard_conflict_cleared(struct shard_turn *t, const struct merge_version *loser,
                            const struct shard_clock *holder, struct record_version clear,
                            const struct shard_clock *clearer) {
    const struct table *table = t->shard->table;
    const struct merge_version none = {.hlc = 0}; /* a clear knows by its clock alone */
    struct knower who = {table->world->origins, clearer, &none};
    const struct conflict_version met = {clear.hlc, origin_of(who.origins, dot_slot(clear.dot)),
                                         dot_sequence(clear.dot), clearer};
    struct merge_sibling list[MERGE_SIBLINGS_MAX];
    uint32_t count = 1;

    list[0] = (struct merge_sibling){loser->hlc, loser->origin, loser->sequence, loser->record};
    if (schema_of(table)->merge == MERGE_SIBLINGS)
        count = merge_siblings(loser, list);
    for (uint32_t i = count; i-- > 0;) /* the newest is reported last: it is shown first */
        if (i == 0 || !knows(&who, list[i].origin, list[i].sequence))
            report(t, false, (struct value){NULL, 0}, met, list[i].record,
                   named_sibling(&list[i], holder));
}

void shard_conflict_dropped(void *dropping, const struct merge_sibling *loser) {
    const struct shard_dropping *d = dropping;

    report(d->turn, false, d->winner.record, named(&d->winner, NULL), loser->record,
           named_sibling(loser, NULL));
}

/* A function that fails must not keep a copy from being heard: the later stays. */
static void callback_failed(void *dropping, eg_err err) {
    const struct shard_dropping *d = dropping;
    struct table *t = d->turn->shard->table;

    if (atomic_fetch_add(&t->world->journals.failed, 1) == 0)
        env_log(t->world->o.env, ENV_LOG_WARN, "merge", "the callback of table %s fails: %s",
                t->name.text, eg_err_text(err));
}

static void counter_past(struct table *t) {
    if (atomic_fetch_add(&t->world->journals.past, 1) == 0)
        env_log(t->world->o.env, ENV_LOG_WARN, "merge",
                "a counter of table %s stays at the end of 64 bits: both sides' values are in the "
                "journal",
                t->name.text);
}

/* Whose expiry the outcome has: what stands has its own; what was made of both that of the later,
 * a removal has none. */
static const struct merge_version *expiring(enum merge_outcome outcome,
                                            const struct merge_version *here,
                                            const struct merge_version *there) {
    if (outcome == MERGE_TAKES_HERE || outcome == MERGE_RENEWS_HERE)
        return here;
    if (outcome == MERGE_TAKES_THERE || outcome == MERGE_RENEWS_THERE)
        return there;
    if (here->record.size_bytes == 0 || there->record.size_bytes == 0)
        return here->record.size_bytes == 0 ? there : here;
    return merge_is_later(here, there) ? here : there;
}

eg_err shard_conflict_judge(struct shard_turn *t, const struct merge_version *here,
                            const struct merge_version *there, struct shard_verdict *out) {
    struct shard *s = t->shard;
    struct shard_copy *copy = s->copy;
    struct merge_rule rule = shard_merge_rule(schema_of(s->table));
    struct knower ours = {s->table->world->origins, &copy->clock, here};
    struct knower theirs = {s->table->world->origins, t->teller, there};
    struct merge_side a = {here, knows, &ours}, b = {there, knows, &theirs};
    const struct merge_version *later = merge_is_later(here, there) ? here : there;
    struct shard_dropping dropping = {t, *later};
    const struct conflict_version own = named(here, &copy->clock), told = named(there, t->teller);
    const struct schema *schema = schema_of(s->table);
    struct merge_call call = {.alloc = s->table->world->o.alloc,
                              .callback = schema->callback,
                              .attribute_count = schema->attribute_count,
                              .function = s->table->world->o.merge,
                              .function_count = s->table->world->o.merge_count};
    enum merge_outcome outcome;
    struct merge_loss loss;
    eg_err err;

    rule.dropped = shard_conflict_dropped;
    rule.failed = callback_failed;
    rule.user = &dropping;
    rule.call = call.callback.size_bytes == 0 ? NULL : merge_call_run;
    rule.context = &call;
    buffer_clear(&copy->merged);
    buffer_clear(&copy->state);
    err = merge_join(&rule, &a, &b, &outcome, &loss, &copy->merged, &copy->state);
    if (err == EG_TOO_LARGE && copy->merged.size_bytes == 0) { /* no record can be so large */
        outcome = later == here ? MERGE_TAKES_HERE : MERGE_TAKES_THERE;
        loss = merge_loss_of(outcome);
    } else if (err == EG_TOO_LARGE ||
               copy->merged.size_bytes + copy->state.size_bytes > SHARD_MERGED_BYTES_MAX) {
        buffer_clear(&copy->state); /* then it counts as written now, as a whole */
    }
    if (err != EG_OK && err != EG_TOO_LARGE)
        return err;
    *out = (struct shard_verdict){.is_new = merge_is_new(outcome),
                                  .expires_as_there = expiring(outcome, here, there) == there};
    if (out->is_new) {
        out->record = (struct value){copy->merged.at, (uint32_t) copy->merged.size_bytes};
        out->state = (struct value){copy->state.at, (uint32_t) copy->state.size_bytes};
    } else {
        const struct merge_version *taken = outcome == MERGE_TAKES_HERE ? here : there;

        out->is_new = taken != later;
        out->record = taken->record;
        out->state = taken->state;
    }
    if (loss.past)
        counter_past(s->table);
    if (loss.here)
        report(t, loss.past, out->record, told, here->record, own);
    if (loss.there && !PLANTED(LOSS_UNNOTED))
        report(t, loss.past, out->record, own, there->record, told);
    if (loss.there && PLANTED(LOSS_NOTED_TWICE))
        report(t, loss.past, out->record, own, there->record, told);
    return EG_OK;
}
