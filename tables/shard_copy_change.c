/* shard_copy_change.c -- one change as copies tell it to each other: written, and read from outside
 * (the forms are in shard_copy.h). */
#include "tables/shard_copy_private.h"

#include "engine/planted.h"
#include "tables/shard_merge.h"

enum {
    STORE_FIELDS = 6, /* without a state */
    REMOVE_FIELDS = 5,
    CLEAR_FIELDS = 4,
};

static void put_head(const struct origins *o, enum copy_change_kind kind, uint32_t count,
                     struct record_version v, struct value_writer *w) {
    value_put_array(w, count);
    value_put_u64(w, kind);
    value_put_u64(w, origin_of(o, dot_slot(v.dot)));
    value_put_u64(w, dot_sequence(v.dot));
    value_put_u64(w, v.hlc);
}

void shard_copy_put_store(const struct origins *o, struct value array, struct value state,
                          struct record_version v, uint64_t expiry_ms, struct value_writer *w) {
    put_head(o, CHANGE_STORE, STORE_FIELDS + (state.size_bytes != 0), v, w);
    value_put_u64(w, expiry_ms == RANK_NEVER || PLANTED(EXPIRY_UNTOLD) ? 0 : expiry_ms);
    value_put_raw(w, array);
    if (state.size_bytes != 0)
        value_put_raw(w, state);
}

void shard_copy_put_record(const struct origins *o, const struct record *rec,
                           struct value_writer *w) {
    shard_copy_put_store(o, record_value(rec), record_state(rec), shard_copy_version(rec),
                         record_expiry_ms(rec), w);
}

void shard_copy_put_grave(const struct origins *o, const struct grave *g, struct value_writer *w) {
    put_head(o, CHANGE_REMOVE, REMOVE_FIELDS, g->version, w);
    value_put_raw(w, grave_value(g));
}

void shard_copy_put_clear(const struct origins *o, struct record_version v,
                          struct value_writer *w) {
    put_head(o, CHANGE_CLEAR, CLEAR_FIELDS, v, w);
}

/* Does the value belong here, in this shape and this shard? */
static eg_err check_value(struct shard *s, const struct copy_change *c) {
    bool whole = c->kind == CHANGE_STORE || shard_copy_is_bag(s); /* record, not key */

    if (!whole)
        return EG_OK;
    if (value_kind_of(c->value) != VALUE_ARRAY || c->value.size_bytes > RECORD_SIZE_MAX ||
        value_count(c->value) != schema_of(s->table)->attribute_count)
        return EG_BAD_REQUEST;
    return shard_state_is_sound(s, c->value, c->state) ? EG_OK : EG_BAD_REQUEST;
}

eg_err shard_copy_read_change(struct shard *s, struct value_iter *changes, struct copy_change *c) {
    static const uint32_t counts[CHANGE_KINDS] = {STORE_FIELDS, REMOVE_FIELDS, CLEAR_FIELDS};
    struct value_iter it;
    uint64_t kind, origin, sequence, more;
    uint32_t count;
    uint16_t slot;
    eg_err err;

    *c = (struct copy_change){.expiry_ms = 0};
    if (!value_iter_enter(changes, &it))
        return EG_BAD_REQUEST;
    count = it.left;
    if (!value_iter_u64(&it, &kind) || kind >= CHANGE_KINDS || count < counts[kind] ||
        (more = count - counts[kind]) > (kind == CHANGE_STORE) || !value_iter_u64(&it, &origin) ||
        !value_iter_u64(&it, &sequence) || sequence == 0 || sequence > DOT_SEQUENCE_MAX ||
        !value_iter_u64(&it, &c->version.hlc) || c->version.hlc == 0)
        return EG_BAD_REQUEST;
    c->kind = (enum copy_change_kind) kind;
    if (kind == CHANGE_STORE && (!value_iter_u64(&it, &c->expiry_ms) || c->expiry_ms == RANK_NEVER))
        return EG_BAD_REQUEST;
    if (kind != CHANGE_CLEAR && !value_iter_next(&it, &c->value))
        return EG_BAD_REQUEST;
    if (more != 0 && (!value_iter_next(&it, &c->state) || c->state.size_bytes > RECORD_SIZE_MAX))
        return EG_BAD_REQUEST;
    value_iter_leave(changes, &it);
    err = origins_slot(shard_copy_origins(s), origin, &slot);
    if (err != EG_OK)
        return err;
    if (shard_copy_is_ours_to_come(s, slot, sequence))
        return EG_BAD_REQUEST;
    c->version.dot = dot_make(slot, sequence);
    return kind == CHANGE_CLEAR ? EG_OK : check_value(s, c);
}

eg_err shard_copy_change_key(struct shard *s, const struct copy_change *c, struct key *k) {
    struct value v = c->value;
    eg_err err;

    if ((c->kind == CHANGE_STORE || shard_copy_is_bag(s)) && !array_element(c->value, 0, &v))
        return EG_BAD_REQUEST;
    err = key_prepare(k, v, s->table->seed, s->table->world->o.alloc);
    if (err == EG_MEMORY)
        return err;
    if (err != EG_OK)
        return EG_BAD_REQUEST;
    if (shard_of(s->table, k->hash) == s)
        return EG_OK;
    key_release(k);
    return EG_BAD_REQUEST;
}
