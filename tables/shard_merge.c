/* shard_merge.c -- states beside a shard's records, as its turns write them. */
#include "tables/shard_merge.h"

#include "tables/shard_conflict.h"
#include "tables/shard_copy_private.h"
#include "tables/shard_sibling.h"
#include "tables/table_private.h"

struct merge_rule shard_merge_rule(const struct schema *schema) {
    return (struct merge_rule){.policy = schema->merge, .attribute_count = schema->attribute_count};
}

struct merge_version shard_merge_version_of(const struct origins *o, struct record_version v,
                                            struct value record, struct value state) {
    return (struct merge_version){.record = record,
                                  .state = state,
                                  .hlc = v.hlc,
                                  .origin = origin_of(o, dot_slot(v.dot)),
                                  .sequence = dot_sequence(v.dot)};
}

struct merge_version shard_merge_version(const struct origins *o, const struct record *rec) {
    return shard_merge_version_of(o, (struct record_version){rec->hlc, rec->dot}, record_value(rec),
                                  record_state(rec));
}

/* Of the shard's origins. */
static bool is_over(const void *context, uint64_t origin) {
    struct shard *s = *(struct shard *const *) context;
    const struct world *w = s->table->world;
    const struct shard_copy_ops *ops = atomic_load(&w->copy_ops);

    return s->copy != NULL && ops != NULL && ops->is_over != NULL &&
           ops->is_over(w->copy_user, s, origin);
}

/* Who adds to what is not there, and was, begins behind its removal, as long as that is known. What
 * has expired was removed as of when it was written. */
static bool was_removed(struct shard_turn *t, const struct record *old, struct value array,
                        struct merge_version *out) {
    struct shard *s = t->shard;
    const struct origins *o = s->table->world->origins;
    const struct value nothing = {NULL, 0};
    const struct grave *g = NULL;

    if (old == NULL && s->copy != NULL)
        g = graves_find(&s->copy->graves, t->key->hash, shard_copy_identity(s, t->key, array));
    if (old == NULL && g == NULL)
        return false;
    *out = shard_merge_version_of(o, old != NULL ? shard_copy_version(old) : g->version, nothing,
                                  nothing);
    return true;
}

eg_err shard_merge_write(struct shard_turn *t, const struct record *old, struct value array,
                         struct record_version version, struct value *state) {
    struct shard *s = t->shard;
    const struct schema *schema = schema_of(s->table);
    const struct origins *o = s->table->world->origins;
    const struct value nothing = {NULL, 0};
    struct buffer *room = t->state_room != NULL ? t->state_room : &s->copy->state;
    struct merge_rule rule = shard_merge_rule(schema);
    struct shard_dropping dropping = {t, shard_merge_version_of(o, version, array, nothing)};
    struct merge_version before;
    struct merge_write w = {
        .record = array,
        .hlc = version.hlc,
        .origin = origin_of(o, dot_slot(version.dot)),
        .sequence = dot_sequence(version.dot),
        .is_over = is_over,
        .context = &s,
        .adds = t->request != NULL && t->request->op == SHARD_COUNTER,
    };
    eg_err err;

    if (old != NULL && !shard_expired(old, t->now_ms)) {
        before = shard_merge_version(o, old);
        w.old = &before;
    } else if (w.adds && was_removed(t, old, array, &before)) {
        w.old = &before;
    }
    if (t->request != NULL && t->request->op == SHARD_REPLACE_SIBLINGS)
        EG_ASSERT(sibling_context(t->request->key, &w.replaces)); /* the table has seen it */
    rule.dropped = shard_conflict_dropped;
    rule.user = &dropping;
    buffer_clear(room);
    err = merge_write_state(&rule, &w, room);
    if (err == EG_TOO_LARGE || array.size_bytes + room->size_bytes > SHARD_MERGED_BYTES_MAX) {
        buffer_clear(room);
        err = EG_OK;
    }
    if (err == EG_OK)
        *state = (struct value){room->at, (uint32_t) room->size_bytes};
    return err;
}

static eg_err cover(void *context, uint64_t origin, uint64_t sequence) {
    struct shard *s = context;
    uint16_t slot;
    eg_err err = origins_slot(shard_copy_origins(s), origin, &slot);

    if (err != EG_OK || slot == shard_copy_origins(s)->own) /* it knows its own */
        return err;
    return shard_copy_cover_one(s, dot_make(slot, sequence));
}

eg_err shard_merge_saw(struct shard_turn *t, const struct record *old) {
    struct shard *s = t->shard;
    struct merge_version version;
    struct merge_rule rule;

    if (EG_LIKELY(!s->copy->loose && !s->copy->more) || t->remote || t->leaving)
        return EG_OK;
    rule = shard_merge_rule(schema_of(s->table));
    version = shard_merge_version(shard_copy_origins(s), old);
    return merge_see_writes(&rule, &version, cover, s);
}

bool shard_state_is_sound(const struct shard *s, struct value array, struct value state) {
    struct merge_rule rule = shard_merge_rule(schema_of(s->table));

    return merge_state_is_sound(&rule, array, state);
}
