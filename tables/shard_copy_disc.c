/* shard_copy_disc.c -- what a copy knows, on the disc: its clock in a row of its own, a row for
 * each grave; read again at the start, and taken along into another shape. */
#include "tables/shard_copy_private.h"

/* ---- written ------------------------------------------------------------------------------- */

/* What goes to the disc with the turn. */
static struct disc_batch *batch_of(struct shard *s) {
    return s->table->storage == STORAGE_DISC_ONLY ? store_disc_extra(s->store)
                                                  : &s->log.batch[s->log.filling];
}

eg_err shard_copy_forget_row(struct shard *s, struct value identity) {
    if (s->table->disc_table == NULL)
        return EG_OK;
    return disc_record_del_grave(batch_of(s), s->table->disc_table, s->number, identity,
                                 shard_copy_is_bag(s));
}

eg_err shard_copy_remember_row(struct shard *s, struct value identity, struct record_version v) {
    if (s->table->disc_table == NULL)
        return EG_OK;
    return disc_record_put_grave(batch_of(s), s->table->disc_table, s->number, identity,
                                 shard_copy_is_bag(s), v);
}

struct disc_bytes shard_copy_pack(struct shard *s) {
    struct buffer *b = &s->copy->packed;
    struct value_writer w = value_writer_init(NULL, 0);
    uint8_t *room;

    shard_clock_put(shard_copy_clock(s), NULL, &w);
    shard_clock_put(&s->copy->floor.clock, NULL, &w);
    buffer_clear(b);
    room = buffer_room(b, SHARD_CLOCK_BYTES + w.need_bytes + 4 * 9 + 4);
    if (room == NULL)
        return (struct disc_bytes){NULL, 0};
    w = value_writer_init(room + SHARD_CLOCK_BYTES, b->room_bytes - SHARD_CLOCK_BYTES);
    value_put_array(&w, 8);
    shard_clock_put(&s->copy->clock, NULL, &w);
    value_put_u64(&w, s->copy->cleared.hlc);
    value_put_u64(&w, s->copy->cleared.dot);
    value_put_bool(&w, s->copy->loose);
    shard_clock_put(&s->copy->floor.clock, NULL, &w);
    value_put_u64(&w, s->copy->floor.hlc);
    value_put_u64(&w, s->copy->ahead);
    value_put_bool(&w, s->copy->votes);
    EG_ASSERT(!w.overflow);
    b->size_bytes = SHARD_CLOCK_BYTES + w.need_bytes;
    return (struct disc_bytes){b->at, b->size_bytes};
}

eg_err shard_copy_clock_to_disc(struct shard *s) {
    uint8_t small[SHARD_CLOCK_BYTES];
    struct disc_bytes packed;
    eg_err err;

    if (s->table->disc_table == NULL)
        return EG_OK;
    packed = shard_clock_pack(s, small);
    err = disc_record_put_clock(batch_of(s), s->table->disc_table, s->number, packed);
    if (err == EG_OK && s->table->storage == STORAGE_DISC_ONLY)
        err = store_disc_write_extra(s->store);
    return err;
}

/* ---- recovered ----------------------------------------------------------------------------- */

eg_err shard_copy_recover_clock(struct shard *s, struct disc_bytes packed) {
    struct value all = {packed.at, (uint32_t) packed.size_bytes};
    struct value_iter it;
    struct value clock, loose, floor, votes;
    size_t used_bytes;
    eg_err err = shard_copy_open(s);

    if (err != EG_OK)
        return err;
    if (value_scan(packed.at, packed.size_bytes, &used_bytes) != EG_OK ||
        used_bytes != packed.size_bytes || value_kind_of(all) != VALUE_ARRAY ||
        value_count(all) < 3 || value_count(all) > 8)
        return EG_CORRUPT;
    it = value_iter_of(all);
    EG_ASSERT(value_iter_next(&it, &clock));
    err = shard_clock_get(&s->copy->clock, NULL, clock);
    if (err == EG_OK && (!value_iter_u64(&it, &s->copy->cleared.hlc) ||
                         !value_iter_u64(&it, &s->copy->cleared.dot)))
        err = EG_CORRUPT;
    if (err == EG_OK && value_iter_next(&it, &loose) && !value_get_bool(loose, &s->copy->loose))
        err = EG_CORRUPT;
    if (err == EG_OK && value_iter_next(&it, &floor))
        err = shard_clock_get(&s->copy->floor.clock, NULL, floor);
    if (err == EG_OK && it.left != 0 &&
        (!value_iter_u64(&it, &s->copy->floor.hlc) || !value_iter_u64(&it, &s->copy->ahead)))
        err = EG_CORRUPT;
    if (err == EG_OK && value_iter_next(&it, &votes) && !value_get_bool(votes, &s->copy->votes))
        err = EG_CORRUPT;
    s->copy->votes &= s->log.sync; /* else the end of what it acknowledged may be lost */
    return err == EG_BAD_REQUEST ? EG_CORRUPT : err;
}

/* It may have been applied, and what covers it have been lost. */
void shard_copy_recovered(struct shard *s, uint64_t dot) {
    s->copy->unsure |= !shard_clock_covers(&s->copy->clock, dot);
}

static eg_err recover_grave(struct shard *s, struct disc_bytes row) {
    struct record_version version;
    struct value v, key_value;
    struct grave *g;
    struct key k;
    eg_err err = disc_record_read_grave(row, &version, &v);

    if (err != EG_OK)
        return err;
    key_value = v;
    if (shard_copy_is_bag(s) &&
        (value_kind_of(v) != VALUE_ARRAY || !array_element(v, 0, &key_value)))
        return EG_CORRUPT;
    err = key_prepare(&k, key_value, s->table->seed, s->table->world->o.alloc);
    if (err != EG_OK)
        return err == EG_MEMORY ? err : EG_CORRUPT;
    g = graves_make(&s->copy->graves, k.hash, v, version);
    key_release(&k);
    if (g == NULL)
        return EG_MEMORY;
    graves_put(&s->copy->graves, g);
    shard_copy_recovered(s, version.dot);
    if (version.hlc > s->copy->ahead)
        s->hlc = EG_MAX(s->hlc, version.hlc);
    return EG_OK;
}

eg_err shard_copy_recover_graves(struct shard *s) {
    struct disc *d = s->table->world->o.disc;
    uint8_t from[DISC_PREFIX_BYTES], to[DISC_PREFIX_BYTES];
    const struct disc_range range = {
        .from = {from, disc_row_prefix(from, s->number, DISC_ROW_GRAVE)},
        .to = {to, disc_row_prefix(to, s->number, DISC_ROW_END)},
        .whole = true};
    struct disc_iter *it;
    eg_err err = disc_iter_open(d, s->table->disc_table, &range, &it);

    if (err != EG_OK)
        return err;
    for (it->ops->seek(it, range.from); it->valid && err == EG_OK; it->ops->next(it))
        err = recover_grave(s, it->value);
    if (err == EG_OK)
        err = it->err;
    it->ops->close(it);
    return err;
}

/* ---- into another shape -------------------------------------------------------------------- */

static eg_err rows_to_disc(struct shard *s) {
    const struct grave *g;
    uint64_t place = 0;
    bool ended = false;
    eg_err err = shard_copy_clock_to_disc(s);

    while (err == EG_OK && graves_walk(&s->copy->graves, &place, &ended, &g))
        for (; err == EG_OK && g != NULL; g = g->next)
            err = shard_copy_remember_row(s, grave_value(g), g->version);
    if (err == EG_OK && s->table->storage == STORAGE_DISC_ONLY)
        err = store_disc_write_extra(s->store);
    return err;
}

eg_err shard_copy_move(struct shard *from, struct shard *to) {
    struct disc_mark mark = shard_log_mark(&to->log);
    eg_err err;

    if (from->copy == NULL)
        return EG_OK;
    recent_break(&from->copy->recent);
    if (from->copy->group_count != 0) { /* of another shape: nobody could read it */
        shard_copy_drop_group(from);
        from->copy->lost = true;
    }
    shard_copy_close(to); /* of a shadow: nobody has seen it */
    to->sequence = EG_MAX(to->sequence, from->sequence);
    to->hlc = EG_MAX(to->hlc, from->hlc);
    to->copy = from->copy;
    err = rows_to_disc(to);
    if (err == EG_OK) {
        from->copy = NULL;
        shard_set_role(to, role_of(from));
        atomic_store(&to->master, atomic_load(&from->master));
        atomic_store(&to->worth, atomic_load(&from->worth));
        atomic_store(&to->newest, atomic_load(&from->newest));
        atomic_store(&to->removed, atomic_load(&from->removed));
        atomic_store(&to->indexed, atomic_load(&from->newest)); /* it may have other indexes */
        shard_set_stable(to, atomic_load(&from->stable));
    } else {
        to->copy = NULL;
        if (to->table->storage == STORAGE_DISC_ONLY)
            disc_batch_reset(store_disc_extra(to->store));
        shard_log_rewind(&to->log, mark);
    }
    return err;
}
